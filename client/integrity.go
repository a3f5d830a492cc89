package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Scrub is where the comparison of everything stored with the log stands.
type Scrub struct {
	Due     time.Time     `json:"due"` // when the next pass begins
	Running bool          `json:"running"`
	Started time.Time     `json:"started,omitzero"` // of the pass that runs
	Next    int64         `json:"next"`             // leaves of the release log before it are compared
	Size    int64         `json:"size"`             // leaves that the pass covers
	Done    ScrubCounts   `json:"done"`
	Work    time.Duration `json:"work_ns"`
	Last    *ScrubReport  `json:"last,omitempty"`
	Open    []Doubt       `json:"open"` // what is wrong, the newest first, 1000 at most
}

// ScrubCounts is what a pass has looked at.
type ScrubCounts struct {
	Leaves   int64 `json:"leaves"`
	Releases int64 `json:"releases"`
	Blobs    int64 `json:"blobs"`
	Bytes    int64 `json:"bytes"`
	Events   int64 `json:"events"`
	Findings int64 `json:"findings"`
}

// ScrubReport is a complete pass.
type ScrubReport struct {
	Started  time.Time     `json:"started"`
	Ended    time.Time     `json:"ended"`
	Duration time.Duration `json:"duration_ns"`
	LogSize  int64         `json:"log_size"`
	LogRoot  string        `json:"log_root"` // base64
	Counts   ScrubCounts   `json:"counts"`
}

// Doubt is one thing that is not as the log says.
type Doubt struct {
	Key      string    `json:"key"`
	Kind     string    `json:"kind"`
	Project  string    `json:"project,omitempty"`
	Chart    string    `json:"chart,omitempty"`
	Version  string    `json:"version,omitempty"`
	LogIndex int64     `json:"log_index"` // -1 where it is about no leaf
	Logged   string    `json:"logged,omitempty"`
	Found    string    `json:"found,omitempty"`
	Message  string    `json:"message"`
	Try      string    `json:"try,omitempty"`
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
	Resolved time.Time `json:"resolved,omitzero"`
}

// Scrub returns where the comparison stands.
func (c *Client) Scrub(ctx context.Context) (out Scrub, err error) {
	err = c.get(ctx, "/scrub", nil, "scrub/v1", &out)
	return out, err
}

// StartScrub makes a comparison begin now.
func (c *Client) StartScrub(ctx context.Context) (out Scrub, err error) {
	err = c.send(ctx, http.MethodPost, "/scrub", nil, "scrub/v1", &out)
	return out, err
}

// RefusedCopy is an archive that was offered for a released version, and kept.
type RefusedCopy struct {
	Digest  string    `json:"digest"`
	Project string    `json:"project"`
	Chart   string    `json:"chart"`
	Version string    `json:"version"`
	Size    int64     `json:"size"`
	Door    string    `json:"door"`
	Actor   string    `json:"actor"`
	By      string    `json:"actor_name"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Times   int       `json:"times"`
	Expires time.Time `json:"expires"`
}

// RefusedCopies lists what was offered for released versions, the newest
// first; project "" is all of them.
func (c *Client) RefusedCopies(ctx context.Context, project string, limit int) ([]RefusedCopy, error) {
	q := Page{Limit: limit}.values()
	if project != "" {
		q.Set("project", project)
	}
	var l List[RefusedCopy]
	err := c.get(ctx, "/audit/refused", q, "refused-list/v1", &l)
	return l.Items, err
}

// maxRefused bounds what is read of a copy, in bytes.
const maxRefused = 256 << 20

// Refused fetches the bytes of a copy, and checks that they have the digest.
func (c *Client) Refused(ctx context.Context, project, d string) ([]byte, error) {
	path, err := projectPath(project)
	if err != nil {
		return nil, err
	}
	name, err := segments(d)
	if err != nil {
		return nil, err
	}
	b, err := c.file(ctx, api+path+"/-/refused"+name, maxRefused)
	if err == nil && !digest.Matches(b, d) {
		err = problem.New(problem.Disproven, "digest", "the server sent other bytes than those of %s", d)
	}
	return b, err
}

// AuditExport asks for events as lines of a format, the oldest first.
type AuditExport struct {
	AuditFilter
	Format string // jsonl or cloudevents
	From   int64  // index of the first event
}

// ExportAudit writes the lines of events to w, and returns the index to go on
// from; 0 when there were no more. An answer has at most 10,000 events; the
// server records that they left.
func (c *Client) ExportAudit(ctx context.Context, x AuditExport, w io.Writer) (next int64, err error) {
	q := x.values()
	q.Set("format", x.Format)
	q.Set("from", strconv.FormatInt(x.From, 10))
	res, err := c.do(ctx, call{method: http.MethodGet, path: api + "/audit/export", query: q})
	if err != nil {
		return 0, err
	}
	defer drain(res.Body)
	if h := res.Header.Get("Chartkeep-Next"); h != "" {
		if next, err = strconv.ParseInt(h, 10, 64); err != nil || next <= x.From {
			return 0, problem.New(problem.Unavailable, "answer", "the server's answer says to go on from %.40q, which makes no sense", h)
		}
	}
	const most = 10_000 * (16<<10 + 8<<10) // events at their largest, with what is beside them
	n, err := io.Copy(w, io.LimitReader(res.Body, most+1))
	if err == nil && n > most {
		err = problem.New(problem.Unavailable, "answer", "the server's answer is longer than any export")
	}
	return next, err
}

// values are the parameters of a filter.
func (f *AuditFilter) values() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{
		"project": f.Project, "chart": f.Chart, "version": f.Version,
		"event": f.Event, "actor": f.Actor, "outcome": f.Outcome, "source": f.Source, "rule": f.Rule,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for name, at := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !at.IsZero() {
			q.Set(name, at.UTC().Format(time.RFC3339))
		}
	}
	return q
}
