package release

import (
	"context"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Witnessings keeps what witnesses said of the log, for all replicas.
type Witnessings interface {
	// Cosigned returns the newest checkpoints that were cosigned. Once a size
	// was returned, no later call on any replica returns a smaller one. Cost:
	// two rows, on SQLite from memory.
	Cosigned(ctx context.Context) (Cosigned, error)
	// KeepCosigned adds to the checkpoint of a size. join is called inside the
	// transaction with the note that is kept of that very size, nil when there
	// is none, and returns what is to be kept, and whether it meets the quorum;
	// its error is returned as it is. It may be called more than once. A newer
	// checkpoint that is kept stays, in either place.
	KeepCosigned(ctx context.Context, size int64, join func(kept []byte) (note []byte, quorum bool, err error)) error

	// WitnessStates returns the state of every witness that was ever asked, by
	// its verifier key. Cost: all of them, which are a handful.
	WitnessStates(ctx context.Context) (map[string]WitnessState, error)
	// SetWitnessState keeps a state; change sees the one that is kept and
	// returns the new one with what happened: an event is recorded in the same
	// transaction. Without an event it is soft. It may be called more than once.
	SetWitnessState(ctx context.Context, vkey string, now time.Time, change func(WitnessState) (WitnessState, *audit.Event)) error
	// LeaseWitnesses makes a process the one that asks the witnesses until a
	// time, unless another one is. Soft.
	LeaseWitnesses(ctx context.Context, holder string, now, until time.Time) (bool, error)
}

// Cosigned are checkpoints as notes with their cosignatures; nil where there is
// none yet.
type Cosigned struct {
	Newest     []byte // that any witness cosigned
	NewestSize int64
	Quorum     []byte // that met the quorum when it was kept
	QuorumSize int64
}

// WitnessState is how it stands with one witness.
type WitnessState struct {
	Size     int64     `json:"size"`              // it cosigned last, or said that it did
	Cosigned time.Time `json:"cosigned,omitzero"` // when we last got a cosignature; zero for never
	Asked    time.Time `json:"asked,omitzero"`    // when it was last asked
	// Failure says why the last question brought no cosignature, "" when it
	// did; Since is when the first of these questions was.
	Failure string    `json:"failure,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	// Refusal is set when that was no accident: the witness answered, and
	// will not sign. It is one of the words below, with what it depends on.
	Refusal string `json:"refusal,omitempty"`
}

// Witness asks a witness over the network. Every answer of the protocol is an
// answer; errors say that there was none. What was answered is not checked.
type Witness interface {
	AddCheckpoint(ctx context.Context, prefix string, r tlog.WitnessRequest) (tlog.WitnessAnswer, error)
}
