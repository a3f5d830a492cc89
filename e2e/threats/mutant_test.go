package threats

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// mutation takes a check out of the program: in a file of the product, one
// text is replaced by another. The text has to be there exactly once, so that
// a check that was moved or rewritten is noticed here.
type mutation struct{ file, old, new string }

// mutants removes the programs that were built.
type mutants struct{ m *testing.M }

var mutantDir string

func (x mutants) Run() int {
	defer func() {
		if mutantDir != "" {
			os.RemoveAll(mutantDir)
		}
	}()
	return x.m.Run()
}

// mutant builds the program without some checks, through an overlay: the
// source stays as it is.
func mutant(t *testing.T, name string, list []mutation) string {
	t.Helper()
	root, err := daemontest.Root()
	if err != nil {
		t.Fatal(err)
	}
	if mutantDir == "" {
		if mutantDir, err = os.MkdirTemp("", "chartkeep-mutants-"); err != nil {
			t.Fatal(err)
		}
	}
	replace := map[string]string{}
	for i, m := range list {
		path := filepath.Join(root, filepath.FromSlash(m.file))
		from := path
		if earlier, ok := replace[path]; ok {
			from = earlier
		}
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), m.old); n != 1 {
			t.Fatalf("%s has the text of the check %d times, want once: mend the mutation\n%s", m.file, n, m.old)
		}
		to := filepath.Join(mutantDir, fmt.Sprintf("%s-%d.go", name, i))
		if err := os.WriteFile(to, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[path] = to
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(mutantDir, name+".json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(mutantDir, name)
	cmd := exec.Command("go", "build", "-overlay", file, "-o", program, "./cmd/chartkeep")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build without the check: %v\n%s", err, out)
	}
	return program
}
