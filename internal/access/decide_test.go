package access

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 21, 20, 59, 17, 0, time.UTC)

func user(name string, grants ...Grant) Principal {
	return Principal{ID: "usr-" + name, Name: name, Kind: KindUser, Grants: grants}
}

func token(name string, grants ...Grant) Principal {
	return Principal{ID: "tok-" + name, Name: name, Kind: KindToken, TokenID: "tok-" + name, Grants: grants}
}

func TestDecide(t *testing.T) {
	demo := func(a Action, chart string) Request { return Request{Action: a, Project: "demo", Chart: chart} }
	public := func(a Action) Request { return Request{Action: a, Project: "demo", ProjectPublic: true} }
	pre := Request{Action: ChartPush, Project: "demo", Chart: "web", Prerelease: true}
	owner := Grant{Role: RoleProjectOwner, Project: "demo"}
	web := Grant{ID: "g1", Role: RolePublisher, Project: "demo", Chart: "web*"}
	prereleases := Grant{ID: "g2", Role: RolePublisher, Project: "demo", Versions: PrereleaseOnly}
	admin := Grant{Role: RoleInstanceAdmin, Project: "*"}
	limitedManager := Grant{Role: RoleReleaseManager, Project: "demo", Chart: "web"}

	tests := []struct {
		name string
		p    Principal
		r    Request
		want bool
		why  string // in the last step
	}{
		{"anonymous, private", Anonymous(), demo(ChartPull, "web"), false, "no grants"},
		{"anonymous, public", Anonymous(), public(ChartPull), true, ""},
		{"anonymous pushes to public", Anonymous(), public(ChartPush), false, "no grants"},
		{"anonymous reads policy of public", Anonymous(), public(PolicyRead), false, "no grants"},
		{"zero principal", Principal{}, demo(ChartPull, ""), false, "no grants"},
		{"public without grant", user("ann"), public(ChartPull), true, ""},
		{"reader pulls", user("ann", Grant{Role: RoleReader, Project: "demo"}), demo(ChartPull, "web"), true, "role reader has chart.pull"},
		{"reader pushes", user("ann", Grant{Role: RoleReader, Project: "demo"}), demo(ChartPush, "web"), false, "role reader does not have chart.push"},
		{"other project", user("ann", Grant{Role: RoleReader, Project: "other"}), demo(ChartPull, "web"), false, "it is for project other, not demo"},
		{"prefix", user("ann", Grant{Role: RoleReader, Project: "team-a/*"}), Request{Action: ChartPull, Project: "team-a/web"}, true, ""},
		{"prefix of another", user("ann", Grant{Role: RoleReader, Project: "team-a/*"}), demo(ChartPull, ""), false, "it is for projects team-a/*, not demo"},
		{"every project", user("ann", Grant{Role: RoleReader, Project: "*"}), demo(ChartPull, ""), true, ""},
		{"publisher of web", token("ci", web), demo(ChartPush, "web-api"), true, ""},
		{"publisher of web on api", token("ci", web), demo(ChartPush, "api"), false, "it is for charts web*, not api"},
		{"publisher of web, no chart named", token("ci", web), demo(ChartPush, ""), false, "no chart is named"},
		{"publisher of web reads all", token("ci", web), demo(ChartPull, "api"), true, ""},
		{"pre-release", token("ci", prereleases), pre, true, ""},
		{"release by pre-release token", token("ci", prereleases), demo(ChartPush, "web"), false, "it is for pre-releases only"},
		{"union", token("ci", prereleases, web), demo(ChartPush, "web"), true, ""},
		{"expired grant", token("ci", Grant{Role: RolePublisher, Project: "demo", Expires: now}), demo(ChartPush, "web"), false, "it expired at 2026-11-21 20:59:17Z"},
		{"grant about to expire", token("ci", Grant{Role: RolePublisher, Project: "demo", Expires: now.Add(1)}), demo(ChartPush, "web"), true, ""},
		{"expired credential", Principal{Kind: KindToken, Expires: now, Grants: []Grant{web}}, demo(ChartPush, "web"), false, "the credential expired"},
		{"expired credential, public", Principal{Kind: KindToken, Expires: now}, public(ChartPull), true, ""},
		{"owner does not push", user("own", owner), demo(ChartPush, "web"), false, "does not have chart.push"},
		{"owner writes members", user("own", owner), demo(MemberWrite, ""), true, ""},
		{"admin does not push", user("adm", admin), demo(ChartPush, "web"), false, "does not have chart.push"},
		{"admin administers", user("adm", admin), Request{Action: InstanceAdmin}, true, ""},
		{"admin creates", user("adm", admin), Request{Action: ProjectCreate, Project: "new"}, true, ""},
		{"owner creates", user("own", owner), Request{Action: ProjectCreate, Project: "demo"}, false, "does not have project.create"},
		{"a bad admin grant does not administer", user("adm", Grant{Role: RoleInstanceAdmin, Project: "demo"}), demo(InstanceAdmin, ""), false, "concerns the server"},
		{"server's audit by owner", user("own", owner), Request{Action: AuditRead}, false, "not for the whole server"},
		{"server's audit by auditor", user("aud", Grant{Role: RoleAuditor, Project: "*"}), Request{Action: AuditRead}, true, ""},
		{"limited grant gives no project right", user("rm", limitedManager), demo(UpstreamWrite, ""), false, "concerns the whole project, and the grant is limited to charts web"},
		{"limited grant gives its chart", user("rm", limitedManager), demo(UpgradePlan, "web"), true, ""},
		{"person approves", user("app", Grant{Role: RoleApprover, Project: "demo"}), demo(UpgradeApprove, "web"), true, ""},
		{"token approves", token("ci", Grant{Role: RoleApprover, Project: "demo"}), demo(TombstoneApprove, "web"), false, "needs a person"},
		{"unknown action", user("adm", admin), demo("chart.delete", "web"), false, `there is no action "chart.delete"`},
		{"unknown role", user("ann", Grant{Role: "root", Project: "*"}), demo(ChartPull, ""), false, "does not have chart.pull"},
		{"unknown version kind", user("ann", Grant{Role: RolePublisher, Project: "*", Versions: "x"}), pre, false, "pre-releases only"},
	}
	for _, tt := range tests {
		d := Decide(tt.p, tt.r, now)
		if d.Allowed != tt.want || Allowed(tt.p, tt.r, now) != tt.want {
			t.Errorf("%s: allowed = %v, Decide = %+v", tt.name, !tt.want, d)
		}
		if last := d.Steps[len(d.Steps)-1]; !strings.Contains(last.Why, tt.why) {
			t.Errorf("%s: last step says %q, want %q", tt.name, last.Why, tt.why)
		}
		if d.Grant != nil && !tt.want {
			t.Errorf("%s: refused with a grant", tt.name)
		}
	}
}

func TestDecideNamesTheGrant(t *testing.T) {
	p := token("ci",
		Grant{ID: "g1", Role: RolePublisher, Project: "demo", Chart: "api"},
		Grant{ID: "g2", Role: RolePublisher, Project: "demo", Chart: "web"},
		Grant{ID: "g3", Role: RoleMaintainer, Project: "demo"})
	d := Decide(p, Request{Action: ChartPush, Project: "demo", Chart: "web"}, now)
	if d.Grant == nil || d.Grant.ID != "g2" || len(d.Steps) != 3 {
		t.Fatalf("got %+v", d)
	}
	for i, want := range []bool{false, true, true} {
		if d.Steps[i].Matched != want || d.Steps[i].Grant.ID != p.Grants[i].ID {
			t.Errorf("step %d: %+v", i, d.Steps[i])
		}
	}
	if d := Decide(p, Request{Action: ChartPull, Project: "x", ProjectPublic: true}, now); d.Grant != nil || !d.Steps[0].Matched || d.Steps[0].Holder != holderEveryone {
		t.Errorf("public pull: %+v", d)
	}
}

func TestPersonalToken(t *testing.T) {
	account := user("ann", Grant{ID: "a1", Role: RoleMaintainer, Project: "demo"})
	p := account
	p.TokenID = "tok-1"
	p.Grants = []Grant{{ID: "t1", Role: RolePublisher, Project: "*"}}
	p.Of = &account
	push := Request{Action: ChartPush, Project: "demo", Chart: "web"}
	if d := Decide(p, push, now); !d.Allowed || d.Grant.ID != "t1" || d.Steps[1].Holder != holderAccount {
		t.Errorf("push: %+v", d)
	}
	if Allowed(p, Request{Action: ChartYank, Project: "demo", Chart: "web"}, now) {
		t.Error("the token can do what only its account can")
	}
	if Allowed(p, Request{Action: ChartPush, Project: "other", Chart: "web"}, now) {
		t.Error("the token can do what its account cannot")
	}
	account.Grants = nil
	if d := Decide(p, push, now); d.Allowed || d.Grant != nil {
		t.Error("the token outlives the right of its account")
	}
}

func TestCould(t *testing.T) {
	web := token("ci", Grant{Role: RolePublisher, Project: "demo", Chart: "web*", Versions: PrereleaseOnly})
	tests := []struct {
		p    Principal
		r    Request
		want bool
	}{
		{web, Request{Action: ChartPush, Project: "demo"}, true},
		{web, Request{Action: ChartPush, Project: "demo", Chart: "web"}, true},
		{web, Request{Action: ChartPush, Project: "demo", Chart: "api"}, false},
		{web, Request{Action: ChartPush, Project: "other"}, false},
		{web, Request{Action: ChartYank, Project: "demo"}, false},
		{web, Request{Action: PolicyWrite, Project: "demo"}, false},
		{Anonymous(), Request{Action: ChartPush, Project: "demo", ProjectPublic: true}, false},
	}
	for _, tt := range tests {
		if got := Could(tt.p, tt.r, now); got != tt.want {
			t.Errorf("Could(%+v) = %v", tt.r, got)
		}
	}
}

// The names from which random tests choose: few, so that they meet.
var (
	someProjects = []string{"", "demo", "team-a/web", "team-a/api", "team-a/web/x", "team-b"}
	somePatterns = []string{"*", "demo", "team-a/*", "team-a/web", "team-a/web/*", "team-b", "other"}
	someCharts   = []string{"", "web", "web-api", "api", "tools/x"}
	someGlobs    = []string{"", "", "", "*", "web", "web*", "*api", "web-*", "tools/*"}
	someTimes    = []time.Time{{}, {}, now.Add(-time.Hour), now.Add(time.Hour), now.Add(48 * time.Hour)}
)

func pick[T any](rng *rand.Rand, of []T) T { return of[rng.IntN(len(of))] }

func randomGrant(rng *rand.Rand) Grant {
	return Grant{
		Role: pick(rng, allRoles()), Project: pick(rng, somePatterns), Chart: pick(rng, someGlobs),
		Versions: pick(rng, []VersionKind{"", AnyVersion, PrereleaseOnly}), Expires: pick(rng, someTimes),
	}
}

func randomPrincipal(rng *rand.Rand) Principal {
	p := Principal{ID: "p", Name: "p", Kind: pick(rng, []Kind{KindUser, KindToken}), Expires: pick(rng, someTimes)}
	for range rng.IntN(4) {
		p.Grants = append(p.Grants, randomGrant(rng))
	}
	return p
}

// requests calls f with every request of the small world.
func requests(f func(Request)) {
	for _, a := range Actions() {
		for _, project := range someProjects {
			for _, chart := range someCharts {
				f(Request{Action: a.Action, Project: project, Chart: chart})
				f(Request{Action: a.Action, Project: project, Chart: chart, Prerelease: true})
			}
		}
	}
}

// TestDecisionProperties: both forms agree, Could never refuses what is allowed,
// and a further grant never takes a right away.
func TestDecisionProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		p, extra := randomPrincipal(rng), randomGrant(rng)
		more := p
		more.Grants = append(append([]Grant(nil), p.Grants...), extra)
		requests(func(r Request) {
			r.ProjectPublic = rng.IntN(4) == 0
			allowed := Allowed(p, r, now)
			if d := Decide(p, r, now); d.Allowed != allowed {
				t.Fatalf("Decide and Allowed differ: %+v, %+v", p, r)
			} else if matched := anyMatched(d.Steps); matched != allowed {
				t.Fatalf("the steps say %v, the answer is %v: %+v, %+v", matched, allowed, p, r)
			}
			if allowed && !Could(p, r, now) {
				t.Fatalf("allowed, but could not: %+v, %+v", p, r)
			}
			if allowed && !Allowed(more, r, now) {
				t.Fatalf("grant %+v takes away %+v from %+v", extra, r, p)
			}
			if allowed && r.Action == ChartPush && !Allowed(p, Request{Action: ChartPull, Project: r.Project}, now) {
				t.Fatalf("can push and not pull: %+v, %+v", p, r)
			}
		})
	}
}

func anyMatched(steps []Step) bool {
	for _, s := range steps {
		if s.Matched {
			return true
		}
	}
	return false
}

func TestAllowedDoesNotAllocate(t *testing.T) {
	p := token("ci", Grant{Role: RoleReader, Project: "team-a/*"}, Grant{Role: RolePublisher, Project: "demo", Chart: "web*"})
	r := Request{Action: ChartPush, Project: "demo", Chart: "web-api"}
	if n := testing.AllocsPerRun(100, func() { Allowed(p, r, now) }); n != 0 {
		t.Errorf("Allowed allocates %v times", n)
	}
}

func BenchmarkAllowed(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		p := Principal{Kind: KindToken}
		for i := range n - 1 {
			p.Grants = append(p.Grants, Grant{Role: RolePublisher, Project: fmt.Sprintf("team-%d/*", i)})
		}
		p.Grants = append(p.Grants, Grant{Role: RolePublisher, Project: "demo", Chart: "web*", Versions: PrereleaseOnly})
		r := Request{Action: ChartPush, Project: "demo", Chart: "web-api", Prerelease: true}
		b.Run(fmt.Sprintf("grants=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !Allowed(p, r, now) {
					b.Fatal("refused")
				}
			}
		})
		b.Run(fmt.Sprintf("trace/grants=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Decide(p, r, now)
			}
		})
	}
}
