package access

import (
	"fmt"
	"time"
)

// Request is what a principal wants to do.
type Request struct {
	Action        Action
	Project       string // empty for what concerns the server as a whole
	ProjectPublic bool   // everyone may pull from it
	Chart         string // the chart, or the repository below the project; empty where the action is not about one
	Prerelease    bool   // the version is a SemVer pre-release
}

// Step is one line of an explanation: what was looked at, and what came of it.
type Step struct {
	Holder  string `json:"holder"`          // "everyone", "credential", or "account" for the account behind a personal token
	Grant   *Grant `json:"grant,omitempty"` // nil where no grant was looked at
	Matched bool   `json:"matched"`
	Why     string `json:"why"`
}

// Decision is an answer with its reasons.
type Decision struct {
	Allowed bool   `json:"allowed"`
	Grant   *Grant `json:"grant,omitempty"` // the first grant of the credential that allows it; nil for a public project
	Steps   []Step `json:"steps"`           // every grant, also those after the first match
}

// The holders of a Step.
const (
	holderEveryone   = "everyone"
	holderCredential = "credential"
	holderAccount    = "account"
)

// verdict is why a grant does or does not allow a request.
type verdict uint8

const (
	matched verdict = iota
	otherProject
	lacksAction
	grantExpired
	needsPerson
	needsServer
	needsWhole
	otherChart
	onlyPrereleases
)

// Allowed is the decision without its reasons, for the hot path: it does not
// allocate. It costs one comparison per grant of the principal.
func Allowed(p Principal, r Request, now time.Time) bool {
	return allowed(&p, &r, now, false)
}

// Could reports whether the principal may take the action on some version, and
// where r.Chart is empty on some chart, of the project. A door that learns chart
// and version only from a body asks Could before it reads the body, and Allowed
// once it knows. A refusal by Could is final; a yes is not yet a right.
func Could(p Principal, r Request, now time.Time) bool {
	return allowed(&p, &r, now, true)
}

// Decide is Allowed with the reasons. Both always agree.
func Decide(p Principal, r Request, now time.Time) Decision {
	d := Decision{Allowed: Allowed(p, r, now)}
	if r.Action == ChartPull {
		s := Step{Holder: holderEveryone, Matched: r.ProjectPublic, Why: fmt.Sprintf("project %s is not public", r.Project)}
		if r.ProjectPublic {
			s.Why = fmt.Sprintf("project %s is public: everyone may pull", r.Project)
		}
		d.Steps = append(d.Steps, s)
	}
	d.Steps = append(d.Steps, steps(&p, holderCredential, &r, now)...)
	if p.Of != nil {
		d.Steps = append(d.Steps, steps(p.Of, holderAccount, &r, now)...)
	}
	if d.Allowed {
		for i := range d.Steps {
			if s := &d.Steps[i]; s.Matched && s.Holder == holderCredential {
				d.Grant = s.Grant
				break
			}
		}
	}
	return d
}

func steps(p *Principal, holder string, r *Request, now time.Time) []Step {
	if _, ok := actionIndex[r.Action]; !ok {
		return []Step{{Holder: holder, Why: fmt.Sprintf("there is no action %q", clip(string(r.Action)))}}
	}
	if p.expired(now) {
		return []Step{{Holder: holder, Why: "the credential expired at " + stamp(p.Expires)}}
	}
	if len(p.Grants) == 0 {
		return []Step{{Holder: holder, Why: "it has no grants"}}
	}
	out := make([]Step, 0, len(p.Grants))
	for i := range p.Grants {
		g := p.Grants[i] // a copy, so that a kept decision does not change with the principal
		v := match(&g, p.Kind, r, now, false)
		out = append(out, Step{Holder: holder, Grant: &g, Matched: v == matched, Why: v.words(&g, r)})
	}
	return out
}

func allowed(p *Principal, r *Request, now time.Time, loose bool) bool {
	if r.Action == ChartPull && r.ProjectPublic {
		return true
	}
	return holds(p, r, now, loose) && (p.Of == nil || holds(p.Of, r, now, loose))
}

func holds(p *Principal, r *Request, now time.Time, loose bool) bool {
	if p.expired(now) {
		return false
	}
	for i := range p.Grants {
		if match(&p.Grants[i], p.Kind, r, now, loose) == matched {
			return true
		}
	}
	return false
}

// match is the one rule; everything else words it. With loose, limits that the
// request cannot meet or miss yet are taken as met.
func match(g *Grant, kind Kind, r *Request, now time.Time, loose bool) verdict {
	if !matchProject(g.Project, r.Project) {
		return otherProject
	}
	action, ok := actionIndex[r.Action]
	if !ok || !g.Role.actions().has(action) {
		return lacksAction
	}
	if ended(g.Expires, now) {
		return grantExpired
	}
	info := &actionTable[action]
	if info.Personal && kind != KindUser {
		return needsPerson
	}
	switch info.Reach {
	case ReachRead:
		return matched
	case ReachInstance:
		if g.Project != "*" {
			return needsServer
		}
	}
	if !g.limited() {
		return matched
	}
	if info.Reach != ReachChart {
		return needsWhole
	}
	if g.Chart != "" && (r.Chart != "" || !loose) && !matchChart(g.Chart, r.Chart) {
		return otherChart
	}
	if g.Versions != "" && g.Versions != AnyVersion && !loose && (g.Versions != PrereleaseOnly || !r.Prerelease) {
		return onlyPrereleases
	}
	return matched
}

func (v verdict) words(g *Grant, r *Request) string {
	switch v {
	case matched:
		return fmt.Sprintf("role %s has %s", g.Role, r.Action)
	case otherProject:
		if r.Project == "" {
			return fmt.Sprintf("it is for %s, not for the whole server", projectWords(g.Project))
		}
		return fmt.Sprintf("it is for %s, not %s", projectWords(g.Project), r.Project)
	case lacksAction:
		return fmt.Sprintf("role %s does not have %s", g.Role, r.Action)
	case grantExpired:
		return "it expired at " + stamp(g.Expires)
	case needsPerson:
		return fmt.Sprintf("%s needs a person: a token that belongs to a project cannot do it", r.Action)
	case needsServer:
		return fmt.Sprintf("%s concerns the server and needs a grant on *", r.Action)
	case needsWhole:
		return fmt.Sprintf("%s concerns the whole project, and the grant is limited to %s", r.Action, limitWords(g))
	case otherChart:
		if r.Chart == "" {
			return fmt.Sprintf("it is for charts %s, and no chart is named", g.Chart)
		}
		return fmt.Sprintf("it is for charts %s, not %s", g.Chart, r.Chart)
	case onlyPrereleases:
		return "it is for pre-releases only"
	}
	return "it does not match"
}

func projectWords(pattern string) string {
	switch {
	case pattern == "*":
		return "every project"
	case pattern != "" && pattern[len(pattern)-1] == '*':
		return "projects " + pattern
	}
	return "project " + pattern
}

func limitWords(g *Grant) string {
	switch {
	case g.Chart == "":
		return "pre-releases"
	case g.Versions == "" || g.Versions == AnyVersion:
		return "charts " + g.Chart
	}
	return "pre-releases of charts " + g.Chart
}

// stamp words a time as every message does: UTC, to the second.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
