package notify

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

func TestAlertmanager(t *testing.T) {
	var at, auth string
	var got []postedAlert
	answer := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		at, auth = r.URL.Path, r.Header.Get("Authorization")
		if err := json.Unmarshal(body, &got); err != nil {
			t.Errorf("%v: %s", err, body)
		}
		w.WriteHeader(answer)
	}))
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	c := client(t, map[string]string{"pw": "a secret word"}, credential("am", host, "username: chartkeep", "password_file: pw"))
	s := newSender(t, c, Mail{})
	e := watch.Event{
		ID: 7, Key: "alert/10/1", Time: evening, Kind: watch.EventKind(audit.RefusedOverwrite), Severity: watch.High,
		Project: "demo", Chart: "web", Version: "1.0.0", Message: "other bytes were offered", Question: "who?",
		Evidence: []watch.Fact{{Label: "released", Value: "sha256:aa"}, {Label: "offered", Value: "sha256:bb"}},
	}
	r := watch.Route{Name: "am", Kind: watch.RouteAlertmanager, Target: srv.URL + "/am/", Credential: "am"}
	if err := s.Send(t.Context(), r, delivery(e)); err != nil {
		t.Fatal(err)
	}
	if at != "/am/api/v2/alerts" || !strings.HasPrefix(auth, "Basic ") || len(got) != 1 {
		t.Fatalf("%s %q %+v", at, auth, got)
	}
	a := got[0]
	for k, want := range map[string]string{
		"alertname": "ChartkeepReleaseRefusedOverwrite", "severity": "warning", "event": "release.refused.overwrite", "project": "demo", "chart": "web", "version": "1.0.0",
	} {
		if a.Labels[k] != want {
			t.Errorf("label %s is %q, want %q", k, a.Labels[k], want)
		}
	}
	if _, ok := a.Labels["upstream"]; ok {
		t.Error("an empty label was sent")
	}
	if want := "released: sha256:aa\noffered: sha256:bb"; a.Annotations["description"] != want || a.Annotations["summary"] != e.Message {
		t.Errorf("annotations %q", a.Annotations)
	}
	if !strings.HasSuffix(a.Annotations["runbook_url"], "/docs/runbooks/registry.md#release-refused-overwrite") {
		t.Errorf("runbook %q", a.Annotations["runbook_url"])
	}
	if a.StartsAt != evening.Format(time.RFC3339) || a.EndsAt != evening.Add(alertLife).Format(time.RFC3339) {
		t.Errorf("from %s to %s", a.StartsAt, a.EndsAt)
	}
	answer = http.StatusBadRequest
	if err := s.Send(t.Context(), r, delivery(e)); problem.KindOf(err) != problem.Unavailable {
		t.Errorf("an alert that was refused: %v", err)
	}
	r.Credential = ""
	if err := s.Send(t.Context(), watch.Route{Kind: watch.RouteAlertmanager, Target: "http://169.254.169.254/"}, delivery(e)); err == nil {
		t.Error("a metadata address was called")
	}
}

func TestAlertSeverity(t *testing.T) {
	for sev, want := range map[watch.Severity]string{
		watch.Info: "info", watch.Low: "info", watch.Medium: "warning", watch.High: "warning", watch.Critical: "critical", "?": "critical",
	} {
		if got := alertSeverity(sev); got != want {
			t.Errorf("%s is %s, want %s", sev, got, want)
		}
	}
}

// TestRunbooks: whoever follows the link of an alert finds a section.
func TestRunbooks(t *testing.T) {
	sections := map[string]string{}
	for _, kind := range append(watch.EventKinds(), watch.TestEvent) {
		page, section, ok := strings.Cut(path.Base(Runbook(kind)), "#")
		if !ok || section == "" {
			t.Errorf("%s has the runbook %s", kind, Runbook(kind))
			continue
		}
		if sections[page] == "" {
			text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "runbooks", page))
			if err != nil {
				t.Fatal(err)
			}
			sections[page] = "\n" + string(text)
		}
		if !strings.Contains(sections[page], "\n## "+section+"\n") {
			t.Errorf("docs/runbooks/%s has no section %q", page, section)
		}
	}
}
