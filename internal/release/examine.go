package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
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
	// Progress is told after every release of the third step; nil for nobody.
	// Its error ends the examination.
	Progress func() error

	walk   *logWalk
	state  *ledgerState
	count  *ScrubCounts
	pace   pacer
	buffer []byte
	sum    hash.Hash

	mu       sync.Mutex // held to tell what was found: two steps go on at once
	findings int64
	failed   error // of Find
}

// hashBuffer is what is read of a blob at a time.
const hashBuffer = 256 << 10

// Run examines everything. st says where the third step begins, and is kept up
// to date. An error means that something could not be checked; findings are
// none.
func (e *Examination) Run(ctx context.Context, st *ScrubState) error {
	e.state, e.count = newLedgerState(), &st.Done
	e.buffer, e.sum, e.pace = make([]byte, hashBuffer), sha256.New(), pacer{rate: e.Rate}
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
	trail := make(chan error, 1)
	go func() { trail <- e.examineTrail(ctx) }()
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
	e.count.Leaves += e.count.Events
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

// examineReleases compares the releases from st.Next on. The next page is read
// while the blobs of one are hashed.
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
	for p := range pages {
		if p.err != nil {
			return p.err
		}
		if err := e.page(ctx, &p); err != nil {
			return err
		}
		st.Next = p.to
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
	e.count.Leaves++
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

// page compares the releases of a page with their leaves, and hashes what
// they name.
func (e *Examination) page(ctx context.Context, p *storedPage) error {
	rows := p.rows
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
		if err := e.release(ctx, l.Index, &rel, legacy, row); err != nil {
			return err
		}
		if e.Progress != nil {
			if err := e.Progress(); err != nil {
				return err
			}
		}
	}
	for i := range rows {
		if r := &rows[i].Release; !logged[r.ID] {
			e.find(unlogged(r))
		}
	}
	return e.told()
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

// release compares one release, and hashes its bytes.
func (e *Examination) release(ctx context.Context, index int64, l *tlog.Release, legacy *tlog.Legacy, row *StoredRelease) error {
	e.count.Releases++
	if row == nil {
		f := subject(ReleaseMissing, index, l)
		f.Message, f.Try = fmt.Sprintf("the database lacks the release %s of leaf %d", refOf(l), index), "restore the database from a backup"
		e.find(f)
		row = &StoredRelease{}
	} else if d, err := e.compare(ctx, index, l, legacy, row); err != nil {
		return err
	} else if len(d) > 0 {
		e.find(changed(index, l, d))
	}
	if f := e.state.fates[index]; f != nil && f.end >= 0 {
		return e.told() // its bytes are gone, and should be
	}
	prov := l.Provenance
	if f := e.state.fates[index]; prov == "" && f != nil {
		prov = f.provenance
	}
	for _, part := range []struct {
		what, digest string
		rows         string // the digest by which the row found the bytes
		bytes        []byte
	}{
		{"manifest", l.Manifest, row.Release.Manifest, row.Manifest}, {"config", l.Config, row.Release.Config, row.Config},
		{"provenance", prov, row.Release.Provenance, row.Provenance}, {"archive", l.Archive, "", nil},
	} {
		if part.digest == "" {
			continue
		}
		if part.rows != part.digest {
			part.bytes = nil
		}
		found, err := e.found(ctx, l, part.what, part.digest, part.bytes)
		if err != nil {
			return err
		}
		if found != part.digest {
			e.find(damage(index, l, part.what, part.digest, found))
		}
	}
	return e.told()
}

// found is the digest of what is stored under a digest, in the database or in
// the blob store; "" when nothing is. b is what the database is known to have.
func (e *Examination) found(ctx context.Context, l *tlog.Release, what, want string, b []byte) (string, error) {
	var err error
	switch {
	case b != nil || what == "archive":
	case what == "manifest":
		b, err = e.Stored.StoredManifest(ctx, l.Project+"/"+l.Chart, want)
	default:
		b, err = e.Stored.SmallBlob(ctx, want)
	}
	switch {
	case err != nil && problem.KindOf(err) != problem.NotFound:
		return "", err
	case b == nil && what == "manifest":
		return "", nil
	case b == nil:
		return e.hash(ctx, want)
	case digest.Matches(b, want):
		return want, nil
	}
	return digest.SHA256(b), nil
}

// damage is the finding of bytes that are not those of the log, or are gone.
func damage(index int64, l *tlog.Release, what, want, found string) Finding {
	f := subject(BytesMissing, index, l)
	f.Logged, f.Found = want, found
	f.Message = fmt.Sprintf("the %s of %s is missing: %s", what, refOf(l), want)
	if found != "" {
		f.Kind = BytesChanged
		f.Message = fmt.Sprintf("the stored %s of %s is not the one in the log", what, refOf(l))
	}
	f.Key = "bytes " + want // missing or damaged, it is the same thing until it is whole
	f.Try = "bring the bytes back from any folder that has them: chartkeep fsck --data DIR --restore-from FOLDER"
	if what == "manifest" {
		f.Try = "restore the database from a backup"
	}
	return f
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

// hash reads a blob and returns its digest, "" when there is none.
func (e *Examination) hash(ctx context.Context, want string) (string, error) {
	f, err := e.Blobs.Open(ctx, want)
	switch problem.KindOf(err) {
	case problem.NotFound:
		return "", nil
	case problem.Disproven:
		return "unreadable", nil
	}
	if err != nil {
		return "", fmt.Errorf("check blob %s: %w", want, err)
	}
	defer f.Close()
	alg, _, err := digest.Split(want)
	if err != nil {
		return "", err
	}
	sum := e.sum
	if alg != "sha256" {
		if sum, err = digest.NewHash(alg); err != nil {
			return "", err
		}
	}
	sum.Reset()
	for {
		n, err := f.Read(e.buffer)
		sum.Write(e.buffer[:n]) // a hash never fails
		e.count.Bytes += int64(n)
		if werr := e.pace.wait(ctx, n); werr != nil {
			return "", werr
		}
		if err == io.EOF {
			break
		}
		if problem.KindOf(err) == problem.Disproven {
			return "unreadable", nil
		}
		if err != nil {
			return "", fmt.Errorf("check blob %s: %w", want, err)
		}
	}
	e.count.Blobs++
	return alg + ":" + hex.EncodeToString(sum.Sum(nil)), nil
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

// pacer keeps reading to a rate. It belongs to one goroutine.
type pacer struct {
	rate int64 // bytes a second; 0 is no bound
	read int64
	from time.Time
}

// wait takes note of bytes that were read, and waits when they were too many.
func (p *pacer) wait(ctx context.Context, n int) error {
	if p.rate <= 0 {
		return ctx.Err()
	}
	if p.from.IsZero() {
		p.from = time.Now()
	}
	p.read += int64(n)
	ahead := time.Duration(float64(p.read)/float64(p.rate)*float64(time.Second)) - time.Since(p.from)
	const grain = 20 * time.Millisecond // shorter pauses cost more than they save
	if ahead < grain {
		if ahead < -time.Second { // what was not used is not saved up
			p.read, p.from = 0, time.Now()
		}
		return ctx.Err()
	}
	t := time.NewTimer(ahead)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
