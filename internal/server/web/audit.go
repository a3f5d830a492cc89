package web

import (
	"cmp"
	"fmt"
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
	"github.com/chartkeep/chartkeep/internal/watch"
)

// auditPage answers who did what.
type auditPage struct {
	frame
	Filter   auditFilter
	Fault    string // what is wrong with the times of the filter
	Presets  []preset
	Ready    []choice // filters that take several events
	Names    []choice // one event each
	Outcomes []choice
	Formats  []choice // of an export
	Rows     []auditRow
	Events   int // that the rows stand for
	// Projects are those whose trail the reader may read, when that of the
	// whole server is not for them and no project is named.
	Projects []link
	Filtered bool
	Newest   string
	Older    string
	Server   string // base URL, for commands
}

// auditFilter is what the form holds, by the names that the API has for it.
type auditFilter struct {
	Project, Chart, Version, Event, Actor, Outcome, Rule, Source string
	Since, Until                                                 string
	Each                                                         bool // no events are put together in one row
}

// Fields are the filter for a query, a form or an export.
func (f auditFilter) Fields() []fact {
	var out []fact
	for _, x := range []fact{
		{Label: "project", Value: f.Project}, {Label: "chart", Value: f.Chart}, {Label: "version", Value: f.Version}, {Label: "event", Value: f.Event}, {Label: "actor", Value: f.Actor},
		{Label: "outcome", Value: f.Outcome}, {Label: "rule", Value: f.Rule}, {Label: "source", Value: f.Source}, {Label: "since", Value: f.Since}, {Label: "until", Value: f.Until},
	} {
		if x.Value != "" {
			out = append(out, x)
		}
	}
	return out
}

// readFilter reads a filter from a query or a form. A span such as 7d becomes
// the time that it is today, so that a link to the page says the same tomorrow.
func readFilter(get func(string) string, now time.Time) (auditFilter, release.AuditFilter, error) {
	text := func(name string) string { return shown(strings.TrimSpace(get(name)), maxName) }
	f := auditFilter{
		Project: text("project"), Chart: text("chart"), Version: text("version"), Event: text("event"), Actor: text("actor"), Outcome: text("outcome"),
		Rule: text("rule"), Source: text("source"), Since: text("since"), Until: text("until"), Each: get("each") != "",
	}
	q := release.AuditFilter{
		Project: f.Project, Chart: f.Chart, Version: f.Version, Action: f.Event, Actor: f.Actor, Outcome: f.Outcome, Rule: f.Rule, Source: f.Source,
	}
	var err error
	for _, x := range []struct {
		name string
		text *string
		at   *time.Time
	}{{"From", &f.Since, &q.Since}, {"Until", &f.Until, &q.Until}} {
		if *x.text == "" {
			continue
		}
		t, ok := readTime(*x.text, now)
		if !ok {
			err = problem.New(problem.Invalid, "query", "%s takes a day such as 2026-11-22, a time such as 2026-11-22T10:00:00Z, or how long ago it was, such as 7d", x.name)
			continue
		}
		if *x.at = t; *x.text != t.Format(time.DateOnly) {
			*x.text = t.UTC().Format(time.RFC3339)
		}
	}
	return f, q, err
}

// readTime reads a time as the command line does.
func readTime(s string, now time.Time) (time.Time, bool) {
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(form, s); err == nil {
			return t, t.Year() >= 2000 && t.Year() < 10000
		}
	}
	d, err := watch.ParseDuration(s)
	return now.Add(-time.Duration(d)).Truncate(time.Second), err == nil
}

type preset struct {
	link
	Current bool
}

type choice struct {
	Value, Text string
	Selected    bool
}

// auditRow is an event, or several of one kind that came again and again.
type auditRow struct {
	Index  int64 // of the newest
	Time   moment
	Who    string
	What   string
	Icon   string // "" for what is ordinary
	Class  string // of the mark
	On     string
	OnURL  string
	Detail string
	URL    string // of the event's page

	Times int    // how many events the row stands for
	First moment // of the oldest of them
	Each  string // URL of them one by one
}

type fact struct {
	Label, Value string
	Digest       bool
}

const eventsPerPage = 100

// audit lists events. Cost: one page of events; what the store looks at to find
// them is said at sqlstore.AuditRecords.
func (d *Door) audit(w http.ResponseWriter, r *http.Request) error {
	ctx, c := r.Context(), server.CallerOf(r)
	q := r.URL.Query()
	p := &auditPage{frame: d.frameOf(r, "Audit trail", "audit"), Server: server.BaseURL(r)}
	filter, ask, err := readFilter(q.Get, p.Now.at)
	p.Filter, p.Filtered = filter, len(filter.Fields()) > 0
	p.offerFilters()
	if err != nil {
		prob, _ := problem.As(err)
		p.Fault = sentence(prob.Message)
		return d.render(w, r, http.StatusBadRequest, "audit", p)
	}
	if filter.Project == "" && !d.can(ctx, c, access.AuditRead, "", "", false) {
		if p.Projects = p.auditedProjects(&c); len(p.Projects) > 0 {
			return d.render(w, r, http.StatusOK, "audit", p)
		}
	}
	before, _ := strconv.ParseInt(q.Get("before"), 10, 64)
	ask.Before, ask.Limit = max(before, 0), eventsPerPage
	records, err := d.svc.Audit(ctx, c, ask)
	if err != nil {
		return err
	}
	if ask.Before > 0 {
		p.Newest = p.url(filter, 0)
	}
	if p.Events = len(records); p.Events == eventsPerPage {
		p.Older = p.url(filter, records[len(records)-1].Index)
	}
	p.list(records)
	return d.render(w, r, http.StatusOK, "audit", p)
}

// mayAudit says whether the reader may read any audit trail, for the menu.
func mayAudit(p *access.Principal, now time.Time) bool {
	if !signedIn(p) {
		return false
	}
	for i := range p.Grants {
		project := p.Grants[i].Project
		if project == "*" {
			project = ""
		}
		if access.Allowed(*p, access.Request{Action: access.AuditRead, Project: project}, now) {
			return true
		}
	}
	return false
}

// auditedProjects are the projects of the reader's grants whose trail they may
// read.
func (p *auditPage) auditedProjects(c *release.Caller) []link {
	var out []link
	for i := range c.Principal.Grants {
		name := c.Principal.Grants[i].Project
		if !access.Allowed(c.Principal, access.Request{Action: access.AuditRead, Project: name}, p.Now.at) {
			continue
		}
		f := p.Filter
		f.Project = name
		if l := (link{name, p.url(f, 0)}); !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	return out
}

// list makes rows of events. What was refused again and again for the same
// actor, thing, rule and bytes is one row with a count, where the newest of
// them stands: a pipeline in a loop hides nothing else.
func (p *auditPage) list(records []release.AuditRecord) {
	at := map[string]int{}
	for i := range records {
		rec := &records[i]
		key := repeats(&rec.Event)
		if n, ok := at[key]; ok && !p.Filter.Each {
			p.Rows[n].Times++
			p.Rows[n].First = moment{rec.Event.Time, p.Now.at}
			continue
		}
		row := p.event(rec)
		row.URL = eventPath(p.Base, row.Index)
		if row.Times = 1; key != "" && !p.Filter.Each {
			at[key] = len(p.Rows)
			e := &rec.Event
			row.Each = p.url(auditFilter{
				Project: cmp.Or(e.Resource.Project, p.Filter.Project), Chart: e.Resource.Chart, Version: e.Resource.Version, Event: string(e.Name), Actor: rec.Actor, Each: true,
			}, rec.Index+1)
		}
		p.Rows = append(p.Rows, row)
	}
}

// repeats is what events have in common that stand in one row, "" for what
// stands alone.
func repeats(e *audit.Event) string {
	if e.Outcome.Result != audit.Denied || e.Detail[audit.DetailCount] != "" {
		return ""
	}
	return fmt.Sprintf("%s %q %q %q %q %q %q %q", e.Name, e.Resource.Project, e.Resource.Chart, e.Resource.Version, e.Actor.ID, e.Outcome.Rule, e.After, e.Action)
}

// url is the page with a filter, before an event (0: from the newest).
func (p *auditPage) url(f auditFilter, before int64) string {
	q := url.Values{}
	for _, x := range f.Fields() {
		q.Set(x.Label, x.Value)
	}
	if f.Each {
		q.Set("each", "yes")
	}
	if before > 0 {
		q.Set("before", strconv.FormatInt(before, 10))
	}
	if len(q) == 0 {
		return p.Base + "/audit"
	}
	return p.Base + "/audit?" + q.Encode()
}

// Query is the filter in words of the command line.
func (f auditFilter) Query() string {
	var b strings.Builder
	for _, x := range f.Fields() {
		if x.Label == "actor" {
			x.Label = "user"
		}
		b.WriteString(" --" + x.Label + " " + quoted(x.Value))
	}
	return b.String()
}

// quoted is a word for a shell.
func quoted(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c >= 0x80 || !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@+=,%", c)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// The filters by what happened that are worth a name; one that ends in a dot
// takes everything that begins so.
var auditActions = []choice{
	{Value: "", Text: "everything"},
	{Value: "release.", Text: "releases, all"},
	{Value: string(audit.ReleaseAccepted), Text: "new releases"},
	{Value: "release.refused.", Text: "refused pushes"},
	{Value: string(audit.RefusedOverwrite), Text: "refused overwrites"},
	{Value: string(audit.DeleteRefused), Text: "refused deletes"},
	{Value: string(audit.ReleaseYanked), Text: "yanks"},
	{Value: "prov.", Text: "provenance"},
	{Value: "artifact.", Text: "plain artifacts"},
	{Value: "project.", Text: "projects"},
	{Value: "login.", Text: "sign-ins"},
	{Value: string(audit.AccessDenied), Text: "denied access"},
	{Value: "token.", Text: "tokens"},
	{Value: "role.", Text: "grants"},
	{Value: "account.", Text: "accounts"},
	{Value: "quarantine.", Text: "quarantines"},
	{Value: "request.", Text: "what needs two people"},
	{Value: "policy.", Text: "policies"},
	{Value: "integrity.", Text: "integrity of stored bytes"},
	{Value: "log.", Text: "log and keys"},
	{Value: "backup.", Text: "backups"},
}

func (p *auditPage) offerFilters() {
	f := p.Filter
	known := false
	take := func(list *[]choice, value, text string) {
		known = known || value == f.Event
		*list = append(*list, choice{value, text, value == f.Event})
	}
	for _, a := range auditActions {
		take(&p.Ready, a.Value, a.Text)
	}
	for _, def := range audit.Names() {
		if !slices.ContainsFunc(auditActions, func(a choice) bool { return a.Value == string(def.Name) }) {
			take(&p.Names, string(def.Name), string(def.Name))
		}
	}
	if !known {
		take(&p.Ready, f.Event, f.Event)
	}
	for _, o := range []choice{{"", "any", false}, {string(audit.Allowed), "done", false}, {string(audit.Denied), "refused", false}, {string(audit.Failed), "failed", false}} {
		o.Selected = o.Value == f.Outcome
		p.Outcomes = append(p.Outcomes, o)
	}
	for _, g := range audit.Formats() {
		p.Formats = append(p.Formats, choice{Value: g.Name(), Text: formatWords[g.Name()]})
	}
	for _, action := range []string{"", string(audit.RefusedOverwrite), "release.refused.", "login.", "role.", string(audit.ReleaseYanked)} {
		i := slices.IndexFunc(auditActions, func(a choice) bool { return a.Value == action })
		g := f
		g.Event = action
		p.Presets = append(p.Presets, preset{link{capital(auditActions[i].Text), p.url(g, 0)}, f.Event == action})
	}
}

// formatWords are the names of formats for people.
var formatWords = map[string]string{"jsonl": "JSON Lines", "cloudevents": "CloudEvents"}

// eventWords are what happened, in the words of a list. Names that are not
// here are shown as they are.
var eventWords = map[audit.Name]string{
	audit.ReleaseAccepted: "released", audit.ReleaseUnchanged: "pushed again, unchanged", audit.ReleaseImported: "imported",
	audit.RefusedOverwrite: "overwrite refused", audit.RefusedRepackaged: "other manifest refused", audit.RefusedBuildMetadata: "build metadata refused",
	audit.RefusedFileName: "taken file name refused", audit.RefusedVersion: "version refused", audit.RefusedMismatch: "mismatch refused",
	audit.RefusedValidation: "chart refused", audit.RefusedProvenance: "provenance refused", audit.RefusedPolicy: "refused by policy",
	audit.RefusedLimit: "too large, refused", audit.RefusedDigest: "wrong digest refused", audit.RefusedAccess: "push not allowed",
	audit.ProvAttached: "provenance added", audit.ProvRefused: "provenance refused", audit.AttestationAttached: "signature added",
	audit.ReleaseYanked: "yanked", audit.ReleaseUnyanked: "yank taken back", audit.DeleteRefused: "delete refused",
	audit.ArtifactPushed: "artifact pushed", audit.ArtifactDeleted: "artifact deleted",
	audit.LoginOK: "signed in", audit.LoginFailed: "sign-in failed", audit.LoginLocked: "address locked out", audit.TokenExpired: "token expired", audit.TokenNewSource: "token from new address", audit.ConfigChanged: "settings changed", audit.AuthFailures: "wrong credentials", audit.AccessDenied: "not allowed",
	audit.TokenCreated: "token created", audit.TokenRevoked: "token revoked", audit.AccountCreated: "account created", audit.AccountRemoved: "account removed",
	audit.PasswordChanged: "password changed", audit.RoleGranted: "grant given", audit.RoleRevoked: "grant taken away",
	audit.ProjectCreated: "project created", audit.ProjectSet: "project changed", audit.ProjectCutOver: "import ended", audit.ProjectRemoved: "project removed",
	audit.IntegrityChecked: "all compared with the log", audit.IntegrityMismatch: "stored bytes changed", audit.IntegrityMissing: "stored bytes missing",
	audit.LogRollback: "log rolled back", audit.LogForked: "log forked", audit.LogKeyChanged: "log key changed", audit.LogKeyRotated: "new log key", audit.LogRecovered: "database recovered",
	audit.WitnessRefused: "witness refused", audit.BackupMade: "backup made", audit.BackupRestored: "backup restored", audit.AuditExported: "audit trail exported",
	audit.RefusedSignature: "signature refused", audit.RefusedWithheld: "withheld release refused", audit.WouldRefuse: "would be refused",
	audit.QuarantineSet: "quarantined", audit.QuarantineConfirmed: "quarantine confirmed", audit.QuarantineLifted: "quarantine lifted",
	audit.QuarantineLapsed: "quarantine lapsed", audit.QuarantineWaits: "quarantine unconfirmed", audit.TombstoneDone: "tombstone",
	audit.RequestMade: "second person asked", audit.RequestApproved: "approved", audit.RequestDeclined: "declined", audit.RequestWithdrawn: "request withdrawn", audit.RequestLapsed: "request lapsed",
	audit.PolicyChanged: "policy changed", audit.PolicyWeakened: "policy weakened", audit.PublisherAdded: "pipeline added", audit.PublisherRemoved: "pipeline removed",
	audit.OIDCExchanged: "identity token exchanged", audit.OIDCRefused: "identity token refused", audit.AccountLinked: "first sign-in by provider",
	audit.UpstreamAdded: "upstream added", audit.UpstreamSet: "upstream changed", audit.UpstreamRemoved: "upstream removed",
	audit.DeploymentImported: "deployments read", audit.DeploymentSet: "deployment changed", audit.RouteAdded: "route added", audit.RouteRemoved: "route removed",
	audit.RouteResent: "deliveries tried again", audit.AlertTested: "alert tested", audit.FeedAdded: "feed added", audit.FeedSet: "feed changed", audit.FeedRemoved: "feed removed",
	audit.FeedImported: "feed imported", audit.DecisionSet: "decision policy set", audit.WindowSet: "window set", audit.WindowRemoved: "window removed",
	audit.WaiverRequested: "waiver asked for", audit.WaiverApproved: "waiver approved", audit.WaiverEnded: "waiver ended", audit.ReviewSigned: "review signed", audit.ReviewDeclined: "review declined",
	audit.UpgradePlanned: "upgrade planned", audit.UpgradeDismissed: "upgrade dismissed", audit.TrackerAdded: "tracker added", audit.TrackerRemoved: "tracker removed",
}

// event is a row of an event.
func (p *frame) event(rec *release.AuditRecord) auditRow {
	e := &rec.Event
	row := auditRow{
		Index: rec.Index, Time: moment{e.Time, p.Now.at}, Who: who(rec),
		What: cmp.Or(eventWords[e.Name], string(e.Name)), Detail: strings.Join(remarks(e), ", "),
	}
	row.Who, row.Detail = shown(row.Who, maxName), shown(row.Detail, maxSentence)
	definition, _ := e.Name.Definition()
	refused := e.Outcome.Result == audit.Denied
	switch {
	case definition.Severity == audit.Alert && refused:
		row.Icon, row.Class = "lock", "bad"
	case definition.Severity == audit.Alert:
		row.Icon, row.Class = "bad", "bad"
	case refused:
		row.Icon, row.Class = "lock", "mute"
	case e.Outcome.Result == audit.Failed:
		row.Icon, row.Class = "warn", "warn"
	}
	res := e.Resource
	switch {
	case res.Chart != "" && res.Version != "":
		row.On = res.Project + "/" + res.Chart + " " + res.Version
		if project, chart, version, ok := parseRef(e.Detail[detailReleased]); ok {
			row.OnURL = releasePath(p.Base, project, chart, version)
		} else if !refused { // a refused first push has no page
			row.OnURL = releasePath(p.Base, res.Project, res.Chart, res.Version)
		}
	case res.Chart != "":
		row.On = res.Project + "/" + res.Chart
	case res.Project != "":
		row.On, row.OnURL = res.Project, projectPath(p.Base, res.Project)
	default:
		row.On = cmp.Or(e.Detail["upstream"], e.Detail["deployment"], e.Detail["import"], e.Detail["route"])
	}
	row.On = shown(row.On, maxName)
	return row
}

// who is the actor's name, or the id when the name is gone.
func who(rec *release.AuditRecord) string {
	a := &rec.Event.Actor
	if a.Kind == access.KindAnonymous || a.Kind == "" {
		return "anonymous"
	}
	return cmp.Or(rec.Actor, a.Name, a.ID, string(a.Kind))
}

// remarks are the few words of an event that fit into its row.
func remarks(e *audit.Event) []string {
	var out []string
	if e.Outcome.Rule != "" && e.Name != audit.RefusedOverwrite {
		out = append(out, e.Outcome.Rule)
	}
	if n := differing(e); n > 0 {
		verb := " differ"
		if n == 1 {
			verb = " differs"
		}
		out = append(out, plural(n, "file")+verb)
	}
	if e.Detail[audit.DetailForce] != "" {
		out = append(out, "with force")
	}
	if n := e.Detail[audit.DetailCount]; n != "" {
		out = append(out, n+" times")
	}
	if role := e.Detail[audit.DetailRole]; role != "" {
		out = append(out, role)
	}
	if e.Reason != "" {
		out = append(out, "“"+shorten(e.Reason, 120)+"”")
	}
	return out
}

// refusedPrefix begins the names of refused releases.
const refusedPrefix = "release.refused."

// Keys of a refused claim's detail, beside those of package audit.
const (
	detailReleased = "released" // the release that stands
	detailFile     = "file-"    // file-01 and so on: how it differs, and its path
	detailMore     = "more"     // files beyond those that are named
)

func differing(e *audit.Event) int {
	n, _ := strconv.Atoi(e.Detail[detailMore])
	for key := range e.Detail {
		if strings.HasPrefix(key, detailFile) {
			n++
		}
	}
	return n
}
