package notes

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/yuin/goldmark/ast"
)

// class is what a heading, a label or a tag says of the statements below or
// behind it.
type class uint16

const (
	classSecurity   class = 1 << iota // "Security": what is added may stand there too
	classRepairs                      // "Security fixes", "Vulnerabilities"
	classFix                          // "Fixed", "Bug fixes", fix:
	classFeature                      // "Added", feat:
	classDependency                   // "Dependencies", build(deps):
	classBreaking                     // "Breaking changes", feat!:
	classRemoved
	classDeprecated
	classKnown // "Known issues": not repaired
	classAside // documentation, tests, thanks: not the product
)

// headings are the words of headings that have a class, in lower case with one
// space between words. The first that fits counts.
var headings = []struct {
	class class
	words *regexp.Regexp
}{
	{classKnown, regexp.MustCompile(`^(?:known|open|remaining) (?:issues?|bugs|problems|limitations|vulnerabilities)$`)},
	{classRepairs, regexp.MustCompile(`^(?:\w+ ){0,2}security (?:bug ?fix(?:es)?|fix(?:es|ed)?|patch(?:es)?|issues?(?: \w+)?|vulnerabilit(?:y|ies)(?: \w+)?|advisor(?:y|ies)|bulletins?|hotfix(?:es)?)$`)},
	{classRepairs, regexp.MustCompile(`^(?:\w+ )?(?:vulnerabilit(?:y|ies)|cves?)(?: (?:fix(?:es|ed)?|addressed|resolved|patched|remediat\w+))?$`)},
	{classSecurity, regexp.MustCompile(`^(?:\w+ )?(?:security|hardening|security (?:updates?|improvements?|enhancements?|hardening|notes?|notices?|changes?|release|related(?: \w+)?)|security (?:and )?(?:hardening|privacy|compliance))$`)},
	{classFix, regexp.MustCompile(`^(?:\w+ ){0,2}(?:bug ?fix(?:es)?|fix(?:es|ed)?|bugs?(?: fixed)?|corrections|defects|hotfix(?:es)?|issues fixed)$`)},
	{classBreaking, regexp.MustCompile(`^(?:\w+ ){0,2}(?:breaking(?: changes?)?|incompatib\w+(?: changes?)?|important (?:notes?|changes?)|notable changes?|upgrad(?:e|ing)(?: \w+){0,3}|action required|migration(?: \w+){0,2}|changes? in behaviou?r|before you upgrade)$`)},
	{classFeature, regexp.MustCompile(`^(?:\w+ )?(?:added|additions?|features?|enhancements?|improvements?|new|feat)$`)},
	{classDependency, regexp.MustCompile(`^(?:\w+ )?(?:dependenc(?:y|ies)|deps)(?: (?:updates?|upgrades?|bumps?|changes?))?$`)},
	{classRemoved, regexp.MustCompile(`^(?:\w+ )?(?:removed|removals?)$`)},
	{classDeprecated, regexp.MustCompile(`^(?:\w+ )?(?:deprecat(?:ed|ions?)|deprecation notes?)$`)},
	{classAside, regexp.MustCompile(`^(?:\w+ )?(?:documentation|docs|doc|tests?|testing|ci|contributors|new contributors|thanks|acknowledge?ments|credits)$`)},
}

var notLetters = regexp.MustCompile(`[^a-z]+`)

// classOf is the class of a heading, 0 for none.
func classOf(u *unit) class {
	if len(u.prose) > 80 {
		return 0
	}
	words := strings.TrimSpace(string(notLetters.ReplaceAll(u.prose, []byte(" "))))
	for _, h := range headings {
		if h.words.MatchString(words) {
			return h.class
		}
	}
	return 0
}

// label is the class of a paragraph that is a heading in all but its marks:
// short, and with a colon at its end or in strong type or capitals throughout.
func (d *document) label(n ast.Node, u *unit) (class, bool) {
	said := bytes.TrimSpace(u.said)
	if len(said) == 0 || len(said) > 60 {
		return 0, false
	}
	only := func() bool {
		first := n.FirstChild()
		return first != nil && first.NextSibling() == nil && first.Kind() == ast.KindEmphasis
	}
	capitals := bytes.ContainsAny(said, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") && !bytes.ContainsAny(said, "abcdefghijklmnopqrstuvwxyz0123456789")
	if said[len(said)-1] != ':' && !capitals && (n == nil || !only()) {
		return 0, false
	}
	return classOf(u), true
}

// tags are what stands in front of a statement: "[SECURITY]", "security:",
// "fix(security)!:", "BREAKING:". The first group is what the tag says.
var tags = regexp.MustCompile(`^[^a-z0-9]*(?:(?:pr |gh)?#?\d+[\])]*:? *)?[^a-z0-9]*((?:[a-z]+(?:(?:[/,] ?[a-z]+){1,3}| (?:fix|fixes|fixed|update|changes?|advisory|issue|patch))?)(?:\([^()]{0,40}\))?!?)[\])*]*(?::| [-\x{2013}\x{2014}] |\])`)

// conventional are the types of Conventional Commits, and what changelogs make
// of them.
var conventional = map[string]class{
	"security": classSecurity, "sec": classSecurity, "vuln": classRepairs, "vulnerability": classRepairs, "cve": classRepairs,
	"security fix": classRepairs, "security fixes": classRepairs, "security issue": classRepairs, "security advisory": classRepairs,
	"security patch": classRepairs, "security update": classRepairs,
	"fix": classFix, "fixed": classFix, "fixes": classFix, "bugfix": classFix, "bug": classFix, "bug fix": classFix, "hotfix": classFix,
	"feat": classFeature, "feature": classFeature, "added": classFeature, "add": classFeature, "enhancement": classFeature, "new": classFeature,
	"docs": classAside, "doc": classAside, "documentation": classAside, "test": classAside, "tests": classAside, "ci": classAside, "style": classAside,
	"breaking": classBreaking, "breaking change": classBreaking, "breaking changes": classBreaking,
	"removed": classRemoved, "deprecated": classDeprecated, "deps": classDependency,
}

// tag is the class of what stands in front of a statement, and where it ends.
func tag(prose []byte) (class, int) {
	m := tags.FindSubmatchIndex(prose)
	if m == nil {
		return 0, 0
	}
	word := string(prose[m[2]:m[3]])
	var c class
	if strings.HasSuffix(word, "!") {
		c |= classBreaking
		word = word[:len(word)-1]
	}
	kind, about, _ := strings.Cut(strings.TrimSuffix(word, ")"), "(")
	for part := range strings.FieldsFuncSeq(kind, func(r rune) bool { return r == '/' || r == ',' }) {
		c |= conventional[strings.TrimSpace(part)]
	}
	for part := range strings.FieldsFuncSeq(about, func(r rune) bool { return r < 'a' || r > 'z' }) {
		switch {
		case part == "deps" || part == "dependencies":
			c |= classDependency
		case (part == "security" || part == "sec") && c&classAside == 0:
			c |= classSecurity
		}
	}
	if c == 0 {
		return 0, 0
	}
	return c, m[1]
}

// noProse are the parts of a statement in which a word says nothing.
var noProse = []struct {
	trigger string
	parts   *regexp.Regexp
	with    byte
}{
	{"://", regexp.MustCompile(`[a-z][a-z0-9+.-]*://[^\s<>()\[\]"']+`), blankURL},
	{"www.", regexp.MustCompile(`\bwww\.[^\s<>()\[\]"']+`), blankURL},
	{":\x01", regexp.MustCompile(`:[a-z][\w+-]*:\x01`), blank}, // a role of reStructuredText
	{"@", regexp.MustCompile(`@[a-z0-9][\w/-]*`), blank},
	{"--", regexp.MustCompile(`--[a-z][\w-]*(?:=\S+)?`), blank},
	{"/", regexp.MustCompile(`(?:^|[\s("'])\.{0,2}/[\w.*-][\w./*-]*|[\w.~-]+/[\w.-]+/[\w./-]*`), blank},
	{".", regexp.MustCompile(`\b[a-z_][\w-]*(?:\[\]|\[\w+\])?(?:\.[a-z_*][\w-]*(?:\[\])?)+`), blank},
	{"=", regexp.MustCompile(`\b[a-z_][\w-]*=\S+`), blank},
}

// blankOut blanks what is no prose.
func (u *unit) blankOut() {
	for _, p := range noProse {
		if !bytes.Contains(u.prose, []byte(p.trigger)) {
			continue
		}
		for _, m := range p.parts.FindAllIndex(u.prose, -1) {
			for i := m[0]; i < m[1]; i++ {
				if u.prose[i] >= ' ' {
					u.prose[i] = p.with
				}
			}
		}
	}
}

// noEnd are words with a full stop that ends no sentence.
var noEnd = map[string]bool{"e.g": true, "i.e": true, "vs": true, "cf": true, "resp": true, "incl": true, "approx": true, "etc": true, "no": true, "ca": true}

// maxSentence is how many bytes a sentence has before it ends at the next word.
const maxSentence = 2000

// sentences hands each sentence to a function, by its offsets.
func (u *unit) sentences(visit func(from, to int)) {
	from := 0
	end := func(to, next int) {
		for from < to && u.said[from] == ' ' {
			from++
		}
		if from < to {
			visit(from, to)
		}
		from = next
	}
	for i := 0; i < len(u.prose); i++ {
		switch c := u.prose[i]; {
		case c == sentenceEnd, c == ' ' && i-from > maxSentence:
			end(i, i+1)
		case (c == '.' || c == '!' || c == '?' || c == ';') && i+1 < len(u.prose) && u.prose[i+1] == ' ':
			word := u.said[bytes.LastIndexByte(u.said[:i], ' ')+1 : i]
			if c == '.' && noEnd[strings.ToLower(string(bytes.TrimLeft(word, "(\"'")))] {
				continue
			}
			if after := bytes.TrimLeft(u.said[i+1:], " "); c == '.' && len(after) > 0 && after[0] >= 'a' && after[0] <= 'z' {
				continue
			}
			end(i+1, i+1)
		}
	}
	end(len(u.prose), len(u.prose))
}
