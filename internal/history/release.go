package history

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// nameKey stands for a name in a project: the first half of its SHA-256.
type nameKey [16]byte

// The two kinds of names. A release has a file name; its identity, the version
// without build metadata, is kept only where it differs from the version.
const (
	nameFile     = 'f'
	nameIdentity = 'i'
)

func keyOf(kind byte, project uint32, chartName, version string) nameKey {
	var buf [600]byte // names of 256 bytes fit
	b := append(buf[:0], kind)
	b = binary.BigEndian.AppendUint32(b, project)
	if kind == nameIdentity {
		b = binary.BigEndian.AppendUint16(b, uint16(len(chartName)))
	}
	b = append(b, chart.FileName(chartName, version)...)
	sum := sha256.Sum256(b)
	return nameKey(sum[:16])
}

// record is a release in memory. Its names are only in Replay.names: chart and
// version make the file name, and the length of the chart's name divides it.
type record struct {
	index    int64
	archive  [32]byte
	manifest [16]byte
	project  uint32
	chartLen uint16
	flags    uint16
}

// What is so of a release.
const (
	flagLegacy uint16 = 1 << iota
	flagProvenance
	flagYanked
	flagBlocked   // in quarantine
	flagConfirmed // by a second person
	flagBuried    // under a tombstone
	flagsAll      = flagBuried<<1 - 1
)

// hidden are the flags of what no index lists.
const hidden = flagYanked | flagBlocked | flagBuried

func (rec *record) has(flag uint16) bool { return rec.flags&flag != 0 }

// after is what came after a release, by the indexes of the leaves; -1 for what
// did not come.
type after struct {
	provenance, yank, quarantine, tombstone int64

	setter [16]byte // of the present quarantine: stands for the identity
	since  int64    // of the present quarantine, in seconds of Unix time
}

// table holds records in pieces, so that growing copies nothing.
type table struct {
	pieces [][]record
	n      uint32
}

const pieceSize = 4096

func (t *table) add(rec record) uint32 {
	if t.n%pieceSize == 0 {
		t.pieces = append(t.pieces, make([]record, 0, pieceSize))
	}
	last := len(t.pieces) - 1
	t.pieces[last] = append(t.pieces[last], rec)
	t.n++
	return t.n - 1
}

func (t *table) at(n uint32) *record { return &t.pieces[n/pieceSize][n%pieceSize] }

// Release is what the leaves say of a release.
type Release struct {
	Index       int64  // of the leaf that made it
	Archive     string // digest of the .tgz, sha256
	Legacy      bool   // taken over from elsewhere
	Provenance  bool   // it has one
	Yanked      bool
	Quarantined bool
	Confirmed   bool // its quarantine was confirmed by a second person
	Tombstoned  bool
	// Changed is the newest leaf that says who gets it: of a yank, a quarantine
	// or a tombstone, and Index while there is none.
	Changed int64

	manifest [16]byte
}

// Hidden reports whether the default index leaves the release out.
func (r Release) Hidden() bool { return r.Yanked || r.Quarantined || r.Tombstoned }

// Withheld reports whether its archive is not served.
func (r Release) Withheld() bool { return r.Quarantined || r.Tombstoned }

// HasManifest reports whether the release's OCI manifest has this digest. Only
// 128 bits of it are kept: enough against chance and against a second manifest
// for one that exists.
func (r Release) HasManifest(digest string) bool { return r.manifest == short(digest) }

// Release returns what the leaves say of a chart version; false when no leaf
// made it. The version is the exact one, with its build metadata.
func (r *Replay) Release(project, chartName, version string) (Release, bool) {
	n, ok := r.byName[project]
	if !ok {
		return Release{}, false
	}
	num, ok := r.exact(n, chartName, version)
	if !ok {
		return Release{}, false
	}
	rel := r.releases.at(num).export()
	if a := r.after[num]; a != nil {
		rel.Changed = max(rel.Changed, a.yank, a.quarantine, a.tombstone)
	}
	return rel, true
}

func (rec *record) export() Release {
	return Release{
		Index: rec.index, Changed: rec.index, Archive: archiveDigest(rec),
		Legacy: rec.has(flagLegacy), Provenance: rec.has(flagProvenance), Yanked: rec.has(flagYanked),
		Quarantined: rec.has(flagBlocked), Confirmed: rec.has(flagConfirmed), Tombstoned: rec.has(flagBuried),
		manifest: rec.manifest,
	}
}

func archiveDigest(rec *record) string { return "sha256:" + hex.EncodeToString(rec.archive[:]) }

// short stands for a text in 128 bits.
func short(s string) [16]byte {
	sum := sha256.Sum256([]byte(s))
	return [16]byte(sum[:16])
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// exact finds the release of a chart version.
func (r *Replay) exact(project uint32, chartName, version string) (uint32, bool) {
	n, ok := r.names[keyOf(nameFile, project, chartName, version)]
	return n, ok && int(r.releases.at(n).chartLen) == len(chartName)
}

// versionKey is what Helm takes a version for; "" when it cannot read it.
func versionKey(version string) string {
	if v, err := chart.ParseVersion(version); err == nil {
		return v.Key()
	}
	key, _ := chart.LenientVersion(version)
	return key
}

// release replays a leaf that makes a release exist.
func (r *Replay) release(f *found, l *tlog.Release, legacy bool) {
	n, p := r.in(l.Project)
	r.admissible(f, p, l, legacy)
	file := keyOf(nameFile, n, l.Chart, l.Version)
	if held, ok := r.names[file]; ok {
		r.taken(f, l, r.releases.at(held))
		return
	}
	key, identity, named := versionKey(l.Version), nameKey{}, false
	if key != "" {
		identity = keyOf(nameIdentity, n, l.Chart, key)
		held, ok := r.names[identity]
		if !ok && key != l.Version {
			held, ok = r.exact(n, l.Chart, key)
		}
		switch {
		case ok && !legacy:
			rec := r.releases.at(held)
			f.add(RuleBuild, rec.index, facts("version without build metadata", key, "digest", l.Archive, "digest before it", archiveDigest(rec)),
				"another release of %s differs from version %s in build metadata alone", l.Chart, l.Version)
		case !ok:
			named = key != l.Version
		}
	}
	rec := record{index: f.index, project: n, chartLen: uint16(len(l.Chart)), manifest: short(l.Manifest)}
	_, _ = hex.Decode(rec.archive[:], []byte(strings.TrimPrefix(l.Archive, "sha256:"))) // its form was checked with the leaf's
	if legacy {
		rec.flags |= flagLegacy
	}
	if l.Provenance != "" {
		rec.flags |= flagProvenance
	} else {
		p.unsigned++
	}
	num := r.releases.add(rec)
	r.names[file] = num
	if named {
		r.names[identity] = num
	}
	p.releases++
}

// taken states what a release whose file name is held breaks.
func (r *Replay) taken(f *found, l *tlog.Release, held *record) {
	digests := facts("digest", l.Archive, "digest before it", archiveDigest(held))
	if int(held.chartLen) == len(l.Chart) {
		f.add(RuleSecond, held.index, digests, "%s %s was released before", l.Chart, l.Version)
		return
	}
	f.add(RuleFile, held.index, digests, "another release has the file name %s", chart.FileName(l.Chart, l.Version))
}

// mirrorSubject is as whom the server publishes what its mirrors fetch.
var mirrorSubject = tlog.Identity{Issuer: "chartkeep", Subject: "mirror"}

// admissible checks that a release may be made in its project.
func (r *Replay) admissible(f *found, p *project, l *tlog.Release, legacy bool) {
	switch {
	case p.at == none:
		f.add(RuleProject, none, nil, "project %s was never created", p.name)
		return
	case p.state == stateRemoved:
		f.add(RuleProject, p.changed, nil, "project %s was removed before", p.name)
	case p.kind != kindCharts:
		f.add(RuleProject, p.at, facts("kind", p.kind), "project %s has no releases", p.name)
	case !legacy && p.state != stateActive:
		f.add(RuleProject, p.changed, facts("state", p.state), "project %s takes no releases of its own yet", p.name)
	case !legacy && p.mirror:
		f.add(RuleLegacy, p.at, nil, "project %s mirrors elsewhere, and has no releases of its own", p.name)
	case legacy && p.state != stateImporting:
		if l.Publisher != mirrorSubject || p.began || p.releases > 0 && !p.mirror {
			f.add(RuleLegacy, p.changed, facts("state", p.state, "publisher", identity(l.Publisher)),
				"a release of elsewhere was taken into project %s, which does not import and is no mirror", p.name)
		} else {
			p.mirror = true
		}
	}
	if p.policy != "" && l.Policy != p.policy {
		f.add(RulePolicy, p.ruled, facts("policy", l.Policy, "policy in force", p.policy), "the release names a policy that is not the one in force")
	}
}

// subject finds the release that a leaf is about and checks the index that it
// gives, and that nothing was final before.
func (r *Replay) subject(f *found, index int64, projectName, chartName, version string) (uint32, *record) {
	n, known := r.byName[projectName]
	num, ok := uint32(0), false
	if known {
		num, ok = r.exact(n, chartName, version)
	}
	if !ok {
		f.add(RuleSubject, none, facts("index", itoa(index)), "the leaf is about a release that there is not")
		return 0, nil
	}
	rec := r.releases.at(num)
	if rec.index != index {
		f.add(RuleSubject, rec.index, facts("index", itoa(index), "index of the release", itoa(rec.index)), "the leaf names another leaf as that of the release")
	}
	if rec.has(flagBuried) {
		f.add(RuleBuried, r.after[num].tombstone, nil, "the release is under a tombstone")
		return 0, nil
	}
	return num, rec
}

// mark changes flags of a release and keeps its project's counts.
func (r *Replay) mark(rec *record, set, clear uint16) {
	p := r.projects[rec.project]
	count := func(by int64) {
		switch {
		case rec.has(hidden):
			p.hidden += by
		case !rec.has(flagProvenance):
			p.unsigned += by
		}
	}
	count(-1)
	rec.flags = rec.flags&^clear | set
	count(+1)
}

func (r *Replay) later(num uint32) *after {
	a := r.after[num]
	if a == nil {
		a = &after{provenance: none, yank: none, quarantine: none, tombstone: none}
		r.after[num] = a
	}
	return a
}

// standing checks that a project was not removed before one of its releases
// changes.
func (r *Replay) standing(f *found, rec *record) {
	if p := r.projects[rec.project]; p.state == stateRemoved {
		f.add(RuleProject, p.changed, nil, "project %s was removed before", p.name)
	}
}

// attach replays what was added to a release.
func (r *Replay) attach(f *found, l *tlog.Attach) {
	num, rec := r.subject(f, l.Index, l.Project, l.Chart, l.Version)
	if rec == nil {
		return
	}
	r.standing(f, rec)
	if l.Kind != tlog.AttachProvenance {
		return // of signatures there may be many
	}
	a := r.later(num)
	if rec.has(flagProvenance) {
		first := a.provenance
		if first == none {
			first = rec.index // it came with the release
		}
		f.add(RuleProvenance, first, facts("provenance", l.Digest), "the release had a provenance before")
		return
	}
	a.provenance = f.index
	r.mark(rec, flagProvenance, 0)
}

// yank replays a yank or its undoing.
func (r *Replay) yank(f *found, l *tlog.Yank, on bool) {
	num, rec := r.subject(f, l.Index, l.Project, l.Chart, l.Version)
	if rec == nil {
		return
	}
	r.standing(f, rec)
	a := r.later(num)
	switch {
	case on && rec.has(flagYanked):
		f.add(RuleYank, a.yank, nil, "the release is yanked already")
	case !on && !rec.has(flagYanked):
		f.add(RuleYank, a.yank, nil, "the release is not yanked")
	}
	a.yank = f.index
	if on {
		r.mark(rec, flagYanked, 0)
	} else {
		r.mark(rec, 0, flagYanked)
	}
}

// quarantine replays a step of a quarantine. The state is afterwards what the
// leaf says, also when the step was wrong.
func (r *Replay) quarantine(f *found, l *tlog.Quarantine) {
	num, rec := r.subject(f, l.Index, l.Project, l.Chart, l.Version)
	if rec == nil {
		return
	}
	a := r.later(num)
	on, confirmed := rec.has(flagBlocked), rec.has(flagConfirmed)
	switch {
	case l.Action == tlog.QuarantineSet && on:
		f.add(RuleQuarantine, a.quarantine, nil, "the release is in quarantine already")
	case l.Action != tlog.QuarantineSet && !on:
		f.add(RuleQuarantine, a.quarantine, nil, "the release is not in quarantine, and it cannot be %s", l.Action)
	case confirmed && (l.Action == tlog.QuarantineConfirmed || l.Action == tlog.QuarantineLapsed):
		f.add(RuleQuarantine, a.quarantine, nil, "the quarantine was confirmed, and it cannot be %s", l.Action)
	case l.Action == tlog.QuarantineConfirmed && a.setter == shortIdentity(l.Actor):
		f.add(RuleConfirm, a.quarantine, facts("actor", identity(l.Actor)), "the quarantine was confirmed by who set it")
	case l.Action == tlog.QuarantineLapsed && l.Time.Before(time.Unix(a.since, 0).Add(QuarantineLife)):
		f.add(RuleLapse, a.quarantine, facts("set", stamp(time.Unix(a.since, 0)), "lapsed", stamp(l.Time)),
			"the quarantine lapsed before a second person had %s to confirm it", QuarantineLife)
	}
	a.quarantine = f.index
	switch l.Action {
	case tlog.QuarantineSet:
		a.setter, a.since = shortIdentity(l.Actor), l.Time.Unix()
		r.mark(rec, flagBlocked, flagConfirmed)
	case tlog.QuarantineConfirmed:
		r.mark(rec, flagBlocked|flagConfirmed, 0)
	default:
		r.mark(rec, 0, flagBlocked|flagConfirmed)
	}
}

func shortIdentity(id tlog.Identity) [16]byte { return short(id.Issuer + "\x00" + id.Subject) }

// tombstone replays the end of a release.
func (r *Replay) tombstone(f *found, l *tlog.Tombstone) {
	num, rec := r.subject(f, l.Index, l.Project, l.Chart, l.Version)
	if rec == nil {
		return
	}
	if l.Archive != archiveDigest(rec) {
		f.add(RuleSubject, rec.index, facts("digest", l.Archive, "digest of the release", archiveDigest(rec)), "the tombstone names another archive")
	}
	if l.Requester == l.Approver {
		f.add(RuleTombstone, none, facts("requester", identity(l.Requester)), "one person asked for the tombstone and approved it")
	}
	r.later(num).tombstone = f.index
	r.mark(rec, flagBuried, 0)
}
