package server

import (
	"context"
	"hash/maphash"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// The limits on wrong credentials. A source is an IPv4 address or an IPv6 /64.
const (
	attemptBurst  = 20              // wrong credentials of one source before it has to wait
	attemptRefill = 3 * time.Second // one more attempt after this long
	guardEntries  = 4096            // of each table and generation
	failureRows   = 512             // sources told apart within one flush
	flushInterval = time.Minute
	passwordWait  = 5 * time.Second // for a free place to check a password
)

// AuthFailure sums up the wrong credentials of one source at one door. Source
// is the zero Prefix for all sources beyond the 512 that are told apart.
type AuthFailure struct {
	Door        audit.Door
	Source      netip.Prefix
	Count       int64 // wrong credentials
	Locked      int64 // requests whose credential was not checked, since the source had to wait
	First, Last time.Time
}

// guard keeps wrong credentials from costing much: per source a bucket of
// attempts, for all together a few places in which passwords are checked. A
// credential that was right a short while ago is checked even when its source
// has no attempts left, so that one forgotten job does not lock out a whole
// office behind one address. All memory is bounded.
type guard struct {
	seed   maphash.Seed
	count  func(audit.Door) // tells the metrics of each wrong credential
	places chan struct{}    // held while a password is checked: each check takes tens of MiB

	mu       sync.Mutex
	buckets  generations[netip.Prefix, bucket]
	accepted generations[uint64, struct{}]
	failures map[failureKey]*AuthFailure
}

type failureKey struct {
	door   audit.Door
	source netip.Prefix
}

// bucket is what a source has left.
type bucket struct {
	attempts float64
	at       time.Time
}

// generations is a map bounded to two generations of guardEntries: when the
// younger one is full it becomes the older, and the older is forgotten. An
// entry that is used moves to the younger.
type generations[K comparable, V any] struct{ young, old map[K]V }

func (g *generations[K, V]) get(k K) (V, bool) {
	if v, ok := g.young[k]; ok {
		return v, true
	}
	v, ok := g.old[k]
	return v, ok
}

func (g *generations[K, V]) put(k K, v V) {
	if _, ok := g.young[k]; !ok && len(g.young) >= guardEntries {
		g.old, g.young = g.young, nil
	}
	if g.young == nil {
		g.young = make(map[K]V)
	}
	g.young[k] = v
}

func newGuard(count func(audit.Door)) *guard {
	return &guard{
		count:    count,
		seed:     maphash.MakeSeed(),
		places:   make(chan struct{}, max(2, runtime.GOMAXPROCS(0)/2)),
		failures: make(map[failureKey]*AuthFailure),
	}
}

// sourceOf is the network that attempts are counted for.
func sourceOf(a netip.Addr) netip.Prefix {
	if !a.IsValid() {
		return netip.Prefix{}
	}
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits)
	return p
}

// check runs the check of a credential when its source may try, and counts it
// when it turns out wrong.
func (g *guard) check(ctx context.Context, door audit.Door, addr netip.Addr, cred credential, check func() error) error {
	source := sourceOf(addr)
	mark := g.mark(cred)
	if wait := g.mayTry(door, source, mark); wait > 0 {
		return problem.New(problem.Unavailable, RuleTooManyAttempts, "too many wrong credentials came from this address").
			With("wait", "%s", wait.Round(time.Second)).
			Suggest("check the token or the password that is used there, and wait")
	}
	if cred.scheme == "basic" && !isSecret(cred.secret) {
		leave, err := g.enter(ctx)
		if err != nil {
			return err
		}
		defer leave()
	}
	err := check()
	switch {
	case err == nil:
		g.succeeded(mark)
	case problem.KindOf(err) == problem.Unauthenticated:
		g.failed(door, addr)
	}
	return err
}

// enter waits for a place in which a password may be checked.
func (g *guard) enter(ctx context.Context) (leave func(), err error) {
	select {
	case g.places <- struct{}{}:
	default:
		timer := time.NewTimer(passwordWait)
		defer timer.Stop()
		select {
		case g.places <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timer.C:
			return nil, problem.New(problem.Unavailable, RuleBusy, "too many passwords are being checked at once").
				Suggest("try again in a moment; use a token instead of a password in jobs")
		}
	}
	return func() { <-g.places }, nil
}

// mark names a credential without keeping it.
func (g *guard) mark(c credential) uint64 {
	var h maphash.Hash
	h.SetSeed(g.seed)
	_, _ = h.WriteString(c.scheme)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(c.user)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(c.secret)
	return h.Sum64()
}

// mayTry returns how long the source has to wait, 0 when it need not.
func (g *guard) mayTry(door audit.Door, source netip.Prefix, mark uint64) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	b, ok := g.buckets.get(source)
	if !ok {
		return 0
	}
	b.refill(time.Now())
	if b.attempts >= 1 {
		return 0
	}
	if _, ok := g.accepted.get(mark); ok {
		return 0
	}
	g.sum(door, source, b.at).Locked++
	return max(time.Second, time.Duration((1-b.attempts)*float64(attemptRefill)))
}

func (b *bucket) refill(now time.Time) {
	b.attempts = min(attemptBurst, b.attempts+float64(now.Sub(b.at))/float64(attemptRefill))
	b.at = now
}

func (g *guard) succeeded(mark uint64) {
	g.mu.Lock()
	g.accepted.put(mark, struct{}{})
	g.mu.Unlock()
}

// failed counts a wrong credential.
func (g *guard) failed(door audit.Door, addr netip.Addr) {
	g.count(door)
	source, now := sourceOf(addr), time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	b, ok := g.buckets.get(source)
	if !ok {
		b = bucket{attempts: attemptBurst, at: now}
	}
	b.refill(now)
	b.attempts = max(0, b.attempts-1)
	g.buckets.put(source, b)
	g.sum(door, source, now).Count++
}

// sum is what is summed up of a source at a door since the last time. The
// caller holds the lock.
func (g *guard) sum(door audit.Door, source netip.Prefix, now time.Time) *AuthFailure {
	key := failureKey{door, source}
	f := g.failures[key]
	if f == nil {
		if len(g.failures) >= failureRows {
			key = failureKey{door: door}
			f = g.failures[key]
		}
		if f == nil {
			f = &AuthFailure{Door: door, Source: key.source, First: now}
			g.failures[key] = f
		}
	}
	f.Last = now
	return f
}

// take returns what was counted since the last time, the largest first.
func (g *guard) take() []AuthFailure {
	g.mu.Lock()
	failures := g.failures
	if len(failures) > 0 {
		g.failures = make(map[failureKey]*AuthFailure)
	}
	g.mu.Unlock()
	out := make([]AuthFailure, 0, len(failures))
	for _, f := range failures {
		out = append(out, *f)
	}
	slices.SortFunc(out, func(a, b AuthFailure) int {
		if a.Count != b.Count {
			return int(min(1, max(-1, b.Count-a.Count)))
		}
		if c := a.Source.Addr().Compare(b.Source.Addr()); c != 0 {
			return c
		}
		if a.Door < b.Door {
			return -1
		}
		return 1
	})
	return out
}
