package decision

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// worsening are the values of each input, from the least urgent. "" is one that
// nobody knows.
var worsening = []struct {
	name   string
	values []string
	set    func(*Input, string)
	// assumed is the value that one that is not known has to be as urgent as; ""
	// where that depends.
	assumed string
}{
	{"exploited", []string{"no", "yes"}, func(in *Input, v string) { in.Exploited.Value = v }, "yes"},
	{"exposure", []string{"small", "controlled", "open"}, func(in *Input, v string) { in.Exposure.Value = v }, "open"},
	{"automatable", []string{"no", "yes"}, func(in *Input, v string) { in.Automatable.Value = v }, "yes"},
	{"impact", []string{"partial", "total"}, func(in *Input, v string) { in.Impact.Value = v }, "total"},
	{"exploitation", []string{"none", "poc", "active"}, func(in *Input, v string) { in.Exploitation.Value = v }, ""},
	{"mission", []string{"0", "1", "2", "3"}, func(in *Input, v string) { in.Mission.Value = v }, "3"},
	{"cvss", []string{"0.0", "3.9", "6.5", "8.9", "9.0"}, func(in *Input, v string) { in.CVSS.Value = v }, "9.0"},
	{"epss", []string{"0.01", "0.5"}, func(in *Input, v string) { in.EPSS.Value = v }, ""},
}

// everyInput calls f with every combination of the values of all inputs, those
// that nobody knows among them.
func everyInput(f func(in Input, at []int)) {
	at := make([]int, len(worsening)) // len(values) stands for not known
	now := t0.AddDate(0, 0, 6)
	in := Input{EPSSModel: "v2025.03.14", EPSSDated: now, Published: t0, FixAvailable: t0.AddDate(0, 0, 5), FirstSeen: t0, Now: now}
	for {
		for i, w := range worsening {
			v := ""
			if at[i] < len(w.values) {
				v = w.values[at[i]]
			}
			w.set(&in, v)
		}
		f(in, at)
		i := 0
		for ; i < len(at); i++ {
			if at[i]++; at[i] <= len(worsening[i].values) {
				break
			}
			at[i] = 0
		}
		if i == len(at) {
			return
		}
	}
}

func policies(t testing.TB) map[string]*Policy {
	t.Helper()
	return map[string]*Policy{
		"default": Default(),
		"all rules": read(t, `
name: all
version: "1"
epss: {threshold: 0.1, model: v2025.03.14}
overlay: {profile: own, days: {critical: 2, high: 10, medium: 100, low: 200}}
tables:
  bod-26-04:
    rows: |
      exploited,exposed,automatable,impact,outcome
      yes,yes,yes,total,1 days & forensic investigation
`),
		"sla between the table's days": read(t, `
name: between
version: "1"
sla: {immediate: 1, out-of-cycle: 20, scheduled: 30}
epss: {threshold: 0.5, model: v2025.03.14}
floor: none
overlay: {profile: fedramp}
`),
	}
}

// sooner reports whether a deadline is earlier; none is the latest.
func sooner(a, b time.Time) bool {
	return !a.IsZero() && (b.IsZero() || a.Before(b))
}

// For every combination of inputs: no worse value puts the deadline off, what
// is not known is as urgent as the worst, and the published table's deadline is
// never passed over.
func TestEveryInputIsMonotone(t *testing.T) {
	for name, p := range policies(t) {
		t.Run(name, func(t *testing.T) {
			deadlines := map[string]time.Time{}
			tiersSeen := map[string]int{}
			everyInput(func(in Input, at []int) {
				d := p.Decide(in)
				tiersSeen[d.Tier]++
				deadlines[string(encode(at))] = d.Deadline
				if a := d.Rules[0]; sooner(a.Deadline, d.Deadline) {
					t.Fatalf("%+v: the table says %v, the decision %v", in, a.Deadline, d.Deadline)
				}
				for _, r := range d.Rules {
					if sooner(r.Deadline, d.Deadline) {
						t.Fatalf("%s says %v, the decision %v", r.ID, r.Deadline, d.Deadline)
					}
				}
				for i, w := range worsening {
					if unknown := at[i] == len(w.values); unknown && w.assumed != "" && !slices.ContainsFunc(d.Doubts, func(s string) bool {
						return strings.HasPrefix(s, w.name+" is not known")
					}) {
						t.Fatalf("%s is not known, and no doubt says so: %q", w.name, d.Doubts)
					}
				}
			})
			steps := 0
			everyInput(func(in Input, at []int) {
				here := deadlines[string(encode(at))]
				for i, w := range worsening {
					was := at[i]
					if was+1 < len(w.values) {
						at[i]++
						if steps++; sooner(here, deadlines[string(encode(at))]) {
							t.Fatalf("%s from %s to %s puts the deadline off: %+v", w.name, w.values[was], w.values[was+1], in)
						}
						at[i] = was
					}
					if was == len(w.values) && w.assumed != "" {
						at[i] = slices.Index(w.values, w.assumed)
						if steps++; !here.Equal(deadlines[string(encode(at))]) {
							t.Fatalf("%s that is not known is not as %s: %+v", w.name, w.assumed, in)
						}
						at[i] = was
					}
				}
			})
			if steps < 100_000 || tiersSeen[Immediate] == 0 || tiersSeen[OutOfCycle] == 0 || tiersSeen[Scheduled] == 0 {
				t.Errorf("%d steps, %v", steps, tiersSeen)
			}
		})
	}
}

func encode(at []int) []byte {
	b := make([]byte, len(at))
	for i, v := range at {
		b[i] = byte(v)
	}
	return b
}

func TestExploitation(t *testing.T) {
	for _, c := range []struct {
		exploited, exploitation, value, as string
		row                                int // the table's block of 24
		doubt                              string
	}{
		{"no", "none", "none", "", 0, ""},
		{"no", "Public PoC", "poc", "", 1, ""},
		{"no", "Active", "active", "", 2, ""},
		{"no", "", "unknown", "poc", 1, "exploitation is not known and counts as poc"},
		{"no", "maybe", "unknown", "poc", 1, `exploitation is "maybe", which cannot be read, and counts as poc`},
		{"yes", "none", "yes", "active", 2, ""},
		{"yes", "", "yes", "active", 2, ""},
		{"", "none", "unknown", "active", 2, "exploited is not known and counts as yes"},
	} {
		d := Default().Decide(given(c.exploited, "small", "no", "partial", c.exploitation, "0", "5.0"))
		r := rule(t, d, "ssvc-deployer")
		if v := r.Inputs[0]; v.Name != "exploitation" || v.Value != c.value || v.As != c.as || (r.Row-1)/24 != c.row {
			t.Errorf("%q, %q: %+v, row %d", c.exploited, c.exploitation, v, r.Row)
		}
		if c.doubt == "" && len(d.Doubts) > 0 || c.doubt != "" && !slices.Equal(d.Doubts, []string{c.doubt}) {
			t.Errorf("%q, %q: doubts %q", c.exploited, c.exploitation, d.Doubts)
		}
	}
}

func TestInputsAreFoldedAndFaultsSaid(t *testing.T) {
	d := Default().Decide(given(" No ", "OPEN", "Yes", "Partial", "NONE", "1", " 7.5 "))
	if len(d.Doubts) > 0 || rule(t, d, "bod-26-04").Row != 8 {
		t.Errorf("row %d, doubts %q", rule(t, d, "bod-26-04").Row, d.Doubts)
	}
	for _, cvss := range []string{"NaN", "Inf", "-1", "10.1", "high", "1e400", ""} {
		d := Default().Decide(given("no", "open", "no", "partial", "none", "0", cvss))
		if r := rule(t, d, "floor"); !r.Fired || r.Inputs[0].As != "10.0" || len(d.Doubts) != 1 {
			t.Errorf("cvss %q: %+v, doubts %q", cvss, r, d.Doubts)
		}
	}
}

func TestFloor(t *testing.T) {
	for _, c := range []struct {
		exposure, cvss, result string
		days                   int
	}{
		{"open", "9.0", "14 d: the score is 9.0 or more", 14},
		{"open", "8.9", "the score is below 9.0", -1},
		{"controlled", "10.0", "not open to everybody", -1},
	} {
		r := rule(t, Default().Decide(given("no", c.exposure, "no", "partial", "none", "0", c.cvss)), "floor")
		if r.Days != c.days || r.Fired != (c.days > 0) || r.Result != c.result {
			t.Errorf("%s, %s: %+v", c.exposure, c.cvss, r)
		}
	}
	off := read(t, "name: a\nversion: '1'\nfloor: none\n")
	if r := rule(t, off.Decide(given("no", "open", "no", "partial", "none", "0", "10")), "floor"); r.Fired || r.Result != "the policy has no floor" {
		t.Errorf("without a floor: %+v", r)
	}
	lower := read(t, "name: a\nversion: '1'\nfloor: {score: 7, days: 5}\n")
	if r := rule(t, lower.Decide(given("no", "open", "no", "partial", "none", "0", "7.0")), "floor"); r.Days != 5 {
		t.Errorf("a lower floor: %+v", r)
	}
}

func TestOverlay(t *testing.T) {
	for _, c := range []struct {
		profile, cvss string
		days          int
	}{
		{"none", "9.8", -1},
		{"fedramp", "9.8", 30}, {"fedramp", "7.0", 30}, {"fedramp", "4.0", 90}, {"fedramp", "0.1", 180}, {"fedramp", "0.0", -1}, {"fedramp", "", 30},
		{"pci", "9.0", 30}, {"pci", "7.0", 30}, {"pci", "6.9", -1}, {"pci", "3.9", -1},
	} {
		p := read(t, "name: a\nversion: '1'\noverlay: {profile: "+c.profile+"}\n")
		if r := rule(t, p.Decide(given("no", "small", "no", "partial", "none", "0", c.cvss)), "overlay"); r.Days != c.days {
			t.Errorf("%s, %s: %+v", c.profile, c.cvss, r)
		}
	}
}

func TestEPSS(t *testing.T) {
	p := read(t, "name: a\nversion: '1'\nepss: {threshold: 0.1, model: v5}\n")
	base := func() Input {
		in := given("no", "open", "no", "partial", "none", "0", "5.0") // 60 d by the table
		in.EPSS, in.EPSSModel, in.EPSSDated = Value{Value: "0.25", Source: "FIRST"}, "v5", in.Now
		return in
	}
	for _, c := range []struct {
		name   string
		policy *Policy
		change func(*Input)
		days   int // of the decision
		result string
		doubt  bool
	}{
		{"it tightens by one step", p, func(*Input) {}, 14, "out-of-cycle: 14 d, one step above scheduled, since the probability is 0.1 or more", false},
		{"at the threshold", p, func(in *Input) { in.EPSS.Value = "0.1" }, 14, "out-of-cycle: 14 d, one step above scheduled, since the probability is 0.1 or more", false},
		{"below it", p, func(in *Input) { in.EPSS.Value = "0.0999" }, 60, "the probability is below 0.1", false},
		{"from no deadline", p, func(in *Input) { in.Exposure.Value = "small" }, 60, "scheduled: 60 d, one step above defer, since the probability is 0.1 or more", false},
		{"nothing is above immediate", p, func(in *Input) { in.Automatable.Value, in.Impact.Value = "yes", "total" }, 3, "nothing is more urgent than immediate", false},
		{"another model", p, func(in *Input) { in.EPSSModel = "v6" }, 60, `the scores are of the model "v6", and the threshold is approved for v5`, true},
		{"a model that is not known", p, func(in *Input) { in.EPSSModel = "" }, 60, `the scores are of the model "", and the threshold is approved for v5`, true},
		{"old scores", p, func(in *Input) { in.EPSSDated = in.Now.Add(-73 * time.Hour) }, 60, "the scores are of 2026-05-02, older than 3 d", true},
		{"scores of an unknown age", p, func(in *Input) { in.EPSSDated = time.Time{} }, 60, "it is not known how old the scores are", true},
		{"no score", p, func(in *Input) { in.EPSS = Value{} }, 60, "no score is known", true},
		{"a score that is none", p, func(in *Input) { in.EPSS.Value = "1.5" }, 60, "no score is known", true},
		{"no score, of scores without a model", p, func(in *Input) { in.EPSS, in.EPSSModel = Value{Snapshot: "sha256:e"}, "" }, 60, "no score is known", true},
		{"no scores at all", p, func(in *Input) { in.EPSS, in.EPSSModel = Value{}, "" }, 60, "no scores were imported", false},
		{"no model approved", read(t, "name: a\nversion: '1'\nepss: {threshold: 0.1}\n"), func(*Input) {}, 60, "the policy approves its threshold for no model", false},
		{"the default", Default(), func(in *Input) { in.EPSSModel = "v2026.06.15" }, 14, "out-of-cycle: 14 d, one step above scheduled, since the probability is 0.1 or more", false},
		{"the default, and the model before", Default(), func(in *Input) { in.EPSSModel = "v2025.03.14" }, 60, `the scores are of the model "v2025.03.14", and the threshold is approved for v2026.06.15`, true},
	} {
		in := base()
		c.change(&in)
		d := c.policy.Decide(in)
		r := rule(t, d, "epss")
		fired := c.result[:4] == "out-" || c.result[:4] == "sche"
		if r.Result != c.result || r.Fired != fired || !d.Deadline.Equal(t0.AddDate(0, 0, c.days)) {
			t.Errorf("%s: %q, fired %v, deadline %v", c.name, r.Result, r.Fired, d.Deadline)
		}
		if doubt := slices.ContainsFunc(d.Doubts, func(s string) bool { return s == "epss was not used: "+c.result }); doubt != c.doubt {
			t.Errorf("%s: doubts %q", c.name, d.Doubts)
		}
	}
	in := base()
	in.Impact.Derived = true // of the rule that the step starts from
	if d := p.Decide(in); d.SetBy != "epss" || !d.Derived {
		t.Errorf("set by %s, derived %v", d.SetBy, d.Derived)
	}
}

func TestClock(t *testing.T) {
	day := func(n int) time.Time { return t0.AddDate(0, 0, n) }
	var unknown time.Time
	for _, c := range []struct {
		name                 string
		published, fix, seen time.Time
		start                time.Time
		why                  string
		doubts               int
	}{
		{"the fix came later", day(0), day(3), day(1), day(3), "fix available 2026-05-07; published 2026-05-04", 0},
		{"the fix was there before", day(3), day(0), day(5), day(3), "published 2026-05-07; fix available 2026-05-04", 0},
		{"no fix", day(0), unknown, day(5), day(0), "published 2026-05-04; no version with the fix was seen, a mitigation is due", 0},
		{"nobody says when", unknown, day(2), day(5), day(2), "fix available 2026-05-06; published unknown", 1},
		{"first seen", unknown, unknown, day(5), day(5), "first seen 2026-05-09; published unknown; no version with the fix was seen, a mitigation is due", 1},
		{"nothing", unknown, unknown, unknown, unknown, "no time is known: it is long due", 2},
		{"a date ahead does not count", day(400), unknown, day(5), day(5), "first seen 2026-05-09; published unknown; no version with the fix was seen, a mitigation is due", 2},
	} {
		in := given("yes", "open", "yes", "total", "active", "3", "9.8")
		in.Published, in.FixAvailable, in.FirstSeen, in.Now = c.published, c.fix, c.seen, day(10)
		d := Default().Decide(in)
		if !d.Start.Equal(c.start) || d.StartWhy != c.why || len(d.Doubts) != c.doubts {
			t.Errorf("%s: %v, %q, doubts %q", c.name, d.Start, d.StartWhy, d.Doubts)
		}
		if want := c.start.AddDate(0, 0, 3); !d.Deadline.Equal(want) || d.Deadline.IsZero() {
			t.Errorf("%s: deadline %v, want %v", c.name, d.Deadline, want)
		}
	}
}

func TestVEXAndWaivers(t *testing.T) {
	now := t0.AddDate(0, 0, 1)
	soon := now.AddDate(0, 0, 30)
	waiver := func(change func(*Lift)) Lift {
		w := Lift{ID: "waiver 7", Status: Waived, Reason: "the port is closed", By: "jo", Expires: soon, Source: "chartkeep"}
		change(&w)
		return w
	}
	vex := func(status, reason string) Lift {
		return Lift{ID: "vex-1", Status: status, Reason: reason, By: "maker", Source: "vex.json"}
	}
	for _, c := range []struct {
		name         string
		vex, waivers []Lift
		by           string // "" not lifted
		rule, result string
		doubt        bool
	}{
		{"nothing", nil, nil, "", "waiver", "there is none", false},
		{"not affected", []Lift{vex(NotAffected, "code is not in it")}, nil, "vex", "vex", "vex-1 says not_affected: code is not in it", false},
		{"not affected, and not why", []Lift{vex(NotAffected, " ")}, nil, "", "vex", "vex-1 says not_affected: it does not say why, so it does not count", false},
		{"fixed", []Lift{vex(Fixed, "")}, nil, "vex", "vex", "vex-1 says fixed", false},
		{"under investigation", []Lift{vex("under_investigation", "")}, nil, "", "vex", "vex-1 says under_investigation: the deadline stays", false},
		{"affected", []Lift{vex(Affected, "")}, nil, "", "vex", "vex-1 says affected: the deadline stays", false},
		{"a contradiction", []Lift{vex(Affected, ""), vex(Fixed, "")}, nil, "", "vex", "the statements contradict each other: the deadline stays", true},
		{"waived", nil, []Lift{waiver(func(*Lift) {})}, "waiver", "waiver", "waiver 7 until 2026-06-04, approved by jo: the port is closed", false},
		{"expired", nil, []Lift{waiver(func(w *Lift) { w.Expires = t0 })}, "", "waiver", "waiver 7 expired 2026-05-04: the deadline stays", false},
		{"expires now", nil, []Lift{waiver(func(w *Lift) { w.Expires = now })}, "", "waiver", "waiver 7 expired 2026-05-05: the deadline stays", false},
		{"no end", nil, []Lift{waiver(func(w *Lift) { w.Expires = time.Time{} })}, "", "waiver", "waiver 7 has no end: the deadline stays", false},
		{"no approver", nil, []Lift{waiver(func(w *Lift) { w.By = "" })}, "", "waiver", "waiver 7 has no approver: the deadline stays", false},
		{"no reason", nil, []Lift{waiver(func(w *Lift) { w.Reason = "" })}, "", "waiver", "waiver 7 has no reason: the deadline stays", false},
		{"not a waiver", nil, []Lift{waiver(func(w *Lift) { w.Status = NotAffected })}, "", "waiver", "waiver 7 is no waiver: the deadline stays", false},
		{"the longest holds, the expired is shown", nil, []Lift{
			waiver(func(w *Lift) { w.ID, w.Expires = "waiver 9", t0 }), waiver(func(*Lift) {}),
			waiver(func(w *Lift) { w.ID, w.Expires = "waiver 8", soon.AddDate(0, 0, 1) })}, "waiver",
			"waiver", "waiver 8 until 2026-06-05, approved by jo: the port is closed", false},
		{"both", []Lift{vex(Fixed, "")}, []Lift{waiver(func(*Lift) {})}, "vex", "waiver", "waiver 7 until 2026-06-04, approved by jo: the port is closed", false},
	} {
		in := given("yes", "open", "yes", "total", "active", "3", "9.8")
		in.Now, in.VEX, in.Waivers = now, c.vex, c.waivers
		d := Default().Decide(in)
		if r := rule(t, d, c.rule); r.Result != c.result || r.Fired != (c.by != "") || r.Days != -1 {
			t.Errorf("%s: %+v", c.name, r)
		}
		if n := len(rule(t, d, "vex").Inputs) + len(rule(t, d, "waiver").Inputs); n != len(c.vex)+len(c.waivers) {
			t.Errorf("%s: %d of %d statements and waivers are shown", c.name, n, len(c.vex)+len(c.waivers))
		}
		if c.doubt != (len(d.Doubts) == 1) {
			t.Errorf("%s: doubts %q", c.name, d.Doubts)
		}
		held := rule(t, d, "earliest")
		if !held.Deadline.Equal(t0.AddDate(0, 0, 3)) || held.Fired != (c.by == "") {
			t.Errorf("%s: without the lift: %+v", c.name, held)
		}
		if lifted := d.Tier == Lifted; lifted != (c.by != "") || d.Deadline.IsZero() != lifted || (d.Lifted != nil) != lifted || d.Forensic == lifted {
			t.Errorf("%s: %+v", c.name, d)
		}
		if c.by != "" && d.SetBy != c.by {
			t.Errorf("%s: set by %s", c.name, d.SetBy)
		}
		in.Now = time.Time{} // no waiver counts while the time is not known
		if d := Default().Decide(in); d.Tier == Lifted && d.SetBy == "waiver" {
			t.Errorf("%s: lifted without the time", c.name)
		}
	}
	in := given("no", "open", "no", "partial", "none", "0", "5.0")
	in.VEX = []Lift{{ID: "v", Status: Fixed, Expires: in.Now.Add(time.Hour)}}
	if d := Default().Decide(in); d.Tier != Lifted {
		t.Errorf("a statement with an end: %+v", rule(t, d, "vex"))
	}
	for _, now := range []time.Time{{}, in.Now.Add(time.Hour)} {
		in.Now = now
		if d := Default().Decide(in); d.Tier == Lifted {
			t.Errorf("a statement that ended, at %v: %+v", now, rule(t, d, "vex"))
		}
	}
}

// The expiry of a waiver brings the same deadline back, and nothing else.
func TestWaiverExpiryRestores(t *testing.T) {
	in := given("no", "open", "yes", "total", "poc", "2", "9.8")
	without := Default().Decide(in)
	in.Waivers = []Lift{{ID: "7", Status: Waived, Reason: "r", By: "jo", Expires: in.Now.AddDate(0, 0, 1)}}
	if d := Default().Decide(in); d.Tier != Lifted || !rule(t, d, "earliest").Deadline.Equal(without.Deadline) {
		t.Errorf("waived: %+v", d)
	}
	in.Now = in.Now.AddDate(0, 0, 1)
	after := Default().Decide(in)
	if after.Tier != without.Tier || !after.Deadline.Equal(without.Deadline) || after.SetBy != without.SetBy || after.Lifted != nil {
		t.Errorf("after the waiver: %+v, without it: %+v", after, without)
	}
}

// The same input gives the same bytes, in whatever order and zone it came.
func TestSameInputSameBytes(t *testing.T) {
	p := Default()
	in := given("", "open", "", "total", "", "", "")
	in.Waivers = []Lift{{ID: "b", Status: Waived}, {ID: "a", Status: Waived}}
	in.VEX = []Lift{{ID: "y", Status: Fixed}, {ID: "x", Status: Fixed, Source: "1"}}
	want, _ := json.Marshal(p.Decide(in))
	for range 20 {
		slices.Reverse(in.Waivers)
		slices.Reverse(in.VEX)
		zone := time.FixedZone("east", 7*3600)
		in.Published, in.Now = in.Published.In(zone), in.Now.In(zone)
		if got, _ := json.Marshal(p.Decide(in)); string(got) != string(want) {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
	if in.Waivers[0].ID != "b" {
		t.Error("the caller's list was sorted")
	}
}

func TestDerivedIsOfWhatSetIt(t *testing.T) {
	in := given("no", "open", "no", "total", "none", "0", "5.0")
	in.Impact.Derived = true
	if d := Default().Decide(in); d.SetBy != "bod-26-04" || !d.Derived {
		t.Errorf("set by %s, derived %v", d.SetBy, d.Derived)
	}
	in = given("no", "open", "no", "partial", "active", "3", "5.0") // the tree is the stricter, and impact is none of its inputs
	in.Impact.Derived = true
	if d := Default().Decide(in); d.SetBy != "ssvc-deployer" || d.Derived {
		t.Errorf("set by %s, derived %v", d.SetBy, d.Derived)
	}
	in.Mission.Derived = true
	if d := Default().Decide(in); !d.Derived {
		t.Error("a derived mission tier is not said")
	}
	in = given("no", "open", "no", "", "none", "0", "5.0") // assumed
	if d := Default().Decide(in); d.SetBy != "bod-26-04" || !d.Derived {
		t.Errorf("set by %s, derived %v", d.SetBy, d.Derived)
	}
}

// Every rule is in the answer, in the same order, and none has holes.
func TestAllRulesAreInTheAnswer(t *testing.T) {
	want := "bod-26-04 ssvc-deployer floor overlay epss vex waiver earliest"
	for _, in := range []Input{{}, given("no", "small", "no", "partial", "none", "0", "0.0"), given("yes", "open", "yes", "total", "active", "3", "10.0")} {
		d := Default().Decide(in)
		var ids []string
		for _, r := range d.Rules {
			ids = append(ids, r.ID)
			if r.Title == "" || r.Result == "" || r.Inputs == nil || (r.Row > 0) != (r.Rows > 0) || (r.Days == -1) != r.Deadline.IsZero() {
				t.Errorf("rule %+v", r)
			}
			for _, v := range r.Inputs {
				if v.Name == "" || v.Value == "" {
					t.Errorf("rule %s: input %+v", r.ID, v)
				}
			}
		}
		if strings.Join(ids, " ") != want {
			t.Errorf("rules %v", ids)
		}
	}
	d := Default().Decide(Input{})
	if d.Tier != Immediate || d.Deadline.IsZero() || d.Deadline.After(t0) || !d.Forensic {
		t.Errorf("of nothing is known: %+v", d)
	}
}

func TestRansomwareIsShown(t *testing.T) {
	in := given("yes", "small", "no", "partial", "active", "0", "5.0")
	plain := Default().Decide(in)
	in.Ransomware = Value{Value: "Yes", Source: "CISA KEV"}
	d := Default().Decide(in)
	inputs := rule(t, d, "bod-26-04").Inputs
	if last := inputs[len(inputs)-1]; last.Name != "ransomware" || last.Value != "yes" || !d.Deadline.Equal(plain.Deadline) {
		t.Errorf("%+v, %v", last, d.Deadline)
	}
}

func TestCompare(t *testing.T) {
	at := func(n int) Decision { return Decision{Tier: Scheduled, Deadline: t0.AddDate(0, 0, n)} }
	want := []Decision{at(1), at(2), {Tier: Defer}, {Tier: Lifted}}
	got := []Decision{want[3], want[2], want[1], want[0]}
	slices.SortFunc(got, Compare)
	for i := range want {
		if Compare(want[i], got[i]) != 0 {
			t.Errorf("place %d: %+v", i, got[i])
		}
	}
}

func TestDaysAndTiers(t *testing.T) {
	p := Default()
	for days, want := range map[int]string{-1: Defer, 1: Immediate, 3: Immediate, 4: OutOfCycle, 14: OutOfCycle, 15: Scheduled, 60: Scheduled, 180: Scheduled} {
		if got := p.tier(days); got != want {
			t.Errorf("%d days are %s, want %s", days, got, want)
		}
	}
	last := math.MaxInt
	for _, days := range []int{-1, 180, 60, 15, 14, 4, 3, 1} {
		n, _ := p.tighter(days)
		if n > last || days != -1 && n > days {
			t.Errorf("%d days: tighter is %d, and was %d before", days, n, last)
		}
		last = n
	}
}

func BenchmarkDecide(b *testing.B) {
	p := Default()
	in := given("no", "open", "yes", "partial", "poc", "1", "7.5")
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(in)
	}
}

// text prints a decision from its data alone.
func text(d Decision) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	when := func(t time.Time) string {
		if t.IsZero() {
			return "none"
		}
		return t.Format(time.RFC3339)
	}
	line("%s, deadline %s, set by %s, derived %v, forensic %v", d.Tier, when(d.Deadline), d.SetBy, d.Derived, d.Forensic)
	line("clock: %s (%s)", when(d.Start), d.StartWhy)
	if d.Lifted != nil {
		line("lifted by %s", d.Lifted.ID)
	}
	for _, s := range d.Doubts {
		line("doubt: %s", s)
	}
	for _, r := range d.Rules {
		mark := " "
		if r.Fired {
			mark = "*"
		}
		line("%s %s (%s): %s", mark, r.ID, r.Title, r.Result)
		if r.Table != "" {
			row := ""
			if r.Row > 0 {
				row = ", row " + strconv.Itoa(r.Row) + " of " + strconv.Itoa(r.Rows)
			}
			line("    table %s%s", r.Table, row)
		}
		for _, v := range r.Inputs {
			s := v.Name + " = " + v.Value
			if v.As != "" {
				s += " as " + v.As
			}
			if v.Derived {
				s += ", derived"
			}
			line("    %s [%s] %s", s, v.Source, v.Snapshot)
		}
		if !r.Deadline.IsZero() {
			line("    deadline %s", when(r.Deadline))
		}
	}
	return b.String()
}
