package advisory

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// bottom is before every version: where introduced "0" is.
var bottom = version{class: -2, place: placeOf("")}

// edge is a place on the line of versions from which on the answer is another
// one: at a version, or right after it.
type edge struct {
	at    version
	after bool
	in    bool
}

// region is what a range takes in: edges in their order. Before the first one
// nothing is in.
type region []edge

// contains walks along the edges: most regions have a handful.
func (r region) contains(v version) (in bool) {
	for i := range r {
		if c := compare(r[i].at, v); c > 0 || c == 0 && r[i].after {
			break
		}
		in = r[i].in
	}
	return in
}

// turn adds an edge where the answer changes.
func (r region) turn(at version, after, in bool) region {
	if was := len(r) > 0 && r[len(r)-1].in; was == in {
		return r
	}
	return append(r, edge{at, after, in})
}

// point is an event at its place.
type point struct {
	at   version
	kind pointKind
}

type pointKind uint8

const (
	introduced pointKind = iota
	fixed
	lastAffected
	limit
)

func comparePoints(a, b point) int { return compare(a.at, b.at) }

// points returns the events in the order of versions, whatever order the record
// has them in, without limits. Until is the farthest limit; bottom for none.
// Fault says why the range cannot be evaluated, as a sentence.
func (r *Range) points() (list []point, until version, fault string) {
	until = bottom
	begins, endless := false, false
	for _, e := range r.Events {
		p, text := point{kind: introduced}, e.Introduced
		switch {
		case e.Fixed != "":
			p.kind, text = fixed, e.Fixed
		case e.LastAffected != "":
			p.kind, text = lastAffected, e.LastAffected
		case e.Limit == "*":
			endless = true
			continue
		case e.Limit != "":
			p.kind, text = limit, e.Limit
		}
		begins = begins || p.kind == introduced
		if p.at = bottom; p.kind != introduced || text != "0" {
			var ok bool
			if p.at, ok = parseVersion(text); !ok || r.Type != "SEMVER" && !p.at.settled() {
				return nil, bottom, fmt.Sprintf("its range has %q, which has no place in the order of versions", text)
			}
		}
		if p.kind != limit {
			list = append(list, p)
		} else if compare(p.at, until) > 0 {
			until = p.at
		}
	}
	if !begins {
		return nil, bottom, "its range does not say where it begins"
	}
	if endless {
		until = bottom
	}
	slices.SortStableFunc(list, comparePoints)
	return list, until, ""
}

// region evaluates the events as the OSV schema says: in the order of versions,
// each one turns the answer, and nothing is in from the farthest limit on. Where
// a range begins and ends at one place, it says nothing there and the answer
// stays. Revised are events that may name a packager's revision of a release.
func (r *Range) region() (out region, revised []version, fault string) {
	list, until, fault := r.points()
	in := false
	for i := 0; i < len(list); {
		at := list[i].at
		var opens, closes, closesAfter bool
		for ; i < len(list) && compare(list[i].at, at) == 0; i++ {
			opens = opens || list[i].kind == introduced
			closes = closes || list[i].kind == fixed
			closesAfter = closesAfter || list[i].kind != introduced
		}
		if until != bottom && compare(at, until) >= 0 {
			break
		}
		if at.revised() {
			revised = append(revised, at)
		}
		there, then := in, in
		if opens != closes {
			there = opens
		}
		if opens != closesAfter {
			then = opens
		}
		out = out.turn(at, false, there).turn(at, true, then)
		in = then
	}
	if until != bottom {
		out = out.turn(until, false, false)
	}
	return out, revised, fault
}

// part is an Affected made ready for evaluation.
type part struct {
	affected *Affected
	regions  []region
	revised  []version
	listed   []version // one by one
	doubt    string    // why a range cannot be evaluated
	fixed    []version // that are not affected themselves, in their order
	fixes    []string  // the same as the record has them
}

func newPart(x *Affected) part {
	p := part{affected: x}
	for i := range x.Ranges {
		r, revised, fault := x.Ranges[i].region()
		if p.doubt == "" {
			p.doubt = fault
		}
		if len(r) > 0 {
			p.regions = append(p.regions, r)
		}
		p.revised = append(p.revised, revised...)
	}
	for _, text := range x.Versions {
		if v, ok := parseVersion(text); ok {
			p.listed = append(p.listed, v)
		}
	}
	if len(x.Ranges)+len(x.Versions) == 0 {
		p.doubt = "it names no versions that can be compared"
	}
	p.addFixes()
	return p
}

// covers reports whether v is affected: in one of the ranges, or listed. Doubt
// says why that could not be decided, as a sentence; then affected is false.
func (p *part) covers(v version) (affected bool, doubt string) {
	for _, r := range p.regions {
		if r.contains(v) {
			return true, ""
		}
	}
	for i := range p.listed {
		if compare(p.listed[i], v) == 0 {
			return true, ""
		}
	}
	for _, at := range p.revised {
		if p.doubt == "" && v.class == 0 && compareNumbers(v.core, at.core) == 0 {
			return false, fmt.Sprintf("its range has \"%s-%s\", which may be a packager's revision of the version that runs", at.core, at.extra)
		}
	}
	return false, p.doubt
}

// addFixes collects the versions that are named as fixed and are not affected by
// another range of the record.
func (p *part) addFixes() {
	type fix struct {
		at   version
		text string
	}
	var list []fix
	for i := range p.affected.Ranges {
		for _, e := range p.affected.Ranges[i].Events {
			if at, ok := parseVersion(e.Fixed); ok {
				if affected, doubt := p.covers(at); !affected && doubt == "" {
					list = append(list, fix{at, strings.TrimPrefix(e.Fixed, "v")})
				}
			}
		}
	}
	slices.SortStableFunc(list, func(a, b fix) int { return compare(a.at, b.at) })
	for i, f := range list {
		if i == 0 || compare(list[i-1].at, f.at) != 0 {
			p.fixed, p.fixes = append(p.fixed, f.at), append(p.fixes, f.text)
		}
	}
}

// fixesOf returns the fixes after v. The least is that of the line of v, the
// ones after it are of newer lines.
func (p *part) fixesOf(v version) []string {
	i := sort.Search(len(p.fixed), func(i int) bool { return compare(p.fixed[i], v) > 0 })
	return slices.Clip(p.fixes[i:])
}
