package api

import (
	"cmp"
	"net/http"
	"unicode/utf8"

	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upgrade"
	"github.com/chartkeep/chartkeep/internal/watch"
)

type feedAnswer struct {
	Schema string `json:"schema"`
	upgrade.Feed
}

func feedReply(status int, f upgrade.Feed, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	return reply{status: status, body: feedAnswer{"advisory-feed/v1", f}}, nil
}

func listFeeds(j Judging, c *call) (reply, error) {
	q, err := c.query("after", "limit")
	if err != nil {
		return reply{}, err
	}
	all, err := j.Feeds(c.ctx, c.caller)
	if err != nil {
		return reply{}, err
	}
	return page("advisory-feed-list/v1", all, func(f upgrade.Feed) string { return f.Name }, q)
}

// feedRequest asks for a new feed.
type feedRequest struct {
	Name       string         `json:"name"`
	Kind       advisory.Kind  `json:"kind"`
	URL        string         `json:"url"`
	Credential string         `json:"credential"`
	Interval   watch.Duration `json:"interval"`
	StaleAfter watch.Duration `json:"stale_after"`
}

func addFeed(j Judging, c *call) (reply, error) {
	var req feedRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	f, err := j.AddFeed(c.ctx, c.caller, upgrade.NewFeed(req))
	return feedReply(http.StatusCreated, f, err)
}

// feedPatch names what to change; what is absent or null stays.
type feedPatch struct {
	URL        *string         `json:"url"`
	Credential *string         `json:"credential"`
	Interval   *watch.Duration `json:"interval"`
	StaleAfter *watch.Duration `json:"stale_after"`
}

func setFeed(j Judging, c *call) (reply, error) {
	var req feedPatch
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	f, err := j.SetFeed(c.ctx, c.caller, c.params["feed"], upgrade.FeedChange(req))
	return feedReply(http.StatusOK, f, err)
}

func removeFeed(j Judging, c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	return reply{}, j.RemoveFeed(c.ctx, c.caller, c.params["feed"])
}

func readFeed(j Judging, c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	return reply{}, j.FeedNow(c.ctx, c.caller, c.params["feed"])
}

// maxFileName bounds the name that an import has in messages, in bytes.
const maxFileName = 255

type feedImportAnswer struct {
	Schema string `json:"schema"`
	upgrade.Imported
}

// importFeed streams the body, a file or an archive of files, into a feed. Its
// size is bounded by the limits of feeds, which count what is unpacked.
func importFeed(j Judging, c *call) (reply, error) {
	q, err := c.query("file")
	if err != nil {
		return reply{}, err
	}
	name := cmp.Or(q.Get("file"), c.params["feed"])
	if len(name) > maxFileName || !utf8.ValidString(name) {
		return reply{}, problem.New(problem.Invalid, "file-name", "the parameter file has to be a name of at most %d bytes", maxFileName)
	}
	got, err := j.ImportFeed(c.ctx, c.caller, c.params["feed"], name, c.r.Body)
	if err != nil {
		return reply{}, err
	}
	return reply{body: feedImportAnswer{"advisory-import/v1", got}}, nil
}

func listSnapshots(j Judging, c *call) (reply, error) {
	q, err := c.query("limit")
	if err != nil {
		return reply{}, err
	}
	limit, err := limitOf(q)
	if err != nil {
		return reply{}, err
	}
	all, err := j.Snapshots(c.ctx, c.caller, c.params["feed"], limit)
	if err != nil {
		return reply{}, err
	}
	return reply{body: list[advisory.Snapshot]{Schema: "advisory-snapshot-list/v1", Items: notNil(all)}}, nil
}
