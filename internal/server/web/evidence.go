package web

import (
	"context"
	"io"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/release"
)

// Evidence is what the pages of the log, of the audit trail and of the server's
// health ask of the registry. The rules of Service hold for its methods, too.
type Evidence interface {
	// AllowInstance asks for a right over the server as a whole.
	AllowInstance(ctx context.Context, c release.Caller, action access.Action) error

	// Checkpoint is the checkpoint that is published; it is public.
	Checkpoint(ctx context.Context) ([]byte, error)
	// Witnessing asks for no right. Where witnesses are, and what they answered,
	// is shown to those alone who may read the log.
	Witnessing(ctx context.Context) (release.Witnessing, error)
	Rotations(ctx context.Context) ([]release.Rotation, error)

	AuditEvent(ctx context.Context, c release.Caller, index int64) (release.ProvenRecord, error)
	ExportAudit(ctx context.Context, c release.Caller, format string, f release.AuditFilter) (lines []byte, next int64, err error)
	OpenRefused(ctx context.Context, c release.Caller, project, digest string) (release.RefusedCopy, io.ReadCloser, error)
	ScrubStatus(ctx context.Context, c release.Caller) (release.ScrubView, error)
}
