package upgrade

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/klauspost/compress/flate"

	"github.com/chartkeep/chartkeep/internal/manifest"
)

// shelf keeps what was compared lately: rendering two charts costs a tenth of a
// second or more, and plans, reviews and pages ask for the same pairs. A round
// asks for all pairs of all deployments, up to nine of each, so they are kept
// packed: one to two kilobytes each, a tenth to a fifth of a millisecond to unpack.
type shelf struct {
	mu    sync.Mutex
	pairs map[string]tried
	bytes int
}

// tried is what came of a comparison.
type tried struct {
	packed []byte // of a pair; none beside an error
	err    error
	at     time.Time
}

// Bounds of the shelf. The texts of a comparison are left out of it.
const (
	maxShelf  = 256 << 20 // bytes: the pairs of some 15,000 deployments
	eachEntry = 256       // of which an entry has these beside what is packed
	retry     = time.Hour // what could not be compared is left alone for so long: its source may be down
)

func (t *tried) size() int { return len(t.packed) + eachEntry }

// get returns the pair, or the error that it could not be compared with; nil
// for neither.
func (s *shelf) get(key string, now time.Time) (*pair, error) {
	s.mu.Lock()
	t, known := s.pairs[key]
	s.mu.Unlock()
	switch {
	case !known, t.err != nil && now.Sub(t.at) >= retry:
		return nil, nil
	case t.err != nil:
		return nil, t.err
	}
	return unpackPair(t.packed)
}

// put keeps a pair, or the error that came in its place.
func (s *shelf) put(key string, p *pair, failed error, now time.Time) error {
	t := tried{err: failed, at: now}
	if failed == nil {
		var err error
		if t.packed, err = p.pack(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pairs == nil {
		s.pairs = map[string]tried{}
	}
	drop := func(key string) {
		if old, known := s.pairs[key]; known {
			s.bytes -= old.size()
			delete(s.pairs, key)
		}
	}
	drop(key)
	// Any may go: rounds ask for all in the same order, so that the oldest is the
	// next to be asked for.
	for old := range s.pairs {
		if s.bytes+t.size() <= maxShelf {
			break
		}
		drop(old)
	}
	s.pairs[key] = t
	s.bytes += t.size()
	return nil
}

// packedPair is a pair as it is kept.
type packedPair struct {
	Archive   string
	Images    [2][]string
	Hidden    [2][]string
	Posture   [2][]manifest.Finding
	Hardening []manifest.Finding
	Effort    manifest.Effort
	Undo      manifest.UndoVerdict
	Known     [2]bool
	Choices   choices
	Reason    string
}

func (p *pair) pack() ([]byte, error) {
	text, err := json.Marshal(packedPair{p.archive, p.images, p.hidden, p.posture, p.hardening, p.effort, p.undo, p.known, p.choices, p.reason})
	if err != nil {
		return nil, fmt.Errorf("pack comparison: %w", err)
	}
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("pack comparison: %w", err)
	}
	return bytes.Clone(b.Bytes()), nil
}

func unpackPair(packed []byte) (*pair, error) {
	var p packedPair
	if err := json.NewDecoder(flate.NewReader(bytes.NewReader(packed))).Decode(&p); err != nil {
		return nil, fmt.Errorf("unpack comparison: %w", err)
	}
	return &pair{p.Archive, p.Images, p.Hidden, p.Posture, p.Hardening, p.Effort, p.Undo, p.Known, p.Choices, p.Reason}, nil
}
