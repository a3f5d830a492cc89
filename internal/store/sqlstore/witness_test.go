package sqlstore_test

import (
	"testing"

	"github.com/chartkeep/chartkeep/internal/store/storetest"
)

// TestRaceCosigned has two replicas, and on SQLite two callers of one process.
func TestRaceCosigned(t *testing.T) {
	t.Run("postgres", func(t *testing.T) {
		d := newPostgres(t)
		if err := storetest.RaceCosigned(t.Context(), 62, d.open(t, nil), d.open(t, nil)); err != nil {
			t.Error(err)
		}
	})
	t.Run("sqlite", func(t *testing.T) {
		s := newSQLite(t).open(t, nil)
		if err := storetest.RaceCosigned(t.Context(), 62, s, s); err != nil {
			t.Error(err)
		}
	})
}
