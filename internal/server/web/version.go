package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// upstreamVersionsPage lists the charts of an upstream, or the versions of one.
type upstreamVersionsPage struct {
	frame
	Upstream  string
	OfChart   bool // the versions of Chart are listed, and not the charts
	Chart     string
	ChartName string // as the filter sends it again
	NoFilter  bool   // a form cannot send it
	Query     string
	Charts    []upstreamChart
	Versions  []versionRow
	Sources   bool // there are several that list versions, so the rows name theirs
	Total     int
	Found     int
	From, To  int
	Newer     string
	Older     string
	All       link // list of charts
}

type upstreamChart struct {
	link
	Versions int // listed
	Gone     int
	Newest   link
	Seen     moment // the newest, by us
}

type versionRow struct {
	link
	AppVersion string
	State      versionState
	Seen       moment
	LogURL     string
	LogIndex   int64
	Created    moment // as the upstream says
	Digest     string // as it is listed; "" for none
	Digests    int
	Kept       bool
	WhyNot     string
	Source     string
}

// versionState says how a version is listed.
type versionState struct {
	Gone, Deprecated, Prerelease bool
	Bare                         bool // without the digest that it had
	Fault                        string
}

func stateOfVersion(v *watch.VersionState) versionState {
	parsed, err := chart.ParseVersion(v.Version)
	return versionState{
		Gone: v.Gone, Deprecated: v.Deprecated, Bare: v.Bare, Fault: shown(v.Fault, maxSentence),
		Prerelease: err == nil && parsed.Prerelease(),
	}
}

const versionsPerPage = 100

// upstreamVersions costs all versions of the upstream, or of the chart.
func (d *Door) upstreamVersions(w http.ResponseWriter, r *http.Request, req request) error {
	ctx, c, q := r.Context(), server.CallerOf(r), r.URL.Query()
	u, err := d.cfg.Watching.Upstream(ctx, c, req.upstream)
	if err != nil {
		return err
	}
	if len(q.Get("chart")) > maxLinkedName {
		return tooLong()
	}
	list, err := d.cfg.Watching.Versions(ctx, c, u.Name, q.Get("chart"))
	if err != nil {
		return err
	}
	base := server.ContextPath(r) + prefix
	self := upstreamPath(base, u.Name) + "/versions"
	p := &upstreamVersionsPage{
		frame:    d.frameOf(r, "Versions of "+u.Name, "upstreams", link{"Upstreams", base + "/upstreams"}, link{u.Name, upstreamPath(base, u.Name)}, link{"Versions", ""}),
		Upstream: u.Name, Total: len(list), Query: shown(strings.TrimSpace(q.Get("q")), maxName), All: link{"All charts", self},
	}
	listing := 0
	for _, src := range u.Sources {
		if src.Kind.Lists() {
			listing++
		}
	}
	p.Sources = listing > 1
	if p.OfChart = q.Has("chart"); p.OfChart {
		p.showVersions(&u, list, q, self)
	} else {
		p.showCharts(&u, list, q, self)
	}
	return d.render(w, r, http.StatusOK, "upstream-versions", p)
}

// showVersions shows a page of the versions of a chart.
func (p *upstreamVersionsPage) showVersions(u *watch.Upstream, list []watch.VersionState, q url.Values, self string) {
	name := q.Get("chart")
	list = slices.DeleteFunc(list, func(v watch.VersionState) bool { return v.Chart != name })
	p.Chart, p.Total = named(name), len(list)
	if p.Query != "" {
		list = slices.DeleteFunc(list, func(v watch.VersionState) bool { return !strings.Contains(v.Version, p.Query) })
	}
	p.ChartName, p.NoFilter, p.Title = name, !sendable(name), p.Chart+", "+u.Name
	p.Crumbs[2].URL = self
	p.Crumbs = append(p.Crumbs, link{p.Chart, ""})
	p.Found = len(list)
	p.From, p.To, p.Newer, p.Older = pageOf(len(list), versionsPerPage, q, self, "chart", "q")
	kinds := map[int64]string{}
	for _, src := range u.Sources {
		kinds[src.ID] = sourceKind(src.Kind)
	}
	for i := range list[p.From:p.To] {
		v := &list[p.From+i]
		row := p.versionRow(u.Name, v)
		row.Source = cmp.Or(kinds[v.SourceID], "a source that was taken away")
		p.Versions = append(p.Versions, row)
	}
}

func (f *frame) versionRow(upstream string, v *watch.VersionState) versionRow {
	row := versionRow{
		link:       link{versioned(v.Version), versionPath(f.Base, upstream, v.Chart, v.Version)},
		AppVersion: shown(v.AppVersion, maxName), State: stateOfVersion(v), Seen: moment{v.FirstSeen, f.Now.at},
		LogURL: leafPath(f.Base, v.LogIndex), LogIndex: v.LogIndex, Created: moment{v.Created, f.Now.at},
		Digests: len(v.Digests), Kept: v.Archive != "", WhyNot: shown(v.ArchiveError, maxSentence),
	}
	if len(v.Digests) > 0 {
		row.Digest = listedDigest(v.Digests[0])
	}
	return row
}

// listedDigest is a digest of an index, which is bare.
func listedDigest(bare string) string {
	if bare == "" {
		return ""
	}
	return "sha256:" + shown(bare, maxName)
}

// showCharts shows a page of the charts. Of each, the newest version is the
// first that is still listed.
func (p *upstreamVersionsPage) showCharts(u *watch.Upstream, list []watch.VersionState, q url.Values, self string) {
	var charts []upstreamChart
	last := -1
	for i := range list {
		v := &list[i]
		if last < 0 || list[last].Chart != v.Chart {
			if last = i; !strings.Contains(v.Chart, p.Query) {
				continue
			}
			charts = append(charts, upstreamChart{link: link{named(v.Chart), chartVersionsPath(p.Base, u.Name, v.Chart)}})
		} else if !strings.Contains(v.Chart, p.Query) {
			continue
		}
		at := &charts[len(charts)-1]
		switch {
		case v.Gone:
			at.Gone++
		case at.Versions == 0:
			at.Newest = link{versioned(v.Version), versionPath(p.Base, u.Name, v.Chart, v.Version)}
			at.Seen = moment{v.FirstSeen, p.Now.at}
			fallthrough
		default:
			at.Versions++
		}
	}
	p.Found = len(charts)
	p.From, p.To, p.Newer, p.Older = pageOf(len(charts), versionsPerPage, q, self, "q")
	p.Charts = charts[p.From:p.To]
}

// upstreamVersionPage is one version of an upstream.
type upstreamVersionPage struct {
	frame
	Upstream string
	Chart    string
	Version  string
	State    versionState
	Changed  bool
	Alarm    *alarm
	States   []versionFacts
	Notes    []noteView
	Timeline *timeline
	running
	Mirror        link
	VersionsURL   string
	AnyKept       bool
	SourcesDiffer bool // two sources list different digests
}

// versionFacts is what one source says of the version, and what we saw of it.
type versionFacts struct {
	Source      string
	State       versionState
	AppVersion  string
	Seen        moment
	LogIndex    int64
	LogURL      string
	Created     moment
	LastChange  moment
	Digests     []string
	Archive     string
	WhyNot      string
	Content     string
	Fingerprint string
	URL, Link   string
	OtherBytes  bool // the archive that is kept is not one of those listed
}

// upstreamVersion costs the versions of the chart, all deployments, and the
// version's events.
func (d *Door) upstreamVersion(w http.ResponseWriter, r *http.Request, req request) error {
	ctx, c, q := r.Context(), server.CallerOf(r), r.URL.Query()
	name, version := q.Get("chart"), q.Get("version")
	u, err := d.cfg.Watching.Upstream(ctx, c, req.upstream)
	if err != nil {
		return err
	}
	if len(name)+len(version) > maxLinkedName {
		return tooLong()
	}
	list, err := d.cfg.Watching.Versions(ctx, c, u.Name, name)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(v watch.VersionState) bool { return v.Chart != name || v.Version != version })
	if len(list) == 0 {
		return problem.New(problem.NotFound, "upstream-version", "the upstream %s never listed %s", u.Name, chartVersion(name, version)).
			Suggest("chartkeep upstream show %s", u.Name)
	}
	base := server.ContextPath(r) + prefix
	p := &upstreamVersionPage{
		Upstream: u.Name, Chart: named(name), Version: versioned(version),
		VersionsURL: chartVersionsPath(base, u.Name, name), State: stateOfVersion(&list[0]),
	}
	p.frame = d.frameOf(r, p.Chart+" "+p.Version+", "+u.Name, "upstreams", link{"Upstreams", base + "/upstreams"},
		link{u.Name, upstreamPath(base, u.Name)}, link{p.Chart, p.VersionsURL}, link{p.Version, ""})
	p.showStates(&u, list)
	deployed, err := d.runs(ctx, c)
	if err != nil {
		return err
	}
	filter := watch.EventFilter{Upstream: u.Name, Chart: name, Version: version}
	changed, err := d.changes(ctx, c, filter, p.Now.at)
	if err != nil {
		return err
	}
	self, keep := upstreamPath(base, u.Name)+"/version", []fact{{Label: "chart", Value: name}, {Label: "version", Value: version}}
	if p.Alarm, err = d.alarm(ctx, c, &p.frame, changed, "", deployed, self); err != nil {
		return err
	}
	if p.Alarm != nil {
		p.Alarm.Others, p.Alarm.More = nil, 0 // they are the timeline of this page
	}
	p.running = p.frame.running(u.Name, name, version, nil, deployed)
	if p.Alarm != nil {
		p.running, p.Alarm.What.URL = p.Alarm.running, "" // this is its page
	}
	if u.Mirror != nil {
		p.Mirror = link{u.Mirror.Project, projectPath(base, u.Mirror.Project)}
	}
	notes, err := d.cfg.Watching.Notes(ctx, c, u.Name, name, version, notesShown)
	if err != nil {
		return err
	}
	p.Notes = p.notes(u.Name, notes)
	if p.Timeline, err = d.timeline(ctx, c, &p.frame, q, self, keep, filter, upstreamKinds); err != nil {
		return err
	}
	return d.render(w, r, http.StatusOK, "upstream-version", p)
}

func (p *upstreamVersionPage) showStates(u *watch.Upstream, list []watch.VersionState) {
	for i := range list {
		v := &list[i]
		s := versionFacts{
			Source: "a source that was taken away", State: stateOfVersion(v), AppVersion: shown(v.AppVersion, maxName),
			Seen: moment{v.FirstSeen, p.Now.at}, LogIndex: v.LogIndex, LogURL: leafPath(p.Base, v.LogIndex),
			Created: moment{v.Created, p.Now.at},
			Archive: v.Archive, WhyNot: shown(v.ArchiveError, maxSentence), Content: v.Content, Fingerprint: v.Fingerprint,
			URL: shown(v.URL, maxSentence), Link: webURL(v.URL),
		}
		if len(v.URL) > maxSentence {
			s.Link = ""
		}
		if v.LastChange.After(v.FirstSeen) {
			s.LastChange = moment{v.LastChange, p.Now.at}
		}
		for _, src := range u.Sources {
			if src.ID == v.SourceID {
				s.Source = sourceKind(src.Kind) + " " + shown(src.URL, maxName)
			}
		}
		digests := v.Digests[:min(len(v.Digests), maxEvidence)]
		for _, digest := range digests {
			if digest != "" {
				s.Digests = append(s.Digests, listedDigest(digest))
			}
		}
		s.OtherBytes = s.Archive != "" && len(s.Digests) > 0 && !slices.Contains(s.Digests, s.Archive)
		p.AnyKept = p.AnyKept || s.Archive != ""
		p.SourcesDiffer = p.SourcesDiffer || i > 0 && !slices.Equal(s.Digests, p.States[0].Digests)
		p.States = append(p.States, s)
	}
}
