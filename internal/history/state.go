package history

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/tlog"
)

// The form of a written Replay: this line, then numbers as varints, texts
// behind their length, and tables of fixed rows, in the order of WriteTo. The
// SHA-256 of all before it ends it. There is one spelling of a state.
const stateForm = "chartkeep/history/v1\n"

// Limits of a state that is read.
const (
	maxStateText = 4 << 10 // bytes of a text: leaves have none longer than 1 KiB
	maxKeys      = 1 << 16
)

// errState is what Read wraps when a state has not the form.
var errState = errors.New("the state is damaged or of another version")

// WriteTo writes the state, from which Read goes on. Cost: some 85 bytes a
// release, and sorting their names.
func (r *Replay) WriteTo(w io.Writer) (int64, error) {
	e := &encoder{sum: sha256.New()}
	e.w = bufio.NewWriterSize(io.MultiWriter(w, e.sum, (*counter)(&e.n)), 64<<10)
	e.bytes([]byte(stateForm))
	e.ints(r.next, unix(r.newest), r.newestAt, r.unknown, r.malformed)
	e.text(r.audit.origin)
	e.ints(r.audit.size, r.audit.at)
	e.bytes(r.audit.root[:])
	e.ints(int64(len(r.keys)))
	for _, k := range r.keys {
		e.text(k.Verifier)
		e.ints(k.Since, unix(k.Until))
	}
	e.ints(int64(len(r.projects)))
	for _, p := range r.projects {
		e.text(p.name)
		e.text(p.kind)
		e.text(p.state)
		e.text(p.policy)
		e.ints(p.at, p.changed, p.ruled, bit(p.public)|bit(p.mirror)<<1|bit(p.began)<<2)
	}
	e.ints(int64(r.releases.n))
	for n := range r.releases.n {
		e.record(r.releases.at(n))
	}
	names := slices.SortedFunc(maps.Keys(r.names), func(a, b nameKey) int { return bytes.Compare(a[:], b[:]) })
	e.ints(int64(len(names)))
	for _, k := range names {
		e.bytes(binary.BigEndian.AppendUint32(slices.Clone(k[:]), r.names[k]))
	}
	later := slices.Sorted(maps.Keys(r.after))
	e.ints(int64(len(later)))
	for _, n := range later {
		a := r.after[n]
		e.ints(int64(n), a.provenance, a.yank, a.quarantine, a.tombstone, a.since)
		e.bytes(a.setter[:])
	}
	if err := e.w.Flush(); err != nil {
		return e.n, fmt.Errorf("write history: %w", err)
	}
	n, err := w.Write(e.sum.Sum(nil))
	if err != nil {
		err = fmt.Errorf("write history: %w", err)
	}
	return e.n + int64(n), err
}

// Read takes up a state that WriteTo wrote. It reads src to its end, believes
// nothing in it beyond the form, and needs no more memory than what it reads
// stands for. What the state says is as trustworthy as where it was kept.
func Read(src io.Reader) (*Replay, error) {
	d := &decoder{sum: sha256.New()}
	d.r = bufio.NewReaderSize(src, 64<<10)
	r := New()
	d.want(stateForm)
	r.next, r.newest, r.newestAt = d.number(0), moment(d.number(none-1<<40)), d.number(0)
	r.unknown, r.malformed = d.number(0), d.number(0)
	r.audit.origin, r.audit.size, r.audit.at = d.text(), d.number(0), d.number(0)
	d.fill(r.audit.root[:])
	for range d.count(maxKeys) {
		r.keys = append(r.keys, Key{Verifier: d.text(), Since: d.number(none), Until: moment(d.number(none - 1<<40))})
	}
	r.readProjects(d)
	r.readReleases(d)
	r.readNames(d)
	r.readAfter(d)
	sum := d.sum.Sum(nil)
	end, err := io.ReadAll(io.LimitReader(d.r, int64(len(sum))+1))
	if d.err == nil {
		d.err = err
	}
	if d.err == nil && !bytes.Equal(end, sum) {
		d.fail("its checksum does not hold")
	}
	if d.err != nil {
		return nil, fmt.Errorf("read history: %w", d.err)
	}
	return r, nil
}

func (r *Replay) readProjects(d *decoder) {
	for range d.count(1 << 31) {
		p := &project{name: d.text(), kind: d.text(), state: d.text(), policy: d.text(),
			at: d.number(none), changed: d.number(none), ruled: d.number(none)}
		flags := d.number(0)
		if flags > 7 || max(p.at, p.changed, p.ruled) >= r.next {
			d.fail("project %d is not possible", len(r.projects))
		}
		p.public, p.mirror, p.began = flags&1 != 0, flags&2 != 0, flags&4 != 0
		if _, twice := r.byName[p.name]; twice {
			d.fail("project %d is there twice", len(r.projects))
		}
		if d.err != nil {
			return
		}
		n := uint32(len(r.projects))
		r.byName[p.name] = n
		r.projects = append(r.projects, p)
	}
	// Which name was taken first decides which project a violation names.
	byAge := slices.SortedFunc(maps.Values(r.byName), func(a, b uint32) int { return cmp.Compare(r.projects[a].at, r.projects[b].at) })
	for _, n := range byAge {
		if r.projects[n].at == none {
			continue
		}
		r.cover(n)
	}
}

func (r *Replay) readReleases(d *decoder) {
	for range d.count(1 << 32) {
		var rec record
		d.record(&rec)
		if d.err == nil && (int(rec.project) >= len(r.projects) || rec.index < 0 || rec.index >= r.next || rec.flags&^flagsAll != 0) {
			d.fail("release %d is not possible", r.releases.n)
		}
		if d.err != nil {
			return
		}
		p := r.projects[rec.project]
		p.releases++
		switch {
		case rec.has(hidden):
			p.hidden++
		case !rec.has(flagProvenance):
			p.unsigned++
		}
		r.releases.add(rec)
	}
}

func (r *Replay) readNames(d *decoder) {
	var before nameKey
	for i := range d.count(1 << 33) {
		var row [20]byte
		d.fill(row[:])
		key, n := nameKey(row[:16]), binary.BigEndian.Uint32(row[16:])
		if d.err == nil && (n >= r.releases.n || i > 0 && bytes.Compare(before[:], key[:]) >= 0) {
			d.fail("name %d is not possible", i)
		}
		if d.err != nil {
			return
		}
		r.names[key], before = n, key
	}
}

func (r *Replay) readAfter(d *decoder) {
	before := int64(-1)
	for range d.count(1 << 32) {
		n := d.number(0)
		a := &after{provenance: d.number(none), yank: d.number(none), quarantine: d.number(none), tombstone: d.number(none), since: d.number(none - 1<<40)}
		d.fill(a.setter[:])
		if d.err == nil && (n <= before || n >= int64(r.releases.n) || max(a.provenance, a.yank, a.quarantine, a.tombstone) >= r.next) {
			d.fail("what came after release %d is not possible", n)
		}
		if d.err != nil {
			return
		}
		r.after[uint32(n)], before = a, n
	}
}

// unix is a time in seconds; the zero time has a number of its own, before all
// that a leaf can state.
func unix(t time.Time) int64 { return t.Unix() }

func moment(seconds int64) time.Time {
	if seconds == (time.Time{}).Unix() {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// encoder writes the parts of a state. The buffer keeps the first error.
type encoder struct {
	w   *bufio.Writer
	sum hash.Hash
	n   int64
}

func (e *encoder) bytes(b []byte) { _, _ = e.w.Write(b) }

func (e *encoder) ints(list ...int64) {
	for _, v := range list {
		e.bytes(binary.AppendVarint(e.w.AvailableBuffer(), v))
	}
}

func (e *encoder) text(s string) {
	e.ints(int64(len(s)))
	_, _ = e.w.WriteString(s)
}

// recordSize is that of a written record.
const recordSize = 8 + 32 + 16 + 4 + 2 + 2

func (e *encoder) record(rec *record) {
	b := binary.BigEndian.AppendUint64(e.w.AvailableBuffer(), uint64(rec.index))
	b = append(append(b, rec.archive[:]...), rec.manifest[:]...)
	b = binary.BigEndian.AppendUint32(b, rec.project)
	b = binary.BigEndian.AppendUint16(b, rec.chartLen)
	e.bytes(binary.BigEndian.AppendUint16(b, rec.flags))
}

// decoder reads the parts of a state and keeps the first error.
type decoder struct {
	r   *bufio.Reader
	sum hash.Hash
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{errState}, args...)...)
	}
}

func (d *decoder) fill(b []byte) {
	if d.err != nil {
		return
	}
	if _, err := io.ReadFull(d.r, b); err != nil {
		d.fail("it ends early")
		return
	}
	d.sum.Write(b)
}

func (d *decoder) want(s string) {
	b := make([]byte, len(s))
	if d.fill(b); d.err == nil && string(b) != s {
		d.fail("it does not begin with %s", strings.TrimSpace(s))
	}
}

// number reads one of at least least, in its one spelling.
func (d *decoder) number(least int64) int64 {
	var buf [binary.MaxVarintLen64]byte
	for i := range buf {
		d.fill(buf[i : i+1])
		if d.err != nil {
			return 0
		}
		if buf[i] < 0x80 {
			v, n := binary.Varint(buf[:i+1])
			if n != i+1 || v < least || v > tlog.MaxSize || !bytes.Equal(binary.AppendVarint(nil, v), buf[:n]) {
				break
			}
			return v
		}
	}
	d.fail("a number has not its form")
	return 0
}

// count reads how many rows follow, of which there are at most most.
func (d *decoder) count(most int64) int64 {
	n := d.number(0)
	if n > most {
		d.fail("there are %d of what there are at most %d", n, most)
	}
	if d.err != nil {
		return 0
	}
	return n
}

func (d *decoder) text() string {
	n := d.count(maxStateText)
	b := make([]byte, n)
	if d.fill(b); d.err != nil {
		return ""
	}
	return string(b)
}

func (d *decoder) record(rec *record) {
	var b [recordSize]byte
	d.fill(b[:])
	rec.index = int64(binary.BigEndian.Uint64(b[:]))
	copy(rec.archive[:], b[8:])
	copy(rec.manifest[:], b[40:])
	rec.project = binary.BigEndian.Uint32(b[56:])
	rec.chartLen = binary.BigEndian.Uint16(b[60:])
	rec.flags = binary.BigEndian.Uint16(b[62:])
}
