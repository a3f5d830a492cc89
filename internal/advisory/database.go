package advisory

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

// Database answers from one set of snapshots. Make it with NewDatabase.
type Database struct {
	snapshots  []Snapshot
	advisories []*Advisory // by id
	lookup     lookup
	components map[Component][]*Advisory // by id
	known      map[string][]*Advisory    // by id, and by alias behind that
	kev        []table[Exploited]        // the newest first, as all tables
	epss       []table[Probability]
	points     []table[Points]
	vex        map[string][]*Stated // by vulnerability in upper case, the newest first
	images     *Map
}

// Stated is a statement and where it is from.
type Stated struct {
	Statement
	Snapshot Snapshot
}

// table is what one snapshot says of CVEs.
type table[T any] struct {
	snapshot Snapshot
	cves     []string // sorted
	values   []T
}

// find looks a CVE up in tables, of which the first that has it answers. The
// snapshot is the one that answers; for no answer it is the first one that was
// asked, and the zero Snapshot where there is none to ask.
func find[T any](tables []table[T], cve string) (value T, s Snapshot, ok bool) {
	for i := range tables {
		t := &tables[i]
		if at, found := slices.BinarySearch(t.cves, cve); found {
			return t.values[at], t.snapshot, true
		}
	}
	if len(tables) > 0 {
		s = tables[0].snapshot
	}
	return value, s, false
}

// NewDatabase reads packs, of one feed one each. Images is the map below those
// of the packs; nil is no map. Several feeds of one kind add up: of one
// advisory in several of them the one that was modified last counts, and of one
// CVE what the newest snapshot says.
//
// The faults are those that come of bringing packs together; those of records
// were told when the packs were made. Cost: 10,000 advisories, 300,000 EPSS rows
// and 44,000 assessments take 0.3 s and 55 MB beside the packs, whose texts the
// Database shares.
func NewDatabase(images *Map, packs ...Pack) (*Database, []Fault) {
	packs = slices.Clone(packs)
	slices.SortStableFunc(packs, func(x, y Pack) int {
		a, b := x.snapshot, y.snapshot
		return cmp.Or(slices.Index(Kinds, a.Kind)-slices.Index(Kinds, b.Kind), strings.Compare(a.Feed, b.Feed), cmp.Compare(a.ID, b.ID))
	})
	db := &Database{components: map[Component][]*Advisory{}, known: map[string][]*Advisory{}, vex: map[string][]*Stated{}, images: images}
	if images == nil {
		db.images = &Map{}
	}
	var faults []Fault
	for _, p := range packs {
		db.snapshots = append(db.snapshots, p.snapshot)
		var bad []string
		switch p.snapshot.Kind {
		case OSV:
			bad = db.addAdvisories(p)
		case KEV:
			db.kev, bad = addTable(db.kev, p, func(line string) (string, Exploited, bool) {
				e, _ := readExploited(line)
				return e.CVE, e, e.CVE != ""
			})
		case EPSS:
			db.epss, bad = addTable(db.epss, p, readScore)
		case Vulnrichment:
			db.points, bad = addTable(db.points, p, func(line string) (string, Points, bool) {
				cve, points, _ := readPoints(line)
				return cve, points, cve != ""
			})
		case VEX:
			bad = db.addStatements(p)
		case Components:
			bad = db.addMap(p)
		}
		for _, reason := range bad {
			faults = append(faults, Fault{File: p.snapshot.Feed, Reason: reason})
		}
	}
	db.index()
	return db, faults
}

func addTable[T any](tables []table[T], p Pack, read func(line string) (string, T, bool)) ([]table[T], []string) {
	t := table[T]{snapshot: p.snapshot, cves: make([]string, 0, len(p.lines)), values: make([]T, 0, len(p.lines))}
	var bad []string
	for _, line := range p.lines {
		cve, v, ok := read(line)
		if !ok {
			bad = append(bad, "has a record that this version cannot read: "+shown(line))
			continue
		}
		t.cves, t.values = append(t.cves, cve), append(t.values, v)
	}
	tables = append(tables, t)
	slices.SortStableFunc(tables, func(x, y table[T]) int { return y.snapshot.Dated.Compare(x.snapshot.Dated) })
	return tables, bad
}

func (db *Database) addAdvisories(p Pack) (bad []string) {
	for _, line := range p.lines {
		a, _ := readOSV(line)
		if a == nil {
			bad = append(bad, "has a record that this version cannot read: "+shown(line))
			continue
		}
		a.Feed = p.snapshot.Feed
		db.advisories = append(db.advisories, a)
	}
	return bad
}

func (db *Database) addStatements(p Pack) (bad []string) {
	for _, line := range p.lines {
		doc, _ := readDocument(line)
		if doc.id == "" {
			bad = append(bad, "has a document that this version cannot read: "+shown(line))
			continue
		}
		for _, s := range doc.statements {
			stated := &Stated{s, p.snapshot}
			for _, v := range s.Vulnerabilities {
				v = strings.ToUpper(v)
				db.vex[v] = append(db.vex[v], stated)
			}
		}
	}
	return bad
}

func (db *Database) addMap(p Pack) (bad []string) {
	for _, line := range p.lines {
		var text string
		if err := json.Unmarshal([]byte(line), &text); err != nil {
			return []string{"has a map that this version cannot read"}
		}
		m, err := ReadMap([]byte(text), MapLimits{})
		if err != nil {
			return []string{"has a map that this version cannot read: " + err.Error()}
		}
		db.images = m.Over(db.images)
	}
	return nil
}

// index brings the advisories of all feeds together.
func (db *Database) index() {
	slices.SortStableFunc(db.advisories, func(x, y *Advisory) int {
		return cmp.Or(strings.Compare(x.ID, y.ID), y.Modified.Compare(x.Modified))
	})
	db.advisories = slices.CompactFunc(db.advisories, func(x, y *Advisory) bool { return x.ID == y.ID })
	for _, a := range db.advisories {
		db.known[a.ID] = append(db.known[a.ID], a)
		for i, x := range a.Affected {
			if !slices.ContainsFunc(a.Affected[:i], func(o Affected) bool { return o.Component == x.Component }) {
				db.components[x.Component] = append(db.components[x.Component], a)
			}
		}
	}
	db.lookup = newLookup(db.components)
	for _, a := range db.advisories {
		for _, alias := range a.Aliases {
			if alias != a.ID {
				db.known[alias] = append(db.known[alias], a)
			}
		}
	}
	for _, list := range db.vex {
		slices.SortStableFunc(list, func(x, y *Stated) int { return y.Time.Compare(x.Time) })
	}
}

// Snapshots are those that answer, by kind and feed.
func (db *Database) Snapshots() []Snapshot { return slices.Clone(db.snapshots) }

// Advisories are all of them, by id, those that were withdrawn among them. They
// are shared and must not be changed.
func (db *Database) Advisories() []*Advisory { return slices.Clone(db.advisories) }

// Advisory returns the advisory with an id, or else the first by id that has it
// as an alias: one CVE has an advisory for each component mostly, see Named.
func (db *Database) Advisory(idOrAlias string) (*Advisory, bool) {
	list := db.known[idOrAlias]
	if len(list) == 0 {
		return nil, false
	}
	return list[0], true
}

// Named are the advisory with an id and all that have it as an alias, in this
// order and by id.
func (db *Database) Named(idOrAlias string) []*Advisory { return slices.Clone(db.known[idOrAlias]) }

// KEV returns what CISA's catalogue has on a CVE. The snapshot is the one that
// answers, also where it answers no; it is the zero Snapshot where there is
// none, and then a no means nothing. EPSS and Points return theirs alike. Cost:
// a binary search for each feed of the kind.
func (db *Database) KEV(cve string) (Exploited, Snapshot, bool) { return find(db.kev, cve) }

// EPSS returns the probability that a CVE is exploited. It is bound to the model
// of the snapshot.
func (db *Database) EPSS(cve string) (Probability, Snapshot, bool) { return find(db.epss, cve) }

// Points returns what CISA says of a CVE for its decision.
func (db *Database) Points(cve string) (Points, Snapshot, bool) { return find(db.points, cve) }

// Statements are those about any of the vulnerabilities in any of the products,
// see Products; the newest first, which is the one that holds among those of
// one author. A statement on a part of a product is among them where that part
// is one of the products asked for. One without a time is the oldest.
func (db *Database) Statements(vulnerabilities, products []string) []Stated {
	var asked []named
	for _, p := range products {
		asked = append(asked, readNamed(p))
	}
	var found []*Stated
	for _, v := range vulnerabilities {
		for _, s := range db.vex[strings.ToUpper(v)] {
			if !slices.Contains(found, s) && s.about(asked) {
				found = append(found, s)
			}
		}
	}
	slices.SortStableFunc(found, func(x, y *Stated) int { return y.Time.Compare(x.Time) })
	var out []Stated
	for _, s := range found {
		out = append(out, *s)
	}
	return out
}
