package release

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/signature"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// BundlePut is what a manifest means for the release that it is about, when it
// carries a sigstore bundle.
type BundlePut struct {
	ReleaseID int64
	Judge     Judge
	Result    ClaimResult // set by the store; without a proof
}

// ociEmpty is the config of an artifact that has none (image specification
// 1.1, "Guidance for an Empty Descriptor").
const ociEmpty = "application/vnd.oci.empty.v1+json"

// bundlePut finds the release that a manifest with a bundle is about. Nil for
// every other manifest, and for one whose subject is no release: it is kept,
// and judged when the release is claimed.
func (s *Service) bundlePut(ctx context.Context, p *Project, m *Manifest, doc *ociDocument) (*BundlePut, error) {
	if p.Kind != KindCharts || m.Subject == "" || m.ArtifactType != signature.MediaType {
		return nil, nil
	}
	r, err := s.store.ReleaseByManifest(ctx, m.Repository, m.Subject)
	if problem.KindOf(err) == problem.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := s.readBundle(ctx, m.Digest, doc, false)
	if err != nil {
		return nil, err
	}
	judge, err := s.attachJudge(ctx, &r, offered{bundles: []offeredBundle{b}})
	if err != nil {
		return nil, err
	}
	return &BundlePut{ReleaseID: r.ID, Judge: judge}, nil
}

// AttachBundle attaches a sigstore bundle to a release, as the OCI referrer that
// cosign would make of it. The same bundle again is no error.
func (s *Service) AttachBundle(ctx context.Context, c Caller, project, name, version string, bundle []byte) (Receipt, error) {
	r, p, err := s.release(ctx, c, project, name, version)
	if err != nil {
		return Receipt{}, err
	}
	v, verr := chart.ParseVersion(r.Version)
	if err := s.allow(ctx, c, &p, r.Chart, access.AttestAttach, verr == nil && v.Prerelease()); err != nil {
		return Receipt{}, err
	}
	if r.State.Withheld() {
		return Receipt{}, RefuseWithheld(&r)
	}
	if len(bundle) > signature.MaxBundle {
		return Receipt{}, problem.New(problem.TooLarge, "bundle-size", "the bundle has %d bytes, and %d are allowed", len(bundle), signature.MaxBundle)
	}
	of, err := s.store.PendingManifest(ctx, r.Repository(), r.Manifest)
	if problem.KindOf(err) == problem.NotFound {
		of, err = s.store.Manifest(ctx, r.Repository(), r.Manifest)
	}
	if err != nil {
		return Receipt{}, err
	}
	m, doc, links, err := s.referrer(ctx, &p, &of, bundle)
	if err != nil {
		return Receipt{}, err
	}
	put, err := s.bundlePut(ctx, &p, m, doc)
	if err != nil {
		return Receipt{}, err
	}
	if put == nil {
		return Receipt{}, fmt.Errorf("attach bundle: the manifest %s is of no release", r.Manifest)
	}
	ev := s.event(c)
	ev.Resource = audit.Resource{Project: p.Name, Chart: r.Chart, Version: r.Version, Digest: m.Digest}
	err = s.store.PutManifest(ctx, &ManifestPut{
		ProjectID: p.ID, Manifest: *m, Links: links, Visible: true, MayMove: mayMove(&p, m), Event: ev, Now: s.now(), Bundle: put,
	})
	if err != nil {
		return Receipt{}, err // where nobody waited for it, the store may still be at work
	}
	receipt := Receipt(put.Result)
	receipt.Proof, err = s.store.Prove(ctx, receipt.Release.LogIndex)
	return receipt, err
}

// referrer makes the manifest that carries a bundle and stores what it names.
func (s *Service) referrer(ctx context.Context, p *Project, of *Manifest, bundle []byte) (*Manifest, *ociDocument, []Link, error) {
	links := []Link{{digest.SHA256([]byte("{}")), 2, true}, {digest.SHA256(bundle), int64(len(bundle)), len(bundle) <= MaxSmallBlob}}
	annotations := map[string]string{"dev.sigstore.bundle.content": "message-signature"}
	if predicate, ok := signature.PredicateOf(bundle); ok {
		annotations = map[string]string{"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": predicate}
	}
	doc := &ociDocument{
		SchemaVersion: 2, MediaType: ociManifest, ArtifactType: signature.MediaType,
		Config:      &ociDescriptor{MediaType: ociEmpty, Digest: links[0].Digest, Size: links[0].Size},
		Layers:      []ociDescriptor{{MediaType: signature.MediaType, Digest: links[1].Digest, Size: links[1].Size}},
		Subject:     &ociDescriptor{MediaType: of.MediaType, Digest: of.Digest, Size: int64(len(of.Bytes))},
		Annotations: annotations,
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return nil, nil, nil, err
	}
	m := &Manifest{Repository: of.Repository, Digest: digest.SHA256(body), MediaType: ociManifest, ArtifactType: signature.MediaType, Subject: of.Digest, Bytes: body}
	if m.Annotations, err = json.Marshal(annotations); err != nil {
		return nil, nil, nil, err
	}
	if !links[1].Small {
		u, err := s.blobs.Begin(ctx)
		if err != nil {
			return nil, nil, nil, err
		}
		defer u.Cancel()
		if _, err := u.ReadFrom(bytes.NewReader(bundle)); err != nil {
			return nil, nil, nil, err
		}
		if _, _, err := u.Commit(ctx, links[1].Digest); err != nil {
			return nil, nil, nil, err
		}
	}
	for i, b := range [][]byte{[]byte("{}"), bundle} {
		if !links[i].Small {
			b = nil
		}
		if err := s.store.LinkBlob(ctx, p.ID, of.Repository, links[i], b); err != nil {
			return nil, nil, nil, err
		}
	}
	return m, doc, links, nil
}

// Bundle returns a sigstore bundle of a release by the digest of the manifest
// that carries it.
func (s *Service) Bundle(ctx context.Context, c Caller, project, name, version, d string) ([]byte, error) {
	r, _, err := s.release(ctx, c, project, name, version)
	if err == nil && r.State.Withheld() {
		err = RefuseWithheld(&r)
	}
	if err != nil {
		return nil, err
	}
	list, err := s.store.Bundles(ctx, r.Repository(), r.Manifest, maxPage)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Digest != d {
			continue
		}
		var doc ociDocument
		if err := json.Unmarshal(list[i].Bytes, &doc); err != nil {
			return nil, err
		}
		b, err := s.readBundle(ctx, d, &doc, true)
		if err == nil && len(b.text) > 0 {
			return b.text, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, problem.New(problem.NotFound, "bundle", "release %s has no sigstore bundle %.100s that could be read", r.Ref(), d).
		Suggest("chartkeep release show %s", r.Ref())
}

// signed is what is known of the signatures of a release. Those under a tag of
// older clients of cosign are named, and nobody looked at them.
func (s *Service) signed(ctx context.Context, p *Project, r *Release) (signed Signed, err error) {
	if signed.Signatures, err = s.store.Signatures(ctx, r.ID); err != nil {
		return signed, err
	}
	m, err := s.store.Manifest(ctx, r.Repository(), legacyTag(r.Manifest))
	switch {
	case err == nil:
		signed.Signatures = append(signed.Signatures, signature.Signature{
			Digest: m.Digest, Verdict: signature.Unchecked, Rule: "signature-legacy-tag", About: signature.AboutManifest,
			Detail: "a signature under the tag " + legacyTag(r.Manifest) + ", as cosign wrote before bundles: it is kept, and does not count",
		})
	case problem.KindOf(err) != problem.NotFound:
		return signed, err
	}
	if r.State != Staged {
		return signed, nil
	}
	signed.Waits, err = s.waits(ctx, p, r)
	return signed, err
}

// legacyTag is where cosign kept signatures before registries had referrers.
func legacyTag(manifest string) string {
	alg, sum, _ := digest.Split(manifest)
	return alg + "-" + sum + ".sig"
}

// WaitingRelease is a staged release with what it waits for.
type WaitingRelease struct {
	Release
	Waits []string `json:"waits_for"`
}

// Staged lists the releases of a project that nobody sees yet, with what each
// waits for under the policy that is in force now, by log index after one. Only
// those are named that the caller could complete. Cost: limit releases, and
// their signatures.
func (s *Service) Staged(ctx context.Context, c Caller, project string, after int64, limit int) ([]WaitingRelease, bool, error) {
	p, err := s.readable(ctx, c, project)
	if err != nil {
		return nil, false, err
	}
	if limit <= 0 || limit > 1000 {
		limit = 1000
	}
	list, err := s.store.Staged(ctx, p.ID, after, limit+1)
	if err != nil {
		return nil, false, err
	}
	more := len(list) > limit
	out := []WaitingRelease{}
	for i := range list[:min(limit, len(list))] {
		r := &list[i]
		if !s.visible(c, &p, r) {
			continue
		}
		waits, err := s.waits(ctx, &p, r)
		if err != nil {
			return nil, false, err
		}
		out = append(out, WaitingRelease{*r, waits})
	}
	return out, more, nil
}

// waits says what a staged release waits for, as far as its signatures were
// judged by the policy that is in force.
func (s *Service) waits(ctx context.Context, p *Project, r *Release) ([]string, error) {
	sigs, err := s.store.Signatures(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	j := Judgement{}
	for _, sig := range sigs {
		if sig.Policy == p.PolicyDigest {
			j.Signatures = append(j.Signatures, sig)
		}
	}
	waits, _ := p.Policy.Settle(r, j.Have())
	if len(waits) == 0 {
		waits = []string{"another look: push it again"} // the policy changed since
	}
	return waits, nil
}

// SignatureLeaf is the leaf of a bundle that was attached, without its time.
func SignatureLeaf(r *Release, d string, by tlog.Identity) tlog.Attach {
	return tlog.Attach{Index: r.LogIndex, Project: r.Project, Chart: r.Chart, Version: r.Version, Kind: tlog.AttachSignature, Digest: d, Publisher: by}
}
