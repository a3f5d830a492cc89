package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// maxBatch bounds how many operations share one transaction.
const maxBatch = 512

// operation is a piece of work inside a transaction. run may be called more
// than once, each time against a database in which it did not happen yet; so
// it must set its results afresh. A refusal that is to be recorded is a
// result, not an error: an error undoes what run did.
type operation struct {
	run     func(*batch) error
	durable bool
	leaves  bool // run added leaves to the release log
	done    chan error
	begun   atomic.Bool // run was begun, or will never be: whoever sets it decides
}

// sequencer is the one writer of a process. It takes whatever is queued, runs
// it in one transaction and commits once, so that many publishers share the
// price of one flush. Several processes on one PostgreSQL take turns at the
// head row of the log.
type sequencer struct {
	store *Store
	queue chan *operation
	quit  chan struct{}
	idle  chan struct{} // closed when the goroutine has ended
}

func newSequencer(s *Store) *sequencer {
	q := &sequencer{store: s, queue: make(chan *operation, maxBatch), quit: make(chan struct{}), idle: make(chan struct{})}
	go q.loop()
	return q
}

// write runs an operation and returns when it is committed. When ctx ends before
// the operation has begun it does not happen; one that has begun is waited for,
// so that its results are nobody else's when this returns.
func (s *Store) write(ctx context.Context, durable bool, run func(*batch) error) error {
	if err := s.refuse(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err // below, a free place in the queue may be taken first
	}
	op := &operation{run: run, durable: durable, done: make(chan error, 1)}
	select {
	case s.seq.queue <- op:
	case <-s.seq.quit:
		return errClosing()
	case <-ctx.Done():
		return ctx.Err()
	}
	gone := ctx.Done()
	for {
		select {
		case err := <-op.done:
			return err
		case <-s.seq.idle:
			// The loop ended; it may have answered just before.
			select {
			case err := <-op.done:
				return err
			default:
				return errClosing()
			}
		case <-gone:
			if op.begun.CompareAndSwap(false, true) {
				return ctx.Err()
			}
			gone = nil // it runs, within the bounds of a transaction
		}
	}
}

func errClosing() error {
	return problem.New(problem.Unavailable, "stopping", "the server is stopping; nothing was changed").
		Suggest("repeat the request")
}

func (q *sequencer) close() {
	close(q.quit)
	<-q.idle
}

func (q *sequencer) loop() {
	defer close(q.idle)
	ops := make([]*operation, 0, maxBatch)
	tick, stop := q.store.signTicks()
	defer stop()
	for {
		ops = ops[:0]
		select {
		case op := <-q.queue:
			ops = append(ops, op)
		case <-tick:
			_ = q.store.settle() // what was left unsigned; the error is kept
			continue
		case <-q.quit:
			for { // what was queued before the end is still done
				if ops = q.gather(ops[:0]); len(ops) == 0 {
					return
				}
				q.begin(ops)
			}
		}
		q.begin(q.gather(ops))
	}
}

// gather adds what is queued now.
func (q *sequencer) gather(ops []*operation) []*operation {
	for len(ops) < maxBatch {
		select {
		case op := <-q.queue:
			ops = append(ops, op)
		default:
			return ops
		}
	}
	return ops
}

// begin commits the operations that somebody waits for.
func (q *sequencer) begin(ops []*operation) {
	ops = slices.DeleteFunc(ops, func(op *operation) bool { return !op.begun.CompareAndSwap(false, true) })
	if len(ops) > 0 {
		q.commit(ops)
	}
}

// commit runs operations in one transaction and answers each of them. When one
// of them fails, the transaction is undone and the halves are tried apart, so
// that nobody fails for what another did: one bad operation among n costs
// about 2 log n transactions, and none costs nothing. When the database itself
// fails, all get its error.
func (q *sequencer) commit(ops []*operation) {
	stage, err := q.try(ops)
	for again := 0; again < maxRepeats && stage != signing && collided(err); again++ {
		stage, err = q.try(ops)
	}
	if half := len(ops) / 2; err != nil && stage == running && half > 0 {
		q.commit(ops[:half])
		q.commit(ops[half:])
		return
	}
	for _, op := range ops {
		if stage == signing && !op.leaves {
			op.done <- nil // it was committed, and there is nothing to sign of it
			continue
		}
		op.done <- err
	}
}

// maxRepeats is how often a transaction is repeated that PostgreSQL undid
// because of another one, such as a deadlock of two processes that link the
// same blobs.
const maxRepeats = 5

// stage says how far a transaction came.
type stage int

const (
	beginning  stage = iota // nothing was run yet
	running                 // operations were run, and all of it was undone
	committing              // whether it happened is not known
	signing                 // it happened, and the log's signer has not signed it
)

// try runs operations in one transaction.
func (q *sequencer) try(ops []*operation) (at stage, err error) {
	s := q.store
	// Not the operations' contexts: one client that hangs up must not undo
	// the others' work.
	durable := false
	for _, op := range ops {
		durable = durable || op.durable
	}
	if durable {
		if err := s.ready(); err != nil {
			return beginning, err
		}
	}
	ctx, cancel := s.patience()
	defer cancel()
	w, err := s.beginWriter(ctx, durable)
	if err != nil {
		return beginning, err
	}
	b := &batch{ctx: ctx, store: s, w: w, clock: s.now()}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("operation panicked: %v\n%s", r, debug.Stack())
		}
		if err != nil && at != signing {
			if _, rerr := w.exec(context.WithoutCancel(ctx), "ROLLBACK"); rerr != nil {
				s.closeWriter()
			}
			s.projects.forget() // a commit that failed may have happened
			s.memos.forget()
			s.cosigned.Store(nil)
		}
	}()
	if durable {
		if err := b.lock(); err != nil {
			return beginning, fault("lock log", err)
		}
	}
	at = running
	for _, op := range ops {
		before := b.size()
		if err := op.run(b); err != nil {
			return at, fault("write", err)
		}
		op.leaves = b.size() > before
	}
	if err := b.finish(); err != nil {
		return at, fault("write", err)
	}
	at = committing
	if _, err := w.exec(ctx, "COMMIT"); err != nil {
		return at, unknownOutcome(err)
	}
	b.committed()
	if err := b.sign(); err != nil {
		return signing, err
	}
	return at, nil
}

// unknownOutcome is the answer when a commit failed: it may have happened all
// the same. Whoever repeats the request finds out.
func unknownOutcome(err error) error {
	if collided(err) {
		return err
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code()&0xff == sqlite3.SQLITE_FULL {
		return fault("commit", err) // the commit's own page found no room, so there is none
	}
	return problem.New(problem.Unavailable, "commit", "the database failed while it stored the change; whether it was stored is not known").
		Suggest("repeat the request: what was stored is then answered as unchanged").
		Because(fmt.Errorf("commit: %w", err))
}

// writer is the connection of the sequencer with its prepared statements.
type writer struct {
	conn       *sql.Conn
	dialect    dialect
	durable    bool // how SQLite is set; every connection begins as durable
	statements map[string]*sql.Stmt
}

// beginWriter begins a transaction. A connection that broke while it was idle,
// as after a restart of PostgreSQL, is replaced once.
func (s *Store) beginWriter(ctx context.Context, durable bool) (*writer, error) {
	for {
		fresh := s.w == nil
		if fresh {
			conn, err := s.writePool.Conn(ctx)
			if err != nil {
				return nil, fault("open writer", err)
			}
			s.w = &writer{conn: conn, dialect: s.dialect, durable: true, statements: map[string]*sql.Stmt{}}
		}
		err := s.w.begin(ctx, durable)
		if err == nil {
			return s.w, nil
		}
		s.closeWriter()
		if fresh || !s.dialect.postgres {
			return nil, fault("begin transaction", err)
		}
	}
}

// closeWriter gives a connection up that may be in the middle of something.
func (s *Store) closeWriter() {
	if s.w == nil {
		return
	}
	s.w.conn.Raw(func(any) error { return driver.ErrBadConn })
	s.w.conn.Close()
	s.w = nil
}

func (w *writer) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if st := w.statements[query]; st != nil {
		return st, nil
	}
	st, err := w.conn.PrepareContext(ctx, w.dialect.rebind(query))
	if err != nil {
		return nil, err
	}
	w.statements[query] = st
	return st, nil
}

func (w *writer) exec(ctx context.Context, query string, args ...any) (int64, error) {
	if len(args) == 0 {
		_, err := w.conn.ExecContext(ctx, query)
		return 0, err
	}
	st, err := w.prepare(ctx, query)
	if err != nil {
		return 0, err
	}
	r, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (w *writer) row(ctx context.Context, query string, args ...any) scanner {
	st, err := w.prepare(ctx, query)
	if err != nil {
		return failedRow{err}
	}
	return st.QueryRowContext(ctx, args...)
}

// scanner is a row, or the error that kept us from it.
type scanner interface{ Scan(dest ...any) error }

type failedRow struct{ err error }

func (r failedRow) Scan(...any) error { return r.err }
