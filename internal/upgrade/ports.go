package upgrade

import (
	"context"
	"io"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// Store is what stays. Package storetest holds the suite that every
// implementation passes. Every writing method is one transaction, with its
// audit event where it takes one, and durable when it returns nil. Methods may
// be called concurrently.
type Store interface {
	Feeds
	Reviews
	Exposures
	Upgrades
	Tickets
}

// Feeds keeps feeds, their snapshots, the policy, windows and waivers: all that
// judgements are made from.
type Feeds interface {
	// CreateFeed refuses (problem.Conflict) a name that is taken. One with a
	// URL is due at once.
	CreateFeed(ctx context.Context, f Feed, ev audit.Event, now time.Time) (Feed, error)
	UpdateFeed(ctx context.Context, name string, ev audit.Event, now time.Time, change func(Feed) (Feed, error)) (Feed, error)
	// RemoveFeed takes a feed out of all judgements from now on; its snapshots
	// stay, since reviews name them.
	RemoveFeed(ctx context.Context, name string, ev audit.Event, now time.Time) error
	// Feeds lists all by name, with their current snapshots.
	Feeds(ctx context.Context) ([]Feed, error)
	FeedNow(ctx context.Context, name string, now time.Time) error
	// LeaseFeeds takes feeds with a URL that are due and that nobody holds.
	LeaseFeeds(ctx context.Context, now time.Time, hold time.Duration, limit int) ([]FeedLease, error)
	// RecordFeed writes what a read or an import brought: health and
	// validators, and the snapshot that is current from now on; nil keeps the
	// one before. A snapshot with the digest of the current one makes no new
	// row. lease is 0 for an import by hand; else problem.Conflict when it is
	// no longer held.
	RecordFeed(ctx context.Context, name string, lease int64, h FeedHealth, v watch.Validators, s *advisory.Snapshot, ev *audit.Event, now time.Time) (Feed, error)
	// Snapshots lists a feed's snapshots, newest first. Cost: limit rows.
	Snapshots(ctx context.Context, feed string, limit int) ([]advisory.Snapshot, error)
	// Inputs is a number that rises whenever a current snapshot, the policy, a
	// window or a waiver changes: what is kept in memory is read again then.
	// Cost: one row.
	Inputs(ctx context.Context) (int64, error)

	// Policy is the one that was set last; problem.NotFound when none was.
	Policy(ctx context.Context) (PolicyDocument, error)
	SetPolicy(ctx context.Context, p PolicyDocument, ev audit.Event) error
	Policies(ctx context.Context, limit int) ([]PolicyDocument, error)

	PutWindow(ctx context.Context, w calendar.Window, ev audit.Event) error
	RemoveWindow(ctx context.Context, name string, ev audit.Event) error
	Windows(ctx context.Context) ([]calendar.Window, error)

	CreateWaiver(ctx context.Context, w Waiver, ev audit.Event) (Waiver, error)
	// UpdateWaiver changes one under the transaction's lock: approval, end.
	UpdateWaiver(ctx context.Context, id int64, ev audit.Event, change func(Waiver) (Waiver, error)) (Waiver, error)
	// Waivers lists those that have not ended or expired at now, or all with a
	// zero now; newest first.
	Waivers(ctx context.Context, now time.Time) ([]Waiver, error)
}

// FeedLease is the right to read a feed until a time.
type FeedLease struct {
	Feed  Feed
	Token int64
	Until time.Time
}

// Reviews keeps reviews and their sign-offs.
type Reviews interface {
	// PutReview keeps a review as the newest of its move. One with the same
	// digest is returned as it is kept, with its sign-offs; when it was replaced
	// it is open again, since what it was made from is back. Other open ones of
	// the same deployment and target version become ReviewReplaced.
	PutReview(ctx context.Context, r Review) (Review, error)
	// Review finds one by digest, or by "sha256:" and at least 8 digits that
	// name one alone.
	Review(ctx context.Context, digest string) (Review, error)
	// ListReviews lists the newest, without Compared, Notes, findings of
	// Remaining, and the rules of decisions. Cost: limit rows.
	ListReviews(ctx context.Context, f ReviewFilter) ([]Review, error)
	// SignReview adds a sign-off and its leaf in one transaction. check sees
	// the review and its sign-offs under the lock and returns the state that
	// follows, or refuses.
	SignReview(ctx context.Context, digest string, s Signoff, leaf tlog.Leaf, ev audit.Event, check func(Review) (ReviewState, error)) (Review, error)
}

// ReviewFilter chooses reviews; zero fields choose all.
type ReviewFilter struct {
	Deployment string
	Chart      string
	To         string // version
	State      ReviewState
	Before     int64 // ids below
	Limit      int   // at most 1000; 0 means 100
}

// Exposures keeps what was open where and for how long.
type Exposures interface {
	// SyncExposures makes list what is open on a deployment: what is new in it
	// is opened at now, what is missing from it is closed with how, what is
	// there already keeps its Opened and takes the rest. It returns the two
	// differences.
	SyncExposures(ctx context.Context, deployment string, list []Exposed, how func(Exposed) string, now time.Time) (opened, closed []Exposed, err error)
	// OpenExposures are those of all deployments that are open. Cost: all of
	// them, by an index; 10,000 deployments with 50 findings are 500,000 rows.
	OpenExposures(ctx context.Context, deployment string) ([]Exposed, error)
	// ExposuresSince are those that were open at any time since then.
	ExposuresSince(ctx context.Context, since time.Time, each func(Exposed) error) error
}

// Upgrades keeps the stories.
type Upgrades interface {
	// PutUpgrade makes the upgrade of a deployment to a version exist, or
	// returns the open one; others of the deployment that are open and not yet
	// Approved become Superseded.
	PutUpgrade(ctx context.Context, u Upgrade, now time.Time) (Upgrade, error)
	// MoveUpgrade changes one under the lock; the step that change adds gets
	// the leaf's index where there is a leaf.
	MoveUpgrade(ctx context.Context, id int64, leaf tlog.Leaf, ev *audit.Event, change func(Upgrade) (Upgrade, error)) (Upgrade, error)
	Upgrade(ctx context.Context, id int64) (Upgrade, error)
	// ListUpgrades lists open ones by due time, then those that are closed,
	// newest first. Cost: the open ones, and limit rows.
	ListUpgrades(ctx context.Context, f UpgradeFilter) ([]Upgrade, error)
	// PutPlan keeps the newest plan of a deployment; those before stay by
	// digest while an upgrade names them.
	PutPlan(ctx context.Context, p Plan) error
	// Plan finds one by deployment key (the newest) or digest.
	Plan(ctx context.Context, deploymentOrDigest string) (Plan, error)
	// Plans lists the newest plan of every deployment, by due time; those
	// without one last. Cost: one row a deployment.
	Plans(ctx context.Context) ([]Plan, error)
	// PutAssessment keeps the newest assessment of a deployment.
	PutAssessment(ctx context.Context, a Assessment) error
	Assessment(ctx context.Context, deployment string) (Assessment, error)
	// Assessments lists all by deployment, without the rules of decisions but
	// for what the first of them says of "exploited". Cost: all deployments with
	// their findings; pages use Summaries.
	Assessments(ctx context.Context, each func(Assessment) error) error
	Summaries(ctx context.Context) ([]Summary, error)
	// ForgetDeployment is for one that is gone: its assessment goes, its newest
	// plan as far as no upgrade names it, and its open exposures are closed at
	// now as Gone. Upgrades and reviews stay. Nothing happens where there is
	// nothing.
	ForgetDeployment(ctx context.Context, key string, now time.Time) error
}

// UpgradeFilter chooses upgrades; zero fields choose all.
type UpgradeFilter struct {
	Deployment string
	Owner      string
	State      State
	Open       bool // only those that are
	Limit      int  // of closed ones, at most 1000; 0 means 100
}

// Summary is an assessment in one row.
type Summary struct {
	Deployment  string                    `json:"deployment"`
	Chart       string                    `json:"chart"`
	Version     string                    `json:"version"`
	Environment string                    `json:"environment,omitempty"`
	Owner       string                    `json:"owner,omitempty"`
	At          time.Time                 `json:"at"`
	Open        map[manifest.Severity]int `json:"open"`    // by severity, SeverityUnknown among them
	Unknown     int                       `json:"unknown"` // images
	Images      int                       `json:"images"`
	NotJudged   string                    `json:"not_judged,omitempty"`
	Deadline    time.Time                 `json:"deadline,omitzero"`
	SetBy       string                    `json:"set_by,omitempty"`
}

// Summary is the assessment in one row. A finding that nobody rated counts as
// unknown.
func (a *Assessment) Summary() Summary {
	out := Summary{
		Deployment: a.Deployment, Chart: a.Chart, Version: a.Version, Environment: a.Environment, Owner: a.Owner, At: a.At,
		Open: map[manifest.Severity]int{}, Unknown: len(a.Unknown), Images: a.Images, NotJudged: a.NotJudged, Deadline: a.Deadline, SetBy: a.SetBy,
	}
	for i := range a.Findings {
		severity := a.Findings[i].Severity
		if severity.Rank() < 0 {
			severity = SeverityUnknown
		}
		out.Open[severity]++
	}
	return out
}

// Tickets keeps trackers and their tickets.
type Tickets interface {
	CreateTracker(ctx context.Context, t Tracker, ev audit.Event, now time.Time) (Tracker, error)
	RemoveTracker(ctx context.Context, name string, ev audit.Event, now time.Time) error
	Trackers(ctx context.Context) ([]Tracker, error)
	// WantTicket makes a row for an upgrade in a tracker, due at once, or makes
	// the one that is there due when digest differs from what it has.
	WantTicket(ctx context.Context, tracker string, upgrade int64, marker, digest string, now time.Time) error
	LeaseTickets(ctx context.Context, now time.Time, hold time.Duration, limit int) ([]Ticket, error)
	// SettleTicket writes what became of an attempt; problem.Conflict when the
	// lease is no longer held.
	SettleTicket(ctx context.Context, t Ticket, now time.Time) error
	ListTickets(ctx context.Context, tracker string, limit int) ([]Ticket, error)
}

// Watch is what is known of deployments and of what upstreams publish;
// *watch.Service has it.
type Watch interface {
	// AllDeployments hands out every deployment with its values and images.
	AllDeployments(ctx context.Context, each func(watch.Deployment) error) error
	OneDeployment(ctx context.Context, key string) (watch.Deployment, error)
	// ListDeployments lists them without values. Cost: a row each.
	ListDeployments(ctx context.Context) ([]watch.Deployment, error)
	// ChartVersions lists the published versions of the chart that a
	// deployment was matched with: of its upstream, or of our own project.
	// Newest first by SemVer, stable before pre-releases.
	ChartVersions(ctx context.Context, d watch.Deployment) ([]deployment.Published, error)
	// FetchArchive opens the bytes of a version: those that are kept, else
	// those that its source serves now, which are kept then. Unavailable when
	// they cannot be had.
	FetchArchive(ctx context.Context, v deployment.Published) (archive []byte, digest string, err error)
	// ChartNotes are what sources say of the versions of a chart, the newest
	// thousand. Cost: one query.
	ChartNotes(ctx context.Context, upstream, chart string) ([]watch.Note, error)
	// Tell records events once each by key, and routes tell them.
	Tell(ctx context.Context, events []watch.Event) error
	// Changes names the present state of deployments and of what is published:
	// another text when one of them changed. Cost: the imports and upstreams.
	Changes(ctx context.Context) (string, error)
}

// Registry is our own registry.
type Registry interface {
	// AllowInstance refuses who may not, and records the refusal.
	AllowInstance(ctx context.Context, c audit.Caller, a access.Action) error
	// KeepBlob stores bytes by digest; they are durable when it returns nil.
	KeepBlob(ctx context.Context, content io.Reader) (digest string, size int64, err error)
	// OpenBlob opens them, checked while they are read.
	OpenBlob(ctx context.Context, digest string) (io.ReadCloser, error)
}

// Mirrors reads feeds at their addresses, within limits, through the one way
// out.
type Mirrors interface {
	// ReadFeed asks for what is new since the validators. The caller closes
	// the body. Errors are problems as those of watch.Sources.
	ReadFeed(ctx context.Context, f Feed) (FeedBody, error)
}

// FeedBody is what an address gave.
type FeedBody struct {
	Unchanged  bool
	Validators watch.Validators
	Name       string // the last part of the address, whose ending tells the packing
	Body       io.ReadCloser
	RetryAfter time.Duration
}

// Desk makes and keeps issues in a tracker. Its errors are problems:
// Unavailable when it may work later.
type Desk interface {
	// Find looks for the issue that has the marker in its text; NotFound when
	// there is none.
	Find(ctx context.Context, t Tracker, marker string) (Issue, error)
	Create(ctx context.Context, t Tracker, i IssueText) (Issue, error)
	Update(ctx context.Context, t Tracker, number int64, i IssueText) (Issue, error)
}

// IssueText is what an issue should say.
type IssueText struct {
	Title  string
	Body   string // Markdown, with the marker in a comment
	Labels []string
	Closed bool
}

// Issue is one that exists.
type Issue struct {
	Number int64
	URL    string
	Closed bool
}

var _ Watch = (*watch.Service)(nil)
