package sqlstore

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// Policy implements upgrade.Feeds. One row by key.
func (s *Store) Policy(ctx context.Context) (upgrade.PolicyDocument, error) {
	list, err := s.Policies(ctx, 1)
	if err != nil {
		return upgrade.PolicyDocument{}, err
	}
	if len(list) == 0 {
		return upgrade.PolicyDocument{}, problem.New(problem.NotFound, "policy", "no decision policy was set; the one that is built in counts")
	}
	return list[0], nil
}

// Policies implements upgrade.Feeds, newest first. Cost: limit rows.
func (s *Store) Policies(ctx context.Context, limit int) ([]upgrade.PolicyDocument, error) {
	return documents[upgrade.PolicyDocument](ctx, s, "SELECT policy_json FROM policy ORDER BY id DESC LIMIT ?", limit)
}

// documents reads the JSON of a query's one column.
func documents[T any](ctx context.Context, s *Store, query string, args ...any) ([]T, error) {
	var out []T
	err := s.query(ctx, query, func(r scanner) error {
		var v T
		var text []byte
		err := r.Scan(&text)
		if err == nil {
			err = json.Unmarshal(text, &v)
		}
		out = append(out, v)
		return err
	}, args...)
	return out, err
}

// SetPolicy implements upgrade.Feeds. It names the audit event
// audit.DecisionSet. One that is set again is there twice.
func (s *Store) SetPolicy(ctx context.Context, p upgrade.PolicyDocument, ev audit.Event) error {
	text, err := jsonText(p)
	if err != nil {
		return err
	}
	return s.write(ctx, true, func(b *batch) error {
		if _, err := b.w.exec(b.ctx, "INSERT INTO policy (policy_json) VALUES (?)", text); err != nil {
			return err
		}
		if err := b.count(inputs); err != nil {
			return err
		}
		return b.recordChange(ev, p.Set, audit.DecisionSet, "policy", p.Digest)
	})
}

// PutWindow implements upgrade.Feeds. It names the audit event audit.WindowSet.
func (s *Store) PutWindow(ctx context.Context, w calendar.Window, ev audit.Event) error {
	text, err := jsonText(w)
	if err != nil {
		return err
	}
	return s.write(ctx, true, func(b *batch) error {
		if _, err := b.w.exec(b.ctx, "INSERT INTO change_window (name, window_json) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET window_json = excluded.window_json", w.Name, text); err != nil {
			return err
		}
		if err := b.count(inputs); err != nil {
			return err
		}
		return b.recordChange(ev, ev.Time, audit.WindowSet, "window", w.Name)
	})
}

// RemoveWindow implements upgrade.Feeds. It names the audit event
// audit.WindowRemoved.
func (s *Store) RemoveWindow(ctx context.Context, name string, ev audit.Event) error {
	none := func(name string) error {
		return problem.New(problem.NotFound, "window", "there is no window or freeze %s", name)
	}
	return s.remove(ctx, "DELETE FROM change_window WHERE name = ?", name, none, func(b *batch) error {
		if err := b.count(inputs); err != nil {
			return err
		}
		return b.recordChange(ev, ev.Time, audit.WindowRemoved, "window", name)
	})
}

// Windows implements upgrade.Feeds, by name. Cost: all of them, of which there
// are dozens.
func (s *Store) Windows(ctx context.Context) ([]calendar.Window, error) {
	return documents[calendar.Window](ctx, s, "SELECT window_json FROM change_window ORDER BY name")
}

// CreateWaiver implements upgrade.Feeds. It names the audit event
// audit.WaiverRequested.
func (s *Store) CreateWaiver(ctx context.Context, w upgrade.Waiver, ev audit.Event) (upgrade.Waiver, error) {
	w.ID = 0
	text, err := jsonText(w)
	if err != nil {
		return upgrade.Waiver{}, err
	}
	var id int64
	err = s.write(ctx, true, func(b *batch) error {
		err := b.w.row(b.ctx, "INSERT INTO waiver (expires, ended, waiver_json) VALUES (?, ?, ?) RETURNING id", millis(w.Expires), millis(w.Ended), text).Scan(&id)
		if err == nil {
			err = b.count(inputs)
		}
		if err != nil {
			return err
		}
		return b.recordChange(ev, w.Requested, audit.WaiverRequested, "waiver", strconv.FormatInt(id, 10))
	})
	if err != nil {
		return upgrade.Waiver{}, err
	}
	w.ID = id
	return w, nil
}

// UpdateWaiver implements upgrade.Feeds. It names the audit event
// audit.WaiverEnded when the change ended the waiver, else
// audit.WaiverApproved. Two rows by key.
func (s *Store) UpdateWaiver(ctx context.Context, id int64, ev audit.Event, change func(upgrade.Waiver) (upgrade.Waiver, error)) (upgrade.Waiver, error) {
	var out upgrade.Waiver
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		out, refusal = upgrade.Waiver{}, nil
		old, err := scanWaiver(b.w.row(b.ctx, selectWaiver+" WHERE id = ?", id))
		if notFound(err) {
			refusal = problem.New(problem.NotFound, "waiver", "there is no waiver %d", id)
			return nil
		}
		if err != nil {
			return err
		}
		w, err := change(old)
		if err != nil {
			refusal = err
			return nil
		}
		w.ID = 0
		text, err := jsonText(w)
		if err != nil {
			return err
		}
		if _, err := b.w.exec(b.ctx, "UPDATE waiver SET expires = ?, ended = ?, waiver_json = ? WHERE id = ?", millis(w.Expires), millis(w.Ended), text, id); err != nil {
			return err
		}
		if err := b.count(inputs); err != nil {
			return err
		}
		w.ID = id
		out = w
		name := audit.WaiverApproved
		if old.Ended.IsZero() && !w.Ended.IsZero() {
			name = audit.WaiverEnded
		}
		return b.recordChange(ev, ev.Time, name, "waiver", strconv.FormatInt(id, 10))
	})
	if err != nil {
		return upgrade.Waiver{}, err
	}
	return out, refusal
}

const selectWaiver = "SELECT id, waiver_json FROM waiver"

func scanWaiver(row scanner) (w upgrade.Waiver, err error) {
	var id int64
	var text string
	if err = row.Scan(&id, &text); err == nil {
		err = json.Unmarshal([]byte(text), &w)
	}
	w.ID = id
	return w, err
}

// Waivers implements upgrade.Feeds; one that nobody approved yet is among them.
// Cost: a range of the index over their ends, or all of them.
func (s *Store) Waivers(ctx context.Context, now time.Time) ([]upgrade.Waiver, error) {
	query, args := selectWaiver, []any(nil)
	if !now.IsZero() {
		query, args = query+" WHERE expires > ? AND (ended = 0 OR ended > ?)", []any{millis(now), millis(now)}
	}
	var out []upgrade.Waiver
	err := s.query(ctx, query+" ORDER BY id DESC", func(r scanner) error {
		w, err := scanWaiver(r)
		out = append(out, w)
		return err
	}, args...)
	return out, err
}
