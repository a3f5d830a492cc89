package release_test

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/signature"
	"github.com/chartkeep/chartkeep/internal/signature/keyless"
	"github.com/chartkeep/chartkeep/internal/signature/keyless/keylesstest"
	"github.com/chartkeep/chartkeep/internal/signature/signaturetest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// signing is a registry with people who sign.
type signing struct {
	*registry
	pgp      signaturetest.PGP
	key      signaturetest.Key
	sigstore *keylesstest.Sigstore
	reader   release.Caller
}

const forge, workflow = "https://token.example.test", "https://forge.example.test/acme/charts/release.yml@refs/heads/main"

func newSigning(t *testing.T) *signing {
	r := newRegistry(t, func(c *release.Config) { c.Certifier = keyless.Certifier{} })
	s := &signing{registry: r, pgp: signaturetest.NewPGP(t, r.now.AddDate(0, -1, 0)), key: signaturetest.NewKey(t), sigstore: keylesstest.New(t, r.now)}
	s.reader = r.robot("reader", access.Grant{Role: access.RoleReader, Project: "*"})
	return s
}

// policy asks for kinds of signatures; with changes it.
func (s *signing) policy(require signature.Require, kinds []signature.Kind, with ...func(*signature.Policy)) release.Policy {
	p := signature.Policy{Require: require, Kinds: kinds, TrustedRoot: s.sigstore.TrustedRoot(), Signers: []signature.Signer{
		{Name: "ada", PGP: s.pgp.Public(s)}, {Name: "ci", Key: s.key.Public(s)}, {Name: "forge", Issuer: forge, Subject: workflow},
	}}
	for _, change := range with {
		change(&p)
	}
	return release.Policy{Signatures: &p}
}

func (s *signing) keyless(archive string) []byte {
	return s.sigstore.Sign(keylesstest.Order{Issuer: forge, Subject: workflow, Digest: archive, At: s.now})
}

// seen says whether a reader gets a release.
func (s *signing) seen(project, chart string) bool {
	s.Helper()
	_, err := s.Release(s.ctx, s.reader, project, chart, "1.0.0")
	if problem.KindOf(err) != problem.NotFound && err != nil {
		s.Fatal(err)
	}
	_, tagErr := s.GetManifest(s.ctx, s.reader, project+"/"+chart, "1.0.0")
	if (tagErr == nil) != (err == nil) {
		s.Fatalf("the API says %v and OCI says %v", err, tagErr)
	}
	return err == nil
}

// refer pushes a bundle as cosign does, through OCI.
func (s *signing) refer(repo string, subject *release.Manifest, bundle []byte) error {
	s.Helper()
	s.putBlob(repo, []byte("{}"))
	s.putBlob(repo, bundle)
	config := of("application/vnd.oci.empty.v1+json", []byte("{}"))
	about := part{subject.MediaType, subject.Digest, len(subject.Bytes)}
	doc := document{SchemaVersion: 2, MediaType: manifestType, ArtifactType: signature.MediaType, Config: &config, Layers: []part{of(signature.MediaType, bundle)}, Subject: &about}
	_, err := s.PutManifest(s.ctx, through(s.admin, audit.DoorOCI), repo, release.ManifestRef{Digest: sum(doc.bytes())}, manifestType, doc.bytes())
	return err
}

func (s *signing) manifest(repo, digest string) *release.Manifest {
	s.Helper()
	m, err := s.GetManifest(s.ctx, s.admin, repo, digest)
	s.ok(err)
	return &m
}

func TestSignedProvenance(t *testing.T) {
	s := newSigning(t)
	s.project("strict", release.ProjectOptions{Policy: s.policy(signature.All, []signature.Kind{signature.PGP})})
	archive := charttest.Build(t, "web", "1.0.0", nil)
	stranger := signaturetest.NewPGP(t, s.now.AddDate(0, -1, 0))

	// One that nobody known signed is refused, and nothing of it stays.
	_, err := s.push("strict", archive, stranger.Sign(t, archive, s.now))
	s.refused(err, problem.Policy, "signature-unknown-signer")
	if ev := s.lastEvent(); ev.Name != audit.RefusedSignature || ev.Outcome.Rule != "signature-unknown-signer" || ev.Resource.Version != "1.0.0" {
		t.Errorf("recorded %+v", ev)
	}
	s.nothing("strict")

	// Through both doors with the provenance at once.
	receipt, err := s.push("strict", archive, s.pgp.Sign(t, archive, s.now))
	s.ok(err)
	s.proven(&receipt)
	if receipt.Release.State != release.Active || len(receipt.Signatures) != 1 || receipt.Signatures[0].Signer != "ada" || receipt.Signatures[0].Verdict != signature.Verified {
		t.Fatalf("got %+v", receipt)
	}
	oci := newOCIChart(t, "db", "1.0.0")
	oci.prov = s.pgp.Sign(t, oci.archive, s.now)
	oci.doc.Layers = append(oci.doc.Layers, of(provType, oci.prov))
	res, err := s.putChart("strict/db", "1.0.0", oci)
	s.ok(err)
	if res.Receipt.Release.State != release.Active || !s.seen("strict", "db") {
		t.Errorf("through OCI: %+v", res.Receipt.Release)
	}
	bad := newOCIChart(t, "bad", "1.0.0")
	bad.prov = stranger.Sign(t, bad.archive, s.now)
	bad.doc.Layers = append(bad.doc.Layers, of(provType, bad.prov))
	_, err = s.putChart("strict/bad", "1.0.0", bad)
	s.refused(err, problem.Policy, "signature-unknown-signer")

	// Later: the release waits until one comes that counts.
	late := charttest.Build(t, "late", "1.0.0", nil)
	receipt, err = s.push("strict", late, nil)
	s.ok(err)
	if receipt.Release.State != release.Staged || !slices.Equal(receipt.Waits, []string{"a pgp signature"}) || s.seen("strict", "late") {
		t.Errorf("got %+v", receipt)
	}
	_, err = s.AttachProvenance(s.ctx, s.admin, "strict", stranger.Sign(t, late, s.now))
	s.refused(err, problem.Policy, "signature-unknown-signer")
	if ev := s.lastEvent(); ev.Name != audit.RefusedSignature {
		t.Errorf("recorded %+v", ev)
	}
	waiting, _, err := s.Staged(s.ctx, s.admin, "strict", -1, 0)
	s.ok(err)
	if len(waiting) != 1 || waiting[0].Chart != "late" || !slices.Equal(waiting[0].Waits, []string{"a pgp signature"}) {
		t.Errorf("waiting: %+v", waiting)
	}
	if list, _, err := s.Staged(s.ctx, s.reader, "strict", -1, 0); err != nil || len(list) > 0 {
		t.Errorf("a reader sees %+v, %v", list, err)
	}
	receipt, err = s.AttachProvenance(s.ctx, s.admin, "strict", s.pgp.Sign(t, late, s.now))
	s.ok(err)
	if receipt.Release.State != release.Active || len(receipt.Waits) > 0 || !s.seen("strict", "late") {
		t.Errorf("got %+v", receipt)
	}
	detail, err := s.Release(s.ctx, s.reader, "strict", "late", "1.0.0")
	s.ok(err)
	if len(detail.Signatures) != 1 || detail.Signatures[0].Signer != "ada" || !detail.Signatures[0].Time.Equal(s.now) || detail.Signatures[0].Policy == "" {
		t.Errorf("detail: %+v", detail.Signed)
	}

	// A key that was revoked since does not touch what is released, and the same
	// push again is no error.
	stricter := s.policy(signature.All, []signature.Kind{signature.PGP}, func(p *signature.Policy) { p.Signers[0].Revoked = s.now })
	_, err = s.SetProject(s.ctx, s.admin, "strict", release.ProjectChange{Policy: &stricter})
	s.ok(err)
	receipt, err = s.push("strict", archive, s.pgp.Sign(t, archive, s.now))
	if err == nil && !receipt.Unchanged {
		t.Errorf("the same push again: %+v", receipt)
	}
	next := charttest.Build(t, "web", "1.0.1", nil)
	_, err = s.push("strict", next, s.pgp.Sign(t, next, s.now))
	s.refused(err, problem.Policy, "signature-revoked")
	if !s.seen("strict", "web") {
		t.Error("what was released is gone")
	}
}

func TestSignedBundles(t *testing.T) {
	s := newSigning(t)
	s.project("strict", release.ProjectOptions{Policy: s.policy(signature.All, []signature.Kind{signature.Key, signature.Keyless})})
	archive := charttest.Build(t, "web", "1.0.0", nil)
	receipt, err := s.push("strict", archive, nil)
	s.ok(err)
	if receipt.Release.State != release.Staged || !slices.Equal(receipt.Waits, []string{"a key and a keyless signature"}) {
		t.Fatalf("got %+v", receipt)
	}
	m := s.manifest("strict/web", receipt.Release.Manifest) // its publisher sees it

	// What does not hold is refused, with its rule, and is not there.
	wrong := charttest.Build(t, "web", "1.0.1", nil)
	for rule, bundle := range map[string][]byte{
		"signature-unknown-signer": signaturetest.NewKey(t).Sign(t, archive, ""),
		"signature-subject":        s.key.Sign(t, wrong, ""),
		"signature-sct":            s.sigstore.Sign(keylesstest.Order{Issuer: forge, Subject: workflow, Digest: digest.SHA256(archive), At: s.now, NoSCT: true}),
		"signature-log-entry":      s.sigstore.Sign(keylesstest.Order{Issuer: forge, Subject: workflow, Digest: digest.SHA256(archive), At: s.now, NoLog: true}),
		"signature-bundle":         []byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`),
	} {
		s.refused(s.refer("strict/web", m, bundle), problem.Policy, rule)
		if ev := s.lastEvent(); ev.Name != audit.RefusedSignature || ev.Outcome.Rule != rule || ev.Resource.Chart != "web" {
			t.Errorf("%s recorded %+v", rule, ev)
		}
	}
	other := s.sigstore.Sign(keylesstest.Order{Issuer: forge, Subject: strings.Replace(workflow, "acme", "evil", 1), Digest: digest.SHA256(archive), At: s.now})
	s.refused(s.refer("strict/web", m, other), problem.Policy, "signature-unknown-signer")
	if list, err := s.Referrers(s.ctx, s.admin, "strict/web", m.Digest, ""); err != nil || len(list) > 0 {
		t.Errorf("refused bundles are listed: %v, %v", list, err)
	}

	// The first is kept and stays invisible; the second completes the release.
	s.ok(s.refer("strict/web", m, s.key.Sign(t, archive, "")))
	if s.seen("strict", "web") {
		t.Error("one of two signatures was enough")
	}
	if list, err := s.Referrers(s.ctx, s.reader, "strict/web", m.Digest, ""); err != nil || len(list) > 0 {
		t.Errorf("a reader sees a signature of what he does not see: %v, %v", list, err)
	}
	done, err := s.AttachBundle(s.ctx, s.admin, "strict", "web", "1.0.0", s.keyless(m.Digest))
	s.ok(err)
	s.proven(&done)
	if done.Release.State != release.Active || !s.seen("strict", "web") {
		t.Fatalf("got %+v", done)
	}
	if leaf, ok := s.newest().(tlog.Attach); !ok || leaf.Kind != tlog.AttachSignature || leaf.Index != receipt.Release.LogIndex {
		t.Errorf("newest leaf %+v", leaf)
	}
	if ev := s.named(audit.AttestationAttached); ev.Resource.Version != "1.0.0" {
		t.Errorf("recorded %+v", ev)
	}
	list, err := s.Referrers(s.ctx, s.reader, "strict/web", m.Digest, signature.MediaType)
	s.ok(err)
	if len(list) != 2 {
		t.Fatalf("referrers %+v", list)
	}
	detail, err := s.Release(s.ctx, s.reader, "strict", "web", "1.0.0")
	s.ok(err)
	about := map[string]string{}
	for _, sig := range detail.Signatures {
		about[sig.Signer] = sig.About
		got, err := s.Bundle(s.ctx, s.reader, "strict", "web", "1.0.0", sig.Digest)
		if err != nil || len(got) == 0 {
			t.Errorf("bundle %s: %v", sig.Digest, err)
		}
	}
	if len(about) != 2 || about["ci"] != "archive" || about["forge"] != "manifest" {
		t.Errorf("signatures %+v", detail.Signatures)
	}

	// The same again changes nothing, and an attestation is no signature.
	before := s.newest()
	s.ok(s.refer("strict/web", m, s.key.Sign(t, archive, "")))
	if after := s.newest(); after != before {
		t.Errorf("the same bundle again has a leaf: %+v", after)
	}
	s.ok(s.refer("strict/web", m, s.sigstore.Sign(keylesstest.Order{Issuer: forge, Subject: workflow, Digest: digest.SHA256(archive), At: s.now, Predicate: "https://slsa.dev/provenance/v1"})))
	detail, err = s.Release(s.ctx, s.reader, "strict", "web", "1.0.0")
	s.ok(err)
	if len(detail.Signatures) != 3 {
		t.Errorf("%d signatures and attestations", len(detail.Signatures))
	}
}

// TestBundleBeforeRelease: a copied chart may bring its bundle before its tag.
func TestBundleBeforeRelease(t *testing.T) {
	s := newSigning(t)
	s.project("strict", release.ProjectOptions{Policy: s.policy(signature.Any, []signature.Kind{signature.PGP, signature.Key})})
	oci := newOCIChart(t, "web", "1.0.0")
	s.putBlob("strict/web", oci.archive)
	s.putBlob("strict/web", oci.config)
	body := oci.doc.bytes()
	_, err := s.PutManifest(s.ctx, through(s.admin, audit.DoorOCI), "strict/web", release.ManifestRef{Digest: sum(body)}, manifestType, body)
	s.ok(err)
	m := s.manifest("strict/web", sum(body))
	s.ok(s.refer("strict/web", m, signaturetest.NewKey(t).Sign(t, oci.archive, ""))) // judged when there is a release
	s.ok(s.refer("strict/web", m, s.key.Sign(t, oci.archive, m.Digest)))
	res, err := s.put("strict/web", "1.0.0", body)
	s.ok(err)
	s.proven(res.Receipt)
	if res.Receipt.Release.State != release.Active || !s.seen("strict", "web") {
		t.Errorf("got %+v", res.Receipt)
	}
}

// TestBundleRace: two bundles that complete a release at once make it active
// once, whichever comes first.
func TestBundleRace(t *testing.T) {
	s := newSigning(t)
	s.project("strict", release.ProjectOptions{Policy: s.policy(signature.All, []signature.Kind{signature.Key, signature.Keyless})})
	for i := range 8 {
		name := "web" + string(rune('a'+i))
		archive := charttest.Build(t, name, "1.0.0", nil)
		_, err := s.push("strict", archive, nil)
		s.ok(err)
		sum := digest.SHA256(archive)
		var wg sync.WaitGroup
		errs := make([]error, 4)
		for j, bundle := range [][]byte{s.key.Sign(t, archive, ""), s.keyless(sum), s.key.Sign(t, archive, ""), s.keyless(sum)} {
			wg.Go(func() { _, errs[j] = s.AttachBundle(s.ctx, s.admin, "strict", name, "1.0.0", bundle) })
		}
		wg.Wait()
		for _, err := range errs {
			s.ok(err)
		}
		if !s.seen("strict", name) {
			t.Errorf("%s still waits", name)
		}
	}
}

// TestPolicyWhileStaged: a release that waits becomes active under the policy
// that is in force then.
func TestPolicyWhileStaged(t *testing.T) {
	s := newSigning(t)
	both := []signature.Kind{signature.PGP, signature.Key}
	s.project("strict", release.ProjectOptions{Policy: s.policy(signature.All, both)})
	archive := charttest.Build(t, "web", "1.0.0", nil)
	_, err := s.push("strict", archive, nil)
	s.ok(err)
	_, err = s.AttachBundle(s.ctx, s.admin, "strict", "web", "1.0.0", s.key.Sign(t, archive, ""))
	s.ok(err)
	// The key is revoked before the other signature comes: it counts no more.
	stricter := s.policy(signature.All, both, func(p *signature.Policy) { p.Signers[1].Revoked = s.now })
	set, err := s.SetProject(s.ctx, s.admin, "strict", release.ProjectChange{Policy: &stricter})
	s.ok(err)
	if set.Request != nil || set.Project.Policy.Signatures.Signers[1].Revoked.IsZero() {
		t.Fatalf("got %+v", set)
	}
	receipt, err := s.AttachProvenance(s.ctx, s.admin, "strict", s.pgp.Sign(t, archive, s.now))
	s.ok(err)
	if receipt.Release.State != release.Staged || !slices.Equal(receipt.Waits, []string{"a key signature"}) {
		t.Fatalf("got %+v", receipt)
	}
	// Without the key among what is asked for, the same push again is enough.
	less := s.policy(signature.All, []signature.Kind{signature.PGP})
	s.weaken("strict", less)
	receipt, err = s.push("strict", archive, nil)
	s.ok(err)
	if receipt.Release.State != release.Active || !s.seen("strict", "web") {
		t.Errorf("got %+v", receipt)
	}
}

// weaken sets a policy past the second person that it would need: the leaf says
// that it is not weaker, so that the history of the test holds.
func (s *signing) weaken(project string, p release.Policy) {
	s.Helper()
	ev := audit.Event{Name: audit.ProjectSet, Actor: audit.Actor{Kind: access.KindSystem, ID: "test"}, Door: audit.DoorServer}
	_, _, err := s.store.SetProject(s.ctx, project, ev, s.now, func(q release.Project, _ bool) (release.ProjectUpdate, error) {
		var err error
		q.Policy, err = release.CheckPolicy(p)
		q.PolicyDigest = release.PolicyDigest(q.Policy)
		return release.ProjectUpdate{Project: q, PolicyChange: tlog.PolicyStricter}, err
	})
	s.ok(err)
}

func TestSigningDryRun(t *testing.T) {
	s := newSigning(t)
	s.project("trial", release.ProjectOptions{Policy: s.policy(signature.All, []signature.Kind{signature.PGP}, func(p *signature.Policy) { p.DryRun = true })})
	archive := charttest.Build(t, "web", "1.0.0", nil)
	receipt, err := s.push("trial", archive, nil)
	s.ok(err)
	if receipt.Release.State != release.Active || !slices.Equal(receipt.Would, []string{"it lacks a pgp signature"}) {
		t.Errorf("got %+v", receipt)
	}
	if ev := s.named(audit.WouldRefuse); ev.Resource.Chart != "web" || !strings.Contains(ev.Detail["would-refuse"], "lacks a pgp signature") || ev.Outcome.Result != audit.Allowed {
		t.Errorf("recorded %+v", ev)
	}
	bad := charttest.Build(t, "bad", "1.0.0", nil)
	receipt, err = s.push("trial", bad, signaturetest.NewPGP(t, s.now.AddDate(0, -1, 0)).Sign(t, bad, s.now))
	s.ok(err)
	if receipt.Release.State != release.Active || len(receipt.Would) != 2 || !strings.HasPrefix(receipt.Would[0], "signature-unknown-signer") {
		t.Errorf("got %+v", receipt)
	}
	good := charttest.Build(t, "good", "1.0.0", nil)
	receipt, err = s.push("trial", good, s.pgp.Sign(t, good, s.now))
	s.ok(err)
	if len(receipt.Would) != 0 {
		t.Errorf("got %+v", receipt)
	}
}

func TestWhoSigns(t *testing.T) {
	s := newSigning(t)
	admin := s.admin.Principal.ID
	if s.admin.Principal.Of != nil {
		admin = s.admin.Principal.Of.ID
	}
	distinct := func(owner string) func(*signature.Policy) {
		return func(p *signature.Policy) {
			p.Distinct = true
			for i := range p.Signers {
				p.Signers[i].Owner = owner
			}
		}
	}
	pgp := []signature.Kind{signature.PGP}
	s.project("own", release.ProjectOptions{Policy: s.policy(signature.All, pgp, distinct(admin))})
	s.project("other", release.ProjectOptions{Policy: s.policy(signature.All, pgp, distinct("usr-other"))})
	s.project("part", release.ProjectOptions{Policy: s.policy(signature.All, pgp, func(p *signature.Policy) { p.Charts = []string{"web-*"} })})
	archive := charttest.Build(t, "web", "1.0.0", nil)
	prov := s.pgp.Sign(t, archive, s.now)
	_, err := s.push("own", archive, prov)
	s.refused(err, problem.Policy, "signature-own-release")
	receipt, err := s.push("other", archive, prov)
	s.ok(err)
	if receipt.Release.State != release.Active {
		t.Errorf("got %+v", receipt)
	}
	if receipt, err = s.push("part", archive, nil); err != nil || receipt.Release.State != release.Active {
		t.Errorf("a chart that the policy does not speak of: %+v, %v", receipt, err)
	}
	if receipt, err = s.push("part", charttest.Build(t, "web-api", "1.0.0", nil), nil); err != nil || receipt.Release.State != release.Staged {
		t.Errorf("one that it does: %+v, %v", receipt, err)
	}
}

func TestPolicyDocuments(t *testing.T) {
	s := newSigning(t)
	// What was hashed before there were signatures is hashed like that for ever.
	if d := release.PolicyDigest(release.Policy{}); d != digest.SHA256([]byte(`{"require_provenance":false}`)) {
		t.Errorf("the empty policy has another digest: %s", release.PolicyText(release.Policy{}))
	}
	policy := s.policy(signature.All, []signature.Kind{signature.PGP})
	s.project("strict", release.ProjectOptions{Policy: policy})
	s.project("open", release.ProjectOptions{Public: true, Policy: policy})
	_, rel := s.released("strict", "web", "1.0.0")
	leafText, err := s.Leaf(s.ctx, s.admin, rel.LogIndex)
	s.ok(err)
	leaf, err := tlog.ParseLeaf(leafText)
	s.ok(err)
	d := leaf.(tlog.Release).Policy
	less := s.policy(signature.All, []signature.Kind{signature.PGP}, func(p *signature.Policy) { p.Charts = []string{"db"} })
	s.weaken("strict", less)
	text, err := s.PolicyDocument(s.ctx, s.admin, d)
	s.ok(err)
	if digest.SHA256(text) != d {
		t.Errorf("the text is not that of its digest: %s", text)
	}
	got, err := release.ParsePolicy(text)
	s.ok(err)
	if got, err = release.CheckPolicy(got); err != nil || release.PolicyDigest(got) != d {
		t.Errorf("read again it has another digest: %v", err)
	}
	if _, err := s.PolicyDocument(s.ctx, anybody, d); err != nil {
		t.Errorf("that of a public project: %v", err)
	}
	p, err := s.Project(s.ctx, s.admin, "strict")
	s.ok(err)
	if _, err = s.PolicyDocument(s.ctx, s.admin, p.PolicyDigest); err != nil {
		t.Errorf("the new one: %v", err)
	}
	_, err = s.PolicyDocument(s.ctx, anybody, p.PolicyDigest)
	s.refused(err, problem.NotFound, "policy-digest")
	_, err = s.PolicyDocument(s.ctx, s.admin, digest.SHA256(nil))
	s.refused(err, problem.NotFound, "policy-digest")
}

func TestParsePolicy(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		ok   bool
	}{
		"JSON":             {`{"require_provenance":true}`, true},
		"YAML":             {"require_provenance: true\nsignatures:\n  require: none\n", true},
		"an unknown field": {`{"signatures":{"requires":"any"}}`, false},
		"a key twice":      {"require_provenance: true\nrequire_provenance: false\n", false},
		"a list":           {"[]", false},
		"large":            {strings.Repeat(" ", release.MaxPolicy+1), false},
	} {
		if _, err := release.ParsePolicy([]byte(test.text)); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		} else if p, isProblem := problem.As(err); err != nil && (!isProblem || p.Rule != "policy-document") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(`{"require_provenance":true,"signatures":{"require":"any","kinds":["pgp"],"signers":[{"name":"a","pgp":"x","until":"2026-01-01T00:00:00Z"}]}}`))
	f.Add([]byte("signatures:\n  require: all\n  charts: ['a*']\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := release.ParsePolicy(b)
		if err != nil {
			return
		}
		if p, err = release.CheckPolicy(p); err != nil {
			return
		}
		again, err := release.ParsePolicy(release.PolicyText(p))
		if err != nil || !bytes.Equal(release.PolicyText(again), release.PolicyText(p)) {
			t.Errorf("%s came back as %s, %v", release.PolicyText(p), release.PolicyText(again), err)
		}
	})
}

// TestTryPolicy: what a policy would have said of what is released, at its
// time, changes nothing.
func TestTryPolicy(t *testing.T) {
	s := newSigning(t)
	signed := charttest.Build(t, "signed", "1.0.0", nil)
	_, err := s.push("demo", signed, s.pgp.Sign(t, signed, s.now))
	s.ok(err)
	bundled := charttest.Build(t, "bundled", "1.0.0", nil)
	_, err = s.push("demo", bundled, nil)
	s.ok(err)
	_, err = s.AttachBundle(s.ctx, s.admin, "demo", "bundled", "1.0.0", s.key.Sign(t, bundled, ""))
	s.ok(err)
	s.released("demo", "plain", "1.0.0")
	_, err = s.TryPolicy(s.ctx, s.reader, "demo", release.Policy{}, "", "", "")
	if problem.KindOf(err) != problem.Denied {
		t.Errorf("a reader tries a policy: %v", err)
	}
	events, released := s.events(), s.now
	s.now = s.now.AddDate(1, 0, 0) // keys that ended since then counted then
	until := func(p *signature.Policy) { p.Signers[0].Until = released.AddDate(0, 1, 0) }
	refused := func(p release.Policy) []string {
		t.Helper()
		trial, err := s.TryPolicy(s.ctx, s.admin, "demo", p, "", "", "")
		s.ok(err)
		var names []string
		for _, item := range trial.Items {
			names = append(names, item.Release)
		}
		if trial.Examined != 3 || trial.Next != "" {
			t.Errorf("examined %d, next %q", trial.Examined, trial.Next)
		}
		return names
	}
	for name, test := range map[string]struct {
		policy release.Policy
		want   []string
	}{
		"any":        {s.policy(signature.Any, []signature.Kind{signature.PGP, signature.Key}, until), []string{"demo/plain@1.0.0"}},
		"pgp":        {s.policy(signature.All, []signature.Kind{signature.PGP}, until), []string{"demo/bundled@1.0.0", "demo/plain@1.0.0"}},
		"dry run":    {s.policy(signature.All, []signature.Kind{signature.PGP}, until, func(p *signature.Policy) { p.DryRun = true }), []string{"demo/bundled@1.0.0", "demo/plain@1.0.0"}},
		"none":       {s.policy(signature.None, nil), nil},
		"provenance": {release.Policy{RequireProvenance: true}, []string{"demo/bundled@1.0.0", "demo/plain@1.0.0"}},
	} {
		if got := refused(test.policy); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
	if s.events() != events {
		t.Error("a trial was recorded")
	}
}

// TestSignedMirror: a mirror takes only what its upstream signed, where it is
// told to, and nothing of it waits.
func TestSignedMirror(t *testing.T) {
	s := newSigning(t)
	policy := s.policy(signature.Any, []signature.Kind{signature.PGP}, func(p *signature.Policy) { p.Signers, p.TrustedRoot = p.Signers[:1], "" })
	policy.Mirror = "up"
	s.project("signed", release.ProjectOptions{Policy: policy})
	mirror := func(name string, prov []byte) (release.Receipt, error) {
		archive := charttest.Build(t, name, "1.0.0", nil)
		from := release.MirrorOrigin{Upstream: "up", URL: "https://up.example.test/x.tgz", Chart: name, Version: "1.0.0", Digest: sum(archive), FirstSeen: s.now}
		if prov != nil {
			from.Provenance = func(context.Context, string) ([]byte, error) { return prov, nil }
		}
		return s.Mirror(s.ctx, "signed", bytes.NewReader(archive), from)
	}
	good, bad := charttest.Build(t, "good", "1.0.0", nil), charttest.Build(t, "bad", "1.0.0", nil)
	receipt, err := mirror("good", s.pgp.Sign(t, good, s.now))
	s.ok(err)
	if receipt.Release.State != release.Active || !s.seen("signed", "good") {
		t.Errorf("got %+v", receipt)
	}
	_, err = mirror("bad", signaturetest.NewPGP(t, s.now.AddDate(0, -1, 0)).Sign(t, bad, s.now))
	s.refused(err, problem.Policy, "signature-unknown-signer")
	_, err = mirror("none", nil)
	s.refused(err, problem.Policy, "signature-missing")
	for name, p := range map[string]release.Policy{
		"bundles": s.policy(signature.Any, []signature.Kind{signature.Key}),
		"owners": s.policy(signature.Any, []signature.Kind{signature.PGP}, func(p *signature.Policy) {
			p.Distinct = true
			for i := range p.Signers {
				p.Signers[i].Owner = "usr-x"
			}
		}),
	} {
		p.Mirror = "up"
		_, err := s.CreateProject(s.ctx, s.admin, "odd", release.ProjectOptions{Policy: p})
		if s.refused(err, problem.Invalid, "project-mirror"); t.Failed() {
			t.Errorf("%s was taken", name)
		}
	}
	_, err = s.CreateProject(s.ctx, s.admin, "plain", release.ProjectOptions{Kind: release.KindArtifacts, Policy: s.policy(signature.None, nil)})
	s.refused(err, problem.Invalid, "signature-policy")
}

// TestLegacySignatureTag: what older clients wrote is named and not counted.
func TestLegacySignatureTag(t *testing.T) {
	s := newSigning(t)
	_, rel := s.released("demo", "web", "1.0.0")
	s.putBlob("demo/web", []byte("{}"))
	config := of("application/vnd.oci.image.config.v1+json", []byte("{}"))
	doc := document{SchemaVersion: 2, MediaType: manifestType, Config: &config, Layers: []part{}}
	_, err := s.put("demo/web", strings.Replace(rel.Manifest, ":", "-", 1)+".sig", doc.bytes())
	s.ok(err)
	detail, err := s.Release(s.ctx, s.reader, "demo", "web", "1.0.0")
	s.ok(err)
	if len(detail.Signatures) != 1 || detail.Signatures[0].Rule != "signature-legacy-tag" || detail.Signatures[0].Verdict != signature.Unchecked {
		t.Errorf("got %+v", detail.Signatures)
	}
}

// TestPolicyWeakerAsAWhole: what the parts say, the policy of a project says.
func TestPolicyWeakerAsAWhole(t *testing.T) {
	s := newSigning(t)
	strict := s.policy(signature.All, []signature.Kind{signature.PGP})
	strict.RequireProvenance = true
	if got := (release.Policy{}).WeakerThan(strict); len(got) != 2 {
		t.Errorf("%q", got)
	}
	if got := strict.WeakerThan(release.Policy{}); len(got) != 0 {
		t.Errorf("%q", got)
	}
	// Weakening is a request; see the flow of policies.
	s.project("strict", release.ProjectOptions{Policy: strict})
	archive := charttest.Build(t, "web", "1.0.0", nil)
	_, err := s.push("strict", archive, s.pgp.Sign(t, archive, s.now))
	s.ok(err)
	ann := s.person("ann", access.RoleProjectOwner)
	s.now = s.now.Add(time.Minute)
	set, err := s.SetProject(s.ctx, ann, "strict", release.ProjectChange{Policy: &release.Policy{}})
	s.ok(err)
	if set.Request == nil || len(set.Weaker) < 2 || !set.Project.Policy.RequireProvenance {
		b, _ := json.Marshal(set)
		t.Errorf("got %s", b)
	}
}
