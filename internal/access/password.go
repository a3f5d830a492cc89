package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// The cost of a new password hash: Argon2id (RFC 9106) with 19 MiB, two passes
// and one lane, the least that OWASP's "Password Storage Cheat Sheet" advises.
// It holds 19 MiB for some tens of milliseconds, so callers bound how many run
// at once.
const (
	argonMemory  = 19 * 1024 // KiB
	argonPasses  = 2
	argonLanes   = 1
	argonKeyLen  = 32
	argonSaltMin = 16
)

// Bounds on the cost that a stored hash may ask for, so that whoever can write
// one row cannot stop the server with it. They leave room for ten times the
// cost of today.
const (
	maxArgonMemory = 256 * 1024 // KiB
	maxArgonPasses = 10
	maxArgonLanes  = 4
	maxArgonSalt   = 64
	maxHashText    = 256
)

// Bounds on passwords, in bytes. NIST SP 800-63B asks for no rule but length.
const (
	minPassword = 12
	maxPassword = 256
)

// HashPassword returns the hash of a password in the PHC string format, such as
// "$argon2id$v=19$m=19456,t=2,p=1$…$…". The salt is 16 to 64 random bytes,
// fresh for each call. A password shorter than 12 or longer than 256 bytes is a
// problem of kind invalid.
func HashPassword(password string, salt []byte) (string, error) {
	if len(password) < minPassword || len(password) > maxPassword {
		return "", problem.New(problem.Invalid, "password-length", "a password has %d to %d bytes", minPassword, maxPassword).
			With("length", "%d", len(password))
	}
	if len(salt) < argonSaltMin || len(salt) > maxArgonSalt {
		return "", fmt.Errorf("hash password: the salt has %d bytes, %d to %d are needed", len(salt), argonSaltMin, maxArgonSalt)
	}
	key := argon2.IDKey([]byte(password), salt, argonPasses, argonMemory, argonLanes, argonKeyLen)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonPasses, argonLanes,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key)), nil
}

// VerifyPassword reports whether the password is the one that was hashed. An
// error means that the hash is not one that HashPassword can have made. With an
// empty hash it takes as long as with a real one and returns false: callers use
// that for unknown accounts, so that the time does not tell which accounts exist.
func VerifyPassword(hash, password string) (bool, error) {
	if len(password) > maxPassword {
		return false, nil
	}
	if hash == "" {
		salt := sha256.Sum256([]byte("no account"))
		argon2.IDKey([]byte(password), salt[:argonSaltMin], argonPasses, argonMemory, argonLanes, argonKeyLen)
		return false, nil
	}
	h, err := parsePasswordHash(hash)
	if err != nil {
		return false, err
	}
	key := argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, uint8(h.lanes), uint32(len(h.key)))
	return subtle.ConstantTimeCompare(key, h.key) == 1, nil
}

type passwordHash struct {
	memory, passes, lanes uint32
	salt, key             []byte
}

func parsePasswordHash(s string) (passwordHash, error) {
	var h passwordHash
	fields := strings.Split(s[:min(len(s), maxHashText+1)], "$")
	if len(s) > maxHashText || len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" || fields[2] != "v="+strconv.Itoa(argon2.Version) {
		return h, fmt.Errorf("read password hash: not argon2id version %d in PHC form", argon2.Version)
	}
	params := strings.Split(fields[3], ",")
	if len(params) != 3 {
		return h, fmt.Errorf("read password hash: want the parameters m, t and p")
	}
	for i, p := range []struct {
		name string
		max  uint32
		to   *uint32
	}{{"m=", maxArgonMemory, &h.memory}, {"t=", maxArgonPasses, &h.passes}, {"p=", maxArgonLanes, &h.lanes}} {
		digits, ok := strings.CutPrefix(params[i], p.name)
		n, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || n < 1 || n > uint64(p.max) {
			return h, fmt.Errorf("read password hash: parameter %s out of bounds", p.name)
		}
		*p.to = uint32(n)
	}
	if h.memory < 8*h.lanes { // RFC 9106 section 3.1
		return h, fmt.Errorf("read password hash: too little memory for its lanes")
	}
	var err error
	if h.salt, err = base64.RawStdEncoding.Strict().DecodeString(fields[4]); err != nil || len(h.salt) < argonSaltMin || len(h.salt) > maxArgonSalt {
		return h, fmt.Errorf("read password hash: bad salt")
	}
	if h.key, err = base64.RawStdEncoding.Strict().DecodeString(fields[5]); err != nil || len(h.key) != argonKeyLen {
		return h, fmt.Errorf("read password hash: bad key")
	}
	return h, nil
}
