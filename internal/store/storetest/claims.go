package storetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// served checks that a release is served as it was claimed, by every way to
// name it.
func (l *ledger) served(c *release.Claim, r release.Release) {
	l.Helper()
	ctx := l.Context()
	byVersion, err := l.ReleaseByVersion(ctx, r.ProjectID, r.Chart, r.Version)
	l.ok(err)
	l.same("by version", byVersion, r)
	byFile, err := l.ReleaseByFile(ctx, r.ProjectID, r.File)
	l.ok(err)
	l.same("by file", byFile, r)
	for _, ref := range []string{r.Tag, r.Manifest} {
		m, err := l.Manifest(ctx, r.Repository(), ref)
		l.ok(err)
		if m.Digest != r.Manifest || !bytes.Equal(m.Bytes, c.Manifest.Bytes) || m.MediaType != c.Manifest.MediaType || m.ArtifactType != c.Manifest.ArtifactType {
			l.Fatalf("manifest %s: got %+v", ref, m)
		}
		l.same("release of manifest "+ref, m.Release, r)
	}
	config, err := l.SmallBlob(ctx, r.Config)
	l.ok(err)
	if !bytes.Equal(config, c.Config) {
		l.Fatalf("config %s: got %s", r.Config, config)
	}
	for _, want := range c.Links {
		got, err := l.BlobLink(ctx, r.Repository(), want.Digest)
		l.ok(err)
		l.same("link", got, want)
	}
}

func claimNew(l *ledger) {
	before := l.current(l.project)
	size := l.size()
	c := offer(l.project, "web", "1.0.0", "first")
	r := l.claim(c)
	if r.State != release.Active || r.LogIndex != size || l.size() != size+1 || r.Time.IsZero() || r.ID == 0 {
		l.Fatalf("got %+v, log size %d after %d", r, l.size(), size)
	}
	l.served(c, r)
	if g := l.current(l.project).Generation; g != before.Generation+1 {
		l.Fatalf("generation %d after %d", g, before.Generation)
	}
	ev := l.lastEvent(audit.ReleaseAccepted)
	l.same("resource", ev.Resource, audit.Resource{Project: "demo", Chart: "web", Version: "1.0.0", Digest: r.Archive})
	if ev.Outcome.Result != audit.Allowed || ev.After != r.Archive || ev.Actor.ID != "usr-suite" || ev.Source.IP != "192.0.2.7" || ev.SourceDigest == "" {
		l.Fatalf("event %+v", ev)
	}
	_, err := l.ReleaseByVersion(l.Context(), l.project.ID, "web", "1.0.1")
	l.refused(err, problem.NotFound, "release")
	_, err = l.ReleaseByFile(l.Context(), l.project.ID+1, r.File)
	l.refused(err, problem.NotFound, "release")
}

func claimUnchanged(l *ledger) {
	r := l.claim(offer(l.project, "web", "1.0.0", "first"))
	l.claim(offer(l.project, "web", "1.1.0", "second"))
	before, size := l.current(l.project), l.size()
	res, err := l.Claim(l.Context(), offer(l.project, "web", "1.0.0", "first"))
	l.ok(err)
	if !res.Unchanged {
		l.Fatal("the same archive made a new release")
	}
	l.verify(res)
	l.same("release", res.Release, r)
	l.same("project", l.current(l.project), before)
	if l.size() != size {
		l.Fatalf("the log grew from %d to %d", size, l.size())
	}
	l.lastEvent(audit.ReleaseUnchanged)
}

// repack gives a claim another OCI manifest, as Helm does when the time of a
// file differs.
func repack(c *release.Claim) *release.Claim {
	c.Manifest.Bytes = append(c.Manifest.Bytes, '\n')
	c.Manifest.Digest = sha256Of(c.Manifest.Bytes)
	c.Release.Manifest = c.Manifest.Digest
	return c
}

func claimRepackaged(l *ledger) {
	c := offer(l.project, "web", "1.0.0", "first")
	r := l.claim(c)
	again := repack(offer(l.project, "web", "1.0.0", "first"))
	again.Event.Door = audit.DoorOCI
	res, err := l.Claim(l.Context(), again)
	p := l.refused(err, problem.Immutable, "identical")
	if fact(p, "released manifest") != r.Manifest || fact(p, "offered manifest") != again.Manifest.Digest {
		l.Fatalf("facts %v", p.Facts)
	}
	l.same("standing release", res.Release, r)
	if ev := l.lastEvent(audit.RefusedRepackaged); ev.Outcome.Result != audit.Denied || ev.Outcome.Rule != "identical" {
		l.Fatalf("outcome %+v", ev.Outcome)
	}
	_, err = l.Manifest(l.Context(), r.Repository(), again.Manifest.Digest)
	l.refused(err, problem.NotFound, "manifest-unknown")

	// Through a door whose clients see no manifest, it is the same release.
	again.Event.Door = audit.DoorClassic
	res, err = l.Claim(l.Context(), again)
	l.ok(err)
	if !res.Unchanged || res.Release.Manifest != r.Manifest {
		l.Fatalf("got %+v", res)
	}
	l.served(c, r)
}

func claimOverwrite(l *ledger) {
	c := offer(l.project, "web", "1.0.0", "first")
	r := l.claim(c)
	before, size := l.current(l.project), l.size()
	other := offer(l.project, "web", "1.0.0", "other")
	other.Event.Actor.ID, other.Force = "usr-mallory", true
	other.DiffersFrom = r.Archive
	for i := range 30 {
		other.Differs = append(other.Differs, chart.Change{Path: fmt.Sprintf("web/f%02d", i), Kind: "changed"})
	}
	res, err := l.Claim(l.Context(), other)
	p := l.refused(err, problem.Immutable, "overwrite")
	if !strings.Contains(fact(p, "stored"), r.Archive) || fact(p, "offered") != other.Release.Archive || fact(p, "log index") != fmt.Sprint(r.LogIndex) || fact(p, "force") == "" || p.Try == "" {
		l.Fatalf("facts %v, try %q", p.Facts, p.Try)
	}
	l.same("standing release", res.Release, r)
	ev := l.lastEvent(audit.RefusedOverwrite)
	if ev.Before != r.Archive || ev.After != other.Release.Archive || ev.Actor.ID != "usr-mallory" || ev.Outcome.Result != audit.Denied ||
		ev.Outcome.Rule != "overwrite" || ev.Detail[audit.DetailForce] != "ignored" || ev.Detail["released"] != "demo/web@1.0.0" || ev.Detail["file-01"] != "changed web/f00" || ev.Detail["more"] == "" {
		l.Fatalf("event %+v", ev)
	}
	if l.size() != size {
		l.Fatalf("the log grew from %d to %d", size, l.size())
	}
	l.same("project", l.current(l.project), before)
	l.served(c, r)
	for _, link := range other.Links {
		if link.Digest == r.Config {
			continue
		}
		_, err := l.BlobLink(l.Context(), r.Repository(), link.Digest)
		l.refused(err, problem.NotFound, "blob-unknown")
	}

	// What was compared with another release says nothing here.
	other.DiffersFrom = sha256Of([]byte("another"))
	_, err = l.Claim(l.Context(), other)
	if p := l.refused(err, problem.Immutable, "overwrite"); fact(p, "differs") != "" {
		l.Fatalf("differs %q", fact(p, "differs"))
	}
}

func claimBuildMetadata(l *ledger) {
	c := offer(l.project, "web", "1.0.0+build.1", "first")
	r := l.claim(c)
	for _, version := range []string{"1.0.0", "1.0.0+build.2"} {
		for _, content := range []string{"first", "other"} { // even the same bytes
			res, err := l.Claim(l.Context(), offer(l.project, "web", version, content))
			l.refused(err, problem.Immutable, "build-metadata")
			l.same("standing release", res.Release, r)
			l.lastEvent(audit.RefusedBuildMetadata)
		}
	}
	l.served(c, r)
	l.claim(offer(l.project, "web", "1.0.0-rc.1", "earlier"))
	l.claim(offer(l.project, "other", "1.0.0", "other chart"))
	l.claim(offer(l.create("second"), "web", "1.0.0", "other project"))
}

func claimFileName(l *ledger) {
	c := offer(l.project, "foo", "1.0.0-2.0.0", "first")
	r := l.claim(c)
	for _, content := range []string{"first", "other"} {
		res, err := l.Claim(l.Context(), offer(l.project, "foo-1.0.0", "2.0.0", content))
		p := l.refused(err, problem.Immutable, "file-name")
		if !strings.Contains(p.Message, "foo-1.0.0-2.0.0.tgz") {
			l.Fatal(p.Message)
		}
		l.same("standing release", res.Release, r)
		l.lastEvent(audit.RefusedFileName)
	}
	_, err := l.ReleaseByVersion(l.Context(), l.project.ID, "foo-1.0.0", "2.0.0")
	l.refused(err, problem.NotFound, "release")
	l.served(c, r)
}

func claimHistory(l *ledger) {
	old := l.create("old", importing)
	var claims []*release.Claim
	var made []release.Release
	for i, version := range []string{"v1.0.0", "1.0.0+a", "1.0.0+b", "1.0.0", "2", "latest"} {
		c := history(offer(old, "web", version, fmt.Sprintf("old %d", i)))
		made = append(made, l.claim(c))
		claims = append(claims, c)
	}
	for i, r := range made {
		if !r.Legacy {
			l.Fatalf("%s is not legacy", r.Ref())
		}
		r.Key = ""
		l.served(claims[i], r)
	}
	l.lastEvent(audit.ReleaseImported)

	// History does not change either.
	_, err := l.Claim(l.Context(), history(offer(old, "web", "v1.0.0", "other")))
	l.refused(err, problem.Immutable, "overwrite")
	res, err := l.Claim(l.Context(), history(offer(old, "web", "1.0.0+b", "old 2")))
	l.ok(err)
	l.verify(res)
	if !res.Unchanged {
		l.Fatal("the same archive made a new release")
	}

	_, err = l.UpdateProject(l.Context(), "old", "cut-over", named(audit.ProjectCutOver), start, func(p release.Project) (release.Project, error) {
		p.State = release.ProjectActive
		return p, nil
	})
	l.ok(err)
	old = l.current(old)
	_, err = l.Claim(l.Context(), offer(old, "web", "1.0.0+c", "new"))
	l.refused(err, problem.Immutable, "build-metadata")
	_, err = l.Claim(l.Context(), offer(old, "web", "1.0.0", "new"))
	l.refused(err, problem.Immutable, "overwrite")
	_, err = l.Claim(l.Context(), offer(old, "web", "2.0.0", "new"))
	l.refused(err, problem.Immutable, "build-metadata") // 2 is 2.0.0 to Helm
	l.claim(offer(old, "web", "2.0.1", "new"))

	// A leading v alone holds the strict spelling, too.
	older := l.create("older", importing)
	l.claim(history(offer(older, "web", "v3.0.0", "old")))
	_, err = l.UpdateProject(l.Context(), "older", "cut-over", named(audit.ProjectCutOver), start, func(p release.Project) (release.Project, error) {
		p.State = release.ProjectActive
		return p, nil
	})
	l.ok(err)
	_, err = l.Claim(l.Context(), offer(l.current(older), "web", "3.0.0", "new"))
	l.refused(err, problem.Immutable, "build-metadata")
}

func claimState(l *ledger) {
	old := l.create("old", importing)
	c := offer(old, "web", "1.0.0", "first")
	c.RequireState = release.ProjectActive
	size := l.size()
	_, err := l.Claim(l.Context(), c)
	l.refused(err, problem.Conflict, "project-state")
	if ev := l.lastEvent(audit.RefusedValidation); ev.Outcome.Result != audit.Denied {
		l.Fatalf("outcome %+v", ev.Outcome)
	}
	held, err := l.Claim(l.Context(), offer(l.project, "held", "1.0.0", "first"))
	l.ok(err)
	_, err = l.UpdateProject(l.Context(), "demo", "removed", named(audit.ProjectRemoved), start, func(p release.Project) (release.Project, error) {
		p.State = release.ProjectRemoved
		return p, nil
	})
	l.ok(err)
	_, err = l.Claim(l.Context(), offer(l.project, "web", "1.0.0", "first"))
	l.refused(err, problem.Conflict, "project-state")
	// Whoever asked before the removal comes too late with everything else too.
	_, err = l.SetState(l.Context(), &release.StateChange{ReleaseID: held.Release.ID, Yank: true, Reason: "broken", Now: start, Event: by("usr-suite")})
	l.refused(err, problem.Gone, "project-removed")
	_, err = l.Attach(l.Context(), &release.Attachment{ReleaseID: held.Release.ID, Digest: sha256Of([]byte("prov")), Bytes: []byte("prov"), Now: start, Event: by("usr-suite")})
	l.refused(err, problem.Gone, "project-removed")
	late := put(l.project, "held", "late", "sha256-late.sig")
	l.refused(l.PutManifest(l.Context(), late), problem.Gone, "project-removed")
	if l.size() != size+2 { // the release and the removal alone
		l.Fatalf("log size %d after %d", l.size(), size)
	}
	_, err = l.ReleaseByVersion(l.Context(), l.project.ID, "web", "1.0.0")
	l.refused(err, problem.NotFound, "release")
}

func claimMustBeHeld(l *ledger) {
	c := offer(l.project, "web", "1.0.0", "first")
	c.MustBeHeld = true
	before, size := l.current(l.project), l.size()
	_, err := l.Claim(l.Context(), c)
	if err == nil {
		l.Fatal("a release was made whose bytes were not stored")
	}
	l.same("project", l.current(l.project), before)
	if l.size() != size {
		l.Fatalf("the log grew from %d to %d", size, l.size())
	}
	_, err = l.Manifest(l.Context(), "demo/web", "1.0.0")
	l.refused(err, problem.NotFound, "manifest-unknown")
	r := l.claim(offer(l.project, "web", "1.0.0", "first"))
	res, err := l.Claim(l.Context(), c)
	l.ok(err)
	l.same("release", res.Release, r)
}

func claimProvenance(l *ledger) {
	c := offer(l.project, "web", "1.0.0", "first")
	c.Prov = []byte("a signature")
	c.Release.Provenance = sha256Of(c.Prov)
	c.Links = append(c.Links, release.Link{Digest: c.Release.Provenance, Size: int64(len(c.Prov))})
	p := l.create("strict", staging)
	for _, in := range []release.Project{l.project, p} {
		d := *c
		d.Release.ProjectID, d.Release.Project = in.ID, in.Name
		d.Manifest.Repository = d.Release.Repository()
		r := l.claim(&d)
		if r.State != release.Active || r.Provenance != c.Release.Provenance {
			l.Fatalf("got %+v", r)
		}
		l.served(&d, r)
		got, err := l.SmallBlob(l.Context(), r.Provenance)
		l.ok(err)
		if !bytes.Equal(got, c.Prov) {
			l.Fatalf("got %q", got)
		}
	}
}

// claimOrder claims versions in a random order and expects them newest first.
func claimOrder(l *ledger) {
	versions := []string{ // newest first
		"10.0.0", "2.0.0", "1.10.0", "1.9.0", "1.0.1", "1.0.0", "1.0.0-rc.1", "1.0.0-beta.11", "1.0.0-beta.2", "1.0.0-beta",
		"1.0.0-alpha.beta", "1.0.0-alpha.1", "1.0.0-alpha", "0.99999999999.0", "0.9.0",
	}
	for i, n := range rand.New(rand.NewPCG(1, 2)).Perm(len(versions)) {
		c := offer(l.project, "web", versions[n], versions[n])
		c.Now = start.Add(time.Duration(i) * time.Second)
		l.claim(c)
	}
	list, err := l.Releases(l.Context(), l.project.ID, "web")
	l.ok(err)
	var got []string
	for _, r := range list {
		got = append(got, r.Version)
	}
	l.names("versions", got, versions...)
}
