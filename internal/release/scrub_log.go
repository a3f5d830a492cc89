package release

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// logWalk computes a log's tree anew from its leaves, and compares every leaf,
// tile and head on the way. It can be continued when the log has grown.
type logWalk struct {
	stored    Stored
	log       LogName
	origin    string
	verifiers note.Verifiers
	find      func(Finding)
	// each is called for every leaf in order. The leaf has the hash that is in
	// the tree, or it would have been left out.
	each func(index int64, entry []byte)
	// grown is called when the tree has this many leaves.
	grown func(size int64, root func() tlog.Hash)

	edge   *tlog.Edge
	head   tlog.Checkpoint // signed, of the whole edge
	hashes []tlog.Hash     // of the leaves, where keep is set: 32 bytes each
	keep   bool
	doubts []int64 // leaves that are not those of their tile
	lost   bool    // a hole: nothing behind it can be proven
}

// grow walks from where it stands to the present head. Cost: 10 µs a leaf. An
// error means that the tables could not be read.
func (w *logWalk) grow(ctx context.Context) error {
	if w.edge == nil {
		w.edge, _ = tlog.NewEdge(0, nil) // the empty tree always has one
	}
	head, err := w.stored.StoredHead(ctx, w.log)
	if problem.KindOf(err) == problem.NotFound {
		w.report("", Finding{Kind: LogHeadFalse, Message: fmt.Sprintf("the %s has no head", w.log), Try: restoreDatabase})
		return nil
	}
	if err != nil {
		return err
	}
	w.checkHead(&head)
	for w.edge.Size() < head.Size && !w.lost {
		from := w.edge.Size()
		limit := min(head.Size-from, tlog.TileHashes-from%tlog.TileHashes)
		page, err := w.stored.StoredLeaves(ctx, w.log, from, int(limit))
		if err != nil {
			return err
		}
		if err := w.page(ctx, from, limit, page); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	w.checkRoot(&head)
	return nil
}

// checkHead compares the head with what the log's key signed.
func (w *logWalk) checkHead(head *StoredHead) {
	cp, err := tlog.OpenCheckpoint(head.Checkpoint, w.origin, w.verifiers)
	switch {
	case err != nil:
		w.report("", Finding{Kind: LogHeadFalse, Try: restoreDatabase,
			Message: fmt.Sprintf("the head of the %s is not signed by the log's key: %v", w.log, err)})
	case cp.Size != head.Size || cp.Root != head.Root:
		w.report("", Finding{Kind: LogHeadFalse, Try: restoreDatabase, Logged: fmt.Sprintf("%d %s", cp.Size, cp.Root), Found: fmt.Sprintf("%d %s", head.Size, head.Root),
			Message: fmt.Sprintf("the head of the %s is another than the one that the log's key signed", w.log)})
	default:
		w.head = cp
	}
	if head.Size < w.edge.Size() {
		w.report("", Finding{Kind: LogHeadFalse, Try: restoreDatabase,
			Message: fmt.Sprintf("the %s went back from %d to %d leaves while it was checked", w.log, w.edge.Size(), head.Size)})
	}
}

// page takes the leaves [from, from+limit), which are all in one tile.
func (w *logWalk) page(ctx context.Context, from, limit int64, page []StoredLeaf) error {
	var tile []byte // asked for only when a leaf is in doubt
	for i := range limit {
		index := from + i
		at, ok := slices.BinarySearchFunc(page, index, func(l StoredLeaf, index int64) int { return int(l.Index - index) })
		if !ok {
			w.lost = true
			w.report(fmt.Sprint(index), Finding{Kind: LeafMissing, LogIndex: index, Try: restoreDatabase, Message: fmt.Sprintf("leaf %d of the %s is missing", index, w.log)})
			return nil
		}
		l := &page[at]
		h, whole := tlog.LeafHash(l.Entry), true
		if h != l.Hash {
			// Either the entry or the hash beside it was changed. The tile
			// decides; where there is none yet, the hash is what the server
			// computes with.
			if tile == nil {
				t, err := w.stored.StoredTile(ctx, w.log, 0, index/tlog.TileHashes)
				if err != nil && problem.KindOf(err) != problem.NotFound {
					return err
				}
				tile = t.Hashes
			}
			const width = len(h)
			if k := int(index%tlog.TileHashes) * width; len(tile) < k+width || !bytes.Equal(tile[k:k+width], h[:]) {
				h, whole = l.Hash, false
			}
			w.report(fmt.Sprint(index), Finding{Kind: LeafChanged, LogIndex: index, Logged: l.Hash.String(), Found: tlog.LeafHash(l.Entry).String(), Try: restoreDatabase,
				Message: fmt.Sprintf("leaf %d of the %s does not have the hash that stands beside it", index, w.log)})
		}
		if err := w.append(ctx, h); err != nil {
			return err
		}
		if whole && w.each != nil {
			w.each(index, l.Entry)
		}
		if w.grown != nil {
			w.grown(w.edge.Size(), w.edge.Root)
		}
	}
	return nil
}

// append adds a leaf to the tree and compares the tiles that it completes.
func (w *logWalk) append(ctx context.Context, h tlog.Hash) error {
	if w.keep {
		w.hashes = append(w.hashes, h)
	}
	for _, t := range w.edge.Append(h) {
		stored, err := w.stored.StoredTile(ctx, w.log, t.Level, t.N)
		if problem.KindOf(err) == problem.NotFound {
			w.report(fmt.Sprintf("%d/%d", t.Level, t.N), Finding{Kind: TileChanged, LogIndex: -1, Try: restoreDatabase, Message: fmt.Sprintf("tile %d of level %d of the %s is missing", t.N, t.Level, w.log)})
			continue
		}
		if err != nil {
			return err
		}
		want := tlog.TileBytes(t.Hashes)
		if bytes.Equal(stored.Hashes, want) && stored.Root == t.Root {
			continue
		}
		const width = len(h)
		first := int64(0)
		for first < tlog.TileHashes-1 && len(stored.Hashes) >= int(first+1)*width && bytes.Equal(stored.Hashes[:int(first+1)*width], want[:int(first+1)*width]) {
			first++
		}
		if t.Level == 0 && stored.Root != t.Root && !bytes.Equal(stored.Hashes, want) {
			w.doubts = append(w.doubts, t.N*tlog.TileHashes+first) // the signed root says which of both is false
			continue
		}
		w.report(fmt.Sprintf("%d/%d", t.Level, t.N), Finding{Kind: TileChanged, LogIndex: -1, Try: restoreDatabase, Message: fmt.Sprintf("tile %d of level %d of the %s is not that of its leaves", t.N, t.Level, w.log)})
	}
	return nil
}

// checkRoot compares the tree with the head, and settles what was in doubt.
func (w *logWalk) checkRoot(head *StoredHead) {
	if w.lost {
		return
	}
	whole := w.edge.Size() == head.Size && w.edge.Root() == head.Root
	for _, index := range w.doubts {
		if whole {
			w.report(fmt.Sprintf("0/%d", index/tlog.TileHashes), Finding{Kind: TileChanged, LogIndex: -1, Try: restoreDatabase,
				Message: fmt.Sprintf("tile %d of level 0 of the %s is not that of its leaves", index/tlog.TileHashes, w.log)})
			continue
		}
		w.report(fmt.Sprint(index), Finding{Kind: LeafChanged, LogIndex: index, Try: restoreDatabase,
			Message: fmt.Sprintf("leaf %d of the %s is not the one that its tile was made of", index, w.log)})
	}
	w.doubts = nil
	if !whole {
		w.report("", Finding{Kind: LogRootFalse, LogIndex: -1, Try: restoreDatabase, Logged: head.Root.String(), Found: w.edge.Root().String(),
			Message: fmt.Sprintf("the %d leaves of the %s do not have the root that was signed", w.edge.Size(), w.log)})
	}
}

// proven says whether an entry is the leaf of an index in the tree.
func (w *logWalk) proven(index int64, entry []byte) bool {
	return index >= 0 && index < int64(len(w.hashes)) && w.hashes[index] == tlog.LeafHash(entry)
}

// report names a finding by its kind, its log and what tells it from others of
// that kind.
func (w *logWalk) report(name string, f Finding) {
	f.Key = strings.TrimSpace(fmt.Sprintf("%s %d %s", f.Kind, w.log, name))
	if f.LogIndex == 0 && f.Kind == LogHeadFalse || w.log == AuditLog {
		f.LogIndex = -1
	}
	w.find(f)
}

const restoreDatabase = "stop the server and restore the database from a backup; do not publish from it"
