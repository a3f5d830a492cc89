package release

import (
	"context"
	"slices"
	"strconv"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// AuditLogInfo is where the audit log stands.
type AuditLogInfo struct {
	Origin     string `json:"origin"`
	Size       int64  `json:"size"`
	Root       string `json:"root"`       // base64
	Checkpoint string `json:"checkpoint"` // the signed note
}

// AuditEntry is a leaf of the audit log as it is hashed, with what the log only
// commits to.
type AuditEntry struct {
	Index     int64  `json:"index"`
	Leaf      string `json:"leaf"`
	IP        string `json:"ip,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	Salt      []byte `json:"salt,omitempty"` // base64; empty when the source was forgotten
	// Missing says that the row is gone that has the source.
	Missing bool `json:"missing,omitempty"`
}

// stored asks for the right to read the whole audit trail, and for the tables.
func (s *Service) stored(ctx context.Context, c Caller) (Stored, error) {
	if err := s.AllowInstance(ctx, c, access.AuditRead); err != nil {
		return nil, err
	}
	if s.scrub.Stored == nil {
		return nil, problem.New(problem.Unsupported, "audit-log", "this server does not show its audit log as a log")
	}
	return s.scrub.Stored, nil
}

// AuditLog says where the audit log stands, to whoever may read all of it.
func (s *Service) AuditLog(ctx context.Context, c Caller) (AuditLogInfo, error) {
	st, err := s.stored(ctx, c)
	if err != nil {
		return AuditLogInfo{}, err
	}
	h, err := st.StoredHead(ctx, AuditLog)
	return AuditLogInfo{Origin: s.name + "/audit", Size: h.Size, Root: h.Root.String(), Checkpoint: string(h.Checkpoint)}, err
}

// AuditEntries returns leaves of the audit log from an index on, at most limit
// and 1024, as they are stored: whoever asks proves them. Cost: two ranges of
// as many rows.
func (s *Service) AuditEntries(ctx context.Context, c Caller, from int64, limit int) ([]AuditEntry, error) {
	st, err := s.stored(ctx, c)
	if err != nil {
		return nil, err
	}
	leaves, err := st.StoredLeaves(ctx, AuditLog, from, min(max(limit, 1), 1024))
	if err != nil || len(leaves) == 0 {
		return nil, err
	}
	rows, err := st.StoredEvents(ctx, leaves[0].Index, leaves[len(leaves)-1].Index+1)
	if err != nil {
		return nil, err
	}
	out := make([]AuditEntry, len(leaves))
	for i := range leaves {
		out[i] = AuditEntry{Index: leaves[i].Index, Leaf: string(leaves[i].Entry), Missing: true}
		at, ok := slices.BinarySearchFunc(rows, leaves[i].Index, func(r StoredEvent, index int64) int { return int(r.Index - index) })
		if ok {
			r := &rows[at]
			out[i].Missing, out[i].IP, out[i].UserAgent, out[i].Salt = false, r.Source.IP, r.Source.UserAgent, r.Salt
		}
	}
	return out, nil
}

// ExportAudit writes events in a format, the oldest first, from filter.From
// on, and records that they left. It returns the lines of up to 10,000
// events, and the index to go on from; 0 when there are no more. Whoever may
// read the audit trail of one project alone has to name it.
func (s *Service) ExportAudit(ctx context.Context, c Caller, format string, f AuditFilter) (lines []byte, next int64, err error) {
	req := access.Request{Action: access.AuditRead, Project: f.Project}
	if !s.permits(c, req) {
		return nil, 0, s.refuse(ctx, c, req)
	}
	at := slices.IndexFunc(audit.Formats(), func(g audit.Format) bool { return g.Name() == format })
	if at < 0 {
		e := problem.New(problem.Invalid, "audit-format", "there is no format %.40q", format)
		for _, g := range audit.Formats() {
			e.With("format", "%s", g.Name())
		}
		return nil, 0, e
	}
	f.Oldest, f.Limit = true, min(f.Limit, MaxAuditPage)
	if f.Limit <= 0 {
		f.Limit = MaxAuditPage
	}
	records, err := s.store.AuditRecords(ctx, f)
	if err != nil {
		return nil, 0, err
	}
	if len(records) > 0 {
		last := records[len(records)-1].Index
		ev := s.event(c)
		ev.Name, ev.Outcome, ev.Action, ev.Resource = audit.AuditExported, audit.Outcome{Result: audit.Allowed}, access.AuditRead, audit.Resource{Project: f.Project}
		ev.Detail = map[string]string{"format": format, "events": strconv.Itoa(len(records)), "from": strconv.FormatInt(records[0].Index, 10), "to": strconv.FormatInt(last, 10)}
		if err := s.store.Record(ctx, s.now(), ev); err != nil {
			return nil, 0, err
		}
		if len(records) == f.Limit {
			next = last + 1
		}
	}
	for i := range records {
		r := &records[i]
		r.Event.Actor.Name = r.Actor
		lines = audit.Formats()[at].Append(lines, &audit.Exported{Index: r.Index, Origin: s.name + "/audit", Leaf: r.Leaf, Event: r.Event, Salt: r.Salt})
	}
	return lines, next, nil
}
