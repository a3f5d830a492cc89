package web

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// advisoriesPage answers where we are exposed, and which version fixes it.
type advisoriesPage struct {
	frame
	At           moment
	Query        string
	Failed       string // why the query cannot be read
	FailedTry    string
	Presets      []preset
	Heat         []heatRow
	HeatRated    bool // nothing is without a rating, so there is no column for it
	MoreHeat     int
	Rows         []advisoryRow
	Total        int
	From, To     int
	Newer, Older string
	Unknown      []unknownRow
	MoreUnknown  int
	Images       int // that nobody knows
	NotJudged    []link
	MoreJudged   int
	Deployments  int
	Inputs       inputsView
	Feeds        []feedRow
}

// heatRow is an environment.
type heatRow struct {
	Name        string
	Exposure    string
	Unsure      bool // the exposure is not known
	Deployments int
	Cells       []heatCell
	Unknown     heatCell
	Images      int
}

// heatCell is a number with how urgent it is.
type heatCell struct {
	N     int
	Depth string // d0 to d4, du for what is not known
	Late  int
	Due   string // in how long the next is due
	Blind bool   // nothing is known that could be counted
	URL   string
}

// advisoryRow is one finding wherever it is open.
type advisoryRow struct {
	findingView
	Places       []link
	MorePlaces   int
	Environments []string
	FixedBy      []string
}

const (
	placesShown       = 3
	environmentsShown = 200
)

var heatColumns = []manifest.Severity{manifest.Critical, manifest.High, manifest.Medium, manifest.Low, upgrade.SeverityUnknown}

// advisories costs all assessments with their findings.
func (d *Door) advisories(w http.ResponseWriter, r *http.Request) error {
	ctx, c, q := r.Context(), server.CallerOf(r), r.URL.Query()
	if id := q.Get("id"); id != "" {
		return d.advisory(w, r, id)
	}
	p := &advisoriesPage{frame: d.frameOf(r, "Advisories", "advisories"), Query: strings.TrimSpace(shown(q.Get("q"), maxSentence))}
	from, _, _, _ := pageOf(1<<30, advisoriesPerPage, q, "")
	filter := upgrade.AdvisoryFilter{Query: strings.TrimSpace(q.Get("q")), Limit: advisoriesPerPage, After: from}
	status := http.StatusOK
	list, err := d.cfg.Judging.Advisories(ctx, c, filter)
	if p2, ok := problem.As(err); ok && p2.Kind == problem.Invalid && p2.Rule == "query" {
		status = http.StatusBadRequest
		p.Failed, p.FailedTry = capital(shown(p2.Message, maxSentence)), shown(p2.Try, maxSentence)
		list, err = d.cfg.Judging.Advisories(ctx, c, upgrade.AdvisoryFilter{Limit: 1})
		list.Rows, list.Total = nil, 0
	}
	if err != nil {
		return err
	}
	feeds, err := d.cfg.Judging.Feeds(ctx, c)
	if err != nil {
		return err
	}
	p.At, p.Total, p.Images = moment{list.At, p.Now.at}, list.Total, len(list.Unknown)
	p.From, p.To, p.Newer, p.Older = pageOf(list.Total, advisoriesPerPage, q, p.Base+"/advisories", "q")
	p.Inputs = p.inputs(&list.Inputs)
	p.Feeds = p.feeds(feeds, list.Inputs.Old)
	p.showHeat(list.Heat)
	for i := range list.Rows {
		p.Rows = append(p.Rows, p.advisoryRow(&list.Rows[i]))
	}
	p.showUnknown(list.Unknown)
	p.NotJudged, p.MoreJudged = p.places(list.NotJudged, linesShown)
	p.offer()
	return d.render(w, r, status, "advisories", p)
}

func (p *advisoriesPage) offer() {
	for _, o := range []link{{"All open", ""}, {"Late", "state:late"}, {"Exploited", "kev:yes"}, {"Fix known", "has:fix"}, {"Critical and high", "severity:>=high"}, {"In doubt", "has:doubt"}, {"Of charts themselves", "kind:posture"}} {
		at := withQuery(p.Base+"/advisories", url.Values{})
		if o.URL != "" {
			at = p.queryURL(o.URL)
		}
		p.Presets = append(p.Presets, preset{link{o.Text, at}, p.Query == o.URL})
	}
}

func (f *frame) queryURL(q string) string {
	return withQuery(f.Base+"/advisories", url.Values{"q": {q}})
}

func (p *advisoriesPage) showHeat(rows []upgrade.EnvironmentRow) {
	p.HeatRated = !slices.ContainsFunc(rows, func(r upgrade.EnvironmentRow) bool { return unrated(r.Open) > 0 })
	for i := range rows {
		e := &rows[i]
		p.Deployments += e.Deployments
		if i >= environmentsShown {
			p.MoreHeat++
			continue
		}
		exposure := exposureWords[e.Exposure]
		row := heatRow{
			Name: named(e.Environment), Deployments: e.Deployments, Exposure: exposure, Unsure: exposure == "", Images: e.Images,
			Unknown: heatCell{N: e.Unknown, Depth: "du", URL: "#unknown"},
		}
		if row.Unknown.Blind = e.Images == 0; e.Unknown == 0 && e.Images > 0 {
			row.Unknown.Depth = "d0"
		}
		for _, s := range heatColumns {
			if s == upgrade.SeverityUnknown && p.HeatRated {
				continue
			}
			row.Cells = append(row.Cells, p.heatCell(e, s))
		}
		p.Heat = append(p.Heat, row)
	}
}

var exposureWords = map[string]string{"open": "open to everybody", "controlled": "from inside the network", "small": "strictly limited"}

// unrated are the findings to which nobody gave a severity.
func unrated(open map[manifest.Severity]int) int {
	n := 0
	for s, count := range open {
		if s.Rank() < 0 {
			n += count
		}
	}
	return n
}

// heatCell counts one severity of an environment; what is below low counts as
// low, since nothing is left out.
func (p *advisoriesPage) heatCell(e *upgrade.EnvironmentRow, s manifest.Severity) heatCell {
	var cell heatCell
	var due time.Time
	for have, n := range e.Open {
		if have == s || s == manifest.Low && have == manifest.Info || s == upgrade.SeverityUnknown && have.Rank() < 0 {
			cell.N += n
			cell.Late += e.Late[have]
			if at := e.Due[have]; !at.IsZero() && (due.IsZero() || at.Before(due)) {
				due = at
			}
		}
	}
	if !due.IsZero() && due.After(p.Now.at) {
		cell.Due = moment{due, p.Now.at}.Distance()
	}
	switch {
	case cell.N == 0:
		cell.Depth = "d0"
		if e.Images == 0 { // no image was judged: nothing is known, and that is not zero
			cell.Depth, cell.Blind = "du", true
		}
		return cell
	case s == upgrade.SeverityUnknown:
		cell.Depth = "du"
	case cell.N < 3:
		cell.Depth = "d1"
	case cell.N < 10:
		cell.Depth = "d2"
	case cell.N < 49:
		cell.Depth = "d3"
	default:
		cell.Depth = "d4"
	}
	env := e.Environment
	if env == noEnvironment {
		env = ""
	}
	if env == "" || plainWord(env) {
		cell.URL = p.queryURL("env:" + env + " severity:" + string(s))
	}
	return cell
}

// noEnvironment is what the service calls deployments without one.
const noEnvironment = "no environment"

func (f *frame) advisoryRow(r *upgrade.AdvisoryRow) advisoryRow {
	row := advisoryRow{findingView: f.finding(&r.Finding), FixedBy: shownList(r.FixedBy, linesShown)}
	row.Due = f.due(r.Due)
	row.Places, row.MorePlaces = f.places(r.Deployments, placesShown)
	for _, env := range r.Environments[:min(len(r.Environments), linesShown)] {
		row.Environments = append(row.Environments, named(env))
	}
	return row
}

// places are deployments as links, the first most of them.
func (f *frame) places(keys []string, most int) (out []link, more int) {
	for i, key := range keys {
		if i == most {
			return out, len(keys) - most
		}
		out = append(out, f.keyLink(key))
	}
	return out, 0
}

func (p *advisoriesPage) showUnknown(list []upgrade.UnknownRow) {
	for i := range list {
		if i == findingsShown {
			p.MoreUnknown = len(list) - i
			return
		}
		row := unknownRow{Image: shown(list[i].Image, maxSentence), Why: shown(list[i].Why, maxSentence)}
		row.Places, row.More = p.places(list[i].Deployments, placesShown)
		p.Unknown = append(p.Unknown, row)
	}
}

// advisoryPage is one advisory, or one finding of a chart, wherever it is open.
type advisoryPage struct {
	frame
	advisoryRow
	ID           string
	About        string // its title; Title is that of the window
	Open         bool   // somewhere; else it is lifted where the page looked
	Places       []placeRow
	Total        int
	From, To     int
	Newer, Older string
	On           link // the deployment whose decision is shown
	Decision     *decisionView
	NoDecision   string // why there is none
	Waivers      waiverList
	Inputs       inputsView
	Links        []link // records of it elsewhere
	Others       []link // the same advisory on other components
}

// placeRow is one deployment on which it is open.
type placeRow struct {
	On      link
	Known   bool
	Images  []string
	Version string
	Since   moment
	Due     dueView
	Closes  string // what closes it there
	To      link
	Why     string // URL of its decision; "" for the one that is shown
	Lifted  *liftView
}

// advisory costs all assessments, and one of each deployment that is shown.
func (d *Door) advisory(w http.ResponseWriter, r *http.Request, id string) error {
	ctx, c, q := r.Context(), server.CallerOf(r), r.URL.Query()
	if len(id) > maxLinkedName {
		return tooLong()
	}
	on := q.Get("deployment")
	row, err := d.cfg.Judging.Advisory(ctx, c, id)
	open := err == nil
	if problem.KindOf(err) == problem.NotFound && on != "" {
		// It may be lifted there, and so open nowhere.
		if e, inner := d.cfg.Judging.Explain(ctx, c, on, id); inner == nil {
			row, err = upgrade.AdvisoryRow{Finding: e.Finding, Deployments: []string{on}, Due: e.Finding.Decision.Deadline}, nil
		}
	}
	if err != nil {
		return err
	}
	base := server.ContextPath(r) + prefix
	name := named(cmp.Or(row.Finding.Advisory, row.Finding.Rule, row.Finding.Key))
	p := &advisoryPage{frame: d.frameOf(r, name, "advisories", link{"Advisories", base + "/advisories"}, link{name, ""}), ID: name, Open: open, Total: len(row.Deployments)}
	p.advisoryRow = p.frame.advisoryRow(&row)
	p.About = p.findingView.Title
	p.Links = recordLinks(&row.Finding)
	self := advisoryPath(base, id)
	if self == "" {
		self = base + "/advisories"
	}
	p.From, p.To, p.Newer, p.Older = pageOf(len(row.Deployments), placesPerPage, q, self, "id", "deployment")
	if err := d.showPlaces(ctx, c, p, &row, on, self); err != nil {
		return err
	}
	if err := d.showOtherComponents(ctx, c, p, &row.Finding, id); err != nil {
		return err
	}
	p.Waivers = d.waiverList(ctx, c, &p.frame, shown(row.Finding.Key, maxLinkedName), refusal{})
	if p.Waivers.Ask != nil && on != "" {
		p.Waivers.Ask.Deployments = globOf(on)
	}
	if err := d.showWaivers(ctx, c, &p.frame, &p.Waivers, "", row.Finding); err != nil {
		return err
	}
	return d.render(w, r, http.StatusOK, "advisory", p)
}

// showOtherComponents lists the findings of the same advisory on other
// components, where the page was asked for by a name that they share. Cost: all
// assessments.
func (d *Door) showOtherComponents(ctx context.Context, c release.Caller, p *advisoryPage, f *upgrade.Finding, id string) error {
	if id == f.Key || !plainWord(id) || strings.Contains(id, ":") {
		return nil
	}
	list, err := d.cfg.Judging.Advisories(ctx, c, upgrade.AdvisoryFilter{Query: id, Limit: linesShown})
	for i := range list.Rows {
		if o := &list.Rows[i].Finding; o.Key != f.Key && (o.Advisory == id || o.Rule == id || slices.Contains(o.Aliases, id)) {
			p.Others = append(p.Others, p.advisoryLink(o.Key))
		}
	}
	return err
}

// showPlaces fills in the deployments of a page, and the decision on the one
// that was picked, else on the most urgent of them.
func (d *Door) showPlaces(ctx context.Context, c release.Caller, p *advisoryPage, row *upgrade.AdvisoryRow, on, self string) error {
	key := row.Finding.Key
	keys := row.Deployments[p.From:p.To]
	if on != "" && !slices.Contains(keys, on) {
		keys = append([]string{on}, keys...)
	}
	var shown *upgrade.Explanation
	at := -1
	for _, k := range keys {
		place := placeRow{On: p.keyLink(k), Why: withDeployment(self, k) + "#why"}
		e, err := d.cfg.Judging.Explain(ctx, c, k, key)
		switch {
		case problem.KindOf(err) == problem.NotFound: // it was closed a moment ago, or never open there
			if !slices.Contains(row.Deployments, k) {
				continue
			}
			place.Due = dueUnknown()
		case err != nil:
			return err
		default:
			v := p.finding(&e.Finding)
			place.Known, place.Images, place.Version, place.Since, place.Due, place.Lifted = true, v.Images, v.Version, v.Since, v.Due, v.Lifted
			if shown == nil || k == on || on == "" && byTime(e.Finding.Decision.Deadline, shown.Finding.Decision.Deadline) < 0 {
				shown, at = &e, len(p.Places)
			}
		}
		if err := d.closesAt(ctx, c, p, &place, k, key); err != nil {
			return err
		}
		p.Places = append(p.Places, place)
	}
	if shown == nil {
		p.NoDecision = "Nothing says by when: it is open on none of the deployments that are shown."
		return nil
	}
	p.On, p.Places[at].Why = p.Places[at].On, ""
	p.Decision, p.Inputs = p.decide(&shown.Finding, nil), p.inputs(&shown.Inputs)
	return nil
}

func withDeployment(path, key string) string {
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	return path + sep + url.Values{"deployment": {key}}.Encode()
}

// closesAt says what closes a finding on a deployment, by its plan.
func (d *Door) closesAt(ctx context.Context, c release.Caller, p *advisoryPage, place *placeRow, deployment, key string) error {
	plan, err := d.cfg.Judging.Plan(ctx, c, deployment)
	if problem.KindOf(err) == problem.NotFound {
		place.Closes = "not planned yet"
		return nil
	}
	if err != nil {
		return err
	}
	place.To = link{"plan", p.planPath(deployment)}
	if plan.Chosen != nil && slices.Contains(plan.Chosen.Closes, key) {
		place.Closes = shown(plan.Chart+" "+plan.Chosen.Version, maxName) + ", as planned"
		return nil
	}
	for i := range plan.Candidates {
		if slices.Contains(plan.Candidates[i].Closes, key) {
			place.Closes = shown(plan.Chart+" "+plan.Candidates[i].Version, maxName)
			return nil
		}
	}
	place.Closes = "no known version of the chart"
	for i := range plan.Remedies {
		if slices.Contains(plan.Remedies[i].For, key) {
			place.Closes += "; " + remedyWord(plan.Remedies[i].Kind)
			break
		}
	}
	return nil
}

// recordLinks lead to what others say of an advisory.
func recordLinks(f *upgrade.Finding) []link {
	var out []link
	for _, id := range append([]string{f.Advisory}, f.Aliases...) {
		if len(out) == linesShown || !plainWord(id) {
			continue
		}
		switch {
		case strings.HasPrefix(id, "CVE-"):
			out = append(out, link{id, "https://www.cve.org/CVERecord?id=" + url.QueryEscape(id)})
		case strings.HasPrefix(id, "GHSA-"):
			out = append(out, link{id, "https://github.com/advisories/" + url.PathEscape(id)})
		}
	}
	return out
}
