package index

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

func raw(tb testing.TB, ix *Index, head Head) string {
	tb.Helper()
	var b bytes.Buffer
	if err := ix.WriteRaw(&b, head); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

func gzipped(tb testing.TB, ix *Index, head Head) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := ix.WriteGzip(&b, head); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestDocument(t *testing.T) {
	src := newMemSource()
	if got, want := raw(t, mustBuild(t, src, pieceSizes), testHead), testHeadText+"}}\n"; got != want {
		t.Errorf("empty index is\n%s\nwant\n%s", got, want)
	}
	src.put(Key{"b", "1"}, []byte(`{"v":"b1"}`))
	src.put(Key{"a", "1"}, []byte(`{"v":"a1"}`))
	src.put(Key{"b", "2"}, []byte(`{"v":"b2"}`))
	src.put(Key{"a-b", "1"}, []byte(`{"v":"ab1"}`))
	head := Head{Generated: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("", 3600)), ContextPath: "/x\"y"}
	want := `{"apiVersion":"v1","generated":"2026-01-02T02:04:05.000006Z","serverInfo":{"contextPath":"/x\"y"},"entries":{` +
		`"a":[{"v":"a1"}],"a-b":[{"v":"ab1"}],"b":[{"v":"b2"},{"v":"b1"}]}}` + "\n"
	for _, s := range []sizes{pieceSizes, {1, 1, 1}} { // one piece; a piece for each fragment
		if got := raw(t, mustBuild(t, src, s), head); got != want {
			t.Errorf("sizes %v: index is\n%s\nwant\n%s", s, got, want)
		}
	}
}

// checkWritten checks everything that is written about an index against a
// document made the plain way.
func checkWritten(t *testing.T, ix *Index, head Head, want string) {
	t.Helper()
	if got := raw(t, ix, head); got != want {
		t.Fatalf("raw index has %d bytes, want %d, or they differ", len(got), len(want))
	}
	if n := ix.RawLen(head); n != int64(len(want)) {
		t.Fatalf("RawLen is %d, want %d", n, len(want))
	}
	z := gzipped(t, ix, head)
	if n := ix.GzipLen(head); n != int64(len(z)) {
		t.Fatalf("GzipLen is %d, want %d", n, len(z))
	}
	in := bytes.NewReader(z)
	zr, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	zr.Multistream(false)
	got, err := io.ReadAll(zr) // checks CRC-32 and length
	if err != nil || string(got) != want {
		t.Fatalf("gunzip gives %d bytes, want %d, or they differ: %v", len(got), len(want), err)
	}
	if in.Len() != 0 {
		t.Fatalf("%d bytes follow the first gzip member", in.Len())
	}
}

func TestUpdateIsBuild(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { testUpdateIsBuild(t, seed) })
	}
}

func testUpdateIsBuild(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	// From pieces of one fragment each to pieces of many charts.
	s := []sizes{{1, 1, 1}, {40, 30, 120}, {300, 200, 900}, {1500, 1500, 4000}}[seed%4]
	charts, versions := 1+r.IntN(25), 1+r.IntN(40)
	src := newMemSource()
	ix := mustBuild(t, src, s)
	for step := range 100 {
		for range 1 + r.IntN(1+step%9) {
			k := Key{fmt.Sprintf("c%02d", r.IntN(charts)), fmt.Sprintf("%03d", r.IntN(versions))}
			remove := r.IntN(10) < 3 || step > 75 && r.IntN(10) < 8
			if remove {
				src.put(k, nil)
			} else {
				n := r.IntN(60)
				if r.IntN(20) == 0 {
					n = r.IntN(3 * s.max)
				}
				src.put(k, fmt.Appendf(nil, `{"n":%d,"x":"%s"}`, src.generation(), strings.Repeat("x", n)))
			}
		}
		if step == 92 { // at last nothing is left
			for _, k := range append([]Key(nil), src.keys...) {
				src.put(k, nil)
			}
		}
		next, err := ix.Update(t.Context(), src, src.generation())
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		ix = next
		checkWritten(t, ix, testHead, src.document(testHeadText))
		built := mustBuild(t, src, s)
		if !bytes.Equal(gzipped(t, ix, testHead), gzipped(t, built, testHead)) {
			t.Fatalf("step %d: updated and built index pack differently", step)
		}
		if step == 92 && len(ix.pieces) != 0 {
			t.Fatalf("an empty index has %d pieces", len(ix.pieces))
		}
	}
}

// One push must cost a piece or two however many there are.
func TestUpdateTouchesFewPieces(t *testing.T) {
	src := syntheticSource(4000)
	ix := mustBuild(t, src, pieceSizes)
	const pushes = 60
	r := rand.New(rand.NewPCG(3, 4))
	rebuilt, src0 := 0, 0
	for n := range pushes {
		_, name, _ := syntheticKey(r.IntN(40), 0)
		src.put(Key{name, fmt.Sprintf("1%05d", n)}, synthetic(name, fmt.Sprintf("9.0.%d", n), uint64(1e6+n)))
		src.scanned = 0
		next, err := ix.Update(t.Context(), src, src.generation())
		if err != nil {
			t.Fatal(err)
		}
		src0 += src.scanned
		old := map[*piece]bool{}
		for _, p := range ix.pieces {
			old[p] = true
		}
		for _, p := range next.pieces {
			if !old[p] {
				rebuilt++
			}
		}
		ix = next
	}
	if len(ix.pieces) < 20 {
		t.Fatalf("only %d pieces: the test shows nothing", len(ix.pieces))
	}
	if rebuilt < pushes || rebuilt > pushes*3/2 {
		t.Errorf("%d pushes rebuilt %d of %d pieces each time, want 1 to 1.5", pushes, rebuilt, len(ix.pieces))
	}
	if mean := src0 / pushes; mean > 200 {
		t.Errorf("a push read %d fragments, want at most 200 of 4,000", mean)
	}
}

func TestPieceSizes(t *testing.T) {
	src := syntheticSource(3000)
	ix := mustBuild(t, src, pieceSizes)
	total := 0
	for i, p := range ix.pieces {
		if i < len(ix.pieces)-1 && p.raw < pieceSizes.min || p.raw > pieceSizes.max+4<<10 {
			t.Errorf("piece %d has %d bytes", i, p.raw)
		}
		total += p.raw
	}
	if mean := total / len(ix.pieces); mean < 150<<10 || mean > 220<<10 {
		t.Errorf("a piece has %d bytes on average", mean)
	}
	checkWritten(t, ix, testHead, src.document(testHeadText))
	var v struct {
		Entries map[string][]struct{ Version string }
	}
	if err := json.Unmarshal([]byte(raw(t, ix, testHead)), &v); err != nil || len(v.Entries) != 30 {
		t.Errorf("index has %d charts, %v", len(v.Entries), err)
	}
}

// Replicas agree on bytes, and cache files of older builds stay usable, only
// as long as pieces end where they did.
func TestPiecesEndWhereTheyAlwaysDid(t *testing.T) {
	src := newMemSource()
	for i := range 400 {
		src.put(Key{fmt.Sprintf("chart-%d", i/20), fmt.Sprint(i)}, []byte(`{"x":"`+strings.Repeat("y", 4000)+`"}`))
	}
	var b strings.Builder
	for _, p := range mustBuild(t, src, pieceSizes).pieces {
		fmt.Fprintln(&b, p.first, p.last, p.raw, p.crc)
	}
	const want = 0xbc069393
	if got := crc32.ChecksumIEEE([]byte(b.String())); got != want {
		t.Errorf("cuts have checksum %#08x, want %#08x; a new rule needs a new cacheMagic:\n%s", got, want, b.String())
	}
}

func TestUpdateWithoutChange(t *testing.T) {
	src := syntheticSource(200)
	ix := mustBuild(t, src, pieceSizes)
	if same, err := ix.Update(t.Context(), src, ix.Generation()); err != nil || same != ix {
		t.Errorf("update to the same generation: %v, %v", same, err)
	}
	if _, err := ix.Update(t.Context(), src, ix.Generation()-1); err == nil {
		t.Error("update to an older generation succeeds")
	}
	// A key that came and went leaves everything as it was.
	k := Key{"zz", "1"}
	src.put(k, []byte(`{}`))
	src.put(k, nil)
	next, err := ix.Update(t.Context(), src, src.generation())
	if err != nil || next.Generation() != ix.Generation()+2 {
		t.Fatalf("generation %d, %v", next.Generation(), err)
	}
	if !bytes.Equal(gzipped(t, ix, testHead), gzipped(t, next, testHead)) {
		t.Error("the index changed")
	}
}

// badSource says what it is told to.
type badSource struct {
	keys      []Key
	fragments []string
	err       error
}

func (s badSource) Range(_ context.Context, _, _ Key, fn func(Key, []byte) error) error {
	for i, k := range s.keys {
		if err := fn(k, []byte(s.fragments[i])); err != nil {
			return err
		}
	}
	return s.err
}

func (s badSource) Since(_ context.Context, _, _ int64, fn func(Key) error) error {
	for _, k := range s.keys {
		if err := fn(k); err != nil {
			return err
		}
	}
	return s.err
}

func TestSourceErrors(t *testing.T) {
	gone := errors.New("connection gone")
	a1, a2, b1 := Key{"a", "1"}, Key{"a", "2"}, Key{"b", "1"}
	for name, tt := range map[string]struct {
		src  badSource
		want string
	}{
		"order of charts":   {badSource{[]Key{b1, a1}, []string{"{}", "{}"}, nil}, "out of order"},
		"order of versions": {badSource{[]Key{a1, a2}, []string{"{}", "{}"}, nil}, "out of order"},
		"twice":             {badSource{[]Key{a1, a1}, []string{"{}", "{}"}, nil}, "out of order"},
		"no name":           {badSource{[]Key{{"", "1"}}, []string{"{}"}, nil}, "without a name"},
		"no object":         {badSource{[]Key{a1}, []string{"[]"}, nil}, "not a JSON object"},
		"empty":             {badSource{[]Key{a1}, []string{""}, nil}, "not a JSON object"},
		"too large":         {badSource{[]Key{a1}, []string{"{" + strings.Repeat(" ", MaxFragment) + "}"}, nil}, "not a JSON object within"},
		"failing":           {badSource{[]Key{a1}, []string{"{}"}, gone}, "connection gone"},
	} {
		if _, err := Build(t.Context(), tt.src, 1); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Build gives %v, want %q", name, err, tt.want)
		}
	}
	src := syntheticSource(300)
	ix := mustBuild(t, src, pieceSizes)
	if len(ix.pieces) < 3 {
		t.Fatal("too few pieces")
	}
	if _, err := ix.Update(t.Context(), badSource{err: gone}, 1e6); !errors.Is(err, gone) {
		t.Errorf("Update with a failing Since gives %v", err)
	}
	// The source answers a middle piece's range with another piece's key.
	if _, err := ix.Update(t.Context(), badSource{keys: []Key{ix.pieces[1].last, ix.pieces[2].last}, fragments: []string{"{}", "{}"}}, 1e6); err == nil || !strings.Contains(err.Error(), "outside the range") {
		t.Errorf("Update with a source that ignores bounds gives %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, src, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Build after cancelling gives %v", err)
	}
}

func TestSystemGunzipReadsTheIndex(t *testing.T) {
	gunzip, err := exec.LookPath("gzip")
	if err != nil {
		t.Skip("SKIPPED: no gzip program; compress/gzip alone read the index")
	}
	src := syntheticSource(500)
	cmd := exec.CommandContext(t.Context(), gunzip, "-dc")
	cmd.Stdin = bytes.NewReader(gzipped(t, mustBuild(t, src, pieceSizes), testHead))
	out, err := cmd.Output()
	if err != nil || string(out) != src.document(testHeadText) {
		t.Errorf("gzip -dc gives %d bytes, %v", len(out), err)
	}
}

// A joint longer than a stored block can hold takes several.
func TestLongHead(t *testing.T) {
	src := syntheticSource(10)
	head := Head{ContextPath: "/" + strings.Repeat("p", 3*maxStored)}
	want := `{"apiVersion":"v1","generated":"0001-01-01T00:00:00Z","serverInfo":{"contextPath":"` + head.ContextPath + `"},"entries":{`
	checkWritten(t, mustBuild(t, src, pieceSizes), head, src.document(want))
	checkWritten(t, mustBuild(t, newMemSource(), pieceSizes), head, want+"}}\n")
}

func TestDamagedPieceIsNeverWritten(t *testing.T) {
	src := syntheticSource(20)
	ix := mustBuild(t, src, pieceSizes)
	good := *ix.pieces[0]
	for name, damage := range map[string]func(p *piece){
		"bits":    func(p *piece) { p.packed = bytes.Clone(p.packed); p.packed[len(p.packed)/2] ^= 4 },
		"short":   func(p *piece) { p.packed = p.packed[:len(p.packed)/2] },
		"longer":  func(p *piece) { p.raw-- },
		"shorter": func(p *piece) { p.raw++ },
		"crc":     func(p *piece) { p.crc++ },
		"final":   func(p *piece) { p.packed = appendStored(bytes.Clone(p.packed), []byte("x"), true) },
		"end":     func(p *piece) { p.packed = append(bytes.Clone(p.packed), "\x01\x00\x00\xff\xff"...) },
		"empty":   func(p *piece) { p.packed = nil },
	} {
		p := good
		damage(&p)
		bad := &Index{1, pieceSizes, []*piece{&p}}
		for format, write := range map[string]func(io.Writer, Head) error{"JSON": bad.WriteRaw, "YAML": bad.WriteYAML} {
			var b bytes.Buffer
			if err := write(&b, testHead); err == nil || b.Len() > 200 {
				t.Errorf("%s: %s: %d bytes written, %v", name, format, b.Len(), err)
			}
		}
	}
}

// limitWriter fails after some bytes, as a client that goes away.
type limitWriter struct{ left int }

func (w *limitWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func TestWriteErrors(t *testing.T) {
	ix := mustBuild(t, syntheticSource(300), pieceSizes)
	for name, write := range map[string]func(io.Writer) error{
		"raw":   func(w io.Writer) error { return ix.WriteRaw(w, testHead) },
		"gzip":  func(w io.Writer) error { return ix.WriteGzip(w, testHead) },
		"yaml":  func(w io.Writer) error { return ix.WriteYAML(w, testHead) },
		"cache": func(w io.Writer) error { return ix.MarshalCache(w, "p") },
	} {
		var all bytes.Buffer
		if err := write(&all); err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{0, 20, 100, all.Len() / 2, all.Len() - 1} {
			if err := write(&limitWriter{n}); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("%s: writer that takes %d of %d bytes: %v", name, n, all.Len(), err)
			}
		}
	}
}

// Readers go on with the index they have while the next one is made.
func TestConcurrentUse(t *testing.T) {
	src := syntheticSource(500)
	ix := mustBuild(t, src, pieceSizes)
	want := gzipped(t, ix, testHead)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var z, y bytes.Buffer
			if err := errors.Join(ix.WriteGzip(&z, testHead), ix.WriteRaw(io.Discard, testHead), ix.WriteYAML(&y, testHead)); err != nil {
				t.Error(err)
			}
			if !bytes.Equal(z.Bytes(), want) {
				t.Error("an index changed")
			}
		})
	}
	src.put(Key{words[0] + "-0000", "1"}, []byte(`{"n":1}`))
	if _, err := ix.Update(t.Context(), src, src.generation()); err != nil {
		t.Error(err)
	}
	wg.Wait()
}
