package release

import (
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/signature"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Caller is who asks, through which door, from where.
type Caller = audit.Caller

// ProjectKind says what a project holds. It never changes.
type ProjectKind string

// The kinds of project.
const (
	KindCharts    ProjectKind = "charts"    // Helm charts: releases that never change
	KindArtifacts ProjectKind = "artifacts" // a plain OCI project: tags move, deletes are allowed, Helm charts are refused
)

// ProjectState is where a project stands in its life.
type ProjectState string

// The states of a project. Importing ends once, by the cut-over; removed is
// final, and the names of a removed project stay burnt.
const (
	ProjectActive    ProjectState = "active"
	ProjectImporting ProjectState = "importing"
	ProjectRemoved   ProjectState = "removed"
)

// Project is a namespace with its own policy, members and index.
type Project struct {
	ID           int64        `json:"-"`
	Name         string       `json:"name"`
	Kind         ProjectKind  `json:"kind"`
	Public       bool         `json:"public"`
	State        ProjectState `json:"state"`
	Policy       Policy       `json:"policy"`
	PolicyDigest string       `json:"policy_digest"`
	// ArtifactHubID is the id of the repository on Artifact Hub that this
	// project is, "" for none. Artifact Hub reads it back from
	// artifacthub-repo.yml to know that both have the same owner.
	ArtifactHubID string `json:"artifacthub_id,omitempty"`
	// Generation advances with every change that a reader of the project's
	// index can see. It is the ETag of the index.
	Generation int64     `json:"generation"`
	Changed    time.Time `json:"changed"` // when Generation last moved
	Created    time.Time `json:"created"`
	CreatedBy  string    `json:"created_by"` // account id
}

// State is where a release stands. No state frees its name.
type State string

// The states of a release.
const (
	Active State = "active"
	Staged State = "staged" // claimed, waits for the provenance or signatures that the policy demands; invisible
	Yanked State = "yanked" // left out of resolution; exact references still serve it

	Quarantined State = "quarantined" // blocked at every door until people decide, see Release.Quarantine
	Tombstoned  State = "tombstoned"  // its bytes are gone for good and are not missed, see Release.Tombstone
)

// Withheld says that no byte of the release is served. Its leaf, its proof and
// what is known of it stay.
func (s State) Withheld() bool { return s == Quarantined || s == Tombstoned }

// Release is one published chart version. All fields but State, Provenance
// (set at most once), Yank, Quarantine and Tombstone are frozen by the claim.
type Release struct {
	ID         int64     `json:"-"`
	ProjectID  int64     `json:"-"`
	Project    string    `json:"project"`
	Chart      string    `json:"chart"`
	Version    string    `json:"version"`
	Tag        string    `json:"tag"`
	File       string    `json:"file"`           // name-version.tgz
	Archive    string    `json:"digest"`         // sha256:… of the archive's bytes
	Size       int64     `json:"size"`           // of the archive, in bytes
	Content    string    `json:"content_digest"` // sha256:… of what is in the archive
	Manifest   string    `json:"manifest"`       // digest of the OCI manifest, frozen at the claim
	Config     string    `json:"config"`         // digest of the OCI config (Chart.yaml as JSON)
	Provenance string    `json:"provenance,omitempty"`
	Publisher  string    `json:"publisher"`      // account id
	By         string    `json:"publisher_name"` // the account's name, joined at read time
	Door       string    `json:"door"`
	Time       time.Time `json:"time"`
	LogIndex   int64     `json:"log_index"`
	State      State     `json:"state"`
	Legacy     bool      `json:"legacy"` // taken over from an older repository before the cut-over
	Yank       *YankNote `json:"yank,omitempty"`
	// Quarantine and Tombstone are set in the states of these names alone.
	Quarantine *QuarantineNote `json:"quarantine,omitempty"`
	Tombstone  *TombstoneNote  `json:"tombstone,omitempty"`

	// Key and SortKey are the identity and the order of Version
	// (chart.Version.Key, chart.Version.SortKey). Key is empty for a legacy
	// release whose identity another one holds already.
	Key     string `json:"-"`
	SortKey string `json:"-"`
}

// Ref is project/chart@version.
func (r *Release) Ref() string { return r.Project + "/" + r.Chart + "@" + r.Version }

// Repository is the OCI repository of the release's chart.
func (r *Release) Repository() string { return r.Project + "/" + r.Chart }

// YankNote is why, when and by whom a release was yanked.
type YankNote struct {
	Reason   string    `json:"reason"` // one of YankReasons
	Text     string    `json:"text,omitempty"`
	By       string    `json:"by"`      // account id
	ByName   string    `json:"by_name"` // joined at read time
	Time     time.Time `json:"time"`
	LogIndex int64     `json:"log_index"`
}

// Receipt is the answer to a push: the release as it stands, whether this
// push made it, and the proof that it stands in the log.
type Receipt struct {
	Release   Release
	Unchanged bool // the same bytes were released before; nothing moved
	Proof     tlog.Proof
	Signed    // what came of its signatures
}

// Signed is what came of the signatures of a release.
type Signed struct {
	Signatures []signature.Signature `json:"signatures,omitempty"`
	// Waits is what a staged release still needs; Would what a policy that only
	// reports would have refused.
	Waits []string `json:"waits_for,omitempty"`
	Would []string `json:"would_refuse,omitempty"`
}

// Manifest is an OCI manifest or index as it was pushed.
type Manifest struct {
	Repository   string
	Digest       string
	MediaType    string
	ArtifactType string // of the image specification: artifactType, or the config's media type
	Subject      string // digest of the manifest it refers to, or ""
	Annotations  []byte // JSON object, for referrers; nil when there are none
	Bytes        []byte
	Release      *Release // the release it is the manifest of, or nil
}

// Descriptor is what the list of referrers shows of a manifest.
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// ChartSummary is one chart of a project in a listing.
type ChartSummary struct {
	Name     string    `json:"name"`
	Latest   Release   `json:"latest"` // the newest by SemVer that is not yanked, pre-releases last
	Releases int       `json:"releases"`
	Updated  time.Time `json:"updated"`
	// Description is that of the newest release, for people.
	Description string `json:"description,omitempty"`
}

// Detail is all that is known of one release.
type Detail struct {
	Release  Release
	Metadata chart.Metadata
	Signed   // Would is not kept
}

// Account is a person or a machine that can hold grants.
type Account struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Kind     string    `json:"kind"` // user or robot
	Disabled bool      `json:"disabled"`
	Created  time.Time `json:"created"`
}

// Token is a credential as it may be shown: never its secret.
type Token struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Account string `json:"account"` // name of the owner, or of who made it
	// Personal tokens stand for their account and can never do more than it
	// may. A token that is not personal belongs to its projects: it stands
	// for nobody, and stays when its maker leaves.
	Personal  bool           `json:"personal"`
	AccountID string         `json:"-"`
	Grants    []access.Grant `json:"grants"`
	Created   time.Time      `json:"created"`
	Expires   time.Time      `json:"expires"`
	LastUsed  time.Time      `json:"last_used,omitzero"`
	Revoked   time.Time      `json:"revoked,omitzero"`
}

// AuditRecord is an audit event with its place in the audit log.
type AuditRecord struct {
	Index int64       `json:"index"`
	Event audit.Event `json:"event"`
	Actor string      `json:"actor_name"` // joined at read time

	Leaf []byte `json:"-"` // as it stands in the log
	Salt []byte `json:"-"` // of Event.Source; empty when that was forgotten
}

// AuditFilter selects audit events; empty fields select all. Before is an
// exclusive upper bound of the index, 0 for the newest, From an inclusive lower
// one; Limit at most MaxAuditPage.
type AuditFilter struct {
	Project, Chart, Version string
	Action                  string // a name, or a prefix that ends in "."
	Actor                   string // account name
	Outcome                 string
	Before                  int64
	Limit                   int

	From         int64
	Since, Until time.Time // Since is in the span, Until is not
	Source       string    // address that the request came from
	Rule         string    // that refused
	Oldest       bool      // the oldest first, and not the newest
}

// MaxAuditPage is how many audit events are read at a time.
const MaxAuditPage = 10_000

// Size limits that every door shares.
const (
	MaxManifest   = 4 << 20  // bytes of an OCI manifest; the specification asks for at least 4 MiB
	MaxProvenance = 1 << 20  // bytes of a provenance file
	MaxSmallBlob  = 32 << 10 // a blob up to this size that is not gzip lives in the database
)

// ManifestRef says under which name a manifest is put: by digest, by tags, or
// by digest with tags (specification: "?tag=").
type ManifestRef struct {
	Digest string
	Tags   []string
}

// ManifestResult is the answer to a manifest put.
type ManifestResult struct {
	Digest  string
	Subject string // of the manifest, for the OCI-Subject header
	Tags    []string
	Receipt *Receipt // when the manifest made or repeated a release
}

// PushOptions are what a classic push can carry beside the bytes.
type PushOptions struct {
	Force    bool   // the client asked for an overwrite; it is named in the alert and changes nothing
	FileName string // the name that the client gave the file, "" when it gave none
}

// ImportOrigin is what the older repository said of a release.
type ImportOrigin struct {
	URL     string
	Created time.Time // zero when it said nothing
	Digest  string    // sha256:…, or ""
}

// ProjectOptions are chosen once, when a project is made.
type ProjectOptions struct {
	Kind      ProjectKind
	Public    bool
	Importing bool
	Policy    Policy
}

// ProjectChange names what to change; nil leaves it.
type ProjectChange struct {
	Public        *bool
	Policy        *Policy // the whole of it
	ArtifactHubID *string // a UUID, "" for none
	// RequireProvenance changes this one field of the policy.
	RequireProvenance *bool
	Text              string // why, for the second person that a weaker policy needs
}

// TokenRequest asks for a new token. Account is the owner's name, "" for the
// caller's own. Expires must lie in the future, at most MaxTokenLife away.
type TokenRequest struct {
	Name    string
	Account string
	Grants  []access.Grant
	Expires time.Time
}

// MaxTokenLife bounds every token: there is none that never expires.
const MaxTokenLife = 366 * 24 * time.Hour

// AccountGrant is a grant with the name of the account that holds it.
type AccountGrant struct {
	Account string       `json:"account"`
	Grant   access.Grant `json:"grant"`
}

// LogInfo is the transparency log as it stands.
type LogInfo struct {
	Origin      string    `json:"origin"`
	Size        int64     `json:"size"`
	Root        string    `json:"root"` // base64
	Time        time.Time `json:"time"`
	VerifierKey string    `json:"verifier_key"`
	Checkpoint  []byte    `json:"-"`
}

// Rotation is how the log went from one key to another. Proof is the proof file
// of its leaf, with a checkpoint that both keys signed: whoever trusts the old
// key can trust the new one by it. nil while that is still to come.
type Rotation struct {
	LogIndex int64
	Old, New string // verifier keys
	Until    time.Time
	Proof    []byte
}
