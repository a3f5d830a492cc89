package storetest

import (
	"bytes"
	"fmt"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// fill claims releases one by one until the log has a size, and returns them.
func (l *ledger) fill(name string, size int64) []release.Release {
	l.Helper()
	var made []release.Release
	for n := l.size(); n < size; n++ {
		made = append(made, l.claim(offer(l.project, name, fmt.Sprintf("0.0.%d", n), fmt.Sprint(n))))
	}
	return made
}

// fillBatches does the same with as many as fit into one transaction.
func (l *ledger) fillBatches(name string, size int64) {
	l.Helper()
	var wg sync.WaitGroup
	results := make(chan release.ClaimResult, size)
	for n := l.size(); n < size; n++ {
		wg.Go(func() {
			res, err := l.Claim(l.Context(), offer(l.project, name, fmt.Sprintf("1.0.%d", n), fmt.Sprint(n)))
			if err != nil {
				l.Error(err)
				return
			}
			results <- res
		})
	}
	wg.Wait()
	close(results)
	for res := range results {
		l.verify(res)
	}
}

func (l *ledger) proven(index int64) {
	l.Helper()
	p, err := l.Prove(l.Context(), index)
	l.ok(err)
	cp, _, err := p.Verify(Origin, l.verifiers())
	l.ok(err)
	leaf, err := l.Leaf(l.Context(), index)
	l.ok(err)
	if !bytes.Equal(leaf, p.Leaf) || p.Index != index {
		l.Fatalf("leaf %d: %q, proven %d: %q", index, leaf, p.Index, p.Leaf)
	}
	l.checkpoints = append(l.checkpoints, cp)
}

// logTiles makes a log grow over the border of a tile leaf by leaf, and over
// another in batches.
func logTiles(l *ledger) {
	l.fillBatches("web", 253)
	l.fill("web", 259)
	for i := range l.size() {
		l.proven(i)
	}
	l.fillBatches("web", 520)
	for _, i := range []int64{0, 1, 254, 255, 256, 257, 510, 511, 512, 513, 519} {
		l.proven(i)
	}
}

// logBatch has batches that begin and end on every side of the border.
func logBatch(l *ledger) {
	for _, size := range []int64{200, 255, 256, 257, 400, 600} {
		l.fillBatches("web", size)
	}
}

func logRanges(l *ledger) {
	ctx := l.Context()
	l.fillBatches("web", 300)
	info, err := l.LogInfo(ctx)
	l.ok(err)
	if info.Origin != Origin || info.Size != 300 || info.VerifierKey != Keys(l).VerifierKey || info.Time.IsZero() {
		l.Fatalf("log %+v", info)
	}
	entries := l.leaves()
	for _, width := range []int{1, 44} { // of the partial tile
		tile, err := l.Tile(ctx, 0, 1, width)
		l.ok(err)
		if len(tile) != 32*width {
			l.Fatalf("tile of %d bytes", len(tile))
		}
		for i := range width {
			if h := tlog.LeafHash(entries[256+i]); !bytes.Equal(tile[32*i:32*i+32], h[:]) {
				l.Fatalf("hash %d of the tile is not that of its leaf", i)
			}
		}
	}
	full, err := l.Tile(ctx, 0, 0, 256)
	l.ok(err)
	part, err := l.Tile(ctx, 0, 0, 255) // of a full tile, as somebody may still ask
	l.ok(err)
	if len(full) != 256*32 || !bytes.Equal(full[:255*32], part) {
		l.Fatal("a part of a full tile is not its beginning")
	}
	top, err := l.Tile(ctx, 1, 0, 1)
	l.ok(err)
	if len(top) != 32 {
		l.Fatalf("tile of level 1 has %d bytes", len(top))
	}
	for _, bad := range []struct {
		level int
		n     int64
		width int
	}{{0, 1, 45}, {0, 1, 256}, {0, 2, 1}, {1, 0, 2}, {1, 1, 1}, {2, 0, 1}, {-1, 0, 1}, {99, 0, 1}, {0, -1, 1}, {0, 1 << 60, 1}, {0, 0, 0}, {0, 0, 257}} {
		_, err := l.Tile(ctx, bad.level, bad.n, bad.width)
		l.refused(err, problem.NotFound, "log-range")
		if bad.level == 0 {
			_, err := l.Entries(ctx, bad.n, bad.width)
			l.refused(err, problem.NotFound, "log-range")
		}
	}
	for _, index := range []int64{-1, 300, 1 << 60} {
		_, err := l.Leaf(ctx, index)
		l.refused(err, problem.NotFound, "log-range")
		_, err = l.Prove(ctx, index)
		l.refused(err, problem.NotFound, "log-range")
	}
	for _, sizes := range [][2]int64{{-1, 5}, {6, 5}, {5, 301}} {
		_, err := l.Consistency(ctx, sizes[0], sizes[1])
		l.refused(err, problem.NotFound, "log-range")
	}
}

// logTime has callers whose clocks disagree, within one batch and between
// batches; checkLog then looks at the times.
func logTime(l *ledger) {
	var wg sync.WaitGroup
	for round := range 5 {
		for i := range 20 {
			wg.Go(func() {
				c := offer(l.project, fmt.Sprintf("chart%d", i), fmt.Sprintf("%d.0.0", round), "x")
				c.Now = start.Add(time.Duration((i*7)%20-10)*time.Hour - time.Duration(round)*24*time.Hour)
				if _, err := l.Claim(l.Context(), c); err != nil {
					l.Error(err)
				}
			})
		}
		wg.Wait()
	}
	// A restart with a clock in the past.
	l.ok(l.Close())
	l.LedgerStore = l.open(l.T, func() time.Time { return start.Add(-1000 * time.Hour) })
	c := offer(l.project, "late", "1.0.0", "x")
	c.Now = time.Time{}
	r := l.claim(c)
	if r.Time.Before(start) {
		l.Fatalf("the release says %s", r.Time)
	}
}
