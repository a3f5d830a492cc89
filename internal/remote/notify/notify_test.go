package notify

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/watch"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s: %s", name, d)
	}
}

var evening = time.Date(2026, 11, 21, 18, 2, 0, 0, time.UTC)

// story is some events as they happen, with text of hostile upstreams in them.
func story() []watch.Event {
	return []watch.Event{
		{
			ID: 7, Time: evening.Add(-time.Hour), Kind: watch.NewVersion, Severity: watch.Info, Upstream: "airflow-helm", Chart: "airflow", Version: "8.9.0",
			Message: "airflow 8.9.0 is listed by airflow-helm", Key: "new-version/1/8.9.0",
		},
		{
			ID: 8, Time: evening, Kind: watch.Changed, Severity: watch.High, Upstream: "airflow-helm", Chart: "airflow", Version: "8.8.0",
			Message: "airflow 8.8.0 of airflow-helm has other content than before", Question: "why was a published version replaced, and who runs it?",
			Evidence: []watch.Fact{
				{Label: "old digest", Value: "sha256:" + strings.Repeat("0a", 32)}, {Label: "new digest", Value: "sha256:" + strings.Repeat("f1", 32)},
				{Label: "note", Value: "<!channel> & <https://evil.example|click>\r\nBcc: all@example.com"},
			},
			Files:    []chart.Change{{Path: "templates/rbac.yaml", Kind: "changed"}, {Path: "values.yaml", Kind: "changed"}},
			LogIndex: 8121, Key: "changed/1/8.8.0",
		},
		{
			ID: 9, Time: evening, Kind: watch.UnknownChart, Severity: watch.Critical, Deployment: "prod-eu/data/web", Chart: "web", Version: "1.4.2",
			Owner: "data", Message: "prod-eu/data/web runs a chart that nobody released", Key: "unknown-chart/web",
		},
	}
}

func delivery(events ...watch.Event) watch.Delivery {
	return watch.Delivery{ID: "MSGID0000000000000000000001", Route: "team", Events: events, State: watch.DeliveryWaiting}
}

// client has credentials, each of the lines of a credentials file, and may dial
// this machine. Secrets are files beside it.
func client(t *testing.T, secrets map[string]string, credentials ...string) *remote.Client {
	t.Helper()
	dir := t.TempDir()
	for name, secret := range secrets {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "credentials.yaml")
	if err := os.WriteFile(path, []byte("credentials:\n"+strings.Join(credentials, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	creds, err := remote.LoadCredentials(path)
	if err != nil {
		t.Fatal(err)
	}
	c := remote.New(remote.Config{Credentials: creds, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(c.Close)
	return c
}

func credential(name, host string, lines ...string) string {
	text := fmt.Sprintf("  %s:\n    host: %s", name, host)
	for _, l := range lines {
		text += "\n    " + l
	}
	return text
}

func newSender(t *testing.T, c *remote.Client, m Mail) *Sender {
	t.Helper()
	s, err := New(Config{Client: c, Origin: "keep.example.com/log", ExternalURL: "https://charts.example.com/base/", Mail: m, Now: func() time.Time { return evening }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
