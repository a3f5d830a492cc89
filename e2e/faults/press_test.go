package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// edition is what an upstream lists as one version.
type edition struct {
	offer
	created time.Time
	gone    bool
}

// press is an upstream that answers slowly, and a target of webhooks. It goes
// from one state to the next when it is told to, and knows what has to be told
// of each. Every version vanishes and returns once at most, and is replaced
// once at most, so that no two things that happen are the same.
type press struct {
	*httptest.Server
	t testing.TB

	mu       sync.Mutex
	state    int
	web      []*edition // mirrored
	bulk     []*edition // more than one transaction writes
	index    []byte
	archives map[string][]byte   // by file
	first    map[string]*offer   // of web, by version: what the mirror has to serve
	events   map[string]int      // that have to be told
	leaves   map[string]int      // that have to be in the log
	got      map[string][]string // keys of events, by delivery
	repeated int                 // deliveries that came again
	stop     *stop
}

const bulkVersions = 2100 // 2,000 are written at a time

// stop is a point at which the server dies.
type stop struct {
	point   string
	nth     int // how often it is passed before
	reached chan struct{}
}

func newPress(t testing.TB) *press {
	p := &press{
		t: t, archives: map[string][]byte{}, first: map[string]*offer{}, events: map[string]int{}, leaves: map[string]int{}, got: map[string][]string{},
	}
	for i := range bulkVersions {
		p.bulk = append(p.bulk, p.publish("bulk", fmt.Sprintf("0.%d.0", i)))
	}
	p.events = map[string]int{"first-read": 1, "mirrored web 1.0.0": 1}
	p.web = append(p.web, p.publish("web", "1.0.0"))
	p.print()
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

// publish makes a version that is new.
func (p *press) publish(chart, version string) *edition {
	e := &edition{offer: newOffer(p.t, "mirror", chart, version, "first", 0), created: time.Unix(1.7e9, 0)}
	p.archives[e.file()] = e.archive
	p.leaves[fmt.Sprintf("seen %s@%s %s", chart, version, e.digest())]++
	if chart == "web" {
		first := e.offer
		p.first[version] = &first
		p.leaves[fmt.Sprintf("released %s@%s %s", chart, version, e.digest())]++
	}
	return e
}

func (p *press) replace(e *edition, salt string) {
	e.offer = newOffer(p.t, e.project, e.chart, e.version, salt, 0)
	p.archives[e.file()] = e.archive
	p.leaves[fmt.Sprintf("changed %s@%s %s", e.chart, e.version, e.digest())]++
}

// next goes to the next state. With heavy, so much changes at once that it is
// written in several transactions.
func (p *press) next(heavy bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state++
	n := p.state
	e := p.publish("web", fmt.Sprintf("1.0.%d", n))
	p.web = append(p.web, e)
	p.events["new-version web "+e.version+" "+e.digest()]++
	p.events["mirrored web "+e.version]++
	if n >= 2 {
		e := p.web[n-2]
		p.replace(e, "second")
		p.events["changed web "+e.version+" "+e.digest()+" 1 file"]++
		p.events["mirror-refused web "+e.version]++
	}
	if n >= 4 {
		e := p.web[n-4]
		e.gone = true
		p.events["vanished web "+e.version]++
		p.leaves["vanished "+e.chart+"@"+e.version+" "+e.digest()]++
	}
	if n >= 6 {
		e := p.web[n-6]
		e.gone = false
		p.events["returned web "+e.version]++
		p.leaves["returned "+e.chart+"@"+e.version+" "+e.digest()]++
	}
	if heavy {
		for i, e := range p.bulk {
			if i%250 == n {
				p.replace(e, "second")
				p.events["changed bulk "+e.version+" "+e.digest()]++
				continue
			}
			e.created = e.created.Add(time.Hour)
		}
		p.events["created-rewritten bulk"] += 2 // one for each transaction
	}
	p.print()
}

// print writes the index of the state.
func (p *press) print() {
	var b bytes.Buffer
	b.WriteString("apiVersion: v1\nentries:\n")
	for _, list := range [][]*edition{p.bulk, p.web} {
		fmt.Fprintf(&b, "  %s:\n", list[0].chart)
		for _, e := range list {
			if !e.gone {
				fmt.Fprintf(&b, "  - apiVersion: v2\n    created: %q\n    digest: %s\n    name: %s\n    urls:\n    - files/%s\n    version: %s\n",
					e.created.UTC().Format(time.RFC3339Nano), strings.TrimPrefix(e.digest(), "sha256:"), e.chart, e.file(), e.version)
			}
		}
	}
	p.index = b.Bytes()
}

// pass is called at a point. Where the server is to die there, it is told, and
// with wait the answer goes no further.
func (p *press) pass(r *http.Request, point string, wait bool) {
	p.mu.Lock()
	s := p.stop
	there := s != nil && s.point == point
	if there {
		if s.nth--; s.nth >= 0 {
			there = false
		} else {
			p.stop = nil
		}
	}
	p.mu.Unlock()
	if !there {
		return
	}
	close(s.reached)
	if wait {
		<-r.Context().Done()
	}
}

func (p *press) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/hook" {
		p.hook(w, r)
		return
	}
	p.mu.Lock()
	body, name, parts := p.index, "index", 10
	etag := strconv.Quote(strconv.Itoa(p.state))
	if file, ok := strings.CutPrefix(r.URL.Path, "/files/"); ok {
		body, name, parts, etag = p.archives[file], "archive", 2, ""
	}
	p.mu.Unlock()
	p.pass(r, name+" asked", true)
	if body == nil {
		http.NotFound(w, r)
		return
	}
	if etag != "" {
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	size := (len(body) + parts - 1) / parts
	n := 0
	for part := range slices.Chunk(body, size) {
		_, _ = w.Write(part) // who is gone is dead
		_ = http.NewResponseController(w).Flush()
		if n++; n == parts/2 {
			p.pass(r, name+" half", true)
		}
		time.Sleep(2 * time.Millisecond) // slow
	}
	p.pass(r, name+" sent", false)
}

// hook takes a delivery.
func (p *press) hook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var events []struct{ ID string }
	if err == nil {
		err = json.Unmarshal(body, &events)
	}
	id := r.Header.Get("Webhook-Id")
	var keys []string
	for _, e := range events {
		keys = append(keys, e.ID)
	}
	p.mu.Lock()
	old, again := p.got[id]
	switch {
	case err != nil || id == "" || len(keys) == 0:
		p.t.Errorf("a delivery that says nothing: %q %v %s", id, err, body)
	case again && !slices.Equal(old, keys):
		p.t.Errorf("delivery %s has %q, and had %q", id, keys, old)
	case again:
		p.repeated++
	}
	p.got[id] = keys
	p.mu.Unlock()
	p.pass(r, "delivery asked", true)
	w.WriteHeader(http.StatusNoContent)
	_ = http.NewResponseController(w).Flush()
	p.pass(r, "delivery answered", false)
}
