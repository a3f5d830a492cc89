package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/chartkeep/chartkeep/internal/problem"
)

func uploadResume(t *testing.T, s, other blobs) {
	for _, digestOf := range []func([]byte) string{sha256Of, sha512Of} {
		for _, chunk := range []int{0, 1, 1000, 65_536, 100_000} {
			var content []byte
			up := s.begin(nil)
			for i := range 4 {
				s.ok(up.Suspend())
				up = s.resume(up.ID())
				if up.Size() != int64(len(content)) {
					t.Fatalf("resumed at %d, want %d", up.Size(), len(content))
				}
				part := noise(chunk, uint64(20+i))
				s.write(up, part)
				content = append(content, part...)
			}
			s.commit(up, digestOf(content), content)
			s.holds(digestOf(content), content)
			s.lacksUpload(up.ID())
		}
	}
}

func uploadResumeElsewhere(t *testing.T, s, other blobs) {
	first, second, third := noise(70_000, 24), noise(10, 25), noise(70_000, 26)
	content := bytes.Join([][]byte{first, second, third}, nil)
	up := s.begin(first)
	s.ok(up.Suspend())
	up = other.resume(up.ID())
	other.write(up, second)
	s.ok(up.Suspend())
	up = s.resume(up.ID())
	s.write(up, third)
	s.commit(up, sha256Of(content), content)
	other.lacksUpload(up.ID())
	other.holds(sha256Of(content), content)
}

func uploadOneWriter(t *testing.T, s, other blobs) {
	up := s.begin(noise(10, 27))
	_, err := s.Resume(t.Context(), up.ID())
	s.refused(err, problem.Conflict, "upload-busy")
	s.ok(up.Suspend())

	up = s.resume(up.ID())
	for _, rival := range []blobs{s, other} {
		_, err := rival.Resume(t.Context(), up.ID())
		s.refused(err, problem.Conflict, "upload-busy")
	}
	s.write(up, noise(10, 28)) // the attempts did not disturb the holder
	s.ok(up.Suspend())

	up = other.resume(up.ID())
	_, err = s.Resume(t.Context(), up.ID())
	s.refused(err, problem.Conflict, "upload-busy")
	s.ok(up.Cancel())
	s.lacksUpload(up.ID())
}

func uploadSize(t *testing.T, s, other blobs) {
	is := func(s blobs, id string, want int64) {
		t.Helper()
		got, err := s.UploadSize(t.Context(), id)
		s.ok(err)
		if got != want {
			t.Fatalf("size is %d, want %d", got, want)
		}
	}
	up := s.begin(nil)
	is(s, up.ID(), 0)
	s.write(up, noise(1000, 29))
	is(s, up.ID(), 1000)
	s.ok(up.Suspend())
	is(s, up.ID(), 1000)
	is(other, up.ID(), 1000)
	up = s.resume(up.ID())
	s.write(up, noise(100_000, 30))
	is(s, up.ID(), 101_000)
	s.ok(up.Suspend())
	is(other, up.ID(), 101_000)
	up = other.resume(up.ID())
	s.ok(up.Cancel())
	s.lacksUpload(up.ID())
}

func uploadCancel(t *testing.T, s, other blobs) {
	for _, size := range []int{0, 10, 100_000} {
		content := noise(size, 31)
		up := s.begin(content)
		s.ok(up.Cancel())
		s.lacksUpload(up.ID())
		up = s.begin(content)
		s.ok(up.Suspend())
		up = other.resume(up.ID())
		s.ok(up.Cancel())
		s.lacksUpload(up.ID())
		other.lacksUpload(up.ID())
		s.lacks(sha256Of(content))
	}
}

func uploadCancelLate(t *testing.T, s, other blobs) {
	content := noise(100_000, 32)
	up := s.begin(content)
	s.ok(up.Suspend())
	s.ok(up.Cancel())
	up = s.resume(up.ID())
	s.commit(up, sha256Of(content), content)
	s.ok(up.Cancel())
	s.ok(up.Suspend())
	s.holds(sha256Of(content), content)

	up = s.begin(content) // the same bytes, forgotten: the blob stays
	s.ok(up.Cancel())
	s.holds(sha256Of(content), content)
	s.lacksUpload(up.ID())
}

func uploadEnded(t *testing.T, s, other blobs) {
	content := noise(10, 33)
	for name, end := range map[string]func(blobUpload) error{
		"suspend": func(up blobUpload) error { return up.Suspend() },
		"cancel":  func(up blobUpload) error { return up.Cancel() },
		"commit":  func(up blobUpload) error { _, _, err := up.Commit(t.Context(), ""); return err },
	} {
		up := s.begin(content)
		s.ok(end(up))
		if _, err := up.Write([]byte("more")); err == nil {
			t.Errorf("%s: wrote after it", name)
		}
		if _, err := up.ReadFrom(strings.NewReader("more")); err == nil {
			t.Errorf("%s: read after it", name)
		}
		if _, err := up.Bytes(1 << 20); err == nil {
			t.Errorf("%s: bytes after it", name)
		}
		if _, _, err := up.Commit(t.Context(), ""); err == nil {
			t.Errorf("%s: committed after it", name)
		}
	}
	s.holds(sha256Of(content), content)
}

func uploadIDs(t *testing.T, s, other blobs) {
	form, seen := regexp.MustCompile(`^[A-Za-z0-9]{22,64}$`), map[string]bool{}
	for i := range 200 {
		store := s
		if i%2 == 1 {
			store = other
		}
		up := store.begin(nil)
		if id := up.ID(); !form.MatchString(id) || seen[id] {
			t.Fatalf("id %q, seen before: %t", id, seen[id])
		}
		seen[up.ID()] = true
		s.ok(up.Cancel())
	}
}

func uploadHostileIDs(t *testing.T, s, other blobs) {
	content := noise(10, 34)
	digest := s.put(content)
	up := s.begin(noise(10, 35))
	s.ok(up.Suspend())
	id := up.ID()
	for _, hostile := range []string{
		"", ".", "..", "/", "../x", "../" + id, "./" + id, id + "/", "/" + id, id + "/..", "uploads/" + id, "../blobs/sha256/" + digest[7:9] + "/" + digest[7:],
		id[1:], id + "A", id[:len(id)-1], id + "\x00", id[:len(id)-1] + "\n", id[:len(id)-1] + "/", id[:len(id)-1] + "\xff", id[:len(id)-1] + "\u0130",
		swapCase(id), strings.Repeat("A", 26), strings.Repeat("0", 26), strings.Repeat("A", 64), strings.Repeat("A", 1<<20), "%2e%2e%2f", "*", "con", "-rf", "\\\\x",
	} {
		s.lacksUpload(hostile)
		_, err := s.Resume(t.Context(), hostile)
		if len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\n\x00") || !utf8.ValidString(err.Error()) {
			t.Errorf("id %.60q comes back raw: %.200q", hostile, err.Error())
		}
	}
	s.ok(s.resume(id).Cancel())
	s.holds(digest, content)
}

func swapCase(s string) string {
	if lower := strings.ToLower(s); lower != s {
		return lower
	}
	return strings.ToUpper(s)
}

func uploadBytes(t *testing.T, s, other blobs) {
	for _, size := range []int{0, 1, 1000, 65_536, 65_537, 200_000} {
		content := noise(size, 36)
		up := s.begin(content)
		for range 2 {
			got, err := up.Bytes(int64(size))
			s.ok(err)
			if !bytes.Equal(got, content) {
				t.Fatalf("%d bytes differ from the %d written", len(got), size)
			}
			_, err = up.Bytes(int64(size) - 1)
			s.refused(err, problem.TooLarge, "")
			clear(got) // ours: must not reach the blob
			s.ok(up.Suspend())
			up = other.resume(up.ID())
			more := noise(100, 37)
			s.write(up, more)
			content = append(content, more...)
			size = len(content)
		}
		s.commit(up, sha256Of(content), content)
		s.holds(sha256Of(content), content)
	}
}

func uploadSweep(t *testing.T, s, other blobs) {
	committed := noise(100, 38)
	digest := s.put(committed)
	var ids []string
	for i := range 3 {
		up := s.begin(noise(i*60_000, 39))
		s.ok(up.Suspend())
		ids = append(ids, up.ID())
	}
	held := other.resume(ids[0])
	memory := s.begin(noise(10, 40))

	n, err := s.SweepUploads(t.Context(), time.Now().Add(-time.Hour))
	s.ok(err)
	if n != 0 {
		t.Fatalf("swept %d young uploads", n)
	}
	n, err = s.SweepUploads(t.Context(), time.Now().Add(time.Hour))
	s.ok(err)
	if n != 2 {
		t.Fatalf("swept %d, want the 2 that nobody holds", n)
	}
	s.lacksUpload(ids[1])
	other.lacksUpload(ids[2])
	other.write(held, []byte("x"))
	other.commit(held, sha256Of([]byte("x")), []byte("x"))
	s.write(memory, []byte("x"))
	s.ok(memory.Cancel())
	s.holds(digest, committed)

	n, err = other.SweepUploads(t.Context(), time.Now().Add(time.Hour))
	s.ok(err)
	if n != 0 {
		t.Fatalf("swept %d of nothing", n)
	}
}

// uploadContext ends the context while a client is sending: what arrived
// before is kept, if its holder says so.
func uploadContext(t *testing.T, s, other blobs) {
	for _, size := range []int{1000, 300_000} {
		content := noise(size, 41)
		ctx, cancel := context.WithCancel(t.Context())
		up, err := s.Begin(ctx)
		s.ok(err)
		first := bytes.NewReader(content[:size/2])
		ending := readerFunc(func(p []byte) (int, error) {
			cancel()
			return 1, nil // a client that never ends
		})
		n, err := up.ReadFrom(io.MultiReader(first, ending))
		if !errors.Is(err, context.Canceled) || n < int64(size/2) || up.Size() != n {
			t.Fatalf("read %d, size %d, error %v", n, up.Size(), err)
		}
		if _, err := up.Write([]byte("x")); !errors.Is(err, context.Canceled) {
			t.Fatalf("write: %v", err)
		}
		s.ok(up.Suspend())
		up = other.resume(up.ID())
		if up.Size() != n {
			t.Fatalf("resumed at %d, want %d", up.Size(), n)
		}
		s.ok(up.Cancel())
		s.lacksUpload(up.ID())
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func blobContext(t *testing.T, s, other blobs) {
	content := noise(100, 42)
	digest := s.put(content)
	up := s.begin(content)
	s.ok(up.Suspend())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"begin":  func() error { _, err := s.Begin(ended); return err },
		"resume": func() error { _, err := s.Resume(ended, up.ID()); return err },
		"size":   func() error { _, err := s.UploadSize(ended, up.ID()); return err },
		"open":   func() error { _, err := s.Open(ended, digest); return err },
		"stat":   func() error { _, err := s.Stat(ended, digest); return err },
		"delete": func() error { return s.Delete(ended, digest) },
		"list":   func() error { return s.List(ended, func(string, int64, time.Time) error { return nil }) },
		"sweep":  func() error { _, err := s.SweepUploads(ended, time.Now().Add(time.Hour)); return err },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.holds(digest, content)
	up = s.resume(up.ID())
	if _, _, err := up.Commit(ended, sha512Of(content)); !errors.Is(err, context.Canceled) {
		t.Errorf("commit: %v", err)
	}
	s.lacks(sha512Of(content))
	s.commit(up, sha512Of(content), content) // went on
}

func uploadReaderFails(t *testing.T, s, other blobs) {
	for _, size := range []int{1000, 300_000} {
		content := noise(size, 43)
		up := s.begin(nil)
		broken := errors.New("connection lost")
		n, err := up.ReadFrom(io.MultiReader(bytes.NewReader(content[:size/2]), iotest.ErrReader(broken)))
		if err != broken || n != int64(size/2) || up.Size() != n {
			t.Fatalf("read %d, size %d, error %v", n, up.Size(), err)
		}
		s.ok(up.Suspend())
		up = s.resume(up.ID())
		_, err = up.ReadFrom(bytes.NewReader(content[size/2:]))
		s.ok(err)
		s.commit(up, sha256Of(content), content)
		s.holds(sha256Of(content), content)
	}
	up := s.begin(nil)
	stuck := readerFunc(func([]byte) (int, error) { return 0, nil })
	if _, err := up.ReadFrom(stuck); err != io.ErrNoProgress {
		t.Errorf("a reader that gives nothing: %v", err)
	}
	s.ok(up.Cancel())
}

// blobConcurrent lets writers in two processes commit the same few contents,
// while readers look.
func blobConcurrent(t *testing.T, s, other blobs) {
	const writers, contents = 16, 3
	var group sync.WaitGroup
	failures := make(chan error, 4*writers)
	for w := range writers {
		store := []blobs{s, other}[w%2]
		group.Go(func() {
			for i := range contents {
				content := noise(50_000*i+10, 44)
				up, err := store.Begin(t.Context())
				if err == nil {
					_, err = up.Write(content)
				}
				if err == nil && w%4 < 2 {
					if err = up.Suspend(); err == nil {
						up, err = store.Resume(t.Context(), up.ID())
					}
				}
				if err == nil {
					_, _, err = up.Commit(t.Context(), sha256Of(content))
				}
				if err == nil {
					err = reads(t.Context(), store, sha256Of(content), content)
				}
				if err != nil {
					failures <- fmt.Errorf("writer %d: %w", w, err)
					return
				}
			}
		})
	}
	group.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	if got := s.listed(); len(got) != contents {
		t.Errorf("listed %q", got)
	}
	n, err := s.SweepUploads(t.Context(), time.Now().Add(time.Hour))
	s.ok(err)
	if n != 0 {
		t.Errorf("%d uploads left behind", n)
	}
}

func reads(ctx context.Context, s BlobStore, digest string, content []byte) error {
	b, err := s.Open(ctx, digest)
	if err != nil {
		return err
	}
	defer b.Close()
	got, err := io.ReadAll(b)
	if err == nil && !bytes.Equal(got, content) {
		return fmt.Errorf("%s holds %d other bytes", digest, len(got))
	}
	return err
}

// blobModel does random operations on two processes and on a map, which must
// agree. The seeds are fixed.
func blobModel(t *testing.T, s, other blobs) {
	rng := rand.New(rand.NewPCG(1, 2))
	stored := map[string][]byte{}
	type open struct {
		up      blobUpload // nil while suspended
		id      string
		content []byte
	}
	var uploads []*open
	drop := func(i int) { uploads = append(uploads[:i], uploads[i+1:]...) }
	for range 1500 {
		store := []blobs{s, other}[rng.IntN(2)]
		if len(uploads) < 3 {
			up := store.begin(nil)
			uploads = append(uploads, &open{up: up, id: up.ID()})
		}
		i := rng.IntN(len(uploads))
		u := uploads[i]
		if u.up == nil {
			u.up = store.resume(u.id)
		}
		if u.up.Size() != int64(len(u.content)) {
			t.Fatalf("upload has %d bytes, want %d", u.up.Size(), len(u.content))
		}
		switch rng.IntN(10) {
		case 0, 1, 2, 3:
			part := noise(rng.IntN(30)*rng.IntN(3000), rng.Uint64N(4))
			store.write(u.up, part)
			u.content = append(u.content, part...)
		case 4, 5:
			store.ok(u.up.Suspend())
			u.up = nil
		case 6:
			store.ok(u.up.Cancel())
			store.lacksUpload(u.id)
			drop(i)
		case 7, 8:
			digest := []func([]byte) string{sha256Of, sha512Of}[rng.IntN(2)](u.content)
			store.commit(u.up, digest, u.content)
			store.lacksUpload(u.id)
			stored[digest] = u.content
			drop(i)
		case 9:
			for digest := range stored {
				store.ok(store.Delete(t.Context(), digest))
				store.lacks(digest)
				delete(stored, digest)
				break
			}
		}
	}
	for digest, content := range stored {
		s.holds(digest, content)
	}
	if got := other.listed(); len(got) != len(stored) {
		t.Fatalf("listed %d, want %d", len(got), len(stored))
	}
}
