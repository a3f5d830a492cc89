package tlog

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
	sumdb "golang.org/x/mod/sumdb/tlog"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// MaxHead bounds the text of a head, in bytes: an origin, a size and a root.
const MaxHead = 512

// HeadText is the text of a checkpoint before anybody signed it
// (tlog-checkpoint, "Note text"): what a signer in another process is asked for.
func HeadText(origin string, size int64, root Hash) ([]byte, error) {
	if err := checkOrigin(origin); err != nil {
		return nil, err
	}
	if size < 0 || size > MaxSize {
		return nil, fmt.Errorf("write head: size %d is not between 0 and %d", size, int64(MaxSize))
	}
	return log.Checkpoint{Origin: origin, Size: uint64(size), Hash: root[:]}.Marshal(), nil
}

// ParseHeadText reads what HeadText writes; nobody signed it, and Note is nil.
// Invalid when the text is not the one spelling of a head.
func ParseHeadText(text []byte) (Checkpoint, error) {
	bad := func(why string) (Checkpoint, error) {
		return Checkpoint{}, problem.New(problem.Invalid, "head-malformed", "this is not the head of a log: %s", why)
	}
	if len(text) > MaxHead {
		return bad("it is too long")
	}
	var body log.Checkpoint
	rest, err := body.Unmarshal(text)
	switch {
	case err != nil || len(body.Hash) != sumdb.HashSize:
		return bad("it does not name an origin, a size and a root hash")
	case body.Size > MaxSize:
		return bad("its size is too large")
	case len(rest) > 0 || string(body.Marshal()) != string(text):
		return bad("it has more lines or an unusual spelling")
	}
	if err := checkOrigin(body.Origin); err != nil {
		return Checkpoint{}, err
	}
	return Checkpoint{Origin: body.Origin, Size: int64(body.Size), Root: Hash(body.Hash)}, nil
}

// SignedSize is the error of a signer whose last checkpoint has another size
// than the one that it was asked to go on from.
type SignedSize struct{ Size int64 }

func (e *SignedSize) Error() string {
	return fmt.Sprintf("the signer of the log has signed %d leaves", e.Size)
}

// VerifierKeyOf is the public half of a signing key. The key never appears in an
// error.
func VerifierKeyOf(skey string) (string, error) {
	bad := problem.New(problem.Invalid, "log-signing-key", "this is not a signing key of a log").
		Suggest("give the one line that begins with PRIVATE+KEY+")
	// PRIVATE+KEY+<name>+<hash>+<base64 of algorithm and seed> (signed-note).
	parts := strings.SplitN(strings.TrimSpace(skey), "+", 5)
	if len(parts) != 5 {
		return "", bad
	}
	seed, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || len(seed) != 1+ed25519.SeedSize {
		return "", bad
	}
	if _, err := note.NewSigner(strings.TrimSpace(skey)); err != nil {
		return "", bad
	}
	vkey, err := note.NewEd25519VerifierKey(parts[2], ed25519.NewKeyFromSeed(seed[1:]).Public().(ed25519.PublicKey))
	if err != nil {
		return "", bad
	}
	return vkey, nil
}
