package server

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestAuthentication(t *testing.T) {
	for _, tt := range []struct {
		name   string
		path   string
		header []string
		err    error
		status int
		who    string // with status 200
		calls  int
	}{
		{"nothing", "/v2/", nil, nil, 200, "anonymous", 0},
		{"empty header", "/v2/", []string{"Authorization", ""}, nil, 200, "anonymous", 0},
		{"bearer", "/v2/", []string{"Authorization", "Bearer ckt_good"}, nil, 200, "ann", 1},
		{"bearer in lower case", "/v2/", []string{"Authorization", "bearer  ckt_good"}, nil, 200, "ann", 1},
		{"token as password", "/v2/", []string{"Authorization", basic("whoever", "ckt_good")}, nil, 200, "ann", 1},
		{"password", "/v2/", []string{"Authorization", basic("ann", "sesame")}, nil, 200, "ann", 1},
		{"wrong token", "/v2/", []string{"Authorization", "Bearer ckt_bad"}, nil, 401, "", 1},
		{"wrong password", "/v2/", []string{"Authorization", basic("ann", "x")}, nil, 401, "", 1},
		{"scheme", "/v2/", []string{"Authorization", "Digest x"}, nil, 401, "", 0},
		{"not base64", "/v2/", []string{"Authorization", "Basic ???"}, nil, 401, "", 0},
		{"no colon", "/v2/", []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("ann"))}, nil, 401, "", 0},
		{"empty bearer", "/v2/", []string{"Authorization", "Bearer "}, nil, 401, "", 0},
		{"two bearers", "/v2/", []string{"Authorization", "Bearer ckt_good, Bearer ckt_good"}, nil, 401, "", 0},
		{"two headers", "/v2/", []string{"Authorization", "Bearer ckt_good", "Authorization", "Bearer ckt_good"}, nil, 401, "", 0},
		{"long", "/v2/", []string{"Authorization", "Bearer " + strings.Repeat("x", maxCredential)}, nil, 401, "", 0},
		{"cannot be checked", "/v2/", []string{"Authorization", "Bearer ckt_good"}, errors.New("database is gone"), 500, "", 1},
		{"store is away", "/v2/", []string{"Authorization", "Bearer ckt_good"}, problem.New(problem.Unavailable, "", "later"), 503, "", 1},
		{"cookie elsewhere", "/v2/", []string{"Cookie", SessionCookie + "=s-good"}, nil, 200, "anonymous", 0},
		{"cookie", "/ui/", []string{"Cookie", SessionCookie + "=s-good"}, nil, 200, "ann", 1},
		{"old cookie", "/ui/", []string{"Cookie", SessionCookie + "=s-old"}, nil, 200, "anonymous", 1},
		{"cookie cannot be checked", "/ui/", []string{"Cookie", SessionCookie + "=s-good"}, problem.New(problem.Unavailable, "", "later"), 503, "", 1},
		{"header in the UI", "/ui/", []string{"Authorization", "Bearer ckt_good"}, nil, 200, "anonymous", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			auth := &fakeAuth{err: tt.err}
			served := false
			s := New(Config{Authenticator: auth}, testRoutes(func(w http.ResponseWriter, r *http.Request) error {
				served = true
				return echo(w, r)
			}))
			w := do(s, "GET", tt.path, tt.header...)
			if w.Code != tt.status || served != (tt.status == 200) || auth.checks != tt.calls {
				t.Fatalf("status %d, served %v, %d checks: %s", w.Code, served, auth.checks, w.Body)
			}
			var got map[string]string
			if tt.status == 200 {
				if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got["principal"] != tt.who {
					t.Errorf("principal %q, want %q", got["principal"], tt.who)
				}
			}
			if tt.status == 401 && w.Header().Get("WWW-Authenticate") != "oci" {
				t.Errorf("the door's challenge is missing: %v", w.Header())
			}
			if old := tt.name == "old cookie"; old != strings.Contains(w.Header().Get("Set-Cookie"), SessionCookie+"=;") {
				t.Errorf("Set-Cookie %q", w.Header().Get("Set-Cookie"))
			}
		})
	}
}

func TestSessionCookie(t *testing.T) {
	external, err := ParseExternalURL("https://e.example/base")
	if err != nil {
		t.Fatal(err)
	}
	set := func(w http.ResponseWriter, r *http.Request) error {
		SetSession(w, r, "secret", time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
		return nil
	}
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{External: external}, "chartkeep_session=secret; Path=/base/ui; Expires=Wed, 02 Jan 2030 03:04:05 GMT; HttpOnly; Secure; SameSite=Lax"},
		{Config{}, "chartkeep_session=secret; Path=/ui; Expires=Wed, 02 Jan 2030 03:04:05 GMT; HttpOnly; SameSite=Lax"},
	} {
		if got := do(New(tt.cfg, testRoutes(set)), "GET", "/ui/login").Header().Get("Set-Cookie"); got != tt.want {
			t.Errorf("cookie %s\nwant   %s", got, tt.want)
		}
	}
}

func TestGuardOfADoor(t *testing.T) {
	calls := 0
	login := func(w http.ResponseWriter, r *http.Request) error {
		return Guard(r, "ann", "guess", func() error { calls++; return wrong() })
	}
	s := New(Config{}, testRoutes(login))
	last := 0
	for range attemptBurst + 5 {
		last = do(s, "POST", "/ui/login").Code
	}
	if last != http.StatusTooManyRequests || calls != attemptBurst {
		t.Errorf("after %d attempts: status %d, %d checks", attemptBurst+5, last, calls)
	}
	// Without the entry, in the tests of doors, the check runs as it is.
	if err := Guard(httptest.NewRequest("POST", "/", nil), "ann", "x", func() error { return nil }); err != nil {
		t.Error(err)
	}
}

// FuzzParseAuthorization holds that every header is refused as
// unauthenticated or gives a credential that can be checked.
func FuzzParseAuthorization(f *testing.F) {
	for _, s := range []string{"Bearer x", basic("a", "b"), "Basic ", "bearer", "Basic Og==", "Negotiate x", "Bearer a b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseAuthorization([]string{s})
		if err != nil {
			if problem.KindOf(err) != problem.Unauthenticated || strings.Contains(err.Error(), s) && len(s) > 12 {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		switch c.scheme {
		case "basic":
		case "bearer":
			if c.secret == "" {
				t.Fatalf("%q gives an empty bearer", s)
			}
		default:
			t.Fatalf("%q gives scheme %q", s, c.scheme)
		}
	})
}
