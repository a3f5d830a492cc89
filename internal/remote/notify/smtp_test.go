package notify

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// mailServer is an SMTP server (RFC 5321) on this machine, with what a test
// needs of STARTTLS and AUTH.
type mailServer struct {
	ln       net.Listener
	cert     tls.Certificate
	implicit bool              // TLS from the first byte
	startTLS bool              // is offered
	auth     string            // offered ways, "" for none
	reply    map[string]string // instead of the usual one, by command
	hang     string            // the command that is not answered

	mu       sync.Mutex
	mails    []received
	commands []string // of all sessions, secrets included
	conns    []net.Conn
}

type received struct {
	from, to, account string
	tls               bool
	data              []byte // as it was before the dots
}

func (m *mailServer) start(t *testing.T) *mailServer {
	t.Helper()
	var err error
	if m.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := m.ln.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			m.conns = append(m.conns, conn)
			m.mu.Unlock()
			served.Go(func() { m.serve(conn) })
		}
	})
	t.Cleanup(func() {
		m.ln.Close()
		m.mu.Lock()
		for _, c := range m.conns {
			c.Close()
		}
		m.mu.Unlock()
		served.Wait()
	})
	return m
}

func (m *mailServer) serve(conn net.Conn) {
	defer conn.Close()
	got := received{}
	if m.implicit {
		conn, got.tls = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{m.cert}}), true
	}
	r := bufio.NewReader(conn)
	say := func(command, usual string) bool {
		if m.hang == command {
			r.ReadString('\n') // until the other side gives up
			return false
		}
		if other, ok := m.reply[command]; ok {
			usual = other
		}
		_, err := fmt.Fprintf(conn, "%s\r\n", usual)
		return err == nil
	}
	if !say("greeting", "220 mail.example.com ready") {
		return
	}
	for {
		text, err := r.ReadString('\n')
		if err != nil {
			return
		}
		text = strings.TrimRight(text, "\r\n")
		m.mu.Lock()
		m.commands = append(m.commands, text)
		m.mu.Unlock()
		verb, _, _ := strings.Cut(text, " ")
		verb = strings.ToUpper(verb)
		ok := true
		switch verb {
		case "EHLO":
			lines := []string{"mail.example.com", "8BITMIME"}
			if m.startTLS && !got.tls {
				lines = append(lines, "STARTTLS")
			}
			if m.auth != "" && (got.tls || !m.startTLS) {
				lines = append(lines, "AUTH "+m.auth)
			}
			ok = say(verb, "250-"+strings.Join(lines[:len(lines)-1], "\r\n250-")+"\r\n250 "+lines[len(lines)-1])
		case "STARTTLS":
			if ok = say(verb, "220 go ahead"); ok {
				conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{m.cert}})
				r, got = bufio.NewReader(conn), received{tls: true}
			}
		case "AUTH":
			got.account = m.signIn(r, conn, text)
			ok = say(verb, map[bool]string{true: "235 hello", false: "535 5.7.8 no such account, password was hunter2"}[got.account == "keep/hunter2"])
		case "MAIL":
			got.from = text
			ok = say(verb, "250 ok")
		case "RCPT":
			got.to = text
			ok = say(verb, "250 ok")
		case "DATA":
			if ok = say(verb, "354 go ahead"); ok && (m.reply[verb] == "" || strings.HasPrefix(m.reply[verb], "3")) {
				for {
					l, err := r.ReadString('\n')
					if err != nil {
						return
					}
					if l == ".\r\n" {
						break
					}
					got.data = append(got.data, strings.TrimPrefix(l, ".")...)
				}
				if ok = say("end", "250 queued"); ok && m.reply["end"] == "" {
					m.mu.Lock()
					m.mails = append(m.mails, got)
					m.mu.Unlock()
				}
			}
		case "QUIT":
			say(verb, "221 bye")
			return
		default:
			ok = say(verb, "502 what?")
		}
		if !ok {
			return
		}
	}
}

// signIn reads an account in one of the two ways, as name/password.
func (m *mailServer) signIn(r *bufio.Reader, conn net.Conn, text string) string {
	decode := func(s string) string {
		b, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
		return string(b)
	}
	fields := strings.Fields(text)
	if len(fields) == 3 && fields[1] == "PLAIN" {
		return strings.ReplaceAll(strings.TrimPrefix(decode(fields[2]), "\x00"), "\x00", "/")
	}
	var parts []string
	for _, ask := range []string{"Username:", "Password:"} {
		fmt.Fprintf(conn, "334 %s\r\n", base64.StdEncoding.EncodeToString([]byte(ask)))
		l, _ := r.ReadString('\n')
		parts = append(parts, decode(l))
	}
	return strings.Join(parts, "/")
}

// authority makes a certificate for 127.0.0.1 that signs itself, and its PEM.
func authority(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

var teamMail = watch.Route{Name: "team", Kind: watch.RouteMail, Target: "team@example.com"}

func TestMailIsSent(t *testing.T) {
	cert, ca := authority(t)
	for _, tt := range []struct {
		name    string
		server  *mailServer
		scheme  string
		account string // lines of the credential beside its CA, "" for none
		tls     bool
	}{
		{"STARTTLS", &mailServer{startTLS: true}, "smtp", "", true},
		{"STARTTLS and PLAIN", &mailServer{startTLS: true, auth: "LOGIN PLAIN"}, "smtp", "keep", true},
		{"STARTTLS and LOGIN", &mailServer{startTLS: true, auth: "CRAM-MD5 LOGIN"}, "smtp", "keep", true},
		{"TLS from the first byte", &mailServer{implicit: true, auth: "PLAIN"}, "smtps", "keep", true},
		{"without TLS on this machine", &mailServer{}, "smtp", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.server.cert = cert
			m := tt.server.start(t)
			lines := []string{"ca_file: ca"}
			if tt.account != "" {
				lines = append(lines, "username: keep", "password_file: password")
			}
			c := client(t, map[string]string{"ca": ca, "password": "hunter2"}, credential("mail", m.ln.Addr().String(), lines...))
			s := newSender(t, c, Mail{Server: tt.scheme + "://" + m.ln.Addr().String(), From: "Chartkeep <keep@example.com>", Credential: "mail"})
			d := delivery(story()...)
			for range 2 { // a repetition
				if err := s.Send(t.Context(), teamMail, d); err != nil {
					t.Fatal(err)
				}
			}
			if len(m.mails) != 2 {
				t.Fatalf("%d mails", len(m.mails))
			}
			got := m.mails[0]
			if got.tls != tt.tls || !strings.HasPrefix(got.from, "MAIL FROM:<keep@example.com>") || got.to != "RCPT TO:<team@example.com>" || (got.account != "") != (tt.account != "") {
				t.Errorf("got %+v", got)
			}
			a, b := open(t, got.data), open(t, m.mails[1].data)
			if a.header.Get("Message-Id") != "<"+d.ID+"@keep.example.com-log>" || a.header.Get("Message-Id") != b.header.Get("Message-Id") {
				t.Errorf("ids %s and %s", a.header.Get("Message-Id"), b.header.Get("Message-Id"))
			}
			if !strings.Contains(a.text, "nobody released") || !strings.Contains(a.html, "nobody released") {
				t.Errorf("the text is %s", a.text)
			}
		})
	}
}

func TestMailIsNotSent(t *testing.T) {
	cert, ca := authority(t)
	for _, tt := range []struct {
		name    string
		server  *mailServer
		scheme  string
		account bool
		trusted bool
		kind    problem.Kind
		words   string
	}{
		{"a certificate nobody knows", &mailServer{startTLS: true}, "smtp", false, false, problem.Unavailable, "does not begin TLS"},
		{"the same from the first byte", &mailServer{implicit: true}, "smtps", false, false, problem.Unavailable, "does not greet"},
		{"a password without TLS", &mailServer{auth: "PLAIN"}, "smtp", true, true, problem.Unavailable, "a password is not sent"},
		{"STARTTLS that is refused", &mailServer{startTLS: true, reply: map[string]string{"STARTTLS": "454 not now"}}, "smtp", true, true, problem.Unavailable, "454"},
		{"no way to sign in", &mailServer{startTLS: true, auth: "CRAM-MD5"}, "smtp", true, true, problem.Unavailable, "neither PLAIN nor LOGIN"},
		{"a wrong password", &mailServer{startTLS: true, auth: "PLAIN", reply: map[string]string{"AUTH": "535 hunter2 is wrong"}}, "smtp", true, true, problem.Unavailable, "535"},
		{"no greeting", &mailServer{reply: map[string]string{"greeting": "554 go away"}}, "smtp", false, true, problem.Unavailable, "554"},
		{"greylisting", &mailServer{reply: map[string]string{"RCPT": "451 try later"}}, "smtp", false, true, problem.Unavailable, "451"},
		{"no such recipient", &mailServer{reply: map[string]string{"RCPT": "550 no such user"}}, "smtp", false, true, problem.Invalid, "550"},
		{"no such sender", &mailServer{reply: map[string]string{"MAIL": "553 who?"}}, "smtp", false, true, problem.Invalid, "553"},
		{"data is refused", &mailServer{reply: map[string]string{"DATA": "554 no"}}, "smtp", false, true, problem.Invalid, "554"},
		{"spam", &mailServer{reply: map[string]string{"end": "554 looks like spam"}}, "smtp", false, true, problem.Invalid, "554"},
		{"full", &mailServer{reply: map[string]string{"end": "452 no room"}}, "smtp", false, true, problem.Unavailable, "452"},
		{"a line without end", &mailServer{reply: map[string]string{"EHLO": "250 " + strings.Repeat("x", 1<<20)}}, "smtp", false, true, problem.Unavailable, "said more than"},
		{"no SMTP", &mailServer{reply: map[string]string{"greeting": "HTTP/1.1 400 Bad Request"}}, "smtp", false, true, problem.Unavailable, "does not greet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.server.cert = cert
			m := tt.server.start(t)
			var lines []string
			if tt.trusted {
				lines = append(lines, "ca_file: ca")
			}
			if tt.account {
				lines = append(lines, "username: keep", "password_file: password")
			}
			c := client(t, map[string]string{"ca": ca, "password": "hunter2"}, credential("mail", m.ln.Addr().String(), lines...))
			s := newSender(t, c, Mail{Server: tt.scheme + "://" + m.ln.Addr().String(), From: "keep@example.com", Credential: "mail"})
			err := s.Send(t.Context(), teamMail, delivery(story()...))
			if problem.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("%s: %v", problem.KindOf(err), err)
			}
			p, _ := problem.As(err)
			if strings.Contains(fmt.Sprint(p.Message, p.Facts), "hunter2") || strings.Contains(fmt.Sprint(p.Message, p.Facts), "spam") {
				t.Errorf("the problem says what the server said: %v", err)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if len(m.mails) != 0 {
				t.Error("the mail was sent")
			}
			if i := slices.IndexFunc(m.commands, func(s string) bool { return strings.HasPrefix(s, "AUTH") }); i >= 0 && !slices.Contains(m.commands[:i], "STARTTLS") {
				t.Errorf("the account was sent in clear: %v", m.commands)
			}
		})
	}
}

func TestMailServerHangs(t *testing.T) {
	for _, command := range []string{"greeting", "EHLO", "MAIL", "DATA", "end"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			m := (&mailServer{hang: command}).start(t)
			s := newSender(t, client(t, nil, credential("x", "x")), Mail{Server: "smtp://" + m.ln.Addr().String(), From: "keep@example.com"})
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := s.Send(ctx, teamMail, delivery(story()...)); problem.KindOf(err) != problem.Unavailable || !strings.Contains(err.Error(), "in time") {
				t.Errorf("got %v", err)
			}
		})
	}
	// When it has the mail, how it says goodbye does not matter.
	m := (&mailServer{reply: map[string]string{"QUIT": "500 stay"}}).start(t)
	s := newSender(t, client(t, nil, credential("x", "x")), Mail{Server: "smtp://" + m.ln.Addr().String(), From: "keep@example.com"})
	if err := s.Send(t.Context(), teamMail, delivery(story()...)); err != nil || len(m.mails) != 1 {
		t.Errorf("%d mails: %v", len(m.mails), err)
	}
}

func TestMailGoesToItsServerAlone(t *testing.T) {
	m := (&mailServer{}).start(t)
	address := m.ln.Addr().String()
	c := client(t, map[string]string{"password": "hunter2"},
		credential("other", "mail.example.com", "username: keep", "password_file: password"),
		credential("port", "127.0.0.1:1", "username: keep", "password_file: password"))
	s := newSender(t, c, Mail{Server: "smtp://" + address, From: "keep@example.com"})
	for _, name := range []string{"other", "port", "none"} {
		r := teamMail
		r.Credential = name
		err := s.Send(t.Context(), r, delivery(story()...))
		if p, ok := problem.As(err); !ok || p.Kind != problem.Unavailable || !strings.HasPrefix(p.Rule, "credential") || p.Try == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The guard on addresses is that of everything that goes out.
	closed := newSender(t, remote.New(remote.Config{}), Mail{Server: "smtp://" + address, From: "keep@example.com"})
	if err := closed.Send(t.Context(), teamMail, delivery(story()...)); problem.KindOf(err) != problem.Unavailable || !strings.Contains(err.Error(), "may not be dialled") {
		t.Errorf("a private address: %v", err)
	}
	if len(m.commands) != 0 {
		t.Errorf("the server was told %v", m.commands)
	}
	if err := newSender(t, c, Mail{}).Send(t.Context(), teamMail, delivery(story()...)); problem.KindOf(err) != problem.Unavailable {
		t.Errorf("without a server: %v", err)
	}
}

// Without TLS, a mail goes to another machine only where that is allowed. The
// other machine is this one under a name that does not say so.
func TestPlainMail(t *testing.T) {
	m := (&mailServer{}).start(t)
	_, port, err := net.SplitHostPort(m.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, plain := range []bool{false, true} {
		mail := &mailer{plain: plain, host: "mail.example.com", address: "127.0.0.1:" + port, origin: "o"}
		mail.client = remote.New(remote.Config{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
		mail.from.Address, mail.link = "keep@example.com", func(string) string { return "" }
		err := mail.send(t.Context(), teamMail, delivery(story()...), message{}, evening)
		if plain != (err == nil) {
			t.Errorf("plain %t: %v", plain, err)
		}
		if p, ok := problem.As(err); ok && p.Rule != "notify-mail-tls" {
			t.Errorf("plain %t: rule %s", plain, p.Rule)
		}
	}
}

func TestNewChecksMail(t *testing.T) {
	for _, m := range []Mail{
		{Server: "mail.example.com", From: "a@b.example"}, {Server: "http://mail.example.com", From: "a@b.example"}, {Server: "smtp://", From: "a@b.example"},
		{Server: "smtp://me:secret@mail.example.com", From: "a@b.example"}, {Server: "smtp://mail.example.com/x", From: "a@b.example"},
		{Server: "smtp://mail.example.com"}, {Server: "smtp://mail.example.com", From: "a@b\r\nBcc: c@d"}, {From: "a@b.example"},
	} {
		if _, err := New(Config{Mail: m}); problem.KindOf(err) != problem.Invalid || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", m, err)
		}
	}
	for _, tt := range []struct {
		server, address string
		implicit, plain bool
	}{
		{"smtp://mail.example.com", "mail.example.com:587", false, false}, {"smtps://mail.example.com", "mail.example.com:465", true, false},
		{"smtp+plain://mail.example.com:25", "mail.example.com:25", false, true}, {"smtp://[::1]:25", "[::1]:25", false, true}, {"smtp://localhost", "localhost:587", false, true},
	} {
		s, err := New(Config{Mail: Mail{Server: tt.server, From: "Me <a@b.example>"}})
		if err != nil || s.mail.address != tt.address || s.mail.implicit != tt.implicit || s.mail.plain != tt.plain {
			t.Errorf("%s: %v, %+v", tt.server, err, s.mail)
		}
	}
}
