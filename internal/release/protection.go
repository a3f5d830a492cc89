package release

import (
	"context"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
)

// EraseAfter is how long the bytes of a large blob stay after the tombstone
// that removes them: longer than anybody takes from seeing that they are not to
// go (Protection.Erasing) to naming them in a transaction.
const EraseAfter = 5 * time.Minute

// ProjectUpdate is what becomes of a project when its settings change.
type ProjectUpdate struct {
	Project Project
	// PolicyChange is tlog.PolicyStricter or PolicyWeaker where the project
	// has another policy now, else "".
	PolicyChange string
	// Request is what needs a second person instead, or nil.
	Request *Request
	// Shown says that something but the policy changed.
	Shown bool
}

// Protection keeps what needs a second person: quarantines, requests,
// tombstones. Its rules are CheckQuarantine, CheckVerdict and the function that
// SetProject is given; the store asks them inside the transaction, with what
// only it can know.
type Protection interface {
	// Quarantine takes a step of a quarantine, with its leaf and audit event,
	// and says how the release stands then. Cost: a few rows.
	Quarantine(ctx context.Context, ch *QuarantineChange) (Release, error)
	// Withheld lists what is in quarantine or has a tombstone, by log index.
	// Cost: these, by an index of their own.
	Withheld(ctx context.Context) ([]Release, error)

	// ReleasesWith lists the releases whose archive or manifest has a digest,
	// by log index, at most limit. Cost: these, by index.
	ReleasesWith(ctx context.Context, digest string, limit int) ([]Release, error)
	// CheckWithheld returns the refusal of RefuseWithheld when a tag or a digest
	// of a repository is of a release in quarantine or under a tombstone. One
	// look-up by key.
	CheckWithheld(ctx context.Context, repository, ref string) error

	// SetProject changes visibility, policy or the id on Artifact Hub. change
	// sees the project under the transaction's lock, and whether anything was
	// released in it. A change of the policy has a leaf of its own, and ends
	// what was asked for about the policy before.
	SetProject(ctx context.Context, name string, ev audit.Event, now time.Time, change func(p Project, released bool) (ProjectUpdate, error)) (Project, *Request, error)

	// CreateRequest refuses (problem.Conflict) a second open request of a kind
	// for the same thing.
	CreateRequest(ctx context.Context, r Request, ev audit.Event) (Request, error)
	// Decide settles a request. What it approves takes effect in the same
	// transaction, or when Due finds that its time has come.
	Decide(ctx context.Context, v *Verdict) (Request, error)
	Request(ctx context.Context, id int64) (Request, error)
	// Requests lists requests, newest first. Cost: the open ones by an index,
	// or all of them, which people made one by one.
	Requests(ctx context.Context, f RequestFilter) ([]Request, error)

	// Due does what has come due of quarantines and requests, at most limit of
	// each, and says how much that was. Each is a transaction of its own that
	// looks again, so that any number of processes may call it, and one that
	// fails keeps no other waiting. Cost when nothing is due: two look-ups by
	// index.
	Due(ctx context.Context, now time.Time, limit int) (int, error)

	// Erasing says whether a large blob is about to be removed. Whoever stores
	// one asks after the bytes have come and before he makes them durable, and
	// waits when it is: the bytes go at least EraseAfter later than the first
	// yes, and not when something names them then. One look-up by key.
	Erasing(ctx context.Context, digest string) (bool, error)
	// Erasures lists blobs that are to be removed by now.
	Erasures(ctx context.Context, now time.Time, limit int) ([]string, error)
	// NeededBy names the releases and repositories that need a large blob, the
	// first ten of each. Cost: look-ups by index.
	NeededBy(ctx context.Context, digest string) ([]string, error)
	// SettleErasure notes that a blob is gone, or what kept it.
	SettleErasure(ctx context.Context, digest, kept string, now time.Time) error
	// ErasedBlob says whether the bytes of a digest were removed on purpose.
	ErasedBlob(ctx context.Context, digest string) (bool, error)
}
