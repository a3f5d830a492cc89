package watch_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// outbox is the part of a Store that notifying needs, in memory: the model of
// the contract in ports.go.
type outbox struct {
	watch.Store // nil: nothing else is called

	mu          sync.Mutex
	events      []watch.Event
	relayed     int
	routes      []watch.Route
	deliveries  map[string]*kept
	order       []string // ids as they were planned
	deployments []watch.Deployment
	upstreams   []watch.Upstream
	leases      int64
	audited     []audit.Event
	settled     []watch.Delivery
	reads       int // of deployments
}

type kept struct {
	watch.Delivery
	planned  time.Time // the due time that it was planned with
	until    time.Time // end of the lease
	attempts int       // writes of SettleDelivery
}

func newOutbox(routes ...watch.Route) *outbox {
	o := &outbox{deliveries: map[string]*kept{}}
	for _, r := range routes {
		r.ID = int64(len(o.routes) + 1)
		o.routes = append(o.routes, r)
	}
	return o
}

func (o *outbox) happen(events ...watch.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range events {
		if slices.ContainsFunc(o.events, func(is watch.Event) bool { return is.Key == e.Key }) {
			continue
		}
		e.ID = int64(len(o.events) + 1)
		o.events = append(o.events, e)
	}
}

func (o *outbox) CreateRoute(_ context.Context, r watch.Route, ev audit.Event, now time.Time) (watch.Route, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if slices.ContainsFunc(o.routes, func(is watch.Route) bool { return is.Name == r.Name }) {
		return r, problem.New(problem.Conflict, "route-name", "there is a route %s", r.Name)
	}
	r.ID, r.Created = int64(len(o.routes)+1), now
	o.routes, o.audited = append(o.routes, r), append(o.audited, ev)
	return r, nil
}

func (o *outbox) RemoveRoute(_ context.Context, name string, ev audit.Event, _ time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(o.routes)
	o.routes = slices.DeleteFunc(o.routes, func(r watch.Route) bool { return r.Name == name })
	if len(o.routes) == n {
		return problem.New(problem.NotFound, "route", "there is no route %s", name)
	}
	o.audited = append(o.audited, ev)
	return nil
}

func (o *outbox) Routes(context.Context) ([]watch.Route, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.routes), nil
}

func (o *outbox) DeploymentList(context.Context, string) ([]watch.Deployment, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reads++
	return slices.Clone(o.deployments), nil
}

func (o *outbox) Upstreams(context.Context) ([]watch.Upstream, error) { return o.upstreams, nil }

func (o *outbox) Events(_ context.Context, f watch.EventFilter) ([]watch.Event, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := slices.Clone(o.events)
	slices.Reverse(out)
	return out[:min(f.Limit, len(out))], nil
}

func (o *outbox) RelayEvents(_ context.Context, limit int, plan func([]watch.Event) []watch.Delivery) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	batch := o.events[o.relayed:min(o.relayed+limit, len(o.events))]
	if len(batch) == 0 {
		return 0, nil
	}
	plan(slices.Clone(batch)) // it may be called again
	for _, d := range plan(slices.Clone(batch)) {
		joined := false
		for _, id := range o.order {
			k := o.deliveries[id]
			if k.RouteID == d.RouteID && k.State == watch.DeliveryWaiting && o.route(d.RouteID).Digest != "" && k.Attempts == 0 && k.planned.Equal(d.Due) && k.until.IsZero() {
				k.Events, joined = append(k.Events, d.Events...), true
			}
		}
		if joined {
			continue
		}
		d.ID = fmt.Sprintf("d%d", len(o.order))
		o.deliveries[d.ID] = &kept{Delivery: d, planned: d.Due}
		o.order = append(o.order, d.ID)
	}
	o.relayed += len(batch)
	return len(batch), nil
}

func (o *outbox) route(id int64) watch.Route {
	i := slices.IndexFunc(o.routes, func(r watch.Route) bool { return r.ID == id })
	return o.routes[i]
}

func (o *outbox) LeaseDeliveries(_ context.Context, now time.Time, hold time.Duration, limit int) ([]watch.Delivery, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var due []*kept
	for _, k := range slices.Collect(maps.Values(o.deliveries)) {
		if k.State == watch.DeliveryWaiting && !k.Due.After(now) && !k.until.After(now) {
			due = append(due, k)
		}
	}
	slices.SortFunc(due, func(a, b *kept) int { return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.ID, b.ID)) })
	var out []watch.Delivery
	for _, k := range due[:min(limit, len(due))] {
		o.leases++
		k.Lease, k.until = o.leases, now.Add(hold)
		out = append(out, k.Delivery)
	}
	return out, nil
}

func (o *outbox) SettleDelivery(_ context.Context, d watch.Delivery, now time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := o.deliveries[d.ID]
	if k == nil || k.Lease != d.Lease || !k.until.After(now) {
		return problem.New(problem.Conflict, "lease", "the lease is no longer held")
	}
	d.Events = k.Events
	k.Delivery, k.until = d, time.Time{}
	k.Lease = 0
	k.attempts++
	o.settled = append(o.settled, d)
	return nil
}

func (o *outbox) ListDeliveries(_ context.Context, route string, limit int) ([]watch.Delivery, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []watch.Delivery
	for i := len(o.order) - 1; i >= 0 && len(out) < limit; i-- {
		if d := o.deliveries[o.order[i]]; d.Route == route {
			out = append(out, d.Delivery)
		}
	}
	return out, nil
}

// rights allows what it has.
type rights struct {
	watch.Registry
	allowed []access.Action
}

func (r rights) AllowInstance(_ context.Context, _ audit.Caller, a access.Action) error {
	if slices.Contains(r.allowed, a) {
		return nil
	}
	return problem.New(problem.Denied, "access", "you may not")
}

// sender calls a function.
type sender func(context.Context, watch.Route, watch.Delivery) error

func (f sender) Send(ctx context.Context, r watch.Route, d watch.Delivery) error { return f(ctx, r, d) }

func notifier(store watch.Store, send sender, now func() time.Time) *watch.Notifier {
	return watch.NewNotifier(watch.New(watch.Config{Store: store, Sender: send, Now: now}))
}
