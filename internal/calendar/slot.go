package calendar

import (
	"slices"
	"time"
)

// maxOpenings bounds how many openings of one window one question looks at.
const maxOpenings = 500

// Frozen returns the freeze that forbids a change of a deployment at a time;
// security says that the change closes an advisory, which some freezes let pass.
func Frozen(windows []Window, key, environment string, at time.Time, security bool) (Window, bool) {
	for _, w := range windows {
		if w.forbids(key, environment, security) && len(w.Openings(at, at.Add(time.Second), 1)) > 0 {
			return w, true
		}
	}
	return Window{}, false
}

func (w Window) forbids(key, environment string, security bool) bool {
	return w.Freeze && w.Meant(key, environment) && !(security && w.Security)
}

// Next returns the first slot of at least the given length for a deployment
// that begins at from or later and ends by until. ok is false when there is
// none; then freeze names a freeze that took the last opening away, "" when
// there was no opening. Where no window is meant for the deployment, the whole
// time is open: the slot's Window is "".
//
// Cost: the openings of the windows between the two times.
func Next(windows []Window, key, environment string, from, until time.Time, length time.Duration, security bool) (slot Slot, freeze string, ok bool) {
	var open, closed []Slot
	meant := false
	for _, w := range windows {
		switch {
		case w.forbids(key, environment, security):
			closed = append(closed, w.Openings(from, until, maxOpenings)...)
		case !w.Freeze && w.Meant(key, environment):
			meant = true
			open = append(open, w.Openings(from, until, maxOpenings)...)
		}
	}
	if !meant {
		open = []Slot{{Start: from, End: until}}
	}
	byStart := func(a, b Slot) int { return a.Start.Compare(b.Start) }
	slices.SortStableFunc(open, byStart)
	slices.SortStableFunc(closed, byStart)
	best := Slot{}
	for _, s := range open {
		if s.Start.Before(from) {
			s.Start = from
		}
		if s.End.After(until) {
			s.End = until
		}
		for _, c := range closed {
			if !c.Start.Before(s.End) || !c.End.After(s.Start) {
				continue
			}
			freeze = c.Window
			if c.Start.Sub(s.Start) >= length {
				s.End = c.Start // what is before the freeze is enough
				break
			}
			s.Start = c.End
		}
		if s.End.Sub(s.Start) >= length && (best.Start.IsZero() || s.Start.Before(best.Start)) {
			best = s
		}
	}
	if best.Start.IsZero() {
		return Slot{}, freeze, false
	}
	return best, "", true
}
