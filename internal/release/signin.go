package release

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// GroupPrefix begins the holder of a grant that is for a group of the identity
// provider.
const GroupPrefix = "group:"

// GroupLife is how long groups are believed after a sign-in. They are read again
// at each; whoever does not come for so long loses what its groups gave.
const GroupLife = 30 * 24 * time.Hour

// Bounds of what is taken from an identity provider.
const (
	maxGroups    = 500
	maxGroupName = 255 // bytes
)

// SignInConfig says how people sign in through an identity provider.
type SignInConfig struct {
	Provider IdentityProvider // nil: passwords and tokens alone
	Name     string           // of the provider, on the button
	Issuer   string
	Redirect string // URL of this server that the browser is sent back to
	// Create makes an account at the first sign-in. Else an administrator links
	// one.
	Create bool
	// Of AllowedGroups a person must be in one, and of AllowedDomains its
	// address in one, as the provider has verified it. Empty allows everybody.
	AllowedGroups, AllowedDomains []string
}

// SignInName is what the identity provider is called, "" where there is none.
func (s *Service) SignInName() string {
	if s.signIn.Provider == nil {
		return ""
	}
	return s.signIn.Name
}

// flow is one sign-in on its way. The browser keeps it, with our signature.
type flow struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"`
	Next     string `json:"to"`
	Expires  int64  `json:"exp"`
}

// SignInLife is how long a sign-in may take, from the button to the return.
const SignInLife = 10 * time.Minute

const maxFlow = 4096 // bytes of a sealed flow

// BeginSignIn starts to sign somebody in through the identity provider: the
// browser keeps the flow and goes to the URL. next is handed back at the end.
func (s *Service) BeginSignIn(ctx context.Context, next string) (url, sealed string, err error) {
	if s.signIn.Provider == nil {
		return "", "", errNoProvider
	}
	f := flow{Next: next, Expires: s.now().Add(SignInLife).Unix()}
	for _, part := range []*string{&f.State, &f.Nonce, &f.Verifier} {
		var b [32]byte
		if _, err := io.ReadFull(s.random, b[:]); err != nil {
			return "", "", fmt.Errorf("read randomness for a sign-in: %w", err)
		}
		*part = base64.RawURLEncoding.EncodeToString(b[:])
	}
	if sealed, err = s.sealFlow(&f); err != nil {
		return "", "", err
	}
	url, err = s.signIn.Provider.Begin(ctx, f.State, f.Nonce, f.Verifier, s.signIn.Redirect)
	return url, sealed, err
}

var errNoProvider = problem.New(problem.NotFound, "sign-in-provider", "people sign in here with a token or a password").
	Suggest("an operator sets oidc-issuer, oidc-client-id and oidc-client-secret")

func (s *Service) sealFlow(f *flow) (string, error) {
	b, err := json.Marshal(f)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(b)
	sealed := text + "." + base64.RawURLEncoding.EncodeToString(s.flowMAC(text))
	if len(sealed) > maxFlow {
		return "", problem.New(problem.Invalid, "sign-in", "the page to go to afterwards has too long a name")
	}
	return sealed, nil
}

func (s *Service) flowMAC(text string) []byte {
	h := hmac.New(sha256.New, s.secret)
	h.Write([]byte("sign-in flow\x00" + text))
	return h.Sum(nil)
}

// openFlow reads what sealFlow made, as long as it lasts.
func (s *Service) openFlow(sealed string) (f flow, ok bool) {
	text, mac, found := strings.Cut(sealed, ".")
	got, err := base64.RawURLEncoding.Strict().DecodeString(mac)
	if len(sealed) > maxFlow || !found || err != nil || !hmac.Equal(got, s.flowMAC(text)) {
		return f, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || json.Unmarshal(b, &f) != nil {
		return f, false
	}
	return f, s.now().Unix() < f.Expires
}

// SignInAnswer is what the browser brought back from the identity provider: the
// parameters of RFC 6749 §4.1.2 and RFC 9207.
type SignInAnswer struct {
	Code, State, Issuer, Error string
}

// FinishSignIn ends what BeginSignIn began and returns who signed in, and where
// to go. sealed is the flow that this very browser kept: an answer that belongs
// to another flow is refused, whoever's it is. Problems are unauthenticated or
// denied for the person, unavailable for the provider.
func (s *Service) FinishSignIn(ctx context.Context, c Caller, sealed string, a SignInAnswer) (p access.Principal, next string, err error) {
	if s.signIn.Provider == nil {
		return p, "", errNoProvider
	}
	f, ok := s.openFlow(sealed)
	if !ok || a.State == "" || !hmac.Equal([]byte(a.State), []byte(f.State)) {
		return p, "", problem.New(problem.Unauthenticated, "sign-in-state", "this answer of the identity provider belongs to no sign-in of this browser, or to one that took too long").
			Suggest("sign in again")
	}
	if a.Error != "" || a.Code == "" {
		return p, f.Next, problem.New(problem.Unauthenticated, "sign-in-declined", "%s did not sign you in", s.signIn.Name).
			With("reason", "%.60q", a.Error).Suggest("sign in again")
	}
	claims, err := s.signIn.Provider.Finish(ctx, a.Code, a.Issuer, f.Nonce, f.Verifier, s.signIn.Redirect)
	if err != nil {
		return p, f.Next, err
	}
	p, err = s.signedIn(ctx, c, &claims)
	return p, f.Next, err
}

// signedIn turns a person of the identity provider into an account here. It is
// known by issuer and subject, and by nothing else: names and addresses change
// hands.
func (s *Service) signedIn(ctx context.Context, c Caller, claims *access.Claims) (access.Principal, error) {
	now := s.now()
	groups := groupsOf(claims)
	if err := s.admit(claims, groups); err != nil {
		return access.Principal{}, s.refusedPerson(ctx, c, claims, err)
	}
	id, err := access.NewID("usr", s.random)
	if err != nil {
		return access.Principal{}, err
	}
	in := &SignIn{
		Issuer: claims.Issuer, Subject: claims.Subject, Groups: groups, GroupsUntil: now.Add(GroupLife),
		Account: Account{ID: id, Kind: KindUser}, Event: s.event(c), Now: now,
	}
	if s.signIn.Create {
		in.Names = accountNames(claims, id)
	}
	defer s.principals.forget() // the groups may be others now
	a, err := s.store.SignIn(ctx, in)
	if problem.KindOf(err) == problem.Denied {
		return access.Principal{}, s.refusedPerson(ctx, c, claims, err)
	}
	if err != nil {
		return access.Principal{}, err
	}
	return s.accountPrincipal(ctx, a)
}

// refusedPerson records that somebody whom the provider knows was not let in.
// Who it was stays with the provider.
func (s *Service) refusedPerson(ctx context.Context, c Caller, claims *access.Claims, refusal error) error {
	c.Principal = access.Anonymous()
	c.Principal.Issuer = claims.Issuer
	return s.refusedIdentity(ctx, c, "", claims.Subject, map[string]string{}, refusal)
}

// admit says whether a person may have an account here.
func (s *Service) admit(claims *access.Claims, groups []string) error {
	denied := func(what string) error {
		return problem.New(problem.Denied, "sign-in-not-allowed", "%s knows you, but %s", s.signIn.Name, what).
			Suggest("ask an administrator of this server")
	}
	if len(s.signIn.AllowedGroups) > 0 && !slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(s.signIn.AllowedGroups, g) }) {
		return denied("you are in none of the groups that may sign in here")
	}
	if len(s.signIn.AllowedDomains) == 0 {
		return nil
	}
	mail, _ := claims.Text("email")
	verified, _ := claims.Text("email_verified")
	at := strings.LastIndexByte(mail, '@')
	if at < 1 || verified != "true" || !slices.ContainsFunc(s.signIn.AllowedDomains, func(d string) bool { return strings.EqualFold(d, mail[at+1:]) }) {
		return denied("your address is in none of the domains that may sign in here, or is not verified")
	}
	return nil
}

// groupsOf reads the groups of a person. Names that no grant can have are left
// out.
func groupsOf(claims *access.Claims) []string {
	var out []string
	for _, g := range claims.List("groups") {
		if checkGroup(g) == nil && len(out) < maxGroups {
			out = append(out, g)
		}
	}
	return out
}

// checkGroup refuses what cannot be the name of a group in a grant.
func checkGroup(name string) error {
	if name == "" || len(name) > maxGroupName || checkReason(name) != nil || strings.ContainsAny(name, "\n\t") {
		return problem.New(problem.Invalid, "group", "%.80q cannot be the name of a group", name).
			Suggest("write it as the identity provider does, in one line of at most %d bytes", maxGroupName)
	}
	return nil
}

// accountNames are names for a new account, best first. That one of them is
// somebody else's is no matter: the first that is free is taken.
func accountNames(claims *access.Claims, id string) []string {
	base := ""
	for _, claim := range []string{"preferred_username", "nickname", "email"} {
		v, _ := claims.Text(claim)
		if base = accountName(v); base != "" {
			break
		}
	}
	fallback := "person-" + strings.TrimPrefix(id, "usr-")
	if base == "" {
		return []string{fallback}
	}
	names := []string{base}
	for n := 2; n < 10; n++ {
		if next := fmt.Sprintf("%s-%d", base, n); access.CheckAccountName(next) == nil {
			names = append(names, next)
		}
	}
	return append(names, fallback)
}

// accountName makes an account's name out of a foreign one: what stands before
// an @, in small letters, other characters as hyphens; "" where nothing is left.
func accountName(foreign string) string {
	local, _, _ := strings.Cut(strings.ToLower(foreign), "@")
	var b strings.Builder
	gap := false
	for _, r := range local {
		if b.Len() == 40 {
			break
		}
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			if gap && b.Len() > 0 {
				b.WriteByte('-')
			}
			gap = false
			b.WriteRune(r)
			continue
		}
		gap = true
	}
	name := b.String()
	if access.CheckAccountName(name) != nil {
		return ""
	}
	return name
}

// RefuseUnlinked is the answer to a person of the identity provider who has no
// account here, where none is made.
func RefuseUnlinked(in *SignIn) error {
	return problem.New(problem.Denied, "sign-in-unlinked", "you have no account here that belongs to you at the identity provider").
		With("issuer", "%.200s", in.Issuer).With("your id there", "%.255s", in.Subject).
		Suggest("an administrator runs: chartkeep user link NAME --subject %.255s", in.Subject)
}

// RefuseDisabled is the answer to a person whose account was disabled.
func RefuseDisabled(name string) error {
	return problem.New(problem.Denied, "sign-in-disabled", "the account %s is disabled", name).Suggest("ask an administrator of this server")
}

// LinkAccount ties an account to a person of the identity provider.
func (s *Service) LinkAccount(ctx context.Context, c Caller, name, subject string) error {
	a, err := s.linkable(ctx, c, name)
	if err != nil {
		return err
	}
	if subject == "" || len(subject) > 255 || checkReason(subject) != nil || strings.ContainsAny(subject, "\n\t") {
		return problem.New(problem.Invalid, "subject", "%.80q cannot be the id of a person at an identity provider", subject).
			Suggest("take it from the page that the person sees who tries to sign in")
	}
	ev := s.event(c)
	ev.Action = access.InstanceAdmin
	return s.store.LinkAccount(ctx, a.ID, s.signIn.Issuer, subject, ev, s.now())
}

// UnlinkAccount takes the links of an account away. It keeps its password and
// its own grants.
func (s *Service) UnlinkAccount(ctx context.Context, c Caller, name string) error {
	a, err := s.linkable(ctx, c, name)
	if err != nil {
		return err
	}
	defer s.principals.forget()
	ev := s.event(c)
	ev.Name, ev.Action, ev.Detail = audit.AccountLinked, access.InstanceAdmin, map[string]string{"account": a.ID, "link": "removed"}
	return s.store.UnlinkAccount(ctx, a.ID, ev, s.now())
}

func (s *Service) linkable(ctx context.Context, c Caller, name string) (Account, error) {
	if err := s.AllowInstance(ctx, c, access.InstanceAdmin); err != nil {
		return Account{}, err
	}
	if s.signIn.Provider == nil {
		return Account{}, problem.New(problem.Unsupported, "sign-in-provider", "people sign in here with a token or a password alone").
			Suggest("an operator sets oidc-issuer, oidc-client-id and oidc-client-secret")
	}
	a, _, err := s.store.AccountByName(ctx, name)
	if err == nil && a.Kind != KindUser {
		err = problem.New(problem.Invalid, "account-kind", "%s is a %s, and only a person signs in", name, a.Kind)
	}
	return a, err
}

// AccountLinks lists who of the identity provider is who here.
func (s *Service) AccountLinks(ctx context.Context, c Caller) ([]AccountLink, error) {
	if err := s.AllowInstance(ctx, c, access.InstanceAdmin); err != nil {
		return nil, err
	}
	return s.store.AccountLinks(ctx)
}

// holder is whom a grant is for: an account by its name, or a group of the
// identity provider, which is its own id.
func (s *Service) holder(ctx context.Context, name string) (string, error) {
	if group, ok := strings.CutPrefix(name, GroupPrefix); ok {
		return name, checkGroup(group)
	}
	a, _, err := s.store.AccountByName(ctx, name)
	return a.ID, err
}
