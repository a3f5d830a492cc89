package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

type upstreamAnswer struct {
	Schema string `json:"schema"`
	watch.Upstream
}

func upstreamReply(status int, u watch.Upstream, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	return reply{status: status, body: upstreamAnswer{"upstream/v1", u}}, nil
}

func (d *Door) listUpstreams(c *call) (reply, error) {
	q, err := c.query("after", "limit")
	if err != nil {
		return reply{}, err
	}
	all, err := d.watching.Upstreams(c.ctx, c.caller)
	if err != nil {
		return reply{}, err
	}
	return page("upstream-list/v1", all, func(u watch.Upstream) string { return u.Name }, q)
}

// upstreamRequest asks for a new upstream: the sources of a preset, or its own.
type upstreamRequest struct {
	Name       string          `json:"name"`
	Preset     string          `json:"preset"`
	Charts     []string        `json:"charts"`
	Keep       watch.Keep      `json:"keep"`
	QuietAfter *watch.Duration `json:"quiet_after"`
	Mirror     *watch.Mirror   `json:"mirror"`
	Sources    []sourceRequest `json:"sources"`
}

type sourceRequest struct {
	Kind       watch.SourceKind `json:"kind"`
	URL        string           `json:"url"`
	Credential string           `json:"credential"`
	Chart      string           `json:"chart"`
	Interval   watch.Duration   `json:"interval"`
}

func sourcesOf(list []sourceRequest) []watch.Source {
	var out []watch.Source
	for _, s := range list {
		out = append(out, watch.Source{Kind: s.Kind, URL: s.URL, Credential: s.Credential, Chart: s.Chart, Interval: s.Interval})
	}
	return out
}

func (d *Door) addUpstream(c *call) (reply, error) {
	var req upstreamRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	u, err := d.watching.AddUpstream(c.ctx, c.caller, watch.NewUpstream{
		Name: req.Name, Preset: req.Preset, Charts: req.Charts, Keep: req.Keep, QuietAfter: req.QuietAfter, Mirror: req.Mirror, Sources: sourcesOf(req.Sources),
	})
	return upstreamReply(http.StatusCreated, u, err)
}

func (d *Door) getUpstream(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	u, err := d.watching.Upstream(c.ctx, c.caller, c.params["upstream"])
	return upstreamReply(http.StatusOK, u, err)
}

// upstreamPatch names what to change; what is absent or null stays.
type upstreamPatch struct {
	Charts     *[]string        `json:"charts"`
	Keep       *watch.Keep      `json:"keep"`
	QuietAfter *watch.Duration  `json:"quiet_after"`
	Mirror     *watch.Mirror    `json:"mirror"`
	NoMirror   bool             `json:"no_mirror"`
	Sources    *[]sourceRequest `json:"sources"`
}

func (d *Door) setUpstream(c *call) (reply, error) {
	var req upstreamPatch
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	ch := watch.UpstreamChange{Charts: req.Charts, Keep: req.Keep, QuietAfter: req.QuietAfter, Mirror: req.Mirror, NoMirror: req.NoMirror}
	if req.Sources != nil {
		sources := sourcesOf(*req.Sources)
		ch.Sources = &sources
	}
	u, err := d.watching.SetUpstream(c.ctx, c.caller, c.params["upstream"], ch)
	return upstreamReply(http.StatusOK, u, err)
}

func (d *Door) removeUpstream(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	return reply{}, d.watching.RemoveUpstream(c.ctx, c.caller, c.params["upstream"])
}

func (d *Door) pollUpstream(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	return reply{}, d.watching.PollNow(c.ctx, c.caller, c.params["upstream"])
}

func (d *Door) listVersions(c *call) (reply, error) {
	q, err := c.query("chart", "after", "limit")
	if err != nil {
		return reply{}, err
	}
	all, err := d.watching.Versions(c.ctx, c.caller, c.params["upstream"], q.Get("chart"))
	if err != nil {
		return reply{}, err
	}
	return page("upstream-version-list/v1", all, func(v watch.VersionState) string {
		return v.Chart + "@" + v.Version + "#" + strconv.FormatInt(v.SourceID, 10)
	}, q)
}

// archiveHeader names the archive that an answer is.
const archiveHeader = "Chartkeep-Archive"

func (d *Door) getUpstreamArchive(c *call) (reply, error) {
	q, err := c.query("chart", "version", "which")
	if err != nil {
		return reply{}, err
	}
	if q.Get("chart") == "" || q.Get("version") == "" {
		return reply{}, problem.New(problem.Invalid, "parameter", "the parameters chart and version name the version, and one is missing")
	}
	b, digest, err := d.watching.KeptArchive(c.ctx, c.caller, c.params["upstream"], q.Get("chart"), q.Get("version"), q.Get("which"))
	if err != nil {
		return reply{}, err
	}
	c.w.Header().Set(archiveHeader, digest)
	c.w.Header().Set("Content-Disposition", `attachment; filename="archive.tgz"`)
	return reply{raw: b, contentType: "application/octet-stream"}, nil
}

func (d *Door) listNotes(c *call) (reply, error) {
	q, err := c.query("chart", "version", "limit")
	if err != nil {
		return reply{}, err
	}
	limit, err := limitOf(q)
	if err != nil {
		return reply{}, err
	}
	notes, err := d.watching.Notes(c.ctx, c.caller, c.params["upstream"], q.Get("chart"), q.Get("version"), limit)
	if err != nil {
		return reply{}, err
	}
	return reply{body: list[watch.Note]{Schema: "upstream-note-list/v1", Items: notNil(notes)}}, nil
}

// listEvents lists the newest events first. "after" is the id of the last event
// that the client has; the next page holds older ones.
func (d *Door) listEvents(c *call) (reply, error) {
	q, err := c.query("upstream", "chart", "version", "event", "min_severity", "deployment", "since", "after", "limit")
	if err != nil {
		return reply{}, err
	}
	f := watch.EventFilter{
		Upstream: q.Get("upstream"), Chart: q.Get("chart"), Version: q.Get("version"),
		Kind: watch.EventKind(q.Get("event")), MinSeverity: watch.Severity(q.Get("min_severity")), Deployment: q.Get("deployment"),
	}
	if f.Limit, err = limitOf(q); err != nil {
		return reply{}, err
	}
	if f.MinSeverity != "" && f.MinSeverity.Rank() < 0 {
		return reply{}, problem.New(problem.Invalid, "severity", "min_severity has to be info, low, medium, high or critical, not %.40q", q.Get("min_severity"))
	}
	if since := q.Get("since"); since != "" {
		if f.Since, err = time.Parse(time.RFC3339, since); err != nil {
			return reply{}, problem.New(problem.Invalid, "time", "since has to be a time such as 2026-01-31T00:00:00Z, not %.40q", since)
		}
	}
	l := list[watch.Event]{Schema: "event-list/v1", Items: []watch.Event{}}
	if after := q.Get("after"); after != "" {
		if f.Before, err = number("after", after); err != nil {
			return reply{}, err
		}
		if f.Before == 0 {
			return reply{body: l}, nil
		}
	}
	events, err := d.watching.Events(c.ctx, c.caller, f)
	if err != nil {
		return reply{}, err
	}
	l.Items = notNil(events)
	if len(events) >= f.Limit {
		l.Next = strconv.FormatInt(events[len(events)-1].ID, 10)
	}
	return reply{body: l}, nil
}
