package sqlstore_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/store/storetest"
	"github.com/chartkeep/chartkeep/internal/store/storetest/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// database is where a test's stores stand.
type database struct {
	driver, dsn string
	config      sqlstore.Config
}

func newSQLite(t testing.TB) database {
	path := filepath.Join(t.TempDir(), "chartkeep.db")
	return database{"sqlite", "file:" + path + "?_pragma=busy_timeout(10000)", sqlstore.Config{SQLite: path}}
}

func newPostgres(t testing.TB) database {
	dsn := pgtest.New(t)
	return database{"pgx", dsn, sqlstore.Config{Postgres: dsn}}
}

// both runs a test on both databases.
func both(t *testing.T, test func(t *testing.T, d database)) {
	t.Run("SQLite", func(t *testing.T) { test(t, newSQLite(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, newPostgres(t)) })
}

// try opens a store as another process would.
func (d database) try(t testing.TB, now func() time.Time) (*sqlstore.Store, error) {
	keys := storetest.Keys(t)
	cfg := d.config
	cfg.Origin, cfg.Signer, cfg.AuditSigner, cfg.VerifierKey, cfg.Now = storetest.Origin, keys.Signer, keys.AuditSigner, keys.VerifierKey, now
	if cfg.Remote != nil {
		cfg.Signer = nil // another process has it
	}
	return sqlstore.Open(context.Background(), cfg)
}

// open is try for what must succeed; the store is closed with the test.
func (d database) open(t testing.TB, now func() time.Time) *sqlstore.Store {
	t.Helper()
	s, err := d.try(t, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// behind opens the tables behind the store's back.
func (d database) behind(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open(d.driver, d.dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestSQLite(t *testing.T)   { suite(t, newSQLite) }
func TestPostgres(t *testing.T) { suite(t, newPostgres) }

func suite(t *testing.T, place func(testing.TB) database) {
	t.Parallel()
	storetest.Ledger(t, func(t *testing.T) storetest.OpenLedger {
		d := place(t)
		return func(t *testing.T, now func() time.Time) storetest.LedgerStore { return d.open(t, now) }
	})
	storetest.Watch(t, func(t *testing.T) storetest.OpenWatch {
		d := place(t)
		return func(t *testing.T, now func() time.Time) storetest.WatchStore { return d.open(t, now) }
	})
	storetest.Judge(t, func(t *testing.T) storetest.OpenJudge {
		d := place(t)
		return func(t *testing.T, now func() time.Time) storetest.JudgeStore { return d.open(t, now) }
	})
}
