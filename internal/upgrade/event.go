package upgrade

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// tellFor is how long after it was opened a finding is told of. It is told from
// what is open and not from what has just changed, so that a process that dies
// in between loses nothing; the watch records each event once.
const tellFor = 7 * 24 * time.Hour

// told are the keys of events that this process told of: they need not be asked
// for again.
type told struct {
	mu   sync.Mutex
	keys map[string]bool
}

const maxTold = 100_000

// fresh are the events that were not told yet.
func (t *told) fresh(list []watch.Event) []watch.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []watch.Event
	for _, e := range list {
		if !t.keys[e.Key] {
			out = append(out, e)
		}
	}
	return out
}

func (t *told) keep(list []watch.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.keys == nil || len(t.keys) > maxTold {
		t.keys = map[string]bool{}
	}
	for _, e := range list {
		t.keys[e.Key] = true
	}
}

// tell tells what a judgement found: findings that were opened, one event for
// all that were opened on a deployment at one time, and a deadline that passed.
// first says that the deployment was never judged before.
func (s *Service) tell(ctx context.Context, j *judged, p *Plan, first bool) error {
	var events []watch.Event
	batches := map[time.Time][]Finding{}
	for _, f := range j.assessment.Findings {
		if j.subject.now.Sub(f.Since) < tellFor {
			batches[f.Since] = append(batches[f.Since], f)
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(batches), time.Time.Compare) {
		events = append(events, j.opened(p, batches[at], at, first))
	}
	if a := &j.assessment; !a.Deadline.IsZero() && !a.Deadline.After(j.subject.now) {
		e := j.event(watch.DeadlinePassed, watch.High, "the deadline of %s on %s has passed", a.SetBy, a.Deployment)
		e.Question = p.Text
		e.Evidence = []watch.Fact{{Label: "deadline", Value: a.Deadline.UTC().Format(time.RFC3339)}}
		e.Key = fmt.Sprintf("%s|%s|%s|%s", e.Kind, a.Deployment, a.SetBy, a.Deadline.UTC().Format(time.RFC3339))
		events = append(events, e)
	}
	if events = s.told.fresh(events); len(events) == 0 {
		return nil
	}
	if err := s.watch.Tell(ctx, events); err != nil {
		return err
	}
	s.told.keep(events)
	return nil
}

func (j *judged) event(kind watch.EventKind, sev watch.Severity, format string, args ...any) watch.Event {
	d := j.subject.d
	return watch.Event{
		Time: j.subject.now, Kind: kind, Severity: sev, Upstream: d.Match.Upstream, Project: d.Match.Project, Chart: d.Chart.Name, Version: d.Chart.Version,
		Deployment: d.Key, Owner: d.Owner, Route: d.Route, Message: fmt.Sprintf(format, args...),
	}
}

// opened is the event of findings that were opened at one time.
func (j *judged) opened(p *Plan, batch []Finding, at time.Time, first bool) watch.Event {
	var names []string
	for _, f := range batch[:min(len(batch), maxListed)] {
		names = append(names, f.Key)
	}
	sev := worst(batch)
	if sev.Rank() < manifest.Low.Rank() {
		sev = manifest.Low
	}
	a := &j.assessment
	e := j.event(watch.AdvisoryOpened, watch.Severity(sev), "%s open on %s", count(len(batch), "finding is", "findings are"), a.Deployment)
	if first {
		e.Message = fmt.Sprintf("%s was judged for the first time: %s open", a.Deployment, count(len(batch), "finding is", "findings are"))
	}
	e.Question = p.Text
	e.Evidence = []watch.Fact{{Label: "findings", Value: strings.Join(names, ", ")}}
	if n := len(batch) - len(names); n > 0 {
		e.Evidence = append(e.Evidence, watch.Fact{Label: "and more", Value: fmt.Sprint(n)})
	}
	if !a.Deadline.IsZero() {
		e.Evidence = append(e.Evidence, watch.Fact{Label: "earliest deadline", Value: a.Deadline.UTC().Format(time.RFC3339)})
	}
	e.Key = fmt.Sprintf("%s|%s|%s", e.Kind, a.Deployment, at.UTC().Format(time.RFC3339))
	return e
}
