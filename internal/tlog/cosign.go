package tlog

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// MaxCosignatures is the largest answer of a witness in bytes that is read. It
// holds three post-quantum signatures.
const MaxCosignatures = 16 << 10

// Signature types of signed-note, the first byte of a key's material.
const (
	typeEd25519     = 0x01
	typeCosignature = 0x04 // cosignature/v1 with Ed25519
	typeMLDSA       = 0x06
)

// keyIDSize and timeSize are what stands before the signature proper.
const (
	keyIDSize = 4
	timeSize  = 8
)

// maxCosignTime keeps times to years of four digits, which is as far as JSON
// and RFC 3339 go.
var maxCosignTime = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// Cosigner signs checkpoints of others as cosignature/v1 with Ed25519
// (tlog-cosignature, "Ed25519 signed message"): the statement that, at a time,
// this was the largest consistent tree that it had seen of the log.
//
// The signed message does not have the name in it, so that two cosigners must
// never share a key. That the statement is true is the caller's promise.
type Cosigner struct {
	key cosignKey
	own ed25519.PrivateKey
}

// GenerateWitnessKey makes a key pair for cosigning under a name, such as
// "witness.example.com/w1", in the encodings of signed-note with signature type
// 4. skey is secret. rand is read for 32 bytes.
func GenerateWitnessKey(rand io.Reader, name string) (skey, vkey string, err error) {
	if err := checkOrigin(name); err != nil {
		return "", "", problem.New(problem.Invalid, "witness-name", "the witness's name %q is not usable as the name of a key", name).
			Suggest("use a host and path without scheme, such as witness.example.com/w1").Because(err)
	}
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(rand, seed); err != nil {
		return "", "", fmt.Errorf("generate witness key: %w", err)
	}
	c := newCosigner(name, seed)
	material := base64.StdEncoding.EncodeToString(append([]byte{typeCosignature}, seed...))
	return fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", name, c.key.id, material), c.VerifierKey(), nil
}

func newCosigner(name string, seed []byte) *Cosigner {
	own := ed25519.NewKeyFromSeed(seed)
	public := own.Public().(ed25519.PublicKey)
	return &Cosigner{key: cosignKey{name: name, id: keyID(name, typeCosignature, public), public: public}, own: own}
}

// NewCosigner reads a witness's signing key; space around it is ignored. Only a
// key of signature type 4 is taken: a log's own key must not cosign too. The
// key never appears in an error.
func NewCosigner(skey string) (*Cosigner, error) {
	bad := problem.New(problem.Invalid, "witness-signing-key", "this is not a signing key of a witness").
		Suggest("give the one line that begins with PRIVATE+KEY+, which stands in the folder of the witness")
	rest, ok := strings.CutPrefix(strings.TrimSpace(skey), "PRIVATE+KEY+")
	if !ok {
		return nil, bad
	}
	name, id, material, ok := cutKey(rest)
	if !ok || checkOrigin(name) != nil || len(material) != 1+ed25519.SeedSize || material[0] != typeCosignature {
		return nil, bad
	}
	c := newCosigner(name, material[1:])
	if c.key.id != id {
		return nil, bad
	}
	return c, nil
}

// Name is the name in the cosigner's signature lines.
func (c *Cosigner) Name() string { return c.key.name }

// Verifier verifies what Cosign makes.
func (c *Cosigner) Verifier() note.Verifier { return c.key }

// VerifierKey is the public key as one line without its end.
func (c *Cosigner) VerifierKey() string { return c.key.String() }

// Cosign returns the signature line over a checkpoint at a time, with the
// newline at its end. The time counts in whole seconds and lies between 1970
// and the year 9999.
func (c *Cosigner) Cosign(cp Checkpoint, at time.Time) ([]byte, error) {
	if at.Unix() <= 0 || at.After(maxCosignTime) {
		return nil, fmt.Errorf("cosign checkpoint: the time %s cannot be written", at)
	}
	text, err := noteText(cp.Note)
	if err != nil {
		return nil, err
	}
	sig := binary.BigEndian.AppendUint32(nil, c.key.id)
	sig = binary.BigEndian.AppendUint64(sig, uint64(at.Unix()))
	sig = append(sig, ed25519.Sign(c.own, cosigned(at.Unix(), text))...)
	return fmt.Appendf(nil, "— %s %s\n", c.key.name, base64.StdEncoding.EncodeToString(sig)), nil
}

// cosigned is the message that is signed.
func cosigned(at int64, text []byte) []byte {
	return append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", at), text...)
}

// noteText is the part of a signed note that its signatures are over.
func noteText(signed []byte) ([]byte, error) {
	i := bytes.LastIndex(signed, []byte("\n\n"))
	if i < 0 {
		return nil, badCheckpoint("it is not a signed note")
	}
	return signed[:i+1], nil
}

// cosignKey is a note.Verifier for cosignature/v1 with Ed25519.
type cosignKey struct {
	name   string
	id     uint32
	public ed25519.PublicKey
}

func (k cosignKey) Name() string    { return k.name }
func (k cosignKey) KeyHash() uint32 { return k.id }

// Verify implements note.Verifier. A signature without a time is none.
func (k cosignKey) Verify(msg, sig []byte) bool {
	if len(sig) != timeSize+ed25519.SignatureSize {
		return false
	}
	at, ok := cosignTime(sig)
	return ok && ed25519.Verify(k.public, cosigned(at.Unix(), msg), sig[timeSize:])
}

func (k cosignKey) String() string {
	material := append([]byte{typeCosignature}, k.public...)
	return fmt.Sprintf("%s+%08x+%s", k.name, k.id, base64.StdEncoding.EncodeToString(material))
}

// cosignTime reads the time before a signature.
func cosignTime(sig []byte) (time.Time, bool) {
	seconds := binary.BigEndian.Uint64(sig)
	if seconds == 0 || seconds > uint64(maxCosignTime.Unix()) {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0).UTC(), true
}

// Cosignature is a witness's signature line as it was read and verified.
type Cosignature struct {
	Line []byte    // with the newline at its end
	Time time.Time // when the witness signed, by its clock, in whole seconds
}

// ReadCosignature finds the cosignature of a witness's key in signature lines
// of anybody, such as the witness's answer to add-checkpoint (tlog-witness):
// lines of other keys are ignored, more than MaxCosignatures refused.
//
// Disproven when the key's line is missing or does not hold for the checkpoint;
// Invalid when the text is no signature lines.
func ReadCosignature(cp Checkpoint, lines []byte, key note.Verifier) (Cosignature, error) {
	text, err := noteText(cp.Note)
	if err != nil {
		return Cosignature{}, err
	}
	if len(lines) > MaxCosignatures {
		return Cosignature{}, problem.New(problem.Invalid, "cosignature-malformed", "these signature lines have more than %d bytes", MaxCosignatures)
	}
	if bytes.HasPrefix(lines, []byte("\n")) || bytes.Contains(lines, []byte("\n\n")) {
		return Cosignature{}, problem.New(problem.Invalid, "cosignature-malformed", "this is no list of signature lines")
	}
	opened, err := note.Open(slices.Concat(text, []byte("\n"), lines), note.VerifierList(key))
	if _, other := errors.AsType[*note.UnverifiedNoteError](err); other {
		return Cosignature{}, problem.New(problem.Disproven, "cosignature-missing", "%s did not sign the checkpoint", key.Name()).
			With("log size", "%d", cp.Size)
	}
	if _, bad := errors.AsType[*note.InvalidSignatureError](err); bad {
		return Cosignature{}, problem.New(problem.Disproven, "cosignature-false", "the signature of %s does not hold for this checkpoint", key.Name()).
			With("log size", "%d", cp.Size)
	}
	if err != nil {
		return Cosignature{}, problem.New(problem.Invalid, "cosignature-malformed", "this is no list of signature lines").Because(err)
	}
	return readCosignature(opened.Sigs[0])
}

func readCosignature(sig note.Signature) (Cosignature, error) {
	raw, err := base64.StdEncoding.DecodeString(sig.Base64)
	if err != nil || len(raw) < keyIDSize+timeSize {
		return Cosignature{}, problem.New(problem.Invalid, "cosignature-malformed", "the signature of %s has no time", sig.Name)
	}
	at, ok := cosignTime(raw[keyIDSize:])
	if !ok {
		return Cosignature{}, problem.New(problem.Invalid, "cosignature-malformed", "the signature of %s has no time", sig.Name)
	}
	return Cosignature{Line: fmt.Appendf(nil, "— %s %s\n", sig.Name, sig.Base64), Time: at}, nil
}

// WithCosignatures returns the checkpoint with more signature lines behind
// those that its note has. They are taken as they are: from ReadCosignature,
// each key once, and not one that is there already.
func (cp Checkpoint) WithCosignatures(signatures ...Cosignature) Checkpoint {
	cp.Note = bytes.Clone(cp.Note)
	for _, s := range signatures {
		cp.Note = append(cp.Note, s.Line...)
	}
	return cp
}

// NewCosignatureVerifier reads a witness's verifier key; space around it is
// ignored. Invalid when it is none; Unsupported when it is one of another
// signature type, such as ML-DSA-44: what cannot be verified must not be
// counted on.
func NewCosignatureVerifier(vkey string) (note.Verifier, error) {
	name, id, material, ok := cutKey(strings.TrimSpace(vkey))
	const try = "give the line of the form <name>+<8 hex digits>+<key> that `chartkeep witness init` printed"
	switch {
	case !ok || len(material) == 0:
		return nil, problem.New(problem.Invalid, "witness-key", "this is not a witness key").Suggest(try)
	case material[0] == typeEd25519:
		return nil, problem.New(problem.Invalid, "witness-key", "the key of %s is a log's, not a witness's", name).
			With("signature type", "1").With("witnesses have", "4").Suggest(try)
	case material[0] == typeMLDSA:
		return nil, problem.New(problem.Unsupported, "witness-key-type", "the key of %s is of type ML-DSA-44, which this version cannot verify", name).
			Suggest("use the witness's Ed25519 key (signature type 4)")
	case material[0] != typeCosignature:
		return nil, problem.New(problem.Unsupported, "witness-key-type", "the key of %s has signature type %d, which no witness has", name, material[0]).Suggest(try)
	case len(material) != 1+ed25519.PublicKeySize || keyID(name, typeCosignature, material[1:]) != id:
		return nil, problem.New(problem.Invalid, "witness-key", "the witness key of %s has a mistake in it: name, id and key do not belong together", name).Suggest(try)
	}
	return cosignKey{name: name, id: id, public: material[1:]}, nil
}

// cutKey takes a key apart: name, id, and type with material.
func cutKey(key string) (name string, id uint32, material []byte, ok bool) {
	name, rest, found := strings.Cut(key, "+")
	hexID, encoded, more := strings.Cut(rest, "+")
	n, err := strconv.ParseUint(hexID, 16, 32)
	if !found || !more || err != nil || len(hexID) != 2*keyIDSize || !isKeyName(name) || len(encoded) > maxKeyMaterial {
		return "", 0, nil, false
	}
	material, err = base64.StdEncoding.Strict().DecodeString(encoded)
	return name, uint32(n), material, err == nil
}

// maxKeyMaterial is more than the Base 64 of any public key of a C2SP type.
const maxKeyMaterial = 4 << 10

// isKeyName takes what a note takes as the name of a key (signed-note,
// "Format"), up to a length.
func isKeyName(name string) bool {
	bad := func(r rune) bool { return unicode.IsSpace(r) || r < ' ' || r == '+' }
	return name != "" && len(name) <= maxOrigin && utf8.ValidString(name) && strings.IndexFunc(name, bad) < 0
}

// keyID is the hash that names a key together with its name (signed-note,
// "Signatures").
func keyID(name string, signatureType byte, public []byte) uint32 {
	h := sha256.New()
	h.Write([]byte(name))
	h.Write([]byte{'\n', signatureType})
	h.Write(public)
	return binary.BigEndian.Uint32(h.Sum(nil))
}
