// Package signer asks the process that holds the key of a log to sign its heads
// (package internal/signer has the wire).
//
// What always holds: nothing of an answer is believed here; the caller checks
// the signature, and that it is of what was asked for. An answer is read to a
// limit, redirects are not followed, and the secret is shown to the configured
// address alone.
//
// Over TCP it goes through package remote with its guard on addresses: a signer
// in a private network is one of allow-networks. A Unix socket does not: the
// guard keeps addresses away that a name or a redirect of somebody else may lead
// to, and a socket is a file that the operator named, dialled whatever a URL
// says.
package signer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

const (
	maxReason = 1 << 10 // bytes of a refusal that are read
	// maxSigned bounds a signed checkpoint: a head and two signatures.
	maxSigned = 4 << 10
)

// Client asks one signer. It is safe for concurrent use, and implements
// sqlstore.HeadSigner. How long an answer may take is the context's.
type Client struct {
	base   string // shown to people too: it has no secret
	secret string
	do     func(*http.Request) (*http.Response, error)
	close  func()
}

// New makes a client for https://host[:port], http://address[:port] of this
// machine, or unix:///path of a socket. Invalid for anything else, and for a URL
// with more in it.
func New(client *remote.Client, at, secret string) (*Client, error) {
	if err := CheckURL(at); err != nil {
		return nil, err
	}
	if path, ok := strings.CutPrefix(at, "unix://"); ok {
		t := &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
			},
			MaxIdleConns: 2, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 16 << 10,
		}
		c := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		return &Client{base: "http://signer", secret: secret, do: c.Do, close: t.CloseIdleConnections}, nil
	}
	at = strings.TrimRight(at, "/")
	return &Client{base: at, secret: secret, close: func() {}, do: func(req *http.Request) (*http.Response, error) {
		if err := client.Check("", req.URL.String()); err != nil {
			return nil, err
		}
		h, err := client.HTTP("")
		if err != nil {
			return nil, err
		}
		h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		return h.Do(req)
	}}, nil
}

// CheckURL refuses what is not the address of a signer.
func CheckURL(at string) error {
	bad := problem.New(problem.Invalid, "config-value", "log-signer is https://HOST:PORT or unix:///PATH, not %q", at)
	u, err := url.Parse(at)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return bad
	}
	switch {
	case u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/") && at == "unix://"+u.Path:
		return nil
	case u.Scheme == "https" && u.Host != "" && strings.Trim(u.Path, "/") == "":
		return nil
	case u.Scheme == "http" && strings.Trim(u.Path, "/") == "":
		// The secret goes in clear no further than this machine.
		if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsLoopback() {
			return nil
		}
	}
	return bad
}

// Close closes connections that nobody uses.
func (c *Client) Close() { c.close() }

// SignHead implements sqlstore.HeadSigner.
func (c *Client) SignHead(ctx context.Context, r tlog.WitnessRequest) ([]byte, error) {
	status, body, err := c.ask(ctx, http.MethodPost, "/sign-head", bytes.NewReader(r.Marshal()))
	if err != nil {
		return nil, err
	}
	switch status {
	case http.StatusOK:
		return body, nil
	case http.StatusConflict:
		size, err := tlog.ParseWitnessSize(body)
		if err != nil {
			return nil, c.refused(status, body)
		}
		return nil, &tlog.SignedSize{Size: size}
	case http.StatusUnprocessableEntity:
		return nil, problem.New(problem.Disproven, "log-signer", "the signer of the log refuses this history: %s", firstLine(body))
	}
	return nil, c.refused(status, body)
}

// Newest reads the checkpoint that was signed last. NotFound when none was.
func (c *Client) Newest(ctx context.Context) ([]byte, error) {
	status, body, err := c.ask(ctx, http.MethodGet, "/checkpoint", nil)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusNotFound:
		return nil, problem.New(problem.NotFound, "log-signer", "the signer of the log has signed nothing yet")
	case status != http.StatusOK:
		return nil, c.refused(status, body)
	}
	return body, nil
}

func (c *Client) refused(status int, body []byte) error {
	if status == http.StatusUnauthorized {
		return problem.New(problem.Unavailable, "log-signer", "the signer of the log does not know the secret of this server").
			Suggest("copy the file secret of the signer's folder to where log-signer-secret says")
	}
	return problem.New(problem.Unavailable, "log-signer", "the signer of the log answered %d: %s", status, firstLine(body)).
		Suggest("see what the signer says in its log")
}

func (c *Client) ask(ctx context.Context, method, path string, body io.Reader) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.secret)
	req.Header.Set("Accept-Encoding", "identity")
	if body != nil {
		req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	}
	res, err := c.do(req)
	if err != nil {
		return 0, nil, unreachable(err)
	}
	defer res.Body.Close()
	limit := int64(maxReason)
	if res.StatusCode == http.StatusOK {
		limit = maxSigned
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, limit))
	if err != nil {
		return 0, nil, unreachable(err)
	}
	return res.StatusCode, b, nil
}

func unreachable(err error) error {
	if p, ok := problem.As(err); ok {
		return p
	}
	return problem.New(problem.Unavailable, "log-signer", "the signer of the log cannot be reached").
		Because(fmt.Errorf("ask signer: %w", err)).
		Suggest("see that it runs: chartkeep signer serve")
}

// firstLine is the first line of a foreign text as printable ASCII.
func firstLine(body []byte) string {
	line, _, _ := strings.Cut(string(body), "\n")
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, line)
	return strings.TrimSpace(line[:min(len(line), 300)])
}
