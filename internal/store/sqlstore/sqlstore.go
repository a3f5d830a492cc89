// Package sqlstore is everything that stays but the bytes of archives, in one
// database: SQLite in a file, or PostgreSQL for several replicas.
//
// What always holds:
//
//   - Every change goes through the sequencer: one transaction at a time in a
//     process, many operations in a transaction, one flush.
//   - A release, its leaf, the tiles and the signed checkpoint, its audit
//     event, its index entry and its outbox row are one transaction.
//   - The unique indexes of table release decide who released. No statement
//     looks first and writes after.
//   - Releases, leaves, tiles and projects are never deleted, and what is
//     frozen in them is never updated; triggers see to it.
//   - On PostgreSQL replicas serialise on the head rows of the logs; there is
//     no leader. On SQLite one process owns the file.
//
// The SQL is one text for both databases; dialect.go has what differs.
package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config says which database, and with which key the logs are signed.
type Config struct {
	// SQLite is the path of the database file. It is made when missing.
	SQLite string
	// Postgres is a connection string; it wins over SQLite.
	Postgres string
	// Origin names the release log for ever; it is stored at the first start
	// and must be the same at every later one. The audit log is Origin/audit.
	Origin string
	// Signer signs checkpoints of the release log, AuditSigner those of the
	// audit log.
	Signer, AuditSigner note.Signer
	// VerifierKey is the public half of Signer, as a vkey; AuditVerifierKey
	// that of AuditSigner. Without them heads that are read are not checked.
	VerifierKey, AuditVerifierKey string
	// OldSigner signs checkpoints of the release log as well, until OldUntil;
	// nil when the log does not go from one key to another. OldVerifierKey is
	// its public half.
	OldSigner      note.Signer
	OldVerifierKey string
	OldUntil       time.Time
	// Remote signs the heads of the release log in Signer's place; nil is
	// Signer. It needs VerifierKey. A database whose log was signed so is always
	// opened with one.
	Remote HeadSigner
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Store is a database. It may be used concurrently.
type Store struct {
	dialect   dialect
	config    Config
	now       func() time.Time
	writePool *sql.DB
	readPool  *sql.DB
	w         *writer // owned by the sequencer, like the next
	// repositories are ids by name, as far as they were committed.
	repositories map[string]int64
	seq          *sequencer
	logs         [auditLog + 1]atomic.Pointer[logState]
	// tail is all that is committed of a release log that another process
	// signs; logs has what is signed of it. signerDown is why it was not.
	tail       atomic.Pointer[logState]
	signerDown atomic.Pointer[down]
	heard      bool // the signer has answered; owned by the sequencer
	cosigned   atomic.Pointer[release.Cosigned]
	verifiers  [auditLog + 1]note.Verifiers // nil: what the tables say of a head is believed
	projects   projectCache
	memos      memos
	readers    sync.Map     // query text -> *sql.Stmt of readPool
	anchored   atomic.Int64 // size of the audit log when it was last anchored
	closeOnce  sync.Once

	frozen    atomic.Pointer[problem.Error] // set once: nothing is written any more
	frozenC   chan struct{}                 // closed then
	contrary  atomic.Pointer[custody.Standing]
	unhurried bool // a recovery has no time limit; set before it is queued
}

// Open opens or makes the database and brings its tables up to date.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{dialect: dialect{postgres: cfg.Postgres != ""}, config: cfg, now: cfg.Now, repositories: map[string]int64{}, frozenC: make(chan struct{})}
	if s.now == nil {
		s.now = time.Now
	}
	s.memos = newMemos(s.dialect)
	if err := s.openVerifiers(); err != nil {
		return nil, err
	}
	dsn := cfg.SQLite
	if s.dialect.postgres {
		dsn = cfg.Postgres
	}
	var err error
	if s.writePool, s.readPool, err = s.dialect.open(dsn); err != nil {
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		s.closePools()
		return nil, fault("migrate database", err)
	}
	if err := s.openLogs(ctx); err != nil {
		s.closePools()
		return nil, fault("open log", err)
	}
	if err := s.settle(); err != nil && problem.KindOf(err) != problem.Unavailable {
		s.closePools()
		return nil, fault("sign log", err)
	}
	s.seq = newSequencer(s)
	return s, nil
}

// Close waits for what is queued and closes the database.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.seq.close()
		if s.w != nil {
			s.w.conn.Close()
			s.w = nil
		}
		s.closePools()
	})
	return nil
}

func (s *Store) closePools() {
	s.writePool.Close()
	if s.readPool != s.writePool {
		s.readPool.Close()
	}
}

// Ping says whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	return fault("ping database", s.readPool.PingContext(ctx))
}

// patience bounds one transaction. SQLite is in this process and needs no
// bound; the context without a deadline spares a goroutine a statement.
func (s *Store) patience() (context.Context, context.CancelFunc) {
	if !s.dialect.postgres || s.unhurried {
		return context.Background(), func() {}
	}
	return context.WithTimeout(context.Background(), 30*time.Second)
}

// migrationLock keeps replicas from migrating at once (PostgreSQL advisory lock).
const migrationLock = 7203114

const createMigration = "CREATE TABLE IF NOT EXISTS migration (name TEXT PRIMARY KEY, sha256 TEXT NOT NULL)"

// migrate applies the migrations that the database lacks, each in one
// transaction, and refuses a database that is newer than this program or whose
// history differs from ours.
func (s *Store) migrate(ctx context.Context) error {
	conn, err := s.writePool.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if s.dialect.postgres {
		if _, err := conn.ExecContext(ctx, fmt.Sprintf("SELECT pg_advisory_lock(%d)", migrationLock)); err != nil {
			return err
		}
		defer conn.ExecContext(context.WithoutCancel(ctx), fmt.Sprintf("SELECT pg_advisory_unlock(%d)", migrationLock))
	}
	if _, err := conn.ExecContext(ctx, createMigration); err != nil {
		return err
	}
	done := map[string]string{}
	rows, err := conn.QueryContext(ctx, "SELECT name, sha256 FROM migration")
	if err != nil {
		return err
	}
	for rows.Next() {
		var name, sum string
		if err := rows.Scan(&name, &sum); err != nil {
			return err
		}
		done[name] = sum
	}
	if err := rows.Err(); err != nil {
		return err
	}
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	for _, path := range names {
		text, err := migrations.ReadFile(path)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, "migrations/")
		h := sha256.Sum256(text)
		sum := hex.EncodeToString(h[:])
		if was, ok := done[name]; ok {
			if was != sum {
				return problem.New(problem.Unavailable, "migration", "the database was made with another text of migration %s", name).
					Suggest("run the version of chartkeep that made it, or restore a backup")
			}
			delete(done, name)
			continue
		}
		if err := s.apply(ctx, conn, name, sum, string(text)); err != nil {
			return fmt.Errorf("migration %s: %w", name, err)
		}
	}
	for name := range done {
		return problem.New(problem.Unavailable, "migration", "the database is newer than this program: it has migration %s", name).
			Suggest("run the version of chartkeep that made it, or a newer one")
	}
	return nil
}

func (s *Store) apply(ctx context.Context, conn *sql.Conn, name, sum, text string) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, s.dialect.migration(text)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, s.dialect.rebind("INSERT INTO migration (name, sha256) VALUES (?, ?)"), name, sum); err != nil {
		return err
	}
	return tx.Commit()
}

// reader returns a prepared statement of the read pool. Statements live as
// long as the store; there are as many as query texts in this package.
func (s *Store) reader(ctx context.Context, query string) (*sql.Stmt, error) {
	if st, ok := s.readers.Load(query); ok {
		return st.(*sql.Stmt), nil
	}
	st, err := s.readPool.PrepareContext(ctx, s.dialect.rebind(query))
	if err != nil {
		return nil, err
	}
	if other, loaded := s.readers.LoadOrStore(query, st); loaded {
		st.Close()
		return other.(*sql.Stmt), nil
	}
	return st, nil
}

func (s *Store) queryRow(ctx context.Context, query string, args ...any) scanner {
	st, err := s.reader(ctx, query)
	if err != nil {
		return failedRow{err}
	}
	return st.QueryRowContext(s.quick(ctx), args...)
}

// query runs fn for every row.
func (s *Store) query(ctx context.Context, query string, fn func(scanner) error, args ...any) error {
	st, err := s.reader(ctx, query)
	if err != nil {
		return fault("prepare", err)
	}
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return fault("query", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return fault("query", rows.Err())
}

// quick drops the deadline of a look-up by key on SQLite: it lasts
// microseconds, and watching a context costs more than the look-up.
func (s *Store) quick(ctx context.Context) context.Context {
	if s.dialect.postgres {
		return ctx
	}
	return context.WithoutCancel(ctx)
}

func notFound(err error) bool { return errors.Is(err, sql.ErrNoRows) }

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
