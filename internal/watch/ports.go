package watch

import (
	"context"
	"io"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/upstream"
)

// Store is what stays. Package storetest holds the suite that every
// implementation passes. Every writing method is one transaction and durable
// when it returns nil. Methods may be called concurrently.
type Store interface {
	Upstreams
	Deployments
	Routes
	Alerts
	// Record appends audit events that have no effect beside themselves.
	Record(ctx context.Context, now time.Time, events ...audit.Event) error
}

// Upstreams keeps upstreams, their sources, versions, notes and events.
type Upstreams interface {
	// CreateUpstream refuses (problem.Conflict) a name that is taken. Its
	// sources are due at once.
	CreateUpstream(ctx context.Context, u Upstream, ev audit.Event, now time.Time) (Upstream, error)
	// UpdateUpstream changes all but the name. change sees the row under the
	// transaction's lock. Sources are matched by kind and URL: those that stay
	// keep their state, those that are gone are forgotten with their versions.
	UpdateUpstream(ctx context.Context, name string, ev audit.Event, now time.Time, change func(Upstream) (Upstream, error)) (Upstream, error)
	// RemoveUpstream forgets an upstream with its state; events and log stay.
	RemoveUpstream(ctx context.Context, name string, ev audit.Event, now time.Time) error
	// Upstream returns one with its sources, or problem.NotFound.
	Upstream(ctx context.Context, name string) (Upstream, error)
	// Upstreams lists all by name. Cost: all upstreams and sources.
	Upstreams(ctx context.Context) ([]Upstream, error)
	// PollNow makes the sources of an upstream due.
	PollNow(ctx context.Context, name string, now time.Time) error

	// LeaseSources takes up to limit sources that are due and that nobody
	// holds, the longest due first, for the time hold. Cost: an index range
	// of limit rows.
	LeaseSources(ctx context.Context, now time.Time, hold time.Duration, limit int) ([]Lease, error)
	// RecordPoll writes what a poll found; see Poll. problem.Conflict when the
	// lease is no longer held: then nothing is written. It returns the events
	// that are new, with their ids.
	RecordPoll(ctx context.Context, p *Poll) ([]Event, error)
	// VersionStates hands out what is known of every version of a source, in
	// no order. Cost: the source's versions.
	VersionStates(ctx context.Context, sourceID int64, each func(VersionState) error) error
	// Versions lists the versions of a chart of an upstream, in no order; ""
	// lists those of every chart. Cost: the rows listed.
	Versions(ctx context.Context, upstreamID int64, chart string) ([]VersionState, error)
	// Notes lists the notes of an upstream, newest first; chart and version
	// may be "". Cost: limit rows.
	Notes(ctx context.Context, upstreamID int64, chart, version string, limit int) ([]Note, error)
	// RecordEvents keeps those events whose keys nobody recorded before, and
	// returns them with their ids. Cost: a few rows by key for each.
	RecordEvents(ctx context.Context, events []Event, now time.Time) ([]Event, error)
	// Prune forgets the oldest of what Pruning names, up to its limit, and
	// returns how much that was. The key of an event stays, so that it is never
	// recorded again.
	Prune(ctx context.Context, p Pruning) (events, deliveries int, err error)
	// Events lists events, newest first. Cost: with an upstream or a
	// deployment the matching rows by index, else a scan back from the newest
	// until limit rows match.
	Events(ctx context.Context, f EventFilter) ([]Event, error)
	// KeepFingerprint notes the fingerprint of one of our own releases, "" for
	// none, and that all releases up to its log index have theirs.
	KeepFingerprint(ctx context.Context, fingerprint string, r OwnRelease) error
	// OwnPublished lists our own releases that readers can see, with the
	// fingerprints of those that have one; yanked ones are Gone. Cost: all
	// releases.
	OwnPublished(ctx context.Context) ([]deployment.Published, error)
	// FingerprintedTo is the highest log index that KeepFingerprint was given,
	// -1 for none.
	FingerprintedTo(ctx context.Context) (int64, error)
}

// Lease is the right to poll a source until a time.
type Lease struct {
	Source   Source
	Upstream Upstream // without its other sources' state
	Token    int64
	Until    time.Time
}

// Poll is what one poll of a source found.
type Poll struct {
	SourceID   int64
	Lease      int64
	Now        time.Time
	Validators Validators
	Health     Health // as it is from now on; NextPoll ends the lease
	// Versions are inserted or updated by chart and version. Those with a zero
	// FirstSeen get Now and a leaf; so does every one for which Observed says
	// what happened.
	Versions []VersionState
	Observed []Observation
	Notes    []Note // inserted, or updated by key
	Events   []Event
	// More says that the poll goes on: validators, health and lease stay as
	// they are. So a list of 100,000 versions is written in pieces; a crash in
	// between repeats the poll, which finds the rest.
	More bool
}

// Observation is what the log says of a version: that it was first seen,
// changed, vanished, returned, or that its archive was read.
type Observation struct {
	What    string // tlog.ObservedSeen and so on
	Chart   string
	Version string
	Archive string // sha256:… as listed, or as read for tlog.ObservedArchive; "" unknown
	Content string // sha256:…; "" while the archive was not read
	Created time.Time
}

// EventFilter chooses events; zero fields choose all.
type EventFilter struct {
	Upstream    string
	Chart       string
	Version     string
	Kind        EventKind
	MinSeverity Severity
	Deployment  string
	Since       time.Time
	Before      int64 // events with a lower id
	Limit       int   // at most 1000; 0 means 100
}

// Pruning says what is to be forgotten.
type Pruning struct {
	// Events before this time are, unless they have a leaf in the log, were not
	// relayed yet, or a delivery of them is kept.
	Events time.Time
	// These kinds stay while their upstream is watched, those of UntilRecovered
	// until something of it was said to have recovered, or while their
	// deployment is there.
	WhileWatched, UntilRecovered, WhileDeployed []EventKind
	// Deliveries that were due before this time are, unless they wait.
	Deliveries time.Time
	Limit      int // of each
}

// Deployments keeps what runs where.
type Deployments interface {
	// ReplaceDeployments makes list what an import brought: those that it
	// brought before and that are not in list are gone. compare sees the old
	// and the new state of each under the transaction's lock (old nil for a
	// new one, new nil for one that is gone) and returns the events of the
	// difference. What people declared (SetDeployment) stays.
	// Of im, Name, From, Problems, MoreProblems and Every are kept: nil leaves
	// the interval that was declared, 0 takes it back. When the silence of the
	// import was told of, Import.Back is recorded as well.
	ReplaceDeployments(ctx context.Context, im Import, list []Deployment, ev audit.Event, now time.Time, compare func(old, new *Deployment) []Event) ([]Event, error)
	// SetDeployment changes what people declare of a deployment: owner,
	// environment, tier, exposure.
	SetDeployment(ctx context.Context, key string, ev audit.Event, now time.Time, change func(Deployment) (Deployment, error)) (Deployment, error)
	// Deployments lists those that an import brought last, "" for all
	// imports, by key. Cost: all of them, with their values.
	Deployments(ctx context.Context, importName string) ([]Deployment, error)
	// DeploymentList is Deployments without Values and Print, which are most
	// of what is kept of them.
	DeploymentList(ctx context.Context, importName string) ([]Deployment, error)
	// Imports lists the imports by name. Cost: all of them, and a count of the
	// deployments.
	Imports(ctx context.Context) ([]Import, error)
	// SilentImports records Import.Silence of each import that declared an
	// interval and counts as silent, see Silent, once until it is made again.
	// Cost: an index look-up, and for each that is silent a few rows by key and
	// a count of its deployments.
	SilentImports(ctx context.Context, now time.Time) ([]Event, error)
	Deployment(ctx context.Context, key string) (Deployment, error)
}

// Routes keeps routes and what is on its way.
type Routes interface {
	CreateRoute(ctx context.Context, r Route, ev audit.Event, now time.Time) (Route, error)
	RemoveRoute(ctx context.Context, name string, ev audit.Event, now time.Time) error
	// Routes lists all by name, with their health.
	Routes(ctx context.Context) ([]Route, error)
	// RelayEvents hands the oldest events that were not relayed yet to plan,
	// and in one transaction keeps the deliveries that it returns and notes
	// that the events were relayed. A crash before it ends repeats it. It
	// returns how many events there were. plan must be pure: it may be called
	// again. A delivery's Events are joined to a waiting delivery of the same
	// route and due time when that has a digest. The store gives the ids.
	// Cost: limit rows.
	RelayEvents(ctx context.Context, limit int, plan func([]Event) []Delivery) (int, error)
	// LeaseDeliveries takes waiting deliveries that are due.
	LeaseDeliveries(ctx context.Context, now time.Time, hold time.Duration, limit int) ([]Delivery, error)
	// SettleDelivery writes what became of an attempt; problem.Conflict when
	// the lease is no longer held.
	SettleDelivery(ctx context.Context, d Delivery, now time.Time) error
	// ResendDeliveries makes deliveries of a route that have failed due again,
	// as if they had not been tried: one, or all for "". It returns how many.
	// problem.NotFound without the route or the delivery, problem.Conflict for
	// one that has not failed.
	ResendDeliveries(ctx context.Context, route, delivery string, ev audit.Event, now time.Time) (int, error)
	// ListDeliveries lists a route's deliveries, newest first, without their
	// events.
	ListDeliveries(ctx context.Context, route string, limit int) ([]Delivery, error)
}

// Sources reads what upstreams publish. Implementations limit sizes and times,
// refuse addresses that may not be dialled, and hold each host to its limit of
// concurrent requests.
type Sources interface {
	// Poll asks a source what is new since its validators. Errors are
	// problems for people: Unavailable when it may work later, Invalid or
	// TooLarge for what was read and cannot be used, Denied for an address or
	// a credential that is refused.
	Poll(ctx context.Context, s Source, v Validators) (Found, error)
	// Archive opens the archive of a version, unless the server says that it is
	// still the one that ETag or LastModified name. The caller closes it and
	// reads no more than it wants; a transfer that ends early fails.
	Archive(ctx context.Context, s Source, url string, v Validators) (Opened, error)
	// Provenance reads the provenance file that is published for the archive
	// at url, nil where there is none. problem.Unavailable when it may be had
	// later.
	Provenance(ctx context.Context, s Source, url string) ([]byte, error)
}

// Opened is an archive as it is served.
type Opened struct {
	io.ReadCloser            // nil when Unchanged
	Unchanged     bool       // since the validators
	Validators    Validators // ETag and LastModified of it, "" where the server has none
}

// Found is what a poll read.
type Found struct {
	Unchanged  bool // nothing new since the validators; the rest is empty
	Validators Validators
	Index      *upstream.Index  // of a source that lists; its URLs are absolute
	Notes      []Note           // of a source that speaks
	Repository *RepositoryState // of a source on GitHub
	MovedTo    string           // the address that answered after permanent redirects, when it is another
	Bytes      int64            // that were transferred
	RetryAfter time.Duration    // the server asked for this pause; 0 for none
}

// RepositoryState is what a forge says of a repository.
type RepositoryState struct {
	Archived bool
	MovedTo  string // full name, when it is another
}

// Registry is our own registry.
type Registry interface {
	// AllowInstance refuses who may not, and records the refusal.
	AllowInstance(ctx context.Context, c audit.Caller, a access.Action) error
	// MirrorTarget refuses a project that does not mirror this upstream.
	MirrorTarget(ctx context.Context, project, upstream string) error
	// Mirror releases an archive in a project as its first bytes seen; the
	// same bytes again are no error. Its refusals are problems.
	Mirror(ctx context.Context, project string, archive io.Reader, origin MirrorOrigin) (MirrorResult, error)
	// ReleasesAfter lists releases by log index after one.
	ReleasesAfter(ctx context.Context, logIndex int64, limit int) ([]OwnRelease, error)
	// OpenArchive opens an archive by digest, checked while it is read.
	OpenArchive(ctx context.Context, digest string) (io.ReadCloser, error)
	// KeepArchive stores bytes by digest; they are durable when it returns nil.
	KeepArchive(ctx context.Context, archive []byte) (digest string, err error)
}

// MirrorOrigin is where mirrored bytes came from.
type MirrorOrigin struct {
	Upstream  string
	URL       string
	Chart     string
	Version   string
	Digest    string    // sha256:… as listed; "" unknown
	Created   time.Time // as listed
	FirstSeen time.Time
	// Provenance reads the provenance of the archive with a digest, nil for
	// none. It is asked only for what is not released yet, and its error ends
	// the release. nil asks for none.
	Provenance func(ctx context.Context, archive string) ([]byte, error)
}

// MirrorResult is what became of it.
type MirrorResult struct {
	Digest    string
	LogIndex  int64
	Unchanged bool
}

// OwnRelease is a release of our registry.
type OwnRelease struct {
	Project, Chart, Version, Archive string
	LogIndex                         int64
}

// Sender delivers messages.
type Sender interface {
	// Send delivers once. Unavailable means that it may be tried again; any
	// other problem that it never will work.
	Send(ctx context.Context, r Route, d Delivery) error
}
