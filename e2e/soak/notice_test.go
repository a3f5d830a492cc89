package soak

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// change replaces a text of the product, which has to be there once.
type change struct{ old, new string }

// early answers two and more who wait for one commit before it is made, as they
// do under load. What is lost is lost only when the server dies in between.
var early = map[string][]change{
	"internal/store/sqlstore/sequencer.go": {
		{"	b.committed()\n", ""},
		{"	if _, err := w.exec(ctx, \"COMMIT\"); err != nil {\n", "	b.committed()\n	if len(ops) > 1 {\n		for _, op := range ops {\n			op.done <- nil\n		}\n		time.Sleep(20 * time.Millisecond)\n	}\n" +
			"	if _, err := w.exec(ctx, \"COMMIT\"); err != nil {\n"},
		{"import (\n", "import (\n	\"time\"\n"},
	},
}

// broken builds the program with changes, through an overlay: the source stays
// as it is.
func broken(t *testing.T, files map[string][]change) string {
	t.Helper()
	root, err := daemontest.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir, replace := t.TempDir(), map[string]string{}
	for file, changes := range files {
		path := filepath.Join(root, filepath.FromSlash(file))
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		for _, c := range changes {
			if n := strings.Count(text, c.old); n != 1 {
				t.Fatalf("%s has this text %d times, want once: mend the change\n%s", file, n, c.old)
			}
			text = strings.Replace(text, c.old, c.new, 1)
		}
		to := filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[path] = to
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "chartkeep")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-overlay", file, "-o", program, "./cmd/chartkeep")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the broken program: %v\n%s", err, out)
	}
	return program
}

// TestSoakNotices: a soak that does not notice a server which acknowledges
// before it commits proves nothing.
func TestSoakNotices(t *testing.T) {
	if testing.Short() {
		t.Skip("-short builds no broken program")
	}
	s := newSoak(t, setting{program: broken(t, early), servers: 1, quorum: "best-effort", seed: seed(t)})
	s.run(2 * time.Minute)
	if len(s.faults) == 0 {
		t.Fatal("nobody noticed that the server acknowledges before it commits")
	}
	t.Logf("noticed: %.600s", s.faults[0])
}
