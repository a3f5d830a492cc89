package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// MaxEvidence is the largest evidence file in bytes that is read: two
// checkpoints and two proofs, all of the largest size.
const MaxEvidence = 2 << 20

const evidenceSchema = "log-evidence/v1"

// What evidence is of.
const (
	EvidenceFork   = "fork"         // two signed checkpoints that cannot both be of a log that only grew
	EvidenceEntry  = "second-entry" // two log entries for one release, or two for one place
	EvidenceAnswer = "answer"       // a server's answer that does not hold; it says nothing of what the log signed
)

// Evidence is what was found to be false, for somebody who was not there. A
// judge needs it and the log's key, from a source of his own; what it says in
// words, its time and its keys are claims of the finder.
type Evidence struct {
	Schema string    `json:"schema"`
	Kind   string    `json:"kind"`
	Found  string    `json:"found"` // in words
	Time   time.Time `json:"time"`  // by the finder's clock
	Server string    `json:"server,omitempty"`
	Origin string    `json:"log_origin"`
	Keys   []string  `json:"log_keys"` // that the finder trusted

	// Older and Newer are signed checkpoints. Prefix is the root (base64) that
	// the log under Newer had at the size of Older, and Consistency proves that:
	// when it is not the root that Older signs, one log cannot have signed both.
	Older       string   `json:"older,omitempty"`
	Newer       string   `json:"newer,omitempty"`
	Prefix      string   `json:"prefix_root,omitempty"`
	Consistency []string `json:"consistency,omitempty"` // base64

	// Proofs are proof files with the entries that contradict each other.
	Proofs []string `json:"proofs,omitempty"`

	// Release is what was asked for; Pinned and Served are what it was before,
	// and what came now. They are the finder's word.
	Release string `json:"release,omitempty"`
	Pinned  *Seen  `json:"pinned,omitempty"`
	Served  *Seen  `json:"served,omitempty"`
}

// Seen is what the finder says that he saw of a release.
type Seen struct {
	Digest string `json:"digest"` // of the archive
	Index  *int64 `json:"log_index,omitempty"`
}

// Marshal returns the text of an evidence file.
func (e Evidence) Marshal() ([]byte, error) {
	e.Schema = evidenceSchema
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("encode evidence: %w", err)
	}
	return b.Bytes(), nil
}

// ParseEvidence reads an evidence file. It checks the form alone; Judge checks
// the rest. Invalid for anything else, TooLarge over MaxEvidence.
func ParseEvidence(text []byte) (Evidence, error) {
	if len(text) > MaxEvidence {
		return Evidence{}, problem.New(problem.TooLarge, "evidence", "the evidence file has more than %d bytes", MaxEvidence)
	}
	var e Evidence
	if err := json.Unmarshal(text, &e); err != nil {
		return Evidence{}, problem.New(problem.Invalid, "evidence", "this is not an evidence file").Because(err)
	}
	switch e.Kind {
	case EvidenceFork, EvidenceEntry, EvidenceAnswer:
	default:
		e.Schema = ""
	}
	if e.Schema != evidenceSchema {
		return Evidence{}, problem.New(problem.Invalid, "evidence", "this is not an evidence file that this version knows").
			With("expected", "%s", evidenceSchema)
	}
	return e, nil
}

// The checks of a judgement.
const (
	CheckOlder         = "older-signature" // the log signed the older checkpoint, or the first entry's
	CheckNewer         = "newer-signature" // likewise the newer, or the second
	CheckContradiction = "contradiction"   // both cannot be true of one honest log
)

// Judgement is what evidence comes to.
type Judgement struct {
	Kind      string  `json:"kind"`
	Origin    string  `json:"log_origin"`
	Convicted bool    `json:"convicted"`
	Statement string  `json:"statement"`
	Checks    []Check `json:"checks"`
}

// Judge says whether evidence convicts the log that has a key: whether whoever
// holds that key signed what one honest log cannot have signed. logKey does not
// come from the evidence. more are proof files that complete it, such as the
// one that somebody kept when the release was fetched first.
//
// An error is one of the key alone. Nothing is believed that the key did not
// sign.
func (e Evidence) Judge(logKey string, more ...[]byte) (Judgement, error) {
	origin, keys, err := logKeys(logKey)
	if err != nil {
		return Judgement{}, err
	}
	if keys == nil {
		return Judgement{}, problem.New(problem.Invalid, "log-key", "evidence is judged with the key of the log that it is about")
	}
	j := judge{Judgement: Judgement{Kind: e.Kind, Origin: origin}}
	open := func(name string, text []byte) (cp tlog.Checkpoint, ok bool) {
		cp, err := tlog.OpenCheckpoint(text, origin, keys)
		if err != nil {
			j.add(name, outcomeOf(err), messageOf(err))
			return cp, false
		}
		j.add(name, Pass, "signed by the key of "+origin)
		return cp, true
	}
	proofs := e.Proofs
	for _, text := range more {
		proofs = append(proofs, string(text))
	}
	switch {
	case e.Kind == EvidenceFork:
		older, one := open(CheckOlder, []byte(e.Older))
		newer, two := open(CheckNewer, []byte(e.Newer))
		if one && two {
			e.judgeFork(&j, older, newer)
		}
	case e.Kind == EvidenceEntry && len(proofs) >= 2:
		var pair [2]tlog.Proof
		good := true
		for i, name := range []string{CheckOlder, CheckNewer} {
			p, err := tlog.ParseProof([]byte(proofs[i]))
			if err == nil {
				_, _, err = p.Verify(origin, keys)
			}
			if err != nil {
				j.add(name, outcomeOf(err), messageOf(err))
				good = false
				continue
			}
			j.add(name, Pass, fmt.Sprintf("entry %d is in a log that the key of %s signed", p.Index, origin))
			pair[i] = p
		}
		if good {
			judgeEntries(&j, pair)
		}
	case e.Kind == EvidenceEntry:
		j.add(CheckContradiction, Unchecked, "only one of the two entries is at hand; a proof file of the other one completes it")
	default:
		j.add(CheckContradiction, Unchecked, "the log signed nothing of this: it is the finder's word against the server's")
	}
	if j.Statement == "" {
		j.Statement = "this does not convict the log"
	}
	return j.Judgement, nil
}

type judge struct{ Judgement }

func (j *judge) add(name string, result Outcome, detail string) {
	j.Checks = append(j.Checks, Check{Name: name, Result: result, Detail: detail})
}

func (j *judge) convict(format string, args ...any) {
	j.Statement, j.Convicted = fmt.Sprintf(format, args...), true
	j.add(CheckContradiction, Pass, j.Statement)
}

// judgeFork needs no trust in how the proof was come by: it leads from Prefix to
// the newer root, and no other tree has that root.
func (e Evidence) judgeFork(j *judge, older, newer tlog.Checkpoint) {
	prefix, hashes, err := e.hashes()
	if err == nil {
		err = tlog.VerifyConsistency(older.Size, prefix, newer.Size, newer.Root, hashes)
	}
	switch {
	case err != nil:
		j.add(CheckContradiction, Unchecked, "it is not shown what the newer log was at the older size: "+messageOf(err))
	case prefix == older.Root:
		j.add(CheckContradiction, Fail, "the newer log contains the older one")
	case older.Size == newer.Size:
		j.convict("the key of %s signed two different logs of %d entries", older.Origin, older.Size)
	default:
		j.convict("the key of %s signed a log of %d entries, and then one of %d entries whose first %d are others", older.Origin, older.Size, newer.Size, older.Size)
	}
}

func judgeEntries(j *judge, pair [2]tlog.Proof) {
	a, b := releaseOf(pair[0].Leaf), releaseOf(pair[1].Leaf)
	switch {
	case pair[0].Index == pair[1].Index && !bytes.Equal(pair[0].Leaf, pair[1].Leaf):
		j.convict("the key of %s signed two logs whose entries %d differ", j.Origin, pair[0].Index)
	case pair[0].Index == pair[1].Index:
		j.add(CheckContradiction, Fail, "both proofs are of the same entry")
	case a == nil || b == nil || a.Project != b.Project || a.Chart != b.Chart || a.Version != b.Version:
		j.add(CheckContradiction, Fail, "the entries are not of one release")
	default:
		j.convict("%s/%s@%s has two entries in the log of %s: %d with %s, and %d with %s",
			a.Project, a.Chart, a.Version, j.Origin, pair[0].Index, a.Archive, pair[1].Index, b.Archive)
	}
}

// releaseOf is the release that a leaf is of, nil for none.
func releaseOf(text []byte) *tlog.Release {
	leaf, err := tlog.ParseLeaf(text)
	if err != nil {
		return nil
	}
	switch l := leaf.(type) {
	case tlog.Release:
		return &l
	case tlog.Legacy:
		return &l.Release
	}
	return nil
}

// hashes reads the root and the hashes of a fork.
func (e Evidence) hashes() (prefix tlog.Hash, out []tlog.Hash, err error) {
	read := func(text string) tlog.Hash {
		h, herr := parseHash(text)
		if herr != nil {
			err = herr
		}
		return h
	}
	prefix = read(e.Prefix)
	for _, text := range e.Consistency {
		out = append(out, read(text))
	}
	return prefix, out, err
}

// forkOf is the evidence of two checkpoints of which the newer one's log had
// another root at the older one's size.
func forkOf(older, newer tlog.Checkpoint, prefix tlog.Hash, hashes []tlog.Hash) Evidence {
	e := Evidence{
		Kind: EvidenceFork, Origin: newer.Origin, Older: string(older.Note), Newer: string(newer.Note), Prefix: prefix.String(),
		Found: fmt.Sprintf("the log %s signed one log of %d entries and another of %d, and the second does not begin with the first", newer.Origin, older.Size, newer.Size),
	}
	for _, h := range hashes {
		e.Consistency = append(e.Consistency, h.String())
	}
	return e
}

// FileName is a name for the file, which depends on what was found and not on
// when: a pipeline that finds the same again writes the same file.
func (e Evidence) FileName() string {
	e.Time = time.Time{}
	text, err := e.Marshal()
	if err != nil {
		return "chartkeep-evidence.json"
	}
	_, hex, _ := strings.Cut(digest.SHA256(text), ":")
	return "chartkeep-evidence-" + hex[:12] + ".json"
}

// outcomeOf tells what is proven false from what could not be checked.
func outcomeOf(err error) Outcome {
	if problem.KindOf(err) == problem.Disproven {
		return Fail
	}
	return Unchecked
}
