package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	sumdb "golang.org/x/mod/sumdb/tlog"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

var now = time.Date(2026, 11, 21, 21, 40, 0, 0, time.UTC)

// The people of the fake.
var (
	nobody     = release.Caller{Principal: access.Anonymous()}
	maintainer = callerOf("ops-lead", access.Grant{ID: "grn-1", Role: access.RoleMaintainer, Project: "platform"}, access.Grant{ID: "grn-2", Role: access.RoleAuditor, Project: "*"})
	reader     = callerOf("shop-dev", access.Grant{ID: "grn-3", Role: access.RoleReader, Project: "platform", Expires: now.Add(-time.Hour)}, access.Grant{ID: "grn-4", Role: access.RolePublisher, Project: "team-a/web", Chart: "front*", Versions: access.PrereleaseOnly, Expires: now.Add(32 * time.Hour)})
	admin      = callerOf("admin", access.Grant{ID: "grn-5", Role: access.RoleInstanceAdmin, Project: "*"})
)

func callerOf(name string, grants ...access.Grant) release.Caller {
	return release.Caller{Principal: access.Principal{ID: "usr-" + name, Name: name, Kind: access.KindUser, Grants: grants, Expires: now.Add(8 * time.Hour)}, RequestID: "01JD8Q6Y2M7T"}
}

// fakeService is a registry in memory with a real log.
type fakeService struct {
	projects []release.Project
	releases []*release.Detail // newest first within a chart
	events   []release.AuditRecord
	leaves   [][]byte
	hashes   []sumdb.Hash
	origin   string
	signer   note.Signer
	vkey     string
	fault    error // what LogInfo and Projects answer
	proofErr error // what Proof answers
	yanks    []string
	watching *fakeWatch // nil: nothing is watched by this server
	judging  *fakeJudge // nil: nothing is judged
	door     *Door      // of the last request
	evidence fakeEvidence
	protect  fakeProtect
}

func digestOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func newFake(t testing.TB) *fakeService {
	t.Helper()
	f := &fakeService{origin: "keep.example/log"}
	skey, vkey, err := tlog.GenerateKey(strings.NewReader(strings.Repeat("fixed randomness of the test key", 8)), f.origin)
	if err != nil {
		t.Fatal(err)
	}
	f.vkey = vkey
	if f.signer, err = tlog.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	return f
}

// newSample is a fake with a bit of everything.
func newSample(t testing.TB) *fakeService {
	t.Helper()
	f := newFake(t)
	day := 24 * time.Hour
	for i, p := range []release.Project{
		{Name: "platform", Kind: release.KindCharts, Public: true, State: release.ProjectActive},
		{Name: "team-a/web", Kind: release.KindCharts, State: release.ProjectActive, Policy: release.Policy{RequireProvenance: true}},
		{Name: "legacy", Kind: release.KindCharts, Public: true, State: release.ProjectImporting},
		{Name: "images", Kind: release.KindArtifacts, Public: true, State: release.ProjectActive},
		{Name: "empty", Kind: release.KindCharts, Public: true, State: release.ProjectActive},
		{Name: "gone", Kind: release.KindCharts, State: release.ProjectRemoved},
	} {
		p.Created, p.Changed, p.PolicyDigest, p.CreatedBy = now.Add(-300*day), now.Add(-time.Duration(i)*5*time.Hour), digestOf("policy"), "usr-admin"
		f.projects = append(f.projects, p)
		f.append(t, tlog.Project{Action: tlog.ProjectCreated, Name: p.Name, Kind: string(p.Kind), Visibility: visibility(p.Public), State: string(p.State), Policy: p.PolicyDigest, Actor: tlog.Identity{Issuer: f.origin, Subject: "usr-admin"}, Time: p.Created})
	}
	airflow := chart.Metadata{
		Description: "Airflow Helm Chart (User Community) - the standard way to deploy Apache Airflow on Kubernetes with Helm", AppVersion: "2.8.4", APIVersion: "v2",
		Home: "https://github.com/airflow-helm/charts", Sources: []string{"https://github.com/apache/airflow", "javascript:alert(1)"}, KubeVersion: ">=1.20.0-0", Keywords: []string{"airflow", "dag", "workflow"},
		Maintainers:  []chart.Maintainer{{Name: "thesuperzapper", Email: "m@example.org", URL: "https://example.org/m"}, {Name: "gsemet"}},
		Dependencies: []chart.Dependency{{Name: "postgresql", Version: "8.6.4", Repository: "https://charts.example/stable", Condition: "postgresql.enabled"}, {Name: "redis", Version: "10.5.7", Repository: "https://charts.example/stable", Condition: "redis.enabled"}},
		Annotations:  map[string]string{"artifacthub.io/license": "Apache-2.0", "artifacthub.io/changes": "- kind: fixed\n  description: a pod that restarts\n", "artifacthub.io/links": "<script>alert(1)</script>"},
	}
	for i, v := range []string{"8.6.1", "8.7.0", "8.7.1", "8.8.0", "8.9.0-rc.1", "8.9.0"} {
		f.release(t, "platform", "airflow", v, airflow, now.Add(-time.Duration(60-i*10)*day))
	}
	web := chart.Metadata{Description: "Shop front end", AppVersion: "1.4"}
	for i, v := range []string{"1.4.0", "1.4.1", "1.4.2"} {
		f.release(t, "platform", "web", v, web, now.Add(-time.Duration(5-i)*day))
	}
	yanked := f.find("platform", "web", "1.4.0")
	yanked.Release.State = release.Yanked
	yanked.Release.Yank = &release.YankNote{Reason: "broken", Text: "memory leak in the sidecar", By: "usr-ops-lead", ByName: "ops-lead", Time: now.Add(-7 * time.Hour), LogIndex: int64(len(f.leaves))}
	f.append(t, tlog.Yank{Index: yanked.Release.LogIndex, Project: "platform", Chart: "web", Version: "1.4.0", Reason: "broken", Text: "memory leak in the sidecar", Publisher: tlog.Identity{Issuer: f.origin, Subject: "usr-ops-lead"}, Time: now.Add(-7 * time.Hour)})
	f.release(t, "team-a/web", "front-end-with-a-rather-long-name", "0.1.0", chart.Metadata{}, now.Add(-6*time.Hour))
	f.releases[0].Release.State = release.Staged
	f.release(t, "legacy", "old", "v1.0", chart.Metadata{Description: "An old chart"}, now.Add(-5*time.Hour))
	f.releases[0].Release.Legacy = true
	f.append(t, tlog.Audit{Origin: "keep.example/audit", Size: 8846, Time: now.Add(-time.Hour)})
	f.sampleEvents()
	f.sampleWatch(t)
	f.sampleJudging(t)
	f.sampleEvidence()
	f.sampleProtect()
	return f
}

func visibility(public bool) string {
	if public {
		return "public"
	}
	return "private"
}

func (f *fakeService) sampleEvents() {
	add := func(ago time.Duration, name audit.Name, by string, res audit.Resource, result audit.Result, change func(*audit.Event)) {
		e := audit.Event{ID: "01JD8Q6Y2M7T0000000000000" + fmt.Sprint(len(f.events)%10), Time: now.Add(-ago), Name: name, Actor: audit.Actor{Kind: access.KindToken, ID: "usr-" + by}, Resource: res, Outcome: audit.Outcome{Result: result}, Door: audit.DoorChartMuseum, RequestID: "01JD8Q6Y2M7T"}
		if change != nil {
			change(&e)
		}
		f.events = append(f.events, release.AuditRecord{Index: int64(8800 + len(f.events)), Event: e, Actor: by})
	}
	web := audit.Resource{Project: "platform", Chart: "web", Version: "1.4.2"}
	add(12*time.Hour, audit.ProjectCreated, "admin", audit.Resource{Project: "team-a/web"}, audit.Allowed, nil)
	add(9*time.Hour, audit.ReleaseAccepted, "ci-platform", audit.Resource{Project: "platform", Chart: "airflow", Version: "8.9.0"}, audit.Allowed, func(e *audit.Event) { e.Door = audit.DoorOCI })
	add(7*time.Hour, audit.ReleaseYanked, "ops-lead", audit.Resource{Project: "platform", Chart: "web", Version: "1.4.0"}, audit.Allowed, func(e *audit.Event) { e.Reason = "memory leak in the sidecar" })
	add(6*time.Hour, audit.RefusedVersion, "ci-web", audit.Resource{Project: "platform", Chart: "web", Version: "v1.5"}, audit.Denied, func(e *audit.Event) { e.Outcome.Rule = "chart-version" })
	add(5*time.Hour, audit.DeleteRefused, "shop-dev", web, audit.Denied, nil)
	add(4*time.Hour, audit.RefusedOverwrite, "ci-web", web, audit.Denied, func(e *audit.Event) {
		e.Before, e.After = f.find("platform", "web", "1.4.2").Release.Archive, digestOf("another archive")
		e.Outcome.Rule, e.Action = "overwrite", access.ChartPush
		e.Source = audit.Source{IP: "10.4.0.18", UserAgent: "Helm/3.18"}
		e.Detail = map[string]string{"force": "ignored", "released": "platform/web@1.4.2", "file-01": "changed templates/deploy.yaml", "file-02": "added values-debug.yaml"}
	})
	add(3*time.Hour, audit.LoginFailed, "ops-lead", audit.Resource{}, audit.Denied, nil)
	add(2*time.Hour, audit.LoginOK, "ops-lead", audit.Resource{}, audit.Allowed, func(e *audit.Event) { e.Door = audit.DoorWeb; e.Actor.Kind = access.KindUser })
	add(time.Hour, audit.IntegrityMismatch, "", audit.Resource{Project: "platform", Chart: "airflow", Version: "8.6.1"}, audit.Failed, func(e *audit.Event) { e.Actor = audit.Actor{Kind: access.KindSystem}; e.Door = audit.DoorServer })
	held := f.find("platform", "airflow", "8.9.0").Release
	airflow := audit.Resource{Project: "platform", Chart: "airflow", Version: "8.9.0"}
	add(40*time.Minute, audit.ProvRefused, "ci-platform", airflow, audit.Denied, func(e *audit.Event) {
		e.Before, e.After = held.Provenance, digestOf("other signature")
	})
	add(30*time.Minute, audit.RefusedBuildMetadata, "ci-platform", audit.Resource{Project: "platform", Chart: "airflow", Version: "8.9.0+2"}, audit.Denied, func(e *audit.Event) {
		e.Before, e.After, e.Detail = held.Archive, digestOf("+2"), map[string]string{"released": held.Ref(), "more": "3"}
	})
	add(20*time.Minute, audit.RefusedRepackaged, "ci-platform", airflow, audit.Denied, func(e *audit.Event) {
		e.Before, e.After, e.Detail = held.Archive, held.Archive, map[string]string{"released": held.Ref()}
	})
}

// release adds a release with its leaf.
func (f *fakeService) release(t testing.TB, project, name, version string, m chart.Metadata, at time.Time) {
	t.Helper()
	m.Name, m.Version = name, version
	ref := project + "/" + name + "@" + version
	rel := release.Release{
		Project: project, Chart: name, Version: version, File: chart.FileName(name, version), Tag: chart.TagFor(version),
		Archive: digestOf(ref), Size: 133662, Content: digestOf("content" + ref), Manifest: digestOf("manifest" + ref), Config: digestOf("config" + ref),
		Publisher: "usr-ci-platform", By: "ci-platform", Door: "oci", Time: at, LogIndex: int64(len(f.leaves)), State: release.Active,
	}
	if name == "airflow" {
		rel.Provenance = digestOf("prov" + ref)
	}
	f.releases = append([]*release.Detail{{Release: rel, Metadata: m}}, f.releases...)
	f.append(t, tlog.Release{
		Project: project, Chart: name, Version: version, Archive: rel.Archive, Size: rel.Size, Content: rel.Content, Provenance: rel.Provenance,
		Manifest: rel.Manifest, Config: rel.Config, Publisher: tlog.Identity{Issuer: f.origin, Subject: "usr-ci-platform"}, Policy: digestOf("policy"), Time: at,
	})
}

func (f *fakeService) append(t testing.TB, leaf tlog.Leaf) {
	t.Helper()
	text, err := leaf.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	stored, err := sumdb.StoredHashes(int64(len(f.leaves)), text, f)
	if err != nil {
		t.Fatal(err)
	}
	f.leaves, f.hashes = append(f.leaves, text), append(f.hashes, stored...)
}

// ReadHashes implements sumdb.HashReader.
func (f *fakeService) ReadHashes(indexes []int64) ([]sumdb.Hash, error) {
	out := make([]sumdb.Hash, len(indexes))
	for i, n := range indexes {
		out[i] = f.hashes[n]
	}
	return out, nil
}

func (f *fakeService) find(project, name, version string) *release.Detail {
	for _, d := range f.releases {
		if d.Release.Project == project && d.Release.Chart == name && d.Release.Version == version {
			return d
		}
	}
	return nil
}

func (f *fakeService) Authenticate(_ context.Context, secret string) (access.Principal, error) {
	if secret == "ckt_right" {
		return maintainer.Principal, nil
	}
	return access.Principal{}, problem.New(problem.Unauthenticated, "credential", "this token is not valid")
}

func (f *fakeService) Login(_ context.Context, name, password string) (access.Principal, error) {
	if name == "admin" && password == "right" {
		return admin.Principal, nil
	}
	return access.Principal{}, problem.New(problem.Unauthenticated, "login", "the account and the password do not belong together")
}

func (f *fakeService) MintSession(_ context.Context, c release.Caller) (string, time.Time, error) {
	return "session-of-" + c.Principal.Name, now.Add(12 * time.Hour), nil
}

func (f *fakeService) CanI(_ context.Context, c release.Caller, _ string, action access.Action, project, name string, pre bool) (access.Decision, error) {
	req := access.Request{Action: action, Project: project, Chart: name, Prerelease: pre}
	if p, err := f.project(project); err == nil {
		req.ProjectPublic = p.Public
	}
	return access.Decide(c.Principal, req, now), nil
}

func (f *fakeService) project(name string) (release.Project, error) {
	for _, p := range f.projects {
		if p.Name == name {
			return p, nil
		}
	}
	return release.Project{}, problem.New(problem.NotFound, "project", "there is no project %s", name).Suggest("chartkeep project list")
}

func (f *fakeService) Projects(_ context.Context, c release.Caller) ([]release.Project, error) {
	if f.fault != nil {
		return nil, f.fault
	}
	var out []release.Project
	for _, p := range f.projects {
		if access.Allowed(c.Principal, access.Request{Action: access.ChartPull, Project: p.Name, ProjectPublic: p.Public}, now) {
			out = append(out, p)
		}
	}
	return out, nil
}

func (f *fakeService) Project(_ context.Context, c release.Caller, name string) (release.Project, error) {
	p, err := f.project(name)
	req := access.Request{Action: access.ChartPull, Project: name, ProjectPublic: err == nil && p.Public}
	if !access.Allowed(c.Principal, req, now) {
		return p, access.Refuse(c.Principal, req, now)
	}
	return p, err
}

func (f *fakeService) Charts(ctx context.Context, c release.Caller, project, after string, limit int) ([]release.ChartSummary, bool, error) {
	if _, err := f.Project(ctx, c, project); err != nil {
		return nil, false, err
	}
	var out []release.ChartSummary
	seen := map[string]int{}
	for _, d := range f.releases {
		r := d.Release
		if r.Project != project || r.Chart <= after {
			continue
		}
		i, ok := seen[r.Chart]
		if !ok {
			if len(out) == limit {
				return out, true, nil
			}
			i = len(out)
			seen[r.Chart] = i
			out = append(out, release.ChartSummary{Name: r.Chart, Latest: r, Updated: r.Time, Description: d.Metadata.Description})
		}
		out[i].Releases++
	}
	return out, false, nil
}

func (f *fakeService) Releases(ctx context.Context, c release.Caller, project, name string) ([]release.Release, error) {
	if _, err := f.Project(ctx, c, project); err != nil {
		return nil, err
	}
	var out []release.Release
	for _, d := range f.releases {
		if d.Release.Project == project && d.Release.Chart == name {
			out = append(out, d.Release)
		}
	}
	if out == nil {
		return nil, problem.New(problem.NotFound, "chart", "project %s has no chart %s", project, name)
	}
	return out, nil
}

func (f *fakeService) Release(ctx context.Context, c release.Caller, project, name, version string) (release.Detail, error) {
	if _, err := f.Project(ctx, c, project); err != nil {
		return release.Detail{}, err
	}
	if d := f.find(project, name, version); d != nil {
		return *d, nil
	}
	return release.Detail{}, problem.New(problem.NotFound, "release", "project %s has no release %s %s", project, name, version)
}

func (f *fakeService) ArchiveFiles(ctx context.Context, c release.Caller, project, name, version string, names ...string) (map[string][]byte, error) {
	if _, err := f.Release(ctx, c, project, name, version); err != nil || name != "airflow" {
		return nil, err
	}
	if version == "8.6.1" {
		return nil, problem.New(problem.Unavailable, "blob", "the archive cannot be read")
	}
	all := map[string]string{"README.md": "# Airflow\n<script>alert(1)</script>\r\n\x1b[2J\u202e\xff\uffff", "values.yaml": "executor: \"Celery\"\n", "secret.txt": "not asked for"}
	out := map[string][]byte{}
	for _, n := range names {
		if text, ok := all[n]; ok {
			out[n] = []byte(text)
		}
	}
	return out, nil
}

func (f *fakeService) Proof(ctx context.Context, c release.Caller, project, name, version string) (tlog.Proof, error) {
	if f.proofErr != nil {
		return tlog.Proof{}, f.proofErr
	}
	d, err := f.Release(ctx, c, project, name, version)
	if err != nil {
		return tlog.Proof{}, err
	}
	return f.prove(d.Release.LogIndex)
}

func (f *fakeService) prove(index int64) (tlog.Proof, error) {
	if index >= int64(len(f.leaves)) {
		return tlog.Proof{}, problem.New(problem.NotFound, "leaf", "the log has no entry %d", index)
	}
	path, err := sumdb.ProveRecord(int64(len(f.leaves)), index, f)
	info, _ := f.LogInfo(context.Background())
	return tlog.Proof{Index: index, Leaf: f.leaves[index], Hashes: path, Checkpoint: info.Checkpoint}, err
}

func (f *fakeService) ProveLeaf(_ context.Context, c release.Caller, index int64) (tlog.Proof, error) {
	if f.hidden(c, index) {
		return tlog.Proof{}, access.Refuse(c.Principal, access.Request{Action: access.LogRead}, now)
	}
	return f.prove(index)
}

// hidden says that an entry is about a private project that the caller may
// not read.
func (f *fakeService) hidden(c release.Caller, index int64) bool {
	return index < int64(len(f.leaves)) && bytes.Contains(f.leaves[index], []byte("team-a/web")) &&
		!access.Allowed(c.Principal, access.Request{Action: access.ChartPull, Project: "team-a/web"}, now)
}

func (f *fakeService) LatestLeaves(_ context.Context, c release.Caller, before int64, limit int) (int64, [][]byte, error) {
	if before == 0 {
		before = int64(len(f.leaves))
	}
	var out [][]byte
	for i := before - 1; i >= 0 && len(out) < limit; i-- {
		if f.hidden(c, i) {
			out = append(out, nil)
		} else {
			out = append(out, f.leaves[i])
		}
	}
	return before - 1, out, nil
}

func (f *fakeService) LogInfo(context.Context) (release.LogInfo, error) {
	if f.fault != nil {
		return release.LogInfo{}, f.fault
	}
	size := int64(len(f.leaves))
	root := tlog.EmptyRoot()
	if size > 0 {
		var err error
		if root, err = sumdb.TreeHash(size, f); err != nil {
			return release.LogInfo{}, err
		}
	}
	cp, err := tlog.SignCheckpoint(f.origin, size, root, f.signer)
	return release.LogInfo{
		Origin: f.origin, Size: size, Root: base64.StdEncoding.EncodeToString(root[:]), Time: now.Add(-time.Minute), VerifierKey: f.vkey, Checkpoint: cp,
	}, err
}

func (f *fakeService) Yank(_ context.Context, c release.Caller, project, name, version, reason, text string) (release.Release, error) {
	req := access.Request{Action: access.ChartYank, Project: project, Chart: name}
	if !access.Allowed(c.Principal, req, now) {
		return release.Release{}, access.Refuse(c.Principal, req, now)
	}
	f.yanks = append(f.yanks, project+"/"+name+"@"+version+" "+reason+" "+text)
	return release.Release{}, nil
}

func (f *fakeService) Unyank(_ context.Context, c release.Caller, project, name, version, text string) (release.Release, error) {
	f.yanks = append(f.yanks, project+"/"+name+"@"+version+" back "+text)
	return release.Release{}, nil
}

func (f *fakeService) Audit(_ context.Context, c release.Caller, filter release.AuditFilter) ([]release.AuditRecord, error) {
	p, _ := f.project(filter.Project)
	req := access.Request{Action: access.AuditRead, Project: filter.Project, ProjectPublic: p.Public}
	if !access.Allowed(c.Principal, req, now) {
		return nil, access.Refuse(c.Principal, req, now)
	}
	if filter.Action == "policy." {
		return f.policyChanges(filter), nil
	}
	var out []release.AuditRecord
	for i := len(f.events) - 1; i >= 0 && len(out) < filter.Limit; i-- {
		rec := f.events[i]
		name := string(rec.Event.Name)
		fits := func(want, have string) bool { return want == "" || want == have }
		if fits(filter.Project, rec.Event.Resource.Project) && fits(filter.Chart, rec.Event.Resource.Chart) && fits(filter.Actor, rec.Actor) &&
			fits(filter.Outcome, string(rec.Event.Outcome.Result)) && fits(filter.Rule, rec.Event.Outcome.Rule) && fits(filter.Source, rec.Event.Source.IP) &&
			!rec.Event.Time.Before(filter.Since) && (filter.Until.IsZero() || rec.Event.Time.Before(filter.Until)) && (filter.Before == 0 || rec.Index < filter.Before) &&
			(filter.Action == "" || filter.Action == name || strings.HasSuffix(filter.Action, ".") && strings.HasPrefix(name, filter.Action)) {
			out = append(out, rec)
		}
	}
	return out, nil
}
