package release

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Examination compares everything that is stored with the log, and the log
// with what its key signed. It changes nothing. The scrub of a running server
// and the check of a stopped one are both this.
//
// It goes in four steps: the release log is computed anew from its leaves;
// so is the audit log, which has to be the one that the first vouches for; every
// release is compared with its leaf, and its bytes are hashed; rows that no
// leaf speaks of are looked for. The third step alone takes long, and alone
// can be taken up where an earlier run left it: the other three cost some
// seconds for a million leaves, and are done whole each time, so that nothing
// of what was proven has to be believed of a row in a table. While it runs it
// keeps 32 bytes for each leaf.
type Examination struct {
	Stored Stored
	Blobs  interface {
		Open(ctx context.Context, digest string) (BlobFile, error)
	}
	Projects func(ctx context.Context) ([]Project, error)
	// Origin names the release log; the audit log is below it.
	Origin             string
	LogKeys, AuditKeys note.Verifiers
	// Rate bounds what is read of blobs, in bytes a second; 0 is no bound.
	Rate int64
	// Find takes what is wrong. Its error ends the examination.
	Find func(Finding) error
	// Leaf is shown every leaf of the release log in order; nil for nobody.
	Leaf func(index int64, entry []byte)
	// Progress is told after every blob and every page of releases of the third
	// step, one call at a time; nil for nobody. It may read the state given to
	// Run. Its error ends the examination.
	Progress func() error

	walk    *logWalk
	state   *ledgerState
	pace    pacer
	hashers []hasher

	mu       sync.Mutex // held to count, and to tell what was found or how far it is: several goroutines do
	count    *ScrubCounts
	findings int64
	failed   error // of Find
}

// Run examines everything. st says where the third step begins, and is kept up
// to date. An error means that something could not be checked; findings are
// none.
func (e *Examination) Run(ctx context.Context, st *ScrubState) error {
	e.state, e.count = newLedgerState(), &st.Done
	e.hashers, e.pace = make([]hasher, min(runtime.GOMAXPROCS(0), maxHashers)), pacer{rate: e.Rate}
	e.count.Leaves, e.count.Events = 0, 0
	e.walk = &logWalk{stored: e.Stored, log: ReleaseLog, origin: e.Origin, verifiers: e.LogKeys, keep: true, find: e.find, each: e.leaf}
	defer func() { e.count.Findings += e.findings }()
	if err := e.grow(ctx, e.walk); err != nil {
		return err
	}
	st.Size = e.walk.edge.Size()
	// The trail is read while blobs are hashed.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	trail, anchors := make(chan error, 1), slices.Clone(e.state.anchors) // of them there may be more meanwhile
	go func() { trail <- e.examineTrail(ctx, anchors) }()
	err := e.examineReleases(ctx, st)
	if err != nil {
		stop()
	}
	if terr := <-trail; err == nil {
		err = terr
	}
	if err != nil {
		return err
	}
	e.count.Leaves += e.count.Events // nothing else goes on any more
	if err := e.strays(ctx); err != nil {
		return err
	}
	return e.projects(ctx)
}

// storedRows is how many leaves are compared at a time. The first blob waits
// for the first page to be read, so that pages are small.
const storedRows = 64

// storedPage is what the tables have of a run of leaves.
type storedPage struct {
	from, to int64
	leaves   []StoredLeaf
	rows     []StoredRelease
	err      error
}

// examineReleases compares the releases from st.Next on. While the blobs of one
// page are hashed the next one is compared, and the one after it read.
func (e *Examination) examineReleases(ctx context.Context, st *ScrubState) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	pages := make(chan storedPage, 1)
	go func(from, size int64) {
		defer close(pages)
		for from < size {
			p := storedPage{from: from, to: min(size, from+storedRows)}
			p.leaves, p.err = e.Stored.StoredLeaves(ctx, ReleaseLog, p.from, int(p.to-p.from))
			if p.err == nil {
				p.rows, p.err = e.Stored.StoredReleases(ctx, p.from, p.to)
			}
			select {
			case pages <- p:
			case <-ctx.Done():
				return
			}
			from = p.to
		}
	}(st.Next, st.Size)
	settle := func() error { return nil } // the page before
	for p := range pages {
		parts, err := e.page(ctx, &p)
		if serr := settle(); err == nil {
			err = serr
		}
		if err != nil {
			return err
		}
		hashed := e.hashAll(ctx, parts)
		settle = func() error {
			if err := hashed(); err != nil {
				return err
			}
			return e.did(func(*ScrubCounts) { st.Next = p.to })
		}
	}
	if err := settle(); err != nil {
		return err
	}
	return ctx.Err()
}

// Root is the root of the release log that was examined.
func (e *Examination) Root() tlog.Hash { return e.walk.edge.Root() }

func (e *Examination) find(f Finding) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failed == nil {
		e.findings++
		e.failed = e.Find(f)
	}
}

// told is the error of whoever was told what was found.
func (e *Examination) told() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failed
}

// grow brings a walk to the present head.
func (e *Examination) grow(ctx context.Context, w *logWalk) error {
	err := w.grow(ctx)
	if err == nil {
		err = e.told()
	}
	return err
}

// leaf takes a leaf of the release log.
func (e *Examination) leaf(index int64, entry []byte) {
	e.mu.Lock()
	e.count.Leaves++
	e.mu.Unlock()
	if e.Leaf != nil {
		e.Leaf(index, entry)
	}
	if typ, _, _ := bytes.Cut(entry, []byte("\n")); string(typ) == tlog.TypeRelease || string(typ) == tlog.TypeLegacy {
		return // is read when it is compared with its release
	}
	if leaf, ok := e.parse(index, entry); ok {
		e.state.add(index, leaf)
	}
}

// parse reads a leaf that is in the tree. One of a later version is passed
// over.
func (e *Examination) parse(index int64, entry []byte) (tlog.Leaf, bool) {
	leaf, err := tlog.ParseLeaf(entry)
	if err != nil && problem.KindOf(err) != problem.Unsupported {
		e.find(Finding{Key: fmt.Sprintf("%s malformed %d", LeafChanged, index), Kind: LeafChanged, LogIndex: index,
			Message: fmt.Sprintf("leaf %d of the release log is no entry of a log: %v", index, err)})
	}
	return leaf, err == nil
}

// page compares the releases of a page with their leaves, and returns what is
// to be hashed of them.
func (e *Examination) page(ctx context.Context, p *storedPage) ([]part, error) {
	if p.err != nil {
		return nil, p.err
	}
	rows := p.rows
	parts := make([]part, 0, len(rows))
	logged := map[int64]bool{}
	for i := range p.leaves {
		l := &p.leaves[i]
		if l.Index >= p.to || !e.walk.proven(l.Index, l.Entry) {
			logged[l.Index] = true // is a finding of the log already
			continue
		}
		if typ, _, _ := bytes.Cut(l.Entry, []byte("\n")); string(typ) != tlog.TypeRelease && string(typ) != tlog.TypeLegacy {
			continue
		}
		leaf, ok := e.parse(l.Index, l.Entry)
		rel, legacy, isRelease := released(leaf)
		if !ok || !isRelease {
			continue
		}
		logged[l.Index] = true
		at, ok := slices.BinarySearchFunc(rows, l.Index, func(r StoredRelease, index int64) int { return int(r.ID - index) })
		var row *StoredRelease
		if ok {
			row = &rows[at]
		}
		more, err := e.release(ctx, l.Index, &rel, legacy, row)
		if err != nil {
			return nil, err
		}
		parts = append(parts, more...)
	}
	for i := range rows {
		if r := &rows[i].Release; !logged[r.ID] {
			e.find(unlogged(r))
		}
	}
	return parts, e.told()
}

func subject(kind FindingKind, index int64, l *tlog.Release) Finding {
	return Finding{Key: fmt.Sprintf("%s %d", kind, index), Kind: kind, Project: l.Project, Chart: l.Chart, Version: l.Version, LogIndex: index}
}

func refOf(l *tlog.Release) string { return l.Project + "/" + l.Chart + "@" + l.Version }

// unlogged is the finding of a row that the log does not have.
func unlogged(r *Release) Finding {
	return Finding{Key: fmt.Sprintf("%s %d", ReleaseUnlogged, r.ID), Kind: ReleaseUnlogged, Project: r.Project, Chart: r.Chart, Version: r.Version, LogIndex: -1, Found: r.Archive,
		Message: fmt.Sprintf("the database has the release %s, and leaf %d of the log is not of it", r.Ref(), r.ID),
		Try:     "find out who wrote it there: it came past the server; restore the database from a backup"}
}

// changed is the finding of a row that is not as its leaf says.
func changed(index int64, l *tlog.Release, d differences) Finding {
	f := subject(ReleaseChanged, index, l)
	f.Message = fmt.Sprintf("release %s is not as leaf %d of the log says: %s", refOf(l), index, strings.Join(d, ", "))
	f.Try = fmt.Sprintf("see what it was: chartkeep log show %d; restore the database from a backup", index)
	return f
}

// release compares one release, and what the database has of its bytes. It
// returns those that are in the blob store.
func (e *Examination) release(ctx context.Context, index int64, l *tlog.Release, legacy *tlog.Legacy, row *StoredRelease) ([]part, error) {
	if err := e.did(func(c *ScrubCounts) { c.Releases++ }); err != nil {
		return nil, err
	}
	if row == nil {
		f := subject(ReleaseMissing, index, l)
		f.Message, f.Try = fmt.Sprintf("the database lacks the release %s of leaf %d", refOf(l), index), "restore the database from a backup"
		e.find(f)
		row = &StoredRelease{}
	} else if d, err := e.compare(ctx, index, l, legacy, row); err != nil {
		return nil, err
	} else if len(d) > 0 {
		e.find(changed(index, l, d))
	}
	if f := e.state.fates[index]; f != nil && f.end >= 0 {
		return nil, e.told() // its bytes are gone, and should be
	}
	prov := l.Provenance
	if f := e.state.fates[index]; prov == "" && f != nil {
		prov = f.provenance
	}
	var blobs []part
	for _, p := range []struct {
		part
		rows  string // the digest by which the row found the bytes
		bytes []byte
	}{
		{part{index, l, "manifest", l.Manifest, ""}, row.Release.Manifest, row.Manifest}, {part{index, l, "config", l.Config, ""}, row.Release.Config, row.Config},
		{part{index, l, "provenance", prov, ""}, row.Release.Provenance, row.Provenance}, {part{index, l, "archive", l.Archive, ""}, "", nil},
	} {
		if p.want == "" {
			continue
		}
		if p.rows != p.want {
			p.bytes = nil
		}
		inBlobs, err := e.inDatabase(ctx, &p.part, p.bytes)
		switch {
		case err != nil:
			return nil, err
		case inBlobs:
			blobs = append(blobs, p.part)
		default:
			if err := e.settle(ctx, &p.part); err != nil {
				return nil, err
			}
		}
	}
	return blobs, e.told()
}

// compareLater names what a row says of a release's later fate that the log
// does not; f is nil where the log has nothing of it.
func (e *Examination) compareLater(ctx context.Context, l *tlog.Release, row *StoredRelease, f *fate) (differences, error) {
	d := compareState(&row.Release, l, f)
	if row.Yank == nil || f == nil || f.yank < 0 || row.Yank.LogIndex != f.yank {
		return d, nil
	}
	entry, err := e.Stored.StoredLeaves(ctx, ReleaseLog, f.yank, 1)
	if err != nil || len(entry) != 1 || !e.walk.proven(f.yank, entry[0].Entry) {
		return d, err
	}
	if leaf, err := tlog.ParseLeaf(entry[0].Entry); err == nil {
		d = append(d, compareYank(&row.Release, leaf)...)
	}
	return d, nil
}

// compare compares a release with its leaf. While it is compared people go on
// working: where something differs, the log is read on, and the row again.
func (e *Examination) compare(ctx context.Context, index int64, l *tlog.Release, legacy *tlog.Legacy, row *StoredRelease) (differences, error) {
	const patience = 5
	for try := 0; ; try++ {
		d := compareFrozen(&row.Release, l, legacy != nil)
		// What became of it may stand behind a hole, which is told.
		if !e.walk.lost {
			later, err := e.compareLater(ctx, l, row, e.state.fates[index])
			if err != nil {
				return nil, err
			}
			d = append(d, later...)
		}
		d = append(d, compareServing(row, l, legacy)...)
		if len(d) == 0 || try == patience || e.walk.lost {
			return d, nil
		}
		size := e.walk.edge.Size()
		if err := e.grow(ctx, e.walk); err != nil {
			return nil, err
		}
		if try > 0 && e.walk.edge.Size() == size {
			return d, nil
		}
		rows, err := e.Stored.StoredReleases(ctx, index, index+1)
		if err != nil {
			return nil, err
		}
		if len(rows) == 0 {
			return d, nil
		}
		*row = rows[0]
	}
}

// maxStrays bounds how many rows without a leaf one pass names.
const maxStrays = 1000

// strays looks for what the log does not have: releases outside of it, and
// tags that clients would take for releases.
func (e *Examination) strays(ctx context.Context) error {
	head, err := e.Stored.StoredHead(ctx, ReleaseLog)
	if err != nil {
		return err
	}
	rows, err := e.Stored.StoredStrays(ctx, head.Size, maxStrays)
	if err != nil {
		return err
	}
	if head, err = e.Stored.StoredHead(ctx, ReleaseLog); err != nil {
		return err
	}
	for i := range rows {
		if rows[i].ID < 0 || rows[i].ID >= head.Size { // the others are new
			e.find(unlogged(&rows[i]))
		}
	}
	named := 0
	err = e.Stored.StoredTags(ctx, func(t StoredTag) error {
		if key, _ := chart.LenientVersion(chart.VersionForTag(t.Name)); t.Release == 0 && key == "" || named == maxStrays {
			return e.told() // beside the releases, as signatures are
		}
		named++
		e.find(Finding{Key: fmt.Sprintf("%s %s:%s", TagUnlogged, t.Repository, t.Name), Kind: TagUnlogged, Project: t.Repository, Version: t.Name, LogIndex: -1, Found: t.Digest,
			Message: fmt.Sprintf("the tag %s of %s would be a release, and the log has none", t.Name, t.Repository),
			Try:     "find out who wrote it there: it came past the server; restore the database from a backup"})
		return e.told()
	})
	if err != nil {
		return err
	}
	return e.told()
}

// projects compares the projects with the newest leaves of them. Where leaves
// are missing, which is told, nobody knows which are the newest.
func (e *Examination) projects(ctx context.Context) error {
	for try := 0; !e.walk.lost; try++ {
		rows, err := e.Projects(ctx)
		if err != nil {
			return err
		}
		size := e.walk.edge.Size()
		if err := e.grow(ctx, e.walk); err != nil {
			return err
		}
		if e.walk.lost || e.walk.edge.Size() != size && try < 3 {
			continue // somebody is at work
		}
		known := map[string]bool{}
		for i := range rows {
			p := &rows[i]
			known[p.Name] = true
			l, ok := e.state.projects[p.Name]
			f := Finding{Key: fmt.Sprintf("project %s", p.Name), Kind: ProjectUnlogged, Project: p.Name, LogIndex: -1,
				Message: fmt.Sprintf("the database has the project %s, and the log does not", p.Name), Try: "restore the database from a backup"}
			if ok {
				d := compareProject(p, &l)
				if len(d) == 0 {
					continue
				}
				f.Kind, f.Message = ProjectChanged, fmt.Sprintf("project %s is not as the log says: %s", p.Name, strings.Join(d, ", "))
			}
			e.find(f)
		}
		for name := range e.state.projects {
			if !known[name] {
				e.find(Finding{Key: fmt.Sprintf("project %s", name), Kind: ProjectMissing, Project: name, LogIndex: -1,
					Message: fmt.Sprintf("the database lacks the project %s", name), Try: "restore the database from a backup"})
			}
		}
		return e.told()
	}
	return e.told()
}
