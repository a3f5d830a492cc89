// Package calendar models when deployments may be changed: windows that open
// by a recurring schedule, freezes that forbid, and the slot that fits before a
// deadline.
//
// What always holds:
//
//   - Where a freeze and a window overlap, the freeze wins.
//   - A deployment for which no window is meant may be changed at any time that
//     is not frozen; that is said.
//   - A slot lies wholly inside one window and outside every freeze.
//
// Specifications: RFC 5545 (recurrence rules, iCalendar); crontab's five fields
// with a duration and a time zone, as Argo CD writes windows; the IANA time zone
// database.
//
// The package does no I/O, reads no clock and starts no goroutine; time zones
// come from the program's own copy of the database. Its functions may be called
// concurrently.
package calendar

import "time"

// Window is a recurring time in which changes are allowed, or forbidden.
type Window struct {
	Name         string    `json:"name"`
	Freeze       bool      `json:"freeze"`                 // forbids instead
	Schedule     string    `json:"schedule"`               // "0 2 * * 0" or "RRULE:FREQ=WEEKLY;BYDAY=SU"
	Start        time.Time `json:"start,omitzero"`         // DTSTART of a rule, and of a single freeze without a schedule
	End          time.Time `json:"end,omitzero"`           // of a single freeze without a schedule; of the recurrence otherwise
	Duration     string    `json:"duration,omitempty"`     // "3h", from each start
	Zone         string    `json:"zone,omitempty"`         // "Europe/Berlin"; UTC when empty
	Environments []string  `json:"environments,omitempty"` // globs; none means all
	Deployments  []string  `json:"deployments,omitempty"`  // globs of keys; none means all
	Reason       string    `json:"reason,omitempty"`
	Security     bool      `json:"security,omitempty"` // a freeze that security upgrades may pass
	Created      time.Time `json:"created,omitzero"`
	CreatedBy    string    `json:"created_by,omitempty"`
}

// Slot is one opening of a window that may be used.
type Slot struct {
	Window string    `json:"window"` // "" when no window is meant for the deployment
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
}
