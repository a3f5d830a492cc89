package daemon

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/witness"
)

// chain is a server with the witnesses w1 and w2, of which w1 audits too.
type chain struct {
	*testing.T
	cfg    Config
	d      *Daemon
	stop   func()
	policy tlog.WitnessPolicy
	away   [2]atomic.Bool // a witness that does not answer
}

func newChain(t *testing.T) *chain {
	c := &chain{T: t, cfg: Default()}
	c.cfg.Data, c.cfg.AllowNetworks = filepath.Join(t.TempDir(), "data"), []string{"127.0.0.0/8"}
	c.d, c.stop = run(t, c.cfg)
	c.stop() // it has made the log's key
	key, err := os.ReadFile(filepath.Join(c.cfg.Data, fileVerifier))
	c.ok(err)
	text := "log " + string(key)
	for i, name := range []string{"w1", "w2"} {
		logs, err := tlog.ParseLogList([]byte("log " + strings.TrimSpace(string(key)) + " https://read.below\n"))
		c.ok(err)
		dir := t.TempDir()
		_, err = witness.Init(dir, name+".example.test", logs, i == 0)
		c.ok(err)
		w, err := witness.Open(witness.Config{Folder: dir, Logs: logs, Audit: i == 0, Entries: c.entries})
		c.ok(err)
		t.Cleanup(func() { w.Close() })
		ts := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if c.away[i].Load() {
				panic(http.ErrAbortHandler) // the connection breaks
			}
			w.ServeHTTP(rw, r)
		}))
		t.Cleanup(ts.Close)
		text += fmt.Sprintf("witness %s %s %s\n", name, w.Keys()[0], ts.URL)
		if i == 0 {
			text += fmt.Sprintf("witness w1-audit %s %s/audit\n", w.Keys()[1], ts.URL)
		}
	}
	text += "group all all w1 w1-audit w2\nquorum all\n"
	c.policy, err = tlog.ParseWitnessPolicy([]byte(text))
	c.ok(err)
	c.cfg.WitnessPolicy = filepath.Join(t.TempDir(), "policy")
	write(t, c.cfg.WitnessPolicy, text)
	return c
}

func (c *chain) ok(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// entries reads the server's log as whoever may read it.
func (c *chain) entries(_ context.Context, _ string, n int64, width int) ([][]byte, error) {
	// Not by request: the witness also reads while the server is away.
	req, err := http.NewRequest(http.MethodGet, c.d.URL()+"/log/"+tlog.EntriesPath(n, width), nil)
	if err != nil {
		return nil, err
	}
	token, err := os.ReadFile(c.d.folder.file(fileToken))
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth("any", strings.TrimSpace(string(token)))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, body)
	}
	if err != nil {
		return nil, err
	}
	return tlog.ParseEntryBundle(body)
}

func (c *chain) start(quorum string) {
	c.Helper()
	c.stop()
	c.cfg.WitnessQuorum = quorum
	c.d, c.stop = run(c.T, c.cfg)
}

func (c *chain) push(version string) {
	c.Helper()
	if code, body := request(c.T, c.d, "POST", "/api/demo/charts", charttest.Build(c.T, "web", version, nil)); code != 201 {
		c.Fatalf("push %s: %d %s", version, code, body)
	}
}

// witnessed holds a checkpoint against the policy.
func (c *chain) witnessed(text string) tlog.Witnessed {
	c.Helper()
	got, err := c.policy.Check([]byte(text), c.d.keys.origin, c.policy.LogKeys())
	if err != nil {
		c.Fatalf("%v\n%s", err, text)
	}
	return got
}

func (c *chain) published() tlog.Witnessed {
	c.Helper()
	code, body := request(c.T, c.d, "GET", "/log/checkpoint", nil)
	if code != 200 {
		if code != http.StatusServiceUnavailable || !strings.Contains(body, "have not cosigned it yet") {
			c.Fatalf("checkpoint: %d %s", code, body)
		}
		return tlog.Witnessed{}
	}
	return c.witnessed(body)
}

// proof is the checkpoint of the proof of a version.
func (c *chain) proof(version string) tlog.Witnessed {
	c.Helper()
	_, body := request(c.T, c.d, "GET", "/demo/charts/web-"+version+".tgz.tlog-proof", nil)
	p, err := tlog.ParseProof([]byte(body))
	c.ok(err)
	v, err := tlog.NewVerifier(c.d.keys.verifier)
	c.ok(err)
	_, _, err = p.Verify(c.d.keys.origin, note.VerifierList(v))
	c.ok(err)
	return c.witnessed(string(p.Checkpoint))
}

func (c *chain) size() int64 {
	c.Helper()
	info, err := c.d.service.LogInfo(c.Context())
	c.ok(err)
	return info.Size
}

// until waits for something that the server does by itself.
func (c *chain) until(what string, is func() bool) {
	c.Helper()
	for begun := time.Now(); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > 2*time.Minute {
			_, body := request(c.T, c.d, "GET", "/api/v1/log/witnesses", nil)
			c.Fatalf("never: %s\n%s", what, body)
		}
	}
}

func (c *chain) state(name string) string {
	w, err := c.d.service.Witnessing(c.Context())
	c.ok(err)
	for _, x := range w.Witnesses {
		if x.Name == name {
			return x.State
		}
	}
	return ""
}

func names(by []tlog.WitnessedBy) string {
	var out []string
	for _, c := range by {
		out = append(out, c.Name)
	}
	return strings.Join(out, " ")
}

func TestWitnessChain(t *testing.T) {
	c := newChain(t)
	c.start(quorumRequired)
	if code, body := request(t, c.d, "POST", "/api/v1/projects", []byte(`{"name":"demo","public":true}`), "Content-Type", "application/json"); code != 201 {
		t.Fatalf("create project: %d %s", code, body)
	}
	c.push("1.0.0")
	size := c.size()
	c.until("the log is cosigned by all", func() bool { w := c.published(); return w.Quorum && w.Checkpoint.Size >= size })
	if w := c.proof("1.0.0"); !w.Quorum || names(w.Cosigned) != "w1 w1-audit w2" {
		t.Errorf("the proof of a cosigned release is cosigned by %q", names(w.Cosigned))
	}

	// One of three is away: pushes go on, the published checkpoint stands.
	c.away[1].Store(true)
	before := c.published().Checkpoint.Size
	c.push("1.1.0")
	size = c.size()
	c.until("w1 cosigned what w2 did not", func() bool { return c.state("w1") == "cosigned" && c.state("w2") == "failing" })
	if w := c.published(); w.Checkpoint.Size != before || !w.Quorum {
		t.Errorf("without w2, %d leaves are published, with a quorum: %v", w.Checkpoint.Size, w.Quorum)
	}
	if w := c.proof("1.1.0"); w.Quorum || w.Checkpoint.Size < size {
		t.Errorf("the proof of what w2 has not seen: size %d, quorum %v", w.Checkpoint.Size, w.Quorum)
	}
	if w := c.proof("1.0.0"); !w.Quorum || w.Checkpoint.Size != before {
		t.Errorf("the proof of what it has seen: size %d, quorum %v", w.Checkpoint.Size, w.Quorum)
	}
	_, metrics := request(t, c.d, "GET", "/metrics", nil)
	for _, want := range []string{`chartkeep_witness_seconds_since_cosigned{witness="w2"}`, `chartkeep_witness_refusing{witness="w1-audit"} 0`, fmt.Sprintf("chartkeep_log_published_size %d", before)} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}

	// Best effort publishes it all the same, with the cosignatures that there are.
	c.start(quorumBestEffort)
	size = c.size()
	c.until("the newest checkpoint has the cosignatures of w1", func() bool {
		w := c.published()
		return w.Checkpoint.Size >= size && !w.Quorum && names(w.Cosigned) == "w1 w1-audit"
	})

	c.away[1].Store(false)
	c.start(quorumRequired)
	size = c.size()
	c.until("w2 caught up", func() bool { w := c.published(); return w.Quorum && w.Checkpoint.Size >= size })
	if w := c.proof("1.1.0"); !w.Quorum {
		t.Error("the proof of the second release has no quorum")
	}
}

// TestWitnessKnowsMore: the whole data folder is put back as it was, and nothing
// in it says so. The witnesses do, and the server writes nothing.
func TestWitnessKnowsMore(t *testing.T) {
	c := newChain(t)
	c.start(quorumBestEffort)
	if code, body := request(t, c.d, "POST", "/api/v1/projects", []byte(`{"name":"demo","public":true}`), "Content-Type", "application/json"); code != 201 {
		t.Fatalf("create project: %d %s", code, body)
	}
	c.stop()
	backup := filepath.Join(t.TempDir(), "backup")
	c.ok(os.CopyFS(backup, os.DirFS(c.cfg.Data)))
	c.start(quorumBestEffort)
	c.push("1.0.0")
	size := c.size()
	c.until("it is cosigned", func() bool { w := c.published(); return w.Quorum && w.Checkpoint.Size >= size })
	c.stop()
	c.ok(os.RemoveAll(c.cfg.Data))
	c.ok(os.CopyFS(c.cfg.Data, os.DirFS(backup)))

	c.start(quorumBestEffort)
	reason := c.d.store.ReadOnly()
	if reason == nil {
		t.Fatal("a database that the witnesses have seen newer takes writes")
	}
	if code, body := request(t, c.d, "POST", "/api/demo/charts", charttest.Build(t, "web", "1.0.0", map[string]string{"other": "history"})); code < 400 {
		t.Errorf("a push: %d %s", code, body)
	}
	if p, ok := problem.As(reason); !ok || !strings.Contains(p.Error(), "witness") {
		t.Errorf("it does not say who knows: %v", reason)
	}
}

// TestRestoreAsksWitnesses: of what was signed after the backup nothing is left
// but what the witnesses know.
func TestRestoreAsksWitnesses(t *testing.T) {
	c := newChain(t)
	c.start(quorumBestEffort)
	if code, body := request(t, c.d, "POST", "/api/v1/projects", []byte(`{"name":"demo","public":true}`), "Content-Type", "application/json"); code != 201 {
		t.Fatalf("create project: %d %s", code, body)
	}
	to := t.TempDir()
	_, err := Backup(t.Context(), c.cfg, to, true)
	c.ok(err)
	c.push("1.0.0")
	size := c.size()
	c.until("it is cosigned", func() bool { w := c.published(); return w.Quorum && w.Checkpoint.Size >= size })
	c.stop()

	again := func(behind bool) (Restored, error) {
		cfg, opt := restoring(t, to)
		cfg.AllowNetworks, cfg.WitnessPolicy, opt.Behind = c.cfg.AllowNetworks, c.cfg.WitnessPolicy, behind
		return Restore(t.Context(), cfg, opt)
	}
	_, err = again(false)
	refusedAs(t, err, problem.Conflict, "restore-behind")
	got, err := again(true)
	if err != nil || len(got.Behind) != 1 || strings.Join(got.Asked, " ") != "w1 w1-audit w2" || len(got.Silent) > 0 {
		t.Errorf("%+v, %v", got, err)
	}
	c.away[0].Store(true)
	_, err = again(false)
	refusedAs(t, err, problem.Conflict, "restore-behind") // one of them is enough
	c.away[1].Store(true)
	got, err = again(false)
	if err != nil || strings.Join(got.Silent, " ") != "w1 w1-audit w2" || len(got.Asked) > 0 {
		t.Errorf("nobody answers: %+v, %v", got, err)
	}
	c.away[0].Store(false)
	c.away[1].Store(false)
	_, err = Backup(t.Context(), c.cfg, to, true)
	c.ok(err)
	if got, err = again(false); err != nil || len(got.Behind) > 0 || len(got.Asked) != 3 {
		t.Errorf("the newest backup: %+v, %v", got, err)
	}
}

// TestWitnessDoubts: another server with the same key has gone on from a copy,
// and the witnesses have cosigned what it says. The first finds out while it
// runs.
func TestWitnessDoubts(t *testing.T) {
	c := newChain(t)
	c.start(quorumBestEffort)
	if code, body := request(t, c.d, "POST", "/api/v1/projects", []byte(`{"name":"demo","public":true}`), "Content-Type", "application/json"); code != 201 {
		t.Fatalf("create project: %d %s", code, body)
	}
	size := c.size()
	c.until("it is cosigned", func() bool { w := c.published(); return w.Quorum && w.Checkpoint.Size >= size })
	c.stop()
	twin := filepath.Join(t.TempDir(), "twin")
	c.ok(os.CopyFS(twin, os.DirFS(c.cfg.Data)))

	c.away[0].Store(true) // so that the first does not tell them what it does
	c.away[1].Store(true)
	c.start(quorumBestEffort)
	c.push("1.0.0")
	first, stopFirst := c.d, c.stop
	cfg := c.cfg
	c.cfg.Data = twin
	c.away[0].Store(false)
	c.away[1].Store(false)
	var stopSecond func()
	c.d, stopSecond = run(t, c.cfg)
	c.push("1.0.1")
	c.push("1.0.2")
	// Either the witnesses take what the twin says, and the first learns that
	// there is another history, or the other way round: one of the two stops.
	c.until("one of two histories ends", func() bool {
		return first.store.ReadOnly() != nil || c.d.store.ReadOnly() != nil
	})
	stopSecond()
	stopFirst()
	c.cfg, c.stop = cfg, func() {}
}

// TestWitnessesOfTwoKeys: while the log goes from one key to another, a policy
// that names the old one will do, and its witnesses cosign.
func TestWitnessesOfTwoKeys(t *testing.T) {
	c := newChain(t)
	c.start(quorumRequired)
	c.stop()
	_, err := RotateKey(c.cfg, time.Hour, time.Now())
	c.ok(err)
	c.start(quorumRequired)
	if code, body := request(t, c.d, "POST", "/api/v1/projects", []byte(`{"name":"demo","public":true}`), "Content-Type", "application/json"); code != 201 {
		t.Fatalf("create project: %d %s", code, body)
	}
	size := c.size()
	c.until("what both keys signed is cosigned", func() bool { w := c.published(); return w.Quorum && w.Checkpoint.Size >= size })
	if _, err := c.cfg.readPolicy("other+key"); problem.KindOf(err) != problem.Invalid {
		t.Errorf("a policy of another log: %v", err)
	}
}

func TestWitnessPolicyRefused(t *testing.T) {
	c := newChain(t)
	text, err := os.ReadFile(c.cfg.WitnessPolicy)
	c.ok(err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	bare := strings.NewReplacer(" "+c.policy.Witnesses[2].URL, "").Replace(string(text))
	_, otherLog, err := tlog.GenerateKey(strings.NewReader(strings.Repeat("x", 64)), "other.example.test/log")
	c.ok(err)
	for _, test := range []struct{ name, quorum, text, want string }{
		{"no file", quorumBestEffort, "", "cannot be read"},
		{"malformed", quorumBestEffort, "quorum nobody\n", "line 1"},
		{"another log", quorumBestEffort, "log " + otherLog + "\n" + strings.Join(lines[1:], "\n"), "is of other logs"},
		{"no URL", quorumBestEffort, "witness w2 " + c.policy.Witnesses[2].VerifierKey + "\nquorum w2\n", "has a URL"},
		{"a bad URL", quorumBestEffort, "witness w2 " + c.policy.Witnesses[2].VerifierKey + " ftp://x\nquorum w2\n", "cannot be asked"},
		{"not enough URLs", quorumRequired, bare, "are not enough"},
		{"nobody required", quorumRequired, "witness w2 " + c.policy.Witnesses[2].VerifierKey + " https://w2.example.test\nquorum none\n", "requires nobody"},
	} {
		cfg := c.cfg
		cfg.Listen, cfg.WitnessQuorum, cfg.WitnessPolicy = "127.0.0.1:0", test.quorum, filepath.Join(t.TempDir(), "policy")
		if test.text != "" {
			write(t, cfg.WitnessPolicy, test.text)
		}
		d, err := Open(t.Context(), cfg, httptest.NewRecorder())
		if err == nil {
			d.Close()
		}
		if p, ok := problem.As(err); !ok || p.Kind != problem.Invalid || !strings.Contains(p.Message, test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	// Without the quorum it may go on.
	cfg := c.cfg
	cfg.Listen = "127.0.0.1:0"
	write(t, cfg.WitnessPolicy, bare)
	d, err := Open(t.Context(), cfg, httptest.NewRecorder())
	c.ok(err)
	d.Close()
	for _, bad := range []map[string][]string{{"witness-quorum": {"all"}}, {"witness-quorum": {"required"}}} {
		if _, err := Load("", nil, bad); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
