package faults

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// smallDisk is a file system of its own of so many MiB.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", size)); err != nil {
		t.Skipf("NOT TESTED: a small disk needs the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// trouble is a server whose disk stops taking writes.
type trouble struct {
	t       *testing.T
	opt     daemontest.Options
	s       *daemontest.Server
	p       *publisher
	ob      *observer
	count   int
	there   []offer // acknowledged
	refused []offer
}

func newTrouble(t *testing.T, opt daemontest.Options) *trouble {
	t.Helper()
	tr := &trouble{t: t, opt: opt, s: daemontest.Start(t, opt)}
	tr.p = publisherOf(tr.s)
	if _, err := tr.s.Client(tr.s.Admin).CreateProject(t.Context(), client.NewProject{Name: "trouble"}); err != nil {
		t.Fatal(err)
	}
	var err error
	if tr.ob, err = newObserver(tr.p, tr.s.LogKey()); err != nil {
		t.Fatal(err)
	}
	return tr
}

// push offers a new chart through the doors in turn and says whether it was
// taken. What is not taken must be a clear refusal that promises nothing.
func (tr *trouble) push(ballast int, says ...string) bool {
	tr.t.Helper()
	d := &doors[tr.count%len(doors)]
	tr.count++
	o := newOffer(tr.t, "trouble", "box", fmt.Sprintf("1.0.%d", tr.count), fmt.Sprint("box ", tr.count), ballast)
	return tr.offer(d, &o, says)
}

func (tr *trouble) offer(d *door, o *offer, says []string) bool {
	tr.t.Helper()
	a := d.push(tr.t.Context(), tr.p, o)
	if a.accepted() {
		tr.there = append(tr.there, *o)
		return true
	}
	text := a.String() // an upload that fails makes a, with its answer, an error
	clear := len(says) == 0
	for _, s := range says {
		clear = clear || strings.Contains(text, s)
	}
	if !strings.Contains(text, "503") || !clear || len(says) > 0 && !strings.Contains(strings.ToLower(text), "try") {
		tr.t.Errorf("%s at %s: the refusal is not a clear 503: %s", o, d.name, text)
	}
	tr.refused = append(tr.refused, *o)
	return false
}

// settle checks that what was acknowledged is there and that nothing else is.
func (tr *trouble) settle() {
	tr.t.Helper()
	ctx := tr.t.Context()
	for i := range tr.there {
		if err := tr.ob.whole(ctx, &tr.there[i]); err != nil {
			tr.t.Error(err)
		}
	}
	for i := range tr.refused {
		if err := tr.ob.absent(ctx, &tr.refused[i]); err != nil {
			tr.t.Error(err)
		}
	}
	leaves, err := tr.ob.releases(ctx)
	if err != nil {
		tr.t.Error(err)
	}
	if len(leaves) != len(tr.there) {
		tr.t.Errorf("%d releases in the log, %d were acknowledged", len(leaves), len(tr.there))
	}
	index, err := tr.ob.index(ctx, "trouble")
	if err != nil {
		tr.t.Error(err)
	}
	if len(index) != len(tr.there) {
		tr.t.Errorf("%d releases in the index, %d were acknowledged", len(index), len(tr.there))
	}
	if _, err := tr.ob.consistent(ctx); err != nil {
		tr.t.Error(err)
	}
}

// recover checks that all is taken now that was refused before.
func (tr *trouble) recover() {
	tr.t.Helper()
	again := tr.refused
	tr.refused = nil
	for i := range again {
		d := &doors[i%len(doors)]
		if !tr.offer(d, &again[i], nil) {
			tr.t.Errorf("%s at %s: refused after the disk recovered", &again[i], d.name)
		}
	}
}

// restart ends the server in good order and starts it again.
func (tr *trouble) restart() {
	tr.t.Helper()
	if err := tr.s.Stop(); err != nil {
		tr.t.Errorf("stop: %v", err)
	}
	tr.s = daemontest.Start(tr.t, tr.opt)
	tr.p = publisherOf(tr.s)
	tr.ob.on(tr.p)
}

// fill takes what is left of a disk.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("fill the disk: %v", err)
		}
	}
}

// TestDiskFull: while the disk is full nothing is acknowledged that is not
// there, reading goes on, and the server needs no help to go on afterwards.
func TestDiskFull(t *testing.T) {
	disk := smallDisk(t, 24)
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	tr := newTrouble(t, daemontest.Options{Data: filepath.Join(disk, "data")})
	for tr.push(700<<10, "full") {
	}
	if len(tr.there) < 3 {
		t.Fatalf("the disk was full after %d charts", len(tr.there))
	}
	for range 2 * len(doors) {
		tr.push(700<<10, "full")
	}
	tr.settle()
	// Now not even the database finds room.
	filler := filepath.Join(disk, "filler")
	fill(t, filler)
	for range 4 * len(doors) {
		tr.push(0, "full", "no room left", "whether it was stored is not known")
	}
	tr.settle()
	a := tr.ob.get(t.Context(), "/readyz")
	t.Logf("%d charts were taken and %d refused; /readyz says %s", len(tr.there), len(tr.refused), &a)
	for _, path := range []string{ballast, filler} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	tr.recover()
	tr.settle()
	tr.restart()
	tr.settle()
}

// TestFileSizeLimit is a disk that refuses in another way, and needs no
// rights: the kernel lets no file of the server grow.
func TestFileSizeLimit(t *testing.T) {
	tr := newTrouble(t, daemontest.Options{Data: t.TempDir()})
	for range len(doors) {
		tr.push(100 << 10)
	}
	limit := func(bytes uint64) {
		t.Helper()
		var old unix.Rlimit
		if err := unix.Prlimit(tr.s.Pid(), unix.RLIMIT_FSIZE, nil, &old); err != nil {
			t.Fatal(err)
		}
		if err := unix.Prlimit(tr.s.Pid(), unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: old.Max}, nil); err != nil {
			t.Fatal(err)
		}
	}
	limit(32 << 10)
	for range 2 * len(doors) {
		if tr.push(100 << 10) {
			t.Error("a chart was taken that is larger than any file may be")
		}
	}
	for range 2 * len(doors) {
		tr.push(0)
	}
	if !tr.s.Running() {
		t.Fatal("the server died of a file that may not grow")
	}
	limit(unix.RLIM_INFINITY)
	tr.settle()
	tr.recover()
	tr.settle()
	tr.restart()
	tr.settle()
}

// TestReadOnlyBlobs: the folder of blobs becomes read-only under the server.
func TestReadOnlyBlobs(t *testing.T) {
	data := filepath.Join(smallDisk(t, 64), "data")
	blobs := filepath.Join(data, "blobs")
	if err := os.MkdirAll(blobs, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(blobs, blobs, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(blobs, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	remount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("", blobs, "", syscall.MS_BIND|syscall.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	tr := newTrouble(t, daemontest.Options{Data: data})
	for range len(doors) {
		tr.push(100 << 10)
	}
	remount(syscall.MS_RDONLY)
	for range 2 * len(doors) {
		if tr.push(100<<10, "read-only") {
			t.Error("a chart was taken while no blob could be written")
		}
	}
	tr.settle()
	if a := tr.ob.get(t.Context(), "/readyz"); a.status != http.StatusServiceUnavailable {
		t.Logf("/readyz of a server that cannot take a chart: %s", &a)
	}
	remount(0)
	tr.recover()
	tr.settle()
}

// TestReadOnlyFolder: a server that cannot write does not start, and says why.
func TestReadOnlyFolder(t *testing.T) {
	disk := smallDisk(t, 64)
	opt := daemontest.Options{Data: filepath.Join(disk, "data")}
	for _, made := range []bool{false, true} {
		if made {
			if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, ""); err != nil {
				t.Fatal(err)
			}
			if err := daemontest.Start(t, opt).Stop(); err != nil {
				t.Fatal(err)
			}
		}
		if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		_, err := daemontest.Try(t, opt)
		if err == nil {
			t.Fatal("it started on a folder that it cannot write to")
		}
		for _, want := range []string{"exit status 1", "the data folder", opt.Data, "cannot be", "Try:"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("folder made before %v: it does not say %q: %v", made, want, err)
			}
		}
	}
}
