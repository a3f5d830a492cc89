//go:build !unix || solaris || aix

package durable

import (
	"errors"
	"io/fs"
	"os"
)

// Lock refuses: nothing here holds a file for as long as its process lives, and
// a lock that stays behind would be removed by hand while somebody has it.
func Lock(path string, _ bool) (*os.File, error) {
	return nil, &fs.PathError{Op: "lock", Path: path, Err: errors.ErrUnsupported}
}
