package access

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// BearerPrefix begins every bearer token.
const BearerPrefix = "ckb_"

// BearerLife is how long a bearer token should last. What stands behind it is
// looked up at each use.
const BearerLife = 5 * time.Minute

// Bounds of a bearer token: HTTP servers take 8 KiB of headers or more.
const (
	maxBearerLen    = 6144
	minBearerKeyLen = 32
	bearerVersion   = 1
)

// Bearer is a short-lived credential that carries its own proof, so that a
// server checks it without a store. It is the token of the Distribution
// project's "Token Authentication Specification", which leaves its form open;
// this form is no JWT, so there is no algorithm to choose or to confuse.
type Bearer struct {
	PrincipalID string    // the account or project token that asked for it; empty for anonymous
	TokenID     string    // the long-lived token that was shown for it, if any
	Audience    string    // the service that it is for
	Scope       []Scope   // what was granted, not what was asked for
	Expires     time.Time // whole seconds count
}

// Allows reports whether the bearer's scope has the action on the repository.
func (b Bearer) Allows(repository, action string) bool {
	for _, s := range b.Scope {
		if s.Type == "repository" && s.Name == repository && s.Has(action) {
			return true
		}
	}
	return false
}

// bearerForm is what is signed. Scopes are text, so that one parser with one set
// of bounds reads them everywhere.
type bearerForm struct {
	Version   int    `json:"v"`
	Principal string `json:"sub,omitempty"`
	Token     string `json:"tok,omitempty"`
	Audience  string `json:"aud"`
	Scope     string `json:"scope,omitempty"`
	Expires   int64  `json:"exp"` // seconds since 1970
}

// Mint signs a bearer token with HMAC-SHA256. It fails when the key has fewer
// than 32 bytes, when the audience or the expiry is missing, and when the scope
// cannot be read back or makes the token too long.
func Mint(key []byte, b Bearer) (string, error) {
	if len(key) < minBearerKeyLen {
		return "", fmt.Errorf("mint bearer token: the key has %d bytes, %d are needed", len(key), minBearerKeyLen)
	}
	if b.Audience == "" || b.Expires.IsZero() {
		return "", fmt.Errorf("mint bearer token: audience and expiry are needed")
	}
	parts := make([]string, len(b.Scope))
	for i, s := range b.Scope {
		parts[i] = s.String()
	}
	form := bearerForm{bearerVersion, b.PrincipalID, b.TokenID, b.Audience, strings.Join(parts, " "), b.Expires.Unix()}
	back, err := ParseScope(form.Scope)
	if err != nil {
		return "", fmt.Errorf("mint bearer token: %w", err)
	}
	if !slices.EqualFunc(back, b.Scope, Scope.equal) { // such as a name with a space, which would smuggle in a second scope
		return "", fmt.Errorf("mint bearer token: scope %q cannot be read back", form.Scope)
	}
	payload, err := json.Marshal(form)
	if err != nil {
		return "", fmt.Errorf("mint bearer token: %w", err)
	}
	signed := BearerPrefix + base64.RawURLEncoding.EncodeToString(payload)
	s := signed + "." + base64.RawURLEncoding.EncodeToString(bearerMAC(key, signed))
	if len(s) > maxBearerLen {
		return "", problem.New(problem.TooLarge, "bearer-length", "the bearer token would be longer than %d bytes", maxBearerLen).
			Suggest("ask for fewer repositories at once")
	}
	return s, nil
}

// OpenBearer checks a bearer token and returns what it says. Nothing of it is
// decoded before its signature holds, and signatures are compared in constant
// time. Problems are of kind unauthenticated: bearer-malformed for what this key
// did not sign, whatever is wrong with it; bearer-audience; bearer-expired, from
// the moment of expiry on.
func OpenBearer(key []byte, s, audience string, now time.Time) (Bearer, error) {
	if len(key) < minBearerKeyLen || len(s) > maxBearerLen || !strings.HasPrefix(s, BearerPrefix) {
		return Bearer{}, badBearer()
	}
	signed, mac, ok := strings.Cut(s, ".")
	if !ok {
		return Bearer{}, badBearer()
	}
	got, err := base64.RawURLEncoding.Strict().DecodeString(mac)
	if err != nil || !hmac.Equal(got, bearerMAC(key, signed)) {
		return Bearer{}, badBearer()
	}
	b, err := decodeBearer(signed)
	if err != nil {
		return Bearer{}, badBearer().Because(err)
	}
	if b.Audience != audience {
		return Bearer{}, problem.New(problem.Unauthenticated, "bearer-audience", "the bearer token is for %s, not for %s", b.Audience, audience)
	}
	if ended(b.Expires, now) {
		return Bearer{}, problem.New(problem.Unauthenticated, "bearer-expired", "the bearer token expired at %s", stamp(b.Expires))
	}
	return b, nil
}

func badBearer() *problem.Error {
	return problem.New(problem.Unauthenticated, "bearer-malformed", "this is not a bearer token of this server").
		Suggest("ask for a new one; clients do so when they sign in")
}

// decodeBearer reads what this server itself has signed.
func decodeBearer(signed string) (Bearer, error) {
	payload, err := base64.RawURLEncoding.Strict().DecodeString(signed[len(BearerPrefix):])
	if err != nil {
		return Bearer{}, fmt.Errorf("decode bearer token: %w", err)
	}
	var form bearerForm
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&form); err != nil {
		return Bearer{}, fmt.Errorf("decode bearer token: %w", err)
	}
	if form.Version != bearerVersion {
		return Bearer{}, fmt.Errorf("decode bearer token: version %d is unknown", form.Version)
	}
	scope, err := ParseScope(form.Scope)
	if err != nil {
		return Bearer{}, fmt.Errorf("decode bearer token: %w", err)
	}
	return Bearer{form.Principal, form.Token, form.Audience, scope, time.Unix(form.Expires, 0).UTC()}, nil
}

// bearerMAC signs the text with its prefix, which no other use of the key has.
func bearerMAC(key []byte, signed string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(signed))
	return m.Sum(nil)
}
