package access

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

var matchTime = time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC)

const (
	gitHubIssuer = "https://token.actions.githubusercontent.com"
	gitLabIssuer = "https://gitlab.com"
)

// claims are those of a token, with some changed; nil takes one away.
type claims map[string]any

func (c claims) with(changes claims) claims {
	out := maps.Clone(c)
	maps.Copy(out, changes)
	maps.DeleteFunc(out, func(_ string, v any) bool { return v == nil })
	return out
}

func (c claims) parse(t testing.TB) Claims {
	t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return mustClaims(t, string(b))
}

// gitHubRun is what GitHub says of a job, in the form that it has since the ids
// stand in its subject.
func gitHubRun() claims {
	return claims{
		"iss": gitHubIssuer, "aud": "https://charts.example.com", "jti": "example-id",
		"sub":           "repo:octo-org@65/octo-web@41881900:environment:prod",
		"repository_id": "41881900", "repository_owner_id": "65", "repository": "octo-org/octo-web", "repository_owner": "octo-org",
		"workflow_ref": "octo-org/octo-web/.github/workflows/release.yml@refs/tags/v1.2.3", "job_workflow_ref": "octo-org/octo-web/.github/workflows/release.yml@refs/tags/v1.2.3",
		"environment": "prod", "ref": "refs/tags/v1.2.3", "ref_type": "tag", "ref_protected": "true", "event_name": "push",
		"runner_environment": "github-hosted", "sha": "8f4b7f84864484a7bf31766abe9204da3cbe65b3", "run_id": "1", "exp": 1700000600, "iat": 1700000000,
	}
}

func gitHubBinding(changes map[string][]string) Publisher {
	p := Publisher{ID: "pub-1", Project: "demo", Provider: ProviderGitHub, Issuer: gitHubIssuer, Claims: map[string][]string{
		"repository_id": {"41881900"}, "repository_owner_id": {"65"}, "repository": {"octo-org/octo-web"}, "workflow": {".github/workflows/release.yml"},
	}}
	maps.Copy(p.Claims, changes)
	maps.DeleteFunc(p.Claims, func(_ string, v []string) bool { return v == nil })
	return p
}

// want is a claim that fails, "" for a match.
func matchFails(t *testing.T, p Publisher, c claims, want string) PublisherDecision {
	t.Helper()
	parsed := c.parse(t)
	d := p.Match(&parsed, matchTime)
	var failed []string
	for _, s := range d.Steps {
		if !s.Matched {
			failed = append(failed, s.Claim)
		}
	}
	got := strings.Join(failed, " ")
	if got != want || d.Matched != (want == "") {
		t.Errorf("matched %t, failed %q, want %q\n%+v", d.Matched, got, want, d.Steps)
	}
	return d
}

// The pitfalls of trusted publishing, by their numbers in the research notes.

func TestPitfall1AccountResurrection(t *testing.T) {
	// Somebody registered the names again that the organisation gave up.
	d := matchFails(t, gitHubBinding(nil), gitHubRun().with(claims{"repository_id": "999", "repository_owner_id": "777", "sub": "repo:octo-org/octo-web:ref:refs/tags/v1"}),
		"repository_id repository_owner_id")
	if d.Ours {
		t.Error("who took the names over is told what the binding asks for")
	}
	// The repository was moved to another owner, and kept its number.
	matchFails(t, gitHubBinding(nil), gitHubRun().with(claims{"repository_owner_id": "777"}), "repository_owner_id")
	// GitLab: the namespace's name alone is nothing.
	matchFails(t, gitLabBinding(nil), gitLabRun().with(claims{"namespace_id": "777"}), "namespace_id")
	matchFails(t, gitLabBinding(nil), gitLabRun().with(claims{"project_id": "777"}), "project_id")
	// Kubernetes: an account of that name was deleted and made anew.
	matchFails(t, kubernetesBinding(), kubernetesRun("other-uid"), claimUID)
	for _, missing := range []string{"repository_id", "repository_owner_id"} {
		p := gitHubBinding(map[string][]string{missing: nil})
		if err := p.Check(); problem.KindOf(err) != problem.Invalid {
			t.Errorf("a binding without %s: %v", missing, err)
		}
	}
	p := gitHubBinding(map[string][]string{"repository_id": {"octo-org/octo-web"}})
	if err := p.Check(); err == nil {
		t.Error("a name stands where an id is")
	}
}

func TestPitfall2SubjectIsNeverMatched(t *testing.T) {
	// Both forms of GitHub's subject, and none, lead to the same answer.
	for _, sub := range []any{"repo:octo-org/octo-web:ref:refs/tags/v1.2.3", "repo:octo-org@65/octo-web@41881900:environment:prod", nil} {
		matchFails(t, gitHubBinding(nil), gitHubRun().with(claims{"sub": sub}), "")
	}
	for _, provider := range []Provider{ProviderGitHub, ProviderGitLab, ProviderKubernetes} {
		p := gitHubBinding(nil)
		p.Provider, p.Claims = provider, map[string][]string{"sub": {"repo:octo-org/octo-web"}}
		if err := p.Check(); err == nil {
			t.Errorf("%s: a binding asks for the subject", provider)
		}
	}
	c := gitHubRun().with(claims{"sub": "repo:octo-org/octo-web:ref:x"}).parse(t)
	if pl, ok := ProviderGitHub.PipelineOf(&c); !ok || pl.Subject != "repository_id:41881900,repository_owner_id:65" {
		t.Errorf("the log would name it %q", pl.Subject)
	}
}

func TestPitfall3ReusableWorkflows(t *testing.T) {
	called := gitHubRun().with(claims{"job_workflow_ref": "octo-org/shared/.github/workflows/publish.yml@refs/heads/main"})
	caller := gitHubBinding(nil)
	matchFails(t, caller, called, "") // the caller's file is asked for, and only that
	both := gitHubBinding(map[string][]string{"job_workflow": {"octo-org/shared/.github/workflows/publish.yml"}})
	matchFails(t, both, called, "")
	matchFails(t, both, gitHubRun(), "job_workflow_ref")
	reusable := gitHubBinding(map[string][]string{"workflow": nil, "job_workflow": {"octo-org/shared/.github/workflows/publish.yml@refs/heads/main"}})
	matchFails(t, reusable, called, "")
	matchFails(t, reusable, called.with(claims{"job_workflow_ref": "octo-org/shared/.github/workflows/publish.yml@refs/heads/try"}), "job_workflow_ref")
	matchFails(t, reusable, called.with(claims{"job_workflow_ref": "octo-web/shared/.github/workflows/publish.yml@refs/heads/main"}), "job_workflow_ref")
	// The called workflow is not taken for the caller's.
	matchFails(t, caller, called.with(claims{"workflow_ref": "octo-org/octo-web/.github/workflows/other.yml@refs/tags/v1.2.3",
		"job_workflow_ref": "octo-org/octo-web/.github/workflows/release.yml@refs/tags/v1.2.3"}), "workflow_ref")
	neither := gitHubBinding(map[string][]string{"workflow": nil})
	if err := neither.Check(); err == nil {
		t.Error("a binding of GitHub names no workflow at all")
	}
}

func TestPitfall4EventsOfStrangers(t *testing.T) {
	for _, event := range []string{"pull_request_target", "pull_request", "workflow_run", "issue_comment", "issues", "discussion_comment", "fork", "watch", "repository_dispatch", "merge_group", ""} {
		matchFails(t, gitHubBinding(nil), gitHubRun().with(claims{"event_name": event}), "event_name")
	}
	matchFails(t, gitHubBinding(nil), gitHubRun().with(claims{"event_name": nil}), "event_name")
	for _, event := range gitHubEvents {
		matchFails(t, gitHubBinding(nil), gitHubRun().with(claims{"event_name": event}), "")
	}
	matchFails(t, gitHubBinding(map[string][]string{"event_name": {"repository_dispatch"}}), gitHubRun().with(claims{"event_name": "repository_dispatch"}), "")
	matchFails(t, gitHubBinding(map[string][]string{"event_name": {"release"}}), gitHubRun(), "event_name")
	// Environment and protected refs, where the binding asks for them.
	strict := gitHubBinding(map[string][]string{"environment": {"prod"}, "ref": {"refs/tags/v*"}, "ref_type": {"tag"}, "ref_protected": {"true"}, "runner_environment": {"github-hosted"}})
	matchFails(t, strict, gitHubRun(), "")
	for claim, value := range map[string]any{"environment": nil, "ref": "refs/heads/v1/x", "ref_type": "branch", "ref_protected": "false", "runner_environment": "self-hosted"} {
		matchFails(t, strict, gitHubRun().with(claims{claim: value}), claim)
	}
	matchFails(t, strict, gitHubRun().with(claims{"ref_protected": true}), "")
}

func TestPitfall5FilesAndAudiences(t *testing.T) {
	// A file that only looks like the trusted one.
	for _, ref := range []string{
		"octo-org/octo-web/.github/workflows/release.yml.evil.yml@refs/tags/v1", "octo-org/octo-web/.github/workflows/x/.github/workflows/release.yml@refs/tags/v1",
		"octo-org/octo-web/.github/workflows/Release.yml@refs/tags/v1", "octo-org/octo-web/.github/workflows/release.yml", "evil/octo-web/.github/workflows/release.yml@refs/tags/v1",
		"octo-org/octo-web/.github/workflows/release.yml@evil.yml@refs/tags/v1", "octo-org/octo-web/.github/workflows/release.yml@refs/tags/v1@refs/tags/v1",
		"octo-org/octo-web/sub/.github/workflows/release.yml@refs/tags/v1", ".github/workflows/release.yml@refs/tags/v1", "octo-org/octo-webX.github/workflows/release.yml@r", "",
	} {
		matchFails(t, gitHubBinding(nil), gitHubRun().with(claims{"workflow_ref": ref}), "workflow_ref")
	}
	// What audience a token has is checked where its signature is, see package oidc.
}

func TestPitfall6GitLabMergeRequests(t *testing.T) {
	matchFails(t, gitLabBinding(nil), gitLabRun(), "")
	for _, source := range []string{"merge_request_event", "external_pull_request_event", "parent_pipeline", "trigger", "pipeline", "chat", "api"} {
		matchFails(t, gitLabBinding(nil), gitLabRun().with(claims{"pipeline_source": source}), "pipeline_source")
	}
	// GitLab says true and false as texts; "false" is a text that is not empty.
	for _, no := range []any{"false", false, nil, "TRUE", "1", 1} {
		matchFails(t, gitLabBinding(nil), gitLabRun().with(claims{"ref_protected": no}), "ref_protected")
	}
	open := gitLabBinding(map[string][]string{"ref_protected": {"true", "false"}})
	matchFails(t, open, gitLabRun().with(claims{"ref_protected": "false"}), "")
	env := gitLabBinding(map[string][]string{"environment": {"prod"}, "environment_protected": {"true"}, "ci_config": {".gitlab-ci.yml"}})
	matchFails(t, env, gitLabRun().with(claims{"environment": "prod", "environment_protected": "true"}), "")
	matchFails(t, env, gitLabRun().with(claims{"environment": "prod", "environment_protected": "false"}), "environment_protected")
	matchFails(t, env, gitLabRun().with(claims{"environment": "prod", "environment_protected": "true", "ci_config_ref_uri": "gitlab.com/evil/ci//.gitlab-ci.yml@refs/heads/main"}), "ci_config_ref_uri")
	shared := gitLabBinding(map[string][]string{"ci_config": {"gitlab.com/octo/ci//release.yml@refs/heads/main"}})
	matchFails(t, shared, gitLabRun().with(claims{"ci_config_ref_uri": "gitlab.com/octo/ci//release.yml@refs/heads/main"}), "")
}

func TestPitfall9NamesHaveNoCase(t *testing.T) {
	upper := gitHubRun().with(claims{
		"repository": "Octo-Org/Octo-Web", "environment": "PROD",
		"workflow_ref": "Octo-Org/Octo-Web/.github/workflows/release.yml@refs/tags/v1.2.3",
	})
	matchFails(t, gitHubBinding(map[string][]string{"environment": {"Prod"}}), upper, "")
	// A new name is said, and decides nothing: the ids are the same.
	d := matchFails(t, gitHubBinding(nil), gitHubRun().with(claims{"repository": "octo-org/renamed", "workflow_ref": "octo-org/renamed/.github/workflows/release.yml@refs/tags/v1.2.3"}), "")
	if !slices.ContainsFunc(d.Steps, func(s PublisherStep) bool {
		return s.Claim == "repository" && strings.Contains(s.Why, "has changed")
	}) {
		t.Errorf("nobody says that the name has changed: %+v", d.Steps)
	}
}

func gitLabRun() claims {
	return claims{
		"iss": gitLabIssuer, "aud": "https://charts.example.com", "sub": "project_path:octo/web:ref_type:tag:ref:v1.2.3", "jti": "j",
		"project_id": "22", "namespace_id": "72", "project_path": "octo/web", "namespace_path": "octo", "ref": "v1.2.3", "ref_type": "tag", "ref_protected": "true",
		"ci_config_ref_uri": "gitlab.com/octo/web//.gitlab-ci.yml@refs/tags/v1.2.3", "pipeline_source": "push", "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
	}
}

func gitLabBinding(changes map[string][]string) Publisher {
	p := Publisher{ID: "pub-2", Project: "demo", Provider: ProviderGitLab, Issuer: gitLabIssuer, Claims: map[string][]string{"project_id": {"22"}, "namespace_id": {"72"}}}
	maps.Copy(p.Claims, changes)
	return p
}

const clusterIssuer = "https://kubernetes.default.svc.cluster.local"

func kubernetesRun(uid string) claims {
	return claims{"iss": clusterIssuer, "aud": []string{"https://charts.example.com"}, "sub": "system:serviceaccount:build:publisher",
		"kubernetes.io": map[string]any{"namespace": "build", "serviceaccount": map[string]any{"name": "publisher", "uid": uid}, "pod": map[string]any{"name": "release-x", "uid": "p"}}}
}

func kubernetesBinding() Publisher {
	return Publisher{ID: "pub-3", Project: "demo", Provider: ProviderKubernetes, Issuer: clusterIssuer, Claims: map[string][]string{"uid": {"uid-1"}, "namespace": {"build"}, "service_account": {"publisher"}}}
}

func TestMatchKubernetesAndGeneric(t *testing.T) {
	matchFails(t, kubernetesBinding(), kubernetesRun("uid-1"), "")
	matchFails(t, kubernetesBinding(), kubernetesRun("uid-1").with(claims{"sub": "system:serviceaccount:build:other"}), "sub")
	matchFails(t, kubernetesBinding(), kubernetesRun("uid-1").with(claims{"iss": "https://other"}), "iss")
	generic := Publisher{ID: "pub-4", Project: "demo", Provider: ProviderGeneric, Issuer: "https://ci.example.com", Claims: map[string][]string{"pipeline/id": {"7"}, "sub": {"job"}}}
	run := claims{"iss": "https://ci.example.com", "sub": "job", "pipeline": map[string]any{"id": 7}}
	matchFails(t, generic, run, "")
	matchFails(t, generic, run.with(claims{"pipeline": map[string]any{"id": 8}}), "pipeline/id")
	matchFails(t, generic, run.with(claims{"sub": "Job"}), "sub")
	generic.Expires = matchTime
	matchFails(t, generic, run, "-")
}

// A row that somebody changed behind the server's back so that it asks for
// nothing grants nothing.
func TestMatchFailsClosed(t *testing.T) {
	for _, p := range []Publisher{
		{ID: "pub-9"},
		{ID: "pub-9", Project: "demo", Provider: ProviderGeneric, Issuer: gitHubIssuer},
		{ID: "pub-9", Project: "*", Provider: ProviderGeneric, Issuer: gitHubIssuer, Claims: map[string][]string{"sub": {"x"}}},
		gitHubBinding(map[string][]string{"repository_id": nil}),
		gitHubBinding(map[string][]string{"event_name": {}}),
	} {
		c := gitHubRun().parse(t)
		if d := p.Match(&c, matchTime); d.Matched || d.Ours {
			t.Errorf("%+v matches", p)
		}
	}
}

func TestPipelineOf(t *testing.T) {
	for _, tt := range []struct {
		name    string
		p       Provider
		c       claims
		subject string
		source  Source
	}{
		{"github.com", ProviderGitHub, gitHubRun(), "repository_id:41881900,repository_owner_id:65", Source{"https://github.com/octo-org/octo-web", "8f4b7f84864484a7bf31766abe9204da3cbe65b3"}},
		{"its own issuer of an enterprise", ProviderGitHub, gitHubRun().with(claims{"iss": gitHubIssuer + "/octo-enterprise"}), "repository_id:41881900,repository_owner_id:65", Source{"https://github.com/octo-org/octo-web", "8f4b7f84864484a7bf31766abe9204da3cbe65b3"}},
		{"Enterprise Server", ProviderGitHub, gitHubRun().with(claims{"iss": "https://ghe.example.com/_services/token"}), "repository_id:41881900,repository_owner_id:65", Source{"https://ghe.example.com/octo-org/octo-web", "8f4b7f84864484a7bf31766abe9204da3cbe65b3"}},
		{"data residence", ProviderGitHub, gitHubRun().with(claims{"iss": "https://token.actions.octo.ghe.com"}), "repository_id:41881900,repository_owner_id:65", Source{"https://octo.ghe.com/octo-org/octo-web", "8f4b7f84864484a7bf31766abe9204da3cbe65b3"}},
		{"no commit", ProviderGitHub, gitHubRun().with(claims{"sha": "main"}), "repository_id:41881900,repository_owner_id:65", Source{}},
		{"a repository that is no path", ProviderGitHub, gitHubRun().with(claims{"repository": "a b\n@c"}), "repository_id:41881900,repository_owner_id:65", Source{}},
		{"an id that is a name", ProviderGitHub, gitHubRun().with(claims{"repository_id": "octo,web"}), "", Source{"https://github.com/octo-org/octo-web", "8f4b7f84864484a7bf31766abe9204da3cbe65b3"}},
		{"gitlab.com", ProviderGitLab, gitLabRun(), "project_id:22,namespace_id:72", Source{"https://gitlab.com/octo/web", "714a629c0b401fdce83e847fc9589983fc6f46bc"}},
		{"a cluster", ProviderKubernetes, kubernetesRun("uid-1"), "serviceaccount_uid:uid-1", Source{}},
		{"generic", ProviderGeneric, claims{"iss": "x", "sub": "job"}, "sub:job", Source{}},
		{"generic without subject", ProviderGeneric, claims{"iss": "x"}, "", Source{}},
	} {
		c := tt.c.parse(t)
		pl, ok := tt.p.PipelineOf(&c)
		if ok != (tt.subject != "") || ok && pl.Subject != tt.subject || pl.Source != tt.source {
			t.Errorf("%s: %t %q %+v", tt.name, ok, pl.Subject, pl.Source)
		}
	}
}

// Whatever the values are, a decision is the sum of its steps, and ids that
// differ never match.
func FuzzMatch(f *testing.F) {
	f.Add("41881900", "65", "octo-org/octo-web/.github/workflows/release.yml@refs/tags/v1", "refs/tags/v1", "push")
	f.Add("41881900", "66", "a/b/.github/workflows/*@*", "**", "PUSH")
	f.Fuzz(func(t *testing.T, repository, owner, workflow, ref, event string) {
		b, err := json.Marshal(gitHubRun().with(claims{"repository_id": repository, "repository_owner_id": owner, "workflow_ref": workflow, "ref": ref, "event_name": event}))
		if err != nil {
			return
		}
		c, err := ParseClaims(b)
		if err != nil {
			return
		}
		p := gitHubBinding(map[string][]string{"ref": {"refs/tags/v*"}})
		d := p.Match(&c, matchTime)
		all := true
		for _, s := range d.Steps {
			all = all && s.Matched
		}
		if d.Matched != all || d.Matched && (repository != "41881900" || owner != "65" || !slices.Contains(gitHubEvents, event)) {
			t.Fatalf("%+v", d)
		}
	})
}
