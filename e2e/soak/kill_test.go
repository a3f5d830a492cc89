package soak

import (
	"database/sql"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// killer kills somebody at random moments until the time is over, and starts
// him again. At half time the log gets another key.
func (s *soak) killer(duration time.Duration) {
	rng := s.rng("killer")
	begun, rotated := time.Now(), false
	for !s.over() && time.Since(begun) < duration {
		s.sleep(time.Duration(100+rng.IntN(1400)) * time.Millisecond)
		if s.ctx.Err() != nil {
			return
		}
		if !rotated && time.Since(begun) > duration/2 {
			rotated = true
			s.rotate()
			continue
		}
		switch n := rng.IntN(10); {
		case n < 4:
			s.killServer(rng)
		case n < 7:
			s.killWatcher(s.watchers[rng.IntN(len(s.watchers))])
		default:
			s.killCommand(rng)
		}
	}
}

// killServer kills one server, or all of them, and starts it again; now and
// then that is killed as well while it comes up.
func (s *soak) killServer(rng *rand.Rand) {
	chosen := []int{rng.IntN(len(s.servers))}
	if len(s.servers) > 1 && rng.IntN(3) == 0 {
		chosen = []int{0, 1}
	}
	for _, i := range chosen {
		s.down(i)
	}
	if len(chosen) == len(s.servers) {
		s.endLeases()
	}
	if rng.IntN(4) == 0 {
		s.stillborn(time.Duration(rng.IntN(250)) * time.Millisecond)
	}
	for _, i := range chosen {
		s.up(i)
	}
}

func (s *soak) down(i int) {
	server := s.servers[i]
	if !server.Running() {
		s.fault("a server ended by itself:\n%s", server.Log())
		return
	}
	server.Kill()
	s.front.remove(server.Addr)
	s.model.count("kills: server", 1)
}

func (s *soak) up(i int) {
	if s.ctx.Err() != nil {
		return
	}
	server, err := daemontest.Try(s.t, s.opt)
	if err != nil {
		s.fault("a server does not come up after it was killed: %v", err)
		return
	}
	s.servers[i] = server
	s.front.add(server.Addr)
}

// stillborn kills a server that may not have come up yet.
func (s *soak) stillborn(after time.Duration) {
	c, err := launch(s.program, s.dir, s.opt.Env, nil, append([]string{"serve", "--data", s.opt.Data, "--listen", "127.0.0.1:0"}, s.opt.Flags...)...)
	if err != nil {
		s.fault("start a server: %v", err)
		return
	}
	s.sleep(after)
	if !c.kill() {
		s.fault("a server ended while it started: %s", c.outcome())
	}
	s.model.count("kills: server while it starts", 1)
}

// rotate gives the log another key while all servers are down.
func (s *soak) rotate() {
	for i := range s.servers {
		s.down(i)
	}
	if s.ctx.Err() != nil {
		return
	}
	c, err := launch(s.program, s.dir, s.opt.Env, nil, "log", "rotate-key", "--data", s.opt.Data, "--overlap", "24h")
	if err != nil {
		s.fault("rotate the key: %v", err)
		return
	}
	if o := c.outcome(); o.code != 0 {
		s.fault("rotate the key: %s", o)
		return
	}
	// Whoever runs the log tells its witnesses: their list and the policy get
	// the new key beside the old one.
	key, err := os.ReadFile(filepath.Join(s.opt.Data, "log.vkey"))
	s.expect(err)
	line := "log " + strings.TrimSpace(string(key))
	s.expect(os.WriteFile(s.policy, []byte(line+"\n"+s.read(s.policy)), 0o600))
	s.expect(os.WriteFile(s.logs, []byte(line+" "+s.front.URL()+"/log\n"+s.read(s.logs)), 0o600))
	s.model.count("keys of the log", 2)
	s.endLeases()
	for i := range s.servers {
		s.up(i)
	}
}

// endLeases lets the leases of processes that are dead run out at once, as they
// do within ten minutes. No server runs.
func (s *soak) endLeases() {
	driver, dsn := "sqlite", filepath.Join(s.opt.Data, "chartkeep.db")
	if s.database != "" {
		driver, dsn = "pgx", s.database
	}
	db, err := sql.Open(driver, dsn)
	s.expect(err)
	defer db.Close()
	for _, table := range []string{"scrub", "source"} {
		_, err := db.Exec("UPDATE " + table + " SET lease_end = 0 WHERE lease <> 0")
		s.expect(err)
	}
}

// calm stops all servers as an operator does, and starts them again.
func (s *soak) calm() {
	for _, server := range s.servers {
		s.front.remove(server.Addr)
		s.expect(server.Stop())
	}
	s.endLeases()
	for i := range s.servers {
		s.up(i)
	}
}

// expect takes an error of the setting for a fault.
func (s *soak) expect(err error) {
	if err != nil {
		s.fault("%v", err)
	}
}

func (s *soak) killWatcher(w *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.now.kill() {
		s.fault("the %s ended by itself: %s", w.name, w.now.outcome())
		return
	}
	s.model.count("kills: "+w.name, 1)
	next, err := w.start()
	if err != nil {
		s.fault("the %s does not come up after it was killed: %v", w.name, err)
		return
	}
	w.now = next
}

// killCommand kills one of the commands that run now.
func (s *soak) killCommand(rng *rand.Rand) {
	s.mu.Lock()
	var running []*child
	for c := range s.commands {
		running = append(running, c)
	}
	s.mu.Unlock()
	if len(running) == 0 {
		return
	}
	slices.SortFunc(running, func(a, b *child) int { return a.cmd.Process.Pid - b.cmd.Process.Pid })
	c := running[rng.IntN(len(running))]
	if c.kill() {
		s.model.count("kills: "+c.cmd.Args[1], 1)
	}
}
