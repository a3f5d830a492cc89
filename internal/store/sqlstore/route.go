package sqlstore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// CreateRoute implements watch.Routes. It names the audit event
// audit.RouteAdded.
func (s *Store) CreateRoute(ctx context.Context, r watch.Route, ev audit.Event, now time.Time) (watch.Route, error) {
	var out watch.Route
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		out, refusal = watch.Route{}, nil
		made := r
		made.Created, made.Health = fromMillis(millis(now)), watch.RouteHealth{}
		text, err := jsonText(&made)
		if err != nil {
			return err
		}
		err = b.w.row(b.ctx, "INSERT INTO route (name, route_json, created, last_success, last_failure, error) VALUES (?, ?, ?, 0, 0, '') ON CONFLICT DO NOTHING RETURNING id",
			made.Name, text, millis(now)).Scan(&made.ID)
		if notFound(err) {
			refusal = problem.New(problem.Conflict, "route-exists", "there is a route %s already", r.Name)
			return nil
		}
		if err != nil {
			return err
		}
		out = made
		return b.recordChange(ev, now, audit.RouteAdded, "route", r.Name)
	})
	if err != nil {
		return watch.Route{}, err
	}
	return out, refusal
}

// RemoveRoute implements watch.Routes. It names the audit event
// audit.RouteRemoved. All deliveries of the route go with it. Cost: those.
func (s *Store) RemoveRoute(ctx context.Context, name string, ev audit.Event, now time.Time) error {
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		refusal = nil
		var id int64
		err := b.w.row(b.ctx, "SELECT id FROM route WHERE name = ?", name).Scan(&id)
		if notFound(err) {
			refusal = noRoute(name)
			return nil
		}
		if err != nil {
			return err
		}
		for _, statement := range []string{"DELETE FROM delivery_event WHERE route = ?", "DELETE FROM delivery WHERE route = ?", "DELETE FROM route WHERE id = ?"} {
			if _, err := b.w.exec(b.ctx, statement, id); err != nil {
				return err
			}
		}
		return b.recordChange(ev, now, audit.RouteRemoved, "route", name)
	})
	if err != nil {
		return err
	}
	return refusal
}

func noRoute(name string) error {
	return problem.New(problem.NotFound, "route", "there is no route %s", name)
}

const selectRoute = "SELECT id, name, route_json, created, last_success, last_failure, error FROM route"

func scanRoute(row scanner) (r watch.Route, err error) {
	var id, created, success, failure int64
	var name, text, failed string
	if err := row.Scan(&id, &name, &text, &created, &success, &failure, &failed); err != nil {
		return r, err
	}
	err = json.Unmarshal([]byte(text), &r)
	r.ID, r.Name, r.Created = id, name, fromMillis(created)
	r.Health = watch.RouteHealth{LastSuccess: fromMillis(success), LastFailure: fromMillis(failure), Error: failed}
	return r, err
}

// Routes implements watch.Routes. Cost: all routes, and an index range of the
// deliveries that are waiting or were given up.
func (s *Store) Routes(ctx context.Context) ([]watch.Route, error) {
	type open struct {
		route int64
		state string
	}
	count := map[open]int{}
	err := s.query(ctx, "SELECT route, state, COUNT(*) FROM delivery WHERE state <> 'delivered' GROUP BY route, state", func(r scanner) error {
		var o open
		var n int
		err := r.Scan(&o.route, &o.state, &n)
		count[o] = n
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []watch.Route
	err = s.query(ctx, selectRoute+" ORDER BY name", func(row scanner) error {
		r, err := scanRoute(row)
		r.Health.Waiting, r.Health.Failed = count[open{r.ID, watch.DeliveryWaiting}], count[open{r.ID, watch.DeliveryFailed}]
		out = append(out, r)
		return err
	})
	return out, err
}
