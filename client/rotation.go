package client

import (
	"context"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Rotation is how a log went from one key to another, as its server says.
// FollowKey proves it.
type Rotation struct {
	LogIndex int64     `json:"log_index"`
	Old      string    `json:"old"` // verifier keys
	New      string    `json:"new"`
	Until    time.Time `json:"until"` // from when on the old key signs no more
	Proof    string    `json:"proof,omitempty"`
}

// Rotations lists how the log went from key to key, oldest first.
func (c *Client) Rotations(ctx context.Context) ([]Rotation, error) {
	var l List[Rotation]
	err := c.get(ctx, "/log/rotations", nil, "log-rotation-list/v1", &l)
	return l.Items, err
}

// maxRotations bounds how many keys are followed.
const maxRotations = 100

// FollowKey goes from a key that is trusted to the one that signs the log now.
// Each step is proven by the key before: it signed a checkpoint of the log that
// has the leaf of the rotation. It returns the steps, none when the key is the
// present one or the list does not know it.
//
// Disproven when a step is not proven by the key that is trusted so far.
func FollowKey(key string, list []Rotation) ([]Rotation, error) {
	trusted, err := tlog.NewVerifier(key)
	if err != nil {
		return nil, err
	}
	if len(list) > maxRotations {
		return nil, problem.New(problem.Unavailable, "answer", "the server lists %d rotations of its key, more than are followed", len(list))
	}
	var steps []Rotation
	for _, r := range list {
		old, err := tlog.NewVerifier(r.Old)
		if err != nil || old.KeyHash() != trusted.KeyHash() || r.Old != key {
			continue
		}
		if err := r.prove(trusted); err != nil {
			return nil, err
		}
		if trusted, err = tlog.NewVerifier(r.New); err != nil {
			return nil, err
		}
		key = r.New
		steps = append(steps, r)
	}
	return steps, nil
}

// prove checks that a trusted key says what a rotation says.
func (r *Rotation) prove(trusted note.Verifier) error {
	bad := func(err error, format string, args ...any) error {
		return problem.New(problem.Disproven, "rotation", format, args...).With("old key", "%s", r.Old).With("new key", "%s", r.New).
			Suggest("trust neither; ask whoever runs the log on another way").Because(err)
	}
	if r.Proof == "" {
		return problem.New(problem.Unavailable, "rotation", "the server has no proof yet that the log goes to another key").
			Suggest("try again in a minute")
	}
	p, err := tlog.ParseProof([]byte(r.Proof))
	if err != nil {
		return asAnswerOfServer(err)
	}
	_, leaf, err := p.Verify(trusted.Name(), note.VerifierList(trusted))
	if err != nil {
		return bad(err, "the old key does not say that the log goes to another key")
	}
	said, ok := leaf.(tlog.Rotation)
	if !ok || said.Old != r.Old || said.New != r.New || !said.Until.Equal(r.Until) {
		return bad(nil, "the log says something else of its keys than the server")
	}
	v, err := tlog.NewVerifier(said.New)
	if err != nil || v.Name() != trusted.Name() {
		return bad(err, "the new key is not one of the log %s", trusted.Name())
	}
	return nil
}

func asAnswerOfServer(err error) error {
	return problem.New(problem.Unavailable, "answer", "the server's answer is not understood").Because(err)
}
