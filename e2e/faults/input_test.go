package faults

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// victim is a server that is sent what no client should send.
type victim struct {
	*publisher
	t     *testing.T
	s     *daemontest.Server
	ob    *observer
	good  offer
	begun map[string]float64 // metrics before
	parts map[string]bool    // digests of blobs that may be stored
}

const victimProject = "in/put"

func newVictim(t *testing.T) *victim {
	t.Helper()
	s := daemontest.Start(t, daemontest.Options{Data: filepath.Join(t.TempDir(), "data")})
	v := &victim{publisher: publisherOf(s), t: t, s: s, parts: map[string]bool{}}
	if _, err := s.Client(s.Admin).CreateProject(t.Context(), client.NewProject{Name: victimProject}); err != nil {
		t.Fatal(err)
	}
	v.good = newOffer(t, victimProject, "good", "1.0.0", "the good one", 50_000)
	if a := doors[1].push(t.Context(), v.publisher, &v.good); !a.accepted() {
		t.Fatal(a.String())
	}
	v.parts[v.good.digest()] = true
	var err error
	if v.ob, err = newObserver(v.publisher, s.LogKey()); err != nil {
		t.Fatal(err)
	}
	v.begun = v.metrics()
	return v
}

// metrics are the gauges of the process.
func (v *victim) metrics() map[string]float64 {
	v.t.Helper()
	a := v.get(context.Background(), "/metrics")
	if !a.accepted() {
		v.t.Fatalf("metrics: %s", &a)
	}
	out := map[string]float64{}
	for line := range strings.Lines(a.text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if f, err := strconv.ParseFloat(value, 64); ok && err == nil {
			out[name] = f
		}
	}
	return out
}

// settled waits until nothing of the attack is left in the process: its
// goroutines and files are about as many as before.
func (v *victim) settled() {
	v.t.Helper()
	v.s.HTTP.CloseIdleConnections()
	const slack, files = 12, 40 // the pool of read connections grows under load, up to its limit
	var now map[string]float64
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		now = v.metrics()
		if now["go_goroutines"] <= v.begun["go_goroutines"]+slack && now["process_open_fds"] <= v.begun["process_open_fds"]+files {
			return
		}
		pause := time.NewTimer(50 * time.Millisecond) // between looks at what only time can change
		<-pause.C
	}
	v.t.Errorf("left behind: %v goroutines, before %v; %v open files, before %v",
		now["go_goroutines"], v.begun["go_goroutines"], now["process_open_fds"], v.begun["process_open_fds"])
}

// small checks the memory of the process, in MiB.
func (v *victim) small(most float64) {
	v.t.Helper()
	if mib := v.metrics()["process_resident_memory_bytes"] / (1 << 20); mib > most {
		v.t.Errorf("the process takes %.0f MiB, at most %.0f were expected", mib, most)
	} else {
		v.t.Logf("the process takes %.0f MiB", mib)
	}
}

// unharmed checks that the server goes on, and that nothing was left behind:
// one release, its bytes and what is known to have been uploaded, no more.
func (v *victim) unharmed() {
	v.t.Helper()
	ctx := v.t.Context()
	if !v.s.Running() {
		v.t.Fatal("the server died")
	}
	if err := v.ob.whole(ctx, &v.good); err != nil {
		v.t.Error(err)
	}
	leaves, err := v.ob.releases(ctx)
	if err != nil || len(leaves) != 1 {
		v.t.Errorf("%d releases in the log (%v), and one was made", len(leaves), err)
	}
	if _, err := v.ob.consistent(ctx); err != nil {
		v.t.Error(err)
	}
	v.settled()
	v.clean()
}

// clean looks at the data folder, and beside it.
func (v *victim) clean() {
	v.t.Helper()
	beside, err := os.ReadDir(filepath.Dir(v.s.Data))
	if err != nil || len(beside) != 1 {
		v.t.Errorf("beside the data folder: %v %v", beside, err)
	}
	err = filepath.WalkDir(v.s.Data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(v.s.Data, path)
		if err != nil {
			return err
		}
		switch dir := strings.Split(filepath.ToSlash(rel), "/"); dir[0] {
		case "lock", "admin-token", "log.key", "log.vkey", "audit.vkey", "settings.json", "chartkeep.db", "chartkeep.db-wal", "chartkeep.db-shm":
		case "blobs":
			if len(dir) > 1 && dir[1] == "records" { // of the logs, a few bytes an entry
				return nil
			}
			if digest := dir[len(dir)-3] + ":" + dir[len(dir)-1]; len(dir) != 5 || !v.parts[digest] {
				v.t.Errorf("left behind: %s", rel)
			}
		default:
			v.t.Errorf("left behind: %s", rel)
		}
		return nil
	})
	if err != nil {
		v.t.Error(err)
	}
}

// dial opens a connection that ends with the test.
func (v *victim) dial() net.Conn {
	v.t.Helper()
	c, err := net.Dial("tcp", v.s.Addr)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { c.Close() })
	return c
}

// raw sends bytes as they are and returns the first answer, nil when the
// connection was closed without one.
func (v *victim) raw(request []byte) *http.Response {
	v.t.Helper()
	c := v.dial()
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(daemontest.Patience))
	go c.Write(request) // the server may answer and close before it took all
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
			v.t.Errorf("no answer to %.80q", request)
		}
		return nil
	}
	var body bytes.Buffer
	_, _ = body.ReadFrom(res.Body)
	res.Body = http.NoBody
	res.Header.Set("X-Body", body.String())
	return res
}

// authorization is the header line of a credential that may do all.
func (v *victim) authorization() string { return "Authorization: Bearer " + v.token + "\r\n" }

// head begins a request in its exact bytes.
func (v *victim) head(method, target string, headers ...string) []byte {
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n%s%s\r\n", method, target, v.s.Addr, v.authorization(), strings.Join(append(headers, ""), "\r\n"))
}
