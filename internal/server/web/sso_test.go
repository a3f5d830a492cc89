package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// fakeSignIn accepts the code of a flow that it began.
type fakeSignIn struct {
	next string // of the flow that began last
	err  error
}

func (*fakeSignIn) SignInName() string { return "Example <Login>" }

func (f *fakeSignIn) BeginSignIn(_ context.Context, next string) (string, string, error) {
	f.next = next
	return "https://idp.example/authorize?state=s", "sealed-flow", f.err
}

func (f *fakeSignIn) FinishSignIn(_ context.Context, _ release.Caller, sealed string, a release.SignInAnswer) (access.Principal, string, error) {
	if f.err != nil {
		return access.Principal{}, f.next, f.err
	}
	if sealed != "sealed-flow" || a.State != "s" || a.Code != "right" || a.Issuer != "https://idp.example" {
		return access.Principal{}, "", problem.New(problem.Unauthenticated, "sign-in-state", "this answer belongs to no sign-in of this browser").Suggest("sign in again")
	}
	return maintainer.Principal, f.next, nil
}

// ssoRequest is a GET of a browser with a cookie, "" for none.
func ssoRequest(t *testing.T, f *fakeSignIn, path, cookie string) *httptest.ResponseRecorder {
	t.Helper()
	d, err := New(newSample(t), Config{Version: "0.1.0", SignIn: f})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "https://keep.example"+path, nil)
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: ssoCookie, Value: cookie})
	}
	w := httptest.NewRecorder()
	server.Wrap(audit.DoorWeb, d.Serve, d.WriteError).ServeHTTP(w, server.WithCaller(r, nobody))
	return w
}

func TestSingleSignOn(t *testing.T) {
	f := &fakeSignIn{}
	w := ssoRequest(t, f, "/ui/sso?next=/log?before=3", "")
	if w.Code != 303 || w.Header().Get("Location") != "https://idp.example/authorize?state=s" {
		t.Fatalf("begin: %d %v", w.Code, w.Header())
	}
	cookie := w.Header().Get("Set-Cookie")
	for _, want := range []string{ssoCookie + "=sealed-flow", "Path=/ui/sso", "HttpOnly", "SameSite=Lax", "Max-Age=600"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("cookie %q lacks %s", cookie, want)
		}
	}
	w = ssoRequest(t, f, "/ui/sso/callback?code=right&state=s&iss=https://idp.example", "sealed-flow")
	if w.Code != 303 || w.Header().Get("Location") != "/ui/log?before=3" {
		t.Errorf("back: %d %v", w.Code, w.Header())
	}
	cookies := strings.Join(w.Header().Values("Set-Cookie"), "; ")
	if !strings.Contains(cookies, server.SessionCookie+"=session-of-") || !strings.Contains(cookies, ssoCookie+"=; ") {
		t.Errorf("cookies %q: a session is given and the flow is over", cookies)
	}
}

// TestSingleSignOnRedirects: nobody is led elsewhere, whatever the link says.
func TestSingleSignOnRedirects(t *testing.T) {
	for _, evil := range []string{"https://evil.example/", "//evil.example", "/\\evil.example", "/../v2/", "javascript:alert(1)", ""} {
		f := &fakeSignIn{}
		ssoRequest(t, f, "/ui/sso?next="+url.QueryEscape(evil), "")
		if f.next != "/" {
			t.Errorf("%q: the flow keeps %q", evil, f.next)
		}
		f.next = evil // even a flow that holds one leads home
		w := ssoRequest(t, f, "/ui/sso/callback?code=right&state=s&iss=https://idp.example", "sealed-flow")
		if got := w.Header().Get("Location"); got != "/ui/" {
			t.Errorf("%q: leads to %q", evil, got)
		}
	}
}

func TestSingleSignOnRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		cookie, query string
		err           error
		status        int
		words         string
	}{
		"login CSRF: an answer without a flow here": {"", "code=right&state=s&iss=https://idp.example", nil, 401, "belongs to no sign-in of this browser"},
		"another flow":       {"other", "code=right&state=s&iss=https://idp.example", nil, 401, "belongs to no sign-in"},
		"an injected code":   {"sealed-flow", "code=wrong&state=s&iss=https://idp.example", nil, 401, "belongs to no sign-in"},
		"nobody here":        {"sealed-flow", "code=right&state=s", problem.New(problem.Denied, "sign-in-unlinked", "you have no account here").With("your id there", "<s-1>").Suggest("chartkeep user link NAME --subject s-1"), 403, "chartkeep user link NAME"},
		"the provider fails": {"sealed-flow", "code=right&state=s", problem.New(problem.Unavailable, "sign-in-provider", "the identity provider could not be asked"), 503, "could not be asked"},
	} {
		w := ssoRequest(t, &fakeSignIn{err: tt.err}, "/ui/sso/callback?"+tt.query, tt.cookie)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.words) {
			t.Errorf("%s: %d\n%s", name, w.Code, w.Body)
		}
		cookies := strings.Join(w.Header().Values("Set-Cookie"), "; ")
		if strings.Contains(cookies, server.SessionCookie) || !strings.Contains(cookies, ssoCookie+"=; ") {
			t.Errorf("%s: cookies %q", name, cookies)
		}
		doc := parseHTML(t, w.Body.String())
		checkPage(t, doc)
	}
}

func TestSignInPageNamesTheProvider(t *testing.T) {
	w := ssoRequest(t, &fakeSignIn{}, "/ui/sign-in?next=/log", "")
	doc := parseHTML(t, w.Body.String())
	checkPage(t, doc)
	if link := doc.one(t, "a[href=/ui/sso?next=%2flog]"); link.words() != "Sign in with Example <Login>" {
		t.Errorf("the link says %q", link.words())
	}
	if n := len(doc.all(".main")); n != 1 {
		t.Errorf("%d filled buttons", n)
	}
}

// CreateToken implements Service: it refuses a name that says so.
func (f *fakeService) CreateToken(_ context.Context, c release.Caller, req release.TokenRequest) (string, release.Token, error) {
	switch {
	case req.Name == "bad":
		return "", release.Token{}, problem.New(problem.Invalid, "token-name", "this is not a name for a token")
	case len(req.Grants) != 1 || req.Grants[0].ID != "":
		return "", release.Token{}, problem.New(problem.Invalid, "token-grants", "a token has between 1 and 50 grants")
	}
	return "ckt_made-" + c.Principal.Name + "-" + string(req.Grants[0].Role), release.Token{ID: "tok-1", Expires: req.Expires}, nil
}

func TestMakeToken(t *testing.T) {
	f := newSample(t)
	own := reader.Principal.Grants[0]
	doc := parseHTML(t, get(t, f, reader, "/ui/me").Body.String())
	doc.one(t, "form[action=/ui/me/tokens] select[name=grant]")
	w := post(t, f, reader, "/ui/me/tokens", url.Values{"name": {"laptop"}, "grant": {own.ID}, "days": {"90"}})
	doc = parseHTML(t, w.Body.String())
	checkPage(t, doc)
	if w.Code != 201 || !strings.Contains(doc.one(t, "#token").words(), "ckt_made-"+reader.Principal.Name+"-"+string(own.Role)) || len(doc.all("form[action=/ui/me/tokens]")) != 0 {
		t.Errorf("%d %s", w.Code, doc.one(t, "#token").words())
	}
	for name, form := range map[string]url.Values{
		"a name":                   {"name": {"bad"}, "grant": {own.ID}},
		"a grant of somebody else": {"name": {"x"}, "grant": {"grn-of-somebody-else"}},
	} {
		w := post(t, f, reader, "/ui/me/tokens", form)
		checkPage(t, parseHTML(t, w.Body.String()))
		if w.Code != 400 || strings.Contains(w.Body.String(), "ckt_made") {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	if w := post(t, f, nobody, "/ui/me/tokens", url.Values{"grant": {own.ID}}); w.Code != 401 {
		t.Errorf("nobody: %d", w.Code)
	}
	if w := get(t, f, reader, "/ui/me/tokens"); w.Code != 405 {
		t.Errorf("by a link: %d", w.Code)
	}
}
