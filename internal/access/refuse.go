package access

import (
	"fmt"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// The rules of the problems that Refuse returns.
const (
	RuleSignIn  = "sign-in-required"   // unauthenticated: no credential
	RuleExpired = "credential-expired" // unauthenticated: one that has ended
	RuleHidden  = "project-not-found"  // not found: the project does not exist, or the principal may not know
	RuleDenied  = "access-denied"      // denied: known, but without the right
)

// Refuse words the refusal of a request that Allowed or Could has refused.
//
// Whether a private project exists is told only to those who may read it:
//
//   - A principal without a valid credential is told to sign in, in the same
//     words for every project. (OCI clients send their credential only after
//     that answer, so not-found would lock them out.)
//   - A principal that may not pull from the project is told that it does not
//     exist or that it may not read it. Callers that find no such project and
//     want the same answer call Refuse with ProjectPublic false.
//   - Any other principal is told what it lacks.
//
// Actions that concern the server name no project, so there is nothing to hide.
func Refuse(p Principal, r Request, now time.Time) *problem.Error {
	doing := r.words()
	switch {
	case p.expired(now) || (p.Of != nil && p.Of.expired(now)):
		return problem.New(problem.Unauthenticated, RuleExpired, "the credential of %s has expired, and without one nobody may %s", p.Name, doing).
			Suggest("sign in again, or ask for a new token")
	case p.Kind == KindAnonymous || p.Kind == "":
		return problem.New(problem.Unauthenticated, RuleSignIn, "you are not signed in, and without that nobody may %s", doing).
			Suggest("set CHARTKEEP_TOKEN, or run helm registry login with a token as password")
	case r.hidden() && !Allowed(p, Request{Action: ChartPull, Project: r.Project, ProjectPublic: r.ProjectPublic}, now):
		return problem.New(problem.NotFound, RuleHidden, "project %s does not exist, or %s may not read it", r.Project, p.Name).
			Suggest("chartkeep project list")
	}
	e := problem.New(problem.Denied, RuleDenied, "%s may not %s", p.Name, doing).With("needs", "%s", r.Action)
	if r.Chart != "" {
		e.With("chart", "%s", r.Chart)
	}
	for _, s := range Decide(p, r, now).Steps {
		if s.Grant != nil && s.nearMiss(r) {
			e.With("grant", "%s, %s: %s", s.Grant.name(), s.Grant.Role, s.Why)
		}
	}
	roles := RolesWith(r.Action)
	if len(roles) == 0 {
		return e
	}
	return e.With("roles with it", "%s", joinRoles(roles, ", ")).Suggest("%s", remedy(&p, &r, roles[0], now))
}

// hidden reports whether the answer could tell that a project exists.
func (r *Request) hidden() bool {
	info, ok := r.Action.Info()
	return r.Project != "" && !(ok && info.Reach == ReachInstance)
}

// words says what is wanted, to stand after "may" or "may not".
func (r *Request) words() string {
	info, ok := r.Action.Info()
	switch {
	case !ok:
		return fmt.Sprintf("do %q", clip(string(r.Action)))
	case info.Reach == ReachInstance:
		return info.Words
	case r.Project == "":
		return info.Words + " of all projects"
	}
	return info.Words + " in project " + r.Project
}

// nearMiss reports whether a grant is worth a fact: it is for this project and
// its role has the action, but something else is in the way.
func (s *Step) nearMiss(r Request) bool {
	return !s.Matched && s.Grant.Role.Has(r.Action) && matchProject(s.Grant.Project, r.Project)
}

func (g *Grant) name() string {
	if g.ID == "" {
		return "without id"
	}
	return g.ID
}

// argument writes a name or pattern of projects for a shell.
func argument(project string) string {
	if strings.Contains(project, "*") {
		return `"` + project + `"`
	}
	return project
}

// remedy is a command that somebody who may give the right can paste. A token
// keeps the grants that it was created with, so it needs a successor; but where
// the account behind it lacks the right as well, that comes first.
func remedy(p *Principal, r *Request, role Role, now time.Time) string {
	info, _ := r.Action.Info()
	project, account := r.Project, p
	if project == "" || info.Reach == ReachInstance {
		project = "*"
	}
	project = argument(project)
	if p.Of != nil {
		account = p.Of
	}
	switch {
	case info.Personal && p.Kind != KindUser:
		return "sign in as a person with role " + string(role)
	case p.Kind == KindToken, p.Of != nil && Allowed(*p.Of, *r, now):
		return fmt.Sprintf("chartkeep token create --project %s --role %s --expires 90d -q", project, role)
	}
	return fmt.Sprintf("chartkeep grant add %s --role %s --project %s", account.Name, role, project)
}
