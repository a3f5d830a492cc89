package watch_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// blocking makes a source hang until it is let go or the poll is broken off.
func (w *world) blocking(url string) (begun <-chan struct{}, let func()) {
	began, open := make(chan struct{}, 10), make(chan struct{})
	w.sources.answerWith(url, func(ctx context.Context, _ watch.Validators) (watch.Found, error) {
		began <- struct{}{}
		select {
		case <-open:
			return watch.Found{Index: &upstream.Index{}}, nil
		case <-ctx.Done():
			return watch.Found{}, ctx.Err()
		}
	})
	return began, sync.OnceFunc(func() { close(open) })
}

// told waits for events, which another goroutine makes.
func (w *world) told(kind watch.EventKind) watch.Event {
	w.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		for _, e := range w.since(0) {
			if e.Kind == kind {
				return e
			}
		}
	}
	w.Fatalf("nobody told of %s", kind)
	return watch.Event{}
}

func TestWork(t *testing.T) {
	w := newWorld(t)
	ctx, stop := context.WithCancel(w.ctx)
	const slow = "https://slow.example.test"
	begun, let := w.blocking(slow)
	defer let()
	_, err := w.AddUpstream(w.ctx, boss, watch.NewUpstream{Name: "slow", Keep: watch.KeepNone, Sources: index(slow)})
	w.ok(err)
	var running sync.WaitGroup
	running.Go(func() { w.Work(ctx) })
	<-begun
	// While one hangs, another is added, and polled at once.
	w.lists("1.0.0=a")
	w.watches(keep(watch.KeepNone))
	if e := w.told(watch.FirstRead); e.Upstream != "up" {
		t.Fatalf("%+v", e)
	}
	stop()
	running.Wait() // the poll that hangs is broken off
	u, err := w.Upstream(w.ctx, boss, "slow")
	w.ok(err)
	if h := u.Sources[0].Health; h.Failures != 0 || h.Error != "" || !h.LastPoll.IsZero() {
		t.Fatalf("a shutdown is taken for a failure of the source: %+v", h)
	}
	// Its lease was given back: the next process need not wait for its end.
	leases, err := w.store.LeaseSources(w.ctx, w.now, time.Minute, 10)
	w.ok(err)
	if len(leases) != 1 || leases[0].Upstream.Name != "slow" {
		t.Fatalf("%+v", leases)
	}
}

func TestLostLease(t *testing.T) {
	w := newWorld(t)
	w.watches(keep(watch.KeepNone))
	begun, let := w.blocking(home)
	var running sync.WaitGroup
	var polled int
	var err error
	running.Go(func() { polled, err = w.PollDue(w.ctx) })
	<-begun
	all := watch.KeepAll
	_, serr := w.SetUpstream(w.ctx, boss, "up", watch.UpstreamChange{Keep: &all}) // polled anew, by who comes first
	w.ok(serr)
	w.lists("1.0.0=a")
	other := watch.New(watch.Config{Store: w.store, Sources: w.sources, Registry: w.registry, Now: func() time.Time { return w.now }})
	_, oerr := other.PollDue(w.ctx)
	w.ok(oerr)
	let()
	running.Wait()
	if err != nil || polled == 0 {
		t.Fatalf("%d polled, %v: a lost lease is nobody's fault", polled, err)
	}
	if got := words(w.since(0)); got != "first-read" {
		t.Fatal(got)
	}
	if v := w.state("1.0.0"); v.Gone {
		t.Fatal("who lost the lease wrote all the same")
	}
}

func TestDeadline(t *testing.T) {
	w := newWorld(t)
	w.watches(keep(watch.KeepNone))
	w.sources.answer(home, func(watch.Validators) (watch.Found, error) {
		return watch.Found{}, context.DeadlineExceeded
	})
	w.poll(0)
	if h := w.source().Health; h.Failures != 1 || h.Error == "" {
		t.Fatalf("%+v", h)
	}
}
