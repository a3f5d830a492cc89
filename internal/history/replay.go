package history

import (
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Replay is what the leaves of a log said so far. It belongs to one goroutine.
type Replay struct {
	next      int64     // index of the leaf that comes now
	newest    time.Time // of all leaves so far
	newestAt  int64     // index of the leaf with that time
	unknown   int64     // leaves of unknown type
	malformed int64

	projects []*project
	byName   map[string]uint32
	above    map[string]uint32 // names that are the beginning of a project's: its number

	names    map[nameKey]uint32 // file names and identities: the number of their release
	releases table
	after    map[uint32]*after // what came after a release

	keys  []Key
	audit struct {
		origin string
		size   int64
		root   tlog.Hash
		at     int64
	}
}

// New begins at the first leaf of a log.
func New() *Replay {
	return &Replay{
		byName: map[string]uint32{},
		above:  map[string]uint32{},
		names:  map[nameKey]uint32{},
		after:  map[uint32]*after{},
	}
}

// Size is the number of leaves that were replayed, which is the index of the
// next one.
func (r *Replay) Size() int64 { return r.next }

// Time is the newest time that a leaf stated; zero before the first.
func (r *Replay) Time() time.Time { return r.newest }

// Unknown is how many leaves were of a type that this version does not know,
// or were malformed. What they say was not checked.
func (r *Replay) Unknown() int64 { return r.unknown + r.malformed }

// Releases is how many releases the leaves made.
func (r *Replay) Releases() int64 { return int64(r.releases.n) }

// Add replays the leaf at an index and returns the rules that it breaks,
// mostly none and never more than a handful. entry is not kept.
func (r *Replay) Add(index int64, entry []byte) []Violation {
	leaf, err := tlog.ParseLeaf(entry)
	return r.AddLeaf(index, leaf, err)
}

// AddLeaf is Add for an entry that was parsed already: leaf and err are what
// tlog.ParseLeaf returned.
func (r *Replay) AddLeaf(index int64, leaf tlog.Leaf, err error) []Violation {
	f := &found{index: index, subject: subjectLog}
	if index != r.next {
		f.add(RuleOrder, none, facts("expected", itoa(r.next)), "the leaf %d does not follow the one before it", index)
		if index < r.next {
			return f.list // it was replayed, or something else was
		}
	}
	r.next = index + 1
	if err != nil {
		if problem.KindOf(err) == problem.Unsupported {
			r.unknown++
			return f.list
		}
		r.malformed++
		f.add(RuleLeaf, none, nil, "%s", messageOf(err))
		return f.list
	}
	f.subject = subjectOf(leaf)
	r.time(f, leaf.When())
	switch l := leaf.(type) {
	case tlog.Release:
		r.release(f, &l, false)
	case tlog.Legacy:
		r.release(f, &l.Release, true)
	case tlog.Attach:
		r.attach(f, &l)
	case tlog.Yank:
		r.yank(f, &l, true)
	case tlog.Unyank:
		r.yank(f, (*tlog.Yank)(&l), false)
	case tlog.Quarantine:
		r.quarantine(f, &l)
	case tlog.Tombstone:
		r.tombstone(f, &l)
	case tlog.Project:
		r.project(f, &l)
	case tlog.Policy:
		r.policy(f, &l)
	case tlog.Rotation:
		r.rotation(f, &l)
	case tlog.Audit:
		r.anchor(f, &l)
	}
	return f.list
}

func messageOf(err error) string {
	if p, ok := problem.As(err); ok {
		return p.Message
	}
	return err.Error()
}

// subjectOf names what a leaf is about.
func subjectOf(leaf tlog.Leaf) string {
	switch l := leaf.(type) {
	case tlog.Release:
		return ref(l.Project, l.Chart, l.Version)
	case tlog.Legacy:
		return ref(l.Project, l.Chart, l.Version)
	case tlog.Attach:
		return ref(l.Project, l.Chart, l.Version)
	case tlog.Yank:
		return ref(l.Project, l.Chart, l.Version)
	case tlog.Unyank:
		return ref(l.Project, l.Chart, l.Version)
	case tlog.Quarantine:
		return ref(l.Project, l.Chart, l.Version)
	case tlog.Tombstone:
		return ref(l.Project, l.Chart, l.Version)
	case tlog.Project:
		return l.Name
	case tlog.Policy:
		return l.Project
	}
	return subjectLog
}

func ref(project, chart, version string) string { return project + "/" + chart + "@" + version }

// time checks that a log's time does not run backwards.
func (r *Replay) time(f *found, at time.Time) {
	if at.Before(r.newest) {
		f.add(RuleTime, r.newestAt, facts("time", stamp(at), "time before it", stamp(r.newest)),
			"the leaf is older than one before it: time ran backwards")
		return
	}
	if at.After(r.newest) {
		r.newest, r.newestAt = at, f.index
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// anchor checks what is said of the audit log.
func (r *Replay) anchor(f *found, l *tlog.Audit) {
	a := &r.audit
	switch {
	case a.origin == "":
	case l.Origin != a.origin:
		f.add(RuleAudit, a.at, facts("name", l.Origin, "name before it", a.origin), "the audit log has another name")
	case l.Size < a.size:
		f.add(RuleAudit, a.at, facts("size", itoa(l.Size), "size before it", itoa(a.size)), "the audit log shrank")
	case l.Size == a.size && l.Root != a.root:
		f.add(RuleAudit, a.at, facts("root", l.Root.String(), "root before it", a.root.String()),
			"the audit log of %d events has another root", l.Size)
	}
	// The larger state stays, so that a return to it is no second violation.
	if a.origin == "" || l.Size >= a.size {
		a.origin, a.size, a.root, a.at = l.Origin, l.Size, l.Root, f.index
	}
}

// Key is a key of the log, as its rotations tell.
type Key struct {
	Verifier string    // as in signed-note
	Since    int64     // index of the leaf that brought it; -1 for the first key
	Until    time.Time // from when on it signs no more; zero for the present key
}

// Keys are the keys that the log had, the present one last; none while no
// rotation was replayed. A reader who pinned a key finds it among them.
func (r *Replay) Keys() []Key { return append([]Key(nil), r.keys...) }

func (r *Replay) rotation(f *found, l *tlog.Rotation) {
	if len(r.keys) == 0 {
		r.keys = append(r.keys, Key{Verifier: l.Old, Since: none})
	}
	present := &r.keys[len(r.keys)-1]
	if l.Old != present.Verifier {
		f.add(RuleRotation, present.Since, facts("old key", l.Old, "present key", present.Verifier),
			"the key that the rotation ends is not the present one")
	}
	if l.Until.Before(l.Time) {
		f.add(RuleRotation, none, facts("until", stamp(l.Until), "time", stamp(l.Time)), "the old key ends before the rotation")
	}
	if keyName(l.New) != keyName(l.Old) || keyName(l.New) == "" {
		f.add(RuleRotation, none, facts("new key", l.New, "old key", l.Old), "the new key has not the name of the log")
	}
	for _, k := range r.keys {
		if k.Verifier == l.New {
			f.add(RuleRotation, k.Since, facts("new key", l.New), "the new key was used before")
			return
		}
	}
	present.Until = l.Until
	r.keys = append(r.keys, Key{Verifier: l.New, Since: f.index})
}

// keyName is the name in a verifier key, "" when there is none.
func keyName(vkey string) string {
	name, rest, _ := strings.Cut(vkey, "+")
	if rest == "" {
		return ""
	}
	return name
}

// Signed checks who signed the checkpoint of exactly the leaves that were
// replayed so far: verifiers are the keys whose signatures on it hold. It was
// signed after its newest leaf was made, so a key that had ended by then cannot
// have signed it honestly. While no rotation was replayed there is nothing to
// check.
func (r *Replay) Signed(verifiers ...string) []Violation {
	if len(r.keys) == 0 {
		return nil
	}
	f := &found{index: r.next - 1, subject: subjectLog}
	present, signed := r.keys[len(r.keys)-1], false
	for _, v := range verifiers {
		signed = signed || v == present.Verifier
		for _, k := range r.keys {
			if k.Verifier == v && !k.Until.IsZero() && r.newest.After(k.Until) {
				f.add(RuleSigner, r.newestAt, facts("key", v, "until", stamp(k.Until), "newest leaf", stamp(r.newest)),
					"a key that had ended signed the checkpoint of %d leaves", r.next)
			}
		}
	}
	if !signed {
		f.add(RuleSigner, present.Since, facts("present key", present.Verifier), "the present key did not sign the checkpoint of %d leaves", r.next)
	}
	return f.list
}
