package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

func running(key, version string) watch.Deployment {
	return watch.Deployment{Deployment: deployment.Deployment{
		Key: key, Tool: deployment.Helm, From: "prod", Name: key, Exposure: deployment.ExposureUnknown, Chart: deployment.Chart{Name: "web", Version: version},
	}}
}

// difference is what compare was told, in words, and makes an event of it.
func difference(told *[]string, now time.Time) func(old, new *watch.Deployment) []watch.Event {
	say := func(d *watch.Deployment) string {
		if d == nil {
			return "none"
		}
		return d.Import + "/" + d.Key + "@" + d.Chart.Version + " " + d.Owner
	}
	return func(old, new *watch.Deployment) []watch.Event {
		what := say(old) + " -> " + say(new)
		*told = append(*told, what)
		if old != nil && new != nil && old.Chart.Version == new.Chart.Version {
			return nil
		}
		return []watch.Event{{Kind: watch.VersionMoved, Deployment: "d", Message: what, Key: fmt.Sprint(what, now.Unix())}}
	}
}

// imported replaces the deployments of an import, and checks what compare was
// told.
func (w *watcher) imported(name string, now time.Time, list []watch.Deployment, want ...string) []watch.Event {
	w.Helper()
	var told []string
	events, err := w.ReplaceDeployments(w.Context(), watch.Import{Name: name, From: "from " + name}, list, by("usr-suite"), now, func(old, new *watch.Deployment) []watch.Event {
		return difference(&told, now)(old, new)
	})
	w.ok(err)
	w.names("told", told, want...)
	return events
}

func (w *watcher) keys(importName string) (out []string) {
	w.Helper()
	list, err := w.Deployments(w.Context(), importName)
	w.ok(err)
	for _, d := range list {
		out = append(out, d.Import+"/"+d.Key+"@"+d.Chart.Version)
	}
	return out
}

func deploymentImports(w *watcher) {
	ctx := w.Context()
	full := watch.Deployment{Deployment: deployment.Deployment{
		Key: "prod/ns/b", Tool: deployment.ArgoCD, From: "apps/b.yaml:3", Cluster: "prod", Namespace: "ns", Name: "b", Environment: "production", Owner: "team-b", Route: "#b",
		Mission: new(2), Exposure: deployment.ExposureOpen, ExposureWhy: "Ingress b", Chart: deployment.Chart{Name: "web", Alias: "x", Version: "1.0.0", Constraint: "~1", AppVersion: "9", Repository: "oci://r", Digest: "sha256:d", Condition: "c"},
		Dependencies: []deployment.Chart{{Name: "db", Version: "2.0.0"}}, Status: "deployed", Revision: 7, Updated: at(-9), Values: json.RawMessage(`{"a":"<b>&\u0000","n":1}`),
		Images: []string{"i:1"}, Fingerprint: "fp", Match: deployment.Match{Confidence: deployment.Exact, How: "h", Upstream: "u", Project: "p", Chart: "web", Version: "1.0.0", Archive: "sha256:a"}, Unresolved: []string{"u"},
	}}
	events := w.imported("prod", at(0), []watch.Deployment{full, running("prod/ns/a", "1.0.0")}, "none -> prod/prod/ns/b@1.0.0 team-b", "none -> prod/prod/ns/a@1.0.0 ")
	if len(events) != 2 || events[0].ID == 0 || !strings.HasPrefix(events[0].Message, "none -> prod/prod/ns/b") {
		w.Fatalf("events %+v", events)
	}
	if ev := w.lastEvent(audit.DeploymentImported); ev.Detail["import"] != "prod" {
		w.Fatalf("audit event %+v", ev)
	}
	want := full
	want.Import, want.FirstSeen, want.LastSeen = "prod", at(0), at(0)
	got, err := w.Deployment(ctx, "prod/ns/b")
	w.ok(err)
	w.equal("read", got, want)
	w.names("all", w.keys(""), "prod/prod/ns/a@1.0.0", "prod/prod/ns/b@1.0.0")

	events = w.imported("prod", at(10), []watch.Deployment{running("prod/ns/a", "1.0.0"), full}, "prod/prod/ns/a@1.0.0  -> prod/prod/ns/a@1.0.0 ", "prod/prod/ns/b@1.0.0 team-b -> prod/prod/ns/b@1.0.0 team-b")
	if len(events) != 0 {
		w.Fatalf("events %+v", events)
	}
	want.LastSeen = at(10)
	if got, err = w.Deployment(ctx, "prod/ns/b"); err != nil {
		w.Fatal(err)
	}
	w.equal("seen again", got, want)

	w.imported("stage", at(15), []watch.Deployment{running("stage/ns/a", "3.0.0")}, "none -> stage/stage/ns/a@3.0.0 ")
	events = w.imported("prod", at(20), []watch.Deployment{running("prod/ns/a", "2.0.0"), running("prod/ns/c", "1.0.0")},
		"prod/prod/ns/a@1.0.0  -> prod/prod/ns/a@2.0.0 ", "none -> prod/prod/ns/c@1.0.0 ", "prod/prod/ns/b@1.0.0 team-b -> none")
	if len(events) != 3 {
		w.Fatalf("events %+v", events)
	}
	w.names("of prod", w.keys("prod"), "prod/prod/ns/a@2.0.0", "prod/prod/ns/c@1.0.0")
	w.names("of stage", w.keys("stage"), "stage/stage/ns/a@3.0.0")
	w.names("of none", w.keys("none"))
	w.names("all", w.keys(""), "prod/prod/ns/a@2.0.0", "prod/prod/ns/c@1.0.0", "stage/stage/ns/a@3.0.0")
	_, err = w.Deployment(ctx, "prod/ns/b")
	w.refused(err, problem.NotFound, "deployment")
	moved, err := w.Deployment(ctx, "prod/ns/a")
	w.ok(err)
	if !moved.FirstSeen.Equal(at(0)) || !moved.LastSeen.Equal(at(20)) {
		w.Fatalf("seen from %s to %s", moved.FirstSeen, moved.LastSeen)
	}
	w.imported("prod", at(30), nil, "prod/prod/ns/a@2.0.0  -> none", "prod/prod/ns/c@1.0.0  -> none")
	w.names("all", w.keys(""), "stage/stage/ns/a@3.0.0")
	if got := w.events(watch.EventFilter{Deployment: "d", Limit: 1000}); len(got) != 8 {
		w.Fatalf("%d events", len(got))
	}
}

// deploymentMoves has two imports that bring one key: it belongs to the last.
func deploymentMoves(w *watcher) {
	w.imported("a", at(0), []watch.Deployment{running("k", "1.0.0"), running("l", "1.0.0")}, "none -> a/k@1.0.0 ", "none -> a/l@1.0.0 ")
	w.imported("b", at(1), []watch.Deployment{running("k", "1.0.0")}, "a/k@1.0.0  -> b/k@1.0.0 ")
	w.names("of a", w.keys("a"), "a/l@1.0.0")
	w.imported("a", at(2), []watch.Deployment{running("l", "1.0.0")}, "a/l@1.0.0  -> a/l@1.0.0 ")
	w.names("all", w.keys(""), "b/k@1.0.0", "a/l@1.0.0")
	w.imported("a", at(3), []watch.Deployment{running("k", "2.0.0")}, "b/k@1.0.0  -> a/k@2.0.0 ", "a/l@1.0.0  -> none")
	w.names("all", w.keys(""), "a/k@2.0.0")
	w.imported("b", at(4), nil)
	if d, err := w.Deployment(w.Context(), "k"); err != nil || !d.FirstSeen.Equal(at(0)) || !d.LastSeen.Equal(at(3)) {
		w.Fatalf("%+v, %v", d, err)
	}
}

func deploymentRefusals(w *watcher) {
	ctx := w.Context()
	w.imported("a", at(0), []watch.Deployment{running("k", "1.0.0")}, "none -> a/k@1.0.0 ")
	none := func(_, _ *watch.Deployment) []watch.Event { return nil }
	for _, list := range [][]watch.Deployment{{running("x", "1"), running("y", "1"), running("x", "2")}, {running("", "1")}} {
		_, err := w.ReplaceDeployments(ctx, watch.Import{Name: "a"}, list, by("usr-1"), at(1), none)
		w.refused(err, problem.Invalid, "deployment-key")
	}
	_, err := w.ReplaceDeployments(ctx, watch.Import{Name: "a"}, []watch.Deployment{running("x", "1")}, by("usr-1"), at(1), func(_, new *watch.Deployment) []watch.Event {
		return []watch.Event{{Message: "without a key"}}
	})
	if err == nil {
		w.Fatal("an event without a key was recorded")
	}
	_, err = w.SetDeployment(ctx, "x", by("usr-1"), at(1), func(d watch.Deployment) (watch.Deployment, error) { return d, nil })
	w.refused(err, problem.NotFound, "deployment")
	no := errors.New("no")
	if _, err = w.SetDeployment(ctx, "k", by("usr-1"), at(1), func(d watch.Deployment) (watch.Deployment, error) { return d, no }); !errors.Is(err, no) {
		w.Fatal(err)
	}
	w.names("all", w.keys(""), "a/k@1.0.0")
	if ev := w.lastEvent(audit.DeploymentImported); ev.Detail["import"] != "a" {
		w.Fatalf("audit event %+v", ev)
	}
	long := strings.Repeat("file/", 300) + "\x00"
	w.imported("long", at(2), []watch.Deployment{running(long, "1.0.0")}, "none -> long/"+long+"@1.0.0 ")
	w.imported("long", at(3), []watch.Deployment{running(long, "1.0.0")}, "long/"+long+"@1.0.0  -> long/"+long+"@1.0.0 ")
	if d, err := w.Deployment(ctx, long); err != nil || d.Key != long {
		w.Fatalf("%q, %v", d.Key, err)
	}
}

// declarations changes what people say of a deployment, while imports say
// other things, and while it is gone.
func declarations(w *watcher) {
	ctx := w.Context()
	brought := running("k", "1.0.0")
	brought.Environment, brought.Owner, brought.Exposure, brought.ExposureWhy = "imported", "imported", deployment.ExposureSmall, "derived"
	w.imported("a", at(0), []watch.Deployment{brought}, "none -> a/k@1.0.0 imported")
	set := func(change func(d *watch.Deployment)) watch.Deployment {
		w.Helper()
		got, err := w.SetDeployment(ctx, "k", by("usr-1"), at(1), func(d watch.Deployment) (watch.Deployment, error) {
			change(&d)
			return d, nil
		})
		w.ok(err)
		if ev := w.lastEvent(audit.DeploymentSet); ev.Detail["deployment"] != "k" {
			w.Fatalf("audit event %+v", ev)
		}
		read, err := w.Deployment(ctx, "k")
		w.ok(err)
		w.equal("read", read, got)
		return got
	}
	check := func(what string, d watch.Deployment, environment, owner, route string, mission *int, exposure deployment.Exposure, why string) {
		w.Helper()
		w.equal(what, []any{d.Environment, d.Owner, d.Route, d.Mission, d.Exposure, d.ExposureWhy}, []any{environment, owner, route, mission, exposure, why})
	}
	check("untouched", set(func(*watch.Deployment) {}), "imported", "imported", "", nil, "small", "derived")
	check("declared", set(func(d *watch.Deployment) {
		d.Owner, d.Route, d.Mission, d.Exposure = "team", "#team", new(3), deployment.ExposureOpen
		d.Chart.Version, d.Key, d.Import = "9.9.9", "other", "other" // not what people declare
	}), "imported", "team", "#team", new(3), "open", "declared")

	brought.Environment, brought.Owner, brought.Mission = "other", "other", new(0)
	w.imported("a", at(2), []watch.Deployment{brought}, "a/k@1.0.0 team -> a/k@1.0.0 team")
	got, err := w.Deployment(ctx, "k")
	w.ok(err)
	check("after an import", got, "other", "team", "#team", new(3), "open", "declared")
	check("in part", set(func(d *watch.Deployment) { d.Mission = new(0) }), "other", "team", "#team", new(0), "open", "declared")

	w.imported("a", at(3), nil, "a/k@1.0.0 team -> none")
	brought.Mission = new(1)
	w.imported("a", at(4), []watch.Deployment{brought}, "none -> a/k@1.0.0 team")
	got, err = w.Deployment(ctx, "k")
	w.ok(err)
	check("when it is back", got, "other", "team", "#team", new(0), "open", "declared")
	check("taken back", set(func(d *watch.Deployment) { d.Owner, d.Route, d.Mission, d.Exposure = "", "", nil, "" }), "other", "other", "", new(1), "small", "derived")
	check("declared again", set(func(d *watch.Deployment) { d.Exposure = deployment.ExposureOpen }), "other", "other", "", new(1), "open", "declared")
	check("unknown", set(func(d *watch.Deployment) { d.Exposure = deployment.ExposureUnknown }), "other", "other", "", new(1), "small", "derived")
	w.imported("b", at(5), []watch.Deployment{brought}, "a/k@1.0.0 other -> b/k@1.0.0 other")
}

// imports keeps what an import said, and lists deployments without what is
// large of them.
func imports(w *watcher) {
	ctx := w.Context()
	if list, err := w.Imports(ctx); err != nil || len(list) != 0 {
		w.Fatalf("%+v, %v", list, err)
	}
	large := running("k", "1.0.0")
	large.Values, large.Print, large.Images, large.Owner = json.RawMessage(`{"a":1}`), &deployment.Print{Fingerprint: "fp"}, []string{"i:1"}, "o"
	large.Rendering = &deployment.Rendering{Of: "sha256:r", Archive: "sha256:a", Exposure: deployment.ExposureSmall, ExposureWhy: "w", Unresolved: []string{"u"}}
	record := func(im watch.Import, now time.Time, list ...watch.Deployment) {
		w.Helper()
		_, err := w.ReplaceDeployments(ctx, im, list, by("usr-1"), now, func(_, _ *watch.Deployment) []watch.Event { return nil })
		w.ok(err)
	}
	record(watch.Import{Name: "b", From: "kube\x00", Problems: []string{"a.yaml:1: no", "b\x00"}, MoreProblems: 7}, at(0), large, running("l", "1.0.0"))
	record(watch.Import{Name: "a", From: "files"}, at(1))
	got, err := w.Imports(ctx)
	w.ok(err)
	w.equal("imports", got, []watch.Import{
		{Name: "a", From: "files", Time: at(1)},
		{Name: "b", From: "kube\x00", Time: at(0), Deployments: 2, Problems: []string{"a.yaml:1: no", "b\x00"}, MoreProblems: 7},
	})
	want := large
	want.Import, want.FirstSeen, want.LastSeen = "b", at(0), at(0)
	full, err := w.Deployments(ctx, "b")
	w.ok(err)
	w.equal("with all", full[0], want)
	want.Values, want.Print = nil, nil
	list, err := w.DeploymentList(ctx, "b")
	w.ok(err)
	w.equal("without what is large", list[0], want)
	if one, err := w.Deployment(ctx, "k"); err != nil || one.Print == nil || string(one.Values) != `{"a":1}` {
		w.Fatalf("%+v, %v", one, err)
	}
	large.Values = json.RawMessage(`{"a":2}`) // a change of that alone is written
	record(watch.Import{Name: "b", From: "kube"}, at(2), large)
	if one, err := w.Deployment(ctx, "k"); err != nil || string(one.Values) != `{"a":2}` {
		w.Fatalf("%+v, %v", one, err)
	}
	if got, err = w.Imports(ctx); err != nil || len(got[1].Problems) != 0 || got[1].MoreProblems != 0 || got[1].Deployments != 1 || !got[1].Time.Equal(at(2)) {
		w.Fatalf("%+v, %v", got, err)
	}
	if all, err := w.DeploymentList(ctx, ""); err != nil || len(all) != 1 || len(w.keys("a")) != 0 {
		w.Fatalf("%+v, %v", all, err)
	}
}
