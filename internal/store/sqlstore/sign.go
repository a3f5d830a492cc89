package sqlstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// HeadSigner signs heads of the release log in another process, which remembers
// the last one and refuses what does not continue it.
//
// It is asked after a commit and never inside a transaction: were a head signed
// whose transaction is then undone, all that comes later would be a fork to it.
// So between a commit and its signature the head row is ahead of the checkpoint
// beside it. A checkpoint names its own size and root: what it says is what
// readers see, and the row's own size and root are where writers go on. Whoever
// writes next signs first what was left unsigned, by this process or another.
type HeadSigner interface {
	// SignHead returns the signed checkpoint of a head, whose text stands in the
	// request where a witness expects a signed one. *tlog.SignedSize when
	// the last head that it signed does not have Old leaves; problem.Disproven
	// when it does not continue that. Other errors are a signer that
	// does not answer.
	SignHead(ctx context.Context, r tlog.WitnessRequest) ([]byte, error)
}

// NotAsked is the signer of a command that looks at the database of a log whose
// key is in another process, and has nothing signed.
var NotAsked HeadSigner = notAsked{}

type notAsked struct{}

func (notAsked) SignHead(context.Context, tlog.WitnessRequest) ([]byte, error) {
	return nil, errors.New("the signer of the log is not asked by this command")
}

// How long a signer may take, and for how long one that took as long is not
// asked again by writes, which are refused at once meanwhile. Variables for tests.
var (
	signPatience = 10 * time.Second
	signRest     = 10 * time.Second
	signTick     = time.Second
)

// RuleSigner is the rule of errors that say that the log's signer has not
// signed.
const RuleSigner = "log-signer"

// remote says whether the heads of a log are signed by another process.
func (s *Store) remote(log int) bool { return log == releaseLog && s.config.Remote != nil }

// known is the newest state of a log that this process has seen committed.
func (s *Store) known(log int) *logState {
	if s.remote(log) {
		return s.tail.Load()
	}
	return s.logs[log].Load()
}

// signedHead is the row of the release log's head: where writers go on, and what
// was signed. The first never lies behind the second.
type signedHead struct {
	size   int64
	root   tlog.Hash
	time   time.Time // of the newest leaf
	signed tlog.Checkpoint
}

// whole says whether all of the log is signed.
func (h *signedHead) whole() bool { return h.signed.Note != nil && h.signed.Size == h.size }

// signedHead reads the head row. Nothing of it is checked against the leaves,
// nor any signature. One look-up by key.
func (s *Store) signedHead(ctx context.Context, row func(context.Context, string, ...any) scanner) (signedHead, error) {
	var h signedHead
	var root, text []byte
	var ms int64
	if err := row(ctx, "SELECT size, root, checkpoint, time FROM head WHERE log = ?", releaseLog).Scan(&h.size, &root, &text, &ms); err != nil {
		return h, fault("read log head", err)
	}
	copy(h.root[:], root)
	h.time = fromMillis(ms)
	var err error
	h.signed, err = signedPart(s.origin(releaseLog), h.size, h.root, text)
	return h, err
}

// signedPart is the checkpoint of a head row of a log whose key is in another
// process. Before the first signature there is none, and the log is empty.
func signedPart(origin string, size int64, root tlog.Hash, text []byte) (tlog.Checkpoint, error) {
	if len(text) == 0 {
		return tlog.Checkpoint{Origin: origin, Root: tlog.EmptyRoot()}, nil
	}
	cp, err := tlog.ParseCheckpoint(text)
	if err != nil {
		return cp, fmt.Errorf("read log head: %w", err)
	}
	if cp.Size > size || cp.Size == size && cp.Root != root {
		return cp, problem.New(problem.Disproven, "log-head", "the head of log %q is not the one that was signed", origin).
			With("signed", "%d leaves, root %s", cp.Size, cp.Root).With("stored", "%d leaves, root %s", size, root).
			Suggest("stop the server and restore the database from a backup; do not publish from it")
	}
	return cp, nil
}

// readSigned is readHead for readers of a log whose key is in another process:
// the state at the checkpoint.
func (s *Store) readSigned(ctx context.Context) (*logState, error) {
	h, err := s.signedHead(ctx, s.queryRow)
	if err != nil {
		return nil, err
	}
	if have := s.logs[releaseLog].Load(); have != nil && bytes.Equal(have.checkpoint, h.signed.Note) {
		return have, nil
	}
	st, err := s.stateAt(ctx, h.signed.Size, h.signed.Root)
	if err != nil {
		return nil, err
	}
	st.checkpoint, st.time = h.signed.Note, h.time
	if st.checkpoint != nil {
		if err := s.checkHead(releaseLog, st); err != nil {
			return nil, err
		}
	}
	if !h.whole() {
		if st.time, err = s.leafTime(ctx, st.size-1); err != nil {
			return nil, err
		}
	}
	s.newer(&s.logs[releaseLog], st)
	return st, nil
}

// leafTime is when a leaf was made; zero for none, and for one of a newer
// version.
func (s *Store) leafTime(ctx context.Context, index int64) (time.Time, error) {
	if index < 0 {
		return time.Time{}, nil
	}
	entry, err := s.leaf(ctx, index)
	if err != nil {
		return time.Time{}, err
	}
	leaf, err := tlog.ParseLeaf(entry)
	if err != nil {
		return time.Time{}, nil
	}
	return leaf.When(), nil
}

// readTail is readHead for writers of a log whose key is in another process: all
// that is committed. Its checkpoint is nil.
func (s *Store) readTail(ctx context.Context, row func(context.Context, string, ...any) scanner) (*logState, error) {
	h, err := s.signedHead(ctx, row)
	if err != nil {
		return nil, err
	}
	if have := s.tail.Load(); have != nil && have.size == h.size && have.root == h.root {
		return have, nil
	}
	st, err := s.stateAt(ctx, h.size, h.root)
	if err != nil {
		return nil, err
	}
	st.time = h.time
	// What was signed is in it: else what comes next would be a fork.
	if edge, err := s.edgeAt(ctx, releaseLog, h.signed.Size); err != nil {
		return nil, err
	} else if edge.Root() != h.signed.Root {
		return nil, s.falseRoot(h.signed.Size, h.signed.Root, edge.Root())
	}
	s.newer(&s.tail, st)
	return st, nil
}

// stateAt makes the state of the release log at a size from its rows, which
// must have the root.
func (s *Store) stateAt(ctx context.Context, size int64, root tlog.Hash) (*logState, error) {
	edge, err := s.edgeAt(ctx, releaseLog, size)
	if err != nil {
		return nil, err
	}
	if edge.Root() != root {
		return nil, s.falseRoot(size, root, edge.Root())
	}
	return &logState{size: size, root: root, edge: edge}, nil
}

func (s *Store) falseRoot(size int64, want, got tlog.Hash) error {
	return problem.New(problem.Disproven, "log-head", "the leaves of log %q do not have the root that its head has", s.origin(releaseLog)).
		With("size", "%d", size).With("root of the head", "%s", want).With("computed root", "%s", got).
		Suggest("stop the server and restore the database from a backup; do not publish from it")
}

// Unsigned says how many leaves of the release log are committed and wait for
// their signature, and why, where that is known. Cost: one look-up by key, and
// none where this process holds the key.
func (s *Store) Unsigned(ctx context.Context) (int64, error) {
	if s.config.Remote == nil {
		return 0, nil
	}
	h, err := s.signedHead(ctx, s.queryRow)
	if err != nil {
		return 0, err
	}
	var why error
	if down := s.signerDown.Load(); down != nil && !h.whole() {
		why = down.err
	}
	return h.size - h.signed.Size, why
}

// newer makes a state the known one unless a newer is known.
func (s *Store) newer(known *atomic.Pointer[logState], st *logState) {
	have := known.Load()
	if have == nil || have.size < st.size || have.size == st.size && have.checkpoint == nil {
		known.CompareAndSwap(have, st)
	}
}

// down is a signer that did not sign.
type down struct {
	err  error
	rest time.Time // writes do not ask again before
}

// ready has everything signed before a batch adds to it. Its error refuses
// the batch.
func (s *Store) ready() error {
	if s.config.Remote == nil || s.unhurried {
		return nil
	}
	if d := s.signerDown.Load(); d != nil && time.Now().Before(d.rest) {
		return d.err
	}
	return s.settle()
}

// settle has everything signed that is committed. Only the sequencer calls it,
// and Open before there is one. Until the signer has answered once it is asked
// for what is signed already too: one that knows more tells of a database that
// went back, before anything is written to it. Where this process has the key,
// it does nothing.
func (s *Store) settle() error {
	if s.config.Remote == nil || s.ReadOnly() != nil {
		return s.refuse()
	}
	begin := time.Now()
	ctx, cancel := s.patience()
	defer cancel()
	err := s.signTail(ctx, !s.heard)
	if err == nil {
		s.heard = true
		s.signerDown.Store(nil)
		return nil
	}
	d := &down{err: err}
	if end := time.Now(); end.Sub(begin) > signTick {
		d.rest = end.Add(signRest)
	}
	s.signerDown.Store(d)
	return err
}

// signTicks tell when what was left unsigned is tried again, by nobody's write.
func (s *Store) signTicks() (tick <-chan time.Time, stop func()) {
	if s.config.Remote == nil || s.config.Remote == NotAsked {
		return nil, func() {}
	}
	t := time.NewTicker(signTick)
	return t.C, t.Stop
}

// size is that of the release log as the batch has made it, 0 for a batch that
// cannot add to it.
func (b *batch) size() int64 {
	if b.logs[releaseLog] == nil {
		return 0
	}
	return b.next(releaseLog)
}

// sign has signed what the batch committed, when another process does that.
func (b *batch) sign() error {
	g := b.logs[releaseLog]
	if g == nil || g.state == nil || g.state.checkpoint != nil {
		return nil
	}
	if err := b.store.settle(); err != nil {
		if b.store.ReadOnly() != nil {
			return err
		}
		return unfinished(err)
	}
	if st := b.store.logs[releaseLog].Load(); st != nil && st.size == g.state.size {
		g.state = st
	}
	return nil
}

// maxSignRounds bounds how often a head is read anew because the signer or
// another server was faster.
const maxSignRounds = 8

// signTail has what is committed now signed; what other servers commit
// meanwhile is theirs.
func (s *Store) signTail(ctx context.Context, anew bool) error {
	target := int64(-1) // the size that has to be signed
	asked := int64(-1)  // the size that the signer said it knows
	ahead := false      // it knows more than the database has
	for range maxSignRounds {
		if tail, signed := s.tail.Load(), s.logs[releaseLog].Load(); !anew && asked < 0 && !s.dialect.postgres && tail != nil && signed != nil && tail.size == signed.size && signed.checkpoint != nil {
			return nil
		}
		h, err := s.signedHead(ctx, s.queryRow)
		if err != nil {
			return err
		}
		if target < 0 {
			target = h.size
		}
		if !anew && h.signed.Note != nil && h.signed.Size >= target {
			_, err := s.readSigned(ctx)
			return err
		}
		tail, err := s.readTail(ctx, s.queryRow)
		if err != nil {
			return err
		}
		if tail.size != h.size {
			continue // it has moved in between
		}
		from := h.signed.Size
		if asked >= 0 {
			from = asked
		}
		if from > h.size {
			if ahead {
				return s.signerAhead(from, &h)
			}
			ahead = true // another server may have committed since; read once more
			continue
		}
		err = s.signOne(ctx, from, tail, h.signed.Note)
		if elsewhere, ok := errors.AsType[*tlog.SignedSize](err); ok {
			if elsewhere.Size == from {
				return s.unsigned(fmt.Errorf("the signer answers the same size %d again and again", from))
			}
			asked = elsewhere.Size
			continue
		}
		if err != nil || !s.dialect.postgres {
			return err
		}
		anew = false
		asked = -1 // on to see whether it is stored, or something newer
	}
	return s.unsigned(errors.New("signer and database moved all the time"))
}

// signOne asks for the signature of one state and stores it.
func (s *Store) signOne(ctx context.Context, from int64, tail *logState, was []byte) error {
	text, err := tlog.HeadText(s.config.Origin, tail.size, tail.root)
	if err != nil {
		return err
	}
	proof, err := tlog.ConsistencyProof(from, tail.size, tail.edge, tiles{ctx, s, releaseLog})
	if err != nil {
		return fmt.Errorf("prove what is to be signed: %w", err)
	}
	ask, cancel := context.WithTimeout(ctx, signPatience)
	defer cancel()
	signed, err := s.config.Remote.SignHead(ask, tlog.WitnessRequest{Old: from, Proof: proof, Checkpoint: text})
	if problem.KindOf(err) == problem.Disproven {
		return s.signerForked(from, tail, err)
	}
	if _, ok := errors.AsType[*tlog.SignedSize](err); ok {
		return err
	}
	if err != nil {
		return s.unsigned(err)
	}
	st := &logState{size: tail.size, root: tail.root, time: tail.time, edge: tail.edge, checkpoint: signed}
	if err := s.checkHead(releaseLog, st); err != nil {
		return s.unsigned(fmt.Errorf("the signer's answer is not what it was asked for: %w", err))
	}
	if err := s.storeCheckpoint(ctx, signed, was); err != nil {
		return err
	}
	s.newer(&s.logs[releaseLog], st)
	return nil
}

// storeCheckpoint puts a checkpoint in the place of the one that was read. One
// that another server has stored since stays: it is newer, or will be replaced
// in the next round. It is a soft write: one that is lost is asked for again,
// and the signer gives the same.
func (s *Store) storeCheckpoint(ctx context.Context, signed, was []byte) error {
	w, err := s.beginWriter(ctx, false)
	if err != nil {
		return err
	}
	if was == nil {
		was = []byte{}
	}
	_, err = w.exec(ctx, "UPDATE head SET checkpoint = ? WHERE log = ? AND checkpoint = ?", signed, releaseLog, was)
	if err == nil {
		_, err = w.exec(ctx, "COMMIT")
	}
	if err != nil {
		if _, rerr := w.exec(context.WithoutCancel(ctx), "ROLLBACK"); rerr != nil {
			s.closeWriter()
		}
		return fault("store checkpoint", err)
	}
	return nil
}

// unsigned is the error of whoever has to wait for the signer.
func (s *Store) unsigned(err error) error {
	return problem.New(problem.Unavailable, RuleSigner, "the signer of the log does not sign, so nothing can be written; nothing was changed").
		Suggest("repeat the request later; the operator sees why with: chartkeep doctor").
		Because(err)
}

// unfinished is the answer to a write that is committed and not signed.
func unfinished(err error) error {
	if p, ok := problem.As(err); ok && p.Rule == RuleSigner {
		err = errors.Unwrap(p)
	}
	return problem.New(problem.Unavailable, RuleSigner, "the change is stored, but it is not finished: the signer of the log has not signed it").
		Suggest("wait for the signer, then repeat the request: a push is then answered as unchanged").
		Because(err)
}

// beyondSigned is the answer to a reader of a leaf that is not in what is signed:
// there is none, or it waits for its signature. Cost: one look-up by key.
func (s *Store) beyondSigned(ctx context.Context, index int64, st *logState) error {
	if !s.remote(releaseLog) || index < 0 {
		return beyondTree(st.size)
	}
	h, err := s.signedHead(ctx, s.queryRow)
	if err != nil {
		return err
	}
	if index >= h.size {
		return beyondTree(st.size)
	}
	return problem.New(problem.Unavailable, RuleSigner, "this is stored, but the log has not signed it yet, so that it cannot be proven").
		With("log index", "%d", index).With("log size", "%d", st.size).
		Suggest("repeat the request")
}

// bySigner is how people are told who knows what the log's signer has signed.
const bySigner = "the signer of the log"

// signerAhead and signerForked say that the database is not the one that was
// signed, in the words of rolledBack. Nothing is written any more.
func (s *Store) signerAhead(size int64, h *signedHead) error {
	return s.contradicted(custody.Standing{
		Log: custody.Releases, State: custody.StateBehind, By: bySigner,
		Database: tlog.Checkpoint{Origin: s.config.Origin, Size: h.size, Root: h.root}, Kept: tlog.Checkpoint{Origin: s.config.Origin, Size: size},
	}, problem.New(problem.Unavailable, "read-only", "this registry is read-only: its database went back behind what was signed").
		With("log", "%s", s.config.Origin).
		With("database", "%d leaves", h.size).
		With("signed", "%d leaves, by "+bySigner, size).
		Suggest("the operator stops the server and runs: chartkeep log recover"))
}

func (s *Store) signerForked(size int64, tail *logState, why error) error {
	return s.contradicted(custody.Standing{
		Log: custody.Releases, State: custody.StateForked, By: bySigner,
		Database: tlog.Checkpoint{Origin: s.config.Origin, Size: tail.size, Root: tail.root}, Kept: tlog.Checkpoint{Origin: s.config.Origin, Size: size},
	}, problem.New(problem.Unavailable, "read-only", "this registry is read-only: its database holds another history than was signed").
		With("log", "%s", s.config.Origin).
		With("database", "%d leaves, root %s", tail.size, tail.root).
		With("signed", "%d leaves, by "+bySigner, size).
		Suggest("the operator stops the server and runs: chartkeep log recover").Because(why))
}
