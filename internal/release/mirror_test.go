package release_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/index"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

var mirrorOptions = release.ProjectOptions{Public: true, Policy: release.Policy{Mirror: "up"}}

// origin says that an upstream lists an archive.
func origin(version string, archive []byte) release.MirrorOrigin {
	return release.MirrorOrigin{
		Upstream: "up", URL: "https://charts.example.test/web-" + version + ".tgz", Chart: "web", Version: version, Digest: digest.SHA256(archive),
		Created: time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC), FirstSeen: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC),
	}
}

func (r *registry) mirror(archive []byte, from release.MirrorOrigin) (release.Receipt, error) {
	return r.Mirror(r.ctx, "mirror", bytes.NewReader(archive), from)
}

func TestMirrorIsAClaim(t *testing.T) {
	r := newRegistry(t)
	r.project("mirror", mirrorOptions)
	archive := charttest.Build(t, "web", "v1.0", nil) // Helm reads it, and it is not strict
	receipt, err := r.mirror(archive, origin("v1.0", archive))
	r.ok(err)
	r.proven(&receipt)
	rel := receipt.Release
	if !rel.Legacy || rel.Door != string(audit.DoorMirror) || rel.Publisher != "mirror" || rel.Archive != digest.SHA256(archive) {
		t.Fatalf("%+v", rel)
	}
	raw, err := r.store.Leaf(r.ctx, rel.LogIndex)
	r.ok(err)
	leaf, err := tlog.ParseLeaf(raw)
	r.ok(err)
	l, ok := leaf.(tlog.Legacy)
	if !ok || l.Origin != "https://charts.example.test/web-v1.0.tgz" || l.SeenDigest != rel.Archive || l.SeenCreated.Year() != 2020 || l.Publisher.Subject != "mirror" {
		t.Fatalf("%+v", leaf)
	}
	// Clients take the time of creation for the age: it is when it was seen.
	if text := r.indexText("mirror"); !strings.Contains(text, `"created":"2026-05-01T00:00:00Z"`) {
		t.Fatalf("%s", text)
	}
	_, b, err := r.OpenArchive(r.ctx, anybody, "mirror", "web-v1.0.tgz")
	r.ok(err)
	b.Close()
	if _, err := r.GetManifest(r.ctx, anybody, "mirror/web", "v1.0"); err != nil {
		t.Fatal(err)
	}
}

func (r *registry) indexText(project string) string {
	r.Helper()
	view, err := r.Index(r.ctx, r.admin, project, false)
	r.ok(err)
	x, err := view.Snapshot()
	r.ok(err)
	var out bytes.Buffer
	r.ok(x.WriteRaw(&out, index.Head{}))
	return out.String()
}

func TestMirrorAgain(t *testing.T) {
	r := newRegistry(t)
	r.project("mirror", mirrorOptions)
	archive := charttest.Build(t, "web", "1.0.0", nil)
	first, err := r.mirror(archive, origin("1.0.0", archive))
	r.ok(err)
	// The same again is not even read.
	again, err := r.Mirror(r.ctx, "mirror", broken{}, origin("1.0.0", archive))
	r.ok(err)
	if !again.Unchanged || again.Release.LogIndex != first.Release.LogIndex {
		t.Fatalf("%+v", again)
	}
	other := charttest.Build(t, "web", "1.0.0", map[string]string{"x": "y"})
	_, err = r.mirror(other, origin("1.0.0", other))
	p := r.refused(err, problem.Immutable, "overwrite")
	if text := p.Error(); !strings.Contains(text, digest.SHA256(archive)) || !strings.Contains(text, digest.SHA256(other)) || !strings.Contains(text, "mirrored 2026-") {
		t.Fatalf("the refusal does not name both: %s", text)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the connection broke") }

func TestMirrorRefuses(t *testing.T) {
	r := newRegistry(t)
	r.project("mirror", mirrorOptions)
	archive := charttest.Build(t, "web", "1.0.0", nil)
	odd := charttest.Build(t, "web", "latest", nil)
	listed := origin("1.0.0", archive)
	for _, c := range []struct {
		name    string
		project string
		archive io.Reader
		change  func(*release.MirrorOrigin)
		kind    problem.Kind
		rule    string
	}{
		{"a project of one's own", "demo", bytes.NewReader(archive), nil, problem.Policy, "project-mirror"},
		{"no project", "nobody", bytes.NewReader(archive), nil, problem.NotFound, "project"},
		{"a path in a project", "mirror/x", bytes.NewReader(archive), nil, problem.NotFound, "project"},
		{"another upstream", "mirror", bytes.NewReader(archive), func(o *release.MirrorOrigin) { o.Upstream = "other" }, problem.Policy, "project-mirror"},
		{"not what is listed", "mirror", bytes.NewReader(archive), func(o *release.MirrorOrigin) { o.Digest = digest.SHA256(nil) }, problem.Disproven, "mirror-digest"},
		{"another version", "mirror", bytes.NewReader(archive), func(o *release.MirrorOrigin) { o.Version = "1.0.1" }, problem.Disproven, "mirror-mismatch"},
		{"another chart", "mirror", bytes.NewReader(archive), func(o *release.MirrorOrigin) { o.Chart = "db" }, problem.Disproven, "mirror-mismatch"},
		{"no version", "mirror", bytes.NewReader(odd), func(o *release.MirrorOrigin) { *o = origin("latest", odd) }, problem.Invalid, "mirror-version"},
		{"no chart", "mirror", strings.NewReader("<html>"), nil, problem.Invalid, "archive-not-gzip"},
		{"broken off", "mirror", io.MultiReader(bytes.NewReader(archive[:100]), broken{}), nil, problem.Unavailable, "mirror-broken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			from := listed
			if c.change != nil {
				c.change(&from)
			}
			_, err := r.Mirror(r.ctx, c.project, c.archive, from)
			p, ok := problem.As(err)
			if !ok || p.Kind != c.kind || c.rule != "archive-not-gzip" && p.Rule != c.rule {
				t.Fatalf("got %v of kind %s, rule %s", err, problem.KindOf(err), p.Rule)
			}
		})
	}
}

func TestMirrorProjectIsForTheMirror(t *testing.T) {
	r := newRegistry(t)
	r.project("mirror", mirrorOptions)
	archive := charttest.Build(t, "web", "1.0.0", nil)
	_, err := r.push("mirror", archive, nil)
	p := r.refused(err, problem.Policy, "project-mirror")
	if !strings.Contains(p.Message, "mirrors the upstream up") || p.Try == "" {
		t.Fatalf("%+v", p)
	}
	r.refused(r.CanPush(r.ctx, r.admin, "mirror"), problem.Policy, "project-mirror")
	_, err = r.ImportRelease(r.ctx, r.admin, "mirror", bytes.NewReader(archive), nil, release.ImportOrigin{})
	r.refused(err, problem.Policy, "project-mirror")
	other := release.Policy{Mirror: "other"}
	_, err = r.SetProject(r.ctx, r.admin, "mirror", release.ProjectChange{Policy: &other})
	r.refused(err, problem.Policy, "project-mirror")
	_, err = r.SetProject(r.ctx, r.admin, "demo", release.ProjectChange{Policy: &other})
	r.refused(err, problem.Policy, "project-mirror")
	_, err = r.SetProject(r.ctx, r.admin, "mirror", release.ProjectChange{Policy: &release.Policy{RequireProvenance: true}})
	r.refused(err, problem.Invalid, "project-mirror")
	private := false
	set, err := r.SetProject(r.ctx, r.admin, "mirror", release.ProjectChange{Public: &private, Policy: &release.Policy{}})
	r.ok(err)
	if set.Project.Policy.Mirror != "up" {
		t.Fatal("a policy without a mirror made it a project of one's own")
	}
	for name, opt := range map[string]release.ProjectOptions{
		"artifacts": {Kind: release.KindArtifacts, Policy: mirrorOptions.Policy}, "importing": {Importing: true, Policy: mirrorOptions.Policy},
		"signed": {Policy: release.Policy{Mirror: "up", RequireProvenance: true}}, "odd": {Policy: release.Policy{Mirror: "Up Stream"}},
	} {
		_, err := r.CreateProject(r.ctx, r.admin, name, opt)
		r.refused(err, problem.Invalid, "project-mirror")
	}
}

func TestOnDemand(t *testing.T) {
	var r *registry
	var asked []string
	fail := map[string]error{}
	r = newRegistry(t, func(cfg *release.Config) {
		cfg.Demand = func(ctx context.Context, project, name, version string) error {
			asked = append(asked, project+" "+name+" "+version)
			if err := fail[version]; err != nil {
				return err
			}
			if name != "web" || version != "1.0.0-2.0.0" && version != "1.2.0" && version != "1.3.0+x" && version != "1.4.0" {
				return problem.New(problem.NotFound, "mirror-version", "the upstream has none")
			}
			archive := charttest.Build(t, name, version, nil)
			_, err := r.Mirror(ctx, project, bytes.NewReader(archive), origin(version, archive))
			return err
		}
	})
	r.project("mirror", mirrorOptions)
	calls := func(want string) {
		t.Helper()
		if got := strings.Join(asked, ", "); got != want {
			t.Fatalf("the upstream was asked for %q, not %q", got, want)
		}
		asked = nil
	}

	_, b, err := r.OpenArchive(r.ctx, anybody, "mirror", "web-1.0.0-2.0.0.tgz")
	r.ok(err)
	b.Close()
	calls("mirror web 1.0.0-2.0.0")
	_, b, err = r.OpenArchive(r.ctx, anybody, "mirror", "web-1.0.0-2.0.0.tgz")
	r.ok(err)
	b.Close()
	calls("") // it is there now
	_, err = r.Release(r.ctx, anybody, "mirror", "web", "1.2.0")
	r.ok(err)
	calls("mirror web 1.2.0")
	m, err := r.GetManifest(r.ctx, anybody, "mirror/web", "1.3.0_x")
	r.ok(err)
	if m.Release == nil || m.Release.Version != "1.3.0+x" {
		t.Fatalf("%+v", m)
	}
	calls("mirror web 1.3.0+x")

	_, _, err = r.OpenArchive(r.ctx, anybody, "mirror", "web-9-1.0.0.tgz")
	r.refused(err, problem.NotFound, "release")
	calls("mirror web 9-1.0.0, mirror web-9 1.0.0")
	if _, err := r.GetManifest(r.ctx, anybody, "mirror/web", "9.0.0"); problem.KindOf(err) != problem.NotFound {
		t.Fatal(err)
	}
	calls("mirror web 9.0.0")
	if _, err := r.GetManifest(r.ctx, anybody, "mirror/web", digest.SHA256(nil)); problem.KindOf(err) != problem.NotFound {
		t.Fatal(err)
	}
	_, _, err = r.OpenArchive(r.ctx, anybody, "mirror", "index.txt")
	r.refused(err, problem.NotFound, "release")
	_, _, err = r.OpenArchive(r.ctx, anybody, "demo", "web-1.2.0.tgz")
	if problem.KindOf(err) == "" || err == nil {
		t.Fatal(err)
	}
	_, _, err = r.OpenArchive(r.ctx, r.admin, "demo", "web-1.2.0.tgz")
	r.refused(err, problem.NotFound, "release")
	calls("") // nobody asks an upstream for those

	// A release of its own is never asked for by who may not read.
	_, err = r.CreateProject(r.ctx, r.admin, "private", release.ProjectOptions{Policy: release.Policy{Mirror: "up"}})
	r.ok(err)
	if _, _, err := r.OpenArchive(r.ctx, anybody, "private", "web-1.2.0.tgz"); err == nil {
		t.Fatal("a private mirror served anybody")
	}
	calls("")

	fail["1.4.0"] = problem.New(problem.Unavailable, "refused", "the upstream does not answer")
	_, err = r.Release(r.ctx, anybody, "mirror", "web", "1.4.0")
	r.refused(err, problem.Unavailable, "refused")
	_, err = r.GetManifest(r.ctx, anybody, "mirror/web", "1.4.0")
	r.refused(err, problem.Unavailable, "refused")
	_, _, err = r.OpenArchive(r.ctx, anybody, "mirror", "web-1.4.0.tgz")
	r.refused(err, problem.Unavailable, "refused")
	fail["1.4.0"] = problem.New(problem.NotFound, "mirror-version", "not yet").With("mirrored from", "tomorrow")
	_, _, err = r.OpenArchive(r.ctx, anybody, "mirror", "web-1.4.0.tgz")
	r.refused(err, problem.NotFound, "mirror-version")
}

func TestKeptArchives(t *testing.T) {
	r := newRegistry(t)
	archive := charttest.Build(t, "web", "1.0.0", nil)
	for range 2 {
		d, err := r.KeepArchive(r.ctx, archive)
		r.ok(err)
		rc, err := r.OpenKept(r.ctx, d)
		r.ok(err)
		b, err := io.ReadAll(rc)
		r.ok(err)
		r.ok(rc.Close())
		if !bytes.Equal(b, archive) || d != digest.SHA256(archive) {
			t.Fatal("other bytes came back")
		}
	}
	_, err := r.OpenKept(r.ctx, digest.SHA256(nil))
	r.refused(err, problem.Unavailable, "blob-lost")
	if _, err := r.StatBlob(r.ctx, r.admin, "demo/web", digest.SHA256(archive)); problem.KindOf(err) != problem.NotFound {
		t.Fatalf("what is kept is visible in a repository: %v", err)
	}
}

func TestReleasesAfter(t *testing.T) {
	r := newRegistry(t)
	r.project("other", release.ProjectOptions{})
	var want []string
	for i := range 5 {
		_, rel := r.released([]string{"demo", "other"}[i%2], "web", fmt.Sprintf("1.%d.0", i))
		want = append(want, rel.Ref())
	}
	var got []string
	for after := int64(-1); ; {
		page, err := r.Service.ReleasesAfter(r.ctx, after, 2)
		r.ok(err)
		for _, rel := range page {
			got, after = append(got, rel.Ref()), rel.LogIndex
		}
		if len(page) < 2 {
			break
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Fatalf("%v", got)
	}
}
