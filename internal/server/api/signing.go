package api

import (
	"context"
	"io"
	"net/http"
	"strconv"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/signature"
)

// Signing attaches signatures and shows the policies that they are judged by.
type Signing interface {
	AttachBundle(ctx context.Context, c release.Caller, project, chart, version string, bundle []byte) (release.Receipt, error)
	Bundle(ctx context.Context, c release.Caller, project, chart, version, digest string) ([]byte, error)
	Staged(ctx context.Context, c release.Caller, project string, after int64, limit int) (list []release.WaitingRelease, more bool, err error)
	PolicyDocument(ctx context.Context, c release.Caller, digest string) ([]byte, error)
	TryPolicy(ctx context.Context, c release.Caller, project string, p release.Policy, chart, version, after string) (release.Trial, error)
}

func (d *Door) attachBundle(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	b, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, signature.MaxBundle))
	if err != nil {
		return reply{}, err
	}
	if len(b) == 0 {
		return reply{}, problem.New(problem.Invalid, "bundle-empty", "the request has no sigstore bundle as its body")
	}
	receipt, err := d.svc.AttachBundle(c.ctx, c.caller, c.params["project"], c.params["chart"], c.params["version"], b)
	if err != nil {
		return reply{}, err
	}
	return receiptReply(http.StatusOK, receipt), nil
}

func (d *Door) getBundle(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	b, err := d.svc.Bundle(c.ctx, c.caller, c.params["project"], c.params["chart"], c.params["version"], c.params["digest"])
	if err != nil {
		return reply{}, err
	}
	return reply{raw: b, contentType: signature.MediaType}, nil
}

func (d *Door) listStaged(c *call) (reply, error) {
	q, err := c.query("after", "limit")
	if err != nil {
		return reply{}, err
	}
	limit, err := limitOf(q)
	if err != nil {
		return reply{}, err
	}
	after := int64(-1)
	if s := q.Get("after"); s != "" {
		if after, err = number("after", s); err != nil {
			return reply{}, err
		}
	}
	items, more, err := d.svc.Staged(c.ctx, c.caller, c.params["project"], after, limit)
	if err != nil {
		return reply{}, err
	}
	l := list[release.WaitingRelease]{Schema: "staged-list/v1", Items: notNil(items)}
	if more && len(items) > 0 {
		l.Next = strconv.FormatInt(items[len(items)-1].LogIndex, 10)
	}
	return reply{body: l}, nil
}

// getPolicy answers with the canonical JSON, byte for byte: its SHA-256 is the
// digest that was asked for.
func (d *Door) getPolicy(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	text, err := d.svc.PolicyDocument(c.ctx, c.caller, c.params["digest"])
	if err != nil {
		return reply{}, err
	}
	return reply{raw: text, contentType: "application/json"}, nil
}

// trialAnswer is what a policy would have said.
type trialAnswer struct {
	Schema string `json:"schema"`
	release.Trial
}

func (d *Door) tryPolicy(c *call) (reply, error) {
	q, err := c.query("chart", "version", "after")
	if err != nil {
		return reply{}, err
	}
	var p release.Policy
	if err := c.decode(&p); err != nil {
		return reply{}, err
	}
	trial, err := d.svc.TryPolicy(c.ctx, c.caller, c.params["project"], p, q.Get("chart"), q.Get("version"), q.Get("after"))
	if err != nil {
		return reply{}, err
	}
	return reply{body: trialAnswer{"policy-trial/v1", trial}}, nil
}
