package storetest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/decision"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// lastAudits asks for more events than a test makes.
var lastAudits = release.AuditFilter{Limit: 500}

func upgradeOf(deployment, to string) upgrade.Upgrade {
	return upgrade.Upgrade{
		Deployment: deployment, Chart: "web", From: "0.9.0", To: to, State: upgrade.Seen, Since: at(0), WaitsFor: "review", Owner: "team",
		Steps: []upgrade.Step{{Time: at(0), State: upgrade.Seen, By: "chartkeep", Text: "seen"}},
	}
}

func (j *judge) upgrade(deployment, to string) upgrade.Upgrade {
	j.Helper()
	u, err := j.PutUpgrade(j.Context(), upgradeOf(deployment, to), at(0))
	j.ok(err)
	return u
}

// move gives an upgrade another state.
func (j *judge) move(id int64, to upgrade.State, now time.Time) upgrade.Upgrade {
	j.Helper()
	u, err := j.MoveUpgrade(j.Context(), id, nil, nil, func(u upgrade.Upgrade) (upgrade.Upgrade, error) {
		u.State, u.Since = to, now
		u.Steps = append(u.Steps, upgrade.Step{Time: now, State: to, By: "usr-1"})
		return u, nil
	})
	j.ok(err)
	return u
}

func (j *judge) story(id int64) upgrade.Upgrade {
	j.Helper()
	u, err := j.Upgrade(j.Context(), id)
	j.ok(err)
	return u
}

func upgradeLife(j *judge) {
	ctx := j.Context()
	given := full[upgrade.Upgrade](0)
	given.Deployment, given.State = strings.Repeat("long/", 200)+"\x00", upgrade.Planned
	made, err := j.PutUpgrade(ctx, given, at(0))
	j.ok(err)
	given.ID = made.ID
	if made.ID == 0 {
		j.Fatal("no id")
	}
	j.equal("made", made, given)
	j.equal("read", j.story(made.ID), given)
	another := given
	another.Steps, another.WaitsFor = nil, "other"
	again, err := j.PutUpgrade(ctx, another, at(1))
	j.ok(err)
	j.equal("again", again, given)

	bare, err := j.PutUpgrade(ctx, upgrade.Upgrade{Deployment: "d", To: "1.0.0"}, at(2).Add(time.Microsecond))
	j.ok(err)
	if bare.State != upgrade.Seen || !bare.Since.Equal(at(2)) {
		j.Fatalf("%+v", bare)
	}
	_, err = j.Upgrade(ctx, 12345)
	j.refused(err, problem.NotFound, "upgrade")
	for _, s := range []upgrade.State{upgrade.Verified, upgrade.RolledBack, upgrade.Dismissed, upgrade.Superseded} {
		u := upgradeOf("d", "9.0.0")
		u.State = s
		if _, err := j.PutUpgrade(ctx, u, at(3)); err == nil {
			j.Fatalf("an upgrade that is %s was put", s)
		}
	}
}

func upgradeMoves(j *judge) {
	ctx := j.Context()
	states := []upgrade.State{upgrade.Seen, upgrade.Reviewed, upgrade.Planned, upgrade.Tested, upgrade.Approved, upgrade.Scheduled, upgrade.Applied}
	for i, s := range states { // what another version does to each state
		deployment := string(s)
		u := j.move(j.upgrade(deployment, "1.0.0").ID, s, at(1))
		elsewhere := j.upgrade(deployment+"-other", "1.0.0")
		next, err := j.PutUpgrade(ctx, upgradeOf(deployment, "2.0.0"), at(2))
		j.ok(err)
		got := j.story(u.ID)
		if want := u; i >= 4 {
			j.equal("stays", got, want)
		} else {
			want.State, want.Since, want.WaitsFor = upgrade.Superseded, at(2), ""
			want.Steps = append(want.Steps, upgrade.Step{Time: at(2), State: upgrade.Superseded, By: "chartkeep", Text: "version 2.0.0 is the one to move to"})
			j.equal("superseded", got, want)
		}
		j.equal("of another deployment", j.story(elsewhere.ID), elsewhere)
		back, err := j.PutUpgrade(ctx, upgradeOf(deployment, "1.0.0"), at(3)) // and back
		j.ok(err)
		if j.story(next.ID).State != upgrade.Superseded || (back.ID == u.ID) != (i >= 4) {
			j.Fatalf("%s: back to %+v", s, back)
		}
	}

	u := j.upgrade("d", "1.0.0")
	r := j.review("d", "0.9.0", "1.0.0", 1)
	_, leaf := word(r, upgrade.Reviewer, "usr-1", at(5))
	size := j.size()
	ev := by("usr-1")
	ev.Name = audit.UpgradePlanned
	got, err := j.MoveUpgrade(ctx, u.ID, leaf, &ev, func(u upgrade.Upgrade) (upgrade.Upgrade, error) {
		u.State, u.Plan, u.Due = upgrade.Planned, sha256Of([]byte("plan")), at(90)
		u.ID, u.Deployment, u.Chart, u.From, u.To = 9, "x", "x", "x", "x" // stays
		u.Steps = append(u.Steps, upgrade.Step{Time: at(5), State: upgrade.Reviewed}, upgrade.Step{Time: at(5), State: upgrade.Planned})
		return u, nil
	})
	j.ok(err)
	want := u
	want.State, want.Plan, want.Due = upgrade.Planned, sha256Of([]byte("plan")), at(90)
	want.Steps = append(want.Steps, upgrade.Step{Time: at(5), State: upgrade.Reviewed}, upgrade.Step{Time: at(5), State: upgrade.Planned, LogIndex: size})
	j.equal("moved", got, want)
	j.equal("read", j.story(u.ID), want)
	j.told(audit.UpgradePlanned, "upgrade", fmt.Sprint(u.ID))
	if o := j.signed(size); o.Review != r.Digest || j.size() != size+1 {
		j.Fatalf("leaf %+v", o)
	}

	audits := len(j.audited(lastAudits))
	no := errors.New("no")
	refuse := func(u upgrade.Upgrade) (upgrade.Upgrade, error) { return u, no }
	same := func(u upgrade.Upgrade) (upgrade.Upgrade, error) { return u, nil }
	if _, err := j.MoveUpgrade(ctx, u.ID, leaf, &ev, refuse); !errors.Is(err, no) {
		j.Fatal(err)
	}
	_, err = j.MoveUpgrade(ctx, 12345, leaf, &ev, same)
	j.refused(err, problem.NotFound, "upgrade")
	if _, err := j.MoveUpgrade(ctx, u.ID, leaf, &ev, same); err == nil || !strings.Contains(err.Error(), "step") {
		j.Fatal(err)
	}
	if _, err := j.MoveUpgrade(ctx, u.ID, tlog.Release{}, &ev, func(u upgrade.Upgrade) (upgrade.Upgrade, error) {
		u.Steps = append(u.Steps, upgrade.Step{})
		return u, nil
	}); err == nil {
		j.Fatal("moved with a leaf of a release")
	}
	j.equal("unmoved", j.story(u.ID), want)
	if n := len(j.audited(lastAudits)); j.size() != size+1 || n != audits {
		j.Fatalf("%d leaves and %d events are new", j.size()-size-1, n-audits)
	}
}

// upgradeReopened opens one again, while there is another to the same version.
func upgradeReopened(j *judge) {
	ctx := j.Context()
	old := j.move(j.upgrade("d", "1.0.0").ID, upgrade.Dismissed, at(1))
	next := j.upgrade("d", "1.0.0")
	if next.ID == old.ID {
		j.Fatal("an upgrade that was dismissed is open")
	}
	size := j.size()
	_, leaf := word(j.review("d", "0.9.0", "1.0.0", 1), upgrade.Reviewer, "usr-1", at(5))
	_, err := j.MoveUpgrade(ctx, old.ID, leaf, nil, func(u upgrade.Upgrade) (upgrade.Upgrade, error) {
		u.State = upgrade.Seen
		u.Steps = append(u.Steps, upgrade.Step{State: upgrade.Seen})
		return u, nil
	})
	j.refused(err, problem.Conflict, "upgrade-open")
	j.equal("stays", j.story(old.ID), old)
	if j.size() != size {
		j.Fatal("a refused move left a leaf")
	}
	j.move(old.ID, upgrade.Dismissed, at(2)) // it may change while it stays closed
	j.move(next.ID, upgrade.Verified, at(3))
	j.move(old.ID, upgrade.Seen, at(4))
	if u := j.upgrade("d", "1.0.0"); u.ID != old.ID {
		j.Fatalf("open is %+v", u)
	}
}

func upgradeLists(j *judge) {
	ctx := j.Context()
	put := func(deployment, to, owner string, due time.Time) int64 {
		u := upgradeOf(deployment, to)
		u.Owner, u.Due = owner, due
		u, err := j.PutUpgrade(ctx, u, at(0))
		j.ok(err)
		return u.ID
	}
	put("a", "1", "x", time.Time{})
	put("b", "1", "y", at(20))
	put("c", "1", "x", at(10))
	put("d", "1", "", at(20))
	for i, state := range []upgrade.State{upgrade.Verified, upgrade.Dismissed, upgrade.Verified, upgrade.RolledBack} {
		j.move(put("a", fmt.Sprint("closed-", i), []string{"x", "y"}[i%2], at(i)), state, at(100-i%3))
	}
	put("a", "1", "x", time.Time{})
	list := func(f upgrade.UpgradeFilter, want ...string) {
		j.Helper()
		got, err := j.ListUpgrades(ctx, f)
		j.ok(err)
		var said []string
		for _, u := range got {
			said = append(said, u.Deployment+"@"+u.To)
		}
		j.names(fmt.Sprintf("%+v", f), said, want...)
	}
	// a@1 was superseded by the first of the four, and is new again.
	list(upgrade.UpgradeFilter{}, "c@1", "b@1", "d@1", "a@1", "a@closed-3", "a@closed-0", "a@closed-1", "a@closed-2", "a@1")
	list(upgrade.UpgradeFilter{Limit: 2}, "c@1", "b@1", "d@1", "a@1", "a@closed-3", "a@closed-0")
	list(upgrade.UpgradeFilter{Open: true}, "c@1", "b@1", "d@1", "a@1")
	list(upgrade.UpgradeFilter{Open: true, Deployment: "b"}, "b@1")
	list(upgrade.UpgradeFilter{Deployment: "a", Limit: 1}, "a@1", "a@closed-3")
	list(upgrade.UpgradeFilter{Owner: "x"}, "c@1", "a@1", "a@closed-0", "a@closed-2", "a@1")
	list(upgrade.UpgradeFilter{State: upgrade.Verified}, "a@closed-0", "a@closed-2")
	list(upgrade.UpgradeFilter{State: upgrade.Seen, Owner: "y"}, "b@1")
	list(upgrade.UpgradeFilter{Deployment: "none"})
}

func planOf(deployment string, n int) upgrade.Plan {
	p := full[upgrade.Plan](1000 * n)
	p.Deployment, p.Digest, p.Due = deployment, sha256Of(fmt.Append(nil, "plan", deployment, n)), at(n)
	return p
}

func planLife(j *judge) {
	ctx := j.Context()
	put := func(p upgrade.Plan) upgrade.Plan {
		j.Helper()
		j.ok(j.PutPlan(ctx, p))
		return p
	}
	is := func(name string, want upgrade.Plan) {
		j.Helper()
		got, err := j.Plan(ctx, name)
		j.ok(err)
		j.equal(name, got, want)
	}
	isGone := func(name string) {
		j.Helper()
		_, err := j.Plan(ctx, name)
		j.refused(err, problem.NotFound, "plan")
	}
	isGone("d")
	first := put(planOf("d", 3))
	is("d", first)
	is(first.Digest, first)
	repeated := first
	repeated.Made = at(500)
	put(repeated)
	is("d", first)

	u := j.upgrade("d", "1.0.0")
	_, err := j.MoveUpgrade(ctx, u.ID, nil, nil, func(u upgrade.Upgrade) (upgrade.Upgrade, error) { u.Plan = first.Digest; return u, nil })
	j.ok(err)
	second := put(planOf("d", 1))
	is("d", second)
	is(first.Digest, first) // an upgrade names it
	third := put(planOf("d", 2))
	is("d", third)
	isGone(second.Digest)
	is(first.Digest, first)
	j.move(u.ID, upgrade.Verified, at(9))
	put(second)
	is("d", second)
	isGone(third.Digest)
	is(first.Digest, first) // closed upgrades stay, and so does what they name
	put(first)
	is("d", first)
	isGone(second.Digest)

	none := planOf("a", 5)
	none.Due = time.Time{}
	put(none)
	long := put(planOf(strings.Repeat("long/", 200), 1))
	is(long.Deployment, long)
	all, err := j.Plans(ctx)
	j.ok(err)
	j.equal("plans", all, []upgrade.Plan{long, first, none})
	bad := planOf("d", 1)
	bad.Digest = "x"
	if err := j.PutPlan(ctx, bad); err == nil {
		j.Fatal("a plan without a digest was put")
	}
}

func assessmentLife(j *judge) {
	ctx := j.Context()
	_, err := j.Assessment(ctx, "d")
	j.refused(err, problem.NotFound, "assessment")
	j.ok(j.PutAssessment(ctx, upgrade.Assessment{Deployment: "d", Version: "old"}))
	a := full[upgrade.Assessment](0)
	a.Deployment = "d"
	a.Findings = append(a.Findings, full[upgrade.Finding](500), full[upgrade.Finding](600), full[upgrade.Finding](700))
	for i, s := range []manifest.Severity{"high", "high", "", "unknown", "odd"} {
		a.Findings[i].Severity = s
	}
	a.Findings[1].Decision.Rules = []decision.Rule{
		{ID: "a", Inputs: []decision.Value{{Name: "epss"}}}, {ID: "b", Inputs: []decision.Value{{Name: "impact"}, {Name: "exploited", Value: "no", Source: "s"}}}, {ID: "c", Inputs: []decision.Value{{Name: "exploited"}}},
	}
	j.ok(j.PutAssessment(ctx, a))
	got, err := j.Assessment(ctx, "d")
	j.ok(err)
	j.equal("read", got, a)
	long := upgrade.Assessment{Deployment: strings.Repeat("a", 1000) + "\x00", NotJudged: "n", Images: 0, Unknown: []upgrade.UnknownImage{}}
	j.ok(j.PutAssessment(ctx, long))
	if got, err = j.Assessment(ctx, long.Deployment); err != nil {
		j.Fatal(err)
	}
	j.equal("read", got, long)
	summaries, err := j.Summaries(ctx)
	j.ok(err)
	j.equal("summaries", summaries, []upgrade.Summary{
		{Deployment: long.Deployment, NotJudged: "n", Open: map[manifest.Severity]int{}},
		{
			Deployment: "d", Chart: a.Chart, Version: a.Version, Environment: a.Environment, Owner: a.Owner, At: a.At, NotJudged: a.NotJudged, Deadline: a.Deadline, SetBy: a.SetBy,
			Open: map[manifest.Severity]int{manifest.High: 2, upgrade.SeverityUnknown: 3}, Unknown: 2, Images: a.Images,
		},
	})
	var all []upgrade.Assessment
	j.ok(j.Assessments(ctx, func(a upgrade.Assessment) error { all = append(all, a); return nil }))
	light := a
	for _, findings := range []*[]upgrade.Finding{&light.Findings, &light.Lifted} {
		*findings = append([]upgrade.Finding(nil), *findings...)
		for i := range *findings {
			(*findings)[i].Decision.Rules = []decision.Rule{}
		}
	}
	said := decision.Value{Name: "exploited", Value: "no", Source: "s"}
	light.Findings[1].Decision.Rules = []decision.Rule{{ID: "b", Inputs: []decision.Value{said}}}
	j.equal("all", all, []upgrade.Assessment{long, light})
	no := errors.New("no")
	if err := j.Assessments(ctx, func(upgrade.Assessment) error { return no }); !errors.Is(err, no) {
		j.Fatal(err)
	}
}

func deploymentGone(j *judge) {
	ctx := j.Context()
	long := strings.Repeat("long/", 200)
	j.ok(j.ForgetDeployment(ctx, "none", at(0)))
	for _, d := range []string{long, "stays"} {
		j.ok(j.PutAssessment(ctx, upgrade.Assessment{Deployment: d}))
		j.sync(d, at(0), nil, "a", "b")
		named := planOf(d, 1)
		j.ok(j.PutPlan(ctx, named))
		_, err := j.MoveUpgrade(ctx, j.upgrade(d, "1.0.0").ID, nil, nil, func(u upgrade.Upgrade) (upgrade.Upgrade, error) { u.Plan = named.Digest; return u, nil })
		j.ok(err)
		j.ok(j.PutPlan(ctx, planOf(d, 2)))
		j.review(d, "1", "2", 1)
	}
	j.sync(long, at(1), nil, "b")
	for range 2 {
		j.ok(j.ForgetDeployment(ctx, long, at(2)))
		_, err := j.Assessment(ctx, long)
		j.refused(err, problem.NotFound, "assessment")
		_, err = j.Plan(ctx, long)
		j.refused(err, problem.NotFound, "plan")
		_, err = j.Plan(ctx, planOf(long, 2).Digest)
		j.refused(err, problem.NotFound, "plan")
		_, err = j.Plan(ctx, planOf(long, 1).Digest)
		j.ok(err)
	}
	var ends []string
	for _, e := range j.since(at(0)) {
		ends = append(ends, fmt.Sprint(e.Deployment[:5], e.Key, e.How, " ", e.Closed.Sub(start).Minutes()))
	}
	j.names("ends", ends[:2], "long/aby a 1", "long/bgone 2")
	if open, err := j.OpenExposures(ctx, "stays"); err != nil || len(open) != 2 {
		j.Fatalf("%v, %v", open, err)
	}
	if list, err := j.Summaries(ctx); err != nil || len(list) != 1 {
		j.Fatalf("%v, %v", list, err)
	}
	if list, err := j.ListUpgrades(ctx, upgrade.UpgradeFilter{Deployment: long}); err != nil || len(list) != 1 {
		j.Fatalf("%v, %v", list, err)
	}
	j.ok(j.PutPlan(ctx, planOf(long, 1))) // it is back
	if p, err := j.Plan(ctx, long); err != nil || p.Digest != planOf(long, 1).Digest {
		j.Fatalf("%v, %v", p.Digest, err)
	}
}
