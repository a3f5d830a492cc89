package monitor_test

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/monitor"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server/tiles"
	"github.com/chartkeep/chartkeep/internal/server/tiles/tilestest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

const origin = "charts.example.com/log"

var (
	start  = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	ann    = tlog.Identity{Issuer: "chartkeep", Subject: "usr-ann"}
	bob    = tlog.Identity{Issuer: "chartkeep", Subject: "usr-bob"}
	policy = digest.SHA256([]byte("{}"))
)

// registry is a server in memory that tells the truth, until a test makes it
// lie.
type registry struct {
	t     testing.TB
	mu    sync.Mutex
	log   *tilestest.Log
	clock time.Time // of its leaves
	made  map[string]*made
	order []string

	// intercept answers a request instead of the registry when it returns true.
	intercept func(w http.ResponseWriter, r *http.Request) bool
	requests  []string
}

// made is a release as the doors show it.
type made struct {
	project, chart, version string
	archive, prov, manifest []byte
	leaf                    int64
	hidden                  bool   // from index and tags
	status                  int    // of its files; 0 is 200
	digest                  string // in the index; "" is the true one
}

func newRegistry(t testing.TB) *registry {
	return &registry{t: t, log: tilestest.New(t, origin), clock: start, made: map[string]*made{}}
}

// leaf appends a leaf, with a time that goes on, and signs.
func (g *registry) leaf(l tlog.Leaf) int64 {
	g.t.Helper()
	b, err := l.Marshal()
	if err != nil {
		g.t.Fatal(err)
	}
	return g.entry(b)
}

func (g *registry) entry(b []byte) int64 {
	g.log.Append(b)
	g.log.Sign(g.t)
	return g.log.Size() - 1
}

func (g *registry) tick() time.Time {
	g.clock = g.clock.Add(time.Second)
	return g.clock
}

func (g *registry) project(name string) {
	g.leaf(tlog.Project{Action: tlog.ProjectCreated, Name: name, Kind: "charts", Visibility: "public", State: "active", Policy: policy, Actor: ann, Time: g.tick()})
}

func split(ref string) (p, c, v string) {
	name, v, _ := strings.Cut(ref, "@")
	cut := strings.LastIndexByte(name, '/')
	return name[:cut], name[cut+1:], v
}

// released makes a release, with a leaf and at every door.
func (g *registry) released(ref string) *made {
	g.t.Helper()
	m := g.shown(ref)
	m.leaf = g.leaf(m.release(g.tick()))
	return m
}

// shown makes a release at the doors alone.
func (g *registry) shown(ref string) *made {
	p, c, v := split(ref)
	m := &made{project: p, chart: c, version: v, archive: []byte("archive of " + ref), manifest: []byte(`{"of":"` + ref + `"}`), leaf: -1}
	g.made[ref] = m
	g.order = append(g.order, ref)
	return m
}

// release is the leaf of what is shown.
func (m *made) release(at time.Time) tlog.Release {
	l := tlog.Release{
		Project: m.project, Chart: m.chart, Version: m.version, Archive: digest.SHA256(m.archive), Size: int64(len(m.archive)),
		Content: digest.SHA256(nil), Manifest: digest.SHA256(m.manifest), Config: digest.SHA256(nil), Publisher: ann, Policy: policy, Time: at,
	}
	if m.prov != nil {
		l.Provenance = digest.SHA256(m.prov)
	}
	return l
}

func (g *registry) yank(ref string) {
	m := g.made[ref]
	m.hidden = true
	g.leaf(tlog.Yank{Index: m.leaf, Project: m.project, Chart: m.chart, Version: m.version, Reason: "broken", Publisher: ann, Time: g.tick()})
}

func (g *registry) attach(ref, prov string) {
	m := g.made[ref]
	m.prov = []byte(prov)
	g.leaf(tlog.Attach{Index: m.leaf, Project: m.project, Chart: m.chart, Version: m.version, Kind: "prov", Digest: digest.SHA256(m.prov), Publisher: ann, Time: g.tick()})
}

func (g *registry) quarantine(ref string) {
	m := g.made[ref]
	m.hidden, m.status = true, http.StatusForbidden
	g.leaf(tlog.Quarantine{Index: m.leaf, Project: m.project, Chart: m.chart, Version: m.version, Action: "set", Reason: "malware", Actor: ann, Time: g.tick()})
}

func (g *registry) tombstone(ref string) {
	m := g.made[ref]
	m.hidden, m.status = true, http.StatusGone
	g.leaf(tlog.Tombstone{Index: m.leaf, Project: m.project, Chart: m.chart, Version: m.version, Archive: digest.SHA256(m.archive), Reason: "legal", Requester: ann, Approver: bob, Time: g.tick()})
}

// ServeHTTP implements http.Handler.
func (g *registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.requests = append(g.requests, r.URL.Path)
	intercept := g.intercept
	g.mu.Unlock()
	if intercept != nil && intercept(w, r) {
		return
	}
	said := httptest.NewRecorder()
	g.serve(said, r)
	for k, v := range said.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(said.Code)
	_, _ = w.Write(said.Body.Bytes())
}

// serve answers truly.
func (g *registry) serve(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	path := r.URL.Path
	switch {
	case strings.HasPrefix(path, "/log/"):
		err := tiles.New(g.log, func(*http.Request) error { return nil }).Serve(w, r)
		if err != nil {
			status := http.StatusInternalServerError
			if problem.KindOf(err) == problem.NotFound {
				status = http.StatusNotFound
			}
			http.Error(w, err.Error(), status)
		}
	case strings.HasPrefix(path, "/v2/"):
		g.serveOCI(w, r, path[len("/v2/"):])
	case strings.HasSuffix(path, "/index.yaml"):
		g.serveIndex(w, r, strings.TrimSuffix(path[1:], "/index.yaml"))
	default:
		g.serveFile(w, path[1:])
	}
}

func (g *registry) serveIndex(w http.ResponseWriter, r *http.Request, project string) {
	entries := map[string][]map[string]any{}
	for _, ref := range g.order {
		m := g.made[ref]
		if m.project != project || m.hidden {
			continue
		}
		d := m.digest
		if d == "" {
			d = strings.TrimPrefix(digest.SHA256(m.archive), "sha256:")
		}
		entries[m.chart] = append(entries[m.chart], map[string]any{"name": m.chart, "version": m.version, "digest": d, "urls": []string{"x"}, "annotations": map[string]string{"a": "b"}})
	}
	b, _ := json.Marshal(map[string]any{"apiVersion": "v1", "generated": "x", "entries": entries, "more": map[string]any{"a": []int{1}}})
	etag := `"` + digest.SHA256(b)[7:20] + `"`
	w.Header().Set("Etag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
}

func (g *registry) serveFile(w http.ResponseWriter, path string) {
	for _, m := range g.made {
		file := m.project + "/charts/" + chart.FileName(m.chart, m.version)
		switch {
		case path != file && path != file+".prov":
			continue
		case m.status != 0:
			http.Error(w, "no", m.status)
		case path == file:
			_, _ = w.Write(m.archive)
		case m.prov == nil:
			http.Error(w, "no such file", http.StatusNotFound)
		default:
			_, _ = w.Write(m.prov)
		}
		return
	}
	http.Error(w, "no such file", http.StatusNotFound)
}

func (g *registry) serveOCI(w http.ResponseWriter, r *http.Request, path string) {
	if repository, ok := strings.CutSuffix(path, "/tags/list"); ok {
		tags := []string{}
		for _, m := range g.made {
			if m.project+"/"+m.chart == repository && !m.hidden && chart.TagFor(m.version) > r.URL.Query().Get("last") {
				tags = append(tags, chart.TagFor(m.version))
			}
		}
		slices.Sort(tags)
		_ = json.NewEncoder(w).Encode(map[string]any{"tags": tags[:min(len(tags), 2)]}) // small pages
		return
	}
	for _, m := range g.made {
		if path == m.project+"/"+m.chart+"/manifests/"+chart.TagFor(m.version) && m.status == 0 {
			_, _ = w.Write(m.manifest)
			return
		}
	}
	http.Error(w, "no such manifest", http.StatusNotFound)
}

// RoundTrip implements http.RoundTripper without a network: the answer comes
// through a pipe, so that one which never ends is possible.
func (g *registry) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	a := &answer{header: http.Header{}, body: w, ready: make(chan struct{})}
	stop := context.AfterFunc(req.Context(), func() { w.CloseWithError(req.Context().Err()); r.CloseWithError(req.Context().Err()) })
	go func() {
		defer stop()
		g.ServeHTTP(a, req)
		a.WriteHeader(http.StatusOK)
		w.Close()
	}()
	select {
	case <-a.ready:
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	return &http.Response{StatusCode: a.status, Header: a.header, Body: r, Request: req, ProtoMajor: 1, ProtoMinor: 1}, nil
}

type answer struct {
	header http.Header
	body   *io.PipeWriter
	ready  chan struct{}
	once   sync.Once
	status int
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	a.once.Do(func() { a.status = status; close(a.ready) })
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// at intercepts requests whose path has a part in it.
func (g *registry) at(part string, answer func(w http.ResponseWriter, r *http.Request)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, part) {
			return false
		}
		answer(w, r)
		return true
	}
}

// follow opens a monitor of the registry.
func (g *registry) follow(dir string, with ...func(*monitor.Config)) *monitor.Monitor {
	g.t.Helper()
	c, err := client.New("https://charts.example.com", "", client.Options{HTTP: &http.Client{Transport: g}})
	if err != nil {
		g.t.Fatal(err)
	}
	cfg := monitor.Config{Client: c, Keys: []string{g.log.VerifierKey}, State: dir, Now: time.Now, Rand: rand.New(rand.NewPCG(1, 2)), Depth: monitor.ArchivesAll}
	for _, change := range with {
		change(&cfg)
	}
	m, err := monitor.Open(cfg)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = m.Close() })
	return m
}

// look makes rounds until no doubt is left, as monitor --once does.
func look(t testing.TB, m *monitor.Monitor) monitor.Report {
	t.Helper()
	r, err := m.Round(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m.Again() {
		if r, err = m.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// rules are what a report found, and whether something was not checked.
func rules(r monitor.Report) []string {
	var out []string
	for _, f := range r.Findings {
		s := f.Rule
		if f.Proven {
			s += "!"
		}
		out = append(out, s)
	}
	if len(r.Unchecked) > 0 {
		out = append(out, "unchecked")
	}
	slices.Sort(out)
	return out
}

// filled is a registry with some of everything.
func filled(t testing.TB) *registry {
	g := newRegistry(t)
	g.project("team")
	g.released("team/web@1.0.0")
	g.released("team/web@1.1.0")
	g.released("team/db@1.0.0+a")
	g.yank("team/web@1.0.0")
	g.attach("team/web@1.1.0", "signed")
	g.released("team/bad@1.0.0")
	g.quarantine("team/bad@1.0.0")
	g.released("team/bad@2.0.0")
	g.tombstone("team/bad@2.0.0")
	return g
}
