package decision

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestChartRowByRow(t *testing.T) {
	p := Default()
	for i, row := range p.chart.rows {
		kind, severity, exposure := p.chart.columns[0].values[row.values[0]], p.chart.columns[1].values[row.values[1]], p.chart.columns[2].values[row.values[2]]
		in := ChartInput{Kind: kind, Severity: severity, Exposure: Value{Value: exposure}, Mission: Value{Value: "2"}, FirstSeen: t0, Now: t0}
		d := p.DecideChart(in)
		r := rule(t, d, "chart-findings")
		if r.Row != i+1 || r.Rows != 45 || r.Days != row.outcome.days || len(d.Doubts) > 0 || !d.Deadline.Equal(r.Deadline) {
			t.Errorf("%s %s %s: %+v, doubts %q", kind, severity, exposure, r, d.Doubts)
		}
		in.Mission.Value = "3"
		tight := p.DecideChart(in)
		if sooner(d.Deadline, tight.Deadline) {
			t.Errorf("%s %s %s: a higher tier puts the deadline off", kind, severity, exposure)
		}
		if more := row.outcome.days > 3; more != sooner(tight.Deadline, d.Deadline) || more != rule(t, tight, "mission").Fired {
			t.Errorf("%s %s %s: %d days, and with mission tier 3 %v", kind, severity, exposure, row.outcome.days, tight.Deadline)
		}
	}
}

// Chosen rows, typed by hand: the table as it is meant.
func TestChartChosenRows(t *testing.T) {
	for _, c := range []struct {
		kind, severity, exposure, mission string
		days                              int
		setBy                             string
	}{
		{"posture", "critical", "open", "0", 14, "chart-findings"},
		{"posture", "high", "small", "0", 60, "chart-findings"},
		{"posture", "info", "open", "3", -1, ""},
		{"hardening", "high", "small", "0", -1, ""},
		{"hardening", "critical", "open", "3", 3, "mission"},
		{"chart-advisory", "critical", "open", "0", 3, "chart-findings"},
		{"chart-advisory", "high", "controlled", "0", 14, "chart-findings"},
		{"chart-advisory", "medium", "small", "3", 14, "mission"},
	} {
		d := Default().DecideChart(ChartInput{Kind: c.kind, Severity: c.severity, Exposure: Value{Value: c.exposure}, Mission: Value{Value: c.mission}, FirstSeen: t0, Now: t0})
		var want time.Time
		if c.days > 0 {
			want = t0.AddDate(0, 0, c.days)
		}
		if !d.Deadline.Equal(want) || d.SetBy != c.setBy {
			t.Errorf("%+v: %v by %s", c, d.Deadline, d.SetBy)
		}
	}
}

func TestChartUnknownsTakeTheWorst(t *testing.T) {
	d := Default().DecideChart(ChartInput{Rule: "x", Severity: "unknown", FirstSeen: t0, Now: t0})
	if !d.Deadline.Equal(t0.AddDate(0, 0, 3)) || !d.Derived {
		t.Errorf("%+v", d)
	}
	for _, s := range []string{
		"kind is not known and counts as chart-advisory", "severity is not known and counts as critical",
		"exposure is not known and counts as open", "mission is not known and counts as 3",
	} {
		if !slices.Contains(d.Doubts, s) {
			t.Errorf("no doubt %q in %q", s, d.Doubts)
		}
	}
	var ids []string
	for _, r := range d.Rules {
		ids = append(ids, r.ID)
	}
	if got := strings.Join(ids, " "); got != "chart-findings mission waiver earliest" {
		t.Errorf("rules %s", got)
	}
}

func TestChartClockAndWaiver(t *testing.T) {
	in := ChartInput{Kind: "posture", Severity: "critical", Exposure: Value{Value: "open"}, Mission: Value{Value: "0"}, FirstSeen: t0, Now: t0.AddDate(0, 0, 30)}
	if d := Default().DecideChart(in); !d.Start.Equal(t0) || d.StartWhy != "first seen 2026-05-04; no version with the fix was seen, a mitigation is due" {
		t.Errorf("%v, %q", d.Start, d.StartWhy)
	}
	in.Fix = t0.AddDate(0, 0, 9)
	d := Default().DecideChart(in)
	if !d.Start.Equal(in.Fix) || d.StartWhy != "fix available 2026-05-13; first seen 2026-05-04" || !d.Deadline.Equal(in.Fix.AddDate(0, 0, 14)) {
		t.Errorf("%v, %q, %v", d.Start, d.StartWhy, d.Deadline)
	}
	in.Waivers = []Lift{{ID: "1", Status: Waived, Reason: "r", By: "jo", Expires: in.Now.Add(time.Hour)}}
	if w := Default().DecideChart(in); w.Tier != Lifted || !rule(t, w, "earliest").Deadline.Equal(d.Deadline) {
		t.Errorf("waived: %+v", w)
	}
}
