package web

import (
	"context"
	"net/http"
	"strings"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// reviewsView is the reviews of a deployment, with the form that asks for one of
// a version that somebody chose.
type reviewsView struct {
	Rows     []reviewRow
	More     bool     // there are older ones
	MayAsk   bool     // this reader
	Versions []string // that the plan compared, to choose from
	Version  string   // in the form
	Failed   bool
}

// reviewRow is a review in a list.
type reviewRow struct {
	Move    string
	URL     string
	Verdict verdictView
	State   stateWord
	Made    moment
	Here    bool // it stands on this page
}

const reviewsShown = 20

// reviewsOf lists the newest reviews of an upgrade's deployment. Cost: a row of
// each that is shown, and the plan.
func (d *Door) reviewsOf(ctx context.Context, c release.Caller, p *upgradePage, u *upgrade.Upgrade, ref refusal) error {
	v := &p.Reviews
	list, err := d.cfg.Judging.Reviews(ctx, c, upgrade.ReviewFilter{Deployment: u.Deployment, Limit: reviewsShown + 1})
	if err != nil {
		return err
	}
	v.More = len(list) > reviewsShown
	for i := range list[:min(len(list), reviewsShown)] {
		x := &list[i]
		v.Rows = append(v.Rows, reviewRow{
			Move: versioned(x.From.Version) + " to " + versioned(x.To.Version), URL: reviewPath(p.Base, x.Digest), Verdict: adviceOf(x.Verdict.Advice),
			State: stateOfReview(x.State), Made: moment{x.Made, p.Now.at}, Here: x.Digest == u.Review,
		})
	}
	if v.MayAsk = !p.Ended && d.can(ctx, c, access.UpgradeReview, "", "", false); !v.MayAsk {
		return nil
	}
	plan, err := d.cfg.Judging.Plan(ctx, c, u.Deployment)
	if err != nil && problem.KindOf(err) != problem.NotFound {
		return err
	}
	for i := range plan.Candidates[:min(len(plan.Candidates), findingsShown)] {
		v.Versions = append(v.Versions, shown(plan.Candidates[i].Version, maxName))
	}
	if p.Review == nil {
		v.Version = shown(u.To, maxName)
	}
	if ref.form == "review" {
		v.Version, v.Failed = shown(ref.typed.Get("version"), maxName), true
	}
	return nil
}

// askReview has a version reviewed for the deployment of an upgrade, and leads
// to what came of it.
func (d *Door) askReview(w http.ResponseWriter, r *http.Request, id int64) error {
	ctx, c := r.Context(), server.CallerOf(r)
	u, err := d.cfg.Judging.Upgrade(ctx, c, id)
	if err != nil {
		return err
	}
	x, err := d.cfg.Judging.MakeReview(ctx, c, u.Deployment, strings.TrimSpace(r.PostForm.Get("version")))
	if err == nil {
		return redirect(w, r, reviewPath("", x.Digest))
	}
	if ref, ok := refused("review", err, r.PostForm); ok {
		return d.upgrade(w, r, id, ref)
	}
	if status, p := server.Status(err); p.Kind == problem.NotFound { // a version that nobody knows
		return d.upgrade(w, r, id, refusal{"review", status, p, r.PostForm})
	}
	return err
}
