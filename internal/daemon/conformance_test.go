package daemon

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestConformance runs the OCI distribution specification's own programs
// against the whole server, in a project of kind artifacts, private and
// public. OCI_CONFORMANCE names the program of the main branch (go build in
// conformance/), OCI_CONFORMANCE_V1_1 that of tag v1.1.1 (go test -c).
func TestConformance(t *testing.T) {
	program, older := os.Getenv("OCI_CONFORMANCE"), os.Getenv("OCI_CONFORMANCE_V1_1")
	if program == "" && older == "" {
		t.Skip("NOT TESTED: neither OCI_CONFORMANCE nor OCI_CONFORMANCE_V1_1 names a conformance program; the protocol is tested by our own tests alone")
	}
	cfg := Default()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	d, _ := run(t, cfg)
	for name, body := range map[string]string{"open": `{"name":"open","kind":"artifacts","public":true}`, "closed": `{"name":"closed","kind":"artifacts"}`} {
		if code, answer := request(t, d, "POST", "/api/v1/projects", []byte(body), "Content-Type", "application/json"); code != 201 {
			t.Fatal(code, answer)
		}
		for _, version := range []string{"1.1", "dev"} {
			if program == "" {
				break
			}
			out := conform(t, program, "OCI_REGISTRY="+d.Addr().String(), "OCI_TLS=disabled", "OCI_VERSION="+version,
				"OCI_REPO1="+name+"/one-"+version, "OCI_REPO2="+name+"/two-"+version,
				"OCI_USERNAME=any", "OCI_PASSWORD="+d.first, "OCI_RESULTS_DIR="+t.TempDir())
			counts := regexp.MustCompile(`(?m)^  (Pass|FAIL|Skip|Error|Disabled)\.*: +\d+$`).FindAllString(out, -1)
			t.Log(name, version, counts)
			for _, line := range counts {
				if bad := regexp.MustCompile(`^  (FAIL|Skip|Error)\.*: +[1-9]`); bad.MatchString(line) {
					t.Errorf("%s %s: %s\n%s", name, version, line, out)
				}
			}
			if !strings.Contains(out, "Pass") {
				t.Errorf("the program checked nothing:\n%s", out)
			}
		}
		if older == "" {
			continue
		}
		out := conform(t, older, "OCI_ROOT_URL="+d.URL(), "OCI_NAMESPACE="+name+"/old-one", "OCI_CROSSMOUNT_NAMESPACE="+name+"/old-two",
			"OCI_USERNAME=any", "OCI_PASSWORD="+d.first, "OCI_AUTOMATIC_CROSSMOUNT=1", "OCI_TEST_PULL=1", "OCI_TEST_PUSH=1",
			"OCI_TEST_CONTENT_DISCOVERY=1", "OCI_TEST_CONTENT_MANAGEMENT=1", "OCI_HIDE_SKIPPED_WORKFLOWS=0", "OCI_REPORT_DIR="+t.TempDir())
		if !regexp.MustCompile(`7\d Passed \| 0 Failed \| 0 Pending`).MatchString(out) {
			t.Errorf("%s, v1.1.1: not everything passed\n%s", name, out)
		}
	}
}

func conform(t *testing.T, program string, env ...string) string {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Dir = t.TempDir()
	cmd.Env = append(env, "HOME="+cmd.Dir, "PATH="+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("%s: %v", filepath.Base(program), err) // its status is not telling; its report is
	}
	return regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(string(out), "")
}
