package index

import (
	"cmp"
	"context"
)

// Key is a fragment's place in the index, unique within a project.
type Key struct {
	Chart string // the chart's name, never empty
	Sort  string // the version's sort key (chart.Version.SortKey): bytes that ascend with precedence
}

// Compare orders keys as the index does: charts ascending by the bytes of
// their names and, within a chart, sort keys descending by theirs. The zero
// Key stands before every other.
func (k Key) Compare(o Key) int {
	if c := cmp.Compare(k.Chart, o.Chart); c != 0 {
		return c
	}
	return cmp.Compare(o.Sort, k.Sort)
}

// hash spreads keys evenly over 32 bits. It is part of where pieces end, so it
// must never change without a new cacheMagic. FNV-1a, then a finaliser, since
// FNV alone leaves the last bytes of a key in the low bits.
func (k Key) hash() uint32 {
	h := uint64(14695981039346656037)
	for _, s := range [2]string{k.Chart, k.Sort} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	return uint32(h >> 32)
}

// Source reads the fragments of one project's index, as of now or of one
// transaction.
//
// What a Source must keep: every change up to a generation is visible to Range
// once that generation was read by anybody, and Since(gen, upto) names every
// key changed after gen up to upto. An index made for generation g then holds
// all changes up to g, and the next Update repairs whatever Range showed too
// early. When both methods read one snapshot whose newest generation is g, the
// index is exactly the index of g.
//
// An error of fn ends the call and is returned, wrapped or not.
type Source interface {
	// Range calls fn for every fragment with from <= key < to, in index
	// order. The zero from is the beginning, the zero to the end. fn must not
	// keep the fragment. Cost: one range scan of an index; an Update scans one
	// piece (256 KiB of fragments) per change, a Build scans the project.
	Range(ctx context.Context, from, to Key, fn func(k Key, fragment []byte) error) error
	// Since calls fn, in any order, with the key of every fragment that was
	// added, removed or changed after generation gen, up to and including
	// generation upto. A key may come more than once, and without having
	// changed. Cost: the changes between the two generations.
	Since(ctx context.Context, gen, upto int64, fn func(k Key) error) error
}
