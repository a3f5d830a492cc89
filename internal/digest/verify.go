package digest

import (
	"hash"
	"io"
	"strings"
	"sync"

	"github.com/chartkeep/chartkeep/internal/problem"
)

const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// damaged is what is said of bytes that are not those of their digest.
func damaged(digest string) *problem.Error {
	return problem.New(problem.Disproven, "blob-damaged", "the stored bytes of %s are not the bytes of that digest, and are not served", digest).
		Suggest("tell the operator of this server: the blob must be restored from a backup or a mirror")
}

// VerifiedReader reads a whole blob and hashes it on the way. The end of the
// bytes, at least the last one, is withheld until the digest has matched, so
// that nobody who was told the size takes damaged bytes for a blob. WriteTo,
// which io.Copy uses, withholds all of a blob of up to 64 KiB. Damage is
// problem.Disproven.
type VerifiedReader struct {
	from   io.Reader
	digest string
	sum    hash.Hash
	left   int64 // bytes that were not read yet
	err    error // sticky: io.EOF when everything was read and matched
}

// Verified returns a reader of b, which must stand at its start, that proves
// that its bytes have the digest. Anything with a Size can be verified: a Blob,
// or a bytes.Reader.
func Verified(b interface {
	io.Reader
	Size() int64
}, digest string) *VerifiedReader {
	v := &VerifiedReader{from: b, digest: digest, left: b.Size()}
	alg, _, err := Split(digest)
	if err != nil {
		v.err = err
		return v
	}
	v.sum, v.err = NewHash(alg)
	return v
}

// Read reads the next bytes. It may use all of p as scratch space.
func (v *VerifiedReader) Read(p []byte) (int, error) {
	if v.err == nil && v.left == 0 {
		v.err = v.verdict() // an empty blob
	}
	if v.err != nil {
		return 0, v.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := v.from.Read(p[:min(int64(len(p)), v.left)])
	v.sum.Write(p[:n]) // a hash never fails
	v.left -= int64(n)
	if v.left == 0 {
		v.err = v.verdict()
		if v.err == io.EOF {
			return n, nil
		}
		return 0, v.err
	}
	if err == io.EOF {
		err = damaged(v.digest).With("bytes missing", "%d", v.left)
	}
	v.err = err
	return n, err
}

// WriteTo writes the blob to w, through a buffer of 64 KiB. The last buffer
// is written only after the digest has matched.
func (v *VerifiedReader) WriteTo(w io.Writer) (int64, error) {
	buffer := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buffer)
	var done int64
	for {
		n, err := v.fill(buffer[:])
		if n > 0 {
			m, err := w.Write(buffer[:n])
			done += int64(m)
			if err != nil {
				return done, err
			}
			if m < n {
				return done, io.ErrShortWrite
			}
		}
		if err == io.EOF {
			return done, nil
		}
		if err != nil {
			return done, err
		}
	}
}

// fill reads until p is full, or the blob at its end and verified. Bytes that
// turn out not to be true are not returned.
func (v *VerifiedReader) fill(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m, err := v.Read(p[n:])
		n += m
		if err == io.EOF {
			return n, err
		}
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// verdict compares the digest of what was read: io.EOF if it is the right one.
func (v *VerifiedReader) verdict() error {
	alg, _, _ := strings.Cut(v.digest, ":")
	if got := Of(alg, v.sum); got != v.digest {
		return damaged(v.digest).With("found", "%s", got)
	}
	return io.EOF
}
