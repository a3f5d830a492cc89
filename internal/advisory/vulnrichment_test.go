package advisory

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

func TestVulnrichment(t *testing.T) {
	p, faults := mustImport(t, Vulnrichment, fixtures(t, Vulnrichment)...)
	if len(faults) > 0 || !p.Snapshot().Dated.Equal(day(2026, 2, 26, 0)) {
		t.Errorf("%+v %s", p.Snapshot(), flaw(faults))
	}
	db, _ := NewDatabase(nil, p.With(Snapshot{Feed: "cisa"}))
	got, from, ok := db.Points("CVE-2026-10001")
	yes := true
	want := Points{
		Exploitation: ExploitActive, Automatable: &yes, Total: &yes, Dated: time.Date(2026, 2, 25, 10, 11, 12, 131415000, time.UTC),
		KEV: day(2026, 2, 20, 0), Scores: []Score{{"CVSS_V3", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}},
	}
	if d := cmp.Diff(want, got); d != "" || !ok || from.Feed != "cisa" {
		t.Errorf("%s %v %+v", d, ok, from)
	}
	if _, _, ok := db.Points("CVE-2026-10002"); ok {
		t.Error("there are points for a CVE of which nothing is said")
	}
}

func TestVulnrichmentValues(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		exploitation, automatable, impact string
		want                              Points
		fault                             string
	}{
		{"none", "no", "partial", Points{Exploitation: ExploitNone, Automatable: &no, Total: &no}, ""},
		{"PoC", "Yes", "Total", Points{Exploitation: ExploitPoC, Automatable: &yes, Total: &yes}, ""},
		{"public poc", "YES", "partial", Points{Exploitation: ExploitPoC, Automatable: &yes, Total: &no}, ""},
		{"rumoured", "no", "partial", Points{Automatable: &no, Total: &no}, `has the exploitation "rumoured"`},
		{"active", "maybe", "partial", Points{Exploitation: ExploitActive, Total: &no}, `is "maybe", which is neither yes nor no`},
		{"active", "no", "", Points{Exploitation: ExploitActive, Automatable: &no}, `is "", which is neither total nor partial`},
	} {
		p, faults := mustImport(t, Vulnrichment, input{"in", cveRecord("CVE-2026-0001", c.exploitation, c.automatable, c.impact)})
		db, _ := NewDatabase(nil, p)
		got, _, ok := db.Points("CVE-2026-0001")
		got.Dated, got.Scores = time.Time{}, nil
		if d := cmp.Diff(c.want, got); d != "" || !ok || !strings.Contains(flaw(faults), c.fault) || c.fault == "" && len(faults) > 0 {
			t.Errorf("%s/%s/%s: %s %s", c.exploitation, c.automatable, c.impact, d, flaw(faults))
		}
	}
	good := input{"good", cveRecord("CVE-2026-0001", "none", "no", "partial")}
	for _, c := range []struct{ name, text, fault string }{
		{"of others only", strings.Replace(cveRecord("CVE-2026-0002", "none", "no", "partial"), "CISA-ADP", "X", 1), ""},
		{"no CVE", `{"cveMetadata":{"cveId":"x"}}`, `in cveMetadata.cveId "x" is no CVE id; has no CVE id, and is no CVE record`},
		{"another document", `{"fetchTime":"2026"}`, "in has no CVE id, and is no CVE record"},
		{"metrics is a text", `{"cveMetadata":{"cveId":"CVE-2026-0002"},"containers":{"adp":[{"providerMetadata":{"shortName":"CISA-ADP"},"metrics":"x"}]}}`, "in CVE-2026-0002 containers.adp.metrics is a text where a list belongs"},
	} {
		p, faults := mustImport(t, Vulnrichment, good, input{"in", c.text})
		if p.Snapshot().Records != 1 || flaw(faults) != c.fault {
			t.Errorf("%s: %+v %s", c.name, p.Snapshot(), flaw(faults))
		}
	}
}

// TestCorpusVulnrichment reads the points with another reader.
func TestCorpusVulnrichment(t *testing.T) {
	dir := charttest.Corpus(t, "advisories/vulnrichment")
	b := NewBuilder(Vulnrichment, DefaultLimits())
	addFolder(t, b, dir)
	p, faults, err := b.Pack()
	if err != nil || len(faults) > 0 || p.Snapshot().Records != 141 {
		t.Fatalf("%+v %v %s", p.Snapshot(), err, flaw(faults))
	}
	db, _ := NewDatabase(nil, p)
	kept := 0
	for _, line := range p.lines {
		kept += len(line)
	}
	if kept > 141*400 {
		t.Errorf("%d bytes are kept of 141 records", kept)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*.json"))
	scores := 0
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var v struct {
			Containers struct {
				ADP []struct {
					Title   string
					Metrics []struct {
						CVSS  any `json:"cvssV3_1"`
						Other struct {
							Type    string
							Content struct{ Options []map[string]string }
						}
					}
				}
			}
		}
		_ = json.Unmarshal(text, &v) // contents of other types are no mappings
		options := map[string]string{}
		for _, a := range v.Containers.ADP {
			for _, m := range a.Metrics {
				for _, o := range m.Other.Content.Options {
					for k, v := range o {
						options[k] = strings.ToLower(v)
					}
				}
				if m.CVSS != nil {
					scores++
				}
			}
		}
		cve := strings.TrimSuffix(filepath.Base(name), ".json")
		got, _, ok := db.Points(cve)
		if !ok || string(got.Exploitation) != options["Exploitation"] || *got.Automatable != (options["Automatable"] == "yes") || *got.Total != (options["Technical Impact"] == "total") {
			t.Errorf("%s: %+v, want %v", cve, got, options)
		}
		if kev := cve == "CVE-2023-44487" || cve == "CVE-2020-13927" || cve == "CVE-2024-23897"; kev != !got.KEV.IsZero() {
			t.Errorf("%s: in the catalogue since %s", cve, got.KEV)
		}
		scores -= len(got.Scores)
	}
	if scores != 0 {
		t.Errorf("%d scores are missing", scores)
	}
}

func FuzzVulnrichment(f *testing.F) {
	for _, in := range fixtures(f, Vulnrichment) {
		f.Add([]byte(in.text))
	}
	f.Add([]byte(cveRecord("CVE-2026-0001", "PoC", "maybe", "total")))
	lim := Limits{Record: 64 << 10, File: 256 << 10, Import: 1 << 20, Kept: 256 << 10, Records: 1000, Files: 100}
	f.Fuzz(func(t *testing.T, in []byte) { roundTrip(t, Vulnrichment, lim, in) })
}
