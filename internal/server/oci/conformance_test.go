package oci

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestConformance runs the specification's own conformance programs against the
// door with the fake registry behind it. OCI_CONFORMANCE names the program of
// the main branch (built from conformance/ with go build), OCI_CONFORMANCE_V1_1
// the one of tag v1.1.1 (built with go test -c).
func TestConformance(t *testing.T) {
	t.Run("main", func(t *testing.T) {
		program := conformanceProgram(t, "OCI_CONFORMANCE")
		for _, version := range []string{"1.1", "dev"} {
			t.Run(version, func(t *testing.T) {
				s := newSite(t)
				out := runConformance(t, program,
					"OCI_REGISTRY="+s.host(), "OCI_TLS=disabled", "OCI_VERSION="+version,
					"OCI_REPO1=demo/one", "OCI_REPO2=demo/two",
					"OCI_USERNAME=ci", "OCI_PASSWORD=secret", "OCI_RESULTS_DIR="+t.TempDir())
				counts := map[string]int{}
				for _, m := range regexp.MustCompile(`(?m)^  (Pass|FAIL|Skip|Error|Disabled)\.*: +(\d+)$`).FindAllStringSubmatch(out, -1) {
					counts[m[1]], _ = strconv.Atoi(m[2])
				}
				t.Log(counts)
				if counts["Pass"] < 700 || counts["FAIL"]+counts["Error"]+counts["Skip"] > 0 {
					t.Errorf("not everything passed: %v\n%s", counts, out)
				}
			})
		}
	})
	t.Run("v1.1.1", func(t *testing.T) {
		program := conformanceProgram(t, "OCI_CONFORMANCE_V1_1")
		for _, mounts := range []string{"0", "1"} {
			s := newSite(t)
			out := runConformance(t, program,
				"OCI_ROOT_URL="+s.url, "OCI_NAMESPACE=demo/one", "OCI_CROSSMOUNT_NAMESPACE=demo/two",
				"OCI_USERNAME=ci", "OCI_PASSWORD=secret", "OCI_AUTOMATIC_CROSSMOUNT=1",
				"OCI_TEST_PULL=1", "OCI_TEST_PUSH=1", "OCI_TEST_CONTENT_DISCOVERY=1", "OCI_TEST_CONTENT_MANAGEMENT=1",
				"OCI_DELETE_MANIFEST_BEFORE_BLOBS="+mounts, "OCI_HIDE_SKIPPED_WORKFLOWS=0", "OCI_REPORT_DIR="+t.TempDir())
			if !strings.Contains(out, "75 Passed | 0 Failed | 0 Pending | 4 Skipped") {
				t.Errorf("not everything passed:\n%s", out)
			}
		}
	})
}

func conformanceProgram(t *testing.T, variable string) string {
	t.Helper()
	program := os.Getenv(variable)
	if program == "" {
		t.Skipf("MISSING: %s does not name a conformance program of opencontainers/distribution-spec; the protocol is tested by our own tests alone", variable)
	}
	return program
}

func runConformance(t *testing.T, program string, env ...string) string {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Dir = t.TempDir()
	cmd.Env = append(env, "HOME="+cmd.Dir, "PATH="+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("%s: %v", program, err)
	}
	return regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(string(out), "")
}
