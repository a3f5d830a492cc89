package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"net/netip"
	"net/smtp"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// maxSMTP bounds what a mail server may say in one session, in bytes.
const maxSMTP = 256 << 10

// Mail says how mail goes out. The zero value is that it does not.
type Mail struct {
	// Server is smtp://host:port, where STARTTLS is required (RFC 3207) but on
	// this machine; smtps://host:port, which speaks TLS from the first byte
	// (RFC 8314); or smtp+plain://host:port, where TLS is used if it is offered.
	Server string
	From   string // address of the sender, with or without a name
	// Credential has the account, where the server wants one and the route
	// names none. It is bound to the server's host.
	Credential string
}

// mailer sends mail through one server.
type mailer struct {
	Mail
	from     mail.Address
	host     string // without port
	address  string // host:port
	implicit bool   // TLS from the first byte
	plain    bool   // mail goes without TLS where there is none; a password does not
	origin   string
	client   *remote.Client
	link     func(string) string
}

func newMailer(m Mail, c *remote.Client, origin string) (*mailer, error) {
	bad := func(format string, args ...any) error {
		return problem.New(problem.Invalid, "notify-mail", format, args...)
	}
	u, err := url.Parse(m.Server)
	if err != nil || !slices.Contains([]string{"smtp", "smtps", "smtp+plain"}, u.Scheme) || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" {
		return nil, bad("the mail server must be smtp://host:port or smtps://host:port")
	}
	from, err := mail.ParseAddress(m.From)
	if err != nil {
		return nil, bad("the sender of mail, %.80q, is not a mail address", m.From)
	}
	out := &mailer{Mail: m, from: *from, host: u.Hostname(), implicit: u.Scheme == "smtps", plain: u.Scheme == "smtp+plain" || thisMachine(u.Hostname()), origin: origin, client: c}
	port := u.Port()
	if port == "" {
		port = "587"
		if out.implicit {
			port = "465"
		}
	}
	out.address = net.JoinHostPort(out.host, port)
	return out, nil
}

// send delivers a mail once. What the server refuses for good with 5xx for this
// mail is problem.Invalid; everything else may be tried again.
func (m *mailer) send(ctx context.Context, r watch.Route, d watch.Delivery, msg message, now time.Time) error {
	e := compose(m.from, r.Target, d.ID, m.origin, msg, m.link, now)
	credential := r.Credential
	if credential == "" {
		credential = m.Credential
	}
	conf, err := m.client.TLS(credential, m.host)
	if err != nil {
		return later(err)
	}
	auth, err := m.account(credential)
	if err != nil {
		return later(err)
	}
	raw, err := m.client.Dial(ctx, m.address)
	if err != nil {
		return later(err)
	}
	defer raw.Close()
	// net/smtp knows no context: its end closes the connection.
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	var conn net.Conn = &bounded{Conn: raw, left: maxSMTP}
	if m.implicit {
		conn = tls.Client(conn, conf)
	}
	err = m.session(conn, conf, auth, e)
	if err != nil && ctx.Err() != nil {
		return problem.New(problem.Unavailable, "notify-mail", "the mail server %s did not take the mail in time", m.address)
	}
	return err
}

// session is one conversation with the server.
func (m *mailer) session(conn net.Conn, conf *tls.Config, auth *account, e envelope) error {
	c, err := smtp.NewClient(conn, m.host)
	if err != nil {
		return m.trouble("does not greet", err, false)
	}
	if err := c.Hello(messageHost(m.origin)); err != nil {
		return m.trouble("does not greet", err, false)
	}
	secure := m.implicit
	if offered, _ := c.Extension("STARTTLS"); offered && !secure {
		if err := c.StartTLS(conf); err != nil {
			return m.trouble("does not begin TLS that can be trusted", err, false).
				Suggest("if its certificate is signed by your own CA, put that into ca_file of the credential")
		}
		secure = true
	}
	if !secure && !m.plain {
		return problem.New(problem.Unavailable, "notify-mail-tls", "the mail server %s offers no TLS", m.address).
			Suggest("use a server that does, or smtp+plain://%s in mail-server for mail that anybody on the way can read", m.address)
	}
	if auth != nil {
		if err := m.signIn(c, auth, secure); err != nil {
			return err
		}
	}
	if err := c.Mail(e.from); err != nil {
		return m.trouble("refuses the sender "+e.from, err, true)
	}
	if err := c.Rcpt(e.to); err != nil {
		return m.trouble("refuses the recipient "+e.to, err, true)
	}
	w, err := c.Data()
	if err != nil {
		return m.trouble("refuses the mail", err, true)
	}
	if _, err := io.Copy(w, bytes.NewReader(e.data)); err != nil {
		return m.trouble("did not take the mail", err, false)
	}
	if err := w.Close(); err != nil {
		return m.trouble("refuses the mail", err, true)
	}
	_ = c.Quit() // it has the mail
	return nil
}

// account is whom a mail server is told we are.
type account struct{ name, password string }

// account reads the account of a credential, nil for none. It must be bound to
// the mail server's host.
func (m *mailer) account(credential string) (*account, error) {
	if credential == "" {
		return nil, nil
	}
	a, err := m.client.Account(credential)
	if err != nil || a.Password == "" {
		return nil, err
	}
	bound := a.Host[strings.LastIndexByte(a.Host, '/')+1:]
	if host, _, err := net.SplitHostPort(bound); err == nil {
		if bound != m.address {
			return nil, m.elsewhere(credential, a.Host)
		}
		bound = host
	}
	if !strings.EqualFold(strings.Trim(bound, "[]"), m.host) {
		return nil, m.elsewhere(credential, a.Host)
	}
	return &account{a.Username, a.Password}, nil
}

func (m *mailer) elsewhere(credential, host string) error {
	return problem.New(problem.Denied, "credential-host", "credential %s is bound to %s and does not go to the mail server %s", credential, host, m.address).
		Suggest("write host: %s into it in the credentials file", m.address)
}

// signIn authenticates (RFC 4954), over TLS alone.
func (m *mailer) signIn(c *smtp.Client, a *account, secure bool) error {
	if !secure {
		return problem.New(problem.Unavailable, "notify-mail-tls", "the mail server %s offers no TLS, and a password is not sent without it", m.address).
			Suggest("use a server that does, or take the account out of the credential")
	}
	_, offered := c.Extension("AUTH")
	ways := strings.Fields(strings.ToUpper(offered))
	var way smtp.Auth
	switch {
	case slices.Contains(ways, "PLAIN"):
		way = plainAuth{a}
	case slices.Contains(ways, "LOGIN"):
		way = &loginAuth{account: a}
	default:
		return problem.New(problem.Unavailable, "notify-mail-auth", "the mail server %s offers neither PLAIN nor LOGIN to sign in", m.address).
			With("offered", "%.80q", offered)
	}
	if err := c.Auth(way); err != nil {
		return m.trouble("does not accept the account", err, false)
	}
	return nil
}

// plainAuth is SASL PLAIN (RFC 4616). That of net/smtp asks for TLS itself and
// does not see the one that began with the connection.
type plainAuth struct{ *account }

func (a plainAuth) Start(*smtp.ServerInfo) (string, []byte, error) {
	return "PLAIN", []byte("\x00" + a.name + "\x00" + a.password), nil
}

func (a plainAuth) Next(_ []byte, more bool) ([]byte, error) {
	if more {
		return nil, errors.New("the server asks for more than PLAIN has")
	}
	return nil, nil
}

// loginAuth is LOGIN, which was never a standard: name, then password.
type loginAuth struct {
	*account
	step int
}

func (a *loginAuth) Start(*smtp.ServerInfo) (string, []byte, error) { return "LOGIN", nil, nil }

func (a *loginAuth) Next(_ []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	switch a.step++; a.step {
	case 1:
		return []byte(a.name), nil
	case 2:
		return []byte(a.password), nil
	}
	return nil, errors.New("the server asks for more than LOGIN has")
}

// trouble is the problem of a step that failed. With final, 5xx is for good.
// The server's words are not passed on but for its code.
func (m *mailer) trouble(what string, err error, final bool) *problem.Error {
	p := problem.New(problem.Unavailable, "notify-mail", "the mail server %s %s", m.address, what)
	if reply, ok := errors.AsType[*textproto.Error](err); ok {
		p.With("reply", "%d", reply.Code)
		if final && reply.Code/100 == 5 {
			p.Kind = problem.Invalid
		}
		return p
	}
	return p.Because(err)
}

// thisMachine reports whether a host is reached without a network.
func thisMachine(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// bounded ends a connection whose other side says too much: net/textproto
// reads lines of any length.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the server said more than %d bytes", maxSMTP)
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
