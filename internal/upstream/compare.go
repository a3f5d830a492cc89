package upstream

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Kind is what happened to a version.
type Kind string

// The kinds of events.
const (
	Added            Kind = "added"             // was never there before
	Changed          Kind = "changed"           // is listed with another digest, or without the one it had
	Vanished         Kind = "vanished"          // is listed no more
	Returned         Kind = "returned"          // had vanished; with the same digest or another
	Duplicate        Kind = "duplicate"         // is listed several times with different digests
	CreatedRewritten Kind = "created-rewritten" // has the same digest and another time
	Invalid          Kind = "invalid"           // cannot be used as it is listed; without a chart: the whole index
)

// Event is one thing that happened between two states of an index. Changed
// means another archive: whether its content differs or the same files were
// packed again, digests alone cannot tell.
type Event struct {
	Kind      Kind
	Chart     string
	Version   string
	OldDigest string // bare; the last that was known
	NewDigest string // bare; of a duplicate, that of the other entry
	// OldCreated and NewCreated are set where the upstream's time was rewritten.
	OldCreated, NewCreated time.Time
	Detail                 string // of an invalid entry, what is wrong
}

// Unreadable is the event of an index that Parse refused. It changes nothing of
// what a Tracker knows.
func Unreadable(err error) Event {
	e := Event{Kind: Invalid, Detail: err.Error()}
	if p, ok := problem.As(err); ok {
		e.Detail = p.Message
	}
	return e
}

// Compare finds what happened between two states of one index. Without a
// memory of earlier states nothing returns: use a Tracker for that.
// Cost: as two calls of Observe on an empty Tracker.
func Compare(old, current Index) []Event {
	var t Tracker
	t.Observe(old)
	return t.Observe(current)
}

// Tracker replays the history of one index: it knows every version ever seen,
// its last digest, and whether it is gone. The zero Tracker has seen nothing,
// so that its first Observe returns every version as added. It holds no
// reference to an Index, about 300 bytes for a version, and is not safe for
// concurrent use.
type Tracker struct {
	charts map[string]map[string]*known
	round  uint64
}

// known is what is remembered of a version.
type known struct {
	digests []string // the last that were listed, in order; at least one, which may be ""
	created time.Time
	fault   string
	bare    bool // is listed without a digest now, and digests are older
	gone    bool
	dirty   bool // differs from what Changed told last

	// Of the round in which it was last listed:
	round      uint64
	newDigests []string
	newCreated time.Time
	newFault   string
}

// Known is what a Tracker remembers of a version, for who keeps it elsewhere.
type Known struct {
	Chart   string    `json:"chart"`
	Version string    `json:"version"`
	Digests []string  `json:"digests"` // the last that were listed, in order; at least one, which may be ""
	Created time.Time `json:"created,omitzero"`
	Fault   string    `json:"fault,omitempty"` // of the entry as it is listed now
	Bare    bool      `json:"bare,omitempty"`  // is listed without a digest now, and Digests are older
	Gone    bool      `json:"gone"`            // is listed no more
}

// Restore tells the Tracker what was remembered of a version. It replaces what
// the Tracker knew of it.
func (t *Tracker) Restore(k Known) {
	if t.charts == nil {
		t.charts = map[string]map[string]*known{}
	}
	versions := t.charts[k.Chart]
	if versions == nil {
		versions = map[string]*known{}
		t.charts[k.Chart] = versions
	}
	versions[k.Version] = &known{digests: k.Digests, created: k.Created, fault: k.Fault, bare: k.Bare, gone: k.Gone}
}

// Changed hands out each version of which the Tracker remembers something else
// since it was restored or Changed was read to its end, in no order. Cost:
// linear in what is known.
func (t *Tracker) Changed() iter.Seq[Known] {
	return func(yield func(Known) bool) {
		for chart, versions := range t.charts {
			for version, k := range versions {
				if !k.dirty {
					continue
				}
				if !yield(Known{chart, version, slices.Clone(k.digests), k.created, k.fault, k.bare, k.gone}) {
					return
				}
				k.dirty = false
			}
		}
	}
}

// Missing counts the versions that were listed last and are not in x, and all
// that were listed, so that a download that lost its half can be told from a
// chart that was withdrawn before Observe takes it for the truth. Cost: linear
// in both.
func (t *Tracker) Missing(x Index) (missing, listed int) {
	in := make(map[string]map[string]struct{}, len(x.Charts))
	for i := range x.Charts {
		c := &x.Charts[i]
		versions := make(map[string]struct{}, len(c.Versions))
		for j := range c.Versions {
			versions[c.Versions[j].Version] = struct{}{}
		}
		in[c.Name] = versions
	}
	for chart, versions := range t.charts {
		for version, k := range versions {
			if k.gone {
				continue
			}
			listed++
			if _, there := in[chart][version]; !there {
				missing++
			}
		}
	}
	return missing, listed
}

// Observe takes the next state of the index and returns what happened since
// the last one, in order of chart, version and kind. Cost: linear in what is
// known and what is new, and a sort of the events: for 100,000 versions, of
// which 1 % changed, 40 ms.
func (t *Tracker) Observe(x Index) []Event {
	if t.charts == nil {
		t.charts = make(map[string]map[string]*known, len(x.Charts))
	}
	t.round++
	var events []Event
	for i := range x.Charts {
		c := &x.Charts[i]
		versions := t.charts[c.Name]
		if versions == nil {
			versions = make(map[string]*known, len(c.Versions))
			t.charts[strings.Clone(c.Name)] = versions
		}
		for j := range c.Versions {
			v := &c.Versions[j]
			k := versions[v.Version]
			if k == nil {
				k = &known{}
				versions[strings.Clone(v.Version)] = k
			}
			k.list(v, t.round)
		}
	}
	for chart, versions := range t.charts {
		for version, k := range versions {
			events = k.settle(events, Event{Chart: chart, Version: version}, t.round)
		}
	}
	slices.SortFunc(events, func(a, b Event) int {
		return cmp.Or(strings.Compare(a.Chart, b.Chart), strings.Compare(a.Version, b.Version),
			strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.NewDigest, b.NewDigest))
	})
	return events
}

// list notes an entry of this round.
func (k *known) list(v *Version, round uint64) {
	if k.round != round {
		k.round, k.newDigests, k.newCreated, k.newFault = round, k.newDigests[:0], v.Created, v.Fault
	}
	k.newFault = cmp.Or(k.newFault, v.Fault)
	if !slices.Contains(k.newDigests, v.Digest) {
		k.newDigests = append(k.newDigests, v.Digest)
	}
}

// settle compares what this round listed with what was known, and keeps it.
func (k *known) settle(events []Event, e Event, round uint64) []Event {
	add := func(kind Kind, was, is string) {
		e.Kind, e.OldDigest, e.NewDigest = kind, was, is
		events = append(events, e)
	}
	fresh := k.digests == nil
	if k.round != round {
		if !k.gone {
			k.gone, k.dirty = true, true
			add(Vanished, k.digests[0], "")
		}
		return events
	}
	is := k.newDigests
	if len(is) > 1 { // beside a digest, none says nothing
		is = slices.DeleteFunc(is, func(d string) bool { return d == "" })
	}
	if k.newFault != k.fault && k.newFault != "" {
		e.Detail = k.newFault
		add(Invalid, "", is[0])
		e.Detail = ""
	}
	switch {
	case fresh && k.newFault == "":
		add(Added, "", is[0])
	case fresh:
	case k.gone:
		add(Returned, k.digests[0], is[0])
	case is[0] == "" && k.digests[0] != "" && !k.bare:
		add(Changed, k.digests[0], "")
	case is[0] != "" && k.digests[0] != "":
		if was, now, changed := differ(k.digests, is); changed {
			add(Changed, was, now)
		} else if !k.bare && !k.created.IsZero() && !k.newCreated.IsZero() && !k.newCreated.Equal(k.created) {
			rewritten := e
			rewritten.OldCreated, rewritten.NewCreated = k.created, k.newCreated
			rewritten.Kind, rewritten.OldDigest, rewritten.NewDigest = CreatedRewritten, is[0], is[0]
			events = append(events, rewritten)
		}
	}
	if len(is) > 1 {
		for _, d := range is[1:] {
			if fresh || !slices.Contains(k.digests, d) || !slices.Contains(k.digests, is[0]) {
				add(Duplicate, is[0], d)
			}
		}
	}
	k.keep(is)
	clear(is) // or the texts of the Index would stay
	return events
}

// differ says whether the digests of a version changed: none is left, or one
// of several was dropped. A digest that came to those that stay is a duplicate.
func differ(was, is []string) (from, to string, changed bool) {
	stays := func(d string) bool { return slices.Contains(is, d) }
	if !slices.ContainsFunc(was, stays) {
		return was[0], is[0], true
	}
	for _, d := range was {
		if !stays(d) {
			return d, is[0], true
		}
	}
	return "", "", false
}

// keep makes what was listed what is known.
func (k *known) keep(is []string) {
	if k.fault != k.newFault || k.gone {
		k.fault, k.gone, k.dirty = k.newFault, false, true
	}
	if !k.newCreated.IsZero() && !k.newCreated.Equal(k.created) {
		k.created, k.dirty = k.newCreated, true
	}
	bare := is[0] == "" && k.digests != nil && k.digests[0] != ""
	if bare != k.bare {
		k.bare, k.dirty = bare, true
	}
	if bare || slices.Equal(k.digests, is) {
		return
	}
	k.dirty = true
	k.digests = make([]string, len(is))
	for i, d := range is {
		k.digests[i] = strings.Clone(d)
	}
}
