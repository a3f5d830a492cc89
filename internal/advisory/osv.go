package advisory

import (
	"slices"
	"strings"
)

// Bounds of what is kept of a record for people to read. The record itself
// stays whole in its pack.
const (
	maxID      = 200
	maxSummary = 1 << 10
	maxDetails = 32 << 10
)

var (
	osvNames       = []string{"id", "modified", "published", "withdrawn", "aliases", "summary", "details", "severity", "affected", "references", "database_specific"}
	severityNames  = []string{"type", "score"}
	affectedNames  = []string{"package", "ranges", "versions", "severity", "database_specific", "ecosystem_specific"}
	packageNames   = []string{"ecosystem", "name"}
	rangeNames     = []string{"type", "events"}
	eventNames     = []string{"introduced", "fixed", "last_affected", "limit"}
	referenceNames = []string{"url"}
	specificNames  = []string{"severity", "workaround"}
	knownNames     = []string{"last_known_affected_version_range"}
	customNames    = []string{"custom_ranges"}
)

// readOSV reads a record in the OSV form, schema 1.x. It returns nil for what
// has no id, and is no record then. Members that it does not know are passed
// over; those that are not what the schema says are faults. What then cannot be
// known of the versions of a component counts as: all are affected.
func readOSV(raw string) (*Advisory, []string) {
	c := &cursor{in: raw}
	a := &Advisory{}
	c.object(osvNames, func(name string) {
		switch name {
		case "id":
			a.ID = c.identifier()
		case "modified":
			a.Modified = c.time()
		case "published":
			a.Published = c.time()
		case "withdrawn":
			a.Withdrawn = c.time() // one that cannot be read withdraws nothing
		case "aliases":
			a.Aliases = c.identifiers()
		case "summary":
			a.Summary = cut(c.text(), maxSummary)
		case "details":
			a.Details = cut(c.text(), maxDetails)
		case "severity":
			a.Severity = c.severities()
		case "affected":
			c.list(func() {
				if x, ok := c.affected(); ok {
					a.Affected = append(a.Affected, x)
				}
			})
		case "references":
			c.list(func() {
				c.object(referenceNames, func(string) {
					if url := c.text(); url != "" {
						a.References = append(a.References, url)
						a.KEVLinked = a.KEVLinked || linksKEV(url)
					}
				})
			})
		case "database_specific":
			c.specific(specificNames, func(name, s string) {
				if name == "severity" {
					a.Rating = rating(s)
				} else {
					a.Workaround = cut(s, maxDetails)
				}
			})
		}
	})
	if !c.end() {
		return nil, []string{"is no JSON"}
	}
	if a.ID == "" {
		return nil, append(c.faults, "has no id, and is no record in the OSV form")
	}
	slices.Sort(a.Aliases)
	a.Aliases = slices.Compact(a.Aliases)
	return a, c.faults
}

// identifier reads the id of a record. What could not be an id is a fault.
func (c *cursor) identifier() string {
	s := c.text()
	if s != "" && !validID(s) {
		c.fault("%s is no id", shown(s))
		return ""
	}
	return s
}

func validID(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= maxID
}

func (c *cursor) identifiers() []string {
	var out []string
	c.list(func() {
		if s := c.identifier(); s != "" {
			out = append(out, s)
		}
	})
	return out
}

func (c *cursor) severities() []Score {
	var out []Score
	c.list(func() {
		var s Score
		c.object(severityNames, func(name string) {
			if name == "type" {
				s.Type = c.text()
			} else {
				s.Vector = c.text()
			}
		})
		if s.Type != "" && s.Vector != "" {
			out = append(out, s)
		}
	})
	return out
}

// specific reads texts of a mapping whose form nobody fixed: what is no text is
// not there, and no fault.
func (c *cursor) specific(names []string, each func(name, s string)) {
	if c.next() != '{' {
		c.skip()
		return
	}
	c.object(names, func(name string) {
		if c.next() == '"' {
			each(name, c.said())
		} else {
			c.skip()
		}
	})
}

// rating is a word for a severity as the published scales have it: none, low,
// medium, high, critical; "" for any other.
func rating(s string) string {
	switch s = strings.ToLower(s); s {
	case "none", "low", "medium", "high", "critical":
		return s
	case "moderate":
		return "medium"
	case "important":
		return "high"
	}
	return ""
}

// linksKEV says whether a URL leads to CISA's catalogue.
func linksKEV(url string) bool {
	_, rest, found := strings.Cut(url, "://")
	if !found {
		return false
	}
	rest = strings.TrimPrefix(strings.ToLower(rest), "www.")
	return strings.HasPrefix(rest, "cisa.gov/known-exploited-vulnerabilities")
}

// everything is the range that all versions are in.
func everything() []Range {
	return []Range{{Type: "ECOSYSTEM", Events: []RangeEvent{{Introduced: "0"}}}}
}

// affected reads one element of affected; not ok where it names no component.
func (c *cursor) affected() (x Affected, ok bool) {
	var custom []Range
	known, named, flaws := "", false, c.flaws
	c.object(affectedNames, func(name string) {
		switch name {
		case "package":
			named = true
			c.object(packageNames, func(name string) {
				if name == "name" {
					x.Component.Name = c.text()
				} else {
					x.Component.Ecosystem = c.text()
				}
			})
		case "severity":
			before := c.flaws
			x.Severity = c.severities()
			flaws += c.flaws - before // which says nothing of the versions
		case "ranges":
			x.Ranges = c.ranges()
		case "versions":
			x.Versions = c.texts()
		case "database_specific":
			c.specific(knownNames, func(_, s string) { known = s })
		case "ecosystem_specific":
			if c.next() != '{' {
				c.skip()
				return
			}
			c.object(customNames, func(string) { custom = c.ranges() })
		}
	})
	doubt := c.flaws > flaws
	if named && (x.Component.Name == "" || x.Component.Ecosystem == "") {
		c.fault("names a package without its ecosystem or its name")
	}
	switch {
	case doubt:
		x.Ranges, x.Versions = everything(), nil
	case len(custom) > 0:
		x.Ranges = withCustom(x.Ranges, custom)
	}
	if known != "" && !doubt {
		closeRanges(x.Ranges, known)
	}
	return x, x.Component.Name != "" && x.Component.Ecosystem != ""
}

// withCustom joins the ranges that the Go vulnerability database gives for
// modules whose versions the go command cannot see. Beside them, "from 0 on"
// only means that Go itself cannot say.
func withCustom(ranges, custom []Range) []Range {
	if len(ranges) == 1 && len(ranges[0].Events) == 1 && ranges[0].Events[0].Introduced == "0" {
		return custom
	}
	return append(ranges, custom...)
}

// closeRanges ends ranges that have no end where GitHub says, beside the range,
// which versions are known to be affected: "<= 3.10.2" or "< 3.11".
func closeRanges(ranges []Range, known string) {
	var end RangeEvent
	if v, ok := strings.CutPrefix(known, "<="); ok {
		end.LastAffected = strings.TrimSpace(v)
	} else if v, ok := strings.CutPrefix(known, "<"); ok {
		end.Limit = strings.TrimSpace(v)
	}
	if !plainVersion(end.LastAffected + end.Limit) {
		return
	}
	for i, r := range ranges {
		open := len(r.Events) > 0
		for _, e := range r.Events {
			open = open && e.Introduced != ""
		}
		if open {
			ranges[i].Events = append(r.Events, end)
		}
	}
}

// plainVersion says whether a text is one version and nothing else: no range,
// no wildcard, no word.
func plainVersion(s string) bool {
	s = strings.TrimPrefix(s, "v")
	if s == "" || s[0] < '0' || s[0] > '9' || len(s) > maxID {
		return false
	}
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return r == '.' || r == '-' }) {
		if part == "x" || part == "X" {
			return false
		}
	}
	for i := range len(s) {
		b := s[i]
		if (b < '0' || b > '9') && (b|0x20 < 'a' || b|0x20 > 'z') && !strings.ContainsRune(".-+_~:", rune(b)) {
			return false
		}
	}
	return true
}

// ranges reads ranges, but for those of commits, which no tag of an image can
// be compared with.
func (c *cursor) ranges() []Range {
	var out []Range
	c.list(func() {
		var r Range
		c.object(rangeNames, func(name string) {
			if name == "type" {
				r.Type = c.text()
			} else {
				c.list(func() { r.Events = append(r.Events, c.event()...) })
			}
		})
		starts := slices.ContainsFunc(r.Events, func(e RangeEvent) bool { return e.Introduced != "" })
		switch {
		case r.Type == "GIT":
			return
		case r.Type == "":
			c.fault("has a range without a type")
		case !starts:
			c.fault("has a range that nothing introduces")
		}
		out = append(out, r)
	})
	return out
}

// event reads one event. Early records have two in one: its start and its end.
func (c *cursor) event() []RangeEvent {
	var start, end RangeEvent
	c.object(eventNames, func(name string) {
		s := c.text()
		if s == "" {
			c.fault("is no version")
		}
		switch name {
		case "introduced":
			start.Introduced = s
		case "fixed":
			end.Fixed = s
		case "last_affected":
			end.LastAffected = s
		case "limit":
			end.Limit = s
		}
	})
	var out []RangeEvent
	if start != (RangeEvent{}) {
		out = append(out, start)
	}
	if end.Fixed != "" {
		out = append(out, RangeEvent{Fixed: end.Fixed})
	}
	if end.LastAffected != "" {
		out = append(out, RangeEvent{LastAffected: end.LastAffected})
	}
	if end.Limit != "" {
		out = append(out, RangeEvent{Limit: end.Limit})
	}
	if len(out) == 0 {
		c.fault("has an event of no known kind")
	}
	return out
}
