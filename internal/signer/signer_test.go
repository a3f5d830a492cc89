package signer_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	remotesigner "github.com/chartkeep/chartkeep/internal/remote/signer"
	"github.com/chartkeep/chartkeep/internal/signer"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

const origin = "log.example.test/charts"

// tree is a log whose heads are to be signed. Leaves of another branch make
// another history.
type tree struct {
	t      testing.TB
	hashes []tlog.Hash
}

func newTree(t testing.TB, branch string, size int) *tree {
	l := &tree{t: t}
	for i := range size {
		l.hashes = append(l.hashes, tlog.LeafHash(fmt.Appendf(nil, "%s %d", branch, i)))
	}
	return l
}

// fork is the first leaves of a tree, and others behind them.
func (l *tree) fork(at int, branch string) *tree {
	o := newTree(l.t, branch, len(l.hashes))
	copy(o.hashes, l.hashes[:at])
	return o
}

func (l *tree) edge(size int64) *tlog.Edge {
	l.t.Helper()
	if size > 256 {
		l.t.Fatal("the trees of these tests have one tile")
	}
	levels := [][]tlog.Hash{}
	if size > 0 {
		levels = append(levels, l.hashes[:size])
	}
	e, err := tlog.NewEdge(size, levels)
	if err != nil {
		l.t.Fatal(err)
	}
	return e
}

func (l *tree) request(old, size int64) tlog.WitnessRequest {
	l.t.Helper()
	e := l.edge(size)
	proof, err := tlog.ConsistencyProof(min(old, size), size, e, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	text, err := tlog.HeadText(origin, size, e.Root())
	if err != nil {
		l.t.Fatal(err)
	}
	return tlog.WitnessRequest{Old: old, Proof: proof, Checkpoint: text}
}

func initialise(t testing.TB, from signer.Source) (string, signer.Made) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "s")
	made, err := signer.Init(dir, origin, from)
	if err != nil {
		t.Fatal(err)
	}
	return dir, made
}

func open(t testing.TB, dir string) *signer.Signer {
	t.Helper()
	s, err := signer.Open(signer.Config{Folder: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// opened checks that a checkpoint is signed by a key and is of a tree.
func opened(t testing.TB, text []byte, vkey string, l *tree, size int64) {
	t.Helper()
	v, err := tlog.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := tlog.OpenCheckpoint(text, origin, note.VerifierList(v))
	if err != nil || cp.Size != size || cp.Root != l.edge(size).Root() {
		t.Fatalf("signed was %+v, %v", cp, err)
	}
}

func post(h http.Handler, secret, path string, body []byte) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+secret)
	h.ServeHTTP(rec, req)
	return rec
}

func secretOf(t testing.TB, made signer.Made) string {
	t.Helper()
	secret, err := signer.ReadSecret(made.Secret)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// TestRule is the rule of what is signed, in the order of the steps: each sees
// what those before have left.
func TestRule(t *testing.T) {
	dir, made := initialise(t, signer.Source{})
	s := open(t, dir)
	secret := secretOf(t, made)
	l := newTree(t, "own", 200)
	fork := l.fork(3, "other")
	other := l.request(0, 5)
	other.Checkpoint = bytes.Replace(other.Checkpoint, []byte(origin), []byte("log.example.test/else"), 1)
	broken := l.request(5, 9)
	broken.Proof[0][0] ^= 1
	for i, step := range []struct {
		name   string
		body   []byte
		status int
		size   int64 // of the state after it, -1 for none
	}{
		{"nothing", nil, 400, -1},
		{"no head", []byte("old 0\n\nhello\n"), 400, -1},
		{"too large", []byte("old 0\n\n" + strings.Repeat("x", signer.MaxRequest)), 413, -1},
		{"another log", other.Marshal(), 403, -1},
		{"old over size", l.request(6, 5).Marshal(), 400, -1},
		{"an old size that is not there", l.request(2, 5).Marshal(), 409, -1},
		{"the empty log", l.request(0, 0).Marshal(), 200, 0},
		{"the first", l.request(0, 5).Marshal(), 200, 5},
		{"the same again", l.request(0, 5).Marshal(), 200, 5},
		{"the same, another old", l.request(5, 5).Marshal(), 200, 5},
		{"smaller", l.request(0, 4).Marshal(), 409, 5},
		{"the empty log again", l.request(0, 0).Marshal(), 409, 5},
		{"the same size with another root", fork.request(5, 5).Marshal(), 422, 5},
		{"the same size with another root, from an old one", fork.request(3, 5).Marshal(), 409, 5},
		{"a fork that is larger", fork.request(5, 9).Marshal(), 422, 5},
		{"a fork from where both agree", fork.request(3, 9).Marshal(), 409, 5},
		{"a broken proof", broken.Marshal(), 422, 5},
		{"larger", l.request(5, 9).Marshal(), 200, 9},
		{"larger by many", l.request(9, 200).Marshal(), 200, 200},
	} {
		rec := post(s, secret, "/sign-head", step.body)
		if rec.Code != step.status {
			t.Fatalf("step %d, %s: status %d: %s", i, step.name, rec.Code, rec.Body)
		}
		if got := s.Size(); got != step.size {
			t.Fatalf("step %d, %s: %d leaves are signed, want %d", i, step.name, got, step.size)
		}
		if rec.Code == http.StatusConflict {
			if size, err := tlog.ParseWitnessSize(rec.Body.Bytes()); err != nil || size != max(step.size, 0) {
				t.Errorf("step %d: it says that it knows %d leaves, %v", i, size, err)
			}
		}
		if rec.Code == http.StatusOK {
			opened(t, rec.Body.Bytes(), made.Key, l, step.size)
		}
	}
	first := post(s, secret, "/sign-head", l.request(0, 200).Marshal()).Body.String()
	s.Close()
	s = open(t, dir) // and after a restart
	if again := post(s, secret, "/sign-head", l.request(0, 200).Marshal()).Body.String(); again != first || s.Size() != 200 {
		t.Errorf("after a restart the same head is signed as %q, before as %q", again, first)
	}
}

func TestSecret(t *testing.T) {
	dir, made := initialise(t, signer.Source{})
	s := open(t, dir)
	secret := secretOf(t, made)
	body := newTree(t, "own", 5).request(0, 5).Marshal()
	for _, given := range []string{"", "wrong", secret[:len(secret)-1], secret + "x"} {
		if rec := post(s, given, "/sign-head", body); rec.Code != http.StatusUnauthorized {
			t.Errorf("secret %q: status %d", given, rec.Code)
		}
	}
	if s.Size() != -1 {
		t.Error("something was signed for somebody without the secret")
	}
	if info, err := os.Stat(made.Secret); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secret's file: %v, %v", info.Mode(), err)
	}
	for name, text := range map[string]string{"short": "abc\n", "two lines": strings.Repeat("a", 20) + "\n" + strings.Repeat("b", 20), "long": strings.Repeat("a", 300)} {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := signer.ReadSecret(path); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRace asks for two histories at once: one of them is signed at every size.
func TestRace(t *testing.T) {
	dir, _ := initialise(t, signer.Source{})
	s := open(t, dir)
	a := newTree(t, "a", 40)
	b := a.fork(1, "b")
	if _, err := s.Sign(t.Context(), a.request(0, 1).Marshal()); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	signed := map[int64]map[string]bool{}
	var wg sync.WaitGroup
	for _, l := range []*tree{a, b, a, b} {
		wg.Go(func() {
			for size := int64(2); size <= 40; size++ {
				text, err := s.Sign(context.Background(), l.request(size-1, size).Marshal())
				if err != nil {
					continue
				}
				cp, err := tlog.ParseCheckpoint(text)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if signed[cp.Size] == nil {
					signed[cp.Size] = map[string]bool{}
				}
				signed[cp.Size][cp.Root.String()] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	histories := map[string]bool{}
	for size, roots := range signed {
		if len(roots) != 1 {
			t.Errorf("%d histories of %d leaves were signed", len(roots), size)
		}
		histories[fmt.Sprint(roots[a.edge(size).Root().String()])] = true
	}
	if len(histories) != 1 {
		t.Error("leaves of both histories were signed")
	}
}

// TestState: a state that cannot be written lets no signature out, and one that
// is lost, damaged or of another key is not begun anew.
func TestState(t *testing.T) {
	dir, made := initialise(t, signer.Source{})
	s := open(t, dir)
	l := newTree(t, "own", 9)
	if _, err := s.Sign(t.Context(), l.request(0, 5).Marshal()); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(dir, "state")
	good, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	// A folder in its place cannot be renamed onto.
	if err := errors.Join(os.Remove(state), os.MkdirAll(filepath.Join(state, "x"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if rec := post(s, secretOf(t, made), "/sign-head", l.request(5, 9).Marshal()); rec.Code != http.StatusServiceUnavailable || strings.Contains(rec.Body.String(), "—") {
		t.Errorf("without a state: status %d: %s", rec.Code, rec.Body)
	}
	if s.Size() != 5 {
		t.Errorf("%d leaves are signed", s.Size())
	}
	s.Close()
	if err := os.RemoveAll(state); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text, rule string
	}{
		{"lost", "", "signer-state-lost"},
		{"empty", " ", "signer-state"},
		{"cut", string(good[:len(good)/2]), "signer-state"},
		{"changed", strings.Replace(string(good), "\n5\n", "\n4\n", 1), "signer-state"},
		{"of another log", strings.ReplaceAll(string(good), origin, "log.example.test/else"), "signer-state"},
		{"unsigned", "chartkeep/signer-state/v1\norigin " + origin + "\n\n" + string(l.request(0, 5).Checkpoint), "signer-state"},
		{"whole", string(good), ""},
	} {
		if c.text != "" {
			if err := os.WriteFile(state, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, err := signer.Open(signer.Config{Folder: dir})
		if p, ok := problem.As(err); c.rule != "" && (!ok || p.Rule != c.rule) || c.rule == "" && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil {
			s.Close()
		}
	}
}

func TestFolder(t *testing.T) {
	dir, _ := initialise(t, signer.Source{})
	s := open(t, dir)
	for name, f := range map[string]func() error{
		"a second one": func() error { _, err := signer.Open(signer.Config{Folder: dir}); return err },
		"rotation":     func() error { _, err := signer.Rotate(dir, signer.Source{}, 0, time.Now()); return err },
	} {
		if p, ok := problem.As(f()); !ok || p.Rule != "signer-locked" {
			t.Errorf("%s beside a running one: %v", name, p)
		}
	}
	if _, err := signer.Init(dir, origin, signer.Source{}); problem.KindOf(err) != problem.Conflict {
		t.Errorf("a second init: %v", err)
	}
	s.Close()
	if err := os.Remove(filepath.Join(dir, "keys.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := signer.Init(dir, origin, signer.Source{}); err == nil || !strings.Contains(err.Error(), "not its keys") {
		t.Errorf("init where the keys were lost: %v", err)
	}
	if _, err := signer.Open(signer.Config{Folder: t.TempDir()}); problem.KindOf(err) != problem.NotFound {
		t.Errorf("a folder of something else: %v", err)
	}
	for _, bad := range []string{"", "{", `{"origin":"a","keys":[]}`, `{"origin":"a","keys":[{"verifier":"a+x","private":"y"}]}`} {
		if err := os.WriteFile(filepath.Join(dir, "keys.json"), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := signer.Open(signer.Config{Folder: dir}); problem.KindOf(err) != problem.Unavailable {
			t.Errorf("keys %q: %v", bad, err)
		}
	}
}

// TestImport: a key that has signed before goes on from its newest checkpoint.
func TestImport(t *testing.T) {
	skey, vkey, err := tlog.GenerateKey(zeros{}, origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := tlog.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	l := newTree(t, "own", 9)
	cp, err := tlog.SignCheckpoint(origin, 5, l.edge(5).Root(), s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signer.Init(t.TempDir(), "", signer.Source{Private: skey}); problem.KindOf(err) != problem.Invalid {
		t.Errorf("a key without its checkpoint: %v", err)
	}
	if _, err := signer.Init(t.TempDir(), "log.example.test/else", signer.Source{Private: skey, Checkpoint: cp}); problem.KindOf(err) != problem.Conflict {
		t.Errorf("a key of another log: %v", err)
	}
	forged := bytes.Replace(cp, []byte("\n5\n"), []byte("\n1\n"), 1)
	if _, err := signer.Init(t.TempDir(), "", signer.Source{Private: skey, Checkpoint: forged}); problem.KindOf(err) != problem.Disproven {
		t.Errorf("a forged checkpoint: %v", err)
	}
	dir, made := initialise(t, signer.Source{Private: skey, Checkpoint: cp})
	if made.Key != vkey || made.Size != 5 {
		t.Errorf("made %+v", made)
	}
	in := open(t, dir)
	if _, err := in.Sign(t.Context(), l.fork(3, "other").request(5, 9).Marshal()); err == nil {
		t.Error("a fork of what the key signed elsewhere was signed")
	}
	text, err := in.Sign(t.Context(), l.request(5, 9).Marshal())
	if err != nil {
		t.Fatal(err)
	}
	opened(t, text, vkey, l, 9)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestRotate: both keys sign until the old one ends, and the memory stays.
func TestRotate(t *testing.T) {
	dir, made := initialise(t, signer.Source{})
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	l := newTree(t, "own", 40)
	at := func(now time.Time, old, size int64) []byte {
		t.Helper()
		s, err := signer.Open(signer.Config{Folder: dir, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		text, err := s.Sign(t.Context(), l.request(old, size).Marshal())
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	at(now, 0, 5)
	second, err := signer.Rotate(dir, signer.Source{}, time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	if second.Old != made.Key || second.Key == made.Key || !second.Until.Equal(now.Add(time.Hour)) {
		t.Errorf("rotated %+v", second)
	}
	if _, err := signer.Rotate(dir, signer.Source{}, time.Hour, now.Add(time.Minute)); problem.KindOf(err) != problem.Conflict {
		t.Errorf("a second rotation in the overlap: %v", err)
	}
	both := at(now.Add(time.Minute), 5, 9)
	opened(t, both, made.Key, l, 9)
	opened(t, both, second.Key, l, 9)
	after := at(now.Add(time.Hour), 9, 12)
	opened(t, after, second.Key, l, 12)
	if strings.Count(string(after), "—") != 1 {
		t.Errorf("the old key has not ended:\n%s", after)
	}
	third, err := signer.Rotate(dir, signer.Source{}, 0, now.Add(2*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signer.Rotate(dir, signer.Source{}, 0, now.Add(2*time.Hour)); problem.KindOf(err) != problem.Conflict {
		t.Errorf("a key that has signed nothing was followed: %v", err)
	}
	opened(t, at(now.Add(3*time.Hour), 12, 13), third.Key, l, 13)
	if _, err := signer.Rotate(dir, signer.Source{}, 2*signer.MaxOverlap, now); problem.KindOf(err) != problem.Invalid {
		t.Errorf("an endless overlap: %v", err)
	}
}

// TestClient speaks to a signer over a socket and over TCP.
func TestClient(t *testing.T) {
	dir, made := initialise(t, signer.Source{})
	secret := secretOf(t, made)
	ctx, stop := context.WithCancel(t.Context())
	socket := filepath.Join(dir, "signer.sock")
	ended := make(chan error, 1)
	started, out := io.Pipe()
	go func() { ended <- signer.Serve(ctx, signer.Config{Folder: dir}, signer.Address{}, out) }()
	if _, err := io.ReadFull(started, make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, started)
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	l := newTree(t, "own", 9)
	c, err := remotesigner.New(nil, "unix://"+socket, secret)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	speaks(t, c, made.Key, l)

	wrong, err := remotesigner.New(nil, "unix://"+socket, "another secret of length")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wrong.Newest(ctx); problem.KindOf(err) != problem.Unavailable || !strings.Contains(err.Error(), "secret") {
		t.Errorf("a wrong secret: %v", err)
	}

	dir2, made2 := initialise(t, signer.Source{})
	srv := httptest.NewServer(open(t, dir2))
	defer srv.Close()
	tcp, err := remotesigner.New(remote.New(remote.Config{}), srv.URL, secretOf(t, made2))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tcp.SignHead(ctx, l.request(0, 1)); problem.KindOf(err) != problem.Denied {
		t.Errorf("an address that is not allowed: %v", err)
	}
	tcp, err = remotesigner.New(remote.New(remote.Config{AllowNetworks: loopback}), srv.URL, secretOf(t, made2))
	if err != nil {
		t.Fatal(err)
	}
	speaks(t, tcp, made2.Key, l)
	for _, bad := range []string{"", "signer", "http://signer.example.test", "https://u:p@signer.example.test", "https://signer.example.test/x", "unix://relative/path", "unix://", "ftp://a", "https://a?b"} {
		if _, err := remotesigner.New(nil, bad, secret); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
	c.Close()
	gone, err := remotesigner.New(nil, "unix://"+filepath.Join(t.TempDir(), "none"), secret)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gone.Newest(ctx); problem.KindOf(err) != problem.Unavailable {
		t.Errorf("nobody: %v", err)
	}
}

func speaks(t *testing.T, c *remotesigner.Client, vkey string, l *tree) {
	t.Helper()
	ctx := t.Context()
	if _, err := c.Newest(ctx); problem.KindOf(err) != problem.NotFound {
		t.Errorf("before anything was signed: %v", err)
	}
	text, err := c.SignHead(ctx, l.request(0, 5))
	if err != nil {
		t.Fatal(err)
	}
	opened(t, text, vkey, l, 5)
	if newest, err := c.Newest(ctx); err != nil || string(newest) != string(text) {
		t.Errorf("the newest is %q, %v", newest, err)
	}
	_, err = c.SignHead(ctx, l.request(2, 9))
	if size, ok := errors.AsType[*tlog.SignedSize](err); !ok || size.Size != 5 {
		t.Errorf("an old size: %v", err)
	}
	if _, err = c.SignHead(ctx, l.fork(2, "other").request(5, 9)); problem.KindOf(err) != problem.Disproven {
		t.Errorf("a fork: %v", err)
	}
}

func FuzzSign(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "s")
	if _, err := signer.Init(dir, origin, signer.Source{}); err != nil {
		f.Fatal(err)
	}
	s := open(f, dir)
	l := newTree(f, "own", 9)
	for _, r := range []tlog.WitnessRequest{l.request(0, 0), l.request(0, 5), l.request(5, 9), l.fork(3, "other").request(5, 9)} {
		f.Add(r.Marshal())
	}
	f.Add([]byte("old 0\n\n"))
	signed := map[int64]tlog.Hash{}
	f.Fuzz(func(t *testing.T, body []byte) {
		text, err := s.Sign(t.Context(), body)
		if err != nil {
			return
		}
		cp, err := tlog.ParseCheckpoint(text)
		if err != nil {
			t.Fatal(err)
		}
		if root, ok := signed[cp.Size]; ok && root != cp.Root {
			t.Errorf("two histories of %d leaves", cp.Size)
		}
		signed[cp.Size] = cp.Root
	})
}

func FuzzParsePublicKey(f *testing.F) {
	pub := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	f.Add([]byte(pub))
	f.Add(append([]byte{4, 32}, pub...))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if key, err := signer.ParsePublicKey(b); err == nil && len(key) != ed25519.PublicKeySize {
			t.Errorf("a key of %d bytes", len(key))
		}
	})
}
