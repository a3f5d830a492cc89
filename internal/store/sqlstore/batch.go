package sqlstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// batch is one transaction of the sequencer on its way.
type batch struct {
	ctx         context.Context
	store       *Store
	w           *writer
	clock       time.Time
	logs        [auditLog + 1]*growth
	generations map[int64]int64 // project -> its generation in this batch
	bulk        []bulkRows
	reshaped    bool // a project was made or changed beyond its generation
}

// growth is what a batch adds to one log.
type growth struct {
	log   int
	base  *logState
	edge  *tlog.Edge
	leafs []any // idx, hash, entry … of the rows to insert
	tiles []tlog.Tile
	state *logState // after finish
}

// lock takes both logs' heads, so that batches of several processes follow
// each other. Every durable batch does it first, so there is one lock order.
func (b *batch) lock() error {
	for log := releaseLog; log <= auditLog; log++ {
		row := func(ctx context.Context, query string, args ...any) scanner {
			return b.w.row(ctx, query+b.store.dialect.forUpdate(), args...)
		}
		st, err := b.store.readHead(b.ctx, log, row)
		if err != nil {
			return err
		}
		b.logs[log] = &growth{log: log, base: st}
	}
	return nil
}

// time is the time of this batch in whole seconds. It never runs backwards
// along the log, whatever the clock does.
func (b *batch) time(now time.Time) time.Time {
	if now.IsZero() {
		now = b.clock
	}
	now = now.UTC().Truncate(time.Second)
	if g := b.logs[releaseLog]; g != nil && now.Before(g.base.time) {
		return g.base.time
	}
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
		idx, millis(ev.Time), string(ev.Name), string(ev.Outcome.Result), ev.Resource.Project, ev.Resource.Chart, ev.Resource.Version, ev.Actor.ID, ev.Source.IP, ev.Source.UserAgent, salt[:])
	b.insert("INSERT INTO outbox (idx) VALUES", idx)
	return nil
}

// generation advances a project's generation, once in a batch: all of its
// changes become visible together.
func (b *batch) generation(project int64) (int64, error) {
	if g, ok := b.generations[project]; ok {
		return g, nil
	}
	var g int64
	err := b.w.row(b.ctx, "UPDATE project SET generation = generation + 1, changed = ? WHERE id = ? RETURNING generation",
		millis(b.clock), project).Scan(&g)
	if err != nil {
		return 0, err
	}
	if b.generations == nil {
		b.generations = map[int64]int64{}
	}
	b.generations[project] = g
	return g, nil
}

// bulkRows are rows that are inserted together when the batch ends, or when
// an operation wants to read what others wrote.
type bulkRows struct {
	into   string // "INSERT INTO t (a, b) VALUES" and what follows after "|"
	width  int
	values []any
}

// bulkChunk is how many rows one statement inserts at most. Sizes are powers
// of two, so that few texts are prepared.
const bulkChunk = 64

// insert adds a row to be inserted. "ON CONFLICT …" may follow VALUES after a
// bar.
func (b *batch) insert(into string, values ...any) {
	for i := range b.bulk {
		if b.bulk[i].into == into {
			b.bulk[i].values = append(b.bulk[i].values, values...)
			return
		}
	}
	b.bulk = append(b.bulk, bulkRows{into, len(values), slices.Clone(values)})
}

func (b *batch) flush() error {
	for i := range b.bulk {
		r := &b.bulk[i]
		if err := b.flushRows(r.into, r.width, r.values); err != nil {
			return err
		}
		r.values = r.values[:0]
	}
	return nil
}

func (b *batch) flushRows(into string, width int, values []any) error {
	head, tail, _ := strings.Cut(into, "|")
	for len(values) > 0 {
		rows := bulkChunk
		for rows*width > len(values) {
			rows /= 2
		}
		if _, err := b.w.exec(b.ctx, bulkText(head, tail, width, rows), values[:rows*width]...); err != nil {
			return err
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
	for log := releaseLog; log <= auditLog; log++ {
		g := b.logs[log]
		if g == nil || g.edge == nil {
			continue
		}
		if err := b.flushRows("INSERT INTO leaf (log, idx, hash, entry) VALUES", 4, g.leafs); err != nil {
			return err
		}
		for _, t := range g.tiles {
			if _, err := b.w.exec(b.ctx, "INSERT INTO tile (log, level, n, hashes, root) VALUES (?, ?, ?, ?, ?)",
				log, t.Level, t.N, tlog.TileBytes(t.Hashes), t.Root[:]); err != nil {
				return err
			}
		}
		st := &logState{size: g.edge.Size(), time: b.time(b.clock), root: g.edge.Root(), edge: g.edge}
		var err error
		if st.checkpoint, err = tlog.SignCheckpoint(b.store.origin(log), st.size, st.root, b.store.signer(log)); err != nil {
			return fmt.Errorf("sign checkpoint: %w", err)
		}
		n, err := b.w.exec(b.ctx, "UPDATE head SET size = ?, root = ?, checkpoint = ?, time = ? WHERE log = ? AND size = ?",
			st.size, st.root[:], st.checkpoint, millis(st.time), log, g.base.size)
		if err != nil {
			return err
		}
		if n != 1 {
			return problem.New(problem.Unavailable, "log-head", "Another process moved the log at the same time. Nothing was changed.").
				Suggest("repeat the request; if this goes on, see that one database is used by one kind of chartkeep alone")
		}
		g.state = st
	}
	return nil
}

// committed makes what the batch wrote known to this process's readers.
func (b *batch) committed() {
	for log := releaseLog; log <= auditLog; log++ {
		if g := b.logs[log]; g != nil && g.state != nil {
			b.store.logs[log].Store(g.state)
		}
	}
	switch {
	case b.reshaped:
		b.store.projects.forget()
	case len(b.generations) > 0:
		b.store.projects.advance(b.generations, fromMillis(millis(b.clock)))
	}
}

// prove makes the proof of a leaf that this batch appended, from memory. It
// may be called when the batch is committed, by any goroutine.
func (b *batch) prove(index int64, leaf []byte) (tlog.Proof, error) {
	g := b.logs[releaseLog]
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
