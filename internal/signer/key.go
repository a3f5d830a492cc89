package signer

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// keyring is the content of a folder's file of keys: the key that signs, and
// behind it the one before while it signs as well.
type keyring struct {
	Origin string `json:"origin"`
	Keys   []key  `json:"keys"`
	list   note.Verifiers
}

// key is one key of the log: its private half, or the program that has it.
type key struct {
	Verifier string    `json:"verifier"`
	Private  string    `json:"private,omitempty"`
	Command  []string  `json:"command,omitempty"`
	Until    time.Time `json:"until,omitzero"` // it ends then; zero for the first
}

// check reads the verifier keys, and refuses a ring that cannot sign.
func (k *keyring) check() error {
	if len(k.Keys) == 0 || len(k.Keys) > 2 || !k.Keys[0].Until.IsZero() {
		return errors.New("it does not have one key, or two while one follows the other")
	}
	var vkeys []string
	for _, one := range k.Keys {
		if (one.Private == "") == (len(one.Command) == 0) {
			return errors.New("a key has neither a private half nor a command, or both")
		}
		if !strings.HasPrefix(one.Verifier, k.Origin+"+") {
			return errors.New("a key is that of another log")
		}
		vkeys = append(vkeys, one.Verifier)
	}
	var err error
	k.list, err = verifiersOf(vkeys...)
	return err
}

func (k *keyring) verifiers() note.Verifiers { return k.list }

// signers are who signs now.
func (k *keyring) signers(ctx context.Context, now time.Time) ([]note.Signer, error) {
	var out []note.Signer
	for i, one := range k.Keys {
		if i > 0 && !now.Before(one.Until) {
			break
		}
		s, err := one.signer(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func (k *key) signer(ctx context.Context) (note.Signer, error) {
	if k.Private != "" {
		return tlog.NewSigner(k.Private)
	}
	v, err := tlog.NewVerifier(k.Verifier)
	if err != nil {
		return nil, err
	}
	return &commandSigner{ctx: ctx, argv: k.Command, key: v}, nil
}

// commandTimeout bounds how long a key command may take. It is below what a
// server waits for its signer.
const commandTimeout = 8 * time.Second

// maxCommandOutput bounds what is read of what a key command says, in bytes, on
// each of its two ways.
const maxCommandOutput = 4 << 10

// commandSigner asks a program for a signature: it gets the bytes to sign on its
// standard input, and writes the 64 bytes of an Ed25519 signature, or their
// Base 64, to its standard output. No shell is between. What it returns is
// verified.
type commandSigner struct {
	ctx  context.Context // of the request; note.Signer has no way for it
	argv []string
	key  note.Verifier
}

// Name implements note.Signer.
func (c *commandSigner) Name() string { return c.key.Name() }

// KeyHash implements note.Signer.
func (c *commandSigner) KeyHash() uint32 { return c.key.KeyHash() }

// Sign implements note.Signer. Its errors are problems of the rule key-command.
func (c *commandSigner) Sign(msg []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), commandTimeout)
	defer cancel()
	out, said := &bounded{}, &bounded{}
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(msg), out, said
	endTogether(cmd)
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	failed := func(format string, args ...any) error {
		p := problem.New(problem.Unavailable, "key-command", "the key command "+format, args...).With("command", "%s", c.argv[0])
		if text := said.shown(); text != "" {
			p = p.With("it said", "%s", text)
		}
		return p.Because(err)
	}
	switch {
	case ctx.Err() != nil:
		return nil, failed("did not answer within %s", commandTimeout)
	case err != nil:
		return nil, failed("failed")
	case out.over:
		return nil, failed("wrote more than %d bytes", maxCommandOutput)
	}
	sig, ok := readSignature(out.kept)
	if !ok {
		return nil, failed("wrote no signature: 64 bytes or their Base 64 were expected, and it wrote %d bytes", len(out.kept))
	}
	if !c.key.Verify(msg, sig) {
		return nil, failed("wrote a signature that is not of the key %s, or not of what it was given", c.key.Name())
	}
	return sig, nil
}

// readSignature reads 64 bytes as they are, or as Base 64 in lines.
func readSignature(b []byte) ([]byte, bool) {
	if len(b) == ed25519.SignatureSize {
		return b, true
	}
	text := strings.Join(strings.Fields(string(b)), "")
	sig, err := base64.StdEncoding.DecodeString(text)
	return sig, err == nil && len(sig) == ed25519.SignatureSize
}

// bounded keeps the beginning of what is written to it. It has no other way in
// than Write.
type bounded struct {
	kept []byte
	over bool
}

// Write implements io.Writer. It takes everything.
func (b *bounded) Write(p []byte) (int, error) {
	room := min(maxCommandOutput-len(b.kept), len(p))
	b.kept, b.over = append(b.kept, p[:room]...), b.over || room < len(p)
	return len(p), nil
}

// shown is one short line of what was written, printable.
func (b *bounded) shown() string {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, string(b.kept))
	text = strings.Join(strings.Fields(text), " ")
	return text[:min(len(text), 300)]
}

// octets are the bytes before the key in the octet string of PKCS#11
// (CKA_EC_POINT).
var octets = []byte{4, ed25519.PublicKeySize}

// ParsePublicKey reads an Ed25519 public key as programs write it: PEM or DER
// (SubjectPublicKeyInfo, RFC 8410), DER in Base 64, or the 32 bytes alone or as
// the octet string of PKCS#11. Invalid when it is none of these.
func ParsePublicKey(b []byte) (ed25519.PublicKey, error) {
	if block, _ := pem.Decode(b); block != nil {
		b = block.Bytes
	} else if text, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(b)), "")); err == nil && len(text) > 0 {
		b = text
	}
	switch {
	case len(b) == ed25519.PublicKeySize:
		return bytes.Clone(b), nil
	case len(b) == ed25519.PublicKeySize+len(octets) && bytes.HasPrefix(b, octets):
		return bytes.Clone(b[len(octets):]), nil
	}
	parsed, err := x509.ParsePKIXPublicKey(b)
	if pub, ok := parsed.(ed25519.PublicKey); ok {
		return pub, nil
	}
	return nil, problem.New(problem.Invalid, "public-key", "this is no Ed25519 public key").Because(err).
		Suggest("write it as PEM: openssl pkey -in KEY -pubout")
}

// verifierKey is a public key as the key of a log.
func verifierKey(origin string, pub ed25519.PublicKey) (string, error) {
	vkey, err := note.NewEd25519VerifierKey(origin, pub)
	if err != nil {
		return "", problem.New(problem.Invalid, "public-key", "the public key does not fit the log %s", origin).Because(err)
	}
	return vkey, nil
}

// try has a key sign something that is no checkpoint, so that a wrong command is
// found before anything depends on it.
func (k *key) try() error {
	s, err := k.signer(context.Background())
	if err != nil {
		return err
	}
	_, err = s.Sign(fmt.Appendf(nil, "chartkeep signer: a test of the key of %s\n", s.Name()))
	return err
}
