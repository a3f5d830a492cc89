package blob

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Upload is bytes on their way to become a blob, held by one writer, who ends
// it by Suspend, Commit or Cancel. Its methods must not be called
// concurrently. Write and ReadFrom fail when the context of Begin or Resume is
// done; Suspend and Cancel work nevertheless.
//
// An error of the store, from whichever method, ends the upload, and its bytes
// are gone.
type Upload = interface {
	// ID names the upload for Resume: unguessable, of letters and digits, at
	// most 64 of them.
	ID() string
	// Size is the number of bytes that have arrived.
	Size() int64
	// Writer appends and hashes.
	io.Writer
	// ReaderFrom appends all of a reader. When the reader fails, what it gave
	// before is kept and its error returned.
	io.ReaderFrom
	// Bytes returns a copy of what has arrived, for contents small enough to
	// be kept elsewhere. problem.TooLarge beyond limit bytes.
	Bytes(limit int64) ([]byte, error)
	// Commit makes the bytes a blob and returns its digest and size; want ""
	// means whatever they hash to with SHA-256. On return the blob is durable.
	// If the bytes hash to another digest: problem.Invalid "digest-mismatch".
	// Commit ends the upload, with one exception: when want is malformed or
	// ctx is done early enough, nothing has happened and it goes on.
	Commit(ctx context.Context, want string) (digest string, size int64, err error)
	// Suspend keeps the bytes for Resume, in any process on the same store,
	// and lets go of the upload. They are not made durable.
	Suspend() error
	// Cancel forgets the bytes. After Commit, Suspend or Cancel it does
	// nothing, so that it can be deferred.
	Cancel() error
}

// bufferSize is how much of an upload stays in memory before a file is made.
const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// idLength is the length of the text of rand.Text: 130 bits in base32.
const idLength = 26

func checkID(id string) error {
	if len(id) != idLength || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		return uploadNotFound(id)
	}
	return nil
}

// upload implements Upload. Its first bytes are in buffer; when they do not
// fit or the upload is suspended, they go to file.
type upload struct {
	dir  *Dir
	id   string
	ctx  context.Context // of the request that holds the upload
	size atomic.Int64    // read by UploadSize of other requests; -1 while Resume is at work

	// sum is the SHA-256 of what has arrived, or nil if some of it arrived
	// before Resume. That has lain on a disk and is read again by Commit: the
	// system may have failed to write it with nobody there to be told.
	sum hash.Hash

	buffer   *[bufferSize]byte // from the pool; nil when empty
	buffered int               // bytes in buffer, the last ones of the upload
	file     File              // locked; nil while everything is in buffer
	ended    bool
}

// Begin starts an upload. Until it grows beyond 64 KiB or is suspended it is
// only in memory, where other processes do not see it.
func (d *Dir) Begin(ctx context.Context) (Upload, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	u := &upload{dir: d, id: rand.Text(), ctx: ctx, sum: sha256.New()}
	d.mu.Lock()
	d.held[u.id] = u
	d.mu.Unlock()
	return u, nil
}

// Resume takes a suspended upload up again. problem.NotFound if there is none
// of that id (unknown, cancelled, finished), problem.Conflict if it has a
// writer.
func (d *Dir) Resume(ctx context.Context, id string) (Upload, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	u := &upload{dir: d, id: id, ctx: ctx}
	u.size.Store(-1)
	d.mu.Lock()
	if d.held[id] != nil {
		d.mu.Unlock()
		return nil, uploadHeld(id)
	}
	d.held[id] = u
	d.mu.Unlock()
	file, size, err := d.claim(id)
	if err != nil {
		u.release()
		return nil, err
	}
	u.file = file
	u.size.Store(size)
	if size == 0 {
		u.sum = sha256.New()
	}
	return u, nil
}

// claim locks the staged file of an upload and returns it with its size.
func (d *Dir) claim(id string) (File, int64, error) {
	name := uploadsDir + "/" + id
	f, err := d.fsys.Claim(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, d.uploadMissing(id)
	case errors.Is(err, ErrLocked):
		return nil, 0, uploadHeld(id)
	case err != nil:
		return nil, 0, unavailable("resume upload", err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		err = unavailable("resume upload", err)
	case info.Links > 1:
		// Its process died between giving the file the name of the blob and
		// taking this one away, or the power went. To append would change the
		// blob.
		err = uploadNotFound(id)
		_ = d.fsys.Remove(name) // or the next sweep does
	default:
		return f, info.Size, nil
	}
	f.Close() // nothing was written
	return nil, 0, err
}

// uploadMissing tells an upload that is not there from a store that is not.
func (d *Dir) uploadMissing(id string) error {
	if _, err := d.fsys.Stat(uploadsDir); err != nil {
		return unavailable("look up upload", err)
	}
	return uploadNotFound(id)
}

// UploadSize returns how many bytes of an upload have arrived, whether it has
// a writer or not. problem.NotFound as for Resume.
func (d *Dir) UploadSize(ctx context.Context, id string) (int64, error) {
	if err := checkID(id); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	d.mu.Lock()
	u := d.held[id]
	d.mu.Unlock()
	if u != nil {
		if size := u.size.Load(); size >= 0 {
			return size, nil
		}
	}
	info, err := d.fsys.Stat(uploadsDir + "/" + id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, d.uploadMissing(id)
	case err != nil:
		return 0, unavailable("look up upload", err)
	case info.Links > 1:
		return 0, uploadNotFound(id) // see claim
	}
	return info.Size, nil
}

// SweepUploads removes the suspended and orphaned uploads to which nothing was
// written since olderThan, and returns how many. Those with a writer stay.
// Cost: one stat for each upload there is.
func (d *Dir) SweepUploads(ctx context.Context, olderThan time.Time) (int, error) {
	ids, err := d.fsys.ReadDir(uploadsDir)
	if err != nil {
		return 0, unavailable("sweep uploads", err)
	}
	swept := 0
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return swept, err
		}
		if checkID(id) != nil {
			continue // not put here by this package
		}
		gone, err := d.sweep(id, olderThan)
		if err != nil {
			return swept, err
		}
		if gone {
			swept++
		}
	}
	return swept, nil
}

func (d *Dir) sweep(id string, olderThan time.Time) (bool, error) {
	name := uploadsDir + "/" + id
	// Before the lock, so that no client finds its upload busy for our sake.
	info, err := d.fsys.Stat(name)
	if err == nil && !info.Modified.Before(olderThan) {
		return false, nil
	}
	var f File
	if err == nil {
		f, err = d.fsys.Claim(name)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrLocked) {
		return false, nil
	}
	if err != nil {
		return false, unavailable("sweep uploads", err)
	}
	defer f.Close() // nothing was written
	if info, err = f.Stat(); err == nil && !info.Modified.Before(olderThan) {
		return false, nil
	}
	if err == nil {
		err = d.fsys.Remove(name)
	}
	if err != nil {
		return false, unavailable("sweep uploads", err)
	}
	return true, nil
}

func (u *upload) ID() string { return u.id }

func (u *upload) Size() int64 { return u.size.Load() }

// ready says whether bytes may be added.
func (u *upload) ready() error {
	if u.ended {
		return fs.ErrClosed
	}
	return u.ctx.Err()
}

func (u *upload) Write(p []byte) (int, error) {
	if err := u.ready(); err != nil {
		return 0, err
	}
	done := 0
	for done < len(p) {
		space, err := u.space()
		if err != nil {
			return done, err
		}
		n := copy(space, p[done:])
		u.added(space[:n])
		done += n
	}
	return done, nil
}

// ReadFrom appends all of r; see Upload.
func (u *upload) ReadFrom(r io.Reader) (int64, error) {
	if err := u.ready(); err != nil {
		return 0, err
	}
	var done int64
	for idle := 0; idle < 100; idle++ {
		if err := u.ctx.Err(); err != nil {
			return done, err
		}
		space, err := u.space()
		if err != nil {
			return done, err
		}
		n, err := r.Read(space)
		if n > 0 {
			idle = 0
		}
		u.added(space[:n])
		done += int64(n)
		if err == io.EOF {
			return done, nil
		}
		if err != nil {
			return done, err
		}
	}
	return done, io.ErrNoProgress
}

// space returns the free part of the buffer, after it has made some.
func (u *upload) space() ([]byte, error) {
	if u.buffered == bufferSize {
		if err := u.flush(); err != nil {
			return nil, err
		}
	}
	if u.buffer == nil {
		u.buffer = buffers.Get().(*[bufferSize]byte)
	}
	return u.buffer[u.buffered:], nil
}

// added counts and hashes bytes that were put at the start of space.
func (u *upload) added(p []byte) {
	if u.sum != nil {
		u.sum.Write(p) // a hash never fails
	}
	u.buffered += len(p)
	u.size.Add(int64(len(p)))
}

// flush moves the buffer to the file, and makes that if there is none.
func (u *upload) flush() error {
	if u.file == nil {
		f, err := u.dir.fsys.Create(u.staged())
		if err != nil {
			return u.fail("create upload", err)
		}
		u.file = f
	}
	if u.buffered == 0 {
		return nil
	}
	if _, err := u.file.Write(u.buffer[:u.buffered]); err != nil {
		return u.fail("write upload", err)
	}
	u.buffered = 0
	return nil
}

func (u *upload) staged() string { return uploadsDir + "/" + u.id }

// Bytes returns what has arrived; see Upload.
func (u *upload) Bytes(limit int64) ([]byte, error) {
	size := u.size.Load()
	switch {
	case u.ended:
		return nil, fs.ErrClosed
	case size > limit:
		return nil, problem.New(problem.TooLarge, "upload-size", "the upload has more than %d bytes", limit).With("bytes", "%d", size)
	}
	all := make([]byte, size)
	inFile := size - int64(u.buffered)
	if inFile > 0 {
		if n, err := u.file.ReadAt(all[:inFile], 0); int64(n) < inFile {
			return nil, u.fail("read upload", err)
		}
	}
	if u.buffered > 0 {
		copy(all[inFile:], u.buffer[:u.buffered])
	}
	return all, nil
}

// Commit makes the bytes a blob; see Upload.
func (u *upload) Commit(ctx context.Context, want string) (string, int64, error) {
	if u.ended {
		return "", 0, fs.ErrClosed
	}
	alg := "sha256"
	if want != "" {
		var err error
		if alg, _, err = digest.Split(want); err != nil {
			return "", 0, err
		}
	}
	got, err := u.digest(ctx, alg)
	if err != nil {
		return "", 0, err
	}
	defer u.end() // takes the staged name away, which needs no sync
	size := u.size.Load()
	if want != "" && got != want {
		return "", 0, problem.New(problem.Invalid, "digest-mismatch", "the bytes that arrived do not have the digest that was announced").
			With("announced", "%s", want).With("arrived", "%s", got).With("bytes", "%d", size).
			Suggest("send the bytes again")
	}
	if err := u.dir.publish(got, size, u.stage); err != nil {
		return "", 0, err
	}
	return got, size, nil
}

// digest returns the digest of what has arrived. If it is not known from
// hashing on the way, the bytes are read again. When ctx is done the upload
// goes on; an error of the file ends it.
func (u *upload) digest(ctx context.Context, alg string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if alg == "sha256" && u.sum != nil {
		return digest.Of(alg, u.sum), nil
	}
	sum, err := digest.NewHash(alg)
	if err != nil {
		return "", err
	}
	if inFile := u.size.Load() - int64(u.buffered); inFile > 0 {
		if err := u.hashFile(ctx, sum, inFile); err != nil {
			return "", err
		}
	}
	if u.buffered > 0 {
		sum.Write(u.buffer[:u.buffered]) // a hash never fails
	}
	return digest.Of(alg, sum), nil
}

func (u *upload) hashFile(ctx context.Context, sum hash.Hash, size int64) error {
	buffer := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buffer)
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		want := min(bufferSize, size-at)
		n, err := u.file.ReadAt(buffer[:want], at)
		if int64(n) < want {
			return u.fail("read upload", err)
		}
		sum.Write(buffer[:n]) // a hash never fails
		at += want
	}
	return nil
}

// stage puts the bytes into the file and syncs them.
func (u *upload) stage() (string, error) {
	if err := u.flush(); err != nil {
		return "", err
	}
	if err := u.file.Sync(); err != nil {
		// The system may have dropped the bytes and report success the next
		// time: this file is lost.
		return "", u.fail("sync upload", err)
	}
	return u.staged(), nil
}

// Suspend keeps the bytes for Resume; see Upload.
func (u *upload) Suspend() error {
	if u.ended {
		return nil
	}
	if err := u.flush(); err != nil {
		return err
	}
	u.ended = true
	err := u.file.Close()
	u.release()
	if err != nil {
		return unavailable("close upload", err)
	}
	return nil
}

// Cancel forgets the bytes; see Upload.
func (u *upload) Cancel() error { return u.end() }

// fail ends the upload because of an error of its file.
func (u *upload) fail(doing string, err error) error {
	_ = u.end() // err is the reason; what end cannot remove, a sweep will
	return unavailable(doing, err)
}

// end removes the staged file, if there is one, and lets go of the upload.
func (u *upload) end() error {
	if u.ended {
		return nil
	}
	u.ended = true
	defer u.release()
	if u.file == nil {
		return nil
	}
	// The name goes while we have the lock, so that nobody resumes it.
	err := u.dir.fsys.Remove(u.staged())
	u.file.Close() // the file is nameless, or its bytes are synced
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unavailable("remove upload", err)
	}
	return nil
}

// release gives back what the upload holds in memory.
func (u *upload) release() {
	if u.buffer != nil {
		buffers.Put(u.buffer)
		u.buffer, u.buffered = nil, 0
	}
	u.dir.mu.Lock()
	delete(u.dir.held, u.id)
	u.dir.mu.Unlock()
}
