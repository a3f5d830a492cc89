package history_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/history"
)

// manyLeaves are n leaves as a registry makes them: releases of 50 projects
// with 20 charts each, a yank for every hundredth.
func manyLeaves(t testing.TB, n int) [][]byte {
	out := make([][]byte, 0, n)
	for p := range 50 {
		out = append(out, entry(t, created(fmt.Sprintf("team-%d/apps", p)), start))
	}
	for i := len(out); i < n; i++ {
		now := start.Add(time.Duration(i) * time.Second)
		l := released(fmt.Sprintf("team-%d/apps/chart-%d@%d.%d.%d", i%50, i/50%20, i/100000, i/1000%100, i%1000))
		l.Archive, l.Manifest = fmt.Sprintf("sha256:%064x", i), fmt.Sprintf("sha256:%064x", i*7)
		out = append(out, entry(t, l, now))
		if i%100 == 0 && i+1 < n {
			out = append(out, entry(t, yank(int64(i), fmt.Sprintf("%s/%s@%s", l.Project, l.Chart, l.Version)), now))
			i++
		}
	}
	return out
}

func add(t testing.TB, r *history.Replay, entries [][]byte) {
	for i, e := range entries {
		if v := r.Add(int64(i), e); v != nil {
			t.Fatal(v[0])
		}
	}
}

// BenchmarkAdd replays 100,000 leaves.
func BenchmarkAdd(b *testing.B) {
	entries := manyLeaves(b, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		add(b, history.New(), entries)
	}
	b.ReportMetric(float64(len(entries))*float64(b.N)/b.Elapsed().Seconds(), "leaves/s")
}

// BenchmarkMemory says what a million leaves cost in memory, and their state in
// a file and in time.
func BenchmarkMemory(b *testing.B) {
	const n = 1_000_000
	for b.Loop() {
		b.StopTimer()
		before := heap()
		r := history.New()
		for p := range 50 {
			r.Add(r.Size(), entry(b, created(fmt.Sprintf("team-%d/apps", p)), start))
		}
		for i := r.Size(); i < n; i++ {
			l := released(fmt.Sprintf("team-%d/apps/chart-%d@%d.%d.%d", i%50, i/50%20, i/100000, i/1000%100, i%1000))
			if v := r.Add(i, entry(b, l, start)); v != nil {
				b.Fatal(v[0])
			}
		}
		b.ReportMetric(float64(heap()-before)/float64(r.Releases()), "B/release")
		b.StartTimer()
		var state bytes.Buffer
		if _, err := r.WriteTo(&state); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(state.Len())/float64(r.Releases()), "stateB/release")
		if _, err := history.Read(&state); err != nil {
			b.Fatal(err)
		}
		runtime.KeepAlive(r)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// FuzzAdd replays foreign entries: whatever they are, the replay goes on, its
// state survives being written down, and it says the same again.
func FuzzAdd(f *testing.F) {
	for _, c := range cases {
		var list [][]byte
		for _, leaf := range c.leaves {
			list = append(list, entry(f, leaf, start))
		}
		f.Add(bytes.Join(list, []byte("\n\n")))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, again := history.New(), history.New()
		for i, e := range bytes.Split(text, []byte("\n\n")) {
			e = append(e, '\n')
			got := fmt.Sprint(r.Add(int64(i), e))
			if want := fmt.Sprint(again.Add(int64(i), e)); got != want {
				t.Fatalf("leaf %d: %s, and after reading the state %s", i, got, want)
			}
			var b bytes.Buffer
			if _, err := again.WriteTo(&b); err != nil {
				t.Fatal(err)
			}
			var err error
			if again, err = history.Read(&b); err != nil {
				t.Fatalf("leaf %d: %v", i, err)
			}
		}
	})
}

// FuzzRead reads foreign states: what is taken is written again in the same
// bytes.
func FuzzRead(f *testing.F) {
	for _, c := range cases {
		r := history.New()
		for _, leaf := range c.leaves {
			r.Add(r.Size(), entry(f, leaf, start))
		}
		var b bytes.Buffer
		if _, err := r.WriteTo(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes()[:b.Len()-32])
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		text = mended(text)
		r, err := history.Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if _, err := r.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), text) {
			t.Fatalf("read %q and wrote %q", text, b.Bytes())
		}
		for range r.Projects() {
		}
		r.Add(r.Size(), []byte("x"))
	})
}

// mended ends a state with the checksum that it should have.
func mended(text []byte) []byte {
	sum := sha256.Sum256(text)
	return append(text[:len(text):len(text)], sum[:]...)
}
