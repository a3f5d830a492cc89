package watch_test

import (
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

func index(url string) []watch.Source { return []watch.Source{{Kind: watch.SourceIndex, URL: url}} }

func TestAddUpstreamChecks(t *testing.T) {
	w := newWorld(t)
	long := watch.Duration(24*3600*1e9) * 31
	for _, c := range []struct {
		name string
		n    watch.NewUpstream
		rule string // "" for none
		kind problem.Kind
	}{
		{"plain", watch.NewUpstream{Name: "a", Sources: index("https://h/p")}, "", ""},
		{"no name", watch.NewUpstream{Sources: index(home)}, "upstream-name", ""},
		{"upper case", watch.NewUpstream{Name: "Up", Sources: index(home)}, "upstream-name", ""},
		{"slash", watch.NewUpstream{Name: "a/b", Sources: index(home)}, "upstream-name", ""},
		{"hyphen at the end", watch.NewUpstream{Name: "a-", Sources: index(home)}, "upstream-name", ""},
		{"long name", watch.NewUpstream{Name: strings.Repeat("a", 64), Sources: index(home)}, "upstream-name", ""},
		{"no source", watch.NewUpstream{Name: "b"}, "upstream-sources", ""},
		{"many sources", watch.NewUpstream{Name: "b", Sources: make([]watch.Source, 21)}, "upstream-sources", ""},
		{"keep", watch.NewUpstream{Name: "b", Sources: index(home), Keep: "some"}, "upstream-keep", ""},
		{"glob", watch.NewUpstream{Name: "b", Sources: index(home), Charts: []string{"[a"}}, "upstream-charts", ""},
		{"empty glob", watch.NewUpstream{Name: "b", Sources: index(home), Charts: []string{""}}, "upstream-charts", ""},
		{"quiet after an hour", watch.NewUpstream{Name: "b", Sources: index(home), QuietAfter: new(watch.Duration(3600e9))}, "upstream-quiet-after", ""},
		{"kind", watch.NewUpstream{Name: "b", Sources: []watch.Source{{Kind: "ftp", URL: home}}}, "upstream-kind", ""},
		{"often", watch.NewUpstream{Name: "b", Sources: []watch.Source{{Kind: watch.SourceIndex, URL: home, Interval: 1e9}}}, "upstream-interval", ""},
		{"seldom", watch.NewUpstream{Name: "b", Sources: []watch.Source{{Kind: watch.SourceIndex, URL: home, Interval: long}}}, "upstream-interval", ""},
		{"credential with a space", watch.NewUpstream{Name: "b", Sources: []watch.Source{{Kind: watch.SourceIndex, URL: home, Credential: "Basic abc"}}}, "upstream-credential", ""},
		{"unknown preset", watch.NewUpstream{Preset: "nobody"}, "preset", problem.NotFound},
		{"mirror without a project", watch.NewUpstream{Name: "b", Sources: index(home), Mirror: &watch.Mirror{}}, "upstream-mirror", ""},
		{"mirror into what is none", watch.NewUpstream{Name: "b", Sources: index(home), Mirror: &watch.Mirror{Project: "own"}}, "project", problem.NotFound},
		{"mirror range", watch.NewUpstream{Name: "b", Sources: index(home), Mirror: &watch.Mirror{Project: "mirror", Versions: ">>1"}}, "upstream-mirror-versions", ""},
		{"mirror of notes", watch.NewUpstream{Name: "b", Sources: []watch.Source{{Kind: watch.SourceFeed, URL: home}}, Mirror: &watch.Mirror{Project: "mirror"}}, "upstream-mirror", ""},
		{"mirror in ten years", watch.NewUpstream{Name: "b", Sources: index(home), Mirror: &watch.Mirror{Project: "mirror", MinAge: 4000 * watch.Day}}, "upstream-mirror-age", ""},
		{"the same name", watch.NewUpstream{Name: "a", Sources: index(home)}, "upstream-exists", problem.Conflict},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.AddUpstream(w.ctx, boss, c.n)
			if c.rule == "" {
				w.ok(err)
				return
			}
			if c.kind == "" {
				c.kind = problem.Invalid
			}
			w.refused(err, c.kind, c.rule)
		})
	}
}

func TestSourceURLs(t *testing.T) {
	for _, c := range []struct {
		kind watch.SourceKind
		url  string
		want string // "" is refused
	}{
		{watch.SourceIndex, "https://Charts.Example.test/stable/", "https://charts.example.test/stable"},
		{watch.SourceIndex, "http://10.0.0.1:8080", "http://10.0.0.1:8080"},
		{watch.SourceIndex, "https://h/p/index.yaml?a=b", "https://h/p/index.yaml?a=b"},
		{watch.SourceIndex, "https://user:secret-word@h/p", ""},
		{watch.SourceIndex, "https://h/p#top", ""},
		{watch.SourceIndex, "https://h/p#", ""},
		{watch.SourceIndex, "https:///p", ""},
		{watch.SourceIndex, "file:///etc/passwd", ""},
		{watch.SourceIndex, "oci://h/p", ""},
		{watch.SourceIndex, "h/p", ""},
		{watch.SourceIndex, "https://h/\x00", ""},
		{watch.SourceIndex, "https://h/a b", ""},
		{watch.SourceIndex, "https://h/" + strings.Repeat("p", 1024), ""},
		{watch.SourceOCI, "oci://ghcr.io/owner/charts/web", "oci://ghcr.io/owner/charts/web"},
		{watch.SourceOCI, "OCI://GHCR.io/owner/web/", "oci://ghcr.io/owner/web"},
		{watch.SourceOCI, "oci://ghcr.io", ""},
		{watch.SourceOCI, "oci://ghcr.io/Owner/web", ""},
		{watch.SourceOCI, "https://ghcr.io/owner/web", ""},
		{watch.SourceGitHub, "https://github.com/owner/charts", "https://github.com/owner/charts"},
		{watch.SourceGitHub, "https://github.com/owner", ""},
		{watch.SourceGitHub, "https://github.com/owner/charts/releases", ""},
		{watch.SourceFeed, "https://h/feed.atom", "https://h/feed.atom"},
		{watch.SourceChangelog, "ssh://h/CHANGELOG.md", ""},
	} {
		t.Run(string(c.kind)+" "+c.url[:min(len(c.url), 40)], func(t *testing.T) {
			w := newWorld(t)
			u, err := w.AddUpstream(w.ctx, boss, watch.NewUpstream{Name: "up", Sources: []watch.Source{{Kind: c.kind, URL: c.url}}})
			if c.want == "" {
				p := w.refused(err, problem.Invalid, "upstream-url")
				if strings.Contains(p.Error()+p.Try, "secret-word") {
					t.Error("the refusal repeats a password")
				}
				return
			}
			w.ok(err)
			if got := u.Sources[0].URL; got != c.want {
				t.Fatalf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestPreset(t *testing.T) {
	w := newWorld(t)
	u, err := w.AddUpstream(w.ctx, boss, watch.NewUpstream{Preset: "airflow-helm"})
	w.ok(err)
	var kinds []string
	for _, src := range u.Sources {
		kinds = append(kinds, string(src.Kind)+" "+src.Interval.String())
	}
	if got := strings.Join(kinds, ", "); u.Name != "airflow-helm" || got != "index 1h, github 6h, changelog 6h" || u.QuietAfter != 180*watch.Day || u.Keep != watch.KeepNew {
		t.Fatalf("%s: %+v", got, u)
	}
	for _, name := range watch.Presets() {
		if name != "airflow-helm" {
			_, err := w.AddUpstream(w.ctx, boss, watch.NewUpstream{Preset: name})
			w.ok(err)
		}
	}
}

func TestSetUpstream(t *testing.T) {
	w := newWorld(t)
	w.watches(keep(watch.KeepNone))
	w.lists("1.0.0=a")
	w.poll(0)
	all, interval := watch.KeepAll, watch.Duration(600e9)
	sources := []watch.Source{{Kind: watch.SourceIndex, URL: home + "/", Interval: interval}}
	u, err := w.SetUpstream(w.ctx, boss, "up", watch.UpstreamChange{Keep: &all, Sources: &sources, Mirror: &watch.Mirror{Project: "mirror"}})
	w.ok(err)
	if u.Keep != all || u.Mirror == nil || u.Sources[0].Interval != interval || u.Sources[0].Health.Versions != 1 {
		t.Fatalf("%+v", u)
	}
	if got := w.poll(0); got != "mirrored 1.0.0" { // it is due at once
		t.Fatal(got)
	}
	u, err = w.SetUpstream(w.ctx, boss, "up", watch.UpstreamChange{NoMirror: true})
	w.ok(err)
	if u.Mirror != nil {
		t.Fatalf("%+v", u)
	}
	_, err = w.SetUpstream(w.ctx, boss, "up", watch.UpstreamChange{Sources: &[]watch.Source{}})
	w.refused(err, problem.Invalid, "upstream-sources")
	_, err = w.SetUpstream(w.ctx, boss, "up", watch.UpstreamChange{Mirror: &watch.Mirror{Project: "own"}})
	w.refused(err, problem.NotFound, "project")
	_, err = w.SetUpstream(w.ctx, boss, "nobody", watch.UpstreamChange{})
	w.refused(err, problem.NotFound, "upstream")

	w.ok(w.RemoveUpstream(w.ctx, boss, "up"))
	_, err = w.Upstream(w.ctx, boss, "up")
	w.refused(err, problem.NotFound, "upstream")
	w.refused(w.PollNow(w.ctx, boss, "up"), problem.NotFound, "upstream")
	if got := words(w.since(0)); got != "first-read; mirrored 1.0.0" {
		t.Fatalf("what happened is forgotten: %q", got)
	}
}

func TestUpstreamRights(t *testing.T) {
	w := newWorld(t)
	w.watches()
	read := map[string]func() error{
		"upstreams": func() error { _, err := w.Upstreams(w.ctx, boss); return err },
		"upstream":  func() error { _, err := w.Upstream(w.ctx, boss, "up"); return err },
		"versions":  func() error { _, err := w.Versions(w.ctx, boss, "up", ""); return err },
		"notes":     func() error { _, err := w.Notes(w.ctx, boss, "up", "", "", 1); return err },
		"events":    func() error { _, err := w.Events(w.ctx, boss, watch.EventFilter{}); return err },
	}
	write := map[string]func() error{
		"add":    func() error { _, err := w.AddUpstream(w.ctx, boss, watch.NewUpstream{}); return err },
		"set":    func() error { _, err := w.SetUpstream(w.ctx, boss, "up", watch.UpstreamChange{}); return err },
		"poll":   func() error { return w.PollNow(w.ctx, boss, "up") },
		"remove": func() error { return w.RemoveUpstream(w.ctx, boss, "up") },
	}
	for action, calls := range map[access.Action]map[string]func() error{access.WatchRead: read, access.UpstreamWrite: write} {
		w.registry.denied = map[access.Action]bool{action: true}
		for name, call := range calls {
			if err := call(); problem.KindOf(err) != problem.Denied {
				t.Errorf("%s without %s: %v", name, action, err)
			}
		}
	}
	w.registry.denied = map[access.Action]bool{access.UpstreamWrite: true}
	for name, call := range read {
		if err := call(); err != nil {
			t.Errorf("%s with the right to read: %v", name, err)
		}
	}
}

func TestVersionsAreInOrder(t *testing.T) {
	w := newWorld(t)
	w.watches(keep(watch.KeepNone))
	w.lists("1.9.0=a 1.10.0=a v1.2.0=a 2.0.0-rc.1=a 1.0=a")
	w.poll(0)
	var got []string
	for _, v := range must(w.Versions(w.ctx, boss, "up", "")) {
		got = append(got, v.Version)
	}
	if s := strings.Join(got, " "); s != "2.0.0-rc.1 1.10.0 1.9.0 v1.2.0 1.0" {
		t.Fatal(s)
	}
}
