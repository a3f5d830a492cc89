package web

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// planPage answers what to do about every deployment, and by when.
type planPage struct {
	frame
	Query        string
	Action       string
	Actions      []choice
	Rows         []planRow
	Total, Found int
	Missing      int // deployments that were judged, and have no plan yet
	Counts       []actionCount
	From, To     int
	Newer, Older string
	Windows      []windowRow
	MoreWindows  int
	Picture      *calendarPicture
	Subscribe    string // URL of the calendar for programs
	AgendaURL    string
	Owner        string // chooses what the calendar and the agenda hold
}

type actionCount struct {
	actionView
	N   int
	URL string
}

// planRow is what to do about one deployment.
type planRow struct {
	On        link
	Chart     string
	From      string
	Plan      string // URL of the whole plan
	Action    actionView
	Text      string
	To        string
	Due       dueView
	Slot      *slotView
	Emergency string
	Effort    *effortView
	Remedies  []remedyView
	More      int // remedies
	Doubts    int
}

// actionView is what a plan says to do, in words.
type actionView struct{ Value, Class, Icon, Word string }

// actions are in the order of the filter.
var actions = []actionView{
	{upgrade.ActUpgrade, "warn", "warn", "upgrade"},
	{upgrade.ActRemedy, "bad", "bad", "no fixed chart"},
	{upgrade.ActCadence, "mute", "stale", "by cadence"},
	{upgrade.ActWait, "mute", "ok", "nothing to do"},
	{upgrade.ActUnknown, "unk", "unk", "cannot be told"},
}

func actionOf(s string) actionView {
	if i := slices.IndexFunc(actions, func(a actionView) bool { return a.Value == s }); i >= 0 {
		return actions[i]
	}
	return actionView{s, "unk", "unk", cmp.Or(shown(s, 64), "cannot be told")}
}

// slotView is a time in which a deployment may be changed.
type slotView struct {
	Window     string
	Start, End moment
}

func (f *frame) slot(s *calendar.Slot) *slotView {
	if s == nil {
		return nil
	}
	return &slotView{shown(s.Window, maxName), moment{s.Start, f.Now.at}, moment{s.End, f.Now.at}}
}

// remedyView is something else than another version of the chart.
type remedyView struct {
	Word, Text    string
	For           []string
	More          int
	Many          bool // more than a line of them
	Image, Target string
	Values        string
	Verified      string
}

var remedyWords = map[string]string{
	"override-image": "override the image", "mitigate": "mitigate", "move-away": "move away", "map-image": "map the image",
}

func remedyWord(kind string) string { return cmp.Or(remedyWords[kind], shown(kind, 64)) }

func (f *frame) remedies(list []upgrade.Remedy, most int) (out []remedyView, more int) {
	for i := range list {
		if i == most {
			return out, len(list) - most
		}
		r := &list[i]
		out = append(out, remedyView{
			Word: remedyWord(r.Kind), Text: shown(r.Text, maxSentence), For: shownList(r.For, linesShown), More: max(0, len(r.For)-linesShown), Many: len(r.For) > placesShown,
			Image: shown(r.Image, maxSentence), Target: shown(r.Target, maxSentence), Values: plainText([]byte(shorten(r.Values, maxNote))), Verified: shown(r.Verified, maxSentence),
		})
	}
	return out, 0
}

// plan costs all plans and summaries.
func (d *Door) plan(w http.ResponseWriter, r *http.Request) error {
	ctx, c, q := r.Context(), server.CallerOf(r), r.URL.Query()
	if key := q.Get("deployment"); key != "" {
		return d.planOf(w, r, key)
	}
	list, err := d.cfg.Judging.Plans(ctx, c)
	if err != nil {
		return err
	}
	status, err := d.cfg.Judging.Status(ctx, c, "")
	if err != nil {
		return err
	}
	windows, err := d.cfg.Judging.Windows(ctx, c)
	if err != nil {
		return err
	}
	p := &planPage{frame: d.frameOf(r, "Plan", "plan"), Total: len(list), Missing: max(0, len(status.Rows)-len(list))}
	p.Query, p.Action = strings.TrimSpace(shown(q.Get("q"), maxName)), shown(q.Get("action"), 64)
	p.Owner = strings.TrimSpace(shown(q.Get("owner"), maxName))
	of := url.Values{}
	set(of, "owner", p.Owner)
	p.Subscribe, p.AgendaURL = withQuery(server.BaseURL(r)+"/api/v1/calendar.ics", of), withQuery(p.Base+"/agenda", of)
	owners := map[string]string{}
	for i := range status.Rows {
		owners[status.Rows[i].Deployment] = status.Rows[i].Owner
	}
	var fit []*upgrade.Plan
	var slots, dues []time.Time
	counts := map[string]int{}
	for i := range list {
		x := &list[i]
		if !p.fits(x, owners[x.Deployment]) {
			continue
		}
		counts[x.Action]++
		if p.Action == "" || p.Action == x.Action {
			fit = append(fit, x)
			if x.Slot != nil {
				slots = append(slots, x.Slot.Start)
			}
			dues = append(dues, x.Due)
		}
	}
	p.Found = len(fit)
	p.offer(counts)
	p.From, p.To, p.Newer, p.Older = pageOf(p.Found, plansPerPage, q, p.Base+"/plan", "q", "action", "owner")
	for _, x := range fit[p.From:p.To] {
		p.Rows = append(p.Rows, p.planRow(x))
	}
	p.Windows, p.MoreWindows = p.windows(windows)
	p.Picture = drawCalendar(p.Windows, slots, dues, p.Now.at)
	return d.render(w, r, http.StatusOK, "plan", p)
}

func (p *planPage) fits(x *upgrade.Plan, owner string) bool {
	if p.Owner != "" && owner != p.Owner {
		return false
	}
	text := strings.ToLower(x.Deployment + " " + x.Chart + " " + owner)
	return p.Query == "" || strings.Contains(text, strings.ToLower(p.Query))
}

func (p *planPage) offer(counts map[string]int) {
	p.Actions = append(p.Actions, choice{"", "everything", p.Action == ""})
	known := p.Action == ""
	for _, a := range actions {
		known = known || p.Action == a.Value
		p.Actions = append(p.Actions, choice{a.Value, a.Word, p.Action == a.Value})
		q := url.Values{"action": {a.Value}}
		set(q, "q", p.Query)
		set(q, "owner", p.Owner)
		p.Counts = append(p.Counts, actionCount{a, counts[a.Value], withQuery(p.Base+"/plan", q)})
	}
	if !known {
		p.Actions = append(p.Actions, choice{p.Action, p.Action, true})
	}
}

func (f *frame) planRow(x *upgrade.Plan) planRow {
	row := planRow{
		On: f.keyLink(x.Deployment), Chart: named(x.Chart), From: versioned(x.From), Plan: f.planPath(x.Deployment), Action: actionOf(x.Action),
		Text: shown(x.Text, maxSentence), Due: f.due(x.Due), Slot: f.slot(x.Slot), Emergency: shown(x.Emergency, maxSentence), Doubts: len(x.Doubts),
	}
	if x.Action == upgrade.ActUnknown && x.Due.IsZero() {
		row.Due = dueUnknown()
	}
	if x.Action == upgrade.ActCadence && row.Due.Word == "late" {
		row.Due.Class, row.Due.Icon, row.Due.Word = "mute", "stale", "by cadence"
	}
	if x.Chosen != nil {
		row.To = versioned(x.Chosen.Version)
		e := f.effort(&x.Chosen.Effort)
		row.Effort = &e
	}
	if x.Action == upgrade.ActRemedy {
		row.Remedies, row.More = f.remedies(x.Remedies, placesShown)
	}
	return row
}

// windowRow is a window or a freeze, with when it opens next.
type windowRow struct {
	Name      string
	Freeze    bool
	Schedule  string
	Zone      string
	Duration  string
	For       string
	Reason    string
	Security  bool // security upgrades may pass a freeze
	Openings  []slotView
	Shut      bool // it does not open within the time of the picture
	slots     []calendar.Slot
	firstOpen time.Time
}

// windows lists windows and freezes, those that open first before the others.
func (f *frame) windows(list []calendar.Window) (out []windowRow, more int) {
	now := f.Now.at
	for i := range list {
		w := &list[i]
		row := windowRow{
			Name: named(w.Name), Freeze: w.Freeze, Schedule: shown(w.Schedule, maxName), Zone: cmp.Or(shown(w.Zone, maxName), "UTC"), Duration: shown(w.Duration, 64),
			Reason: shown(w.Reason, maxSentence), Security: w.Security, slots: w.Openings(now, now.Add(calendarTime), findingsShown),
		}
		for _, o := range row.slots[:min(len(row.slots), placesShown)] {
			row.Openings = append(row.Openings, slotView{"", moment{o.Start, now}, moment{o.End, now}})
		}
		if row.Shut = len(row.slots) == 0; !row.Shut {
			row.firstOpen = row.slots[0].Start
		}
		var meant []string
		for _, globs := range [][]string{w.Environments, w.Deployments} {
			meant = append(meant, shownList(globs, linesShown)...)
		}
		row.For = strings.Join(meant, ", ")
		out = append(out, row)
	}
	slices.SortStableFunc(out, func(a, b windowRow) int {
		switch {
		case a.Shut != b.Shut && a.Shut:
			return 1
		case a.Shut != b.Shut:
			return -1
		}
		return cmp.Or(a.firstOpen.Compare(b.firstOpen), strings.Compare(a.Name, b.Name))
	})
	if len(out) > maxEvidence {
		out, more = out[:maxEvidence], len(out)-maxEvidence
	}
	return out, more
}

// planOfPage is the whole plan of one deployment.
type planOfPage struct {
	frame
	planRow
	Digest     string
	Made       moment
	Open       int
	Deadline   dueView
	SetBy      link
	Candidates []candidateRow
	MoreCands  int
	All        []remedyView
	MoreAll    int
	Tests      string
	Approvals  []string
	DoubtList  []string
	Inputs     inputsView
	Upgrade    link // its story; "" where there is none
	Scale      *scale
}

// candidateRow is a version that a deployment could move to.
type candidateRow struct {
	Version                                string
	FirstSeen                              moment
	Compared                               bool
	Closed, Introduced, Remaining, Unknown int
	Effort                                 effortView
	Meets, Chosen, Newest                  bool
	Why                                    string
	Review                                 link
	ReviewState                            stateWord
	Archive                                string
	Published                              string
}

const candidatesShown = 50

func (d *Door) planOf(w http.ResponseWriter, r *http.Request, key string) error {
	ctx, c := r.Context(), server.CallerOf(r)
	if len(key) > maxLinkedName {
		return tooLong()
	}
	x, err := d.cfg.Judging.Plan(ctx, c, key)
	if err != nil {
		return err
	}
	base := server.ContextPath(r) + prefix
	p := &planOfPage{
		frame:  d.frameOf(r, "Plan of "+shown(x.Deployment, maxName), "plan", link{"Plan", base + "/plan"}, link{named(x.Deployment), ""}),
		Digest: shown(x.Digest, maxName), Open: x.Open, Tests: strings.ReplaceAll(shown(x.Tests, 64), "-", " "),
		DoubtList: shownList(x.Doubts, maxEvidence),
	}
	p.planRow = p.frame.planRow(&x)
	p.Made, p.Deadline = moment{x.Made, p.Now.at}, p.due(x.Deadline)
	if x.SetBy != "" {
		p.SetBy = p.advisoryLink(x.SetBy)
		if p.SetBy.URL != "" {
			p.SetBy.URL = withDeployment(p.SetBy.URL, x.Deployment)
		}
	}
	p.All, p.MoreAll = p.remedies(x.Remedies, maxEvidence)
	for _, role := range x.Approvals {
		p.Approvals = append(p.Approvals, roleOf(role).Word)
	}
	p.Inputs = p.inputs(&x.Inputs)
	p.showCandidates(&x)
	end, word := x.Deadline, deadlineWord
	if end.IsZero() {
		end, word = x.Due, "due"
	}
	if !end.IsZero() || x.Slot != nil {
		p.Scale = p.timeScale(time.Time{}, end, x.Slot, "", word)
	}
	if p.Upgrade, err = d.upgradeOf(ctx, c, &p.frame, &x); err != nil {
		return err
	}
	return d.render(w, r, http.StatusOK, "plan-deployment", p)
}

// upgradeOf is the story of what a plan chose, if it has begun.
func (d *Door) upgradeOf(ctx context.Context, c release.Caller, f *frame, x *upgrade.Plan) (link, error) {
	if x.Chosen == nil {
		return link{}, nil
	}
	list, err := d.cfg.Judging.Upgrades(ctx, c, upgrade.UpgradeFilter{Deployment: x.Deployment, Open: true})
	if err != nil {
		return link{}, err
	}
	for i := range list {
		if list[i].To == x.Chosen.Version {
			return link{stateOfUpgrade(list[i].State).Word, upgradePath(f.Base, list[i].ID)}, nil
		}
	}
	return link{}, nil
}

// showCandidates lists the versions, the newest first.
func (p *planOfPage) showCandidates(x *upgrade.Plan) {
	for i := len(x.Candidates) - 1; i >= 0; i-- {
		if len(p.Candidates) == candidatesShown {
			p.MoreCands = i + 1
			return
		}
		k := &x.Candidates[i]
		row := candidateRow{
			Version: versioned(k.Version), FirstSeen: moment{k.FirstSeen, p.Now.at}, Compared: compared(k),
			Closed: k.Closed, Introduced: k.Introduced, Remaining: k.Remaining, Unknown: k.Unknown, Effort: p.effort(&k.Effort), Meets: k.Meets, Why: shown(k.Why, maxSentence),
			Archive: shown(k.Archive, maxName), Chosen: x.Chosen != nil && x.Chosen.Version == k.Version, Newest: x.Newest != nil && x.Newest.Version == k.Version,
			Published: shown(cmp.Or(k.Upstream, k.Project), maxName),
		}
		if k.Review != "" {
			row.Review, row.ReviewState = link{shortDigest(k.Review), reviewPath(p.Base, k.Review)}, stateOfReview(k.Reviewed)
		}
		p.Candidates = append(p.Candidates, row)
	}
}

// compared reports whether anything is known of what a version would do: else
// its counts are not zero but unknown.
func compared(k *upgrade.Candidate) bool {
	return len(k.Images) > 0 || len(k.Effort.Parts) == 0 || k.Effort.Parts[0].Finding.Rule != "compared-as-text"
}

// agendaPage is the agenda of the planning meeting, as Markdown.
type agendaPage struct {
	frame
	Owner string
	Text  string
	API   string
}

func (d *Door) agenda(w http.ResponseWriter, r *http.Request) error {
	owner := r.URL.Query().Get("owner")
	text, err := d.cfg.Judging.Agenda(r.Context(), server.CallerOf(r), owner)
	if err != nil {
		return err
	}
	base := server.ContextPath(r) + prefix
	p := &agendaPage{frame: d.frameOf(r, "Agenda", "plan", link{"Plan", base + "/plan"}, link{"Agenda", ""}), Owner: shown(owner, maxName), Text: plainText([]byte(text))}
	q := url.Values{}
	set(q, "owner", owner)
	p.API = withQuery(server.BaseURL(r)+"/api/v1/agenda", q)
	return d.render(w, r, http.StatusOK, "plan-agenda", p)
}

func (d *Door) calendar(w http.ResponseWriter, r *http.Request) error {
	file, err := d.cfg.Judging.Calendar(r.Context(), server.CallerOf(r), r.URL.Query().Get("owner"))
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/calendar; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="chartkeep.ics"`)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = w.Write(file)
	return err
}

// judgedView is what was found out about one deployment, on its page.
type judgedView struct {
	NotYet    string // why nothing is known
	At        moment
	NotJudged string
	Open      []severityCount
	Total     int
	Deadline  dueView
	Findings  findingList
	Lifted    []findingView
	MoreLift  int
	Unknown   []unknownRow
	MoreUnk   int
	Images    int
	UnknownN  int
	Plan      *planRow
	Doubts    []string
	Story     link
}

type severityCount struct {
	severityMark
	N int
}

const openShown = 10

// judged is nil where the judgement is not offered. Cost: the assessment and
// the plan of the deployment.
func (d *Door) judged(ctx context.Context, c release.Caller, f *frame, key string) (*judgedView, error) {
	if d.cfg.Judging == nil {
		return nil, nil
	}
	a, err := d.cfg.Judging.Assessment(ctx, c, key)
	if p, ok := problem.As(err); ok && (p.Kind == problem.NotFound || p.Kind == problem.Unavailable) {
		return &judgedView{NotYet: sentence(shown(p.Message, maxSentence))}, nil
	}
	if err != nil {
		return nil, err
	}
	v := &judgedView{At: moment{a.At, f.Now.at}, NotJudged: shown(a.NotJudged, maxSentence), Total: len(a.Findings), Deadline: f.due(a.Deadline), Images: a.Images, UnknownN: len(a.Unknown), Doubts: shownList(a.Doubts, linesShown)}
	if a.NotJudged != "" && a.Deadline.IsZero() {
		v.Deadline = dueUnknown()
	}
	open := a.Summary().Open
	for _, s := range heatColumns {
		if n := open[s]; n > 0 {
			v.Open = append(v.Open, severityCount{severityOf(s), n})
		}
	}
	on := func(list []upgrade.Finding, most int) findingList {
		out := f.findings(list[:min(len(list), most)], a.SetBy, "", nil)
		for i := range out.Rows {
			if at := out.Rows[i].Key.URL; at != "" {
				out.Rows[i].Key.URL = withDeployment(at, key)
			}
		}
		out.More = len(list) - len(out.Rows)
		return out
	}
	v.Findings = on(a.Findings, openShown)
	lifted := on(a.Lifted, openShown)
	v.Lifted, v.MoreLift = lifted.Rows, lifted.More
	v.Unknown, v.MoreUnk = f.unknowns(a.Unknown, openShown)
	x, err := d.cfg.Judging.Plan(ctx, c, key)
	if problem.KindOf(err) == problem.NotFound {
		return v, nil
	}
	if err != nil {
		return nil, err
	}
	row := f.planRow(&x)
	v.Plan = &row
	v.Story, err = d.upgradeOf(ctx, c, f, &x)
	return v, err
}
