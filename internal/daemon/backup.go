package daemon

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/store/blob"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
)

// publicKeys and privateKeys are the files of a data folder that a backup has,
// the second only when they are asked for.
var (
	publicKeys  = []string{fileVerifier, fileAuditVerifier}
	privateKeys = []string{fileLogKey, fileOldKey, fileRotation, fileAuditKey, fileSecret}
)

// Backup makes a backup of a server, which may run: of its database at one
// moment, and of all blobs that there are after it. to is a folder, in which
// blobs that are there are not copied again, or a file that ends in .tar. The
// private keys are in it only with withKey.
//
// Everything is checked on the way: the logs lead to signed heads, and every
// blob has its digest. A blob that the database names and that is gone or
// damaged is in Missing, and the rest is there. The server tells the audit log
// that a backup was made.
func Backup(ctx context.Context, cfg Config, to string, withKey bool) (custody.Backup, error) {
	if err := cfg.served(); err != nil {
		return custody.Backup{}, err
	}
	path, err := filepath.Abs(cfg.Data)
	if err != nil {
		return custody.Backup{}, err
	}
	b := &backup{cfg: cfg, from: &folder{path: path}, to: to, now: time.Now().UTC()}
	tarFile := strings.HasSuffix(to, ".tar")
	if tarFile {
		if _, err := os.Lstat(to); err == nil {
			return custody.Backup{}, problem.New(problem.Conflict, "backup-target", "the file %s is there already", to).Suggest("give another name")
		}
		if b.to, err = os.MkdirTemp(filepath.Dir(to), ".backup-"); err != nil {
			return custody.Backup{}, fmt.Errorf("make backup: %w", err)
		}
		defer os.RemoveAll(b.to)
	}
	if err := b.make(ctx, withKey); err != nil {
		return custody.Backup{}, err
	}
	if tarFile {
		if err := writeTar(b.to, to); err != nil {
			return custody.Backup{}, err
		}
	}
	return b.manifest, b.notice(ctx)
}

// backup is one on its way.
type backup struct {
	cfg      Config
	from     *folder
	to       string
	now      time.Time
	manifest custody.Backup
	blobs    *blob.Dir // of the server
	kept     *blob.Dir // of the backup
	contents *contents
}

// contents is the list of a backup's files on its way to its own.
type contents struct {
	file *os.File
	*bufio.Writer
	sum hash.Hash
}

func createContents(path string) (*contents, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	return &contents{f, bufio.NewWriter(io.MultiWriter(f, sum)), sum}, nil
}

// end makes the list durable and returns its digest.
func (c *contents) end() (string, error) {
	err := errors.Join(c.Flush(), c.file.Sync(), c.file.Close())
	return digest.Of("sha256", c.sum), err
}

func (b *backup) make(ctx context.Context, withKey bool) error {
	keys, err := b.from.openKeysFor(&b.cfg)
	if err != nil {
		return err
	}
	verifiers, err := keys.verifiers()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.to, 0o700); err != nil {
		return fmt.Errorf("make backup: %w", err)
	}
	if b.blobs, err = blob.OpenDir(b.from.file(dirBlobs)); err != nil {
		return err
	}
	if b.kept, err = blob.OpenDir(b.to); err != nil {
		return err
	}
	b.manifest = custody.Backup{ID: custody.BackupID(b.now, rand.Text()[:8]), Time: b.now.Truncate(time.Second), Version: ReadBuild().Version, WithKey: withKey}
	database := b.place(custody.BackupDatabase)
	for _, dir := range []string{database, b.place(custody.BackupKeys)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make backup: %w", err)
		}
	}
	// First the database, then the blobs: these are only added, so whatever the
	// database names is there when they are copied.
	store := sqlstore.Config{SQLite: b.from.file(fileDatabase), Postgres: b.cfg.Database}
	dump, seen, err := sqlstore.Snapshot(ctx, store, database, sqlstore.Look{Verifiers: verifiers, Unsigned: b.cfg.LogSigner != ""})
	if err != nil {
		return err
	}
	b.manifest.Database = dump
	for _, log := range custody.Logs {
		h := seen.Heads[log]
		b.manifest.Logs = append(b.manifest.Logs, custody.BackupHead{Log: log, Size: h.Size, Root: h.Root.String(), Checkpoint: string(h.Note)})
	}
	if b.contents, err = createContents(b.place(custody.BackupContents)); err != nil {
		return err
	}
	defer b.contents.file.Close() // it is closed before, unless something failed
	if err := b.copyBlobs(ctx, seen.Blobs); err != nil {
		return err
	}
	if err := b.copyKeys(withKey); err != nil {
		return err
	}
	return b.finish()
}

// place is a path in the folder of this backup.
func (b *backup) place(parts ...string) string {
	return filepath.Join(append([]string{b.to, custody.BackupSnapshots, b.manifest.ID}, parts...)...)
}

// copyBlobs copies every blob that the backup does not have.
func (b *backup) copyBlobs(ctx context.Context, named map[string]int64) error {
	missing := maps.Clone(named)
	err := b.blobs.List(ctx, func(name string, size int64, _ time.Time) error {
		held, err := b.kept.Stat(ctx, name)
		if problem.KindOf(err) == problem.NotFound {
			err = copyBlob(ctx, b.blobs, b.kept, name)
			held = size
		}
		if problem.KindOf(err) == problem.NotFound || problem.KindOf(err) == problem.Disproven || problem.KindOf(err) == problem.Invalid {
			return nil // gone since, or damaged: missing, if it is named
		}
		if err != nil {
			return err
		}
		if held != size {
			return problem.New(problem.Disproven, "backup-blob", "the backup holds %s with %d bytes, and it has %d", name, held, size).
				Suggest("make the backup into another folder, and find out what changed this one")
		}
		delete(missing, name)
		b.manifest.Blobs++
		b.manifest.Bytes += size
		return b.listBlob(ctx, name)
	})
	b.manifest.Missing = slices.Sorted(maps.Keys(missing))
	return err
}

// copyBlob copies one blob, and keeps nothing of it when it does not have its
// digest.
func copyBlob(ctx context.Context, from, to *blob.Dir, name string) error {
	f, err := from.Open(ctx, name)
	if err != nil {
		return err
	}
	defer f.Close()
	u, err := to.Begin(ctx)
	if err != nil {
		return err
	}
	defer u.Cancel()
	if _, err := u.ReadFrom(f); err != nil {
		return err
	}
	_, _, err = u.Commit(ctx, name)
	return err
}

// listBlob adds a blob to the contents, by the SHA-256 of its bytes.
func (b *backup) listBlob(ctx context.Context, name string) error {
	alg, sum, _ := strings.Cut(name, ":")
	path := "blobs/" + alg + "/" + sum[:2] + "/" + sum
	if alg != "sha256" {
		var err error
		if sum, err = hashFile(filepath.Join(b.to, filepath.FromSlash(path))); err != nil {
			return err
		}
	}
	if err := custody.WriteItem(b.contents, custody.Item{SHA256: sum, Path: path}); err != nil {
		return err
	}
	return ctx.Err()
}

// copyKeys copies the public keys, and the private ones when they are wanted.
func (b *backup) copyKeys(withKey bool) error {
	for i, list := range [][]string{publicKeys, privateKeys} {
		if i == 1 && !withKey {
			break
		}
		for _, name := range list {
			data, err := os.ReadFile(b.from.file(name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if err := writeOnce(b.place(custody.BackupKeys, name), string(data), 0o600); err != nil {
				return err
			}
			b.manifest.Keys = append(b.manifest.Keys, name)
		}
	}
	return nil
}

// finish syncs the files, and makes the backup one by its manifest.
func (b *backup) finish() error {
	for _, part := range []struct {
		dir   string
		names []string
	}{{custody.BackupDatabase, b.manifest.Database.Files()}, {custody.BackupKeys, b.manifest.Keys}} {
		for _, name := range part.names {
			path := b.place(part.dir, name)
			if err := syncPath(path); err != nil {
				return err
			}
			sum, err := hashFile(path)
			if err != nil {
				return err
			}
			item := custody.Item{SHA256: sum, Path: custody.BackupSnapshots + "/" + b.manifest.ID + "/" + part.dir + "/" + name}
			if err := custody.WriteItem(b.contents, item); err != nil {
				return err
			}
		}
	}
	var err error
	if b.manifest.Contents, err = b.contents.end(); err != nil {
		return err
	}
	text, err := b.manifest.Encode()
	if err != nil {
		return err
	}
	for _, dir := range []string{b.place(custody.BackupDatabase), b.place(custody.BackupKeys), filepath.Join(b.to, custody.BackupSnapshots), b.to} {
		if err := syncPath(dir); err != nil {
			return err
		}
	}
	return writeOnce(b.place(custody.BackupManifest), string(text), 0o600)
}

// notice leaves word for the audit log.
func (b *backup) notice(ctx context.Context) error {
	detail := map[string]string{"backup": b.manifest.ID, "with-key": fmt.Sprint(b.manifest.WithKey), "blobs": fmt.Sprint(b.manifest.Blobs), "missing": fmt.Sprint(len(b.manifest.Missing))}
	for _, h := range b.manifest.Logs {
		detail[string(h.Log)] = fmt.Sprint(h.Size)
	}
	return custody.PutNotice(ctx, b.blobs, b.now, audit.BackupMade, detail)
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// syncPath makes a file, or the names in a folder, durable.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// writeTar writes the files of a folder into a new file.
func writeTar(dir, to string) (err error) {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			os.Remove(to)
			err = fmt.Errorf("write backup: %w", err)
		}
	}()
	buffer := bufio.NewWriterSize(f, 1<<20)
	w := tar.NewWriter(buffer)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		return err
	}
	return errors.Join(w.Close(), buffer.Flush(), f.Sync(), syncPath(filepath.Dir(to)))
}
