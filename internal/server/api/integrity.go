package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// Integrity compares what is stored with the log, shows the audit log as a log,
// and keeps what was refused.
type Integrity interface {
	ScrubStatus(ctx context.Context, c release.Caller) (release.ScrubView, error)
	StartScrub(ctx context.Context, c release.Caller) (release.ScrubView, error)
	AuditLog(ctx context.Context, c release.Caller) (release.AuditLogInfo, error)
	AuditEntries(ctx context.Context, c release.Caller, from int64, limit int) ([]release.AuditEntry, error)
	ExportAudit(ctx context.Context, c release.Caller, format string, f release.AuditFilter) (lines []byte, next int64, err error)
	RefusedCopies(ctx context.Context, c release.Caller, project string, limit int) ([]release.RefusedCopy, error)
	OpenRefused(ctx context.Context, c release.Caller, project, digest string) (release.RefusedCopy, io.ReadCloser, error)
}

type scrubAnswer struct {
	Schema string `json:"schema"`
	release.ScrubView
}

func scrubReply(status int, v release.ScrubView) reply {
	v.Open = notNil(v.Open)
	return reply{status: status, body: scrubAnswer{"scrub/v1", v}}
}

func (d *Door) getScrub(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	v, err := d.svc.ScrubStatus(c.ctx, c.caller)
	return scrubReply(http.StatusOK, v), err
}

func (d *Door) startScrub(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	v, err := d.svc.StartScrub(c.ctx, c.caller)
	return scrubReply(http.StatusAccepted, v), err
}

type auditLogAnswer struct {
	Schema string `json:"schema"`
	release.AuditLogInfo
}

func (d *Door) auditLog(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	info, err := d.svc.AuditLog(c.ctx, c.caller)
	return reply{body: auditLogAnswer{"audit-log/v1", info}}, err
}

// auditEntries lists leaves of the audit log in their order; from is the first.
func (d *Door) auditEntries(c *call) (reply, error) {
	q, err := c.query("from", "limit")
	if err != nil {
		return reply{}, err
	}
	limit, err := limitOf(q)
	if err != nil {
		return reply{}, err
	}
	from, err := number("from", q.Get("from"))
	if err != nil {
		return reply{}, err
	}
	entries, err := d.svc.AuditEntries(c.ctx, c.caller, from, limit)
	return reply{body: list[release.AuditEntry]{Schema: "audit-entries/v1", Items: notNil(entries)}}, err
}

// nextHeader says where an export goes on.
const nextHeader = "Chartkeep-Next"

// exportAudit answers lines of a format, and in a header where to go on.
func (d *Door) exportAudit(c *call) (reply, error) {
	q, err := c.query("format", "project", "chart", "version", "event", "actor", "outcome", "since", "until", "source", "rule", "from")
	if err != nil {
		return reply{}, err
	}
	f, err := auditFilter(q)
	if err != nil {
		return reply{}, err
	}
	if from := q.Get("from"); from != "" {
		if f.From, err = number("from", from); err != nil {
			return reply{}, err
		}
	}
	format := q.Get("format")
	if format == "" {
		format = audit.Formats()[0].Name()
	}
	lines, next, err := d.svc.ExportAudit(c.ctx, c.caller, format, f)
	if err != nil {
		return reply{}, err
	}
	if next > 0 {
		c.w.Header().Set(nextHeader, strconv.FormatInt(next, 10))
	}
	if lines == nil {
		lines = []byte{}
	}
	re := reply{raw: lines}
	for _, g := range audit.Formats() {
		if g.Name() == format {
			re.contentType = g.ContentType()
		}
	}
	return re, nil
}

// auditFilter reads what the list and the export of events have in common.
func auditFilter(q interface{ Get(string) string }) (release.AuditFilter, error) {
	f := release.AuditFilter{
		Project: q.Get("project"), Chart: q.Get("chart"), Version: q.Get("version"),
		Action: q.Get("event"), Actor: q.Get("actor"), Outcome: q.Get("outcome"), Source: q.Get("source"), Rule: q.Get("rule"),
	}
	for name, at := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		if text := q.Get(name); text != "" {
			t, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return f, problem.New(problem.Invalid, "query", "%s is a time such as 2026-11-22T10:00:00Z, and not %.40q", name, text)
			}
			*at = t
		}
	}
	return f, nil
}

func (d *Door) listRefused(c *call) (reply, error) {
	q, err := c.query("project", "limit")
	if err != nil {
		return reply{}, err
	}
	limit, err := limitOf(q)
	if err != nil {
		return reply{}, err
	}
	all, err := d.svc.RefusedCopies(c.ctx, c.caller, q.Get("project"), limit)
	return reply{body: list[release.RefusedCopy]{Schema: "refused-list/v1", Items: notNil(all)}}, err
}

func (d *Door) getRefused(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	kept, r, err := d.svc.OpenRefused(c.ctx, c.caller, c.params["project"], c.params["digest"])
	if err != nil {
		return reply{}, err
	}
	defer r.Close()
	// Whole before the first byte leaves: what it is, is known by its digest.
	b, err := io.ReadAll(io.LimitReader(r, kept.Size+1))
	if err != nil {
		return reply{}, fmt.Errorf("read copy: %w", err)
	}
	if int64(len(b)) != kept.Size { // what was read up to here was not compared with the digest
		return reply{}, fmt.Errorf("read copy %s: it has not the %d bytes that were kept", kept.Digest, kept.Size)
	}
	c.w.Header().Set("Content-Disposition", `attachment; filename="refused.tgz"`)
	return reply{raw: b, contentType: "application/octet-stream"}, nil
}
