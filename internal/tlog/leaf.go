package tlog

import (
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// MaxLeaf is the largest leaf in bytes. It is half of what an entry bundle
// takes, because a proof file carries the leaf in one line of Base 64 and
// readers that scan lines stop at 64 KiB. With the limits of the values no
// leaf comes near it.
const MaxLeaf = 32 << 10

// The leaf types: the first line of a leaf. A change in the meaning or the
// lines of a leaf is a new version.
const (
	TypeRelease     = "chartkeep/release/v1"
	TypeLegacy      = "chartkeep/legacy/v1"
	TypeAttach      = "chartkeep/attach/v1"
	TypeYank        = "chartkeep/yank/v1"
	TypeUnyank      = "chartkeep/unyank/v1"
	TypeProject     = "chartkeep/project/v1"
	TypeAudit       = "chartkeep/audit/v1"
	TypeObservation = "chartkeep/upstream/v1"
	TypeSignoff     = "chartkeep/signoff/v1"
	TypePolicy      = "chartkeep/policy/v1"
	TypeQuarantine  = "chartkeep/quarantine/v1"
	TypeTombstone   = "chartkeep/tombstone/v1"
	TypeRotation    = "chartkeep/rotation/v1"
)

// Leaf is an entry of the log: a fact that Chartkeep cannot take back.
//
// Its text is a type line and then "key value…" lines, each ended by LF, in the
// one order of its type. Values are separated by one space. A value is written
// as its UTF-8 bytes, where each byte outside printable ASCII, space and % is
// %XX with upper-case digits; an absent value is "-", and the value "-" itself
// is %2D. Digests are <algorithm>:<lower-case hex>, numbers decimal without
// leading zeroes, times RFC 3339 in UTC and whole seconds.
type Leaf interface {
	// Type is the first line.
	Type() string
	// When is the time that the leaf states. It never decreases along a log.
	When() time.Time
	// Marshal returns the text. Invalid when a value is missing, over its
	// limit or not of its form. Fractions of a second are dropped.
	Marshal() ([]byte, error)
}

// ParseLeaf reads the text of a leaf into its type (Release, Legacy, …, not a
// pointer). Unsupported for a type that this version does not know, which a
// reader of a whole log passes over; Invalid for anything but the one spelling
// of a known type.
func ParseLeaf(text []byte) (Leaf, error) {
	if len(text) > MaxLeaf {
		return nil, problem.New(problem.Invalid, "leaf-malformed", "a log entry of %d bytes is over the limit of %d", len(text), MaxLeaf)
	}
	typ, rest, _ := strings.Cut(string(text), "\n")
	switch typ {
	case TypeRelease:
		return parseLeaf[Release](rest)
	case TypeLegacy:
		return parseLeaf[Legacy](rest)
	case TypeAttach:
		return parseLeaf[Attach](rest)
	case TypeYank:
		return parseLeaf[Yank](rest)
	case TypeUnyank:
		return parseLeaf[Unyank](rest)
	case TypeProject:
		return parseLeaf[Project](rest)
	case TypeAudit:
		return parseLeaf[Audit](rest)
	case TypeObservation:
		return parseLeaf[Observation](rest)
	case TypeSignoff:
		return parseLeaf[Signoff](rest)
	case TypePolicy:
		return parseLeaf[Policy](rest)
	case TypeQuarantine:
		return parseLeaf[Quarantine](rest)
	case TypeTombstone:
		return parseLeaf[Tombstone](rest)
	case TypeRotation:
		return parseLeaf[Rotation](rest)
	}
	return nil, problem.New(problem.Unsupported, "leaf-type", "the log entry is not of a type that this version knows").
		With("first line", "%.64q", typ).Suggest("use a newer chartkeep")
}

// Identity says who acted: an issuer and that issuer's stable name for the
// actor. People appear as an account id, never by name.
type Identity struct {
	Issuer  string // at most 512 bytes
	Subject string // at most 512 bytes
}

// Source is the commit that an archive was packed from, as its publisher
// states. The zero Source means that nothing was stated.
type Source struct {
	URL    string // at most 1024 bytes
	Commit string // 40 or 64 lower-case hexadecimal digits
}

// Release states that a chart version exists from now on, and what it is. A
// chart version has exactly one Release or Legacy leaf.
type Release struct {
	Project    string // at most 256 bytes, as Chart and Version
	Chart      string
	Version    string
	Archive    string   // digest of the .tgz, sha256
	Size       int64    // of the archive in bytes
	Content    string   // digest of the files in the archive, sha256
	Provenance string   // digest of the .prov, sha256; empty without one
	Manifest   string   // digest of the OCI manifest, sha256 or sha512
	Config     string   // digest of its config, sha256 or sha512
	Publisher  Identity // who pushed
	Source     Source
	Policy     string // digest of the project's policy then in force, sha256
	Time       time.Time
}

// Type implements Leaf.
func (Release) Type() string { return TypeRelease }

// When implements Leaf.
func (l Release) When() time.Time { return l.Time }

// Marshal implements Leaf.
func (l Release) Marshal() ([]byte, error) { return marshalLeaf(TypeRelease, l.lines) }

func (l *Release) lines(c *codec) {
	l.facts(c)
	c.line("time", timeValue{&l.Time, required})
}

func (l *Release) facts(c *codec) {
	c.subject(&l.Project, &l.Chart, &l.Version)
	c.line("tgz", digestValue{&l.Archive, sha256Only, required}, countValue{&l.Size})
	c.line("content", digestValue{&l.Content, sha256Only, required})
	c.line("prov", digestValue{&l.Provenance, sha256Only, optional})
	c.line("manifest", digestValue{&l.Manifest, anyDigest, required})
	c.line("config", digestValue{&l.Config, anyDigest, required})
	c.identity("publisher", &l.Publisher)
	c.line("source", sourceValue{&l.Source})
	c.line("policy", digestValue{&l.Policy, sha256Only, required})
}

// Legacy is a release that an older repository published before the project
// came to Chartkeep. It is as frozen as a Release; what the old repository
// claimed about it is recorded as a claim. Publisher is who imported it.
type Legacy struct {
	Release
	Origin      string    // where the old repository was: a URL or a text of at most 1024 bytes
	SeenCreated time.Time // the time of creation in the old index; zero when it had none
	SeenDigest  string    // the digest in the old index, sha256; empty when it had none
}

// Type implements Leaf.
func (Legacy) Type() string { return TypeLegacy }

// Marshal implements Leaf.
func (l Legacy) Marshal() ([]byte, error) { return marshalLeaf(TypeLegacy, l.lines) }

func (l *Legacy) lines(c *codec) {
	l.facts(c)
	c.line("origin", textValue{&l.Origin, maxText, required})
	c.line("seen-created", timeValue{&l.SeenCreated, optional})
	c.line("seen-digest", digestValue{&l.SeenDigest, sha256Only, optional})
	c.line("time", timeValue{&l.Time, required})
}

// The kinds of what can be attached to a release.
const (
	AttachProvenance = "prov"
	AttachSignature  = "signature"
)

// Attach states that something was added to a release after it was made.
type Attach struct {
	Index     int64 // of the release's leaf
	Project   string
	Chart     string
	Version   string
	Kind      string // AttachProvenance or AttachSignature
	Digest    string // of what was attached, sha256 or sha512
	Publisher Identity
	Time      time.Time
}

// Type implements Leaf.
func (Attach) Type() string { return TypeAttach }

// When implements Leaf.
func (l Attach) When() time.Time { return l.Time }

// Marshal implements Leaf.
func (l Attach) Marshal() ([]byte, error) { return marshalLeaf(TypeAttach, l.lines) }

func (l *Attach) lines(c *codec) {
	c.line("index", countValue{&l.Index})
	c.subject(&l.Project, &l.Chart, &l.Version)
	c.line("kind", choiceValue{&l.Kind, []string{AttachProvenance, AttachSignature}})
	c.line("digest", digestValue{&l.Digest, anyDigest, required})
	c.identity("publisher", &l.Publisher)
	c.line("time", timeValue{&l.Time, required})
}

// Yank states that a release was withdrawn from resolution.
type Yank struct {
	Index     int64 // of the release's leaf
	Project   string
	Chart     string
	Version   string
	Reason    string // a code: lower-case letters, digits and hyphens, at most 32
	Text      string // at most 1024 bytes; may be empty
	Publisher Identity
	Time      time.Time
}

// Type implements Leaf.
func (Yank) Type() string { return TypeYank }

// When implements Leaf.
func (l Yank) When() time.Time { return l.Time }

// Marshal implements Leaf.
func (l Yank) Marshal() ([]byte, error) { return marshalLeaf(TypeYank, l.lines) }

func (l *Yank) lines(c *codec) {
	c.line("index", countValue{&l.Index})
	c.subject(&l.Project, &l.Chart, &l.Version)
	c.line("reason", wordValue{&l.Reason})
	c.line("text", textValue{&l.Text, maxText, optional})
	c.identity("publisher", &l.Publisher)
	c.line("time", timeValue{&l.Time, required})
}

// Unyank states that a yank was taken back; its lines are those of Yank.
type Unyank Yank

// Type implements Leaf.
func (Unyank) Type() string { return TypeUnyank }

// When implements Leaf.
func (l Unyank) When() time.Time { return l.Time }

// Marshal implements Leaf.
func (l Unyank) Marshal() ([]byte, error) { return marshalLeaf(TypeUnyank, l.lines) }

func (l *Unyank) lines(c *codec) { (*Yank)(l).lines(c) }

// What can happen to a project.
const (
	ProjectCreated = "created"
	ProjectRemoved = "removed"
	ProjectCutOver = "cut-over" // the import ended; the strict rules hold from here
	ProjectSet     = "set"
)

// Project states what became of a project. The other fields are its settings
// after the action.
type Project struct {
	Action     string // ProjectCreated and so on
	Name       string // at most 256 bytes
	Kind       string // "charts" or "artifacts"
	Visibility string // "public" or "private"
	State      string // a word as in Yank.Reason
	Policy     string // digest of the policy, sha256
	Actor      Identity
	Time       time.Time
}

// Type implements Leaf.
func (Project) Type() string { return TypeProject }

// When implements Leaf.
func (l Project) When() time.Time { return l.Time }

// Marshal implements Leaf.
func (l Project) Marshal() ([]byte, error) { return marshalLeaf(TypeProject, l.lines) }

func (l *Project) lines(c *codec) {
	c.line("action", choiceValue{&l.Action, []string{ProjectCreated, ProjectRemoved, ProjectCutOver, ProjectSet}})
	c.line("project", textValue{&l.Name, maxName, required})
	c.line("kind", choiceValue{&l.Kind, []string{"charts", "artifacts"}})
	c.line("visibility", choiceValue{&l.Visibility, []string{"public", "private"}})
	c.line("state", wordValue{&l.State})
	c.line("policy", digestValue{&l.Policy, sha256Only, required})
	c.identity("actor", &l.Actor)
	c.line("time", timeValue{&l.Time, required})
}

// Audit anchors the audit log: it had this checkpoint at this time, so that
// audit history which is removed later contradicts this log.
type Audit struct {
	Origin string // of the audit log
	Size   int64
	Root   Hash
	Time   time.Time
}

// Type implements Leaf.
func (Audit) Type() string { return TypeAudit }

// When implements Leaf.
func (l Audit) When() time.Time { return l.Time }

// Marshal implements Leaf.
func (l Audit) Marshal() ([]byte, error) { return marshalLeaf(TypeAudit, l.lines) }

func (l *Audit) lines(c *codec) {
	c.line("origin", textValue{&l.Origin, maxOrigin, required})
	c.line("size", countValue{&l.Size})
	c.line("root", hashValue{&l.Root})
	c.line("time", timeValue{&l.Time, required})
}
