// Package durable keeps the small files that a program's memory is made of:
// keys, states, settings.
//
// A file is there whole, as it was before or as it is after, whenever the
// process or the machine stops. Once Replace has returned nil, the new one is
// what is there after a power cut, name included.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// ErrLocked says that somebody else holds a lock.
var ErrLocked = errors.New("somebody else holds the lock")

// Replace puts content into the place of a file, or where none is, with a mode.
// After an error the file is the old or the new one. Who replaces a file at the
// same time puts his own there; neither is ever mixed with the other.
func Replace(path string, content []byte, mode fs.FileMode) error {
	return ReplaceBy(path, mode, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// ReplaceBy is Replace with what write writes. An error of write leaves the file
// as it is.
func ReplaceBy(path string, mode fs.FileMode, write func(io.Writer) error) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	err = errors.Join(write(f), f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = SyncFolder(dir)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// SyncFolder makes the names in a folder durable.
func SyncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Read reads a file of limit bytes at most. Errors are those of os.Open, and
// problem.TooLarge.
func Read(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		return nil, problem.New(problem.TooLarge, "file-size", "the file %s has more than %d bytes", path, limit)
	}
	return b, err
}
