package release

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// WitnessConfig is by whom the log is witnessed. The zero value is by nobody.
type WitnessConfig struct {
	Policy   tlog.WitnessPolicy
	Required bool // only checkpoints that met the quorum are published
	Ask      Witness
	LogKeys  note.Verifiers // what the log's checkpoints are signed with
	// Doubted is called, and may take its time, when a witness says that it has
	// cosigned another history of the log, or more of it than there is. That is a
	// word of the witness and no proof: it is to be looked at.
	Doubted func(context.Context)
}

// on says whether there is anybody to ask.
func (c *WitnessConfig) on() bool { return c.Ask != nil }

// How the witnesses are asked.
const (
	witnessPace     = time.Second      // between two checkpoints at least
	witnessTimeout  = 10 * time.Second // for an answer
	witnessPatience = 5 * time.Second  // how long a checkpoint waits for a witness that was well until then
	witnessRenew    = time.Hour        // a log that does not move is cosigned again, so that its witnesses are known to live
	witnessBackOff  = 5 * time.Minute  // at most
	witnessLease    = 15 * time.Second
)

// Why a witness refuses: words of WitnessState.Refusal, and behind "witness-"
// rules of the event.
const (
	RefusedAhead        = "ahead"        // it has cosigned more of this log than there is
	RefusedInconsistent = "inconsistent" // what it has cosigned is not a beginning of this log
	RefusedDenied       = "denied"       // it does not take the log's key, or states no more of this log
)

// Witnessing is how it stands with the witnesses.
type Witnessing struct {
	Mode      string      `json:"mode"`                 // "none", "best-effort" or "required"
	Quorum    string      `json:"quorum,omitempty"`     // what the policy's quorum line names
	Size      int64       `json:"log_size"`             // of the log now
	Published int64       `json:"published_size"`       // of the checkpoint that is published; -1 when there is none
	MetSize   int64       `json:"quorum_size"`          // of the newest checkpoint that met the quorum; -1 when none did
	MetTime   time.Time   `json:"quorum_time,omitzero"` // of its newest cosignature
	Witnesses []Witnessed `json:"witnesses"`
}

// Witnessed is one witness for people.
type Witnessed struct {
	Name        string `json:"name"` // in the policy
	Key         string `json:"key"`  // the name of its key
	VerifierKey string `json:"verifier_key"`
	URL         string `json:"url,omitempty"`
	State       string `json:"state"`
	WitnessState
}

// The states of a witness for people.
const (
	WitnessCosigned = "cosigned" // the whole log, as it is now
	WitnessBehind   = "behind"   // the log has moved since; it is being asked
	WitnessFailing  = "failing"  // it was asked, and did not cosign; why is said
	WitnessRefusing = "refusing" // it answers, and will not cosign; somebody has to look
	WitnessNever    = "never"    // it was not asked yet
	WitnessNoURL    = "no-url"   // the policy does not say where it is
)

// Checkpoint returns the checkpoint that is published: the newest one with the
// cosignatures that it has, or where a quorum is required, the newest one that
// met it. It is public. Unavailable when a quorum is required and none was met.
func (s *Service) Checkpoint(ctx context.Context) ([]byte, error) {
	if !s.witness.on() {
		info, err := s.store.LogInfo(ctx)
		return info.Checkpoint, err
	}
	// Before the head, which is then at least as large.
	c, err := s.store.Cosigned(ctx)
	if err != nil {
		return nil, err
	}
	if s.witness.Required {
		if c.Quorum == nil || !s.meets(c.Quorum) {
			return nil, problem.New(problem.Unavailable, "log-unwitnessed", "the log's witnesses have not cosigned it yet, and it is not published without them").
				With("quorum", "%s", s.witness.Policy.Quorum).Suggest("chartkeep log witnesses")
		}
		return c.Quorum, nil
	}
	info, err := s.store.LogInfo(ctx)
	if err != nil {
		return nil, err
	}
	if body, _, ok := bytes.Cut(info.Checkpoint, []byte("\n\n")); ok && bytes.HasPrefix(c.Newest, append(body[:len(body):len(body)], "\n\n"...)) {
		return c.Newest, nil
	}
	return info.Checkpoint, nil
}

// meets says whether a kept note meets the quorum of the present policy, which
// need not be the one under which it was kept. The last answer is remembered.
func (s *Service) meets(text []byte) bool {
	s.met.mu.Lock()
	defer s.met.mu.Unlock()
	if !bytes.Equal(s.met.text, text) {
		got, err := s.witness.Policy.Check(text, s.name, s.witness.LogKeys)
		s.met.text, s.met.ok = bytes.Clone(text), err == nil && got.Quorum
	}
	return s.met.ok
}

// metNote is the answer of meets.
type metNote struct {
	mu   sync.Mutex
	text []byte
	ok   bool
}

// Witnesses says how it stands with the witnesses, to those who may read the
// log.
func (s *Service) Witnesses(ctx context.Context, c Caller) (Witnessing, error) {
	if err := s.AllowInstance(ctx, c, access.LogRead); err != nil {
		return Witnessing{}, err
	}
	return s.Witnessing(ctx)
}

// Witnessing is Witnesses for the server itself, such as its metrics.
func (s *Service) Witnessing(ctx context.Context) (Witnessing, error) {
	cosigned, err := s.store.Cosigned(ctx)
	if err != nil {
		return Witnessing{}, err
	}
	info, err := s.store.LogInfo(ctx)
	if err != nil {
		return Witnessing{}, err
	}
	out := Witnessing{Mode: "none", Size: info.Size, Published: info.Size, MetSize: -1, Witnesses: []Witnessed{}}
	if !s.witness.on() {
		return out, nil
	}
	out.Mode, out.Quorum = "best-effort", s.witness.Policy.Quorum
	if cosigned.Quorum != nil && s.meets(cosigned.Quorum) {
		out.MetSize = cosigned.QuorumSize
		if got, err := s.witness.Policy.Check(cosigned.Quorum, s.name, s.witness.LogKeys); err == nil {
			for _, by := range got.Cosigned {
				if by.Time.After(out.MetTime) {
					out.MetTime = by.Time
				}
			}
		}
	}
	if s.witness.Required {
		out.Mode, out.Published = "required", out.MetSize
	}
	states, err := s.store.WitnessStates(ctx)
	if err != nil {
		return Witnessing{}, err
	}
	for _, w := range s.witness.Policy.Witnesses {
		st := states[w.VerifierKey]
		out.Witnesses = append(out.Witnesses, Witnessed{
			Name: w.Name, Key: w.Key.Name(), VerifierKey: w.VerifierKey, URL: w.URL, State: stateOf(w, st, info.Size), WitnessState: st,
		})
	}
	return out, nil
}

func stateOf(w tlog.PolicyWitness, st WitnessState, size int64) string {
	switch {
	case w.URL == "":
		return WitnessNoURL
	case st.Refusal != "":
		return WitnessRefusing
	case st.Failure != "":
		return WitnessFailing
	case st.Cosigned.IsZero():
		return WitnessNever
	case st.Size < size:
		return WitnessBehind
	}
	return WitnessCosigned
}

// AskWitnesses has the log cosigned until ctx ends. Any number of processes may
// call it; one of them asks.
func (s *Service) AskWitnesses(ctx context.Context) {
	if !s.witness.on() {
		return
	}
	id := make([]byte, 8)
	rand.Read(id) // never fails
	w := &witnessing{s: s, holder: hex.EncodeToString(id)}
	for _, p := range s.witness.Policy.Witnesses {
		if p.URL != "" {
			w.desks = append(w.desks, &desk{PolicyWitness: p})
		}
	}
	defer w.end(ctx)
	t := time.NewTicker(witnessPace)
	defer t.Stop()
	for {
		if err := w.step(ctx); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "background work failed", "job", "ask witnesses", "error", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// end waits for what is under way, and lets another process go on at once.
func (w *witnessing) end(ctx context.Context) {
	w.running.Wait()
	if w.leased.IsZero() {
		return
	}
	now := w.s.now()
	if _, err := w.s.store.LeaseWitnesses(context.WithoutCancel(ctx), w.holder, now, now); err != nil {
		w.s.log.WarnContext(ctx, "another process asks the witnesses only when the lease has ended", "lease", witnessLease, "error", err)
	}
}

// witnessing is the asking of one process.
type witnessing struct {
	s       *Service
	holder  string
	leased  time.Time // until when this process is the one that asks
	desks   []*desk
	round   *round
	running sync.WaitGroup

	mu sync.Mutex // guards the fields of desks below their first, and of rounds
}

// desk is where one witness is asked.
type desk struct {
	tlog.PolicyWitness

	state WitnessState
	round *round // that it cosigned last
	busy  bool
	fails int // questions in a row without a cosignature
	next  time.Time
}

// round is one checkpoint on its way around the witnesses.
type round struct {
	checkpoint tlog.Checkpoint
	begun      time.Time
	signed     map[string]tlog.Cosignature // by verifier key
	met        bool                        // the quorum
}

// step begins a round when it is time, and asks whom there is to ask.
func (w *witnessing) step(ctx context.Context) error {
	info, err := w.s.store.LogInfo(ctx)
	if err != nil {
		return err
	}
	now := w.s.now()
	w.mu.Lock()
	work := w.due(info.Size, now)
	w.mu.Unlock()
	if !work {
		return nil
	}
	if mine, err := w.lease(ctx, now); err != nil || !mine {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over(info.Size, now) {
		cp, err := tlog.ParseCheckpoint(info.Checkpoint)
		if err != nil {
			return fmt.Errorf("read own checkpoint: %w", err)
		}
		w.round = &round{checkpoint: cp, begun: now, signed: map[string]tlog.Cosignature{}}
	}
	for _, d := range w.desks {
		if d.busy || d.round == w.round || d.next.After(now) {
			continue
		}
		d.busy = true
		w.running.Go(func() { w.ask(ctx, d, w.round) })
	}
	return nil
}

// due says whether there is anything to do.
func (w *witnessing) due(size int64, now time.Time) bool {
	if w.over(size, now) {
		return true
	}
	for _, d := range w.desks {
		if !d.busy && d.round != w.round && !d.next.After(now) {
			return true
		}
	}
	return false
}

// over says whether the next round begins, which is looked at once in
// witnessPace. A round waits for witnesses that
// were well before it, so that they cosign the same checkpoints and a quorum
// comes together; it never waits for one that fails, and for none of them
// longer than witnessPatience.
func (w *witnessing) over(size int64, now time.Time) bool {
	switch r := w.round; {
	case r == nil:
		return true
	case now.Sub(r.begun) >= witnessRenew:
		return true
	case size <= r.checkpoint.Size:
		return false
	case r.met || now.Sub(r.begun) >= witnessPatience:
		return true
	}
	for _, d := range w.desks {
		if d.fails == 0 && d.round != w.round {
			return false
		}
	}
	return true
}

// lease makes this process the one that asks, and then learns what others did.
func (w *witnessing) lease(ctx context.Context, now time.Time) (bool, error) {
	if now.Before(w.leased.Add(-witnessLease / 2)) {
		return true, nil
	}
	mine, err := w.s.store.LeaseWitnesses(ctx, w.holder, now, now.Add(witnessLease))
	if err != nil || !mine {
		w.leased = time.Time{}
		return false, err
	}
	fresh := !now.Before(w.leased)
	w.leased = now.Add(witnessLease)
	if !fresh {
		return true, nil
	}
	states, err := w.s.store.WitnessStates(ctx)
	if err != nil {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.desks {
		d.state = states[d.VerifierKey]
	}
	return true, nil
}

// ask asks one witness for one round, and notes what came of it.
func (w *witnessing) ask(ctx context.Context, d *desk, r *round) {
	w.mu.Lock()
	old := d.state.Size
	w.mu.Unlock()
	bounded, stop := context.WithTimeout(ctx, witnessTimeout)
	known, cosignature, err := w.question(bounded, d, r, old)
	stop()
	if err == nil {
		err = w.keep(ctx, d, r, cosignature)
	}
	if ctx.Err() != nil {
		return // the end of the server says nothing of the witness
	}
	now := w.s.now()
	w.mu.Lock()
	d.busy = false
	if err == nil {
		d.round, d.fails, d.next = r, 0, time.Time{}
	} else {
		d.fails++
		d.next = now.Add(pauseAfter(err, d.fails))
	}
	w.mu.Unlock()
	var event *audit.Event
	change := func(st WitnessState) (WitnessState, *audit.Event) {
		st, event = outcome(st, d, known, now, err)
		return st, event
	}
	if err := w.s.store.SetWitnessState(ctx, d.VerifierKey, now, change); err != nil && ctx.Err() == nil {
		w.s.log.ErrorContext(ctx, "note what a witness answered", "witness", d.Name, "error", err)
	}
	w.mu.Lock()
	d.state, _ = outcome(d.state, d, known, now, err)
	refusal := d.state.Refusal
	w.mu.Unlock()
	if event != nil {
		w.s.log.ErrorContext(ctx, "a witness refused to cosign the log", "witness", d.Name, "rule", event.Outcome.Rule, "reason", event.Reason)
		if w.s.witness.Doubted != nil && (refusal == RefusedAhead || refusal == RefusedInconsistent) {
			w.s.witness.Doubted(ctx)
		}
	}
}

// pauseAfter is how long a witness is left alone.
func pauseAfter(err error, fails int) time.Duration {
	if a, ok := errors.AsType[*answerError](err); ok && a.again > 0 {
		return min(max(a.again, witnessPace), witnessBackOff)
	}
	return min(witnessPace<<min(fails-1, 16), witnessBackOff)
}

// answerError is an answer without a cosignature.
type answerError struct {
	refusal string        // "" when it is no refusal
	again   time.Duration // when it wants to be asked again
	text    string
}

func (e *answerError) Error() string { return e.text }

// outcome is the state after a question, with the event when it is a refusal
// that was not one before.
func outcome(st WitnessState, d *desk, known int64, now time.Time, err error) (WitnessState, *audit.Event) {
	st.Asked = now
	if known >= 0 {
		st.Size = known
	}
	if err == nil {
		st.Cosigned, st.Failure, st.Since, st.Refusal = now, "", time.Time{}, ""
		return st, nil
	}
	if st.Failure == "" {
		st.Since = now
	}
	st.Failure = err.Error()
	if p, ok := problem.As(err); ok {
		st.Failure = p.Message
	}
	a, ok := errors.AsType[*answerError](err)
	if !ok || a.refusal == "" {
		return st, nil // a witness that is not reached has not changed its mind
	}
	if st.Refusal == a.refusal {
		return st, nil
	}
	st.Refusal = a.refusal
	return st, &audit.Event{
		Time: now, Name: audit.WitnessRefused, Actor: audit.Actor{Kind: access.KindSystem, ID: d.Key.Name(), Name: d.Name}, Door: audit.DoorServer,
		Outcome: audit.Outcome{Result: audit.Denied, Rule: "witness-" + a.refusal}, Reason: st.Failure,
	}
}

// question asks with the size that the witness knows, and again when it says
// another one. It returns the size that the witness is now known to have
// cosigned, -1 when nothing was learnt.
func (w *witnessing) question(ctx context.Context, d *desk, r *round, old int64) (known int64, c tlog.Cosignature, err error) {
	known = -1
	if old > r.checkpoint.Size {
		old = 0 // it may know less by now: from 0 it says what it knows
	}
	for range 3 {
		proof, err := w.s.store.Consistency(ctx, old, r.checkpoint.Size)
		if err != nil {
			return known, c, err
		}
		if old == r.checkpoint.Size {
			proof = nil
		}
		answer, err := w.s.witness.Ask.AddCheckpoint(ctx, d.URL, tlog.WitnessRequest{Old: old, Proof: proof, Checkpoint: r.checkpoint.Note})
		if err != nil {
			return known, c, err
		}
		switch answer.Status {
		case 200:
			if c, err = tlog.ReadCosignature(r.checkpoint, answer.Lines, d.Key); err != nil {
				return known, c, err
			}
			return r.checkpoint.Size, c, nil
		case 409:
			if answer.Size == old {
				return known, c, &answerError{text: fmt.Sprintf("it says that it has cosigned %d leaves, and refuses to go on from there", old)}
			}
			if old, known = answer.Size, answer.Size; old > r.checkpoint.Size {
				return known, c, w.larger(ctx, old)
			}
			continue
		}
		return known, c, refusalOf(answer, old)
	}
	return known, c, &answerError{text: "it says another size each time it is asked"}
}

// larger is what it means that a witness knows more than a round has: that the
// log moved on, or that it went back.
func (w *witnessing) larger(ctx context.Context, size int64) error {
	info, err := w.s.store.LogInfo(ctx)
	if err != nil {
		return err
	}
	if size <= info.Size {
		return &answerError{again: witnessPace, text: "it was asked by somebody else in between"}
	}
	return &answerError{refusal: RefusedAhead, text: fmt.Sprintf("it has cosigned %d leaves of this log, and there are %d", size, info.Size)}
}

func refusalOf(a tlog.WitnessAnswer, old int64) error {
	e := &answerError{again: a.Again, text: fmt.Sprintf("it answered %d: %s", a.Status, cmp.Or(a.Reason, "no reason"))}
	switch a.Status {
	case 403:
		e.refusal = RefusedDenied
	case 404:
		e.text = "it does not know this log: " + cmp.Or(a.Reason, "no reason")
	case 422:
		e.refusal = RefusedInconsistent
		e.text = fmt.Sprintf("it has cosigned %d leaves, and says that this log does not begin with them: %s", old, cmp.Or(a.Reason, "no reason"))
	}
	return e
}

// keep puts a cosignature beside those that others gave for the same
// checkpoint, here or in another process.
func (w *witnessing) keep(ctx context.Context, d *desk, r *round, c tlog.Cosignature) error {
	w.mu.Lock()
	r.signed[d.VerifierKey] = c
	w.mu.Unlock()
	met := false
	err := w.s.store.KeepCosigned(ctx, r.checkpoint.Size, func(kept []byte) ([]byte, bool, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		text, ok, err := w.join(r, kept)
		met = ok
		return text, ok, err
	})
	if err != nil {
		return err
	}
	w.mu.Lock()
	r.met = r.met || met
	w.mu.Unlock()
	return nil
}

// join is the checkpoint of a round with the newest cosignature of every
// witness of the policy, be it of this round or kept before.
func (w *witnessing) join(r *round, kept []byte) (text []byte, quorum bool, err error) {
	policy := &w.s.witness.Policy
	before := map[string]tlog.Cosignature{}
	if kept != nil {
		// What does not hold, or is of a key that is no more, is left behind.
		if got, err := policy.Check(kept, r.checkpoint.Origin, w.s.witness.LogKeys); err == nil && got.Checkpoint.Root == r.checkpoint.Root {
			for _, by := range got.Cosigned {
				before[by.Name] = tlog.Cosignature{Line: by.Line, Time: by.Time}
			}
		}
	}
	var lines []tlog.Cosignature
	for _, p := range policy.Witnesses {
		if c, ok := r.signed[p.VerifierKey]; ok {
			lines = append(lines, c)
		} else if c, ok := before[p.Name]; ok {
			lines = append(lines, c)
		}
	}
	whole := r.checkpoint.WithCosignatures(lines...)
	got, err := policy.Check(whole.Note, r.checkpoint.Origin, w.s.witness.LogKeys)
	if err != nil {
		return nil, false, fmt.Errorf("put cosignatures together: %w", err)
	}
	return whole.Note, got.Quorum, nil
}
