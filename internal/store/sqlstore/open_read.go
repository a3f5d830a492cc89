package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// OpenToRead opens a database to look at it: it makes nothing, migrates nothing
// and refuses to write. Config needs no signers. Reading through it may end in
// problem.Disproven where the log is not sound; what implements release.Stored
// does not.
func OpenToRead(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{dialect: dialect{postgres: cfg.Postgres != ""}, config: cfg, now: cfg.Now, repositories: map[string]int64{}, frozenC: make(chan struct{})}
	if s.now == nil {
		s.now = time.Now
	}
	if err := s.openVerifiers(); err != nil {
		return nil, err
	}
	// Nothing is remembered: each answer is what the tables say now.
	s.memos = newMemos(dialect{postgres: true})
	s.seq = &sequencer{store: s, queue: make(chan *operation), quit: make(chan struct{}), idle: make(chan struct{})}
	close(s.seq.idle)
	s.Freeze(problem.New(problem.Unavailable, "read-only", "this database was opened to be looked at"))
	var err error
	if s.readPool, err = s.dialect.openToRead(&cfg); err != nil {
		return nil, err
	}
	s.writePool = s.readPool
	if err := s.checkMigrations(ctx); err != nil {
		s.closePools()
		return nil, fault("look at database", err)
	}
	return s, nil
}

func (d dialect) openToRead(cfg *Config) (*sql.DB, error) {
	if d.postgres {
		db, err := sql.Open("pgx", cfg.Postgres)
		if err != nil {
			return nil, fmt.Errorf("open PostgreSQL: %w", err)
		}
		db.SetMaxOpenConns(4)
		return db, nil
	}
	if _, err := os.Stat(cfg.SQLite); errors.Is(err, fs.ErrNotExist) {
		return nil, problem.New(problem.NotFound, "database", "there is no database %s", cfg.SQLite)
	}
	v := url.Values{"_pragma": {"busy_timeout(10000)", "query_only(1)", "temp_store(memory)", "cache_size(-16384)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: cfg.SQLite}).EscapedPath(), RawQuery: v.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("open SQLite: %w", err)
	}
	db.SetMaxOpenConns(2)
	return db, nil
}

// checkMigrations refuses a database whose tables are not those of this
// program.
func (s *Store) checkMigrations(ctx context.Context) error {
	want := map[string]string{}
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	for _, path := range names {
		text, err := migrations.ReadFile(path)
		if err != nil {
			return err
		}
		h := sha256.Sum256(text)
		want[strings.TrimPrefix(path, "migrations/")] = hex.EncodeToString(h[:])
	}
	rows, err := s.readPool.QueryContext(ctx, "SELECT name, sha256 FROM migration")
	if err != nil {
		return problem.New(problem.Unavailable, "database", "this is not the database of a chartkeep server, or it cannot be read").Because(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name, sum string
		if err := rows.Scan(&name, &sum); err != nil {
			return err
		}
		if want[name] != sum {
			return problem.New(problem.Unavailable, "migration", "the database was made by another version of chartkeep: it has migration %s", name).
				Suggest("look at it with the version that made it")
		}
		delete(want, name)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for name := range want {
		return problem.New(problem.Unavailable, "migration", "the database lacks migration %s of this version of chartkeep", name).
			Suggest("start the server of this version once, or look at it with the version that made it")
	}
	return nil
}

// Sound asks the database itself whether its file is whole: SQLite's
// integrity_check, up to 100 lines of what is wrong. PostgreSQL has checks of
// its own, and is not asked. Cost: the whole file is read.
func (s *Store) Sound(ctx context.Context) ([]string, error) {
	if s.dialect.postgres {
		return nil, nil
	}
	var out []string
	rows, err := s.readPool.QueryContext(ctx, "PRAGMA integrity_check(100)")
	if err != nil {
		return nil, fault("check database file", err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, err
		}
		if line != "ok" {
			out = append(out, line)
		}
	}
	return out, fault("check database file", rows.Err())
}
