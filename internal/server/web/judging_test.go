package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/decision"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/notes"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

var _ Judging = (*upgrade.Service)(nil)

// judgingPaths are the pages of the judgement, one of each kind.
var judgingPaths = []string{
	"/ui/advisories", "/ui/advisories/CVE-2023-50943", "/ui/upgrades", "/ui/upgrades/300", "/ui/reviews/" + digestOf("review 1"), "/ui/plan", "/ui/plan/prod-eu/data/airflow",
	"/ui/agenda", "/ui/calendar.ics", "/ui/practice",
}

// TestWithoutJudging: a server that judges nothing has no pages of it, and shows
// the charts first.
func TestWithoutJudging(t *testing.T) {
	f := newSample(t)
	f.judging = nil
	for _, path := range judgingPaths {
		if w := get(t, f, maintainer, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: status %d", path, w.Code)
		}
	}
	for _, path := range []string{"/ui/upgrades/300/accept", "/ui/upgrades/300/dismiss", "/ui/reviews/sha256:0/sign"} {
		if w := post(t, f, manager, path, nil); w.Code != http.StatusNotFound {
			t.Errorf("%s: status %d", path, w.Code)
		}
	}
	doc := open(t, f, "/ui/")
	nav := doc.one(t, "nav[aria-label=Main]").words()
	if doc.one(t, "h1").words() != "Charts" || strings.Contains(nav, "Today") || strings.Contains(nav, "Upgrades") || strings.Contains(nav, "Plan") || strings.Contains(nav, "Advisories") {
		t.Errorf("the first page is %s, with the menu %s", doc.one(t, "h1").words(), nav)
	}
	if len(open(t, f, "/ui/deployments/prod-eu/data/airflow").all("h2#open")) != 0 {
		t.Error("a deployment says what is open on it")
	}
}

// TestJudgingRights: who may not read what is watched sees that, on every page,
// and nothing of the page.
func TestJudgingRights(t *testing.T) {
	f := newSample(t)
	for _, path := range judgingPaths {
		for who, want := range map[string]int{"nobody": http.StatusUnauthorized, "reader": http.StatusForbidden, "manager": http.StatusOK} {
			w := get(t, f, people[who], path)
			if w.Code != want {
				t.Errorf("%s as %s: status %d, want %d", path, who, w.Code, want)
			}
			if want != http.StatusOK && (strings.Contains(w.Body.String(), "8.9.0") || strings.Contains(w.Body.String(), "bitnami")) {
				t.Errorf("%s as %s shows what it may not", path, who)
			}
		}
	}
	for path, form := range map[string]url.Values{
		"/ui/upgrades/300/accept": {"plan": {digestOf("plan 1")}}, "/ui/upgrades/300/dismiss": {"reason": {"x"}, "until": {"2026-12-01"}},
		"/ui/reviews/" + digestOf("review 1") + "/sign": {"role": {"reviewer"}, "say": {"accept"}, "answer-01": {"x"}},
	} {
		if w := post(t, f, maintainer, path, form); w.Code != http.StatusForbidden {
			t.Errorf("%s: status %d", path, w.Code)
		}
		r := httptest.NewRequest("POST", "https://keep.example"+path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		if w := serve(t, f, manager, r); w.Code != http.StatusForbidden {
			t.Errorf("%s of another site: status %d", path, w.Code)
		}
		if w := get(t, f, manager, path); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: status %d", path, w.Code)
		}
	}
	if len(f.judging.did)+len(f.judging.signs) != 0 {
		t.Errorf("done: %v %v", f.judging.did, f.judging.signs)
	}
}

// TestSignRefused: a form that lacks something is shown again, with what was
// typed and with what is missing; nothing is signed.
func TestSignRefused(t *testing.T) {
	f := newSample(t)
	target := "/ui/reviews/" + digestOf("review 1") + "/sign"
	form := url.Values{"role": {"reviewer"}, "say": {"accept"}, "text": {"looks <b>good</b>\nto me"}, "answer-03": {"it is fresh elsewhere"}, "upgrade": {"300"}}
	w := post(t, f, manager, target, form)
	doc := parseHTML(t, w.Body.String())
	checkPage(t, doc)
	alert := doc.one(t, "[role=alert]").words()
	if w.Code != http.StatusUnprocessableEntity || len(f.judging.signs) != 0 {
		t.Errorf("status %d, signed %v", w.Code, f.judging.signs)
	}
	for _, want := range []string{"Nothing was changed: 1 required items", "01: A hook or a migration runs"} {
		if !strings.Contains(alert, want) {
			t.Errorf("the alert lacks %q: %s", want, alert)
		}
	}
	if doc.one(t, "h1").words() != "prod-eu/data/airflow 8.8.0 to 8.9.0" || len(doc.all(".stages")) != 1 {
		t.Error("it is not the page of the upgrade")
	}
	missing := doc.one(t, "textarea[aria-invalid=true]")
	if missing.attrs["name"] != "answer-01" {
		t.Errorf("marked is %s", missing.attrs["name"])
	}
	if got := doc.one(t, "textarea[name=answer-03]").words(); got != "it is fresh elsewhere" {
		t.Errorf("the answer that was typed is %q", got)
	}
	if got := doc.one(t, "textarea[name=text]").text; !strings.Contains(got, "looks <b>good</b>\nto me") {
		t.Errorf("the text that was typed is %q", got)
	}
	// The same from the page of the review itself.
	form.Del("upgrade")
	doc = parseHTML(t, post(t, f, manager, target, form).Body.String())
	checkPage(t, doc)
	if len(doc.all(".stages")) != 0 || len(doc.all("[role=alert]")) != 1 {
		t.Error("it is not the page of the review")
	}
	for name, err := range map[string]error{
		"409": problem.New(problem.Conflict, "review-replaced", "a newer review of this upgrade was made; this one can no longer be signed"),
		"400": problem.New(problem.Invalid, "sign-text", "who declines says why"),
	} {
		f.judging.refuse = err
		w := post(t, f, manager, target, form)
		doc := parseHTML(t, w.Body.String())
		checkPage(t, doc)
		if fmt.Sprint(w.Code) != name || !strings.Contains(strings.ToLower(doc.one(t, "[role=alert]").words()), strings.ToLower(err.(*problem.Error).Message)) {
			t.Errorf("%s: status %d, %s", name, w.Code, doc.one(t, "main").words())
		}
	}
	f.judging.refuse = problem.New(problem.Denied, "signed-own", "you signed it as reviewer; the word as security is another person's")
	if w := post(t, f, manager, target, form); w.Code != http.StatusForbidden {
		t.Errorf("denied: status %d", w.Code)
	}
}

// TestSign: what was typed reaches the service as it is, and the page that
// follows is the one that it was on.
func TestSign(t *testing.T) {
	f := newSample(t)
	target := "/ui/reviews/" + digestOf("review 1") + "/sign"
	w := post(t, f, manager, target, url.Values{"role": {"reviewer"}, "say": {"accept"}, "text": {"well"}, "answer-01": {"rehearsed"}, "answer-03": {" "}, "upgrade": {"300"}})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/ui/upgrades/300#signoffs" {
		t.Fatalf("status %d, to %s\n%s", w.Code, w.Header().Get("Location"), w.Body)
	}
	if s := f.judging.signs[0]; !s.Accept || s.Role != upgrade.Reviewer || s.Text != "well" || len(s.Answers) != 1 || s.Answers["01"] != "rehearsed" {
		t.Errorf("signed %+v", s)
	}
	w = post(t, f, approver, target, url.Values{"role": {"security"}, "say": {"decline"}, "text": {"no"}, "upgrade": {"x"}})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/ui/reviews/"+strings.ReplaceAll(digestOf("review 1"), ":", ":")+"#signoffs" {
		t.Errorf("status %d, to %s", w.Code, w.Header().Get("Location"))
	}
	if s := f.judging.signs[1]; s.Accept || s.Role != upgrade.Security {
		t.Errorf("signed %+v", s)
	}
	// Only the button that says so accepts.
	if w := post(t, f, manager, target, url.Values{"role": {"reviewer"}, "text": {"no button"}}); w.Code != http.StatusSeeOther || f.judging.signs[2].Accept {
		t.Errorf("status %d, signed %+v", w.Code, f.judging.signs)
	}
	long := url.Values{"role": {"reviewer"}, "say": {"accept"}, "answer-01": {"x"}}
	for i := range 200 {
		long.Set(fmt.Sprintf("answer-%d", 100+i), strings.Repeat("ж", 500))
	}
	if w := post(t, f, manager, target, long); w.Code != http.StatusSeeOther {
		t.Errorf("a long checklist: status %d", w.Code)
	}
	long.Set("text", strings.Repeat("x", maxSignForm))
	if w := post(t, f, manager, target, long); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a form over the limit: status %d", w.Code)
	}
	token := manager
	token.Principal.Kind, token.Principal.ID = access.KindToken, "tok-1"
	doc := parseHTML(t, get(t, f, token, "/ui/upgrades/300").Body.String())
	if len(doc.all("#signoffs form")) != 0 || !strings.Contains(doc.one(t, "#signoffs").words(), "A review is signed by a person") {
		t.Error("a token of a project is offered to sign")
	}
	both := manager
	both.Principal.Grants = slices.Concat(manager.Principal.Grants, approver.Principal.Grants)
	doc = parseHTML(t, get(t, f, both, "/ui/upgrades/300").Body.String())
	checkPage(t, doc)
	if n := len(doc.all("#signoffs form")); n != 2 {
		t.Errorf("who has both roles gets %d forms", n)
	}
}

// TestAcceptDismiss: the plan that was read is the one that is accepted; a day
// that is none is refused where it was typed.
func TestAcceptDismiss(t *testing.T) {
	f := newSample(t)
	w := post(t, f, manager, "/ui/upgrades/302/accept", url.Values{"plan": {digestOf("plan 3")}})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/ui/upgrades/302" || !slices.Equal(f.judging.did, []string{"accept prod-eu/rollouts/argo-rollouts " + digestOf("plan 3")}) {
		t.Errorf("status %d, to %s, done %v", w.Code, w.Header().Get("Location"), f.judging.did)
	}
	f.judging.refuse = problem.New(problem.Conflict, "plan-changed", "the plan of x is another one now").With("yours", "a").With("now", "b").Suggest("read it: chartkeep plan show x")
	w = post(t, f, manager, "/ui/upgrades/302/accept", url.Values{"plan": {"old"}})
	doc := parseHTML(t, w.Body.String())
	checkPage(t, doc)
	if alert := doc.one(t, "[role=alert]").words(); w.Code != http.StatusConflict || !strings.Contains(alert, "the plan of x is another one now") || !strings.Contains(alert, "Yours a") {
		t.Errorf("status %d, %s", w.Code, alert)
	}
	f.judging.refuse = nil
	if w := post(t, f, manager, "/ui/upgrades/999/accept", nil); w.Code != http.StatusNotFound {
		t.Errorf("an upgrade that is not there: status %d", w.Code)
	}
	w = post(t, f, approver, "/ui/upgrades/300/dismiss", url.Values{"reason": {"freeze of <the> shop"}, "until": {"soon"}})
	doc = parseHTML(t, w.Body.String())
	checkPage(t, doc)
	if w.Code != http.StatusBadRequest || !strings.Contains(doc.one(t, "[role=alert]").words(), "an upgrade is dismissed until a date within a year") ||
		doc.one(t, "textarea[name=reason]").words() != "freeze of <the> shop" || doc.one(t, "input[name=until]").attrs["value"] != "soon" {
		t.Errorf("status %d, %s", w.Code, doc.one(t, "main").words())
	}
	w = post(t, f, approver, "/ui/upgrades/300/dismiss", url.Values{"reason": {"freeze"}, "until": {" 2026-12-01 "}})
	if w.Code != http.StatusSeeOther || f.judging.did[len(f.judging.did)-1] != "dismiss 300 freeze 2026-12-01" {
		t.Errorf("status %d, done %v", w.Code, f.judging.did)
	}
}

func TestCalendarFile(t *testing.T) {
	f := newSample(t)
	w := get(t, f, manager, "/ui/calendar.ics?owner=data")
	if w.Code != 200 || w.Header().Get("Content-Type") != "text/calendar; charset=utf-8" || w.Header().Get("Content-Disposition") != `attachment; filename="chartkeep.ics"` || !strings.Contains(w.Body.String(), "X-WR-CALNAME:data") {
		t.Errorf("status %d, %v\n%s", w.Code, w.Header(), w.Body)
	}
}

// TestNothingJudged: empty answers are no good news. What is empty says what
// that means, and no number stands for what nobody looked at.
func TestNothingJudged(t *testing.T) {
	f := newSample(t)
	f.judging = &fakeJudge{}
	f.judging.status.Rows = []upgrade.StatusRow{{Deployment: "new/one", State: upgrade.ActUnknown}}
	for path, want := range map[string][]string{
		"/ui/":           {"A published version was changed", "1 deployment cannot be judged unknown", "no source"},
		"/ui/advisories": {"No deployment was judged yet", "Nothing is known to be openNo source of advisories is there: this says nothing.", "No image was judged yet", "No source of advisoriesNothing is known to be open, and nothing is known to be clean"},
		"/ui/upgrades":   {"No upgrade is open"}, "/ui/upgrades?show=ended": {"No upgrade fits"},
		"/ui/plan": {"No deployment has a plan", "1 deployment without a plan yet", "No window and no freeze is set"}, "/ui/practice": {"Nothing is on record", "no deadline has come", "not known no review was signed", "no alert in this time"},
		"/ui/deployments/prod-eu/data/airflow": {"not known: prod-eu/data/airflow was not judged yet"},
	} {
		doc := open(t, f, path)
		for _, words := range want {
			if !strings.Contains(doc.one(t, "main").words(), words) {
				t.Errorf("%s lacks %q: %s", path, words, doc.one(t, "main").words())
			}
		}
		if n := len(doc.all("main section .st.ok")); path != "/ui/deployments/prod-eu/data/airflow" && n != 0 {
			t.Errorf("%s has %d green marks", path, n)
		}
	}
	f.watching.events = nil
	if got := open(t, f, "/ui/").one(t, ".alarm.unk").words(); !strings.Contains(got, "No source of advisories: what is open is not known") {
		t.Errorf("the alarm is %s", got)
	}
	f.watching = nil // judged without a watch: no such server is built, and no page breaks
	open(t, f, "/ui/")
	fresh := newFake(t)
	fresh.judging = &fakeJudge{}
	doc := parseHTML(t, get(t, fresh, admin, "/ui/").Body.String())
	checkPage(t, doc)
	if doc.one(t, "h1").words() != "No charts yet" || len(doc.all("nav[aria-label=Main] a[href=/ui/advisories]")) != 1 {
		t.Errorf("the first page of a new server is %s", doc.one(t, "main").words())
	}
}

// TestZeroes: structs that nobody filled make pages that say so.
func TestZeroes(t *testing.T) {
	f := newSample(t)
	j := f.judging
	j.feeds, j.inputs, j.windows = []upgrade.Feed{{}}, upgrade.Inputs{Snapshots: []advisory.Snapshot{{}}}, []calendar.Window{{}}
	j.list = upgrade.AdvisoryList{Rows: []upgrade.AdvisoryRow{{Deployments: []string{""}}}, Total: 1, Unknown: []upgrade.UnknownRow{{}}, Heat: []upgrade.EnvironmentRow{{}}, NotJudged: []string{""}}
	j.assessments = []upgrade.Assessment{{Findings: []upgrade.Finding{{}}, Lifted: []upgrade.Finding{{}}, Unknown: []upgrade.UnknownImage{{}}}}
	j.reviews = []upgrade.Review{{Digest: "d", Closed: []upgrade.Finding{{}}, Notes: []upgrade.NoteHints{{Hints: []notes.Hint{{}}}}, Checklist: []upgrade.ChecklistItem{{}}, Roles: []upgrade.SignRole{""}, Signoffs: []upgrade.Signoff{{}}, Unknown: []upgrade.UnknownImage{{}}}}
	j.plans = []upgrade.Plan{{Remedies: []upgrade.Remedy{{}}, Candidates: []upgrade.Candidate{{}}, Chosen: &upgrade.Candidate{}, Slot: &calendar.Slot{}, Approvals: []upgrade.SignRole{""}}}
	j.upgrades = []upgrade.Upgrade{{ID: 1, Review: "d", Steps: []upgrade.Step{{}}}, {ID: 2}}
	j.status, j.practice = upgrade.Status{Rows: []upgrade.StatusRow{{}}}, upgrade.Practice{Environments: []upgrade.PracticeRow{{}}, Weeks: []upgrade.PracticeWeek{{}}, Exposures: []upgrade.Exposed{{}}}
	for _, path := range []string{"/ui/", "/ui/advisories", "/ui/upgrades", "/ui/upgrades?view=list", "/ui/upgrades/1", "/ui/upgrades/2", "/ui/reviews/d", "/ui/plan", "/ui/practice"} {
		open(t, f, path)
	}
}

// TestHostileJudging: whatever advisories, charts and people write, pages stay
// well formed, bounded and on this server.
func TestHostileJudging(t *testing.T) {
	f := newSample(t)
	for i, name := range hostile {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			j := f.judging
			*j = fakeJudge{}
			x := upgrade.Finding{
				Key: "k" + name, Kind: upgrade.FindingKind(name), Severity: manifest.Severity(name), Title: name, Advisory: name, Aliases: []string{name, "CVE-" + name, "GHSA-" + name}, Images: []string{name}, Component: name,
				Version: name, Confidence: advisory.Confidence(name), Fixed: []string{name}, Workaround: name, Rule: name, Object: name, Doubt: name,
				Decision: decision.Decision{
					Tier: name, StartWhy: name, SetBy: name, Doubts: []string{name}, Start: now.Add(-time.Hour), Deadline: now.Add(time.Hour), Lifted: nil,
					Rules: []decision.Rule{
						{ID: name, Title: name, Table: name, Row: 1, Rows: 2, Fired: true, Result: name, Inputs: []decision.Value{{Name: name, Value: name, Source: name, Snapshot: name, As: name + "x"}}},
						{ID: name, Title: name, Result: name, Inputs: []decision.Value{{Name: name, Value: name, Source: name}}},
					},
				},
			}
			lifted := x
			lifted.Decision.Lifted = &decision.Lift{ID: name, Status: name, Reason: name, By: name, Source: name}
			j.inputs = upgrade.Inputs{Policy: upgrade.PolicyRef{Name: name, Version: name, Digest: name}, Old: []string{name}, Snapshots: []advisory.Snapshot{{Feed: name, Kind: advisory.Kind(name), Digest: name, Model: name}}}
			j.feeds = []upgrade.Feed{{Name: name, Kind: advisory.Kind(name), URL: name, Current: &advisory.Snapshot{Feed: name, Digest: name}, Health: upgrade.FeedHealth{Failures: 1, Error: name}}}
			j.list = upgrade.AdvisoryList{
				Rows: []upgrade.AdvisoryRow{{Finding: x, Deployments: []string{"k" + name}, Environments: []string{name}, FixedBy: []string{name}}}, Total: 1, Inputs: j.inputs,
				Unknown: []upgrade.UnknownRow{{UnknownImage: upgrade.UnknownImage{Image: name, Why: name}, Deployments: []string{name}}}, NotJudged: []string{name},
				Heat: []upgrade.EnvironmentRow{{Environment: name, Exposure: name, Open: map[manifest.Severity]int{manifest.High: 3, manifest.Severity(name): 2}, Images: 2, Unknown: 1}},
			}
			unknown := []upgrade.UnknownImage{{Image: name, Why: name}}
			j.assessments = []upgrade.Assessment{{Deployment: "k" + name, Findings: []upgrade.Finding{x}, Lifted: []upgrade.Finding{lifted}, Unknown: unknown, NotJudged: name, Doubts: []string{name}, Inputs: j.inputs}}
			j.waivers = []upgrade.Waiver{{Finding: name, Reason: name, Deployments: name, RequestedBy: name, ApprovedBy: name}}
			side := manifest.Side{Known: true, PodSecurity: manifest.PodLevel(name), Exposure: manifest.Exposure(name), ExposureWhy: name, Images: []manifest.Image{{Ref: name}}, Unstable: []string{name}}
			found := manifest.Finding{Rule: "value-" + name, Severity: manifest.Severity(name), Object: name, Message: name, Old: name, New: name}
			j.reviews = []upgrade.Review{{
				Digest: digestOf("r"), Deployment: "k" + name, Chart: name, Inputs: j.inputs, From: upgrade.Side{Version: name, Archive: name, Upstream: name, Images: []string{name}}, To: upgrade.Side{Version: name, Project: name, Images: []string{name}},
				Closed: []upgrade.Finding{x}, Introduced: []upgrade.Finding{x}, Remaining: []upgrade.Finding{lifted}, Unknown: unknown, SetBy: x.Key, Deadline: x.Decision.Deadline,
				Compared: manifest.Comparison{
					Old: side, New: side, Basis: manifest.Basis(name), Findings: []manifest.Finding{found}, Fit: manifest.Fit{Vanished: []string{name}, Required: []string{name}},
					Effort: manifest.Effort{Class: manifest.EffortClass(name), Parts: []manifest.EffortPart{{Why: name, Approver: name, Finding: found}}},
					Undo:   manifest.Undo{Verdict: manifest.UndoVerdict(name), Reasons: []manifest.Obstacle{{Rule: name, Object: name, Message: name, Until: name}}}, Objects: []manifest.ObjectDiff{{Object: name, Change: name, Source: name, Text: "+" + name}},
				},
				Notes:   []upgrade.NoteHints{{Version: name, Source: name, URL: name, Digest: name, Hints: []notes.Hint{{Rule: name, Text: name, IDs: []string{name}}}}},
				Verdict: upgrade.Verdict{Advice: name, Text: name, Reasons: []string{name}}, Doubts: []string{name}, State: upgrade.ReviewOpen,
				Checklist: []upgrade.ChecklistItem{{ID: name, Text: name, Finding: name, Required: true, Role: upgrade.Reviewer}}, Roles: []upgrade.SignRole{upgrade.Reviewer, upgrade.SignRole("r" + name)},
				Signoffs: []upgrade.Signoff{{Role: upgrade.SignRole("r" + name), By: name, Name: name, Text: name, Answers: map[string]string{name: "a" + name}, Digest: name}},
			}}
			candidate := upgrade.Candidate{Side: upgrade.Side{Version: name, Archive: name, Upstream: name, Images: []string{name}}, Review: name, Reviewed: upgrade.ReviewState(name), Closes: []string{x.Key}, Why: name, Effort: j.reviews[0].Compared.Effort}
			slot := &calendar.Slot{Window: name, Start: now.Add(time.Hour), End: now.Add(2 * time.Hour)}
			j.plans = []upgrade.Plan{{
				Deployment: "k" + name, Chart: name, From: name, Digest: name, Inputs: j.inputs, Action: upgrade.ActRemedy, Text: name, Chosen: &candidate, Candidates: []upgrade.Candidate{candidate}, Open: 1, Deadline: now, SetBy: name, Due: now,
				Remedies: []upgrade.Remedy{{Kind: name, Text: name, For: []string{name, x.Key}, Image: name, Target: name, Values: name, Verified: name}}, Slot: slot, Emergency: name, Tests: name, Approvals: []upgrade.SignRole{upgrade.SignRole(name)}, Doubts: []string{name},
			}, {Deployment: "o", Action: name}}
			j.windows = []calendar.Window{{Name: name, Schedule: name, Duration: name, Zone: name, Environments: []string{name}, Reason: name}}
			j.upgrades = []upgrade.Upgrade{
				{ID: 1, Deployment: "k" + name, Chart: name, From: name, To: name, Archive: name, State: upgrade.Seen, WaitsFor: "w" + name, Owner: name, Review: digestOf("r"), Plan: name, Ticket: name, Slot: slot, Since: now, Steps: []upgrade.Step{{Time: now, State: upgrade.Seen, By: name, Text: name}}},
				{ID: 2, Deployment: name, State: upgrade.State(name), Since: now, WaitsFor: name},
			}
			j.status = upgrade.Status{Rows: []upgrade.StatusRow{{Deployment: "k" + name, Chart: name, Version: name, State: upgrade.ActRemedy, WaitsFor: name}}}
			j.practice = upgrade.Practice{Environments: []upgrade.PracticeRow{{Environment: name}}, Exposures: []upgrade.Exposed{{Deployment: name, Key: name, Severity: manifest.Severity(name), How: name, Closed: now, Opened: now}}}
			f.watching.deployments[0].Key = "k" + name
			followed := map[string]bool{}
			long := len(name) > maxLinkedName
			for _, path := range []string{
				"/ui/", "/ui/advisories", "/ui/advisories?" + url.Values{"q": {name}}.Encode(), "/ui/advisories?" + url.Values{"id": {x.Key}}.Encode(), "/ui/upgrades", "/ui/upgrades?" + url.Values{"view": {"list"}, "q": {name}, "owner": {name}, "state": {name}}.Encode(),
				"/ui/upgrades/1", "/ui/upgrades/1?" + url.Values{"finding": {x.Key}}.Encode(), "/ui/upgrades/2", "/ui/reviews/" + digestOf("r"), "/ui/plan", "/ui/plan?" + url.Values{"q": {name}, "action": {name}, "owner": {name}}.Encode(),
				"/ui/waivers", "/ui/advisories?" + url.Values{"id": {x.Key}, "deployment": {"k" + name}}.Encode(), "/ui/plan?" + url.Values{"deployment": {"k" + name}}.Encode(), "/ui/practice", "/ui/agenda?" + url.Values{"owner": {name}}.Encode(), "/ui/deployments?" + url.Values{"key": {"k" + name}}.Encode(),
			} {
				w := get(t, f, manager, path)
				if long && w.Code == http.StatusNotFound {
					continue // a page of a name that is too long
				}
				if w.Code != 200 {
					t.Fatalf("%s: status %d\n%s", shorten(path, 200), w.Code, w.Body)
				}
				if w.Body.Len() > 400<<10 {
					t.Errorf("%s: %d bytes", shorten(path, 200), w.Body.Len())
				}
				doc := parseHTML(t, w.Body.String())
				checkPage(t, doc)
				if strings.ContainsAny(doc.text, "\x00\x1b\u202e") {
					t.Errorf("%s shows what cannot be seen", shorten(path, 200))
				}
				checkLinks(t, f, manager, doc, followed)
			}
			w := post(t, f, manager, "/ui/reviews/"+digestOf("r")+"/sign", url.Values{"role": {"reviewer"}, "say": {"accept"}, "text": {name}, "upgrade": {"1"}})
			doc := parseHTML(t, w.Body.String())
			checkPage(t, doc)
			if w.Code != http.StatusUnprocessableEntity || len(doc.all("textarea[aria-invalid=true]")) != 1 {
				t.Errorf("a sign-off that lacks an answer: status %d", w.Code)
			}
		})
	}
}

// checkLinks follows every link of the judgement once: each leads to a page.
func checkLinks(t *testing.T, f *fakeService, c release.Caller, doc *element, followed map[string]bool) {
	t.Helper()
	for _, a := range doc.all("a") {
		href, _, _ := strings.Cut(a.attrs["href"], "#")
		switch {
		case href == "" || followed[href]:
		case strings.HasPrefix(href, "https://") || strings.HasPrefix(href, "http://"):
		case !strings.HasPrefix(href, "/ui/"):
			t.Errorf("a link to %.100q", href)
		case strings.HasPrefix(href, "/ui/advisories") || strings.HasPrefix(href, "/ui/plan") || strings.HasPrefix(href, "/ui/upgrades") || strings.HasPrefix(href, "/ui/reviews"):
			followed[href] = true
			if w := get(t, f, c, href); w.Code != 200 && w.Code != http.StatusNotFound {
				t.Errorf("a link to %.300q: status %d", href, w.Code)
			}
		}
	}
}

// TestSampleLinks: in the sample, every link of the judgement leads to a page.
func TestSampleLinks(t *testing.T) {
	f := newSample(t)
	followed := map[string]bool{}
	for _, path := range append([]string{"/ui/", "/ui/deployments/prod-eu/data/airflow"}, judgingPaths...) {
		if path == "/ui/calendar.ics" {
			continue
		}
		for _, a := range parseHTML(t, get(t, f, approver, path).Body.String()).all("a") {
			href, _, _ := strings.Cut(a.attrs["href"], "#")
			if !strings.HasPrefix(href, "/ui/") || followed[href] || strings.HasPrefix(href, "/ui/audit") || strings.Contains(href, "/log/") {
				continue
			}
			followed[href] = true
			if w := get(t, f, approver, href); w.Code != 200 {
				t.Errorf("%s leads to %s: status %d", path, href, w.Code)
			}
		}
	}
	if len(followed) < 40 {
		t.Errorf("only %d links", len(followed))
	}
}

// TestJudgingPaging: long lists are cut into pages, whose links lead through all,
// and what a page leaves out is said.
func TestJudgingPaging(t *testing.T) {
	f := newSample(t)
	j := f.judging
	u, p, row := j.upgrades[0], j.plans[1], j.list.Rows[1]
	for i := range 250 {
		u.ID, p.Deployment = int64(1000+i), fmt.Sprintf("many/%d", i)
		j.upgrades, j.plans = append(j.upgrades, u), append(j.plans, p)
		r := row
		r.Finding.Key = fmt.Sprintf("CVE-2030-%d in x", i)
		j.list.Rows = append(j.list.Rows, r)
	}
	j.list.Total = len(j.list.Rows)
	walk := func(path, rows string) (pages, n int) {
		for path != "" && pages < 50 {
			doc := parseHTML(t, get(t, f, manager, path).Body.String())
			checkPage(t, doc)
			n += len(doc.all(rows))
			pages++
			path = ""
			for _, a := range doc.all("nav.pager a") {
				if a.words() == "More" {
					path = a.attrs["href"]
				}
			}
		}
		return pages, n
	}
	if pages, n := walk("/ui/upgrades?view=list", "td[data-l=State]"); pages != 3 || n != 256 {
		t.Errorf("upgrades: %d rows on %d pages", n, pages)
	}
	if pages, n := walk("/ui/plan", "td[data-l=Effort]"); pages != 3 || n != 255 {
		t.Errorf("plans: %d rows on %d pages", n, pages)
	}
	if pages, n := walk("/ui/advisories?q=x", "td[data-l=Finding]"); pages != 3 || n != 256 {
		t.Errorf("advisories: %d rows on %d pages", n, pages)
	}
	if got := j.queries[len(j.queries)-1]; got.Query != "x" || got.After != 200 || got.Limit != advisoriesPerPage {
		t.Errorf("the last page asked for %+v", got)
	}
	doc := open(t, f, "/ui/upgrades")
	if n := len(doc.all(".board li")); n > len(stages)*cardsShown || len(doc.all(".board a[href=/ui/upgrades?state=seen]")) != 1 {
		t.Errorf("the board has %d cards", n)
	}
	if got := open(t, f, "/ui/").one(t, "caption a[href=/ui/upgrades]").words(); got == "" || len(doc.all("tbody tr")) > 3*waitsShown {
		t.Error("today lists everything, or does not say that it does not")
	}
	r := &j.reviews[0]
	for i := range 600 {
		x := r.Closed[0]
		x.Key = fmt.Sprint("k", i)
		r.Closed = append(r.Closed, x)
		r.Compared.Objects = append(r.Compared.Objects, manifest.ObjectDiff{Object: fmt.Sprint("o", i), Text: strings.Repeat("+x\n", 100)})
		r.Checklist = append(r.Checklist, upgrade.ChecklistItem{ID: fmt.Sprint("c", i), Text: "t", Role: upgrade.Security})
	}
	doc = open(t, f, "/ui/upgrades/300")
	text := doc.one(t, "main").words()
	if lines := len(doc.all(".diff ins")); lines > diffLines || !strings.Contains(text, "502 more are not shown") || !strings.Contains(text, "more are not; ") || !strings.Contains(text, "103 more items are not shown") {
		t.Errorf("%d lines of differences", lines)
	}
}

// TestNothingCompared: without the archive of what runs, the new version was
// compared with itself. The page does not say that nothing differs.
func TestNothingCompared(t *testing.T) {
	f := newSample(t)
	r := &f.judging.reviews[0]
	r.From.Archive = ""
	r.Compared.Findings, r.Compared.Objects, r.Compared.Same, r.Compared.Old = nil, nil, 21, r.Compared.New
	r.Compared.Fit = manifest.Fit{Set: 41, Kept: make([]string, 41)}
	r.Compared.Effort, r.Compared.Undo = manifest.EffortOf([]manifest.Finding{{Rule: "compared-as-text", Object: "airflow", Message: "was not compared"}}, "", ""), manifest.Undo{Verdict: manifest.UndoUnknown}
	doc := open(t, f, "/ui/upgrades/300")
	text := doc.one(t, "main").words()
	for _, not := range []string{"No object differs", "No rule speaks", "the same default as before", ", the same", "21 do not differ", "No obstacle"} {
		if strings.Contains(text, not) {
			t.Errorf("the page says %q", not)
		}
	}
	for _, want := range []string{"The archive of what runs is not had, so nothing could be compared with it.", "How many defaults that you do not set changed is not known.", "What stands in the way is not known."} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// TestFeedStates: old data are said to be old; only a feed that was read, and is
// not old, is green.
func TestFeedStates(t *testing.T) {
	snap := &advisory.Snapshot{}
	for name, tc := range map[string]struct {
		feed upgrade.Feed
		old  []string
		want string
	}{
		"fresh":           {upgrade.Feed{Name: "a", Current: snap}, []string{"ab: read 3 d ago"}, "ok fresh"},
		"never":           {upgrade.Feed{Name: "a"}, nil, "unk never read"},
		"never, failing":  {upgrade.Feed{Name: "a", Health: upgrade.FeedHealth{Failures: 2, Error: "503"}}, nil, "unk never read 2 reads failed: 503"},
		"stale":           {upgrade.Feed{Name: "a", Current: snap}, []string{"a: dated 5 d ago"}, "unk stale dated 5 d ago"},
		"stale, failing":  {upgrade.Feed{Name: "a", Current: snap, Health: upgrade.FeedHealth{Failures: 1}}, []string{"a: read 3 d ago"}, "unk stale 1 read failed; read 3 d ago"},
		"failing, so far": {upgrade.Feed{Name: "a", Current: snap, Health: upgrade.FeedHealth{Failures: 1, NextTry: now.Add(time.Hour)}}, nil, "warn no answer 1 read failed, next try in 1 h"},
	} {
		s := stateOfFeed(&tc.feed, tc.old, now)
		if got := strings.TrimSpace(s.Class + " " + s.Word + " " + s.Why); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

// TestTimeScale: marks stand in the order of time, on the axis, and a time that
// is too long for a picture is said in words alone.
func TestTimeScale(t *testing.T) {
	f := &frame{Now: moment{now, now}}
	slot := &calendar.Slot{Window: "w", Start: now.Add(day), End: now.Add(day + 3*time.Hour)}
	s := f.timeScale(now.Add(-12*day), now.Add(2*day), slot, "clock starts", deadlineWord)
	var got []string
	last := 0
	for i, m := range s.Marks {
		got = append(got, m.Kind)
		if m.X < last || m.X < pictureLeft || m.X > pictureRight || m.Y < 0 || m.Y >= s.AxisY || i > 0 && m.Y >= s.Marks[i-1].Y {
			t.Errorf("mark %+v after x=%d", m, last)
		}
		last = m.X
	}
	if !slices.Equal(got, []string{"start", "now", "slot", "end"}) || s.Band == nil || s.Band.X != s.Marks[2].X || !s.Drawn() || len(s.Facts) != 4 {
		t.Errorf("marks %v, band %+v, %d facts", got, s.Band, len(s.Facts))
	}
	if s.Label != "Time scale: clock starts 2026-11-09 21:40Z, now 2026-11-21 21:40Z, slot 2026-11-22 21:40Z, deadline 2026-11-23 21:40Z." {
		t.Errorf("in words: %s", s.Label)
	}
	late := f.timeScale(now.Add(-400*day), now.Add(-386*day), nil, "clock starts", deadlineWord)
	if late.Marks[1].Kind != "late" || late.Marks[2].Kind != "now" || late.Unit != "months" {
		t.Errorf("late: %+v in %s", late.Marks, late.Unit)
	}
	if due := f.timeScale(time.Time{}, now.Add(-day), nil, "", "due"); due.Marks[0].Kind != "due" {
		t.Errorf("by cadence: %+v", due.Marks)
	}
	if f.timeScale(time.Time{}, time.Time{}, nil, "a", "b") != nil {
		t.Error("a picture of nothing")
	}
	far := f.timeScale(time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), nil, "a", deadlineWord)
	if far.Drawn() || len(far.Facts) != 3 {
		t.Errorf("far: drawn %v, %d facts", far.Drawn(), len(far.Facts))
	}
}

// TestAxis: blocks follow each other from edge to edge, whatever the span.
func TestAxis(t *testing.T) {
	for _, span := range []time.Duration{0, time.Minute, day, 25 * day, 27 * day, 180 * day, 200 * day, 3 * 365 * day, 40 * 365 * day} {
		for _, from := range []time.Time{now, time.Date(2024, 2, 29, 23, 59, 0, 0, time.UTC), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} {
			a := newAxis(from, from.Add(span), pictureLeft)
			if a == nil {
				t.Fatalf("%v has no axis", span)
			}
			if len(a.Blocks) == 0 || len(a.Blocks) > mostBlocks || len(a.Ticks) == 0 || len(a.Ticks) > 16 {
				t.Errorf("%v: %d blocks, %d ticks", span, len(a.Blocks), len(a.Ticks))
			}
			x := pictureLeft
			for i, b := range a.Blocks {
				if b.X != x || b.W < 1 || b.Filled != (i%2 == 0) {
					t.Fatalf("%v: block %d is %+v, after %d", span, i, b, x)
				}
				x += b.W
			}
			if x != pictureRight {
				t.Errorf("%v ends at %d", span, x)
			}
			if a.x(from) < pictureLeft || a.x(from.Add(span)) > pictureRight || a.from.After(from) || !a.to.After(from.Add(span)) {
				t.Errorf("%v: from %v to %v", span, a.from, a.to)
			}
		}
	}
	if newAxis(now, now.Add(150*365*day), pictureLeft) != nil {
		t.Error("150 years are drawn")
	}
}

func TestWeeks(t *testing.T) {
	var weeks []upgrade.PracticeWeek
	for i := range 200 {
		weeks = append(weeks, upgrade.PracticeWeek{Start: now.AddDate(0, 0, 7*i), Open: i, Late: i / 2, Closed: i % 9, OnTime: i % 3})
	}
	p := drawWeeks(weeks)
	if len(p.Bars) != mostWeeks || p.Most != 199 || !strings.Contains(p.Label, "199 open, of them 99 late") || len(p.Ticks) > 14 {
		t.Errorf("%d bars up to %d, %d ticks: %s", len(p.Bars), p.Most, len(p.Ticks), p.Label)
	}
	for _, b := range p.Bars {
		if b.ClosedY < weeksTop || b.ClosedY+b.ClosedH != weeksBottom || b.OnTimeH > b.ClosedH && b.OnTimeH > 3 || b.X+b.W > pictureRight {
			t.Fatalf("bar %+v", b)
		}
	}
	if drawWeeks(nil) != nil || drawWeeks([]upgrade.PracticeWeek{{Start: now}}).Most != 1 {
		t.Error("weeks of nothing")
	}
	for of, want := range map[[2]int]string{{0, 0}: "", {0, 7}: "0 %", {7, 7}: "100 %", {1, 1000}: "below 1 %", {999, 1000}: "99 %"} {
		if got := shareOf(of[0], of[1]).Text; got != want {
			t.Errorf("%d of %d is %q, want %q", of[0], of[1], got, want)
		}
	}
}

// TestDays: the small lines of Today count what was open on each day.
func TestDays(t *testing.T) {
	p := &todayPage{frame: frame{Now: moment{now, now}}}
	step := func(ago time.Duration, s upgrade.State) upgrade.Step {
		return upgrade.Step{Time: now.Add(-ago), State: s}
	}
	g := &gathered{upgrades: []upgrade.Upgrade{
		{State: upgrade.Seen, Steps: []upgrade.Step{step(3*day, upgrade.Seen)}},
		{State: upgrade.Verified, Steps: []upgrade.Step{step(30*day, upgrade.Seen), step(6*day-time.Hour, upgrade.Reviewed), step(2*day-time.Hour, upgrade.Verified)}},
	}}
	open := p.days(g, func(*upgrade.Upgrade, upgrade.State) bool { return true })
	seen := p.days(g, func(_ *upgrade.Upgrade, s upgrade.State) bool { return s == upgrade.Seen })
	if fmt.Sprint(open) != "[1 1 1 1 1 1 1 1 1 1 2 2 1 1]" || fmt.Sprint(seen) != "[1 1 1 1 1 1 1 1 0 0 1 1 1 1]" {
		t.Errorf("open %v, seen %v", open, seen)
	}
	for range endedRead {
		g.upgrades = append(g.upgrades, upgrade.Upgrade{State: upgrade.Dismissed})
	}
	if p.days(g, func(*upgrade.Upgrade, upgrade.State) bool { return true }) != nil {
		t.Error("days are counted from upgrades that were not all read")
	}
	if got := p.onDays([]time.Time{now, now.Add(-time.Hour), now.Add(-25 * time.Hour), now.Add(-40 * day), now.Add(day)}); fmt.Sprint(got) != "[0 0 0 0 0 0 0 0 0 0 0 0 1 3]" && fmt.Sprint(got) != "[0 0 0 0 0 0 0 0 0 0 0 0 1 2]" {
		t.Errorf("per day: %v", got)
	}
	if sparkOf("x", nil) != nil || sparkOf("x", []int{0, 0}).Points != "2.0,22.0 86.0,22.0" {
		t.Error("a line of nothing")
	}
}

// TestNamesLead: advisories and deployments lead to their pages whatever they
// look like.
func TestNamesLead(t *testing.T) {
	f := &frame{Base: "/ui"}
	for id, want := range map[string]string{
		"CVE-2023-1": "/ui/advisories/CVE-2023-1", "CVE-1 in bitnami/airflow": "/ui/advisories/CVE-1%20in%20bitnami/airflow", "../x": "/ui/advisories?id=..%2Fx",
		"a//b": "/ui/advisories?id=a%2F%2Fb", "a\nb": "/ui/advisories?id=a%0Ab", "": "", strings.Repeat("x", 2000): "",
	} {
		if got := advisoryPath("/ui", id); got != want {
			t.Errorf("%.40q is at %s, want %s", id, got, want)
		}
	}
	for key, want := range map[string]string{"a/b/c": "/ui/plan/a/b/c", "/abs": "/ui/plan?deployment=%2Fabs", "": ""} {
		if got := f.planPath(key); got != want {
			t.Errorf("%q is at %s, want %s", key, got, want)
		}
	}
}

// TestUrgency: what is long due by cadence never hides what is late.
func TestUrgency(t *testing.T) {
	f := newSample(t)
	j := f.judging
	u := upgrade.Upgrade{Chart: "c", From: "1", To: "2", State: upgrade.Reviewed, Since: now, WaitsFor: "somebody", Due: now.Add(-90 * day)}
	j.upgrades = nil
	for i := range 2 * waitsShown {
		u.ID, u.Deployment = int64(i+1), fmt.Sprintf("cadence/%d", i)
		j.upgrades = append(j.upgrades, u)
	}
	u.ID, u.Deployment, u.Security, u.Due = 900, "late/one", true, now.Add(-time.Hour)
	j.upgrades = append(j.upgrades, u)
	if got := open(t, f, "/ui/upgrades").all(".board li")[0].words(); !strings.Contains(got, "late/one") {
		t.Errorf("the first card is %s", got)
	}
	if got := open(t, f, "/ui/upgrades?view=list").all("tbody tr")[0].words(); !strings.Contains(got, "late/one") {
		t.Errorf("the first row is %s", got)
	}
	doc := open(t, f, "/ui/")
	if got := doc.all("tbody tr")[1].words(); !strings.Contains(got, "late/one") { // behind what is late without a fixed chart
		t.Errorf("today begins with %s", got)
	}
	if got := doc.one(t, ".tally").words(); !strings.Contains(got, "Security upgrades due 1 1 late") {
		t.Errorf("today counts %s", got)
	}
}
