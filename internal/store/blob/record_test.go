package blob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/store/blob"
	"github.com/chartkeep/chartkeep/internal/store/storetest"
	"github.com/chartkeep/chartkeep/internal/store/storetest/powerloss"
)

var _ storetest.RecordStore = (*blob.Dir)(nil)

func TestRecords(t *testing.T) {
	storetest.Records(t, func(t *testing.T) func() storetest.RecordStore {
		path := filepath.Join(t.TempDir(), "store")
		return func() storetest.RecordStore { return openDir(t, path) }
	})
}

// TestForgettingRecords shows that the file system of the next test behaves
// like that of the operating system.
func TestForgettingRecords(t *testing.T) {
	storetest.Records(t, func(t *testing.T) func() storetest.RecordStore {
		disk := powerloss.NewDisk(time.Now())
		return func() storetest.RecordStore {
			d, err := blob.OpenFS(disk.Boot())
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
	})
}

// putAll keeps records until one fails, and notes which were acknowledged.
func putAll(fsys *powerloss.FS, kept map[string][]byte) error {
	d, err := blob.OpenFS(fsys)
	if err != nil {
		return err
	}
	for i := range 4 {
		name, data := fmt.Sprintf("c/%d/%d", i/2, i), bytes.Repeat([]byte{byte('a' + i)}, 3000)
		if err := d.PutRecord(context.Background(), name, data); err != nil {
			return err
		}
		kept[name] = data
	}
	return nil
}

// recordsLost cuts the power before every operation of four puts, and says
// what of the acknowledged is not there afterwards. pretend is a kind of
// operation that does nothing.
func recordsLost(t *testing.T, pretend string) error {
	for end := 0; ; end++ {
		disk := powerloss.NewDisk(time.Now())
		fsys := disk.Boot()
		fsys.Hook = func(op powerloss.Op) error {
			switch {
			case op.Index == end:
				fsys.Kill()
				return powerloss.ErrDead
			case op.Kind == pretend:
				return powerloss.ErrPretend
			}
			return nil
		}
		kept := map[string][]byte{}
		dead := putAll(fsys, kept)
		if dead != nil && !errors.Is(dead, powerloss.ErrDead) {
			t.Fatal(dead)
		}
		err := cuts(disk, func(left *powerloss.Disk) error {
			d, err := blob.OpenFS(left.Boot())
			if err != nil {
				return err
			}
			for name, data := range kept {
				got, err := d.Record(context.Background(), name, 10_000)
				if err != nil || !bytes.Equal(got, data) {
					return fmt.Errorf("%s came back as %d bytes, %w", name, len(got), err)
				}
			}
			// What was not acknowledged can be kept now.
			return putAll(left.Boot(), map[string][]byte{})
		})
		if err != nil {
			return fmt.Errorf("power cut before operation %d, %w", end, err)
		}
		if dead == nil && len(kept) == 4 && end > 60 {
			return nil
		}
	}
}

func TestRecordsPowerLoss(t *testing.T) {
	if err := recordsLost(t, ""); err != nil {
		t.Error(err)
	}
	for _, kind := range []string{"sync", "syncdir"} {
		if err := recordsLost(t, kind); err == nil {
			t.Errorf("without any %s nothing is lost: this test is blind", kind)
		}
	}
}

// TestRecordsFolderRemoved takes the folder away under a store that knows it.
func TestRecordsFolderRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	d := openDir(t, path)
	if err := d.PutRecord(t.Context(), "a/b/c", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(path, "records")); err != nil {
		t.Fatal(err)
	}
	if err := d.PutRecord(t.Context(), "a/b/c", []byte("x")); err != nil {
		t.Errorf("put into a folder that somebody removed: %v", err)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		d.PutRecord(t.Context(), "a/b/d", []byte("x")),
		func() error { _, err := d.Record(t.Context(), "a/b/c", 10); return err }(),
		func() error { _, err := d.RecordNames(t.Context(), "a", "", 10); return err }(),
	} {
		if problem.KindOf(err) != problem.Unavailable || errors.Is(err, os.ErrExist) {
			t.Errorf("a store that is gone answers %v", err)
		}
	}
}
