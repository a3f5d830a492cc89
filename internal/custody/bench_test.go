package custody_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/release"
)

// BenchmarkPush pushes charts by 16 publishers, without anything that keeps the
// log and with it, once a second as a server does.
func BenchmarkPush(b *testing.B) {
	for _, kept := range []bool{false, true} {
		b.Run(fmt.Sprintf("kept=%v", kept), func(b *testing.B) {
			w := newWorld(b, false)
			w.project("demo", release.ProjectOptions{})
			charts := make([][]byte, b.N)
			for i := range charts {
				charts[i] = charttest.Build(b, fmt.Sprintf("chart%d", i%50), fmt.Sprintf("1.0.%d", i), nil)
			}
			done := make(chan struct{})
			var beside sync.WaitGroup
			if kept {
				beside.Go(func() {
					tick := time.NewTicker(time.Second)
					defer tick.Stop()
					for {
						select {
						case <-tick.C:
							if err := w.keeper.Keep(w.ctx); err != nil {
								b.Error(err)
							}
						case <-done:
							return
						}
					}
				})
			}
			var next atomic.Int64
			var publishers sync.WaitGroup
			b.ResetTimer()
			for range 16 {
				publishers.Go(func() {
					for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
						if _, err := w.svc.PushArchive(w.ctx, w.admin, "demo", bytes.NewReader(charts[i]), nil, release.PushOptions{}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			publishers.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pushes/s")
			close(done)
			beside.Wait()
		})
	}
}

// BenchmarkKeep keeps a log of b.N releases from its beginning, as after an
// upgrade.
func BenchmarkKeep(b *testing.B) {
	w := newWorld(b, false)
	w.project("demo", release.ProjectOptions{})
	for i := range b.N {
		w.push("demo", "web", fmt.Sprintf("1.0.%d", i), false)
	}
	b.ResetTimer()
	w.keepAll(int64(b.N))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "releases/s")
	for _, folder := range []string{"aside", "entries/release"} {
		var size int64
		w.ok(filepath.WalkDir(filepath.Join(w.folder, "records", folder), func(_ string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			info, err := e.Info()
			size += info.Size()
			return err
		}))
		b.ReportMetric(float64(size)/float64(b.N), folder+"-B/release")
	}
}

// keepAll keeps until a release log is kept to a size.
func (w *world) keepAll(size int64) {
	for w.keeper.Kept(custody.Releases) < size || w.keeper.Kept(custody.Audits) < size {
		w.ok(w.keeper.Keep(w.ctx))
	}
}

// BenchmarkRecover brings a log of b.N releases back into an empty database.
func BenchmarkRecover(b *testing.B) {
	w := newWorld(b, false)
	w.project("demo", release.ProjectOptions{})
	for i := range b.N {
		w.push("demo", "web", fmt.Sprintf("1.0.%d", i), false)
	}
	w.keepAll(int64(b.N))
	w.close()
	w.dsn += "-empty"
	w.open()
	b.ResetTimer()
	_, err := w.keeper.Recover(w.ctx, true)
	w.ok(err)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "releases/s")
}

// BenchmarkKeepIdle is what the keeper costs when nothing has happened.
func BenchmarkKeepIdle(b *testing.B) {
	w := newWorld(b, false)
	w.ok(w.store.Record(w.ctx, w.now, audit.Event{Name: audit.LoginOK, Actor: audit.Actor{Kind: "system", ID: "server"}, Door: audit.DoorServer, Outcome: audit.Outcome{Result: audit.Allowed}}))
	w.ok(w.keeper.Keep(w.ctx))
	for b.Loop() {
		w.ok(w.keeper.Keep(w.ctx))
	}
	if w.keeper.Kept(custody.Audits) == 0 {
		b.Error("nothing is kept")
	}
}
