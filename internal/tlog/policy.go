package tlog

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Limits of a witness policy. The specification asks for at least 32 of each.
const (
	MaxPolicyBytes = 256 << 10
	MaxPolicyParts = 64 // logs, witnesses and groups, each
	maxPolicyName  = 255
	maxPolicyURL   = 2048
)

// quorumNone is the predefined name: no cosignature is required.
const quorumNone = "none"

// WitnessPolicy says whose checkpoints are believed: the logs that may sign
// them, the witnesses that may cosign them, and how many of these it takes
// (C2SP tlog-policy). It is made by ParseWitnessPolicy and never changed.
type WitnessPolicy struct {
	Logs      []PolicyLog     // in the file's order; may be empty
	Witnesses []PolicyWitness // likewise
	Quorum    string          // what the quorum line names: a witness, a group, or "none"

	groups map[string]group
}

// PolicyLog is a log that the policy accepts; its name is its origin.
type PolicyLog struct {
	Key         note.Verifier
	VerifierKey string
	URL         string // as written; may be empty
}

// PolicyWitness is a witness that the policy knows. Name counts within the
// policy alone; the name in signature lines is that of the key.
type PolicyWitness struct {
	Name        string
	Key         note.Verifier
	VerifierKey string
	URL         string // as written, by custom the submission prefix; may be empty
}

// group witnesses a checkpoint when at least so many of its members did.
type group struct {
	threshold int
	members   []string
}

// Witnessed is what a policy makes of a checkpoint that its log signed.
type Witnessed struct {
	Checkpoint Checkpoint
	Cosigned   []WitnessedBy // in the policy's order
	Missing    []string      // names of the policy's witnesses that did not cosign
	Quorum     bool          // whether those that did are enough
}

// WitnessedBy is one witness's cosignature.
type WitnessedBy struct {
	Name string    // in the policy
	Key  string    // the name of the key
	Time time.Time // when it signed, by its own clock
	Line []byte    // its signature line, with the newline at its end
}

// LogKeys are the keys of the policy's logs, for OpenCheckpoint and Check. With
// no logs in the policy they know no key.
func (p WitnessPolicy) LogKeys() note.Verifiers {
	keys := make([]note.Verifier, len(p.Logs))
	for i, l := range p.Logs {
		keys[i] = l.Key
	}
	return note.VerifierList(keys...)
}

// Check holds a signed checkpoint against the policy. The logs' keys are an
// argument because a caller may know its log from elsewhere; with p.LogKeys()
// they are the policy's own. An empty origin accepts any of them.
//
// That the quorum is not met is no error: Witnessed says so. Errors are those
// of OpenCheckpoint, and Disproven when a known witness's signature is there
// and does not hold, which spoils the whole note. Times are not judged.
func (p WitnessPolicy) Check(text []byte, origin string, logs note.Verifiers) (Witnessed, error) {
	cp, err := OpenCheckpoint(text, origin, logs)
	if err != nil {
		return Witnessed{}, err
	}
	keys := make([]note.Verifier, len(p.Witnesses))
	for i, w := range p.Witnesses {
		keys[i] = w.Key
	}
	var signed []note.Signature
	opened, err := note.Open(text, note.VerifierList(keys...))
	if _, none := errors.AsType[*note.UnverifiedNoteError](err); err != nil && !none {
		return Witnessed{}, problem.New(problem.Disproven, "cosignature-false", "a witness's signature of the checkpoint does not hold").
			With("origin", "%s", cp.Origin).With("log size", "%d", cp.Size).Because(err)
	}
	if opened != nil {
		signed = opened.Sigs
	}
	out := Witnessed{Checkpoint: cp}
	by := make(map[string]bool)
	for _, w := range p.Witnesses {
		i := slices.IndexFunc(signed, func(s note.Signature) bool { return s.Name == w.Key.Name() && s.Hash == w.Key.KeyHash() })
		if i < 0 {
			out.Missing = append(out.Missing, w.Name)
			continue
		}
		c, err := readCosignature(signed[i])
		if err != nil {
			return Witnessed{}, err
		}
		out.Cosigned = append(out.Cosigned, WitnessedBy{Name: w.Name, Key: w.Key.Name(), Time: c.Time, Line: c.Line})
		by[w.Name] = true
	}
	out.Quorum = p.met(p.Quorum, by)
	return out, nil
}

// Enough says whether the cosignatures of these witnesses would meet the quorum.
// Names are the policy's.
func (p WitnessPolicy) Enough(names ...string) bool {
	by := make(map[string]bool)
	for _, n := range names {
		by[n] = true
	}
	return p.met(p.Quorum, by)
}

// met evaluates a name. Every name is a member of one group at most and a group
// names only what stands before it, so each is looked at once.
func (p WitnessPolicy) met(name string, by map[string]bool) bool {
	if name == quorumNone {
		return true
	}
	g, isGroup := p.groups[name]
	if !isGroup {
		return by[name]
	}
	n := 0
	for _, m := range g.members {
		if p.met(m, by) {
			n++
		}
	}
	return n >= g.threshold
}

// ParseWitnessPolicy reads a policy file (tlog-policy, "Policy file syntax and
// structure"). Invalid with the line's number, Unsupported for a witness key of
// a type that cannot be verified, TooLarge over a limit.
//
// Names, URLs and comments are octets without meaning. Log keys have signature
// type 1 and witness keys type 4 (see NewCosignatureVerifier). Not asked for by
// the specification: the last line may lack its newline.
func ParseWitnessPolicy(text []byte) (WitnessPolicy, error) {
	r := newPolicyReader()
	if err := r.read(text); err != nil {
		return WitnessPolicy{}, err
	}
	if r.out.Quorum == "" {
		return WitnessPolicy{}, problem.New(problem.Invalid, "witness-policy", "the witness policy has no quorum line").
			Suggest("end it with a line `quorum NAME` of a witness or group, or `quorum none`")
	}
	return r.out, nil
}

// ParseLogList reads the logs that a witness knows: log lines as in a policy,
// or verifier keys alone, one a line. A whole policy is a list of its logs. A
// log may have several keys. Errors are those of ParseWitnessPolicy.
func ParseLogList(text []byte) ([]PolicyLog, error) {
	r := newPolicyReader()
	r.bare = true
	if err := r.read(text); err != nil {
		return nil, err
	}
	return r.out.Logs, nil
}

// atLine says where a policy is wrong.
func atLine(n int, err error) error {
	p, ok := problem.As(err)
	if !ok {
		return fmt.Errorf("read line %d: %w", n, err)
	}
	at := *p
	at.Message = fmt.Sprintf("line %d: %s", n, p.Message)
	return &at
}

// policyReader is the state between the lines of a policy.
type policyReader struct {
	out    WitnessPolicy
	names  map[string]bool // of witnesses and groups
	member map[string]bool // already member of a group
	keys   map[string]bool // public keys, with what they are for
	bare   bool            // keys alone are logs
}

func newPolicyReader() *policyReader {
	return &policyReader{
		out:    WitnessPolicy{groups: make(map[string]group)},
		names:  map[string]bool{quorumNone: true},
		member: make(map[string]bool),
		keys:   make(map[string]bool),
	}
}

func (r *policyReader) read(text []byte) error {
	if len(text) > MaxPolicyBytes {
		return problem.New(problem.TooLarge, "witness-policy", "the file has more than %d bytes", MaxPolicyBytes)
	}
	for n, line := range bytes.Split(text, []byte("\n")) {
		if err := r.line(string(line)); err != nil {
			return atLine(n+1, err)
		}
	}
	return nil
}

func (r *policyReader) line(line string) error {
	if i := strings.IndexFunc(line, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }); i >= 0 {
		return badPolicy("it has the control character 0x%02x", line[i]).
			Suggest("keep to tabs and line feeds: save the file with Unix line ends")
	}
	words := strings.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == '\t' })
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return nil
	}
	switch words[0] {
	case "log":
		return r.log(words[1:])
	case "witness":
		return r.witness(words[1:])
	case "group":
		return r.group(words[1:])
	case "quorum":
		return r.quorum(words[1:])
	}
	if r.bare && strings.Contains(words[0], "+") {
		return r.log(words)
	}
	return badPolicy("%q is not the beginning of a line", clipped(words[0])).
		Suggest("begin with log, witness, group, quorum or #")
}

func (r *policyReader) log(words []string) error {
	if len(words) < 1 || len(words) > 2 {
		return badPolicy("a log has a key and at most a URL").Suggest("write: log <key> [<url>]")
	}
	if len(r.out.Logs) == MaxPolicyParts {
		return tooMany("logs")
	}
	key, err := NewVerifier(words[0])
	if err != nil {
		return err
	}
	address, err := policyURL(words[1:])
	if err != nil {
		return err
	}
	if err := r.claim("log", words[0]); err != nil {
		return err
	}
	r.out.Logs = append(r.out.Logs, PolicyLog{Key: key, VerifierKey: words[0], URL: address})
	return nil
}

func (r *policyReader) witness(words []string) error {
	if len(words) < 2 || len(words) > 3 {
		return badPolicy("a witness has a name, a key and at most a URL").Suggest("write: witness <name> <key> [<url>]")
	}
	if len(r.out.Witnesses) == MaxPolicyParts {
		return tooMany("witnesses")
	}
	key, err := NewCosignatureVerifier(words[1])
	if err != nil {
		return err
	}
	address, err := policyURL(words[2:])
	if err != nil {
		return err
	}
	if err := r.claim("witness", words[1]); err != nil {
		return err
	}
	if err := r.define(words[0]); err != nil {
		return err
	}
	r.out.Witnesses = append(r.out.Witnesses, PolicyWitness{Name: words[0], Key: key, VerifierKey: words[1], URL: address})
	return nil
}

func (r *policyReader) group(words []string) error {
	if len(words) < 3 {
		return badPolicy("a group has a name, a threshold and members").Suggest("write: group <name> all|any|<number> <member>...")
	}
	if len(r.out.groups) == MaxPolicyParts {
		return tooMany("groups")
	}
	g := group{members: slices.Clone(words[2:])}
	switch words[1] {
	case "all":
		g.threshold = len(g.members)
	case "any":
		g.threshold = 1
	default:
		k, err := strconv.Atoi(words[1])
		if err != nil || strconv.Itoa(k) != words[1] || k < 1 || k > len(g.members) {
			return badPolicy("the threshold %q is not all, any or a number from 1 to the %d members", clipped(words[1]), len(g.members))
		}
		g.threshold = k
	}
	for _, m := range g.members {
		switch {
		case m == quorumNone:
			return badPolicy("none cannot be a member of a group")
		case !r.names[m]:
			return badPolicy("%q is not the name of a witness or group above", clipped(m))
		case r.member[m]:
			return badPolicy("%q is a member of a group already", clipped(m))
		}
		r.member[m] = true
	}
	if err := r.define(words[0]); err != nil {
		return err
	}
	r.out.groups[words[0]] = g
	return nil
}

func (r *policyReader) quorum(words []string) error {
	switch {
	case len(words) != 1:
		return badPolicy("the quorum is one name").Suggest("write: quorum <name>, or quorum none")
	case r.out.Quorum != "":
		return badPolicy("there is a second quorum line")
	case !r.names[words[0]]:
		return badPolicy("%q is not the name of a witness or group above", clipped(words[0]))
	}
	r.out.Quorum = words[0]
	return nil
}

// define takes a name, which witnesses and groups share.
func (r *policyReader) define(name string) error {
	switch {
	case len(name) > maxPolicyName:
		return badPolicy("a name has more than %d bytes", maxPolicyName)
	case name == quorumNone:
		return badPolicy("none cannot be the name of a witness or group")
	case r.names[name]:
		return badPolicy("there is a second witness or group %q", clipped(name))
	}
	r.names[name] = true
	return nil
}

// claim refuses a public key that stands on another line for the same purpose,
// under whatever name: one holder would count twice.
func (r *policyReader) claim(kind, vkey string) error {
	_, _, material, ok := cutKey(vkey)
	if !ok {
		return badPolicy("the key of the %s has an unusual spelling", kind)
	}
	id := kind + string(material)
	if r.keys[id] {
		return badPolicy("there is another %s with the same key", kind)
	}
	r.keys[id] = true
	return nil
}

func policyURL(words []string) (string, error) {
	if len(words) == 0 {
		return "", nil
	}
	if len(words[0]) > maxPolicyURL {
		return "", badPolicy("a URL has more than %d bytes", maxPolicyURL)
	}
	return words[0], nil
}

func badPolicy(format string, args ...any) *problem.Error {
	return problem.New(problem.Invalid, "witness-policy", format, args...)
}

func tooMany(what string) error {
	return problem.New(problem.TooLarge, "witness-policy", "there are more than %d %s", MaxPolicyParts, what)
}

// clipped keeps foreign words in messages short.
func clipped(word string) string {
	if len(word) > 60 {
		return word[:60] + "…"
	}
	return word
}
