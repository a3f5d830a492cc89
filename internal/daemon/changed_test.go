package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestChangedSettings starts a server with one setting after another changed.
func TestChangedSettings(t *testing.T) {
	cfg := Default()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	cfg.Listen = "127.0.0.1:0"
	told := func() string {
		t.Helper()
		d, stop := run(t, cfg)
		defer stop()
		_, body := request(t, d, "GET", "/api/v1/audit?event=config.changed", nil)
		return body
	}
	changes := func(body string) int { return strings.Count(body, `"event":"config.changed"`) }
	for range 2 {
		if body := told(); changes(body) != 0 {
			t.Fatalf("nothing was changed: %s", body)
		}
	}
	cfg.ScrubRate, cfg.AllowNetworks = "1MiB", []string{"10.0.0.0/8"}
	if body := told(); changes(body) != 1 || !strings.Contains(body, `"settings":"allow-networks, scrub-rate"`) {
		t.Errorf("two settings were changed: %s", body)
	}
	if body := told(); changes(body) != 1 {
		t.Errorf("told twice: %s", body)
	}
	file := filepath.Join(cfg.Data, fileSettings)
	text, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(text), "10.0.0.0") {
		t.Errorf("%s, %v", text, err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if body := told(); changes(body) != 2 || !strings.Contains(body, "cannot be told: settings.json cannot be read") {
		t.Errorf("the file was damaged: %s", body)
	}
	if body := told(); changes(body) != 2 {
		t.Errorf("a damaged file is told twice: %s", body)
	}
}
