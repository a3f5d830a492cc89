package tlog_test

import (
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/tlog"
)

// benchSize is a log of a million leaves whose newest tiles are part full.
const benchSize = 1<<20 + 200

func benchTree(b *testing.B) (*tlog.Edge, *tiles) {
	e, src := newEdge(b), newTiles()
	grow(e, benchSize, src)
	return e, src
}

func BenchmarkAppend(b *testing.B) {
	e, _ := benchTree(b)
	leaf := tlog.LeafHash(nil)
	for b.Loop() {
		e.Append(leaf)
	}
}

// BenchmarkCommitOne is what the tree costs a batch of one: clone, append,
// root and proof.
func BenchmarkCommitOne(b *testing.B) {
	e, _ := benchTree(b)
	leaf := tlog.LeafHash(nil)
	b.ReportAllocs()
	for b.Loop() {
		next := e.Clone()
		recent := next.Append(leaf)
		next.Root()
		if _, err := next.Prove(next.Size()-1, recent); err != nil {
			b.Fatal(err)
		}
		e = next
	}
}

// BenchmarkCommitBatch is what the tree costs each leaf of a batch of 256.
func BenchmarkCommitBatch(b *testing.B) {
	e, _ := benchTree(b)
	leaf := tlog.LeafHash(nil)
	for b.Loop() {
		next := e.Clone()
		var recent []tlog.Tile
		for range 256 {
			recent = append(recent, next.Append(leaf)...)
		}
		next.Root()
		for index := e.Size(); index < next.Size(); index++ {
			if _, err := next.Prove(index, recent); err != nil {
				b.Fatal(err)
			}
		}
		e = next
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(256*b.N), "ns/leaf")
}

func BenchmarkRoot(b *testing.B) {
	e, _ := benchTree(b)
	for b.Loop() {
		e.Root()
	}
}

func BenchmarkNewEdge(b *testing.B) {
	e, _ := benchTree(b)
	levels := e.Levels()
	for b.Loop() {
		if _, err := tlog.NewEdge(benchSize, levels); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProve(b *testing.B) {
	e, _ := benchTree(b)
	for b.Loop() {
		if _, err := e.Prove(benchSize-100, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkInclusionProof(b *testing.B) {
	e, src := benchTree(b)
	for b.Loop() {
		if _, err := tlog.InclusionProof(benchSize, benchSize/3, e, src); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignCheckpoint(b *testing.B) {
	log := newKeys(b, origin, 1)
	for b.Loop() {
		if _, err := tlog.SignCheckpoint(origin, benchSize, tlog.Hash{}, log.signer); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProofVerify(b *testing.B) {
	p, key := newProof(b)
	text, known := p.Marshal(), note.VerifierList(key)
	for b.Loop() {
		q, err := tlog.ParseProof(text)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := q.Verify(origin, known); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLeafMarshal(b *testing.B) {
	leaf := release()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := leaf.Marshal(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseLeaf(b *testing.B) {
	text, err := release().Marshal()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tlog.ParseLeaf(text); err != nil {
			b.Fatal(err)
		}
	}
}
