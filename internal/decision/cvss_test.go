package decision

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

func TestRate(t *testing.T) {
	const (
		v31  = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
		v31b = "CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:U/C:H/I:N/A:N"
		v30  = "CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N"
		v20  = "AV:N/AC:L/Au:N/C:P/I:P/A:P"
		v40  = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"
	)
	for _, c := range []struct {
		name    string
		vectors []string
		want    Rating
	}{
		{"none", nil, Rating{Severity: "unknown"}},
		{"v3.1", []string{v31}, Rating{Version: "3.1", Vector: v31, Score: 9.8, Severity: "critical", Automatable: "yes", Impact: "total"}},
		{"v3.0", []string{v30}, Rating{Version: "3.0", Vector: v30, Score: 6.1, Severity: "medium", Automatable: "no", Impact: "partial"}},
		{"v2.0", []string{v20}, Rating{Version: "2.0", Vector: v20, Score: 7.5, Severity: "high", Automatable: "yes", Impact: "partial"}},
		{"v2.0 in parentheses, whole", []string{"(AV:L/AC:H/Au:N/C:C/I:C/A:C)"},
			Rating{Version: "2.0", Vector: "(AV:L/AC:H/Au:N/C:C/I:C/A:C)", Score: 6.2, Severity: "medium", Automatable: "no", Impact: "total"}},
		{"v2.0 has no critical", []string{"AV:N/AC:L/Au:N/C:C/I:C/A:C/E:F/RL:OF/RC:C"},
			Rating{Version: "2.0", Vector: "AV:N/AC:L/Au:N/C:C/I:C/A:C/E:F/RL:OF/RC:C", Score: 10, Severity: "high", Automatable: "yes", Impact: "total", Exploitation: "poc"}},
		{"v4.0", []string{v40}, Rating{Version: "4.0", Vector: v40, Score: 9.3, Severity: "critical", Automatable: "yes", Impact: "total"}},
		{"v4.0 says itself that it cannot be automated", []string{v40 + "/AU:N"},
			Rating{Version: "4.0", Vector: v40 + "/AU:N", Score: 9.3, Severity: "critical", Automatable: "no", Stated: true, Impact: "total"}},
		{"v4.0 says itself that it can", []string{strings.Replace(v40, "AC:L", "AC:H", 1) + "/AU:Y"},
			Rating{Version: "4.0", Vector: strings.Replace(v40, "AC:L", "AC:H", 1) + "/AU:Y", Score: 9.2, Severity: "critical", Automatable: "yes", Stated: true, Impact: "total"}},
		{"v4.0 needs something present", []string{strings.Replace(v40, "AT:N", "AT:P", 1)},
			Rating{Version: "4.0", Vector: strings.Replace(v40, "AT:N", "AT:P", 1), Score: 9.2, Severity: "critical", Automatable: "no", Impact: "total"}},
		{"threat and environment do not move the base score", []string{v40 + "/E:U/MAV:P/MVC:N"},
			Rating{Version: "4.0", Vector: v40 + "/E:U/MAV:P/MVC:N", Score: 9.3, Severity: "critical", Automatable: "yes", Impact: "total", Exploitation: "none"}},
		{"nor those of v3.1", []string{v31 + "/E:U/RL:O/MAV:P"},
			Rating{Version: "3.1", Vector: v31 + "/E:U/RL:O/MAV:P", Score: 9.8, Severity: "critical", Automatable: "yes", Impact: "total", Exploitation: "none"}},
		{"no impact", []string{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N"},
			Rating{Version: "3.1", Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", Severity: "none", Automatable: "yes", Impact: "partial"}},
		{"the newest version is taken, in whatever order", []string{v20, v31, v40 + "/E:A", v30}, Rating{
			Version: "4.0", Vector: v40 + "/E:A", Score: 9.3, Severity: "critical", Automatable: "yes", Impact: "total", Exploitation: "poc"}},
		{"then the highest score", []string{v31b, v31}, Rating{Version: "3.1", Vector: v31, Score: 9.8, Severity: "critical", Automatable: "yes", Impact: "total"}},
		{"exploit maturity is the worst of all", []string{v31 + "/E:U", v30 + "/E:P"}, Rating{
			Version: "3.1", Vector: v31 + "/E:U", Score: 9.8, Severity: "critical", Automatable: "yes", Impact: "total", Exploitation: "poc"}},
		{"what cannot be read is said", []string{"CVSS:5.0/AV:N", " " + v31b + "\n"}, Rating{
			Version: "3.1", Vector: v31b, Score: 6.5, Severity: "medium", Automatable: "no", Impact: "partial",
			Faults: []string{`vector "CVSS:5.0/AV:N": a version of CVSS that is not known`}}},
		{"too long", []string{v20 + strings.Repeat("/", 600)}, Rating{Severity: "unknown",
			Faults: []string{`vector "AV:N/AC:L/Au:N/C:P/I:P/A:P//////////////////////////////////////////////////////": 626 bytes, more than 512`}}},
	} {
		if diff := cmp.Diff(c.want, Rate(c.vectors)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestRateIsBounded(t *testing.T) {
	many := make([]string, 1000)
	if r := Rate(many); len(r.Faults) != maxVectors+1 {
		t.Errorf("%d faults", len(r.Faults))
	}
}

func TestFillTakesNothingAway(t *testing.T) {
	r := Rate([]string{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/E:F"})
	in := Input{Automatable: Value{Name: "automatable", Value: "no", Source: "vulnrichment"}}
	r.Fill(&in, "BIT-x", "sha256:1")
	source := "BIT-x, " + r.Vector
	want := Input{
		Automatable:  Value{Name: "automatable", Value: "no", Source: "vulnrichment"},
		CVSS:         Value{Name: "cvss", Value: "9.8", Source: source, Snapshot: "sha256:1"},
		Impact:       Value{Name: "impact", Value: "total", Source: source, Snapshot: "sha256:1", Derived: true},
		Exploitation: Value{Name: "exploitation", Value: "poc", Source: source, Snapshot: "sha256:1", Derived: true},
	}
	if diff := cmp.Diff(want, in); diff != "" {
		t.Errorf("filled (-want +got):\n%s", diff)
	}
	var empty Input
	Rate(nil).Fill(&empty, "nothing", "")
	if diff := cmp.Diff(Input{}, empty); diff != "" {
		t.Errorf("without a vector:\n%s", diff)
	}
}

// record is as much of an OSV record as the tests need.
type record struct {
	ID       string
	Aliases  []string
	Severity []struct{ Score string }
	Affected []struct {
		Package  struct{ Name string }
		Severity []struct{ Score string }
		Ranges   []struct{ Events []map[string]string }
	}
	Specific struct{ Severity string } `json:"database_specific"`
}

func (r record) vectors() []string {
	var out []string
	for _, s := range r.Severity {
		out = append(out, s.Score)
	}
	for _, a := range r.Affected {
		for _, s := range a.Severity {
			out = append(out, s.Score)
		}
	}
	return out
}

// records reads all OSV records below a folder of the corpus.
func records(t testing.TB, below string) []record {
	t.Helper()
	var out []record
	err := filepath.WalkDir(charttest.Corpus(t, below), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".json") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var r record
		if err := json.Unmarshal(b, &r); err != nil {
			return err
		}
		out = append(out, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The rating of every advisory of the corpus is the one its publisher gives.
func TestRatingsOfTheCorpus(t *testing.T) {
	rated := 0
	versions := map[string]int{}
	for _, r := range append(records(t, "advisories/bitnami-vulndb"), records(t, "advisories/ghsa")...) {
		got := Rate(r.vectors())
		if len(got.Faults) > 0 {
			t.Errorf("%s: %v", r.ID, got.Faults)
		}
		want := strings.ToLower(r.Specific.Severity)
		if want == "moderate" {
			want = "medium"
		}
		if want == "" || want == "unknown" {
			continue
		}
		rated++
		versions[got.Version]++
		if got.Severity != want {
			t.Errorf("%s: %s (%.1f of %s), its publisher says %s", r.ID, got.Severity, got.Score, got.Vector, want)
		}
	}
	if rated < 748 {
		t.Errorf("only %d advisories have a rating to compare with", rated)
	}
	t.Logf("%d advisories, by version %v", rated, versions)
}

func FuzzVector(f *testing.F) {
	for _, s := range []string{
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/E:P/RL:O/RC:C/CR:H/MAV:L", "CVSS:3.0/AV:P/AC:H/PR:H/UI:R/S:C/C:N/I:L/A:N",
		"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N/E:A/AU:Y", "AV:N/AC:L/Au:N/C:P/I:P/A:P/E:F/RL:OF/RC:C",
		"(AV:N/AC:L/Au:N/C:P/I:P/A:P)", "CVSS:2.0/AV:N/AC:L/Au:N/C:P/I:P/A:P/CDP:H/TD:H/CR:H/IR:H/AR:H", "CVSS:3.1/", "CVSS:4.0/", "", "/", "CVSS:9",
	} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		r := Rate([]string{a, b})
		if r.Score < 0 || r.Score > 10 || r.Score != r.Score {
			t.Errorf("score %v", r.Score)
		}
		if (r.Version == "") != (r.Severity == "unknown") || r.Version == "" && len(r.Faults) != 2 {
			t.Errorf("version %q, severity %q, faults %v", r.Version, r.Severity, r.Faults)
		}
		if diff := cmp.Diff(r.Version+r.Vector, func() string { s := Rate([]string{b, a}); return s.Version + s.Vector }()); diff != "" {
			t.Errorf("the order counts: %s", diff)
		}
	})
}
