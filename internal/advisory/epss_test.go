package advisory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

func TestEPSS(t *testing.T) {
	p, faults := mustImport(t, EPSS, fixtures(t, EPSS)...)
	if got, want := flaw(faults), `scores.csv:5 is no score: "CVE-2025-8888,1.2,0.5"`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	s := p.Snapshot()
	if s.Model != "v2025.03.14" || !s.Dated.Equal(time.Date(2026, 3, 1, 12, 55, 0, 0, time.UTC)) || s.Records != 2 || s.Faults != 1 {
		t.Errorf("%+v", s)
	}
	db, _ := NewDatabase(nil, p)
	if e, from, ok := db.EPSS("CVE-2026-10001"); !ok || e != (Probability{0.91234, 0.99871}) || from.Model != s.Model {
		t.Errorf("%v %+v %v", e, from, ok)
	}
	if e, _, ok := db.EPSS("CVE-2025-9999"); !ok || e != (Probability{9e-05, 0.01}) {
		t.Errorf("%v %v", e, ok)
	}
	if _, from, ok := db.EPSS("CVE-2025-8888"); ok || from.Digest != s.Digest {
		t.Errorf("a score over 1 counts: %v", ok)
	}
}

func TestEPSSForms(t *testing.T) {
	const columns = "cve,epss,percentile\n"
	row := "CVE-2026-0001,0.5,0.6\n"
	for _, c := range []struct {
		name, text, model, dated string
		faults                   int
	}{
		{"as of 2023", "#model_version:v2023.03.01,score_date:2023-03-07T00:00:00+0000\n" + columns + row, "v2023.03.01", "2023-03-07", 0},
		{"as of 2025", "#model_version:v2025.03.14,score_date:2025-03-17T12:55:00Z\n" + columns + row, "v2025.03.14", "2025-03-17", 0},
		{"CR LF, no last line break", strings.ReplaceAll("#model_version:v1, score_date:2025-03-17\n"+columns+row, "\n", "\r\n") + "CVE-2026-0002,1,1", "v1", "2025-03-17", 0},
		{"without a head", columns + row, "", "0001-01-01", 1},
		{"without a model", "#score_date:2025-03-17\n" + columns + row, "", "2025-03-17", 1},
		{"a model with other characters", "#model_version:v 1\x1b,score_date:2025-03-17\n" + columns + row, "", "2025-03-17", 1},
	} {
		p, faults := mustImport(t, EPSS, input{"in", c.text})
		if s := p.Snapshot(); s.Model != c.model || s.Dated.Format(time.DateOnly) != c.dated || len(faults) != c.faults || s.Records < 1 {
			t.Errorf("%s: %+v %s", c.name, s, flaw(faults))
		}
	}
	for _, row := range []string{"CVE-2026-0001", "CVE-2026-0001,0.5", "CVE-2026-0001,0.5,", "CVE-2026-0001,NaN,0.5", "CVE-2026-0001,0x1p-2,0.5", "CVE-2026-0001,-0.1,0.5", "CVE-2026-0001,0.5,1.00001",
		"CVE-2026-0001,0.5,0.5,1", "CVE-2026-1,0.5,0.5", "cve-2026-0001,0.5,0.5", "CVE-2026-0001, 0.5,0.5", "CVE-2026-00x1,0.5,0.5", "CVE-2026-0001,Inf,0", ",,"} {
		if cve, p, ok := readScore(row); ok {
			t.Errorf("%s is a score: %s %v", row, cve, p)
		}
	}
	_, faults := mustImport(t, EPSS, input{"zero", "#model_version:v1,score_date:2025-03-17\n" + columns + row}, input{"in", "cve,epss\nCVE-2026-0001,0.5\n"})
	if got := flaw(faults); got != "in is no EPSS table: it has no line cve,epss,percentile" {
		t.Error(got)
	}
}

// Scores of two days do not mix, and scores of two models cannot be told apart
// by the day.
func TestEPSSDays(t *testing.T) {
	head := func(model, day string) string {
		return "#model_version:" + model + ",score_date:" + day + "\ncve,epss,percentile\n"
	}
	old := input{"old", head("v1", "2026-01-01") + "CVE-2026-0001,0.1,0.1\nCVE-2026-0002,0.1,0.1\n"}
	young := input{"new", head("v2", "2026-01-02") + "CVE-2026-0001,0.2,0.2\n"}
	rest := input{"rest", head("v2", "2026-01-02") + "CVE-2026-0003,0.2,0.2\n"}
	for _, files := range [][]input{{old, young, rest}, {rest, old, young}, {young, rest, old}} {
		p, faults := mustImport(t, EPSS, files...)
		if s := p.Snapshot(); s.Records != 2 || s.Model != "v2" || len(faults) != 1 || !strings.HasPrefix(flaw(faults), "old is left out: ") {
			t.Errorf("%+v %s", s, flaw(faults))
		}
	}
	_, _, err := imports(EPSS, DefaultLimits(), young, input{"other", head("v3", "2026-01-02") + "CVE-2026-0001,0.3,0.3\n"})
	if p, ok := problem.As(err); !ok || p.Rule != "advisory-models" {
		t.Error(err)
	}
	a, _ := mustImport(t, EPSS, input{"a", head("v1", "2026-01-01") + "CVE-2026-0001,0.1,0.1\n"})
	b, _ := mustImport(t, EPSS, input{"a", head("v2", "2026-01-01") + "CVE-2026-0001,0.1,0.1\n"})
	if a.Snapshot().Digest == b.Snapshot().Digest {
		t.Error("scores of two models have one digest")
	}
	// Of two feeds the newer answers.
	p, _ := mustImport(t, EPSS, old)
	q, _ := mustImport(t, EPSS, young)
	for _, packs := range [][]Pack{{p.With(Snapshot{Feed: "a"}), q.With(Snapshot{Feed: "b"})}, {q.With(Snapshot{Feed: "a"}), p.With(Snapshot{Feed: "b"})}} {
		db, _ := NewDatabase(nil, packs...)
		one, from, _ := db.EPSS("CVE-2026-0001")
		two, older, _ := db.EPSS("CVE-2026-0002")
		if one.EPSS != 0.2 || from.Model != "v2" || two.EPSS != 0.1 || older.Model != "v1" {
			t.Errorf("%v %v, %v %v", one, from, two, older)
		}
	}
}

func TestCorpusEPSS(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(charttest.Corpus(t, "advisories/epss"), "epss_sample.csv"))
	if err != nil {
		t.Fatal(err)
	}
	p, faults := mustImport(t, EPSS, input{"sample", string(text)})
	if s := p.Snapshot(); s.Records != 17 || len(faults) != 1 || s.Model != "" {
		t.Errorf("%+v %s", s, flaw(faults))
	}
}

func FuzzEPSS(f *testing.F) {
	for _, in := range fixtures(f, EPSS) {
		f.Add([]byte(in.text))
	}
	f.Add([]byte("cve,epss,percentile\r\nCVE-2026-0001,1e-5,0"))
	lim := Limits{Record: 64 << 10, File: 256 << 10, Import: 1 << 20, Kept: 256 << 10, Records: 1000, Files: 100}
	f.Fuzz(func(t *testing.T, in []byte) { roundTrip(t, EPSS, lim, in) })
}
