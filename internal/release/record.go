package release

import (
	"context"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// ProvenRecord is an audit event with what became of proving it.
type ProvenRecord struct {
	AuditRecord
	Size   int64       // of the audit log's checkpoint that the proof leads to
	Hashes []tlog.Hash // from the event's sibling to the root
	// Doubt says why the event is not proven, nil when it is. Of kind
	// problem.Disproven when the proof does not hold; else it was not checked.
	Doubt error
}

// AuditEvent returns an audit event by its index, to whoever may read the trail
// of its project, or of everything, with its proof as checked against the audit
// log's keys. Somebody else gets the same answer whether there is such an event
// or not. Cost: one row by its key, and the look-ups of a proof.
func (s *Service) AuditEvent(ctx context.Context, c Caller, index int64) (ProvenRecord, error) {
	all := access.Request{Action: access.AuditRead}
	records, err := s.store.AuditRecords(ctx, AuditFilter{From: index, Before: index + 1, Limit: 1})
	if err != nil {
		return ProvenRecord{}, err
	}
	if len(records) == 0 {
		if !s.permits(c, all) {
			return ProvenRecord{}, s.refuse(ctx, c, all)
		}
		if _, err := s.store.ProveEvent(ctx, index); err == nil {
			return ProvenRecord{}, problem.New(problem.Disproven, string(AuditRowMissing), "the audit log has an event %d, and the row is gone by which it is found", index).
				Suggest("chartkeep fsck --data DIR")
		}
		return ProvenRecord{}, problem.New(problem.NotFound, "audit-event", "the audit log has no event %d", index).Suggest("chartkeep audit list")
	}
	r := ProvenRecord{AuditRecord: records[0]}
	project := r.Event.Resource.Project
	if !s.permits(c, all) && (project == "" || !s.permits(c, access.Request{Action: access.AuditRead, Project: project})) {
		return ProvenRecord{}, s.refuse(ctx, c, all)
	}
	r.Size, r.Hashes, r.Doubt = s.proveEvent(ctx, &r.AuditRecord)
	return r, nil
}

func (s *Service) proveEvent(ctx context.Context, r *AuditRecord) (int64, []tlog.Hash, error) {
	if s.scrub.AuditKeys == nil {
		return 0, nil, problem.New(problem.Unsupported, "audit-log", "this server does not know the audit log's key")
	}
	p, err := s.store.ProveEvent(ctx, r.Index)
	if err != nil {
		return 0, nil, err
	}
	cp, err := tlog.OpenCheckpoint(p.Checkpoint, s.name+"/audit", s.scrub.AuditKeys)
	if err != nil {
		return 0, nil, err
	}
	// The leaf that is shown, and not the one of the proof.
	if err := tlog.VerifyInclusion(cp.Root, cp.Size, r.Index, tlog.LeafHash(r.Leaf), p.Hashes); err != nil {
		return 0, nil, err
	}
	return cp.Size, p.Hashes, nil
}
