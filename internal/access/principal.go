package access

import (
	"encoding/hex"
	"fmt"
	"io"
	"time"
)

// Kind says what sort of principal it is.
type Kind string

// The kinds of principals.
const (
	KindAnonymous Kind = "anonymous" // sent no credential
	KindUser      Kind = "user"      // a person: signed in, or through a personal token
	KindToken     Kind = "token"     // a token that belongs to a project and stands for no person
	KindSystem    Kind = "system"    // the server itself: mirror, schedules
)

// Principal is whoever makes a request, after authentication.
type Principal struct {
	ID      string // stable random id of the account, or of the project token; never reused
	Name    string // for people; may change, and decides nothing
	Kind    Kind
	Issuer  string // who vouches for it: empty for this server, else the URL of an identity provider
	Subject string // stable name at Issuer, made of ids; empty for this server
	TokenID string // the token that it came with, if any

	// Expires is when the credential ends; zero when it has no end of its own.
	// From then on the principal has the rights of an anonymous one.
	Expires time.Time

	// Grants are what the credential carries.
	Grants []Grant

	// Of is set for a personal token alone: the account, with its present
	// grants. The token can do what both its own grants and the account's
	// allow, so that a right taken from the account is gone from its tokens.
	Of *Principal

	// Scope narrows what came with a bearer token to the repositories that it
	// was asked for; nil narrows nothing. The doors' use cases apply it.
	Scope []Scope

	// Source is the commit that a pipeline runs on, as its issuer stated when
	// the pipeline came for its token.
	Source Source
}

// Anonymous returns the principal of a request without a credential.
func Anonymous() Principal {
	return Principal{Name: "anonymous", Kind: KindAnonymous}
}

// expired reports whether the credential has ended.
func (p *Principal) expired(now time.Time) bool {
	return ended(p.Expires, now)
}

// ended reports whether a moment of expiry has come; the zero time never comes.
func ended(expires, now time.Time) bool {
	return !expires.IsZero() && !now.Before(expires)
}

// NewID returns a stable random id such as usr-1f0c… for an account or grn-…
// for a grant: the prefix, a hyphen and 80 bits read from random in hex. It
// fails only when random does.
func NewID(prefix string, random io.Reader) (string, error) {
	var b [10]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("read randomness for an id: %w", err)
	}
	return prefix + "-" + hex.EncodeToString(b[:]), nil
}
