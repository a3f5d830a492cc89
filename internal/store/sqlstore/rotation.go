package sqlstore

import (
	"context"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Rotate puts into the log that it goes from one key to another, and keeps the
// proof of it, unless it did so before. The store signs with both keys. Cost: a
// look-up when it was done.
func (s *Store) Rotate(ctx context.Context, oldKey, newKey string, until, now time.Time) error {
	index, done, err := s.rotated(ctx, newKey)
	if err != nil || done {
		return err
	}
	if index < 0 {
		actor := audit.Actor{Kind: access.KindSystem}
		err := s.write(ctx, true, func(b *batch) error {
			var err error
			entry := tlog.Rotation{Old: oldKey, New: newKey, Until: until, Actor: tlog.Identity{Issuer: "chartkeep", Subject: string(access.KindSystem)}, Time: b.time(now)}
			if index, err = b.appendLeaf(entry); err != nil {
				return err
			}
			if _, err := b.w.exec(b.ctx, "INSERT INTO rotation (idx, old_key, new_key, until) VALUES (?, ?, ?, ?)", index, oldKey, newKey, millis(until)); err != nil {
				return err
			}
			return b.record(audit.Event{
				Time: now, Name: audit.LogKeyRotated, Actor: actor, Door: audit.DoorServer, Outcome: allowed,
				Detail: map[string]string{"old-key": oldKey, "new-key": newKey, "old-key-ends": until.UTC().Format(time.RFC3339)},
			})
		})
		if err != nil {
			return err
		}
	}
	proof, err := s.Prove(ctx, index)
	if err != nil {
		return err
	}
	// Only the old key can tell those who know nothing but it.
	v, err := tlog.NewVerifier(oldKey)
	if err != nil {
		return err
	}
	if _, err := tlog.OpenCheckpoint(proof.Checkpoint, s.config.Origin, note.VerifierList(v)); err != nil {
		return problem.New(problem.Unavailable, "rotation", "the old key of the log ended before it had signed the new one").
			Suggest("publish the new verifier key where the old one is published, and tell everybody who verifies").Because(err)
	}
	return s.write(ctx, true, func(b *batch) error {
		_, err := b.w.exec(b.ctx, "UPDATE rotation SET proof = ? WHERE idx = ? AND proof IS NULL", proof.Marshal(), index)
		return err
	})
}

// rotated says where the leaf of a rotation stands, -1 for nowhere, and whether
// its proof is kept.
func (s *Store) rotated(ctx context.Context, newKey string) (index int64, proven bool, err error) {
	var proof []byte
	err = s.queryRow(ctx, "SELECT idx, proof FROM rotation WHERE new_key = ?", newKey).Scan(&index, &proof)
	if notFound(err) {
		return -1, false, nil
	}
	return index, len(proof) > 0, fault("read rotation", err)
}

// Rotations implements release.LogReader. Cost: all of them.
func (s *Store) Rotations(ctx context.Context) ([]release.Rotation, error) {
	var out []release.Rotation
	err := s.query(ctx, "SELECT idx, old_key, new_key, until, proof FROM rotation ORDER BY idx", func(r scanner) error {
		var one release.Rotation
		var until int64
		if err := r.Scan(&one.LogIndex, &one.Old, &one.New, &until, &one.Proof); err != nil {
			return err
		}
		one.Until = fromMillis(until)
		out = append(out, one)
		return nil
	})
	return out, err
}
