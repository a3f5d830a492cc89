package release_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

func TestArchiveFiles(t *testing.T) {
	r := newRegistry(t)
	files := map[string]string{
		"README.md": "read me", "templates/a.yaml": "a: a", "templates/sub/b.yaml": "b: b", "templatesx/c.yaml": "c: c",
		"big.txt": strings.Repeat("x", 1<<20+1), "crds/1.yaml": strings.Repeat("1", 1<<20), "crds/2.yaml": strings.Repeat("2", 1<<20),
		"crds/3.yaml": strings.Repeat("3", 1<<20), "crds/4.yaml": strings.Repeat("4", 1<<20), "crds/5.yaml": strings.Repeat("5", 1<<20),
	}
	// As noise, since archives that unpack to far more are refused.
	for name, text := range files {
		if len(text) > 1000 {
			files[name] = noise(len(text), name)
		}
	}
	_, err := r.push("demo", charttest.Build(t, "web", "1.0.0", files), nil)
	r.ok(err)
	got, err := r.ArchiveFiles(r.ctx, r.admin, "demo", "web", "1.0.0", "README.md", "templates/", "big.txt", "none", "Chart.yaml")
	r.ok(err)
	for name, want := range map[string]string{"README.md": "read me", "templates/a.yaml": "a: a", "templates/sub/b.yaml": "b: b"} {
		if string(got[name]) != want {
			t.Errorf("%s: got %.40q", name, got[name])
		}
	}
	if len(got) != 5 || got["big.txt"] != nil || got["Chart.yaml"] == nil { // with the configmap of every test chart
		t.Errorf("got %d files", len(got))
	}
	got, err = r.ArchiveFiles(r.ctx, r.admin, "demo", "web", "latest", "crds/")
	r.ok(err)
	if len(got) != 4 {
		t.Errorf("got %d files of 1 MiB, at most 4 MiB are read", len(got))
	}
	_, err = r.ArchiveFiles(r.ctx, anybody, "demo", "web", "1.0.0", "README.md")
	r.refused(err, problem.Unauthenticated, "sign-in-required")
}

func noise(n int, seed string) string {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
	h := uint64(14695981039346656037)
	for i := range len(seed) {
		h = (h ^ uint64(seed[i])) * 1099511628211
	}
	b := make([]byte, n)
	for i := range b {
		h ^= h << 13
		h ^= h >> 7
		h ^= h << 17
		b[i] = letters[h>>58]
	}
	return string(b)
}

// diskCache keeps indexes as the daemon does.
type diskCache string

func (d diskCache) Load(name string) (io.ReadCloser, error) {
	return os.Open(filepath.Join(string(d), name))
}

func (d diskCache) Save(name string, write func(io.Writer) error) error {
	var buf bytes.Buffer
	if err := write(&buf); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(string(d), name), buf.Bytes(), 0o600)
}

func TestIndex(t *testing.T) {
	cache := diskCache(t.TempDir())
	var cfg release.Config
	r := newRegistry(t, func(c *release.Config) { c.IndexCache = cache; cfg = *c })
	view, err := r.Index(r.ctx, r.admin, "demo", false)
	r.ok(err)
	if ix := r.index(r.admin, "demo", false); len(ix) != 0 {
		t.Errorf("index %v", ix)
	}
	etags := map[string]bool{view.Etag: true}
	for i := range 40 {
		r.released("demo", fmt.Sprintf("chart-%d", i%7), fmt.Sprintf("1.0.%d", i))
		view, err := r.Index(r.ctx, r.admin, "demo", false)
		r.ok(err)
		if etags[view.Etag] {
			t.Fatalf("ETag %s comes again after a push", view.Etag)
		}
		etags[view.Etag] = true
		if ix := r.index(r.admin, "demo", false); len(ix) != i+1 {
			t.Fatalf("%d entries after %d pushes", len(ix), i+1)
		}
		a, err := view.Snapshot()
		r.ok(err)
		b, err := view.Snapshot()
		r.ok(err)
		if a != b {
			t.Fatal("the same index was made twice")
		}
	}
	if _, err := r.push("demo", charttest.Build(t, "chart-0", "1.0.0", nil), nil); err != nil {
		t.Fatal(err)
	}
	again, err := r.Index(r.ctx, r.admin, "demo", false)
	r.ok(err)
	if !etags[again.Etag] {
		t.Error("an unchanged push moved the ETag")
	}

	// What is on disk is taken at the next start, if it is good.
	r.ok(r.Maintain(r.ctx))
	saved, err := os.ReadDir(string(cache))
	r.ok(err)
	if len(saved) == 0 {
		t.Fatal("nothing was saved")
	}
	for _, damage := range []func(b []byte) []byte{
		func(b []byte) []byte { return b },
		func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		func(b []byte) []byte { return b[:len(b)/2] },
		func(b []byte) []byte { return nil },
	} {
		for _, f := range saved {
			path := filepath.Join(string(cache), f.Name())
			b, err := os.ReadFile(path)
			r.ok(err)
			r.ok(os.WriteFile(path, damage(b), 0o600))
		}
		restarted := *r
		restarted.Service = release.New(cfg)
		if ix := restarted.index(r.admin, "demo", false); len(ix) != 40 {
			t.Fatalf("%d entries after a restart", len(ix))
		}
		r.ok(restarted.Maintain(r.ctx))
	}
}

// blobPath is where the bytes of a blob lie.
func (r *registry) blobPath(digest string) string {
	r.Helper()
	hex := strings.TrimPrefix(digest, "sha256:")
	return filepath.Join(r.blobs, "blobs", "sha256", hex[:2], hex)
}

// TestDamagedBlob flips one bit of an archive on disk. Its end is withheld, no
// range of it is served, and nothing is read out of it.
func TestDamagedBlob(t *testing.T) {
	for name, files := range map[string]map[string]string{"small": nil, "large": {"big.txt": noise(300_000, "x")}} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t)
			archive := charttest.Build(t, "web", "1.0.0", files)
			receipt, err := r.push("demo", archive, nil)
			r.ok(err)
			path := r.blobPath(receipt.Release.Archive)
			bad := bytes.Clone(archive)
			bad[len(bad)/2] ^= 1
			r.ok(os.Chmod(path, 0o600))
			r.ok(os.WriteFile(path, bad, 0o600))
			got, err := r.served(r.admin, "demo", "web-1.0.0.tgz")
			r.refused(err, problem.Disproven, "blob-damaged")
			if len(got) >= len(archive) {
				t.Errorf("%d of %d damaged bytes were served", len(got), len(archive))
			}
			_, b, err := r.OpenArchive(r.ctx, r.admin, "demo", "web-1.0.0.tgz")
			r.ok(err)
			defer b.Close()
			r.refused(b.RangeOK(), problem.Disproven, "blob-damaged")
			_, err = r.ArchiveFiles(r.ctx, r.admin, "demo", "web", "1.0.0", "values.yaml")
			r.refused(err, problem.Disproven, "blob-damaged")
			// Somebody else's bytes do not get in because ours are bad.
			_, err = r.push("demo", charttest.Build(t, "web", "1.0.0", map[string]string{"a": "b"}), nil)
			r.refused(err, problem.Immutable, "overwrite")
			r.ok(os.WriteFile(path, archive, 0o600)) // restored
			if got, err := r.served(r.admin, "demo", "web-1.0.0.tgz"); err != nil || !bytes.Equal(got, archive) {
				t.Errorf("restored: %v", err)
			}
		})
	}
}

// TestLostBlob removes an archive from disk: that is our fault, and never a
// plain "not found" that a client would believe.
func TestLostBlob(t *testing.T) {
	r := newRegistry(t)
	archive, rel := r.released("demo", "web", "1.0.0")
	r.ok(os.Remove(r.blobPath(rel.Archive)))
	for what, err := range map[string]error{
		"archive": func() error { _, err := r.served(r.admin, "demo", "web-1.0.0.tgz"); return err }(),
		"blob":    func() error { _, err := r.OpenBlob(r.ctx, r.admin, "demo/web", rel.Archive); return err }(),
		"files": func() error {
			_, err := r.ArchiveFiles(r.ctx, r.admin, "demo", "web", "1.0.0", "values.yaml")
			return err
		}(),
	} {
		if problem.KindOf(err) != problem.Unavailable || ruleOf(err) != "blob-lost" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if m, err := r.GetManifest(r.ctx, r.admin, "demo/web", "1.0.0"); err != nil || m.Release == nil {
		t.Errorf("the manifest lives in the database: %v", err)
	}
	_, err := r.push("demo", charttest.Build(t, "web", "1.0.0", map[string]string{"a": "b"}), nil)
	r.refused(err, problem.Immutable, "overwrite")
	receipt, err := r.push("demo", archive, nil)
	r.ok(err)
	if !receipt.Unchanged {
		t.Errorf("got %+v", receipt)
	}
}

// faultyBlobs is a blob store that fails or lies.
type faultyBlobs struct {
	release.Blobs
	begin, commit error
	lie           bool // Commit answers without having kept anything
	broken        atomic.Bool
}

func (f *faultyBlobs) Begin(ctx context.Context) (release.Upload, error) {
	if f.broken.Load() && f.begin != nil {
		return nil, f.begin
	}
	u, err := f.Blobs.Begin(ctx)
	return faultyUpload{u, f}, err
}

type faultyUpload struct {
	release.Upload
	store *faultyBlobs
}

func (u faultyUpload) Commit(ctx context.Context, want string) (string, int64, error) {
	if !u.store.broken.Load() {
		return u.Upload.Commit(ctx, want)
	}
	if u.store.lie {
		size := u.Size()
		u.Cancel()
		return want, size, nil
	}
	if u.store.commit != nil {
		u.Cancel()
		return "", 0, u.store.commit
	}
	return u.Upload.Commit(ctx, want)
}

func TestFaultyBlobs(t *testing.T) {
	full := problem.New(problem.Unavailable, "blob-disk-full", "no room")
	for name, f := range map[string]*faultyBlobs{
		"begin fails":     {begin: full},
		"commit fails":    {commit: full},
		"unknown error":   {commit: errors.New("a wire came loose")},
		"commit is a lie": {lie: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t, func(c *release.Config) { f.Blobs = c.Blobs; c.Blobs = f })
			f.broken.Store(true)
			size := func() int64 { info, err := r.LogInfo(r.ctx); r.ok(err); return info.Size }
			before := size()
			archive := charttest.Build(t, "web", "1.0.0", nil)
			receipt, err := r.push("demo", archive, nil)
			if f.lie {
				// A store that lies cannot be noticed at the push; but what it
				// lost is never answered as not found, nor as something else.
				r.ok(err)
				r.proven(&receipt)
				_, err = r.served(r.admin, "demo", "web-1.0.0.tgz")
				r.refused(err, problem.Unavailable, "blob-lost")
				return
			}
			if err == nil {
				t.Fatalf("released %+v", receipt)
			}
			if f.begin != nil || f.commit == full {
				r.refused(err, problem.Unavailable, "blob-disk-full")
			}
			r.nothing("demo")
			if size() != before {
				t.Error("the log has a leaf of what is not there")
			}
			if f.commit != nil {
				large := bytes.Repeat([]byte("x"), 100_000)
				if err := r.PutBlob(r.ctx, r.admin, "demo/web", bytes.NewReader(large), sum(large)); err == nil {
					t.Error("a blob was kept")
				}
				if _, err := r.StatBlob(r.ctx, r.admin, "demo/web", sum(large)); problem.KindOf(err) != problem.NotFound {
					t.Errorf("the blob is there: %v", err)
				}
			}
			f.broken.Store(false) // mended
			r.released("demo", "web", "1.0.0")
		})
	}
}

// TestLeaves asks for the log: its hashes are public, its leaves are not.
func TestLeaves(t *testing.T) {
	r := newRegistry(t)
	r.project("open", release.ProjectOptions{Public: true})
	_, private := r.released("demo", "web", "1.0.0")
	_, public := r.released("open", "web", "1.0.0")
	_, err := r.Checkpoint(r.ctx)
	r.ok(err)
	_, err = r.Tile(r.ctx, 0, 0, 1)
	r.ok(err)
	_, err = r.Leaf(r.ctx, anybody, public.LogIndex)
	r.ok(err)
	for _, c := range []release.Caller{anybody, r.robot("stranger", access.Grant{Role: access.RoleReader, Project: "elsewhere"})} {
		if _, err := r.Leaf(r.ctx, c, private.LogIndex); err == nil {
			t.Error("a stranger reads a private leaf")
		}
		if _, err := r.ProveLeaf(r.ctx, c, private.LogIndex); err == nil {
			t.Error("a stranger proves a private leaf")
		}
		if err := r.MayReadLog(r.ctx, c); err == nil {
			t.Error("a stranger reads the log")
		}
		first, list, err := r.LatestLeaves(r.ctx, c, 0, 10)
		r.ok(err)
		info, err := r.LogInfo(r.ctx)
		r.ok(err)
		if first != info.Size-1 || int64(len(list)) != info.Size {
			t.Errorf("%d leaves from %d on", len(list), first)
		}
		for i, leaf := range list {
			if index := first - int64(i); (leaf != nil) != (index == public.LogIndex || index == public.LogIndex-2) { // the project and its release
				t.Errorf("leaf %d: %q", index, leaf)
			}
		}
	}
	proof, err := r.ProveLeaf(r.ctx, r.robot("reader", access.Grant{Role: access.RoleReader, Project: "demo"}), private.LogIndex)
	r.ok(err)
	leaf, err := tlog.ParseLeaf(proof.Leaf)
	r.ok(err)
	if archiveOf(leaf) != private.Archive {
		t.Errorf("leaf %+v", leaf)
	}
	_, err = r.Audit(r.ctx, anybody, release.AuditFilter{})
	if err == nil {
		t.Error("anybody reads the audit trail")
	}
	owner := r.robot("owner", access.Grant{Role: access.RoleProjectOwner, Project: "demo"})
	if _, err := r.Audit(r.ctx, owner, release.AuditFilter{}); err == nil {
		t.Error("the owner of a project reads the audit trail of all")
	}
	list, err := r.Audit(r.ctx, owner, release.AuditFilter{Project: "demo"})
	r.ok(err)
	if len(list) == 0 {
		t.Error("the owner of a project sees nothing of it")
	}
}
