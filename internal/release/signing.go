package release

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/signature"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Judgement is what the policy of a project says of the signatures of a
// release. The zero value knows of none.
type Judgement struct {
	Signatures []signature.Signature // one for each file that was looked at
	Refusal    error                 // why what was offered may not come in, or nil
	Would      []string              // what a policy that only reports would have refused
}

// Have lists the kinds of the signatures that hold.
func (j *Judgement) Have() []signature.Kind {
	var have []signature.Kind
	for i := range j.Signatures {
		if j.Signatures[i].Verdict == signature.Verified {
			have = append(have, j.Signatures[i].Kind)
		}
	}
	return have
}

// Judge judges the files that somebody offered by the policy of a project. The
// store asks it inside the transaction, with the policy that is in force there;
// it does no I/O, and remembers what it said of a policy.
type Judge func(p *Project) Judgement

// Signing keeps policies by their digest, and what came of signatures.
type Signing interface {
	// PolicyDocument returns the canonical JSON of a policy that a project had,
	// with the ids of those projects; problem.NotFound when there is none. One
	// range of a key.
	PolicyDocument(ctx context.Context, digest string) (text []byte, projects []int64, err error)
	// Signatures lists what came of the signatures of a release, in the order
	// of their digests. Cost: the release's signatures.
	Signatures(ctx context.Context, releaseID int64) ([]signature.Signature, error)
	// ReleaseByManifest finds the release of an OCI manifest, staged ones
	// included; problem.NotFound when there is none. One look-up by index.
	ReleaseByManifest(ctx context.Context, repository, digest string) (Release, error)
	// Bundles lists the manifests that carry a sigstore bundle about a manifest,
	// whether readers see them or not. Cost: limit rows, by index.
	Bundles(ctx context.Context, repository, subject string, limit int) ([]Manifest, error)
	// Staged lists the releases of a project that wait, by log index after one.
	// Cost: limit rows, by an index of their own.
	Staged(ctx context.Context, projectID, after int64, limit int) ([]Release, error)
}

// IdentityOf is how an actor stands in a leaf.
func IdentityOf(a audit.Actor) tlog.Identity {
	id := tlog.Identity{Issuer: a.Issuer, Subject: a.Subject}
	if id.Issuer == "" {
		id.Issuer = "chartkeep"
	}
	if id.Subject == "" {
		id.Subject = a.ID
	}
	if id.Subject == "" {
		id.Subject = "anonymous"
	}
	return id
}

// Settle says what a release still waits for when it has verified signatures
// of these kinds, and what a policy that only reports misses. Nothing to wait
// for makes it visible.
func (p Policy) Settle(r *Release, have []signature.Kind) (waits, would []string) {
	if p.RequireProvenance && r.Provenance == "" {
		waits = append(waits, "a provenance file")
	}
	switch missing := p.Signatures.Missing(r.Chart, have); {
	case missing == "":
	case p.Signatures.Enforces(r.Chart):
		waits = append(waits, missing)
	default:
		would = append(would, "it lacks "+missing)
	}
	return waits, would
}

// offered are the signatures of a release: those that are offered now, and
// those that were there before. One of these that the policy does not take does
// not count, and is no reason to refuse what is offered now.
type offered struct {
	prov       []byte
	provBefore bool
	bundles    []offeredBundle
}

type offeredBundle struct {
	manifest string // digest of the OCI manifest that carries it
	text     []byte // nil: larger than a signature is
	before   bool
}

// judge makes the Judge of what was offered for a release, whose signatures are
// taken to come now.
func (s *Service) judge(r *Release, publisher tlog.Identity, now time.Time, files offered) Judge {
	sub := signature.Subject{
		Chart: r.Chart, Version: r.Version, Archive: r.Archive, Manifest: r.Manifest,
		Publisher: signature.Publisher(publisher.Issuer, publisher.Subject), Moment: now,
	}
	known := map[string]Judgement{}
	ref := r.Ref()
	return func(p *Project) Judgement {
		j, ok := known[p.PolicyDigest]
		if !ok {
			j = judged(p, ref, sub, files, s.certifier)
			known[p.PolicyDigest] = j
		}
		return j
	}
}

func judged(p *Project, ref string, sub signature.Subject, files offered, certifier signature.Certifier) Judgement {
	policy := p.Policy.Signatures
	if policy == nil {
		policy = &signature.Policy{}
	}
	v, err := signature.NewVerifier(policy, certifier)
	if err != nil {
		return Judgement{Refusal: problem.New(problem.Policy, signature.RulePolicy, "the signature policy of project %s cannot be used", p.Name).
			With("reason", "%s", err.Error()).Suggest("chartkeep policy show %s", p.Name)}
	}
	var j Judgement
	add := func(sig signature.Signature, before bool) {
		sig.Policy = p.PolicyDigest
		j.Signatures = append(j.Signatures, sig)
		if before || !policy.Refuses(sub.Chart, &sig) {
			return
		}
		if !policy.Enforces(sub.Chart) {
			j.Would = append(j.Would, sig.Rule+": "+sig.Detail)
		} else if j.Refusal == nil {
			j.Refusal = refuseSignature(p, ref, &sig)
		}
	}
	if files.prov != nil {
		add(v.Provenance(sub, files.prov), files.provBefore)
	}
	for _, b := range files.bundles {
		sig := signature.Signature{Time: sub.Moment}
		if b.text == nil {
			sig = signature.TooLarge(sig)
		} else {
			sig = v.Bundle(sub, b.text)
		}
		sig.Digest = b.manifest
		add(sig, b.before)
	}
	return j
}

// refuseSignature is the answer to a signature that the policy does not take.
func refuseSignature(p *Project, ref string, s *signature.Signature) error {
	what := "the bundle"
	if s.Kind == signature.PGP {
		what = "the provenance file"
	}
	e := problem.New(problem.Policy, s.Rule, "%s of %s is not one that the policy of project %s takes: %s", what, ref, p.Name, s.Detail)
	if s.Key != "" {
		e.With("key", "%s", s.Key)
	}
	return e.With("policy", "%s", p.PolicyDigest).Suggest("chartkeep policy show %s", p.Name)
}

// RefuseIncomplete is the answer to a release that may not wait for what it
// lacks.
func RefuseIncomplete(r *Release, waits []string) error {
	return problem.New(problem.Policy, "signature-missing", "release %s lacks %s", r.Ref(), strings.Join(waits, " and ")).
		Suggest("chartkeep policy show %s", r.Project)
}

// maxBundles bounds the bundles of one release that are read at once.
const maxBundles = 32

// bundlesOf reads the bundles about a manifest that are there.
func (s *Service) bundlesOf(ctx context.Context, repository, manifest string) ([]offeredBundle, error) {
	list, err := s.store.Bundles(ctx, repository, manifest, maxBundles)
	if err != nil {
		return nil, err
	}
	var out []offeredBundle
	for i := range list {
		var doc ociDocument
		if err := json.Unmarshal(list[i].Bytes, &doc); err != nil {
			continue // it was read when it came; what is not read does not count
		}
		b, err := s.readBundle(ctx, list[i].Digest, &doc, true)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// readBundle reads the bundle that a manifest carries: its only layer.
func (s *Service) readBundle(ctx context.Context, manifest string, doc *ociDocument, before bool) (offeredBundle, error) {
	b := offeredBundle{manifest: manifest, text: []byte{}, before: before}
	if len(doc.Layers) != 1 || doc.Layers[0].MediaType != signature.MediaType || len(doc.Layers[0].URLs) > 0 {
		return b, nil // no bundle, and refused as one
	}
	text, err := s.readSmall(ctx, doc.Layers[0].Digest, signature.MaxBundle)
	switch {
	case problem.KindOf(err) == problem.TooLarge:
		b.text = nil
	case err != nil:
		return b, err
	default:
		b.text = text
	}
	return b, nil
}

// publisherOf is who published a release, as its leaf says.
func (s *Service) publisherOf(ctx context.Context, r *Release) (tlog.Identity, error) {
	text, err := s.store.Leaf(ctx, r.LogIndex)
	if err != nil {
		return tlog.Identity{}, err
	}
	leaf, err := tlog.ParseLeaf(text)
	switch l := leaf.(type) {
	case tlog.Release:
		return l.Publisher, nil
	case tlog.Legacy:
		return l.Publisher, nil
	}
	return tlog.Identity{}, fmt.Errorf("leaf %d is not of release %s: %w", r.LogIndex, r.Ref(), err)
}

// judgeClaim looks at the signatures that came with a release, and at bundles
// about its manifest that came before it, which is how clients copy a chart. A
// refusal is recorded here, before anything is stored; the transaction asks
// again only when the policy changed meanwhile.
func (s *Service) judgeClaim(ctx context.Context, c Caller, claim *Claim) error {
	r, p := &claim.Release, &claim.project
	files := offered{prov: claim.Prov}
	if p.Policy.Signatures != nil {
		var err error
		if files.bundles, err = s.bundlesOf(ctx, r.Repository(), r.Manifest); err != nil {
			return err
		}
	}
	claim.Judge = s.judge(r, IdentityOf(claim.Event.Actor), claim.Now, files)
	if refusal := claim.Judge(p).Refusal; refusal != nil {
		return s.refused(ctx, c, refusalName(refusal), audit.Resource{Project: r.Project, Chart: r.Chart, Version: r.Version, Digest: r.Archive}, refusal, nil)
	}
	return nil
}

// attachJudge is the Judge of a file that comes for a release that is there. All
// that a release has which still waits is judged with it, so that a policy that
// changed meanwhile counts as it is now.
func (s *Service) attachJudge(ctx context.Context, r *Release, files offered) (Judge, error) {
	publisher, err := s.publisherOf(ctx, r)
	if err != nil {
		return nil, err
	}
	if r.State == Staged {
		before, err := s.bundlesOf(ctx, r.Repository(), r.Manifest)
		if err != nil {
			return nil, err
		}
		for _, b := range before {
			if len(files.bundles) == 0 || files.bundles[0].manifest != b.manifest {
				files.bundles = append(files.bundles, b)
			}
		}
		if files.prov == nil && r.Provenance != "" {
			files.provBefore = true
			if files.prov, err = s.readSmall(ctx, r.Provenance, MaxProvenance); err != nil {
				return nil, err
			}
		}
	}
	return s.judge(r, publisher, s.now(), files), nil
}

// complete judges a release that waits once more, with what it has.
func (s *Service) complete(ctx context.Context, c Caller, r *Release) (Receipt, error) {
	judge, err := s.attachJudge(ctx, r, offered{})
	if err != nil {
		return Receipt{}, err
	}
	res, err := s.store.Attach(ctx, &Attachment{ReleaseID: r.ID, Judge: judge, Now: s.now(), Event: s.event(c)})
	return Receipt(res), err
}
