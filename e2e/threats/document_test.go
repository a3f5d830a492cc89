package threats

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

var update = flag.Bool("update", false, "write the table of docs/threat-model.md anew")

const (
	tableBegin = "<!-- threats -->\n"
	tableEnd   = "<!-- /threats -->\n"
)

// TestThreatModel holds docs/threat-model.md against the rows: what it promises
// is what is played.
func TestThreatModel(t *testing.T) {
	root, err := daemontest.Root()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "docs", "threat-model.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	var b strings.Builder
	b.WriteString("| the attacker has | and | what comes of it | because of | test |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range rows {
		b.WriteString("| " + r.attacker + " | " + r.does + " | " + r.outcome + " | " + r.check + " | `" + r.name + "` |\n")
	}
	want := before + tableBegin + b.String() + tableEnd + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(text) {
		t.Errorf("%s does not have the rows that are played: go test -run TestThreatModel -update", path)
	}
}
