package history_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/chartkeep/chartkeep/internal/history"
)

// TestDamagedState flips, cuts and adds bytes of a state: it is never taken.
func TestDamagedState(t *testing.T) {
	r := history.New()
	replay(t, r, leaves{created("a"), released("a/web@1.0.0+x"), yank(1, "a/web@1.0.0+x"), rotation("1", "2", 1), anchor(3, 1)})
	var b bytes.Buffer
	if _, err := r.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0x01
		if _, err := history.Read(bytes.NewReader(damaged)); err == nil {
			t.Errorf("byte %d was flipped, and the state was read", i)
		}
		if _, err := history.Read(bytes.NewReader(whole[:i])); err == nil {
			t.Errorf("the state was cut at %d, and read", i)
		}
	}
	if _, err := history.Read(bytes.NewReader(append(bytes.Clone(whole), 0))); err == nil {
		t.Error("a byte was added, and the state was read")
	}
	// Rows that lie, under a checksum that holds.
	body := whole[:len(whole)-32]
	lies := 0
	for i := range body {
		for _, with := range []byte{0xff, 0x00, 0x7f} {
			damaged := bytes.Clone(body)
			damaged[i] = with
			got, err := history.Read(bytes.NewReader(mended(damaged)))
			if err != nil {
				lies++
				continue
			}
			got.Add(got.Size(), entry(t, created("b"), start)) // no panic
		}
	}
	if lies == 0 {
		t.Error("no lie was found")
	}
}

type fullDisk struct{ left int }

var errFull = errors.New("the disk is full")

func (d *fullDisk) Write(p []byte) (int, error) {
	if len(p) > d.left {
		return 0, errFull
	}
	d.left -= len(p)
	return len(p), nil
}

func TestWriteFails(t *testing.T) {
	r := history.New()
	replay(t, r, leaves{created("a"), released("a/web@1.0.0")})
	var b bytes.Buffer
	if _, err := r.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	for _, left := range []int{0, b.Len() - 32, b.Len() - 1} {
		if _, err := r.WriteTo(&fullDisk{left}); !errors.Is(err, errFull) {
			t.Errorf("a disk with %d bytes: %v", left, err)
		}
	}
}
