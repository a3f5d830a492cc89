package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/watch"
)

func sampleRequest() release.Request {
	return release.Request{
		ID: 7, Kind: release.RequestPolicy, Project: "a", Chart: "nginx", Version: "1.2.3", Digest: sampleSum("a"), Before: sampleSum("b"), After: sampleSum("c"),
		Document: json.RawMessage(`{"require_provenance":false}`), Weaker: []string{"releases no longer wait for a provenance file"}, Reason: "legal", Text: "asked", Requester: "usr-1", RequesterName: "ann",
		Made: noon, Expires: noon.Add(release.RequestLife), State: release.RequestApproved, Decider: "usr-2", DeciderName: "bob", Decided: noon.Add(time.Hour), Effective: noon.Add(25 * time.Hour), Answer: "agreed",
	}
}

func withheldRelease(project string) release.Release {
	r := sampleRelease(project, "nginx", "1.2.3")
	r.State = release.Quarantined
	r.Quarantine = &release.QuarantineNote{Reason: "malware", Text: "mines", By: "usr-1", ByName: "ann", Time: noon, LogIndex: 9, Lapses: noon.Add(24 * time.Hour),
		Confirmed: noon, ConfirmedBy: "usr-2", ConfirmedByName: "bob"}
	r.Tombstone = &release.TombstoneNote{Reason: "legal", Text: "asked", Requester: "usr-1", RequesterName: "ann", Approver: "usr-2", ApproverName: "bob", Time: noon, LogIndex: 10, Request: 7}
	return r
}

func (f *fake) SetQuarantine(_ context.Context, c release.Caller, project, chart, version, reason, text string) (release.Release, error) {
	return withheldRelease(project), f.note(c, "SetQuarantine %s %s %s %s %q", project, chart, version, reason, text)
}

func (f *fake) ConfirmQuarantine(_ context.Context, c release.Caller, project, chart, version, text string) (release.Release, error) {
	return withheldRelease(project), f.note(c, "ConfirmQuarantine %s %s %s %q", project, chart, version, text)
}

func (f *fake) LiftQuarantine(_ context.Context, c release.Caller, project, chart, version, text string) (release.Release, error) {
	return sampleRelease(project, chart, version), f.note(c, "LiftQuarantine %s %s %s %q", project, chart, version, text)
}

func (f *fake) Quarantines(_ context.Context, c release.Caller, project string) ([]release.Release, error) {
	return []release.Release{withheldRelease("a")}, f.note(c, "Quarantines %q", project)
}

func (f *fake) RequestTombstone(_ context.Context, c release.Caller, project, chart, version, reason, text string) (release.Request, error) {
	return sampleRequest(), f.note(c, "RequestTombstone %s %s %s %s %q", project, chart, version, reason, text)
}

func (f *fake) ReleasesWith(_ context.Context, c release.Caller, digest string) ([]release.Release, error) {
	return []release.Release{withheldRelease("a")}, f.note(c, "ReleasesWith %s", digest)
}

func (f *fake) Where(_ context.Context, c audit.Caller, w watch.Wanted) (watch.Whereabouts, error) {
	place := watch.Place{Key: "prod/web/nginx", Cluster: "prod", Namespace: "web", Name: "nginx", Environment: "prod", Owner: "web", Chart: "umbrella", Version: "2.0.0",
		Dependency: true, Confidence: "weak", How: "it depends on nginx 1.2.3", LastSeen: noon}
	return watch.Whereabouts{Running: []watch.Place{place}, Unknown: []watch.Place{place}}, f.note(c, "Where %d digests, %d releases", len(w.Digests), len(w.Releases))
}

func (f *fake) Requests(_ context.Context, c release.Caller, filter release.RequestFilter) ([]release.Request, error) {
	return []release.Request{sampleRequest()}, f.note(c, "Requests %+v", filter)
}

func (f *fake) Request(_ context.Context, c release.Caller, id int64) (release.Request, error) {
	return sampleRequest(), f.note(c, "Request %d", id)
}

func (f *fake) ApproveRequest(_ context.Context, c release.Caller, id int64, text string) (release.Request, error) {
	return sampleRequest(), f.note(c, "ApproveRequest %d %q", id, text)
}

func (f *fake) DeclineRequest(_ context.Context, c release.Caller, id int64, text string) (release.Request, error) {
	return sampleRequest(), f.note(c, "DeclineRequest %d %q", id, text)
}

func (f *fake) WithdrawRequest(_ context.Context, c release.Caller, id int64, text string) (release.Request, error) {
	return sampleRequest(), f.note(c, "WithdrawRequest %d %q", id, text)
}
