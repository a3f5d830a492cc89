package chartrepo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// Service is what this door asks of the registry; *release.Service satisfies
// it. All methods may be called concurrently, check the caller's rights
// themselves, and return a *problem.Error for what the client did or met.
type Service interface {
	Project(ctx context.Context, c release.Caller, name string) (release.Project, error)
	Index(ctx context.Context, c release.Caller, project string, all bool) (*release.IndexView, error)
	OpenArchive(ctx context.Context, c release.Caller, project, file string) (release.Release, release.Blob, error)
	Provenance(ctx context.Context, c release.Caller, project, file string) (release.Release, []byte, error)
	ProofFile(ctx context.Context, c release.Caller, project, file string) (release.Release, []byte, error)

	Charts(ctx context.Context, c release.Caller, project, after string, limit int) ([]release.ChartSummary, bool, error)
	Releases(ctx context.Context, c release.Caller, project, chart string) ([]release.Release, error)
	Release(ctx context.Context, c release.Caller, project, chart, version string) (release.Detail, error)
	ArchiveFiles(ctx context.Context, c release.Caller, project, chart, version string, names ...string) (map[string][]byte, error)

	// CanPush is nil when the caller could push some chart to the project,
	// and the refusal otherwise. It is asked before a form is read.
	CanPush(ctx context.Context, c release.Caller, project string) error
	PushArchive(ctx context.Context, c release.Caller, project string, archive io.Reader, prov []byte, opt release.PushOptions) (release.Receipt, error)
	AttachProvenance(ctx context.Context, c release.Caller, project string, prov []byte) (release.Receipt, error)
	RefuseDelete(ctx context.Context, c release.Caller, project, chart, version string) error

	Ready(ctx context.Context) error
}

// Config is what the door needs to know of the server.
type Config struct {
	Version string // of the program, told at /info
	// MaxArchive bounds a pushed archive, in bytes; it is that of the
	// service, and needed here for forms, which are read before they are
	// pushed.
	MaxArchive int64
	// TempDir holds forms with an archive over 1 MiB while they are read;
	// "" is the system's. Files there have no name once they are open.
	TempDir string
}

// Door serves the classic repository and the ChartMuseum API.
type Door struct {
	svc Service
	cfg Config
}

// New returns the door. It keeps no state of its own and is safe for
// concurrent use.
func New(svc Service, cfg Config) *Door {
	return &Door{svc: svc, cfg: cfg}
}

// Serve is the server.Handler of the door.
func (d *Door) Serve(w http.ResponseWriter, r *http.Request) error {
	req, err := parse(r.Method, r.URL.Path, r.URL.RawQuery)
	if err != nil {
		if req.allow != "" {
			w.Header()["Allow"] = []string{req.allow}
		}
		return err
	}
	switch req.op {
	case opIndex:
		return d.serveIndex(w, r, req)
	case opArchive:
		return d.serveArchive(w, r, req)
	case opProvenance:
		return d.serveBeside(w, r, req, d.svc.Provenance)
	case opProof:
		return d.serveBeside(w, r, req, d.svc.ProofFile)
	case opInfo:
		return server.WriteJSON(w, http.StatusOK, map[string]string{"version": d.cfg.Version})
	case opHealth:
		if err := d.svc.Ready(r.Context()); err != nil {
			return err
		}
		return server.WriteJSON(w, http.StatusOK, map[string]bool{"healthy": true})
	case opHub:
		return d.serveHub(w, r, req)
	case opCharts:
		return d.listCharts(w, r, req)
	case opVersions:
		return d.listVersions(w, r, req)
	case opVersion:
		return d.showVersion(w, r, req)
	case opTemplates:
		return d.showTemplates(w, r, req)
	case opValues:
		return d.showValues(w, r, req)
	case opPush:
		return d.push(w, r, req)
	case opPushProvenance:
		return d.pushProvenance(w, r, req)
	case opDelete:
		w.Header()["Allow"] = []string{allowRead}
		return d.svc.RefuseDelete(r.Context(), server.CallerOf(r), req.project, req.chart, req.version)
	}
	return fmt.Errorf("serve %s: operation %d has no handler", r.URL.Path, req.op)
}

// errorBody is an error as ChartMuseum's clients read it, which is the first
// field alone, with the same in parts for programs.
type errorBody struct {
	Error string         `json:"error"`
	Kind  problem.Kind   `json:"kind"`
	Rule  string         `json:"rule,omitempty"`
	Facts []problem.Fact `json:"facts,omitempty"`
	Try   string         `json:"try,omitempty"`
}

// WriteError is the server.ErrorWriter of the door.
func WriteError(w http.ResponseWriter, r *http.Request, status int, p *problem.Error) {
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", server.BasicChallenge)
	case http.StatusRequestedRangeNotSatisfiable:
		for _, f := range p.Facts {
			if f.Label == factSize {
				w.Header().Set("Content-Range", "bytes */"+f.Value)
			}
		}
	}
	// An error that cannot be written any more reached nobody: the client is gone.
	_ = server.WriteJSON(w, status, errorBody{sentence(p), p.Kind, p.Rule, p.Facts, p.Try})
}

// sentence is a problem in one line: message; facts; Try.
func sentence(p *problem.Error) string {
	var b strings.Builder
	b.WriteString(p.Message)
	for i, f := range p.Facts {
		if i == 0 {
			b.WriteString("; ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(f.Label + " " + f.Value)
	}
	if p.Try != "" {
		b.WriteString("; Try: " + p.Try)
	}
	return b.String()
}

// cacheControl says who may keep an answer. Without a credential only public
// things are read, and those anybody may keep; whether bytes change under
// their URL is the caller's to say.
func cacheControl(public, immutable bool) []string {
	switch {
	case public && immutable:
		return cacheForever
	case public:
		return cacheChecked
	}
	return cachePrivate
}

// Header values that stand in most answers are shared; nobody writes to them.
var (
	cacheForever = []string{"public, max-age=31536000, immutable"}
	cacheChecked = []string{"public, no-cache"}
	cachePrivate = []string{"private, no-cache"}
	varyIndex    = []string{"Accept, Accept-Encoding, Authorization"}
	varyFile     = []string{"Authorization"}
	acceptRanges = []string{"bytes"}
)

// anonymous reports whether the request came without a credential.
func anonymous(c *release.Caller) bool {
	return c.Principal.Kind == access.KindAnonymous || c.Principal.Kind == ""
}
