package daemon

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/durable"
	"github.com/chartkeep/chartkeep/internal/problem"
	remotesigner "github.com/chartkeep/chartkeep/internal/remote/signer"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// The files of a data folder.
const (
	fileDatabase = "chartkeep.db"
	fileLock     = "lock"
	fileLogKey   = "log.key"  // the private key of the log: the one secret that nothing replaces
	fileVerifier = "log.vkey" // its public half
	// fileAuditVerifier is the public key of the audit log.
	fileAuditVerifier = "audit.vkey"
	fileToken         = "admin-token"
	dirBlobs          = "blobs"
	dirRefused        = "refused" // below dirBlobs: copies of what was refused
	dirCache          = "cache"   // can be made again
)

// folder is an open data folder.
type folder struct {
	path string
	lock *os.File
}

// openFolder makes or opens a data folder. One server alone may use a folder
// whose database is in it.
func openFolder(path string, exclusive bool) (*folder, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{path, filepath.Join(path, dirCache)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, problem.New(problem.Unavailable, "data-folder", "the data folder %s cannot be made: %v", path, err).
				Suggest("give a folder that this user may write to: chartkeep serve --data DIR")
		}
	}
	f, err := durable.Lock(filepath.Join(path, fileLock), exclusive)
	if err != nil && !errors.Is(err, durable.ErrLocked) {
		return nil, problem.New(problem.Unavailable, "data-folder", "the data folder %s cannot be written to: %v", path, err).
			Suggest("see who owns it: ls -ld %s", path)
	}
	if err != nil {
		return nil, problem.New(problem.Unavailable, "data-locked", "another chartkeep is using the data folder %s", path).
			With("to share", "several servers can use one PostgreSQL database, each with a data folder of its own").
			Suggest("stop it, or give another folder: chartkeep serve --data DIR")
	}
	return &folder{path, f}, nil
}

func (d *folder) close() { d.lock.Close() }

func (d *folder) file(name string) string { return filepath.Join(d.path, name) }

// keys are what is made from the one private key of a server.
type keys struct {
	origin         string
	release, audit note.Signer
	verifier       string
	auditVerifier  string
	auditSeed      []byte // audit is made from it
	secret         []byte // signs credentials
	made           bool   // at this start

	// While the log goes from one key to another: both, until the old one ends.
	rotation *Rotation
	old      note.Signer

	// Where another process has the private key of the log: that, and who talks
	// to it. release is nil then.
	remote sqlstore.HeadSigner
	signer *remotesigner.Client
}

// openKeys reads the log key, or makes it at the first start. Everything else
// that replicas have to share is derived from it, so that it is the one file
// to keep and to copy; what was derived stays when the log gets another key,
// and stands in files of its own from then on.
func (d *folder) openKeys(origin string) (*keys, error) {
	k := &keys{}
	var err error
	if k.rotation, err = d.readRotation(); err != nil {
		return nil, err
	}
	if k.rotation != nil {
		if k.old, err = d.oldSigner(); err != nil {
			return nil, err
		}
	}
	b, err := os.ReadFile(d.file(fileLogKey))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(d.file(fileDatabase)); err == nil {
			return nil, problem.New(problem.Unavailable, "log-key-lost", "the data folder %s has a database, but not the key of its log", d.path).
				Suggest("put %s back from where you keep it; a new key would make another log", fileLogKey)
		}
		if origin == "" {
			random := make([]byte, 8)
			rand.Read(random) // never fails
			origin = "chartkeep.invalid/" + hex.EncodeToString(random)
		}
		skey, vkey, err := tlog.GenerateKey(rand.Reader, origin)
		if err != nil {
			return nil, err
		}
		if err := writeOnce(d.file(fileVerifier), vkey+"\n", 0o644); err != nil {
			return nil, err
		}
		if err := writeOnce(d.file(fileLogKey), skey+"\n", 0o600); err != nil {
			return nil, err
		}
		k.made, k.verifier, b = true, vkey, []byte(skey)
	case err != nil:
		return nil, fmt.Errorf("read log key: %w", err)
	default:
		v, err := os.ReadFile(d.file(fileVerifier))
		if err != nil {
			return nil, problem.New(problem.Unavailable, "log-key", "the public half of the log key, %s, cannot be read", d.file(fileVerifier)).Because(err)
		}
		k.verifier = strings.TrimSpace(string(v))
	}
	skey := strings.TrimSpace(string(b))
	if k.release, err = tlog.NewSigner(skey); err != nil {
		return nil, fmt.Errorf("read %s: %w", d.file(fileLogKey), err)
	}
	k.origin = k.release.Name()
	if origin != "" && origin != k.origin {
		return nil, problem.New(problem.Unavailable, "log-origin", "the log is named %s since its first start, and cannot be named %s now", k.origin, origin).
			Suggest("take log-origin out of the configuration")
	}
	if !strings.HasPrefix(k.verifier, k.origin+"+") {
		return nil, problem.New(problem.Unavailable, "log-key", "%s and %s do not belong together", d.file(fileLogKey), d.file(fileVerifier))
	}
	return k, d.derive(k, skey)
}

// derive fills in what is made from the log key, or was made from the first.
func (d *folder) derive(k *keys, skey string) error {
	for _, one := range []struct {
		file, purpose string
		out           *[]byte
	}{{fileAuditKey, "chartkeep audit log key", &k.auditSeed}, {fileSecret, "chartkeep credentials", &k.secret}} {
		kept, err := os.ReadFile(d.file(one.file))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			*one.out, err = hkdf.Key(sha256.New, []byte(skey), nil, one.purpose, 32)
		case err == nil:
			if *one.out, err = hex.DecodeString(strings.TrimSpace(string(kept))); err == nil && len(*one.out) != 32 {
				err = errors.New("it does not have 32 bytes")
			}
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", d.file(one.file), err)
		}
	}
	auditKey, auditVerifier, err := tlog.GenerateKey(bytes.NewReader(k.auditSeed), k.origin+"/audit")
	if err != nil {
		return err
	}
	k.auditVerifier = auditVerifier
	k.audit, err = tlog.NewSigner(auditKey)
	return err
}

// writeOnce writes a file that must not be there, durable with its name.
func writeOnce(path, text string, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(path)
		return fmt.Errorf("write %s: %w", path, err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// cache keeps what can be made again: release.IndexCache.
type cache struct{ dir string }

func (c cache) Load(name string) (io.ReadCloser, error) { return os.Open(filepath.Join(c.dir, name)) }

func (c cache) Save(name string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(c.dir, name+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(c.dir, name))
}
