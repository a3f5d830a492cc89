package web

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// releasePage answers whether one may trust and use a release.
type releasePage struct {
	frame
	releaseState
	Project, Chart, Version string
	Public                  bool
	Description, AppVersion string
	Deprecated              bool

	Proof    proofView
	Released moment
	By, Door string
	LogIndex int64
	LogURL   string
	Size     string

	Archive, Content, Manifest, Provenance string

	Yank *yankView
	// MayYank and MayUnyank show the forms; at most one of them is set.
	MayYank, MayUnyank bool
	Reasons            []release.YankReason
	YankURL            string // target of the form that is shown

	Access       clientAccess
	File         string
	FileURL      string
	Ref          string // project/chart@version
	Dependencies []dependencyRow
	Maintainers  []maintainerRow
	Annotations  []annotationRow
	Sources      []link
	Keywords     []string
	Kind         string // application or library
	KubeVersion  string

	Withheld *withheldView
	blocking
	signing

	FilesShown bool // asked for: they are read out of the archive
	Files      []fileView
	FilesURL   string // the page with them

	Others []releaseRow // of the chart, around this one
	Total  int          // releases of the chart
	All    string       // URL of their list
}

type yankView struct {
	Reason, Meaning, Text, By string
	Time                      moment
	LogIndex                  int64
	LogURL                    string
	Instead                   link // the newest release that is not yanked
}

type dependencyRow struct{ Name, Version, Repository, Condition string }

type maintainerRow struct{ Name, Email, URL string }

type annotationRow struct {
	Key, Value string
	Long       bool // shown folded
}

func (d *Door) release(w http.ResponseWriter, r *http.Request, req request) error {
	ctx, c := r.Context(), server.CallerOf(r)
	proj, err := d.svc.Project(ctx, c, req.project)
	if err != nil {
		return err
	}
	detail, err := d.svc.Release(ctx, c, proj.Name, req.chart, req.version)
	if err != nil {
		return err
	}
	rel, meta := &detail.Release, &detail.Metadata
	base := server.ContextPath(r) + prefix
	p := &releasePage{
		frame: d.frameOf(r, rel.Chart+" "+rel.Version+", "+proj.Name, "charts",
			link{"Charts", base + "/projects"}, link{proj.Name, projectPath(base, proj.Name)}, link{rel.Chart, chartPath(base, proj.Name, rel.Chart)}, link{rel.Version, ""}),
		releaseState: stateOfRelease(rel),
		Project:      proj.Name, Chart: rel.Chart, Version: rel.Version, Public: proj.Public,
		Description: meta.Description, AppVersion: meta.AppVersion, Deprecated: meta.Deprecated,
		By: byName(rel.By, rel.Publisher), Door: doorName(rel.Door),
		LogIndex: rel.LogIndex, LogURL: leafPath(base, rel.LogIndex), Size: size(rel.Size),
		Archive: rel.Archive, Content: rel.Content, Manifest: rel.Manifest, Provenance: rel.Provenance,
		Access: accessOf(r, &proj), File: rel.File, FileURL: server.BaseURL(r) + "/" + proj.Name + "/charts/" + rel.File, Ref: rel.Ref(),
		Kind: cmp.Or(meta.Type, "application"), KubeVersion: meta.KubeVersion, Keywords: meta.Keywords,
		All: chartPath(base, proj.Name, rel.Chart), FilesURL: releasePath(base, proj.Name, rel.Chart, rel.Version) + "?files#files",
	}
	p.Released = moment{rel.Time, p.Now.at}
	p.readMetadata(meta)
	p.Proof = d.checkRelease(ctx, c, rel, p.Now.at)
	others, err := d.svc.Releases(ctx, c, proj.Name, rel.Chart)
	if err != nil {
		return err
	}
	p.showOthers(others, rel)
	p.showYank(rel, others)
	p.showWithheld(rel)
	p.offerYank(d, ctx, c, rel)
	p.showSignatures(ctx, d, c, &detail.Signed, p.Proof.Policy)
	if err := p.offerBlock(ctx, d, c, rel); err != nil {
		return err
	}
	if r.URL.Query().Has("files") {
		if err := p.showFiles(ctx, d, c, rel); err != nil {
			return err
		}
	}
	return d.render(w, r, http.StatusOK, "release", p)
}

// longAnnotation is from where on an annotation is folded, in bytes.
const longAnnotation = 200

func (p *releasePage) readMetadata(m *chart.Metadata) {
	for _, dep := range m.Dependencies {
		p.Dependencies = append(p.Dependencies, dependencyRow{cmp.Or(dep.Alias, dep.Name), dep.Version, dep.Repository, dep.Condition})
	}
	for _, person := range m.Maintainers {
		p.Maintainers = append(p.Maintainers, maintainerRow{person.Name, person.Email, webURL(person.URL)})
	}
	for key, value := range m.Annotations {
		p.Annotations = append(p.Annotations, annotationRow{key, value, len(value) > longAnnotation || strings.Contains(strings.TrimSpace(value), "\n")})
	}
	slices.SortFunc(p.Annotations, func(a, b annotationRow) int { return strings.Compare(a.Key, b.Key) })
	for _, s := range append(slices.Clone(m.Sources), m.Home) {
		if s != "" {
			p.Sources = append(p.Sources, link{s, webURL(s)})
		}
	}
}

// webURL is a URL that a page may lead to: charts name what they like.
func webURL(s string) string {
	if strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://") {
		return s
	}
	return ""
}

// around is how many releases of the chart are shown before and after.
const around = 4

func (p *releasePage) showOthers(list []release.Release, this *release.Release) {
	p.Total = len(list)
	at := slices.IndexFunc(list, func(o release.Release) bool { return o.LogIndex == this.LogIndex })
	from := max(0, min(at-around, len(list)-2*around-1))
	for i := from; i < min(len(list), from+2*around+1); i++ {
		row := p.row(&list[i])
		row.Current = i == at
		p.Others = append(p.Others, row)
	}
}

func (p *releasePage) showYank(rel *release.Release, list []release.Release) {
	note := rel.Yank
	if note == nil {
		return
	}
	p.Yank = &yankView{
		Reason: note.Reason, Text: note.Text, By: byName(note.ByName, note.By), Time: moment{note.Time, p.Now.at},
		LogIndex: note.LogIndex, LogURL: leafPath(p.Base, note.LogIndex),
	}
	for _, reason := range release.YankReasons() {
		if reason.Code == note.Reason {
			p.Yank.Meaning = reason.Meaning
		}
	}
	for i := range list { // newest first
		if list[i].State == release.Active {
			p.Yank.Instead = link{list[i].Version, releasePath(p.Base, rel.Project, rel.Chart, list[i].Version)}
			return
		}
	}
}

// withheldView says why nobody gets a release.
type withheldView struct {
	Reason, Meaning, Text string
	By                    string // who blocked it, or asked for the tombstone
	Second                string // who confirmed or approved, "" for nobody yet
	Time, Until           moment // Until: it is served again then, zero when it is not
	LogIndex              int64
	LogURL                string
	Digest                string
}

func (p *releasePage) showWithheld(rel *release.Release) {
	switch q, t := rel.Quarantine, rel.Tombstone; {
	case t != nil:
		p.Withheld = &withheldView{Reason: t.Reason, Text: t.Text, By: byName(t.RequesterName, t.Requester), Second: byName(t.ApproverName, t.Approver),
			Time: moment{t.Time, p.Now.at}, LogIndex: t.LogIndex}
	case q != nil:
		p.Withheld = &withheldView{Reason: q.Reason, Text: q.Text, By: byName(q.ByName, q.By), Time: moment{q.Time, p.Now.at}, Until: moment{q.Lapses, p.Now.at}, LogIndex: q.LogIndex}
		if !q.Confirmed.IsZero() {
			p.Withheld.Second = byName(q.ConfirmedByName, q.ConfirmedBy)
		}
	default:
		return
	}
	w := p.Withheld
	w.LogURL, w.Digest = leafPath(p.Base, w.LogIndex), rel.Archive
	for _, reason := range release.BlockReasons() {
		if reason.Code == w.Reason {
			w.Meaning = reason.Meaning
		}
	}
}

func (p *releasePage) offerYank(d *Door, ctx context.Context, c release.Caller, rel *release.Release) {
	self := releasePath(p.Base, rel.Project, rel.Chart, rel.Version)
	switch rel.State {
	case release.Active:
		p.MayYank = d.can(ctx, c, access.ChartYank, rel.Project, rel.Chart, p.Prerelease)
		p.Reasons, p.YankURL = release.YankReasons(), self+"/yank"
	case release.Yanked:
		p.MayUnyank = d.can(ctx, c, access.ChartUnyank, rel.Project, rel.Chart, p.Prerelease)
		p.YankURL = self + "/unyank"
	}
}

func (d *Door) yank(w http.ResponseWriter, r *http.Request, req request) error {
	if err := r.ParseForm(); err != nil {
		return badForm(err)
	}
	_, err := d.svc.Yank(r.Context(), server.CallerOf(r), req.project, req.chart, req.version,
		r.PostForm.Get("reason"), strings.TrimSpace(r.PostForm.Get("text")))
	if err != nil {
		return err
	}
	return redirect(w, r, releasePath("", req.project, req.chart, req.version))
}

func (d *Door) unyank(w http.ResponseWriter, r *http.Request, req request) error {
	if err := r.ParseForm(); err != nil {
		return badForm(err)
	}
	_, err := d.svc.Unyank(r.Context(), server.CallerOf(r), req.project, req.chart, req.version, strings.TrimSpace(r.PostForm.Get("text")))
	if err != nil {
		return err
	}
	return redirect(w, r, releasePath("", req.project, req.chart, req.version))
}
