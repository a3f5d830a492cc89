package watch_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/store/storetest"
	"github.com/chartkeep/chartkeep/internal/watch"
)

var morning = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC) // a Saturday

func happened(n int, at time.Time) []watch.Event {
	severities := []watch.Severity{watch.Info, watch.Low, watch.Medium, watch.High, watch.Critical}
	kinds := []watch.EventKind{watch.NewVersion, watch.Repacked, watch.Vanished, watch.Changed, watch.UnknownChart}
	events := make([]watch.Event, n)
	for i := range events {
		events[i] = watch.Event{
			Time: at, Kind: kinds[i%5], Severity: severities[i%5], Upstream: "u", Chart: "web", Version: fmt.Sprintf("1.%d.0", i),
			Message: "something happened", Key: fmt.Sprintf("%d-%d", at.UnixNano(), i),
		}
	}
	return events
}

func routeTo(name string, change ...func(*watch.Route)) watch.Route {
	r := watch.Route{Name: name, Kind: watch.RouteMail, Target: "team@example.com", MinSeverity: watch.Info}
	for _, c := range change {
		c(&r)
	}
	return r
}

// crashing is a store whose process dies at one of its calls: before the call
// or after it, in which case it took effect and nobody learned of it. From then
// on the process does nothing.
type crashing struct {
	watch.Store
	mu    sync.Mutex
	calls int // until it dies; negative never
	after bool
	dead  bool
}

var errDead = errors.New("the process is dead")

// pass runs a call, or dies.
func (c *crashing) pass(call func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return errDead
	}
	c.calls--
	if c.calls != 0 {
		return call()
	}
	c.dead = true
	if c.after {
		_ = call()
	}
	return errDead
}

func (c *crashing) RelayEvents(ctx context.Context, limit int, plan func([]watch.Event) []watch.Delivery) (n int, err error) {
	err = c.pass(func() error { n, err = c.Store.RelayEvents(ctx, limit, plan); return err })
	return n, err
}

func (c *crashing) LeaseDeliveries(ctx context.Context, now time.Time, hold time.Duration, limit int) (list []watch.Delivery, err error) {
	err = c.pass(func() error { list, err = c.Store.LeaseDeliveries(ctx, now, hold, limit); return err })
	if err != nil {
		return nil, err
	}
	return list, nil
}

func (c *crashing) SettleDelivery(ctx context.Context, d watch.Delivery, now time.Time) error {
	return c.pass(func() error { return c.Store.SettleDelivery(ctx, d, now) })
}

// got is what receivers got: by route and event, the ids of the deliveries that
// brought it, and how often.
type got struct {
	mu sync.Mutex
	by map[[2]string]map[string]int
}

func (g *got) take(d watch.Delivery) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range d.Events {
		k := [2]string{d.Route, e.Key}
		if g.by[k] == nil {
			g.by[k] = map[string]int{}
		}
		g.by[k][d.ID]++
	}
}

// TestEveryEventReachesEveryRoute dies at every call to the store and at random
// sends, starts again, and in the end has each event at each route that wanted
// it, always in the same delivery.
func TestEveryEventReachesEveryRoute(t *testing.T) {
	for _, tt := range []struct {
		name  string
		open  openStore
		calls int // that are died at
	}{{"model", openOutbox, 40}, {"SQLite", openSQLite, 9}} {
		t.Run(tt.name, func(t *testing.T) {
			if testing.Short() && tt.name == "SQLite" {
				t.Skip("a database for each place where the service can die")
			}
			t.Parallel()
			crashes, repeats := 0, 0
			for call := 1; call <= tt.calls; call++ {
				for _, after := range []bool{false, true} {
					c, r := live(t, uint64(call), call, after, tt.open)
					crashes, repeats = crashes+c, repeats+r
				}
			}
			if crashes < 2*tt.calls || repeats == 0 {
				t.Errorf("%d crashes and %d repeated deliveries: the test does not test", crashes, repeats)
			}
		})
	}
}

// openStore opens a store with routes, and a way to make events happen in it.
type openStore func(*testing.T, ...watch.Route) (watch.Store, func(...watch.Event))

func openOutbox(_ *testing.T, routes ...watch.Route) (watch.Store, func(...watch.Event)) {
	o := newOutbox(routes...)
	return o, o.happen
}

func openSQLite(t *testing.T, routes ...watch.Route) (watch.Store, func(...watch.Event)) {
	t.Helper()
	keys := storetest.Keys(t)
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{
		SQLite: filepath.Join(t.TempDir(), "chartkeep.db"), Origin: storetest.Origin,
		Signer: keys.Signer, AuditSigner: keys.AuditSigner, VerifierKey: keys.VerifierKey,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	by := audit.Event{Time: morning, Actor: audit.Actor{Kind: "user", ID: "usr-1"}, Door: audit.DoorServer}
	for _, r := range routes {
		if _, err := s.CreateRoute(t.Context(), r, by, morning); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	return s, func(events ...watch.Event) {
		n++
		d := watch.Deployment{}
		d.Key, d.Name, d.Revision = "eu/data/web", "web", n
		_, err := s.ReplaceDeployments(t.Context(), watch.Import{Name: "test"}, []watch.Deployment{d}, by, events[0].Time, func(_, _ *watch.Deployment) []watch.Event { return events })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// live runs some days in which processes die, and returns how often one did and
// how many deliveries were repeated.
func live(t *testing.T, seed uint64, call int, after bool, open openStore) (crashes, repeats int) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	store, happen := open(t,
		routeTo("all"),
		routeTo("grave", func(r *watch.Route) { r.MinSeverity = watch.High }),
		routeTo("daily", func(r *watch.Route) { r.Digest = watch.Daily }),
		routeTo("weekly", func(r *watch.Route) { r.Digest, r.Events = watch.Weekly, []watch.EventKind{watch.NewVersion} }),
	)
	wants := map[string]func(watch.Event) bool{
		"all":    func(watch.Event) bool { return true },
		"grave":  func(e watch.Event) bool { return e.Severity == watch.High || e.Severity == watch.Critical },
		"daily":  func(watch.Event) bool { return true },
		"weekly": func(e watch.Event) bool { return e.Kind == watch.NewVersion },
	}
	now := morning
	clock := func() time.Time { return now }
	g := &got{by: map[[2]string]map[string]int{}}
	process := &crashing{Store: store, calls: call, after: after}
	var sends sync.Mutex
	send := func(_ context.Context, _ watch.Route, d watch.Delivery) error {
		sends.Lock()
		defer sends.Unlock()
		process.mu.Lock()
		dead := process.dead
		process.mu.Unlock()
		if dead {
			return errDead
		}
		if random.IntN(4) == 0 {
			return problem.New(problem.Unavailable, "test", "not now")
		}
		g.take(d)
		return nil
	}
	n := notifier(process, send, clock)
	var events []watch.Event
	for step := range 120 {
		if step < 12 {
			fresh := happened(1+random.IntN(9), now)
			events = append(events, fresh...)
			happen(fresh...)
		}
		_, relay := n.RelayOnce(t.Context())
		_, deliver := n.DeliverOnce(t.Context())
		n.Wait()
		if errors.Is(relay, errDead) || errors.Is(deliver, errDead) || process.dead {
			crashes++
			process = &crashing{Store: store, calls: -1}
			if step < 20 {
				process.calls, process.after = 1+random.IntN(12), random.IntN(2) == 0
			}
			n = notifier(process, send, clock)
		} else if relay != nil || deliver != nil {
			t.Fatal(relay, deliver)
		}
		now = now.Add(time.Duration(1+random.IntN(6)) * time.Hour)
	}
	for _, e := range events {
		for route, want := range wants {
			ids := g.by[[2]string{route, e.Key}]
			switch {
			case want(e) && len(ids) != 1:
				t.Fatalf("crash at call %d: event %s reached %s in %d deliveries, not in one: %v", call, e.Key, route, len(ids), ids)
			case !want(e) && len(ids) != 0:
				t.Fatalf("event %s reached %s, which does not want it", e.Key, route)
			}
			for _, times := range ids {
				repeats += times - 1
			}
		}
	}
	return crashes, repeats
}

func TestHangingTargetDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(routeTo("hangs"), routeTo("well"))
		var mu sync.Mutex
		tried, delivered := 0, map[string]time.Duration{}
		start := time.Now()
		n := notifier(o, func(ctx context.Context, r watch.Route, d watch.Delivery) error {
			if r.Name == "hangs" {
				mu.Lock()
				tried++
				mu.Unlock()
				<-ctx.Done()
				return problem.New(problem.Unavailable, "test", "no answer")
			}
			mu.Lock()
			defer mu.Unlock()
			for _, e := range d.Events {
				delivered[e.Key] = time.Since(start)
			}
			return nil
		}, nil)
		ctx, stop := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { n.Run(ctx) })
		// Far more than a lane holds waits for the target that hangs.
		old := happened(3200, start)
		o.happen(old...)
		time.Sleep(10 * time.Second)
		late := happened(5, time.Now())
		o.happen(late...)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		mu.Lock()
		for _, e := range append(old, late...) {
			if _, ok := delivered[e.Key]; !ok {
				t.Fatalf("event %s did not reach the route that is well", e.Key)
			}
		}
		if took := delivered[late[0].Key] - 10*time.Second; took > 3*time.Second {
			t.Errorf("it took %s while another target hung", took)
		}
		mu.Unlock()
		time.Sleep(5 * time.Minute)
		stop()
		run.Wait()
		mu.Lock()
		defer mu.Unlock()
		// Each attempt hangs for 30 s and closes the lane for a minute.
		if tried < 2 || tried > 6 {
			t.Errorf("the target that hangs was tried %d times in five minutes", tried)
		}
	})
}

func TestRetries(t *testing.T) {
	o := newOutbox(routeTo("r"))
	o.happen(happened(1, morning)...)
	now, tried := morning, []time.Time{}
	ids := map[string]bool{}
	n := notifier(o, func(_ context.Context, _ watch.Route, d watch.Delivery) error {
		tried = append(tried, now)
		ids[d.ID] = true
		return problem.New(problem.Unavailable, "test", "not now").With("status", "503").Because(errors.New("secret cause"))
	}, func() time.Time { return now })
	if _, err := n.RelayOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 7 * 24 * 60 {
		if _, err := n.DeliverOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.Wait()
		now = now.Add(time.Minute)
	}
	if len(tried) != 24 || len(ids) != 1 {
		t.Fatalf("tried %d times under %d ids", len(tried), len(ids))
	}
	last := time.Duration(0)
	for i := 1; i < len(tried); i++ {
		pause := tried[i].Sub(tried[i-1])
		if i < 10 && pause+time.Minute < last || pause > 6*time.Hour+time.Minute {
			t.Errorf("pause %d is %s after %s", i, pause, last)
		}
		last = pause
	}
	if whole := tried[23].Sub(tried[0]); whole < 66*time.Hour || whole > 80*time.Hour {
		t.Errorf("given up after %s", whole)
	}
	list, _ := o.ListDeliveries(t.Context(), "r", 10)
	if len(list) != 1 || list[0].State != watch.DeliveryFailed || list[0].Attempts != 24 || list[0].Error != "not now (status 503)" {
		t.Errorf("ended as %+v", list)
	}
}

func TestOutcomes(t *testing.T) {
	pause := problem.New(problem.Unavailable, "test", "busy").Because(watch.PauseError(2 * time.Hour))
	for _, tt := range []struct {
		name  string
		err   error
		state string
		least time.Duration // until it is tried again
		most  time.Duration
		words string
	}{
		{"taken", nil, watch.DeliveryDelivered, 0, 0, ""},
		{"not now", problem.New(problem.Unavailable, "x", "not now"), watch.DeliveryWaiting, 22 * time.Second, 30 * time.Second, "not now"},
		{"asks for a pause", pause, watch.DeliveryWaiting, 2 * time.Hour, 2 * time.Hour, "busy"},
		{"asks for a year", problem.New(problem.Unavailable, "x", "busy").Because(watch.PauseError(8760 * time.Hour)), watch.DeliveryWaiting, 24 * time.Hour, 24 * time.Hour, "busy"},
		{"gone", problem.New(problem.Gone, "x", "gone"), watch.DeliveryFailed, 0, time.Hour, "gone"},
		{"refused", problem.New(problem.Invalid, "x", "no"), watch.DeliveryFailed, 0, time.Hour, "no"},
		{"panic", nil, watch.DeliveryWaiting, 22 * time.Second, 30 * time.Second, "internal error; the log of the server has more"},
		{"our fault", errors.New("nil map with a secret"), watch.DeliveryWaiting, 22 * time.Second, 30 * time.Second, "internal error; the log of the server has more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOutbox(routeTo("r"))
			o.happen(happened(1, morning)...)
			n := notifier(o, func(context.Context, watch.Route, watch.Delivery) error {
				if tt.name == "panic" {
					panic("no such template")
				}
				return tt.err
			}, func() time.Time { return morning })
			n.RelayOnce(t.Context())
			n.DeliverOnce(t.Context())
			n.Wait()
			if len(o.settled) != 1 {
				t.Fatalf("settled %d times", len(o.settled))
			}
			d := o.settled[0]
			wait := d.Due.Sub(morning)
			if d.State != tt.state || d.Error != tt.words || d.Attempts != 1 || tt.state == watch.DeliveryWaiting && (wait < tt.least || wait > tt.most) {
				t.Errorf("state %s after %s, %d attempts: %q", d.State, wait, d.Attempts, d.Error)
			}
		})
	}
}

// A pause that a target asks for holds for everything that is on its way to it.
func TestPauseHoldsForTheRoute(t *testing.T) {
	o := newOutbox(routeTo("r"))
	o.happen(happened(100, morning)...)
	sent := 0
	n := notifier(o, func(context.Context, watch.Route, watch.Delivery) error {
		sent++
		return problem.New(problem.Unavailable, "x", "busy").Because(watch.PauseError(time.Hour))
	}, func() time.Time { return morning })
	n.RelayOnce(t.Context())
	n.DeliverOnce(t.Context())
	n.Wait()
	if sent != 1 || len(o.settled) != 5 {
		t.Errorf("%d requests for %d messages to a target that asked for a pause", sent, len(o.settled))
	}
	for _, d := range o.settled {
		if d.Due.Before(morning.Add(time.Hour)) {
			t.Errorf("tried again at %s", d.Due)
		}
	}
}

func TestDigestGoesOutAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(morning.Add(-4 * time.Hour))) // the bubble begins in 2000
		o := newOutbox(routeTo("daily", func(r *watch.Route) { r.Digest = watch.Daily }))
		var sent []watch.Delivery
		var at []time.Time
		n := notifier(o, func(_ context.Context, _ watch.Route, d watch.Delivery) error {
			sent, at = append(sent, d), append(at, time.Now().UTC())
			return nil
		}, nil)
		ctx, stop := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { n.Run(ctx) })
		for range 5 {
			o.happen(happened(10, time.Now())...)
			time.Sleep(10 * time.Minute)
		}
		time.Sleep(time.Hour)
		stop()
		run.Wait()
		if len(sent) != 1 || len(sent[0].Events) != 50 {
			t.Fatalf("%d digests: %v", len(sent), at)
		}
		if slot := time.Date(2026, 11, 21, 6, 0, 0, 0, time.UTC); at[0].Before(slot) || at[0].After(slot.Add(3*time.Second)) {
			t.Errorf("the digest went out at %s", at[0])
		}
	})
}

func TestShutdownLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(routeTo("r"))
		o.happen(happened(60, time.Now())...)
		ctx, stop := context.WithCancel(t.Context())
		n := notifier(o, func(ctx context.Context, _ watch.Route, _ watch.Delivery) error {
			<-ctx.Done()
			return ctx.Err()
		}, nil)
		var run sync.WaitGroup
		run.Go(func() { n.Run(ctx) })
		time.Sleep(5 * time.Second)
		stop()
		run.Wait()
		for id, k := range o.deliveries {
			if k.State != watch.DeliveryWaiting || k.Attempts != 0 || !k.until.IsZero() {
				t.Errorf("delivery %s: %s, %d attempts, leased until %s", id, k.State, k.Attempts, k.until)
			}
		}
		if len(o.deliveries) != 3 {
			t.Errorf("%d deliveries", len(o.deliveries))
		}
	})
}

// Looking for work costs little while there is none, and what became visible
// late is found within a minute.
func TestIdleRelayReadsNothing(t *testing.T) {
	o := newOutbox(routeTo("r"))
	o.happen(happened(3, morning)...)
	now := morning
	n := notifier(o, nil, func() time.Time { return now })
	for range 20 {
		if _, err := n.RelayOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		now = now.Add(2 * time.Second)
	}
	if o.reads != 1 {
		t.Errorf("deployments were read %d times", o.reads)
	}
	now = now.Add(time.Minute)
	n.RelayOnce(t.Context())
	if o.reads != 2 {
		t.Errorf("deployments were read %d times after a minute", o.reads)
	}
}

func TestOwnersAreTold(t *testing.T) {
	o := newOutbox(routeTo("team-a", func(r *watch.Route) { r.Owners = []string{"a"} }), routeTo("pager", func(r *watch.Route) { r.Owners = []string{"nobody"} }))
	d := watch.Deployment{}
	d.Key, d.Owner, d.Match.Upstream, d.Match.Chart = "prod/data/web", "a", "u", "web"
	e := d
	e.Key, e.Owner, e.Route = "prod/data/web2", "b", "pager"
	o.deployments = []watch.Deployment{d, e}
	o.happen(happened(1, morning)...)
	var told []string
	var mu sync.Mutex
	n := notifier(o, func(_ context.Context, r watch.Route, d watch.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, r.Name)
		return nil
	}, func() time.Time { return morning })
	n.RelayOnce(t.Context())
	n.DeliverOnce(t.Context())
	n.Wait()
	if s := strings.Join(told, " "); s != "team-a pager" && s != "pager team-a" {
		t.Errorf("told: %s", s)
	}
}
