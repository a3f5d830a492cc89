package tlog

import "time"

// What a sign-off can say.
const (
	SignoffAccepted = "accepted"
	SignoffDeclined = "declined"
)

// Signoff states that a person accepted or declined the review of moving a
// deployment from one chart version to another. The review's digest stands for
// all that it was made from. Names are foreign: they are as BoundedName writes
// them.
type Signoff struct {
	Deployment string // at most 256 bytes, as Chart, From and To
	Chart      string
	From       string
	To         string
	Archive    string // digest of To's .tgz, sha256
	Review     string // digest of the review, sha256
	Role       string // a word as in Yank.Reason
	Said       string // SignoffAccepted or SignoffDeclined
	Text       string // digest of the sign-off with its text and answers, sha256
	Signer     Identity
	Time       time.Time
}

// Type implements Leaf.
func (Signoff) Type() string { return TypeSignoff }

// When implements Leaf.
func (l Signoff) When() time.Time { return l.Time }

// Marshal implements Leaf.
func (l Signoff) Marshal() ([]byte, error) { return marshalLeaf(TypeSignoff, l.lines) }

func (l *Signoff) lines(c *codec) {
	c.line("deployment", textValue{&l.Deployment, maxName, required})
	c.line("chart", textValue{&l.Chart, maxName, required})
	c.line("from", textValue{&l.From, maxName, required})
	c.line("to", textValue{&l.To, maxName, required})
	c.line("tgz", digestValue{&l.Archive, sha256Only, required})
	c.line("review", digestValue{&l.Review, sha256Only, required})
	c.line("role", wordValue{&l.Role})
	c.line("said", choiceValue{&l.Said, []string{SignoffAccepted, SignoffDeclined}})
	c.line("text", digestValue{&l.Text, sha256Only, required})
	c.identity("signer", &l.Signer)
	c.line("time", timeValue{&l.Time, required})
}
