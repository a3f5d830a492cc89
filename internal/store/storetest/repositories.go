package storetest

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// put is a visible manifest whose bytes are content, under tags.
func put(p release.Project, repository, content string, tags ...string) *release.ManifestPut {
	return &release.ManifestPut{
		ProjectID: p.ID,
		Manifest: release.Manifest{
			Repository: p.Name + "/" + repository, Digest: sha256Of([]byte(content)), MediaType: "application/vnd.oci.image.manifest.v1+json",
			ArtifactType: "application/vnd.example", Bytes: []byte(content),
		},
		Tags: tags, Visible: true, Event: by("usr-suite"), Now: start,
		MayMove: func(tag string, held *release.Manifest) error {
			return problem.New(problem.Immutable, "test-move", "the tag %s stays on %s", tag, held.Digest)
		},
	}
}

func anyMove(string, *release.Manifest) error { return nil }

func (l *ledger) manifest(repository, ref, content string) {
	l.Helper()
	m, err := l.Manifest(l.Context(), repository, ref)
	l.ok(err)
	if string(m.Bytes) != content || m.Digest != sha256Of([]byte(content)) || m.Repository != repository || m.Release != nil {
		l.Fatalf("%s %s: got %+v, want the manifest %q", repository, ref, m, content)
	}
}

func (l *ledger) noManifest(repository, ref string) {
	l.Helper()
	_, err := l.Manifest(l.Context(), repository, ref)
	l.refused(err, problem.NotFound, "manifest-unknown")
}

func manifestTags(l *ledger) {
	plain := l.create("plain", artifacts)
	p := put(plain, "app", "one", "a", "b")
	p.Manifest.Annotations = []byte(`{"k":"v"}`)
	p.Links = []release.Link{{Digest: sha256Of([]byte("layer")), Size: 5}}
	l.ok(l.PutManifest(l.Context(), p))
	l.lastEvent(audit.ArtifactPushed)
	for _, ref := range []string{"a", "b", sha256Of([]byte("one"))} {
		l.manifest("plain/app", ref, "one")
	}
	m, err := l.Manifest(l.Context(), "plain/app", "a")
	l.ok(err)
	l.same("manifest", m, p.Manifest)
	_, err = l.BlobLink(l.Context(), "plain/app", sha256Of([]byte("layer")))
	l.ok(err)
	l.ok(l.PutManifest(l.Context(), p)) // again
	l.noManifest("plain/app", "c")
	l.noManifest("plain/other", "a")
	l.noManifest("plain/app", sha256Of([]byte("two")))

	// All or nothing.
	asked := map[string]string{}
	second := put(plain, "app", "two", "new", "b")
	second.MayMove = func(tag string, held *release.Manifest) error {
		asked[tag] = held.Digest
		return problem.New(problem.Immutable, "test-move", "no")
	}
	l.refused(l.PutManifest(l.Context(), second), problem.Immutable, "test-move")
	l.same("asked", asked, map[string]string{"b": sha256Of([]byte("one"))})
	if ev := l.lastEvent(audit.RefusedOverwrite); ev.Before != sha256Of([]byte("one")) || ev.After != sha256Of([]byte("two")) {
		l.Fatalf("event %+v", ev)
	}
	l.noManifest("plain/app", "new")
	l.noManifest("plain/app", sha256Of([]byte("two")))
	l.manifest("plain/app", "b", "one")

	second.MayMove = anyMove
	l.ok(l.PutManifest(l.Context(), second))
	l.manifest("plain/app", "a", "one")
	l.manifest("plain/app", "b", "two")
	l.manifest("plain/app", "new", "two")
	l.manifest("plain/app", sha256Of([]byte("one")), "one")
}

// manifestDigests puts a chart's manifest by digest, which shows it to nobody
// until a release has it.
func manifestDigests(l *ledger) {
	c := offer(l.project, "web", "1.0.0", "first")
	hidden := &release.ManifestPut{ProjectID: l.project.ID, Manifest: c.Manifest, Links: c.Links, Event: by("usr-suite"), Now: start}
	l.ok(l.PutManifest(l.Context(), hidden))
	l.noManifest("demo/web", c.Manifest.Digest)
	names, err := l.RepositoryNames(l.Context(), "", 10)
	l.ok(err)
	if len(names) != 0 {
		l.Fatalf("the catalogue shows %v", names)
	}
	r := l.claim(c)
	l.served(c, r)
	l.ok(l.PutManifest(l.Context(), hidden)) // does not hide it again
	l.served(c, r)

	// The tag of a release moves for nobody.
	steal := put(l.project, "web", "other", "1.0.0")
	steal.MayMove = func(tag string, held *release.Manifest) error {
		if held.Release == nil || held.Release.Version != "1.0.0" {
			l.Errorf("asked about %+v", held)
		}
		return nil
	}
	l.ok(l.PutManifest(l.Context(), steal))
	l.served(c, r)
}

func manifestDeletes(l *ledger) {
	plain := l.create("plain", artifacts)
	for _, content := range []string{"one", "two"} {
		l.ok(l.PutManifest(l.Context(), put(plain, "app", content, content, content+"-again")))
	}
	remove := func(ref string) error {
		ev := by("usr-suite")
		ev.Resource = audit.Resource{Project: "plain", Chart: "app", Version: ref}
		return l.DeleteManifest(l.Context(), "plain/app", ref, ev, start)
	}
	l.ok(remove("one"))
	l.lastEvent(audit.ArtifactDeleted)
	l.noManifest("plain/app", "one")
	l.manifest("plain/app", "one-again", "one")
	l.manifest("plain/app", sha256Of([]byte("one")), "one")
	l.refused(remove("one"), problem.NotFound, "manifest-unknown")
	l.ok(remove(sha256Of([]byte("one"))))
	l.noManifest("plain/app", "one-again")
	l.noManifest("plain/app", sha256Of([]byte("one")))
	l.manifest("plain/app", "two", "two")
	l.refused(remove(sha256Of([]byte("one"))), problem.NotFound, "manifest-unknown")
	l.ok(l.PutManifest(l.Context(), put(plain, "app", "one", "one"))) // it may come back
	l.manifest("plain/app", "one", "one")

	// A release does not go, even if somebody asked the store.
	c := offer(l.project, "web", "1.0.0", "first")
	r := l.claim(c)
	for _, ref := range []string{r.Tag, r.Manifest} {
		l.refused(l.DeleteManifest(l.Context(), "demo/web", ref, by("usr-suite"), start), problem.NotFound, "manifest-unknown")
	}
	l.served(c, r)
}

func tagPages(l *ledger) {
	plain := l.create("plain", artifacts)
	// In the order of bytes, which is not that of any language.
	tags := []string{"1.0.0", "10", "9", "A", "B.1", "Z", "_x", "a", "a-b", "a.b", "a1", "b", "latest"}
	for _, tag := range slices.Backward(tags) {
		l.ok(l.PutManifest(l.Context(), put(plain, "app", "one", tag)))
	}
	got, err := l.Tags(l.Context(), "plain/app", "", 100)
	l.ok(err)
	l.names("all", got, tags...)
	for i, after := range tags {
		got, err := l.Tags(l.Context(), "plain/app", after, 3)
		l.ok(err)
		l.names("after "+after, got, tags[i+1:min(i+4, len(tags))]...)
	}
	got, err = l.Tags(l.Context(), "plain/none", "", 3)
	l.ok(err)
	l.names("no repository", got)
}

func referrers(l *ledger) {
	plain := l.create("plain", artifacts)
	subject := sha256Of([]byte("subject")) // need not be there
	var want []release.Descriptor
	for i := range 5 {
		p := put(plain, "app", fmt.Sprint("referrer ", i))
		p.Manifest.Subject = subject
		d := release.Descriptor{MediaType: p.Manifest.MediaType, Digest: p.Manifest.Digest, Size: int64(len(p.Manifest.Bytes))}
		if i%2 == 0 {
			p.Manifest.ArtifactType = "application/vnd.example.signature"
			p.Manifest.Annotations = []byte(`{"n":"1"}`)
			d.Annotations = map[string]string{"n": "1"}
		}
		d.ArtifactType = p.Manifest.ArtifactType
		l.ok(l.PutManifest(l.Context(), p))
		want = append(want, d)
	}
	l.ok(l.PutManifest(l.Context(), put(plain, "app", "no referrer")))
	slices.SortFunc(want, func(a, b release.Descriptor) int { return bytes.Compare([]byte(a.Digest), []byte(b.Digest)) })
	got, err := l.Referrers(l.Context(), "plain/app", subject, "")
	l.ok(err)
	l.same("referrers", got, want)
	got, err = l.Referrers(l.Context(), "plain/app", subject, "application/vnd.example.signature")
	l.ok(err)
	l.same("signatures", got, slices.DeleteFunc(want, func(d release.Descriptor) bool { return d.ArtifactType != "application/vnd.example.signature" }))
	for _, none := range [][2]string{{"plain/app", sha256Of(nil)}, {"plain/other", subject}, {"plain/app", ""}} {
		got, err := l.Referrers(l.Context(), none[0], none[1], "")
		l.ok(err)
		if len(got) != 0 {
			l.Fatalf("referrers of %v: %v", none, got)
		}
	}
}

func links(l *ledger) {
	ctx := l.Context()
	plain := l.create("plain", artifacts)
	small := []byte("small")
	link := release.Link{Digest: sha256Of(small), Size: 5, Small: true}
	l.ok(l.LinkBlob(ctx, plain.ID, "plain/app", link, small))
	l.ok(l.LinkBlob(ctx, plain.ID, "plain/app", link, small)) // again
	l.ok(l.LinkBlob(ctx, l.project.ID, "demo/web", link, nil))
	large := release.Link{Digest: sha256Of([]byte("large")), Size: 1 << 40}
	l.ok(l.LinkBlob(ctx, plain.ID, "plain/app", large, nil))
	empty := release.Link{Digest: sha256Of(nil), Small: true}
	l.ok(l.LinkBlob(ctx, plain.ID, "plain/app", empty, []byte{}))
	for _, want := range []release.Link{link, large, empty} {
		got, err := l.BlobLink(ctx, "plain/app", want.Digest)
		l.ok(err)
		l.same("link", got, want)
	}
	for digest, want := range map[string][]byte{link.Digest: small, empty.Digest: {}} {
		got, err := l.SmallBlob(ctx, digest)
		l.ok(err)
		if !bytes.Equal(got, want) {
			l.Fatalf("got %q, want %q", got, want)
		}
	}
	_, err := l.SmallBlob(ctx, large.Digest)
	l.refused(err, problem.NotFound, "blob-unknown")
	for _, repository := range []string{"demo/web", "demo/none"} {
		_, err = l.BlobLink(ctx, repository, large.Digest)
		l.refused(err, problem.NotFound, "blob-unknown")
	}
	holders, err := l.BlobHolders(ctx, link.Digest, 10)
	l.ok(err)
	slices.Sort(holders)
	l.names("holders", holders, "demo/web", "plain/app")
	holders, err = l.BlobHolders(ctx, link.Digest, 1)
	l.ok(err)
	if len(holders) != 1 {
		l.Fatalf("holders %v, limit 1", holders)
	}

	l.ok(l.UnlinkBlob(ctx, "plain/app", link.Digest, by("usr-suite"), start))
	l.lastEvent(audit.ArtifactDeleted)
	_, err = l.BlobLink(ctx, "plain/app", link.Digest)
	l.refused(err, problem.NotFound, "blob-unknown")
	_, err = l.BlobLink(ctx, "demo/web", link.Digest)
	l.ok(err)
	l.refused(l.UnlinkBlob(ctx, "plain/app", link.Digest, by("usr-suite"), start), problem.NotFound, "blob-unknown")
	for repository, want := range map[string]bool{"plain/app": true, "plain/none": false, "plain": false} {
		got, err := l.HasRepository(ctx, repository)
		l.ok(err)
		if got != want {
			l.Fatalf("repository %s: %t", repository, got)
		}
	}
}

func catalogue(l *ledger) {
	plain := l.create("plain", artifacts)
	names := []string{"plain/a", "plain/a-b", "plain/a.b", "plain/a/b", "plain/a1", "plain/b", "plain/z"} // by bytes
	for _, name := range slices.Backward(names) {
		l.ok(l.PutManifest(l.Context(), put(plain, name[len("plain/"):], "one")))
	}
	l.ok(l.LinkBlob(l.Context(), plain.ID, "plain/only-a-blob", release.Link{Digest: sha256Of(nil)}, nil))
	l.claim(offer(l.project, "web", "1.0.0", "first"))
	want := []release.RepositoryName{{Name: "demo/web", ProjectID: l.project.ID}}
	for _, name := range names {
		want = append(want, release.RepositoryName{Name: name, ProjectID: plain.ID})
	}
	got, err := l.RepositoryNames(l.Context(), "", 100)
	l.ok(err)
	l.same("all", got, want)
	for i := range want {
		got, err := l.RepositoryNames(l.Context(), want[i].Name, 2)
		l.ok(err)
		l.same("after "+want[i].Name, append([]release.RepositoryName{}, got...), append([]release.RepositoryName{}, want[i+1:min(i+3, len(want))]...))
	}
}
