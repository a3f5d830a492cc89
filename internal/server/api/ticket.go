package api

import (
	"net/http"

	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

type trackerAnswer struct {
	Schema string `json:"schema"`
	upgrade.Tracker
}

func listTrackers(j Judging, c *call) (reply, error) {
	q, err := c.query("after", "limit")
	if err != nil {
		return reply{}, err
	}
	all, err := j.Trackers(c.ctx, c.caller)
	if err != nil {
		return reply{}, err
	}
	return page("tracker-list/v1", all, func(t upgrade.Tracker) string { return t.Name }, q)
}

// trackerRequest asks for tickets in a tracker.
type trackerRequest struct {
	Name       string            `json:"name"`
	Kind       string            `json:"kind"`
	URL        string            `json:"url"`
	API        string            `json:"api"`
	Credential string            `json:"credential"`
	Owners     []string          `json:"owners"`
	Severity   manifest.Severity `json:"min_severity"`
	Labels     []string          `json:"labels"`
}

func addTracker(j Judging, c *call) (reply, error) {
	var req trackerRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	t, err := j.AddTracker(c.ctx, c.caller, upgrade.Tracker{
		Name: req.Name, Kind: req.Kind, URL: req.URL, API: req.API, Credential: req.Credential, Owners: req.Owners, Severity: req.Severity, Labels: req.Labels,
	})
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusCreated, body: trackerAnswer{"tracker/v1", t}}, nil
}

func removeTracker(j Judging, c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	return reply{}, j.RemoveTracker(c.ctx, c.caller, c.params["tracker"])
}

func listTickets(j Judging, c *call) (reply, error) {
	q, err := c.query("tracker", "limit")
	if err != nil {
		return reply{}, err
	}
	limit, err := limitOf(q)
	if err != nil {
		return reply{}, err
	}
	all, err := j.Tickets(c.ctx, c.caller, q.Get("tracker"), limit)
	if err != nil {
		return reply{}, err
	}
	return reply{body: list[upgrade.Ticket]{Schema: "ticket-list/v1", Items: notNil(all)}}, nil
}
