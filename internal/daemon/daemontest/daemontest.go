// Package daemontest runs the real program, as its users do, for tests that
// look at it from outside: real clients, races between processes, kills.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { os.Exit(daemontest.Run(m)) }
//
// The program is built once for a test binary, or taken from
// CHARTKEEP_BINARY. Servers listen on a port that the system chooses, and are
// waited for by what they say and answer, never by time alone.
package daemontest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/client"
)

// Patience is how long a server may take to start or to stop before a test
// gives up. It bounds hangs; nothing is expected to take as long.
const Patience = 60 * time.Second

// program is the one that this test binary built.
var program struct {
	once sync.Once
	dir  string
	path string
	err  error
}

// Run runs the tests of a package and removes the program that they built.
func Run(m interface{ Run() int }) int {
	defer func() {
		if program.dir != "" {
			os.RemoveAll(program.dir)
		}
	}()
	return m.Run()
}

// Program is the path of the program.
func Program(t testing.TB) string {
	t.Helper()
	program.once.Do(build)
	if program.err != nil {
		t.Fatalf("build the program: %v", program.err)
	}
	return program.path
}

func build() {
	if program.path = os.Getenv("CHARTKEEP_BINARY"); program.path != "" {
		return
	}
	root, err := Root()
	if err != nil {
		program.err = err
		return
	}
	if program.dir, program.err = os.MkdirTemp("", "chartkeep-test-"); program.err != nil {
		return
	}
	// Some tests run it as another account.
	if program.err = os.Chmod(program.dir, 0o755); program.err != nil {
		return
	}
	program.path = filepath.Join(program.dir, "chartkeep")
	cmd := exec.Command("go", "build", "-o", program.path, "./cmd/chartkeep")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		program.err = fmt.Errorf("go build ./cmd/chartkeep: %w\n%s", err, out)
	}
}

// Root is the folder of the product's source: the one of this file's module,
// found from the working folder upwards, past the modules under e2e.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(b, []byte("module github.com/chartkeep/chartkeep\n")) {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod of the product above the working folder")
		}
		dir = parent
	}
}

// Missing skips a test for want of something that a machine may not have, or
// fails it where CHARTKEEP_TEST_REQUIRE=1 says that nothing may be missing.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CHARTKEEP_TEST_REQUIRE") == "1" {
		t.Fatalf("MISSING: "+format, args...)
	}
	t.Skipf("NOT TESTED: "+format, args...)
}

// Options are how a server is started. The zero value is a server on a folder
// of its own.
type Options struct {
	Data     string   // "" is a new folder of the test
	Flags    []string // after serve --data … --listen 127.0.0.1:0
	Env      []string // beside PATH and HOME; CHARTKEEP_ of this process are not passed on
	HTTP     *http.Client
	NotReady bool // it need not be ready, as one that is read-only is not
	// Prepare may change how the process is started.
	Prepare func(*exec.Cmd)
}

// Server is a running server.
type Server struct {
	URL   string // with scheme, without a trailing slash
	Addr  string // host:port
	Data  string
	Admin string // the first token
	HTTP  *http.Client
	Took  time.Duration // from the start of the process to the first answer of /readyz

	t     testing.TB
	cmd   *exec.Cmd
	said  *transcript
	ended chan struct{} // closed when the process has ended
	err   error         // how it ended
	asked atomic.Bool   // to end
}

// Start starts a server and returns when it is ready. The test's end stops it.
func Start(t testing.TB, opt Options) *Server {
	t.Helper()
	s, err := Try(t, opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Try is Start for servers that may not come up; the error has what the
// server said.
func Try(t testing.TB, opt Options) (*Server, error) {
	t.Helper()
	if opt.Data == "" {
		opt.Data = t.TempDir()
	}
	s := &Server{Data: opt.Data, HTTP: opt.HTTP, t: t, said: &transcript{}, ended: make(chan struct{})}
	if s.HTTP == nil {
		s.HTTP = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128}}
	}
	args := append([]string{"serve", "--data", opt.Data, "--listen", "127.0.0.1:0"}, opt.Flags...)
	s.cmd = exec.Command(Program(t), args...)
	s.cmd.Env = append(environment(), opt.Env...)
	if opt.Prepare != nil {
		opt.Prepare(s.cmd)
	}
	begun := time.Now()
	address, err := s.launch()
	if err != nil {
		return nil, err
	}
	t.Cleanup(s.cleanup)
	select {
	case s.Addr = <-address:
	case <-s.ended:
		s.asked.Store(true) // its end is what is told
		return nil, fmt.Errorf("the server did not start: %w\n%s", errOr(s.err), s.said.notable())
	case <-time.After(Patience):
		s.Kill()
		return nil, fmt.Errorf("the server did not say that it serves within %s\n%s", Patience, s.said.notable())
	}
	if err := s.ready(opt.NotReady); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, s.said.notable())
	}
	s.Took = time.Since(begun)
	b, err := os.ReadFile(filepath.Join(opt.Data, "admin-token"))
	if err != nil {
		return nil, err
	}
	s.Admin = strings.TrimSpace(string(b))
	return s, nil
}

func errOr(err error) error {
	if err == nil {
		return errors.New("it ended without an error")
	}
	return err
}

// environment is that of this process without the product's own settings.
func environment() []string {
	return append(slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "CHARTKEEP_") }),
		"CHARTKEEP_LOG_FORMAT=json")
}

// launch starts the process, and reads what it says until its end.
func (s *Server) launch() (address <-chan string, err error) {
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	errs, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	started := make(chan error)
	go s.run(started)
	if err := <-started; err != nil {
		return nil, err
	}
	found := make(chan string, 1)
	var readers sync.WaitGroup
	readers.Go(func() { s.said.read(out, nil) })
	readers.Go(func() { s.said.read(errs, found) })
	go func() {
		readers.Wait() // Wait of a command closes its pipes
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	return found, nil
}

// run starts the process from a thread that lives as long as the process,
// since the kernel may end a child with the thread that started it.
func (s *Server) run(started chan<- error) {
	runtime.LockOSThread()
	dieWithParent(s.cmd)
	err := s.cmd.Start()
	started <- err
	if err == nil {
		<-s.ended
	}
}

// ready waits for the first answer of /readyz.
func (s *Server) ready(anyway bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	for _, scheme := range []string{"http", "https"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+s.Addr+"/readyz", nil)
		if err != nil {
			return err
		}
		res, err := s.HTTP.Do(req)
		if err != nil {
			return fmt.Errorf("ask whether the server is ready: %w", err)
		}
		body, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10))
		res.Body.Close()
		switch {
		case res.StatusCode == http.StatusOK, anyway && res.StatusCode == http.StatusServiceUnavailable:
			s.URL = scheme + "://" + s.Addr
			return nil
		case scheme == "http" && res.StatusCode == http.StatusBadRequest: // it speaks TLS
		default:
			return fmt.Errorf("the server is not ready: %s: %s", res.Status, body)
		}
	}
	return errors.New("the server is not ready")
}

// Client calls the management API with a token; "" is nobody's.
func (s *Server) Client(token string) *client.Client {
	s.t.Helper()
	c, err := client.New(s.URL, token, client.Options{HTTP: s.HTTP})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// LogKey is the verifier key of the log, from the server's own folder.
func (s *Server) LogKey() string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.Data, "log.vkey"))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// Kill ends the process at once, as a loss of the machine would, and returns
// when it is gone.
func (s *Server) Kill() {
	s.asked.Store(true)
	_ = s.cmd.Process.Kill()
	<-s.ended
}

// Stop asks the server to end, and returns how it did.
func (s *Server) Stop() error {
	s.asked.Store(true)
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
		return s.err
	case <-time.After(Patience):
		s.Kill()
		return fmt.Errorf("the server did not end within %s\n%s", Patience, s.said.notable())
	}
}

// Running says whether the process has not ended.
func (s *Server) Running() bool {
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// Pid is the id of the process.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Log is the newest part of what the server said.
func (s *Server) Log() string { return s.said.String() }

func (s *Server) cleanup() {
	if !s.Running() && !s.asked.Load() {
		s.t.Errorf("the server ended by itself: %v", s.err)
	}
	if s.Running() {
		if err := s.Stop(); err != nil {
			s.t.Errorf("stop the server: %v", err)
		}
	}
	for _, bad := range []string{"panic", "handler panicked", "DATA RACE"} {
		if strings.Contains(s.said.String(), bad) {
			s.t.Errorf("the server said %q", bad)
		}
	}
	if s.t.Failed() {
		s.t.Logf("what the server said, without what went well:\n%s", s.said.notable())
	}
}

// transcript keeps the newest part of what a process says.
type transcript struct {
	mu   sync.Mutex
	text []byte
}

const maxTranscript = 256 << 10

// notable is the transcript without the requests that did not fail, and
// without the audit events.
func (tr *transcript) notable() string {
	var b strings.Builder
	for line := range strings.Lines(tr.String()) {
		var said struct {
			Msg    string
			Status int
		}
		if json.Unmarshal([]byte(line), &said) != nil || said.Msg != "request" && said.Msg != "event" || said.Status >= http.StatusInternalServerError {
			b.WriteString(line)
		}
	}
	return b.String()
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return string(tr.text)
}

// read takes lines to the end. The address of the line "serving" goes to found.
func (tr *transcript) read(r io.Reader, found chan<- string) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		tr.mu.Lock()
		tr.text = append(tr.text, line...)
		if over := len(tr.text) - maxTranscript; over > 0 {
			tr.text = slices.Delete(tr.text, 0, over)
		}
		tr.mu.Unlock()
		var said struct{ Msg, Address string }
		if found != nil && json.Unmarshal(line, &said) == nil && said.Msg == "serving" {
			found <- said.Address
			found = nil
		}
		if err != nil {
			return
		}
	}
}
