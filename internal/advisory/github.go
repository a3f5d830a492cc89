package advisory

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

var (
	githubNames        = []string{"ghsa_id", "cve_id", "html_url", "summary", "description", "severity", "state", "published_at", "updated_at", "withdrawn_at", "vulnerabilities", "cvss", "cvss_severities"}
	vulnerabilityNames = []string{"package", "vulnerable_version_range", "patched_versions", "first_patched_version"}
	cvssNames          = []string{"cvss_v3", "cvss_v4"}
	vectorNames        = []string{"vector_string"}
)

// github is a security advisory as GitHub's REST API gives it: of one
// repository (/repos/OWNER/NAME/security-advisories), or of its database.
type github struct {
	id, cve, url, summary, details, severity, state string
	published, modified, withdrawn                  time.Time
	scores                                          []Score
	affected                                        []Affected
}

// fromGitHub turns such an advisory into a record in the OSV form; "" for what
// is none, or is not published. What its maintainers write about versions is
// free text: one that cannot be read is a fault, and means all versions.
func fromGitHub(raw string) (osv string, faults []string) {
	c := &cursor{in: raw}
	g := github{}
	c.object(githubNames, func(name string) { g.member(c, name) })
	switch {
	case !c.end():
		return "", []string{"is no JSON"}
	case g.id == "":
		return "", c.faults
	case g.state != "" && g.state != "published":
		return "", append(c.faults, "is not published: its state is "+shown(g.state))
	}
	return g.osv(), c.faults
}

func (g *github) member(c *cursor, name string) {
	switch name {
	case "ghsa_id":
		g.id = c.identifier()
	case "cve_id":
		g.cve = c.identifier()
	case "html_url":
		g.url = c.text()
	case "summary":
		g.summary = c.text()
	case "description":
		g.details = c.text()
	case "severity":
		g.severity = c.text()
	case "state":
		g.state = c.text()
	case "published_at":
		g.published = c.time()
	case "updated_at":
		g.modified = c.time()
	case "withdrawn_at":
		g.withdrawn = c.time()
	case "vulnerabilities":
		c.list(func() { g.vulnerability(c) })
	case "cvss":
		g.vector(c, "CVSS_V3")
	case "cvss_severities":
		c.object(cvssNames, func(name string) {
			g.vector(c, "CVSS_V"+name[len(name)-1:])
		})
	}
}

// vector reads one score. The older member says again what the newer one says.
func (g *github) vector(c *cursor, kind string) {
	c.object(vectorNames, func(string) {
		s := Score{kind, c.text()}
		if strings.HasPrefix(s.Vector, "CVSS:4") {
			s.Type = "CVSS_V4"
		}
		if s.Vector != "" && !slices.Contains(g.scores, s) {
			g.scores = append(g.scores, s)
		}
	})
}

func (g *github) vulnerability(c *cursor) {
	var x Affected
	var versions, patched string
	c.object(vulnerabilityNames, func(name string) {
		switch name {
		case "package":
			c.object(packageNames, func(name string) {
				if name == "name" {
					x.Component.Name = strings.TrimSpace(c.text())
				} else {
					x.Component.Ecosystem = githubEcosystem(c.text())
				}
			})
		case "vulnerable_version_range":
			versions = c.text()
		case "patched_versions", "first_patched_version":
			if s := c.text(); s != "" {
				patched = s
			}
		}
	})
	if x.Component.Name == "" {
		c.fault("names no package")
		return
	}
	if x.Component.Ecosystem == "" {
		x.Component.Ecosystem = EcosystemHelm
	}
	ranges, ok := versionRanges(versions, patched)
	if !ok {
		c.fault("has a range of versions that cannot be read, %s: all count as affected", shown(versions))
		ranges = everything()
	}
	x.Ranges = ranges
	g.affected = append(g.affected, x)
}

// githubEcosystem is OSV's name of what GitHub calls an ecosystem. GitHub has
// none for charts: their repositories say "other", or leave it out.
func githubEcosystem(s string) string {
	switch s = strings.ToLower(s); s {
	case "", "other", "helm":
		return EcosystemHelm
	case "actions":
		return "GitHub Actions"
	case "composer":
		return "Packagist"
	case "erlang":
		return "Hex"
	case "go":
		return "Go"
	case "maven":
		return "Maven"
	case "nuget":
		return "NuGet"
	case "pip":
		return "PyPI"
	case "pub":
		return "Pub"
	case "rubygems":
		return "RubyGems"
	case "rust":
		return "crates.io"
	case "swift":
		return "SwiftURL"
	}
	return s
}

// versionRanges reads ">= 1.0, < 1.4.2 || = 2.0.0" and its like. A range
// without an upper end that is a fix ends at the version that is said to be
// patched, where that is one version.
func versionRanges(versions, patched string) ([]Range, bool) {
	patched = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(patched), ">="))
	groups := strings.Split(versions, "||")
	if len(groups) > 1 || !plainVersion(patched) {
		patched = ""
	}
	var out []Range
	for _, group := range groups {
		events, ok := bounds(group)
		if !ok {
			return nil, false
		}
		if end := len(events) - 1; patched != "" && events[end].Fixed == "" {
			if events[end].LastAffected != "" {
				events = events[:end]
			}
			events = append(events, RangeEvent{Fixed: patched})
		}
		out = append(out, Range{Type: "ECOSYSTEM", Events: events})
	}
	return out, true
}

// bounds reads one range: bounds that hold together. "> 1.0" takes in 1.0
// itself, since OSV has no word for it.
func bounds(s string) ([]RangeEvent, bool) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "", "*", "all", "any", "all versions":
		return []RangeEvent{{Introduced: "0"}}, true
	}
	start, end := RangeEvent{}, RangeEvent{}
	for _, part := range strings.Split(spaced.Replace(s), ",") {
		f := strings.Fields(part)
		if len(f)%2 == 1 {
			f = append([]string{"="}, f...)
		}
		for ; len(f) > 0; f = f[2:] {
			op, v := f[0], f[1]
			lower := op == ">" || op == ">=" || op == "=" || op == "=="
			upper := op == "<" || op == "<=" || op == "=" || op == "=="
			if !plainVersion(v) || lower && start != (RangeEvent{}) || upper && end != (RangeEvent{}) || !lower && !upper {
				return nil, false
			}
			if lower {
				start.Introduced = v
			}
			switch {
			case op == "<":
				end.Fixed = v
			case upper:
				end.LastAffected = v
			}
		}
	}
	if start.Introduced == "" {
		start.Introduced = "0"
	}
	if end == (RangeEvent{}) {
		return []RangeEvent{start}, true
	}
	return []RangeEvent{start, end}, true
}

var spaced = strings.NewReplacer("<=", " <= ", ">=", " >= ", "==", " == ", "<", " < ", ">", " > ", "=", " = ")

// written is a record in the OSV form, with the members that GitHub's has.
type written struct {
	ID         string            `json:"id"`
	Modified   time.Time         `json:"modified,omitzero"`
	Published  time.Time         `json:"published,omitzero"`
	Withdrawn  time.Time         `json:"withdrawn,omitzero"`
	Aliases    []string          `json:"aliases,omitempty"`
	Summary    string            `json:"summary,omitempty"`
	Details    string            `json:"details,omitempty"`
	Severity   []writtenScore    `json:"severity,omitempty"`
	Affected   []writtenAffected `json:"affected"`
	References []writtenLink     `json:"references,omitempty"`
	Specific   map[string]string `json:"database_specific,omitempty"`
}

type writtenScore struct {
	Type   string `json:"type"`
	Vector string `json:"score"`
}

type writtenLink struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

type writtenAffected struct {
	Package Component      `json:"package"`
	Ranges  []writtenRange `json:"ranges"`
}

type writtenRange struct {
	Type   string              `json:"type"`
	Events []map[string]string `json:"events"`
}

// osv writes the record as compact JSON.
func (g *github) osv() string {
	w := written{
		ID: g.id, Modified: g.modified, Published: g.published, Withdrawn: g.withdrawn,
		Summary: g.summary, Details: g.details, Affected: []writtenAffected{},
	}
	if g.cve != "" {
		w.Aliases = []string{g.cve}
	}
	for _, s := range g.scores {
		w.Severity = append(w.Severity, writtenScore(s))
	}
	for _, x := range g.affected {
		a := writtenAffected{Package: x.Component}
		for _, r := range x.Ranges {
			a.Ranges = append(a.Ranges, writtenRange{r.Type, writtenEvents(r.Events)})
		}
		w.Affected = append(w.Affected, a)
	}
	if g.url != "" {
		w.References = []writtenLink{{"ADVISORY", g.url}}
	}
	if g.severity != "" {
		w.Specific = map[string]string{"severity": g.severity}
	}
	b, _ := json.Marshal(w) // no error: texts, and times that were read from texts
	return string(b)
}

func writtenEvents(events []RangeEvent) []map[string]string {
	var out []map[string]string
	for _, e := range events {
		for name, v := range map[string]string{"introduced": e.Introduced, "fixed": e.Fixed, "last_affected": e.LastAffected} {
			if v != "" {
				out = append(out, map[string]string{name: v})
			}
		}
	}
	return out
}
