//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package client

import (
	"errors"
	"io/fs"
	"os"
)

// lockAdvice is what to do about a lock that stays.
func lockAdvice(path string) string { return "rm " + path + ", if no other chartkeep runs" }

// takeLock makes the lock. Here it stays when the process dies, until somebody
// removes it. errLocked while it is there.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil, errLocked
	}
	return f, err
}

// placeLock moves the lock to its place. A file that is open cannot be moved on
// every system.
func placeLock(f *os.File, path string) error {
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// dropLock removes the lock.
func dropLock(f *os.File) {
	_ = f.Close()
	_ = os.Remove(f.Name())
}
