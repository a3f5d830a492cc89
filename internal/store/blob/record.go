package blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// recordsDir holds the records. It is made with the first of them, so that its
// absence says that none was ever kept, or that somebody took it away.
const recordsDir = "records"

// The limits of the names of records: segments of lower-case letters, digits,
// hyphens and dots, joined by slashes.
const (
	maxRecordName    = 200 // bytes
	maxRecordSegment = 80  // bytes
	maxRecordDepth   = 12  // segments
)

// maxKnownFolders bounds the folders whose durability is remembered.
const maxKnownFolders = 4096

// PutRecord keeps bytes under a name, for ever: on return they are durable.
// The same bytes again are no error, other bytes are problem.Conflict and
// change nothing. Cost: two syncs, and one more for each folder that is new.
func (d *Dir) PutRecord(ctx context.Context, name string, data []byte) error {
	file, err := recordFile(name)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// This look saves writing what is there. What decides is Link.
	if _, err := d.fsys.Stat(file); err == nil {
		return d.sameRecord(name, file, data)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return unavailable("put record", err)
	}
	folder := path.Dir(file)
	for again := false; ; again = true {
		if err := d.recordFolder(folder, again); err != nil {
			return err
		}
		err := d.linkRecord(file, data)
		switch {
		case err == nil:
			return d.syncDir(folder)
		case errors.Is(err, fs.ErrExist):
			return d.sameRecord(name, file, data)
		case !again && errors.Is(err, fs.ErrNotExist):
			continue // somebody took away a folder that was known
		}
		return unavailable("put record", err)
	}
}

// linkRecord writes a staged file, syncs it and gives it its name.
func (d *Dir) linkRecord(file string, data []byte) error {
	staged := uploadsDir + "/" + rand.Text()
	f, err := d.fsys.Create(staged)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = d.fsys.Link(staged, file)
	}
	_ = d.fsys.Remove(staged) // or the next sweep does
	f.Close()                 // its bytes are synced, or it is nameless
	return err
}

// sameRecord compares what is kept with what was offered.
func (d *Dir) sameRecord(name, file string, data []byte) error {
	held, err := d.readRecord(name, file, int64(len(data)))
	if problem.KindOf(err) == problem.TooLarge || err == nil && !bytes.Equal(held, data) {
		return problem.New(problem.Conflict, "record-exists", "the record %s is kept with other bytes", name)
	}
	if err != nil {
		return err
	}
	// Whoever linked it may not have synced it yet, or may have died before.
	return d.syncDir(path.Dir(file))
}

// Record reads a record of at most limit bytes. problem.NotFound if there is
// none, problem.TooLarge if it is larger.
func (d *Dir) Record(ctx context.Context, name string, limit int64) ([]byte, error) {
	file, err := recordFile(name)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return d.readRecord(name, file, limit)
}

func (d *Dir) readRecord(name, file string, limit int64) ([]byte, error) {
	f, err := d.fsys.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		// A store that is not there must not look like one without the record.
		if _, err := d.fsys.Stat(uploadsDir); err != nil {
			return nil, unavailable("read record", err)
		}
		return nil, problem.New(problem.NotFound, "record-unknown", "there is no record %s", name)
	}
	if err != nil {
		return nil, unavailable("read record", err)
	}
	defer f.Close() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return nil, unavailable("read record", err)
	}
	if !info.Regular {
		return nil, problem.New(problem.Disproven, "record-damaged", "the record %s is not a file", name)
	}
	if info.Size > limit {
		return nil, problem.New(problem.TooLarge, "record-size", "the record %s has %d bytes, and %d are allowed", name, info.Size, limit)
	}
	data := make([]byte, info.Size)
	if n, err := f.ReadAt(data, 0); int64(n) < info.Size {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, unavailable("read record", err)
	}
	return data, nil
}

// RecordNames lists what is directly in a folder of records ("" is the
// outermost), in the order of bytes, after a name, at most limit: the last
// segments of records and of folders. A folder that is not there is empty.
// Cost: the names in the folder.
func (d *Dir) RecordNames(ctx context.Context, folder, after string, limit int) ([]string, error) {
	file := recordsDir
	if folder != "" {
		var err error
		if file, err = recordFile(folder); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	names, err := d.fsys.ReadDir(file)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := d.fsys.Stat(uploadsDir); err != nil {
			return nil, unavailable("list records", err)
		}
		return nil, nil
	}
	if err != nil {
		return nil, unavailable("list records", err)
	}
	out := []string{}
	for _, name := range names {
		if name > after && len(out) < limit && recordSegment(name) {
			out = append(out, name)
		}
	}
	return out, nil
}

// RemoveRecord removes a record; one that is not there is no error. It is for
// what another record holds as well. The removal is not synced: after a loss of
// power the record may be back.
func (d *Dir) RemoveRecord(ctx context.Context, name string) error {
	file, err := recordFile(name)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.fsys.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unavailable("remove record", err)
	}
	return nil
}

// recordFolder makes a folder of records and those above it, durably. That one
// exists is not enough: another process may have made it a moment ago. anew
// forgets which are known to be durable.
func (d *Dir) recordFolder(folder string, anew bool) error {
	d.recordsMu.Lock()
	defer d.recordsMu.Unlock()
	if anew {
		clear(d.recordFolders)
	}
	return d.durableFolder(folder)
}

func (d *Dir) durableFolder(folder string) error {
	if folder == "." || d.recordFolders[folder] {
		return nil
	}
	parent := path.Dir(folder)
	if err := d.durableFolder(parent); err != nil {
		return err
	}
	if err := d.mkdir(folder); err != nil {
		return err
	}
	if err := d.syncDir(parent); err != nil {
		return err
	}
	if d.recordFolders == nil || len(d.recordFolders) >= maxKnownFolders {
		d.recordFolders = map[string]bool{}
	}
	d.recordFolders[folder] = true
	return nil
}

// recordFile is where a record lies. Names never leave the folder of records.
func recordFile(name string) (string, error) {
	segments := strings.Split(name, "/")
	ok := len(name) <= maxRecordName && len(segments) <= maxRecordDepth
	for _, s := range segments {
		ok = ok && recordSegment(s)
	}
	if !ok {
		return "", problem.New(problem.Invalid, "record-name", "%.100q is not a name of a record", name)
	}
	return recordsDir + "/" + name, nil
}

func recordSegment(s string) bool {
	return s != "" && len(s) <= maxRecordSegment && s[0] != '.' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}
