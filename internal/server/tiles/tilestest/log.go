// Package tilestest is a transparency log in memory, for tests of what reads
// one. It signs a checkpoint when it is told to, as the store does for a batch;
// what was appended since then is not visible.
package tilestest

import (
	"bytes"
	"context"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Log implements the Source of package tiles. Sign and Append exclude all
// other calls.
type Log struct {
	Origin      string
	VerifierKey string

	signer     note.Signer
	edge       *tlog.Edge
	entries    [][]byte
	full       map[[2]int64][]tlog.Hash
	size       int64 // that the checkpoint covers
	checkpoint []byte
}

// New makes an empty log with a key that is the same in every run, and signs
// its first checkpoint.
func New(t testing.TB, origin string) *Log {
	t.Helper()
	skey, vkey, err := tlog.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{7}, 64)), origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := tlog.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	edge, err := tlog.NewEdge(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &Log{Origin: origin, VerifierKey: vkey, signer: signer, edge: edge, full: make(map[[2]int64][]tlog.Hash)}
	l.Sign(t)
	return l
}

// Append adds entries without signing.
func (l *Log) Append(entries ...[]byte) {
	for _, entry := range entries {
		l.entries = append(l.entries, entry)
		for _, tile := range l.edge.Append(tlog.LeafHash(entry)) {
			l.full[[2]int64{int64(tile.Level), tile.N}] = tile.Hashes
		}
	}
}

// Size is the number of entries, signed or not.
func (l *Log) Size() int64 { return l.edge.Size() }

// Sign makes the checkpoint cover all that was appended.
func (l *Log) Sign(t testing.TB) {
	t.Helper()
	text, err := tlog.SignCheckpoint(l.Origin, l.edge.Size(), l.edge.Root(), l.signer)
	if err != nil {
		t.Fatal(err)
	}
	l.size, l.checkpoint = l.edge.Size(), text
}

// Checkpoint implements tiles.Source.
func (l *Log) Checkpoint(context.Context) ([]byte, error) { return l.checkpoint, nil }

// Tile implements tiles.Source.
func (l *Log) Tile(_ context.Context, level int, n int64, width int) ([]byte, error) {
	if width > tlog.TileWidth(l.size, level, n) {
		return nil, noSuch("tile")
	}
	hashes, ok := l.full[[2]int64{int64(level), n}]
	if !ok {
		hashes = l.edge.Levels()[level]
	}
	return tlog.TileBytes(hashes[:width]), nil
}

// Entries implements tiles.Source.
func (l *Log) Entries(_ context.Context, n int64, width int) ([][]byte, error) {
	if width > tlog.TileWidth(l.size, 0, n) {
		return nil, noSuch("entry bundle")
	}
	return l.entries[n*tlog.TileHashes:][:width], nil
}

func noSuch(what string) error {
	return problem.New(problem.NotFound, "log-range", "the log has no such %s yet", what)
}
