package decision

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

// t0 is when the clock of most tests starts.
var t0 = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// given makes an input of which everything is known.
func given(exploited, exposure, automatable, impact, exploitation, mission, cvss string) Input {
	v := func(s string) Value { return Value{Value: s, Source: "test"} }
	return Input{
		Exploited: v(exploited), Exposure: v(exposure), Automatable: v(automatable), Impact: v(impact),
		Exploitation: v(exploitation), Mission: v(mission), CVSS: v(cvss),
		Published: t0, FirstSeen: t0, Now: t0.AddDate(0, 0, 1),
	}
}

func rule(t testing.TB, d Decision, id string) Rule {
	t.Helper()
	for _, r := range d.Rules {
		if r.ID == id {
			return r
		}
	}
	t.Fatalf("there is no rule %s", id)
	return Rule{}
}

// The sixteen rows, typed from the publication, each through Decide.
func TestBODRowByRow(t *testing.T) {
	rows := []struct {
		exploited, exposed, automatable, impact string
		days                                    int
		forensic                                bool
	}{
		{"no", "no", "no", "partial", -1, false},
		{"yes", "no", "no", "partial", 14, false},
		{"no", "yes", "no", "partial", 60, false},
		{"no", "no", "yes", "partial", 60, false},
		{"no", "no", "no", "total", -1, false},
		{"yes", "yes", "no", "partial", 14, false},
		{"yes", "no", "yes", "partial", 14, false},
		{"no", "yes", "yes", "partial", 14, false},
		{"yes", "no", "no", "total", 14, false},
		{"no", "yes", "no", "total", 14, false},
		{"no", "no", "yes", "total", 60, false},
		{"yes", "yes", "yes", "partial", 3, false},
		{"yes", "yes", "no", "total", 3, true},
		{"yes", "no", "yes", "total", 3, true},
		{"no", "yes", "yes", "total", 3, false},
		{"yes", "yes", "yes", "total", 3, true},
	}
	p := Default()
	for i, row := range rows {
		for _, exposure := range map[string][]string{"no": {"small", "controlled"}, "yes": {"open"}}[row.exposed] {
			d := p.Decide(given(row.exploited, exposure, row.automatable, row.impact, "none", "0", "5.0"))
			r := rule(t, d, "bod-26-04")
			if r.Row != i+1 || r.Rows != 16 || r.Days != row.days || !r.Fired || d.Forensic != row.forensic {
				t.Errorf("row %d, %s: row %d of %d, %d days, forensic %v", i+1, exposure, r.Row, r.Rows, r.Days, d.Forensic)
			}
			var deadline time.Time
			if row.days >= 0 {
				deadline = t0.Add(time.Duration(row.days) * 24 * time.Hour)
			}
			if !r.Deadline.Equal(deadline) {
				t.Errorf("row %d: deadline %v, want %v", i+1, r.Deadline, deadline)
			}
		}
	}
}

// Our files, with the columns renamed back, are the published ones to the byte.
func TestTablesAreAsPublished(t *testing.T) {
	for _, c := range []struct{ id, head, sum string }{
		{tableBOD, "row,In KEV v1.0.0 (cisa),Publicly Exposed v1.0.0 (cisa),Automatable v2.0.0,Technical Impact v1.0.0,CISA BOD 26-04 Remediation Timelines v1.0.0 (cisa)",
			"78b0e9531cd5f1af9ebd1916c37a147e74da1017ddd133ffcf3c14e095b155f6"},
		{tableSSVC, `row,Exploitation v1.1.0,System Exposure v1.0.1,Automatable v2.0.0,Human Impact v2.0.2,"Defer, Scheduled, Out-of-Cycle, Immediate v1.0.0"`,
			"68491dc72505bf0703f32d8a278fc59cdaee4f515922633312bf4cc67f1b1aab"},
		{tableHuman, "row,Safety Impact v2.0.1,Mission Impact v2.0.0,Human Impact v2.0.2",
			"d80099235f6331d290290f77c1f638571517e6ad7b6708664fadafbf30fc75c0"},
	} {
		table := *Default().table(c.id)
		var b strings.Builder
		b.WriteString(c.head + "\n")
		for i, r := range table.rows {
			fmt.Fprintf(&b, "%d", i)
			for j, col := range table.columns {
				v := col.values[r.values[j]]
				if v == "poc" {
					v = "public poc"
				}
				b.WriteString("," + v)
			}
			b.WriteString("," + r.outcome.text + "\n")
		}
		sum := sha256.Sum256([]byte(b.String()))
		if got := hex.EncodeToString(sum[:]); got != c.sum {
			t.Errorf("%s: sha256 %s, published %s", c.id, got, c.sum)
		}
		if table.version != "1.0.0" || table.title == "" || !strings.Contains(table.source, "CERTCC/SSVC") {
			t.Errorf("%s: version %q, title %q, source %q", c.id, table.version, table.title, table.source)
		}
	}
}

// The published files themselves, each row through Decide.
func TestPublishedFilesRowByRow(t *testing.T) {
	dir := charttest.Corpus(t, "advisories/ssvc")
	p := Default()
	days := map[string]int{"defer": -1, "scheduled": 60, "out-of-cycle": 14, "immediate": 3}
	rows := charttest.Rows(t, charttest.ReadFile(t, filepath.Join(dir, "deployer_patch_application_priority_1_0_0.csv")))
	mission := map[string]string{"low": "0", "medium": "1", "high": "2", "very high": "3"}
	for i, row := range rows {
		exploited := "no"
		if row["Exploitation v1.1.0"] == "active" {
			exploited = "yes"
		}
		d := p.Decide(given(exploited, row["System Exposure v1.0.1"], row["Automatable v2.0.0"], "partial",
			row["Exploitation v1.1.0"], mission[row["Human Impact v2.0.2"]], "5.0"))
		r := rule(t, d, "ssvc-deployer")
		want := row["Defer, Scheduled, Out-of-Cycle, Immediate v1.0.0"]
		if r.Row != i+1 || r.Rows != 72 || r.Days != days[want] || !strings.HasPrefix(r.Result, want+": ") {
			t.Errorf("row %d: row %d, %d days, %s; want %s", i, r.Row, r.Days, r.Result, want)
		}
	}
	if len(rows) != 72 {
		t.Errorf("%d rows of the deployer tree", len(rows))
	}
	human := charttest.Rows(t, charttest.ReadFile(t, filepath.Join(dir, "human_impact_1_0_0.csv")))
	for i, row := range human {
		safety, mission := row["Safety Impact v2.0.1"], row["Mission Impact v2.0.0"]
		r, n := p.human.find(place(p.human, 0, safety), place(p.human, 1, mission))
		if n != i+1 || r.outcome.text != row["Human Impact v2.0.2"] {
			t.Errorf("%s, %s: row %d, %s", safety, mission, n, r.outcome.text)
		}
	}
	if len(human) != 16 {
		t.Errorf("%d rows of human impact", len(human))
	}
}

func place(t *table, col int, value string) int {
	for i, v := range t.columns[col].values {
		if v == value {
			return i
		}
	}
	return -1
}

// Every combination has exactly one row, and no worse value a lesser outcome.
// The program refuses tables otherwise; this counts by itself.
func TestTablesAreCompleteAndMonotone(t *testing.T) {
	for id, n := range map[string]int{tableBOD: 16, tableSSVC: 72, tableHuman: 16, tableChart: 45} {
		table := *Default().table(id)
		seen := map[string]outcome{}
		for _, r := range table.rows {
			key := fmt.Sprint(r.values)
			if _, ok := seen[key]; ok {
				t.Errorf("%s: %s stands there twice", id, table.describe(r.values))
			}
			seen[key] = r.outcome
		}
		if len(seen) != n || table.combinations() != n {
			t.Errorf("%s: %d rows for %d combinations, want %d", id, len(seen), table.combinations(), n)
		}
		steps := 0
		for _, r := range table.rows {
			for i := range r.values {
				worse := append([]int{}, r.values...)
				worse[i]++
				w, ok := seen[fmt.Sprint(worse)]
				if !ok {
					continue
				}
				if steps++; w.rank < r.outcome.rank {
					t.Errorf("%s: %s is %s, and the worse %s is %s", id, table.describe(r.values), r.outcome.text, table.describe(worse), w.text)
				}
			}
		}
		if steps < n {
			t.Errorf("%s: only %d steps were compared", id, steps)
		}
	}
}

func TestUnsoundTablesAreRefused(t *testing.T) {
	f := forms[0]
	full := func() *table { return publishedTable(f) }
	missing := full()
	missing.rows = missing.rows[1:]
	if err := missing.index(); err == nil || !strings.Contains(err.Error(), "1 of 16") {
		t.Errorf("a table with a row missing: %v", err)
	}
	falling := full()
	falling.rows[15].outcome, _ = daysOutcome("60 days")
	if err := falling.index(); err == nil || !strings.Contains(err.Error(), "the worse") {
		t.Errorf("a table that falls: %v", err)
	}
	for text, ok := range map[string]bool{
		"14 days": true, "1 days": true, "3650 days": true, "3 days & forensic investigation": true, "none": true, "fix on system upgrade": true,
		"0 days": false, "-1 days": false, "3651 days": false, "014 days": false, "+14 days": false, "14": false, "14 days ": false, "": false,
		"none & forensic investigation": false, "99999999999999999999 days": false,
	} {
		if _, got := daysOutcome(text); got != ok {
			t.Errorf("outcome %q: %v", text, got)
		}
	}
}
