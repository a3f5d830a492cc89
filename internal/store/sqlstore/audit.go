package sqlstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// AuditRecords implements release.AuditReader. Cost: with a project, an exact
// action or a time, the matching rows by index; else a scan from the newest
// event backwards, or with Oldest forwards, until limit rows match. A rule is
// looked for in the leaves of what else matches: 5 µs each.
func (s *Store) AuditRecords(ctx context.Context, f release.AuditFilter) ([]release.AuditRecord, error) {
	query := "SELECT l.idx, l.entry, " + holder("c", "tk") + ", a.ip, a.agent, a.salt FROM audit a JOIN leaf l ON l.log = 2 AND l.idx = a.idx LEFT JOIN account c ON c.id = a.actor LEFT JOIN token tk ON tk.id = a.actor WHERE 1 = 1"
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
	if f.From > 0 {
		where("a.idx >= ?", f.From)
	}
	if !f.Since.IsZero() {
		where("a.time >= ?", millis(f.Since))
	}
	if !f.Until.IsZero() {
		where("a.time < ?", millis(f.Until))
	}
	if f.Source != "" {
		where("a.ip = ?", f.Source)
	}
	limit, order := min(f.Limit, release.MaxAuditPage), " ORDER BY a.idx DESC"
	if limit <= 0 {
		limit = 100
	}
	if f.Oldest {
		order = " ORDER BY a.idx"
	}
	if f.Rule == "" { // which stands in the leaf alone
		order += " LIMIT ?"
		args = append(args, limit)
	}
	var out []release.AuditRecord
	err := s.query(ctx, query+order, func(r scanner) error {
		rec, err := scanAudit(r)
		if err != nil || f.Rule != "" && rec.Event.Outcome.Rule != f.Rule {
			return err
		}
		if out = append(out, rec); len(out) == limit {
			return errEnough
		}
		return nil
	}, args...)
	if err == errEnough {
		err = nil
	}
	return out, err
}

// scanAudit reads an event with what is joined to it.
func scanAudit(r scanner) (rec release.AuditRecord, err error) {
	var ip, agent string
	if err := r.Scan(&rec.Index, &rec.Leaf, &rec.Actor, &ip, &agent, &rec.Salt); err != nil {
		return rec, err
	}
	rec.Event, err = audit.Decode(rec.Leaf)
	rec.Event.Source = audit.Source{IP: ip, UserAgent: agent}
	return rec, err
}

// ProveEvent implements release.AuditReader. Cost: that of Prove.
func (s *Store) ProveEvent(ctx context.Context, index int64) (tlog.Proof, error) {
	st := s.logs[auditLog].Load()
	if st == nil || s.dialect.postgres {
		var err error
		if st, err = s.readHead(ctx, auditLog, s.queryRow); err != nil {
			return tlog.Proof{}, err
		}
	}
	if index < 0 || index >= st.size {
		return tlog.Proof{}, problem.New(problem.NotFound, "log-range", "the audit log has no event %d", index)
	}
	var leaf []byte
	if err := s.queryRow(ctx, "SELECT entry FROM leaf WHERE log = ? AND idx = ?", auditLog, index).Scan(&leaf); err != nil {
		return tlog.Proof{}, fault("read leaf", err)
	}
	hashes, err := tlog.InclusionProof(st.size, index, st.edge, tiles{ctx, s, auditLog})
	if err != nil {
		return tlog.Proof{}, fmt.Errorf("prove event %d: %w", index, err)
	}
	return tlog.Proof{Index: index, Leaf: leaf, Hashes: hashes, Checkpoint: st.checkpoint}, nil
}

// Waiting counts the events that were not told yet, limit at most. Cost: as many
// rows.
func (s *Store) Waiting(ctx context.Context, limit int) (n int, err error) {
	err = s.queryRow(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM outbox LIMIT ?) AS waiting", limit).Scan(&n)
	return n, fault("count events to be told", err)
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
	err := s.query(ctx, "SELECT l.idx, l.entry, "+holder("c", "tk")+", COALESCE(a.ip, ''), COALESCE(a.agent, ''), a.salt FROM outbox o JOIN leaf l ON l.log = 2 AND l.idx = o.idx LEFT JOIN audit a ON a.idx = o.idx "+
		"LEFT JOIN account c ON c.id = a.actor LEFT JOIN token tk ON tk.id = a.actor ORDER BY o.idx LIMIT ?", func(r scanner) error {
		rec, err := scanAudit(r)
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
