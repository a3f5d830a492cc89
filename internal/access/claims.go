package access

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Bounds of the claims of an identity token. The largest that honest providers
// make list some two hundred groups of a person.
const (
	MaxClaims     = 16 << 10 // bytes of the JSON
	maxClaimItems = 1024     // names and values, at all depths
	maxClaimDepth = 6
	maxClaimText  = 2048 // bytes of a name with those around it, and of a value
)

// Claims are what an identity token says: a JSON Web Token's claims set (RFC
// 7519 §4) as OpenID Connect issuers fill it. ParseClaims makes them; whether
// the issuer really said so is for whoever checks the signature.
type Claims struct {
	Issuer   string
	Subject  string
	Audience []string
	ID       string // jti; "" when it has none

	Expires, NotBefore, Issued time.Time // zero when missing

	values map[string]string   // texts, whole numbers, true and false, by name
	lists  map[string][]string // lists of those
	digest [sha256.Size]byte   // of the JSON
}

// Text is the value of a claim: a text as it is, a whole number in decimal,
// true or false in words. ok is false for a claim that is missing, null or of
// another form. A claim inside another is named with a slash, as in
// "kubernetes.io/serviceaccount/uid".
func (c *Claims) Text(name string) (value string, ok bool) {
	value, ok = c.values[name]
	return value, ok
}

// List is the value of a claim that is a list, or that is one text alone: some
// issuers write a list of one so.
func (c *Claims) List(name string) []string {
	if one, ok := c.values[name]; ok {
		return []string{one}
	}
	return c.lists[name]
}

// Use is what the token is remembered by so that it is taken only once: its
// issuer and id, or the whole of its claims when it has no id. The signature is
// no part of it: of one token there are many valid ones with some algorithms.
func (c *Claims) Use() [sha256.Size]byte {
	if c.ID == "" {
		return sha256.Sum256([]byte("claims\x00" + c.Issuer + "\x00" + string(c.digest[:])))
	}
	return sha256.Sum256([]byte("jti\x00" + c.Issuer + "\x00" + c.ID))
}

// ParseClaims reads the claims of an identity token, strictly: one JSON object
// in UTF-8 within the limits, no name twice, times as numbers. Names count as
// they are written, upper and lower case apart. Problems are of kind
// unauthenticated with rule oidc-claims, and never repeat a value.
func ParseClaims(text []byte) (Claims, error) {
	bad := func(why string) error {
		return problem.New(problem.Unauthenticated, "oidc-claims", "the identity token cannot be read: %s", why)
	}
	if len(text) > MaxClaims {
		return Claims{}, bad("its claims are larger than " + strconv.Itoa(MaxClaims) + " bytes")
	}
	if !utf8.Valid(text) {
		return Claims{}, bad("its claims are not UTF-8")
	}
	c := Claims{values: map[string]string{}, lists: map[string][]string{}, digest: sha256.Sum256(text)}
	p := claimParser{dec: json.NewDecoder(bytes.NewReader(text)), claims: &c, left: maxClaimItems, seen: map[string]bool{}}
	p.dec.UseNumber()
	if t, err := p.dec.Token(); err != nil || t != json.Delim('{') {
		return Claims{}, bad("its claims are no JSON object")
	}
	if err := p.object("", 1); err != nil {
		return Claims{}, bad(err.Error())
	}
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		return Claims{}, bad("there is something after its claims")
	}
	c.Issuer, c.Subject, c.ID = p.text("iss"), p.text("sub"), p.text("jti")
	c.Audience = c.List("aud")
	c.Expires, c.NotBefore, c.Issued = p.time("exp"), p.time("nbf"), p.time("iat")
	if p.wrong != "" {
		return Claims{}, bad("its claim " + p.wrong + " is not of the form that RFC 7519 gives it")
	}
	return c, nil
}

// claimParser walks JSON by tokens, so that depth and number are bounded before
// anything is built, and names that stand twice are seen.
type claimParser struct {
	dec    *json.Decoder
	claims *Claims
	left   int
	seen   map[string]bool
	wrong  string // the first registered claim of a wrong form
}

var (
	errClaimsJSON  = errors.New("its claims are not well-formed JSON")
	errClaimsLarge = errors.New("its claims are too many, too deep or too long")
	errClaimsTwice = errors.New("one of its claims stands there twice")
)

// object reads the members of an object whose brace was read.
func (p *claimParser) object(prefix string, depth int) error {
	for {
		t, err := p.dec.Token()
		if err != nil {
			return errClaimsJSON
		}
		if t == json.Delim('}') {
			return nil
		}
		key, ok := t.(string)
		if !ok {
			return errClaimsJSON
		}
		name := prefix + key
		if p.left--; p.left < 0 || len(name) > maxClaimText {
			return errClaimsLarge
		}
		// Also a name with a slash that looks like one inside another.
		if p.seen[name] {
			return errClaimsTwice
		}
		p.seen[name] = true
		if err := p.value(name, depth); err != nil {
			return err
		}
	}
}

func (p *claimParser) value(name string, depth int) error {
	t, err := p.dec.Token()
	if err != nil {
		return errClaimsJSON
	}
	switch t {
	case json.Delim('{'):
		if depth == maxClaimDepth {
			return errClaimsLarge
		}
		return p.object(name+"/", depth+1)
	case json.Delim('['):
		return p.list(name, depth+1)
	}
	s, ok, err := scalar(t)
	if ok {
		p.claims.values[name] = s
	}
	return err
}

// list reads a list whose bracket was read. It counts only when all of it are
// plain values; what is in other lists is read over.
func (p *claimParser) list(name string, depth int) error {
	if depth > maxClaimDepth {
		return errClaimsLarge
	}
	plain, items := true, []string{}
	for {
		t, err := p.dec.Token()
		if err != nil {
			return errClaimsJSON
		}
		if t == json.Delim(']') {
			if plain {
				p.claims.lists[name] = items
			}
			return nil
		}
		if p.left--; p.left < 0 {
			return errClaimsLarge
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			plain = false
			err = p.skip(depth + 1)
		default:
			var s string
			var ok bool
			s, ok, err = scalar(t)
			plain = plain && ok
			items = append(items, s)
		}
		if err != nil {
			return err
		}
	}
}

// skip reads to the end of an object or a list whose beginning was read.
func (p *claimParser) skip(depth int) error {
	for level := 1; level > 0; {
		t, err := p.dec.Token()
		if err != nil {
			return errClaimsJSON
		}
		if p.left--; p.left < 0 || depth+level > maxClaimDepth {
			return errClaimsLarge
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			level++
		case json.Delim('}'), json.Delim(']'):
			level--
		}
	}
	return nil
}

// scalar is a plain value as text; ok is false for null and for numbers that
// are not whole.
func scalar(t json.Token) (s string, ok bool, err error) {
	switch v := t.(type) {
	case string:
		if len(v) > maxClaimText {
			return "", false, errClaimsLarge
		}
		return v, true, nil
	case bool:
		return strconv.FormatBool(v), true, nil
	case json.Number:
		if len(v) > 32 {
			return "", false, errClaimsLarge
		}
		return string(v), strings.Trim(string(v), "-0123456789") == "", nil
	}
	return "", false, nil
}

// text is a registered claim that has to be a text where it is there.
func (p *claimParser) text(name string) string {
	s, ok := p.claims.values[name]
	if !ok && p.seen[name] && p.wrong == "" {
		p.wrong = name
	}
	return s
}

// time is a NumericDate: seconds since 1970, whole ones, as every issuer writes
// them.
func (p *claimParser) time(name string) time.Time {
	s, ok := p.claims.values[name]
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case !p.seen[name]:
		return time.Time{}
	case !ok || err != nil || n <= 0 || n > math.MaxInt32*8: // some time in the year 2514
		if p.wrong == "" {
			p.wrong = name
		}
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}
