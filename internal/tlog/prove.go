package tlog

import (
	"fmt"

	sumdb "golang.org/x/mod/sumdb/tlog"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// TileSource reads the full tiles of a log.
//
// Tile returns the TileHashes hashes of full tile n at a level. It is asked
// only for tiles that are full in a tree of the edge's size, so that a missing
// one is an error of the store and not NotFound. The result is read, never
// changed or kept.
type TileSource interface {
	Tile(level int, n int64) ([]Hash, error)
}

// Prove returns the inclusion proof, in the tree of the edge, of a leaf that
// stands in the partial tile or in a tile that was completed since: recent
// holds the tiles that Append returned for the batch. It reads nothing and
// hashes at most the part of the tree that is not complete.
func (e *Edge) Prove(index int64, recent []Tile) ([]Hash, error) {
	return prove(e.size, index, reader{edge: e, recent: recent})
}

// InclusionProof returns the proof that the tree of a size contains the leaf
// at an index (RFC 6962 §2.1.1). The size is at most that of the edge, which
// belongs to the same tree as the tiles of src. NotFound when the tree has no
// such leaf or the log no such size.
//
// It reads at most two tiles a level (a billion leaves have four levels) and
// hashes each at most once. What src returns is trusted: a wrong tile gives a
// proof that VerifyInclusion refuses.
func InclusionProof(size, index int64, edge *Edge, src TileSource) ([]Hash, error) {
	if size > edge.size {
		return nil, noSuchSize(size, edge.size)
	}
	return prove(size, index, reader{edge: edge, src: src})
}

func prove(size, index int64, r reader) ([]Hash, error) {
	if index < 0 || index >= size {
		return nil, problem.New(problem.NotFound, "log-no-leaf", "the log of %d leaves has no leaf %d", size, index)
	}
	proof, err := sumdb.ProveRecord(size, index, r)
	if err != nil {
		return nil, fmt.Errorf("prove leaf %d of %d: %w", index, size, err)
	}
	return proof, nil
}

// ConsistencyProof returns the proof that the tree of the old size is a prefix
// of the tree of the new size (RFC 6962 §2.1.2); it is empty when old is 0 or
// equal to size. The size is at most that of the edge. NotFound when the log
// has no such sizes. Costs and trust are those of InclusionProof.
func ConsistencyProof(old, size int64, edge *Edge, src TileSource) ([]Hash, error) {
	if size > edge.size {
		return nil, noSuchSize(size, edge.size)
	}
	if old < 0 || old > size {
		return nil, noSuchSize(old, size)
	}
	if old == 0 {
		return nil, nil
	}
	proof, err := sumdb.ProveTree(size, old, reader{edge: edge, src: src})
	if err != nil {
		return nil, fmt.Errorf("prove growth from %d to %d: %w", old, size, err)
	}
	return proof, nil
}

func noSuchSize(size, most int64) error {
	return problem.New(problem.NotFound, "log-no-size", "there is no log of %d leaves before the one of %d", size, most)
}

// reader finds the nodes of a tree in its edge, in the tiles of the present
// batch and in the full tiles of a source, in that order.
type reader struct {
	edge   *Edge
	recent []Tile
	src    TileSource // nil: recent holds all that may be asked for
}

type tileID struct {
	level int
	n     int64
}

// ReadHashes implements the reader of package sumdb/tlog, which calls it once
// for each proof.
func (r reader) ReadHashes(indexes []int64) ([]Hash, error) {
	hashes := make([]Hash, len(indexes))
	fetched := make(map[tileID][]Hash)
	for i, index := range indexes {
		// The tree's binary level splits into that of the tile and the height
		// in it, the position likewise.
		binary, n := sumdb.SplitStoredHashIndex(index)
		level, height := binary/tileHeight, binary%tileHeight
		id := tileID{level, n >> (tileHeight - height)}
		n &= 1<<(tileHeight-height) - 1

		if nodes := r.inMemory(id); nodes != nil {
			hashes[i] = node(nodes, height, n)
			continue
		}
		tile, ok := fetched[id]
		if !ok {
			var err error
			if tile, err = r.fetch(id); err != nil {
				return nil, err
			}
			fetched[id] = tile
		}
		hashes[i] = subtree(tile[n<<height : (n+1)<<height])
	}
	return hashes, nil
}

// inMemory returns the nodes of a tile that the edge or the batch holds.
func (r reader) inMemory(id tileID) []Hash {
	if id.n == r.edge.size>>(tileHeight*(id.level+1)) {
		return r.edge.levels[id.level]
	}
	for _, t := range r.recent {
		if t.Level == id.level && t.N == id.n {
			return t.nodes
		}
	}
	return nil
}

func (r reader) fetch(id tileID) ([]Hash, error) {
	if r.src == nil {
		return nil, fmt.Errorf("tile %d of level %d is not in the present batch", id.n, id.level)
	}
	hashes, err := r.src.Tile(id.level, id.n)
	if err != nil {
		return nil, fmt.Errorf("read tile %d of level %d: %w", id.n, id.level, err)
	}
	if len(hashes) != TileHashes {
		return nil, fmt.Errorf("read tile %d of level %d: %d hashes instead of %d", id.n, id.level, len(hashes), TileHashes)
	}
	return hashes, nil
}

// subtree is the root over a power of two of hashes.
func subtree(hashes []Hash) Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	half := len(hashes) / 2
	return sumdb.NodeHash(subtree(hashes[:half]), subtree(hashes[half:]))
}

// VerifyInclusion checks that the tree with a root and size holds the leaf
// hash at an index (RFC 6962 §2.1.1). Disproven when it does not follow.
func VerifyInclusion(root Hash, size, index int64, leaf Hash, proof []Hash) error {
	if size <= MaxSize && sumdb.CheckRecord(proof, size, root, index, leaf) == nil {
		return nil
	}
	return problem.New(problem.Disproven, "log-inclusion", "the proof does not show that the log contains this entry").
		With("index", "%d", index).With("log size", "%d", size).With("root", "%s", root)
}

// VerifyConsistency checks that the tree with the new root and size begins
// with all the leaves of the tree with the old root and size (RFC 6962
// §2.1.2). Disproven when it does not follow: either the proof is bad or the
// log was rewritten.
func VerifyConsistency(oldSize int64, oldRoot Hash, newSize int64, newRoot Hash, proof []Hash) error {
	switch {
	case oldSize < 0 || oldSize > newSize || newSize > MaxSize:
	case oldSize == 0:
		// Every tree begins with the empty one; the arithmetic below does not
		// take it.
		if oldRoot == EmptyRoot() && len(proof) == 0 && (newSize > 0 || newRoot == oldRoot) {
			return nil
		}
	case sumdb.CheckTree(proof, newSize, newRoot, oldSize, oldRoot) == nil:
		return nil
	}
	return problem.New(problem.Disproven, "log-consistency", "the proof does not show that the later log contains the earlier one").
		With("earlier", "%d %s", oldSize, oldRoot).With("later", "%d %s", newSize, newRoot)
}
