// Package notes reads what people write about a release: changelogs, release
// notes and Artifact Hub's annotation of changes. It finds hints that something
// concerns security, and things that an operator has to do, each with its place
// in the text.
//
// A text is split into releases (package upstream), a release into statements:
// list items, paragraphs, rows of tables, sentences (markdown.go, sentence.go).
// A statement is judged by what it says, by the heading above it and by the tag
// in front of it (judge.go, weakness.go, hardening.go, guards.go, operator.go).
// Code, addresses, paths and names are no prose: a word in them says nothing, an
// identifier of an advisory in them still counts.
//
// What always holds:
//
//   - A hint is a hint. Nothing is called secure or harmless because of a text.
//   - Every hint has the line it was found on and the words themselves.
//   - Rules speak of how people write, never of a project or a version.
//   - Work is linear in the text, and bounded by Limits. What was not read is
//     said in Release.Unread.
//
// Specifications: CommonMark and the tables of GitHub; Keep a Changelog and
// Conventional Commits for what headings and tags mean; the identifiers of CVE,
// GHSA and the Go vulnerability database; the annotations of Artifact Hub.
//
// The package does no I/O, reads no clock and starts no goroutine. Its functions
// may be called concurrently.
package notes

import (
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upstream"
)

// The rules. The first six speak for Security.
const (
	RuleAdvisory   = "advisory-id"       // names an advisory
	RuleVulnerable = "vulnerability"     // a weakness is repaired
	RuleDependency = "dependency-fix"    // something inside is updated because of a weakness
	RuleSafer      = "safer-default"     // what is done without being asked is safer than before
	RuleSection    = "security-section"  // stands under a heading or tag of security
	RuleDeclared   = "declared-security" // the annotation says so in its own field
	RuleMention    = "advisory-mention"  // names an advisory, and no repair
	RuleMemory     = "memory-safety"     // a fault of memory is repaired; nobody says that it can be exploited
	RuleWeaker     = "weaker-default"    // a protection is off, or a danger on, without being asked
	RulePassword   = "known-password"    // a password or account that everybody knows
	RulePrivilege  = "privilege-growth"  // more rights are taken
	RuleOperator   = "operator-action"   // something has to be done by hand, or known before
	RuleImage      = "image-moved"       // another image, or another tag of one
	RuleBump       = "dependency-bump"   // something inside is updated
	RuleRemoved    = "removed"           // something is gone
	RuleDeprecated = "deprecated"        // something will go
)

const (
	maxHintText      = 300  // bytes
	maxIdentifierSet = 1000 // identifiers of one sentence
)

// Hint is one place in a text that somebody should read.
type Hint struct {
	Rule string `json:"rule"` // one of the rules above
	Line int    `json:"line"` // from 1, in the whole text: where the words that count begin
	Text string `json:"text"` // the sentence or item, at most 300 bytes, without the marks of Markdown
	// Security says that the hint alone speaks for a release that repairs a
	// vulnerability, takes a dependency for one, or makes a default safer.
	Security bool     `json:"security"`
	IDs      []string `json:"ids,omitempty"` // CVE, GHSA, GO and those of others (judge.go), in the order of the text
	// What moved, for image-moved, dependency-bump and dependency-fix. Old is ""
	// where the text does not say it.
	Name string `json:"name,omitempty"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// Release is one release of a text.
type Release struct {
	Version   string   `json:"version"` // "" for a text that names none
	LineStart int      `json:"line_start"`
	LineEnd   int      `json:"line_end"`
	Security  bool     `json:"security"` // a hint says so
	IDs       []string `json:"ids"`      // sorted, once each
	Hints     []Hint   `json:"hints"`    // by line
	// Unread says what was left out because of a limit, "" for nothing. What is
	// not read is unknown.
	Unread string `json:"unread,omitempty"`
}

// Limits bound what is read. Zero fields take the value of DefaultLimits.
type Limits struct {
	Bytes   int // of a text; more is an error
	Release int // bytes of one release that are read
	Line    int // bytes of one line that are read
	Hints   int // of one release
}

// DefaultLimits are those for texts from the network.
func DefaultLimits() Limits {
	return Limits{Bytes: 8 << 20, Release: 512 << 10, Line: 16 << 10, Hints: 1000}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	for _, f := range []struct {
		is  *int
		def int
	}{{&l.Bytes, d.Bytes}, {&l.Release, d.Release}, {&l.Line, d.Line}, {&l.Hints, d.Hints}} {
		if *f.is == 0 {
			*f.is = f.def
		}
	}
	return l
}

// Read finds the releases of a changelog, or of the notes of one release, in
// the order of the text. A text in which no heading names a version is one
// release without a version. What stands before the first release, and what is
// not released yet, is not read; but where the releases that were found are less
// than half of the lines, the headings are not understood, and what is between
// them is read as releases without a version. Errors are problem.TooLarge for a text over
// Limits.Bytes and problem.Invalid for one that is no text. Cost: linear; about
// 0.6 s of one core for 1 MB, and three times that where every line is of security.
func Read(text string, lim Limits) ([]Release, error) {
	lim = lim.orDefault()
	if len(text) > lim.Bytes {
		return nil, problem.New(problem.TooLarge, "notes-limit", "the notes have more than %d bytes", lim.Bytes)
	}
	if strings.ContainsRune(text, 0) {
		return nil, problem.New(problem.Invalid, "notes", "these are no notes: the file has bytes that no text has")
	}
	text = strings.TrimPrefix(text, "\ufeff")
	sections := upstream.Changelog(text)
	covered := 0
	for _, s := range sections {
		covered += s.End - s.Start + 1
	}
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if n := len(lines); n > 1 && lines[n-1] == "" {
		lines = lines[:n-1] // what follows the last line break is no line
	}
	if covered < len(lines)/2 || len(sections) == 0 {
		sections = withGaps(sections, lines)
	}
	out := make([]Release, 0, len(sections))
	for _, s := range sections {
		r := newReader(lim)
		r.markdown(s.Text, s.Start, 0)
		out = append(out, r.release(s.Version, s.Start, s.End))
	}
	return out, nil
}

// withGaps adds what is between sections as sections without a version.
func withGaps(sections []upstream.Section, lines []string) []upstream.Section {
	var out []upstream.Section
	next := 1
	gap := func(end int) {
		if text := strings.Join(lines[next-1:end], "\n"); strings.TrimSpace(text) != "" || len(sections) == 0 {
			out = append(out, upstream.Section{Start: next, End: end, Text: text})
		}
	}
	for _, s := range sections {
		if s.Start > next {
			gap(s.Start - 1)
		}
		out = append(out, s)
		next = s.End + 1
	}
	if next <= len(lines) {
		gap(len(lines))
	}
	return out
}

// reader collects the hints of one release.
type reader struct {
	lim    Limits
	hints  []Hint
	unread string
}

func newReader(lim Limits) *reader { return &reader{lim: lim} }

// leaveOut records the first thing that was not read.
func (r *reader) leaveOut(what string) {
	if r.unread == "" {
		r.unread = what
	}
}

// add keeps a hint, as long as there is room. One of security has room where
// there is none yet, since the answer must not be lost among many hints.
func (r *reader) add(h Hint) {
	if len(r.hints) >= r.lim.Hints {
		r.leaveOut("the release has more hints than are kept")
		if !h.Security || slices.ContainsFunc(r.hints, func(k Hint) bool { return k.Security }) {
			return
		}
		r.hints = r.hints[:len(r.hints)-1]
	}
	r.hints = append(r.hints, h)
}

// release makes the release of what was collected.
func (r *reader) release(version string, start, end int) Release {
	out := Release{Version: version, LineStart: start, LineEnd: end, IDs: []string{}, Hints: r.hints, Unread: r.unread}
	if out.Hints == nil {
		out.Hints = []Hint{}
	}
	slices.SortStableFunc(out.Hints, func(a, b Hint) int { return a.Line - b.Line })
	for _, h := range out.Hints {
		out.Security = out.Security || h.Security
		out.IDs = append(out.IDs, h.IDs...)
	}
	slices.Sort(out.IDs)
	out.IDs = slices.Compact(out.IDs)
	return out
}
