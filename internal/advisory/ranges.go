package advisory

import (
	"fmt"
	"slices"
	"strings"
)

// point is an event of a range at its place.
type point struct {
	at     version
	bottom bool // introduced "0": before everything
	kind   pointKind
}

type pointKind uint8

const (
	introduced pointKind = iota
	fixed
	lastAffected
)

func comparePoints(a, b point) int {
	switch {
	case a.bottom && b.bottom:
		return 0
	case a.bottom:
		return -1
	case b.bottom:
		return 1
	}
	return compare(a.at, b.at)
}

// points returns the events in order, whatever order the record has them in.
// Within says whether v is before a limit, where there are any. Fault says why
// the range cannot be evaluated, as a sentence.
func (r *Range) points(v version, buf []point) (list []point, within bool, fault string) {
	list, within = buf[:0], true
	limited, below, begins := false, false, false
	for _, e := range r.Events {
		p, text := point{kind: introduced}, e.Introduced
		switch {
		case e.Fixed != "":
			p.kind, text = fixed, e.Fixed
		case e.LastAffected != "":
			p.kind, text = lastAffected, e.LastAffected
		case e.Limit == "*":
			limited, below = true, true
			continue
		case e.Limit != "":
			text = e.Limit
		case text == "0":
			p.bottom, begins = true, true
			list = append(list, p)
			continue
		}
		var ok bool
		if p.at, ok = parseVersion(text); !ok || r.Type != "SEMVER" && !p.at.settled() {
			return nil, false, fmt.Sprintf("its range has %q, which has no place in the order of versions", text)
		}
		if e.Limit != "" {
			limited, below = true, below || compare(v, p.at) < 0
			continue
		}
		if v.class == 0 && p.at.revised() && compareNumbers(v.core, p.at.core) == 0 {
			return nil, false, fmt.Sprintf("its range has %q, which may be a packager's revision of the version that runs", text)
		}
		begins = begins || p.kind == introduced
		list = append(list, p)
	}
	if !begins {
		return nil, false, "its range does not say where it begins"
	}
	if !slices.IsSortedFunc(list, comparePoints) {
		slices.SortStableFunc(list, comparePoints)
	}
	return list, !limited || below, ""
}

// contains evaluates the events as the OSV schema says: in the order of
// versions, each one that is not after v turns the answer. Where a range begins
// and ends at one place, it says nothing there and the answer stays.
//
// Cost: linear in the events, and n log n where they are not in order.
func (r *Range) contains(v version) (in bool, fault string) {
	var buf [24]point
	list, within, fault := r.points(v, buf[:])
	if fault != "" || !within {
		return false, fault
	}
	for i := 0; i < len(list); {
		c := -1
		if !list[i].bottom {
			c = compare(list[i].at, v)
		}
		if c > 0 {
			break
		}
		opens, closes, first := false, false, i
		for ; i < len(list) && comparePoints(list[first], list[i]) == 0; i++ {
			switch list[i].kind {
			case introduced:
				opens = true
			case fixed:
				closes = true
			case lastAffected:
				closes = closes || c < 0
			}
		}
		if opens != closes {
			in = opens
		}
	}
	return in, ""
}

// covers reports whether v is affected: in one of the ranges, or listed. Doubt
// says why that could not be decided, as a sentence; then affected is false.
func (a *Affected) covers(v version) (affected bool, doubt string) {
	for i := range a.Ranges {
		in, fault := a.Ranges[i].contains(v)
		if in {
			return true, ""
		}
		if doubt == "" {
			doubt = fault
		}
	}
	for _, text := range a.Versions {
		if listed, ok := parseVersion(text); ok && compare(listed, v) == 0 {
			return true, ""
		}
	}
	if len(a.Ranges)+len(a.Versions) == 0 {
		doubt = "it names no versions that can be compared"
	}
	return false, doubt
}

// fixes returns the versions that end what affects v: those after v that are
// named as fixed and are not affected by another part of the record. The least
// is that of the line of v, the ones after it are of newer lines.
func (a *Affected) fixes(v version) []string {
	type fix struct {
		at   version
		text string
	}
	var list []fix
	for i := range a.Ranges {
		for _, e := range a.Ranges[i].Events {
			at, ok := parseVersion(e.Fixed)
			if !ok || compare(at, v) <= 0 {
				continue
			}
			if affected, doubt := a.covers(at); affected || doubt != "" {
				continue
			}
			list = append(list, fix{at, strings.TrimPrefix(e.Fixed, "v")})
		}
	}
	slices.SortFunc(list, func(a, b fix) int { return compare(a.at, b.at) })
	var texts []string
	for i, f := range list {
		if i == 0 || compare(list[i-1].at, f.at) != 0 {
			texts = append(texts, f.text)
		}
	}
	return texts
}
