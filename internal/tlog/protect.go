package tlog

import "time"

// How one policy compares with the one before it.
const (
	PolicyStricter = "not-weaker" // it lets through nothing that was refused before
	PolicyWeaker   = "weaker"
)

// Policy states that a project has another policy from now on, and for what is
// released from now on: releases that are there keep the digest of the policy
// under which they were made.
type Policy struct {
	Project   string // at most 256 bytes
	Before    string // digest of the policy's document until now, sha256
	After     string // digest of the new document, sha256
	Change    string // PolicyStricter or PolicyWeaker
	Requester Identity
	Approver  Identity // a second person; zero where none was needed
	Time      time.Time
}

// Type implements Leaf.
func (Policy) Type() string { return TypePolicy }

// When implements Leaf.
func (l Policy) When() time.Time { return l.Time }

// Marshal implements Leaf.
func (l Policy) Marshal() ([]byte, error) { return marshalLeaf(TypePolicy, l.lines) }

func (l *Policy) lines(c *codec) {
	c.line("project", textValue{&l.Project, maxName, required})
	c.line("before", digestValue{&l.Before, sha256Only, required})
	c.line("after", digestValue{&l.After, sha256Only, required})
	c.line("change", choiceValue{&l.Change, []string{PolicyStricter, PolicyWeaker}})
	c.identity("requester", &l.Requester)
	c.secondIdentity("approver", &l.Approver)
	c.line("time", timeValue{&l.Time, required})
}

// What can happen to a release in quarantine.
const (
	QuarantineSet       = "set"       // one person blocked it, at every door
	QuarantineConfirmed = "confirmed" // a second person agreed; it stays blocked
	QuarantineLifted    = "lifted"
	QuarantineLapsed    = "lapsed" // nobody confirmed it in time; it is served again
)

// Quarantine states that a release is blocked, or is no more.
type Quarantine struct {
	Index   int64 // of the release's leaf
	Project string
	Chart   string
	Version string
	Action  string // QuarantineSet and so on
	Reason  string // a word as in Yank.Reason
	Text    string // at most 1024 bytes; may be empty
	Actor   Identity
	Time    time.Time
}

// Type implements Leaf.
func (Quarantine) Type() string { return TypeQuarantine }

// When implements Leaf.
func (l Quarantine) When() time.Time { return l.Time }

// Marshal implements Leaf.
func (l Quarantine) Marshal() ([]byte, error) { return marshalLeaf(TypeQuarantine, l.lines) }

func (l *Quarantine) lines(c *codec) {
	c.line("index", countValue{&l.Index})
	c.subject(&l.Project, &l.Chart, &l.Version)
	c.line("action", choiceValue{&l.Action, []string{QuarantineSet, QuarantineConfirmed, QuarantineLifted, QuarantineLapsed}})
	c.line("reason", wordValue{&l.Reason})
	c.line("text", textValue{&l.Text, maxText, optional})
	c.identity("actor", &l.Actor)
	c.line("time", timeValue{&l.Time, required})
}

// Tombstone states that the bytes of a release are served no more, for ever.
// Its name stays taken.
type Tombstone struct {
	Index     int64 // of the release's leaf
	Project   string
	Chart     string
	Version   string
	Archive   string // digest of the .tgz that it had, sha256
	Reason    string // a word as in Yank.Reason
	Text      string // at most 1024 bytes; may be empty
	Requester Identity
	Approver  Identity
	Time      time.Time
}

// Type implements Leaf.
func (Tombstone) Type() string { return TypeTombstone }

// When implements Leaf.
func (l Tombstone) When() time.Time { return l.Time }

// Marshal implements Leaf.
func (l Tombstone) Marshal() ([]byte, error) { return marshalLeaf(TypeTombstone, l.lines) }

func (l *Tombstone) lines(c *codec) {
	c.line("index", countValue{&l.Index})
	c.subject(&l.Project, &l.Chart, &l.Version)
	c.line("tgz", digestValue{&l.Archive, sha256Only, required})
	c.line("reason", wordValue{&l.Reason})
	c.line("text", textValue{&l.Text, maxText, optional})
	c.identity("requester", &l.Requester)
	c.identity("approver", &l.Approver)
	c.line("time", timeValue{&l.Time, required})
}

// Rotation states that the log is signed by a new key too from now on, and
// that the old one ends. It is the last word that has to be taken on trust of
// the old key: whoever pinned that one moves on to the new one by this leaf.
type Rotation struct {
	Old   string    // verifier key as in signed-note, at most 1024 bytes
	New   string    // likewise
	Until time.Time // from when on the old key signs no more
	Actor Identity
	Time  time.Time
}

// Type implements Leaf.
func (Rotation) Type() string { return TypeRotation }

// When implements Leaf.
func (l Rotation) When() time.Time { return l.Time }

// Marshal implements Leaf.
func (l Rotation) Marshal() ([]byte, error) { return marshalLeaf(TypeRotation, l.lines) }

func (l *Rotation) lines(c *codec) {
	c.line("old", textValue{&l.Old, maxText, required})
	c.line("new", textValue{&l.New, maxText, required})
	c.line("until", timeValue{&l.Until, required})
	c.identity("actor", &l.Actor)
	c.line("time", timeValue{&l.Time, required})
}
