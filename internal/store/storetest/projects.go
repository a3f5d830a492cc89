package storetest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

func projectLife(l *ledger) {
	ctx := l.Context()
	size := l.size()
	made := l.create("team-a/web", artifacts, staging, func(p *release.Project) { p.Public = true })
	leaf, ok := l.newestLeaf().(tlog.Project)
	if !ok || l.size() != size+1 || leaf.Action != tlog.ProjectCreated || leaf.Name != "team-a/web" || leaf.Kind != "artifacts" ||
		leaf.Visibility != "public" || leaf.State != "active" || leaf.Policy != made.PolicyDigest {
		l.Fatalf("leaf %+v", leaf)
	}
	l.lastEvent(audit.ProjectCreated)
	if made.ID == 0 || made.Generation == 0 || made.Created.IsZero() || !made.Public || !made.Policy.RequireProvenance {
		l.Fatalf("made %+v", made)
	}
	for _, path := range []string{"team-a/web", "team-a/web/x", "team-a/web/x/y/z", "team-a/web/"} {
		got, err := l.ProjectFor(ctx, path)
		l.ok(err)
		l.same(path, got, made)
		if got.ID != made.ID {
			l.Fatalf("%s: id %d, want %d", path, got.ID, made.ID)
		}
	}
	for _, path := range []string{"", "team-a", "team-a/webx", "team-a/we", "/team-a/web", "team-b/web", "Team-a/web", "x/team-a/web"} {
		_, err := l.ProjectFor(ctx, path)
		l.refused(err, problem.NotFound, "project")
	}
	l.create("b")
	l.create("a-b")
	l.create("a.b")
	all, err := l.AllProjects(ctx)
	l.ok(err)
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	l.names("projects", names, "a-b", "a.b", "b", "demo", "team-a/web")
}

// projectPrefixes makes names in many orders that begin alike.
func projectPrefixes(l *ledger) {
	refused := func(name string) {
		l.Helper()
		_, err := l.CreateProject(l.Context(), release.Project{
			Name: name, Kind: release.KindCharts, State: release.ProjectActive, PolicyDigest: release.PolicyDigest(release.Policy{}),
		}, by("usr-suite"), start)
		l.refused(err, problem.Conflict, "project-exists")
	}
	l.create("a/b/c")
	for _, name := range []string{"a", "a/b", "a/b/c", "a/b/c/d", "a/b/c/d/e/f/g/h"} {
		refused(name)
	}
	for _, name := range []string{"a/b/cd", "a/b/c-d", "a/b/c.d", "a/b/c0", "a-b", "a.b", "a0", "ab", "a/bb", "a/b-b", "a/b0"} {
		l.create(name)
	}
	refused("demo/x")
	size := l.size()
	_, err := l.UpdateProject(l.Context(), "a/b/c", "removed", named(audit.ProjectRemoved), start, func(p release.Project) (release.Project, error) {
		p.State = release.ProjectRemoved
		return p, nil
	})
	l.ok(err)
	if leaf, ok := l.newestLeaf().(tlog.Project); !ok || leaf.Action != tlog.ProjectRemoved || leaf.State != "removed" || l.size() != size+1 {
		l.Fatalf("leaf %+v", leaf)
	}
	for _, name := range []string{"a", "a/b", "a/b/c", "a/b/c/d"} { // burnt
		refused(name)
	}
	p, err := l.ProjectFor(l.Context(), "a/b/c/x")
	l.ok(err)
	if p.State != release.ProjectRemoved {
		l.Fatalf("state %s", p.State)
	}
	if l.size() != size+1 {
		l.Fatalf("the log grew from %d to %d", size+1, l.size())
	}
}

const artifactHubID = "6d0d3b1e-4f6b-4f5c-9f3a-2f1d8c7b6a50"

func projectChanges(l *ledger) {
	ctx := l.Context()
	before := l.current(l.project)
	got, err := l.UpdateProject(ctx, "demo", "set", named(audit.ProjectSet), start, func(p release.Project) (release.Project, error) {
		l.same("seen", p, before)
		p.Public, p.Policy = true, release.Policy{RequireProvenance: true}
		p.PolicyDigest, p.ArtifactHubID = release.PolicyDigest(p.Policy), artifactHubID
		p.Name, p.Kind, p.ID, p.Generation = "other", release.KindArtifacts, 99, 99 // frozen
		return p, nil
	})
	l.ok(err)
	want := before
	want.Public, want.Policy, want.Generation = true, release.Policy{RequireProvenance: true}, before.Generation+1
	want.PolicyDigest, want.ArtifactHubID, want.Changed = release.PolicyDigest(want.Policy), artifactHubID, got.Changed
	l.same("changed", got, want)
	l.same("read", l.current(l.project), want)
	if got.ID != before.ID {
		l.Fatalf("id %d, want %d", got.ID, before.ID)
	}
	leaf, ok := l.newestLeaf().(tlog.Project)
	if !ok || leaf.Action != tlog.ProjectSet || leaf.Visibility != "public" || leaf.Policy != want.PolicyDigest {
		l.Fatalf("leaf %+v", leaf)
	}
	l.lastEvent(audit.ProjectSet)

	size := l.size()
	no := errors.New("no")
	_, err = l.UpdateProject(ctx, "demo", "set", named(audit.ProjectSet), start, func(p release.Project) (release.Project, error) {
		p.Public = false
		return p, no
	})
	if err != no {
		l.Fatalf("got error %v, want that of the change", err)
	}
	l.same("project", l.current(l.project), want)
	_, err = l.UpdateProject(ctx, "none", "set", named(audit.ProjectSet), start, func(p release.Project) (release.Project, error) {
		l.Error("a project that does not exist was changed")
		return p, nil
	})
	l.refused(err, problem.NotFound, "project")
	if l.size() != size {
		l.Fatalf("the log grew from %d to %d", size, l.size())
	}
	// The policy in force stands in the leaf.
	r := l.claim(offer(l.project, "web", "1.0.0", "first"))
	entry, err := l.Leaf(ctx, r.LogIndex)
	l.ok(err)
	parsed, err := tlog.ParseLeaf(entry)
	l.ok(err)
	if got := parsed.(tlog.Release).Policy; got != want.PolicyDigest || r.State != release.Staged {
		l.Fatalf("policy %s, state %s", got, r.State)
	}
}

func chartSummaries(l *ledger) {
	ctx := l.Context()
	for _, name := range []string{"b", "a-b", "a.b", "a", "a1", "z"} {
		for _, version := range []string{"1.0.0", "2.0.0", "3.0.0-rc.1", "1.5.0"} {
			l.claim(offer(l.project, name, version, name+version))
		}
	}
	l.claim(offer(l.project, "pre", "1.0.0-rc.1", "x"))
	only := l.claim(offer(l.project, "withdrawn", "1.0.0", "x"))
	l.setState(only, true)
	r, err := l.ReleaseByVersion(ctx, l.project.ID, "a", "2.0.0")
	l.ok(err)
	l.setState(r, true)
	l.claim(offer(l.create("other"), "other", "1.0.0", "x"))

	names := []string{"a", "a-b", "a.b", "a1", "b", "pre", "withdrawn", "z"}
	latest := map[string]string{"a": "1.5.0", "pre": "1.0.0-rc.1", "withdrawn": ""}
	all, err := l.Charts(ctx, l.project.ID, "", 100)
	l.ok(err)
	var got []string
	for _, c := range all {
		got = append(got, c.Name)
		want, special := latest[c.Name]
		if !special {
			want = "2.0.0"
		}
		n := 4
		if c.Name == "pre" || c.Name == "withdrawn" {
			n = 1
		}
		if c.Latest.Version != want || c.Releases != n || c.Updated.IsZero() || want != "" && c.Description != "Description of "+want {
			l.Fatalf("got %+v, want latest %q of %d", c, want, n)
		}
	}
	l.names("charts", got, names...)
	page, err := l.Charts(ctx, l.project.ID, "a-b", 2)
	l.ok(err)
	if len(page) != 2 || page[0].Name != "a.b" || page[1].Name != "a1" {
		l.Fatalf("page %v", page)
	}
	nCharts, nReleases, err := l.Counts(ctx, l.project.ID)
	l.ok(err)
	if nCharts != 8 || nReleases != 26 {
		l.Fatalf("%d charts, %d releases", nCharts, nReleases)
	}
	list, err := l.Releases(ctx, l.project.ID, "a")
	l.ok(err)
	var versions []string
	for _, r := range list {
		versions = append(versions, fmt.Sprint(r.Version, " ", r.State))
	}
	if !slices.Equal(versions, []string{"3.0.0-rc.1 active", "2.0.0 yanked", "1.5.0 active", "1.0.0 active"}) {
		l.Fatalf("versions %v", versions)
	}
}
