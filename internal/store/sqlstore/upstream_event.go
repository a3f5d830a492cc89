package sqlstore

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// recordEvents inserts those events whose keys are not there yet, and returns
// them with their ids. The unique key decides which are new. Ids follow the
// highest, which no other transaction changes meanwhile: all that record events
// hold the heads of the logs.
func (b *batch) recordEvents(events []watch.Event, now time.Time) ([]watch.Event, error) {
	events, err := b.untold(events)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	var highest int64
	if err := b.w.row(b.ctx, "SELECT COALESCE(MAX(id), 0) FROM event").Scan(&highest); err != nil {
		return nil, err
	}
	rows := bulkRows{into: "INSERT INTO event (id, key, time, kind, severity, upstream, chart, version, deployment, log_index, event_json) VALUES| ON CONFLICT (key) DO NOTHING", width: 11}
	for i := range events {
		ev := &events[i]
		if ev.Key == "" {
			return nil, errors.New("record event: it has no key")
		}
		ev.ID = highest + 1 + int64(i)
		if ev.Time.IsZero() {
			ev.Time = now
		}
		ev.Time = fromMillis(millis(ev.Time))
		text, err := jsonText(ev)
		if err != nil {
			return nil, err
		}
		rows.values = append(rows.values, ev.ID, tlog.BoundedName(ev.Key), millis(ev.Time), string(ev.Kind), ev.Severity.Rank(),
			tlog.BoundedName(ev.Upstream), tlog.BoundedName(ev.Chart), tlog.BoundedName(ev.Version), tlog.BoundedName(ev.Deployment), ev.LogIndex, text)
	}
	known := map[int64]bool{}
	rows.held = func(row []any) error {
		var id int64
		err := b.w.row(b.ctx, "SELECT id FROM event WHERE key = ?", row[1]).Scan(&id)
		if offered := row[0].(int64); id != offered {
			known[offered] = true
		}
		return err
	}
	if err := b.flushRows(&rows); err != nil {
		return nil, err
	}
	var fresh []watch.Event
	for _, ev := range events {
		if !known[ev.ID] {
			fresh = append(fresh, ev)
		}
	}
	return fresh, nil
}

// untold leaves out the events that were pruned.
func (b *batch) untold(events []watch.Event) ([]watch.Event, error) {
	if len(events) == 0 {
		return nil, nil
	}
	known := func(query string, args ...any) (bool, error) {
		var one int64
		err := b.w.row(b.ctx, query, args...).Scan(&one)
		if notFound(err) {
			return false, nil
		}
		return err == nil, err
	}
	if any, err := known("SELECT 1 FROM pruned LIMIT 1"); err != nil || !any {
		return events, err
	}
	var out []watch.Event
	for i := range events {
		pruned, err := known("SELECT 1 FROM pruned WHERE key = ?", tlog.BoundedName(events[i].Key))
		if err != nil {
			return nil, err
		}
		if !pruned {
			out = append(out, events[i])
		}
	}
	return out, nil
}

// RecordEvents implements watch.Upstreams. Cost: that of the events in
// RecordPoll.
func (s *Store) RecordEvents(ctx context.Context, events []watch.Event, now time.Time) ([]watch.Event, error) {
	var fresh []watch.Event
	err := s.write(ctx, true, func(b *batch) (err error) {
		fresh, err = b.recordEvents(slices.Clone(events), now)
		return err
	})
	if err != nil {
		return nil, err
	}
	return fresh, nil
}

func scanEvent(row scanner, more ...any) (ev watch.Event, err error) {
	var id int64
	var text string
	if err := row.Scan(append([]any{&id, &text}, more...)...); err != nil {
		return ev, err
	}
	err = json.Unmarshal([]byte(text), &ev)
	ev.ID = id
	return ev, err
}

// Events implements watch.Upstreams.
func (s *Store) Events(ctx context.Context, f watch.EventFilter) ([]watch.Event, error) {
	query := "SELECT id, event_json FROM event WHERE 1 = 1"
	var args []any
	where := func(wanted bool, condition string, value any) {
		if wanted {
			query += " AND " + condition
			args = append(args, value)
		}
	}
	// <> '' lets the databases use the indexes, which leave the others out.
	where(f.Upstream != "", "upstream <> '' AND upstream = ?", tlog.BoundedName(f.Upstream))
	where(f.Deployment != "", "deployment <> '' AND deployment = ?", tlog.BoundedName(f.Deployment))
	where(f.Chart != "", "chart = ?", tlog.BoundedName(f.Chart))
	where(f.Version != "", "version = ?", tlog.BoundedName(f.Version))
	where(f.Kind != "", "kind = ?", string(f.Kind))
	where(f.MinSeverity != "", "severity >= ?", f.MinSeverity.Rank())
	where(!f.Since.IsZero(), "time >= ?", millis(f.Since))
	where(f.Before > 0, "id < ?", f.Before)
	limit := min(f.Limit, 1000)
	if limit <= 0 {
		limit = 100
	}
	var out []watch.Event
	err := s.query(ctx, query+" ORDER BY id DESC LIMIT ?", func(r scanner) error {
		ev, err := scanEvent(r)
		out = append(out, ev)
		return err
	}, append(args, limit)...)
	return out, err
}
