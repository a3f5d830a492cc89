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
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/upgrade"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// todayPage answers what needs somebody now.
type todayPage struct {
	frame
	Alarm       *todayAlarm
	Tally       []tallyRow
	Rows        []waitRow
	More        int // that wait and are not listed
	Releases    []releaseLine
	Feeds       []feedRow
	Old         int // feeds that are no source of what is new
	Watched     int // upstreams
	Failing     int
	Deployments int
	NotJudged   int
	Windows     []windowRow
}

// todayAlarm is the newest published version that was changed, in a line, or
// that nothing is known of advisories.
type todayAlarm struct {
	What, Message, Question string
	URL                     string
	Seen                    moment
	Log                     link
	More                    int
	NoFeeds                 bool
}

// tallyRow is a number that needs a decision, with a sentence.
type tallyRow struct {
	Label string
	N     string
	Bad   bool
	Unk   bool
	Words string
	URL   string
	Spark *spark // nil where the days before are not known
}

// waitRow is something that waits for a person.
type waitRow struct {
	On       link
	Sub      string
	State    stateWord
	Why      string
	Due      dueView
	WaitsFor string
	Since    moment
	Act      link
	rank     int
}

// releaseLine is a release as the log has it.
type releaseLine struct {
	On     link
	Digest string
	By     string
	When   moment
	Log    link
}

const (
	waitsShown   = 40
	changesShown = 5 // of changed versions and of refused overwrites
	lately       = 14
	leavesRead   = 256
	latestShown  = 5
	refusalsRead = 200
)

// gathered is what the page is made of.
type gathered struct {
	upgrades  []upgrade.Upgrade
	status    upgrade.Status
	changes   []watch.Event
	refusals  []release.AuditRecord
	auditor   bool
	feeds     []upgrade.Feed
	inputs    upgrade.Inputs
	upstreams []watch.Upstream
}

// today costs all summaries, plans and open upgrades, and a bounded number of
// events, leaves and upgrades that ended.
func (d *Door) today(w http.ResponseWriter, r *http.Request) error {
	ctx, c := r.Context(), server.CallerOf(r)
	g, err := d.gather(ctx, c)
	if err != nil {
		return err
	}
	if len(g.status.Rows) == 0 && len(g.upgrades) == 0 {
		// A server that begins: its first steps, as long as there is nothing.
		if projects, err := d.svc.Projects(ctx, c); err != nil || len(projects) == 0 {
			return d.home(w, r)
		}
	}
	p := &todayPage{frame: d.frameOf(r, "Today", "today"), Deployments: len(g.status.Rows), Watched: len(g.upstreams)}
	open := 0
	for i := range g.upgrades {
		if g.upgrades[i].State.Open() {
			open++
		}
	}
	p.OpenUpgrades = number(open)
	p.Feeds = p.feeds(g.feeds, g.inputs.Old)
	for i := range p.Feeds {
		if p.Feeds[i].State.Class != "ok" {
			p.Old++
		}
	}
	for i := range g.upstreams {
		if s := stateOfUpstream(&g.upstreams[i], 0, p.Now.at); s.Class == "unk" {
			p.Failing++
		}
	}
	p.showAlarm(g)
	p.showUpgrades(ctx, c, d, g)
	p.showOthers(g)
	p.showUnknown(g)
	p.sort()
	p.count(g)
	if p.Releases, err = d.latestReleases(ctx, c, &p.frame); err != nil {
		return err
	}
	windows, err := d.cfg.Judging.Windows(ctx, c)
	if err != nil {
		return err
	}
	next, _ := p.windows(windows)
	for i := range next[:min(len(next), placesShown)] {
		if !next[i].Shut {
			p.Windows = append(p.Windows, next[i])
		}
	}
	return d.render(w, r, http.StatusOK, "today", p)
}

func (d *Door) gather(ctx context.Context, c release.Caller) (*gathered, error) {
	g := &gathered{}
	var err error
	if g.status, err = d.cfg.Judging.Status(ctx, c, ""); err != nil {
		return nil, err
	}
	if g.upgrades, err = d.cfg.Judging.Upgrades(ctx, c, upgrade.UpgradeFilter{Limit: endedRead}); err != nil {
		return nil, err
	}
	if g.feeds, err = d.cfg.Judging.Feeds(ctx, c); err != nil {
		return nil, err
	}
	if _, g.inputs, err = d.cfg.Judging.MatchImages(ctx, c, nil); err != nil {
		return nil, err
	}
	if d.cfg.Watching != nil {
		if g.changes, err = d.changes(ctx, c, watch.EventFilter{}, d.cfg.Now()); err != nil {
			return nil, err
		}
		if g.upstreams, err = d.cfg.Watching.Upstreams(ctx, c); err != nil {
			return nil, err
		}
	}
	if g.auditor = d.can(ctx, c, access.AuditRead, "", "", false); g.auditor {
		g.refusals, err = d.svc.Audit(ctx, c, release.AuditFilter{Action: string(audit.RefusedOverwrite), Limit: refusalsRead})
	}
	return g, err
}

func (p *todayPage) showAlarm(g *gathered) {
	switch {
	case len(g.changes) > 0:
		e := &g.changes[0]
		id := strconv.FormatInt(e.ID, 10)
		p.Alarm = &todayAlarm{
			What: chartVersion(e.Chart, e.Version) + " of " + shown(e.Upstream, maxName), Message: shown(e.Message, maxSentence), Question: capital(shown(e.Question, maxSentence)),
			URL: p.Base + "/upstreams?alarm=" + id, Seen: moment{e.Time, p.Now.at}, More: len(g.changes) - 1,
		}
		if e.LogIndex > 0 {
			p.Alarm.Log = link{number(e.LogIndex), leafPath(p.Base, e.LogIndex)}
		}
	case len(g.feeds) == 0 && len(g.status.Rows) > 0:
		p.Alarm = &todayAlarm{NoFeeds: true}
	}
}

// showUpgrades lists the open upgrades. Cost: the plans of those that are shown.
func (p *todayPage) showUpgrades(ctx context.Context, c release.Caller, d *Door, g *gathered) {
	var open []*upgrade.Upgrade
	for i := range g.upgrades {
		if u := &g.upgrades[i]; u.State.Open() && u.WaitsFor != "" {
			open = append(open, u)
		}
	}
	p.mostUrgent(open)
	p.More += max(0, len(open)-waitsShown)
	for _, u := range open[:min(len(open), waitsShown)] {
		row := p.upgradeRow(u)
		wait := waitRow{
			On: row.On, Sub: row.Chart + " " + row.From + " to " + row.To, State: row.State, Due: row.Due, WaitsFor: row.WaitsFor, Since: row.Since,
			Act: link{"Open", row.On.URL}, rank: p.urgencyOf(u),
		}
		switch wait.rank {
		case rankLate:
			wait.State = stateWord{Class: "bad", Icon: "warn", Word: "late"}
		case rankSoon:
			wait.State = stateWord{Class: "warn", Icon: "warn", Word: "due in less than 3 d"}
		}
		if u.State == upgrade.Seen {
			wait.Act = link{"Review", row.On.URL + "#signoffs"}
		}
		wait.Why = "It closes nothing that has a deadline."
		if u.Review == "" {
			wait.Why = "What it would close is not known: it was not reviewed."
		}
		if plan, err := d.cfg.Judging.Plan(ctx, c, u.Deployment); err == nil && plan.Chosen != nil && plan.Chosen.Version == u.To {
			wait.Why = shown(plan.Text, maxSentence)
		} else if u.Security {
			wait.Why = "It closes findings that have a deadline."
		}
		p.Rows = append(p.Rows, wait)
	}
}

// showOthers lists what else waits for a decision: remedies, changed versions
// and refused overwrites.
func (p *todayPage) showOthers(g *gathered) {
	for i := range g.status.Rows {
		s := &g.status.Rows[i]
		if s.Upgrade != 0 || s.State != upgrade.ActRemedy {
			continue
		}
		if len(p.Rows) >= 2*waitsShown {
			p.More++
			continue
		}
		row := waitRow{
			On: link{named(s.Deployment), p.planPath(s.Deployment)}, Sub: named(s.Chart) + " " + versioned(s.Version), State: stateWord{Class: "bad", Icon: "warn", Word: "no fixed chart"},
			Why: plural(s.Open, "finding") + " open, and no known version of the chart closes what is due.", Due: p.due(s.Due), WaitsFor: shown(s.WaitsFor, maxSentence),
			Act: link{"Remedies", p.planPath(s.Deployment)}, rank: rankDue,
		}
		if row.Due.Word == "late" {
			row.State, row.rank = stateWord{Class: "bad", Icon: "warn", Word: "late, no fixed chart"}, rankLate
		} else if row.Due.Class == "warn" {
			row.rank = rankSoon
		}
		p.Rows = append(p.Rows, row)
	}
	for i := range g.changes[:min(len(g.changes), changesShown)] {
		e := &g.changes[i]
		at := p.Base + "/upstreams?alarm=" + strconv.FormatInt(e.ID, 10)
		p.Rows = append(p.Rows, waitRow{
			On: link{chartVersion(e.Chart, e.Version), at}, Sub: "upstream " + shown(e.Upstream, maxName), State: stateWord{Class: "bad", Icon: "bad", Word: "changed"},
			Why: "Same version, other content: " + shown(e.Message, maxSentence) + ".", Due: p.due(time.Time{}), WaitsFor: "a decision: keep the first bytes, or look into the new ones",
			Since: moment{e.Time, p.Now.at}, Act: link{"Both sides", at}, rank: rankSoon,
		})
	}
	for i := range g.refusals[:min(len(g.refusals), changesShown)] {
		rec := &g.refusals[i]
		if p.Now.at.Sub(rec.Event.Time) > 24*time.Hour {
			break
		}
		res := rec.Event.Resource
		at := eventPath(p.Base, rec.Index)
		p.Rows = append(p.Rows, waitRow{
			On: link{res.Project + "/" + chartVersion(res.Chart, res.Version), at}, Sub: "push by " + shown(who(rec), maxName), State: stateWord{Class: "bad", Icon: "lock", Word: "refused"},
			Why: "Other bytes were offered for a released version. Nothing was changed.", Due: p.due(time.Time{}), WaitsFor: "somebody who asks why",
			Since: moment{rec.Event.Time, p.Now.at}, Act: link{"Open event", at}, rank: rankDue,
		})
	}
}

// unknownImages counts what nobody knows, an image once for each deployment.
func (g *gathered) unknownImages() (images, deployments, notJudged int) {
	for i := range g.status.Rows {
		s := &g.status.Rows[i]
		if s.Unknown > 0 {
			images += s.Unknown
			deployments++
		}
		if s.State == upgrade.ActUnknown {
			notJudged++
		}
	}
	return images, deployments, notJudged
}

// showUnknown lists what could not be checked, each kind in a row.
func (p *todayPage) showUnknown(g *gathered) {
	unknown := stateWord{Class: "unk", Icon: "unk", Word: "unknown"}
	add := func(what, sub, why, waits string, to link) {
		p.Rows = append(p.Rows, waitRow{On: link{what, to.URL}, Sub: sub, State: unknown, Why: why, Due: p.due(time.Time{}), WaitsFor: waits, Act: to, rank: rankRest})
	}
	images, deployments, notJudged := g.unknownImages()
	if p.NotJudged = notJudged; notJudged > 0 {
		add(plural(notJudged, "deployment"), "cannot be judged", "What is open on them is not known.", "what their plans name as missing", link{"See why", p.Base + "/plan?action=" + upgrade.ActUnknown})
	}
	if images > 0 {
		add(plural(images, "image"), "on "+plural(deployments, "deployment")+", each counted there", "No source covers them. They are not known to be clean.", "a mapping to components, or a scan result", link{"See images", p.Base + "/advisories#unknown"})
	}
	if p.Old > 0 {
		var names []string
		for i := range p.Feeds {
			if p.Feeds[i].State.Class != "ok" && len(names) < changesShown {
				names = append(names, p.Feeds[i].Name)
			}
		}
		add(plural(p.Old, "source")+" of advisories", strings.Join(names, ", "), "What was published since their last reading is not known here.", "a reading that works, or an import", link{"See sources", p.Base + "/advisories#sources"})
	}
	if p.Failing > 0 {
		add(plural(p.Failing, "upstream"), "without an answer", "New and changed versions are not seen.", "an answer", link{"See upstreams", p.Base + "/upstreams"})
	}
}

// sort puts the most urgent first.
func (p *todayPage) sort() {
	slices.SortStableFunc(p.Rows, func(a, b waitRow) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), byTime(a.Due.at, b.Due.at))
	})
}

// count makes the five numbers.
func (p *todayPage) count(g *gathered) {
	due, late, soon, waiting := 0, 0, 0, 0
	var oldest time.Time
	for i := range g.upgrades {
		u := &g.upgrades[i]
		if !u.State.Open() {
			continue
		}
		if at := p.dueOf(u); u.Security && !at.Zero() {
			due++
			if at.Past() {
				late++
			} else if at.at.Sub(p.Now.at) <= 48*time.Hour {
				soon++
			}
		}
		if u.State == upgrade.Seen && u.Review != "" {
			waiting++
			if oldest.IsZero() || u.Since.Before(oldest) {
				oldest = u.Since
			}
		}
	}
	words := "none late, " + number(soon) + " within 48 h"
	if late > 0 {
		words = number(late) + " late, " + number(soon) + " more within 48 h"
	}
	p.Tally = append(p.Tally, tallyRow{Label: "Security upgrades due", N: number(due), Bad: late > 0, Words: words, URL: p.Base + "/upgrades?show=security", Spark: sparkOf("Open", p.days(g, func(u *upgrade.Upgrade, _ upgrade.State) bool { return u.Security }))})
	row := tallyRow{Label: "Reviews waiting", N: number(waiting), Words: "nobody’s word is missing", URL: p.Base + "/upgrades?state=seen", Spark: sparkOf("Waiting", p.days(g, func(_ *upgrade.Upgrade, s upgrade.State) bool { return s == upgrade.Seen }))}
	if waiting > 0 {
		row.Words = "oldest " + moment{oldest, p.Now.at}.Distance()
	}
	p.Tally = append(p.Tally, row)
	p.Tally = append(p.Tally, p.changedRow(g), p.refusedRow(g), p.uncheckedRow(g))
}

// days counts upgrades on each of the last days, as their steps tell. It is nil
// where not all that ended since then were read.
func (p *todayPage) days(g *gathered, counts func(*upgrade.Upgrade, upgrade.State) bool) []int {
	out := make([]int, lately)
	ended := 0
	for i := range g.upgrades {
		u := &g.upgrades[i]
		if !u.State.Open() {
			ended++
		}
		for day := range out {
			at := p.Now.at.AddDate(0, 0, day-lately+1)
			var state upgrade.State
			for j := range u.Steps {
				if !u.Steps[j].Time.After(at) {
					state = u.Steps[j].State
				}
			}
			if state != "" && state.Open() && counts(u, state) {
				out[day]++
			}
		}
	}
	if ended >= endedRead {
		return nil
	}
	return out
}

// onDays counts times on each of the last days, today the last.
func (p *todayPage) onDays(times []time.Time) []int {
	out := make([]int, lately)
	for _, t := range times {
		if day := lately - 1 - int(p.Now.at.Sub(t)/(24*time.Hour)); day >= 0 && day < lately {
			out[day]++
		}
	}
	return out
}

func (p *todayPage) changedRow(g *gathered) tallyRow {
	row := tallyRow{Label: "Upstream versions changed", N: number(len(g.changes)), Bad: len(g.changes) > 0, Words: "in 30 d", URL: p.Base + "/upstreams"}
	var times []time.Time
	for i := range g.changes {
		times = append(times, g.changes[i].Time)
	}
	if len(times) > 0 {
		row.Words = "in 30 d, the last " + moment{times[0], p.Now.at}.Distance()
	}
	if len(times) < alarmsRead {
		row.Spark = sparkOf("Changed per day", p.onDays(times))
	}
	return row
}

func (p *todayPage) refusedRow(g *gathered) tallyRow {
	row := tallyRow{Label: "Overwrites refused", Words: "in the last 24 h", URL: p.Base + "/audit?event=" + url.QueryEscape(string(audit.RefusedOverwrite))}
	if !g.auditor {
		row.N, row.Unk, row.URL, row.Words = "not shown", true, "", "the audit trail of the server is for auditors"
		return row
	}
	n := 0
	var times []time.Time
	for i := range g.refusals {
		t := g.refusals[i].Event.Time
		times = append(times, t)
		if p.Now.at.Sub(t) <= 24*time.Hour {
			n++
		}
	}
	row.N = number(n)
	if n == refusalsRead {
		row.N += " or more"
	}
	if len(times) < refusalsRead || p.Now.at.Sub(times[len(times)-1]) > lately*24*time.Hour {
		row.Spark = sparkOf("Refused per day", p.onDays(times))
	}
	return row
}

func (p *todayPage) uncheckedRow(g *gathered) tallyRow {
	images, _, notJudged := g.unknownImages()
	n := images + notJudged + p.Old + p.Failing
	row := tallyRow{Label: "Could not be checked", N: number(n), Unk: n > 0, Words: "images, sources and upstreams: all known", URL: p.Base + "/advisories#unknown"}
	if len(g.status.Rows) == 0 {
		row.Words = "no deployment was judged yet"
	}
	var words []string
	for _, part := range []struct {
		n    int
		noun string
	}{{images, "image"}, {notJudged, "deployment"}, {p.Old, "source"}, {p.Failing, "upstream"}} {
		if part.n > 0 {
			words = append(words, plural(part.n, part.noun))
		}
	}
	if n > 0 {
		row.Words = strings.Join(words, ", ")
	}
	return row
}

// latestReleases are the newest releases among the last entries of the log that
// the reader may see.
func (d *Door) latestReleases(ctx context.Context, c release.Caller, f *frame) ([]releaseLine, error) {
	newest, leaves, err := d.svc.LatestLeaves(ctx, c, 0, leavesRead)
	if p, ok := problem.As(err); ok && p.Kind != problem.Internal {
		return nil, nil // the rest of the page stands without it
	}
	if err != nil {
		return nil, err
	}
	var out []releaseLine
	for i, text := range leaves {
		if text == nil || len(out) == latestShown {
			continue
		}
		leaf, err := tlog.ParseLeaf(text)
		if err != nil {
			continue
		}
		l, ok := leaf.(tlog.Release)
		if !ok {
			continue
		}
		index := newest - int64(i)
		out = append(out, releaseLine{
			On: link{l.Project + "/" + l.Chart + " " + l.Version, releasePath(f.Base, l.Project, l.Chart, l.Version)}, Digest: l.Archive, By: shown(l.Publisher.Subject, maxName),
			When: moment{l.Time, f.Now.at}, Log: link{number(index), leafPath(f.Base, index)},
		})
	}
	return out, nil
}
