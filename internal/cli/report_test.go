package cli

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/manifest"
)

func sampleDiff() chartDiff {
	found := []manifest.Finding{
		{Rule: "rights-widened", Severity: manifest.Critical, Object: "ClusterRole/web", Message: "now also allows to get secrets in the whole cluster; bound to ServiceAccount/default/web", New: "get secrets"},
		{Rule: "value-vanished", Severity: manifest.High, Object: "auth.mode", Message: "is gone from the chart, and you set it: Helm ignores it without a word", Set: true},
		{Rule: "image-changed", Severity: manifest.Info, Object: "Deployment/default/web", Message: "runs another image: app", Old: "example.test/app:1.4.2", New: "example.test/app:1.5\x1b[2J"},
	}
	side := manifest.Side{
		Name: "web", Version: "1.4.2", AppVersion: "3.1", Known: true, Images: []manifest.Image{{Object: "Deployment/default/web", Container: "app", Path: "spec.template.spec.containers[0].image", Ref: "example.test/app:1.4.2", Confidence: manifest.Exact}},
		Exposure: manifest.ExposureControlled, ExposureWhy: "nothing lets traffic in", PodSecurity: manifest.Restricted, Violations: []manifest.Violation{}, Posture: []manifest.Finding{}, Unstable: []string{}, Faults: []manifest.Fault{},
	}
	other := side
	other.Version, other.PodSecurity, other.Unstable = "1.5.0", manifest.Baseline, []string{"Secret/default/web: data.key"}
	other.Violations = []manifest.Violation{{Level: manifest.Restricted, Rule: "seccomp", Object: "Deployment/default/web", Container: "app"}}
	c := manifest.Comparison{
		Old: side, New: other, Basis: manifest.BasisLenient, Findings: found, Same: 4,
		Fit:    manifest.Fit{Set: 2, Kept: []string{"replicas"}, Vanished: []string{"auth.mode"}, Retyped: []string{}, Default: []string{}, Unlisted: []string{}, Required: []string{}, Defaults: 1},
		Effort: manifest.EffortOf(append(slices.Clone(found), manifest.Finding{Rule: "api-removed", Severity: manifest.High, Object: "CronJob/default/web", Message: "is written in batch/v1beta1, which Kubernetes 1.25 removed"}), "1.4.2", "1.5.0"),
		Undo:   manifest.Undo{Verdict: manifest.UndoUntil, Reasons: []manifest.Obstacle{{Verdict: manifest.UndoUntil, Rule: "undo-migration", Object: "Job/default/web-migrate", Message: "brings data into the form of the new version", Until: "the upgrade has run it"}}},
		Objects: []manifest.ObjectDiff{{Object: "Deployment/default/web", Change: "changed", Source: "web/templates/deployment.yaml", Added: 1, Removed: 1, Cut: true,
			Text: "@@ -9,3 +9,3 @@\n       containers:\n-      - image: example.test/app:1.4.2\n+      - image: example.test/app:1.5\x1b[2J\n"}},
	}
	return chartDiff{Comparison: c, text: true, place: "charts/web"}
}

func sampleCheck() checkResult {
	r := checkResult{Findings: []checkFinding{}, failOn: "medium"}
	good := checkedChart{Path: "charts/web", Chart: "web", Version: "1.5.0", Content: more, Rendered: []string{"values.yaml", "ci/tls-values.yaml"}, NotRendered: []string{}}
	bad := checkedChart{Path: "charts/Db-1.0.tgz", Chart: "Db", Version: "1.0", Digest: some, Content: more, Refused: true, Rendered: []string{}, NotRendered: []string{"values.yaml"}}
	library := checkedChart{Path: "charts/lib", Chart: "lib", Version: "0.1.0", Content: some, Library: true, Rendered: []string{}, NotRendered: []string{}}
	unread := checkedChart{Path: "charts/x.tgz", Chart: "x.tgz", Refused: true, Unread: true, Rendered: []string{}, NotRendered: []string{}}
	r.add(&bad, "", manifest.Finding{Rule: "chart-version", Severity: manifest.High, Object: "Chart.yaml", Message: "1.0 is no version; it could be 1.0.0"})
	r.add(&bad, "values.yaml", manifest.Finding{Rule: "not-rendered", Severity: manifest.High, Object: "values.yaml", Message: "the chart does not render"})
	r.add(&unread, "", manifest.Finding{Rule: "archive-gzip", Severity: manifest.High, Object: "charts/x.tgz", Message: "this is no gzip file"})
	r.addAt(&good, "ci/tls-values.yaml", "web/templates/deployment.yaml", manifest.Finding{Rule: "pod-security-restricted", Severity: manifest.Low, Object: "Deployment/default/web", Message: "breaks seccomp (app\x1b[2J) (restricted)"})
	r.Charts = []checkedChart{good, bad, library, unread}
	return r
}

// SARIF is within what code scanning takes, and the gravest stay when there are
// too many.
func TestSARIF(t *testing.T) {
	p := report{command: "diff"}
	for i := range maxResults + 10 {
		p.findings = append(p.findings, reported{Finding: manifest.Finding{Rule: "image-changed", Severity: manifest.Info, Object: fmt.Sprint("Deployment/a/", i), Message: "x"}, chart: "web", file: "a b/Chart.yaml"})
	}
	p.findings = append(p.findings, reported{Finding: manifest.Finding{Rule: "rights-widened", Severity: manifest.Critical, Object: "Role/a/b", Message: "x"}, chart: "web", file: "templates/role.yaml"})
	p.findings = append(p.findings, p.findings[len(p.findings)-1])
	b, err := p.sarif()
	if err != nil {
		t.Fatal(err)
	}
	var log sarifLog
	if err := json.Unmarshal(b, &log); err != nil {
		t.Fatal(err)
	}
	run := log.Runs[0]
	if len(run.Results) != maxResults || run.Results[0].RuleID != "rights-widened" || run.Results[0].Level != "error" || len(run.Invocations[0].Notifications) != 1 {
		t.Errorf("%d results, %+v first, %+v", len(run.Results), run.Results[0], run.Invocations)
	}
	seen := map[string]bool{}
	for _, r := range run.Results {
		print := r.Fingerprints["chartkeep/v1"]
		if seen[print] || run.Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID || len(r.Locations) != 1 || r.Locations[0].PhysicalLocation.Region.StartLine < 1 {
			t.Fatalf("%+v", r)
		}
		seen[print] = true
	}
	if uri := run.Results[10].Locations[0].PhysicalLocation.ArtifactLocation.URI; uri != "a%20b/Chart.yaml" {
		t.Errorf("the place is %q", uri)
	}
	// A finding that is worded otherwise is the same finding.
	one, two := p.findings[0], p.findings[0]
	two.Message, two.Severity, two.New = "y", manifest.High, "z"
	if one.fingerprint() != two.fingerprint() || one.fingerprint() == p.findings[1].fingerprint() {
		t.Error("fingerprints do not tell findings apart")
	}
	b, err = report{command: "check"}.sarif()
	if err != nil || !strings.Contains(string(b), `"results": []`) || !strings.Contains(string(b), `"rules": []`) {
		t.Errorf("without findings: %v, %s", err, b)
	}
}

func TestJUnit(t *testing.T) {
	read := func(p report) junitSuites {
		t.Helper()
		b, err := p.junit()
		if err != nil {
			t.Fatal(err)
		}
		var all junitSuites
		if err := xml.Unmarshal(b, &all); err != nil {
			t.Fatalf("%v in\n%s", err, b)
		}
		return all
	}
	if all := read(report{command: "diff"}); all.Tests != 1 || all.Failures+all.Errors != 0 {
		t.Errorf("without findings: %+v", all)
	}
	p := sampleDiff().report()
	if all := read(p); all.Tests != 4 || all.Failures != 2 || all.Errors != 1 {
		t.Errorf("%+v", all)
	}
	for _, c := range []struct {
		failOn   string
		failures int
	}{{"info", 3}, {"medium", 2}, {"critical", 1}} {
		if p.failOn = c.failOn; read(p).Failures != c.failures {
			t.Errorf("--fail-on %s: %+v", c.failOn, read(p))
		}
	}
}

func TestInChart(t *testing.T) {
	for place, want := range map[string]string{
		"web": "web/Chart.yaml", "./charts/web/": "charts/web/Chart.yaml", ".": "Chart.yaml", "../web": "web/Chart.yaml", filepath.Join(t.TempDir(), "web"): "web/Chart.yaml",
		"dist/web-1.0.0.tgz": "web-1.0.0.tgz/Chart.yaml",
	} {
		if got := inChart(place, "Chart.yaml"); got != want {
			t.Errorf("%s: %q, want %q", place, got, want)
		}
	}
}
