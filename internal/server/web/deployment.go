package web

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/watch"
)

const (
	deploymentsPerPage = 200
	namesOffered       = 200 // in a list of a filter
	reasonsShown       = 20  // why a deployment is not resolved, in a row
	imagesShown        = 200
	maxValues          = 128 << 10 // bytes of values that are shown
)

// deploymentsPage answers what runs where, how sure that is, and who owns it.
type deploymentsPage struct {
	frame
	Filter       deploymentFilter
	Environments []choice
	Clusters     []choice
	Owners       []choice
	Needs        []choice
	Filtered     bool
	Alarm        *runsAlarm
	Groups       []deploymentGroup
	Total, Found int
	Tally        deploymentTally
	Hidden       int    // unresolved ones that do not fit the filter
	HiddenURL    string // shows them
	From, To     int
	Newer, Older string
	MayImport    bool
	Imports      []importRow
	MoreImports  int
	Troubled     int // imports that are old or could not read something
}

// deploymentFilter is what the form holds.
type deploymentFilter struct{ Environment, Cluster, Owner, Needs, Upstream, Query string }

// deploymentTally counts what needs somebody.
type deploymentTally struct{ Behind, Unchecked, Unresolved, NoOwner, NoRoute int }

// deploymentGroup is what runs in one environment.
type deploymentGroup struct {
	Name  string // "" when nobody said
	ID    string
	Rows  []deploymentRow
	Total int // of the environment that fit the filter, on all pages
}

type deploymentRow struct {
	Key        link
	Tool       string
	From       string
	Chart      string
	Version    string
	Range      string // where only a range is known
	AppVersion string
	Match      matchView
	Behind     behindView
	Owner      string
	Route      string
	Exposure   exposureView
	Reasons    []string // why it is not resolved
	More       int      // reasons that are not shown

	Environment, Cluster string
}

// matchView says which published chart a deployment is, and how sure that is.
type matchView struct {
	Class, Icon, Word string
	How               string
	On                link // what it is matched with
}

// The confidences in words. Only what was compared is green.
func (f *frame) match(m *deployment.Match) matchView {
	v := matchView{Class: "unk", Icon: "unk", Word: "unknown", How: shown(m.How, maxSentence)}
	switch {
	case m.Confidence == deployment.Exact:
		v.Class, v.Icon, v.Word = "ok", "ok", "exact"
	case m.Confidence == deployment.Strong:
		v.Class, v.Icon, v.Word = "mute", "ok", "strong, by names"
	case m.Confidence == deployment.Weak:
		v.Class, v.Icon, v.Word = "warn", "warn", "weak, by name alone"
	case m.Differs:
		v.Class, v.Icon, v.Word = "bad", "bad", "other bytes than released"
	}
	name := chartVersion(m.Chart, m.Version)
	switch {
	case m.Chart == "":
	case m.Upstream != "":
		v.On = link{name + " of " + shown(m.Upstream, maxName), versionPath(f.Base, m.Upstream, m.Chart, m.Version)}
	case m.Project != "":
		v.On = link{shown(m.Project, maxName) + "/" + name, releasePath(f.Base, m.Project, m.Chart, m.Version)}
	default:
		v.On = link{Text: name}
	}
	return v
}

// exposureView says who can reach a deployment.
type exposureView struct {
	Word, Means, Why string
	Unknown          bool
}

func exposureOf(d *deployment.Deployment) exposureView {
	v := exposureView{Word: shown(string(d.Exposure), maxName), Why: shown(d.ExposureWhy, maxSentence)}
	switch d.Exposure {
	case deployment.ExposureSmall:
		v.Means = "local or strictly limited"
	case deployment.ExposureControlled:
		v.Means = "from inside the network"
	case deployment.ExposureOpen:
		v.Means = "from the internet or everywhere"
	default:
		v.Unknown = d.Exposure == deployment.ExposureUnknown || d.Exposure == ""
	}
	return v
}

var toolNames = map[deployment.Tool]string{
	deployment.Helm: "Helm, in a cluster", deployment.ArgoCD: "Argo CD", deployment.Flux: "Flux", deployment.Helmfile: "helmfile",
	deployment.Umbrella: "umbrella chart", deployment.Plain: "list",
}

func toolName(t deployment.Tool) string { return cmp.Or(toolNames[t], shown(string(t), 64)) }

// unresolved reports whether something about a deployment could not be found
// out.
func unresolved(d *deployment.Deployment) bool {
	return len(d.Unresolved) > 0 || unresolvedMatch(&d.Match)
}

func unresolvedMatch(m *deployment.Match) bool {
	return m.Confidence == deployment.Unknown || m.Confidence == ""
}

// run is a deployment with how far it is behind.
type run struct {
	watch.Deployment
	row *deployment.Row // nil when nothing was said of it
}

// runs lists all deployments, matched with what is published today: an upstream
// may be watched since an import. Cost: all deployments, without their values.
func (d *Door) runs(ctx context.Context, c release.Caller) ([]run, error) {
	list, err := d.cfg.Watching.DeploymentList(ctx, c, "")
	if err != nil || len(list) == 0 {
		return nil, err
	}
	rows, err := d.cfg.Watching.Behind(ctx, c, list...)
	if err != nil {
		return nil, err
	}
	out := make([]run, len(list))
	for i := range list {
		out[i] = runOf(&list[i], nil)
		if i < len(rows) {
			out[i] = runOf(&list[i], &rows[i])
		}
	}
	return out, nil
}

func runOf(d *watch.Deployment, row *deployment.Row) run {
	r := run{*d, row}
	if row != nil {
		r.Match = row.Match
	}
	return r
}

// behindView says how far a deployment is behind what is published.
type behindView struct {
	Class, Icon, Word string
	Why               string
	rank              int // the most urgent first
}

func (r *run) behind() behindView {
	v := behindView{Class: "unk", Icon: "unk", Word: "not checked", rank: 1}
	if r.row == nil {
		return v
	}
	if r.row.Why != r.Match.How { // that is said beside it
		v.Why = shown(r.row.Why, maxSentence)
	}
	switch r.row.State {
	case deployment.Current:
		v.Class, v.Icon, v.Word, v.rank = "ok", "ok", "current", 3
	case deployment.Outdated:
		v.Class, v.Icon, v.Word, v.rank = "warn", "warn", "behind", 2
		if r.row.Releases > 0 {
			v.Word = plural(r.row.Releases, "version") + " behind"
		}
	case deployment.Withdrawn:
		v.Class, v.Icon, v.Word, v.rank = "warn", "warn", "withdrawn", 2
	case deployment.Deprecated:
		v.Class, v.Icon, v.Word, v.rank = "warn", "warn", "deprecated", 2
	}
	return v
}

// needs are the filters by what somebody has to do about a deployment.
var needs = []choice{
	{Value: "", Text: "everything"}, {Value: "behind", Text: "behind"}, {Value: "unchecked", Text: "not checked"}, {Value: "unresolved", Text: "not resolved"},
	{Value: "unowned", Text: "no owner"}, {Value: "unrouted", Text: "no route to its owner"},
	{Value: "unplaced", Text: "no environment"}, {Value: "unexposed", Text: "exposure unknown"},
}

func (r *run) needs(what string) bool {
	switch what {
	case "behind":
		return r.behind().rank == 2
	case "unchecked":
		return r.behind().rank == 1
	case "unresolved":
		return unresolved(&r.Deployment.Deployment)
	case "unowned":
		return r.Owner == ""
	case "unrouted":
		return r.Route == ""
	case "unplaced":
		return r.Environment == ""
	case "unexposed":
		return exposureOf(&r.Deployment.Deployment).Unknown
	}
	return true
}

func (f *deploymentFilter) fits(d *run) bool {
	if f.Environment != "" && d.Environment != f.Environment || f.Cluster != "" && d.Cluster != f.Cluster ||
		f.Owner != "" && d.Owner != f.Owner || f.Upstream != "" && d.Match.Upstream != f.Upstream || !d.needs(f.Needs) {
		return false
	}
	if f.Query == "" {
		return true
	}
	q := strings.ToLower(f.Query)
	for _, text := range []string{d.Key, d.Name, d.Namespace, d.Chart.Name, d.Chart.Version, d.From, d.Match.Upstream, d.Match.Project, d.Match.Chart} {
		if strings.Contains(strings.ToLower(text), q) {
			return true
		}
	}
	return slices.ContainsFunc(d.Images, func(image string) bool { return strings.Contains(strings.ToLower(image), q) })
}

// deployments costs all deployments.
func (d *Door) deployments(w http.ResponseWriter, r *http.Request) error {
	ctx, c, q := r.Context(), server.CallerOf(r), r.URL.Query()
	if key := q.Get("key"); key != "" {
		return d.deployment(w, r, request{deployment: key})
	}
	list, err := d.runs(ctx, c)
	if err != nil {
		return err
	}
	p := &deploymentsPage{frame: d.frameOf(r, "Deployments", "deployments"), Total: len(list)}
	p.MayImport = d.can(ctx, c, access.DeploymentWrite, "", "", false)
	get := func(name string) string { return shown(strings.TrimSpace(q.Get(name)), maxName) }
	p.Filter = deploymentFilter{get("environment"), get("cluster"), get("owner"), get("show"), get("upstream"), get("q")}
	p.Filtered = p.Filter != deploymentFilter{}
	p.offer(list)
	p.Alarm = p.runsAlarm(list)
	var fit []*run
	for i := range list {
		if p.Filter.fits(&list[i]) {
			fit = append(fit, &list[i])
			p.Tally.count(&list[i])
		} else if unresolved(&list[i].Deployment.Deployment) {
			p.Hidden++
		}
	}
	p.HiddenURL = p.Base + "/deployments?show=unresolved"
	p.Found = len(fit)
	p.group(fit, q)
	imports, err := d.cfg.Watching.Imports(ctx, c)
	if err != nil {
		return err
	}
	p.showImports(imports)
	return d.render(w, r, http.StatusOK, "deployments", p)
}

func (t *deploymentTally) count(d *run) {
	switch d.behind().rank {
	case 1:
		t.Unchecked++
	case 2:
		t.Behind++
	}
	if unresolved(&d.Deployment.Deployment) {
		t.Unresolved++
	}
	if d.Owner == "" {
		t.NoOwner++
	} else if d.Route == "" {
		t.NoRoute++
	}
}

// group sorts by environment, those that nobody named last, and shows a page.
// Within one, what is not resolved comes first, then what is the longest behind.
func (p *deploymentsPage) group(fit []*run, q url.Values) {
	rank := func(d *run) int {
		if unresolved(&d.Deployment.Deployment) {
			return 0
		}
		return d.behind().rank
	}
	days := func(d *run) int {
		if d.row == nil {
			return 0
		}
		return d.row.Days
	}
	slices.SortStableFunc(fit, func(a, b *run) int {
		if (a.Environment == "") != (b.Environment == "") {
			return strings.Compare(b.Environment, a.Environment)
		}
		return cmp.Or(strings.Compare(a.Environment, b.Environment), cmp.Compare(rank(a), rank(b)), cmp.Compare(days(b), days(a)), strings.Compare(a.Key, b.Key))
	})
	of := map[string]int{}
	for _, d := range fit {
		of[d.Environment]++
	}
	p.From, p.To, p.Newer, p.Older = pageOf(len(fit), deploymentsPerPage, q, p.Base+"/deployments", "environment", "cluster", "owner", "show", "upstream", "q")
	for i, d := range fit[p.From:p.To] {
		if i == 0 || fit[p.From+i-1].Environment != d.Environment {
			name := ""
			if d.Environment != "" {
				name = named(d.Environment)
			}
			p.Groups = append(p.Groups, deploymentGroup{Name: name, ID: "g" + number(len(p.Groups)), Total: of[d.Environment]})
		}
		g := &p.Groups[len(p.Groups)-1]
		g.Rows = append(g.Rows, p.run(d))
	}
}

func (f *frame) run(d *run) deploymentRow {
	row := deploymentRow{
		Key: f.keyLink(d.Key), Tool: toolName(d.Tool), From: shown(d.From, maxName),
		Chart: named(d.Chart.Name), Version: shown(d.Chart.Version, maxName), Range: shown(d.Chart.Constraint, maxName),
		AppVersion: shown(d.Chart.AppVersion, maxName), Match: f.match(&d.Match), Owner: shown(d.Owner, maxName), Route: shown(d.Route, maxName),
		Exposure: exposureOf(&d.Deployment.Deployment), Behind: d.behind(), Environment: shown(d.Environment, maxName), Cluster: shown(d.Cluster, maxName),
	}
	row.Reasons, row.More = reasons(d.Unresolved, reasonsShown)
	return row
}

// reasons say why a deployment is not resolved.
func reasons(all []string, most int) (list []string, more int) {
	for i, why := range all {
		if i == most {
			return list, len(all) - most
		}
		list = append(list, sentence(shown(why, maxSentence)))
	}
	return list, 0
}

// offer fills the lists of the filter with what there is.
func (p *deploymentsPage) offer(list []run) {
	names := func(selected string, of func(*run) string) []choice {
		seen := map[string]bool{}
		for i := range list {
			seen[of(&list[i])] = true
		}
		out := []choice{{"", "any", selected == ""}}
		known := selected == ""
		for _, name := range slices.Sorted(maps.Keys(seen)) {
			if name == "" || !sendable(name) || shown(name, maxName) != name {
				continue // it is found by its text
			}
			if len(out) > namesOffered && name != selected {
				continue
			}
			known = known || name == selected
			out = append(out, choice{name, name, name == selected})
		}
		if !known {
			out = append(out, choice{selected, selected, true})
		}
		return out
	}
	p.Environments = names(p.Filter.Environment, func(d *run) string { return d.Environment })
	p.Clusters = names(p.Filter.Cluster, func(d *run) string { return d.Cluster })
	p.Owners = names(p.Filter.Owner, func(d *run) string { return d.Owner })
	for _, n := range needs {
		n.Selected = n.Value == p.Filter.Needs
		p.Needs = append(p.Needs, n)
	}
}

// runsAlarm is a cluster that runs other bytes than the release of that name,
// or a chart which nobody known released.
type runsAlarm struct {
	Differs  bool // other bytes; else nobody known released it
	Head     string
	How      string
	On       link
	Question string
	Others   []link
	More     int
}

// alarming reports whether a deployment is an alarm: only what Helm stored in a
// cluster says what really runs.
func alarming(d *deployment.Deployment) bool {
	return d.Tool == deployment.Helm && unresolvedMatch(&d.Match)
}

// runsAlarm shows the gravest, which are other bytes, and names the others of
// its kind.
func (f *frame) runsAlarm(list []run) *runsAlarm {
	var a *runsAlarm
	for _, differs := range []bool{true, false} {
		for i := range list {
			d := &list[i].Deployment.Deployment
			if !alarming(d) || d.Match.Differs != differs {
				continue
			}
			on := f.keyLink(d.Key)
			switch {
			case a == nil:
				a = &runsAlarm{Differs: differs, On: on, How: sentence(shown(d.Match.How, maxSentence))}
				a.Head = on.Text + " runs a chart that nobody known released"
				a.Question = "Where does it come from? Watch its upstream, or release it in a project."
				if differs {
					a.Head = on.Text + " runs other bytes than were released"
					a.Question = "Who installed it, from where, and what does it do that the release does not?"
				}
			case len(a.Others) == alarmsShown:
				a.More++
			default:
				a.Others = append(a.Others, on)
			}
		}
		if a != nil {
			return a
		}
	}
	return nil
}

// deploymentPage is everything that is known of one deployment.
type deploymentPage struct {
	frame
	deploymentRow
	Name         string
	Namespace    string
	Alarm        *runsAlarm
	Archive      string // digest of what it is matched with
	Repository   link
	Stored       bool   // by Helm, which keeps no repository
	Pinned       string // digest
	Status       string
	Revision     int
	Updated      moment
	Import       string
	FirstSeen    moment
	LastSeen     moment
	Mission      string // "" when nobody said
	Fingerprint  string
	Dependencies []chartRowOf
	Images       []string
	MoreImages   int
	Derived      bool   // by us, and not by what Helm stored
	Values       string // masked; "" for none
	MoreValues   int    // bytes that are not shown
	Timeline     *timeline
	Judged       *judgedView // nil where nothing is judged
	FeedURL      string
	Plain        bool // the key stands in commands as it is
	KeyText      string
	MaySet       bool
}

// chartRowOf is a dependency of a deployment's chart.
type chartRowOf struct{ Name, Alias, Version, Range, Repository, Condition string }

// The tiers of a mission, as the CERT/CC SSVC deployer tree speaks of them.
var missions = []string{"0, lowest", "1", "2", "3, highest"}

// deployment costs one deployment, the versions of its chart, and its events.
func (d *Door) deployment(w http.ResponseWriter, r *http.Request, req request) error {
	ctx, c, q := r.Context(), server.CallerOf(r), r.URL.Query()
	if len(req.deployment) > maxLinkedName {
		return tooLong()
	}
	dep, err := d.cfg.Watching.Deployment(ctx, c, req.deployment)
	if err != nil {
		return err
	}
	rows, err := d.cfg.Watching.Behind(ctx, c, dep)
	if err != nil {
		return err
	}
	is := runOf(&dep, nil)
	if len(rows) > 0 {
		is = runOf(&dep, &rows[0])
	}
	base := server.ContextPath(r) + prefix
	name := named(dep.Name)
	p := &deploymentPage{
		frame:     d.frameOf(r, shown(dep.Key, maxName), "deployments", link{"Deployments", base + "/deployments"}, link{named(dep.Key), ""}),
		Name:      name,
		Namespace: shown(dep.Namespace, maxName), Status: shown(dep.Status, maxName), Revision: dep.Revision, Import: shown(dep.Import, maxName),
		Stored: dep.Tool == deployment.Helm, Archive: is.Match.Archive, Pinned: shown(dep.Chart.Digest, maxName), Fingerprint: shown(dep.Fingerprint, maxName),
		Repository: link{shown(dep.Chart.Repository, maxSentence), webURL(shorten(dep.Chart.Repository, maxSentence))},
		FeedURL:    server.BaseURL(r) + "/api/v1/feed?" + url.Values{"deployment": {dep.Key}}.Encode(),
	}
	p.deploymentRow = p.run(&is)
	if p.Reasons, p.More = reasons(dep.Unresolved, maxEvidence); unresolvedMatch(&is.Match) {
		p.Reasons = append([]string{"Which published version it is"}, p.Reasons...)
	}
	now := p.Now.at
	p.Updated, p.FirstSeen, p.LastSeen = moment{dep.Updated, now}, moment{dep.FirstSeen, now}, moment{dep.LastSeen, now}
	if m := dep.Mission; m != nil && *m >= 0 && *m < len(missions) {
		p.Mission = missions[*m]
	}
	if p.KeyText = "KEY"; plainWord(dep.Key) {
		p.KeyText = dep.Key
	}
	p.MaySet = d.can(ctx, c, access.DeploymentWrite, "", "", false)
	p.showChart(&dep)
	if p.Alarm = p.runsAlarm([]run{is}); p.Alarm != nil {
		p.Alarm.On = link{} // this is its page
	}
	self, keep := deploymentPath(base, dep.Key), []fact(nil)
	if path, _, inQuery := strings.Cut(self, "?"); inQuery || self == "" {
		self, keep = cmp.Or(path, base+"/deployments"), []fact{{Label: "key", Value: dep.Key}}
	}
	if p.Timeline, err = d.timeline(ctx, c, &p.frame, q, self, keep, watch.EventFilter{Deployment: dep.Key}, deploymentKinds); err != nil {
		return err
	}
	if p.Judged, err = d.judged(ctx, c, &p.frame, dep.Key); err != nil {
		return err
	}
	return d.render(w, r, http.StatusOK, "deployment", p)
}

// showChart fills in dependencies, images and values.
func (p *deploymentPage) showChart(dep *watch.Deployment) {
	for i := range dep.Dependencies[:min(len(dep.Dependencies), maxEvidence)] {
		c := &dep.Dependencies[i]
		p.Dependencies = append(p.Dependencies, chartRowOf{
			Name: named(c.Name), Alias: shown(c.Alias, maxName), Version: shown(c.Version, maxName),
			Range: shown(c.Constraint, maxName), Repository: shown(c.Repository, maxName), Condition: shown(c.Condition, maxName),
		})
	}
	images := dep.Images
	p.Derived = dep.Rendering != nil
	if len(images) > imagesShown {
		p.MoreImages, images = len(images)-imagesShown, images[:imagesShown]
	}
	for _, image := range images {
		p.Images = append(p.Images, shown(image, maxSentence))
	}
	raw := []byte(dep.Values)
	if len(raw) <= 8*maxValues {
		raw = plainJSON(raw, "  ")
	}
	if len(raw) > maxValues {
		p.MoreValues, raw = len(raw)-maxValues, raw[:maxValues]
	}
	p.Values = plainText(raw)
}
