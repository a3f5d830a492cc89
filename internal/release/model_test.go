package release_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/index"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/store/blob"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/store/storetest"
	"github.com/chartkeep/chartkeep/internal/store/storetest/pgtest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// The model: what was acknowledged, and nothing else. It has no way to change
// or forget a release.
type model struct {
	releases map[string]*modelRelease // project/chart@version
	files    map[string]string        // project/file -> ref, for names that collide
	keys     map[string]string        // project/chart@identity -> ref
	removed  map[string]bool          // projects
	cutOver  map[string]bool          // projects that were importing
	sizes    []checkpoint             // every checkpoint seen
}

type modelRelease struct {
	project, chart, version string
	archive                 []byte
	manifest                string // digest, once seen
	leaf                    int64
	prov                    []byte
	yanked, legacy          bool
	block
}

type checkpoint struct {
	size int64
	root tlog.Hash
}

func (r *modelRelease) ref() string { return r.project + "/" + r.chart + "@" + r.version }

// modelRun is one walk of random operations beside the model.
type modelRun struct {
	t       *testing.T
	rng     *rand.Rand
	svc     *release.Service
	store   *sqlstore.Store
	m       model
	callers []release.Caller
	key     note.Verifiers
	step    int
	did     map[string]int // operation and outcome -> how often
	people  []release.Caller
	ahead   atomic.Int64 // how far the walk's clock is ahead, in nanoseconds
}

// TestHistoryNeverChanges walks at random through every door and holds the
// registry against the model: what was acknowledged once is served for ever,
// with the same bytes, through every door, under one leaf; what was refused
// changes nothing.
func TestHistoryNeverChanges(t *testing.T) {
	for name, config := range map[string]func(t *testing.T) sqlstore.Config{
		"SQLite": func(t *testing.T) sqlstore.Config {
			return sqlstore.Config{SQLite: filepath.Join(t.TempDir(), "chartkeep.db")}
		},
		"PostgreSQL": func(t *testing.T) sqlstore.Config { return sqlstore.Config{Postgres: pgtest.New(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			did := map[string]int{}
			for seed := range uint64(2) {
				t.Run(fmt.Sprint(seed), func(t *testing.T) { walk(t, seed, config(t), did) })
			}
			for _, want := range walked {
				if did[want] == 0 && !testing.Short() {
					t.Errorf("no walk came to %q: %v", want, did)
				}
			}
		})
	}
}

// walked is what the walks have to come to.
var walked = []string{"push new", "push unchanged", "push refused", "oci new", "oci refused", "import new", "yank done", "unyank done", "prov done", "prov refused", "delete refused",
	"quarantine done", "quarantine refused", "confirm done", "confirm refused", "lift done", "lift refused", "lapse", "bury done", "bury refused", "push withheld"}

func walk(t *testing.T, seed uint64, cfg sqlstore.Config, did map[string]int) {
	ctx := t.Context()
	keys := storetest.Keys(t)
	cfg.Origin, cfg.Signer, cfg.AuditSigner, cfg.VerifierKey = storetest.Origin, keys.Signer, keys.AuditSigner, keys.VerifierKey
	w := &modelRun{t: t, rng: rand.New(rand.NewPCG(seed, 7)), did: did}
	cfg.Now = w.now
	st, err := sqlstore.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	blobs, err := blob.OpenDir(filepath.Join(t.TempDir(), "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	w.store = st
	w.svc = release.New(release.Config{Store: st, Blobs: blobs, Limits: chart.DefaultLimits(), Secret: bytes.Repeat([]byte("m"), 32), Service: storetest.Origin, Now: w.now})
	w.m = model{releases: map[string]*modelRelease{}, files: map[string]string{}, keys: map[string]string{},
		removed: map[string]bool{}, cutOver: map[string]bool{}}
	v, err := tlog.NewVerifier(keys.VerifierKey)
	if err != nil {
		t.Fatal(err)
	}
	w.key = note.VerifierList(v)
	secret, err := w.svc.EnsureAdmin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := w.svc.Authenticate(ctx, secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, door := range []audit.Door{audit.DoorChartMuseum, audit.DoorAPI, audit.DoorClassic, audit.DoorOCI} {
		w.callers = append(w.callers, release.Caller{Principal: admin, Door: door})
	}
	w.employ(ctx)
	for _, p := range []string{"one", "two/deep"} {
		w.must(w.svc.CreateProject(ctx, w.callers[0], p, release.ProjectOptions{Public: p == "one"}))
	}
	w.must(w.svc.CreateProject(ctx, w.callers[0], "old", release.ProjectOptions{Importing: true}))
	steps := 300
	if testing.Short() {
		steps = 80
	}
	for w.step = range steps {
		w.random(ctx)
		if w.step%50 == 49 {
			w.verifyAll(ctx)
		}
	}
	w.verifyAll(ctx)
	w.remembers()
}

func (w *modelRun) must(_ any, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("step %d: %v", w.step, err)
	}
}

func (w *modelRun) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("step %d: "+format, append([]any{w.step}, args...)...)
}

// pick is any of a few, so that names meet often.
func pick[T any](w *modelRun, of ...T) T { return of[w.rng.IntN(len(of))] }

func (w *modelRun) random(ctx context.Context) {
	switch n := w.rng.IntN(100); {
	case n < 24:
		w.push(ctx)
	case n < 45:
		w.pushOCI(ctx)
	case n < 56:
		w.importOld(ctx)
	case n < 64:
		w.yank(ctx)
	case n < 80:
		w.quarantine(ctx)
	case n < 82:
		w.bury(ctx)
	case n < 87:
		w.attach(ctx)
	case n < 92:
		w.delete(ctx)
	case n < 96:
		w.moveTag(ctx)
	case n < 98:
		w.policy(ctx)
	case w.step > 150 && !w.m.cutOver["old"]:
		w.must(w.svc.CutOver(ctx, w.callers[0], "old"))
		w.m.cutOver["old"] = true
	case w.step > 200 && !w.m.removed["two/deep"]:
		w.must(nil, w.svc.RemoveProject(ctx, w.callers[0], "two/deep", "the walk ends it"))
		w.m.removed["two/deep"] = true
	}
	info, err := w.svc.LogInfo(ctx)
	w.must(nil, err)
	cp, err := tlog.OpenCheckpoint(info.Checkpoint, storetest.Origin, w.key)
	w.must(nil, err)
	w.m.sizes = append(w.m.sizes, checkpoint{cp.Size, cp.Root})
}

// names that collide in every way that the rules know.
func (w *modelRun) name() (name, version string) {
	if w.rng.IntN(8) == 0 {
		return pick(w, "foo", "foo-1.0.0"), pick(w, "1.0.0-2.0.0", "2.0.0")
	}
	return pick(w, "web", "db"), pick(w, "1.0.0", "1.0.1", "1.1.0-rc.1", "1.0.0+a", "1.0.0+b", "2.0.0")
}

func (w *modelRun) archive(name, version string) []byte {
	return charttest.Build(w.t, name, version, map[string]string{"content": fmt.Sprint(w.rng.IntN(3))})
}

// holder says whose the name is, as the model sees it.
func (w *modelRun) holder(project, name, version string) *modelRelease {
	if ref, ok := w.m.files[project+"/"+chart.FileName(name, version)]; ok {
		return w.m.releases[ref]
	}
	if v, err := chart.ParseVersion(version); err == nil {
		if ref, ok := w.m.keys[project+"/"+name+"@"+v.Key()]; ok {
			return w.m.releases[ref]
		}
	}
	return nil
}

// learn takes an acknowledged release into the model.
func (w *modelRun) learn(project string, archive []byte, r *release.Receipt, legacy bool) {
	w.t.Helper()
	n := &modelRelease{project: project, chart: r.Release.Chart, version: r.Release.Version, archive: archive,
		manifest: r.Release.Manifest, leaf: r.Release.LogIndex, legacy: legacy, block: block{lapsedBy: -1}}
	if w.m.releases[n.ref()] != nil {
		w.fail("%s was released twice", n.ref())
	}
	w.m.releases[n.ref()] = n
	w.m.files[project+"/"+chart.FileName(n.chart, n.version)] = n.ref()
	key := ""
	if v, err := chart.ParseVersion(n.version); err == nil {
		key = v.Key()
	} else {
		key, _ = chart.LenientVersion(n.version)
	}
	if _, held := w.m.keys[project+"/"+n.chart+"@"+key]; key != "" && !held {
		w.m.keys[project+"/"+n.chart+"@"+key] = n.ref()
	}
	if _, _, err := r.Proof.Verify(storetest.Origin, w.key); err != nil {
		w.fail("the receipt of %s: %v", n.ref(), err)
	}
}

// judge compares the answer to a push with what the model expects.
func (w *modelRun) judge(what, project, name, version string, archive []byte, r release.Receipt, err error, legacy bool) {
	w.t.Helper()
	held := w.holder(project, name, version)
	exact := held != nil && held.chart == name && held.version == version
	open := !w.m.removed[project] && legacy == (project == "old" && !w.m.cutOver["old"])
	switch {
	case !open:
		if err == nil {
			w.fail("%s of %s %s into %s, which takes none: %+v", what, name, version, project, r.Release)
		}
		w.did[what+" closed"]++
	case held == nil || legacy && !exact && w.m.files[project+"/"+chart.FileName(name, version)] == "":
		if err != nil {
			w.fail("%s of %s %s into %s: %v", what, name, version, project, err)
		}
		if r.Unchanged {
			w.fail("%s of new %s %s into %s is unchanged", what, name, version, project)
		}
		w.learn(project, archive, &r, legacy)
		w.did[what+" new"]++
	case exact && (held.tombstoned || held.quarantined && bytes.Equal(held.archive, archive)):
		if problem.KindOf(err) != held.kind() {
			w.fail("%s of %s, %+v: %v", what, held.ref(), held.block, err)
		}
		w.did[what+" withheld"]++
	case exact && bytes.Equal(held.archive, archive) && err == nil:
		if !r.Unchanged || r.Release.LogIndex != held.leaf {
			w.fail("%s of released %s: %+v", what, held.ref(), r.Release)
		}
		w.did[what+" unchanged"]++
	case exact && bytes.Equal(held.archive, archive) && what != "oci":
		w.fail("%s of released bytes of %s: %v", what, held.ref(), err)
	default:
		if problem.KindOf(err) != problem.Immutable {
			w.fail("%s over %s: %v", what, held.ref(), err)
		}
		w.did[what+" refused"]++
	}
}

func (w *modelRun) push(ctx context.Context) {
	project := pick(w, "one", "one", "two/deep", "old")
	name, version := w.name()
	archive := w.archive(name, version)
	c := w.callers[w.rng.IntN(3)]
	r, err := w.svc.PushArchive(ctx, c, project, bytes.NewReader(archive), nil, release.PushOptions{Force: w.rng.IntN(2) == 0})
	w.judge("push", project, name, version, archive, r, err, false)
}

func (w *modelRun) importOld(ctx context.Context) {
	name, version := pick(w, "web", "db"), pick(w, "v1.0.0", "1.0.0", "1.0", "1.0.0+a", "2.0.0", "v2.0.0", "nightly")
	archive := w.archive(name, version)
	r, err := w.svc.ImportRelease(ctx, w.callers[1], "old", bytes.NewReader(archive), nil, release.ImportOrigin{URL: "https://old.example"})
	w.judge("import", "old", name, version, archive, r, err, true)
}

// pushOCI does what a client does: blobs in pieces or at once, then the
// manifest by tag, or by digest first.
func (w *modelRun) pushOCI(ctx context.Context) {
	project := pick(w, "one", "two/deep", "old")
	name, version := w.name()
	archive := w.archive(name, version)
	c, repo := w.callers[3], project+"/"+name
	config, err := json.Marshal(map[string]string{"name": name, "version": version, "apiVersion": "v2"})
	w.must(nil, err)
	closed := w.m.removed[project] || project == "old" && !w.m.cutOver["old"]
	err = w.upload(ctx, c, repo, archive)
	if err == nil {
		err = w.upload(ctx, c, repo, config)
	}
	if held := w.holder(project, name, version); err != nil && held != nil && held.withheld() && !w.m.removed[project] && problem.KindOf(err) == held.kind() {
		w.did["oci withheld"]++ // its blobs are not taken
		return
	}
	if err != nil && !w.m.removed[project] {
		w.fail("upload to %s: %v", repo, err)
	}
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"%s","size":%d},`+
		`"layers":[{"mediaType":"application/vnd.cncf.helm.chart.content.v1.tar+gzip","digest":"%s","size":%d}],`+
		`"annotations":{"n":"%d"}}`, sum(config), len(config), sum(archive), len(archive), w.rng.IntN(2))
	const mediaType = "application/vnd.oci.image.manifest.v1+json"
	if !closed && w.rng.IntN(2) == 0 {
		if _, err := w.svc.PutManifest(ctx, c, repo, release.ManifestRef{Digest: sum(manifest)}, mediaType, manifest); err != nil {
			w.fail("put manifest by digest: %v", err)
		}
	}
	res, err := w.svc.PutManifest(ctx, c, repo, release.ManifestRef{Tags: []string{chart.TagFor(version)}}, mediaType, manifest)
	r := release.Receipt{}
	if res.Receipt != nil {
		r = *res.Receipt
	}
	w.judge("oci", project, name, version, archive, r, err, false)
}

func (w *modelRun) upload(ctx context.Context, c release.Caller, repo string, b []byte) error {
	if w.rng.IntN(2) == 0 {
		return w.svc.PutBlob(ctx, c, repo, bytes.NewReader(b), sum(b))
	}
	id, err := w.svc.StartUpload(ctx, c, repo)
	if err != nil {
		return err
	}
	cut := w.rng.IntN(len(b))
	if _, err := w.svc.AppendUpload(ctx, c, repo, id, 0, bytes.NewReader(b[:cut])); err != nil {
		return err
	}
	return w.svc.FinishUpload(ctx, c, repo, id, int64(cut), bytes.NewReader(b[cut:]), sum(b))
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(h[:])
}

// some is any release of the model, or nil.
func (w *modelRun) some() *modelRelease {
	refs := slices.Sorted(maps.Keys(w.m.releases))
	if len(refs) == 0 {
		return nil
	}
	return w.m.releases[refs[w.rng.IntN(len(refs))]]
}

func (w *modelRun) yank(ctx context.Context) {
	r := w.some()
	if r == nil {
		return
	}
	yank := !r.yanked || w.rng.IntN(4) == 0
	var err error
	if yank {
		_, err = w.svc.Yank(ctx, w.callers[0], r.project, r.chart, r.version, "broken", "by the walk")
	} else {
		_, err = w.svc.Unyank(ctx, w.callers[0], r.project, r.chart, r.version, "")
	}
	verb := map[bool]string{true: "yank", false: "unyank"}[yank]
	if want := !w.m.removed[r.project] && r.yanked != yank && !r.withheld(); want != (err == nil) {
		w.fail("%s %s, yanked %v: %v", verb, r.ref(), r.yanked, err)
	}
	if err == nil {
		r.yanked = yank
		w.did[verb+" done"]++
	}
}

func (w *modelRun) attach(ctx context.Context) {
	r := w.some()
	if r == nil {
		return
	}
	prov := fmt.Appendf(nil, "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\napiVersion: v2\nname: %s\nversion: %q\n\n...\nfiles:\n  %s: %s\n"+
		"-----BEGIN PGP SIGNATURE-----\n\nwsBcBAEBAAA%d\n-----END PGP SIGNATURE-----\n", r.chart, r.version, chart.FileName(r.chart, r.version), sum(r.archive), w.rng.IntN(2))
	_, err := w.svc.AttachProvenance(ctx, w.callers[0], r.project, prov)
	switch {
	case w.m.removed[r.project]:
		if err == nil {
			w.fail("provenance into removed %s", r.project)
		}
	case r.withheld():
		if problem.KindOf(err) != r.kind() {
			w.fail("provenance of %s, %+v: %v", r.ref(), r.block, err)
		}
	case r.prov == nil || bytes.Equal(r.prov, prov):
		if err != nil {
			w.fail("provenance of %s: %v", r.ref(), err)
		}
		r.prov = prov
		w.did["prov done"]++
	default:
		if problem.KindOf(err) != problem.Immutable {
			w.fail("another provenance of %s: %v", r.ref(), err)
		}
		w.did["prov refused"]++
	}
}

func (w *modelRun) delete(ctx context.Context) {
	r := w.some()
	if r == nil {
		return
	}
	repo := r.project + "/" + r.chart
	err := pick(w,
		func() error { return w.svc.RefuseDelete(ctx, w.callers[0], r.project, r.chart, r.version) },
		func() error { return w.svc.DeleteManifest(ctx, w.callers[3], repo, chart.TagFor(r.version)) },
		func() error { return w.svc.DeleteManifest(ctx, w.callers[3], repo, r.manifest) },
		func() error { return w.svc.DeleteBlob(ctx, w.callers[3], repo, sum(r.archive)) },
	)()
	if err == nil {
		w.fail("%s was deleted", r.ref())
	}
	w.did["delete refused"]++
}

// moveTag tries to put something that is no chart under a release's tag.
func (w *modelRun) moveTag(ctx context.Context) {
	r := w.some()
	if r == nil {
		return
	}
	manifest := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	_, err := w.svc.PutManifest(ctx, w.callers[3], r.project+"/"+r.chart, release.ManifestRef{Tags: []string{chart.TagFor(r.version)}},
		"application/vnd.oci.image.index.v1+json", manifest)
	if err == nil {
		w.fail("the tag of %s moved to another manifest", r.ref())
	}
	w.did["tag refused"]++
}

func (w *modelRun) policy(ctx context.Context) {
	public := w.rng.IntN(2) == 0
	w.must(w.svc.SetProject(ctx, w.callers[0], "one", release.ProjectChange{Public: &public}))
}

// verifyAll holds everything that was ever acknowledged against every door.
func (w *modelRun) verifyAll(ctx context.Context) {
	w.t.Helper()
	c := w.callers[0]
	leaves := map[string]int64{}
	w.verifyLog(ctx, leaves)
	listed := map[string]map[string]bool{}
	for _, project := range []string{"one", "two/deep", "old"} {
		if !w.m.removed[project] {
			listed[project] = w.indexed(ctx, project, false)
			listed[project+" all"] = w.indexed(ctx, project, true)
		}
	}
	count := map[string]int{}
	for ref, r := range w.m.releases {
		if leaves[ref] != r.leaf {
			w.fail("%s stands in leaf %d, and was acknowledged in %d", ref, leaves[ref], r.leaf)
		}
		if w.m.removed[r.project] {
			continue
		}
		file := chart.FileName(r.chart, r.version)
		if r.withheld() {
			w.verifyWithheld(ctx, r, file)
			continue
		}
		count[r.project]++
		got, b, err := w.svc.OpenArchive(ctx, c, r.project, file)
		w.must(nil, err)
		var buf bytes.Buffer
		_, err = b.WriteTo(&buf)
		w.must(nil, err)
		w.must(nil, b.Close())
		if !bytes.Equal(buf.Bytes(), r.archive) || got.Legacy != r.legacy || (got.State == release.Yanked) != r.yanked || got.Manifest != r.manifest {
			w.fail("%s is served as %+v", ref, got)
		}
		m, err := w.svc.GetManifest(ctx, w.callers[3], r.project+"/"+r.chart, r.manifest)
		w.must(nil, err)
		if !strings.Contains(string(m.Bytes), sum(r.archive)) || sum(m.Bytes) != r.manifest {
			w.fail("the manifest of %s: %s", ref, m.Bytes)
		}
		proof, err := w.svc.Proof(ctx, c, r.project, r.chart, r.version)
		w.must(nil, err)
		_, leaf, err := proof.Verify(storetest.Origin, w.key)
		w.must(nil, err)
		if archiveOf(leaf) != sum(r.archive) {
			w.fail("the leaf of %s names another archive", ref)
		}
		entry := r.chart + " " + r.version + " " + strings.TrimPrefix(sum(r.archive), "sha256:")
		if listed[r.project][entry] == r.yanked || !listed[r.project+" all"][entry] {
			w.fail("%s, yanked %v, in the index %v, in the whole index %v", ref, r.yanked, listed[r.project][entry], listed[r.project+" all"][entry])
		}
		if r.prov != nil {
			if _, prov, err := w.svc.Provenance(ctx, c, r.project, file+".prov"); err != nil || !bytes.Equal(prov, r.prov) {
				w.fail("the provenance of %s: %v", ref, err)
			}
		}
	}
	for project, n := range count {
		if got := len(listed[project+" all"]); got != n {
			w.fail("the whole index of %s has %d entries, %d were acknowledged", project, got, n)
		}
	}
}

func archiveOf(leaf tlog.Leaf) string {
	switch l := leaf.(type) {
	case tlog.Release:
		return l.Archive
	case tlog.Legacy:
		return l.Archive
	}
	return ""
}

// verifyLog reads every leaf: one for each release, times that never run
// backwards, and a root that continues every checkpoint ever seen.
func (w *modelRun) verifyLog(ctx context.Context, leaves map[string]int64) {
	w.t.Helper()
	info, err := w.svc.LogInfo(ctx)
	w.must(nil, err)
	now, err := tlog.OpenCheckpoint(info.Checkpoint, storetest.Origin, w.key)
	w.must(nil, err)
	var last time.Time
	for i := range info.Size {
		entry, err := w.svc.Leaf(ctx, w.callers[0], i)
		w.must(nil, err)
		leaf, err := tlog.ParseLeaf(entry)
		w.must(nil, err)
		if leaf.When().Before(last) {
			w.fail("leaf %d is older than the one before it", i)
		}
		last = leaf.When()
		var ref string
		switch l := leaf.(type) {
		case tlog.Release:
			ref = l.Project + "/" + l.Chart + "@" + l.Version
		case tlog.Legacy:
			ref = l.Project + "/" + l.Chart + "@" + l.Version
		default:
			continue
		}
		if _, twice := leaves[ref]; twice {
			w.fail("%s has two leaves", ref)
		}
		if w.m.releases[ref] == nil {
			w.fail("leaf %d states %s, which was never acknowledged", i, ref)
		}
		leaves[ref] = i
	}
	for _, old := range w.m.sizes {
		proof, err := w.svc.Consistency(ctx, old.size, now.Size)
		w.must(nil, err)
		if err := tlog.VerifyConsistency(old.size, old.root, now.Size, now.Root, proof); err != nil {
			w.fail("checkpoint %d is not continued: %v", old.size, err)
		}
	}
	w.m.sizes = w.m.sizes[len(w.m.sizes)-1:]
}

// indexed reads the index as a client does.
func (w *modelRun) indexed(ctx context.Context, project string, all bool) map[string]bool {
	w.t.Helper()
	view, err := w.svc.Index(ctx, w.callers[0], project, all)
	w.must(nil, err)
	ix, err := view.Snapshot()
	w.must(nil, err)
	var buf bytes.Buffer
	w.must(nil, ix.WriteRaw(&buf, index.Head{Generated: view.Project.Changed}))
	var doc struct {
		Entries map[string][]struct{ Name, Version, Digest string }
	}
	w.must(nil, json.Unmarshal(buf.Bytes(), &doc))
	out := map[string]bool{}
	for _, list := range doc.Entries {
		for _, e := range list {
			out[e.Name+" "+e.Version+" "+e.Digest] = true
		}
	}
	return out
}
