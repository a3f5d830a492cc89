package sqlstore

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Look says by what a database is judged, and what is wanted of it.
type Look struct {
	Verifiers func(custody.Log) (origin string, keys note.Verifiers)
	// Roots are sizes of each log at which the root of its tree is wanted.
	Roots map[custody.Log][]int64
	// Unkept says of a copy that is loaded that nothing is kept beside it: it
	// forgets that anything ever was.
	Unkept bool
	// Unsigned says that another process signs the release log, whose newest
	// leaves may wait for that.
	Unsigned bool
}

// Inspection is what a database holds, after its logs have been checked: their
// heads are signed, and their leaves and tiles lead to them.
type Inspection struct {
	Heads map[custody.Log]tlog.Checkpoint
	Roots map[custody.Log]map[int64]tlog.Hash // those of Look that the log has reached
	Blobs map[string]int64                    // digest and size of the large blobs that rows name
}

// inspect checks the logs of a database and reads what it names. Cost: every
// leaf and tile is read and hashed, some ten seconds for a million.
func inspect(ctx context.Context, q queryer, look Look) (Inspection, error) {
	out := Inspection{Heads: map[custody.Log]tlog.Checkpoint{}, Roots: map[custody.Log]map[int64]tlog.Hash{}, Blobs: map[string]int64{}}
	for _, log := range custody.Logs {
		if err := inspectLog(ctx, q, look, log, &out); err != nil {
			return out, err
		}
	}
	named := func(r scanner) error {
		var digest string
		var size int64
		err := r.Scan(&digest, &size)
		out.Blobs[digest] = size
		return err
	}
	if err := rowsOf(ctx, q, "SELECT archive, size FROM release WHERE state <> 'tombstoned'", named); err != nil {
		return out, err
	}
	return out, rowsOf(ctx, q, "SELECT digest, size FROM link WHERE small = 0", named)
}

func inspectLog(ctx context.Context, q queryer, look Look, log custody.Log, out *Inspection) error {
	bad := func(format string, args ...any) error {
		return problem.New(problem.Disproven, "backup-log", "the %s log of the copy is not what was signed: "+format, append([]any{log}, args...)...).
			Suggest("look at the database with: chartkeep fsck")
	}
	id := logOf(log)
	var size int64
	var root, text []byte
	if err := q.QueryRowContext(ctx, fmt.Sprintf("SELECT size, root, checkpoint FROM head WHERE log = %d", id)).Scan(&size, &root, &text); err != nil {
		return bad("it has no head (%v)", err)
	}
	origin, keys := look.Verifiers(log)
	unsigned := look.Unsigned && id == releaseLog
	var cp tlog.Checkpoint
	var err error
	if unsigned && len(text) == 0 {
		cp = tlog.Checkpoint{Origin: origin, Root: tlog.EmptyRoot()}
	} else if cp, err = tlog.OpenCheckpoint(text, origin, keys); err != nil {
		return err
	}
	if cp.Size != size && !(unsigned && cp.Size < size) || cp.Size == size && string(cp.Root[:]) != string(root) {
		return bad("its head says %d leaves, and %d were signed", size, cp.Size)
	}
	edge, err := tlog.NewEdge(0, nil)
	if err != nil {
		return err
	}
	roots := map[int64]tlog.Hash{}
	signed := tlog.EmptyRoot() // the root at the checkpoint
	keep := func() {
		if edge.Size() == cp.Size {
			signed = edge.Root()
		}
		if slices.Contains(look.Roots[log], edge.Size()) {
			roots[edge.Size()] = edge.Root()
		}
	}
	keep()
	tiles := map[[2]int64]string{}
	err = rowsOf(ctx, q, fmt.Sprintf("SELECT idx, hash, entry FROM leaf WHERE log = %d ORDER BY idx", id), func(r scanner) error {
		var idx int64
		var hash, entry []byte
		if err := r.Scan(&idx, &hash, &entry); err != nil {
			return err
		}
		h := tlog.LeafHash(entry)
		if idx != edge.Size() || string(hash) != string(h[:]) {
			return bad("leaf %d is missing or changed", edge.Size())
		}
		for _, t := range edge.Append(h) {
			tiles[[2]int64{int64(t.Level), t.N}] = string(tlog.TileBytes(t.Hashes)) + string(t.Root[:])
		}
		keep()
		return nil
	})
	if err != nil {
		return err
	}
	whole := edge.Root()
	if edge.Size() != size || string(whole[:]) != string(root) || signed != cp.Root {
		return bad("%d leaves make the root %s, and %d with the root %s were signed", edge.Size(), whole, cp.Size, cp.Root)
	}
	err = rowsOf(ctx, q, fmt.Sprintf("SELECT level, n, hashes, root FROM tile WHERE log = %d", id), func(r scanner) error {
		var at [2]int64
		var hashes, root []byte
		if err := r.Scan(&at[0], &at[1], &hashes, &root); err != nil {
			return err
		}
		if tiles[at] != string(hashes)+string(root) {
			return bad("tile %d/%d is not that of its leaves", at[0], at[1])
		}
		delete(tiles, at)
		return nil
	})
	if err == nil && len(tiles) > 0 {
		err = bad("%d tiles are missing", len(tiles))
	}
	out.Heads[log], out.Roots[log] = cp, roots
	return err
}
