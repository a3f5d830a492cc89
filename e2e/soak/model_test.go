package soak

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// The states of a release, in the words of the API.
const (
	active      = "active"
	staged      = "staged"
	yanked      = "yanked"
	quarantined = "quarantined"
	tombstoned  = "tombstoned"
)

// entry is a release that was acknowledged. Whoever does something with it
// holds mu until the server has answered, so that its state is known exactly.
type entry struct {
	project, chart, version string
	salt                    string // its bytes are made of it again when they are needed
	digest, door            string

	mu      sync.Mutex
	state   string
	under   string   // the state below a quarantine
	prov    string   // digest of its provenance
	refused []string // digests of what was offered in its place
}

func (e *entry) repo() string   { return e.project + "/" + e.chart }
func (e *entry) String() string { return e.repo() + "@" + e.version }
func (e *entry) file() string   { return e.chart + "-" + e.version + ".tgz" }

func (e *entry) archive(t testing.TB) []byte { return archive(t, e.chart, e.version, e.salt) }

// served says whether anybody gets its bytes.
func (e *entry) served() bool { return e.state == active || e.state == yanked }

// archive makes a chart whose bytes the salt decides: a few that do not
// compress, and now and then many.
func archive(t testing.TB, chart, version, salt string) []byte {
	seed := sha256.Sum256([]byte(chart + version + salt))
	rng := rand.NewChaCha8(seed)
	n := rng.Uint64() % 4000
	if rng.Uint64()%50 == 0 {
		n *= 50
	}
	b := make([]byte, n)
	_, _ = rng.Read(b) // never fails
	return charttest.Build(t, chart, version, map[string]string{"README.md": salt, "files/ballast": string(b)})
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(h[:])
}

// model is what was acknowledged.
type model struct {
	mu      sync.Mutex
	entries []*entry
	number  int
	counts  map[string]int
}

// name makes the next name of a release that nobody has offered yet.
func (m *model) name(project string) (chart, version string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.number++
	version = fmt.Sprintf("1.0.%d", m.number)
	switch {
	case m.number%10 == 3:
		version += "-rc.1"
	case m.number%10 == 7:
		version += "+build.5"
	}
	return fmt.Sprintf("app%d", m.number%7), version
}

func (m *model) add(e *entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries = append(m.entries, e)
}

// take finds an entry that nobody is busy with and that is as wanted, and locks
// it; nil when chance finds none. The caller unlocks it.
func (m *model) take(rng *rand.Rand, wanted func(*entry) bool) *entry {
	for range 20 {
		m.mu.Lock()
		var e *entry
		if len(m.entries) > 0 {
			e = m.entries[rng.IntN(len(m.entries))]
		}
		m.mu.Unlock()
		if e == nil || !e.mu.TryLock() {
			continue
		}
		if wanted(e) {
			return e
		}
		e.mu.Unlock()
	}
	return nil
}

func (m *model) count(what string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[what] += n
}

// sightings are all checkpoints that anybody saw, by size.
type sightings struct {
	key note.Verifier // of the log at its beginning, which signs to the end

	mu   sync.Mutex
	seen map[int64]tlog.Hash
	most int64
	n    int
}

// see opens a checkpoint and keeps it. Two of one size must have one root.
func (s *sightings) see(text []byte) (tlog.Checkpoint, error) {
	cp, err := tlog.OpenCheckpoint(text, s.key.Name(), note.VerifierList(s.key))
	if err != nil {
		return cp, err
	}
	return cp, s.keep(cp)
}

func (s *sightings) keep(cp tlog.Checkpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if root, ok := s.seen[cp.Size]; ok && root != cp.Root {
		return fmt.Errorf("the log forked: two signed roots for %d leaves, %v and %v", cp.Size, root, cp.Root)
	}
	s.seen[cp.Size] = cp.Root
	s.most = max(s.most, cp.Size)
	s.n++
	return nil
}

// seeProof keeps the checkpoint of a proof, and says of which leaf it is.
func (s *sightings) seeProof(text string) (tlog.Leaf, error) {
	p, err := tlog.ParseProof([]byte(text))
	if err != nil {
		return nil, err
	}
	cp, leaf, err := p.Verify(s.key.Name(), note.VerifierList(s.key))
	if err != nil {
		return nil, err
	}
	return leaf, s.keep(cp)
}
