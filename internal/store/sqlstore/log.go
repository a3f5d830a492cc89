package sqlstore

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// The logs of a database. Both are made by the same engine.
const (
	releaseLog = 1
	auditLog   = 2
)

// logState is a log at one size. It is never changed once it is shared.
type logState struct {
	size       int64
	time       time.Time // of the newest leaf
	root       tlog.Hash
	checkpoint []byte
	edge       *tlog.Edge
}

func (s *Store) origin(log int) string {
	if log == auditLog {
		return s.config.Origin + "/audit"
	}
	return s.config.Origin
}

// signers are who signs a log at a time.
func (s *Store) signers(log int, now time.Time) []note.Signer {
	switch {
	case log == auditLog:
		return []note.Signer{s.config.AuditSigner}
	case s.config.OldSigner != nil && now.Before(s.config.OldUntil):
		return []note.Signer{s.config.Signer, s.config.OldSigner}
	}
	return []note.Signer{s.config.Signer}
}

// openLogs makes the heads at the first start, and refuses a database whose
// log has another name than the configuration. The first head of a log whose key
// is in another process waits for its signature like all that follow.
func (s *Store) openLogs(ctx context.Context) error {
	tx, err := s.writePool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	q := s.dialect.rebind
	if _, err := tx.ExecContext(ctx, q("INSERT INTO meta (key, value) VALUES ('origin', ?) ON CONFLICT DO NOTHING"), s.config.Origin); err != nil {
		return err
	}
	var origin string
	if err := tx.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'origin'").Scan(&origin); err != nil {
		return err
	}
	if origin != s.config.Origin {
		return problem.New(problem.Unavailable, "log-origin", "the log key names the log %q, but this database holds the log %q", s.config.Origin, origin).
			Suggest("start with the log key that belongs to this database")
	}
	for log := releaseLog; log <= auditLog; log++ {
		edge, err := tlog.NewEdge(0, nil)
		if err != nil {
			return err
		}
		root := edge.Root()
		checkpoint := []byte{}
		if !s.remote(log) {
			if checkpoint, err = tlog.SignCheckpoint(s.origin(log), 0, root, s.signers(log, time.Time{})...); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, q("INSERT INTO head (log, size, root, checkpoint, time) VALUES (?, 0, ?, ?, 0) ON CONFLICT DO NOTHING"),
			log, root[:], checkpoint); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// head is the release log as readers see it. On SQLite every change of it is
// made by this process, which keeps it in memory; on PostgreSQL it is read.
func (s *Store) head(ctx context.Context) (*logState, error) {
	if st := s.logs[releaseLog].Load(); st != nil && !s.dialect.postgres {
		return st, nil
	}
	if s.remote(releaseLog) {
		return s.readSigned(ctx)
	}
	return s.readHead(ctx, releaseLog, s.queryRow)
}

// readHead returns the state of a log whose key this process has. The edge is
// taken from memory when it is of the same size, else read: at most 255 rows a
// level.
func (s *Store) readHead(ctx context.Context, log int, row func(ctx context.Context, query string, args ...any) scanner) (*logState, error) {
	st := &logState{}
	var root []byte
	var ms int64
	query := "SELECT size, root, checkpoint, time FROM head WHERE log = ?"
	if err := row(ctx, query, log).Scan(&st.size, &root, &st.checkpoint, &ms); err != nil {
		return nil, fault("read log head", err)
	}
	st.time = fromMillis(ms)
	copy(st.root[:], root)
	if have := s.logs[log].Load(); have != nil && have.size == st.size && have.root == st.root {
		return have, nil
	}
	edge, err := s.edgeAt(ctx, log, st.size)
	if err != nil {
		return nil, err
	}
	if edge.Root() != st.root {
		return nil, problem.New(problem.Disproven, "log-head", "the leaves of log %q do not have the root that its head was signed for", s.origin(log)).
			With("size", "%d", st.size).
			With("signed root", "%x", st.root).
			With("computed root", "%x", edge.Root()).
			Suggest("stop the server and restore the database from a backup; do not publish from it")
	}
	if err := s.checkHead(log, st); err != nil {
		return nil, err
	}
	st.edge = edge
	// Never back to an older state: a reader may have been overtaken, and what
	// the writer finds behind memory is a database that lost transactions.
	if have := s.logs[log].Load(); have == nil || have.size < st.size {
		s.logs[log].CompareAndSwap(have, st)
	}
	return st, nil
}

// edgeAt reads the edge that the tree of a log had at a size: at most 255 rows
// a level.
func (s *Store) edgeAt(ctx context.Context, log int, size int64) (*tlog.Edge, error) {
	levels := [][]tlog.Hash{}
	for level := 0; size>>(8*level) > 0; level++ {
		full := size >> (8 * level)
		hashes, err := s.hashes(ctx, log, level, full&^255, full)
		if err != nil {
			return nil, err
		}
		levels = append(levels, hashes)
	}
	edge, err := tlog.NewEdge(size, levels)
	if err != nil {
		return nil, fmt.Errorf("read log edge: %w", err)
	}
	return edge, nil
}

// rolledBack says that the database is behind what it has answered before, or
// has another history: a backup was put back under a running server, or
// PostgreSQL moved to a standby that had not received everything. Going on
// would sign two histories of one log, so nothing is written any more.
func (s *Store) rolledBack(log int, known, found *logState) error {
	st := custody.Standing{
		Log: custody.Releases, State: custody.StateBehind, By: "a server that had read or signed it",
		Database: tlog.Checkpoint{Origin: s.origin(log), Size: found.size, Root: found.root},
		Kept:     tlog.Checkpoint{Origin: s.origin(log), Size: known.size, Root: known.root},
	}
	if log == auditLog {
		st.Log = custody.Audits
	}
	return s.contradicted(st, problem.New(problem.Unavailable, "read-only", "this registry is read-only: its database went back behind what was signed").
		With("log", "%s", s.origin(log)).
		With("database", "%d leaves, root %x", found.size, found.root).
		With("signed", "%d leaves, root %x", known.size, known.root).
		Suggest("the operator stops the server and runs: chartkeep log recover"))
}

// hashes reads hashes [from, to) of a level: leaf hashes, or roots of full
// tiles. Cost: one range scan of to-from rows.
func (s *Store) hashes(ctx context.Context, log, level int, from, to int64) ([]tlog.Hash, error) {
	query := "SELECT hash FROM leaf WHERE log = ? AND idx >= ? AND idx < ? ORDER BY idx"
	args := []any{log, from, to}
	if level > 0 {
		query = "SELECT root FROM tile WHERE log = ? AND level = ? AND n >= ? AND n < ? ORDER BY n"
		args = []any{log, level - 1, from, to}
	}
	out := make([]tlog.Hash, 0, to-from)
	err := s.query(ctx, query, func(r scanner) error {
		var b []byte
		if err := r.Scan(&b); err != nil {
			return err
		}
		var h tlog.Hash
		copy(h[:], b)
		out = append(out, h)
		return nil
	}, args...)
	if err != nil {
		return nil, err
	}
	if int64(len(out)) != to-from {
		return nil, s.hole(log, level, from, to)
	}
	return out, nil
}

func (s *Store) hole(log, level int, from, to int64) error {
	return problem.New(problem.Disproven, "log-hole", "log %q lacks rows of level %d between %d and %d", s.origin(log), level, from, to).
		Suggest("stop the server and restore the database from a backup")
}

// tiles reads full tiles of one log for proofs.
type tiles struct {
	ctx   context.Context
	store *Store
	log   int
}

// Tile costs one look-up by key.
func (t tiles) Tile(level int, n int64) ([]tlog.Hash, error) {
	var b []byte
	err := t.store.queryRow(t.ctx, "SELECT hashes FROM tile WHERE log = ? AND level = ? AND n = ?", t.log, level, n).Scan(&b)
	if err != nil {
		return nil, fault(fmt.Sprintf("read tile %d/%d", level, n), err)
	}
	out := make([]tlog.Hash, len(b)/32)
	for i := range out {
		copy(out[i][:], b[32*i:])
	}
	return out, nil
}

// LogInfo implements release.LogReader.
func (s *Store) LogInfo(ctx context.Context) (release.LogInfo, error) {
	st, err := s.head(ctx)
	if err != nil {
		return release.LogInfo{}, err
	}
	if st.checkpoint == nil {
		return release.LogInfo{}, problem.New(problem.Unavailable, RuleSigner, "the signer of the log has not signed anything yet").
			Suggest("the operator sees why with: chartkeep doctor")
	}
	return release.LogInfo{
		Origin: s.config.Origin, Size: st.size, Root: base64.StdEncoding.EncodeToString(st.root[:]),
		Time: st.time, VerifierKey: s.config.VerifierKey, Checkpoint: st.checkpoint,
	}, nil
}

// Tile implements release.LogReader. Cost: one look-up for a full tile, a
// range of width rows for a partial one.
func (s *Store) Tile(ctx context.Context, level int, n int64, width int) ([]byte, error) {
	st, err := s.head(ctx)
	if err != nil {
		return nil, err
	}
	if level < 0 || level > 7 || width < 1 || width > 256 || n < 0 || n > st.size || n<<8+int64(width) > st.size>>(8*level) {
		return nil, beyondTree(st.size)
	}
	if width == 256 {
		var b []byte
		err := s.queryRow(ctx, "SELECT hashes FROM tile WHERE log = ? AND level = ? AND n = ?", releaseLog, level, n).Scan(&b)
		return b, fault("read tile", err)
	}
	hashes, err := s.hashes(ctx, releaseLog, level, n<<8, n<<8+int64(width))
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, 32*width)
	for _, h := range hashes {
		out = append(out, h[:]...)
	}
	return out, nil
}

func beyondTree(size int64) error {
	return problem.New(problem.NotFound, "log-range", "the log has no such entry yet").With("log size", "%d", size)
}

// Entries implements release.LogReader. Cost: a range of width rows.
func (s *Store) Entries(ctx context.Context, n int64, width int) ([][]byte, error) {
	st, err := s.head(ctx)
	if err != nil {
		return nil, err
	}
	if width < 1 || width > 256 || n < 0 || n > st.size || n<<8+int64(width) > st.size {
		return nil, beyondTree(st.size)
	}
	out := make([][]byte, 0, width)
	err = s.query(ctx, "SELECT entry FROM leaf WHERE log = ? AND idx >= ? AND idx < ? ORDER BY idx", func(r scanner) error {
		var b []byte
		if err := r.Scan(&b); err != nil {
			return err
		}
		out = append(out, b)
		return nil
	}, releaseLog, n<<8, n<<8+int64(width))
	if err == nil && len(out) != width {
		err = s.hole(releaseLog, 0, n<<8, n<<8+int64(width))
	}
	return out, err
}

// Leaf implements release.LogReader. One look-up by key.
func (s *Store) Leaf(ctx context.Context, index int64) ([]byte, error) {
	if s.remote(releaseLog) {
		st, err := s.head(ctx)
		if err != nil {
			return nil, err
		}
		if index >= st.size {
			return nil, s.beyondSigned(ctx, index, st)
		}
	}
	return s.leaf(ctx, index)
}

// leaf reads a leaf of the release log, signed or not.
func (s *Store) leaf(ctx context.Context, index int64) ([]byte, error) {
	var b []byte
	err := s.queryRow(ctx, "SELECT entry FROM leaf WHERE log = ? AND idx = ?", releaseLog, index).Scan(&b)
	if notFound(err) {
		return nil, problem.New(problem.NotFound, "log-range", "the log has no leaf %d", index)
	}
	return b, fault("read leaf", err)
}

// Prove implements release.LogReader. Cost: the leaf and at most two tiles a
// level, so four to eight look-ups at a million releases.
func (s *Store) Prove(ctx context.Context, index int64) (tlog.Proof, error) {
	// Before the head, which is then at least as large.
	cosigned, err := s.Cosigned(ctx)
	if err != nil {
		return tlog.Proof{}, err
	}
	st, err := s.head(ctx)
	if err != nil {
		return tlog.Proof{}, err
	}
	if index < 0 || index >= st.size {
		return tlog.Proof{}, s.beyondSigned(ctx, index, st)
	}
	leaf, err := s.Leaf(ctx, index)
	if err != nil {
		return tlog.Proof{}, err
	}
	in := tlog.Checkpoint{Size: st.size, Root: st.root, Note: st.checkpoint}
	if text := covering(cosigned, index); text != nil {
		if in, err = tlog.ParseCheckpoint(text); err != nil {
			return tlog.Proof{}, fmt.Errorf("read cosigned checkpoint: %w", err)
		}
	}
	hashes, err := tlog.InclusionProof(in.Size, index, st.edge, tiles{ctx, s, releaseLog})
	if err != nil {
		return tlog.Proof{}, fmt.Errorf("prove leaf %d: %w", index, err)
	}
	// Some microseconds for never handing out a proof that does not hold.
	if err := tlog.VerifyInclusion(in.Root, in.Size, index, tlog.LeafHash(leaf), hashes); err != nil {
		return tlog.Proof{}, fmt.Errorf("prove leaf %d from the stored rows: %w", index, err)
	}
	return tlog.Proof{Index: index, Leaf: leaf, Hashes: hashes, Checkpoint: in.Note}, nil
}

// Consistency implements release.LogReader. Cost: a few tiles.
func (s *Store) Consistency(ctx context.Context, old, size int64) ([]tlog.Hash, error) {
	st, err := s.head(ctx)
	if err != nil {
		return nil, err
	}
	if old < 0 || old > size || size > st.size {
		return nil, beyondTree(st.size)
	}
	return tlog.ConsistencyProof(old, size, st.edge, tiles{ctx, s, releaseLog})
}
