package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/store/blob"
)

var owner = release.Caller{Principal: access.Principal{Kind: access.KindSystem, ID: "test", Name: "test", Grants: []access.Grant{
	{ID: "1", Role: access.RoleInstanceAdmin, Project: "*"}, {ID: "2", Role: access.RoleMaintainer, Project: "*"},
}}, Door: audit.DoorAPI}

// stopped is a data folder of a server that has stopped, with charts web
// 1.0.0 and 2.0.0 in project demo.
func stopped(t *testing.T) (cfg Config, releases map[string]release.Release) {
	t.Helper()
	return stoppedWith(t, "1.0.0", "2.0.0")
}

func stoppedWith(t *testing.T, versions ...string) (cfg Config, releases map[string]release.Release) {
	t.Helper()
	cfg = Default()
	cfg.Data, cfg.Listen, cfg.LogLevel = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", "error"
	d, err := Open(t.Context(), cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	releases = map[string]release.Release{}
	_, err = d.service.CreateProject(ctx, owner, "demo", release.ProjectOptions{})
	for _, version := range versions {
		if err != nil {
			t.Fatal(err)
		}
		var receipt release.Receipt
		receipt, err = d.service.PushArchive(ctx, owner, "demo", bytes.NewReader(charttest.Build(t, "web", version, nil)), nil, release.PushOptions{})
		releases[version] = receipt.Release
	}
	if err != nil {
		t.Fatal(err)
	}
	view, err := d.service.Index(ctx, owner, "demo", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := view.Snapshot(); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return cfg, releases
}

func check(t *testing.T, cfg Config, opt FsckOptions) FsckReport {
	t.Helper()
	r, err := Fsck(t.Context(), cfg, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *FsckReport) kinds() string {
	var out []string
	for _, f := range r.Findings {
		out = append(out, string(f.Kind))
	}
	return strings.Join(out, " ")
}

func TestFsckClean(t *testing.T) {
	cfg, _ := stopped(t)
	r := check(t, cfg, FsckOptions{})
	if len(r.Findings) > 0 || r.Counts.Releases != 2 || r.Counts.Blobs != 2 || r.LogSize < 3 || r.Unnamed != 0 {
		t.Errorf("%+v", r)
	}
	vkey, err := os.ReadFile(filepath.Join(cfg.Data, fileVerifier))
	if err != nil {
		t.Fatal(err)
	}
	if with := check(t, cfg, FsckOptions{LogKey: string(vkey)}); len(with.Findings) > 0 || len(with.Notes) >= len(r.Notes) {
		t.Errorf("with a key: %+v", with)
	}
	// The private key is not needed, and a folder of no server is not made one.
	if err := os.Remove(filepath.Join(cfg.Data, fileLogKey)); err != nil {
		t.Fatal(err)
	}
	if r := check(t, cfg, FsckOptions{}); len(r.Findings) > 0 {
		t.Errorf("without the private key: %+v", r.Findings)
	}
	cfg.Data = filepath.Join(t.TempDir(), "none")
	if _, err := Fsck(t.Context(), cfg, FsckOptions{}); problem.KindOf(err) != problem.NotFound {
		t.Errorf("no folder: %v", err)
	}
	if _, err := os.Stat(cfg.Data); !os.IsNotExist(err) {
		t.Errorf("it made the folder: %v", err)
	}
}

// TestFsckRestore takes archives away and damages them, and brings them back
// from a folder with files of all kinds.
func TestFsckRestore(t *testing.T) {
	cfg, releases := stopped(t)
	files := map[string]string{}
	backup := t.TempDir()
	for version, r := range releases {
		hex := strings.TrimPrefix(r.Archive, "sha256:")
		files[version] = filepath.Join(cfg.Data, dirBlobs, "blobs", "sha256", hex[:2], hex)
		b, err := os.ReadFile(files[version])
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(backup, "kept-"+version+".tgz"), b)
	}
	put(t, filepath.Join(backup, "README"), []byte("nothing of it"))
	if err := os.Remove(files["1.0.0"]); err != nil {
		t.Fatal(err)
	}
	put(t, files["2.0.0"], []byte("something else"))
	r := check(t, cfg, FsckOptions{})
	if r.kinds() != "bytes-missing bytes-changed" {
		t.Fatalf("found %s", r.kinds())
	}
	// A folder without the right bytes brings nothing back.
	if r := check(t, cfg, FsckOptions{RestoreFrom: t.TempDir()}); len(r.Restored) != 0 || len(r.Findings) != 2 {
		t.Fatalf("from nothing: %+v", r)
	}
	r = check(t, cfg, FsckOptions{RestoreFrom: backup})
	if len(r.Restored) != 2 || len(r.Findings) != 0 {
		t.Fatalf("restored %+v, found %+v", r.Restored, r.Findings)
	}
	if r := check(t, cfg, FsckOptions{}); len(r.Findings) != 0 {
		t.Fatalf("afterwards: %+v", r.Findings)
	}
}

func put(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFsckFinds damages what only a check of a stopped server looks at.
func TestFsckFinds(t *testing.T) {
	t.Run("database file", func(t *testing.T) {
		cfg, _ := stopped(t)
		db, err := sql.Open("sqlite", "file:"+filepath.Join(cfg.Data, fileDatabase))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		// A row that its index does not have, as a torn write leaves it.
		for _, q := range []string{"PRAGMA writable_schema=1", "DELETE FROM sqlite_master WHERE name = 'release_generation'",
			"PRAGMA wal_checkpoint(TRUNCATE)"} {
			if _, err := db.Exec(q); err != nil {
				t.Fatal(err)
			}
		}
		db.Close()
		if r := check(t, cfg, FsckOptions{}); !strings.Contains(r.kinds(), "database-file") {
			t.Errorf("found %q", r.kinds())
		}
	})
	t.Run("what is kept of the log", func(t *testing.T) {
		cfg, _ := stopped(t)
		gone := 0
		err := filepath.WalkDir(filepath.Join(cfg.Data, dirBlobs), func(path string, e os.DirEntry, err error) error {
			if err == nil && !e.IsDir() && strings.Contains(path, "checkpoint") {
				gone++
				return os.Remove(path)
			}
			return err
		})
		if err != nil || gone == 0 {
			t.Fatalf("%d kept checkpoints, %v", gone, err)
		}
		if r := check(t, cfg, FsckOptions{}); !strings.Contains(r.kinds(), "kept-history") {
			t.Errorf("found %q, notes %q", r.kinds(), r.Notes)
		}
	})
	t.Run("cached index", func(t *testing.T) {
		cfg, _ := stopped(t)
		path := filepath.Join(cfg.Data, dirCache, release.IndexCacheName(1, false))
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// It is whole, and belongs to the same project of another server.
		other, _ := stoppedWith(t, "3.0.0", "4.0.0")
		if b, err := os.ReadFile(filepath.Join(other.Data, dirCache, release.IndexCacheName(1, false))); err != nil || bytes.Equal(b, before) {
			t.Fatalf("the cache of another server: %v, the same: %v", err, bytes.Equal(b, before))
		} else {
			put(t, path, b)
		}
		r := check(t, cfg, FsckOptions{})
		if r.kinds() != "index-cache" {
			t.Fatalf("found %q", r.kinds())
		}
		if r := check(t, cfg, FsckOptions{Repair: true}); len(r.Findings) != 0 || len(r.Repaired) != 1 {
			t.Errorf("repaired %q, found %+v", r.Repaired, r.Findings)
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("the false index is there: %v", err)
		}
	})
	t.Run("another key", func(t *testing.T) {
		cfg, _ := stopped(t)
		other, _ := stopped(t)
		b, err := os.ReadFile(filepath.Join(other.Data, fileVerifier))
		if err != nil {
			t.Fatal(err)
		}
		if r := check(t, cfg, FsckOptions{LogKey: string(b)}); !strings.Contains(r.kinds(), "log-head") {
			t.Errorf("found %q", r.kinds())
		}
	})
}

// released is a data folder with that many releases of web in project demo;
// their archives in the order of the log, and the place in it of each.
func released(t *testing.T, releases int) (d *Daemon, archives []string, place map[string]int64) {
	t.Helper()
	cfg := Default()
	cfg.Data, cfg.Listen, cfg.LogLevel = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", "error"
	d, err := Open(t.Context(), cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	if _, err := d.service.CreateProject(t.Context(), owner, "demo", release.ProjectOptions{}); err != nil {
		t.Fatal(err)
	}
	place = map[string]int64{}
	for i := range releases {
		r, err := d.service.PushArchive(t.Context(), owner, "demo", bytes.NewReader(charttest.Build(t, "web", fmt.Sprintf("1.0.%d", i), nil)), nil, release.PushOptions{})
		if err != nil {
			t.Fatal(err)
		}
		place[r.Release.Archive] = r.Release.LogIndex
		archives = append(archives, r.Release.Archive)
	}
	return d, archives, place
}

// examination is one of everything that a server has, without anybody to tell,
// and its blobs.
func examination(t testing.TB, d *Daemon) (*release.Examination, *blob.Dir) {
	t.Helper()
	scrub, err := d.scrubbing()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := blob.OpenDir(d.folder.file(dirBlobs))
	if err != nil {
		t.Fatal(err)
	}
	return &release.Examination{Stored: d.store, Blobs: dir, Projects: d.store.AllProjects, Origin: d.keys.origin, LogKeys: scrub.LogKeys, AuditKeys: scrub.AuditKeys}, dir
}

// watchedBlobs tells of every blob that is opened, and may refuse.
type watchedBlobs struct {
	*blob.Dir
	open func(digest string) error
}

func (w watchedBlobs) Open(ctx context.Context, digest string) (release.BlobFile, error) {
	if err := w.open(digest); err != nil {
		return nil, err
	}
	return w.Dir.Open(ctx, digest)
}

// TestExaminationOfPages breaks off in the middle of several pages whose blobs
// are hashed by several at once: what counts as compared was, the rest is taken
// up, and what is found is told in the order of the log.
func TestExaminationOfPages(t *testing.T) {
	const releases = 150
	d, archives, place := released(t, releases)
	e, dir := examination(t, d)
	var mu sync.Mutex
	opened := map[string]int{}
	broken := archives[100]
	blobs := watchedBlobs{dir, func(digest string) error {
		mu.Lock()
		defer mu.Unlock()
		opened[digest]++
		if digest == broken {
			return errors.New("the disk is away")
		}
		return nil
	}}
	var found []release.Finding
	told := 0 // without a lock: one call at a time is the promise
	e.Blobs = blobs
	e.Find = func(f release.Finding) error { found = append(found, f); return nil }
	e.Progress = func() error { told++; return nil }
	st := release.ScrubState{}
	if err := e.Run(t.Context(), &st); err == nil || !strings.Contains(err.Error(), "the disk is away") {
		t.Fatal(err)
	}
	if st.Next == 0 || st.Next > place[broken] {
		t.Fatalf("broke off at leaf %d, and all before %d counts as compared", place[broken], st.Next)
	}
	for digest, at := range place {
		if at < st.Next && opened[digest] != 1 {
			t.Errorf("the archive of leaf %d counts as compared and was opened %d times", at, opened[digest])
		}
	}
	if len(found) != 0 || told == 0 {
		t.Errorf("%d times told, found %d, first %+v", told, len(found), found[:min(1, len(found))])
	}
	damaged := []string{archives[70], archives[101], archives[149]}
	for _, digest := range damaged {
		digits := strings.TrimPrefix(digest, "sha256:")
		file := filepath.Join(d.folder.file(dirBlobs), "blobs", "sha256", digits[:2], digits)
		if err := errors.Join(os.Remove(file), os.WriteFile(file, []byte("other"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	broken = ""
	clear(opened)
	next := st.Next
	if err := e.Run(t.Context(), &st); err != nil {
		t.Fatal(err)
	}
	for digest, at := range place {
		if at >= next && opened[digest] != 1 || at < next && opened[digest] != 0 {
			t.Errorf("taken up at leaf %d, the archive of leaf %d was opened %d times", next, at, opened[digest])
		}
	}
	if st.Next != st.Size || st.Size < releases || st.Done.Findings != 3 {
		t.Errorf("%+v", st)
	}
	var got []string
	for _, f := range found {
		got = append(got, f.Logged)
	}
	if !slices.Equal(got, damaged) {
		t.Errorf("found %v, want %v", got, damaged)
	}
}

// awayStore answers with an error where it is asked for one thing.
type awayStore struct {
	release.Stored
	what  string
	asked map[string]int
	mu    sync.Mutex
}

func (s *awayStore) away(what string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked[what]++; what == s.what {
		return errors.New("the database is away")
	}
	return nil
}

func (s *awayStore) StoredLeaves(ctx context.Context, log release.LogName, from int64, limit int) ([]release.StoredLeaf, error) {
	if err := s.away("leaves of the " + log.String()); err != nil {
		return nil, err
	}
	return s.Stored.StoredLeaves(ctx, log, from, limit)
}

func (s *awayStore) StoredReleases(ctx context.Context, from, to int64) ([]release.StoredRelease, error) {
	if err := s.away("releases"); err != nil {
		return nil, err
	}
	return s.Stored.StoredReleases(ctx, from, to)
}

func (s *awayStore) StoredStrays(ctx context.Context, size int64, limit int) ([]release.Release, error) {
	if err := s.away("strays"); err != nil {
		return nil, err
	}
	return s.Stored.StoredStrays(ctx, size, limit)
}

func (s *awayStore) StoredEvents(ctx context.Context, from, to int64) ([]release.StoredEvent, error) {
	if err := s.away("events"); err != nil {
		return nil, err
	}
	return s.Stored.StoredEvents(ctx, from, to)
}

// TestUnreadIsNotMissing: what could not be read is an error, and no finding.
func TestUnreadIsNotMissing(t *testing.T) {
	d, _, _ := released(t, 3)
	for _, what := range []string{"leaves of the release log", "leaves of the audit log", "releases", "strays", "events", "blobs", "projects"} {
		t.Run(what, func(t *testing.T) {
			store := &awayStore{Stored: d.store, what: what, asked: map[string]int{}}
			e, dir := examination(t, d)
			e.Stored, e.Blobs = store, watchedBlobs{dir, func(string) error { return store.away("blobs") }}
			e.Projects = func(ctx context.Context) ([]release.Project, error) {
				if err := store.away("projects"); err != nil {
					return nil, err
				}
				return d.store.AllProjects(ctx)
			}
			e.Find = func(f release.Finding) error { t.Errorf("found %+v", f); return nil }
			if err := e.Run(t.Context(), &release.ScrubState{}); err == nil || !strings.Contains(err.Error(), "the database is away") {
				t.Error(err)
			}
			if store.asked[what] == 0 {
				t.Error("was not asked for")
			}
		})
	}
}

// BenchmarkScrub measures an examination of everything beside a bare SHA-256
// pass over the same files, in turns so that both see the same machine. "ratio"
// is how many times longer the examination takes.
func BenchmarkScrub(b *testing.B) {
	cfg := Default()
	cfg.Data, cfg.Listen, cfg.LogLevel = filepath.Join(b.TempDir(), "data"), "127.0.0.1:0", "error"
	d, err := Open(b.Context(), cfg, io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	if _, err := d.service.CreateProject(b.Context(), owner, "demo", release.ProjectOptions{}); err != nil {
		b.Fatal(err)
	}
	var noise bytes.Buffer
	seed := sha256.Sum256([]byte("noise"))
	// Archives of some 64 KB, as charts are on average. Each byte takes two
	// digits, and compression takes them back.
	for noise.Len() < 64<<10 {
		noise.Write(seed[:])
		seed = sha256.Sum256(seed[:])
	}
	var paths []string
	for i := range 1500 {
		version := fmt.Sprintf("1.0.%d", i)
		archive := charttest.Build(b, "web", version, map[string]string{"files/noise": hex.EncodeToString(noise.Bytes()[:60<<10]), "files/n": version})
		receipt, err := d.service.PushArchive(b.Context(), owner, "demo", bytes.NewReader(archive), nil, release.PushOptions{})
		if err != nil {
			b.Fatal(err)
		}
		digits := strings.TrimPrefix(receipt.Release.Archive, "sha256:")
		paths = append(paths, filepath.Join(cfg.Data, dirBlobs, "blobs", "sha256", digits[:2], digits))
	}
	var ours, bare time.Duration
	var size int64
	for b.Loop() {
		e, _ := examination(b, d)
		e.Find = func(f release.Finding) error { return fmt.Errorf("found %+v", f) }
		begun := time.Now()
		st := release.ScrubState{}
		if err := e.Run(b.Context(), &st); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(begun)
		size += st.Done.Bytes
		begun = time.Now()
		for _, p := range paths {
			f, err := os.Open(p)
			if err != nil {
				b.Fatal(err)
			}
			h := sha256.New()
			if _, err := io.Copy(h, f); err != nil {
				b.Fatal(err)
			}
			f.Close()
			h.Sum(nil)
		}
		bare += time.Since(begun)
	}
	b.ReportMetric(float64(size)/ours.Seconds()/(1<<20), "MiB/s")
	b.ReportMetric(float64(size)/bare.Seconds()/(1<<20), "bare-MiB/s")
	b.ReportMetric(ours.Seconds()/bare.Seconds(), "ratio")
}
