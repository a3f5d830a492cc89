package daemon

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// copyDatabase copies the SQLite database of a stopped server, as a snapshot of
// its disk does.
func copyDatabase(t *testing.T, from, to string) {
	t.Helper()
	for _, part := range []string{"", "-wal", "-shm"} {
		data, err := os.ReadFile(filepath.Join(from, fileDatabase+part))
		if err := os.Remove(filepath.Join(to, fileDatabase+part)); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if errors.Is(err, os.ErrNotExist) && part != "" {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, fileDatabase+part), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func created(t *testing.T, d *Daemon, name string) {
	t.Helper()
	if code, body := request(t, d, "POST", "/api/v1/projects", []byte(`{"name":"`+name+`","public":true}`), "Content-Type", "application/json"); code != 201 {
		t.Fatalf("create project %s: %d %s", name, code, body)
	}
}

func pushed(t *testing.T, d *Daemon, name, version string) []byte {
	t.Helper()
	archive := charttest.Build(t, name, version, nil)
	if code, body := request(t, d, "POST", "/api/demo/charts", archive); code != 201 {
		t.Fatalf("push %s %s: %d %s", name, version, code, body)
	}
	return archive
}

// TestPutBack puts an old database under a server: it serves what it has, takes
// nothing through any door, says so everywhere, and is recovered.
func TestPutBack(t *testing.T) {
	cfg := Default()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	d, stop := run(t, cfg)
	created(t, d, "demo")
	first := pushed(t, d, "web", "1.0.0")
	stop()
	old := t.TempDir()
	copyDatabase(t, cfg.Data, old)
	d, stop = run(t, cfg)
	second := pushed(t, d, "web", "2.0.0")
	created(t, d, "later")
	stop()
	copyDatabase(t, old, cfg.Data)

	d, stop = run(t, cfg)
	isReadOnly(t, d, first)
	stop()
	_, stop = run(t, cfg) // and once more, which notes nothing new
	stop()

	rep, err := Recover(t.Context(), cfg, false)
	if err != nil || rep.Applied || rep.Releases != 1 {
		t.Fatalf("dry run: %+v, %v", rep, err)
	}
	if rep, err = Recover(t.Context(), cfg, true); err != nil || !rep.Applied || len(rep.Losses) > 0 {
		t.Fatalf("recover: %+v, %v", rep, err)
	}
	if rep, err := Fsck(t.Context(), cfg, FsckOptions{}); err != nil || len(rep.Findings) > 0 {
		t.Errorf("after the recovery: %+v, %v", rep.Findings, err)
	}
	d, stop = run(t, cfg)
	for path, want := range map[string][]byte{"/demo/charts/web-1.0.0.tgz": first, "/demo/charts/web-2.0.0.tgz": second} {
		if code, body := request(t, d, "GET", path, nil); code != 200 || body != string(want) {
			t.Errorf("GET %s after the recovery: %d, %d bytes", path, code, len(body))
		}
	}
	if code, body := request(t, d, "GET", "/readyz", nil); code != 200 {
		t.Errorf("not ready after the recovery: %s", body)
	}
	pushed(t, d, "web", "3.0.0")
	stop() // tells what was noted
	d, _ = run(t, cfg)
	for name, want := range map[string]int{"log.rollback-detected": 2, "log.recovered": 1} { // both logs went back
		_, body := request(t, d, "GET", "/api/v1/audit?event="+name, nil)
		if n := strings.Count(body, `"event":"`+name+`"`); n != want {
			t.Errorf("%d events %s, want %d: %s", n, name, want, body)
		}
	}
}

// isReadOnly asks every door to write, and for what it may still give.
func isReadOnly(t *testing.T, d *Daemon, archive []byte) {
	t.Helper()
	for _, c := range []struct {
		method, path, mediaType string
	}{
		{"POST", "/api/demo/charts", "application/gzip"},
		{"POST", "/api/demo/prov", "text/plain"},
		{"DELETE", "/api/demo/charts/web/1.0.0", ""},
		{"POST", "/v2/demo/web/blobs/uploads/", "application/octet-stream"},
		{"PUT", "/v2/demo/web/manifests/9.0.0", "application/vnd.oci.image.manifest.v1+json"},
		{"DELETE", "/v2/demo/web/manifests/1.0.0", ""},
		{"POST", "/api/v1/projects", "application/json"},
		{"POST", "/api/v1/projects/demo/-/releases", "application/gzip"},
		{"POST", "/api/v1/tokens", "application/json"},
		{"POST", "/ui/login", "application/x-www-form-urlencoded"},
	} {
		code, body := request(t, d, c.method, c.path, archive, "Content-Type", c.mediaType)
		if code != http.StatusServiceUnavailable || !strings.Contains(body, "read-only") {
			t.Errorf("%s %s: %d %.300s", c.method, c.path, code, body)
		}
	}
	for path, want := range map[string]string{
		"/demo/charts/web-1.0.0.tgz":   string(archive),
		"/demo/index.yaml":             `"1.0.0"`,
		"/v2/demo/web/tags/list":       `"1.0.0"`,
		"/v2/demo/web/manifests/1.0.0": "helm",
		"/log/checkpoint":              d.keys.origin,
		"/livez":                       "ok",
	} {
		res, err := http.Get(d.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 200 || !bytes.Contains(body, []byte(want)) {
			t.Errorf("GET %s: %d %.200s, %v", path, res.StatusCode, body, err)
		}
		if res.Header.Get("Chartkeep-Read-Only") != "read-only" || !strings.HasPrefix(res.Header.Get("Warning"), `299 - "this registry is read-only`) {
			t.Errorf("GET %s does not say it: %v", path, res.Header)
		}
	}
	if code, body := request(t, d, "GET", "/readyz", nil); code != 503 || !strings.Contains(body, "failing history: this registry is read-only") {
		t.Errorf("readyz: %d %s", code, body)
	}
	if _, body := request(t, d, "GET", "/metrics", nil); !strings.Contains(body, "chartkeep_read_only 1") {
		t.Error("the metric does not say it")
	}
	if err := d.keep(t.Context()); err == nil {
		t.Error("an old database is kept")
	}
}

// TestRecordsOfAServer: a server keeps its log to the end, and says when that
// was removed.
func TestRecordsOfAServer(t *testing.T) {
	cfg := Default()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	d, stop := run(t, cfg)
	created(t, d, "demo")
	pushed(t, d, "web", "1.0.0")
	stop()
	if err := os.Remove(filepath.Join(cfg.Data, fileDatabase)); err != nil {
		t.Fatal(err)
	}
	// The database is gone, and everything that a leaf tells comes back.
	rep, err := Recover(t.Context(), cfg, true)
	if err != nil || rep.Releases != 1 {
		t.Fatalf("%+v, %v", rep, err)
	}
	if err := os.RemoveAll(filepath.Join(cfg.Data, dirBlobs, "records")); err != nil {
		t.Fatal(err)
	}
	d, stop = run(t, cfg)
	if _, body := request(t, d, "GET", "/metrics", nil); !strings.Contains(body, "chartkeep_read_only 0") {
		t.Error("records that are gone stop the server")
	}
	stop()
	if _, err := Recover(t.Context(), Config{Data: t.TempDir()}, true); problem.KindOf(err) != problem.NotFound {
		t.Errorf("recover where no server ran: %v", err)
	}
}
