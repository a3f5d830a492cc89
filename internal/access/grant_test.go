package access

import (
	"path"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
)

func TestGrantCheck(t *testing.T) {
	long := strings.Repeat("a", maxPattern+1)
	tests := []struct {
		name string
		g    Grant
		rule string // empty: well formed
	}{
		{"plain", Grant{Role: RolePublisher, Project: "demo"}, ""},
		{"segments", Grant{Role: RolePublisher, Project: "team-a/web"}, ""},
		{"prefix", Grant{Role: RolePublisher, Project: "team-a/*"}, ""},
		{"deep prefix", Grant{Role: RolePublisher, Project: "team-a/web/*"}, ""},
		{"all", Grant{Role: RoleReader, Project: "*"}, ""},
		{"limits", Grant{Role: RolePublisher, Project: "demo", Chart: "web*", Versions: PrereleaseOnly}, ""},
		{"chart in segments", Grant{Role: RolePublisher, Project: "demo", Chart: "tools/*"}, ""},
		{"any version", Grant{Role: RoleReader, Project: "demo", Versions: AnyVersion}, ""},
		{"admin", Grant{Role: RoleInstanceAdmin, Project: "*"}, ""},
		{"no role", Grant{Project: "demo"}, "grant-role"},
		{"unknown role", Grant{Role: "root", Project: "demo"}, "grant-role"},
		{"no project", Grant{Role: RoleReader}, "grant-project"},
		{"star inside", Grant{Role: RoleReader, Project: "team-*/web"}, "grant-project"},
		{"half segment", Grant{Role: RoleReader, Project: "team-*"}, "grant-project"},
		{"star first", Grant{Role: RoleReader, Project: "*/web"}, "grant-project"},
		{"two stars", Grant{Role: RoleReader, Project: "*/*"}, "grant-project"},
		{"slash star", Grant{Role: RoleReader, Project: "/*"}, "grant-project"},
		{"upper case", Grant{Role: RoleReader, Project: "Demo"}, "grant-project"},
		{"dots", Grant{Role: RoleReader, Project: "a/../b"}, "grant-project"},
		{"long project", Grant{Role: RoleReader, Project: long}, "grant-project"},
		{"regex", Grant{Role: RolePublisher, Project: "demo", Chart: "web.*|api?"}, "grant-chart"},
		{"double star", Grant{Role: RolePublisher, Project: "demo", Chart: "**"}, "grant-chart"},
		{"control", Grant{Role: RolePublisher, Project: "demo", Chart: "web\n"}, "grant-chart"},
		{"long chart", Grant{Role: RolePublisher, Project: "demo", Chart: long}, "grant-chart"},
		{"versions", Grant{Role: RolePublisher, Project: "demo", Versions: "stable"}, "grant-versions"},
		{"admin in one project", Grant{Role: RoleInstanceAdmin, Project: "demo"}, "grant-admin-project"},
		{"admin below a prefix", Grant{Role: RoleInstanceAdmin, Project: "team-a/*"}, "grant-admin-project"},
		{"limited reader", Grant{Role: RoleReader, Project: "demo", Chart: "web*"}, "grant-limit"},
		{"limited owner", Grant{Role: RoleProjectOwner, Project: "demo", Versions: PrereleaseOnly}, "grant-limit"},
		{"limited admin", Grant{Role: RoleInstanceAdmin, Project: "*", Chart: "web"}, "grant-limit"},
	}
	for _, tt := range tests {
		err := tt.g.Check()
		if tt.rule == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		p, ok := problem.As(err)
		if !ok || p.Rule != tt.rule || p.Kind != problem.Invalid {
			t.Errorf("%s: got %v, want rule %s", tt.name, err, tt.rule)
		}
	}
}

func TestMatchProject(t *testing.T) {
	tests := []struct {
		pattern, project string
		want             bool
	}{
		{"demo", "demo", true},
		{"demo", "demo2", false},
		{"demo", "demo/web", false},
		{"team-a/*", "team-a/web", true},
		{"team-a/*", "team-a/web/x", true},
		{"team-a/*", "team-a", false},
		{"team-a/*", "team-a/", false},
		{"team-a/*", "team-ab/web", false},
		{"team-a/*", "x/team-a/web", false},
		{"*", "demo", true},
		{"*", "team-a/web", true},
		{"*", "", true},
		{"", "", false},
		{"demo", "", false},
		{"team-a/*", "", false},
		{"de*", "demo", false}, // not well formed: covers nothing
		{"team-a/*", "team-a/*", true},
		{"team-a/*", "team-a/web/*", true},
		{"team-a/*", "*", false},
		{"team-a/web", "team-a/*", false},
		{"*", "*", true},
	}
	for _, tt := range tests {
		if got := matchProject(tt.pattern, tt.project); got != tt.want {
			t.Errorf("matchProject(%q, %q) = %v", tt.pattern, tt.project, got)
		}
	}
}

func TestMatchChart(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"web", "web", true},
		{"web", "webs", false},
		{"web*", "web", true},
		{"web*", "web-api", true},
		{"web*", "aweb", false},
		{"*-crds", "web-crds", true},
		{"*-crds", "-crds-x", false},
		{"a*b*c", "a-b-c", true},
		{"a*b*c", "abbbc", true},
		{"a*b*c", "a-c-b", false},
		{"*", "", true},
		{"*", "web", true},
		{"*", "a/b", false},
		{"a/*", "a/b", true},
		{"a/*", "a/b/c", false},
		{"*/b", "a/b", true},
		{"*a*/b", "xa/b", true},
		{"web", "", false},
		{"*a*a*a*a*a*a*a*b", strings.Repeat("a", 250), false},
		{"web*", "web-*", true}, // pattern against pattern
		{"web-*", "web*", false},
		{"*", "*", true},
		{"web", "*", false},
		{"web", "we*", false},
	}
	for _, tt := range tests {
		if got := matchChart(tt.pattern, tt.name); got != tt.want {
			t.Errorf("matchChart(%q, %q) = %v", tt.pattern, tt.name, got)
		}
	}
}

// FuzzMatchChart compares with path.Match, whose "*" means the same, and checks
// that a pattern which covers another covers what the other covers.
func FuzzMatchChart(f *testing.F) {
	f.Add("web*", "web-api", "web-*")
	f.Add("a*b*c", "a-b-c", "a*c")
	f.Add("*/x", "a/x", "b*/x")
	f.Add("*", "", "*")
	f.Fuzz(func(t *testing.T, pattern, name, narrower string) {
		if len(pattern) > 20 || len(name) > 40 || len(narrower) > 20 ||
			!validChartPattern(pattern) || !validChartPattern(narrower) || name != "" && !validSegments(name, false) {
			return
		}
		want, err := path.Match(pattern, name)
		if err != nil {
			t.Fatal(err)
		}
		if got := matchChart(pattern, name); got != want {
			t.Errorf("matchChart(%q, %q) = %v", pattern, name, got)
		}
		if matchChart(pattern, narrower) && matchChart(narrower, name) && !matchChart(pattern, name) {
			t.Errorf("%q covers %q, which covers %q, but not the first", pattern, narrower, name)
		}
	})
}
