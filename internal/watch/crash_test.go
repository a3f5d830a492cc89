package watch_test

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/chartkeep/chartkeep/internal/watch"
)

// countingStore counts what is read of a store.
type countingStore struct {
	watch.Store
	states atomic.Int64
}

func (s *countingStore) VersionStates(ctx context.Context, id int64, each func(watch.VersionState) error) error {
	s.states.Add(1)
	return s.Store.VersionStates(ctx, id, each)
}

var errCrash = errors.New("the process is dead")
