package sqlstore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// batch is one transaction of the sequencer on its way.
type batch struct {
	ctx      context.Context
	store    *Store
	w        *writer
	clock    time.Time
	logs     [auditLog + 1]*growth
	projects map[int64]*batchProject
	// repositories are the ids of those that were found or made in this batch.
	repositories map[string]int64
	bulk         []bulkRows
	created      bool              // there is a new project
	restated     bool              // what a memo may hold was changed
	witnessed    *release.Cosigned // as this batch leaves it; nil when it did not touch it
}

// maxRepositories bounds the ids of repositories in memory: some 100 bytes each.
const maxRepositories = 100_000

// batchProject is a project as the operations of a batch see and change it. It
// is written once, at the end.
type batchProject struct {
	release.Project
	changed   bool
	policyWas string // digest of the policy that was read
}

// growth is what a batch adds to one log.
type growth struct {
	log   int
	base  *logState
	time  time.Time // of the newest leaf
	edge  *tlog.Edge
	leafs []any // idx, hash, entry … of the rows to insert
	tiles []tlog.Tile
	state *logState // after finish

	// kept is the checkpoint of what a recovery replayed: it was signed before,
	// and nothing else is signed. written are the tiles that have their rows.
	kept    []byte
	written int
}

// lock takes both logs' heads, so that batches of several processes follow
// each other. Every durable batch does it first, so there is one lock order.
func (b *batch) lock() error {
	if err := b.store.refuse(); err != nil {
		return err
	}
	for log := releaseLog; log <= auditLog; log++ {
		row := func(ctx context.Context, query string, args ...any) scanner {
			return b.w.row(ctx, query+b.store.dialect.forUpdate(), args...)
		}
		known := b.store.known(log)
		var st *logState
		var err error
		if b.store.remote(log) {
			st, err = b.store.readTail(b.ctx, row)
		} else {
			st, err = b.store.readHead(b.ctx, log, row)
		}
		if err != nil {
			return err
		}
		if known != nil && (st.size < known.size || st.size == known.size && st.root != known.root) {
			return b.store.rolledBack(log, known, st)
		}
		b.logs[log] = &growth{log: log, base: st, time: st.time}
	}
	return nil
}

// time is a time for a leaf, in whole seconds. It never runs backwards along
// the log, whatever the clocks do and in whatever order operations came.
func (b *batch) time(now time.Time) time.Time {
	if now.IsZero() {
		now = b.clock
	}
	now = now.UTC().Truncate(time.Second)
	g := b.logs[releaseLog]
	if now.Before(g.time) {
		return g.time
	}
	g.time = now
	return now
}

// next is the index that the next append to a log will get.
func (b *batch) next(log int) int64 {
	g := b.logs[log]
	if g.edge == nil {
		return g.base.size
	}
	return g.edge.Size()
}

// append adds a leaf to a log and returns its index.
func (b *batch) append(log int, entry []byte) int64 {
	g := b.logs[log]
	if g.edge == nil {
		g.edge = g.base.edge.Clone()
	}
	index := g.edge.Size()
	h := tlog.LeafHash(entry)
	g.tiles = append(g.tiles, g.edge.Append(h)...)
	g.leafs = append(g.leafs, log, index, h[:], entry)
	return index
}

// appendLeaf adds a leaf to the release log.
func (b *batch) appendLeaf(leaf interface{ Marshal() ([]byte, error) }) (int64, error) {
	entry, err := leaf.Marshal()
	if err != nil {
		return 0, err
	}
	return b.append(releaseLog, entry), nil
}

// record adds an audit event, its row to be asked for, and its outbox row.
func (b *batch) record(ev audit.Event) error {
	if ev.Time.IsZero() {
		ev.Time = b.clock
	}
	var salt [16]byte
	rand.Read(salt[:]) // never fails
	ev.Source = ev.Source.Bound()
	ev.SourceDigest = ev.Source.Commit(salt)
	if ev.ID == "" {
		var err error
		if ev.ID, err = audit.NewID(ev.Time, rand.Reader); err != nil {
			return err
		}
	}
	entry, err := ev.Encode()
	if err != nil {
		return fmt.Errorf("encode audit event: %w", err)
	}
	idx := b.append(auditLog, entry)
	b.insert("INSERT INTO audit (idx, time, action, outcome, project, chart, version, actor, ip, agent, salt) VALUES",
		idx, millis(ev.Time), string(ev.Name), string(ev.Outcome.Result), plain(ev.Resource.Project), plain(ev.Resource.Chart), plain(ev.Resource.Version),
		ev.Actor.ID, ev.Source.IP, ev.Source.UserAgent, salt[:])
	b.insert("INSERT INTO outbox (idx) VALUES", idx)
	return nil
}

// maxPlain bounds what of a refused name is kept to be asked for, in bytes.
const maxPlain = 256

// plain makes text that somebody sent, and that may have been refused for what
// it is, fit for a column: PostgreSQL takes neither NUL nor broken UTF-8.
func plain(s string) string {
	if len(s) > maxPlain {
		s = s[:maxPlain]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

// project reads a project inside a batch, once.
func (b *batch) project(id int64) (*batchProject, error) {
	if p := b.projects[id]; p != nil {
		return p, nil
	}
	return b.readProject("id", id)
}

// standing reads a project that must not be removed: whoever asked before saw
// it stand, and the removal may have come in between.
func (b *batch) standing(id int64) (p *batchProject, refusal, err error) {
	p, err = b.project(id)
	if err == nil && p.State == release.ProjectRemoved {
		refusal = release.RefuseRemoved(p.Name)
	}
	return p, refusal, err
}

func (b *batch) readProject(column string, value any) (*batchProject, error) {
	p, err := scanProject(b.w.row(b.ctx, selectProject+" WHERE "+column+" = ?", value))
	if err != nil {
		return nil, err
	}
	if known := b.projects[p.ID]; known != nil {
		return known, nil
	}
	if b.projects == nil {
		b.projects = map[int64]*batchProject{}
	}
	b.projects[p.ID] = &batchProject{Project: p, policyWas: p.PolicyDigest}
	return b.projects[p.ID], nil
}

// generation is the one that the changes of this batch to a project get: all of
// them become visible together.
func (p *batchProject) generation() int64 {
	if p.changed {
		return p.Generation
	}
	return p.Generation + 1
}

// change notes that readers of a project see something new from now on.
func (b *batch) change(p *batchProject) {
	p.Generation = p.generation()
	p.changed = true
	if b.clock.After(p.Changed) {
		p.Changed = b.clock.UTC().Truncate(time.Millisecond)
	}
}

// bulkRows are rows that are inserted together when the batch ends, or when
// an operation wants to read what others wrote.
type bulkRows struct {
	into   string // "INSERT INTO t (a, b) VALUES" and what follows after "|"
	width  int
	values []any
	held   func(row []any) error // nil, or called for rows of which some were there already
}

// bulkChunk is how many rows one statement inserts at most. Sizes are powers
// of two, so that few texts are prepared.
const bulkChunk = 64

// insert adds a row to be inserted and returns where in bulk it stands. "ON
// CONFLICT …" may follow VALUES after a bar.
func (b *batch) insert(into string, values ...any) int {
	for i := range b.bulk {
		if b.bulk[i].into == into {
			b.bulk[i].values = append(b.bulk[i].values, values...)
			return i
		}
	}
	b.bulk = append(b.bulk, bulkRows{into: into, width: len(values), values: slices.Clone(values)})
	return len(b.bulk) - 1
}

func (b *batch) flush() error {
	for i := range b.bulk {
		r := &b.bulk[i]
		if err := b.flushRows(r); err != nil {
			return err
		}
		r.values = r.values[:0]
	}
	return nil
}

func (b *batch) flushRows(r *bulkRows) error {
	head, tail, _ := strings.Cut(r.into, "|")
	width, values := r.width, r.values
	for len(values) > 0 {
		rows := bulkChunk
		for rows*width > len(values) {
			rows /= 2
		}
		n, err := b.w.exec(b.ctx, b.store.dialect.abandon(bulkText(head, tail, width, rows)), values[:rows*width]...)
		if err != nil {
			return err
		}
		if r.held != nil && n < int64(rows) {
			for row := range slices.Chunk(values[:rows*width], width) {
				if err := r.held(row); err != nil {
					return err
				}
			}
		}
		values = values[rows*width:]
	}
	return nil
}

var bulkTuples = func() (t [20]string) {
	for i := range t {
		t[i] = "(" + strings.TrimSuffix(strings.Repeat("?,", i), ",") + ")"
	}
	return t
}()

func bulkText(head, tail string, width, rows int) string {
	var b strings.Builder
	b.Grow(len(head) + len(tail) + rows*(2*width+2))
	b.WriteString(head)
	for i := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(bulkTuples[width])
	}
	b.WriteString(tail)
	return b.String()
}

// finish writes what the operations left: rows, leaves, tiles, and for each
// log that grew one signed checkpoint.
func (b *batch) finish() error {
	if err := b.flush(); err != nil {
		return err
	}
	if err := b.updateProjects(); err != nil {
		return err
	}
	for log := releaseLog; log <= auditLog; log++ {
		g := b.logs[log]
		if g == nil || g.edge == nil {
			continue
		}
		if err := b.writeGrowth(g); err != nil {
			return err
		}
		st := &logState{size: g.edge.Size(), time: g.time, root: g.edge.Root(), edge: g.edge}
		var err error
		if st.checkpoint = g.kept; g.kept == nil && b.store.remote(log) {
			if err := b.advance(g, st); err != nil {
				return err
			}
			continue
		} else if g.kept == nil {
			if st.checkpoint, err = tlog.SignCheckpoint(b.store.origin(log), st.size, st.root, b.store.signers(log, b.clock)...); err != nil {
				return fmt.Errorf("sign checkpoint: %w", err)
			}
		}
		n, err := b.w.exec(b.ctx, "UPDATE head SET size = ?, root = ?, checkpoint = ?, time = ? WHERE log = ? AND size = ?",
			st.size, st.root[:], st.checkpoint, millis(st.time), log, g.base.size)
		if err != nil {
			return err
		}
		if n != 1 {
			return movedHead()
		}
		g.state = st
	}
	return nil
}

// advance moves a head whose checkpoint another process signs, after the commit.
func (b *batch) advance(g *growth, st *logState) error {
	n, err := b.w.exec(b.ctx, "UPDATE head SET size = ?, root = ?, time = ? WHERE log = ? AND size = ?", st.size, st.root[:], millis(st.time), g.log, g.base.size)
	if err == nil && n != 1 {
		err = movedHead()
	}
	g.state = st
	return err
}

func movedHead() error {
	return problem.New(problem.Unavailable, "log-head", "another process moved the log at the same time; nothing was changed").
		Suggest("repeat the request; if this goes on, see that one database is used by one kind of chartkeep alone")
}

// writeGrowth inserts the leaves and tiles of a log that have no rows yet.
func (b *batch) writeGrowth(g *growth) error {
	if err := b.flushRows(&bulkRows{into: "INSERT INTO leaf (log, idx, hash, entry) VALUES", width: 4, values: g.leafs}); err != nil {
		return err
	}
	g.leafs = g.leafs[:0]
	for _, t := range g.tiles[g.written:] {
		if _, err := b.w.exec(b.ctx, "INSERT INTO tile (log, level, n, hashes, root) VALUES (?, ?, ?, ?, ?)",
			g.log, t.Level, t.N, tlog.TileBytes(t.Hashes), t.Root[:]); err != nil {
			return err
		}
	}
	g.written = len(g.tiles)
	return nil
}

// updateProjects writes the projects that the batch changed.
func (b *batch) updateProjects() error {
	for id, p := range b.projects {
		if !p.changed {
			continue
		}
		policy, err := json.Marshal(p.Policy)
		if err != nil {
			return err
		}
		if _, err := b.w.exec(b.ctx, "UPDATE project SET public = ?, state = ?, policy = ?, policy_digest = ?, artifacthub = ?, generation = ?, changed = ? WHERE id = ?",
			flag(p.Public), string(p.State), string(policy), p.PolicyDigest, p.ArtifactHubID, p.Generation, millis(p.Changed), id); err != nil {
			return err
		}
		if p.PolicyDigest == p.policyWas {
			continue
		}
		if err := b.keepPolicy(&p.Project); err != nil {
			return err
		}
	}
	return nil
}

// committed makes what the batch wrote known to this process's readers.
func (b *batch) committed() {
	for log := releaseLog; log <= auditLog; log++ {
		if g := b.logs[log]; g != nil && g.state != nil {
			if b.store.remote(log) {
				b.store.tail.Store(g.state)
			}
			if g.state.checkpoint != nil {
				b.store.logs[log].Store(g.state)
			}
		}
	}
	if len(b.store.repositories)+len(b.repositories) > maxRepositories {
		clear(b.store.repositories)
	}
	maps.Copy(b.store.repositories, b.repositories)
	if b.witnessed != nil {
		b.store.cosigned.Store(b.witnessed)
	}
	if b.restated {
		b.store.memos.forget()
	}
	if b.created {
		b.store.projects.forget()
	}
	for _, p := range b.projects {
		if p.changed {
			b.store.projects.replace(p.Project)
		}
	}
}

// prove makes the proof of a leaf that this batch appended, from memory. It
// may be called when the batch is committed, by any goroutine.
func (b *batch) prove(index int64, leaf []byte) (tlog.Proof, error) {
	g := b.logs[releaseLog]
	if g.state.checkpoint == nil { // it was signed with what another server added
		return b.store.Prove(context.Background(), index)
	}
	hashes, err := g.edge.Prove(index, g.tiles)
	if err != nil {
		return tlog.Proof{}, fmt.Errorf("prove leaf %d: %w", index, err)
	}
	return tlog.Proof{Index: index, Leaf: leaf, Hashes: hashes, Checkpoint: g.state.checkpoint}, nil
}

// allowed is the outcome of what was done.
var allowed = audit.Outcome{Result: audit.Allowed}

// denied is the outcome of what was refused, with the rule that refused it.
func denied(refusal error) audit.Outcome {
	o := audit.Outcome{Result: audit.Denied}
	if p, ok := problem.As(refusal); ok {
		o.Rule = p.Rule
	}
	return o
}
