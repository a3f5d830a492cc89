package access

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files and the tables of docs/access.md")

const docFile = "../../docs/access.md"

// TestRoleTable keeps the table in docs/access.md equal to the one that decides.
// It is the golden file: a changed right shows as a changed line there.
func TestRoleTable(t *testing.T) {
	checkDocBlock(t, "roles", rolesMarkdown())
	checkDocBlock(t, "actions", actionsMarkdown())
}

func rolesMarkdown() string {
	var b strings.Builder
	b.WriteString("| role | what it is for |\n| --- | --- |\n")
	for _, r := range Roles() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", r.Role, r.Description)
	}
	return b.String()
}

func actionsMarkdown() string {
	var b strings.Builder
	b.WriteString("| action | may | reach |")
	for _, r := range Roles() {
		fmt.Fprintf(&b, " %s |", r.Role)
	}
	b.WriteString("\n| --- | --- | --- |" + strings.Repeat(" :-: |", len(Roles())) + "\n")
	for _, a := range Actions() {
		words := a.Words
		if a.Personal {
			words += " (people only)"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |", a.Action, words, a.Reach)
		for _, r := range Roles() {
			mark := ""
			if r.Role.Has(a.Action) {
				mark = "yes"
			}
			fmt.Fprintf(&b, " %s |", mark)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// checkDocBlock compares the text between two markers of the document.
func checkDocBlock(t *testing.T, name, want string) {
	t.Helper()
	doc, err := os.ReadFile(filepath.FromSlash(docFile))
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	head, rest, ok := strings.Cut(string(doc), begin)
	got, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no block %s", docFile, name)
	}
	if got == want {
		return
	}
	if *update {
		if err := os.WriteFile(filepath.FromSlash(docFile), []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("block %s of %s is out of date (run with -update)\n--- have\n%s--- want\n%s", name, docFile, got, want)
}

func TestNoActionChangesOrDeletesARelease(t *testing.T) {
	for _, a := range Actions() {
		name := string(a.Action)
		for _, word := range []string{"overwrite", "replace", "remove", "force", "rename", "purge", "update"} {
			if strings.Contains(name, word) {
				t.Errorf("there is an action %s", name)
			}
		}
		if strings.Contains(name, "delete") && a.Action != ArtifactDelete {
			t.Errorf("there is an action %s", name)
		}
	}
	for _, name := range []Action{"chart.overwrite", "chart.delete", "release.delete", "chart.*", "*", ""} {
		if _, ok := name.Info(); ok {
			t.Errorf("there is an action %q", name)
		}
		for _, r := range Roles() {
			if r.Role.Has(name) {
				t.Errorf("role %s has %q", r.Role, name)
			}
		}
	}
}

func TestRoles(t *testing.T) {
	if n := len(actionTable); n > 64 {
		t.Fatalf("%d actions do not fit an actionSet", n)
	}
	seen := map[Action]bool{}
	for _, r := range Roles() {
		if !r.Role.Has(ChartPull) {
			t.Errorf("role %s cannot pull; Refuse relies on it", r.Role)
		}
		if r.Role.Has(TombstoneRequest) && r.Role.Has(TombstoneApprove) || r.Role.Has(UpgradePlan) && r.Role.Has(UpgradeApprove) {
			t.Errorf("role %s asks and approves", r.Role)
		}
		if r.Description == "" {
			t.Errorf("role %s has no description", r.Role)
		}
		for _, a := range r.Actions {
			seen[a] = true
		}
	}
	for _, a := range Actions() {
		if !seen[a.Action] || len(RolesWith(a.Action)) == 0 {
			t.Errorf("no role has %s", a.Action)
		}
		if a.Words == "" || a.Reach == "" {
			t.Errorf("%s is not described", a.Action)
		}
	}
	for _, r := range []Role{RoleProjectOwner, RoleInstanceAdmin, RoleAuditor, RoleApprover, RoleReleaseManager, RoleReader} {
		if r.Has(ChartPush) {
			t.Errorf("role %s pushes", r)
		}
	}
	for _, a := range Actions() {
		if RoleAuditor.Has(a.Action) && a.Reach != ReachRead {
			t.Errorf("the auditor writes: %s", a.Action)
		}
	}
	if Role("root").Has(ChartPull) {
		t.Error("an unknown role has rights")
	}
}
