package sqlstore

import (
	"sync"

	"github.com/chartkeep/chartkeep/internal/release"
)

// memo remembers answers of look-ups by key on SQLite, where this process
// alone writes: rows that never change, or whose change is rare enough to
// forget everything at once. On PostgreSQL nothing is remembered, since other
// replicas write too. Only what was found is remembered, never that something
// was not there.
//
// It is bounded by forgetting everything. A nil memo remembers nothing.
type memo[K comparable, V any] struct {
	mu    sync.RWMutex
	known map[K]V
	epoch int64 // counts forgets, so that a slow reader does not store what is old
	most  int
	fits  func(V) bool // nil: every answer is small enough to be kept
}

func newMemo[K comparable, V any](d dialect, most int, fits func(V) bool) *memo[K, V] {
	if d.postgres {
		return nil
	}
	return &memo[K, V]{most: most, fits: fits, known: map[K]V{}}
}

// get returns the answer for a key, or makes it.
func (m *memo[K, V]) get(key K, find func() (V, error)) (V, error) {
	if m == nil {
		return find()
	}
	m.mu.RLock()
	v, ok := m.known[key]
	epoch := m.epoch
	m.mu.RUnlock()
	if ok {
		return v, nil
	}
	v, err := find()
	if err != nil || m.fits != nil && !m.fits(v) {
		return v, err
	}
	m.mu.Lock()
	if m.epoch == epoch {
		if len(m.known) >= m.most {
			clear(m.known)
		}
		m.known[key] = v
	}
	m.mu.Unlock()
	return v, nil
}

// forget is called when a batch that changed an answer is committed.
func (m *memo[K, V]) forget() {
	if m == nil {
		return
	}
	m.mu.Lock()
	m.epoch++
	clear(m.known)
	m.mu.Unlock()
}

// memos are the answers that reads of charts need again and again. All of them
// are forgotten when a release changes its state, a tag moves, or something is
// removed.
type memos struct {
	releases  *memo[memoFile, release.Release]
	manifests *memo[memoRef, release.Manifest]
	links     *memo[memoRef, release.Link]
}

// maxMemoManifest is the most bytes of a manifest that is remembered: some
// times a chart's, so that the memory of all is bounded at 160 MB.
const maxMemoManifest = 8 << 10

type memoFile struct {
	project int64
	file    string
}

type memoRef struct{ repository, ref string }

func newMemos(d dialect) memos {
	return memos{
		releases:  newMemo[memoFile, release.Release](d, 50_000, nil),
		manifests: newMemo[memoRef](d, 20_000, func(m release.Manifest) bool { return len(m.Bytes)+len(m.Annotations) <= maxMemoManifest }),
		links:     newMemo[memoRef, release.Link](d, 50_000, nil),
	}
}

func (m *memos) forget() {
	m.releases.forget()
	m.manifests.forget()
	m.links.forget()
}
