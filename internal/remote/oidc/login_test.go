package oidc

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote/oidc/oidctest"
)

const redirect = "https://charts.example.com/ui/sso/callback"

// verifiers are of the length that RFC 7636 asks for.
var pkce = strings.Repeat("v", 43)

func newLogin(t *testing.T, i *oidctest.Issuer, secret string) *Login {
	return NewLogin(LoginConfig{Client: outward(t), Issuer: i.URL, ClientID: "chartkeep", ClientSecret: secret})
}

// goThere does what a browser does at the provider, and returns what it brings
// back.
func goThere(t *testing.T, to string) url.Values {
	t.Helper()
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Get(to)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	back, err := res.Location()
	if err != nil {
		t.Fatalf("the provider answers %s", res.Status)
	}
	return back.Query()
}

func TestLogin(t *testing.T) {
	i := oidctest.New(t)
	i.Person = oidctest.Claims{"sub": "person-7", "groups": []string{"dev"}}
	l := newLogin(t, i, "example-secret")
	to, err := l.Begin(t.Context(), "state", "nonce", pkce, redirect)
	if err != nil {
		t.Fatal(err)
	}
	q := goThere(t, to)
	if q.Get("state") != "state" {
		t.Errorf("state %q", q.Get("state"))
	}
	claims, err := l.Finish(t.Context(), q.Get("code"), q.Get("iss"), "nonce", pkce, redirect)
	if err != nil {
		t.Fatal(err)
	}
	if claims.Subject != "person-7" || len(claims.List("groups")) != 1 {
		t.Errorf("claims %+v", claims)
	}
	// A code is good once.
	if _, err := l.Finish(t.Context(), q.Get("code"), q.Get("iss"), "nonce", pkce, redirect); rule(t, err) != "sign-in-code" {
		t.Errorf("the code again: %v", err)
	}
}

func TestLoginRefuses(t *testing.T) {
	i := oidctest.New(t)
	now := time.Now()
	for name, tt := range map[string]struct {
		person          oidctest.Claims
		nonce, verifier string
		iss             string // "" as it came
		rule            string
	}{
		"injected code: another browser's verifier": {verifier: strings.Repeat("w", 43), rule: "sign-in-code"},
		"replay: the nonce of another sign-in":      {nonce: "other", rule: "sign-in-nonce"},
		"no nonce at all":                           {person: oidctest.Claims{"nonce": nil}, rule: "sign-in-nonce"},
		"mix-up: an answer of another provider":     {iss: "https://evil.example", rule: "sign-in-mix-up"},
		"for another client":                        {person: oidctest.Claims{"aud": "other"}, rule: "sign-in-audience"},
		"for two clients":                           {person: oidctest.Claims{"aud": []string{"chartkeep", "other"}, "azp": "chartkeep"}, rule: "sign-in-audience"},
		"authorised for another":                    {person: oidctest.Claims{"azp": "other"}, rule: "sign-in-audience"},
		"of another issuer":                         {person: oidctest.Claims{"iss": "https://evil.example"}, rule: "sign-in-issuer"},
		"nobody's":                                  {person: oidctest.Claims{"sub": nil}, rule: "sign-in-subject"},
		"expired":                                   {person: oidctest.Claims{"exp": now.Add(-time.Minute).Unix(), "iat": now.Add(-time.Hour).Unix()}, rule: "oidc-expired"},
		"of the future":                             {person: oidctest.Claims{"iat": now.Add(time.Hour).Unix(), "exp": now.Add(2 * time.Hour).Unix()}, rule: "oidc-future"},
		"as it should be":                           {},
		"a session of twelve hours":                 {person: oidctest.Claims{"exp": now.Add(12 * time.Hour).Unix()}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLogin(t, i, "example-secret")
			i.Person = oidctest.Claims{}
			for k, v := range tt.person {
				i.Person[k] = v
			}
			to, err := l.Begin(t.Context(), "state", "nonce", pkce, redirect)
			if err != nil {
				t.Fatal(err)
			}
			q := goThere(t, to)
			nonce, verifier, iss := "nonce", pkce, q.Get("iss")
			if tt.nonce != "" {
				nonce = tt.nonce
			}
			if tt.verifier != "" {
				verifier = tt.verifier
			}
			if tt.iss != "" {
				iss = tt.iss
			}
			if _, err := l.Finish(t.Context(), q.Get("code"), iss, nonce, verifier, redirect); rule(t, err) != tt.rule {
				t.Errorf("got %v, want %q", err, tt.rule)
			}
		})
	}
}

// TestLoginMixUpPromised: a provider that says its answers name it has to.
func TestLoginMixUpPromised(t *testing.T) {
	i := oidctest.New(t)
	i.Metadata["authorization_response_iss_parameter_supported"] = true
	l := newLogin(t, i, "example-secret")
	if _, err := l.Finish(t.Context(), "code", "", "nonce", pkce, redirect); rule(t, err) != "sign-in-mix-up" {
		t.Errorf("got %v", err)
	}
}

// TestLoginProviderFails: what is the provider's fault, or the operator's, is
// not said to be the person's.
func TestLoginProviderFails(t *testing.T) {
	i := oidctest.New(t)
	for name, tt := range map[string]struct {
		secret string
		answer func(w http.ResponseWriter, r *http.Request) bool
	}{
		"a wrong secret":      {"wrong", nil},
		"down":                {"example-secret", func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(502); return r.URL.Path != "" }},
		"no identity token":   {"example-secret", onToken(200, `{"access_token":"a","token_type":"Bearer"}`)},
		"an error of its own": {"example-secret", onToken(500, `oops`)},
		"an endless answer":   {"example-secret", onToken(200, `{"access_token":"`+strings.Repeat("a", 2<<20)+`"}`)},
		"a redirect": {"example-secret", func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/token" {
				http.Redirect(w, r, "https://evil.example/", http.StatusTemporaryRedirect)
			}
			return r.URL.Path == "/token"
		}},
	} {
		i.Answer = tt.answer
		l := newLogin(t, i, tt.secret)
		_, err := l.Finish(t.Context(), "code", i.URL, "nonce", pkce, redirect)
		if problem.KindOf(err) != problem.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	i.Answer = nil
	i.Metadata["authorization_endpoint"] = "javascript:alert(1)"
	if to, err := newLogin(t, i, "").Begin(t.Context(), "s", "n", pkce, redirect); problem.KindOf(err) != problem.Unavailable {
		t.Errorf("the browser would go to %q, %v", to, err)
	}
}

func onToken(status int, body string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/token" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
		return true
	}
}
