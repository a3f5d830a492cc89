package api

import (
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Service is what the API needs of the use cases; *release.Service has it.
// Authorisation is inside: every method is asked with the caller.
type Service interface {
	Projects
	Releases
	Signing
	Protection
	Integrity
	Identities
	Holders
	Pipelines
	Records
}

// Projects makes, shows and changes projects.
type Projects interface {
	Projects(ctx context.Context, c release.Caller) ([]release.Project, error)
	Project(ctx context.Context, c release.Caller, name string) (release.Project, error)
	CreateProject(ctx context.Context, c release.Caller, name string, opt release.ProjectOptions) (release.Project, error)
	SetProject(ctx context.Context, c release.Caller, name string, ch release.ProjectChange) (release.ProjectSet, error)
	RemoveProject(ctx context.Context, c release.Caller, name, reason string) error
	CutOver(ctx context.Context, c release.Caller, name string) (release.Project, error)
}

// Releases publishes, shows and withdraws releases.
type Releases interface {
	PushArchive(ctx context.Context, c release.Caller, project string, archive io.Reader, prov []byte, opt release.PushOptions) (release.Receipt, error)
	ImportRelease(ctx context.Context, c release.Caller, project string, archive io.Reader, prov []byte, from release.ImportOrigin) (release.Receipt, error)
	AttachProvenance(ctx context.Context, c release.Caller, project string, prov []byte) (release.Receipt, error)
	Charts(ctx context.Context, c release.Caller, project, after string, limit int) (charts []release.ChartSummary, more bool, err error)
	Releases(ctx context.Context, c release.Caller, project, chart string) ([]release.Release, error)
	Release(ctx context.Context, c release.Caller, project, chart, version string) (release.Detail, error)
	Proof(ctx context.Context, c release.Caller, project, chart, version string) (tlog.Proof, error)
	Yank(ctx context.Context, c release.Caller, project, chart, version, reason, text string) (release.Release, error)
	Unyank(ctx context.Context, c release.Caller, project, chart, version, text string) (release.Release, error)
}

// Identities manages accounts, grants and tokens.
type Identities interface {
	CreateAccount(ctx context.Context, c release.Caller, name, kind, password string) (release.Account, error)
	SetPassword(ctx context.Context, c release.Caller, name, password string) error
	DisableAccount(ctx context.Context, c release.Caller, name string) error
	Accounts(ctx context.Context, c release.Caller) ([]release.Account, error)
	AddGrant(ctx context.Context, c release.Caller, account string, g access.Grant) (access.Grant, error)
	RevokeGrant(ctx context.Context, c release.Caller, id string) error
	Grants(ctx context.Context, c release.Caller, account string) ([]release.AccountGrant, error)
	CreateToken(ctx context.Context, c release.Caller, req release.TokenRequest) (secret string, t release.Token, err error)
	Tokens(ctx context.Context, c release.Caller) ([]release.Token, error)
	RevokeToken(ctx context.Context, c release.Caller, id string) error
	CanI(ctx context.Context, c release.Caller, account string, action access.Action, project, chart string, prerelease bool) (access.Decision, error)
}

// Records shows the transparency log and the audit trail.
type Records interface {
	LogInfo(ctx context.Context) (release.LogInfo, error)
	Leaf(ctx context.Context, c release.Caller, index int64) ([]byte, error)
	Consistency(ctx context.Context, old, new int64) ([]tlog.Hash, error)
	Rotations(ctx context.Context) ([]release.Rotation, error)
	Witnesses(ctx context.Context, c release.Caller) (release.Witnessing, error)
	Audit(ctx context.Context, c release.Caller, f release.AuditFilter) ([]release.AuditRecord, error)
}

// Config is what the API shows beside the service.
type Config struct {
	Version string // of the program
	Commit  string // of its source, "" when not known
	// Judging is the judgement; nil where the server has none, and then its
	// paths are refused as not found.
	Judging Judging
}

// Door serves the API. Make it with New; it is safe for concurrent use.
type Door struct {
	svc      Service
	watching Watching
	cfg      Config
}

// New makes the door.
func New(svc Service, watching Watching, cfg Config) *Door {
	return &Door{svc: svc, watching: watching, cfg: cfg}
}

// Prefix is where the door stands, for server.Route.
const Prefix = "api/v1"

// call is one request on its way through a handler.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	ctx    context.Context
	caller release.Caller
	params map[string]string
}

// reply is what a handler answers: a body with a schema, a raw body, or
// neither (204).
type reply struct {
	status      int // 0 is 200, or 204 without a body
	body        any
	raw         []byte
	contentType string // of raw
}

// route binds a method and a pattern to a handler. In a pattern {name} is one
// segment and {name...} one or more, up to a segment "-" or the end.
type route struct {
	method, pattern string
	serve           func(*Door, *call) (reply, error)
}

// routes is the whole API; a test holds openapi.yaml against it.
var routes = []route{
	{"GET", "/version", (*Door).version},
	{"GET", "/openapi.yaml", (*Door).openAPI},
	{"GET", "/whoami", (*Door).whoAmI},
	{"GET", "/can-i", (*Door).canI},

	{"GET", "/projects", (*Door).listProjects},
	{"POST", "/projects", (*Door).createProject},
	{"GET", "/projects/{project...}", (*Door).getProject},
	{"PATCH", "/projects/{project...}", (*Door).setProject},
	{"POST", "/projects/{project...}/-/remove", (*Door).removeProject},
	{"POST", "/projects/{project...}/-/cut-over", (*Door).cutOver},
	{"POST", "/projects/{project...}/-/imports", (*Door).importRelease},
	{"POST", "/projects/{project...}/-/releases", (*Door).push},
	{"POST", "/projects/{project...}/-/provenance", (*Door).attachProvenance},
	{"GET", "/projects/{project...}/-/charts", (*Door).listCharts},
	{"GET", "/projects/{project...}/-/charts/{chart}/releases", (*Door).listReleases},
	{"GET", "/projects/{project...}/-/charts/{chart}/releases/{version}", (*Door).getRelease},
	{"GET", "/projects/{project...}/-/charts/{chart}/releases/{version}/proof", (*Door).getProof},
	{"POST", "/projects/{project...}/-/charts/{chart}/releases/{version}/yank", (*Door).yank},
	{"POST", "/projects/{project...}/-/charts/{chart}/releases/{version}/unyank", (*Door).unyank},
	{"GET", "/yank-reasons", (*Door).listYankReasons},
	{"POST", "/projects/{project...}/-/charts/{chart}/releases/{version}/signatures", (*Door).attachBundle},
	{"GET", "/projects/{project...}/-/charts/{chart}/releases/{version}/signatures/{digest}", (*Door).getBundle},
	{"GET", "/projects/{project...}/-/staged", (*Door).listStaged},
	{"POST", "/projects/{project...}/-/policy-trial", (*Door).tryPolicy},
	{"GET", "/policies/{digest}", (*Door).getPolicy},

	{"POST", "/projects/{project...}/-/charts/{chart}/releases/{version}/quarantine", (*Door).setQuarantine},
	{"POST", "/projects/{project...}/-/charts/{chart}/releases/{version}/quarantine/confirm", (*Door).confirmQuarantine},
	{"POST", "/projects/{project...}/-/charts/{chart}/releases/{version}/quarantine/lift", (*Door).liftQuarantine},
	{"POST", "/projects/{project...}/-/charts/{chart}/releases/{version}/tombstone", (*Door).requestTombstone},
	{"GET", "/quarantines", (*Door).listQuarantines},
	{"GET", "/where", (*Door).where},
	{"GET", "/requests", (*Door).listRequests},
	{"GET", "/requests/{id}", (*Door).getRequest},
	{"POST", "/requests/{id}/approve", (*Door).approveRequest},
	{"POST", "/requests/{id}/decline", (*Door).declineRequest},
	{"POST", "/requests/{id}/withdraw", (*Door).withdrawRequest},

	{"GET", "/accounts", (*Door).listAccounts},
	{"POST", "/accounts", (*Door).createAccount},
	{"PUT", "/accounts/{account}/password", (*Door).setPassword},
	{"POST", "/accounts/{account}/disable", (*Door).disableAccount},
	{"GET", "/grants", (*Door).listGrants},
	{"POST", "/grants", (*Door).addGrant},
	{"DELETE", "/grants/{id}", (*Door).revokeGrant},
	{"GET", "/holders", (*Door).listHolders},
	{"GET", "/tokens", (*Door).listTokens},
	{"POST", "/tokens", (*Door).createToken},
	{"DELETE", "/tokens/{id}", (*Door).revokeToken},
	{"GET", "/account-links", (*Door).listAccountLinks},
	{"PUT", "/accounts/{account}/link", (*Door).linkAccount},
	{"DELETE", "/accounts/{account}/link", (*Door).unlinkAccount},
	{"POST", "/oidc/exchange", (*Door).exchange},
	{"GET", "/publishers", (*Door).listPublishers},
	{"POST", "/publishers", (*Door).addPublisher},
	{"POST", "/publishers/test", (*Door).testPublisher},
	{"GET", "/publishers/{id}", (*Door).getPublisher},
	{"DELETE", "/publishers/{id}", (*Door).removePublisher},

	{"GET", "/log", (*Door).logInfo},
	{"GET", "/log/leaves/{index}", (*Door).logLeaf},
	{"GET", "/log/consistency", (*Door).logConsistency},
	{"GET", "/log/rotations", (*Door).listRotations},
	{"GET", "/log/witnesses", (*Door).listWitnesses},
	{"GET", "/audit", (*Door).listAudit},
	{"GET", "/audit/log", (*Door).auditLog},
	{"GET", "/audit/log/entries", (*Door).auditEntries},
	{"GET", "/audit/export", (*Door).exportAudit},
	{"GET", "/audit/refused", (*Door).listRefused},
	{"GET", "/projects/{project...}/-/refused/{digest}", (*Door).getRefused},
	{"GET", "/scrub", (*Door).getScrub},
	{"POST", "/scrub", (*Door).startScrub},

	{"GET", "/upstreams", (*Door).listUpstreams},
	{"POST", "/upstreams", (*Door).addUpstream},
	{"GET", "/upstreams/{upstream}", (*Door).getUpstream},
	{"PATCH", "/upstreams/{upstream}", (*Door).setUpstream},
	{"DELETE", "/upstreams/{upstream}", (*Door).removeUpstream},
	{"POST", "/upstreams/{upstream}/poll", (*Door).pollUpstream},
	{"GET", "/upstreams/{upstream}/versions", (*Door).listVersions},
	{"GET", "/upstreams/{upstream}/archive", (*Door).getUpstreamArchive},
	{"GET", "/upstreams/{upstream}/notes", (*Door).listNotes},
	{"GET", "/events", (*Door).listEvents},
	{"GET", "/feed", (*Door).feed},

	{"GET", "/deployments", (*Door).listDeployments},
	{"GET", "/deployment", (*Door).getDeployment},
	{"PATCH", "/deployment", (*Door).setDeployment},
	{"PUT", "/deployments/imports/{import}", (*Door).importDeployments},
	{"GET", "/outdated", (*Door).outdated},
	{"GET", "/environments/compare", (*Door).compareEnvironments},

	{"GET", "/routes", (*Door).listRoutes},
	{"POST", "/routes", (*Door).addRoute},
	{"DELETE", "/routes/{route}", (*Door).removeRoute},
	{"POST", "/routes/{route}/test", (*Door).testRoute},
	{"GET", "/routes/{route}/deliveries", (*Door).listDeliveries},
	{"POST", "/routes/{route}/resend", (*Door).resendDeliveries},
	{"GET", "/alerts", (*Door).listAlerts},
	{"POST", "/alerts/test", (*Door).testAlert},
	{"GET", "/alerts/{alert}/deliveries", (*Door).listAlertDeliveries},

	{"GET", "/advisory-feeds", judge(listFeeds)},
	{"POST", "/advisory-feeds", judge(addFeed)},
	{"PATCH", "/advisory-feeds/{feed}", judge(setFeed)},
	{"DELETE", "/advisory-feeds/{feed}", judge(removeFeed)},
	{"POST", "/advisory-feeds/{feed}/read", judge(readFeed)},
	{"PUT", "/advisory-feeds/{feed}/records", judge(importFeed)},
	{"GET", "/advisory-feeds/{feed}/snapshots", judge(listSnapshots)},
	{"GET", "/advisories", judge(listAdvisories)},
	{"GET", "/advisory", judge(getAdvisory)},
	{"POST", "/advisories/match", judge(matchImages)},
	{"GET", "/assessment", judge(getAssessment)},
	{"GET", "/explanation", judge(explain)},

	{"GET", "/decision-policy", judge(getDecisionPolicy)},
	{"PUT", "/decision-policy", judge(setDecisionPolicy)},
	{"GET", "/waivers", judge(listWaivers)},
	{"POST", "/waivers", judge(requestWaiver)},
	{"POST", "/waivers/{id}/approve", judge(approveWaiver)},
	{"POST", "/waivers/{id}/end", judge(endWaiver)},

	{"GET", "/reviews", judge(listReviews)},
	{"POST", "/reviews", judge(makeReview)},
	{"GET", "/reviews/{digest}", judge(getReview)},
	{"POST", "/reviews/{digest}/sign", judge(signReview)},

	{"GET", "/plans", judge(listPlans)},
	{"GET", "/plan", judge(getPlan)},
	{"POST", "/plan/accept", judge(acceptPlan)},
	{"GET", "/agenda", judge(agenda)},
	{"GET", "/calendar.ics", judge(calendarFile)},
	{"GET", "/windows", judge(listWindows)},
	{"PUT", "/windows/{window}", judge(putWindow)},
	{"DELETE", "/windows/{window}", judge(removeWindow)},

	{"GET", "/status", judge(getStatus)},
	{"GET", "/upgrades", judge(listUpgrades)},
	{"GET", "/upgrades/{id}", judge(getUpgrade)},
	{"POST", "/upgrades/{id}/dismiss", judge(dismissUpgrade)},
	{"GET", "/upgrades/{id}/pull-request", judge(pullRequest)},
	{"GET", "/practice", judge(getPractice)},

	{"GET", "/trackers", judge(listTrackers)},
	{"POST", "/trackers", judge(addTracker)},
	{"DELETE", "/trackers/{tracker}", judge(removeTracker)},
	{"GET", "/tickets", judge(listTickets)},
}

// Serve is the door's server.Handler.
func (d *Door) Serve(w http.ResponseWriter, r *http.Request) error {
	rt, params, err := find(w, r)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	re, err := rt.serve(d, &call{w: w, r: r, ctx: r.Context(), caller: server.CallerOf(r), params: params})
	if err != nil {
		return err
	}
	return re.write(w)
}

func (re reply) write(w http.ResponseWriter) error {
	status := re.status
	switch {
	case re.raw != nil:
		if status == 0 {
			status = http.StatusOK
		}
		w.Header().Set("Content-Type", re.contentType)
		w.WriteHeader(status)
		_, err := w.Write(re.raw)
		return err
	case re.body != nil:
		if status == 0 {
			status = http.StatusOK
		}
		return server.WriteJSON(w, status, re.body)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// find picks the route of a request. HEAD is answered as GET, without a body.
func find(w http.ResponseWriter, r *http.Request) (*route, map[string]string, error) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	rest, ok := strings.CutPrefix(r.URL.Path, "/"+Prefix+"/")
	if !ok {
		rest = ""
	}
	segments := strings.Split(rest, "/")
	var allow []string
	for i := range routes {
		params, ok := match(routes[i].pattern, segments)
		if !ok {
			continue
		}
		if routes[i].method == method {
			return &routes[i], params, nil
		}
		if routes[i].method == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
		allow = append(allow, routes[i].method)
	}
	if len(allow) > 0 {
		return nil, nil, server.MethodNotAllowed(w, r, strings.Join(allow, ", "))
	}
	return nil, nil, problem.New(problem.NotFound, "", "the API has no path %s", r.URL.Path).
		Suggest("see /api/v1/openapi.yaml for the paths that it has")
}

// match holds a path against a pattern. A path matches in at most one way:
// {name...} takes all segments up to the next "-", and no name is "-".
func match(pattern string, path []string) (map[string]string, bool) {
	var params map[string]string
	set := func(name, value string) {
		if params == nil {
			params = make(map[string]string, 3)
		}
		params[name] = value
	}
	i := 0
	for want := range strings.SplitSeq(pattern[1:], "/") {
		if i >= len(path) {
			return nil, false
		}
		name, isParam := strings.CutPrefix(want, "{")
		if !isParam {
			if path[i] != want {
				return nil, false
			}
			i++
			continue
		}
		name = strings.TrimSuffix(name, "}")
		first := i
		for i < len(path) && path[i] != "" && path[i] != "-" {
			i++
			if !strings.HasSuffix(name, "...") {
				break
			}
		}
		if i == first {
			return nil, false
		}
		set(strings.TrimSuffix(name, "..."), strings.Join(path[first:i], "/"))
	}
	return params, i == len(path)
}
