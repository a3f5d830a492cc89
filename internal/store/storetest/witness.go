package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// suiteWitness cosigns in these tests.
func (l *ledger) suiteWitness(seed byte) *tlog.Cosigner {
	l.Helper()
	skey, _, err := tlog.GenerateWitnessKey(bytes.NewReader(bytes.Repeat([]byte{seed}, 64)), fmt.Sprintf("w%d.example.test", seed))
	l.ok(err)
	c, err := tlog.NewCosigner(skey)
	l.ok(err)
	return c
}

// cosign adds the cosignature of a witness to what is kept of the log's head,
// and returns the head.
func (l *ledger) cosign(c *tlog.Cosigner, quorum bool) tlog.Checkpoint {
	l.Helper()
	info, err := l.LogInfo(l.Context())
	l.ok(err)
	cp, err := tlog.ParseCheckpoint(info.Checkpoint)
	l.ok(err)
	l.ok(l.KeepCosigned(l.Context(), cp.Size, func(kept []byte) ([]byte, bool, error) {
		base := cp
		if kept != nil {
			base.Note = kept
		}
		line, err := c.Cosign(cp, start)
		return base.WithCosignatures(tlog.Cosignature{Line: line}).Note, quorum, err
	}))
	return cp
}

func (l *ledger) cosigned(newest, quorum int64, signatures int) release.Cosigned {
	l.Helper()
	c, err := l.Cosigned(l.Context())
	l.ok(err)
	if c.NewestSize != newest || c.QuorumSize != quorum || strings.Count(string(c.Newest), "— w") != signatures {
		l.Fatalf("newest %d, quorum %d, want %d and %d with %d cosignatures:\n%s", c.NewestSize, c.QuorumSize, newest, quorum, signatures, c.Newest)
	}
	return c
}

// cosignedNote proves a leaf and returns the size of the checkpoint with the
// number of cosignatures.
func (l *ledger) provenIn(index, size int64, signatures int) {
	l.Helper()
	p, err := l.Prove(l.Context(), index)
	l.ok(err)
	cp, _, err := p.Verify(Origin, l.verifiers())
	l.ok(err)
	if cp.Size != size || strings.Count(string(p.Checkpoint), "— w") != signatures {
		l.Fatalf("leaf %d is proven in %d leaves, want %d with %d cosignatures:\n%s", index, cp.Size, size, signatures, p.Checkpoint)
	}
}

// cosignedCheckpoints: what is kept only moves forwards, and proofs are made in
// what says most.
func cosignedCheckpoints(l *ledger) {
	ctx := l.Context()
	w1, w2 := l.suiteWitness(1), l.suiteWitness(2)
	if c, err := l.Cosigned(ctx); err != nil || c.Newest != nil || c.Quorum != nil {
		l.Fatalf("before the first: %+v, %v", c, err)
	}
	l.fillBatches("web", 300)
	l.provenIn(7, 300, 0)
	l.cosign(w1, false)
	l.cosigned(300, 0, 1)
	l.provenIn(7, 300, 1)
	l.cosign(w2, true)
	l.cosigned(300, 300, 2)

	l.fillBatches("web", 513)
	l.provenIn(299, 300, 2)
	l.provenIn(300, 513, 0) // the quorum does not cover it yet
	l.cosign(w1, false)
	l.cosigned(513, 300, 1)
	l.provenIn(299, 300, 2)
	l.provenIn(512, 513, 1)
	l.fill("web", 515)
	l.provenIn(514, 515, 0)
	for _, i := range []int64{0, 255, 256, 299} {
		l.provenIn(i, 300, 2)
	}

	// What comes late changes nothing that is newer.
	late := func(size int64, quorum bool) {
		l.ok(l.KeepCosigned(ctx, size, func(kept []byte) ([]byte, bool, error) { return []byte("late"), quorum, nil }))
	}
	late(299, true)
	late(512, false)
	c := l.cosigned(513, 300, 1)
	if strings.Contains(string(c.Newest)+string(c.Quorum), "late") {
		l.Fatalf("%+v", c)
	}
	// The same size sees what is kept of it, and only then.
	seen := map[int64]bool{}
	for _, size := range []int64{299, 300, 512, 513, 514} {
		stop := errors.New("stop")
		err := l.KeepCosigned(ctx, size, func(kept []byte) ([]byte, bool, error) { seen[size] = kept != nil; return nil, false, stop })
		if !errors.Is(err, stop) {
			l.Fatalf("size %d: %v", size, err)
		}
	}
	if seen[299] || !seen[300] || seen[512] || !seen[513] || seen[514] {
		l.Fatalf("kept of these sizes: %v", seen)
	}
	l.cosigned(513, 300, 1)

	l.ok(l.Close())
	l.LedgerStore = l.open(l.T, nil)
	l.cosigned(513, 300, 1)
	l.provenIn(7, 300, 2)
	l.cosign(w1, true)
	l.cosigned(515, 515, 1)
}

// witnessStates: a state is kept, and what happened is recorded with it, once.
func witnessStates(l *ledger) {
	ctx := l.Context()
	read := func() map[string]release.WitnessState {
		l.Helper()
		states, err := l.WitnessStates(ctx)
		l.ok(err)
		return states
	}
	if states := read(); len(states) != 0 {
		l.Fatalf("before the first: %v", states)
	}
	refuse := func(st release.WitnessState) (release.WitnessState, *audit.Event) {
		if st.Refusal == "denied" {
			return st, nil
		}
		st.Refusal, st.Failure, st.Since = "denied", "it does not", start
		return st, &audit.Event{Name: audit.WitnessRefused, Actor: audit.Actor{Kind: access.KindSystem, ID: "w1.example.test"}, Door: audit.DoorServer,
			Outcome: audit.Outcome{Result: audit.Denied, Rule: "witness-denied"}, Reason: "it does not"}
	}
	l.ok(l.SetWitnessState(ctx, "w1", start, func(st release.WitnessState) (release.WitnessState, *audit.Event) {
		st.Size, st.Cosigned, st.Asked = 7, start, start
		return st, nil
	}))
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := l.SetWitnessState(ctx, "w1", start, refuse); err != nil {
				l.Error(err)
			}
		})
	}
	wg.Wait()
	l.ok(l.SetWitnessState(ctx, "w2", start, func(st release.WitnessState) (release.WitnessState, *audit.Event) { st.Size = 9; return st, nil }))
	l.ok(l.Close())
	l.LedgerStore = l.open(l.T, nil)
	states := read()
	if len(states) != 2 || states["w1"].Size != 7 || states["w1"].Refusal != "denied" || !states["w1"].Cosigned.Equal(start) || states["w2"].Size != 9 {
		l.Fatalf("%+v", states)
	}
	events := l.audited(release.AuditFilter{Action: string(audit.WitnessRefused), Limit: 10})
	if len(events) != 1 || events[0].Event.Outcome.Rule != "witness-denied" || events[0].Event.Actor.ID != "w1.example.test" || !events[0].Event.Time.Equal(start) {
		l.Fatalf("%d events: %+v", len(events), events)
	}
}

// witnessLeases: one process asks at a time.
func witnessLeases(l *ledger) {
	take := func(holder string, at time.Time, want bool) {
		l.Helper()
		got, err := l.LeaseWitnesses(l.Context(), holder, at, at.Add(15*time.Second))
		l.ok(err)
		if got != want {
			l.Fatalf("%s at %s: %v", holder, at.Sub(start), got)
		}
	}
	take("a", start, true)
	take("b", start.Add(time.Second), false)
	take("a", start.Add(10*time.Second), true)
	take("b", start.Add(20*time.Second), false)
	take("b", start.Add(25*time.Second), true)
	take("a", start.Add(26*time.Second), false)
}

// RaceCosigned has stores of one database keep checkpoints in every order, while
// others read: what is read never goes back.
func RaceCosigned(ctx context.Context, rounds int64, stores ...release.Witnessings) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var writers, readers sync.WaitGroup
	errs := make(chan error, 100)
	for i, s := range stores {
		readers.Go(func() {
			var last release.Cosigned
			for ctx.Err() == nil {
				c, err := s.Cosigned(ctx)
				if err != nil {
					if ctx.Err() == nil {
						errs <- err
					}
					return
				}
				if c.NewestSize < last.NewestSize || c.QuorumSize < last.QuorumSize {
					errs <- fmt.Errorf("went from %d, %d to %d, %d", last.NewestSize, last.QuorumSize, c.NewestSize, c.QuorumSize)
					return
				}
				last = c
			}
		})
		writers.Go(func() {
			for n := range rounds {
				size := n/2*2 + (n+int64(i))%2 // one ahead of the other, in turns
				err := s.KeepCosigned(ctx, size, func(kept []byte) ([]byte, bool, error) { return append(kept, byte('a'+i)), size%3 == 0, nil })
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	writers.Wait()
	stop()
	readers.Wait()
	select {
	case err := <-errs:
		return err
	default:
	}
	for _, s := range stores {
		c, err := s.Cosigned(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		if c.NewestSize != rounds-1 || c.QuorumSize != (rounds-1)/3*3 {
			return fmt.Errorf("at the end: newest %d, quorum %d", c.NewestSize, c.QuorumSize)
		}
		if len(c.Newest) != len(stores) {
			return fmt.Errorf("the newest has %d of %d cosignatures", len(c.Newest), len(stores))
		}
	}
	return nil
}
