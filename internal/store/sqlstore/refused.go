package sqlstore

import (
	"context"

	"github.com/chartkeep/chartkeep/internal/release"
)

// NoteRefused implements release.RefusedRows. One row by key.
func (s *Store) NoteRefused(ctx context.Context, c release.RefusedCopy) error {
	return s.write(ctx, false, func(b *batch) error {
		_, err := b.w.exec(b.ctx, "INSERT INTO refused (digest, project, chart, version, size, door, actor, first, last, times, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?) "+
			"ON CONFLICT (digest, project, chart, version) DO UPDATE SET door = excluded.door, actor = excluded.actor, last = excluded.last, expires = excluded.expires, times = refused.times + 1",
			c.Digest, c.Project, c.Chart, c.Version, c.Size, c.Door, c.Actor, millis(c.First), millis(c.Last), millis(c.Expires))
		return err
	})
}

var selectRefused = "SELECT f.digest, f.project, f.chart, f.version, f.size, f.door, f.actor, " + holder("c", "tk") + ", f.first, f.last, f.times, f.expires " +
	"FROM refused f LEFT JOIN account c ON c.id = f.actor LEFT JOIN token tk ON tk.id = f.actor"

func (s *Store) refused(ctx context.Context, query string, args ...any) ([]release.RefusedCopy, error) {
	var out []release.RefusedCopy
	err := s.query(ctx, query, func(r scanner) error {
		var c release.RefusedCopy
		var first, last, expires int64
		if err := r.Scan(&c.Digest, &c.Project, &c.Chart, &c.Version, &c.Size, &c.Door, &c.Actor, &c.By, &first, &last, &c.Times, &expires); err != nil {
			return err
		}
		c.First, c.Last, c.Expires = fromMillis(first), fromMillis(last), fromMillis(expires)
		out = append(out, c)
		return nil
	}, args...)
	return out, err
}

// RefusedCopies implements release.RefusedRows. Cost: limit rows by index;
// without a project all rows, of which there are few.
func (s *Store) RefusedCopies(ctx context.Context, project string, limit int) ([]release.RefusedCopy, error) {
	const order = " ORDER BY f.last DESC, f.digest, f.version LIMIT ?"
	if project == "" {
		return s.refused(ctx, selectRefused+order, limit)
	}
	return s.refused(ctx, selectRefused+" WHERE f.project = ?"+order, project, limit)
}

// RefusedDigest implements release.RefusedRows. Cost: the rows of one digest.
func (s *Store) RefusedDigest(ctx context.Context, digest string) ([]release.RefusedCopy, error) {
	return s.refused(ctx, selectRefused+" WHERE f.digest = ? ORDER BY f.project, f.chart, f.version", digest)
}

// RefusedOldest implements release.RefusedRows. Cost: all rows.
func (s *Store) RefusedOldest(ctx context.Context, limit int) ([]release.RefusedCopy, error) {
	var out []release.RefusedCopy
	err := s.query(ctx, "SELECT digest, MAX(size), MAX(last), MAX(expires) FROM refused GROUP BY digest ORDER BY MAX(last), digest LIMIT ?", func(r scanner) error {
		var c release.RefusedCopy
		var last, expires int64
		if err := r.Scan(&c.Digest, &c.Size, &last, &expires); err != nil {
			return err
		}
		c.Last, c.Expires = fromMillis(last), fromMillis(expires)
		out = append(out, c)
		return nil
	}, limit)
	return out, err
}

// RefusedBytes implements release.RefusedRows. Cost: all rows.
func (s *Store) RefusedBytes(ctx context.Context) (int64, error) {
	var n int64
	err := s.queryRow(ctx, "SELECT COALESCE(SUM(size), 0) FROM (SELECT MAX(size) AS size FROM refused GROUP BY digest) d").Scan(&n)
	return n, fault("count copies", err)
}

// ForgetRefused implements release.RefusedRows. Cost: the rows of one digest.
func (s *Store) ForgetRefused(ctx context.Context, digest string) error {
	return s.write(ctx, false, func(b *batch) error {
		_, err := b.w.exec(b.ctx, "DELETE FROM refused WHERE digest = ?", digest)
		return err
	})
}
