package oci

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
)

type tokenAnswer struct {
	Token       string `json:"token"`
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"`
	IssuedAt    string `json:"issued_at"`
	Scope       string `json:"scope"`
}

func (a *answer) token(t testing.TB) tokenAnswer {
	t.Helper()
	a.want(t, http.StatusOK).wantHeader(t, "Cache-Control", "no-store", "Content-Type", "application/json")
	var got tokenAnswer
	if err := json.Unmarshal(a.body, &got); err != nil {
		t.Fatal(err)
	}
	if got.Token == "" || got.Token != got.AccessToken || got.ExpiresIn < 60 || got.ExpiresIn > 3600 {
		t.Errorf("token answer %s", a.body)
	}
	if _, err := time.Parse(time.RFC3339, got.IssuedAt); err != nil {
		t.Error(err)
	}
	return got
}

// bearer asks for a bearer with the site's credential.
func (s *site) bearer(scopes ...string) string {
	s.t.Helper()
	return s.do(http.MethodGet, "/v2/token?"+url.Values{"service": {s.host()}, "scope": scopes}.Encode(), nil).token(s.t).Token
}

func TestTokenScope(t *testing.T) {
	s := newSite(t)
	for _, tc := range []struct {
		auth, query, scope string
	}{
		{basic("ci", "secret"), "scope=repository:demo/web:pull,push", "repository:demo/web:pull,push"},
		{"Bearer ckt_ci", "scope=repository:demo/web:pull", "repository:demo/web:pull"},
		{basic("reader", "secret"), "scope=repository:demo/web:pull,push", "repository:demo/web:pull"},
		{basic("ci", "secret"), "scope=repository:demo/a:pull,push&scope=repository:demo/b:pull", "repository:demo/a:pull,push repository:demo/b:pull"},
		{basic("ci", "secret"), "scope=repository:demo/a:pull+repository:demo/b:pull", "repository:demo/a:pull repository:demo/b:pull"},
		{basic("ci", "secret"), "scope=repository:secret/web:pull,push", ""},
		{basic("ci", "secret"), "account=ci&client_id=docker&offline_token=true&service=x", ""},
		{"", "scope=repository:public/web:pull,push", "repository:public/web:pull"},
		{"", "scope=repository:demo/web:pull", ""},
		{basic("", ""), "scope=repository:public/web:pull", "repository:public/web:pull"},
	} {
		a := s.do(http.MethodGet, "/v2/token?"+tc.query, nil, "Authorization", "", "Authorization", tc.auth)
		if got := a.token(t); got.Scope != tc.scope {
			t.Errorf("%s: scope %q, want %q", tc.query, got.Scope, tc.scope)
		}
	}
	s.do(http.MethodGet, "/v2/token?scope=nonsense", nil).wantCode(t, http.StatusBadRequest, codeUnsupported)
	s.do(http.MethodGet, "/v2/token", nil, "Authorization", "", "Authorization", basic("ci", "wrong")).wantCode(t, http.StatusUnauthorized, codeUnauthorized).
		wantHeader(t, "WWW-Authenticate", `Basic realm="chartkeep", charset="UTF-8"`)
	s.do(http.MethodPut, "/v2/token", nil).wantCode(t, http.StatusMethodNotAllowed, codeUnsupported).wantHeader(t, "Allow", "GET, HEAD, POST")
}

func TestTokenForm(t *testing.T) {
	s := newSite(t)
	s.auth = ""
	const form = "application/x-www-form-urlencoded"
	post := func(pairs ...string) *answer {
		t.Helper()
		q := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			q.Set(pairs[i], pairs[i+1])
		}
		return s.do(http.MethodPost, "/v2/token", q.Encode(), "Content-Type", form+"; charset=utf-8")
	}
	scope := "repository:demo/web:pull,push"
	for _, a := range []*answer{
		post("grant_type", "password", "username", "ci", "password", "secret", "service", "x", "client_id", "y", "scope", scope),
		post("grant_type", "refresh_token", "refresh_token", "ckt_ci", "scope", scope),
	} {
		if got := a.token(t); got.Scope != scope {
			t.Errorf("scope %q, want %q", got.Scope, scope)
		}
	}
	if got := post("scope", scope).token(t); got.Scope != "" {
		t.Errorf("anonymous got %q", got.Scope)
	}
	// The credential of a URL does not count: URLs end up in logs.
	if got := s.do(http.MethodGet, "/v2/token?"+url.Values{"username": {"ci"}, "password": {"secret"}, "scope": {scope}}.Encode(), nil).token(t); got.Scope != "" {
		t.Errorf("got %q", got.Scope)
	}
	post("grant_type", "password", "username", "ci", "password", "wrong").wantCode(t, http.StatusUnauthorized, codeUnauthorized)
	post("grant_type", "refresh_token", "refresh_token", "wrong").wantCode(t, http.StatusUnauthorized, codeUnauthorized)
	post("grant_type", "authorization_code").wantCode(t, http.StatusBadRequest, codeUnsupported)
	s.do(http.MethodPost, "/v2/token", "a=%zz", "Content-Type", form).wantCode(t, http.StatusBadRequest, codeUnsupported)
	s.do(http.MethodPost, "/v2/token", "a=b", "Content-Type", "text/plain").wantCode(t, http.StatusUnsupportedMediaType, codeUnsupported)
	s.do(http.MethodPost, "/v2/token", strings.Repeat("a", maxTokenForm+1), "Content-Type", form).want(t, http.StatusRequestEntityTooLarge)
}

// A bearer does not prolong itself.
func TestTokenForBearer(t *testing.T) {
	s := newSite(t)
	b := s.bearer("repository:demo/web:pull")
	s.auth = "Bearer " + b
	s.do(http.MethodGet, "/v2/token", nil).wantCode(t, http.StatusUnauthorized, codeUnauthorized)
	s.auth = ""
	s.do(http.MethodPost, "/v2/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {b}}.Encode(),
		"Content-Type", "application/x-www-form-urlencoded").wantCode(t, http.StatusUnauthorized, codeUnauthorized)
}

// The flow as every client walks it: refused with a challenge, token, done.
func TestBearerFlow(t *testing.T) {
	s := newSite(t)
	owner := s.auth
	d := s.push("demo/web", []byte("x"), "")
	pub := s.push("public/web", []byte("x"), "")
	s.auth = ""
	realm := `Bearer realm="` + s.url + `/v2/token",service="` + s.host() + `"`

	s.do(http.MethodGet, "/v2/", nil).wantCode(t, http.StatusUnauthorized, codeUnauthorized).
		wantHeader(t, "WWW-Authenticate", realm, "Docker-Distribution-API-Version", "registry/2.0")
	for _, tc := range []struct{ method, path, scope string }{
		{http.MethodGet, "/v2/demo/web/blobs/" + d, "repository:demo/web:pull"},
		{http.MethodHead, "/v2/demo/web/manifests/1.0.0", "repository:demo/web:pull"},
		{http.MethodGet, "/v2/demo/web/tags/list", "repository:demo/web:pull"},
		{http.MethodGet, "/v2/demo/web/referrers/" + d, "repository:demo/web:pull"},
		{http.MethodPost, "/v2/demo/web/blobs/uploads/", "repository:demo/web:pull,push"},
		{http.MethodPost, "/v2/demo/web/blobs/uploads/?mount=" + d + "&from=demo/two", "repository:demo/web:pull,push repository:demo/two:pull"},
		{http.MethodPost, "/v2/demo/web/blobs/uploads/?mount=" + d + "&from=%22", "repository:demo/web:pull,push"},
		{http.MethodPut, "/v2/demo/web/manifests/1.0.0", "repository:demo/web:pull,push"},
		{http.MethodGet, "/v2/demo/web/blobs/uploads/x", "repository:demo/web:pull,push"},
		{http.MethodDelete, "/v2/demo/web/manifests/1.0.0", "repository:demo/web:pull,push,delete"},
		{http.MethodGet, "/v2/unknown/web/tags/list", "repository:unknown/web:pull"},
	} {
		s.do(tc.method, tc.path, nil).wantCode(t, http.StatusUnauthorized, codeUnauthorized).
			wantHeader(t, "WWW-Authenticate", realm+`,scope="`+tc.scope+`"`)
	}

	// Public: without anything, and with an anonymous bearer.
	s.do(http.MethodGet, "/v2/public/web/blobs/"+pub, nil).want(t, http.StatusOK)
	s.auth = "Bearer " + s.bearer("repository:public/web:pull")
	s.do(http.MethodGet, "/v2/", nil).want(t, http.StatusOK)
	s.do(http.MethodGet, "/v2/public/web/blobs/"+pub, nil).want(t, http.StatusOK)
	s.do(http.MethodGet, "/v2/demo/web/blobs/"+d, nil).want(t, http.StatusUnauthorized).
		wantHeader(t, "WWW-Authenticate", realm+`,scope="repository:demo/web:pull",error="insufficient_scope"`)

	// A scope that is too small asks for a larger one.
	s.auth = owner
	s.auth = "Bearer " + s.bearer("repository:demo/web:pull")
	s.do(http.MethodGet, "/v2/", nil).want(t, http.StatusOK)
	s.do(http.MethodGet, "/v2/demo/web/blobs/"+d, nil).want(t, http.StatusOK)
	s.do(http.MethodPost, "/v2/demo/web/blobs/uploads/", nil).wantCode(t, http.StatusUnauthorized, codeDenied).
		wantHeader(t, "WWW-Authenticate", realm+`,scope="repository:demo/web:pull,push",error="insufficient_scope"`)
	s.auth = owner
	s.auth = "Bearer " + s.bearer("repository:demo/web:pull,push")
	s.do(http.MethodPost, "/v2/demo/web/blobs/uploads/", nil).want(t, http.StatusAccepted)

	// A mount needs a scope on its source as well; a source that the account may
	// not read is one that has nothing to mount.
	mount := "/v2/demo/two/blobs/uploads/?mount=" + d + "&from="
	s.auth = owner
	s.auth = "Bearer " + s.bearer("repository:demo/two:pull,push")
	s.do(http.MethodPost, mount+"demo/web", nil).want(t, http.StatusUnauthorized).
		wantHeader(t, "WWW-Authenticate", realm+`,scope="repository:demo/two:pull,push repository:demo/web:pull",error="insufficient_scope"`)
	s.do(http.MethodPost, mount+"secret/web", nil).want(t, http.StatusAccepted)
	s.auth = owner
	s.auth = "Bearer " + s.bearer("repository:demo/two:pull,push", "repository:demo/web:pull")
	s.do(http.MethodPost, mount+"demo/web", nil).want(t, http.StatusCreated)

	// What the account may not do, no scope helps.
	s.auth = basic("reader", "secret")
	s.do(http.MethodPost, "/v2/demo/web/blobs/uploads/", nil).wantCode(t, http.StatusForbidden, codeDenied).wantHeader(t, "WWW-Authenticate", "")
	s.do(http.MethodGet, "/v2/secret/web/tags/list", nil).wantCode(t, http.StatusNotFound, codeNameUnknown)

	// A bearer that is none, or has ended, is worth a new one.
	s.auth = "Bearer " + access.BearerPrefix + "nonsense"
	s.do(http.MethodGet, "/v2/demo/web/blobs/"+d, nil).wantCode(t, http.StatusUnauthorized, codeUnauthorized).
		wantHeader(t, "WWW-Authenticate", realm+`,scope="repository:demo/web:pull",error="invalid_token"`)
	s.auth = basic("ci", "wrong")
	s.do(http.MethodGet, "/v2/", nil).wantCode(t, http.StatusUnauthorized, codeUnauthorized).wantHeader(t, "WWW-Authenticate", realm)
}
