package watch_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// BenchmarkCycle polls 100,000 versions, of which 1 % are listed with another
// digest than before: one poll of each upstream, everything recorded. The
// archives are not fetched.
func BenchmarkCycle(b *testing.B) {
	b.Run("1000x100", func(b *testing.B) { benchmarkCycle(b, 1000, 100) })
	b.Run("1x100000", func(b *testing.B) { benchmarkCycle(b, 1, 100_000) })
}

func benchmarkCycle(b *testing.B, upstreams, versions int) {
	w := newWorld(b)
	url := func(i int) string { return fmt.Sprintf("https://u%d.example.test", i) }
	show := func(mark byte) {
		for i := range upstreams {
			c := upstream.Chart{Name: "web"}
			for v := range versions {
				m := byte('a')
				if v%100 == 7 {
					m = mark
				}
				c.Versions = append(c.Versions, upstream.Version{
					Version: fmt.Sprintf("1.%d.0", v), Digest: fmt.Sprintf("%063x%c", i*versions+v, m), AppVersion: "1.0",
					URLs: []string{fmt.Sprintf("%s/web-1.%d.0.tgz", url(i), v)},
				})
			}
			x := upstream.Index{Charts: []upstream.Chart{c}}
			w.sources.answer(url(i), func(watch.Validators) (watch.Found, error) { return watch.Found{Index: &x}, nil })
		}
	}
	for i := range upstreams {
		_, err := w.AddUpstream(w.ctx, boss, watch.NewUpstream{Name: fmt.Sprintf("u%d", i), Keep: watch.KeepNone, Sources: index(url(i))})
		w.ok(err)
	}
	show('a')
	w.now = w.now.Add(step)
	n, err := w.PollDue(w.ctx)
	w.ok(err)
	if n != upstreams {
		b.Fatalf("%d upstreams were polled", n)
	}
	marks := []byte("bc")
	b.ResetTimer()
	began, peak := cpu(b), highest(b)
	for i := range b.N {
		b.StopTimer()
		show(marks[i%2])
		w.now = w.now.Add(step + 10*time.Minute)
		before := w.last()
		b.StartTimer()
		if n, err := w.PollDue(w.ctx); err != nil || n != upstreams {
			b.Fatalf("%d upstreams were polled: %v", n, err)
		}
		b.StopTimer()
		if n := len(w.since(before)); n != upstreams*versions/100 {
			b.Fatalf("%d events", n)
		}
		b.StartTimer()
	}
	b.ReportMetric((cpu(b)-began).Seconds()/float64(b.N), "cpu-s/op")
	b.ReportMetric(float64(peak())/(1<<20), "peak-MB")
}

// highest watches the memory that the heap takes until the function that it
// returns is called.
func highest(b *testing.B) func() uint64 {
	stop := make(chan struct{})
	var running sync.WaitGroup
	var most uint64
	running.Go(func() {
		for t := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-stop:
				return
			case <-t.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse+m.StackInuse)
			}
		}
	})
	return func() uint64 {
		close(stop)
		running.Wait()
		return most
	}
}
