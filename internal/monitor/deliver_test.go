package monitor_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/monitor"
)

// sink keeps what it is told.
type sink struct {
	name string
	got  []monitor.Finding
	fail error

	before func() // is called before something is taken
}

func (s *sink) Name() string {
	if s.name == "" {
		return "test"
	}
	return s.name
}

func (s *sink) Send(_ context.Context, findings []monitor.Finding) error {
	if s.fail != nil {
		return s.fail
	}
	if s.before != nil {
		s.before()
		defer s.before()
	}
	s.got = append(s.got, findings...)
	return nil
}

// keys are the different findings that came.
func (s *sink) keys() []string {
	var out []string
	for i := range s.got {
		if k := s.got[i].Rule + " " + s.got[i].Key(); !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// rules are those of the different findings that came.
func (s *sink) rules() []string {
	var out []string
	for _, k := range s.keys() {
		out = append(out, strings.Fields(k)[0])
	}
	return out
}

func (s *sink) take(t testing.TB, m *monitor.Monitor) {
	t.Helper()
	failed, err := m.Deliver(t.Context(), []monitor.Sink{s})
	if err != nil || failed[s.Name()] != nil {
		t.Fatal(err, failed)
	}
}

func TestDeliver(t *testing.T) {
	in(t, func(t *testing.T) {
		g := filled(t)
		dir := t.TempDir()
		one, two := &sink{name: "one"}, &sink{name: "two", fail: errors.New("it is away")}
		both := []monitor.Sink{one, two}
		sinks := func(c *monitor.Config) { c.Sinks = []string{"one", "two"} }
		m := g.follow(dir, sinks)
		look(t, m)
		lies["a second leaf"].lie(t, g)
		look(t, m)
		failed, err := m.Deliver(t.Context(), both)
		if err != nil || failed["two"] == nil || failed["one"] != nil || len(one.got) != 1 {
			t.Fatalf("%v %v %v", err, failed, one.got)
		}
		m.Close()
		m = g.follow(dir, sinks)
		if r := look(t, m); r.Waiting != 1 || len(r.Findings) != 1 {
			t.Errorf("after a restart %d wait, and there are %d findings", r.Waiting, len(r.Findings))
		}
		two.fail = nil
		if failed, err := m.Deliver(t.Context(), both); err != nil || len(failed) > 0 || len(one.got) != 1 || len(two.got) != 1 {
			t.Errorf("%v %v: one %d, two %d", err, failed, len(one.got), len(two.got))
		}
		if r := look(t, m); r.Waiting != 0 || len(r.Findings) != 1 {
			t.Errorf("told, and %d wait", r.Waiting)
		}
		// What somebody knows of is no alarm, and is still said.
		lies["a yanked version in the index"].lie(t, g)
		id := ""
		for _, f := range look(t, m).Findings {
			if f.Rule == "index-hidden" {
				id = f.ID
			}
		}
		m.Close()
		m = g.follow(dir, func(c *monitor.Config) { c.Accepted = []string{id} })
		for _, f := range look(t, m).Findings {
			if f.Accepted != (f.ID == id) {
				t.Errorf("%s: accepted %v", f.Rule, f.Accepted)
			}
		}
		// A sink that was taken away keeps nothing waiting.
		if _, err := m.Deliver(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if r := look(t, m); r.Waiting != 0 {
			t.Errorf("%d wait for nobody", r.Waiting)
		}
	})
}

// TestCrash takes a copy of the folder at every request of a monitor and before
// everything that it tells. Each copy is what a process that was killed then
// leaves. A new one that goes on from there finds and tells everything: nothing
// is left out, and nothing comes under two keys.
func TestCrash(t *testing.T) {
	in(t, func(t *testing.T) {
		g := filled(t)
		dir := t.TempDir()
		sinks := func(c *monitor.Config) { c.Sinks = []string{"test"} }
		m := g.follow(dir, sinks)
		type image struct {
			dir  string
			told int // findings that the sink had got by then
		}
		var images []image
		s := &sink{}
		take := func() {
			to := filepath.Join(t.TempDir(), strconv.Itoa(len(images)))
			if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			images = append(images, image{to, len(s.got)})
		}
		s.before = take
		for _, lie := range []string{"nothing", "a second leaf", "an archive with other bytes", "a clock that runs back"} {
			lies[lie].lie(t, g)
			g.intercept = func(http.ResponseWriter, *http.Request) bool { take(); return false }
			time.Sleep(time.Minute)
			look(t, m)
			s.take(t, m)
			g.intercept = nil
		}
		want := s.rules()
		if len(images) < 30 || len(want) < 4 {
			t.Fatalf("the story is too short: %d images, %v", len(images), want)
		}
		s.before = nil
		for i, image := range images {
			if i%3 == 1 { // the history can be made again
				_ = os.Truncate(filepath.Join(image.dir, filepath.Base(filepath.Dir(find(t, dir, "state.json"))), "history"), 100)
			}
			resumed := &sink{got: slices.Clone(s.got[:image.told])}
			m := g.follow(image.dir, sinks)
			time.Sleep(time.Minute)
			look(t, m)
			resumed.take(t, m)
			m.Close()
			if got := resumed.rules(); !slices.Equal(got, want) {
				t.Errorf("killed at %d: told %v, want %v", i, resumed.keys(), want)
			}
		}
	})
}

func find(t testing.TB, dir, name string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*", name))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	return found[0]
}

func TestFolder(t *testing.T) {
	in(t, func(t *testing.T) {
		g := filled(t)
		dir := t.TempDir()
		m := g.follow(dir)
		look(t, m)
		again := func() error {
			second, err := monitor.Open(m.Config)
			if err == nil {
				second.Close()
			}
			return err
		}
		if err := again(); err == nil {
			t.Error("two monitors use one folder")
		}
		m.Close()
		file := find(t, dir, "state.json")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, damaged := range []string{"", "{}", strings.Replace(string(text), `"size":`, `"size":9`, 1), strings.Replace(string(text), "monitor-state/v1", "monitor-state/v9", 1), string(text[:len(text)/2])} {
			if err := os.WriteFile(file, []byte(damaged), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := again(); err == nil {
				t.Errorf("a damaged state was read: %.60s", damaged)
			}
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := again(); err != nil {
			t.Error(err)
		}
		for _, keys := range [][]string{nil, {"x"}, {g.log.VerifierKey, strings.Replace(g.log.VerifierKey, "charts", "other", 1)}} {
			cfg := m.Config
			cfg.Keys = keys
			if _, err := monitor.Open(cfg); err == nil {
				t.Errorf("keys %v are taken", keys)
			}
		}
		_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if info, ierr := e.Info(); err == nil && ierr == nil && path != dir && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s may be read by others: %s", path, info.Mode())
			}
			return nil
		})
	})
}

// TestBlind sees that a monitor says so when it cannot see.
func TestBlind(t *testing.T) {
	in(t, func(t *testing.T) {
		g := filled(t)
		s := &sink{}
		m := g.follow(t.TempDir(), func(c *monitor.Config) { c.Sinks = []string{"test"}; c.BlindAfter = 10 * time.Minute })
		look(t, m)
		lies["a server that is down"].lie(t, g)
		for minute := range 30 {
			time.Sleep(time.Minute)
			r := look(t, m)
			s.take(t, m)
			if blind := slices.Contains(rules(r), "log-unreachable"); blind != (minute+1 >= 10) {
				t.Errorf("after %d minutes: blind %v", minute+1, blind)
			}
		}
		if len(s.got) != 1 || s.got[0].Proven {
			t.Errorf("told %v", s.got)
		}
		g.mu.Lock()
		g.intercept = nil
		g.mu.Unlock()
		if r := look(t, m); rules(r) != nil {
			t.Errorf("it sees again: %v", rules(r))
		}
	})
}

func TestBlindFromTheStart(t *testing.T) {
	in(t, func(t *testing.T) {
		g := filled(t)
		g.at("/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusBadGateway) })
		m := g.follow(t.TempDir())
		if r := look(t, m); slices.Contains(rules(r), "log-unreachable") {
			t.Errorf("at once: %v", rules(r))
		}
		time.Sleep(monitor.DefaultBlind)
		if r := look(t, m); !slices.Contains(rules(r), "log-unreachable") {
			t.Errorf("later: %v", rules(r))
		}
	})
}
