package remote

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// session sends the hops of requests that are made under one credential.
type session struct {
	client *Client
	cred   *credential // nil for none
	sign   bool
}

// follow decides about a redirect before it is followed.
func follow(req *http.Request, via []*http.Request) error {
	first, last := via[0].URL, via[len(via)-1].URL
	switch {
	case len(via) > maxRedirects:
		return problem.New(problem.Unavailable, "remote-redirect", "%s leads on more than %d times", shown(first), maxRedirects).
			With("last", "%s", shown(last)).Suggest("check the URL; this is a loop, or a server that wants a login")
	case last.Scheme == "https" && req.URL.Scheme == "http":
		return problem.New(problem.Denied, "remote-redirect", "%s leads from https to %s", shown(last), shown(req.URL)).
			Suggest("tell whoever runs the server; an address over http can be changed on its way")
	}
	req.URL.User = nil        // a password that a server makes up is no credential of ours
	req.Header.Del("Referer") // the URL's query may be a secret
	if hostPort(first) != hostPort(req.URL) || first.Scheme != req.URL.Scheme {
		if req.Body != nil && req.Body != http.NoBody {
			return problem.New(problem.Denied, "remote-redirect", "%s leads to another host, %s, and what was sent is not for that", shown(first), req.URL.Host).
				Suggest("give the URL that it leads to, if that is meant")
		}
		req.Header.Del("Authorization")
	}
	return nil
}

// RoundTrip sends one hop.
func (s *session) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := s.roundTrip(req)
	if err != nil && req.Body != nil {
		req.Body.Close()
	}
	return res, err
}

func (s *session) roundTrip(req *http.Request) (*http.Response, error) {
	c := s.client
	if err := c.guard.checkURL(req.URL); err != nil {
		return nil, err
	}
	covered := s.cred != nil && s.cred.host.covers(req.URL)
	route, err := c.route(s.cred, covered)
	if err != nil {
		return nil, err
	}
	release, err := c.hosts.take(req.Context(), hostPort(req.URL))
	if err != nil {
		return nil, explain(req.Context(), err, s.shown(req.URL), s.cred)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	total := time.AfterFunc(c.config.Times.Total, func() { cancel(errTotal) })
	end := func() {
		total.Stop()
		cancel(nil)
		release()
	}
	out := req.Clone(ctx)
	out.Header.Set("User-Agent", c.config.UserAgent)
	if err := s.authorize(out, covered); err != nil {
		end()
		return nil, err
	}
	res, err := route.transport.RoundTrip(out)
	if err != nil {
		err = explain(ctx, err, s.shown(req.URL), s.cred)
		if p, ok := problem.As(err); ok && p.Rule == "remote-cut" && route.asked.Load() {
			err = uncertified(s.shown(req.URL), s.cred).Because(err)
		}
		end()
		return nil, err
	}
	res.Request = req
	res.Body = &body{inner: res.Body, ctx: ctx, cancel: cancel, end: end, times: c.config.Times, url: s.shown(req.URL)}
	return res, nil
}

// shown is a URL for people. Where the URL is the secret itself, its path is
// kept back too.
func (s *session) shown(u *url.URL) string {
	if s.cred != nil && s.cred.address.given() {
		return u.Scheme + "://" + u.Host + "/…"
	}
	return shown(u)
}

// authorize gives a request the account of the credential where that covers it,
// and takes any other authorization away where it does not.
func (s *session) authorize(req *http.Request, covered bool) error {
	if s.cred == nil || !s.sign {
		return nil
	}
	if !covered {
		req.Header.Del("Authorization")
		return nil
	}
	if req.Header.Get("Authorization") != "" {
		return nil
	}
	a, err := s.client.Account(s.cred.name)
	switch {
	case err != nil:
		return err
	case a.Token != "":
		req.Header.Set("Authorization", "Bearer "+a.Token)
	case a.Password != "":
		req.SetBasicAuth(a.Username, a.Password)
	}
	return nil
}

// route is a transport made of the files of a credential as they were.
type route struct {
	transport *http.Transport
	files     [sha256.Size]byte
	// asked says that a server wanted a client certificate, and there is none.
	// With TLS 1.3 it may say so after the first request was sent, and whether
	// its alert or the broken connection is seen first is chance.
	asked atomic.Bool
}

// route returns the transport for a request. The client certificate of the
// credential is for its own host alone. Its CA and proxy are for the whole
// chain: where a redirect leads is said by a host that the CA vouches for, which
// could as well have sent the bytes itself. When the files have other content,
// a new transport is made.
func (c *Client) route(cred *credential, covered bool) (*route, error) {
	var key string
	var files pemFiles
	if cred != nil && (cred.proxy != nil || cred.ca != "" || covered && cred.cert != "") {
		key = cred.name
		if covered {
			key += "\x00" // names have no such character
		}
		var err error
		if files, err = c.pemFiles(cred, covered); err != nil {
			return nil, err
		}
	}
	sum := files.sum()
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.routes[key]
	if old != nil && old.files == sum {
		return old, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if err := files.apply(conf, cred); err != nil {
		return nil, err
	}
	if old != nil {
		old.transport.CloseIdleConnections()
	}
	proxy := c.config.Proxy
	if cred != nil && cred.proxy != nil {
		proxy = http.ProxyURL(cred.proxy)
	}
	r := &route{files: sum}
	if conf.Certificates == nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			r.asked.Store(true)
			return new(tls.Certificate), nil
		}
	}
	r.transport = c.transport(conf, proxy)
	c.routes[key] = r
	return r, nil
}

// TLS returns the TLS settings for a connection to a server under a
// credential, "" for none: for protocols beside HTTP.
func (c *Client) TLS(credential, serverName string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName}
	if credential == "" {
		return conf, nil
	}
	cred, err := c.config.Credentials.find(credential)
	if err != nil {
		return nil, err
	}
	files, err := c.pemFiles(cred, true)
	if err != nil {
		return nil, err
	}
	return conf, files.apply(conf, cred)
}

// pemFiles are the contents of a credential's PEM files, nil for none.
type pemFiles struct{ ca, cert, key []byte }

// pemFiles reads the PEM files of a credential, those of the client's
// certificate if own is true.
func (c *Client) pemFiles(cred *credential, own bool) (f pemFiles, err error) {
	if cred.ca != "" {
		if f.ca, err = readLimited(cred.ca, maxCredentialsFile); err != nil {
			return f, err
		}
	}
	if own && cred.cert != "" {
		if f.cert, err = readLimited(cred.cert, maxCredentialsFile); err != nil {
			return f, err
		}
		f.key, err = readSecretFile(cred.key, maxCredentialsFile, c.warn)
	}
	return f, err
}

func (f *pemFiles) sum() [sha256.Size]byte {
	return sha256.Sum256(slices.Concat(f.ca, []byte{0}, f.cert, []byte{0}, f.key))
}

// apply puts the certificates into conf. The system's CAs stay.
func (f *pemFiles) apply(conf *tls.Config, cred *credential) (err error) {
	if f.ca != nil {
		if conf.RootCAs, err = x509.SystemCertPool(); err != nil {
			conf.RootCAs = x509.NewCertPool()
		}
		if !conf.RootCAs.AppendCertsFromPEM(f.ca) {
			return problem.New(problem.Invalid, "credential", "the file %s has no certificate in PEM form", cred.ca)
		}
	}
	if f.cert != nil {
		pair, err := tls.X509KeyPair(f.cert, f.key)
		if err != nil {
			return problem.New(problem.Invalid, "credential", "%s and %s are not a certificate and its key", cred.cert, cred.key).Because(err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return nil
}

func (c *Client) transport(conf *tls.Config, proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	guarded, free := c.dialer(true), c.dialer(false)
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c.mu.Lock()
			d := guarded
			if c.proxies[address] {
				d = free
			}
			c.mu.Unlock()
			return d.DialContext(ctx, network, address)
		},
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    c.config.Times.Dial,
		ResponseHeaderTimeout:  c.config.Times.Header,
		MaxResponseHeaderBytes: maxHeaders,
		MaxIdleConnsPerHost:    c.config.PerHost,
		MaxIdleConns:           64,
		IdleConnTimeout:        90 * time.Second,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // what is asked for compressed is unpacked with a limit
	}
	if proxy != nil {
		t.OnProxyConnectResponse = func(_ context.Context, by *url.URL, req *http.Request, res *http.Response) error {
			if res.StatusCode == http.StatusOK {
				return nil
			}
			kind := problem.Unavailable
			if res.StatusCode/100 == 4 {
				kind = problem.Denied
			}
			return problem.New(kind, "remote-proxy", "the proxy %s does not connect to %s", shown(by), req.Host).With("status", "%d", res.StatusCode).
				Suggest("ask whoever runs the proxy to allow it, or use another proxy")
		}
		t.Proxy = func(req *http.Request) (*url.URL, error) {
			u, err := proxy(req)
			if u != nil && err == nil {
				c.mu.Lock()
				c.proxies[hostPort(u)] = true
				c.mu.Unlock()
			}
			return u, err
		}
	}
	return t
}

// control judges the address of a connection before it is made.
func (g guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	return g.check(ap.Addr())
}

// hosts counts the requests of each host. Hosts without requests take no room.
type hosts struct {
	each int
	mu   sync.Mutex
	by   map[string]*slots
}

type slots struct {
	free  chan struct{}
	users int // that hold or wait
}

// take waits for a slot of a host, no longer than the context.
func (h *hosts) take(ctx context.Context, host string) (release func(), err error) {
	h.mu.Lock()
	if h.by == nil {
		h.by = map[string]*slots{}
	}
	s := h.by[host]
	if s == nil {
		s = &slots{free: make(chan struct{}, h.each)}
		h.by[host] = s
	}
	s.users++
	h.mu.Unlock()
	leave := func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if s.users--; s.users == 0 {
			delete(h.by, host)
		}
	}
	select {
	case s.free <- struct{}{}:
		return sync.OnceFunc(func() {
			<-s.free
			leave()
		}), nil
	case <-ctx.Done():
		leave()
		return nil, errors.Join(errQueue, context.Cause(ctx))
	}
}
