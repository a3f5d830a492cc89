package access

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Provider is the kind of platform that an identity token comes from. It says
// which claims are ids, which are names, and which a binding must ask for.
type Provider string

// The providers.
const (
	ProviderGitHub     Provider = "github"     // GitHub Actions, github.com and Enterprise
	ProviderGitLab     Provider = "gitlab"     // GitLab CI, gitlab.com and self-managed
	ProviderKubernetes Provider = "kubernetes" // projected tokens of service accounts
	ProviderGeneric    Provider = "generic"    // any issuer; claims are compared as they are
)

// Publisher is a binding: a pipeline that proves who it is by an identity token
// of an issuer, and may publish to one project without a token of its own.
//
// Claims holds, by the name of a wish (see Wishes), the values of which the
// token must have one. Ids are what binds: names can be given up and taken by
// somebody else, ids cannot. A name that is recorded beside an id is compared,
// and a difference is said, but it decides nothing.
type Publisher struct {
	ID       string              `json:"id,omitempty"`
	Project  string              `json:"project"`
	Provider Provider            `json:"provider"`
	Issuer   string              `json:"issuer"`
	Claims   map[string][]string `json:"claims"`

	// What it grants beside role publisher in Project; see Grant.
	Chart    string      `json:"chart,omitempty"`
	Versions VersionKind `json:"versions,omitempty"`
	Expires  time.Time   `json:"expires,omitzero"`
}

// Wish describes what a binding can ask of a token.
type Wish struct {
	Name     string   `json:"name"`
	Claim    string   `json:"claim"` // of the token
	Required bool     `json:"required,omitempty"`
	Default  []string `json:"default,omitempty"` // what is asked where the binding does not say
	Words    string   `json:"words"`
	compare  comparison
}

// comparison is how a wanted value is held against that of the token.
type comparison uint8

const (
	exactly   comparison = iota
	byID                 // exactly; a number of the platform that is never given again
	forPeople            // a name: a difference is said and decides nothing
	anyCase              // GitHub's environments differ in more than case
	byPattern            // "*" stands for any characters but a slash
	byFile               // a workflow file, see matchFile
)

// The events and pipeline sources in which only those act who may write to the
// repository, and what runs is what its own branches or tags hold. Others, such
// as pull_request_target, workflow_run or issue_comment, run with the rights of
// the repository on what a stranger sent.
var (
	gitHubEvents  = []string{"push", "release", "workflow_dispatch", "schedule"}
	gitLabSources = []string{"push", "web", "schedule"}
)

var wishes = map[Provider][]Wish{
	ProviderGitHub: {
		{Name: "repository_id", Claim: "repository_id", Required: true, compare: byID, Words: "number of the repository"},
		{Name: "repository_owner_id", Claim: "repository_owner_id", Required: true, compare: byID, Words: "number of its owner"},
		{Name: "repository", Claim: "repository", compare: forPeople, Words: "OWNER/NAME, for people"},
		{Name: "workflow", Claim: "workflow_ref", compare: byFile, Words: "file of the workflow that was started, such as .github/workflows/release.yml"},
		{Name: "job_workflow", Claim: "job_workflow_ref", compare: byFile, Words: "file of the workflow that the job stands in, which may be a reusable one: OWNER/NAME/.github/workflows/FILE"},
		{Name: "environment", Claim: "environment", compare: anyCase, Words: "deployment environment of the job"},
		{Name: "ref", Claim: "ref", compare: byPattern, Words: "branch or tag, such as refs/tags/v*"},
		{Name: "ref_type", Claim: "ref_type", Words: "branch or tag"},
		{Name: "ref_protected", Claim: "ref_protected", Words: "true for a protected branch or tag"},
		{Name: "event_name", Claim: "event_name", Default: gitHubEvents, Words: "what started the workflow"},
		{Name: "runner_environment", Claim: "runner_environment", Words: "github-hosted or self-hosted"},
	},
	ProviderGitLab: {
		{Name: "project_id", Claim: "project_id", Required: true, compare: byID, Words: "number of the project"},
		{Name: "namespace_id", Claim: "namespace_id", Required: true, compare: byID, Words: "number of its group or user"},
		{Name: "project_path", Claim: "project_path", compare: forPeople, Words: "GROUP/NAME, for people"},
		{Name: "ci_config", Claim: "ci_config_ref_uri", compare: byFile, Words: "file of the pipeline, such as .gitlab-ci.yml"},
		{Name: "environment", Claim: "environment", Words: "deployment environment of the job"},
		{Name: "environment_protected", Claim: "environment_protected", Words: "true for a protected environment"},
		{Name: "ref", Claim: "ref", compare: byPattern, Words: "branch or tag, such as v*"},
		{Name: "ref_type", Claim: "ref_type", Words: "branch or tag"},
		{Name: "ref_protected", Claim: "ref_protected", Default: []string{"true"}, Words: "true for a protected branch or tag"},
		{Name: "pipeline_source", Claim: "pipeline_source", Default: gitLabSources, Words: "what started the pipeline"},
	},
	ProviderKubernetes: {
		{Name: "uid", Claim: claimUID, Required: true, compare: byID, Words: "uid of the service account"},
		{Name: "namespace", Claim: "kubernetes.io/namespace", Required: true, Words: "namespace of the service account"},
		{Name: "service_account", Claim: "kubernetes.io/serviceaccount/name", Required: true, Words: "name of the service account"},
	},
}

const claimUID = "kubernetes.io/serviceaccount/uid"

// Wishes lists what a binding of a provider can ask of a token. Of a generic one
// it is any claim by its own name, and the list is empty.
func (p Provider) Wishes() []Wish { return slices.Clone(wishes[p]) }

// wish finds what a name means. For a generic issuer it is the claim itself.
func (p Provider) wish(name string) (Wish, bool) {
	if p == ProviderGeneric {
		return Wish{Name: name, Claim: name}, !slices.Contains([]string{"iss", "aud", "exp", "nbf", "iat", "jti"}, name)
	}
	i := slices.IndexFunc(wishes[p], func(w Wish) bool { return w.Name == name })
	if i < 0 {
		return Wish{}, false
	}
	return wishes[p][i], true
}

// Bounds of a binding.
const (
	maxWishes     = 16
	maxWishValues = 16
	maxWishText   = 255 // bytes
	maxIssuer     = 255 // bytes
)

// Check returns a problem when the binding is not well formed, or asks for too
// little: the ids of its provider are never left out, and neither is the file of
// the workflow on GitHub, since every workflow of a repository can get a token.
func (p *Publisher) Check() error {
	if !slices.Contains([]Provider{ProviderGitHub, ProviderGitLab, ProviderKubernetes, ProviderGeneric}, p.Provider) {
		return publisherProblem("there is no provider %q", clip(string(p.Provider))).
			With("providers", "%s, %s, %s, %s", ProviderGitHub, ProviderGitLab, ProviderKubernetes, ProviderGeneric)
	}
	if p.Issuer == "" || len(p.Issuer) > maxIssuer || !printable(p.Issuer) {
		return publisherProblem("%q is not an issuer", clip(p.Issuer))
	}
	if strings.Contains(p.Project, "*") {
		return publisherProblem("a pipeline publishes to one project, and %q is a pattern", clip(p.Project))
	}
	if err := p.Grant().Check(); err != nil {
		return err
	}
	if len(p.Claims) > maxWishes {
		return publisherProblem("the binding asks for more than %d claims", maxWishes)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Claims)) {
		if err := p.checkWish(name, p.Claims[name]); err != nil {
			return err
		}
	}
	for _, w := range wishes[p.Provider] {
		if w.Required && len(p.Claims[w.Name]) != 1 {
			return publisherProblem("a binding of %s needs exactly one %s", p.Provider, w.Name).With("it is", "%s", w.Words).
				Suggest("chartkeep help publishers")
		}
	}
	switch {
	case p.Provider == ProviderGitHub && len(p.Claims["workflow"]) == 0 && len(p.Claims["job_workflow"]) == 0:
		return publisherProblem("a binding of github names the file of the workflow, since every workflow of the repository can get a token").
			Suggest("--workflow .github/workflows/release.yml")
	case p.Provider == ProviderGeneric && len(p.Claims) == 0:
		return publisherProblem("a binding of a generic issuer asks for at least one claim").Suggest("--claim sub=VALUE")
	}
	return nil
}

func (p *Publisher) checkWish(name string, values []string) error {
	w, ok := p.Provider.wish(name)
	if !ok || len(name) > maxWishText || !printable(name) {
		e := publisherProblem("a binding of %s cannot ask for %q", p.Provider, clip(name))
		names := make([]string, 0, 11)
		for _, w := range wishes[p.Provider] {
			names = append(names, w.Name)
		}
		if len(names) > 0 {
			e.With("it can ask for", "%s", strings.Join(names, ", "))
		}
		return e
	}
	if len(values) == 0 || len(values) > maxWishValues {
		return publisherProblem("%s has %d values, between 1 and %d are allowed", name, len(values), maxWishValues)
	}
	for _, v := range values {
		switch {
		case v == "" || len(v) > maxWishText || !printable(v):
			return publisherProblem("%q cannot be wanted of %s: it is empty, too long or not printable", clip(v), name)
		case w.compare == byID && p.Provider != ProviderKubernetes && !isNumber(v):
			return publisherProblem("%s is a number that the platform gave, and %q is none: names can be taken over by somebody else", name, clip(v)).
				Suggest("%s", idHelp(p.Provider))
		case (w.compare == byPattern || w.compare == byFile) && strings.Contains(v, "**"):
			return publisherProblem("%q is not a pattern of %s: one * stands for any characters but a slash", clip(v), name)
		}
	}
	return nil
}

func publisherProblem(format string, args ...any) *problem.Error {
	return problem.New(problem.Invalid, "publisher", format, args...)
}

func idHelp(p Provider) string {
	if p == ProviderGitHub {
		return "gh api repos/OWNER/NAME --jq '.id, .owner.id'"
	}
	return "glab api projects/GROUP%2FNAME, fields id and namespace.id"
}

func isNumber(s string) bool {
	n, err := strconv.ParseUint(s, 10, 63)
	return err == nil && strconv.FormatUint(n, 10) == s
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) })
}

// Grant is what a pipeline that matches may do: publish, in one project.
func (p *Publisher) Grant() Grant {
	return Grant{ID: p.ID, Role: RolePublisher, Project: p.Project, Chart: p.Chart, Versions: p.Versions, Expires: p.Expires}
}

// Names is what the pipeline is called where people read: the platform, and the
// name that was recorded, or else its ids.
func (p *Publisher) Names() string {
	var what string
	switch first := func(name string) string { return strings.Join(p.Claims[name][:min(1, len(p.Claims[name]))], "") }; p.Provider {
	case ProviderGitHub:
		if what = first("repository"); what == "" {
			what = "repository " + first("repository_id")
		}
	case ProviderGitLab:
		if what = first("project_path"); what == "" {
			what = "project " + first("project_id")
		}
	case ProviderKubernetes:
		what = first("namespace") + "/" + first("service_account")
	default:
		if what = first("sub"); what == "" {
			what = p.Issuer
		}
	}
	return fmt.Sprintf("%s %s", p.Provider, what)
}
