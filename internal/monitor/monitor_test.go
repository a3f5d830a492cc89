package monitor_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/monitor"
	"github.com/chartkeep/chartkeep/internal/server/tiles/tilestest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// in runs a test under a clock of its own, at the time of the registry.
func in(t *testing.T, f func(t *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(start.Add(time.Hour)))
		f(t)
		time.Sleep(time.Hour) // whoever still answers notices that nobody listens
	})
}

func TestHonest(t *testing.T) {
	in(t, func(t *testing.T) {
		g := filled(t)
		dir := t.TempDir()
		m := g.follow(dir)
		r := look(t, m)
		if got := rules(r); got != nil {
			t.Fatalf("an honest server: %v %v", r.Findings, r.Unchecked)
		}
		if r.Size != g.log.Size() || r.Releases != 5 || r.Leaves != g.log.Size() || r.Archives != 3 || r.Entries != 2 || r.Tags != 2 {
			t.Errorf("%+v", r)
		}
		g.released("team/web@1.2.0")
		if r = look(t, m); rules(r) != nil || r.Leaves != 1 || r.Archives != 1 {
			t.Errorf("one more: %v %+v", rules(r), r)
		}
		if r = look(t, m); rules(r) != nil || r.Leaves != 0 || r.Archives != 0 {
			t.Errorf("no more: %v %+v", rules(r), r)
		}
		// A new process goes on where the last one was.
		m.Close()
		g.released("team/web@1.3.0")
		m = g.follow(dir)
		if r = look(t, m); rules(r) != nil || r.Leaves != 1 || r.Archives != 1 {
			t.Errorf("after a restart: %v %+v", rules(r), r)
		}
	})
}

// other makes another log with the same key, whose leaves change may replace.
func other(t testing.TB, g *registry, size int64, change func(i int64, entry []byte) []byte) *tilestest.Log {
	fork := tilestest.New(t, origin)
	for n := int64(0); n < size; n++ {
		width := tlog.TileWidth(g.log.Size(), 0, n/256)
		entries, err := g.log.Entries(t.Context(), n/256, width)
		if err != nil {
			t.Fatal(err)
		}
		fork.Append(change(n, entries[n%256]))
	}
	fork.Sign(t)
	return fork
}

func same(_ int64, entry []byte) []byte { return entry }

// lies are what a server may do after it was followed for a while, and by what
// it is found out. "!" marks what is proven.
var lies = map[string]struct {
	lie  func(t *testing.T, g *registry)
	want []string
}{
	"nothing": {func(*testing.T, *registry) {}, nil},

	"an old leaf altered, and grown": {func(t *testing.T, g *registry) {
		g.released("team/web@1.2.0")
		g.log = other(t, g, g.log.Size(), func(i int64, e []byte) []byte {
			if i == 1 {
				return bytes.Replace(e, []byte("usr-ann"), []byte("usr-eve"), 1)
			}
			return e
		})
	}, []string{"log-fork!", "unchecked"}},
	"a fork of the same size": {func(t *testing.T, g *registry) {
		g.log = other(t, g, g.log.Size(), func(i int64, e []byte) []byte {
			if i == g.log.Size()-1 {
				return bytes.Replace(e, []byte("usr-ann"), []byte("usr-eve"), 1)
			}
			return e
		})
	}, []string{"log-fork!", "unchecked"}},
	"a shorter fork": {func(t *testing.T, g *registry) {
		// What was believed stays provable, as it does behind a cache of tiles.
		long := g.log
		short := other(t, g, long.Size()-2, func(i int64, e []byte) []byte { return append([]byte("x"), e...) })
		cp, _ := short.Checkpoint(t.Context())
		g.at("/log/checkpoint", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(cp) })
	}, []string{"log-fork!", "unchecked"}},
	"a rollback": {func(t *testing.T, g *registry) { g.log = other(t, g, g.log.Size()-2, same) }, []string{"log-rollback", "unchecked"}},
	"an old checkpoint": {func(t *testing.T, g *registry) {
		cp, _ := other(t, g, g.log.Size()-2, same).Checkpoint(t.Context())
		g.at("/log/checkpoint", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(cp) })
	}, []string{"log-rollback", "unchecked"}},
	"another key": {func(t *testing.T, g *registry) {
		skey, _, err := tlog.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{9}, 64)), origin)
		if err != nil {
			t.Fatal(err)
		}
		signer, _ := tlog.NewSigner(skey)
		cp, _ := tlog.SignCheckpoint(origin, 3, tlog.Hash{1}, signer)
		g.at("/log/checkpoint", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(cp) })
	}, []string{"checkpoint-signature!", "unchecked"}},
	"a checkpoint that is none": {func(_ *testing.T, g *registry) {
		g.at("/log/checkpoint", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) })
	}, []string{"unchecked"}},

	"a second leaf": {func(_ *testing.T, g *registry) {
		m := g.made["team/web@1.1.0"]
		l := m.release(g.tick())
		l.Archive = "sha256:" + strings.Repeat("ab", 32)
		g.leaf(l)
	}, []string{"release-second!"}},
	"a clock that runs back": {func(_ *testing.T, g *registry) {
		m := g.shown("team/web@1.9.0")
		g.leaf(m.release(start))
	}, []string{"log-time!"}},
	"a leaf from the future": {func(_ *testing.T, g *registry) {
		m := g.shown("team/web@1.2.0")
		g.leaf(m.release(start.AddDate(1, 0, 0)))
	}, []string{"log-clock"}},
	"a leaf of an unknown type": {func(_ *testing.T, g *registry) { g.entry([]byte("chartkeep/new/v7\n")) }, []string{"leaf-unknown", "unchecked"}},
	"a malformed leaf":          {func(_ *testing.T, g *registry) { g.entry([]byte("chartkeep/yank/v1\n")) }, []string{"leaf-malformed!", "leaf-unknown", "unchecked"}},

	"a bundle that is missing": {func(_ *testing.T, g *registry) {
		g.released("team/web@1.2.0")
		g.at("/log/tile/entries/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "lost", http.StatusNotFound) })
	}, []string{"unchecked"}},
	"a bundle with other entries": {func(t *testing.T, g *registry) {
		g.released("team/web@1.2.0")
		fake := other(t, g, g.log.Size(), func(i int64, e []byte) []byte {
			if i == g.log.Size()-1 {
				return bytes.Replace(e, []byte("usr-ann"), []byte("usr-eve"), 1)
			}
			return e
		})
		entries, _ := fake.Entries(t.Context(), 0, int(fake.Size()))
		b, _ := tlog.EntryBundle(entries)
		g.at("/log/tile/entries/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) })
	}, []string{"log-entries!", "unchecked"}},
	"a bundle without end": {func(_ *testing.T, g *registry) {
		g.released("team/web@1.2.0")
		g.at("/log/tile/entries/", func(w http.ResponseWriter, _ *http.Request) { endless(w) })
	}, []string{"unchecked"}},
	"a checkpoint without end": {func(_ *testing.T, g *registry) {
		g.at("/log/checkpoint", func(w http.ResponseWriter, _ *http.Request) { endless(w) })
	}, []string{"unchecked"}},
	"an answer that never comes": {func(_ *testing.T, g *registry) {
		g.at("/log/checkpoint", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	}, []string{"unchecked"}},
	"an answer that drips": {func(_ *testing.T, g *registry) {
		g.at("/log/checkpoint", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte("x"))
				time.Sleep(time.Second)
			}
		})
	}, []string{"unchecked"}},
	"a server that is down": {func(_ *testing.T, g *registry) {
		g.at("/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusBadGateway) })
	}, []string{"unchecked"}},

	"an archive with other bytes": {func(_ *testing.T, g *registry) {
		g.released("team/web@1.2.0").archive = []byte("archive of team/web@1.2.1")
	},
		[]string{"archive-digest!", "index-digest!"}},
	"an archive with more bytes": {func(_ *testing.T, g *registry) {
		m := g.released("team/web@1.2.0")
		m.digest = strings.TrimPrefix(m.release(start).Archive, "sha256:")
		m.archive = append(m.archive, "and more"...)
	}, []string{"archive-digest!"}},
	"an archive without end": {func(_ *testing.T, g *registry) {
		g.released("team/web@1.2.0")
		g.at("/web-1.2.0.tgz", func(w http.ResponseWriter, _ *http.Request) { endless(w) })
	}, []string{"archive-digest!"}},
	"an archive that is withheld": {func(_ *testing.T, g *registry) {
		m := g.shown("team/web@1.2.0")
		m.prov = []byte("signed")
		m.leaf = g.leaf(m.release(g.tick()))
		m.status = http.StatusGone
	}, []string{"archive-missing", "unchecked"}},
	"an archive that never comes": {func(_ *testing.T, g *registry) {
		g.released("team/web@1.2.0")
		g.at("/web-1.2.0.tgz", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	}, []string{"unchecked"}},
	"a tombstone that serves": {func(_ *testing.T, g *registry) {
		g.released("team/web@1.2.0")
		g.tombstone("team/web@1.2.0")
		g.made["team/web@1.2.0"].status = 0
	}, []string{"archive-served"}},
	"a quarantine that serves": {func(_ *testing.T, g *registry) {
		g.released("team/web@1.2.0")
		g.quarantine("team/web@1.2.0")
		g.made["team/web@1.2.0"].status = 0
	}, []string{"archive-served"}},
	"another provenance": {func(_ *testing.T, g *registry) {
		m := g.shown("team/web@1.2.0")
		m.prov = []byte("signed")
		m.leaf = g.leaf(m.release(g.tick()))
		m.prov = []byte("signed by another")
	}, []string{"provenance-digest!"}},
	"another late provenance": {func(_ *testing.T, g *registry) {
		g.released("team/web@1.2.0")
		g.attach("team/web@1.2.0", "signed")
		g.made["team/web@1.2.0"].prov = []byte("signed by another")
	}, []string{"provenance-digest!"}},
	"no provenance": {func(_ *testing.T, g *registry) {
		g.released("team/web@1.2.0")
		g.attach("team/web@1.2.0", "signed")
		g.made["team/web@1.2.0"].prov = nil
	}, []string{"provenance-missing"}},

	"a version in the index without leaf": {func(_ *testing.T, g *registry) { g.shown("team/web@6.6.6") }, []string{"index-unlogged", "tag-unlogged"}},
	"another digest in the index":         {func(_ *testing.T, g *registry) { g.made["team/web@1.1.0"].digest = strings.Repeat("ab", 32) }, []string{"index-digest!"}},
	"a yanked version in the index":       {func(_ *testing.T, g *registry) { g.made["team/web@1.0.0"].hidden = false }, []string{"index-hidden", "tag-hidden"}},
	"a yank without effect": {func(_ *testing.T, g *registry) {
		g.yank("team/web@1.1.0")
		g.made["team/web@1.1.0"].hidden = false
	}, []string{"index-hidden", "tag-hidden"}},
	"an index without a signed release": {func(_ *testing.T, g *registry) {
		for _, m := range g.made {
			m.hidden = true
		}
	}, []string{"index-missing"}},
	"an index that is not shown": {func(_ *testing.T, g *registry) {
		g.at("/team/index.yaml", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	}, []string{"project-unreadable", "unchecked"}},
	"an index without end": {func(_ *testing.T, g *registry) {
		g.at("/team/index.yaml", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"entries":{"web":[{"name":"`))
			endless(w)
		})
	}, []string{"unchecked"}},
	"a tag that moved":                  {func(_ *testing.T, g *registry) { g.made["team/db@1.0.0+a"].manifest = []byte("{}") }, []string{"tag-digest!"}},
	"a tag of a new release that moved": {func(_ *testing.T, g *registry) { g.released("team/web@1.2.0").manifest = []byte("{}") }, []string{"tag-digest!"}},
	"a tag without leaf": {func(_ *testing.T, g *registry) {
		g.at("/v2/team/web/tags/list", func(w http.ResponseWriter, r *http.Request) {
			tags := `"1.1.0", "6.6.6", "sha256-abc.sig"`
			if r.URL.Query().Get("last") != "" {
				tags = ""
			}
			_, _ = w.Write([]byte(`{"tags": [` + tags + `]}`))
		})
	}, []string{"tag-unlogged"}},
	"tags without end": {func(_ *testing.T, g *registry) {
		g.at("/v2/team/web/tags/list", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(`{"tags": ["1.1.0"]}`)) })
	}, []string{"unchecked"}},
}

func endless(w http.ResponseWriter) {
	b := bytes.Repeat([]byte("x"), 64<<10)
	for {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

func TestLies(t *testing.T) {
	for name, c := range lies {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				g := filled(t)
				m := g.follow(t.TempDir())
				if r := look(t, m); rules(r) != nil {
					t.Fatalf("before: %v", rules(r))
				}
				before := g.log.Size()
				c.lie(t, g)
				r := look(t, m)
				if diff := cmp.Diff(c.want, rules(r)); diff != "" {
					t.Errorf("found (-want +got):\n%s\n%+v\n%v", diff, r.Findings, r.Unchecked)
				}
				for _, f := range r.Findings {
					if f.Proven != (f.Evidence != "") && f.Rule != "log-entries" {
						t.Errorf("%s: proven %v, evidence %q", f.Rule, f.Proven, f.Evidence)
					}
					if f.Message == "" || f.Question == "" || f.Severity.Rank() < 0 || f.ID == "" {
						t.Errorf("a finding says too little: %+v", f)
					}
				}
				if r.Disproven != strings.Contains(strings.Join(c.want, " "), "!") {
					t.Errorf("disproven: %v", r.Disproven)
				}
				if strings.Contains(strings.Join(c.want, " "), "log-fork") && r.Size != before {
					t.Errorf("a fork was followed to %d", r.Size)
				}
				// The same again is not a second finding.
				if again := look(t, m); len(again.Findings) != len(r.Findings) {
					t.Errorf("the same again: %v, then %v", rules(r), rules(again))
				}
			})
		})
	}
}

// TestEvidence gives what a monitor kept to somebody who has the key alone.
func TestEvidence(t *testing.T) {
	for lie, statement := range map[string]string{
		"an old leaf altered, and grown": "whose first",
		"a fork of the same size":        "two different logs",
		"a shorter fork":                 "whose first",
		"a second leaf":                  "has two entries",
	} {
		t.Run(lie, func(t *testing.T) {
			in(t, func(t *testing.T) {
				g := filled(t)
				dir := t.TempDir()
				m := g.follow(dir)
				look(t, m)
				lies[lie].lie(t, g)
				look(t, m)
				files, _ := filepath.Glob(filepath.Join(dir, "*", "evidence", "*.json"))
				if len(files) != 1 {
					t.Fatalf("evidence: %v", files)
				}
				text, err := os.ReadFile(files[0])
				if err != nil {
					t.Fatal(err)
				}
				e, err := client.ParseEvidence(text)
				if err != nil {
					t.Fatal(err)
				}
				j, err := e.Judge(g.log.VerifierKey)
				if err != nil || !j.Convicted || !strings.Contains(j.Statement, statement) {
					t.Errorf("%v %+v", err, j)
				}
			})
		})
	}
}

// TestOver sees that what is mended is over, and told again when it comes back.
func TestOver(t *testing.T) {
	in(t, func(t *testing.T) {
		g := filled(t)
		s := &sink{}
		m := g.follow(t.TempDir(), func(c *monitor.Config) { c.Sinks = []string{"test"} })
		look(t, m)
		for _, shown := range []bool{true, false, true} {
			g.made["team/web@1.0.0"].hidden = !shown
			time.Sleep(time.Hour)
			r := look(t, m)
			if got := len(r.Findings) > 0; got != shown {
				t.Errorf("shown %v: %v", shown, rules(r))
			}
			s.take(t, m)
		}
		if len(s.got) != 4 || len(s.keys()) != 4 {
			t.Errorf("told: %v", s.keys())
		}
	})
}

// TestNoRace shows what is true between two requests of a round: nothing of it
// is a finding.
func TestNoRace(t *testing.T) {
	in(t, func(t *testing.T) {
		g := filled(t)
		m := g.follow(t.TempDir())
		look(t, m)
		once := true
		g.intercept = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/index.yaml") && once {
				once = false
				g.mu.Lock()
				g.released("team/web@2.0.0") // after the checkpoint was fetched
				g.yank("team/web@1.1.0")
				g.mu.Unlock()
			}
			return false
		}
		r, err := m.Round(t.Context())
		if err != nil || rules(r) != nil || !m.Again() {
			t.Errorf("in between: %v %v %v", err, rules(r), m.Again())
		}
		if r := look(t, m); rules(r) != nil || m.Again() {
			t.Errorf("afterwards: %v", rules(r))
		}
	})
}
