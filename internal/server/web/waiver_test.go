package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

var waiverForms = map[string]formCase{
	"ask": {manager, "/ui/waivers", url.Values{"do": {"ask"}, "finding": {" CVE-2023-50943 in bitnami/airflow "}, "deployments": {"prod-*"}, "component": {"bitnami/airflow"}, "reason": {" not reachable\n"}, "until": {"2026-12-21"}},
		`data-oncall wants CVE-2023-50943 in bitnami/airflow waived on "prod-*" in "bitnami/airflow" until 2026-12-21: not reachable`, "/ui/waivers#waivers"},
	"ask on a story":     {manager, "/ui/waivers", url.Values{"do": {"ask"}, "finding": {"x"}, "until": {"2026-12-21"}, "next": {"/upgrades/300?finding=x"}}, `data-oncall wants x waived on "" in "" until 2026-12-21: `, "/ui/upgrades/300?finding=x#waivers"},
	"ask and lead away":  {manager, "/ui/waivers", url.Values{"do": {"ask"}, "finding": {"x"}, "until": {"2026-12-21"}, "next": {"//evil.example/"}}, `data-oncall wants x waived on "" in "" until 2026-12-21: `, "/ui/#waivers"},
	"approve":            {approver, "/ui/waivers", url.Values{"do": {"approve"}, "id": {"4"}, "next": {"/waivers?all=yes"}}, "sec-lead approves waiver 4", "/ui/waivers?all=yes#waivers"},
	"end":                {manager, "/ui/waivers", url.Values{"do": {"end"}, "id": {"5"}}, "data-oncall ends waiver 5", "/ui/waivers#waivers"},
	"review a version":   {manager, "/ui/upgrades/300/review", url.Values{"version": {" 8.8.1 "}}, "data-oncall has 8.8.1 of prod-eu/data/airflow reviewed", "/ui/reviews/" + digestOf("review 1")},
	"review on the plan": {manager, "/ui/upgrades/302/review", nil, "data-oncall has  of prod-eu/rollouts/argo-rollouts reviewed", "/ui/reviews/" + digestOf("review 1")},
}

// TestWaiverForms: forms about waivers and reviews do what they say for whoever
// may, and nothing else.
func TestWaiverForms(t *testing.T) {
	for name, tt := range waiverForms {
		t.Run(name, func(t *testing.T) { checkForm(t, tt, func(f *fakeService) []string { return f.judging.did }) })
	}
	// The rights are those of the use cases: to ask is not to approve.
	for name, tt := range map[string]struct {
		who  release.Caller
		form url.Values
	}{
		"who asks approves":   {manager, waiverForms["approve"].form},
		"who approves asks":   {approver, waiverForms["ask"].form},
		"who approves ends":   {approver, waiverForms["end"].form},
		"who only reads asks": {maintainer, waiverForms["ask"].form},
	} {
		f := newSample(t)
		if w := post(t, f, tt.who, "/ui/waivers", tt.form); w.Code != http.StatusForbidden || len(f.judging.did) != 0 {
			t.Errorf("%s: status %d, done %q", name, w.Code, f.judging.did)
		}
	}
	if w := get(t, newSample(t), manager, "/ui/upgrades/300/review"); w.Code != 405 || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET of a form's target: %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
	if w := post(t, newSample(t), manager, "/ui/upgrades/999/review", url.Values{"version": {"1"}}); w.Code != http.StatusNotFound {
		t.Errorf("a review for an upgrade that is not there: %d", w.Code)
	}
}

// TestWaiverRefusals: what the person can put right is told with what was typed,
// and with the way back to the page of the form.
func TestWaiverRefusals(t *testing.T) {
	ask := url.Values{"do": {"ask"}, "finding": {"CVE-<1>"}, "deployments": {"prod-*"}, "component": {"go/stdlib"}, "reason": {"not <reachable>"}, "until": {"soon"}, "next": {"/upgrades/300"}}
	for name, tt := range map[string]struct {
		who    release.Caller
		path   string
		form   url.Values
		refuse error
		status int
		words  string
	}{
		"no day":         {manager, "/ui/waivers", ask, nil, 400, "Nothing was changed: a waiver of CVE-<1> needs a date on which it ends"},
		"approved":       {approver, "/ui/waivers", url.Values{"do": {"approve"}, "id": {"5"}, "next": {"/upgrades/300"}}, problem.New(problem.Conflict, "waiver-approved", "waiver 5 was approved at noon by ann"), 409, "Nothing was changed: waiver 5 was approved at noon by ann"},
		"one's own":      {approver, "/ui/waivers", url.Values{"do": {"approve"}, "id": {"4"}, "next": {"/upgrades/300"}}, problem.New(problem.Denied, "waiver-own", "you asked for waiver 4 yourself; another person approves it"), 403, "you asked for waiver 4 yourself"},
		"no version":     {manager, "/ui/upgrades/300/review", url.Values{"version": {"9.9.9"}}, nil, 404, "Nothing was changed: no version 9.9.9 of chart airflow is known"},
		"not comparable": {manager, "/ui/upgrades/300/review", url.Values{"version": {"<8>"}}, problem.New(problem.Conflict, "review", "ann <b> changed it meanwhile"), 409, "Nothing was changed: ann <b> changed it meanwhile"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newSample(t)
			f.judging.refuse = tt.refuse
			w := post(t, f, tt.who, tt.path, tt.form)
			doc := parseHTML(t, w.Body.String())
			checkPage(t, doc)
			alert := doc.one(t, "[role=alert]").words()
			if w.Code != tt.status || !strings.Contains(alert, tt.words) || strings.Contains(alert, "--until") || len(f.judging.did) != 0 {
				t.Errorf("status %d, done %q: %s", w.Code, f.judging.did, alert)
			}
			if back := doc.all("p a[href=/ui/upgrades/300]"); tt.path == "/ui/waivers" && len(back) != 1 {
				t.Error("there is no way back")
			}
			for field, typed := range tt.form {
				for _, in := range append(doc.all("#waivers input[name="+field+"]"), doc.all("#reviews input[name="+field+"]")...) {
					if tt.form.Get("do") != "approve" && in.attrs["value"] != typed[0] {
						t.Errorf("%s was %q, and is %q", field, typed[0], in.attrs["value"])
					}
				}
				if field == "reason" && doc.one(t, "textarea[name=reason]").words() != typed[0] {
					t.Error("the reason is gone")
				}
			}
		})
	}
}

// TestWaiverRows: who sees which waiver, in which state, with which button.
func TestWaiverRows(t *testing.T) {
	f := newSample(t)
	f.judging.waivers = append(f.judging.waivers,
		upgrade.Waiver{ID: 7, Finding: "GO-2024-1", Component: "go/stdlib", Deployments: `staging-eu/*`, Reason: "elsewhere", RequestedBy: "usr-sec-lead", Expires: now.Add(time.Hour)},
		upgrade.Waiver{ID: 8, Finding: "CVE-2023-50943", Reason: "back", RequestedBy: "usr-data-oncall", Expires: now.Add(time.Hour), Ended: now.Add(-time.Hour)},
		upgrade.Waiver{ID: 9, Finding: "CVE-2023-1111", Reason: "over", RequestedBy: "usr-data-oncall", ApprovedBy: "usr-sec-lead", Expires: now},
	)
	buttons := func(c release.Caller, path string) string {
		doc := parseHTML(t, get(t, f, c, path).Body.String())
		checkPage(t, doc)
		var out []string
		for _, b := range doc.all("#waivers td button") {
			out = append(out, b.words())
		}
		return strings.Join(out, ", ")
	}
	for _, tt := range []struct {
		who        release.Caller
		path, want string
	}{
		{manager, "/ui/waivers", "Take waiver 4 back, Take waiver 6 back, Take waiver 7 back, Take waiver 5 back"},
		{approver, "/ui/waivers", "Approve waiver 4, Approve waiver 6"}, // 7 is one's own
		{twoHats, "/ui/waivers", ""},
		{maintainer, "/ui/waivers", ""},
		{manager, "/ui/upgrades/300", "Take waiver 4 back, Take waiver 5 back"}, // 6 names nothing that is open, 7 is for another deployment
		{manager, "/ui/upgrades/301", ""},
		{approver, "/ui/advisories/CVE-2023-50943", "Approve waiver 4"},
	} {
		if got := buttons(tt.who, tt.path); got != tt.want {
			t.Errorf("%s on %s: %q, want %q", tt.who.Principal.Name, tt.path, got, tt.want)
		}
	}
	doc := parseHTML(t, get(t, f, manager, "/ui/waivers").Body.String())
	for row, words := range map[int]string{0: "waits for approval", 3: "counts approved by usr-sec-lead", 4: "taken back", 5: "ended"} {
		if got := doc.all("#waivers tbody tr")[row].words(); !strings.Contains(got, words) {
			t.Errorf("row %d lacks %q: %s", row, words, got)
		}
	}
	// A key is a pattern of itself alone.
	f.judging.upgrades[0].Deployment = `prod-eu/[data]/*`
	doc = parseHTML(t, get(t, f, manager, "/ui/upgrades/300").Body.String())
	if got := doc.one(t, "input[name=deployments]").attrs["value"]; got != `prod-eu/\[data]/\*` || !(&upgrade.Waiver{Finding: "x", Deployments: got}).Covers(&upgrade.Finding{Key: "x"}, `prod-eu/[data]/*`) {
		t.Errorf("the pattern of a deployment is %s", got)
	}
	f.judging.waivers = nil
	for range 250 {
		f.judging.waivers = append(f.judging.waivers, upgrade.Waiver{ID: int64(len(f.judging.waivers) + 1), Finding: "x", Reason: "y", Expires: now.Add(time.Hour)})
	}
	seen := 0
	for path := "/ui/waivers?all=yes"; path != ""; {
		doc := parseHTML(t, get(t, f, manager, path).Body.String())
		checkPage(t, doc)
		seen += len(doc.all("#waivers tbody tr"))
		path = ""
		for _, a := range doc.all("#waivers .pager a") {
			if a.words() == "More" {
				path = a.attrs["href"]
			}
		}
	}
	if seen != 250 {
		t.Errorf("%d of 250 were seen", seen)
	}
}
