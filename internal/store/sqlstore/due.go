package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Due implements release.Protection. A row is the whole schedule: whoever comes
// first does it, and the transaction looks again.
func (s *Store) Due(ctx context.Context, now time.Time, limit int) (int, error) {
	n := 0
	var failed error // one that fails keeps no other waiting
	for _, kind := range []struct {
		query string
		do    func(*batch, int64, time.Time) error
	}{
		{"SELECT release FROM quarantine WHERE due > 0 AND due <= ? ORDER BY due LIMIT ?", (*batch).dueQuarantine},
		{"SELECT id FROM request WHERE due > 0 AND due <= ? ORDER BY due LIMIT ?", (*batch).dueRequest},
	} {
		var ids []int64
		if err := s.query(ctx, kind.query, func(row scanner) error {
			var id int64
			err := row.Scan(&id)
			ids = append(ids, id)
			return err
		}, millis(now), limit); err != nil {
			return n, err
		}
		for _, id := range ids {
			if err := s.write(ctx, true, func(b *batch) error { return kind.do(b, id, now) }); err != nil {
				failed = errors.Join(failed, fmt.Errorf("do what is due of %d: %w", id, err))
				continue
			}
			n++
		}
	}
	return n, failed
}

// byServer is an event of the server's own.
func byServer(name audit.Name, now time.Time) audit.Event {
	return audit.Event{Time: now, Name: name, Actor: server, Door: audit.DoorServer, Outcome: allowed}
}

// dueQuarantine warns when half of a quarantine's time is gone, and ends it when
// all of it is.
func (b *batch) dueQuarantine(id int64, now time.Time) error {
	var due int64
	err := b.w.row(b.ctx, "SELECT due FROM quarantine WHERE release = ? AND open = 1", id).Scan(&due)
	if notFound(err) || err == nil && (due == 0 || due > millis(now)) {
		return nil // somebody was faster
	}
	if err != nil {
		return err
	}
	r, err := b.releaseWhere("r.id = ?", id)
	if err != nil {
		return err
	}
	if _, removed, err := b.standing(r.ProjectID); err != nil || removed != nil {
		if err == nil { // nothing of the project is served again
			_, err = b.w.exec(b.ctx, "UPDATE quarantine SET due = 0 WHERE release = ? AND open = 1", id)
		}
		return err
	}
	lapses := r.Quarantine.Lapses
	if !now.Before(lapses) {
		return b.endQuarantine(&r, tlog.QuarantineLapsed, "", now, byServer(audit.QuarantineLapsed, now))
	}
	if _, err := b.w.exec(b.ctx, "UPDATE quarantine SET due = ? WHERE release = ? AND open = 1", millis(lapses), id); err != nil {
		return err
	}
	ev := byServer(audit.QuarantineWaits, now)
	ev.Resource, ev.Detail = resource(&r), map[string]string{"first": r.Quarantine.Person, "lapses": lapses.Format(time.RFC3339)}
	return b.record(ev)
}

// dueRequest lets a request lapse, or take effect.
func (b *batch) dueRequest(id int64, now time.Time) error {
	r, row, err := b.request(id)
	if err != nil || row.due == 0 || row.due > millis(now) {
		return err
	}
	if r.State == release.RequestApproved {
		return b.weaken(&r, row, now)
	}
	return b.settleRequest(&r, release.RequestLapsed, "nobody decided in time", now, byServer(audit.RequestLapsed, now))
}
