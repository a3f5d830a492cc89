package release_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// TestStaged releases into a project whose policy asks for provenance. Until
// it arrives nobody but those who may bring it sees anything, through any door.
func TestStaged(t *testing.T) {
	r := newRegistry(t)
	r.project("strict", release.ProjectOptions{Policy: release.Policy{RequireProvenance: true}})
	reader := r.robot("reader", access.Grant{Role: access.RoleReader, Project: "strict"})
	publisher := r.robot("ci", access.Grant{Role: access.RolePublisher, Project: "strict"})
	archive, rel := r.released("strict", "web", "1.0.0")
	oci := newOCIChart(t, "db", "1.0.0")
	res, err := r.putChart("strict/db", "1.0.0", oci)
	r.ok(err)
	if rel.State != release.Staged || res.Receipt.Release.State != release.Staged {
		t.Fatalf("states %s, %s", rel.State, res.Receipt.Release.State)
	}
	if seen := r.waysIn(reader); len(seen) > 0 {
		t.Errorf("a reader sees: %s", strings.Join(seen, ", "))
	}
	if got, err := r.served(publisher, "strict", "web-1.0.0.tgz"); err != nil || !bytes.Equal(got, archive) {
		t.Errorf("its publisher reads %d bytes, %v", len(got), err)
	}
	_, err = r.Yank(r.ctx, r.admin, "strict", "web", "1.0.0", "broken", "")
	r.refused(err, problem.Conflict, "staged")
	_, err = r.push("strict", charttest.Build(t, "web", "1.0.0", map[string]string{"a": "b"}), nil)
	r.refused(err, problem.Immutable, "overwrite")

	for name, archive := range map[string][]byte{"web": archive, "db": oci.archive} {
		receipt, err := r.AttachProvenance(r.ctx, publisher, "strict", provenance(name, "1.0.0", archive, 1))
		r.ok(err)
		r.proven(&receipt)
		if receipt.Release.State != release.Active {
			t.Errorf("%s is %s", name, receipt.Release.State)
		}
	}
	if seen := r.waysIn(reader); len(seen) != 13 {
		t.Errorf("a reader sees %d of 13 ways: %s", len(seen), strings.Join(seen, ", "))
	}
	if m, err := r.GetManifest(r.ctx, reader, "strict/db", "1.0.0"); err != nil || !bytes.Equal(m.Bytes, oci.doc.bytes()) {
		t.Errorf("manifest %s, %v", m.Bytes, err)
	}
	// With its provenance at once, a release is never staged; a policy that
	// comes later touches nothing.
	signed := charttest.Build(t, "signed", "1.0.0", nil)
	receipt, err := r.push("strict", signed, provenance("signed", "1.0.0", signed, 1))
	r.ok(err)
	if receipt.Release.State != release.Active {
		t.Errorf("signed is %s", receipt.Release.State)
	}
	_, rel = r.released("demo", "web", "1.0.0")
	_, err = r.SetProject(r.ctx, r.admin, "demo", release.ProjectChange{Policy: &release.Policy{RequireProvenance: true}})
	r.ok(err)
	detail, err := r.Release(r.ctx, r.admin, "demo", "web", "1.0.0")
	r.ok(err)
	if detail.Release.State != release.Active || detail.Release.Manifest != rel.Manifest {
		t.Errorf("the new policy made %+v", detail.Release)
	}
}

// waysIn lists through which ways a reader sees anything of project strict.
func (r *registry) waysIn(c release.Caller) []string {
	r.Helper()
	var seen []string
	look := func(what string, err error) {
		switch problem.KindOf(err) {
		case problem.NotFound:
		default:
			if err != nil {
				r.Fatalf("%s: %v", what, err)
			}
			seen = append(seen, what)
		}
	}
	_, _, err := r.OpenArchive(r.ctx, c, "strict", "web-1.0.0.tgz")
	look("archive", err)
	_, _, err = r.ProofFile(r.ctx, c, "strict", "web-1.0.0.tgz.tlog-proof")
	look("proof file", err)
	_, err = r.Proof(r.ctx, c, "strict", "web", "1.0.0")
	look("proof", err)
	for _, version := range []string{"1.0.0", "latest"} {
		_, err = r.Release(r.ctx, c, "strict", "web", version)
		look("release "+version, err)
	}
	_, err = r.Releases(r.ctx, c, "strict", "web")
	look("releases", err)
	for _, repo := range []string{"strict/web", "strict/db"} {
		_, err = r.GetManifest(r.ctx, c, repo, "1.0.0")
		look("tag of "+repo, err)
		tags, _, err := r.Tags(r.ctx, c, repo, "", 10)
		r.ok(err)
		if len(tags) > 0 {
			seen = append(seen, "tags of "+repo)
		}
	}
	if list, _, err := r.Charts(r.ctx, c, "strict", "", 10); err != nil || len(list) > 0 {
		seen = append(seen, "charts")
	}
	if len(r.index(c, "strict", false))+len(r.index(c, "strict", true)) > 0 {
		seen = append(seen, "index")
	}
	if names, _, err := r.Catalog(r.ctx, c, "", 10); err != nil || len(names) > 0 {
		seen = append(seen, "catalogue")
	}
	return seen
}

func TestImport(t *testing.T) {
	r := newRegistry(t)
	r.project("old", release.ProjectOptions{Importing: true})
	created := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	versions := []string{"v1.0.0", "1.0.0+a", "1.0.0+b", "1.1", "nightly", "2.0.0"}
	for _, version := range versions {
		archive := charttest.Build(t, "web", version, nil)
		for again := range 2 {
			receipt, err := r.take("web", version, release.ImportOrigin{URL: "https://charts.example.test", Created: created, Digest: sum(archive)})
			r.ok(err)
			r.proven(&receipt)
			if receipt.Unchanged != (again == 1) || !receipt.Release.Legacy {
				t.Fatalf("%s: %+v", version, receipt)
			}
		}
		got, err := r.served(r.admin, "old", chart.FileName("web", version))
		r.ok(err)
		if !bytes.Equal(got, archive) {
			t.Errorf("%s: other bytes are served", version)
		}
		m, err := r.GetManifest(r.ctx, r.admin, "old/web", chart.TagFor(version))
		r.ok(err)
		if m.Release == nil || m.Release.Version != version {
			t.Errorf("the tag of %s is that of %+v", version, m.Release)
		}
	}
	if ix := r.index(r.admin, "old", false); len(ix) != len(versions) {
		t.Errorf("index %v", ix)
	}
	_, err := r.ImportRelease(r.ctx, r.admin, "old", bytes.NewReader(charttest.Build(t, "web", "v1.0.0", map[string]string{"a": "b"})), nil, release.ImportOrigin{})
	r.refused(err, problem.Immutable, "overwrite")
	// No tag of something else can be where a later one of history would stand.
	body := document{SchemaVersion: 2, MediaType: manifestType, ArtifactType: "application/vnd.example", Layers: []part{}}.bytes()
	_, err = r.put("old/web", "weekly", body)
	r.refused(err, problem.Conflict, "project-importing")
	_, err = r.put("old/web", "sha256-"+strings.Repeat("a", 64)+".sig", body)
	r.ok(err)
	_, err = r.ImportRelease(r.ctx, r.admin, "demo", bytes.NewReader(nil), nil, release.ImportOrigin{})
	r.refused(err, problem.Conflict, "project-not-importing")
	publisher := r.robot("ci", access.Grant{Role: access.RolePublisher, Project: "old"})
	_, err = r.ImportRelease(r.ctx, publisher, "old", bytes.NewReader(nil), nil, release.ImportOrigin{})
	r.refused(err, problem.Denied, "access-denied")
	_, err = r.CutOver(r.ctx, publisher, "old")
	r.refused(err, problem.Denied, "access-denied")

	p, err := r.CutOver(r.ctx, r.admin, "old")
	r.ok(err)
	if p.State != release.ProjectActive || r.lastEvent().Name != audit.ProjectCutOver {
		t.Errorf("project %+v, event %s", p, r.lastEvent().Name)
	}
	_, err = r.CutOver(r.ctx, r.admin, "old")
	r.refused(err, problem.Conflict, "project-not-importing")
	_, err = r.take("web", "v9.0.0", release.ImportOrigin{})
	r.refused(err, problem.Conflict, "project-not-importing")
	_, err = r.push("old", charttest.Build(t, "web", "1.0.0", nil), nil)
	r.refused(err, problem.Immutable, "build-metadata")
	_, err = r.push("old", charttest.Build(t, "web", "1.1.0", nil), nil) // 1.1 to Helm
	r.refused(err, problem.Immutable, "build-metadata")
	_, rel := r.released("old", "web", "3.0.0")
	if rel.Legacy {
		t.Error("a new release is legacy")
	}
	list, err := r.Releases(r.ctx, r.admin, "old", "web")
	r.ok(err)
	legacy := 0
	for _, rel := range list {
		if rel.Legacy {
			legacy++
		}
	}
	if len(list) != len(versions)+1 || legacy != len(versions) {
		t.Errorf("%d releases, %d legacy", len(list), legacy)
	}
	_, err = r.put("old/web", "weekly", body)
	r.ok(err)
}

// take imports a chart into project old.
func (r *registry) take(name, version string, from release.ImportOrigin) (release.Receipt, error) {
	return r.ImportRelease(r.ctx, through(r.admin, audit.DoorImport), "old", bytes.NewReader(charttest.Build(r, name, version, nil)), nil, from)
}

func TestImportRefusals(t *testing.T) {
	r := newRegistry(t)
	r.project("old", release.ProjectOptions{Importing: true})
	_, err := r.take("web", "1.0.0+a", release.ImportOrigin{})
	r.ok(err)
	for _, c := range []struct {
		name, version string
		from          release.ImportOrigin
		kind          problem.Kind
		rule          string
	}{
		{"web", "3.0.0", release.ImportOrigin{Digest: sum([]byte("x"))}, problem.Disproven, "import-digest"},
		{"Web", "3.0.0", release.ImportOrigin{}, problem.Invalid, "chart-name-case"},
		{"web", "3.0 .0", release.ImportOrigin{}, problem.Invalid, "chart-version"},
		{"web", "1.0.0_a", release.ImportOrigin{}, problem.Invalid, "import-version"}, // the tag of 1.0.0+a
		{"web", "sha256-" + strings.Repeat("a", 64), release.ImportOrigin{}, problem.Invalid, "import-version"},
		{"web", strings.Repeat("9", 129), release.ImportOrigin{}, problem.Invalid, "import-version"},
	} {
		_, err := r.take(c.name, c.version, c.from)
		if p, ok := problem.As(err); !ok || p.Kind != c.kind || p.Rule != c.rule {
			t.Errorf("%s %s: %v (rule %q)", c.name, c.version, err, ruleOf(err))
		}
	}
}

func TestYank(t *testing.T) {
	r := newRegistry(t)
	archive, _ := r.released("demo", "web", "1.0.0")
	r.released("demo", "web", "1.1.0")
	publisher := r.robot("ci", access.Grant{Role: access.RolePublisher, Project: "demo"})
	_, err := r.Yank(r.ctx, publisher, "demo", "web", "1.1.0", "broken", "")
	r.refused(err, problem.Denied, "access-denied")
	for text, kind := range map[string]problem.Kind{strings.Repeat("x", 1001): problem.TooLarge, "a\x00b": problem.Invalid, "\xff": problem.Invalid, "\x1b[2J": problem.Invalid} {
		_, err = r.Yank(r.ctx, r.admin, "demo", "web", "1.1.0", "broken", text)
		r.refused(err, kind, "reason")
	}
	_, err = r.Yank(r.ctx, r.admin, "demo", "web", "1.1.0", "because", "")
	r.refused(err, problem.Invalid, "yank-reason")
	_, err = r.Yank(r.ctx, r.admin, "demo", "web", "9.9.9", "broken", "")
	r.refused(err, problem.NotFound, "release")
	view, err := r.Index(r.ctx, r.admin, "demo", false)
	r.ok(err)
	rel, err := r.Yank(r.ctx, r.admin, "demo", "web", "1.1.0", "broken", "it does not start\nat all")
	r.ok(err)
	if rel.Yank == nil || rel.Yank.Reason != "broken" || rel.Yank.ByName != "admin" || rel.State != release.Yanked {
		t.Errorf("yanked %+v", rel)
	}
	after, err := r.Index(r.ctx, r.admin, "demo", false)
	r.ok(err)
	if after.Etag == view.Etag {
		t.Error("the ETag of the index stayed")
	}
	if ix, all := r.index(r.admin, "demo", false), r.index(r.admin, "demo", true); len(ix) != 1 || len(all) != 2 {
		t.Errorf("index %v, whole index %v", ix, all)
	}
	latest, err := r.Release(r.ctx, r.admin, "demo", "web", "latest")
	r.ok(err)
	if latest.Release.Version != "1.0.0" {
		t.Errorf("latest is %s", latest.Release.Version)
	}
	detail, err := r.Release(r.ctx, r.admin, "demo", "web", "1.1.0")
	r.ok(err)
	if y := detail.Release.Yank; y == nil || y.ByName != "admin" || !strings.Contains(y.Text, "at all") {
		t.Errorf("note %+v", y)
	}
	tags, _, err := r.Tags(r.ctx, r.admin, "demo/web", "", 10)
	r.ok(err)
	if strings.Join(tags, " ") != "1.0.0" {
		t.Errorf("tags %v", tags)
	}
	m, err := r.GetManifest(r.ctx, r.admin, "demo/web", "1.1.0") // exactly, it is served
	r.ok(err)
	if m.Release == nil || m.Release.Yank == nil {
		t.Errorf("the manifest does not say that it is yanked: %+v", m.Release)
	}
	if _, err := r.served(r.admin, "demo", "web-1.1.0.tgz"); err != nil {
		t.Error(err)
	}
	_, err = r.push("demo", charttest.Build(t, "web", "1.1.0", map[string]string{"a": "b"}), nil)
	r.refused(err, problem.Immutable, "overwrite")
	_, err = r.Unyank(r.ctx, r.admin, "demo", "web", "1.1.0", "it was not")
	r.ok(err)
	_, err = r.Unyank(r.ctx, r.admin, "demo", "web", "1.1.0", "")
	r.refused(err, problem.Conflict, "not-yanked")
	if ix := r.index(r.admin, "demo", false); len(ix) != 2 {
		t.Errorf("index %v", ix)
	}
	if got, err := r.served(r.admin, "demo", "web-1.0.0.tgz"); err != nil || !bytes.Equal(got, archive) {
		t.Errorf("other bytes are served: %v", err)
	}
	r.refused(r.RefuseDelete(r.ctx, r.admin, "demo", "web", "1.0.0"), problem.Unsupported, "delete")
	if r.lastEvent().Name != audit.DeleteRefused {
		t.Errorf("event %s", r.lastEvent().Name)
	}
}

func TestProjects(t *testing.T) {
	r := newRegistry(t)
	for name, rule := range map[string]string{
		"": "project-name", "A": "project-name", "a//b": "project-name", "/a": "project-name", "a/": "project-name", "a b": "project-name", "a..b": "project-name",
		"-a": "project-name", "a-": "project-name", strings.Repeat("a", 121): "project-name", strings.Repeat("a/", 8) + "a": "project-name", "a\x00": "project-name",
		"api": "project-name-reserved", "a/charts": "project-name-reserved", "v2": "project-name-reserved", "log/x": "project-name-reserved", "ui": "project-name-reserved",
		"index.yaml": "project-name-reserved", "a/all/b": "project-name-reserved",
	} {
		_, err := r.CreateProject(r.ctx, r.admin, name, release.ProjectOptions{})
		r.refused(err, problem.Invalid, rule)
	}
	for _, opt := range []release.ProjectOptions{{Kind: "other"}, {Kind: release.KindArtifacts, Importing: true}} {
		if _, err := r.CreateProject(r.ctx, r.admin, "x", opt); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%+v: %v", opt, err)
		}
	}
	for _, name := range []string{"demo", "demo/x"} {
		_, err := r.CreateProject(r.ctx, r.admin, name, release.ProjectOptions{})
		r.refused(err, problem.Conflict, "project-exists")
	}
	owner := r.robot("owner", access.Grant{Role: access.RoleProjectOwner, Project: "demo"})
	_, err := r.CreateProject(r.ctx, owner, "mine", release.ProjectOptions{})
	r.refused(err, problem.Denied, "access-denied")
	_, err = r.SetProject(r.ctx, anybody, "demo", release.ProjectChange{})
	r.refused(err, problem.Unauthenticated, "sign-in-required")

	archive, _ := r.released("demo", "web", "1.0.0")
	if _, err := r.served(anybody, "demo", "web-1.0.0.tgz"); problem.KindOf(err) != problem.Unauthenticated {
		t.Errorf("anybody reads a private chart: %v", err)
	}
	public := true
	_, err = r.SetProject(r.ctx, owner, "demo", release.ProjectChange{Public: &public})
	r.ok(err)
	if got, err := r.served(anybody, "demo", "web-1.0.0.tgz"); err != nil || !bytes.Equal(got, archive) {
		t.Errorf("a public chart: %v", err)
	}
	list, err := r.Projects(r.ctx, anybody)
	r.ok(err)
	if len(list) != 1 || list[0].Name != "demo" {
		t.Errorf("anybody sees %v", list)
	}
	p, rest, err := r.FindProject(r.ctx, anybody, "demo/web/x")
	r.ok(err)
	if p.Name != "demo" || rest != "web/x" {
		t.Errorf("found %s, rest %q", p.Name, rest)
	}

	r.refused(r.RemoveProject(r.ctx, r.admin, "demo", ""), problem.Invalid, "reason")
	r.refused(r.RemoveProject(r.ctx, r.admin, "demo", "a\x00"), problem.Invalid, "reason")
	r.refused(r.RemoveProject(r.ctx, owner, "demo", "over"), problem.Denied, "access-denied")
	r.ok(r.RemoveProject(r.ctx, r.admin, "demo", "it is over"))
	r.refused(r.RemoveProject(r.ctx, r.admin, "demo", "again"), problem.Conflict, "project-removed")
	if ev := r.lastEvent(); ev.Name != audit.ProjectRemoved || ev.Reason != "it is over" {
		t.Errorf("event %+v", ev)
	}
	for what, err := range map[string]error{
		"archive":  func() error { _, err := r.served(r.admin, "demo", "web-1.0.0.tgz"); return err }(),
		"manifest": func() error { _, err := r.GetManifest(r.ctx, r.admin, "demo/web", "1.0.0"); return err }(),
		"blob":     func() error { _, err := r.OpenBlob(r.ctx, r.admin, "demo/web", sum(archive)); return err }(),
		"push":     func() error { _, err := r.push("demo", archive, nil); return err }(),
		"set":      func() error { _, err := r.SetProject(r.ctx, r.admin, "demo", release.ProjectChange{}); return err }(),
	} {
		if problem.KindOf(err) != problem.Gone {
			t.Errorf("%s of a removed project: %v", what, err)
		}
	}
	if _, err := r.served(anybody, "demo", "web-1.0.0.tgz"); problem.KindOf(err) != problem.Unauthenticated {
		t.Errorf("anybody is told of a removed project: %v", err)
	}
	for _, name := range []string{"demo", "demo/x"} {
		_, err := r.CreateProject(r.ctx, r.admin, name, release.ProjectOptions{})
		r.refused(err, problem.Conflict, "project-exists")
	}
	leaf, err := r.Leaf(r.ctx, r.admin, 1) // the log does not forget
	r.ok(err)
	if !bytes.Contains(leaf, []byte(sum(archive))) {
		t.Errorf("leaf %s", leaf)
	}
}
