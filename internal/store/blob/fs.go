package blob

import (
	"errors"
	"io"
	"time"
)

// FS is the file system under a Dir, so that tests can put one under it that
// fails or forgets. Names are relative to the root of the store, with forward
// slashes; "." is the root. Errors match fs.ErrNotExist and fs.ErrExist, and
// carry the errno where there is one. All methods may be called concurrently.
type FS interface {
	// Create makes a new file and locks it for the caller. fs.ErrExist if the
	// name is taken.
	Create(name string) (File, error)
	// Claim opens an existing file to read and append and locks it for the
	// caller; ErrLocked if another writer, in any process, has it. A file that
	// has lost its name when the lock is had is fs.ErrNotExist.
	Claim(name string) (File, error)
	// Open opens an existing file to read.
	Open(name string) (File, error)
	// Stat describes a file or folder. It does not follow symbolic links.
	Stat(name string) (Info, error)
	// Link gives a file a second name; fs.ErrExist if that is taken.
	Link(from, to string) error
	// Remove removes a name of a file.
	Remove(name string) error
	// Mkdir makes a folder; fs.ErrExist if the name is taken.
	Mkdir(name string) error
	// ReadDir returns the names in a folder, sorted.
	ReadDir(name string) ([]string, error)
	// SyncDir makes durable which names a folder holds.
	SyncDir(name string) error
}

// File is an open file. Write appends. Close releases the lock of the writer.
type File interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Stat() (Info, error)
	// Sync makes the bytes of the file durable; its name is another matter.
	Sync() error
}

// Info describes a file.
type Info struct {
	Size     int64
	Modified time.Time // when its bytes last changed
	Links    uint64    // how many names it has
	Regular  bool      // neither a folder nor anything special
}

// ErrLocked says that another writer has the file.
var ErrLocked = errors.New("file is locked by another writer")
