package upgrade

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Bounds of lists.
const (
	maxRowsAsked = 1000
	maxQuery     = 1000 // bytes
	noEnv        = "no environment"
)

// Advisories lists what is open anywhere, the most urgent first, with the
// images that nobody knows beside it. Cost: all assessments with their
// findings.
func (s *Service) Advisories(ctx context.Context, c audit.Caller, f AdvisoryFilter) (AdvisoryList, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return AdvisoryList{}, err
	}
	q, err := parseQuery(f.Query)
	if err != nil {
		return AdvisoryList{}, err
	}
	is, err := s.think(ctx)
	if err != nil {
		return AdvisoryList{}, err
	}
	now := s.now()
	if out, ok := s.lists.get(f, is.number, now); ok {
		return out, nil
	}
	g := gathering{now: now, query: q, rows: map[string]*AdvisoryRow{}, unknown: map[string]*UnknownRow{}, heat: map[string]*EnvironmentRow{}}
	if err := s.store.Assessments(ctx, func(a Assessment) error { g.add(&a); return nil }); err != nil {
		return AdvisoryList{}, err
	}
	out := AdvisoryList{At: now.UTC().Truncate(time.Second), Inputs: is.inputs(now), Rows: []AdvisoryRow{}, NotJudged: g.notJudged}
	if out.NotJudged == nil {
		out.NotJudged = []string{}
	}
	rows := g.sorted()
	out.Total = len(rows)
	limit := f.Limit
	if limit <= 0 || limit > maxRowsAsked {
		limit = 100
	}
	rows = rows[min(max(f.After, 0), len(rows)):]
	out.Rows = append(out.Rows, rows[:min(limit, len(rows))]...)
	if err := s.fixedBy(ctx, out.Rows); err != nil {
		return AdvisoryList{}, err
	}
	out.Unknown, out.Heat = g.unknowns(), g.environments()
	s.lists.put(f, is.number, now, out)
	return out, nil
}

// lists keeps the answers of Advisories for a minute, or until deployments are
// judged anew by this process: each reads every assessment.
type lists struct {
	mu   sync.Mutex
	kept map[AdvisoryFilter]keptList
}

type keptList struct {
	number int64
	at     time.Time
	list   AdvisoryList
}

const (
	listFor  = time.Minute
	maxLists = 64
)

func (l *lists) get(f AdvisoryFilter, number int64, now time.Time) (AdvisoryList, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.kept[f]
	return k.list, ok && k.number == number && now.Sub(k.at) < listFor
}

func (l *lists) put(f AdvisoryFilter, number int64, now time.Time, list AdvisoryList) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept == nil || len(l.kept) >= maxLists {
		l.kept = map[AdvisoryFilter]keptList{}
	}
	l.kept[f] = keptList{number, now, list}
}

func (l *lists) forget() {
	l.mu.Lock()
	l.kept = nil
	l.mu.Unlock()
}

// Advisory is one advisory wherever it is open, named by id or alias.
func (s *Service) Advisory(ctx context.Context, c audit.Caller, id string) (AdvisoryRow, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return AdvisoryRow{}, err
	}
	g := gathering{now: s.now(), rows: map[string]*AdvisoryRow{}, unknown: map[string]*UnknownRow{}, heat: map[string]*EnvironmentRow{}}
	g.query.id = id
	if err := s.store.Assessments(ctx, func(a Assessment) error { g.add(&a); return nil }); err != nil {
		return AdvisoryRow{}, err
	}
	rows := g.sorted()
	if len(rows) == 0 {
		p := problem.New(problem.NotFound, "advisory", "%.80s is not known to be open on any deployment", id)
		if n := len(g.unknown); n > 0 {
			p.With("unknown", "%s not known to be clean", count(n, "image is", "images are"))
		}
		return AdvisoryRow{}, p.Suggest("chartkeep advisory list")
	}
	err := s.fixedBy(ctx, rows[:1])
	return rows[0], err
}

// gathering brings the findings of all deployments together.
type gathering struct {
	now       time.Time
	query     query
	rows      map[string]*AdvisoryRow
	unknown   map[string]*UnknownRow
	heat      map[string]*EnvironmentRow
	notJudged []string
}

func (g *gathering) add(a *Assessment) {
	env := cmp.Or(a.Environment, noEnv)
	h := g.heat[env]
	if h == nil {
		h = &EnvironmentRow{Environment: env, Open: map[manifest.Severity]int{}, Late: map[manifest.Severity]int{}, Due: map[manifest.Severity]time.Time{}}
		g.heat[env] = h
	}
	h.Deployments++
	h.Exposure = worseExposure(h.Exposure, a.Exposure.Value)
	images := map[string]bool{}
	for i := range a.Findings {
		f := &a.Findings[i]
		for _, image := range f.Images {
			images[image] = true
		}
		h.Open[f.Severity]++
		if due := f.Decision.Deadline; !due.IsZero() {
			if due.Before(g.now) {
				h.Late[f.Severity]++
			}
			if old := h.Due[f.Severity]; old.IsZero() || due.Before(old) {
				h.Due[f.Severity] = due
			}
		}
		if g.query.matches(a, f, g.now) {
			g.row(a, f, env)
		}
	}
	if a.NotJudged != "" {
		g.notJudged = append(g.notJudged, a.Deployment)
	}
	for _, u := range a.Unknown {
		images[u.Image] = true
		h.Unknown++
		row := g.unknown[u.Image]
		if row == nil {
			row = &UnknownRow{UnknownImage: u}
			g.unknown[u.Image] = row
		}
		row.Deployments = append(row.Deployments, a.Deployment)
	}
	h.Images += len(images)
}

func (g *gathering) row(a *Assessment, f *Finding, env string) {
	r := g.rows[f.Key]
	if r == nil {
		r = &AdvisoryRow{Finding: *f, Due: f.Decision.Deadline}
		g.rows[f.Key] = r
	} else if urgency(*f, r.Finding) < 0 {
		r.Finding, r.Due = *f, f.Decision.Deadline
	}
	r.Deployments = append(r.Deployments, a.Deployment)
	if !slices.Contains(r.Environments, env) {
		r.Environments = append(r.Environments, env)
	}
}

func (g *gathering) sorted() []AdvisoryRow {
	out := make([]AdvisoryRow, 0, len(g.rows))
	for _, r := range g.rows {
		slices.Sort(r.Deployments)
		slices.Sort(r.Environments)
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b AdvisoryRow) int { return urgency(a.Finding, b.Finding) })
	return out
}

func (g *gathering) unknowns() []UnknownRow {
	out := []UnknownRow{}
	for _, k := range sortedKeys(g.unknown) {
		slices.Sort(g.unknown[k].Deployments)
		out = append(out, *g.unknown[k])
	}
	return out
}

func (g *gathering) environments() []EnvironmentRow {
	out := []EnvironmentRow{}
	for _, k := range sortedKeys(g.heat) {
		out = append(out, *g.heat[k])
	}
	return out
}

// worseExposure is the worse of two; one that is not known counts as the worst.
func worseExposure(a, b string) string {
	order := []string{"small", "controlled", "open", ""}
	if a == "" {
		return cmp.Or(b, "unknown")
	}
	if b == "" || a == "unknown" {
		return "unknown"
	}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// fixedBy says which versions of charts close the advisories of rows, by the
// plans of the deployments. Cost: all plans.
func (s *Service) fixedBy(ctx context.Context, rows []AdvisoryRow) error {
	plans, err := s.store.Plans(ctx)
	if err != nil {
		return err
	}
	byKey := make(map[string]*Plan, len(plans))
	for i := range plans {
		byKey[plans[i].Deployment] = &plans[i]
	}
	for i := range rows {
		r := &rows[i]
		for _, key := range r.Deployments {
			p := byKey[key]
			if p == nil {
				continue
			}
			for _, c := range p.Candidates {
				if slices.Contains(c.Closes, r.Finding.Key) {
					if name := p.Chart + " " + c.Version; !slices.Contains(r.FixedBy, name) {
						r.FixedBy = append(r.FixedBy, name)
					}
					break // the least version is enough
				}
			}
		}
		slices.Sort(r.FixedBy)
	}
	return nil
}

// query chooses findings.
type query struct {
	words []string
	terms []func(a *Assessment, f *Finding, now time.Time) bool
	id    string
}

func (q *query) matches(a *Assessment, f *Finding, now time.Time) bool {
	if q.id != "" && f.Key != q.id && f.Advisory != q.id && f.Rule != q.id && !slices.Contains(f.Aliases, q.id) {
		return false
	}
	for _, t := range q.terms {
		if !t(a, f, now) {
			return false
		}
	}
	for _, w := range q.words {
		if !strings.Contains(strings.ToLower(strings.Join(append([]string{f.Key, f.Advisory, f.Title, f.Component, f.Object, a.Deployment, a.Chart}, append(f.Aliases, f.Images...)...), " ")), w) {
			return false
		}
	}
	return true
}

// parseQuery reads words and terms: severity:high epss:>0.1 env:prod has:fix
// kev:yes state:late deployment:prod-* component:airflow kind:posture
// owner:data.
func parseQuery(text string) (query, error) {
	var q query
	if len(text) > maxQuery {
		return q, problem.New(problem.Invalid, "query", "a query has at most %d bytes, not %d", maxQuery, len(text))
	}
	for _, word := range strings.Fields(text) {
		name, value, ok := strings.Cut(word, ":")
		if !ok {
			q.words = append(q.words, strings.ToLower(word))
			continue
		}
		t, err := term(strings.ToLower(name), value)
		if err != nil {
			return q, err
		}
		q.terms = append(q.terms, t)
	}
	return q, nil
}

func term(name, value string) (func(a *Assessment, f *Finding, now time.Time) bool, error) {
	lower := strings.ToLower(value)
	bad := func(try string) error {
		return problem.New(problem.Invalid, "query", "%.80q cannot be read in a query", name+":"+value).Suggest("%s", try)
	}
	switch name {
	case "severity":
		up, at := strings.CutPrefix(lower, ">=")
		sev := manifest.Severity(up)
		if sev != SeverityUnknown && sev.Rank() < 0 {
			return nil, bad("severity:critical, high, medium, low or unknown; severity:>=high")
		}
		return func(_ *Assessment, f *Finding, _ time.Time) bool {
			return f.Severity == sev || at && f.Severity.Rank() > sev.Rank()
		}, nil
	case "epss":
		number, above := strings.CutPrefix(value, ">")
		limit, err := strconv.ParseFloat(number, 64)
		if err != nil || !above || limit < 0 || limit > 1 {
			return nil, bad("epss:>0.1")
		}
		return func(_ *Assessment, f *Finding, _ time.Time) bool { return f.EPSS != nil && *f.EPSS > limit }, nil
	case "kev", "has", "state":
		return property(name, lower, bad)
	case "env", "deployment", "component", "owner":
		pattern := value
		if !strings.ContainsAny(pattern, "*?[") && name == "component" {
			pattern = "*" + pattern
		}
		return func(a *Assessment, f *Finding, _ time.Time) bool {
			return glob(pattern, map[string]string{"env": a.Environment, "deployment": a.Deployment, "component": f.Component, "owner": a.Owner}[name])
		}, nil
	case "kind":
		return func(_ *Assessment, f *Finding, _ time.Time) bool { return string(f.Kind) == lower }, nil
	}
	return nil, bad("severity, epss, kev, has, state, env, deployment, component, owner or kind; a word without a colon is looked for in the text")
}

func property(name, value string, bad func(string) error) (func(a *Assessment, f *Finding, now time.Time) bool, error) {
	switch name + ":" + value {
	case "kev:yes":
		return func(_ *Assessment, f *Finding, _ time.Time) bool { return f.Exploited }, nil
	case "kev:no":
		return func(_ *Assessment, f *Finding, _ time.Time) bool { return !f.Exploited }, nil
	case "has:fix":
		return func(_ *Assessment, f *Finding, _ time.Time) bool { return len(f.Fixed) > 0 }, nil
	case "has:workaround":
		return func(_ *Assessment, f *Finding, _ time.Time) bool { return f.Workaround != "" }, nil
	case "has:doubt":
		return func(_ *Assessment, f *Finding, _ time.Time) bool { return f.Doubt != "" || len(f.Decision.Doubts) > 0 }, nil
	case "state:late":
		return func(_ *Assessment, f *Finding, now time.Time) bool {
			return !f.Decision.Deadline.IsZero() && f.Decision.Deadline.Before(now)
		}, nil
	case "state:due":
		return func(_ *Assessment, f *Finding, _ time.Time) bool { return !f.Decision.Deadline.IsZero() }, nil
	}
	return nil, bad("kev:yes, kev:no, has:fix, has:workaround, has:doubt, state:late, state:due")
}

// Status is the state of every deployment in one table. Cost: all summaries,
// open upgrades and plans.
func (s *Service) Status(ctx context.Context, c audit.Caller, owner string) (Status, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return Status{}, err
	}
	list, err := s.store.Summaries(ctx)
	if err != nil {
		return Status{}, err
	}
	ups, err := s.store.ListUpgrades(ctx, UpgradeFilter{Owner: owner, Open: true})
	if err != nil {
		return Status{}, err
	}
	byKey := map[string]*Upgrade{}
	for i := range ups {
		if byKey[ups[i].Deployment] == nil {
			byKey[ups[i].Deployment] = &ups[i]
		}
	}
	plans, err := s.store.Plans(ctx)
	if err != nil {
		return Status{}, err
	}
	planned := map[string]*Plan{}
	for i := range plans {
		planned[plans[i].Deployment] = &plans[i]
	}
	now := s.now()
	out := Status{At: now.UTC().Truncate(time.Second), Rows: []StatusRow{}}
	for i := range list {
		if owner == "" || list[i].Owner == owner {
			out.Rows = append(out.Rows, statusRow(&list[i], byKey[list[i].Deployment], planned[list[i].Deployment], now))
		}
	}
	if err := s.addUnjudged(ctx, &out, owner, list); err != nil {
		return Status{}, err
	}
	slices.SortFunc(out.Rows, func(a, b StatusRow) int {
		return cmp.Or(flag(b.Late, a.Late), byTime(a.Due, b.Due), strings.Compare(a.Deployment, b.Deployment))
	})
	return out, nil
}

// addUnjudged adds the deployments that were recorded a moment ago and not
// judged yet: nothing is left out.
func (s *Service) addUnjudged(ctx context.Context, out *Status, owner string, judged []Summary) error {
	all, err := s.watch.ListDeployments(ctx)
	if err != nil {
		return err
	}
	known := make(map[string]bool, len(judged))
	for i := range judged {
		known[judged[i].Deployment] = true
	}
	for i := range all {
		if d := &all[i]; !known[d.Key] && (owner == "" || d.Owner == owner) {
			out.Rows = append(out.Rows, StatusRow{
				Deployment: d.Key, Environment: d.Environment, Owner: d.Owner, Chart: d.Chart.Name, Version: d.Chart.Version,
				State: ActUnknown, WaitsFor: "its first judgement, in some seconds",
			})
		}
	}
	return nil
}

func statusRow(a *Summary, u *Upgrade, p *Plan, now time.Time) StatusRow {
	r := StatusRow{Deployment: a.Deployment, Environment: a.Environment, Owner: a.Owner, Chart: a.Chart, Version: a.Version, Unknown: a.Unknown, Due: a.Deadline}
	for _, n := range a.Open {
		r.Open += n
	}
	switch {
	case u != nil:
		r.To, r.State, r.Since, r.WaitsFor, r.Upgrade, r.Ticket = u.To, string(u.State), u.Since, u.WaitsFor, u.ID, u.Ticket
		if !u.Due.IsZero() {
			r.Due = u.Due
		}
	case a.NotJudged != "":
		r.State, r.WaitsFor = ActUnknown, a.NotJudged
	case p == nil:
		r.State = ActUnknown
	default:
		r.State = p.Action
		if p.Action == ActRemedy {
			r.WaitsFor = fmt.Sprintf("a decision: %s", count(len(p.Remedies), "remedy", "remedies"))
		}
	}
	r.Late = !a.Deadline.IsZero() && a.Deadline.Before(now)
	if now.Sub(a.At) > 2*judgeEvery {
		// What stands here may be true no more, and nothing says that it is.
		r.WaitsFor = "a new judgement: the last one is of " + stamp(a.At) + ", and the server's log says why none came since"
	}
	return r
}

// Upgrades lists upgrades: the open ones by due time, then those that ended.
func (s *Service) Upgrades(ctx context.Context, c audit.Caller, f UpgradeFilter) ([]Upgrade, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, err
	}
	return s.store.ListUpgrades(ctx, f)
}

// Upgrade is one upgrade with its story.
func (s *Service) Upgrade(ctx context.Context, c audit.Caller, id int64) (Upgrade, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return Upgrade{}, err
	}
	return s.store.Upgrade(ctx, id)
}

// maxDismissal is how long an upgrade can be put off.
const maxDismissal = 366 * 24 * time.Hour

// DismissUpgrade ends an upgrade with a reason, until a date on which it is
// looked at again. What it would have closed stays open and due.
func (s *Service) DismissUpgrade(ctx context.Context, c audit.Caller, id int64, reason string, until time.Time) (Upgrade, error) {
	if err := s.may(ctx, c, access.UpgradeApprove); err != nil {
		return Upgrade{}, err
	}
	now := s.now()
	reason = strings.TrimSpace(reason)
	switch {
	case reason == "" || len(reason) > maxReason:
		return Upgrade{}, problem.New(problem.Invalid, "dismiss-reason", "an upgrade is dismissed with a reason of 1 to %d bytes", maxReason)
	case !until.After(now) || until.Sub(now) > maxDismissal:
		return Upgrade{}, problem.New(problem.Invalid, "dismiss-until", "an upgrade is dismissed until a date within a year").Suggest("--until %s", now.AddDate(0, 1, 0).Format(time.DateOnly))
	}
	ev := s.event(c, audit.UpgradeDismissed, access.UpgradeApprove)
	ev.Detail = map[string]string{"upgrade": strconv.FormatInt(id, 10), "reason": reason, "until": until.UTC().Format(time.RFC3339)}
	return s.store.MoveUpgrade(ctx, id, nil, &ev, func(u Upgrade) (Upgrade, error) {
		if !u.State.Open() {
			return u, problem.New(problem.Conflict, "upgrade-state", "the upgrade of %s to %s is %s already", u.Deployment, u.To, u.State)
		}
		u.State, u.Since, u.WaitsFor, u.DismissedUntil = Dismissed, now, "", until
		u.Steps = append(u.Steps, Step{Time: now.UTC().Truncate(time.Second), State: Dismissed, By: ev.Actor.ID, ByName: ev.Actor.Name, Text: reason + " (until " + until.UTC().Format(time.DateOnly) + ")"})
		return u, nil
	})
}
