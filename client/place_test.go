package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

const someOrigin = "log.example.test"

// history is a log that can grow, be cut back, and be rewritten: whoever holds
// its key may do all of that.
type history struct {
	t      testing.TB
	skey   string
	vkey   string
	also   []string // keys that sign too
	leaves [][]byte
}

func newHistory(t testing.TB, origin string, seed byte) *history {
	t.Helper()
	skey, vkey, err := tlog.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{seed}, 64)), origin)
	if err != nil {
		t.Fatal(err)
	}
	return &history{t: t, skey: skey, vkey: vkey}
}

func (h *history) add(leaves ...tlog.Leaf) *history {
	h.t.Helper()
	for _, l := range leaves {
		text, err := l.Marshal()
		if err != nil {
			h.t.Fatal(err)
		}
		h.leaves = append(h.leaves, text)
	}
	return h
}

// filler adds entries that are of no release.
func (h *history) filler(n int) *history {
	for range n {
		h.add(tlog.Yank{Index: 0, Project: "demo", Chart: "other", Version: strconv.Itoa(len(h.leaves)) + ".0.0", Reason: "broken",
			Publisher: tlog.Identity{Issuer: "local", Subject: "usr-1"}, Time: someTime})
	}
	return h
}

func (h *history) clone() *history {
	c := *h
	c.leaves = slices.Clone(h.leaves)
	return &c
}

func (h *history) edge(size int64) (*tlog.Edge, tileMap) {
	h.t.Helper()
	edge, err := tlog.NewEdge(0, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	full := tileMap{}
	for _, leaf := range h.leaves[:size] {
		for _, tile := range edge.Append(tlog.LeafHash(leaf)) {
			full[[2]int64{int64(tile.Level), tile.N}] = tile.Hashes
		}
	}
	return edge, full
}

type tileMap map[[2]int64][]tlog.Hash

func (m tileMap) Tile(level int, n int64) ([]tlog.Hash, error) {
	hashes, ok := m[[2]int64{int64(level), n}]
	if !ok {
		return nil, fmt.Errorf("no tile %d %d", level, n)
	}
	return hashes, nil
}

func (h *history) checkpoint(size int64) []byte {
	h.t.Helper()
	edge, _ := h.edge(size)
	var signers []note.Signer
	for _, skey := range append([]string{h.skey}, h.also...) {
		signer, err := tlog.NewSigner(skey)
		if err != nil {
			h.t.Fatal(err)
		}
		signers = append(signers, signer)
	}
	origin, _, _ := strings.Cut(h.vkey, "+")
	text, err := tlog.SignCheckpoint(origin, size, edge.Root(), signers...)
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

func (h *history) prove(index, size int64) tlog.Proof {
	h.t.Helper()
	edge, full := h.edge(size)
	hashes, err := tlog.InclusionProof(size, index, edge, full)
	if err != nil {
		h.t.Fatal(err)
	}
	return tlog.Proof{Index: index, Leaf: h.leaves[index], Hashes: hashes, Checkpoint: h.checkpoint(size)}
}

func (h *history) size() int64 { return int64(len(h.leaves)) }

// tile answers a tile of hashes, from level 0 upwards by hashing.
func (h *history) tile(level int, n int64, width int) []byte {
	hashes := make([]tlog.Hash, 0, len(h.leaves))
	for _, leaf := range h.leaves {
		hashes = append(hashes, tlog.LeafHash(leaf))
	}
	for range level {
		var up []tlog.Hash
		for ; len(hashes) >= 256; hashes = hashes[256:] {
			edge, _ := tlog.NewEdge(0, nil)
			for _, x := range hashes[:256] {
				edge.Append(x)
			}
			up = append(up, edge.Root())
		}
		hashes = up
	}
	from := n * 256
	if from+int64(width) > int64(len(hashes)) {
		return nil
	}
	return tlog.TileBytes(hashes[from : from+int64(width)])
}

// place is a server that shows what a test lets it show.
type place struct {
	t         testing.TB
	mu        sync.Mutex
	log       *history
	shown     int64               // of the log
	archives  map[string][]byte   // by file name
	entries   map[string]int64    // by file name: the entry that it proves
	private   bool                // entries are not given out
	mute      bool                // gives no consistency proofs
	noTiles   bool                // gives no hashes
	babble    bool                // gives consistency proofs that are none
	cosign    func([]byte) []byte // of the checkpoint
	intercept func(w http.ResponseWriter, r *http.Request) bool
	asked     []string
	turned    []Rotation
	url       string
}

func newPlace(t testing.TB, log *history) *place {
	p := &place{t: t, log: log, shown: log.size(), archives: map[string][]byte{}, entries: map[string]int64{}}
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	p.url = srv.URL
	return p
}

// release adds an archive and its entry.
func (p *place) release(archive []byte) *place {
	leaf := leafOf(p.t, "demo", archive, nil)
	leaf.Manifest = digest.SHA256(manifestOf(archive))
	p.log.add(leaf)
	file := chart.FileName(leaf.Chart, leaf.Version)
	p.archives[file], p.entries[file], p.shown = archive, p.log.size()-1, p.log.size()
	return p
}

// now shows the whole log.
func (p *place) now() *place {
	p.shown = p.log.size()
	return p
}

func manifestOf(archive []byte) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`, typeChart, digest.SHA256(archive), len(archive))
}

func (p *place) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.URL.Path)
	p.mu.Unlock()
	if p.intercept != nil && p.intercept(w, r) {
		return
	}
	send := func(schema string, body any) {
		b, _ := json.Marshal(body)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"schema":%q,%s`, schema, b[1:])
	}
	path := r.URL.Path
	switch {
	case path == "/log/checkpoint":
		text := p.log.checkpoint(p.shown)
		if p.cosign != nil {
			text = p.cosign(text)
		}
		_, _ = w.Write(text)
		return
	case path == "/api/v1/log/rotations" && p.turned != nil:
		send("log-rotation-list/v1", map[string]any{"items": p.turned})
		return
	case path == "/api/v1/log/consistency":
		from, _ := strconv.ParseInt(r.URL.Query().Get("old"), 10, 64)
		to, _ := strconv.ParseInt(r.URL.Query().Get("new"), 10, 64)
		edge, full := p.log.edge(p.log.size()) // whatever is shown
		hashes, err := tlog.ConsistencyProof(from, to, edge, full)
		if p.mute || err != nil {
			break
		}
		texts := []string{}
		for _, h := range hashes {
			if p.babble {
				h[0] ^= 1
			}
			texts = append(texts, h.String())
		}
		send("log-consistency/v1", map[string]any{"hashes": texts})
		return
	case strings.HasPrefix(path, "/api/v1/log/leaves/"):
		n, _ := strconv.ParseInt(path[len("/api/v1/log/leaves/"):], 10, 64)
		if p.private || n >= p.shown {
			break
		}
		send("log-leaf/v1", map[string]any{"index": n, "leaf": string(p.log.leaves[n])})
		return
	case strings.HasPrefix(path, "/log/tile/"):
		level, n, width, _, err := tlog.ParseTilePath(path[len("/log/"):])
		if b := p.log.tile(level, n, width); err == nil && b != nil && !p.noTiles {
			_, _ = w.Write(b)
			return
		}
	default:
		if p.answerOf(w, path, send) {
			return
		}
	}
	http.NotFound(w, r)
}

// answerOf answers what concerns a release.
func (p *place) answerOf(w http.ResponseWriter, path string, send func(string, any)) bool {
	for file, archive := range p.archives {
		if p.entries[file] >= p.shown {
			continue // rolled back
		}
		leaf := releaseOf(p.log.leaves[p.entries[file]])
		proof := func() []byte { return p.log.prove(p.entries[file], p.shown).Marshal() }
		name, version, _ := strings.Cut(strings.TrimSuffix(file, ".tgz"), "-")
		api := "/api/v1/projects/demo/-/charts/" + name + "/releases/" + version
		switch path {
		case "/demo/charts/" + file, "/v2/demo/" + name + "/blobs/" + digest.SHA256(archive):
			_, _ = w.Write(archive)
		case "/demo/charts/" + file + ".tlog-proof", api + "/proof":
			_, _ = w.Write(proof())
		case "/v2/demo/" + name + "/manifests/" + version:
			_, _ = w.Write(manifestOf(archive))
		case api:
			send("release-detail/v1", struct {
				Release
				Proof string `json:"proof"`
			}{Release{Project: "demo", Chart: name, Version: version, File: file, Digest: leaf.Archive}, string(proof())})
		default:
			continue
		}
		return true
	}
	return false
}

func connect(server string) (*Client, error) { return New(server, "", Options{}) }

func (p *place) ref(s string) Reference {
	p.t.Helper()
	host := strings.TrimPrefix(p.url, "http://")
	r, err := ParseReference(strings.NewReplacer("URL", p.url, "HOST", host).Replace(s), p.url)
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

// look verifies references at a place.
func (p *place) look(m Memory, refs ...string) Recollection {
	p.t.Helper()
	m.Connect, m.Now = connect, someTime.Add(time.Hour)
	if m.Keys == nil && len(m.Sum.Keys) == 0 {
		m.Keys = []string{p.log.vkey}
	}
	var list []Reference
	for _, s := range refs {
		list = append(list, p.ref(s))
	}
	got, err := m.Verify(p.t.Context(), list)
	if err != nil {
		p.t.Fatal(err)
	}
	return got
}

// told are all checks that did not pass, with their details.
func told(r Recollection) string {
	var b strings.Builder
	say := func(of string, checks []Check) {
		for _, c := range checks {
			if c.Result != Pass && !c.optional {
				fmt.Fprintf(&b, "%s %s %s: %s\n", of, c.Name, c.Result, c.Detail)
			}
		}
	}
	for _, c := range r.Charts {
		say(c.Subject, c.Checks)
	}
	for _, l := range r.Logs {
		say(l.Origin, l.Checks)
	}
	return b.String()
}

func text(t testing.TB, s Sum) string {
	t.Helper()
	b, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
