package decision

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Decide answers by when an advisory has to be dealt with on one deployment.
// All eight rules are in the answer, fired or not, in this order: bod-26-04,
// ssvc-deployer, floor, overlay, epss, vex, waiver, earliest.
//
// A time that lies after Now does not count, so that no source puts a deadline
// off by writing a late date. A Now that is zero lets no waiver count.
func (p *Policy) Decide(in Input) Decision {
	c := inquire(p, in.Now)
	c.clock(in.Published, in.FixAvailable, in.FirstSeen, "published")
	exploited, yes := c.read(in.Exploited, "exploited", noYes)
	automatable, auto := c.read(in.Automatable, "automatable", noYes)
	exposure, open := c.read(in.Exposure, "exposure", exposures)

	c.bod(in, exploited, yes, automatable, auto, exposure, open)
	c.ssvc(in, exploited, yes, automatable, auto, exposure, open)
	score := c.score(in.CVSS)
	c.floor(score, exposure, open)
	c.overlay(score)
	c.epss(in)
	c.vex(in.VEX)
	c.waiver(in.Waivers)
	return c.earliest()
}

// inquiry is one decision while it is made.
type inquiry struct {
	policy *Policy
	now    time.Time
	d      Decision
	days   int // the fewest so far
	setBy  int // the rule that gave them
	lift   *Lift
	lifter string // rule
}

func inquire(p *Policy, now time.Time) *inquiry {
	return &inquiry{policy: p, now: now, days: none, setBy: none, d: Decision{Rules: make([]Rule, 0, 8)}}
}

func (c *inquiry) doubt(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(c.d.Doubts, text) {
		c.d.Doubts = append(c.d.Doubts, text)
	}
}

// unknown says how an input stands in a rule that nobody knows.
func (c *inquiry) unknown(v Value, name, as string) Value {
	if given := strings.TrimSpace(v.Value); given == "" || strings.EqualFold(given, "unknown") {
		c.doubt("%s is not known and counts as %s", name, as)
	} else {
		c.doubt("%s is %.40q, which cannot be read, and counts as %s", name, given, as)
	}
	v.Name, v.Value, v.As, v.Derived = name, "unknown", as, true
	return v
}

// read finds an input among the values of a column, which go from the least
// urgent. What is not known takes the last.
func (c *inquiry) read(v Value, name string, values []string) (Value, int) {
	i := slices.Index(values, strings.ToLower(strings.TrimSpace(v.Value)))
	if i < 0 {
		i = len(values) - 1
		return c.unknown(v, name, values[i]), i
	}
	v.Name, v.Value = name, values[i]
	return v, i
}

// public is exposure as a question of yes and no: open to everybody.
func public(v Value, exposure int) (Value, int) {
	open := 0
	if exposures[exposure] == "open" {
		open = 1
	}
	v.As = noYes[open]
	return v, open
}

// add appends a rule, and takes its deadline where it is the earliest.
func (c *inquiry) add(r Rule) {
	if r.Inputs == nil {
		r.Inputs = []Value{}
	}
	if r.Days != none {
		r.Deadline = c.d.Start.AddDate(0, 0, r.Days)
		if c.days == none || r.Days < c.days {
			c.days, c.setBy = r.Days, len(c.d.Rules)
		}
	}
	c.d.Rules = append(c.d.Rules, r)
}

// fromTable is a rule that is a row of a table.
func (c *inquiry) fromTable(t *table, inputs []Value, values ...int) row {
	row, number := t.find(values...)
	days := c.policy.days(row.outcome)
	r := Rule{
		ID: t.id, Title: t.title, Inputs: inputs, Table: t.name(), Row: number, Rows: len(t.rows),
		Fired: true, Days: days, Result: result(row.outcome, days),
	}
	if t.own != nil {
		r.Table += ", with rows of " + c.policy.name + " " + c.policy.version
		if t.own.replace {
			r.Table = t.id + " of " + c.policy.name + " " + c.policy.version + ", in place of " + t.name()
			r.Result += fmt.Sprintf(" (the published table: %s; replaced by %s: %s)", row.published.text, t.own.approver, t.own.reason)
		} else if row.outcome != row.published {
			r.Result += fmt.Sprintf(" (the published table: %s)", row.published.text)
		}
		if row.outcome.rank < row.published.rank {
			c.doubt("%s is decided less urgently than published (%s, not %s): %s, approved by %s",
				t.id, row.outcome.text, row.published.text, t.own.reason, t.own.approver)
		}
	}
	c.add(r)
	return row
}

// result is an outcome with its days.
func result(o outcome, days int) string {
	switch {
	case days == none && o.text == "none":
		return "no deadline"
	case days == none:
		return o.text + ": no deadline"
	case o.forensic:
		return strconv.Itoa(days) + " d, with a forensic investigation"
	case slices.Contains(tiers, o.text):
		return o.text + ": " + strconv.Itoa(days) + " d"
	}
	return strconv.Itoa(days) + " d"
}

// bod is step A. A known use in ransomware campaigns stands beside the table's
// inputs and moves nothing: the table has no column for it.
func (c *inquiry) bod(in Input, exploited Value, yes int, automatable Value, auto int, exposure Value, open int) {
	impact, total := c.read(in.Impact, "impact", impacts)
	exposed, everybody := public(exposure, open)
	inputs := []Value{exploited, exposed, automatable, impact}
	if ransom := in.Ransomware; strings.EqualFold(strings.TrimSpace(ransom.Value), "yes") {
		ransom.Name, ransom.Value = "ransomware", "yes"
		inputs = append(inputs, ransom)
	}
	row := c.fromTable(c.policy.bod, inputs, yes, everybody, auto, total)
	c.d.Forensic = row.outcome.forensic
}

// ssvc is step B.
func (c *inquiry) ssvc(in Input, exploited Value, yes int, automatable Value, auto int, exposure Value, open int) {
	var exploitation Value
	active := len(exploits) - 1
	given := in.Exploitation
	if strings.EqualFold(strings.TrimSpace(given.Value), "public poc") {
		given.Value = "poc"
	}
	i := slices.Index(exploits, strings.ToLower(strings.TrimSpace(given.Value)))
	switch {
	case yes == 1 && i != active: // who is in the catalogue is exploited, whoever says less
		exploitation, i = exploited, active
		exploitation.Name, exploitation.As = "exploitation", exploits[active]
	case i >= 0:
		exploitation = given
		exploitation.Name, exploitation.Value = "exploitation", exploits[i]
	default:
		i = active - 1 // the catalogue leaves this as the worst
		exploitation = c.unknown(given, "exploitation", exploits[i])
	}
	human, impact := c.human(in.Mission)
	c.fromTable(c.policy.ssvc, []Value{exploitation, exposure, automatable, human}, i, open, auto, impact)
}

// human is the human impact of a mission tier, by the table for it.
func (c *inquiry) human(mission Value) (Value, int) {
	v, tier := c.read(mission, "mission", []string{"0", "1", "2", "3"})
	m, t := c.policy.missions[tier], c.policy.human
	row, number := t.find(m[0], m[1])
	source := fmt.Sprintf("mission tier %s, %s row %d of %d", v.Value, t.name(), number, len(t.rows))
	if t.own != nil {
		source += ", with rows of " + c.policy.name + " " + c.policy.version
		if row.outcome.rank < row.published.rank {
			c.doubt("%s is decided less urgently than published (%s, not %s): %s, approved by %s",
				t.id, row.outcome.text, row.published.text, t.own.reason, t.own.approver)
		}
	}
	if v.Source != "" {
		source += "; " + v.Source
	}
	v.Name, v.Value, v.As, v.Source = "human-impact", row.outcome.text, "", source
	return v, row.outcome.rank
}

// base score of CVSS; the worst where it is not known.
type score struct {
	Value
	points float64
}

func (c *inquiry) score(v Value) score {
	points, err := strconv.ParseFloat(strings.TrimSpace(v.Value), 64)
	if err != nil || !(points >= 0 && points <= 10) {
		return score{c.unknown(v, "cvss", "10.0"), 10}
	}
	v.Name, v.Value = "cvss", strconv.FormatFloat(points, 'f', 1, 64)
	return score{v, math.Round(points*10) / 10}
}

// floor is step C.
func (c *inquiry) floor(s score, exposure Value, open int) {
	p := c.policy
	exposed, everybody := public(exposure, open)
	r := Rule{ID: "floor", Title: "Floor for high scores that everybody can reach", Inputs: []Value{s.Value, exposed}, Days: none}
	switch {
	case p.floorDays == none:
		r.Result = "the policy has no floor"
	case everybody == 0:
		r.Result = "not open to everybody"
	case s.points < p.floorScore:
		r.Result = fmt.Sprintf("the score is below %.1f", p.floorScore)
	default:
		r.Fired, r.Days = true, p.floorDays
		r.Result = fmt.Sprintf("%d d: the score is %.1f or more", p.floorDays, p.floorScore)
	}
	c.add(r)
}

// overlay is a compliance regime's own days by rating.
func (c *inquiry) overlay(s score) {
	p := c.policy
	rating := severityOf(s.points)
	v := s.Value
	v.As = rating
	r := Rule{ID: "overlay", Title: "Compliance overlay", Inputs: []Value{v}, Days: none}
	i := slices.Index(ratings, rating)
	switch p.overlay {
	case overlayOwn:
		r.Table = "days of " + p.name + " " + p.version
	case overlayFedRAMP, overlayPCI:
		r.Table = p.overlay + ", by secondary sources"
	}
	switch {
	case p.overlay == overlayNone:
		r.Result = "the policy has no overlay"
	case i < 0 || p.overlayDays[i] == none:
		r.Result = "no deadline for the rating " + rating
	default:
		r.Fired, r.Days = true, p.overlayDays[i]
		r.Result = fmt.Sprintf("%d d for the rating %s", r.Days, rating)
	}
	c.add(r)
}

// epss is step D. It tightens or does nothing.
func (c *inquiry) epss(in Input) {
	p := c.policy
	v := in.EPSS
	v.Name = "epss"
	points, err := strconv.ParseFloat(strings.TrimSpace(v.Value), 64)
	known := err == nil && points >= 0 && points <= 1
	imported := v.Value != "" || v.Snapshot != "" || in.EPSSModel != "" // whoever imports none does without the rule
	if !known {
		v.Value = "unknown"
	}
	model := Value{Name: "epss-model", Value: cmp.Or(in.EPSSModel, "unknown"), Source: v.Source, Snapshot: v.Snapshot}
	r := Rule{ID: "epss", Title: "EPSS: one step more urgent", Inputs: []Value{v, model}, Days: none}
	stale := p.StaleAfter("epss")
	off := func(format string, args ...any) { // and somebody should know
		r.Result = fmt.Sprintf(format, args...)
		c.doubt("epss was not used: %s", r.Result)
	}
	switch {
	case p.model == "":
		r.Result = "the policy approves its threshold for no model"
	case !imported:
		r.Result = "no scores were imported"
	case !known:
		off("no score is known")
	case in.EPSSModel != p.model:
		off("the scores are of the model %.40q, and the threshold is approved for %s", in.EPSSModel, p.model)
	case in.EPSSDated.IsZero() || in.Now.IsZero():
		off("it is not known how old the scores are")
	case in.Now.Sub(in.EPSSDated) > stale:
		off("the scores are of %s, older than %d d", date(in.EPSSDated), int(stale.Hours()/24))
	case points < p.threshold:
		r.Result = fmt.Sprintf("the probability is below %v", p.threshold)
	default:
		days, ok := p.tighter(c.days)
		if !ok {
			r.Result = "nothing is more urgent than " + Immediate
			break
		}
		r.Fired, r.Days = true, days
		r.Result = fmt.Sprintf("%s: %d d, one step above %s, since the probability is %v or more", p.tier(days), days, p.tier(c.days), p.threshold)
	}
	c.add(r)
}

// earliest is step F, and ends the inquiry.
func (c *inquiry) earliest() Decision {
	r := Rule{ID: "earliest", Title: "The earliest deadline", Inputs: []Value{}, Days: c.days}
	for _, other := range c.d.Rules {
		if other.Days != none {
			r.Inputs = append(r.Inputs, Value{Name: other.ID, Value: other.Deadline.Format(time.RFC3339), Source: strconv.Itoa(other.Days) + " d"})
		}
	}
	d := &c.d
	d.Tier = c.policy.tier(c.days)
	if c.setBy != none {
		set := d.Rules[c.setBy]
		r.Fired, r.Deadline = true, set.Deadline
		r.Result = fmt.Sprintf("%d d, by %s", c.days, set.ID)
		d.Deadline, d.SetBy = set.Deadline, set.ID
		d.Derived = slices.ContainsFunc(set.Inputs, func(v Value) bool { return v.Derived })
		if set.ID == "epss" || set.ID == "mission" { // they rest on what the others gave
			for _, other := range d.Rules[:c.setBy] {
				d.Derived = d.Derived || slices.ContainsFunc(other.Inputs, func(v Value) bool { return v.Derived })
			}
		}
	} else {
		r.Result = "no rule gives a deadline: the next version by cadence"
	}
	if c.lift != nil {
		r.Fired = false
		r.Result = "lifted by " + c.lifter + "; without that " + r.Result
		d.Tier, d.Deadline, d.SetBy, d.Derived, d.Forensic = Lifted, time.Time{}, c.lifter, false, false
		d.Lifted = c.lift
	}
	d.Rules = append(d.Rules, r)
	return *d
}

// Compare orders decisions for people: the earliest deadline first, then those
// without one, then what is lifted. It is 0 for those that are as urgent.
func Compare(a, b Decision) int {
	place := func(d Decision) int {
		switch {
		case d.Tier == Lifted:
			return 2
		case d.Deadline.IsZero():
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(place(a), place(b)), a.Deadline.Compare(b.Deadline))
}
