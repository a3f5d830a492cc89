package api

import (
	"strconv"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

type upgradeAnswer struct {
	Schema string `json:"schema"`
	upgrade.Upgrade
}

func upgradeReply(u upgrade.Upgrade, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	return reply{body: upgradeAnswer{"upgrade/v1", u}}, nil
}

// listUpgrades lists those that are open, by due time, then the newest that
// have ended.
func listUpgrades(j Judging, c *call) (reply, error) {
	q, err := c.query("deployment", "owner", "state", "open", "after", "limit")
	if err != nil {
		return reply{}, err
	}
	f := upgrade.UpgradeFilter{Deployment: q.Get("deployment"), Owner: q.Get("owner"), State: upgrade.State(q.Get("state")), Limit: maxLimit}
	if f.Open, err = boolean("open", q.Get("open")); err != nil {
		return reply{}, err
	}
	all, err := j.Upgrades(c.ctx, c.caller, f)
	if err != nil {
		return reply{}, err
	}
	return page("upgrade-list/v1", all, func(u upgrade.Upgrade) string { return strconv.FormatInt(u.ID, 10) }, q)
}

func getUpgrade(j Judging, c *call) (reply, error) {
	id, err := c.id()
	if err != nil {
		return reply{}, err
	}
	return upgradeReply(j.Upgrade(c.ctx, c.caller, id))
}

// dismissRequest ends an upgrade until a date.
type dismissRequest struct {
	Reason string    `json:"reason"`
	Until  time.Time `json:"until"`
}

func dismissUpgrade(j Judging, c *call) (reply, error) {
	var req dismissRequest
	id, err := c.id()
	if err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	return upgradeReply(j.DismissUpgrade(c.ctx, c.caller, id, req.Reason, req.Until))
}

// pullRequest answers with the text that a pull request for the upgrade has.
func pullRequest(j Judging, c *call) (reply, error) {
	id, err := c.id()
	if err != nil {
		return reply{}, err
	}
	text, err := j.PullRequest(c.ctx, c.caller, id)
	if err != nil {
		return reply{}, err
	}
	return reply{raw: []byte(text), contentType: markdownType}, nil
}

// statusAnswer is a page of deployments, each with where it stands.
type statusAnswer struct {
	list[upgrade.StatusRow]
	At time.Time `json:"at"`
}

func getStatus(j Judging, c *call) (reply, error) {
	q, err := c.query("owner", "after", "limit")
	if err != nil {
		return reply{}, err
	}
	st, err := j.Status(c.ctx, c.caller, q.Get("owner"))
	if err != nil {
		return reply{}, err
	}
	re, err := page("status/v1", st.Rows, func(r upgrade.StatusRow) string { return r.Deployment }, q)
	if err != nil {
		return reply{}, err
	}
	return reply{body: statusAnswer{re.body.(list[upgrade.StatusRow]), st.At}}, nil
}

type practiceAnswer struct {
	Schema string `json:"schema"`
	upgrade.Practice
}

func getPractice(j Judging, c *call) (reply, error) {
	q, err := c.query("since")
	if err != nil {
		return reply{}, err
	}
	var since time.Time
	if s := q.Get("since"); s != "" {
		if since, err = time.Parse(time.RFC3339, s); err != nil {
			return reply{}, problem.New(problem.Invalid, "time", "since has to be a time such as 2026-01-31T00:00:00Z, not %.40q", s)
		}
	}
	p, err := j.Practice(c.ctx, c.caller, since)
	if err != nil {
		return reply{}, err
	}
	p.Environments, p.Weeks, p.Exposures = notNil(p.Environments), notNil(p.Weeks), notNil(p.Exposures)
	return reply{body: practiceAnswer{"practice/v1", p}}, nil
}
