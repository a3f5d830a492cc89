package advisory

import (
	"slices"
	"strings"
	"testing"
)

// events reads introduced:0 fixed:1.2.3 and so on.
func events(t testing.TB, text string) []RangeEvent {
	t.Helper()
	var list []RangeEvent
	for field := range strings.FieldsSeq(text) {
		kind, v, _ := strings.Cut(field, ":")
		switch kind {
		case "introduced":
			list = append(list, RangeEvent{Introduced: v})
		case "fixed":
			list = append(list, RangeEvent{Fixed: v})
		case "last_affected":
			list = append(list, RangeEvent{LastAffected: v})
		case "limit":
			list = append(list, RangeEvent{Limit: v})
		default:
			t.Fatalf("no event: %q", field)
		}
	}
	return list
}

func ready(x *Affected) *part {
	p := newPart(x)
	return &p
}

func TestRange(t *testing.T) {
	const branches = "introduced:11.0.0 fixed:11.22.0 introduced:12.0.0 fixed:12.17.0 introduced:13.0.0 fixed:13.13.0"
	for _, tt := range []struct{ name, kind, events, in, out string }{
		{"all", "SEMVER", "introduced:0", "0.0.0-0 0 1.0.0 99999.0.0", ""},
		{"until", "SEMVER", "introduced:0 fixed:1.10.11", "0 1.9.9 1.10.10 1.10.11-rc1 1.10.11-0", "1.10.11 1.10.11+build 1.11 2"},
		{"from", "SEMVER", "introduced:1.2.0", "1.2 1.2.0 5", "1.1.99 1.2.0-rc1"},
		{"branches", "SEMVER", branches, "11.0 11.21 12.0.0 12.16.0 13.12", "10.23 11.22 11.22.0 11.30.0 12.17 13.13 14.0"},
		{"out of order", "SEMVER", "introduced:2.8.0 fixed:6.2.19 introduced:7.0.0 fixed:7.2.10 introduced:8.0.0 fixed:8.0.3 introduced:7.4.0 fixed:7.4.5",
			"2.8.0 6.2.18 7.2.9 7.4.4 8.0.2", "2.7 6.2.19 7.2.10 7.3.0 7.4.5 8.0.3"},
		{"backwards", "SEMVER", "fixed:2.0.0 introduced:1.0.0", "1.0.0 1.9.9", "0.9 2.0.0"},
		{"last affected", "SEMVER", "introduced:1.0.0 last_affected:1.4.2", "1.0.0 1.4.2", "0.9 1.4.3 1.4.2.1 2.0"},
		{"one version", "SEMVER", "introduced:1.5.0 last_affected:1.5.0", "1.5.0 1.5", "1.4.9 1.5.1"},
		{"versions side by side", "SEMVER", "introduced:5.16.0 last_affected:5.16.0 introduced:5.16.1 last_affected:5.16.1", "5.16.0 5.16.1", "5.15.9 5.16.2"},
		{"one after the other", "SEMVER", "introduced:1.0.0 last_affected:1.5.0 introduced:1.5.0 last_affected:2.0.0", "1.0 1.5 1.7 2.0", "0.9 2.0.1"},
		{"fixed and introduced again", "SEMVER", "introduced:0 fixed:2.0.0 introduced:2.0.0 fixed:3.0.0", "1.0 2.0.0 2.5", "3.0.0"},
		{"the same, backwards", "SEMVER", "introduced:2.0.0 fixed:3.0.0 introduced:0 fixed:2.0.0", "1.0 2.0.0 2.5", "3.0.0"},
		{"empty in the middle", "SEMVER", "introduced:1.8.0 fixed:1.8.0 introduced:1.9.0 fixed:7.0.331", "1.9.0 7.0.330", "1.7 1.8.0 1.8.5 7.0.331"},
		{"twice the same", "SEMVER", "introduced:1.0.0 introduced:1.0.0 fixed:2.0.0 fixed:2.0.0", "1.0.0 1.5", "0.9 2.0"},
		{"pre-releases", "SEMVER", "introduced:2.5.0-rc1 fixed:2.5.8 introduced:2.6.0-rc4 fixed:2.6.0-rc5", "2.5.0-rc1 2.5.0 2.6.0-rc4", "2.5.0-beta1 2.6.0-rc3 2.6.0-rc5 2.6.0"},
		{"from the first pre-release", "SEMVER", "introduced:1.21.0-0 fixed:1.21.4", "1.21.0-rc1 1.21.0", "1.20.9 1.21.4"},
		{"incompatible", "SEMVER", "introduced:0 fixed:2.8.2-beta.1+incompatible", "2.8.1", "2.8.2-beta.1 2.8.2"},
		{"pseudo-version", "SEMVER", "introduced:0 fixed:1.3.3-0.20260331202714-6800989bdc12", "1.3.2", "1.3.3 1.4.0"},
		{"limit", "SEMVER", "introduced:1.0.0 limit:2.0.0", "1.0 1.9", "0.9 2.0 2.5"},
		{"the farthest limit", "SEMVER", "introduced:1.0.0 limit:2.0.0 limit:3.0.0", "1.0 2.5", "0.9 3.0"},
		{"no limit", "SEMVER", "introduced:1.0.0 limit:*", "1.0 99", "0.9"},
		{"ecosystem", "ECOSYSTEM", "introduced:0 fixed:3.10.3", "3.10.2 3.10.3-rc.1", "3.10.3 3.11"},
		{"ecosystem, PEP 440", "ECOSYSTEM", "introduced:2.0.0a1 fixed:2.8.4rc2", "2.0.0a1 2.8.4rc1 2.8.3.post1", "1.9 2.8.4rc2 2.8.4"},
	} {
		r := Range{Type: tt.kind, Events: events(t, tt.events)}
		region, _, fault := r.region()
		check := func(list string, want bool) {
			for text := range strings.FieldsSeq(list) {
				v, ok := parseVersion(text)
				if !ok {
					continue
				}
				if in := region.contains(v); in != want || fault != "" {
					t.Errorf("%s: %s is in: %t %s, want %t", tt.name, text, in, fault, want)
				}
			}
		}
		check(tt.in, true)
		check(tt.out, false)
		// The order of the events in the record means nothing.
		slices.Reverse(r.Events)
		region, _, fault = r.region()
		check(tt.in, true)
		check(tt.out, false)
	}
}

func TestRangeThatCannotBeEvaluated(t *testing.T) {
	for _, tt := range []struct{ kind, events, say string }{
		{"SEMVER", "", "where it begins"},
		{"SEMVER", "fixed:1.0.0", "where it begins"},
		{"SEMVER", "introduced:0 fixed:latest", `"latest"`},
		{"SEMVER", "introduced:nightly.2026-03-10.0", "nightly"},
		{"SEMVER", "introduced:0 limit:x", `"x"`},
		{"SEMVER", "introduced:0 fixed:6f3e1c7", "6f3e1c7"},
		{"SEMVER", "introduced:0 fixed:1.4.0-1", "packager's revision"},
		{"ECOSYSTEM", "introduced:0 fixed:1.2-jre", "1.2-jre"},
		{"ECOSYSTEM", "introduced:0 fixed:2.4.46-10.el8", "el8"},
		{"ECOSYSTEM", "introduced:0 fixed:1:2.3-4", "1:2.3-4"},
	} {
		x := Affected{Ranges: []Range{{Type: tt.kind, Events: events(t, tt.events)}}}
		if affected, doubt := ready(&x).covers(mustVersion(t, "1.4.0")); affected || !strings.Contains(doubt, tt.say) {
			t.Errorf("%s %s: %t, %q", tt.kind, tt.events, affected, doubt)
		}
		// Another part of the record that can be evaluated is certain.
		x.Ranges = append(x.Ranges, Range{Type: "SEMVER", Events: events(t, "introduced:1.4.0 fixed:1.5.0")})
		if affected, doubt := ready(&x).covers(mustVersion(t, "1.4.0")); !affected || doubt != "" {
			t.Errorf("%s %s, and a range: %t, %q", tt.kind, tt.events, affected, doubt)
		}
		x.Ranges, x.Versions = x.Ranges[:1], []string{"1.3.0", "1.4.0"}
		if affected, doubt := ready(&x).covers(mustVersion(t, "1.4.0")); !affected || doubt != "" {
			t.Errorf("%s %s, and listed: %t, %q", tt.kind, tt.events, affected, doubt)
		}
	}
	// A revision is in doubt for the release that it revises, and for no other.
	x := Affected{Ranges: []Range{{Type: "SEMVER", Events: events(t, "introduced:0 fixed:4.6.0-1")}}}
	for text, want := range map[string]bool{"4.5.9": true, "4.6.1": false} {
		if in, fault := ready(&x).covers(mustVersion(t, text)); in != want || fault != "" {
			t.Errorf("%s is in: %t %s", text, in, fault)
		}
	}
	if _, doubt := ready(&Affected{}).covers(mustVersion(t, "1.4.0")); doubt == "" {
		t.Error("a record without any versions is evaluated")
	}
}

func TestVersionsListed(t *testing.T) {
	x := Affected{Versions: []string{"v1.2.0", "1.3", "odd"}, Ranges: []Range{{Type: "ECOSYSTEM", Events: events(t, "introduced:2.0.0 fixed:2.1.0")}}}
	for text, want := range map[string]bool{"1.2.0": true, "1.3.0": true, "1.2.1": false, "2.0.5": true, "2.1.0": false} {
		if affected, doubt := ready(&x).covers(mustVersion(t, text)); affected != want || doubt != "" {
			t.Errorf("%s: %t %s", text, affected, doubt)
		}
	}
}

func TestFixes(t *testing.T) {
	for _, tt := range []struct{ ranges, at, want string }{
		{"introduced:11.0.0 fixed:11.22.0 introduced:12.0.0 fixed:12.17.0 introduced:13.0.0 fixed:13.13.0", "11.7.0", "11.22.0 12.17.0 13.13.0"},
		{"introduced:11.0.0 fixed:11.22.0 introduced:12.0.0 fixed:12.17.0 introduced:13.0.0 fixed:13.13.0", "12.1.0", "12.17.0 13.13.0"},
		{"introduced:0 fixed:9.5.24 introduced:9.6.0 fixed:9.6.20", "9.6.1", "9.6.20"},
		{"introduced:13.0.0 fixed:13.13.0 introduced:11.0.0 fixed:11.22.0", "11.7.0", "11.22.0 13.13.0"},
		{"introduced:0 fixed:v1.25.1", "1.22.1", "1.25.1"},
		{"introduced:0 last_affected:1.25.1", "1.22.1", ""},
		{"introduced:0", "1.22.1", ""},
		// The fix of another branch is affected on this one.
		{"introduced:2.0.0 fixed:2.6.0; introduced:2.5.5 fixed:2.5.9", "2.5.6", "2.6.0"},
		{"introduced:0 fixed:2.0.0; introduced:0 fixed:2.0", "1.0.0", "2.0.0"},
	} {
		var x Affected
		for text := range strings.SplitSeq(tt.ranges, ";") {
			x.Ranges = append(x.Ranges, Range{Type: "SEMVER", Events: events(t, text)})
		}
		if got := strings.Join(ready(&x).fixesOf(mustVersion(t, tt.at)), " "); got != tt.want {
			t.Errorf("%s at %s: %q, want %q", tt.ranges, tt.at, got, tt.want)
		}
	}
}

// FuzzRange holds the evaluation to what can be said of any range: the order
// of events means nothing, nothing before the first introduced is affected, no
// version that is named as a fix of a range is in it unless another event is
// there, and a fix that is offered is none that is affected.
func FuzzRange(f *testing.F) {
	f.Add("introduced:0 fixed:1.2.3", "1.2.2", true)
	f.Add("introduced:1.8.0 fixed:1.8.0 introduced:1.9.0 last_affected:2.0", "1.9", false)
	f.Add("introduced:1.0-jre limit:2", "1", true)
	f.Fuzz(func(t *testing.T, text, at string, ecosystem bool) {
		r := Range{Type: "SEMVER"}
		if ecosystem {
			r.Type = "ECOSYSTEM"
		}
		for i, s := range strings.Fields(text) {
			kind, v, _ := strings.Cut(s, ":")
			e := map[string]RangeEvent{"fixed": {Fixed: v}, "last_affected": {LastAffected: v}, "limit": {Limit: v}}[kind]
			if e == (RangeEvent{}) {
				e.Introduced = v
			}
			if v != "" && i < 64 {
				r.Events = append(r.Events, e)
			}
		}
		v, ok := parseVersion(at)
		if !ok {
			return
		}
		x := Affected{Ranges: []Range{r}}
		in, fault := ready(&x).covers(v)
		if in && fault != "" {
			t.Fatalf("%s in %s is both", at, text)
		}
		for _, fix := range ready(&x).fixesOf(v) {
			if affected, _ := ready(&x).covers(mustVersion(t, fix)); affected || compare(mustVersion(t, fix), v) <= 0 {
				t.Errorf("%s is offered as a fix of %s in %s", fix, at, text)
			}
		}
		slices.Reverse(r.Events)
		if again, other := ready(&x).covers(v); again != in || (other == "") != (fault == "") {
			t.Errorf("%s in %s: %t %s, and backwards %t %s", at, text, in, fault, again, other)
		}
		// Behind all events only an introduced can be the last word.
		if fault == "" && len(r.Events) > 0 && !slices.ContainsFunc(r.Events, func(e RangeEvent) bool { return e.Limit != "" }) {
			last := r.Events[0]
			for _, e := range r.Events[1:] {
				if a, b := place(t, e), place(t, last); b.core == "" || a.core != "" && compare(a, b) >= 0 {
					last = e
				}
			}
			top, _ := parseVersion(strings.Repeat("9", 240))
			if got, _ := ready(&x).covers(top); got && last.Introduced == "" && !slices.ContainsFunc(r.Events, func(e RangeEvent) bool {
				return e.Introduced != "" && compare(place(t, e), place(t, last)) == 0
			}) && compare(place(t, last), top) < 0 {
				t.Errorf("behind everything is in %s", text)
			}
		}
	})
}

// place is where an event is; the zero version for introduced 0.
func place(t testing.TB, e RangeEvent) version {
	if e.Introduced == "0" {
		return version{}
	}
	return mustVersion(t, e.Introduced+e.Fixed+e.LastAffected)
}
