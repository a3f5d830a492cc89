package web

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// alertsPage lists what alarmed the registry.
type alertsPage struct {
	frame
	Filter  alertFilter
	Views   []preset
	Events  []choice
	Levels  []choice
	Rows    []alertRow
	Looked  int
	Partial bool // there are older ones that were not looked at
}

type alertFilter struct{ Event, Severity, Project string }

type alertRow struct {
	ID          int64
	Severity    severityMark
	What        string
	Event       string
	About       link
	By          string
	Count       int64
	First, Last moment
	Open        bool
	Ended       moment
	Runbook     string // URL of what to do, "" where there is none
	AuditURL    string // each single event
	LastURL     string // the last of them
	LastIndex   int64
	URL         string // opens the row
	Opened      bool
	Closed      string
	Sent        []sentRow // of an opened row
}

type sentRow struct {
	Route string
	State stateWord
	Tries int
	Error string
	Due   moment
}

const (
	alertsShown    = 100
	alertsLookedAt = 1000 // by a filter
)

// alerts costs at most alertsLookedAt alerts, and what was sent of the one that
// is opened.
func (d *Door) alerts(w http.ResponseWriter, r *http.Request) error {
	ctx, c, q := r.Context(), server.CallerOf(r), r.URL.Query()
	if d.cfg.Watching == nil {
		return noPage(r.URL.Path)
	}
	get := func(name string) string { return shorten(strings.TrimSpace(q.Get(name)), maxName) }
	p := &alertsPage{Filter: alertFilter{get("event"), get("severity"), get("project")}}
	limit := alertsShown
	if p.Filter != (alertFilter{}) {
		limit = alertsLookedAt
	}
	onlyOpen := q.Has("open")
	list, err := d.cfg.Watching.Alerts(ctx, c, onlyOpen, limit)
	if err != nil {
		return err
	}
	p.frame = d.frameOf(r, "Alerts", "alerts")
	p.Looked, p.Partial = len(list), len(list) == limit
	keep := url.Values{}
	for name, value := range map[string]string{"event": p.Filter.Event, "severity": p.Filter.Severity, "project": p.Filter.Project} {
		if value != "" {
			keep.Set(name, value)
		}
	}
	self := p.Base + "/alerts"
	opened := url.Values{"open": {""}}
	for name := range keep {
		opened.Set(name, keep.Get(name))
	}
	p.Views = []preset{{link{"All", withQuery(self, keep)}, !onlyOpen}, {link{"Open", withQuery(self, opened)}, onlyOpen}}
	p.offerFilters()
	if onlyOpen {
		keep.Set("open", "")
	}
	pick, _ := strconv.ParseInt(q.Get("alert"), 10, 64)
	for i := range list {
		x := &list[i]
		if !p.Filter.fits(x) || len(p.Rows) == alertsShown {
			continue
		}
		row := p.alertRow(d, x)
		row.Closed = withQuery(self, keep)
		keep.Set("alert", strconv.FormatInt(x.ID, 10))
		row.URL = withQuery(self, keep) + "#a" + strconv.FormatInt(x.ID, 10)
		keep.Del("alert")
		if row.Opened = x.ID == pick; row.Opened {
			if err := d.showSent(ctx, c, p, &row); err != nil {
				return err
			}
		}
		p.Rows = append(p.Rows, row)
	}
	return d.render(w, r, http.StatusOK, "alerts", p)
}

func (f *alertFilter) fits(x *watch.Alert) bool {
	return (f.Event == "" || f.Event == string(x.Event)) && (f.Severity == "" || f.Severity == string(x.Severity)) && (f.Project == "" || f.Project == x.Project)
}

func (p *alertsPage) offerFilters() {
	p.Events = []choice{{"", "everything", p.Filter.Event == ""}}
	for _, kind := range watch.AlertEvents() {
		text := string(kind)
		if words := eventWords[audit.Name(kind)]; words != "" {
			text = words
		}
		p.Events = append(p.Events, choice{string(kind), text, p.Filter.Event == string(kind)})
	}
	slices.SortStableFunc(p.Events[1:], func(a, b choice) int { return strings.Compare(a.Text, b.Text) })
	p.Levels = []choice{{"", "any", p.Filter.Severity == ""}}
	for _, s := range []watch.Severity{watch.Critical, watch.High, watch.Medium} {
		p.Levels = append(p.Levels, choice{string(s), string(s), p.Filter.Severity == string(s)})
	}
}

func (p *alertsPage) alertRow(d *Door, x *watch.Alert) alertRow {
	row := alertRow{
		ID: x.ID, Severity: markOf(x.Severity), What: capital(shown(x.Message, maxSentence)), Event: string(x.Event), By: shown(x.Actor, maxName), Count: x.Count,
		First: moment{x.First, p.Now.at}, Last: moment{x.Last, p.Now.at}, Open: x.Ended.IsZero(), Ended: moment{x.Ended, p.Now.at},
		AuditURL: withQuery(p.Base+"/audit", url.Values{"action": {string(x.Event)}, "before": {strconv.FormatInt(x.LastIndex+1, 10)}}),
		LastURL:  p.Base + "/audit/" + strconv.FormatInt(x.LastIndex, 10), LastIndex: x.LastIndex,
	}
	if d.cfg.Runbooks != "" {
		row.Runbook = webURL(d.cfg.Runbooks + "registry.md#" + strings.ReplaceAll(string(x.Event), ".", "-"))
	}
	switch {
	case x.Version != "":
		row.About = link{x.Project + "/" + x.Chart + " " + x.Version, releasePath(p.Base, x.Project, x.Chart, x.Version)}
	case x.Project != "":
		row.About = link{x.Project, projectPath(p.Base, x.Project)}
	}
	return row
}

// showSent says what became of an alert on its way to people.
func (d *Door) showSent(ctx context.Context, c release.Caller, p *alertsPage, row *alertRow) error {
	list, err := d.cfg.Watching.AlertDeliveries(ctx, c, row.ID)
	if err != nil {
		return err
	}
	for i := range list[:min(len(list), maxEvidence)] {
		x := &list[i]
		row.Sent = append(row.Sent, sentRow{Route: named(x.Route), State: stateOfDelivery(x.State), Tries: x.Attempts, Error: shown(x.Error, maxSentence), Due: moment{x.Due, p.Now.at}})
	}
	return nil
}

func stateOfDelivery(s string) stateWord {
	switch s {
	case "delivered":
		return stateWord{s, "mute", "ok", "delivered"}
	case "failed":
		return stateWord{s, "bad", "bad", "given up"}
	case "waiting":
		return stateWord{s, "warn", "wait", "waits"}
	}
	return stateWord{s, "unk", "unk", shown(s, 64)}
}
