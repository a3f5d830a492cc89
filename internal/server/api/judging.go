package api

import (
	"context"
	"io"
	"time"

	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// Judging is what the API needs of the judgement; *upgrade.Service has it.
// Authorisation is inside.
type Judging interface {
	Feeds(ctx context.Context, c audit.Caller) ([]upgrade.Feed, error)
	AddFeed(ctx context.Context, c audit.Caller, f upgrade.NewFeed) (upgrade.Feed, error)
	SetFeed(ctx context.Context, c audit.Caller, name string, ch upgrade.FeedChange) (upgrade.Feed, error)
	RemoveFeed(ctx context.Context, c audit.Caller, name string) error
	// ImportFeed reads one file, or one archive of files, into a feed.
	ImportFeed(ctx context.Context, c audit.Caller, feed, file string, body io.Reader) (upgrade.Imported, error)
	FeedNow(ctx context.Context, c audit.Caller, name string) error
	Snapshots(ctx context.Context, c audit.Caller, feed string, limit int) ([]advisory.Snapshot, error)

	MatchImages(ctx context.Context, c audit.Caller, images []string) ([]advisory.ImageMatch, upgrade.Inputs, error)
	Advisories(ctx context.Context, c audit.Caller, f upgrade.AdvisoryFilter) (upgrade.AdvisoryList, error)
	Advisory(ctx context.Context, c audit.Caller, id string) (upgrade.AdvisoryRow, error)
	Assessment(ctx context.Context, c audit.Caller, deployment string) (upgrade.Assessment, error)
	Explain(ctx context.Context, c audit.Caller, deployment, finding string) (upgrade.Explanation, error)

	Policy(ctx context.Context, c audit.Caller) (upgrade.PolicyDocument, error)
	SetPolicy(ctx context.Context, c audit.Caller, text string) (upgrade.PolicyDocument, error)
	Waivers(ctx context.Context, c audit.Caller, all bool) ([]upgrade.Waiver, error)
	RequestWaiver(ctx context.Context, c audit.Caller, w upgrade.NewWaiver) (upgrade.Waiver, error)
	ApproveWaiver(ctx context.Context, c audit.Caller, id int64) (upgrade.Waiver, error)
	EndWaiver(ctx context.Context, c audit.Caller, id int64) (upgrade.Waiver, error)

	// MakeReview reviews a version for a deployment; "" is the version that the
	// plan chose.
	MakeReview(ctx context.Context, c audit.Caller, deployment, version string) (upgrade.Review, error)
	Reviews(ctx context.Context, c audit.Caller, f upgrade.ReviewFilter) ([]upgrade.Review, error)
	Review(ctx context.Context, c audit.Caller, digest string) (upgrade.Review, error)
	SignReview(ctx context.Context, c audit.Caller, digest string, s upgrade.Sign) (upgrade.Review, error)

	Plans(ctx context.Context, c audit.Caller) ([]upgrade.Plan, error)
	Plan(ctx context.Context, c audit.Caller, deployment string) (upgrade.Plan, error)
	// AcceptPlan takes the slot of the newest plan, which must have the digest,
	// for the deployment's upgrade.
	AcceptPlan(ctx context.Context, c audit.Caller, deployment, digest string) (upgrade.Upgrade, error)
	Agenda(ctx context.Context, c audit.Caller, owner string) (markdown string, err error)
	PullRequest(ctx context.Context, c audit.Caller, upgrade int64) (markdown string, err error)
	Calendar(ctx context.Context, c audit.Caller, owner string) (ics []byte, err error)
	Windows(ctx context.Context, c audit.Caller) ([]calendar.Window, error)
	PutWindow(ctx context.Context, c audit.Caller, w calendar.Window) error
	RemoveWindow(ctx context.Context, c audit.Caller, name string) error

	Status(ctx context.Context, c audit.Caller, owner string) (upgrade.Status, error)
	Upgrades(ctx context.Context, c audit.Caller, f upgrade.UpgradeFilter) ([]upgrade.Upgrade, error)
	Upgrade(ctx context.Context, c audit.Caller, id int64) (upgrade.Upgrade, error)
	DismissUpgrade(ctx context.Context, c audit.Caller, id int64, reason string, until time.Time) (upgrade.Upgrade, error)
	Practice(ctx context.Context, c audit.Caller, since time.Time) (upgrade.Practice, error)

	Trackers(ctx context.Context, c audit.Caller) ([]upgrade.Tracker, error)
	AddTracker(ctx context.Context, c audit.Caller, t upgrade.Tracker) (upgrade.Tracker, error)
	RemoveTracker(ctx context.Context, c audit.Caller, name string) error
	Tickets(ctx context.Context, c audit.Caller, tracker string, limit int) ([]upgrade.Ticket, error)
}

// judge makes a handler of one that asks the judgement. A server without one
// has none of its paths.
func judge(serve func(j Judging, c *call) (reply, error)) func(*Door, *call) (reply, error) {
	return func(d *Door, c *call) (reply, error) {
		if d.cfg.Judging == nil {
			return reply{}, problem.New(problem.NotFound, "judging", "this server has no advisories, reviews and plans")
		}
		return serve(d.cfg.Judging, c)
	}
}
