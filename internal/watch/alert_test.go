package watch_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/watch"
)

func TestTellAgain(t *testing.T) {
	var told []int64
	for n := int64(0); n <= 10_000; n++ {
		if watch.TellAgain(n) {
			told = append(told, n)
		}
	}
	if !slices.Equal(told, []int64{10, 100, 1000, 10_000}) {
		t.Errorf("told again at %v", told)
	}
}

// TestRaise follows a refused overwrite from the audit trail to what is told.
func TestRaise(t *testing.T) {
	w := newWorld(t)
	refused := watch.AuditEvent{Index: 41, Actor: "ci", Event: audit.Event{
		Name: audit.RefusedOverwrite, Time: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC), Door: audit.DoorOCI,
		Actor:    audit.Actor{Kind: access.KindToken, ID: "tok-1"},
		Resource: audit.Resource{Project: "demo", Chart: "web", Version: "1.4.2", Digest: "sha256:bb"},
		Outcome:  audit.Outcome{Result: audit.Denied, Rule: "overwrite"}, Before: "sha256:aa", After: "sha256:bb",
		Detail: map[string]string{"force": "ignored", "file-01": "changed values.yaml", "file-02": "added x.yaml", "released": "demo/web@1.4.2"},
		Source: audit.Source{IP: "192.0.2.7"},
	}}
	quiet := watch.AuditEvent{Index: 42, Event: audit.Event{Name: audit.ReleaseAccepted, Time: refused.Event.Time}}
	again := refused
	again.Index = 43
	if err := w.Raise(t.Context(), []watch.AuditEvent{refused, quiet, again}); err != nil {
		t.Fatal(err)
	}
	events, err := w.store.Events(t.Context(), watch.EventFilter{Kind: watch.EventKind(audit.RefusedOverwrite), Limit: 10})
	if err != nil || len(events) != 1 {
		t.Fatalf("%+v, %v: want one event for both", events, err)
	}
	e := events[0]
	words := e.Words()
	if e.Severity != watch.High || words.About != "web 1.4.2 in demo" || words.Command != "chartkeep audit list --project demo" {
		t.Errorf("%+v", words)
	}
	var facts []string
	for _, f := range words.Facts {
		facts = append(facts, f.Label+"="+f.Value)
	}
	for _, want := range []string{"released=sha256:aa", "offered=sha256:bb", "by=ci", "through=oci", "from=192.0.2.7", "force=ignored", "audit index=41", "differ=2 files: values.yaml changed, x.yaml added"} {
		if !slices.Contains(facts, want) {
			t.Errorf("%s is not said; said is\n%s", want, strings.Join(facts, "\n"))
		}
	}
	list, err := w.store.ListAlerts(t.Context(), true, 10)
	if err != nil || len(list) != 1 || list[0].Count != 2 || list[0].Actor != "ci" || list[0].LastIndex != 43 {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestAlertEventsCanBeRouted: every event that alarms is one that a route can
// choose, with a question for whoever reads it or a severity of its own.
func TestAlertEventsCanBeRouted(t *testing.T) {
	kinds := watch.EventKinds()
	for _, k := range watch.AlertEvents() {
		if !slices.Contains(kinds, k) {
			t.Errorf("no route can choose %s", k)
		}
	}
	if len(watch.AlertEvents()) < 10 {
		t.Errorf("alerts: %v", watch.AlertEvents())
	}
}
