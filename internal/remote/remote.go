package remote

import (
	"context"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Config is how a client goes out. The zero value is usable: public addresses,
// no credentials, the limits below.
type Config struct {
	Credentials *Credentials
	// AllowNetworks may be dialled beside the public addresses.
	AllowNetworks []netip.Prefix
	// Proxy chooses the proxy of requests whose credential names none; nil is
	// none. http.ProxyFromEnvironment fits.
	Proxy func(*http.Request) (*url.URL, error)
	// UserAgent is sent with every request; "" is "chartkeep".
	UserAgent string
	// Log gets warnings, each once: files of secrets that others may read.
	// Nil is none.
	Log *slog.Logger
	// PerHost is how many requests one host gets at once, from the first byte
	// of the request to the last of the answer; 0 is 4.
	PerHost int
	Times   Times
}

// Times bound how long an exchange may take: one request and its answer, each
// hop of a redirect anew. Zero fields take the value of DefaultTimes.
type Times struct {
	Dial   time.Duration // until there is a connection
	Header time.Duration // from the request to the end of the answer's headers
	// A body that in Window of waiting for it brings less than Least bytes, and
	// does not end, is given up.
	Window time.Duration
	Least  int
	Total  time.Duration // until the body has ended
}

// DefaultTimes are those for upstreams on the internet.
func DefaultTimes() Times {
	return Times{Dial: 10 * time.Second, Header: 30 * time.Second, Window: 20 * time.Second, Least: 16 << 10, Total: 10 * time.Minute}
}

const (
	maxRedirects = 5
	maxHeaders   = 256 << 10 // bytes of the headers of an answer
)

// Client goes out. It is safe for concurrent use.
type Client struct {
	config Config
	guard  guard
	hosts  hosts

	mu      sync.Mutex
	routes  map[string]*route // by credential, "" for none
	proxies map[string]bool   // addresses of proxies that were chosen
	warned  map[string]bool
}

// New makes a client. It opens nothing; Close ends what it opened.
func New(c Config) *Client {
	if c.UserAgent == "" {
		c.UserAgent = "chartkeep"
	}
	if c.PerHost <= 0 {
		c.PerHost = 4
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	d := DefaultTimes()
	for _, t := range []struct{ is, def *time.Duration }{{&c.Times.Dial, &d.Dial}, {&c.Times.Header, &d.Header}, {&c.Times.Window, &d.Window}, {&c.Times.Total, &d.Total}} {
		if *t.is <= 0 {
			*t.is = *t.def
		}
	}
	if c.Times.Least <= 0 {
		c.Times.Least = d.Least
	}
	return &Client{
		config: c, guard: guard(c.AllowNetworks), hosts: hosts{each: c.PerHost},
		routes: map[string]*route{}, proxies: map[string]bool{}, warned: map[string]bool{},
	}
}

// Close closes connections that nobody uses.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.routes {
		r.transport.CloseIdleConnections()
	}
}

// Account is what a credential says of an account, for protocols beside HTTP
// and for token flows. Whoever asks must bind it to Host.
type Account struct {
	Host     string // host[:port] as it is written in the file
	Username string
	Password string
	Token    string
}

// Account reads the account of a credential now. Without password and token it
// is only a host.
func (c *Client) Account(credential string) (Account, error) {
	cred, err := c.config.Credentials.find(credential)
	if err != nil {
		return Account{}, err
	}
	a := Account{Host: cred.host.text, Username: cred.username}
	if cred.password.given() {
		if a.Password, err = cred.password.read("the password of credential "+credential, c.warn); err != nil {
			return Account{}, err
		}
	}
	if cred.token.given() {
		if a.Token, err = cred.token.read("the token of credential "+credential, c.warn); err != nil {
			return Account{}, err
		}
	}
	return a, nil
}

// AccountAt is Account for a URL that the account is to be shown to. It refuses
// (problem.Denied) one that neither the credential's host nor its realms cover.
func (c *Client) AccountAt(credential, rawURL string) (Account, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return Account{}, problem.New(problem.Invalid, "remote-url", "the URL cannot be read")
	}
	cred, err := c.config.Credentials.find(credential)
	if err != nil {
		return Account{}, err
	}
	if !cred.knows(u) {
		return Account{}, problem.New(problem.Denied, "credential-host", "credential %s is bound to %s, whose tokens are made by %s", credential, cred.host.text, u.Host).
			Suggest("if that is right, add realms: [%s] to the credential", u.Host)
	}
	return c.Account(credential)
}

// knows says whether the account of a credential may be shown to a URL.
func (cr *credential) knows(u *url.URL) bool {
	return cr.host.covers(u) || slices.ContainsFunc(cr.realms, func(e endpoint) bool { return e.covers(u) })
}

// PlainHTTP says whether a registry at host[:port] is spoken to without TLS:
// when the credential is bound to it with http://, and when it is an address
// of this machine, unless the credential says https:// or names a CA.
func (c *Client) PlainHTTP(credential, host string) bool {
	u := &url.URL{Scheme: "http", Host: host}
	if credential != "" {
		if cred, err := c.config.Credentials.find(credential); err == nil && cred.host.covers(&url.URL{Scheme: "https", Host: host}) {
			return cred.host.covers(u) && cred.ca == ""
		} else if err == nil && cred.host.covers(u) {
			return true
		}
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.Unmap().IsLoopback()
}

// Secret reads the signing secret of a credential (secret_file, secret_env).
func (c *Client) Secret(name string) (string, error) {
	return c.read(name, "secret", func(cr *credential) secret { return cr.signing })
}

// URL reads the URL of a credential that is a secret itself (url_file,
// url_env). It leads to the credential's host.
func (c *Client) URL(name string) (*url.URL, error) {
	text, err := c.read(name, "url", func(cr *credential) secret { return cr.address })
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, problem.New(problem.Invalid, "credential", "the url of credential %s is not a URL", name)
	}
	return u, c.Check(name, u.String())
}

func (c *Client) read(name, what string, of func(*credential) secret) (string, error) {
	cred, err := c.config.Credentials.find(name)
	if err != nil {
		return "", err
	}
	s := of(cred)
	if !s.given() {
		return "", problem.New(problem.Invalid, "credential", "credential %s has no %s", name, what).
			Suggest("add %s_file or %s_env to it in the credentials file", what, what)
	}
	return s.read("the "+what+" of credential "+name, c.warn)
}

// Check refuses a URL that may not be asked for under a credential ("" for
// none): another scheme than HTTP's, a user name or password in it, an address
// that may not be dialled, a credential that there is not or that is bound to
// another host. Names are not looked up. It reads no secret.
func (c *Client) Check(credential, rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return problem.New(problem.Invalid, "remote-url", "the URL cannot be read")
	}
	if u.User != nil {
		return problem.New(problem.Invalid, "remote-url", "the URL %s has a user name or password in it", shown(u)).
			Suggest("put them into the credentials file of the server, and name the credential")
	}
	if err := c.guard.checkURL(u); err != nil {
		return err
	}
	if credential == "" {
		return nil
	}
	cred, err := c.config.Credentials.find(credential)
	if err != nil {
		return err
	}
	return cred.mayGo(u)
}

// mayGo refuses a URL that the credential is not bound to.
func (cr *credential) mayGo(u *url.URL) error {
	if cr.host.covers(u) {
		return nil
	}
	p := problem.New(problem.Denied, "credential-host", "credential %s is bound to %s and does not go to %s://%s", cr.name, cr.host.text, u.Scheme, u.Host)
	if u.Scheme == "http" && !cr.host.plain {
		return p.Suggest("use https, or write host: http://%s in the credentials file to send it in clear", u.Host)
	}
	return p.Suggest("name the credential of that host, or correct its host in the credentials file")
}

// HTTP returns a client of net/http that goes out under a credential, "" for
// none: its certificate, CA and proxy, and its account where the request has
// no Authorization. Its errors are problems inside *url.Error, whose own text
// may have a secret of the URL in it: show the problem, or use Do. An answer's
// body must be closed, and is given up when it comes too slowly.
func (c *Client) HTTP(credential string) (*http.Client, error) { return c.client(credential, true) }

// Unsigned is HTTP without the account, for callers that answer challenges
// themselves with what AccountAt gives them. An Authorization header that they
// set is sent, and does not follow a redirect to another host.
func (c *Client) Unsigned(credential string) (*http.Client, error) {
	return c.client(credential, false)
}

func (c *Client) client(credential string, sign bool) (*http.Client, error) {
	s := &session{client: c, sign: sign}
	if credential != "" {
		var err error
		if s.cred, err = c.config.Credentials.find(credential); err != nil {
			return nil, err
		}
	}
	return &http.Client{Transport: s, CheckRedirect: follow}, nil
}

// Do sends a request under a credential, "" for none, and follows redirects.
// Every status is an answer; Refusal makes a problem of one. Errors are
// problems that name the URL without its secrets, except that the end of the
// request's own context by cancelling is passed on. The answer's body must be
// closed: until then it counts for its host.
func (c *Client) Do(req *http.Request, credential string) (*http.Response, error) {
	h, err := c.HTTP(credential)
	if err != nil {
		return nil, err
	}
	res, err := h.Do(req)
	if err != nil {
		return nil, settle(err, req.URL)
	}
	return res, nil
}

// Dial opens a connection to host:port, for protocols beside HTTP, if its
// address may be dialled.
func (c *Client) Dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := c.dialer(true).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, explain(ctx, err, address, nil)
	}
	return conn, nil
}

// dialer dials what the guard allows; without guarded, anything.
func (c *Client) dialer(guarded bool) *net.Dialer {
	d := &net.Dialer{Timeout: c.config.Times.Dial, KeepAlive: 30 * time.Second}
	if guarded {
		d.ControlContext = c.guard.control
	}
	return d
}

func (c *Client) warn(path string, mode fs.FileMode) {
	c.mu.Lock()
	first := !c.warned[path]
	c.warned[path] = true
	c.mu.Unlock()
	if first {
		c.config.Log.Warn("a file with a secret may be read or changed by others", "file", path, "mode", mode.String(), "try", "chmod 600")
	}
}
