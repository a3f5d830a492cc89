package daemon

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

func TestLoadPrecedence(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "c.yaml")
	write(t, file, "listen: 127.0.0.1:1\nlog-format: json\nexternal-url: https://file.example\ntrusted-proxy: [10.0.0.0/8, 192.168.0.0/16]\ntls-cert: a.pem\ntls-key: b.pem\n")
	env := []string{"CHARTKEEP_LISTEN=127.0.0.1:2", "CHARTKEEP_EXTERNAL_URL=https://env.example", "CHARTKEEP_DATABASE=postgres://x", "OTHER=1"}
	got, err := Load(file, env, map[string][]string{"listen": {"127.0.0.1:3"}})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Listen, want.LogFormat, want.ExternalURL, want.Database = "127.0.0.1:3", "json", "https://env.example", "postgres://x"
	want.TrustedProxies = []string{"10.0.0.0/8", "192.168.0.0/16"}
	want.TLSCert, want.TLSKey = filepath.Join(dir, "a.pem"), filepath.Join(dir, "b.pem")
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", "lissten: x\n", "did you mean listen?"},
		{"no mapping", "- a\n", "not YAML of the form"},
		{"list for text", "listen: [a, b]\n", "takes text"},
		{"half of TLS", "tls-cert: a\n", "one is missing"},
		{"log format", "log-format: xml\n", "text or json"},
		{"log level", "log-level: loud\n", "debug, info, warn or error"},
		{"origin", "log-origin: a b\n", "without spaces"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "c.yaml")
			write(t, file, c.text)
			_, err := Load(file, nil, nil)
			p, ok := problem.As(err)
			if !ok || p.Kind != problem.Invalid {
				t.Fatalf("got %v, want an invalid configuration", err)
			}
			if text := p.Message + " " + p.Try; !strings.Contains(text, c.want) {
				t.Errorf("%q does not say %q", text, c.want)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml"), nil, nil); problem.KindOf(err) != problem.Invalid {
		t.Errorf("a configuration file that is not there: %v", err)
	}
}

// What Init writes is a configuration of defaults, and says every setting.
func TestInit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := Init(file); err != nil {
		t.Fatal(err)
	}
	got, err := Load(file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Default(), got); d != "" {
		t.Error(d)
	}
	text, _ := os.ReadFile(file)
	for _, s := range settings() {
		if !strings.Contains(string(text), "#"+s.name+":") {
			t.Errorf("the file does not show %s", s.name)
		}
	}
	// Every line taken out of its comment is a configuration too.
	write(t, file, strings.ReplaceAll(string(text), "\n#", "\n"))
	var all []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "# ") {
			all = append(all, line[1:])
		}
	}
	write(t, file, strings.Join(all, ""))
	if _, err := Load(file, nil, nil); err != nil {
		t.Errorf("with every setting uncommented: %v", err)
	}
	if err := Init(file); problem.KindOf(err) != problem.Conflict {
		t.Errorf("Init overwrites: %v", err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// loopback is the configuration of a server that may call this machine.
func loopback(t *testing.T) Config {
	cfg := Default()
	cfg.Data, cfg.AllowNetworks = t.TempDir(), []string{"127.0.0.0/8"}
	return cfg
}

// run starts a server in this process and stops it when the test ends, or when
// stop is called.
func run(t *testing.T, cfg Config) (d *Daemon, stop func()) {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	d, err := Open(t.Context(), cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stop: %v", err)
		}
		d.Close()
	}
	t.Cleanup(stop)
	return d, stop
}

func request(t *testing.T, d *Daemon, method, path string, body []byte, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, d.URL()+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(d.folder.file(fileToken))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("any", strings.TrimSpace(string(token)))
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// The whole server: what is pushed through one door stands in all of them, and
// is there after a restart.
func TestServeAndRestart(t *testing.T) {
	cfg := Default()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	d, stop := run(t, cfg)
	var greeting bytes.Buffer
	d.greet(&greeting)
	if !strings.Contains(greeting.String(), d.first) || d.first == "" {
		t.Error("the first start does not show the token")
	}
	if st, err := os.Stat(d.folder.file(fileToken)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("admin token: %v, %v", st, err)
	}
	if code, body := request(t, d, "POST", "/api/v1/projects", []byte(`{"name":"demo","public":true}`), "Content-Type", "application/json"); code != 201 {
		t.Fatalf("create project: %d %s", code, body)
	}
	archive := charttest.Build(t, "web", "1.0.0", nil)
	if code, body := request(t, d, "POST", "/api/demo/charts", archive); code != 201 || !strings.Contains(body, `"saved":true`) {
		t.Fatalf("push: %d %s", code, body)
	}
	same := func(when string) {
		t.Helper()
		for path, want := range map[string]string{
			"/demo/charts/web-1.0.0.tgz":            string(archive),
			"/demo/index.yaml":                      `"name":"web"`,
			"/v2/demo/web/tags/list":                `"1.0.0"`,
			"/v2/demo/web/manifests/1.0.0":          "application/vnd.cncf.helm.config.v1+json",
			"/demo/charts/web-1.0.0.tgz.tlog-proof": "c2sp.org/tlog-proof@v1",
			"/log/checkpoint":                       d.keys.origin,
			"/readyz":                               "",
			"/metrics":                              "chartkeep_log_size",
			"/ui/":                                  "<!doctype html>",
		} {
			code, body := request(t, d, "GET", path, nil)
			if code != 200 || !strings.Contains(strings.ToLower(body), strings.ToLower(want)) {
				t.Errorf("%s: GET %s: %d %.200s", when, path, code, body)
			}
		}
	}
	same("at first")
	if _, err := Open(t.Context(), cfg, io.Discard); problem.KindOf(err) != problem.Unavailable {
		t.Errorf("a second server on the same folder: %v", err)
	}
	_, leaf := request(t, d, "GET", "/api/v1/log/leaves/1", nil)
	stop()
	d, _ = run(t, cfg)
	if d.first != "" {
		t.Error("the second start made another administrator")
	}
	if _, after := request(t, d, "GET", "/api/v1/log/leaves/1", nil); after != leaf || !strings.Contains(leaf, "web") {
		t.Errorf("a leaf changed over a restart:\n%s\n%s", leaf, after)
	}
	// The stop has anchored the audit log in the release log.
	if _, body := request(t, d, "GET", "/api/v1/log/leaves/2", nil); !strings.Contains(body, "chartkeep/audit/v1") {
		t.Errorf("the audit log is not anchored: %s", body)
	}
	same("after a restart")
	if code, body := request(t, d, "POST", "/api/demo/charts", charttest.Build(t, "web", "1.0.0", map[string]string{"x": "y"})); code != 409 {
		t.Errorf("overwrite after a restart: %d %s", code, body)
	}
}

func TestKeysGoTogether(t *testing.T) {
	cfg := Default()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	cfg.LogOrigin = "charts.example/log"
	d, stop := run(t, cfg)
	if d.keys.origin != cfg.LogOrigin {
		t.Errorf("origin %q", d.keys.origin)
	}
	stop()
	other := cfg
	other.LogOrigin = "other.example/log"
	if _, err := Open(t.Context(), other, io.Discard); err == nil || !strings.Contains(err.Error(), "cannot be named") {
		t.Errorf("another origin: %v", err)
	}
	key := d.folder.file(fileLogKey)
	kept, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), cfg, io.Discard); err == nil || !strings.Contains(err.Error(), "not the key of its log") {
		t.Errorf("a lost key: %v", err)
	}
	write(t, key, string(kept))
	if _, stop := run(t, cfg); stop != nil {
		stop()
	}
}

func TestDoctor(t *testing.T) {
	cfg := Default()
	cfg.Data, cfg.Listen = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0"
	result := func(name string, findings []Finding) string {
		for _, f := range findings {
			if f.Name == name {
				return f.Result
			}
		}
		return "not said"
	}
	if r := result("data folder", Doctor(t.Context(), cfg)); r != "unchecked" {
		t.Errorf("a new folder is %s", r)
	}
	if _, err := os.Stat(cfg.Data); !os.IsNotExist(err) {
		t.Error("doctor made the data folder")
	}
	d, stop := run(t, cfg)
	if r := result("data folder", Doctor(t.Context(), cfg)); r != "fail" {
		t.Errorf("a folder in use is %s", r)
	}
	busy := cfg
	busy.Listen = d.Addr().String()
	found := Doctor(t.Context(), busy)
	if r := result("running server", found); r != "ok" {
		t.Errorf("the running server is %s", r)
	}
	if r := result("data folder", found); r != "ok" {
		t.Errorf("the folder of the running server is %s", r)
	}
	stop()
	for _, f := range Doctor(t.Context(), cfg) {
		if f.Result == "fail" {
			t.Errorf("%s: %s", f.Name, f.Detail)
		}
	}
}

// What was refused leaves nothing in the blob folder: neither bytes for a name
// that is held, in whichever way, nor what is no chart.
func TestRefusedPushLeavesNothing(t *testing.T) {
	cfg := Default()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	d, _ := run(t, cfg)
	if code, body := request(t, d, "POST", "/api/v1/projects", []byte(`{"name":"demo"}`), "Content-Type", "application/json"); code != 201 {
		t.Fatal(code, body)
	}
	files := func() (n int) {
		err := filepath.WalkDir(d.folder.file(dirBlobs), func(_ string, e fs.DirEntry, err error) error {
			switch {
			case err == nil && e.IsDir() && (e.Name() == "records" || e.Name() == "refused"):
				return fs.SkipDir // what is kept of the log goes on, and copies of refused overwrites stand apart
			case err == nil && e.Type().IsRegular():
				n++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if code, body := request(t, d, "POST", "/api/demo/charts", charttest.Build(t, "foo", "1.0.0-2.0.0", nil)); code != 201 {
		t.Fatal(code, body)
	}
	if code, body := request(t, d, "POST", "/api/demo/charts", charttest.Build(t, "web", "1.0.0+a", nil)); code != 201 {
		t.Fatal(code, body)
	}
	before := files()
	for name, offered := range map[string]struct {
		archive []byte
		code    int
	}{
		"other bytes":          {charttest.Build(t, "web", "1.0.0+a", map[string]string{"x": "y"}), 409},
		"build metadata":       {charttest.Build(t, "web", "1.0.0+b", nil), 409},
		"no build metadata":    {charttest.Build(t, "web", "1.0.0", nil), 409},
		"the same file name":   {charttest.Build(t, "foo-1.0.0", "2.0.0", nil), 409},
		"no chart":             {[]byte("not a chart"), 400},
		"no strict version":    {charttest.Build(t, "web", "v2.0.0", nil), 400},
		"half of a chart":      {charttest.Build(t, "web", "3.0.0", nil)[:100], 400},
		"the released bytes":   {charttest.Build(t, "web", "1.0.0+a", nil), 201},
		"bytes behind a chart": {append(charttest.Build(t, "web", "4.0.0", nil), "more"...), 400},
	} {
		if code, body := request(t, d, "POST", "/api/demo/charts", offered.archive); code != offered.code {
			t.Errorf("%s: %d %s", name, code, body)
		}
		n := files()
		for begun := time.Now(); n != before && time.Since(begun) < time.Minute; n = files() {
			time.Sleep(10 * time.Millisecond) // a record of the log may be on its way
		}
		if n != before {
			t.Errorf("%s: %d files in the blob folder, %d before", name, n, before)
		}
	}
}
