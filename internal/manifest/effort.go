package manifest

import (
	"cmp"
	"slices"

	"github.com/Masterminds/semver/v3"
)

// EffortClass says how much an upgrade asks of people.
type EffortClass string

// The classes, from the least: up to 3 points, up to 9, and above.
const (
	EffortSmall  EffortClass = "S"
	EffortMedium EffortClass = "M"
	EffortLarge  EffortClass = "L"
)

// ApproverSecurity is the role that has to approve what gives more rights, or
// less protection.
const ApproverSecurity = "security"

// Effort is what moving from one version to another asks of people. It orders
// the work, and says how deep to test and who has to approve; it never moves a
// deadline. What could not be compared counts: an unknown is never a small
// effort for being unknown.
type Effort struct {
	Class  EffortClass  `json:"class"`
	Points int          `json:"points"`
	Parts  []EffortPart `json:"parts"` // that add up to Points, the largest first; those that only block have none
	// Approvers are the roles that have to approve, beside those that always do.
	Approvers []string `json:"approvers"`
	// Blocked is true when something has to be settled before the upgrade: its
	// parts have Blocks.
	Blocked bool `json:"blocked"`
}

// EffortPart is one reason for effort.
type EffortPart struct {
	Points   int     `json:"points"`
	Why      string  `json:"why"`
	Approver string  `json:"approver,omitempty"`
	Blocks   bool    `json:"blocks,omitempty"`
	Finding  Finding `json:"finding"` // that it comes from
}

// effortRule says what a finding asks of people. Of findings of the same reason
// about the same object, the first counts.
type effortRule struct {
	rules    []string
	points   int
	why      string
	approver string
	blocks   bool
	when     func(Finding) bool // nil for always
}

func isSet(f Finding) bool    { return f.Set }
func isNotSet(f Finding) bool { return !f.Set }

func atLeast(s Severity) func(Finding) bool {
	return func(f Finding) bool { return f.Severity.Rank() >= s.Rank() }
}

var effortRules = []effortRule{
	{rules: []string{"value-vanished"}, points: 3, why: "a value that you set is gone", when: isSet},
	{rules: []string{"value-type"}, points: 3, why: "a value that you set is of another type", when: func(f Finding) bool { return f.Set && f.Severity == High }},
	{rules: []string{"value-required"}, points: 3, why: "a value is required that nobody gives", when: atLeast(High)},
	{rules: []string{"schema-broken"}, points: 3, why: "a value breaks the schema of the new version"},
	{rules: []string{"value-default", "value-type"}, points: 1, why: "a default that you do not set has changed", when: isNotSet},
	{rules: []string{"immutable-field"}, points: 5, why: "a field that cannot be changed has changed"},
	{rules: []string{"crd-removed", "crd-changed", "crd-version-removed", "crd-storage-version", "crd-not-upgraded", "crd-adopted"}, points: 3, why: "a definition of custom resources has changed"},
	{rules: []string{"hook-added"}, points: 3, why: "a hook or a migration runs", when: atLeast(Medium)},
	{rules: []string{"hook-changed", "migration"}, points: 3, why: "a hook or a migration runs"},
	{rules: []string{"rights-widened", "rights-aggregated", "rights-everybody", "rights-unknown", "role-bound"}, points: 3, why: "rights have grown", approver: ApproverSecurity},
	{rules: []string{"pod-security-lost", "namespace-relaxed"}, why: "a level of the Pod Security Standards is lost", approver: ApproverSecurity, blocks: true},
	{rules: []string{"api-removed"}, why: "Kubernetes does not serve an API that is used", blocks: true},
	{rules: []string{majorRule}, points: 2, why: "the chart has another major version"},
	{rules: []string{"compared-as-text"}, points: 10, why: "what changes is not known"},
	{rules: []string{"compared-partly", "not-read", "values-unknown"}, points: 4, why: "what changes is known in part"},
}

const majorRule = "chart-major"

// EffortOf weighs the findings of a comparison between two versions of a chart:
// the sum of the table above, 0 to 3 small, 4 to 9 medium, above it large. More
// findings never make less effort. Cost: linear in the findings.
func EffortOf(findings []Finding, oldVersion, newVersion string) Effort {
	e := Effort{Parts: []EffortPart{}, Approvers: []string{}}
	if f, ok := major(oldVersion, newVersion); ok {
		findings = append(slices.Clone(findings), f)
	}
	type counted struct{ why, object string }
	seen := map[counted]bool{}
	for _, f := range findings {
		for _, r := range effortRules {
			if !slices.Contains(r.rules, f.Rule) || r.when != nil && !r.when(f) || seen[counted{r.why, f.Object}] {
				continue
			}
			seen[counted{r.why, f.Object}] = true
			e.Points += r.points
			e.Blocked = e.Blocked || r.blocks
			e.Parts = append(e.Parts, EffortPart{r.points, r.why, r.approver, r.blocks, f})
			if r.approver != "" && !slices.Contains(e.Approvers, r.approver) {
				e.Approvers = append(e.Approvers, r.approver)
			}
		}
	}
	slices.SortStableFunc(e.Parts, func(a, b EffortPart) int { return cmp.Compare(b.weight(), a.weight()) })
	switch {
	case e.Points <= 3:
		e.Class = EffortSmall
	case e.Points <= 9:
		e.Class = EffortMedium
	default:
		e.Class = EffortLarge
	}
	return e
}

// weight orders parts: those that block come first.
func (p EffortPart) weight() int {
	if p.Blocks {
		return 1000
	}
	return p.Points
}

// major finds another major version: that of Semantic Versioning, of which
// below 1.0.0 the minor version takes the place. A version that is none may
// mean anything.
func major(old, new string) (Finding, bool) {
	if old == new {
		return Finding{}, false
	}
	f := Finding{Rule: majorRule, Severity: Low, Object: "Chart.yaml", Message: "has another major version", Old: oneLine(old), New: oneLine(new)}
	a, errA := semver.NewVersion(old)
	b, errB := semver.NewVersion(new)
	if errA != nil || errB != nil {
		f.Message = "has a version that cannot be compared with the other"
		return f, true
	}
	if a.Major() == 0 && b.Major() == 0 {
		f.Message = "has another minor version below 1.0.0, which may break as a major one does"
		return f, a.Minor() != b.Minor()
	}
	return f, a.Major() != b.Major()
}
