package watch_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// looks calls TellOverdue every minute for a time.
func (w *world) looks(span time.Duration) {
	w.Helper()
	for range span / time.Minute {
		w.now = w.now.Add(time.Minute)
		w.ok(w.TellOverdue(w.ctx))
	}
}

func (w *world) importsEvery(name string, every watch.Duration) {
	w.Helper()
	must(w.ImportDeployments(w.ctx, boss, name, deployment.Inventory{From: "context prod", Deployments: []deployment.Deployment{fromFiles(name, "")}}, &every))
}

func (w *world) overdue() string {
	var out []string
	for _, e := range w.since(0) {
		if e.Kind == watch.ImportOverdue || e.Kind == watch.ImportBack {
			out = append(out, string(e.Kind)+" "+e.Import)
		}
	}
	return strings.Join(out, "; ")
}

// An import that stays away is told of once, and once more when it is back.
func TestOverdue(t *testing.T) {
	w := newWorld(t)
	w.importsEvery("prod", watch.Duration(20*time.Minute))
	w.imports(fromFiles("by hand", ""))
	w.looks(59 * time.Minute)
	if got := w.overdue(); got != "" {
		t.Fatalf("before three intervals: %s", got)
	}
	w.looks(3 * time.Hour)
	if got := w.overdue(); got != "import-overdue prod" {
		t.Fatal(got)
	}
	for _, e := range w.since(0) {
		if e.Kind != watch.ImportOverdue {
			continue
		}
		words := e.Words()
		if e.Severity != watch.Medium || !strings.HasPrefix(e.Message, "import prod is overdue: it is made every 20m, and was not made since 2026-") || words.Question == "" ||
			words.Command != "chartkeep deployment list --import prod" || words.Page != "/ui/deployments#imports" || words.About != "import prod" || len(words.Facts) != 5 {
			t.Errorf("%+v\n%+v", e, words)
		}
	}
	if list := must(w.Imports(w.ctx, boss)); !list[0].Overdue.IsZero() || list[0].Every != nil || !list[1].Overdue.Equal(morning.Add(20*time.Minute)) || *list[1].Every != watch.Duration(20*time.Minute) {
		t.Fatalf("%+v", list)
	}
	w.importsEvery("prod", watch.Duration(20*time.Minute))
	w.looks(40 * time.Minute)
	if got := w.overdue(); got != "import-overdue prod; import-back prod" {
		t.Fatal(got)
	}
	if list := must(w.Imports(w.ctx, boss)); !list[1].Overdue.IsZero() {
		t.Fatalf("%+v", list)
	}
}

// While nobody looks, as when the server is stopped or read-only, nobody can
// import either; what is made every minute has ten.
func TestOverdueAfterAPause(t *testing.T) {
	w := newWorld(t)
	w.looks(time.Hour)
	w.importsEvery("prod", watch.Duration(time.Minute))
	w.looks(9 * time.Minute)
	if got := w.overdue(); got != "" {
		t.Fatal(got)
	}
	w.now = w.now.Add(24 * time.Hour)
	w.looks(10 * time.Minute)
	if got := w.overdue(); got != "" {
		t.Fatalf("soon after a pause: %s", got)
	}
	if list := must(w.Imports(w.ctx, boss)); list[0].Overdue.IsZero() {
		t.Fatal("it is shown as if it was made in time")
	}
	w.looks(10 * time.Minute)
	if got := w.overdue(); got != "import-overdue prod" {
		t.Fatal(got)
	}
}

func TestIntervals(t *testing.T) {
	w := newWorld(t)
	for _, bad := range []watch.Duration{1, watch.Duration(59 * time.Second), 32 * watch.Day} {
		_, err := w.ImportDeployments(w.ctx, boss, "prod", deployment.Inventory{}, &bad)
		w.refused(err, problem.Invalid, "import-interval")
	}
	if list := must(w.Imports(w.ctx, boss)); len(list) != 0 {
		t.Fatalf("%+v", list)
	}
	w.registry.denied = map[access.Action]bool{access.DeploymentWrite: true}
	every := watch.Day
	if _, err := w.ImportDeployments(w.ctx, boss, "prod", deployment.Inventory{}, &every); problem.KindOf(err) != problem.Denied {
		t.Fatal(err)
	}
}
