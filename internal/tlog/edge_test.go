package tlog_test

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	sumdb "golang.org/x/mod/sumdb/tlog"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// reference is a log kept by the tree code of golang.org/x/mod, with which
// every root and proof of this package is compared.
type reference []sumdb.Hash

func (r reference) ReadHashes(indexes []int64) ([]sumdb.Hash, error) {
	hashes := make([]sumdb.Hash, len(indexes))
	for i, index := range indexes {
		hashes[i] = r[index]
	}
	return hashes, nil
}

func (r *reference) append(t testing.TB, n int64) {
	t.Helper()
	hashes, err := sumdb.StoredHashes(n, entry(n), *r)
	if err != nil {
		t.Fatal(err)
	}
	*r = append(*r, hashes...)
}

func (r reference) root(t testing.TB, size int64) tlog.Hash {
	t.Helper()
	root, err := sumdb.TreeHash(size, r)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func entry(n int64) []byte { return binary.BigEndian.AppendUint64([]byte("entry "), uint64(n)) }

// tiles is a source of full tiles that counts what is read.
type tiles struct {
	full  map[[2]int64][]tlog.Hash
	reads int
}

func (s *tiles) add(done []tlog.Tile) {
	for _, t := range done {
		s.full[[2]int64{int64(t.Level), t.N}] = t.Hashes
	}
}

func (s *tiles) Tile(level int, n int64) ([]tlog.Hash, error) {
	s.reads++
	hashes, ok := s.full[[2]int64{int64(level), n}]
	if !ok {
		return nil, errors.New("no such tile")
	}
	return hashes, nil
}

// grow appends to an edge until it has the size.
func grow(e *tlog.Edge, size int64, src *tiles) {
	for n := e.Size(); n < size; n++ {
		src.add(e.Append(tlog.LeafHash(entry(n))))
	}
}

func newTiles() *tiles { return &tiles{full: make(map[[2]int64][]tlog.Hash)} }

func newEdge(t testing.TB) *tlog.Edge {
	t.Helper()
	e, err := tlog.NewEdge(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestRFC6962Vectors checks roots that every implementation of the RFC knows.
func TestRFC6962Vectors(t *testing.T) {
	leaves := []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}
	roots := []string{
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	e := newEdge(t)
	for i, want := range roots {
		if root := e.Root(); hex.EncodeToString(root[:]) != want {
			t.Errorf("root of %d leaves is %x, want %s", i, root, want)
		}
		if i < len(leaves) {
			leaf, _ := hex.DecodeString(leaves[i])
			e.Append(tlog.LeafHash(leaf))
		}
	}
}

// TestEdgeGrows compares the edge with the reference at every size, and the
// edge restored from its own hashes with the edge that grew.
func TestEdgeGrows(t *testing.T) {
	var ref reference
	e, src := newEdge(t), newTiles()
	for size := int64(0); size <= 2000; size++ {
		if e.Size() != size || e.Root() != ref.root(t, size) {
			t.Fatalf("size %d: edge of size %d has root %s, want %s", size, e.Size(), e.Root(), ref.root(t, size))
		}
		restored, err := tlog.NewEdge(size, e.Levels())
		if err != nil {
			t.Fatalf("restore size %d: %v", size, err)
		}
		if restored.Root() != e.Root() {
			t.Fatalf("size %d: the restored edge has another root", size)
		}
		done := e.Append(tlog.LeafHash(entry(size)))
		ref.append(t, size)
		for i, tile := range done {
			if tile.Level != i {
				t.Fatalf("size %d: tile %d of the append has level %d", size, i, tile.Level)
			}
		}
		if again := restored.Append(tlog.LeafHash(entry(size))); len(again) != len(done) || restored.Root() != e.Root() {
			t.Fatalf("size %d: the restored edge grew otherwise", size)
		}
		src.add(done)
	}
}

// TestAppendReturnsTiles compares each completed tile with the nodes of the
// reference, across the point where a tile of level 1 completes.
func TestAppendReturnsTiles(t *testing.T) {
	const size = 256*256 + 300
	var ref reference
	e, count := newEdge(t), map[int]int64{}
	for n := range int64(size) {
		ref.append(t, n)
		for _, tile := range e.Append(tlog.LeafHash(entry(n))) {
			if tile.N != count[tile.Level] {
				t.Fatalf("tile %d of level %d came after %d others", tile.N, tile.Level, count[tile.Level])
			}
			count[tile.Level]++
			for i, h := range tile.Hashes {
				if want := ref[sumdb.StoredHashIndex(8*tile.Level, tile.N*256+int64(i))]; h != want {
					t.Fatalf("hash %d of tile %d of level %d is wrong", i, tile.N, tile.Level)
				}
			}
			if want := ref[sumdb.StoredHashIndex(8*tile.Level+8, tile.N)]; tile.Root != want || len(tile.Hashes) != tlog.TileHashes {
				t.Fatalf("tile %d of level %d has a wrong root or %d hashes", tile.N, tile.Level, len(tile.Hashes))
			}
		}
	}
	if count[0] != 257 || count[1] != 1 || count[2] != 0 {
		t.Errorf("completed tiles per level: %v", count)
	}
	if e.Root() != ref.root(t, size) {
		t.Error("wrong root")
	}
}

func TestNewEdgeRefuses(t *testing.T) {
	h := func(n int) []tlog.Hash { return make([]tlog.Hash, n) }
	for _, test := range []struct {
		name   string
		size   int64
		levels [][]tlog.Hash
	}{
		{"negative size", -1, nil},
		{"size over the limit", tlog.MaxSize + 1, nil},
		{"empty tree with a level", 0, [][]tlog.Hash{h(0)}},
		{"missing level", 256, [][]tlog.Hash{h(0)}},
		{"level too many", 255, [][]tlog.Hash{h(255), h(0)}},
		{"hash too few", 300, [][]tlog.Hash{h(43), h(1)}},
		{"hash too many", 300, [][]tlog.Hash{h(44), h(2)}},
		{"full tile", 256, [][]tlog.Hash{h(256), h(1)}},
	} {
		if _, err := tlog.NewEdge(test.size, test.levels); err == nil {
			t.Errorf("%s: accepted", test.name)
		}
	}
}

// TestCloneIsIndependent grows random clones side by side, as failed
// transactions do, and compares each with a tree of its own leaves.
func TestCloneIsIndependent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	type tree struct {
		edge   *tlog.Edge
		leaves []tlog.Hash
	}
	trees := []tree{{edge: newEdge(t)}}
	for step := range 3000 {
		i := rng.IntN(len(trees))
		if len(trees) < 8 && rng.IntN(10) == 0 {
			trees = append(trees, tree{trees[i].edge.Clone(), slices.Clone(trees[i].leaves)})
			continue
		}
		for range rng.IntN(5) {
			leaf := tlog.LeafHash(entry(int64(step)<<32 | rng.Int64N(1<<32)))
			trees[i].edge.Append(leaf)
			trees[i].leaves = append(trees[i].leaves, leaf)
		}
	}
	for i, tr := range trees {
		want := newEdge(t)
		for _, leaf := range tr.leaves {
			want.Append(leaf)
		}
		if tr.edge.Size() != want.Size() || tr.edge.Root() != want.Root() {
			t.Errorf("clone %d of %d leaves has a wrong root", i, tr.edge.Size())
		}
	}
}

// TestProveBatch appends random batches and proves every leaf of each from
// memory alone.
func TestProveBatch(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	e := newEdge(t)
	grow(e, 65536-1500, newTiles())
	for e.Size() < 65536+1500 {
		first := e.Size()
		var recent []tlog.Tile
		for n := range int64(1 + rng.IntN(600)) {
			recent = append(recent, e.Append(tlog.LeafHash(entry(first+n)))...)
		}
		root := e.Root()
		for index := first; index < e.Size(); index++ {
			proof, err := e.Prove(index, recent)
			if err != nil {
				t.Fatalf("batch %d to %d: %v", first, e.Size(), err)
			}
			if err := tlog.VerifyInclusion(root, e.Size(), index, tlog.LeafHash(entry(index)), proof); err != nil {
				t.Fatalf("batch %d to %d, leaf %d: %v", first, e.Size(), index, err)
			}
		}
	}
	if _, err := e.Prove(0, nil); err == nil {
		t.Error("an old leaf was proven without its tile")
	}
	for _, index := range []int64{-1, e.Size()} {
		if _, err := e.Prove(index, nil); problem.KindOf(err) != problem.NotFound {
			t.Errorf("leaf %d: %v", index, err)
		}
	}
}
