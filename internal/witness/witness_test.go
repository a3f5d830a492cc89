package witness_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
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
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/witness"
)

func hashOf(origin string) string {
	h := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(h[:])
}

// TestAnswers has every answer of the specification, in the order of its text.
func TestAnswers(t *testing.T) {
	l, other := newTree(t, origin, 1), newTree(t, "unknown.example.com/log", 2)
	impostor := newTree(t, origin, 3).grow(10)
	w := open(t, witness.Config{Folder: initialise(t, false, l.known("")...), Logs: l.known("")})
	monitor := "/" + hashOf(origin) + "/checkpoint"
	if rec := get(w, monitor); rec.Code != http.StatusNotFound {
		t.Errorf("before the first cosignature: status %d", rec.Code)
	}
	l.grow(5)
	five := l.checkpoint()
	if c := cosigned(t, w, l, 0); !c.Time.Equal(noon) {
		t.Errorf("cosigned at %s", c.Time)
	}
	fiveAt := l.edge.Root()
	l.grow(10)
	ten := l.request(5)
	extended, err := note.Sign(&note.Note{Text: strings.SplitAfter(string(l.checkpoint()), "\n\n")[0][:len(strings.SplitAfter(string(l.checkpoint()), "\n\n")[0])-1] + "extension line\n"}, l.signer)
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func(*tlog.WitnessRequest)) []byte {
		r := tlog.WitnessRequest{Old: ten.Old, Proof: bytes32(ten.Proof), Checkpoint: bytes.Clone(ten.Checkpoint)}
		f(&r)
		return r.Marshal()
	}
	for _, test := range []struct {
		name   string
		body   []byte
		status int
		text   string
	}{
		{"no body", nil, 400, ""},
		{"no form", []byte("hello"), 400, ""},
		{"no checkpoint", []byte("old 5\n\nhello"), 400, ""},
		{"not signed", []byte("old 5\n\n" + origin + "\n5\n" + fiveAt.String() + "\n"), 400, ""},
		{"64 hashes", change(func(r *tlog.WitnessRequest) { r.Proof = make([]tlog.Hash, 64) }), 400, ""},
		{"unknown log", change(func(r *tlog.WitnessRequest) { r.Checkpoint = other.checkpoint() }), 404, ""},
		{"another key of the log's name", change(func(r *tlog.WitnessRequest) { r.Checkpoint = impostor.checkpoint() }), 403, ""},
		{"a known key whose signature does not hold", change(func(r *tlog.WitnessRequest) {
			r.Checkpoint = bytes.Replace(r.Checkpoint, []byte("\n10\n"), []byte("\n11\n"), 1)
		}), 403, ""},
		{"old size over the checkpoint's", change(func(r *tlog.WitnessRequest) { r.Old = 11 }), 400, ""},
		{"old size over it, of an unknown log", change(func(r *tlog.WitnessRequest) { r.Old, r.Checkpoint = 11, other.checkpoint() }), 404, ""},
		{"old size not the last one", change(func(r *tlog.WitnessRequest) { r.Old = 4 }), 409, "5"},
		{"old size 0 to ask for the size", change(func(r *tlog.WitnessRequest) { r.Old, r.Proof = 0, nil }), 409, "5"},
		{"a rollback", tlog.WitnessRequest{Old: 3, Checkpoint: l.signed(4, fiveAt)}.Marshal(), 409, "5"},
		{"a rollback with the true old size", tlog.WitnessRequest{Old: 5, Checkpoint: l.signed(4, fiveAt)}.Marshal(), 400, ""},
		{"no proof", change(func(r *tlog.WitnessRequest) { r.Proof = nil }), 422, ""},
		{"a proof cut short", change(func(r *tlog.WitnessRequest) { r.Proof = r.Proof[1:] }), 422, ""},
		{"a proof too long", change(func(r *tlog.WitnessRequest) { r.Proof = append(r.Proof, tlog.Hash{}) }), 422, ""},
		{"a fork", change(func(r *tlog.WitnessRequest) { r.Checkpoint = l.signed(10, fiveAt) }), 422, ""},
		{"another root of the same size", tlog.WitnessRequest{Old: 5, Checkpoint: l.signed(5, l.edge.Root())}.Marshal(), 422, ""},
		{"a proof between same sizes", tlog.WitnessRequest{Old: 5, Proof: ten.Proof[:1], Checkpoint: five}.Marshal(), 422, ""},
		{"the same again", tlog.WitnessRequest{Old: 5, Checkpoint: five}.Marshal(), 200, ""},
		{"with extension lines", change(func(r *tlog.WitnessRequest) { r.Checkpoint = extended }), 200, ""},
	} {
		rec := post(w, "/add-checkpoint", test.body)
		if rec.Code != test.status || test.text != "" && trimmed(rec) != test.text {
			t.Errorf("%s: status %d, want %d: %s", test.name, rec.Code, test.status, rec.Body)
		}
		if want := map[bool]string{true: "text/x.tlog.size", false: "text/plain; charset=utf-8"}[test.status == 409]; rec.Header().Get("Content-Type") != want {
			t.Errorf("%s: content type %s", test.name, rec.Header().Get("Content-Type"))
		}
		if test.status != 200 && strings.Contains(rec.Body.String(), "—") {
			t.Errorf("%s: a signature in a refusal: %s", test.name, rec.Body)
		}
	}
	rec := get(w, monitor)
	cp, err := tlog.OpenForeignCheckpoint(rec.Body.Bytes(), origin, note.VerifierList(l.known("")[0].Key, verifier(t, w.Keys()[0])))
	if err != nil || cp.Size != 10 || strings.Count(rec.Body.String(), "—") != 2 {
		t.Errorf("for monitors: %v\n%s", err, rec.Body)
	}
	for method, path := range map[string]string{"GET": "/add-checkpoint", "PUT": "/add-checkpoint", "POST": monitor} {
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, httptest.NewRequest(method, path, nil))
		if rec.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s %s: status %d", method, path, rec.Code)
		}
	}
	if rec := get(w, "/"); !strings.Contains(rec.Body.String(), w.Keys()[0]) {
		t.Errorf("for people: %s", rec.Body)
	}
}

func bytes32(in []tlog.Hash) []tlog.Hash { return append([]tlog.Hash(nil), in...) }

// TestEmptyLog: a log of size 0 has one root.
func TestEmptyLog(t *testing.T) {
	l := newTree(t, origin, 1)
	w := open(t, witness.Config{Folder: initialise(t, false, l.known("")...), Logs: l.known("")})
	if rec := post(w, "/add-checkpoint", tlog.WitnessRequest{Checkpoint: l.signed(0, tlog.LeafHash(nil))}.Marshal()); rec.Code != 422 {
		t.Errorf("another root of an empty log: status %d: %s", rec.Code, rec.Body)
	}
	if rec := post(w, "/add-checkpoint", tlog.WitnessRequest{Proof: []tlog.Hash{{}}, Checkpoint: l.checkpoint()}.Marshal()); rec.Code != 422 {
		t.Errorf("a proof from nothing: status %d: %s", rec.Code, rec.Body)
	}
	cosigned(t, w, l, 0)
	if rec := get(w, "/"+hashOf(origin)+"/checkpoint"); rec.Code != 200 || !strings.HasPrefix(rec.Body.String(), origin+"\n0\n") {
		t.Errorf("for monitors: status %d: %s", rec.Code, rec.Body)
	}
	l.grow(3)
	if rec := post(w, "/add-checkpoint", tlog.WitnessRequest{Proof: []tlog.Hash{{}}, Checkpoint: l.checkpoint()}.Marshal()); rec.Code != 422 {
		t.Errorf("a proof from nothing: status %d: %s", rec.Code, rec.Body)
	}
	cosigned(t, w, l, 0)
}

func TestBodies(t *testing.T) {
	l := newTree(t, origin, 1).grow(5)
	w := open(t, witness.Config{Folder: initialise(t, false, l.known("")...), Logs: l.known("")})
	large := append(l.request(0).Marshal(), bytes.Repeat([]byte("— x.example.com AAAAAAAA\n"), 1+tlog.MaxWitnessRequest/25)...)
	if rec := post(w, "/add-checkpoint", large); rec.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("large: status %d", rec.Code)
	}
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, httptest.NewRequest("POST", "/add-checkpoint", io.MultiReader(bytes.NewReader(l.request(0).Marshal()), brokenReader{})))
	if rec.Code != 400 {
		t.Errorf("broken off: status %d: %s", rec.Code, rec.Body)
	}
	// Signatures of others do not become ours to pass on.
	stranger := newTree(t, "stranger.example.com", 7)
	r := l.request(0)
	r.Checkpoint = l.checkpoint(stranger.signer)
	cosignedBy(t, post(w, "/add-checkpoint", r.Marshal()), r, w.Keys()[0])
	if rec := get(w, "/"+hashOf(origin)+"/checkpoint"); strings.Contains(rec.Body.String(), "stranger") {
		t.Errorf("for monitors:\n%s", rec.Body)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

// TestTwoKeys: a log that changes its key is known by both for a time.
func TestTwoKeys(t *testing.T) {
	old, next := newTree(t, origin, 1).grow(5), newTree(t, origin, 2).grow(9)
	both := append(old.known(""), next.known("")...)
	dir := initialise(t, false, both...)
	w := open(t, witness.Config{Folder: dir, Logs: both})
	cosigned(t, w, old, 0)
	cosigned(t, w, next, 5)
	w.Close()
	// The old key is gone; the state that it signed is not.
	w = open(t, witness.Config{Folder: dir, Logs: next.known("")})
	conflict(t, w, next.request(0).Marshal(), 9)
	if rec := post(w, "/add-checkpoint", old.grow(10).request(9).Marshal()); rec.Code != 403 {
		t.Errorf("the old key: status %d", rec.Code)
	}
}

// TestState: what was cosigned is known after every kind of end.
func TestState(t *testing.T) {
	l := newTree(t, origin, 1).grow(5)
	dir := initialise(t, false, l.known("")...)
	cfg := witness.Config{Folder: dir, Logs: l.known("")}
	w := open(t, cfg)
	cosigned(t, w, l, 0)
	if _, err := witness.Open(cfg); rule(err) != "witness-locked" {
		t.Errorf("a second witness on one folder: %v", err)
	}
	w.Close()
	if made, err := witness.Init(dir, "", l.known(""), false); err != nil || len(made.Added) != 0 || len(made.Known) != 1 {
		t.Errorf("init again: %+v, %v", made, err)
	}
	w = open(t, cfg)
	conflict(t, w, l.grow(6).request(0).Marshal(), 5)
	w.Close()

	state := filepath.Join(dir, "witness.state", hashOf(origin))
	text, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	other := newTree(t, "other.example.com/log", 2).grow(3)
	for name, content := range map[string]string{
		"cut":         string(text[:len(text)-30]),
		"empty":       "",
		"another log": strings.ReplaceAll(string(text), origin, "other.example.com/log"),
		"other size":  strings.Replace(string(text), "\n5\n", "\n4\n", 1),
		"no witness":  string(text[:bytes.LastIndex(text, []byte("—"))]),
		"junk":        "junk",
	} {
		if err := os.WriteFile(state, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := witness.Open(cfg); rule(err) != "witness-state" {
			t.Errorf("state %s: %v", name, err)
		}
	}
	if err := os.Remove(state); err != nil {
		t.Fatal(err)
	}
	if _, err := witness.Open(cfg); rule(err) != "witness-state-lost" {
		t.Errorf("no state: %v", err)
	}
	if err := os.WriteFile(state, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := witness.Open(witness.Config{Folder: dir, Logs: append(l.known(""), other.known("")...)}); rule(err) != "witness-state-lost" {
		t.Errorf("a log that it was not told of: %v", err)
	}
	if made, err := witness.Init(dir, "witness.example.com/w1", append(l.known(""), other.known("")...), false); err != nil || len(made.Added) != 1 {
		t.Errorf("a new log: %+v, %v", made, err)
	}
	w = open(t, witness.Config{Folder: dir, Logs: append(l.known(""), other.known("")...)})
	cosigned(t, w, other, 0)
	cosigned(t, w, l, 5)
}

func rule(err error) string {
	if p, ok := problem.As(err); ok {
		return p.Rule
	}
	return ""
}

func TestInitRefuses(t *testing.T) {
	l := newTree(t, origin, 1)
	dir := initialise(t, false, l.known("")...)
	for name, test := range map[string]struct {
		dir, name, rule string
	}{
		"another name": {dir, "witness.example.com/w2", "witness-name"},
		"no name":      {t.TempDir(), "", "witness-name"},
		"a bad name":   {t.TempDir(), "a b", "witness-name"},
	} {
		if made, err := witness.Init(test.dir, test.name, l.known(""), false); rule(err) != test.rule {
			t.Errorf("%s: %+v, %v", name, made, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "witness.key")); err != nil {
		t.Fatal(err)
	}
	if made, err := witness.Init(dir, "witness.example.com/w1", l.known(""), false); rule(err) != "witness-key-lost" {
		t.Errorf("states without their key: %+v, %v", made, err)
	}
	if _, err := witness.Open(witness.Config{Folder: dir, Logs: l.known("")}); rule(err) != "witness-key-lost" {
		t.Errorf("open without key: %v", err)
	}
	if _, err := witness.Open(witness.Config{Folder: filepath.Join(dir, "none")}); rule(err) != "witness-folder" {
		t.Errorf("no folder: %v", err)
	}
}

// TestNothingIsGivenThatIsNotKept: when the state cannot be written, there is
// no cosignature, and the old state stands.
func TestNothingIsGivenThatIsNotKept(t *testing.T) {
	l := newTree(t, origin, 1).grow(5)
	dir := initialise(t, false, l.known("")...)
	w := open(t, witness.Config{Folder: dir, Logs: l.known("")})
	cosigned(t, w, l, 0)
	l.grow(6)
	away := filepath.Join(t.TempDir(), "away")
	if err := os.Rename(filepath.Join(dir, "witness.state"), away); err != nil {
		t.Fatal(err)
	}
	rec := post(w, "/add-checkpoint", l.request(5).Marshal())
	if rec.Code != 500 || strings.Contains(rec.Body.String(), "—") || strings.Contains(rec.Body.String(), dir) {
		t.Errorf("status %d: %s", rec.Code, rec.Body)
	}
	if rec := get(w, "/"+hashOf(origin)+"/checkpoint"); !strings.HasPrefix(rec.Body.String(), origin+"\n5\n") {
		t.Errorf("for monitors:\n%s", rec.Body)
	}
	if err := os.Rename(away, filepath.Join(dir, "witness.state")); err != nil {
		t.Fatal(err)
	}
	cosigned(t, w, l, 5)
}

// TestConcurrency: of requests that start from one size, one alone is cosigned
// for every step, and no two that are cosigned contradict each other.
func TestConcurrency(t *testing.T) {
	l, fork := newTree(t, origin, 1).grow(5), newTree(t, origin, 1).grow(5)
	w := open(t, witness.Config{Folder: initialise(t, false, l.known("")...), Logs: l.known("")})
	cosigned(t, w, l, 0)
	fork.add([]byte("another history"))
	l.grow(6)
	var mu sync.Mutex
	roots := map[string]int{}
	var wg sync.WaitGroup
	for i := range 40 {
		of := map[bool]*tree{true: l, false: fork}[i%2 == 0]
		r := of.request(5)
		wg.Go(func() {
			rec := post(w, "/add-checkpoint", r.Marshal())
			if rec.Code == 200 {
				mu.Lock()
				roots[of.edge.Root().String()]++
				mu.Unlock()
			} else if rec.Code != 409 {
				t.Errorf("status %d: %s", rec.Code, rec.Body)
			}
		})
	}
	wg.Wait()
	if len(roots) != 1 {
		t.Errorf("cosigned %d roots of one size: %v", len(roots), roots)
	}
	for _, n := range roots {
		if n != 1 {
			t.Errorf("cosigned %d times from one size", n)
		}
	}
}

// TestSeveralKeysHeldApart: a log's request never touches another log's state.
func TestTwoLogs(t *testing.T) {
	a, b := newTree(t, origin, 1).grow(5), newTree(t, "b.example.com/log", 2).grow(7)
	logs := append(a.known(""), b.known("")...)
	w := open(t, witness.Config{Folder: initialise(t, false, logs...), Logs: logs, Now: func() time.Time { return noon }})
	cosigned(t, w, a, 0)
	conflict(t, w, a.request(5-2).Marshal(), 5)
	cosigned(t, w, b, 0)
	conflict(t, w, b.request(0).Marshal(), 7)
	// A key of one log is none of another's.
	forged := newTree(t, origin, 2).grow(6)
	if rec := post(w, "/add-checkpoint", forged.request(5).Marshal()); rec.Code != 403 {
		t.Errorf("another log's key: status %d", rec.Code)
	}
}
