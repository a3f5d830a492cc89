package blob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/store/blob"
	"github.com/chartkeep/chartkeep/internal/store/storetest/powerloss"
)

// pushes are the ways to commit, each leaving nothing but its blob.
func pushes(h *history, s *blob.Dir) []func() error {
	return []func() error{
		func() error { return h.push(s, neighbours[0], sha256Of(neighbours[0]), 0) },
		func() error { return h.push(s, neighbours[1], sha256Of(neighbours[1]), 2) },
		func() error { return h.push(s, large, sha256Of(large), 0) },
		func() error { return h.push(s, neighbours[2], sha512Of(neighbours[2]), 1) },
		func() error { return h.push(s, neighbours[0], sha256Of(neighbours[0]), 0) },
		func() error { return h.push(s, neighbours[0], sha256Of(neighbours[0]), 1) },
	}
}

var diskErrors = []struct {
	err  error
	rule string
}{
	{syscall.ENOSPC, "blob-store-full"},
	{syscall.EDQUOT, "blob-store-full"},
	{syscall.EROFS, "blob-store-read-only"},
	{syscall.EACCES, "blob-store-permission"},
	{syscall.EPERM, "blob-store-permission"},
	{syscall.EIO, "blob-store-io"},
	{syscall.EMFILE, "blob-store-busy"},
	{syscall.EXDEV, "blob-store-links"},
	{syscall.EOPNOTSUPP, "blob-store-links"},
	{syscall.ESTALE, "blob-store-failed"},
	{powerloss.Short{N: 3, Err: syscall.ENOSPC}, "blob-store-full"},
}

// inject runs all pushes on a store of which the operation number at fails. It
// returns that operation (Kind "" if there were fewer), and what the pushes
// said.
func inject(t *testing.T, disk *powerloss.Disk, h *history, s *blob.Dir, fsys *powerloss.FS, at int, fail error) (powerloss.Op, []error) {
	t.Helper()
	var hit powerloss.Op
	first := -1
	fsys.Hook = func(op powerloss.Op) error {
		if first < 0 {
			first = op.Index
		}
		if op.Index-first != at {
			return nil
		}
		hit = op
		var short powerloss.Short
		if errors.As(fail, &short) && op.Kind != "write" {
			return short.Err
		}
		return fail
	}
	var said []error
	for _, push := range pushes(h, s) {
		said = append(said, push())
	}
	fsys.Hook = nil
	return hit, said
}

// TestOneFault lets each operation of a series of pushes fail once, in every
// way: at most the push that met it fails, cleanly, and the next ones do not
// suffer.
func TestOneFault(t *testing.T) {
	for _, disk := range diskErrors {
		t.Run(fmt.Sprint(disk.err), func(t *testing.T) {
			for at := 0; oneFault(t, at, disk.err, disk.rule); at++ {
			}
		})
	}
}

// oneFault returns false if there is no operation number at.
func oneFault(t *testing.T, at int, fail error, rule string) bool {
	t.Helper()
	disk := powerloss.NewDisk(time.Now())
	fsys := disk.Boot()
	s, err := blob.OpenFS(fsys)
	if err != nil {
		t.Fatal(err)
	}
	h := &history{acknowledged: map[string][]byte{}}
	op, said := inject(t, disk, h, s, fsys, at, fail)
	if op.Kind == "" {
		return false
	}
	when := fmt.Sprintf("%v at operation %d, %s %s", fail, at, op.Kind, op.Name)
	failed := 0
	for i, err := range said {
		if err == nil {
			continue
		}
		failed++
		// A folder that could not be synced is not used again; all others are.
		if failed > 1 && op.Kind != "syncdir" {
			t.Errorf("%s: push %d failed as well: %v", when, i, err)
		}
		if p, ok := problem.As(err); !ok || p.Kind != problem.Unavailable || p.Rule != rule || !errors.Is(err, errnoOf(fail)) {
			t.Errorf("%s: push %d says %v", when, i, err)
		}
	}
	if failed == 0 && op.Kind != "remove" {
		t.Errorf("%s: nobody noticed", when)
	}
	// What could not be taken up stays for the next attempt.
	mayStay := slices.Contains([]string{"remove", "claim", "fstat"}, op.Kind)
	if names, err := fsys.ReadDir("uploads"); err != nil || len(names) > 0 && !mayStay {
		t.Errorf("%s: left behind %q, %v", when, names, err)
	}
	if err := h.check(disk.Cut(func(powerloss.Unsynced) bool { return false }).Boot()); err != nil {
		t.Errorf("%s, then power cut: %v", when, err)
	}
	again, err := blob.OpenFS(disk.Boot())
	if err != nil {
		t.Fatal(err)
	}
	for i, push := range pushes(h, again) {
		if err := push(); err != nil {
			t.Errorf("%s: push %d after a restart: %v", when, i, err)
		}
	}
	if err := h.check(disk.Boot()); err != nil {
		t.Errorf("%s, then restart: %v", when, err)
	}
	return true
}

func errnoOf(err error) error {
	var short powerloss.Short
	if errors.As(err, &short) {
		return short.Err
	}
	return err
}

// TestLastingFault lets the disk go full or read-only at each moment, and stay
// so: nothing is acknowledged that is not durable, what was there can be read,
// and when the trouble is over everything works again.
func TestLastingFault(t *testing.T) {
	changes := map[error][]string{
		syscall.ENOSPC: {"create", "write", "link", "mkdir", "sync"},
		syscall.EROFS:  {"create", "claim", "write", "link", "mkdir", "sync", "remove"},
	}
	for fail, kinds := range changes {
		for at := 0; ; at++ {
			disk := powerloss.NewDisk(time.Now())
			fsys := disk.Boot()
			s, err := blob.OpenFS(fsys)
			if err != nil {
				t.Fatal(err)
			}
			h := &history{acknowledged: map[string][]byte{}}
			first, met := -1, false
			fsys.Hook = func(op powerloss.Op) error {
				if first < 0 {
					first = op.Index
				}
				if op.Index-first >= at && slices.Contains(kinds, op.Kind) {
					met = true
					return fail
				}
				return nil
			}
			for _, push := range pushes(h, s) {
				if err := push(); err != nil && (problem.KindOf(err) != problem.Unavailable || !errors.Is(err, fail)) {
					t.Errorf("%v from operation %d: %v", fail, at, err)
				}
			}
			if err := h.checkBlobs(s); err != nil {
				t.Errorf("%v from operation %d, reading: %v", fail, at, err)
			}
			fsys.Hook = nil
			if names, err := fsys.ReadDir("uploads"); err != nil || len(names) > 0 && fail == syscall.ENOSPC {
				t.Errorf("%v from operation %d: left behind %q, %v", fail, at, names, err)
			}
			if err := h.check(disk.Cut(func(powerloss.Unsynced) bool { return false }).Boot()); err != nil {
				t.Errorf("%v from operation %d, then power cut: %v", fail, at, err)
			}
			for i, push := range pushes(h, s) {
				if err := push(); err != nil {
					t.Errorf("%v from operation %d, over: push %d: %v", fail, at, i, err)
				}
			}
			if err := h.check(fsys); err != nil {
				t.Errorf("%v from operation %d, over: %v", fail, at, err)
			}
			if !met {
				break
			}
		}
	}
}

// TestSyncNotRepeated has a system that fails a sync once, drops what was not
// synced, and reports success from then on: nothing may be acknowledged on the
// strength of the second sync.
func TestSyncNotRepeated(t *testing.T) {
	for _, kind := range []string{"sync", "syncdir"} {
		for nth := range 6 {
			disk := powerloss.NewDisk(time.Now())
			fsys := disk.Boot()
			s, err := blob.OpenFS(fsys)
			if err != nil {
				t.Fatal(err)
			}
			var dropped string
			seen := 0
			fsys.Hook = func(op powerloss.Op) error {
				switch {
				case op.Kind != kind:
				case op.Name == dropped:
					return powerloss.ErrPretend
				case dropped == "":
					if seen++; seen == nth+1 {
						dropped = op.Name
						return syscall.EIO
					}
				}
				return nil
			}
			h := &history{acknowledged: map[string][]byte{}}
			failed := 0
			for range 3 {
				for _, push := range pushes(h, s) {
					if push() != nil {
						failed++
					}
				}
			}
			if dropped != "" && failed == 0 {
				t.Errorf("failed %s number %d: nobody was told", kind, nth)
			}
			if err := h.check(disk.Cut(func(powerloss.Unsynced) bool { return false }).Boot()); err != nil {
				t.Errorf("failed %s number %d: %v", kind, nth, err)
			}
		}
	}
}

// TestOpenFails: a store that cannot be made durable does not open; one that
// is there opens on a read-only disk, and serves.
func TestOpenFails(t *testing.T) {
	for at := 0; ; at++ {
		disk := powerloss.NewDisk(time.Now())
		fsys := disk.Boot()
		met := false
		fsys.Hook = func(op powerloss.Op) error {
			if op.Index == at {
				met = true
				return syscall.EIO
			}
			return nil
		}
		_, err := blob.OpenFS(fsys)
		if !met {
			break
		}
		if problem.KindOf(err) != problem.Unavailable {
			t.Errorf("EIO at operation %d: %v", at, err)
		}
	}

	disk := powerloss.NewDisk(time.Now())
	h := &history{acknowledged: map[string][]byte{}}
	s, err := blob.OpenFS(disk.Boot())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.push(s, large, sha256Of(large), 0); err != nil {
		t.Fatal(err)
	}
	fsys := disk.Boot()
	fsys.Hook = func(op powerloss.Op) error {
		if slices.Contains([]string{"create", "claim", "write", "link", "remove"}, op.Kind) {
			return syscall.EROFS
		}
		return nil
	}
	s, err = blob.OpenFS(fsys)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.checkBlobs(s); err != nil {
		t.Error(err)
	}
	if err := h.push(s, neighbours[0], sha256Of(neighbours[0]), 0); problem.KindOf(err) != problem.Unavailable {
		t.Errorf("push to a read-only disk: %v", err)
	}
}

// TestUnmounted: where the folders are gone, nothing is said to be unknown.
func TestUnmounted(t *testing.T) {
	disk := powerloss.NewDisk(time.Now())
	fsys := disk.Boot()
	s, err := blob.OpenFS(fsys)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for _, folder := range []string{"uploads", "blobs/sha256"} {
		if err := fsys.Remove(folder); err != nil {
			t.Fatal(err)
		}
	}
	for name, call := range map[string]func() error{
		"open":   func() error { _, err := s.Open(ctx, sha256Of(nil)); return err },
		"stat":   func() error { _, err := s.Stat(ctx, sha256Of(nil)); return err },
		"resume": func() error { _, err := s.Resume(ctx, "AAAAAAAAAAAAAAAAAAAAAAAAAA"); return err },
		"size":   func() error { _, err := s.UploadSize(ctx, "AAAAAAAAAAAAAAAAAAAAAAAAAA"); return err },
		"sweep":  func() error { _, err := s.SweepUploads(ctx, time.Now()); return err },
		"list":   func() error { return s.List(ctx, func(string, int64, time.Time) error { return nil }) },
		"push": func() error {
			return (&history{acknowledged: map[string][]byte{}}).push(s, large, sha256Of(large), 0)
		},
	} {
		err := call()
		if p, ok := problem.As(err); !ok || p.Kind != problem.Unavailable || p.Rule != "blob-store-missing" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDamage: what rotted on the disk is an error, and never a blob.
func TestDamage(t *testing.T) {
	for _, content := range [][]byte{neighbours[0], large} {
		named := sha256Of(content)
		name := "blobs/sha256/" + named[7:9] + "/" + named[7:]
		disk := powerloss.NewDisk(time.Now())
		fsys := disk.Boot()
		s, err := blob.OpenFS(fsys)
		if err != nil {
			t.Fatal(err)
		}
		h := &history{acknowledged: map[string][]byte{}}
		if err := h.push(s, content, named, 0); err != nil {
			t.Fatal(err)
		}
		opened, err := s.Open(t.Context(), named)
		if err != nil {
			t.Fatal(err)
		}

		if !disk.Flip(name, len(content)/2) {
			t.Fatal("nothing to flip")
		}
		if n, err := io.Copy(io.Discard, digest.Verified(opened, named)); problem.KindOf(err) != problem.Disproven || n >= int64(len(content)) {
			t.Errorf("a flipped bit: %d bytes of %d, %v", n, len(content), err)
		}

		if !disk.Truncate(name, len(content)-1) {
			t.Fatal("nothing to truncate")
		}
		got := make([]byte, len(content))
		if n, err := opened.ReadAt(got, 0); problem.KindOf(err) != problem.Disproven || n != len(content)-1 {
			t.Errorf("shorter than when it was opened: %d bytes, %v", n, err)
		}
		if err := h.push(s, content, named, 0); problem.KindOf(err) != problem.Disproven {
			t.Errorf("push of what lies there with another size: %v", err)
		}
		if names, err := fsys.ReadDir("uploads"); err != nil || len(names) > 0 {
			t.Errorf("left behind %q, %v", names, err)
		}

		fsys.Hook = func(op powerloss.Op) error {
			if op.Kind == "read" {
				return syscall.EIO
			}
			return nil
		}
		if _, err := opened.ReadAt(got, 0); problem.KindOf(err) != problem.Unavailable {
			t.Errorf("unreadable: %v", err)
		}
		fsys.Hook = nil
		if err := opened.Close(); err != nil {
			t.Error(err)
		}

		if err := fsys.Remove(name); err != nil {
			t.Fatal(err)
		}
		if err := fsys.Mkdir(name); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Open(t.Context(), named); problem.KindOf(err) != problem.Disproven {
			t.Errorf("a folder in place of the blob: %v", err)
		}
		if _, err := s.Stat(t.Context(), named); problem.KindOf(err) != problem.Disproven {
			t.Errorf("a folder in place of the blob: %v", err)
		}
	}
}

// TestSlowDisk: while one writer waits for the disk, others do not.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := powerloss.NewDisk(time.Now())
		slow := disk.Boot()
		s, err := blob.OpenFS(slow)
		if err != nil {
			t.Fatal(err)
		}
		h := &history{acknowledged: map[string][]byte{}}
		if err := h.push(s, neighbours[1], sha256Of(neighbours[1]), 0); err != nil { // makes the folder
			t.Fatal(err)
		}
		stuck := true
		slow.Hook = func(op powerloss.Op) error {
			if op.Kind == "sync" && stuck {
				stuck = false
				time.Sleep(time.Hour)
			}
			return nil
		}
		began, done := time.Now(), make(chan time.Duration)
		go func() {
			h := &history{acknowledged: map[string][]byte{}}
			if err := h.push(s, neighbours[0], sha256Of(neighbours[0]), 0); err != nil {
				t.Error(err)
			}
			done <- time.Since(began)
		}()
		synctest.Wait()
		if err := h.push(s, neighbours[2], sha256Of(neighbours[2]), 1); err != nil {
			t.Error(err)
		}
		if _, err := s.Stat(t.Context(), sha256Of(neighbours[0])); problem.KindOf(err) != problem.NotFound {
			t.Errorf("visible before it was synced: %v", err)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("the other writer waited %v", waited)
		}
		if took := <-done; took != time.Hour {
			t.Errorf("the slow push took %v", took)
		}
	})
}

// TestCost counts what the contract bounds: syncs of a push, and operations of
// an upload that stays small.
func TestCost(t *testing.T) {
	disk := powerloss.NewDisk(time.Now())
	fsys := disk.Boot()
	s, err := blob.OpenFS(fsys)
	if err != nil {
		t.Fatal(err)
	}
	h := &history{acknowledged: map[string][]byte{}}
	if err := h.push(s, neighbours[1], sha256Of(neighbours[1]), 0); err != nil { // makes the folder
		t.Fatal(err)
	}
	var ops []string
	fsys.Hook = func(op powerloss.Op) error {
		ops = append(ops, op.Kind)
		return nil
	}
	for _, c := range []struct {
		name string
		do   func() error
		want []string
	}{
		{"small and new", func() error { return h.push(s, neighbours[0], sha256Of(neighbours[0]), 0) },
			[]string{"stat", "create", "write", "sync", "link", "syncdir", "remove"}},
		{"small and known", func() error { return h.push(s, neighbours[0], sha256Of(neighbours[0]), 0) },
			[]string{"stat", "syncdir"}},
		{"POST, then PUT", func() error {
			up, err := s.Begin(context.Background())
			if err != nil {
				return err
			}
			if err := up.Suspend(); err != nil {
				return err
			}
			if up, err = s.Resume(context.Background(), up.ID()); err != nil {
				return err
			}
			if _, err := up.ReadFrom(bytes.NewReader(neighbours[2])); err != nil {
				return err
			}
			_, _, err = up.Commit(context.Background(), sha256Of(neighbours[2]))
			return err
		}, []string{"create", "claim", "fstat", "stat", "write", "sync", "link", "syncdir", "remove"}},
		{"taken elsewhere", func() error {
			up, err := s.Begin(context.Background())
			if err != nil {
				return err
			}
			if _, err := up.Write(large[:64<<10]); err != nil {
				return err
			}
			if _, err := up.Bytes(1 << 20); err != nil {
				return err
			}
			return up.Cancel()
		}, nil},
	} {
		ops = nil
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if !slices.Equal(ops, c.want) {
			t.Errorf("%s: %q, want %q", c.name, ops, c.want)
		}
	}
}
