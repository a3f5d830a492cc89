package remote

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
)

const goodCredentials = `
# What goes where.
credentials:
  harbor:
    host: charts.example.com:8443
    username: bot
    password_file: harbor.txt
    realms: [auth.example.com]
    ca_file: ca.pem
  github:
    host: api.github.com
    token_env: CHARTKEEP_TEST_TOKEN
  slack:
    host: hooks.example.com
    url_file: /run/secrets/slack
  hook:
    host: http://hooks.internal:8080
    secret_file: hook
    proxy: http://proxy.example.com:3128
    cert_file: a.pem
    key_file: a.key
`

func TestParseCredentials(t *testing.T) {
	c, err := parseCredentials([]byte(goodCredentials), "/conf")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Names(); !slices.Equal(got, []string{"github", "harbor", "hook", "slack"}) {
		t.Errorf("names %v", got)
	}
	h := c.byName["harbor"]
	if h.password.file != "/conf/harbor.txt" || h.ca != "/conf/ca.pem" || h.username != "bot" || len(h.realms) != 1 {
		t.Errorf("harbor: %+v", h)
	}
	if s := c.byName["slack"]; s.address.file != "/run/secrets/slack" {
		t.Errorf("slack: %+v", s)
	}
	for _, empty := range []string{"", "# nothing\n", "credentials:\n", "credentials: {}\n"} {
		if c, err := parseCredentials([]byte(empty), "/"); err != nil || len(c.Names()) != 0 {
			t.Errorf("%q: %v %v", empty, c.Names(), err)
		}
	}
}

func TestParseCredentialsRefuses(t *testing.T) {
	one := func(lines ...string) string {
		return "credentials:\n  a:\n    " + strings.Join(lines, "\n    ") + "\n"
	}
	for _, tc := range []struct{ name, text, says string }{
		{"inline password", one("host: h", "username: u", "password: hunter2"), "use password_file or password_env"},
		{"inline token", one("host: h", "token: hunter2"), "use token_file or token_env"},
		{"inline secret", one("host: h", "secret: hunter2"), "use secret_file"},
		{"inline url", one("host: h", "url: https://hunter2"), "use url_file"},
		{"unknown key", one("host: h", "hots: x"), `unknown key "hots"`},
		{"unknown top key", "credential: {}\n", "one key, credentials"},
		{"twice", one("host: h", "host: i"), "stands twice"},
		{"no host", one("token_file: x"), "has no host"},
		{"null", "credentials:\n  a:\n", "has no host"},
		{"path in host", one("host: example.com/charts"), "must be a host"},
		{"user in host", one("host: hunter2@example.com"), "must be a host"},
		{"scheme in host", one("host: ftp://example.com"), "must be a host"},
		{"empty port", one("host: 'example.com:'"), "must be a host"},
		{"user alone", one("host: h", "username: u"), "belong together"},
		{"password alone", one("host: h", "password_file: u"), "belong together"},
		{"two ways", one("host: h", "token_file: x", "token_env: X"), "not from both"},
		{"password and token", one("host: h", "username: u", "password_file: x", "token_env: X"), "only one"},
		{"colon in user", one("host: h", "username: 'u:v'", "password_file: x"), "no colon"},
		{"line break in user", one("host: h", `username: "u\nv"`, "password_file: x"), "control character"},
		{"cert alone", one("host: h", "cert_file: x"), "belong together"},
		{"realms for a token", one("host: h", "token_file: x", "realms: [r]"), "username and password alone"},
		{"realms no list", one("host: h", "username: u", "password_file: x", "realms: r"), "list of at most"},
		{"secret in proxy", one("host: h", "proxy: http://u:hunter2@p:1"), "no place in this file"},
		{"strange proxy", one("host: h", "proxy: ftp://p:1"), "must begin with"},
		{"list", "credentials: [a]\n", "must be a mapping"},
		{"two documents", "credentials: {}\n---\ncredentials: {}\n", "more than one document"},
		{"no YAML", "credentials: [hunter2\n", "is not YAML"},
		{"alias", "credentials:\n  a: &x {host: h}\n  b: *x\n", "without anchors"},
		{"merge", "credentials:\n  a: {host: h, <<: {token_file: x}}\n", "without anchors"},
		{"name", "credentials:\n  'a b': {host: h}\n", "printable ASCII"},
		{"map as host", one("host: {a: b}"), "must be a text"},
	} {
		_, err := parseCredentials([]byte(tc.text), "/")
		p, ok := problem.As(err)
		if !ok || !strings.Contains(p.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.says)
		} else if strings.Contains(p.Error(), "hunter2") {
			t.Errorf("%s: the error tells the secret: %v", tc.name, err)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, tc := range []struct {
		host, url string
		want      bool
	}{
		{"a.example", "https://a.example/x", true},
		{"a.example", "https://A.example:443/x", true},
		{"a.example:443", "https://a.example/x", true},
		{"https://a.example", "https://a.example/x", true},
		{"a.example", "https://a.example:8443/x", false},
		{"a.example:8443", "https://a.example:8443/x", true},
		{"a.example", "https://b.a.example/", false},
		{"a.example", "https://a.example.evil.example/", false},
		{"a.example", "http://a.example/", false},
		{"a.example:8080", "http://a.example:8080/", false},
		{"http://a.example", "http://a.example/", true},
		{"http://a.example", "http://a.example:81/", false},
		{"http://a.example", "https://a.example/", true},
		{"127.0.0.1:5000", "http://127.0.0.1:5000/", true},
		{"127.0.0.1:5000", "http://127.0.0.1:5001/", false},
		{"https://127.0.0.1:5000", "http://127.0.0.1:5000/", false},
		{"[::1]:5000", "http://[::1]:5000/", true},
		{"localhost:5000", "http://localhost:5000/", false}, // a name is what somebody says it is
	} {
		e, err := parseEndpoint(tc.host)
		if err != nil {
			t.Fatal(err)
		}
		u, _ := url.Parse(tc.url)
		if got := e.covers(u); got != tc.want {
			t.Errorf("%s covers %s: %v, want %v", tc.host, tc.url, got, tc.want)
		}
	}
}

func TestFor(t *testing.T) {
	c, err := parseCredentials([]byte(goodCredentials), "/")
	if err != nil {
		t.Fatal(err)
	}
	for u, want := range map[string]string{
		"https://charts.example.com:8443/x": "harbor", "oci://charts.example.com:8443/a/b": "harbor", "https://charts.example.com/x": "",
		"http://hooks.internal:8080/": "hook", "%zz": "",
	} {
		if got := c.For(u); got != want {
			t.Errorf("%s: %q, want %q", u, got, want)
		}
	}
	if got := (*Credentials)(nil).For("https://h.example"); got != "" {
		t.Errorf("without a file: %q", got)
	}
}

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("c.yaml", `credentials:
  a: {host: h.example, username: u, password_file: pw}
  env: {host: h.example, token_env: CHARTKEEP_TEST_TOKEN}
  hook: {host: h.example, secret_file: sub/hook}
  slack: {host: h.example, url_file: slack}
`, 0o600)
	creds, err := LoadCredentials(filepath.Join(dir, "c.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c := New(Config{Credentials: creds})
	if _, err := c.Account("a"); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("no file: %v", err)
	}
	for text, want := range map[string]string{"one\n": "one", "two": "two", "three\r\n": "three", " spaces stay \n": " spaces stay "} {
		write("pw", text, 0o600) // read again at every use
		if a, err := c.Account("a"); err != nil || a.Password != want || a.Username != "u" || a.Host != "h.example" {
			t.Errorf("%q: %+v %v", text, a, err)
		}
	}
	for text, says := range map[string]string{"": "is empty", "\n": "is empty", "a\nb\n": "line break", "a\x00": "control character"} {
		write("pw", text, 0o600)
		if _, err := c.Account("a"); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
	write("pw", strings.Repeat("x", maxSecret+1), 0o600)
	if _, err := c.Account("a"); problem.KindOf(err) != problem.TooLarge {
		t.Errorf("large file: %v", err)
	}
	if _, err := c.Account("env"); err == nil || !strings.Contains(err.Error(), "CHARTKEEP_TEST_TOKEN") {
		t.Errorf("no variable: %v", err)
	}
	t.Setenv("CHARTKEEP_TEST_TOKEN", "t0k")
	if a, err := c.Account("env"); err != nil || a.Token != "t0k" {
		t.Errorf("variable: %+v %v", a, err)
	}
	if _, err := c.Secret("a"); err == nil || !strings.Contains(err.Error(), "has no secret") {
		t.Errorf("no secret: %v", err)
	}
	if _, err := c.Account("nobody"); err == nil || !strings.Contains(err.Error(), "known a, env, hook, slack") {
		t.Errorf("unknown: %v", err)
	}
	write("slack", "https://h.example/services/T0/B0/hunter2\n", 0o600)
	if u, err := c.URL("slack"); err != nil || u.Path != "/services/T0/B0/hunter2" {
		t.Errorf("URL: %v %v", u, err)
	}
	write("slack", "https://other.example/services/hunter2\n", 0o600)
	if _, err := c.URL("slack"); problem.KindOf(err) != problem.Denied || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("URL of another host: %v", err)
	}
	if _, err := LoadCredentials(filepath.Join(dir, "none.yaml")); problem.KindOf(err) != problem.Unavailable {
		t.Errorf("no file: %v", err)
	}
}

func FuzzCredentials(f *testing.F) {
	f.Add([]byte(goodCredentials))
	f.Add([]byte("credentials:\n  a: &x [*x]\n"))
	f.Add([]byte("credentials: {a: {host: '[::1]:80', realms: [~]}}"))
	f.Add([]byte("? [a]\n: b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCredentials(b, "/conf")
		if err != nil {
			if _, ok := problem.As(err); !ok {
				t.Fatalf("no problem: %v", err)
			}
			return
		}
		for _, n := range c.Names() {
			cr := c.byName[n]
			if cr.host.host == "" {
				t.Fatalf("%q is bound to no host", n)
			}
			u := &url.URL{Scheme: "https", Host: "somewhere.else.example:1"}
			if cr.host.covers(u) && cr.host.host != "somewhere.else.example" {
				t.Fatalf("%q goes to %s", n, u)
			}
		}
	})
}
