package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/durable"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// The files of a data folder whose log got another key.
const (
	fileOldKey   = "log.key.old" // the key before, until it ends
	fileNewKey   = "log.key.new" // on its way to log.key
	fileRotation = "log.rotation"
	fileAuditKey = "audit.key"       // what was derived from the first log key
	fileSecret   = "credentials.key" // likewise
)

// Rotation is that the log of a data folder goes from one key to another.
type Rotation struct {
	Old   string    `json:"old"` // verifier keys
	New   string    `json:"new"`
	Until time.Time `json:"until"` // from when on the old key signs no more
}

// MaxOverlap bounds for how long two keys sign: a key that is to end should.
const MaxOverlap = 366 * 24 * time.Hour

// RotateKey gives the log of a server that is stopped a new key. Until the
// overlap ends both keys sign, so that who knows the old one can move on. The
// server puts the rotation into the log when it starts.
//
// What else is derived from the first key stays as it is: credentials remain
// valid, and the audit log keeps its key. problem.Conflict while the key before
// has not ended yet. A crash in between is mended by the next start, or by
// running it again.
func RotateKey(cfg Config, overlap time.Duration, now time.Time) (Rotation, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return Rotation{}, problem.New(problem.Invalid, "overlap", "both keys can sign for 0 to %d days", int(MaxOverlap.Hours()/24))
	}
	if cfg.LogSigner != "" {
		return Rotation{}, problem.New(problem.Invalid, "log-signer", "the key of the log is in its signer, and gets another one there").
			Suggest("stop the signer, and run beside it: chartkeep signer rotate-key --dir DIR")
	}
	if _, err := os.Stat(filepath.Join(cfg.Data, fileLogKey)); errors.Is(err, fs.ErrNotExist) {
		return Rotation{}, problem.New(problem.NotFound, "log-key", "the data folder %s has no log key", cfg.Data).
			Suggest("give the folder of the server: --data DIR")
	}
	d, err := openFolder(cfg.Data, true)
	if err != nil {
		return Rotation{}, err
	}
	defer d.close()
	k, err := d.openKeysFor(&cfg)
	if err != nil {
		return Rotation{}, err
	}
	if r := k.rotation; r != nil {
		return Rotation{}, problem.New(problem.Conflict, "rotation", "the log is on its way to another key already").
			With("old key ends", "%s", r.Until.UTC().Format(time.RFC3339)).
			Suggest("start the server once after that time; then the log can get another key")
	}
	skey, vkey, err := tlog.GenerateKey(rand.Reader, k.origin)
	if err != nil {
		return Rotation{}, err
	}
	r := Rotation{Old: k.verifier, New: vkey, Until: now.Add(overlap).UTC().Truncate(time.Second)}
	text, err := json.Marshal(r)
	if err != nil {
		return Rotation{}, err
	}
	// The order matters: with the rotation file, and not before, the rest is
	// carried on by whoever opens the folder.
	for _, f := range []struct {
		name, text string
		mode       fs.FileMode
	}{{fileAuditKey, hex.EncodeToString(k.auditSeed), 0o600}, {fileSecret, hex.EncodeToString(k.secret), 0o600}, {fileNewKey, skey, 0o600}, {fileRotation, string(text), 0o600}} {
		if err := durable.Replace(d.file(f.name), []byte(f.text+"\n"), f.mode); err != nil {
			return Rotation{}, err
		}
	}
	return r, d.finishRotation(r)
}

// readRotation returns the rotation that the folder is in, nil for none.
func (d *folder) readRotation() (*Rotation, error) {
	b, err := os.ReadFile(d.file(fileRotation))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r Rotation
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, problem.New(problem.Unavailable, "rotation", "%s cannot be read", d.file(fileRotation)).Because(err)
	}
	return &r, d.finishRotation(r)
}

// finishRotation puts the files of a rotation in their places. It can be
// repeated.
func (d *folder) finishRotation(r Rotation) error {
	if _, err := os.Stat(d.file(fileNewKey)); err == nil {
		if err := os.Link(d.file(fileLogKey), d.file(fileOldKey)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := os.Rename(d.file(fileNewKey), d.file(fileLogKey)); err != nil {
			return err
		}
		if err := durable.SyncFolder(d.path); err != nil {
			return err
		}
	}
	if have, err := os.ReadFile(d.file(fileVerifier)); err == nil && strings.TrimSpace(string(have)) == r.New {
		return nil
	}
	return durable.Replace(d.file(fileVerifier), []byte(r.New+"\n"), 0o644)
}

// oldSigner is the key before, nil when there is none.
func (d *folder) oldSigner() (note.Signer, error) {
	b, err := os.ReadFile(d.file(fileOldKey))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return tlog.NewSigner(string(b))
}

// storeConfig is how the keys go into a store.
func (k *keys) storeConfig() sqlstore.Config {
	c := sqlstore.Config{Origin: k.origin, Signer: k.release, AuditSigner: k.audit, VerifierKey: k.verifier, AuditVerifierKey: k.auditVerifier, Remote: k.remote}
	if k.rotation != nil {
		c.OldSigner, c.OldVerifierKey, c.OldUntil = k.old, k.rotation.Old, k.rotation.Until
	}
	return c
}

// rotate puts a rotation into the log, and forgets the old key when it has
// ended and the log says so.
func (d *Daemon) rotate(ctx context.Context) error {
	r := d.keys.rotation
	if r == nil {
		return nil
	}
	err := d.store.Rotate(ctx, r.Old, r.New, r.Until, time.Now())
	if p, ok := problem.As(err); err != nil && !(ok && p.Rule == "rotation") || time.Now().Before(r.Until) {
		return err
	}
	for _, name := range []string{fileOldKey, fileRotation} {
		if err := os.Remove(d.folder.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	d.keys.rotation = nil
	return errors.Join(err, durable.SyncFolder(d.folder.path))
}
