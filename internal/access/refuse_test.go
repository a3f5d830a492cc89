package access

import (
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
)

func TestRefuse(t *testing.T) {
	reader := user("ann", Grant{Role: RoleReader, Project: "demo"})
	web := token("ci-web", Grant{ID: "grn-1", Role: RolePublisher, Project: "demo", Chart: "web*"})
	personal := user("ann", Grant{Role: RoleReader, Project: "demo"})
	account := user("ann", Grant{Role: RolePublisher, Project: "demo"})
	personal.Name, personal.Of = "laptop", &account
	weak := personal
	weak.Of = &reader
	expired := web
	expired.Expires = now

	push := Request{Action: ChartPush, Project: "demo", Chart: "api"}
	tests := []struct {
		name string
		p    Principal
		r    Request
		kind problem.Kind
		text string
		try  string
	}{
		{"anonymous", Anonymous(), push, problem.Unauthenticated,
			"you are not signed in, and without that nobody may push charts in project demo",
			"set CHARTKEEP_TOKEN, or run helm registry login with a token as password"},
		{"anonymous pulls", Anonymous(), Request{Action: ChartPull, Project: "demo"}, problem.Unauthenticated,
			"you are not signed in, and without that nobody may pull charts in project demo",
			"set CHARTKEEP_TOKEN, or run helm registry login with a token as password"},
		{"expired", expired, push, problem.Unauthenticated,
			"the credential of ci-web has expired, and without one nobody may push charts in project demo",
			"sign in again, or ask for a new token"},
		{"reader", reader, push, problem.Denied,
			"ann may not push charts in project demo (needs chart.push, chart api, roles with it publisher, maintainer)",
			"chartkeep grant add ann --role publisher --project demo"},
		{"near miss", web, push, problem.Denied,
			"ci-web may not push charts in project demo (needs chart.push, chart api, grant grn-1, publisher: it is for charts web*, not api, roles with it publisher, maintainer)",
			"chartkeep token create --project demo --role publisher --expires 90d -q"},
		{"personal token, able account", personal, push, problem.Denied,
			"laptop may not push charts in project demo (needs chart.push, chart api, roles with it publisher, maintainer)",
			"chartkeep token create --project demo --role publisher --expires 90d -q"},
		{"personal token, weak account", weak, push, problem.Denied,
			"laptop may not push charts in project demo (needs chart.push, chart api, roles with it publisher, maintainer)",
			"chartkeep grant add ann --role publisher --project demo"},
		{"hidden", reader, Request{Action: ChartPush, Project: "secret"}, problem.NotFound,
			"project secret does not exist, or ann may not read it",
			"chartkeep project list"},
		{"public, no grant", reader, Request{Action: ChartPush, Project: "open", ProjectPublic: true}, problem.Denied,
			"ann may not push charts in project open (needs chart.push, roles with it publisher, maintainer)",
			"chartkeep grant add ann --role publisher --project open"},
		{"create", reader, Request{Action: ProjectCreate, Project: "secret"}, problem.Denied,
			"ann may not create projects (needs project.create, roles with it instance-admin)",
			`chartkeep grant add ann --role instance-admin --project "*"`},
		{"server", reader, Request{Action: AuditRead}, problem.Denied,
			"ann may not read the audit trail of all projects (needs audit.read, roles with it auditor, project-owner, instance-admin)",
			`chartkeep grant add ann --role auditor --project "*"`},
		{"token approves", web, Request{Action: UpgradeApprove, Project: "demo"}, problem.Denied,
			"ci-web may not approve upgrades in project demo (needs upgrade.approve, roles with it approver)",
			"sign in as a person with role approver"},
		{"unknown action", reader, Request{Action: "chart.delete", Project: "demo"}, problem.Denied,
			`ann may not do "chart.delete" (needs chart.delete)`, ""},
	}
	for _, tt := range tests {
		if Allowed(tt.p, tt.r, now) {
			t.Errorf("%s: is allowed", tt.name)
		}
		e := Refuse(tt.p, tt.r, now)
		if e.Kind != tt.kind || e.Error() != tt.text || e.Try != tt.try || e.Rule == "" {
			t.Errorf("%s:\n got %s %q\n try %q\nwant %s %q\n try %q", tt.name, e.Kind, e.Error(), e.Try, tt.kind, tt.text, tt.try)
		}
	}
}

// TestRefuseHidesProjects: who may not read a project gets, for a private and
// for a missing project, answers that differ in the name alone.
func TestRefuseHidesProjects(t *testing.T) {
	for _, p := range []Principal{Anonymous(), user("ann", Grant{Role: RoleMaintainer, Project: "demo"}), token("ci", Grant{Role: RoleProjectOwner, Project: "team-a/*"})} {
		for _, a := range Actions() {
			private := Refuse(p, Request{Action: a.Action, Project: "private"}, now)
			missing := Refuse(p, Request{Action: a.Action, Project: "missing"}, now)
			if private.Kind != missing.Kind || private.Rule != missing.Rule ||
				strings.ReplaceAll(private.Error()+private.Try, "private", "missing") != missing.Error()+missing.Try {
				t.Errorf("%s, %s: %v differs from %v", p.Name, a.Action, private, missing)
			}
			if want := a.Reach != ReachInstance && p.Kind != KindAnonymous; (private.Kind == problem.NotFound) != want {
				t.Errorf("%s, %s: kind %s", p.Name, a.Action, private.Kind)
			}
		}
	}
}
