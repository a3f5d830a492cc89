package soak

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
	"github.com/chartkeep/chartkeep/internal/store/storetest/pgtest"
)

var (
	length   = flag.Duration("soak", 10*time.Minute, "how long everybody is killed; with -short it is 30s")
	seedFlag = flag.Uint64("seed", 0, "of all chance, as an earlier run printed it; 0 is a new one")
)

type programs struct{ m *testing.M }

func (p programs) Run() int { return pgtest.Run(p.m) }

func TestMain(m *testing.M) { os.Exit(daemontest.Run(programs{m})) }

// seed is the one that was given, or a new one.
func seed(t *testing.T) uint64 {
	n := *seedFlag
	if n == 0 {
		n = uint64(time.Now().UnixNano())
	}
	t.Logf("the same again in kind: go test -run '^%s$' -soak %s -seed %d", t.Name(), duration(), n)
	return n
}

func duration() time.Duration {
	if testing.Short() {
		return 30 * time.Second
	}
	return *length
}

// run lets everybody at it for a time, and then looks whether all is well.
func (s *soak) run(length time.Duration) {
	begun := time.Now()
	s.observe()
	all := s.actors()
	s.killer(length)
	close(s.ended)
	all.Wait()
	if s.ctx.Err() == nil {
		s.t.Logf("calm after %s; checking", time.Since(begun).Round(time.Second))
		s.calm()
		s.anchored()
		s.check()
	}
}

// report tells what was counted, and what is wrong.
func (s *soak) report() {
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(s.model.counts)) {
		fmt.Fprintf(&b, "%8d %s\n", s.model.counts[what], what)
	}
	s.t.Logf("releases acknowledged: %d\n%s", len(s.model.entries), b.String())
	for i, f := range s.faults {
		if i == 20 {
			s.t.Errorf("and %d more", len(s.faults)-i)
			break
		}
		s.t.Errorf("%.4000s", f)
	}
}

// TestSoak: a server on SQLite that publishes no checkpoint which its witnesses
// have not seen.
func TestSoak(t *testing.T) {
	s := newSoak(t, setting{servers: 1, quorum: "required", seed: seed(t)})
	s.run(duration())
	s.report()
}

// TestSoakPostgres: two servers on one PostgreSQL, which publish the newest
// checkpoint at once.
func TestSoakPostgres(t *testing.T) {
	s := newSoak(t, setting{database: pgtest.New(t), servers: 2, quorum: "best-effort", seed: seed(t)})
	s.run(duration())
	s.report()
}
