package access

import (
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// RuleExceeds is the rule of the problems that Within and WithinOwn return for
// a grant that is well formed but more than its maker may give.
const RuleExceeds = "grant-exceeds-own"

// Within returns nil when the creator may make the grant for somebody else: a
// member, or a token that belongs to a project. Else it returns a problem.
//
// The rule: the creator holds a grant, not expired, that covers every project of
// the new one and has either instance.admin, and then may give any role; or
// member.write or token.write, and then may give any role except instance-admin.
// The new grant ends no later than the one it rests on. One grant must carry the
// whole: rights from several are not added up.
//
// So an owner may give rights that it has not itself, such as pushing, but only
// inside its projects and never over the server. It can give them to itself as
// well; that leaves an event of the audit trail, and is why roles that approve
// count people and not grants.
func Within(creator Principal, g Grant, now time.Time) error {
	if err := g.Check(); err != nil {
		return err
	}
	long := false
	for i := range creator.Grants {
		c := &creator.Grants[i]
		if !mayGive(c, &g, now) || !activeFor(&creator, c, now) {
			continue
		}
		if creator.Of != nil && !accountMayGive(creator.Of, &g, now) {
			continue
		}
		if outlives(&g, c.Expires) {
			long = true
			continue
		}
		return nil
	}
	if long {
		return tooLong(&creator, &g)
	}
	return exceeds(&creator, &g).
		With("needs", "role %s in %s, or role %s", RoleProjectOwner, projectWords(g.Project), RoleInstanceAdmin)
}

// WithinOwn returns nil when the creator, a person, may give the grant to a
// personal token of its own account: one of its own grants, not expired, covers
// the new one in role, projects, charts, versions and time, and the new one ends
// no later than the credential that asks. Project tokens have no account and
// cannot make personal tokens. A personal token is bounded again at each use by
// what its account may do then (Principal.Of).
func WithinOwn(creator Principal, g Grant, now time.Time) error {
	if err := g.Check(); err != nil {
		return err
	}
	if creator.Kind != KindUser {
		return problem.New(problem.Denied, RuleExceeds, "%s is not a person, and only a person has personal tokens", creator.Name).
			Suggest("create a token of the project: chartkeep token create --project %s --role %s --expires 90d", argument(g.Project), g.Role)
	}
	long := false
	for i := range creator.Grants {
		c := &creator.Grants[i]
		if !c.covers(&g) || !activeFor(&creator, c, now) {
			continue
		}
		if outlives(&g, c.Expires) || outlives(&g, creator.Expires) {
			long = true
			continue
		}
		return nil
	}
	if long {
		return tooLong(&creator, &g)
	}
	return exceeds(&creator, &g).With("rule", "a personal token carries no more than one grant of its account")
}

func activeFor(p *Principal, g *Grant, now time.Time) bool {
	return !p.expired(now) && !ended(g.Expires, now)
}

// mayGive reports whether c carries the right to make g, time set aside.
func mayGive(c, g *Grant, now time.Time) bool {
	if ended(c.Expires, now) || c.limited() || !matchProject(c.Project, g.Project) {
		return false
	}
	if c.Role.Has(InstanceAdmin) {
		return true
	}
	return g.Role != RoleInstanceAdmin && (c.Role.Has(MemberWrite) || c.Role.Has(TokenWrite))
}

// accountMayGive is Within for the account behind a personal token.
func accountMayGive(account *Principal, g *Grant, now time.Time) bool {
	for i := range account.Grants {
		c := &account.Grants[i]
		if mayGive(c, g, now) && activeFor(account, c, now) && !outlives(g, c.Expires) {
			return true
		}
	}
	return false
}

// covers reports whether every request that other allows is allowed by g, time
// set aside.
func (g *Grant) covers(other *Grant) bool {
	if !matchProject(g.Project, other.Project) || !g.Role.actions().covers(other.Role.actions()) {
		return false
	}
	if other.Role.actions()&^reachSet(ReachRead) == 0 {
		return true // limits narrow writing only
	}
	if g.Chart != "" && (other.Chart == "" || !matchChart(g.Chart, other.Chart)) {
		return false
	}
	return g.Versions == "" || g.Versions == AnyVersion || g.Versions == other.Versions
}

// outlives reports whether the grant lasts beyond a limit; a zero limit never comes.
func outlives(g *Grant, limit time.Time) bool {
	return !limit.IsZero() && (g.Expires.IsZero() || g.Expires.After(limit))
}

func tooLong(creator *Principal, g *Grant) *problem.Error {
	e := problem.New(problem.Denied, RuleExceeds, "the grant of role %s in %s would last longer than the right of %s to give it",
		g.Role, projectWords(g.Project), creator.Name)
	if g.Expires.IsZero() {
		e.With("asked for", "no expiry")
	} else {
		e.With("asked for", "%s", stamp(g.Expires))
	}
	return e.Suggest("give an earlier --expires")
}

func exceeds(creator *Principal, g *Grant) *problem.Error {
	return problem.New(problem.Denied, RuleExceeds, "%s may not give role %s in %s", creator.Name, g.Role, projectWords(g.Project))
}
