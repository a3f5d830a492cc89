package watch_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// swap serves other bytes for a version, and leaves the index as it is.
func (w *world) swap(version, content string) {
	w.Helper()
	w.sources.mu.Lock()
	defer w.sources.mu.Unlock()
	url := home + "/web-" + version + ".tgz"
	if content == "" {
		delete(w.sources.archives, url)
		return
	}
	w.sources.archives[url] = packed(w, version, content)
}

// byDigest are the ETags of a server that has true ones.
func byDigest(_ string, archive []byte) string { return digest.SHA256(archive) }

// days lets time pass by polls of 7 hours, and says what happened.
func (w *world) days(n int) string {
	w.Helper()
	var all []string
	for range n * 24 / 7 {
		if said := w.poll(7 * time.Hour); said != "" {
			all = append(all, said)
		}
	}
	return strings.Join(all, " | ")
}

// An archive that is swapped under an index entry that stays is found within a
// day where the server has ETags, and within a week where it has none.
func TestSwapIsFound(t *testing.T) {
	for _, c := range []struct {
		name    string
		tags    func(string, []byte) string
		entries string
		content string
		within  int // days
		want    string
	}{
		{"with ETags", byDigest, "1.0.0=a", "b", 2, "archive-mismatch 1.0.0 high"},
		{"without", nil, "1.0.0=a", "b", 8, "archive-mismatch 1.0.0 high"},
		{"an ETag that lies", func(string, []byte) string { return "the same" }, "1.0.0=a", "b", 8, "archive-mismatch 1.0.0 high"},
		{"packed again", byDigest, "1.0.0=a", "a2", 2, "repacked 1.0.0 low"},
		{"listed without a digest", byDigest, "1.0.0=~a", "b", 2, "changed 1.0.0 high"},
		{"what is listed is there again", byDigest, "1.0.0=a~b", "a", 2, "changed 1.0.0 high"},
		{"no longer served", byDigest, "1.0.0=a", "", 2, "archive-mismatch 1.0.0 medium"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.sources.tags = c.tags
			w.watches()
			w.lists(c.entries)
			w.poll(0)
			first := w.state("1.0.0").Archive
			if got := w.days(9); got != "" {
				t.Fatalf("what stays is told of: %s", got)
			}
			w.swap("1.0.0", c.content)
			w.sources.fetched = nil
			if got := w.days(c.within); got != c.want {
				t.Fatalf("%q, want %q", got, c.want)
			}
			v := w.state("1.0.0")
			if c.content == "" {
				if v.Archive != first || v.ArchiveError != "" {
					t.Fatalf("%+v", v)
				}
				w.swap("1.0.0", "a")
				if got := w.days(3); got != "" || w.state("1.0.0").Served.Asked.Before(w.now.Add(-36*time.Hour)) {
					t.Fatalf("when it is back: %q", got)
				}
				return
			}
			now := digest.SHA256(packed(t, "1.0.0", c.content))
			if len(v.Earlier) != 1 || v.Earlier[0].Archive != first || v.Archive != now || w.registry.blobs[first] == nil || w.registry.blobs[now] == nil {
				t.Fatalf("not both are kept: %+v", v)
			}
			e := w.since(w.last() - 1)[0]
			if text := fmt.Sprint(e.Evidence); !strings.Contains(text, "{index entry unchanged}") || !strings.Contains(text, first) || !strings.Contains(text, now) {
				t.Errorf("the event does not show both: %s", text)
			}
			if differs := c.content[:1] != "a" || c.entries == "1.0.0=a~b"; differs != (len(e.Files) > 0) {
				t.Errorf("files: %+v", e.Files)
			}
			if got := w.days(9); got != "" {
				t.Fatalf("it is told again: %s", got)
			}
		})
	}
}

// TestRecheckCost: what is asked again is what matters, at most daily, and a
// body goes over the wire once a week.
func TestRecheckCost(t *testing.T) {
	w := newWorld(t)
	w.sources.tags = byDigest
	w.watches(keep(watch.KeepAll))
	w.lists("1.0.0=a 1.1.0=a 1.2.0=a 1.3.0=a")
	d := watch.Deployment{}
	d.Key, d.Match.Upstream, d.Match.Chart, d.Match.Version = "k", "up", "web", "1.1.0"
	w.deployed(d)
	w.poll(0)
	w.sources.fetched, w.sources.asked = nil, nil
	if got := w.days(28); got != "" {
		t.Fatal(got)
	}
	asked, read := map[string]int{}, map[string]int{}
	for _, url := range w.sources.asked {
		asked[url[len(home)+1:]]++
	}
	for _, url := range w.sources.fetched {
		read[url[len(home)+1:]]++
	}
	for _, name := range []string{"web-1.1.0.tgz", "web-1.3.0.tgz"} { // deployed, and the newest
		if n, m := asked[name], read[name]; n < 12 || n > 26 || m < 3 || m > 4 {
			t.Errorf("%s was asked for %d times and read %d times in 4 weeks", name, n, m)
		}
	}
	if len(asked) != 2 || len(read) != 2 {
		t.Errorf("asked for %v, read %v", asked, read)
	}
}

// A mirror serves the first bytes whatever is swapped, and every version that
// it has is asked for again.
func TestSwapUnderAMirror(t *testing.T) {
	w := newWorld(t)
	w.sources.tags = byDigest
	w.watches(keep(watch.KeepNone), mirrors(watch.Mirror{Project: "mirror"}))
	w.lists("1.0.0=a 1.1.0=a")
	if got := w.poll(0); got != "first-read; mirrored 1.0.0; mirrored 1.1.0" {
		t.Fatal(got)
	}
	w.swap("1.0.0", "b")
	if got := w.days(2); !strings.HasPrefix(got, "archive-mismatch 1.0.0 high; mirror-refused 1.0.0 high") {
		t.Fatal(got)
	}
	if got := w.registry.mirrored["web 1.0.0"]; got != digest.SHA256(packed(t, "1.0.0", "a")) {
		t.Fatalf("%s is served", got)
	}
	// The index follows later: the bytes are known already.
	w.lists("1.0.0=b 1.1.0=a")
	if got := w.days(2); !strings.HasPrefix(got, "repacked 1.0.0 low") {
		t.Fatal(got)
	}
	if v := w.state("1.0.0"); len(v.Earlier) != 1 {
		t.Fatalf("%+v", v.Earlier)
	}
}

// What waits for its age is released as what it was first, though it was
// swapped meanwhile.
func TestSwapBeforeTheMirror(t *testing.T) {
	w := newWorld(t)
	w.sources.tags = byDigest
	w.watches(mirrors(watch.Mirror{Project: "mirror", MinAge: 10 * watch.Day}))
	w.lists("1.0.0=a")
	w.poll(0)
	w.swap("1.0.0", "b")
	if got := w.days(11); !strings.Contains(got, "archive-mismatch 1.0.0 high") || !strings.Contains(got, "mirrored 1.0.0") {
		t.Fatal(got)
	}
	if got := w.registry.mirrored["web 1.0.0"]; got != digest.SHA256(packed(t, "1.0.0", "a")) {
		t.Fatalf("%s is released, and not the first bytes seen", got)
	}
}

// TestRecheckPace: a host is asked for so much in an hour, however many
// upstreams are on it, and the rest follows.
func TestRecheckPace(t *testing.T) {
	w := newWorld(t)
	w.watches(keep(watch.KeepAll), mirrors(watch.Mirror{Project: "mirror"}))
	var entries []string
	for i := range 450 {
		entries = append(entries, fmt.Sprintf("1.%d.0=a", i))
	}
	w.lists(strings.Join(entries, " "))
	for range 4 {
		w.poll(step)
	}
	w.sources.fetched = nil
	w.poll(9 * 24 * time.Hour)
	if n := len(w.sources.fetched); n != 200 {
		t.Fatalf("%d archives were read again in one poll", n)
	}
	w.ok(w.PollNow(w.ctx, boss, "up"))
	w.poll(time.Minute)
	if n := len(w.sources.fetched); n != 200 {
		t.Fatalf("%d archives were read again in an hour", n)
	}
	for range 3 {
		w.poll(step)
	}
	if n := len(w.sources.fetched); n != 450 {
		t.Fatalf("%d archives were read again", n)
	}
	// A host that does not answer is left alone, and nothing is told.
	w.sources.archive = func(string) error { return problem.New(problem.Unavailable, "refused", "the connection was refused") }
	w.sources.fetched = nil
	if got := w.poll(9 * 24 * time.Hour); got != "" || len(w.sources.fetched) != 3 {
		t.Fatalf("%q, %d were asked for", got, len(w.sources.fetched))
	}
	if v := w.state("1.3.0"); v.ArchiveError != "" || v.Archive == "" {
		t.Fatalf("%+v", v)
	}
}
