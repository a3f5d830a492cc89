package sqlstore

import (
	"context"
	"strings"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/signature"
)

// keepPolicy keeps the policy of a project under its digest. A text that is not
// that of the digest is not kept: after a recovery nobody may have the text.
func (b *batch) keepPolicy(p *release.Project) error {
	if p.PolicyDigest != release.PolicyDigest(p.Policy) {
		return nil
	}
	_, err := b.w.exec(b.ctx, "INSERT INTO policy_document (digest, project, document, time) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
		p.PolicyDigest, p.ID, string(release.PolicyText(p.Policy)), millis(b.clock))
	return err
}

// PolicyDocument implements release.Signing. Cost: the projects that had the
// policy, by key.
func (s *Store) PolicyDocument(ctx context.Context, digest string) (text []byte, projects []int64, err error) {
	err = s.query(ctx, "SELECT project, document FROM policy_document WHERE digest = ? ORDER BY project", func(r scanner) error {
		var id int64
		err := r.Scan(&id, &text)
		projects = append(projects, id)
		return err
	}, digest)
	if err == nil && len(projects) == 0 {
		err = problem.New(problem.NotFound, "policy-digest", "there is no policy %s", digest)
	}
	return text, projects, err
}

// Signatures implements release.Signing. One range of the key.
func (s *Store) Signatures(ctx context.Context, releaseID int64) ([]signature.Signature, error) {
	return documents[signature.Signature](ctx, s, "SELECT document FROM signature WHERE release = ? ORDER BY digest", releaseID)
}

const selectReleaseOfManifest = "SELECT t.release FROM repository o JOIN tag t ON t.repository = o.id AND t.digest = ? AND t.release > 0 WHERE o.name = ?"

// ReleaseByManifest implements release.Signing. Three look-ups by key.
func (s *Store) ReleaseByManifest(ctx context.Context, repository, digest string) (release.Release, error) {
	var id int64
	err := s.queryRow(ctx, selectReleaseOfManifest, digest, repository).Scan(&id)
	if notFound(err) {
		return release.Release{}, noManifest(repository, digest)
	}
	if err != nil {
		return release.Release{}, fault("read tag", err)
	}
	return s.releaseWhere(ctx, digest, "r.id = ?", id)
}

// Bundles implements release.Signing. Cost: limit rows, and the other referrers
// of the manifest, by index.
func (s *Store) Bundles(ctx context.Context, repository, subject string, limit int) ([]release.Manifest, error) {
	var out []release.Manifest
	err := s.query(ctx, "SELECT o.name, m.digest, m.media_type, m.artifact_type, m.subject, m.annotations, m.bytes, 0 "+
		"FROM repository o JOIN manifest m ON m.repository = o.id WHERE o.name = ? AND m.subject = ? AND m.subject <> '' AND m.artifact_type = ? ORDER BY m.digest LIMIT ?",
		func(r scanner) error {
			f, err := scanFound(r)
			out = append(out, f.Manifest)
			return err
		}, repository, subject, signature.MediaType, limit)
	return out, err
}

// Staged implements release.Signing. Cost: limit rows of an index of the staged
// alone.
func (s *Store) Staged(ctx context.Context, projectID, after int64, limit int) ([]release.Release, error) {
	var out []release.Release
	err := s.query(ctx, selectRelease+"r.project = ? AND r.state = 'staged' AND r.id > ? ORDER BY r.id LIMIT ?", func(row scanner) error {
		r, err := scanRelease(row)
		out = append(out, r)
		return err
	}, projectID, after, limit)
	return out, err
}

// admit judges the signatures of a claim, and says what its release waits for.
func (b *batch) admit(c *release.Claim, p *batchProject, r *release.Release) (signed release.Signed, refusal error) {
	var j release.Judgement
	if c.Judge != nil {
		j = c.Judge(&p.Project)
	}
	if j.Refusal != nil {
		return signed, j.Refusal
	}
	signed.Signatures = j.Signatures
	signed.Waits, signed.Would = p.Policy.Settle(r, j.Have())
	signed.Would = append(j.Would, signed.Would...)
	if c.Whole && len(signed.Waits) > 0 {
		return signed, release.RefuseIncomplete(r, signed.Waits)
	}
	if r.State == "" {
		r.State = release.Active
		if len(signed.Waits) > 0 {
			r.State = release.Staged
		}
	}
	return signed, nil
}

// refuseUnsigned answers a claim whose signatures do not do, unless the name is
// held: then what holds it is the answer.
func (b *batch) refuseUnsigned(c *release.Claim, got *claimed, refusal error) error {
	if _, _, err := b.holder(&c.Release); err == nil {
		return b.taken(c, got)
	}
	got.refusal = refusal
	return b.refuse(c, audit.RefusedSignature, refusal, nil)
}

// noteSigned writes what came of the signatures of a release: rows, a leaf for
// each bundle that holds, and an event where a policy reported.
func (b *batch) noteSigned(r *release.Release, p *batchProject, signed *release.Signed, ev audit.Event) error {
	for i := range signed.Signatures {
		s := &signed.Signatures[i]
		text, err := jsonText(s)
		if err != nil {
			return err
		}
		var before int64
		err = b.w.row(b.ctx, "SELECT verified FROM signature WHERE release = ? AND digest = ?", r.ID, s.Digest).Scan(&before)
		if err != nil && !notFound(err) {
			return err
		}
		holds := s.Verdict == signature.Verified
		if _, err := b.w.exec(b.ctx, "INSERT INTO signature (release, digest, kind, verified, policy, document) VALUES (?, ?, ?, ?, ?, ?) "+
			"ON CONFLICT (release, digest) DO UPDATE SET kind = excluded.kind, verified = excluded.verified, policy = excluded.policy, document = excluded.document",
			r.ID, s.Digest, string(s.Kind), flag(holds), s.Policy, text); err != nil {
			return err
		}
		if !holds || before != 0 || s.Kind == signature.PGP { // a provenance has its leaf
			continue
		}
		leaf := release.SignatureLeaf(r, s.Digest, identity(ev.Actor))
		leaf.Time = b.time(ev.Time)
		if _, err := b.appendLeaf(leaf); err != nil {
			return err
		}
	}
	if len(signed.Would) == 0 {
		return nil
	}
	ev.Name, ev.Outcome, ev.Resource = audit.WouldRefuse, allowed, resource(r)
	ev.Detail = map[string]string{"would-refuse": cut(strings.Join(signed.Would, "; ")), "policy": p.PolicyDigest}
	return b.record(ev)
}

// cut bounds text for a detail of an audit event.
func cut(s string) string {
	const most = 500
	if len(s) > most {
		return plain(s[:most])
	}
	return plain(s)
}

// settle judges what was offered for a release that is there. A release that
// waits becomes active when nothing is missing: with what is offered, and with
// what came before and was judged by the same policy. The release is changed in
// place; its row is not written.
func (b *batch) settle(r *release.Release, p *batchProject, judge release.Judge, ev audit.Event) (signed release.Signed, refusal, err error) {
	var j release.Judgement
	if judge != nil {
		j = judge(&p.Project)
	}
	if j.Refusal != nil {
		return signed, j.Refusal, nil
	}
	have, known, err := b.signatures(r.ID, p.PolicyDigest)
	if err != nil {
		return signed, nil, err
	}
	for _, s := range j.Signatures {
		if !known[s.Digest] || r.State == release.Staged {
			signed.Signatures = append(signed.Signatures, s)
		}
	}
	signed.Would = j.Would
	if err := b.noteSigned(r, p, &signed, ev); err != nil {
		return signed, nil, err
	}
	if r.State != release.Staged {
		return signed, nil, nil
	}
	if signed.Waits, _ = p.Policy.Settle(r, append(have, j.Have()...)); len(signed.Waits) == 0 {
		r.State = release.Active
	}
	return signed, nil, nil
}

// signatures lists the kinds that hold of what a release has, as far as one
// policy judged them, and the digests of all.
func (b *batch) signatures(releaseID int64, policy string) (have []signature.Kind, known map[string]bool, err error) {
	known = map[string]bool{}
	err = b.each("SELECT digest, kind, verified, policy FROM signature WHERE release = ?", func(r scanner) error {
		var digest, kind, by string
		var verified int64
		if err := r.Scan(&digest, &kind, &verified, &by); err != nil {
			return err
		}
		known[digest] = true
		if verified != 0 && by == policy {
			have = append(have, signature.Kind(kind))
		}
		return nil
	}, releaseID)
	return have, known, err
}

// activate shows a release that waited, and the signatures that came while it
// did.
func (b *batch) activate(repo int64, r *release.Release) error {
	if err := b.setHidden(repo, r, 0); err != nil {
		return err
	}
	_, err := b.w.exec(b.ctx, "UPDATE manifest SET visible = 1 WHERE repository = ? AND subject = ? AND visible = 0", repo, r.Manifest)
	return err
}

// putBundle judges a manifest that carries a signature of a release. It stays
// as invisible as the release.
func (b *batch) putBundle(p *release.ManifestPut, proj *batchProject, repo int64) (refusal, err error) {
	put := p.Bundle
	put.Result = release.ClaimResult{}
	if err := b.flush(); err != nil {
		return nil, err
	}
	r, err := b.releaseWhere("r.id = ?", put.ReleaseID)
	if err != nil {
		return nil, err
	}
	put.Result.Release = r
	ev := p.Event
	ev.Resource = resource(&r)
	ev.After, ev.Time = p.Manifest.Digest, p.Now
	if r.State.Withheld() {
		return release.RefuseWithheld(&r), nil
	}
	waited := r.State == release.Staged
	signed, refusal, err := b.settle(&r, proj, put.Judge, ev)
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		ev.Name, ev.Outcome = audit.RefusedSignature, denied(refusal)
		return refusal, b.record(ev)
	}
	b.insertManifest(repo, &p.Manifest, r.State != release.Staged)
	if err := b.flush(); err != nil {
		return nil, err
	}
	if waited && r.State == release.Active {
		if err := b.release(proj, repo, &r); err != nil {
			return nil, err
		}
	}
	put.Result.Release, put.Result.Signed = r, signed
	ev.Name, ev.Outcome = audit.AttestationAttached, allowed
	return nil, b.record(ev)
}

// release writes that a release which waited is active now.
func (b *batch) release(p *batchProject, repo int64, r *release.Release) error {
	b.change(p)
	b.restated = true
	if _, err := b.w.exec(b.ctx, "UPDATE release SET state = ?, generation = ? WHERE id = ?", string(r.State), p.Generation, r.ID); err != nil {
		return err
	}
	return b.activate(repo, r)
}

// reconsider looks at a release that waits once more, with nothing new.
func (b *batch) reconsider(r *release.Release, p *batchProject, a *release.Attachment, res *release.ClaimResult) error {
	res.Unchanged = true
	if r.State == release.Staged {
		signed, _, err := b.settle(r, p, a.Judge, a.Event)
		if err != nil {
			return err
		}
		res.Signed = signed
		if r.State == release.Active {
			repo, err := b.repository(r.ProjectID, r.Repository())
			if err != nil {
				return err
			}
			if err := b.release(p, repo, r); err != nil {
				return err
			}
			ev := a.Event
			ev.Name, ev.Outcome, ev.Resource, ev.After = audit.ReleaseAccepted, allowed, resource(r), r.Archive
			ev.Detail = map[string]string{"waited": "it has all that the policy in force asks for"}
			if err := b.record(ev); err != nil {
				return err
			}
		}
	}
	res.Release = *r
	return nil
}
