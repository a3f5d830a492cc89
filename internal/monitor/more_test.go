package monitor_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/monitor"
	"github.com/chartkeep/chartkeep/internal/server/tiles/tilestest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

func TestAnnounced(t *testing.T) {
	in(t, func(t *testing.T) {
		g := newRegistry(t)
		for _, p := range []string{"team", "other"} {
			g.project(p)
		}
		g.clock = time.Now()
		g.released("team/old@1.0.0") // before the monitor began
		list := filepath.Join(t.TempDir(), "announced")
		announce := func(lines ...string) {
			if err := os.WriteFile(list, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		announce("# by the pipeline", "team/old@0.9.0 "+digest.SHA256(nil))
		m := g.follow(t.TempDir(), func(c *monitor.Config) {
			c.Announced = &monitor.Announced{Place: list, Within: 10 * time.Minute}
		})
		if r := look(t, m); rules(r) != nil {
			t.Fatalf("before: %v", rules(r))
		}
		g.clock = time.Now()
		line := func(ref string) string { return ref + " " + digest.SHA256(g.made[ref].archive) }
		g.released("team/web@1.0.0")
		g.released("team/web@1.0.1")
		g.released("team/evil@1.0.0") // a chart that nobody knows, in a project that is known
		g.released("other/web@1.0.0") // not ours to judge
		if r := look(t, m); rules(r) != nil {
			t.Errorf("in time: %v", rules(r))
		}
		announce(line("team/web@1.0.0")+" # build 77",
			"chart charts.example.com/log team/web 1.0.1 "+digest.SHA256([]byte("what the pipeline made"))+" 7 -")
		if r := look(t, m); !slices.Equal(rules(r), []string{"release-other-digest"}) {
			t.Errorf("other bytes: %v", rules(r))
		}
		time.Sleep(11 * time.Minute)
		announce("this is no announcement")
		if r := look(t, m); !slices.Equal(rules(r), []string{"release-other-digest", "unchecked"}) {
			t.Errorf("a list that cannot be read: %v %v", rules(r), r.Unchecked)
		}
		announce(line("team/web@1.0.0"))
		r := look(t, m)
		if !slices.Equal(rules(r), []string{"release-other-digest", "release-unannounced"}) || r.Findings[1].Chart != "evil" || r.Disproven {
			t.Errorf("too late: %v %+v", rules(r), r.Findings)
		}
		time.Sleep(time.Hour)
		if again := look(t, m); len(again.Findings) != 2 {
			t.Errorf("again: %v", rules(again))
		}
	})
}

func TestAnnouncedPlaces(t *testing.T) {
	g := newRegistry(t)
	g.project("team")
	g.clock = time.Now().Add(-time.Hour)
	for _, v := range []string{"1.0.0", "1.0.1", "1.0.2"} {
		g.released("team/web@" + v)
	}
	line := func(v string) string {
		return "team/web@" + v + " " + digest.SHA256(g.made["team/web@"+v].archive) + "\n"
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"a": line("1.0.0"), "b": line("1.0.1") + line("1.0.2"), ".git": "no list\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer web.Close()
	for place, want := range map[string][]string{
		dir:                      nil,
		filepath.Join(dir, "b"):  {"release-unannounced"},
		filepath.Join(dir, "no"): {"unchecked"},
		web.URL + "/a":           {"release-unannounced", "release-unannounced"},
		web.URL + "/no":          {"unchecked"},
	} {
		m := g.follow(t.TempDir(), func(c *monitor.Config) {
			c.Announced = &monitor.Announced{Place: place, Scope: []string{"team/*"}, Since: start, HTTP: web.Client()}
		})
		if diff := cmp.Diff(want, rules(look(t, m))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", place, diff)
		}
	}
	for _, pattern := range []string{"team", "[/a"} {
		if (&monitor.Announced{Scope: []string{pattern}}).Check() == nil {
			t.Errorf("pattern %q is taken", pattern)
		}
	}
}

// TestWitnesses asks for a quorum.
func TestWitnesses(t *testing.T) {
	in(t, func(t *testing.T) {
		g := filled(t)
		skey, wkey, err := tlog.GenerateWitnessKey(bytes.NewReader(bytes.Repeat([]byte{3}, 64)), "witness.example.com/w")
		if err != nil {
			t.Fatal(err)
		}
		witness, err := tlog.NewCosigner(skey)
		if err != nil {
			t.Fatal(err)
		}
		p, err := tlog.ParseWitnessPolicy([]byte("log " + g.log.VerifierKey + "\nwitness w " + wkey + "\nquorum w\n"))
		if err != nil {
			t.Fatal(err)
		}
		m := g.follow(t.TempDir(), func(c *monitor.Config) { c.Policy = &p })
		r := look(t, m)
		if got := rules(r); !slices.Equal(got, []string{"witness-quorum"}) || r.Size != g.log.Size() {
			t.Errorf("without cosignatures: %v at %d", got, r.Size)
		}
		const quorum = "witness-quorum"
		for i, c := range []struct {
			bySize string // what is cosigned has the size of the log with this for its first digit
			want   []string
		}{
			{"2", []string{quorum, quorum}}, // whether there are enough could not be looked at, so that stays too
			{"1", nil},
			{"2", []string{quorum}},
		} {
			text, _ := g.log.Checkpoint(t.Context())
			cp, err := tlog.ParseCheckpoint(text)
			if err != nil {
				t.Fatal(err)
			}
			cp.Note = bytes.Replace(cp.Note, []byte("\n1"), []byte("\n"+c.bySize), 1)
			line, err := witness.Cosign(cp, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			signed := append(slices.Clone(text), line...)
			g.at("/log/checkpoint", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(signed) })
			if r := look(t, m); !slices.Equal(rules(r), c.want) || len(r.Cosigned) > 0 != (c.want == nil) {
				t.Errorf("%d: %v, by %v %s", i, rules(r), r.Cosigned, signed)
			}
		}
	})
}

// TestRotation follows a log from one key to the next.
func TestRotation(t *testing.T) {
	in(t, func(t *testing.T) {
		g := filled(t)
		dir := t.TempDir()
		m := g.follow(dir)
		look(t, m)
		key := func(seed byte) (note.Signer, string) {
			skey, vkey, err := tlog.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{seed}, 64)), origin)
			if err != nil {
				t.Fatal(err)
			}
			s, err := tlog.NewSigner(skey)
			if err != nil {
				t.Fatal(err)
			}
			return s, vkey
		}
		old, oldKey := key(7) // as tilestest has it
		next, nextKey := key(8)
		if oldKey != g.log.VerifierKey {
			t.Fatal("the log has another key")
		}
		by := func(signers ...note.Signer) {
			g.at("/log/checkpoint", func(w http.ResponseWriter, r *http.Request) {
				text, _ := g.log.Checkpoint(r.Context())
				cp, _ := tlog.ParseCheckpoint(text)
				text, _ = tlog.SignCheckpoint(origin, cp.Size, cp.Root, signers...)
				_, _ = w.Write(text)
			})
		}
		g.leaf(tlog.Rotation{Old: oldKey, New: nextKey, Until: g.clock.Add(time.Hour), Actor: ann, Time: g.tick()})
		by(old)
		if r := look(t, m); !slices.Equal(rules(r), []string{"rotation-signer!"}) {
			t.Errorf("without the new key: %v", rules(r))
		}
		m.Close()
		m = g.follow(t.TempDir())
		by(old, next)
		if r := look(t, m); rules(r) != nil {
			t.Errorf("in the overlap: %v", rules(r))
		}
		time.Sleep(2 * time.Hour)
		g.clock = g.clock.Add(2 * time.Hour)
		g.released("team/web@1.2.0")
		by(next)
		if r := look(t, m); rules(r) != nil {
			t.Errorf("by the new key alone: %v %v", rules(r), r.Unchecked)
		}
		_, stranger := key(9)
		other := g.follow(t.TempDir(), func(c *monitor.Config) { c.Keys = []string{nextKey, stranger} })
		if r := look(t, other); !slices.Equal(rules(r), []string{"log-key"}) {
			t.Errorf("with a key that the log never had: %v", rules(r))
		}
		by(old, next)
		g.released("team/web@1.3.0")
		if r := look(t, m); !slices.Equal(rules(r), []string{"rotation-signer!"}) {
			t.Errorf("by a key that had ended: %v", rules(r))
		}
	})
}

// long is a registry with n leaves, mostly releases that name a source.
func long(t testing.TB, n int, source string) *registry {
	g := newRegistry(t)
	g.project("team")
	for i := int(g.log.Size()); i < n; i++ {
		m := &made{project: "team", chart: fmt.Sprintf("chart-%d", i%50), version: fmt.Sprintf("1.%d.0", i/50), archive: fmt.Append(nil, i), manifest: fmt.Append(nil, "m", i)}
		l := m.release(g.tick())
		l.Source = tlog.Source{URL: source, Commit: strings.Repeat("c", 40)}
		b, err := l.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		g.log.Append(b)
	}
	g.log.Sign(t)
	return g
}

// TestLong follows a log of more than one segment, which is stopped in between.
func TestLong(t *testing.T) {
	if testing.Short() {
		t.Skip("24,000 leaves")
	}
	const size = 24_000
	g := long(t, size, strings.Repeat("s", 1000)) // 38 MB
	dir := t.TempDir()
	light := func(c *monitor.Config) { c.Depth = monitor.ArchivesNone }
	m := g.follow(dir, light)
	ctx, stop := context.WithCancel(t.Context())
	g.intercept = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/entries/090") {
			stop() // killed behind the first segment
		}
		return false
	}
	if _, err := m.Round(ctx); err == nil {
		t.Fatal("the round was not stopped")
	}
	m.Close()
	g.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "index.yaml") { // nothing is at the doors of this one
			http.Error(w, "nothing", http.StatusNotFound)
			return true
		}
		return false
	}
	m = g.follow(dir, light)
	r, err := m.Round(t.Context())
	if err != nil || r.Size != size || len(r.Findings) > 0 || r.Leaves == size {
		t.Errorf("%v: %d leaves, %d of them now, %v", err, r.Size, r.Leaves, rules(r))
	}
	m.Close()
	m = g.follow(dir, light)
	if r, err = m.Round(t.Context()); err != nil || r.Leaves != 0 || r.Size != size || r.Releases != size-1 {
		t.Errorf("%v: %+v", err, r)
	}
	// A fork is seen whatever was kept.
	m.Close()
	if err := os.Remove(find(t, dir, "history")); err != nil {
		t.Fatal(err)
	}
	was := g.log
	g.log = tilestest.New(t, origin)
	for i := range int64(size) + 1 {
		e, _ := was.Entries(t.Context(), min(i, size-1)/256, int(min(i, size-1)%256+1))
		b := e[min(i, size-1)%256]
		if i == 10_000 {
			b = bytes.Replace(b, []byte("usr-ann"), []byte("usr-eve"), 1)
		}
		g.log.Append(b)
	}
	g.log.Sign(t)
	m = g.follow(dir, light)
	if r, err = m.Round(t.Context()); err != nil || !slices.Contains(rules(r), "log-fork!") {
		t.Errorf("%v: %v %v", err, rules(r), r.Unchecked)
	}
}

func TestSample(t *testing.T) {
	in(t, func(t *testing.T) {
		g := filled(t)
		m := g.follow(t.TempDir(), func(c *monitor.Config) { c.Depth = monitor.ArchivesSample; c.Rate = 100 })
		if r := look(t, m); rules(r) != nil {
			t.Fatalf("%v", rules(r))
		}
		g.made["team/web@1.1.0"].archive = []byte("archive of team/web@1.1.1") // long after
		g.made["team/web@1.1.0"].digest = strings.TrimPrefix(digest.SHA256([]byte("archive of team/web@1.1.0")), "sha256:")
		for range 20 {
			if r := look(t, m); len(rules(r)) > 0 {
				if !slices.Equal(rules(r), []string{"archive-digest!"}) {
					t.Errorf("%v", rules(r))
				}
				return
			}
		}
		t.Error("twenty samples missed one of three archives")
	})
}

// TestAnotherPast sends other entries when it is asked a second time for what
// was replayed already.
func TestAnotherPast(t *testing.T) {
	in(t, func(t *testing.T) {
		g := filled(t)
		dir := t.TempDir()
		sample := func(c *monitor.Config) { c.Depth = monitor.ArchivesSample }
		m := g.follow(dir, sample)
		look(t, m)
		m.Close()
		fake := other(t, g, g.log.Size(), func(i int64, e []byte) []byte { return bytes.Replace(e, []byte("usr-ann"), []byte("usr-eve"), 1) })
		entries, _ := fake.Entries(t.Context(), 0, int(fake.Size()))
		b, _ := tlog.EntryBundle(entries)
		g.at("/log/tile/entries/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) })
		m = g.follow(dir, sample)
		if r := look(t, m); !slices.Equal(rules(r), []string{"log-entries!", "unchecked"}) {
			t.Errorf("%v %v", rules(r), r.Unchecked)
		}
	})
}

// TestNew does not look at what was there before.
func TestNew(t *testing.T) {
	in(t, func(t *testing.T) {
		g := filled(t)
		m := g.follow(t.TempDir(), func(c *monitor.Config) { c.Depth = monitor.ArchivesNew })
		if r := look(t, m); rules(r) != nil || r.Archives != 0 {
			t.Errorf("%v %d", rules(r), r.Archives)
		}
		g.released("team/web@1.2.0")
		g.attach("team/web@1.2.0", "signed")
		if r := look(t, m); rules(r) != nil || r.Archives != 1 {
			t.Errorf("%v %d", rules(r), r.Archives)
		}
	})
}

// TestRate sees that archives are fetched no faster than asked.
func TestRate(t *testing.T) {
	in(t, func(t *testing.T) {
		g := filled(t)
		m := g.follow(t.TempDir(), func(c *monitor.Config) { c.Depth = monitor.ArchivesNew; c.Rate = 1 << 20 })
		look(t, m)
		g.released("team/web@1.2.0").archive = nil
		big := g.shown("team/web@1.3.0")
		big.archive = bytes.Repeat([]byte("x"), 10<<20)
		g.leaf(big.release(g.tick()))
		begin := time.Now()
		if r := look(t, m); !slices.Contains(rules(r), "archive-digest!") {
			t.Errorf("%v", rules(r)) // the empty one
		}
		if took := time.Since(begin); took < 9*time.Second || took > 30*time.Second {
			t.Errorf("10 MB at 1 MB/s took %s", took)
		}
	})
}

// TestService runs a service until it is stopped.
func TestService(t *testing.T) {
	in(t, func(t *testing.T) {
		g := filled(t)
		tell := &sink{}
		m := g.follow(t.TempDir(), func(c *monitor.Config) { c.Sinks = []string{"test"} })
		ctx, stop := context.WithCancel(t.Context())
		var rounds atomic.Int64
		s := &monitor.Service{Monitors: []*monitor.Monitor{m}, Sinks: []monitor.Sink{tell}, Interval: time.Minute, Told: func(r monitor.Report) {
			if rounds.Add(1) == 3 {
				g.made["team/web@1.0.0"].hidden = false
			}
		}}
		get := func(path string) (int, string) {
			w := httptest.NewRecorder()
			s.Handler(time.Now).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			b, _ := io.ReadAll(w.Body)
			return w.Code, string(b)
		}
		if code, _ := get("/healthz"); code != 503 {
			t.Errorf("healthy before the first round: %d", code)
		}
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		time.Sleep(10 * time.Minute)
		if code, body := get("/healthz"); code != 200 {
			t.Errorf("health: %d %s", code, body)
		}
		_, metrics := get("/metrics")
		for _, want := range []string{
			`chartkeep_monitor_findings{log="charts.example.com/log",rule="index-hidden",severity="high"} 1`,
			`chartkeep_monitor_rounds_total{log="charts.example.com/log",read="true"} `,
			`chartkeep_monitor_log_leaves{log="charts.example.com/log"} `, `chartkeep_monitor_findings_waiting{log="charts.example.com/log"} 0`,
		} {
			if !strings.Contains(metrics, want) {
				t.Errorf("metrics lack %s:\n%s", want, metrics)
			}
		}
		lies["a server that is down"].lie(t, g)
		time.Sleep(time.Hour)
		if code, body := get("/healthz"); code != 503 || !strings.Contains(body, origin) {
			t.Errorf("health of a blind monitor: %d %s", code, body)
		}
		n := rounds.Load()
		time.Sleep(time.Hour)
		if got := rounds.Load() - n; got > 6 {
			t.Errorf("%d rounds in an hour of failures: it does not back off", got)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if n < 12 || n > 25 || len(tell.keys()) != 3 {
			t.Errorf("%d rounds, told %v", n, tell.keys())
		}
	})
}

// BenchmarkRound follows a log of 100,000 leaves from the beginning.
func BenchmarkRound(b *testing.B) {
	g := long(b, 100_000, "https://git.example.com/team/web")
	g.at("/index.yaml", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	b.ReportAllocs()
	for b.Loop() {
		m := g.follow(b.TempDir(), func(c *monitor.Config) { c.Depth = monitor.ArchivesNone })
		r, err := m.Round(b.Context())
		if err != nil || r.Size != 100_000 {
			b.Fatal(err, r.Size, r.Unchecked)
		}
		m.Close()
	}
	b.ReportMetric(100_000*float64(b.N)/b.Elapsed().Seconds(), "leaves/s")
}

// TestMany sees that a flood is told in part, with the number of the rest.
func TestMany(t *testing.T) {
	in(t, func(t *testing.T) {
		g := filled(t)
		s := &sink{}
		m := g.follow(t.TempDir(), func(c *monitor.Config) { c.Sinks = []string{"test"} })
		look(t, m)
		web := g.made["team/web@1.1.0"]
		for range 150 {
			l := web.release(g.tick())
			l.Archive = digest.SHA256([]byte("other"))
			g.leaf(l)
		}
		look(t, m)
		s.take(t, m)
		count := map[string]int{}
		for _, f := range s.got {
			count[f.Rule]++
		}
		if count["release-second"] != 100 || count["more"] != 1 || !strings.Contains(s.got[len(s.got)-1].Message, "50 more") {
			t.Errorf("told: %v, %s", count, s.got[len(s.got)-1].Message)
		}
	})
}
