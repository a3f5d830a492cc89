package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// CreateTracker implements upgrade.Tickets. It names the audit event
// audit.TrackerAdded.
func (s *Store) CreateTracker(ctx context.Context, t upgrade.Tracker, ev audit.Event, now time.Time) (upgrade.Tracker, error) {
	var out upgrade.Tracker
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		out, refusal = upgrade.Tracker{}, nil
		made := t
		made.Created = fromMillis(millis(now))
		text, err := jsonText(&made)
		if err != nil {
			return err
		}
		err = b.w.row(b.ctx, "INSERT INTO tracker (name, tracker_json, created) VALUES (?, ?, ?) ON CONFLICT DO NOTHING RETURNING id", made.Name, text, millis(now)).Scan(&made.ID)
		if notFound(err) {
			refusal = problem.New(problem.Conflict, "tracker-exists", "there is a tracker %s already", t.Name)
			return nil
		}
		if err != nil {
			return err
		}
		out = made
		return b.recordChange(ev, now, audit.TrackerAdded, "tracker", t.Name)
	})
	if err != nil {
		return upgrade.Tracker{}, err
	}
	return out, refusal
}

// RemoveTracker implements upgrade.Tickets. It names the audit event
// audit.TrackerRemoved. What is known of its tickets goes with it; the issues
// themselves stay. Cost: its tickets.
func (s *Store) RemoveTracker(ctx context.Context, name string, ev audit.Event, now time.Time) error {
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		refusal = nil
		var id int64
		err := b.w.row(b.ctx, "SELECT id FROM tracker WHERE name = ?", name).Scan(&id)
		if notFound(err) {
			refusal = noTracker(name)
			return nil
		}
		if err != nil {
			return err
		}
		for _, statement := range []string{"DELETE FROM ticket WHERE tracker = ?", "DELETE FROM tracker WHERE id = ?"} {
			if _, err := b.w.exec(b.ctx, statement, id); err != nil {
				return err
			}
		}
		return b.recordChange(ev, now, audit.TrackerRemoved, "tracker", name)
	})
	if err != nil {
		return err
	}
	return refusal
}

func noTracker(name string) error {
	return problem.New(problem.NotFound, "tracker", "there is no tracker %s", name)
}

// Trackers implements upgrade.Tickets, by name. Cost: all of them, of which
// there are dozens.
func (s *Store) Trackers(ctx context.Context) ([]upgrade.Tracker, error) {
	var out []upgrade.Tracker
	err := s.query(ctx, "SELECT id, name, tracker_json, created FROM tracker ORDER BY name", func(r scanner) error {
		var t upgrade.Tracker
		var id, created int64
		var name, text string
		err := r.Scan(&id, &name, &text, &created)
		if err == nil {
			err = json.Unmarshal([]byte(text), &t)
		}
		t.ID, t.Name, t.Created = id, name, fromMillis(created)
		out = append(out, t)
		return err
	})
	return out, err
}

// WantTicket implements upgrade.Tickets. Only a digest that was not wanted last
// makes a ticket due: the pauses between attempts hold while the same is wanted
// again, and one that was given up begins anew with another text. A ticket
// that is being worked on is due once more when that ends. The marker stays the
// first one. Cost: one look-up while nothing is new; else a few rows by key.
func (s *Store) WantTicket(ctx context.Context, tracker string, upgradeID int64, marker, digest string, now time.Time) error {
	var wanted string
	err := s.queryRow(ctx, "SELECT t.wanted FROM ticket t JOIN tracker r ON r.id = t.tracker WHERE t.upgrade = ? AND r.name = ?", upgradeID, tracker).Scan(&wanted)
	if err == nil && wanted == digest {
		return nil
	}
	if err != nil && !notFound(err) {
		return fault("read ticket", err)
	}
	var refusal error
	err = s.write(ctx, true, func(b *batch) error {
		refusal = nil
		var id, one int64
		err := b.w.row(b.ctx, "SELECT id FROM tracker WHERE name = ?", tracker).Scan(&id)
		if notFound(err) {
			refusal = noTracker(tracker)
			return nil
		}
		if err == nil {
			err = b.w.row(b.ctx, "SELECT 1 FROM upgrade WHERE id = ?", upgradeID).Scan(&one)
		}
		if notFound(err) {
			refusal = noUpgrade(upgradeID)
			return nil
		}
		if err != nil {
			return err
		}
		made, err := b.w.exec(b.ctx, "INSERT INTO ticket (tracker, upgrade, marker, wanted, digest, number, url, state, error, attempts, due, asked, lease, lease_end) "+
			"VALUES (?, ?, ?, ?, '', 0, '', 'wanted', '', 0, ?, 0, 0, 0) ON CONFLICT (upgrade, tracker) DO NOTHING", id, upgradeID, marker, digest, millis(now))
		if err != nil || made == 1 {
			return err
		}
		if _, err := b.w.exec(b.ctx, "UPDATE ticket SET due = ?, asked = 1, attempts = 0, state = CASE WHEN state <> 'failed' THEN state WHEN number = 0 THEN 'wanted' ELSE 'open' END "+
			"WHERE upgrade = ? AND tracker = ? AND wanted <> ? AND digest <> ?", millis(now), upgradeID, id, digest, digest); err != nil {
			return err
		}
		_, err = b.w.exec(b.ctx, "UPDATE ticket SET wanted = ? WHERE upgrade = ? AND tracker = ?", digest, upgradeID, id)
		return err
	})
	if err != nil {
		return err
	}
	return refusal
}

const selectTicket = "SELECT t.id, r.name, t.upgrade, t.marker, t.number, t.url, t.state, t.digest, t.error, t.due, t.attempts FROM ticket t JOIN tracker r ON r.id = t.tracker"

func scanTicket(row scanner) (t upgrade.Ticket, err error) {
	var due int64
	err = row.Scan(&t.ID, &t.Tracker, &t.Upgrade, &t.Marker, &t.Number, &t.URL, &t.State, &t.Digest, &t.Error, &due, &t.Attempts)
	t.Due = fromMillis(due)
	return t, err
}

// LeaseTickets implements upgrade.Tickets, the longest due first. Cost: one
// look-up while nothing is due; else an index range of limit rows and those that
// are held already.
func (s *Store) LeaseTickets(ctx context.Context, now time.Time, hold time.Duration, limit int) ([]upgrade.Ticket, error) {
	var any int64
	err := s.queryRow(ctx, "SELECT id FROM ticket WHERE due > 0 AND due <= ? AND lease_end <= ? ORDER BY due LIMIT 1", millis(now), millis(now)).Scan(&any)
	if notFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fault("look for due tickets", err)
	}
	var out []upgrade.Ticket
	err = s.write(ctx, true, func(b *batch) error {
		out = nil
		err := b.each(selectTicket+" WHERE t.due > 0 AND t.due <= ? AND t.lease_end <= ? ORDER BY t.due, t.id LIMIT ?", func(r scanner) error {
			t, err := scanTicket(r)
			t.Lease = leaseNumber()
			out = append(out, t)
			return err
		}, millis(now), millis(now), limit)
		if err != nil {
			return err
		}
		for i := range out {
			if _, err := b.w.exec(b.ctx, "UPDATE ticket SET lease = ?, lease_end = ?, asked = 0 WHERE id = ?", out[i].Lease, millis(now.Add(hold)), out[i].ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// SettleTicket implements upgrade.Tickets. Number, URL, State, Digest, Error,
// Attempts and Due are written as they stand in t; a zero Due means that nothing
// is to be done until another text is wanted. One row by key.
func (s *Store) SettleTicket(ctx context.Context, t upgrade.Ticket, _ time.Time) error {
	if !slices.Contains([]string{"wanted", "open", "closed", "failed"}, t.State) {
		return fmt.Errorf("settle ticket %d: %q is no state of a ticket", t.ID, t.State)
	}
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		refusal = nil
		n, err := b.w.exec(b.ctx, "UPDATE ticket SET number = ?, url = ?, state = ?, digest = ?, error = ?, attempts = ?, due = CASE WHEN asked = 1 THEN due ELSE ? END, "+
			"lease = 0, lease_end = 0 WHERE id = ? AND lease = ? AND lease <> 0", t.Number, t.URL, t.State, t.Digest, plain(t.Error), t.Attempts, millis(t.Due), t.ID, t.Lease)
		if err == nil && n == 0 {
			refusal = problem.New(problem.Conflict, "lease", "another process works on ticket %d now, or its tracker was removed; nothing was recorded", t.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	return refusal
}

// ListTickets implements upgrade.Tickets, newest first; "" lists those of all
// trackers. Cost: an index range of limit rows.
func (s *Store) ListTickets(ctx context.Context, tracker string, limit int) ([]upgrade.Ticket, error) {
	where, args := "", []any{}
	if tracker != "" {
		var id int64
		err := s.queryRow(ctx, "SELECT id FROM tracker WHERE name = ?", tracker).Scan(&id)
		if notFound(err) {
			return nil, noTracker(tracker)
		}
		if err != nil {
			return nil, fault("read tracker", err)
		}
		where, args = " WHERE t.tracker = ?", append(args, id)
	}
	var out []upgrade.Ticket
	err := s.query(ctx, selectTicket+where+" ORDER BY t.id DESC LIMIT ?", func(r scanner) error {
		t, err := scanTicket(r)
		out = append(out, t)
		return err
	}, append(args, limit)...)
	return out, err
}
