package advisory

import (
	"bufio"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Builder makes a pack from files. It is not safe for concurrent use.
//
// KEV and EPSS are states of a whole: of several files only the newest counts,
// so that what was taken out of the catalogue is out. Files of the other kinds
// add up.
type Builder struct {
	kind    Kind
	lim     Limits
	records []item
	kept    int64
	read    int64 // bytes, see meter
	files   int
	faults  []Fault
	flawed  int
	strange int    // files in archives that are nothing of the kind
	example string // one of them
	edition edition
	sort    func(*file) error // what takes the files of a Sorter; nil mostly

	buffers []*bufio.Reader // one for each layer of packing
	copy    []byte
}

// item is a record as it is kept.
type item struct {
	id       string
	raw      string // one line
	modified time.Time
	file     string
}

// edition is the state of a whole that the records are of.
type edition struct {
	file  string // "" none yet
	dated time.Time
	model string
}

// maxFaults is how many faults are described; the rest is counted.
const maxFaults = 1000

// NewBuilder returns an empty builder for feeds of a kind.
func NewBuilder(kind Kind, lim Limits) *Builder {
	return &Builder{kind: kind, lim: lim, copy: make([]byte, 32<<10)}
}

// file is a file that was unpacked.
type file struct {
	name     string
	text     string
	archived bool // it is one of many in an archive
	at, line int  // a place in it, and the line before that
}

// lineAt is the line of a place, from 1. Places are asked for in order.
func (f *file) lineAt(at int) int {
	f.line += strings.Count(f.text[f.at:at], "\n")
	f.at = at
	return f.line + 1
}

func (b *Builder) fault(f *file, line int, record, format string, args ...any) {
	if b.flawed++; len(b.faults) < maxFaults {
		b.faults = append(b.faults, Fault{File: f.name, Record: record, Line: line, Reason: fmt.Sprintf(format, args...)})
	}
}

// stranger notes a file that is nothing of the kind. Archives of repositories
// have many of them, which are one fault.
func (b *Builder) stranger(f *file, reason string) {
	if !f.archived {
		b.fault(f, 0, "", "%s", reason)
		return
	}
	if b.strange++; b.strange == 1 {
		b.example = f.name
	}
}

// readText reads a file by the form of its kind.
func (b *Builder) readText(f *file) error {
	if b.sort != nil {
		return b.sort(f)
	}
	switch b.kind {
	case KEV:
		return b.readCatalogue(f)
	case EPSS:
		return b.readTable(f)
	case Components:
		return b.readComponents(f)
	}
	return b.readRecords(f)
}

// notJSON says what a file is that begins with neither { nor [.
func notJSON(text string) string {
	switch text = strings.TrimSpace(cut(text, 1000)); {
	case text == "":
		return "is empty"
	case text[0] == '<':
		return "is HTML or XML, and not JSON"
	}
	return "is not JSON"
}

// readRecords reads JSON records: one, several one after the other, a list of
// them, or OSV's answer to a query.
func (b *Builder) readRecords(f *file) error {
	c := &cursor{in: f.text}
	switch first := c.next(); {
	case first == '[':
		return b.readList(f, c)
	case first != '{':
		b.stranger(f, notJSON(f.text))
		return nil
	case b.kind == OSV && answers(f.text[c.at:]):
		return b.readAnswer(f, c)
	}
	broken := 0
	for from := 0; ; {
		// A record is looked for within its limit, so that a broken one does not
		// make the reader go through the whole file.
		c = &cursor{in: f.text[:min(int64(len(f.text)), int64(from)+b.lim.Record+1)], at: from}
		first := c.next()
		if from = c.at; first == 0 && from == len(f.text) {
			return nil
		}
		line := f.lineAt(from)
		c.depth = 0
		if first == '{' {
			c.skip()
		} else {
			c.lost()
		}
		if !c.broken {
			if err := b.addRecord(f, line, f.text[from:c.at]); err != nil {
				return err
			}
			from = c.at
			continue
		}
		if broken++; broken > maxBroken {
			return damaged(f.name, fmt.Sprintf("more than %d records in it are no JSON", maxBroken))
		}
		reason := "is no JSON, or breaks off"
		if len(c.in) < len(f.text) {
			reason = "is no JSON, or larger than " + sizeText(b.lim.Record)
		}
		b.fault(f, line, "", "%s", reason)
		next := strings.Index(f.text[from:], "\n{")
		if next < 0 {
			return nil
		}
		from += next + 1
	}
}

func (b *Builder) readList(f *file, c *cursor) (err error) {
	c.elements(func() { err = b.element(f, c, err) })
	switch {
	case err != nil:
		return err
	case !c.end():
		return damaged(f.name, "its list is no JSON, or breaks off")
	}
	return nil
}

// element reads one element of a list, unless an earlier one ended the import.
func (b *Builder) element(f *file, c *cursor, err error) error {
	c.next()
	line := f.lineAt(c.at)
	raw := c.raw()
	switch {
	case err != nil || c.broken:
		return err
	case raw[0] != '{':
		b.fault(f, line, "", "is no record: %s stands in the list", formOf(raw[0]))
		return nil
	}
	return b.addRecord(f, line, raw)
}

var answerNames = []string{"vulns", "next_page_token"}

// answers says whether an object is an answer of OSV's API and no record.
func answers(text string) bool {
	c := &cursor{in: text}
	if c.take('{'); c.next() != '"' {
		return false
	}
	name := c.said()
	return slices.Contains(answerNames, name)
}

func (b *Builder) readAnswer(f *file, c *cursor) (err error) {
	more := ""
	c.object(answerNames, func(name string) {
		if name == "next_page_token" {
			more = c.text()
			return
		}
		c.list(func() { err = b.element(f, c, err) })
	})
	switch {
	case err != nil:
		return err
	case !c.end():
		return damaged(f.name, "the answer is no JSON, or breaks off")
	case more != "":
		return damaged(f.name, "the answer is one page of several")
	}
	return nil
}

// addRecord reads one record for what is wrong with it, and keeps it.
func (b *Builder) addRecord(f *file, line int, raw string) error {
	if int64(len(raw)) > b.lim.Record {
		b.fault(f, line, "", "is larger than %s", sizeText(b.lim.Record))
		return nil
	}
	r, faults := readRecord(b.kind, raw)
	if len(faults) > 0 {
		b.fault(f, line, cut(r.id, maxID), "%s", strings.Join(faults, "; "))
	}
	if r.raw == "" {
		return nil
	}
	r.file = f.name
	return b.keep(r)
}

// readRecord brings a record into the form in which it is kept: one line. Raw is
// "" for what cannot be used, or says nothing.
func readRecord(kind Kind, raw string) (r item, faults []string) {
	switch kind {
	case OSV:
		r.raw = compact(raw)
		a, faults := readOSV(r.raw)
		if a == nil {
			if osv, faults := fromGitHub(r.raw); osv != "" || len(faults) > 0 {
				return recordOf(osv, faults)
			}
			return item{}, faults
		}
		r.id, r.modified = a.ID, a.Modified
		return r, faults
	case VEX:
		r.raw = compact(raw)
		d, faults := readDocument(r.raw)
		if d.id == "" {
			return item{}, faults
		}
		r.id, r.modified = d.id, d.modified
		return r, faults
	case KEV:
		r.raw = compact(raw)
		e, faults := readExploited(r.raw)
		if e.CVE == "" {
			return item{}, faults
		}
		r.id, r.modified = e.CVE, e.Added
		return r, faults
	}
	r.id, r.raw, r.modified, faults = reduceCVE(raw)
	return r, faults
}

// recordOf is a record that was turned into the OSV form.
func recordOf(osv string, faults []string) (item, []string) {
	a, more := readOSV(osv)
	if a == nil {
		return item{}, faults
	}
	return item{id: a.ID, raw: osv, modified: a.Modified}, append(faults, more...)
}

func (b *Builder) keep(r item) error {
	b.kept += int64(len(r.raw)) + 1
	switch {
	case len(b.records) >= b.lim.Records:
		return problem.New(problem.TooLarge, "advisory-records", "the import has more than %d records", b.lim.Records)
	case b.kept > b.lim.Kept:
		return problem.New(problem.TooLarge, "advisory-kept", "the records of the import together are larger than %s", sizeText(b.lim.Kept))
	}
	b.records = append(b.records, r)
	return nil
}

// begins decides whether a file that is a state of a whole counts: it does
// unless a newer one was read, and what was read before counts no more.
func (b *Builder) begins(f *file, e edition) (bool, error) {
	e.file = f.name
	if old := b.edition; old.file != "" {
		newer, older := e, old
		switch c := e.dated.Compare(old.dated); {
		case c == 0 && e.model != old.model:
			return false, problem.New(problem.Invalid, "advisory-models", "%s and %s have scores of one day by different models, %s and %s",
				old.file, e.file, shown(old.model), shown(e.model)).Suggest("import one of the files")
		case c == 0:
			return true, nil // the same state again, or the rest of it
		case c < 0:
			newer, older = old, e
		}
		b.fault(&file{name: older.file}, 0, "", "is left out: %s is newer, of %s", newer.file, newer.dated.Format(time.DateOnly))
		if older == e {
			return false, nil
		}
		b.records, b.kept = b.records[:0], 0
	}
	b.edition = e
	return true, nil
}

func (b *Builder) readCatalogue(f *file) error {
	if first := (&cursor{in: f.text}).next(); first != '{' {
		b.stranger(f, notJSON(f.text))
		return nil
	}
	k, faults, ok := readCatalogue(f.text)
	switch {
	case !ok:
		return damaged(f.name, "it is no JSON, or breaks off")
	case !k.listed:
		b.stranger(f, "is no catalogue of known exploited vulnerabilities")
		return nil
	}
	counts, err := b.begins(f, edition{dated: k.dated})
	if err != nil || !counts {
		return err
	}
	if k.dated.IsZero() {
		faults = append(faults, "has no date")
	}
	if k.count != fmt.Sprint(len(k.entries)) && k.count != "" {
		faults = append(faults, fmt.Sprintf("says that it has %s entries and has %d", cut(k.count, 20), len(k.entries)))
	}
	if len(faults) > 0 {
		b.fault(f, 0, "", "%s", strings.Join(faults, "; "))
	}
	for i, raw := range k.entries {
		if err := b.addRecord(f, f.lineAt(k.at[i]), raw); err != nil {
			return err
		}
	}
	return nil
}

func (b *Builder) readTable(f *file) error {
	s, ok := readScores(f.text)
	if !ok {
		b.stranger(f, "is no EPSS table: it has no line "+epssColumns)
		return nil
	}
	counts, err := b.begins(f, edition{dated: s.dated, model: s.model})
	if err != nil || !counts {
		return err
	}
	if s.dated.IsZero() || s.model == "" {
		b.fault(f, 1, "", "does not say of which model and day its scores are")
	}
	line := s.line
	for rest, row := s.rows, ""; rest != ""; line++ {
		row, rest, _ = strings.Cut(rest, "\n")
		if row = strings.TrimSpace(row); row == "" {
			continue
		}
		cve, _, ok := readScore(row)
		if !ok {
			b.fault(f, line, "", "is no score: %s", shown(row))
			continue
		}
		if err := b.keep(item{id: cve, raw: row, modified: s.dated, file: f.name}); err != nil {
			return err
		}
	}
	return nil
}

// readComponents keeps the text of a map as one record.
func (b *Builder) readComponents(f *file) error {
	lim := DefaultMapLimits()
	if _, err := ReadMap([]byte(f.text), lim); err != nil {
		b.stranger(f, "is no component map: "+err.Error())
		return nil
	}
	raw := string(chart.AppendString(nil, f.text))
	if len(b.records) > 0 && b.records[0].raw != raw {
		return problem.New(problem.Invalid, "advisory-maps", "%s and %s are both component maps; which goes first is for you to say", b.records[0].file, f.name).
			Suggest("import them as feeds of their own, or write one map")
	}
	return b.keep(item{id: "map", raw: raw, file: f.name})
}

// Pack ends the import and returns what was read, with its faults in the order
// in which they were met: 1,000 of them at most, all are counted in the
// snapshot. An import of which nothing can be used is a problem of kind Invalid with rule
// "advisory-empty"; there is no empty pack. The Builder must not be used after.
//
// Of records with one id the one that was modified last counts. Where two
// differ and nothing says which is newer, one is taken, always the same, and
// that is a fault.
func (b *Builder) Pack() (Pack, []Fault, error) {
	if b.strange > 0 {
		reason := "is nothing of the kind and left out"
		if b.strange > 1 {
			reason = fmt.Sprintf("and %d more files in archives are nothing of the kind and left out", b.strange-1)
		}
		b.fault(&file{name: b.example}, 0, "", "%s", reason)
	}
	slices.SortFunc(b.records, func(x, y item) int {
		return cmp.Or(strings.Compare(x.id, y.id), y.modified.Compare(x.modified), strings.Compare(x.raw, y.raw), strings.Compare(x.file, y.file))
	})
	p := Pack{snapshot: Snapshot{Kind: b.kind, Dated: b.edition.dated, Model: b.edition.model}}
	newest := &item{}
	for i := range b.records {
		r := &b.records[i]
		if i > 0 && newest.id == r.id {
			if newest.modified.Equal(r.modified) && newest.raw != r.raw {
				b.fault(&file{name: r.file}, 0, r.id, "is there in two forms of one time, the other in %s", newest.file)
			}
			continue
		}
		newest = r
		p.lines = append(p.lines, r.raw)
		if b.edition.file == "" && r.modified.After(p.snapshot.Dated) {
			p.snapshot.Dated = r.modified
		}
	}
	if len(p.lines) == 0 {
		return Pack{}, b.faults, b.empty()
	}
	p.snapshot.Records, p.snapshot.Faults = len(p.lines), b.flawed
	p.snapshot.Digest = p.digest()
	return p, b.faults, nil
}

var forms = map[Kind]string{
	OSV:          "records in the OSV form",
	KEV:          "the JSON of CISA's catalogue of known exploited vulnerabilities",
	EPSS:         "the CSV of FIRST's scores",
	Vulnrichment: "CVE records of which CISA says something",
	VEX:          "OpenVEX documents",
	Components:   "a map from images to components",
}

func (b *Builder) empty() error {
	e := problem.New(problem.Invalid, "advisory-empty", "nothing in %d files could be used, and no advisory is known by them", b.files).
		With("expected", "%s", forms[b.kind])
	for _, f := range b.faults[:min(3, len(b.faults))] {
		e.With("fault", "%s", f)
	}
	return e.Suggest("look into the files; docs/advisories.md says what each kind of feed reads")
}
