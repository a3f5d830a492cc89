package tlog_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	sumdb "golang.org/x/mod/sumdb/tlog"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// checkProofs compares the proofs at a size with the reference.
func checkProofs(t *testing.T, ref reference, e *tlog.Edge, src *tiles, size, index, old int64) {
	t.Helper()
	root := ref.root(t, size)
	const mostReads = 2 * 3 // two for each of three levels

	src.reads = 0
	proof, err := tlog.InclusionProof(size, index, e, src)
	if err != nil {
		t.Fatalf("inclusion of %d in %d: %v", index, size, err)
	}
	want, err := sumdb.ProveRecord(size, index, ref)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(proof, want) {
		t.Fatalf("inclusion of %d in %d: wrong proof", index, size)
	}
	if err := tlog.VerifyInclusion(root, size, index, tlog.LeafHash(entry(index)), proof); err != nil {
		t.Fatalf("inclusion of %d in %d: %v", index, size, err)
	}

	reads := src.reads
	src.reads = 0
	if proof, err = tlog.ConsistencyProof(old, size, e, src); err != nil {
		t.Fatalf("growth from %d to %d: %v", old, size, err)
	}
	if old > 0 {
		wantTree, err := sumdb.ProveTree(size, old, ref)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(proof, wantTree) {
			t.Fatalf("growth from %d to %d: wrong proof", old, size)
		}
	}
	if err := tlog.VerifyConsistency(old, ref.root(t, old), size, root, proof); err != nil {
		t.Fatalf("growth from %d to %d: %v", old, size, err)
	}
	if reads = max(reads, src.reads); reads > mostReads {
		t.Fatalf("size %d, index %d, old %d: %d tiles read", size, index, old, reads)
	}
}

// TestProofs compares proofs with the reference: every pair at small sizes,
// random ones up to 2,000, and around the sizes where a tile of level 1 fills.
// The edge is larger than the size that is proven.
func TestProofs(t *testing.T) {
	const most = 2*65536 + 700
	var ref reference
	for n := range int64(most) {
		ref.append(t, n)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	e, src := newEdge(t), newTiles()

	t.Run("every pair", func(t *testing.T) {
		grow(e, 64, src)
		for size := int64(1); size <= e.Size(); size++ {
			for i := range size {
				checkProofs(t, ref, e, src, size, i, i+1)
			}
			checkProofs(t, ref, e, src, size, 0, 0)
		}
	})
	t.Run("every size", func(t *testing.T) {
		for size := int64(1); size <= 2000; size++ {
			grow(e, size, src)
			checkProofs(t, ref, e, src, size, rng.Int64N(size), rng.Int64N(size+1))
			older := 1 + rng.Int64N(size)
			checkProofs(t, ref, e, src, older, rng.Int64N(older), rng.Int64N(older+1))
		}
	})
	for _, edgeSize := range []int64{65535, 65536, 65537, 65536 + 255, 65536 + 256, 131071, 131072, 131073, most} {
		grow(e, edgeSize, src)
		for _, size := range []int64{255, 256, 257, 65535, 65536, 65537, 65536 + 256, 131072, edgeSize} {
			if size > edgeSize {
				continue
			}
			for _, i := range []int64{0, 255, 256, 65535, 65536, size - 1} {
				if i < size {
					checkProofs(t, ref, e, src, size, i, i)
				}
			}
		}
		for range 100 {
			size := 1 + rng.Int64N(edgeSize)
			checkProofs(t, ref, e, src, size, rng.Int64N(size), rng.Int64N(size+1))
		}
	}
}

func TestProofsRefuse(t *testing.T) {
	e, src := newEdge(t), newTiles()
	grow(e, 600, src)
	for _, test := range []struct{ size, index int64 }{{601, 0}, {600, 600}, {600, -1}, {0, 0}, {-1, 0}} {
		if _, err := tlog.InclusionProof(test.size, test.index, e, src); problem.KindOf(err) != problem.NotFound {
			t.Errorf("leaf %d of %d: %v", test.index, test.size, err)
		}
	}
	for _, test := range []struct{ old, size int64 }{{1, 601}, {2, 1}, {-1, 1}, {0, -1}} {
		if _, err := tlog.ConsistencyProof(test.old, test.size, e, src); problem.KindOf(err) != problem.NotFound {
			t.Errorf("growth from %d to %d: %v", test.old, test.size, err)
		}
	}

	lost := errors.New("disk on fire")
	if _, err := tlog.InclusionProof(600, 0, e, source(func(int, int64) ([]tlog.Hash, error) { return nil, lost })); !errors.Is(err, lost) {
		t.Errorf("failing source: %v", err)
	}
	short := source(func(int, int64) ([]tlog.Hash, error) { return make([]tlog.Hash, 255), nil })
	if _, err := tlog.ConsistencyProof(100, 600, e, short); err == nil {
		t.Error("a short tile was accepted")
	}
	// A source that lies gives a proof that does not hold.
	zero := source(func(int, int64) ([]tlog.Hash, error) { return make([]tlog.Hash, 256), nil })
	proof, err := tlog.InclusionProof(600, 7, e, zero)
	if err != nil {
		t.Fatal(err)
	}
	if err := tlog.VerifyInclusion(e.Root(), 600, 7, tlog.LeafHash(entry(7)), proof); problem.KindOf(err) != problem.Disproven {
		t.Errorf("proof from a lying source: %v", err)
	}
}

type source func(int, int64) ([]tlog.Hash, error)

func (f source) Tile(level int, n int64) ([]tlog.Hash, error) { return f(level, n) }

// TestVerifyRefuses changes every part of a true statement, one at a time.
func TestVerifyRefuses(t *testing.T) {
	e, src := newEdge(t), newTiles()
	grow(e, 300, src)
	oldRoot := e.Root()
	grow(e, 1000, src)
	root := e.Root()
	wrong := tlog.LeafHash([]byte("wrong"))

	inclusion, err := tlog.InclusionProof(1000, 300, e, src)
	if err != nil {
		t.Fatal(err)
	}
	leaf := tlog.LeafHash(entry(300))
	if err := tlog.VerifyInclusion(root, 1000, 300, leaf, inclusion); err != nil {
		t.Fatal(err)
	}
	consistency, err := tlog.ConsistencyProof(300, 1000, e, src)
	if err != nil {
		t.Fatal(err)
	}
	if err := tlog.VerifyConsistency(300, oldRoot, 1000, root, consistency); err != nil {
		t.Fatal(err)
	}

	without := func(p []tlog.Hash, i int) []tlog.Hash { return slices.Delete(slices.Clone(p), i, i+1) }
	changed := func(p []tlog.Hash, i int) []tlog.Hash {
		p = slices.Clone(p)
		p[i][0] ^= 1
		return p
	}
	refused := map[string]error{
		"inclusion, other root":           tlog.VerifyInclusion(wrong, 1000, 300, leaf, inclusion),
		"inclusion, other leaf":           tlog.VerifyInclusion(root, 1000, 300, wrong, inclusion),
		"inclusion, other index":          tlog.VerifyInclusion(root, 1000, 301, leaf, inclusion),
		"inclusion, other size":           tlog.VerifyInclusion(root, 500, 300, leaf, inclusion),
		"inclusion, index over size":      tlog.VerifyInclusion(root, 1000, 1000, leaf, inclusion),
		"inclusion, negative index":       tlog.VerifyInclusion(root, 1000, -1, leaf, inclusion),
		"inclusion, hash too many":        tlog.VerifyInclusion(root, 1000, 300, leaf, append(slices.Clone(inclusion), wrong)),
		"inclusion, endless tree":         tlog.VerifyInclusion(root, 1<<63-1, 300, leaf, inclusion),
		"consistency, other old root":     tlog.VerifyConsistency(300, wrong, 1000, root, consistency),
		"consistency, other new root":     tlog.VerifyConsistency(300, oldRoot, 1000, wrong, consistency),
		"consistency, other old size":     tlog.VerifyConsistency(301, oldRoot, 1000, root, consistency),
		"consistency, shrunk":             tlog.VerifyConsistency(1000, root, 300, oldRoot, consistency),
		"consistency, negative":           tlog.VerifyConsistency(-1, oldRoot, 1000, root, consistency),
		"consistency, hash too many":      tlog.VerifyConsistency(300, oldRoot, 1000, root, append(slices.Clone(consistency), wrong)),
		"consistency, endless tree":       tlog.VerifyConsistency(300, oldRoot, 1<<63-1, root, consistency),
		"consistency, same size, forked":  tlog.VerifyConsistency(1000, root, 1000, wrong, nil),
		"consistency, from a false empty": tlog.VerifyConsistency(0, wrong, 1000, root, nil),
		"consistency, to a false empty":   tlog.VerifyConsistency(0, tlog.EmptyRoot(), 0, wrong, nil),
		"consistency, proof from empty":   tlog.VerifyConsistency(0, tlog.EmptyRoot(), 1000, root, consistency),
	}
	for i := range inclusion {
		refused[fmt.Sprintf("inclusion, without hash %d", i)] = tlog.VerifyInclusion(root, 1000, 300, leaf, without(inclusion, i))
		refused[fmt.Sprintf("inclusion, with changed hash %d", i)] = tlog.VerifyInclusion(root, 1000, 300, leaf, changed(inclusion, i))
	}
	for i := range consistency {
		refused[fmt.Sprintf("consistency, without hash %d", i)] = tlog.VerifyConsistency(300, oldRoot, 1000, root, without(consistency, i))
		refused[fmt.Sprintf("consistency, with changed hash %d", i)] = tlog.VerifyConsistency(300, oldRoot, 1000, root, changed(consistency, i))
	}
	for name, err := range refused {
		if problem.KindOf(err) != problem.Disproven {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"from empty":        tlog.VerifyConsistency(0, tlog.EmptyRoot(), 1000, root, nil),
		"from empty to it":  tlog.VerifyConsistency(0, tlog.EmptyRoot(), 0, tlog.EmptyRoot(), nil),
		"to the same again": tlog.VerifyConsistency(1000, root, 1000, root, nil),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
