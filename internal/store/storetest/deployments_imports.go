package storetest

import (
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/watch"
)

// importIntervals declares how often imports are made, and lets them stay away.
func importIntervals(w *watcher) {
	ctx := w.Context()
	every := func(d time.Duration) *watch.Duration { return new(watch.Duration(d)) }
	made := func(name string, interval *watch.Duration, now time.Time, want ...string) {
		w.Helper()
		events, err := w.ReplaceDeployments(ctx, watch.Import{Name: name, From: "kube", Every: interval}, []watch.Deployment{running(name+"/k", "1.0.0")}, by("usr-1"), now,
			func(_, _ *watch.Deployment) []watch.Event { return nil })
		w.ok(err)
		w.names("events of "+name, told(events), want...)
	}
	silent := func(now time.Time, want ...string) {
		w.Helper()
		events, err := w.SilentImports(ctx, now)
		w.ok(err)
		w.names("silent at "+now.Format(time.TimeOnly), told(events), want...)
	}
	declared := func(want ...string) {
		w.Helper()
		list, err := w.Imports(ctx)
		w.ok(err)
		var got []string
		for _, im := range list {
			if im.Every != nil {
				got = append(got, im.Name+" "+im.Every.String())
			}
		}
		w.names("declared", got, want...)
	}
	silent(at(0))
	made("once", nil, at(0))
	made("b", every(time.Hour), at(0))
	made("a", every(2*time.Hour), at(0))
	declared("a 2h", "b 1h")
	due := watch.Silent(at(0), *every(time.Hour))
	silent(due.Add(-time.Millisecond))
	silent(due, "import-overdue b medium: 1")
	silent(due.Add(time.Hour)) // told once
	w.reopen()
	silent(due.Add(time.Hour))
	made("b", nil, due.Add(2*time.Hour), "import-back b info: 1") // by hand: the interval stays
	made("b", nil, due.Add(2*time.Hour))
	declared("a 2h", "b 1h")
	silent(due.Add(8*time.Hour), "import-overdue a medium: 1", "import-overdue b medium: 1") // the second silence of b
	made("a", every(0), due.Add(9*time.Hour), "import-back a info: 1")
	made("b", every(30*time.Minute), due.Add(9*time.Hour), "import-back b info: 1")
	declared("b 30m")
	made("b", every(0), due.Add(9*time.Hour))
	declared()
	silent(due.Add(1000 * time.Hour))

	events := w.events(watch.EventFilter{Kind: watch.ImportOverdue})
	if len(events) != 3 || events[0].Import == "" || events[0].Question == "" || events[0].ID == 0 {
		w.Fatalf("%+v", events)
	}
}

// told is what events say of imports, with how many deployments they name.
func told(events []watch.Event) (out []string) {
	for _, e := range events {
		said := ""
		for _, f := range e.Evidence {
			if strings.HasPrefix(f.Label, "deployments") {
				said = f.Value
			}
		}
		out = append(out, string(e.Kind)+" "+e.Import+" "+string(e.Severity)+": "+said)
	}
	return out
}
