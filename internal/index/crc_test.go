package index

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

func TestJoinedChecksumIsTheChecksumOfTheJoinedText(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		text := make([]byte, r.IntN(5000))
		for i := range text {
			text[i] = byte(r.Uint32())
		}
		at := 0
		if len(text) > 0 {
			at = r.IntN(len(text) + 1)
		}
		a, b := crc32.ChecksumIEEE(text[:at]), crc32.ChecksumIEEE(text[at:])
		if got, want := joinCRC(a, b, shiftOf(len(text)-at)), crc32.ChecksumIEEE(text); got != want {
			t.Fatalf("%d+%d bytes: %08x, want %08x", at, len(text)-at, got, want)
		}
	}
}
