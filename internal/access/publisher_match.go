package access

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// PublisherStep is one line of the explanation of a match: what was wanted, what
// the token says, and whether that is enough.
type PublisherStep struct {
	Publisher string `json:"publisher,omitempty"`
	Claim     string `json:"claim"`
	Want      string `json:"want"`
	Got       string `json:"got"` // "" when the token does not say
	Matched   bool   `json:"matched"`
	Why       string `json:"why"`
}

// PublisherDecision is whether a token is that of a binding's pipeline, with
// every step.
type PublisherDecision struct {
	Matched bool `json:"matched"`
	// Ours says that the ids match, whatever else does not: it is the pipeline's
	// own repository, project or account that asks.
	Ours  bool            `json:"ours"`
	Steps []PublisherStep `json:"steps"`
}

// Match holds the claims of a token against a binding. The token's signature,
// times and audience are not its matter.
func (p *Publisher) Match(c *Claims, now time.Time) PublisherDecision {
	d := PublisherDecision{Matched: true, Ours: true}
	step := func(id bool, s PublisherStep) {
		s.Publisher = p.ID
		d.Matched = d.Matched && s.Matched
		d.Ours = d.Ours && (s.Matched || !id)
		d.Steps = append(d.Steps, s)
	}
	if err := p.Check(); err != nil { // a row that somebody changed grants nothing
		step(true, PublisherStep{Claim: "-", Why: "the binding itself is not well formed"})
		return d
	}
	step(true, compareOne("iss", p.Issuer, c.Issuer, c.Issuer == p.Issuer))
	if ended(p.Expires, now) {
		step(false, PublisherStep{Claim: "-", Want: "a binding that has not expired", Why: "the binding expired at " + stamp(p.Expires)})
	}
	for _, w := range p.wanted() {
		got, ok := c.Text(w.Claim)
		s, id := p.hold(&w, got, ok, c), w.compare == byID || p.Provider == ProviderGeneric || w.Required
		step(id, s)
	}
	if p.Provider == ProviderKubernetes {
		want := "system:serviceaccount:" + first(p.Claims["namespace"]) + ":" + first(p.Claims["service_account"])
		step(true, compareOne("sub", want, c.Subject, c.Subject == want))
	}
	return d
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func compareOne(claim, want, got string, same bool) PublisherStep {
	s := PublisherStep{Claim: claim, Want: want, Got: clip(got), Matched: same, Why: "it is the same"}
	if !same {
		s.Why = "it is another"
	}
	return s
}

// wanted lists what a binding asks for, defaults included, ids first.
func (p *Publisher) wanted() []Wish {
	var out []Wish
	if p.Provider == ProviderGeneric {
		for _, name := range slices.Sorted(maps.Keys(p.Claims)) {
			out = append(out, Wish{Name: name, Claim: name})
		}
		return out
	}
	for _, w := range wishes[p.Provider] {
		if len(p.Claims[w.Name]) > 0 || len(w.Default) > 0 {
			out = append(out, w)
		}
	}
	return out
}

// hold compares one claim with the values of which it must be one.
func (p *Publisher) hold(w *Wish, got string, has bool, c *Claims) PublisherStep {
	want, byDefault := p.Claims[w.Name], ""
	if len(want) == 0 {
		want, byDefault = w.Default, " (by default)"
	}
	s := PublisherStep{Claim: w.Claim, Want: strings.Join(want, " or ") + byDefault, Got: clip(got)}
	for _, v := range want {
		if has && w.matches(p.Provider, v, got, c) {
			s.Matched, s.Why = true, "it is as wanted"
			return s
		}
	}
	switch {
	case w.compare == forPeople:
		s.Matched, s.Why = true, "the name has changed; the ids decide"
		if !has {
			s.Why = "the token does not say it; the ids decide"
		}
	case !has:
		s.Why = "the token does not say it"
	case w.compare == byID:
		s.Why = "it is another; a name that is the same proves nothing, since names can be taken over"
	default:
		s.Why = "it is not what is wanted"
	}
	return s
}

func (w *Wish) matches(p Provider, want, got string, c *Claims) bool {
	switch w.compare {
	case anyCase, forPeople:
		return strings.EqualFold(want, got)
	case byPattern:
		return matchChart(want, got)
	case byFile:
		return matchFile(p, want, got, c)
	}
	return want == got
}

// matchFile holds a wanted file against the claim that names it with its
// repository and ref: "octo/web/.github/workflows/release.yml@refs/tags/v1" on
// GitHub, "gitlab.com/octo/web//.gitlab-ci.yml@refs/heads/main" on GitLab.
// Repositories are names without case, paths have case. A wanted file without a
// repository is one of the very repository that asks. "@REF" may follow it, with
// a pattern; without, the file of any ref will do.
//
// Both files and branches may have an @ in their names, such as
// release.yml@evil.yml, so the ref begins at the one @ that "refs/" follows.
func matchFile(p Provider, want, got string, c *Claims) bool {
	wantPath, wantRef, hasRef := strings.Cut(want, refMark)
	gotPath, gotRef, _ := strings.Cut(got, refMark)
	if strings.Count(got, refMark) != 1 || hasRef && !matchChart(wantRef, gotRef) {
		return false
	}
	wantRepo, wantFile := divideFile(p, wantPath)
	gotRepo, gotFile := divideFile(p, gotPath)
	if wantRepo == "" {
		wantRepo = ownRepository(p, c)
	}
	return wantFile != "" && wantFile == gotFile && gotRepo != "" && strings.EqualFold(wantRepo, gotRepo)
}

const refMark = "@refs/"

// divideFile splits a path into repository and file; the repository is "" when
// it is left out.
func divideFile(p Provider, path string) (repository, file string) {
	if p == ProviderGitLab {
		repository, file, ok := strings.Cut(path, "//")
		if !ok {
			return "", path
		}
		return repository, file
	}
	// A workflow's file is in .github/workflows, and nowhere else.
	at := strings.Index(path, ".github/workflows/")
	if at == 0 {
		return "", path
	}
	if at < 0 || path[at-1] != '/' || strings.Count(path[:at], "/") != 2 {
		return "", ""
	}
	return path[:at-1], path[at:]
}

// ownRepository is the repository that asks, as file claims name it.
func ownRepository(p Provider, c *Claims) string {
	if p == ProviderGitLab {
		path, _ := c.Text("project_path")
		host := strings.TrimPrefix(strings.TrimPrefix(c.Issuer, "https://"), "http://")
		return strings.TrimRight(host, "/") + "/" + path
	}
	repository, _ := c.Text("repository")
	return repository
}

// Pipeline is what an identity token says of who sent it, in the form that the
// log and the audit trail keep.
type Pipeline struct {
	// Subject is the stable name at the issuer, made of ids: for example
	// "repository_id:41881900,repository_owner_id:65".
	Subject string
	Source  Source
	// Facts are worth a line in the audit trail, by label. None is of a person.
	Facts map[string]string
}

// Source is a commit of a repository, as a platform states it.
type Source struct {
	URL    string
	Commit string // 40 or 64 lower-case hexadecimal digits
}

// maxSubject bounds the stable name of a pipeline, in bytes: what the audit trail
// keeps whole.
const maxSubject = 255

// PipelineOf reads the stable name and the commit out of the claims. ok is false
// when the token lacks what the name is made of; such a token is nobody's.
func (p Provider) PipelineOf(c *Claims) (pl Pipeline, ok bool) {
	claim := func(name string) string { v, _ := c.Text(name); return v }
	facts := []string{}
	switch p {
	case ProviderGitHub:
		pl.Subject, ok = stableName(claim, "repository_id", "repository_owner_id")
		pl.Source = Source{gitHubURL(c.Issuer, claim("repository")), claim("sha")}
		facts = []string{"repository", "workflow_ref", "job_workflow_ref", "ref", "event_name", "environment", "run_id", "run_attempt"}
	case ProviderGitLab:
		pl.Subject, ok = stableName(claim, "project_id", "namespace_id")
		pl.Source = Source{strings.TrimRight(c.Issuer, "/") + "/" + claim("project_path"), claim("sha")}
		facts = []string{"project_path", "ci_config_ref_uri", "ref", "pipeline_source", "environment", "pipeline_id", "job_id"}
	case ProviderKubernetes:
		pl.Subject, ok = "serviceaccount_uid:"+claim(claimUID), claim(claimUID) != ""
		facts = []string{"kubernetes.io/namespace", "kubernetes.io/serviceaccount/name", "kubernetes.io/pod/name", "kubernetes.io/pod/uid"}
	case ProviderGeneric:
		pl.Subject, ok = "sub:"+c.Subject, c.Subject != ""
	}
	if !repositoryURL(pl.Source.URL) || !commit(pl.Source.Commit) {
		pl.Source = Source{}
	}
	pl.Facts = map[string]string{}
	for _, name := range facts {
		if v := claim(name); v != "" {
			pl.Facts[strings.TrimPrefix(name, "kubernetes.io/")] = v
		}
	}
	return pl, ok && len(pl.Subject) <= maxSubject && printable(pl.Subject)
}

// stableName joins ids; ok is false when one is missing or no number.
func stableName(claim func(string) string, names ...string) (s string, ok bool) {
	parts := make([]string, len(names))
	for i, name := range names {
		if !isNumber(claim(name)) {
			return "", false
		}
		parts[i] = fmt.Sprintf("%s:%s", name, claim(name))
	}
	return strings.Join(parts, ","), true
}

// gitHubURL is where the repository of a token is. The issuer of github.com is
// token.actions.githubusercontent.com, that of a host with data residence
// token.actions.NAME.ghe.com, and an Enterprise Server is its own below
// /_services/token.
func gitHubURL(issuer, repository string) string {
	base := strings.TrimPrefix(issuer, "https://")
	host, path, _ := strings.Cut(base, "/")
	switch {
	case host == "token.actions.githubusercontent.com":
		host = "github.com"
	case strings.HasPrefix(host, "token.actions.") && strings.HasSuffix(host, ".ghe.com"):
		host = strings.TrimPrefix(host, "token.actions.")
	case path != "_services/token":
		return ""
	}
	return "https://" + host + "/" + repository
}

// repositoryURL accepts only what a repository's page can be: the log keeps it.
func repositoryURL(s string) bool {
	rest, ok := strings.CutPrefix(s, "https://")
	host, path, found := strings.Cut(rest, "/")
	return ok && found && host != "" && path != "" && len(s) <= 1024 &&
		!strings.ContainsFunc(rest, func(r rune) bool {
			return !(r < 0x80 && alphanumeric(byte(r)) || strings.ContainsRune("./_-:", r))
		})
}

func commit(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}
