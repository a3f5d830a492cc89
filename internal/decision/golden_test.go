package decision

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// What explain needs is in the decision: these texts are printed from the data
// alone.
func TestExplainedFromTheDataAlone(t *testing.T) {
	p := read(t, `
name: acme
version: "3"
epss: {threshold: 0.1, model: v2025.03.14}
overlay: {profile: pci}
tables:
  bod-26-04:
    replace: true
    reason: three days cannot be met
    approver: jo@acme.example
    rows: |
      exploited,exposed,automatable,impact,outcome
`+loose())
	kev := Value{Value: "yes", Source: "CISA KEV of 2026-05-01", Snapshot: "sha256:aaaa"}
	in := Input{
		Advisory: "BIT-redis-2024-46981", CVE: "CVE-2024-46981",
		Exploited: kev, Ransomware: kev,
		Automatable: Value{Value: "yes", Source: "CISA Vulnrichment", Snapshot: "sha256:bbbb"},
		Exposure:    Value{Value: "open", Source: "Ingress/web/redis lets traffic in from outside the cluster", Derived: true},
		EPSS:        Value{Value: "0.43", Source: "FIRST EPSS of 2026-05-04", Snapshot: "sha256:cccc"},
		EPSSModel:   "v2025.03.14", EPSSDated: t0,
		Published: t0, FixAvailable: t0.AddDate(0, 0, 2), FirstSeen: t0, Now: t0.AddDate(0, 0, 3),
		Waivers: []Lift{{ID: "waiver 4", Status: Waived, Reason: "no network", By: "jo", Expires: t0, Source: "chartkeep"}},
	}
	Rate([]string{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}).Fill(&in, "BIT-redis-2024-46981", "sha256:dddd")
	golden(t, "explain-own.txt", text(p.Decide(in)))
	golden(t, "explain-default.txt", text(Default().Decide(in)))
	in.VEX = []Lift{{ID: "vex-9", Status: NotAffected, Reason: "vulnerable_code_not_present", By: "maker", Source: "redis.vex.json", Snapshot: "sha256:eeee"}}
	golden(t, "explain-lifted.txt", text(Default().Decide(in)))
	golden(t, "explain-nothing-known.txt", text(Default().Decide(Input{FirstSeen: t0, Now: t0.Add(time.Hour)})))
	golden(t, "explain-chart.txt", text(Default().DecideChart(ChartInput{
		Rule: "rights-everybody", Severity: "critical", Kind: "posture", Exposure: Value{Value: "controlled", Source: "declared"},
		Mission: Value{Value: "3", Source: "declared"}, FirstSeen: t0, Fix: t0.AddDate(0, 0, 9), Now: t0.AddDate(0, 0, 10),
	})))
}
