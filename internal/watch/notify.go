package watch

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// The states of a delivery.
const (
	DeliveryWaiting   = "waiting"
	DeliveryDelivered = "delivered"
	DeliveryFailed    = "failed" // given up, or refused for good
)

// How deliveries are tried.
const (
	maxAttempts  = 24 // which takes about three days
	firstPause   = 30 * time.Second
	longestPause = 6 * time.Hour
	longestAsked = 24 * time.Hour // pause that a target can ask for

	sendTime = 30 * time.Second // of one attempt
	settleIn = 10 * time.Second // to write down what became of it
	// A lane is left alone for a while when a failure took so long: what waits
	// in it would take as long again, each.
	slowFailure = 5 * time.Second
	lanePause   = time.Minute

	laneRoom    = 128 // deliveries of one route that are held at once
	leaseBatch  = 32
	leaseHold   = 10 * time.Minute
	relayBatch  = 500
	relayEvery  = time.Minute // even if no event seems to be new
	notifyEvery = 2 * time.Second
)

// PauseError is the cause of the problem that a Sender returns when the target
// asked to be left alone for a time.
type PauseError time.Duration

// Error says for how long.
func (p PauseError) Error() string {
	return "the target asks for a pause of " + time.Duration(p).String()
}

// Notifier brings events to people. It relays: every event becomes a delivery
// to each route that takes it, once, in the transaction that notes that it was
// relayed. And it delivers: at least once, with the same id every time.
//
// Each route has a lane of its own in which one delivery is on its way at a
// time, so a target that hangs holds up nobody else. Several processes may
// notify from one store.
type Notifier struct {
	s *Service

	relayMu   sync.Mutex
	relayedTo int64     // the newest event when nothing was left to relay
	relayedAt time.Time // when that was

	mu    sync.Mutex
	lanes map[int64]*lane // by route
	work  sync.WaitGroup
}

// lane is what is on its way to one route.
type lane struct {
	queue  []held
	busy   bool
	since  time.Time // when the attempt on its way began
	closed time.Time // nothing is tried before
	why    error     // the failure that closed it
}

// held is a delivery that this process has leased.
type held struct {
	Delivery
	route Route
	until time.Time // end of the lease
}

// NewNotifier makes a notifier for a service. It does nothing by itself: see
// Run.
func NewNotifier(s *Service) *Notifier {
	return &Notifier{s: s, lanes: map[int64]*lane{}}
}

// Run relays and delivers until ctx ends, and returns when what it began has
// ended. Failures are logged, and the work is found again.
func (n *Notifier) Run(ctx context.Context) {
	t := time.NewTicker(notifyEvery)
	defer t.Stop()
	for ctx.Err() == nil {
		if _, err := n.RelayOnce(ctx); err != nil && ctx.Err() == nil {
			n.s.log.ErrorContext(ctx, "relay events", "error", err)
		}
		if _, err := n.DeliverOnce(ctx); err != nil && ctx.Err() == nil {
			n.s.log.ErrorContext(ctx, "lease deliveries", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
	n.Wait()
}

// Wait waits for the deliveries that are on their way.
func (n *Notifier) Wait() { n.work.Wait() }

// RelayOnce plans the deliveries of every event that was not relayed yet, and
// returns how many there were. Cost: one look-up when there are none, else all
// deployments and routes times events.
func (n *Notifier) RelayOnce(ctx context.Context) (int, error) {
	n.relayMu.Lock()
	defer n.relayMu.Unlock()
	now := n.s.now()
	last, err := n.s.store.Events(ctx, EventFilter{Limit: 1})
	if err != nil {
		return 0, err
	}
	newest := int64(0)
	if len(last) > 0 {
		newest = last[0].ID
	}
	// Ids may become visible out of order, so that is not asked alone.
	if newest == n.relayedTo && now.Sub(n.relayedAt) < relayEvery && now.Sub(n.relayedAt) >= 0 {
		return 0, nil
	}
	a, err := n.audience(ctx, now)
	if err != nil {
		return 0, err
	}
	for total := 0; ; {
		count, err := n.s.store.RelayEvents(ctx, relayBatch, a.plan)
		if total += count; err != nil {
			return total, err
		}
		if count < relayBatch {
			n.relayedTo, n.relayedAt = newest, now
			return total, nil
		}
	}
}

func (n *Notifier) audience(ctx context.Context, now time.Time) (*audience, error) {
	routes, err := n.s.store.Routes(ctx)
	if err != nil {
		return nil, err
	}
	deployments, err := n.s.store.DeploymentList(ctx, "")
	if err != nil {
		return nil, err
	}
	upstreams, err := n.s.store.Upstreams(ctx)
	if err != nil {
		return nil, err
	}
	return newAudience(now, routes, deployments, upstreams), nil
}

// DeliverOnce takes what is due and sees it on its way. It does not wait for
// targets: see Wait. It returns how many deliveries it took. Without a Sender
// everything waits.
func (n *Notifier) DeliverOnce(ctx context.Context) (int, error) {
	if n.s.sender == nil {
		return 0, nil
	}
	for taken := 0; ; {
		if ctx.Err() != nil {
			return taken, ctx.Err()
		}
		now := n.s.now()
		list, err := n.s.store.LeaseDeliveries(ctx, now, leaseHold, leaseBatch)
		if err != nil || len(list) == 0 {
			return taken, err
		}
		all, err := n.s.store.Routes(ctx) // after the lease, so that every route is there
		if err != nil {
			return taken, err
		}
		routes := make(map[int64]Route, len(all))
		for _, r := range all {
			routes[r.ID] = r
		}
		for _, d := range list {
			r, ok := routes[d.RouteID]
			if !ok { // removed in between, and its deliveries with it
				continue
			}
			n.hand(ctx, held{d, r, now.Add(leaseHold)})
		}
		if taken += len(list); len(list) < leaseBatch {
			return taken, nil
		}
	}
}

// hand puts a delivery into the lane of its route. What finds no room is put
// back, so that the rest of what is due can be leased: for longer while the
// target lets us wait.
func (n *Notifier) hand(ctx context.Context, h held) {
	n.mu.Lock()
	l := n.lanes[h.RouteID]
	if l == nil {
		l = &lane{}
		n.lanes[h.RouteID] = l
	}
	room := len(l.queue) < laneRoom
	if room {
		l.queue = append(l.queue, h)
	}
	start := room && !l.busy
	if start {
		l.busy, l.since = true, n.s.now()
	}
	pause := notifyEvery
	if n.s.now().Sub(l.since) >= slowFailure {
		pause = lanePause
	}
	n.mu.Unlock()
	if !room {
		n.putBack(ctx, h, pause)
	}
	if start {
		n.work.Go(func() { n.drain(ctx, l) })
	}
}

// drain delivers what is in a lane, until it is empty.
func (n *Notifier) drain(ctx context.Context, l *lane) {
	for {
		n.mu.Lock()
		if len(l.queue) == 0 {
			l.queue, l.busy = nil, false
			n.mu.Unlock()
			return
		}
		h := l.queue[0]
		l.queue, l.since = l.queue[1:], n.s.now()
		closed, why := l.closed, l.why
		n.mu.Unlock()
		n.deliver(ctx, l, h, closed, why)
	}
}

// deliver makes one attempt, and writes down what became of it. A process that
// ends in between leaves the lease behind, and the attempt is repeated.
func (n *Notifier) deliver(ctx context.Context, l *lane, h held, closed time.Time, why error) {
	start := n.s.now()
	if ctx.Err() != nil {
		n.putBack(ctx, h, 0)
		return
	}
	if start.Add(sendTime + settleIn).After(h.until) {
		return // who leases it next does it
	}
	if start.Before(closed) {
		n.settle(ctx, h, why)
		return
	}
	err := n.send(ctx, h)
	if err != nil && ctx.Err() != nil { // ended by us: no fault of the target
		n.putBack(ctx, h, 0)
		return
	}
	if err != nil {
		pause := asked(err)
		if n.s.now().Sub(start) >= slowFailure {
			pause = max(pause, lanePause)
		}
		n.mu.Lock()
		l.closed, l.why = n.s.now().Add(pause), err
		n.mu.Unlock()
	}
	n.settle(ctx, h, err)
}

// send calls the sender. A panic in it is a failed attempt, not the end of the
// server.
func (n *Notifier) send(ctx context.Context, h held) (err error) {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			n.s.log.ErrorContext(ctx, "a delivery panicked", "route", h.Route, "delivery", h.ID, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("send delivery %s: %v", h.ID, p)
		}
	}()
	return n.s.sender.Send(ctx, h.route, h.Delivery)
}

// settle writes down an attempt: delivered, to be tried again, or failed.
func (n *Notifier) settle(ctx context.Context, h held, err error) {
	d, now := h.Delivery, n.s.now()
	d.Attempts++
	d.State, d.Error = DeliveryDelivered, ""
	if err != nil {
		d.Error = told(err)
		if d.State = DeliveryWaiting; !again(err) || d.Attempts >= maxAttempts {
			d.State = DeliveryFailed
		}
		d.Due = now.Add(max(backoff(d.ID, d.Attempts), asked(err)))
		level := slog.LevelInfo
		if d.State == DeliveryFailed {
			level = slog.LevelWarn
		}
		n.s.log.Log(ctx, level, "not delivered", "route", h.Route, "delivery", d.ID, "attempt", d.Attempts, "state", d.State, "error", err)
	}
	n.write(ctx, d, now)
}

// putBack gives a delivery back without an attempt.
func (n *Notifier) putBack(ctx context.Context, h held, pause time.Duration) {
	d, now := h.Delivery, n.s.now()
	d.State = DeliveryWaiting
	if pause > 0 {
		d.Due = now.Add(pause)
	}
	n.write(ctx, d, now)
}

func (n *Notifier) write(ctx context.Context, d Delivery, now time.Time) {
	// What was sent is written down even when everything ends.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleIn)
	defer cancel()
	err := n.s.store.SettleDelivery(ctx, d, now)
	if err != nil && problem.KindOf(err) != problem.Conflict && problem.KindOf(err) != problem.NotFound {
		n.s.log.ErrorContext(ctx, "settle delivery", "delivery", d.ID, "route", d.Route, "error", err)
	}
}

// again reports whether an attempt may work later: for what the target or the
// way to it cannot do now, and for faults of our own.
func again(err error) bool {
	kind := problem.KindOf(err)
	return kind == problem.Unavailable || kind == problem.Internal
}

// asked is the pause that a target asked for.
func asked(err error) time.Duration {
	p, _ := errors.AsType[PauseError](err)
	return min(max(time.Duration(p), 0), longestAsked)
}

// told is an error as those may read it who see routes: without its cause.
func told(err error) string {
	p, ok := problem.As(err)
	if !ok {
		return "internal error; the log of the server has more"
	}
	q := *p
	q.Err = nil
	return line(q.Error(), maxSentence)
}

// backoff is the pause after an attempt: twice the last one, up to six hours,
// less up to a quarter of it, which differs from delivery to delivery so that
// what failed together does not come back together.
func backoff(id string, attempts int) time.Duration {
	pause := min(firstPause<<min(max(attempts, 1)-1, 10), longestPause)
	h := fnv.New32a()
	fmt.Fprintf(h, "%s %d", id, attempts)
	return pause - pause/4*time.Duration(h.Sum32()%1000)/1000
}
