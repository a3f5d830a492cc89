package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/history"
	"github.com/chartkeep/chartkeep/internal/index"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/store/blob"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// FsckOptions say what a check of a stopped server may do beside looking.
type FsckOptions struct {
	// LogKey is the public key of the log by which heads are checked; "" takes
	// the one in the data folder, which proves less.
	LogKey string
	// RestoreFrom is a folder with files among which missing and damaged
	// blobs are looked for; "" for none.
	RestoreFrom string
	// Repair removes cached indexes that are not those of the releases. The
	// server makes them anew.
	Repair bool
}

// FsckReport is what a check of a stopped server found.
type FsckReport struct {
	Data     string              `json:"data"`
	Origin   string              `json:"origin"`
	LogSize  int64               `json:"log_size"`
	LogRoot  string              `json:"log_root"`
	Duration time.Duration       `json:"duration_ns"`
	Counts   release.ScrubCounts `json:"counts"`
	Findings []release.Finding   `json:"findings"`
	// Restored and Repaired are what was wrong, and is whole again.
	Restored []release.Finding `json:"restored"`
	Repaired []string          `json:"repaired"`
	// Unnamed are blobs that no repository has: archives kept of upstreams,
	// feeds of advisories, and uploads that no manifest ever named.
	Unnamed      int64    `json:"unnamed_blobs"`
	UnnamedBytes int64    `json:"unnamed_bytes"`
	Notes        []string `json:"notes"` // what was not checked, and why
}

// Findings that only a check of a stopped server makes.
const (
	databaseFile = release.FindingKind("database-file")
	keptHistory  = release.FindingKind("kept-history")
	indexCache   = release.FindingKind("index-cache")
)

// fsck is a check on its way.
type fsck struct {
	cfg    *Config
	opt    *FsckOptions
	folder *folder
	store  *sqlstore.Store
	blobs  *blob.Dir
	report *FsckReport
}

// Fsck checks the data of a server that is stopped: all that its scrub checks,
// and beside it the file of the database, the history that the leaves tell,
// what is kept of the log in the blob store, and the cached indexes. It changes
// nothing but what the options allow. An error means that it could not be done.
func Fsck(ctx context.Context, cfg Config, opt FsckOptions) (FsckReport, error) {
	begun := time.Now()
	f := &fsck{cfg: &cfg, opt: &opt, report: &FsckReport{Findings: []release.Finding{}, Restored: []release.Finding{}, Repaired: []string{}, Notes: []string{}}}
	if _, err := os.Stat(cfg.Data); err != nil {
		return *f.report, problem.New(problem.NotFound, "data-folder", "there is no data folder %s", cfg.Data).
			Suggest("chartkeep fsck --data DIR")
	}
	var err error
	if f.folder, err = openFolder(cfg.Data, cfg.Database == ""); err != nil {
		return *f.report, err
	}
	defer f.folder.close()
	f.report.Data = f.folder.path
	err = f.run(ctx)
	f.report.Duration = time.Since(begun)
	return *f.report, err
}

func (f *fsck) run(ctx context.Context) error {
	logKey, auditKey, err := f.keys()
	if err != nil {
		return err
	}
	f.report.Origin = logKey.Name()
	cfg := sqlstore.Config{SQLite: f.folder.file(fileDatabase), Postgres: f.cfg.Database, Origin: logKey.Name()}
	if f.cfg.LogSigner != "" {
		cfg.Remote = sqlstore.NotAsked
	}
	if f.store, err = sqlstore.OpenToRead(ctx, cfg); err != nil {
		return err
	}
	defer f.store.Close()
	if f.blobs, err = blob.OpenDir(f.folder.file(dirBlobs)); err != nil {
		return err
	}
	if n, err := f.store.Unsigned(ctx); err != nil {
		return err
	} else if n > 0 {
		f.note("%d leaves wait for the signature of the log's signer and were not checked: start the server, then check again", n)
	}
	if err := f.database(ctx); err != nil {
		return err
	}
	if err := f.examine(ctx, logKey, auditKey); err != nil {
		return err
	}
	if err := f.kept(ctx, logKey, auditKey); err != nil {
		return err
	}
	if err := f.indexes(ctx); err != nil {
		return err
	}
	if f.opt.RestoreFrom != "" {
		if err := f.restore(ctx); err != nil {
			return err
		}
	}
	return f.unnamed(ctx)
}

// keys are the public keys of the logs. The private one is not needed: a
// backup is checked without it.
func (f *fsck) keys() (log, trail note.Verifier, err error) {
	text := f.opt.LogKey
	if text == "" {
		b, err := os.ReadFile(f.folder.file(fileVerifier))
		if err != nil {
			return nil, nil, problem.New(problem.Unavailable, "log-key", "the public key of the log, %s, cannot be read", f.folder.file(fileVerifier)).
				Suggest("give the one that you keep: chartkeep fsck --data %s --log-key FILE", f.cfg.Data).Because(err)
		}
		text = string(b)
		f.note("the log was checked with the key in the data folder; whoever can change that changes the log with it: give the one that you keep with --log-key")
	}
	if log, err = tlog.NewVerifier(text); err != nil {
		return nil, nil, err
	}
	b, err := os.ReadFile(f.folder.file(fileAuditVerifier))
	if err != nil {
		return nil, nil, problem.New(problem.Unavailable, "log-key", "the public key of the audit log, %s, cannot be read", f.folder.file(fileAuditVerifier)).
			Suggest("start the server once, which makes it").Because(err)
	}
	trail, err = tlog.NewVerifier(string(b))
	return log, trail, err
}

func (f *fsck) note(format string, args ...any) {
	f.report.Notes = append(f.report.Notes, fmt.Sprintf(format, args...))
}

func (f *fsck) find(kind release.FindingKind, key, try, format string, args ...any) {
	f.report.Findings = append(f.report.Findings, release.Finding{Key: string(kind) + " " + key, Kind: kind, LogIndex: -1, Message: fmt.Sprintf(format, args...), Try: try})
}

const restoreBackup = "restore the database from a backup"

// database asks the database about its own file.
func (f *fsck) database(ctx context.Context) error {
	if f.cfg.Database != "" {
		f.note("PostgreSQL's own files are for its own tools: amcheck, data checksums")
		return nil
	}
	lines, err := f.store.Sound(ctx)
	for i, line := range lines {
		f.find(databaseFile, fmt.Sprint(i), restoreBackup, "the file of the database is damaged: %s", line)
	}
	return err
}

// examine is the comparison that the scrub of a running server makes, and
// shows each leaf to the rules of history.
func (f *fsck) examine(ctx context.Context, logKey, auditKey note.Verifier) error {
	replay := history.New()
	st := release.ScrubState{}
	e := &release.Examination{
		Stored: f.store, Blobs: f.blobs, Projects: f.store.AllProjects, Origin: logKey.Name(),
		LogKeys: note.VerifierList(logKey), AuditKeys: note.VerifierList(auditKey),
		Find: func(found release.Finding) error {
			f.report.Findings = append(f.report.Findings, found)
			return ctx.Err()
		},
		Leaf: func(index int64, entry []byte) {
			for _, v := range replay.Add(index, entry) {
				f.report.Findings = append(f.report.Findings, release.Finding{
					Key: fmt.Sprintf("%s %d %s", release.HistoryFalse, v.Index, v.Rule), Kind: release.HistoryFalse, LogIndex: v.Index, Message: v.String(),
					Try: fmt.Sprintf("the log itself says what it must not; see both leaves: chartkeep log show %d", v.Index),
				})
			}
		},
	}
	err := e.Run(ctx, &st)
	f.report.Counts, f.report.LogSize = st.Done, st.Size
	if err == nil {
		f.report.LogRoot = e.Root().String()
	}
	return err
}

// kept compares the database with what is kept of it in the blob store.
func (f *fsck) kept(ctx context.Context, logKey, auditKey note.Verifier) error {
	c := custody.New(custody.Config{
		Database: f.store, Records: f.blobs, Blobs: f.blobs, Limits: chart.DefaultLimits(),
		Verifiers: func(log custody.Log) (string, note.Verifiers) {
			if log == custody.Audits {
				return auditKey.Name(), note.VerifierList(auditKey)
			}
			return logKey.Name(), note.VerifierList(logKey)
		},
	})
	standings, err := c.Compare(ctx)
	if problem.KindOf(err) == problem.Disproven { // a hole or a false root, which is a finding already
		f.note("the database was not compared with what is kept of it in the blob store: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	for i := range standings {
		st := &standings[i]
		if refusal := st.Refusal(); refusal != nil {
			f.find(keptHistory, string(st.Log), "chartkeep log recover", "the %s log is %s what was signed and is kept: %s", st.Log, st.State, refusal.Error())
		}
		if st.Removed {
			f.find(keptHistory, string(st.Log)+" removed", "find out who removed them; the server keeps them anew", "what was kept of the %s log in the blob store is gone", st.Log)
		}
		if st.State == custody.StateUnkept && !st.Removed {
			f.note("nothing is kept of the %s log in the blob store yet", st.Log)
		}
		for _, bad := range st.Bad {
			f.find(keptHistory, string(st.Log)+" "+bad.Error(), "find out who changed it", "what is kept of the %s log has something that is not its own: %v", st.Log, bad)
		}
	}
	return nil
}

// maxCachedIndex bounds what is read of a cached index, in bytes.
const maxCachedIndex = 1 << 30

// indexes compares cached indexes with the entries that they are made of.
// Those of another generation, or that cannot be read, are never served.
func (f *fsck) indexes(ctx context.Context) error {
	projects, err := f.store.AllProjects(ctx)
	if err != nil {
		return err
	}
	for i := range projects {
		p := &projects[i]
		for _, all := range []bool{false, true} {
			name := release.IndexCacheName(p.ID, all)
			same, err := f.sameIndex(ctx, p, name, all)
			if err != nil {
				return err
			}
			if same {
				continue
			}
			if f.opt.Repair {
				if err := os.Remove(filepath.Join(f.folder.file(dirCache), name)); err != nil {
					return err
				}
				f.report.Repaired = append(f.report.Repaired, fmt.Sprintf("the cached index of project %s was removed; the server makes it anew", p.Name))
				continue
			}
			f.find(indexCache, name, "chartkeep fsck --repair", "the cached index of project %s does not list what the project has", p.Name)
		}
	}
	return nil
}

func (f *fsck) sameIndex(ctx context.Context, p *release.Project, name string, all bool) (bool, error) {
	file, err := os.Open(filepath.Join(f.folder.file(dirCache), name))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	cached, err := index.ReadCache(file, name, maxCachedIndex)
	if err != nil || cached.Generation() != p.Generation {
		return true, nil // not what a server would take
	}
	built, err := index.Build(ctx, f.store.IndexSource(p.ID, all), p.Generation)
	if err != nil {
		return false, err
	}
	sums := [2][sha256.Size]byte{}
	for i, ix := range []*index.Index{cached, built} {
		h := sha256.New()
		if err := ix.WriteRaw(h, index.Head{}); err != nil {
			return false, err
		}
		h.Sum(sums[i][:0])
	}
	return sums[0] == sums[1], nil
}

// unnamed counts the blobs that no repository has. Cost: one look-up a blob.
func (f *fsck) unnamed(ctx context.Context) error {
	return f.blobs.List(ctx, func(d string, size int64, _ time.Time) error {
		holders, err := f.store.BlobHolders(ctx, d, 1)
		if err == nil && len(holders) == 0 {
			f.report.Unnamed++
			f.report.UnnamedBytes += size
		}
		return err
	})
}

// restore looks for the bytes of missing and damaged blobs among the files of
// a folder, by their digest and nothing else.
func (f *fsck) restore(ctx context.Context) error {
	wanted := map[string]int{} // digest -> finding
	for i := range f.report.Findings {
		found := &f.report.Findings[i]
		if found.Kind != release.BytesMissing && found.Kind != release.BytesChanged || !strings.HasPrefix(found.Logged, "sha256:") {
			continue
		}
		if _, err := f.store.SmallBlob(ctx, found.Logged); err == nil {
			continue // damaged in the database, where a file helps nobody
		}
		wanted[found.Logged] = i
	}
	var back []int
	err := filepath.WalkDir(f.opt.RestoreFrom, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return problem.New(problem.Unavailable, "restore-from", "the folder %s cannot be read", f.opt.RestoreFrom).Because(err)
		}
		if len(wanted) == 0 {
			return fs.SkipAll
		}
		if !entry.Type().IsRegular() {
			return ctx.Err()
		}
		d, err := sumOf(path)
		if err != nil {
			f.note("%s cannot be read: %v", path, err)
			return ctx.Err()
		}
		i, ok := wanted[d]
		if !ok {
			return ctx.Err()
		}
		if err := f.putBack(ctx, path, d); err != nil {
			return err
		}
		delete(wanted, d)
		back = append(back, i)
		return ctx.Err()
	})
	slices.Sort(back)
	for _, i := range slices.Backward(back) {
		f.report.Restored = append(f.report.Restored, f.report.Findings[i])
		f.report.Findings = slices.Delete(f.report.Findings, i, i+1)
	}
	return err
}

func sumOf(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", err
	}
	return fmt.Sprintf("sha256:%x", h.Sum(nil)), nil
}

// putBack stores a blob in the place of what is damaged. What comes is staged
// before the damaged one goes, and its digest is checked as it is committed.
func (f *fsck) putBack(ctx context.Context, path, d string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	u, err := f.blobs.Begin(ctx)
	if err != nil {
		return err
	}
	defer u.Cancel()
	if _, err := u.ReadFrom(file); err != nil {
		return err
	}
	if err := f.blobs.Delete(ctx, d); err != nil {
		return err
	}
	_, _, err = u.Commit(ctx, d)
	return err
}
