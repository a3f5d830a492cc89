package access

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

func TestWithin(t *testing.T) {
	week, month := now.Add(7*24*time.Hour), now.Add(30*24*time.Hour)
	admin := user("adm", Grant{Role: RoleInstanceAdmin, Project: "*"})
	owner := user("own", Grant{Role: RoleProjectOwner, Project: "demo"})
	teamOwner := user("own", Grant{Role: RoleProjectOwner, Project: "team-a/*"})
	weekOwner := user("own", Grant{Role: RoleProjectOwner, Project: "demo", Expires: week})
	allOwner := user("own", Grant{Role: RoleProjectOwner, Project: "*"})
	gone := user("own", Grant{Role: RoleProjectOwner, Project: "demo", Expires: now})
	ownerToken := token("ci", Grant{Role: RoleProjectOwner, Project: "demo"})
	oldToken := ownerToken
	oldToken.Expires = now
	maintainer := user("main", Grant{Role: RoleMaintainer, Project: "*"})
	demoted := owner
	demoted.Of = &maintainer
	personal := owner
	personal.Of = &owner
	badAdmin := user("adm", Grant{Role: RoleInstanceAdmin, Project: "demo"})

	tests := []struct {
		name string
		p    Principal
		g    Grant
		rule string
	}{
		{"admin makes admin", admin, Grant{Role: RoleInstanceAdmin, Project: "*"}, ""},
		{"admin makes publisher", admin, Grant{Role: RolePublisher, Project: "demo"}, ""},
		{"owner makes publisher", owner, Grant{Role: RolePublisher, Project: "demo"}, ""},
		{"owner makes owner", owner, Grant{Role: RoleProjectOwner, Project: "demo"}, ""},
		{"owner makes limited publisher", owner, Grant{Role: RolePublisher, Project: "demo", Chart: "web*", Expires: week}, ""},
		{"owner's token makes publisher", ownerToken, Grant{Role: RolePublisher, Project: "demo"}, ""},
		{"owner's personal token", personal, Grant{Role: RolePublisher, Project: "demo"}, ""},
		{"owner below prefix", teamOwner, Grant{Role: RoleReader, Project: "team-a/web"}, ""},
		{"owner same prefix", teamOwner, Grant{Role: RoleReader, Project: "team-a/*"}, ""},
		{"week owner, within", weekOwner, Grant{Role: RoleReader, Project: "demo", Expires: week}, ""},
		{"owner of all makes reader of all", allOwner, Grant{Role: RoleReader, Project: "*"}, ""},
		{"owner makes admin", owner, Grant{Role: RoleInstanceAdmin, Project: "*"}, RuleExceeds},
		{"owner of all makes admin", allOwner, Grant{Role: RoleInstanceAdmin, Project: "*"}, RuleExceeds},
		{"owner elsewhere", owner, Grant{Role: RoleReader, Project: "other"}, RuleExceeds},
		{"owner everywhere", owner, Grant{Role: RoleReader, Project: "*"}, RuleExceeds},
		{"owner widens prefix", teamOwner, Grant{Role: RoleReader, Project: "*"}, RuleExceeds},
		{"week owner, no expiry", weekOwner, Grant{Role: RoleReader, Project: "demo"}, RuleExceeds},
		{"week owner, a month", weekOwner, Grant{Role: RoleReader, Project: "demo", Expires: month}, RuleExceeds},
		{"expired owner", gone, Grant{Role: RoleReader, Project: "demo"}, RuleExceeds},
		{"expired credential", oldToken, Grant{Role: RoleReader, Project: "demo"}, RuleExceeds},
		{"maintainer makes reader", maintainer, Grant{Role: RoleReader, Project: "demo"}, RuleExceeds},
		{"personal token of a demoted owner", demoted, Grant{Role: RoleReader, Project: "demo"}, RuleExceeds},
		{"anonymous", Anonymous(), Grant{Role: RoleReader, Project: "demo"}, RuleExceeds},
		{"badly formed", admin, Grant{Role: "root", Project: "demo"}, "grant-role"},
		{"bad admin grant makes admin", badAdmin, Grant{Role: RoleInstanceAdmin, Project: "*"}, RuleExceeds},
	}
	for _, tt := range tests {
		checkRule(t, tt.name, Within(tt.p, tt.g, now), tt.rule)
	}
}

func TestWithinOwn(t *testing.T) {
	day, week := now.Add(24*time.Hour), now.Add(7*24*time.Hour)
	publisher := user("ann", Grant{Role: RolePublisher, Project: "team-a/*", Chart: "web*"})
	weekly := user("ann", Grant{Role: RoleMaintainer, Project: "demo", Expires: week})
	byToken := weekly
	byToken.Expires = day
	pre := user("ann", Grant{Role: RolePublisher, Project: "demo", Versions: PrereleaseOnly})
	owner := user("own", Grant{Role: RoleProjectOwner, Project: "demo"})
	project := token("ci", Grant{Role: RolePublisher, Project: "demo"})

	tests := []struct {
		name string
		p    Principal
		g    Grant
		rule string
	}{
		{"the same", publisher, Grant{Role: RolePublisher, Project: "team-a/*", Chart: "web*"}, ""},
		{"narrower", publisher, Grant{Role: RolePublisher, Project: "team-a/x", Chart: "web-*"}, ""},
		{"one chart", publisher, Grant{Role: RolePublisher, Project: "team-a/x", Chart: "web"}, ""},
		{"reader of all charts", publisher, Grant{Role: RoleReader, Project: "team-a/x"}, ""},
		{"smaller role", weekly, Grant{Role: RolePublisher, Project: "demo", Expires: week}, ""},
		{"pre-releases", pre, Grant{Role: RolePublisher, Project: "demo", Versions: PrereleaseOnly}, ""},
		{"auditor from owner", owner, Grant{Role: RoleAuditor, Project: "demo"}, ""},
		{"all charts", publisher, Grant{Role: RolePublisher, Project: "team-a/x"}, RuleExceeds},
		{"wider charts", publisher, Grant{Role: RolePublisher, Project: "team-a/x", Chart: "we*"}, RuleExceeds},
		{"all projects", publisher, Grant{Role: RolePublisher, Project: "*", Chart: "web"}, RuleExceeds},
		{"larger role", publisher, Grant{Role: RoleMaintainer, Project: "team-a/x", Chart: "web"}, RuleExceeds},
		{"all versions", pre, Grant{Role: RolePublisher, Project: "demo"}, RuleExceeds},
		{"longer", weekly, Grant{Role: RolePublisher, Project: "demo"}, RuleExceeds},
		{"longer than the credential", byToken, Grant{Role: RolePublisher, Project: "demo", Expires: week}, RuleExceeds},
		{"owner pushes", owner, Grant{Role: RolePublisher, Project: "demo"}, RuleExceeds},
		{"project token", project, Grant{Role: RolePublisher, Project: "demo"}, RuleExceeds},
		{"badly formed", owner, Grant{Role: RoleReader, Project: "de mo"}, "grant-project"},
	}
	for _, tt := range tests {
		checkRule(t, tt.name, WithinOwn(tt.p, tt.g, now), tt.rule)
	}
	p, _ := problem.As(WithinOwn(project, Grant{Role: RoleReader, Project: "team-a/*"}, now))
	if want := `--project "team-a/*" --role reader`; p == nil || !strings.Contains(p.Try, want) {
		t.Errorf("a shell would take the pattern for files: %+v", p)
	}
}

func checkRule(t *testing.T, name string, err error, rule string) {
	t.Helper()
	if rule == "" {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return
	}
	p, ok := problem.As(err)
	if !ok || p.Rule != rule {
		t.Errorf("%s: got %v, want rule %s", name, err, rule)
	} else if rule == RuleExceeds && p.Kind != problem.Denied {
		t.Errorf("%s: kind %s", name, p.Kind)
	}
}

// TestNoEscalation lets random principals make grants, gives them to new
// principals who make grants in turn, and checks the documented rule against the
// first creator: whatever any of them is allowed at any time, the creator was
// allowed at that time, or had member.write or token.write there and the action
// does not concern the server. Principals with instance.admin are left out.
func TestNoEscalation(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	times := []time.Time{now, now.Add(30 * time.Minute), now.Add(2 * time.Hour), now.Add(100 * time.Hour)}
	made, given := 0, map[Role]int{}
	for range 800 {
		creator := randomPrincipal(rng)
		creator.Grants = append(creator.Grants, Grant{Role: RoleProjectOwner, Project: pick(rng, somePatterns), Expires: pick(rng, someTimes)})
		creator.Expires = time.Time{} // what it makes may outlast a credential, never a grant
		if Allowed(creator, Request{Action: InstanceAdmin}, now) {
			continue
		}
		maker := creator
		for range 3 {
			var next Principal
			for range 60 {
				if g := randomGrant(rng); len(next.Grants) < 6 && Within(maker, g, now) == nil {
					next.Grants = append(next.Grants, g)
					given[g.Role]++
				}
			}
			if len(next.Grants) == 0 {
				break
			}
			made += len(next.Grants)
			next.Kind = pick(rng, []Kind{KindUser, KindToken})
			checkNoMore(t, creator, next, times)
			maker = next
		}
	}
	if made < 200 {
		t.Errorf("only %d grants were made: the test proves little", made)
	}
	for _, r := range allRoles() {
		if (given[r] == 0) != (r == RoleInstanceAdmin) {
			t.Errorf("role %s was given %d times", r, given[r])
		}
	}
}

func checkNoMore(t *testing.T, creator, next Principal, times []time.Time) {
	t.Helper()
	asPerson := creator
	asPerson.Kind = KindUser // a person behind an owner's grant may approve; the owner's token may not
	for _, at := range times {
		requests(func(r Request) {
			if !Allowed(next, r, at) || Allowed(asPerson, r, at) {
				return
			}
			info, _ := r.Action.Info()
			member := Request{Action: MemberWrite, Project: r.Project}
			token := Request{Action: TokenWrite, Project: r.Project}
			if info.Reach != ReachInstance && (Allowed(creator, member, at) || Allowed(creator, token, at)) {
				return
			}
			t.Fatalf("%+v made %+v, which is allowed %+v at %v", creator, next, r, at)
		})
	}
}

// TestNoEscalationOwn: a personal token is never allowed what its account is
// not, even when the check at each use is set aside.
func TestNoEscalationOwn(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	times := []time.Time{now, now.Add(30 * time.Minute), now.Add(2 * time.Hour), now.Add(100 * time.Hour)}
	made, given := 0, map[Role]int{}
	var creator Principal
	for i := range 40000 {
		if i%20 == 0 {
			creator = randomPrincipal(rng)
		}
		g := randomGrant(rng)
		if WithinOwn(creator, g, now) != nil {
			continue
		}
		made++
		given[g.Role]++
		next := Principal{Kind: KindUser, Grants: []Grant{g}}
		for _, at := range times {
			requests(func(r Request) {
				if Allowed(next, r, at) && !Allowed(creator, r, at) {
					t.Fatalf("%+v made %+v, which is allowed %+v at %v", creator, next, r, at)
				}
			})
		}
	}
	if made < 150 || len(given) < 6 {
		t.Errorf("only %d grants of roles %v were made: the test proves little", made, given)
	}
}
