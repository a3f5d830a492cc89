package watch_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

var table = flag.Bool("table", false, "print the table of the replay")

// told is what an event says, in the words of mutations.csv.
type told struct{ Commit, Kind, Chart, Version, Old, New string }

func bare(s string) string {
	if s == "none is listed" {
		return ""
	}
	return strings.TrimPrefix(s, "sha256:")
}

func toldOf(commit string, e watch.Event) told {
	out := told{Commit: commit, Kind: string(e.Kind), Chart: e.Chart, Version: e.Version}
	switch e.Kind {
	case watch.Vanished:
		out.Old = bare(fact(e, "digest"))
	case watch.Duplicate:
		out.Old, out.New = bare(fact(e, "digest listed first")), bare(fact(e, "digest listed too"))
	case watch.IndexInvalid:
	default:
		out.Old, out.New = bare(fact(e, "old digest")), bare(fact(e, "new digest"))
	}
	return out
}

// expected translates a row. The table knows by the future whether what
// vanished comes back; a duplicate that was removed is a change from one of its
// digests to another.
func expected(r map[string]string) told {
	e := told{r["after_commit"], "", r["chart"], r["version"], r["digest_before"], r["digest_after"]}
	switch r["event"] {
	case "changed", "duplicate-removed":
		e.Kind = "changed"
	case "vanished-permanent", "vanished-temporary":
		e.Kind = "vanished"
	case "reappeared-same":
		e.Kind = "returned"
	case "reappeared-changed":
		e.Kind = "returned-changed"
	case "duplicate-added":
		e.Kind = "duplicate"
	case "index-invalid-yaml":
		e = told{Commit: r["after_commit"], Kind: "index-invalid"}
	}
	return e
}

// beyond knows the seven events that mutations.csv tells in another way: see
// docs/upstream.md.
func beyond(mutations []map[string]string, e told) bool {
	changed, removed := false, false
	for _, m := range mutations {
		if m["chart"] != e.Chart || m["version"] != e.Version {
			continue
		}
		changed = changed || m["event"] == "changed" && m["after_commit"] == e.Commit && m["digest_after"] == e.Old
		removed = removed || m["event"] == "duplicate-removed" && m["before_commit"] == e.Commit && m["digest_before"] == e.Old
		if e.Kind == "changed" && e.New == "" && m["event"] == "index-invalid-yaml" && m["digest_before"] == e.Old {
			return true
		}
	}
	return e.Kind == "duplicate" && changed && removed
}

// held are the revisions whose list is held back as shrunk, and those with
// which it was whole again before the rule of three polls and 24 hours took the
// list over. What mutations.csv has of them is no event here: nothing is
// declared vanished, and nothing returned.
//
// codecentric, 22 and 23 July 2019: the index shrank from 30 versions to one,
// and was whole again 14 hours later.
var held = []struct {
	history, shrunk, whole string
	versions               int
}{
	{"codecentric", "1348f277fdd40f2fac9abc4a980cb23df4961839", "9535144087735abd5b03bba8d38905612bb8d688", 29},
}

var histories = []struct {
	file, repository string
	control          bool
}{
	{"cnpg", "cloudnative-pg/charts", false}, {"codecentric", "codecentric/helm-charts", false}, {"csi-nfs", "kubernetes-csi/csi-driver-nfs", false},
	{"keda", "kedacore/charts", false}, {"podinfo", "stefanprodan/podinfo", false}, {"airflow", "airflow-helm/charts", true},
	{"argo", "argoproj/argo-helm", false}, {"jenkins", "jenkinsci/helm-charts", true},
}

// told of source and of versions that mutations.csv has nothing of.
var beside = []watch.EventKind{
	watch.FirstRead, watch.NewVersion, watch.CreatedRewritten, watch.EntryInvalid, watch.Recovered, watch.GoneQuiet, watch.Deprecated, watch.IndexShrunk,
}

// TestReplay plays real indexes through the whole service on a real database,
// in the order and at the times of their publication, one poll for a revision.
// The events are those of mutations.csv, which others found in another way.
func TestReplay(t *testing.T) {
	root := charttest.Corpus(t, "")
	b, err := os.ReadFile(filepath.Join(root, "mutations", "mutations.csv"))
	if err != nil {
		t.Fatal(err)
	}
	mutations := charttest.Rows(t, b)
	for _, h := range histories {
		t.Run(h.file, func(t *testing.T) {
			if (h.file == "argo" || h.file == "jenkins") && !*table {
				t.Skip("SKIPPED: more than 400 MB of indexes take a minute; run with -table")
			}
			if testing.Short() && h.file != "airflow" {
				t.Skip("SKIPPED in short mode: takes seconds")
			}
			if !*table {
				t.Parallel()
			}
			w := newWorld(t)
			var got []told
			var last time.Time
			began, revisions, counts := cpu(t), 0, map[watch.EventKind]int{}
			charttest.History(t, filepath.Join(root, "histories", h.file+".index-history.tar.zst"), func(rev charttest.Revision) {
				if revisions++; revisions == 1 {
					w.now, last = rev.Time, rev.Time.Add(-time.Second)
					w.watches(keep(watch.KeepNone))
				}
				got = append(got, w.replay(t, rev, last, counts)...)
				last = w.now
			})
			var want []told
			for _, m := range mutations {
				if m["repo"] == h.repository {
					if e := expected(m); !slices.Contains(want, e) {
						want = append(want, e)
					}
				}
			}
			want = withoutHeld(t, h.file, want, counts)
			for _, e := range want {
				if !slices.Contains(got, e) {
					t.Errorf("not told: %+v", e)
				}
			}
			for _, e := range got {
				if !slices.Contains(want, e) && !beyond(mutations, e) {
					t.Errorf("not in mutations.csv: %+v", e)
				}
			}
			if h.control && len(got) > 0 {
				t.Errorf("a control history has %d events", len(got))
			}
			if *table {
				fmt.Printf("| %s | %d |", h.repository, revisions)
				for _, k := range []watch.EventKind{watch.NewVersion, watch.Changed, watch.Vanished, watch.Returned, watch.ReturnedChanged, watch.Duplicate, watch.CreatedRewritten, watch.IndexInvalid, watch.IndexShrunk, watch.GoneQuiet} {
					fmt.Printf(" %d |", counts[k])
				}
				fmt.Printf(" %.1f |\n", (cpu(t) - began).Seconds())
			}
		})
	}
}

// replay polls one revision at its time and returns what is told of it.
func (w *world) replay(t *testing.T, rev charttest.Revision, last time.Time, counts map[watch.EventKind]int) []told {
	t.Helper()
	x, err := upstream.Parse(rev.Text, upstream.Limits{})
	w.sources.answer(home, func(watch.Validators) (watch.Found, error) {
		if err != nil {
			return watch.Found{}, err
		}
		return watch.Found{Index: &x}, nil
	})
	if w.now = rev.Time; !w.now.After(last) {
		w.now = last.Add(time.Second) // commits of one moment
	}
	w.ok(w.PollNow(w.ctx, boss, "up"))
	before := w.last()
	_, perr := w.PollDue(w.ctx)
	w.ok(perr)
	var out []told
	for _, e := range w.since(before) {
		counts[e.Kind]++
		if !slices.Contains(beside, e.Kind) {
			out = append(out, toldOf(rev.Commit, e))
		}
	}
	return out
}

// withoutHeld leaves out what mutations.csv has of a list that was held.
func withoutHeld(t *testing.T, history string, want []told, counts map[watch.EventKind]int) []told {
	t.Helper()
	holds := 0
	for _, h := range held {
		if h.history != history {
			continue
		}
		holds++
		n := len(want)
		want = slices.DeleteFunc(want, func(e told) bool {
			return e.Commit == h.shrunk && e.Kind == "vanished" || e.Commit == h.whole && e.Kind == "returned"
		})
		if n -= len(want); n != 2*h.versions {
			t.Errorf("mutations.csv has %d rows of the list that was held, and not two for each of %d versions", n, h.versions)
		}
	}
	if counts[watch.IndexShrunk] != holds {
		t.Errorf("a list was held %d times, and not %d", counts[watch.IndexShrunk], holds)
	}
	return want
}

func cpu(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
