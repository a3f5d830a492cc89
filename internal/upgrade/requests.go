package upgrade

import (
	"time"

	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/decision"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// NewFeed is a feed to be added.
type NewFeed struct {
	Name       string
	Kind       advisory.Kind
	URL        string
	Credential string
	Interval   watch.Duration // 0: a day, for one with a URL
	StaleAfter watch.Duration // 0: as the decision policy has it
}

// FeedChange changes a feed; nil leaves a field.
type FeedChange struct {
	URL        *string
	Credential *string
	Interval   *watch.Duration
	StaleAfter *watch.Duration
}

// Imported is what an import of a feed brought.
type Imported struct {
	Feed      string            `json:"feed"`
	Snapshot  advisory.Snapshot `json:"snapshot"`
	Unchanged bool              `json:"unchanged"` // the same records as before
	Added     int               `json:"added"`     // records that the snapshot before did not have in this form
	Removed   int               `json:"removed"`   // records of it that are there no more in theirs
	Faults    []advisory.Fault  `json:"faults"`    // at most 100; Snapshot.Faults is the number
}

// AdvisoryRow is one advisory that is open somewhere, in lists.
type AdvisoryRow struct {
	Finding      Finding   `json:"finding"` // as on the deployment where it is most urgent
	Deployments  []string  `json:"deployments"`
	Environments []string  `json:"environments"`
	Due          time.Time `json:"due,omitzero"`       // the earliest
	FixedBy      []string  `json:"fixed_by,omitempty"` // "airflow 8.9.0": versions of charts that close it, as reviewed
}

// AdvisoryFilter chooses advisories; zero fields choose all. Query is the form
// that pages have: words, and severity:high epss:>0.1 env:prod has:fix kev:yes
// state:late deployment:… component:….
type AdvisoryFilter struct {
	Query string
	Limit int
	After int // rows to leave out
}

// AdvisoryList is what is open everywhere.
type AdvisoryList struct {
	At        time.Time        `json:"at"`
	Inputs    Inputs           `json:"inputs"`
	Rows      []AdvisoryRow    `json:"advisories"`
	Total     int              `json:"total"` // that match
	Unknown   []UnknownRow     `json:"unknown"`
	Heat      []EnvironmentRow `json:"environments"`
	NotJudged []string         `json:"not_judged"` // deployments
}

// UnknownRow is an image that nobody knows, and where it runs.
type UnknownRow struct {
	UnknownImage
	Deployments []string `json:"deployments"`
}

// EnvironmentRow is the count of open advisories of an environment.
type EnvironmentRow struct {
	Environment string                          `json:"environment"`
	Deployments int                             `json:"deployments"`
	Exposure    string                          `json:"exposure"` // the worst
	Open        map[manifest.Severity]int       `json:"open"`
	Late        map[manifest.Severity]int       `json:"late"`
	Due         map[manifest.Severity]time.Time `json:"due"` // the earliest
	Images      int                             `json:"images"`
	Unknown     int                             `json:"unknown"`
}

// NewWaiver asks for a waiver.
type NewWaiver struct {
	Finding     string
	Deployments string
	Component   string
	Reason      string
	Expires     time.Time
}

// Sign is a person's word on a review.
type Sign struct {
	Role    SignRole
	Accept  bool
	Text    string
	Answers map[string]string // by checklist item
}

// Explanation is why a finding on a deployment is due when it is.
type Explanation struct {
	Deployment string            `json:"deployment"`
	Finding    Finding           `json:"finding"`
	Decision   decision.Decision `json:"decision"`
	Inputs     Inputs            `json:"inputs"`
}

// Status is the state of everything in one table.
type Status struct {
	At   time.Time   `json:"at"`
	Rows []StatusRow `json:"deployments"` // late first, then by due time, then the rest by key
}

// StatusRow is one deployment.
type StatusRow struct {
	Deployment  string    `json:"deployment"`
	Environment string    `json:"environment,omitempty"`
	Owner       string    `json:"owner,omitempty"`
	Chart       string    `json:"chart"`
	Version     string    `json:"version"`
	To          string    `json:"to,omitempty"`
	State       string    `json:"state"` // of the upgrade; current, behind, unknown, not-judged where there is none
	Since       time.Time `json:"since,omitzero"`
	WaitsFor    string    `json:"waits_for,omitempty"`
	Due         time.Time `json:"due,omitzero"`
	Late        bool      `json:"late"`
	Open        int       `json:"open"`
	Unknown     int       `json:"unknown"` // images
	Upgrade     int64     `json:"upgrade,omitempty"`
	Ticket      string    `json:"ticket,omitempty"`
}

// Practice is how well it goes.
type Practice struct {
	Since        time.Time     `json:"since"`
	Until        time.Time     `json:"until"`
	Environments []PracticeRow `json:"environments"`
	// Weeks begin with the first in which anything was known.
	Weeks       []PracticeWeek `json:"weeks"`
	ReviewTime  PracticeTime   `json:"review_time"`  // from first seen to signed
	WrongAlerts int            `json:"wrong_alerts"` // findings of which a VEX statement said that they do no harm
	Alerts      int            `json:"alerts"`
	Exposures   []Exposed      `json:"exposures"` // the longest, at most 100
}

// PracticeRow is one environment.
type PracticeRow struct {
	Environment string       `json:"environment"`
	Closed      int          `json:"closed"`
	OnTime      int          `json:"on_time"` // of them, before their deadline
	NoDeadline  int          `json:"no_deadline"`
	OpenLate    int          `json:"open_late"` // still open past the deadline
	Exposure    PracticeTime `json:"exposure"`  // of what was closed
}

// PracticeTime is a spread of times.
type PracticeTime struct {
	Count  int           `json:"count"`
	Median time.Duration `json:"median"`
	P90    time.Duration `json:"p90"`
	Max    time.Duration `json:"max"`
}

// PracticeWeek is one week of the picture.
type PracticeWeek struct {
	Start  time.Time `json:"start"`
	Open   int       `json:"open"` // at its end
	Late   int       `json:"late"`
	Closed int       `json:"closed"` // in it
	OnTime int       `json:"on_time"`
}
