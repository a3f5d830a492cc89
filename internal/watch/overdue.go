package watch

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// What an import may declare of how often it is made.
const (
	minEvery = Duration(time.Minute)
	maxEvery = 31 * Day
)

// An import that is made again and again is silent when it missed three of its
// intervals, and at least silentLeast: one round that fails, or waits for a
// pod, is no news.
const (
	silentRounds = 3
	silentLeast  = 10 * time.Minute
)

// Nobody could import while this process did not serve. So silence is told of
// when it looked for it for awakeFor, with no pause of more than sleptFor in
// between: those who were turned away try again within five minutes.
const (
	awakeFor = 15 * time.Minute
	sleptFor = 5 * time.Minute
)

// Silent is when an import that was made at a time, and is made again every
// interval, counts as silent.
func Silent(made time.Time, every Duration) time.Time {
	return made.Add(max(silentRounds*time.Duration(every), silentLeast))
}

// checkEvery bounds a declared interval; 0 takes it back.
func checkEvery(every *Duration) error {
	if every == nil || *every == 0 || *every >= minEvery && *every <= maxEvery {
		return nil
	}
	return problem.New(problem.Invalid, "import-interval", "an import is made every %s to %s, not every %s", minEvery, maxEvery, *every)
}

// expected says of an import whether it is overdue, and since when.
func (im *Import) expected(now time.Time) {
	if im.Every != nil && !now.Before(Silent(im.Time, *im.Every)) {
		im.Overdue = im.Time.Add(time.Duration(*im.Every))
	}
}

// Silence is the event that tells that an import with an interval is not made
// any more. Its key has the time when it was made last, so that each silence is
// told of once.
func (im *Import) Silence(now time.Time) Event {
	e := Event{
		Time: now, Kind: ImportOverdue, Severity: Medium, Import: im.Name,
		Message:  fmt.Sprintf("import %s is overdue: it is made every %s, and was not made since %s", im.Name, *im.Every, timeText(im.Time)),
		Question: "does the program that makes it still run, and may it still read there and reach this server?",
		Key:      importKey(ImportOverdue, im.Name, im.Time),
	}
	im.evidence(&e)
	e.with("until it is made again", "nobody is told of what changes there")
	return e
}

// Back is the event that tells that an import is made again whose silence was
// told of. im is as it was before.
func (im *Import) Back(now time.Time) Event {
	e := Event{
		Time: now, Kind: ImportBack, Severity: Info, Import: im.Name,
		Message: fmt.Sprintf("import %s is made again; it was overdue since %s", im.Name, timeText(im.Time.Add(time.Duration(*im.Every)))),
		Key:     importKey(ImportBack, im.Name, im.Time),
	}
	im.evidence(&e)
	return e
}

func (im *Import) evidence(e *Event) {
	e.with("read from", im.From)
	e.with("made every", im.Every.String())
	e.with("last made", timeText(im.Time))
	e.with("deployments that it brought", strconv.Itoa(im.Deployments))
}

func importKey(kind EventKind, name string, made time.Time) string {
	return fmt.Sprintf("%s/%s/%s", kind, name, stamp(made))
}

// awake knows since when this process looked for silence without a pause.
type awake struct {
	mu          sync.Mutex
	since, last time.Time
}

// long notes a look, and reports whether there were looks for long enough.
func (a *awake) long(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last.IsZero() || now.Sub(a.last) > sleptFor {
		a.since = now
	}
	a.last = now
	return now.Sub(a.since) >= awakeFor
}

// TellOverdue tells of imports that declared an interval and missed it clearly:
// three times, and at least ten minutes. Each silence is told of once. It has
// to be called every minute; what it was not called for counts as a time in
// which nobody could import. Cost: one look-up while nobody is silent.
func (s *Service) TellOverdue(ctx context.Context) error {
	now := s.now()
	if !s.awake.long(now) {
		return nil
	}
	events, err := s.store.SilentImports(ctx, now)
	for i := range events {
		e := &events[i]
		s.log.InfoContext(ctx, "event", "event", e.Kind, "severity", e.Severity, "import", e.Import, "id", e.ID)
	}
	if len(events) > 0 {
		s.nudge()
	}
	return err
}
