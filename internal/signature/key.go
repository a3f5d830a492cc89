package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// minBundleRSA is the least size of an RSA key of bundles in bits.
const minBundleRSA = 3072

const rulePublicKey = "signature-key"

// publicKey is a key of one's own that bundles are signed with.
type publicKey struct {
	key crypto.PublicKey
	der []byte
}

func badPublicKey(format string, args ...any) *problem.Error {
	return problem.New(problem.Invalid, rulePublicKey, format, args...).
		Suggest("openssl pkey -in KEY.pem -pubout")
}

// readPublicKey reads one PEM block with a public key in PKIX form.
func readPublicKey(text string) (publicKey, error) {
	if len(text) > maxPublicKey {
		return publicKey{}, problem.New(problem.TooLarge, rulePublicKey, "the public key has %d bytes, and %d are allowed", len(text), maxPublicKey)
	}
	block, rest := pem.Decode([]byte(strings.TrimSpace(text)))
	switch {
	case block == nil:
		return publicKey{}, badPublicKey("the public key is not PEM")
	case strings.Contains(block.Type, "PRIVATE"):
		return publicKey{}, badPublicKey("this is a private key; give its public half")
	case block.Type != "PUBLIC KEY" || len(strings.TrimSpace(string(rest))) > 0 || !strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN"):
		return publicKey{}, badPublicKey("it is not one PEM block of type PUBLIC KEY and nothing else")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return publicKey{}, badPublicKey("the public key cannot be read").Because(err)
	}
	if err := takes(key); err != nil {
		return publicKey{}, err
	}
	return publicKey{key, block.Bytes}, nil
}

// takes refuses keys of other algorithms and sizes than bundles may have.
func takes(key crypto.PublicKey) error {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return nil
		}
	case *rsa.PublicKey:
		if k.N.BitLen() >= minBundleRSA {
			return nil
		}
		return badPublicKey("the RSA key has %d bits, and %d are the least", k.N.BitLen(), minBundleRSA)
	}
	return badPublicKey("the key is of an algorithm that is not taken; Ed25519, ECDSA on P-256 and RSA are")
}

// id is the SHA-256 of the key's PKIX form.
func (k publicKey) id() string {
	sum := sha256.Sum256(k.der)
	return hex.EncodeToString(sum[:])
}

// hint is how bundles name the key.
func (k publicKey) hint() string {
	sum := sha256.Sum256(k.der)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// verifies says whether the key signed a message.
func (k publicKey) verifies(message, sig []byte) bool {
	if key, ok := k.key.(ed25519.PublicKey); ok {
		return ed25519.Verify(key, message, sig)
	}
	sum := sha256.Sum256(message)
	return k.verifiesDigest(sum[:], sig)
}

// verifiesDigest is verifies for the SHA-256 of a message; never true for
// Ed25519, which signs the message itself.
func (k publicKey) verifiesDigest(sum, sig []byte) bool {
	switch key := k.key.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, sum, sig)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum, sig) == nil
	}
	return false
}

func isEd25519(k publicKey) bool {
	_, ok := k.key.(ed25519.PublicKey)
	return ok
}
