// Package storetest holds the suites that every store passes, whatever it
// stands on: Blobs for stores of bytes, Ledger for those of everything else.
// It knows the ports and no store.
package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// BlobStore is the port of content-addressed bytes, as package blob documents
// it. Its signatures name aliases of interface literals, so that every store
// of that shape satisfies it.
type BlobStore interface {
	Begin(ctx context.Context) (blobUpload, error)
	Resume(ctx context.Context, id string) (blobUpload, error)
	UploadSize(ctx context.Context, id string) (int64, error)
	SweepUploads(ctx context.Context, olderThan time.Time) (int, error)

	Open(ctx context.Context, digest string) (blobReader, error)
	Stat(ctx context.Context, digest string) (int64, error)
	Delete(ctx context.Context, digest string) error
	List(ctx context.Context, fn func(digest string, size int64, modified time.Time) error) error
}

type blobUpload = interface {
	ID() string
	Size() int64
	io.Writer
	io.ReaderFrom
	Bytes(limit int64) ([]byte, error)
	Commit(ctx context.Context, want string) (digest string, size int64, err error)
	Suspend() error
	Cancel() error
}

type blobReader = interface {
	io.Reader
	io.ReaderAt
	io.Seeker
	io.Closer
	Size() int64
}

// Blobs is the suite that every store of blobs passes. place makes a new,
// empty store and returns how to open it, as another process would: all that
// are opened share their contents.
func Blobs(t *testing.T, place func(t *testing.T) (open func() BlobStore)) {
	for _, part := range []struct {
		name string
		test func(t *testing.T, s, other blobs)
	}{
		{"commit makes a blob", blobCommit},
		{"commit names what it was not told", blobCommitUnnamed},
		{"sizes and ways to write", blobSizes},
		{"a digest of another algorithm is another blob", blobAlgorithms},
		{"same bytes again", blobAgain},
		{"wrong digest", blobWrongDigest},
		{"malformed digest", blobMalformedDigest},
		{"unknown digest", blobUnknown},
		{"delete", blobDelete},
		{"ranges", blobRanges},
		{"list", blobList},
		{"list stops", blobListStops},
		{"invisible before commit", blobInvisible},
		{"suspend and resume", uploadResume},
		{"resume elsewhere", uploadResumeElsewhere},
		{"one writer", uploadOneWriter},
		{"size", uploadSize},
		{"cancel", uploadCancel},
		{"cancel after the end does nothing", uploadCancelLate},
		{"the end is the end", uploadEnded},
		{"ids", uploadIDs},
		{"hostile ids", uploadHostileIDs},
		{"bytes", uploadBytes},
		{"sweep", uploadSweep},
		{"context done in mid-write", uploadContext},
		{"context done before", blobContext},
		{"reader fails in mid-write", uploadReaderFails},
		{"concurrent writers", blobConcurrent},
		{"random operations against a model", blobModel},
	} {
		t.Run(part.name, func(t *testing.T) {
			open := place(t)
			part.test(t, blobs{t, open()}, blobs{t, open()})
		})
	}
}

// blobs is a store with the test it serves.
type blobs struct {
	*testing.T
	BlobStore
}

func sha256Of(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func sha512Of(b []byte) string {
	sum := sha512.Sum512(b)
	return "sha512:" + hex.EncodeToString(sum[:])
}

// noise returns n bytes that are the same for the same n and seed.
func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(n), byte(n >> 8), byte(n >> 16)})
	rng.Read(b) // never fails
	return b
}

func (s blobs) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// refused checks that err is a problem of a kind; rule may be empty.
func (s blobs) refused(err error, kind problem.Kind, rule string) {
	s.Helper()
	p, isProblem := problem.As(err)
	if !isProblem || p.Kind != kind || rule != "" && p.Rule != rule {
		s.Fatalf("got error %v, want a problem of kind %s, rule %q", err, kind, rule)
	}
}

func (s blobs) begin(content []byte) blobUpload {
	s.Helper()
	up, err := s.Begin(s.Context())
	s.ok(err)
	s.write(up, content)
	return up
}

func (s blobs) write(up blobUpload, content []byte) {
	s.Helper()
	before := up.Size()
	n, err := up.Write(content)
	s.ok(err)
	if n != len(content) || up.Size() != before+int64(n) {
		s.Fatalf("wrote %d of %d bytes, size %d after %d", n, len(content), up.Size(), before)
	}
}

func (s blobs) resume(id string) blobUpload {
	s.Helper()
	up, err := s.Resume(s.Context(), id)
	s.ok(err)
	return up
}

func (s blobs) commit(up blobUpload, want string, content []byte) {
	s.Helper()
	digest, size, err := up.Commit(s.Context(), want)
	s.ok(err)
	if digest != want || size != int64(len(content)) {
		s.Fatalf("committed %s with %d bytes, want %s with %d", digest, size, want, len(content))
	}
}

// put stores content under its SHA-256.
func (s blobs) put(content []byte) string {
	s.Helper()
	digest := sha256Of(content)
	s.commit(s.begin(content), digest, content)
	return digest
}

// holds checks that a digest gives content.
func (s blobs) holds(digest string, content []byte) {
	s.Helper()
	size, err := s.Stat(s.Context(), digest)
	s.ok(err)
	b, err := s.Open(s.Context(), digest)
	s.ok(err)
	defer b.Close()
	got, err := io.ReadAll(b)
	s.ok(err)
	if size != int64(len(content)) || b.Size() != size || !bytes.Equal(got, content) {
		s.Fatalf("%s: stat says %d bytes, open %d, read %d, want %d, equal %t", digest, size, b.Size(), len(got), len(content), bytes.Equal(got, content))
	}
}

func (s blobs) lacks(digest string) {
	s.Helper()
	_, err := s.Stat(s.Context(), digest)
	s.refused(err, problem.NotFound, "")
	_, err = s.Open(s.Context(), digest)
	s.refused(err, problem.NotFound, "")
}

func (s blobs) lacksUpload(id string) {
	s.Helper()
	_, err := s.UploadSize(s.Context(), id)
	s.refused(err, problem.NotFound, "")
	_, err = s.Resume(s.Context(), id)
	s.refused(err, problem.NotFound, "")
}

// listed returns the digests that List gives, sorted.
func (s blobs) listed() []string {
	s.Helper()
	var got []string
	s.ok(s.List(s.Context(), func(digest string, _ int64, _ time.Time) error {
		got = append(got, digest)
		return nil
	}))
	slices.Sort(got)
	return got
}

func blobCommit(t *testing.T, s, other blobs) {
	content := noise(20_000, 1)
	digest := s.put(content)
	s.holds(digest, content)
	other.holds(digest, content)
}

func blobCommitUnnamed(t *testing.T, s, other blobs) {
	for _, content := range [][]byte{nil, noise(5, 1), noise(200_000, 2)} {
		digest, size, err := s.begin(content).Commit(t.Context(), "")
		s.ok(err)
		if digest != sha256Of(content) || size != int64(len(content)) {
			t.Fatalf("committed %s, %d bytes", digest, size)
		}
		s.holds(digest, content)
	}
}

// blobSizes goes around the sizes at which a store may change its way.
func blobSizes(t *testing.T, s, other blobs) {
	for _, size := range []int{0, 1, 4095, 4096, 65535, 65536, 65537, 131072, 131073, 3<<20 + 17} {
		content := noise(size, 3)
		for name, fill := range map[string]func(blobUpload) error{
			"one write": func(up blobUpload) error { _, err := up.Write(content); return err },
			"writes": func(up blobUpload) error {
				for part := range slices.Chunk(content, 7919) {
					if _, err := up.Write(part); err != nil {
						return err
					}
				}
				return nil
			},
			"copy": func(up blobUpload) error {
				_, err := io.Copy(up, struct{ io.Reader }{bytes.NewReader(content)})
				return err
			},
			"half reads": func(up blobUpload) error {
				_, err := up.ReadFrom(iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(content))))
				return err
			},
		} {
			up := s.begin(nil)
			s.ok(fill(up))
			if up.Size() != int64(size) {
				t.Fatalf("%s of %d bytes: size is %d", name, size, up.Size())
			}
			digest := sha256Of(content)
			s.commit(up, digest, content)
			other.holds(digest, content)
			s.ok(s.Delete(t.Context(), digest))
		}
	}
}

func blobAlgorithms(t *testing.T, s, other blobs) {
	for i, size := range []int{0, 100, 200_000} {
		content := noise(size, 4)
		long, short := sha512Of(content), sha256Of(content)
		s.commit(s.begin(content), long, content)
		s.holds(long, content)
		s.lacks(short)
		s.put(content)
		s.holds(short, content)

		up := s.begin(content)
		wrong := sha512Of(noise(10, uint64(i)))
		_, _, err := up.Commit(t.Context(), wrong)
		s.refused(err, problem.Invalid, "digest-mismatch")
		s.lacks(wrong)
	}
}

func blobAgain(t *testing.T, s, other blobs) {
	for _, size := range []int{0, 1000, 100_000} {
		content := noise(size, 5)
		digest := s.put(content)
		other.put(content)
		s.put(content)
		up := s.begin(content)
		s.ok(up.Suspend())
		up = other.resume(up.ID())
		other.commit(up, digest, content)
		s.lacksUpload(up.ID())
		s.holds(digest, content)
	}
	if got := s.listed(); len(got) != 3 {
		t.Fatalf("listed %q", got)
	}
}

func blobWrongDigest(t *testing.T, s, other blobs) {
	for _, size := range []int{10, 100_000} {
		for _, suspended := range []bool{false, true} {
			content, wrong := noise(size, 6), sha256Of([]byte("something else"))
			up := s.begin(content)
			if suspended {
				s.ok(up.Suspend())
				up = s.resume(up.ID())
			}
			_, _, err := up.Commit(t.Context(), wrong)
			s.refused(err, problem.Invalid, "digest-mismatch")
			for _, digest := range []string{wrong, sha256Of(content)} {
				if !strings.Contains(err.Error(), digest) {
					t.Errorf("%v does not name %s", err, digest)
				}
				other.lacks(digest)
			}
			s.lacksUpload(up.ID())
			other.lacksUpload(up.ID())
		}
	}
	if got := s.listed(); len(got) != 0 {
		t.Fatalf("listed %q", got)
	}
}

// malformedDigests name no blob.
func malformedDigests() []string {
	good := sha256Of(nil)
	return []string{
		"", ":", "sha256", "sha256:", good[7:], good[:len(good)-1], good + "0", strings.ToUpper(good),
		"sha256:" + strings.ToUpper(good[7:]), "SHA256:" + good[7:], "sha512:" + good[7:], "sha256:" + sha512Of(nil)[7:],
		"md5:d41d8cd98f00b204e9800998ecf8427e", "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
		"sha256:" + strings.Repeat("../", 21) + "x", "sha256:" + strings.Repeat("/", 64), "../../etc/passwd", "sha256:..",
		good + "\n", " " + good, "sha256::" + good[8:], good[:40] + "\x00" + good[41:], strings.Repeat("a", 1<<16), "\xff\xfe:\xff",
	}
}

func blobMalformedDigest(t *testing.T, s, other blobs) {
	content := noise(100, 7)
	up := s.begin(content)
	for _, digest := range malformedDigests() {
		_, err := s.Open(t.Context(), digest)
		s.refused(err, problem.Invalid, "")
		_, err = s.Stat(t.Context(), digest)
		s.refused(err, problem.Invalid, "")
		s.refused(s.Delete(t.Context(), digest), problem.Invalid, "")
		if digest != "" {
			_, _, err = up.Commit(t.Context(), digest)
			s.refused(err, problem.Invalid, "")
		}
	}
	s.commit(up, sha256Of(content), content) // went on
}

func blobUnknown(t *testing.T, s, other blobs) {
	s.put(noise(10, 8))
	for _, digest := range []string{sha256Of(nil), sha512Of(nil), sha512Of(noise(10, 8)), "sha256:" + strings.Repeat("0", 64)} {
		s.lacks(digest)
	}
}

func blobDelete(t *testing.T, s, other blobs) {
	content, kept := noise(1000, 9), noise(1000, 10)
	digest := s.put(content)
	s.put(kept)
	s.ok(other.Delete(t.Context(), digest))
	s.lacks(digest)
	s.ok(s.Delete(t.Context(), digest)) // not there: no error
	s.holds(sha256Of(kept), kept)
	s.put(content)
	other.holds(digest, content)
}

func blobRanges(t *testing.T, s, other blobs) {
	content := noise(100_000, 11)
	b, err := s.Open(t.Context(), s.put(content))
	s.ok(err)
	defer b.Close()
	size := len(content)
	for _, at := range []struct{ off, n int }{{0, 1}, {0, size}, {size - 1, 1}, {65_000, 2000}, {size - 10, 20}, {size, 1}, {size + 5, 1}, {7, 0}} {
		got := make([]byte, at.n)
		n, err := b.ReadAt(got, int64(at.off))
		want := content[min(at.off, size):min(at.off+at.n, size)]
		if !bytes.Equal(got[:n], want) || n < at.n && err != io.EOF || n == at.n && err != nil && err != io.EOF {
			t.Errorf("read %d at %d: %d bytes, %v", at.n, at.off, n, err)
		}
	}
	if _, err := b.Seek(-1000, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	if tail, err := io.ReadAll(b); err != nil || !bytes.Equal(tail, content[size-1000:]) {
		t.Fatalf("tail of %d bytes, %v", len(tail), err)
	}
	if _, err := b.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	s.ok(iotest.TestReader(b, content))
}

func blobList(t *testing.T, s, other blobs) {
	if got := s.listed(); len(got) != 0 {
		t.Fatalf("an empty store listed %q", got)
	}
	want := map[string]int64{}
	for i := range 20 {
		content := noise(i*100, 12)
		if i%5 == 0 {
			s.commit(s.begin(content), sha512Of(content), content)
			want[sha512Of(content)] = int64(len(content))
			continue
		}
		want[s.put(content)] = int64(len(content))
	}
	s.ok(s.begin(noise(10, 13)).Suspend()) // an upload is not a blob
	got := map[string]int64{}
	s.ok(other.List(t.Context(), func(digest string, size int64, modified time.Time) error {
		if _, twice := got[digest]; twice || modified.IsZero() {
			t.Errorf("%s listed twice: %t, modified %v", digest, twice, modified)
		}
		got[digest] = size
		return nil
	}))
	for digest, size := range want {
		if got[digest] != size {
			t.Errorf("%s: listed with %d bytes, want %d", digest, got[digest], size)
		}
	}
	if len(got) != len(want) {
		t.Errorf("listed %d, want %d", len(got), len(want))
	}
}

func blobListStops(t *testing.T, s, other blobs) {
	for i := range 5 {
		s.put(noise(10, uint64(100+i)))
	}
	stop, calls := errors.New("stop"), 0
	err := s.List(t.Context(), func(string, int64, time.Time) error { calls++; return stop })
	if err != stop || calls != 1 {
		t.Errorf("%d calls, error %v", calls, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	calls = 0
	err = s.List(ctx, func(string, int64, time.Time) error { calls++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || calls != 1 {
		t.Errorf("%d calls after the end of the context, error %v", calls, err)
	}
}

func blobInvisible(t *testing.T, s, other blobs) {
	for _, size := range []int{10, 100_000} {
		content := noise(size, 14)
		up := s.begin(content)
		s.lacks(sha256Of(content))
		other.lacks(sha256Of(content))
		s.ok(up.Suspend())
		s.lacks(sha256Of(content))
		other.lacks(sha256Of(content))
	}
	if got := s.listed(); len(got) != 0 {
		t.Fatalf("listed %q", got)
	}
}
