package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/client"
)

// TestImportsShown: below what runs where stands how far that can be relied on.
func TestImportsShown(t *testing.T) {
	many := make([]string, 12)
	for i := range many {
		many[i] = "apps/" + string(rune('a'+i)) + ".yaml: it is no YAML"
	}
	r := deploymentList{now: noon, Imports: []client.Import{
		{Name: "prod", From: "context prod", Time: noon.Add(-time.Hour), Deployments: 2},
		{Name: "gitops", From: "./clusters", Time: noon.Add(-9 * 24 * time.Hour), Deployments: 1, Problems: many, MoreProblems: 3, Old: true},
		{Name: "one", From: "x", Time: noon.Add(-90 * time.Second), Problems: many[:1]},
	}}
	var b bytes.Buffer
	(&printer{}).table(&b, r.view())
	text := b.String()
	for _, want := range []string{
		"(1 hour ago)", "(9 days ago)", "15 problems; old: it says little of what runs today", "(1 minute ago)", "1 problem\n",
		"what could not be read:", "import gitops: apps/j.yaml: it is no YAML", "import gitops: 5 more; -o json lists them", "import one: apps/a.yaml: it is no YAML",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "apps/k.yaml") {
		t.Errorf("more problems are shown than a table holds:\n%s", text)
	}
}
