package advisory

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

func TestKEV(t *testing.T) {
	p, faults := mustImport(t, KEV, fixtures(t, KEV)...)
	if got, want := flaw(faults), `catalogue.json:10 CVE-2024-0001 dateAdded "spring" is no time`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	s := p.Snapshot()
	if s.Records != 3 || s.Faults != 1 || !s.Dated.Equal(time.Date(2026, 3, 1, 15, 0, 1, 123400000, time.UTC)) {
		t.Errorf("%+v", s)
	}
	db, _ := NewDatabase(nil, p.With(Snapshot{ID: 7, Feed: "cisa"}))
	e, from, ok := db.KEV("CVE-2026-10001")
	want := Exploited{CVE: "CVE-2026-10001", Added: day(2026, 2, 20, 0), Due: day(2026, 3, 13, 0), Ransomware: true, Name: "Example web path traversal", Action: "Update, or stop using it."}
	if d := cmp.Diff(want, e); d != "" || !ok || from.ID != 7 || from.Digest != s.Digest {
		t.Errorf("%s %v %+v", d, ok, from)
	}
	if e, _, ok := db.KEV("CVE-2024-0001"); !ok || !e.Added.IsZero() || e.Ransomware {
		t.Errorf("an entry without a date: %+v %v", e, ok)
	}
	if _, from, ok := db.KEV("CVE-2026-2"); ok || from.ID != 7 {
		t.Errorf("a CVE that is not listed: %v %+v", ok, from)
	}
	empty, _ := NewDatabase(nil)
	if _, from, ok := empty.KEV("CVE-2026-2"); ok || from != (Snapshot{}) {
		t.Errorf("no catalogue: %v %+v", ok, from)
	}
}

// Of several catalogues the newest counts as a whole, in either order.
func TestNewestCatalogue(t *testing.T) {
	old := input{"old", `{"dateReleased":"2026-01-01T00:00:00Z","vulnerabilities":[{"cveID":"CVE-2026-0001"},{"cveID":"CVE-2026-0002"}]}`}
	young := input{"new", `{"vulnerabilities":[{"cveID":"CVE-2026-0002"}],"catalogVersion":"2026.02.01"}`}
	for _, files := range [][]input{{old, young}, {young, old}} {
		p, faults := mustImport(t, KEV, files...)
		db, _ := NewDatabase(nil, p)
		_, _, one := db.KEV("CVE-2026-0001")
		_, _, two := db.KEV("CVE-2026-0002")
		if one || !two || flaw(faults) != "old is left out: new is newer, of 2026-02-01" || !p.Snapshot().Dated.Equal(day(2026, 2, 1, 0)) {
			t.Errorf("%v %v %s", one, two, flaw(faults))
		}
	}
}

func TestKEVFaults(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"count", `{"catalogVersion":"2026.01.01","count":5,"vulnerabilities":[{"cveID":"CVE-2026-0001"}]}`, "in says that it has 5 entries and has 1"},
		{"no date", `{"vulnerabilities":[{"cveID":"CVE-2026-0001"}]}`, "in has no date"},
		{"no CVE", `{"catalogVersion":"2026.01.01","vulnerabilities":[{"cveID":"CVE-2026-0001"},` + "\n" + `{"cveID":"2026-1"}]}`, `in:2 cveID "2026-1" is no CVE id; has no CVE id`},
		{"another document", `{"id":"CVE-2026-0001"}`, "in is no catalogue of known exploited vulnerabilities"},
		{"CSV", "cveID,vendorProject", "in is not JSON"},
	} {
		_, faults := mustImport(t, KEV, input{"zero", `{"catalogVersion":"2026.01.01","vulnerabilities":[{"cveID":"CVE-2026-0001"}]}`}, input{"in", c.text})
		got := flaw(faults)
		if c.name == "no date" { // which is older than any
			got = strings.TrimPrefix(got, "in is left out: zero is newer, of 2026-01-01")
			c.want = ""
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	_, faults := mustImport(t, KEV, input{"in", `{"vulnerabilities":[{"cveID":"CVE-2026-0001"}]}`})
	if flaw(faults) != "in has no date" {
		t.Error(flaw(faults))
	}
	_, _, err := imports(KEV, DefaultLimits(), input{"cut", `{"catalogVersion":"2026.01.01","vulnerabilities":[{"cveID":"CVE-2026-0001"},`})
	if p, ok := problem.As(err); !ok || p.Rule != "advisory-damaged" {
		t.Error(err)
	}
}

func TestCorpusKEV(t *testing.T) {
	text := charttest.ReadFile(t, filepath.Join(charttest.Corpus(t, "advisories/kev"), "known_exploited_vulnerabilities.json.gz"))
	p, faults := mustImport(t, KEV, input{"kev", string(text)})
	if s := p.Snapshot(); s.Records != 1341 || len(faults) > 0 || !s.Dated.Equal(time.Date(2025, 5, 13, 17, 56, 12, 624800000, time.UTC)) {
		t.Errorf("%+v %s", s, flaw(faults))
	}
	db, _ := NewDatabase(nil, p)
	table := charttest.ReadFile(t, filepath.Join(charttest.Corpus(t, "advisories/kev"), "known_exploited_vulnerabilities.csv.gz"))
	rows := charttest.Rows(t, table)
	for _, row := range rows {
		e, _, ok := db.KEV(row["cveID"])
		if !ok || e.Added.Format(time.DateOnly) != row["dateAdded"] || e.Due.Format(time.DateOnly) != row["dueDate"] ||
			e.Ransomware != (row["knownRansomwareCampaignUse"] == "Known") || e.Name != row["vulnerabilityName"] || e.Action != row["requiredAction"] {
			t.Errorf("%+v, the table has %v", e, row)
		}
	}
	if len(rows) != 1341 {
		t.Errorf("%d rows", len(rows))
	}
}

func FuzzKEV(f *testing.F) {
	for _, in := range fixtures(f, KEV) {
		f.Add([]byte(in.text))
	}
	lim := Limits{Record: 64 << 10, File: 256 << 10, Import: 1 << 20, Kept: 256 << 10, Records: 1000, Files: 100}
	f.Fuzz(func(t *testing.T, in []byte) { roundTrip(t, KEV, lim, in) })
}
