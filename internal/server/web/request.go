package web

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// prefix is the path of the UI on the server, without the context path.
const prefix = "/ui"

// maxPath bounds a path, in bytes after decoding.
const maxPath = 2048

// page is a page or a form's target.
type page uint8

const (
	_                    page = iota
	pageRoot                  // /ui, which leads to /ui/
	pageHome                  // /ui/: today, or the projects
	pageProjects              // /ui/projects
	pageSignIn                // /ui/sign-in
	pageSignOut               // /ui/sign-out
	pageSSO                   // /ui/sso: to the identity provider
	pageSSOBack               // /ui/sso/callback: back from it
	pageTheme                 // /ui/theme
	pageMakeToken             // /ui/me/tokens
	pageProject               // /ui/projects/{project}
	pageChart                 // /ui/projects/{project}/charts/{chart}
	pageRelease               // /ui/projects/{project}/charts/{chart}/{version}
	pageYank                  // /ui/projects/{project}/charts/{chart}/{version}/yank
	pageUnyank                // /ui/projects/{project}/charts/{chart}/{version}/unyank
	pageLog                   // /ui/log
	pageLeaf                  // /ui/log/{index}
	pageAudit                 // /ui/audit
	pageRecord                // /ui/audit/{index}
	pageExport                // /ui/audit/export
	pageRefused               // /ui/audit/refused?project=&digest=
	pageHealth                // /ui/health
	pageUpstreams             // /ui/upstreams
	pageUpstream              // /ui/upstreams/{upstream}
	pageUpstreamVersions      // /ui/upstreams/{upstream}/versions
	pageUpstreamVersion       // /ui/upstreams/{upstream}/version?chart=&version=
	pageDeployments           // /ui/deployments
	pageDeployment            // /ui/deployments/{deployment}
	pageEnvironments          // /ui/environments
	pageAdvisories            // /ui/advisories
	pageAdvisory              // /ui/advisories/{advisory}
	pageUpgrades              // /ui/upgrades
	pageUpgrade               // /ui/upgrades/{upgrade}
	pageAccept                // /ui/upgrades/{upgrade}/accept
	pageDismiss               // /ui/upgrades/{upgrade}/dismiss
	pageAskReview             // /ui/upgrades/{upgrade}/review
	pageWaivers               // /ui/waivers
	pageReview                // /ui/reviews/{review}
	pageSign                  // /ui/reviews/{review}/sign
	pagePlan                  // /ui/plan
	pagePlanOf                // /ui/plan/{deployment}
	pageAgenda                // /ui/agenda
	pageCalendar              // /ui/calendar.ics
	pagePractice              // /ui/practice
	pageAccess                // /ui/access, and /ui/access/{project}
	pagePolicy                // /ui/policy/{project}
	pageRequests              // /ui/requests
	pageRequest               // /ui/requests/{index}
	pageAlerts                // /ui/alerts
	pageQuarantine            // /ui/projects/{project}/charts/{chart}/{version}/quarantine
	pageTombstone             // /ui/projects/{project}/charts/{chart}/{version}/tombstone
	pageMe                    // /ui/me
	pageAsset                 // /ui/assets/{name}
)

func (p page) readable() bool {
	switch p {
	case pageSignOut, pageTheme, pageMakeToken, pageYank, pageUnyank, pageSign, pageAccept, pageDismiss, pageAskReview, pageExport, pageQuarantine, pageTombstone:
		return false
	}
	return true
}

// takesForms says that the forms of a page are sent to the page itself.
func (p page) takesForms() bool {
	return p == pageAccess || p == pagePolicy || p == pageRequest || p == pageWaivers
}

func (p page) methods() string {
	switch {
	case !p.readable():
		return "POST"
	case p == pageSignIn, p.takesForms():
		return "GET, HEAD, POST"
	}
	return "GET, HEAD"
}

// request is a path that was understood.
type request struct {
	page           page
	project        string
	chart, version string
	index          int64 // of an entry of the log, or the id of an upgrade
	asset          string
	upstream       string
	deployment     string // key
	advisory       string // id, alias, rule or key
	review         string // digest
}

// parse reads a path below /ui. A project can have several segments; none of
// them, and no chart, is called "charts".
func parse(path string) (request, error) {
	rest, ok := strings.CutPrefix(path, prefix)
	if !ok || rest != "" && rest[0] != '/' || len(path) > maxPath {
		return request{}, noPage(path)
	}
	switch rest {
	case "":
		return request{page: pageRoot}, nil
	case "/":
		return request{page: pageHome}, nil
	}
	segs := strings.Split(rest, "/")[1:]
	for _, s := range segs {
		if s == "" || s == "." || s == ".." || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return request{}, noPage(path)
		}
	}
	switch {
	case len(segs) == 1:
		if p := map[string]page{
			"sign-in": pageSignIn, "sign-out": pageSignOut, "theme": pageTheme, "sso": pageSSO,
			"log": pageLog, "audit": pageAudit, "me": pageMe, "health": pageHealth, "access": pageAccess, "requests": pageRequests, "alerts": pageAlerts,
			"upstreams": pageUpstreams, "deployments": pageDeployments, "environments": pageEnvironments,
			"projects": pageProjects, "advisories": pageAdvisories, "waivers": pageWaivers, "upgrades": pageUpgrades, "plan": pagePlan,
			"agenda": pageAgenda, "calendar.ics": pageCalendar, "practice": pagePractice,
		}[segs[0]]; p != 0 {
			return request{page: p}, nil
		}
	case segs[0] == "me" && segs[1] == "tokens" && len(segs) == 2:
		return request{page: pageMakeToken}, nil
	case segs[0] == "sso" && segs[1] == "callback" && len(segs) == 2:
		return request{page: pageSSOBack}, nil
	case segs[0] == "projects":
		return parseProject(path, segs[1:])
	case segs[0] == "log" && len(segs) == 2:
		if n, err := strconv.ParseUint(segs[1], 10, 53); err == nil {
			return request{page: pageLeaf, index: int64(n)}, nil
		}
	case segs[0] == "audit" && len(segs) == 2:
		if p := map[string]page{"export": pageExport, "refused": pageRefused}[segs[1]]; p != 0 {
			return request{page: p}, nil
		}
		if n, err := strconv.ParseUint(segs[1], 10, 53); err == nil {
			return request{page: pageRecord, index: int64(n)}, nil
		}
	case segs[0] == "access":
		return request{page: pageAccess, project: strings.Join(segs[1:], "/")}, nil
	case segs[0] == "policy":
		return request{page: pagePolicy, project: strings.Join(segs[1:], "/")}, nil
	case segs[0] == "requests" && len(segs) == 2:
		if n, err := strconv.ParseUint(segs[1], 10, 53); err == nil {
			return request{page: pageRequest, index: int64(n)}, nil
		}
	case segs[0] == "upstreams":
		if p := map[string]page{"": pageUpstream, "versions": pageUpstreamVersions, "version": pageUpstreamVersion}[strings.Join(segs[2:], "/")]; p != 0 {
			return request{page: p, upstream: segs[1]}, nil
		}
	case segs[0] == "deployments":
		return request{page: pageDeployment, deployment: strings.Join(segs[1:], "/")}, nil
	case segs[0] == "plan":
		return request{page: pagePlanOf, deployment: strings.Join(segs[1:], "/")}, nil
	case segs[0] == "advisories":
		return request{page: pageAdvisory, advisory: strings.Join(segs[1:], "/")}, nil
	case segs[0] == "upgrades":
		id, err := strconv.ParseUint(segs[1], 10, 53)
		if p := map[string]page{"": pageUpgrade, "accept": pageAccept, "dismiss": pageDismiss, "review": pageAskReview}[strings.Join(segs[2:], "/")]; p != 0 && err == nil && id > 0 {
			return request{page: p, index: int64(id)}, nil
		}
	case segs[0] == "reviews":
		if p := map[string]page{"": pageReview, "sign": pageSign}[strings.Join(segs[2:], "/")]; p != 0 {
			return request{page: p, review: segs[1]}, nil
		}
	case segs[0] == "assets" && len(segs) == 2:
		return request{page: pageAsset, asset: segs[1]}, nil
	}
	return request{}, noPage(path)
}

func parseProject(path string, segs []string) (request, error) {
	at := slices.Index(segs, "charts")
	if at < 0 {
		return request{page: pageProject, project: strings.Join(segs, "/")}, nil
	}
	req := request{project: strings.Join(segs[:at], "/")}
	rest := segs[at+1:]
	if len(rest) > 0 {
		req.chart = rest[0]
	}
	if len(rest) > 1 {
		req.version = rest[1]
	}
	switch {
	case at == 0:
	case len(rest) == 1:
		req.page = pageChart
	case len(rest) == 2:
		req.page = pageRelease
	case len(rest) == 3 && rest[2] == "yank":
		req.page = pageYank
	case len(rest) == 3 && rest[2] == "unyank":
		req.page = pageUnyank
	case len(rest) == 3 && rest[2] == "quarantine":
		req.page = pageQuarantine
	case len(rest) == 3 && rest[2] == "tombstone":
		req.page = pageTombstone
	}
	if req.page == 0 {
		return request{}, noPage(path)
	}
	return req, nil
}

func noPage(path string) error {
	return problem.New(problem.NotFound, "page", "there is no page %s", shorten(path, 200))
}

func shorten(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// The paths of pages, for links. base is the context path with /ui.

func projectPath(base, project string) string {
	return base + "/projects/" + escapeSegments(project)
}

func chartPath(base, project, chart string) string {
	return projectPath(base, project) + "/charts/" + url.PathEscape(chart)
}

func releasePath(base, project, chart, version string) string {
	return chartPath(base, project, chart) + "/" + url.PathEscape(version)
}

func upstreamPath(base, upstream string) string {
	return base + "/upstreams/" + url.PathEscape(upstream)
}

func chartVersionsPath(base, upstream, chart string) string {
	if len(chart) > maxLinkedName {
		return ""
	}
	return upstreamPath(base, upstream) + "/versions?" + url.Values{"chart": {chart}}.Encode()
}

// versionPath is the page of a version of an upstream. Both names are foreign
// and may hold anything, so they stand in the query.
func versionPath(base, upstream, chart, version string) string {
	if len(chart)+len(version) > maxLinkedName {
		return ""
	}
	return upstreamPath(base, upstream) + "/version?" + url.Values{"chart": {chart}, "version": {version}}.Encode()
}

// tooLong refuses a page of something whose name is as long as no name of
// honest people is. All that is known of it stands in the lists.
func tooLong() error {
	return problem.New(problem.NotFound, "page", "what has a name of more than %s bytes has no page of its own", number(maxLinkedName))
}

// deploymentPath is the page of a deployment. A key that is no path stands in
// the query.
func deploymentPath(base, key string) string {
	path := base + "/deployments/" + escapeSegments(key)
	if len(key) > maxLinkedName {
		return ""
	}
	if req, err := parse(prefix + "/deployments/" + key); err != nil || req.deployment != key {
		return base + "/deployments?" + url.Values{"key": {key}}.Encode()
	}
	return path
}

// advisoryPath is the page of an advisory or a finding, by any of its names. One
// that is no path stands in the query.
func advisoryPath(base, id string) string {
	if id == "" || len(id) > maxLinkedName {
		return ""
	}
	if req, err := parse(prefix + "/advisories/" + id); err != nil || req.advisory != id {
		return base + "/advisories?" + url.Values{"id": {id}}.Encode()
	}
	return base + "/advisories/" + escapeSegments(id)
}

func (f *frame) advisoryLink(id string) link { return link{named(id), advisoryPath(f.Base, id)} }

// planPath is the plan of a deployment.
func (f *frame) planPath(key string) string {
	if key == "" || len(key) > maxLinkedName {
		return ""
	}
	if req, err := parse(prefix + "/plan/" + key); err != nil || req.deployment != key {
		return f.Base + "/plan?" + url.Values{"deployment": {key}}.Encode()
	}
	return f.Base + "/plan/" + escapeSegments(key)
}

func upgradePath(base string, id int64) string {
	return base + "/upgrades/" + strconv.FormatInt(id, 10)
}

func reviewPath(base, digest string) string {
	return base + "/reviews/" + url.PathEscape(digest)
}

func leafPath(base string, index int64) string {
	return base + "/log/" + strconv.FormatInt(index, 10)
}

func escapeSegments(s string) string {
	segs := strings.Split(s, "/")
	for i := range segs {
		segs[i] = url.PathEscape(segs[i])
	}
	return strings.Join(segs, "/")
}

// parseRef reads project/chart@version.
func parseRef(s string) (project, chart, version string, ok bool) {
	path, version, ok := strings.Cut(strings.TrimSpace(s), "@")
	slash := strings.LastIndexByte(path, '/')
	if !ok || slash < 1 || slash == len(path)-1 || version == "" {
		return "", "", "", false
	}
	return path[:slash], path[slash+1:], version, true
}
