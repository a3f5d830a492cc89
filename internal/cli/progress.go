package cli

import (
	"fmt"
	"sync"
	"time"
)

// progress tells a person how far long work is: one line that changes on a
// terminal, now and then a line of its own elsewhere. It is safe for
// concurrent use.
type progress struct {
	a     *app
	total int
	live  bool

	mu   sync.Mutex
	done int
	told time.Time
}

// How often progress is told.
const (
	progressLive  = 100 * time.Millisecond
	progressLines = 10 * time.Second
)

func (a *app) progress(total int) *progress {
	_, live := terminal(a.stderr)
	return &progress{a: a, total: total, live: live, told: a.now()}
}

func (p *progress) step() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	now := p.a.now()
	switch {
	case p.live && now.Sub(p.told) >= progressLive:
		fmt.Fprintf(p.a.stderr, "\r%s of %s", thousands(int64(p.done)), thousands(int64(p.total)))
	case !p.live && now.Sub(p.told) >= progressLines:
		fmt.Fprintf(p.a.stderr, "%s of %s\n", thousands(int64(p.done)), thousands(int64(p.total)))
	default:
		return
	}
	p.told = now
}

// end clears the line.
func (p *progress) end() {
	if p.live {
		fmt.Fprint(p.a.stderr, "\r\x1b[K")
	}
}
