//go:build unix && !solaris && !aix

package durable

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Lock makes a file if need be, and holds it by flock(2) until it is closed or
// the process ends, however it ends. Many may share it; one that is exclusive is
// alone. ErrLocked when somebody else holds it, without waiting. The file stays.
func Lock(path string, exclusive bool) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	mode := syscall.LOCK_SH
	if exclusive {
		mode = syscall.LOCK_EX
	}
	for {
		err = syscall.Flock(int(f.Fd()), mode|syscall.LOCK_NB)
		if err != syscall.EINTR {
			break
		}
	}
	if err == nil {
		return f, nil
	}
	f.Close() // nothing was written
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, ErrLocked
	}
	return nil, &fs.PathError{Op: "flock", Path: path, Err: err}
}
