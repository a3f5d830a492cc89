package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

type waiverAnswer struct {
	Schema string `json:"schema"`
	upgrade.Waiver
}

func waiverReply(status int, w upgrade.Waiver, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	return reply{status: status, body: waiverAnswer{"waiver/v1", w}}, nil
}

func listWaivers(j Judging, c *call) (reply, error) {
	q, err := c.query("all", "after", "limit")
	if err != nil {
		return reply{}, err
	}
	ended, err := boolean("all", q.Get("all"))
	if err != nil {
		return reply{}, err
	}
	all, err := j.Waivers(c.ctx, c.caller, ended)
	if err != nil {
		return reply{}, err
	}
	return page("waiver-list/v1", all, func(w upgrade.Waiver) string { return strconv.FormatInt(w.ID, 10) }, q)
}

// waiverRequest asks to let a finding be for a time.
type waiverRequest struct {
	Finding     string    `json:"finding"`
	Deployments string    `json:"deployments"`
	Component   string    `json:"component"`
	Reason      string    `json:"reason"`
	Expires     time.Time `json:"expires"`
}

func requestWaiver(j Judging, c *call) (reply, error) {
	var req waiverRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	w, err := j.RequestWaiver(c.ctx, c.caller, upgrade.NewWaiver(req))
	return waiverReply(http.StatusCreated, w, err)
}

func approveWaiver(j Judging, c *call) (reply, error) { return moveWaiver(c, j.ApproveWaiver) }

func endWaiver(j Judging, c *call) (reply, error) { return moveWaiver(c, j.EndWaiver) }

func moveWaiver(c *call, move func(context.Context, audit.Caller, int64) (upgrade.Waiver, error)) (reply, error) {
	id, err := c.id()
	if err != nil {
		return reply{}, err
	}
	w, err := move(c.ctx, c.caller, id)
	return waiverReply(http.StatusOK, w, err)
}

// id reads the parameter {id} of a path that takes no query.
func (c *call) id() (int64, error) {
	if err := c.noQuery(); err != nil {
		return 0, err
	}
	return number("the id", c.params["id"])
}
