package release_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

const witnessOrigin = "charts.example.com/log"

// cosignedStore is a log in memory and what witnesses said of it.
type cosignedStore struct {
	release.Store // nil: nothing else is asked for

	mu     sync.Mutex
	t      testing.TB
	signer note.Signer
	edge   *tlog.Edge
	full   map[[2]int64][]tlog.Hash
	head   release.LogInfo // signed last
	kept   release.Cosigned
	states map[string]release.WitnessState
	events []audit.Event
	lease  string
	until  time.Time
}

func newCosignedStore(t testing.TB) *cosignedStore {
	skey, _, err := tlog.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{1}, 64)), witnessOrigin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := tlog.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	edge, err := tlog.NewEdge(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &cosignedStore{t: t, signer: signer, edge: edge, full: map[[2]int64][]tlog.Hash{}, states: map[string]release.WitnessState{}}
}

func (s *cosignedStore) add(entries ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		for _, tile := range s.edge.Append(tlog.LeafHash([]byte(e))) {
			s.full[[2]int64{int64(tile.Level), tile.N}] = tile.Hashes
		}
	}
}

func (s *cosignedStore) tile(level int, n int64) ([]tlog.Hash, error) {
	return s.full[[2]int64{int64(level), n}], nil
}

// tileFunc is a tlog.TileSource.
type tileFunc func(level int, n int64) ([]tlog.Hash, error)

func (f tileFunc) Tile(level int, n int64) ([]tlog.Hash, error) { return f(level, n) }

func (s *cosignedStore) LogInfo(context.Context) (release.LogInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head.Checkpoint == nil || s.head.Size != s.edge.Size() {
		text, err := tlog.SignCheckpoint(witnessOrigin, s.edge.Size(), s.edge.Root(), s.signer)
		if err != nil {
			return release.LogInfo{}, err
		}
		s.head = release.LogInfo{Origin: witnessOrigin, Size: s.edge.Size(), Checkpoint: text}
	}
	return s.head, nil
}

func (s *cosignedStore) Consistency(_ context.Context, old, size int64) ([]tlog.Hash, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return tlog.ConsistencyProof(old, size, s.edge, tileFunc(s.tile))
}

func (s *cosignedStore) Cosigned(context.Context) (release.Cosigned, error) {
	return s.keeps(), nil
}

func (s *cosignedStore) keeps() release.Cosigned {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

func (s *cosignedStore) KeepCosigned(_ context.Context, size int64, join func([]byte) ([]byte, bool, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var kept []byte
	if s.kept.Newest != nil && s.kept.NewestSize == size {
		kept = s.kept.Newest
	}
	text, quorum, err := join(kept)
	if err != nil {
		return err
	}
	if s.kept.NewestSize <= size {
		s.kept.Newest, s.kept.NewestSize = text, size
	}
	if quorum && s.kept.QuorumSize <= size {
		s.kept.Quorum, s.kept.QuorumSize = text, size
	}
	return nil
}

func (s *cosignedStore) WitnessStates(context.Context) (map[string]release.WitnessState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.states), nil
}

func (s *cosignedStore) SetWitnessState(_ context.Context, vkey string, _ time.Time, change func(release.WitnessState) (release.WitnessState, *audit.Event)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ev := change(s.states[vkey])
	s.states[vkey] = st
	if ev != nil {
		s.events = append(s.events, *ev)
	}
	return nil
}

func (s *cosignedStore) LeaseWitnesses(_ context.Context, holder string, now, until time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease != holder && s.until.After(now) {
		return false, nil
	}
	s.lease, s.until = holder, until
	return true, nil
}

// recorded are the audit events so far.
func (s *cosignedStore) recorded() []audit.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// asked are witnesses in memory, by their URL.
type asked map[string]*askedWitness

func (a asked) AddCheckpoint(ctx context.Context, prefix string, r tlog.WitnessRequest) (tlog.WitnessAnswer, error) {
	return a[prefix].add(ctx, r)
}

// askedWitness is a witness that keeps to the protocol, unless it is told
// otherwise.
type askedWitness struct {
	key    *tlog.Cosigner
	mu     sync.Mutex
	size   int64
	root   tlog.Hash
	times  []time.Time // when it was asked
	answer func(ctx context.Context, r tlog.WitnessRequest) (tlog.WitnessAnswer, error)
}

func (w *askedWitness) is(answer func(ctx context.Context, r tlog.WitnessRequest) (tlog.WitnessAnswer, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = answer
}

func (w *askedWitness) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.times)
}

func (w *askedWitness) cosigned() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.size
}

func (w *askedWitness) add(ctx context.Context, r tlog.WitnessRequest) (tlog.WitnessAnswer, error) {
	w.mu.Lock()
	w.times = append(w.times, time.Now())
	answer := w.answer
	w.mu.Unlock()
	if answer != nil {
		return answer(ctx, r)
	}
	return w.honest(ctx, r)
}

func (w *askedWitness) honest(_ context.Context, r tlog.WitnessRequest) (tlog.WitnessAnswer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	cp, err := tlog.ParseCheckpoint(r.Checkpoint)
	if err != nil {
		return tlog.WitnessAnswer{}, err
	}
	old := w.root
	if w.size == 0 {
		old = tlog.EmptyRoot()
	}
	switch {
	case r.Old != w.size:
		return tlog.WitnessAnswer{Status: 409, Size: w.size}, nil
	case tlog.VerifyConsistency(w.size, old, cp.Size, cp.Root, r.Proof) != nil:
		return tlog.WitnessAnswer{Status: 422, Reason: "not so"}, nil
	}
	line, err := w.key.Cosign(cp, time.Now())
	if err != nil {
		return tlog.WitnessAnswer{}, err
	}
	w.size, w.root = cp.Size, cp.Root
	return tlog.WitnessAnswer{Status: 200, Lines: line}, nil
}

// witnessed runs a service with witnesses w1 and w2 in a bubble of time.
func witnessed(t *testing.T, quorum string, required bool, test func(t *testing.T, s *release.Service, store *cosignedStore, w1, w2 *askedWitness, policy tlog.WitnessPolicy)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := newCosignedStore(t)
		ask := asked{}
		text := ""
		for i, name := range []string{"w1", "w2"} {
			skey, _, err := tlog.GenerateWitnessKey(bytes.NewReader(bytes.Repeat([]byte{byte(10 + i)}, 64)), name+".example.com")
			if err != nil {
				t.Fatal(err)
			}
			key, err := tlog.NewCosigner(skey)
			if err != nil {
				t.Fatal(err)
			}
			ask["https://"+name] = &askedWitness{key: key}
			text += fmt.Sprintf("witness %s %s https://%s\n", name, key.VerifierKey(), name)
		}
		policy, err := tlog.ParseWitnessPolicy([]byte(text + "group both all w1 w2\nquorum " + quorum + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		s := witnessedService(t, store, policy, required, ask)
		ctx, stop := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		ended.Go(func() { s.AskWitnesses(ctx) })
		test(t, s, store, ask["https://w1"], ask["https://w2"], policy)
		stop()
		ended.Wait()
	})
}

func witnessedService(t testing.TB, store release.Store, policy tlog.WitnessPolicy, required bool, ask release.Witness) *release.Service {
	t.Helper()
	_, vkey, err := tlog.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{1}, 64)), witnessOrigin)
	if err != nil {
		t.Fatal(err)
	}
	key, err := tlog.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return release.New(release.Config{
		Store: store, Service: witnessOrigin, Secret: make([]byte, 32),
		Witness: release.WitnessConfig{Policy: policy, Required: required, Ask: ask, LogKeys: note.VerifierList(key)},
	})
}

// published is the size of the published checkpoint, with who cosigned it.
func published(t *testing.T, s *release.Service, policy tlog.WitnessPolicy) (int64, []string) {
	t.Helper()
	text, err := s.Checkpoint(t.Context())
	if err != nil {
		if p, ok := problem.As(err); ok && p.Rule == "log-unwitnessed" {
			return -1, nil
		}
		t.Fatal(err)
	}
	_, vkey, err := tlog.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{1}, 64)), witnessOrigin)
	if err != nil {
		t.Fatal(err)
	}
	key, err := tlog.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	got, err := policy.Check(text, witnessOrigin, note.VerifierList(key))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var by []string
	for _, c := range got.Cosigned {
		by = append(by, c.Name)
	}
	return got.Checkpoint.Size, by
}

func expectPublished(t *testing.T, s *release.Service, policy tlog.WitnessPolicy, size int64, by ...string) {
	t.Helper()
	if gotSize, gotBy := published(t, s, policy); gotSize != size || !slices.Equal(gotBy, by) {
		t.Errorf("published is %d by %v, want %d by %v", gotSize, gotBy, size, by)
	}
}

func states(t *testing.T, s *release.Service) string {
	t.Helper()
	w, err := s.Witnessing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, x := range w.Witnesses {
		out = append(out, x.Name+" "+x.State)
	}
	return strings.Join(out, ", ")
}

func TestWitnessing(t *testing.T) {
	witnessed(t, "both", true, func(t *testing.T, s *release.Service, store *cosignedStore, w1, w2 *askedWitness, policy tlog.WitnessPolicy) {
		synctest.Wait()
		expectPublished(t, s, policy, 0, "w1", "w2") // the empty log too
		store.add("a", "b")
		expectPublished(t, s, policy, 0, "w1", "w2")
		time.Sleep(1100 * time.Millisecond)
		expectPublished(t, s, policy, 2, "w1", "w2")
		if got := states(t, s); got != "w1 cosigned, w2 cosigned" {
			t.Error(got)
		}
		// Under steady load they are asked about once a second, for the same sizes.
		before := w1.count()
		for i := range 100 {
			store.add(fmt.Sprint(i))
			time.Sleep(100 * time.Millisecond)
		}
		if n := w1.count() - before; n < 8 || n > 12 {
			t.Errorf("asked %d times in ten seconds", n)
		}
		time.Sleep(2 * time.Second)
		expectPublished(t, s, policy, 102, "w1", "w2")
		// When nothing moves, once an hour.
		before = w1.count()
		time.Sleep(10*time.Hour + time.Minute)
		if n := w1.count() - before; n != 10 {
			t.Errorf("asked %d times in ten hours of an idle log", n)
		}
		expectPublished(t, s, policy, 102, "w1", "w2")
		// A cosignature that was given stays, though the next one is not.
		w2.is(func(context.Context, tlog.WitnessRequest) (tlog.WitnessAnswer, error) {
			return tlog.WitnessAnswer{}, errors.New("away")
		})
		time.Sleep(90 * time.Minute)
		expectPublished(t, s, policy, 102, "w1", "w2")
		if kept := store.keeps(); strings.Count(string(kept.Newest), "— w") != 2 {
			t.Errorf("the newest checkpoint has not two cosignatures:\n%s", kept.Newest)
		}
		if got := store.recorded(); len(got) != 0 {
			t.Errorf("events %+v", got)
		}
	})
}

// TestWitnessDown: one of two is away. Best effort publishes what there is,
// required what both cosigned.
func TestWitnessDown(t *testing.T) {
	down := func(context.Context, tlog.WitnessRequest) (tlog.WitnessAnswer, error) {
		return tlog.WitnessAnswer{}, problem.New(problem.Unavailable, "remote-busy", "no connection")
	}
	for _, required := range []bool{false, true} {
		witnessed(t, "both", required, func(t *testing.T, s *release.Service, store *cosignedStore, w1, w2 *askedWitness, policy tlog.WitnessPolicy) {
			store.add("a")
			time.Sleep(2 * time.Second)
			expectPublished(t, s, policy, 1, "w1", "w2")
			w2.is(down)
			before := w2.count()
			for i := range 120 {
				store.add(fmt.Sprint(i))
				time.Sleep(time.Second)
			}
			time.Sleep(2 * time.Second)
			if required {
				expectPublished(t, s, policy, 1, "w1", "w2")
			} else {
				expectPublished(t, s, policy, 121, "w1")
			}
			if got := states(t, s); got != "w1 cosigned, w2 failing" {
				t.Error(got)
			}
			if n := w2.count() - before; n > 9 {
				t.Errorf("a witness that is away was asked %d times in two minutes", n)
			}
			if got := store.recorded(); len(got) != 0 {
				t.Errorf("an absence is no refusal: %+v", got)
			}
			w2.is(nil)
			time.Sleep(6 * time.Minute)
			expectPublished(t, s, policy, 121, "w1", "w2")
			if got := states(t, s); got != "w1 cosigned, w2 cosigned" {
				t.Error(got)
			}
		})
	}
}

// TestWitnessHangs: it holds the others up once, for a moment, and then never.
func TestWitnessHangs(t *testing.T) {
	witnessed(t, "w1", true, func(t *testing.T, s *release.Service, store *cosignedStore, w1, w2 *askedWitness, policy tlog.WitnessPolicy) {
		w2.is(func(ctx context.Context, _ tlog.WitnessRequest) (tlog.WitnessAnswer, error) {
			<-ctx.Done()
			return tlog.WitnessAnswer{}, problem.New(problem.Unavailable, "remote-slow", "no answer").Because(ctx.Err())
		})
		time.Sleep(time.Second)
		for i := range 60 {
			store.add(fmt.Sprint(i))
			time.Sleep(time.Second)
			if size, _ := published(t, s, policy); size < int64(i) {
				t.Fatalf("after %d seconds, %d leaves are published", i+1, size)
			}
		}
	})
	witnessed(t, "both", false, func(t *testing.T, s *release.Service, store *cosignedStore, w1, w2 *askedWitness, policy tlog.WitnessPolicy) {
		w2.is(func(ctx context.Context, _ tlog.WitnessRequest) (tlog.WitnessAnswer, error) {
			<-ctx.Done()
			return tlog.WitnessAnswer{}, ctx.Err()
		})
		late := 0
		for i := range 120 {
			store.add(fmt.Sprint(i))
			time.Sleep(time.Second)
			if w1.cosigned() < int64(i) {
				late++
			}
		}
		if late > 8 {
			t.Errorf("a healthy witness was late %d times of 120", late)
		}
	})
}

// TestWitnessSlow: witnesses that take their time still cosign the same
// checkpoints, so that a quorum comes together.
func TestWitnessSlow(t *testing.T) {
	witnessed(t, "both", true, func(t *testing.T, s *release.Service, store *cosignedStore, w1, w2 *askedWitness, policy tlog.WitnessPolicy) {
		for i, w := range []*askedWitness{w1, w2} {
			w.is(func(ctx context.Context, r tlog.WitnessRequest) (tlog.WitnessAnswer, error) {
				time.Sleep(time.Duration(1300+3200*i) * time.Millisecond)
				return w.honest(ctx, r)
			})
		}
		time.Sleep(10 * time.Second)
		for i := range 120 {
			store.add(fmt.Sprint(i))
			time.Sleep(time.Second)
			if size, _ := published(t, s, policy); size < int64(i)-11 {
				t.Fatalf("after %d seconds, %d leaves are published", i+1, size)
			}
		}
	})
}

// TestWitnessRefuses: every kind of refusal is one event, not one a second.
func TestWitnessRefuses(t *testing.T) {
	for _, test := range []struct {
		rule string
		turn func(store *cosignedStore, w *askedWitness)
	}{
		{"witness-ahead", func(_ *cosignedStore, w *askedWitness) { w.size, w.root = 1000, tlog.Hash{1} }},
		{"witness-inconsistent", func(_ *cosignedStore, w *askedWitness) { w.size, w.root = 1, tlog.Hash{1} }},
		{"witness-denied", func(_ *cosignedStore, w *askedWitness) {
			w.is(func(context.Context, tlog.WitnessRequest) (tlog.WitnessAnswer, error) {
				return tlog.WitnessAnswer{Status: 403, Reason: "leaf 7: release-second"}, nil
			})
		}},
	} {
		witnessed(t, "w1", false, func(t *testing.T, s *release.Service, store *cosignedStore, w1, w2 *askedWitness, policy tlog.WitnessPolicy) {
			store.add("a", "b")
			time.Sleep(2 * time.Second)
			w2.mu.Lock()
			size, root := w2.size, w2.root
			w2.mu.Unlock()
			func() {
				if test.rule != "witness-denied" {
					w2.mu.Lock()
					defer w2.mu.Unlock()
				}
				test.turn(store, w2)
			}()
			for i := range 60 {
				store.add(fmt.Sprint(i))
				time.Sleep(time.Second)
			}
			time.Sleep(2 * time.Second)
			if got := store.recorded(); len(got) != 1 || got[0].Name != audit.WitnessRefused || got[0].Outcome.Rule != test.rule || got[0].Reason == "" {
				t.Errorf("%s: events %+v", test.rule, got)
			}
			if got := states(t, s); got != "w1 cosigned, w2 refusing" {
				t.Errorf("%s: %s", test.rule, got)
			}
			expectPublished(t, s, policy, 62, "w1")
			// Away for a while, it has not changed its mind.
			w2.is(func(context.Context, tlog.WitnessRequest) (tlog.WitnessAnswer, error) {
				return tlog.WitnessAnswer{}, errors.New("away")
			})
			time.Sleep(20 * time.Minute)
			if got := states(t, s); got != "w1 cosigned, w2 refusing" || len(store.recorded()) != 1 {
				t.Errorf("%s, while it is away: %s, %d events", test.rule, got, len(store.recorded()))
			}
			// It takes the log again, and then does not.
			w2.is(nil)
			w2.mu.Lock()
			w2.size, w2.root = size, root
			w2.mu.Unlock()
			time.Sleep(10 * time.Minute)
			if got := states(t, s); got != "w1 cosigned, w2 cosigned" {
				t.Errorf("%s, healed: %s", test.rule, got)
			}
			w2.is(func(context.Context, tlog.WitnessRequest) (tlog.WitnessAnswer, error) {
				return tlog.WitnessAnswer{Status: 403}, nil
			})
			store.add("again")
			time.Sleep(10 * time.Minute)
			if len(store.recorded()) != 2 {
				t.Errorf("%s: %d events after the second refusal", test.rule, len(store.recorded()))
			}
		})
	}
}

// TestWitnessHostile: answers that are not what they should be bring nothing
// in, and hold nobody up.
func TestWitnessHostile(t *testing.T) {
	stranger, _, err := tlog.GenerateWitnessKey(bytes.NewReader(bytes.Repeat([]byte{99}, 64)), "w2.example.com")
	if err != nil {
		t.Fatal(err)
	}
	other, err := tlog.NewCosigner(stranger)
	if err != nil {
		t.Fatal(err)
	}
	type answer = func(context.Context, tlog.WitnessRequest) (tlog.WitnessAnswer, error)
	lines := func(text string) answer {
		return func(context.Context, tlog.WitnessRequest) (tlog.WitnessAnswer, error) {
			return tlog.WitnessAnswer{Status: 200, Lines: []byte(text)}, nil
		}
	}
	status := func(a tlog.WitnessAnswer) answer {
		return func(context.Context, tlog.WitnessRequest) (tlog.WitnessAnswer, error) { return a, nil }
	}
	sizes := int64(0)
	for name, misbehave := range map[string]func(w1, w2 *askedWitness) answer{
		"nothing": func(_, _ *askedWitness) answer { return lines("") },
		"text":    func(_, _ *askedWitness) answer { return lines("hello\n") },
		"huge": func(_, _ *askedWitness) answer {
			return lines(strings.Repeat("— x AAAAAAAA\n", tlog.MaxCosignatures))
		},
		"wrong key":            func(_, w2 *askedWitness) answer { return (&askedWitness{key: other}).forge(0) },
		"another checkpoint's": func(_, w2 *askedWitness) answer { return w2.forge(1) },
		"the other witness's":  func(w1, _ *askedWitness) answer { return w1.forge(0) },
		"400":                  func(_, _ *askedWitness) answer { return status(tlog.WitnessAnswer{Status: 400}) },
		"404":                  func(_, _ *askedWitness) answer { return status(tlog.WitnessAnswer{Status: 404}) },
		"500":                  func(_, _ *askedWitness) answer { return status(tlog.WitnessAnswer{Status: 500, Reason: "<html>"}) },
		"301":                  func(_, _ *askedWitness) answer { return status(tlog.WitnessAnswer{Status: 301}) },
		"its own size again": func(_, _ *askedWitness) answer {
			return func(_ context.Context, r tlog.WitnessRequest) (tlog.WitnessAnswer, error) {
				return tlog.WitnessAnswer{Status: 409, Size: r.Old}, nil
			}
		},
		"ever other sizes": func(_, _ *askedWitness) answer {
			return func(context.Context, tlog.WitnessRequest) (tlog.WitnessAnswer, error) {
				sizes = 1 - sizes
				return tlog.WitnessAnswer{Status: 409, Size: sizes}, nil
			}
		},
	} {
		witnessed(t, "both", false, func(t *testing.T, s *release.Service, store *cosignedStore, w1, w2 *askedWitness, policy tlog.WitnessPolicy) {
			w2.is(misbehave(w1, w2))
			store.add("a", "b", "c")
			time.Sleep(time.Minute)
			expectPublished(t, s, policy, 3, "w1")
			if got := states(t, s); got != "w1 cosigned, w2 failing" || len(store.recorded()) != 0 {
				t.Errorf("%s: %s, %d events", name, got, len(store.recorded()))
			}
			if store.keeps().QuorumSize > 0 { // the empty log met it before
				t.Errorf("%s: a quorum was met", name)
			}
			if n := w2.count(); n > 30 {
				t.Errorf("%s: asked %d times in a minute", name, n)
			}
		})
	}
}

// forge cosigns, with its key and no further look, a checkpoint with so many
// more leaves.
func (w *askedWitness) forge(more int64) func(context.Context, tlog.WitnessRequest) (tlog.WitnessAnswer, error) {
	return func(_ context.Context, r tlog.WitnessRequest) (tlog.WitnessAnswer, error) {
		cp, err := tlog.ParseCheckpoint(r.Checkpoint)
		if err != nil {
			return tlog.WitnessAnswer{}, err
		}
		if more > 0 {
			cp.Note = bytes.Replace(cp.Note, fmt.Appendf(nil, "\n%d\n", cp.Size), fmt.Appendf(nil, "\n%d\n", cp.Size+more), 1)
		}
		line, err := w.key.Cosign(cp, time.Now())
		return tlog.WitnessAnswer{Status: 200, Lines: line}, err
	}
}

// TestWitnessSaysWhen: the pause that an answer asks for is kept, within
// bounds.
func TestWitnessSaysWhen(t *testing.T) {
	for again, most := range map[time.Duration]int{time.Second: 61, 10 * time.Second: 7, time.Hour: 1} {
		witnessed(t, "w1", false, func(t *testing.T, s *release.Service, store *cosignedStore, w1, w2 *askedWitness, policy tlog.WitnessPolicy) {
			w2.is(func(context.Context, tlog.WitnessRequest) (tlog.WitnessAnswer, error) {
				return tlog.WitnessAnswer{Status: 503, Again: again, Reason: "reading"}, nil
			})
			before := w2.count()
			store.add("a")
			time.Sleep(time.Minute)
			if n := w2.count() - before; n > most || n < most-2 || n == 0 {
				t.Errorf("with a pause of %s it was asked %d times in a minute", again, n)
			}
			w2.is(nil)
			time.Sleep(6 * time.Minute)
			if got := states(t, s); got != "w1 cosigned, w2 cosigned" {
				t.Error(got)
			}
		})
	}
}

// TestWitnessReplicas: two processes on one store. One asks; when it is gone,
// the other one does; nothing goes back.
func TestWitnessReplicas(t *testing.T) {
	witnessed(t, "both", true, func(t *testing.T, s *release.Service, store *cosignedStore, w1, w2 *askedWitness, policy tlog.WitnessPolicy) {
		synctest.Wait()
		second := witnessedService(t, store, policy, true, asked{"https://w1": w1, "https://w2": w2})
		ctx, stop := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		ended.Go(func() { second.AskWitnesses(ctx) })
		before, last := w1.count(), int64(0)
		for i := range 60 {
			store.add(fmt.Sprint(i))
			time.Sleep(time.Second)
			size, _ := published(t, second, policy)
			if size < last {
				t.Fatalf("published went from %d to %d", last, size)
			}
			last = size
		}
		if n := w1.count() - before; n > 65 {
			t.Errorf("two replicas asked %d times in a minute", n)
		}
		// The other one takes over.
		store.mu.Lock()
		store.lease, store.until = "gone", time.Now().Add(10*time.Second)
		store.mu.Unlock()
		for i := range 60 {
			store.add(fmt.Sprint("later ", i))
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Second)
		expectPublished(t, second, policy, 120, "w1", "w2")
		stop()
		ended.Wait()
	})
}

// TestWitnessRestart: what was kept is published by the next process, which
// knows where the witnesses stand.
func TestWitnessRestart(t *testing.T) {
	witnessed(t, "both", true, func(t *testing.T, s *release.Service, store *cosignedStore, w1, w2 *askedWitness, policy tlog.WitnessPolicy) {
		store.add("a", "b")
		time.Sleep(2 * time.Second)
		next := witnessedService(t, store, policy, true, asked{"https://w1": w1, "https://w2": w2})
		expectPublished(t, next, policy, 2, "w1", "w2")
		// Under another policy it does not count, and best effort shows whom it knows.
		skey, _, err := tlog.GenerateWitnessKey(bytes.NewReader(bytes.Repeat([]byte{50}, 64)), "w3.example.com")
		if err != nil {
			t.Fatal(err)
		}
		w3, err := tlog.NewCosigner(skey)
		if err != nil {
			t.Fatal(err)
		}
		stricter, err := tlog.ParseWitnessPolicy([]byte("witness w1 " + policy.Witnesses[0].VerifierKey + " https://w1\nwitness w3 " + w3.VerifierKey() + " https://w3\ngroup g all w1 w3\nquorum g\n"))
		if err != nil {
			t.Fatal(err)
		}
		expectPublished(t, witnessedService(t, store, stricter, true, asked{}), stricter, -1)
		expectPublished(t, witnessedService(t, store, stricter, false, asked{}), stricter, 2, "w1")
	})
}

// TestWitnessesNeedTheRight: addresses of witnesses are not for everybody.
func TestWitnessesNeedTheRight(t *testing.T) {
	s := witnessedService(t, newCosignedStore(t), tlog.WitnessPolicy{}, false, nil)
	if _, err := s.Witnesses(t.Context(), release.Caller{Principal: access.Anonymous()}); problem.KindOf(err) != problem.Unauthenticated {
		t.Errorf("anonymous: %v", err)
	}
}
