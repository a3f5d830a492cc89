package web

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// auditPage answers who did what.
type auditPage struct {
	frame
	Filter       auditFilter
	Presets      []preset
	Actions      []choice
	Outcomes     []choice
	Rows         []auditRow
	NeedsProject bool // the reader may read the trail of single projects alone
	Filtered     bool
	Newest       string
	Older        string
}

// auditFilter is what the form holds.
type auditFilter struct{ Project, Chart, Version, Action, Actor, Outcome string }

type preset struct {
	link
	Current bool
}

type choice struct {
	Value, Text string
	Selected    bool
}

type auditRow struct {
	Index  int64
	Time   moment
	Who    string
	What   string
	Icon   string // "" for what is ordinary
	Class  string // of the mark
	On     string
	OnURL  string
	Detail string
	URL    string // opens the row
	Open   *auditDetail
}

// auditDetail is an opened row.
type auditDetail struct {
	Closed    string // URL of the page without it
	About     string // what such an event is
	Overwrite *overwrite
	Facts     []fact
}

type fact struct {
	Label, Value string
	Digest       bool
}

// overwrite is a refused overwrite from both sides.
type overwrite struct {
	Ref           string
	OfferedAs     string // another release than Ref, "" when it is the same
	Same          bool   // the archives are the same, and something around them is not
	Stored        string // digest
	StoredContent string
	Released      moment
	By            string
	Size          string
	LogIndex      int64
	LogURL        string
	Known         bool   // the facts of the stored release could be read; the digests are those of archives
	Offered       string // digest
	At            moment
	OfferedBy     string
	Through       string
	From          string
	Forced        bool
	Files         []fact
	More          string
}

const eventsPerPage = 100

func (d *Door) audit(w http.ResponseWriter, r *http.Request) error {
	ctx, c := r.Context(), server.CallerOf(r)
	q := r.URL.Query()
	get := func(name string) string { return shorten(strings.TrimSpace(q.Get(name)), 200) }
	filter := auditFilter{get("project"), get("chart"), get("version"), get("action"), get("actor"), get("outcome")}
	p := &auditPage{frame: d.frameOf(r, "Audit trail", "audit"), Filter: filter, Filtered: filter != auditFilter{}}
	p.offerFilters()
	if filter.Project == "" && signedIn(&c.Principal) && !d.can(ctx, c, access.AuditRead, "", "", false) {
		p.NeedsProject = true
		return d.render(w, r, http.StatusOK, "audit", p)
	}
	before, _ := strconv.ParseInt(q.Get("before"), 10, 64)
	before = max(before, 0)
	open, err := strconv.ParseInt(q.Get("open"), 10, 64)
	if err != nil {
		open = -1
	}
	records, err := d.svc.Audit(ctx, c, release.AuditFilter{
		Project: filter.Project, Chart: filter.Chart, Version: filter.Version, Action: filter.Action,
		Actor: filter.Actor, Outcome: filter.Outcome, Before: before, Limit: eventsPerPage,
	})
	if err != nil {
		return err
	}
	if before > 0 {
		p.Newest = p.url(filter, 0, -1)
	}
	if len(records) == eventsPerPage {
		p.Older = p.url(filter, records[len(records)-1].Index, -1)
	}
	for i := range records {
		row := p.event(&records[i])
		row.URL = p.url(filter, before, row.Index) + "#e" + strconv.FormatInt(row.Index, 10)
		if row.Index == open {
			row.Open = d.opened(ctx, c, p, &records[i])
			row.Open.Closed = p.url(filter, before, -1)
		}
		p.Rows = append(p.Rows, row)
	}
	return d.render(w, r, http.StatusOK, "audit", p)
}

// url is the page with a filter, before an event (0: from the newest), with
// one row opened (-1: none).
func (p *auditPage) url(f auditFilter, before, open int64) string {
	q := url.Values{}
	for name, value := range map[string]string{
		"project": f.Project, "chart": f.Chart, "version": f.Version, "action": f.Action, "actor": f.Actor, "outcome": f.Outcome,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if before > 0 {
		q.Set("before", strconv.FormatInt(before, 10))
	}
	if open >= 0 {
		q.Set("open", strconv.FormatInt(open, 10))
	}
	if len(q) == 0 {
		return p.Base + "/audit"
	}
	return p.Base + "/audit?" + q.Encode()
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
	{Value: "integrity.", Text: "integrity of stored bytes"},
	{Value: "log.", Text: "log and keys"},
}

func (p *auditPage) offerFilters() {
	f := p.Filter
	known := false
	for _, a := range auditActions {
		a.Selected = a.Value == f.Action
		known = known || a.Selected
		p.Actions = append(p.Actions, a)
	}
	if !known {
		p.Actions = append(p.Actions, choice{f.Action, f.Action, true})
	}
	for _, o := range []choice{{"", "any", false}, {string(audit.Allowed), "done", false}, {string(audit.Denied), "refused", false}, {string(audit.Failed), "failed", false}} {
		o.Selected = o.Value == f.Outcome
		p.Outcomes = append(p.Outcomes, o)
	}
	for _, action := range []string{"", string(audit.RefusedOverwrite), "release.refused.", "login.", "role.", string(audit.ReleaseYanked)} {
		i := slices.IndexFunc(auditActions, func(a choice) bool { return a.Value == action })
		g := f
		g.Action = action
		p.Presets = append(p.Presets, preset{link{capital(auditActions[i].Text), p.url(g, 0, -1)}, f.Action == action})
	}
}

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
	audit.LoginOK: "signed in", audit.LoginFailed: "sign-in failed", audit.AuthFailures: "wrong credentials", audit.AccessDenied: "not allowed",
	audit.TokenCreated: "token created", audit.TokenRevoked: "token revoked", audit.AccountCreated: "account created", audit.AccountRemoved: "account removed",
	audit.PasswordChanged: "password changed", audit.RoleGranted: "grant given", audit.RoleRevoked: "grant taken away",
	audit.ProjectCreated: "project created", audit.ProjectSet: "project changed", audit.ProjectCutOver: "import ended", audit.ProjectRemoved: "project removed",
	audit.IntegrityMismatch: "stored bytes changed", audit.IntegrityMissing: "stored bytes missing", audit.LogRollback: "log rolled back", audit.LogKeyChanged: "log key changed",
}

func (p *auditPage) event(rec *release.AuditRecord) auditRow {
	e := &rec.Event
	row := auditRow{
		Index: rec.Index, Time: moment{e.Time, p.Now.at}, Who: who(rec),
		What: cmp.Or(eventWords[e.Name], string(e.Name)), Detail: strings.Join(remarks(e), ", "),
	}
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
	}
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

func (d *Door) opened(ctx context.Context, c release.Caller, p *auditPage, rec *release.AuditRecord) *auditDetail {
	e := &rec.Event
	definition, _ := e.Name.Definition()
	o := &auditDetail{About: definition.Description}
	if strings.HasPrefix(string(e.Name), refusedPrefix) && e.Before != "" && e.After != "" {
		o.Overwrite = d.sides(ctx, c, p, rec)
	}
	add := func(label, value string) {
		if value != "" {
			o.Facts = append(o.Facts, fact{label, value, strings.HasPrefix(value, "sha256:")})
		}
	}
	add("Event", string(e.Name))
	add("Id", e.ID)
	add("Actor", string(e.Actor.Kind)+" "+e.Actor.ID)
	add("Issuer", e.Actor.Issuer)
	add("Token", e.Actor.TokenID)
	add("Right", string(e.Action))
	add("Outcome", strings.TrimSpace(string(e.Outcome.Result)+" "+e.Outcome.Rule))
	add("Through", doorName(string(e.Door)))
	add("From", from(e))
	add("Request", e.RequestID)
	if o.Overwrite == nil {
		add("Digest", e.Resource.Digest)
		add("Before", e.Before)
		add("After", e.After)
		add("Reason", e.Reason)
		for _, key := range slices.Sorted(maps.Keys(e.Detail)) {
			add(key, e.Detail[key])
		}
	}
	return o
}

func from(e *audit.Event) string {
	s := e.Source.IP
	if ua := e.Source.UserAgent; ua != "" {
		s = strings.TrimSpace(s + " " + shorten(ua, 80))
	}
	return s
}

// sides puts what stands beside what was offered. What stands is read from the
// release, whose facts never change.
func (d *Door) sides(ctx context.Context, c release.Caller, p *auditPage, rec *release.AuditRecord) *overwrite {
	e := &rec.Event
	offered := fmt.Sprintf("%s/%s@%s", e.Resource.Project, e.Resource.Chart, e.Resource.Version)
	o := &overwrite{
		Ref: cmp.Or(e.Detail[detailReleased], offered), Same: e.Before == e.After,
		Stored: e.Before, Offered: e.After, At: moment{e.Time, p.Now.at}, OfferedBy: who(rec),
		Through: doorName(string(e.Door)), From: from(e), Forced: e.Detail[audit.DetailForce] != "",
	}
	for _, key := range slices.Sorted(maps.Keys(e.Detail)) {
		if strings.HasPrefix(key, detailFile) {
			kind, path, _ := strings.Cut(e.Detail[key], " ")
			o.Files = append(o.Files, fact{Label: path, Value: kind})
		}
	}
	o.More = e.Detail[detailMore]
	if o.Ref != offered {
		o.OfferedAs = offered
	}
	project, chart, version, ok := parseRef(o.Ref)
	if !ok {
		return o
	}
	detail, err := d.svc.Release(ctx, c, project, chart, version)
	if err != nil || detail.Release.Archive != e.Before {
		return o // the digests of the event stand for themselves
	}
	rel := &detail.Release
	o.Known, o.StoredContent, o.Released = true, rel.Content, moment{rel.Time, p.Now.at}
	o.By, o.Size = byName(rel.By, rel.Publisher), size(rel.Size)
	o.LogIndex, o.LogURL = rel.LogIndex, leafPath(p.Base, rel.LogIndex)
	return o
}
