package sqlstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// maxJoined is how many events a digest collects before another one begins:
// what people can read, and what is held in memory when it is sent.
const maxJoined = 1000

// RelayEvents implements watch.Routes. plan runs inside the transaction, so it
// must be quick as well as pure. Deliveries get their ids here. One to a route
// that is gone by now, or without an event that the route was not told yet, is
// dropped. A digest is joined while nobody has tried to send it and it has less
// than 1000 events.
// Cost: while nothing is new two look-ups by key; else limit events, and a few
// rows for each delivery and each of its events.
func (s *Store) RelayEvents(ctx context.Context, limit int, plan func([]watch.Event) []watch.Delivery) (int, error) {
	var any int64
	const unread = "id > COALESCE((SELECT value FROM reached WHERE name = 'relayed'), 0)"
	err := s.queryRow(ctx, "SELECT id FROM event WHERE "+unread+" ORDER BY id LIMIT 1").Scan(&any)
	if notFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fault("look for events", err)
	}
	n := 0
	err = s.write(ctx, true, func(b *batch) error {
		var events []watch.Event
		err := b.each("SELECT id, event_json FROM event WHERE "+unread+" ORDER BY id LIMIT ?", func(r scanner) error {
			ev, err := scanEvent(r)
			events = append(events, ev)
			return err
		}, limit)
		n = len(events)
		if err != nil || n == 0 {
			return err
		}
		last := events[n-1].ID
		for _, d := range plan(events) {
			if err := b.deliver(&d); err != nil {
				return err
			}
		}
		return b.reach("relayed", last)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// deliver keeps a delivery, or joins its events to one that waits.
func (b *batch) deliver(d *watch.Delivery) error {
	route, err := scanRoute(b.w.row(b.ctx, selectRoute+" WHERE id = ?", d.RouteID))
	if notFound(err) || err == nil && len(d.Events) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	var n int64
	made := false
	if route.Digest != watch.Immediately {
		err = b.w.row(b.ctx, "SELECT d.n FROM delivery d WHERE d.route = ? AND d.due = ? AND d.state = 'waiting' AND d.attempts = 0 AND d.lease = 0 "+
			"AND (SELECT COUNT(*) FROM delivery_event e WHERE e.delivery = d.n) < ? ORDER BY d.n DESC LIMIT 1", route.ID, millis(d.Due), maxJoined).Scan(&n)
	}
	if n == 0 && (err == nil || notFound(err)) {
		made = true
		err = b.w.row(b.ctx, "INSERT INTO delivery (id, route, due, attempts, state, error, lease, lease_end) VALUES (?, ?, ?, 0, 'waiting', '', 0, 0) RETURNING n",
			rand.Text(), route.ID, millis(d.Due)).Scan(&n)
	}
	if err != nil {
		return err
	}
	told := int64(0)
	for i := range d.Events {
		changed, err := b.w.exec(b.ctx, "INSERT INTO delivery_event (route, event, delivery) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", route.ID, d.Events[i].ID, n)
		if err != nil {
			return err
		}
		told += changed
	}
	if made && told == 0 {
		_, err = b.w.exec(b.ctx, "DELETE FROM delivery WHERE n = ?", n)
	}
	return err
}

const selectDelivery = "SELECT d.n, d.id, d.route, r.name, d.due, d.attempts, d.state, d.error FROM delivery d JOIN route r ON r.id = d.route"

func scanDelivery(row scanner) (n int64, d watch.Delivery, err error) {
	var due int64
	err = row.Scan(&n, &d.ID, &d.RouteID, &d.Route, &due, &d.Attempts, &d.State, &d.Error)
	d.Due = fromMillis(due)
	return n, d, err
}

// LeaseDeliveries implements watch.Routes, the longest due first. Cost: one
// look-up while nothing is due; else an index range of limit rows and those
// that are held already, and the events of each delivery.
func (s *Store) LeaseDeliveries(ctx context.Context, now time.Time, hold time.Duration, limit int) ([]watch.Delivery, error) {
	var any int64
	err := s.queryRow(ctx, "SELECT n FROM delivery WHERE state = 'waiting' AND due <= ? AND lease_end <= ? ORDER BY due LIMIT 1", millis(now), millis(now)).Scan(&any)
	if notFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fault("look for due deliveries", err)
	}
	var out []watch.Delivery
	err = s.write(ctx, true, func(b *batch) error {
		out = nil
		var rows []int64
		err := b.each(selectDelivery+" WHERE d.state = 'waiting' AND d.due <= ? AND d.lease_end <= ? ORDER BY d.due, d.n LIMIT ?", func(r scanner) error {
			n, d, err := scanDelivery(r)
			d.Lease = leaseNumber()
			rows, out = append(rows, n), append(out, d)
			return err
		}, millis(now), millis(now), limit)
		if err != nil {
			return err
		}
		for i, n := range rows {
			if _, err := b.w.exec(b.ctx, "UPDATE delivery SET lease = ?, lease_end = ? WHERE n = ?", out[i].Lease, millis(now.Add(hold)), n); err != nil {
				return err
			}
			err := b.each("SELECT e.id, e.event_json FROM delivery_event x JOIN event e ON e.id = x.event WHERE x.delivery = ? ORDER BY e.id", func(r scanner) error {
				ev, err := scanEvent(r)
				out[i].Events = append(out[i].Events, ev)
				return err
			}, n)
			if err != nil {
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

// SettleDelivery implements watch.Routes. State, Due, Attempts and Error are
// written as they stand in d; a delivery whose State is waiting is due again.
// One that was given back without another attempt says nothing about the
// health of its route. Two rows by key.
func (s *Store) SettleDelivery(ctx context.Context, d watch.Delivery, now time.Time) error {
	if !slices.Contains([]string{watch.DeliveryWaiting, watch.DeliveryDelivered, watch.DeliveryFailed}, d.State) {
		return fmt.Errorf("settle delivery %s: %q is no state of a delivery", d.ID, d.State)
	}
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		refusal = nil
		var n, route int64
		var attempts int
		err := b.w.row(b.ctx, "SELECT n, route, attempts FROM delivery WHERE id = ? AND lease = ? AND lease <> 0", d.ID, d.Lease).Scan(&n, &route, &attempts)
		if notFound(err) {
			refusal = problem.New(problem.Conflict, "lease", "another process sends delivery %s now, or its route was removed; nothing was recorded", d.ID)
			return nil
		}
		if err != nil {
			return err
		}
		failed := plain(d.Error)
		if _, err := b.w.exec(b.ctx, "UPDATE delivery SET state = ?, due = ?, attempts = ?, error = ?, lease = 0, lease_end = 0 WHERE n = ?",
			d.State, millis(d.Due), d.Attempts, failed, n); err != nil {
			return err
		}
		switch {
		case d.State == watch.DeliveryDelivered:
			_, err = b.w.exec(b.ctx, "UPDATE route SET last_success = ?, error = '' WHERE id = ?", millis(now), route)
		case d.Attempts > attempts:
			_, err = b.w.exec(b.ctx, "UPDATE route SET last_failure = ?, error = ? WHERE id = ?", millis(now), failed, route)
		}
		return err
	})
	if err != nil {
		return err
	}
	return refusal
}

// ResendDeliveries implements watch.Routes. It names the audit event
// audit.RouteResent, and records none when nothing has failed. Cost: an index
// range of the deliveries of the route that are not delivered.
func (s *Store) ResendDeliveries(ctx context.Context, route, delivery string, ev audit.Event, now time.Time) (int, error) {
	n := 0
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		n, refusal = 0, nil
		var id int64
		err := b.w.row(b.ctx, "SELECT id FROM route WHERE name = ?", route).Scan(&id)
		if notFound(err) {
			refusal = noRoute(route)
			return nil
		}
		if err == nil && delivery != "" {
			refusal, err = b.hasFailed(id, route, delivery)
		}
		if err != nil || refusal != nil {
			return err
		}
		again, args := "UPDATE delivery SET state = 'waiting', attempts = 0, due = ?, lease = 0, lease_end = 0 WHERE route = ? AND state <> 'delivered' AND state = 'failed'", []any{millis(now), id}
		if delivery != "" {
			again, args = again+" AND id = ?", append(args, delivery)
		}
		changed, err := b.w.exec(b.ctx, again, args...)
		if n = int(changed); err != nil || n == 0 {
			return err
		}
		ev := ev
		ev.Detail = maps.Clone(ev.Detail)
		if ev.Detail == nil {
			ev.Detail = map[string]string{}
		}
		ev.Detail["deliveries"] = fmt.Sprint(n)
		return b.recordChange(ev, now, audit.RouteResent, "route", route)
	})
	if err != nil {
		return 0, err
	}
	return n, refusal
}

// hasFailed refuses a delivery that has not.
func (b *batch) hasFailed(route int64, name, delivery string) (refusal, err error) {
	var state string
	err = b.w.row(b.ctx, "SELECT state FROM delivery WHERE id = ? AND route = ?", delivery, route).Scan(&state)
	switch {
	case notFound(err):
		return problem.New(problem.NotFound, "delivery", "the route %s has no delivery %.80q", name, delivery).Suggest("chartkeep route deliveries %s", name), nil
	case err != nil:
		return nil, err
	case state == watch.DeliveryWaiting:
		return problem.New(problem.Conflict, "delivery-waiting", "delivery %s waits to be sent already", delivery).Suggest("chartkeep route deliveries %s", name), nil
	case state != watch.DeliveryFailed:
		return problem.New(problem.Conflict, "delivery-delivered", "delivery %s has arrived", delivery).Suggest("chartkeep route deliveries %s", name), nil
	}
	return nil, nil
}

// Prune implements watch.Upstreams. The newest event always stays, since the
// next one follows its number. Cost: see watch.Service.Prune.
func (s *Store) Prune(ctx context.Context, p watch.Pruning) (events, deliveries int, err error) {
	err = s.write(ctx, true, func(b *batch) error {
		events, deliveries = 0, 0
		old, err := b.rowsOf("SELECT n, '' FROM delivery WHERE state <> 'waiting' AND due < ? ORDER BY due LIMIT ?", millis(p.Deliveries), p.Limit)
		if err != nil {
			return err
		}
		for _, d := range old {
			for _, statement := range []string{"DELETE FROM delivery_event WHERE delivery = ?", "DELETE FROM delivery WHERE n = ?"} {
				if _, err := b.w.exec(b.ctx, statement, d.id); err != nil {
					return err
				}
			}
		}
		query, args := oldEvents(&p)
		gone, err := b.rowsOf(query, args...)
		if err != nil {
			return err
		}
		for _, e := range gone {
			if _, err := b.w.exec(b.ctx, "INSERT INTO pruned (key) VALUES (?) ON CONFLICT DO NOTHING", e.key); err != nil {
				return err
			}
			if _, err := b.w.exec(b.ctx, "DELETE FROM event WHERE id = ?", e.id); err != nil {
				return err
			}
		}
		events, deliveries = len(gone), len(old)
		return nil
	})
	return events, deliveries, err
}

type prunable struct {
	id  int64
	key string
}

func (b *batch) rowsOf(query string, args ...any) (out []prunable, err error) {
	err = b.each(query, func(r scanner) error {
		var row prunable
		err := r.Scan(&row.id, &row.key)
		out = append(out, row)
		return err
	}, args...)
	return out, err
}

// oldEvents asks for the events that can be pruned.
func oldEvents(p *watch.Pruning) (query string, args []any) {
	query = "SELECT e.id, e.key FROM event e WHERE e.log_index = 0 AND e.time < ? AND e.id < (SELECT MAX(id) FROM event) " +
		"AND e.id <= COALESCE((SELECT value FROM reached WHERE name = 'relayed'), 0) " +
		"AND NOT EXISTS (SELECT 1 FROM route r JOIN delivery_event x ON x.route = r.id AND x.event = e.id)"
	args = []any{millis(p.Events)}
	stay := func(kinds []watch.EventKind, condition string) {
		if len(kinds) == 0 {
			return
		}
		query += " AND NOT (e.kind IN (?" + strings.Repeat(", ?", len(kinds)-1) + ") AND " + condition + ")"
		for _, k := range kinds {
			args = append(args, string(k))
		}
	}
	const watched = "EXISTS (SELECT 1 FROM upstream u WHERE u.name = e.upstream)"
	stay(p.WhileWatched, watched)
	stay(p.UntilRecovered, watched+" AND NOT EXISTS (SELECT 1 FROM event y WHERE y.upstream <> '' AND y.upstream = e.upstream AND y.id > e.id AND y.kind = '"+string(watch.Recovered)+"')")
	stay(p.WhileDeployed, "EXISTS (SELECT 1 FROM deployment d WHERE d.key = e.deployment)")
	return query + " ORDER BY e.time, e.id LIMIT ?", append(args, p.Limit)
}

// ListDeliveries implements watch.Routes, without the events. Cost: an index
// range of limit rows.
func (s *Store) ListDeliveries(ctx context.Context, route string, limit int) ([]watch.Delivery, error) {
	var id int64
	err := s.queryRow(ctx, "SELECT id FROM route WHERE name = ?", route).Scan(&id)
	if notFound(err) {
		return nil, noRoute(route)
	}
	if err != nil {
		return nil, fault("read route", err)
	}
	var out []watch.Delivery
	err = s.query(ctx, selectDelivery+" WHERE d.route = ? ORDER BY d.n DESC LIMIT ?", func(r scanner) error {
		_, d, err := scanDelivery(r)
		out = append(out, d)
		return err
	}, id, limit)
	return out, err
}
