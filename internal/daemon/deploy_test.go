package daemon

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/chartkeep/chartkeep/internal/audit"
)

// TestDeploy holds the rules and the dashboard in deploy/ against what a server
// really says: each metric is there, each event exists, each runbook has its
// section. A rule over a metric that nobody exports never fires.
func TestDeploy(t *testing.T) {
	cfg := Default()
	cfg.Data = t.TempDir()
	d, _ := run(t, cfg)
	for _, path := range []string{"/v2/", "/metrics"} { // requests are counted when they have ended
		if res, err := http.Get(d.URL() + path); err == nil {
			res.Body.Close()
		}
	}
	res, err := http.Get(d.URL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	exported, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", res.Status, err)
	}
	// Those with a label that appears with its first value, by what declares them.
	late := []string{"chartkeep_refusals_total", "chartkeep_deliveries", "chartkeep_sources_failing", "chartkeep_auth_failures_total"}
	root := filepath.Join("..", "..")
	for _, file := range []string{"deploy/prometheus/chartkeep.rules.yaml", "deploy/grafana/chartkeep.json"} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		var anything any
		if err := yaml.Unmarshal(text, &anything); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		names := regexp.MustCompile(`\b(chartkeep_[a-z_]+|process_[a-z_]+|go_[a-z_]+)\b`).FindAllString(string(text), -1)
		if len(names) < 8 {
			t.Errorf("%s names %d metrics: the pattern is broken", file, len(names))
		}
		for _, name := range names {
			if !strings.Contains(string(exported), "\n"+name) && !slices.Contains(late, name) {
				t.Errorf("%s names %s, and the server exports no such metric", file, name)
			}
		}
		for _, m := range regexp.MustCompile(`event="([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
			if _, ok := audit.Name(m[1]).Definition(); !ok {
				t.Errorf("%s names the event %s, and there is none", file, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`docs/runbooks/([a-z]+\.md)#([a-z-]+)`).FindAllStringSubmatch(string(text), -1) {
			page, err := os.ReadFile(filepath.Join(root, "docs", "runbooks", m[1]))
			if err != nil || !strings.Contains(string(page), "\n## "+m[2]+"\n") {
				t.Errorf("%s leads to %s#%s, and there is no such section: %v", file, m[1], m[2], err)
			}
		}
	}
}
