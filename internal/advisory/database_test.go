package advisory

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDatabase(t *testing.T) {
	packs, _ := stored(t)
	backwards := slices.Clone(packs)
	slices.Reverse(backwards)
	db, faults := NewDatabase(Curated(), backwards...)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	var kinds []Kind
	for i, s := range db.Snapshots() {
		kinds = append(kinds, s.Kind)
		if s.ID != int64(i+1) || s.Taken.IsZero() || s.Feed == "" || s.Digest == "" {
			t.Errorf("%+v", s)
		}
	}
	if d := cmp.Diff(Kinds, kinds); d != "" {
		t.Error(d)
	}
	if a, ok := db.Advisory("CVE-2026-10002"); !ok || a.ID != "GHSA-aaaa-bbbb-cccc" || a.Feed != "feed-osv" {
		t.Errorf("%+v", a)
	}
	if _, ok := db.Advisory("CVE-2026-1"); ok || len(db.Named("CVE-2026-1")) > 0 {
		t.Error("an advisory that is not there")
	}
	if !db.Covers(Component{"PyPI", "web-tools"}) || db.Covers(Component{"pypi", "web-tools"}) || db.Covers(Component{}) {
		t.Error("components are compared with case")
	}
	if m := db.MatchImage("registry.example.com/team/web:1.2.3"); m.Component != "Helm/web" {
		t.Errorf("the organisation's map is not asked: %+v", m)
	}
	if m := db.MatchImage("docker.io/bitnami/redis:6.2.14"); m.Component != "Bitnami/redis" {
		t.Errorf("the curated map is not asked: %+v", m)
	}
}

// One advisory in several feeds is one, and the newest form of it.
func TestSeveralFeeds(t *testing.T) {
	record := func(id, modified, fixed string) string {
		return `{"id":"` + id + `","modified":"` + modified + `","aliases":["CVE-2026-0001"],"affected":[{"package":{"ecosystem":"Go","name":"x"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"` + fixed + `"}]}]},{"package":{"ecosystem":"Go","name":"x"}}]}`
	}
	a, _ := mustImport(t, OSV, input{"a", record("A", "2026-01-01T00:00:00Z", "1") + record("B", "2026-01-01T00:00:00Z", "1")})
	b, _ := mustImport(t, OSV, input{"b", record("A", "2026-01-02T00:00:00Z", "2")})
	for _, packs := range [][]Pack{{a.With(Snapshot{Feed: "a"}), b.With(Snapshot{Feed: "b"})}, {b.With(Snapshot{Feed: "a"}), a.With(Snapshot{Feed: "b"})}} {
		db, _ := NewDatabase(nil, packs...)
		var got []string
		for _, x := range db.Advisories() {
			got = append(got, x.ID+" "+x.Affected[0].Ranges[0].Events[1].Fixed)
		}
		if d := cmp.Diff([]string{"A 2", "B 1"}, got); d != "" {
			t.Error(d)
		}
		if n := len(db.components[Component{"Go", "x"}]); n != 2 {
			t.Errorf("%d advisories on the component", n)
		}
		if n := db.Named("CVE-2026-0001"); len(n) != 2 || n[0].ID != "A" || n[1].ID != "B" {
			t.Errorf("%v", n)
		}
	}
}

// What another version of the program stored and this one cannot read is told.
func TestPacksOfAnotherVersion(t *testing.T) {
	for _, kind := range Kinds {
		p := Pack{snapshot: Snapshot{Kind: kind, Feed: "feed"}, lines: []string{`{"new":[1]}`}}
		if _, faults := NewDatabase(nil, p); len(faults) != 1 || faults[0].File != "feed" {
			t.Errorf("%s: %v", kind, faults)
		}
	}
}
