// Package powerloss is a file system for tests that forgets.
//
// A Disk models what POSIX promises and no more. The bytes of a file are safe
// once the file was synced, an entry of a folder once the folder was synced;
// the sync of a file says nothing about its name, and the sync of a folder
// nothing about the folder's own name. At a Cut, which is a loss of power,
// everything that is not safe is lost, or survives, as the test decides for
// each piece. An FS is one process on the disk: Kill ends it and loses nothing,
// since the kernel lives on.
//
// Through its Hook an FS also fails, falls short, waits, or pretends.
//
// It stands under internal/store/blob and satisfies blob.FS.
package powerloss

import (
	"bytes"
	"maps"
	"slices"
	"sync"
	"time"
)

// Disk is a disk with a kernel above it, used by any number of processes.
type Disk struct {
	mu   sync.Mutex
	root *node
	now  time.Time
}

// node is a file or a folder.
type node struct {
	folder bool

	entries map[string]*node // of a folder, as a process sees it
	safe    map[string]*node // of a folder, on the disk
	pending []change         // of a folder, from safe to entries

	data     []byte // of a file, as a process sees it
	safeData []byte // of a file, on the disk
	links    uint64
	modified time.Time
	owner    *file // who holds the lock
}

// change is an entry of a folder that was added, or removed (node nil).
type change struct {
	name string
	node *node
}

func newFolder() *node {
	return &node{folder: true, entries: map[string]*node{}, safe: map[string]*node{}}
}

// NewDisk returns an empty disk whose clock stands at now; Pass moves it.
func NewDisk(now time.Time) *Disk {
	return &Disk{root: newFolder(), now: now}
}

// Boot returns the file system as a new process sees it.
func (d *Disk) Boot() *FS {
	return &FS{disk: d}
}

// Pass lets time pass: files written from now on are younger by that much.
func (d *Disk) Pass(t time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = d.now.Add(t)
}

// Flip changes one bit of a file, as a rotting disk does, and says whether
// there was one to change.
func (d *Disk) Flip(name string, offset int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.root.find(name)
	if n == nil || offset >= len(n.data) {
		return false
	}
	n.data = bytes.Clone(n.data)
	n.data[offset] ^= 1
	return true
}

// Truncate shortens a file, as a disk that lost a block does.
func (d *Disk) Truncate(name string, size int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.root.find(name)
	if n == nil || size >= len(n.data) {
		return false
	}
	n.data = n.data[:size]
	return true
}

// Unsynced is one thing that a loss of power may take.
type Unsynced struct {
	Kind string // "added": an entry of a folder; "removed": the removal of one; "bytes": of a file
	Name string
}

// Cut returns the disk as it is found after a loss of power: of what was not
// synced only that is left for which survives returns true. It is asked once
// for each change of a folder, in the order in which they were made, and once
// for each file. d itself does not change, so that one history can be cut in
// several ways; its processes know nothing of the disk that is returned.
func (d *Disk) Cut(survives func(Unsynced) bool) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	left := &Disk{now: d.now}
	left.root = d.root.afterCut(".", left, survives, map[*node]*node{})
	return left
}

// afterCut returns what is left of n; done maps what was treated already, as a
// file may have several names.
func (n *node) afterCut(name string, disk *Disk, survives func(Unsynced) bool, done map[*node]*node) *node {
	if left := done[n]; left != nil {
		left.links++
		return left
	}
	if !n.folder {
		data := n.safeData
		if !bytes.Equal(data, n.data) && survives(Unsynced{"bytes", name}) {
			data = n.data
		}
		done[n] = &node{data: slices.Clip(data), safeData: data, links: 1, modified: disk.now}
		return done[n]
	}
	entries := maps.Clone(n.safe)
	for _, c := range n.pending {
		switch {
		case c.node != nil && survives(Unsynced{"added", name + "/" + c.name}):
			entries[c.name] = c.node
		case c.node == nil && survives(Unsynced{"removed", name + "/" + c.name}):
			delete(entries, c.name)
		}
	}
	left := newFolder()
	for _, entry := range sortedNames(entries) {
		child := entries[entry].afterCut(name+"/"+entry, disk, survives, done)
		left.entries[entry] = child
		left.safe[entry] = child
	}
	return left
}
