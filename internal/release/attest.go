package release

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"sync"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// attest sees to it that a release is served only as its leaf says. The first
// time that this process serves a row, the row is compared with its leaf, and
// the leaf is proven against the signed head, which costs some 0.2 ms. After
// that the same row passes by a hash of what it says: a row that says anything
// else is compared again. What does not agree is refused, recorded and told.
func (s *Service) attest(ctx context.Context, r *Release) error {
	sum := s.attested.sum(r)
	doubt := s.doubts.release(r.ID)
	if doubt == nil && s.attested.has(r.ID, sum) {
		return nil
	}
	f, proven, err := s.compareLeaf(ctx, r)
	if err != nil {
		return err
	}
	if f == nil && doubt != nil {
		f = doubt // what a scrub saw, such as a tag or the state, is not all in the row
	}
	if f == nil {
		if proven {
			s.attested.add(r.ID, sum)
		}
		return nil
	}
	if f == doubt {
		return refuseFalse(f)
	}
	return s.refuseServing(ctx, f)
}

// attestManifest is attest for a manifest, whose bytes are hashed each time: a
// microsecond for a chart's.
func (s *Service) attestManifest(ctx context.Context, m *Manifest) error {
	r := m.Release
	if r != nil {
		if err := s.attest(ctx, r); err != nil {
			return err
		}
	}
	l := tlog.Release{Project: m.Repository}
	index := int64(-1)
	if r != nil {
		l, index = tlog.Release{Project: r.Project, Chart: r.Chart, Version: r.Version}, r.LogIndex
	}
	switch {
	case r != nil && m.Digest != r.Manifest:
		f := changed(index, &l, differences{"tag stands on " + m.Digest})
		return s.refuseServing(ctx, &f)
	case !digest.Matches(m.Bytes, m.Digest):
		f := damage(&part{index, &l, "manifest", m.Digest, digest.SHA256(m.Bytes)})
		if r == nil {
			f.Message = fmt.Sprintf("the stored manifest %s of %s is not the one of that digest", m.Digest, m.Repository)
		}
		return s.refuseServing(ctx, &f)
	}
	return nil
}

// refuseServing records a finding that was made when somebody asked, and
// refuses to serve what it is about.
func (s *Service) refuseServing(ctx context.Context, f *Finding) error {
	if s.scrub.Scrubs != nil {
		if err := s.found(ctx, *f); err != nil {
			s.log.ErrorContext(ctx, "record finding", "finding", f.Message, "error", err)
		}
	}
	return refuseFalse(f)
}

// openStored opens a blob of the blob store. One that was found damaged is read
// to its end first: it is served again when it is whole again.
func (s *Service) openStored(ctx context.Context, d string) (*blob, error) {
	f, err := s.blobs.Open(ctx, d)
	if err != nil {
		if problem.KindOf(err) == problem.NotFound {
			s.doubtBytes(ctx, nil, d, "")
		}
		return nil, missing(err, d)
	}
	b := &blob{service: s, file: f, digest: d}
	if !s.doubts.blob(d) {
		return b, nil
	}
	if _, err := digest.Verified(f, d).WriteTo(io.Discard); err != nil {
		f.Close()
		return nil, err
	}
	s.doubts.whole(d)
	return b, nil
}

// damaged takes note of a blob that broke off because its bytes are not true.
func (s *Service) damaged(b *blob) {
	s.doubtBytes(context.Background(), b.of, b.digest, "damaged")
}

// doubtBytes records what was found when somebody asked for bytes.
func (s *Service) doubtBytes(ctx context.Context, of *Release, d, found string) {
	s.log.ErrorContext(ctx, "bytes are not those of the log", "digest", d, "found", found)
	if s.scrub.Scrubs == nil || s.doubts.blob(d) {
		return
	}
	index, l, what := int64(-1), tlog.Release{}, "blob"
	if of != nil {
		index, l, what = of.LogIndex, tlog.Release{Project: of.Project, Chart: of.Chart, Version: of.Version}, "archive"
	}
	f := damage(&part{index, &l, what, d, found})
	if of == nil {
		f.Message = fmt.Sprintf("the blob %s is missing", d)
		if found != "" {
			f.Message = fmt.Sprintf("the stored bytes of the blob %s are not those of that digest", d)
		}
	}
	if err := s.found(ctx, f); err != nil {
		s.log.ErrorContext(ctx, "record finding", "finding", f.Message, "error", err)
	}
}

// RuleIntegrity is the rule by which nothing is served that the log
// contradicts.
const RuleIntegrity = "integrity"

// refuseFalse is the answer to whoever asks for what is not as the log says.
func refuseFalse(f *Finding) error {
	return problem.New(problem.Disproven, RuleIntegrity, "%s", f.Message).
		Suggest("tell the operator of this server, who sees more with: chartkeep scrub status")
}

// compareLeaf compares a row with the leaves of the release; nil when they
// agree. proven is false where a leaf is so new that no head in memory has it
// yet. An error means that it could not be compared.
func (s *Service) compareLeaf(ctx context.Context, r *Release) (f *Finding, proven bool, err error) {
	none := unlogged(r)
	leaf, proven, err := s.provenLeaf(ctx, r.LogIndex)
	if falseLeaf(err) {
		return &none, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	l, legacy, ok := released(leaf)
	if !ok || l.Project != r.Project || l.Chart != r.Chart || l.Version != r.Version {
		return &none, true, nil
	}
	d := compareFrozen(r, &l, legacy != nil)
	switch {
	case r.Provenance == l.Provenance:
	case l.Provenance == "":
		same, late, err := s.lateProvenance(ctx, r)
		if err != nil {
			return nil, false, err
		}
		proven = proven && late
		d.unless(same, "provenance %s", r.Provenance)
	default:
		d.unless(false, "provenance %s", r.Provenance)
	}
	if r.Yank != nil && r.State == Yanked {
		leaf, late, err := s.provenLeaf(ctx, r.Yank.LogIndex)
		if err != nil && !falseLeaf(err) {
			return nil, false, err
		}
		proven = proven && late
		d = append(d, compareYank(r, leaf)...)
	}
	if len(d) == 0 {
		return nil, proven, nil
	}
	found := changed(r.LogIndex, &l, d)
	return &found, true, nil
}

// falseLeaf says whether an error means that the log has no such leaf, or not
// this one, rather than that it could not be read.
func falseLeaf(err error) bool {
	switch problem.KindOf(err) {
	case problem.NotFound, problem.Disproven, problem.Invalid:
		return true
	}
	return false
}

// provenLeaf reads a leaf that is in the tree that the log's key signed.
func (s *Service) provenLeaf(ctx context.Context, index int64) (leaf tlog.Leaf, proven bool, err error) {
	p, err := s.store.Prove(ctx, index)
	if err == nil {
		leaf, err = tlog.ParseLeaf(p.Leaf)
		return leaf, err == nil, err
	}
	if problem.KindOf(err) != problem.NotFound || s.scrub.Stored == nil {
		return nil, false, err
	}
	// A transaction is visible a moment before this process knows its head.
	head, herr := s.scrub.Stored.StoredHead(ctx, ReleaseLog)
	if herr != nil || index >= head.Size {
		return nil, false, err
	}
	if cp, herr := tlog.OpenCheckpoint(head.Checkpoint, s.name, s.scrub.LogKeys); herr != nil || cp.Size != head.Size {
		return nil, false, err
	}
	entry, herr := s.store.Leaf(ctx, index)
	if herr != nil {
		return nil, false, err
	}
	leaf, err = tlog.ParseLeaf(entry)
	return leaf, false, err
}

// lateProvenance says whether a leaf gives a release the provenance that its
// row has.
func (s *Service) lateProvenance(ctx context.Context, r *Release) (same, proven bool, err error) {
	if s.scrub.Stored == nil {
		return true, true, nil // a store without the way from a release to that leaf
	}
	index, err := s.scrub.Stored.LateProvenance(ctx, r.ID)
	if problem.KindOf(err) == problem.NotFound {
		return false, true, nil
	}
	if err != nil {
		return false, false, err
	}
	leaf, proven, err := s.provenLeaf(ctx, index)
	if falseLeaf(err) {
		return false, true, nil
	}
	if err != nil {
		return false, false, err
	}
	l, ok := leaf.(tlog.Attach)
	return ok && l.Index == r.LogIndex && l.Kind == tlog.AttachProvenance && l.Digest == r.Provenance, proven, nil
}

// attestedSet remembers what rows said when they were found true: 8 bytes for
// each. It is bounded; forgetting costs one more comparison.
type attestedSet struct {
	mu   sync.RWMutex
	seed maphash.Seed
	sums map[int64]uint64 // release -> hash of what its row said
}

const maxAttested = 500_000 // some 20 MB

func newAttestedSet() attestedSet {
	return attestedSet{seed: maphash.MakeSeed(), sums: map[int64]uint64{}}
}

// sum is a hash that nobody outside can foresee, over everything that compareLeaf looks at.
func (a *attestedSet) sum(r *Release) uint64 {
	var h maphash.Hash
	h.SetSeed(a.seed)
	text := func(parts ...string) {
		for _, p := range parts {
			h.WriteString(p)
			h.WriteByte(0) // no name and no digest has it
		}
	}
	number := func(n int64) {
		var b [8]byte
		for i := range b {
			b[i] = byte(n >> (8 * i))
		}
		h.Write(b[:])
	}
	text(r.Project, r.Chart, r.Version, r.Archive, r.Content, r.Manifest, r.Config, r.Provenance, r.Publisher, r.File, r.Tag, r.Key, r.SortKey, string(r.State))
	number(r.Size)
	number(r.Time.UnixMilli())
	if r.Legacy {
		h.WriteByte(1)
	}
	if y := r.Yank; y != nil {
		text(y.Reason, y.Text, y.By)
		number(y.LogIndex)
		number(y.Time.UnixMilli())
	}
	return h.Sum64()
}

func (a *attestedSet) has(id int64, sum uint64) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	known, ok := a.sums[id]
	return ok && known == sum
}

func (a *attestedSet) add(id int64, sum uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.sums) >= maxAttested {
		clear(a.sums)
	}
	a.sums[id] = sum
}

// doubtSet is what is known to be wrong: releases that are not served, and
// bytes that are not served before they were read whole.
type doubtSet struct {
	mu       sync.RWMutex
	open     map[string]bool // by key
	releases map[int64]*Finding
	blobs    map[string]bool // by digest
}

func (d *doubtSet) set(open []Finding) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open, d.releases, d.blobs = map[string]bool{}, map[int64]*Finding{}, map[string]bool{}
	for i := range open {
		d.put(&open[i])
	}
}

func (d *doubtSet) add(f *Finding) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil {
		d.open, d.releases, d.blobs = map[string]bool{}, map[int64]*Finding{}, map[string]bool{}
	}
	g := *f
	d.put(&g)
}

func (d *doubtSet) put(f *Finding) {
	d.open[f.Key] = true
	switch {
	case f.Kind == BytesChanged || f.Kind == BytesMissing:
		d.blobs[f.Logged] = true
	case f.Kind.blocks() && f.LogIndex >= 0:
		d.releases[f.LogIndex] = f
	}
}

func (d *doubtSet) release(id int64) *Finding {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.releases[id]
}

func (d *doubtSet) blob(digest string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.blobs[digest]
}

// whole takes a blob out that was read and found true.
func (d *doubtSet) whole(digest string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.blobs, digest)
}

func (d *doubtSet) count() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.open)
}
