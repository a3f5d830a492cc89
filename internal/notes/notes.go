// Package notes reads what people write about a release: changelogs, release
// notes and Artifact Hub's annotation of changes. It finds hints that something
// concerns security, and things that an operator has to do, each with its place
// in the text.
//
// What always holds:
//
//   - A hint is a hint. Nothing is called secure or harmless because of a text.
//   - Every hint has the line it was found on and the words themselves.
//   - Rules speak of how people write, never of a project or a version.
//   - Work is linear in the text, and bounded by Limits.
//
// Specifications: CommonMark; the identifiers of CVE and GHSA; the annotations
// of Artifact Hub.
//
// The package does no I/O, reads no clock and starts no goroutine. Its functions
// may be called concurrently.
package notes

// Hint is one place in a text that somebody should read.
type Hint struct {
	Rule string `json:"rule"` // stable id: advisory-id, vulnerability, dependency-fix, safer-default, operator-action, removed …
	Line int    `json:"line"` // from 1, in the whole text
	Text string `json:"text"` // the sentence or item, at most 300 bytes
	// Security says that the hint alone speaks for a release that repairs a
	// vulnerability, takes a dependency for one, or makes a default safer.
	Security bool     `json:"security"`
	IDs      []string `json:"ids,omitempty"` // CVE, GHSA
}

// Release is one release of a text.
type Release struct {
	Version   string   `json:"version"` // "" for a text that names none
	LineStart int      `json:"line_start"`
	LineEnd   int      `json:"line_end"`
	Security  bool     `json:"security"` // a hint says so
	IDs       []string `json:"ids"`      // sorted, once each
	Hints     []Hint   `json:"hints"`    // by line
}
