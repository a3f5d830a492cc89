package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// patience bounds hangs: nothing is expected to take as long.
const patience = 4 * time.Minute

// watcher is a witness or a monitor: a program that runs, and is started again
// when it is killed.
type watcher struct {
	name  string
	start func() (*child, error)

	mu  sync.Mutex
	now *child
}

// soak is a server with everybody around it.
type soak struct {
	t       *testing.T
	program string
	dir     string
	seed    uint64
	http    *http.Client

	front    *front
	opt      daemontest.Options
	database string               // the connection string of PostgreSQL, "" for SQLite
	servers  []*daemontest.Server // of one database, behind the front
	key      string               // a file with the log's key at its beginning
	logs     string               // a file with the log, for the witnesses
	policy   string               // a file with the witnesses
	press    *press

	watchers []*watcher
	fronts   map[string]*front // of the witnesses
	heads    []string          // URLs of their newest checkpoints

	tokens struct{ admin, publisher, ann, owner, manager, bob, auditor string }
	model  model
	sight  *sightings
	memory []*rememberer
	ended  chan struct{} // closed when the actors shall end
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	faults   []string
	commands map[*child]bool
	cosigned map[string]int64 // sizes that witnesses showed, by URL
	findings []string         // what the monitor said
}

// fault keeps what is wrong, and ends the run.
func (s *soak) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() == nil || len(s.faults) == 0 {
		s.faults = append(s.faults, fmt.Sprintf(format, args...))
	}
	s.cancel()
}

// must ends the test with what is wrong in its setting.
func (s *soak) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// settle repeats a request until it is answered. An error is a refusal, or the
// end of the run.
func (s *soak) settle(what string, try func(context.Context) error) error {
	end := time.Now().Add(patience)
	for n := 0; ; n++ {
		err := try(s.ctx)
		switch {
		case err == nil || !unanswered(err):
			return err
		case s.ctx.Err() != nil:
			return s.ctx.Err()
		case time.Now().After(end):
			s.fault("%s was not answered in %d attempts over %s; the last one: %v", what, n+1, patience, err)
			return err
		}
		s.model.count("attempts without an answer", 1)
		s.sleep(time.Duration(20+10*min(n, 30)) * time.Millisecond)
	}
}

// sleep waits, unless the run ends.
func (s *soak) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.ctx.Done():
	}
}

// over says whether actors shall end.
func (s *soak) over() bool {
	select {
	case <-s.ended:
		return true
	case <-s.ctx.Done():
		return true
	default:
		return false
	}
}

// as calls the management API with a token.
func (s *soak) as(token string) *client.Client {
	c, err := client.New(s.front.URL(), token, client.Options{HTTP: s.http})
	if err != nil {
		panic(err) // the address is ours
	}
	return c
}

// command runs a command of the program, which may be killed at any moment.
func (s *soak) command(dir, token string, args ...string) outcome {
	c, err := launch(s.program, dir, []string{"CHARTKEEP_SERVER=" + s.front.URL(), "CHARTKEEP_TOKEN=" + token}, nil, args...)
	if err != nil {
		s.fault("start chartkeep %s: %v", strings.Join(args, " "), err)
		return outcome{killed: true}
	}
	s.mu.Lock()
	s.commands[c] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.commands, c)
		s.mu.Unlock()
	}()
	timer := time.AfterFunc(patience, func() {
		if c.kill() {
			s.fault("chartkeep %s had not ended after %s", strings.Join(args, " "), patience)
		}
	})
	defer timer.Stop()
	o := c.outcome()
	s.model.count("commands", 1)
	return o
}

// quiet runs a command that nobody kills, and wants it to succeed.
func (s *soak) quiet(env []string, args ...string) string {
	s.t.Helper()
	c, err := launch(s.program, s.dir, env, nil, args...)
	s.must(err)
	o := c.outcome()
	if o.code != 0 {
		s.t.Fatalf("chartkeep %s: %s", strings.Join(args, " "), o)
	}
	return strings.TrimSpace(o.out)
}

// setting is how a soak is run.
type setting struct {
	program  string // "" is the one that is tested
	database string // the connection string of PostgreSQL, "" for SQLite
	servers  int
	quorum   string // witness-quorum
	seed     uint64
}

// newSoak starts the server, makes everybody's accounts, and starts whoever
// watches.
func newSoak(t *testing.T, set setting) *soak {
	s := &soak{
		t: t, program: set.program, dir: t.TempDir(), seed: set.seed, front: newFront(t), fronts: map[string]*front{}, press: newPress(t),
		http:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second}, Timeout: patience},
		model: model{counts: map[string]int{}}, commands: map[*child]bool{}, cosigned: map[string]int64{}, ended: make(chan struct{}),
	}
	if s.program == "" {
		s.program = daemontest.Program(t)
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(s.cancel)
	s.opt = daemontest.Options{
		Data:  filepath.Join(s.dir, "data"),
		Flags: []string{"--external-url", s.front.URL(), "--allow-networks", "127.0.0.0/8", "--scrub-rate", "0"},
		Prepare: func(cmd *exec.Cmd) {
			cmd.Path, cmd.Args[0] = s.program, s.program
		},
	}
	if s.database = set.database; s.database != "" {
		s.opt.Env = []string{"CHARTKEEP_DATABASE=" + set.database}
	}
	first := daemontest.Start(t, s.opt) // makes the log's key, which the witnesses need
	s.tokens.admin, s.key = first.Admin, filepath.Join(s.dir, "log.vkey")
	s.must(os.WriteFile(s.key, []byte(first.LogKey()+"\n"), 0o600))
	key, err := tlog.NewVerifier(first.LogKey())
	s.must(err)
	s.sight = &sightings{key: key, seen: map[int64]tlog.Hash{}}
	s.front.add(first.Addr)
	s.accounts()
	s.front.remove(first.Addr)
	s.must(first.Stop())
	s.witnesses()
	s.opt.Flags = append(s.opt.Flags, "--witness-policy", s.policy, "--witness-quorum", set.quorum)
	for range set.servers {
		server := daemontest.Start(t, s.opt)
		s.servers = append(s.servers, server)
		s.front.add(server.Addr)
	}
	s.monitor()
	return s
}

// accounts makes everybody's accounts and tokens, and the projects.
func (s *soak) accounts() {
	ctx, c := s.t.Context(), s.as(s.tokens.admin)
	token := func(account string, roles ...string) string {
		var grants []client.Grant
		for _, r := range roles {
			grants = append(grants, client.Grant{Role: r, Project: "*"})
		}
		if account != "" {
			for _, g := range grants {
				_, err := c.AddGrant(ctx, account, g)
				s.must(err)
			}
		}
		got, err := c.CreateToken(ctx, client.NewToken{Name: strings.Join(append(roles, "of", account), "-"), Account: account, Grants: grants, Expires: time.Now().Add(24 * time.Hour)})
		s.must(err)
		return got.Secret
	}
	for _, name := range []string{"ann", "bob"} {
		_, err := c.CreateAccount(ctx, name, "user", "")
		s.must(err)
	}
	s.tokens.publisher, s.tokens.auditor = token("", "publisher", "maintainer"), token("", "auditor")
	s.tokens.ann, s.tokens.owner, s.tokens.manager = token("ann", "maintainer"), token("ann", "project-owner"), token("ann", "release-manager")
	s.tokens.bob = token("bob", "approver")
	for _, p := range []client.NewProject{
		{Name: "demo"}, {Name: "steady", Public: true}, {Name: "old", Importing: true},
		{Name: "policy", Policy: client.Policy{WeakenDelay: "0s"}},
	} {
		_, err := c.CreateProject(ctx, p)
		s.must(err)
	}
}

// rng is a source of chance of its own for each actor, all from one seed.
func (s *soak) rng(who string) *rand.Rand {
	h := uint64(14695981039346656037)
	for _, b := range []byte(who) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return rand.New(rand.NewPCG(s.seed, h))
}

// witnesses makes and starts two witnesses, of which the second audits, and
// writes the policy that names all three keys.
func (s *soak) witnesses() {
	key := strings.TrimSpace(s.read(s.key))
	s.logs = filepath.Join(s.dir, "logs.txt")
	s.must(os.WriteFile(s.logs, []byte("log "+key+" "+s.front.URL()+"/log\n"), 0o600))
	s.must(os.WriteFile(filepath.Join(s.dir, "auditor"), []byte(s.tokens.auditor), 0o600))
	credentials := filepath.Join(s.dir, "credentials.yaml")
	s.must(os.WriteFile(credentials, []byte("credentials:\n  log: {host: '"+s.front.URL()+"', token_file: auditor}\n"), 0o600))
	origin := strings.TrimPrefix(sum([]byte(s.sight.key.Name())), "sha256:")
	policy := "log " + key + "\n"
	for i, name := range []string{"plain", "auditing"} {
		folder := filepath.Join(s.dir, name)
		init := []string{"witness", "init", "--name", "witness.example.com/" + name, "--log", s.logs, "--dir", folder}
		serve := []string{"witness", "serve", "--log", s.logs, "--dir", folder, "--listen", "127.0.0.1:0"}
		if i == 1 {
			init = append(init, "--audit")
			serve = append(serve, "--audit", "--credentials", credentials, "--allow-networks", "127.0.0.0/8")
		}
		s.quiet(nil, init...)
		f := newFront(s.t)
		s.fronts[name] = f
		policy += "witness " + name + " " + strings.TrimSpace(s.read(filepath.Join(folder, "witness.vkey"))) + " " + f.URL() + "\n"
		s.heads = append(s.heads, f.URL()+"/"+origin+"/checkpoint")
		if i == 1 {
			policy += "witness audit " + strings.TrimSpace(s.read(filepath.Join(folder, "audit.vkey"))) + " " + f.URL() + "/audit\n"
			s.heads = append(s.heads, f.URL()+"/audit/"+origin+"/checkpoint")
		}
		s.watch(&watcher{name: "witness " + name, start: func() (*child, error) { return s.serveWitness(f, serve) }})
	}
	s.policy = filepath.Join(s.dir, "policy")
	s.must(os.WriteFile(s.policy, []byte(policy+"group everybody all plain auditing audit\nquorum everybody\n"), 0o600))
}

// serveWitness starts a witness and waits until it says where it listens.
func (s *soak) serveWitness(f *front, args []string) (*child, error) {
	said := make(chan string, 100)
	c, err := launch(s.program, s.dir, nil, func(line string) {
		select {
		case said <- line:
		default:
		}
	}, args...)
	if err != nil {
		return nil, err
	}
	limit := time.After(patience)
	for {
		select {
		case line := <-said:
			if _, addr, ok := strings.Cut(line, "listens on http://"); ok {
				f.add(addr)
				go func() { <-c.ended; f.remove(addr) }()
				return c, nil
			}
		case <-c.ended:
			return nil, fmt.Errorf("the witness ended by itself: %s", c.outcome())
		case <-limit:
			c.kill()
			return nil, fmt.Errorf("the witness did not say where it listens: %s", c.outcome())
		}
	}
}

// monitor starts the monitor. Every line that it prints is a finding.
func (s *soak) monitor() {
	args := []string{"monitor", "--state", filepath.Join(s.dir, "monitor"), "--log-key", s.key, "--interval", "1s", "--archives", "new",
		"--archive-rate", "0", "--blind-after", "1h", "-o", "json"}
	s.watch(&watcher{name: "monitor", start: func() (*child, error) {
		return launch(s.program, s.dir, []string{"CHARTKEEP_SERVER=" + s.front.URL(), "CHARTKEEP_TOKEN=" + s.tokens.auditor}, func(line string) {
			s.mu.Lock()
			s.findings = append(s.findings, line)
			s.mu.Unlock()
			s.fault("the monitor says: %s", line)
		}, args...)
	}})
}

// watch starts a watcher, and ends it with the test.
func (s *soak) watch(w *watcher) {
	var err error
	w.now, err = w.start()
	s.must(err)
	s.watchers = append(s.watchers, w)
	s.t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.now.kill()
		if _, errs := w.now.text(); s.t.Failed() {
			s.t.Logf("what the %s said at the end:\n%.4000s", w.name, errs[max(0, len(errs)-4000):])
		}
	})
}

func (s *soak) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(name)
	s.must(err)
	return string(b)
}

// refusedWith says whether a request was refused by one of the rules.
func refusedWith(err error, rules ...string) bool {
	p, ok := problem.As(err)
	return ok && slices.Contains(rules, p.Rule)
}
