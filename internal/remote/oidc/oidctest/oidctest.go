// Package oidctest is an OpenID Connect issuer on this machine, for tests:
// discovery, keys and their rotation, tokens that say what a test wants, the
// authorization code flow, and ways to be slow, huge or wrong.
package oidctest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Claims are what a token says. A nil value takes a claim away.
type Claims map[string]any

// With returns a copy with some claims changed.
func (c Claims) With(changes Claims) Claims {
	out := maps.Clone(c)
	maps.Copy(out, changes)
	maps.DeleteFunc(out, func(_ string, v any) bool { return v == nil })
	return out
}

// Issuer is a running issuer. Its fields may be changed between requests.
type Issuer struct {
	URL string
	t   testing.TB

	mu       sync.Mutex
	keys     []jose.JSONWebKey // private; the last signs
	requests map[string]int
	serial   int
	// Answer, when set, answers instead of the issuer for a path; false leaves
	// it to the issuer.
	Answer func(w http.ResponseWriter, r *http.Request) bool
	// Metadata are fields that discovery says beside or instead of its own.
	Metadata map[string]any
	// Person is what the token of a person says who signs in.
	Person Claims
	codes  map[string]authorization
}

type authorization struct{ challenge, redirect, nonce, client string }

// New starts an issuer with one RSA key. It ends with the test.
func New(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{t: t, requests: map[string]int{}, codes: map[string]authorization{}, Metadata: map[string]any{}}
	s := httptest.NewServer(http.HandlerFunc(i.serve))
	t.Cleanup(s.Close)
	i.URL = s.URL
	i.Rotate("key-1", jose.RS256)
	return i
}

// rsaKeys are made once: making them is slow, and no test is about their value.
var rsaKeys = struct {
	sync.Mutex
	m map[string]*rsa.PrivateKey
}{m: map[string]*rsa.PrivateKey{}}

// NewKey makes a private key that no issuer publishes.
func NewKey(t testing.TB, id string, alg jose.SignatureAlgorithm) jose.JSONWebKey {
	t.Helper()
	k := jose.JSONWebKey{KeyID: id, Use: "sig", Algorithm: string(alg)}
	switch alg {
	case jose.ES256:
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		k.Key = key
	default:
		rsaKeys.Lock()
		defer rsaKeys.Unlock()
		if rsaKeys.m[id] == nil {
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				t.Fatal(err)
			}
			rsaKeys.m[id] = key
		}
		k.Key = rsaKeys.m[id]
	}
	return k
}

// Rotate signs with a new key from now on; the older ones stay published.
func (i *Issuer) Rotate(id string, alg jose.SignatureAlgorithm) {
	k := NewKey(i.t, id, alg)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, k)
}

// Withdraw publishes the newest key alone.
func (i *Issuer) Withdraw() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = i.keys[len(i.keys)-1:]
}

// Key is the one that signs.
func (i *Issuer) Key() jose.JSONWebKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[len(i.keys)-1]
}

// KeySet is what is published, as JSON.
func (i *Issuer) KeySet() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	var set jose.JSONWebKeySet
	for _, k := range i.keys {
		set.Keys = append(set.Keys, k.Public())
	}
	b, err := json.Marshal(set)
	if err != nil {
		i.t.Error(err)
	}
	return b
}

// Requests is how often a path was asked for; "" is all of them.
func (i *Issuer) Requests(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	if path != "" {
		return i.requests[path]
	}
	n := 0
	for _, k := range i.requests {
		n += k
	}
	return n
}

// Times are the claims of a token that was issued now and lasts five minutes,
// with an id that no other has.
func (i *Issuer) Times(now time.Time) Claims {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.serial++
	return Claims{"iss": i.URL, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "jti": fmt.Sprint("id-", i.serial)}
}

// Sign makes a token with the key that signs.
func (i *Issuer) Sign(c Claims) string { return Sign(i.t, i.Key(), c) }

// Sign makes a token with any key. Changes of its header are for the caller: a
// private key's KeyID stands in it.
func Sign(t testing.TB, key jose.JSONWebKey, c Claims) string {
	t.Helper()
	return SignWith(t, key, c, (&jose.SignerOptions{}).WithType("JWT"))
}

// SignWith is Sign with other headers.
func SignWith(t testing.TB, key jose.JSONWebKey, c Claims, opt *jose.SignerOptions) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key}, opt)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(map[string]any(c))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.requests[r.URL.Path]++
	answer := i.Answer
	i.mu.Unlock()
	if answer != nil && answer(w, r) {
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		m := map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
			"scopes_supported": []string{"openid", "groups"}}
		maps.Copy(m, i.Metadata)
		i.write(w, m)
	case "/keys":
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(i.KeySet())
	case "/authorize":
		i.authorize(w, r)
	case "/token":
		i.token(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (i *Issuer) write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		i.t.Error(err)
	}
}

// authorize agrees at once, as a provider does for somebody who is signed in.
func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("code_challenge_method") != "S256" || q.Get("state") == "" || q.Get("nonce") == "" || q.Get("response_type") != "code" || !strings.Contains(q.Get("scope"), "openid") {
		http.Error(w, "this is no request of the code flow with PKCE, state and nonce: "+r.URL.RawQuery, http.StatusBadRequest)
		return
	}
	i.mu.Lock()
	i.serial++
	code := fmt.Sprint("code-", i.serial)
	i.codes[code] = authorization{q.Get("code_challenge"), q.Get("redirect_uri"), q.Get("nonce"), q.Get("client_id")}
	i.mu.Unlock()
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	back.RawQuery = url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {i.URL}}.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

// token gives a person's token for a code, once, to whom has the verifier.
func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	user, secret, _ := r.BasicAuth()
	code, sum := r.PostFormValue("code"), sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	i.mu.Lock()
	a, ok := i.codes[code]
	delete(i.codes, code)
	person := maps.Clone(i.Person)
	i.mu.Unlock()
	refuse := func(status int, why string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"error":%q}`, why)
	}
	switch {
	case user != "chartkeep" || secret != "example-secret":
		refuse(http.StatusUnauthorized, "invalid_client")
		return
	case !ok || a.redirect != r.PostFormValue("redirect_uri") || a.challenge != base64.RawURLEncoding.EncodeToString(sum[:]):
		refuse(http.StatusBadRequest, "invalid_grant")
		return
	}
	claims := i.Times(time.Now()).With(Claims{"aud": a.client, "nonce": a.nonce, "sub": "person-1"}).With(person)
	i.write(w, map[string]any{"access_token": "opaque", "token_type": "Bearer", "id_token": i.Sign(claims)})
}

// HMAC makes a token that is signed with a public key as if it were a shared
// secret, which a verifier that lets the token choose would accept.
func HMAC(t testing.TB, key jose.JSONWebKey, c Claims) string {
	t.Helper()
	pub, err := json.Marshal(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return SignWith(t, jose.JSONWebKey{Key: pub, KeyID: key.KeyID, Algorithm: string(jose.HS256)}, c, nil)
}
