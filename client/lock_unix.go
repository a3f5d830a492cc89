//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package client

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// lockAdvice is what to do about a lock that stays.
func lockAdvice(string) string {
	return "repeat the command when the other has ended; the lock of a process that died is free"
}

// takeLock makes the lock and holds it by flock(2), which the kernel lets go
// when the process ends, however it does. What another one that died had written
// into it is gone. errLocked when somebody else holds it.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o644)
	if err != nil {
		return nil, err
	}
	if err := lockOpen(f, path); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func lockOpen(f *os.File, path string) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errLocked
	}
	if err != nil {
		return &fs.PathError{Op: "flock", Path: path, Err: err}
	}
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	// Since it was opened, who held it may have moved it to where it belongs: it
	// is the sum file then, and no lock.
	there, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, there) {
		return errLocked
	}
	if err != nil {
		return err
	}
	if !mine.Mode().IsRegular() {
		return &fs.PathError{Op: "lock", Path: path, Err: errors.New("the lock is no file")}
	}
	return f.Truncate(0)
}

// placeLock moves the lock to its place while it is held, and lets it go.
func placeLock(f *os.File, path string) error {
	return errors.Join(os.Rename(f.Name(), path), f.Close())
}

// dropLock removes the lock while it is held, and lets it go.
func dropLock(f *os.File) {
	_ = os.Remove(f.Name())
	_ = f.Close()
}
