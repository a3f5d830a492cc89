package release_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

func TestEnsureAdmin(t *testing.T) {
	r := newRegistry(t)
	again, err := r.EnsureAdmin(r.ctx)
	r.ok(err)
	if again != "" {
		t.Error("a second first administrator was made")
	}
	for _, action := range []access.Action{access.ProjectCreate, access.InstanceAdmin, access.ChartPush, access.ChartYank, access.AuditRead, access.LogRead, access.TokenWrite} {
		d, err := r.CanI(r.ctx, r.admin, "", action, "demo", "web", false)
		r.ok(err)
		if !d.Allowed {
			t.Errorf("the first administrator may not %s: %+v", action, d)
		}
	}
	_, err = r.CanI(r.ctx, r.admin, "", "release.overwrite", "demo", "", false)
	r.refused(err, problem.Invalid, "action")
	list, err := r.Tokens(r.ctx, r.admin)
	r.ok(err)
	if len(list) != 1 || list[0].Account != "admin" {
		t.Errorf("tokens %+v", list)
	}
}

// token makes a token.
func (r *registry) token(g access.Grant, life time.Duration) (string, release.Token) {
	r.Helper()
	secret, tok, err := r.CreateToken(r.ctx, r.admin, release.TokenRequest{Name: "t", Grants: []access.Grant{g}, Expires: r.now.Add(life)})
	r.ok(err)
	return secret, tok
}

func TestTokens(t *testing.T) {
	r := newRegistry(t)
	maintainer := access.Grant{Role: access.RoleMaintainer, Project: "demo"}
	secret, tok := r.token(maintainer, time.Hour)
	r.as(secret)
	// Every wrong secret is answered alike.
	for _, wrong := range []string{secret[:len(secret)-1], secret + "x", "x", "", access.BearerPrefix + "x.y", strings.ToUpper(secret)} {
		if _, err := r.Authenticate(r.ctx, wrong); problem.KindOf(err) != problem.Unauthenticated {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	p, err := r.AuthenticateBasic(r.ctx, "anything", secret)
	r.ok(err)
	if p.TokenID != tok.ID {
		t.Errorf("principal %+v", p)
	}

	// A revocation takes effect at once, in spite of the cache.
	r.ok(r.RevokeToken(r.ctx, r.admin, tok.ID))
	_, err = r.Authenticate(r.ctx, secret)
	r.refused(err, problem.Unauthenticated, "token-ended")
	r.refused(r.RevokeToken(r.ctx, r.admin, tok.ID), problem.NotFound, "valid token")

	// It ends with its time, also what is remembered of it.
	secret, _ = r.token(maintainer, time.Hour)
	r.as(secret)
	r.now = r.now.Add(time.Hour)
	_, err = r.Authenticate(r.ctx, secret)
	if err == nil { // remembered: then the principal itself has ended
		c := r.as(secret)
		_, err = r.PushArchive(r.ctx, c, "demo", bytes.NewReader(nil), nil, release.PushOptions{})
	}
	if problem.KindOf(err) != problem.Unauthenticated {
		t.Errorf("an expired token: %v", err)
	}

	for _, bad := range []release.TokenRequest{
		{Grants: []access.Grant{maintainer}, Expires: r.now},
		{Grants: []access.Grant{maintainer}},
		{Grants: []access.Grant{maintainer}, Expires: r.now.Add(release.MaxTokenLife + time.Second)},
		{Expires: r.now.Add(time.Hour)},
		{Grants: make([]access.Grant, 51), Expires: r.now.Add(time.Hour)},
		{Grants: []access.Grant{{Role: "king", Project: "demo"}}, Expires: r.now.Add(time.Hour)},
		{Grants: []access.Grant{maintainer}, Expires: r.now.Add(time.Hour), Name: "a\nb"},
		{Grants: []access.Grant{maintainer}, Expires: r.now.Add(time.Hour), Name: "a\x00"},
		{Grants: []access.Grant{maintainer}, Expires: r.now.Add(time.Hour), Name: strings.Repeat("a", 101)},
	} {
		if _, _, err := r.CreateToken(r.ctx, r.admin, bad); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	_, _, err = r.CreateToken(r.ctx, anybody, release.TokenRequest{Grants: []access.Grant{maintainer}, Expires: r.now.Add(time.Hour)})
	r.refused(err, problem.Unauthenticated, "sign-in-required")
	_, _, err = r.CreateToken(r.ctx, r.admin, release.TokenRequest{Account: "nobody", Grants: []access.Grant{maintainer}, Expires: r.now.Add(time.Hour)})
	r.refused(err, problem.NotFound, "account")
}

// TestTokensEscalate tries to get more out of a token than its account has.
func TestTokensEscalate(t *testing.T) {
	r := newRegistry(t)
	ci := r.robot("ci", access.Grant{Role: access.RolePublisher, Project: "demo", Chart: "web"})
	for _, g := range []access.Grant{
		{Role: access.RolePublisher, Project: "*"}, {Role: access.RolePublisher, Project: "demo"}, {Role: access.RoleMaintainer, Project: "demo", Chart: "web"},
		{Role: access.RoleInstanceAdmin, Project: "*"},
	} {
		if _, _, err := r.CreateToken(r.ctx, ci, release.TokenRequest{Grants: []access.Grant{g}, Expires: r.now.Add(time.Minute)}); err == nil {
			t.Errorf("a publisher made a token with %+v", g)
		}
		if _, err := r.AddGrant(r.ctx, ci, "ci", g); err == nil {
			t.Errorf("a publisher gave itself %+v", g)
		}
	}
	if _, err := r.CreateAccount(r.ctx, ci, "friend", release.KindUser, "long enough password"); problem.KindOf(err) != problem.Denied {
		t.Errorf("a publisher made an account: %v", err)
	}
	r.refused(r.DisableAccount(r.ctx, ci, "admin"), problem.Denied, "access-denied")
	r.refused(r.SetPassword(r.ctx, ci, "admin", "a new long password"), problem.Denied, "access-denied")
	_, err := r.Accounts(r.ctx, ci)
	r.refused(err, problem.Denied, "access-denied")
	admins, err := r.Tokens(r.ctx, r.admin)
	r.ok(err)
	for _, tok := range admins {
		if tok.Account == "admin" {
			r.refused(r.RevokeToken(r.ctx, ci, tok.ID), problem.Denied, "access-denied")
		}
	}
	if _, err := r.PushArchive(r.ctx, ci, "demo", bytes.NewReader(charttest.Build(t, "db", "1.0.0", nil)), nil, release.PushOptions{}); problem.KindOf(err) != problem.Denied {
		t.Errorf("pushed another chart: %v", err)
	}
	_, err = r.PushArchive(r.ctx, ci, "demo", bytes.NewReader(charttest.Build(t, "web", "1.0.0", nil)), nil, release.PushOptions{})
	r.ok(err)

	// What is taken from the account is gone from its tokens, at once.
	grants, err := r.Grants(r.ctx, r.admin, "ci")
	r.ok(err)
	r.ok(r.RevokeGrant(r.ctx, r.admin, grants[0].Grant.ID))
	r.refused(r.RevokeGrant(r.ctx, r.admin, grants[0].Grant.ID), problem.NotFound, "grant")
}

func TestAccounts(t *testing.T) {
	r := newRegistry(t)
	const password = "correct horse battery staple"
	_, err := r.CreateAccount(r.ctx, r.admin, "alice", release.KindUser, password)
	r.ok(err)
	for _, bad := range []struct{ name, kind, rule string }{{"alice", release.KindUser, "account-exists"}, {"bob", "king", "account-kind"}} {
		_, err := r.CreateAccount(r.ctx, r.admin, bad.name, bad.kind, password)
		if ruleOf(err) != bad.rule {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	for _, name := range []string{"", "a b", "A\x00", strings.Repeat("a", 300)} {
		if _, err := r.CreateAccount(r.ctx, r.admin, name, release.KindUser, password); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%q: %v", name, err)
		}
	}
	p, err := r.Login(r.ctx, "alice", password)
	r.ok(err)
	alice := release.Caller{Principal: p, Door: audit.DoorWeb}
	for user, wrong := range map[string]string{"alice": "wrong", "nobody": password, "admin": "", "": ""} {
		_, err := r.AuthenticateBasic(r.ctx, user, wrong)
		r.refused(err, problem.Unauthenticated, "login")
	}
	r.ok(r.SetPassword(r.ctx, alice, "alice", "another long password"))
	_, err = r.Login(r.ctx, "alice", password)
	r.refused(err, problem.Unauthenticated, "login")
	session, expires, err := r.MintSession(r.ctx, alice)
	r.ok(err)
	if !expires.Equal(r.now.Add(release.SessionLife)) {
		t.Errorf("a session of %s", expires.Sub(r.now))
	}
	if got := r.as(session); got.Principal.Name != "alice" {
		t.Errorf("the session is of %s", got.Principal.Name)
	}
	grant, err := r.AddGrant(r.ctx, r.admin, "alice", access.Grant{Role: access.RolePublisher, Project: "demo"})
	r.ok(err)
	_, tok, err := r.CreateToken(r.ctx, r.as(session), release.TokenRequest{Grants: []access.Grant{{Role: access.RolePublisher, Project: "demo"}}, Expires: r.now.Add(time.Hour)})
	r.ok(err)
	if tok.Account != "alice" || !tok.Personal {
		t.Errorf("token %+v", tok)
	}
	secret, _, err := r.CreateToken(r.ctx, r.as(session), release.TokenRequest{Grants: []access.Grant{{Role: access.RolePublisher, Project: "demo"}}, Expires: r.now.Add(time.Hour)})
	r.ok(err)
	r.ok(r.CanPush(r.ctx, r.as(secret), "demo"))
	r.ok(r.RevokeGrant(r.ctx, r.admin, grant.ID))
	if err := r.CanPush(r.ctx, r.as(secret), "demo"); err == nil {
		t.Error("a personal token can do more than its account")
	}
	r.ok(r.DisableAccount(r.ctx, r.admin, "alice"))
	for what, err := range map[string]error{
		"password": func() error { _, err := r.Login(r.ctx, "alice", "another long password"); return err }(),
		"session":  func() error { _, err := r.Authenticate(r.ctx, session); return err }(),
		"token":    func() error { _, err := r.Authenticate(r.ctx, secret); return err }(),
	} {
		if problem.KindOf(err) != problem.Unauthenticated {
			t.Errorf("the %s of a disabled account: %v", what, err)
		}
	}
	_, err = r.CreateAccount(r.ctx, r.admin, "alice", release.KindUser, password)
	r.refused(err, problem.Conflict, "account-exists")
	r.now = r.now.Add(release.SessionLife)
	_, _, err = r.MintSession(r.ctx, anybody)
	r.refused(err, problem.Unauthenticated, "credential")
}

// TestBearer walks the token flow of OCI registries.
func TestBearer(t *testing.T) {
	r := newRegistry(t)
	r.project("open", release.ProjectOptions{Public: true})
	r.released("demo", "web", "1.0.0")
	r.released("demo", "db", "1.0.0")
	r.released("open", "web", "1.0.0")
	scope := func(text string) []access.Scope {
		s, err := access.ParseScope(text)
		r.ok(err)
		return s
	}
	mint := func(c release.Caller, text string) (release.Caller, string) {
		token, granted, expires, err := r.MintBearer(r.ctx, c, scope(text), "whatever")
		r.ok(err)
		if !expires.After(r.now) {
			t.Fatalf("expires %s", expires)
		}
		var words []string
		for _, g := range granted {
			words = append(words, g.String())
		}
		return through(r.as(token), audit.DoorOCI), strings.Join(words, " ")
	}
	pull := func(c release.Caller, repo string) error {
		_, err := r.GetManifest(r.ctx, c, repo, "1.0.0")
		return err
	}
	ci := r.robot("ci", access.Grant{Role: access.RolePublisher, Project: "demo", Chart: "web"})

	web, granted := mint(ci, "repository:demo/web:pull,push,delete repository:demo/db:pull,push repository:none/x:pull")
	if granted != "repository:demo/web:pull,push repository:demo/db:pull" {
		t.Errorf("granted %s", granted)
	}
	r.ok(pull(web, "demo/web"))
	r.ok(pull(web, "demo/db"))
	r.ok(pull(web, "open/web"))
	if err := r.PutBlob(r.ctx, web, "demo/web", bytes.NewReader([]byte("x")), sum([]byte("x"))); err != nil {
		t.Error(err)
	}
	only, _ := mint(r.admin, "repository:demo/web:pull")
	r.refused(pull(only, "demo/db"), problem.Denied, "scope")
	r.refused(r.PutBlob(r.ctx, only, "demo/web", bytes.NewReader(nil), sum(nil)), problem.Denied, "scope")
	_, err := r.Yank(r.ctx, only, "demo", "web", "1.0.0", "broken", "")
	r.refused(err, problem.Denied, "scope")
	_, err = r.CreateProject(r.ctx, only, "new", release.ProjectOptions{})
	r.refused(err, problem.Denied, "scope")
	_, _, err = r.Catalog(r.ctx, only, "", 10)
	r.refused(err, problem.Denied, "scope")
	list, _ := mint(r.admin, "registry:catalog:*")
	names, _, err := r.Catalog(r.ctx, list, "", 10)
	r.ok(err)
	if len(names) != 3 {
		t.Errorf("catalogue %v", names)
	}

	stranger, granted := mint(anybody, "repository:demo/web:pull repository:open/web:pull,push")
	if granted != "repository:open/web:pull" {
		t.Errorf("granted %s", granted)
	}
	r.ok(pull(stranger, "open/web"))
	if err := pull(stranger, "demo/web"); problem.KindOf(err) != problem.Unauthenticated {
		t.Errorf("a stranger pulls: %v", err)
	}

	// It ends with what it was made from.
	secret, tok := r.token(access.Grant{Role: access.RoleMaintainer, Project: "demo"}, time.Hour)
	token, _, _, err := r.MintBearer(r.ctx, r.as(secret), scope("repository:demo/web:pull"), "")
	r.ok(err)
	r.as(token)
	r.ok(r.RevokeToken(r.ctx, r.admin, tok.ID))
	if _, err := r.Authenticate(r.ctx, token); problem.KindOf(err) != problem.Unauthenticated {
		t.Errorf("a bearer of a revoked token: %v", err)
	}
	token, _, expires, err := r.MintBearer(r.ctx, r.admin, scope("repository:demo/web:pull"), "")
	r.ok(err)
	r.now = expires
	_, err = r.Authenticate(r.ctx, token)
	r.refused(err, problem.Unauthenticated, "bearer-expired")
}
