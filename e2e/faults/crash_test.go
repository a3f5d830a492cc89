package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
	"github.com/chartkeep/chartkeep/internal/store/storetest/pgtest"
)

// fate is what is known of a release that was offered.
type fate int

const (
	unknown fate = iota // offered, and the server died before it answered
	there               // acknowledged, or found whole after a crash
	missing             // found absent after a crash
)

// entry is a release that was offered once, with bytes of its own.
type entry struct {
	offer
	fate   fate
	yank   fate // there: the yank was acknowledged
	tested bool // by a restart, since it was offered
}

// crash is load on a server that is killed again and again.
type crash struct {
	t       *testing.T
	opt     daemontest.Options
	rng     *rand.Rand
	ob      *observer
	project string

	mu      sync.Mutex
	entries []*entry
	count   int
	acked   chan struct{} // one for each acknowledged push
}

const crashWriters = 12

func newCrash(t *testing.T, opt daemontest.Options) *crash {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := &crash{t: t, opt: opt, rng: rand.New(rand.NewPCG(seed, seed)), project: "crash"}
	s := daemontest.Start(t, opt)
	if _, err := s.Client(s.Admin).CreateProject(t.Context(), client.NewProject{Name: c.project}); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.ob, err = newObserver(publisherOf(s), s.LogKey()); err != nil {
		t.Fatal(err)
	}
	s.Kill() // what was acknowledged so far has to be there as well
	return c
}

// next makes the next release to offer, and enters it before it is sent.
func (c *crash) next(rng *rand.Rand) *entry {
	c.mu.Lock()
	n := c.count
	c.count++
	c.mu.Unlock()
	e := &entry{offer: newOffer(c.t, c.project, fmt.Sprintf("app%d", n%5), fmt.Sprintf("1.0.%d", n), fmt.Sprint("salt ", n), rng.IntN(20_000))}
	c.mu.Lock()
	c.entries = append(c.entries, e)
	c.mu.Unlock()
	return e
}

// pick is an acknowledged release, or nil.
func (c *crash) pick(rng *rand.Rand) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) == 0 {
		return nil
	}
	if e := c.entries[rng.IntN(len(c.entries))]; e.fate == there {
		return e
	}
	return nil
}

// write is one publisher: until the server dies it releases, and now and then
// repeats, tries to overwrite, and yanks.
func (c *crash) write(ctx context.Context, p *publisher, rng *rand.Rand) error {
	for {
		d := &doors[rng.IntN(len(doors))]
		old := c.pick(rng)
		var err error
		switch n := rng.IntN(20); {
		case n == 0 && old != nil:
			if a := d.push(ctx, p, &old.offer); a.err != nil {
				err = a.err
			} else if !a.accepted() && d.name != "oci" { // on OCI: same content, another manifest
				return fmt.Errorf("%s again: %s", old, &a)
			}
		case n == 1 && old != nil:
			other := newOffer(c.t, old.project, old.chart, old.version, "other bytes", 0)
			if a := d.push(ctx, p, &other); a.err != nil {
				err = a.err
			} else if a.status != http.StatusConflict {
				return fmt.Errorf("%s with other bytes: %s", old, &a)
			}
		case n == 2 && old != nil:
			err = c.yank(ctx, p, old)
		default:
			e := c.next(rng)
			a := d.push(ctx, p, &e.offer)
			if err = a.err; err != nil {
				break
			}
			if !a.accepted() {
				return fmt.Errorf("%s: %s", e, &a)
			}
			c.mu.Lock()
			e.fate = there
			c.mu.Unlock()
			select {
			case c.acked <- struct{}{}:
			default:
			}
		}
		if err != nil {
			return nil // the server is gone
		}
	}
}

func (c *crash) yank(ctx context.Context, p *publisher, e *entry) error {
	c.mu.Lock()
	tried := e.yank != missing
	e.yank = unknown
	c.mu.Unlock()
	if tried {
		return nil
	}
	a := p.send(ctx, http.MethodPost, "/api/v1/projects/"+e.project+"/-/charts/"+e.chart+"/releases/"+e.version+"/yank",
		"application/json", []byte(`{"reason":"broken"}`))
	if a.accepted() {
		c.mu.Lock()
		e.yank = there
		c.mu.Unlock()
	}
	return a.err
}

// round starts the server, looks whether all is as it was promised, puts load
// on it, and kills it.
func (c *crash) round() error {
	s, err := daemontest.Try(c.t, c.opt)
	if err != nil {
		return err
	}
	defer s.Kill()
	p := publisherOf(s)
	c.ob.on(p)
	if err := c.look(20); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	c.acked = make(chan struct{}, 1000)
	var load sync.WaitGroup
	failed := make(chan error, crashWriters+1)
	for range crashWriters {
		rng := rand.New(rand.NewPCG(c.rng.Uint64(), c.rng.Uint64()))
		load.Go(func() {
			if err := c.write(ctx, p, rng); err != nil {
				failed <- err
			}
		})
	}
	load.Go(func() { // a client that keeps every checkpoint that it is shown
		for {
			_, err := c.ob.checkpoint(ctx)
			if errors.Is(err, errGone) {
				return
			}
			if err != nil {
				failed <- err
				return
			}
		}
	})
	// The moment is counted in acknowledged pushes and not in time alone, so
	// that a slow machine sees as many of them.
	for range 1 + c.rng.IntN(40) {
		select {
		case <-c.acked:
		case err := <-failed:
			return err
		case <-time.After(daemontest.Patience):
			return errors.New("no push was answered for too long")
		}
	}
	moment := time.NewTimer(time.Duration(c.rng.IntN(5000)) * time.Microsecond)
	<-moment.C
	s.Kill()
	load.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// stillborn kills a server that has not yet come up.
func (c *crash) stillborn() error {
	cmd := exec.Command(daemontest.Program(c.t), append([]string{"serve", "--data", c.opt.Data, "--listen", "127.0.0.1:0"}, c.opt.Flags...)...)
	cmd.Env = append(os.Environ(), c.opt.Env...)
	if err := cmd.Start(); err != nil {
		return err
	}
	moment := time.NewTimer(time.Duration(c.rng.IntN(200)) * time.Millisecond)
	<-moment.C
	err := cmd.Process.Kill()
	_ = cmd.Wait()
	return err
}

// look compares what is served with what was acknowledged. Of what an earlier
// look saw already, it takes a sample.
func (c *crash) look(sample int) error {
	ctx := c.t.Context()
	if _, err := c.ob.consistent(ctx); err != nil {
		return err
	}
	leaves, err := c.ob.releases(ctx)
	if err != nil {
		return err
	}
	index, err := c.ob.index(ctx, c.project)
	if err != nil {
		return err
	}
	present := 0
	for _, e := range c.entries {
		leaf, logged := leaves[e.String()]
		if e.fate == unknown {
			e.fate = missing
			if logged {
				e.fate = there
			}
		}
		if logged != (e.fate == there) || logged && leaf.Archive != e.digest() {
			return fmt.Errorf("%s (%s): in the log as %q, acknowledged %v", e, e.digest(), leaf.Archive, e.fate == there)
		}
		if logged {
			present++
		}
		if e.tested && c.rng.IntN(len(c.entries)) >= sample {
			continue
		}
		if err := c.one(ctx, e, index); err != nil {
			return err
		}
		e.tested = true
	}
	if len(leaves) != present {
		return fmt.Errorf("%d releases in the log, %d were offered and are there", len(leaves), present)
	}
	listed := 0
	for _, e := range c.entries {
		if _, ok := index[e.chart+"@"+e.version]; ok {
			listed++
		}
	}
	if listed != len(index) {
		return fmt.Errorf("%d entries in the index, %d of them were ever offered", len(index), listed)
	}
	return nil
}

// one looks at one release.
func (c *crash) one(ctx context.Context, e *entry, index map[string]string) error {
	if e.fate == missing {
		if _, listed := index[e.chart+"@"+e.version]; listed {
			return fmt.Errorf("%s: half there: in the index alone", e)
		}
		return c.ob.absent(ctx, &e.offer)
	}
	if err := c.ob.whole(ctx, &e.offer); err != nil {
		return err
	}
	a := c.ob.get(ctx, "/api/v1/projects/"+e.project+"/-/charts/"+e.chart+"/releases/"+e.version)
	var detail struct{ State string }
	if !a.accepted() || json.Unmarshal([]byte(a.text), &detail) != nil {
		return fmt.Errorf("%s: %s", e, &a)
	}
	yanked := detail.State == "yanked"
	if e.yank == there && !yanked {
		return fmt.Errorf("%s: its yank was acknowledged, and it is %s", e, detail.State)
	}
	if got := index[e.chart+"@"+e.version]; yanked != (got == "") || got != "" && got != e.digest() {
		return fmt.Errorf("%s (%s, %s): in the index as %q", e, e.digest(), detail.State, got)
	}
	return nil
}

func (c *crash) rounds(rounds int) {
	c.t.Helper()
	begun := time.Now()
	for n := range rounds {
		var err error
		if n%8 == 7 {
			err = c.stillborn()
		} else {
			err = c.round()
		}
		if err != nil {
			c.t.Fatalf("round %d: %v", n, err)
		}
	}
	s := daemontest.Start(c.t, c.opt)
	c.ob.on(publisherOf(s))
	if err := c.look(len(c.entries)); err != nil {
		c.t.Fatal(err)
	}
	sure, lost := 0, 0
	for _, e := range c.entries {
		if e.fate == there {
			sure++
		} else {
			lost++
		}
	}
	c.t.Logf("%d kills in %s: %d releases there, %d offered and not taken, %d checkpoints kept", rounds, time.Since(begun).Round(time.Millisecond), sure, lost, len(c.ob.seen))
}

// TestCrash kills the server at random moments under load: what was
// acknowledged stays, what was not is there whole or not at all, and the log
// continues every checkpoint that anybody saw.
func TestCrash(t *testing.T) {
	newCrash(t, daemontest.Options{Data: t.TempDir()}).rounds(shorter(50, 10))
}

// TestCrashPostgres is TestCrash of a server whose database is elsewhere.
func TestCrashPostgres(t *testing.T) {
	newCrash(t, daemontest.Options{Data: t.TempDir(), Env: []string{"CHARTKEEP_DATABASE=" + pgtest.New(t)}}).rounds(shorter(16, 4))
}
