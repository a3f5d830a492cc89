package blob

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
	"time"
)

// Blob is a committed blob, open to be read. ReadAt may be called
// concurrently; Read and Seek share one position. Bytes that are missing at
// the end are problem.Disproven, never an early io.EOF; whether the bytes are
// the right ones is known only after digest.Verified has read them all.
type Blob = interface {
	io.Reader
	io.ReaderAt
	io.Seeker
	io.Closer
	// Size is the number of bytes.
	Size() int64
}

// Dir keeps blobs in a directory. Its methods may be called concurrently, and
// other processes may use the same directory.
type Dir struct {
	fsys FS

	mu   sync.Mutex
	held map[string]*upload // by id: uploads that have their writer in this process

	// shards holds the folders of blobs whose own names are durable. There are
	// at most 512.
	shards   sync.Map
	shardsMu sync.Mutex // held to add one

	// recordFolders are the folders of records that are durable; see
	// recordFolder.
	recordFolders map[string]bool
	recordsMu     sync.Mutex

	// distrusted holds the folders of which a sync failed. The system may have
	// dropped the change and report success the next time, so that nothing is
	// promised there any more until the store is opened again.
	distrusted sync.Map
}

// OpenDir opens the store in a directory. The directory and its inner folders
// are made if they are missing; the folder above it must exist. A store that
// cannot be written opens for reading.
func OpenDir(path string) (*Dir, error) {
	fsys, err := newOSFS(path)
	if err != nil {
		return nil, unavailable("open blob store", err)
	}
	return OpenFS(fsys)
}

// OpenFS opens the store at the root of a file system. Cost: one read of two
// folders of at most 256 names and four syncs.
func OpenFS(fsys FS) (*Dir, error) {
	d := &Dir{fsys: fsys, held: map[string]*upload{}}
	folders := []string{uploadsDir, blobsDir}
	for _, alg := range algorithms {
		folders = append(folders, blobsDir+"/"+alg)
	}
	for _, folder := range folders {
		if err := d.mkdir(folder); err != nil {
			return nil, err
		}
	}
	for _, parent := range []string{".", blobsDir} {
		if err := d.syncDir(parent); err != nil {
			return nil, err
		}
	}
	for _, family := range folders[2:] {
		names, err := fsys.ReadDir(family)
		if err != nil {
			return nil, unavailable("read "+family, err)
		}
		// Listed before the sync, so durable after it, whoever made them.
		if err := d.syncDir(family); err != nil {
			return nil, err
		}
		for _, name := range names {
			d.shards.Store(family+"/"+name, nil)
		}
	}
	return d, nil
}

// Open opens a blob. problem.NotFound if there is none.
func (d *Dir) Open(ctx context.Context, digest string) (Blob, error) {
	at, err := locate(digest)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := d.fsys.Open(at.name)
	if err != nil {
		return nil, d.missing(at, digest, err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close() // nothing was written
		return nil, unavailable("open blob", err)
	}
	if !info.Regular {
		f.Close()
		return nil, damaged(digest)
	}
	whole := wholeFile{f, digest}
	return &openBlob{io.NewSectionReader(whole, 0, info.Size), f}, nil
}

// Stat returns the size of a blob. problem.NotFound if there is none.
func (d *Dir) Stat(ctx context.Context, digest string) (int64, error) {
	at, err := locate(digest)
	if err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	info, err := d.fsys.Stat(at.name)
	if err != nil {
		return 0, d.missing(at, digest, err)
	}
	if !info.Regular {
		return 0, damaged(digest)
	}
	return info.Size, nil
}

// missing tells a blob that is not there from a store that is not there: an
// unmounted disk must not make every blob "not found".
func (d *Dir) missing(at location, digest string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return unavailable("look up blob", err)
	}
	if _, err := d.fsys.Stat(at.family); err != nil {
		return unavailable("look up blob", err)
	}
	return notFound(digest)
}

// Delete removes a blob, durably; one that is not there is no error. It is for
// whoever knows that no release and no claim needs the blob. One sync.
func (d *Dir) Delete(ctx context.Context, digest string) error {
	at, err := locate(digest)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.fsys.Remove(at.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unavailable("delete blob", err)
	}
	if _, err := d.fsys.Stat(at.shard); errors.Is(err, fs.ErrNotExist) {
		return nil // nor was there ever one beside it
	}
	return d.syncDir(at.shard)
}

// List calls fn for every blob, by algorithm and digest, until fn fails or ctx
// is done; it returns that error. modified is when the bytes were written.
// Blobs that come or go meanwhile may be missed. Cost: one stat for each blob
// (4,000 names in memory at a time for a million blobs), so for background
// work only.
func (d *Dir) List(ctx context.Context, fn func(digest string, size int64, modified time.Time) error) error {
	for _, alg := range algorithms {
		family := blobsDir + "/" + alg
		shards, err := d.fsys.ReadDir(family)
		if err != nil {
			return unavailable("list blobs", err)
		}
		for _, shard := range shards {
			if len(shard) != 2 {
				continue // not put here by this package
			}
			if err := d.listShard(ctx, alg, family+"/"+shard, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Dir) listShard(ctx context.Context, alg, shard string, fn func(string, int64, time.Time) error) error {
	names, err := d.fsys.ReadDir(shard)
	if err != nil {
		return unavailable("list blobs", err)
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		digest := alg + ":" + name
		at, err := locate(digest)
		if err != nil || at.shard != shard {
			continue // not put here by this package
		}
		info, err := d.fsys.Stat(at.name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted since
		}
		if err != nil {
			return unavailable("list blobs", err)
		}
		if err := fn(digest, info.Size, info.Modified); err != nil {
			return err
		}
	}
	return nil
}

// publish gives the staged file of a digest its final name, durably. stage
// returns the name of the file, synced; it is not asked when the blob is
// there already. At most one sync beside that of stage, once the shard exists.
func (d *Dir) publish(digest string, size int64, stage func() (string, error)) error {
	at, err := locate(digest)
	if err != nil {
		return err
	}
	if err := d.shard(at); err != nil {
		return err
	}
	// This look saves writing what is there. What decides is Link.
	info, err := d.fsys.Stat(at.name)
	if errors.Is(err, fs.ErrNotExist) {
		staged, err := stage()
		if err != nil {
			return err
		}
		err = d.fsys.Link(staged, at.name)
		if err == nil {
			return d.syncDir(at.shard)
		}
		if !errors.Is(err, fs.ErrExist) {
			return unavailable("publish blob", err)
		}
		info, err = d.fsys.Stat(at.name)
		if err != nil {
			return unavailable("publish blob", err)
		}
	} else if err != nil {
		return unavailable("publish blob", err)
	}
	if !info.Regular || info.Size != size {
		return damaged(digest).With("stored bytes", "%d", info.Size).With("offered bytes", "%d", size)
	}
	// Whoever linked it may not have synced it yet, or may have died before.
	return d.syncDir(at.shard)
}

// shard makes the folder of a blob, durably. That it exists is not enough:
// another process may have made it a moment ago.
func (d *Dir) shard(at location) error {
	if _, known := d.shards.Load(at.shard); known {
		return nil
	}
	d.shardsMu.Lock()
	defer d.shardsMu.Unlock()
	if _, known := d.shards.Load(at.shard); known {
		return nil
	}
	if err := d.mkdir(at.shard); err != nil {
		return err
	}
	if err := d.syncDir(at.family); err != nil {
		return err
	}
	d.shards.Store(at.shard, nil)
	return nil
}

func (d *Dir) mkdir(folder string) error {
	if err := d.fsys.Mkdir(folder); err != nil && !errors.Is(err, fs.ErrExist) {
		return unavailable("make "+folder, err)
	}
	return nil
}

// syncDir makes the names in a folder durable, or never trusts it again.
func (d *Dir) syncDir(folder string) error {
	if failed, ok := d.distrusted.Load(folder); ok {
		return unavailable("sync "+folder+" that failed before", failed.(error))
	}
	if err := d.fsys.SyncDir(folder); err != nil {
		d.distrusted.Store(folder, err)
		return unavailable("sync "+folder, err)
	}
	return nil
}

// openBlob reads a blob of which the size was taken when it was opened.
type openBlob struct {
	*io.SectionReader
	file File
}

func (b *openBlob) Close() error { return b.file.Close() }

// wholeFile is a file that is never asked for more than it held when it was
// opened, so that its end is damage.
type wholeFile struct {
	file   File
	digest string
}

func (w wholeFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.file.ReadAt(p, off)
	switch {
	case n == len(p):
		return n, nil
	case err == io.EOF:
		return n, damaged(w.digest).With("bytes found", "%d", off+int64(n))
	case errors.Is(err, fs.ErrClosed):
		return n, err
	}
	return n, unavailable("read blob "+w.digest, err)
}
