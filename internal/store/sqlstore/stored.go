package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// StoredHead implements release.Stored. One look-up by key.
func (s *Store) StoredHead(ctx context.Context, log release.LogName) (release.StoredHead, error) {
	var h release.StoredHead
	var root []byte
	err := s.queryRow(ctx, "SELECT size, root, checkpoint FROM head WHERE log = ?", int(log)).Scan(&h.Size, &root, &h.Checkpoint)
	if notFound(err) {
		return h, problem.New(problem.NotFound, "log-head", "the %s has no head", log)
	}
	copy(h.Root[:], root)
	if err == nil && s.remote(int(log)) {
		// What waits for its signature is not examined yet.
		cp, err := signedPart(s.origin(releaseLog), h.Size, h.Root, h.Checkpoint)
		return release.StoredHead{Size: cp.Size, Root: cp.Root, Checkpoint: cp.Note}, err
	}
	return h, fault("read log head", err)
}

// StoredLeaves implements release.Stored. Cost: a range of limit rows of the
// primary key; 4 µs a leaf.
func (s *Store) StoredLeaves(ctx context.Context, log release.LogName, from int64, limit int) ([]release.StoredLeaf, error) {
	out := make([]release.StoredLeaf, 0, limit)
	err := s.query(ctx, "SELECT idx, hash, entry FROM leaf WHERE log = ? AND idx >= ? ORDER BY idx LIMIT ?", func(r scanner) error {
		var l release.StoredLeaf
		var hash []byte
		if err := r.Scan(&l.Index, &hash, &l.Entry); err != nil {
			return err
		}
		copy(l.Hash[:], hash)
		out = append(out, l)
		return nil
	}, int(log), from, limit)
	return out, err
}

// StoredTile implements release.Stored. One look-up by key.
func (s *Store) StoredTile(ctx context.Context, log release.LogName, level int, n int64) (release.StoredTile, error) {
	var t release.StoredTile
	var root []byte
	err := s.queryRow(ctx, "SELECT hashes, root FROM tile WHERE log = ? AND level = ? AND n = ?", int(log), level, n).Scan(&t.Hashes, &root)
	if notFound(err) {
		return t, problem.New(problem.NotFound, "log-hole", "the %s lacks tile %d of level %d", log, n, level)
	}
	copy(t.Root[:], root)
	return t, fault("read tile", err)
}

// selectServing reads the rows that serve a release. A release is in one
// repository, whose name follows from its project and chart.
const selectServing = "SELECT r.id, r.fragment, COALESCE(o.name, ''), t.name, COALESCE(t.digest, ''), COALESCE(t.release, 0), COALESCE(t.hidden, 0), " +
	"m.bytes, COALESCE(m.visible, 0), c.bytes, v.bytes FROM release r JOIN project p ON p.id = r.project " +
	"LEFT JOIN repository o ON o.name = p.name || '/' || r.chart LEFT JOIN tag t ON t.repository = o.id AND t.name = r.tag " +
	"LEFT JOIN manifest m ON m.repository = o.id AND m.digest = r.manifest LEFT JOIN blob c ON c.digest = r.config LEFT JOIN blob v ON v.digest = r.provenance " +
	"WHERE r.id >= ? AND r.id < ? ORDER BY r.id"

// StoredReleases implements release.Stored. Cost: two ranges of the primary
// key and five look-ups by key for each release; 30 µs a release.
func (s *Store) StoredReleases(ctx context.Context, from, to int64) ([]release.StoredRelease, error) {
	var out []release.StoredRelease
	at := map[int64]int{}
	err := s.query(ctx, selectRelease+"r.id >= ? AND r.id < ? ORDER BY r.id", func(row scanner) error {
		r, err := scanRelease(row)
		at[r.ID] = len(out)
		out = append(out, release.StoredRelease{Release: r})
		return err
	}, from, to)
	if err != nil {
		return nil, err
	}
	return out, s.query(ctx, selectServing, func(row scanner) error {
		var id, seen int64
		var tag release.StoredTag
		var name *string
		var fragment, manifest, config, prov []byte
		if err := row.Scan(&id, &fragment, &tag.Repository, &name, &tag.Digest, &tag.Release, &tag.Hidden, &manifest, &seen, &config, &prov); err != nil {
			return err
		}
		i, ok := at[id]
		if !ok {
			return nil // came in between the two queries
		}
		r := &out[i]
		r.Fragment, r.Manifest, r.ManifestSeen, r.Config, r.Provenance = fragment, manifest, seen != 0, config, prov
		if name != nil {
			tag.Name = *name
			r.Tag = &tag
		}
		return nil
	}, from, to)
}

// StoredManifest implements release.Stored. Two look-ups by key.
func (s *Store) StoredManifest(ctx context.Context, repository, digest string) ([]byte, error) {
	var b []byte
	err := s.queryRow(ctx, "SELECT m.bytes FROM repository o JOIN manifest m ON m.repository = o.id WHERE o.name = ? AND m.digest = ?", repository, digest).Scan(&b)
	if notFound(err) {
		return nil, noManifest(repository, digest)
	}
	return b, fault("read manifest", err)
}

// StoredStrays implements release.Stored. Cost: limit rows at the ends of the
// primary key.
func (s *Store) StoredStrays(ctx context.Context, size int64, limit int) ([]release.Release, error) {
	if s.remote(releaseLog) { // what waits for its signature has a leaf
		var err error
		if size, err = s.LogSize(ctx, custody.Releases); err != nil {
			return nil, err
		}
	}
	var out []release.Release
	err := s.query(ctx, selectRelease+"(r.id < 0 OR r.id >= ?) ORDER BY r.id LIMIT ?", func(row scanner) error {
		r, err := scanRelease(row)
		out = append(out, r)
		return err
	}, size, limit)
	return out, err
}

// StoredTags implements release.Stored. Cost: a scan of all tags with a
// look-up of a release each; some seconds at a million.
func (s *Store) StoredTags(ctx context.Context, fn func(release.StoredTag) error) error {
	return s.query(ctx, "SELECT o.name, t.name, t.digest, t.release, t.hidden FROM tag t JOIN repository o ON o.id = t.repository "+
		"JOIN project p ON p.id = o.project LEFT JOIN release r ON r.id = t.release "+
		"WHERE p.kind = 'charts' AND (t.release = 0 OR r.id IS NULL OR r.tag <> t.name OR r.project <> o.project OR o.name <> p.name || '/' || r.chart)",
		func(r scanner) error {
			var t release.StoredTag
			if err := r.Scan(&t.Repository, &t.Name, &t.Digest, &t.Release, &t.Hidden); err != nil {
				return err
			}
			return fn(t)
		})
}

// StoredEvents implements release.Stored. Cost: a range of to-from rows.
func (s *Store) StoredEvents(ctx context.Context, from, to int64) ([]release.StoredEvent, error) {
	out := make([]release.StoredEvent, 0, to-from)
	err := s.query(ctx, "SELECT idx, time, action, outcome, project, chart, version, actor, ip, agent, salt FROM audit WHERE idx >= ? AND idx < ? ORDER BY idx", func(r scanner) error {
		var e release.StoredEvent
		var at int64
		var name, outcome string
		if err := r.Scan(&e.Index, &at, &name, &outcome, &e.Project, &e.Chart, &e.Version, &e.Actor, &e.Source.IP, &e.Source.UserAgent, &e.Salt); err != nil {
			return err
		}
		e.Time, e.Name, e.Outcome = fromMillis(at), audit.Name(name), audit.Result(outcome)
		out = append(out, e)
		return nil
	}, from, to)
	return out, err
}

// LateProvenance implements release.Stored. One look-up by key.
func (s *Store) LateProvenance(ctx context.Context, releaseID int64) (int64, error) {
	var index int64
	err := s.queryRow(ctx, "SELECT idx FROM late_provenance WHERE release = ?", releaseID).Scan(&index)
	if notFound(err) {
		return 0, problem.New(problem.NotFound, "provenance", "no leaf gives release %d a provenance", releaseID)
	}
	return index, fault("read late provenance", err)
}

// openVerifiers reads the keys by which heads are checked.
func (s *Store) openVerifiers() error {
	for log, key := range map[int]string{releaseLog: s.config.VerifierKey, auditLog: s.config.AuditVerifierKey} {
		if key == "" {
			if s.remote(log) && s.config.Remote != NotAsked {
				return errors.New("a log that another process signs is opened without its verifier key")
			}
			continue
		}
		v, err := tlog.NewVerifier(key)
		if err != nil {
			return err
		}
		s.verifiers[log] = note.VerifierList(v)
		if log == releaseLog && s.config.OldVerifierKey != "" {
			old, err := tlog.NewVerifier(s.config.OldVerifierKey)
			if err != nil {
				return err
			}
			s.verifiers[log] = note.VerifierList(v, old)
		}
	}
	return nil
}

// checkHead proves that the log's own key signed a head that was read from the
// tables. It costs 0.1 ms, so it is asked only when the head came from another
// process or an earlier one.
func (s *Store) checkHead(log int, st *logState) error {
	verifiers := s.verifiers[log]
	if verifiers == nil {
		return nil
	}
	cp, err := tlog.OpenCheckpoint(st.checkpoint, s.origin(log), verifiers)
	if err == nil && (cp.Size != st.size || cp.Root != st.root) {
		err = fmt.Errorf("the checkpoint says %d leaves, root %x", cp.Size, cp.Root)
	}
	if err == nil {
		return nil
	}
	return problem.New(problem.Disproven, "log-head", "the head of log %q is not what the log's key signed", s.origin(log)).
		With("stored", "%d leaves, root %x", st.size, st.root).
		Suggest("stop the server and restore the database from a backup; do not publish from it").Because(err)
}

// recordLate keeps the leaf by which a release got its provenance.
func (b *batch) recordLate(releaseID, index int64) {
	b.insert("INSERT INTO late_provenance (release, idx) VALUES| ON CONFLICT DO NOTHING", releaseID, index)
}
