package watch_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// step is longer than the interval of a list with its jitter.
const step = 70 * time.Minute

// TestStories plays what an index shows, poll by poll, and the events of each.
func TestStories(t *testing.T) {
	for _, c := range []struct {
		name string
		keep watch.Keep
		says []string // what is listed, what happened; ...
	}{
		{"new", watch.KeepAll, []string{"1.0.0=a", "first-read", "1.0.0=a 1.1.0=a", "new-version 1.1.0", "1.0.0=a 1.1.0=a", ""}},
		{"changed", watch.KeepAll, []string{"1.0.0=a", "first-read", "1.0.0=b", "changed 1.0.0 high", "1.0.0=b", "", "1.0.0=a", "changed 1.0.0 high", "1.0.0=b", "changed 1.0.0 high"}},
		{"repacked", watch.KeepAll, []string{"1.0.0=a", "first-read", "1.0.0=a2", "repacked 1.0.0 low", "1.0.0=a", "repacked 1.0.0 low"}},
		{"changed, and the old one is not kept", watch.KeepNew, []string{"1.0.0=a 1.1.0=a", "first-read", "1.0.0=a2 1.1.0=a", "changed 1.0.0 high"}},
		{"changed, and nothing is kept", watch.KeepNone, []string{"1.0.0=a", "first-read", "1.0.0=a2", "changed 1.0.0 high"}},
		{"digest dropped, archive the same", watch.KeepAll, []string{"1.0.0=a", "first-read", "1.0.0=~a", "repacked 1.0.0 low", "1.0.0=a", ""}},
		{"digest dropped, other archive", watch.KeepAll, []string{"1.0.0=a", "first-read", "1.0.0=~b", "changed 1.0.0 high"}},
		{"vanished", watch.KeepAll, []string{"1.0.0=a 1.1.0=a", "first-read", "1.1.0=a", "vanished 1.0.0 medium", "1.1.0=a", "", "1.0.0=a 1.1.0=a", "returned 1.0.0", "1.1.0=a", "vanished 1.0.0 medium"}},
		{"returned changed", watch.KeepAll, []string{"1.0.0=a 1.1.0=a", "first-read", "1.1.0=a", "vanished 1.0.0 medium", "1.0.0=b 1.1.0=a", "returned-changed 1.0.0 high"}},
		{"returned repacked", watch.KeepAll, []string{"1.0.0=a 1.1.0=a", "first-read", "1.1.0=a", "vanished 1.0.0 medium", "1.0.0=a2 1.1.0=a", "returned-changed 1.0.0 low"}},
		{"returned without a digest", watch.KeepNone, []string{"1.0.0=a 1.1.0=a", "first-read", "1.1.0=a", "vanished 1.0.0 medium", "1.0.0 1.1.0=a", "returned 1.0.0 low"}},
		{"listed twice", watch.KeepAll, []string{"1.0.0=a", "first-read", "1.0.0=a,b", "duplicate 1.0.0 high", "1.0.0=b", "repacked 1.0.0 low"}},
		{"created", watch.KeepAll, []string{"1.0.0=a@1", "first-read", "1.0.0=a@2", "created-rewritten 1.0.0", "1.0.0=a@1", "created-rewritten 1.0.0"}},
		{"created of many", watch.KeepNone, []string{"1.0.0=a@1 1.1.0=a@1 1.2.0=a@1", "first-read", "1.0.0=a@2 1.1.0=a@2 1.2.0=a@2", "created-rewritten", "1.0.0=a@3 1.1.0=a@3 1.2.0=a@2", "created-rewritten"}},
		{"index and archive disagree", watch.KeepAll, []string{"1.0.0=a~b", "archive-mismatch 1.0.0 high; first-read", "1.0.0=a~b 1.1.0=a", "new-version 1.1.0"}},
		{"deprecated", watch.KeepNone, []string{"1.0.0=a", "first-read", "1.0.0=a 1.1.0=a!", "deprecated 1.1.0 medium; new-version 1.1.0", "1.0.0=a 1.1.0=a! 1.2.0=a!", "new-version 1.2.0"}},
		{"an old version is deprecated", watch.KeepNone, []string{"1.0.0=a 1.1.0=a", "first-read", "1.0.0=a! 1.1.0=a", ""}},
		{"odd entries", watch.KeepNone, []string{"1.0.0=a", "first-read", "1.0.0=a x.y=a z=a", "entry-invalid low"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.watches(keep(c.keep))
			for i := 0; i < len(c.says); i += 2 {
				w.lists(c.says[i])
				if got := w.poll(step); got != c.says[i+1] {
					t.Fatalf("after %q: got %q, want %q", c.says[i], got, c.says[i+1])
				}
			}
			if got := w.poll(step); got != "" {
				t.Fatalf("the same again: %q", got)
			}
		})
	}
}

func TestChangeTellsWhatDiffers(t *testing.T) {
	w := newWorld(t)
	w.watches()
	w.lists("1.0.0=a")
	w.poll(0)
	old := w.state("1.0.0")
	if old.Archive == "" || old.Content == "" || old.Fingerprint == "" || old.Archive != "sha256:"+old.Digests[0] {
		t.Fatalf("the newest version is not kept: %+v", old)
	}
	w.lists("1.0.0=b")
	w.poll(step)
	e, is := w.only(watch.Changed), w.state("1.0.0")
	want := []chart.Change{{Path: "templates/content.txt", Kind: "changed"}}
	if !slices.Equal(e.Files, want) || fact(e, "archive before") != old.Archive || fact(e, "archive now") != is.Archive || is.Archive == old.Archive ||
		fact(e, "content before") == fact(e, "content now") || e.Question == "" || e.LogIndex == 0 {
		t.Fatalf("%+v", e)
	}
	for _, d := range []string{old.Archive, is.Archive} {
		if w.registry.blobs[d] == nil {
			t.Errorf("%s is not kept", d)
		}
	}
}

func TestChangeWithoutTheArchives(t *testing.T) {
	const what = "what changed"
	t.Run("old", func(t *testing.T) {
		w := newWorld(t)
		w.watches()
		w.lists("1.0.0=a 1.1.0=a")
		w.poll(0)
		w.lists("1.0.0=b 1.1.0=a")
		w.poll(step)
		if e := w.only(watch.Changed); !strings.Contains(fact(e, what), "the old archive was not kept") || e.Severity != watch.High {
			t.Fatalf("%+v", e)
		}
	})
	t.Run("new, and later it is there", func(t *testing.T) {
		w := newWorld(t)
		w.watches()
		w.lists("1.0.0=a")
		w.poll(0)
		w.lists("1.0.0=a2")
		served := w.sources.archives[home+"/web-1.0.0.tgz"]
		delete(w.sources.archives, home+"/web-1.0.0.tgz")
		w.poll(step)
		if e := w.only(watch.Changed); !strings.Contains(fact(e, what), "nothing at") || e.Severity != watch.High {
			t.Fatalf("%+v", e)
		}
		if got := w.poll(step); got != "" {
			t.Fatal(got)
		}
		w.sources.archives[home+"/web-1.0.0.tgz"] = served
		if got := w.poll(7 * time.Hour); got != "repacked 1.0.0 low" {
			t.Fatal(got)
		}
		if got := w.poll(7 * time.Hour); got != "" {
			t.Fatal(got)
		}
	})
	t.Run("the store of archives fails", func(t *testing.T) {
		w := newWorld(t)
		w.watches()
		w.lists("1.0.0=a")
		w.poll(0)
		w.lists("1.0.0=b")
		w.registry.fail = func(what string) error {
			if what == "keep" {
				return errors.New("the disk is full")
			}
			return nil
		}
		w.now = w.now.Add(step)
		if _, err := w.PollDue(w.ctx); err == nil {
			t.Fatal("it is our own fault, and nobody was told")
		}
		w.registry.fail = nil
		if got := w.poll(time.Hour); got != "changed 1.0.0 high" { // after the lease
			t.Fatal(got)
		}
		if e := w.only(watch.Changed); len(e.Files) != 1 {
			t.Fatalf("%+v", e)
		}
	})
}

func TestShrunkList(t *testing.T) {
	const all = "1.0.0=a 1.1.0=a 1.2.0=a 1.3.0=a 2.0.0=a"
	start := func(t *testing.T) *world {
		w := newWorld(t)
		w.watches(keep(watch.KeepNone))
		w.lists(all)
		w.poll(0)
		return w
	}
	t.Run("comes back", func(t *testing.T) {
		w := start(t)
		w.lists("2.0.0=b 3.0.0=a")
		for i, want := range []string{"index-shrunk medium", "", "", "", ""} {
			if got := w.poll(step); got != want {
				t.Fatalf("poll %d: %q", i, got)
			}
		}
		if h := w.source().Health; h.Suspects != 5 || h.Suspect == "" || h.Versions != 5 || h.LastSuccess != morning {
			t.Fatalf("%+v", h)
		}
		if v := w.state("1.0.0"); v.Gone {
			t.Fatal("the last good state did not stay")
		}
		w.lists(all)
		if got := w.poll(step); got != "recovered" {
			t.Fatal(got)
		}
		if h := w.source().Health; h.Suspects != 0 || h.Suspect != "" || !h.SuspectSince.IsZero() {
			t.Fatalf("%+v", h)
		}
	})
	t.Run("is taken over", func(t *testing.T) {
		w := start(t)
		w.lists("2.0.0=a")
		for i, want := range []string{"index-shrunk medium", "", "", "vanished 1.0.0 medium; vanished 1.1.0 medium; vanished 1.2.0 medium; vanished 1.3.0 medium", ""} {
			if got := w.poll(10 * time.Hour); got != want {
				t.Fatalf("poll %d: %q", i, got)
			}
		}
	})
	t.Run("but not when few polls saw it", func(t *testing.T) {
		w := start(t)
		w.lists("2.0.0=a")
		for i, want := range []string{"index-shrunk medium", ""} {
			if got := w.poll(30 * time.Hour); got != want {
				t.Fatalf("poll %d: %q", i, got)
			}
		}
	})
	t.Run("two of five are no alarm", func(t *testing.T) {
		w := start(t)
		w.lists("1.2.0=a 1.3.0=a 2.0.0=a")
		if got := w.poll(step); got != "vanished 1.0.0 medium; vanished 1.1.0 medium" {
			t.Fatal(got)
		}
	})
}

func TestUnreadableIndex(t *testing.T) {
	w := newWorld(t)
	w.watches(keep(watch.KeepNone))
	w.lists("1.0.0=a")
	w.poll(0)
	says := func(message string) {
		w.sources.answer(home, func(watch.Validators) (watch.Found, error) {
			return watch.Found{}, problem.New(problem.Invalid, "upstream-index", "%s", message)
		})
	}
	says("the index is empty")
	for i, want := range []string{"index-invalid medium", "", ""} {
		if got := w.poll(step); got != want {
			t.Fatalf("poll %d: %q", i, got)
		}
	}
	says("this is a page of HTML")
	if got := w.poll(step); got != "index-invalid medium" {
		t.Fatal(got)
	}
	if v := w.state("1.0.0"); v.Gone {
		t.Fatal("the last good state did not stay")
	}
	w.lists("1.0.0=a")
	if got := w.poll(step); got != "recovered" {
		t.Fatal(got)
	}
	says("the index is empty")
	if got := w.poll(step); got != "index-invalid medium" {
		t.Fatalf("the same again, later: %q", got)
	}
}

// TestOwnCredential: that our own credential is not there says nothing of what
// the upstream publishes. It is told at once and once, with what to do, and that
// it is there again.
func TestOwnCredential(t *testing.T) {
	w := newWorld(t)
	w.watches(keep(watch.KeepNone))
	w.lists("1.0.0=a")
	w.poll(0)
	w.sources.answer(home, func(watch.Validators) (watch.Found, error) {
		return watch.Found{}, problem.New(problem.Invalid, "credential-unknown", "there is no credential named nope").Suggest("add it")
	})
	if got := w.poll(step); got != "credential-fault medium" {
		t.Fatal(got)
	}
	if h := w.source().Health; h.Failures != 1 || h.Error != "there is no credential named nope" || h.Rule != "credential-unknown" || h.Try != "add it" {
		t.Errorf("%+v", h)
	}
	if e := w.only(watch.CredentialFault); e.Message != home+" is not polled: there is no credential named nope" || fact(e, "what to do") != "add it" ||
		fact(e, "and then") != "chartkeep upstream poll up" || e.Question == "" {
		t.Errorf("%+v", e)
	}
	for range 5 { // nor is it called unreachable after an hour
		if got := w.poll(24 * time.Hour); got != "" {
			t.Fatal(got)
		}
	}
	w.lists("1.0.0=a")
	if got := w.poll(24 * time.Hour); got != "recovered" {
		t.Fatal(got)
	}
	if h := w.source().Health; h.Rule != "" || h.Error != "" || h.Try != "" {
		t.Errorf("%+v", h)
	}
}

func TestUnreachable(t *testing.T) {
	w := newWorld(t)
	w.watches(keep(watch.KeepNone))
	w.lists("1.0.0=a")
	w.poll(0)
	w.sources.answer(home, nil)
	var told []string
	var pauses []time.Duration
	w.now = w.source().Health.NextPoll
	for range 9 {
		if got := w.poll(0); got != "" {
			told = append(told, fmt.Sprintf("%d %s", w.source().Health.Failures, got))
		}
		h := w.source().Health
		pauses = append(pauses, h.NextPoll.Sub(h.LastPoll))
		w.now = h.NextPoll
	}
	if got := strings.Join(told, ", "); got != "3 unreachable medium" {
		t.Fatal(got)
	}
	for i, p := range pauses {
		want := min(time.Hour<<i, 24*time.Hour)
		if p < want*89/100 || p > want*111/100 {
			t.Errorf("pause %d is %s, and not about %s", i, p, want)
		}
	}
	w.lists("1.0.0=a 1.1.0=a")
	if got := w.poll(0); got != "new-version 1.1.0; recovered" {
		t.Fatal(got)
	}
	w.sources.answer(home, func(watch.Validators) (watch.Found, error) {
		return watch.Found{RetryAfter: 5 * time.Hour}, problem.New(problem.Unavailable, "http-429", "too many requests")
	})
	w.now = w.source().Health.NextPoll
	w.poll(0)
	if h := w.source().Health; h.NextPoll.Sub(h.LastPoll) != 5*time.Hour || h.Error != "too many requests" {
		t.Fatalf("the pause that was asked for: %+v", h)
	}
}

func TestNothingNew(t *testing.T) {
	counting := &countingStore{}
	w := newWorld(t, func(c *watch.Config) { counting.Store, c.Store = c.Store, counting })
	w.watches()
	w.lists("1.0.0=a")
	w.poll(0)
	reads, fetched := counting.states.Load(), len(w.sources.fetched)
	for range 4 {
		if got := w.poll(step); got != "" {
			t.Fatal(got)
		}
	}
	if counting.states.Load() != reads || len(w.sources.fetched) != fetched || w.sources.polls != 5 {
		t.Fatalf("%d polls read the versions %d times more and fetched %d archives more", w.sources.polls, counting.states.Load()-reads, len(w.sources.fetched)-fetched)
	}
	if h := w.source().Health; h.LastSuccess != w.now || h.LastChange == w.now || h.Versions != 1 {
		t.Fatalf("%+v", h)
	}
}

func TestNewChart(t *testing.T) {
	w := newWorld(t)
	w.watches(keep(watch.KeepNone))
	index := func(charts ...string) {
		var x upstream.Index
		for _, words := range charts {
			f := strings.Fields(words)
			c := upstream.Chart{Name: f[0]}
			for _, v := range f[1:] {
				c.Versions = append(c.Versions, upstream.Version{Version: v, URLs: []string{"x"}})
			}
			x.Charts = append(x.Charts, c)
		}
		w.shows(x)
	}
	index("web 1.0.0")
	w.poll(0)
	index("web 1.0.0", "small 0.1.0 0.2.0", "large 1.0.0 1.1.0 1.2.0 2.0.0-rc.1")
	if got := w.poll(step); got != "new-version 0.1.0; new-version 0.2.0; new-version 1.2.0" {
		t.Fatal(got)
	}
	charts := []string{"s*"}
	_, err := w.SetUpstream(w.ctx, boss, "up", watch.UpstreamChange{Charts: &charts})
	w.ok(err)
	index("web 1.0.0", "small 0.1.0", "large 1.0.0")
	if got := w.poll(step); got != "vanished 0.2.0 medium" {
		t.Fatalf("what is watched no more vanished: %q", got)
	}
}

func TestLargeList(t *testing.T) {
	w := newWorld(t)
	w.watches(keep(watch.KeepNone))
	make := func(n int, mark byte) upstream.Index {
		c := upstream.Chart{Name: "web"}
		for i := range n {
			c.Versions = append(c.Versions, upstream.Version{Version: fmt.Sprintf("1.%d.0", i), Digest: fmt.Sprintf("%063x%c", i, mark), URLs: []string{"x"}})
		}
		return upstream.Index{Charts: []upstream.Chart{c}}
	}
	w.shows(make(4500, 'a'))
	if got := w.poll(0); got != "first-read" {
		t.Fatal(got)
	}
	if n := len(must(w.Versions(w.ctx, boss, "up", ""))); n != 4500 || w.source().Health.Versions != 4500 {
		t.Fatalf("%d versions", n)
	}
	w.shows(make(4500, 'b'))
	if got := strings.Count(w.poll(step), "changed"); got != 4500 {
		t.Fatalf("%d events", got)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestOneHangsAndOnePanics(t *testing.T) {
	w := newWorld(t)
	for i := range 30 {
		url := fmt.Sprintf("https://u%d.example.test", i)
		_, err := w.AddUpstream(w.ctx, boss, watch.NewUpstream{Name: fmt.Sprintf("u%d", i), Keep: watch.KeepNone, Sources: []watch.Source{{Kind: watch.SourceIndex, URL: url}}})
		w.ok(err)
		w.sources.answer(url, func(watch.Validators) (watch.Found, error) {
			if i == 3 {
				panic("a bug")
			}
			return watch.Found{Index: &upstream.Index{}}, nil
		})
	}
	n, err := w.PollDue(w.ctx)
	if n != 30 || err == nil || !strings.Contains(err.Error(), "a bug") {
		t.Fatalf("%d polls, %v", n, err)
	}
	all := must(w.Upstreams(w.ctx, boss))
	for _, u := range all {
		h := u.Sources[0].Health
		if broke := u.Name == "u3"; (h.Failures == 1) != broke || !h.NextPoll.After(w.now) || h.LastSuccess.IsZero() != broke {
			t.Errorf("%s: %+v", u.Name, h)
		}
	}
}

func TestChangelogOfArchives(t *testing.T) {
	w := newWorld(t)
	w.watches()
	w.lists("1.0.0=c")
	w.poll(0)
	notes := must(w.Notes(w.ctx, boss, "up", "web", "1.0.0", 10))
	if len(notes) != 1 || notes[0].Key != "archive:web@1.0.0" || !strings.Contains(notes[0].Text, "first of c") || strings.Contains(notes[0].Text, "old") {
		t.Fatalf("%+v", notes)
	}
}
