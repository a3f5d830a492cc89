package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// frame is what every page has around its content.
type frame struct {
	Title string // of the window, without the name of the product
	Nav   string // the section that is current: today, charts, upgrades, plan, advisories, upstreams, deployments, log, audit, health, me, navSignIn or ""
	Watch bool   // there are pages of upstreams and deployments, and somebody to see them
	Judge bool   // there are pages of the judgement, and the reader may see them
	Audit bool   // the reader may read an audit trail
	Admin bool   // there is a page of the server's health, and the reader may see it
	// OpenUpgrades is a number in the menu on pages that have read them all anyway.
	OpenUpgrades string
	Crumbs       []link
	Base         string  // context path and /ui
	Sheet        string  // URL of the style sheet
	Mark         string  // URL of the icon
	Theme        string  // "", "light" or "dark"
	Here         string  // path and query below Base, where forms lead back to
	Host         string  // as the reader knows the server
	Program      string  // its version
	Who          *person // nil when nobody is signed in
	Log          *logLine
	Now          moment
	SeesAlerts   bool          // the reader may see what alarmed the registry
	ReadOnly     *readOnlyView // why the server takes no writes; nil when it does
}

// navSignIn is the section of pages that hold the sign-in form themselves.
const navSignIn = "sign-in"

// person is who is signed in.
type person struct {
	Name    string
	Kind    string
	Expires moment
}

// logLine is the log in the foot of a page; nil when it could not be read.
type logLine struct {
	Size int64
	Time moment
}

// frameOf makes the frame of a page. The log in its foot costs one look-up.
func (d *Door) frameOf(r *http.Request, title, nav string, crumbs ...link) frame {
	f := d.bareFrame(r, title)
	f.Nav, f.Crumbs = nav, crumbs
	if info, err := d.svc.LogInfo(r.Context()); err == nil {
		f.Log = &logLine{Size: info.Size, Time: moment{info.Time, f.Now.at}}
	}
	return f
}

// bareFrame is a frame that asks the registry nothing, for pages that say that
// something does not work.
func (d *Door) bareFrame(r *http.Request, title string) frame {
	now := d.cfg.Now()
	base := server.ContextPath(r) + prefix
	f := frame{
		Title:   title,
		Base:    base,
		Sheet:   base + "/assets/" + d.assets.names["style.css"],
		Mark:    base + "/assets/" + d.assets.names["mark.svg"],
		Theme:   theme(r),
		Here:    here(r),
		Host:    hostOf(server.BaseURL(r)),
		Program: d.cfg.Version,
		Now:     moment{now, now},

		ReadOnly: closedView(server.ReadOnlyReason(r)),
	}
	if p := server.CallerOf(r).Principal; signedIn(&p) {
		f.Who = &person{Name: nameOf(&p), Kind: kindOf(&p), Expires: moment{p.Expires, now}}
		f.Watch = d.cfg.Watching != nil
		f.Judge = d.mayJudge(r.Context(), server.CallerOf(r))
		f.Audit = mayAudit(&p, now)
		f.Admin = d.cfg.Health != nil && access.Allowed(p, access.Request{Action: access.InstanceAdmin}, now)
		f.SeesAlerts = f.Watch && d.can(r.Context(), server.CallerOf(r), access.AuditRead, "", "", false)
	}
	return f
}

func signedIn(p *access.Principal) bool { return p.Kind != access.KindAnonymous && p.Kind != "" }

// nameOf is the name of the account, or what stands in its place.
func nameOf(p *access.Principal) string {
	switch {
	case p.Of != nil && p.Of.Name != "":
		return p.Of.Name
	case p.Name != "":
		return p.Name
	}
	return p.ID
}

func kindOf(p *access.Principal) string {
	switch {
	case p.Kind == access.KindUser && p.Of != nil:
		return "account, through a personal token"
	case p.Kind == access.KindUser:
		return "account"
	case p.Kind == access.KindToken:
		return "token of a project"
	}
	return string(p.Kind)
}

// here is the path of a request below /ui with its query; for the target of a
// form it is the page that the form was on, as far as that is known.
func here(r *http.Request) string {
	if r.Method == http.MethodPost {
		return "/"
	}
	h := strings.TrimPrefix(r.URL.EscapedPath(), prefix)
	if h == "" {
		h = "/"
	}
	if r.URL.RawQuery != "" {
		h += "?" + r.URL.RawQuery
	}
	return h
}

// next reads where a form leads back to: a path below /ui, whatever was sent.
func next(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.IsAbs() || u.Host != "" || u.Opaque != "" || !strings.HasPrefix(u.Path, "/") ||
		strings.HasPrefix(u.Path, "//") || strings.ContainsAny(s, "\\\r\n\t") || len(s) > 2048 {
		return "/"
	}
	for seg := range strings.SplitSeq(u.Path, "/") {
		if seg == ".." || seg == "." {
			return "/"
		}
	}
	p := u.EscapedPath()
	if u.RawQuery != "" {
		p += "?" + u.RawQuery
	}
	return p
}

func hostOf(base string) string {
	_, host, _ := strings.Cut(base, "://")
	return host
}

// clientAccess is how a project is reached by clients.
type clientAccess struct {
	Host    string // with the context path, for OCI references
	Name    string // a name for "helm repo add"
	URL     string // of the classic repository
	HTTP    bool   // without TLS: helm has to be told
	NoOCI   bool   // the server stands below a path, where OCI clients cannot reach it
	Private bool
}

func accessOf(r *http.Request, p *release.Project) clientAccess {
	base := server.BaseURL(r)
	return clientAccess{
		Host:    hostOf(base),
		Name:    strings.ReplaceAll(p.Name, "/", "-"),
		URL:     base + "/" + p.Name,
		HTTP:    strings.HasPrefix(base, "http://"),
		NoOCI:   server.ContextPath(r) != "",
		Private: !p.Public,
	}
}
