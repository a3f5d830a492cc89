package sqlstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

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
