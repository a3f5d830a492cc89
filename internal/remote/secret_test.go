package remote

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// written makes a client with credentials; each text of files is written to a
// file of its name first.
func written(t *testing.T, yaml string, files map[string]string) *Client {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	creds, err := parseCredentials([]byte("credentials:\n"+yaml), dir)
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{Credentials: creds, AllowNetworks: loopback, Times: Times{Dial: 5 * time.Second}})
}

func host(s *httptest.Server) string { return s.Listener.Addr().String() }

func TestAccountStaysOnItsHost(t *testing.T) {
	var seen []string
	elsewhere := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		if r.URL.Query().Get("back") != "" {
			http.Redirect(w, r, r.URL.Query().Get("back"), http.StatusFound)
			return
		}
		fmt.Fprint(w, "elsewhere")
	})
	var own []string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		own = append(own, r.Header.Get("Authorization"))
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		case "/away/and/back":
			http.Redirect(w, r, elsewhere.URL+"?back="+url.QueryEscape("http://"+r.Host+"/end"), http.StatusTemporaryRedirect)
		case "/same":
			http.Redirect(w, r, "/end", http.StatusFound)
		default:
			fmt.Fprint(w, "own")
		}
	})
	c := written(t, fmt.Sprintf("  basic: {host: '%s', username: bot, password_file: pw}\n  bearer: {host: '%[1]s', token_file: pw}\n", host(s)), map[string]string{"pw": "hunter2\n"})
	want := map[string]string{"basic": "Basic Ym90Omh1bnRlcjI=", "bearer": "Bearer hunter2"}
	for name, header := range want {
		for path, hops := range map[string]int{"/end": 1, "/same": 2, "/away": 1, "/away/and/back": 2} {
			seen, own = nil, nil
			if _, err := c.Get(t.Context(), Get{URL: s.URL + path, Credential: name, Limit: 100}); err != nil {
				t.Fatal(err)
			}
			if len(own) != hops {
				t.Errorf("%s: %d requests, want %d", path, len(own), hops)
			}
			for _, h := range own {
				if h != header {
					t.Errorf("%s %s: own host got %q", name, path, h)
				}
			}
			for _, h := range seen {
				if h != "" {
					t.Errorf("%s %s: another host got %q", name, path, h)
				}
			}
		}
	}
	// An archive that is elsewhere is opened without the account.
	seen = nil
	r, err := c.Open(t.Context(), elsewhere.URL, "basic", 100)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	if len(seen) != 1 || seen[0] != "" {
		t.Errorf("archive elsewhere: %q", seen)
	}
	_, err = c.Get(t.Context(), Get{URL: elsewhere.URL, Credential: "basic", Limit: 100})
	wants(t, err, problem.Denied, "credential basic is bound to "+host(s))
	// A header that the caller made does not leave either.
	seen = nil
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, elsewhere.URL, nil)
	req.Header.Set("Authorization", "Bearer made")
	res, err := c.Do(req, "basic")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if len(seen) != 1 || seen[0] != "" {
		t.Errorf("made header: %q", seen)
	}
}

func TestBodyDoesNotGoToAnotherHost(t *testing.T) {
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("was reached") })
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader("secret"))
	_, err := New(Config{AllowNetworks: loopback}).Do(req, "")
	wants(t, err, problem.Denied, "leads to another host")
}

// Unsigned sends what its caller made, to the host that it was made for.
func TestUnsigned(t *testing.T) {
	var got []string
	away := serve(t, func(w http.ResponseWriter, r *http.Request) { got = append(got, r.Header.Get("Authorization")) })
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		http.Redirect(w, r, away.URL, http.StatusTemporaryRedirect)
	})
	c := written(t, "  own: {host: '"+host(s)+"', username: u, password_file: p}\n  other: {host: a.example, username: u, password_file: p}\n", map[string]string{"p": "x"})
	for _, name := range []string{"", "own", "other"} {
		for _, header := range []string{"", "Bearer made"} {
			got = nil
			h, err := c.Unsigned(name)
			if err != nil {
				t.Fatal(err)
			}
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
			if header != "" {
				req.Header.Set("Authorization", header)
			}
			res, err := h.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if want := []string{header, ""}; !slices.Equal(got, want) {
				t.Errorf("%q: %q, want %q", name, got, want)
			}
		}
	}
}

func TestAccountAt(t *testing.T) {
	c := written(t, "  a: {host: a.example, username: u, password_file: p, realms: [auth.example]}\n", map[string]string{"p": "x"})
	for u, ok := range map[string]bool{
		"https://a.example/v2/": true, "https://auth.example/token": true, "http://auth.example/token": false, "https://b.example/": false, "%zz": false,
	} {
		a, err := c.AccountAt("a", u)
		if (err == nil) != ok || ok && a.Password != "x" {
			t.Errorf("%s: %+v %v", u, a, err)
		}
	}
	_, err := c.AccountAt("a", "https://b.example/token")
	wants(t, err, problem.Denied, "bound to a.example", "realms: [b.example]")
}

func TestPlainHTTP(t *testing.T) {
	c := written(t, `
  clear: {host: 'http://reg.example:5000'}
  tls: {host: reg.example}
  local: {host: '127.0.0.1:5000'}
  localtls: {host: 'https://127.0.0.1:5000'}
  localca: {host: '127.0.0.1:5000', ca_file: ca}
`, nil)
	for _, tc := range []struct {
		credential, host string
		want             bool
	}{
		{"", "reg.example", false}, {"", "127.0.0.1:5000", true}, {"", "[::1]:5000", true}, {"", "localhost:5000", false},
		{"clear", "reg.example:5000", true}, {"clear", "reg.example", false}, {"tls", "reg.example", false}, {"tls", "reg.example:80", false},
		{"local", "127.0.0.1:5000", true}, {"localtls", "127.0.0.1:5000", false}, {"localca", "127.0.0.1:5000", false},
		{"tls", "127.0.0.1:5000", true},
	} {
		if got := c.PlainHTTP(tc.credential, tc.host); got != tc.want {
			t.Errorf("%s at %s: %v, want %v", tc.credential, tc.host, got, tc.want)
		}
	}
}

// authority makes certificates for 127.0.0.1, as PEM.
func authority(t *testing.T, name string) (pool *x509.CertPool, ca string, issue func(expired bool) (cert, key string)) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca))
	return pool, ca, func(expired bool) (string, string) {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		if expired {
			leaf.NotAfter = time.Now().Add(-time.Hour)
		}
		der, err := x509.CreateCertificate(rand.Reader, leaf, root, &own.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		pk, err := x509.MarshalPKCS8PrivateKey(own)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pk}))
	}
}

func serveTLS(t *testing.T, cert, key string, clients *x509.CertPool, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	if clients != nil {
		s.TLS.ClientAuth, s.TLS.ClientCAs = tls.RequireAndVerifyClientCert, clients
	}
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestTLS(t *testing.T) {
	pool, ca, issue := authority(t, "Test CA")
	cert, key := issue(false)
	expired, expiredKey := issue(true)
	_, otherCA, _ := authority(t, "Other CA")
	ok := func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }
	private := serveTLS(t, cert, key, nil, ok)
	mutual := serveTLS(t, cert, key, pool, ok)
	old := serveTLS(t, expired, expiredKey, nil, ok)
	clear := serve(t, ok)
	weak := httptest.NewUnstartedServer(http.HandlerFunc(ok))
	weak.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	weak.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	weak.StartTLS()
	t.Cleanup(weak.Close)

	mine, mineKey := issue(false)
	c := written(t, fmt.Sprintf(`
  private: {host: '%s', ca_file: ca}
  other: {host: '%[1]s', ca_file: other}
  mutual: {host: '%s', ca_file: ca, cert_file: cert, key_file: key}
  uncertified: {host: '%[2]s', ca_file: ca}
  old: {host: '%s', ca_file: ca}
`, host(private), host(mutual), host(old)), map[string]string{"ca": ca, "other": otherCA, "cert": mine, "key": mineKey})
	get := func(s *httptest.Server, credential string) (string, error) {
		d, err := c.Get(t.Context(), Get{URL: strings.Replace(s.URL, "http:", "https:", 1), Credential: credential, Limit: 100})
		if err != nil {
			return "", err
		}
		return string(d.Body), nil
	}
	for name, s := range map[string]*httptest.Server{"private": private, "mutual": mutual} {
		if proto, err := get(s, name); err != nil || proto != "HTTP/2.0" {
			t.Errorf("%s: %q %v", name, proto, err)
		}
	}
	_, err := get(private, "")
	wants(t, err, problem.Unavailable, "signed by a CA that is not known", "CN=Test CA", "ca_file")
	_, err = get(private, "other")
	wants(t, err, problem.Unavailable, "signed by a CA that is not known", "ca_file of credential other")
	_, err = get(mutual, "uncertified")
	// Whether the server's refusal comes before or after the request is chance.
	if p, _ := problem.As(err); p == nil || p.Rule != "remote-tls" || !strings.Contains(p.Try, "cert_file and key_file of credential uncertified") {
		t.Errorf("no client certificate: %v", err)
	}
	_, err = get(old, "old")
	wants(t, err, problem.Unavailable, "is not valid now", "valid ")
	_, err = get(clear, "")
	wants(t, err, problem.Unavailable, "does not speak TLS")
	_, err = get(weak, "")
	if p, _ := problem.As(err); p == nil || p.Rule != "remote-tls" {
		t.Errorf("TLS 1.1: %v", err)
	}
	name := serveTLS(t, cert, key, nil, ok)
	u := strings.Replace(name.URL, "127.0.0.1", "localhost", 1)
	cn := written(t, "  n: {host: '"+strings.TrimPrefix(u, "https://")+"', ca_file: ca}\n", map[string]string{"ca": ca})
	_, err = cn.Get(t.Context(), Get{URL: u, Credential: "n", Limit: 10})
	wants(t, err, problem.Unavailable, "for another name")
}

// A certificate of ours is shown to its own host alone, and read again when its
// file changes.
func TestClientCertificate(t *testing.T) {
	_, ca, issue := authority(t, "Test CA")
	cert, key := issue(false)
	shown := 0
	look := func(w http.ResponseWriter, r *http.Request) {
		shown += len(r.TLS.PeerCertificates)
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
		}
	}
	ask := func() *httptest.Server {
		pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.HandlerFunc(look))
		s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	own, other := ask(), ask()
	mine, mineKey := issue(false)
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ca", ca)
	write("cert", mine)
	write("key", mineKey)
	creds, err := parseCredentials(fmt.Appendf(nil, "credentials: {m: {host: '%s', ca_file: ca, cert_file: cert, key_file: key}}", host(own)), dir)
	if err != nil {
		t.Fatal(err)
	}
	c := New(Config{Credentials: creds, AllowNetworks: loopback})
	defer c.Close()
	for _, path := range []string{"/", "/?to=" + url.QueryEscape(other.URL)} {
		shown = 0
		if _, err := c.Get(t.Context(), Get{URL: own.URL + path, Credential: "m", Limit: 10}); err != nil {
			t.Fatal(err)
		}
		if shown != 1 {
			t.Errorf("%s: the certificate was shown %d times, want once", path, shown)
		}
	}
	before := c.routes["m\x00"]
	next, nextKey := issue(false)
	write("cert", next)
	if _, err := c.Get(t.Context(), Get{URL: own.URL, Credential: "m", Limit: 10}); problem.KindOf(err) != problem.Invalid {
		t.Errorf("certificate without its key: %v", err)
	}
	write("key", nextKey)
	if _, err := c.Get(t.Context(), Get{URL: own.URL, Credential: "m", Limit: 10}); err != nil {
		t.Error(err)
	}
	if c.routes["m\x00"] == before {
		t.Error("the new certificate is not used")
	}
}

func TestDowngrade(t *testing.T) {
	_, ca, issue := authority(t, "Test CA")
	cert, key := issue(false)
	clear := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("was reached") })
	s := serveTLS(t, cert, key, nil, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, clear.URL, http.StatusFound) })
	c := written(t, "  p: {host: '"+host(s)+"', ca_file: ca}\n", map[string]string{"ca": ca})
	_, err := c.Get(t.Context(), Get{URL: s.URL, Credential: "p", Limit: 10})
	wants(t, err, problem.Denied, "leads from https to http")
}

func TestProxy(t *testing.T) {
	var asked []string
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.RequestURI)
		if r.Method == http.MethodConnect {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
			return
		}
		fmt.Fprint(w, "by proxy")
	})
	creds, err := parseCredentials([]byte("credentials: {p: {host: 'http://charts.invalid', proxy: '"+proxy.URL+"'}, s: {host: charts.invalid, proxy: '"+proxy.URL+"'}}"), "/")
	if err != nil {
		t.Fatal(err)
	}
	c := New(Config{Credentials: creds}) // nothing is allowed but the proxy
	d, err := c.Get(t.Context(), Get{URL: "http://charts.invalid/index.yaml", Credential: "p", Limit: 100})
	if err != nil || string(d.Body) != "by proxy" {
		t.Fatalf("%v %v", d, err)
	}
	_, err = c.Get(t.Context(), Get{URL: "http://charts.invalid/away", Credential: "p", Limit: 100})
	wants(t, err, problem.Denied, "may not be dialled")
	_, err = c.Get(t.Context(), Get{URL: "https://charts.invalid/", Credential: "s", Limit: 100})
	wants(t, err, problem.Denied, "does not connect to charts.invalid:443", "status 403")
	want := "GET http://charts.invalid/index.yaml,GET http://charts.invalid/away,CONNECT charts.invalid:443"
	if got := strings.Join(asked, ","); got != want {
		t.Errorf("the proxy was asked %s, want %s", got, want)
	}
	for _, u := range []string{"http://10.0.0.1/", "http://[::1]/", "http://localhost/", "http://2130706433/"} {
		r, err := c.Open(t.Context(), u, "p", 10)
		if err == nil {
			r.Close()
			t.Errorf("%s was asked for", u)
		}
	}
	// The proxy of the configuration serves requests without one of their own.
	pu, _ := url.Parse(proxy.URL)
	e := New(Config{Proxy: http.ProxyURL(pu)})
	if d, err := e.Get(t.Context(), Get{URL: "http://other.invalid/", Limit: 100}); err != nil || string(d.Body) != "by proxy" {
		t.Errorf("%v %v", d, err)
	}
}

func TestProxyThatIsNotThere(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	s.Close()
	gone, _ := url.Parse(s.URL)
	c := New(Config{Proxy: http.ProxyURL(gone)})
	for _, scheme := range []string{"http", "https"} {
		_, err := c.Get(t.Context(), Get{URL: scheme + "://charts.invalid/", Limit: 10})
		wants(t, err, problem.Unavailable, "refused", "the proxy", gone.Host)
	}
}

func TestSecretURLIsNotShown(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) })
	c := written(t, "  slack: {host: '"+host(s)+"', url_file: u}\n", map[string]string{"u": s.URL + "/services/hunter2"})
	u, err := c.URL("slack")
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, u.String(), strings.NewReader("{}"))
	res, err := c.Do(req, "slack")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	err = Refusal(res, "slack")
	wants(t, err, problem.Denied, "http://"+host(s)+"/…")
	s.Close()
	req, _ = http.NewRequestWithContext(t.Context(), http.MethodPost, u.String(), strings.NewReader("{}"))
	_, failed := c.Do(req, "slack")
	wants(t, failed, problem.Unavailable, "/…")
	for _, e := range []error{err, failed} {
		if strings.Contains(e.Error(), "hunter2") {
			t.Errorf("the error tells the secret: %v", e)
		}
	}
}

func TestFilesForAllAreWarnedOf(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {})
	c := written(t, "  a: {host: '"+host(s)+"', token_file: open}\n  b: {host: '"+host(s)+"', token_file: kept}\n", map[string]string{"open": "x", "kept": "x"})
	var log bytes.Buffer
	c.config.Log = slog.New(slog.NewTextHandler(&log, nil))
	cred, _ := c.config.Credentials.find("a")
	if err := os.Chmod(cred.token.file, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "a"} {
		if _, err := c.Get(t.Context(), Get{URL: s.URL, Credential: name, Limit: 10}); err != nil {
			t.Fatal(err)
		}
	}
	if got := log.String(); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, "open") || !strings.Contains(got, "rw-r--r--") {
		t.Errorf("log: %q", got)
	}
}

// Dial and TLS serve what is not HTTP, such as mail.
func TestDialTLS(t *testing.T) {
	_, ca, issue := authority(t, "Test CA")
	cert, key := issue(false)
	s := serveTLS(t, cert, key, nil, func(http.ResponseWriter, *http.Request) {})
	c := written(t, "  mail: {host: '"+host(s)+"', ca_file: ca}\n", map[string]string{"ca": ca})
	conn, err := c.Dial(t.Context(), host(s))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conf, err := c.TLS("mail", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tls.Client(conn, conf).HandshakeContext(t.Context()); err != nil {
		t.Error(err)
	}
	if conf, err := c.TLS("", "x"); err != nil || conf.MinVersion != tls.VersionTLS12 || conf.RootCAs != nil {
		t.Errorf("%+v %v", conf, err)
	}
	if _, err := c.TLS("nobody", "x"); err == nil {
		t.Error("an unknown credential is taken")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	_, err = c.Dial(ctx, host(s))
	wants(t, err, problem.Unavailable, "in time")
}
