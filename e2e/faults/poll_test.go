package faults

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
	"github.com/chartkeep/chartkeep/internal/store/storetest/pgtest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// polls is a server that polls the press, and is killed again and again.
type polls struct {
	t      *testing.T
	opt    daemontest.Options
	driver string
	dsn    string
	rng    *rand.Rand
	press  *press
	ob     *observer
	api    *client.Client
	usual  time.Duration // that a poll takes

	kills, broken int // broken: polls that were under way
}

func newPolls(t *testing.T, opt daemontest.Options, driver, dsn string) *polls {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := &polls{t: t, opt: opt, driver: driver, dsn: dsn, rng: rand.New(rand.NewPCG(seed, seed)), press: newPress(t)}
	dir := t.TempDir()
	secret := "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	for name, text := range map[string]string{"secret": secret, "credentials.yaml": "credentials:\n  hooks: {host: '" + c.press.URL + "', secret_file: secret}\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.opt.Flags = append(c.opt.Flags, "--allow-networks", "127.0.0.0/8", "--credentials", filepath.Join(dir, "credentials.yaml"))
	return c
}

func (c *polls) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// start starts the server.
func (c *polls) start() *daemontest.Server {
	c.t.Helper()
	s := daemontest.Start(c.t, c.opt)
	c.api = s.Client(s.Admin)
	if c.ob == nil {
		var err error
		c.ob, err = newObserver(publisherOf(s), s.LogKey())
		c.must(err)
	}
	c.ob.on(publisherOf(s))
	return s
}

// await waits until something is so.
func (c *polls) await(what string, so func() bool) {
	c.t.Helper()
	for end := time.Now().Add(daemontest.Patience); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("%s: waited too long", what)
		}
	}
}

func (c *polls) polledAt() time.Time {
	u, err := c.api.Upstream(c.t.Context(), "up")
	c.must(err)
	return u.Sources[0].Health.LastPoll
}

// afterDeath looks whether a poll was under way or is asked for, and lets the
// leases of the dead process run out, as they do within ten minutes.
func (c *polls) afterDeath() (due bool) {
	c.t.Helper()
	db, err := sql.Open(c.driver, c.dsn)
	c.must(err)
	defer db.Close()
	var at, lease int64
	c.must(db.QueryRow("SELECT due, lease FROM source").Scan(&at, &lease))
	for _, table := range []string{"source", "delivery"} {
		_, err = db.Exec("UPDATE " + table + " SET lease_end = lease_end - 600000 WHERE lease <> 0")
		c.must(err)
	}
	if lease != 0 {
		c.broken++
	}
	return at <= time.Now().UnixMilli()
}

// begin makes route, mirror and upstream, and lets the first poll begin.
func (c *polls) begin() {
	ctx := c.t.Context()
	_, err := c.api.AddRoute(ctx, client.NewRoute{Name: "hook", Kind: "webhook", Target: c.press.URL + "/hook", Credential: "hooks"})
	c.must(err)
	_, err = c.api.CreateProject(ctx, client.NewProject{Name: "mirror", Public: true, Policy: client.Policy{Mirror: "up"}})
	c.must(err)
	_, err = c.api.AddUpstream(ctx, client.NewUpstream{
		Name: "up", QuietAfter: "0s", Mirror: &client.Mirror{Project: "mirror", Charts: []string{"web"}},
		Sources: []client.NewSource{{Kind: "index", URL: c.press.URL}},
	})
	c.must(err)
}

// moment says when the server dies. It is called before the poll is asked for,
// and what it returns after.
type moment func(s *daemontest.Server) (wait func())

// at is a point that the press passes.
func (c *polls) at(point string, nth int) moment {
	return func(*daemontest.Server) func() {
		s := &stop{point, nth, make(chan struct{})}
		c.press.mu.Lock()
		c.press.stop = s
		c.press.mu.Unlock()
		return func() {
			select {
			case <-s.reached:
			case <-time.After(daemontest.Patience):
				c.t.Fatalf("%q was not reached", point)
			}
		}
	}
}

func (c *polls) logged() int64 {
	cp, err := c.ob.checkpoint(c.t.Context())
	c.must(err)
	return cp.Size
}

// grown is when a poll has written for the nth time to the log.
func (c *polls) grown(nth int) moment {
	return func(*daemontest.Server) func() {
		was := c.logged()
		return func() {
			for range nth {
				c.await("the log grows", func() bool {
					now := c.logged()
					defer func() { was = now }()
					return now > was
				})
			}
		}
	}
}

// released is when the newest version is there in the mirror.
func (c *polls) released(s *daemontest.Server) func() {
	return func() {
		path := fmt.Sprintf("/mirror/charts/web-1.0.%d.tgz", c.press.state)
		c.await("the mirror", func() bool { a := c.ob.get(c.t.Context(), path); return a.accepted() })
	}
}

// told is when the newest version stands in the list of events.
func (c *polls) told(s *daemontest.Server) func() {
	return func() {
		c.await("the event", func() bool {
			l, err := c.api.Events(c.t.Context(), client.EventFilter{Event: "new-version", Version: fmt.Sprintf("1.0.%d", c.press.state)}, client.Page{})
			c.must(err)
			return len(l.Items) > 0
		})
	}
}

// anytime is within the time that a poll takes, and half of it more.
func (c *polls) anytime(*daemontest.Server) func() {
	return func() {
		pause := time.NewTimer(time.Duration(c.rng.Int64N(int64(c.usual) * 3 / 2)))
		<-pause.C
	}
}

// round starts the server, waits until it has done what its death kept it from,
// goes to the next state, and kills it while it polls that. due says whether a
// poll broke off before, and now.
func (c *polls) round(due, heavy bool, m moment) bool {
	c.t.Helper()
	began := time.Now()
	s := c.start()
	defer s.Kill()
	if due && c.rng.IntN(4) == 0 { // it dies while it does
		c.anytime(s)()
		return c.die(s)
	}
	if due {
		c.await("the poll that broke off", func() bool { return c.polledAt().After(began) })
	}
	_, err := c.ob.consistent(c.t.Context())
	c.must(err)
	c.press.next(heavy)
	wait := m(s)
	c.must(c.api.PollUpstream(c.t.Context(), "up"))
	wait()
	return c.die(s)
}

func (c *polls) die(s *daemontest.Server) (due bool) {
	c.t.Helper()
	s.Kill()
	c.kills++
	return c.afterDeath()
}

// whole is a poll that nobody disturbs.
func (c *polls) whole() {
	began := time.Now()
	c.must(c.api.PollUpstream(c.t.Context(), "up"))
	c.await("a whole poll", func() bool { return c.polledAt().After(began) })
	c.usual = time.Since(began)
}

// run kills the server at so many moments, and looks at what is left.
func (c *polls) run(random int) {
	began := time.Now()
	s := c.start()
	half := c.at("index half", 0)(s) // of the first reading
	c.begin()
	half()
	c.die(s)
	s = c.start()
	c.await("the log begins", func() bool { return c.logged() > 0 }) // the first of its transactions
	c.die(s)
	s = c.start()
	c.await("the first poll", func() bool { return !c.polledAt().IsZero() })
	for range 2 { // the archives of the second transaction are fetched little by little
		c.press.next(true)
		c.whole()
	}
	due := c.die(s)

	moments := []struct {
		heavy bool
		at    moment
	}{
		{false, c.at("index asked", 0)}, {true, c.at("index sent", 0)}, {false, c.at("archive asked", 0)}, {false, c.at("archive half", 1)},
		{true, c.at("archive sent", 5)}, {true, c.grown(1)}, {true, c.grown(2)}, {false, c.released}, {false, c.told},
		{false, c.at("delivery asked", 0)}, {false, c.at("delivery answered", 0)}, {true, c.at("delivery asked", 0)},
	}
	for _, m := range moments {
		due = c.round(due, m.heavy, m.at)
	}
	dead := crash{t: c.t, opt: c.opt, rng: c.rng} // one that has not come up
	for n := range random {
		if n%8 == 7 {
			c.must(dead.stillborn())
			due = c.afterDeath()
			c.kills++
			continue
		}
		due = c.round(due, n%4 == 0, c.anytime)
	}
	c.settle(due)
	c.press.mu.Lock()
	defer c.press.mu.Unlock()
	c.t.Logf("%d kills, %d of them in the middle of a poll, in %s: %d events, %d deliveries, %d of them sent again",
		c.kills, c.broken, time.Since(began).Round(time.Millisecond), total(c.press.events), len(c.press.got), c.press.repeated)
	if c.broken < 8 || c.press.repeated == 0 {
		c.t.Error("too little was broken off to prove much")
	}
}

func total(m map[string]int) (n int) {
	for _, k := range m {
		n += k
	}
	return n
}

// settle lets the server finish in peace, and compares what it tells with what
// happened.
func (c *polls) settle(due bool) {
	c.t.Helper()
	began := time.Now()
	s := c.start()
	if due {
		c.await("the poll that broke off", func() bool { return c.polledAt().After(began) })
	}
	c.whole()
	ctx := c.t.Context()
	events, keys := map[string]int{}, map[string]bool{}
	for e, err := range client.All(ctx, func(ctx context.Context, p client.Page) (client.List[client.Event], error) {
		return c.api.Events(ctx, client.EventFilter{}, p)
	}) {
		c.must(err)
		if alert(e.Key) {
			// One for each server that offered it; how many there were is chance.
			if e.Event != "release.refused.overwrite" || c.press.events["mirror-refused web "+e.Version] == 0 {
				c.t.Errorf("an alert of what did not happen: %s %s %s", e.Event, e.Chart, e.Version)
			}
			continue
		}
		events[identity(&e)]++
		if keys[e.Key] {
			c.t.Errorf("two events of one key: %s", e.Key)
		}
		keys[e.Key] = true
	}
	c.same("events", events, c.press.events)
	c.delivered(keys)
	c.inLog(ctx)
	for _, o := range c.press.first {
		classic, oci, err := c.ob.seenAt(ctx, o)
		if err != nil || classic != o.digest() || oci != o.digest() {
			c.t.Errorf("%s: first seen as %s, mirrored as %q and as %q over OCI (%v)", o, o.digest(), classic, oci, err)
		}
	}
	c.commands(s)
}

// alert says whether the key of an event is of one that tells of an alert.
func alert(key string) bool { return strings.HasPrefix(key, "alert/") }

// identity is what an event says, so that no two that happen are the same.
func identity(e *client.Event) string {
	words := []string{e.Event, e.Chart, e.Version}
	for _, f := range e.Evidence {
		if e.Event == "new-version" && f.Label == "digest" || e.Event == "changed" && f.Label == "new digest" {
			words = append(words, f.Value)
		}
	}
	if e.Event == "changed" && e.Chart == "web" { // of which all archives are kept
		words = append(words, fmt.Sprintf("%d file", len(e.Files)))
	}
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}

func (c *polls) same(what string, got, want map[string]int) {
	c.t.Helper()
	shown := 0
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if got[k] != want[k] && shown < 20 {
			shown++
			c.t.Errorf("%s: %d instead of %d: %s", what, got[k], want[k], k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if want[k] == 0 && shown < 20 {
			shown++
			c.t.Errorf("%s: %d that never happened: %s", what, got[k], k)
		}
	}
}

// delivered waits for the deliveries: each event is in one, however often that
// was sent.
func (c *polls) delivered(keys map[string]bool) {
	c.t.Helper()
	var told map[string]int
	c.await("deliveries", func() bool {
		c.press.mu.Lock()
		defer c.press.mu.Unlock()
		told = map[string]int{}
		for _, list := range c.press.got {
			for _, k := range list {
				if !alert(k) {
					told[k]++
				}
			}
		}
		return len(told) >= len(keys)
	})
	want := map[string]int{}
	for k := range keys {
		want[k] = 1
	}
	c.same("events in deliveries", told, want)
}

// inLog holds the leaves to what happened: each thing once, and the same for
// the archives that were read.
func (c *polls) inLog(ctx context.Context) {
	c.t.Helper()
	cp, err := c.ob.consistent(ctx)
	c.must(err)
	leaves, err := c.ob.leaves(ctx, cp)
	c.must(err)
	got, read := map[string]int{}, map[string]bool{}
	for i, l := range leaves {
		if r, ok := l.(tlog.Legacy); ok {
			got["released "+r.Chart+"@"+r.Version+" "+r.Archive]++
		}
		o, ok := l.(tlog.Observation)
		if !ok {
			continue
		}
		what := fmt.Sprintf("%s %s@%s %s", o.Observed, o.Chart, o.Version, o.Archive)
		switch {
		case o.Observed != tlog.ObservedArchive:
			got[what]++
		case read[what]:
			c.t.Errorf("leaf %d is the second one of %s", i, what)
		default:
			read[what] = true
		}
	}
	c.same("leaves", got, c.press.leaves)
}

// commands checks with our own command line what it says about all of this.
func (c *polls) commands(s *daemontest.Server) {
	c.t.Helper()
	key := filepath.Join(s.Data, "log.vkey")
	for _, args := range [][]string{
		{"verify", "mirror/web@1.0.1", "--log-key", key}, {"log", "checkpoint", "--log-key", key},
	} {
		cmd := exec.Command(daemontest.Program(c.t), args...)
		cmd.Env = append(os.Environ(), "CHARTKEEP_SERVER="+s.URL, "CHARTKEEP_TOKEN="+s.Admin)
		if out, err := cmd.CombinedOutput(); err != nil {
			c.t.Errorf("chartkeep %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// TestPollCrash kills the server in the middle of polls, with a mirror and a
// webhook: no event is lost, and none is told twice; deliveries may come again,
// under the same id.
func TestPollCrash(t *testing.T) {
	data := t.TempDir()
	newPolls(t, daemontest.Options{Data: data}, "sqlite", filepath.Join(data, "chartkeep.db")).run(shorter(32, 24))
}

// TestPollCrashPostgres is TestPollCrash on PostgreSQL.
func TestPollCrashPostgres(t *testing.T) {
	dsn := pgtest.New(t)
	opt := daemontest.Options{Data: t.TempDir(), Env: []string{"CHARTKEEP_DATABASE=" + dsn}}
	newPolls(t, opt, "pgx", dsn).run(shorter(12, 4))
}
