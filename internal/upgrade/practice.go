package upgrade

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/decision"
)

// maxExposures bounds the list of the longest exposures.
const maxExposures = 100

// Practice says how well it goes since a time, a zero one for the last 26
// weeks: how long findings were open, how many were closed before their
// deadline, how long reviews took, and how many alerts turned out wrong. Cost:
// every exposure that was open since then, and the reviews since then.
func (s *Service) Practice(ctx context.Context, c audit.Caller, since time.Time) (Practice, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return Practice{}, err
	}
	now := s.now().UTC().Truncate(time.Second)
	if since.IsZero() {
		since = now.AddDate(0, 0, -26*7)
	}
	m := measuring{since: since, now: now, rows: map[string]*PracticeRow{}, spans: map[string][]time.Duration{}}
	for at := since; at.Before(now); at = at.AddDate(0, 0, 7) {
		m.weeks = append(m.weeks, PracticeWeek{Start: at})
	}
	if err := s.store.ExposuresSince(ctx, since, func(e Exposed) error { m.add(e); return nil }); err != nil {
		return Practice{}, err
	}
	times, err := s.reviewTimes(ctx, since)
	if err != nil {
		return Practice{}, err
	}
	m.cut()
	m.weeks = slices.DeleteFunc(m.weeks, func(w PracticeWeek) bool { return m.first.IsZero() || !w.Start.AddDate(0, 0, 7).After(m.first) })
	out := Practice{
		Since: since, Until: now, Environments: []PracticeRow{}, Weeks: m.weeks, ReviewTime: spread(times), Alerts: m.alerts, WrongAlerts: m.wrong,
		Exposures: m.longest,
	}
	if out.Weeks == nil {
		out.Weeks = []PracticeWeek{}
	}
	if out.Exposures == nil {
		out.Exposures = []Exposed{}
	}
	for _, env := range sortedKeys(m.rows) {
		m.rows[env].Exposure = spread(m.spans[env])
		out.Environments = append(out.Environments, *m.rows[env])
	}
	return out, nil
}

// measuring counts exposures.
type measuring struct {
	since, now    time.Time
	rows          map[string]*PracticeRow
	spans         map[string][]time.Duration
	weeks         []PracticeWeek
	alerts, wrong int
	longest       []Exposed
	first         time.Time // when anything was known to be open; before, nothing is known
}

func (m *measuring) add(e Exposed) {
	env := cmp.Or(e.Environment, noEnv)
	row := m.rows[env]
	if row == nil {
		row = &PracticeRow{Environment: env}
		m.rows[env] = row
	}
	if m.first.IsZero() || e.Opened.Before(m.first) {
		m.first = e.Opened
	}
	if !e.Opened.Before(m.since) {
		m.alerts++
	}
	end := e.Closed
	if end.IsZero() {
		end = m.now
	}
	switch {
	case e.How == decision.NotAffected:
		// Somebody says that it does no harm: it was no exposure, and the alert
		// was wrong.
		m.wrong++
	case e.How == decision.Waived || e.How == decision.Fixed:
		// It was let be, or was fixed elsewhere: nothing was closed here.
	case !e.Closed.IsZero():
		row.Closed++
		m.spans[env] = append(m.spans[env], e.Closed.Sub(e.Opened))
		switch {
		case e.Deadline.IsZero():
			row.NoDeadline++
		case !e.Closed.After(e.Deadline):
			row.OnTime++
		}
	case !e.Deadline.IsZero() && e.Deadline.Before(m.now):
		row.OpenLate++
	}
	m.week(e, end)
	m.longest = append(m.longest, e)
	if len(m.longest) > 10*maxExposures {
		m.cut()
	}
}

// week counts an exposure in the weeks of the picture.
func (m *measuring) week(e Exposed, end time.Time) {
	for i := range m.weeks {
		w := &m.weeks[i]
		until := w.Start.AddDate(0, 0, 7)
		if until.After(m.now) {
			until = m.now
		}
		if e.Opened.Before(until) && (e.Closed.IsZero() || !end.Before(until)) {
			w.Open++
			if !e.Deadline.IsZero() && e.Deadline.Before(until) {
				w.Late++
			}
		}
		if !e.Closed.IsZero() && (e.How == "upgraded" || e.How == Gone) && !e.Closed.Before(w.Start) && e.Closed.Before(until) {
			w.Closed++
			if !e.Deadline.IsZero() && !e.Closed.After(e.Deadline) {
				w.OnTime++
			}
		}
	}
}

// cut keeps the longest exposures.
func (m *measuring) cut() {
	span := func(e *Exposed) time.Duration {
		if e.Closed.IsZero() {
			return m.now.Sub(e.Opened)
		}
		return e.Closed.Sub(e.Opened)
	}
	slices.SortFunc(m.longest, func(a, b Exposed) int {
		return cmp.Or(cmp.Compare(span(&b), span(&a)), strings.Compare(a.Deployment, b.Deployment), strings.Compare(a.Key, b.Key))
	})
	m.longest = m.longest[:min(len(m.longest), maxExposures)]
}

// reviewTimes are the times from when a version was first seen to when its
// review was signed. Cost: the reviews since then, in pieces.
func (s *Service) reviewTimes(ctx context.Context, since time.Time) ([]time.Duration, error) {
	var out []time.Duration
	f := ReviewFilter{State: ReviewSigned, Limit: 1000}
	for {
		list, err := s.store.ListReviews(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			f.Before = r.ID
			if r.Made.Before(since) {
				return out, nil
			}
			var signed time.Time
			for _, o := range r.Signoffs {
				if o.Time.After(signed) {
					signed = o.Time
				}
			}
			if !r.To.FirstSeen.IsZero() && signed.After(r.To.FirstSeen) {
				out = append(out, signed.Sub(r.To.FirstSeen))
			}
		}
		if len(list) < f.Limit {
			return out, nil
		}
	}
}

// spread is the spread of times.
func spread(list []time.Duration) PracticeTime {
	if len(list) == 0 {
		return PracticeTime{}
	}
	slices.Sort(list)
	at := func(q float64) time.Duration { return list[min(int(q*float64(len(list))), len(list)-1)] }
	return PracticeTime{Count: len(list), Median: at(0.5), P90: at(0.9), Max: list[len(list)-1]}
}
