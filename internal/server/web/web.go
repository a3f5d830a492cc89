package web

import (
	"bytes"
	"context"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// Service is what the pages ask of the registry; *release.Service satisfies
// it. All methods may be called concurrently, check the caller's rights
// themselves, and return a *problem.Error for what the caller did or met.
type Service interface {
	Authenticate(ctx context.Context, secret string) (access.Principal, error)
	Login(ctx context.Context, name, password string) (access.Principal, error)
	CreateToken(ctx context.Context, c release.Caller, req release.TokenRequest) (secret string, t release.Token, err error)
	MintSession(ctx context.Context, c release.Caller) (token string, expires time.Time, err error)
	CanI(ctx context.Context, c release.Caller, account string, action access.Action, project, chart string, prerelease bool) (access.Decision, error)

	Projects(ctx context.Context, c release.Caller) ([]release.Project, error)
	Project(ctx context.Context, c release.Caller, name string) (release.Project, error)
	Charts(ctx context.Context, c release.Caller, project, after string, limit int) ([]release.ChartSummary, bool, error)
	Releases(ctx context.Context, c release.Caller, project, chart string) ([]release.Release, error)
	Release(ctx context.Context, c release.Caller, project, chart, version string) (release.Detail, error)
	Proof(ctx context.Context, c release.Caller, project, chart, version string) (tlog.Proof, error)
	ArchiveFiles(ctx context.Context, c release.Caller, project, chart, version string, names ...string) (map[string][]byte, error)
	Yank(ctx context.Context, c release.Caller, project, chart, version, reason, text string) (release.Release, error)
	Unyank(ctx context.Context, c release.Caller, project, chart, version, text string) (release.Release, error)

	LogInfo(ctx context.Context) (release.LogInfo, error)
	// ProveLeaf returns a leaf with its proof, under the rights of Leaf.
	ProveLeaf(ctx context.Context, c release.Caller, index int64) (tlog.Proof, error)
	// LatestLeaves returns up to limit leaves before an index (0: the end of
	// the log), the newest first, and the index of the first of them. A leaf
	// that the caller may not read is nil; asking for it is no attempt that
	// the audit trail should know.
	LatestLeaves(ctx context.Context, c release.Caller, before int64, limit int) (newest int64, leaves [][]byte, err error)
	Audit(ctx context.Context, c release.Caller, f release.AuditFilter) ([]release.AuditRecord, error)
	Evidence
	Protecting
}

// Watching is what the pages ask of the watch; *watch.Service satisfies it. The
// rules of Service hold for its methods, too.
type Watching interface {
	Upstreams(ctx context.Context, c audit.Caller) ([]watch.Upstream, error)
	Upstream(ctx context.Context, c audit.Caller, name string) (watch.Upstream, error)
	// Versions lists the versions of a chart of an upstream, "" for those of
	// all charts: by chart, the newest version first.
	Versions(ctx context.Context, c audit.Caller, upstream, chart string) ([]watch.VersionState, error)
	// Notes lists notes, newest first; chart and version may be "".
	Notes(ctx context.Context, c audit.Caller, upstream, chart, version string, limit int) ([]watch.Note, error)
	Events(ctx context.Context, c audit.Caller, f watch.EventFilter) ([]watch.Event, error)
	// DeploymentList lists what an import brought, "" for all imports, by key,
	// without values.
	DeploymentList(ctx context.Context, c audit.Caller, importName string) ([]watch.Deployment, error)
	// Imports lists the imports by name, with what they could not read.
	Imports(ctx context.Context, c audit.Caller) ([]watch.Import, error)
	Deployment(ctx context.Context, c audit.Caller, key string) (watch.Deployment, error)
	// Behind says of each deployment how far it is behind, and what it is
	// matched with today.
	Behind(ctx context.Context, c audit.Caller, list ...watch.Deployment) ([]deployment.Row, error)
	CompareEnvironments(ctx context.Context, c audit.Caller, a, b string) (deployment.Differences, error)
	Alerting
}

// Config is what the pages need to know of the server.
type Config struct {
	Version  string           // of the program
	Now      func() time.Time // nil is time.Now
	Watching Watching         // nil: there are no pages of upstreams and deployments
	Judging  Judging          // nil: there are no pages of advisories, upgrades and plans
	SignIn   SignIn           // nil: people sign in with a token or a password
	Health   Health           // nil: there is no page of the server's health
	Runbooks string           // URL of the folder of runbooks, with a slash at its end
}

// Door serves the web UI.
type Door struct {
	svc    Service
	cfg    Config
	pages  map[string]*template.Template
	assets assets
	origin *http.CrossOriginProtection
}

// New returns the door. It fails only when the files that the program was
// built with do not fit together. The door keeps no state of its own and is
// safe for concurrent use.
func New(svc Service, cfg Config) (*Door, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := &Door{svc: svc, cfg: cfg, origin: http.NewCrossOriginProtection()}
	var err error
	if d.assets, err = loadAssets(); err != nil {
		return nil, fmt.Errorf("load assets: %w", err)
	}
	if d.pages, err = loadPages(); err != nil {
		return nil, fmt.Errorf("load pages: %w", err)
	}
	return d, nil
}

// Serve is the server.Handler of the door. Paths begin with /ui.
func (d *Door) Serve(w http.ResponseWriter, r *http.Request) error {
	setSecurity(w.Header())
	req, err := parse(r.URL.Path)
	if err != nil {
		return err
	}
	if req.page == pageAsset {
		return d.serveAsset(w, r, req.asset)
	}
	if r.Method == http.MethodPost {
		if err := d.origin.Check(r); err != nil {
			return problem.New(problem.Denied, "cross-origin", "this form was sent from another site").
				With("answer", "nothing was changed").
				Suggest("open the page here and send the form again").Because(err)
		}
		return d.post(w, r, req)
	}
	if !req.page.readable() || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return server.MethodNotAllowed(w, r, req.page.methods())
	}
	switch req.page {
	case pageRoot:
		return redirect(w, r, "/")
	case pageHome:
		if d.mayJudge(r.Context(), server.CallerOf(r)) {
			return d.today(w, r)
		}
		return d.home(w, r)
	case pageProjects:
		return d.home(w, r)
	case pageSignIn:
		return d.signInPage(w, r)
	case pageSSO:
		return d.beginSSO(w, r)
	case pageSSOBack:
		return d.finishSSO(w, r)
	case pageProject:
		return d.project(w, r, req)
	case pageChart:
		return d.chart(w, r, req)
	case pageRelease:
		return d.release(w, r, req)
	case pageLog:
		return d.log(w, r)
	case pageLeaf:
		return d.leaf(w, r, req)
	case pageAudit:
		return d.audit(w, r)
	case pageRecord:
		return d.record(w, r, req)
	case pageRefused:
		return d.refusedCopy(w, r)
	case pageHealth:
		return d.health(w, r)
	case pageMe:
		return d.me(w, r)
	}
	if req.page >= pageAccess && req.page <= pageAlerts {
		return d.protection(w, r, req)
	}
	if req.page >= pageAdvisories && req.page <= pagePractice {
		return d.judgement(w, r, req)
	}
	return d.watched(w, r, req)
}

// watched serves the pages of upstreams and deployments.
func (d *Door) watched(w http.ResponseWriter, r *http.Request, req request) error {
	if d.cfg.Watching == nil {
		return noPage(r.URL.Path)
	}
	switch req.page {
	case pageUpstreams:
		return d.upstreams(w, r)
	case pageUpstream:
		return d.upstream(w, r, req)
	case pageUpstreamVersions:
		return d.upstreamVersions(w, r, req)
	case pageUpstreamVersion:
		return d.upstreamVersion(w, r, req)
	case pageDeployments:
		return d.deployments(w, r)
	case pageDeployment:
		return d.deployment(w, r, req)
	case pageEnvironments:
		return d.environments(w, r)
	}
	return fmt.Errorf("serve %s: page %d has no handler", r.URL.Path, req.page)
}

// post does what a form asks for.
func (d *Door) post(w http.ResponseWriter, r *http.Request, req request) error {
	most := int64(maxForm)
	switch req.page {
	case pageSign:
		most = maxSignForm
	case pagePolicy:
		most = maxPolicyForm
	}
	r.Body = http.MaxBytesReader(w, r.Body, most)
	switch req.page {
	case pageSignIn:
		return d.signIn(w, r)
	case pageSignOut:
		return d.signOut(w, r)
	case pageTheme:
		return d.setTheme(w, r)
	case pageMakeToken:
		return d.makeToken(w, r)
	case pageExport:
		return d.exportAudit(w, r)
	case pageYank:
		return d.yank(w, r, req)
	case pageUnyank:
		return d.unyank(w, r, req)
	case pageSign, pageAccept, pageDismiss, pageAskReview, pageWaivers:
		return d.judge(w, r, req)
	case pageAccess, pagePolicy, pageRequest, pageQuarantine, pageTombstone:
		return d.protect(w, r, req)
	}
	return server.MethodNotAllowed(w, r, req.page.methods())
}

// Bytes of forms. No field is longer than a few thousand; a sign-off has one for
// each item of a checklist.
const (
	maxForm     = 64 << 10
	maxSignForm = 2 << 20
)

// csp is the whole of what a page may load and do.
const csp = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func setSecurity(h http.Header) {
	h.Set("Content-Security-Policy", csp)
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
}

// render writes a page. data is the page's struct.
func (d *Door) render(w http.ResponseWriter, r *http.Request, status int, page string, data any) error {
	var b bytes.Buffer
	if err := d.pages[page].ExecuteTemplate(&b, "page", data); err != nil {
		return fmt.Errorf("render page %s: %w", page, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(b.Bytes())
	return err
}

// redirect sends the browser to a path below /ui, with GET.
func redirect(w http.ResponseWriter, r *http.Request, path string) error {
	w.Header().Set("Location", server.ContextPath(r)+prefix+path)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}
