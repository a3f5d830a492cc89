package web

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// upgradesPage answers what is waiting, in which stage, since when, and why.
type upgradesPage struct {
	frame
	Query        string
	Owner        string
	Show         string
	Shows        []choice
	State        string // of a list: one column of the board
	StateWord    string
	States       []choice
	AsList       bool
	BoardURL     string
	ListURL      string
	Columns      []boardColumn
	Rows         []upgradeRow
	Total, Found int
	Late, Soon   int
	Filtered     bool
	Cut          bool // there are more that have ended than were read
	From, To     int
	Newer, Older string
}

// boardColumn is a stage with what is in it.
type boardColumn struct {
	Word string
	N    int
	Rows []upgradeRow
	More string // URL of the rest; "" when all are shown
	Rest int
}

// upgradeRow is an upgrade on the board and in lists.
type upgradeRow struct {
	ID       int64
	On       link // its story
	Chart    string
	From, To string
	State    stateWord
	Due      dueView
	Late     bool
	Security bool
	WaitsFor string
	Since    moment
	Waiting  string // for how long
	Owner    string
	Until    moment // to which it was dismissed
	At       *slotView
}

// stateWord is a state in words.
type stateWord struct{ Value, Class, Icon, Word string }

// stages are the states of an upgrade that goes its way, with the heading of
// its column: what has been done is named by its state, and the column says
// what it waits for.
var stages = []struct {
	state  upgrade.State
	word   string
	column string
}{
	{upgrade.Seen, "seen", "New"}, {upgrade.Reviewed, "reviewed", "Reviewed"}, {upgrade.Planned, "planned", "Planned"}, {upgrade.Tested, "tested", "Tested"},
	{upgrade.Approved, "approved", "Approved"}, {upgrade.Scheduled, "scheduled", "Scheduled"}, {upgrade.Applied, "applied", "Applied, watching"},
}

func stateOfUpgrade(s upgrade.State) stateWord {
	switch s {
	case upgrade.Verified:
		return stateWord{string(s), "ok", "ok", "verified"}
	case upgrade.RolledBack:
		return stateWord{string(s), "bad", "bad", "rolled back"}
	case upgrade.Dismissed:
		return stateWord{string(s), "mute", "skip", "dismissed"}
	case upgrade.Superseded:
		return stateWord{string(s), "mute", "skip", "superseded"}
	}
	for _, st := range stages {
		if st.state == s {
			return stateWord{string(s), "mute", "wait", st.word}
		}
	}
	return stateWord{string(s), "unk", "unk", cmp.Or(shown(string(s), 64), "unknown")}
}

// What the board can be narrowed to.
const (
	showOpen  = ""
	showLate  = "late"
	showSec   = "security"
	showEnded = "ended"
)

const (
	cardsShown = 30   // in a column
	endedRead  = 1000 // upgrades that have ended
)

// upgrades costs the open upgrades, and where they are asked for, those that
// have ended.
func (d *Door) upgrades(w http.ResponseWriter, r *http.Request) error {
	ctx, c, q := r.Context(), server.CallerOf(r), r.URL.Query()
	p := &upgradesPage{frame: d.frameOf(r, "Upgrades", "upgrades")}
	get := func(name string) string { return strings.TrimSpace(shown(q.Get(name), maxName)) }
	p.Query, p.Owner, p.Show, p.State = get("q"), get("owner"), get("show"), get("state")
	p.AsList = q.Get("view") == "list" || p.State != "" || p.Show == showEnded
	p.Filtered = p.Query != "" || p.Owner != "" || p.Show != "" || p.State != ""
	filter := upgrade.UpgradeFilter{Owner: q.Get("owner"), Open: p.Show != showEnded}
	if p.Show == showEnded {
		filter.Limit = endedRead
	}
	list, err := d.cfg.Judging.Upgrades(ctx, c, filter)
	if err != nil {
		return err
	}
	p.OpenUpgrades = number(len(list))
	var rows []upgradeRow
	sorted := make([]*upgrade.Upgrade, len(list))
	for i := range list {
		sorted[i] = &list[i]
	}
	if p.Show != showEnded {
		p.mostUrgent(sorted)
	}
	for _, u := range sorted {
		if u.State.Open() == (p.Show == showEnded) {
			continue
		}
		p.Total++
		row := p.upgradeRow(u)
		if row.Late {
			p.Late++
		} else if row.Due.Class == "warn" {
			p.Soon++
		}
		if p.fits(u, &row) {
			rows = append(rows, row)
		}
	}
	if p.Show == showEnded || p.Owner != "" {
		p.OpenUpgrades = "" // not all of those that are open were read
	}
	p.Cut = p.Show == showEnded && p.Total >= endedRead
	p.Found = len(rows)
	p.offer()
	if p.AsList {
		p.From, p.To, p.Newer, p.Older = pageOf(len(rows), upgradesPerPage, q, p.Base+"/upgrades", "q", "owner", "show", "state", "view")
		p.Rows = rows[p.From:p.To]
	} else {
		p.board(rows)
	}
	return d.render(w, r, http.StatusOK, "upgrades", p)
}

func (p *upgradesPage) fits(u *upgrade.Upgrade, row *upgradeRow) bool {
	switch {
	case p.State != "" && string(u.State) != p.State, p.Show == showLate && !row.Late, p.Show == showSec && !u.Security:
		return false
	}
	text := strings.ToLower(u.Deployment + " " + u.Chart + " " + u.To + " " + u.Owner)
	return p.Query == "" || strings.Contains(text, strings.ToLower(p.Query))
}

// url is the page with its filter, but for one parameter.
func (p *upgradesPage) url(name, value string) string {
	q := url.Values{}
	for n, v := range map[string]string{"q": p.Query, "owner": p.Owner, "show": p.Show, "state": p.State} {
		if n != name && v != "" {
			q.Set(n, v)
		}
	}
	if p.AsList && name != "view" {
		q.Set("view", "list")
	}
	set(q, name, value)
	return withQuery(p.Base+"/upgrades", q)
}

func (p *upgradesPage) offer() {
	for _, s := range []choice{{showOpen, "open", false}, {showLate, "late", false}, {showSec, "for security", false}, {showEnded, "ended", false}} {
		s.Selected = s.Value == p.Show
		p.Shows = append(p.Shows, s)
	}
	p.States = append(p.States, choice{"", "any", p.State == ""})
	known := p.State == ""
	for _, st := range stages {
		known = known || string(st.state) == p.State
		p.States = append(p.States, choice{string(st.state), st.word, string(st.state) == p.State})
	}
	for _, s := range []upgrade.State{upgrade.Verified, upgrade.RolledBack, upgrade.Dismissed, upgrade.Superseded} {
		known = known || string(s) == p.State
		p.States = append(p.States, choice{string(s), stateOfUpgrade(s).Word, string(s) == p.State})
	}
	if !known {
		p.States = append(p.States, choice{p.State, p.State, true})
	}
	p.StateWord = stateOfUpgrade(upgrade.State(p.State)).Word
	p.ListURL = p.url("view", "list")
	board := *p
	board.State, board.AsList = "", false
	if board.Show == showEnded {
		board.Show = ""
	}
	p.BoardURL = board.url("view", "")
}

// board puts the rows into columns by state, in their order.
func (p *upgradesPage) board(rows []upgradeRow) {
	for _, st := range stages {
		col := boardColumn{Word: st.column}
		for i := range rows {
			if rows[i].State.Value != string(st.state) {
				continue
			}
			if col.N++; len(col.Rows) < cardsShown {
				col.Rows = append(col.Rows, rows[i])
			}
		}
		if col.Rest = col.N - len(col.Rows); col.Rest > 0 {
			col.More = p.url("state", string(st.state))
		}
		p.Columns = append(p.Columns, col)
	}
}

func (f *frame) upgradeRow(u *upgrade.Upgrade) upgradeRow {
	row := upgradeRow{
		ID: u.ID, On: link{named(u.Deployment), upgradePath(f.Base, u.ID)}, Chart: named(u.Chart), From: versioned(u.From), To: versioned(u.To),
		State: stateOfUpgrade(u.State), Due: f.dueOf(u), Security: u.Security, WaitsFor: shown(u.WaitsFor, maxSentence), Since: moment{u.Since, f.Now.at},
		Owner: shown(u.Owner, maxName), Until: moment{u.DismissedUntil, f.Now.at}, At: f.slot(u.Slot),
	}
	row.Late, row.Waiting = row.Due.Word == "late", span(f.Now.at.Sub(u.Since))
	return row
}

// dueOf is by when an upgrade is due. One by cadence is never late: no advisory
// waits for it.
func (f *frame) dueOf(u *upgrade.Upgrade) dueView {
	due := u.Due
	if due.IsZero() {
		due = u.Deadline
	}
	v := f.due(due)
	switch {
	case !u.State.Open() && !due.IsZero():
		v.Class, v.Icon, v.Word = "mute", "stale", "was due"
	case !u.Security && !due.IsZero():
		v.Class, v.Icon, v.Word = "mute", "stale", "by cadence"
	}
	return v
}

// The order in which things wait: what is late, what changed or is due soon,
// what is due, and the rest.
const (
	rankLate = iota
	rankSoon
	rankDue
	rankRest
)

func (f *frame) urgencyOf(u *upgrade.Upgrade) int {
	switch due := f.dueOf(u); {
	case due.Class == "bad":
		return rankLate
	case due.Class == "warn":
		return rankSoon
	case u.Security:
		return rankDue
	}
	return rankRest
}

// mostUrgent sorts upgrades: what nobody waits for stands behind, also where it
// is long due by cadence.
func (f *frame) mostUrgent(list []*upgrade.Upgrade) {
	slices.SortStableFunc(list, func(a, b *upgrade.Upgrade) int {
		return cmp.Or(cmp.Compare(f.urgencyOf(a), f.urgencyOf(b)), byTime(a.Due, b.Due))
	})
}

// byTime orders times, none last.
func byTime(a, b time.Time) int {
	switch {
	case a.IsZero() && b.IsZero():
		return 0
	case a.IsZero():
		return 1
	case b.IsZero():
		return -1
	}
	return a.Compare(b)
}

// upgradePage is the whole story of one upgrade.
type upgradePage struct {
	frame
	upgradeRow
	Deployment   link
	Stages       []stageView
	Ended        bool
	Deadline     dueView // that of what it closes or should close
	Ticket       link
	Archive      string
	Review       *reviewView
	NoReview     string
	Plan         *planBrief
	NoPlan       string
	MayPlan      bool
	MayDismiss   bool
	Failed       *failedForm
	Reason       string // as typed into the form
	UntilTyped   string
	UntilDefault string
	Waivers      waiverList
	Reviews      reviewsView
	StepRows     []stepRow
	MoreSteps    int
	Scale        *scale // by cadence, without a decision that sets a deadline
}

// stageView is a step of the strip.
type stageView struct {
	Class, Icon, Word, Said string
	Lines                   []string
	Current                 bool
}

// planBrief is the newest plan of the deployment, as far as an upgrade needs it.
type planBrief struct {
	planRow
	Digest    string
	Same      bool // it chose the version of the upgrade
	Accepted  bool // this very plan was accepted
	Other     bool // another one was
	MayAccept bool // the state allows it
	Tests     string
	Approvals []string
	Made      moment
}

type stepRow struct {
	Time   moment
	State  stateWord
	By     string
	Text   string
	Log    int64
	LogURL string
}

func (d *Door) upgrade(w http.ResponseWriter, r *http.Request, id int64, ref refusal) error {
	ctx, c := r.Context(), server.CallerOf(r)
	u, err := d.cfg.Judging.Upgrade(ctx, c, id)
	if err != nil {
		return err
	}
	base := server.ContextPath(r) + prefix
	title := shown(u.Deployment, maxName) + " to " + shown(u.To, maxName)
	p := &upgradePage{
		frame: d.frameOf(r, title, "upgrades", link{"Upgrades", base + "/upgrades"}, link{strconv.FormatInt(id, 10), ""}),
		Ended: !u.State.Open(), Archive: shown(u.Archive, maxName), Failed: ref.view(), Ticket: link{shown(u.Ticket, maxName), webURL(shorten(u.Ticket, maxSentence))},
		MayPlan:    d.can(ctx, c, access.UpgradePlan, "", "", false),
		MayDismiss: d.can(ctx, c, access.UpgradeApprove, "", "", false) && u.State.Open(),
	}
	p.upgradeRow = p.frame.upgradeRow(&u)
	p.Deployment, p.Deadline = p.keyLink(u.Deployment), p.due(u.Deadline)
	p.UntilDefault = p.Now.at.UTC().AddDate(0, 1, 0).Format(time.DateOnly)
	if ref.form == "dismiss" {
		p.Reason, p.UntilTyped = typed(ref.typed.Get("reason")), shown(ref.typed.Get("until"), 64)
	}
	p.Stages = p.strip(&u)
	p.showSteps(&u)
	if err := d.showReview(ctx, c, p, &u, r.URL.Query().Get("finding"), ref); err != nil {
		return err
	}
	if err := d.showPlan(ctx, c, p, &u); err != nil {
		return err
	}
	if err := d.waiversOf(ctx, c, p, &u); err != nil {
		return err
	}
	if err := d.reviewsOf(ctx, c, p, &u, ref); err != nil {
		return err
	}
	if p.Review == nil || p.Review.Decision == nil {
		p.Scale = p.timeScale(u.Since, cmp.Or(u.Due, u.Deadline), u.Slot, "in this state", "due")
	}
	return d.render(w, r, ref.statusOr(http.StatusOK), "upgrade", p)
}

// showReview fills in the review that the upgrade stands on.
func (d *Door) showReview(ctx context.Context, c release.Caller, p *upgradePage, u *upgrade.Upgrade, picked string, ref refusal) error {
	if u.Review == "" {
		p.NoReview = "This version could not be reviewed for this deployment, or was not yet."
		return nil
	}
	review, err := d.cfg.Judging.Review(ctx, c, u.Review)
	if problem.KindOf(err) == problem.NotFound {
		p.NoReview = "The review " + shortDigest(u.Review) + " is not there any more."
		return nil
	}
	if err != nil {
		return err
	}
	p.Review = d.reviewView(ctx, c, &p.frame, &review, p.On.URL, picked, u.Slot, ref)
	p.Review.Upgrade = u.ID
	return nil
}

// showPlan fills in the newest plan of the deployment.
func (d *Door) showPlan(ctx context.Context, c release.Caller, p *upgradePage, u *upgrade.Upgrade) error {
	x, err := d.cfg.Judging.Plan(ctx, c, u.Deployment)
	if problem.KindOf(err) == problem.NotFound {
		p.NoPlan = "There is no plan of this deployment."
		return nil
	}
	if err != nil {
		return err
	}
	b := &planBrief{
		planRow: p.planRow(&x), Digest: shown(x.Digest, maxName), Same: x.Chosen != nil && x.Chosen.Version == u.To, Accepted: u.Plan != "" && u.Plan == x.Digest,
		Other: u.Plan != "" && u.Plan != x.Digest, Tests: strings.ReplaceAll(shown(x.Tests, 64), "-", " "), Made: moment{x.Made, p.Now.at},
	}
	b.MayAccept = b.Same && !b.Accepted && (u.State == upgrade.Reviewed || u.State == upgrade.Planned)
	for _, role := range x.Approvals {
		b.Approvals = append(b.Approvals, roleOf(role).Word)
	}
	p.Plan = b
	return nil
}

// strip shows the eight steps. What lies before the present state and has no
// step of its own was skipped; what lies behind it has not begun, also where an
// earlier round had come that far.
func (p *upgradePage) strip(u *upgrade.Upgrade) []stageView {
	all := append(slices.Clone(stages), struct {
		state  upgrade.State
		word   string
		column string
	}{upgrade.Verified, "verified", ""})
	last := map[upgrade.State]*upgrade.Step{}
	at := -1
	for i := range u.Steps {
		s := &u.Steps[i]
		last[s.State] = s
	}
	for i, st := range all {
		if st.state == u.State || !u.State.Open() && u.State != upgrade.Verified && last[st.state] != nil {
			at = i
		}
	}
	var out []stageView
	for i, st := range all {
		v := stageView{Word: capital(st.word)}
		step := last[st.state]
		switch {
		case i <= at && step != nil:
			v.Class, v.Icon, v.Said = "done", "ok", "done"
			v.Lines = []string{step.Time.UTC().Format("2 Jan 15:04Z"), shown(cmp.Or(step.ByName, step.By), maxName)}
		case i == at:
			v.Class, v.Icon, v.Said = "done", "ok", "done"
		case i < at:
			v.Class, v.Icon, v.Said, v.Lines = "skipped", "skip", "skipped", []string{"skipped"}
		case i == at+1 && u.State == upgrade.RolledBack:
			v.Class, v.Icon, v.Said, v.Lines = "late", "bad", "stopped", []string{"rolled back " + u.Since.UTC().Format("2 Jan 15:04Z")}
		case i == at+1 && p.Ended:
			v.Class, v.Icon, v.Said, v.Lines = "skipped", "skip", "ended here", []string{p.State.Word + " " + u.Since.UTC().Format("2 Jan 15:04Z")}
		case i == at+1:
			v.Class, v.Icon, v.Said, v.Current = "now", "now", "waits", true
			v.Lines = []string{"since " + u.Since.UTC().Format("2 Jan 15:04Z")}
		default:
			v.Class, v.Icon, v.Said = "todo", "todo", "not begun"
		}
		out = append(out, v)
	}
	return out
}

const stepsShown = 100

// showSteps lists what happened, the newest first.
func (p *upgradePage) showSteps(u *upgrade.Upgrade) {
	for i := len(u.Steps) - 1; i >= 0; i-- {
		if len(p.StepRows) == stepsShown {
			p.MoreSteps = i + 1
			return
		}
		s := &u.Steps[i]
		row := stepRow{Time: moment{s.Time, p.Now.at}, State: stateOfUpgrade(s.State), By: shown(cmp.Or(s.ByName, s.By), maxName), Text: said(s.Text, 2*maxSentence), Log: s.LogIndex}
		if s.LogIndex > 0 {
			row.LogURL = leafPath(p.Base, s.LogIndex)
		}
		p.StepRows = append(p.StepRows, row)
	}
}

// accept takes the slot of the plan that was read.
func (d *Door) accept(w http.ResponseWriter, r *http.Request, id int64) error {
	ctx, c := r.Context(), server.CallerOf(r)
	u, err := d.cfg.Judging.Upgrade(ctx, c, id)
	if err != nil {
		return err
	}
	if _, err := d.cfg.Judging.AcceptPlan(ctx, c, u.Deployment, r.PostForm.Get("plan")); err != nil {
		if ref, ok := refused("accept", err, r.PostForm); ok {
			return d.upgrade(w, r, id, ref)
		}
		return err
	}
	return redirect(w, r, upgradePath("", id))
}

// dismiss ends an upgrade with a reason, until a day.
func (d *Door) dismiss(w http.ResponseWriter, r *http.Request, id int64) error {
	ctx, c := r.Context(), server.CallerOf(r)
	until, _ := time.Parse(time.DateOnly, strings.TrimSpace(r.PostForm.Get("until"))) // a zero one is refused with what is needed
	if _, err := d.cfg.Judging.DismissUpgrade(ctx, c, id, r.PostForm.Get("reason"), until); err != nil {
		if ref, ok := refused("dismiss", err, r.PostForm); ok {
			return d.upgrade(w, r, id, ref)
		}
		return err
	}
	return redirect(w, r, upgradePath("", id))
}
