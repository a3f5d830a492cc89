package api

import (
	"net/http"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/release"
)

func (d *Door) listAccounts(c *call) (reply, error) {
	q, err := c.query("after", "limit")
	if err != nil {
		return reply{}, err
	}
	accounts, err := d.svc.Accounts(c.ctx, c.caller)
	if err != nil {
		return reply{}, err
	}
	return page("account-list/v1", accounts, func(a release.Account) string { return a.Name }, q)
}

// accountRequest asks for a new account; without a password it signs in
// through tokens alone.
type accountRequest struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"` // user or robot
	Password string `json:"password"`
}

func (d *Door) createAccount(c *call) (reply, error) {
	var req accountRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	a, err := d.svc.CreateAccount(c.ctx, c.caller, req.Name, req.Kind, req.Password)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusCreated, body: accountAnswer{"account/v1", a}}, nil
}

type passwordRequest struct {
	Password string `json:"password"`
}

func (d *Door) setPassword(c *call) (reply, error) {
	var req passwordRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	return reply{}, d.svc.SetPassword(c.ctx, c.caller, c.params["account"], req.Password)
}

func (d *Door) disableAccount(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	return reply{}, d.svc.DisableAccount(c.ctx, c.caller, c.params["account"])
}

func (d *Door) listGrants(c *call) (reply, error) {
	q, err := c.query("account", "after", "limit")
	if err != nil {
		return reply{}, err
	}
	grants, err := d.svc.Grants(c.ctx, c.caller, q.Get("account"))
	if err != nil {
		return reply{}, err
	}
	return page("grant-list/v1", grants, func(g release.AccountGrant) string { return g.Grant.ID }, q)
}

// grantRequest asks for a grant. Its id is the server's to choose.
type grantRequest struct {
	Role     access.Role        `json:"role"`
	Project  string             `json:"project"`
	Chart    string             `json:"chart"`
	Versions access.VersionKind `json:"versions"`
	Expires  time.Time          `json:"expires"`
}

func (g grantRequest) grant() access.Grant {
	return access.Grant{Role: g.Role, Project: g.Project, Chart: g.Chart, Versions: g.Versions, Expires: g.Expires}
}

type accountGrantRequest struct {
	Account string       `json:"account"`
	Grant   grantRequest `json:"grant"`
}

func (d *Door) addGrant(c *call) (reply, error) {
	var req accountGrantRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	g, err := d.svc.AddGrant(c.ctx, c.caller, req.Account, req.Grant.grant())
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusCreated, body: grantAnswer{"grant/v1", release.AccountGrant{Account: req.Account, Grant: g}}}, nil
}

func (d *Door) revokeGrant(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	return reply{}, d.svc.RevokeGrant(c.ctx, c.caller, c.params["id"])
}

func (d *Door) listTokens(c *call) (reply, error) {
	q, err := c.query("after", "limit")
	if err != nil {
		return reply{}, err
	}
	tokens, err := d.svc.Tokens(c.ctx, c.caller)
	if err != nil {
		return reply{}, err
	}
	for i := range tokens {
		tokens[i].Grants = notNil(tokens[i].Grants)
	}
	return page("token-list/v1", tokens, func(t release.Token) string { return t.ID }, q)
}

// tokenRequest asks for a token; account "" is the caller's own.
type tokenRequest struct {
	Name    string         `json:"name"`
	Account string         `json:"account"`
	Grants  []grantRequest `json:"grants"`
	Expires time.Time      `json:"expires"`
}

func (d *Door) createToken(c *call) (reply, error) {
	var req tokenRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	want := release.TokenRequest{Name: req.Name, Account: req.Account, Expires: req.Expires}
	for _, g := range req.Grants {
		want.Grants = append(want.Grants, g.grant())
	}
	secret, t, err := d.svc.CreateToken(c.ctx, c.caller, want)
	if err != nil {
		return reply{}, err
	}
	t.Grants = notNil(t.Grants)
	return reply{status: http.StatusCreated, body: secretAnswer{"token-secret/v1", t, secret}}, nil
}

func (d *Door) revokeToken(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	return reply{}, d.svc.RevokeToken(c.ctx, c.caller, c.params["id"])
}

func (d *Door) canI(c *call) (reply, error) {
	q, err := c.query("account", "action", "project", "chart", "prerelease")
	if err != nil {
		return reply{}, err
	}
	prerelease, err := boolean("prerelease", q.Get("prerelease"))
	if err != nil {
		return reply{}, err
	}
	decision, err := d.svc.CanI(c.ctx, c.caller, q.Get("account"), access.Action(q.Get("action")), q.Get("project"), q.Get("chart"), prerelease)
	if err != nil {
		return reply{}, err
	}
	return reply{body: decisionAnswer{"decision/v1", decision}}, nil
}

func (d *Door) whoAmI(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	p := c.caller.Principal
	a := principalAnswer{
		Schema: "principal/v1", ID: p.ID, Name: p.Name, Kind: p.Kind, Issuer: p.Issuer,
		TokenID: p.TokenID, Expires: p.Expires, Grants: notNil(p.Grants),
	}
	if p.Of != nil {
		a.Account = &accountGrants{ID: p.Of.ID, Name: p.Of.Name, Grants: notNil(p.Of.Grants)}
	}
	return reply{body: a}, nil
}

// notNil makes an empty list of no list: in JSON that is [], not null.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
