package daemon

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/durable"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/store/blob"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// RestoreOptions say what is restored, and what it is held against.
type RestoreOptions struct {
	From     string // the folder of backups, or a .tar of one
	Snapshot string // which backup of the folder; "" is the newest
	// Checkpoint is a file with a checkpoint that was signed; "" is none. What
	// is kept beside the blobs of the target counts in any case.
	Checkpoint string
	// Behind allows a backup that is behind what was signed: the server then
	// takes no writes until its log is recovered.
	Behind bool
}

// Restored says what was restored.
type Restored struct {
	Backup  custody.Backup `json:"backup"`
	Behind  []custody.Log  `json:"behind,omitempty"` // logs that are behind what was signed
	HasKey  bool           `json:"has_key"`          // the private log key is in place, or its signer has it
	Blobs   int            `json:"blobs"`            // that were copied
	Present int            `json:"present"`          // that were there already
	// Asked are the witnesses that said what they have cosigned, Silent those
	// that did not answer.
	Asked  []string `json:"asked,omitempty"`
	Silent []string `json:"silent,omitempty"`
}

// Restore makes a data folder of a backup: into one that has no database, with
// or without blobs, records and keys that outlived it. Everything is verified
// before anything gets its place: the digests of all files, the database itself,
// and that its logs lead to signed heads. The database comes last, so that a
// restore that died can be repeated.
func Restore(ctx context.Context, cfg Config, opt RestoreOptions) (Restored, error) {
	r := &restore{cfg: cfg, opt: opt}
	if strings.HasSuffix(opt.From, ".tar") {
		dir, err := os.MkdirTemp(filepath.Dir(filepath.Clean(cfg.Data)), ".restore-")
		if err != nil {
			return Restored{}, fmt.Errorf("restore: %w", err)
		}
		defer os.RemoveAll(dir)
		if err := readTar(opt.From, dir); err != nil {
			return Restored{}, err
		}
		r.opt.From = dir
	}
	if err := r.open(); err != nil {
		return Restored{}, err
	}
	if err := r.check(ctx); err != nil {
		return Restored{}, err
	}
	if err := r.askWitnesses(ctx); err != nil {
		return Restored{}, err
	}
	f, err := openFolder(cfg.Data, true)
	if err != nil {
		return Restored{}, err
	}
	defer f.close()
	r.to = f
	return r.out, r.place(ctx)
}

// restore is one on its way.
type restore struct {
	cfg      Config
	opt      RestoreOptions
	out      Restored
	to       *folder
	items    []custody.Item // blobs
	verify   func(custody.Log) (string, note.Verifiers)
	keys     map[string]string // of the backup
	public   *keys             // those that count, without what is private
	required []tlog.Checkpoint
	blobs    *blob.Dir
}

func (r *restore) path(parts ...string) string {
	return filepath.Join(append([]string{r.opt.From, custody.BackupSnapshots, r.out.Backup.ID}, parts...)...)
}

// open reads the manifest, and the keys of the backup and of the target.
func (r *restore) open() error {
	id, err := r.pick()
	if err != nil {
		return err
	}
	data, err := durable.Read(filepath.Join(r.opt.From, custody.BackupSnapshots, id, custody.BackupManifest), custody.MaxManifest)
	if err != nil {
		return problem.New(problem.Invalid, "backup-manifest", "the backup %s cannot be read: %v", id, err)
	}
	if r.out.Backup, err = custody.ParseBackup(data); err != nil {
		return err
	}
	if r.out.Backup.ID != id {
		return problem.New(problem.Disproven, "backup-manifest", "the manifest of the backup %s is that of %s", id, r.out.Backup.ID)
	}
	if postgres := r.cfg.Database != ""; postgres != (r.out.Backup.Database.Kind == custody.DumpPostgres) {
		return problem.New(problem.Invalid, "restore-kind", "the backup is of a %s database", r.out.Backup.Database.Kind).
			Suggest("set CHARTKEEP_DATABASE to an empty PostgreSQL database for a backup of one, and to nothing for a backup of SQLite")
	}
	r.keys = map[string]string{}
	for _, name := range r.out.Backup.Keys {
		if !slices.Contains(publicKeys, name) && !slices.Contains(privateKeys, name) {
			return problem.New(problem.Invalid, "backup-manifest", "the backup has a key file %q, which no data folder has", name)
		}
		text, err := durable.Read(r.path(custody.BackupKeys, name), 64<<10)
		if err != nil {
			return fmt.Errorf("read backup: %w", err)
		}
		r.keys[name] = string(text)
	}
	return r.trust()
}

// pick is the backup that is asked for, or the newest that was finished.
func (r *restore) pick() (string, error) {
	if r.opt.Snapshot != "" {
		if !custody.IsBackupID(r.opt.Snapshot) {
			return "", problem.New(problem.Invalid, "backup-id", "%.60q is not the id of a backup", r.opt.Snapshot)
		}
		return r.opt.Snapshot, nil
	}
	found, err := filepath.Glob(filepath.Join(r.opt.From, custody.BackupSnapshots, "*", custody.BackupManifest))
	if err != nil || len(found) == 0 {
		return "", problem.New(problem.NotFound, "backup", "there is no finished backup in %s", r.opt.From).Suggest("give the folder that backup --to was given")
	}
	return filepath.Base(filepath.Dir(slices.Max(found))), nil
}

// trust decides which keys count. Those of a target that outlived its database
// do, and have to be those of the backup.
func (r *restore) trust() error {
	k := &keys{}
	for name, into := range map[string]*string{fileVerifier: &k.verifier, fileAuditVerifier: &k.auditVerifier} {
		*into = strings.TrimSpace(r.keys[name])
		held, err := durable.Read(filepath.Join(r.cfg.Data, name), 64<<10)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if have := strings.TrimSpace(string(held)); have != *into {
			return problem.New(problem.Conflict, "restore-key", "the data folder has another log key than the backup").
				With("data folder", "%s", have).With("backup", "%s", *into).
				Suggest("restore into another folder, or find out which log this is")
		}
	}
	k.origin, _, _ = strings.Cut(k.verifier, "+")
	r.public = k
	var err error
	if r.verify, err = k.verifiers(); err != nil {
		return err
	}
	if r.opt.Checkpoint == "" {
		return nil
	}
	text, err := durable.Read(r.opt.Checkpoint, tlog.MaxCheckpoint)
	if err != nil {
		return problem.New(problem.Invalid, "checkpoint", "the checkpoint cannot be read: %v", err)
	}
	origin, keys := r.verify(custody.Releases)
	cp, err := tlog.OpenCheckpoint(text, origin, keys)
	r.required = append(r.required, cp)
	return err
}

// askWitnesses has what the witnesses cosigned count as what was signed. One
// that does not answer is named: the server asks it again at each start.
func (r *restore) askWitnesses(ctx context.Context) error {
	if r.cfg.WitnessPolicy == "" {
		return nil
	}
	d := &Daemon{cfg: r.cfg, keys: r.public, log: slog.New(slog.DiscardHandler)}
	if err := d.openOut(); err != nil {
		return err
	}
	defer d.out.Close()
	known, silent := askWitnesses(ctx, d.asking, d.witnesses.Policy, d.keys.origin)
	origin, keys := r.verify(custody.Releases)
	for _, k := range known {
		cp, err := tlog.OpenCheckpoint(k.Note, origin, keys)
		if err != nil {
			silent[strings.TrimPrefix(k.By, byWitness)] = err // no word of this log
			continue
		}
		if !slices.ContainsFunc(r.required, func(have tlog.Checkpoint) bool { return have.Size == cp.Size && have.Root == cp.Root }) {
			r.required = append(r.required, cp)
		}
		r.out.Asked = append(r.out.Asked, strings.TrimPrefix(k.By, byWitness))
	}
	slices.Sort(r.out.Asked)
	r.out.Silent = slices.Sorted(maps.Keys(silent))
	return nil
}

// check verifies every file of the backup.
func (r *restore) check(ctx context.Context) error {
	f, err := os.Open(r.path(custody.BackupContents))
	if err != nil {
		return problem.New(problem.Disproven, "backup-contents", "the list of the backup's files cannot be read: %v", err)
	}
	defer f.Close()
	sum, err := digest.NewHash("sha256")
	if err != nil {
		return err
	}
	own := custody.BackupSnapshots + "/" + r.out.Backup.ID + "/"
	need := map[string]bool{}
	for _, name := range r.out.Backup.Database.Files() {
		need[own+custody.BackupDatabase+"/"+name] = true
	}
	for _, name := range r.out.Backup.Keys {
		need[own+custody.BackupKeys+"/"+name] = true
	}
	err = custody.ReadContents(io.TeeReader(bufio.NewReader(f), sum), func(it custody.Item) error {
		got, err := hashFile(filepath.Join(r.opt.From, filepath.FromSlash(it.Path)))
		if err != nil || got != it.SHA256 {
			return problem.New(problem.Disproven, "backup-file", "the file %s of the backup is not the one that was backed up", it.Path).
				With("listed", "%s", it.SHA256).With("found", "%s", got).Because(err)
		}
		if strings.HasPrefix(it.Path, "blobs/") {
			r.items = append(r.items, it)
		}
		delete(need, it.Path)
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if got := digest.Of("sha256", sum); got != r.out.Backup.Contents {
		return problem.New(problem.Disproven, "backup-contents", "the list of the backup's files is not the one that the manifest names").
			With("named", "%s", r.out.Backup.Contents).With("found", "%s", got)
	}
	for path := range need {
		return problem.New(problem.Disproven, "backup-contents", "the list of the backup's files lacks %s", path)
	}
	return nil
}

// place puts everything into the data folder, the database last.
func (r *restore) place(ctx context.Context) error {
	for _, name := range []string{fileDatabase, fileDatabase + "-wal"} {
		if _, err := os.Lstat(r.to.file(name)); err == nil && r.cfg.Database == "" {
			return problem.New(problem.Conflict, "restore-target", "the data folder %s has a database, and a backup is restored into one that has none", r.to.path).
				Suggest("move %s away first, or give another folder", r.to.file(name))
		}
	}
	var err error
	if r.blobs, err = blob.OpenDir(r.to.file(dirBlobs)); err != nil {
		return err
	}
	records := custody.New(custody.Config{Records: r.blobs, Verifiers: r.verify})
	roots := map[custody.Log][]int64{}
	known := map[custody.Log][]tlog.Checkpoint{custody.Releases: r.required}
	for _, log := range custody.Logs {
		cp, ok, err := records.Newest(ctx, log)
		if err != nil {
			return err
		}
		if ok {
			known[log] = append(known[log], cp)
		}
		for _, cp := range known[log] {
			roots[log] = append(roots[log], cp.Size)
		}
	}
	unkept := len(known[custody.Releases])+len(known[custody.Audits]) == 0
	look := sqlstore.Look{Verifiers: r.verify, Roots: roots, Unkept: unkept, Unsigned: r.cfg.LogSigner != ""}
	finish := func(seen sqlstore.Inspection) error {
		if err := r.compare(seen, known); err != nil {
			return err
		}
		return r.bring(ctx, seen)
	}
	dump := &r.out.Backup.Database
	if dump.Kind == custody.DumpPostgres {
		if err := sqlstore.LoadDump(ctx, r.cfg.Database, dump, r.path(custody.BackupDatabase), look, finish); err != nil {
			return err
		}
		return r.notice(ctx)
	}
	staged := r.to.file(fileDatabase + ".restored")
	if err := copyFile(r.path(custody.BackupDatabase, custody.DumpFile), staged); err != nil {
		return err
	}
	defer os.Remove(staged)
	if unkept {
		if err := sqlstore.ForgetKept(ctx, staged); err != nil {
			return err
		}
	}
	// What is inspected is the copy that becomes the database.
	seen, err := sqlstore.InspectDump(ctx, staged, look)
	if err != nil {
		return err
	}
	if err := finish(seen); err != nil {
		return err
	}
	if err := syncPath(staged); err != nil {
		return err
	}
	if err := os.Rename(staged, r.to.file(fileDatabase)); err != nil {
		return err
	}
	if err := durable.SyncFolder(r.to.path); err != nil {
		return err
	}
	return r.notice(ctx)
}

// compare holds the database of the backup against what is known to have been
// signed, and against what the manifest says.
func (r *restore) compare(seen sqlstore.Inspection, known map[custody.Log][]tlog.Checkpoint) error {
	for _, log := range custody.Logs {
		head := seen.Heads[log]
		if said, _ := r.out.Backup.Head(log); said.Size != head.Size || said.Root != head.Root.String() {
			return problem.New(problem.Disproven, "backup-manifest", "the manifest says that the %s log has %d leaves, and its database has %d", log, said.Size, head.Size)
		}
		for _, cp := range known[log] {
			root, reached := seen.Roots[log][cp.Size]
			if reached && root != cp.Root {
				return problem.New(problem.Disproven, "restore-fork", "the backup holds another history of the %s log than was signed", log).
					With("backup", "%d leaves, root %s at %d", head.Size, root, cp.Size).With("signed", "%d leaves, root %s", cp.Size, cp.Root).
					Suggest("keep both, and decide which one is true: docs/recovery.md, \"Two histories\"")
			}
			if reached {
				continue
			}
			if !r.opt.Behind {
				return problem.New(problem.Conflict, "restore-behind", "the backup is behind what was signed: going on from it would make a second history").
					With("log", "%s", head.Origin).With("backup", "%d leaves", head.Size).With("signed", "%d leaves", cp.Size).
					Suggest("restore a newer backup; or restore this one with --read-only-until-recovered and bring the rest back: chartkeep log recover")
			}
			if !slices.Contains(r.out.Behind, log) {
				r.out.Behind = append(r.out.Behind, log)
			}
		}
	}
	has := map[string]bool{}
	for _, it := range r.items {
		has[it.Blob()] = true
	}
	for name := range seen.Blobs {
		if !has[name] && !slices.Contains(r.out.Backup.Missing, name) {
			return problem.New(problem.Disproven, "backup-blob", "the backup lacks the blob %s, which its database names", name)
		}
	}
	return nil
}

// bring copies blobs and keys, which nobody uses before the database is there.
func (r *restore) bring(ctx context.Context, _ sqlstore.Inspection) error {
	from, err := blob.OpenDir(r.opt.From)
	if err != nil {
		return err
	}
	for _, it := range r.items {
		name := it.Blob()
		if _, err := r.blobs.Stat(ctx, name); err == nil {
			r.out.Present++
			continue
		}
		if err := copyBlob(ctx, from, r.blobs, name); err != nil {
			return err
		}
		r.out.Blobs++
	}
	for name, text := range r.keys {
		mode := fs.FileMode(0o600)
		if slices.Contains(publicKeys, name) {
			mode = 0o644
		}
		err := writeOnce(r.to.file(name), text, mode)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	_, err = os.Stat(r.to.file(fileLogKey))
	r.out.HasKey = err == nil || r.cfg.LogSigner != ""
	// A checkpoint from elsewhere that is ahead has to be known to the server.
	for _, cp := range r.required {
		if slices.Contains(r.out.Behind, custody.Releases) {
			if err := custody.PutCheckpoint(ctx, r.blobs, custody.Releases, cp); err != nil {
				return err
			}
		}
	}
	return r.to.forgetIndexes()
}

// notice leaves word for the audit log.
func (r *restore) notice(ctx context.Context) error {
	behind := make([]string, len(r.out.Behind))
	for i, log := range r.out.Behind {
		behind[i] = string(log)
	}
	detail := map[string]string{"backup": r.out.Backup.ID, "made": r.out.Backup.Time.UTC().Format(time.RFC3339), "behind": strings.Join(behind, " ")}
	for _, h := range r.out.Backup.Logs {
		detail[string(h.Log)] = fmt.Sprint(h.Size)
	}
	return custody.PutNotice(ctx, r.blobs, time.Now(), audit.BackupRestored, detail)
}

// copyFile copies a file to a name that may be taken by an attempt before,
// durably but for its name.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// maxTarEntries bounds the files of a .tar that is read.
const maxTarEntries = 50_000_000

// readTar reads a backup into a folder: regular files alone, under the paths
// that a backup has.
func readTar(from, dir string) error {
	f, err := os.Open(from)
	if err != nil {
		return problem.New(problem.NotFound, "backup", "the backup cannot be read: %v", err)
	}
	defer f.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	tr := tar.NewReader(bufio.NewReaderSize(f, 1<<20))
	for n := 0; ; n++ {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil && h.Typeflag == tar.TypeDir {
			continue
		}
		if err == nil && (h.Typeflag != tar.TypeReg || !custody.IsBackupPath(h.Name) || n > maxTarEntries) {
			err = fmt.Errorf("it has an entry %.200q that no backup has", h.Name)
		}
		if err == nil {
			err = extract(root, h, tr)
		}
		if err != nil {
			return problem.New(problem.Disproven, "backup-tar", "the file %s is no backup, or is damaged: %v", from, err)
		}
	}
}

func extract(root *os.Root, h *tar.Header, r io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(filepath.FromSlash(h.Name)), 0o700); err != nil {
		return err
	}
	out, err := root.OpenFile(filepath.FromSlash(h.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	return errors.Join(err, out.Close())
}
