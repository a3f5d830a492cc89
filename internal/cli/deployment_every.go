package cli

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// How an import is repeated. The server lets five minutes pass after a time in
// which it could not be reached.
const (
	importTime  = 10 * time.Minute // of one round
	retryFirst  = 30 * time.Second // after a round that failed, doubled with each that follows
	retryAtMost = 4 * time.Minute
)

// repeated is something that is done every so often.
type repeated struct {
	every time.Duration
	now   func() time.Time
	round func(ctx context.Context) error
	// failed tells of a round that failed and when it is tried again, the zero
	// time for never.
	failed func(err error, next time.Time)
}

// run repeats until ctx ends. A round that has begun is done to its end. From
// the beginning of a round to that of the next is the interval, give or take a
// tenth, so that those who were started together do not stay together.
func (r *repeated) run(ctx context.Context) {
	failures := 0
	for {
		began := r.now()
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), importTime)
		err := r.round(within)
		cancel()
		pause := r.every
		if failures++; err == nil {
			failures = 0
		} else {
			pause = min(pause, retryAtMost, retryFirst<<min(failures-1, 8))
		}
		pause += time.Duration(float64(pause) * (rand.Float64() - 0.5) / 5)
		next := began.Add(pause)
		if least := r.now().Add(pause / 10); next.Before(least) {
			next = least // however long rounds take, there is a pause between them
		}
		switch {
		case err != nil && ctx.Err() != nil:
			r.failed(err, time.Time{})
		case err != nil:
			r.failed(err, next)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(next.Sub(r.now())):
		}
	}
}

// inventoryRound is one of the imports of a command that repeats them.
type inventoryRound struct {
	client.ImportResult
	at time.Time
}

func (inventoryRound) schema() string   { return "deployment-import/v1" }
func (r inventoryRound) keys() []string { return []string{r.Import} }

func (r inventoryRound) view() view {
	said := []string{plural(r.Deployments, "deployment")}
	for _, n := range []struct {
		count int
		word  string
	}{{r.Unresolved, "unresolved"}, {r.New, "new"}, {r.Changed, "moved"}, {r.Gone, "gone"}} {
		if n.count > 0 {
			said = append(said, number(int64(n.count))+" "+n.word)
		}
	}
	if n := len(r.Problems); n > 0 {
		said = append(said, plural(n, "problem"))
	}
	v := view{{text: stampSeconds(r.at) + " import " + r.Import + ": " + strings.Join(said, ", ")}}
	if len(r.Events) > 0 {
		v = append(v, eventList{Items: r.Events}.view()...)
	}
	return v
}

// importing is an import that is repeated. What could not be read is told when
// it is not what it was in the round before.
func (a *app) importing(name string, opt *whereOptions, every watch.Duration) *repeated {
	declared := every.String()
	told := ""
	return &repeated{
		every: time.Duration(every), now: a.now,
		round: func(ctx context.Context) error {
			found, err := opt.read(ctx)
			if err != nil {
				return err
			}
			if problems := strings.Join(found.Problems, "\n"); problems != told {
				a.tellProblems(found.Problems)
				told = problems
			}
			res, err := a.sendInventory(ctx, name, found, &declared)
			if err != nil {
				return err
			}
			return a.print(inventoryRound{res, a.now()})
		},
		failed: func(err error, next time.Time) {
			a.tellError(err)
			if next.IsZero() {
				a.say("%s import %s failed", stampSeconds(a.now()), name)
				return
			}
			a.say("%s import %s failed; it is tried again at %s", stampSeconds(a.now()), name, stampSeconds(next))
		},
	}
}

// repetition reads --every: nil where it is not given, 0 for no more.
func (o *inventoryOptions) repetition() (*watch.Duration, error) {
	if !o.given.Changed("every") {
		return nil, nil
	}
	d, err := watch.ParseDuration(o.every)
	if err != nil || d != 0 && d < watch.Duration(time.Minute) {
		return nil, usage("--every %s is no interval of a minute or more", o.every).try("--every 15m")
	}
	return &d, nil
}
