package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// Protection is what needs a second person.
type Protection interface {
	SetQuarantine(ctx context.Context, c release.Caller, project, chart, version, reason, text string) (release.Release, error)
	ConfirmQuarantine(ctx context.Context, c release.Caller, project, chart, version, text string) (release.Release, error)
	LiftQuarantine(ctx context.Context, c release.Caller, project, chart, version, text string) (release.Release, error)
	ReleasesWith(ctx context.Context, c release.Caller, digest string) ([]release.Release, error)
	Quarantines(ctx context.Context, c release.Caller, project string) ([]release.Release, error)
	RequestTombstone(ctx context.Context, c release.Caller, project, chart, version, reason, text string) (release.Request, error)
	Requests(ctx context.Context, c release.Caller, f release.RequestFilter) ([]release.Request, error)
	Request(ctx context.Context, c release.Caller, id int64) (release.Request, error)
	ApproveRequest(ctx context.Context, c release.Caller, id int64, text string) (release.Request, error)
	DeclineRequest(ctx context.Context, c release.Caller, id int64, text string) (release.Request, error)
	WithdrawRequest(ctx context.Context, c release.Caller, id int64, text string) (release.Request, error)
}

// blockRequest asks to block a release, or for its tombstone.
type blockRequest struct {
	Reason string `json:"reason"` // one of release.BlockReasons
	Text   string `json:"text"`
}

// wordRequest is what somebody says when he decides.
type wordRequest struct {
	Text string `json:"text"`
}

type requestAnswer struct {
	Schema string `json:"schema"`
	release.Request
}

func requestReply(status int, r release.Request, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	return reply{status: status, body: requestAnswer{"request/v1", r}}, nil
}

func releaseReply(r release.Release, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	return reply{body: releaseAnswer{"release/v1", r}}, nil
}

func (d *Door) setQuarantine(c *call) (reply, error) {
	var req blockRequest
	if err := c.body(&req); err != nil {
		return reply{}, err
	}
	return releaseReply(d.svc.SetQuarantine(c.ctx, c.caller, c.params["project"], c.params["chart"], c.params["version"], req.Reason, req.Text))
}

func (d *Door) confirmQuarantine(c *call) (reply, error) {
	var req wordRequest
	if err := c.body(&req); err != nil {
		return reply{}, err
	}
	return releaseReply(d.svc.ConfirmQuarantine(c.ctx, c.caller, c.params["project"], c.params["chart"], c.params["version"], req.Text))
}

func (d *Door) liftQuarantine(c *call) (reply, error) {
	var req wordRequest
	if err := c.body(&req); err != nil {
		return reply{}, err
	}
	return releaseReply(d.svc.LiftQuarantine(c.ctx, c.caller, c.params["project"], c.params["chart"], c.params["version"], req.Text))
}

func (d *Door) listQuarantines(c *call) (reply, error) {
	q, err := c.query("project", "after", "limit")
	if err != nil {
		return reply{}, err
	}
	list, err := d.svc.Quarantines(c.ctx, c.caller, q.Get("project"))
	if err != nil {
		return reply{}, err
	}
	return page("release-list/v1", list, func(r release.Release) string { return r.Ref() }, q)
}

// whereAnswer is who runs certain bytes.
type whereAnswer struct {
	Schema   string            `json:"schema"`
	Digest   string            `json:"digest"`
	Releases []release.Release `json:"releases"` // that have them, or had
	watch.Whereabouts
}

// where looks for deployments by the digest of an archive or a manifest, or by
// the release that has it.
func (d *Door) where(c *call) (reply, error) {
	q, err := c.query("digest", "project", "chart", "version")
	if err != nil {
		return reply{}, err
	}
	a := whereAnswer{Schema: "where/v1", Digest: q.Get("digest")}
	if a.Digest == "" {
		detail, err := d.svc.Release(c.ctx, c.caller, q.Get("project"), q.Get("chart"), q.Get("version"))
		if err != nil {
			return reply{}, err
		}
		a.Digest = detail.Release.Archive
	}
	if a.Releases, err = d.svc.ReleasesWith(c.ctx, c.caller, a.Digest); err != nil {
		return reply{}, err
	}
	wanted := watch.Wanted{Digests: []string{a.Digest}}
	for i := range a.Releases {
		r := &a.Releases[i]
		wanted.Digests = append(wanted.Digests, r.Archive, r.Manifest)
		wanted.Releases = append(wanted.Releases, watch.OwnRelease{Project: r.Project, Chart: r.Chart, Version: r.Version, Archive: r.Archive, LogIndex: r.LogIndex})
	}
	if a.Whereabouts, err = d.watching.Where(c.ctx, c.caller, wanted); err != nil {
		return reply{}, err
	}
	return reply{body: a}, nil
}

// requestTombstone answers 202: another person has to approve it.
func (d *Door) requestTombstone(c *call) (reply, error) {
	var req blockRequest
	if err := c.body(&req); err != nil {
		return reply{}, err
	}
	r, err := d.svc.RequestTombstone(c.ctx, c.caller, c.params["project"], c.params["chart"], c.params["version"], req.Reason, req.Text)
	return requestReply(http.StatusAccepted, r, err)
}

func (d *Door) listRequests(c *call) (reply, error) {
	q, err := c.query("project", "all", "after", "limit")
	if err != nil {
		return reply{}, err
	}
	all, err := boolean("all", q.Get("all"))
	if err != nil {
		return reply{}, err
	}
	list, err := d.svc.Requests(c.ctx, c.caller, release.RequestFilter{Project: q.Get("project"), All: all})
	if err != nil {
		return reply{}, err
	}
	return page("request-list/v1", list, func(r release.Request) string { return strconv.FormatInt(r.ID, 10) }, q)
}

func (d *Door) getRequest(c *call) (reply, error) {
	id, err := c.id()
	if err != nil {
		return reply{}, err
	}
	r, err := d.svc.Request(c.ctx, c.caller, id)
	return requestReply(http.StatusOK, r, err)
}

func (d *Door) approveRequest(c *call) (reply, error)  { return moveRequest(c, d.svc.ApproveRequest) }
func (d *Door) declineRequest(c *call) (reply, error)  { return moveRequest(c, d.svc.DeclineRequest) }
func (d *Door) withdrawRequest(c *call) (reply, error) { return moveRequest(c, d.svc.WithdrawRequest) }

func moveRequest(c *call, move func(context.Context, release.Caller, int64, string) (release.Request, error)) (reply, error) {
	id, err := c.id()
	if err != nil {
		return reply{}, err
	}
	var req wordRequest
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	r, err := move(c.ctx, c.caller, id, req.Text)
	return requestReply(http.StatusOK, r, err)
}

// body reads the JSON body of a request that takes no query.
func (c *call) body(v any) error {
	if err := c.noQuery(); err != nil {
		return err
	}
	return c.decode(v)
}
