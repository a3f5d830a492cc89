package witness

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/durable"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// The files of a witness's folder. The states of a key are in a folder of their
// own, each in a file named by the SHA-256 of the log's origin.
const (
	fileLock   = "lock"
	keyPlain   = "witness"
	keyAudit   = "audit"
	suffixKey  = ".key"  // secret
	suffixVKey = ".vkey" // public
	dirStates  = ".state"

	suffixStopped = ".stopped" // why the audit key signs no more of this log
	suffixReplay  = ".replay"  // how far the entries were read; can be made again
)

// stateForm is the first line of a state.
const stateForm = "chartkeep/witness-state/v1\n"

// folder is a witness's folder, used by this process alone.
type folder struct {
	path string
	lock *os.File
}

// openFolder opens a folder; with make, it makes one.
func openFolder(path string, make bool) (*folder, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find folder of the witness: %w", err)
	}
	if make {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, problem.New(problem.Unavailable, "witness-folder", "the folder %s cannot be made: %v", path, err)
		}
	}
	f, err := durable.Lock(filepath.Join(path, fileLock), true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, problem.New(problem.NotFound, "witness-folder", "there is no folder %s", path).
			Suggest("chartkeep witness init --dir %s --name HOST/NAME --log FILE", path)
	}
	if err != nil && !errors.Is(err, durable.ErrLocked) {
		return nil, problem.New(problem.Unavailable, "witness-folder", "the folder %s cannot be written to: %v", path, err)
	}
	if err != nil {
		return nil, problem.New(problem.Unavailable, "witness-locked", "another witness is using the folder %s", path).
			Suggest("stop it first: two that share a key and not their memory could be played off against each other")
	}
	return &folder{path, f}, nil
}

func (d *folder) close() { d.lock.Close() }

func (d *folder) file(elem ...string) string {
	return filepath.Join(append([]string{d.path}, elem...)...)
}

// originHash names a log in paths (tlog-witness, "Monitor Retrieval Mechanism").
func originHash(origin string) string {
	h := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(h[:])
}

// Made is what Init made or found.
type Made struct {
	Folder   string
	Key      string   // verifier key of the witness
	AuditKey string   // that of its audit statements; "" when it has none
	Added    []string // origins of logs that got their first state
	Known    []string // origins of logs that had one
}

// Init makes the folder of a witness, or adds logs or the audit key to one. It
// makes the keys when there are none, under the name (audit statements: with
// "/audit" behind it), and the empty state of every log that has none. It is
// the statement of the operator that these keys never cosigned these logs.
// Nothing that is there is replaced.
func Init(dir, name string, logs []tlog.PolicyLog, audit bool) (Made, error) {
	d, err := openFolder(dir, true)
	if err != nil {
		return Made{}, err
	}
	defer d.close()
	out := Made{Folder: d.path}
	key, err := d.makeKey(keyPlain, name)
	if err != nil {
		return Made{}, err
	}
	out.Key = key.VerifierKey()
	kinds := []string{keyPlain}
	_, statErr := os.Stat(d.file(keyAudit + suffixKey))
	if audit || statErr == nil {
		auditKey, err := d.makeKey(keyAudit, key.Name()+"/audit")
		if err != nil {
			return Made{}, err
		}
		out.AuditKey, kinds = auditKey.VerifierKey(), append(kinds, keyAudit)
	}
	for _, origin := range origins(logs) {
		added := false
		for _, kind := range kinds {
			made, err := d.makeState(kind, origin)
			if err != nil {
				return Made{}, err
			}
			added = added || made
		}
		if added {
			out.Added = append(out.Added, origin)
		} else {
			out.Known = append(out.Known, origin)
		}
	}
	return out, nil
}

// origins lists the names of logs, each once.
func origins(logs []tlog.PolicyLog) []string {
	var out []string
	seen := make(map[string]bool)
	for _, l := range logs {
		if name := l.Key.Name(); !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}

// makeKey reads a key, or makes it with the folder of its states.
func (d *folder) makeKey(kind, name string) (*tlog.Cosigner, error) {
	key, err := d.readKey(kind)
	if err == nil && name != "" && name != key.Name() {
		return nil, problem.New(problem.Conflict, "witness-name", "the key in %s is that of %s, and cannot be that of %s", d.path, key.Name(), name).
			Suggest("leave --name out, or take another folder")
	}
	if problem.KindOf(err) != problem.NotFound {
		return key, err
	}
	if states, err := os.ReadDir(d.file(kind + dirStates)); err == nil && len(states) > 0 {
		return nil, problem.New(problem.Unavailable, "witness-key-lost", "%s has states of a witness, but not its key", d.path).
			Suggest("put %s back from where you keep it, or begin in another folder with another name", kind+suffixKey)
	}
	if name == "" {
		return nil, problem.New(problem.Invalid, "witness-name", "a new witness needs a name").
			Suggest("chartkeep witness init --dir %s --name witness.example.com/w1 --log FILE", d.path)
	}
	skey, vkey, err := tlog.GenerateWitnessKey(rand.Reader, name)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(d.file(kind+dirStates), 0o700); err != nil {
		return nil, fmt.Errorf("make folder of states: %w", err)
	}
	// The public half first: a key that is there has it.
	if err := durable.Replace(d.file(kind+suffixVKey), []byte(vkey+"\n"), 0o644); err != nil {
		return nil, err
	}
	if err := durable.Replace(d.file(kind+suffixKey), []byte(skey+"\n"), 0o600); err != nil {
		return nil, err
	}
	return tlog.NewCosigner(skey)
}

// maxKeyFile bounds a file with a key, in bytes.
const maxKeyFile = 4 << 10

func (d *folder) readKey(kind string) (*tlog.Cosigner, error) {
	b, err := durable.Read(d.file(kind+suffixKey), maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, problem.New(problem.NotFound, "witness-key-lost", "there is no key %s", d.file(kind+suffixKey)).
			Suggest("chartkeep witness init --dir %s --name HOST/NAME --log FILE", d.path)
	}
	if err != nil {
		return nil, err
	}
	return tlog.NewCosigner(string(b))
}

// makeState makes the state of a log that a key never cosigned, and says
// whether it did: one that is there stays.
func (d *folder) makeState(kind, origin string) (bool, error) {
	if err := os.MkdirAll(d.file(kind+dirStates), 0o700); err != nil {
		return false, fmt.Errorf("make folder of states: %w", err)
	}
	path := d.file(kind+dirStates, originHash(origin))
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, durable.Replace(path, stateText(origin, nil), 0o600)
}

func stateText(origin string, cosigned []byte) []byte {
	text := []byte(stateForm + "origin " + origin + "\n")
	if cosigned != nil {
		text = append(append(text, '\n'), cosigned...)
	}
	return text
}

// readState returns the checkpoint that a key cosigned last of a log, with the
// cosignature; nil when it never did. The key vouches for its own states, so
// that a log's keys may change.
func (d *folder) readState(kind, origin string, key *tlog.Cosigner) (*tlog.Checkpoint, error) {
	path := d.file(kind+dirStates, originHash(origin))
	b, err := durable.Read(path, tlog.MaxCheckpoint+tlog.MaxCosignatures)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, problem.New(problem.Unavailable, "witness-state-lost", "there is no state of the log %s", origin).
			With("file", "%s", path).
			With("if it was lost", "put it back: without it %s could cosign another history than it did", key.Name()).
			Suggest("if %s never cosigned this log: chartkeep witness init --dir %s --log FILE", key.Name(), d.path)
	}
	if err != nil {
		return nil, err
	}
	rest, ok := bytes.CutPrefix(b, stateText(origin, nil))
	if ok && len(rest) == 0 {
		return nil, nil
	}
	signed, ok2 := bytes.CutPrefix(rest, []byte("\n"))
	damaged := problem.New(problem.Disproven, "witness-state", "the state of the log %s is damaged: it is not what %s cosigned", origin, key.Name()).
		With("file", "%s", path).Suggest("put it back from a backup that is not older than the last cosignature")
	if !ok || !ok2 {
		return nil, damaged
	}
	cp, err := tlog.ParseForeignCheckpoint(signed)
	if err != nil || cp.Origin != origin {
		return nil, damaged
	}
	if _, err := note.Open(signed, note.VerifierList(key.Verifier())); err != nil {
		return nil, damaged
	}
	return &cp, nil
}

// writeState makes a cosigned checkpoint the state. It is durable when this
// returns nil; else the old one may still be there.
func (d *folder) writeState(kind string, cp tlog.Checkpoint) error {
	return durable.Replace(d.file(kind+dirStates, originHash(cp.Origin)), stateText(cp.Origin, cp.Note), 0o600)
}

// printable keeps foreign text to one line that a terminal shows as it is.
func printable(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s), "")
}
