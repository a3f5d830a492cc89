package faults

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
	"github.com/chartkeep/chartkeep/internal/store/storetest/pgtest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// signerMoments are the moments at which somebody dies, on the way of one
// signature. Between a commit and the request for its signature nothing is on
// the wire; between the state of the signer and its answer nothing is either. So
// the first is the request that is held, and the second the answer: whoever is
// dead by then has done nothing more.
var signerMoments = []struct {
	name           string
	atAnswer       bool // else at the request, which the signer never sees
	server, signer bool // who is killed
	deliver        bool // the answer of a signer that is dead reaches the server
}{
	{name: "server, stored and not signed", server: true},
	{name: "server, signed and not told", server: true, atAnswer: true},
	{name: "signer, asked", signer: true},
	{name: "signer, signed and not heard", signer: true, atAnswer: true},
	{name: "signer, signed and heard", signer: true, atAnswer: true, deliver: true},
	{name: "both, stored and not signed", server: true, signer: true},
	{name: "both, signed and not told", server: true, signer: true, atAnswer: true},
}

// TestSignerKilled kills server and signer with SIGKILL at these moments. No
// checkpoint that was published is lost, no size is signed with two roots, what
// was stored is in the log, and the log goes on.
func TestSignerKilled(t *testing.T) { signerKilled(t) }

// TestSignerKilledPostgres is TestSignerKilled of a server whose database is
// elsewhere.
func TestSignerKilledPostgres(t *testing.T) {
	signerKilled(t, "CHARTKEEP_DATABASE="+pgtest.New(t))
}

func signerKilled(t *testing.T, env ...string) {
	w := newSigning(t, env)
	for n, m := range signerMoments {
		d := &doors[n%len(doors)]
		o := newOffer(t, "crash", "app", fmt.Sprintf("1.0.%d", n), m.name, 0)
		t.Run(m.name, func(t *testing.T) {
			before := w.published()
			held := w.wire.hold(m.atAnswer, func() {
				if m.server {
					w.server.Kill()
				}
				if m.signer {
					w.process.kill()
				}
			}, m.deliver)
			a := d.push(t.Context(), publisherOf(w.server), &o)
			if size := <-held; size <= before.Size {
				t.Fatalf("held was a head of %d leaves, and %d were published", size, before.Size)
			}
			if a.accepted() != m.deliver {
				t.Errorf("the push was answered: %s", &a)
			}
			if !m.server { // it answers readers, and shows nothing that it has no signature of
				if cp := w.published(); cp.Size != before.Size != m.deliver {
					t.Errorf("%d leaves were published, and now %d", before.Size, cp.Size)
				}
			}
			if m.signer {
				if m.atAnswer {
					w.remembers()
				}
				w.process = w.serveSigner()
			}
			if m.server {
				w.serve()
			} else if a := d.push(t.Context(), publisherOf(w.server), &o); !a.accepted() {
				t.Fatalf("the push was repeated: %s", &a)
			}
			w.look(&o)
			next := newOffer(t, "crash", "app", fmt.Sprintf("2.0.%d", n), m.name, 0)
			if a := d.push(t.Context(), publisherOf(w.server), &next); !a.accepted() {
				t.Fatalf("the log does not go on: %s", &a)
			}
			w.look(&next)
		})
		if t.Failed() {
			return
		}
	}
	w.end()
}

// signing is a server and its signer, with the wire between them.
type signing struct {
	t       *testing.T
	opt     daemontest.Options
	folder  string // of the signer
	process *signerProcess
	wire    *wire
	server  *daemontest.Server
	ob      *observer
	offers  []*offer
}

// newSigning starts both. The folder's path is short: that of a socket has at
// most some 100 bytes.
func newSigning(t *testing.T, env []string) *signing {
	dir, err := os.MkdirTemp("", "sgn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &signing{t: t, folder: filepath.Join(dir, "signer")}
	out, err := exec.Command(daemontest.Program(t), "signer", "init", "--dir", w.folder, "--log-origin", "charts.example.com/log").CombinedOutput()
	if err != nil {
		t.Fatalf("signer init: %v: %s", err, out)
	}
	w.opt = daemontest.Options{Data: t.TempDir(), Env: env, Flags: []string{
		"--log-signer", "unix://" + filepath.Join(dir, "wire"), "--log-signer-secret", filepath.Join(w.folder, "secret"),
	}}
	key, err := os.ReadFile(filepath.Join(w.folder, "log.vkey"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.opt.Data, "log.vkey"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	w.process = w.serveSigner()
	w.wire = newWire(t, filepath.Join(dir, "wire"), filepath.Join(w.folder, "signer.sock"))
	w.server = daemontest.Start(t, w.opt)
	if w.ob, err = newObserver(publisherOf(w.server), strings.TrimSpace(string(key))); err != nil {
		t.Fatal(err)
	}
	if _, err := w.server.Client(w.server.Admin).CreateProject(t.Context(), client.NewProject{Name: "crash"}); err != nil {
		t.Fatal(err)
	}
	return w
}

// serve starts the server again.
func (w *signing) serve() {
	w.t.Helper()
	var err error
	if w.server, err = daemontest.Try(w.t, w.opt); err != nil {
		w.t.Fatal(err)
	}
	w.ob.on(publisherOf(w.server))
}

func (w *signing) published() tlog.Checkpoint {
	w.t.Helper()
	cp, err := w.ob.checkpoint(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return cp
}

// look wants a release to be there, beside all that were there before, and the
// log to continue all that was ever signed, whether anybody was shown it or not.
func (w *signing) look(o *offer) {
	w.t.Helper()
	w.offers = append(w.offers, o)
	for _, text := range w.wire.signed() {
		cp, err := tlog.OpenCheckpoint(text, w.ob.key.Name(), note.VerifierList(w.ob.key))
		if err == nil {
			err = w.ob.remember(cp)
		}
		if err != nil {
			w.t.Fatalf("the signer signed something else: %v", err)
		}
	}
	if _, err := w.ob.consistent(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	leaves, err := w.ob.releases(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if len(leaves) != len(w.offers) {
		w.t.Fatalf("%d releases are in the log, and %d were offered", len(leaves), len(w.offers))
	}
	for _, o := range w.offers {
		if err := w.ob.whole(w.t.Context(), o); err != nil {
			w.t.Fatal(err)
		}
	}
}

// remembers wants the signer that was killed to have on its disk what it answered
// last.
func (w *signing) remembers() {
	w.t.Helper()
	signed := w.wire.signed()
	state, err := os.ReadFile(filepath.Join(w.folder, "state"))
	if err != nil || !bytes.HasSuffix(state, signed[len(signed)-1]) {
		w.t.Errorf("the signer answered\n%s\nand has on its disk, %v:\n%s", signed[len(signed)-1], err, state)
	}
}

// end stops the server, and has its folder looked through.
func (w *signing) end() {
	w.t.Helper()
	if err := w.server.Stop(); err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(daemontest.Program(w.t), "fsck", "--data", w.opt.Data)
	cmd.Env = append(os.Environ(), w.opt.Env...)
	for i, flag := range w.opt.Flags {
		if i%2 == 0 {
			cmd.Env = append(cmd.Env, "CHARTKEEP_"+strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(flag, "--"), "-", "_"))+"="+w.opt.Flags[i+1])
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("fsck: %v: %s", err, out)
	}
}

// signerProcess is a signer that runs.
type signerProcess struct {
	cmd  *exec.Cmd
	once sync.Once
}

func (w *signing) serveSigner() *signerProcess {
	w.t.Helper()
	cmd := exec.Command(daemontest.Program(w.t), "signer", "serve", "--dir", w.folder)
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	p := &signerProcess{cmd: cmd}
	w.t.Cleanup(p.kill)
	stop := time.AfterFunc(daemontest.Patience, p.kill)
	defer stop.Stop()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil { // it listens by then
		w.t.Fatalf("the signer did not start: %v", err)
	}
	return p
}

// kill ends it at once and returns when it is gone.
func (p *signerProcess) kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
}

// wire is the way between a server and its signer. It carries requests and
// answers, keeps what was signed, and holds one where it is told to.
type wire struct {
	to *http.Client

	mu   sync.Mutex
	kept [][]byte
	next *holding
}

// holding is what happens to the next request for a signature.
type holding struct {
	atAnswer, deliver bool
	do                func()
	size              chan int64 // of the head that was held
}

func newWire(t *testing.T, from, to string) *wire {
	t.Helper()
	v := &wire{to: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // the one behind dies
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", to)
		},
	}}}
	ln, err := net.Listen("unix", from)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: v}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { srv.Close() })
	return v
}

// hold does something when the next request for a signature is there, or its
// answer, and tells then of how many leaves. Neither goes on, unless the answer
// is to be delivered.
func (v *wire) hold(atAnswer bool, do func(), deliver bool) <-chan int64 {
	h := &holding{atAnswer, deliver, do, make(chan int64, 1)}
	v.mu.Lock()
	v.next = h
	v.mu.Unlock()
	return h.size
}

// signed are all checkpoints that the signer has answered with.
func (v *wire) signed() [][]byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.kept
}

// ServeHTTP implements http.Handler.
func (v *wire) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	var h *holding
	if r.Method == http.MethodPost {
		v.mu.Lock()
		h, v.next = v.next, nil
		v.mu.Unlock()
	}
	if h != nil {
		asked, err := tlog.ParseWitnessRequest(body)
		var head tlog.Checkpoint
		if err == nil {
			head, err = tlog.ParseHeadText(asked.Checkpoint)
		}
		if err != nil {
			head.Size = -1
		}
		defer func() { h.size <- head.Size }()
		if !h.atAnswer {
			h.do()
			panic(http.ErrAbortHandler)
		}
	}
	// Not with the context of the request: its sender may be dead by the answer.
	req, err := http.NewRequest(r.Method, "http://signer"+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	req.Header = r.Header.Clone()
	res, err := v.to.Do(req)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if res.StatusCode == http.StatusOK {
		v.mu.Lock()
		v.kept = append(v.kept, text)
		v.mu.Unlock()
	}
	if h != nil {
		h.do()
		if !h.deliver {
			panic(http.ErrAbortHandler)
		}
	}
	rw.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	rw.WriteHeader(res.StatusCode)
	_, _ = rw.Write(text)
}
