package server

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// Route binds a door to the paths below a prefix.
type Route struct {
	// Prefix is the first segment of the path, or the first two ("api/v1").
	// The longer one wins. "" takes every path that no other route takes.
	Prefix     string
	Door       audit.Door
	Serve      Handler
	WriteError ErrorWriter // nil is WriteText

	// Cookie makes the session cookie the only credential that counts, and
	// leaves the security headers to the door. For the web UI.
	Cookie bool

	// MaxBody bounds the request body in bytes; 0 leaves that to the door.
	MaxBody int64
}

// Check is one part of the server that has to work before requests are sent to
// it. Run is called for every request of /readyz, with a deadline of 2 s.
type Check struct {
	Name string
	Run  func(context.Context) error
}

// Recorder is told what the metrics need. All methods are called from many
// goroutines. Package metrics has the one that speaks Prometheus.
type Recorder interface {
	// Begin is called when a request starts; the function when it ends.
	Begin(door audit.Door) (end func(method string, status int, took time.Duration))
	// Refused is called for each request with a writing method that was
	// refused with a problem other than internal or unauthenticated.
	Refused(door audit.Door, kind problem.Kind, rule string)
	// AuthFailed is called for each wrong credential.
	AuthFailed(door audit.Door)
}

// Config is what New needs. The zero value of each field is usable, but for
// Authenticator when clients send credentials.
type Config struct {
	Logger        *slog.Logger // nil: nothing is logged
	Authenticator Authenticator
	External      *url.URL       // from ParseExternalURL; nil: taken from each request
	Proxies       []netip.Prefix // from ParseTrustedProxies
	Recorder      Recorder       // nil: nothing is measured
	Metrics       http.Handler   // serves /metrics; nil: 404
	Checks        []Check        // of /readyz, which is ready when none fails

	// ReadOnly is asked at each request: the problem that every write gets
	// while the server takes none, else nil. nil is a server that always does.
	ReadOnly func() *problem.Error

	// TokenUsed is told of each credential that was right and that a token
	// stands behind, with where it came from: an IPv4 address or an IPv6 /64.
	TokenUsed func(tokenID string, from netip.Prefix)

	// AuthFailures receives, at most once a minute and only when there are
	// some, the wrong credentials of that minute. Run calls it.
	AuthFailures func(context.Context, []AuthFailure)
}

// Server is the entry of all requests. Make it with New.
type Server struct {
	cfg    Config
	routes map[string]*Route
	guard  *guard
}

// New makes the entry for the routes. It panics when two routes have the same
// prefix, which is a mistake in the program. Run should run beside it.
func New(cfg Config, routes []Route) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Recorder == nil {
		cfg.Recorder = noRecorder{}
	}
	s := &Server{cfg: cfg, routes: make(map[string]*Route), guard: newGuard(cfg.Recorder.AuthFailed)}
	for _, r := range routes {
		if r.WriteError == nil {
			r.WriteError = WriteText
		}
		if s.routes[r.Prefix] != nil {
			panic("server: two routes with prefix " + r.Prefix)
		}
		s.routes[r.Prefix] = &r
	}
	for _, r := range []Route{
		{Prefix: "livez", Serve: s.serveLive},
		{Prefix: "readyz", Serve: s.serveReady},
		{Prefix: "metrics", Serve: s.serveMetrics},
	} {
		r.WriteError = WriteText
		s.routes[r.Prefix] = &r
	}
	return s
}

// Run reports wrong credentials once a minute until ctx ends, and then those
// that are left.
func (s *Server) Run(ctx context.Context) {
	if s.cfg.AuthFailures == nil {
		return
	}
	tick := time.NewTicker(flushInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		if failures := s.guard.take(); len(failures) > 0 {
			s.cfg.AuthFailures(context.WithoutCancel(ctx), failures)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// root serves the paths that no route takes.
var root = Route{Serve: serveRoot, WriteError: WriteText}

func serveRoot(w http.ResponseWriter, r *http.Request) error {
	return problem.New(problem.NotFound, "", "there is nothing at %s", r.URL.Path)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	st := &state{
		id:    requestID(r.Header.Get("X-Request-Id")),
		log:   s.cfg.Logger,
		start: time.Now(),
		guard: s.guard,
	}
	var hostErr error
	st.client, hostErr = clientOf(r, s.cfg.External, s.cfg.Proxies)
	path := stripContext(r.URL.Path, st.client)
	st.route = s.find(path)
	st.caller = release.Caller{
		Principal: access.Anonymous(),
		Door:      st.route.Door,
		Source:    auditSource(st.client.addr, r.UserAgent()),
		RequestID: st.id,
	}

	r = withState(r, st, path)
	a := &answer{ResponseWriter: w, control: http.NewResponseController(w)}
	if r.Body != nil && r.Body != http.NoBody {
		st.body = &body{src: r.Body, control: a.control, start: st.start}
		r.Body = st.body
		if st.route.MaxBody > 0 {
			st.body.src = http.MaxBytesReader(w, st.body.src, st.route.MaxBody)
		}
	}
	h := w.Header()
	h.Set("X-Request-Id", st.id)
	h["X-Content-Type-Options"] = nosniff
	if !st.route.Cookie {
		h["Content-Security-Policy"] = sandbox
	}

	end := s.cfg.Recorder.Begin(st.route.Door)
	defer func() { s.finish(r, st, a, end) }()
	serve := func(w http.ResponseWriter, r *http.Request) error {
		if hostErr != nil {
			return hostErr
		}
		if err := checkPath(r.URL); err != nil {
			return err
		}
		if path == "/" && st.route.Prefix == "" {
			return s.redirectHome(w, r)
		}
		refusal := s.readOnly(w, r, st)
		if err := s.authenticate(a, r, st); err != nil {
			return err
		}
		if refusal != nil {
			w.Header().Set("Retry-After", "300") // a person has to do something first
			return refusal
		}
		return st.route.Serve(w, r)
	}
	if err := protect(serve, a, r); err != nil {
		fail(st, st.route.Door, a, r, err, st.route.WriteError)
	}
}

var (
	nosniff = []string{"nosniff"}
	sandbox = []string{"sandbox; default-src 'none'"}
)

// withState returns the request as a door sees it: with the state, and with a
// path that has no context path.
func withState(r *http.Request, st *state, path string) *http.Request {
	r2 := r.WithContext(context.WithValue(r.Context(), stateKey{}, st))
	if path != r.URL.Path {
		u := *r.URL
		u.Path, u.RawPath = path, ""
		if raw := r.URL.RawPath; raw != "" {
			u.RawPath = strings.TrimPrefix(raw, st.client.contextPath) // a context path has no character that is escaped
		}
		r2.URL = &u
	}
	return r2
}

// stripContext takes the context path off. A path without it is served as it
// is: some proxies take it off and do not say so, and probes come directly.
func stripContext(path string, c client) string {
	if c.contextPath == "" || c.stripped {
		return path
	}
	rest, ok := strings.CutPrefix(path, c.contextPath)
	switch {
	case !ok:
		return path
	case rest == "":
		return "/"
	case rest[0] == '/':
		return rest
	}
	return path
}

// find returns the route of a path: two map look-ups.
func (s *Server) find(path string) *Route {
	p := strings.TrimPrefix(path, "/")
	first := strings.IndexByte(p, '/')
	if first < 0 {
		first = len(p)
	} else {
		second := strings.IndexByte(p[first+1:], '/')
		if second < 0 {
			second = len(p)
		} else {
			second += first + 1
		}
		if r := s.routes[p[:second]]; r != nil {
			return r
		}
	}
	if r := s.routes[p[:first]]; r != nil && r.Prefix != "" {
		return r
	}
	if r := s.routes[""]; r != nil {
		return r
	}
	return &root
}

// checkPath refuses the paths by which proxies and servers come to differ.
func checkPath(u *url.URL) error {
	bad := func(why string) *problem.Error {
		return problem.New(problem.Invalid, RulePath, "the path is not valid: it has %s", why)
	}
	if u.RawPath != "" && strings.Contains(strings.ToLower(u.RawPath), "%2f") {
		return bad("an escaped slash").Suggest("write / as it is: names with several segments are paths here")
	}
	for rest := u.Path; rest != ""; {
		var seg string
		seg, rest, _ = strings.Cut(rest, "/")
		if seg == "." || seg == ".." {
			return bad("a dot segment")
		}
		for i := range len(seg) {
			if seg[i] < 0x20 || seg[i] == 0x7f || seg[i] == '\\' {
				return bad("a control character or a backslash")
			}
		}
	}
	return nil
}

func (s *Server) redirectHome(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return MethodNotAllowed(w, r, "GET, HEAD")
	}
	if s.routes["ui"] == nil {
		return serveRoot(w, r)
	}
	http.Redirect(w, r, ContextPath(r)+"/ui/", http.StatusFound)
	return nil
}

// requestID accepts an id that a proxy or a client chose, when it is short and
// plain, and else makes one of 64 random bits.
func requestID(offered string) string {
	if n := len(offered); n > 0 && n <= 64 {
		ok := true
		for i := range n {
			switch c := offered[i]; {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
			default:
				ok = false
			}
		}
		if ok {
			return offered
		}
	}
	return fmt.Sprintf("%016x", rand.Uint64())
}

// finish writes the access log line and the metrics of a request. The query is
// left out: it can hold credentials.
func (s *Server) finish(r *http.Request, st *state, a *answer, end func(string, int, time.Duration)) {
	took := time.Since(st.start)
	status := a.status
	if status == 0 {
		status = http.StatusOK
	}
	end(r.Method, status, took)
	if p := st.problem; p != nil && isWrite(r.Method) && p.Kind != problem.Internal && p.Kind != problem.Unauthenticated {
		s.cfg.Recorder.Refused(st.route.Door, p.Kind, p.Rule)
	}
	level := slog.LevelInfo
	if st.route.Door == "" && status < http.StatusBadRequest {
		level = slog.LevelDebug // probes and scrapes
	}
	if !st.log.Enabled(r.Context(), level) {
		return
	}
	var rule string
	if st.problem != nil {
		rule = st.problem.Rule
	}
	st.log.LogAttrs(r.Context(), level, "request",
		slog.String("method", r.Method),
		slog.String("path", r.URL.Path),
		slog.Int("status", status),
		slog.Int64("bytes", a.bytes),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("door", string(st.route.Door)),
		slog.String("principal", st.caller.Principal.ID),
		slog.String("token", st.caller.Principal.TokenID),
		slog.String("request_id", st.id),
		slog.String("remote", remote(st.client.addr)),
		slog.String("rule", rule),
	)
}

func remote(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func isWrite(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return true
}

type noRecorder struct{}

func (noRecorder) Begin(audit.Door) func(string, int, time.Duration) {
	return func(string, int, time.Duration) {}
}
func (noRecorder) Refused(audit.Door, problem.Kind, string) {}
func (noRecorder) AuthFailed(audit.Door)                    {}
