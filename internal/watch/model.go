package watch

import (
	"time"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/upstream"
)

// SourceKind says how an upstream publishes.
type SourceKind string

// The kinds of source. An index and an OCI registry list versions; the others
// say something about versions.
const (
	SourceIndex       SourceKind = "index"       // a repository's index.yaml
	SourceOCI         SourceKind = "oci"         // tags of one chart in an OCI registry: oci://host/path/chart
	SourceGitHub      SourceKind = "github"      // releases of a repository, and whether it was moved or archived
	SourceFeed        SourceKind = "feed"        // Atom, RSS or JSON Feed
	SourceArtifactHub SourceKind = "artifacthub" // a package's feed on Artifact Hub
	SourceChangelog   SourceKind = "changelog"   // a CHANGELOG text
)

// Lists reports whether a source of this kind lists versions.
func (k SourceKind) Lists() bool { return k == SourceIndex || k == SourceOCI }

// Keep says which archives of an upstream are kept.
type Keep string

// What can be kept. Without the old archive, nobody can tell what a change of a
// version did.
const (
	KeepNew  Keep = "new"  // what appears after the upstream was added, and the newest version of each chart
	KeepAll  Keep = "all"  // every version, fetched little by little
	KeepNone Keep = "none" // digests alone
)

// Upstream is somebody else's chart source that is watched.
type Upstream struct {
	ID         int64     `json:"-"`
	Name       string    `json:"name"`
	Charts     []string  `json:"charts,omitempty"` // globs of chart names; none means all
	Keep       Keep      `json:"keep"`
	QuietAfter Duration  `json:"quiet_after"` // without a new version for so long, it has gone quiet; 0 never
	Mirror     *Mirror   `json:"mirror,omitempty"`
	Sources    []Source  `json:"sources"`
	Created    time.Time `json:"created"`
	CreatedBy  string    `json:"created_by"` // account id
}

// Mirror says what of an upstream is released in a project of our own.
type Mirror struct {
	Project  string   `json:"project"`
	Charts   []string `json:"charts,omitempty"`   // globs; none means all that are watched
	Versions string   `json:"versions,omitempty"` // SemVer range as Helm reads it; "" means all stable ones
	MinAge   Duration `json:"min_age,omitempty"`  // since we first saw the version
	Reviewed bool     `json:"reviewed,omitempty"` // only versions whose archive somebody reviewed and signed off
	OnDemand bool     `json:"on_demand"`          // releases a version when somebody first asks for it
}

// Source is one address at which an upstream publishes.
type Source struct {
	ID         int64      `json:"id"`
	UpstreamID int64      `json:"-"`
	Upstream   string     `json:"-"` // its name
	Kind       SourceKind `json:"kind"`
	URL        string     `json:"url"`                  // never with a credential in it
	Credential string     `json:"credential,omitempty"` // name in the server's credentials file
	Chart      string     `json:"chart,omitempty"`      // the chart that a source of notes speaks of; "" when its titles say
	Interval   Duration   `json:"interval"`             // between two polls
	Health     Health     `json:"health"`
	Validators Validators `json:"-"`
}

// Health is how the polls of a source go.
type Health struct {
	LastPoll    time.Time `json:"last_poll,omitzero"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastChange  time.Time `json:"last_change,omitzero"` // a poll found something new
	NextPoll    time.Time `json:"next_poll,omitzero"`
	// HeldUntil is until when nobody polls it, since a poll that another process
	// began has not ended. The process may be at work, or gone.
	HeldUntil time.Time `json:"held_until,omitzero"`
	Failures  int       `json:"failures"`           // in a row
	Error     string    `json:"error,omitempty"`    // of the last poll, for people
	Rule      string    `json:"rule,omitempty"`     // of that error, "" for none
	Try       string    `json:"try,omitempty"`      // what to do about it
	Versions  int       `json:"versions"`           // listed now
	Suspect   string    `json:"suspect,omitempty"`  // why the last state that was read is not taken over yet
	Suspects  int       `json:"suspects,omitempty"` // how many polls in a row were suspect
	// SuspectSince is when the first of them was.
	SuspectSince time.Time `json:"suspect_since,omitzero"`
	Moved        string    `json:"moved,omitempty"`    // where it answers from, when that is another address
	Archived     bool      `json:"archived,omitempty"` // the repository is read-only
}

// Validators let a source answer that nothing is new.
type Validators struct {
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	Digest       string `json:"digest,omitempty"` // sha256:… of what was read, for servers without either
	State        string `json:"state,omitempty"`  // what the reader of the source keeps for itself between two polls
}

// VersionState is what is known of one version of an upstream.
type VersionState struct {
	upstream.Known
	SourceID   int64     `json:"source"`
	AppVersion string    `json:"app_version,omitempty"`
	Deprecated bool      `json:"deprecated"`
	URL        string    `json:"url,omitempty"` // absolute, of the archive, or oci://…:tag
	FirstSeen  time.Time `json:"first_seen"`
	LogIndex   int64     `json:"log_index"` // of the leaf that says when it was first seen
	LastChange time.Time `json:"last_change"`
	// Of the archive that is kept, "" while none is. Archive is a digest in the
	// blob store; it differs from Digests[0] where index and archive disagree.
	Archive     string `json:"archive,omitempty"`
	Content     string `json:"content,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
	// Earlier is what the version was before it was replaced, the first seen
	// first. Who runs that runs what was published.
	Earlier []Bytes `json:"earlier,omitempty"`
	// ArchiveError is why the archive could not be kept.
	ArchiveError string `json:"archive_error,omitempty"`
	Served       Served `json:"served,omitzero"`
}

// Bytes are what a version was before it was replaced.
type Bytes struct {
	Archive     string    `json:"archive,omitempty"` // that is kept, "" where it was never had
	Content     string    `json:"content,omitempty"`
	Fingerprint string    `json:"fingerprint,omitempty"`
	Listed      string    `json:"listed,omitempty"` // sha256:… that was listed then, "" where none was
	Replaced    time.Time `json:"replaced"`         // when that was seen
}

// Served is what was found when the archive that is kept was last compared with
// the one that is served. An index that stays the same says nothing of that.
type Served struct {
	ETag         string    `json:"etag,omitempty"` // of the archive
	LastModified string    `json:"last_modified,omitempty"`
	Asked        time.Time `json:"asked,omitzero"` // whether it is the same
	Read         time.Time `json:"read,omitzero"`  // to its end
}

// Note is a text that a source publishes about a version.
type Note struct {
	SourceID  int64     `json:"-"`
	Key       string    `json:"key"`     // names the note within its source
	Chart     string    `json:"chart"`   // "" when it could not be told
	Version   string    `json:"version"` // "" when it could not be told
	Title     string    `json:"title"`
	URL       string    `json:"url,omitempty"`
	Text      string    `json:"text"`
	Digest    string    `json:"digest"`             // sha256:… of the text
	Published time.Time `json:"published,omitzero"` // as the source says
	FirstSeen time.Time `json:"first_seen"`
}

// EventKind is what happened.
type EventKind string

// The kinds of event.
const (
	FirstRead        EventKind = "first-read" // a source was read for the first time: what it has is known from now on
	NewVersion       EventKind = "new-version"
	Changed          EventKind = "changed"           // other content under a published version
	Repacked         EventKind = "repacked"          // other bytes, the same files
	Vanished         EventKind = "vanished"          // listed no more
	Returned         EventKind = "returned"          // listed again, the same
	ReturnedChanged  EventKind = "returned-changed"  // listed again, with another digest
	Duplicate        EventKind = "duplicate"         // listed twice with different digests
	CreatedRewritten EventKind = "created-rewritten" // the upstream's own time moved
	ArchiveMismatch  EventKind = "archive-mismatch"  // the served archive is not the one in the index
	EntryInvalid     EventKind = "entry-invalid"     // an entry cannot be used as it is listed
	IndexInvalid     EventKind = "index-invalid"     // the list cannot be read
	IndexShrunk      EventKind = "index-shrunk"      // much is missing at once; the last good state stays
	FeedContradicts  EventKind = "feed-contradicts"  // a feed and the index name different versions
	Moved            EventKind = "moved"             // the repository answers from another address
	Archived         EventKind = "archived"          // the repository is read-only now
	Deprecated       EventKind = "deprecated"        // the chart says that it is
	GoneQuiet        EventKind = "gone-quiet"        // no new version for long
	Unreachable      EventKind = "unreachable"       // polls fail again and again
	Recovered        EventKind = "recovered"         // polls work again
	CredentialFault  EventKind = "credential-fault"  // it is not polled, since this server has not the credential that it names
	MirrorRefused    EventKind = "mirror-refused"    // a version could not be released in our project
	Mirrored         EventKind = "mirrored"          // a version was released in our project
	// ProvenanceMismatch: a provenance file is published that is not of the archive beside it.
	ProvenanceMismatch EventKind = "provenance-mismatch"

	UnknownChart    EventKind = "unknown-chart"    // a cluster runs a chart that nobody released
	UnreleasedBytes EventKind = "unreleased-bytes" // it runs other bytes than the release of that name
	DeploymentSeen  EventKind = "deployment-seen"
	DeploymentGone  EventKind = "deployment-gone"
	VersionMoved    EventKind = "version-moved" // a deployment runs another version now

	ImportOverdue EventKind = "import-overdue" // deployments are not read any more, though it was said how often they are
	ImportBack    EventKind = "import-back"    // they are read again

	AdvisoryOpened EventKind = "advisory-opened" // something is open on a deployment that was not known before
	DeadlinePassed EventKind = "deadline-passed" // what was due on a deployment is still open
)

// Severity orders events for people.
type Severity string

// The severities, from the least.
const (
	Info     Severity = "info"
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)

// Rank orders severities; an unknown one is -1.
func (s Severity) Rank() int {
	switch s {
	case Info:
		return 0
	case Low:
		return 1
	case Medium:
		return 2
	case High:
		return 3
	case Critical:
		return 4
	}
	return -1
}

// Event is something that happened, with its evidence and the question that it
// raises.
type Event struct {
	ID         int64     `json:"id"`
	Time       time.Time `json:"time"`
	Kind       EventKind `json:"event"`
	Severity   Severity  `json:"severity"`
	Upstream   string    `json:"upstream,omitempty"`
	SourceID   int64     `json:"source,omitempty"`
	Chart      string    `json:"chart,omitempty"`
	Version    string    `json:"version,omitempty"`
	Project    string    `json:"project,omitempty"`    // of a mirror
	Deployment string    `json:"deployment,omitempty"` // its key
	Import     string    `json:"import,omitempty"`     // of deployments, its name
	// Owner and Route are those of the deployment when it happened, so that
	// they are told of one that is gone since.
	Owner    string `json:"owner,omitempty"`
	Route    string `json:"route,omitempty"`
	Message  string `json:"message"`            // one sentence: what happened
	Question string `json:"question,omitempty"` // what somebody has to find out now
	Evidence []Fact `json:"evidence,omitempty"`
	// Files are those by which the two archives differ, when both were had.
	Files []chart.Change `json:"files,omitempty"`
	// Key names what happened: a second event with the same key is the same
	// event, and is not recorded.
	Key      string `json:"key"`
	LogIndex int64  `json:"log_index,omitempty"` // of its leaf; 0 when it has none
}

// Fact is one line of evidence.
type Fact struct {
	Label string `json:"label"`
	Value string `json:"value"`
}

// Deployment is a deployment as it is kept.
type Deployment struct {
	deployment.Deployment
	Import    string    `json:"import"` // the name of the import that brought it
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
}

// Import is what an import of deployments said when it was last made.
type Import struct {
	Name        string    `json:"name"`
	From        string    `json:"from"` // where it read
	Time        time.Time `json:"time"`
	Deployments int       `json:"deployments"` // that belong to it now
	// Problems are what should describe deployments and could not be read; at
	// most maxProblems are kept, and MoreProblems counts the rest.
	Problems     []string `json:"problems"`
	MoreProblems int      `json:"more_problems,omitempty"`
	// Old says that it was not repeated for so long that what it brought says
	// little of what runs today.
	Old bool `json:"old"`
	// Every is how often it said that it is made; nil where it never did.
	Every *Duration `json:"every,omitempty"`
	// Overdue is since when it should have been made again, zero unless it
	// missed its interval clearly.
	Overdue time.Time `json:"overdue_since,omitzero"`
}

// Route says which events go where.
type Route struct {
	ID          int64       `json:"-"`
	Name        string      `json:"name"`
	Kind        RouteKind   `json:"kind"`
	Target      string      `json:"target"`               // URL, or mail address
	Credential  string      `json:"credential,omitempty"` // name in the server's credentials file: the signing secret, the Slack URL, the mail account
	Events      []EventKind `json:"events,omitempty"`     // none means all
	MinSeverity Severity    `json:"min_severity"`
	Upstreams   []string    `json:"upstreams,omitempty"` // globs
	Charts      []string    `json:"charts,omitempty"`    // globs
	Projects    []string    `json:"projects,omitempty"`  // globs
	Owners      []string    `json:"owners,omitempty"`    // events that concern a deployment of one of these owners
	Digest      Digest      `json:"digest,omitempty"`
	Created     time.Time   `json:"created"`
	Health      RouteHealth `json:"health"`
}

// RouteKind is how a route delivers.
type RouteKind string

// The kinds of route.
const (
	RouteWebhook RouteKind = "webhook" // signed JSON
	RouteSlack   RouteKind = "slack"   // an incoming webhook that takes Slack's form
	RouteMail    RouteKind = "mail"    // SMTP

	RouteAlertmanager RouteKind = "alertmanager" // its API, version 2
)

// Digest collects events into one message.
type Digest string

// When a digest goes out, in UTC.
const (
	Immediately Digest = ""
	Daily       Digest = "daily"
	Weekly      Digest = "weekly" // on Mondays
)

// RouteHealth is how the deliveries of a route go.
type RouteHealth struct {
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastFailure time.Time `json:"last_failure,omitzero"`
	Error       string    `json:"error,omitempty"`
	Waiting     int       `json:"waiting"`
	Failed      int       `json:"failed"` // given up
}

// Delivery is a message on its way to a route's target. Its ID is sent along
// and stays the same when it is tried again.
type Delivery struct {
	ID       string    `json:"id"`
	RouteID  int64     `json:"-"`
	Route    string    `json:"route"`
	Events   []Event   `json:"-"`
	Due      time.Time `json:"due"`
	Attempts int       `json:"attempts"`
	State    string    `json:"state"` // waiting, delivered, failed
	Error    string    `json:"error,omitempty"`
	Lease    int64     `json:"-"`
}
