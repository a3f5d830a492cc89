package signer

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/durable"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// The files of a signer's folder.
const (
	fileLock     = "lock"
	fileKeys     = "keys.json" // private keys, or the commands that have them
	fileVerifier = "log.vkey"  // the public half of the key that signs
	fileSecret   = "secret"    // what a server shows
	fileState    = "state"     // the checkpoint that was signed last
)

// stateForm begins a state.
const stateForm = "chartkeep/signer-state/v1\n"

// maxKeys bounds the file of keys, in bytes.
const maxKeys = 64 << 10

// folder is a signer's folder, used by this process alone.
type folder struct {
	path string
	lock *os.File
}

// openFolder opens a folder; with make, it makes one.
func openFolder(path string, make bool) (*folder, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find folder of the signer: %w", err)
	}
	if make {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, problem.New(problem.Unavailable, "signer-folder", "the folder %s cannot be made: %v", path, err)
		}
	} else if _, err := os.Stat(filepath.Join(path, fileKeys)); errors.Is(err, fs.ErrNotExist) {
		return nil, problem.New(problem.NotFound, "signer-folder", "%s is not the folder of a signer", path).
			Suggest("chartkeep signer init --dir %s --log-origin charts.example.com/log", path)
	}
	f, err := durable.Lock(filepath.Join(path, fileLock), true)
	if err != nil && !errors.Is(err, durable.ErrLocked) {
		return nil, problem.New(problem.Unavailable, "signer-folder", "the folder %s cannot be written to: %v", path, err)
	}
	if err != nil {
		return nil, problem.New(problem.Unavailable, "signer-locked", "another signer is using the folder %s", path).
			Suggest("stop it first: two that share a key and not their memory could be played off against each other")
	}
	return &folder{path, f}, nil
}

func (d *folder) close() { d.lock.Close() }

func (d *folder) file(name string) string { return filepath.Join(d.path, name) }

func (d *folder) readKeys() (*keyring, error) {
	b, err := durable.Read(d.file(fileKeys), maxKeys)
	if err != nil {
		return nil, fmt.Errorf("read keys of the signer: %w", err)
	}
	k := &keyring{}
	if err := json.Unmarshal(b, k); err != nil {
		return nil, problem.New(problem.Unavailable, "signer-keys", "%s cannot be read", d.file(fileKeys)).Because(err)
	}
	if err := k.check(); err != nil {
		return nil, problem.New(problem.Unavailable, "signer-keys", "%s is not the file of keys of a signer", d.file(fileKeys)).Because(err)
	}
	return k, nil
}

// writeKeys makes keys those of the folder. The public half comes last: whoever
// opens the folder writes it again.
func (d *folder) writeKeys(k *keyring) error {
	text, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.Replace(d.file(fileKeys), append(text, '\n'), 0o600); err != nil {
		return err
	}
	return durable.Replace(d.file(fileVerifier), []byte(k.Keys[0].Verifier+"\n"), 0o644)
}

// makeSecret makes the secret unless there is one.
func (d *folder) makeSecret() error {
	if _, err := os.Stat(d.file(fileSecret)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.Replace(d.file(fileSecret), []byte(rand.Text()+rand.Text()+"\n"), 0o600)
}

func stateText(origin string, signed []byte) []byte {
	text := []byte(stateForm + "origin " + origin + "\n")
	if signed != nil {
		text = append(append(text, '\n'), signed...)
	}
	return text
}

// readState returns the checkpoint that was signed last, nil for none.
func (d *folder) readState(k *keyring) (*tlog.Checkpoint, error) {
	path := d.file(fileState)
	b, err := durable.Read(path, tlog.MaxCheckpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, problem.New(problem.Unavailable, "signer-state-lost", "there is no state of the signer of %s", k.Origin).
			With("file", "%s", path).
			With("if it was lost", "put it back: without it the key could sign another history than it did").
			Suggest("put it back from a copy that is not older than the last signature, or make the signer anew with its key and the newest checkpoint of the log: chartkeep signer init --dir DIR --key FILE --checkpoint FILE")
	}
	if err != nil {
		return nil, fmt.Errorf("read state of the signer: %w", err)
	}
	rest, ok := bytes.CutPrefix(b, stateText(k.Origin, nil))
	if ok && len(rest) == 0 {
		return nil, nil
	}
	signed, ok2 := bytes.CutPrefix(rest, []byte("\n"))
	if ok && ok2 {
		cp, err := tlog.OpenCheckpoint(signed, k.Origin, k.verifiers())
		if err == nil {
			return &cp, nil
		}
	}
	return nil, problem.New(problem.Disproven, "signer-state", "the state of the signer of %s is damaged: it is not what its key signed", k.Origin).
		With("file", "%s", path).Suggest("put it back from a copy that is not older than the last signature")
}

// writeState makes a checkpoint the state. It is durable when this returns nil;
// else the old one may still be there.
func (d *folder) writeState(cp tlog.Checkpoint) error {
	return durable.Replace(d.file(fileState), stateText(cp.Origin, cp.Note), 0o600)
}

// firstState is the state of a new folder: nothing was signed, or a checkpoint
// that the key signed elsewhere before.
func (d *folder) firstState(k *keyring, checkpoint []byte) error {
	if checkpoint == nil {
		return durable.Replace(d.file(fileState), stateText(k.Origin, nil), 0o600)
	}
	if _, err := tlog.OpenCheckpoint(checkpoint, k.Origin, k.verifiers()); err != nil {
		return err
	}
	// Signatures of others, such as witnesses, are not the key's to remember.
	opened, err := note.Open(checkpoint, k.verifiers())
	if err != nil {
		return fmt.Errorf("open checkpoint again: %w", err)
	}
	text := []byte(opened.Text + "\n")
	for _, sig := range opened.Sigs {
		text = fmt.Appendf(text, "— %s %s\n", sig.Name, sig.Base64)
	}
	cp, err := tlog.ParseCheckpoint(text)
	if err != nil {
		return err
	}
	return d.writeState(cp)
}
