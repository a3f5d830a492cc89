package watch_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// provenanceOf is a provenance file of web, with a signature that is none.
func provenanceOf(version string, archive []byte) []byte {
	return fmt.Appendf(nil, "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\napiVersion: v2\nname: web\nversion: %s\n\n...\nfiles:\n  web-%s.tgz: %s\n"+
		"-----BEGIN PGP SIGNATURE-----\n\nwsBcBAEBCgAQBQJc\n=YgnR\n-----END PGP SIGNATURE-----\n", version, version, digest.SHA256(archive))
}

func TestMirrorTakesProvenance(t *testing.T) {
	good := provenanceOf("1.0.0", packed(t, "1.0.0", "a"))
	for _, c := range []struct {
		name       string
		provenance func(string) ([]byte, error)
		proven     string
		want       string
		says       string
	}{
		{"published", func(string) ([]byte, error) { return good, nil }, string(good), "first-read; mirrored 1.0.0", digest.SHA256(good)},
		{"none", func(string) ([]byte, error) { return nil, nil }, "", "first-read; mirrored 1.0.0", "none is published"},
		{"of other bytes", func(string) ([]byte, error) { return provenanceOf("1.0.0", packed(t, "1.0.0", "b")), nil }, "",
			"first-read; mirrored 1.0.0; provenance-mismatch 1.0.0 high", "not taken over: it is not of this archive"},
		{"of another version", func(string) ([]byte, error) { return provenanceOf("1.1.0", packed(t, "1.0.0", "a")), nil }, "",
			"first-read; mirrored 1.0.0; provenance-mismatch 1.0.0 high", "not taken over: it is not of this archive"},
		{"no provenance file", func(string) ([]byte, error) { return []byte("signed, honestly"), nil }, "",
			"first-read; mirrored 1.0.0; provenance-mismatch 1.0.0 high", "not taken over: it is not of this archive"},
		{"refused for good", func(string) ([]byte, error) { return nil, problem.New(problem.TooLarge, "x", "it is too large") }, "",
			"first-read; mirrored 1.0.0", "could not be had: it is too large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var asked []string
			w.sources.provenance = func(url string) ([]byte, error) {
				asked = append(asked, url)
				return c.provenance(url)
			}
			w.watches(mirrors(watch.Mirror{Project: "mirror"}))
			w.lists("1.0.0=a")
			if got := w.poll(0); got != c.want {
				t.Fatal(got)
			}
			if got := string(w.registry.proven["web 1.0.0"]); got != c.proven {
				t.Fatalf("released with the provenance %q", got)
			}
			if got := fact(w.only(watch.Mirrored), "provenance"); got != c.says {
				t.Errorf("the event says %q", got)
			}
			if len(asked) != 1 || asked[0] != home+"/web-1.0.0.tgz" {
				t.Errorf("asked for %v", asked)
			}
			w.reborn(&mortal{})
			w.ok(w.PollNow(w.ctx, boss, "up"))
			if got := w.poll(time.Minute); got != "" || len(asked) != 1 {
				t.Errorf("again: %q, asked for %v", got, asked)
			}
		})
	}
}

// A provenance that cannot be had now is waited for, and not for ever.
func TestMirrorWaitsForProvenance(t *testing.T) {
	w := newWorld(t)
	down := true
	good := provenanceOf("1.0.0", packed(t, "1.0.0", "a"))
	w.sources.provenance = func(string) ([]byte, error) {
		if down {
			return nil, problem.New(problem.Unavailable, "remote-busy", "it has trouble of its own")
		}
		return good, nil
	}
	w.watches(mirrors(watch.Mirror{Project: "mirror"}))
	w.lists("1.0.0=a")
	if got := w.poll(0); got != "first-read" || w.mirrored() != "" {
		t.Fatalf("%q, released is %q", got, w.mirrored())
	}
	down = false
	if got := w.poll(step); got != "mirrored 1.0.0" || string(w.registry.proven["web 1.0.0"]) != string(good) {
		t.Fatal(got)
	}
	down = true
	w.lists("1.0.0=a 1.1.0=a")
	w.poll(step)
	if got := w.days(2); got != "mirrored 1.1.0" {
		t.Fatal(got)
	}
}

func TestPullTakesProvenance(t *testing.T) {
	w := newWorld(t)
	good := provenanceOf("1.0.0", packed(t, "1.0.0", "a"))
	w.sources.provenance = func(string) ([]byte, error) { return good, nil }
	w.watches(keep(watch.KeepNone), mirrors(watch.Mirror{Project: "mirror", OnDemand: true}))
	w.lists("1.0.0=a 1.1.0=b")
	w.poll(0)
	w.ok(w.Pull(w.ctx, "mirror", "web", "1.0.0"))
	if got := string(w.registry.proven["web 1.0.0"]); got != string(good) {
		t.Fatalf("released with the provenance %q", got)
	}
	w.ok(w.Pull(w.ctx, "mirror", "web", "1.1.0")) // whose provenance is that of 1.0.0
	if e := w.only(watch.ProvenanceMismatch); e.Version != "1.1.0" || e.Project != "mirror" || e.Question == "" || len(w.registry.proven["web 1.1.0"]) != 0 {
		t.Fatalf("%+v", e)
	}
}

func TestMirrorOfWhatIsReviewed(t *testing.T) {
	w := newWorld(t)
	_, err := w.AddUpstream(w.ctx, boss, watch.NewUpstream{Name: "x", Sources: index(home), Mirror: &watch.Mirror{Project: "mirror", Reviewed: true}})
	if p := w.refused(err, problem.Unsupported, "mirror-reviewed"); !strings.Contains(p.Message, "keeps no reviews") {
		t.Error(p.Message)
	}
	var asked []string
	signed := map[string]bool{}
	var broken error
	w = newWorld(t, func(c *watch.Config) {
		c.Reviewed = func(_ context.Context, chartName, archive string) (bool, error) {
			asked = append(asked, chartName+" "+archive)
			return signed[archive], broken
		}
	})
	w.watches(mirrors(watch.Mirror{Project: "mirror", Reviewed: true}))
	w.lists("1.0.0=a 1.1.0=a")
	if got := w.poll(0); got != "first-read" || len(asked) != 2 {
		t.Fatalf("%q, asked for %v", got, asked)
	}
	broken = problem.New(problem.Unavailable, "store", "the store does not answer")
	if got := w.poll(step); got != "" || w.mirrored() != "" {
		t.Fatalf("%q, released is %q", got, w.mirrored())
	}
	broken = nil
	signed[digest.SHA256(packed(t, "1.0.0", "a"))] = true
	if got := w.poll(step); got != "mirrored 1.0.0" {
		t.Fatal(got)
	}
	// What was signed off is the first bytes, and not those in their place.
	w.lists("1.0.0=a 1.1.0=b")
	w.poll(step)
	signed[digest.SHA256(packed(t, "1.1.0", "b"))] = true
	if got := w.poll(step); got != "" {
		t.Fatal(got)
	}
	signed[digest.SHA256(packed(t, "1.1.0", "a"))] = true
	if got := w.poll(step); got != "mirror-refused 1.1.0 high; mirrored 1.1.0" {
		t.Fatal(got)
	}
	// The same on demand.
	_, err = w.SetUpstream(w.ctx, boss, "up", watch.UpstreamChange{Mirror: &watch.Mirror{Project: "mirror", Reviewed: true, OnDemand: true}})
	w.ok(err)
	w.lists("1.0.0=a 1.1.0=b 1.2.0=a")
	w.poll(step)
	w.refused(w.Pull(w.ctx, "mirror", "web", "1.2.0"), problem.NotFound, "mirror-unreviewed")
	signed[digest.SHA256(packed(t, "1.2.0", "a"))] = true
	w.now = w.now.Add(2 * time.Minute)
	w.ok(w.Pull(w.ctx, "mirror", "web", "1.2.0"))
}

// A mirror of reviewed versions stays shut when the server has lost its reviews.
func TestMirrorWithoutReviews(t *testing.T) {
	w := newWorld(t)
	w.watches()
	_, err := w.store.UpdateUpstream(w.ctx, "up", by(w), w.now, func(u watch.Upstream) (watch.Upstream, error) {
		u.Mirror = &watch.Mirror{Project: "mirror", Reviewed: true}
		return u, nil
	})
	w.ok(err)
	w.lists("1.0.0=a")
	if got := w.poll(0); got != "first-read; mirror-refused medium" || w.mirrored() != "" {
		t.Fatal(got)
	}
	if e := w.only(watch.MirrorRefused); !strings.Contains(e.Message, "this server keeps no reviews") {
		t.Error(e.Message)
	}
	if got := w.poll(step); got != "" {
		t.Fatal(got)
	}
}

func TestQuietWithAdvisories(t *testing.T) {
	text, open := "", false
	var asked string
	w := newWorld(t, func(c *watch.Config) {
		c.OpenAdvisories = func(_ context.Context, up, chartName, version string) (string, bool) {
			asked = up + " " + chartName + " " + version
			return text, open
		}
	})
	w.watches()
	w.lists("1.0.0=a 1.1.0=a")
	w.poll(0)
	if got := w.poll(181 * 24 * time.Hour); got != "gone-quiet 1.1.0 medium" || asked != "up web 1.1.0" {
		t.Fatalf("%q, asked for %q", got, asked)
	}
	if got := fact(w.only(watch.GoneQuiet), "open advisories"); got != "not known" {
		t.Error(got)
	}
	text = "none that is known on 3 images; 1 image is unknown"
	if got := w.poll(step * 10); got != "" {
		t.Fatal(got)
	}
	text, open = "2, of which 1 is exploited", true
	for i, want := range []string{"gone-quiet 1.1.0 high", ""} {
		if got := w.poll(step * 10); got != want {
			t.Fatalf("poll %d: %q", i, got)
		}
	}
	e := w.since(w.last() - 1)[0]
	if fact(e, "open advisories") != text || !strings.Contains(e.Message, "advisories on its newest version are open") {
		t.Errorf("%+v", e)
	}
}
