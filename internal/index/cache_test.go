package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
)

func cacheFile(tb testing.TB, ix *Index, identity string) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := ix.MarshalCache(&b, identity); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// seal gives a body a true length and checksum, as a forger would.
func seal(body []byte) []byte {
	file := append([]byte(nil), body...)
	if len(file) >= cacheFixed {
		binary.LittleEndian.PutUint64(file[len(cacheMagic):], uint64(len(file)+sha256.Size))
	}
	sum := sha256.Sum256(file)
	return append(file, sum[:]...)
}

func TestCacheRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 1000} {
		src := syntheticSource(n)
		ix := mustBuild(t, src, pieceSizes)
		file := cacheFile(t, ix, "7/all")
		got, err := ReadCache(bytes.NewReader(file), "7/all", int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		if got.Generation() != ix.Generation() || !bytes.Equal(gzipped(t, got, testHead), gzipped(t, ix, testHead)) {
			t.Errorf("%d releases: the index that comes back is another", n)
		}
		checkWritten(t, got, testHead, src.document(testHeadText))
		// What comes back can be updated, and written again.
		k, name, _ := syntheticKey(0, 500)
		src.put(k, synthetic(name, "6.0.0", 9))
		if got, err = got.Update(t.Context(), src, src.generation()); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(cacheFile(t, got, "p"), cacheFile(t, mustBuild(t, src, pieceSizes), "p")) {
			t.Errorf("%d releases: an update of what came back is not a build", n)
		}
	}
}

func TestCacheDamage(t *testing.T) {
	src := syntheticSource(3)
	good := cacheFile(t, mustBuild(t, src, sizes{1, 1, 1}), "p")
	read := func(file []byte) error {
		_, err := ReadCache(bytes.NewReader(file), "p", 1<<20)
		return err
	}
	if err := read(good); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		if read(good[:i]) == nil {
			t.Fatalf("a file cut to %d of %d bytes is taken", i, len(good))
		}
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		if read(bad) == nil {
			t.Fatalf("a file with byte %d of %d damaged is taken", i, len(good))
		}
	}
	if read(append(bytes.Clone(good), 0)) == nil {
		t.Error("a file with a byte too many is taken")
	}
	if _, err := ReadCache(bytes.NewReader(good), "q", 1<<20); err == nil || !strings.Contains(err.Error(), "belongs to") {
		t.Errorf("a file of another project: %v", err)
	}
	for _, limit := range []int64{-1, 0, int64(len(good)) - 1} {
		if _, err := ReadCache(bytes.NewReader(good), "p", limit); err == nil || !strings.Contains(err.Error(), "allowed are") {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
	other := bytes.Replace(good, []byte("cache 1"), []byte("cache 0"), 1)
	if err := read(other); err == nil || !strings.Contains(err.Error(), "of this format") {
		t.Errorf("a file of another format: %v", err)
	}
}

func TestCacheForged(t *testing.T) {
	src := syntheticSource(3)
	pieces := mustBuild(t, src, sizes{1, 1, 1}).pieces
	for name, forge := range map[string]func(p []*piece){
		"out of order":       func(p []*piece) { p[0], p[1] = p[1], p[0] },
		"twice":              func(p []*piece) { p[1] = p[0] },
		"first after last":   func(p []*piece) { p[1].first, p[1].last = p[1].last, Key{"a", ""} },
		"no chart":           func(p []*piece) { p[0].first.Chart = "" },
		"no fragment":        func(p []*piece) { p[0].raw = 1 },
		"unpacks too far":    func(p []*piece) { p[0].raw = len(p[0].packed)*inflateMax + 1 },
		"no flush":           func(p []*piece) { p[0].packed = p[0].packed[:len(p[0].packed)-1] },
		"nothing":            func(p []*piece) { p[0].packed = nil },
		"larger than pieces": func(p []*piece) { p[0].raw = 2*MaxFragment + 1; p[0].packed = bytes.Repeat([]byte(packedTail), 5000) },
	} {
		forged := &Index{generation: 3, sizes: pieceSizes}
		for _, p := range pieces {
			c := *p
			forged.pieces = append(forged.pieces, &c)
		}
		forge(forged.pieces)
		if _, err := ReadCache(bytes.NewReader(cacheFile(t, forged, "p")), "p", 1<<20); err == nil || !strings.Contains(err.Error(), errTable.Error()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := cacheFile(t, mustBuild(t, src, pieceSizes), "p")
	body := good[:len(good)-sha256.Size]
	if _, err := ReadCache(bytes.NewReader(seal(append(bytes.Clone(body), packedTail...))), "p", 1<<20); err == nil {
		t.Error("bytes that belong to no piece are taken")
	}
}

func FuzzReadCache(f *testing.F) {
	src := newMemSource()
	for range 3 {
		file := cacheFile(f, mustBuild(f, src, sizes{1, 1, 1}), "p")
		src.put(Key{"c", fmt.Sprint(src.generation())}, []byte(`{"a":1}`))
		f.Add(file)
		f.Add(file[:len(file)-sha256.Size])
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if len(file) >= cacheFixed {
			copy(file, cacheMagic)
		}
		for _, file := range [][]byte{file, seal(file)} {
			ix, err := ReadCache(bytes.NewReader(file), "p", 1<<20)
			if err != nil {
				continue
			}
			// What was taken is safe to use, if not to serve.
			if err := ix.WriteGzip(io.Discard, testHead); err != nil {
				t.Error(err)
			}
			_ = ix.WriteRaw(io.Discard, testHead)
			_ = ix.WriteYAML(io.Discard, testHead)
			if again, err := ReadCache(bytes.NewReader(cacheFile(t, ix, "p")), "p", 1<<20); err != nil || again.Generation() != ix.Generation() {
				t.Errorf("what was read is not read again: %v", err)
			}
		}
	})
}
