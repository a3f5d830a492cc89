package api

import (
	"time"

	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

type planAnswer struct {
	Schema string `json:"schema"`
	upgrade.Plan
}

// planRow is a plan in a list, without what else could be done.
type planRow struct {
	Deployment string         `json:"deployment"`
	Chart      string         `json:"chart"`
	From       string         `json:"from"`
	To         string         `json:"to,omitempty"`
	Newest     string         `json:"newest,omitempty"`
	Digest     string         `json:"digest"`
	Made       time.Time      `json:"made"`
	Action     string         `json:"action"`
	Text       string         `json:"text"`
	Remedies   int            `json:"remedies"`
	Open       int            `json:"open"`
	Deadline   time.Time      `json:"deadline,omitzero"`
	SetBy      string         `json:"set_by,omitempty"`
	Due        time.Time      `json:"due,omitzero"`
	Slot       *calendar.Slot `json:"slot,omitempty"`
	Emergency  string         `json:"emergency,omitempty"`
	Doubts     []string       `json:"doubts"`
}

func listPlans(j Judging, c *call) (reply, error) {
	q, err := c.query("after", "limit")
	if err != nil {
		return reply{}, err
	}
	all, err := j.Plans(c.ctx, c.caller)
	if err != nil {
		return reply{}, err
	}
	rows := make([]planRow, len(all))
	for i := range all {
		p := &all[i]
		rows[i] = planRow{
			Deployment: p.Deployment, Chart: p.Chart, From: p.From, Digest: p.Digest, Made: p.Made, Action: p.Action, Text: p.Text, Remedies: len(p.Remedies),
			Open: p.Open, Deadline: p.Deadline, SetBy: p.SetBy, Due: p.Due, Slot: p.Slot, Emergency: p.Emergency, Doubts: notNil(p.Doubts),
		}
		if p.Chosen != nil {
			rows[i].To = p.Chosen.Version
		}
		if p.Newest != nil {
			rows[i].Newest = p.Newest.Version
		}
	}
	return page("plan-list/v1", rows, func(p planRow) string { return p.Deployment }, q)
}

func getPlan(j Judging, c *call) (reply, error) {
	key, err := c.keyOf()
	if err != nil {
		return reply{}, err
	}
	p, err := j.Plan(c.ctx, c.caller, key)
	if err != nil {
		return reply{}, err
	}
	return reply{body: planAnswer{"plan/v1", p}}, nil
}

// acceptRequest names the plan that was read.
type acceptRequest struct {
	Digest string `json:"digest"`
}

func acceptPlan(j Judging, c *call) (reply, error) {
	var req acceptRequest
	key, err := c.keyOf()
	if err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	u, err := j.AcceptPlan(c.ctx, c.caller, key, req.Digest)
	return upgradeReply(u, err)
}

const markdownType = "text/markdown; charset=utf-8"

// agenda answers with what a planning meeting has to talk about.
func agenda(j Judging, c *call) (reply, error) {
	q, err := c.query("owner")
	if err != nil {
		return reply{}, err
	}
	text, err := j.Agenda(c.ctx, c.caller, q.Get("owner"))
	if err != nil {
		return reply{}, err
	}
	return reply{raw: []byte(text), contentType: markdownType}, nil
}

// calendarFile answers with windows, slots and deadlines, for calendar
// programs that subscribe to it.
func calendarFile(j Judging, c *call) (reply, error) {
	q, err := c.query("owner")
	if err != nil {
		return reply{}, err
	}
	text, err := j.Calendar(c.ctx, c.caller, q.Get("owner"))
	if err != nil {
		return reply{}, err
	}
	return reply{raw: text, contentType: "text/calendar; charset=utf-8"}, nil
}
