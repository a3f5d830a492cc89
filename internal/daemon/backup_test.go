package daemon

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// bring puts the private key in its place, as an operator does who kept it.
func bring(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(from, fileLogKey))
	if err == nil {
		err = os.WriteFile(filepath.Join(to, fileLogKey), data, 0o600)
	}
	if err == nil {
		data, err = os.ReadFile(filepath.Join(from, fileToken)) // for the tests' own requests
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(to, fileToken), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func restoring(t *testing.T, from string) (Config, RestoreOptions) {
	cfg := Default()
	cfg.Data = filepath.Join(t.TempDir(), "restored")
	return cfg, RestoreOptions{From: from}
}

func refusedAs(t *testing.T, err error, kind problem.Kind, rule string) *problem.Error {
	t.Helper()
	p, ok := problem.As(err)
	if !ok || p.Kind != kind || p.Rule != rule {
		t.Fatalf("got %v, want a problem of kind %s, rule %s", err, kind, rule)
	}
	return p
}

// TestBackup makes backups of a running server and restores them elsewhere.
func TestBackup(t *testing.T) {
	cfg := Default()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	d, stop := run(t, cfg)
	created(t, d, "demo")
	first := pushed(t, d, "web", "1.0.0")
	to := filepath.Join(t.TempDir(), "backups")
	one, err := Backup(t.Context(), cfg, to, false)
	if err != nil || one.Blobs != 1 || len(one.Missing) > 0 {
		t.Fatalf("%+v, %v", one, err)
	}
	second := pushed(t, d, "web", "2.0.0")
	two, err := Backup(t.Context(), cfg, to, false)
	if err != nil || two.Blobs != 2 || one.ID == two.ID {
		t.Fatalf("%+v, %v", two, err)
	}
	file := filepath.Join(t.TempDir(), "all.tar")
	three, err := Backup(t.Context(), cfg, file, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Backup(t.Context(), cfg, file, true); problem.KindOf(err) != problem.Conflict {
		t.Errorf("a file that is there: %v", err)
	}
	secret, err := os.ReadFile(d.folder.file(fileLogKey))
	if err != nil {
		t.Fatal(err)
	}
	if keyIn(t, to, secret) || !keyIn(t, file, secret) {
		t.Error("the private key is in a backup that did not ask for it, or not in one that did")
	}
	_ = three
	stop()
	d, stop = run(t, cfg)
	if _, body := request(t, d, "GET", "/api/v1/audit?event=backup.made", nil); strings.Count(body, `"event":"backup.made"`) != 3 {
		t.Errorf("the audit log was not told of three backups: %s", body)
	}
	stop()

	for _, c := range []struct {
		name     string
		from     string
		snapshot string
		key      bool
		pulls    map[string][]byte
	}{
		{"the newest", to, "", false, map[string][]byte{"1.0.0": first, "2.0.0": second}},
		{"an older one", to, one.ID, false, map[string][]byte{"1.0.0": first}},
		{"a file", file, "", true, map[string][]byte{"1.0.0": first, "2.0.0": second}},
	} {
		t.Run(c.name, func(t *testing.T) {
			into, opt := restoring(t, c.from)
			opt.Snapshot = c.snapshot
			got, err := Restore(t.Context(), into, opt)
			if err != nil || got.HasKey != c.key || len(got.Behind) > 0 {
				t.Fatalf("%+v, %v", got, err)
			}
			if !c.key {
				if _, err := Open(t.Context(), into, t.Output()); err == nil || !strings.Contains(err.Error(), "not the key of its log") {
					t.Errorf("without its key the server starts: %v", err)
				}
			}
			bring(t, cfg.Data, into.Data)
			if _, err := Restore(t.Context(), into, opt); problem.KindOf(err) != problem.Conflict {
				t.Errorf("restored over a database: %v", err)
			}
			d, stop := run(t, into)
			for version, archive := range c.pulls {
				if code, body := request(t, d, "GET", "/demo/charts/web-"+version+".tgz", nil); code != 200 || body != string(archive) {
					t.Errorf("%s: %d, %d bytes", version, code, len(body))
				}
			}
			pushed(t, d, "web", "7.0.0")
			if _, body := request(t, d, "GET", "/metrics", nil); !strings.Contains(body, "chartkeep_records_missing 0") {
				t.Error("a restored server believes that records were removed")
			}
			stop()
			d, _ = run(t, into)
			if _, body := request(t, d, "GET", "/api/v1/audit?event=backup.restored", nil); strings.Count(body, `"event":"backup.restored"`) != 1 {
				t.Errorf("the audit log was not told: %s", body)
			}
		})
	}
}

// keyIn looks for the private key in all files of a backup.
func keyIn(t *testing.T, path string, key []byte) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		found = found || bytes.Contains(data, bytes.TrimSpace(key))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestRestoreBehind: a backup that is behind what was signed is refused, or
// restored without writes and brought forward.
func TestRestoreBehind(t *testing.T) {
	cfg := Default()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	d, stop := run(t, cfg)
	created(t, d, "demo")
	pushed(t, d, "web", "1.0.0")
	to := filepath.Join(t.TempDir(), "backups")
	if _, err := Backup(t.Context(), cfg, to, false); err != nil {
		t.Fatal(err)
	}
	second := pushed(t, d, "web", "2.0.0")
	_, checkpoint := request(t, d, "GET", "/log/checkpoint", nil)
	stop()
	if err := os.Remove(filepath.Join(cfg.Data, fileDatabase)); err != nil { // the disk of the database is lost
		t.Fatal(err)
	}
	for _, part := range []string{"-wal", "-shm"} {
		if err := os.Remove(filepath.Join(cfg.Data, fileDatabase+part)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	_, err := Restore(t.Context(), cfg, RestoreOptions{From: to})
	refusedAs(t, err, problem.Conflict, "restore-behind")
	got, err := Restore(t.Context(), cfg, RestoreOptions{From: to, Behind: true})
	if err != nil || len(got.Behind) != 2 || !got.HasKey {
		t.Fatalf("%+v, %v", got, err)
	}
	d, stop = run(t, cfg)
	if d.store.ReadOnly() == nil {
		t.Fatal("a backup that is behind takes writes")
	}
	stop()
	if rep, err := Recover(t.Context(), cfg, true); err != nil || rep.Releases != 1 {
		t.Fatalf("%+v, %v", rep, err)
	}
	d, stop = run(t, cfg)
	if code, body := request(t, d, "GET", "/demo/charts/web-2.0.0.tgz", nil); code != 200 || body != string(second) {
		t.Errorf("after the recovery: %d, %d bytes", code, len(body))
	}
	pushed(t, d, "web", "3.0.0")
	stop()

	// A checkpoint that somebody kept elsewhere counts the same.
	known := filepath.Join(t.TempDir(), "checkpoint")
	write(t, known, checkpoint)
	into, opt := restoring(t, to)
	opt.Checkpoint = known
	_, err = Restore(t.Context(), into, opt)
	refusedAs(t, err, problem.Conflict, "restore-behind")
	if _, err := os.Stat(filepath.Join(into.Data, fileDatabase)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a refused restore left a database")
	}
	opt.Behind = true
	if _, err := Restore(t.Context(), into, opt); err != nil {
		t.Fatal(err)
	}
	bring(t, cfg.Data, into.Data)
	d, _ = run(t, into)
	if d.store.ReadOnly() == nil {
		t.Error("a backup that is behind a known checkpoint takes writes")
	}
}

// TestRestoreRefuses: whatever was changed in a backup is found before anything
// is put in its place.
func TestRestoreRefuses(t *testing.T) {
	cfg := Default()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	d, stop := run(t, cfg)
	created(t, d, "demo")
	archive := pushed(t, d, "web", "1.0.0")
	to := filepath.Join(t.TempDir(), "backups")
	made, err := Backup(t.Context(), cfg, to, false)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	snapshot := filepath.Join("snapshots", made.ID)
	change := func(path string, fn func([]byte) []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			data, err := os.ReadFile(filepath.Join(dir, path))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, path), fn(data), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	replace := func(from, to string) func([]byte) []byte {
		return func(b []byte) []byte {
			if !bytes.Contains(b, []byte(from)) {
				t.Fatalf("there is no %q to replace", from)
			}
			return bytes.ReplaceAll(b, []byte(from), []byte(to))
		}
	}
	sum := strings.TrimPrefix(digest.SHA256(archive), "sha256:")
	for _, c := range []struct {
		name   string
		change func(t *testing.T, dir string)
		rule   string
	}{
		{"a bit of the database", change(snapshot+"/database/chartkeep.db", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }), "backup-file"},
		{"a blob", change("blobs/sha256/"+sum[:2]+"/"+sum, func(b []byte) []byte { return append(b, 'x') }), "backup-file"},
		{"the list of files", change(snapshot+"/contents", func(b []byte) []byte { return b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1] }), "backup-contents"},
		{"a path that leads out", change(snapshot+"/contents", replace("  blobs/", "  ../blobs/")), "backup-contents"},
		{"the manifest's size", change(snapshot+"/manifest.json", replace(fmt.Sprintf(`"size": %d`, made.Logs[0].Size), `"size": 99`)), "backup-manifest"},
		{"no manifest", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, snapshot, "manifest.json")); err != nil {
				t.Fatal(err)
			}
		}, "backup"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "backups")
			if err := os.CopyFS(dir, os.DirFS(to)); err != nil {
				t.Fatal(err)
			}
			c.change(t, dir)
			into, opt := restoring(t, dir)
			_, err := Restore(t.Context(), into, opt)
			if p, ok := problem.As(err); !ok || p.Rule != c.rule {
				t.Fatalf("got %v, want rule %s", err, c.rule)
			}
			if _, err := os.Stat(filepath.Join(into.Data, fileDatabase)); !errors.Is(err, fs.ErrNotExist) {
				t.Error("a refused restore left a database")
			}
		})
	}
	// Another server's folder.
	other := Default()
	other.Data = filepath.Join(t.TempDir(), "other")
	_, stop = run(t, other)
	stop()
	if err := os.Remove(filepath.Join(other.Data, fileDatabase)); err != nil {
		t.Fatal(err)
	}
	_, err = Restore(t.Context(), other, RestoreOptions{From: to})
	refusedAs(t, err, problem.Conflict, "restore-key")
}

// TestBackupMissing: a blob that is gone does not keep the rest from being
// backed up, and is named.
func TestBackupMissing(t *testing.T) {
	cfg := Default()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	d, _ := run(t, cfg)
	created(t, d, "demo")
	gone, rotten := digest.SHA256(pushed(t, d, "web", "1.0.0")), digest.SHA256(pushed(t, d, "web", "2.0.0"))
	pushed(t, d, "web", "3.0.0")
	path := func(sum string) string {
		sum = strings.TrimPrefix(sum, "sha256:")
		return filepath.Join(d.folder.file(dirBlobs), "blobs", "sha256", sum[:2], sum)
	}
	if err := os.Remove(path(gone)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path(rotten), []byte("rotten"), 0o600); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "backups")
	made, err := Backup(t.Context(), cfg, to, false)
	if err != nil || made.Blobs != 1 || len(made.Missing) != 2 {
		t.Fatalf("%+v, %v", made, err)
	}
	into, opt := restoring(t, to)
	if _, err := Restore(t.Context(), into, opt); err != nil {
		t.Errorf("what is missing by the manifest's own word keeps the rest from being restored: %v", err)
	}
}

// TestRestoreTar: a file that is no backup leads nowhere.
func TestRestoreTar(t *testing.T) {
	for _, c := range []struct {
		name   string
		header tar.Header
	}{
		{"a path upwards", tar.Header{Name: "../evil", Typeflag: tar.TypeReg}},
		{"an absolute path", tar.Header{Name: "/tmp/evil", Typeflag: tar.TypeReg}},
		{"a link", tar.Header{Name: "blobs/sha256/ab/cd", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}},
		{"another file", tar.Header{Name: "evil", Typeflag: tar.TypeReg}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			c.header.Mode = 0o600
			if err := errors.Join(w.WriteHeader(&c.header), w.Close()); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "x.tar")
			write(t, file, b.String())
			into, opt := restoring(t, file)
			_, err := Restore(context.Background(), into, opt)
			refusedAs(t, err, problem.Disproven, "backup-tar")
		})
	}
}
