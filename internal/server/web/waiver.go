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

// waiversPage lists what is let be for a time, and what somebody wants to let
// be. What a form about a waiver was refused for is told here, wherever the form
// stood.
type waiversPage struct {
	frame
	Views        []preset
	All          bool
	Total        int
	Newer, Older string
	Failed       *failedForm
	Back         string // URL of the page that the refused form was on; "" for this one
	List         waiverList
}

// waiverList is waivers on some page, with what its reader may do about them.
type waiverList struct {
	Rows   []waiverRow
	More   int // that are not shown
	Target string
	Next   string // path below Base of the page, to which forms lead back
	Shut   bool   // the server takes no forms
	Ask    *waiverForm
	WhyNot string // who can ask for one, when this reader cannot
}

// waiverRow is a waiver.
type waiverRow struct {
	ID                              int64
	Finding                         string
	Reason, Deployments, Component  string
	By, Approver                    string
	Requested, Approved, Expires    moment
	State                           sourceState
	Waits, MayApprove, MayEnd, Mine bool
}

// waiverForm asks for a waiver.
type waiverForm struct {
	Findings             []choice // to pick one of; none: it is written
	Finding, Deployments string
	Component, Reason    string
	Until                string
	Failed               bool
}

const waiversPerPage = 100

// waivers costs all waivers that count or wait; with all=yes, all there were.
func (d *Door) waivers(w http.ResponseWriter, r *http.Request, ref refusal) error {
	ctx, c, q := r.Context(), server.CallerOf(r), r.URL.Query()
	all := q.Get("all") == "yes"
	list, err := d.cfg.Judging.Waivers(ctx, c, all)
	if err != nil {
		return err
	}
	base := server.ContextPath(r) + prefix
	p := &waiversPage{frame: d.frameOf(r, "Waivers", "advisories", link{"Advisories", base + "/advisories"}, link{"Waivers", ""}), All: all, Total: len(list), Failed: ref.view()}
	self := base + "/waivers"
	p.Views = []preset{{link{"Count or wait", self}, !all}, {link{"All there were", self + "?all=yes"}, all}}
	p.List = d.waiverList(ctx, c, &p.frame, "", ref)
	from, to, newer, older := pageOf(len(list), waiversPerPage, q, self, "all")
	p.Newer, p.Older = newer, older
	slices.SortStableFunc(list, func(a, b upgrade.Waiver) int { return waiverRank(&a, p.Now.at) - waiverRank(&b, p.Now.at) })
	for i := range list[from:to] {
		p.List.Rows = append(p.List.Rows, d.waiverRow(ctx, c, &p.frame, &list[from+i]))
	}
	if back := next(ref.typed.Get("next")); ref.err != nil && back != "/waivers" && back != "/" {
		p.Back = p.Base + back
	}
	return d.render(w, r, ref.statusOr(http.StatusOK), "waivers", p)
}

// waiverRank orders waivers: what waits for somebody, what counts, what ended.
func waiverRank(w *upgrade.Waiver, now time.Time) int {
	switch {
	case !w.Ended.IsZero() || !w.Expires.After(now):
		return 2
	case w.ApprovedBy == "":
		return 0
	}
	return 1
}

// waiverList is an empty list with the form for whoever may ask.
func (d *Door) waiverList(ctx context.Context, c release.Caller, f *frame, finding string, ref refusal) waiverList {
	v := waiverList{Target: f.Base + "/waivers", Next: f.Here, Shut: f.Closed()}
	if !d.can(ctx, c, access.AdvisoryWrite, "", "", false) {
		v.WhyNot = "Whoever may write advisories can ask for a waiver, such as a release manager of all projects."
		return v
	}
	v.Ask = &waiverForm{Finding: finding, Until: f.Now.at.UTC().AddDate(0, 1, 0).Format(time.DateOnly)}
	if ref.err != nil && ref.typed.Get("do") == "ask" {
		get := func(name string) string { return shown(ref.typed.Get(name), maxSentence) }
		*v.Ask = waiverForm{Finding: get("finding"), Deployments: get("deployments"), Component: get("component"), Reason: typed(ref.typed.Get("reason")), Until: get("until"), Failed: true}
	}
	if ref.err != nil {
		v.Next = next(ref.typed.Get("next"))
	}
	return v
}

func (d *Door) waiverRow(ctx context.Context, c release.Caller, f *frame, w *upgrade.Waiver) waiverRow {
	row := waiverRow{
		ID: w.ID, Finding: named(w.Finding), Reason: said(w.Reason, maxSentence), Deployments: shown(w.Deployments, maxName), Component: shown(w.Component, maxName),
		By: shown(cmp.Or(w.RequestedByName, w.RequestedBy), maxName), Approver: shown(cmp.Or(w.ApprovedByName, w.ApprovedBy), maxName),
		Requested: moment{w.Requested, f.Now.at}, Approved: moment{w.Approved, f.Now.at}, Expires: moment{w.Expires, f.Now.at},
		State: sourceState{Class: "warn", Icon: "wait", Word: "waits for approval by another person"}, Mine: w.RequestedBy == accountOf(&c),
	}
	switch {
	case !w.Ended.IsZero():
		row.State = sourceState{Class: "mute", Icon: "skip", Word: "taken back"}
		return row
	case row.Expires.Past():
		row.State = sourceState{Class: "mute", Icon: "skip", Word: "ended"}
		return row
	case w.ApprovedBy != "":
		row.State = sourceState{Class: "mute", Icon: "stale", Word: "counts"}
	default:
		row.Waits = true
		row.MayApprove = !row.Mine && d.can(ctx, c, access.UpgradeApprove, "", "", false)
	}
	row.MayEnd = d.can(ctx, c, access.AdvisoryWrite, "", "", false)
	return row
}

// showWaivers lists the waivers that are meant for findings, on a deployment or,
// for "", on any.
func (d *Door) showWaivers(ctx context.Context, c release.Caller, f *frame, v *waiverList, key string, findings ...upgrade.Finding) error {
	list, err := d.cfg.Judging.Waivers(ctx, c, false)
	if err != nil {
		return err
	}
	for i := range list {
		w := list[i]
		if key == "" {
			w.Deployments = ""
		}
		if !slices.ContainsFunc(findings, func(x upgrade.Finding) bool { return w.Covers(&x, key) }) {
			continue
		}
		if len(v.Rows) == linesShown {
			v.More++
			continue
		}
		v.Rows = append(v.Rows, d.waiverRow(ctx, c, f, &list[i]))
	}
	return nil
}

// waiversOf fills in the waivers of an upgrade's deployment. Cost: its
// assessment, and all waivers that count or wait.
func (d *Door) waiversOf(ctx context.Context, c release.Caller, p *upgradePage, u *upgrade.Upgrade) error {
	a, err := d.cfg.Judging.Assessment(ctx, c, u.Deployment)
	if err != nil && problem.KindOf(err) != problem.NotFound {
		return err
	}
	v := d.waiverList(ctx, c, &p.frame, "", refusal{})
	if p.Ended {
		v.Ask, v.WhyNot = nil, ""
	}
	if v.Ask != nil {
		v.Ask.Deployments = globOf(u.Deployment)
		for i := range a.Findings[:min(len(a.Findings), findingsShown)] {
			x := &a.Findings[i]
			if key := shown(x.Key, maxLinkedName); key == x.Key && key != "" {
				text := key
				if x.Title != "" {
					text += ": " + shown(x.Title, 80)
				}
				v.Ask.Findings = append(v.Ask.Findings, choice{Value: key, Text: text})
			}
		}
	}
	p.Waivers = v
	return d.showWaivers(ctx, c, &p.frame, &p.Waivers, u.Deployment, slices.Concat(a.Findings, a.Lifted)...)
}

// globOf is the pattern that fits one key alone.
func globOf(key string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(shown(key, maxLinkedName))
}

// setWaiver asks for a waiver, lets one count, or takes one back.
func (d *Door) setWaiver(w http.ResponseWriter, r *http.Request) error {
	ctx, c, form := r.Context(), server.CallerOf(r), r.PostForm
	id, _ := strconv.ParseInt(form.Get("id"), 10, 64) // one that is none is not there
	var err error
	switch form.Get("do") {
	case "ask":
		get := func(name string) string { return strings.TrimSpace(form.Get(name)) }
		until, _ := time.Parse(time.DateOnly, get("until")) // a zero one is refused with what is needed
		_, err = d.cfg.Judging.RequestWaiver(ctx, c, upgrade.NewWaiver{Finding: get("finding"), Deployments: get("deployments"), Component: get("component"), Reason: get("reason"), Expires: until})
	case "approve":
		_, err = d.cfg.Judging.ApproveWaiver(ctx, c, id)
	case "end":
		_, err = d.cfg.Judging.EndWaiver(ctx, c, id)
	default:
		return unknownForm()
	}
	if err == nil {
		return redirect(w, r, next(cmp.Or(form.Get("next"), "/waivers"))+"#waivers")
	}
	if ref, ok := refused("waiver", err, form); ok {
		return d.waivers(w, r, ref)
	}
	if status, p := server.Status(err); p.Rule == "waiver-own" {
		return d.waivers(w, r, refusal{"waiver", status, p, url.Values{"next": form["next"]}})
	}
	return err
}
