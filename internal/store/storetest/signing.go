package storetest

import (
	"fmt"
	"slices"
	"sync"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/signature"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// asking is a policy that wants signatures of kinds.
func asking(kinds ...signature.Kind) func(*release.Project) {
	return func(p *release.Project) {
		p.Policy.Signatures = &signature.Policy{Require: signature.All, Kinds: kinds}
	}
}

// holds is a Judge that finds a signature of a kind, under a digest, to hold.
func holds(kind signature.Kind, digest string) release.Judge {
	return func(p *release.Project) release.Judgement {
		return release.Judgement{Signatures: []signature.Signature{{Kind: kind, Digest: digest, Verdict: signature.Verified, Signer: "ada", Policy: p.PolicyDigest, Time: start}}}
	}
}

// refuses is a Judge that lets nothing in.
func refuses(p *release.Project) release.Judgement {
	return release.Judgement{Refusal: problem.New(problem.Policy, "signature-test", "no")}
}

// bundle is a manifest about a release, as a client attaches a signature.
func bundle(p release.Project, r release.Release, content string, judge release.Judge) *release.ManifestPut {
	m := put(p, r.Chart, content)
	m.Manifest.Subject, m.Manifest.ArtifactType = r.Manifest, signature.MediaType
	m.Bundle = &release.BundlePut{ReleaseID: r.ID, Judge: judge}
	return m
}

func signedClaims(l *ledger) {
	ctx := l.Context()
	p := l.create("strict", asking(signature.PGP))

	refused := offer(p, "web", "1.0.0", "first")
	refused.Judge = refuses
	size := l.size()
	_, err := l.Claim(ctx, refused)
	l.refused(err, problem.Policy, "signature-test")
	if ev := l.lastEvent(audit.RefusedSignature); ev.Resource.Chart != "web" || ev.Outcome.Rule != "signature-test" {
		l.Fatalf("event %+v", ev)
	}
	if _, err := l.ReleaseByFile(ctx, p.ID, "web-1.0.0.tgz"); problem.KindOf(err) != problem.NotFound || l.size() != size {
		l.Fatalf("a refused claim left something: %v", err)
	}

	good := offer(p, "web", "1.0.0", "first")
	good.Judge = holds(signature.PGP, sha256Of([]byte("prov")))
	r := l.claim(good)
	sigs, err := l.Signatures(ctx, r.ID)
	l.ok(err)
	if r.State != release.Active || len(sigs) != 1 || sigs[0].Signer != "ada" || sigs[0].Policy != p.PolicyDigest || !sigs[0].Time.Equal(start) {
		l.Fatalf("state %s, signatures %+v", r.State, sigs)
	}
	// The name is held: that is the answer, whatever the signatures are.
	again := offer(p, "web", "1.0.0", "first")
	again.Judge = refuses
	if res, err := l.Claim(ctx, again); err != nil || !res.Unchanged {
		l.Fatalf("the same again: %+v, %v", res, err)
	}

	// Nobody looked, so it waits; what must be whole does not come in.
	if r := l.claim(offer(p, "late", "1.0.0", "late")); r.State != release.Staged {
		l.Fatalf("state %s", r.State)
	}
	whole := offer(p, "whole", "1.0.0", "whole")
	whole.Whole = true
	_, err = l.Claim(ctx, whole)
	l.refused(err, problem.Policy, "signature-missing")

	// The judge is asked of the policy that is in force in the transaction.
	l.setPolicy("strict", release.Policy{RequireProvenance: true})
	moved := offer(p, "moved", "1.0.0", "moved")
	var asked []string
	moved.Judge = func(p *release.Project) release.Judgement {
		asked = append(asked, p.PolicyDigest)
		return release.Judgement{Would: []string{"something"}}
	}
	if r := l.claim(moved); r.State != release.Staged {
		l.Fatalf("state %s", r.State)
	}
	if now := l.current(p).PolicyDigest; len(asked) == 0 || asked[len(asked)-1] != now || now == p.PolicyDigest {
		l.Fatalf("the judge was asked about %q, and %s is in force", asked, now)
	}
	if ev := l.lastEvent(audit.WouldRefuse); ev.Detail["would-refuse"] != "something" || ev.Resource.Chart != "moved" {
		l.Fatalf("event %+v", ev)
	}
}

// setPolicy gives a project a policy, as the use cases do.
func (l *ledger) setPolicy(project string, policy release.Policy) {
	l.Helper()
	_, err := l.UpdateProject(l.Context(), project, tlog.ProjectSet, named(audit.ProjectSet), start, func(p release.Project) (release.Project, error) {
		p.Policy, p.PolicyDigest = policy, release.PolicyDigest(policy)
		return p, nil
	})
	l.ok(err)
}

func signedBundles(l *ledger) {
	ctx := l.Context()
	p := l.create("strict", asking(signature.Key, signature.Keyless))
	c := offer(p, "web", "1.0.0", "first")
	r := l.claim(c)
	if r.State != release.Staged {
		l.Fatalf("state %s", r.State)
	}
	waiting, err := l.Staged(ctx, p.ID, -1, 10)
	l.ok(err)
	if len(waiting) != 1 || waiting[0].ID != r.ID {
		l.Fatalf("waiting: %+v", waiting)
	}
	if found, err := l.ReleaseByManifest(ctx, r.Repository(), r.Manifest); err != nil || found.ID != r.ID {
		l.Fatalf("by its manifest: %+v, %v", found, err)
	}
	_, err = l.ReleaseByManifest(ctx, r.Repository(), sha256Of([]byte("none")))
	l.refused(err, problem.NotFound, "manifest-unknown")

	size := l.size()
	err = l.PutManifest(ctx, bundle(p, r, "bad", refuses))
	l.refused(err, problem.Policy, "signature-test")
	if ev := l.lastEvent(audit.RefusedSignature); ev.Resource.Version != "1.0.0" {
		l.Fatalf("event %+v", ev)
	}
	if list, err := l.Bundles(ctx, r.Repository(), r.Manifest, 10); err != nil || len(list) > 0 || l.size() != size {
		l.Fatalf("a refused bundle left something: %v, %v", list, err)
	}

	// The first of two: kept, and as invisible as the release.
	first := bundle(p, r, "one", holds(signature.Key, sha256Of([]byte("one"))))
	l.ok(l.PutManifest(ctx, first))
	if res := first.Bundle.Result; res.Release.State != release.Staged || len(res.Waits) != 1 {
		l.Fatalf("result %+v", res)
	}
	leaf, ok := l.newestLeaf().(tlog.Attach)
	if !ok || leaf.Kind != tlog.AttachSignature || leaf.Index != r.LogIndex || leaf.Digest != sha256Of([]byte("one")) {
		l.Fatalf("leaf %+v", leaf)
	}
	l.lastEvent(audit.AttestationAttached)
	l.noManifest(r.Repository(), sha256Of([]byte("one")))
	if list, err := l.Referrers(ctx, r.Repository(), r.Manifest, ""); err != nil || len(list) > 0 {
		l.Fatalf("referrers %v, %v", list, err)
	}
	if list, err := l.Bundles(ctx, r.Repository(), r.Manifest, 10); err != nil || len(list) != 1 {
		l.Fatalf("bundles %v, %v", list, err)
	}

	size = l.size()
	l.ok(l.PutManifest(ctx, first))
	if l.size() != size {
		l.Fatalf("the same bundle again made the log grow from %d to %d", size, l.size())
	}

	// The second completes it; both are seen, and the same again changes nothing.
	before := l.current(p)
	second := bundle(p, r, "two", holds(signature.Keyless, sha256Of([]byte("two"))))
	l.ok(l.PutManifest(ctx, second))
	r = second.Bundle.Result.Release
	if r.State != release.Active || l.current(p).Generation != before.Generation+1 {
		l.Fatalf("state %s, generation %d after %d", r.State, l.current(p).Generation, before.Generation)
	}
	l.served(c, r)
	if list, err := l.Referrers(ctx, r.Repository(), r.Manifest, ""); err != nil || len(list) != 2 {
		l.Fatalf("referrers %v, %v", list, err)
	}
	size = l.size()
	l.ok(l.PutManifest(ctx, second))
	if l.size() != size {
		l.Fatalf("the same bundle again made the log grow from %d to %d", size, l.size())
	}
	if sigs, err := l.Signatures(ctx, r.ID); err != nil || len(sigs) != 2 {
		l.Fatalf("signatures %+v, %v", sigs, err)
	}
	if waiting, err := l.Staged(ctx, p.ID, -1, 10); err != nil || len(waiting) > 0 {
		l.Fatalf("waiting: %+v, %v", waiting, err)
	}
}

// bundleRace: of two signatures that complete a release at once, the second one
// in makes it active, and neither is lost.
func bundleRace(l *ledger) {
	ctx := l.Context()
	p := l.create("strict", asking(signature.Key, signature.Keyless))
	for i := range 10 {
		r := l.claim(offer(p, fmt.Sprintf("web-%d", i), "1.0.0", fmt.Sprint("content ", i)))
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for j, kind := range []signature.Kind{signature.Key, signature.Keyless} {
			content := fmt.Sprint(i, kind)
			wg.Go(func() { errs[j] = l.PutManifest(ctx, bundle(p, r, content, holds(kind, sha256Of([]byte(content))))) })
		}
		wg.Wait()
		l.ok(errs[0])
		l.ok(errs[1])
		now, err := l.ReleaseByFile(ctx, p.ID, r.File)
		l.ok(err)
		if list, err := l.Referrers(ctx, r.Repository(), r.Manifest, ""); err != nil || len(list) != 2 || now.State != release.Active {
			l.Fatalf("%s is %s with %d referrers, %v", r.Ref(), now.State, len(list), err)
		}
	}
}

// oldJudgements: what was judged by another policy than the one in force does
// not count for a release that waits; another look at it may.
func oldJudgements(l *ledger) {
	ctx := l.Context()
	p := l.create("strict", asking(signature.Key, signature.PGP))
	r := l.claim(offer(p, "web", "1.0.0", "first"))
	one := sha256Of([]byte("one"))
	l.ok(l.PutManifest(ctx, bundle(p, r, "one", holds(signature.Key, one))))
	changed := release.Policy{Signatures: &signature.Policy{Require: signature.All, Kinds: []signature.Kind{signature.Key, signature.PGP}, Charts: []string{"web"}}}
	l.setPolicy("strict", changed)
	a := attachment(r, "prov")
	a.Judge = holds(signature.PGP, a.Digest)
	res, err := l.Attach(ctx, a)
	l.ok(err)
	if res.Release.State != release.Staged || !slices.Equal(res.Waits, []string{"a key signature"}) {
		l.Fatalf("got %+v", res)
	}
	look := &release.Attachment{ReleaseID: r.ID, Judge: holds(signature.Key, one), Now: start, Event: by("usr-suite")}
	res, err = l.Attach(ctx, look)
	l.ok(err)
	l.verify(res)
	if res.Release.State != release.Active || !res.Unchanged {
		l.Fatalf("got %+v", res)
	}
}

func policyDocuments(l *ledger) {
	ctx := l.Context()
	first := l.create("strict", asking(signature.Key))
	l.create("other", asking(signature.Key))
	text, projects, err := l.PolicyDocument(ctx, first.PolicyDigest)
	l.ok(err)
	if sha256Of(text) != first.PolicyDigest || len(projects) != 2 {
		l.Fatalf("%s of projects %v", text, projects)
	}
	l.setPolicy("strict", release.Policy{RequireProvenance: true})
	if text, projects, err = l.PolicyDocument(ctx, l.current(first).PolicyDigest); err != nil || len(projects) != 1 || projects[0] != first.ID || string(text) != `{"require_provenance":true}` {
		l.Fatalf("%s of projects %v, %v", text, projects, err)
	}
	if _, _, err := l.PolicyDocument(ctx, first.PolicyDigest); err != nil {
		l.Fatalf("the policy before is gone: %v", err)
	}
	_, _, err = l.PolicyDocument(ctx, sha256Of([]byte("none")))
	l.refused(err, problem.NotFound, "policy-digest")
}
