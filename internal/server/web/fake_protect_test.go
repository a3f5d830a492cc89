package web

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/signature"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// twoHats is the maintainer with the right to decide as well: never about what
// was his own doing.
var twoHats = callerOf("ops-lead", access.Grant{ID: "grn-1", Role: access.RoleMaintainer, Project: "platform"}, access.Grant{ID: "grn-9", Role: access.RoleApprover, Project: "platform"})

func init() { people["two-hats"] = twoHats }

// fakeProtect is what the fake knows of rights and of what takes two people.
type fakeProtect struct {
	holders    []release.Holder
	publishers []release.Publisher
	requests   []release.Request
	trial      release.Trial
	asked      *release.Request // what SetProject answers with
	did        []string
	refuse     error                 // what forms are answered with
	changes    []release.AuditRecord // of policies, oldest first
}

func (f *fakeService) may(c release.Caller, a access.Action, project string) error {
	p, _ := f.project(project)
	req := access.Request{Action: a, Project: project, ProjectPublic: p.Public}
	if access.Allowed(c.Principal, req, now) {
		return nil
	}
	return access.Refuse(c.Principal, req, now)
}

// done notes what a form did, for whoever may.
func (f *fakeService) done(c release.Caller, a access.Action, project, format string, args ...any) error {
	if err := f.may(c, a, project); err != nil {
		return err
	}
	if f.protect.refuse != nil {
		return f.protect.refuse
	}
	f.protect.did = append(f.protect.did, c.Principal.Name+" "+fmt.Sprintf(format, args...))
	return nil
}

func (f *fakeService) sampleProtect() {
	day := 24 * time.Hour
	hold := func(name string, role access.Role, project string, change func(*release.Holder)) {
		h := release.Holder{Name: name, Grant: access.Grant{ID: fmt.Sprintf("grn-%d", 100+len(f.protect.holders)), Role: role, Project: project}, Given: now.Add(-90 * day)}
		if change != nil {
			change(&h)
		}
		f.protect.holders = append(f.protect.holders, h)
	}
	hold("admin", access.RoleInstanceAdmin, "*", nil)
	hold("gone<b>", access.RoleMaintainer, "platform", func(h *release.Holder) { h.Disabled = true })
	hold("group:ops <team>", access.RoleApprover, "*", nil)
	hold("web-lead", access.RoleProjectOwner, "platform", nil)
	hold("shop-dev", access.RoleReader, "platform", func(h *release.Holder) { h.Grant.Expires = now.Add(-time.Hour) })
	token := func(personal bool) func(*release.Holder) {
		return func(h *release.Holder) {
			h.Token = &release.Token{ID: "tok-" + h.Name, Name: h.Name, Account: "web-lead", AccountID: "usr-web-lead", Personal: personal, Created: now.Add(-30 * day), Expires: now.Add(5 * day), LastUsed: now.Add(-2 * time.Hour)}
		}
	}
	hold("ci-publish", access.RolePublisher, "platform", token(false))
	hold("laptop", access.RoleReader, "platform", token(true))
	hold("elsewhere", access.RoleReader, "team-a/web", token(true))
	f.protect.holders[5].Grant.Chart, f.protect.holders[5].Grant.Versions = "web*", access.PrereleaseOnly

	f.protect.publishers = []release.Publisher{{
		Publisher: access.Publisher{ID: "pub-1", Project: "platform", Provider: access.ProviderGitHub, Issuer: "https://token.actions.githubusercontent.com",
			Claims: map[string][]string{"repository_id": {"41881900"}, "repository_owner_id": {"65"}, "workflow": {".github/workflows/<release>.yml"}, "environment": {"production"}}, Chart: "web*"},
		Name: "github octo/web", Maker: "web-lead", MakerDisabled: true, Created: now.Add(-10 * day), LastUsed: now.Add(-day),
	}}
	f.protect.requests = []release.Request{
		{ID: 3, Kind: release.RequestPolicy, Project: "platform", Before: digestOf("policy"), After: digestOf("weaker"), Document: []byte(`{"require_provenance":false}`), Weaker: []string{"signatures are no longer required"},
			Text: "the <signer> left", Requester: "usr-web-lead", RequesterName: "web-lead", Made: now.Add(-day), Expires: now.Add(13 * day), State: release.RequestWaiting},
		{ID: 2, Kind: release.RequestTombstone, Project: "platform", Chart: "web", Version: "1.4.1", Digest: digestOf("platform/web@1.4.1"), Reason: "secret", Text: "holds a key",
			Requester: "usr-ops-lead", RequesterName: "ops-lead", Made: now.Add(-2 * time.Hour), Expires: now.Add(14 * day), State: release.RequestWaiting},
		{ID: 1, Kind: release.RequestPolicy, Project: "platform", Before: digestOf("older"), After: digestOf("policy"), Document: []byte(`{}`), Weaker: []string{"releases no longer wait for a provenance file"},
			Requester: "usr-web-lead", RequesterName: "web-lead", Made: now.Add(-9 * day), Expires: now.Add(5 * day), State: release.RequestDone, Decider: "usr-sec-lead", DeciderName: "sec-lead", Decided: now.Add(-8 * day), Effective: now.Add(-7 * day), Answer: "agreed"},
	}
	f.protect.trial = release.Trial{Weaker: []string{"signatures are no longer required"}, Examined: 9, Items: []release.TrialRelease{
		{Release: "platform/web@1.4.2", Time: "2026-11-18 21:40:00Z", Refused: []string{"it lacks a pgp <signature>"}},
	}}
	signed := f.find("platform", "airflow", "8.9.0")
	signed.Signatures = []signature.Signature{
		{Kind: signature.PGP, Digest: signed.Release.Provenance, Verdict: signature.Verified, Signer: "airflow-team", Key: "5C1D0A7E", About: signature.AboutArchive, Policy: digestOf("policy"), Time: signed.Release.Time},
		{Kind: signature.Key, Digest: digestOf("bundle"), Verdict: signature.Refused, Rule: "signature-unknown-key", Detail: "no signer of the policy has this <key>", Policy: digestOf("other"), Time: now.Add(-day)},
	}
	f.find("team-a/web", "front-end-with-a-rather-long-name", "0.1.0").Waits = []string{"a provenance file"}
	blocked := f.find("platform", "airflow", "8.7.1")
	blocked.Release.State = release.Quarantined
	blocked.Release.Quarantine = &release.QuarantineNote{Reason: "malware", Text: "opens a shell", By: "usr-ops-lead", ByName: "ops-lead", Time: now.Add(-3 * time.Hour), Lapses: now.Add(21 * time.Hour), LogIndex: 2}
	index := int64(70)
	change := func(name audit.Name, before, after string, detail map[string]string) {
		index++
		f.protect.changes = append(f.protect.changes, release.AuditRecord{Index: index, Actor: "web-lead", Event: audit.Event{
			ID: fmt.Sprintf("01JD8Q6Y2M7TP%d", index), Time: now.Add(-7 * day), Name: name, Actor: audit.Actor{Kind: access.KindUser, ID: "usr-web-lead"},
			Resource: audit.Resource{Project: "platform"}, Outcome: audit.Outcome{Result: audit.Allowed}, Before: before, After: after, Detail: detail,
		}})
	}
	change(audit.PolicyChanged, digestOf("oldest"), digestOf("older"), map[string]string{audit.DetailLeaf: "5"})
	change(audit.PolicyWeakened, digestOf("older"), digestOf("policy"), map[string]string{audit.DetailLeaf: "9", "request": "1", "requester": "usr-web-lead", "approver": "usr-sec-lead"})
}

func (f *fakeService) Holders(_ context.Context, c release.Caller, q release.HolderFilter) ([]release.Holder, error) {
	right := access.AuditRead
	if q.Project == "" {
		right = access.InstanceAdmin
	}
	if err := f.may(c, right, q.Project); err != nil {
		return nil, err
	}
	var out []release.Holder
	for _, h := range f.protect.holders {
		after := h.Name > q.AfterName || h.Name == q.AfterName && h.Grant.ID > q.AfterID
		if q.Tokens == (h.Token != nil) && after && (q.Project == "" || slices.Contains(release.ProjectPatterns(q.Project), h.Grant.Project)) && len(out) < q.Limit {
			out = append(out, h)
		}
	}
	return out, nil
}

func (f *fakeService) AddGrant(_ context.Context, c release.Caller, account string, g access.Grant) (access.Grant, error) {
	if account == "none" {
		return g, problem.New(problem.NotFound, "account", "there is no account none")
	}
	if err := access.Within(c.Principal, g, now); err != nil {
		return g, err
	}
	return g, f.done(c, access.MemberWrite, g.Project, "gives %s %s in %s %s %s", account, g.Role, g.Project, g.Chart, g.Versions)
}

func (f *fakeService) RevokeGrant(_ context.Context, c release.Caller, id string) error {
	return f.done(c, access.MemberWrite, "platform", "takes %s", id)
}

func (f *fakeService) RevokeToken(_ context.Context, c release.Caller, id string) error {
	return f.done(c, access.TokenWrite, "platform", "ends %s", id)
}

func (f *fakeService) Publishers(_ context.Context, c release.Caller, project, _ string) ([]release.Publisher, error) {
	if project != "" && project != "platform" {
		return nil, f.may(c, access.PolicyRead, project)
	}
	return f.protect.publishers, f.may(c, access.PolicyRead, project)
}

func (f *fakeService) RemovePublisher(_ context.Context, c release.Caller, id string) error {
	return f.done(c, access.PublisherWrite, "platform", "ends %s", id)
}

func (f *fakeService) PolicyDocument(_ context.Context, _ release.Caller, d string) ([]byte, error) {
	if d != digestOf("policy") {
		return nil, problem.New(problem.NotFound, "policy-digest", "no project that you may read has or had the policy")
	}
	return []byte(`{"require_provenance":true}`), nil
}

func (f *fakeService) TryPolicy(_ context.Context, c release.Caller, project string, p release.Policy, _, _, after string) (release.Trial, error) {
	if p.Mirror == "refused" {
		return release.Trial{}, problem.New(problem.Invalid, "signature-policy", "signatures are required, but no kinds of them are named")
	}
	out := f.protect.trial
	if after == "" && p.RequireProvenance {
		out.Next = "web"
	}
	return out, f.may(c, access.PolicyRead, project)
}

func (f *fakeService) SetProject(_ context.Context, c release.Caller, name string, ch release.ProjectChange) (release.ProjectSet, error) {
	err := f.done(c, access.PolicyWrite, name, "sets %s %s because %s", name, release.PolicyText(*ch.Policy), ch.Text)
	return release.ProjectSet{Request: f.protect.asked}, err
}

func (f *fakeService) SetQuarantine(_ context.Context, c release.Caller, project, name, version, reason, text string) (release.Release, error) {
	return release.Release{}, f.done(c, access.QuarantineSet, project, "blocks %s/%s@%s %s %s", project, name, version, reason, text)
}

func (f *fakeService) ConfirmQuarantine(_ context.Context, c release.Caller, project, name, version, text string) (release.Release, error) {
	return release.Release{}, f.done(c, access.QuarantineDecide, project, "confirms %s/%s@%s %s", project, name, version, text)
}

func (f *fakeService) LiftQuarantine(_ context.Context, c release.Caller, project, name, version, text string) (release.Release, error) {
	return release.Release{}, f.done(c, access.QuarantineSet, project, "lifts %s/%s@%s %s", project, name, version, text)
}

func (f *fakeService) Quarantines(context.Context, release.Caller, string) ([]release.Release, error) {
	var out []release.Release
	for _, d := range f.releases {
		if d.Release.State == release.Quarantined {
			out = append(out, d.Release)
		}
	}
	return out, nil
}

func (f *fakeService) RequestTombstone(_ context.Context, c release.Caller, project, name, version, reason, text string) (release.Request, error) {
	return release.Request{ID: 4}, f.done(c, access.TombstoneRequest, project, "wants %s/%s@%s gone %s %s", project, name, version, reason, text)
}

func (f *fakeService) Requests(_ context.Context, c release.Caller, q release.RequestFilter) ([]release.Request, error) {
	var out []release.Request
	for _, r := range f.protect.requests {
		if (q.All || r.Open()) && (q.Project == "" || q.Project == r.Project) && f.may(c, access.PolicyRead, r.Project) == nil {
			out = append(out, r)
		}
	}
	return out, nil
}

func (f *fakeService) Request(_ context.Context, c release.Caller, id int64) (release.Request, error) {
	for _, r := range f.protect.requests {
		if r.ID == id && f.may(c, access.PolicyRead, r.Project) == nil {
			return r, nil
		}
	}
	return release.Request{}, problem.New(problem.NotFound, "request", "there is no request %d that you may see", id)
}

func (f *fakeService) decideRequest(c release.Caller, id int64, verb, text string) (release.Request, error) {
	r, err := f.Request(context.Background(), c, id)
	if err != nil {
		return r, err
	}
	action := r.Kind.Decides()
	if verb == "withdraws" {
		action = r.Kind.Asks()
	}
	return r, f.done(c, action, r.Project, "%s %d %s", verb, id, text)
}

func (f *fakeService) ApproveRequest(_ context.Context, c release.Caller, id int64, text string) (release.Request, error) {
	return f.decideRequest(c, id, "approves", text)
}

func (f *fakeService) DeclineRequest(_ context.Context, c release.Caller, id int64, text string) (release.Request, error) {
	return f.decideRequest(c, id, "declines", text)
}

func (f *fakeService) WithdrawRequest(_ context.Context, c release.Caller, id int64, text string) (release.Request, error) {
	return f.decideRequest(c, id, "withdraws", text)
}

func (f *fakeWatch) Alerts(_ context.Context, c audit.Caller, open bool, limit int) ([]watch.Alert, error) {
	req := access.Request{Action: access.AuditRead}
	if !access.Allowed(c.Principal, req, now) {
		return nil, access.Refuse(c.Principal, req, now)
	}
	out := []watch.Alert{
		{ID: 2, Event: audit.RefusedOverwrite, Severity: watch.Severity(manifest.High), Project: "platform", Chart: "web", Version: "1.4.2", Actor: "ci-<platform>", Message: "other bytes were offered for a released version: platform/web@1.4.2",
			Count: 1204, First: now.Add(-5 * time.Hour), Last: now.Add(-time.Minute), FirstIndex: 8000, LastIndex: 9204},
		{ID: 1, Event: audit.IntegrityMismatch, Severity: watch.Critical, Message: "stored bytes do not have the digest in the log", Count: 1, First: now.Add(-72 * time.Hour), Last: now.Add(-72 * time.Hour), FirstIndex: 70, LastIndex: 70, Ended: now.Add(-71 * time.Hour)},
	}
	if open {
		out = out[:1]
	}
	return out[:min(len(out), limit)], nil
}

func (f *fakeWatch) AlertDeliveries(_ context.Context, _ audit.Caller, id int64) ([]watch.Delivery, error) {
	if id != 2 {
		return nil, nil
	}
	return []watch.Delivery{
		{ID: "a", Route: "on-call", State: "delivered", Attempts: 1},
		{ID: "b", Route: "mail", State: "waiting", Attempts: 3, Due: now.Add(time.Minute), Error: "the <server> did not answer"},
	}, nil
}

// policyChanges are the changes of a project's policy, newest first.
func (f *fakeService) policyChanges(filter release.AuditFilter) []release.AuditRecord {
	var out []release.AuditRecord
	for _, rec := range slices.Backward(f.protect.changes) {
		if rec.Event.Resource.Project == filter.Project && (filter.Before == 0 || rec.Index < filter.Before) && len(out) < filter.Limit {
			out = append(out, rec)
		}
	}
	return out
}
