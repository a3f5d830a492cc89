package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// cacheMagic names the format of a cache file. It must change with anything
// that decides a piece's bytes: the format, pieceSizes, Key.hash, level.
const cacheMagic = "chartkeep index cache 1\n"

// cacheFixed is the length of what a file begins with: magic and its own
// length in bytes, trailer included, as 64 bits.
const cacheFixed = len(cacheMagic) + 8

// packedTail is how a sync flush ends: the length and its complement of an
// empty stored block.
const packedTail = "\x00\x00\xff\xff"

// inflateMax is the most that DEFLATE can pack: 258 bytes in two bits.
const inflateMax = 1032

// MarshalCache writes the compressed pieces, so that a new process can serve
// its first index without a Build. identity is whatever the index belongs to
// and ReadCache must be told again: the project, which of its indexes, and the
// build of the program if replicas are to serve the same bytes.
//
// The file is a table of the pieces, the pieces, and the SHA-256 of both: it
// finds accidents, not forgers, who could change the database as well.
func (ix *Index) MarshalCache(w io.Writer, identity string) error {
	table := make([]byte, cacheFixed, cacheFixed+128*(1+len(ix.pieces)))
	copy(table, cacheMagic)
	table = appendText(table, identity)
	table = binary.AppendVarint(table, ix.generation)
	table = binary.AppendUvarint(table, uint64(len(ix.pieces)))
	packed := 0
	for _, p := range ix.pieces {
		table = binary.AppendUvarint(table, uint64(p.raw))
		table = binary.AppendUvarint(table, uint64(len(p.packed)))
		table = binary.LittleEndian.AppendUint32(table, p.crc)
		for _, s := range [4]string{p.first.Chart, p.first.Sort, p.last.Chart, p.last.Sort} {
			table = appendText(table, s)
		}
		packed += len(p.packed)
	}
	binary.LittleEndian.PutUint64(table[len(cacheMagic):], uint64(len(table)+packed+sha256.Size))

	h := sha256.New()
	out := io.MultiWriter(h, w)
	if _, err := out.Write(table); err != nil {
		return fmt.Errorf("write index cache: %w", err)
	}
	for _, p := range ix.pieces {
		if _, err := out.Write(p.packed); err != nil {
			return fmt.Errorf("write index cache: %w", err)
		}
	}
	if _, err := w.Write(h.Sum(nil)); err != nil {
		return fmt.Errorf("write index cache: %w", err)
	}
	return nil
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// ReadCache reads what MarshalCache wrote: to its end, into one allocation
// that the pieces then share, and that lives as long as one of them. A file of another identity or format, one longer
// than maxBytes, damaged or cut short is an error; the caller then Builds.
// It allocates at most maxBytes and, for the table, a small multiple of it.
func ReadCache(r io.Reader, identity string, maxBytes int64) (*Index, error) {
	ix, err := readCache(r, identity, maxBytes)
	if err != nil {
		return nil, fmt.Errorf("read index cache: %w", err)
	}
	return ix, nil
}

func readCache(r io.Reader, identity string, maxBytes int64) (*Index, error) {
	fixed := make([]byte, cacheFixed)
	if _, err := io.ReadFull(r, fixed); err != nil {
		return nil, err
	}
	if string(fixed[:len(cacheMagic)]) != cacheMagic {
		return nil, errors.New("not an index cache of this format")
	}
	size := binary.LittleEndian.Uint64(fixed[len(cacheMagic):])
	if maxBytes < 0 || size > uint64(maxBytes) || size < uint64(cacheFixed+sha256.Size) {
		return nil, fmt.Errorf("file of %d bytes, allowed are %d", size, maxBytes)
	}
	file := make([]byte, size)
	copy(file, fixed)
	if _, err := io.ReadFull(r, file[cacheFixed:]); err != nil {
		return nil, err
	}
	if n, err := io.ReadFull(r, fixed[:1]); n != 0 || err != io.EOF {
		return nil, errors.New("file is longer than it says")
	}
	body := file[:len(file)-sha256.Size]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], file[len(body):]) {
		return nil, errors.New("checksum does not match")
	}
	t := table{rest: body[cacheFixed:]}
	if got := t.text(); t.err == nil && got != identity {
		return nil, fmt.Errorf("file belongs to %q, not to %q", got, identity)
	}
	ix := &Index{generation: t.varint(), sizes: pieceSizes}
	if err := t.pieces(ix); err != nil {
		return nil, err
	}
	return ix, nil
}

// table reads the table of a cache file. After the first error every value is
// zero.
type table struct {
	rest []byte
	err  error
}

var errTable = errors.New("table is damaged")

func (t *table) pieces(ix *Index) error {
	count := t.uvarint()
	lens := []int{} // of the packed pieces, which follow the table
	for i := uint64(0); i < count && t.err == nil; i++ {
		raw, packed := t.uvarint(), t.uvarint()
		p := &piece{raw: int(raw), crc: t.uint32()}
		p.first = Key{t.text(), t.text()}
		p.last = Key{t.text(), t.text()}
		if packed > uint64(len(t.rest)) || raw < 2 || raw > packed*inflateMax ||
			raw > 2*MaxFragment ||
			p.first.Chart == "" || p.first.Compare(p.last) > 0 ||
			i > 0 && ix.pieces[i-1].last.Compare(p.first) >= 0 {
			return errTable
		}
		p.shift = shiftOf(p.raw)
		ix.pieces = append(ix.pieces, p)
		lens = append(lens, int(packed))
	}
	if t.err != nil {
		return t.err
	}
	for i, p := range ix.pieces {
		p.packed = t.take(uint64(lens[i]))
		if t.err != nil || !bytes.HasSuffix(p.packed, []byte(packedTail)) {
			return errTable
		}
	}
	if len(t.rest) != 0 {
		return errTable
	}
	return nil
}

func (t *table) take(n uint64) []byte {
	if t.err != nil || n > uint64(len(t.rest)) {
		t.err = errTable
		return nil
	}
	b := t.rest[:n:n]
	t.rest = t.rest[n:]
	return b
}

func (t *table) text() string { return string(t.take(t.uvarint())) }

func (t *table) uint32() uint32 {
	if b := t.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (t *table) uvarint() uint64 {
	v, n := binary.Uvarint(t.rest)
	t.skip(n)
	return v
}

func (t *table) varint() int64 {
	v, n := binary.Varint(t.rest)
	t.skip(n)
	return v
}

func (t *table) skip(n int) {
	if n <= 0 {
		t.err, t.rest = errTable, nil
		return
	}
	t.rest = t.rest[n:]
}
