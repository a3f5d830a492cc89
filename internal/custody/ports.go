package custody

import (
	"context"
	"iter"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Log names one of the two logs of a database.
type Log string

// The logs.
const (
	Releases Log = "release"
	Audits   Log = "audit"
)

// Logs are both logs, in the order in which they are recovered: what audit
// events tell of may need projects that the release log makes.
var Logs = [...]Log{Releases, Audits}

// Records keeps small named records that are made only once. Package
// storetest holds the suite that every implementation passes.
type Records interface {
	// PutRecord keeps bytes under a name, durably. The same bytes again are no
	// error, other bytes are problem.Conflict.
	PutRecord(ctx context.Context, name string, data []byte) error
	// Record reads a record of at most limit bytes: problem.NotFound,
	// problem.TooLarge.
	Record(ctx context.Context, name string, limit int64) ([]byte, error)
	// RecordNames lists what is directly in a folder, in the order of bytes,
	// after a name. A folder that is not there is empty.
	RecordNames(ctx context.Context, folder, after string, limit int) ([]string, error)
	// RemoveRecord removes a record that another one holds as well.
	RemoveRecord(ctx context.Context, name string) error
}

// Database is the database as its custodian knows it. All methods but Recover
// may be called while it is used.
type Database interface {
	// LogHead is the newest committed checkpoint of a log, read from the
	// database and not from memory.
	LogHead(ctx context.Context, log Log) (tlog.Checkpoint, error)
	// LogSize is how many leaves of a log are committed: more than LogHead has
	// while the newest wait for the signature of another process.
	LogSize(ctx context.Context, log Log) (int64, error)
	// LogEdge is the edge that the tree of a log had at a size, made from the
	// stored hashes. Cost: at most 255 rows a level.
	LogEdge(ctx context.Context, log Log, size int64) (*tlog.Edge, error)
	// LogLeaves reads the leaves [from, to) of a log.
	LogLeaves(ctx context.Context, log Log, from, to int64) ([][]byte, error)
	// Beside reads what leaves do not hold and a recovery needs. leaves are
	// those of the log from index from on. Cost: about five look-ups a leaf.
	Beside(ctx context.Context, log Log, from int64, leaves [][]byte) ([]Aside, error)

	// KeptBefore says whether SetKept was ever called: whether records of this
	// database have been kept.
	KeptBefore(ctx context.Context) (bool, error)
	SetKept(ctx context.Context) error

	// Untold returns those of the names of notices that were not told yet.
	Untold(ctx context.Context, names []string) ([]string, error)
	// Tell records the event of a notice, unless that was done before.
	Tell(ctx context.Context, name string, ev audit.Event) error

	// Recover replays leaves in one transaction: when it returns nil both logs
	// stand at the checkpoints given, and else nothing has changed. It fails
	// when a log does not stand where its part begins, or when the replayed
	// leaves do not lead to the checkpoint.
	Recover(ctx context.Context, parts []Part) error
}

// Part is what a recovery replays of one log.
type Part struct {
	Log   Log
	From  int64           // the size at which the database stands
	To    tlog.Checkpoint // where it will stand; its note becomes the signed head
	Steps iter.Seq2[Step, error]
}

// Step is one leaf with what has to be made of it.
type Step struct {
	Index int64
	Entry []byte
	// Leaf is the parsed entry of the release log, nil for one of a type that
	// this version does not know; Event that of the audit log.
	Leaf  tlog.Leaf
	Event audit.Event
	Aside Aside
	// Release is set for a Release or Legacy leaf.
	Release *Released
}

// Released is a release as its leaf, the records and its archive give it back.
type Released struct {
	Row      release.Release
	Fragment []byte            // its entry in the index; empty when the archive is gone
	Manifest *release.Manifest // nil when its bytes are gone
	Links    []release.Link
}

// Blobs opens archives by digest.
type Blobs interface {
	Open(ctx context.Context, digest string) (release.BlobFile, error)
	Stat(ctx context.Context, digest string) (int64, error)
}
