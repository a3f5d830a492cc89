package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Feed is a source of advisories, or of what is said about them. Time spans are
// written as 90m, 36h or 180d.
type Feed struct {
	Name       string     `json:"name"`
	Kind       string     `json:"kind"`
	URL        string     `json:"url,omitempty"`         // a mirror that is read by schedule; "" for a feed that is imported by hand
	Credential string     `json:"credential,omitempty"`  // name in the server's credentials file
	Interval   string     `json:"interval,omitempty"`    // between two reads of URL
	StaleAfter string     `json:"stale_after,omitempty"` // older than this it is said to be old; 0: as the decision policy has it
	Old        string     `json:"old,omitempty"`         // how old the data are, where they are older than they may be
	Created    time.Time  `json:"created"`
	CreatedBy  string     `json:"created_by"`
	Health     FeedHealth `json:"health"`
	Current    *Snapshot  `json:"current,omitempty"`
}

// FeedHealth is how the reads of a feed go.
type FeedHealth struct {
	LastTry     time.Time `json:"last_try,omitzero"`
	LastSuccess time.Time `json:"last_success,omitzero"` // also when nothing was new
	NextTry     time.Time `json:"next_try,omitzero"`
	Failures    int       `json:"failures"`
	Error       string    `json:"error,omitempty"`
	Faults      []string  `json:"faults,omitempty"`
}

// Snapshot is one state of a feed.
type Snapshot struct {
	ID      int64     `json:"id"`
	Feed    string    `json:"feed"` // name of the feed
	Kind    string    `json:"kind"`
	Digest  string    `json:"digest"`          // sha256:… of the records
	Records int       `json:"records"`         // that can be used
	Faults  int       `json:"faults"`          // records that cannot
	Dated   time.Time `json:"dated,omitzero"`  // as the data says: catalogue date, score date, newest modification
	Model   string    `json:"model,omitempty"` // of EPSS: model version, to which scores are bound
	Taken   time.Time `json:"taken"`           // when it was imported, by the server's clock
	Blob    string    `json:"blob,omitempty"`  // digest of the pack's bytes, where they are kept
}

// FeedImport is what an import of a feed brought.
type FeedImport struct {
	Feed      string      `json:"feed"`
	Snapshot  Snapshot    `json:"snapshot"`
	Unchanged bool        `json:"unchanged"` // the same records as before
	Added     int         `json:"added"`     // records that the snapshot before did not have in this form
	Removed   int         `json:"removed"`   // records of it that are there no more in theirs
	Faults    []FeedFault `json:"faults"`    // at most 100; Snapshot.Faults is how many there are
}

// FeedFault is a record, or a file, that could not be read as a whole.
type FeedFault struct {
	File   string `json:"file,omitempty"`
	Record string `json:"record,omitempty"` // its id
	Line   int    `json:"line,omitempty"`   // of the file, from 1; 0: the file as a whole
	Reason string `json:"reason"`           // as it goes on after the name: "is no JSON"
}

// ImageMatch is what is known of one image.
type ImageMatch struct {
	Image      string   `json:"image"` // as it was given
	Component  string   `json:"component"`
	Version    string   `json:"version"` // as it was compared; "" unknown
	Confidence string   `json:"confidence"`
	How        string   `json:"how"` // one sentence: which map entry, what was cut off the tag
	Open       []string `json:"open"`
	Unknown    bool     `json:"unknown"`
	Why        string   `json:"why,omitempty"`
}

// Inputs are the states that a judgement was made from.
type Inputs struct {
	Snapshots []Snapshot `json:"snapshots"` // by feed
	Policy    PolicyRef  `json:"policy"`
	Old       []string   `json:"old,omitempty"` // "epss: read 3 d ago": what should be fresher
}

// PolicyRef names a decision policy.
type PolicyRef struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Digest  string `json:"digest"`
}

// Finding is one thing that is open on a deployment.
type Finding struct {
	Key        string    `json:"key"` // names it on this deployment across time: advisory and component, or rule and object
	Kind       string    `json:"kind"`
	Severity   string    `json:"severity"` // "unknown" where nobody rated it
	Title      string    `json:"title"`    // the server's words, or the record's summary
	Advisory   string    `json:"advisory,omitempty"`
	Aliases    []string  `json:"aliases,omitempty"`
	Score      float64   `json:"score,omitempty"` // CVSS base score
	Exploited  bool      `json:"exploited,omitempty"`
	EPSS       *float64  `json:"epss,omitempty"`
	Images     []string  `json:"images,omitempty"` // as they run
	Component  string    `json:"component,omitempty"`
	Version    string    `json:"version,omitempty"` // of the component
	Confidence string    `json:"confidence,omitempty"`
	Fixed      []string  `json:"fixed,omitempty"` // versions of the component
	Workaround string    `json:"workaround,omitempty"`
	Rule       string    `json:"rule,omitempty"`   // of a finding of the chart
	Object     string    `json:"object,omitempty"` // that it is about
	Doubt      string    `json:"doubt,omitempty"`
	Since      time.Time `json:"since,omitzero"` // when the server first knew that it is open here
	Decision   Ruling    `json:"decision"`
}

// Ruling is by when a finding has to be dealt with, and why.
type Ruling struct {
	Tier     string       `json:"tier"` // immediate, out-of-cycle, scheduled, defer; "lifted"
	Start    time.Time    `json:"start,omitzero"`
	StartWhy string       `json:"start_why"` // which of the times it is, and the others
	Deadline time.Time    `json:"deadline,omitzero"`
	SetBy    string       `json:"set_by"`  // the rule that set it
	Derived  bool         `json:"derived"` // an input of that rule was derived or assumed
	Forensic bool         `json:"forensic,omitempty"`
	Lifted   *RulingLift  `json:"lifted,omitempty"`
	Doubts   []string     `json:"doubts,omitempty"`
	Rules    []RulingRule `json:"rules"` // all that were asked, fired or not, always in the same order
}

// RulingRule is one rule with what it looked at and what came of it.
type RulingRule struct {
	ID       string        `json:"id"` // bod-26-04, ssvc-deployer, floor, epss, vex, waiver, …
	Title    string        `json:"title"`
	Inputs   []RulingInput `json:"inputs"`
	Table    string        `json:"table,omitempty"` // name and version of the published table
	Row      int           `json:"row,omitempty"`   // from 1; 0 for none
	Rows     int           `json:"rows,omitempty"`
	Fired    bool          `json:"fired"`
	Result   string        `json:"result"`            // "14 d", "out-of-cycle: 14 d"; why it did not fire
	Days     int           `json:"days"`              // -1: no deadline by this rule
	Deadline time.Time     `json:"deadline,omitzero"` // of earliest, also where it was lifted: what comes back when the lift ends
}

// RulingInput is one input of a rule, and where it comes from.
type RulingInput struct {
	Name     string `json:"name"`  // exploited, automatable, impact, exploitation, exposure, human-impact, cvss, epss …
	Value    string `json:"value"` // yes, no, total, 7.5 …; "unknown"
	Source   string `json:"source"`
	Snapshot string `json:"snapshot,omitempty"` // digest of the snapshot; "" where none is behind it
	Derived  bool   `json:"derived,omitempty"`  // worked out here or assumed, and published by nobody
	As       string `json:"as,omitempty"`
}

// RulingLift is what takes a deadline away.
type RulingLift struct {
	ID       string    `json:"id"`
	Status   string    `json:"status"` // of OpenVEX: not_affected and fixed lift, the others are shown; of a waiver: waived
	Reason   string    `json:"reason"`
	By       string    `json:"by"` // author or approver
	Expires  time.Time `json:"expires,omitzero"`
	Source   string    `json:"source"`
	Snapshot string    `json:"snapshot,omitempty"`
}

// UnknownImage is an image of which nobody can say what is open.
type UnknownImage struct {
	Image string `json:"image"`
	Why   string `json:"why"`
}

// Advisory is one advisory that is open somewhere.
type Advisory struct {
	Finding      Finding   `json:"finding"` // as on the deployment where it is most urgent
	Deployments  []string  `json:"deployments"`
	Environments []string  `json:"environments"`
	Due          time.Time `json:"due,omitzero"`       // the earliest
	FixedBy      []string  `json:"fixed_by,omitempty"` // "airflow 8.9.0": versions of charts that close it, as reviewed
}

// UnknownImageRow is such an image, and where it runs.
type UnknownImageRow struct {
	UnknownImage
	Deployments []string `json:"deployments"`
}

// EnvironmentAdvisories are the counts of an environment.
type EnvironmentAdvisories struct {
	Environment string               `json:"environment"`
	Deployments int                  `json:"deployments"`
	Exposure    string               `json:"exposure"` // the worst
	Open        map[string]int       `json:"open"`
	Late        map[string]int       `json:"late"`
	Due         map[string]time.Time `json:"due"` // the earliest
	Images      int                  `json:"images"`
	Unknown     int                  `json:"unknown"`
}

// Assessment is what is open on one deployment now.
type Assessment struct {
	Deployment  string         `json:"deployment"`
	Chart       string         `json:"chart"`
	Version     string         `json:"version"`
	Environment string         `json:"environment,omitempty"`
	Owner       string         `json:"owner,omitempty"`
	Exposure    RulingInput    `json:"exposure"`
	Mission     RulingInput    `json:"mission"`
	At          time.Time      `json:"at"`
	Inputs      Inputs         `json:"inputs"`
	Findings    []Finding      `json:"findings"` // most urgent first
	Lifted      []Finding      `json:"lifted"`   // by VEX or waiver
	Unknown     []UnknownImage `json:"unknown"`
	Images      int            `json:"images"` // that run, unknown ones too
	NotJudged   string         `json:"not_judged,omitempty"`
	Deadline    time.Time      `json:"deadline,omitzero"` // the earliest of the findings
	SetBy       string         `json:"set_by,omitempty"`  // key of the finding that sets it
	Doubts      []string       `json:"doubts"`
}

// Explanation is why a finding on a deployment is due when it is.
type Explanation struct {
	Deployment string  `json:"deployment"`
	Finding    Finding `json:"finding"`
	Decision   Ruling  `json:"decision"`
	Inputs     Inputs  `json:"inputs"`
}

// NewFeed asks for a feed.
type NewFeed struct {
	Name       string `json:"name"`
	Kind       string `json:"kind"` // osv, kev, epss, vulnrichment, vex, components
	URL        string `json:"url,omitempty"`
	Credential string `json:"credential,omitempty"`
	Interval   string `json:"interval,omitempty"`
	StaleAfter string `json:"stale_after,omitempty"`
}

// FeedChange names what to change; nil leaves it.
type FeedChange struct {
	URL        *string `json:"url,omitempty"`
	Credential *string `json:"credential,omitempty"`
	Interval   *string `json:"interval,omitempty"`
	StaleAfter *string `json:"stale_after,omitempty"`
}

// AdvisoryPage is a page of what is open anywhere. What is unknown stands beside
// every page.
type AdvisoryPage struct {
	List[Advisory]
	At           time.Time               `json:"at"`
	Inputs       Inputs                  `json:"inputs"`
	Total        int                     `json:"total"` // that match, on all pages
	Unknown      []UnknownImageRow       `json:"unknown"`
	Environments []EnvironmentAdvisories `json:"environments"`
	NotJudged    []string                `json:"not_judged"` // deployments
}

// ImageMatches are images, and the states that the answer was made from.
type ImageMatches struct {
	Images []ImageMatch `json:"images"`
	Inputs Inputs       `json:"inputs"`
}

func feedPath(name string) (string, error) {
	p, err := segments(name)
	return "/advisory-feeds" + p, err
}

// Feeds lists where advisories come from, by name.
func (c *Client) Feeds(ctx context.Context, p Page) (l List[Feed], err error) {
	err = c.get(ctx, "/advisory-feeds", p.values(), "advisory-feed-list/v1", &l)
	return l, err
}

// AddFeed adds a feed. With a URL it is read at once and by schedule; without
// one it waits for imports.
func (c *Client) AddFeed(ctx context.Context, f NewFeed) (out Feed, err error) {
	err = c.send(ctx, http.MethodPost, "/advisory-feeds", f, "advisory-feed/v1", &out)
	return out, err
}

// SetFeed changes where and how often a feed is read.
func (c *Client) SetFeed(ctx context.Context, name string, ch FeedChange) (out Feed, err error) {
	path, err := feedPath(name)
	if err == nil {
		err = c.send(ctx, http.MethodPatch, path, ch, "advisory-feed/v1", &out)
	}
	return out, err
}

// RemoveFeed takes a feed out of every judgement from now on.
func (c *Client) RemoveFeed(ctx context.Context, name string) error {
	path, err := feedPath(name)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodDelete, path, nil, "", nil)
}

// ReadFeed makes the server read a feed that has a URL soon.
func (c *Client) ReadFeed(ctx context.Context, name string) error {
	path, err := feedPath(name)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodPost, path+"/read", nil, "", nil)
}

// ImportFeed makes what a file holds, or an archive of files, the state of a
// feed. The body is sent as it is read; size is -1 when it is not known. file is
// its name, for messages.
func (c *Client) ImportFeed(ctx context.Context, name, file string, body io.Reader, size int64) (out FeedImport, err error) {
	path, err := feedPath(name)
	if err != nil {
		return out, err
	}
	q := url.Values{}
	set(q, "file", file)
	err = c.json(ctx, call{
		method: http.MethodPut, path: api + path + "/records", query: q, body: body, size: size, contentType: "application/octet-stream",
	}, "advisory-import/v1", &out)
	return out, err
}

// Snapshots lists the states of a feed, the newest first.
func (c *Client) Snapshots(ctx context.Context, name string, limit int) ([]Snapshot, error) {
	path, err := feedPath(name)
	if err != nil {
		return nil, err
	}
	var l List[Snapshot]
	err = c.get(ctx, path+"/snapshots", url.Values{"limit": {strconv.Itoa(limit)}}, "advisory-snapshot-list/v1", &l)
	return l.Items, err
}

// Advisories lists what is open anywhere, the most urgent first. The query has
// words, and terms such as severity:>=high, env:prod or state:late; "" is all.
func (c *Client) Advisories(ctx context.Context, query string, p Page) (l AdvisoryPage, err error) {
	q := p.values()
	set(q, "query", query)
	err = c.get(ctx, "/advisories", q, "advisory-list/v1", &l)
	return l, err
}

// Advisory returns one advisory, wherever it is open, by its id or an alias.
func (c *Client) Advisory(ctx context.Context, id string) (out Advisory, err error) {
	err = c.get(ctx, "/advisory", url.Values{"id": {id}}, "advisory/v1", &out)
	return out, err
}

// MatchImages says what is open on images, in their order; the server takes at
// most 1000 at once.
func (c *Client) MatchImages(ctx context.Context, images []string) (out ImageMatches, err error) {
	err = c.send(ctx, http.MethodPost, "/advisories/match", map[string][]string{"images": images}, "advisory-match/v1", &out)
	return out, err
}

// Assessment returns what is open on one deployment.
func (c *Client) Assessment(ctx context.Context, deployment string) (out Assessment, err error) {
	err = c.get(ctx, "/assessment", url.Values{"key": {deployment}}, "assessment/v1", &out)
	return out, err
}

// Explain says why a finding on a deployment is due when it is; "" is the one
// that sets the deployment's deadline.
func (c *Client) Explain(ctx context.Context, deployment, finding string) (out Explanation, err error) {
	q := url.Values{"key": {deployment}}
	set(q, "finding", finding)
	err = c.get(ctx, "/explanation", q, "explanation/v1", &out)
	return out, err
}
