package release_test

import (
	"context"
	"testing"

	"github.com/chartkeep/chartkeep/internal/history"
	"github.com/chartkeep/chartkeep/internal/release"
)

// replays reads all leaves of a log as somebody from outside does. Whatever the
// use cases did, the leaves keep every rule, and none is unknown to the history
// of the same version. It returns what the history says.
func replays(t *testing.T, log release.LogReader) *history.Replay {
	t.Helper()
	ctx := context.Background() // also at the end of a test, when its own is over
	r := history.New()
	if release.QuarantineLife != history.QuarantineLife {
		t.Errorf("a quarantine lives %s here and %s in the history", release.QuarantineLife, history.QuarantineLife)
	}
	info, err := log.LogInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range info.Size {
		entry, err := log.Leaf(ctx, i)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range r.Add(i, entry) {
			t.Errorf("the history does not hold: %s\n%s", v, entry)
		}
	}
	if r.Unknown() > 0 {
		t.Errorf("%d leaves are unknown to the history", r.Unknown())
	}
	return r
}

// remembers compares what the history says with what was acknowledged.
func (w *modelRun) remembers() {
	w.t.Helper()
	r := replays(w.t, w.store)
	for ref, m := range w.m.releases {
		got, ok := r.Release(m.project, m.chart, m.version)
		if !ok || got.Index != m.leaf || got.Archive != sum(m.archive) || got.Yanked != m.yanked || got.Legacy != m.legacy || got.Provenance != (m.prov != nil) || !got.HasManifest(m.manifest) {
			w.fail("the history says of %s: %v, %+v", ref, ok, got)
		}
	}
	if int(r.Releases()) != len(w.m.releases) {
		w.fail("the history has %d releases, %d were acknowledged", r.Releases(), len(w.m.releases))
	}
}
