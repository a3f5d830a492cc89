package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// settle takes the problem out of what net/http wraps around it, whose text has
// the whole URL in it.
func settle(err error, u *url.URL) error {
	if p, ok := problem.As(err); ok {
		return p
	}
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	return trouble("remote-answer", "the answer of %s leads nowhere", shown(u)).Because(inner(err))
}

// inner is an error without the URL that net/http puts in front.
func inner(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// explain makes a problem of an exchange that failed. at is where, for people;
// cred what it was made under.
func explain(ctx context.Context, err error, at string, cred *credential) error {
	if p, ok := problem.As(err); ok {
		q := *p // a refusal of one dial may reach several requests
		q.Facts = append([]problem.Fact{{Label: "url", Value: at}}, p.Facts...)
		return &q
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, errQueue) {
		err = cause
	}
	err = inner(err)
	if errors.Is(err, context.Canceled) {
		return err
	}
	p := unavailable(err, at)
	if p == nil {
		p = secure(err, at, cred)
	}
	if p == nil {
		p = malformed(err, at)
	}
	return p.Because(err)
}

func trouble(rule, format string, args ...any) *problem.Error {
	return problem.New(problem.Unavailable, rule, format, args...)
}

// unavailable explains what goes by itself, or when the network is mended; nil
// for anything else.
func unavailable(err error, at string) *problem.Error {
	dns, isDNS := errors.AsType[*net.DNSError](err)
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, errTotal):
		return trouble("remote-timeout", "the answer of %s took too long as a whole", at).
			Suggest("try again later; a mirror nearer to this server may help")
	case errors.Is(err, errSlow):
		return trouble("remote-timeout", "the answer of %s came too slowly", at).
			Suggest("try again later")
	case errors.Is(err, errQueue):
		return trouble("remote-busy", "other requests to the host of %s did not end in time", at).
			Suggest("try again later; the host is slow, or much is asked of it")
	case isDNS && dns.IsNotFound:
		return trouble("remote-dns", "the name %s of %s is not known", dns.Name, at).
			Suggest("check the URL, and the name servers of this machine")
	case isDNS:
		return trouble("remote-dns", "the name %s of %s could not be looked up", dns.Name, at).
			Suggest("check the name servers of this machine")
	case isNet && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return trouble("remote-timeout", "%s did not answer in time", at).
			Suggest("try again later; check that this machine may reach the host, or set a proxy in the credentials file")
	case errors.Is(err, syscall.ECONNREFUSED):
		p := trouble("remote-refused", "nobody listens at %s: the connection was refused", at)
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil {
			p.With("address", "%s", op.Addr) // with a proxy, it is the proxy's
		}
		return p.Suggest("check host and port of the URL, and the proxy if there is one")
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return trouble("remote-refused", "there is no way from this machine to %s", at).
			Suggest("check the network of this machine, or set a proxy in the credentials file")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return trouble("remote-cut", "the connection to %s ended in the middle", at).
			Suggest("try again later")
	}
	return nil
}

// secure explains what TLS refuses; nil for anything else.
func secure(err error, at string, cred *credential) *problem.Error {
	name := cred.title()
	unknown, isUnknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, isName := errors.AsType[x509.HostnameError](err)
	_, isRecord := errors.AsType[tls.RecordHeaderError](err)
	_, isAlert := errors.AsType[tls.AlertError](err)
	remote, isOp := errors.AsType[*net.OpError](err)
	bad, isBad := errors.AsType[x509.CertificateInvalidError](err)
	switch {
	case isUnknown:
		p := trouble("remote-tls", "the certificate of %s is signed by a CA that is not known here", at)
		if unknown.Cert != nil {
			p.With("issuer", "%s", unknown.Cert.Issuer)
		}
		return p.Suggest("if it is your own CA, put it into ca_file of %s in the credentials file", name)
	case isName:
		return trouble("remote-tls", "the certificate of %s is for another name", at).
			Suggest("check the URL, or have the certificate renewed with this name")
	case isBad && bad.Reason == x509.Expired:
		p := trouble("remote-tls", "the certificate of %s is not valid now", at)
		if bad.Cert != nil {
			p.With("valid", "%s to %s", bad.Cert.NotBefore.UTC().Format(time.RFC3339), bad.Cert.NotAfter.UTC().Format(time.RFC3339))
		}
		return p.Suggest("tell whoever runs the server; check the clock of this machine")
	case isBad:
		return trouble("remote-tls", "the certificate of %s is not valid", at)
	case isRecord:
		return trouble("remote-tls", "%s does not speak TLS", at).Suggest("check the port, or use http")
	case strings.Contains(err.Error(), "client conn could not be established"):
		// What HTTP/2 makes of an alert that comes before the first request.
		return uncertified(at, cred)
	case isAlert, isOp && remote.Op == "remote error":
		return problem.New(problem.Denied, "remote-tls", "%s refused the TLS connection", at).
			Suggest("if the server wants a client certificate, put it into cert_file and key_file of %s in the credentials file", name)
	}
	return nil
}

// title names a credential in a sentence; nil is one that should be there.
func (c *credential) title() string {
	if c == nil {
		return "a credential for this host"
	}
	return "credential " + c.name
}

// uncertified explains a connection that ended before anything was said on it.
func uncertified(at string, cred *credential) *problem.Error {
	return trouble("remote-tls", "%s ended the connection as soon as it was made", at).
		Suggest("if the server wants a client certificate, put it into cert_file and key_file of %s in the credentials file", cred.title())
}

// malformed explains what is no HTTP, and everything else. The standard library
// has no types for these errors.
func malformed(err error, at string) *problem.Error {
	text := err.Error()
	switch {
	case strings.Contains(text, "response headers exceeded"), strings.Contains(text, "header list larger"):
		return problem.New(problem.TooLarge, "remote-limit", "the headers of the answer of %s have more than %d bytes", at, maxHeaders)
	case strings.Contains(text, "gave HTTP response to HTTPS client"):
		return trouble("remote-tls", "%s does not speak TLS", at).Suggest("check the port, or use http")
	case strings.Contains(text, "malformed HTTP"), strings.Contains(text, "malformed MIME"), strings.Contains(text, "invalid header"):
		return trouble("remote-answer", "the answer of %s is not HTTP", at).Suggest("check host and port of the URL")
	}
	return trouble("remote-failed", "the request to %s failed", at).Suggest("try again later")
}

// pause is the cause of a problem whose server asked to be left alone.
type pause time.Duration

func (p pause) Error() string {
	return fmt.Sprintf("the server asks for a pause of %s", time.Duration(p))
}

// RetryAfter is the pause that the server asked for with the answer that made
// this error, 0 for none.
func RetryAfter(err error) time.Duration {
	if p, ok := errors.AsType[pause](err); ok {
		return time.Duration(p)
	}
	return 0
}

// maxPause bounds what a server may ask for.
const maxPause = 24 * time.Hour

// Pause reads how long an answer asks to be left alone, at most a day: by
// Retry-After in seconds or as a date (RFC 9110 §10.2.3), or by
// X-RateLimit-Remaining and X-RateLimit-Reset as GitHub and others send them.
// It is 0 where the answer does not ask.
func Pause(h http.Header, now time.Time) time.Duration {
	var d time.Duration
	text := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		d = time.Duration(n) * time.Second
	} else if t, err := http.ParseTime(text); err == nil {
		d = t.Sub(now)
	} else if h.Get("X-RateLimit-Remaining") == "0" {
		if n, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			d = time.Unix(n, 0).Sub(now)
		}
	}
	return min(max(d, 0), maxPause)
}

// Refusal is the problem of an answer whose status is none of 2xx, or nil.
// credential is what was asked under. It does not read the body.
func Refusal(res *http.Response, credential string) error {
	code := res.StatusCode
	if code/100 == 2 {
		return nil
	}
	at := "the server"
	if res.Request != nil {
		at = shown(res.Request.URL)
		if b, ok := res.Body.(*body); ok {
			at = b.url
		}
	}
	var p *problem.Error
	wait := Pause(res.Header, time.Now())
	switch {
	case code == http.StatusTooManyRequests, code == http.StatusForbidden && wait > 0:
		p = trouble("remote-busy", "%s was asked too often", at).Suggest("wait; a credential of one's own often allows more")
	case code == http.StatusUnauthorized && credential == "":
		p = problem.New(problem.Denied, "remote-auth", "%s wants a credential", at).
			Suggest("add one for its host to the credentials file of the server, and name it")
	case code == http.StatusUnauthorized:
		p = problem.New(problem.Denied, "remote-auth", "%s does not accept credential %s", at, credential).
			Suggest("check user name, password or token of the credential, and whether it has expired")
	case code == http.StatusProxyAuthRequired:
		p = problem.New(problem.Denied, "remote-auth", "the proxy on the way to %s wants a credential", at)
	case code == http.StatusForbidden && credential == "":
		p = problem.New(problem.Denied, "remote-auth", "%s refuses access", at).
			Suggest("check the URL; a credential may be needed")
	case code == http.StatusForbidden:
		p = problem.New(problem.Denied, "remote-auth", "%s refuses access to credential %s", at, credential).
			Suggest("give its account the right to read, or name another credential")
	case code == http.StatusNotFound, code == http.StatusGone:
		p = problem.New(problem.NotFound, "remote-not-found", "there is nothing at %s", at).
			Suggest("check the URL; some servers answer so when a credential is missing")
	case code/100 == 5:
		p = trouble("remote-busy", "%s has trouble of its own", at).Suggest("try again later")
	case code/100 == 3:
		p = trouble("remote-redirect", "%s leads on without saying where", at)
	default:
		p = trouble("remote-answer", "%s refuses the request", at)
	}
	p.With("status", "%d", code)
	if wait > 0 {
		p.With("retry after", "%s", wait.Round(time.Second)).Because(pause(wait))
	}
	return p
}
