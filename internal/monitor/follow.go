package monitor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	sumdb "golang.org/x/mod/sumdb/tlog"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/history"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

const (
	areaLog = "log"
	// answerTime is how long a small answer may take.
	answerTime = time.Minute
	// segmentBytes is how much of the log is held before it is authenticated
	// and replayed.
	segmentBytes = 32 << 20
	// skew is how far the clocks of a log and a reader may differ.
	skew = 10 * time.Minute
)

// within bounds a small request.
func (r *round) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.ctx, answerTime)
}

// checkpoint fetches the newest checkpoint into the round. It reports whether
// the log's key signed it.
func (m *Monitor) checkpoint(r *round) bool {
	ctx, done := r.within()
	defer done()
	text, err := m.c.Checkpoint(ctx)
	if err != nil {
		r.failed("the checkpoint could not be fetched", err)
		return false
	}
	r.cp, err = tlog.OpenCheckpoint(text, m.origin, m.verifiers())
	if problem.KindOf(err) == problem.Disproven {
		f := m.finding(RuleSignature, areaLog, "", "%s", messageOf(err))
		e := client.Evidence{Kind: client.EvidenceAnswer, Found: f.Message, Newer: string(text)}
		m.keep(r, f, &e)
		m.raise(r, f)
		r.uncheck("the log was not followed: its checkpoint is not signed by a known key")
		return false
	}
	if err != nil {
		r.failed("the checkpoint cannot be read", err)
		return false
	}
	m.quorum(r, text)
	return true
}

// quorum checks the witnesses' cosignatures.
func (m *Monitor) quorum(r *round, text []byte) {
	const area = "witnesses"
	if m.Policy == nil {
		return
	}
	w, err := m.Policy.Check(text, m.origin, m.verifiers())
	if err != nil {
		m.raise(r, m.finding(RuleQuorum, area, "false", "%s", messageOf(err)))
		return
	}
	for _, c := range w.Cosigned {
		r.report.Cosigned = append(r.report.Cosigned, c.Name)
	}
	r.checked[area] = true
	if !w.Quorum {
		m.doubt(r, m.finding(RuleQuorum, area, "", "too few witnesses cosigned the log of %d leaves", w.Checkpoint.Size).
			with("cosigned", "%s", orNone(r.report.Cosigned)).with("missing", "%s", orNone(w.Missing)))
	}
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func messageOf(err error) string {
	if p, ok := problem.As(err); ok {
		return p.Message
	}
	return err.Error()
}

// grow checks that the log of the round's checkpoint continues what is known,
// and replays what is new. It reports whether the log was read to its end. The
// error is one of the folder.
func (m *Monitor) grow(r *round) (bool, error) {
	known, err := m.st.checkpoint()
	if err != nil {
		return false, err
	}
	if !m.continues(r, known) {
		return false, nil
	}
	if m.st.Began < 0 {
		m.st.Began = r.cp.Size
		if m.Depth != ArchivesAll {
			m.st.Cursor = r.cp.Size
		}
	}
	for m.log.edge.Size() < r.cp.Size {
		ok, err := m.segment(r, known)
		if err != nil || !ok {
			return false, err
		}
	}
	if m.st.Checkpoint == "" || r.cp.Size > known.Size {
		m.st.Checkpoint = string(r.cp.Note)
	}
	r.checked[areaLog] = true
	m.judgeKeys(r)
	if at := m.log.replay.Time(); at.After(r.now.Add(skew)) {
		m.raise(r, m.finding(RuleClock, areaLog, "", "the newest leaf is from %s, and here it is %s", stamp(at), stamp(r.now)))
	}
	if n := m.log.replay.Unknown(); n > 0 {
		m.raise(r, m.finding(RuleUnknown, areaLog, "", "%d leaves are not known to this version, and what they say was not checked", n))
		r.uncheck("%d leaves are of a type that this version does not know", n)
	}
	return true, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// continues compares the round's checkpoint with the one that is known, as far
// as that can be done before anything is fetched.
func (m *Monitor) continues(r *round, known tlog.Checkpoint) bool {
	switch {
	case r.cp.Size == known.Size && r.cp.Root != known.Root:
		m.fork(r, known, r.cp)
		return false
	case r.cp.Size >= known.Size:
		return true
	}
	ctx, done := r.within()
	defer done()
	f := m.finding(RuleRollback, areaLog, fmt.Sprint(known.Size), "the server shows a log of %d leaves, and it had %d", r.cp.Size, known.Size).
		with("checkpoint", "%d %s", r.cp.Size, r.cp.Root).with("checkpoint before", "%d %s", known.Size, known.Root)
	e, err := m.c.Fork(ctx, r.cp, known)
	switch {
	case err == nil && e != nil:
		m.forked(r, e)
		return false
	case err == nil:
		f.with("consistent", "yes: it is how the log was earlier")
	default:
		f.with("consistent", "not known: the server does not prove it")
	}
	m.doubt(r, f) // a cache may answer once
	r.uncheck("the log was not followed: the server shows an older state of it, of %d leaves", r.cp.Size)
	return false
}

// fork records two checkpoints of which the evidence is that they are there.
func (m *Monitor) fork(r *round, older, newer tlog.Checkpoint) {
	m.bundles = bundleCache{}
	ctx, done := r.within()
	defer done()
	e, err := m.c.Fork(ctx, older, newer)
	if err != nil || e == nil {
		r.uncheck("the log was not followed: what the server sends does not continue what it signed before")
		f := m.finding(RuleEntries, areaLog, newer.Root.String(), "the entries that the server sends do not lead to the root that it signed")
		f.with("checkpoint", "%d %s", newer.Size, newer.Root)
		m.raise(r, f)
		return
	}
	m.forked(r, e)
}

func (m *Monitor) forked(r *round, e *client.Evidence) {
	f := m.finding(RuleFork, areaLog, e.Older+e.Newer, "%s", e.Found)
	m.keep(r, f, e)
	f.Standing = true
	m.raise(r, f)
	r.uncheck("the log is not followed any further: it was forked")
}

// segment fetches entries up to the end, to the size that is known, or to its
// limit, authenticates them by the root that the tree had there, and replays
// them.
func (m *Monitor) segment(r *round, known tlog.Checkpoint) (bool, error) {
	edge := m.log.edge.Clone()
	var entries [][]byte
	var roots []tlog.Hash
	bytes := 0
	for edge.Size() < r.cp.Size && bytes < segmentBytes && (edge.Size() == m.log.edge.Size() || edge.Size() != known.Size) {
		if r.ctx.Err() != nil {
			return false, nil
		}
		n := edge.Size() / tlog.TileHashes
		width := tlog.TileWidth(r.cp.Size, 0, n)
		if known.Size > edge.Size() { // not beyond what is known
			width = tlog.TileWidth(known.Size, 0, n)
		}
		bundle, err := m.fetchBundle(r, n, width)
		if err != nil {
			r.failed(fmt.Sprintf("the entries of bundle %d could not be fetched", n), err)
			return false, nil
		}
		for _, e := range bundle[edge.Size()%tlog.TileHashes:] {
			for _, t := range edge.Append(tlog.LeafHash(e)) {
				if t.Level == 0 {
					roots = append(roots, t.Root)
				}
			}
			entries = append(entries, e)
			bytes += len(e)
		}
	}
	root, ok := m.rootAt(r, known, edge.Size())
	if !ok {
		return false, nil
	}
	if edge.Root() != root {
		m.fork(r, known, r.cp)
		return false, nil
	}
	from := m.log.edge.Size()
	m.log.edge, m.log.bundles = edge, append(m.log.bundles, roots...)
	for i, e := range entries {
		m.replay(r, from+int64(i), e)
	}
	if edge.Size() <= m.st.Size {
		return true, nil // it was replayed before the last start
	}
	m.st.Size, m.st.Root = edge.Size(), root.String()
	if m.st.Checkpoint == "" || known.Size < edge.Size() {
		m.st.Checkpoint = string(r.cp.Note)
	}
	if edge.Size() == r.cp.Size {
		return true, nil // the round saves it with what else it finds
	}
	return true, m.save()
}

// rootAt is the root that the log had at a size, as its signed checkpoints say.
func (m *Monitor) rootAt(r *round, known tlog.Checkpoint, size int64) (tlog.Hash, bool) {
	switch size {
	case r.cp.Size:
		return r.cp.Root, true
	case known.Size:
		return known.Root, true
	case m.st.Size:
		if h, err := sumdb.ParseHash(m.st.Root); err == nil {
			return h, true
		}
	}
	ctx, done := r.within()
	defer done()
	root, err := m.c.Prefix(ctx, r.cp, size)
	if err != nil {
		r.failed(fmt.Sprintf("the root at %d leaves could not be worked out", size), err)
		return root, false
	}
	return root, true
}

// replay takes a leaf that is proven to be in the log. What was taken before a
// restart raises nothing again.
func (m *Monitor) replay(r *round, index int64, entry []byte) {
	leaf, err := tlog.ParseLeaf(entry)
	violations := m.log.replay.AddLeaf(index, leaf, err)
	if index < m.st.Size {
		return
	}
	r.report.Leaves++
	for i, v := range violations {
		m.violation(r, &v, i)
	}
	if err != nil {
		return
	}
	if project, ok := projectOf(leaf); ok {
		m.touched[project] = true
	}
	switch l := leaf.(type) {
	case tlog.Release:
		m.await(index, &l)
	case tlog.Legacy:
		m.await(index, &l.Release)
	}
}

// projectOf names the project whose index a leaf may change.
func projectOf(leaf tlog.Leaf) (string, bool) {
	switch l := leaf.(type) {
	case tlog.Release:
		return l.Project, true
	case tlog.Legacy:
		return l.Project, true
	case tlog.Attach:
		return l.Project, true
	case tlog.Yank:
		return l.Project, true
	case tlog.Unyank:
		return l.Project, true
	case tlog.Quarantine:
		return l.Project, true
	case tlog.Tombstone:
		return l.Project, true
	case tlog.Project:
		return l.Name, true
	}
	return "", false
}

// violation raises what a leaf breaks, with proofs of the leaves.
func (m *Monitor) violation(r *round, v *history.Violation, n int) {
	f := m.finding(v.Rule, "", fmt.Sprint(v.Index, " ", n), "%s", v.Message)
	f.Standing, f.Index, f.Facts = true, v.Index, slices.Clone(v.Facts)
	f.Project, f.Chart, f.Version = divide(v.Subject)
	if v.First >= 0 {
		f.with("other leaf", "%d", v.First)
	}
	if r.count[f.Rule] < maxPerRule {
		e := client.Evidence{Kind: client.EvidenceAnswer, Found: v.Message, Release: v.Subject}
		if v.Rule == history.RuleSecond {
			e.Kind = client.EvidenceEntry
		}
		for _, index := range []int64{v.First, v.Index} {
			if index < 0 {
				continue
			}
			ctx, done := r.within()
			p, err := m.c.EntryProof(ctx, r.cp, index)
			done()
			if err != nil {
				r.failed(fmt.Sprintf("leaf %d could not be proven for the evidence", index), err)
				continue
			}
			e.Proofs = append(e.Proofs, string(p.Marshal()))
		}
		m.keep(r, f, &e)
	}
	m.raise(r, f)
}

// divide takes the subject of a violation apart.
func divide(subject string) (project, chartName, version string) {
	name, version, isRelease := strings.Cut(subject, "@")
	if !isRelease {
		if subject == "log" {
			return "", "", ""
		}
		return subject, "", ""
	}
	cut := strings.LastIndexByte(name, '/')
	if cut < 0 {
		return name, "", version
	}
	return name[:cut], name[cut+1:], version
}

// judgeKeys holds the checkpoint's signatures against the rotations of the log.
func (m *Monitor) judgeKeys(r *round) {
	keys := m.log.replay.Keys()
	if len(keys) == 0 {
		return
	}
	signed := signers(r.cp.Note, m.origin, keys)
	for i, v := range m.log.replay.Signed(signed...) {
		f := m.finding(v.Rule, areaLog, fmt.Sprint(r.cp.Size, " ", i), "%s", v.Message)
		f.Facts = slices.Clone(v.Facts)
		e := client.Evidence{Kind: client.EvidenceAnswer, Found: v.Message, Newer: string(r.cp.Note)}
		m.keep(r, f, &e)
		f.Standing = true
		m.raise(r, f)
	}
	for _, k := range m.Config.Keys {
		if !slices.ContainsFunc(keys, func(h history.Key) bool { return h.Verifier == strings.TrimSpace(k) }) {
			m.raise(r, m.finding(RuleKey, areaLog, k, "the key that is trusted is none of the keys that the log's rotations name").with("key", "%s", k))
		}
	}
}

// signers are those of the keys whose signatures of a note hold.
func signers(text []byte, origin string, keys []history.Key) []string {
	var out []string
	for _, k := range keys {
		v, err := tlog.NewVerifier(k.Verifier)
		if err != nil || v.Name() != origin {
			continue
		}
		if _, err := tlog.OpenCheckpoint(text, origin, note.VerifierList(v)); err == nil {
			out = append(out, k.Verifier)
		}
	}
	return out
}

// bundleCache holds the bundles that were fetched last: the new leaves of a
// round are read once to replay them and once for their archives.
type bundleCache struct {
	n       [4]int64
	entries [4][][]byte
	next    int
}

func (c *bundleCache) get(n int64, width int) [][]byte {
	for i, e := range c.entries {
		if c.n[i] == n && len(e) >= width && width > 0 {
			return e[:width]
		}
	}
	return nil
}

func (c *bundleCache) put(n int64, entries [][]byte) {
	c.n[c.next], c.entries[c.next] = n, entries
	c.next = (c.next + 1) % len(c.n)
}

func (m *Monitor) fetchBundle(r *round, n int64, width int) ([][]byte, error) {
	if e := m.bundles.get(n, width); e != nil {
		return e, nil
	}
	ctx, done := r.within()
	defer done()
	e, err := m.c.Entries(ctx, n, width)
	if err == nil {
		m.bundles.put(n, e)
	}
	return e, err
}

// leaf returns a leaf of the part of the log that was replayed. It is fetched,
// and held against the hashes that are kept.
func (m *Monitor) leaf(r *round, index int64) (tlog.Leaf, error) {
	n := index / tlog.TileHashes
	entries, err := m.fetchBundle(r, n, tlog.TileWidth(m.log.edge.Size(), 0, n))
	if err != nil {
		return nil, err
	}
	area := "bundle:" + itoa(n)
	r.checked[area] = true
	if !m.log.holds(n, entries) {
		m.bundles = bundleCache{}
		f := m.finding(RuleEntries, area, area, "the entries of bundle %d are not those that the server sent before", n)
		m.raise(r, f)
		return nil, problem.New(problem.Disproven, RuleEntries, "the entries of bundle %d are not those that the server sent before", n)
	}
	return tlog.ParseLeaf(entries[index%tlog.TileHashes])
}

// holds reports whether a bundle is that of the log.
func (l *replica) holds(n int64, entries [][]byte) bool {
	edge, _ := tlog.NewEdge(0, nil)
	var root tlog.Hash
	for _, e := range entries {
		for _, t := range edge.Append(tlog.LeafHash(e)) {
			root = t.Root
		}
	}
	if n < int64(len(l.bundles)) {
		return len(entries) == tlog.TileHashes && root == l.bundles[n]
	}
	return slices.Equal(edge.Levels()[0], l.edge.Levels()[0])
}
