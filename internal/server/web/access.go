package web

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// accessPage says who may do what in a project, or on the server, and why.
type accessPage struct {
	frame
	Project    string // "" for the server
	ProjectURL string
	Members    []memberRow
	Tokens     []holderToken
	Publishers []publisherRow
	// URLs of the next pages; "" on the last.
	NextMembers, NextTokens string
	MorePublishers          int
	MayGrant, MayPublishers bool
	Roles                   []roleChoice
	Lives                   []int // days that a grant can be given for
	Typed                   memberForm
	Failed                  *failedForm
	Target                  string // of the forms
}

// memberForm is what the form for a new member holds.
type memberForm struct{ Account, Role, Project, Charts, Days string }

type roleChoice struct {
	choice
	Means string
}

// heldGrant is a grant with where it reaches.
type heldGrant struct {
	ID          string
	Role, Means string
	Where       string // in words
	Wider       bool   // than the project of the page
	Charts      string // "" for all
	Writes      bool
	Prerelease  bool
	Given       moment
	Expires     moment
	Ended       bool
	MayRevoke   bool
}

type memberRow struct {
	heldGrant
	Name     string
	Group    bool // of the identity provider
	Disabled bool
}

type holderToken struct {
	heldGrant
	Name, Token string
	Account     string // that it stands for, or that made it
	Personal    bool
	Disabled    bool // its account may do nothing any more
	Used        moment
	Ends        moment
}

type publisherRow struct {
	ID, Name, Provider, Issuer string
	Project                    link
	Claims                     []fact
	Charts                     string
	Prerelease                 bool
	Expires                    moment
	Ended                      bool
	Maker                      string
	MakerLeft                  bool
	Made, Used                 moment
}

const (
	holdersPerPage   = 100
	publishersOnPage = 200
)

// memberLives are how long a grant can be given for, in days; 0 has no end.
var memberLives = []int{0, 7, 30, 90, 365}

// access costs a page of grants of accounts, one of tokens, and the bindings of
// the project; see release.Holdings.
func (d *Door) access(w http.ResponseWriter, r *http.Request, project string, ref refusal) error {
	ctx, c, q := r.Context(), server.CallerOf(r), r.URL.Query()
	base := server.ContextPath(r) + prefix
	p := &accessPage{Project: project, Failed: ref.view(), Target: accessPath(base, project)}
	members, err := d.svc.Holders(ctx, c, release.HolderFilter{Project: project, AfterName: q.Get("member"), AfterID: q.Get("grant"), Limit: holdersPerPage + 1})
	if err != nil {
		return err
	}
	tokens, err := d.svc.Holders(ctx, c, release.HolderFilter{Project: project, Tokens: true, AfterName: q.Get("token"), AfterID: q.Get("token-grant"), Limit: holdersPerPage + 1})
	if err != nil {
		return err
	}
	crumbs := []link{{"Access of the server", ""}}
	title := "Access of the server"
	if project != "" {
		title = "Access of " + project
		p.ProjectURL = projectPath(base, project)
		crumbs = []link{{"Charts", base + "/projects"}, {project, p.ProjectURL}, {"Access", ""}}
	}
	p.frame = d.frameOf(r, title, "access", crumbs...)
	var next *release.Holder
	members, next = cutHolders(members)
	p.NextMembers = p.pageAfter(next, "member", "grant", "members")
	tokens, next = cutHolders(tokens)
	p.NextTokens = p.pageAfter(next, "token", "token-grant", "tokens")
	p.showMembers(&c, members)
	p.showTokens(ctx, d, &c, tokens)
	if err := d.showPublishers(ctx, c, p); err != nil {
		return err
	}
	p.offerGrant(&c, ref.typed)
	return d.render(w, r, ref.statusOr(http.StatusOK), "access", p)
}

// cutHolders takes off the one that is asked for only to know that there is more.
func cutHolders(list []release.Holder) ([]release.Holder, *release.Holder) {
	if len(list) <= holdersPerPage {
		return list, nil
	}
	return list[:holdersPerPage], &list[holdersPerPage-1]
}

func (p *accessPage) pageAfter(h *release.Holder, name, id, section string) string {
	if h == nil {
		return ""
	}
	return p.Target + "?" + url.Values{name: {h.Name}, id: {h.Grant.ID}}.Encode() + "#" + section
}

func (p *accessPage) held(h *release.Holder, may bool) heldGrant {
	g := &h.Grant
	info := heldGrant{
		ID: g.ID, Role: string(g.Role), Means: roleMeans(g.Role), Where: reachWords(g.Project, p.Project), Wider: g.Project != p.Project,
		Charts: g.Chart, Writes: writesCharts(g.Role), Prerelease: g.Versions == access.PrereleaseOnly, Given: moment{h.Given, p.Now.at},
		Expires: moment{g.Expires, p.Now.at}, Ended: !g.Expires.IsZero() && !p.Now.at.Before(g.Expires), MayRevoke: may,
	}
	return info
}

// reachWords says where a grant reaches, on the page of a project.
func reachWords(pattern, project string) string {
	prefix, below := strings.CutSuffix(pattern, "/*")
	switch {
	case pattern == "*":
		return "every project and the server"
	case below:
		return "every project below " + prefix
	case pattern == project:
		return "this project"
	}
	return pattern
}

func roleMeans(role access.Role) string {
	for _, r := range access.Roles() {
		if r.Role == role {
			return r.Description
		}
	}
	return ""
}

func (p *accessPage) showMembers(c *release.Caller, list []release.Holder) {
	for i := range list {
		h := &list[i]
		row := memberRow{heldGrant: p.held(h, p.mayTake(c, h.Grant)), Name: h.Name, Disabled: h.Disabled}
		if group := h.Group(); group != "" {
			row.Name, row.Group = group, true
		}
		p.Members = append(p.Members, row)
	}
}

// mayTake says whether a caller may give, and so take away, a grant: for a
// minute, since taking is never giving for long.
func (p *accessPage) mayTake(c *release.Caller, g access.Grant) bool {
	g.Expires = p.Now.at.Add(time.Minute)
	return access.Within(c.Principal, g, p.Now.at) == nil
}

func (p *accessPage) showTokens(ctx context.Context, d *Door, c *release.Caller, list []release.Holder) {
	all := d.mayAct(ctx, *c, access.InstanceAdmin, "")
	for i := range list {
		h := &list[i]
		t := h.Token
		p.Tokens = append(p.Tokens, holderToken{
			heldGrant: p.held(h, all || t.AccountID == accountOf(c)), Name: t.Name, Token: t.ID, Account: t.Account, Personal: t.Personal,
			Disabled: t.Personal && h.Disabled, Used: moment{t.LastUsed, p.Now.at}, Ends: moment{t.Expires, p.Now.at},
		})
	}
}

func (d *Door) showPublishers(ctx context.Context, c release.Caller, p *accessPage) error {
	list, err := d.svc.Publishers(ctx, c, p.Project, "")
	if err != nil {
		return err
	}
	p.MorePublishers = max(0, len(list)-publishersOnPage)
	p.MayPublishers = d.mayAct(ctx, c, access.PublisherWrite, p.Project)
	for i := range list[:min(len(list), publishersOnPage)] {
		x := &list[i]
		p.Publishers = append(p.Publishers, publisherRow{
			ID: x.ID, Name: named(x.Name), Provider: string(x.Provider), Issuer: shown(x.Issuer, maxSentence), Project: link{x.Project, accessPath(p.Base, x.Project)},
			Claims: claimFacts(&x.Publisher), Charts: x.Chart, Prerelease: x.Versions == access.PrereleaseOnly, Expires: moment{x.Expires, p.Now.at},
			Ended: !x.Expires.IsZero() && !p.Now.at.Before(x.Expires), Maker: cmp.Or(x.Maker, x.MakerID), MakerLeft: x.MakerDisabled,
			Made: moment{x.Created, p.Now.at}, Used: moment{x.LastUsed, p.Now.at},
		})
	}
	return nil
}

// claimFacts are what a binding asks of a token, with what is asked for where it
// does not say.
func claimFacts(x *access.Publisher) []fact {
	var out []fact
	said := map[string]bool{}
	add := func(name string, values []string, note string) {
		if len(values) > 0 {
			out = append(out, fact{Label: strings.ReplaceAll(shown(name, maxName), "_", " "), Value: shown(strings.Join(values, " or "), maxSentence) + note})
		}
	}
	for _, w := range x.Provider.Wishes() {
		said[w.Name] = true
		if values := x.Claims[w.Name]; len(values) > 0 {
			add(w.Name, values, "")
		} else {
			add(w.Name, w.Default, ", asked of every pipeline")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(x.Claims)) {
		if !said[name] {
			add(name, x.Claims[name], "")
		}
	}
	return out
}

// offerGrant shows the form to whoever may give a role here.
func (p *accessPage) offerGrant(c *release.Caller, typed url.Values) {
	where := cmp.Or(p.Project, "*")
	for _, role := range access.Roles() {
		if p.mayTake(c, access.Grant{Role: role.Role, Project: where}) {
			value := string(role.Role)
			p.Roles = append(p.Roles, roleChoice{choice{value, value, typed.Get("role") == value}, role.Description})
		}
	}
	p.MayGrant, p.Lives = len(p.Roles) > 0, memberLives
	get := func(name string) string { return shown(typed.Get(name), maxName) }
	p.Typed = memberForm{Account: get("account"), Charts: get("charts"), Days: get("days"), Project: cmp.Or(get("project"), where)}
}

// setAccess gives or takes a role, ends a token, or ends a pipeline's binding.
func (d *Door) setAccess(w http.ResponseWriter, r *http.Request, project string) error {
	ctx, c, form := r.Context(), server.CallerOf(r), r.PostForm
	id := shorten(form.Get("id"), maxName)
	switch form.Get("do") {
	case "give":
		return d.give(w, r, project)
	case "take":
		if err := d.svc.RevokeGrant(ctx, c, id); err != nil {
			return err
		}
		return redirect(w, r, accessPath("", project)+"#members")
	case "end-token":
		if err := d.svc.RevokeToken(ctx, c, id); err != nil {
			return err
		}
		return redirect(w, r, accessPath("", project)+"#tokens")
	case "end-publisher":
		if err := d.svc.RemovePublisher(ctx, c, id); err != nil {
			return err
		}
		return redirect(w, r, accessPath("", project)+"#publishers")
	}
	return unknownForm()
}

// unknownForm refuses a form that no page has.
func unknownForm() error {
	return problem.New(problem.Invalid, "form", "this form asks for nothing that is known here")
}

// give adds a member. What the person can put right is told beside the form.
func (d *Door) give(w http.ResponseWriter, r *http.Request, project string) error {
	form := r.PostForm
	g := access.Grant{Role: access.Role(shorten(form.Get("role"), 64)), Project: cmp.Or(project, strings.TrimSpace(form.Get("project"))), Chart: strings.TrimSpace(form.Get("charts"))}
	if form.Get("prerelease") != "" {
		g.Versions = access.PrereleaseOnly
	}
	if days, err := strconv.Atoi(form.Get("days")); err == nil && slices.Contains(memberLives, days) && days > 0 {
		g.Expires = d.cfg.Now().Add(time.Duration(days) * 24 * time.Hour).Truncate(time.Second)
	}
	_, err := d.svc.AddGrant(r.Context(), server.CallerOf(r), strings.TrimSpace(form.Get("account")), g)
	if err == nil {
		return redirect(w, r, accessPath("", project)+"#members")
	}
	switch status, p := server.Status(err); {
	case p.Kind == problem.Invalid, p.Kind == problem.NotFound, p.Rule == access.RuleExceeds:
		return d.access(w, r, project, refusal{"give", status, p, form})
	}
	return err
}

// accessPath is the page of who may do what in a project, "" for the server.
func accessPath(base, project string) string {
	if project == "" {
		return base + "/access"
	}
	return base + "/access/" + escapeSegments(project)
}
