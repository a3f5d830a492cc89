package api

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// fake is a service that notes how it was called and answers with samples, or
// with err.
type fake struct {
	call string
	who  release.Caller
	err  error

	unchanged bool
}

func (f *fake) note(c release.Caller, format string, args ...any) error {
	f.call, f.who = fmt.Sprintf(format, args...), c
	return f.err
}

var (
	noon      = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	sampleSum = func(c string) string {
		s := "sha256:"
		for range 64 {
			s += c
		}
		return s
	}
	sampleGrant  = access.Grant{ID: "grn-1", Role: access.RolePublisher, Project: "team-a/*", Chart: "web*", Versions: access.PrereleaseOnly, Expires: noon.Add(time.Hour)}
	sampleRecord = release.AuditRecord{Index: 7, Actor: "ann", Event: audit.Event{
		ID: "01JQX3Z8Y5T4N0V7M2K9C6B1A0", Time: noon, Name: audit.RefusedOverwrite, Action: access.ChartPush,
		Actor:    audit.Actor{Kind: access.KindUser, ID: "usr-1", TokenID: "tok-1"},
		Resource: audit.Resource{Project: "team-a/web", Chart: "nginx", Version: "1.2.3", Digest: sampleSum("b")},
		Outcome:  audit.Outcome{Result: audit.Denied, Rule: "overwrite", Status: 409},
		Before:   sampleSum("a"), After: sampleSum("b"), RequestID: "req", Door: audit.DoorOCI,
		Detail: map[string]string{"force": "ignored"}, Source: audit.Source{IP: "192.0.2.1", UserAgent: "Helm/4"}, SourceDigest: sampleSum("c"),
	}}
	sampleAccount = release.Account{ID: "usr-1", Name: "ann", Kind: "user", Created: noon}
	sampleToken   = release.Token{ID: "tok-1", Name: "ci", Account: "ann", Grants: []access.Grant{sampleGrant}, Created: noon, Expires: noon.Add(24 * time.Hour), LastUsed: noon.Add(time.Minute)}
	sampleProof   = tlog.Proof{Index: 3, Leaf: []byte("chartkeep/release/v1\n"), Hashes: []tlog.Hash{{1}, {2}}, Checkpoint: []byte("keep.example/log\n5\nAAAA\n\n— keep.example/log x\n")}
)

const sampleUUID = "6d0d3b1e-4f6b-4f5c-9f3a-2f1d8c7b6a50"

func sampleProject(name string) release.Project {
	return release.Project{ID: 1, Name: name, Kind: release.KindCharts, Public: true, State: release.ProjectActive,
		Policy: release.Policy{RequireProvenance: true}, PolicyDigest: sampleSum("d"), ArtifactHubID: sampleUUID, Generation: 4, Changed: noon, Created: noon, CreatedBy: "usr-1"}
}

func sampleRelease(project, name, version string) release.Release {
	return release.Release{ID: 9, ProjectID: 1, Project: project, Chart: name, Version: version, Tag: version, File: name + "-" + version + ".tgz",
		Archive: sampleSum("a"), Size: 1234, Content: sampleSum("e"), Manifest: sampleSum("f"), Config: sampleSum("0"), Provenance: sampleSum("1"),
		Publisher: "usr-1", By: "ann", Door: "api", Time: noon, LogIndex: 3, State: release.Active, Key: "k", SortKey: "s"}
}

func yanked(r release.Release) release.Release {
	r.State = release.Yanked
	r.Yank = &release.YankNote{Reason: "security", Text: "CVE", By: "usr-1", ByName: "ann", Time: noon, LogIndex: 8}
	return r
}

func (f *fake) Projects(_ context.Context, c release.Caller) ([]release.Project, error) {
	return []release.Project{sampleProject("a"), sampleProject("b"), sampleProject("team-a/web")}, f.note(c, "Projects")
}

func (f *fake) Project(_ context.Context, c release.Caller, name string) (release.Project, error) {
	return sampleProject(name), f.note(c, "Project %s", name)
}

func (f *fake) CreateProject(_ context.Context, c release.Caller, name string, opt release.ProjectOptions) (release.Project, error) {
	return sampleProject(name), f.note(c, "CreateProject %s kind=%s public=%v importing=%v policy=%s", name, opt.Kind, opt.Public, opt.Importing, release.PolicyText(opt.Policy))
}

func (f *fake) SetProject(_ context.Context, c release.Caller, name string, ch release.ProjectChange) (release.ProjectSet, error) {
	public, policy, hub := "-", "-", "-"
	if ch.Public != nil {
		public = fmt.Sprint(*ch.Public)
	}
	if ch.Policy != nil {
		policy = fmt.Sprint(ch.Policy.RequireProvenance)
	}
	if ch.ArtifactHubID != nil {
		hub = strconv.Quote(*ch.ArtifactHubID)
	}
	set := release.ProjectSet{Project: sampleProject(name)}
	if ch.RequireProvenance != nil { // weaker: it needs a second person
		r := sampleRequest()
		set.Request, set.Weaker = &r, r.Weaker
		policy = fmt.Sprintf("provenance:%v %q", *ch.RequireProvenance, ch.Text)
	}
	return set, f.note(c, "SetProject %s public=%s policy=%s hub=%s", name, public, policy, hub)
}

func (f *fake) RemoveProject(_ context.Context, c release.Caller, name, reason string) error {
	return f.note(c, "RemoveProject %s %q", name, reason)
}

func (f *fake) CutOver(_ context.Context, c release.Caller, name string) (release.Project, error) {
	return sampleProject(name), f.note(c, "CutOver %s", name)
}

// receive reads the archive as the service does.
func (f *fake) receive(c release.Caller, verb, project string, archive io.Reader, prov []byte, more any) (release.Receipt, error) {
	b, err := io.ReadAll(archive)
	if err != nil {
		return release.Receipt{}, fmt.Errorf("store archive: %w", err)
	}
	if err := f.note(c, "%s %s archive=%q prov=%q %+v", verb, project, b, prov, more); err != nil {
		return release.Receipt{}, err
	}
	return release.Receipt{Release: sampleRelease(project, "nginx", "1.2.3"), Unchanged: f.unchanged, Proof: sampleProof}, nil
}

func (f *fake) PushArchive(_ context.Context, c release.Caller, project string, archive io.Reader, prov []byte, opt release.PushOptions) (release.Receipt, error) {
	return f.receive(c, "PushArchive", project, archive, prov, opt)
}

func (f *fake) ImportRelease(_ context.Context, c release.Caller, project string, archive io.Reader, prov []byte, from release.ImportOrigin) (release.Receipt, error) {
	return f.receive(c, "ImportRelease", project, archive, prov, from)
}

func (f *fake) AttachProvenance(_ context.Context, c release.Caller, project string, prov []byte) (release.Receipt, error) {
	return release.Receipt{Release: sampleRelease(project, "nginx", "1.2.3")}, f.note(c, "AttachProvenance %s %q", project, prov)
}

func (f *fake) Charts(_ context.Context, c release.Caller, project, after string, limit int) ([]release.ChartSummary, bool, error) {
	err := f.note(c, "Charts %s after=%q limit=%d", project, after, limit)
	if after == "nginx" {
		return nil, false, err
	}
	return []release.ChartSummary{{Name: "nginx", Latest: sampleRelease(project, "nginx", "1.2.3"), Releases: 2, Updated: noon, Description: "a <web> server"}}, true, err
}

func (f *fake) Releases(_ context.Context, c release.Caller, project, name string) ([]release.Release, error) {
	return []release.Release{sampleRelease(project, name, "1.2.3+b.1"), yanked(sampleRelease(project, name, "1.2.2")), sampleRelease(project, name, "1.0.0")},
		f.note(c, "Releases %s %s", project, name)
}

func (f *fake) Release(_ context.Context, c release.Caller, project, name, version string) (release.Detail, error) {
	err := f.note(c, "Release %s %s %s", project, name, version)
	if version == "latest" {
		version = "1.2.3"
	}
	return release.Detail{Release: sampleRelease(project, name, version), Metadata: chart.Metadata{Name: name, Version: version, APIVersion: "v2", Keywords: []string{"web"}}}, err
}

func (f *fake) Proof(_ context.Context, c release.Caller, project, name, version string) (tlog.Proof, error) {
	return sampleProof, f.note(c, "Proof %s %s %s", project, name, version)
}

func (f *fake) Yank(_ context.Context, c release.Caller, project, name, version, reason, text string) (release.Release, error) {
	return yanked(sampleRelease(project, name, version)), f.note(c, "Yank %s %s %s %s %q", project, name, version, reason, text)
}

func (f *fake) Unyank(_ context.Context, c release.Caller, project, name, version, text string) (release.Release, error) {
	return sampleRelease(project, name, version), f.note(c, "Unyank %s %s %s %q", project, name, version, text)
}

func (f *fake) CreateAccount(_ context.Context, c release.Caller, name, kind, password string) (release.Account, error) {
	return sampleAccount, f.note(c, "CreateAccount %s %s %q", name, kind, password)
}

func (f *fake) SetPassword(_ context.Context, c release.Caller, name, password string) error {
	return f.note(c, "SetPassword %s %q", name, password)
}

func (f *fake) DisableAccount(_ context.Context, c release.Caller, name string) error {
	return f.note(c, "DisableAccount %s", name)
}

func (f *fake) Accounts(_ context.Context, c release.Caller) ([]release.Account, error) {
	return []release.Account{sampleAccount}, f.note(c, "Accounts")
}

func (f *fake) AddGrant(_ context.Context, c release.Caller, account string, g access.Grant) (access.Grant, error) {
	return sampleGrant, f.note(c, "AddGrant %s %+v", account, g)
}

func (f *fake) RevokeGrant(_ context.Context, c release.Caller, id string) error {
	return f.note(c, "RevokeGrant %s", id)
}

func (f *fake) Grants(_ context.Context, c release.Caller, account string) ([]release.AccountGrant, error) {
	return []release.AccountGrant{{Account: "ann", Grant: sampleGrant}}, f.note(c, "Grants %q", account)
}

func (f *fake) Holders(_ context.Context, c release.Caller, h release.HolderFilter) ([]release.Holder, error) {
	list := []release.Holder{
		{Name: "ann", Grant: sampleGrant, Given: noon, Disabled: true}, {Name: "group:developers", Grant: sampleGrant, Given: noon},
		{Name: "ci", Grant: sampleGrant, Given: noon, Token: &sampleToken},
	}
	return list[:min(len(list), h.Limit)], f.note(c, "Holders %+v", h)
}

func (f *fake) CreateToken(_ context.Context, c release.Caller, req release.TokenRequest) (string, release.Token, error) {
	return "ckt_secret", sampleToken, f.note(c, "CreateToken %+v", req)
}

func (f *fake) Tokens(_ context.Context, c release.Caller) ([]release.Token, error) {
	return []release.Token{sampleToken, {ID: "tok-2", Name: "bare", Account: "ann", Created: noon, Expires: noon, Revoked: noon}}, f.note(c, "Tokens")
}

func (f *fake) RevokeToken(_ context.Context, c release.Caller, id string) error {
	return f.note(c, "RevokeToken %s", id)
}

func (f *fake) CanI(_ context.Context, c release.Caller, account string, action access.Action, project, name string, prerelease bool) (access.Decision, error) {
	return access.Decision{Allowed: true, Grant: &sampleGrant, Steps: []access.Step{{Holder: "credential", Grant: &sampleGrant, Matched: true, Why: "role publisher has chart.push"}}},
		f.note(c, "CanI %q %s %q %q %v", account, action, project, name, prerelease)
}

func (f *fake) LogInfo(context.Context) (release.LogInfo, error) {
	return release.LogInfo{Origin: "keep.example/log", Size: 5, Root: "AAAA", Time: noon, VerifierKey: "keep.example/log+1+A", Checkpoint: sampleProof.Checkpoint}, f.note(release.Caller{}, "LogInfo")
}

func (f *fake) Leaf(_ context.Context, c release.Caller, index int64) ([]byte, error) {
	return []byte("chartkeep/release/v1\nproject <a>\n"), f.note(c, "Leaf %d", index)
}

func (f *fake) Rotations(context.Context) ([]release.Rotation, error) {
	return []release.Rotation{{LogIndex: 9, Old: "o", New: "n", Until: noon, Proof: []byte("p")}}, nil
}

func (f *fake) Witnesses(_ context.Context, c release.Caller) (release.Witnessing, error) {
	return release.Witnessing{Mode: "required", Quorum: "both", Size: 9, Published: 7, MetSize: 7, MetTime: noon, Witnesses: []release.Witnessed{
		{Name: "w1", Key: "w1.example", VerifierKey: "w1.example+1+B", URL: "https://w1.example", State: release.WitnessCosigned, WitnessState: release.WitnessState{Size: 9, Cosigned: noon, Asked: noon}},
		{Name: "w2", Key: "w2.example", VerifierKey: "w2.example+2+B", State: release.WitnessRefusing,
			WitnessState: release.WitnessState{Size: 12, Asked: noon, Failure: "it has cosigned 12 leaves", Since: noon, Refusal: release.RefusedAhead}},
	}}, f.note(c, "Witnesses")
}

func (f *fake) Consistency(_ context.Context, from, to int64) ([]tlog.Hash, error) {
	return []tlog.Hash{{1}, {2, 3}}, f.note(release.Caller{}, "Consistency %d %d", from, to)
}

func (f *fake) Audit(_ context.Context, c release.Caller, filter release.AuditFilter) ([]release.AuditRecord, error) {
	return []release.AuditRecord{sampleRecord}, f.note(c, "Audit %s", filterText(filter))
}

// overwrite is the most important refusal.
func overwrite() error {
	return problem.New(problem.Immutable, "overwrite", `release "nginx" 1.2.3 already exists and cannot be replaced`).
		With("stored", "%s, pushed 2026-03-02 12:00Z by ann, log index 3", sampleSum("a")).
		With("offered", "%s", sampleSum("b")).
		Suggest("helm package . --version 1.2.4").
		Because(fmt.Errorf("secret cause"))
}
