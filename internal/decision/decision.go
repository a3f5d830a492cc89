// Package decision models by when a finding must be dealt with, and why: from
// published tables, tightened and lifted by rules that each print what they
// looked at.
//
// What always holds:
//
//   - The deadline is the earliest that any rule gives; it is never later than
//     the published table's, unless a policy replaced that table with reason and
//     approver, which the decision then says. Only a VEX statement, or a waiver
//     with reason, approver and expiry, lifts one.
//   - Making any input worse never makes a deadline later.
//   - An input that is not known takes the worst of its values, and is a doubt.
//     There are two exceptions: exploitation takes poc where KEV is known not to
//     list the vulnerability, and EPSS, which only ever tightens, does nothing.
//     An input that was derived and not published says so.
//   - Effort is no input.
//   - The same input and policy give the same decision, in the same order.
//
// Specifications: CISA BOD 26-04 (remediation table of 16 rows); CERT/CC SSVC
// deployer tree 1.0.0 with human impact 1.0.0; FIRST CVSS v2.0, v3.0, v3.1 and
// v4.0; FIRST EPSS.
//
// The package does no I/O, reads no clock and starts no goroutine. Its functions
// may be called concurrently; a Policy is not changed after it was made.
package decision

import "time"

// Value is one input of a rule, and where it comes from.
type Value struct {
	Name     string `json:"name"`  // exploited, automatable, impact, exploitation, exposure, human-impact, cvss, epss …
	Value    string `json:"value"` // yes, no, total, 7.5 …; "unknown"
	Source   string `json:"source"`
	Snapshot string `json:"snapshot,omitempty"` // digest of the snapshot; "" where none is behind it
	Derived  bool   `json:"derived,omitempty"`  // worked out here or assumed, and published by nobody
	// As is what it counted as in a rule, where that is not Value: the worst where
	// it is not known, yes for an exposure of open, high for a score of 7.5.
	As string `json:"as,omitempty"`
}

// Input is everything that decides about one advisory on one deployment.
// A Value with an empty Value is unknown.
type Input struct {
	Advisory     string // id
	CVE          string
	Exploited    Value // yes, no: CISA KEV
	Ransomware   Value // yes, no: the catalogue's known use in campaigns; shown, moves nothing
	Automatable  Value // yes, no
	Impact       Value // total, partial
	Exploitation Value // active, poc, none
	Exposure     Value // open, controlled, small
	Mission      Value // tier 0 to 3, from the least important
	CVSS         Value // base score, 0.0 to 10.0
	EPSS         Value // 0 to 1
	EPSSModel    string
	EPSSDated    time.Time // zero unknown
	// The clock starts when it was published or when a fix could be had, whichever
	// is later; without a fix when it was published, since a mitigation is due.
	// Where neither is known it starts at FirstSeen, and where that is not known
	// either the deadline has passed long ago. A time after Now does not count.
	Published    time.Time
	FixAvailable time.Time // first seen by us, of the fixing version; zero while there is none
	FirstSeen    time.Time // when we first knew that it is open here
	Now          time.Time // for the expiry of waivers and the age of snapshots
	VEX          []Lift
	Waivers      []Lift
}

// ChartInput decides about a finding of the chart itself: posture, an advisory
// on the chart, hardening that a newer version offers.
type ChartInput struct {
	Rule     string // of the finding, such as rights-wildcard
	Severity string // info, low, medium, high, critical
	Kind     string // posture, chart-advisory, hardening
	Exposure Value
	Mission  Value

	FirstSeen time.Time
	Fix       time.Time // when a version without it was first seen; zero while there is none
	Now       time.Time
	Waivers   []Lift
}

// Lift is what takes a deadline away.
type Lift struct {
	ID       string    `json:"id"`
	Status   string    `json:"status"` // of OpenVEX: not_affected and fixed lift, the others are shown; of a waiver: waived
	Reason   string    `json:"reason"`
	By       string    `json:"by"` // author or approver
	Expires  time.Time `json:"expires,omitzero"`
	Source   string    `json:"source"`
	Snapshot string    `json:"snapshot,omitempty"`
}

// Decision is the answer, with every rule that was asked.
type Decision struct {
	Tier     string    `json:"tier"` // immediate, out-of-cycle, scheduled, defer; "lifted"
	Start    time.Time `json:"start,omitzero"`
	StartWhy string    `json:"start_why"` // which of the times it is, and the others
	// Deadline is zero where the next version by cadence is soon enough, and
	// where it was lifted.
	Deadline time.Time `json:"deadline,omitzero"`
	SetBy    string    `json:"set_by"`  // the rule that set it
	Derived  bool      `json:"derived"` // an input of that rule was derived or assumed
	// Forensic says that the published table asks for an investigation too,
	// whether the system was broken into.
	Forensic bool     `json:"forensic,omitempty"`
	Lifted   *Lift    `json:"lifted,omitempty"`
	Doubts   []string `json:"doubts,omitempty"`
	Rules    []Rule   `json:"rules"` // all that were asked, fired or not, always in the same order
}

// Rule is one rule with what it looked at and what came of it.
type Rule struct {
	ID       string    `json:"id"` // bod-26-04, ssvc-deployer, floor, epss, vex, waiver, …
	Title    string    `json:"title"`
	Inputs   []Value   `json:"inputs"`
	Table    string    `json:"table,omitempty"` // name and version of the published table
	Row      int       `json:"row,omitempty"`   // from 1; 0 for none
	Rows     int       `json:"rows,omitempty"`
	Fired    bool      `json:"fired"`
	Result   string    `json:"result"`            // "14 d", "out-of-cycle: 14 d"; why it did not fire
	Days     int       `json:"days"`              // -1: no deadline by this rule
	Deadline time.Time `json:"deadline,omitzero"` // of earliest, also where it was lifted: what comes back when the lift ends
}
