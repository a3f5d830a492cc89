package custody

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// The folders of records.
const (
	checkpointFolder = "checkpoint"
	entriesFolder    = "entries"
	asideFolder      = "aside"
	noticeFolder     = "notice"
)

// keyDepth is how many groups of three digits a number has. Six hold more than
// tlog.MaxSize.
const keyDepth = 6

// folderWidth is how many names a folder of numbers holds.
const folderWidth = 1000

// maxBundle bounds an entry bundle in bytes: 256 entries of the largest size
// behind their lengths.
const maxBundle = tlog.TileHashes * (tlog.MaxEntry + 2)

// maxBad bounds how many records in a row are looked at that are not what
// their names say.
const maxBad = 100

// numberKey writes a number as groups of three digits.
func numberKey(n int64) string {
	digits := fmt.Sprintf("%0*d", 3*keyDepth, n)
	groups := make([]string, keyDepth)
	for i := range groups {
		groups[i] = digits[3*i : 3*i+3]
	}
	return strings.Join(groups, "/")
}

func checkpointName(log Log, size int64) string {
	return checkpointFolder + "/" + string(log) + "/" + numberKey(size)
}

func bundleFolder(log Log, n int64) string {
	return entriesFolder + "/" + string(log) + "/" + numberKey(n)
}

func bundleName(log Log, n int64, width int) string {
	return fmt.Sprintf("%s/%03d", bundleFolder(log, n), width)
}

func asidesFolder(log Log, n int64) string {
	return asideFolder + "/" + string(log) + "/" + numberKey(n)
}

func asideName(log Log, n int64, from, to int) string {
	return fmt.Sprintf("%s/%03d-%03d", asidesFolder(log, n), from, to)
}

// group reads one group of three digits.
func group(s string) (int64, bool) {
	if len(s) != 3 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return int64(n), err == nil
}

// shelf reads the records of one database.
type shelf struct {
	records   Records
	verifiers func(Log) (origin string, keys note.Verifiers)
}

// newest is the largest kept checkpoint of a log of at most a size, whose
// signature holds; ok is false when there is none. bad are records on the way
// that are not what their names say. Cost: the names of six folders.
func (s *shelf) newest(ctx context.Context, log Log, most int64) (cp tlog.Checkpoint, ok bool, bad []error, err error) {
	var descend func(folder string, prefix int64, depth int) error
	descend = func(folder string, prefix int64, depth int) error {
		names, err := s.records.RecordNames(ctx, folder, "", folderWidth+1)
		if err != nil {
			return err
		}
		below := int64(1) // how many numbers each name covers
		for range keyDepth - 1 - depth {
			below *= folderWidth
		}
		for _, name := range slices.Backward(names) {
			digits, valid := group(name)
			number := prefix*folderWidth + digits
			if !valid || number > most/below {
				continue
			}
			if depth < keyDepth-1 {
				err = descend(folder+"/"+name, number, depth+1)
			} else if cp, err = s.checkpoint(ctx, log, number); err == nil {
				ok = true
			} else if damaged(err) {
				bad, err = append(bad, err), nil
			}
			if err != nil || ok || len(bad) >= maxBad {
				return err
			}
		}
		return nil
	}
	err = descend(checkpointFolder+"/"+string(log), 0, 0)
	return cp, ok, bad, err
}

// checkpoint reads one kept checkpoint and checks its signature.
func (s *shelf) checkpoint(ctx context.Context, log Log, size int64) (tlog.Checkpoint, error) {
	name := checkpointName(log, size)
	text, err := s.records.Record(ctx, name, tlog.MaxCheckpoint)
	if err != nil {
		return tlog.Checkpoint{}, err
	}
	origin, keys := s.verifiers(log)
	cp, err := tlog.OpenCheckpoint(text, origin, keys)
	if err == nil && cp.Size != size {
		err = problem.New(problem.Disproven, "record-size", "it is a checkpoint of %d leaves", cp.Size)
	}
	if err != nil && damaged(err) {
		return tlog.Checkpoint{}, problem.New(problem.Disproven, "record-checkpoint", "the record %s is no checkpoint of this log", name).Because(err)
	}
	return cp, err
}

// damaged says whether a record could be read but is not what it should be;
// every other error means that nothing is known.
func damaged(err error) bool {
	p, ok := problem.As(err)
	return ok && (p.Kind == problem.Disproven || p.Kind == problem.Invalid || p.Kind == problem.NotFound || p.Kind == problem.TooLarge)
}

// bundle reads the first width entries of a bundle from the widest kept one. Whether they are the right ones only the root of the tree
// says.
func (s *shelf) bundle(ctx context.Context, log Log, n int64, width int) ([][]byte, error) {
	names, err := s.records.RecordNames(ctx, bundleFolder(log, n), "", folderWidth+1)
	if err != nil {
		return nil, err
	}
	var last error
	for _, name := range slices.Backward(names) {
		kept, valid := group(name)
		if !valid || kept < int64(width) {
			continue
		}
		data, err := s.records.Record(ctx, bundleFolder(log, n)+"/"+name, maxBundle)
		if err == nil {
			var entries [][]byte
			if entries, err = tlog.ParseEntryBundle(data); err == nil && len(entries) >= width {
				return entries[:width], nil
			}
		}
		if err != nil && !damaged(err) {
			return nil, err
		}
		last = err
	}
	kind := problem.NotFound
	if last != nil {
		kind = problem.Disproven
	}
	e := problem.New(kind, "record-entries", "the records lack entries %d to %d of the %s log", n*tlog.TileHashes, n*tlog.TileHashes+int64(width)-1, log).
		Suggest("bring the folder of records back from a backup of the blob store")
	if last != nil {
		e.Because(last)
	}
	return nil, e
}

// Newest is the largest kept checkpoint of a log whose signature holds; ok is
// false when there is none.
func (c *Custodian) Newest(ctx context.Context, log Log) (cp tlog.Checkpoint, ok bool, err error) {
	cp, ok, _, err = c.shelf.newest(ctx, log, tlog.MaxSize)
	return cp, ok, err
}

// PutCheckpoint keeps a checkpoint that is known from elsewhere. It is not
// backed by entries: a database that is behind it can be recovered only when
// these are kept as well.
func PutCheckpoint(ctx context.Context, records Records, log Log, cp tlog.Checkpoint) error {
	return records.PutRecord(ctx, checkpointName(log, cp.Size), cp.Note)
}
