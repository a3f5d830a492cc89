package release

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/signature"
)

// Config is what a Service is made of.
type Config struct {
	Store  Store
	Blobs  Blobs
	Limits chart.Limits
	// Secret signs short-lived credentials and upload ids. Replicas of one
	// database share it. At least 32 bytes.
	Secret []byte
	// Service names this registry in the credentials that it signs, so that
	// one of another registry is refused. It is the origin of the log.
	Service string
	// IndexCache keeps compressed indexes over restarts; nil keeps none.
	IndexCache IndexCache
	// Demand releases a version in a project that mirrors an upstream on
	// demand, when somebody asks for one that is not there. NotFound where
	// there is none. nil never does.
	Demand func(ctx context.Context, project, chart, version string) error
	// Certifier verifies keyless signatures; nil refuses them.
	Certifier signature.Certifier
	// Pipelines checks the identity tokens of pipelines; nil takes none.
	Pipelines IdentityTokens
	// SignIn says how people sign in through an identity provider.
	SignIn SignInConfig
	// Witness says by whom the log is witnessed; the zero value is by nobody.
	Witness WitnessConfig
	// Scrub compares what is stored with the log; the zero value never does.
	Scrub ScrubConfig
	// Refused keeps copies of what was offered for released versions; the zero
	// value keeps none.
	Refused RefusedConfig
	Log     *slog.Logger
	Now     func() time.Time // nil is time.Now
	Random  io.Reader        // nil is crypto/rand.Reader
}

// IndexCache keeps what can be made again. Names are of letters, digits and
// hyphens. A name that was never saved is os.ErrNotExist or nil, nil.
type IndexCache interface {
	Load(name string) (io.ReadCloser, error)
	Save(name string, write func(io.Writer) error) error
}

// Service is the registry. Its methods may be called concurrently.
type Service struct {
	store         Store
	blobs         Blobs
	limits        chart.Limits
	secret        []byte
	name          string
	log           *slog.Logger
	now           func() time.Time
	random        io.Reader
	demand        func(ctx context.Context, project, chart, version string) error
	indexes       indexCache
	principals    principalCache
	verified      verifiedSet
	recent        recentBlobs
	uploads       uploadSlots
	use           use
	witness       WitnessConfig
	met           metNote
	scrub         ScrubConfig
	asked         chan struct{} // for a scrub
	attested      attestedSet
	doubts        doubtSet
	refusedCopies *refusedCopies
	certifier     signature.Certifier
	pipelines     IdentityTokens
	signIn        SignInConfig
	refusals      refusals
}

// New makes a service.
func New(cfg Config) *Service {
	s := &Service{
		store: cfg.Store, blobs: cfg.Blobs, limits: cfg.Limits, secret: cfg.Secret, name: cfg.Service,
		log: cfg.Log, now: cfg.Now, random: cfg.Random, demand: cfg.Demand,
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.random == nil {
		s.random = rand.Reader
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.indexes.disk, s.witness = cfg.IndexCache, cfg.Witness
	s.scrub, s.asked, s.attested = cfg.Scrub, make(chan struct{}, 1), newAttestedSet()
	s.refusedCopies = &refusedCopies{RefusedConfig: cfg.Refused}
	s.refusedCopies.Each = cmp.Or(s.refusedCopies.Each, maxRefusedEach)
	s.refusedCopies.Total = cmp.Or(s.refusedCopies.Total, maxRefusedTotal)
	s.pipelines, s.signIn, s.certifier = cfg.Pipelines, cfg.SignIn, cfg.Certifier
	return s
}

// Ready says whether the store and the blobs answer; the problem names the
// part that does not.
func (s *Service) Ready(ctx context.Context) error {
	if _, err := s.store.LogInfo(ctx); err != nil {
		return err
	}
	_, err := s.blobs.Stat(ctx, digest.SHA256(nil))
	if err != nil && problem.KindOf(err) != problem.NotFound {
		return err
	}
	return nil
}

// Maintain does what is due: notes when tokens were used, saves indexes,
// forgets abandoned uploads. It is called about once a minute, and once at the
// end.
func (s *Service) Maintain(ctx context.Context) error {
	var first error
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	keep(s.recordUse(ctx))
	keep(s.indexes.save())
	abandoned := s.now().Add(-UploadLife)
	s.uploads.sweep(abandoned)
	n, err := s.blobs.SweepUploads(ctx, abandoned)
	if n > 0 {
		s.log.InfoContext(ctx, "abandoned uploads removed", "count", n)
	}
	keep(err)
	return first
}

// event begins an audit event for what a caller does.
func (s *Service) event(c Caller) audit.Event {
	a := audit.ActorOf(c.Principal)
	a.ID, a.Name = actor(c)
	return audit.Event{
		Time:      s.now(),
		Actor:     a,
		Source:    c.Source,
		RequestID: c.RequestID,
		Door:      c.Door,
	}
}

// actor is the account that stands behind a caller.
func actor(c Caller) (id, name string) {
	if c.Principal.Of != nil {
		return c.Principal.Of.ID, c.Principal.Of.Name
	}
	return c.Principal.ID, c.Principal.Name
}

// project finds the project that a path names or lies in, and asks whether
// the caller may do an action there. What does not exist is answered like what
// may not be known.
func (s *Service) project(ctx context.Context, c Caller, path string, action access.Action, prerelease bool) (p Project, rest string, err error) {
	p, rest, err = s.find(ctx, c, path)
	if err != nil {
		return p, rest, err
	}
	return p, rest, s.allow(ctx, c, &p, rest, action, prerelease)
}

// find is project without the question.
func (s *Service) find(ctx context.Context, c Caller, path string) (p Project, rest string, err error) {
	p, err = s.store.ProjectFor(ctx, path)
	if err != nil {
		if problem.KindOf(err) == problem.NotFound {
			unknown := access.Request{Action: access.ChartPull, Project: path}
			if !access.Allowed(c.Principal, unknown, s.now()) {
				return p, "", access.Refuse(c.Principal, unknown, s.now())
			}
			return p, "", problem.New(problem.NotFound, "project", "there is no project %s", path).Suggest("chartkeep project list")
		}
		return p, "", err
	}
	if p.State == ProjectRemoved {
		req := access.Request{Action: access.ChartPull, Project: p.Name}
		if !access.Allowed(c.Principal, req, s.now()) {
			return p, "", access.Refuse(c.Principal, req, s.now())
		}
		return p, "", RefuseRemoved(p.Name)
	}
	rest = strings.TrimPrefix(strings.TrimPrefix(path, p.Name), "/")
	return p, rest, nil
}

// allow asks once whether the caller may do an action; refused writes are
// audited when it is known who tried.
func (s *Service) allow(ctx context.Context, c Caller, p *Project, chartName string, action access.Action, prerelease bool) error {
	req := access.Request{Action: action, Project: p.Name, ProjectPublic: p.Public, Chart: chartName, Prerelease: prerelease}
	if s.permits(c, req) {
		return nil
	}
	return s.refuse(ctx, c, req)
}

// permits is the decision, narrowed by the scope of a bearer token.
func (s *Service) permits(c Caller, req access.Request) bool {
	return access.Allowed(c.Principal, req, s.now()) && inScope(&c.Principal, &req)
}

// could is permits for a body that is not read yet.
func (s *Service) could(c Caller, req access.Request) bool {
	return access.Could(c.Principal, req, s.now()) && inScope(&c.Principal, &req)
}

func inScope(p *access.Principal, req *access.Request) bool {
	if p.Scope == nil {
		return true
	}
	repository := req.Project
	if req.Chart != "" {
		repository += "/" + req.Chart
	}
	b := access.Bearer{Scope: p.Scope}
	switch req.Action {
	case access.ChartPull:
		return req.ProjectPublic || b.Allows(repository, "pull")
	case access.ArtifactDelete:
		return b.Allows(repository, "delete")
	case access.ChartPush, access.AttestAttach, access.ProvAttach:
		return b.Allows(repository, "push")
	}
	return false
}

// ruleScope is the rule of a bearer token that was asked for something else.
const ruleScope = "scope"

func outOfScope(c Caller, needs string) *problem.Error {
	e := problem.New(problem.Denied, ruleScope, "the bearer token was not asked for this").
		With("needs", "%s", needs).Suggest("ask for a token with the scope that the challenge names")
	if c.Principal.Kind == access.KindAnonymous {
		e.Kind = problem.Unauthenticated
	}
	return e
}

// hide puts a request to a project that the caller may not know in the words
// that find has for one that does not exist.
func hide(c Caller, req access.Request, now time.Time) access.Request {
	pull := access.Request{Action: access.ChartPull, Project: req.Project, ProjectPublic: req.ProjectPublic}
	if req.Project == "" || access.Allowed(c.Principal, pull, now) {
		return req
	}
	pull.ProjectPublic = false
	if req.Chart != "" {
		pull.Project += "/" + req.Chart
	}
	return pull
}

// refuse words a refusal and records it, unless nobody knows who asked.
func (s *Service) refuse(ctx context.Context, c Caller, req access.Request) error {
	var e *problem.Error
	if access.Allowed(c.Principal, req, s.now()) {
		e = outOfScope(c, string(req.Action))
	} else {
		e = access.Refuse(c.Principal, hide(c, req, s.now()), s.now())
	}
	if c.Principal.Kind == access.KindAnonymous || c.Principal.Kind == "" || req.Action == access.ChartPull || e.Kind == problem.Unauthenticated {
		return e
	}
	ev := s.event(c)
	ev.Name, ev.Outcome = audit.AccessDenied, audit.Outcome{Result: audit.Denied, Rule: e.Rule}
	if req.Action == access.ChartPush {
		ev.Name = audit.RefusedAccess
	}
	ev.Action, ev.Resource = req.Action, audit.Resource{Project: req.Project, Chart: req.Chart}
	if err := s.store.Record(ctx, s.now(), ev); err != nil {
		return err
	}
	return e
}

// refused records a refusal that is no matter of rights, such as a chart that
// breaks a rule, and returns it.
func (s *Service) refused(ctx context.Context, c Caller, name audit.Name, r audit.Resource, refusal error, detail map[string]string) error {
	ev := s.event(c)
	ev.Name, ev.Outcome, ev.Resource, ev.Detail = name, audit.Outcome{Result: audit.Denied}, r, detail
	if p, ok := problem.As(refusal); ok {
		ev.Outcome.Rule = p.Rule
	}
	if err := s.store.Record(ctx, s.now(), ev); err != nil {
		return err
	}
	return refusal
}

// AllowInstance asks for a right over the server as a whole; a refusal is recorded.
func (s *Service) AllowInstance(ctx context.Context, c Caller, action access.Action) error {
	req := access.Request{Action: action}
	if s.permits(c, req) {
		return nil
	}
	return s.refuse(ctx, c, req)
}

// mac is a short authenticator for text that a client carries for us.
func (s *Service) mac(purpose string, parts ...string) string {
	h := hmac.New(sha256.New, s.secret)
	h.Write([]byte(purpose))
	for _, p := range parts {
		h.Write([]byte{0})
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// PolicyDigest is the digest of a policy's canonical JSON.
func PolicyDigest(p Policy) string {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // a struct of plain values
	}
	return digest.SHA256(b)
}

// verifiedSet remembers which blobs were read whole and found true, so that a
// range of one may be served. It is bounded; forgetting costs one more read.
type verifiedSet struct {
	mu   sync.Mutex
	seen map[string]struct{}
}

const maxVerified = 100_000

func (v *verifiedSet) has(d string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, ok := v.seen[d]
	return ok
}

// remove forgets a blob that was found damaged since.
func (v *verifiedSet) remove(d string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.seen, d)
}

func (v *verifiedSet) add(d string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen == nil || len(v.seen) >= maxVerified {
		v.seen = map[string]struct{}{}
	}
	v.seen[d] = struct{}{}
}
