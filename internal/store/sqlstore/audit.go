package sqlstore

import (
	"context"
	"strings"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// AuditRecords implements release.AuditReader. Cost: with a project or an
// exact action, the matching rows by index; else a scan from the newest event
// backwards until limit rows match.
func (s *Store) AuditRecords(ctx context.Context, f release.AuditFilter) ([]release.AuditRecord, error) {
	query := "SELECT l.idx, l.entry, " + holder("c", "tk") + ", a.ip, a.agent FROM audit a JOIN leaf l ON l.log = 2 AND l.idx = a.idx LEFT JOIN account c ON c.id = a.actor LEFT JOIN token tk ON tk.id = a.actor WHERE 1 = 1"
	var args []any
	where := func(condition string, values ...any) {
		query += " AND " + condition
		args = append(args, values...)
	}
	if f.Project != "" {
		where("a.project = ?", plain(f.Project))
	}
	if f.Chart != "" {
		where("a.chart = ?", plain(f.Chart))
	}
	if f.Version != "" {
		where("a.version = ?", plain(f.Version))
	}
	switch {
	case strings.HasSuffix(f.Action, "."):
		where("a.action >= ? AND a.action < ?", f.Action, strings.TrimSuffix(f.Action, ".")+"/")
	case f.Action != "":
		where("a.action = ?", f.Action)
	}
	if f.Outcome != "" {
		where("a.outcome = ?", f.Outcome)
	}
	if f.Actor != "" {
		where(holder("c", "tk")+" = ?", f.Actor)
	}
	if f.Before > 0 {
		where("a.idx < ?", f.Before)
	}
	limit := min(f.Limit, 1000)
	if limit <= 0 {
		limit = 100
	}
	var out []release.AuditRecord
	err := s.query(ctx, query+" ORDER BY a.idx DESC LIMIT ?", func(r scanner) error {
		var rec release.AuditRecord
		var entry []byte
		var ip, agent string
		if err := r.Scan(&rec.Index, &entry, &rec.Actor, &ip, &agent); err != nil {
			return err
		}
		var err error
		rec.Event, err = audit.Decode(entry)
		rec.Event.Source = audit.Source{IP: ip, UserAgent: agent}
		out = append(out, rec)
		return err
	}, append(args, limit)...)
	return out, err
}

// Anchor implements release.Ledger. Cost: one leaf.
func (s *Store) Anchor(ctx context.Context) error {
	var size int64
	err := s.write(ctx, true, func(b *batch) error {
		g := b.logs[auditLog]
		size = g.base.size
		if size == s.anchored.Load() {
			return nil
		}
		_, err := b.appendLeaf(tlog.Audit{Origin: s.origin(auditLog), Size: g.base.size, Root: g.base.root, Time: b.time(b.clock)})
		return err
	})
	if err == nil {
		s.anchored.Store(size)
	}
	return err
}

// Relay hands waiting audit events to fn, oldest first, and forgets them when
// fn has returned nil. So an event is told at least once; a crash in between
// tells it again. It returns how many there were. Cost: limit rows.
func (s *Store) Relay(ctx context.Context, limit int, fn func([]release.AuditRecord) error) (int, error) {
	var out []release.AuditRecord
	err := s.query(ctx, "SELECT l.idx, l.entry FROM outbox o JOIN leaf l ON l.log = 2 AND l.idx = o.idx ORDER BY o.idx LIMIT ?", func(r scanner) error {
		var rec release.AuditRecord
		var entry []byte
		if err := r.Scan(&rec.Index, &entry); err != nil {
			return err
		}
		var err error
		rec.Event, err = audit.Decode(entry)
		out = append(out, rec)
		return err
	}, limit)
	if err != nil || len(out) == 0 {
		return 0, err
	}
	if err := fn(out); err != nil {
		return 0, err
	}
	return len(out), s.write(ctx, false, func(b *batch) error {
		_, err := b.w.exec(b.ctx, "DELETE FROM outbox WHERE idx <= ?", out[len(out)-1].Index)
		return err
	})
}
