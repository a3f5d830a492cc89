package sqlstore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/watch"
)

const selectAlert = "SELECT id, key, name, actor, count, first, last, first_idx, last_idx, told, ended, event_json FROM alert"

// alertRow is an alert with what people do not see of it.
type alertRow struct {
	watch.Alert
	told  int64
	event watch.Event
}

func scanAlert(row scanner) (alertRow, error) {
	var a alertRow
	var name, text string
	var first, last, ended int64
	err := row.Scan(&a.ID, &a.Key, &name, &a.Actor, &a.Count, &first, &last, &a.FirstIndex, &a.LastIndex, &a.told, &ended, &text)
	if err != nil {
		return a, err
	}
	a.Alert.Event, a.First, a.Last, a.Ended = audit.Name(name), fromMillis(first), fromMillis(last), fromMillis(ended)
	err = json.Unmarshal([]byte(text), &a.event)
	a.Severity, a.Project, a.Chart, a.Version, a.Message = a.event.Severity, a.event.Project, a.event.Chart, a.event.Version, a.event.Message
	return a, err
}

// RaiseAlarms implements watch.Alerts. Cost: three statements by key for each
// alarm, and the event of a new alert.
func (s *Store) RaiseAlarms(ctx context.Context, alarms []watch.Alarm, now time.Time) error {
	return s.write(ctx, true, func(b *batch) error {
		for i := range alarms {
			if err := b.raise(&alarms[i], now); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *batch) raise(alarm *watch.Alarm, now time.Time) error {
	// What is handed on again after a crash may belong to an alert that ended.
	var counted int64
	err := b.w.row(b.ctx, "SELECT last_idx FROM alert WHERE key = ? AND last_idx >= ? LIMIT 1", alarm.Key, alarm.Index).Scan(&counted)
	if err == nil || !notFound(err) {
		return err
	}
	at := alarm.Event.Time
	a, err := scanAlert(b.w.row(b.ctx, selectAlert+" WHERE key = ? AND ended = 0", alarm.Key))
	switch {
	case notFound(err):
		a = alertRow{Alert: watch.Alert{Count: 1, First: at, Last: at, FirstIndex: alarm.Index, LastIndex: alarm.Index}, event: alarm.Event}
		first := a.Again(alarm.Event, at)
		first.Message, first.Evidence = alarm.Event.Message, alarm.Event.Evidence
		text, err := jsonText(first)
		if err != nil {
			return err
		}
		if _, err := b.w.exec(b.ctx, "INSERT INTO alert (key, name, actor, count, first, last, first_idx, last_idx, told, ended, event_json) VALUES (?, ?, ?, 1, ?, ?, ?, ?, 1, 0, ?)",
			alarm.Key, string(alarm.Name), plain(alarm.Actor), millis(at), millis(at), alarm.Index, alarm.Index, text); err != nil {
			return err
		}
		_, err = b.recordEvents([]watch.Event{first}, now)
		return err
	case err != nil:
		return err
	}
	a.Count++
	a.LastIndex = alarm.Index
	if at.After(a.Last) {
		a.Last = at
	}
	if watch.TellAgain(a.Count) {
		a.told = a.Count
		if _, err := b.recordEvents([]watch.Event{a.Again(a.event, at)}, now); err != nil {
			return err
		}
	}
	_, err = b.w.exec(b.ctx, "UPDATE alert SET count = ?, last = ?, last_idx = ?, told = ? WHERE id = ?", a.Count, millis(a.Last), a.LastIndex, a.told, a.ID)
	return err
}

// EndAlerts implements watch.Alerts. Cost: the open alerts, of which there are
// as many as different things went wrong within the last minutes.
func (s *Store) EndAlerts(ctx context.Context, quiet, old, now time.Time) (int, error) {
	var any int64
	err := s.queryRow(ctx, "SELECT 1 FROM alert WHERE ended = 0 AND last <= ? OR ended <> 0 AND ended < ? LIMIT 1", millis(quiet), millis(old)).Scan(&any)
	if notFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fault("read alerts", err)
	}
	var n int
	err = s.write(ctx, true, func(b *batch) error {
		n = 0
		if _, err := b.w.exec(b.ctx, "DELETE FROM alert WHERE ended <> 0 AND ended < ?", millis(old)); err != nil {
			return err
		}
		var over []alertRow
		err := b.each(selectAlert+" WHERE ended = 0 AND last <= ? ORDER BY id", func(r scanner) error {
			a, err := scanAlert(r)
			over = append(over, a)
			return err
		}, millis(quiet))
		if err != nil {
			return err
		}
		for i := range over {
			a := &over[i]
			if a.Count > a.told {
				if _, err := b.recordEvents([]watch.Event{a.Again(a.event, a.Last)}, now); err != nil {
					return err
				}
			}
			if _, err := b.w.exec(b.ctx, "UPDATE alert SET ended = ?, told = count WHERE id = ?", millis(now), a.ID); err != nil {
				return err
			}
		}
		n = len(over)
		return nil
	})
	return n, err
}

// ListAlerts implements watch.Alerts.
func (s *Store) ListAlerts(ctx context.Context, open bool, limit int) ([]watch.Alert, error) {
	query := selectAlert
	if open {
		query += " WHERE ended = 0"
	}
	var out []watch.Alert
	err := s.query(ctx, query+" ORDER BY id DESC LIMIT ?", func(r scanner) error {
		a, err := scanAlert(r)
		out = append(out, a.Alert)
		return err
	}, limit)
	return out, err
}

// AlertDeliveries implements watch.Alerts. Cost: the alert, the events of its
// counts by the unique key, and their deliveries: a scan of an index of routes
// times events is spared by asking for each route.
func (s *Store) AlertDeliveries(ctx context.Context, id int64) ([]watch.Delivery, error) {
	a, err := scanAlert(s.queryRow(ctx, selectAlert+" WHERE id = ?", id))
	if err != nil {
		return nil, fault("read alert", err)
	}
	var out []watch.Delivery
	err = s.query(ctx, selectDelivery+" JOIN delivery_event e ON e.delivery = d.n AND e.route = r.id JOIN event v ON v.id = e.event WHERE v.key >= ? AND v.key < ? ORDER BY r.name, d.n", func(r scanner) error {
		_, d, err := scanDelivery(r)
		out = append(out, d)
		return err
	}, a.KeyPrefix(), a.KeyPrefix()+"~")
	return out, err
}
