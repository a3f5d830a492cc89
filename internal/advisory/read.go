package advisory

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/klauspost/compress/gzip"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Limits bound what an import reads and keeps, in bytes where nothing else is
// said. A limit of 0 allows nothing; start from DefaultLimits.
type Limits struct {
	Record  int64 // one record
	File    int64 // one file, and one zip archive: each is held in memory as a whole
	Import  int64 // all that is read, packed and again unpacked
	Kept    int64 // the records of a pack together, which are held in memory
	Records int   // number of them, doubles included
	Files   int   // number of files, those in archives included
}

// DefaultLimits take in every feed that is published today, short of the whole
// of OSV at once: EPSS has 300,000 rows, the CVE list 300,000 files of 3 GB.
func DefaultLimits() Limits {
	return Limits{Record: 8 << 20, File: 512 << 20, Import: 8 << 30, Kept: 512 << 20, Records: 1_000_000, Files: 1_000_000}
}

// maxNested is how many packings may be around a file: cves.zip.zip has two.
const maxNested = 4

// maxBroken is how many broken records one file may have before it is no file
// of records.
const maxBroken = 100

// Fault is a record, or a file, that cannot be read as a whole.
type Fault struct {
	File   string `json:"file,omitempty"`
	Record string `json:"record,omitempty"` // its id
	Line   int    `json:"line,omitempty"`   // of the file, from 1; 0: the file as a whole
	Reason string `json:"reason"`           // as it goes on after the name: "is no JSON"
}

// String is the fault in one line.
func (f Fault) String() string {
	s := f.File
	if f.Line > 1 {
		s += fmt.Sprintf(":%d", f.Line)
	}
	if f.Record != "" {
		s += " " + f.Record
	}
	return strings.TrimSpace(s + " " + f.Reason)
}

// Add reads one file as it was found: one record as JSON, a list of them, one
// or more in lines or one after the other, an answer of OSV's API ("vulns"), a
// catalogue, a table; or any of these packed with gzip, tar or zip, in up to
// four layers. What it is is told by its content; the name is for messages.
//
// What cannot be read of single records, and files that are nothing of the
// kind, are faults of the pack. An error ends the import, of which then nothing
// may be used: a problem of kind TooLarge for a limit, and Invalid with rule
// "advisory-damaged" where a list or an archive breaks off or is damaged, since
// nobody knows what was in the rest. An error of r is returned wrapped.
//
// Cost: linear in the bytes, and one file in memory at a time beside what is
// kept.
func (b *Builder) Add(name string, r io.Reader) error {
	if err := b.countFile(); err != nil {
		return err
	}
	return b.add(&meter{b: b, r: r, name: name}, 0, false)
}

func (b *Builder) countFile() error {
	if b.files++; b.files > b.lim.Files {
		return problem.New(problem.TooLarge, "advisory-files", "the import has more than %d files", b.lim.Files)
	}
	return nil
}

// meter counts what is read of a file, packed or unpacked, for the whole
// import. It keeps the first error, which is the cause of whatever a decoder
// above it says.
type meter struct {
	b     *Builder
	r     io.Reader
	name  string
	form  string // what r unpacks; "" where it is the file as it came
	below *meter // what r reads from; nil where it is the file as it came
	err   error
}

func (m *meter) Read(p []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	n, err := m.r.Read(p)
	if m.b.read += int64(n); m.b.read > m.b.lim.Import {
		err = problem.New(problem.TooLarge, "advisory-import-size", "the import is larger than %s", sizeText(m.b.lim.Import)).
			With("file", "%s", m.name)
	}
	if err != nil && err != io.EOF {
		n, m.err = 0, m.cause(err)
		err = m.err
	}
	return n, err
}

// cause says what an error means for the import.
func (m *meter) cause(err error) error {
	if m.err != nil {
		return m.err
	}
	if m.below != nil && m.below.err != nil {
		return m.below.err
	}
	if _, ok := problem.As(err); ok {
		return err
	}
	if m.form == "" {
		return fmt.Errorf("read %s: %w", m.name, err)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged(m.name, m.form+" breaks off").Because(err)
	}
	return damaged(m.name, m.form+" is damaged").Because(err)
}

func damaged(name, how string) *problem.Error {
	return problem.New(problem.Invalid, "advisory-damaged", "%s: %s; nothing of the import is used, since nobody knows what was in the rest", name, how).
		Suggest("get the file again, and compare its size or checksum with what its publisher states")
}

// add reads what came out of as many layers of packing. Archive says that it is
// one of many.
func (b *Builder) add(m *meter, layers int, archive bool) error {
	if layers == len(b.buffers) {
		b.buffers = append(b.buffers, bufio.NewReader(nil))
	}
	in := b.buffers[layers]
	in.Reset(m)
	head, _ := in.Peek(512)
	if m.err != nil {
		return m.err
	}
	var unpack func(*meter, *bufio.Reader, int, bool) error
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		unpack = b.addGzip
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		unpack = b.addZip
	case len(head) == 512 && string(head[257:262]) == "ustar":
		unpack = b.addTar
	default:
		return b.addText(m, in, layers, archive)
	}
	if layers == maxNested {
		return damaged(m.name, fmt.Sprintf("it is packed more than %d times", maxNested))
	}
	return unpack(m, in, layers, archive)
}

func (b *Builder) addText(m *meter, in *bufio.Reader, _ int, archive bool) error {
	text, err := b.text(m, in)
	if err != nil {
		return err
	}
	return b.readText(&file{name: m.name, text: strings.TrimPrefix(text, "\ufeff"), archived: archive})
}

// text reads a file to its end.
func (b *Builder) text(m *meter, in io.Reader) (string, error) {
	var s strings.Builder
	n, err := io.CopyBuffer(&s, io.LimitReader(in, b.lim.File+1), b.copy)
	switch {
	case err != nil:
		return "", m.cause(err)
	case n > b.lim.File:
		return "", problem.New(problem.TooLarge, "advisory-file-size", "%s is larger than %s", m.name, sizeText(b.lim.File))
	}
	return s.String(), nil
}

func (b *Builder) addGzip(m *meter, in *bufio.Reader, layers int, archive bool) error {
	inner := &meter{b: b, name: m.name, form: "its gzip data", below: m}
	z, err := gzip.NewReader(in)
	if err != nil {
		return inner.cause(err)
	}
	inner.r = z
	return b.add(inner, layers+1, archive)
}

func (b *Builder) addTar(m *meter, in *bufio.Reader, layers int, _ bool) error {
	counted := &zeros{r: in}
	inner := &meter{b: b, name: m.name, form: "its tar", below: m}
	for t := tar.NewReader(counted); ; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return inner.cause(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if err := b.countFile(); err != nil {
			return err
		}
		if err := b.add(&meter{b: b, r: t, name: inside(m.name, h.Name), form: "its archive", below: m}, layers+1, true); err != nil {
			return err
		}
	}
	// Two blocks of zeros end a tar, and only zeros may follow. Reading on to the
	// end also checks the sum of what it is packed in.
	ended := counted.last >= 1024
	counted.last, counted.other = 0, false
	if _, err := io.CopyBuffer(io.Discard, counted, b.copy); err != nil {
		return m.cause(err)
	}
	switch {
	case !ended:
		return damaged(m.name, "its tar breaks off")
	case counted.other:
		return damaged(m.name, "its tar has data behind its end")
	}
	return nil
}

// zeros counts the zeros at the end of what was read, and says whether there
// was anything else.
type zeros struct {
	r     io.Reader
	last  int64
	other bool
}

func (z *zeros) Read(p []byte) (int, error) {
	n, err := z.r.Read(p)
	if rest := bytes.TrimRight(p[:n], "\x00"); len(rest) > 0 {
		z.last, z.other = int64(n-len(rest)), true
	} else {
		z.last += int64(n)
	}
	return n, err
}

func (b *Builder) addZip(m *meter, in *bufio.Reader, layers int, _ bool) error {
	text, err := b.text(m, in)
	if err != nil {
		return err
	}
	// The reader of archives takes in the whole list of files, however long; each
	// entry of it begins with this mark.
	if n := strings.Count(text, "PK\x01\x02"); n > b.lim.Files-b.files {
		b.files = b.lim.Files
		return b.countFile()
	}
	inner := &meter{b: b, name: m.name, form: "its zip archive", below: m}
	z, err := zip.NewReader(strings.NewReader(text), int64(len(text)))
	if err != nil {
		return inner.cause(err)
	}
	for _, f := range z.File {
		if f.FileInfo().IsDir() {
			continue
		}
		if err := b.countFile(); err != nil {
			return err
		}
		member := &meter{b: b, name: inside(m.name, f.Name), form: "its archive", below: m}
		if f.Flags&1 != 0 {
			return damaged(member.name, "it is encrypted")
		}
		if member.r, err = f.Open(); err != nil {
			return member.cause(err)
		}
		if err := b.add(member, layers+1, true); err != nil {
			return err
		}
	}
	return nil
}

// inside is the name of a file in an archive, for messages.
func inside(archive, name string) string {
	const most = 200
	printable := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, name)
	return cut(archive, most) + "/" + cut(printable, most)
}

// sizeText writes a number of bytes as people read it.
func sizeText(n int64) string {
	for _, unit := range []string{"bytes", "KiB", "MiB"} {
		if n < 1024 || n%1024 != 0 {
			return fmt.Sprintf("%d %s", n, unit)
		}
		n /= 1024
	}
	return fmt.Sprintf("%d GiB", n)
}
