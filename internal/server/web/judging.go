package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/decision"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/upgrade"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// Judging is what the pages ask of the judgement; *upgrade.Service satisfies
// it. The rules of Service hold for its methods, too.
type Judging interface {
	Feeds(ctx context.Context, c audit.Caller) ([]upgrade.Feed, error)
	// MatchImages says with its answer which states are judged from now.
	MatchImages(ctx context.Context, c audit.Caller, images []string) ([]advisory.ImageMatch, upgrade.Inputs, error)
	Advisories(ctx context.Context, c audit.Caller, f upgrade.AdvisoryFilter) (upgrade.AdvisoryList, error)
	Advisory(ctx context.Context, c audit.Caller, id string) (upgrade.AdvisoryRow, error)
	Assessment(ctx context.Context, c audit.Caller, deployment string) (upgrade.Assessment, error)
	Explain(ctx context.Context, c audit.Caller, deployment, finding string) (upgrade.Explanation, error)
	Waivers(ctx context.Context, c audit.Caller, all bool) ([]upgrade.Waiver, error)
	RequestWaiver(ctx context.Context, c audit.Caller, n upgrade.NewWaiver) (upgrade.Waiver, error)
	ApproveWaiver(ctx context.Context, c audit.Caller, id int64) (upgrade.Waiver, error)
	EndWaiver(ctx context.Context, c audit.Caller, id int64) (upgrade.Waiver, error)

	// MakeReview reviews a version for a deployment; "" is the version that the
	// plan chose.
	MakeReview(ctx context.Context, c audit.Caller, deployment, version string) (upgrade.Review, error)
	// Reviews lists reviews, the newest first, without their details.
	Reviews(ctx context.Context, c audit.Caller, f upgrade.ReviewFilter) ([]upgrade.Review, error)
	Review(ctx context.Context, c audit.Caller, digest string) (upgrade.Review, error)
	SignReview(ctx context.Context, c audit.Caller, digest string, s upgrade.Sign) (upgrade.Review, error)

	Plans(ctx context.Context, c audit.Caller) ([]upgrade.Plan, error)
	Plan(ctx context.Context, c audit.Caller, deployment string) (upgrade.Plan, error)
	AcceptPlan(ctx context.Context, c audit.Caller, deployment, digest string) (upgrade.Upgrade, error)
	Agenda(ctx context.Context, c audit.Caller, owner string) (markdown string, err error)
	Calendar(ctx context.Context, c audit.Caller, owner string) (ics []byte, err error)
	Windows(ctx context.Context, c audit.Caller) ([]calendar.Window, error)

	Status(ctx context.Context, c audit.Caller, owner string) (upgrade.Status, error)
	Upgrades(ctx context.Context, c audit.Caller, f upgrade.UpgradeFilter) ([]upgrade.Upgrade, error)
	Upgrade(ctx context.Context, c audit.Caller, id int64) (upgrade.Upgrade, error)
	DismissUpgrade(ctx context.Context, c audit.Caller, id int64, reason string, until time.Time) (upgrade.Upgrade, error)
	Practice(ctx context.Context, c audit.Caller, since time.Time) (upgrade.Practice, error)
}

// judgement serves the pages of the judgement.
func (d *Door) judgement(w http.ResponseWriter, r *http.Request, req request) error {
	if d.cfg.Judging == nil {
		return noPage(r.URL.Path)
	}
	switch req.page {
	case pageAdvisories:
		return d.advisories(w, r)
	case pageAdvisory:
		return d.advisory(w, r, req.advisory)
	case pageUpgrades:
		return d.upgrades(w, r)
	case pageUpgrade:
		return d.upgrade(w, r, req.index, refusal{})
	case pageReview:
		return d.review(w, r, req.review, refusal{})
	case pageWaivers:
		return d.waivers(w, r, refusal{})
	case pagePlan:
		return d.plan(w, r)
	case pagePlanOf:
		return d.planOf(w, r, req.deployment)
	case pageAgenda:
		return d.agenda(w, r)
	case pageCalendar:
		return d.calendar(w, r)
	case pagePractice:
		return d.practice(w, r)
	}
	return fmt.Errorf("serve %s: page %d has no handler", r.URL.Path, req.page)
}

// judge does what a form of the judgement asks for.
func (d *Door) judge(w http.ResponseWriter, r *http.Request, req request) error {
	if d.cfg.Judging == nil {
		return noPage(r.URL.Path)
	}
	if err := r.ParseForm(); err != nil {
		return badForm(err)
	}
	switch req.page {
	case pageSign:
		return d.sign(w, r, req.review)
	case pageAccept:
		return d.accept(w, r, req.index)
	case pageAskReview:
		return d.askReview(w, r, req.index)
	case pageWaivers:
		return d.setWaiver(w, r)
	}
	return d.dismiss(w, r, req.index)
}

// mayJudge reports whether the pages of the judgement are offered to a caller.
func (d *Door) mayJudge(ctx context.Context, c release.Caller) bool {
	return d.cfg.Judging != nil && d.can(ctx, c, access.WatchRead, "", "", false)
}

// Bounds of what the pages of the judgement show. What is cut is said.
const (
	dueSoon           = 72 * time.Hour // before a deadline it is marked
	findingsShown     = 100            // in one list
	linesShown        = 50             // in short lists
	advisoriesPerPage = 100
	upgradesPerPage   = 100
	plansPerPage      = 100
	placesPerPage     = 25 // deployments of one advisory: each costs its assessment
)

// dueView is a time by which something has to be done, with how urgent that is.
type dueView struct {
	moment
	Class, Icon, Word string
}

func (f *frame) due(t time.Time) dueView {
	v := dueView{moment{t, f.Now.at}, "mute", "stale", "due"}
	switch {
	case t.IsZero():
		v.Icon, v.Word = "skip", "no deadline"
	case v.Past():
		v.Class, v.Icon, v.Word = "bad", "warn", "late"
	case t.Sub(f.Now.at) <= dueSoon:
		v.Class, v.Icon = "warn", "warn"
	}
	return v
}

// dueUnknown is a deadline that could not be worked out.
func dueUnknown() dueView { return dueView{Class: "unk", Icon: "unk", Word: "deadline unknown"} }

// severityOf marks a severity; one that nobody gave is unknown.
func severityOf(s manifest.Severity) severityMark { return markOf(watch.Severity(s)) }

// findingView is one thing that is open, in a list or on its page.
type findingView struct {
	Severity   severityMark
	Key        link
	Kind       string
	Title      string
	Advisory   string
	Aliases    []string
	Score      string // "" where there is none
	Exploited  exploitedView
	EPSS       string // "" where it is not known
	Chart      bool   // it is about the chart itself: nobody exploits it or gives it a probability
	Images     []string
	MoreImages int
	Component  string
	Version    string
	Confidence string
	Fixed      []string
	MoreFixed  int
	Workaround string
	Rule       string
	Object     string
	Doubts     []string
	Since      moment
	Due        dueView
	Tier       string
	Lifted     *liftView
	Why        string // URL of its rules; "" where they stand elsewhere
	Sets       bool   // the deadline of what the page is about
	Picked     bool   // its rules are shown on the page
}

// exploitedView says whether an advisory is exploited, and who says so.
type exploitedView struct{ Class, Icon, Word string }

var findingKinds = map[upgrade.FindingKind]string{
	upgrade.OfAdvisory: "advisory on what an image holds", upgrade.OfChartAdvisory: "advisory on the chart itself",
	upgrade.OfPosture: "posture of what is rendered", upgrade.OfHardening: "hardening that a newer version offers",
}

var confidences = map[advisory.Confidence]string{
	advisory.Certain: "certain", advisory.Likely: "likely, by the name of the image", advisory.Weak: "weak, by the name of the image alone",
}

func (f *frame) finding(x *upgrade.Finding) findingView {
	v := findingView{
		Severity: severityOf(x.Severity), Key: f.advisoryLink(x.Key), Kind: cmp.Or(findingKinds[x.Kind], shown(string(x.Kind), 64)),
		Title: shown(x.Title, maxSentence), Advisory: shown(x.Advisory, maxName), Aliases: shownList(x.Aliases, linesShown),
		Chart: x.Kind != upgrade.OfAdvisory, Component: shown(x.Component, maxName), Version: shown(x.Version, maxName),
		Confidence: cmp.Or(confidences[x.Confidence], shown(string(x.Confidence), 64)), Fixed: shownList(x.Fixed, linesShown), MoreFixed: max(0, len(x.Fixed)-linesShown),
		Images: shownList(x.Images, linesShown), MoreImages: max(0, len(x.Images)-linesShown),
		Workaround: shown(x.Workaround, maxSentence), Rule: shown(x.Rule, maxName), Object: shown(x.Object, maxName),
		Since: moment{x.Since, f.Now.at}, Due: f.due(x.Decision.Deadline), Tier: shown(x.Decision.Tier, 64), Exploited: exploitedOf(x),
	}
	if x.Score > 0 {
		v.Score = strconv.FormatFloat(x.Score, 'f', 1, 64)
	}
	if x.EPSS != nil {
		v.EPSS = strconv.FormatFloat(*x.EPSS, 'f', 3, 64)
	}
	if x.Decision.Lifted != nil {
		v.Lifted = f.lift(x.Decision.Lifted)
		v.Due.Word = "lifted"
	}
	if x.Doubt != "" {
		v.Doubts = append(v.Doubts, shown(x.Doubt, maxSentence))
	}
	return v
}

// exploitedOf reads from the rules that were asked whether a catalogue was
// there to say no.
func exploitedOf(x *upgrade.Finding) exploitedView {
	if x.Exploited {
		return exploitedView{"bad", "bad", "yes, known"}
	}
	for _, r := range x.Decision.Rules {
		for _, in := range r.Inputs {
			if in.Name == "exploited" && in.Value == "no" {
				return exploitedView{"mute", "", "not known to be"}
			}
		}
	}
	return exploitedView{"unk", "unk", "unknown"}
}

// findingList is a list of findings, cut.
type findingList struct {
	Rows []findingView
	More int
}

// findings shows a list in its order; setBy is the key of the one that sets the
// deadline, picked that whose rules are shown.
func (f *frame) findings(list []upgrade.Finding, setBy, picked string, why func(key string) string) findingList {
	var out findingList
	for i := range list {
		if i == findingsShown {
			out.More = len(list) - i
			break
		}
		v := f.finding(&list[i])
		v.Sets, v.Picked = setBy != "" && list[i].Key == setBy, picked != "" && list[i].Key == picked
		if why != nil {
			v.Why = why(list[i].Key)
		}
		out.Rows = append(out.Rows, v)
	}
	return out
}

// liftView is what takes a deadline away.
type liftView struct {
	Status, Reason, By, Source string
	Expires                    moment
}

func (f *frame) lift(l *decision.Lift) *liftView {
	return &liftView{
		Status: strings.ReplaceAll(shown(l.Status, 64), "_", " "), Reason: shown(l.Reason, maxSentence), By: shown(l.By, maxName),
		Source: shown(l.Source, maxName), Expires: moment{l.Expires, f.Now.at},
	}
}

// decisionView is by when something has to be done, with every rule that was
// asked.
type decisionView struct {
	Finding  findingView
	Tier     string
	Start    moment
	StartWhy string
	Due      dueView
	SetBy    string
	Derived  bool
	Forensic bool
	Doubts   []string
	Fired    []ruleView
	Silent   []ruleView
	Scale    *scale // nil without a time to show
}

type ruleView struct {
	ID, Title string
	Inputs    []inputView
	Table     string
	Row, Rows int
	Result    string
	Deadline  moment
	Sets      bool
}

type inputView struct {
	Name, Value, As string
	Source          string
	Snapshot        string
	Derived         bool
	Unknown         bool
}

// decide shows the decision about a finding. The slot may be nil.
func (f *frame) decide(x *upgrade.Finding, slot *calendar.Slot) *decisionView {
	at := &x.Decision
	v := &decisionView{
		Finding: f.finding(x), Tier: shown(at.Tier, 64), Start: moment{at.Start, f.Now.at}, StartWhy: shown(at.StartWhy, maxSentence), Due: f.due(at.Deadline),
		SetBy: shown(at.SetBy, 64), Derived: at.Derived, Forensic: at.Forensic, Doubts: shownList(at.Doubts, linesShown),
	}
	for i := range at.Rules {
		r := f.rule(&at.Rules[i])
		r.Sets = at.Rules[i].ID == at.SetBy && at.SetBy != ""
		if at.Rules[i].Fired {
			v.Fired = append(v.Fired, r)
		} else {
			v.Silent = append(v.Silent, r)
		}
	}
	v.Scale = f.timeScale(at.Start, at.Deadline, slot, "clock starts", deadlineWord)
	return v
}

func (f *frame) rule(r *decision.Rule) ruleView {
	v := ruleView{
		ID: shown(r.ID, 64), Title: shown(r.Title, maxName), Table: shown(r.Table, maxName), Row: r.Row, Rows: r.Rows,
		Result: shown(r.Result, maxSentence), Deadline: moment{r.Deadline, f.Now.at},
	}
	for i := range r.Inputs[:min(len(r.Inputs), linesShown)] {
		in := &r.Inputs[i]
		iv := inputView{
			Name: shown(in.Name, 64), Value: shown(in.Value, maxName), Source: shown(in.Source, maxSentence), Snapshot: shown(in.Snapshot, maxName),
			Derived: in.Derived, Unknown: in.Value == "" || in.Value == "unknown",
		}
		if at, err := time.Parse(time.RFC3339, in.Value); err == nil {
			iv.Value = moment{at, f.Now.at}.Text()
		}
		if in.As != in.Value {
			iv.As = shown(in.As, maxName)
		}
		v.Inputs = append(v.Inputs, iv)
	}
	return v
}

// shownList is foreign texts as lines of a page, the first most of them.
func shownList(list []string, most int) []string {
	var out []string
	for _, s := range list[:min(len(list), most)] {
		out = append(out, shown(s, maxSentence))
	}
	return out
}

// inputsView is what a judgement was made from.
type inputsView struct {
	Policy    string
	Digest    string
	Snapshots []snapshotRow
	Old       []string
}

type snapshotRow struct {
	Feed, Kind, Digest, Model string
	Records, Faults           int
	Dated, Taken              moment
}

func (f *frame) inputs(in *upgrade.Inputs) inputsView {
	v := inputsView{Policy: strings.TrimSpace(shown(in.Policy.Name, maxName) + " " + shown(in.Policy.Version, maxName)), Digest: shown(in.Policy.Digest, maxName), Old: shownList(in.Old, linesShown)}
	for i := range in.Snapshots[:min(len(in.Snapshots), maxEvidence)] {
		s := &in.Snapshots[i]
		v.Snapshots = append(v.Snapshots, snapshotRow{
			Feed: named(s.Feed), Kind: feedKind(s.Kind), Digest: shown(s.Digest, maxName), Model: shown(s.Model, maxName), Records: s.Records, Faults: s.Faults,
			Dated: moment{s.Dated, f.Now.at}, Taken: moment{s.Taken, f.Now.at},
		})
	}
	return v
}

// feedRow is a source of advisories with the state of its data.
type feedRow struct {
	Name, Kind, Covers string
	State              sourceState
	Read               moment
	Dated              moment
	Records, Faults    int
	Digest             string
	Scheduled          bool
}

var feedKinds = map[advisory.Kind]struct{ word, covers string }{
	advisory.OSV:          {"OSV", "advisories on components, and on charts"},
	advisory.KEV:          {"KEV", "what is exploited"},
	advisory.EPSS:         {"EPSS", "how likely it is to be exploited; only ever tightens"},
	advisory.Vulnrichment: {"Vulnrichment", "whether an attack can be automated, and its impact"},
	advisory.VEX:          {"OpenVEX", "what does not affect a product"},
	advisory.Components:   {"component map", "which image holds which component"},
}

func feedKind(k advisory.Kind) string { return cmp.Or(feedKinds[k].word, shown(string(k), 64)) }

// feeds shows the sources, those that need somebody first. old are the lines of
// upgrade.Inputs that say which data are older than they may be.
func (f *frame) feeds(list []upgrade.Feed, old []string) []feedRow {
	var out []feedRow
	for i := range list[:min(len(list), maxEvidence)] {
		x := &list[i]
		row := feedRow{Name: named(x.Name), Kind: feedKind(x.Kind), Covers: feedKinds[x.Kind].covers, State: stateOfFeed(x, old, f.Now.at), Scheduled: x.URL != ""}
		if s := x.Current; s != nil {
			row.Read, row.Dated = moment{s.Taken, f.Now.at}, moment{s.Dated, f.Now.at}
			row.Records, row.Faults, row.Digest = s.Records, s.Faults, shown(s.Digest, maxName)
		}
		if x.URL != "" && !x.Health.LastSuccess.IsZero() {
			row.Read = moment{x.Health.LastSuccess, f.Now.at}
		}
		out = append(out, row)
	}
	return out
}

// stateOfFeed says in words how old the data of a feed are.
func stateOfFeed(x *upgrade.Feed, old []string, now time.Time) sourceState {
	why := ""
	if h := &x.Health; h.Failures > 0 {
		why = plural(h.Failures, "read") + " failed"
		if h.Error != "" {
			why += ": " + shown(h.Error, maxSentence)
		}
		if !h.NextTry.IsZero() {
			why += ", next try " + moment{h.NextTry, now}.Distance()
		}
	}
	if x.Current == nil {
		return sourceState{"unk", "unk", "never read", why, 0}
	}
	for _, line := range old {
		if age, ok := strings.CutPrefix(line, x.Name+": "); ok {
			return sourceState{"unk", "unk", "stale", strings.TrimPrefix(why+"; "+shown(age, maxName), "; "), 1}
		}
	}
	if why != "" {
		return sourceState{"warn", "warn", "no answer", why, 2}
	}
	return sourceState{"ok", "ok", "fresh", "", 3}
}

// unknownRow is an image that nobody knows, and where it runs.
type unknownRow struct {
	Image, Why string
	Places     []link
	More       int
}

func (f *frame) unknowns(list []upgrade.UnknownImage, most int) (out []unknownRow, more int) {
	for i := range list {
		if i == most {
			return out, len(list) - most
		}
		out = append(out, unknownRow{Image: shown(list[i].Image, maxSentence), Why: shown(list[i].Why, maxSentence)})
	}
	return out, 0
}

// said is what somebody wrote, as one line.
func said(s string, most int) string {
	return shown(strings.Join(strings.Fields(shorten(s, 8*most)), " "), most)
}
