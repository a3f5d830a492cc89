package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Limits of a credentials file and of what it names.
const (
	maxCredentialsFile = 1 << 20
	maxCredentials     = 1000
	maxSecret          = 64 << 10
	maxRealms          = 16
)

// Credentials are those of a credentials file: names of secrets, not secrets.
// They do not change.
type Credentials struct {
	byName map[string]*credential
}

// secret says where a secret is read when it is used. The zero value is none.
type secret struct {
	file, env string
}

func (s secret) given() bool { return s.file != "" || s.env != "" }

// credential is what a name stands for.
type credential struct {
	name   string
	line   int
	host   endpoint
	realms []endpoint

	username         string
	password, token  secret
	signing, address secret // secret_… and url_…
	cert, key, ca    string // paths of PEM files
	proxy            *url.URL
}

// endpoint is a host that a credential is bound to.
type endpoint struct {
	host  string // lower case, without brackets
	port  string // "" is the usual one of the scheme
	plain bool   // the secret may go there without TLS
	text  string // as written
}

// LoadCredentials reads a credentials file. Files that it names are found from
// its folder, and are read when they are used. Errors are problem.Invalid with
// the line, or problem.Unavailable for a file that cannot be read.
func LoadCredentials(path string) (*Credentials, error) {
	b, err := readLimited(path, maxCredentialsFile)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("find folder of %s: %w", path, err)
	}
	c, err := parseCredentials(b, dir)
	if p, ok := problem.As(err); ok {
		return nil, p.With("file", "%s", path)
	}
	return c, err
}

// Names lists the credentials, sorted.
func (c *Credentials) Names() []string {
	if c == nil {
		return nil
	}
	names := make([]string, 0, len(c.byName))
	for n := range c.byName {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (c *Credentials) find(name string) (*credential, error) {
	if c != nil && c.byName[name] != nil {
		return c.byName[name], nil
	}
	p := problem.New(problem.Invalid, "credential-unknown", "there is no credential named %q", name)
	if names := c.Names(); len(names) > 0 {
		p.With("known", "%s", strings.Join(names[:min(len(names), 20)], ", "))
	}
	return nil, p.Suggest("add it to the credentials file of the server (setting credentials)")
}

// parseCredentials reads the text of a credentials file; dir is where relative
// paths in it begin.
func parseCredentials(b []byte, dir string) (*Credentials, error) {
	out := &Credentials{byName: map[string]*credential{}}
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(b))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return out, nil
	case err != nil:
		// The parser's message may quote the text, and with it a secret that
		// somebody wrote there.
		return nil, problem.New(problem.Invalid, "credentials", "the credentials file is not YAML")
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, problem.New(problem.Invalid, "credentials", "the credentials file has more than one document")
	}
	top, err := fields(doc.Content[0], "the credentials file")
	if err != nil {
		return nil, err
	}
	for _, f := range top {
		if f.key.Value != "credentials" {
			return nil, bad(f.key, "unknown key %.60q; a credentials file has one key, credentials", f.key.Value)
		}
		entries, err := fields(f.value, "credentials")
		if err != nil {
			return nil, err
		}
		if len(entries) > maxCredentials {
			return nil, problem.New(problem.TooLarge, "credentials", "the file has more than %d credentials", maxCredentials)
		}
		for _, e := range entries {
			c, err := parseCredential(e, dir)
			if err != nil {
				return nil, err
			}
			out.byName[c.name] = c
		}
	}
	return out, nil
}

// field is a key of a mapping with its value.
type field struct{ key, value *yaml.Node }

// fields lists a mapping, refusing keys that stand there twice, merges and
// aliases.
func fields(n *yaml.Node, what string) ([]field, error) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil, nil
	}
	if n.Kind != yaml.MappingNode {
		return nil, bad(n, "%s must be a mapping", what)
	}
	var out []field
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode || k.Tag == "!!merge" || v.Kind == yaml.AliasNode:
			return nil, bad(k, "%s must be a plain mapping, without anchors and merges", what)
		case seen[k.Value]:
			return nil, bad(k, "%.60q stands twice in %s", k.Value, what)
		}
		seen[k.Value] = true
		out = append(out, field{k, v})
	}
	return out, nil
}

func bad(n *yaml.Node, format string, args ...any) *problem.Error {
	return problem.New(problem.Invalid, "credentials", format, args...).With("line", "%d", n.Line)
}

// instead says what to write for keys that would hold a secret.
var instead = map[string]string{
	"password": "password_file or password_env",
	"token":    "token_file or token_env",
	"secret":   "secret_file or secret_env",
	"url":      "url_file or url_env",
	"cert":     "cert_file",
	"key":      "key_file",
	"ca":       "ca_file",
}

func parseCredential(e field, dir string) (*credential, error) {
	c := &credential{name: e.key.Value, line: e.key.Line}
	if c.name == "" || len(c.name) > 100 || strings.ContainsFunc(c.name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, bad(e.key, "a credential's name has 1 to 100 printable ASCII characters and no space")
	}
	list, err := fields(e.value, "credential "+c.name)
	if err != nil {
		return nil, err
	}
	path := func(s string) string {
		if filepath.IsAbs(s) {
			return s
		}
		return filepath.Join(dir, s)
	}
	texts := map[string]func(string) error{
		"host":          func(s string) (err error) { c.host, err = parseEndpoint(s); return },
		"username":      func(s string) error { c.username = s; return plainText(s) },
		"password_file": func(s string) error { c.password.file = path(s); return nil },
		"password_env":  func(s string) error { c.password.env = s; return nil },
		"token_file":    func(s string) error { c.token.file = path(s); return nil },
		"token_env":     func(s string) error { c.token.env = s; return nil },
		"secret_file":   func(s string) error { c.signing.file = path(s); return nil },
		"secret_env":    func(s string) error { c.signing.env = s; return nil },
		"url_file":      func(s string) error { c.address.file = path(s); return nil },
		"url_env":       func(s string) error { c.address.env = s; return nil },
		"cert_file":     func(s string) error { c.cert = path(s); return nil },
		"key_file":      func(s string) error { c.key = path(s); return nil },
		"ca_file":       func(s string) error { c.ca = path(s); return nil },
		"proxy":         func(s string) (err error) { c.proxy, err = parseProxy(s); return },
	}
	for _, f := range list {
		key := f.key.Value
		if key == "realms" {
			if err := c.parseRealms(f.value); err != nil {
				return nil, err
			}
			continue
		}
		set, ok := texts[key]
		switch {
		case instead[key] != "":
			return nil, bad(f.key, "credential %s: a secret is never written into this file; use %s", c.name, instead[key])
		case !ok:
			return nil, bad(f.key, "credential %s: unknown key %.60q", c.name, key)
		case f.value.Kind != yaml.ScalarNode || f.value.Value == "":
			return nil, bad(f.key, "credential %s: %s must be a text that is not empty", c.name, key)
		}
		if err := set(f.value.Value); err != nil {
			return nil, bad(f.key, "credential %s: %s: %s", c.name, key, err)
		}
	}
	return c, c.check(e.key)
}

func (c *credential) parseRealms(n *yaml.Node) error {
	if n.Kind != yaml.SequenceNode || len(n.Content) > maxRealms {
		return bad(n, "credential %s: realms must be a list of at most %d hosts", c.name, maxRealms)
	}
	for _, v := range n.Content {
		e, err := parseEndpoint(v.Value)
		if v.Kind != yaml.ScalarNode || err != nil {
			return bad(v, "credential %s: realms must be hosts such as auth.example.com", c.name)
		}
		c.realms = append(c.realms, e)
	}
	return nil
}

// check judges the credential as a whole.
func (c *credential) check(at *yaml.Node) error {
	both := func(s secret) bool { return s.file != "" && s.env != "" }
	switch {
	case c.host.host == "":
		return bad(at, "credential %s has no host: it must be bound to one", c.name)
	case both(c.password) || both(c.token) || both(c.signing) || both(c.address):
		return bad(at, "credential %s: a secret comes from a file or from the environment, not from both", c.name)
	case (c.username != "") != c.password.given():
		return bad(at, "credential %s: username and password_file (or password_env) belong together", c.name)
	case c.password.given() && c.token.given():
		return bad(at, "credential %s has a password and a token; only one can be sent", c.name)
	case strings.Contains(c.username, ":") && c.password.given():
		return bad(at, "credential %s: a user name of basic authentication has no colon", c.name)
	case (c.cert != "") != (c.key != ""):
		return bad(at, "credential %s: cert_file and key_file belong together", c.name)
	case len(c.realms) > 0 && !c.password.given():
		return bad(at, "credential %s: realms are for username and password alone", c.name)
	}
	return nil
}

func plainText(s string) error {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return errors.New("a control character stands in it")
		}
	}
	return nil
}

// parseEndpoint reads host, host:port, or either after http:// or https://.
func parseEndpoint(s string) (endpoint, error) {
	e := endpoint{text: s}
	text := s
	if t, ok := strings.CutPrefix(s, "http://"); ok {
		text, e.plain = t, true
	} else {
		text = strings.TrimPrefix(s, "https://")
	}
	u, err := url.Parse("//" + text)
	if err != nil || u.Host != text || u.Hostname() == "" || strings.HasSuffix(text, ":") {
		return e, errors.New("must be a host such as charts.example.com or charts.example.com:8443")
	}
	e.host, e.port = strings.ToLower(u.Hostname()), u.Port()
	// To this machine nobody listens in between.
	if ip, err := netip.ParseAddr(e.host); err == nil && ip.Unmap().IsLoopback() && !strings.HasPrefix(s, "https://") {
		e.plain = true
	}
	return e, nil
}

func parseProxy(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.RawQuery != "" || strings.Trim(u.Path, "/") != "":
		return nil, errors.New("must be a URL such as http://proxy.example.com:3128")
	case u.User != nil:
		return nil, errors.New("user name and password have no place in this file")
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5":
		return nil, errors.New("must begin with http://, https:// or socks5://")
	}
	return u, nil
}

// usual are the ports of the schemes.
var usual = map[string]string{"http": "80", "https": "443"}

// covers says whether a secret that is bound to e may go to u.
func (e endpoint) covers(u *url.URL) bool {
	if u.Scheme != "https" && !(u.Scheme == "http" && e.plain) {
		return false
	}
	port, want := u.Port(), e.port
	if port == "" {
		port = usual[u.Scheme]
	}
	if want == "" {
		want = usual[u.Scheme]
	}
	return strings.EqualFold(u.Hostname(), e.host) && port == want
}

// read reads a secret now. what names it for people.
func (s secret) read(what string, warn func(path string, mode fs.FileMode)) (string, error) {
	var b []byte
	if s.env != "" {
		v, ok := os.LookupEnv(s.env)
		if !ok || v == "" {
			return "", problem.New(problem.Unavailable, "credential", "%s is not in the environment variable %s", what, s.env).
				Suggest("set it for the server, or correct the credentials file")
		}
		b = []byte(v)
	} else {
		var err error
		if b, err = readSecretFile(s.file, maxSecret, warn); err != nil {
			return "", err
		}
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if text == "" {
		return "", problem.New(problem.Unavailable, "credential", "%s is empty", what)
	}
	if plainText(text) != nil {
		return "", problem.New(problem.Invalid, "credential", "%s has a line break or another control character in it", what)
	}
	return text, nil
}

// readSecretFile reads a file that only its owner should have access to.
func readSecretFile(path string, limit int64, warn func(string, fs.FileMode)) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o027 != 0 {
		warn(path, info.Mode().Perm())
	}
	return readLimited(path, limit)
}

func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, problem.New(problem.Unavailable, "credential", "the file %s cannot be read", path).Because(err).
			Suggest("check that it is there and that the server's account may read it")
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, problem.New(problem.Unavailable, "credential", "the file %s cannot be read", path).Because(err)
	case int64(len(b)) > limit:
		return nil, problem.New(problem.TooLarge, "credential", "the file %s has more than %d bytes", path, limit)
	}
	return b, nil
}

// hostPort is the address of a URL's host, with the usual port where none is
// given.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		if port = usual[u.Scheme]; u.Scheme == "socks5" {
			port = "1080"
		}
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
