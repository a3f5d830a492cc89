package api

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

func sampleUpstream(name string) watch.Upstream {
	return watch.Upstream{
		ID: 1, Name: name, Charts: []string{"air*"}, Keep: watch.KeepNew, QuietAfter: 180 * watch.Day, Created: noon, CreatedBy: "usr-1",
		Mirror: &watch.Mirror{Project: "mirror", Versions: ">=8", MinAge: 7 * watch.Day, Reviewed: true},
		Sources: []watch.Source{{ID: 3, UpstreamID: 1, Kind: watch.SourceIndex, URL: "https://charts.example.test", Credential: "up", Interval: watch.Duration(time.Hour),
			Health: watch.Health{LastPoll: noon, LastSuccess: noon, NextPoll: noon.Add(time.Hour), Versions: 36}, Validators: watch.Validators{ETag: "kept back"}}},
	}
}

func sampleDeployment(key string) watch.Deployment {
	mission := 2
	return watch.Deployment{
		Deployment: deployment.Deployment{
			Key: key, Tool: deployment.Helm, From: "prod", Cluster: "prod", Namespace: "data", Name: "airflow", Environment: "production", Owner: "data", Mission: &mission,
			Exposure: deployment.ExposureOpen, ExposureWhy: "Ingress data/airflow", Chart: deployment.Chart{Name: "airflow", Version: "8.8.0"},
			Values: json.RawMessage(`{"password":"***"}`), Images: []string{"apache/airflow:2.6.3"},
			Rendering: &deployment.Rendering{Of: sampleSum("r"), Archive: sampleSum("a"), Exposure: deployment.ExposureOpen, ExposureWhy: "Ingress", Unresolved: []string{"u"}}, Match: deployment.Match{Confidence: deployment.Exact, How: "by its bytes", Upstream: "airflow-helm"},
		},
		Import: "prod", FirstSeen: noon, LastSeen: noon,
	}
}

func (f *fake) Upstreams(_ context.Context, c audit.Caller) ([]watch.Upstream, error) {
	return []watch.Upstream{sampleUpstream("a"), sampleUpstream("b")}, f.note(c, "Upstreams")
}

func (f *fake) Upstream(_ context.Context, c audit.Caller, name string) (watch.Upstream, error) {
	return sampleUpstream(name), f.note(c, "Upstream %s", name)
}

func (f *fake) AddUpstream(_ context.Context, c audit.Caller, u watch.NewUpstream) (watch.Upstream, error) {
	return sampleUpstream(u.Name), f.note(c, "AddUpstream %s %q %s %s %d sources %v", u.Name, u.Preset, u.Keep, orNil(u.QuietAfter), len(u.Sources), u.Sources)
}

func (f *fake) KeptArchive(_ context.Context, c audit.Caller, upstream, chart, version, which string) ([]byte, string, error) {
	return []byte("archive"), digest.SHA256([]byte("archive")), f.note(c, "KeptArchive %s %s %s %q", upstream, chart, version, which)
}

func orNil(d *watch.Duration) string {
	if d == nil {
		return "-"
	}
	return d.String()
}

func (f *fake) SetUpstream(_ context.Context, c audit.Caller, name string, ch watch.UpstreamChange) (watch.Upstream, error) {
	return sampleUpstream(name), f.note(c, "SetUpstream %s charts=%v quiet=%s mirror=%v no=%t sources=%t", name, ch.Charts != nil, orNil(ch.QuietAfter), ch.Mirror != nil, ch.NoMirror, ch.Sources != nil)
}

func (f *fake) RemoveUpstream(_ context.Context, c audit.Caller, name string) error {
	return f.note(c, "RemoveUpstream %s", name)
}

func (f *fake) PollNow(_ context.Context, c audit.Caller, name string) error {
	return f.note(c, "PollNow %s", name)
}

func (f *fake) Versions(_ context.Context, c audit.Caller, name, chartName string) ([]watch.VersionState, error) {
	v := watch.VersionState{
		Known: upstream.Known{Chart: "airflow", Version: "8.9.0", Digests: []string{sampleSum("a")[7:]}, Created: noon}, SourceID: 3, AppVersion: "2.8.4",
		URL: "https://charts.example.test/airflow-8.9.0.tgz", FirstSeen: noon, LogIndex: 4, LastChange: noon, Archive: sampleSum("a"), Content: sampleSum("c"), Fingerprint: "v1:" + sampleSum("f"),
		Earlier: []watch.Bytes{{Archive: sampleSum("b"), Content: sampleSum("d"), Fingerprint: "v1:" + sampleSum("e"), Listed: sampleSum("b"), Replaced: noon}},
		Served:  watch.Served{ETag: `"x"`, LastModified: "Mon, 02 Mar 2026 12:00:00 GMT", Asked: noon, Read: noon},
	}
	w := v
	w.Version, w.Gone, w.Archive, w.ArchiveError = "8.8.0", true, "", "it was not had"
	return []watch.VersionState{v, w}, f.note(c, "Versions %s %q", name, chartName)
}

func (f *fake) Notes(_ context.Context, c audit.Caller, name, chartName, version string, limit int) ([]watch.Note, error) {
	return []watch.Note{{SourceID: 4, Key: "k", Chart: "airflow", Version: "8.9.0", Title: "8.9.0", URL: "https://example.test/8.9.0", Text: "text", Digest: sampleSum("e"), Published: noon, FirstSeen: noon}},
		f.note(c, "Notes %s %q %q %d", name, chartName, version, limit)
}

func (f *fake) Events(_ context.Context, c audit.Caller, filter watch.EventFilter) ([]watch.Event, error) {
	return []watch.Event{{
		ID: 9, Time: noon, Kind: watch.Changed, Severity: watch.Critical, Upstream: "argo", SourceID: 3, Chart: "argo-rollouts", Version: "0.3.7", Message: "argo-rollouts 0.3.7 was replaced",
		Question: "why?", Evidence: []watch.Fact{{Label: "old digest", Value: sampleSum("a")}}, Files: []chart.Change{{Path: "templates/role.yaml", Kind: "changed"}}, Key: "changed/3/x", LogIndex: 5,
	}}, f.note(c, "Events %+v", filter)
}

func (f *fake) EventFeed(_ context.Context, c audit.Caller, filter watch.EventFilter, base string) ([]byte, error) {
	return []byte("<feed/>"), f.note(c, "EventFeed %q %q %s", filter.Upstream, filter.Deployment, base)
}

func (f *fake) Imports(_ context.Context, c audit.Caller) ([]watch.Import, error) {
	return []watch.Import{
		{Name: "other", From: "files", Time: noon, Problems: []string{}},
		{Name: "prod", From: "context prod", Time: noon, Deployments: 2, Problems: []string{"Secret x: it cannot be read"}, MoreProblems: 1, Old: true},
	}, f.note(c, "Imports")
}

func (f *fake) DeploymentList(_ context.Context, c audit.Caller, importName string) ([]watch.Deployment, error) {
	return []watch.Deployment{sampleDeployment("prod/data/airflow"), sampleDeployment("prod/data/b")}, f.note(c, "DeploymentList %q", importName)
}

func (f *fake) Deployment(_ context.Context, c audit.Caller, key string) (watch.Deployment, error) {
	return sampleDeployment(key), f.note(c, "Deployment %s", key)
}

func (f *fake) SetDeployment(_ context.Context, c audit.Caller, key string, ch watch.DeploymentChange) (watch.Deployment, error) {
	return sampleDeployment(key), f.note(c, "SetDeployment %s %v %v %v %v %v", key, show(ch.Environment), show(ch.Owner), show(ch.Route), show(ch.Mission), show(ch.Exposure))
}

func show[T any](p *T) string {
	if p == nil {
		return "-"
	}
	return fmt.Sprintf("%#v", *p)
}

func (f *fake) ImportDeployments(_ context.Context, c audit.Caller, name string, found deployment.Inventory, every *watch.Duration) (watch.ImportResult, error) {
	return watch.ImportResult{Import: name, Deployments: len(found.Deployments), New: 1, Events: []watch.Event{}, Problems: found.Problems},
		f.note(c, "ImportDeployments %s %d %v every %s", name, len(found.Deployments), found.Problems, orNil(every))
}

func (f *fake) Outdated(_ context.Context, c audit.Caller, importName string) ([]deployment.Row, error) {
	return []deployment.Row{{Key: "prod/data/airflow", Name: "airflow", Chart: "airflow", Version: "8.8.0", Newest: "8.9.0", Step: "minor", Releases: 1, Since: noon, Days: 3, State: deployment.Outdated, Why: "8.9.0 is published"}},
		f.note(c, "Outdated %q", importName)
}

func (f *fake) CompareEnvironments(_ context.Context, c audit.Caller, a, b string) (deployment.Differences, error) {
	return deployment.Differences{A: a, B: b, Same: 1, OnlyA: []string{}, OnlyB: []string{"x"}, Pairs: []deployment.Difference{}}, f.note(c, "CompareEnvironments %s %s", a, b)
}

func sampleRoute(name string) watch.Route {
	return watch.Route{ID: 1, Name: name, Kind: watch.RouteWebhook, Target: "https://hooks.example.test", Credential: "hooks", MinSeverity: watch.High, Created: noon, Health: watch.RouteHealth{LastSuccess: noon, Waiting: 1}}
}

func (f *fake) Routes(_ context.Context, c audit.Caller) ([]watch.Route, error) {
	return []watch.Route{sampleRoute("a"), sampleRoute("b")}, f.note(c, "Routes")
}

func (f *fake) AddRoute(_ context.Context, c audit.Caller, r watch.Route) (watch.Route, error) {
	return sampleRoute(r.Name), f.note(c, "AddRoute %s %s %s %v %s", r.Name, r.Kind, r.Target, r.Events, r.MinSeverity)
}

func (f *fake) RemoveRoute(_ context.Context, c audit.Caller, name string) error {
	return f.note(c, "RemoveRoute %s", name)
}

func (f *fake) TestRoute(_ context.Context, c audit.Caller, name string) error {
	return f.note(c, "TestRoute %s", name)
}

func (f *fake) ResendDeliveries(_ context.Context, c audit.Caller, route, delivery string) (int, error) {
	return 2, f.note(c, "ResendDeliveries %s %s", route, delivery)
}

func (f *fake) RouteDeliveries(_ context.Context, c audit.Caller, route string, limit int) ([]watch.Delivery, error) {
	return []watch.Delivery{{ID: "dlv-1", RouteID: 1, Route: route, Due: noon, Attempts: 2, State: "waiting", Error: "it answered 503"}}, f.note(c, "RouteDeliveries %s %d", route, limit)
}

func (f *fake) Alerts(_ context.Context, c audit.Caller, open bool, limit int) ([]watch.Alert, error) {
	return []watch.Alert{{
		ID: 3, Key: "k", Event: audit.RefusedOverwrite, Severity: watch.High, Project: "demo", Chart: "web", Version: "1.0.0", Actor: "ci", Message: "m",
		Count: 12, First: noon, Last: noon, FirstIndex: 8, LastIndex: 40, Ended: noon,
	}}, f.note(c, "Alerts %t %d", open, limit)
}

func (f *fake) AlertDeliveries(_ context.Context, c audit.Caller, id int64) ([]watch.Delivery, error) {
	return []watch.Delivery{{ID: "dlv-1", Route: "sec", Due: noon, Attempts: 1, State: "delivered"}}, f.note(c, "AlertDeliveries %d", id)
}

func (f *fake) TestAlert(_ context.Context, c audit.Caller) (string, error) {
	return "alert.tested X", f.note(c, "TestAlert")
}
