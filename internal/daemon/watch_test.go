package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// theirs is somebody else's chart repository.
type theirs struct {
	*httptest.Server
	mu       sync.Mutex
	archives map[string][]byte // by version
	fetched  int
}

func newTheirs(t *testing.T) *theirs {
	u := &theirs{archives: map[string][]byte{}}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		defer u.mu.Unlock()
		if r.URL.Path == "/index.yaml" {
			fmt.Fprint(w, "apiVersion: v1\nentries:\n  web:\n")
			for version, b := range u.archives {
				sum := sha256.Sum256(b)
				fmt.Fprintf(w, "  - name: web\n    version: %s\n    digest: %s\n    urls:\n    - files/web-%s.tgz\n", version, hex.EncodeToString(sum[:]), version)
			}
			return
		}
		version := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/files/web-"), ".tgz")
		if b, ok := u.archives[version]; ok {
			u.fetched++
			w.Write(b)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(u.Close)
	return u
}

func (u *theirs) publish(version string, archive []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.archives[version] = archive
}

var operator = audit.Caller{
	Principal: access.Principal{Kind: access.KindUser, ID: "usr-test", Name: "test", Grants: []access.Grant{{Role: access.RoleInstanceAdmin, Project: "*"}}},
	Door:      audit.DoorAPI,
}

// happens waits until the server told of an event.
func happens(t *testing.T, d *Daemon, kind watch.EventKind, version string) watch.Event {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		list, err := d.watch.Events(t.Context(), operator, watch.EventFilter{Kind: kind, Version: version})
		if err != nil {
			t.Fatal(err)
		}
		if len(list) > 0 {
			return list[0]
		}
	}
	t.Fatalf("nobody told of %s %s", kind, version)
	return watch.Event{}
}

func (d *Daemon) get(t *testing.T, path string) (int, string) {
	t.Helper()
	res, err := http.Get(d.URL() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// The whole server, between an upstream over HTTP and a client over HTTP: what
// is mirrored is served as first seen, whatever the upstream does later.
func TestMirrorServes(t *testing.T) {
	up := newTheirs(t)
	first := charttest.Build(t, "web", "1.0.0", nil)
	up.publish("1.0.0", first)
	d, _ := run(t, loopback(t))
	ctx := t.Context()
	if _, err := d.service.CreateProject(ctx, operator, "mirror", release.ProjectOptions{Public: true, Policy: release.Policy{Mirror: "up"}}); err != nil {
		t.Fatal(err)
	}
	_, err := d.watch.AddUpstream(ctx, operator, watch.NewUpstream{
		Name: "up", Sources: []watch.Source{{Kind: watch.SourceIndex, URL: up.URL}}, Mirror: &watch.Mirror{Project: "mirror"},
	})
	if err != nil {
		t.Fatal(err)
	}
	happens(t, d, watch.Mirrored, "1.0.0")
	serves := func() {
		t.Helper()
		if status, text := d.get(t, "/mirror/index.yaml"); status != 200 || !strings.Contains(text, "web-1.0.0.tgz") {
			t.Fatalf("%d %s", status, text)
		}
		if status, body := d.get(t, "/mirror/charts/web-1.0.0.tgz"); status != 200 || body != string(first) {
			t.Fatalf("%d, %d bytes", status, len(body))
		}
		if status, text := d.get(t, "/v2/mirror/web/manifests/1.0.0"); status != 200 {
			t.Fatalf("%d %s", status, text)
		}
	}
	serves()
	up.publish("1.0.0", charttest.Build(t, "web", "1.0.0", map[string]string{"templates/x.yaml": "kind: Evil\n"}))
	if err := d.watch.PollNow(ctx, operator, "up"); err != nil {
		t.Fatal(err)
	}
	e := happens(t, d, watch.MirrorRefused, "1.0.0")
	if e.Severity != watch.High {
		t.Errorf("%+v", e)
	}
	if e := happens(t, d, watch.Changed, "1.0.0"); len(e.Files) != 1 {
		t.Errorf("%+v", e)
	}
	serves()
	if status, text := request(t, d, "POST", "/api/mirror/charts", charttest.Build(t, "web", "9.0.0", nil)); status/100 != 4 || !strings.Contains(text, "mirrors the upstream up") {
		t.Errorf("a push by hand into a mirror: %d %s", status, text)
	}
}

// What a mirror does not have yet is fetched when a client asks for it, once
// for all who ask.
func TestMirrorOnDemand(t *testing.T) {
	up := newTheirs(t)
	up.publish("1.0.0", charttest.Build(t, "web", "1.0.0", nil))
	up.publish("1.1.0", charttest.Build(t, "web", "1.1.0", nil))
	d, _ := run(t, loopback(t))
	ctx := t.Context()
	if _, err := d.service.CreateProject(ctx, operator, "mirror", release.ProjectOptions{Public: true, Policy: release.Policy{Mirror: "up"}}); err != nil {
		t.Fatal(err)
	}
	_, err := d.watch.AddUpstream(ctx, operator, watch.NewUpstream{
		Name: "up", Keep: watch.KeepNone, Sources: []watch.Source{{Kind: watch.SourceIndex, URL: up.URL}}, Mirror: &watch.Mirror{Project: "mirror", OnDemand: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	happens(t, d, watch.FirstRead, "")
	var running sync.WaitGroup
	for range 10 {
		running.Go(func() {
			if status, body := d.get(t, "/mirror/charts/web-1.0.0.tgz"); status != 200 || body != string(up.archives["1.0.0"]) {
				t.Errorf("%d, %d bytes", status, len(body))
			}
		})
	}
	running.Wait()
	status, text := d.get(t, "/v2/mirror/web/manifests/1.1.0")
	if status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	var manifest struct{ Layers []struct{ Digest string } }
	if err := json.Unmarshal([]byte(text), &manifest); err != nil || len(manifest.Layers) != 1 {
		t.Fatal(text)
	}
	if status, _ := d.get(t, "/v2/mirror/web/blobs/"+manifest.Layers[0].Digest); status != 200 {
		t.Errorf("the blob of the manifest: %d", status)
	}
	if status, _ := d.get(t, "/mirror/charts/web-2.0.0.tgz"); status != 404 {
		t.Errorf("a version that nobody has: %d", status)
	}
	if up.fetched > 3 {
		t.Errorf("the upstream was asked for %d archives", up.fetched)
	}
	if err := d.watch.Fingerprint(context.WithoutCancel(ctx)); err != nil {
		t.Error(err)
	}
}
