package monitor

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/history"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Severity is how much a finding matters.
type Severity string

// The severities, in the words of the rest of the product.
const (
	Info     Severity = "info"
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)

// The rules beside those of package history, by the ids that scripts and alerts
// name.
const (
	RuleSignature = "checkpoint-signature" // no known key of the log signed the checkpoint, or a signature is false
	RuleFork      = "log-fork"             // two signed checkpoints that no one log can have
	RuleEntries   = "log-entries"          // the entries that are sent do not lead to the signed root
	RuleRollback  = "log-rollback"         // the log that is shown is shorter than it was
	RuleQuorum    = "witness-quorum"       // too few witnesses cosigned the checkpoint
	RuleClock     = "log-clock"            // the newest leaf is from the future
	RuleUnknown   = "leaf-unknown"         // there are leaves that this version does not know
	RuleKey       = "log-key"              // the key that is trusted is none that the log's rotations name
	RuleBlind     = "log-unreachable"      // nothing could be checked for a while

	RuleArchive        = "archive-digest"    // the archive that is served is not that of the leaf
	RuleArchiveMissing = "archive-missing"   // no archive is served, and no leaf says why
	RuleArchiveServed  = "archive-served"    // an archive is served that a leaf withdrew
	RuleProvenance     = "provenance-digest" // the provenance that is served is not that of the leaf
	RuleProvenanceGone = "provenance-missing"
	RuleIndexUnlogged  = "index-unlogged" // the index lists what has no leaf
	RuleIndexDigest    = "index-digest"   // the index lists another digest than the leaf has
	RuleIndexHidden    = "index-hidden"   // the index lists what was yanked or withdrawn
	RuleIndexMissing   = "index-missing"  // the index leaves out what has a leaf
	RuleTagUnlogged    = "tag-unlogged"   // a tag that reads as a version has no leaf
	RuleTagHidden      = "tag-hidden"     // a tag is listed of what was yanked or withdrawn
	RuleTagDigest      = "tag-digest"     // a tag stands on another manifest than the leaf says
	RuleProject        = "project-unreadable"
	RuleUnannounced    = "release-unannounced"  // nobody announced a release
	RuleOtherBytes     = "release-other-digest" // what was announced under this name were other bytes
	RuleMore           = "more"                 // there is more of the same than is told one by one
)

// kind is what is so of every finding of a rule. A finding is proven when a
// digest, a signature or a proof does not hold, which no accident and no delay
// explains.
type kind struct {
	severity Severity
	proven   bool
	question string // what somebody has to find out now
}

var kinds = map[string]kind{
	RuleSignature: {Critical, true, "was the key changed without a rotation, or does somebody else answer?"},
	RuleFork:      {Critical, true, "who else has seen which of the two?"},
	RuleEntries:   {Critical, true, "does the server lie, or does a cache in between?"},
	RuleRollback:  {Critical, false, "was a backup put back, or does a cache answer?"},
	RuleQuorum:    {High, false, "are the witnesses reachable, and what do they say?"},
	RuleClock:     {Medium, false, "which of the clocks is wrong?"},
	RuleUnknown:   {Low, false, "is there a newer chartkeep?"},
	RuleKey:       {High, false, "where did the trusted key come from?"},
	RuleBlind:     {High, false, "can others reach the server?"},

	RuleArchive:        {Critical, true, "who fetched it, and who runs it?"},
	RuleArchiveMissing: {High, false, "where is the archive, and where is a copy?"},
	RuleArchiveServed:  {High, false, "who fetched it?"},
	RuleProvenance:     {Critical, true, "who replaced it?"},
	RuleProvenanceGone: {Medium, false, "where is it?"},
	RuleIndexUnlogged:  {Critical, false, "who added it, and who fetched it?"},
	RuleIndexDigest:    {Critical, true, "who fetched it, and who runs it?"},
	RuleIndexHidden:    {High, false, "who still gets it?"},
	RuleIndexMissing:   {Medium, false, "to whom is it not shown?"},
	RuleTagUnlogged:    {Critical, false, "who added it, and who fetched it?"},
	RuleTagHidden:      {High, false, "who still gets it?"},
	RuleTagDigest:      {Critical, true, "who fetched it, and who runs it?"},
	RuleProject:        {Medium, false, "may the monitor's token read it?"},
	RuleUnannounced:    {High, false, "which pipeline made it, and with whose credential?"},
	RuleOtherBytes:     {Critical, false, "which pipeline made it, and with whose credential?"},
	RuleMore:           {High, false, ""},
}

// kindOf is the kind of a rule. Those of package history are about leaves that
// the log signed.
func kindOf(rule string) kind {
	if k, ok := kinds[rule]; ok {
		return k
	}
	k := kind{severity: Critical, proven: true, question: "did the server's own program write this leaf?"}
	switch rule {
	case history.RuleTime, history.RuleLeaf, history.RuleFile, history.RuleName:
		k.severity = High
	}
	return k
}

// Rules lists the rules that are this package's own.
func Rules() []string {
	var out []string
	for r := range kinds {
		out = append(out, r)
	}
	return out
}

// Finding is something that does not hold.
type Finding struct {
	// ID names what was found: the same again has the same.
	ID       string         `json:"id"`
	Rule     string         `json:"rule"`
	Severity Severity       `json:"severity"`
	Proven   bool           `json:"proven"` // a digest, a signature or a proof does not hold
	Log      string         `json:"log"`    // origin
	Server   string         `json:"server"`
	Project  string         `json:"project,omitempty"`
	Chart    string         `json:"chart,omitempty"`
	Version  string         `json:"version,omitempty"`
	Index    int64          `json:"log_index"` // of the leaf that it is about, -1 for none
	Message  string         `json:"message"`
	Facts    []problem.Fact `json:"facts,omitempty"`
	Question string         `json:"question,omitempty"`
	First    time.Time      `json:"first"` // when it was found
	// Evidence is the file that shows it to others, "" for none.
	Evidence string `json:"evidence,omitempty"`
	// Standing findings are about leaves: they do not go away.
	Standing bool `json:"standing"`
	Accepted bool `json:"accepted,omitempty"` // somebody knows of it: it no longer fails a run

	// Area is what has to be checked again for a finding to be over.
	Area string `json:"-"`
	// leaf is the newest one that it rests on, for what a later leaf would
	// explain; 0 where none would.
	leaf int64
}

// Key names one occurrence: what was over and comes again is told again.
func (f *Finding) Key() string {
	if f.Standing {
		return f.ID
	}
	return fmt.Sprintf("%s/%d", f.ID, f.First.Unix())
}

// Ref names the release that a finding is about, or what is known of it.
func (f *Finding) Ref() string {
	s := f.Project
	if f.Chart != "" {
		s += "/" + f.Chart
	}
	if f.Version != "" {
		s += "@" + f.Version
	}
	if s == "" {
		return f.Log
	}
	return s
}

// with adds a fact.
func (f *Finding) with(label, format string, args ...any) *Finding {
	f.Facts = append(f.Facts, problem.Fact{Label: label, Value: fmt.Sprintf(format, args...)})
	return f
}

// idOf makes the id of a finding from what tells it from others.
func idOf(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:8])
}
