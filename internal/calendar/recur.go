package calendar

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	"github.com/teambition/rrule-go"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Bounds of windows.
const (
	minDuration = 5 * time.Minute
	maxDuration = 31 * 24 * time.Hour
	maxSchedule = 512 // bytes
	maxGlobs    = 100
	maxSteps    = 20_000 // starts that are looked at in one question
	maxInterval = 1000   // of a recurrence rule
	maxReason   = 1000   // bytes
)

// first is the earliest DTSTART: what recurs is followed from there.
var first = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// fields reads crontab's five fields and the descriptors @daily and so on.
var fields = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// Check says what is wrong with a window.
func (w Window) Check() error {
	_, err := w.read()
	return err
}

// opening is a window that was read.
type opening struct {
	zone     *time.Location
	length   time.Duration
	schedule cron.Schedule
	rule     *rrule.ROption
}

func bad(w Window, format string, args ...any) *problem.Error {
	return problem.New(problem.Invalid, "window", "window %.80s: %s", w.Name, fmt.Sprintf(format, args...))
}

func (w Window) read() (*opening, error) {
	o := &opening{zone: time.UTC}
	if w.Zone != "" {
		zone, err := time.LoadLocation(w.Zone)
		if err != nil || w.Zone == "Local" {
			return nil, bad(w, "%.80q is not a time zone", w.Zone).Suggest("name it as in the IANA database: Europe/Berlin")
		}
		o.zone = zone
	}
	for _, globs := range [][]string{w.Environments, w.Deployments} {
		if len(globs) > maxGlobs {
			return nil, bad(w, "%d patterns are given, %d are allowed", len(globs), maxGlobs)
		}
		for _, g := range globs {
			if _, err := path.Match(g, ""); err != nil || g == "" || len(g) > 1024 {
				return nil, bad(w, "%.80q is not a pattern", g).Suggest("write a name, or * and ? for any part of one: prod-*")
			}
		}
	}
	if len(w.Reason) > maxReason {
		return nil, bad(w, "the reason has at most %d bytes", maxReason)
	}
	if w.Security && !w.Freeze {
		return nil, bad(w, "only a freeze says whether security upgrades may pass it")
	}
	if w.Schedule == "" {
		return o, w.once(o)
	}
	return o, w.recurring(o)
}

// once reads a window that opens a single time.
func (w Window) once(o *opening) error {
	switch {
	case w.Start.IsZero() || w.End.IsZero():
		return bad(w, "it has neither a schedule nor a start and an end").Suggest(`give --schedule "0 2 * * 0" --duration 3h, or --start and --end`)
	case !w.End.After(w.Start):
		return bad(w, "it ends before it starts")
	case w.Duration != "":
		return bad(w, "a window with a start and an end and no schedule has no duration")
	case w.Start.Before(first) || w.End.Year() > 9999:
		return bad(w, "its times lie outside the years 2000 to 9999")
	}
	o.length = w.End.Sub(w.Start)
	return nil
}

func (w Window) recurring(o *opening) (err error) {
	if len(w.Schedule) > maxSchedule {
		return bad(w, "a schedule has at most %d bytes", maxSchedule)
	}
	if o.length, err = time.ParseDuration(w.Duration); err != nil || o.length < minDuration || o.length > maxDuration {
		return bad(w, "%.40q is not how long it is open", w.Duration).Suggest("give 5m to 744h: --duration 3h")
	}
	text, isRule := strings.CutPrefix(w.Schedule, "RRULE:")
	if !isRule {
		// The parser would take a zone of its own in front.
		if strings.Contains(text, "=") {
			return bad(w, "%.80q is not a schedule", text).Suggest("the zone has a field of its own; a recurrence rule begins with RRULE:")
		}
		if strings.HasPrefix(text, "@every") {
			return bad(w, "%.80q names no time of the day", text)
		}
		if o.schedule, err = fields.Parse(text); err != nil {
			return bad(w, "%.80q is not a schedule", text).With("reason", "%s", err).
				Suggest(`give crontab's five fields, "0 2 * * 0", or a rule, "RRULE:FREQ=WEEKLY;BYDAY=SU"`)
		}
		return nil
	}
	if strings.ContainsAny(text, "\r\n") {
		return bad(w, "a recurrence rule is one line")
	}
	if o.rule, err = rrule.StrToROption(text); err != nil {
		return bad(w, "%.80q is not a recurrence rule", text).With("reason", "%s", err).Suggest("RRULE:FREQ=WEEKLY;BYDAY=SU")
	}
	r := o.rule
	switch {
	case r.Freq != rrule.YEARLY && r.Freq != rrule.MONTHLY && r.Freq != rrule.WEEKLY && r.Freq != rrule.DAILY:
		return bad(w, "a window recurs daily, weekly, monthly or yearly")
	case r.Interval < 0 || r.Interval > maxInterval:
		return bad(w, "the interval of a rule is 1 to %d", maxInterval)
	case len(r.Bysecond) > 1 || len(r.Byminute) > 4 || len(r.Byhour) > 24:
		return bad(w, "a rule opens at most four times an hour")
	case !r.Dtstart.IsZero():
		return bad(w, "the start of a rule has a field of its own: --start")
	case w.Start.IsZero():
		return bad(w, "a rule needs a start, whose time of day it takes").Suggest("--start 2026-01-04T02:00:00Z")
	case w.Start.Before(first) || w.Start.Year() > 9999:
		return bad(w, "its start lies outside the years 2000 to 9999")
	}
	return nil
}

// Meant reports whether a window is for a deployment: by its key and by its
// environment.
func (w Window) Meant(key, environment string) bool {
	return anyOf(w.Deployments, key) && anyOf(w.Environments, environment)
}

func anyOf(globs []string, name string) bool {
	flat := strings.NewReplacer("/", "\x00")
	return len(globs) == 0 || slices.ContainsFunc(globs, func(g string) bool {
		ok, err := path.Match(flat.Replace(g), flat.Replace(name))
		return err == nil && ok
	})
}

// Openings are the times of a window that overlap [from, to), at most limit, in
// order. A window that cannot be read has none; Check says why. Cost: the
// openings since the start of a recurrence rule, at most 20,000.
func (w Window) Openings(from, to time.Time, limit int) []Slot {
	o, err := w.read()
	if err != nil || !from.Before(to) {
		return nil
	}
	var out []Slot
	take := func(start time.Time) bool {
		end := start.Add(o.length)
		if !w.End.IsZero() && w.Schedule != "" && start.After(w.End) || !start.Before(to) {
			return false
		}
		if end.After(from) && (w.Start.IsZero() || !start.Before(w.Start)) {
			out = append(out, Slot{Window: w.Name, Start: start.UTC(), End: end.UTC()})
		}
		return len(out) < limit
	}
	switch {
	case w.Schedule == "":
		take(w.Start)
	case o.schedule != nil:
		at := from.Add(-o.length - time.Minute).In(o.zone)
		for range maxSteps {
			if at = o.schedule.Next(at); at.IsZero() || !take(at) {
				break
			}
		}
	default:
		o.each(w, to, take)
	}
	return out
}

// each follows a recurrence rule. It is told where to end: a rule that never
// comes true would be followed for eight thousand years.
func (o *opening) each(w Window, to time.Time, take func(time.Time) bool) {
	r := *o.rule
	r.Dtstart = w.Start.In(o.zone)
	if r.Until.IsZero() || r.Until.After(to) {
		r.Until = to
	}
	rule, err := rrule.NewRRule(r)
	if err != nil {
		return
	}
	next := rule.Iterator()
	for range maxSteps {
		at, ok := next()
		if !ok || !take(at) {
			return
		}
	}
}
