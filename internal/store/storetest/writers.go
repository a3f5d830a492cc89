package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/index"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Race has writers offer different bytes for one version at the same time,
// round after round and spread over stores of one database. Its error says
// what is not as it must be: one of them has released, every other was told
// what stands, and readers find one release, one index entry and one leaf.
func Race(ctx context.Context, p release.Project, rounds, writers int, stores ...LedgerStore) error {
	for round := range rounds {
		if err := raceRound(ctx, p, fmt.Sprintf("%d.0.0", round), writers, stores); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	return nil
}

type raceAnswer struct {
	claim *release.Claim
	res   release.ClaimResult
	err   error
}

func raceRound(ctx context.Context, p release.Project, version string, writers int, stores []LedgerStore) error {
	before, err := stores[0].LogInfo(ctx)
	if err != nil {
		return err
	}
	answers := make([]raceAnswer, writers)
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			a := &answers[i]
			a.claim = offer(p, "race", version, fmt.Sprintf("bytes of writer %d for %s", i, version))
			<-begin
			a.res, a.err = stores[i%len(stores)].Claim(ctx, a.claim)
		})
	}
	close(begin)
	wg.Wait()
	var winner *raceAnswer
	for i := range answers {
		a := &answers[i]
		switch {
		case a.err == nil && a.res.Unchanged:
			return fmt.Errorf("writer %d was told that its bytes were released before", i)
		case a.err == nil && winner != nil:
			return fmt.Errorf("two writers released %s: %s and %s", version, winner.res.Release.Archive, a.res.Release.Archive)
		case a.err == nil:
			winner = a
		}
	}
	if winner == nil {
		return fmt.Errorf("nobody released %s: %w", version, answers[0].err)
	}
	won := winner.res.Release
	for i, a := range answers {
		if a.err == nil {
			continue
		}
		refusal, ok := problem.As(a.err)
		if !ok || refusal.Kind != problem.Immutable || refusal.Rule != "overwrite" || !strings.Contains(fact(refusal, "stored"), won.Archive) || a.res.Release.Archive != won.Archive {
			return fmt.Errorf("writer %d lost and was told: %w", i, a.err)
		}
	}
	for i, s := range stores {
		if err := raceServed(ctx, s, winner); err != nil {
			return fmt.Errorf("store %d: %w", i, err)
		}
	}
	after, err := stores[0].LogInfo(ctx)
	if err != nil {
		return err
	}
	if after.Size != before.Size+1 {
		return fmt.Errorf("the log grew by %d leaves", after.Size-before.Size)
	}
	return nil
}

// raceServed checks what readers of one store find.
func raceServed(ctx context.Context, s LedgerStore, winner *raceAnswer) error {
	won := &winner.res.Release
	got, err := s.ReleaseByVersion(ctx, won.ProjectID, won.Chart, won.Version)
	if err != nil {
		return err
	}
	m, err := s.Manifest(ctx, won.Repository(), won.Tag)
	if err != nil {
		return err
	}
	if got.Archive != won.Archive || m.Digest != won.Manifest || m.Release == nil || m.Release.Archive != won.Archive {
		return fmt.Errorf("served archive %s, manifest %s; released %s, %s", got.Archive, m.Digest, won.Archive, won.Manifest)
	}
	n := 0
	err = s.IndexSource(won.ProjectID, true).Range(ctx, index.Key{}, index.Key{}, func(k index.Key, _ []byte) error {
		if k.Chart == won.Chart && k.Sort == won.SortKey {
			n++
		}
		return nil
	})
	if err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("%s has %d index entries", won.Ref(), n)
	}
	leaf, err := s.Leaf(ctx, won.LogIndex)
	if err != nil {
		return err
	}
	if parsed, err := tlog.ParseLeaf(leaf); err != nil || parsed.(tlog.Release).Archive != won.Archive {
		return fmt.Errorf("leaf %d is not that of %s: %q", won.LogIndex, won.Archive, leaf)
	}
	return nil
}

// failingOperation mixes operations that must fail, each for another reason,
// with claims that must not notice. It is repeated so that they meet in one
// transaction.
func failingOperation(l *ledger) {
	ctx := l.Context()
	bad := []func(i int) error{
		func(i int) error {
			c := offer(l.project, "bad", fmt.Sprintf("%d.0.0", i), "x")
			c.MustBeHeld = true
			_, err := l.Claim(ctx, c)
			return err
		},
		func(i int) error {
			c := offer(l.project, "bad", fmt.Sprintf("%d.1.0", i), "x")
			c.Fragment = func(time.Time) []byte { panic("a fragment that cannot be rendered") }
			_, err := l.Claim(ctx, c)
			return err
		},
		func(i int) error {
			c := offer(l.project, "bad", fmt.Sprintf("%d.2.0", i), "x")
			c.Release.Archive = "not a digest"
			_, err := l.Claim(ctx, c)
			return err
		},
		func(int) error {
			_, err := l.Attach(ctx, &release.Attachment{ReleaseID: 1 << 40, Digest: sha256Of(nil), Now: start, Event: by("usr-suite")})
			return err
		},
		func(int) error { return l.Record(ctx, start, named("no.such.event")) },
		func(i int) error {
			return l.CreateToken(ctx, release.Token{ID: fmt.Sprint("tok-", i), AccountID: "usr-nobody"}, [32]byte{}, named(audit.TokenCreated), start)
		},
	}
	size := l.size()
	var wg sync.WaitGroup
	good := make(chan *release.Claim, 1000)
	for i := range 150 {
		wg.Go(func() {
			if i%5 == 0 {
				if bad[i/5%len(bad)](i) == nil {
					l.Errorf("bad operation %d succeeded", i/5%len(bad))
				}
				return
			}
			c := offer(l.project, "good", fmt.Sprintf("%d.0.0", i), fmt.Sprint(i))
			if _, err := l.Claim(ctx, c); err != nil {
				l.Errorf("claim %d: %v", i, err)
			}
			good <- c
		})
	}
	wg.Wait()
	close(good)
	for c := range good {
		r, err := l.ReleaseByVersion(ctx, l.project.ID, "good", c.Release.Version)
		l.ok(err)
		l.served(c, r)
	}
	list, err := l.Releases(ctx, l.project.ID, "bad")
	l.ok(err)
	if len(list) != 0 || l.size() != size+120 {
		l.Fatalf("%d bad releases; the log grew by %d leaves, want 120", len(list), l.size()-size)
	}
}

// cancelledContexts has clients that hang up at any moment. A claim that was
// cut off happened whole or not at all.
func cancelledContexts(l *ledger) {
	over, cancel := context.WithCancel(l.Context())
	cancel()
	if _, err := l.Claim(over, offer(l.project, "web", "0.0.1", "x")); !errors.Is(err, context.Canceled) {
		l.Fatalf("got error %v", err)
	}
	if err := l.Record(over, start, named(audit.LoginOK)); !errors.Is(err, context.Canceled) {
		l.Fatalf("got error %v", err)
	}
	if _, err := l.AuditRecords(over, release.AuditFilter{}); !errors.Is(err, context.Canceled) {
		l.Fatalf("got error %v", err)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	var wg sync.WaitGroup
	claims := make([]*release.Claim, 200)
	for i := range claims {
		claims[i] = offer(l.project, "web", fmt.Sprintf("1.0.%d", i), fmt.Sprint(i))
		patience := time.Duration(rng.IntN(4000)) * time.Microsecond
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(l.Context(), patience)
			defer cancel()
			if _, err := l.Claim(ctx, claims[i]); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				l.Error(err)
			}
		})
	}
	wg.Wait()
	for _, c := range claims {
		res, err := l.Claim(l.Context(), c) // whatever became of it, it can be repeated
		l.ok(err)
		l.verify(res)
		l.served(c, res.Release)
	}
}

func reopen(l *ledger) {
	ctx := l.Context()
	l.account("usr-1", "alice")
	l.create("other/one", importing)
	var claims []*release.Claim
	for i := range 300 {
		c := offer(l.project, "web", fmt.Sprintf("1.0.%d", i), fmt.Sprint(i))
		l.claim(c)
		claims = append(claims, c)
	}
	yanked, err := l.ReleaseByVersion(ctx, l.project.ID, "web", "1.0.7")
	l.ok(err)
	l.setState(yanked, true)
	state := func() (all []any) {
		info, err := l.LogInfo(ctx)
		l.ok(err)
		projects, err := l.AllProjects(ctx)
		l.ok(err)
		releases, err := l.Releases(ctx, l.project.ID, "web")
		l.ok(err)
		accounts, err := l.Accounts(ctx)
		l.ok(err)
		return append(all, info, string(info.Checkpoint), projects, releases, accounts, l.audited(release.AuditFilter{Limit: 1000}))
	}
	before := state()
	for range 2 {
		l.ok(l.Close())
		l.ok(l.Close()) // twice is once
		l.LedgerStore = l.open(l.T, nil)
		l.same("state", state(), before)
	}
	for _, c := range claims[:10] {
		res, err := l.Claim(ctx, c)
		l.ok(err)
		l.verify(res)
		if !res.Unchanged {
			l.Fatal("released twice")
		}
	}
	l.claim(offer(l.project, "web", "2.0.0", "x"))
}

// closeWhileWriting closes the store under load. What was acknowledged is
// there afterwards; what was refused because of the end is not.
func closeWhileWriting(l *ledger) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	acknowledged, refused := []*release.Claim{}, []*release.Claim{}
	var n atomic.Int64
	enough := make(chan struct{})
	for w := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				c := offer(l.project, fmt.Sprintf("chart%d", w), fmt.Sprintf("1.0.%d", i), fmt.Sprint(w, i))
				_, err := l.Claim(l.Context(), c)
				mu.Lock()
				if err == nil {
					acknowledged = append(acknowledged, c)
				} else {
					refused = append(refused, c)
				}
				mu.Unlock()
				if err != nil {
					if p, ok := problem.As(err); !ok || p.Kind != problem.Unavailable || p.Rule != "stopping" {
						l.Errorf("the end was told as: %v", err)
					}
					return
				}
				if n.Add(1) == 200 {
					close(enough)
				}
			}
		})
	}
	<-enough
	l.ok(l.Close())
	wg.Wait()
	if _, err := l.ReleaseByVersion(l.Context(), l.project.ID, "chart0", "1.0.0"); err == nil {
		l.Error("a closed store answers")
	}
	l.LedgerStore = l.open(l.T, nil)
	for _, c := range acknowledged {
		r, err := l.ReleaseByVersion(l.Context(), l.project.ID, c.Release.Chart, c.Release.Version)
		l.ok(err)
		l.served(c, r)
		l.proven(r.LogIndex)
	}
	for _, c := range refused {
		_, err := l.ReleaseByVersion(l.Context(), l.project.ID, c.Release.Chart, c.Release.Version)
		l.refused(err, problem.NotFound, "release")
	}
}

// everythingAtOnce is for the race detector: every kind of operation meets
// every other.
func everythingAtOnce(l *ledger) {
	ctx := l.Context()
	plain := l.create("plain", artifacts)
	l.account("usr-1", "alice")
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range 40 {
				if err := l.anything(ctx, rng, plain, fmt.Sprintf("%d-%d", w, i)); err != nil {
					if _, ok := problem.As(err); !ok {
						l.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}

func (l *ledger) anything(ctx context.Context, rng *rand.Rand, plain release.Project, id string) (err error) {
	version := fmt.Sprintf("1.0.%d", rng.IntN(30))
	switch rng.IntN(12) {
	case 0, 1, 2:
		_, err = l.Claim(ctx, offer(l.project, "web", version, fmt.Sprint(rng.IntN(2))))
	case 3, 4:
		r, ferr := l.ReleaseByVersion(ctx, l.project.ID, "web", version)
		if ferr != nil {
			return ferr
		}
		_, err = l.SetState(ctx, &release.StateChange{ReleaseID: r.ID, Yank: rng.IntN(2) == 0, Reason: "broken", Now: start, Event: by("usr-1")})
	case 5:
		r, ferr := l.ReleaseByVersion(ctx, l.project.ID, "web", version)
		if ferr != nil {
			return ferr
		}
		_, err = l.Attach(ctx, attachment(r, fmt.Sprint("signature ", rng.IntN(2))))
	case 6:
		p := put(plain, "app", fmt.Sprint("manifest ", rng.IntN(5)), fmt.Sprint("tag", rng.IntN(3)))
		p.MayMove = anyMove
		err = l.PutManifest(ctx, p)
	case 7:
		err = l.DeleteManifest(ctx, "plain/app", fmt.Sprint("tag", rng.IntN(3)), by("usr-1"), start)
	case 8:
		err = l.LinkBlob(ctx, plain.ID, fmt.Sprint("plain/r", rng.IntN(4)), release.Link{Digest: sha256Of([]byte{byte(rng.IntN(9))}), Size: 1}, []byte{1})
	case 9:
		_, err = l.UpdateProject(ctx, "demo", "set", named(audit.ProjectSet), start, func(p release.Project) (release.Project, error) {
			p.Public = !p.Public
			return p, nil
		})
	case 10:
		_, err = l.CreateProject(ctx, release.Project{Name: "p/" + id, Kind: release.KindCharts, State: release.ProjectActive, PolicyDigest: sha256Of(nil)}, by("usr-1"), start)
	case 11:
		if _, err = l.ProjectFor(ctx, "demo/web"); err == nil {
			_, err = l.Relay(ctx, 10, func([]release.AuditRecord) error { return nil })
		}
	}
	return err
}
