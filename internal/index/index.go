package index

import (
	"context"
	"fmt"
	"sort"
)

// Index is one project's index at one generation. It is immutable and safe for
// concurrent use. Its memory is the compressed document: about 300 bytes for
// each release with 2 KB of metadata.
type Index struct {
	generation int64
	sizes      sizes
	pieces     []*piece
}

// Generation is the generation of the project that the index was made for. See
// [Source] for what that promises.
func (ix *Index) Generation() int64 { return ix.generation }

// Build makes the index from nothing. It holds one piece and the compressed
// pieces in memory, never the document. Cost: every release of the project,
// about 15 µs for each.
func Build(ctx context.Context, src Source, generation int64) (*Index, error) {
	return build(ctx, src, generation, pieceSizes)
}

func build(ctx context.Context, src Source, generation int64, s sizes) (*Index, error) {
	c, err := newCutter(s, 0)
	if err != nil {
		return nil, err
	}
	defer c.release()
	if err := c.read(ctx, src, Key{}, Key{}); err != nil {
		return nil, err
	}
	if err := c.end(); err != nil {
		return nil, err
	}
	return &Index{generation, s, c.out}, nil
}

// Update makes the index of a later generation; ix stays as it is, and the two
// share the pieces without a change. A generation before ix's is an error: the
// project's history was replaced, and the caller must Build.
//
// Cost: for each changed place one piece is read and compressed, in about one
// of ten cases its neighbour too; the number of releases does not matter.
func (ix *Index) Update(ctx context.Context, src Source, generation int64) (*Index, error) {
	if generation < ix.generation {
		return nil, fmt.Errorf("update index: generation %d is before %d", generation, ix.generation)
	}
	if generation == ix.generation {
		return ix, nil
	}
	changed := make([]bool, max(1, len(ix.pieces)))
	none := true
	err := src.Since(ctx, ix.generation, generation, func(k Key) error {
		changed[ix.find(k)] = true
		none = false
		return nil
	})
	if err != nil {
		return nil, err
	}
	if none {
		return &Index{generation, ix.sizes, ix.pieces}, nil
	}
	if len(ix.pieces) == 0 {
		return build(ctx, src, generation, ix.sizes)
	}
	c, err := newCutter(ix.sizes, len(ix.pieces)+2)
	if err != nil {
		return nil, err
	}
	defer c.release()
	for i, p := range ix.pieces {
		// An open piece means that the new end of the piece before is not
		// the old one, so this one begins elsewhere, too.
		if !changed[i] && !c.open() {
			c.out = append(c.out, p)
		} else if err := c.read(ctx, src, ix.start(i), ix.start(i+1)); err != nil {
			return nil, err
		}
	}
	if err := c.end(); err != nil {
		return nil, err
	}
	return &Index{generation, ix.sizes, c.out}, nil
}

// find returns the number of the piece that a key belongs to: the last that
// begins at or before it, or the first of all.
func (ix *Index) find(k Key) int {
	n := sort.Search(len(ix.pieces), func(i int) bool { return ix.pieces[i].first.Compare(k) > 0 })
	return max(0, n-1)
}

// start is the lower bound of the keys that belong to piece i, and the upper
// bound of those before it; zero at both ends.
func (ix *Index) start(i int) Key {
	if i == 0 || i == len(ix.pieces) {
		return Key{}
	}
	return ix.pieces[i].first
}
