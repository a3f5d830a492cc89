package watch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

func mirrors(m watch.Mirror) func(*watch.NewUpstream) {
	return func(n *watch.NewUpstream) { n.Mirror = &m }
}

// mirrored are the versions that are released in our project.
func (w *world) mirrored() string {
	w.registry.mu.Lock()
	defer w.registry.mu.Unlock()
	var out []string
	for key := range w.registry.mirrored {
		out = append(out, strings.TrimPrefix(key, "web "))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestMirrorTakes(t *testing.T) {
	const all = "1.0.0=a 1.5.0=a 2.0.0=a 2.1.0-rc.1=a v3.0.0=a"
	for _, c := range []struct {
		mirror watch.Mirror
		want   string
	}{
		{watch.Mirror{}, "1.0.0 1.5.0 2.0.0 v3.0.0"},
		{watch.Mirror{Versions: "^1.2"}, "1.5.0"},
		{watch.Mirror{Versions: ">=2.0.0-0"}, "2.0.0 2.1.0-rc.1 v3.0.0"},
		{watch.Mirror{Charts: []string{"w?b"}, Versions: "1.x"}, "1.0.0 1.5.0"},
		{watch.Mirror{Charts: []string{"db*"}}, ""},
		{watch.Mirror{OnDemand: true}, ""},
	} {
		t.Run(fmt.Sprintf("%+v", c.mirror), func(t *testing.T) {
			t.Parallel()
			c.mirror.Project = "mirror"
			w := newWorld(t)
			w.watches(keep(watch.KeepNone), mirrors(c.mirror))
			w.lists(all)
			w.poll(0)
			if got := w.mirrored(); got != c.want {
				t.Fatalf("mirrored are %q, not %q", got, c.want)
			}
			if n := len(w.sources.fetched); n != len(strings.Fields(c.want)) {
				t.Errorf("%d archives were fetched", n)
			}
		})
	}
}

func TestMirrorKeepsTheFirstBytes(t *testing.T) {
	w := newWorld(t)
	w.watches(mirrors(watch.Mirror{Project: "mirror"}))
	w.lists("1.0.0=a")
	if got := w.poll(0); got != "first-read; mirrored 1.0.0" {
		t.Fatal(got)
	}
	offered := w.registry.mirrors
	for range 3 {
		if got := w.poll(7 * time.Hour); got != "" {
			t.Fatal(got)
		}
	}
	if w.registry.mirrors != offered {
		t.Fatal("what is mirrored was offered again")
	}
	w.lists("1.0.0=b")
	for i, want := range []string{"changed 1.0.0 high; mirror-refused 1.0.0 high", "", ""} {
		if got := w.poll(7 * time.Hour); got != want {
			t.Fatalf("poll %d: %q", i, got)
		}
	}
	first, second := digest.SHA256(packed(t, "1.0.0", "a")), digest.SHA256(packed(t, "1.0.0", "b"))
	if got := w.registry.mirrored["web 1.0.0"]; got != first {
		t.Fatalf("%s is served, and not the first bytes seen", got)
	}
	e := w.only(watch.MirrorRefused)
	text := fmt.Sprint(e.Evidence)
	if e.Project != "mirror" || e.Question == "" || !strings.Contains(text, first) || !strings.Contains(text, second) {
		t.Fatalf("the event does not name both digests: %+v", e)
	}
	// Another process finds it said already.
	w.reborn(&mortal{})
	w.ok(w.PollNow(w.ctx, boss, "up"))
	if got := w.poll(time.Second); got != "" {
		t.Fatal(got)
	}
}

func TestMirrorWaits(t *testing.T) {
	w := newWorld(t)
	w.watches(mirrors(watch.Mirror{Project: "mirror", MinAge: 3 * watch.Day}))
	w.lists("1.0.0=a 1.1.0=a")
	w.sources.archive = func(url string) error {
		if strings.Contains(url, "1.0.0") {
			return problem.New(problem.NotFound, "http-404", "there is nothing")
		}
		return nil
	}
	w.poll(0)
	w.sources.archive = nil
	w.lists("1.0.0=b 1.1.0=a2")
	for range 9 { // two days and a bit
		w.poll(7 * time.Hour)
	}
	if got := w.mirrored(); got != "" {
		t.Fatalf("%s is mirrored before its time", got)
	}
	var words []string
	for range 3 {
		words = append(words, w.poll(7*time.Hour))
	}
	// 1.0.0 was replaced while it waited, and what it was could not be had:
	// what is there is not what was first seen. 1.1.0 was packed again.
	if got := strings.Join(words, "|"); got != "|mirror-refused 1.0.0 high; mirrored 1.1.0|" && got != "mirror-refused 1.0.0 high; mirrored 1.1.0||" {
		t.Fatal(got)
	}
	if got := w.mirrored(); got != "1.1.0" || w.registry.mirrored["web 1.1.0"] != digest.SHA256(packed(t, "1.1.0", "a")) {
		t.Fatal(got)
	}
}

func TestMirrorWaitsWithTheFirstBytes(t *testing.T) {
	w := newWorld(t)
	w.watches(keep(watch.KeepAll), mirrors(watch.Mirror{Project: "mirror", MinAge: 3 * watch.Day}))
	w.lists("1.0.0=a")
	w.poll(0)
	w.lists("1.0.0=b")
	w.poll(step)
	w.lists("1.0.0=d")
	w.poll(step)
	if got := w.poll(73 * time.Hour); got != "mirror-refused 1.0.0 high; mirrored 1.0.0" {
		t.Fatal(got)
	}
	first, last := digest.SHA256(packed(t, "1.0.0", "a")), digest.SHA256(packed(t, "1.0.0", "d"))
	if got := w.registry.mirrored["web 1.0.0"]; got != first {
		t.Fatalf("%s is released, and not the first bytes seen", got)
	}
	if text := fmt.Sprint(w.only(watch.MirrorRefused).Evidence); !strings.Contains(text, first) || !strings.Contains(text, last) {
		t.Fatal(text)
	}
}

func TestMirrorGoesOn(t *testing.T) {
	w := newWorld(t)
	w.watches(mirrors(watch.Mirror{Project: "mirror"}))
	w.registry.fail = func(what string) error {
		if what == "mirror" {
			return problem.New(problem.Unavailable, "store", "the store does not answer")
		}
		return nil
	}
	w.lists("1.0.0=a")
	if got := w.poll(0); got != "first-read" {
		t.Fatal(got)
	}
	w.registry.fail = nil
	if got := w.poll(step); got != "mirrored 1.0.0" {
		t.Fatal(got)
	}
	w.lists("1.0.0=a 1.1.0=a~b") // what is served is not what is listed
	w.registry.fail = func(what string) error {
		if what == "mirror" {
			return problem.New(problem.Disproven, "mirror-digest", "the archive is not the one that the upstream lists")
		}
		return nil
	}
	if got := w.poll(step); got != "archive-mismatch 1.1.0 high; mirror-refused 1.1.0 high; new-version 1.1.0" {
		t.Fatal(got)
	}
}

// What was served while another archive was listed is not released, though it
// was seen first.
func TestMirrorTakesWhatWasListed(t *testing.T) {
	w := newWorld(t)
	w.watches(mirrors(watch.Mirror{Project: "mirror"}))
	w.registry.listed = true
	w.lists("1.0.0=a~b")
	if got := w.poll(0); got != "archive-mismatch 1.0.0 high; first-read; mirror-refused 1.0.0 high" {
		t.Fatal(got)
	}
	w.lists("1.0.0=d")
	if got := w.poll(step); got != "changed 1.0.0 high; mirror-refused 1.0.0 high" {
		t.Fatal(got)
	}
	if got := w.mirrored(); got != "" {
		t.Fatalf("%s is released", got)
	}
}

func TestMirrorHasNoProjectAnyMore(t *testing.T) {
	w := newWorld(t)
	w.watches(mirrors(watch.Mirror{Project: "mirror"}))
	w.lists("1.0.0=a 1.1.0=a")
	w.registry.fail = func(what string) error {
		if what == "target" {
			return problem.New(problem.Gone, "project-removed", "the project mirror was removed")
		}
		return nil
	}
	if got := w.poll(0); got != "first-read; mirror-refused medium" {
		t.Fatal(got)
	}
	w.lists("1.0.0=a 1.1.0=a 1.2.0=a")
	if got := w.poll(step); got != "new-version 1.2.0" {
		t.Fatal(got)
	}
}

func TestPull(t *testing.T) {
	w := newWorld(t)
	w.watches(keep(watch.KeepNone), mirrors(watch.Mirror{Project: "mirror", OnDemand: true, Versions: "<3"}))
	w.lists("1.0.0=a 2.0.0=a 3.0.0=a")
	w.poll(0)
	pull := func(version string) error { return w.Pull(w.ctx, "mirror", "web", version) }
	w.ok(pull("1.0.0"))
	if got := w.mirrored(); got != "1.0.0" {
		t.Fatal(got)
	}
	if p := w.refused(pull("3.0.0"), problem.NotFound, "mirror-version"); len(p.Facts) == 0 {
		t.Error("the refusal does not say that the mirror does not take it")
	}
	w.refused(pull("9.0.0"), problem.NotFound, "mirror-version")
	w.refused(w.Pull(w.ctx, "other", "web", "1.0.0"), problem.NotFound, "mirror-version")

	// What nobody has is not looked for again within a minute.
	w.lists("1.0.0=a 2.0.0=a 9.0.0=a")
	_, err := w.SetUpstream(w.ctx, boss, "up", watch.UpstreamChange{Mirror: &watch.Mirror{Project: "mirror", OnDemand: true}})
	w.ok(err)
	w.now = w.now.Add(30 * time.Second)
	w.poll(0)
	w.refused(pull("9.0.0"), problem.NotFound, "mirror-version")
	w.now = w.now.Add(31 * time.Second)
	w.ok(pull("9.0.0"))
}

func TestPullHoldsTheRules(t *testing.T) {
	w := newWorld(t)
	w.watches(mirrors(watch.Mirror{Project: "mirror", OnDemand: true, MinAge: watch.Day}))
	w.lists("1.0.0=a 2.0.0=a")
	w.poll(0)
	pull := func(version string) error { return w.Pull(w.ctx, "mirror", "web", version) }
	if p := w.refused(pull("2.0.0"), problem.NotFound, "mirror-version"); !strings.Contains(fmt.Sprint(p.Facts), "mirrored from") {
		t.Errorf("%+v", p.Facts)
	}
	w.lists("1.0.0=b 2.0.0=a")
	w.poll(25 * time.Hour)
	w.ok(pull("2.0.0"))
	w.refused(pull("1.0.0"), problem.Disproven, "mirror-changed")
	w.lists("1.0.0=b 2.0.0=a 3.0.0=a")
	w.poll(step)
	w.lists("1.0.0=b 2.0.0=a 3.0.0=b")
	w.poll(25 * time.Hour)
	w.ok(pull("3.0.0"))
	if got := w.registry.mirrored["web 3.0.0"]; got != digest.SHA256(packed(t, "3.0.0", "a")) {
		t.Fatalf("%s is released, and not the first bytes seen", got)
	}
}

func TestPullOnce(t *testing.T) {
	w := newWorld(t)
	w.watches(keep(watch.KeepNone), mirrors(watch.Mirror{Project: "mirror", OnDemand: true}))
	w.lists("1.0.0=a")
	w.poll(0)
	open := make(chan struct{})
	w.registry.fail = func(what string) error {
		if what == "mirror" {
			<-open
		}
		return nil
	}
	var running sync.WaitGroup
	errs, waits := make([]error, 20), make(chan struct{}, 100)
	for i := range errs {
		running.Go(func() { errs[i] = w.Pull(waiting{w.ctx, waits}, "mirror", "web", "1.0.0") })
	}
	for range errs {
		<-waits
	}
	close(open)
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if n := len(w.sources.fetched); n != 1 {
		t.Errorf("the archive was fetched %d times", n)
	}
}

// waiting is a context that says when somebody begins to wait for its end.
type waiting struct {
	context.Context
	begun chan<- struct{}
}

func (w waiting) Done() <-chan struct{} {
	w.begun <- struct{}{}
	return nil
}
