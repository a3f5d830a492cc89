package index

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
)

// The sources of the benchmarks are made once: 100,000 entries take 200 MB.
var benchSources = map[int]func() *memSource{
	1000:   sync.OnceValue(func() *memSource { return syntheticSource(1000) }),
	10000:  sync.OnceValue(func() *memSource { return syntheticSource(10000) }),
	100000: sync.OnceValue(func() *memSource { return syntheticSource(100000) }),
}

func benchmark(b *testing.B, counts []int, run func(b *testing.B, src *memSource, ix *Index)) {
	for _, n := range counts {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			src := benchSources[n]()
			run(b, src, mustBuild(b, src, pieceSizes))
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	benchmark(b, []int{10000, 100000}, func(b *testing.B, src *memSource, ix *Index) {
		b.ReportAllocs()
		b.SetBytes(ix.RawLen(testHead))
		for b.Loop() {
			if _, err := Build(context.Background(), src, 1); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(ix.GzipLen(testHead))/1e6, "MB-gzip")
		b.ReportMetric(float64(len(ix.pieces)), "pieces")
	})
}

// BenchmarkUpdate is the index after one push, or one yank, of a chart's newest
// version.
func BenchmarkUpdate(b *testing.B) {
	benchmark(b, []int{1000, 10000, 100000}, func(b *testing.B, src *memSource, ix *Index) {
		src = &memSource{keys: slices.Clone(src.keys), fragments: maps.Clone(src.fragments), changes: slices.Clone(src.changes)}
		charts := len(src.keys) / 100
		for i := range charts { // keys of no fragment, so that a push moves nothing in the source
			_, name, _ := syntheticKey(i, 0)
			src.keys = append(src.keys, Key{name, "9"})
		}
		slices.SortFunc(src.keys, Key.Compare)
		fragment := src.fragments[src.keys[1]]
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			_, name, _ := syntheticKey(n*7919%charts, 0)
			k := Key{name, "9"}
			if src.fragments[k] == nil {
				src.fragments[k] = fragment
			} else {
				delete(src.fragments, k)
			}
			src.changes = append(src.changes, k)
			next, err := ix.Update(context.Background(), src, src.generation())
			if err != nil {
				b.Fatal(err)
			}
			ix = next
			n++
		}
	})
}

func BenchmarkWriteGzip(b *testing.B) {
	benchmark(b, []int{10000, 100000}, func(b *testing.B, _ *memSource, ix *Index) {
		b.ReportAllocs()
		for b.Loop() {
			if err := ix.WriteGzip(io.Discard, testHead); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkWriteRaw(b *testing.B) {
	benchmark(b, []int{10000, 100000}, func(b *testing.B, _ *memSource, ix *Index) {
		b.ReportAllocs()
		b.SetBytes(ix.RawLen(testHead))
		for b.Loop() {
			if err := ix.WriteRaw(io.Discard, testHead); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkWriteYAML(b *testing.B) {
	benchmark(b, []int{10000}, func(b *testing.B, _ *memSource, ix *Index) {
		b.ReportAllocs()
		b.SetBytes(ix.RawLen(testHead))
		for b.Loop() {
			if err := ix.WriteYAML(io.Discard, testHead); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkReadCache(b *testing.B) {
	benchmark(b, []int{10000, 100000}, func(b *testing.B, _ *memSource, ix *Index) {
		file := cacheFile(b, ix, "p")
		b.ReportAllocs()
		b.SetBytes(int64(len(file)))
		for b.Loop() {
			if _, err := ReadCache(bytes.NewReader(file), "p", int64(len(file))); err != nil {
				b.Fatal(err)
			}
		}
	})
}
