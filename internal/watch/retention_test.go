package watch_test

import (
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// TestTell brings events of another room to routes, once each.
func TestTell(t *testing.T) {
	w := newWorld(t)
	events := []watch.Event{
		{Kind: "advisory-opened", Severity: watch.High, Deployment: "prod/x", Message: "m", Key: "1"},
		{Kind: "advisory-opened", Severity: watch.Low, Time: morning.Add(-time.Hour), Message: "n", Key: "2"},
	}
	for range 2 {
		w.ok(w.Tell(w.ctx, events))
	}
	got := w.since(0)
	if len(got) != 2 || !got[0].Time.Equal(w.now) || !got[1].Time.Equal(morning.Add(-time.Hour)) || !events[0].Time.IsZero() {
		t.Fatalf("%+v", got)
	}
	for _, bad := range []watch.Event{{Kind: "x", Severity: watch.Low}, {Key: "3", Severity: watch.Low}, {Key: "3", Kind: "x"}} {
		if err := w.Tell(w.ctx, []watch.Event{{Kind: "x", Severity: watch.Low, Key: "4"}, bad}); err == nil {
			t.Errorf("%+v is told", bad)
		}
	}
	if n := len(w.since(0)); n != 2 {
		t.Fatalf("%d events", n)
	}
	many := make([]watch.Event, 4500)
	for i := range many {
		many[i] = watch.Event{Kind: "x", Severity: watch.Info, Key: time.Duration(i).String()}
	}
	w.ok(w.Tell(w.ctx, many))
	if n := len(w.since(0)); n != 4502 {
		t.Fatalf("%d events", n)
	}
}

// A condition that lasts is not told of again when its event was forgotten, and
// an upstream that is quiet stays said to be.
func TestPrune(t *testing.T) {
	w := newWorld(t, func(c *watch.Config) { c.EventsFor = 30 * 24 * time.Hour })
	w.watches(mirrors(watch.Mirror{Project: "mirror"}))
	w.lists("1.0.0=a@1")
	w.poll(0)
	w.lists("1.0.0=a@2")
	w.poll(step)
	w.poll(200 * 24 * time.Hour)
	if got := words(w.since(0)); got != "created-rewritten 1.0.0; first-read; gone-quiet 1.0.0 medium; mirrored 1.0.0" {
		t.Fatal(got)
	}
	w.now = w.now.Add(31 * 24 * time.Hour)
	w.ok(w.Tell(w.ctx, []watch.Event{{Kind: "x", Severity: watch.Info, Key: "newest"}}))
	w.ok(w.Prune(w.ctx))
	if n := len(w.since(0)); n != 5 {
		t.Fatalf("%d events are left of what was not relayed", n)
	}
	must(watch.NewNotifier(w.Service).RelayOnce(w.ctx))
	w.ok(w.Prune(w.ctx))
	left := w.since(0)
	if got := words(left); got != "first-read; gone-quiet 1.0.0 medium; mirrored 1.0.0; x" { // that it is mirrored has a leaf
		t.Fatal(got)
	}
	forgetful := w.Service
	w.reborn(&mortal{}) // which offers all versions to the mirror again
	w.ok(w.PollNow(w.ctx, boss, "up"))
	if got := w.poll(time.Minute); got != "" {
		t.Fatalf("what was forgotten is news: %s", got)
	}
	w.ok(w.RemoveUpstream(w.ctx, boss, "up"))
	w.ok(forgetful.Prune(w.ctx))
	for _, e := range w.since(0) {
		if e.Kind == watch.GoneQuiet || e.Kind == watch.FirstRead {
			t.Fatalf("%+v is open still", e)
		}
	}
}

func TestResend(t *testing.T) {
	w := newWorld(t)
	_, err := w.AddRoute(w.ctx, boss, watch.Route{Name: "team", Kind: watch.RouteWebhook, Target: "https://hooks.example.test", Credential: "hooks"})
	w.ok(err)
	w.ok(w.Tell(w.ctx, []watch.Event{{Kind: "x", Severity: watch.High, Key: "1"}}))
	n := watch.NewNotifier(w.Service)
	must(n.RelayOnce(w.ctx))
	got := must(w.store.LeaseDeliveries(w.ctx, w.now, time.Minute, 10))
	if len(got) != 1 {
		t.Fatalf("%d deliveries", len(got))
	}
	d := got[0]
	d.State, d.Attempts, d.Error = watch.DeliveryFailed, 24, "no"
	w.ok(w.store.SettleDelivery(w.ctx, d, w.now))
	if sent := must(w.ResendDeliveries(w.ctx, boss, "team", d.ID)); sent != 1 {
		t.Fatalf("%d deliveries are sent again", sent)
	}
	if list := must(w.RouteDeliveries(w.ctx, boss, "team", 0)); list[0].State != watch.DeliveryWaiting || list[0].Attempts != 0 || list[0].ID != d.ID {
		t.Fatalf("%+v", list)
	}
	_, err = w.ResendDeliveries(w.ctx, boss, "nobody", "")
	w.refused(err, problem.NotFound, "route")
	w.registry.denied = map[access.Action]bool{access.RouteWrite: true}
	if _, err = w.ResendDeliveries(w.ctx, boss, "team", ""); problem.KindOf(err) != problem.Denied {
		t.Fatal(err)
	}
	if def, ok := audit.RouteResent.Definition(); !ok || def.Severity != audit.Notice {
		t.Fatalf("%+v", def)
	}
}
