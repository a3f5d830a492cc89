package blob_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/store/blob"
)

// chartSize is what a chart archive commonly has.
const chartSize = 20_000

// benchPush commits content of which the number n makes a blob of its own.
func benchPush(b *testing.B, s *blob.Dir, content []byte, n uint64) {
	binary.LittleEndian.PutUint64(content, n)
	up, err := s.Begin(context.Background())
	if err == nil {
		_, err = up.Write(content)
	}
	if err == nil {
		_, _, err = up.Commit(context.Background(), "")
	}
	if err != nil {
		b.Error(err)
	}
}

// BenchmarkCommit commits new blobs of 20 KB, durably, into folders that are
// there already.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s := openDir(b, b.TempDir())
			var next atomic.Uint64
			content := make([]byte, chartSize)
			for range 2000 {
				benchPush(b, s, content, next.Add(1))
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var group sync.WaitGroup
			for range writers {
				group.Go(func() {
					content := make([]byte, chartSize)
					for left.Add(-1) >= 0 {
						benchPush(b, s, content, next.Add(1))
					}
				})
			}
			group.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// BenchmarkCommitKnown commits what is there already.
func BenchmarkCommitKnown(b *testing.B) {
	s := openDir(b, b.TempDir())
	content := make([]byte, chartSize)
	b.ReportAllocs()
	for b.Loop() {
		benchPush(b, s, content, 1)
	}
}

// BenchmarkTaken uploads 20 KB that are then kept elsewhere.
func BenchmarkTaken(b *testing.B) {
	s := openDir(b, b.TempDir())
	content := make([]byte, chartSize)
	b.ReportAllocs()
	for b.Loop() {
		up, err := s.Begin(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := up.Write(content); err != nil {
			b.Fatal(err)
		}
		if _, err := up.Bytes(chartSize); err != nil {
			b.Fatal(err)
		}
		if err := up.Cancel(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead opens, reads and verifies a blob of 20 KB, as a pull does.
func BenchmarkRead(b *testing.B) {
	s := openDir(b, b.TempDir())
	content := make([]byte, chartSize)
	benchPush(b, s, content, 1)
	named := sha256Of(content)
	b.ReportAllocs()
	b.SetBytes(chartSize)
	for b.Loop() {
		r, err := s.Open(context.Background(), named)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := digest.Verified(r, named).WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
