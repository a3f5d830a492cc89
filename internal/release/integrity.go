package release

import (
	"context"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// LogName is one of the two logs of a server.
type LogName int

// The logs.
const (
	ReleaseLog LogName = 1 // what was released, and what became of it
	AuditLog   LogName = 2 // the audit trail
)

func (n LogName) String() string {
	if n == AuditLog {
		return "audit log"
	}
	return "release log"
}

// Stored reads the tables as they are: nothing is proven, nothing comes from
// memory, and what is missing is left out. It is what a scrub compares with
// the log.
type Stored interface {
	// StoredHead is the row of a log's head. problem.NotFound when there is none.
	StoredHead(ctx context.Context, log LogName) (StoredHead, error)
	// StoredLeaves are the leaves from an index on. Cost: a range of limit rows.
	StoredLeaves(ctx context.Context, log LogName, from int64, limit int) ([]StoredLeaf, error)
	// StoredTile is a full tile. problem.NotFound when it is missing. One
	// look-up by key.
	StoredTile(ctx context.Context, log LogName, level int, n int64) (StoredTile, error)
	// StoredReleases are the releases whose log index is in [from, to), with
	// everything in the database that speaks of them. Cost: to-from rows of
	// the primary key and five look-ups by key for each.
	StoredReleases(ctx context.Context, from, to int64) ([]StoredRelease, error)
	// StoredManifest is the bytes of a manifest, and SmallBlob those of a blob
	// that is in the database; problem.NotFound when they are not there. One
	// look-up by key.
	StoredManifest(ctx context.Context, repository, digest string) ([]byte, error)
	SmallBlob(ctx context.Context, digest string) ([]byte, error)
	// StoredStrays are releases with a log index below 0 or from a size on,
	// limit of them at most. Two ends of the primary key.
	StoredStrays(ctx context.Context, size int64, limit int) ([]Release, error)
	// StoredTags calls fn for the tags of charts projects that are not what a
	// release says of its own: those of another release, and those of none.
	// Cost: a scan of all tags, some seconds at a million.
	StoredTags(ctx context.Context, fn func(StoredTag) error) error
	// StoredEvents are the rows beside the leaves [from, to) of the audit log.
	StoredEvents(ctx context.Context, from, to int64) ([]StoredEvent, error)
	// LateProvenance is the index of the leaf that gave a release the
	// provenance that it was not pushed with; problem.NotFound when there is
	// none. One look-up by key.
	LateProvenance(ctx context.Context, releaseID int64) (int64, error)
}

// StoredHead is the head of a log.
type StoredHead struct {
	Size       int64
	Root       tlog.Hash
	Checkpoint []byte
}

// StoredLeaf is a leaf with the hash that stands beside it.
type StoredLeaf struct {
	Index int64
	Hash  tlog.Hash
	Entry []byte
}

// StoredTile is a full tile with the root that stands beside it.
type StoredTile struct {
	Hashes []byte // one after the other
	Root   tlog.Hash
}

// StoredRelease is a release with the rows that serve it. What is missing is
// nil or empty.
type StoredRelease struct {
	Release
	Fragment     []byte // of the index
	Tag          *StoredTag
	Manifest     []byte
	ManifestSeen bool // readers see the manifest
	Config       []byte
	Provenance   []byte
}

// StoredTag is a tag of a repository.
type StoredTag struct {
	Repository string
	Name       string
	Digest     string
	Release    int64 // log index of its release, 0 for none
	Hidden     int   // 0 listed, 1 of a yanked release, 2 of one that nobody sees
}

// StoredEvent is the row beside a leaf of the audit log, by which events are
// found, and where the request came from.
type StoredEvent struct {
	Index                   int64
	Time                    time.Time
	Name                    audit.Name
	Outcome                 audit.Result
	Project, Chart, Version string
	Actor                   string
	Source                  audit.Source
	Salt                    []byte // empty: where it came from was forgotten
}

// FindingKind says what is wrong. It is the rule of the audit event.
type FindingKind string

// The kinds of finding.
const (
	LogHeadFalse     FindingKind = "log-head"     // the head is not what the log's key signed
	LogRootFalse     FindingKind = "log-root"     // the leaves do not have the signed root
	LeafMissing      FindingKind = "leaf-missing" // a leaf is gone
	LeafChanged      FindingKind = "leaf-changed" // a leaf is not the one that was logged
	TileChanged      FindingKind = "tile-changed" // a tile is gone or not that of its leaves
	ReleaseMissing   FindingKind = "release-missing"
	ReleaseChanged   FindingKind = "release-changed"  // a release's rows are not what its leaf says
	ReleaseUnlogged  FindingKind = "release-unlogged" // a release that the log does not have
	TagUnlogged      FindingKind = "tag-unlogged"     // a tag that would be a release
	ProjectMissing   FindingKind = "project-missing"
	ProjectChanged   FindingKind = "project-changed"
	ProjectUnlogged  FindingKind = "project-unlogged"
	BytesMissing     FindingKind = "bytes-missing" // archive, provenance, config or manifest is gone
	BytesChanged     FindingKind = "bytes-changed" // they do not have the digest in the log
	AuditRowMissing  FindingKind = "audit-row-missing"
	AuditRowChanged  FindingKind = "audit-row-changed"
	AuditAnchorFalse FindingKind = "audit-anchor" // the audit log is not the one that was anchored
	HistoryFalse     FindingKind = "history"      // the leaves contradict each other
)

// Event is the audit event that tells of the finding.
func (k FindingKind) Event() audit.Name {
	switch k {
	case BytesMissing, ReleaseMissing:
		return audit.IntegrityMissing
	}
	return audit.IntegrityMismatch
}

// blocks says whether what the finding is about may not be served.
func (k FindingKind) blocks() bool {
	switch k {
	case ReleaseChanged, ReleaseUnlogged, BytesChanged, BytesMissing:
		return true
	}
	return false
}

// Finding is one thing that is not as the log says.
type Finding struct {
	// Key names the thing: the same finding of two passes has the same key.
	Key      string      `json:"key"`
	Kind     FindingKind `json:"kind"`
	Project  string      `json:"project,omitempty"`
	Chart    string      `json:"chart,omitempty"`
	Version  string      `json:"version,omitempty"`
	LogIndex int64       `json:"log_index"`         // of the leaf, -1 for none
	Logged   string      `json:"logged,omitempty"`  // the digest that the log has
	Found    string      `json:"found,omitempty"`   // the digest that was found
	Message  string      `json:"message"`           // one sentence
	Try      string      `json:"try,omitempty"`     // what to do
	First    time.Time   `json:"first,omitzero"`    // when it was found first
	Last     time.Time   `json:"last,omitzero"`     // when it was found last
	Resolved time.Time   `json:"resolved,omitzero"` // when a pass did not find it any more
}

// Scrubs keeps where a scrub stands and what was found. The state is one row,
// which one process at a time holds by a lease.
type Scrubs interface {
	// ScrubState reads the row. One look-up.
	ScrubState(ctx context.Context) (ScrubState, error)
	// LeaseScrub gives the row to this caller if a pass is due or was left
	// unfinished, and nobody holds it; token 0 says no.
	LeaseScrub(ctx context.Context, now time.Time, hold time.Duration) (token int64, st ScrubState, err error)
	// SaveScrub writes the state of who holds the row and extends the lease;
	// hold 0 gives it back. problem.Conflict when somebody else holds it.
	// With events, they are recorded in the same transaction.
	SaveScrub(ctx context.Context, token int64, st ScrubState, now time.Time, hold time.Duration, events ...audit.Event) error
	// AskScrub makes a pass due now.
	AskScrub(ctx context.Context, now time.Time) error

	// RecordFinding keeps a finding and says whether it is new, or had been
	// resolved. Only then the event is recorded, in the same transaction.
	RecordFinding(ctx context.Context, f Finding, ev audit.Event, now time.Time) (opened bool, err error)
	// ResolveFindings ends the findings that were last found before a time.
	// Cost: the open findings.
	ResolveFindings(ctx context.Context, before, now time.Time) (int, error)
	// Findings lists the newest findings first, the open ones alone or all of
	// them, limit at most.
	Findings(ctx context.Context, openOnly bool, limit int) ([]Finding, error)
}

// ScrubState is where the scrub of a database stands.
type ScrubState struct {
	Due     time.Time   `json:"due"` // when the next pass begins
	Running bool        `json:"running"`
	Started time.Time   `json:"started,omitzero"` // of the pass that runs
	Next    int64       `json:"next"`             // leaves of the release log before it are compared
	Seal    string      `json:"seal,omitempty"`   // keeps Next from being moved
	Size    int64       `json:"size"`             // leaves of the release log that the pass covers
	Done    ScrubCounts `json:"done"`
	// Work is how long the pass has worked so far.
	Work time.Duration `json:"work_ns"`
	Last *ScrubReport  `json:"last,omitempty"`
}

// ScrubCounts is what a pass has looked at.
type ScrubCounts struct {
	Leaves   int64 `json:"leaves"`   // of both logs
	Releases int64 `json:"releases"` // compared with their leaves
	Blobs    int64 `json:"blobs"`    // hashed: archives, and what else is in the blob store
	Bytes    int64 `json:"bytes"`    // of blobs
	Events   int64 `json:"events"`   // of the audit trail
	Findings int64 `json:"findings"`
}

// ScrubReport is a complete pass.
type ScrubReport struct {
	Started  time.Time     `json:"started"`
	Ended    time.Time     `json:"ended"`
	Duration time.Duration `json:"duration_ns"` // of the work itself, pauses for the rate included
	LogSize  int64         `json:"log_size"`
	LogRoot  string        `json:"log_root"` // base64
	Counts   ScrubCounts   `json:"counts"`
}
