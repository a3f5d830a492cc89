package tlog

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf8"
)

// What can be observed of an upstream's chart version.
const (
	ObservedSeen     = "seen"     // listed for the first time
	ObservedChanged  = "changed"  // listed with another digest
	ObservedVanished = "vanished" // listed no more
	ObservedReturned = "returned" // listed again after it had vanished
	ObservedArchive  = "archive"  // its archive was read
)

// Observation states what somebody else's chart source showed at a time. It is
// the only leaf whose names are foreign: pass them through Bounded.
type Observation struct {
	Upstream string    // our name for it, at most 256 bytes
	Source   string    // address where it was seen, at most 1024 bytes
	Chart    string    // at most 256 bytes, as Version; may be empty, since an index may leave it out
	Version  string    // may be empty
	Observed string    // ObservedSeen and so on
	Archive  string    // digest of the .tgz, sha256: as listed, or as read for ObservedArchive; empty unknown
	Content  string    // digest of the files in it, sha256; empty while it was not read
	Created  time.Time // as the upstream states it; zero when it does not
	Time     time.Time
}

// Type implements Leaf.
func (Observation) Type() string { return TypeObservation }

// When implements Leaf.
func (l Observation) When() time.Time { return l.Time }

// Marshal implements Leaf.
func (l Observation) Marshal() ([]byte, error) { return marshalLeaf(TypeObservation, l.lines) }

func (l *Observation) lines(c *codec) {
	c.line("upstream", textValue{&l.Upstream, maxName, required})
	c.line("source", textValue{&l.Source, maxText, required})
	c.line("chart", textValue{&l.Chart, maxName, optional})
	c.line("version", textValue{&l.Version, maxName, optional})
	c.line("observed", choiceValue{&l.Observed, []string{ObservedSeen, ObservedChanged, ObservedVanished, ObservedReturned, ObservedArchive}})
	c.line("tgz", digestValue{&l.Archive, sha256Only, optional})
	c.line("content", digestValue{&l.Content, sha256Only, optional})
	c.line("created", timeValue{&l.Created, optional})
	c.line("time", timeValue{&l.Time, required})
}

// Bounded returns the observation in a form that Marshal takes whatever a
// foreign index contains, so that one odd entry cannot keep the rest of a poll
// from being recorded: names and the address as BoundedName writes them, and
// digests and times that are none left out. Observed and Time stay.
func (l Observation) Bounded() Observation {
	l.Upstream, l.Chart, l.Version = BoundedName(l.Upstream), BoundedName(l.Chart), BoundedName(l.Version)
	l.Source = bounded(l.Source, maxText)
	for _, d := range []*string{&l.Archive, &l.Content} {
		if _, err := (digestValue{d, sha256Only, optional}).format(); err != nil {
			*d = ""
		}
	}
	if _, err := (timeValue{&l.Created, optional}).format(); err != nil {
		l.Created = time.Time{}
	}
	return l
}

// BoundedName is how a leaf names what a foreign index calls by any bytes of
// any length. It is the name itself where that is UTF-8 without NUL of at most
// 256 bytes; else the beginning of it, "~sha256:" and the digest of the whole.
// A name that ends like that is written in the same way, so two names have two
// bounded forms.
func BoundedName(name string) string { return bounded(name, maxName) }

const boundMark = "~sha256:"

func bounded(s string, most int) string {
	const suffix = len(boundMark) + 2*sha256.Size
	if len(s) <= most && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 &&
		!(len(s) >= suffix && strings.HasPrefix(s[len(s)-suffix:], boundMark)) {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	head := s[:min(len(s), most-suffix)]
	for range utf8.UTFMax - 1 { // not in the middle of a character
		if r, n := utf8.DecodeLastRuneInString(head); r != utf8.RuneError || n != 1 {
			break
		}
		head = head[:len(head)-1]
	}
	head = strings.Map(func(r rune) rune {
		if r == 0 || r == utf8.RuneError {
			return '?'
		}
		return r
	}, head)
	return head + boundMark + hex.EncodeToString(sum[:])
}
