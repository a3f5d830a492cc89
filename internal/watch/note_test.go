package watch_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

const forge = "https://forge.example.test/owner/charts"

// says makes a source of notes name versions of a chart: "web 1.0.0 2.0.0";
// "@2" is the day on which it says so.
func (w *world) says(url, entries string, change ...func(*watch.Found)) {
	w.Helper()
	name, versions, _ := strings.Cut(entries, " ")
	found := watch.Found{}
	for _, word := range strings.Fields(versions) {
		version, day, _ := strings.Cut(word, "@")
		n := watch.Note{Key: "note-" + version, Chart: name, Version: version, Title: name + " " + version, Text: "what is new in " + version, Digest: digest.SHA256([]byte(version))}
		if day != "" {
			n.Published = time.Date(2026, 11, int(day[0]-'0'), 0, 0, 0, 0, time.UTC)
		}
		found.Notes = append(found.Notes, n)
	}
	for _, c := range change {
		c(&found)
	}
	tag := fmt.Sprint(found)
	w.sources.answer(url, func(v watch.Validators) (watch.Found, error) {
		if v.ETag == tag {
			return watch.Found{Unchanged: true, Validators: v}, nil
		}
		f := found
		f.Validators.ETag = tag
		return f, nil
	})
}

func with(kind watch.SourceKind, url string) func(*watch.NewUpstream) {
	return func(n *watch.NewUpstream) { n.Sources = append(n.Sources, watch.Source{Kind: kind, URL: url}) }
}

func TestNotesAndListsAgree(t *testing.T) {
	const listed = "1.0.0=a 1.1.0=a 1.2.0=a 1.3.0=a 1.4.0=a 1.5.0=a"
	const named = "web 1.0.0 1.1.0 1.2.0 1.3.0 1.4.0 1.5.0"
	for _, c := range []struct {
		name  string
		kind  watch.SourceKind
		list  string // after a day
		notes string // after a day
		want  string // after a day more
	}{
		{"both name it", watch.SourceGitHub, listed + " 1.6.0=a", named + " v1.6.0", ""},
		{"only the notes", watch.SourceGitHub, listed, named + " 1.6.0", "feed-contradicts 1.6.0 medium"},
		{"only the notes, of a feed", watch.SourceFeed, listed, named + " 1.6.0", "feed-contradicts 1.6.0 medium"},
		{"a changelog is written before", watch.SourceChangelog, listed, named + " 1.6.0", ""},
		{"only the list", watch.SourceGitHub, listed + " 1.6.0=a", named, "feed-contradicts 1.6.0 medium"},
		{"only the list, and it is a pre-release", watch.SourceGitHub, listed + " 1.6.0-rc.1=a", named, ""},
		{"only the list, and the notes never were complete", watch.SourceGitHub, listed + " 1.6.0=a", "web 1.0.0 1.4.0 1.5.0", ""},
		{"of another chart", watch.SourceGitHub, listed, named + " 1.6.0x", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.watches(keep(watch.KeepNone), with(c.kind, forge))
			w.lists(listed)
			w.says(forge, named)
			if !strings.HasPrefix(c.notes, named) {
				w.says(forge, c.notes)
			}
			w.poll(0)
			w.now = w.now.Add(25 * time.Hour)
			w.lists(c.list)
			w.says(forge, c.notes)
			w.poll(0)
			w.poll(10 * time.Hour)
			before := w.last()
			for range 4 {
				w.poll(10 * time.Hour)
			}
			if got := words(w.since(before)); got != c.want {
				t.Fatalf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestNotesOfTheApplication(t *testing.T) {
	w := newWorld(t)
	w.watches(keep(watch.KeepNone), with(watch.SourceGitHub, forge), func(n *watch.NewUpstream) { n.Sources[1].Chart = "web" })
	w.lists("1.0.0=a")
	w.says(forge, " 25.1.0 25.2.0")
	w.poll(0)
	w.says(forge, " 25.1.0 25.2.0 25.3.0")
	for range 6 {
		w.poll(10 * time.Hour)
	}
	if got := words(w.since(0)); got != "first-read" {
		t.Fatalf("versions of the application are taken for those of the chart: %q", got)
	}
	if n := must(w.Notes(w.ctx, boss, "up", "web", "25.3.0", 10)); len(n) != 1 || n[0].FirstSeen.Equal(morning) {
		t.Fatalf("%+v", n)
	}
}

func TestArtifactHubNamesAgain(t *testing.T) {
	w := newWorld(t)
	const hub = "https://artifacthub.io/api/v1/packages/helm/up/web/feed/rss"
	w.watches(keep(watch.KeepNone), with(watch.SourceArtifactHub, hub))
	w.lists("1.0.0=a")
	w.says(hub, "web 1.0.0@1")
	w.poll(0)
	w.says(hub, "web 1.0.0@9")
	if got := w.poll(7 * time.Hour); got != "feed-contradicts 1.0.0 medium" {
		t.Fatal(got)
	}
	if got := w.poll(7 * time.Hour); got != "" {
		t.Fatal(got)
	}
}

func TestRepositoryMovedAndArchived(t *testing.T) {
	w := newWorld(t)
	w.watches(keep(watch.KeepNone), with(watch.SourceGitHub, forge))
	w.lists("1.0.0=a")
	state := func(r watch.RepositoryState, moved string) {
		w.says(forge, "web 1.0.0", func(f *watch.Found) { f.Repository, f.MovedTo = &r, moved })
	}
	state(watch.RepositoryState{}, "")
	w.poll(0)
	for i, c := range []struct {
		state watch.RepositoryState
		moved string
		want  string
	}{
		{watch.RepositoryState{}, "https://elsewhere.example.test", "moved medium"},
		{watch.RepositoryState{}, "https://elsewhere.example.test", ""},
		{watch.RepositoryState{MovedTo: "other/charts"}, "", "moved medium"},
		{watch.RepositoryState{Archived: true}, "", "archived medium"},
		{watch.RepositoryState{Archived: true}, "", ""},
		{watch.RepositoryState{}, "", ""},
		{watch.RepositoryState{Archived: true}, "", "archived medium"},
	} {
		state(c.state, c.moved)
		if got := w.poll(7 * time.Hour); got != c.want {
			t.Fatalf("%d: got %q, want %q", i, got, c.want)
		}
	}
}

func TestGoneQuiet(t *testing.T) {
	day := func(n int) time.Time { return morning.AddDate(0, 0, -n) }
	x := upstream.Index{Charts: []upstream.Chart{
		{Name: "old", Versions: []upstream.Version{{Version: "1.0.0", Created: day(500)}, {Version: "1.1.0", Created: day(300)}}},
		{Name: "rewritten", Versions: []upstream.Version{{Version: "1.0.0", Created: day(1)}}},
		{Name: "untold", Versions: []upstream.Version{{Version: "1.0.0"}}},
		{Name: "given-up", Versions: []upstream.Version{{Version: "1.0.0", Created: day(900), Deprecated: true}}},
	}}
	for i := range x.Charts {
		for j := range x.Charts[i].Versions {
			x.Charts[i].Versions[j].URLs = []string{"x"}
		}
	}
	w := newWorld(t)
	w.watches(keep(watch.KeepNone))
	w.shows(x)
	if got := w.poll(0); got != "first-read; gone-quiet 1.1.0 medium" {
		t.Fatal(got)
	}
	e := w.only(watch.GoneQuiet)
	if e.Chart != "old" || e.Message != "old had no new version for 300 days" || fact(e, "published, as the upstream says") == "" || e.Question == "" {
		t.Fatalf("%+v", e)
	}
	if got := w.poll(100 * 24 * time.Hour); got != "" {
		t.Fatalf("it was told again: %q", got)
	}
	x.Charts[0].Versions = append(x.Charts[0].Versions, upstream.Version{Version: "1.2.0", Created: day(400), URLs: []string{"x"}})
	w.shows(x)
	if got := w.poll(step); got != "new-version 1.2.0" {
		t.Fatal(got)
	}
	if got := w.poll(81 * 24 * time.Hour); got != "gone-quiet 1.0.0 medium; gone-quiet 1.0.0 medium" {
		t.Fatalf("those of which nothing better is known than when they were first seen: %q", got)
	}
	if got := w.poll(100 * 24 * time.Hour); got != "gone-quiet 1.2.0 medium" {
		t.Fatalf("quiet again, whatever the upstream says of the time: %q", got)
	}
	never := watch.Duration(0)
	_, err := w.SetUpstream(w.ctx, boss, "up", watch.UpstreamChange{QuietAfter: &never})
	w.ok(err)
	if u := must(w.Upstream(w.ctx, boss, "up")); u.QuietAfter != 0 {
		t.Fatalf("%+v", u)
	}
}

// TestAirflowIsQuiet reads the index of airflow-helm as it was in May 2024.
func TestAirflowIsQuiet(t *testing.T) {
	b := charttest.ReadFile(t, charttest.Corpus(t, "")+"/indexes/airflow-helm__charts.index.yaml")
	x, err := upstream.Parse(b, upstream.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.watches(keep(watch.KeepNone), func(n *watch.NewUpstream) { n.Name = "airflow-helm" })
	w.shows(x)
	if got := w.poll(0); got != "first-read; gone-quiet 8.9.0 medium" {
		t.Fatal(got)
	}
	e := w.only(watch.GoneQuiet)
	if at := fact(e, "published, as the upstream says"); !strings.HasPrefix(at, "2024-04") && !strings.HasPrefix(at, "2024-05") {
		t.Fatalf("%+v", e)
	}
}
