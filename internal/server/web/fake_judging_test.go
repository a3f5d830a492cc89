package web

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/decision"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/notes"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// More people of the fake: those who review and those who approve.
var (
	manager  = callerOf("data-oncall", access.Grant{ID: "grn-6", Role: access.RoleReleaseManager, Project: "*"})
	approver = callerOf("sec-lead", access.Grant{ID: "grn-7", Role: access.RoleApprover, Project: "*"})
)

// fakeJudge is a judgement in memory.
type fakeJudge struct {
	feeds       []upgrade.Feed
	inputs      upgrade.Inputs
	list        upgrade.AdvisoryList
	assessments []upgrade.Assessment
	waivers     []upgrade.Waiver
	reviews     []upgrade.Review
	plans       []upgrade.Plan
	windows     []calendar.Window
	upgrades    []upgrade.Upgrade
	status      upgrade.Status
	practice    upgrade.Practice

	queries []upgrade.AdvisoryFilter
	signs   []upgrade.Sign
	did     []string
	refuse  error // what forms are answered with
}

var _ Judging = (*fakeJudge)(nil)

func (f *fakeJudge) may(c audit.Caller, a access.Action) error {
	req := access.Request{Action: a}
	if access.Allowed(c.Principal, req, now) {
		return nil
	}
	return access.Refuse(c.Principal, req, now)
}

func (f *fakeJudge) read(c audit.Caller) error { return f.may(c, access.WatchRead) }

func (f *fakeJudge) Feeds(_ context.Context, c audit.Caller) ([]upgrade.Feed, error) {
	return slices.Clone(f.feeds), f.read(c)
}

func (f *fakeJudge) MatchImages(_ context.Context, c audit.Caller, _ []string) ([]advisory.ImageMatch, upgrade.Inputs, error) {
	return nil, f.inputs, f.read(c)
}

func (f *fakeJudge) Advisories(_ context.Context, c audit.Caller, filter upgrade.AdvisoryFilter) (upgrade.AdvisoryList, error) {
	if err := f.read(c); err != nil {
		return upgrade.AdvisoryList{}, err
	}
	f.queries = append(f.queries, filter)
	if strings.Contains(filter.Query, "nonsense:") {
		return upgrade.AdvisoryList{}, problem.New(problem.Invalid, "query", "%.80q cannot be read in a query", filter.Query).Suggest("severity, epss, kev, has, state, env")
	}
	out := f.list
	if filter.Query == "nothing" {
		out.Rows, out.Total = nil, 0
	}
	out.Rows = slices.Clone(out.Rows[min(filter.After, len(out.Rows)):])
	out.Rows = out.Rows[:min(len(out.Rows), cmp.Or(filter.Limit, 100))]
	return out, nil
}

func (f *fakeJudge) Advisory(_ context.Context, c audit.Caller, id string) (upgrade.AdvisoryRow, error) {
	if err := f.read(c); err != nil {
		return upgrade.AdvisoryRow{}, err
	}
	for _, r := range f.list.Rows {
		if named := r.Finding; named.Key == id || named.Advisory == id || named.Rule == id || slices.Contains(named.Aliases, id) {
			return r, nil
		}
	}
	return upgrade.AdvisoryRow{}, problem.New(problem.NotFound, "advisory", "%.80s is not known to be open on any deployment", id).With("unknown", "2 images are not known to be clean")
}

func (f *fakeJudge) Assessment(_ context.Context, c audit.Caller, key string) (upgrade.Assessment, error) {
	if err := f.read(c); err != nil {
		return upgrade.Assessment{}, err
	}
	for _, a := range f.assessments {
		if a.Deployment == key {
			return a, nil
		}
	}
	return upgrade.Assessment{}, problem.New(problem.NotFound, "assessment", "%.200s was not judged yet", key)
}

func (f *fakeJudge) Explain(ctx context.Context, c audit.Caller, key, finding string) (upgrade.Explanation, error) {
	a, err := f.Assessment(ctx, c, key)
	if err != nil {
		return upgrade.Explanation{}, err
	}
	for _, x := range slices.Concat(a.Findings, a.Lifted) {
		if x.Key == finding || x.Advisory == finding || x.Rule == finding && finding != "" {
			return upgrade.Explanation{Deployment: key, Finding: x, Decision: x.Decision, Inputs: a.Inputs}, nil
		}
	}
	return upgrade.Explanation{}, problem.New(problem.NotFound, "finding", "nothing called %.80s is open on %.200s", finding, key)
}

func (f *fakeJudge) Waivers(_ context.Context, c audit.Caller, _ bool) ([]upgrade.Waiver, error) {
	return f.waivers, f.read(c)
}

// done notes what a form did, for whoever may.
func (f *fakeJudge) done(c audit.Caller, a access.Action, format string, args ...any) error {
	if err := cmp.Or(f.may(c, a), f.refuse); err != nil {
		return err
	}
	f.did = append(f.did, c.Principal.Name+" "+fmt.Sprintf(format, args...))
	return nil
}

func (f *fakeJudge) RequestWaiver(_ context.Context, c audit.Caller, n upgrade.NewWaiver) (upgrade.Waiver, error) {
	if err := f.may(c, access.AdvisoryWrite); err == nil && n.Expires.IsZero() {
		return upgrade.Waiver{}, problem.New(problem.Invalid, "waiver", "a waiver of %s needs a date on which it ends", n.Finding).Suggest("--until 2026-12-31")
	}
	return upgrade.Waiver{ID: 9}, f.done(c, access.AdvisoryWrite, "wants %s waived on %q in %q until %s: %s", n.Finding, n.Deployments, n.Component, n.Expires.Format(time.DateOnly), n.Reason)
}

func (f *fakeJudge) ApproveWaiver(_ context.Context, c audit.Caller, id int64) (upgrade.Waiver, error) {
	return upgrade.Waiver{}, f.done(c, access.UpgradeApprove, "approves waiver %d", id)
}

func (f *fakeJudge) EndWaiver(_ context.Context, c audit.Caller, id int64) (upgrade.Waiver, error) {
	return upgrade.Waiver{}, f.done(c, access.AdvisoryWrite, "ends waiver %d", id)
}

func (f *fakeJudge) MakeReview(_ context.Context, c audit.Caller, key, version string) (upgrade.Review, error) {
	if f.may(c, access.UpgradeReview) == nil && version == "9.9.9" {
		return upgrade.Review{}, problem.New(problem.NotFound, "version", "no version %s of chart airflow is known", version).Suggest("chartkeep deployment show %s", key)
	}
	return upgrade.Review{Digest: digestOf("review 1")}, f.done(c, access.UpgradeReview, "has %s of %s reviewed", version, key)
}

func (f *fakeJudge) Reviews(_ context.Context, c audit.Caller, filter upgrade.ReviewFilter) ([]upgrade.Review, error) {
	var out []upgrade.Review
	for _, r := range f.reviews {
		if r.Deployment == filter.Deployment && len(out) < filter.Limit {
			out = append(out, r)
		}
	}
	return out, f.read(c)
}

func (f *fakeJudge) Review(_ context.Context, c audit.Caller, digest string) (upgrade.Review, error) {
	if err := f.read(c); err != nil {
		return upgrade.Review{}, err
	}
	for _, r := range f.reviews {
		if r.Digest == digest {
			return r, nil
		}
	}
	return upgrade.Review{}, problem.New(problem.NotFound, "review", "there is no review %.80s", digest)
}

func (f *fakeJudge) SignReview(ctx context.Context, c audit.Caller, digest string, s upgrade.Sign) (upgrade.Review, error) {
	if right, ok := signRights[s.Role]; !ok || f.may(c, right) != nil {
		return upgrade.Review{}, f.may(c, cmp.Or(right, access.UpgradeReview))
	}
	r, err := f.Review(ctx, c, digest)
	if err != nil || f.refuse != nil {
		return r, cmp.Or(err, f.refuse)
	}
	var missing []string
	for _, item := range r.Checklist {
		if s.Accept && item.Required && item.Role == s.Role && strings.TrimSpace(s.Answers[item.ID]) == "" {
			missing = append(missing, item.ID+": "+item.Text)
		}
	}
	if len(missing) > 0 {
		p := problem.New(problem.Policy, "checklist", "%d required items of the checklist are not answered", len(missing))
		for _, m := range missing {
			p.With("item", "%s", m)
		}
		return r, p.Suggest("chartkeep review sign %s --answer ITEM=TEXT", digest)
	}
	f.signs = append(f.signs, s)
	return r, nil
}

func (f *fakeJudge) Plans(_ context.Context, c audit.Caller) ([]upgrade.Plan, error) {
	return f.plans, f.read(c)
}

func (f *fakeJudge) Plan(_ context.Context, c audit.Caller, key string) (upgrade.Plan, error) {
	if err := f.read(c); err != nil {
		return upgrade.Plan{}, err
	}
	for _, p := range f.plans {
		if p.Deployment == key {
			return p, nil
		}
	}
	return upgrade.Plan{}, problem.New(problem.NotFound, "plan", "there is no plan of %.200s", key)
}

func (f *fakeJudge) AcceptPlan(_ context.Context, c audit.Caller, key, digest string) (upgrade.Upgrade, error) {
	if err := cmp.Or(f.may(c, access.UpgradePlan), f.refuse); err != nil {
		return upgrade.Upgrade{}, err
	}
	f.did = append(f.did, "accept "+key+" "+digest)
	return upgrade.Upgrade{}, nil
}

func (f *fakeJudge) Agenda(_ context.Context, c audit.Caller, owner string) (string, error) {
	return "# Upgrades of " + owner + "\n\n| Deployment | Runs |\n| --- | --- |\n| <script>alert(1)</script> | \u202e |\n", f.read(c)
}

func (f *fakeJudge) Calendar(_ context.Context, c audit.Caller, owner string) ([]byte, error) {
	return []byte("BEGIN:VCALENDAR\r\nX-WR-CALNAME:" + owner + "\r\nEND:VCALENDAR\r\n"), f.read(c)
}

func (f *fakeJudge) Windows(_ context.Context, c audit.Caller) ([]calendar.Window, error) {
	return f.windows, f.read(c)
}

func (f *fakeJudge) Status(_ context.Context, c audit.Caller, _ string) (upgrade.Status, error) {
	return f.status, f.read(c)
}

func (f *fakeJudge) Upgrades(_ context.Context, c audit.Caller, filter upgrade.UpgradeFilter) ([]upgrade.Upgrade, error) {
	var out []upgrade.Upgrade
	for _, u := range f.upgrades {
		if (!filter.Open || u.State.Open()) && (filter.Deployment == "" || u.Deployment == filter.Deployment) && (filter.Owner == "" || u.Owner == filter.Owner) {
			out = append(out, u)
		}
	}
	return out, f.read(c)
}

func (f *fakeJudge) Upgrade(_ context.Context, c audit.Caller, id int64) (upgrade.Upgrade, error) {
	if err := f.read(c); err != nil {
		return upgrade.Upgrade{}, err
	}
	for _, u := range f.upgrades {
		if u.ID == id {
			return u, nil
		}
	}
	return upgrade.Upgrade{}, problem.New(problem.NotFound, "upgrade", "there is no upgrade %d", id)
}

func (f *fakeJudge) DismissUpgrade(_ context.Context, c audit.Caller, id int64, reason string, until time.Time) (upgrade.Upgrade, error) {
	if err := f.may(c, access.UpgradeApprove); err != nil {
		return upgrade.Upgrade{}, err
	}
	switch {
	case f.refuse != nil:
		return upgrade.Upgrade{}, f.refuse
	case until.IsZero():
		return upgrade.Upgrade{}, problem.New(problem.Invalid, "dismiss-until", "an upgrade is dismissed until a date within a year").Suggest("--until 2026-12-21")
	}
	f.did = append(f.did, fmt.Sprintf("dismiss %d %s %s", id, reason, until.Format(time.DateOnly)))
	return upgrade.Upgrade{}, nil
}

func (f *fakeJudge) Practice(_ context.Context, c audit.Caller, since time.Time) (upgrade.Practice, error) {
	out := f.practice
	out.Since = since
	return out, f.read(c)
}

// judged makes a finding of an advisory with a decision of the default policy.
func judged(id, component, title string, severity manifest.Severity, score float64, change func(*upgrade.Finding, *decision.Input)) upgrade.Finding {
	f := upgrade.Finding{
		Key: id + " in " + component, Kind: upgrade.OfAdvisory, Severity: severity, Title: title, Advisory: id, Score: score, Component: component, Version: "2.6.3",
		Images: []string{"apache/airflow:2.6.3-python3.9"}, Confidence: advisory.Likely, Fixed: []string{"2.8.1"}, Since: now.Add(-12 * day),
	}
	val := func(name, value, source string, derived bool) decision.Value {
		return decision.Value{Name: name, Value: value, Source: source, Snapshot: digestOf(source), Derived: derived}
	}
	in := decision.Input{
		Advisory: id, CVE: id, Exploited: val("exploited", "no", "not in CISA KEV of 2026-11-21", false), Automatable: val("automatable", "yes", "CVSS of "+id, true),
		Impact: val("impact", "partial", "CVSS of "+id, true), Exploitation: val("exploitation", "none", "CISA Vulnrichment, 2026-10-01", false),
		Exposure: val("exposure", "open", "Ingress data/airflow has a host", true), Mission: val("mission", "2", "declared", false),
		CVSS: val("cvss", fmt.Sprint(score), id, false), Published: now.Add(-400 * day), FixAvailable: now.Add(-12*day - 15*time.Hour), FirstSeen: now.Add(-12 * day), Now: now,
	}
	if change != nil {
		change(&f, &in)
	}
	f.Decision = decision.Default().Decide(in)
	return f
}

// sampleJudging fills in what was judged: something in every state.
func (f *fakeService) sampleJudging(t testing.TB) {
	t.Helper()
	j := &fakeJudge{}
	f.judging = j
	j.sampleFeeds()
	xcom := judged("CVE-2023-50943", "bitnami/airflow", "XCom deserialises pickled data although it is switched off", manifest.High, 7.5, nil)
	lua := judged("CVE-2022-0543", "bitnami/redis", "Lua sandbox escape", manifest.Critical, 10, func(f *upgrade.Finding, in *decision.Input) {
		f.Exploited, f.EPSS, f.Images, f.Version, f.Aliases = true, new(0.944), []string{"docker.io/bitnami/redis:6.0.16-debian-11-r3"}, "6.0.16", []string{"GHSA-aaaa-bbbb-cccc"}
		in.Exploited.Value, in.FixAvailable = "yes", now.Add(-20*day)
	})
	small := judged("CVE-2023-49920", "bitnami/airflow", "CSRF on DAG trigger", manifest.Medium, 6.5, func(f *upgrade.Finding, in *decision.Input) {
		f.EPSS, f.Fixed, f.Doubt = new(0.002), nil, "the tag was read with a doubt"
		in.Exploited, in.Exposure.Value, in.Automatable.Value, in.FixAvailable = decision.Value{}, "small", "no", time.Time{}
	})
	unrated := judged("GO-2024-1", "go/stdlib", "", upgrade.SeverityUnknown, 0, nil)
	lifted := judged("CVE-2023-1111", "bitnami/airflow", "Only on Windows", manifest.High, 8, func(_ *upgrade.Finding, in *decision.Input) {
		in.VEX = []decision.Lift{{ID: "https://vex.example/1", Status: decision.NotAffected, Reason: "the code is not in the image", By: "security@example.org", Source: "OpenVEX https://vex.example/1"}}
	})
	posture := upgrade.Finding{Key: "rights-wildcard in ClusterRole/airflow", Kind: upgrade.OfPosture, Severity: manifest.High, Title: "may do everything", Rule: "rights-wildcard", Object: "ClusterRole/airflow", Since: now.Add(-30 * day)}
	posture.Decision = decision.Default().DecideChart(decision.ChartInput{Rule: posture.Rule, Severity: "high", Kind: "posture", Exposure: decision.Value{Value: "open", Source: "declared"}, FirstSeen: posture.Since, Now: now})
	waived := judged("CVE-2023-2222", "bitnami/redis", "Slow scan", manifest.Low, 3, func(_ *upgrade.Finding, in *decision.Input) {
		in.Waivers = []decision.Lift{{ID: "4", Status: decision.Waived, Reason: "not reachable", By: "sec-lead", Expires: now.Add(30 * day), Source: "waiver 4"}}
	})
	j.assess("prod-eu/data/airflow", "airflow", "8.8.0", "production", []upgrade.Finding{xcom, posture, small, unrated}, []upgrade.Finding{lifted, waived}, 14, "git-sync:v3.6.9", "statsd-exporter:v0.26.1")
	j.assess("prod-eu/rollouts/argo-rollouts", "argo-rollouts", "0.3.7", "production", nil, nil, 2)
	j.assess("staging-eu/data/airflow", "airflow", "8.9.0", "staging", []upgrade.Finding{lua, small}, nil, 3, "git-sync:v3.6.9")
	j.assess("prod-eu/shop/front", "web", "1.4.2", "production", nil, nil, 0)
	j.assessments[3].NotJudged = "its images are not known: no rendering"
	row := func(x upgrade.Finding, fixed []string, on ...string) {
		r := upgrade.AdvisoryRow{Finding: x, Deployments: on, Due: x.Decision.Deadline, FixedBy: fixed, Environments: []string{"production"}}
		j.list.Rows = append(j.list.Rows, r)
	}
	row(lua, nil, "staging-eu/data/airflow")
	row(xcom, []string{"airflow 8.9.0"}, "prod-eu/data/airflow")
	row(posture, nil, "prod-eu/data/airflow")
	row(small, nil, "prod-eu/data/airflow", "staging-eu/data/airflow")
	row(unrated, nil, "prod-eu/data/airflow")
	other := unrated
	other.Key, other.Component = "GO-2024-1 in go/golang.org/x/net", "go/golang.org/x/net"
	row(other, nil, "prod-eu/data/airflow")
	j.list.Total, j.list.At, j.list.Inputs, j.list.NotJudged = len(j.list.Rows), now, j.inputs, []string{"prod-eu/shop/front"}
	j.list.Unknown = []upgrade.UnknownRow{
		{UnknownImage: upgrade.UnknownImage{Image: "git-sync:v3.6.9", Why: "no source covers it"}, Deployments: []string{"prod-eu/data/airflow", "staging-eu/data/airflow"}},
		{UnknownImage: upgrade.UnknownImage{Image: "statsd-exporter:v0.26.1", Why: "its tag cannot be read as a version"}, Deployments: []string{"prod-eu/data/airflow"}},
	}
	sev := func(c, h, m, l, i, u int) map[manifest.Severity]int {
		return map[manifest.Severity]int{manifest.Critical: c, manifest.High: h, manifest.Medium: m, manifest.Low: l, manifest.Info: i, upgrade.SeverityUnknown: u}
	}
	j.list.Heat = []upgrade.EnvironmentRow{
		{Environment: "no environment", Deployments: 1, Exposure: "unknown", Open: sev(0, 0, 0, 0, 0, 0)},
		{Environment: "production", Deployments: 3, Exposure: "open", Open: sev(0, 29, 61, 2, 1, 1), Late: sev(0, 0, 0, 0, 0, 0), Due: map[manifest.Severity]time.Time{manifest.High: now.Add(32 * time.Hour)}, Images: 16, Unknown: 2},
		{Environment: "staging", Deployments: 1, Exposure: "small", Open: sev(2, 3, 0, 0, 0, 0), Late: sev(1, 0, 0, 0, 0, 0), Due: map[manifest.Severity]time.Time{manifest.Critical: now.Add(-day)}, Images: 3, Unknown: 1},
	}
	j.waivers = []upgrade.Waiver{
		{ID: 4, Finding: "CVE-2023-50943", Reason: "the flag is off", RequestedBy: "usr-data-oncall", Requested: now.Add(-day), Expires: now.Add(30 * day), Deployments: "prod-*"},
		{ID: 5, Finding: "CVE-2023-50943", Reason: "staging alone", RequestedBy: "usr-data-oncall", ApprovedBy: "usr-sec-lead", Approved: now.Add(-day), Expires: now.Add(30 * day)},
		{ID: 6, Finding: "CVE-9999-1", Reason: "another one", RequestedBy: "usr-data-oncall", Expires: now.Add(30 * day)},
	}
	j.sampleReviews(xcom, small, posture)
	j.samplePlans(xcom, lua)
	j.sampleUpgrades()
	j.sampleStatus()
	j.samplePractice()
}

func (f *fakeJudge) sampleFeeds() {
	snap := func(name string, kind advisory.Kind, records int) *advisory.Snapshot {
		return &advisory.Snapshot{ID: 1, Feed: name, Kind: kind, Digest: digestOf(name), Records: records, Dated: now.Add(-5 * time.Hour), Taken: now.Add(-2 * time.Hour)}
	}
	good := upgrade.FeedHealth{LastTry: now.Add(-2 * time.Hour), LastSuccess: now.Add(-2 * time.Hour), NextTry: now.Add(22 * time.Hour)}
	f.feeds = []upgrade.Feed{
		{Name: "bitnami", Kind: advisory.OSV, URL: "https://mirror.example/bitnami.zip", Health: good, Current: snap("bitnami", advisory.OSV, 7444)},
		{Name: "epss", Kind: advisory.EPSS, URL: "https://mirror.example/epss.csv.gz", Current: snap("epss", advisory.EPSS, 288104), Health: upgrade.FeedHealth{LastSuccess: now.Add(-3 * day), Failures: 9, Error: "mirror.example answered 503", NextTry: now.Add(20 * time.Minute)}},
		{Name: "kev", Kind: advisory.KEV, URL: "https://mirror.example/kev.json", Health: upgrade.FeedHealth{LastSuccess: now.Add(-20 * time.Hour), Failures: 1, Error: "timeout"}, Current: snap("kev", advisory.KEV, 1560)},
		{Name: "own-vex", Kind: advisory.VEX},
	}
	f.feeds[1].Current.Model = "v2025.03.14"
	f.feeds[0].Current.Faults = 3
	f.inputs = upgrade.Inputs{Policy: upgrade.PolicyRef{Name: "chartkeep", Version: "1", Digest: digestOf("policy of decisions")}, Old: []string{"epss: read 3 d ago"}}
	for _, feed := range f.feeds {
		if feed.Current != nil {
			f.inputs.Snapshots = append(f.inputs.Snapshots, *feed.Current)
		}
	}
}

func (f *fakeJudge) assess(key, chart, version, env string, open, lifted []upgrade.Finding, images int, unknown ...string) {
	a := upgrade.Assessment{Deployment: key, Chart: chart, Version: version, Environment: env, At: now.Add(-10 * time.Minute), Inputs: f.inputs, Findings: open, Lifted: lifted, Images: images, Doubts: []string{"epss: read 3 d ago"}}
	for _, image := range unknown {
		a.Unknown = append(a.Unknown, upgrade.UnknownImage{Image: image, Why: "no source covers it"})
	}
	if len(open) > 0 {
		a.Deadline, a.SetBy = open[0].Decision.Deadline, open[0].Key
	}
	f.assessments = append(f.assessments, a)
}

func (f *fakeJudge) sampleReviews(closed, remaining, posture upgrade.Finding) {
	introduced := judged("CVE-2024-31869", "bitnami/airflow", "Sensitive configuration is shown", manifest.Medium, 5.3, nil)
	found := []manifest.Finding{
		{Rule: "rights-widened", Severity: manifest.High, Object: "ClusterRole/airflow", Message: "gains get on secrets", Old: "list pods", New: "get secrets"},
		{Rule: "value-default", Severity: manifest.Low, Object: "pgbouncer.image.tag", Message: "has another default", Old: "1.18.0", New: "1.22.1", Set: true},
		{Rule: "migration", Severity: manifest.Medium, Object: "Job/airflow-db-migrations", Message: "runs another migration"},
	}
	r := upgrade.Review{
		ID: 1, Digest: digestOf("review 1"), Deployment: "prod-eu/data/airflow", Chart: "airflow", Made: now.Add(-6 * time.Hour), Inputs: f.inputs,
		From:   upgrade.Side{Version: "8.8.0", Archive: digestOf("airflow8.8.0"), Upstream: "airflow-helm", FirstSeen: now.Add(-32 * day), Images: []string{"apache/airflow:2.6.3-python3.9"}},
		To:     upgrade.Side{Version: "8.9.0", Archive: digestOf("airflow8.9.0"), Upstream: "airflow-helm", FirstSeen: now.Add(-12*day - 15*time.Hour), Images: []string{"apache/airflow:2.8.4-python3.9", "git-sync:v3.6.9"}},
		Closed: []upgrade.Finding{closed, posture}, Introduced: []upgrade.Finding{introduced}, Remaining: []upgrade.Finding{remaining},
		Unknown:  []upgrade.UnknownImage{{Image: "git-sync:v3.6.9", Why: "no source covers it"}},
		Deadline: closed.Decision.Deadline, SetBy: closed.Key,
		Compared: manifest.Comparison{
			Old:   manifest.Side{Name: "airflow", Version: "8.8.0", Known: true, PodSecurity: manifest.Baseline, Exposure: manifest.ExposureOpen, ExposureWhy: "Ingress data/airflow has a host", Images: []manifest.Image{{Ref: "apache/airflow:2.6.3-python3.9"}}},
			New:   manifest.Side{Name: "airflow", Version: "8.9.0", Known: true, PodSecurity: manifest.Privileged, Exposure: manifest.ExposureOpen, Images: []manifest.Image{{Ref: "apache/airflow:2.8.4-python3.9"}, {Ref: "git-sync:v3.6.9"}}, Unstable: []string{"Secret/airflow:data.key"}},
			Basis: manifest.BasisRendered, Findings: found,
			Fit:    manifest.Fit{Set: 41, Kept: make([]string, 36), Vanished: []string{"airflow.legacyCommands"}, Retyped: []string{"web.replicas"}, Default: []string{"pgbouncer.image.tag"}, Unlisted: []string{"extra.key"}, Required: []string{"airflow.webserverSecretKey"}, Defaults: 12},
			Effort: manifest.EffortOf(found, "8.8.0", "8.9.0"), Undo: manifest.Undo{Verdict: manifest.UndoUntil, Reasons: []manifest.Obstacle{{Verdict: manifest.UndoUntil, Rule: "undo-migration", Object: "Job/airflow-db-migrations", Message: "changes the database", Until: "88344c1d9134 has run"}}},
			Objects: []manifest.ObjectDiff{
				{Object: "Deployment/airflow-scheduler", Change: "changed", Source: "templates/scheduler.yaml", Text: "@@ -1,3 +1,3 @@\n   containers:\n-    image: apache/airflow:2.6.3\n+    image: apache/airflow:2.8.4\n+\tscript: <script>alert(1)</script>\n", Added: 2, Removed: 1},
				{Object: "Job/new", Change: "added", Text: "+kind: Job\n", Added: 1, Cut: true},
			}, Same: 19,
		},
		Notes: []upgrade.NoteHints{{Version: "8.9.0", Source: "changelog in the archive", Digest: digestOf("changelog"), Hints: []notes.Hint{
			{Rule: notes.RulePrivilege, Line: 24, Text: "an optional value lets pods read every Secret"}, {Rule: notes.RuleVulnerable, Line: 31, Text: "fixes CVE-2023-50943", Security: true, IDs: []string{"CVE-2023-50943"}},
		}}},
		Verdict: upgrade.Verdict{Advice: upgrade.AdviceCare, Text: "Apply 8.9.0 with care. It closes 2 findings.", Reasons: []string{"closes 2 findings", "effort M, 7 points"}},
		Doubts:  []string{"1 image of the new version is unknown: not known to be clean", "epss: read 3 d ago"},
		Checklist: []upgrade.ChecklistItem{
			{ID: "01", Text: "A hook or a migration runs: Job/airflow-db-migrations. What was done about it?", Finding: "migration in Job/airflow-db-migrations", Required: true, Role: upgrade.Reviewer},
			{ID: "02", Text: "Rights have grown: ClusterRole/airflow gains get on secrets. What was done about it?", Finding: "rights-widened in ClusterRole/airflow", Required: true, Role: upgrade.Security},
			{ID: "03", Text: "Doubt: epss: read 3 d ago.", Finding: "epss: read 3 d ago", Role: upgrade.Reviewer},
		},
		Roles: []upgrade.SignRole{upgrade.Reviewer, upgrade.Security}, State: upgrade.ReviewOpen, Signoffs: []upgrade.Signoff{},
	}
	word := func(role upgrade.SignRole, name string, accepted bool, text string) upgrade.Signoff {
		return upgrade.Signoff{Role: role, By: "usr-" + name, Name: name, Time: now.Add(-time.Hour), Accepted: accepted, Text: text, Answers: map[string]string{"01": "the snapshot was rehearsed\non staging"}, LogIndex: 20}
	}
	with := func(n string, change func(*upgrade.Review)) {
		x := r
		x.ID, x.Digest = int64(len(f.reviews)+1), digestOf("review "+n)
		change(&x)
		f.reviews = append(f.reviews, x)
	}
	with("1", func(*upgrade.Review) {})
	with("signed", func(x *upgrade.Review) {
		x.State, x.Signoffs = upgrade.ReviewSigned, []upgrade.Signoff{word(upgrade.Reviewer, "data-oncall", true, "tested with Friday’s DAGs"), word(upgrade.Security, "sec-lead", true, "")}
	})
	with("declined", func(x *upgrade.Review) {
		x.State, x.Signoffs = upgrade.ReviewDeclined, []upgrade.Signoff{word(upgrade.Security, "sec-lead", false, "not with those rights")}
		x.Verdict = upgrade.Verdict{Advice: upgrade.AdviceHold, Text: "Hold 8.9.0: something has to be settled first."}
		x.Compared.Effort.Blocked = true
		x.Compared.Effort.Parts = append([]manifest.EffortPart{{Why: "a level of the Pod Security Standards is lost", Blocks: true, Approver: manifest.ApproverSecurity, Finding: manifest.Finding{Object: "Deployment/x"}}}, x.Compared.Effort.Parts...)
		x.Compared.Undo = manifest.Undo{Verdict: manifest.UndoByHand}
	})
	with("replaced", func(x *upgrade.Review) { x.State = upgrade.ReviewReplaced })
	with("half", func(x *upgrade.Review) {
		x.Signoffs = []upgrade.Signoff{word(upgrade.Reviewer, "data-oncall", true, "")}
	})
	with("blind", func(x *upgrade.Review) {
		x.Closed, x.Introduced, x.Remaining, x.Unknown, x.SetBy, x.Deadline = nil, nil, nil, nil, "", time.Time{}
		x.From.Archive, x.From.Upstream, x.From.FirstSeen, x.From.Images, x.To.Images = "", "", time.Time{}, nil, nil
		x.Compared = manifest.Comparison{Old: manifest.Side{Reason: "values are required"}, New: manifest.Side{Reason: "it calls fail"}, Basis: manifest.BasisTemplate, Fit: manifest.Fit{Unknown: true}, Effort: manifest.Effort{Class: manifest.EffortLarge, Points: 10}, Undo: manifest.Undo{Verdict: manifest.UndoUnknown}}
		x.Verdict, x.Notes, x.Checklist, x.Doubts = upgrade.Verdict{Advice: upgrade.AdviceCannotTell, Text: "It cannot be told what 8.9.0 does."}, nil, nil, nil
		x.Inputs = upgrade.Inputs{}
	})
	with("empty", func(x *upgrade.Review) {
		*x = upgrade.Review{Digest: x.Digest, Deployment: "prod-eu/shop/front"}
	})
}

func (f *fakeJudge) samplePlans(xcom, lua upgrade.Finding) {
	candidate := func(version string, seen time.Duration, change func(*upgrade.Candidate)) upgrade.Candidate {
		c := upgrade.Candidate{Side: upgrade.Side{Version: version, Archive: digestOf("airflow" + version), Upstream: "airflow-helm", FirstSeen: now.Add(-seen), Images: []string{"apache/airflow:2.8.4-python3.9"}}, Effort: manifest.Effort{Class: manifest.EffortMedium, Points: 5}}
		change(&c)
		return c
	}
	chosen := candidate("8.9.0", 12*day, func(c *upgrade.Candidate) {
		c.Review, c.Reviewed, c.Closed, c.Closes, c.Introduced, c.Remaining, c.Unknown, c.Meets = digestOf("review 1"), upgrade.ReviewOpen, 2, []string{xcom.Key, "rights-wildcard in ClusterRole/airflow"}, 1, 1, 1, true
	})
	blind := candidate("8.8.1", 20*day, func(c *upgrade.Candidate) {
		c.Archive, c.Images, c.Why = "", nil, "its archive is not had"
		c.Effort = manifest.EffortOf([]manifest.Finding{{Rule: "compared-as-text", Severity: manifest.Medium, Object: "8.8.1", Message: "was not compared"}}, "", "")
	})
	slot := &calendar.Slot{Window: "data-weekly", Start: now.Add(4*time.Hour + 20*time.Minute), End: now.Add(7*time.Hour + 20*time.Minute)}
	f.plans = []upgrade.Plan{
		{
			Deployment: "staging-eu/data/airflow", Chart: "airflow", From: "8.9.0", Digest: digestOf("plan 2"), Made: now.Add(-time.Hour), Inputs: f.inputs, Action: upgrade.ActRemedy,
			Text: "No fixed chart exists: 2 findings are open, and no known version of airflow closes what is due.", Open: 2, Deadline: lua.Decision.Deadline, SetBy: lua.Key, Due: lua.Decision.Deadline, Tests: "smoke",
			Remedies: []upgrade.Remedy{
				{Kind: "override-image", Text: "Set bitnami/redis to version 6.0.17: 0 of its 1 open advisories remain.", For: []string{lua.Key}, Image: "bitnami/redis:6.0.16", Target: "bitnami/redis:6.0.17", Values: "redis:\n  image:\n    tag: \"6.0.17\"\n", Verified: "looked up in the same snapshots; whether the tag was published was not checked"},
				{Kind: "mitigate", Text: "Disable Lua.", For: []string{lua.Key}, Verified: "this is the advisory's own text; nothing of it was checked"},
				{Kind: "move-away", Text: "No version is known that fixes 1 finding.", For: []string{"x"}}, {Kind: "map-image", Text: "Nobody knows what is open in git-sync:v3.6.9.", For: []string{"git-sync:v3.6.9"}},
			},
			Emergency: "the deadline has passed; an emergency change needs two approvers", Approvals: []upgrade.SignRole{upgrade.Reviewer, upgrade.Security}, Doubts: []string{"1 image is unknown: not known to be clean"},
		},
		{
			Deployment: "prod-eu/data/airflow", Chart: "airflow", From: "8.8.0", Digest: digestOf("plan 1"), Made: now.Add(-time.Hour), Inputs: f.inputs, Action: upgrade.ActUpgrade,
			Text: "Move to 8.9.0: it closes 2 of 4 findings and meets the earliest deadline with the least effort. 2 images are unknown.", Chosen: &chosen, Newest: &chosen, Candidates: []upgrade.Candidate{blind, chosen},
			Open: 4, Deadline: xcom.Decision.Deadline, SetBy: xcom.Key, Due: xcom.Decision.Deadline, Slot: slot, Tests: "upgrade", Approvals: []upgrade.SignRole{upgrade.Reviewer, upgrade.Security}, Doubts: []string{"2 images are unknown: not known to be clean"},
		},
		{
			Deployment: "prod-eu/rollouts/argo-rollouts", Chart: "argo-rollouts", From: "0.3.7", Digest: digestOf("plan 3"), Made: now.Add(-time.Hour), Action: upgrade.ActCadence, Text: "Move to 2.40.5 by cadence: nothing that is open has a deadline.",
			Chosen: &upgrade.Candidate{Side: upgrade.Side{Version: "2.40.5"}, Effort: manifest.Effort{Class: manifest.EffortLarge, Points: 12, Blocked: true}}, Due: now.Add(-2 * day), Approvals: []upgrade.SignRole{upgrade.Reviewer},
		},
		{Deployment: "prod-eu/shop/front", Chart: "web", From: "1.4.2", Digest: digestOf("plan 4"), Made: now.Add(-time.Hour), Action: upgrade.ActUnknown, Text: "It cannot be told what is open: its images are not known."},
		{Deployment: "apps/prod/web.yaml:Application/shop", Chart: "web", Digest: digestOf("plan 5"), Made: now.Add(-time.Hour), Action: upgrade.ActWait, Text: "It runs the newest version, and nothing that is open has a deadline."},
	}
	f.windows = []calendar.Window{
		{Name: "year-end", Freeze: true, Start: now.Add(28 * day), End: now.Add(44 * day), Reason: "year-end closing", Security: true},
		{Name: "data-weekly", Schedule: "0 2 * * 0", Duration: "3h", Environments: []string{"production"}, Zone: "Europe/Berlin"},
		{Name: "never", Schedule: "0 2 1 1 *", Duration: "1h", Deployments: []string{"x/*"}},
	}
}

func (f *fakeJudge) sampleUpgrades() {
	slot := f.plans[1].Slot
	add := func(key, from, to string, state upgrade.State, change func(*upgrade.Upgrade)) {
		u := upgrade.Upgrade{ID: int64(300 + len(f.upgrades)), Deployment: key, Chart: "airflow", From: from, To: to, Archive: digestOf("airflow" + to), State: state, Since: now.Add(-6 * time.Hour), Owner: "data-platform"}
		u.Steps = []upgrade.Step{{Time: now.Add(-12 * day), State: upgrade.Seen, By: "chartkeep", Text: "version " + to + " is there"}}
		if state != upgrade.Seen {
			u.Steps = append(u.Steps, upgrade.Step{Time: u.Since, State: state, By: "usr-data-oncall", Text: "went on\nto the next", LogIndex: 20})
		}
		change(&u)
		f.upgrades = append(f.upgrades, u)
	}
	due := f.plans[1].Due
	add("prod-eu/data/airflow", "8.8.0", "8.9.0", upgrade.Seen, func(u *upgrade.Upgrade) { // 300
		u.Review, u.WaitsFor, u.Security, u.Deadline, u.Due, u.Ticket = digestOf("review 1"), "sign-off as reviewer and security", true, due, due, "https://github.com/example/ops/issues/7"
		u.Slot = slot
	})
	add("staging-eu/data/airflow", "8.8.0", "8.9.0", upgrade.Reviewed, func(u *upgrade.Upgrade) { // 301: late, and its plan says something else
		u.Review, u.WaitsFor, u.Security, u.Deadline, u.Due, u.Late, u.Owner = digestOf("review signed"), "somebody who accepts the plan", true, now.Add(-39*time.Hour), now.Add(-39*time.Hour), true, ""
	})
	add("prod-eu/rollouts/argo-rollouts", "0.3.7", "2.40.5", upgrade.Reviewed, func(u *upgrade.Upgrade) { // 302: by cadence, past its date
		u.Chart, u.Review, u.WaitsFor, u.Due = "argo-rollouts", digestOf("review blind"), "somebody who accepts the plan", now.Add(-2*day)
	})
	add("prod-eu/data/airflow", "8.8.0", "8.8.1", upgrade.Planned, func(u *upgrade.Upgrade) { // 303: another plan was accepted
		u.Plan, u.Slot, u.WaitsFor, u.Review, u.Security, u.Due = digestOf("an older plan"), slot, "its tests", digestOf("review gone"), true, now.Add(20*day)
	})
	add("prod-eu/data/airflow", "8.7.1", "8.8.0", upgrade.Verified, func(u *upgrade.Upgrade) { // 304
		u.Review, u.Since, u.Due, u.Security = digestOf("review signed"), now.Add(-20*day), now.Add(-19*day), true
		u.Steps[1].Time = u.Since
	})
	add("prod-eu/shop/front", "1.4.1", "1.4.2", upgrade.RolledBack, func(u *upgrade.Upgrade) { // 305
		u.Steps = append(u.Steps[:1], upgrade.Step{Time: now.Add(-8 * time.Hour), State: upgrade.Applied, By: "usr-admin"}, upgrade.Step{Time: u.Since, State: upgrade.RolledBack, By: "usr-admin", Text: "5xx above 2 %"})
		u.Review = digestOf("review empty")
	})
	add("prod-eu/shop/front", "1.4.1", "1.4.3", upgrade.Dismissed, func(u *upgrade.Upgrade) { // 306
		u.DismissedUntil, u.Review = now.Add(30*day), digestOf("review declined")
	})
	add("prod-eu/shop/front", "1.4.1", "1.4.4", upgrade.Superseded, func(u *upgrade.Upgrade) { u.Review = digestOf("review replaced") }) // 307
	add("apps/prod/web.yaml:Application/shop", "1.0.0", "1.1.0", upgrade.Seen, func(u *upgrade.Upgrade) {                                // 308: could not be reviewed
		u.WaitsFor = "a review: the version could not be reviewed"
	})
	add("no/such/deployment", "1.0.0", "1.1.0", upgrade.State("odd"), func(u *upgrade.Upgrade) { u.Steps, u.Review = nil, digestOf("review half") }) // 309
}

func (f *fakeJudge) sampleStatus() {
	f.status.At = now
	f.status.Rows = []upgrade.StatusRow{
		{Deployment: "staging-eu/data/airflow", Chart: "airflow", Version: "8.9.0", State: upgrade.ActRemedy, WaitsFor: "a decision: 4 remedies", Due: now.Add(-17 * day), Late: true, Open: 2, Unknown: 1},
		{Deployment: "prod-eu/data/airflow", Owner: "data-platform", Chart: "airflow", Version: "8.8.0", State: "seen", Upgrade: 300, Open: 4, Unknown: 2},
		{Deployment: "prod-eu/rollouts/argo-rollouts", Chart: "argo-rollouts", Version: "0.3.7", State: "reviewed", Upgrade: 302},
		{Deployment: "prod-eu/shop/front", Chart: "web", Version: "1.4.2", State: upgrade.ActUnknown, WaitsFor: "its images are not known"},
		{Deployment: "apps/prod/web.yaml:Application/shop", Chart: "web", State: upgrade.ActWait},
		{Deployment: "new/one", Chart: "web", State: upgrade.ActUnknown},
	}
}

func (f *fakeJudge) samplePractice() {
	f.practice = upgrade.Practice{
		Until: now, ReviewTime: upgrade.PracticeTime{Count: 17, Median: 30 * time.Hour, P90: 4 * day, Max: 9 * day}, WrongAlerts: 2, Alerts: 1204,
		Environments: []upgrade.PracticeRow{
			{Environment: "production", Closed: 40, OnTime: 30, NoDeadline: 5, OpenLate: 1, Exposure: upgrade.PracticeTime{Count: 40, Median: 9 * day, P90: 20 * day, Max: 61 * day}},
			{Environment: "staging"},
		},
		Exposures: []upgrade.Exposed{
			{Deployment: "prod-eu/data/airflow", Key: "CVE-2023-50943 in bitnami/airflow", Severity: manifest.High, Opened: now.Add(-61 * day), Deadline: now.Add(-day)},
			{Deployment: "prod-eu/data/airflow", Key: "CVE-2020-1 in x", Severity: manifest.Low, Opened: now.Add(-50 * day), Closed: now.Add(-10 * day), How: "upgraded", Deadline: now.Add(-12 * day)},
			{Deployment: "prod-eu/data/airflow", Key: "CVE-2020-2 in x", Severity: upgrade.SeverityUnknown, Opened: now.Add(-40 * day), Closed: now.Add(-10 * day), How: "gone", Deadline: now.Add(-9 * day)},
		},
	}
	for i := range 26 {
		f.practice.Weeks = append(f.practice.Weeks, upgrade.PracticeWeek{Start: now.AddDate(0, 0, -7*(26-i)), Open: 20 + i%5, Late: i % 3, Closed: i % 7, OnTime: i % 4})
	}
}
