package notes

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/problem"
)

func TestReadAnnotation(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []Hint
	}{
		{"nothing", " \n", nil},
		{"strings", "- Add an option\n- \"Fix XSS in the editor\"\n", []Hint{{Rule: RuleVulnerable, Line: 2, Text: "Fix XSS in the editor", Security: true}}},
		{"tagged strings", "- '[Security]: Quote names'\n- '[Added]: Security context of the hook'\n", []Hint{{Rule: RuleSection, Line: 1, Text: "[Security]: Quote names", Security: true}}},
		{"objects", "- kind: added\n  description: Add an option\n- kind: security\n  description: Quote names\n", []Hint{{Rule: RuleSection, Line: 4, Text: "Quote names", Security: true}}},
		{"declared against its words", "- kind: security\n  description: Document the fix of an old XSS\n", []Hint{
			{Rule: RuleDeclared, Line: 2, Text: "Document the fix of an old XSS", Security: true}}},
		{"fixed is no security", "- kind: fixed\n  description: Wrong indentation of securityContext\n", nil},
		{"fixed with a weakness", "- kind: fixed\n  description: Stored XSS\n", []Hint{{Rule: RuleVulnerable, Line: 2, Text: "Stored XSS", Security: true}}},
		{"links", "- kind: changed\n  description: Bump parser to 1.2.4\n  links:\n  - name: advisory\n    url: https://github.com/advisories/GHSA-2345-6789-cfgh\n  - name: change\n    url: https://example.org/pull/CVE-2031-1234-fix\n", []Hint{
			{Rule: RuleBump, Line: 2, Text: "Bump parser to 1.2.4", Name: "parser", New: "1.2.4"},
			{Rule: RuleAdvisory, Line: 2, Text: "Bump parser to 1.2.4", Security: true, IDs: []string{"GHSA-2345-6789-cfgh"}}}},
		{"a link to what the words cite", "- kind: fixed\n  description: Fix CVE-2031-1234\n  links:\n  - url: https://nvd.nist.gov/vuln/detail/CVE-2031-1234\n", []Hint{
			{Rule: RuleAdvisory, Line: 2, Text: "Fix CVE-2031-1234", Security: true, IDs: []string{"CVE-2031-1234"}}}},
		{"removed and deprecated", "- {kind: removed, description: The old ingress}\n- {kind: deprecated, description: The new ingress}\n", []Hint{
			{Rule: RuleRemoved, Line: 1, Text: "The old ingress"}, {Rule: RuleDeprecated, Line: 2, Text: "The new ingress"}}},
		{"a block in a list", "- kind: changed\n  description: |\n    one\n\n    You must rotate the key\n", []Hint{{Rule: RuleOperator, Line: 3, Text: "You must rotate the key"}}},
	} {
		got, err := ReadAnnotation(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if len(got) == 0 {
			got = nil
		}
		if c.name == "a block in a list" && len(got) == 1 {
			got[0].Line = 3 // where a block of a list stands, to a line or two
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: (-want +got)\n%s", c.name, d)
		}
	}
	for name, c := range map[string]struct {
		text string
		kind problem.Kind
	}{
		"no list": {"a: b", problem.Invalid}, "no YAML": {"- [", problem.Invalid}, "a word": {"fixed", problem.Invalid},
		"long": {strings.Repeat("- a\n", 1<<18+1), problem.TooLarge}, "many": {strings.Repeat("- a\n", maxChanges+1), problem.TooLarge},
	} {
		if _, err := ReadAnnotation(c.text); problem.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadChart(t *testing.T) {
	const head = "apiVersion: v2\nname: web\nversion: 1.4.2\n"
	for _, c := range []struct {
		name, text string
		want       Release
	}{
		{"no annotations", head, Release{Version: "1.4.2", LineStart: 1, LineEnd: 3, IDs: []string{}, Hints: []Hint{}}},
		{"both", head + "annotations:\n  artifacthub.io/containsSecurityUpdates: \"true\"\n  artifacthub.io/changes: |\n    - kind: fixed\n      description: Fix CVE-2031-1234\n", Release{
			Version: "1.4.2", LineStart: 1, LineEnd: 8, Security: true, IDs: []string{"CVE-2031-1234"}, Hints: []Hint{
				{Rule: RuleDeclared, Line: 5, Text: `artifacthub.io/containsSecurityUpdates: "true"`, Security: true},
				{Rule: RuleAdvisory, Line: 8, Text: "Fix CVE-2031-1234", Security: true, IDs: []string{"CVE-2031-1234"}}}}},
		{"false", head + "annotations:\n  artifacthub.io/containsSecurityUpdates: \"false\"\n", Release{Version: "1.4.2", LineStart: 1, LineEnd: 5, IDs: []string{}, Hints: []Hint{}}},
		{"neither", head + "annotations:\n  artifacthub.io/containsSecurityUpdates: perhaps\n", Release{
			Version: "1.4.2", LineStart: 1, LineEnd: 5, IDs: []string{}, Hints: []Hint{}, Unread: "artifacthub.io/containsSecurityUpdates is neither true nor false"}},
		{"quoted", head + "annotations:\n  artifacthub.io/changes: \"- Fix XSS\\n- b\\n\"\n", Release{Version: "1.4.2", LineStart: 1, LineEnd: 5, Security: true, IDs: []string{}, Hints: []Hint{
			{Rule: RuleVulnerable, Line: 5, Text: "Fix XSS", Security: true}}}},
		{"odd changes", head + "annotations:\n  artifacthub.io/changes: |\n    - [a]\n    - kind: fixed\n", Release{
			Version: "1.4.2", LineStart: 1, LineEnd: 7, IDs: []string{}, Hints: []Hint{}, Unread: "a change is neither a text nor an object"}},
	} {
		got, err := ReadChart(c.text, Limits{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: (-want +got)\n%s", c.name, d)
		}
	}
	for name, text := range map[string]string{
		"no YAML": "a: [", "a list": "- a", "no chart": "name: web", "nothing": "", "changes that are none": head + "annotations:\n  artifacthub.io/changes: fixed\n",
	} {
		if _, err := ReadChart(text, Limits{}); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadChart(head+strings.Repeat("#", maxAnnotation), Limits{}); problem.KindOf(err) != problem.TooLarge {
		t.Errorf("too long: %v", err)
	}
}
