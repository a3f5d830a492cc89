package client

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Outcome is what came of a check. "Could not be checked" is neither of the
// others, whatever the reason.
type Outcome string

// The outcomes.
const (
	Pass      Outcome = "pass"
	Fail      Outcome = "fail"
	Unchecked Outcome = "unchecked"
)

// The checks, in the order in which they are listed.
const (
	CheckDigest     = "digest"               // the archive's bytes are those of the log entry
	CheckContent    = "content-digest"       // so are the files in it
	CheckName       = "name-and-version"     // what was asked for, Chart.yaml and the log entry name one release
	CheckProject    = "project"              // the log entry is of the project that was asked for
	CheckProvenance = "provenance-digest"    // the provenance file is that of the log entry
	CheckInclusion  = "inclusion"            // the log of the checkpoint contains the entry
	CheckSignature  = "checkpoint-signature" // the log signed the checkpoint, by a key that the caller trusts
	CheckTime       = "log-time"             // the entry's time is not after now
	CheckYank       = "yank-state"           // what the server says; it is not proven

	// These need a memory, see Memory.
	CheckPin         = "pinned-digest"   // the archive is the one that was verified before
	CheckEntry       = "pinned-entry"    // so is its log entry: there is no second one
	CheckCovered     = "covered"         // the entry is in the log as far as it is believed and remembered
	CheckConsistency = "consistency"     // all checkpoints at hand are of one log that only grew
	CheckWitness     = "witness-quorum"  // as many witnesses as the policy asks for saw the same log
	CheckFresh       = "freshness"       // the log is not older than what was seen before
	CheckManifest    = "manifest-digest" // the OCI manifest is that of the log entry
	CheckFetch       = "fetch"           // what is to be checked could be had; listed when it could not
)

// Check is one thing that was looked at.
type Check struct {
	Name   string  `json:"name"`
	Result Outcome `json:"result"`
	Detail string  `json:"detail"`

	optional bool // left unchecked, it does not make the verdict incomplete
}

// Verdict is what all checks come to.
type Verdict string

// The verdicts. Failed: something is proven false. Incomplete: nothing is, but
// a check that the statement rests on could not be made. Passed: the archive
// is what the log says, and the log's key says so.
const (
	Passed     Verdict = "pass"
	Failed     Verdict = "fail"
	Incomplete Verdict = "incomplete"
)

// Subject is what Verify looks at. It fetches nothing.
type Subject struct {
	Archive    io.ReadSeeker // read from its start, twice
	Proof      []byte        // the .tlog-proof file; nil when there is none
	Provenance []byte        // the .prov file; nil when there is none
	Manifest   []byte        // the OCI manifest that led to the archive; nil when none did
	File       string        // the name that the archive has in a repository; "" does not matter

	// LogKey is the log's verifier key from a source that is not the server:
	// a key fetched from the server that it is to check proves nothing. ""
	// leaves the signature unchecked. While a log changes its key there may be
	// several, one a line.
	LogKey string

	// Asked is what the archive is supposed to be. Empty fields were not asked.
	Asked Ref
	// Server is what a server says of the release; nil when none was asked.
	Server *Release
	Now    time.Time

	// Signers are whose signatures are checked; nil checks none.
	Signers *Signers

	// Remembered is what was verified of the release before, nil where nothing
	// is remembered at all. With an empty list this is the first time.
	Remembered *[]Pin
}

// Logged is what the log entry of a proof says. It is to be believed only as
// far as the checks say.
type Logged struct {
	Type          string    `json:"type"` // chartkeep/release/v1, or chartkeep/legacy/v1 for imported history
	Project       string    `json:"project"`
	Chart         string    `json:"chart"`
	Version       string    `json:"version"`
	Digest        string    `json:"digest"`
	Size          int64     `json:"size"`
	ContentDigest string    `json:"content_digest"`
	Provenance    string    `json:"provenance,omitempty"`
	Publisher     string    `json:"publisher"` // account id
	Time          time.Time `json:"time"`
	Origin        string    `json:"log_origin,omitempty"`
	Index         int64     `json:"log_index"`
	LogSize       int64     `json:"log_size,omitempty"` // of the checkpoint in the proof
	SeenAt        string    `json:"seen_at,omitempty"`  // of history: the old repository's address
	SeenDigest    string    `json:"seen_digest,omitempty"`
}

// Legacy reports whether the release was taken over from an old repository:
// then the log proves that it did not change since, and nothing of the time
// before.
func (l Logged) Legacy() bool { return l.Type == tlog.TypeLegacy }

// Verification is what came of it. Verdict is Failed exactly when a check is.
type Verification struct {
	Digest  string  `json:"digest"` // of the archive, as it was computed here
	Logged  *Logged `json:"logged,omitempty"`
	Checks  []Check `json:"checks"`
	Verdict Verdict `json:"verdict"`
}

// Missing names the checks that were not made and on which the verdict rests.
func (v Verification) Missing() []string {
	var names []string
	for _, c := range v.Checks {
		if c.Result == Unchecked && !c.optional {
			names = append(names, c.Name)
		}
	}
	return names
}

// clockSkew is how far the clocks of a log and a reader may differ.
const clockSkew = 10 * time.Minute

// Verify holds an archive against a proof. The archive is not opened before
// its digest was found to be that of the log entry. An error is one of reading
// the archive, or of a log key that is none (Invalid, rule "log-key"); whatever
// the other bytes are, it is told in the checks.
func Verify(s Subject) (Verification, error) {
	origin, keys, err := logKeys(s.LogKey)
	if err != nil {
		return Verification{}, err
	}
	sum, err := sumOf(s.Archive)
	if err != nil {
		return Verification{}, err
	}
	v := &verifier{Subject: s, origin: origin, keys: keys, out: Verification{Digest: sum}}
	if err := v.run(); err != nil {
		return Verification{}, err
	}
	v.out.Verdict = verdictOf(v.out.Checks)
	return v.out, nil
}

// logKeys reads the keys of one log, one a line, and its origin; nil for none.
func logKeys(text string) (origin string, keys note.Verifiers, err error) {
	var list []note.Verifier
	for line := range strings.Lines(text) {
		v, err := tlog.NewVerifier(line)
		if err != nil {
			return "", nil, err
		}
		if origin != "" && origin != v.Name() {
			return "", nil, problem.New(problem.Invalid, "log-key", "these are keys of two logs").
				With("one", "%s", origin).With("other", "%s", v.Name())
		}
		origin, list = v.Name(), append(list, v)
	}
	if list == nil {
		return "", nil, nil
	}
	return origin, note.VerifierList(list...), nil
}

// sumOf hashes a file from its start.
func sumOf(r io.ReadSeeker) (string, error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("read archive: %w", err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", fmt.Errorf("read archive: %w", err)
	}
	return digest.Of("sha256", h), nil
}

func verdictOf(checks []Check) Verdict {
	verdict := Passed
	for _, c := range checks {
		switch {
		case c.Result == Fail:
			return Failed
		case c.Result == Unchecked && !c.optional:
			verdict = Incomplete
		}
	}
	return verdict
}

// verifier makes the checks of one Verify.
type verifier struct {
	Subject
	origin string         // of the log that has the keys
	keys   note.Verifiers // nil: none given
	proof  tlog.Proof
	leaf   *tlog.Release // nil: the proof is missing, not readable, or not of a release
	none   string        // why leaf is nil
	closed string        // why the archive must not be opened, "" when it may
	out    Verification
}

func (v *verifier) add(name string, result Outcome, format string, args ...any) {
	v.out.Checks = append(v.out.Checks, Check{Name: name, Result: result, Detail: fmt.Sprintf(format, args...)})
}

// note adds an unchecked check on which the verdict does not rest.
func (v *verifier) note(name, format string, args ...any) {
	v.out.Checks = append(v.out.Checks, Check{Name: name, Result: Unchecked, Detail: fmt.Sprintf(format, args...), optional: true})
}

func (v *verifier) run() error {
	v.checkPin()
	readable := v.readProof()
	v.checkEntry()
	archive, err := v.checkBytes()
	if err != nil {
		return err
	}
	v.checkName(archive)
	v.checkProject()
	v.checkProvenance(archive)
	if err := v.checkSigners(archive); err != nil {
		return err
	}
	v.checkManifest()
	v.checkInclusion(readable)
	v.checkSignature(readable)
	v.checkTime()
	if v.Server != nil {
		v.note(CheckYank, "the server says: %s", yankState(v.Server))
	}
	return nil
}

// checkPin compares with what was verified before, and comes before anything
// else that is said of the archive.
func (v *verifier) checkPin() {
	if v.Remembered == nil {
		return
	}
	if len(*v.Remembered) == 0 {
		v.note(CheckPin, "verified for the first time: nothing is remembered that could differ")
		return
	}
	for _, p := range *v.Remembered {
		if p.Digest != v.out.Digest {
			v.closed = "an archive with another digest than the one that is remembered is not opened"
			v.add(CheckPin, Fail, "the archive is %s, and was %s when it was verified before", v.out.Digest, p.Digest)
			return
		}
	}
	v.add(CheckPin, Pass, "the bytes are those that were verified before")
}

// checkEntry compares the place in the log: a release has one entry.
func (v *verifier) checkEntry() {
	if v.Remembered == nil || len(*v.Remembered) == 0 {
		return
	}
	if v.leaf == nil {
		v.add(CheckEntry, Unchecked, "%s", v.none)
		return
	}
	origin := ""
	if cp, err := tlog.ParseCheckpoint(v.proof.Checkpoint); err == nil {
		origin = cp.Origin
	}
	for _, p := range *v.Remembered {
		if p.Origin == origin && p.Index != v.proof.Index {
			v.add(CheckEntry, Fail, "it is entry %d now, and was entry %d when it was verified before: one release has two entries", v.proof.Index, p.Index)
			return
		}
	}
	v.add(CheckEntry, Pass, "it is entry %d as before", v.proof.Index)
}

// checkManifest compares the OCI manifest that led to the archive.
func (v *verifier) checkManifest() {
	switch {
	case v.Manifest == nil:
	case v.leaf == nil:
		v.add(CheckManifest, Unchecked, "%s", v.none)
	case !digest.Matches(v.Manifest, v.leaf.Manifest):
		v.add(CheckManifest, Fail, "the OCI manifest is %s, but the log entry says %s", digest.SHA256(v.Manifest), v.leaf.Manifest)
	default:
		v.add(CheckManifest, Pass, "the OCI manifest is that of the log entry")
	}
}

// readProof reads proof and leaf. It reports whether the proof can be checked,
// which it can for any leaf.
func (v *verifier) readProof() bool {
	if v.Proof == nil {
		v.none = "there is no proof to hold it against"
		return false
	}
	var err error
	if v.proof, err = tlog.ParseProof(v.Proof); err != nil {
		v.none = "the proof cannot be read: " + messageOf(err)
		return false
	}
	leaf, err := tlog.ParseLeaf(v.proof.Leaf)
	if err != nil {
		v.none = "the log entry in the proof cannot be read: " + messageOf(err)
		return true
	}
	logged := Logged{Type: leaf.Type(), Index: v.proof.Index}
	switch l := leaf.(type) {
	case tlog.Release:
		v.leaf = &l
	case tlog.Legacy:
		v.leaf = &l.Release
		logged.SeenAt, logged.SeenDigest = l.Origin, l.SeenDigest
	default:
		v.none = "the proof is of a log entry of type " + leaf.Type() + ", which is no release"
		return true
	}
	logged.Project, logged.Chart, logged.Version = v.leaf.Project, v.leaf.Chart, v.leaf.Version
	logged.Digest, logged.Size, logged.ContentDigest = v.leaf.Archive, v.leaf.Size, v.leaf.Content
	logged.Provenance, logged.Publisher, logged.Time = v.leaf.Provenance, v.leaf.Publisher.Subject, v.leaf.Time
	v.out.Logged = &logged
	return true
}

// checkBytes compares both digests. It returns the archive when it is the one
// of the log entry and could be opened.
func (v *verifier) checkBytes() (*chart.Archive, error) {
	if v.leaf == nil {
		v.add(CheckDigest, Unchecked, "%s", v.none)
		v.add(CheckContent, Unchecked, "%s", v.none)
		return nil, nil
	}
	if v.out.Digest != v.leaf.Archive {
		v.add(CheckDigest, Fail, "the archive is %s, but the log entry says %s", v.out.Digest, v.leaf.Archive)
		v.add(CheckContent, Unchecked, "an archive with another digest is not opened")
		return nil, nil
	}
	v.add(CheckDigest, Pass, "the bytes are those of the log entry")
	if v.closed != "" {
		v.add(CheckContent, Unchecked, "%s", v.closed)
		return nil, nil
	}
	if _, err := v.Archive.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	a, err := chart.Open(v.Archive, chart.DefaultLimits())
	switch p, isProblem := problem.As(err); {
	case isProblem:
		v.add(CheckContent, Unchecked, "the archive cannot be opened: %s", p.Message)
		return nil, nil
	case err != nil:
		return nil, err
	case a.Digest != v.leaf.Archive:
		v.add(CheckContent, Unchecked, "the file changed while it was read")
		return nil, nil
	case a.Content != v.leaf.Content:
		v.add(CheckContent, Fail, "the files are %s, but the log entry says %s", a.Content, v.leaf.Content)
	default:
		v.add(CheckContent, Pass, "the files are those of the log entry")
	}
	return &a, nil
}

// checkName compares what was asked for, what Chart.yaml says and what is
// logged.
func (v *verifier) checkName(a *chart.Archive) {
	if v.leaf == nil {
		v.add(CheckName, Unchecked, "%s", v.none)
		return
	}
	logged := v.leaf.Chart + " " + v.leaf.Version
	if chartName := cmp.Or(v.Asked.Chart, v.leaf.Chart); chartName != v.leaf.Chart || cmp.Or(v.Asked.Version, v.leaf.Version) != v.leaf.Version {
		v.add(CheckName, Fail, "asked for %s %s, but the log entry says %s", chartName, cmp.Or(v.Asked.Version, v.leaf.Version), logged)
		return
	}
	if v.File != "" && v.File != chart.FileName(v.leaf.Chart, v.leaf.Version) {
		v.add(CheckName, Fail, "asked for the file %s, but the log entry says %s", v.File, logged)
		return
	}
	if a == nil {
		v.add(CheckName, Unchecked, "the log entry says %s; Chart.yaml was not read", logged)
		return
	}
	if a.Metadata.Name != v.leaf.Chart || a.Metadata.Version != v.leaf.Version {
		v.add(CheckName, Fail, "Chart.yaml says %s %s, but the log entry says %s", a.Metadata.Name, a.Metadata.Version, logged)
		return
	}
	v.add(CheckName, Pass, "%s, in Chart.yaml as in the log entry", logged)
}

func (v *verifier) checkProject() {
	switch {
	case v.leaf == nil && v.Asked.Project == "":
	case v.leaf == nil:
		v.add(CheckProject, Unchecked, "%s", v.none)
	case v.Asked.Project == "":
		v.note(CheckProject, "%s in the log entry; none was asked for", v.leaf.Project)
	case v.Asked.Project != v.leaf.Project:
		v.add(CheckProject, Fail, "asked for %s, but the log entry says %s", v.Asked.Project, v.leaf.Project)
	default:
		v.add(CheckProject, Pass, "%s, as was asked", v.leaf.Project)
	}
}

// checkProvenance compares the provenance file. One that came after the
// release is no part of the release's entry; then all that can be held against
// it is what it says itself of the archive.
func (v *verifier) checkProvenance(a *chart.Archive) {
	switch {
	case v.Provenance == nil && (v.leaf == nil || v.leaf.Provenance == ""):
	case v.leaf == nil:
		v.add(CheckProvenance, Unchecked, "%s", v.none)
	case v.Provenance == nil:
		v.note(CheckProvenance, "the release has provenance, and there is no file of it here")
	case v.leaf.Provenance == "":
		prov, err := chart.ParseProvenance(v.Provenance)
		if err == nil && a != nil {
			err = prov.Check(a.Metadata, a.Digest)
			if err != nil {
				v.add(CheckProvenance, Fail, "the file is not that of this archive: %s", messageOf(err))
				return
			}
		}
		if err != nil {
			v.add(CheckProvenance, Unchecked, "the file cannot be read: %s", messageOf(err))
			return
		}
		v.note(CheckProvenance, "the release was made without provenance: the file came later, and this proof is not of it")
	case digest.SHA256(v.Provenance) != v.leaf.Provenance:
		v.add(CheckProvenance, Fail, "the file is %s, but the log entry says %s", digest.SHA256(v.Provenance), v.leaf.Provenance)
	default:
		v.add(CheckProvenance, Pass, "the file is that of the log entry")
	}
}

func (v *verifier) checkInclusion(readable bool) {
	if !readable {
		v.add(CheckInclusion, Unchecked, "%s", v.none)
		return
	}
	cp, err := tlog.ParseCheckpoint(v.proof.Checkpoint)
	if err != nil {
		v.add(CheckInclusion, Unchecked, "the checkpoint in the proof cannot be read: %s", messageOf(err))
		return
	}
	if v.out.Logged != nil {
		v.out.Logged.Origin, v.out.Logged.LogSize = cp.Origin, cp.Size
	}
	if err := tlog.VerifyInclusion(cp.Root, cp.Size, v.proof.Index, tlog.LeafHash(v.proof.Leaf), v.proof.Hashes); err != nil {
		v.add(CheckInclusion, Fail, "the proof does not lead from entry %d to the checkpoint of %d entries", v.proof.Index, cp.Size)
		return
	}
	v.add(CheckInclusion, Pass, "it is entry %d of the %d that the checkpoint covers", v.proof.Index, cp.Size)
}

func (v *verifier) checkSignature(readable bool) {
	if !readable {
		v.add(CheckSignature, Unchecked, "%s", v.none)
		return
	}
	if v.keys == nil {
		v.add(CheckSignature, Unchecked, "no log key was given; one fetched from the server that it checks would prove nothing")
		return
	}
	cp, err := tlog.OpenCheckpoint(v.proof.Checkpoint, v.origin, v.keys)
	switch {
	case err == nil:
		v.add(CheckSignature, Pass, "signed by the key of %s", cp.Origin)
	case problem.KindOf(err) == problem.Disproven:
		v.add(CheckSignature, Fail, "%s; the key is that of %s", messageOf(err), v.origin)
	default:
		v.add(CheckSignature, Unchecked, "the checkpoint in the proof cannot be read: %s", messageOf(err))
	}
}

func (v *verifier) checkTime() {
	if v.leaf == nil {
		return
	}
	at := v.leaf.Time.UTC().Format(time.RFC3339)
	if v.leaf.Time.After(v.Now.Add(clockSkew)) {
		v.add(CheckTime, Unchecked, "the log entry says %s, and here it is %s: one of both clocks is wrong", at, v.Now.UTC().Format(time.RFC3339))
		return
	}
	v.add(CheckTime, Pass, "%s", at)
}

func yankState(r *Release) string {
	if r.Yank == nil {
		return "not yanked"
	}
	s := fmt.Sprintf("yanked %s by %s: %s", r.Yank.Time.UTC().Format(time.RFC3339), cmp.Or(r.Yank.ByName, r.Yank.By), r.Yank.Reason)
	if r.Yank.Text != "" {
		s += ", " + r.Yank.Text
	}
	return s
}

// messageOf is a problem's own sentence.
func messageOf(err error) string {
	if p, ok := problem.As(err); ok {
		return p.Message
	}
	return err.Error()
}

// CutShort is the problem of an archive that stopped before its end, and any
// other problem that reading it ran into as it is. A server stops short of the
// last byte when what it has stored does not match its digest.
func CutShort(what string, err error) error {
	if _, ok := problem.As(err); ok || errors.Is(err, context.Canceled) {
		return err
	}
	return problem.New(problem.Unavailable, "answer-cut", "the archive of %s ended early", what).
		With("reason", "%v", err).
		Suggest("try again; if it happens each time, the server cannot vouch for what it has stored").
		Because(err)
}

// Verify fetches archive, provenance and proof of a release and verifies them.
// A reference without a version, or with "latest", is what the server takes
// for the newest one.
func (c *Client) Verify(ctx context.Context, ref Ref, logKey string, now time.Time) (Verification, error) {
	s, err := c.fetchRelease(ctx, ref)
	if err != nil {
		return Verification{}, err
	}
	s.LogKey, s.Now = logKey, now
	return Verify(s)
}
