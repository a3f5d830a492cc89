package sqlstore

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// LinkBlob implements release.Repositories. Cost: three rows.
func (s *Store) LinkBlob(ctx context.Context, projectID int64, repository string, l release.Link, bytes []byte) error {
	return s.write(ctx, false, func(b *batch) error {
		repo, err := b.repository(projectID, repository)
		if err != nil {
			return err
		}
		if bytes != nil {
			b.insertBlob(l.Digest, bytes)
		}
		b.insert("INSERT INTO link (repository, digest, size, small) VALUES| ON CONFLICT DO NOTHING", repo, l.Digest, l.Size, flag(l.Small))
		return nil
	})
}

// UnlinkBlob implements release.Repositories. One row by key.
func (s *Store) UnlinkBlob(ctx context.Context, repository, digest string, ev audit.Event, now time.Time) error {
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		refusal = nil
		if err := b.flush(); err != nil {
			return err
		}
		b.restated = true
		n, err := b.w.exec(b.ctx, "DELETE FROM link WHERE digest = ? AND repository = (SELECT id FROM repository WHERE name = ?)", digest, repository)
		if err != nil {
			return err
		}
		if n == 0 {
			refusal = noBlob(repository, digest)
			return nil
		}
		ev.Name, ev.Outcome, ev.Time = audit.ArtifactDeleted, allowed, now
		return b.record(ev)
	})
	if err != nil {
		return err
	}
	return refusal
}

func noBlob(repository, digest string) error {
	return problem.New(problem.NotFound, "blob-unknown", "repository %s has no blob %s", repository, digest)
}

// BlobLink implements release.Repositories. Two look-ups by key.
func (s *Store) BlobLink(ctx context.Context, repository, digest string) (release.Link, error) {
	return s.memos.links.get(memoRef{repository, digest}, func() (release.Link, error) { return s.blobLink(ctx, repository, digest) })
}

func (s *Store) blobLink(ctx context.Context, repository, digest string) (release.Link, error) {
	l := release.Link{Digest: digest}
	var small int64
	var held bool
	err := s.queryRow(ctx, "SELECT l.size, l.small, EXISTS (SELECT 1 FROM withheld w WHERE w.repository = l.repository AND w.digest = l.digest) "+
		"FROM link l JOIN repository o ON o.id = l.repository WHERE o.name = ? AND l.digest = ?", repository, digest).Scan(&l.Size, &small, &held)
	l.Small = small != 0
	if held || notFound(err) { // a tombstone leaves no link
		if err := s.CheckWithheld(ctx, repository, digest); err != nil {
			return l, err
		}
	}
	if notFound(err) {
		return l, noBlob(repository, digest)
	}
	return l, fault("read link", err)
}

// BlobHolders implements release.Repositories. Cost: limit rows.
func (s *Store) BlobHolders(ctx context.Context, digest string, limit int) ([]string, error) {
	var out []string
	err := s.query(ctx, "SELECT o.name FROM link l JOIN repository o ON o.id = l.repository WHERE l.digest = ? LIMIT ?", func(r scanner) error {
		var name string
		err := r.Scan(&name)
		out = append(out, name)
		return err
	}, digest, limit)
	return out, err
}

// SmallBlob implements release.Repositories. One look-up by key.
func (s *Store) SmallBlob(ctx context.Context, digest string) ([]byte, error) {
	var b []byte
	err := s.queryRow(ctx, "SELECT bytes FROM blob WHERE digest = ?", digest).Scan(&b)
	if notFound(err) {
		return nil, problem.New(problem.NotFound, "blob-unknown", "there is no blob %s in the database", digest)
	}
	return b, fault("read blob", err)
}

// PutManifest implements release.Repositories. Cost: a look-up and a row for
// each tag, and the manifest.
func (s *Store) PutManifest(ctx context.Context, p *release.ManifestPut) error {
	if !p.Visible && len(p.Tags) == 0 {
		// Nobody sees it before a claim names it, so there is nothing to
		// record, and the claim makes it durable.
		return s.write(ctx, false, func(b *batch) error {
			repo, err := b.repository(p.ProjectID, p.Manifest.Repository)
			if err == nil {
				b.insertManifest(repo, &p.Manifest, false)
			}
			return err
		})
	}
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		refusal = nil
		if err := b.flush(); err != nil {
			return err
		}
		var err error
		refusal, err = b.putManifest(p)
		return err
	})
	if err != nil {
		return err
	}
	return refusal
}

func (b *batch) putManifest(p *release.ManifestPut) (refusal, err error) {
	proj, refusal, err := b.standing(p.ProjectID)
	if err != nil || refusal != nil {
		return refusal, err
	}
	repo, err := b.repository(p.ProjectID, p.Manifest.Repository)
	if err != nil {
		return nil, err
	}
	ev := p.Event
	ev.Name, ev.Outcome, ev.Time, ev.After = audit.ArtifactPushed, allowed, p.Now, p.Manifest.Digest
	for _, tag := range p.Tags {
		held, err := b.heldByTag(p.Manifest.Repository, tag)
		if err != nil {
			return nil, err
		}
		if held == nil || held.Digest == p.Manifest.Digest {
			continue
		}
		if refusal := p.MayMove(tag, held); refusal != nil {
			ev.Name, ev.Outcome, ev.Before = audit.RefusedOverwrite, denied(refusal), held.Digest
			return refusal, b.record(ev)
		}
		b.restated = true
	}
	if p.Bundle != nil {
		if refusal, err := b.putBundle(p, proj, repo); err != nil || refusal != nil {
			return refusal, err
		}
	} else {
		b.insertManifest(repo, &p.Manifest, p.Visible)
	}
	for _, l := range p.Links {
		b.insert("INSERT INTO link (repository, digest, size, small) VALUES| ON CONFLICT DO NOTHING", repo, l.Digest, l.Size, flag(l.Small))
	}
	for _, tag := range p.Tags {
		if _, err := b.w.exec(b.ctx, "INSERT INTO tag (repository, name, digest, release, hidden) VALUES (?, ?, ?, 0, 0) "+
			"ON CONFLICT (repository, name) DO UPDATE SET digest = excluded.digest WHERE tag.release = 0", repo, tag, p.Manifest.Digest); err != nil {
			return nil, err
		}
	}
	if p.Bundle != nil {
		return nil, nil // recorded with what came of it
	}
	return nil, b.record(ev)
}

// heldByTag is the manifest that a tag stands on, with the release that it is
// of, whether readers see it or not; nil when the tag is free.
func (b *batch) heldByTag(repository, tag string) (*release.Manifest, error) {
	held, err := scanFound(b.w.row(b.ctx, selectTag, repository, tag))
	if notFound(err) {
		held, err = b.buriedTag(repository, tag)
	}
	if notFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if held.releaseID != 0 {
		r, err := b.releaseWhere("r.id = ?", held.releaseID)
		if err != nil {
			return nil, err
		}
		held.Release = &r
	}
	return &held.Manifest, nil
}

// buriedTag is the tag of a release whose manifest is gone for good.
func (b *batch) buriedTag(repository, tag string) (f foundManifest, err error) {
	f.Repository = repository
	err = b.w.row(b.ctx, "SELECT t.digest, t.release FROM repository o JOIN tag t ON t.repository = o.id WHERE o.name = ? AND t.name = ? AND t.release > 0", repository, tag).
		Scan(&f.Digest, &f.releaseID)
	return f, err
}

const manifestColumns = "SELECT o.name, m.digest, m.media_type, m.artifact_type, m.subject, m.annotations, m.bytes, COALESCE(t.release, 0) "

const selectTag = manifestColumns + "FROM repository o JOIN tag t ON t.repository = o.id JOIN manifest m ON m.repository = o.id AND m.digest = t.digest " +
	"WHERE o.name = ? AND t.name = ?"

// selectByTag leaves the tags of staged releases out.
const selectByTag = selectTag + " AND t.hidden < 2"

// selectByDigest finds the release of a manifest by its tag; there is at most
// one release for a manifest.
const selectByDigest = manifestColumns + "FROM repository o JOIN manifest m ON m.repository = o.id " +
	"LEFT JOIN tag t ON t.repository = o.id AND t.digest = m.digest AND t.release > 0 WHERE o.name = ? AND m.digest = ? AND m.visible = 1 LIMIT 1"

// selectPending finds a manifest that no reader sees yet.
const selectPending = "SELECT o.name, m.digest, m.media_type, m.artifact_type, m.subject, m.annotations, m.bytes, 0 " +
	"FROM repository o JOIN manifest m ON m.repository = o.id WHERE o.name = ? AND m.digest = ? AND m.visible = 0"

type foundManifest struct {
	release.Manifest
	releaseID int64
}

func scanFound(row scanner) (foundManifest, error) {
	var f foundManifest
	var annotations string
	err := row.Scan(&f.Repository, &f.Digest, &f.MediaType, &f.ArtifactType, &f.Subject, &annotations, &f.Bytes, &f.releaseID)
	if annotations != "" {
		f.Annotations = []byte(annotations)
	}
	return f, err
}

// Manifest implements release.Repositories. Two look-ups by key, three for the
// manifest of a release that was yanked.
func (s *Store) Manifest(ctx context.Context, repository, ref string) (release.Manifest, error) {
	return s.memos.manifests.get(memoRef{repository, ref}, func() (release.Manifest, error) { return s.manifest(ctx, repository, ref) })
}

// PendingManifest implements release.Repositories. One look-up by key.
func (s *Store) PendingManifest(ctx context.Context, repository, digest string) (release.Manifest, error) {
	f, err := scanFound(s.queryRow(ctx, selectPending, repository, digest))
	if notFound(err) {
		return f.Manifest, noManifest(repository, digest)
	}
	return f.Manifest, fault("read manifest", err)
}

func noManifest(repository, ref string) error {
	return problem.New(problem.NotFound, "manifest-unknown", "repository %s has no manifest %s", repository, ref)
}

func (s *Store) manifest(ctx context.Context, repository, ref string) (release.Manifest, error) {
	query := selectByTag
	if strings.Contains(ref, ":") {
		query = selectByDigest
	}
	f, err := scanFound(s.queryRow(ctx, query, repository, ref))
	if notFound(err) {
		if err := s.CheckWithheld(ctx, repository, ref); err != nil {
			return f.Manifest, err
		}
		return f.Manifest, noManifest(repository, ref)
	}
	if err != nil {
		return f.Manifest, fault("read manifest", err)
	}
	if f.releaseID != 0 {
		r, err := s.releaseWhere(ctx, ref, "r.id = ?", f.releaseID)
		if err != nil {
			return f.Manifest, err
		}
		if r.State.Withheld() {
			return f.Manifest, release.RefuseWithheld(&r)
		}
		f.Release = &r
	}
	return f.Manifest, nil
}

// DeleteManifest implements release.Repositories. Cost: the tags of one
// repository.
func (s *Store) DeleteManifest(ctx context.Context, repository, ref string, ev audit.Event, now time.Time) error {
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		refusal = nil
		if err := b.flush(); err != nil {
			return err
		}
		b.restated = true
		var n int64
		var err error
		if strings.Contains(ref, ":") {
			if _, err = b.w.exec(b.ctx, "DELETE FROM tag WHERE release = 0 AND digest = ? AND repository = (SELECT id FROM repository WHERE name = ?)", ref, repository); err != nil {
				return err
			}
			// A release's manifest stands in a charts project, where nobody
			// comes here; the condition holds even if somebody did.
			n, err = b.w.exec(b.ctx, "DELETE FROM manifest WHERE digest = ? AND repository = (SELECT id FROM repository WHERE name = ?) "+
				"AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.repository = manifest.repository AND t.digest = manifest.digest AND t.release > 0)", ref, repository)
		} else {
			n, err = b.w.exec(b.ctx, "DELETE FROM tag WHERE release = 0 AND name = ? AND repository = (SELECT id FROM repository WHERE name = ?)", ref, repository)
		}
		if err != nil {
			return err
		}
		if n == 0 {
			refusal = problem.New(problem.NotFound, "manifest-unknown", "repository %s has no manifest %s", repository, ref)
			return nil
		}
		ev.Name, ev.Outcome, ev.Time = audit.ArtifactDeleted, allowed, now
		return b.record(ev)
	})
	if err != nil {
		return err
	}
	return refusal
}

// Tags implements release.Repositories. Cost: limit rows, and the yanked ones
// among them.
func (s *Store) Tags(ctx context.Context, repository, after string, limit int) ([]string, error) {
	return s.names(ctx, "SELECT t.name FROM repository o JOIN tag t ON t.repository = o.id WHERE o.name = ? AND t.name > ? AND t.hidden = 0 ORDER BY t.name LIMIT ?",
		repository, after, limit)
}

func (s *Store) names(ctx context.Context, query string, args ...any) ([]string, error) {
	var out []string
	err := s.query(ctx, query, func(r scanner) error {
		var name string
		err := r.Scan(&name)
		out = append(out, name)
		return err
	}, args...)
	return out, err
}

// RepositoryNames implements release.Repositories. Cost: limit rows and one
// look-up each.
func (s *Store) RepositoryNames(ctx context.Context, after string, limit int) ([]release.RepositoryName, error) {
	var out []release.RepositoryName
	err := s.query(ctx, "SELECT o.name, o.project FROM repository o WHERE o.name > ? AND EXISTS (SELECT 1 FROM manifest m WHERE m.repository = o.id AND m.visible = 1) ORDER BY o.name LIMIT ?",
		func(r scanner) error {
			var n release.RepositoryName
			err := r.Scan(&n.Name, &n.ProjectID)
			out = append(out, n)
			return err
		}, after, limit)
	return out, err
}

// Referrers implements release.Repositories. Cost: the referrers of one
// manifest, by index.
func (s *Store) Referrers(ctx context.Context, repository, digest, artifactType string) ([]release.Descriptor, error) {
	query := "SELECT m.media_type, m.digest, LENGTH(m.bytes), m.artifact_type, m.annotations FROM repository o JOIN manifest m ON m.repository = o.id " +
		"WHERE o.name = ? AND m.subject = ? AND m.subject <> '' AND m.visible = 1"
	args := []any{repository, digest}
	if artifactType != "" {
		query += " AND m.artifact_type = ?"
		args = append(args, artifactType)
	}
	var out []release.Descriptor
	err := s.query(ctx, query+" ORDER BY m.digest", func(r scanner) error {
		var d release.Descriptor
		var annotations string
		if err := r.Scan(&d.MediaType, &d.Digest, &d.Size, &d.ArtifactType, &annotations); err != nil {
			return err
		}
		if annotations != "" {
			if err := json.Unmarshal([]byte(annotations), &d.Annotations); err != nil {
				return err
			}
		}
		out = append(out, d)
		return nil
	}, args...)
	return out, err
}

// HasRepository implements release.Repositories. One look-up by key.
func (s *Store) HasRepository(ctx context.Context, repository string) (bool, error) {
	var id int64
	err := s.queryRow(ctx, "SELECT id FROM repository WHERE name = ?", repository).Scan(&id)
	if notFound(err) {
		return false, nil
	}
	return err == nil, fault("read repository", err)
}
