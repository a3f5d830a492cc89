package web

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// Bounds of a review on a page.
const (
	objectsShown   = 100
	diffLines      = 1500 // of all objects
	diffLine       = 400  // runes of one
	hintsShown     = 100
	checklistShown = 500
	valuesShown    = 100 // of one kind
)

// reviewPage is a review by itself: of a move that may be no upgrade.
type reviewPage struct {
	frame
	Deployment link
	Chart      string
	From, To   string
	Review     *reviewView
	Failed     *failedForm
}

// reviewView is what moving a deployment from one version to another means.
type reviewView struct {
	Digest   string
	URL      string
	Upgrade  int64 // whose page it stands on; 0 for its own
	Made     moment
	State    stateWord
	From, To sideView
	Verdict  verdictView
	Doubts   []string

	Closed, Introduced, Remaining findingList
	ClosedBy, NewBy, LeftBy       []severityCount
	Unknown                       []unknownRow
	MoreUnknown                   int
	Deadline                      dueView
	Decision                      *decisionView // of the finding that sets the deadline, or that was picked
	Picked                        bool

	Blind       bool   // what the new version holds is not known
	Basis       string // how the charts could be compared; "" when both rendered
	Does        []effectRow
	MoreDoes    int
	Posture     []postureRow
	Unstable    []string
	Fit         fitView
	Effort      effortView
	Undo        undoView
	Notes       []noteHints
	MoreNotes   int
	Diffs       []objectDiff
	MoreDiffs   int
	DiffCut     bool
	Same        int
	Checklist   []checkRow
	MoreChecks  int
	Roles       []roleRow
	Forms       []signForm
	SignRefused string // why this reader has no form
	Inputs      inputsView
	SignURL     string
	Shut        bool // the server takes no forms
}

type sideView struct {
	Version, Archive, Published string
	FirstSeen                   moment
	Images                      []string
	MoreImages                  int
}

type verdictView struct {
	Advice, Class, Icon string
	Text                string
	Reasons             []string
}

var advices = map[string]verdictView{
	upgrade.AdviceApply:      {Advice: "apply", Class: "ok", Icon: "ok"},
	upgrade.AdviceCare:       {Advice: "apply with care", Class: "warn", Icon: "warn"},
	upgrade.AdviceHold:       {Advice: "hold", Class: "bad", Icon: "bad"},
	upgrade.AdviceCannotTell: {Advice: "cannot be told", Class: "unk", Icon: "unk"},
}

func adviceOf(advice string) verdictView {
	if v, ok := advices[advice]; ok {
		return v
	}
	return verdictView{Advice: shown(advice, 64), Class: "unk", Icon: "unk"}
}

// effectRow is one thing that a difference does.
type effectRow struct {
	Severity        severityMark
	Object, Message string
	Rule, Old, New  string
}

// postureRow is one fact of what is rendered, on both sides.
type postureRow struct {
	Fact           string
	Old, New       string // "" not known
	OldWhy, NewWhy string
	Differs, Worse bool
}

// fitView says how the values that somebody sets fit the new version.
type fitView struct {
	Set, Kept, Defaults int
	Unknown             bool
	Rows                []fitRow
	More                int
}

type fitRow struct{ Path, Class, Icon, Word, Note string }

type effortView struct {
	Word    string
	Points  int
	Blocked bool
	Parts   []effortPart
	More    int
}

type effortPart struct {
	Points       int
	Why          string
	Object, Note string
	Blocks       bool
	Security     bool // a security approver has to approve
}

var effortWords = map[manifest.EffortClass]string{manifest.EffortSmall: "S, small", manifest.EffortMedium: "M, medium", manifest.EffortLarge: "L, large"}

type undoView struct {
	Class, Icon, Word string
	Reasons           []undoRow
	More              int
}

type undoRow struct{ Object, Message, Rule, Until string }

// noteHints are the hints of one text.
type noteHints struct {
	Version string
	Source  link
	Digest  string
	Rows    []hintRow
	More    int
}

type hintRow struct {
	Rule, Text string
	Line       int
	Security   bool
	IDs        []string
}

type objectDiff struct {
	Object, Change, Source string
	Added, Removed         int
	Lines                  []diffRow
	Cut                    bool // not all of its lines are shown
	Open                   bool
}

type diffRow struct{ Kind, Text string } // ins, del, hunk or ""

// checkRow is an item of the checklist with its answers.
type checkRow struct {
	ID, Text, Finding string
	Required          bool
	Role              string
	Answers           []answerRow
	Missing           bool // a refused form lacks it
	Typed             string
}

type answerRow struct{ By, Text string }

// roleRow is a role that has to sign.
type roleRow struct {
	roleWord
	State  stateWord
	By     string
	Text   string
	Time   moment
	Log    int64
	LogURL string
}

// roleWord is a role in words, with who has it.
type roleWord struct{ Value, Word, Who string }

func roleOf(r upgrade.SignRole) roleWord {
	switch r {
	case upgrade.Reviewer:
		return roleWord{string(r), "reviewer", "whoever may review upgrades, such as a release manager of all projects"}
	case upgrade.Security:
		return roleWord{string(r), "security approver", "whoever may approve upgrades, such as an approver of all projects"}
	}
	return roleWord{string(r), shown(string(r), 64), "nobody that this server knows"}
}

// signForm is the form of one role.
type signForm struct {
	Role  roleWord
	Items []checkRow
	Typed string
	Main  bool // the one filled button of the page
}

// shortDigest is the beginning of a digest, as messages have it.
func shortDigest(s string) string { return named(shorten(s, 19)) }

func stateOfReview(s upgrade.ReviewState) stateWord {
	switch s {
	case upgrade.ReviewOpen:
		return stateWord{string(s), "mute", "wait", "waits for sign-off"}
	case upgrade.ReviewSigned:
		return stateWord{string(s), "ok", "ok", "signed"}
	case upgrade.ReviewDeclined:
		return stateWord{string(s), "bad", "bad", "declined"}
	case upgrade.ReviewReplaced:
		return stateWord{string(s), "warn", "stale", "replaced by a newer one"}
	}
	return stateWord{string(s), "unk", "unk", cmp.Or(shown(string(s), 64), "unknown")}
}

func (d *Door) review(w http.ResponseWriter, r *http.Request, digest string, ref refusal) error {
	ctx, c := r.Context(), server.CallerOf(r)
	x, err := d.cfg.Judging.Review(ctx, c, digest)
	if err != nil {
		return err
	}
	base := server.ContextPath(r) + prefix
	title := "Review of " + shown(x.Chart, maxName) + " " + shown(x.To.Version, maxName)
	p := &reviewPage{
		frame: d.frameOf(r, title, "upgrades", link{"Upgrades", base + "/upgrades"}, link{shortDigest(x.Digest), ""}),
		Chart: named(x.Chart), From: versioned(x.From.Version), To: versioned(x.To.Version), Failed: ref.view(),
	}
	p.Deployment = p.keyLink(x.Deployment)
	p.Review = d.reviewView(ctx, c, &p.frame, &x, reviewPath(base, x.Digest), r.URL.Query().Get("finding"), nil, ref)
	return d.render(w, r, ref.statusOr(http.StatusOK), "review", p)
}

// reviewView shows a review on the page at self.
func (d *Door) reviewView(ctx context.Context, c release.Caller, f *frame, x *upgrade.Review, self, picked string, slot *calendar.Slot, ref refusal) *reviewView {
	v := &reviewView{
		Digest: shown(x.Digest, maxName), URL: reviewPath(f.Base, x.Digest), Made: moment{x.Made, f.Now.at}, State: stateOfReview(x.State), From: f.side(&x.From), To: f.side(&x.To),
		Doubts: shownList(x.Doubts, maxEvidence), Deadline: f.due(x.Deadline), Inputs: f.inputs(&x.Inputs), SignURL: reviewPath(f.Base, x.Digest) + "/sign", Shut: f.Closed(),
	}
	v.Verdict = adviceOf(x.Verdict.Advice)
	v.Verdict.Text, v.Verdict.Reasons = shown(x.Verdict.Text, maxSentence), shownList(x.Verdict.Reasons, maxEvidence)
	v.showFindings(f, x, self, picked, slot)
	v.showCompared(f, &x.Compared, x.From.Archive != "")
	v.showNotes(x.Notes)
	v.showChecklist(x, ref)
	v.showRoles(f, x)
	d.offerSign(ctx, c, v, x, ref)
	return v
}

func (f *frame) side(s *upgrade.Side) sideView {
	return sideView{
		Version: versioned(s.Version), Archive: shown(s.Archive, maxName), Published: shown(cmp.Or(s.Upstream, s.Project), maxName), FirstSeen: moment{s.FirstSeen, f.Now.at},
		Images: shownList(s.Images, linesShown), MoreImages: max(0, len(s.Images)-linesShown),
	}
}

// showFindings lists what is closed, introduced and left, and explains the
// deadline of the finding that was picked, else of the one that sets it.
func (v *reviewView) showFindings(f *frame, x *upgrade.Review, self, picked string, slot *calendar.Slot) {
	why := func(key string) string {
		if len(key) > maxLinkedName || self == "" {
			return ""
		}
		return self + "?" + url.Values{"finding": {key}}.Encode() + "#deadline"
	}
	key := x.SetBy
	for _, list := range [][]upgrade.Finding{x.Closed, x.Introduced, x.Remaining} {
		if picked != "" && slices.ContainsFunc(list, func(y upgrade.Finding) bool { return y.Key == picked }) {
			key, v.Picked = picked, true
		}
	}
	for _, list := range [][]upgrade.Finding{x.Closed, x.Introduced, x.Remaining} {
		for i := range list {
			if list[i].Key == key && v.Decision == nil {
				v.Decision = f.decide(&list[i], slot)
			}
		}
	}
	v.Closed, v.ClosedBy = f.findings(x.Closed, x.SetBy, key, why), countBySeverity(x.Closed)
	v.Introduced, v.NewBy = f.findings(x.Introduced, "", key, why), countBySeverity(x.Introduced)
	for i := range v.Introduced.Rows {
		v.Introduced.Rows[i].Key.URL = "" // it is open nowhere yet
		if v.Introduced.Rows[i].Picked {
			v.Decision.Finding.Key.URL = ""
		}
	}
	v.Remaining, v.LeftBy = f.findings(x.Remaining, "", key, why), countBySeverity(x.Remaining)
	v.Unknown, v.MoreUnknown = f.unknowns(x.Unknown, findingsShown)
}

// countBySeverity counts findings, the worst first; what nobody rated stands
// last and is not left out.
func countBySeverity(list []upgrade.Finding) []severityCount {
	var out []severityCount
	add := func(mark severityMark) {
		for i := range out {
			if out[i].severityMark == mark {
				out[i].N++
				return
			}
		}
		out = append(out, severityCount{mark, 1})
	}
	for i := range list {
		add(severityOf(list[i].Severity))
	}
	slices.SortStableFunc(out, func(a, b severityCount) int { return b.Rank - a.Rank })
	return out
}

// showNotes lists the hints of texts, with their places.
func (v *reviewView) showNotes(list []upgrade.NoteHints) {
	left := hintsShown
	for i := range list {
		n := &list[i]
		if left == 0 {
			v.MoreNotes = len(list) - i
			return
		}
		out := noteHints{Version: versioned(n.Version), Source: link{named(n.Source), ""}, Digest: shown(n.Digest, maxName)}
		if len(n.URL) <= maxSentence {
			out.Source.URL = webURL(n.URL)
		}
		for j := range n.Hints {
			if left == 0 {
				out.More = len(n.Hints) - j
				break
			}
			left--
			h := &n.Hints[j]
			out.Rows = append(out.Rows, hintRow{Rule: shown(h.Rule, 64), Text: shown(h.Text, maxSentence), Line: h.Line, Security: h.Security, IDs: shownList(h.IDs, linesShown)})
		}
		v.Notes = append(v.Notes, out)
	}
}

// showChecklist lists what has to be answered, with what was answered, and with
// what was typed into a form that was refused.
func (v *reviewView) showChecklist(x *upgrade.Review, ref refusal) {
	for i := range x.Checklist {
		if i == checklistShown {
			v.MoreChecks = len(x.Checklist) - i
			return
		}
		item := &x.Checklist[i]
		row := checkRow{
			ID: shown(item.ID, 64), Text: shown(item.Text, maxSentence), Finding: shown(item.Finding, maxSentence), Required: item.Required, Role: string(item.Role),
			Typed: typed(ref.typed.Get(answerField + item.ID)),
		}
		row.Missing = ref.form == signFormOf(item.Role) && item.Required && strings.TrimSpace(row.Typed) == "" && ref.typed.Get("say") != "decline"
		for _, s := range x.Signoffs {
			if answer := s.Answers[item.ID]; answer != "" {
				row.Answers = append(row.Answers, answerRow{shown(s.Name, maxName), said(answer, 2*maxSentence)})
			}
		}
		v.Checklist = append(v.Checklist, row)
	}
}

// answerField is before the id of an item in the names of a form.
const answerField = "answer-"

func signFormOf(r upgrade.SignRole) string { return "sign-" + string(r) }

// showRoles says of each role who has signed, or whose word is missing.
func (v *reviewView) showRoles(f *frame, x *upgrade.Review) {
	roles := slices.Clone(x.Roles)
	for _, s := range x.Signoffs {
		if !slices.Contains(roles, s.Role) {
			roles = append(roles, s.Role)
		}
	}
	for _, role := range roles {
		row := roleRow{roleWord: roleOf(role), State: stateWord{Class: "mute", Icon: "wait", Word: "waiting"}}
		if x.State != upgrade.ReviewOpen {
			row.State = stateWord{Class: "mute", Icon: "skip", Word: "not given"}
		}
		for _, s := range x.Signoffs {
			if s.Role != role {
				continue
			}
			row.State = stateWord{Class: "ok", Icon: "ok", Word: "accepted"}
			if !s.Accepted {
				row.State = stateWord{Class: "bad", Icon: "bad", Word: "declined"}
			}
			row.By, row.Text, row.Time, row.Log = shown(cmp.Or(s.Name, s.By), maxName), said(s.Text, 4*maxSentence), moment{s.Time, f.Now.at}, s.LogIndex
			if s.LogIndex > 0 {
				row.LogURL = leafPath(f.Base, s.LogIndex)
			}
		}
		v.Roles = append(v.Roles, row)
	}
}

// signRights are what signing in a role needs.
var signRights = map[upgrade.SignRole]access.Action{upgrade.Reviewer: access.UpgradeReview, upgrade.Security: access.UpgradeApprove}

// offerSign makes a form for each role that this reader may sign in, and says to
// others who can.
func (d *Door) offerSign(ctx context.Context, c release.Caller, v *reviewView, x *upgrade.Review, ref refusal) {
	if x.State != upgrade.ReviewOpen {
		return
	}
	id := c.Principal.ID
	if c.Principal.Of != nil {
		id = c.Principal.Of.ID
	}
	switch {
	case c.Principal.Kind != access.KindUser:
		v.SignRefused = "A review is signed by a person; you are signed in with a token of a project."
		return
	case slices.ContainsFunc(x.Signoffs, func(s upgrade.Signoff) bool { return s.By == id }):
		v.SignRefused = "You have signed; what is missing is another person’s word."
		return
	}
	for _, role := range x.Roles {
		right, ok := signRights[role]
		if !ok || slices.ContainsFunc(x.Signoffs, func(s upgrade.Signoff) bool { return s.Role == role }) || !d.can(ctx, c, right, "", "", false) {
			continue
		}
		form := signForm{Role: roleOf(role), Main: len(v.Forms) == 0}
		if ref.form == signFormOf(role) {
			form.Typed = typed(ref.typed.Get("text"))
		}
		for _, item := range v.Checklist {
			if item.Role == string(role) {
				form.Items = append(form.Items, item)
			}
		}
		v.Forms = append(v.Forms, form)
	}
	if len(v.Forms) == 0 {
		v.SignRefused = "You may not sign it."
	}
}

// sign takes a person's word. A form that is refused is shown again, with what
// is missing and what was typed, on the page that it was on.
func (d *Door) sign(w http.ResponseWriter, r *http.Request, digest string) error {
	ctx, c := r.Context(), server.CallerOf(r)
	role := upgrade.SignRole(shorten(r.PostForm.Get("role"), 64))
	s := upgrade.Sign{Role: role, Accept: r.PostForm.Get("say") == "accept", Text: r.PostForm.Get("text"), Answers: map[string]string{}}
	for name, values := range r.PostForm {
		if id, ok := strings.CutPrefix(name, answerField); ok && len(values) > 0 && strings.TrimSpace(values[0]) != "" {
			s.Answers[id] = values[0]
		}
	}
	story, _ := strconv.ParseInt(r.PostForm.Get("upgrade"), 10, 64)
	_, err := d.cfg.Judging.SignReview(ctx, c, digest, s)
	if err == nil {
		if story > 0 {
			return redirect(w, r, upgradePath("", story)+"#signoffs")
		}
		return redirect(w, r, reviewPath("", digest)+"#signoffs")
	}
	ref, ok := refused(signFormOf(role), err, r.PostForm)
	if !ok {
		return err
	}
	if story > 0 {
		return d.upgrade(w, r, story, ref)
	}
	return d.review(w, r, digest, ref)
}
