package access

import (
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// maxPattern bounds project patterns and chart patterns, in bytes. It is the
// bound that clients of OCI registries keep for a whole repository name.
const maxPattern = 255

// VersionKind limits a grant to a kind of versions. The zero value is no limit.
type VersionKind string

// The kinds of versions.
const (
	AnyVersion     VersionKind = "any"
	PrereleaseOnly VersionKind = "prerelease"
)

// Grant gives a role in a project or in several. The zero value of Chart,
// Versions and Expires is no limit.
type Grant struct {
	ID   string `json:"id,omitempty"`
	Role Role   `json:"role"`

	// Project is the exact name of a project, "team-a/*" for every project
	// below team-a at any depth, or "*" for every project and the server.
	Project string `json:"project"`

	// Chart is a pattern such as "web*". It limits writing; reading is per
	// project. "*" stands for any characters except a slash.
	Chart    string      `json:"chart,omitempty"`
	Versions VersionKind `json:"versions,omitempty"`
	Expires  time.Time   `json:"expires,omitzero"`
}

// Check returns a problem when the grant is not well formed, or when it has a
// limit that means nothing for its role. Stores keep only grants that pass.
func (g Grant) Check() error {
	row, ok := roleIndex[g.Role]
	if !ok {
		return problem.New(problem.Invalid, "grant-role", "there is no role %q", clip(string(g.Role))).
			With("roles", "%s", joinRoles(allRoles(), ", "))
	}
	if !validProjectPattern(g.Project) {
		return problem.New(problem.Invalid, "grant-project", "%q names no projects", clip(g.Project)).
			With("forms", `demo, team-a/web, team-a/*, *`).
			Suggest("give the name of one project, a prefix that ends in /*, or * for all")
	}
	if g.Chart != "" && !validChartPattern(g.Chart) {
		return problem.New(problem.Invalid, "grant-chart", "%q is not a chart name or a pattern of chart names", clip(g.Chart)).
			With("forms", `web, web*, *-crds`).
			Suggest("use lower-case letters, digits, '.', '_', '-' and single '*'")
	}
	switch g.Versions {
	case "", AnyVersion, PrereleaseOnly:
	default:
		return problem.New(problem.Invalid, "grant-versions", "there is no kind of versions %q", clip(string(g.Versions))).
			With("kinds", "%s, %s", AnyVersion, PrereleaseOnly)
	}
	if g.Role == RoleInstanceAdmin && g.Project != "*" {
		return problem.New(problem.Invalid, "grant-admin-project", "role %s concerns the whole server and cannot be given in project %s alone", g.Role, g.Project).
			Suggest("give role %s in project %s, or role %s on *", RoleProjectOwner, g.Project, RoleInstanceAdmin)
	}
	if g.limited() && roleTable[row].actions&reachSet(ReachChart) == 0 {
		return problem.New(problem.Invalid, "grant-limit", "role %s writes to no charts, so a limit on charts or versions has no meaning for it", g.Role).
			With("limited roles", "%s", joinRoles(limitableRoles(), ", ")).
			Suggest("leave --chart and --prerelease-only out")
	}
	return nil
}

// limited reports whether the grant covers only a part of each project.
func (g *Grant) limited() bool {
	return g.Chart != "" || (g.Versions != "" && g.Versions != AnyVersion)
}

func validProjectPattern(s string) bool {
	if s == "*" {
		return true
	}
	return len(s) <= maxPattern && validSegments(strings.TrimSuffix(s, "/*"), false)
}

// validChartPattern accepts slashes because the repositories of an artifacts
// project may have several segments.
func validChartPattern(s string) bool {
	return len(s) <= maxPattern && !strings.Contains(s, "**") && validSegments(s, true)
}

func validSegments(s string, star bool) bool {
	for seg := range strings.SplitSeq(s, "/") {
		if seg == "" || seg == "." || seg == ".." {
			return false
		}
		for i := range len(seg) {
			switch c := seg[i]; {
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
			case c == '*' && star:
			default:
				return false
			}
		}
	}
	return true
}

// matchProject reports whether a project pattern covers a project, or another
// pattern: every project that the second covers, the first covers too. The
// empty project is the server itself, which only "*" covers.
func matchProject(pattern, project string) bool {
	if pattern == "*" {
		return true
	}
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok { // ends in a slash, see validProjectPattern
		return strings.HasSuffix(prefix, "/") && len(project) > len(prefix) && strings.HasPrefix(project, prefix)
	}
	return pattern != "" && pattern == project
}

// matchChart reports whether a chart pattern covers a chart, or another
// pattern. The second use is sound because a "*" in the name is no letter of
// any pattern: only a "*" can take it up, and what that takes up is as wide.
// The cost is at most the product of both lengths.
func matchChart(pattern, name string) bool {
	p, n := 0, 0
	star, mark := -1, 0 // the last "*", and where in name its match began
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && pattern[p] == name[n]:
			p++
			n++
		case star >= 0 && name[mark] != '/':
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// clip shortens foreign text for a message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

func allRoles() []Role {
	out := make([]Role, len(roleTable))
	for i, row := range roleTable {
		out[i] = row.role
	}
	return out
}

func limitableRoles() []Role {
	var out []Role
	for _, row := range roleTable {
		if row.actions&reachSet(ReachChart) != 0 {
			out = append(out, row.role)
		}
	}
	return out
}

func joinRoles(roles []Role, sep string) string {
	parts := make([]string, len(roles))
	for i, r := range roles {
		parts[i] = string(r)
	}
	return strings.Join(parts, sep)
}
