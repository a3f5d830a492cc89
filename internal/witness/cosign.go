package witness

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// cosigner is one key with what it cosigned.
type cosigner struct {
	kind   string // keyPlain or keyAudit
	key    *tlog.Cosigner
	folder *folder
	logs   map[string]*subject // by origin; the map does not change
	now    func() time.Time
	log    *slog.Logger
	// approve looks at more than the tree before a checkpoint is signed; nil
	// looks at nothing. Its error is the answer. It is called under the
	// subject's lock.
	approve func(ctx context.Context, s *subject, cp tlog.Checkpoint) error
}

// subject is a log as one key knows it.
type subject struct {
	origin string
	known  []tlog.PolicyLog // its keys
	keys   note.Verifiers   // the same
	url    string           // where its entries are read; may be empty

	mu   sync.Mutex                      // held from the check to the new state
	last atomic.Pointer[tlog.Checkpoint] // cosigned last, with the cosignature; nil for never
}

// refusal is an answer that is not a cosignature.
type refusal struct {
	status int
	size   int64 // with 409
	text   string
	again  time.Duration // when to ask again; 0 says nothing
}

func (r *refusal) Error() string { return r.text }

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, text: fmt.Sprintf(format, args...)}
}

// add decides on a request and returns the signature lines. Errors are
// refusals, or faults of this witness. The order of the checks is that of the
// specification.
func (c *cosigner) add(ctx context.Context, body []byte) ([]byte, error) {
	r, err := tlog.ParseWitnessRequest(body)
	if problem.KindOf(err) == problem.TooLarge {
		return nil, refuse(http.StatusRequestEntityTooLarge, "%s", messageOf(err))
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%s", messageOf(err))
	}
	claim, err := tlog.ParseForeignCheckpoint(r.Checkpoint)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%s", messageOf(err))
	}
	s := c.logs[claim.Origin]
	if s == nil {
		return nil, refuse(http.StatusNotFound, "the log %s is not known here", printable(claim.Origin))
	}
	cp, err := tlog.OpenForeignCheckpoint(r.Checkpoint, s.origin, s.keys)
	if err != nil {
		return nil, refuse(http.StatusForbidden, "%s", messageOf(err))
	}
	if r.Old > cp.Size {
		return nil, refuse(http.StatusBadRequest, "the old size %d is over that of the checkpoint, %d", r.Old, cp.Size)
	}
	if c.approve == nil {
		s.mu.Lock()
	} else if !s.mu.TryLock() {
		// Entries are being read, which takes longer than a client waits.
		return nil, &refusal{status: http.StatusServiceUnavailable, text: "the entries of the log are being read for another request", again: time.Second}
	}
	defer s.mu.Unlock()
	if err := s.continues(r, cp); err != nil {
		if err.status == http.StatusUnprocessableEntity {
			// It may be all that there ever is to show of two histories.
			c.log.WarnContext(ctx, "a signed checkpoint does not continue what was cosigned", "log", s.origin, "key", c.key.Name(),
				"reason", err.text, "cosigned", string(s.note()), "offered", string(cp.Note))
		}
		return nil, err
	}
	if c.approve != nil {
		if err := c.approve(ctx, s, cp); err != nil {
			return nil, err
		}
	}
	return c.sign(s, cp)
}

// continues checks a checkpoint against the one that was cosigned last. That an
// empty log has one root, and that nothing proves the step from it, is part of
// VerifyConsistency.
func (s *subject) continues(r tlog.WitnessRequest, cp tlog.Checkpoint) *refusal {
	size, root := int64(0), tlog.EmptyRoot()
	if last := s.last.Load(); last != nil {
		size, root = last.Size, last.Root
	}
	switch {
	case r.Old != size:
		return &refusal{status: http.StatusConflict, size: size, text: fmt.Sprintf("the last checkpoint that was cosigned has %d leaves", size)}
	case tlog.VerifyConsistency(size, root, cp.Size, cp.Root, r.Proof) != nil:
		return refuse(http.StatusUnprocessableEntity, "the proof does not show that the log of %d leaves continues that of %d", cp.Size, size)
	}
	return nil
}

func (s *subject) note() []byte {
	if last := s.last.Load(); last != nil {
		return last.Note
	}
	return nil
}

// sign cosigns a checkpoint, makes it the state, and only then hands the
// cosignature out. When the state could not be made durable, the old one stands
// and nobody has seen the signature.
func (c *cosigner) sign(s *subject, cp tlog.Checkpoint) ([]byte, error) {
	line, err := c.key.Cosign(cp, c.now())
	if err != nil {
		return nil, err
	}
	kept, err := ownSignatures(cp, s.keys)
	if err != nil {
		return nil, err
	}
	kept = kept.WithCosignatures(tlog.Cosignature{Line: line})
	if err := c.folder.writeState(c.kind, kept); err != nil {
		return nil, err
	}
	s.last.Store(&kept)
	return line, nil
}

// ownSignatures is a checkpoint with the signatures of its log that were
// verified, and no others: those are not ours to pass on.
func ownSignatures(cp tlog.Checkpoint, keys note.Verifiers) (tlog.Checkpoint, error) {
	opened, err := note.Open(cp.Note, keys)
	if err != nil {
		return tlog.Checkpoint{}, fmt.Errorf("open checkpoint again: %w", err)
	}
	text := []byte(opened.Text + "\n")
	for _, sig := range opened.Sigs {
		text = fmt.Appendf(text, "— %s %s\n", sig.Name, sig.Base64)
	}
	return tlog.ParseForeignCheckpoint(text)
}

func messageOf(err error) string {
	if p, ok := problem.As(err); ok {
		return printable(p.Message)
	}
	return printable(err.Error())
}
