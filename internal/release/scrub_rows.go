package release

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// fate is what later leaves say of a release. Indexes are -1 where nothing
// does, or where it was taken back.
type fate struct {
	provenance            string // the digest that was attached
	yank, quarantine, end int64  // of the leaf that says so
}

// ledgerState is what the leaves of the release log come to, leaf by leaf.
type ledgerState struct {
	fates    map[int64]*fate
	projects map[string]tlog.Project // as the newest leaf has them
	anchors  []anchor
}

// anchor is a state of the audit log that the release log vouches for.
type anchor struct {
	index int64 // of its leaf
	size  int64
	root  tlog.Hash
}

func newLedgerState() *ledgerState {
	return &ledgerState{fates: map[int64]*fate{}, projects: map[string]tlog.Project{}}
}

func (s *ledgerState) fate(index int64) *fate {
	f := s.fates[index]
	if f == nil {
		f = &fate{yank: -1, quarantine: -1, end: -1}
		s.fates[index] = f
	}
	return f
}

// add takes the next leaf. What it does not know changes nothing here.
func (s *ledgerState) add(index int64, leaf tlog.Leaf) {
	switch l := leaf.(type) {
	case tlog.Attach:
		if f := s.fate(l.Index); l.Kind == tlog.AttachProvenance && f.provenance == "" {
			f.provenance = l.Digest
		}
	case tlog.Yank:
		s.fate(l.Index).yank = index
	case tlog.Unyank:
		s.fate(l.Index).yank = -1
	case tlog.Quarantine:
		f := s.fate(l.Index)
		f.quarantine = -1
		if l.Action == tlog.QuarantineSet || l.Action == tlog.QuarantineConfirmed {
			f.quarantine = index
		}
	case tlog.Tombstone:
		s.fate(l.Index).end = index
	case tlog.Project:
		s.projects[l.Name] = l
	case tlog.Policy:
		if p, ok := s.projects[l.Project]; ok {
			p.Policy = l.After
			s.projects[l.Project] = p
		}
	case tlog.Audit:
		s.anchors = append(s.anchors, anchor{index, l.Size, l.Root})
	}
}

// released is the leaf by which a release exists.
func released(leaf tlog.Leaf) (l tlog.Release, legacy *tlog.Legacy, ok bool) {
	switch leaf := leaf.(type) {
	case tlog.Release:
		return leaf, nil, true
	case tlog.Legacy:
		return leaf.Release, &leaf, true
	}
	return l, nil, false
}

// differences collects what is not as it should be.
type differences []string

func (d *differences) unless(same bool, what string, args ...any) {
	if !same {
		*d = append(*d, fmt.Sprintf(what, args...))
	}
}

// compareFrozen names what a release's row says that its leaf does not: all
// that the claim froze and that the leaf has, or that follows from it. Cost:
// a microsecond.
func compareFrozen(r *Release, l *tlog.Release, legacy bool) differences {
	var d differences
	d.unless(r.Project == l.Project, "project %s", r.Project)
	d.unless(r.Chart == l.Chart, "chart %s", r.Chart)
	d.unless(r.Version == l.Version, "version %s", r.Version)
	d.unless(r.Archive == l.Archive, "archive %s", r.Archive)
	d.unless(r.Size == l.Size, "size %d", r.Size)
	d.unless(r.Content == l.Content, "content %s", r.Content)
	d.unless(r.Manifest == l.Manifest, "manifest %s", r.Manifest)
	d.unless(r.Config == l.Config, "config %s", r.Config)
	d.unless(r.Time.Equal(l.Time), "time %s", when(r.Time))
	d.unless(r.Legacy == legacy, "origin")
	d.unless(r.File == chart.FileName(l.Chart, l.Version), "file %s", r.File)
	d.unless(r.Tag == chart.TagFor(l.Version), "tag %s", r.Tag)
	if l.Publisher.Issuer == "chartkeep" {
		d.unless(r.Publisher == l.Publisher.Subject || r.Publisher == "" && l.Publisher.Subject == "anonymous", "publisher %s", r.Publisher)
	}
	key, sortKey := chart.LenientVersion(l.Version)
	if v, err := chart.ParseVersion(l.Version); err == nil {
		key, sortKey = v.Key(), v.SortKey()
	}
	// History may hold versions that share an identity: one of them has it.
	d.unless(r.Key == key || legacy && r.Key == "", "identity %s", r.Key)
	d.unless(r.SortKey == sortKey, "order")
	return d
}

// compareState names what a row says of a release's later fate that the log
// does not.
func compareState(r *Release, l *tlog.Release, f *fate) differences {
	var d differences
	if f == nil {
		f = &fate{yank: -1, quarantine: -1, end: -1}
	}
	d.unless(r.Provenance == cmp.Or(l.Provenance, f.provenance), "provenance %s", cmp.Or(r.Provenance, "none"))
	want := []State{Active, Staged}
	switch {
	case f.end >= 0:
		want = []State{Tombstoned}
	case f.quarantine >= 0:
		want = []State{Quarantined}
	case f.yank >= 0:
		want = []State{Yanked}
	}
	d.unless(slices.Contains(want, r.State), "state %s", r.State)
	if r.State == Yanked && r.Yank != nil && f.yank >= 0 {
		d.unless(r.Yank.LogIndex == f.yank, "yank at leaf %d", r.Yank.LogIndex)
	}
	return d
}

// compareYank names what a row says of a yank that its leaf does not.
func compareYank(r *Release, leaf tlog.Leaf) differences {
	l, ok := leaf.(tlog.Yank)
	if !ok || l.Index != r.LogIndex || l.Project != r.Project || l.Chart != r.Chart || l.Version != r.Version {
		return differences{fmt.Sprintf("yank at leaf %d", r.Yank.LogIndex)}
	}
	var d differences
	d.unless(r.Yank.Reason == l.Reason, "yank reason %s", r.Yank.Reason)
	d.unless(r.Yank.Text == l.Text, "yank text")
	d.unless(r.Yank.Time.Equal(l.Time), "yank time %s", when(r.Yank.Time))
	if l.Publisher.Issuer == "chartkeep" {
		d.unless(r.Yank.By == l.Publisher.Subject || r.Yank.By == "" && l.Publisher.Subject == "anonymous", "yanked by %s", r.Yank.By)
	}
	return d
}

// compareServing names what the rows that serve a release say that its leaf
// does not: the tag, the manifest and the entry of the index.
func compareServing(r *StoredRelease, l *tlog.Release, legacy *tlog.Legacy) differences {
	var d differences
	if r.Tag == nil {
		d = append(d, "tag is missing")
	} else {
		d.unless(r.Tag.Digest == l.Manifest, "tag stands on %s", r.Tag.Digest)
		d.unless(r.Tag.Release == r.ID, "tag of release %d", r.Tag.Release)
		hidden := map[State]int{Active: 0, Yanked: 1, Staged: 2, Quarantined: 3, Tombstoned: 3}
		if want, known := hidden[r.State]; known {
			d.unless(r.Tag.Hidden == want, "tag shown otherwise")
			// What is withheld keeps its manifest as it was shown before.
			d.unless(r.Manifest == nil || r.State.Withheld() || r.ManifestSeen == (want != 2), "manifest shown otherwise")
		}
	}
	if r.State == Tombstoned {
		d.unless(len(r.Fragment) == 0, "index entry, which was emptied with the bytes")
		return d
	}
	d.unless(entrySays(r, l, legacy), "index entry")
	return d
}

// entrySays says whether the entry of the index is that of the leaf: address
// and digest byte by byte, and the time where the log has it. What Chart.yaml
// says stands before them; it is compared with the config where that is the
// server's own, and by name and version where a client made it.
func entrySays(r *StoredRelease, l *tlog.Release, legacy *tlog.Legacy) bool {
	head, rest, ok := cutLast(r.Fragment, `,"urls":[`)
	if !ok {
		return false
	}
	want := string(chart.AppendString(nil, "charts/"+chart.FileName(l.Chart, l.Version))) + `],"created":`
	rest, ok = bytes.CutPrefix(rest, []byte(want))
	if !ok {
		return false
	}
	created, ok := bytes.CutSuffix(rest, []byte(`,"digest":"`+strings.TrimPrefix(l.Archive, "sha256:")+`"}`))
	var at time.Time
	if !ok || json.Unmarshal(created, &at) != nil {
		return false
	}
	switch {
	case legacy == nil:
		ok = at.Equal(l.Time)
	case l.Publisher.Subject == mirrorID:
		// When a mirror saw it first is not in this leaf.
	case !legacy.SeenCreated.IsZero():
		ok = at.Truncate(time.Second).Equal(legacy.SeenCreated.Truncate(time.Second))
	default:
		ok = at.Equal(l.Time)
	}
	if !ok {
		return false
	}
	if config, ok := bytes.CutSuffix(r.Config, []byte("}")); ok && bytes.Equal(config, head) {
		return true
	}
	var said struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	return json.Unmarshal(append(bytes.Clone(head), '}'), &said) == nil && said.Name == l.Chart && said.Version == l.Version
}

// cutLast is bytes.Cut at the last place.
func cutLast(b []byte, sep string) (before, after []byte, found bool) {
	i := bytes.LastIndex(b, []byte(sep))
	if i < 0 {
		return b, nil, false
	}
	return b[:i], b[i+len(sep):], true
}

// compareProject names what a project's row says that the log does not.
func compareProject(p *Project, l *tlog.Project) differences {
	var d differences
	visibility := map[bool]string{true: "public", false: "private"}[p.Public]
	d.unless(string(p.Kind) == l.Kind, "kind %s", p.Kind)
	d.unless(visibility == l.Visibility, "visibility %s", visibility)
	d.unless(string(p.State) == l.State, "state %s", p.State)
	d.unless(p.PolicyDigest == l.Policy, "policy %s", p.PolicyDigest)
	d.unless(PolicyDigest(p.Policy) == p.PolicyDigest, "text of the policy")
	return d
}

// compareEvent names what the row beside an audit event says that its leaf
// does not.
func compareEvent(row *StoredEvent, ev *audit.Event) differences {
	var d differences
	d.unless(row.Time.Equal(ev.Time), "time")
	d.unless(row.Name == ev.Name, "event %s", row.Name)
	d.unless(row.Outcome == ev.Outcome.Result, "outcome %s", row.Outcome)
	for what, pair := range map[string][2]string{
		"project": {row.Project, ev.Resource.Project}, "chart": {row.Chart, ev.Resource.Chart}, "version": {row.Version, ev.Resource.Version}, "actor": {row.Actor, ev.Actor.ID},
	} {
		d.unless(alike(pair[0], pair[1]), "%s %s", what, pair[0])
	}
	// A source that was forgotten, with its salt, is no change.
	if ev.SourceDigest != "" && (len(row.Salt) > 0 || row.Source != (audit.Source{})) {
		var salt [16]byte
		d.unless(len(row.Salt) == len(salt) && copy(salt[:], row.Salt) == len(salt) && row.Source.Commit(salt) == ev.SourceDigest, "source")
	}
	slices.Sort(d)
	return d
}

// alike compares a name in a row with one in a leaf. Of what somebody sent and
// was refused for, both keep a part in their own ways; then nothing is said.
func alike(row, leaf string) bool {
	return row == leaf || strings.HasSuffix(leaf, "...[cut]") || strings.ContainsAny(leaf, "\ufffd\x00")
}
