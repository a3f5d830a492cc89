package sqlstore

import (
	"context"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// entomb takes the bytes of a release away for good: its manifest, its links,
// its index entry, and the small blobs and the archive unless something else
// needs them. Row, digests and leaf stay, so that its name stays taken.
func (b *batch) entomb(req *release.Request, x requestRow, ev audit.Event, now time.Time) error {
	r, err := b.releaseWhere("r.id = ?", req.ReleaseID)
	if err != nil {
		return err
	}
	at := b.time(now)
	index, err := b.appendLeaf(tlog.Tombstone{
		Index: r.LogIndex, Project: r.Project, Chart: r.Chart, Version: r.Version, Archive: r.Archive,
		Reason: req.Reason, Text: req.Text, Requester: x.requester, Approver: x.decider, Time: at,
	})
	if err != nil {
		return err
	}
	if r.State == release.Quarantined {
		if err := b.closeQuarantine(&r, "tombstoned", "", ev.Actor.ID, at); err != nil {
			return err
		}
	}
	if err := b.withhold(&r, release.Tombstoned); err != nil {
		return err
	}
	for _, step := range []struct {
		query string
		args  []any
	}{
		{"INSERT INTO tombstone (release, reason, text, requester, approver, time, idx, request) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			[]any{r.ID, req.Reason, req.Text, req.Requester, req.Decider, millis(at), index, req.ID}},
		{"UPDATE release SET fragment = ? WHERE id = ?", []any{[]byte{}, r.ID}},
		{"UPDATE request SET state = ?, due = 0, effective = ? WHERE id = ?", []any{string(release.RequestDone), millis(at), req.ID}},
	} {
		if _, err := b.w.exec(b.ctx, step.query, step.args...); err != nil {
			return err
		}
	}
	if err := b.removeBytes(&r, at); err != nil {
		return err
	}
	ev.Name, ev.Outcome, ev.Resource, ev.Before = audit.TombstoneDone, allowed, resource(&r), r.Archive
	ev.Detail["requester"], ev.Detail["approver"] = req.Requester, req.Decider
	return b.record(ev)
}

// removeBytes takes away what the release has in its repository. What is small
// goes now, unless another repository has it; the archive waits for
// release.Service.Protect, since its file is not in this transaction.
func (b *batch) removeBytes(r *release.Release, at time.Time) error {
	repo, err := b.repository(r.ProjectID, r.Repository())
	if err != nil {
		return err
	}
	if _, err := b.w.exec(b.ctx, "DELETE FROM manifest WHERE repository = ? AND digest = ?", repo, r.Manifest); err != nil {
		return err
	}
	if b.store.dialect.postgres {
		// A soft write of another server links a small blob without the log's
		// lock, and leaves bytes as they are that are there. Until it is over its
		// link is not seen below; so it is waited for, and the next waits for us.
		if _, err := b.w.exec(b.ctx, "LOCK TABLE link, blob IN SHARE ROW EXCLUSIVE MODE"); err != nil {
			return err
		}
	}
	for _, digest := range []string{r.Archive, r.Config, r.Provenance} {
		if digest == "" {
			continue
		}
		if _, err := b.w.exec(b.ctx, "DELETE FROM link WHERE repository = ? AND digest = ?", repo, digest); err != nil {
			return err
		}
		if _, err := b.w.exec(b.ctx, "DELETE FROM blob WHERE digest = ? AND NOT EXISTS (SELECT 1 FROM link l WHERE l.digest = blob.digest)", digest); err != nil {
			return err
		}
	}
	// A row that was settled before waits anew: the bytes may have come back
	// with another release since.
	_, err = b.w.exec(b.ctx, "INSERT INTO erasure (digest, due, done, kept) VALUES (?, ?, 0, '') ON CONFLICT (digest) DO UPDATE SET due = excluded.due, done = 0, kept = ''",
		r.Archive, millis(at.Add(release.EraseAfter)))
	return err
}

// Erasing implements release.Protection.
func (s *Store) Erasing(ctx context.Context, digest string) (bool, error) {
	var due int64
	err := s.queryRow(ctx, "SELECT due FROM erasure WHERE digest = ?", digest).Scan(&due)
	if notFound(err) {
		return false, nil
	}
	return due > 0, fault("read erasure", err)
}

// Erasures implements release.Protection.
func (s *Store) Erasures(ctx context.Context, now time.Time, limit int) ([]string, error) {
	return s.names(ctx, "SELECT digest FROM erasure WHERE due > 0 AND due <= ? ORDER BY due LIMIT ?", millis(now), limit)
}

// NeededBy implements release.Protection.
func (s *Store) NeededBy(ctx context.Context, digest string) ([]string, error) {
	releases, err := s.names(ctx, "SELECT p.name || '/' || r.chart || '@' || r.version FROM release r JOIN project p ON p.id = r.project "+
		"WHERE r.archive = ? AND r.state <> 'tombstoned' ORDER BY r.id LIMIT 10", digest)
	if err != nil {
		return nil, err
	}
	repositories, err := s.BlobHolders(ctx, digest, 10)
	return append(releases, repositories...), err
}

// SettleErasure implements release.Protection. One row by key.
func (s *Store) SettleErasure(ctx context.Context, digest, kept string, now time.Time) error {
	return s.write(ctx, true, func(b *batch) error {
		_, err := b.w.exec(b.ctx, "UPDATE erasure SET due = 0, done = ?, kept = ? WHERE digest = ?", millis(now), kept, digest)
		return err
	})
}

// ErasedBlob implements release.Protection. One look-up by key.
func (s *Store) ErasedBlob(ctx context.Context, digest string) (bool, error) {
	var due int64
	var kept string
	err := s.queryRow(ctx, "SELECT due, kept FROM erasure WHERE digest = ?", digest).Scan(&due, &kept)
	if notFound(err) {
		return false, nil
	}
	return due == 0 && kept == "", fault("read erasure", err)
}
