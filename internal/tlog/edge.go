package tlog

import (
	"fmt"
	"math/bits"
	"slices"

	sumdb "golang.org/x/mod/sumdb/tlog"
)

// MaxSize is the largest number of leaves of a log. JSON readers that keep
// numbers as floating point still read it exactly, and it keeps sizes claimed
// by others far from the end of the tree arithmetic's range.
const MaxSize = 1<<53 - 1

// A tile is a subtree of height 8 (tlog-tiles, "Merkle Tree").
const (
	tileHeight = 8
	// TileHashes is the number of hashes in a full tile, and of entries in a
	// full entry bundle.
	TileHashes = 1 << tileHeight
)

// Hash is a node of the tree: a SHA-256 sum. Its text form is standard Base 64.
type Hash = sumdb.Hash

// EmptyRoot is the root hash of the tree without leaves (RFC 6962 §2.1).
func EmptyRoot() Hash {
	root, _ := sumdb.TreeHash(0, nil) // reads nothing and cannot fail
	return root
}

// LeafHash is the hash under which an entry stands in the tree (RFC 6962 §2.1).
func LeafHash(entry []byte) Hash { return sumdb.RecordHash(entry) }

// Tile is a full tile: 256 consecutive hashes of one level and the root of the
// subtree over them, which is hash N of the level above.
type Tile struct {
	Level  int
	N      int64
	Hashes []Hash // TileHashes of them
	Root   Hash

	// nodes is the whole subtree in the order of Crosby and Wallach, kept so
	// that a proof for each leaf of a batch does not hash the tile again. It
	// is nil in a Tile that was not made by Append.
	nodes []Hash
}

// Edge is the right edge of a tree: of every level the hashes that do not yet
// fill a tile. With it a tree grows, and its root and proofs for its newest
// leaves are computed, without reading anything.
//
// An Edge may be read by many goroutines as long as none appends to it.
type Edge struct {
	size int64
	// levels[l] holds the complete nodes over the (size >> 8l) mod 256 hashes
	// of the partial tile at level l, in the order of Crosby and Wallach: each
	// hash is followed by the nodes that it completes. That order only ever
	// grows at its end, which is what lets clones share it.
	levels [][]Hash
}

// NewEdge restores the edge of a tree of the given size from the hashes of its
// partial tiles: levels[l] has (size >> 8l) mod 256 hashes, and there is an
// entry, empty or not, for every l with size >> 8l > 0 and for no other. At
// level 0 these are the newest leaf hashes, above it the roots of the newest
// full tiles of the level below. The caller compares Root with the checkpoint.
func NewEdge(size int64, levels [][]Hash) (*Edge, error) {
	if size < 0 || size > MaxSize {
		return nil, fmt.Errorf("restore edge: size %d is not between 0 and %d", size, int64(MaxSize))
	}
	e := &Edge{size: size, levels: make([][]Hash, levelCount(size))}
	if len(levels) != len(e.levels) {
		return nil, fmt.Errorf("restore edge: size %d has %d levels, not %d", size, len(e.levels), len(levels))
	}
	for l, hashes := range levels {
		if want := e.width(l); len(hashes) != want {
			return nil, fmt.Errorf("restore edge: size %d has %d hashes at level %d, not %d", size, want, l, len(hashes))
		}
		for i, h := range hashes {
			e.levels[l] = push(e.levels[l], i, h)
		}
	}
	return e, nil
}

// levelCount is the number of tile levels of a tree: those with any hash.
func levelCount(size int64) int {
	return (bits.Len64(uint64(size)) + tileHeight - 1) / tileHeight
}

// width is the number of hashes in the partial tile at level l.
func (e *Edge) width(l int) int { return int(e.size>>(tileHeight*l)) % TileHashes }

// push adds the hash at position i of a tile to the tile's nodes, and with it
// every node that it completes.
func push(nodes []Hash, i int, h Hash) []Hash {
	nodes = append(nodes, h)
	for height := 0; i&1 == 1; height, i = height+1, i>>1 {
		h = sumdb.NodeHash(node(nodes, height, int64(i-1)), h)
		nodes = append(nodes, h)
	}
	return nodes
}

// node is the root of the i-th complete subtree of 2^height hashes of a tile.
func node(nodes []Hash, height int, i int64) Hash {
	return nodes[sumdb.StoredHashIndex(height, i)]
}

// Size is the number of leaves.
func (e *Edge) Size() int64 { return e.size }

// Append adds a leaf hash to the tree and returns the tiles that it completes,
// level 0 first; mostly there are none. A batch keeps them for Prove.
//
// The caller keeps the size within MaxSize.
func (e *Edge) Append(leaf Hash) []Tile {
	var done []Tile
	h := leaf
	for l := 0; ; l++ {
		if l == len(e.levels) {
			e.levels = append(e.levels, nil)
		}
		i := e.width(l)
		nodes := push(e.levels[l], i, h)
		if i < TileHashes-1 {
			e.levels[l] = nodes
			break
		}
		e.levels[l] = nil
		h = nodes[len(nodes)-1]
		done = append(done, Tile{
			Level:  l,
			N:      e.size >> (tileHeight * (l + 1)),
			Hashes: tileHashes(nodes, TileHashes),
			Root:   h,
			nodes:  nodes,
		})
	}
	e.size++
	return done
}

// tileHashes takes the first width hashes of a tile out of its nodes.
func tileHashes(nodes []Hash, width int) []Hash {
	hashes := make([]Hash, width)
	for i := range hashes {
		hashes[i] = node(nodes, 0, int64(i))
	}
	return hashes
}

// Root is the root hash of the tree (RFC 6962 §2.1). It costs at most one hash
// for each bit of the size.
func (e *Edge) Root() Hash {
	root, found := EmptyRoot(), false
	for l, nodes := range e.levels {
		width := e.width(l)
		for height := 0; width>>height > 0; height++ {
			i := width >> height
			switch {
			case i&1 == 0:
			case found:
				root = sumdb.NodeHash(node(nodes, height, int64(i-1)), root)
			default:
				root, found = node(nodes, height, int64(i-1)), true
			}
		}
	}
	return root
}

// Levels returns a copy of the hashes of the partial tiles, as NewEdge takes
// them.
func (e *Edge) Levels() [][]Hash {
	levels := make([][]Hash, len(e.levels))
	for l, nodes := range e.levels {
		levels[l] = tileHashes(nodes, e.width(l))
	}
	return levels
}

// Clone returns an edge that grows independently: a batch appends to a clone
// and replaces the original only when its transaction is committed. It copies
// no hashes; the first append to the clone copies at most 16 KiB.
func (e *Edge) Clone() *Edge {
	c := &Edge{size: e.size, levels: make([][]Hash, len(e.levels))}
	for l, nodes := range e.levels {
		c.levels[l] = slices.Clip(nodes) // so that its append cannot write into the original
	}
	return c
}
