package upgrade

import (
	"time"

	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/decision"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/notes"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// Feed is a source of advisories, or of what is said about them.
type Feed struct {
	ID         int64          `json:"-"`
	Name       string         `json:"name"`
	Kind       advisory.Kind  `json:"kind"`
	URL        string         `json:"url,omitempty"`         // a mirror that is read by schedule; "" for a feed that is imported by hand
	Credential string         `json:"credential,omitempty"`  // name in the server's credentials file
	Interval   watch.Duration `json:"interval,omitempty"`    // between two reads of URL
	StaleAfter watch.Duration `json:"stale_after,omitempty"` // older than this it is said to be old; 0: as the decision policy has it
	Created    time.Time      `json:"created"`
	CreatedBy  string         `json:"created_by"`
	Health     FeedHealth     `json:"health"`
	// Current is the snapshot in use; nil before the first import.
	Current *advisory.Snapshot `json:"current,omitempty"`
	// Old says how old the data are where they are older than they may be; ""
	// where they are fresh.
	Old        string           `json:"old,omitempty"`
	Validators watch.Validators `json:"-"`
}

// FeedHealth is how the reads of a feed go.
type FeedHealth struct {
	LastTry     time.Time `json:"last_try,omitzero"`
	LastSuccess time.Time `json:"last_success,omitzero"` // also when nothing was new
	NextTry     time.Time `json:"next_try,omitzero"`
	Failures    int       `json:"failures"`
	Error       string    `json:"error,omitempty"`
	// Faults are the first records of the current snapshot that cannot be used.
	Faults []string `json:"faults,omitempty"`
}

// Inputs are the states that a judgement was made from.
type Inputs struct {
	Snapshots []advisory.Snapshot `json:"snapshots"` // by feed
	Policy    PolicyRef           `json:"policy"`
	Old       []string            `json:"old,omitempty"` // "epss: read 3 d ago": what should be fresher
}

// PolicyRef names a decision policy.
type PolicyRef struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Digest  string `json:"digest"`
}

// PolicyDocument is a decision policy as somebody set it.
type PolicyDocument struct {
	PolicyRef
	Text  string    `json:"text"`
	Set   time.Time `json:"set"`
	SetBy string    `json:"set_by"`
}

// FindingKind says what a finding is about.
type FindingKind string

// The kinds of finding.
const (
	OfAdvisory      FindingKind = "advisory"       // of the software in an image
	OfChartAdvisory FindingKind = "chart-advisory" // of the chart itself, by an advisory
	OfPosture       FindingKind = "posture"        // of what is rendered
	OfHardening     FindingKind = "hardening"      // a newer version offers it, and it is not used
)

// Finding is one thing that is open on one deployment.
type Finding struct {
	Key        string              `json:"key"` // names it on this deployment across time: advisory and component, or rule and object
	Kind       FindingKind         `json:"kind"`
	Severity   manifest.Severity   `json:"severity"` // "unknown" where nobody rated it
	Title      string              `json:"title"`    // our words, or the record's summary
	Advisory   string              `json:"advisory,omitempty"`
	Aliases    []string            `json:"aliases,omitempty"`
	Score      float64             `json:"score,omitempty"` // CVSS base score
	Exploited  bool                `json:"exploited,omitempty"`
	EPSS       *float64            `json:"epss,omitempty"`
	Images     []string            `json:"images,omitempty"` // as they run
	Component  string              `json:"component,omitempty"`
	Version    string              `json:"version,omitempty"` // of the component
	Confidence advisory.Confidence `json:"confidence,omitempty"`
	Fixed      []string            `json:"fixed,omitempty"` // versions of the component
	Workaround string              `json:"workaround,omitempty"`
	Rule       string              `json:"rule,omitempty"`   // of a finding of the chart
	Object     string              `json:"object,omitempty"` // that it is about
	Doubt      string              `json:"doubt,omitempty"`
	Since      time.Time           `json:"since,omitzero"` // when we first knew that it is open here
	Decision   decision.Decision   `json:"decision"`
}

// SeverityUnknown is the severity of what nobody rated.
const SeverityUnknown manifest.Severity = "unknown"

// UnknownImage is an image of which nobody can say what is open.
type UnknownImage struct {
	Image string `json:"image"`
	Why   string `json:"why"`
}

// Assessment is what is open on one deployment now.
type Assessment struct {
	Deployment  string         `json:"deployment"`
	Chart       string         `json:"chart"`
	Version     string         `json:"version"`
	Environment string         `json:"environment,omitempty"`
	Owner       string         `json:"owner,omitempty"`
	Exposure    decision.Value `json:"exposure"`
	Mission     decision.Value `json:"mission"`
	At          time.Time      `json:"at"`
	Inputs      Inputs         `json:"inputs"`
	Findings    []Finding      `json:"findings"` // most urgent first
	Lifted      []Finding      `json:"lifted"`   // by VEX or waiver
	Unknown     []UnknownImage `json:"unknown"`
	Images      int            `json:"images"` // that run, unknown ones too
	// NotJudged says why the deployment could not be judged at all, such as that
	// its images are not known; "" when it could.
	NotJudged string    `json:"not_judged,omitempty"`
	Deadline  time.Time `json:"deadline,omitzero"` // the earliest of the findings
	SetBy     string    `json:"set_by,omitempty"`  // key of the finding that sets it
	Doubts    []string  `json:"doubts"`
}

// Side is one of the two versions of a review.
type Side struct {
	Version   string    `json:"version"`
	Archive   string    `json:"archive,omitempty"`  // digest; "" when its bytes are not had
	Upstream  string    `json:"upstream,omitempty"` // or Project: where it was published
	Project   string    `json:"project,omitempty"`
	FirstSeen time.Time `json:"first_seen,omitzero"`
	Images    []string  `json:"images"` // rendered with the deployment's values
}

// Review is what moving one deployment from one version to another means. It is
// made once and never changed; Digest is over its JSON without the fields ID,
// Digest, State and Signoffs.
type Review struct {
	ID     int64  `json:"id"`
	Digest string `json:"digest"` // sha256:…
	// Substance is over what the review comes to: archives, findings with their
	// deadlines, verdict and checklist, and not the age of data. Inputs that
	// change nothing of it make no new review.
	Substance  string    `json:"substance"`
	Deployment string    `json:"deployment"`
	Chart      string    `json:"chart"`
	From       Side      `json:"from"`
	To         Side      `json:"to"`
	Made       time.Time `json:"made"`
	Inputs     Inputs    `json:"inputs"`

	Closed     []Finding      `json:"closed"`
	Introduced []Finding      `json:"introduced"`
	Remaining  []Finding      `json:"remaining"`
	Unknown    []UnknownImage `json:"unknown"` // of the new version
	// Compared is what the difference does: posture, values, APIs, effort, undo.
	Compared manifest.Comparison `json:"compared"`
	Notes    []NoteHints         `json:"notes"`
	Deadline time.Time           `json:"deadline,omitzero"` // earliest among closed
	SetBy    string              `json:"set_by,omitempty"`

	Verdict   Verdict         `json:"verdict"`
	Doubts    []string        `json:"doubts"`
	Checklist []ChecklistItem `json:"checklist"`
	Roles     []SignRole      `json:"roles"` // that have to sign

	State    ReviewState `json:"state"`
	Signoffs []Signoff   `json:"signoffs"`
}

// NoteHints are what one text says about the versions between.
type NoteHints struct {
	Version string       `json:"version"`
	Source  string       `json:"source"` // "changelog in the archive", or the address
	URL     string       `json:"url,omitempty"`
	Digest  string       `json:"digest"` // of the text
	Hints   []notes.Hint `json:"hints"`
}

// Verdict is the conclusion of a review.
type Verdict struct {
	// Advice is apply, apply-with-care, hold, or cannot-tell.
	Advice  string   `json:"advice"`
	Text    string   `json:"text"` // one sentence
	Reasons []string `json:"reasons"`
}

// ChecklistItem is something that a person has to answer.
type ChecklistItem struct {
	ID       string   `json:"id"`
	Text     string   `json:"text"`
	Finding  string   `json:"finding"` // what it is about: the rule, key or doubt
	Required bool     `json:"required"`
	Role     SignRole `json:"role"` // who answers it
}

// SignRole is in which role somebody signs.
type SignRole string

// The roles: the first needs the right upgrade.review, the second
// upgrade.approve.
const (
	Reviewer SignRole = "reviewer"
	Security SignRole = "security"
)

// ReviewState is where a review stands.
type ReviewState string

// The states of a review.
const (
	ReviewOpen     ReviewState = "open"
	ReviewSigned   ReviewState = "signed"   // every role that has to has accepted it
	ReviewDeclined ReviewState = "declined" // somebody declined
	ReviewReplaced ReviewState = "replaced" // a newer review of the same move was made
)

// Signoff is a person's word on a review.
type Signoff struct {
	Role     SignRole          `json:"role"`
	By       string            `json:"by"` // account id
	Name     string            `json:"name"`
	Time     time.Time         `json:"time"`
	Accepted bool              `json:"accepted"`
	Text     string            `json:"text"`
	Answers  map[string]string `json:"answers"` // by checklist item
	Digest   string            `json:"digest"`  // of the review
	LogIndex int64             `json:"log_index"`
}

// Waiver lets a finding be for a time.
type Waiver struct {
	ID              int64     `json:"id"`
	Finding         string    `json:"finding"`               // advisory id, alias, or rule
	Deployments     string    `json:"deployments,omitempty"` // glob of keys; "" all
	Component       string    `json:"component,omitempty"`   // ecosystem/name; "" any
	Reason          string    `json:"reason"`
	RequestedBy     string    `json:"requested_by"`
	RequestedByName string    `json:"requested_by_name,omitempty"`
	Requested       time.Time `json:"requested"`
	ApprovedBy      string    `json:"approved_by,omitempty"` // another person; it counts from then
	ApprovedByName  string    `json:"approved_by_name,omitempty"`
	Approved        time.Time `json:"approved,omitzero"`
	Expires         time.Time `json:"expires"`
	Ended           time.Time `json:"ended,omitzero"` // taken back
}

// Candidate is a version that a deployment could move to.
type Candidate struct {
	Side
	Review     string          `json:"review,omitempty"` // digest of its review
	Reviewed   ReviewState     `json:"reviewed,omitempty"`
	Closed     int             `json:"closed"`
	Closes     []string        `json:"closes"` // keys of the findings
	Introduced int             `json:"introduced"`
	Remaining  int             `json:"remaining"`
	Unknown    int             `json:"unknown"` // images
	Effort     manifest.Effort `json:"effort"`
	Meets      bool            `json:"meets"`         // it closes everything that the earliest deadline is about
	Why        string          `json:"why,omitempty"` // it was not compared, or does not meet it
}

// Remedy is something else than another version of the chart.
type Remedy struct {
	Kind     string   `json:"kind"`             // override-image, mitigate, move-away, map-image
	Text     string   `json:"text"`             // what to do
	For      []string `json:"for"`              // keys of findings, or images
	Image    string   `json:"image,omitempty"`  // override-image: from
	Target   string   `json:"target,omitempty"` // and to
	Values   string   `json:"values,omitempty"` // YAML that does it, where the path is known
	Verified string   `json:"verified"`         // what was checked with the same chain, and what could not be
}

// Plan is what to do about one deployment. Digest is over its JSON without
// Digest and Made.
type Plan struct {
	Deployment string         `json:"deployment"`
	Chart      string         `json:"chart"`
	From       string         `json:"from"`
	Digest     string         `json:"digest"`
	Made       time.Time      `json:"made"`
	Inputs     Inputs         `json:"inputs"`
	Action     string         `json:"action"` // upgrade, remedy, wait (nothing newer, nothing open), cadence, not-judged
	Text       string         `json:"text"`   // one or two sentences
	Chosen     *Candidate     `json:"chosen,omitempty"`
	Newest     *Candidate     `json:"newest,omitempty"`
	Candidates []Candidate    `json:"candidates"`
	Remedies   []Remedy       `json:"remedies"`
	Open       int            `json:"open"`
	Deadline   time.Time      `json:"deadline,omitzero"`
	SetBy      string         `json:"set_by,omitempty"`
	Due        time.Time      `json:"due,omitzero"`        // deadline, or the date by cadence
	Slot       *calendar.Slot `json:"slot,omitempty"`      // the first that fits before Due
	Emergency  string         `json:"emergency,omitempty"` // why no window fits, and who has to approve then
	Tests      string         `json:"tests"`               // depth, from the effort: smoke, upgrade, upgrade-and-rollback
	Approvals  []SignRole     `json:"approvals"`
	Doubts     []string       `json:"doubts"`
}

// State is where the upgrade of a deployment stands.
type State string

// The states, in their order.
const (
	Seen       State = "seen"     // a version is there that the deployment should move to
	Reviewed   State = "reviewed" // its review is signed
	Planned    State = "planned"  // a slot was accepted by a person
	Tested     State = "tested"
	Approved   State = "approved"
	Scheduled  State = "scheduled"
	Applied    State = "applied"
	Verified   State = "verified" // the deployment was seen to run it, and what it closes is closed
	RolledBack State = "rolled-back"
	Dismissed  State = "dismissed"  // with a reason, until a date
	Superseded State = "superseded" // another version is the one to move to
)

// Open reports whether somebody still has to do something.
func (s State) Open() bool {
	switch s {
	case Verified, RolledBack, Dismissed, Superseded:
		return false
	}
	return true
}

// Upgrade is the story of one deployment moving to one version.
type Upgrade struct {
	ID             int64          `json:"id"`
	Deployment     string         `json:"deployment"`
	Chart          string         `json:"chart"`
	From           string         `json:"from"`
	To             string         `json:"to"`
	Archive        string         `json:"archive"` // of To
	State          State          `json:"state"`
	Since          time.Time      `json:"since"`
	WaitsFor       string         `json:"waits_for"` // what, of whom
	Owner          string         `json:"owner,omitempty"`
	Deadline       time.Time      `json:"deadline,omitzero"`
	Due            time.Time      `json:"due,omitzero"`
	Late           bool           `json:"late"`
	Security       bool           `json:"security"` // it closes something
	Review         string         `json:"review,omitempty"`
	Plan           string         `json:"plan,omitempty"`
	Ticket         string         `json:"ticket,omitempty"` // URL
	Slot           *calendar.Slot `json:"slot,omitempty"`
	DismissedUntil time.Time      `json:"dismissed_until,omitzero"`
	Steps          []Step         `json:"steps"` // oldest first
}

// Step is something that happened to an upgrade.
type Step struct {
	Time     time.Time `json:"time"`
	State    State     `json:"state"`
	By       string    `json:"by"`                // account id; "chartkeep" for ourselves
	ByName   string    `json:"by_name,omitempty"` // of the account then
	Text     string    `json:"text"`
	LogIndex int64     `json:"log_index,omitempty"`
}

// Exposed is one finding on one deployment over time: what the practice is
// measured by.
type Exposed struct {
	Deployment  string            `json:"deployment"`
	Key         string            `json:"key"`
	Environment string            `json:"environment,omitempty"`
	Severity    manifest.Severity `json:"severity"`
	Kind        FindingKind       `json:"kind"`
	Opened      time.Time         `json:"opened"`          // when we first knew
	Closed      time.Time         `json:"closed,omitzero"` // zero while it is open
	How         string            `json:"how,omitempty"`   // upgraded, gone; waived, not_affected, fixed: by a waiver or a VEX statement
	Deadline    time.Time         `json:"deadline,omitzero"`
}

// Gone is how an exposure ends when its deployment does.
const Gone = "gone"

// Tracker is where tickets are made.
type Tracker struct {
	ID         int64             `json:"-"`
	Name       string            `json:"name"`
	Kind       string            `json:"kind"`          // github
	URL        string            `json:"url"`           // of the repository
	API        string            `json:"api,omitempty"` // of the service, where it is not the public one's
	Credential string            `json:"credential"`
	Owners     []string          `json:"owners,omitempty"` // of deployments; none means all
	Severity   manifest.Severity `json:"min_severity"`     // of what an upgrade closes
	Labels     []string          `json:"labels,omitempty"`
	Created    time.Time         `json:"created"`
}

// Ticket is one issue in a tracker, for one upgrade. Its row is there before
// the issue is: Marker is in the text, so that one that was created
// before a crash is found again and not created twice.
type Ticket struct {
	ID       int64     `json:"id"`
	Tracker  string    `json:"tracker"`
	Upgrade  int64     `json:"upgrade"`
	Marker   string    `json:"marker"`
	Number   int64     `json:"number,omitempty"`
	URL      string    `json:"url,omitempty"`
	State    string    `json:"state"`  // wanted, open, closed, failed
	Digest   string    `json:"digest"` // of the text that the issue has
	Error    string    `json:"error,omitempty"`
	Due      time.Time `json:"due,omitzero"`
	Attempts int       `json:"attempts"`
	Lease    int64     `json:"-"`
}
