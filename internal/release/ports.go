package release

import (
	"context"
	"io"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/index"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Store is everything that stays, but for the bytes of archives. Package
// storetest holds the suite that every implementation passes.
//
// Contract of every writing method: it is one transaction, serialised with
// all others of every process on the same database; when it returns nil its
// effect is durable and visible to every reader, unless the method says
// "soft". It may be called concurrently. An error that is not a *problem.Error
// means that nothing is known of the outcome: the caller reports Unavailable
// and the client may repeat, which is safe. Nothing retries by itself.
type Store interface {
	Ledger
	Repositories
	Projects
	Identities
	Publishers
	SignIns
	Holdings
	Protection
	Signing
	LogReader
	Witnessings
	AuditReader
}

// Claim asks the store to make a release exist. All of it is decided but for
// what only the transaction knows: time, log index and outcome.
type Claim struct {
	Release  Release       // ID, Time, LogIndex and State are set by the store
	Manifest Manifest      // frozen with the release
	Config   []byte        // bytes of the OCI config
	Prov     []byte        // provenance that came with the push, nil when none
	Links    []Link        // blobs that the manifest names: they become visible in the repository
	Now      time.Time     // the caller's clock; the store never lets log time run backwards
	Event    audit.Event   // who asked, through which door; the store fills in the outcome
	Force    bool          // an overwrite was asked for
	Legacy   *ImportOrigin // set for history: the release is frozen as it was
	Source   tlog.Source   // the commit that it was packed from, where it is stated
	// Differs names the files by which the offered archive differs from the
	// release whose archive digest is DiffersFrom. It was worked out before
	// the transaction and serves the message alone: it is used only when the
	// transaction refuses because of that very release.
	Differs     []chart.Change
	DiffersFrom string
	// Fragment renders the index entry for the time of the claim. It may be
	// called more than once.
	Fragment func(created time.Time) []byte
	// MustBeHeld is set when the bytes were not stored because the name was
	// seen held. Should the claim find it free after all, it fails.
	MustBeHeld bool
	// Copy says whether what is offered was kept for later, where it was
	// known to be refused; the event says it.
	Copy string
	// offered reads what is offered, of at most limit bytes.
	offered func(limit int64) ([]byte, error)
	// RequireState makes the claim fail with problem.Conflict when the
	// project has left this state meanwhile.
	RequireState ProjectState
	// Judge judges the signatures that came with the release. It refuses, or
	// says which hold; what is missing keeps the release staged. nil: none came.
	Judge Judge
	// Whole refuses a release that would have to wait.
	Whole bool

	project Project // as it was when the claim was made
}

// ClaimResult is what became of a claim.
type ClaimResult struct {
	Release   Release // the release that holds the name, old or new
	Unchanged bool    // it existed with the same archive
	Proof     tlog.Proof
	Signed    // what came of its signatures
}

// Link makes a blob visible in a repository.
type Link struct {
	Digest string
	Size   int64
	Small  bool // its bytes are in the database, not in the blob store
}

// Attachment is a provenance that arrives after its release, or with an empty
// digest nothing but another look at a release that waits.
type Attachment struct {
	ReleaseID int64
	Digest    string
	Bytes     []byte
	Judge     Judge // nil: nobody looks at signatures
	Now       time.Time
	Event     audit.Event
}

// StateChange is a yank or its undoing.
type StateChange struct {
	ReleaseID    int64
	Yank         bool
	Reason, Text string
	Now          time.Time
	Event        audit.Event
}

// Ledger writes what the transparency log knows.
type Ledger interface {
	// Claim makes a release exist, or says who holds the name. The refusals
	// are *problem.Error of kind Immutable (another archive, a version that
	// differs only in build metadata, a file name that is taken), and they
	// are audited and durable before they are returned; the result then
	// still names the release that stands.
	Claim(ctx context.Context, c *Claim) (ClaimResult, error)
	// Attach stores a provenance if the release has none; the same bytes
	// again are no error, other bytes are problem.Immutable.
	Attach(ctx context.Context, a *Attachment) (ClaimResult, error)
	// SetState yanks or unyanks; a change to the state it has already is
	// problem.Conflict.
	SetState(ctx context.Context, ch *StateChange) (Release, error)
	// Anchor writes the state of the audit log into the release log, unless
	// the audit log has not grown since this process did it last.
	Anchor(ctx context.Context) error
	// Record appends audit events that have no effect beside themselves.
	Record(ctx context.Context, now time.Time, events ...audit.Event) error
}

// Repositories is the OCI side: manifests, tags, links and small blobs.
type Repositories interface {
	// LinkBlob makes a blob visible in a repository of a project; with bytes,
	// it also stores a small blob. Soft: visible at once, durable with the
	// next durable transaction.
	LinkBlob(ctx context.Context, projectID int64, repository string, l Link, bytes []byte) error
	// UnlinkBlob hides a blob of an artifacts project again; NotFound when it
	// was not visible.
	UnlinkBlob(ctx context.Context, repository, digest string, ev audit.Event, now time.Time) error
	// BlobLink returns the link, or problem.NotFound. One look-up by key.
	BlobLink(ctx context.Context, repository, digest string) (Link, error)
	// BlobHolders returns up to limit repositories in which a blob is visible.
	BlobHolders(ctx context.Context, digest string, limit int) ([]string, error)
	// SmallBlob returns the bytes of a blob that lives in the database, or
	// problem.NotFound. One look-up by key.
	SmallBlob(ctx context.Context, digest string) ([]byte, error)

	// PutManifest stores a manifest and moves tags to it, all or nothing. A
	// tag that stands on another manifest moves only where MayMove agrees,
	// which is asked inside the transaction; its refusal is audited and
	// returned. Putting the same again is success.
	PutManifest(ctx context.Context, p *ManifestPut) error
	// Manifest returns a visible manifest by digest or tag, with its release.
	Manifest(ctx context.Context, repository, ref string) (Manifest, error)
	// PendingManifest returns a manifest that was put by digest and that no tag
	// has claimed yet, or one of a staged release.
	PendingManifest(ctx context.Context, repository, digest string) (Manifest, error)
	// DeleteManifest removes a manifest with its tags, or a tag alone, from a
	// repository of an artifacts project.
	DeleteManifest(ctx context.Context, repository, ref string, ev audit.Event, now time.Time) error
	// Tags lists tags in byte order after a name; those of yanked and staged
	// releases are left out. Cost: limit rows.
	Tags(ctx context.Context, repository, after string, limit int) ([]string, error)
	// RepositoryNames lists repositories that hold a manifest, in byte order.
	RepositoryNames(ctx context.Context, after string, limit int) ([]RepositoryName, error)
	// Referrers lists the manifests whose subject is digest.
	Referrers(ctx context.Context, repository, digest, artifactType string) ([]Descriptor, error)
	// HasRepository says whether a repository was ever written to.
	HasRepository(ctx context.Context, repository string) (bool, error)
}

// ManifestPut asks the store to keep a manifest that is no release.
type ManifestPut struct {
	ProjectID int64
	Manifest  Manifest
	Tags      []string
	Links     []Link // blobs that it names, linked anew so that they stay
	Visible   bool   // false for a chart's manifest that no tag has claimed yet; without tags it is then put softly, and not audited
	MayMove   func(tag string, held *Manifest) error
	Event     audit.Event
	Now       time.Time
	Bundle    *BundlePut // set when it carries a signature of a release
}

// RepositoryName is a repository with its project.
type RepositoryName struct {
	Name      string
	ProjectID int64
}

// Projects holds projects and reads releases.
type Projects interface {
	// CreateProject refuses (problem.Conflict) a name that is, was, contains
	// or lies below another project, removed ones included.
	CreateProject(ctx context.Context, p Project, ev audit.Event, now time.Time) (Project, error)
	// UpdateProject changes visibility, policy, state or the id on Artifact Hub, and logs it. change
	// sees the row under the transaction's lock and returns what it becomes,
	// or an error, which is returned as it is.
	UpdateProject(ctx context.Context, name, action string, ev audit.Event, now time.Time, change func(Project) (Project, error)) (Project, error)
	// ProjectFor returns the live or removed project whose name is path or a
	// prefix of it in whole segments, or problem.NotFound. Cost: one look-up
	// for each segment of path, mostly from memory.
	ProjectFor(ctx context.Context, path string) (Project, error)
	// AllProjects lists every project by name. Cost: all of them.
	AllProjects(ctx context.Context) ([]Project, error)

	// ReleaseByVersion, ReleaseByFile and ReleaseByKey (Release.Key) are
	// look-ups by a unique key; problem.NotFound when there is none.
	ReleaseByVersion(ctx context.Context, projectID int64, chart, version string) (Release, error)
	ReleaseByFile(ctx context.Context, projectID int64, file string) (Release, error)
	ReleaseByKey(ctx context.Context, projectID int64, chart, key string) (Release, error)
	// ReleasesAfter lists the releases of all projects by log index after one,
	// removed projects included. Cost: limit rows.
	ReleasesAfter(ctx context.Context, logIndex int64, limit int) ([]Release, error)
	// Releases lists a chart's releases, newest version first. Cost: the
	// chart's releases.
	Releases(ctx context.Context, projectID int64, chart string) ([]Release, error)
	// Charts lists charts by name after a name. Cost: limit charts and one
	// look-up each.
	Charts(ctx context.Context, projectID int64, after string, limit int) ([]ChartSummary, error)
	// Counts says how many charts and releases a project holds. Cost: a scan
	// of the project's index entries.
	Counts(ctx context.Context, projectID int64) (charts, releases int, err error)

	// IndexSource reads one project's index fragments; all includes yanked
	// releases.
	IndexSource(projectID int64, all bool) index.Source
}

// Credential is what a token's secret leads to.
type Credential struct {
	TokenID  string
	Name     string
	Personal bool // see Token.Personal
	Hash     [32]byte
	Expires  time.Time
	Revoked  time.Time
	Account  Account
	Grants   []access.Grant
	Pipeline *PipelineIdentity // whom the short token of a pipeline stands for; nil for every other token
}

// Identities holds accounts, tokens and grants.
type Identities interface {
	CreateAccount(ctx context.Context, a Account, passwordHash string, ev audit.Event, now time.Time) error
	SetPassword(ctx context.Context, accountID, passwordHash string, ev audit.Event, now time.Time) error
	SetAccountDisabled(ctx context.Context, accountID string, disabled bool, ev audit.Event, now time.Time) error
	AccountByName(ctx context.Context, name string) (a Account, passwordHash string, err error)
	AccountByID(ctx context.Context, id string) (Account, error)
	Accounts(ctx context.Context) ([]Account, error)

	AddGrant(ctx context.Context, accountID string, g access.Grant, ev audit.Event, now time.Time) error
	RevokeGrant(ctx context.Context, id string, ev audit.Event, now time.Time) error
	// GrantsOf lists an account's grants, those of its groups included, whose
	// Account is then GroupPrefix with the group's name; accountID "" lists all.
	GrantsOf(ctx context.Context, accountID string) ([]AccountGrant, error)

	CreateToken(ctx context.Context, t Token, hash [32]byte, ev audit.Event, now time.Time) error
	RevokeToken(ctx context.Context, id string, ev audit.Event, now time.Time) error
	// TokenByID is the look-up of every authenticated request.
	TokenByID(ctx context.Context, id string) (Credential, error)
	// Tokens lists tokens; accountID "" lists all.
	Tokens(ctx context.Context, accountID string) ([]Token, error)
	// TouchTokens notes when tokens were last used and from where, and records
	// that a token was used from where it never was: but for its first use, and
	// for tokens of pipelines, which live for minutes.
	TouchTokens(ctx context.Context, used map[string]TokenUse, now time.Time) error
	// EndTokens records tokens that reached their end since the last time, but
	// for those of pipelines.
	EndTokens(ctx context.Context, now time.Time) error
}

// LogReader reads the transparency log, which is append-only: what was
// returned once is returned for ever.
type LogReader interface {
	LogInfo(ctx context.Context) (LogInfo, error)
	// Tile returns width hashes of a tile; problem.NotFound when the tree is
	// not that large.
	Tile(ctx context.Context, level int, n int64, width int) ([]byte, error)
	Entries(ctx context.Context, n int64, width int) ([][]byte, error)
	Leaf(ctx context.Context, index int64) ([]byte, error)
	// Prove returns the leaf with an inclusion proof in the newest checkpoint
	// that met the witnesses' quorum and covers the leaf; where there is none, in
	// the newest that any witness cosigned; where there is none either, in the
	// newest.
	Prove(ctx context.Context, index int64) (tlog.Proof, error)
	Consistency(ctx context.Context, old, new int64) ([]tlog.Hash, error)
	// Rotations lists how the log went from key to key, oldest first.
	Rotations(ctx context.Context) ([]Rotation, error)
}

// AuditReader reads the audit log.
type AuditReader interface {
	AuditRecords(ctx context.Context, f AuditFilter) ([]AuditRecord, error)
	// ProveEvent proves that an event is in the audit log, as LogReader.Prove
	// does for the log of releases, and at its cost.
	ProveEvent(ctx context.Context, index int64) (tlog.Proof, error)
}

// Blobs keeps bytes by digest ("sha256:…" or "sha512:…"). Create-if-absent
// only; what Commit answered is durable and never changes. Eventual
// consistency is not allowed after Commit returned.
type Blobs interface {
	Begin(ctx context.Context) (Upload, error)
	Resume(ctx context.Context, id string) (Upload, error)
	UploadSize(ctx context.Context, id string) (int64, error)
	Open(ctx context.Context, digest string) (BlobFile, error)
	Stat(ctx context.Context, digest string) (int64, error)
	SweepUploads(ctx context.Context, olderThan time.Time) (int, error)
	// Delete removes a blob, durably; one that is not there is no error. Only
	// Service.Protect calls it, see Protection.Erasures.
	Delete(ctx context.Context, digest string) error
}

// Upload is a blob on its way. It belongs to one goroutine. It and BlobFile are
// aliases, so that a store can satisfy Blobs without importing this package.
type Upload = interface {
	ID() string
	Size() int64
	io.Writer
	// ReaderFrom appends all of a reader; when the reader fails, what it gave
	// before is kept.
	io.ReaderFrom
	// Bytes returns what was written if it is at most limit bytes, else
	// problem.TooLarge.
	Bytes(limit int64) ([]byte, error)
	// Commit checks the digest ("" takes the SHA-256 that came out) and makes
	// the blob durable and visible.
	Commit(ctx context.Context, want string) (digest string, size int64, err error)
	// Suspend keeps the bytes for Resume. Cancel forgets them; after Commit
	// or Suspend it does nothing.
	Suspend() error
	Cancel() error
}

// BlobFile is an open blob.
type BlobFile = interface {
	io.Reader
	io.ReaderAt
	io.Seeker
	io.Closer
	Size() int64
}
