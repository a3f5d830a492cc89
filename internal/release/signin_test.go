package release_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// provider is an identity provider that says of a code what a test wants.
type provider struct {
	t       *testing.T
	people  map[string]map[string]any // by code
	flows   map[string]string         // verifier by nonce: of the flows that began
	refuses error
}

func (p *provider) Begin(_ context.Context, state, nonce, verifier, redirect string) (string, error) {
	p.flows[nonce] = verifier
	return "https://idp.example/authorize?state=" + state, nil
}

func (p *provider) Finish(_ context.Context, code, _, nonce, verifier, _ string) (access.Claims, error) {
	if p.refuses != nil {
		return access.Claims{}, p.refuses
	}
	if p.flows[nonce] != verifier || verifier == "" {
		p.t.Errorf("nonce and verifier are not those of one flow")
	}
	b, err := json.Marshal(p.people[code])
	if err != nil {
		p.t.Fatal(err)
	}
	return access.ParseClaims(b)
}

func newSSO(t *testing.T, change func(*release.SignInConfig)) (*registry, *provider) {
	t.Helper()
	idp := &provider{t: t, flows: map[string]string{}, people: map[string]map[string]any{
		"ann":      {"iss": "https://idp.example", "sub": "s-ann", "preferred_username": "Ann.Lee@example.com", "groups": []string{"dev", "ops"}, "email": "ann@example.com", "email_verified": true},
		"mallory":  {"iss": "https://idp.example", "sub": "s-mallory", "preferred_username": "admin", "email": "ann@example.com", "email_verified": false},
		"stranger": {"iss": "https://idp.example", "sub": "s-stranger", "preferred_username": "Ω", "email": "x@evil.example", "email_verified": true},
	}}
	r := newRegistry(t, func(c *release.Config) {
		c.SignIn = release.SignInConfig{Provider: idp, Name: "Example", Issuer: "https://idp.example", Redirect: "https://charts.example.com/ui/sso/callback", Create: true}
		if change != nil {
			change(&c.SignIn)
		}
	})
	return r, idp
}

var browser = release.Caller{Principal: access.Anonymous(), Door: audit.DoorWeb, Source: audit.Source{IP: "192.0.2.3"}}

// begin starts a sign-in and returns its state and what the browser keeps.
func (r *registry) begin(next string) (state, sealed string) {
	r.Helper()
	to, sealed, err := r.BeginSignIn(r.ctx, next)
	r.ok(err)
	_, state, _ = strings.Cut(to, "state=")
	return state, sealed
}

// signInAs is the whole flow of one person.
func (r *registry) signInAs(code string) (access.Principal, error) {
	r.Helper()
	state, sealed := r.begin("/")
	p, _, err := r.FinishSignIn(r.ctx, browser, sealed, release.SignInAnswer{Code: code, State: state, Issuer: "https://idp.example"})
	return p, err
}

func TestSignInThroughProvider(t *testing.T) {
	r, _ := newSSO(t, nil)
	state, sealed := r.begin("/log")
	p, next, err := r.FinishSignIn(r.ctx, browser, sealed, release.SignInAnswer{Code: "ann", State: state})
	r.ok(err)
	if p.Name != "ann-lee" || p.Kind != access.KindUser || p.Issuer != "" || len(p.Grants) != 0 || next != "/log" {
		t.Errorf("signed in %+v, to %s", p, next)
	}
	again, err := r.signInAs("ann")
	r.ok(err)
	if again.ID != p.ID {
		t.Error("one person has two accounts")
	}
	// The session is that of passwords.
	session, ends, err := r.MintSession(r.ctx, release.Caller{Principal: p, Door: audit.DoorWeb})
	r.ok(err)
	if ends.Sub(r.now) != release.SessionLife {
		t.Errorf("the session lasts %s", ends.Sub(r.now))
	}
	if got := r.as(session).Principal; got.ID != p.ID {
		t.Errorf("the session is %+v", got)
	}
	// Nobody comes in by the password that the account has not.
	for _, password := range []string{"", "s-ann", "ann-lee"} {
		if _, err := r.Login(r.ctx, "ann-lee", password); problem.KindOf(err) != problem.Unauthenticated {
			t.Errorf("password %q: %v", password, err)
		}
	}
	// Names and addresses lead to nobody's account: the administrator's name is taken.
	m, err := r.signInAs("mallory")
	r.ok(err)
	if m.Name != "admin-2" || m.ID == r.admin.Principal.ID || m.ID == p.ID || len(m.Grants) != 0 {
		t.Errorf("mallory is %+v", m)
	}
	s, err := r.signInAs("stranger")
	r.ok(err)
	if access.CheckAccountName(s.Name) != nil {
		t.Errorf("the stranger is %q", s.Name)
	}
}

// TestSignInForgeries: an answer counts only in the browser that asked, once it
// asked, and for a while.
func TestSignInForgeries(t *testing.T) {
	r, _ := newSSO(t, nil)
	state, sealed := r.begin("/")
	other, otherSealed := r.begin("/")
	answer := release.SignInAnswer{Code: "ann", State: state}
	text, mac, _ := strings.Cut(sealed, ".")
	for name, tt := range map[string]struct {
		sealed string
		answer release.SignInAnswer
	}{
		"login CSRF: a link of the attacker's, no flow here": {"", answer},
		"login CSRF: another flow of this browser":           {otherSealed, answer},
		"the state of another flow":                          {sealed, release.SignInAnswer{Code: "ann", State: other}},
		"no state":                                           {sealed, release.SignInAnswer{Code: "ann"}},
		"a flow that was changed":                            {text + "AA." + mac, answer},
		"a flow that somebody else signed":                   {text + "." + strings.Repeat("A", len(mac)), answer},
		"no flow at all":                                     {"x", answer},
		"a huge flow":                                        {strings.Repeat("x", 1<<20), answer},
	} {
		if _, _, err := r.FinishSignIn(r.ctx, browser, tt.sealed, tt.answer); problem.KindOf(err) != problem.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, _, err := r.FinishSignIn(r.ctx, browser, sealed, release.SignInAnswer{State: state, Error: "access_denied"})
	r.refused(err, problem.Unauthenticated, "sign-in-declined")
	r.now = r.now.Add(release.SignInLife)
	_, _, err = r.FinishSignIn(r.ctx, browser, sealed, answer)
	r.refused(err, problem.Unauthenticated, "sign-in-state")
	if _, _, err := r.BeginSignIn(r.ctx, strings.Repeat("x", 8000)); problem.KindOf(err) != problem.Invalid {
		t.Errorf("a page of 8,000 bytes: %v", err)
	}
}

func TestSignInOnlyLinked(t *testing.T) {
	r, _ := newSSO(t, func(c *release.SignInConfig) { c.Create = false })
	_, err := r.CreateAccount(r.ctx, r.admin, "ann", release.KindUser, "")
	r.ok(err)
	_, err = r.signInAs("ann")
	e := r.refused(err, problem.Denied, "sign-in-unlinked")
	if !strings.Contains(e.Error(), "s-ann") {
		t.Errorf("the person cannot tell an administrator who it is: %v", e)
	}
	if kind := problem.KindOf(r.LinkAccount(r.ctx, browser, "ann", "s-ann")); kind != problem.Unauthenticated {
		t.Errorf("anybody links: %s", kind)
	}
	r.ok(r.LinkAccount(r.ctx, r.admin, "ann", "s-ann"))
	r.refused(r.LinkAccount(r.ctx, r.admin, "admin", "s-ann"), problem.Conflict, "account-linked")
	p, err := r.signInAs("ann")
	r.ok(err)
	if p.Name != "ann" {
		t.Errorf("signed in %+v", p)
	}
	links, err := r.AccountLinks(r.ctx, r.admin)
	r.ok(err)
	if len(links) != 1 || links[0].Account != "ann" || links[0].Used.IsZero() {
		t.Errorf("links %+v", links)
	}
	r.ok(r.UnlinkAccount(r.ctx, r.admin, "ann"))
	_, err = r.signInAs("ann")
	r.refused(err, problem.Denied, "sign-in-unlinked")
	// What the provider calls the person is in no event.
	records, err := r.Audit(r.ctx, r.admin, release.AuditFilter{Limit: 1000})
	r.ok(err)
	for _, rec := range records {
		if b, _ := rec.Event.Encode(); strings.Contains(string(b), "s-ann") {
			t.Errorf("the audit log keeps %s", b)
		}
	}
	robot := r.robot("ci", access.Grant{Role: access.RolePublisher, Project: "demo"})
	if err := r.LinkAccount(r.ctx, r.admin, "ci", "s-x"); problem.KindOf(err) != problem.Invalid {
		t.Errorf("a robot signs in: %v", err)
	}
	_ = robot
}

func TestSignInAdmits(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*release.SignInConfig)
		in     []string
	}{
		"everybody":     {func(*release.SignInConfig) {}, []string{"ann", "mallory", "stranger"}},
		"a group":       {func(c *release.SignInConfig) { c.AllowedGroups = []string{"qa", "ops"} }, []string{"ann"}},
		"no such group": {func(c *release.SignInConfig) { c.AllowedGroups = []string{"Dev"} }, nil},
		"a domain":      {func(c *release.SignInConfig) { c.AllowedDomains = []string{"Example.com"} }, []string{"ann"}}, // mallory's address is not verified
		"both, and one": {func(c *release.SignInConfig) {
			c.AllowedDomains, c.AllowedGroups = []string{"evil.example"}, []string{"dev"}
		}, nil},
		"part of a domain": {func(c *release.SignInConfig) { c.AllowedDomains = []string{"ample.com", "le.com"} }, nil},
	} {
		r, _ := newSSO(t, tt.change)
		var in []string
		for _, who := range []string{"ann", "mallory", "stranger"} {
			_, err := r.signInAs(who)
			if err == nil {
				in = append(in, who)
			} else if e, ok := problem.As(err); !ok || e.Rule != "sign-in-not-allowed" || e.Kind != problem.Denied {
				t.Errorf("%s, %s: %v", name, who, err)
			}
		}
		if strings.Join(in, " ") != strings.Join(tt.in, " ") {
			t.Errorf("%s: %v came in, want %v", name, in, tt.in)
		}
	}
}

func TestSignInGroups(t *testing.T) {
	r, idp := newSSO(t, nil)
	for group, role := range map[string]access.Role{"group:dev": access.RolePublisher, "group:admins": access.RoleInstanceAdmin} {
		g := access.Grant{Role: role, Project: "demo"}
		if role == access.RoleInstanceAdmin {
			g.Project = "*"
		}
		_, err := r.AddGrant(r.ctx, r.admin, group, g)
		r.ok(err)
	}
	p, err := r.signInAs("ann")
	r.ok(err)
	if len(p.Grants) != 1 || p.Grants[0].Role != access.RolePublisher {
		t.Fatalf("grants %+v", p.Grants)
	}
	// A personal token goes with the groups.
	secret, _, err := r.CreateToken(r.ctx, release.Caller{Principal: p, Door: audit.DoorWeb}, release.TokenRequest{Name: "mine", Grants: []access.Grant{{Role: access.RolePublisher, Project: "demo"}}, Expires: r.now.Add(60 * 24 * time.Hour)})
	r.ok(err)
	push := access.Request{Action: access.ChartPush, Project: "demo", Chart: "web"}
	if !access.Allowed(r.as(secret).Principal, push, r.now) {
		t.Fatal("the token cannot do what the group may")
	}
	idp.people["ann"]["groups"] = []string{"ops"}
	if p, err = r.signInAs("ann"); err != nil || len(p.Grants) != 0 {
		t.Errorf("after leaving the group: %+v, %v", p.Grants, err)
	}
	if access.Allowed(r.as(secret).Principal, push, r.now) {
		t.Error("the token keeps what the group gave")
	}
	// Groups that were not read again are not believed for ever.
	idp.people["ann"]["groups"] = "dev"
	_, err = r.signInAs("ann")
	r.ok(err)
	if !access.Allowed(r.as(secret).Principal, push, r.now) {
		t.Fatal("a group that stands alone was not read")
	}
	r.now = r.now.Add(release.GroupLife + time.Hour)
	if access.Allowed(r.as(secret).Principal, push, r.now) {
		t.Error("the groups of a month ago still count")
	}
	for _, bad := range []string{"group:", "group:a\nb", "group:" + strings.Repeat("x", 300)} {
		if _, err := r.AddGrant(r.ctx, r.admin, bad, access.Grant{Role: access.RoleReader, Project: "demo"}); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
	list, err := r.Grants(r.ctx, r.admin, "")
	r.ok(err)
	for _, g := range list {
		if g.Account == "group:dev" {
			r.ok(r.RevokeGrant(r.ctx, r.admin, g.Grant.ID))
		}
	}
	if p, err = r.signInAs("ann"); err != nil || len(p.Grants) != 0 {
		t.Errorf("after the grant was taken: %+v, %v", p.Grants, err)
	}
}

func TestDisabledStaysDisabled(t *testing.T) {
	r, idp := newSSO(t, nil)
	p, err := r.signInAs("ann")
	r.ok(err)
	r.ok(r.DisableAccount(r.ctx, r.admin, p.Name))
	for range 2 {
		_, err = r.signInAs("ann")
		r.refused(err, problem.Denied, "sign-in-disabled")
	}
	idp.people["ann"]["preferred_username"] = "somebody-else"
	_, err = r.signInAs("ann")
	r.refused(err, problem.Denied, "sign-in-disabled")
	idp.refuses = problem.New(problem.Unavailable, "sign-in-provider", "down")
	_, err = r.signInAs("ann")
	r.refused(err, problem.Unavailable, "sign-in-provider")
}

func TestNoProvider(t *testing.T) {
	r := newRegistry(t)
	if _, _, err := r.BeginSignIn(r.ctx, "/"); problem.KindOf(err) != problem.NotFound || r.SignInName() != "" {
		t.Errorf("got %v", err)
	}
	if _, _, err := r.FinishSignIn(r.ctx, browser, "", release.SignInAnswer{}); problem.KindOf(err) != problem.NotFound {
		t.Errorf("got %v", err)
	}
	if kind := problem.KindOf(r.LinkAccount(r.ctx, r.admin, "admin", "x")); kind != problem.Unsupported {
		t.Errorf("got %s", kind)
	}
}
