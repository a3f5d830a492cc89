package manifest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The fixtures of Pod Security admission itself, when the module is on this
// machine.
func TestPodSecurityFixtures(t *testing.T) {
	const module = "k8s.io/pod-security-admission@v0.37.2"
	cache, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Skipf("SKIPPED: no go command to ask for the module cache: %v", err)
	}
	root := filepath.Join(strings.TrimSpace(string(cache)), module, "test", "testdata")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("SKIPPED: %s is not in the module cache (go mod download %s)", module, module)
	}
	n := 0
	for _, level := range []PodLevel{Baseline, Restricted} {
		for _, want := range []string{"pass", "fail"} {
			files, err := filepath.Glob(filepath.Join(root, string(level), "v1.37", want, "*.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				objects, faults := Parse(string(readFile(t, f)), "default", Limits{})
				if len(objects) != 1 || len(faults) > 0 {
					t.Fatalf("%s: %d objects, %v", f, len(objects), faults)
				}
				got, violations := PodSecurity(objects)
				if kept := got.rank() >= level.rank(); kept != (want == "pass") {
					t.Errorf("%s/%s: keeps to %s by %v, and should %s", level, filepath.Base(f), got, violations, want)
				}
				n++
			}
		}
	}
	if n < 100 {
		t.Errorf("%d fixtures were read: too few to prove anything", n)
	}
	t.Logf("%d fixtures", n)
}
