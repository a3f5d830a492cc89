package tlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
	sumdb "golang.org/x/mod/sumdb/tlog"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// MaxCheckpoint is the largest signed checkpoint in bytes that is read. It
// holds the 16 post-quantum signatures that signed-note asks verifiers to
// bear, each nearly 5 kB before Base 64.
const MaxCheckpoint = 128 << 10

// maxOrigin bounds the origin, and with it the key name, in bytes.
const maxOrigin = 255

// Checkpoint is a log's statement that its tree of Size leaves has this Root.
type Checkpoint struct {
	Origin string // names the log; also the name of its key
	Size   int64
	Root   Hash
	Note   []byte // the whole signed text, as received
}

// SignCheckpoint returns the signed checkpoint of a tree (tlog-checkpoint,
// "Note text"). One of the signers is the log itself: its name is the origin.
//
// A log must never sign two inconsistent checkpoints; that the tree only grew
// is the caller's promise.
func SignCheckpoint(origin string, size int64, root Hash, signers ...note.Signer) ([]byte, error) {
	if err := checkOrigin(origin); err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	if size < 0 || size > MaxSize {
		return nil, fmt.Errorf("sign checkpoint: size %d is not between 0 and %d", size, int64(MaxSize))
	}
	own := false
	for _, s := range signers {
		own = own || s.Name() == origin
	}
	if !own {
		return nil, fmt.Errorf("sign checkpoint: no signer has the name of the origin %q", origin)
	}
	body := log.Checkpoint{Origin: origin, Size: uint64(size), Hash: root[:]}.Marshal()
	text, err := note.Sign(&note.Note{Text: string(body)}, signers...)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	return text, nil
}

// OpenCheckpoint reads a signed checkpoint and checks its signatures: every
// signature by a known key holds, and one of them is by a key with the name of
// the checkpoint's origin. An empty origin accepts any log whose key is known.
//
// Disproven when a signature is false, when no known key of the log signed, or
// when the checkpoint is another log's. Invalid when the text is no checkpoint.
func OpenCheckpoint(text []byte, origin string, verifiers note.Verifiers) (Checkpoint, error) {
	cp, err := ParseCheckpoint(text)
	if err == nil {
		err = cp.open(origin, verifiers)
	}
	if err != nil {
		return Checkpoint{}, err
	}
	return cp, nil
}

// OpenForeignCheckpoint is OpenCheckpoint for whoever signs or reads
// checkpoints of any log: it takes extension lines too. Nothing is known of
// what they say.
func OpenForeignCheckpoint(text []byte, origin string, verifiers note.Verifiers) (Checkpoint, error) {
	cp, err := ParseForeignCheckpoint(text)
	if err == nil {
		err = cp.open(origin, verifiers)
	}
	if err != nil {
		return Checkpoint{}, err
	}
	return cp, nil
}

// open checks the signatures of a checkpoint that was parsed.
func (cp Checkpoint) open(origin string, verifiers note.Verifiers) error {
	if origin != "" && cp.Origin != origin {
		return problem.New(problem.Disproven, "checkpoint-origin", "this is a checkpoint of another log").
			With("expected origin", "%s", origin).With("origin", "%s", cp.Origin)
	}
	signed, err := note.Open(cp.Note, verifiers)
	if _, unsigned := errors.AsType[*note.UnverifiedNoteError](err); unsigned {
		return notSigned(cp)
	}
	if err != nil {
		return problem.New(problem.Disproven, "checkpoint-signature", "a signature of the checkpoint does not hold").
			With("origin", "%s", cp.Origin).With("log size", "%d", cp.Size).Because(err)
	}
	for _, sig := range signed.Sigs {
		if sig.Name == cp.Origin {
			return nil
		}
	}
	return notSigned(cp)
}

func notSigned(cp Checkpoint) error {
	return problem.New(problem.Disproven, "checkpoint-unsigned", "the checkpoint is not signed by a known key of its log").
		With("origin", "%s", cp.Origin).With("log size", "%d", cp.Size)
}

// ParseCheckpoint reads a checkpoint without checking any signature: what it
// returns is a claim, fit for showing and for routing, not for trusting.
// Invalid when the text is not the one spelling of a checkpoint, carries
// extension lines or is over MaxCheckpoint.
func ParseCheckpoint(text []byte) (Checkpoint, error) {
	return parseCheckpoint(text, false)
}

// ParseForeignCheckpoint is ParseCheckpoint with extension lines allowed.
func ParseForeignCheckpoint(text []byte) (Checkpoint, error) {
	return parseCheckpoint(text, true)
}

func parseCheckpoint(text []byte, extensions bool) (Checkpoint, error) {
	if len(text) > MaxCheckpoint {
		return Checkpoint{}, badCheckpoint("it has more than %d bytes", MaxCheckpoint)
	}
	_, err := note.Open(text, note.VerifierList())
	opened, ok := errors.AsType[*note.UnverifiedNoteError](err)
	if !ok {
		return Checkpoint{}, badCheckpoint("it is not a signed note")
	}
	var body log.Checkpoint
	rest, err := body.Unmarshal([]byte(opened.Note.Text))
	switch {
	case err != nil || len(body.Hash) != sumdb.HashSize:
		return Checkpoint{}, badCheckpoint("it does not name an origin, a size and a root hash")
	case body.Size > MaxSize:
		return Checkpoint{}, badCheckpoint("its size is over %d leaves", int64(MaxSize))
	case !extensions && len(rest) > 0, strings.HasPrefix(string(rest), "\n"), strings.Contains(string(rest), "\n\n"),
		string(body.Marshal())+string(rest) != opened.Note.Text:
		return Checkpoint{}, badCheckpoint("it has extension lines or an unusual spelling")
	}
	return Checkpoint{
		Origin: body.Origin,
		Size:   int64(body.Size),
		Root:   Hash(body.Hash),
		Note:   bytes.Clone(text),
	}, nil
}

func badCheckpoint(format string, args ...any) error {
	return problem.New(problem.Invalid, "checkpoint-malformed", "this is not a checkpoint: "+format, args...)
}

// checkOrigin keeps origins to what every reader of notes takes as a key name.
func checkOrigin(origin string) error {
	if origin == "" || len(origin) > maxOrigin {
		return problem.New(problem.Invalid, "log-origin", "a log's origin has 1 to %d characters", maxOrigin)
	}
	if i := strings.IndexFunc(origin, func(r rune) bool { return r <= ' ' || r > '~' || r == '+' }); i >= 0 {
		return problem.New(problem.Invalid, "log-origin", "the log's origin %q has a character that is not allowed: only printable ASCII without space and plus is", origin).
			Suggest("use a host and path without scheme, such as charts.example.com/log")
	}
	return nil
}

// GenerateKey makes an Ed25519 key pair for the log with the name (which is
// its origin), in the encodings of signed-note: skey signs and is secret, vkey
// ("Verifier keys") verifies. rand is read for 32 bytes.
func GenerateKey(rand io.Reader, name string) (skey, vkey string, err error) {
	if err := checkOrigin(name); err != nil {
		return "", "", err
	}
	skey, vkey, err = note.GenerateKey(rand, name)
	if err != nil {
		return "", "", fmt.Errorf("generate log key: %w", err)
	}
	return skey, vkey, nil
}

// NewSigner reads a signing key; space around it is ignored, since it often
// comes from a file. The key never appears in an error.
func NewSigner(skey string) (note.Signer, error) {
	s, err := note.NewSigner(strings.TrimSpace(skey))
	if err != nil {
		return nil, problem.New(problem.Invalid, "log-signing-key", "this is not a signing key of a log").
			Suggest("give the one line that begins with PRIVATE+KEY+").Because(err)
	}
	return s, nil
}

// NewVerifier reads a verifier key; space around it is ignored.
func NewVerifier(vkey string) (note.Verifier, error) {
	v, err := note.NewVerifier(strings.TrimSpace(vkey))
	if err != nil {
		return nil, problem.New(problem.Invalid, "log-key", "this is not a log key").
			Suggest("give the one line of the form <origin>+<8 hex digits>+<key>, as in the server's log.vkey").Because(err)
	}
	return v, nil
}
