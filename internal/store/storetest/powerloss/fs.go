package powerloss

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/store/blob"
)

// ErrDead is what a killed process would get, if it could still ask.
var ErrDead = errors.New("process is dead")

// ErrPretend, returned by a Hook, makes the operation report success without
// having done anything.
var ErrPretend = errors.New("pretend")

// Short, returned by a Hook for a write, writes only the first N bytes and then
// fails with Err.
type Short struct {
	N   int
	Err error
}

func (s Short) Error() string { return fmt.Sprintf("short write of %d bytes: %v", s.N, s.Err) }

// Op is an operation that a process is about to do.
type Op struct {
	Index int    // counted from 0 in each process
	Kind  string // create, claim, open, stat, link, remove, mkdir, readdir, syncdir, write, read, sync, fstat
	Name  string
}

// Site names the place in package blob that called for the operation: the kind
// of the operation and the lines of the functions of that package, inner first.
// Only a Hook may call it.
func (o Op) Site() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	site := o.Kind
	for {
		frame, more := frames.Next()
		if strings.Contains(frame.Function, "/internal/store/blob.") {
			site += fmt.Sprintf(" %s:%d", path.Base(frame.File), frame.Line)
		}
		if !more {
			return site
		}
	}
}

// FS is the disk as one process sees it. It satisfies blob.FS.
type FS struct {
	disk  *Disk
	dead  bool
	index int

	// Hook, when set, is asked before each operation and decides its fate:
	// nil, an error to fail with, ErrPretend or Short. It runs without locks, may
	// wait, and may kill the process.
	Hook func(Op) error
	// HideLinks makes every file seem to have one name, as some network file
	// systems do.
	HideLinks bool
}

var _ blob.FS = (*FS)(nil)

// Kill ends the process at once: its locks are free, and every operation that
// it may still try fails with ErrDead and has no effect. Nothing is lost.
func (f *FS) Kill() {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.dead = true
}

// begin starts an operation: it asks the hook, and returns with the disk
// locked unless it returns an error.
func (f *FS) begin(kind, name string) error {
	f.disk.mu.Lock()
	op := Op{f.index, kind, name}
	f.index++
	hook := f.Hook
	f.disk.mu.Unlock()
	if hook != nil {
		if err := hook(op); err != nil {
			return err
		}
	}
	f.disk.mu.Lock()
	if f.dead {
		f.disk.mu.Unlock()
		return ErrDead
	}
	return nil
}

func (n *node) find(name string) *node {
	if name == "." {
		return n
	}
	for part := range strings.SplitSeq(name, "/") {
		if n == nil || !n.folder {
			return nil
		}
		n = n.entries[part]
	}
	return n
}

// parent returns the folder that holds, or could hold, a name.
func (f *FS) parent(op, name string) (*node, string, error) {
	folder, base := path.Split(name)
	n := f.disk.root.find(path.Clean(folder))
	if n == nil || !n.folder {
		return nil, "", &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, base, nil
}

func (n *node) add(name string, child *node) {
	n.entries[name] = child
	n.pending = append(n.pending, change{name, child})
}

// existing returns a file or folder.
func (f *FS) existing(op, name string) (*node, error) {
	n := f.disk.root.find(name)
	if n == nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, nil
}

// addTo puts a new entry where nothing may be.
func (f *FS) addTo(op, name string, child func() (*node, error)) error {
	parent, base, err := f.parent(op, name)
	if err != nil {
		return err
	}
	if parent.entries[base] != nil {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrExist}
	}
	n, err := child()
	if err == nil {
		parent.add(base, n)
	}
	return err
}

// Create implements blob.FS.
func (f *FS) Create(name string) (blob.File, error) {
	if err := f.begin("create", name); err != nil {
		return nil, err
	}
	defer f.disk.mu.Unlock()
	opened := &file{fs: f, name: name, node: &node{links: 1, modified: f.disk.now}}
	opened.node.owner = opened
	err := f.addTo("create", name, func() (*node, error) { return opened.node, nil })
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// Claim implements blob.FS.
func (f *FS) Claim(name string) (blob.File, error) {
	if err := f.begin("claim", name); err != nil {
		return nil, err
	}
	defer f.disk.mu.Unlock()
	n, err := f.existing("claim", name)
	if err != nil {
		return nil, err
	}
	if n.owner != nil && !n.owner.fs.dead {
		return nil, blob.ErrLocked
	}
	n.owner = &file{fs: f, name: name, node: n}
	return n.owner, nil
}

// Open implements blob.FS.
func (f *FS) Open(name string) (blob.File, error) {
	if err := f.begin("open", name); err != nil {
		return nil, err
	}
	defer f.disk.mu.Unlock()
	n, err := f.existing("open", name)
	if err != nil {
		return nil, err
	}
	return &file{fs: f, name: name, node: n}, nil
}

// Stat implements blob.FS.
func (f *FS) Stat(name string) (blob.Info, error) {
	if err := f.begin("stat", name); err != nil {
		return blob.Info{}, err
	}
	defer f.disk.mu.Unlock()
	n, err := f.existing("stat", name)
	if err != nil {
		return blob.Info{}, err
	}
	return f.info(n), nil
}

func (f *FS) info(n *node) blob.Info {
	info := blob.Info{Size: int64(len(n.data)), Modified: n.modified, Links: n.links, Regular: !n.folder}
	if f.HideLinks {
		info.Links = 1
	}
	return info
}

// Link implements blob.FS.
func (f *FS) Link(from, to string) error {
	if err := f.begin("link", to); err != nil {
		return unlessPretend(err)
	}
	defer f.disk.mu.Unlock()
	return f.addTo("link", to, func() (*node, error) {
		n, err := f.existing("link", from)
		if err == nil {
			n.links++
		}
		return n, err
	})
}

// Remove implements blob.FS.
func (f *FS) Remove(name string) error {
	if err := f.begin("remove", name); err != nil {
		return unlessPretend(err)
	}
	defer f.disk.mu.Unlock()
	n, err := f.existing("remove", name)
	if err != nil {
		return err
	}
	parent, base, err := f.parent("remove", name)
	if err != nil {
		return err
	}
	n.links--
	delete(parent.entries, base)
	parent.pending = append(parent.pending, change{name: base})
	return nil
}

// Mkdir implements blob.FS.
func (f *FS) Mkdir(name string) error {
	if err := f.begin("mkdir", name); err != nil {
		return unlessPretend(err)
	}
	defer f.disk.mu.Unlock()
	return f.addTo("mkdir", name, func() (*node, error) { return newFolder(), nil })
}

// ReadDir implements blob.FS.
func (f *FS) ReadDir(name string) ([]string, error) {
	if err := f.begin("readdir", name); err != nil {
		return nil, err
	}
	defer f.disk.mu.Unlock()
	n, err := f.existing("readdir", name)
	if err != nil {
		return nil, err
	}
	return sortedNames(n.entries), nil
}

// SyncDir implements blob.FS.
func (f *FS) SyncDir(name string) error {
	if err := f.begin("syncdir", name); err != nil {
		return unlessPretend(err)
	}
	defer f.disk.mu.Unlock()
	n, err := f.existing("syncdir", name)
	if err != nil {
		return err
	}
	n.safe, n.pending = maps.Clone(n.entries), nil
	return nil
}

// file is an open file.
type file struct {
	fs     *FS
	name   string
	node   *node
	closed bool
}

func (f *file) Write(p []byte) (int, error) {
	fail := f.fs.begin("write", f.name)
	var short Short
	switch {
	case fail == ErrPretend:
		return len(p), nil
	case errors.As(fail, &short):
		f.fs.disk.mu.Lock()
		p = p[:min(short.N, len(p))]
		fail = short.Err
	case fail != nil:
		return 0, fail
	}
	defer f.fs.disk.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	f.node.data = append(f.node.data, p...)
	f.node.modified = f.fs.disk.now
	return len(p), fail
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.begin("read", f.name); err != nil {
		return 0, err
	}
	defer f.fs.disk.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	n := 0
	if off < int64(len(f.node.data)) {
		n = copy(p, f.node.data[off:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) Stat() (blob.Info, error) {
	if err := f.fs.begin("fstat", f.name); err != nil {
		return blob.Info{}, err
	}
	defer f.fs.disk.mu.Unlock()
	return f.fs.info(f.node), nil
}

func (f *file) Sync() error {
	if err := f.fs.begin("sync", f.name); err != nil {
		return unlessPretend(err)
	}
	defer f.fs.disk.mu.Unlock()
	f.node.safeData = slices.Clip(f.node.data) // only ever appended to
	return nil
}

// Close needs nothing of the disk, so it is no operation of its own.
func (f *file) Close() error {
	f.fs.disk.mu.Lock()
	defer f.fs.disk.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	if f.node.owner == f {
		f.node.owner = nil
	}
	return nil
}

func unlessPretend(err error) error {
	if err == ErrPretend {
		return nil
	}
	return err
}

func sortedNames(m map[string]*node) []string { return slices.Sorted(maps.Keys(m)) }
