package watch_test

import (
	"fmt"
	"testing"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// TestWhere looks for one archive among deployments of every certainty.
func TestWhere(t *testing.T) {
	w := newWorld(t)
	archive := shop(t)
	sum := digest.SHA256(archive)
	w.publishes(archive) // an upstream, of which our release is a copy
	plain := func(key string, chart deployment.Chart, deps ...deployment.Chart) deployment.Deployment {
		return deployment.Deployment{Key: key, Tool: deployment.ArgoCD, From: key, Name: "n", Namespace: "web", Chart: chart, Dependencies: deps}
	}
	other := "sha256:" + fmt.Sprintf("%064x", 7)
	w.imports(
		plain("a-pinned", deployment.Chart{Name: "shop", Version: "1.0.0", Digest: sum}),
		plain("b-manifest", deployment.Chart{Name: "shop", Version: "1.0.0", Digest: "sha256:" + fmt.Sprintf("%064x", 5)}),
		plain("c-name", deployment.Chart{Name: "shop", Version: "1.0.0"}),
		plain("d-other-version", deployment.Chart{Name: "shop", Version: "0.9.0"}),
		plain("e-other-bytes", deployment.Chart{Name: "shop", Version: "1.0.0", Digest: other}),
		plain("f-range", deployment.Chart{Name: "shop", Constraint: "^1.0.0"}),
		plain("g-elsewhere", deployment.Chart{Name: "shop", Version: "1.0.0", Repository: "https://elsewhere.example"}),
		plain("h-part", deployment.Chart{Name: "umbrella", Version: "2.0.0"}, deployment.Chart{Name: "db", Version: "1.0.0"}, deployment.Chart{Name: "shop", Version: "v1.0.0"}),
		plain("i-part-of-range", deployment.Chart{Name: "umbrella", Version: "2.0.0"}, deployment.Chart{Name: "shop", Constraint: "1.x"}),
		plain("j-unrelated", deployment.Chart{Name: "umbrella", Version: "2.0.0"}, deployment.Chart{Name: "db", Version: "1.0.0"}),
		plain("k-unnamed", deployment.Chart{}),
	)
	got, err := w.Where(w.ctx, boss, watch.Wanted{
		Digests:  []string{sum, "sha256:" + fmt.Sprintf("%064x", 5)},
		Releases: []watch.OwnRelease{{Project: "own", Chart: "shop", Version: "1.0.0", Archive: sum}},
	})
	w.ok(err)
	found := map[string]string{}
	for _, list := range [][]watch.Place{got.Running, got.Unknown} {
		for _, p := range list {
			found[p.Key] = string(p.Confidence)
			if p.Dependency {
				found[p.Key] += " part"
			}
			if p.How == "" || p.LastSeen.IsZero() {
				t.Errorf("%s does not say how: %+v", p.Key, p)
			}
		}
	}
	want := map[string]string{
		"a-pinned": "exact", "b-manifest": "exact", "c-name": "weak", "f-range": "unknown", "g-elsewhere": "unknown",
		"h-part": "weak part", "i-part-of-range": "unknown part", "k-unnamed": "unknown",
	}
	if fmt.Sprint(found) != fmt.Sprint(want) {
		t.Errorf("found\n%v, want\n%v", found, want)
	}
	for i := range got.Running[1:] {
		if got.Running[i].Confidence != deployment.Exact && got.Running[i+1].Confidence == deployment.Exact {
			t.Errorf("the surest do not come first: %+v", got.Running)
		}
	}
	none, err := w.Where(w.ctx, boss, watch.Wanted{Digests: []string{other}})
	w.ok(err)
	if len(none.Running) != 1 || none.Running[0].Key != "e-other-bytes" || len(none.Unknown) != 0 {
		t.Errorf("bytes that nobody released here: %+v", none)
	}
	w.registry.denied = map[access.Action]bool{access.WatchRead: true}
	if _, err := w.Where(w.ctx, boss, watch.Wanted{Digests: []string{sum}}); problem.KindOf(err) != problem.Denied {
		t.Errorf("without the right: %v", err)
	}
}
