package tlog_test

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

func TestTileWidth(t *testing.T) {
	for _, test := range []struct {
		size  int64
		level int
		n     int64
		want  int
	}{
		{0, 0, 0, 0},
		{1, 0, 0, 1},
		{1, 1, 0, 0},
		{256, 0, 0, 256},
		{256, 0, 1, 0}, // an empty tile is not served
		{256, 1, 0, 1},
		// The example of tlog-tiles, "Partial Tiles".
		{70000, 0, 272, 256},
		{70000, 0, 273, 112},
		{70000, 0, 274, 0},
		{70000, 1, 0, 256},
		{70000, 1, 1, 17},
		{70000, 2, 0, 1},
		{70000, 3, 0, 0},
		{70000, 63, 0, 0},
		{70000, -1, 0, 0},
		{70000, 0, -1, 0},
		{tlog.MaxSize, 6, 0, 31},
		{tlog.MaxSize, 7, 0, 0},
		{tlog.MaxSize, 0, math.MaxInt64, 0},
	} {
		if got := tlog.TileWidth(test.size, test.level, test.n); got != test.want {
			t.Errorf("tile %d of level %d in %d leaves has width %d, want %d", test.n, test.level, test.size, got, test.want)
		}
	}
}

func TestParseTilePath(t *testing.T) {
	for _, test := range []struct {
		path    string
		level   int
		n       int64
		width   int
		entries bool
	}{
		{"tile/0/000", 0, 0, 256, false},
		{"tile/0/067", 0, 67, 256, false},
		{"tile/1/x001/067", 1, 1067, 256, false},
		{"tile/63/x001/x234/067", 63, 1234067, 256, false},
		{"tile/0/x001/x000/000.p/1", 0, 1000000, 1, false},
		{"tile/2/000.p/255", 2, 0, 255, false},
		{"tile/entries/000", 0, 0, 256, true},
		{"tile/entries/x012/345.p/17", 0, 12345, 17, true},
		{"tile/0/x009/x007/x199/x254/x740/991", 0, tlog.MaxSize, 256, false},
	} {
		level, n, width, entries, err := tlog.ParseTilePath(test.path)
		if err != nil || level != test.level || n != test.n || width != test.width || entries != test.entries {
			t.Errorf("%s: level %d, tile %d, width %d, entries %t, %v", test.path, level, n, width, entries, err)
		}
	}
	for _, path := range []string{
		"", "tile", "tile/", "tile/0", "tile/0/", "tile/000", "tile//000", "/tile/0/000", "tile/0/000/", "tiles/0/000",
		"tile/00/000", "tile/+0/000", "tile/-1/000", "tile/64/000", "tile/x/000", "tile/0x1/000", "tile/99999999999999999999/000",
		"tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/1000", "tile/0/x000/001", "tile/0/001/067", "tile/0/x001/x067",
		"tile/0/x01/067", "tile/0/x001//067", "tile/0/x001x067", "tile/0/-01", "tile/0/+01", "tile/0/0 1", "tile/0/1e3", "tile/0/x1_0/000",
		"tile/0/x009/x007/x199/x254/x740/992", "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
		"tile/0/000.p", "tile/0/000.p/", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/+1", "tile/0/000.p/-1", "tile/0/000.p/1/", "tile/0/000.p/1.p/1", "tile/0/000.p1",
		"tile/entries", "tile/entries/", "tile/entries/0", "tile/entries/0/000", "tile/Entries/000", "tile/data/000",
		"tile/0/" + strings.Repeat("x001/", 1000) + "067", "tile/0/%30%30%30", "tile/0/000\n", "tile/0/\u0660\u0660\u0660",
	} {
		if _, _, _, _, err := tlog.ParseTilePath(path); problem.KindOf(err) != problem.NotFound {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func FuzzParseTilePath(f *testing.F) {
	for _, seed := range []string{"tile/0/000", "tile/1/x001/067.p/8", "tile/entries/x001/x234/067", "tile/63/000.p/255", "checkpoint"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		level, n, width, entries, err := tlog.ParseTilePath(path)
		if err != nil {
			return
		}
		again := tlog.TilePath(level, n, width)
		if entries {
			again = tlog.EntriesPath(n, width)
		}
		if again != path {
			t.Errorf("%q names what %q names", path, again)
		}
	})
}

func TestTileBytes(t *testing.T) {
	hashes := make([]tlog.Hash, 256)
	for i := range hashes {
		hashes[i] = tlog.LeafHash(entry(int64(i)))
	}
	for _, width := range []int{1, 255, 256} {
		data := tlog.TileBytes(hashes[:width])
		got, err := tlog.ParseTile(data)
		if err != nil || len(data) != 32*width || !slices.Equal(got, hashes[:width]) {
			t.Errorf("width %d: %d bytes, %v", width, len(data), err)
		}
	}
	for _, size := range []int{0, 1, 31, 33, 8191, 8193, 8224} {
		if _, err := tlog.ParseTile(make([]byte, size)); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestEntryBundle(t *testing.T) {
	for name, entries := range map[string][][]byte{
		"one":       {[]byte("a")},
		"empty one": {{}},
		"several":   {[]byte("a"), {}, []byte("abc")},
		"largest":   {make([]byte, tlog.MaxEntry)},
		"full":      slices.Repeat([][]byte{[]byte("entry")}, 256),
	} {
		data, err := tlog.EntryBundle(entries)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := tlog.ParseEntryBundle(data)
		if err != nil || !slices.EqualFunc(got, entries, bytes.Equal) {
			t.Errorf("%s: %d entries came back, %v", name, len(got), err)
		}
	}
	if data, _ := tlog.EntryBundle([][]byte{[]byte("ab"), {}}); string(data) != "\x00\x02ab\x00\x00" {
		t.Errorf("encoded as %q", data)
	}
	for name, entries := range map[string][][]byte{
		"none":      nil,
		"too many":  make([][]byte, 257),
		"too large": {make([]byte, tlog.MaxEntry+1)},
	} {
		if _, err := tlog.EntryBundle(entries); err == nil {
			t.Errorf("%s: written", name)
		}
	}
	for name, data := range map[string]string{
		"empty":         "",
		"half a length": "\x00\x01a\x00",
		"half an entry": "\x00\x02a",
		"too many":      strings.Repeat("\x00\x00", 257),
	} {
		if _, err := tlog.ParseEntryBundle([]byte(data)); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseEntryBundle(f *testing.F) {
	f.Add([]byte("\x00\x02ab\x00\x00"))
	f.Add([]byte("\xff\xffa"))
	f.Add(bytes.Repeat([]byte{0}, 512))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := tlog.ParseEntryBundle(data)
		if err != nil {
			return
		}
		again, err := tlog.EntryBundle(entries)
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q came back as %q, %v", data, again, err)
		}
	})
}
