package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

type reviewAnswer struct {
	Schema string `json:"schema"`
	upgrade.Review
}

func reviewReply(status int, r upgrade.Review, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	return reply{status: status, body: reviewAnswer{"review/v1", r}}, nil
}

// reviewRow is a review in a list: what it comes to, and counts in place of
// its findings.
type reviewRow struct {
	ID         int64               `json:"id"`
	Digest     string              `json:"digest"`
	Deployment string              `json:"deployment"`
	Chart      string              `json:"chart"`
	From       string              `json:"from"`
	To         string              `json:"to"`
	Archive    string              `json:"archive,omitempty"`
	Made       time.Time           `json:"made"`
	Closed     int                 `json:"closed"`
	Introduced int                 `json:"introduced"`
	Unknown    int                 `json:"unknown"` // images
	Deadline   time.Time           `json:"deadline,omitzero"`
	Verdict    upgrade.Verdict     `json:"verdict"`
	Doubts     []string            `json:"doubts"`
	Roles      []upgrade.SignRole  `json:"roles"`
	State      upgrade.ReviewState `json:"state"`
	Signoffs   []upgrade.Signoff   `json:"signoffs"`
}

// listReviews lists the newest reviews first. "after" is the id of the last one
// that the client has; the next page holds older ones.
func listReviews(j Judging, c *call) (reply, error) {
	q, err := c.query("deployment", "chart", "version", "state", "after", "limit")
	if err != nil {
		return reply{}, err
	}
	f := upgrade.ReviewFilter{Deployment: q.Get("deployment"), Chart: q.Get("chart"), To: q.Get("version"), State: upgrade.ReviewState(q.Get("state"))}
	switch f.State {
	case "", upgrade.ReviewOpen, upgrade.ReviewSigned, upgrade.ReviewDeclined, upgrade.ReviewReplaced:
	default:
		return reply{}, problem.New(problem.Invalid, "review-state", "state has to be open, signed, declined or replaced, not %.40q", q.Get("state"))
	}
	if f.Limit, err = limitOf(q); err != nil {
		return reply{}, err
	}
	l := list[reviewRow]{Schema: "review-list/v1", Items: []reviewRow{}}
	if after := q.Get("after"); after != "" {
		if f.Before, err = number("after", after); err != nil {
			return reply{}, err
		}
		if f.Before == 0 {
			return reply{body: l}, nil
		}
	}
	all, err := j.Reviews(c.ctx, c.caller, f)
	if err != nil {
		return reply{}, err
	}
	for i := range all {
		r := &all[i]
		l.Items = append(l.Items, reviewRow{
			ID: r.ID, Digest: r.Digest, Deployment: r.Deployment, Chart: r.Chart, From: r.From.Version, To: r.To.Version, Archive: r.To.Archive, Made: r.Made,
			Closed: len(r.Closed), Introduced: len(r.Introduced), Unknown: len(r.Unknown), Deadline: r.Deadline, Verdict: r.Verdict, Doubts: notNil(r.Doubts),
			Roles: notNil(r.Roles), State: r.State, Signoffs: notNil(r.Signoffs),
		})
	}
	if len(all) >= f.Limit {
		l.Next = strconv.FormatInt(all[len(all)-1].ID, 10)
	}
	return reply{body: l}, nil
}

// reviewRequest asks for a review of a version; "" is the version that the plan
// chose.
type reviewRequest struct {
	Deployment string `json:"deployment"`
	Version    string `json:"version"`
}

func makeReview(j Judging, c *call) (reply, error) {
	var req reviewRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	r, err := j.MakeReview(c.ctx, c.caller, req.Deployment, req.Version)
	return reviewReply(http.StatusCreated, r, err)
}

func getReview(j Judging, c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	r, err := j.Review(c.ctx, c.caller, c.params["digest"])
	return reviewReply(http.StatusOK, r, err)
}

// signRequest is a person's word on a review.
type signRequest struct {
	Role    upgrade.SignRole  `json:"role"`
	Accept  bool              `json:"accept"`
	Text    string            `json:"text"`
	Answers map[string]string `json:"answers"`
}

func signReview(j Judging, c *call) (reply, error) {
	var req signRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	r, err := j.SignReview(c.ctx, c.caller, c.params["digest"], upgrade.Sign(req))
	return reviewReply(http.StatusOK, r, err)
}
