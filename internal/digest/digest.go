// Package digest models the names of bytes: "sha256:<64 hex>" and
// "sha512:<128 hex>", as the OCI image specification 1.1 has them ("Digests"),
// lower case only.
//
// A digest that passed Check is safe as part of a file name. Verified is the
// one way to hand out a blob as whole: its end is withheld until its bytes
// were proven.
package digest

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// The algorithms.
const (
	sha256Alg = "sha256"
	sha512Alg = "sha512"
)

// NewHash returns a new hash for an algorithm, "sha256" or "sha512", and
// problem.Invalid for any other.
func NewHash(alg string) (hash.Hash, error) {
	switch alg {
	case sha256Alg:
		return sha256.New(), nil
	case sha512Alg:
		return sha512.New(), nil
	}
	return nil, problem.New(problem.Invalid, "digest-algorithm", "the digest algorithm %.32q is not one of sha256 and sha512", alg)
}

// Check returns nil if d is a digest: a known algorithm, a colon, and exactly
// as many lower-case hexadecimal digits as the algorithm gives. Otherwise
// problem.Invalid.
func Check(d string) error {
	_, _, err := Split(d)
	return err
}

// Split returns the algorithm and the hexadecimal digits of a digest that
// keeps the rules of Check.
func Split(d string) (alg, digits string, err error) {
	alg, digits, found := strings.Cut(d, ":")
	if !found {
		return "", "", problem.New(problem.Invalid, "digest-form", "%.160q is not a digest: it has no colon", d).
			Suggest("use the form sha256:<64 lower-case hexadecimal digits>")
	}
	var want int
	switch alg {
	case sha256Alg:
		want = 2 * sha256.Size
	case sha512Alg:
		want = 2 * sha512.Size
	default:
		_, err := NewHash(alg)
		return "", "", err
	}
	if len(digits) != want || strings.Trim(digits, "0123456789abcdef") != "" {
		return "", "", problem.New(problem.Invalid, "digest-form", "%.160q is not a digest: %s takes %d lower-case hexadecimal digits", d, alg, want)
	}
	return alg, digits, nil
}

// Of writes the state of a hash as a digest.
func Of(alg string, h hash.Hash) string {
	return alg + ":" + hex.EncodeToString(h.Sum(nil))
}

// SHA256 is the digest of bytes.
func SHA256(b []byte) string {
	h := sha256.Sum256(b)
	return sha256Alg + ":" + hex.EncodeToString(h[:])
}

// Matches says whether bytes have a digest that passed Check.
func Matches(b []byte, d string) bool {
	alg, _, _ := strings.Cut(d, ":")
	h, err := NewHash(alg)
	if err != nil {
		return false
	}
	h.Write(b) // a hash never fails
	return Of(alg, h) == d
}
