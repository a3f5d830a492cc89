package decision

import "fmt"

// DecideChart answers by when a finding of the chart itself has to be dealt
// with. Its table is ours and published by nobody else. The rules, in this
// order: chart-findings, mission, waiver, earliest. The clock starts at the
// later of when it was first seen here and when a version without it was.
func (p *Policy) DecideChart(in ChartInput) Decision {
	c := inquire(p, in.Now)
	c.clock(in.FirstSeen, in.Fix, in.FirstSeen, "first seen")
	t := p.chart
	kind, k := c.read(Value{Value: in.Kind, Source: in.Rule}, "kind", t.columns[0].values)
	severity, s := c.read(Value{Value: in.Severity, Source: in.Rule}, "severity", severities)
	exposure, e := c.read(in.Exposure, "exposure", exposures)
	c.fromTable(t, []Value{kind, severity, exposure}, k, s, e)
	c.mission(in.Mission)
	c.waiver(in.Waivers)
	return c.earliest()
}

// mission makes a finding one step more urgent where the whole mission hangs
// on the deployment.
func (c *inquiry) mission(mission Value) {
	human, impact := c.human(mission)
	r := Rule{ID: "mission", Title: "Very high human impact: one step more urgent", Inputs: []Value{human}, Days: none}
	days, ok := c.policy.tighter(c.days)
	switch {
	case humanImpacts[impact] != "very high":
		r.Result = "the human impact is not very high"
	case c.days == none:
		r.Result = "the table gives no deadline to tighten"
	case !ok:
		r.Result = "nothing is more urgent than " + Immediate
	default:
		r.Fired, r.Days = true, days
		r.Result = fmt.Sprintf("%s: %d d, one step above %s", c.policy.tier(days), days, c.policy.tier(c.days))
	}
	c.add(r)
}
