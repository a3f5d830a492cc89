package notes

import (
	"bytes"
	"regexp"
	"strings"
)

// pattern finds words in prose. Most sentences have none of the words that a
// pattern is about; to look for those first makes a reader ten times as fast.
type pattern struct {
	*regexp.Regexp
	near [][]byte // one of them is in everything that the expression finds; none is no bound
}

// near is a pattern that finds nothing in a text without one of some words,
// which | parts.
func near(words, expr string) pattern {
	p := always(expr)
	for w := range strings.SplitSeq(words, "|") {
		p.near = append(p.near, []byte(w))
	}
	return p
}

// always is a pattern without words to look for first.
func always(expr string) pattern { return pattern{Regexp: regexp.MustCompile(expr)} }

// Match says that the pattern is in a text.
func (p pattern) Match(b []byte) bool { return p.possible(b) && p.Regexp.Match(b) }

// FindIndex is the place of the first find, nil for none.
func (p pattern) FindIndex(b []byte) []int {
	if !p.possible(b) {
		return nil
	}
	return p.Regexp.FindIndex(b)
}

func (p pattern) possible(b []byte) bool {
	if p.near == nil {
		return true
	}
	for _, w := range p.near {
		if bytes.Contains(b, w) {
			return true
		}
	}
	return false
}

// first is the place of the first find of any of several patterns.
func first(all []pattern, b []byte) []int {
	var best []int
	for _, p := range all {
		if m := p.FindIndex(b); m != nil && (best == nil || m[0] < best[0]) {
			best = m
		}
	}
	return best
}
