package watch_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// TestCases polls the two sides of each chosen mutation, with the archives
// where they are there, and looks how it is told.
func TestCases(t *testing.T) {
	root := charttest.Corpus(t, "")
	dirs, err := filepath.Glob(filepath.Join(root, "mutations", "cases", "*"))
	if err != nil || len(dirs) < 20 {
		t.Fatalf("%d cases: %v", len(dirs), err)
	}
	for i, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			if testing.Short() && i%4 != 0 {
				t.Skip("SKIPPED in short mode: every fourth case is played")
			}
			t.Parallel()
			b, err := os.ReadFile(filepath.Join(dir, "case.json"))
			if err != nil {
				t.Fatal(err)
			}
			var fields map[string]any
			if err := json.Unmarshal(b, &fields); err != nil {
				t.Fatal(err)
			}
			row := map[string]string{}
			for name, value := range fields {
				row[name] = fmt.Sprint(value)
			}
			playCase(t, dir, row)
		})
	}
}

func playCase(t *testing.T, dir string, row map[string]string) {
	w := newWorld(t)
	w.watches(keep(watch.KeepAll), func(n *watch.NewUpstream) {
		if c := row["chart"]; c != "" && row["event"] != "index-invalid-yaml" {
			n.Charts = []string{c}
		}
	})
	show := func(side string) {
		found, _ := filepath.Glob(filepath.Join(dir, side+".index.yaml*"))
		if len(found) != 1 {
			t.Fatalf("%d files of side %s", len(found), side)
		}
		x, err := upstream.Parse(charttest.ReadFile(t, found[0]), upstream.Limits{})
		w.sources.answer(home, func(watch.Validators) (watch.Found, error) {
			if err != nil {
				return watch.Found{}, err
			}
			return watch.Found{Index: &x}, nil
		})
		w.sources.mu.Lock()
		defer w.sources.mu.Unlock()
		clear(w.sources.archives)
		archives, _ := filepath.Glob(filepath.Join(dir, side+".*.tgz"))
		for _, c := range x.Charts {
			for i := range c.Versions {
				v := &c.Versions[i]
				v.URLs = []string{home + "/" + chart.FileName(c.Name, v.Version)} // they are gone from where they were
				for _, path := range archives {
					if strings.TrimPrefix(filepath.Base(path), side+".") == filepath.Base(v.URLs[0]) {
						body, err := os.ReadFile(path)
						if err != nil {
							t.Fatal(err)
						}
						w.sources.archives[v.URLs[0]] = body
					}
				}
			}
		}
	}
	show("before")
	w.poll(0)
	before := w.last()
	w.now = w.now.Add(step)
	show("after")
	w.poll(0)
	var events []watch.Event
	for _, e := range w.since(before) {
		if row["event"] == "index-invalid-yaml" && e.Kind == watch.IndexInvalid || e.Chart == row["chart"] && e.Version == row["version"] {
			events = append(events, e)
		}
	}
	want := map[string]string{
		"changed content-changed": "changed", "changed repack-only": "repacked", "changed same-blob-digest-only": "repacked",
		"vanished-permanent ": "vanished", "vanished-temporary ": "", "index-invalid-yaml ": "index-invalid", "duplicate-added archive-not-in-git": "duplicate",
	}[row["event"]+" "+row["archive_class"]]
	if row["chart"] == "keda" && row["version"] == "1.4.0" {
		// The old archive was packed on Windows, with backslashes in its paths.
		// Helm reads them as slashes, and so do we: the files are the same.
		want = "repacked"
	}
	if row["event"] == "vanished-temporary" { // codecentric, July 2019: the list is held
		if h := w.source().Health; h.Suspect == "" || len(events) != 0 {
			t.Fatalf("%+v, %+v", h, events)
		}
		return
	}
	i := slices.IndexFunc(events, func(e watch.Event) bool { return string(e.Kind) == want })
	if i < 0 {
		t.Fatalf("want %s, got %+v", want, events)
	}
	if want != "changed" {
		return
	}
	e := events[i]
	differ := 0
	for _, f := range e.Files {
		if f.Kind != "mode" { // which the list does not look at
			differ++
		}
	}
	if fmt.Sprint(differ) != row["n_files_changed"] {
		t.Errorf("%d files differ, and not %s: %v", differ, row["n_files_changed"], e.Files)
	}
	for _, f := range strings.Split(row["files_changed"], ";") {
		if !slices.ContainsFunc(e.Files, func(c chart.Change) bool { return c.Path == strings.TrimPrefix(f, "./") }) {
			t.Errorf("%s is not among the files that differ: %v", f, e.Files)
		}
	}
	if testing.Verbose() {
		for _, f := range e.Evidence {
			t.Logf("%s %s: %s", e.Severity, f.Label, f.Value)
		}
	}
	// Both widened the rights of a published version.
	if grave := row["version"] == "0.3.7" && row["chart"] == "argo-rollouts" || row["version"] == "0.16.8" && row["chart"] == "argo"; grave && e.Severity != watch.Critical {
		t.Errorf("rights were widened, and the event is of severity %s: %v", e.Severity, e.Evidence)
	}
}

// TestArchiveBudget keeps a poll within what it may fetch, and goes on in the
// next one.
func TestArchiveBudget(t *testing.T) {
	w := newWorld(t)
	w.watches(keep(watch.KeepAll))
	var all []string
	for i := range 450 {
		all = append(all, fmt.Sprintf("1.%d.0=a", i))
	}
	w.lists(strings.Join(all, " "))
	for i, want := range []int{200, 400, 450, 450} {
		w.poll(step)
		held := 0
		for _, v := range must(w.Versions(w.ctx, boss, "up", "web")) {
			if v.Archive != "" {
				held++
			}
		}
		if held != want || len(w.sources.fetched) != want {
			t.Fatalf("poll %d: %d archives are kept and %d were fetched, not %d", i, held, len(w.sources.fetched), want)
		}
	}
	if first := w.sources.fetched[0]; first != home+"/web-1.449.0.tgz" {
		t.Fatalf("%s was fetched first, and not the newest", first)
	}
}

func TestArchivesThatCannotBeHad(t *testing.T) {
	w := newWorld(t)
	w.watches(keep(watch.KeepAll))
	w.lists("1.0.0=a 1.1.0=a 1.2.0=a 1.3.0=a 1.4.0=a 1.5.0=a")
	w.sources.archive = func(string) error { return problem.New(problem.Unavailable, "refused", "the connection was refused") }
	w.poll(0)
	if n := len(w.sources.fetched); n != 3 {
		t.Fatalf("%d archives were asked of a dead host", n)
	}
	if v := w.state("1.5.0"); v.Archive != "" || v.ArchiveError != "the connection was refused" {
		t.Fatalf("%+v", v)
	}
	w.sources.archive = nil
	w.sources.archives[home+"/web-1.2.0.tgz"] = []byte("no archive")
	w.poll(step)
	for _, version := range []string{"1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0"} {
		v := w.state(version)
		if bad := version == "1.2.0"; (v.Archive == "") != bad || (v.ArchiveError != "") != bad {
			t.Errorf("%s: %q %q", version, v.Archive, v.ArchiveError)
		}
	}
}

func TestKeepNew(t *testing.T) {
	w := newWorld(t)
	d := watch.Deployment{}
	d.Key, d.Name = "eu/data/web", "web"
	d.Match.Upstream, d.Match.Chart, d.Match.Version = "up", "web", "1.0.0"
	w.watches()
	w.lists("1.0.0=a 1.1.0=a 1.2.0=a 1.3.0-rc.1=a")
	w.deployed(d)
	w.poll(0)
	w.lists("1.0.0=a 1.1.0=a 1.2.0=a 1.3.0-rc.1=a 1.3.0-rc.2=b")
	w.poll(step)
	var kept []string
	for _, v := range must(w.Versions(w.ctx, boss, "up", "web")) {
		if v.Archive != "" {
			kept = append(kept, v.Version)
		}
	}
	if got := strings.Join(kept, " "); got != "1.3.0-rc.2 1.2.0 1.0.0" {
		t.Fatalf("kept are %s: not what is new, the newest stable version and the one that is deployed", got)
	}
}

// prints notes the fingerprints that are kept, by version.
type prints struct {
	watch.Store
	of map[string]string
}

func (p prints) KeepFingerprint(ctx context.Context, fingerprint string, r watch.OwnRelease) error {
	p.of[r.Version] = fingerprint
	return p.Store.KeepFingerprint(ctx, fingerprint, r)
}

func TestFingerprints(t *testing.T) {
	kept := map[string]string{}
	w := newWorld(t, func(c *watch.Config) { c.Store = prints{c.Store, kept} })
	for i, content := range []string{"a", "b", "bad", "lost", "c"} {
		d := "sha256:" + strings.Repeat("0", 63) + fmt.Sprint(i)
		switch content {
		case "lost":
		case "bad":
			w.registry.blobs[d] = []byte("no chart")
		default:
			w.registry.blobs[d] = packed(t, "1.0.0", content)
		}
		w.registry.releases = append(w.registry.releases, watch.OwnRelease{Project: "demo", Chart: "web", Version: fmt.Sprintf("1.0.%d", i), Archive: d, LogIndex: int64(10 * i)})
	}
	down := true
	w.registry.fail = func(what string) error {
		if what == "open" && down {
			return problem.New(problem.Unavailable, "blobs", "the store of archives does not answer")
		}
		return nil
	}
	if err := w.Fingerprint(w.ctx); problem.KindOf(err) != problem.Unavailable {
		t.Fatalf("%v", err)
	}
	down = false
	w.ok(w.Fingerprint(w.ctx))
	if to := must(w.store.FingerprintedTo(w.ctx)); to != 40 {
		t.Fatalf("fingerprints are taken to %d", to)
	}
	w.watches()
	w.lists("1.0.0=b")
	w.poll(0)
	same := w.state("1.0.0").Fingerprint // of the same chart, read from its upstream
	if same == "" || kept["1.0.1"] != same || kept["1.0.0"] == same || kept["1.0.0"] == "" {
		t.Fatalf("the upstream's is %s, ours are %v", same, kept)
	}
	for _, version := range []string{"1.0.2", "1.0.3"} { // no chart, and lost
		if fingerprint, asked := kept[version]; !asked || fingerprint != "" {
			t.Fatalf("%s has the fingerprint %q", version, fingerprint)
		}
	}
}
