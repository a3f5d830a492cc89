package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Upgrade is the story of one deployment moving to one version.
type Upgrade struct {
	ID             int64         `json:"id"`
	Deployment     string        `json:"deployment"`
	Chart          string        `json:"chart"`
	From           string        `json:"from"`
	To             string        `json:"to"`
	Archive        string        `json:"archive"` // of To
	State          string        `json:"state"`
	Since          time.Time     `json:"since"`
	WaitsFor       string        `json:"waits_for"` // what, of whom
	Owner          string        `json:"owner,omitempty"`
	Deadline       time.Time     `json:"deadline,omitzero"`
	Due            time.Time     `json:"due,omitzero"`
	Late           bool          `json:"late"`
	Security       bool          `json:"security"` // it closes something
	Review         string        `json:"review,omitempty"`
	Plan           string        `json:"plan,omitempty"`
	Ticket         string        `json:"ticket,omitempty"` // URL
	Slot           *Slot         `json:"slot,omitempty"`
	DismissedUntil time.Time     `json:"dismissed_until,omitzero"`
	Steps          []UpgradeStep `json:"steps"` // oldest first
}

// UpgradeStep is something that happened to an upgrade.
type UpgradeStep struct {
	Time     time.Time `json:"time"`
	State    string    `json:"state"`
	By       string    `json:"by"`                // account id; "chartkeep" for ourselves
	ByName   string    `json:"by_name,omitempty"` // of the account then
	Text     string    `json:"text"`
	LogIndex int64     `json:"log_index,omitempty"`
}

// StatusRow is where one deployment stands.
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
	Since        time.Time      `json:"since"`
	Until        time.Time      `json:"until"`
	Environments []PracticeRow  `json:"environments"`
	Weeks        []PracticeWeek `json:"weeks"`
	ReviewTime   PracticeTime   `json:"review_time"`  // from first seen to signed
	WrongAlerts  int            `json:"wrong_alerts"` // findings lifted as not affected, and events marked wrong
	Alerts       int            `json:"alerts"`
	Exposures    []Exposure     `json:"exposures"` // the longest, at most 100
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

// Exposure is one finding on one deployment over time.
type Exposure struct {
	Deployment  string    `json:"deployment"`
	Key         string    `json:"key"`
	Environment string    `json:"environment,omitempty"`
	Severity    string    `json:"severity"`
	Kind        string    `json:"kind"`
	Opened      time.Time `json:"opened"`          // when the server first knew
	Closed      time.Time `json:"closed,omitzero"` // zero while it is open
	How         string    `json:"how,omitempty"`   // upgraded, gone; waived, not_affected, fixed: by a waiver or a VEX statement
	Deadline    time.Time `json:"deadline,omitzero"`
}

// Tracker is where tickets are made.
type Tracker struct {
	Name       string    `json:"name"`
	Kind       string    `json:"kind"`          // github
	URL        string    `json:"url"`           // of the repository
	API        string    `json:"api,omitempty"` // of the service, where it is not the public one's
	Credential string    `json:"credential"`
	Owners     []string  `json:"owners,omitempty"` // of deployments; none means all
	Severity   string    `json:"min_severity"`     // of what an upgrade closes
	Labels     []string  `json:"labels,omitempty"`
	Created    time.Time `json:"created"`
}

// Ticket is one issue in a tracker, for one upgrade.
type Ticket struct {
	ID       int64     `json:"id"`
	Tracker  string    `json:"tracker"`
	Upgrade  int64     `json:"upgrade"`
	Marker   string    `json:"marker"`
	Number   int64     `json:"number,omitempty"`
	URL      string    `json:"url,omitempty"`
	State    string    `json:"state"`  // wanted, open, closed, failed
	Digest   string    `json:"digest"` // of the text that the issue has
	Error    string    `json:"error,omitempty"`
	Due      time.Time `json:"due,omitzero"`
	Attempts int       `json:"attempts"`
}

// UpgradeFilter chooses upgrades; zero fields choose all.
type UpgradeFilter struct {
	Deployment, Owner, State string
	Open                     bool // only those that are
}

// StatusPage is a page of deployments, the late ones first, then by due time.
type StatusPage struct {
	List[StatusRow]
	At time.Time `json:"at"`
}

// NewTracker asks for tickets in a tracker.
type NewTracker struct {
	Name       string   `json:"name"`
	Kind       string   `json:"kind"` // github
	URL        string   `json:"url"`
	API        string   `json:"api,omitempty"`
	Credential string   `json:"credential"`
	Owners     []string `json:"owners,omitempty"`
	Severity   string   `json:"min_severity,omitempty"`
	Labels     []string `json:"labels,omitempty"`
}

// Status lists where every deployment stands; owner "" is of all.
func (c *Client) Status(ctx context.Context, owner string, p Page) (l StatusPage, err error) {
	q := p.values()
	set(q, "owner", owner)
	err = c.get(ctx, "/status", q, "status/v1", &l)
	return l, err
}

// Upgrades lists those that are open, by due time, then the newest that have
// ended.
func (c *Client) Upgrades(ctx context.Context, f UpgradeFilter, p Page) (l List[Upgrade], err error) {
	q := p.values()
	for name, value := range map[string]string{"deployment": f.Deployment, "owner": f.Owner, "state": f.State} {
		set(q, name, value)
	}
	if f.Open {
		q.Set("open", "true")
	}
	err = c.get(ctx, "/upgrades", q, "upgrade-list/v1", &l)
	return l, err
}

// Upgrade returns one upgrade with its story.
func (c *Client) Upgrade(ctx context.Context, id int64) (out Upgrade, err error) {
	err = c.get(ctx, "/upgrades/"+strconv.FormatInt(id, 10), nil, "upgrade/v1", &out)
	return out, err
}

// DismissUpgrade ends an upgrade until a date. What it would have closed stays
// open and due.
func (c *Client) DismissUpgrade(ctx context.Context, id int64, reason string, until time.Time) (out Upgrade, err error) {
	in := struct {
		Reason string    `json:"reason"`
		Until  time.Time `json:"until"`
	}{reason, until}
	err = c.send(ctx, http.MethodPost, "/upgrades/"+strconv.FormatInt(id, 10)+"/dismiss", in, "upgrade/v1", &out)
	return out, err
}

// Practice says how well it goes since a time; zero leaves that to the server.
func (c *Client) Practice(ctx context.Context, since time.Time) (out Practice, err error) {
	q := url.Values{}
	if !since.IsZero() {
		q.Set("since", since.UTC().Format(time.RFC3339))
	}
	err = c.get(ctx, "/practice", q, "practice/v1", &out)
	return out, err
}

// Trackers lists where tickets are made, by name.
func (c *Client) Trackers(ctx context.Context, p Page) (l List[Tracker], err error) {
	err = c.get(ctx, "/trackers", p.values(), "tracker-list/v1", &l)
	return l, err
}

// AddTracker makes a ticket there for each upgrade that closes something, from
// now on.
func (c *Client) AddTracker(ctx context.Context, t NewTracker) (out Tracker, err error) {
	err = c.send(ctx, http.MethodPost, "/trackers", t, "tracker/v1", &out)
	return out, err
}

// RemoveTracker makes no more tickets there; those that are there stay.
func (c *Client) RemoveTracker(ctx context.Context, name string) error {
	path, err := segments(name)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodDelete, "/trackers"+path, nil, "", nil)
}

// Tickets lists the newest tickets of a tracker; "" is of all.
func (c *Client) Tickets(ctx context.Context, tracker string, limit int) ([]Ticket, error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	set(q, "tracker", tracker)
	var l List[Ticket]
	err := c.get(ctx, "/tickets", q, "ticket-list/v1", &l)
	return l.Items, err
}
