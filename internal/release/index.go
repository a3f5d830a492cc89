package release

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/chartkeep/chartkeep/internal/index"
)

// IndexView is a project's index as it stands now.
type IndexView struct {
	Project Project
	// Etag changes with everything that a reader of the index can see. It is
	// known without making the index.
	Etag string
	// Snapshot makes the index, or takes it from memory when nothing changed.
	Snapshot func() (*index.Index, error)
}

// Index returns the index of a project; all includes what is yanked. Cost: one
// look-up of the project; the snapshot then costs what changed since the last.
func (s *Service) Index(ctx context.Context, c Caller, project string, all bool) (*IndexView, error) {
	p, err := s.readable(ctx, c, project)
	if err != nil {
		return nil, err
	}
	return &IndexView{
		Project:  p,
		Etag:     strconv.FormatInt(p.ID, 36) + "-" + strconv.FormatInt(p.Generation, 36),
		Snapshot: func() (*index.Index, error) { return s.indexes.get(ctx, s.store, &p, all) },
	}, nil
}

// indexCache holds the newest index of each project in memory: its compressed
// pieces, some 300 bytes a release. What disk has is read at the first request
// after a start.
type indexCache struct {
	disk    IndexCache
	entries sync.Map // indexKey -> *indexEntry
}

type indexKey struct {
	project int64
	all     bool
}

// IndexCacheName is the name under which an IndexCache keeps the index of a
// project, with what is yanked or without.
func IndexCacheName(projectID int64, all bool) string { return indexKey{projectID, all}.name() }

func (k indexKey) name() string {
	if k.all {
		return fmt.Sprintf("index-%d-all", k.project)
	}
	return fmt.Sprintf("index-%d", k.project)
}

type indexEntry struct {
	mu     sync.Mutex // one goroutine brings it up to date, the others wait for it
	index  *index.Index
	loaded bool
	saved  int64 // generation on disk
}

// maxIndexCache bounds what is read back from disk, in bytes.
const maxIndexCache = 1 << 30

func (ic *indexCache) get(ctx context.Context, st Store, p *Project, all bool) (*index.Index, error) {
	key := indexKey{p.ID, all}
	v, ok := ic.entries.Load(key)
	if !ok {
		v, _ = ic.entries.LoadOrStore(key, &indexEntry{})
	}
	e := v.(*indexEntry)
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.loaded {
		e.loaded = true
		e.index = ic.load(key)
		if e.index != nil && e.index.Generation() > p.Generation {
			e.index = nil // of a database that was restored to an older state since
		}
		if e.index != nil {
			e.saved = e.index.Generation()
		}
	}
	var err error
	ix := e.index
	src := st.IndexSource(p.ID, all)
	switch {
	case ix != nil && ix.Generation() >= p.Generation:
		return ix, nil
	case ix == nil:
		ix, err = index.Build(ctx, src, p.Generation)
	default:
		ix, err = ix.Update(ctx, src, p.Generation)
	}
	if err != nil {
		return nil, fmt.Errorf("make index of %s: %w", p.Name, err)
	}
	e.index = ix
	return ix, nil
}

// load reads an index back. One that cannot be read, or that belongs to
// another database, is made anew.
func (ic *indexCache) load(key indexKey) *index.Index {
	if ic.disk == nil {
		return nil
	}
	r, err := ic.disk.Load(key.name())
	if err != nil || r == nil {
		return nil
	}
	defer r.Close()
	ix, err := index.ReadCache(r, key.name(), maxIndexCache)
	if err != nil {
		return nil
	}
	return ix
}

// save writes the indexes that changed since they were last written.
func (ic *indexCache) save() error {
	if ic.disk == nil {
		return nil
	}
	var first error
	ic.entries.Range(func(k, v any) bool {
		key, e := k.(indexKey), v.(*indexEntry)
		e.mu.Lock()
		ix, saved := e.index, e.saved
		e.mu.Unlock()
		if ix == nil || ix.Generation() == saved {
			return true
		}
		err := ic.disk.Save(key.name(), func(w io.Writer) error { return ix.MarshalCache(w, key.name()) })
		if err != nil {
			if first == nil {
				first = fmt.Errorf("save index: %w", err)
			}
			return true
		}
		e.mu.Lock()
		e.saved = ix.Generation()
		e.mu.Unlock()
		return true
	})
	return first
}
