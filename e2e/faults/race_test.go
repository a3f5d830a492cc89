package faults

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
	"github.com/chartkeep/chartkeep/internal/store/storetest/pgtest"
)

// race is publishers who all want to release the same versions.
type race struct {
	project    string
	publishers []*publisher // one for each server process
	ob         *observer
	writers    int
	won        []offer
}

const raceProject = "race/track"

func newRace(t *testing.T, servers ...*daemontest.Server) *race {
	t.Helper()
	if _, err := servers[0].Client(servers[0].Admin).CreateProject(t.Context(), client.NewProject{Name: raceProject}); err != nil {
		t.Fatal(err)
	}
	r := &race{project: raceProject, writers: 64}
	for _, s := range servers {
		r.publishers = append(r.publishers, publisherOf(s))
	}
	var err error
	if r.ob, err = newObserver(r.publishers[0], servers[0].LogKey()); err != nil {
		t.Fatal(err)
	}
	return r
}

// faultList gathers what is wrong from many goroutines.
type faultList struct {
	mu   sync.Mutex
	list []string
}

func (f *faultList) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, fmt.Sprintf(format, args...))
}

// run lets every writer release version 1.0.n with bytes of its own, through
// the doors in turn, and returns what is wrong. With early, what has to be
// uploaded is there before, so that the claims alone meet.
func (r *race) run(t *testing.T, n int, early bool) []string {
	ctx := t.Context()
	var faults faultList
	offers := make([]offer, r.writers)
	for i := range offers {
		offers[i] = newOffer(t, r.project, "car", fmt.Sprintf("1.0.%d", n), fmt.Sprintf("round %d writer %d", n, i), 0)
	}
	var ready, writing, reading sync.WaitGroup
	gun, over := make(chan struct{}), make(chan struct{})
	answers := make([]answer, r.writers)
	for i := range offers {
		o, p, d := &offers[i], r.publishers[i%len(r.publishers)], &doors[i%len(doors)]
		ready.Add(1)
		writing.Go(func() {
			if early {
				if err := d.upload(ctx, p, o); err != nil {
					answers[i].err = err
				}
			}
			ready.Done()
			<-gun
			switch {
			case answers[i].err != nil:
			case early:
				answers[i] = d.claim(ctx, p, o)
			default:
				answers[i] = d.push(ctx, p, o)
			}
		})
	}
	served := make([]string, 3)
	for i := range served {
		ob := *r.publishers[i%len(r.publishers)]
		reading.Go(func() { served[i] = r.watch(ctx, &ob, &offers[0], over, &faults) })
	}
	ready.Wait()
	close(gun)
	writing.Wait()
	close(over)
	reading.Wait()

	winner := r.judge(offers, answers, &faults)
	if winner == nil {
		return faults.list
	}
	for _, s := range served {
		if s != "" && s != winner.digest() {
			faults.add("readers saw %s, and %s won", s, winner.digest())
		}
	}
	for _, p := range r.publishers {
		ob := &observer{publisher: p, key: r.ob.key, seen: r.ob.seen}
		if err := ob.whole(ctx, winner); err != nil {
			faults.add("%v", err)
		}
		index, err := ob.index(ctx, r.project)
		if err != nil {
			faults.add("%v", err)
		} else if got := index[winner.chart+"@"+winner.version]; got != winner.digest() {
			faults.add("the index has %q for %s, and %s won", got, winner, winner.digest())
		}
	}
	r.won = append(r.won, *winner)
	return faults.list
}

// watch reads a version through both doors and the index until the race is
// over, and returns the one content that it saw.
func (r *race) watch(ctx context.Context, p *publisher, o *offer, over <-chan struct{}, faults *faultList) string {
	ob := &observer{publisher: p, key: r.ob.key}
	// What one door shows it never takes back, and no two show different
	// bytes. A door may be a moment behind another until the push is answered.
	first, shown := "", map[string]bool{}
	note := func(where, digest string) {
		switch {
		case digest == "" && shown[where]:
			faults.add("%s: %s showed nothing after it showed %s", o, where, first)
		case digest != "" && first != "" && digest != first:
			faults.add("%s: %s showed %s after %s was served", o, where, digest, first)
		case digest != "":
			first, shown[where] = digest, true
		}
	}
	for {
		select {
		case <-over:
			return first
		default:
		}
		classic, oci, err := ob.seenAt(ctx, o)
		if err != nil {
			faults.add("%v", err)
			return first
		}
		note("the classic door", classic)
		note("the OCI door", oci)
		index, err := ob.index(ctx, o.project)
		if err != nil {
			faults.add("%v", err)
			return first
		}
		note("the index", index[o.chart+"@"+o.version])
	}
}

// judge finds the one winner, and holds every loser to a refusal that names
// what won.
func (r *race) judge(offers []offer, answers []answer, faults *faultList) *offer {
	var winner *offer
	for i := range answers {
		if !answers[i].accepted() {
			continue
		}
		if winner != nil {
			faults.add("%s was accepted twice: %s and %s", winner, winner.digest(), offers[i].digest())
		}
		winner = &offers[i]
	}
	if winner == nil {
		faults.add("nobody won; the first answer was %s", &answers[0])
		return nil
	}
	for i := range answers {
		a, d := &answers[i], doors[i%len(doors)].name
		if a.accepted() {
			continue
		}
		if a.err != nil || a.status != http.StatusConflict || !strings.Contains(a.text, winner.digest()) {
			faults.add("%s: loser at %s was told %s, and not 409 with %s", winner, d, a, winner.digest())
		}
	}
	return winner
}

// leaves checks that each round left one leaf, of the one that won.
func (r *race) leaves(ctx context.Context) []string {
	var faults faultList
	released, err := r.ob.releases(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	if len(released) != len(r.won) {
		faults.add("%d release leaves of %d rounds", len(released), len(r.won))
	}
	for i := range r.won {
		o := &r.won[i]
		if got := released[o.String()].Archive; got != o.digest() {
			faults.add("the leaf of %s names %q, and %s won", o, got, o.digest())
		}
	}
	return faults.list
}

func (r *race) rounds(t *testing.T, rounds int) {
	t.Helper()
	begun := time.Now()
	for n := range rounds {
		for _, f := range r.run(t, n, n%2 == 0) {
			t.Errorf("round %d: %s", n, f)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	for _, f := range r.leaves(t.Context()) {
		t.Error(f)
	}
	if _, err := r.ob.consistent(t.Context()); err != nil {
		t.Error(err)
	}
	t.Logf("%d rounds of %d writers in %s", rounds, r.writers, time.Since(begun).Round(time.Millisecond))
}

func shorter(full, short int) int {
	if testing.Short() {
		return short
	}
	return full
}

// TestRace: of 64 publishers with different bytes for one version, mixed over
// the three doors, one wins, and nothing else is ever served.
func TestRace(t *testing.T) {
	newRace(t, daemontest.Start(t, daemontest.Options{})).rounds(t, shorter(100, 10))
}

// TestRaceOfServers is TestRace with two server processes on one PostgreSQL
// and one folder of blobs.
func TestRaceOfServers(t *testing.T) {
	opt := daemontest.Options{Data: t.TempDir(), Env: []string{"CHARTKEEP_DATABASE=" + pgtest.New(t)}}
	newRace(t, daemontest.Start(t, opt), daemontest.Start(t, opt)).rounds(t, shorter(100, 10))
}

// dropKeys are the unique indexes that let one claim in.
var dropKeys = []string{"DROP INDEX release_version", "DROP INDEX release_file"}

// A race test that does not notice that the keys are gone proves nothing. The
// key of the tags still keeps a second winner out: what is noticed is that
// losers are no longer told who won.
func TestRaceNoticesMissingKeys(t *testing.T) {
	notices := func(t *testing.T, r *race) {
		t.Helper()
		for n := range 10 {
			if faults := r.run(t, n, n%2 == 0); len(faults) > 0 {
				t.Logf("noticed in round %d: %.200s", n, faults[0])
				return
			}
		}
		t.Error("ten races without the unique indexes, and nothing was noticed")
	}
	drop := func(t *testing.T, driver, dsn string) {
		t.Helper()
		db, err := sql.Open(driver, dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for _, q := range dropKeys {
			if _, err := db.Exec(q); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		opt := daemontest.Options{Data: t.TempDir()}
		s := daemontest.Start(t, opt)
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		drop(t, "sqlite", filepath.Join(opt.Data, "chartkeep.db"))
		notices(t, newRace(t, daemontest.Start(t, opt)))
	})
	t.Run("postgres", func(t *testing.T) {
		dsn := pgtest.New(t)
		opt := daemontest.Options{Data: t.TempDir(), Env: []string{"CHARTKEEP_DATABASE=" + dsn}}
		a, b := daemontest.Start(t, opt), daemontest.Start(t, opt)
		drop(t, "pgx", dsn)
		notices(t, newRace(t, a, b))
	})
}
