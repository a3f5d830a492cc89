package release

import (
	"context"
	"crypto/subtle"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// principalLife is how long an authenticated token is remembered: a
// revocation takes effect at once in the process that made it, and within this
// time in its replicas.
const principalLife = 2 * time.Second

// principalCache spares the look-ups of a token that is used many times a
// second. It is bounded by forgetting everything.
type principalCache struct {
	mu    sync.Mutex
	known map[[32]byte]knownPrincipal // hash of a token's secret
	epoch int                         // counts forgets, so that nobody is remembered who was read before one
}

type knownPrincipal struct {
	principal access.Principal
	until     time.Time
}

const maxPrincipals = 10_000

// get also returns the epoch that a put has to name.
func (pc *principalCache) get(hash [32]byte, now time.Time) (p access.Principal, epoch int, ok bool) {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	k, ok := pc.known[hash]
	return k.principal, pc.epoch, ok && now.Before(k.until)
}

func (pc *principalCache) put(hash [32]byte, p access.Principal, now time.Time, epoch int) {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	if epoch != pc.epoch {
		return
	}
	if pc.known == nil || len(pc.known) >= maxPrincipals {
		pc.known = map[[32]byte]knownPrincipal{}
	}
	pc.known[hash] = knownPrincipal{p, now.Add(principalLife)}
}

func (pc *principalCache) forget() {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	pc.known = nil
	pc.epoch++
}

var errCredential = problem.New(problem.Unauthenticated, "credential", "the credential is not valid here").
	Suggest("sign in again, or ask for a new token")

// Authenticate turns a token, or a short-lived bearer or session credential,
// into whom it stands for.
func (s *Service) Authenticate(ctx context.Context, secret string) (access.Principal, error) {
	if strings.HasPrefix(secret, access.BearerPrefix) {
		return s.authenticateBearer(ctx, secret)
	}
	id, hash, err := access.ParseToken(secret)
	if err != nil {
		return access.Principal{}, err
	}
	now := s.now()
	p, epoch, ok := s.principals.get(hash, now)
	if ok {
		s.use.token(id, netip.Prefix{}, now)
		return p, nil
	}
	cred, err := s.store.TokenByID(ctx, id)
	if err != nil {
		if problem.KindOf(err) == problem.NotFound {
			return access.Principal{}, errCredential
		}
		return access.Principal{}, err
	}
	if subtle.ConstantTimeCompare(cred.Hash[:], hash[:]) != 1 {
		return access.Principal{}, errCredential
	}
	if p, err = s.tokenPrincipal(ctx, &cred); err != nil {
		return access.Principal{}, err
	}
	s.principals.put(hash, p, now, epoch)
	s.use.token(id, netip.Prefix{}, now)
	return p, nil
}

// tokenPrincipal is whom a token stands for: its own grants, within what its
// account may do now.
func (s *Service) tokenPrincipal(ctx context.Context, cred *Credential) (access.Principal, error) {
	if !cred.Revoked.IsZero() || !s.now().Before(cred.Expires) || cred.Personal && cred.Account.Disabled {
		what := "expired at " + when(cred.Expires)
		if !cred.Revoked.IsZero() {
			what = "was revoked at " + when(cred.Revoked)
		} else if cred.Account.Disabled {
			what = "belongs to a disabled account"
		}
		return access.Principal{}, problem.New(problem.Unauthenticated, "token-ended", "the token %s", what).
			Suggest("ask for a new one: chartkeep token create --project NAME --role ROLE")
	}
	if pl := cred.Pipeline; pl != nil {
		return access.Principal{
			ID: pl.Publisher, Name: "pipeline " + pl.Name, Kind: access.KindToken, Issuer: pl.Issuer, Subject: pl.Subject, Source: pl.Source,
			TokenID: cred.TokenID, Expires: cred.Expires, Grants: cred.Grants,
		}, nil
	}
	if !cred.Personal {
		name := cred.Name
		if name == "" {
			name = cred.TokenID
		}
		return access.Principal{
			ID: cred.TokenID, Name: "token " + name, Kind: access.KindToken,
			TokenID: cred.TokenID, Expires: cred.Expires, Grants: cred.Grants,
		}, nil
	}
	account, err := s.accountPrincipal(ctx, cred.Account)
	if err != nil {
		return access.Principal{}, err
	}
	return access.Principal{
		ID: cred.Account.ID, Name: cred.Account.Name, Kind: account.Kind,
		TokenID: cred.TokenID, Expires: cred.Expires, Grants: cred.Grants, Of: &account,
	}, nil
}

func (s *Service) accountPrincipal(ctx context.Context, a Account) (access.Principal, error) {
	grants, err := s.store.GrantsOf(ctx, a.ID)
	if err != nil {
		return access.Principal{}, err
	}
	p := access.Principal{ID: a.ID, Name: a.Name, Kind: access.KindUser}
	if a.Kind == KindRobot {
		p.Kind = access.KindToken
	}
	for _, g := range grants {
		p.Grants = append(p.Grants, g.Grant)
	}
	return p, nil
}

// The kinds of accounts.
const (
	KindUser  = "user"  // a person
	KindRobot = "robot" // a pipeline or another machine
)

// Login checks an account's name and password. It costs tens of milliseconds
// and some memory by design; the door bounds how many run at once.
func (s *Service) Login(ctx context.Context, name, password string) (access.Principal, error) {
	a, hash, err := s.store.AccountByName(ctx, name)
	if err != nil && problem.KindOf(err) != problem.NotFound {
		return access.Principal{}, err
	}
	// Without a hash this takes as long as with one, so that the time of the
	// answer does not tell which names exist.
	ok, err := access.VerifyPassword(hash, password)
	if err != nil {
		return access.Principal{}, err
	}
	if !ok || a.Disabled {
		if a.ID != "" {
			s.use.loginFailed(a.ID, s.now())
		}
		return access.Principal{}, problem.New(problem.Unauthenticated, "login", "the account and the password do not belong together")
	}
	return s.accountPrincipal(ctx, a)
}

// AuthenticateBasic takes a token as password with any user name, or an
// account's name and password.
func (s *Service) AuthenticateBasic(ctx context.Context, user, password string) (access.Principal, error) {
	if strings.HasPrefix(password, access.TokenPrefix) || strings.HasPrefix(password, access.BearerPrefix) {
		return s.Authenticate(ctx, password)
	}
	return s.Login(ctx, user, password)
}

// SessionLife is how long somebody stays signed in to the web UI.
const SessionLife = 12 * time.Hour

func (s *Service) authenticateBearer(ctx context.Context, secret string) (access.Principal, error) {
	b, err := access.OpenBearer(s.secret, secret, s.name, s.now())
	if err != nil {
		return access.Principal{}, err
	}
	var p access.Principal
	switch {
	case b.TokenID != "":
		cred, err := s.store.TokenByID(ctx, b.TokenID)
		if err != nil {
			return p, errCredential
		}
		if p, err = s.tokenPrincipal(ctx, &cred); err != nil {
			return p, err
		}
	case b.PrincipalID != "":
		a, err := s.store.AccountByID(ctx, b.PrincipalID)
		if err != nil || a.Disabled {
			return p, errCredential
		}
		if p, err = s.accountPrincipal(ctx, a); err != nil {
			return p, err
		}
	default:
		p = access.Anonymous()
	}
	if b.Scope != nil {
		p.Scope = b.Scope
	}
	return p, nil
}

// MintSession makes the credential of a signed-in browser.
func (s *Service) MintSession(ctx context.Context, c Caller) (string, time.Time, error) {
	id, _ := actor(c)
	if id == "" {
		return "", time.Time{}, errCredential
	}
	b := access.Bearer{PrincipalID: id, TokenID: c.Principal.TokenID, Audience: s.name, Expires: s.now().Add(SessionLife)}
	token, err := access.Mint(s.secret, b)
	if err != nil {
		return "", time.Time{}, err
	}
	ev := s.event(c)
	ev.Name, ev.Outcome = audit.LoginOK, audit.Outcome{Result: audit.Allowed}
	// Whoever has to find out why a database is read-only needs to get in; a store
	// of that kind keeps the event for later, or refuses.
	if err := s.store.Record(ctx, s.now(), ev); err != nil {
		return "", time.Time{}, err
	}
	return token, b.Expires, nil
}

// CreateAccount makes an account. A robot has no password and works with
// tokens alone.
func (s *Service) CreateAccount(ctx context.Context, c Caller, name, kind, password string) (Account, error) {
	if err := s.AllowInstance(ctx, c, access.InstanceAdmin); err != nil {
		return Account{}, err
	}
	if err := access.CheckAccountName(name); err != nil {
		return Account{}, err
	}
	if kind != KindUser && kind != KindRobot {
		return Account{}, problem.New(problem.Invalid, "account-kind", "there is no kind of account %.40q", kind).With("kinds", "%s, %s", KindUser, KindRobot)
	}
	hash, err := s.hashPassword(password)
	if err != nil {
		return Account{}, err
	}
	id, err := access.NewID("usr", s.random)
	if err != nil {
		return Account{}, err
	}
	a := Account{ID: id, Name: name, Kind: kind, Created: s.now()}
	ev := s.event(c)
	ev.Name, ev.Action, ev.Detail = audit.AccountCreated, access.InstanceAdmin, map[string]string{"account": id}
	return a, s.store.CreateAccount(ctx, a, hash, ev, s.now())
}

func (s *Service) hashPassword(password string) (string, error) {
	if password == "" {
		return "", nil
	}
	salt := make([]byte, 16)
	if _, err := s.random.Read(salt); err != nil {
		return "", err
	}
	return access.HashPassword(password, salt)
}

// SetPassword changes an account's password: an administrator anybody's, a
// person its own.
func (s *Service) SetPassword(ctx context.Context, c Caller, name, password string) error {
	a, _, err := s.store.AccountByName(ctx, name)
	if self, _ := actor(c); err != nil || self != a.ID || c.Principal.Of != nil {
		if err := s.AllowInstance(ctx, c, access.InstanceAdmin); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	hash, err := s.hashPassword(password)
	if err != nil {
		return err
	}
	ev := s.event(c)
	ev.Name, ev.Detail = audit.PasswordChanged, map[string]string{"account": a.ID}
	return s.store.SetPassword(ctx, a.ID, hash, ev, s.now())
}

// DisableAccount ends an account: neither its password nor its tokens work
// from now on. Its name stays with it.
func (s *Service) DisableAccount(ctx context.Context, c Caller, name string) error {
	if err := s.AllowInstance(ctx, c, access.InstanceAdmin); err != nil {
		return err
	}
	a, _, err := s.store.AccountByName(ctx, name)
	if err != nil {
		return err
	}
	defer s.principals.forget()
	ev := s.event(c)
	ev.Name, ev.Action, ev.Detail = audit.AccountRemoved, access.InstanceAdmin, map[string]string{"account": a.ID}
	return s.store.SetAccountDisabled(ctx, a.ID, true, ev, s.now())
}

// Accounts lists all accounts, to administrators.
func (s *Service) Accounts(ctx context.Context, c Caller) ([]Account, error) {
	if err := s.AllowInstance(ctx, c, access.InstanceAdmin); err != nil {
		return nil, err
	}
	return s.store.Accounts(ctx)
}

// AddGrant gives a grant to an account, within what the caller may give.
func (s *Service) AddGrant(ctx context.Context, c Caller, account string, g access.Grant) (access.Grant, error) {
	if err := access.Within(c.Principal, g, s.now()); err != nil {
		return g, err
	}
	holder, err := s.holder(ctx, account)
	if err != nil {
		return g, err
	}
	if g.ID, err = access.NewID("grn", s.random); err != nil {
		return g, err
	}
	defer s.principals.forget()
	ev := s.event(c)
	ev.Name, ev.Action, ev.Resource = audit.RoleGranted, access.MemberWrite, audit.Resource{Project: exactProject(g.Project)}
	ev.Detail = map[string]string{"account": holder, audit.DetailRole: string(g.Role), audit.DetailGrant: g.ID, "projects": g.Project}
	return g, s.store.AddGrant(ctx, holder, g, ev, s.now())
}

func exactProject(pattern string) string {
	if strings.Contains(pattern, "*") {
		return ""
	}
	return pattern
}

// RevokeGrant takes a grant away. Whoever may give it may take it.
func (s *Service) RevokeGrant(ctx context.Context, c Caller, id string) error {
	all, err := s.store.GrantsOf(ctx, "")
	if err != nil {
		return err
	}
	for _, ag := range all {
		if ag.Grant.ID != id {
			continue
		}
		g := ag.Grant
		g.Expires = s.now().Add(time.Minute) // taking away is never giving for long
		if err := access.Within(c.Principal, g, s.now()); err != nil {
			return err
		}
		defer s.principals.forget()
		ev := s.event(c)
		ev.Name, ev.Action, ev.Resource = audit.RoleRevoked, access.MemberWrite, audit.Resource{Project: exactProject(g.Project)}
		ev.Detail = map[string]string{"holder": ag.Account, audit.DetailRole: string(g.Role), audit.DetailGrant: id, "projects": g.Project}
		return s.store.RevokeGrant(ctx, id, ev, s.now())
	}
	return problem.New(problem.NotFound, "grant", "there is no grant %.60s", id).Suggest("chartkeep grant list")
}

// Grants lists grants: everybody's to administrators, else one's own.
func (s *Service) Grants(ctx context.Context, c Caller, account string) ([]AccountGrant, error) {
	id, name := actor(c)
	if account != name {
		if err := s.AllowInstance(ctx, c, access.InstanceAdmin); err != nil {
			return nil, err
		}
		id = ""
		if account != "" {
			a, _, err := s.store.AccountByName(ctx, account)
			if err != nil {
				return nil, err
			}
			id = a.ID
		}
	}
	return s.store.GrantsOf(ctx, id)
}

// maxTokenName bounds what a token is called, in bytes.
const maxTokenName = 100

// CreateToken makes a token. Its secret is told once, here. Where the caller's
// own grants cover it, it is personal, and bounded by what the account may do
// at every use. Else, whoever may give its grants to others makes a token of
// the projects, which stands for nobody. A token for another account is
// personal to that account.
func (s *Service) CreateToken(ctx context.Context, c Caller, req TokenRequest) (string, Token, error) {
	now := s.now()
	ownID, ownName := actor(c)
	if ownID == "" {
		return "", Token{}, access.Refuse(c.Principal, access.Request{Action: access.TokenWrite}, now)
	}
	if !req.Expires.After(now) || req.Expires.Sub(now) > MaxTokenLife {
		return "", Token{}, problem.New(problem.Invalid, "token-expiry", "a token has to expire within %d days from now", int(MaxTokenLife.Hours()/24)).
			Suggest("--expires 90d")
	}
	if len(req.Grants) == 0 || len(req.Grants) > 50 {
		return "", Token{}, problem.New(problem.Invalid, "token-grants", "a token has between 1 and 50 grants, and %d were asked for", len(req.Grants)).
			Suggest("--project NAME --role publisher")
	}
	if len(req.Name) > maxTokenName || checkReason(req.Name) != nil || strings.ContainsAny(req.Name, "\n\t") {
		return "", Token{}, problem.New(problem.Invalid, "token-name", "%.120q is not a name for a token", req.Name).
			Suggest("use one line of at most %d bytes, such as ci-publish", maxTokenName)
	}
	t := Token{Name: req.Name, Account: ownName, AccountID: ownID, Created: now, Expires: req.Expires}
	own := req.Account == "" || req.Account == ownName
	if !own {
		a, _, err := s.store.AccountByName(ctx, req.Account)
		if err != nil {
			return "", t, err
		}
		t.Account, t.AccountID = a.Name, a.ID
	}
	t.Personal = true
	for _, g := range req.Grants {
		t.Personal = t.Personal && (!own || access.WithinOwn(c.Principal, g, now) == nil)
	}
	for _, g := range req.Grants {
		err := access.Within(c.Principal, g, now)
		if own && err != nil {
			err = access.WithinOwn(c.Principal, g, now)
		}
		if err != nil {
			return "", t, err
		}
		if g.ID, err = access.NewID("grn", s.random); err != nil {
			return "", t, err
		}
		t.Grants = append(t.Grants, g)
	}
	secret, id, hash, err := access.NewToken(s.random)
	if err != nil {
		return "", t, err
	}
	t.ID = id
	ev := s.event(c)
	ev.Name, ev.Action = audit.TokenCreated, access.TokenWrite
	ev.Resource = audit.Resource{Project: exactProject(t.Grants[0].Project)}
	ev.Detail = map[string]string{"token": id, "account": t.AccountID, audit.DetailRole: string(t.Grants[0].Role), "projects": t.Grants[0].Project}
	return secret, t, s.store.CreateToken(ctx, t, hash, ev, now)
}

// Tokens lists the caller's own tokens, or everybody's to administrators.
func (s *Service) Tokens(ctx context.Context, c Caller) ([]Token, error) {
	id, _ := actor(c)
	if id == "" {
		return nil, access.Refuse(c.Principal, access.Request{Action: access.TokenWrite}, s.now())
	}
	if access.Allowed(c.Principal, access.Request{Action: access.InstanceAdmin}, s.now()) {
		id = ""
	}
	return s.store.Tokens(ctx, id)
}

// RevokeToken ends a token: one's own, the very one that asks, or anybody's for
// administrators.
func (s *Service) RevokeToken(ctx context.Context, c Caller, id string) error {
	cred, err := s.store.TokenByID(ctx, id)
	self, _ := actor(c)
	// A token may always end itself: a job does so when it is done.
	if err != nil || self == "" || cred.Account.ID != self && c.Principal.TokenID != id {
		if err := s.AllowInstance(ctx, c, access.InstanceAdmin); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	defer s.principals.forget()
	ev := s.event(c)
	ev.Name, ev.Action, ev.Detail = audit.TokenRevoked, access.TokenWrite, map[string]string{"token": id, "account": cred.Account.ID}
	return s.store.RevokeToken(ctx, id, ev, s.now())
}

// CanI explains what the caller, or an account, may do.
func (s *Service) CanI(ctx context.Context, c Caller, account string, action access.Action, project, chartName string, prerelease bool) (access.Decision, error) {
	if _, ok := action.Info(); !ok {
		return access.Decision{}, problem.New(problem.Invalid, "action", "there is no action %.60q", action).Suggest("chartkeep help access")
	}
	p := c.Principal
	if _, name := actor(c); account != "" && account != name {
		if err := s.AllowInstance(ctx, c, access.InstanceAdmin); err != nil {
			return access.Decision{}, err
		}
		a, _, err := s.store.AccountByName(ctx, account)
		if err != nil {
			return access.Decision{}, err
		}
		if p, err = s.accountPrincipal(ctx, a); err != nil {
			return access.Decision{}, err
		}
	}
	req := access.Request{Action: action, Project: project, Chart: chartName, Prerelease: prerelease}
	if project != "" {
		if pr, rest, err := s.find(ctx, c, project); err == nil && rest == "" {
			req.ProjectPublic = pr.Public
		}
	}
	return access.Decide(p, req, s.now()), nil
}

// WhoAmI is the caller's principal.
func (s *Service) WhoAmI(c Caller) access.Principal { return c.Principal }

// EnsureAdmin makes the first account and its token when there is no account
// yet. secret is "" when there was one. It asks for no right: it is for the
// start of the server alone.
func (s *Service) EnsureAdmin(ctx context.Context) (secret string, err error) {
	accounts, err := s.store.Accounts(ctx)
	if err != nil || len(accounts) > 0 {
		return "", err
	}
	c := Caller{Principal: access.Principal{Kind: access.KindSystem, ID: "server", Name: "server", Grants: []access.Grant{
		{Role: access.RoleInstanceAdmin, Project: "*"}, {Role: access.RoleProjectOwner, Project: "*"}, {Role: access.RoleMaintainer, Project: "*"},
	}}, Door: audit.DoorServer}
	a, err := s.CreateAccount(ctx, c, "admin", KindUser, "")
	if err != nil {
		return "", err
	}
	var grants []access.Grant
	for _, role := range []access.Role{access.RoleInstanceAdmin, access.RoleProjectOwner, access.RoleMaintainer, access.RoleAuditor} {
		g, err := s.AddGrant(ctx, c, a.Name, access.Grant{Role: role, Project: "*"})
		if err != nil {
			return "", err
		}
		grants = append(grants, g)
	}
	secret, _, err = s.CreateToken(ctx, c, TokenRequest{Name: "first", Account: a.Name, Grants: grants, Expires: s.now().Add(MaxTokenLife)})
	return secret, err
}
