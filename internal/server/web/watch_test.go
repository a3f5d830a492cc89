package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// fakeWatch is a watch in memory.
type fakeWatch struct {
	upstreams   []watch.Upstream
	versions    map[string][]watch.VersionState // by upstream, in order
	notes       map[string][]watch.Note
	events      []watch.Event // newest first
	deployments []watch.Deployment
	rows        []deployment.Row
	imports     []watch.Import
	filters     []watch.EventFilter // that were asked for
}

var _ Watching = (*fakeWatch)(nil)

func (f *fakeWatch) may(c audit.Caller) error {
	req := access.Request{Action: access.WatchRead}
	if access.Allowed(c.Principal, req, now) {
		return nil
	}
	return access.Refuse(c.Principal, req, now)
}

func (f *fakeWatch) Upstreams(_ context.Context, c audit.Caller) ([]watch.Upstream, error) {
	return slices.Clone(f.upstreams), f.may(c)
}

func (f *fakeWatch) Upstream(_ context.Context, c audit.Caller, name string) (watch.Upstream, error) {
	if err := f.may(c); err != nil {
		return watch.Upstream{}, err
	}
	for _, u := range f.upstreams {
		if u.Name == name {
			return u, nil
		}
	}
	return watch.Upstream{}, problem.New(problem.NotFound, "upstream", "there is no upstream %s", name).Suggest("chartkeep upstream list")
}

func (f *fakeWatch) Versions(_ context.Context, c audit.Caller, name, chartName string) ([]watch.VersionState, error) {
	var out []watch.VersionState
	for _, v := range f.versions[name] {
		if chartName == "" || v.Chart == chartName {
			out = append(out, v)
		}
	}
	return out, f.may(c)
}

func (f *fakeWatch) Notes(_ context.Context, c audit.Caller, name, chartName, version string, limit int) ([]watch.Note, error) {
	var out []watch.Note
	for _, n := range f.notes[name] {
		if (chartName == "" || n.Chart == chartName) && (version == "" || n.Version == version) && len(out) < limit {
			out = append(out, n)
		}
	}
	return out, f.may(c)
}

func (f *fakeWatch) Events(_ context.Context, c audit.Caller, filter watch.EventFilter) ([]watch.Event, error) {
	f.filters = append(f.filters, filter)
	fits := func(want, have string) bool { return want == "" || want == have }
	var out []watch.Event
	for _, e := range f.events {
		if fits(filter.Upstream, e.Upstream) && fits(filter.Chart, e.Chart) && fits(filter.Version, e.Version) && fits(string(filter.Kind), string(e.Kind)) &&
			fits(filter.Deployment, e.Deployment) && e.Severity.Rank() >= max(filter.MinSeverity.Rank(), -1) && !e.Time.Before(filter.Since) &&
			(filter.Before == 0 || e.ID < filter.Before) && len(out) < filter.Limit {
			out = append(out, e)
		}
	}
	return out, f.may(c)
}

func (f *fakeWatch) DeploymentList(_ context.Context, c audit.Caller, importName string) ([]watch.Deployment, error) {
	var out []watch.Deployment
	for _, d := range f.deployments {
		if importName == "" || d.Import == importName {
			out = append(out, d)
		}
	}
	return out, f.may(c)
}

func (f *fakeWatch) Deployment(_ context.Context, c audit.Caller, key string) (watch.Deployment, error) {
	if err := f.may(c); err != nil {
		return watch.Deployment{}, err
	}
	for _, d := range f.deployments {
		if d.Key == key {
			return d, nil
		}
	}
	return watch.Deployment{}, problem.New(problem.NotFound, "deployment", "there is no deployment %.200s", key).Suggest("chartkeep deployment list")
}

func (f *fakeWatch) Behind(_ context.Context, c audit.Caller, list ...watch.Deployment) ([]deployment.Row, error) {
	out := make([]deployment.Row, len(list))
	for i := range list {
		out[i] = deployment.Row{Key: list[i].Key, State: deployment.Unchecked, Match: list[i].Match}
		for _, row := range f.rows {
			if row.Key == list[i].Key {
				out[i] = row
			}
		}
	}
	return out, f.may(c)
}

func (f *fakeWatch) Imports(_ context.Context, c audit.Caller) ([]watch.Import, error) {
	return slices.Clone(f.imports), f.may(c)
}

func (f *fakeWatch) CompareEnvironments(_ context.Context, c audit.Caller, a, b string) (deployment.Differences, error) {
	var plain []deployment.Deployment
	for _, d := range f.deployments {
		plain = append(plain, d.Deployment)
	}
	return deployment.CompareEnvironments(plain, a, b), f.may(c)
}

func bare(s string) string { return strings.TrimPrefix(digestOf(s), "sha256:") }

const day = 24 * time.Hour

// add puts an event before those that are there.
func (f *fakeWatch) add(e watch.Event) {
	e.ID = int64(4100 + len(f.events))
	e.Key = fmt.Sprint("event ", e.ID)
	f.events = append([]watch.Event{e}, f.events...)
}

func source(id int64, kind watch.SourceKind, address string, versions int) watch.Source {
	return watch.Source{ID: id, Kind: kind, URL: address, Interval: watch.Duration(time.Hour), Health: watch.Health{
		LastPoll: now.Add(-20 * time.Minute), LastSuccess: now.Add(-20 * time.Minute), LastChange: now.Add(-2 * day), NextPoll: now.Add(40 * time.Minute), Versions: versions,
	}}
}

// sampleWatch fills in what is watched and what runs, and two leaves of it.
func (f *fakeService) sampleWatch(t testing.TB) {
	w := &fakeWatch{versions: map[string][]watch.VersionState{}, notes: map[string][]watch.Note{}}
	f.watching = w
	add := func(name string, sources ...watch.Source) *watch.Upstream {
		w.upstreams = append(w.upstreams, watch.Upstream{
			ID: int64(len(w.upstreams) + 1), Name: name, Keep: watch.KeepNew, QuietAfter: 180 * watch.Day, Sources: sources, Created: now.Add(-44 * day), CreatedBy: "usr-admin",
		})
		return &w.upstreams[len(w.upstreams)-1]
	}
	add("airflow-helm", source(1, watch.SourceIndex, "https://airflow-helm.github.io/charts", 3), source(2, watch.SourceGitHub, "https://github.com/airflow-helm/charts", 0))
	argo := add("argo-helm", source(3, watch.SourceIndex, "https://argoproj.github.io/argo-helm", 250))
	argo.Mirror = &watch.Mirror{Project: "mirror/argo", Charts: []string{"argo-*"}, Versions: ">=0.3.0", MinAge: 3 * watch.Day}
	keda := add("keda", source(4, watch.SourceIndex, "https://kedacore.github.io/charts", 106))
	keda.Sources[0].Health.Failures, keda.Sources[0].Health.Error, keda.Sources[0].Health.Try = 4, "kedacore.github.io answered 503", "try again later"
	keda.Sources[0].Health.LastSuccess, keda.Sources[0].Credential = now.Add(-3*day), "keda-pull"
	held := add("held", source(5, watch.SourceOCI, "oci://registry.example/charts/held", 40))
	held.Sources[0].Health.Suspect, held.Sources[0].Health.Suspects, held.Sources[0].Health.SuspectSince = "38 of 40 versions are missing", 2, now.Add(-2*time.Hour)
	fresh := add("new-one", source(6, watch.SourceOCI, "oci://registry.example/charts/new", 0))
	fresh.Created, fresh.Sources[0].Health = now.Add(-time.Minute), watch.Health{NextPoll: now.Add(-time.Second)}
	for i, v := range []string{"8.9.0", "8.8.0", "8.7.1"} {
		seen := now.Add(-time.Duration(12+i*20) * day)
		w.versions["airflow-helm"] = append(w.versions["airflow-helm"], watch.VersionState{
			Known:    upstream.Known{Chart: "airflow", Version: v, Digests: []string{bare("airflow" + v)}, Created: time.Date(2024, 5, 1, 10, 0, 0, 0, time.UTC), Gone: v == "8.7.1"},
			SourceID: 1, AppVersion: "2.8.4", URL: "https://airflow-helm.github.io/charts/airflow-" + v + ".tgz", FirstSeen: seen, LogIndex: 19, LastChange: seen,
			Archive: digestOf("airflow" + v), Content: digestOf("content" + v), Fingerprint: "v1:" + bare("print"+v), Deprecated: v == "8.8.0",
		})
	}
	w.versions["airflow-helm"][1].Archive, w.versions["airflow-helm"][1].ArchiveError = "", "the archive is larger than 20 MiB"
	w.versions["argo-helm"] = []watch.VersionState{{
		Known: upstream.Known{Chart: "argo-rollouts", Version: "0.3.7", Digests: []string{bare("new")}}, SourceID: 3, FirstSeen: now.Add(-44 * day), LogIndex: 19, LastChange: now.Add(-15 * time.Hour), Archive: digestOf("new"),
	}}
	for i := range 249 {
		w.versions["argo-helm"] = append(w.versions["argo-helm"], watch.VersionState{
			Known: upstream.Known{Chart: "argo-cd", Version: fmt.Sprintf("9.%d.0", 248-i), Digests: []string{bare(fmt.Sprint(i))}}, SourceID: 3, FirstSeen: now.Add(-40 * day), LogIndex: 19,
		})
	}
	w.notes["airflow-helm"] = []watch.Note{
		{Key: "8.9.0", Chart: "airflow", Version: "8.9.0", Title: "airflow-8.9.0", URL: "https://github.com/airflow-helm/charts/releases/8.9.0", Text: "## Fixed\n- a <b>pod</b> that restarts\n<script>alert(1)</script>", Digest: digestOf("note"), Published: now.Add(-13 * day), FirstSeen: now.Add(-12 * day)},
		{Key: "odd", Title: "Thank you", URL: "javascript:alert(1)", Text: strings.Repeat("long ", 20000), FirstSeen: now.Add(-20 * day)},
	}
	w.sampleEvents()
	w.sampleDeployments()
	for _, what := range []string{tlog.ObservedSeen, tlog.ObservedChanged} {
		f.append(t, tlog.Observation{Upstream: "argo-helm", Source: "https://argoproj.github.io/argo-helm", Chart: "argo-rollouts", Version: "0.3.7", Observed: what, Archive: digestOf("old"), Time: now.Add(-time.Hour)})
	}
}

func (f *fakeWatch) sampleEvents() {
	f.add(watch.Event{Time: now.Add(-44 * day), Kind: watch.FirstRead, Severity: watch.Info, Upstream: "argo-helm", SourceID: 3, Message: "250 versions are known from now on"})
	f.add(watch.Event{Time: now.Add(-12 * day), Kind: watch.NewVersion, Severity: watch.Info, Upstream: "airflow-helm", SourceID: 1, Chart: "airflow", Version: "8.9.0", Message: "airflow 8.9.0 is published",
		Question: "does anything that runs need it, and what does it change?", Evidence: []watch.Fact{{Label: "digest", Value: digestOf("airflow8.9.0")}}, LogIndex: 19})
	f.add(watch.Event{Time: now.Add(-3 * day), Kind: watch.Changed, Severity: watch.High, Upstream: "argo-helm", SourceID: 3, Chart: "argo-cd", Version: "9.1.0", Message: "argo-cd 9.1.0 is listed with another digest than before",
		Evidence: []watch.Fact{{Label: "old digest", Value: digestOf("a")}, {Label: "new digest", Value: digestOf("b")}, {Label: "archive before", Value: digestOf("a")}, {Label: "what changed", Value: "cannot be told without the new archive: 404"}}})
	f.add(watch.Event{Time: now.Add(-2 * day), Kind: watch.Unreachable, Severity: watch.Medium, Upstream: "keda", SourceID: 4, Message: "the index of keda gives no answer"})
	f.add(watch.Event{Time: now.Add(-day), Kind: watch.Repacked, Severity: watch.Low, Upstream: "argo-helm", SourceID: 3, Chart: "argo-cd", Version: "9.2.0", Message: "argo-cd 9.2.0 was packed again: other bytes, the same files"})
	f.add(watch.Event{
		Time: now.Add(-15 * time.Hour), Kind: watch.Changed, Severity: watch.High, Upstream: "argo-helm", SourceID: 3, Chart: "argo-rollouts", Version: "0.3.7",
		Message: "argo-rollouts 0.3.7 was replaced: templates/clusterrole.yaml differs", Question: "why was a published version replaced, and who runs the old one or the new one?",
		Evidence: []watch.Fact{
			{Label: "old digest", Value: digestOf("old")}, {Label: "new digest", Value: digestOf("new")}, {Label: "archive before", Value: digestOf("old")}, {Label: "archive now", Value: digestOf("new")},
			{Label: "content now", Value: digestOf("cnew")}, {Label: "content before", Value: digestOf("cold")}, {Label: "first seen", Value: "2026-10-08 21:40:00Z"}, {Label: "rights-widened", Value: "ClusterRole argo-rollouts gains every verb on */finalizers in every API group"},
		},
		Files: []chart.Change{{Path: "templates/clusterrole.yaml", Kind: "changed"}, {Path: "files/run.sh", Kind: "mode"}}, LogIndex: 20,
	})
	f.add(watch.Event{Time: now.Add(-4 * time.Hour), Kind: watch.VersionMoved, Severity: watch.Info, Deployment: "prod-eu/data/airflow", Chart: "airflow", Version: "8.8.0", Message: "prod-eu/data/airflow runs airflow 8.8.0 now, and ran 8.7.1 before"})
}

func (f *fakeWatch) sampleDeployments() {
	two := 2
	f.imports = []watch.Import{
		{Name: "prod", From: "context prod", Time: now.Add(-10 * time.Minute), Deployments: 4, Problems: []string{}},
		{Name: "gitops", From: "./clusters", Time: now.Add(-9 * day), Deployments: 1, Problems: []string{"apps/broken.yaml:3: it is no YAML"}, MoreProblems: 1, Old: true},
		{Name: "edge", From: "context edge", Time: now.Add(-2 * time.Hour), Deployments: 1, Problems: []string{}, Every: new(watch.Duration(15 * time.Minute)), Overdue: now.Add(-105 * time.Minute)},
	}
	add := func(key string, state deployment.State, why string, change func(*watch.Deployment)) {
		d := watch.Deployment{Import: "prod", FirstSeen: now.Add(-20 * day), LastSeen: now.Add(-10 * time.Minute)}
		d.Key, d.Tool, d.From, d.Exposure = key, deployment.Helm, "context prod", deployment.ExposureUnknown
		parts := strings.Split(key, "/")
		d.Name = parts[len(parts)-1]
		if len(parts) == 3 {
			d.Cluster, d.Namespace = parts[0], parts[1]
		}
		change(&d)
		f.deployments = append(f.deployments, d)
		row := deployment.Row{Key: key, State: state, Why: why, Match: d.Match}
		if state == deployment.Outdated {
			row.Releases, row.Days, row.Newest = 1, 12, "8.9.0"
		}
		f.rows = append(f.rows, row)
	}
	add("prod-eu/data/airflow", deployment.Outdated, "8.9.0 is published, the next version (minor), for 12 days", func(d *watch.Deployment) {
		d.Environment, d.Owner, d.Route, d.Mission = "production", "data-platform", "data-pager", &two
		d.Exposure, d.ExposureWhy = deployment.ExposureOpen, "Ingress data/airflow has a host"
		d.Chart = deployment.Chart{Name: "airflow", Version: "8.8.0", AppVersion: "2.8.4"}
		d.Match = deployment.Match{Confidence: deployment.Exact, How: "what Helm stored is what this archive holds", Upstream: "airflow-helm", Chart: "airflow", Version: "8.8.0", Archive: digestOf("airflow8.8.0")}
		d.Dependencies = []deployment.Chart{{Name: "postgresql", Version: "8.6.4", Repository: "https://charts.example/stable", Condition: "postgresql.enabled"}, {Name: "redis", Alias: "cache", Constraint: "^10"}}
		d.Images, d.Status, d.Revision, d.Updated = []string{"apache/airflow:2.8.4-python3.9", "ghcr.io/airflow-helm/pgbouncer:1.22.1"}, "deployed", 7, now.Add(-4*time.Hour)
		d.Values = json.RawMessage(`{"airflow":{"fernetKey":"***","config":{"AIRFLOW__CORE__X":"<script>"}},"web":{"replicas":2}}`)
		d.Fingerprint = "v1:" + bare("print8.8.0")
	})
	add("prod-eu/rollouts/argo-rollouts", deployment.Unchecked, "", func(d *watch.Deployment) {
		d.Environment, d.Owner = "production", "platform"
		d.Chart = deployment.Chart{Name: "argo-rollouts", Version: "0.3.7"}
		d.Match = deployment.Match{Confidence: deployment.Strong, How: "repository, name and version are the same", Upstream: "argo-helm", Chart: "argo-rollouts", Version: "0.3.7"}
	})
	add("prod-eu/shop/front", deployment.Unchecked, "a chart web 1.4.2 was published, and what is deployed has other bytes", func(d *watch.Deployment) {
		d.Environment, d.Exposure = "production", deployment.ExposureControlled
		d.Chart = deployment.Chart{Name: "web", Version: "1.4.2"}
		d.Match = deployment.Match{Confidence: deployment.Unknown, How: "a chart web 1.4.2 was published, and what is deployed has other bytes", Differs: true, Chart: "web", Version: "1.4.2"}
	})
	add("staging-eu/data/airflow", deployment.Current, "nothing newer is published", func(d *watch.Deployment) {
		d.Environment, d.Owner, d.Route = "staging", "data-platform", "data-pager"
		d.Chart = deployment.Chart{Name: "airflow", Version: "8.9.0"}
		d.Match = deployment.Match{Confidence: deployment.Weak, How: "name and version are those of this one alone; its repository is not known", Project: "platform", Chart: "airflow", Version: "8.9.0"}
		d.Values = json.RawMessage(`{"airflow":{"fernetKey":"***"},"web":{"replicas":1}}`)
		d.Images = []string{"apache/airflow:2.8.4-python3.9"}
	})
	add("apps/prod/web.yaml:Application/shop", deployment.Unchecked, "no exact version of web is known", func(d *watch.Deployment) {
		d.Tool, d.From, d.Import = deployment.ArgoCD, "apps/prod/web.yaml:14", "gitops"
		d.Chart = deployment.Chart{Name: "web", Constraint: ">=1.0.0"}
		d.Match = deployment.Match{Confidence: deployment.Unknown, How: "no exact version of web is known"}
		d.Unresolved = []string{"the values come from $values/prod.yaml, which is in another repository", "the target revision is a range"}
	})
}

// TestImports: what an import could not read, and how old it is, stands below
// what it brought.
func TestImports(t *testing.T) {
	f := newSample(t)
	doc := open(t, f, "/ui/deployments")
	rows := doc.all("section[id=imports] tbody tr")
	var got []string
	for _, row := range rows {
		got = append(got, row.words())
	}
	if len(got) != 3 || !strings.Contains(got[1], "edge") || !strings.Contains(got[1], "overdue since 2026-") || !strings.Contains(got[1], "made every 15m") {
		t.Errorf("imports: %q", got)
	}
	got = slices.Delete(got, 1, 2)
	if len(got) != 2 || strings.Contains(got[1], "overdue") || strings.Contains(got[1], "every") || !strings.Contains(got[0], "gitops") || !strings.Contains(got[0], "old: it says little of what runs today") ||
		!strings.Contains(got[0], "apps/broken.yaml:3: it is no YAML") || !strings.Contains(got[0], "2") || !strings.Contains(got[1], "prod") || !strings.Contains(got[1], "nothing") {
		t.Errorf("imports: %q", got)
	}
	f.watching.deployments = nil
	if text := open(t, f, "/ui/deployments").words(); !strings.Contains(text, "No deployments on record") || !strings.Contains(text, "apps/broken.yaml:3") {
		t.Errorf("nothing says why there are none: %s", text)
	}
}

// TestWithoutWatch: a server that watches nothing has no pages of it.
func TestWithoutWatch(t *testing.T) {
	f := newSample(t)
	f.watching = nil
	for _, path := range []string{"/ui/upstreams", "/ui/upstreams/keda", "/ui/upstreams/keda/versions", "/ui/deployments", "/ui/deployments/a/b/c", "/ui/environments"} {
		if w := get(t, f, maintainer, path); w.Code != 404 {
			t.Errorf("%s: status %d", path, w.Code)
		}
	}
	doc := parseHTML(t, get(t, f, maintainer, "/ui/").Body.String())
	if got := doc.one(t, "nav[aria-label=Main]").words(); strings.Contains(got, "Upstreams") || strings.Contains(got, "Deployments") {
		t.Errorf("the menu has %s", got)
	}
}

func open(t testing.TB, f *fakeService, path string) *element {
	t.Helper()
	w := get(t, f, maintainer, path)
	if w.Code != 200 {
		t.Fatalf("%s: status %d\n%s", path, w.Code, w.Body)
	}
	doc := parseHTML(t, w.Body.String())
	checkPage(t, doc)
	return doc
}

// TestNothingWatched: what is empty says what to do, to those who may.
func TestNothingWatched(t *testing.T) {
	f := newSample(t)
	f.watching = &fakeWatch{}
	for path, want := range map[string][]string{
		"/ui/upstreams":    {"No upstreams are watched", "chartkeep upstream add airflow-helm --preset airflow-helm"},
		"/ui/deployments":  {"No deployments on record", "chartkeep deployment import"},
		"/ui/environments": {"No deployment names its environment", "chartkeep deployment set KEY --environment staging"},
	} {
		doc := parseHTML(t, get(t, f, admin, path).Body.String())
		checkPage(t, doc)
		for _, words := range want {
			if !strings.Contains(doc.one(t, "main").words(), words) {
				t.Errorf("%s lacks %q: %s", path, words, doc.one(t, "main").words())
			}
		}
	}
	for _, path := range []string{"/ui/upstreams", "/ui/deployments"} {
		doc := open(t, f, path)
		if len(doc.all(".cmd")) != 0 || !strings.Contains(doc.one(t, ".empty").words(), "ops-lead may not") {
			t.Errorf("%s offers a command to somebody who may not: %s", path, doc.one(t, "main").words())
		}
	}
}

// TestStrip: the picture says no more than is known.
func TestStrip(t *testing.T) {
	u := watch.Upstream{Name: "u", Created: now.Add(-10 * day), Sources: []watch.Source{source(1, watch.SourceIndex, "", 1)}}
	draw := func(recent []watch.Event) string {
		s := ""
		for _, m := range stripOf(&u, recent, now).Marks {
			s += m.Kind[:1]
		}
		return s
	}
	at := func(ago time.Duration, kind watch.EventKind) watch.Event {
		return watch.Event{Upstream: "u", Time: now.Add(-ago), Kind: kind}
	}
	for name, tc := range map[string]struct {
		recent []watch.Event
		health watch.Health
		want   string
	}{
		"quiet":          {nil, watch.Health{}, "uuuuuuuqqqqqqqqqqqqqqqqqqqqq"},
		"news and alarm": {[]watch.Event{at(time.Hour, watch.NewVersion), at(13*time.Hour, watch.Changed), at(14*time.Hour, watch.NewVersion)}, watch.Health{}, "uuuuuuuqqqqqqqqqqqqqqqqqqqan"},
		"no answer":      {nil, watch.Health{Failures: 3, LastSuccess: now.Add(-3 * day)}, "uuuuuuuqqqqqqqqqqqqqqqffffff"},
		"just failed":    {nil, watch.Health{Failures: 1, LastSuccess: now.Add(-time.Minute)}, "uuuuuuuqqqqqqqqqqqqqqqqqqqqf"},
		"never answered": {nil, watch.Health{Failures: 9}, "uuuuuuuqffffffffffffffffffff"},
		"other upstream": {[]watch.Event{{Upstream: "v", Time: now, Kind: watch.Changed}}, watch.Health{}, "uuuuuuuqqqqqqqqqqqqqqqqqqqqq"},
	} {
		u.Sources[0].Health = tc.health
		if got := draw(tc.recent); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
	u.Sources[0].Health = watch.Health{}
	many := make([]watch.Event, stripRead)
	for i := range many {
		many[i] = at(time.Duration(i)*time.Minute, watch.Repacked)
		many[i].Upstream = "v"
	}
	if got := draw(many); got != "uuuuuuuuuuuuuuuuuuuuuuuuuuqq" { // the oldest is 16 h ago
		t.Errorf("more events than are read: %s", got)
	}
}

// TestPaging: long lists are cut into pages, whose links lead through all.
func TestPaging(t *testing.T) {
	f := newSample(t)
	w := f.watching
	w.versions["keda"] = nil
	for i := range 10_000 {
		w.versions["keda"] = append(w.versions["keda"], watch.VersionState{
			Known: upstream.Known{Chart: "keda", Version: fmt.Sprintf("1.0.%d", 10_000-i), Digests: []string{bare("x")}}, SourceID: 4, FirstSeen: now.Add(-day), LogIndex: 3,
		})
	}
	walk := func(path, row, more string) (pages, rows int) {
		for path != "" && pages < 200 {
			doc := parseHTML(t, get(t, f, maintainer, path).Body.String())
			if pages == 0 {
				checkPage(t, doc)
			}
			rows += len(doc.all(row))
			pages++
			path = ""
			for _, a := range doc.all("nav.pager a") {
				if a.words() == more {
					path = a.attrs["href"]
				}
			}
		}
		return pages, rows
	}
	if pages, rows := walk("/ui/upstreams/keda/versions?chart=keda&from=9000", "tbody tr", "More"); pages != 10 || rows != 1000 {
		t.Errorf("the last 1,000 versions are %d rows on %d pages", rows, pages)
	}
	for i := range 150 {
		w.add(watch.Event{Time: now, Kind: watch.NewVersion, Severity: watch.Info, Upstream: "held", Chart: "c", Version: fmt.Sprint(i), Message: "m"})
	}
	if pages, rows := walk("/ui/upstreams/held", "tbody tr[id]", "Older"); pages != 2 || rows != 150 {
		t.Errorf("150 events are %d rows on %d pages", rows, pages)
	}
	for i := range 120 {
		w.upstreams = append(w.upstreams, watch.Upstream{Name: fmt.Sprintf("many-%d", i), Created: now})
	}
	if pages, rows := walk("/ui/upstreams?q=many", "section table[role=table] tbody tr td[data-l=State]", "More"); pages != 3 || rows != 120 {
		t.Errorf("120 upstreams are %d rows on %d pages", rows, pages)
	}
	for i := range 450 {
		d := w.deployments[0]
		d.Key, d.Environment = fmt.Sprintf("many/a/%d", i), fmt.Sprintf("env-%d", i%3)
		w.deployments = append(w.deployments, d)
	}
	if pages, rows := walk("/ui/deployments?q=many/", "section tbody tr td[data-l=Exposure]", "More"); pages != 3 || rows != 450 {
		t.Errorf("450 deployments are %d rows on %d pages", rows, pages)
	}
}

// hostile is what a foreign index may call a thing.
var hostile = []string{
	"<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "a\x1b[2Jb\x00c\r\nd", "abc\u202egnp.exe", "\xff\xfe\xff", "..", "a/../b", "", " ",
	"javascript:alert(1)", strings.Repeat("x", 8192), strings.Repeat("\u0416", 4096), strings.Repeat("\xff", 8192), "a?b=c&d#e", "\u2028\u200b\ufeff", "{{.Base}}",
}

// TestHostileNames: whatever upstreams and imports call their things, pages stay
// well formed, bounded and on this server, and nothing is left out.
func TestHostileNames(t *testing.T) {
	for i, name := range hostile {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			f := newSample(t)
			w := f.watching
			w.upstreams = w.upstreams[:1]
			u := &w.upstreams[0]
			u.Charts = []string{name}
			u.Sources[0].Health.Failures, u.Sources[0].Health.Error, u.Sources[0].Health.Suspect = 1, name, name
			w.versions[u.Name] = []watch.VersionState{{
				Known:    upstream.Known{Chart: name, Version: name, Digests: []string{name, "x"}, Fault: name},
				SourceID: 1, AppVersion: name, URL: name, FirstSeen: now.Add(-day), LogIndex: 3, ArchiveError: name,
			}}
			w.notes[u.Name] = []watch.Note{{Key: name, Chart: name, Version: name, Title: name, URL: name, Text: name, Digest: name, FirstSeen: now}}
			w.events = nil
			w.add(watch.Event{
				Time: now, Kind: watch.Changed, Severity: watch.High, Upstream: u.Name, SourceID: 1, Chart: name, Version: name, Message: name, Question: name,
				Evidence: []watch.Fact{{Label: "old digest", Value: name}, {Label: name, Value: name}}, Files: []chart.Change{{Path: name, Kind: name}},
			})
			w.add(watch.Event{Time: now, Kind: watch.EventKind(name), Severity: watch.Severity(name), Upstream: u.Name, Deployment: "k" + name, Message: name})
			d := watch.Deployment{Import: name, FirstSeen: now, LastSeen: now, Deployment: deployment.Deployment{
				Key: "k" + name, Tool: deployment.Tool(name), From: name, Cluster: name, Namespace: name, Name: name, Environment: name, Owner: name, Route: name, Exposure: deployment.Exposure(name), ExposureWhy: name,
				Chart: deployment.Chart{Name: name, Version: name, Constraint: name, Repository: name, Digest: name}, Dependencies: []deployment.Chart{{Name: name, Alias: name, Constraint: name}},
				Values: json.RawMessage(name), Images: []string{name}, Fingerprint: name, Unresolved: []string{name}, Status: name,
				Match: deployment.Match{Confidence: deployment.Confidence(name), How: name, Upstream: name, Chart: name, Version: name},
			}}
			other := d
			other.Key, other.Environment, other.Images = "o", "other", nil
			w.deployments, w.rows = []watch.Deployment{d, other}, nil
			query, followed := url.Values{"chart": {name}, "version": {name}}.Encode(), map[string]bool{}
			// A page is made for each name that a link leads to; those that are too
			// long for one have no link and all their facts in lists.
			for path, rows := range map[string]string{
				"/ui/upstreams": "section tbody tr", "/ui/upstreams/airflow-helm?open=4100": "tr#e4100", "/ui/upstreams/airflow-helm/versions": "tbody tr",
				"/ui/upstreams/airflow-helm/versions?" + query: "tbody tr", "/ui/upstreams/airflow-helm/version?" + query: "h1",
				"/ui/deployments": "section tbody tr", "/ui/deployments?" + url.Values{"key": {"k" + name}}.Encode(): "h1", "/ui/environments?" + url.Values{"a": {name}, "b": {"other"}}.Encode(): "h1",
			} {
				resp := get(t, f, maintainer, path)
				if len(path) > 2*maxLinkedName {
					if resp.Code != 404 {
						t.Errorf("%s: status %d", shorten(path, 200), resp.Code)
					}
					continue
				}
				if resp.Code != 200 {
					t.Fatalf("%s: status %d\n%s", shorten(path, 200), resp.Code, resp.Body)
				}
				if resp.Body.Len() > 100<<10 {
					t.Errorf("%s: %d bytes", shorten(path, 200), resp.Body.Len())
				}
				doc := parseHTML(t, resp.Body.String())
				checkPage(t, doc)
				if len(doc.all(rows)) == 0 {
					t.Errorf("%s: nothing fits %s", shorten(path, 200), rows)
				}
				checkHostile(t, f, doc, followed)
			}
		})
	}
}

// checkHostile holds a page to what foreign names may do, and follows its links.
func checkHostile(t *testing.T, f *fakeService, doc *element, followed map[string]bool) {
	t.Helper()
	if strings.ContainsAny(doc.text, "\x00\x1b\u202e") {
		t.Errorf("the page shows what cannot be seen: %q", doc.words())
	}
	doc.walk(func(e *element) {
		switch e.name {
		case "title", "h1", "h2", "th", "td", "dd", "p", "option", "summary", "caption":
			if strings.ContainsAny(e.text, "\u200b\u2028\ufeff") {
				t.Errorf("<%s> has what cannot be seen: %q", e.name, e.words())
			}
		}
		href := e.attrs["href"]
		switch {
		case e.name != "a" || href == "" || href[0] == '#' || strings.HasPrefix(href, "https://"):
		case !strings.HasPrefix(href, "/ui/"):
			t.Errorf("a link to %.100q", href)
		case strings.HasPrefix(href, "/ui/upstreams/airflow-helm/version") || strings.HasPrefix(href, "/ui/deployments"):
			if href = strings.Split(href, "#")[0]; followed[href] {
				return
			}
			followed[href] = true
			if w := get(t, f, maintainer, href); w.Code != 200 {
				t.Errorf("a link to %.300q: status %d", href, w.Code)
			}
		}
	})
}

// TestDeploymentLinks: a key leads to its page whatever it looks like.
func TestDeploymentLinks(t *testing.T) {
	for key, want := range map[string]string{
		"prod-eu/data/airflow":          "/ui/deployments/prod-eu/data/airflow",
		"apps/web.yaml:Application/x y": "/ui/deployments/apps/web.yaml:Application/x%20y",
		"a%2fb":                         "/ui/deployments/a%252fb",
		"../x":                          "/ui/deployments?key=..%2Fx",
		"/abs":                          "/ui/deployments?key=%2Fabs",
		"a//b":                          "/ui/deployments?key=a%2F%2Fb",
		"a\nb":                          "/ui/deployments?key=a%0Ab",
		strings.Repeat("x", 2000):       "",
	} {
		if got := deploymentPath("/ui", key); got != want {
			t.Errorf("%.40q is at %s, want %s", key, got, want)
		}
	}
}

func TestShown(t *testing.T) {
	for s, want := range map[string]string{
		"web": "web", "": "", "a\nb\tc": "a\ufffdb\ufffdc", "a\u202eb": "a\ufffdb", "\x1b[2J": "\ufffd[2J", "0123456789": "0123456789",
		"0123456789x": "0123456789… (11 bytes)", strings.Repeat("\u0416", 10): strings.Repeat("\u0416", 10), strings.Repeat("😀", 11): strings.Repeat("😀", 10) + "… (44 bytes)",
		strings.Repeat("😀", 12): strings.Repeat("😀", 10) + "… (48 bytes)", strings.Repeat("\xff", 100): "\ufffd… (100 bytes)",
	} {
		if got := shown(s, 10); got != want {
			t.Errorf("%q is shown as %q, want %q", s, got, want)
		}
	}
}

// FuzzShown: foreign text is one bounded line that can be seen.
func FuzzShown(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := shown(s, 20)
		if !sendable(got) || strings.ContainsFunc(got, func(c rune) bool { return unicode.In(c, unicode.Cf, unicode.Zl, unicode.Zp) }) {
			t.Errorf("%q is shown as %q", s, got)
		}
		if n := utf8.RuneCountInString(got); n > 20+len("… (1,000,000 bytes)") {
			t.Errorf("%d runes are shown of %d bytes", n, len(s))
		}
		if doc := parseHTML(t, "<p>"+string(wrap(got))+"</p>"); doc.text != got+" " {
			t.Errorf("%q is written as %q", got, doc.text)
		}
	})
}

// TestSides: labels in any order make two sides, and a side that is not known is
// said to be so.
func TestSides(t *testing.T) {
	f := &frame{Now: moment{now, now}}
	ev := f.evidence(&watch.Event{Time: now, Evidence: []watch.Fact{
		{Label: "content now", Value: "c"}, {Label: "old digest", Value: "a"}, {Label: "content before", Value: "c"}, {Label: "new digest", Value: "b"}, {Label: "archive before", Value: "x"},
		{Label: "last success before", Value: "2026"}, {Label: "old news", Value: "n"},
	}})
	want := []pair{{"content", "c", "c", false}, {"digest", "a", "b", true}, {"archive", "x", "", false}}
	if !slices.Equal(ev.Sides, want) {
		t.Errorf("sides are %+v", ev.Sides)
	}
	if len(ev.Facts) != 0 || len(ev.Does) != 2 || ev.Told {
		t.Errorf("facts are %+v, it does %+v, told %v", ev.Facts, ev.Does, ev.Told)
	}
	many := []watch.Fact{{Label: "old digest", Value: "a"}, {Label: "what changed", Value: "cannot be told"}}
	for range effectsShown + 3 {
		many = append(many, watch.Fact{Label: "rights-widened", Value: "x"})
	}
	ev = f.evidence(&watch.Event{Evidence: many})
	if len(ev.Facts) != 1 || len(ev.Does) != effectsShown || len(ev.DoesMore) != 3 || !ev.Told {
		t.Errorf("facts are %+v, it does %+v and %+v, told %v", ev.Facts, ev.Does, ev.DoesMore, ev.Told)
	}
	ev = f.evidence(&watch.Event{Time: now, Evidence: []watch.Fact{
		{Label: "old digest", Value: "a"}, {Label: "new digest", Value: "b"}, {Label: "archive before", Value: "a"}, {Label: "archive now", Value: "b"},
	}})
	if len(ev.Sides) != 1 || ev.Sides[0] != (pair{"archive, as listed and as read", "a", "b", true}) {
		t.Errorf("sides are %+v", ev.Sides)
	}
	many = make([]watch.Fact, maxEvidence+7)
	files := make([]chart.Change, maxFiles+3)
	ev = f.evidence(&watch.Event{Evidence: many, Files: files})
	if len(ev.Facts) != maxEvidence || ev.More != 7 || len(ev.Files) != maxFiles || ev.MoreFiles != 3 {
		t.Errorf("%d facts and %d more, %d files and %d more", len(ev.Facts), ev.More, len(ev.Files), ev.MoreFiles)
	}
}

// TestRunning: who runs a changed version is told with the bytes, also where the
// deployment is told from what is published now.
func TestRunning(t *testing.T) {
	f := &frame{Base: "/ui"}
	at := func(key string, m deployment.Match) run {
		r := run{}
		r.Key, r.Match = key, m
		r.Match.Chart, r.Match.Version = "web", "1.0.0"
		return r
	}
	got := f.running("up", "web", "1.0.0", []pair{{"archive", "old", "new", true}, {"content", "c", "c", false}}, []run{
		at("a", deployment.Match{Confidence: deployment.Exact, Upstream: "up", Archive: "old"}),
		at("b", deployment.Match{Confidence: deployment.Exact, Upstream: "up", Archive: "new"}),
		at("c", deployment.Match{Confidence: deployment.Strong, Upstream: "up", Archive: "new"}),
		at("d", deployment.Match{Confidence: deployment.Unknown, Differs: true}),
		at("e", deployment.Match{Confidence: deployment.Exact, Upstream: "other", Archive: "old"}),
	})
	words := ""
	for _, d := range got.Deployed {
		words += d.Text + ": " + d.Bytes + "; "
	}
	if want := "a: the bytes from before; b: the bytes that are offered now; c: going by names: which bytes is not known; d: other bytes than those that are known now; "; words != want {
		t.Errorf("running are %s", words)
	}
	many := make([]run, deployedShown+5)
	for i := range many {
		many[i] = at("k", deployment.Match{Upstream: "up"})
	}
	if got := f.running("up", "web", "1.0.0", nil, many); len(got.Deployed) != deployedShown || got.MoreRuns != 5 {
		t.Errorf("%d are shown and %d more", len(got.Deployed), got.MoreRuns)
	}
}
