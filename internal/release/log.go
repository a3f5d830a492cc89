package release

import (
	"context"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// LogInfo describes the log as it stands. It is public.
func (s *Service) LogInfo(ctx context.Context) (LogInfo, error) { return s.store.LogInfo(ctx) }

// Rotations lists how the log went from key to key. It is public: whoever
// knows an old key has to find the new one.
func (s *Service) Rotations(ctx context.Context) ([]Rotation, error) { return s.store.Rotations(ctx) }

// Tile returns width hashes of a tile. Hashes are public.
func (s *Service) Tile(ctx context.Context, level int, n int64, width int) ([]byte, error) {
	return s.store.Tile(ctx, level, n, width)
}

// MayReadLog asks for the right to read leaves: they name private charts.
func (s *Service) MayReadLog(ctx context.Context, c Caller) error {
	return s.AllowInstance(ctx, c, access.LogRead)
}

// Entries returns leaves. Whoever calls it has asked MayReadLog before: the
// tiles' door does so for every bundle.
func (s *Service) Entries(ctx context.Context, n int64, width int) ([][]byte, error) {
	return s.store.Entries(ctx, n, width)
}

// Leaf returns one leaf to whoever may read the log, or the project that the
// leaf is about.
func (s *Service) Leaf(ctx context.Context, c Caller, index int64) ([]byte, error) {
	entry, err := s.store.Leaf(ctx, index)
	if err != nil {
		return nil, err // also "not found": the size of the log is public
	}
	if s.mayReadLeaf(ctx, c, entry) {
		return entry, nil
	}
	return nil, s.refuse(ctx, c, access.Request{Action: access.LogRead})
}

// mayReadLeaf decides without a trace: what cannot be decided is no.
func (s *Service) mayReadLeaf(ctx context.Context, c Caller, entry []byte) bool {
	if s.permits(c, access.Request{Action: access.LogRead}) {
		return true
	}
	leaf, err := tlog.ParseLeaf(entry)
	if err != nil {
		return false
	}
	name := leafProject(leaf)
	if name == "" {
		return false
	}
	p, err := s.store.ProjectFor(ctx, name)
	return err == nil && p.Name == name && p.State != ProjectRemoved &&
		s.permits(c, access.Request{Action: access.ChartPull, Project: p.Name, ProjectPublic: p.Public})
}

// ProveLeaf returns a leaf with its proof, under the rights of Leaf.
func (s *Service) ProveLeaf(ctx context.Context, c Caller, index int64) (tlog.Proof, error) {
	p, err := s.store.Prove(ctx, index)
	if err != nil {
		return tlog.Proof{}, err
	}
	if !s.mayReadLeaf(ctx, c, p.Leaf) {
		// Looking at the next leaf of a page is no attempt to record.
		return tlog.Proof{}, access.Refuse(c.Principal, access.Request{Action: access.LogRead}, s.now())
	}
	return p, nil
}

// LatestLeaves returns up to limit leaves before an index (0: the end of the
// log), the newest first, and the index of the first of them. A leaf that the
// caller may not read is nil. Cost: two bundles of 256 leaves at most.
func (s *Service) LatestLeaves(ctx context.Context, c Caller, before int64, limit int) (int64, [][]byte, error) {
	info, err := s.store.LogInfo(ctx)
	if err != nil {
		return 0, nil, err
	}
	if before <= 0 || before > info.Size {
		before = info.Size
	}
	limit = min(limit, 256)
	var out [][]byte
	for at := before; at > 0 && len(out) < limit; {
		n := (at - 1) / 256
		bundle, err := s.store.Entries(ctx, n, int(at-n*256))
		if err != nil {
			return 0, nil, err
		}
		for i := len(bundle) - 1; i >= 0 && len(out) < limit; i-- {
			if s.mayReadLeaf(ctx, c, bundle[i]) {
				out = append(out, bundle[i])
			} else {
				out = append(out, nil)
			}
		}
		at = n * 256
	}
	return before - 1, out, nil
}

// leafProject is the project that a leaf is about. One that is about none, such
// as an anchor of the audit log or what was observed of an upstream, is for
// those alone who may read the log as a whole.
func leafProject(leaf tlog.Leaf) string {
	switch l := leaf.(type) {
	case tlog.Release:
		return l.Project
	case tlog.Legacy:
		return l.Project
	case tlog.Attach:
		return l.Project
	case tlog.Yank:
		return l.Project
	case tlog.Unyank:
		return l.Project
	case tlog.Project:
		return l.Name
	case tlog.Policy:
		return l.Project
	case tlog.Quarantine:
		return l.Project
	case tlog.Tombstone:
		return l.Project
	}
	return ""
}

// Consistency proves that the log of one size continues the log of another.
func (s *Service) Consistency(ctx context.Context, old, size int64) ([]tlog.Hash, error) {
	return s.store.Consistency(ctx, old, size)
}

// Audit lists audit events, newest first. Whoever may read the audit trail of
// one project alone has to name it.
func (s *Service) Audit(ctx context.Context, c Caller, f AuditFilter) ([]AuditRecord, error) {
	req := access.Request{Action: access.AuditRead, Project: f.Project}
	if !s.permits(c, req) {
		return nil, s.refuse(ctx, c, req)
	}
	return s.store.AuditRecords(ctx, f)
}
