package signer

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Source says where a key comes from. The zero value makes a new one.
type Source struct {
	// Private is the private key of a log that has signed before, and
	// Checkpoint the newest that it signed.
	Private    string
	Checkpoint []byte
	// Command signs with the key whose public half is Public.
	Command []string
	Public  ed25519.PublicKey
}

// Made is what Init or Rotate made.
type Made struct {
	Folder string
	Origin string
	Key    string // verifier key of the log
	Secret string // file that a server needs
	Size   int64  // leaves of the checkpoint that it begins with; 0 for a new log

	Old   string    // of a rotation: the verifier key before
	Until time.Time // and when that ends
}

// Init makes the folder of a signer for the log of a name. It is the statement
// of the operator that the key signed nothing beyond the given checkpoint.
// Conflict when the folder is one already: nothing is replaced.
func Init(dir, origin string, from Source) (Made, error) {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	if _, err := os.Stat(filepath.Join(dir, fileKeys)); err == nil {
		return Made{}, problem.New(problem.Conflict, "signer-folder", "there is a signer in %s already, and it was left as it is", dir).
			Suggest("run it: chartkeep signer serve --dir %s", dir)
	}
	k, err := from.ring(origin)
	if err != nil {
		return Made{}, err
	}
	d, err := openFolder(dir, true)
	if err != nil {
		return Made{}, err
	}
	defer d.close()
	if _, err := os.Stat(d.file(fileState)); !errors.Is(err, fs.ErrNotExist) {
		return Made{}, problem.New(problem.Unavailable, "signer-keys-lost", "%s has the state of a signer, but not its keys", d.path).
			Suggest("put %s back from where you keep it, or begin in another folder", fileKeys)
	}
	if err := d.makeSecret(); err != nil {
		return Made{}, err
	}
	// The keys come last: with them it is a signer's folder.
	if err := d.firstState(k, from.Checkpoint); err != nil {
		return Made{}, err
	}
	if err := d.writeKeys(k); err != nil {
		return Made{}, errors.Join(err, os.Remove(d.file(fileState)))
	}
	out := Made{Folder: d.path, Origin: k.Origin, Key: k.Keys[0].Verifier, Secret: d.file(fileSecret)}
	if last, err := d.readState(k); err == nil && last != nil {
		out.Size = last.Size
	}
	return out, nil
}

// ring makes the keys of a new folder.
func (from Source) ring(origin string) (*keyring, error) {
	if from.Private != "" && from.Checkpoint == nil {
		return nil, problem.New(problem.Invalid, "signer-checkpoint", "a key that has signed before comes with the newest checkpoint that it signed").
			Suggest("take it from the stopped server: chartkeep signer init --import DATA")
	}
	k := &keyring{Origin: origin}
	one, err := from.key(&k.Origin)
	if err != nil {
		return nil, err
	}
	k.Keys = []key{one}
	return k, k.check()
}

// key makes one key of the log of a name; "" takes the name of a key that is
// given.
func (from Source) key(origin *string) (key, error) {
	switch {
	case from.Private != "":
		s, err := tlog.NewSigner(from.Private)
		if err != nil {
			return key{}, err
		}
		if *origin == "" {
			*origin = s.Name()
		}
		if *origin != s.Name() {
			return key{}, problem.New(problem.Conflict, "log-origin", "the key is that of the log %s, and cannot be that of %s", s.Name(), *origin)
		}
		vkey, err := tlog.VerifierKeyOf(from.Private)
		return key{Verifier: vkey, Private: strings.TrimSpace(from.Private)}, err
	case *origin == "":
		return key{}, problem.New(problem.Invalid, "log-origin", "a new log needs a name").
			Suggest("chartkeep signer init --log-origin charts.example.com/log")
	case len(from.Command) > 0:
		vkey, err := verifierKey(*origin, from.Public)
		if err != nil {
			return key{}, err
		}
		k := key{Verifier: vkey, Command: from.Command}
		return k, k.try()
	}
	skey, vkey, err := tlog.GenerateKey(rand.Reader, *origin)
	return key{Verifier: vkey, Private: skey}, err
}

// MaxOverlap bounds for how long two keys sign.
const MaxOverlap = 366 * 24 * time.Hour

// Rotate gives the log of a signer that is stopped a new key. Until the overlap
// ends both sign. Conflict while the key before has not ended, or when the
// present one has signed nothing yet.
func Rotate(dir string, from Source, overlap time.Duration, now time.Time) (Made, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return Made{}, problem.New(problem.Invalid, "overlap", "both keys can sign for 0 to %d days", int(MaxOverlap.Hours()/24))
	}
	d, err := openFolder(dir, false)
	if err != nil {
		return Made{}, err
	}
	defer d.close()
	k, err := d.readKeys()
	if err != nil {
		return Made{}, err
	}
	if len(k.Keys) > 1 && now.Before(k.Keys[1].Until) {
		return Made{}, problem.New(problem.Conflict, "rotation", "the log is on its way to another key already").
			With("old key ends", "%s", k.Keys[1].Until.UTC().Format(time.RFC3339)).
			Suggest("wait for that time; then the log can get another key")
	}
	// The state is vouched for by the keys of the folder, so the one that stays
	// has to have signed it.
	present := &keyring{Origin: k.Origin, Keys: []key{k.Keys[0]}}
	if err := present.check(); err != nil {
		return Made{}, err
	}
	if _, err := d.readState(present); err != nil {
		return Made{}, problem.New(problem.Conflict, "rotation", "the present key of the log has signed nothing yet").
			Suggest("run signer and server once, then give the log another key").Because(err)
	}
	fresh, err := from.key(&k.Origin)
	if err != nil {
		return Made{}, err
	}
	old := k.Keys[0]
	old.Until = now.Add(overlap).UTC().Truncate(time.Second)
	next := &keyring{Origin: k.Origin, Keys: []key{fresh, old}}
	if err := next.check(); err != nil {
		return Made{}, err
	}
	if err := d.writeKeys(next); err != nil {
		return Made{}, err
	}
	return Made{Folder: d.path, Origin: k.Origin, Key: fresh.Verifier, Secret: d.file(fileSecret), Old: old.Verifier, Until: old.Until}, nil
}
