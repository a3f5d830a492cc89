package release

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// AddPublisher lets a pipeline publish to a project without a token of its own.
// The project must be there; the chart need not be. Issuer may be left out where
// the server knows one issuer of the provider alone.
func (s *Service) AddPublisher(ctx context.Context, c Caller, want access.Publisher) (Publisher, error) {
	p, err := s.publisherProject(ctx, c, want.Project, access.PublisherWrite)
	if err != nil {
		return Publisher{}, err
	}
	if err := s.completePublisher(&want); err != nil {
		return Publisher{}, err
	}
	now := s.now()
	if !want.Expires.IsZero() && !want.Expires.After(now) {
		return Publisher{}, problem.New(problem.Invalid, "publisher", "the binding would have expired at %s already", when(want.Expires))
	}
	maker, _ := actor(c)
	if _, err := s.store.AccountByID(ctx, maker); err != nil {
		if problem.KindOf(err) != problem.NotFound {
			return Publisher{}, err
		}
		return Publisher{}, problem.New(problem.Denied, "publisher-maker", "a binding is made by an account, whose name stands on it, and %s is none", c.Principal.Name).
			Suggest("use a personal token: chartkeep token create --project %s --role %s", p.Name, access.RoleProjectOwner)
	}
	if want.ID, err = access.NewID("pub", s.random); err != nil {
		return Publisher{}, err
	}
	out := Publisher{Publisher: want, Name: want.Names(), MakerID: maker, Created: now}
	_, out.Maker = actor(c)
	ev := s.event(c)
	ev.Name, ev.Action, ev.Resource = audit.PublisherAdded, access.PublisherWrite, audit.Resource{Project: p.Name, Chart: exactProject(want.Chart)}
	ev.Detail = map[string]string{"publisher": want.ID, "issuer": want.Issuer}
	for name, values := range want.Claims {
		if len(ev.Detail) < 14 {
			ev.Detail[name] = strings.Join(values, " or ")
		}
	}
	return out, s.store.AddPublisher(ctx, out, ev, now)
}

// completePublisher fills in the issuer and checks the whole.
func (s *Service) completePublisher(want *access.Publisher) error {
	if s.pipelines == nil || s.pipelines.Audience() == "" {
		return problem.New(problem.Unsupported, "oidc-off", "this server takes no identity tokens: it does not know its own address").
			Suggest("an operator sets external-url, or publisher-audience")
	}
	if known := s.pipelines.Issuers(want.Provider); want.Issuer == "" && len(known) == 1 {
		want.Issuer = known[0]
	} else if want.Issuer == "" && len(known) > 1 {
		return problem.New(problem.Invalid, "publisher", "this server knows several issuers of %s", want.Provider).
			With("issuers", "%s", strings.Join(known, ", ")).Suggest("--issuer %s", known[0])
	}
	// The operator says which platform an issuer is, so that nobody binds
	// GitHub's tokens by their names as those of a generic issuer.
	switch provider, ok := s.pipelines.Provider(want.Issuer); {
	case !ok && want.Issuer == "":
		return problem.New(problem.Invalid, "publisher-issuer", "this server takes no tokens of %s", want.Provider).
			Suggest("an operator adds an issuer to the setting publisher-issuers")
	case !ok:
		return problem.New(problem.Invalid, "publisher-issuer", "this server takes no tokens of the issuer %.200q", want.Issuer).
			Suggest("an operator adds the issuer to the setting publisher-issuers")
	case provider != want.Provider:
		return problem.New(problem.Invalid, "publisher-issuer", "%s is an issuer of %s, not of %s", want.Issuer, provider, want.Provider)
	}
	return want.Check()
}

func (s *Service) publisherProject(ctx context.Context, c Caller, name string, action access.Action) (Project, error) {
	p, rest, err := s.project(ctx, c, name, action, false)
	if err == nil && rest != "" {
		err = s.noSuchProject(c, name)
	}
	if err == nil && action == access.PublisherWrite {
		ready := p
		ready.State = ProjectActive // a project that still takes over history publishes later
		err = s.pushable(&ready, nil)
	}
	return p, err
}

// Publishers lists the bindings of a project, or with "" those of every project
// whose policy the caller may read. made narrows it to those of one account, ""
// for all.
func (s *Service) Publishers(ctx context.Context, c Caller, project, made string) ([]Publisher, error) {
	if project != "" {
		if _, err := s.publisherProject(ctx, c, project, access.PolicyRead); err != nil {
			return nil, err
		}
	}
	list, err := s.store.PublisherList(ctx, project)
	return slices.DeleteFunc(list, func(p Publisher) bool {
		return made != "" && p.Maker != made || !s.permits(c, access.Request{Action: access.PolicyRead, Project: p.Project})
	}), err
}

// Publisher shows one binding.
func (s *Service) Publisher(ctx context.Context, c Caller, id string) (Publisher, error) {
	p, err := s.store.Publisher(ctx, id)
	if err == nil {
		_, err = s.publisherProject(ctx, c, p.Project, access.PolicyRead)
	}
	if err != nil {
		return Publisher{}, s.hidePublisher(err, id)
	}
	return p, nil
}

// hidePublisher answers for a binding that the caller may not know as for one
// that there is not.
func (s *Service) hidePublisher(err error, id string) error {
	if problem.KindOf(err) == problem.NotFound {
		return problem.New(problem.NotFound, "publisher", "there is no publisher %.60s", id).Suggest("chartkeep publisher list")
	}
	return err
}

// RemovePublisher ends a binding, and the short tokens of its project with it.
func (s *Service) RemovePublisher(ctx context.Context, c Caller, id string) error {
	p, err := s.store.Publisher(ctx, id)
	if err == nil {
		_, _, err = s.project(ctx, c, p.Project, access.PublisherWrite, false)
	}
	if err != nil {
		return s.hidePublisher(err, id)
	}
	defer s.principals.forget()
	ev := s.event(c)
	ev.Name, ev.Action, ev.Resource = audit.PublisherRemoved, access.PublisherWrite, audit.Resource{Project: p.Project}
	ev.Detail = map[string]string{"publisher": id, "name": p.Name, "issuer": p.Issuer}
	return s.store.RemovePublisher(ctx, id, ev, s.now())
}

// PublisherTest is what would come of a token, with every step.
type PublisherTest struct {
	Accepted bool `json:"accepted"`
	// Checked says that the token itself was checked. It was not where only
	// claims were given.
	Checked  bool                   `json:"checked"`
	Refusal  *problem.Error         `json:"refusal,omitempty"` // of the token itself
	Subject  string                 `json:"subject,omitempty"` // how log and audit trail would name the pipeline
	Bindings []PublisherTestBinding `json:"bindings"`
}

// PublisherTestBinding is one binding of the project.
type PublisherTestBinding struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	access.PublisherDecision
}

// TestPublisher explains what would come of a token, or of claims as JSON, in a
// project. Nothing is burnt and nothing is given.
func (s *Service) TestPublisher(ctx context.Context, c Caller, project, token string, claims []byte) (PublisherTest, error) {
	var t PublisherTest
	if _, err := s.publisherProject(ctx, c, project, access.PolicyRead); err != nil {
		return t, err
	}
	if s.pipelines == nil {
		return t, problem.New(problem.Unsupported, "oidc-off", "this server takes no identity tokens")
	}
	var said access.Claims
	var err error
	if t.Checked = token != ""; t.Checked {
		said, err = s.pipelines.Verify(ctx, token)
	} else {
		said, err = access.ParseClaims(claims)
	}
	if err != nil {
		p, ok := problem.As(err)
		if !ok || p.Kind != problem.Unauthenticated {
			return t, err
		}
		t.Refusal = p
		return t, nil
	}
	bindings, err := s.store.PublisherList(ctx, project)
	if err != nil {
		return t, err
	}
	if provider, ok := s.pipelines.Provider(said.Issuer); ok {
		pl, _ := provider.PipelineOf(&said)
		t.Subject = pl.Subject
	}
	for _, b := range bindings {
		d := PublisherTestBinding{b.ID, b.Name, b.Match(&said, s.now())}
		t.Accepted = t.Accepted || d.Matched && t.Subject != ""
		t.Bindings = append(t.Bindings, d)
	}
	return t, nil
}

// PipelineTokenLife is how long a pipeline may publish after it has shown its
// identity token.
const PipelineTokenLife = 15 * time.Minute

// ExchangeToken takes an identity token of a pipeline for a short token that
// publishes to one project. Whoever asks is nobody yet; every refusal is
// problem.Unauthenticated, so that the door counts it. The refusal of a token
// that nobody vouches for is counted alone; that of a pipeline which is known is
// recorded.
func (s *Service) ExchangeToken(ctx context.Context, c Caller, token, project string) (string, Token, error) {
	if s.pipelines == nil {
		return "", Token{}, problem.New(problem.Unsupported, "oidc-off", "this server takes no identity tokens")
	}
	if len(project) > maxProjectName {
		return "", Token{}, problem.New(problem.Invalid, "project", "this is too long for the name of a project")
	}
	claims, err := s.pipelines.Verify(ctx, token)
	if err != nil {
		return "", Token{}, err
	}
	provider, _ := s.pipelines.Provider(claims.Issuer)
	pl, ok := provider.PipelineOf(&claims)
	c.Principal = access.Principal{Name: "pipeline", Kind: access.KindAnonymous, Issuer: claims.Issuer, Subject: pl.Subject}
	if !ok {
		return "", Token{}, s.refusedExchange(ctx, c, project, &pl, problem.New(problem.Unauthenticated, "oidc-subject",
			"the identity token of %s does not say by its ids whose it is", claims.Issuer))
	}
	secret, id, hash, err := access.NewToken(s.random)
	if err != nil {
		return "", Token{}, err
	}
	now := s.now()
	got, err := s.store.Exchange(ctx, &Exchange{
		Project: project, Use: claims.Use(), Ends: claims.Expires, Now: now,
		Decide: func(p Project, bindings []Publisher) (Exchanged, error) {
			return s.decideExchange(c, &claims, &pl, p, project, bindings, Token{ID: id, Created: now, Expires: now.Add(PipelineTokenLife)}, hash)
		},
	})
	if problem.KindOf(err) == problem.Unauthenticated {
		return "", Token{}, s.refusedExchange(ctx, c, project, &pl, err)
	}
	if err != nil {
		return "", Token{}, err
	}
	return secret, got.Token, nil
}

// decideExchange finds the bindings that a pipeline matches and makes what they
// grant together. It runs inside the transaction, maybe more than once.
func (s *Service) decideExchange(c Caller, claims *access.Claims, pl *access.Pipeline, p Project, name string, bindings []Publisher, t Token, hash [32]byte) (Exchanged, error) {
	var first *Publisher
	var near *access.PublisherDecision // of the pipeline's own binding, the first
	for i := range bindings {
		b := &bindings[i]
		d := b.Match(claims, t.Created)
		if !d.Matched {
			if d.Ours && near == nil {
				near = &d
			}
			continue
		}
		if first == nil {
			first = b
		}
		if len(t.Grants) == maxPipelineGrants {
			break
		}
		g := b.Grant()
		var err error
		if g.ID, err = access.NewID("grn", s.random); err != nil {
			return Exchanged{}, err
		}
		t.Grants = append(t.Grants, g)
	}
	if first == nil || p.Name != name || p.State == ProjectRemoved {
		return Exchanged{}, refusePipeline(claims, pl, name, near)
	}
	t.Name, t.Account, t.AccountID = first.Name, first.Maker, first.MakerID
	c.Principal.ID, c.Principal.Kind, c.Principal.TokenID, c.Principal.Name = first.ID, access.KindToken, t.ID, first.Name
	ev := s.event(c)
	ev.Action, ev.Resource = access.ChartPush, audit.Resource{Project: p.Name}
	ev.Detail = maps.Clone(pl.Facts)
	if pl.Source.Commit != "" {
		ev.Detail["commit"] = pl.Source.Commit
	}
	return Exchanged{
		Token: t, Hash: hash, Event: ev,
		Identity: PipelineIdentity{Publisher: first.ID, Name: first.Name, Issuer: claims.Issuer, Subject: pl.Subject, Source: pl.Source},
	}, nil
}

// Bounds of an exchange.
const (
	maxPipelineGrants = 50  // of one short token
	maxProjectName    = 256 // bytes of what may name a project
)

// refusePipeline tells a pipeline that it may not publish. It repeats what the
// token says, which the sender has. Which claims a binding asks for is told to
// the pipeline of that very repository alone, known by its ids.
func refusePipeline(claims *access.Claims, pl *access.Pipeline, project string, near *access.PublisherDecision) error {
	if near != nil {
		e := problem.New(problem.Unauthenticated, "oidc-claims-differ", "this pipeline publishes to project %.200s, but not in a run like this one", project)
		for _, step := range near.Steps {
			if !step.Matched && len(e.Facts) < 4 {
				e.With(step.Claim, "wanted %s, and the token says %s", step.Want, said(step.Got))
			}
		}
		return e.Suggest("chartkeep publisher test %.200s --id-token-file FILE", project)
	}
	e := problem.New(problem.Unauthenticated, "oidc-no-publisher", "this pipeline may not publish to project %.200s, or there is no such project", project).
		With("issuer", "%.200s", claims.Issuer).With("pipeline", "%s", pl.Subject)
	for _, name := range []string{"repository", "project_path", "workflow_ref", "ref", "event_name", "pipeline_source", "environment"} {
		if v := pl.Facts[name]; v != "" {
			e.With(name, "%.200q", v)
		}
	}
	return e.Suggest("an owner of project %.200s lets a pipeline in as this says: chartkeep help publishers", project)
}

func said(v string) string {
	if v == "" {
		return "nothing"
	}
	return fmt.Sprintf("%q", v)
}

// RefuseReplay is the answer to an identity token that was taken before.
func RefuseReplay() error {
	return problem.New(problem.Unauthenticated, "oidc-replay", "this identity token was used already, and each is taken only once").
		Suggest("ask the platform for a new one; where it was not you who used it, look at: chartkeep audit list --event oidc.")
}

// refusedExchange records the refusal of a pipeline that proved who it is.
func (s *Service) refusedExchange(ctx context.Context, c Caller, project string, pl *access.Pipeline, refusal error) error {
	detail := map[string]string{}
	maps.Copy(detail, pl.Facts)
	if p, ok := problem.As(refusal); ok {
		for _, f := range p.Facts {
			if len(detail) < 14 && detail[f.Label] == "" {
				detail[f.Label] = f.Value
			}
		}
	}
	return s.refusedIdentity(ctx, c, project, pl.Subject, detail, refusal)
}

// refusedIdentity records that somebody was refused for whom an issuer vouches.
// The same refusal is recorded once in a while, with how often it came: public
// issuers give everybody tokens, as many as they like.
func (s *Service) refusedIdentity(ctx context.Context, c Caller, project, subject string, detail map[string]string, refusal error) error {
	p, _ := problem.As(refusal)
	now := s.now()
	count := s.refusals.note(strings.Join([]string{c.Principal.Issuer, subject, project, p.Rule}, "\x00"), now)
	if count == 0 {
		return refusal
	}
	if count > 1 {
		detail[audit.DetailCount] = fmt.Sprint(count)
	}
	ev := s.event(c)
	ev.Name, ev.Outcome, ev.Resource, ev.Detail = audit.OIDCRefused, audit.Outcome{Result: audit.Denied, Rule: p.Rule}, audit.Resource{Project: project}, detail
	if err := s.store.Record(ctx, now, ev); err != nil {
		return err
	}
	return refusal
}
