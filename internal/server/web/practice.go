package web

import (
	"net/http"
	"time"

	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// practicePage answers how well it goes.
type practicePage struct {
	frame
	Since, Until moment
	Weeks        string // as asked for
	Choices      []choice
	Rows         []practiceRow
	MoreRows     int
	Met          shareView // deadlines, of all environments
	OpenLate     int
	Review       timesView
	Alerts       int
	Wrong        int
	WrongShare   string
	Picture      *weeksPicture
	Table        []weekRow
	Longest      []exposedRow
}

type practiceRow struct {
	Environment string
	Closed      int
	Met         shareView
	NoDeadline  int
	OpenLate    int
	Times       timesView
	Span        *spanPicture
}

// shareView is a part of a whole; without a whole there is no share.
type shareView struct {
	N, Of int
	Text  string // "80 %"
}

func shareOf(n, of int) shareView {
	v := shareView{N: n, Of: of}
	switch {
	case of <= 0:
	case n > 0 && 100*n < of:
		v.Text = "below 1 %"
	default:
		v.Text = number(100*n/of) + " %"
	}
	return v
}

// timesView is a spread of times in words.
type timesView struct {
	Count            int
	Median, P90, Max string
}

func timesOf(t upgrade.PracticeTime) timesView {
	return timesView{t.Count, span(t.Median), span(t.P90), span(t.Max)}
}

type weekRow struct {
	Start                      moment
	Open, Late, Closed, OnTime int
}

type exposedRow struct {
	On       link
	Key      link
	Severity severityMark
	Span     string
	Opened   moment
	Closed   moment
	How      string
	Due      dueView
}

// practiceTimes are how far the page looks back.
var practiceTimes = []struct {
	value, text string
	days        int
}{{"", "26 weeks", 26 * 7}, {"13", "13 weeks", 13 * 7}, {"52", "52 weeks", 52 * 7}, {"104", "104 weeks", 104 * 7}}

const longestShown = 25

var exposureEnds = map[string]string{"upgraded": "upgraded", "gone": "gone", "lifted": "lifted: it was no exposure", "withdrawn": "the advisory was withdrawn"}

func (d *Door) practice(w http.ResponseWriter, r *http.Request) error {
	ctx, c := r.Context(), server.CallerOf(r)
	p := &practicePage{frame: d.frameOf(r, "Practice", "plan")}
	days := practiceTimes[0].days
	for _, t := range practiceTimes {
		selected := t.value == r.URL.Query().Get("weeks")
		if selected {
			p.Weeks, days = t.value, t.days
		}
		p.Choices = append(p.Choices, choice{t.value, t.text, selected})
	}
	x, err := d.cfg.Judging.Practice(ctx, c, p.Now.at.UTC().Truncate(time.Second).AddDate(0, 0, -days))
	if err != nil {
		return err
	}
	p.Since, p.Until = moment{x.Since, p.Now.at}, moment{x.Until, p.Now.at}
	p.Review, p.Alerts, p.Wrong = timesOf(x.ReviewTime), x.Alerts, x.WrongAlerts
	if x.Alerts > 0 {
		p.WrongShare = shareOf(min(x.WrongAlerts, x.Alerts), x.Alerts).Text
	}
	var longest time.Duration
	met, of := 0, 0
	for i := range x.Environments {
		e := &x.Environments[i]
		longest = max(longest, e.Exposure.Max)
		met, of = met+e.OnTime, of+e.Closed-e.NoDeadline+e.OpenLate
		p.OpenLate += e.OpenLate
	}
	p.Met = shareOf(met, of)
	for i := range x.Environments {
		e := &x.Environments[i]
		if i == environmentsShown {
			p.MoreRows = len(x.Environments) - i
			break
		}
		p.Rows = append(p.Rows, practiceRow{
			Environment: named(e.Environment), Closed: e.Closed, Met: shareOf(e.OnTime, e.Closed-e.NoDeadline+e.OpenLate), NoDeadline: e.NoDeadline, OpenLate: e.OpenLate,
			Times: timesOf(e.Exposure), Span: drawSpan(e.Exposure, longest),
		})
	}
	p.Picture = drawWeeks(x.Weeks)
	for _, week := range x.Weeks[max(0, len(x.Weeks)-mostWeeks):] {
		p.Table = append(p.Table, weekRow{moment{week.Start, p.Now.at}, week.Open, week.Late, week.Closed, week.OnTime})
	}
	for i := range x.Exposures[:min(len(x.Exposures), longestShown)] {
		p.Longest = append(p.Longest, p.exposed(&x.Exposures[i]))
	}
	return d.render(w, r, http.StatusOK, "practice", p)
}

func (f *frame) exposed(x *upgrade.Exposed) exposedRow {
	row := exposedRow{
		On: f.keyLink(x.Deployment), Key: f.advisoryLink(x.Key), Severity: severityOf(manifest.Severity(x.Severity)), Opened: moment{x.Opened, f.Now.at},
		Closed: moment{x.Closed, f.Now.at}, How: exposureEnds[x.How], Due: f.due(x.Deadline),
	}
	end := f.Now.at
	if !x.Closed.IsZero() {
		end = x.Closed
		if row.How == "" {
			row.How = shown(x.How, 64)
		}
		row.Key.URL = "" // it may be open nowhere
		switch {
		case x.Deadline.IsZero():
		case x.Closed.After(x.Deadline):
			row.Due.Class, row.Due.Icon, row.Due.Word = "bad", "warn", "missed"
		default:
			row.Due.Class, row.Due.Icon, row.Due.Word = "ok", "ok", "met"
		}
	}
	row.Span = span(end.Sub(x.Opened))
	return row
}
