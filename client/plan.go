package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Plan is what to do about one deployment.
type Plan struct {
	Deployment string      `json:"deployment"`
	Chart      string      `json:"chart"`
	From       string      `json:"from"`
	Digest     string      `json:"digest"`
	Made       time.Time   `json:"made"`
	Inputs     Inputs      `json:"inputs"`
	Action     string      `json:"action"` // upgrade, remedy, wait (nothing newer, nothing open), cadence, not-judged
	Text       string      `json:"text"`   // one or two sentences
	Chosen     *Candidate  `json:"chosen,omitempty"`
	Newest     *Candidate  `json:"newest,omitempty"`
	Candidates []Candidate `json:"candidates"`
	Remedies   []Remedy    `json:"remedies"`
	Open       int         `json:"open"`
	Deadline   time.Time   `json:"deadline,omitzero"`
	SetBy      string      `json:"set_by,omitempty"`
	Due        time.Time   `json:"due,omitzero"`        // deadline, or the date by cadence
	Slot       *Slot       `json:"slot,omitempty"`      // the first that fits before Due
	Emergency  string      `json:"emergency,omitempty"` // why no window fits, and who has to approve then
	Tests      string      `json:"tests"`               // depth, from the effort: smoke, upgrade, upgrade-and-rollback
	Approvals  []string    `json:"approvals"`
	Doubts     []string    `json:"doubts"`
}

// Candidate is a version that a deployment could move to.
type Candidate struct {
	ReviewSide
	Review     string   `json:"review,omitempty"` // digest of its review
	Reviewed   string   `json:"reviewed,omitempty"`
	Closed     int      `json:"closed"`
	Closes     []string `json:"closes"` // keys of the findings
	Introduced int      `json:"introduced"`
	Remaining  int      `json:"remaining"`
	Unknown    int      `json:"unknown"` // images
	Effort     Effort   `json:"effort"`
	Meets      bool     `json:"meets"`         // it closes everything that the earliest deadline is about
	Why        string   `json:"why,omitempty"` // it was not compared, or does not meet it
}

// Remedy is something else than another version of the chart.
type Remedy struct {
	Kind     string   `json:"kind"`             // override-image, mitigate, move-away, map-image
	Text     string   `json:"text"`             // what to do
	For      []string `json:"for"`              // keys of findings, or images
	Image    string   `json:"image,omitempty"`  // override-image: from
	Target   string   `json:"target,omitempty"` // and to
	Values   string   `json:"values,omitempty"` // YAML that does it, where the path is known
	Verified string   `json:"verified"`         // what was checked with the same chain, and what could not be
}

// Slot is one opening of a window that may be used.
type Slot struct {
	Window string    `json:"window"` // "" when no window is meant for the deployment
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
}

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

// Waiver lets a finding be for a time.
type Waiver struct {
	ID              int64     `json:"id"`
	Finding         string    `json:"finding"`               // advisory id, alias, or rule
	Deployments     string    `json:"deployments,omitempty"` // glob of keys; "" all
	Component       string    `json:"component,omitempty"`   // ecosystem/name; "" any
	Reason          string    `json:"reason"`
	RequestedBy     string    `json:"requested_by"`
	RequestedByName string    `json:"requested_by_name,omitempty"`
	Requested       time.Time `json:"requested"`
	ApprovedBy      string    `json:"approved_by,omitempty"` // another person; it counts from then
	ApprovedByName  string    `json:"approved_by_name,omitempty"`
	Approved        time.Time `json:"approved,omitzero"`
	Expires         time.Time `json:"expires"`
	Ended           time.Time `json:"ended,omitzero"` // taken back
}

// PlanRow is a plan in a list, without what else could be done.
type PlanRow struct {
	Deployment string    `json:"deployment"`
	Chart      string    `json:"chart"`
	From       string    `json:"from"`
	To         string    `json:"to,omitempty"`
	Newest     string    `json:"newest,omitempty"`
	Digest     string    `json:"digest"`
	Made       time.Time `json:"made"`
	Action     string    `json:"action"` // upgrade, remedy, wait, cadence, not-judged
	Text       string    `json:"text"`
	Remedies   int       `json:"remedies"`
	Open       int       `json:"open"`
	Deadline   time.Time `json:"deadline,omitzero"`
	SetBy      string    `json:"set_by,omitempty"`
	Due        time.Time `json:"due,omitzero"`
	Slot       *Slot     `json:"slot,omitempty"`
	Emergency  string    `json:"emergency,omitempty"`
	Doubts     []string  `json:"doubts"`
}

// DecisionPolicy is a policy by which deadlines are decided. Set is zero for
// the one that is built in.
type DecisionPolicy struct {
	PolicyRef
	Text  string    `json:"text"` // YAML
	Set   time.Time `json:"set,omitzero"`
	SetBy string    `json:"set_by,omitempty"`
}

// NewWaiver asks for a waiver.
type NewWaiver struct {
	Finding     string    `json:"finding"` // advisory id, alias, rule, or key
	Deployments string    `json:"deployments,omitempty"`
	Component   string    `json:"component,omitempty"`
	Reason      string    `json:"reason"`
	Expires     time.Time `json:"expires"`
}

// NewWindow is what a window or a freeze is from now on.
type NewWindow struct {
	Freeze       bool      `json:"freeze,omitempty"`
	Schedule     string    `json:"schedule,omitempty"`
	Start        time.Time `json:"start,omitzero"`
	End          time.Time `json:"end,omitzero"`
	Duration     string    `json:"duration,omitempty"`
	Zone         string    `json:"zone,omitempty"`
	Environments []string  `json:"environments,omitempty"`
	Deployments  []string  `json:"deployments,omitempty"`
	Reason       string    `json:"reason,omitempty"`
	Security     bool      `json:"security,omitempty"`
}

// Plans lists what to do about every deployment, by due time.
func (c *Client) Plans(ctx context.Context, p Page) (l List[PlanRow], err error) {
	err = c.get(ctx, "/plans", p.values(), "plan-list/v1", &l)
	return l, err
}

// Plan returns what to do about one deployment.
func (c *Client) Plan(ctx context.Context, deployment string) (out Plan, err error) {
	err = c.get(ctx, "/plan", url.Values{"key": {deployment}}, "plan/v1", &out)
	return out, err
}

// AcceptPlan takes the slot of the newest plan, which must have the digest.
func (c *Client) AcceptPlan(ctx context.Context, deployment, digest string) (out Upgrade, err error) {
	b, err := json.Marshal(map[string]string{"digest": digest})
	if err != nil {
		return out, fmt.Errorf("encode request: %w", err)
	}
	err = c.json(ctx, call{
		method: http.MethodPost, path: api + "/plan/accept", query: url.Values{"key": {deployment}}, contentType: "application/json", body: bytes.NewReader(b), size: int64(len(b)),
	}, "upgrade/v1", &out)
	return out, err
}

// Agenda returns what a planning meeting has to talk about, as Markdown; owner
// "" is of all deployments.
func (c *Client) Agenda(ctx context.Context, owner string) (string, error) {
	return c.text(ctx, "/agenda", owner)
}

// Calendar returns slots and deadlines as iCalendar; owner "" is of all
// deployments.
func (c *Client) Calendar(ctx context.Context, owner string) (string, error) {
	return c.text(ctx, "/calendar.ics", owner)
}

// PullRequest returns the text of a pull request for an upgrade, as Markdown.
func (c *Client) PullRequest(ctx context.Context, upgrade int64) (string, error) {
	return c.text(ctx, "/upgrades/"+strconv.FormatInt(upgrade, 10)+"/pull-request", "")
}

// text fetches a text.
func (c *Client) text(ctx context.Context, path, owner string) (string, error) {
	q := url.Values{}
	set(q, "owner", owner)
	res, err := c.do(ctx, call{method: http.MethodGet, path: api + path, query: q, accept: "text/*"})
	if err != nil {
		return "", err
	}
	defer drain(res.Body)
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/") {
		return "", c.foreign(res, "text")
	}
	b, err := c.read(res, maxAnswer)
	return string(b), err
}

// Windows lists when deployments may be changed, and when not, by name.
func (c *Client) Windows(ctx context.Context, p Page) (l List[Window], err error) {
	err = c.get(ctx, "/windows", p.values(), "window-list/v1", &l)
	return l, err
}

// PutWindow makes a window or a freeze, or changes the one of that name.
func (c *Client) PutWindow(ctx context.Context, name string, w NewWindow) error {
	path, err := segments(name)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodPut, "/windows"+path, w, "", nil)
}

// RemoveWindow takes a window or a freeze out of the calendar.
func (c *Client) RemoveWindow(ctx context.Context, name string) error {
	path, err := segments(name)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodDelete, "/windows"+path, nil, "", nil)
}

// DecisionPolicy returns the policy by which deadlines are decided.
func (c *Client) DecisionPolicy(ctx context.Context) (out DecisionPolicy, err error) {
	err = c.get(ctx, "/decision-policy", nil, "decision-policy/v1", &out)
	return out, err
}

// SetDecisionPolicy makes a document, as YAML, the policy from now on.
func (c *Client) SetDecisionPolicy(ctx context.Context, text io.Reader, size int64) (out DecisionPolicy, err error) {
	err = c.json(ctx, call{method: http.MethodPut, path: api + "/decision-policy", body: text, size: size, contentType: "application/yaml"}, "decision-policy/v1", &out)
	return out, err
}

// Waivers lists those that count or wait for approval, or all that there were;
// the newest first.
func (c *Client) Waivers(ctx context.Context, all bool, p Page) (l List[Waiver], err error) {
	q := p.values()
	if all {
		q.Set("all", "true")
	}
	err = c.get(ctx, "/waivers", q, "waiver-list/v1", &l)
	return l, err
}

// RequestWaiver asks to let a finding be for a time.
func (c *Client) RequestWaiver(ctx context.Context, w NewWaiver) (out Waiver, err error) {
	err = c.send(ctx, http.MethodPost, "/waivers", w, "waiver/v1", &out)
	return out, err
}

// ApproveWaiver lets a waiver that somebody else asked for count from now on.
func (c *Client) ApproveWaiver(ctx context.Context, id int64) (Waiver, error) {
	return c.moveWaiver(ctx, id, "/approve")
}

// EndWaiver takes a waiver back.
func (c *Client) EndWaiver(ctx context.Context, id int64) (Waiver, error) {
	return c.moveWaiver(ctx, id, "/end")
}

func (c *Client) moveWaiver(ctx context.Context, id int64, verb string) (out Waiver, err error) {
	err = c.send(ctx, http.MethodPost, "/waivers/"+strconv.FormatInt(id, 10)+verb, nil, "waiver/v1", &out)
	return out, err
}
