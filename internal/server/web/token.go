package web

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// tokenForm asks for a personal token. Whoever signs in through an identity
// provider has no password for a command line, so this is where one begins.
type tokenForm struct {
	Base    string
	Closed  bool // the server takes no forms
	Name    string
	Choices []tokenChoice
	Lives   []int // days
	Failed  string
	Secret  string // of the token that was just made: it is shown this once
	Expires moment
}

// tokenChoice is one of the person's own grants.
type tokenChoice struct {
	Value, Text string
	Selected    bool
}

// tokenLives are the lives that can be chosen, in days; the first is offered.
var tokenLives = []int{30, 1, 90}

// newTokenForm offers the person's grants, and nothing where a person has none.
func newTokenForm(base string, p *access.Principal, chosen string) *tokenForm {
	if p.Kind != access.KindUser || len(p.Grants) == 0 {
		return nil
	}
	f := &tokenForm{Base: base, Lives: tokenLives}
	for _, g := range p.Grants {
		text := string(g.Role) + " in " + g.Project
		if g.Project == "*" {
			text = string(g.Role) + " in every project"
		}
		if g.Chart != "" {
			text += ", charts " + g.Chart
		}
		if g.Versions == access.PrereleaseOnly {
			text += ", pre-releases"
		}
		f.Choices = append(f.Choices, tokenChoice{g.ID, text, g.ID == chosen})
	}
	return f
}

// makeToken makes a token with one of the person's own grants. Its page is the
// answer itself, and no other: the secret is nowhere to be looked up again.
func (d *Door) makeToken(w http.ResponseWriter, r *http.Request) error {
	c := server.CallerOf(r)
	if !signedIn(&c.Principal) {
		return problem.New(problem.Unauthenticated, access.RuleSignIn, "you are not signed in")
	}
	if err := r.ParseForm(); err != nil {
		return badForm(err)
	}
	name, chosen := strings.TrimSpace(r.PostForm.Get("name")), r.PostForm.Get("grant")
	m := d.mePage(r)
	if m.TokenForm = newTokenForm(m.Base, &c.Principal, chosen); m.TokenForm == nil {
		return problem.New(problem.Denied, "token-grants", "%s has no grant that a token could have", c.Principal.Name)
	}
	m.TokenForm.Name = name
	req := release.TokenRequest{Name: name}
	for _, g := range c.Principal.Grants {
		if g.ID == chosen {
			g.ID = ""
			req.Grants = []access.Grant{g}
		}
	}
	days, err := strconv.Atoi(r.PostForm.Get("days"))
	if err != nil || days < 1 || days > 366 {
		days = tokenLives[0]
	}
	req.Expires = d.cfg.Now().Add(time.Duration(days) * 24 * time.Hour)
	if end := c.Principal.Expires; c.Principal.TokenID != "" && !end.IsZero() && end.Before(req.Expires) {
		req.Expires = end // a token makes none that outlives it
	}
	secret, t, err := d.svc.CreateToken(r.Context(), c, req)
	if err != nil {
		status, p := server.Status(err)
		if status != http.StatusBadRequest && status != http.StatusForbidden {
			return err
		}
		m.TokenForm.Failed = sentence(p.Message)
		return d.render(w, r, status, "me", m)
	}
	m.TokenForm.Secret, m.TokenForm.Expires = secret, moment{t.Expires, m.Now.at}
	return d.render(w, r, http.StatusCreated, "me", m)
}
