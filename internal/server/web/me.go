package web

import (
	"net/http"
	"slices"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
)

// mePage says who is signed in and what they may do.
type mePage struct {
	frame
	Name, Kind, ID  string
	TokenID, Issuer string
	Expires         moment
	Grants          []grantRow
	Account         string     // that a personal token belongs to; "" for none
	AccountGrants   []grantRow // what the account may; the token can do what both allow
	TokenForm       *tokenForm // nil for whoever has nothing to give to a token
	MayAll          bool       // may see what everybody may
}

type grantRow struct {
	Role, Means string
	Project     string
	Writes      bool   // to charts
	Charts      string // "" for all
	Prerelease  bool
	Expires     moment
	Ended       bool
	ID          string
}

func (d *Door) me(w http.ResponseWriter, r *http.Request) error {
	p := server.CallerOf(r).Principal
	if !signedIn(&p) {
		return problem.New(problem.Unauthenticated, access.RuleSignIn, "you are not signed in")
	}
	m := d.mePage(r)
	if m.TokenForm = newTokenForm(m.Base, &p, ""); m.TokenForm != nil {
		m.TokenForm.Closed = m.Closed()
	}
	m.MayAll = d.mayAct(r.Context(), server.CallerOf(r), access.InstanceAdmin, "")
	return d.render(w, r, http.StatusOK, "me", m)
}

func (d *Door) mePage(r *http.Request) *mePage {
	p := server.CallerOf(r).Principal
	m := &mePage{
		frame: d.frameOf(r, "Access", "me"), Name: nameOf(&p), Kind: kindOf(&p), ID: p.ID,
		TokenID: p.TokenID, Issuer: p.Issuer,
	}
	m.Expires = moment{p.Expires, m.Now.at}
	m.Grants = m.grants(p.Grants)
	if p.Of != nil {
		m.Account, m.AccountGrants = p.Of.Name, m.grants(p.Of.Grants)
	}
	return m
}

func (f *frame) grants(list []access.Grant) []grantRow {
	means := map[access.Role]string{}
	for _, role := range access.Roles() {
		means[role.Role] = role.Description
	}
	var rows []grantRow
	for _, g := range list {
		rows = append(rows, grantRow{
			Role: string(g.Role), Means: means[g.Role], Project: g.Project, Writes: writesCharts(g.Role), Charts: g.Chart, ID: g.ID,
			Prerelease: g.Versions == access.PrereleaseOnly,
			Expires:    moment{g.Expires, f.Now.at},
			Ended:      !g.Expires.IsZero() && !f.Now.at.Before(g.Expires),
		})
	}
	return rows
}

// writesCharts reports whether a role can change anything about a chart.
func writesCharts(role access.Role) bool {
	return slices.ContainsFunc(access.Actions(), func(a access.ActionInfo) bool {
		return a.Reach == access.ReachChart && role.Has(a.Action)
	})
}
