package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"

	"github.com/chartkeep/chartkeep/internal/chart"
)

// MaxFragment is the largest fragment in bytes that an index takes. A claim
// must refuse a release whose fragment is larger, for Build would fail.
const MaxFragment = 8 << 20

// level is the DEFLATE level. Measured on 10,000 entries of 1.8 KB, pieces of
// 180 KiB, per 128 KiB of JSON: level 5 0.75 ms and 3.07 MB in all, level 6
// 0.95 ms and 3.04 MB, level 8 2.8 ms and 2.98 MB; the standard library's
// level 6 2.9 ms and 2.99 MB. Nothing is slower to build than it is smaller.
const level = 6

// sizes says where pieces end, in bytes of JSON.
type sizes struct {
	min   int // no piece but the last is smaller
	extra int // how far beyond min a piece reaches on average
	max   int // a piece that reached this size ends
}

var pieceSizes = sizes{min: 128 << 10, extra: 64 << 10, max: 256 << 10}

// endsAfter reports whether a piece of raw bytes ends after its newest
// fragment. Past min that depends on the fragment alone, with a chance in
// proportion to its length, so that after a change the old ends are met again
// within a piece or two.
func (s sizes) endsAfter(k Key, fragment, raw int) bool {
	return raw >= s.max || raw >= s.min && uint64(k.hash())*uint64(s.extra) < uint64(fragment)<<32
}

// piece is a run of whole fragments with the text between them. Immutable.
type piece struct {
	first, last Key
	raw         int    // length of the JSON
	crc         uint32 // CRC-32 (IEEE) of the JSON
	shift       uint32 // shiftOf(raw)
	packed      []byte // the JSON as DEFLATE blocks, none final, sync flush at the end
}

// appendJoint appends what stands between two fragments: of one chart, of two,
// or (prev empty) before the first of all.
func appendJoint(dst []byte, prev, next string) []byte {
	switch prev {
	case next:
		return append(dst, ',')
	case "":
	default:
		dst = append(dst, "],"...)
	}
	return append(chart.AppendString(dst, next), ":["...)
}

// cutter cuts a stream of fragments into pieces. Its memory is its scratch,
// beside the pieces made.
type cutter struct {
	*scratch
	sizes sizes
	out   []*piece
	first Key // the first key of the piece that is still open
	last  Key // the last key seen
}

// scratch is what a cutter needs for a while: the JSON of the piece that is
// still open, and the compressor. It is kept for the next one, since making
// its 2 MB takes as long as compressing half a piece.
type scratch struct {
	raw  []byte
	zw   *flate.Writer
	zbuf bytes.Buffer
}

var scratches sync.Pool // of *scratch

// newCutter returns a cutter that the caller must release.
func newCutter(s sizes, pieces int) (*cutter, error) {
	c := &cutter{sizes: s, out: make([]*piece, 0, pieces)}
	var ok bool
	if c.scratch, ok = scratches.Get().(*scratch); ok {
		return c, nil
	}
	zw, err := flate.NewWriter(nil, level)
	if err != nil {
		return nil, fmt.Errorf("compress index: %w", err)
	}
	c.scratch = &scratch{raw: make([]byte, 0, s.max+s.max/8), zw: zw}
	return c, nil
}

func (c *cutter) release() {
	c.raw = c.raw[:0]
	scratches.Put(c.scratch)
	c.scratch = nil
}

// read takes in a range of the source.
func (c *cutter) read(ctx context.Context, src Source, from, to Key) error {
	return src.Range(ctx, from, to, func(k Key, fragment []byte) error {
		if from != (Key{}) && k.Compare(from) < 0 || to != (Key{}) && k.Compare(to) >= 0 {
			return fmt.Errorf("read index fragments: chart %q is outside the range asked for", k.Chart)
		}
		return c.add(k, fragment)
	})
}

func (c *cutter) add(k Key, fragment []byte) error {
	if k.Chart == "" {
		return errors.New("read index fragments: a chart without a name")
	}
	if c.last != (Key{}) && c.last.Compare(k) >= 0 {
		return fmt.Errorf("read index fragments: chart %q is out of order", k.Chart)
	}
	if n := len(fragment); n < 2 || n > MaxFragment || fragment[0] != '{' || fragment[n-1] != '}' {
		return fmt.Errorf("read index fragments: chart %q has a fragment of %d bytes that is not a JSON object within %d bytes", k.Chart, n, MaxFragment)
	}
	if c.open() {
		c.raw = appendJoint(c.raw, c.last.Chart, k.Chart)
	} else {
		c.first = k
	}
	c.raw = append(c.raw, fragment...)
	c.last = k
	if c.sizes.endsAfter(k, len(fragment), len(c.raw)) {
		return c.end()
	}
	return nil
}

// open reports whether the last fragment left a piece unfinished.
func (c *cutter) open() bool { return len(c.raw) > 0 }

// end finishes the open piece, if any.
func (c *cutter) end() error {
	if !c.open() {
		return nil
	}
	c.zbuf.Reset()
	c.zw.Reset(&c.zbuf)
	if _, err := c.zw.Write(c.raw); err != nil {
		return fmt.Errorf("compress index: %w", err)
	}
	if err := c.zw.Flush(); err != nil {
		return fmt.Errorf("compress index: %w", err)
	}
	c.out = append(c.out, &piece{
		first: c.first, last: c.last,
		raw: len(c.raw), crc: crc32.ChecksumIEEE(c.raw), shift: shiftOf(len(c.raw)),
		packed: bytes.Clone(c.zbuf.Bytes()),
	})
	c.raw = c.raw[:0]
	return nil
}

// inflater gives back the JSON of pieces, one at a time.
type inflater struct {
	in  bytes.Reader
	zr  io.ReadCloser
	buf []byte
}

// inflate returns the JSON of a piece, checked for length and checksum. It is
// valid until the next call.
func (f *inflater) inflate(p *piece) ([]byte, error) {
	f.in.Reset(p.packed)
	if f.zr == nil {
		f.zr = flate.NewReader(&f.in)
	} else if err := f.zr.(flate.Resetter).Reset(&f.in, nil); err != nil {
		return nil, fmt.Errorf("inflate index: %w", err)
	}
	if cap(f.buf) < p.raw+1 {
		f.buf = make([]byte, p.raw+1)
	}
	n, err := io.ReadFull(f.zr, f.buf[:p.raw])
	if err == nil {
		// There is no final block, so the stream must run dry right here. An
		// orderly end would end the whole document for its readers.
		var more int
		more, err = f.zr.Read(f.buf[p.raw : p.raw+1])
		n += more
	}
	if n != p.raw || !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("inflate index: chart %q: piece is damaged: %d of %d bytes: %w", p.first.Chart, n, p.raw, err)
	}
	if crc32.ChecksumIEEE(f.buf[:n]) != p.crc {
		return nil, fmt.Errorf("inflate index: chart %q: piece is damaged: checksum", p.first.Chart)
	}
	return f.buf[:n], nil
}
