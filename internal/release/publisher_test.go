package release_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/remote/oidc"
	"github.com/chartkeep/chartkeep/internal/remote/oidc/oidctest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

const audience = "https://charts.example.com"

// pipelines is a registry that takes the tokens of a local issuer, which counts
// as GitHub.
type pipelines struct {
	*registry
	issuer *oidctest.Issuer
}

func newPipelines(t *testing.T) *pipelines {
	t.Helper()
	p := &pipelines{issuer: oidctest.New(t)}
	p.registry = newRegistry(t, func(c *release.Config) {
		out := remote.New(remote.Config{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
		t.Cleanup(out.Close)
		c.Pipelines = oidc.New(oidc.Config{
			Client: out, Audience: audience, Now: c.Now,
			Issuers: []oidc.Issuer{{Provider: access.ProviderGitHub, URL: p.issuer.URL}, {Provider: access.ProviderGitLab, URL: "https://gitlab.example"}},
		})
	})
	return p
}

// run is what the platform says of a job, some of it changed.
func (p *pipelines) run(changes oidctest.Claims) string {
	return p.issuer.Sign(p.issuer.Times(p.now).With(oidctest.Claims{
		"aud": audience, "sub": "repo:octo/web:ref:refs/tags/v1.0.0", "repository_id": "41881900", "repository_owner_id": "65", "repository": "octo/web",
		"workflow_ref": "octo/web/.github/workflows/release.yml@refs/tags/v1.0.0", "ref": "refs/tags/v1.0.0", "event_name": "push", "environment": "release",
		"sha": "8f4b7f84864484a7bf31766abe9204da3cbe65b3", "run_id": "77",
	}).With(changes))
}

func (p *pipelines) wanted(project string) access.Publisher {
	return access.Publisher{Project: project, Provider: access.ProviderGitHub, Claims: map[string][]string{
		"repository_id": {"41881900"}, "repository_owner_id": {"65"}, "repository": {"octo/web"}, "workflow": {".github/workflows/release.yml"},
	}}
}

func (p *pipelines) bind(want access.Publisher) release.Publisher {
	p.Helper()
	got, err := p.AddPublisher(p.ctx, p.admin, want)
	p.ok(err)
	return got
}

// stranger is whoever comes with an identity token.
var stranger = release.Caller{Principal: access.Anonymous(), Door: audit.DoorAPI, Source: audit.Source{IP: "192.0.2.9"}}

func (p *pipelines) events(name audit.Name) []release.AuditRecord {
	p.Helper()
	records, err := p.Audit(p.ctx, p.admin, release.AuditFilter{Action: string(name), Limit: 1000})
	p.ok(err)
	return records
}

// TestTrustedPublishing is the whole path: issuer, exchange, push, leaf, audit.
func TestTrustedPublishing(t *testing.T) {
	p := newPipelines(t)
	want := p.wanted("demo")
	want.Chart = "web*"
	bound := p.bind(want) // pitfall 7: before the chart has any release
	if bound.Name != "github octo/web" || bound.Maker != "admin" || bound.Issuer != p.issuer.URL {
		t.Errorf("bound %+v", bound)
	}
	secret, token, err := p.ExchangeToken(p.ctx, stranger, p.run(nil), "demo")
	p.ok(err)
	if life := token.Expires.Sub(p.now); life != 15*time.Minute || len(token.Grants) != 1 || token.Grants[0].Role != access.RolePublisher || token.Personal {
		t.Errorf("token %+v", token)
	}
	job := p.as(secret)
	if job.Principal.ID != bound.ID || job.Principal.Subject != "repository_id:41881900,repository_owner_id:65" || job.Principal.Issuer != p.issuer.URL {
		t.Errorf("the job is %+v", job.Principal)
	}
	receipt, err := p.PushArchive(p.ctx, job, "demo", bytes.NewReader(charttest.Build(t, "web", "1.0.0", nil)), nil, release.PushOptions{})
	p.ok(err)
	p.proven(&receipt)
	leaf, err := tlog.ParseLeaf(receipt.Proof.Leaf)
	p.ok(err)
	got := leaf.(tlog.Release)
	if got.Publisher != (tlog.Identity{Issuer: p.issuer.URL, Subject: "repository_id:41881900,repository_owner_id:65"}) {
		t.Errorf("the leaf says that it was published by %+v", got.Publisher)
	}
	// The local issuer's URL is none of GitHub's, so no repository follows from it.
	if got.Source != (tlog.Source{}) {
		t.Errorf("source %+v", got.Source)
	}
	shown, err := p.Release(p.ctx, p.admin, "demo", "web", "1.0.0")
	p.ok(err)
	if shown.Release.By != "pipeline github octo/web" || shown.Release.Publisher != bound.ID {
		t.Errorf("released by %q (%s)", shown.Release.By, shown.Release.Publisher)
	}
	exchanged := p.events(audit.OIDCExchanged)
	if len(exchanged) != 1 || exchanged[0].Event.Actor.Subject != got.Publisher.Subject || exchanged[0].Event.Detail["run_id"] != "77" ||
		exchanged[0].Event.Actor.TokenID != token.ID || exchanged[0].Actor != "pipeline github octo/web" {
		t.Errorf("events %+v", exchanged)
	}
	accepted := p.events(audit.ReleaseAccepted)
	if len(accepted) != 1 || accepted[0].Event.Actor.Issuer != p.issuer.URL || accepted[0].Event.Actor.Subject != got.Publisher.Subject {
		t.Errorf("events %+v", accepted)
	}

	// What the token does not do.
	p.project("other", release.ProjectOptions{})
	for name, do := range map[string]func() error{
		"another project": func() error {
			_, err := p.PushArchive(p.ctx, job, "other", bytes.NewReader(charttest.Build(t, "web", "1.0.0", nil)), nil, release.PushOptions{})
			return err
		},
		"another chart": func() error {
			_, err := p.PushArchive(p.ctx, job, "demo", bytes.NewReader(charttest.Build(t, "db", "1.0.0", nil)), nil, release.PushOptions{})
			return err
		},
		"a yank": func() error {
			_, err := p.Yank(p.ctx, job, "demo", "web", "1.0.0", "mistake", "")
			return err
		},
		"a token of its own": func() error {
			_, _, err := p.CreateToken(p.ctx, job, release.TokenRequest{Grants: []access.Grant{{Role: access.RolePublisher, Project: "demo"}}, Expires: p.now.Add(time.Hour)})
			return err
		},
		"a publisher": func() error { _, err := p.AddPublisher(p.ctx, job, p.wanted("demo")); return err },
		"all logs":    func() error { return p.MayReadLog(p.ctx, job) },
	} {
		if kind := problem.KindOf(do()); kind != problem.Denied && kind != problem.NotFound {
			t.Errorf("%s: %s", name, kind)
		}
	}
	p.now = p.now.Add(15 * time.Minute)
	if _, err := p.Authenticate(p.ctx, secret); problem.KindOf(err) != problem.Unauthenticated {
		t.Errorf("after 15 minutes: %v", err)
	}
}

// The commit stands in the leaf where the platform says it.
func TestLeafSaysTheCommit(t *testing.T) {
	r := newRegistry(t)
	job := r.robot("ci", access.Grant{Role: access.RolePublisher, Project: "demo"})
	job.Principal.Source = access.Source{URL: "https://github.com/octo/web", Commit: "8f4b7f84864484a7bf31766abe9204da3cbe65b3"}
	receipt, err := r.PushArchive(r.ctx, job, "demo", bytes.NewReader(charttest.Build(t, "web", "1.0.0", nil)), nil, release.PushOptions{})
	r.ok(err)
	if want := "source https://github.com/octo/web@8f4b7f84864484a7bf31766abe9204da3cbe65b3\n"; !strings.Contains(string(receipt.Proof.Leaf), want) {
		t.Errorf("leaf %s", receipt.Proof.Leaf)
	}
}

// Pitfall 8: a token is taken once, by whichever process, also after a restart.
func TestPitfall8Replay(t *testing.T) {
	p := newPipelines(t)
	p.bind(p.wanted("demo"))
	token := p.run(nil)
	_, _, err := p.ExchangeToken(p.ctx, stranger, token, "demo")
	p.ok(err)
	for range 2 {
		_, _, err = p.ExchangeToken(p.ctx, stranger, token, "demo")
		p.refused(err, problem.Unauthenticated, "oidc-replay")
	}
	refused := p.events(audit.OIDCRefused)
	if len(refused) != 1 || refused[0].Event.Outcome.Rule != "oidc-replay" || refused[0].Event.Actor.Subject == "" {
		t.Errorf("events %+v", refused)
	}
	// One without an id, too.
	nameless := p.run(oidctest.Claims{"jti": nil})
	_, _, err = p.ExchangeToken(p.ctx, stranger, nameless, "demo")
	p.ok(err)
	_, _, err = p.ExchangeToken(p.ctx, stranger, nameless, "demo")
	p.refused(err, problem.Unauthenticated, "oidc-replay")
	// What was refused for another reason is not used up.
	late := p.run(oidctest.Claims{"event_name": "push"})
	_, _, err = p.ExchangeToken(p.ctx, stranger, late, "none")
	p.refused(err, problem.Unauthenticated, "oidc-no-publisher")
	_, _, err = p.ExchangeToken(p.ctx, stranger, late, "demo")
	p.ok(err)
}

// Pitfall 7: a binding outlives who made it, and one can find it.
func TestPitfall7BindingsOutlivePeople(t *testing.T) {
	p := newPipelines(t)
	_, err := p.CreateAccount(p.ctx, p.admin, "ann", release.KindUser, "a long enough password")
	p.ok(err)
	_, err = p.AddGrant(p.ctx, p.admin, "ann", access.Grant{Role: access.RoleProjectOwner, Project: "demo"})
	p.ok(err)
	who, err := p.Login(p.ctx, "ann", "a long enough password")
	p.ok(err)
	ann := release.Caller{Principal: who, Door: audit.DoorAPI}
	bound, err := p.AddPublisher(p.ctx, ann, p.wanted("demo"))
	p.ok(err)
	p.bind(access.Publisher{Project: "demo", Provider: access.ProviderGitHub, Claims: map[string][]string{"repository_id": {"7"}, "repository_owner_id": {"8"}, "workflow": {".github/workflows/x.yml"}}})
	p.ok(p.DisableAccount(p.ctx, p.admin, "ann"))
	list, err := p.Publishers(p.ctx, p.admin, "", "ann")
	p.ok(err)
	if len(list) != 1 || list[0].ID != bound.ID || !list[0].MakerDisabled {
		t.Errorf("made by ann: %+v", list)
	}
	if _, _, err := p.ExchangeToken(p.ctx, stranger, p.run(nil), "demo"); err != nil {
		t.Errorf("the pipeline stopped with her: %v", err)
	}
	secret, _, err := p.ExchangeToken(p.ctx, stranger, p.run(nil), "demo")
	p.ok(err)
	p.ok(p.RemovePublisher(p.ctx, p.admin, bound.ID))
	if _, err := p.Authenticate(p.ctx, secret); problem.KindOf(err) != problem.Unauthenticated {
		t.Errorf("its token outlives the binding: %v", err)
	}
	_, _, err = p.ExchangeToken(p.ctx, stranger, p.run(nil), "demo")
	p.refused(err, problem.Unauthenticated, "oidc-no-publisher")
	if len(p.events(audit.PublisherAdded)) != 2 || len(p.events(audit.PublisherRemoved)) != 1 {
		t.Error("not every change is on record")
	}
}

// A job can end its token when it is done with it, and no other.
func TestJobEndsItsToken(t *testing.T) {
	p := newPipelines(t)
	p.bind(p.wanted("demo"))
	secret, token, err := p.ExchangeToken(p.ctx, stranger, p.run(nil), "demo")
	p.ok(err)
	_, second, err := p.ExchangeToken(p.ctx, stranger, p.run(nil), "demo")
	p.ok(err)
	job := p.as(secret)
	if kind := problem.KindOf(p.RevokeToken(p.ctx, job, second.ID)); kind != problem.Denied {
		t.Errorf("another job's token: %s", kind)
	}
	p.ok(p.RevokeToken(p.ctx, job, token.ID))
	if _, err := p.Authenticate(p.ctx, secret); problem.KindOf(err) != problem.Unauthenticated {
		t.Errorf("it still works: %v", err)
	}
}

// Several bindings add up; each that does not match gives nothing.
func TestBindingsAddUp(t *testing.T) {
	p := newPipelines(t)
	for _, b := range []struct {
		chart, event string
		versions     access.VersionKind
	}{{"web", "push", ""}, {"api", "push", access.PrereleaseOnly}, {"db", "release", ""}} {
		want := p.wanted("demo")
		want.Chart, want.Versions = b.chart, b.versions
		want.Claims["event_name"] = []string{b.event}
		p.bind(want)
	}
	_, token, err := p.ExchangeToken(p.ctx, stranger, p.run(nil), "demo")
	p.ok(err)
	var charts []string
	for _, g := range token.Grants {
		charts = append(charts, g.Chart+" "+string(g.Versions))
	}
	slices.Sort(charts)
	if got := strings.Join(charts, ", "); got != "api prerelease, web " {
		t.Errorf("grants %s", got)
	}
}

// A stranger learns nothing of bindings and projects; the pipeline of the very
// repository learns what differs.
func TestExchangeTellsOwnersAlone(t *testing.T) {
	p := newPipelines(t)
	want := p.wanted("demo")
	want.Claims["environment"] = []string{"secret-environment-name"}
	p.bind(want)
	p.project("other", release.ProjectOptions{})
	answers := map[string]string{}
	for _, project := range []string{"demo", "other", "no-such-project"} {
		_, _, err := p.ExchangeToken(p.ctx, stranger, p.run(oidctest.Claims{"repository_id": "1", "repository_owner_id": "2", "repository": "octo/web"}), project)
		e := p.refused(err, problem.Unauthenticated, "oidc-no-publisher")
		answers[strings.ReplaceAll(e.Error()+e.Try, project, "X")] = project
		if strings.Contains(e.Error()+e.Try, "secret-environment-name") || strings.Contains(e.Error(), "41881900") {
			t.Errorf("a stranger is told: %v", e)
		}
	}
	if len(answers) != 1 {
		t.Errorf("the answers differ by what there is: %v", answers)
	}
	_, _, err := p.ExchangeToken(p.ctx, stranger, p.run(nil), "demo")
	e := p.refused(err, problem.Unauthenticated, "oidc-claims-differ")
	if !strings.Contains(e.Error(), "secret-environment-name") || !strings.Contains(e.Error(), `"release"`) {
		t.Errorf("the owner is told: %v", e)
	}
	if len(p.events(audit.OIDCExchanged)) != 0 {
		t.Error("something was given")
	}
}

// Everybody gets valid tokens of a public platform, as many as they like: they
// do not fill the audit trail, and what is left out is counted.
func TestRefusalsDoNotFloodTheTrail(t *testing.T) {
	p := newPipelines(t)
	before := len(p.events("oidc."))
	evil := func(n int) string {
		return p.run(oidctest.Claims{"repository_id": fmt.Sprint(n), "repository_owner_id": "2"})
	}
	for range 50 {
		_, _, err := p.ExchangeToken(p.ctx, stranger, evil(1), "demo")
		p.refused(err, problem.Unauthenticated, "oidc-no-publisher")
	}
	if n := len(p.events("oidc.")) - before; n != 1 {
		t.Errorf("%d events for 50 refusals", n)
	}
	p.now = p.now.Add(10 * time.Minute)
	_, _, err := p.ExchangeToken(p.ctx, stranger, evil(1), "demo")
	p.refused(err, problem.Unauthenticated, "oidc-no-publisher")
	if got := p.events(audit.OIDCRefused)[0].Event.Detail[audit.DetailCount]; got != "50" {
		t.Errorf("the second event stands for %q refusals", got)
	}
	// Tokens that nobody vouches for leave no event at all.
	_, _, err = p.ExchangeToken(p.ctx, stranger, "x.y.z", "demo")
	p.refused(err, problem.Unauthenticated, "oidc-malformed")
	if n := len(p.events("oidc.")) - before; n != 2 {
		t.Errorf("%d events", n)
	}
}

func TestAddPublisherRefuses(t *testing.T) {
	p := newPipelines(t)
	p.project("plain", release.ProjectOptions{Kind: release.KindArtifacts})
	project := p.robot("ci", access.Grant{Role: access.RolePublisher, Project: "demo"})
	owner, _, err := p.CreateToken(p.ctx, p.admin, release.TokenRequest{Name: "bot", Grants: []access.Grant{{Role: access.RoleProjectOwner, Project: "demo"}, {Role: access.RolePublisher, Project: "demo"}}, Expires: p.now.Add(time.Hour)})
	p.ok(err)
	with := func(change func(*access.Publisher)) access.Publisher {
		w := p.wanted("demo")
		change(&w)
		return w
	}
	for name, tt := range map[string]struct {
		c    release.Caller
		want access.Publisher
		kind problem.Kind
		rule string
	}{
		"without the right":           {project, p.wanted("demo"), problem.Denied, access.RuleDenied},
		"nobody":                      {stranger, p.wanted("demo"), problem.Unauthenticated, access.RuleSignIn},
		"no such project":             {p.admin, p.wanted("none"), problem.NotFound, "project"},
		"a project without charts":    {p.admin, p.wanted("plain"), problem.Policy, "project-kind"},
		"all projects":                {p.admin, p.wanted("*"), problem.NotFound, "project"},
		"an issuer that nobody knows": {p.admin, with(func(w *access.Publisher) { w.Issuer = "https://evil.example" }), problem.Invalid, "publisher-issuer"},
		"a platform without issuer":   {p.admin, with(func(w *access.Publisher) { w.Provider = access.ProviderKubernetes }), problem.Invalid, "publisher-issuer"},
		"GitHub's tokens by their names": {p.admin, access.Publisher{Project: "demo", Provider: access.ProviderGeneric, Issuer: p.issuer.URL,
			Claims: map[string][]string{"sub": {"repo:octo/web:ref:refs/heads/main"}}}, problem.Invalid, "publisher-issuer"},
		"expired":     {p.admin, with(func(w *access.Publisher) { w.Expires = p.now }), problem.Invalid, "publisher"},
		"without ids": {p.admin, with(func(w *access.Publisher) { delete(w.Claims, "repository_owner_id") }), problem.Invalid, "publisher"},
	} {
		_, err := p.AddPublisher(p.ctx, tt.c, tt.want)
		if e, ok := problem.As(err); !ok || e.Kind != tt.kind || e.Rule != tt.rule {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := p.AddPublisher(p.ctx, p.as(owner), p.wanted("demo")); err != nil && problem.KindOf(err) != problem.Denied {
		t.Errorf("a token: %v", err)
	}
}

// TestExplainPublisher: the explanation is that of the real decision, and uses
// nothing up.
func TestExplainPublisher(t *testing.T) {
	p := newPipelines(t)
	bound := p.bind(p.wanted("demo"))
	token := p.run(nil)
	for range 3 {
		got, err := p.TestPublisher(p.ctx, p.admin, "demo", token, nil)
		p.ok(err)
		if !got.Accepted || !got.Checked || got.Subject == "" || len(got.Bindings) != 1 || got.Bindings[0].ID != bound.ID {
			t.Fatalf("got %+v", got)
		}
	}
	_, _, err := p.ExchangeToken(p.ctx, stranger, token, "demo")
	p.ok(err)
	claims, err := json.Marshal(map[string]any{"iss": p.issuer.URL, "repository_id": "41881900", "repository_owner_id": 65, "event_name": "pull_request_target"})
	p.ok(err)
	got, err := p.TestPublisher(p.ctx, p.admin, "demo", "", claims)
	p.ok(err)
	if got.Accepted || got.Checked || !got.Bindings[0].Ours || got.Bindings[0].Matched {
		t.Errorf("got %+v", got)
	}
	got, err = p.TestPublisher(p.ctx, p.admin, "demo", p.run(oidctest.Claims{"aud": "other"}), nil)
	p.ok(err)
	if got.Accepted || got.Refusal == nil || got.Refusal.Rule != "oidc-audience" {
		t.Errorf("got %+v", got)
	}
	if _, err := p.TestPublisher(p.ctx, stranger, "demo", token, nil); problem.KindOf(err) != problem.Unauthenticated {
		t.Errorf("a stranger may ask: %v", err)
	}
}
