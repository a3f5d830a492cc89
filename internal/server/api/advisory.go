package api

import (
	"strconv"
	"time"

	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// advisoriesAnswer is a page of advisories. What is unknown stands beside every
// page: a list of what is open is never the whole.
type advisoriesAnswer struct {
	list[upgrade.AdvisoryRow]
	At           time.Time                `json:"at"`
	Inputs       upgrade.Inputs           `json:"inputs"`
	Total        int                      `json:"total"`
	Unknown      []upgrade.UnknownRow     `json:"unknown"`
	Environments []upgrade.EnvironmentRow `json:"environments"`
	NotJudged    []string                 `json:"not_judged"`
}

// listAdvisories lists what is open, the most urgent first. "after" is how many
// the client has.
func listAdvisories(j Judging, c *call) (reply, error) {
	q, err := c.query("query", "after", "limit")
	if err != nil {
		return reply{}, err
	}
	f := upgrade.AdvisoryFilter{Query: q.Get("query")}
	if f.Limit, err = limitOf(q); err != nil {
		return reply{}, err
	}
	if after := q.Get("after"); after != "" {
		n, err := number("after", after)
		if err != nil {
			return reply{}, err
		}
		f.After = int(n)
	}
	got, err := j.Advisories(c.ctx, c.caller, f)
	if err != nil {
		return reply{}, err
	}
	a := advisoriesAnswer{
		list: list[upgrade.AdvisoryRow]{Schema: "advisory-list/v1", Items: notNil(got.Rows)},
		At:   got.At, Inputs: got.Inputs, Total: got.Total, Unknown: notNil(got.Unknown), Environments: notNil(got.Heat), NotJudged: notNil(got.NotJudged),
	}
	if next := f.After + len(got.Rows); len(got.Rows) > 0 && next < got.Total {
		a.Next = strconv.Itoa(next)
	}
	return reply{body: a}, nil
}

type advisoryAnswer struct {
	Schema string `json:"schema"`
	upgrade.AdvisoryRow
}

func getAdvisory(j Judging, c *call) (reply, error) {
	q, err := c.query("id")
	if err != nil {
		return reply{}, err
	}
	if q.Get("id") == "" {
		return reply{}, problem.New(problem.Invalid, "id", "the parameter id names the advisory, and is missing").
			Suggest("chartkeep advisory list")
	}
	row, err := j.Advisory(c.ctx, c.caller, q.Get("id"))
	if err != nil {
		return reply{}, err
	}
	return reply{body: advisoryAnswer{"advisory/v1", row}}, nil
}

// maxImages bounds how many images one request asks about.
const maxImages = 1000

type matchRequest struct {
	Images []string `json:"images"`
}

type matchAnswer struct {
	Schema string                `json:"schema"`
	Images []advisory.ImageMatch `json:"images"`
	Inputs upgrade.Inputs        `json:"inputs"`
}

func matchImages(j Judging, c *call) (reply, error) {
	var req matchRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	if len(req.Images) == 0 || len(req.Images) > maxImages {
		return reply{}, problem.New(problem.Invalid, "images", "a request is about 1 to %d images, not %d", maxImages, len(req.Images))
	}
	got, inputs, err := j.MatchImages(c.ctx, c.caller, req.Images)
	if err != nil {
		return reply{}, err
	}
	return reply{body: matchAnswer{"advisory-match/v1", notNil(got), inputs}}, nil
}

type assessmentAnswer struct {
	Schema string `json:"schema"`
	upgrade.Assessment
}

func getAssessment(j Judging, c *call) (reply, error) {
	key, err := c.keyOf()
	if err != nil {
		return reply{}, err
	}
	a, err := j.Assessment(c.ctx, c.caller, key)
	if err != nil {
		return reply{}, err
	}
	return reply{body: assessmentAnswer{"assessment/v1", a}}, nil
}

type explanationAnswer struct {
	Schema string `json:"schema"`
	upgrade.Explanation
}

// explain answers why a finding is due when it is; without one, it is that
// which sets the deadline.
func explain(j Judging, c *call) (reply, error) {
	key, q, err := c.keyAnd("finding")
	if err != nil {
		return reply{}, err
	}
	e, err := j.Explain(c.ctx, c.caller, key, q.Get("finding"))
	if err != nil {
		return reply{}, err
	}
	return reply{body: explanationAnswer{"explanation/v1", e}}, nil
}
