package advisory

import (
	"io"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Sorter makes packs from files of any kind, told by their content: for who has
// a folder of feeds and no server. It is not safe for concurrent use.
type Sorter struct {
	in    *Builder // opens files and archives, within the limits of all of them
	lim   Limits
	by    map[Kind]*Builder
	files map[Kind][]string
	name  string // of the file at hand
	out   Sorted
}

// Sorted is what a Sorter made of its files.
type Sorted struct {
	Packs  []Pack            // one of each kind that was met, in the order of Kinds
	Files  map[Kind][]string // those that had something of a kind, in their order
	Faults []Fault           // 1,000 of each kind at most
	// Left are files, or files in archives, that are nothing of any kind: 1,000 of
	// them at most, LeftOut is how many there were.
	Left    []string
	LeftOut int
}

// NewSorter returns an empty sorter. The limits of one import are those of all
// files together, but for what is kept, which is bounded for each kind.
func NewSorter(lim Limits) *Sorter {
	s := &Sorter{in: NewBuilder("", lim), lim: lim, by: map[Kind]*Builder{}, files: map[Kind][]string{}}
	s.in.sort = s.sort
	return s
}

// Add reads one file as Builder.Add does. What is in an archive is sorted file
// by file. Cost: that of Builder.Add, and one more pass over the text.
func (s *Sorter) Add(name string, r io.Reader) error {
	s.name = name
	return s.in.Add(name, r)
}

func (s *Sorter) sort(f *file) error {
	kind := kindOf(f.text)
	if kind == "" {
		if s.out.LeftOut++; len(s.out.Left) < maxFaults {
			s.out.Left = append(s.out.Left, f.name)
		}
		return nil
	}
	b := s.by[kind]
	if b == nil {
		b = NewBuilder(kind, s.lim)
		s.by[kind] = b
	}
	if list := s.files[kind]; len(list) == 0 || list[len(list)-1] != s.name {
		s.files[kind] = append(list, s.name)
	}
	b.files++
	return b.readText(f)
}

// Packs ends the import. A kind of which nothing can be used has no pack and a
// fault; where that is so of all, it is a problem of kind Invalid with rule
// "advisory-empty". The Sorter must not be used after.
func (s *Sorter) Packs() (Sorted, error) {
	s.out.Files = s.files
	for _, kind := range Kinds {
		b := s.by[kind]
		if b == nil {
			continue
		}
		pack, faults, err := b.Pack()
		s.out.Faults = append(s.out.Faults, faults...)
		if err != nil {
			p, _ := problem.As(err)
			s.out.Faults = append(s.out.Faults, Fault{File: s.files[kind][0], Reason: "has nothing of kind " + string(kind) + " that can be used: " + p.Message})
			delete(s.files, kind)
			continue
		}
		s.out.Packs = append(s.out.Packs, pack)
	}
	if len(s.out.Packs) > 0 {
		return s.out, nil
	}
	e := problem.New(problem.Invalid, "advisory-empty", "nothing that was read can be used, and no advisory is known by it")
	for _, f := range s.out.Faults[:min(3, len(s.out.Faults))] {
		e.With("fault", "%s", f)
	}
	for _, name := range s.out.Left[:min(3, len(s.out.Left))] {
		e.With("left out", "%s", name)
	}
	return Sorted{}, e.Suggest("look into the files; docs/advisories.md says what each kind of feed reads")
}

// kindOf tells the kind of a file by its text; "" for none. A file that breaks
// off is told by what it begins with, so that it is a fault of its kind and not
// left out.
func kindOf(text string) Kind {
	c := &cursor{in: text}
	switch c.next() {
	case '[':
		kind := Kind("")
		c.at++
		if c.next() == '{' {
			kind = c.kind()
		}
		return kind
	case '{':
		return c.kind()
	}
	if _, ok := readScores(text); ok {
		return EPSS
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "images:") || strings.HasPrefix(line, "mirrors:") {
			return Components // a mistake in it is a fault then, and it is not left out
		}
	}
	return ""
}

// kindsBy are the members that tell a kind, any of them alone.
var kindsBy = map[string]Kind{
	"catalogVersion": KEV, "dateReleased": KEV,
	"cveMetadata": Vulnrichment, "dataType": Vulnrichment,
	"@context": VEX, "statements": VEX,
	"affected": OSV, "schema_version": OSV, "vulns": OSV, "ghsa_id": OSV, "modified": OSV,
}

// kind tells the kind of the object that begins here. Where its members speak
// for several, the form with the fewest names in common with others goes first.
func (c *cursor) kind() Kind {
	met := map[Kind]bool{}
	c.pairs(func(name string) {
		met[kindsBy[name]] = true
		c.skip()
	})
	for _, k := range []Kind{KEV, Vulnrichment, VEX, OSV} {
		if met[k] {
			return k
		}
	}
	return ""
}
