package api

import (
	"strconv"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/release"
)

// recordAnswer is an audit event with its place in the audit log. Its fields
// have the names of the canonical encoding; the names of people and the source
// of the request, which that leaves out, are beside them.
type recordAnswer struct {
	Index     int64             `json:"index"`
	ID        string            `json:"id"`
	Time      time.Time         `json:"time"`
	Event     audit.Name        `json:"event"`
	Actor     actorAnswer       `json:"actor"`
	Action    access.Action     `json:"action,omitempty"`
	Resource  resourceAnswer    `json:"resource,omitzero"`
	Outcome   outcomeAnswer     `json:"outcome"`
	Before    string            `json:"before,omitempty"`
	After     string            `json:"after,omitempty"`
	Request   string            `json:"request,omitempty"`
	Door      audit.Door        `json:"door"`
	Reason    string            `json:"reason,omitempty"`
	Detail    map[string]string `json:"detail,omitempty"`
	Source    string            `json:"source,omitempty"` // the commitment that the log has
	IP        string            `json:"ip,omitempty"`
	UserAgent string            `json:"user_agent,omitempty"`
}

type actorAnswer struct {
	Kind    access.Kind `json:"kind"`
	ID      string      `json:"id,omitempty"`
	Name    string      `json:"name,omitempty"`
	Issuer  string      `json:"issuer,omitempty"`
	Subject string      `json:"subject,omitempty"` // of a pipeline at its issuer
	Token   string      `json:"token,omitempty"`
}

type resourceAnswer struct {
	Project string `json:"project,omitempty"`
	Chart   string `json:"chart,omitempty"`
	Version string `json:"version,omitempty"`
	Digest  string `json:"digest,omitempty"`
}

type outcomeAnswer struct {
	Result audit.Result `json:"result"`
	Rule   string       `json:"rule,omitempty"`
	Status int          `json:"status,omitempty"`
}

func recordOf(r release.AuditRecord) recordAnswer {
	e := &r.Event
	return recordAnswer{
		Index: r.Index, ID: e.ID, Time: e.Time, Event: e.Name,
		Actor:    actorAnswer{e.Actor.Kind, e.Actor.ID, r.Actor, e.Actor.Issuer, e.Actor.Subject, e.Actor.TokenID},
		Action:   e.Action,
		Resource: resourceAnswer(e.Resource),
		Outcome:  outcomeAnswer(e.Outcome),
		Before:   e.Before, After: e.After,
		Request: e.RequestID, Door: e.Door, Reason: e.Reason, Detail: e.Detail,
		Source: e.SourceDigest, IP: e.Source.IP, UserAgent: e.Source.UserAgent,
	}
}

// listAudit lists the newest events first. "after" is the index of the last
// event that the client has; the next page holds older ones.
func (d *Door) listAudit(c *call) (reply, error) {
	q, err := c.query("project", "chart", "version", "event", "actor", "outcome", "since", "until", "source", "rule", "after", "limit")
	if err != nil {
		return reply{}, err
	}
	limit, err := limitOf(q)
	if err != nil {
		return reply{}, err
	}
	f, err := auditFilter(q)
	if err != nil {
		return reply{}, err
	}
	f.Limit = limit
	l := list[recordAnswer]{Schema: "audit-list/v1", Items: []recordAnswer{}}
	if after := q.Get("after"); after != "" {
		if f.Before, err = number("after", after); err != nil {
			return reply{}, err
		}
		if f.Before == 0 { // nothing is older than the first event; in the filter, 0 is the newest
			return reply{body: l}, nil
		}
	}
	records, err := d.svc.Audit(c.ctx, c.caller, f)
	if err != nil {
		return reply{}, err
	}
	for _, r := range records {
		l.Items = append(l.Items, recordOf(r))
	}
	if len(records) >= limit {
		l.Next = strconv.FormatInt(records[len(records)-1].Index, 10)
	}
	return reply{body: l}, nil
}
