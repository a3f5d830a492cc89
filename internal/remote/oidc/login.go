package oidc

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/oauth2"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
)

// LoginConfig is what a Login is made of.
type LoginConfig struct {
	Client       *remote.Client
	Issuer       string
	ClientID     string
	ClientSecret string // "" for a public client
	Now          func() time.Time
}

// Login signs people in by the authorization code flow with PKCE. It is safe for
// concurrent use.
type Login struct {
	config LoginConfig
	from   *issuer
}

// NewLogin makes a login. It asks nobody anything yet.
func NewLogin(c LoginConfig) *Login {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Login{config: c, from: newIssuer(c.Issuer, "", c.Client, c.Now)}
}

// Begin returns where the browser has to go. State, nonce and verifier are
// random, of this one flow, and kept by the caller until it ends. redirect is
// where the provider sends the browser back to.
func (l *Login) Begin(ctx context.Context, state, nonce, verifier, redirect string) (string, error) {
	m, err := l.from.endpoints(ctx)
	if err != nil {
		return "", err
	}
	if u, err := url.Parse(m.Auth); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", l.unusable("has no authorization endpoint")
	}
	return l.oauth(&m, redirect).AuthCodeURL(state, oauth2.SetAuthURLParam("nonce", nonce), oauth2.S256ChallengeOption(verifier)), nil
}

func (l *Login) unusable(why string) error {
	return problem.New(problem.Unavailable, "sign-in-provider", "the identity provider %s %s", l.config.Issuer, why).
		Suggest("an operator checks the setting oidc-issuer")
}

func (l *Login) oauth(m *metadata, redirect string) *oauth2.Config {
	c := &oauth2.Config{
		ClientID: l.config.ClientID, ClientSecret: l.config.ClientSecret, RedirectURL: redirect,
		Scopes:   []string{"openid", "profile", "email"},
		Endpoint: oauth2.Endpoint{AuthURL: m.Auth, TokenURL: m.Token, AuthStyle: oauth2.AuthStyleInHeader},
	}
	if slices.Contains(m.Scopes, "groups") {
		c.Scopes = append(c.Scopes, "groups")
	}
	// One way alone: to try both would spend the code on the first.
	if l.config.ClientSecret == "" || len(m.Methods) > 0 && !slices.Contains(m.Methods, "client_secret_basic") {
		c.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return c
}

// Finish takes the code that the browser brought back and returns what the
// provider says of the person. iss is the answer's parameter of that name, ""
// without one: an answer of another provider is refused (RFC 9207). Problems are
// unauthenticated, or unavailable where the provider does not answer.
func (l *Login) Finish(ctx context.Context, code, iss, nonce, verifier, redirect string) (access.Claims, error) {
	m, err := l.from.endpoints(ctx)
	if err != nil {
		return access.Claims{}, err
	}
	if iss != "" && iss != l.config.Issuer || iss == "" && m.SaysIss {
		return access.Claims{}, refuse("sign-in-mix-up", "this answer does not come from the identity provider that was asked")
	}
	out, err := l.config.Client.HTTP("")
	if err != nil {
		return access.Claims{}, err
	}
	out.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("the token endpoint redirects") }
	token, err := l.oauth(&m, redirect).Exchange(context.WithValue(ctx, oauth2.HTTPClient, out), code, oauth2.VerifierOption(verifier))
	if err != nil {
		said, ok := errors.AsType[*oauth2.RetrieveError](err)
		if ok && (said.ErrorCode == "invalid_client" || said.ErrorCode == "unauthorized_client") {
			return access.Claims{}, l.unusable("does not know this server: " + said.ErrorCode)
		}
		if ok && said.Response.StatusCode < 500 {
			return access.Claims{}, refuse("sign-in-code", "the identity provider does not accept the answer that the browser brought").
				Suggest("sign in again").Because(errors.New("token endpoint: " + said.ErrorCode))
		}
		return access.Claims{}, l.unusable("could not be asked").(*problem.Error).Because(err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return access.Claims{}, l.unusable("sent no identity token")
	}
	return l.verify(ctx, raw, nonce)
}

// verify checks the identity token of a person. It came from the provider itself
// and is of this flow alone, as its nonce says; so its life has no bound but its
// end.
func (l *Login) verify(ctx context.Context, raw, nonce string) (access.Claims, error) {
	claims, err := readUnverified(raw)
	if err == nil {
		err = l.check(&claims, nonce)
	}
	if err != nil {
		return access.Claims{}, err
	}
	signed, err := verifySignature(ctx, l.from, raw, l.config.ClientID, l.config.Now)
	if err != nil {
		return access.Claims{}, err
	}
	if claims, err = access.ParseClaims(signed); err == nil {
		err = l.check(&claims, nonce)
	}
	if err != nil {
		return access.Claims{}, err
	}
	return claims, nil
}

func (l *Login) check(c *access.Claims, nonce string) error {
	party, hasParty := c.Text("azp")
	got, _ := c.Text("nonce")
	switch {
	case c.Issuer != l.config.Issuer:
		return refuse("sign-in-issuer", "the identity token is of another issuer than the one that was asked")
	case len(c.Audience) != 1 || c.Audience[0] != l.config.ClientID || hasParty && party != l.config.ClientID:
		return refuse("sign-in-audience", "the identity token is not for this server, or not for it alone")
	case nonce == "" || subtle.ConstantTimeCompare([]byte(got), []byte(nonce)) != 1:
		return refuse("sign-in-nonce", "the identity token belongs to another sign-in").Suggest("sign in again")
	case c.Subject == "" || len(c.Subject) > 255:
		return refuse("sign-in-subject", "the identity token does not say whose it is")
	}
	return checkTimes(c, l.config.Now())
}
