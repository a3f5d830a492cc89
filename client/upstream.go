package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Upstream is somebody else's chart source that the server watches. Time spans
// are written as 90m, 36h or 180d.
type Upstream struct {
	Name       string    `json:"name"`
	Charts     []string  `json:"charts,omitempty"` // globs; none means all
	Keep       string    `json:"keep"`             // which archives: new, all, none
	QuietAfter string    `json:"quiet_after"`
	Mirror     *Mirror   `json:"mirror,omitempty"`
	Sources    []Source  `json:"sources"`
	Created    time.Time `json:"created"`
	CreatedBy  string    `json:"created_by"`
}

// Mirror says what of an upstream the server releases in a project of its own.
type Mirror struct {
	Project  string   `json:"project"`
	Charts   []string `json:"charts,omitempty"`
	Versions string   `json:"versions,omitempty"` // SemVer range; "" means all stable ones
	MinAge   string   `json:"min_age,omitempty"`  // since the server first saw the version
	Reviewed bool     `json:"reviewed,omitempty"` // only what somebody reviewed and signed off
	OnDemand bool     `json:"on_demand"`
}

// Source is one address of an upstream.
type Source struct {
	ID         int64  `json:"id,omitempty"`
	Kind       string `json:"kind"` // index, oci, github, feed, artifacthub, changelog
	URL        string `json:"url"`
	Credential string `json:"credential,omitempty"`
	Chart      string `json:"chart,omitempty"`
	Interval   string `json:"interval,omitempty"`
	Health     Health `json:"health"`
}

// Health is how the polls of a source go.
type Health struct {
	LastPoll    time.Time `json:"last_poll,omitzero"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastChange  time.Time `json:"last_change,omitzero"`
	NextPoll    time.Time `json:"next_poll,omitzero"`
	HeldUntil   time.Time `json:"held_until,omitzero"` // nobody polls it so long: a poll that another process began has not ended
	Failures    int       `json:"failures"`
	Error       string    `json:"error,omitempty"`
	Try         string    `json:"try,omitempty"`  // what to do about the error
	Rule        string    `json:"rule,omitempty"` // of the error
	Versions    int       `json:"versions"`
	Suspect     string    `json:"suspect,omitempty"`
}

// NewUpstream asks for an upstream. With a preset, its sources are the
// preset's and those given here.
type NewUpstream struct {
	Name       string      `json:"name,omitempty"`
	Preset     string      `json:"preset,omitempty"`
	Charts     []string    `json:"charts,omitempty"`
	Keep       string      `json:"keep,omitempty"`
	QuietAfter string      `json:"quiet_after,omitempty"`
	Mirror     *Mirror     `json:"mirror,omitempty"`
	Sources    []NewSource `json:"sources,omitempty"`
}

// NewSource is an address of a new upstream.
type NewSource struct {
	Kind       string `json:"kind"`
	URL        string `json:"url"`
	Credential string `json:"credential,omitempty"`
	Chart      string `json:"chart,omitempty"`
	Interval   string `json:"interval,omitempty"`
}

// UpstreamChange names what to change; nil leaves it.
type UpstreamChange struct {
	Charts     *[]string    `json:"charts,omitempty"`
	Keep       *string      `json:"keep,omitempty"`
	QuietAfter *string      `json:"quiet_after,omitempty"`
	Mirror     *Mirror      `json:"mirror,omitempty"`
	NoMirror   bool         `json:"no_mirror,omitempty"`
	Sources    *[]NewSource `json:"sources,omitempty"`
}

// UpstreamVersion is what the server knows of a version of an upstream.
type UpstreamVersion struct {
	Chart        string    `json:"chart"`
	Version      string    `json:"version"`
	Source       int64     `json:"source"`
	Digests      []string  `json:"digests"`          // bare SHA-256, as they are listed
	Created      time.Time `json:"created,omitzero"` // as the upstream says
	Fault        string    `json:"fault,omitempty"`
	Gone         bool      `json:"gone"`
	AppVersion   string    `json:"app_version,omitempty"`
	Deprecated   bool      `json:"deprecated"`
	URL          string    `json:"url,omitempty"`
	FirstSeen    time.Time `json:"first_seen"`
	LogIndex     int64     `json:"log_index"`
	LastChange   time.Time `json:"last_change"`
	Archive      string    `json:"archive,omitempty"` // digest of the archive that is kept
	Content      string    `json:"content,omitempty"`
	Fingerprint  string    `json:"fingerprint,omitempty"`
	ArchiveError string    `json:"archive_error,omitempty"`
	Earlier      []Earlier `json:"earlier,omitempty"` // what it was before it was replaced, the first seen first
	Served       Served    `json:"served,omitzero"`
}

// archiveHeader names the archive that an answer is.
const archiveHeader = "Chartkeep-Archive"

// UpstreamArchive fetches an archive of a version of an upstream that the server
// keeps: which is now, before (what it was before it was replaced last) or a
// digest sha256:…. It returns the bytes and their digest, which was compared with
// them. Reading ends with problem.TooLarge beyond limit bytes.
func (c *Client) UpstreamArchive(ctx context.Context, upstream, chart, version, which string, limit int64) ([]byte, string, error) {
	path, err := segments(upstream)
	if err != nil {
		return nil, "", err
	}
	q := url.Values{"chart": {chart}, "version": {version}, "which": {which}}
	res, err := c.do(ctx, call{method: http.MethodGet, path: api + "/upstreams" + path + "/archive", query: q, accept: "application/octet-stream"})
	if err != nil {
		return nil, "", err
	}
	defer drain(res.Body)
	b, err := c.read(res, limit)
	if err != nil {
		return nil, "", err
	}
	name := res.Header.Get(archiveHeader)
	if is := digest.SHA256(b); is != name || strings.Contains(which, ":") && is != which {
		return nil, "", problem.New(problem.Disproven, "digest", "the server sent other bytes than those that it names").
			With("named", "%.80s", name).With("sent", "%s", is)
	}
	return b, name, nil
}

// Earlier is what a version was before it was replaced.
type Earlier struct {
	Archive     string    `json:"archive,omitempty"` // that is kept
	Content     string    `json:"content,omitempty"`
	Fingerprint string    `json:"fingerprint,omitempty"`
	Listed      string    `json:"listed,omitempty"`
	Replaced    time.Time `json:"replaced"`
}

// Served is when the archive that is kept was last compared with the one that
// is served.
type Served struct {
	ETag         string    `json:"etag,omitempty"`
	LastModified string    `json:"last_modified,omitempty"`
	Asked        time.Time `json:"asked,omitzero"` // whether it is the same
	Read         time.Time `json:"read,omitzero"`  // to its end
}

// Note is a text that an upstream published about a version.
type Note struct {
	Key       string    `json:"key"`
	Chart     string    `json:"chart"`
	Version   string    `json:"version"`
	Title     string    `json:"title"`
	URL       string    `json:"url,omitempty"`
	Text      string    `json:"text"`
	Digest    string    `json:"digest"`
	Published time.Time `json:"published,omitzero"`
	FirstSeen time.Time `json:"first_seen"`
}

// Event is something that happened to an upstream or a deployment.
type Event struct {
	ID         int64     `json:"id"`
	Time       time.Time `json:"time"`
	Event      string    `json:"event"`
	Severity   string    `json:"severity"`
	Upstream   string    `json:"upstream,omitempty"`
	Chart      string    `json:"chart,omitempty"`
	Version    string    `json:"version,omitempty"`
	Project    string    `json:"project,omitempty"`
	Deployment string    `json:"deployment,omitempty"`
	Import     string    `json:"import,omitempty"` // of deployments
	Message    string    `json:"message"`
	Question   string    `json:"question,omitempty"`
	Evidence   []Fact    `json:"evidence,omitempty"`
	Files      []Change  `json:"files,omitempty"`
	Key        string    `json:"key"`
	LogIndex   int64     `json:"log_index,omitempty"`
}

// Fact is one line of evidence.
type Fact struct {
	Label string `json:"label"`
	Value string `json:"value"`
}

// Change is a file by which two archives differ.
type Change struct {
	Path string `json:"path"`
	Kind string `json:"kind"` // added, removed, changed or mode
}

// EventFilter chooses events; empty fields choose all.
type EventFilter struct {
	Upstream, Chart, Version, Event, MinSeverity, Deployment string
	Since                                                    time.Time
}

func upstreamPath(name string) (string, error) {
	p, err := segments(name)
	return "/upstreams" + p, err
}

// Upstreams lists what is watched, by name.
func (c *Client) Upstreams(ctx context.Context, p Page) (l List[Upstream], err error) {
	err = c.get(ctx, "/upstreams", p.values(), "upstream-list/v1", &l)
	return l, err
}

// Upstream returns one upstream.
func (c *Client) Upstream(ctx context.Context, name string) (out Upstream, err error) {
	path, err := upstreamPath(name)
	if err == nil {
		err = c.get(ctx, path, nil, "upstream/v1", &out)
	}
	return out, err
}

// AddUpstream watches an upstream from now on.
func (c *Client) AddUpstream(ctx context.Context, u NewUpstream) (out Upstream, err error) {
	err = c.send(ctx, http.MethodPost, "/upstreams", u, "upstream/v1", &out)
	return out, err
}

// SetUpstream changes what is watched of an upstream.
func (c *Client) SetUpstream(ctx context.Context, name string, ch UpstreamChange) (out Upstream, err error) {
	path, err := upstreamPath(name)
	if err == nil {
		err = c.send(ctx, http.MethodPatch, path, ch, "upstream/v1", &out)
	}
	return out, err
}

// RemoveUpstream watches an upstream no more. Its events and the log stay.
func (c *Client) RemoveUpstream(ctx context.Context, name string) error {
	path, err := upstreamPath(name)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodDelete, path, nil, "", nil)
}

// PollUpstream makes the server poll an upstream soon.
func (c *Client) PollUpstream(ctx context.Context, name string) error {
	path, err := upstreamPath(name)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodPost, path+"/poll", nil, "", nil)
}

// UpstreamVersions lists what is known of the versions of an upstream; chart
// "" lists those of all charts.
func (c *Client) UpstreamVersions(ctx context.Context, name, chart string, p Page) (l List[UpstreamVersion], err error) {
	path, err := upstreamPath(name)
	if err != nil {
		return l, err
	}
	q := p.values()
	set(q, "chart", chart)
	err = c.get(ctx, path+"/versions", q, "upstream-version-list/v1", &l)
	return l, err
}

// UpstreamNotes lists notes of an upstream, newest first; chart and version may
// be "".
func (c *Client) UpstreamNotes(ctx context.Context, name, chart, version string, limit int) ([]Note, error) {
	path, err := upstreamPath(name)
	if err != nil {
		return nil, err
	}
	q := Page{Limit: limit}.values()
	set(q, "chart", chart)
	set(q, "version", version)
	var l List[Note]
	err = c.get(ctx, path+"/notes", q, "upstream-note-list/v1", &l)
	return l.Items, err
}

// Events lists what happened, newest first. After is the Next of the page
// before.
func (c *Client) Events(ctx context.Context, f EventFilter, p Page) (l List[Event], err error) {
	q := p.values()
	for name, value := range map[string]string{
		"upstream": f.Upstream, "chart": f.Chart, "version": f.Version, "event": f.Event, "min_severity": f.MinSeverity, "deployment": f.Deployment,
	} {
		set(q, name, value)
	}
	if !f.Since.IsZero() {
		q.Set("since", f.Since.UTC().Format(time.RFC3339))
	}
	err = c.get(ctx, "/events", q, "event-list/v1", &l)
	return l, err
}

func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

// Route says which events go where.
type Route struct {
	Name        string      `json:"name"`
	Kind        string      `json:"kind"` // webhook, slack, mail
	Target      string      `json:"target"`
	Credential  string      `json:"credential,omitempty"`
	Events      []string    `json:"events,omitempty"`
	MinSeverity string      `json:"min_severity"`
	Upstreams   []string    `json:"upstreams,omitempty"`
	Charts      []string    `json:"charts,omitempty"`
	Projects    []string    `json:"projects,omitempty"`
	Owners      []string    `json:"owners,omitempty"`
	Digest      string      `json:"digest,omitempty"` // "", daily, weekly
	Created     time.Time   `json:"created"`
	Health      RouteHealth `json:"health"`
}

// RouteHealth is how the deliveries of a route go.
type RouteHealth struct {
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastFailure time.Time `json:"last_failure,omitzero"`
	Error       string    `json:"error,omitempty"`
	Waiting     int       `json:"waiting"`
	Failed      int       `json:"failed"`
}

// NewRoute asks for a route.
type NewRoute struct {
	Name        string   `json:"name"`
	Kind        string   `json:"kind"`
	Target      string   `json:"target,omitempty"`
	Credential  string   `json:"credential,omitempty"`
	Events      []string `json:"events,omitempty"`
	MinSeverity string   `json:"min_severity,omitempty"`
	Upstreams   []string `json:"upstreams,omitempty"`
	Charts      []string `json:"charts,omitempty"`
	Projects    []string `json:"projects,omitempty"`
	Owners      []string `json:"owners,omitempty"`
	Digest      string   `json:"digest,omitempty"`
}

// Delivery is a message on its way.
type Delivery struct {
	ID       string    `json:"id"`
	Route    string    `json:"route"`
	Due      time.Time `json:"due"`
	Attempts int       `json:"attempts"`
	State    string    `json:"state"` // waiting, delivered, failed
	Error    string    `json:"error,omitempty"`
}

// Routes lists who is told of events, by name.
func (c *Client) Routes(ctx context.Context, p Page) (l List[Route], err error) {
	err = c.get(ctx, "/routes", p.values(), "route-list/v1", &l)
	return l, err
}

// AddRoute sends events to somebody from now on.
func (c *Client) AddRoute(ctx context.Context, r NewRoute) (out Route, err error) {
	err = c.send(ctx, http.MethodPost, "/routes", r, "route/v1", &out)
	return out, err
}

// RemoveRoute sends nothing there any more; what waits is dropped.
func (c *Client) RemoveRoute(ctx context.Context, name string) error {
	path, err := segments(name)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodDelete, "/routes"+path, nil, "", nil)
}

// TestRoute delivers a test message at once, and returns what became of it.
func (c *Client) TestRoute(ctx context.Context, name string) error {
	path, err := segments(name)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodPost, "/routes"+path+"/test", nil, "", nil)
}

// ResendDeliveries sends deliveries of a route again that have failed: one, or
// all for "". It returns how many.
func (c *Client) ResendDeliveries(ctx context.Context, route, delivery string) (int, error) {
	path, err := segments(route)
	if err != nil {
		return 0, err
	}
	var out struct {
		Deliveries int `json:"deliveries"`
	}
	err = c.send(ctx, http.MethodPost, "/routes"+path+"/resend", map[string]string{"delivery": delivery}, "route-resent/v1", &out)
	return out.Deliveries, err
}

// Deliveries lists a route's newest deliveries.
func (c *Client) Deliveries(ctx context.Context, route string, limit int) ([]Delivery, error) {
	path, err := segments(route)
	if err != nil {
		return nil, err
	}
	var l List[Delivery]
	err = c.get(ctx, "/routes"+path+"/deliveries", url.Values{"limit": {strconv.Itoa(limit)}}, "delivery-list/v1", &l)
	return l.Items, err
}
