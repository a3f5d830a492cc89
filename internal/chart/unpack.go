package chart

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"hash"
	"io"
	"sync"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// unpacker is the stream of bytes inside the one gzip member of an archive.
// It is counted on both sides, so that neither the archive nor what it
// unpacks to can be larger than allowed.
type unpacker struct {
	lim      Limits
	source   source
	buffered *bufio.Reader
	gzip     *gzip.Reader
	size     int64 // unpacked so far
	zeros    int64 // zero bytes at the end of what was read so far
	ended    bool  // the tar ended; only padding may follow
	err      error // the first error of Read other than io.EOF
	hash     hash.Hash
	copy     []byte
}

// unpackers keeps the 40 KiB window of the decompressor and the buffers
// between archives: without it a small chart costs more to set up than to
// read.
var unpackers = sync.Pool{New: func() any {
	u := &unpacker{gzip: new(gzip.Reader), hash: sha256.New(), copy: make([]byte, 32<<10)}
	u.source.hash = sha256.New()
	u.buffered = bufio.NewReaderSize(nil, 16<<10)
	return u
}}

func newUnpacker(r io.Reader, lim Limits) *unpacker {
	u := unpackers.Get().(*unpacker)
	u.lim, u.size, u.zeros, u.ended, u.err = lim, 0, 0, false, nil
	u.source.reset(r, lim.Archive)
	u.buffered.Reset(&u.source)
	return u
}

func (u *unpacker) release() {
	u.source.r = nil
	unpackers.Put(u)
}

func (u *unpacker) start() error {
	magic, err := u.buffered.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !bytes.Equal(magic, gzipMagic) {
		return problem.New(problem.Invalid, "archive-gzip", "this is not a gzip-compressed chart archive").
			Suggest("give the .tgz file that `helm package` writes")
	}
	if err := u.gzip.Reset(u.buffered); err != nil {
		return err
	}
	u.gzip.Multistream(false)
	return nil
}

var gzipMagic = []byte{0x1f, 0x8b}

// Read reads unpacked bytes.
func (u *unpacker) Read(p []byte) (int, error) {
	n, err := u.gzip.Read(p)
	u.size += int64(n)
	zeros := n
	for zeros > 0 && p[zeros-1] == 0 {
		zeros--
	}
	if zeros == 0 {
		u.zeros += int64(n)
	} else {
		u.zeros = int64(n - zeros)
	}
	switch {
	case u.ended && zeros > 0:
		err = problem.New(problem.Invalid, "archive-tar-trailing", "the chart archive has data behind the end of its tar").
			Suggest("build the archive with `helm package`")
	case u.size > u.lim.Unpacked:
		err = problem.New(problem.TooLarge, "archive-unpacked-size",
			"the chart archive unpacks to more than %s", sizeText(u.lim.Unpacked)).
			Suggest("list files that the chart does not need in .helmignore")
	case u.size > ratioFloor && u.size > u.lim.Ratio*u.source.size:
		err = problem.New(problem.TooLarge, "archive-ratio",
			"the chart archive unpacks to more than %d times its size", u.lim.Ratio).
			Suggest("list files that the chart does not need in .helmignore")
	}
	if err != nil && !errors.Is(err, io.EOF) && u.err == nil {
		u.err = err
	}
	return n, err
}

// copyFile reads a file to its end, and into keep unless that is nil.
func (u *unpacker) copyFile(f *File, keep *[]byte, r io.Reader) error {
	u.hash.Reset()
	var kept []byte
	if keep != nil {
		kept = make([]byte, 0, min(f.Size, 64<<10)) // a header may promise more than comes
	}
	for {
		n, err := r.Read(u.copy)
		u.hash.Write(u.copy[:n])
		if keep != nil {
			kept = append(kept, u.copy[:n]...)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	u.hash.Sum(f.SHA256[:0])
	if keep != nil {
		*keep = kept
	}
	return nil
}

// tarEnd is called at the end of the tar. A tar that stops without its end
// mark, two blocks of zeros, may have lost files; what follows the mark must
// be padding.
func (u *unpacker) tarEnd() error {
	if u.zeros < 2*512 {
		return truncated("its tar has no end mark")
	}
	u.ended = true
	for {
		if _, err := u.Read(u.copy); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// finish makes sure that the gzip member was the last thing in the archive.
func (u *unpacker) finish() error {
	rest, err := u.buffered.Peek(2)
	switch {
	case len(rest) == 0 && errors.Is(err, io.EOF):
		return nil
	case len(rest) == 0:
		return err
	case bytes.Equal(rest, gzipMagic):
		return problem.New(problem.Invalid, "archive-gzip-members",
			"the chart archive has several gzip members, of which some programs read only the first").
			Suggest("build the archive with `helm package`")
	}
	return problem.New(problem.Invalid, "archive-trailing-bytes", "the chart archive has bytes behind the end of its gzip data").
		Suggest("build the archive with `helm package`, and compare the sizes after copying it")
}

// explain turns an error of the decoders into what is wrong with the
// archive. An error of the reader below, or a limit, is the cause of whatever
// a decoder made of it.
func (u *unpacker) explain(err error) error {
	if _, ok := problem.As(err); ok {
		return err
	}
	if below := u.source.err; below != nil && !errors.Is(below, io.EOF) {
		return below
	}
	if u.err != nil {
		err = u.err
	}
	var corrupt flate.CorruptInputError
	switch _, isProblem := problem.As(err); {
	case isProblem:
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return truncated("it ends in the middle")
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, &corrupt):
		return problem.New(problem.Invalid, "archive-gzip", "the gzip data of the chart archive is damaged").Because(err).
			Suggest("build the archive again with `helm package`")
	}
	return problem.New(problem.Invalid, "archive-tar", "the tar in the chart archive has a header that cannot be read").Because(err).
		Suggest("build the archive with `helm package`")
}

func truncated(how string) error {
	return problem.New(problem.Invalid, "archive-truncated", "the chart archive is incomplete: %s", how).
		Suggest("build the archive again with `helm package`, and compare the sizes after copying it")
}

// source counts and hashes the compressed bytes.
type source struct {
	r     io.Reader
	hash  hash.Hash
	size  int64
	limit int64
	err   error // the first error, io.EOF included
}

func (s *source) reset(r io.Reader, limit int64) {
	s.r, s.size, s.limit, s.err = r, 0, limit, nil
	s.hash.Reset()
}

func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	s.hash.Write(p[:n])
	s.size += int64(n)
	switch {
	case s.size > s.limit:
		s.err = problem.New(problem.TooLarge, "archive-size", "the chart archive is larger than %s", sizeText(s.limit)).
			Suggest("list files that the chart does not need in .helmignore")
	case err == io.EOF:
		s.err = err
	case err != nil:
		s.err = fmt.Errorf("read chart archive: %w", err)
	}
	return n, s.err
}
