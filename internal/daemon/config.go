package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// Config is everything that can be chosen about a server. Each setting has one
// name: "external-url" in the file and as a flag, CHARTKEEP_EXTERNAL_URL in
// the environment. Flags win over the environment, that over the file, and
// that over what Default says.
type Config struct {
	Data           string   // folder of everything that stays
	Listen         string   // address and port
	Database       string   // PostgreSQL connection string; "" is SQLite in the data folder
	ExternalURL    string   // how clients reach the server, with a context path if there is one
	TrustedProxies []string // networks whose X-Forwarded-… headers count
	TLSCert        string
	TLSKey         string
	Credentials    string   // file of the credentials for upstreams and routes
	AllowNetworks  []string // that the server may call beside public addresses
	MailServer     string   // smtp://host:port or smtps://host:port; "" sends no mail
	MailFrom       string
	MailCredential string
	KeepEvents     string // how long events are kept that nothing holds, such as 400d
	ScrubEvery     string // from one comparison of everything with the log to the next, such as 7d
	ScrubRate      string // bytes that it reads each second, such as 32MiB; 0 for no bound
	RefusedKeep    string // how long copies of refused uploads are kept, such as 30d; 0 for none
	LogOrigin      string // name of the transparency log, chosen at the first start
	LogFormat      string // text or json
	LogLevel       string // debug, info, warn, error
	Identity
	Witnesses
	LogSigning
}

// setting describes one setting for the file, the environment, flags and docs.
type setting struct {
	name    string
	help    string
	example string // for the commented file, where there is no default
	secret  bool   // never a flag
	field   func(*Config) *string
	list    func(*Config) *[]string
}

func settings() []setting {
	return append([]setting{
		{name: "data", help: "folder of everything that stays: database, blobs, log key", field: func(c *Config) *string { return &c.Data }},
		{name: "listen", help: "address to listen on; the default is this machine alone", field: func(c *Config) *string { return &c.Listen }},
		{name: "database", help: "PostgreSQL connection string; none: SQLite in the data folder", example: "postgres://chartkeep@db/chartkeep", secret: true, field: func(c *Config) *string { return &c.Database }},
		{name: "external-url", help: "how clients reach the server, with a context path if there is one", example: "https://charts.example.com", field: func(c *Config) *string { return &c.ExternalURL }},
		{name: "trusted-proxy", help: "networks whose X-Forwarded headers count", example: "10.0.0.0/8", list: func(c *Config) *[]string { return &c.TrustedProxies }},
		{name: "tls-cert", help: "PEM file of the certificate chain; read again when it changes", example: "tls.crt", field: func(c *Config) *string { return &c.TLSCert }},
		{name: "tls-key", help: "PEM file of the certificate's key", example: "tls.key", field: func(c *Config) *string { return &c.TLSKey }},
		{name: "credentials", help: "YAML file that names the secrets for upstreams and routes", example: "credentials.yaml", field: func(c *Config) *string { return &c.Credentials }},
		{name: "allow-networks", help: "networks that the server may call beside public addresses, for upstreams and routes", example: "10.0.0.0/8", list: func(c *Config) *[]string { return &c.AllowNetworks }},
		{name: "mail-server", help: "mail server of routes: smtp://host:port (STARTTLS), smtps://host:port, or smtp+plain://host:port without TLS", example: "smtps://mail.example.com:465", field: func(c *Config) *string { return &c.MailServer }},
		{name: "mail-from", help: "sender of mail", example: "Chartkeep <chartkeep@example.com>", field: func(c *Config) *string { return &c.MailFrom }},
		{name: "mail-credential", help: "name of the mail account in the credentials file", example: "mail", field: func(c *Config) *string { return &c.MailCredential }},
		{name: "keep-events", help: "how long events of upstreams and deployments are kept that nothing holds", field: func(c *Config) *string { return &c.KeepEvents }},
		{name: "scrub-every", help: "how often everything stored is compared with the log", field: func(c *Config) *string { return &c.ScrubEvery }},
		{name: "scrub-rate", help: "how much that reads each second at most; 0 for no bound", field: func(c *Config) *string { return &c.ScrubRate }},
		{name: "refused-keep", help: "how long copies of what was offered for a released version are kept; 0 for none", field: func(c *Config) *string { return &c.RefusedKeep }},
		{name: "log-origin", help: "name of the transparency log, fixed at the first start", example: "charts.example.com/log", field: func(c *Config) *string { return &c.LogOrigin }},
		{name: "log-format", help: "form of the server's own log: text or json", field: func(c *Config) *string { return &c.LogFormat }},
		{name: "log-level", help: "least level of the server's own log: debug, info, warn or error", field: func(c *Config) *string { return &c.LogLevel }},
	}, append(append(witnessSettings(), signerSettings()...), identitySettings()...)...)
}

// Default is a server that needs no configuration.
func Default() Config {
	return Config{Data: "chartkeep-data", Listen: "127.0.0.1:8080", KeepEvents: "400d", ScrubEvery: "7d", ScrubRate: "32MiB", RefusedKeep: "30d", LogFormat: "text", LogLevel: "info", Identity: defaultIdentity(), Witnesses: Witnesses{WitnessQuorum: quorumBestEffort}}
}

// Flag is a setting that may be given as a flag.
type Flag struct {
	Name, Help, Default string
	List                bool
}

// Flags lists the settings that may be given as flags.
func Flags() []Flag {
	def := Default()
	var out []Flag
	for _, s := range settings() {
		if s.secret {
			continue
		}
		f := Flag{Name: s.name, Help: s.help, List: s.list != nil}
		if s.field != nil {
			f.Default = *s.field(&def)
		}
		out = append(out, f)
	}
	return out
}

// envName is the setting's name in the environment.
func envName(name string) string {
	return "CHARTKEEP_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Load puts a configuration together: defaults, then the file (none when file
// is ""), then the environment, then flags, which hold the settings that were
// given on the command line.
func Load(file string, environ []string, flags map[string][]string) (Config, error) {
	c := Default()
	if file == "" {
		if v, ok := lookupEnv(environ, "CHARTKEEP_CONFIG"); ok {
			file = v
		}
	}
	if file != "" {
		if err := c.readFile(file); err != nil {
			return c, err
		}
	}
	for _, s := range settings() {
		if v, ok := lookupEnv(environ, envName(s.name)); ok {
			s.set(&c, v)
		}
		if v, ok := flags[s.name]; ok {
			s.set(&c, v...)
		}
	}
	return c, c.check()
}

func lookupEnv(environ []string, name string) (string, bool) {
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok && v != "" {
			return v, true
		}
	}
	return "", false
}

func (s *setting) set(c *Config, values ...string) {
	if s.field != nil {
		*s.field(c) = values[len(values)-1]
		return
	}
	var out []string
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	*s.list(c) = out
}

// maxConfigFile bounds the configuration file, in bytes.
const maxConfigFile = 1 << 20

// readFile reads a YAML file of settings. A key that is not known is an error,
// with the nearest one that is.
func (c *Config) readFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return problem.New(problem.Invalid, "config-file", "the configuration file %s cannot be read", path).Because(err).
			Suggest("chartkeep init --config %s", path)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfigFile))
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	var doc map[string]yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(b)).Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return problem.New(problem.Invalid, "config-file", "the configuration file %s is not YAML of the form \"setting: value\": %v", path, err)
	}
	byName := map[string]setting{}
	for _, s := range settings() {
		byName[s.name] = s
	}
	for _, key := range slices.Sorted(maps.Keys(doc)) {
		s, ok := byName[key]
		node := doc[key]
		if !ok {
			return problem.New(problem.Invalid, "config-key", "the configuration file %s has a setting %q on line %d that there is not", path, key, node.Line).
				Suggest("%s", nearest(key, slices.Sorted(maps.Keys(byName))))
		}
		var list []string
		var one string
		switch {
		case s.list != nil && node.Decode(&list) == nil:
			s.set(c, list...)
		case node.Kind == yaml.ScalarNode && node.Decode(&one) == nil:
			s.set(c, one)
		default:
			return problem.New(problem.Invalid, "config-value", "the setting %s in %s, line %d, takes text", key, path, node.Line)
		}
		// Files named in the configuration are beside it.
		if slices.Contains([]string{"tls-cert", "tls-key", "data", "credentials", "witness-policy", "log-signer-secret"}, s.name) {
			if p := s.field(c); *p != "" && !filepath.IsAbs(*p) {
				*p = filepath.Join(filepath.Dir(path), *p)
			}
		}
	}
	return nil
}

// nearest names the known word that differs least from one that is not known.
func nearest(word string, known []string) string {
	best, bestDistance := "", len(word)
	for _, k := range known {
		if d := distance(word, k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return "settings are: " + strings.Join(known, ", ")
	}
	return "did you mean " + best + "?"
}

// distance is the Levenshtein distance of two short words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func (c *Config) check() error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return problem.New(problem.Invalid, "config-tls", "TLS needs both tls-cert and tls-key, and one is missing")
	}
	if _, err := c.networks(); err != nil {
		return err
	}
	if _, err := c.eventsFor(); err != nil {
		return err
	}
	for _, check := range []func() error{
		func() error { _, err := c.scrubEvery(); return err },
		func() error { _, err := c.scrubRate(); return err },
		func() error { _, err := c.refusedKeep(); return err },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	if err := c.checkIdentity(); err != nil {
		return err
	}
	if err := c.checkWitnesses(); err != nil {
		return err
	}
	if err := c.checkSigner(); err != nil {
		return err
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return problem.New(problem.Invalid, "config-value", "log-format is text or json, not %q", c.LogFormat)
	}
	if _, err := c.level(); err != nil {
		return err
	}
	if c.LogOrigin != "" && strings.ContainsAny(c.LogOrigin, " +\n\t") {
		return problem.New(problem.Invalid, "config-value", "log-origin %q must be a name without spaces and plus signs, such as charts.example.com/log", c.LogOrigin)
	}
	return nil
}

// networks are AllowNetworks as they are dialled.
func (c *Config) networks() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range c.AllowNetworks {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, problem.New(problem.Invalid, "config-value", "allow-networks has %q, which is no network such as 10.0.0.0/8", s)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// eventsFor is KeepEvents; 0 for the default.
func (c *Config) eventsFor() (time.Duration, error) {
	if c.KeepEvents == "" {
		return 0, nil
	}
	d, err := watch.ParseDuration(c.KeepEvents)
	if err != nil || d < watch.Day {
		return 0, problem.New(problem.Invalid, "config-value", "keep-events is a span of at least a day such as 400d, not %q", c.KeepEvents)
	}
	return time.Duration(d), nil
}

func (c *Config) level() (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return l, problem.New(problem.Invalid, "config-value", "log-level is debug, info, warn or error, not %q", c.LogLevel)
	}
	return l, nil
}

// Init writes a configuration file in which every setting stands with its
// meaning, commented out where it has its default. It never overwrites.
func Init(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return problem.New(problem.Conflict, "config-exists", "there is a file %s already, and it was left as it is", path).
			Suggest("chartkeep init --config OTHER-FILE")
	}
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	_, err = f.WriteString(Commented())
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// Commented is the text that Init writes.
func Commented() string {
	var b strings.Builder
	b.WriteString("# Configuration of chartkeep. Flags win over the environment, that over this\n" +
		"# file, and that over the defaults, which stand here commented out.\n")
	def := Default()
	for _, s := range settings() {
		fmt.Fprintf(&b, "\n# %s\n", s.help)
		if s.secret {
			fmt.Fprintf(&b, "# It is a secret: keep this file readable by the server alone, or use %s.\n", envName(s.name))
		}
		value := s.example
		if s.field != nil && *s.field(&def) != "" {
			value = *s.field(&def)
		}
		if s.list != nil {
			fmt.Fprintf(&b, "#%s: [%s]\n", s.name, strconv.Quote(value))
			continue
		}
		fmt.Fprintf(&b, "#%s: %s\n", s.name, value)
	}
	return b.String()
}
