package server

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
)

func testGuard() *guard { return newGuard(func(audit.Door) {}) }

var (
	badToken  = credential{scheme: "bearer", secret: "ckt_bad"}
	goodToken = credential{scheme: "bearer", secret: "ckt_good"}
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// try returns the rule by which an attempt is refused, "" when it is right.
func try(g *guard, from string, c credential) string {
	err := g.check(context.Background(), audit.DoorOCI, addr(from), c, func() error {
		if c == goodToken {
			return nil
		}
		return problem.New(problem.Unauthenticated, RuleCredential, "wrong")
	})
	p, ok := problem.As(err)
	if !ok {
		return ""
	}
	return p.Rule
}

func TestAttemptsPerSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := testGuard()
		if got := try(g, "192.0.2.1", goodToken); got != "" {
			t.Fatal(got)
		}
		for i := range attemptBurst {
			if got := try(g, "192.0.2.1", badToken); got != RuleCredential {
				t.Fatalf("attempt %d: %s", i, got)
			}
		}
		if got := try(g, "192.0.2.1", badToken); got != RuleTooManyAttempts {
			t.Errorf("one attempt too many: %s", got)
		}
		if got := try(g, "192.0.2.1", goodToken); got != "" {
			t.Errorf("a credential that was right before: %s", got)
		}
		if got := try(g, "192.0.2.1", credential{scheme: "bearer", secret: "ckt_other"}); got != RuleTooManyAttempts {
			t.Errorf("a credential that was never seen: %s", got)
		}
		if got := try(g, "192.0.2.2", badToken); got != RuleCredential {
			t.Errorf("another source: %s", got)
		}
		time.Sleep(attemptRefill - time.Millisecond)
		if got := try(g, "192.0.2.1", badToken); got != RuleTooManyAttempts {
			t.Errorf("just before the refill: %s", got)
		}
		time.Sleep(time.Millisecond)
		if got := try(g, "192.0.2.1", badToken); got != RuleCredential {
			t.Errorf("after the refill: %s", got)
		}
		if got := try(g, "192.0.2.1", badToken); got != RuleTooManyAttempts {
			t.Errorf("second attempt after one refill: %s", got)
		}
		time.Sleep(100 * attemptRefill)
		for i := range attemptBurst {
			if got := try(g, "192.0.2.1", badToken); got != RuleCredential {
				t.Fatalf("attempt %d after a long pause: %s", i, got)
			}
		}
		if got := try(g, "192.0.2.1", badToken); got != RuleTooManyAttempts {
			t.Errorf("the pause saved up more than the burst: %s", got)
		}
	})
}

func TestSourceIsAnIPv6Network(t *testing.T) {
	g := testGuard()
	for i := range attemptBurst {
		try(g, fmt.Sprintf("2001:db8:0:1::%x", i), badToken)
	}
	if got := try(g, "2001:db8:0:1:ffff::1", badToken); got != RuleTooManyAttempts {
		t.Errorf("same /64: %s", got)
	}
	if got := try(g, "2001:db8:0:2::1", badToken); got != RuleCredential {
		t.Errorf("other /64: %s", got)
	}
}

func TestGuardMemoryIsBounded(t *testing.T) {
	g := testGuard()
	for i := range 5 * guardEntries {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		g.failed(audit.DoorOCI, a)
		g.succeeded(uint64(i))
	}
	for name, n := range map[string]int{
		"buckets": len(g.buckets.young) + len(g.buckets.old), "accepted": len(g.accepted.young) + len(g.accepted.old),
	} {
		if n > 2*guardEntries || n < guardEntries {
			t.Errorf("%d %s are kept", n, name)
		}
	}
	failures := g.take()
	if len(failures) != failureRows+1 {
		t.Errorf("%d failures are told apart", len(failures))
	}
	var sum int64
	for _, f := range failures {
		sum += f.Count
	}
	if sum != 5*guardEntries {
		t.Errorf("%d failures are counted of %d", sum, 5*guardEntries)
	}
	if failures[0].Source.IsValid() {
		t.Errorf("the largest is not the rest: %+v", failures[0])
	}
	if again := g.take(); len(again) != 0 {
		t.Errorf("counted twice: %v", again)
	}
}

func TestPasswordChecksAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := testGuard()
		limit := cap(g.places)
		var mu sync.Mutex
		running, most := 0, 0
		release := make(chan struct{})
		check := func() error {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			<-release
			mu.Lock()
			running--
			mu.Unlock()
			return nil
		}
		results := make(chan error, limit+2)
		password := credential{scheme: "basic", user: "ann", secret: "guess"}
		for i := range limit + 2 {
			go func() {
				results <- g.check(context.Background(), audit.DoorOCI, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), password, check)
			}()
		}
		synctest.Wait()
		if most != limit {
			t.Errorf("%d password checks at once, want %d", most, limit)
		}
		// A token does not wait for passwords.
		if err := g.check(context.Background(), audit.DoorOCI, addr("10.0.0.99"), credential{scheme: "basic", user: "x", secret: "ckt_good"}, func() error { return nil }); err != nil {
			t.Errorf("token beside passwords: %v", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := g.check(ctx, audit.DoorOCI, addr("10.0.0.98"), password, check); err != context.Canceled {
			t.Errorf("a client that left: %v", err)
		}
		time.Sleep(passwordWait)
		synctest.Wait()
		for range 2 {
			if p, ok := problem.As(<-results); !ok || p.Rule != RuleBusy {
				t.Errorf("a check that found no place: %v", p)
			}
		}
		close(release)
		for range limit {
			if err := <-results; err != nil {
				t.Errorf("a check that had a place: %v", err)
			}
		}
		if len(g.places) != 0 {
			t.Errorf("%d places are not given back", len(g.places))
		}
	})
}

func TestFailuresAreReportedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reports := make(chan []AuthFailure, 10)
		s := New(Config{Authenticator: &fakeAuth{}, AuthFailures: func(ctx context.Context, f []AuthFailure) {
			if ctx.Err() != nil {
				t.Error("the context has ended already")
			}
			reports <- f
		}}, testRoutes(echo))
		none := func(when string) {
			t.Helper()
			synctest.Wait()
			select {
			case f := <-reports:
				t.Errorf("%s: %v", when, f)
			default:
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		start := time.Now()
		for i := range 3 {
			if i > 0 {
				time.Sleep(10 * time.Second)
			}
			if w := do(s, "GET", "/v2/", "Authorization", "Bearer ckt_bad"); w.Code != 401 {
				t.Fatal(w.Code)
			}
		}
		time.Sleep(flushInterval - 20*time.Second - time.Nanosecond)
		none("reported early")
		time.Sleep(time.Nanosecond)
		want := AuthFailure{audit.DoorOCI, netip.MustParsePrefix("192.0.2.1/32"), 3, 0, start, start.Add(20 * time.Second)}
		if got := <-reports; len(got) != 1 || got[0] != want {
			t.Errorf("reported %+v, want %+v", got, want)
		}
		if since := time.Since(start); since != flushInterval {
			t.Errorf("reported after %s", since)
		}
		time.Sleep(2 * flushInterval)
		none("reported without a failure")
		s.guard.failed(audit.DoorAPI, netip.Addr{})
		cancel()
		<-done
		if got := <-reports; got[0].Door != audit.DoorAPI {
			t.Errorf("the rest was not reported at the end: %v", got)
		}
	})
}
