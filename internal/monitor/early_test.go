package monitor_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/monitor"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// withheld has the registry publish the log as it is now for good, and say of
// its log that it has a size.
func (g *registry) withheld(size func() int64) {
	published, err := g.log.Checkpoint(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	g.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/log/checkpoint":
			_, _ = w.Write(published)
		case strings.HasSuffix(r.URL.Path, "/log/witnesses"):
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"schema":"log-witnesses/v1","mode":"required","log_size":%d}`, size())
		default:
			return false
		}
		return true
	}
}

// TestEarlyDoors: while witnesses are away, the doors are ahead of the log that
// is published. That is no finding, and not fine either.
func TestEarlyDoors(t *testing.T) {
	in(t, func(t *testing.T) {
		g := filled(t)
		m := g.follow(t.TempDir())
		look(t, m)
		g.withheld(g.log.Size)
		g.released("team/web@1.2.0")
		g.yank("team/web@1.1.0")
		for range 5 {
			r := look(t, m)
			if len(r.Findings) > 0 || !strings.Contains(strings.Join(r.Unchecked, "\n"), "what the doors show cannot be compared yet") {
				t.Fatalf("found %v, unchecked %v", rules(r), r.Unchecked)
			}
			time.Sleep(time.Minute)
		}
		g.intercept = nil // the witnesses are back
		if r := look(t, m); rules(r) != nil {
			t.Errorf("when all is published: %v, unchecked %v", rules(r), r.Unchecked)
		}
	})
}

// TestEarlyForEver: a server that says of its log that it is always longer than
// what it publishes puts a finding off, and not away.
func TestEarlyForEver(t *testing.T) {
	in(t, func(t *testing.T) {
		g := filled(t)
		m := g.follow(t.TempDir(), func(c *monitor.Config) { c.BlindAfter = 10 * time.Minute })
		look(t, m)
		g.withheld(func() int64 { return 1 << 40 })
		g.shown("team/web@6.6.6")
		if r := look(t, m); len(r.Findings) > 0 {
			t.Fatalf("at once: %v", rules(r))
		}
		time.Sleep(11 * time.Minute)
		if r := look(t, m); strings.Join(rules(r), " ") != "index-unlogged tag-unlogged" {
			t.Errorf("after eleven minutes: %v, unchecked %v", rules(r), r.Unchecked)
		}
	})
}

// TestFlappingDoors: a release is yanked and taken back all the time, and by
// chance every look at the index falls between two. It is the same only when no
// leaf came in between.
func TestFlappingDoors(t *testing.T) {
	in(t, func(t *testing.T) {
		g := filled(t)
		m := g.follow(t.TempDir())
		look(t, m)
		flap := func() {
			rel := g.made["team/web@1.0.0"] // which is yanked
			g.leaf(tlog.Unyank{Index: rel.leaf, Project: "team", Chart: "web", Version: "1.0.0", Reason: "broken", Publisher: ann, Time: g.tick()})
			g.yank("team/web@1.0.0")
			rel.hidden = false // a moment later
		}
		for range 3 {
			flap()
			r, err := m.Round(t.Context())
			if err != nil || len(r.Findings) > 0 {
				t.Fatalf("found %v, %v", rules(r), err)
			}
		}
		if r := look(t, m); strings.Join(rules(r), " ") != "index-hidden tag-hidden" {
			t.Errorf("when no leaf came: %v", rules(r))
		}
	})
}
