package advisory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Covers reports whether a feed has an advisory on the component, withdrawn or
// not. What no feed covers is unknown, whatever its version.
func (db *Database) Covers(c Component) bool { return len(db.components[c]) > 0 }

// MatchComponent returns the advisories that are open on a version of a
// component, in the order of their ids. The version is that of the program, and
// not a tag. Where it cannot be read, every advisory on the component is open
// with a doubt. None is returned for what no feed covers, too: ask Covers.
//
// A vulnerability that several records share, by id or alias, is one finding.
// It has the record of the ecosystem's own database, then that of GitHub
// (GHSA-…), then that of the CVE list, and of two of one kind the lesser id.
// Where one of the others does not count the version as affected, the finding
// stays open and has a doubt.
//
// Cost: linear in the records on the component and their events.
func (db *Database) MatchComponent(c Component, version string) []Open {
	return db.match([]Component{c}, readVersion(version))
}

// MatchChart returns the advisories on a chart itself that are open on one of
// its versions, in the order of their ids. Repositories are the addresses that
// the chart is known to come from; where there are none, an advisory on the
// chart of one repository is open with a doubt. An advisory that names no
// repository is on every chart of the name.
func (db *Database) MatchChart(repositories []string, name, version string) []Open {
	r := readVersion(version)
	var here []Component
	var anywhere []Open
	for _, c := range db.charts[name] {
		repository, ok := strings.CutSuffix(c.Name, "/"+name)
		switch {
		case !ok:
			here = append(here, c)
		case len(repositories) == 0:
			for _, o := range db.match([]Component{c}, r) {
				o.Doubt = cmp.Or(o.Doubt, fmt.Sprintf("it is on the chart of %s, and where this one comes from is not known", repository))
				anywhere = append(anywhere, o)
			}
		case slices.ContainsFunc(repositories, func(s string) bool { return sameChartRepository(s, repository, name) }):
			here = append(here, c)
		}
	}
	return merge(append(db.match(here, r), anywhere...), nil)
}

// chartsByName finds the components that are charts by the name of the chart,
// each list in the order of the components' names.
func chartsByName(components map[Component][]*Advisory) map[string][]Component {
	charts := map[string][]Component{}
	for c := range components {
		if c.Ecosystem == EcosystemHelm {
			name := c.Name[strings.LastIndexByte(c.Name, '/')+1:]
			charts[name] = append(charts[name], c)
		}
	}
	for _, list := range charts {
		slices.SortFunc(list, func(a, b Component) int { return strings.Compare(a.Name, b.Name) })
	}
	return charts
}

// sameChartRepository compares addresses of chart repositories: without scheme and
// trailing slash, with or without the chart's own name at the end, as OCI
// references have it. Hosts have no case.
func sameChartRepository(a, b, chart string) bool {
	plain := func(s string) string {
		if _, rest, ok := strings.Cut(s, "://"); ok {
			s = rest
		}
		s = strings.TrimRight(strings.TrimSuffix(strings.TrimRight(s, "/"), "/index.yaml"), "/")
		host, path, _ := strings.Cut(s, "/")
		return strings.TrimSuffix(strings.ToLower(host)+"/"+path, "/"+chart)
	}
	return plain(a) == plain(b)
}

// readVersion reads the version of a program. One that cannot be read is before
// and after everything: see match.
func readVersion(text string) reading {
	v, ok := parseVersion(text)
	if !ok {
		return reading{doubt: fmt.Sprintf("the version %q has no place in the order of versions", text)}
	}
	return reading{at: v, least: v, text: text}
}

// match evaluates every record on the components for what was read.
func (db *Database) match(components []Component, r reading) []Open {
	var open []Open
	var denied []*Advisory
	for _, c := range components {
		from := len(open)
		for _, a := range db.components[c] {
			if !a.Withdrawn.IsZero() {
				continue
			}
			if o, ok := a.open(c, r); ok {
				open = append(open, o)
			} else {
				denied = append(denied, a)
			}
		}
		slices.SortFunc(open[from:], func(a, b Open) int {
			return cmp.Or(cmp.Compare(rank(a.Advisory.ID), rank(b.Advisory.ID)), strings.Compare(a.Advisory.ID, b.Advisory.ID))
		})
	}
	return merge(open, denied)
}

// rank orders the sources of records that are kept where several are the same.
func rank(id string) int {
	switch {
	case strings.HasPrefix(id, "GHSA-"):
		return 1
	case isCVE(id):
		return 2
	}
	return 0
}

// open evaluates one record for what was read of a version of c.
func (a *Advisory) open(c Component, r reading) (Open, bool) {
	maybe := Open{Advisory: a}
	for i := range a.Affected {
		x := &a.Affected[i]
		if x.Component != c {
			continue
		}
		if r.at.core == "" {
			return Open{Advisory: a, Affected: x, Doubt: r.doubt}, true
		}
		affected, doubt := x.covers(r.at)
		if affected {
			return Open{Advisory: a, Affected: x, Fixed: x.fixes(r.at)}, true
		}
		if doubt == "" && r.doubt != "" {
			if affected, doubt = x.covers(r.least); affected {
				doubt = r.doubt
			}
		}
		if doubt != "" && maybe.Affected == nil {
			maybe.Affected, maybe.Doubt, maybe.Fixed = x, doubt, x.fixes(r.least)
		}
	}
	return maybe, maybe.Affected != nil
}

// merge keeps the first of the findings that share an id or an alias, and puts
// them in the order of their ids. A later one without doubt removes the doubt of
// the first. Denied are records of the same components that do not count the
// version as affected.
func merge(open []Open, denied []*Advisory) []Open {
	if len(open) == 0 {
		return nil
	}
	first := make(map[string]int, 2*len(open))
	kept := open[:0]
	for _, o := range open {
		at := -1
		for id := range o.Advisory.names() {
			if i, ok := first[id]; ok {
				at = i
				break
			}
		}
		if at < 0 {
			at = len(kept)
			kept = append(kept, o)
		} else if o.Doubt == "" {
			kept[at].Doubt = ""
		}
		for id := range o.Advisory.names() {
			if _, ok := first[id]; !ok {
				first[id] = at
			}
		}
	}
	for _, a := range denied {
		for id := range a.names() {
			if i, ok := first[id]; ok {
				kept[i].Doubt = cmp.Or(kept[i].Doubt, fmt.Sprintf("%s is the same vulnerability and does not count this version as affected", a.ID))
			}
		}
	}
	slices.SortFunc(kept, func(a, b Open) int { return strings.Compare(a.Advisory.ID, b.Advisory.ID) })
	return kept
}

// names yields the id and the aliases.
func (a *Advisory) names() func(yield func(string) bool) {
	return func(yield func(string) bool) {
		if !yield(a.ID) {
			return
		}
		for _, alias := range a.Aliases {
			if !yield(alias) {
				return
			}
		}
	}
}
