package watch_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// Both archives of a replaced version can be had, by what they are and by their
// digest; no other bytes of the server can.
func TestKeptArchive(t *testing.T) {
	w := newWorld(t)
	w.watches(keep(watch.KeepAll))
	w.lists("1.0.0=a 1.1.0=a")
	w.poll(0)
	first := w.state("1.0.0").Archive
	has := func(version, which, want string) {
		t.Helper()
		b, d, err := w.KeptArchive(w.ctx, boss, "up", "web", version, which)
		if err != nil || d != want || digest.SHA256(b) != want {
			t.Errorf("%s %s: %s, %v, want %s", version, which, d, err, want)
		}
	}
	hasNot := func(upstream, chart, version, which, rule string) {
		t.Helper()
		_, _, err := w.KeptArchive(w.ctx, boss, upstream, chart, version, which)
		p, ok := problem.As(err)
		if !ok || p.Rule != rule {
			t.Errorf("%s %s %s %s: %v", upstream, chart, version, which, err)
		}
	}
	has("1.0.0", "", first)
	hasNot("up", "web", "1.0.0", watch.ArchiveBefore, "archive-before")
	w.lists("1.0.0=b 1.1.0=a")
	w.poll(step)
	second := w.state("1.0.0").Archive
	if first == second {
		t.Fatal("nothing changed")
	}
	e := w.only(watch.Changed)
	if get := e.ArchiveCommand(); get != "chartkeep upstream archive --digest "+first+" up web 1.0.0" {
		t.Error(get)
	}
	words := e.Words()
	if f := words.Facts[len(words.Facts)-2]; f.Label != "to get the archive before" {
		t.Errorf("%+v", words.Facts)
	}
	for _, c := range []struct{ which, want string }{{"now", second}, {"before", first}, {first, first}, {second, second}} {
		has("1.0.0", c.which, c.want)
	}
	hasNot("up", "web", "1.0.0", w.state("1.1.0").Archive, "archive-digest")
	hasNot("up", "web", "1.0.0", "last", "archive-which")
	hasNot("up", "web", "9.9.9", "now", "version")
	hasNot("up", "other", "1.0.0", "now", "version")
	hasNot("nowhere", "web", "1.0.0", "now", "upstream")

	w.registry.denied = map[access.Action]bool{access.WatchRead: true}
	if _, _, err := w.KeptArchive(w.ctx, boss, "up", "web", "1.0.0", "now"); problem.KindOf(err) != problem.Denied {
		t.Error(err)
	}
}

// What was never had is refused with the reason, and what would have it.
func TestArchiveThatIsNotKept(t *testing.T) {
	for _, c := range []struct {
		keep        watch.Keep
		reason, try string
	}{
		{watch.KeepNone, "no archives of upstream up are kept", "chartkeep upstream set up --keep all"},
		{watch.KeepNew, "those are kept that appeared since it is watched", "chartkeep upstream set up --keep all"},
	} {
		w := newWorld(t)
		w.watches(keep(c.keep))
		w.lists("1.0.0=a 1.1.0=a")
		w.poll(0)
		_, _, err := w.KeptArchive(w.ctx, boss, "up", "web", "1.0.0", "now")
		p := w.refused(err, problem.NotFound, "archive-not-kept")
		if len(p.Facts) == 0 || !strings.Contains(p.Facts[0].Value, c.reason) || p.Try != c.try {
			t.Errorf("%s: %+v", c.keep, p)
		}
	}
	w := newWorld(t)
	w.watches(keep(watch.KeepAll))
	w.lists("1.0.0=a")
	w.swap("1.0.0", "")
	w.poll(0)
	_, _, err := w.KeptArchive(w.ctx, boss, "up", "web", "1.0.0", "now")
	if p := w.refused(err, problem.NotFound, "archive-not-kept"); p.Try != "chartkeep upstream poll up" || len(p.Facts) == 0 {
		t.Errorf("%+v", p)
	}
	w.lists("1.0.0=b")
	w.poll(step)
	_, _, err = w.KeptArchive(w.ctx, boss, "up", "web", "1.0.0", "before")
	if p := w.refused(err, problem.NotFound, "archive-not-kept"); !strings.Contains(p.Message, "before it was replaced is not kept") {
		t.Errorf("%+v", p)
	}
}

// A source whose poll did not end is said to wait, until it does not; one that
// this process polls is not.
func TestHeldUntil(t *testing.T) {
	w := newWorld(t)
	w.watches()
	held := func() time.Time {
		t.Helper()
		u := must(w.Upstream(w.ctx, boss, "up"))
		list := must(w.Upstreams(w.ctx, boss))
		if !list[0].Sources[0].Health.HeldUntil.Equal(u.Sources[0].Health.HeldUntil) {
			t.Fatal("the list says something else")
		}
		return u.Sources[0].Health.HeldUntil
	}
	w.sources.answer(home, func(watch.Validators) (watch.Found, error) {
		if until := held(); !until.IsZero() {
			t.Errorf("while it is polled it waits until %s", until)
		}
		return watch.Found{Unchanged: true}, nil
	})
	leases := must(w.store.LeaseSources(w.ctx, w.now, 10*time.Minute, 1)) // and that process ends
	if len(leases) != 1 || !held().Equal(w.now.Add(10*time.Minute)) {
		t.Fatalf("%+v, held until %s", leases, held())
	}
	if n := must(w.PollDue(w.ctx)); n != 0 {
		t.Fatal("it was polled")
	}
	w.now = w.now.Add(10 * time.Minute)
	if until := held(); !until.IsZero() {
		t.Fatalf("it waits until %s, which is over", until)
	}
	if n := must(w.PollDue(w.ctx)); n != 1 || !held().IsZero() {
		t.Fatalf("polled %d, held until %s", n, held())
	}
}
