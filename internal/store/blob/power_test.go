package blob_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/store/blob"
	"github.com/chartkeep/chartkeep/internal/store/storetest/powerloss"
)

func sha256Of(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func sha512Of(b []byte) string {
	sum := sha512.Sum512(b)
	return "sha512:" + hex.EncodeToString(sum[:])
}

// neighbours are contents whose blobs lie in one folder.
var neighbours = func() [3][]byte {
	var found [3][]byte
	for n, i := 0, 0; n < len(found); i++ {
		if content := fmt.Appendf(nil, "content %d", i); strings.HasPrefix(sha256Of(content), "sha256:ab") {
			found[n] = content
			n++
		}
	}
	return found
}()

// large does not fit the buffer of an upload.
var large = bytes.Repeat([]byte("chartkeep "), 6_600)

// history is what processes were told and what they know.
type history struct {
	acknowledged map[string][]byte // committed, and they were told so
	ids          []string          // uploads that they began
}

// push is one commit through one of the ways there are.
func (h *history) push(s *blob.Dir, content []byte, named string, suspensions int) error {
	ctx := context.Background()
	up, err := s.Begin(ctx)
	if err != nil {
		return err
	}
	h.ids = append(h.ids, up.ID())
	for i := range suspensions {
		if _, err := up.Write(content[i*len(content)/suspensions : (i+1)*len(content)/suspensions]); err != nil {
			return err
		}
		if err := up.Suspend(); err != nil {
			return err
		}
		if up, err = s.Resume(ctx, up.ID()); err != nil {
			return err
		}
	}
	if suspensions == 0 {
		if _, err := up.Write(content); err != nil {
			return err
		}
	}
	if _, _, err := up.Commit(ctx, named); err != nil {
		return err
	}
	h.acknowledged[named] = content
	return nil
}

// publisher is what one process does, until it dies: every way to commit, new
// folders and old, and uploads that come to nothing.
func (h *history) publisher(fsys *powerloss.FS) error {
	s, err := blob.OpenFS(fsys)
	if err != nil {
		return err
	}
	steps := []func() error{
		func() error { return h.push(s, neighbours[0], sha256Of(neighbours[0]), 0) },
		func() error { return h.push(s, neighbours[1], sha256Of(neighbours[1]), 1) },
		func() error { return h.push(s, large, sha256Of(large), 0) },
		func() error { return h.push(s, neighbours[2], sha512Of(neighbours[2]), 2) },
		func() error { return h.push(s, neighbours[0], sha256Of(neighbours[0]), 0) }, // again
		func() error { return h.push(s, neighbours[1], sha256Of(neighbours[1]), 1) },
		func() error { // bytes that lie
			err := h.push(s, neighbours[2], sha256Of([]byte("something else")), 1)
			if problem.KindOf(err) == problem.Invalid {
				return nil
			}
			return err
		},
		func() error { // an upload left alone
			up, err := s.Begin(context.Background())
			if err != nil {
				return err
			}
			h.ids = append(h.ids, up.ID())
			if _, err := up.Write(neighbours[2]); err != nil {
				return err
			}
			return up.Suspend()
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// check opens the store after a disaster and says what is not as it must be.
func (h *history) check(fsys *powerloss.FS) error {
	ctx := context.Background()
	s, err := blob.OpenFS(fsys)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if err := h.checkBlobs(s); err != nil {
		return err
	}
	// Whatever is left of an upload must not lead into a blob.
	for _, id := range h.ids {
		up, err := s.Resume(ctx, id)
		if problem.KindOf(err) == problem.NotFound {
			continue
		}
		if err != nil {
			return fmt.Errorf("resume: %w", err)
		}
		if _, err := up.Write([]byte("more")); err != nil {
			return err
		}
		if err := up.Suspend(); err != nil {
			return err
		}
	}
	if _, err := s.SweepUploads(ctx, time.Now().Add(time.Hour)); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	if names, err := fsys.ReadDir("uploads"); err != nil || len(names) > 0 {
		return fmt.Errorf("left after the sweep: %q, %v", names, err)
	}
	if err := h.checkBlobs(s); err != nil {
		return fmt.Errorf("after writing to old uploads: %w", err)
	}
	return nil
}

// checkBlobs: every acknowledged blob is there, and every blob that is there
// is true.
func (h *history) checkBlobs(s *blob.Dir) error {
	ctx := context.Background()
	for _, named := range slices.Sorted(maps.Keys(h.acknowledged)) {
		b, err := s.Open(ctx, named)
		if err != nil {
			return fmt.Errorf("acknowledged, but: %w", err)
		}
		got, err := io.ReadAll(digest.Verified(b, named))
		if err != nil || !bytes.Equal(got, h.acknowledged[named]) {
			return fmt.Errorf("acknowledged %s, but %d bytes read: %w", named, len(got), err)
		}
	}
	return s.List(ctx, func(named string, _ int64, _ time.Time) error {
		b, err := s.Open(ctx, named)
		if err != nil {
			return fmt.Errorf("listed, but: %w", err)
		}
		if _, err := io.Copy(io.Discard, digest.Verified(b, named)); err != nil {
			return fmt.Errorf("half visible: %w", err)
		}
		return nil
	})
}

// cuts calls check with the disk as each of several losses of power leaves it:
// the eight in which all changes of a kind have the same fate, and a few in
// which each has its own.
func cuts(disk *powerloss.Disk, check func(*powerloss.Disk) error) error {
	for i := range 8 {
		left := map[string]bool{"added": i&1 > 0, "removed": i&2 > 0, "bytes": i&4 > 0}
		if err := check(disk.Cut(func(u powerloss.Unsynced) bool { return left[u.Kind] })); err != nil {
			return fmt.Errorf("what survives: %v: %w", left, err)
		}
	}
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 7))
		if err := check(disk.Cut(func(powerloss.Unsynced) bool { return rng.IntN(2) == 0 })); err != nil {
			return fmt.Errorf("what survives: by lot %d: %w", seed, err)
		}
	}
	return nil
}

// world says how the file system is to misbehave in a run.
type world struct {
	pretend   string // the sync of this Site does nothing
	hideLinks bool
	sites     map[string]int // filled: the sites of syncs that were seen, and how often
}

// hook kills a process before its operation number end, if it gets there.
func (w *world) hook(fsys *powerloss.FS, end int) {
	fsys.HideLinks = w.hideLinks
	fsys.Hook = func(op powerloss.Op) error {
		if op.Index == end {
			fsys.Kill()
			return powerloss.ErrDead
		}
		if op.Kind == "sync" || op.Kind == "syncdir" {
			site := op.Site() + " " + place(op.Name)
			w.sites[site]++
			if site == w.pretend {
				return powerloss.ErrPretend
			}
		}
		return nil
	}
}

// place is what a name has in common with others of its kind.
func place(name string) string {
	folder, rest, _ := strings.Cut(name, "/")
	switch {
	case folder == "uploads":
		return "uploads/…"
	case strings.Contains(rest, "/"):
		return "blobs/…/…"
	}
	return name
}

// powerCuts runs a publisher, cuts the power before each of its operations and
// after the last, and checks what is left.
func (w *world) powerCuts() error {
	for end := 0; ; end++ {
		disk := powerloss.NewDisk(time.Now())
		fsys := disk.Boot()
		w.hook(fsys, end)
		h := &history{acknowledged: map[string][]byte{}}
		dead := h.publisher(fsys)
		if dead != nil && !errors.Is(dead, powerloss.ErrDead) {
			return fmt.Errorf("the publisher failed: %w", dead)
		}
		if err := cuts(disk, func(left *powerloss.Disk) error { return h.check(w.boot(left)) }); err != nil {
			return fmt.Errorf("power cut before operation %d, %w", end, err)
		}
		if dead == nil {
			return nil
		}
	}
}

// kills runs a publisher, kills it before each of its operations, lets another
// process push the same, and then cuts the power. The other process was there
// before, or starts after the kill.
func (w *world) kills(before bool) error {
	for end := 0; ; end++ {
		disk := powerloss.NewDisk(time.Now())
		h := &history{acknowledged: map[string][]byte{}}
		first, second := disk.Boot(), disk.Boot()
		w.hook(first, end)
		w.hook(second, -1)
		var s *blob.Dir
		var err error
		if before {
			if s, err = blob.OpenFS(second); err != nil {
				return err
			}
		}
		dead := h.publisher(first)
		if !before {
			if s, err = blob.OpenFS(second); err != nil {
				return err
			}
		}
		err = h.push(s, neighbours[2], sha512Of(neighbours[2]), 1)
		for _, content := range neighbours {
			if err == nil {
				err = h.push(s, content, sha256Of(content), 0)
			}
		}
		if err != nil {
			return fmt.Errorf("kill before operation %d: the other process: %w", end, err)
		}
		if err := cuts(disk, func(left *powerloss.Disk) error { return h.check(w.boot(left)) }); err != nil {
			return fmt.Errorf("kill before operation %d, later power cut, %w", end, err)
		}
		if dead == nil {
			return nil
		}
	}
}

// boot starts the machine again.
func (w *world) boot(disk *powerloss.Disk) *powerloss.FS {
	fsys := disk.Boot()
	fsys.HideLinks = w.hideLinks
	return fsys
}

func (w *world) survey() error {
	w.sites = map[string]int{}
	if err := w.powerCuts(); err != nil {
		return err
	}
	if err := w.kills(true); err != nil {
		return err
	}
	return w.kills(false)
}

// TestPowerLoss cuts the power at every operation, and shows for each sync in
// the package that without it something is lost.
func TestPowerLoss(t *testing.T) {
	whole := &world{}
	if err := whole.survey(); err != nil {
		t.Fatal(err)
	}
	if len(whole.sites) == 0 {
		t.Fatal("no sync was seen")
	}
	for _, site := range slices.Sorted(maps.Keys(whole.sites)) {
		without := &world{pretend: site}
		if err := without.survey(); err != nil {
			t.Logf("without %s: %v", site, err)
		} else {
			t.Errorf("without %s (seen %d times) nothing is lost: it is needless, or this test is blind", site, whole.sites[site])
		}
	}
	if err := (&world{hideLinks: true}).survey(); err != nil {
		t.Logf("without the number of links: %v", err)
	} else {
		t.Error("an upload that shares its file with a blob is not noticed")
	}
}
