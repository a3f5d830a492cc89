package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/problem"
	remotesigner "github.com/chartkeep/chartkeep/internal/remote/signer"
	"github.com/chartkeep/chartkeep/internal/signer"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// signerAt serves a signer on a socket until stop is called.
func signerAt(t *testing.T, dir string) (url string, stop func()) {
	t.Helper()
	s, err := signer.Open(signer.Config{Folder: dir})
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "sock")
	os.Remove(socket)
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: s}
	go srv.Serve(ln)
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			srv.Close()
			s.Close()
		}
	}
	t.Cleanup(stop)
	return "unix://" + socket, stop
}

// moved moves the key of a stopped server into a signer, and gives the
// configuration that goes with it. The folder's path is short: that of a socket
// has at most some 100 bytes.
func moved(t *testing.T, cfg Config) (Config, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sgn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	from, err := SignerSource(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	made, err := signer.Init(dir, "", from)
	if err != nil {
		t.Fatal(err)
	}
	cfg.LogSigner, cfg.LogSignerSecret = "unix://"+filepath.Join(dir, "sock"), made.Secret
	return cfg, dir
}

// movedAway is a server with the project demo whose key is in a signer, which
// answers, and nowhere else.
func movedAway(t *testing.T) Config {
	t.Helper()
	cfg := Default()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	d, stop := run(t, cfg)
	created(t, d, "demo")
	stop()
	cfg, dir := moved(t, cfg)
	signerAt(t, dir)
	if err := os.Remove(filepath.Join(cfg.Data, fileLogKey)); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestLogSigner moves the key of a server that has run into a signer. The server
// goes on as the same one, without the key; it says what is wrong while the
// signer is away, and finishes what was left when it is back.
func TestLogSigner(t *testing.T) {
	cfg := Default()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	d, stop := run(t, cfg)
	created(t, d, "demo")
	before := d.keys
	stop()
	cfg, dir := moved(t, cfg)
	_, away := signerAt(t, dir)

	if _, err := Open(t.Context(), cfg, os.Stderr); problem.KindOf(err) != problem.Unavailable || !strings.Contains(err.Error(), "private key") {
		t.Errorf("with the key still in the data folder: %v", err)
	}
	if err := os.Remove(filepath.Join(cfg.Data, fileLogKey)); err != nil {
		t.Fatal(err)
	}
	d, stop = run(t, cfg)
	if d.keys.verifier != before.verifier || d.keys.auditVerifier != before.auditVerifier || string(d.keys.secret) != string(before.secret) || d.keys.release != nil {
		t.Error("it is not the same server, or it has the key")
	}
	pushed(t, d, "web", "1.0.0")
	away()
	if code, body := request(t, d, "POST", "/api/v1/projects", []byte(`{"name":"two","public":true}`), "Content-Type", "application/json"); code != 503 || !strings.Contains(body, sqlstore.RuleSigner) {
		t.Errorf("without the signer: %d %s", code, body)
	}
	if code, _ := request(t, d, "GET", "/demo/charts/web-1.0.0.tgz", nil); code != 200 {
		t.Errorf("a pull without the signer: %d", code)
	}
	stop()
	for _, f := range Doctor(t.Context(), cfg) {
		if f.Name == "log signer" && f.Result != "fail" || f.Name == "transparency log" && f.Result != "ok" {
			t.Errorf("doctor says %+v", f)
		}
	}
	if _, err := Fsck(t.Context(), cfg, FsckOptions{}); err != nil {
		t.Error(err)
	}
	_, away = signerAt(t, dir)
	d, stop = run(t, cfg)
	if n, err := d.store.Unsigned(t.Context()); n != 0 || err != nil {
		t.Errorf("after the start %d leaves wait: %v", n, err)
	}
	pushed(t, d, "web", "2.0.0")
	stop()
	found := false
	for _, f := range Doctor(t.Context(), cfg) {
		found = found || f.Name == "log signer" && f.Result == "ok"
		if f.Result == "fail" {
			t.Errorf("doctor says %+v", f)
		}
	}
	if !found {
		t.Error("doctor says nothing of the signer")
	}
	if _, err := RotateKey(cfg, time.Hour, time.Now()); err == nil || !strings.Contains(err.Error(), "in its signer") {
		t.Errorf("rotated here: %v", err)
	}
	away()

	// A backup has no private key of the log, and is restored beside the signer.
	to := filepath.Join(t.TempDir(), "backup")
	b, err := Backup(t.Context(), cfg, to, true)
	if err != nil || strings.Contains(strings.Join(b.Keys, " "), fileLogKey) {
		t.Fatalf("backup with keys %v, %v", b.Keys, err)
	}
	fresh := cfg
	fresh.Data = filepath.Join(t.TempDir(), "fresh")
	if got, err := Restore(t.Context(), fresh, RestoreOptions{From: to}); err != nil || !got.HasKey {
		t.Fatalf("restored %+v, %v", got, err)
	}
	signerAt(t, dir)
	token, err := os.ReadFile(filepath.Join(cfg.Data, fileToken))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(fresh.Data, fileToken), token, 0o600); err != nil {
		t.Fatal(err)
	}
	d, _ = run(t, fresh)
	pushed(t, d, "web", "3.0.0")
}

// TestLogSignerStolen gives an intruder all that a server has: its data folder,
// its database, and the secret with which it asks the signer. What he does to
// the past is not signed.
func TestLogSignerStolen(t *testing.T) {
	cfg := movedAway(t)
	d, stop := run(t, cfg)
	pushed(t, d, "web", "1.0.0")
	stop()
	old := t.TempDir()
	copyDatabase(t, cfg.Data, old)
	d, stop = run(t, cfg)
	pushed(t, d, "web", "2.0.0")
	pushed(t, d, "web", "3.0.0")
	stop()

	// By hand, with the secret alone.
	secret, err := signer.ReadSecret(cfg.LogSignerSecret)
	if err != nil {
		t.Fatal(err)
	}
	c, err := remotesigner.New(nil, cfg.LogSigner, secret)
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.Newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	newest, err := tlog.ParseCheckpoint(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{newest.Size - 1, newest.Size, newest.Size + 1} {
		head, err := tlog.HeadText(newest.Origin, size, tlog.LeafHash([]byte("another history")))
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range []int64{0, min(size, newest.Size)} {
			if signed, err := c.SignHead(t.Context(), tlog.WitnessRequest{Old: from, Checkpoint: head}); err == nil {
				t.Fatalf("signed:\n%s", signed)
			}
		}
	}

	// By the server itself, over a database that went back. He takes away what
	// is kept beside it too.
	copyDatabase(t, old, cfg.Data)
	if err := os.RemoveAll(filepath.Join(cfg.Data, dirBlobs, "records")); err != nil {
		t.Fatal(err)
	}
	d, stop = run(t, cfg)
	if p := d.store.ReadOnly(); p == nil || !strings.Contains(p.Message, "went back behind what was signed") {
		t.Errorf("over a database that went back: %v", p)
	}
	if code, body := request(t, d, "GET", "/readyz", nil); code != 503 || !strings.Contains(body, "went back behind what was signed") {
		t.Errorf("/readyz says %d %s", code, body)
	}
	stop()
	// Nobody but the signer knows. It is noted, once however often he tries.
	want := []string{"log.rollback-detected", "behind", fmt.Sprint(newest.Size), "the signer of the log"}
	if got := notices(t, cfg.Data); len(got) != 1 || !slices.Equal([]string{string(got[0].Event), got[0].Detail["state"], got[0].Detail["signed"], got[0].Detail["known-by"]}, want) {
		t.Errorf("noted is %+v", got)
	}
	_, stop = run(t, cfg)
	stop()
	if got := notices(t, cfg.Data); len(got) != 1 {
		t.Errorf("after another start noted is %+v", got)
	}
	after, err := c.Newest(t.Context())
	if err != nil || string(after) != string(text) {
		t.Errorf("the signer signed something: %s, %v", after, err)
	}
}

// notices are those that are kept in the blob store of a data folder.
func notices(t *testing.T, data string) []custody.Notice {
	t.Helper()
	dir := filepath.Join(data, dirBlobs, "records", "notice")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var out []custody.Notice
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		n, err := custody.ParseNotice(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, n)
	}
	return out
}

// TestLogSignerTold puts back all of a server, records too, to before what its
// signer has signed since: that alone knows of it. When the server is again as
// it was, the audit log is told.
func TestLogSignerTold(t *testing.T) {
	cfg := movedAway(t)
	records := filepath.Join(cfg.Data, dirBlobs, "records")
	save := func() (put func()) {
		to := t.TempDir()
		copyDatabase(t, cfg.Data, to)
		if err := os.CopyFS(filepath.Join(to, "records"), os.DirFS(records)); err != nil {
			t.Fatal(err)
		}
		return func() {
			copyDatabase(t, to, cfg.Data)
			for _, folder := range []string{"checkpoint", "entries"} {
				at := filepath.Join(records, folder)
				if err := errors.Join(os.RemoveAll(at), os.CopyFS(at, os.DirFS(filepath.Join(to, "records", folder)))); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	before := save()
	d, stop := run(t, cfg)
	pushed(t, d, "web", "1.0.0")
	stop()
	after := save()

	before()
	d, stop = run(t, cfg)
	if d.store.ReadOnly() == nil {
		t.Fatal("it takes writes")
	}
	stop()
	if told := notices(t, cfg.Data); len(told) != 1 || told[0].Detail["known-by"] != "the signer of the log" {
		t.Fatalf("noted is %+v", told)
	}
	after()
	_, stop = run(t, cfg)
	stop() // tells what was noted
	d, _ = run(t, cfg)
	if _, body := request(t, d, "GET", "/api/v1/audit?event=log.rollback-detected", nil); strings.Count(body, `"event":"log.rollback-detected"`) != 1 || !strings.Contains(body, "the signer of the log") {
		t.Errorf("the audit log says %s", body)
	}
}

// TestLogSignerRecovered puts an old database under a server whose records are
// whole: it is read-only by the signer's word, and recovered from the records.
func TestLogSignerRecovered(t *testing.T) {
	cfg := movedAway(t)
	old := t.TempDir()
	copyDatabase(t, cfg.Data, old)
	d, stop := run(t, cfg)
	pushed(t, d, "web", "1.0.0")
	stop()
	copyDatabase(t, old, cfg.Data)
	d, stop = run(t, cfg)
	if p := d.store.ReadOnly(); p == nil || p.Rule != "read-only" {
		t.Fatalf("read-only: %v", p)
	}
	stop()
	if rep, err := Recover(t.Context(), cfg, true); err != nil || !rep.Applied || rep.Releases != 1 {
		t.Fatalf("recovered %+v, %v", rep, err)
	}
	d, _ = run(t, cfg)
	if p := d.store.ReadOnly(); p != nil {
		t.Fatal(p)
	}
	pushed(t, d, "web", "2.0.0")
	if code, _ := request(t, d, "GET", "/demo/charts/web-1.0.0.tgz", nil); code != 200 {
		t.Errorf("the recovered release: %d", code)
	}
}
