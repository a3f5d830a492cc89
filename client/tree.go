package client

import (
	"context"
	"fmt"
	"net/http"

	sumdb "golang.org/x/mod/sumdb/tlog"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// tree is the tree under a checkpoint, read from the hashes that a log serves
// to everybody (C2SP tlog-tiles). Nothing is taken that does not lead to the
// checkpoint's root, so whatever a server sends, what comes out is true of that
// root. It is asked only where a proof did not hold: to find out what does.
type tree struct {
	ctx context.Context
	c   *Client
	cp  tlog.Checkpoint
}

// maxTiles bounds what one look at a tree fetches. A proof in a tree of a
// billion entries takes eight.
const maxTiles = 64

// Height implements the reader of tiles of package sumdb/tlog.
func (t tree) Height() int { return 8 }

// SaveTiles implements it too; nothing is kept.
func (t tree) SaveTiles([]sumdb.Tile, [][]byte) {}

// ReadTiles implements it too.
func (t tree) ReadTiles(tiles []sumdb.Tile) ([][]byte, error) {
	if len(tiles) > maxTiles {
		return nil, fmt.Errorf("read %d tiles: more than %d", len(tiles), maxTiles)
	}
	out := make([][]byte, len(tiles))
	for i, tile := range tiles {
		want := int64(tile.W) * sumdb.HashSize
		path := "/log/" + tlog.TilePath(tile.L, tile.N, tile.W)
		res, err := t.c.do(t.ctx, call{method: http.MethodGet, path: path})
		if err != nil {
			return nil, err
		}
		out[i], err = t.c.read(res, want)
		drain(res.Body)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (t tree) reader() sumdb.HashReader {
	return sumdb.TileHashReader(sumdb.Tree{N: t.cp.Size, Hash: t.cp.Root}, t)
}

// prefix returns the root that the tree had at a smaller size above 0, and the
// proof of that. It is certain for everybody who believes the checkpoint.
func (t tree) prefix(size int64) (tlog.Hash, []tlog.Hash, error) {
	root, err := sumdb.TreeHash(size, t.reader())
	if err != nil {
		return tlog.Hash{}, nil, fmt.Errorf("read the log at size %d: %w", size, err)
	}
	hashes, err := sumdb.ProveTree(t.cp.Size, size, t.reader())
	if err != nil {
		return tlog.Hash{}, nil, fmt.Errorf("prove the log at size %d: %w", size, err)
	}
	return root, hashes, tlog.VerifyConsistency(size, root, t.cp.Size, t.cp.Root, hashes)
}

// entry returns the proof of an entry, whose text comes from the management
// API and is held against the tree.
func (t tree) entry(index int64) (tlog.Proof, error) {
	if index >= t.cp.Size {
		return tlog.Proof{}, problem.New(problem.NotFound, "log-no-leaf", "the log of %d leaves has no leaf %d", t.cp.Size, index)
	}
	leaf, err := t.c.Leaf(t.ctx, index)
	if err != nil {
		return tlog.Proof{}, err
	}
	hashes, err := sumdb.ProveRecord(t.cp.Size, index, t.reader())
	if err != nil {
		return tlog.Proof{}, fmt.Errorf("prove entry %d: %w", index, err)
	}
	p := tlog.Proof{Index: index, Leaf: []byte(leaf.Leaf), Hashes: hashes, Checkpoint: t.cp.Note}
	return p, tlog.VerifyInclusion(t.cp.Root, t.cp.Size, index, tlog.LeafHash(p.Leaf), hashes)
}
