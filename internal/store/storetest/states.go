package storetest

import (
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

func attachment(r release.Release, text string) *release.Attachment {
	return &release.Attachment{ReleaseID: r.ID, Digest: sha256Of([]byte(text)), Bytes: []byte(text), Now: start, Event: by("usr-signer")}
}

// newestLeaf is the last leaf of the log.
func (l *ledger) newestLeaf() tlog.Leaf {
	l.Helper()
	entry, err := l.Leaf(l.Context(), l.size()-1)
	l.ok(err)
	leaf, err := tlog.ParseLeaf(entry)
	l.ok(err)
	return leaf
}

func attachOnce(l *ledger) {
	c := offer(l.project, "web", "1.0.0", "first")
	r := l.claim(c)
	before := l.current(l.project)
	res, err := l.Attach(l.Context(), attachment(r, "signature"))
	l.ok(err)
	l.verify(res)
	digest := sha256Of([]byte("signature"))
	if res.Unchanged || res.Release.Provenance != digest || res.Release.State != release.Active {
		l.Fatalf("got %+v", res)
	}
	attach, ok := l.newestLeaf().(tlog.Attach)
	if !ok || attach.Index != r.LogIndex || attach.Digest != digest || attach.Kind != tlog.AttachProvenance || attach.Publisher.Subject != "usr-signer" {
		l.Fatalf("leaf %+v", attach)
	}
	l.lastEvent(audit.ProvAttached)
	if g := l.current(l.project).Generation; g != before.Generation+1 {
		l.Fatalf("generation %d after %d", g, before.Generation)
	}
	r.Provenance = digest
	l.served(c, r) // the manifest stays as it was
	link, err := l.BlobLink(l.Context(), r.Repository(), digest)
	l.ok(err)
	if link.Size != int64(len("signature")) {
		l.Fatalf("link %+v", link)
	}

	size, before := l.size(), l.current(l.project)
	res, err = l.Attach(l.Context(), attachment(r, "signature"))
	l.ok(err)
	l.verify(res)
	if !res.Unchanged {
		l.Fatal("the same provenance was attached twice")
	}
	res, err = l.Attach(l.Context(), attachment(r, "another"))
	p := l.refused(err, problem.Immutable, "provenance-held")
	if fact(p, "stored") != digest || fact(p, "offered") != sha256Of([]byte("another")) {
		l.Fatalf("facts %v", p.Facts)
	}
	l.same("standing release", res.Release, r)
	if ev := l.lastEvent(audit.ProvRefused); ev.Before != digest || ev.Outcome.Result != audit.Denied {
		l.Fatalf("event %+v", ev)
	}
	_, err = l.SmallBlob(l.Context(), sha256Of([]byte("another")))
	l.refused(err, problem.NotFound, "blob-unknown")
	if l.size() != size {
		l.Fatalf("the log grew from %d to %d", size, l.size())
	}
	l.same("project", l.current(l.project), before)
	l.served(c, r)
}

// visible says through which of the ways for readers a release can be seen.
func (l *ledger) visible(r release.Release) (tag, digest, listed, index, all bool) {
	l.Helper()
	ctx := l.Context()
	seen := func(ref string) bool {
		_, err := l.Manifest(ctx, r.Repository(), ref)
		if err != nil {
			l.refused(err, problem.NotFound, "manifest-unknown")
		}
		return err == nil
	}
	tags, err := l.Tags(ctx, r.Repository(), "", 100)
	l.ok(err)
	for _, t := range tags {
		listed = listed || t == r.Tag
	}
	return seen(r.Tag), seen(r.Manifest), listed, l.indexed(r, false), l.indexed(r, true)
}

func (l *ledger) mustBeVisible(r release.Release, tag, digest, listed, index, all bool) {
	l.Helper()
	got := [5]bool{}
	got[0], got[1], got[2], got[3], got[4] = l.visible(r)
	if want := [5]bool{tag, digest, listed, index, all}; got != want {
		l.Fatalf("%s is visible by tag, digest, tag list, index, whole index: %v, want %v", r.Ref(), got, want)
	}
}

func attachStaged(l *ledger) {
	strict := l.create("strict", staging)
	c := offer(strict, "web", "1.0.0", "first")
	r := l.claim(c)
	if r.State != release.Staged {
		l.Fatalf("state %s", r.State)
	}
	l.mustBeVisible(r, false, false, false, false, false)
	charts, err := l.Charts(l.Context(), strict.ID, "", 10)
	l.ok(err)
	nCharts, nReleases, err := l.Counts(l.Context(), strict.ID)
	l.ok(err)
	if len(charts) != 0 || nCharts != 0 || nReleases != 0 {
		l.Fatalf("a staged release is counted: %v, %d, %d", charts, nCharts, nReleases)
	}
	_, err = l.SetState(l.Context(), &release.StateChange{ReleaseID: r.ID, Yank: true, Reason: "broken", Now: start, Event: by("usr-suite")})
	l.refused(err, problem.Conflict, "staged")
	// Its name is taken all the same.
	_, err = l.Claim(l.Context(), offer(strict, "web", "1.0.0", "other"))
	l.refused(err, problem.Immutable, "overwrite")
	err = l.PutManifest(l.Context(), put(strict, "web", "tagged", "1.0.0"))
	l.refused(err, problem.Immutable, "test-move")

	res, err := l.Attach(l.Context(), attachment(r, "signature"))
	l.ok(err)
	l.verify(res)
	if res.Release.State != release.Active {
		l.Fatalf("state %s", res.Release.State)
	}
	l.mustBeVisible(res.Release, true, true, true, true, true)
	l.served(c, res.Release)
}

func (l *ledger) setState(r release.Release, yank bool) release.Release {
	l.Helper()
	ch := &release.StateChange{ReleaseID: r.ID, Yank: yank, Reason: "broken", Text: "it does not start", Now: start, Event: by("usr-suite")}
	if !yank {
		ch.Reason = "none"
	}
	out, err := l.SetState(l.Context(), ch)
	l.ok(err)
	return out
}

func yankAndBack(l *ledger) {
	l.ok(l.CreateAccount(l.Context(), release.Account{ID: "usr-suite", Name: "suite", Kind: release.KindUser}, "", named(audit.AccountCreated), start))
	c := offer(l.project, "web", "1.0.0", "first")
	l.claim(c)
	r, err := l.ReleaseByVersion(l.Context(), l.project.ID, "web", "1.0.0")
	l.ok(err)
	if r.By != "suite" {
		l.Fatalf("released by %q", r.By)
	}
	for range 2 { // it can go back and forth
		before := l.current(l.project)
		l.setState(r, true)
		yanked, err := l.ReleaseByVersion(l.Context(), l.project.ID, "web", "1.0.0")
		l.ok(err)
		y := yanked.Yank
		if yanked.State != release.Yanked || y == nil || y.Reason != "broken" || y.Text != "it does not start" || y.By != "usr-suite" || y.ByName != "suite" ||
			y.Time.Before(start) || y.LogIndex != l.size()-1 {
			l.Fatalf("got %+v, yank %+v", yanked, y)
		}
		leaf, ok := l.newestLeaf().(tlog.Yank)
		if !ok || leaf.Index != r.LogIndex || leaf.Reason != "broken" || leaf.Text != "it does not start" {
			l.Fatalf("leaf %+v", l.newestLeaf())
		}
		l.lastEvent(audit.ReleaseYanked)
		l.mustBeVisible(yanked, true, true, false, false, true)
		l.served(c, yanked)
		mid := l.current(l.project)

		l.setState(r, false)
		l.lastEvent(audit.ReleaseUnyanked)
		if leaf, ok := l.newestLeaf().(tlog.Unyank); !ok || leaf.Index != r.LogIndex {
			l.Fatalf("leaf %+v", l.newestLeaf())
		}
		l.mustBeVisible(r, true, true, true, true, true)
		l.served(c, r)
		if after := l.current(l.project); mid.Generation != before.Generation+1 || after.Generation != mid.Generation+1 {
			l.Fatalf("generations %d, %d, %d", before.Generation, mid.Generation, after.Generation)
		}
	}
}

func yankRefusals(l *ledger) {
	r := l.claim(offer(l.project, "web", "1.0.0", "first"))
	change := func(yank bool) error {
		_, err := l.SetState(l.Context(), &release.StateChange{ReleaseID: r.ID, Yank: yank, Reason: "broken", Now: start, Event: by("usr-suite")})
		return err
	}
	size, before := l.size(), l.current(l.project)
	l.refused(change(false), problem.Conflict, "not-yanked")
	l.same("project", l.current(l.project), before)
	if l.size() != size {
		l.Fatalf("the log grew from %d to %d", size, l.size())
	}
	l.setState(r, true)
	size, before = l.size(), l.current(l.project)
	l.refused(change(true), problem.Conflict, "yanked")
	l.same("project", l.current(l.project), before)
	if l.size() != size {
		l.Fatalf("the log grew from %d to %d", size, l.size())
	}
	// A yanked version stays taken.
	_, err := l.Claim(l.Context(), offer(l.project, "web", "1.0.0", "other"))
	if p := l.refused(err, problem.Immutable, "overwrite"); fact(p, "yanked") == "" {
		l.Fatalf("facts %v", p.Facts)
	}
	res, err := l.Claim(l.Context(), offer(l.project, "web", "1.0.0", "first"))
	l.ok(err)
	if !res.Unchanged || res.Release.State != release.Yanked {
		l.Fatalf("got %+v", res)
	}
}
