package watch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// refusingStore fails to record as often as it is told to.
type refusingStore struct {
	watch.Store
	refuse atomic.Int64
}

func (s *refusingStore) RecordPoll(ctx context.Context, p *watch.Poll) ([]watch.Event, error) {
	if s.refuse.Add(-1) >= 0 {
		return nil, errCrash
	}
	return s.Store.RecordPoll(ctx, p)
}

// TestStoreFails lets the store fail, and the process live on.
func TestStoreFails(t *testing.T) {
	store := &refusingStore{}
	w := newWorld(t, func(c *watch.Config) { store.Store, c.Store = c.Store, store })
	w.watches(func(n *watch.NewUpstream) { n.Mirror = &watch.Mirror{Project: "mirror"} })
	w.lists("1.0.0=a")
	store.refuse.Store(1)
	if _, err := w.PollDue(w.ctx); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	if got := w.poll(11 * time.Minute); got != "first-read; mirrored 1.0.0" {
		t.Fatal(got)
	}
	w.lists("1.0.0=b 1.1.0=a")
	store.refuse.Store(1)
	w.now = w.now.Add(step)
	if _, err := w.PollDue(w.ctx); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	if got := w.poll(11 * time.Minute); got != "changed 1.0.0 high; mirror-refused 1.0.0 high; mirrored 1.1.0; new-version 1.1.0" {
		t.Fatal(got)
	}
}

// countingStore counts what is read of a store.
type countingStore struct {
	watch.Store
	states atomic.Int64
}

func (s *countingStore) VersionStates(ctx context.Context, id int64, each func(watch.VersionState) error) error {
	s.states.Add(1)
	return s.Store.VersionStates(ctx, id, each)
}

var errCrash = errors.New("the process is gone")

// mortal ends the process at one of the calls that leave it: before the call
// has an effect, or after it had one and nobody learnt of it.
type mortal struct {
	mu    sync.Mutex
	at    int // the call that is the last; 0 for none
	after bool
	calls int
	dead  bool
}

func (m *mortal) pass(call func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return errCrash
	}
	m.calls++
	if m.calls != m.at {
		return call()
	}
	m.dead = true
	if m.after {
		call()
	}
	return errCrash
}

type mortalStore struct {
	watch.Store
	*mortal
}

func (s mortalStore) LeaseSources(ctx context.Context, now time.Time, hold time.Duration, limit int) (out []watch.Lease, err error) {
	err = s.pass(func() (err error) { out, err = s.Store.LeaseSources(ctx, now, hold, limit); return err })
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s mortalStore) VersionStates(ctx context.Context, id int64, each func(watch.VersionState) error) error {
	return s.pass(func() error { return s.Store.VersionStates(ctx, id, each) })
}

func (s mortalStore) RecordPoll(ctx context.Context, p *watch.Poll) (out []watch.Event, err error) {
	err = s.pass(func() (err error) { out, err = s.Store.RecordPoll(ctx, p); return err })
	return out, err
}

func (s mortalStore) Events(ctx context.Context, f watch.EventFilter) (out []watch.Event, err error) {
	err = s.pass(func() (err error) { out, err = s.Store.Events(ctx, f); return err })
	return out, err
}

type mortalRegistry struct {
	*vault
	*mortal
}

func (r mortalRegistry) KeepArchive(ctx context.Context, b []byte) (d string, err error) {
	err = r.pass(func() (err error) { d, err = r.vault.KeepArchive(ctx, b); return err })
	return d, err
}

func (r mortalRegistry) OpenArchive(ctx context.Context, d string) (rc io.ReadCloser, err error) {
	err = r.pass(func() (err error) { rc, err = r.vault.OpenArchive(ctx, d); return err })
	return rc, err
}

func (r mortalRegistry) Mirror(ctx context.Context, project string, archive io.Reader, o watch.MirrorOrigin) (res watch.MirrorResult, err error) {
	err = r.pass(func() (err error) { res, err = r.vault.Mirror(ctx, project, archive, o); return err })
	return res, err
}

// reborn is a service of a new process on the same store.
func (w *world) reborn(m *mortal) {
	w.Service = watch.New(watch.Config{
		Store: mortalStore{w.store, m}, Sources: w.sources, Registry: mortalRegistry{w.registry, m}, Limits: chart.DefaultLimits(), Now: func() time.Time { return w.now },
	})
}

// endure plays a story in which the process dies once in its second step, at a
// call, and returns what was told, and how many calls the step has.
func endure(t *testing.T, at int, after bool, steps []func(*world), change ...func(*watch.NewUpstream)) (events map[string]int, calls int) {
	t.Helper()
	w := newWorld(t)
	w.watches(change...)
	for i, step := range steps {
		w.now = w.now.Add(2 * time.Hour)
		step(w)
		m := &mortal{}
		if i == 1 {
			m.at, m.after = at, after
		}
		w.reborn(m)
		w.ok(w.store.PollNow(w.ctx, "up", w.now))
		_, err := w.PollDue(w.ctx)
		if (err != nil) != (m.at != 0 && m.dead) {
			t.Fatalf("step %d: %v", i, err)
		}
		if i == 1 {
			calls = m.calls
		}
		if m.dead { // another process finds the lease run out
			w.now = w.now.Add(11 * time.Minute)
			w.reborn(&mortal{})
			w.ok(w.store.PollNow(w.ctx, "up", w.now))
			if n, err := w.PollDue(w.ctx); err != nil || n != 1 {
				t.Fatalf("after the crash %d sources were polled: %v", n, err)
			}
		}
	}
	events = map[string]int{}
	for _, e := range w.since(0) {
		events[fmt.Sprintf("%s %s %s %s: %s %d files", e.Kind, e.Severity, e.Chart, e.Version, e.Message, len(e.Files))]++
	}
	return events, calls
}

// TestCrashes lets the process die at every call that leaves it, before and
// after the call had its effect: no event is lost, and none is told twice.
func TestCrashes(t *testing.T) {
	lists := func(entries string) func(*world) { return func(w *world) { w.lists(entries) } }
	steps := []func(*world){
		lists("1.0.0=a@1 1.1.0=a@1 1.2.0=a@1 1.3.0=a@1 2.0.0=a@1 2.1.0=a@1"),
		lists("1.0.0=b@1 1.1.0=a2@1 1.3.0=a@2 2.0.0=a,b@1 2.1.0=a@2 2.2.0=c@3"),
		lists("1.0.0=a@1 1.1.0=a2@1 1.2.0=a@1 1.3.0=a@2 2.0.0=a,b@1 2.1.0=a@2 2.2.0=c@3"),
	}
	mirrors := func(n *watch.NewUpstream) { n.Keep, n.Mirror = watch.KeepAll, &watch.Mirror{Project: "mirror"} }
	want, calls := endure(t, 0, false, steps, mirrors)
	if len(want) < 15 || calls < 15 {
		t.Fatalf("%d events and %d calls: the story is too short to prove much: %v", len(want), calls, want)
	}
	crashes(t, calls, want, steps, mirrors)
}

// TestCrashBetweenPieces is TestCrashes for a list that is written in several
// transactions.
func TestCrashBetweenPieces(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED in short mode: takes seconds")
	}
	// All get another time of creation, and every hundredth another digest.
	shows := func(n int, mark byte) func(*world) {
		c := upstream.Chart{Name: "web"}
		for i := range n {
			v := upstream.Version{Version: fmt.Sprintf("1.%d.0", i), Digest: fmt.Sprintf("%064x", i), Created: morning.Add(-time.Duration(mark) * time.Second), URLs: []string{"x"}}
			if i%100 == 0 {
				v.Digest = v.Digest[:63] + string(mark)
			}
			c.Versions = append(c.Versions, v)
		}
		return func(w *world) { w.shows(upstream.Index{Charts: []upstream.Chart{c}}) }
	}
	steps := []func(*world){shows(2050, 'a'), shows(2060, 'b')}
	want, calls := endure(t, 0, false, steps, keep(watch.KeepNone))
	if len(want) != 1+21+10+2 { // first read, changed, new, and of the times one for each piece
		t.Fatalf("%d events: %v", len(want), want)
	}
	crashes(t, calls, want, steps, keep(watch.KeepNone))
	// And in the first reading of all.
	first := []func(*world){func(w *world) { w.sources.answer(home, nil) }, shows(2050, 'a')}
	want, calls = endure(t, 0, false, first, keep(watch.KeepNone))
	crashes(t, calls, want, first, keep(watch.KeepNone))
}

func crashes(t *testing.T, calls int, want map[string]int, steps []func(*world), change ...func(*watch.NewUpstream)) {
	t.Helper()
	for at := 1; at <= calls; at++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("call %d, %v", at, after), func(t *testing.T) {
				t.Parallel()
				got, _ := endure(t, at, after, steps, change...)
				if !maps.Equal(got, want) {
					t.Errorf("%s", difference(got, want))
				}
			})
		}
	}
}

func difference(got, want map[string]int) string {
	var out []string
	for e, n := range want {
		if got[e] != n {
			out = append(out, fmt.Sprintf("%d instead of %d: %s", got[e], n, e))
		}
	}
	for e, n := range got {
		if want[e] == 0 {
			out = append(out, fmt.Sprintf("%d instead of none: %s", n, e))
		}
	}
	slices.Sort(out)
	return strings.Join(out[:min(len(out), 20)], "\n")
}
