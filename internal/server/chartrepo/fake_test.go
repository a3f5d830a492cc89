package chartrepo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/index"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// fakeService is a registry in memory with the rules of the real one as far
// as this door can see them.
type fakeService struct {
	projects map[string]*release.Project
	charts   []*fakeRelease // in index order
	deleted  []string       // refused deletes
	pushes   []release.PushOptions
	builds   int   // indexes built
	opened   int   // archives open at the moment
	notReady error // what Ready answers
}

type fakeRelease struct {
	release.Release
	meta    chart.Metadata
	bytes   []byte
	prov    []byte
	damaged bool // its bytes do not match its digest
}

var released = time.Date(2026, 3, 2, 10, 14, 31, 0, time.UTC)

// publisher is a caller who may do everything here; the zero Caller is
// anonymous.
var publisher = release.Caller{Principal: access.Principal{ID: "usr-1", Name: "ci", Kind: access.KindToken}}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// newFake is a registry with a public project "demo", a private one
// "team-a/web", and releases in both.
func newFake(t testing.TB) *fakeService {
	f := &fakeService{projects: map[string]*release.Project{
		"demo":       {Name: "demo", Public: true, ArtifactHubID: "6d0d3b1e-4f6b-4f5c-9f3a-2f1d8c7b6a50", Generation: 7, Changed: released},
		"team-a/web": {Name: "team-a/web", Generation: 3, Changed: released},
	}}
	for _, v := range []string{"1.4.2", "1.4.1", "1.4.0", "1.3.0"} {
		f.add("demo", "web", v, charttest.Build(t, "web", v, map[string]string{"templates/svc.yaml": "kind: Service\n"}))
	}
	f.add("demo", "db", "2.0.0-rc.1", charttest.Build(t, "db", "2.0.0-rc.1", nil))
	f.add("team-a/web", "front", "0.1.0", charttest.Build(t, "front", "0.1.0", nil))
	yanked := f.find("demo", "web", "1.4.1")
	yanked.State = release.Yanked
	yanked.Yank = &release.YankNote{Reason: "broken", Text: `leaks "memory"`}
	f.find("demo", "web", "1.4.0").prov = []byte("-----BEGIN PGP SIGNED MESSAGE-----\n")
	f.find("demo", "web", "1.4.0").Provenance = digestOf(f.find("demo", "web", "1.4.0").prov)
	f.find("demo", "web", "1.3.0").damaged = true
	return f
}

func (f *fakeService) add(project, name, version string, b []byte) *fakeRelease {
	v, _ := chart.ParseVersion(version)
	r := &fakeRelease{
		Release: release.Release{
			Project: project, Chart: name, Version: version, File: chart.FileName(name, version),
			Archive: digestOf(b), Size: int64(len(b)), Content: digestOf([]byte(name + version)),
			Time: released, State: release.Active, LogIndex: int64(100 + len(f.charts)), SortKey: v.SortKey(),
		},
		meta:  chart.Metadata{Name: name, Version: version, APIVersion: "v2", AppVersion: "1.0"},
		bytes: b,
	}
	f.charts = append(f.charts, r)
	slices.SortFunc(f.charts, func(a, b *fakeRelease) int { return a.key().Compare(b.key()) })
	return r
}

func (r *fakeRelease) key() index.Key { return index.Key{Chart: r.Chart, Sort: r.SortKey} }

func (f *fakeService) find(project, name, version string) *fakeRelease {
	for _, r := range f.charts {
		if r.Project == project && r.Chart == name && (r.Version == version || version == "latest" && r.State == release.Active) {
			return r
		}
	}
	return nil
}

func (f *fakeService) readable(c release.Caller, project string) (*release.Project, error) {
	p, ok := f.projects[project]
	if !ok || !p.Public && c.Principal.Kind != access.KindToken {
		if c.Principal.Kind != access.KindToken {
			return nil, problem.New(problem.Unauthenticated, "project", "sign in to see whether there is a project %s", project)
		}
		return nil, problem.New(problem.NotFound, "project", "there is no project %s", project)
	}
	return p, nil
}

func (f *fakeService) Project(_ context.Context, c release.Caller, project string) (release.Project, error) {
	p, err := f.readable(c, project)
	if err != nil {
		return release.Project{}, err
	}
	return *p, nil
}

func (f *fakeService) Index(_ context.Context, c release.Caller, project string, all bool) (*release.IndexView, error) {
	p, err := f.readable(c, project)
	if err != nil {
		return nil, err
	}
	return &release.IndexView{
		Project: *p, Etag: fmt.Sprintf("g%d", p.Generation),
		Snapshot: func() (*index.Index, error) {
			f.builds++
			return index.Build(context.Background(), fakeSource{f, project, all}, p.Generation)
		},
	}, nil
}

type fakeSource struct {
	f       *fakeService
	project string
	all     bool
}

func (s fakeSource) Range(_ context.Context, _, _ index.Key, fn func(index.Key, []byte) error) error {
	for _, r := range s.f.charts {
		if r.Project != s.project || r.State != release.Active && !s.all {
			continue
		}
		if err := fn(r.key(), entry(&release.Detail{Release: r.Release, Metadata: r.meta})); err != nil {
			return err
		}
	}
	return nil
}

func (s fakeSource) Since(context.Context, int64, int64, func(index.Key) error) error { return nil }

// fakeBlob is an archive that may not match its digest.
type fakeBlob struct {
	*bytes.Reader
	r *fakeRelease
	f *fakeService
}

func (b fakeBlob) Close() error { b.f.opened--; return nil }

func (b fakeBlob) RangeOK() error {
	if b.r.damaged {
		return errors.New("the bytes do not match the digest")
	}
	return nil
}

func (b fakeBlob) WriteTo(w io.Writer) (int64, error) {
	if b.r.damaged {
		n, _ := w.Write(b.r.bytes[:len(b.r.bytes)-1])
		return int64(n), errors.New("the bytes do not match the digest")
	}
	return b.Reader.WriteTo(w)
}

func (f *fakeService) file(c release.Caller, project, file string) (*fakeRelease, error) {
	if _, err := f.readable(c, project); err != nil {
		return nil, err
	}
	for _, r := range f.charts {
		if r.Project == project && r.File == file {
			return r, nil
		}
	}
	return nil, problem.New(problem.NotFound, "file", "%s has no %s", project, file)
}

func (f *fakeService) OpenArchive(_ context.Context, c release.Caller, project, file string) (release.Release, release.Blob, error) {
	r, err := f.file(c, project, file)
	if err != nil {
		return release.Release{}, nil, err
	}
	f.opened++
	return r.Release, fakeBlob{bytes.NewReader(r.bytes), r, f}, nil
}

func (f *fakeService) Provenance(_ context.Context, c release.Caller, project, file string) (release.Release, []byte, error) {
	r, err := f.file(c, project, strings.TrimSuffix(file, ".prov"))
	if err != nil {
		return release.Release{}, nil, err
	}
	if r.prov == nil {
		return release.Release{}, nil, problem.New(problem.NotFound, "provenance", "%s has no provenance", r.Ref())
	}
	return r.Release, r.prov, nil
}

func (f *fakeService) ProofFile(_ context.Context, c release.Caller, project, file string) (release.Release, []byte, error) {
	r, err := f.file(c, project, strings.TrimSuffix(file, ".tlog-proof"))
	if err != nil {
		return release.Release{}, nil, err
	}
	return r.Release, []byte("c2sp.org/tlog-proof@v1\n"), nil
}

func (f *fakeService) Charts(_ context.Context, c release.Caller, project, after string, limit int) ([]release.ChartSummary, bool, error) {
	if _, err := f.readable(c, project); err != nil {
		return nil, false, err
	}
	var list []release.ChartSummary
	for _, r := range f.charts {
		if r.Project != project || r.Chart <= after || len(list) > 0 && list[len(list)-1].Name == r.Chart {
			continue
		}
		if len(list) == limit {
			return list, true, nil
		}
		list = append(list, release.ChartSummary{Name: r.Chart, Latest: r.Release})
	}
	return list, false, nil
}

func (f *fakeService) Releases(_ context.Context, c release.Caller, project, name string) ([]release.Release, error) {
	if _, err := f.readable(c, project); err != nil {
		return nil, err
	}
	var list []release.Release
	for _, r := range f.charts {
		if r.Project == project && r.Chart == name {
			list = append(list, r.Release)
		}
	}
	if list == nil {
		return nil, problem.New(problem.NotFound, "chart", "%s has no chart %s", project, name)
	}
	return list, nil
}

func (f *fakeService) Release(_ context.Context, c release.Caller, project, name, version string) (release.Detail, error) {
	if _, err := f.readable(c, project); err != nil {
		return release.Detail{}, err
	}
	r := f.find(project, name, version)
	if r == nil {
		return release.Detail{}, problem.New(problem.NotFound, "release", "%s has no release %s %s", project, name, version)
	}
	return release.Detail{Release: r.Release, Metadata: r.meta}, nil
}

func (f *fakeService) ArchiveFiles(_ context.Context, c release.Caller, project, name, version string, names ...string) (map[string][]byte, error) {
	r := f.find(project, name, version)
	a, err := chart.Open(bytes.NewReader(r.bytes), chart.DefaultLimits())
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, file := range a.Files {
		for _, n := range names {
			if file.Path == n || strings.HasSuffix(n, "/") && strings.HasPrefix(file.Path, n) {
				files[file.Path] = []byte("replicas: 1\n")
			}
		}
	}
	return files, nil
}

func (f *fakeService) CanPush(_ context.Context, c release.Caller, project string) error {
	if c.Principal.Kind != access.KindToken {
		return problem.New(problem.Unauthenticated, "push", "pushing needs an account")
	}
	_, err := f.readable(c, project)
	return err
}

func (f *fakeService) PushArchive(_ context.Context, c release.Caller, project string, archive io.Reader, prov []byte, opt release.PushOptions) (release.Receipt, error) {
	f.pushes = append(f.pushes, opt)
	if err := f.CanPush(context.Background(), c, project); err != nil {
		return release.Receipt{}, err
	}
	b, err := io.ReadAll(archive)
	if err != nil {
		return release.Receipt{}, err
	}
	a, err := chart.Open(bytes.NewReader(b), chart.DefaultLimits())
	if err != nil {
		return release.Receipt{}, err
	}
	if r := f.find(project, a.Metadata.Name, a.Metadata.Version); r != nil {
		if r.Archive == digestOf(b) {
			return release.Receipt{Release: r.Release, Unchanged: true, Proof: someProof}, nil
		}
		return release.Receipt{}, problem.New(problem.Immutable, "overwrite", "%s is released and keeps its bytes", r.Ref()).
			With("stored", "%s", r.Archive).With("offered", "%s", digestOf(b)).Suggest("helm package . --version 1.4.3")
	}
	r := f.add(project, a.Metadata.Name, a.Metadata.Version, b)
	r.prov = prov
	if prov != nil {
		r.Provenance = digestOf(prov)
	}
	f.projects[project].Generation++
	return release.Receipt{Release: r.Release, Proof: someProof}, nil
}

var someProof = tlog.Proof{Index: 5, Leaf: []byte("chartkeep/release/v1\n"), Checkpoint: []byte("keep.example/log\n6\n\n")}

func (f *fakeService) AttachProvenance(_ context.Context, c release.Caller, project string, prov []byte) (release.Receipt, error) {
	r := f.find(project, "web", "1.4.2")
	if r == nil {
		return release.Receipt{}, problem.New(problem.NotFound, "release", "no release matches")
	}
	r.prov, r.Provenance = prov, digestOf(prov)
	return release.Receipt{Release: r.Release, Proof: someProof}, nil
}

func (f *fakeService) RefuseDelete(_ context.Context, _ release.Caller, project, name, version string) error {
	f.deleted = append(f.deleted, project+"/"+name+"@"+version)
	return problem.New(problem.Unsupported, "delete", "a released version is never deleted").
		Suggest("chartkeep yank %s/%s@%s --reason broken", project, name, version)
}

func (f *fakeService) Ready(context.Context) error { return f.notReady }
