package manifest

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Every row of the table: what makes points, and something like it that does
// not.
func TestEffort(t *testing.T) {
	for _, c := range []struct {
		f      Finding
		points int
		blocks bool
		by     string
	}{
		{Finding{Rule: "value-vanished", Severity: High, Set: true}, 3, false, ""},
		{Finding{Rule: "value-vanished", Severity: Low}, 0, false, ""},
		{Finding{Rule: "value-type", Severity: High, Set: true}, 3, false, ""},
		{Finding{Rule: "value-type", Severity: Low, Set: true}, 0, false, ""},
		{Finding{Rule: "value-type", Severity: Low}, 1, false, ""},
		{Finding{Rule: "value-default", Severity: Info}, 1, false, ""},
		{Finding{Rule: "value-default", Severity: Low, Set: true}, 0, false, ""},
		{Finding{Rule: "value-required", Severity: High}, 3, false, ""},
		{Finding{Rule: "schema-broken", Severity: High}, 3, false, ""},
		{Finding{Rule: "value-required", Severity: Info}, 0, false, ""},
		{Finding{Rule: "immutable-field", Severity: High}, 5, false, ""},
		{Finding{Rule: "crd-changed", Severity: Info}, 3, false, ""},
		{Finding{Rule: "crd-removed", Severity: Critical}, 3, false, ""},
		{Finding{Rule: "crd-added", Severity: Info}, 0, false, ""},
		{Finding{Rule: "hook-added", Severity: Medium}, 3, false, ""},
		{Finding{Rule: "hook-added", Severity: Low}, 0, false, ""},
		{Finding{Rule: "hook-removed", Severity: Info}, 0, false, ""},
		{Finding{Rule: "migration", Severity: Medium}, 3, false, ""},
		{Finding{Rule: "rights-widened", Severity: Low}, 3, false, ApproverSecurity},
		{Finding{Rule: "rights-unknown", Severity: High}, 3, false, ApproverSecurity},
		{Finding{Rule: "rights-narrowed", Severity: Info}, 0, false, ""},
		{Finding{Rule: "pod-security-lost", Severity: Medium}, 0, true, ApproverSecurity},
		{Finding{Rule: "api-removed", Severity: High}, 0, true, ""},
		{Finding{Rule: "api-deprecated", Severity: Low}, 0, false, ""},
		{Finding{Rule: "compared-as-text", Severity: Medium}, 10, false, ""},
		{Finding{Rule: "not-read", Severity: Medium}, 4, false, ""},
	} {
		c.f.Object = "x"
		e := EffortOf([]Finding{c.f, c.f}, "1.0.0", "1.1.0")
		if e.Points != c.points || e.Blocked != c.blocks || len(e.Approvers) > 0 != (c.by != "") {
			t.Errorf("%s %s set %v: %d points, blocked %v, by %v; want %d, %v, %q", c.f.Severity, c.f.Rule, c.f.Set, e.Points, e.Blocked, e.Approvers, c.points, c.blocks, c.by)
		}
		for _, p := range e.Parts {
			if p.Finding != c.f || p.Why == "" {
				t.Errorf("%s: the part %+v does not say where it comes from", c.f.Rule, p)
			}
		}
	}
	// One object counts once for a reason, and each object by itself.
	e := EffortOf([]Finding{{Rule: "hook-added", Severity: Medium, Object: "a"}, {Rule: "migration", Object: "a"}, {Rule: "migration", Object: "b"}}, "1.0.0", "1.0.1")
	if e.Points != 6 || e.Class != EffortMedium {
		t.Errorf("%+v", e)
	}
}

func TestEffortOfVersions(t *testing.T) {
	for _, c := range []struct {
		old, new string
		points   int
	}{
		{"1.2.3", "1.9.0", 0}, {"1.2.3", "2.0.0", 2}, {"v1.2.3", "2.0.0-rc.1", 2}, {"2.0.0", "1.0.0", 2}, {"0.3.1", "0.3.9", 0}, {"0.3.1", "0.4.0", 2},
		{"0.9.0", "1.0.0", 2}, {"1.0.0", "1.0.0", 0}, {"latest", "1.0.0", 2}, {"", "", 0}, {"1", "1.5", 0},
	} {
		if e := EffortOf(nil, c.old, c.new); e.Points != c.points || e.Class != EffortSmall {
			t.Errorf("%s to %s: %d points, want %d", c.old, c.new, e.Points, c.points)
		}
	}
}

// More findings never make less effort, and their order does not matter.
func TestEffortGrows(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	classes := []EffortClass{EffortSmall, EffortMedium, EffortLarge}
	for range 500 {
		var found []Finding
		was := EffortOf(nil, "1.0.0", "1.1.0")
		for range 12 {
			rule := effortRules[r.IntN(len(effortRules))]
			found = append(found, Finding{Rule: rule.rules[r.IntN(len(rule.rules))], Severity: severities[r.IntN(len(severities))], Object: string(rune('a' + r.IntN(4))), Set: r.IntN(2) == 0})
			is := EffortOf(found, "1.0.0", "1.1.0")
			if is.Points < was.Points || slices.Index(classes, is.Class) < slices.Index(classes, was.Class) || was.Blocked && !is.Blocked || len(is.Approvers) < len(was.Approvers) {
				t.Fatalf("%+v makes %+v of %+v", found[len(found)-1], is, was)
			}
			sum := 0
			for _, p := range is.Parts {
				sum += p.Points
			}
			if sum != is.Points {
				t.Fatalf("the parts add up to %d, not %d", sum, is.Points)
			}
			was = is
		}
		mixed := slices.Clone(found)
		r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		if is := EffortOf(mixed, "1.0.0", "1.1.0"); is.Points != was.Points || is.Class != was.Class || is.Blocked != was.Blocked {
			t.Fatalf("in another order %+v is %+v", was, is)
		}
	}
	for points, class := range map[int]EffortClass{0: EffortSmall, 3: EffortSmall, 4: EffortMedium, 9: EffortMedium, 10: EffortLarge} {
		var found []Finding
		for i := range points {
			found = append(found, Finding{Rule: "value-default", Object: string(rune('a' + i))})
		}
		if e := EffortOf(found, "1.0.0", "1.0.1"); e.Class != class || e.Points != points {
			t.Errorf("%d points are %s, want %s", points, e.Class, class)
		}
	}
}
