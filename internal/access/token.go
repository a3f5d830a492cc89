package access

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// TokenPrefix begins every long-lived token, so that people and secret scanners
// know one when they see it.
const TokenPrefix = "ckt_"

// A token is TokenPrefix, 32 random bytes as 43 digits in base 62, and the
// CRC-32 (IEEE) of all that as 6 digits in base 62. The checksum is no secret:
// it lets a scanner tell a real token from a look-alike, and the server refuse
// a mistyped one without a look-up.
const (
	tokenSecretLen = 43
	tokenSumLen    = 6
	tokenLen       = len(TokenPrefix) + tokenSecretLen + tokenSumLen
)

const base62 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// NewToken makes a token from 32 bytes of random. The secret is shown once and
// never stored; the id names the token in lists and in the audit trail; the hash
// is what a store keeps. It fails only when random does.
func NewToken(random io.Reader) (secret, id string, hash [32]byte, err error) {
	var raw [32]byte
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		return "", "", hash, fmt.Errorf("read randomness for a token: %w", err)
	}
	digits := new(big.Int).SetBytes(raw[:]).Text(62) // digits in the order of base62
	body := TokenPrefix + strings.Repeat("0", tokenSecretLen-len(digits)) + digits
	secret = body + tokenSum(body)
	hash = sha256.Sum256([]byte(secret))
	return secret, tokenID(hash), hash, nil
}

// ParseToken returns the id and the hash of a token, by which a store finds it.
// It refuses whatever NewToken cannot have made, so that garbage never reaches a
// store. Its problems are of kind unauthenticated and never repeat the input.
//
// The hash is of 256 random bits, so a store may look it up by equality: how
// long a comparison takes tells nothing that helps to find a token.
func ParseToken(s string) (id string, hash [32]byte, err error) {
	if !strings.HasPrefix(s, TokenPrefix) {
		return "", hash, badToken("this is not a token of Chartkeep").With("form", "%s and %d letters and digits", TokenPrefix, tokenLen-len(TokenPrefix))
	}
	if len(s) != tokenLen {
		return "", hash, badToken("the token is not complete").With("length", "%d", len(s)).With("expected", "%d", tokenLen)
	}
	for i := len(TokenPrefix); i < len(s); i++ {
		if !alphanumeric(s[i]) {
			return "", hash, badToken("the token has a character that no token has").With("at", "%d", i+1)
		}
	}
	body := s[:tokenLen-tokenSumLen]
	if tokenSum(body) != s[len(body):] {
		return "", hash, badToken("the token is mistyped: its checksum does not match")
	}
	hash = sha256.Sum256([]byte(s))
	return tokenID(hash), hash, nil
}

func badToken(message string) *problem.Error {
	return problem.New(problem.Unauthenticated, "token-malformed", "%s", message).
		Suggest("copy the whole token, or create a new one: chartkeep token create --project NAME --role ROLE")
}

// tokenID is derived from the hash, so that it names the token without helping
// to guess it: 80 bits of a hash of 256 random bits.
func tokenID(hash [32]byte) string { return "tok-" + hex.EncodeToString(hash[:10]) }

func tokenSum(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	var out [tokenSumLen]byte
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = base62[sum%62]
		sum /= 62
	}
	return string(out[:])
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
