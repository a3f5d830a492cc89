//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package blob

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// osFS is the FS of the operating system below a folder. Files and folders
// are for their owner alone: what may be read is decided by the server.
type osFS struct{ root string }

// newOSFS makes the folder root if it is missing (not the folders above it)
// and makes its name durable.
func newOSFS(root string) (FS, error) {
	err := os.Mkdir(root, 0o700)
	if err == nil {
		err = syncFolder(filepath.Dir(root))
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return osFS{root}, nil
}

func (o osFS) path(name string) string { return o.root + "/" + name }

func (o osFS) Create(name string) (File, error) {
	f, err := os.OpenFile(o.path(name), os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()), f.Close())
	}
	return osFile{f}, nil
}

func (o osFS) Claim(name string) (File, error) {
	f, err := os.OpenFile(o.path(name), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	if err := o.lockNamed(f, name); err != nil {
		f.Close() // nothing was written
		return nil, err
	}
	return osFile{f}, nil
}

// lockNamed locks f and then makes sure that it still has its name: between
// open and lock its former writer may have made it a blob. Names of uploads
// are never used twice, so that it is enough that there is one.
func (o osFS) lockNamed(f *os.File, name string) error {
	if err := lock(f); err != nil {
		return err
	}
	_, err := os.Lstat(o.path(name))
	return err
}

func (o osFS) Open(name string) (File, error) {
	f, err := os.Open(o.path(name))
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (o osFS) Stat(name string) (Info, error) {
	i, err := os.Lstat(o.path(name))
	if err != nil {
		return Info{}, err
	}
	return infoOf(i), nil
}

func (o osFS) Link(from, to string) error { return os.Link(o.path(from), o.path(to)) }

func (o osFS) Remove(name string) error { return os.Remove(o.path(name)) }

func (o osFS) Mkdir(name string) error { return os.Mkdir(o.path(name), 0o700) }

func (o osFS) SyncDir(name string) error { return syncFolder(o.path(name)) }

func (o osFS) ReadDir(name string) ([]string, error) {
	entries, err := os.ReadDir(o.path(name))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// osFile is *os.File with our description of it.
type osFile struct{ *os.File }

func (f osFile) Stat() (Info, error) {
	i, err := f.File.Stat()
	if err != nil {
		return Info{}, err
	}
	return infoOf(i), nil
}

func infoOf(i fs.FileInfo) Info {
	info := Info{Size: i.Size(), Modified: i.ModTime(), Links: 1, Regular: i.Mode().IsRegular()}
	if sys, ok := i.Sys().(*syscall.Stat_t); ok {
		info.Links = uint64(sys.Nlink) // a type of its own on each system
	}
	return info
}

// lock takes flock(2) on f without waiting. It belongs to the open file, so
// that two writers in one process exclude each other as well, and ends with
// the process.
func lock(f *os.File) error {
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err {
		case nil:
			return nil
		case syscall.EINTR:
		case syscall.EWOULDBLOCK:
			return ErrLocked
		default:
			return &fs.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
	}
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
