package tlog

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	sumdb "golang.org/x/mod/sumdb/tlog"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// MaxEntry is the largest entry of a bundle in bytes: its length is written in
// 16 bits (tlog-tiles, "Log entries").
const MaxEntry = 1<<16 - 1

// maxTileLevel is the highest level that a tile path may name (tlog-tiles,
// "Merkle Tree"). Logs of MaxSize have none above 6.
const maxTileLevel = 63

// TileWidth is the number of hashes that tile n at a level has in a tree of a
// size: TileHashes when it is full, 0 when it does not exist. With level 0 it
// is also the number of entries of bundle n.
func TileWidth(size int64, level int, n int64) int {
	if level < 0 || n < 0 || level >= levelCount(size) {
		return 0
	}
	hashes := size >> (tileHeight * level)
	full := hashes >> tileHeight
	switch {
	case n < full:
		return TileHashes
	case n == full:
		return int(hashes % TileHashes)
	}
	return 0
}

// TilePath is the path of a tile below the log's prefix, without a leading
// slash: tile/0/x001/067 or, for a width below TileHashes, tile/0/x001/067.p/8
// (tlog-tiles, "Merkle Tree").
func TilePath(level int, n int64, width int) string {
	return "tile/" + strconv.Itoa(level) + "/" + tileName(n, width)
}

// EntriesPath is the path of an entry bundle below the log's prefix, without a
// leading slash (tlog-tiles, "Log entries").
func EntriesPath(n int64, width int) string { return "tile/entries/" + tileName(n, width) }

// tileName writes an index in groups of three digits, all but the last marked
// with an x, and the width of a partial tile.
func tileName(n int64, width int) string {
	name := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		name = fmt.Sprintf("x%03d/%s", n%1000, name)
	}
	if width < TileHashes {
		name += ".p/" + strconv.Itoa(width)
	}
	return name
}

// ParseTilePath reads what TilePath and EntriesPath write, and only that: no
// second path leads to the same tile. The width of a full tile is TileHashes;
// the level of an entry bundle is 0. NotFound for everything else, since such
// a path names nothing in any log.
func ParseTilePath(path string) (level int, n int64, width int, entries bool, err error) {
	unknown := func() (int, int64, int, bool, error) {
		return 0, 0, 0, false, problem.New(problem.NotFound, "log-path", "the log serves nothing at this path").
			Suggest("ask for checkpoint, tile/<level>/<index> or tile/entries/<index>")
	}
	const longest = 128 // nothing that TilePath writes is longer
	if len(path) > longest {
		return unknown()
	}
	name, isTile := strings.CutPrefix(path, "tile/")
	first, name, _ := strings.Cut(name, "/")
	name, widthText, partial := strings.Cut(name, ".p/")
	if entries = first == "entries"; !entries {
		level, err = strconv.Atoi(first)
	}
	if !isTile || err != nil || level < 0 || level > maxTileLevel {
		return unknown()
	}
	if width = TileHashes; partial {
		if width, err = strconv.Atoi(widthText); err != nil || width < 1 || width >= TileHashes {
			return unknown()
		}
	}
	n, err = strconv.ParseInt(strings.NewReplacer("x", "", "/", "").Replace(name), 10, 64)
	if err != nil || n < 0 || n > MaxSize {
		return unknown()
	}
	canonical := TilePath(level, n, width)
	if entries {
		canonical = EntriesPath(n, width)
	}
	if path != canonical {
		return unknown()
	}
	return level, n, width, entries, nil
}

// TileBytes writes the hashes of a tile as it is stored and served: one after
// the other, 8192 bytes for a full tile.
func TileBytes(hashes []Hash) []byte {
	data := make([]byte, 0, len(hashes)*sumdb.HashSize)
	for _, h := range hashes {
		data = append(data, h[:]...)
	}
	return data
}

// ParseTile reads what TileBytes writes: 1 to TileHashes hashes.
func ParseTile(data []byte) ([]Hash, error) {
	width := len(data) / sumdb.HashSize
	if len(data)%sumdb.HashSize != 0 || width < 1 || width > TileHashes {
		return nil, problem.New(problem.Invalid, "log-tile", "a tile of %d bytes is not 1 to %d whole hashes", len(data), TileHashes)
	}
	hashes := make([]Hash, width)
	for i := range hashes {
		copy(hashes[i][:], data[i*sumdb.HashSize:])
	}
	return hashes, nil
}

// EntryBundle writes entries as they are served, each behind its length in two
// bytes (tlog-tiles, "Log entries"). It refuses none, or more than TileHashes,
// or one above MaxEntry.
func EntryBundle(entries [][]byte) ([]byte, error) {
	if len(entries) < 1 || len(entries) > TileHashes {
		return nil, fmt.Errorf("write entry bundle: %d entries are not 1 to %d", len(entries), TileHashes)
	}
	size := 0
	for i, entry := range entries {
		if len(entry) > MaxEntry {
			return nil, fmt.Errorf("write entry bundle: entry %d has %d bytes, more than %d", i, len(entry), MaxEntry)
		}
		size += 2 + len(entry)
	}
	data := make([]byte, 0, size)
	for _, entry := range entries {
		data = binary.BigEndian.AppendUint16(data, uint16(len(entry)))
		data = append(data, entry...)
	}
	return data, nil
}

// ParseEntryBundle reads what EntryBundle writes. The entries share the memory
// of data.
func ParseEntryBundle(data []byte) ([][]byte, error) {
	var entries [][]byte
	for rest := data; len(rest) > 0; {
		if len(entries) == TileHashes {
			return nil, badBundle("has more than %d entries", TileHashes)
		}
		if len(rest) < 2 {
			return nil, badBundle("ends within a length")
		}
		size := int(binary.BigEndian.Uint16(rest))
		if rest = rest[2:]; len(rest) < size {
			return nil, badBundle("ends within entry %d", len(entries))
		}
		entries = append(entries, rest[:size:size])
		rest = rest[size:]
	}
	if len(entries) == 0 {
		return nil, badBundle("is empty")
	}
	return entries, nil
}

func badBundle(format string, args ...any) error {
	return problem.New(problem.Invalid, "log-bundle", "the entry bundle "+format, args...)
}
