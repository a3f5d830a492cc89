package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// fakeAuth knows the token ckt_good, the session s-good and ann's password.
type fakeAuth struct {
	checks int
	err    error // when set, what every check returns
	gate   chan struct{}
}

func wrong() error { return problem.New(problem.Unauthenticated, "token", "the token is not valid") }

func (a *fakeAuth) Authenticate(_ context.Context, secret string) (access.Principal, error) {
	a.checks++
	switch {
	case a.err != nil:
		return access.Principal{}, a.err
	case secret == "ckt_good" || secret == "s-good":
		return access.Principal{ID: "usr-1", Name: "ann", Kind: access.KindUser, TokenID: "tok-1"}, nil
	}
	return access.Principal{}, wrong()
}

func (a *fakeAuth) AuthenticateBasic(ctx context.Context, user, password string) (access.Principal, error) {
	if a.gate != nil {
		<-a.gate
	}
	if user == "ann" && password == "sesame" {
		password = "ckt_good"
	}
	return a.Authenticate(ctx, password)
}

// echo answers with what a door is told of the request.
func echo(w http.ResponseWriter, r *http.Request) error {
	c := CallerOf(r)
	return WriteJSON(w, http.StatusOK, map[string]string{
		"door": string(c.Door), "path": r.URL.Path, "principal": c.Principal.Name, "base": BaseURL(r),
		"context": ContextPath(r), "request": c.RequestID, "ip": c.Source.IP, "agent": c.Source.UserAgent,
	})
}

// doorError is an error form that tells which door wrote it.
func doorError(name string) ErrorWriter {
	return func(w http.ResponseWriter, r *http.Request, status int, p *problem.Error) {
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", name)
		}
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "%s %s %s", name, p.Kind, p.Error())
	}
}

func testRoutes(serve Handler) []Route {
	return []Route{
		{Prefix: "v2", Door: audit.DoorOCI, Serve: serve, WriteError: doorError("oci")},
		{Prefix: "api/v1", Door: audit.DoorAPI, Serve: serve, WriteError: doorError("api"), MaxBody: 1000},
		{Prefix: "api", Door: audit.DoorChartMuseum, Serve: serve, WriteError: doorError("cm")},
		{Prefix: "ui", Door: audit.DoorWeb, Serve: serve, WriteError: doorError("web"), Cookie: true},
		{Prefix: "", Door: audit.DoorClassic, Serve: serve, WriteError: doorError("classic")},
	}
}

func do(h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://keep.example/", nil)
	u, err := url.Parse(path)
	if err != nil {
		panic(err)
	}
	r.URL = u
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestDispatch(t *testing.T) {
	for _, tt := range []struct{ external, path, door, seen string }{
		{"", "/v2/", "oci", "/v2/"},
		{"", "/v2", "oci", "/v2"},
		{"", "/v2x/index.yaml", "classic", "/v2x/index.yaml"},
		{"", "/api/v1/projects", "api", "/api/v1/projects"},
		{"", "/api/v1", "api", "/api/v1"},
		{"", "/api/v1x/charts", "chartmuseum", "/api/v1x/charts"},
		{"", "/api/team/charts", "chartmuseum", "/api/team/charts"},
		{"", "/api", "chartmuseum", "/api"},
		{"", "/ui/", "web", "/ui/"},
		{"", "/team-a/web/index.yaml", "classic", "/team-a/web/index.yaml"},
		{"", "/team/charts/a-1.0.0+b.tgz", "classic", "/team/charts/a-1.0.0+b.tgz"},
		{"", "/log/checkpoint", "classic", "/log/checkpoint"}, // no route of its own in this test
		{"", "/x//y", "classic", "/x//y"},
		{"https://e.example/base", "/base/v2/x", "oci", "/v2/x"},
		{"https://e.example/base", "/base/team/index.yaml", "classic", "/team/index.yaml"},
		{"https://e.example/base", "/basement/index.yaml", "classic", "/basement/index.yaml"},
		{"https://e.example/base", "/v2/x", "oci", "/v2/x"},
		{"https://e.example/base", "/base/a%20b", "classic", "/a b"},
	} {
		external, err := ParseExternalURL(tt.external)
		if err != nil {
			t.Fatal(err)
		}
		w := do(New(Config{External: external}, testRoutes(echo)), "GET", tt.path)
		var got map[string]string
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Errorf("%s: %d %s", tt.path, w.Code, w.Body)
			continue
		}
		if got["door"] != tt.door || got["path"] != tt.seen {
			t.Errorf("%s (external %q): door %q path %q, want %q %q", tt.path, tt.external, got["door"], got["path"], tt.door, tt.seen)
		}
	}
}

func TestDispatchAllocations(t *testing.T) {
	s := New(Config{}, testRoutes(echo))
	for _, path := range []string{"/v2/team/web/manifests/1.0.0", "/api/v1/projects", "/team/index.yaml"} {
		if n := testing.AllocsPerRun(100, func() { s.find(path) }); n != 0 {
			t.Errorf("finding the route of %s makes %v allocations", path, n)
		}
	}
}

func TestRoot(t *testing.T) {
	s := New(Config{}, testRoutes(echo))
	if w := do(s, "GET", "/"); w.Code != http.StatusFound || w.Header().Get("Location") != "/ui/" {
		t.Errorf("GET / = %d to %q", w.Code, w.Header().Get("Location"))
	}
	if w := do(s, "POST", "/"); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST / = %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
	external, _ := ParseExternalURL("https://e.example/base")
	s = New(Config{External: external}, testRoutes(echo))
	for _, path := range []string{"/base", "/base/"} {
		if w := do(s, "GET", path); w.Header().Get("Location") != "/base/ui/" {
			t.Errorf("GET %s leads to %q", path, w.Header().Get("Location"))
		}
	}
	if w := do(New(Config{}, nil), "GET", "/x"); w.Code != http.StatusNotFound {
		t.Errorf("without routes: %d", w.Code)
	}
}

func TestBadPaths(t *testing.T) {
	s := New(Config{}, testRoutes(echo))
	for _, path := range []string{"/a/../b", "/..", "/a/%2e%2e/b", "/a%2Fb", "/v2/a%2fb/tags/list", "/a/%00", "/a%0ab", `/a%5Cb`, "/./a"} {
		w := do(s, "GET", path)
		if w.Code != http.StatusBadRequest {
			t.Errorf("GET %s = %d, want 400", path, w.Code)
		}
	}
	if w := do(s, "GET", "/v2/a%2fb/tags/list"); !strings.HasPrefix(w.Body.String(), "oci invalid") {
		t.Errorf("the door did not write the error: %s", w.Body)
	}
	if w := do(s, "GET", "/a/...b/..c"); w.Code != http.StatusOK {
		t.Errorf("dots that are no segment: %d", w.Code)
	}
}

func TestBadHost(t *testing.T) {
	r := httptest.NewRequest("GET", "/v2/", nil)
	r.Host = `a"b`
	w := httptest.NewRecorder()
	New(Config{}, testRoutes(echo)).ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest {
		t.Errorf("status %d, want 400", w.Code)
	}
}

func TestHeaders(t *testing.T) {
	s := New(Config{}, testRoutes(echo))
	w := do(s, "GET", "/v2/", "X-Request-Id", "abc-1.2_3", "User-Agent", "helm\x07")
	h := w.Header()
	if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Content-Security-Policy") != "sandbox; default-src 'none'" || h.Get("X-Request-Id") != "abc-1.2_3" {
		t.Errorf("headers: %v", h)
	}
	if !strings.Contains(w.Body.String(), `"request":"abc-1.2_3"`) || !strings.Contains(w.Body.String(), `"agent":"helm."`) {
		t.Errorf("the caller has other facts: %s", w.Body)
	}
	if w := do(s, "GET", "/ui/"); w.Header().Get("Content-Security-Policy") != "" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers of the UI: %v", w.Header())
	}
	seen := map[string]bool{}
	for _, bad := range []string{"", "a b", "a\"", strings.Repeat("x", 65), "ä"} {
		id := do(s, "GET", "/v2/", "X-Request-Id", bad).Header().Get("X-Request-Id")
		if len(id) != 16 || id == bad || seen[id] {
			t.Errorf("offered %q, got id %q", bad, id)
		}
		seen[id] = true
	}
}

func TestErrors(t *testing.T) {
	secret := errors.New("dsn=postgres://secret")
	for _, tt := range []struct {
		name   string
		err    error
		status int
		body   string
	}{
		{"problem", problem.New(problem.Immutable, "overwrite", "it exists").With("stored", "x"), 409, "oci immutable it exists (stored x)"},
		{"wrapped", fmt.Errorf("push: %w", problem.New(problem.NotFound, "", "nothing")), 404, "oci not-found nothing"},
		{"internal", secret, 500, "oci internal the server could not do this"},
		{"internal problem", problem.New(problem.Internal, "x", "secret detail"), 500, "oci internal the server could not do this"},
		{"too large", &http.MaxBytesError{Limit: 5}, 413, "oci too-large the request body is too large (limit 5 bytes)"},
		{"upload range", problem.New(problem.Conflict, RuleUploadRange, "it stands at 5"), 416, "oci conflict"},
		{"busy", problem.New(problem.Unavailable, "", "later"), 503, "oci unavailable later"},
		{"cause", problem.New(problem.Conflict, "", "not now").Because(secret), 409, "oci conflict not now"},
		{"unknown kind", problem.New("odd", "", "odd"), 500, "oci internal"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			s := New(Config{Logger: slog.New(slog.NewJSONHandler(&log, nil))}, testRoutes(func(w http.ResponseWriter, r *http.Request) error {
				w.Header().Set("Content-Length", "999")
				w.Header().Set("Etag", `"x"`)
				return tt.err
			}))
			w := do(s, "PUT", "/v2/x")
			if w.Code != tt.status || !strings.HasPrefix(w.Body.String(), tt.body) || strings.Contains(w.Body.String(), "secret") {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, tt.status, tt.body)
			}
			if w.Header().Get("Content-Length") != "" || w.Header().Get("Etag") != "" || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("headers of the entity that did not come: %v", w.Header())
			}
			if got, want := strings.Count(log.String(), "request failed"), b2i(tt.status >= 500); got != want {
				t.Errorf("logged %d times, want %d:\n%s", got, want, &log)
			}
			if (tt.status == 503) != (w.Header().Get("Retry-After") != "") {
				t.Errorf("Retry-After %q with status %d", w.Header().Get("Retry-After"), tt.status)
			}
		})
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestStatusCoversEveryKind(t *testing.T) {
	for _, k := range []problem.Kind{
		problem.Internal, problem.Invalid, problem.Unauthenticated, problem.Denied, problem.NotFound, problem.Immutable, problem.Conflict,
		problem.Policy, problem.TooLarge, problem.Unsupported, problem.Gone, problem.Disproven, problem.Unavailable,
	} {
		if statusOfKind[k] == 0 {
			t.Errorf("kind %s has no status", k)
		}
		status, p := Status(problem.New(k, "", "m"))
		if status != statusOfKind[k] || p.Kind != k {
			t.Errorf("Status(%s) = %d %s", k, status, p.Kind)
		}
	}
	if status, p := Status(nil); status != 500 || p.Message == "" {
		t.Errorf("Status(nil) = %d %v", status, p)
	}
}

func TestPanicBecomesInternal(t *testing.T) {
	var log bytes.Buffer
	s := New(Config{Logger: slog.New(slog.NewJSONHandler(&log, nil))}, testRoutes(func(http.ResponseWriter, *http.Request) error { panic("boom") }))
	w := do(s, "GET", "/v2/x")
	if w.Code != 500 || strings.Contains(w.Body.String(), "boom") || !strings.Contains(w.Body.String(), "request "+w.Header().Get("X-Request-Id")) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), "boom") || !strings.Contains(log.String(), "server_test.go") {
		t.Errorf("the log lacks panic or stack: %s", &log)
	}
}

func TestErrorAfterFirstByteCutsTheAnswer(t *testing.T) {
	ts := httptest.NewServer(New(Config{}, testRoutes(func(w http.ResponseWriter, r *http.Request) error {
		_, _ = io.WriteString(w, strings.Repeat("x", 100_000))
		return errors.New("digest does not match")
	})))
	defer ts.Close()
	res, err := http.Get(ts.URL + "/v2/blob")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("the client read a whole answer")
	}
}

func TestWrapAlone(t *testing.T) {
	h := Wrap(audit.DoorOCI, func(w http.ResponseWriter, r *http.Request) error {
		if CallerOf(r).Principal.Kind != access.KindAnonymous || BaseURL(r) != "http://example.com" || ContextPath(r) != "" {
			return fmt.Errorf("caller %+v base %s", CallerOf(r), BaseURL(r))
		}
		return problem.New(problem.Denied, "", "no")
	}, doorError("oci"))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/v2/", nil))
	if w.Code != 403 || w.Body.String() != "oci denied no" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestAccessLog(t *testing.T) {
	var log bytes.Buffer
	s := New(Config{Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), Authenticator: &fakeAuth{}}, testRoutes(echo))
	do(s, "GET", "/v2/x?token=ckt_secret", "Authorization", "Bearer ckt_good")
	var line map[string]any
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatalf("%v in %s", err, &log)
	}
	want := []string{"bytes", "door", "duration_ms", "level", "method", "msg", "path", "principal", "remote", "request_id", "rule", "status", "time", "token"}
	var got []string
	for k := range line {
		got = append(got, k)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("keys %v, want %v", got, want)
	}
	if line["principal"] != "usr-1" || line["token"] != "tok-1" || line["remote"] != "192.0.2.1" || line["status"] != 200.0 || line["bytes"] == 0.0 {
		t.Errorf("line %v", line)
	}
	for _, secret := range []string{"ckt_secret", "ckt_good"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has the credential %s", secret)
		}
	}
	log.Reset()
	do(s, "GET", "/livez")
	if !strings.Contains(log.String(), `"level":"DEBUG"`) {
		t.Errorf("a probe is logged as %s", &log)
	}
}

func TestHealth(t *testing.T) {
	var log bytes.Buffer
	failing := errors.New("dial secret-host")
	s := New(Config{
		Logger: slog.New(slog.NewJSONHandler(&log, nil)),
		Checks: []Check{
			{"database", func(context.Context) error { return failing }},
			{"blobs", func(context.Context) error { return nil }},
			{"log", func(context.Context) error { return problem.New(problem.Unavailable, "", "the log is read-only") }},
		},
	}, testRoutes(echo))
	w := do(s, "GET", "/readyz")
	want := "failing database: does not work; the server's log has the cause\nok      blobs\nfailing log: the log is read-only\n"
	if w.Code != 503 || w.Body.String() != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), "secret-host") {
		t.Error("the log lacks the cause")
	}
	w = do(s, "GET", "/readyz", "Accept", "application/json")
	wantJSON := `{"schema":"readiness/v1","ok":false,"checks":[{"name":"database","ok":false,"detail":"does not work; the server's log has the cause"},` +
		`{"name":"blobs","ok":true},{"name":"log","ok":false,"detail":"the log is read-only"}]}` + "\n"
	if w.Code != 503 || w.Body.String() != wantJSON {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	ready := New(Config{}, nil)
	for path, status := range map[string]int{"/livez": 200, "/readyz": 200, "/metrics": 404, "/livez/x": 404} {
		if w := do(ready, "GET", path); w.Code != status {
			t.Errorf("GET %s = %d, want %d", path, w.Code, status)
		}
	}
	if w := do(ready, "POST", "/livez"); w.Code != 405 {
		t.Errorf("POST /livez = %d", w.Code)
	}
	if w := do(ready, "GET", "/livez"); w.Body.String() != "ok\n" {
		t.Errorf("GET /livez = %q", w.Body)
	}
}

// recorder notes what the metrics are told.
type recorder struct{ lines []string }

func (r *recorder) Begin(door audit.Door) func(string, int, time.Duration) {
	return func(method string, status int, _ time.Duration) {
		r.lines = append(r.lines, fmt.Sprintf("%s %s %d", door, method, status))
	}
}
func (r *recorder) Refused(door audit.Door, kind problem.Kind, rule string) {
	r.lines = append(r.lines, fmt.Sprintf("refused %s %s %s", door, kind, rule))
}
func (r *recorder) AuthFailed(door audit.Door) { r.lines = append(r.lines, "auth "+string(door)) }

func TestRecorder(t *testing.T) {
	rec := new(recorder)
	refuse := func(http.ResponseWriter, *http.Request) error {
		return problem.New(problem.Immutable, "overwrite", "no")
	}
	s := New(Config{Recorder: rec, Authenticator: &fakeAuth{}}, testRoutes(refuse))
	do(s, "PUT", "/v2/x")
	do(s, "GET", "/v2/x")
	do(s, "PUT", "/v2/x", "Authorization", "Bearer ckt_bad")
	want := []string{"oci PUT 409", "refused oci immutable overwrite", "oci GET 409", "auth oci", "oci PUT 401"}
	if !slices.Equal(rec.lines, want) {
		t.Errorf("told %q, want %q", rec.lines, want)
	}
}

// BenchmarkEntry is what the entry costs each request, without connection,
// door and access log.
func BenchmarkEntry(b *testing.B) {
	s := New(Config{Authenticator: &fakeAuth{}}, testRoutes(func(w http.ResponseWriter, r *http.Request) error {
		w.WriteHeader(http.StatusOK)
		return nil
	}))
	r := httptest.NewRequest("GET", "http://keep.example/v2/team/web/manifests/1.0.0", nil)
	r.Header.Set("Authorization", "Bearer ckt_good")
	b.ReportAllocs()
	for b.Loop() {
		s.ServeHTTP(nobody{http.Header{}}, r)
	}
}

// nobody is a ResponseWriter that keeps nothing.
type nobody struct{ header http.Header }

func (n nobody) Header() http.Header         { return n.header }
func (n nobody) Write(p []byte) (int, error) { return len(p), nil }
func (n nobody) WriteHeader(int)             {}
