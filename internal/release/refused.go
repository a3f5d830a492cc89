package release

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// RefusedConfig is how copies of what was refused are kept.
type RefusedConfig struct {
	// Copies keeps the bytes, where no door looks; nil keeps none.
	Copies CopyStore
	Rows   RefusedRows
	Keep   time.Duration // from the last offer on; 0 keeps none
	// Each and Total bound a copy and all of them, in bytes; 0 are the defaults.
	Each, Total int64
}

// The default bounds of copies, in bytes.
const (
	maxRefusedEach  = 32 << 20
	maxRefusedTotal = 1 << 30
)

// CopyStore is a store of blobs that forgets.
type CopyStore interface {
	Blobs
	Delete(ctx context.Context, digest string) error
	List(ctx context.Context, fn func(digest string, size int64, modified time.Time) error) error
}

// RefusedCopy is an archive that was offered for a released version.
type RefusedCopy struct {
	Digest  string    `json:"digest"`
	Project string    `json:"project"`
	Chart   string    `json:"chart"`
	Version string    `json:"version"`
	Size    int64     `json:"size"`
	Door    string    `json:"door"`
	Actor   string    `json:"actor"`      // account id of who offered it last
	By      string    `json:"actor_name"` // joined at read time
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Times   int       `json:"times"`
	Expires time.Time `json:"expires"`
}

// RefusedRows keeps what is known of the copies. None of it is the only record
// of anything: the audit trail has the offers. Writes are soft.
type RefusedRows interface {
	// NoteRefused adds an offer; the same digest for the same release again is
	// counted.
	NoteRefused(ctx context.Context, c RefusedCopy) error
	// RefusedCopies lists what was offered in a project ("" for all), the
	// newest first. Cost: limit rows by index, or all rows where project is "".
	RefusedCopies(ctx context.Context, project string, limit int) ([]RefusedCopy, error)
	// RefusedDigest lists the releases that a digest was offered for.
	RefusedDigest(ctx context.Context, digest string) ([]RefusedCopy, error)
	// RefusedOldest lists digests whose last offer is longest ago, limit at
	// most, with their sizes and when the last of their rows ends.
	RefusedOldest(ctx context.Context, limit int) ([]RefusedCopy, error)
	// RefusedBytes is the size of all copies. Cost: all rows, which the bound
	// of their bytes keeps few.
	RefusedBytes(ctx context.Context) (int64, error)
	// ForgetRefused removes all rows of a digest.
	ForgetRefused(ctx context.Context, digest string) error
}

// What an audit event says of the copy.
const (
	copyKept  = "kept"
	copyLarge = "not kept: too large"
)

// refusedCopies serialises the keeping, so that one copy at a time is in
// memory and the bound of all of them holds.
type refusedCopies struct {
	RefusedConfig
	mu sync.Mutex
}

// keepRefused keeps a copy of an archive that is about to be refused, and
// returns what the audit event says of it, "" when it could not be kept. It
// never fails: a refusal stays one, whatever becomes of the copy.
func (s *Service) keepRefused(ctx context.Context, claim *Claim) string {
	q, r := s.refusedCopies, &claim.Release
	switch {
	case q.Copies == nil || q.Keep <= 0 || claim.offered == nil:
		return ""
	case r.Size > q.Each:
		return copyLarge
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	err := q.store(ctx, r, claim.offered)
	if err == nil {
		now := s.now()
		err = q.Rows.NoteRefused(ctx, RefusedCopy{
			Digest: r.Archive, Project: r.Project, Chart: r.Chart, Version: r.Version, Size: r.Size, Door: r.Door, Actor: r.Publisher,
			First: now, Last: now, Times: 1, Expires: now.Add(q.Keep),
		})
	}
	if err != nil {
		s.log.WarnContext(ctx, "keep a copy of what was refused", "release", r.Ref(), "offered", r.Archive, "error", err)
		return ""
	}
	return copyKept
}

// store makes room and stores the bytes, unless they are there.
func (q *refusedCopies) store(ctx context.Context, r *Release, offered func(limit int64) ([]byte, error)) error {
	_, err := q.Copies.Stat(ctx, r.Archive)
	if err == nil || problem.KindOf(err) != problem.NotFound {
		return err
	}
	held, err := q.Rows.RefusedBytes(ctx)
	if err != nil {
		return err
	}
	for held+r.Size > q.Total {
		oldest, err := q.Rows.RefusedOldest(ctx, 1)
		if err != nil {
			return err
		}
		if len(oldest) == 0 {
			break
		}
		if err := q.forget(ctx, oldest[0].Digest); err != nil {
			return err
		}
		held -= oldest[0].Size
	}
	b, err := offered(q.Each)
	if err != nil {
		return err
	}
	u, err := q.Copies.Begin(ctx)
	if err != nil {
		return err
	}
	defer u.Cancel()
	if _, err := u.Write(b); err != nil {
		return err
	}
	_, _, err = u.Commit(ctx, r.Archive)
	return err
}

// forget removes a copy: its rows first, so that none ever names bytes that
// are gone.
func (q *refusedCopies) forget(ctx context.Context, d string) error {
	if err := q.Rows.ForgetRefused(ctx, d); err != nil {
		return err
	}
	return q.Copies.Delete(ctx, d)
}

// SweepRefused removes copies that are over their time, and bytes that no row
// knows, as a crash in between leaves. It is called about once an hour. Cost:
// all copies.
func (s *Service) SweepRefused(ctx context.Context) error {
	q, now := s.refusedCopies, s.now()
	if q.Copies == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		const page = 100
		oldest, err := q.Rows.RefusedOldest(ctx, page)
		if err != nil {
			return err
		}
		gone := 0
		for _, c := range oldest {
			if c.Expires.After(now) {
				continue
			}
			if err := q.forget(ctx, c.Digest); err != nil {
				return err
			}
			gone++
		}
		if gone < page {
			break
		}
	}
	var stray []string
	err := q.Copies.List(ctx, func(d string, _ int64, modified time.Time) error {
		if now.Sub(modified) < time.Hour {
			return nil
		}
		known, err := q.Rows.RefusedDigest(ctx, d)
		if err == nil && len(known) == 0 {
			stray = append(stray, d)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, d := range stray {
		if err := q.Copies.Delete(ctx, d); err != nil {
			return err
		}
	}
	_, err = q.Copies.SweepUploads(ctx, now.Add(-UploadLife))
	return err
}

// RefusedCopies lists what was offered for released versions and is kept, the
// newest first, to whoever may read the audit trail of the project, or with ""
// of all.
func (s *Service) RefusedCopies(ctx context.Context, c Caller, project string, limit int) ([]RefusedCopy, error) {
	req := access.Request{Action: access.AuditRead, Project: project}
	if !s.permits(c, req) {
		return nil, s.refuse(ctx, c, req)
	}
	if s.refusedCopies.Copies == nil {
		return nil, nil
	}
	if limit <= 0 || limit > 1000 {
		limit = 1000
	}
	return s.refusedCopies.Rows.RefusedCopies(ctx, project, limit)
}

// OpenRefused opens what was offered in a project under a digest. Reading
// fails before the end when the bytes are not those of the digest.
func (s *Service) OpenRefused(ctx context.Context, c Caller, project, d string) (RefusedCopy, io.ReadCloser, error) {
	req := access.Request{Action: access.AuditRead, Project: project}
	if !s.permits(c, req) {
		return RefusedCopy{}, nil, s.refuse(ctx, c, req)
	}
	if err := digest.Check(d); err != nil {
		return RefusedCopy{}, nil, err
	}
	none := problem.New(problem.NotFound, "refused-unknown", "no copy of %s is kept that was offered in project %s", d, project).
		Suggest("chartkeep audit refused list --project %s", project)
	if s.refusedCopies.Copies == nil {
		return RefusedCopy{}, nil, none
	}
	rows, err := s.refusedCopies.Rows.RefusedDigest(ctx, d)
	if err != nil {
		return RefusedCopy{}, nil, err
	}
	for _, row := range rows {
		if row.Project != project {
			continue
		}
		f, err := s.refusedCopies.Copies.Open(ctx, d)
		if problem.KindOf(err) == problem.NotFound {
			return row, nil, none
		}
		if err != nil {
			return row, nil, fmt.Errorf("open copy %s: %w", d, err)
		}
		return row, struct {
			io.Reader
			io.Closer
		}{digest.Verified(f, d), f}, nil
	}
	return RefusedCopy{}, nil, none
}
