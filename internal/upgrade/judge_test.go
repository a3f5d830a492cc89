package upgrade_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upgrade"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// TestChain goes from what a deployment runs to what is open, by when, and what
// to do.
func TestChain(t *testing.T) {
	w := redisWorld(t)
	w.judge()
	a := w.assessment("prod/data/cache")
	if got := keys(a.Findings, upgrade.OfAdvisory); got != "CVE-2026-0001 in Bitnami/redis, CVE-2026-0002 in Bitnami/redis" {
		t.Fatalf("open: %s", got)
	}
	if a.Deadline.IsZero() || a.SetBy != "CVE-2026-0001 in Bitnami/redis" || len(a.Unknown) != 0 || a.NotJudged != "" {
		t.Errorf("deadline %v by %s, unknown %v, %s", a.Deadline, a.SetBy, a.Unknown, a.NotJudged)
	}
	p := w.plan("prod/data/cache")
	if p.Action != upgrade.ActUpgrade || p.Chosen == nil || len(p.Candidates) != 2 || p.Newest.Version != "1.2.0" {
		t.Fatalf("%+v", p)
	}
	if !p.Chosen.Meets || p.Slot != nil || p.Emergency != "" {
		t.Errorf("chosen %+v, slot %v, emergency %s", p.Chosen, p.Slot, p.Emergency)
	}
	ups, err := w.Upgrades(w.ctx, ann, upgrade.UpgradeFilter{Open: true})
	w.ok(err)
	if len(ups) != 1 || ups[0].State != upgrade.Seen || ups[0].To != p.Chosen.Version || ups[0].Review == "" || !ups[0].Security {
		t.Fatalf("%+v", ups)
	}
	if len(w.watch.told) != 1 || w.watch.told[0].Kind != watch.AdvisoryOpened {
		t.Errorf("told %+v", w.watch.told)
	}
	// Older data alone make no other review.
	w.now = w.now.AddDate(0, 0, 1)
	w.judge()
	if again, err := w.Upgrades(w.ctx, ann, upgrade.UpgradeFilter{Open: true}); err != nil || again[0].Review != ups[0].Review {
		t.Errorf("a day later: %+v %v", again, err)
	}
	// The same again is the same: nothing new is told, no second upgrade, and
	// the same plan.
	w.now = w.now.Add(time.Hour)
	w.restart()
	w.judge()
	again, err := w.Upgrades(w.ctx, ann, upgrade.UpgradeFilter{})
	w.ok(err)
	if len(again) != 1 || again[0].Review != ups[0].Review || len(again[0].Steps) != len(ups[0].Steps) || len(w.watch.told) != 1 {
		t.Errorf("again: %+v, told %d", again, len(w.watch.told))
	}
}

// TestUnknownIsNeverClean: without feeds, without a map, without images.
func TestUnknownIsNeverClean(t *testing.T) {
	w := newWorld(t)
	w.publishes("1.0.0", "6.2.6", morning, nil)
	w.runs("a", "1.0.0", []string{"docker.io/bitnami/redis:6.2.6", "registry.example/own/tool:1"})
	w.runs("b", "1.0.0", nil, func(d *watch.Deployment) { d.Match.Archive, d.Unresolved = "", []string{"no archive"} })
	w.judge()
	a := w.assessment("a")
	if len(a.Findings) > 0 && keys(a.Findings, upgrade.OfAdvisory) != "" || len(a.Unknown) != 2 {
		t.Errorf("without feeds: %+v", a)
	}
	if b := w.assessment("b"); !strings.Contains(b.NotJudged, "no archive") {
		t.Errorf("without images: %+v", b)
	}
	if p := w.plan("b"); p.Action != upgrade.ActUnknown {
		t.Errorf("plan without images: %+v", p)
	}
	w.feed("bitnami", advisory.OSV, "["+osv("BIT-redis-2026-9", "CVE-2026-0009", "redis", "7.0.0", "7.0.1", vectorHigh, morning)+"]")
	w.judge()
	if a = w.assessment("a"); len(a.Unknown) != 1 || a.Unknown[0].Image != "registry.example/own/tool:1" {
		t.Errorf("with a feed: %+v", a.Unknown)
	}
	list, err := w.Advisories(w.ctx, ann, upgrade.AdvisoryFilter{})
	w.ok(err)
	if len(list.Unknown) != 1 || len(list.NotJudged) != 1 || list.Heat[0].Unknown != 1 {
		t.Errorf("%+v", list)
	}
	st, err := w.Status(w.ctx, ann, "")
	w.ok(err)
	for _, r := range st.Rows {
		if r.Deployment == "a" && r.Unknown != 1 || r.Deployment == "b" && r.State != upgrade.ActUnknown {
			t.Errorf("%+v", r)
		}
	}
}

// TestReview: what it says, who has to sign it, and what refuses to be signed.
func TestReview(t *testing.T) {
	w := redisWorld(t)
	w.judge()
	r, err := w.MakeReview(w.ctx, ann, "prod/data/cache", "1.2.0")
	w.ok(err)
	if keys(r.Closed, upgrade.OfAdvisory) != "CVE-2026-0001 in Bitnami/redis, CVE-2026-0002 in Bitnami/redis" || keys(r.Introduced, upgrade.OfAdvisory) != "" || keys(r.Remaining, upgrade.OfAdvisory) != "" {
		t.Errorf("closed %s; introduced %s; remaining %s", keys(r.Closed, upgrade.OfAdvisory), keys(r.Introduced, upgrade.OfAdvisory), keys(r.Remaining, upgrade.OfAdvisory))
	}
	if r.State != upgrade.ReviewOpen || r.Verdict.Advice == upgrade.AdviceCannotTell || r.Deadline.IsZero() {
		t.Errorf("%s %+v %v", r.State, r.Verdict, r.Deadline)
	}
	var asks string
	answers := map[string]string{}
	for _, item := range r.Checklist {
		asks += item.Text + "\n"
		if item.Required {
			answers[item.ID] = "done"
		}
	}
	if len(answers) == 0 || !strings.Contains(asks, "delete the old StatefulSet") {
		t.Fatalf("checklist:\n%s", asks)
	}
	part, err := w.MakeReview(w.ctx, ann, "prod/data/cache", "1.1.0")
	w.ok(err)
	if keys(part.Closed, upgrade.OfAdvisory) != "CVE-2026-0001 in Bitnami/redis" || keys(part.Remaining, upgrade.OfAdvisory) != "CVE-2026-0002 in Bitnami/redis" {
		t.Errorf("1.1.0: %+v", part)
	}
	sign := upgrade.Sign{Role: upgrade.Reviewer, Accept: true, Answers: map[string]string{}}
	_, err = w.SignReview(w.ctx, ann, r.Digest, sign)
	if p := w.refused(err, problem.Policy, "checklist"); !strings.Contains(p.Error(), "not answered") {
		t.Error(p)
	}
	machine := ann
	machine.Principal.Kind = "token"
	sign.Answers = answers
	_, err = w.SignReview(w.ctx, machine, r.Digest, sign)
	w.refused(err, problem.Denied, "sign-person")
	sign.Answers = map[string]string{"99": "x"}
	for k, v := range answers {
		sign.Answers[k] = v
	}
	_, err = w.SignReview(w.ctx, ann, r.Digest, sign)
	w.refused(err, problem.Invalid, "checklist-item")
	sign.Answers = answers
	signed, err := w.SignReview(w.ctx, ann, r.Digest, sign)
	w.ok(err)
	if signed.State != upgrade.ReviewSigned || len(signed.Signoffs) != 1 || signed.Signoffs[0].LogIndex < 0 || signed.Signoffs[0].Digest != r.Digest {
		t.Errorf("%+v", signed)
	}
	_, err = w.SignReview(w.ctx, bob, r.Digest, sign)
	w.refused(err, problem.Conflict, "review-ended")
	ok, err := w.ReviewedArchive(w.ctx, "cache", r.To.Archive)
	if err != nil || !ok {
		t.Errorf("reviewed: %v %v", ok, err)
	}
	if ok, _ := w.ReviewedArchive(w.ctx, "cache", part.To.Archive); ok {
		t.Error("nobody signed 1.1.0")
	}
}

// TestSignedPlanVerified goes on to the end: sign, plan, run, verified.
func TestSignedPlanVerified(t *testing.T) {
	w := redisWorld(t)
	w.judge()
	p := w.plan("prod/data/cache")
	_, err := w.AcceptPlan(w.ctx, ann, "prod/data/cache", p.Digest)
	w.refused(err, problem.Policy, "plan-unreviewed")
	ups, err := w.Upgrades(w.ctx, ann, upgrade.UpgradeFilter{Open: true})
	w.ok(err)
	r, err := w.Review(w.ctx, ann, ups[0].Review)
	w.ok(err)
	for _, role := range r.Roles {
		answers := map[string]string{}
		for _, item := range r.Checklist {
			answers[item.ID] = "looked into"
		}
		who := ann
		if role == upgrade.Security {
			who = bob
		}
		_, err := w.SignReview(w.ctx, who, r.Digest, upgrade.Sign{Role: role, Accept: true, Answers: answers})
		w.ok(err)
	}
	_, err = w.AcceptPlan(w.ctx, ann, "prod/data/cache", "sha256:other")
	w.refused(err, problem.Conflict, "plan-changed")
	p = w.plan("prod/data/cache")
	u, err := w.AcceptPlan(w.ctx, ann, "prod/data/cache", p.Digest)
	w.ok(err)
	if u.State != upgrade.Planned || u.Slot != nil {
		t.Fatalf("%+v", u)
	}
	w.now = w.now.Add(24 * time.Hour)
	w.runs("prod/data/cache", p.Chosen.Version, []string{"docker.io/bitnami/redis:6.2.9-debian-12-r3"})
	w.judge()
	if u, err = w.Upgrade(w.ctx, ann, u.ID); err != nil || u.State != upgrade.Verified {
		t.Fatalf("%+v %v", u, err)
	}
	pr, err := w.Practice(w.ctx, ann, time.Time{})
	w.ok(err)
	if len(pr.Environments) != 1 || pr.Environments[0].Closed < 2 || pr.Environments[0].OnTime < 1 || pr.ReviewTime.Count != 1 {
		t.Errorf("%+v", pr)
	}
}

// TestNothingLater: a newer review replaces the older one, which can no longer be
// signed, and an upgrade that was reviewed waits again.
func TestInputsChangeTheReview(t *testing.T) {
	w := redisWorld(t)
	w.judge()
	ups, err := w.Upgrades(w.ctx, ann, upgrade.UpgradeFilter{Open: true})
	w.ok(err)
	before := ups[0].Review
	published := morning.AddDate(0, 0, -20)
	w.feed("bitnami", advisory.OSV, "["+
		osv("BIT-redis-2026-1", "CVE-2026-0001", "redis", "6.0.0", "6.2.8", vectorHigh, published)+","+
		osv("BIT-redis-2026-2", "CVE-2026-0002", "redis", "6.0.0", "6.2.9", vectorMedium, published)+","+
		osv("BIT-redis-2026-3", "CVE-2026-0003", "redis", "6.0.0", "", vectorCritical, morning)+"]")
	w.judge()
	ups, err = w.Upgrades(w.ctx, ann, upgrade.UpgradeFilter{Open: true})
	w.ok(err)
	if ups[0].Review == before {
		t.Fatal("the review stayed though an advisory came")
	}
	_, err = w.SignReview(w.ctx, ann, before, upgrade.Sign{Role: upgrade.Reviewer, Accept: true})
	w.refused(err, problem.Conflict, "review-replaced")
	p := w.plan("prod/data/cache")
	if len(p.Remedies) == 0 || p.Remedies[len(p.Remedies)-1].Kind != "move-away" {
		t.Errorf("no version fixes CVE-2026-0003: %+v", p.Remedies)
	}
}

// TestWaiver: it counts when another person approved it, ends by itself, and
// what it lifted is due again.
func TestWaiver(t *testing.T) {
	w := redisWorld(t)
	w.judge()
	ask := upgrade.NewWaiver{Finding: "CVE-2026-0001", Deployments: "prod/*", Reason: "the port is closed", Expires: w.now.AddDate(0, 0, 10)}
	_, err := w.RequestWaiver(w.ctx, ann, upgrade.NewWaiver{Finding: "CVE-2026-0001", Expires: ask.Expires})
	w.refused(err, problem.Invalid, "waiver")
	wv, err := w.RequestWaiver(w.ctx, ann, ask)
	w.ok(err)
	w.judge()
	if a := w.assessment("prod/data/cache"); len(a.Lifted) != 0 {
		t.Error("it counts before it is approved")
	}
	_, err = w.ApproveWaiver(w.ctx, ann, wv.ID)
	w.refused(err, problem.Denied, "waiver-own")
	_, err = w.ApproveWaiver(w.ctx, bob, wv.ID)
	w.ok(err)
	w.judge()
	a := w.assessment("prod/data/cache")
	if keys(a.Lifted, upgrade.OfAdvisory) != "CVE-2026-0001 in Bitnami/redis" || keys(a.Findings, upgrade.OfAdvisory) != "CVE-2026-0002 in Bitnami/redis" {
		t.Errorf("lifted %s, open %s", keys(a.Lifted, upgrade.OfAdvisory), keys(a.Findings, upgrade.OfAdvisory))
	}
	w.now = w.now.AddDate(0, 0, 11)
	w.judge()
	if a = w.assessment("prod/data/cache"); len(a.Lifted) != 0 || len(a.Findings) < 2 {
		t.Errorf("after its end: %+v", a)
	}
}

// TestKnownExploited: a catalogue moves the deadline forward, never back.
func TestKnownExploited(t *testing.T) {
	w := redisWorld(t)
	w.judge()
	due := func() time.Time {
		for _, f := range w.assessment("prod/data/cache").Findings {
			if f.Advisory == "BIT-redis-2026-2" {
				return f.Decision.Deadline
			}
		}
		t.Fatal("it is not open")
		return time.Time{}
	}
	before := due()
	w.feed("kev", advisory.KEV, kev("CVE-2026-0002"))
	w.judge()
	if after := due(); after.IsZero() || !before.IsZero() && !after.Before(before) {
		t.Errorf("before %v, after %v", before, after)
	}
	e, err := w.Explain(w.ctx, ann, "prod/data/cache", "BIT-redis-2026-2")
	w.ok(err)
	if !e.Finding.Exploited || len(e.Decision.Rules) < 6 || len(e.Inputs.Snapshots) != 2 {
		t.Errorf("%+v", e)
	}
	_, err = w.Explain(w.ctx, ann, "prod/data/cache", "CVE-1999-0001")
	w.refused(err, problem.NotFound, "finding")
}

// TestDeploymentGone: its stories end, and what was open on it is closed.
func TestDeploymentGone(t *testing.T) {
	w := redisWorld(t)
	w.judge()
	w.watch.deployments = nil
	w.judge()
	_, err := w.Assessment(w.ctx, ann, "prod/data/cache")
	if problem.KindOf(err) != problem.NotFound {
		t.Errorf("assessment: %v", err)
	}
	ups, err := w.Upgrades(w.ctx, ann, upgrade.UpgradeFilter{})
	w.ok(err)
	if len(ups) != 1 || ups[0].State.Open() {
		t.Errorf("%+v", ups)
	}
	open, err := w.store.OpenExposures(w.ctx, "prod/data/cache")
	if err != nil || len(open) != 0 {
		t.Errorf("%v %v", open, err)
	}
}

// TestNewVersionsAreReviewed: what comes out while a deployment is known is
// reviewed by itself, once, whatever the plan chose; what was there before is
// not.
func TestNewVersionsAreReviewed(t *testing.T) {
	w := redisWorld(t)
	reviewed := func() string {
		t.Helper()
		w.judge()
		list, err := w.Reviews(w.ctx, ann, upgrade.ReviewFilter{})
		w.ok(err)
		var out []string
		for _, r := range list {
			out = append(out, r.To.Version)
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	chosen := reviewed()
	if chosen != w.plan("prod/data/cache").Chosen.Version {
		t.Fatalf("at first: %s", chosen)
	}
	w.now = w.now.AddDate(0, 0, 1)
	w.publishes("1.3.0", "6.2.9-debian-12-r9", w.now, nil)
	w.publishes("2.0.0", "7.0.0-debian-12-r0", w.now, nil)
	if got := reviewed(); got != chosen+" 1.3.0 2.0.0" || w.plan("prod/data/cache").Chosen.Version != chosen {
		t.Fatalf("reviewed: %s", got)
	}
	// Again, and by another process: not once more.
	w.restart()
	if got := reviewed(); got != chosen+" 1.3.0 2.0.0" {
		t.Errorf("again: %s", got)
	}
	// A version whose archive cannot be had now is reviewed when it can.
	w.publishes("2.1.0", "7.0.1-debian-12-r0", w.now.Add(time.Hour), nil)
	v := &w.watch.versions[len(w.watch.versions)-1]
	archive := w.watch.archives[v.Archive]
	delete(w.watch.archives, v.Archive)
	if got := reviewed(); got != chosen+" 1.3.0 2.0.0" {
		t.Errorf("an archive that is not had: %s", got)
	}
	w.watch.archives[v.Archive] = archive
	w.now = w.now.AddDate(0, 0, 1)
	if got := reviewed(); got != chosen+" 1.3.0 2.0.0 2.1.0" {
		t.Errorf("an archive that is had again: %s", got)
	}
	// For a deployment that came later all of this is history.
	w.runs("prod/data/late", "1.0.0", []string{"docker.io/bitnami/redis:6.2.6-debian-12-r1"})
	w.judge()
	if list, err := w.Reviews(w.ctx, ann, upgrade.ReviewFilter{Deployment: "prod/data/late"}); err != nil || len(list) != 1 {
		t.Errorf("%d reviews of a deployment that came later: %v", len(list), err)
	}
}

// TestCannotBeHad: a version whose archive cannot be had is never chosen, and
// says so.
func TestCannotBeHad(t *testing.T) {
	w := redisWorld(t)
	for _, v := range w.watch.versions {
		if v.Version == "1.2.0" {
			delete(w.watch.archives, v.Archive)
		}
	}
	w.judge()
	p := w.plan("prod/data/cache")
	if p.Chosen == nil || p.Chosen.Version != "1.1.0" || !strings.Contains(p.Newest.Why, "could not be had") {
		t.Errorf("%+v", p)
	}
	w.runs("prod/data/cache", "1.1.0", []string{"docker.io/bitnami/redis:6.2.8-debian-12-r0"})
	w.judge()
	if p = w.plan("prod/data/cache"); p.Chosen != nil {
		t.Errorf("%+v", p.Chosen)
	}
}
