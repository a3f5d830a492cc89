package web

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// homePage lists the projects, or says how to begin.
type homePage struct {
	frame
	Projects []projectRow
	FirstRun bool   // nothing is here yet, and the reader may change that
	ServerAt string // URL for CHARTKEEP_SERVER
}

type projectRow struct {
	Name, URL string
	projectState
	Changed moment
}

// projectState is how a project is marked.
type projectState struct {
	Public    bool
	Artifacts bool // of kind artifacts
	Importing bool
	Removed   bool
}

func stateOf(p *release.Project) projectState {
	return projectState{p.Public, p.Kind == release.KindArtifacts, p.State == release.ProjectImporting, p.State == release.ProjectRemoved}
}

func (d *Door) home(w http.ResponseWriter, r *http.Request) error {
	ctx, c := r.Context(), server.CallerOf(r)
	projects, err := d.svc.Projects(ctx, c)
	if err != nil {
		return err
	}
	p := &homePage{frame: d.frameOf(r, "Charts", "charts"), ServerAt: server.BaseURL(r)}
	for i := range projects {
		p.Projects = append(p.Projects, projectRow{
			Name: projects[i].Name, URL: projectPath(p.Base, projects[i].Name),
			projectState: stateOf(&projects[i]), Changed: moment{projects[i].Changed, p.Now.at},
		})
	}
	if len(projects) == 0 {
		p.Title = "No charts yet"
		p.FirstRun = d.can(ctx, c, access.ProjectCreate, "", "", false)
	}
	return d.render(w, r, http.StatusOK, "home", p)
}

// can reports whether the caller may do something, for what a page offers. A
// question that cannot be answered hides the offer.
func (d *Door) can(ctx context.Context, c release.Caller, a access.Action, project, chart string, prerelease bool) bool {
	if !signedIn(&c.Principal) {
		return false
	}
	decision, err := d.svc.CanI(ctx, c, "", a, project, chart, prerelease)
	return err == nil && decision.Allowed
}

// projectPage lists the charts of a project.
type projectPage struct {
	frame
	projectState
	Name     string
	Query    string // what was searched for
	Charts   []chartRow
	Total    int  // charts looked at for a search
	Partial  bool // there are more charts than a search looks at
	Older    string
	Empty    bool // the project has no chart at all
	Access   clientAccess
	Policy   string // digest
	Signed   bool   // provenance is required
	Created  moment
	MayPush  bool
	AuditURL string // "" when the reader may not read it
	// Pages of the project: "" when the reader may not see them, or it is removed.
	AccessURL, PolicyURL string
}

type chartRow struct {
	Name, URL   string
	Description string
	Latest      string
	LatestURL   string
	AllYanked   bool
	Releases    int
	Updated     moment
}

const (
	chartsPerPage  = 100
	chartsLookedAt = 5000 // by a search, in all
	chartsAtOnce   = 1000
)

func (d *Door) project(w http.ResponseWriter, r *http.Request, req request) error {
	ctx, c := r.Context(), server.CallerOf(r)
	proj, err := d.svc.Project(ctx, c, req.project)
	if err != nil {
		return err
	}
	base := server.ContextPath(r) + prefix
	p := &projectPage{
		frame: d.frameOf(r, proj.Name, "charts", link{"Charts", base + "/projects"}, link{proj.Name, ""}),
		Name:  proj.Name, projectState: stateOf(&proj), Access: accessOf(r, &proj),
		Policy: proj.PolicyDigest, Signed: proj.Policy.RequireProvenance,
		Query: strings.TrimSpace(r.URL.Query().Get("q")),
	}
	p.Created = moment{proj.Created, p.Now.at}
	p.MayPush = d.can(ctx, c, access.ChartPush, proj.Name, "", false)
	if d.can(ctx, c, access.AuditRead, proj.Name, "", false) {
		p.AuditURL = p.Base + "/audit?project=" + url.QueryEscape(proj.Name)
		if !p.Removed {
			p.AccessURL = accessPath(p.Base, proj.Name)
		}
	}
	if !p.Removed {
		p.PolicyURL = policyPath(p.Base, proj.Name)
	}
	if !p.Artifacts && !p.Removed {
		if err := d.listCharts(ctx, c, p, r.URL.Query().Get("after")); err != nil {
			return err
		}
	}
	return d.render(w, r, http.StatusOK, "project", p)
}

// listCharts fills in a page of charts after a name, or those with the
// searched text in their name. A search costs the charts of the project, up
// to chartsLookedAt.
func (d *Door) listCharts(ctx context.Context, c release.Caller, p *projectPage, after string) error {
	limit := chartsPerPage
	if p.Query != "" {
		limit = chartsAtOnce
	}
	for {
		list, more, err := d.svc.Charts(ctx, c, p.Name, after, limit)
		if err != nil {
			return err
		}
		for i := range list {
			after = list[i].Name
			if strings.Contains(list[i].Name, strings.ToLower(p.Query)) {
				p.Charts = append(p.Charts, p.row(&list[i]))
			}
		}
		p.Total += len(list)
		switch {
		case p.Query == "":
			p.Empty = len(list) == 0
			if more {
				p.Older = projectPath(p.Base, p.Name) + "?after=" + url.QueryEscape(after)
			}
			return nil
		case !more || len(list) == 0:
			return nil
		case p.Total >= chartsLookedAt || len(p.Charts) >= chartsPerPage:
			p.Partial = true
			return nil
		}
	}
}

func (p *projectPage) row(s *release.ChartSummary) chartRow {
	row := chartRow{
		Name: s.Name, URL: chartPath(p.Base, p.Name, s.Name), Description: s.Description,
		Releases: s.Releases, Updated: moment{s.Updated, p.Now.at},
	}
	if s.Latest.State == release.Active {
		row.Latest = s.Latest.Version
		row.LatestURL = releasePath(p.Base, p.Name, s.Name, s.Latest.Version)
	} else {
		row.AllYanked = true
	}
	return row
}

// chartPage lists the releases of a chart.
type chartPage struct {
	frame
	Project, Name string
	Releases      []releaseRow
	From, Total   int
	Newer, Older  string
	Yanked        int
	First         moment // release
}

type releaseRow struct {
	Version, URL string
	Released     moment
	By           string
	Door         string
	Digest       string
	LogIndex     int64
	LogURL       string
	Size         string
	releaseState
	Current bool // the one that the page is about
}

// releaseState is how a release is marked.
type releaseState struct {
	Yanked, Staged, Legacy, Prerelease bool
	Quarantined, Tombstoned            bool
}

func stateOfRelease(r *release.Release) releaseState {
	v, err := chart.ParseVersion(r.Version)
	return releaseState{
		Yanked: r.State == release.Yanked, Staged: r.State == release.Staged, Legacy: r.Legacy,
		Prerelease:  err == nil && v.Prerelease(),
		Quarantined: r.State == release.Quarantined, Tombstoned: r.State == release.Tombstoned,
	}
}

const releasesPerPage = 100

func (d *Door) chart(w http.ResponseWriter, r *http.Request, req request) error {
	ctx, c := r.Context(), server.CallerOf(r)
	proj, err := d.svc.Project(ctx, c, req.project)
	if err != nil {
		return err
	}
	list, err := d.svc.Releases(ctx, c, proj.Name, req.chart)
	if err != nil {
		return err
	}
	base := server.ContextPath(r) + prefix
	p := &chartPage{
		frame:   d.frameOf(r, req.chart+", "+proj.Name, "charts", link{"Charts", base + "/projects"}, link{proj.Name, projectPath(base, proj.Name)}, link{req.chart, ""}),
		Project: proj.Name, Name: req.chart, Total: len(list),
	}
	for i := range list {
		if list[i].State == release.Yanked {
			p.Yanked++
		}
		if p.First.Zero() || list[i].Time.Before(p.First.at) {
			p.First = moment{list[i].Time, p.Now.at}
		}
	}
	p.From, _ = strconv.Atoi(r.URL.Query().Get("from"))
	p.From = min(max(p.From, 0), len(list))
	to := min(p.From+releasesPerPage, len(list))
	self := chartPath(p.Base, proj.Name, req.chart)
	if p.From > 0 {
		p.Newer = self + "?from=" + strconv.Itoa(max(0, p.From-releasesPerPage))
	}
	if to < len(list) {
		p.Older = self + "?from=" + strconv.Itoa(to)
	}
	for i := range list[p.From:to] {
		p.Releases = append(p.Releases, p.row(&list[p.From+i]))
	}
	return d.render(w, r, http.StatusOK, "chart", p)
}

func (f *frame) row(rel *release.Release) releaseRow {
	return releaseRow{
		Version: rel.Version, URL: releasePath(f.Base, rel.Project, rel.Chart, rel.Version),
		Released: moment{rel.Time, f.Now.at}, By: byName(rel.By, rel.Publisher), Door: doorName(rel.Door), Digest: rel.Archive,
		LogIndex: rel.LogIndex, LogURL: leafPath(f.Base, rel.LogIndex), Size: size(rel.Size),
		releaseState: stateOfRelease(rel),
	}
}

// byName is an account's name, or its id when the name is gone.
func byName(name, id string) string {
	if name != "" {
		return name
	}
	return id
}

// doorName is a door in the words of pages.
func doorName(door string) string {
	switch door {
	case "oci":
		return "OCI push"
	case "chartmuseum":
		return "ChartMuseum API"
	case "classic":
		return "classic repository"
	case "api":
		return "chartkeep"
	case "import":
		return "import"
	case "web":
		return "web"
	}
	return door
}
