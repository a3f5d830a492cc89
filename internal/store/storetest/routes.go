package storetest

import (
	"fmt"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

func (w *watcher) route(name string, digest watch.Digest) watch.Route {
	w.Helper()
	r, err := w.CreateRoute(w.Context(), watch.Route{Name: name, Kind: watch.RouteWebhook, Target: "https://" + name + ".example.test", MinSeverity: watch.Low, Digest: digest}, by("usr-1"), start)
	w.ok(err)
	return r
}

// happen records events by key.
func (w *watcher) happen(keys ...string) {
	w.Helper()
	_, err := w.ReplaceDeployments(w.Context(), watch.Import{Name: "happen"}, []watch.Deployment{running("d", keys[0])}, by("usr-1"), start, func(_, _ *watch.Deployment) (out []watch.Event) {
		for _, key := range keys {
			out = append(out, watch.Event{Kind: watch.VersionMoved, Key: key, Message: key})
		}
		return out
	})
	w.ok(err)
}

// toAll plans one delivery for each event, or one for all of them.
func toAll(due time.Time, together bool, routes ...watch.Route) func([]watch.Event) []watch.Delivery {
	return func(events []watch.Event) (out []watch.Delivery) {
		for _, r := range routes {
			if together {
				out = append(out, watch.Delivery{RouteID: r.ID, Due: due, Events: events})
				continue
			}
			for i := range events {
				out = append(out, watch.Delivery{RouteID: r.ID, Due: due, Events: events[i : i+1]})
			}
		}
		return out
	}
}

func (w *watcher) relay(limit, want int, plan func([]watch.Event) []watch.Delivery) {
	w.Helper()
	n, err := w.RelayEvents(w.Context(), limit, plan)
	w.ok(err)
	if n != want {
		w.Fatalf("%d events were relayed, want %d", n, want)
	}
}

// deliver leases what is due, and says for each delivery its route and events.
func (w *watcher) deliver(now time.Time, limit int) (said []string, got []watch.Delivery) {
	w.Helper()
	got, err := w.LeaseDeliveries(w.Context(), now, time.Minute, limit)
	w.ok(err)
	for _, d := range got {
		text := d.Route + ":"
		for _, ev := range d.Events {
			text += ev.Key
		}
		said = append(said, text)
	}
	return said, got
}

func (w *watcher) settle(d watch.Delivery, state string, now time.Time) {
	w.Helper()
	d.State, d.Attempts = state, d.Attempts+1
	w.ok(w.SettleDelivery(w.Context(), d, now))
}

func routeLife(w *watcher) {
	ctx := w.Context()
	full := watch.Route{
		Name: "b", Kind: watch.RouteMail, Target: "a@example.test", Credential: "cred", Events: []watch.EventKind{watch.Changed}, MinSeverity: watch.High,
		Upstreams: []string{"u*"}, Charts: []string{"c"}, Projects: []string{"p"}, Owners: []string{"o"}, Digest: watch.Weekly,
	}
	made, err := w.CreateRoute(ctx, full, by("usr-1"), at(1))
	w.ok(err)
	if ev := w.lastEvent(audit.RouteAdded); ev.Detail["route"] != "b" {
		w.Fatalf("audit event %+v", ev)
	}
	want := full
	want.ID, want.Created = made.ID, at(1)
	if made.ID == 0 {
		w.Fatal("no id")
	}
	w.equal("made", made, want)
	other := w.route("a", watch.Immediately)
	list, err := w.Routes(ctx)
	w.ok(err)
	w.equal("routes", list, []watch.Route{other, want})
	_, err = w.CreateRoute(ctx, full, by("usr-1"), at(2))
	w.refused(err, problem.Conflict, "route-exists")
	w.refused(w.RemoveRoute(ctx, "none", by("usr-1"), at(2)), problem.NotFound, "route")
	_, err = w.ListDeliveries(ctx, "none", 10)
	w.refused(err, problem.NotFound, "route")
	w.ok(w.RemoveRoute(ctx, "b", by("usr-1"), at(2)))
	if ev := w.lastEvent(audit.RouteRemoved); ev.Detail["route"] != "b" {
		w.Fatalf("audit event %+v", ev)
	}
	again, err := w.CreateRoute(ctx, full, by("usr-1"), at(3))
	w.ok(err)
	if again.ID == made.ID {
		w.Fatal("the number of a removed route was given again")
	}
}

// relayOnce relays in pieces, while plan names routes that are gone and events
// that were told before.
func relayOnce(w *watcher) {
	a, b := w.route("a", ""), w.route("b", "")
	w.relay(10, 0, func([]watch.Event) []watch.Delivery { w.Fatal("nothing to plan"); return nil })
	w.happen("1", "2", "3", "4", "5")
	var told []watch.Event
	w.relay(2, 2, func(events []watch.Event) []watch.Delivery {
		told = events
		return toAll(at(0), false, a, watch.Route{ID: b.ID + 99})(events)
	})
	w.relay(10, 3, func(events []watch.Event) []watch.Delivery {
		all := append(append([]watch.Event(nil), told...), events...)
		return append(toAll(at(1), false, a)(all), append(toAll(at(1), true, b)(events), toAll(at(1), true, b)(all)...)...)
	})
	w.relay(10, 0, nil)
	said, got := w.deliver(at(1), 100)
	w.names("deliveries", said, "a:1", "a:2", "a:3", "a:4", "a:5", "b:345", "b:12")
	ids := map[string]bool{}
	for _, d := range got {
		if d.ID == "" || ids[d.ID] || d.State != "waiting" || d.Attempts != 0 || d.Lease == 0 || d.RouteID != a.ID && d.RouteID != b.ID {
			w.Fatalf("delivery %+v", d)
		}
		ids[d.ID] = true
	}
	w.reopen()
	w.relay(10, 0, nil)
	w.happen("5", "6")
	w.relay(10, 1, toAll(at(2), false, a))
	said, _ = w.deliver(at(1), 100)
	w.names("before it is due", said)
}

func relayDigests(w *watcher) {
	daily, now := w.route("daily", watch.Daily), w.route("now", "")
	w.happen("1", "2")
	w.relay(10, 2, toAll(at(60), true, daily, now))
	w.happen("3")
	w.relay(10, 1, toAll(at(60), true, daily, now))
	w.happen("4")
	w.relay(10, 1, toAll(at(120), true, daily))
	said, got := w.deliver(at(60), 10)
	w.names("first", said, "daily:123", "now:12", "now:3")
	w.happen("5") // when the digest is on its way, or was tried, another begins
	w.relay(10, 1, toAll(at(60), true, daily))
	d := got[0]
	d.State, d.Attempts = "waiting", 1
	w.ok(w.SettleDelivery(w.Context(), d, at(61)))
	w.happen("6")
	w.relay(10, 1, toAll(at(60), true, daily))
	said, got = w.deliver(at(60), 10)
	w.names("then", said, "daily:123", "daily:56")
	if got[0].ID != d.ID || got[0].Attempts != 1 {
		w.Fatalf("delivery %+v", got[0])
	}
	said, _ = w.deliver(at(120), 10)
	w.names("later", said, "daily:123", "now:12", "now:3", "daily:56", "daily:4")

	var many []string
	for i := range 1100 {
		many = append(many, fmt.Sprint("m", i))
	}
	w.happen(many...)
	for range 11 {
		w.relay(100, 100, toAll(at(600), true, daily))
	}
	_, got = w.deliver(at(600), 10)
	sizes := map[int]int{}
	for _, d := range got {
		sizes[len(d.Events)]++
	}
	if sizes[1000] != 1 || sizes[100] != 1 {
		w.Fatalf("digests of %v events", sizes)
	}
}

func deliveries(w *watcher) {
	ctx := w.Context()
	a, b := w.route("a", ""), w.route("b", "")
	w.happen("1", "2", "3")
	w.relay(10, 3, toAll(at(5), false, a))
	w.happen("4")
	w.relay(10, 1, toAll(at(2), false, b))
	said, got := w.deliver(at(5), 2)
	w.names("the longest due first", said, "b:4", "a:1")
	said, _ = w.deliver(at(5), 10)
	w.names("the rest", said, "a:2", "a:3")
	said, _ = w.deliver(at(5), 10)
	w.names("all are held", said)
	w.settle(got[0], "delivered", at(6))
	w.refused(w.SettleDelivery(ctx, got[0], at(6)), problem.Conflict, "lease")
	unheld := got[0]
	unheld.Lease = 0
	w.refused(w.SettleDelivery(ctx, unheld, at(6)), problem.Conflict, "lease")
	retry := got[1]
	retry.State, retry.Attempts, retry.Due, retry.Error = "waiting", 1, at(9), "no\x00answer"
	w.ok(w.SettleDelivery(ctx, retry, at(6)))
	said, later := w.deliver(at(7), 10)
	w.names("when leases ran out", said, "a:2", "a:3")
	w.settle(later[0], "failed", at(8))
	odd := later[1]
	odd.State = "lost"
	if err := w.SettleDelivery(ctx, odd, at(8)); err == nil {
		w.Fatal("a state that is none was recorded")
	}
	for _, lease := range []int64{0, later[1].Lease + 1} {
		d := later[1]
		d.Lease = lease
		w.refused(w.SettleDelivery(ctx, d, at(8)), problem.Conflict, "lease")
	}
	said, again := w.deliver(at(9), 10)
	w.names("the repetition and what was dropped", said, "a:3", "a:1")
	if again[1].ID != retry.ID || again[1].Attempts != 1 || again[1].Error != "no\ufffdanswer" || again[1].Lease == retry.Lease {
		w.Fatalf("delivery %+v", again[1])
	}
	w.refused(w.SettleDelivery(ctx, retry, at(9)), problem.Conflict, "lease")
	list, err := w.Routes(ctx)
	w.ok(err)
	w.equal("health of a", list[0].Health, watch.RouteHealth{LastFailure: at(8), Waiting: 2, Failed: 1})
	w.equal("health of b", list[1].Health, watch.RouteHealth{LastSuccess: at(6)})
	failed := again[1]
	failed.State, failed.Error, failed.Attempts = "failed", "gone", 2
	w.ok(w.SettleDelivery(ctx, failed, at(10)))
	if list, err = w.Routes(ctx); err != nil {
		w.Fatal(err)
	}
	w.equal("health of a", list[0].Health, watch.RouteHealth{LastFailure: at(10), Error: "gone", Waiting: 1, Failed: 2})
	w.settle(again[0], "delivered", at(11))
	if list, err = w.Routes(ctx); err != nil {
		w.Fatal(err)
	}
	w.equal("health of a", list[0].Health, watch.RouteHealth{LastSuccess: at(11), LastFailure: at(10), Failed: 2})
	states := func(limit int) (out []string) {
		w.Helper()
		got, err := w.ListDeliveries(ctx, "a", limit)
		w.ok(err)
		for _, d := range got {
			out = append(out, fmt.Sprint(d.Route, " ", d.State, " ", d.Attempts, d.Error))
		}
		return out
	}
	w.names("all", states(10), "a delivered 1", "a failed 1", "a failed 2gone")
	w.names("newest", states(1), "a delivered 1")

	w.happen("5")
	w.relay(10, 1, toAll(at(20), false, b))
	_, got = w.deliver(at(20), 10)
	back := got[0] // without an attempt
	back.Due, back.Error = at(25), "stopping"
	w.ok(w.SettleDelivery(ctx, back, at(21)))
	if list, err = w.Routes(ctx); err != nil {
		w.Fatal(err)
	}
	w.equal("health of b", list[1].Health, watch.RouteHealth{LastSuccess: at(6), Waiting: 1})
	said, _ = w.deliver(at(25), 10)
	w.names("given back", said, "b:5")
}

// deliveryCrash ends the process between relaying and settling, and has many
// senders at once.
func deliveryCrash(w *watcher) {
	ctx := w.Context()
	a := w.route("a", "")
	var keys []string
	for i := range 40 {
		keys = append(keys, fmt.Sprintf("%02d", i))
	}
	w.happen(keys...)
	w.relay(100, 40, toAll(at(0), false, a))
	_, first := w.deliver(at(0), 10)
	w.reopen()
	w.relay(100, 0, nil)
	sent := map[string]int{}
	var mu sync.Mutex
	send := func(now time.Time) {
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				got, err := w.LeaseDeliveries(ctx, now, time.Minute, 4)
				if err != nil {
					w.Error(err)
				}
				for _, d := range got {
					mu.Lock()
					sent[d.Events[0].Key+" "+d.ID]++
					mu.Unlock()
					d.State = "delivered"
					if err := w.SettleDelivery(ctx, d, now); err != nil {
						w.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
	send(at(0).Add(time.Second)) // what the first process held is held still
	if len(sent) != 30 {
		w.Fatalf("%d deliveries", len(sent))
	}
	send(at(2))
	if len(sent) != 40 {
		w.Fatalf("%d deliveries", len(sent))
	}
	for what, n := range sent {
		if n != 1 {
			w.Fatalf("%s was sent %d times", what, n)
		}
	}
	for _, d := range first {
		if sent[d.Events[0].Key+" "+d.ID] != 1 {
			w.Fatalf("delivery %+v came back under another id", d)
		}
		d.State = "delivered"
		w.refused(w.SettleDelivery(ctx, d, at(3)), problem.Conflict, "lease")
	}
}

// resend tries again what was given up.
func resend(w *watcher) {
	ctx := w.Context()
	a, b := w.route("a", ""), w.route("b", "")
	again := func(route, id string, want int) {
		w.Helper()
		n, err := w.ResendDeliveries(ctx, route, id, by("usr-1"), at(50))
		w.ok(err)
		if n != want {
			w.Fatalf("%d deliveries are sent again, want %d", n, want)
		}
	}
	again("a", "", 0)
	w.happen("1", "2", "3", "4")
	w.relay(10, 4, toAll(at(0), false, a, b))
	said, got := w.deliver(at(0), 10)
	w.names("first", said, "a:1", "a:2", "a:3", "a:4", "b:1", "b:2", "b:3", "b:4")
	for i, state := range []string{"failed", "failed", "delivered", "waiting", "failed"} {
		w.settle(got[i], state, at(1))
	}
	for _, c := range []struct {
		route, id string
		kind      problem.Kind
		rule      string
	}{
		{"none", "", problem.NotFound, "route"}, {"a", "none", problem.NotFound, "delivery"}, {"a", got[4].ID, problem.NotFound, "delivery"},
		{"a", got[2].ID, problem.Conflict, "delivery-delivered"}, {"a", got[3].ID, problem.Conflict, "delivery-waiting"},
	} {
		_, err := w.ResendDeliveries(ctx, c.route, c.id, by("usr-1"), at(50))
		w.refused(err, c.kind, c.rule)
	}
	again("a", got[1].ID, 1)
	if ev := w.lastEvent(audit.RouteResent); ev.Detail["route"] != "a" || ev.Detail["deliveries"] != "1" {
		w.Fatalf("audit event %+v", ev)
	}
	said, again2 := w.deliver(at(50), 10)
	w.names("with its event", said, "a:4", "b:2", "b:3", "b:4", "a:2") // what waited, and whose lease ran out, before it
	last := again2[len(again2)-1]
	if last.ID != got[1].ID || last.Attempts != 0 {
		w.Fatalf("delivery %+v", last)
	}
	again("a", "", 1)
	again("b", "", 1)
	again("b", "", 0)
	said, _ = w.deliver(at(50), 10)
	w.names("all that failed", said, "a:1", "b:1")
	list, err := w.Routes(ctx)
	w.ok(err)
	if list[0].Health.Failed != 0 || list[1].Health.Failed != 0 {
		w.Fatalf("%+v", list)
	}
}

func routeRemoved(w *watcher) {
	ctx := w.Context()
	a, b := w.route("a", ""), w.route("b", "")
	w.happen("1", "2")
	w.relay(10, 2, toAll(at(0), false, a, b))
	_, got := w.deliver(at(0), 1)
	w.ok(w.RemoveRoute(ctx, "a", by("usr-1"), at(0)))
	d := got[0]
	d.State = "delivered"
	w.refused(w.SettleDelivery(ctx, d, at(0)), problem.Conflict, "lease")
	said, _ := w.deliver(at(5), 10)
	w.names("left", said, "b:1", "b:2")
	w.route("a", "")
	if list, err := w.ListDeliveries(ctx, "a", 10); err != nil || len(list) != 0 {
		w.Fatalf("deliveries of a new route: %v, %v", list, err)
	}
}

// watchReopened reads everything again in another process.
func watchReopened(w *watcher) {
	ctx := w.Context()
	u := w.watched("airflow")
	l := w.lease(at(0))
	w.poll(l, at(0), func(p *watch.Poll) {
		p.Versions, p.Notes = []watch.VersionState{listed("airflow", "1.0.0")}, []watch.Note{{Key: "k", Text: "t"}}
		p.Events = []watch.Event{{Kind: watch.NewVersion, Upstream: "airflow", Chart: "airflow", Version: "1.0.0", Key: "n"}}
	})
	w.route("a", "")
	w.imported("prod", at(0), []watch.Deployment{running("k", "1.0.0")}, "none -> prod/k@1.0.0 ")
	state := func() (all []any) {
		ups, err := w.Upstreams(ctx)
		w.ok(err)
		list, err := w.Notes(ctx, u.ID, "", "", 10)
		w.ok(err)
		deps, err := w.Deployments(ctx, "")
		w.ok(err)
		routes, err := w.Routes(ctx)
		w.ok(err)
		return append(all, ups, w.states(l.Source.ID), list, w.events(watch.EventFilter{}), deps, routes)
	}
	before := state()
	w.reopen()
	w.equal("state", state(), before)
	w.proven(w.states(l.Source.ID)[0].LogIndex)
}
