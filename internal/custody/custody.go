package custody

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Config is what a Custodian is made of.
type Config struct {
	Database Database
	Records  Records
	Blobs    Blobs
	Limits   chart.Limits
	// Verifiers are the origin of a log and the keys that count for it.
	Verifiers func(Log) (origin string, keys note.Verifiers)
	// Elsewhere are checkpoints of these logs that others know, such as
	// witnesses; nil asks nobody. One that is not signed by the log is ignored.
	Elsewhere func(context.Context) []Known
	Log       *slog.Logger     // nil logs nothing
	Now       func() time.Time // nil is time.Now
}

// Known is a checkpoint that somebody else knows.
type Known struct {
	By   string // who, for people
	Log  Log
	Note []byte // the signed checkpoint
}

// Custodian keeps the history of one database, compares both, and recovers one
// from the other. Its methods may be called concurrently.
type Custodian struct {
	cfg   Config
	shelf shelf
	log   *slog.Logger
	now   func() time.Time

	mu   sync.Mutex // held while something is kept
	seen map[Log]tlog.Checkpoint
	// reached is how far the entries are kept of a log that takes several
	// rounds.
	reached map[Log]int64
	told    int
	// marked says that the database knows that records were kept.
	marked bool

	kept    [len(Logs)]atomic.Int64
	missing atomic.Bool
}

// New makes a custodian. It reads nothing yet.
func New(cfg Config) *Custodian {
	c := &Custodian{
		cfg: cfg, log: cfg.Log, now: cfg.Now, shelf: shelf{cfg.Records, cfg.Verifiers},
		seen: map[Log]tlog.Checkpoint{}, reached: map[Log]int64{},
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c
}

// Kept is the size of the largest checkpoint of a log that this process has
// seen kept.
func (c *Custodian) Kept(log Log) int64 {
	for i, l := range Logs {
		if l == log {
			return c.kept[i].Load()
		}
	}
	return 0
}

// Missing says whether records were missing that had been kept before: at the
// start, or while this process ran.
func (c *Custodian) Missing() bool { return c.missing.Load() }

func (c *Custodian) setKept(log Log, size int64) {
	for i, l := range Logs {
		if l == log {
			c.kept[i].Store(size)
		}
	}
}

// The states of a log in comparison with what is kept of it.
const (
	StateOK      = "ok"      // the database holds all that is kept
	StateEmpty   = "empty"   // nothing was ever written
	StateUnkept  = "unkept"  // the database holds a log of which nothing is kept
	StateBehind  = "behind"  // leaves were signed and kept that the database lacks
	StateForked  = "forked"  // the database holds another history than was signed before
	StateUnknown = "unknown" // the comparison could not be made
)

// Standing is one log in comparison with what is kept of it.
type Standing struct {
	Log      Log
	State    string
	Database tlog.Checkpoint
	Kept     tlog.Checkpoint // the largest that is known; its Size is 0 where none is
	By       string          // who knows Kept: "the records", or a witness
	Removed  bool            // nothing is kept any more, and something was
	Bad      []error         // records on the way that are not what their names say
}

// recordsName is how people are told who knows a checkpoint.
const recordsName = "the records"

// Compare says how the database stands to what is kept, and to what others
// know. An error means that it could not be found out.
func (c *Custodian) Compare(ctx context.Context) ([]Standing, error) {
	var elsewhere []Known
	if c.cfg.Elsewhere != nil {
		elsewhere = c.cfg.Elsewhere(ctx)
	}
	var out []Standing
	for _, log := range Logs {
		st, err := c.compare(ctx, log, elsewhere)
		if err != nil {
			return out, fmt.Errorf("compare the %s log with what is kept: %w", log, err)
		}
		out = append(out, st)
	}
	return out, nil
}

func (c *Custodian) compare(ctx context.Context, log Log, elsewhere []Known) (Standing, error) {
	st := Standing{Log: log, State: StateOK, By: recordsName}
	// In this order: what is kept was committed, so that a database which is
	// read afterwards has it, whatever other replicas do meanwhile.
	kept, ok, bad, err := c.shelf.newest(ctx, log, tlog.MaxSize)
	if err != nil {
		return st, err
	}
	st.Kept, st.Bad = kept, bad
	all := []tlog.Checkpoint{}
	by := []string{}
	if ok {
		all, by = append(all, kept), append(by, st.By)
	}
	origin, keys := c.cfg.Verifiers(log)
	for _, k := range elsewhere {
		if k.Log != log {
			continue
		}
		cp, err := tlog.OpenCheckpoint(k.Note, origin, keys)
		if err != nil {
			st.Bad = append(st.Bad, fmt.Errorf("checkpoint that %s knows: %w", k.By, err))
			continue
		}
		all, by = append(all, cp), append(by, k.By)
	}
	if st.Database, err = c.held(ctx, log); err != nil {
		return st, err
	}
	if len(all) == 0 {
		st.State = StateUnkept
		if st.Database.Size == 0 {
			st.State = StateEmpty
			return st, nil
		}
		if st.Removed, err = c.cfg.Database.KeptBefore(ctx); st.Removed {
			c.missing.Store(true)
		}
		return st, err
	}
	for i, cp := range all {
		state, err := c.stands(ctx, log, st.Database, cp)
		if err != nil {
			return st, err
		}
		// A fork is worse than a lag, and the largest says most.
		if worse(state, st.State) || state == st.State && cp.Size > st.Kept.Size {
			st.State, st.Kept, st.By = state, cp, by[i]
		}
	}
	if st.State == StateBehind {
		return st, c.behind(ctx, &st)
	}
	return st, nil
}

// held is the tree that the database holds of a log: its checkpoint, or beyond
// that, without a note, where the newest leaves wait for their signature.
func (c *Custodian) held(ctx context.Context, log Log) (tlog.Checkpoint, error) {
	head, err := c.cfg.Database.LogHead(ctx, log)
	if err != nil {
		return head, err
	}
	size, err := c.cfg.Database.LogSize(ctx, log)
	if err != nil || size <= head.Size {
		return head, err
	}
	edge, err := c.cfg.Database.LogEdge(ctx, log, size)
	if err != nil {
		return head, err
	}
	return tlog.Checkpoint{Origin: head.Origin, Size: size, Root: edge.Root()}, nil
}

func worse(a, b string) bool {
	rank := map[string]int{StateOK: 0, StateBehind: 1, StateForked: 2}
	return rank[a] > rank[b]
}

// stands compares the database with one checkpoint of its log.
func (c *Custodian) stands(ctx context.Context, log Log, db, cp tlog.Checkpoint) (string, error) {
	switch {
	case cp.Size > db.Size:
		return StateBehind, nil
	case cp.Size == db.Size && cp.Root == db.Root:
		return StateOK, nil
	}
	edge, err := c.cfg.Database.LogEdge(ctx, log, cp.Size)
	if err != nil {
		return "", err
	}
	if edge.Root() != cp.Root {
		return StateForked, nil
	}
	return StateOK, nil
}

// behind looks whether a database that is behind shares the history up to the
// newest kept checkpoint that it should contain.
func (c *Custodian) behind(ctx context.Context, st *Standing) error {
	shared, ok, _, err := c.shelf.newest(ctx, st.Log, st.Database.Size)
	if err != nil || !ok {
		return err
	}
	state, err := c.stands(ctx, st.Log, st.Database, shared)
	if err == nil && state == StateForked {
		st.State, st.Kept = StateForked, shared
	}
	return err
}

// Refusal is the problem that every write gets while a log stands so, or nil
// when it may go on.
func (st *Standing) Refusal() *problem.Error {
	switch st.State {
	case StateBehind:
		return problem.New(problem.Unavailable, "read-only", "this registry is read-only: its database went back behind what was signed").
			With("log", "%s", st.Kept.Origin).
			With("database", "%d leaves", st.Database.Size).
			With("signed and kept", "%d leaves, by %s", st.Kept.Size, st.By).
			Suggest("the operator stops the server and runs: chartkeep log recover")
	case StateForked:
		return problem.New(problem.Unavailable, "read-only", "this registry is read-only: its database holds another history than was signed").
			With("log", "%s", st.Kept.Origin).
			With("database", "%d leaves, root %s", st.Database.Size, st.Database.Root).
			With("signed and kept", "%d leaves, root %s, by %s", st.Kept.Size, st.Kept.Root, st.By).
			Suggest("the operator stops the server and runs: chartkeep log recover")
	}
	return nil
}

// errRolledBack is wrapped by what Keep returns when the database went back.
var errRolledBack = errors.New("the database is behind what is kept of it")

// RolledBack is the standing that made Keep fail, if it was that.
func RolledBack(err error) (Standing, bool) {
	var r rolledBack
	ok := errors.As(err, &r)
	return r.standing, ok
}

type rolledBack struct{ standing Standing }

func (r rolledBack) Error() string {
	return fmt.Sprintf("%v: the %s log is %s", errRolledBack, r.standing.Log, r.standing.State)
}

func (r rolledBack) Unwrap() error { return errRolledBack }
