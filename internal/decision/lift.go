package decision

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The statuses of a Lift. What else a VEX statement can say lifts nothing.
const (
	NotAffected = "not_affected"
	Fixed       = "fixed"
	Affected    = "affected"
	Waived      = "waived"
)

// date is a day as people read it.
func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// clock sets when the time starts to run. Without a fix it runs all the same,
// since a mitigation is due; once there is a fix, it runs anew from that.
func (c *inquiry) clock(known, fix, seen time.Time, knownAs string) {
	usable := func(t time.Time, name string) time.Time {
		if !c.now.IsZero() && t.After(c.now) {
			c.doubt("%s %s lies ahead and does not count", name, date(t))
			return time.Time{}
		}
		return t.UTC()
	}
	known, fix, seen = usable(known, knownAs), usable(fix, "the fix of"), usable(seen, "first seen")
	say := func(name string, t time.Time) string {
		if t.IsZero() {
			return name + " unknown"
		}
		return name + " " + date(t)
	}
	d := &c.d
	switch {
	case known.IsZero() && fix.IsZero() && seen.IsZero():
		d.StartWhy = "no time is known: it is long due"
		c.doubt("no time is known from which the deadline could run")
	case known.IsZero() && fix.IsZero():
		d.Start, d.StartWhy = seen, fmt.Sprintf("%s; %s; no version with the fix was seen, a mitigation is due", say("first seen", seen), say(knownAs, known))
	case fix.IsZero():
		d.Start, d.StartWhy = known, fmt.Sprintf("%s; no version with the fix was seen, a mitigation is due", say(knownAs, known))
	case fix.After(known):
		d.Start, d.StartWhy = fix, fmt.Sprintf("fix available %s; %s", date(fix), say(knownAs, known))
	default:
		d.Start, d.StartWhy = known, fmt.Sprintf("%s; fix available %s", say(knownAs, known), date(fix))
	}
	if known.IsZero() && knownAs == "published" {
		c.doubt("it is not known when the advisory was published")
	}
}

// vex is the first half of step E. A statement of not_affected has to say why,
// and none counts beside one that says affected.
func (c *inquiry) vex(statements []Lift) {
	r := Rule{ID: "vex", Title: "VEX: not affected, or fixed", Days: none, Result: "there is no statement"}
	var lifts *Lift
	contradicted := false
	for _, s := range sorted(statements) {
		status := strings.ToLower(strings.TrimSpace(s.Status))
		v := Value{Name: "vex", Value: status, Source: origin(s), Snapshot: s.Snapshot}
		why := ""
		switch {
		case status == Affected:
			contradicted = true
			why = "the deadline stays"
		case status != NotAffected && status != Fixed:
			why = "the deadline stays"
		case status == NotAffected && strings.TrimSpace(s.Reason) == "":
			why = "it does not say why, so it does not count"
		case c.over(s):
			why = "it has expired"
		case lifts == nil:
			lifts = &s
		}
		r.Inputs = append(r.Inputs, v)
		if lifts == nil && why != "" {
			r.Result = fmt.Sprintf("%s says %.40s: %s", name(s), status, why)
		}
	}
	switch {
	case lifts != nil && contradicted:
		r.Result = "the statements contradict each other: the deadline stays"
		c.doubt("VEX statements contradict each other: one says affected, another %s", strings.ToLower(strings.TrimSpace(lifts.Status)))
	case lifts != nil:
		r.Fired = true
		r.Result = fmt.Sprintf("%s says %s", name(*lifts), strings.ToLower(strings.TrimSpace(lifts.Status)))
		if lifts.Reason != "" {
			r.Result += ": " + lifts.Reason
		}
		c.lift, c.lifter = lifts, "vex"
	}
	c.add(r)
}

// waiver is the second half of step E.
func (c *inquiry) waiver(waivers []Lift) {
	r := Rule{ID: "waiver", Title: "Waiver", Days: none, Result: "there is none"}
	var lifts *Lift
	for _, w := range sorted(waivers) {
		state := ""
		switch {
		case !strings.EqualFold(strings.TrimSpace(w.Status), Waived):
			state = "is no waiver"
		case strings.TrimSpace(w.Reason) == "":
			state = "has no reason"
		case strings.TrimSpace(w.By) == "":
			state = "has no approver"
		case w.Expires.IsZero():
			state = "has no end"
		case c.now.IsZero():
			state = "cannot be judged without the time"
		case c.over(w):
			state = "expired " + date(w.Expires)
		}
		v := Value{Name: "waiver", Value: state, Source: origin(w), Snapshot: w.Snapshot}
		if state == "" {
			v.Value = "until " + date(w.Expires)
			if lifts == nil || w.Expires.After(lifts.Expires) {
				lifts = &w
			}
		} else if lifts == nil {
			r.Result = fmt.Sprintf("%s %s: the deadline stays", name(w), state)
		}
		r.Inputs = append(r.Inputs, v)
	}
	if lifts != nil {
		r.Fired = true
		r.Result = fmt.Sprintf("%s until %s, approved by %s: %s", name(*lifts), date(lifts.Expires), lifts.By, lifts.Reason)
		if c.lift == nil {
			c.lift, c.lifter = lifts, "waiver"
		}
	}
	c.add(r)
}

// over reports whether a lift has ended: at its expiry, not after it. Whether it
// has is not known while the time is not, and then it counts as ended.
func (c *inquiry) over(l Lift) bool {
	return !l.Expires.IsZero() && (c.now.IsZero() || !c.now.Before(l.Expires))
}

func name(l Lift) string { return cmp.Or(l.ID, "a statement without an id") }

// origin is who says it, and where.
func origin(l Lift) string {
	parts := []string{name(l)}
	for _, s := range []string{l.By, l.Source} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ", ")
}

// sorted puts lifts in an order that is theirs and not the caller's.
func sorted(lifts []Lift) []Lift {
	out := slices.Clone(lifts)
	slices.SortStableFunc(out, func(a, b Lift) int {
		return cmp.Or(strings.Compare(a.ID, b.ID), strings.Compare(a.Source, b.Source), strings.Compare(a.Status, b.Status),
			a.Expires.Compare(b.Expires), strings.Compare(a.By, b.By), strings.Compare(a.Reason, b.Reason))
	})
	return out
}
