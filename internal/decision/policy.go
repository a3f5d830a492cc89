package decision

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The urgencies that a decision has, from the least: the outcomes of CERT/CC's
// deployer tree. Lifted stands beside them.
const (
	Defer      = "defer"
	Scheduled  = "scheduled"
	OutOfCycle = "out-of-cycle"
	Immediate  = "immediate"
	Lifted     = "lifted"
)

var tiers = []string{Defer, Scheduled, OutOfCycle, Immediate}

// The overlays that a policy can have.
const (
	overlayNone    = "none"
	overlayFedRAMP = "fedramp"
	overlayPCI     = "pci"
	overlayOwn     = "own"
)

// ratings are those that an overlay can have days for, from the least.
var ratings = []string{"low", "medium", "high", "critical"}

// kinds of snapshots, as package advisory names them, and after how many days
// one is old.
var kinds = []struct {
	name string
	days int
}{{"osv", 7}, {"kev", 3}, {"epss", 3}, {"vulnrichment", 7}, {"vex", 30}, {"components", 365}}

// Policy is by what an organisation decides. Make it with Default or ReadPolicy.
type Policy struct {
	name, version string
	sla           []int // days by tier; of Defer none
	floorScore    float64
	floorDays     int // none: there is no floor
	overlay       string
	overlayDays   []int // by rating
	threshold     float64
	model         string // of EPSS, that the threshold is approved for; "" turns the rule off
	stale         []int  // days by kind
	// missions are what the tiers 0 to 3 mean: safety and mission impact, as
	// places in the columns of the table of human impact.
	missions                [4][2]int
	bod, ssvc, human, chart *table

	document string
	digest   string
}

// epssModel is the model that the default threshold is approved for: EPSS v5,
// by which all scores are since 2026-06-15. Those of another model turn the rule
// off until somebody has looked at the threshold again.
const epssModel = "v2026.06.15"

// Default is the policy of who has none: the published tables, and what they
// leave open by our own choice. Cost: reading the tables, some 0.1 ms.
func Default() *Policy {
	p := base()
	p.seal()
	return p
}

// base is Default before it is sealed.
func base() *Policy {
	p := &Policy{
		name: "chartkeep", version: "1",
		sla:        []int{none, 60, 14, 3},
		floorScore: 9, floorDays: 14,
		overlay: overlayNone, overlayDays: profile(overlayNone),
		threshold: 0.1, model: epssModel,
		// Tier 0: functions that are not essential. 1: an essential function
		// fails. 2: and harms others. 3: the whole mission.
		missions: [4][2]int{{0, 0}, {0, 2}, {2, 2}, {0, 3}},
	}
	for _, k := range kinds {
		p.stale = append(p.stale, k.days)
	}
	for _, f := range forms {
		*p.table(f.id) = publishedTable(f)
	}
	return p
}

// table is the field of a table.
func (p *Policy) table(id string) **table {
	switch id {
	case tableBOD:
		return &p.bod
	case tableSSVC:
		return &p.ssvc
	case tableHuman:
		return &p.human
	}
	return &p.chart
}

// profile are the days of an overlay by rating. Both were read in secondary
// sources, not in the originals.
func profile(name string) []int {
	switch name {
	case overlayFedRAMP: // continuous monitoring: high 30, moderate 90, low 180
		return []int{180, 90, 30, 30}
	case overlayPCI: // PCI DSS 6.3.3: critical and high within a month
		return []int{none, none, 30, 30}
	}
	return []int{none, none, none, none}
}

// Name is the policy's name.
func (p *Policy) Name() string { return p.name }

// Version is the policy's version, as its author counts.
func (p *Policy) Version() string { return p.version }

// Digest is sha256:… over all that decides: the document and every row of the
// tables. Policies with one digest decide alike.
func (p *Policy) Digest() string { return p.digest }

// Document is the policy in its canonical form, as YAML that ReadPolicy reads:
// every setting, also those that were left to the default.
func (p *Policy) Document() string { return p.document }

// StaleAfter is the age from which a snapshot of a kind (osv, kev, epss,
// vulnrichment, vex, components) is old; 0 for a kind that there is not.
func (p *Policy) StaleAfter(kind string) time.Duration {
	for i, k := range kinds {
		if k.name == kind {
			return time.Duration(p.stale[i]) * 24 * time.Hour
		}
	}
	return 0
}

// seal makes what is derived from the fields.
func (p *Policy) seal() {
	p.document = p.print()
	h := sha256.New()
	io.WriteString(h, "chartkeep/policy/v1\n"+p.document)
	for _, f := range forms {
		t := *p.table(f.id)
		fmt.Fprintf(h, "table %s\n", t.name())
		for _, r := range t.rows {
			fmt.Fprintf(h, "%v %s\n", r.values, r.outcome.text)
		}
	}
	p.digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// print writes the canonical form.
func (p *Policy) print() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("name: %s", p.name)
	line("version: %s", strconv.Quote(p.version))
	line("sla:")
	for i, tier := range tiers[1:] {
		line("  %s: %d", tier, p.sla[i+1])
	}
	if p.floorDays == none {
		line("floor: none")
	} else {
		line("floor:\n  score: %.1f\n  days: %d", p.floorScore, p.floorDays)
	}
	line("overlay:\n  profile: %s", p.overlay)
	if p.overlay == overlayOwn {
		line("  days:")
		for i, rating := range ratings {
			if p.overlayDays[i] != none {
				line("    %s: %d", rating, p.overlayDays[i])
			}
		}
	}
	line("epss:\n  threshold: %s\n  model: %s", strconv.FormatFloat(p.threshold, 'f', -1, 64), strconv.Quote(p.model))
	line("stale-after:")
	for i, k := range kinds {
		line("  %s: %d", k.name, p.stale[i])
	}
	line("mission:")
	for _, m := range p.missions {
		line("  - safety: %s\n    mission: %s", p.human.columns[0].values[m[0]], p.human.columns[1].values[m[1]])
	}
	p.printTables(&b)
	return b.String()
}

func (p *Policy) printTables(b *strings.Builder) {
	any := false
	for _, f := range forms {
		t := *p.table(f.id)
		if t.own == nil {
			continue
		}
		if !any {
			b.WriteString("tables:\n")
			any = true
		}
		fmt.Fprintf(b, "  %s:\n", t.id)
		if t.own.replace {
			b.WriteString("    replace: true\n")
		}
		for _, s := range [][2]string{{"reason", t.own.reason}, {"approver", t.own.approver}} {
			if s[1] != "" {
				fmt.Fprintf(b, "    %s: %s\n", s[0], strconv.Quote(s[1]))
			}
		}
		b.WriteString("    rows: |\n")
		for l := range strings.Lines(t.text()) {
			b.WriteString("      " + l)
		}
	}
}

// days is how many an outcome gives.
func (p *Policy) days(o outcome) int {
	if i := slices.Index(tiers, o.text); i >= 0 {
		return p.sla[i]
	}
	return o.days
}

// tier is how urgent a number of days is.
func (p *Policy) tier(days int) string {
	switch {
	case days == none:
		return Defer
	case days <= p.sla[3]:
		return Immediate
	case days <= p.sla[2]:
		return OutOfCycle
	}
	return Scheduled
}

// tighter is the number of days one tier up, and false where there is none.
func (p *Policy) tighter(days int) (int, bool) {
	i := slices.Index(tiers, p.tier(days)) + 1
	if i == len(tiers) {
		return days, false
	}
	return p.sla[i], true
}
