package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

const someOrigin = "log.example.test"

// history is a log that can grow, be cut back, and be rewritten: whoever holds
// its key may do all of that.
type history struct {
	t      testing.TB
	skey   string
	vkey   string
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
	signer, err := tlog.NewSigner(h.skey)
	if err != nil {
		h.t.Fatal(err)
	}
	origin, _, _ := strings.Cut(h.vkey, "+")
	text, err := tlog.SignCheckpoint(origin, size, edge.Root(), signer)
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

// start is a place with two releases, and what is remembered of them.
func start(t testing.TB) (*place, Sum) {
	t.Helper()
	p := newPlace(t, newHistory(t, someOrigin, 7))
	p.log.filler(3)
	p.release(charttest.Build(t, "web", "1.4.2", nil))
	p.release(charttest.Build(t, "db", "2.0.0", nil))
	got := p.look(Memory{}, "demo/web@1.4.2", "oci://HOST/demo/db:2.0.0")
	if got.Verdict != Passed {
		t.Fatalf("first: %s\n%s", got.Verdict, told(got))
	}
	return p, got.Sum
}

func TestMemoryRemembers(t *testing.T) {
	p, sum := start(t)
	if len(sum.Charts) != 2 || len(sum.Checkpoints) != 1 || sum.Checkpoints[0].Size != 5 || len(sum.Keys) != 1 {
		t.Fatalf("remembered:\n%s", text(t, sum))
	}
	p.log.filler(300)
	p.now()
	for name, refs := range map[string][]string{
		"all": nil, "api": {"demo/web@1.4.2"}, "classic": {"URL/demo/charts/web-1.4.2.tgz"}, "oci": {"oci://HOST/demo/web:1.4.2"},
		"every door": {"demo/web@1.4.2", "URL/demo/all/charts/web-1.4.2.tgz", "oci://HOST/demo/web:1.4.2"},
	} {
		t.Run(name, func(t *testing.T) {
			got := p.look(Memory{Sum: sum, Locked: true}, refs...)
			if got.Verdict != Passed || len(got.Evidence) != 0 {
				t.Fatalf("%s\n%s", got.Verdict, told(got))
			}
			if cp := got.Sum.Checkpoints; len(cp) != 1 || cp[0].Size != 305 || len(got.Sum.Charts) != 2 {
				t.Errorf("remembered:\n%s", text(t, got.Sum))
			}
			for _, c := range got.Charts {
				if c.First || resultOf(c.Checks, CheckPin) != Pass || resultOf(c.Checks, CheckEntry) != Pass || resultOf(c.Checks, CheckCovered) != Pass {
					t.Errorf("%+v", c)
				}
			}
		})
	}
	// Nothing changes when nothing happened.
	if got := p.look(Memory{Sum: p.look(Memory{Sum: sum}).Sum}); text(t, got.Sum) != text(t, p.look(Memory{Sum: sum}).Sum) {
		t.Error("another look writes another file")
	}
}

// A first look through two doors must not be told two things.
func TestMemoryDoorsAgree(t *testing.T) {
	p, _ := start(t)
	other := charttest.Build(t, "web", "1.4.2", map[string]string{"README.md": "other"})
	before := p.archives["web-1.4.2.tgz"]
	first := p.entries["web-1.4.2.tgz"]
	p.release(other)
	second := p.entries["web-1.4.2.tgz"]
	p.intercept = func(_ http.ResponseWriter, r *http.Request) bool {
		p.archives["web-1.4.2.tgz"], p.entries["web-1.4.2.tgz"] = before, first
		if strings.HasPrefix(r.URL.Path, "/v2/") || strings.HasSuffix(r.URL.Path, "/proof") {
			p.archives["web-1.4.2.tgz"], p.entries["web-1.4.2.tgz"] = other, second
		}
		return false
	}
	p.private = true
	got := p.look(Memory{}, "URL/demo/charts/web-1.4.2.tgz", "oci://HOST/demo/web:1.4.2")
	if got.Verdict != Failed || len(got.Evidence) != 1 {
		t.Fatalf("%s\n%s", got.Verdict, told(got))
	}
	if j, err := got.Evidence[0].Judge(p.log.vkey); err != nil || !j.Convicted {
		t.Errorf("%+v, %v", j, err)
	}
}

// attack is a way in which a server, or whoever holds the log's key, breaks the
// promise; the client remembers what start showed.
type attack struct {
	name    string
	do      func(t *testing.T, p *place)
	memory  func(*Memory)
	refs    []string // none: all that is remembered
	verdict Verdict
	check   string // "name result: part of the detail", of some check
	kind    string // of the evidence; "" for none
	convict bool   // whether the log's key alone convicts
}

func changedWeb(t testing.TB) []byte {
	return charttest.Build(t, "web", "1.4.2", map[string]string{"README.md": "other"})
}

func attacks() []attack {
	rewrite := func(t *testing.T, p *place) {
		leaf := leafOf(t, "demo", changedWeb(t), nil)
		text, err := leaf.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		p.log.leaves[3] = text
		p.archives["web-1.4.2.tgz"] = changedWeb(t)
	}
	return []attack{
		{name: "other bytes", do: func(t *testing.T, p *place) { p.archives["web-1.4.2.tgz"] = changedWeb(t) },
			verdict: Failed, check: "pinned-digest fail: and was", kind: EvidenceAnswer},
		{name: "an entry changed in place", do: rewrite, verdict: Failed, check: "consistency fail: two different logs of 5 entries", kind: EvidenceFork, convict: true},
		{name: "an entry changed, and the log grew", do: func(t *testing.T, p *place) { rewrite(t, p); p.log.filler(7); p.now() },
			verdict: Failed, check: "consistency fail: does not begin with", kind: EvidenceFork, convict: true},
		{name: "the same, to a power of two", do: func(t *testing.T, p *place) { rewrite(t, p); p.log.filler(3); p.now() },
			verdict: Failed, check: "consistency fail", kind: EvidenceFork, convict: true},
		{name: "the same, and false proofs", do: func(t *testing.T, p *place) { rewrite(t, p); p.log.filler(9); p.now(); p.babble = true },
			verdict: Failed, check: "consistency fail", kind: EvidenceFork, convict: true},
		{name: "the same, and no hashes", do: func(t *testing.T, p *place) { rewrite(t, p); p.log.filler(9); p.now(); p.noTiles = true },
			verdict: Failed, check: "consistency fail: its proof does not hold", kind: EvidenceAnswer},
		{name: "another entry changed, far away", do: func(t *testing.T, p *place) {
			p.log.leaves[0], p.log.leaves[1] = p.log.leaves[1], p.log.leaves[0]
			p.log.filler(600)
			p.now()
		}, verdict: Failed, check: "consistency fail", kind: EvidenceFork, convict: true},
		{name: "a second entry", do: func(t *testing.T, p *place) { p.release(changedWeb(t)) },
			verdict: Failed, check: "pinned-entry fail: one release has two entries", kind: EvidenceEntry, convict: true},
		{name: "a second entry with the same bytes", do: func(t *testing.T, p *place) { p.release(p.archives["web-1.4.2.tgz"]) },
			verdict: Failed, check: "pinned-entry fail", kind: EvidenceEntry, convict: true},
		{name: "a second entry, and the first withheld", do: func(t *testing.T, p *place) { p.release(changedWeb(t)); p.private = true },
			verdict: Failed, check: "pinned-digest fail", kind: EvidenceEntry},
		{name: "rolled back", do: func(t *testing.T, p *place) { p.log.leaves = p.log.leaves[:4]; p.now() },
			memory: func(m *Memory) {
				m.Sum.Charts = slices.DeleteFunc(m.Sum.Charts, func(q Pin) bool { return q.Chart == "db" })
			},
			verdict: Incomplete, check: "freshness unchecked: rolled back"},
		{name: "rolled back, and grown over", do: func(t *testing.T, p *place) {
			p.log.leaves = p.log.leaves[:4]
			p.log.filler(1)
			p.now()
			delete(p.archives, "db-2.0.0.tgz")
		},
			verdict: Failed, check: "consistency fail", kind: EvidenceFork, convict: true},
		{name: "an old copy, truthful", do: func(t *testing.T, p *place) {
			p.log.filler(4) // what is remembered is beyond what is shown
		}, memory: func(m *Memory) { m.Sum.Checkpoints = nil }, verdict: Incomplete, check: "freshness unchecked: an old copy"},
		{name: "no proof of growth", do: func(t *testing.T, p *place) { p.log.filler(4); p.now(); p.mute = true },
			verdict: Incomplete, check: "consistency unchecked: do not show"},
		{name: "a proof that is none, of a log that only grew", do: func(t *testing.T, p *place) { p.log.filler(4); p.now(); p.babble = true }, verdict: Passed},
		{name: "the release is gone", do: func(t *testing.T, p *place) { delete(p.archives, "web-1.4.2.tgz") },
			verdict: Incomplete, check: "fetch unchecked"},
		{name: "another log", do: func(t *testing.T, p *place) {
			p.log = newHistory(t, "other.example.test", 9)
			p.log.filler(3)
			p.release(p.archives["web-1.4.2.tgz"])
			p.release(p.archives["db-2.0.0.tgz"])
		}, verdict: Failed, check: "checkpoint-signature fail: another log", kind: EvidenceAnswer},
		{name: "another key of the same name", do: func(t *testing.T, p *place) {
			leaves := p.log.leaves
			p.log = newHistory(t, someOrigin, 9)
			p.log.leaves = leaves
		}, verdict: Failed, check: "checkpoint-signature fail: not signed", kind: EvidenceAnswer},
		{name: "another manifest over the same archive", do: func(t *testing.T, p *place) {
			p.intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/v2/demo/web/manifests/") {
					return false
				}
				_, _ = w.Write(append(manifestOf(p.archives["web-1.4.2.tgz"]), '\n'))
				return true
			}
		}, refs: []string{"oci://HOST/demo/web:1.4.2"}, verdict: Failed, check: "manifest-digest fail", kind: EvidenceAnswer},
		{name: "another release's archive and proof", do: func(t *testing.T, p *place) {
			p.release(charttest.Build(t, "web", "1.5.0", nil))
			p.archives["web-1.6.0.tgz"], p.entries["web-1.6.0.tgz"] = p.archives["web-1.5.0.tgz"], p.entries["web-1.5.0.tgz"]
		}, refs: []string{"URL/demo/charts/web-1.6.0.tgz"}, verdict: Failed, check: "name-and-version fail: asked for the file web-1.6.0.tgz", kind: EvidenceAnswer},
		{name: "a checkpoint that the log did not sign", do: func(t *testing.T, p *place) {
			other := newHistory(t, someOrigin, 9)
			other.leaves = p.log.leaves
			p.cosign = func([]byte) []byte { return other.checkpoint(5) }
		}, verdict: Failed, check: "checkpoint-signature fail: not signed"},
		{name: "no checkpoint", do: func(t *testing.T, p *place) {
			p.intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/log/checkpoint" {
					http.Error(w, "no", http.StatusForbidden)
					return true
				}
				return false
			}
		}, verdict: Incomplete, check: "freshness unchecked: could not be had"},
	}
}

func TestMemoryAttacks(t *testing.T) {
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			p, sum := start(t)
			key := p.log.vkey
			m := Memory{Sum: sum, Keys: []string{key}}
			a.do(t, p)
			if a.memory != nil {
				m.Sum.Charts = slices.Clone(sum.Charts)
				a.memory(&m)
				if m.Sum.Checkpoints == nil {
					cp, err := tlog.ParseCheckpoint(p.log.checkpoint(p.log.size()))
					if err != nil {
						t.Fatal(err)
					}
					m.Sum.Checkpoints = []tlog.Checkpoint{cp}
				}
			}
			got := p.look(m, a.refs...)
			if got.Verdict != a.verdict {
				t.Fatalf("verdict %s, want %s\n%s", got.Verdict, a.verdict, told(got))
			}
			name, part, _ := strings.Cut(a.check, ": ")
			said := false
			for line := range strings.Lines(told(got)) {
				said = said || strings.Contains(line, name+": ") && strings.Contains(line, part)
			}
			if a.check != "" && !said {
				t.Errorf("no check says %q:\n%s", a.check, told(got))
			}
			if a.verdict != Passed && text(t, got.Sum) != text(t, m.Sum) {
				t.Errorf("something was remembered:\n%s", text(t, got.Sum))
			}
			kinds := []string{}
			for _, e := range got.Evidence {
				kinds = append(kinds, e.Kind)
				a.judge(t, e, key)
			}
			if a.kind == "" && len(kinds) > 0 || a.kind != "" && !slices.Contains(kinds, a.kind) {
				t.Errorf("evidence %q, want %q", kinds, a.kind)
			}
		})
	}
}

// judge lets a stranger judge, who has the file and the log's key.
func (a attack) judge(t *testing.T, e Evidence, key string) {
	t.Helper()
	b, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	read, err := ParseEvidence(b)
	if err != nil {
		t.Fatal(err)
	}
	j, err := read.Judge(key)
	if err != nil || e.Kind == a.kind && j.Convicted != a.convict {
		t.Errorf("%s: %+v, %v", e.Kind, j, err)
	}
	_, other, err := tlog.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{42}, 64)), someOrigin)
	if err != nil {
		t.Fatal(err)
	}
	if j, err := read.Judge(other); err != nil || j.Convicted {
		t.Errorf("another key convicts: %+v, %v", j, err)
	}
}

// Evidence of a second entry is completed by whoever kept the first proof.
func TestEvidenceCompleted(t *testing.T) {
	p, sum := start(t)
	kept := p.log.prove(3, 5).Marshal()
	p.release(changedWeb(t))
	p.private = true
	got := p.look(Memory{Sum: sum}, "demo/web@1.4.2")
	if len(got.Evidence) != 1 {
		t.Fatalf("%d pieces of evidence\n%s", len(got.Evidence), told(got))
	}
	e := got.Evidence[0]
	if j, err := e.Judge(p.log.vkey); err != nil || j.Convicted {
		t.Errorf("half of it convicts: %+v, %v", j, err)
	}
	if j, err := e.Judge(p.log.vkey, kept); err != nil || !j.Convicted || !strings.Contains(j.Statement, "demo/web@1.4.2 has two entries") {
		t.Errorf("%+v, %v", j, err)
	}
	for name, proof := range map[string][]byte{"the same": []byte(e.Proofs[0]), "of another release": p.log.prove(4, 5).Marshal(), "of none": p.log.prove(0, 5).Marshal(), "garbage": []byte("x")} {
		if j, err := e.Judge(p.log.vkey, proof); err != nil || j.Convicted {
			t.Errorf("with a proof that is %s: %+v, %v", name, j, err)
		}
	}
}

// Two entries at one place of two signed logs are a fork, by themselves.
func TestEvidenceOfChangedEntry(t *testing.T) {
	p, _ := start(t)
	e := Evidence{Kind: EvidenceEntry, Proofs: []string{string(p.log.prove(3, 5).Marshal())}}
	p.log.leaves[3] = p.log.leaves[4]
	e.Proofs = append(e.Proofs, string(p.log.prove(3, 5).Marshal()))
	if j, err := e.Judge(p.log.vkey); err != nil || !j.Convicted || !strings.Contains(j.Statement, "whose entries 3 differ") {
		t.Errorf("%+v, %v", j, err)
	}
	if _, err := e.Judge(""); problem.KindOf(err) != problem.Invalid {
		t.Errorf("without a key: %v", err)
	}
	if _, err := e.Judge("x"); problem.KindOf(err) != problem.Invalid {
		t.Errorf("with a key that is none: %v", err)
	}
}

func TestParseEvidenceRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "no JSON": "x", "another schema": `{"schema":"log-evidence/v2","kind":"fork"}`, "another kind": `{"schema":"log-evidence/v1","kind":"x"}`,
		"a list": `[]`, "cut off": `{"schema":"log-evidence/v1","kind":"fork"`, "a number": `{"schema":"log-evidence/v1","kind":"fork","older":1}`,
	} {
		if e, err := ParseEvidence([]byte(text)); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
	if _, err := ParseEvidence(make([]byte, MaxEvidence+1)); problem.KindOf(err) != problem.TooLarge {
		t.Errorf("too large: %v", err)
	}
}

// What is no chart in an OCI registry leads nowhere.
func TestFetchOCIRefuses(t *testing.T) {
	p, _ := start(t)
	layer := func(typ, d string) string { return fmt.Sprintf(`{"mediaType":%q,"digest":%q}`, typ, d) }
	good := layer(typeChart, digest.SHA256(p.archives["web-1.4.2.tgz"]))
	for name, manifest := range map[string]string{
		"no JSON": "x", "no layers": `{}`, "other layers": `{"layers":[` + layer("text/plain", someDigit) + `]}`,
		"two charts": `{"layers":[` + good + `,` + good + `]}`, "no digest": `{"layers":[` + layer(typeChart, "latest") + `]}`,
		"a way out": `{"layers":[` + layer(typeChart, "../../x") + `]}`, "too much": strings.Repeat(" ", maxManifest+1),
	} {
		p.intercept = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/v2/demo/web/manifests/") {
				_, _ = w.Write([]byte(manifest))
				return true
			}
			return false
		}
		if got := p.look(Memory{}, "oci://HOST/demo/web:1.4.2"); got.Verdict != Incomplete || !strings.Contains(told(got), "fetch unchecked") {
			t.Errorf("%s: %s\n%s", name, got.Verdict, told(got))
		}
	}
}

// An honest log can never be convicted, whatever is put into the file.
func TestHonestLogIsNotConvicted(t *testing.T) {
	p, _ := start(t)
	p.log.filler(20)
	cp := func(n int64) string { return string(p.log.checkpoint(n)) }
	_, full := p.log.edge(25)
	edge, _ := p.log.edge(25)
	hashes, err := tlog.ConsistencyProof(5, 25, edge, full)
	if err != nil {
		t.Fatal(err)
	}
	older, _ := tlog.ParseCheckpoint(p.log.checkpoint(5))
	newer, _ := tlog.ParseCheckpoint(p.log.checkpoint(25))
	honest := forkOf(older, newer, older.Root, hashes)
	lies := map[string]func(*Evidence){
		"as it is":       func(*Evidence) {},
		"another prefix": func(e *Evidence) { e.Prefix = newer.Root.String() },
		"turned round":   func(e *Evidence) { e.Older, e.Newer = e.Newer, e.Older },
		"the same twice": func(e *Evidence) { e.Older, e.Prefix, e.Consistency = e.Newer, newer.Root.String(), nil },
		"no proof":       func(e *Evidence) { e.Consistency = nil },
		"empty log":      func(e *Evidence) { e.Older, e.Consistency = cp(0), nil },
		"as entries":     func(e *Evidence) { e.Kind = EvidenceEntry },
		"one entry twice": func(e *Evidence) {
			e.Kind, e.Proofs = EvidenceEntry, []string{string(p.log.prove(3, 5).Marshal()), string(p.log.prove(3, 25).Marshal())}
		},
		"two releases": func(e *Evidence) {
			e.Kind, e.Proofs = EvidenceEntry, []string{string(p.log.prove(3, 5).Marshal()), string(p.log.prove(4, 25).Marshal())}
		},
		"an answer": func(e *Evidence) { e.Kind = EvidenceAnswer },
	}
	for name, lie := range lies {
		e := honest
		lie(&e)
		if j, err := e.Judge(p.log.vkey); err != nil || j.Convicted || j.Statement == "" || len(j.Checks) == 0 {
			t.Errorf("%s: %+v, %v", name, j, err)
		}
	}
}

func TestMemoryFirstUse(t *testing.T) {
	p, sum := start(t)
	m := Memory{Connect: connect, Now: someTime, Server: p.url}
	if _, err := m.Verify(t.Context(), []Reference{p.ref("demo/web@1.4.2")}); problem.KindOf(err) != problem.Unavailable || !strings.Contains(err.Error(), "no key of its log") {
		t.Errorf("without a key: %v", err)
	}
	if len(p.asked) == 0 {
		t.Fatal("the place was never asked")
	}
	p.asked = nil
	_, _ = m.Verify(t.Context(), []Reference{p.ref("demo/web@1.4.2")})
	if len(p.asked) != 0 {
		t.Errorf("without a key %q were asked for", p.asked)
	}
	got := p.look(Memory{Locked: true}, "demo/web@1.4.2")
	if got.Verdict != Incomplete || !strings.Contains(told(got), "pinned-digest unchecked: nothing is remembered") {
		t.Errorf("locked: %s\n%s", got.Verdict, told(got))
	}
	// Two logs are trusted, and the server is new: nobody can say which it is.
	_, other, err := tlog.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{9}, 64)), "other.example.test")
	if err != nil {
		t.Fatal(err)
	}
	m.Keys = []string{p.log.vkey, other}
	if _, err := m.Verify(t.Context(), []Reference{p.ref("demo/web@1.4.2")}); err == nil || !strings.Contains(err.Error(), "which of the logs") {
		t.Errorf("with two keys: %v", err)
	}
	// What is remembered of the server says it.
	m.Sum = sum
	if got, err := m.Verify(t.Context(), []Reference{p.ref("demo/web@1.4.2")}); err != nil || got.Verdict != Passed {
		t.Errorf("with a memory: %+v, %v", got, err)
	}
}

// A server must not get past what is remembered with a log that is trusted for
// another server.
func TestMemoryHoldsServersApart(t *testing.T) {
	p, sum := start(t)
	q := newPlace(t, newHistory(t, "second.example.test", 8))
	q.log.filler(1)
	q.release(changedWeb(t))
	both := q.look(Memory{Sum: sum, Keys: []string{q.log.vkey}}, "demo/web@1.4.2")
	if both.Verdict != Passed || len(both.Sum.Charts) != 3 || len(both.Sum.Checkpoints) != 2 {
		t.Fatalf("two servers with one name for a release: %s\n%s\n%s", both.Verdict, told(both), text(t, both.Sum))
	}
	if got := p.look(Memory{Sum: both.Sum}); got.Verdict != Passed || len(got.Logs) != 2 {
		t.Fatalf("both: %s\n%s", got.Verdict, told(got))
	}
	p.log, p.archives, p.entries, p.shown = q.log, q.archives, q.entries, q.shown
	got := p.look(Memory{Sum: both.Sum, Keys: []string{q.log.vkey}}, "demo/web@1.4.2")
	if got.Verdict != Failed || !strings.Contains(told(got), "pinned-digest fail") || !strings.Contains(told(got), "another log") {
		t.Errorf("the second log at the first server: %s\n%s", got.Verdict, told(got))
	}
}

// A server whose log began anew must still show what it showed before.
func TestMemoryLogBegunAnew(t *testing.T) {
	for _, same := range []bool{true, false} {
		p, sum := start(t)
		db := p.archives["db-2.0.0.tgz"]
		if !same {
			db = charttest.Build(t, "db", "2.0.0", map[string]string{"README.md": "other"})
		}
		p.log = newHistory(t, "second.example.test", 8)
		p.log.filler(1)
		p.release(db)
		p.release(changedWeb(t))
		cp, err := tlog.ParseCheckpoint(p.log.checkpoint(3))
		if err != nil {
			t.Fatal(err)
		}
		// Of this server both logs are known: the old one has db, the new one web.
		sum.Keys, sum.Checkpoints = append(sum.Keys, p.log.vkey), append(sum.Checkpoints, cp)
		sum.Charts = append(sum.Charts[:1:1], Pin{Origin: "second.example.test", Ref: Ref{"demo", "web", "1.4.2"}, Digest: digest.SHA256(changedWeb(t)), Index: 2, Door: p.url})
		got := p.look(Memory{Sum: sum, Keys: []string{p.log.vkey}}, "demo/db@2.0.0")
		if same && (got.Verdict != Passed || len(got.Sum.Charts) != 3) || !same && (got.Verdict != Failed || !strings.Contains(told(got), "pinned-digest fail")) {
			t.Errorf("the same bytes %v: %s\n%s", same, got.Verdict, told(got))
		}
	}
}

// After a merge a log has two checkpoints. Both are held against each other.
func TestMemoryAfterMerge(t *testing.T) {
	p, sum := start(t)
	p.log.filler(3)
	ours := p.now().look(Memory{Sum: sum}).Sum
	fork := p.log.clone()
	p.log.filler(3)
	theirs := p.now().look(Memory{Sum: sum}).Sum
	merged := sum.Merge(ours, theirs)
	if len(merged.Checkpoints) != 2 {
		t.Fatalf("merged:\n%s", text(t, merged))
	}
	got := p.look(Memory{Sum: merged})
	if got.Verdict != Passed || len(got.Sum.Checkpoints) != 1 || got.Sum.Checkpoints[0].Size != 11 {
		t.Fatalf("%s\n%s\n%s", got.Verdict, told(got), text(t, got.Sum))
	}
	// A log that told both sides other things.
	fork.leaves[7] = fork.leaves[0]
	cp, err := tlog.ParseCheckpoint(fork.checkpoint(8))
	if err != nil {
		t.Fatal(err)
	}
	merged.Checkpoints[0] = cp
	got = p.look(Memory{Sum: merged})
	if got.Verdict != Failed || len(got.Evidence) != 1 || got.Evidence[0].Kind != EvidenceFork {
		t.Fatalf("%s\n%s", got.Verdict, told(got))
	}
	if j, err := got.Evidence[0].Judge(p.log.vkey); err != nil || !j.Convicted {
		t.Errorf("%+v, %v", j, err)
	}
}

// witness makes cosignatures for tests.
type witness struct {
	t    testing.TB
	by   *tlog.Cosigner
	vkey string
}

func newWitness(t testing.TB, name string, seed byte) witness {
	t.Helper()
	skey, vkey, err := tlog.GenerateWitnessKey(bytes.NewReader(bytes.Repeat([]byte{seed}, 64)), name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tlog.NewCosigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return witness{t, c, vkey}
}

func (w witness) cosign(text []byte, at time.Time) []byte {
	w.t.Helper()
	cp, err := tlog.ParseCheckpoint(text)
	if err != nil {
		w.t.Fatal(err)
	}
	line, err := w.by.Cosign(cp, at)
	if err != nil {
		w.t.Fatal(err)
	}
	return append(bytes.Clone(text), line...)
}

func TestMemoryWitnesses(t *testing.T) {
	p, sum := start(t)
	a, b := newWitness(t, "a.example.test", 21), newWitness(t, "b.example.test", 22)
	stranger := newWitness(t, "c.example.test", 23)
	now := someTime.Add(time.Hour) // as look has it
	policy, err := tlog.ParseWitnessPolicy(fmt.Appendf(nil, "log %s\nwitness a %s\nwitness b %s\ngroup both all a b\nquorum both\n", p.log.vkey, a.vkey, b.vkey))
	if err != nil {
		t.Fatal(err)
	}
	anyOf, err := tlog.ParseWitnessPolicy(fmt.Appendf(nil, "witness a %s\nwitness b %s\ngroup some any a b\nquorum some\n", a.vkey, b.vkey))
	if err != nil {
		t.Fatal(err)
	}
	p.log.filler(4)
	p.now()
	fresh, old := now.Add(-time.Minute), now.Add(-48*time.Hour)
	for _, tt := range []struct {
		name    string
		policy  *tlog.WitnessPolicy
		age     time.Duration
		cosign  func([]byte) []byte
		verdict Verdict
		detail  string
	}{
		{"both", &policy, 0, func(cp []byte) []byte { return b.cosign(a.cosign(cp, old), old) }, Passed, ""},
		{"one of both", &policy, 0, func(cp []byte) []byte { return a.cosign(cp, fresh) }, Incomplete, "missing: b"},
		{"a stranger", &policy, 0, func(cp []byte) []byte { return stranger.cosign(a.cosign(cp, fresh), fresh) }, Incomplete, "missing: b"},
		{"nobody", &policy, 0, nil, Incomplete, "missing: a, b"},
		{"a false one", &anyOf, 0, func(cp []byte) []byte {
			line := bytes.Clone(b.cosign(cp, fresh)[len(cp):])
			line[len(line)-6] ^= 3
			return append(a.cosign(cp, fresh), line...)
		}, Failed, "signature"},
		{"any", &anyOf, 0, func(cp []byte) []byte { return b.cosign(cp, old) }, Passed, ""},
		{"fresh", &policy, time.Hour, func(cp []byte) []byte { return b.cosign(a.cosign(cp, fresh), fresh) }, Passed, ""},
		{"old", &policy, time.Hour, func(cp []byte) []byte { return b.cosign(a.cosign(cp, old), old) }, Incomplete, "younger than 1h0m0s; the newest is of"},
		{"one fresh, one old", &policy, time.Hour, func(cp []byte) []byte { return b.cosign(a.cosign(cp, fresh), old) }, Incomplete, "missing: b"},
		{"any fresh, one old", &anyOf, time.Hour, func(cp []byte) []byte { return b.cosign(a.cosign(cp, fresh), old) }, Passed, ""},
		{"from the future", &anyOf, time.Hour, func(cp []byte) []byte { return a.cosign(cp, now.Add(240*time.Hour)) }, Incomplete, "younger"},
		{"an age without a policy", nil, time.Hour, nil, Incomplete, "carries no time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.cosign = tt.cosign
			got := p.look(Memory{Sum: sum, Policy: tt.policy, MaxAge: tt.age})
			if got.Verdict != tt.verdict || !strings.Contains(told(got), tt.detail) {
				t.Fatalf("%s\n%s", got.Verdict, told(got))
			}
			if tt.verdict == Passed && got.Sum.Checkpoints[0].Size != 9 {
				t.Errorf("remembered:\n%s", text(t, got.Sum))
			}
		})
	}
	// Witnesses that come a moment later are waited for.
	late := 0
	p.cosign = func(text []byte) []byte {
		if late++; late < 3 {
			return text
		}
		return b.cosign(a.cosign(text, fresh), fresh)
	}
	synctest.Test(t, func(t *testing.T) {
		m := Memory{Sum: sum, Policy: &policy, Patience: 5 * time.Second, Connect: func(server string) (*Client, error) {
			return New(server, "", Options{HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				p.ServeHTTP(w, r)
				return w.Result(), nil
			})}})
		}, Now: now}
		if got, err := m.Verify(t.Context(), nil); err != nil || got.Verdict != Passed || late != 3 {
			t.Errorf("after %d looks: %v, %s\n%s", late, err, got.Verdict, told(got))
		}
	})
	// What is witnessed counts, not what is newest: a release beyond waits.
	p.cosign = func(text []byte) []byte { return b.cosign(a.cosign(text, fresh), fresh) }
	known := p.look(Memory{Sum: sum, Policy: &policy}).Sum
	p.cosign = nil
	p.release(charttest.Build(t, "web", "1.5.0", nil))
	if got := p.look(Memory{Sum: known, Policy: &policy}, "demo/web@1.4.2"); got.Verdict != Passed || got.Sum.Checkpoints[0].Size != 9 {
		t.Errorf("a release that is witnessed: %s\n%s", got.Verdict, told(got))
	}
	if got := p.look(Memory{Sum: known, Policy: &policy}, "demo/web@1.5.0"); got.Verdict != Incomplete || !strings.Contains(told(got), "covered unchecked: it is entry 9") {
		t.Errorf("a release that is not witnessed yet: %s\n%s", got.Verdict, told(got))
	}
}

func TestMemoryFiles(t *testing.T) {
	p, sum := start(t)
	file := func(archive, proof []byte) Reference {
		return FileReference("web-1.4.2.tgz", Subject{Archive: bytes.NewReader(archive), Proof: proof})
	}
	verify := func(m Memory, ref Reference) Recollection {
		t.Helper()
		m.Connect, m.Now = connect, someTime
		got, err := m.Verify(t.Context(), []Reference{ref})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	p.log.filler(5)
	old := p.log.prove(3, 4).Marshal() // of a checkpoint before the one that is remembered
	p.now()
	web := p.archives["web-1.4.2.tgz"]
	if got := verify(Memory{Sum: sum}, file(web, old)); got.Verdict != Passed || got.Sum.Checkpoints[0].Size != 10 {
		t.Errorf("an older proof: %s\n%s", got.Verdict, told(got))
	}
	if got := verify(Memory{Sum: sum}, file(changedWeb(t), old)); got.Verdict != Failed || !strings.Contains(told(got), "pinned-digest fail") {
		t.Errorf("other bytes: %s\n%s", got.Verdict, told(got))
	}
	// Without a server a file can be remembered no further than its proof.
	got := verify(Memory{Keys: []string{p.log.vkey}}, file(web, old))
	if got.Verdict != Incomplete || !strings.Contains(told(got), "no server is known") {
		t.Errorf("no server: %s\n%s", got.Verdict, told(got))
	}
	if got := verify(Memory{Keys: []string{p.log.vkey}, Server: p.url}, file(web, old)); got.Verdict != Passed || got.Sum.Charts[0].Door != "" {
		t.Errorf("a server: %s\n%s", got.Verdict, told(got))
	}
}

func TestMemoryCanceled(t *testing.T) {
	p, sum := start(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	p.intercept = func(http.ResponseWriter, *http.Request) bool { stop(); return false }
	m := Memory{Sum: sum, Connect: connect, Now: someTime}
	if _, err := m.Verify(ctx, nil); err == nil || !canceled(err) {
		t.Errorf("%v", err)
	}
}

// Credentials go to the server that they were configured for: Connect decides,
// and is asked for each server by its own URL.
func TestMemoryConnects(t *testing.T) {
	p, sum := start(t)
	q := newPlace(t, newHistory(t, "second.example.test", 8))
	q.release(changedWeb(t))
	var asked []string
	m := Memory{Sum: sum, Keys: []string{q.log.vkey}, Now: someTime, Connect: func(s string) (*Client, error) {
		asked = append(asked, s)
		return connect(s)
	}}
	if _, err := m.Verify(t.Context(), []Reference{p.ref("demo/web@1.4.2"), q.ref("oci://HOST/demo/web:1.4.2")}); err != nil {
		t.Fatal(err)
	}
	if want := []string{p.url, q.url}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q, want %q", asked, want)
	}
}

func TestParseReference(t *testing.T) {
	const base = "http://keep.example:8080/ctx"
	for in, want := range map[string]Reference{
		"team-a/web@1.4.2": {Ref: Ref{"team-a", "web", "1.4.2"}, Server: base, Door: base},
		"oci://charts.example.com/team-a/x/web:1.4.2_b1": {Ref: Ref{"team-a/x", "web", "1.4.2+b1"}, Server: "https://charts.example.com", Door: "oci://charts.example.com"},
		"oci://127.0.0.1:5000/a/web:1.0.0":               {Ref: Ref{"a", "web", "1.0.0"}, Server: "http://127.0.0.1:5000", Door: "oci://127.0.0.1:5000"},
		"oci://[::1]:5000/a/web:1.0.0":                   {Ref: Ref{"a", "web", "1.0.0"}, Server: "http://[::1]:5000", Door: "oci://[::1]:5000"},
		"oci://keep.example:8080/a/web:1.0.0":            {Ref: Ref{"a", "web", "1.0.0"}, Server: base, Door: "oci://keep.example:8080"},
		base + "/a/b/charts/web-1.0.0%2Bx.tgz":           {Ref: Ref{Project: "a/b"}, Server: base, Door: base, File: "web-1.0.0+x.tgz"},
		"https://charts.example.com/a/charts/web-1.tgz":  {Ref: Ref{Project: "a"}, Server: "https://charts.example.com", Door: "https://charts.example.com", File: "web-1.tgz"},
	} {
		want.Written = in
		got, err := ParseReference(in, base)
		if err != nil || got != want {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", in, got, err, want)
		}
	}
	for _, in := range []string{
		"web@1.0.0", "a/web", "a/web@latest", "oci://", "oci://h", "oci://h/web:1", "oci://h/a/web", "oci://u@h/a/web:1.0.0", "oci://h/A/web:1.0.0", "oci:///a/web:1.0.0",
		"https://u:p@h/a/charts/x-1.tgz", "https://h/a/charts/x-1.tgz?y", "https://h/a/x-1.tgz", "https://h/charts/x-1.tgz", "ftp://h/a/charts/x-1.tgz", "https://h/a/charts/x-1.zip", "https://h/a/charts/..",
	} {
		if got, err := ParseReference(in, base); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	if _, err := ParseReference("a/web@1.0.0", ""); problem.KindOf(err) != problem.Invalid {
		t.Errorf("without a server: %v", err)
	}
}

func FuzzParseReference(f *testing.F) {
	f.Add("oci://charts.example.com/a/web:1.0.0", "")
	f.Add("https://h/a/charts/x-1.0.0.tgz", "https://h")
	f.Add("a/web@1.0.0", "https://h/ctx")
	f.Fuzz(func(t *testing.T, s, server string) {
		r, err := ParseReference(s, server)
		if err != nil {
			return
		}
		if u, err := url.Parse(r.Server); strings.Contains(s, "://") && (err != nil || r.Server != server && hostOf(r.Door) != u.Host) {
			t.Fatalf("%q leads to %q", s, r.Server)
		}
	})
}

// FuzzEvidence holds that no evidence convicts an honest log, or panics.
func FuzzEvidence(f *testing.F) {
	p, sum := start(f)
	p.log.filler(3)
	older, newer := string(p.log.checkpoint(5)), string(p.log.checkpoint(8))
	for _, e := range []Evidence{
		{Kind: EvidenceFork, Older: older, Newer: newer, Prefix: sum.Checkpoints[0].Root.String()},
		{Kind: EvidenceEntry, Proofs: []string{string(p.log.prove(3, 5).Marshal()), string(p.log.prove(4, 5).Marshal())}},
		{Kind: EvidenceAnswer},
	} {
		b, err := e.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	vkey := p.log.vkey
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEvidence(b)
		if err != nil {
			return
		}
		if j, err := e.Judge(vkey); err != nil || j.Convicted {
			t.Fatalf("%+v, %v", j, err)
		}
	})
}
