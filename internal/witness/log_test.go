package witness_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/witness"
)

const origin = "charts.example.com/log"

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// tree is a log in memory, which signs whatever the test wants.
type tree struct {
	t       testing.TB
	signer  note.Signer
	vkey    string
	entries [][]byte
	full    map[[2]int64][]tlog.Hash // full tiles
	edge    *tlog.Edge
}

func newTree(t testing.TB, name string, seed byte) *tree {
	t.Helper()
	skey, vkey, err := tlog.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{seed}, 64)), name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := tlog.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	edge, err := tlog.NewEdge(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &tree{t: t, signer: signer, vkey: vkey, edge: edge, full: map[[2]int64][]tlog.Hash{}}
}

func (l *tree) add(entries ...[]byte) {
	for _, e := range entries {
		l.entries = append(l.entries, e)
		for _, tile := range l.edge.Append(tlog.LeafHash(e)) {
			l.full[[2]int64{int64(tile.Level), tile.N}] = tile.Hashes
		}
	}
}

// grow adds entries without meaning until the log has a size.
func (l *tree) grow(size int) *tree {
	for n := len(l.entries); n < size; n++ {
		l.add(fmt.Appendf(nil, "entry %d", n))
	}
	return l
}

// Tile implements tlog.TileSource.
func (l *tree) Tile(level int, n int64) ([]tlog.Hash, error) {
	return l.full[[2]int64{int64(level), n}], nil
}

func (l *tree) checkpoint(more ...note.Signer) []byte {
	return l.signed(l.edge.Size(), l.edge.Root(), more...)
}

func (l *tree) signed(size int64, root tlog.Hash, more ...note.Signer) []byte {
	l.t.Helper()
	text, err := tlog.SignCheckpoint(l.signer.Name(), size, root, append([]note.Signer{l.signer}, more...)...)
	if err != nil {
		l.t.Fatal(err)
	}
	return text
}

// request asks to cosign the log as it is.
func (l *tree) request(old int64) tlog.WitnessRequest {
	l.t.Helper()
	proof, err := tlog.ConsistencyProof(old, l.edge.Size(), l.edge, l)
	if err != nil {
		l.t.Fatal(err)
	}
	return tlog.WitnessRequest{Old: old, Proof: proof, Checkpoint: l.checkpoint()}
}

func (l *tree) known(url string) []tlog.PolicyLog {
	l.t.Helper()
	logs, err := tlog.ParseLogList([]byte("log " + l.vkey + " " + url + "\n"))
	if err != nil {
		l.t.Fatal(err)
	}
	return logs
}

// serves answers for the entries of the log, as witness.Config.Entries.
func (l *tree) serves(_ context.Context, _ string, n int64, width int) ([][]byte, error) {
	at := n * tlog.TileHashes
	if at+int64(width) > int64(len(l.entries)) {
		return nil, fmt.Errorf("the log has no entries up to %d", at+int64(width))
	}
	return l.entries[at : at+int64(width)], nil
}

func initialise(t testing.TB, audit bool, logs ...tlog.PolicyLog) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := witness.Init(dir, "witness.example.com/w1", logs, audit); err != nil {
		t.Fatal(err)
	}
	return dir
}

func open(t testing.TB, cfg witness.Config) *witness.Witness {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return noon }
	}
	w, err := witness.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// post sends a request body and returns the answer.
func post(h http.Handler, path string, body []byte) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body)))
	return rec
}

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
	return rec
}

// verifier reads the verifier key of a witness.
func verifier(t testing.TB, vkey string) note.Verifier {
	t.Helper()
	v, err := tlog.NewCosignatureVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// cosigned posts a request that is to be cosigned.
func cosigned(t testing.TB, w *witness.Witness, l *tree, old int64) tlog.Cosignature {
	t.Helper()
	r := l.request(old)
	return cosignedBy(t, post(w, "/add-checkpoint", r.Marshal()), r, w.Keys()[0])
}

func cosignedBy(t testing.TB, rec *httptest.ResponseRecorder, r tlog.WitnessRequest, vkey string) tlog.Cosignature {
	t.Helper()
	if rec.Code != http.StatusOK {
		t.Fatalf("status %d: %s", rec.Code, rec.Body)
	}
	cp, err := tlog.ParseForeignCheckpoint(r.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tlog.ReadCosignature(cp, rec.Body.Bytes(), verifier(t, vkey))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// conflict posts a request that is answered with a size.
func conflict(t testing.TB, w http.Handler, body []byte, size int64) {
	t.Helper()
	rec := post(w, "/add-checkpoint", body)
	if rec.Code != http.StatusConflict || rec.Header().Get("Content-Type") != "text/x.tlog.size" || rec.Body.String() != fmt.Sprintf("%d\n", size) {
		t.Fatalf("status %d, %s: %q, want the size %d", rec.Code, rec.Header().Get("Content-Type"), rec.Body, size)
	}
}

func trimmed(rec *httptest.ResponseRecorder) string { return strings.TrimSpace(rec.Body.String()) }
