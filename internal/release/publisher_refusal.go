package release

import (
	"sync"
	"time"
)

// Bounds of what is remembered of refused pipelines.
const (
	refusalQuiet = 10 * time.Minute // the same refusal is recorded once in that time
	maxRefusals  = 1000             // told apart; all others are one
)

// refusals keeps strangers from filling the audit trail: it says how many
// refusals the next event stands for. It is bounded by telling fewer apart.
type refusals struct {
	mu   sync.Mutex
	seen map[string]*refusalCount
}

type refusalCount struct {
	until   time.Time
	pending int
}

// note counts a refusal and returns 0 when it is not to be recorded now, or how
// many have come since the last that was.
func (r *refusals) note(key string, now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[string]*refusalCount{}
	}
	if r.seen[key] == nil && len(r.seen) >= maxRefusals {
		for k, c := range r.seen {
			if now.After(c.until) {
				delete(r.seen, k)
			}
		}
		if len(r.seen) >= maxRefusals {
			key = ""
		}
	}
	c := r.seen[key]
	if c == nil {
		c = &refusalCount{}
		r.seen[key] = c
	}
	c.pending++
	if now.Before(c.until) {
		return 0
	}
	n := c.pending
	c.pending, c.until = 0, now.Add(refusalQuiet)
	return n
}
