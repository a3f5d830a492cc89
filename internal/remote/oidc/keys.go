package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
)

// The life of what an issuer published.
const (
	fetchPause   = 30 * time.Second // the least time between two fetches, also of ones that failed
	keysFresh    = 10 * time.Minute // after that, keys are fetched again when one is needed
	keysUsable   = 2 * time.Hour    // without a fetch that succeeded; then none counts
	fetchPatient = 10 * time.Second // for one document
)

// The limits of what an issuer publishes.
const (
	maxDiscovery = 64 << 10 // bytes
	maxKeySet    = 256 << 10
	maxKeys      = 64
	minRSA       = 2048 // bits
)

// algorithms are those that a token may be signed with: public keys only.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// metadata is what discovery says, as far as it is used.
type metadata struct {
	Issuer   string   `json:"issuer"`
	Keys     string   `json:"jwks_uri"`
	Auth     string   `json:"authorization_endpoint"`
	Token    string   `json:"token_endpoint"`
	Scopes   []string `json:"scopes_supported"`
	Methods  []string `json:"token_endpoint_auth_methods_supported"`
	SaysIss  bool     `json:"authorization_response_iss_parameter_supported"`
	complete bool
}

// issuer is an identity provider with what it published. It is safe for
// concurrent use: whoever holds the turn may fetch, and who needs what is fetched
// waits for it; a token whose key is known and fresh waits for nobody.
type issuer struct {
	url    string
	file   string // of its keys; "" asks the issuer
	client *remote.Client
	now    func() time.Time
	known  atomic.Pointer[keySet]
	turn   chan struct{} // of one; guards what follows

	meta metadata
	// The last tries, of each document for itself: signing in asks for the one,
	// and right after it for the other.
	metaTry, keysTry try
}

// keySet is what an issuer published at a time. It never changes.
type keySet struct {
	keys    []jose.JSONWebKey
	fetched time.Time
}

// named are the keys with an id; for a token without one, all of them.
func (s *keySet) named(id string) []jose.JSONWebKey {
	if s == nil {
		return nil
	}
	if id == "" {
		return s.keys
	}
	var out []jose.JSONWebKey
	for _, k := range s.keys {
		if k.KeyID == id {
			out = append(out, k)
		}
	}
	return out
}

func (s *keySet) younger(than time.Duration, now time.Time) bool {
	return s != nil && now.Sub(s.fetched) < than
}

// try is a fetch that was tried.
type try struct {
	at  time.Time
	err error // nil when it succeeded
}

func newIssuer(url, file string, client *remote.Client, now func() time.Time) *issuer {
	return &issuer{url: url, file: file, client: client, now: now, turn: make(chan struct{}, 1)}
}

// lock waits for the turn as long as the request does.
func (i *issuer) lock(ctx context.Context) error {
	select {
	case i.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (i *issuer) unlock() { <-i.turn }

// keysFor returns the keys that a token with this key id ("" for none) may be
// signed with. They are fetched when there are none, when they are old, or when
// the id is not among them, and never twice within fetchPause.
func (i *issuer) keysFor(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	set := i.known.Load()
	if found := set.named(id); len(found) > 0 && set.younger(keysFresh, i.now()) {
		return found, nil
	}
	if err := i.lock(ctx); err != nil {
		return nil, err
	}
	defer i.unlock()
	now := i.now()
	set = i.known.Load()
	if (len(set.named(id)) == 0 || !set.younger(keysFresh, now)) && i.keysTry.mayRepeat(now) {
		i.keysTry.repeat(ctx, now, i.fetchKeys)
		set = i.known.Load()
	}
	found := set.named(id)
	switch {
	case !set.younger(keysUsable, now):
		return nil, i.unreachable(i.keysTry.err)
	case len(found) == 0:
		return nil, refuse("oidc-key", "the identity token is signed with a key that %s does not publish", i.url).
			Suggest("if the issuer has just changed its keys, ask for a new token in a minute")
	}
	return found, nil
}

func (t *try) mayRepeat(now time.Time) bool { return t.at.IsZero() || now.Sub(t.at) >= fetchPause }

// repeat asks once. It is not bound to the request that caused it: the next one
// needs the answer as well.
func (t *try) repeat(ctx context.Context, now time.Time, fetch func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchPatient)
	defer cancel()
	t.at, t.err = now, fetch(ctx)
}

func (i *issuer) unreachable(why error) error {
	return problem.New(problem.Unavailable, "oidc-issuer", "the issuer %s does not tell its keys now, so that nothing it signed can be checked", i.url).
		With("next try", "in %s at the earliest", fetchPause).
		Suggest("try again in a minute; an operator finds the reason in the server's log").Because(why)
}

// endpoints are what discovery says, for signing in.
func (i *issuer) endpoints(ctx context.Context) (metadata, error) {
	if err := i.lock(ctx); err != nil {
		return metadata{}, err
	}
	defer i.unlock()
	if now := i.now(); !i.meta.complete && i.metaTry.mayRepeat(now) {
		i.metaTry.repeat(ctx, now, i.discover)
	}
	if !i.meta.complete {
		return metadata{}, i.unreachable(i.metaTry.err)
	}
	return i.meta, nil
}

// discover reads the provider's metadata (OpenID Connect Discovery 1.0 §4).
func (i *issuer) discover(ctx context.Context) error {
	doc, err := i.client.Get(ctx, remote.Get{URL: strings.TrimRight(i.url, "/") + "/.well-known/openid-configuration", Accept: "application/json", Limit: maxDiscovery})
	if err != nil {
		return err
	}
	var m metadata
	if err := json.Unmarshal(doc.Body, &m); err != nil {
		return fmt.Errorf("read metadata of %s: %w", i.url, err)
	}
	if m.Issuer != i.url {
		return fmt.Errorf("read metadata of %s: it says that the issuer is %.200q", i.url, m.Issuer)
	}
	for _, u := range []string{m.Keys, m.Auth, m.Token} {
		if strings.HasPrefix(i.url, "https://") && u != "" && !strings.HasPrefix(u, "https://") {
			return fmt.Errorf("read metadata of %s: %.200q is not https", i.url, u)
		}
	}
	m.complete = true
	i.meta = m
	return nil
}

// fetchKeys reads the keys, from the file or from where the metadata say.
func (i *issuer) fetchKeys(ctx context.Context) error {
	text, err := i.keyText(ctx)
	if err != nil {
		return err
	}
	keys, err := parseKeys(text)
	if err != nil {
		return fmt.Errorf("read keys of %s: %w", i.url, err)
	}
	i.known.Store(&keySet{keys, i.now()})
	return nil
}

func (i *issuer) keyText(ctx context.Context) ([]byte, error) {
	if i.file != "" {
		f, err := os.Open(i.file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		text, err := io.ReadAll(io.LimitReader(f, maxKeySet+1))
		if err == nil && len(text) > maxKeySet {
			err = fmt.Errorf("%s has more than %d bytes", i.file, maxKeySet)
		}
		return text, err
	}
	if !i.meta.complete {
		if err := i.discover(ctx); err != nil {
			return nil, err
		}
	}
	doc, err := i.client.Get(ctx, remote.Get{URL: i.meta.Keys, Accept: "application/jwk-set+json, application/json", Limit: maxKeySet})
	if err != nil {
		i.meta.complete = false // it may have moved
		return nil, err
	}
	return doc.Body, nil
}

// parseKeys reads a key set (RFC 7517). Keys of kinds that no token may be signed
// with are left out, and so are those that go-jose does not know; a set without
// any other is an error.
func parseKeys(text []byte) ([]jose.JSONWebKey, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, err
	}
	if len(raw.Keys) > maxKeys {
		return nil, fmt.Errorf("there are %d keys, at most %d are read", len(raw.Keys), maxKeys)
	}
	var out []jose.JSONWebKey
	for _, r := range raw.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(r) != nil || !k.Valid() || k.Use != "" && k.Use != "sig" {
			continue
		}
		switch key := k.Key.(type) {
		case *rsa.PublicKey:
			if key.N.BitLen() < minRSA {
				continue
			}
		case *ecdsa.PublicKey, ed25519.PublicKey:
		default:
			continue // a private or a symmetric key proves nothing
		}
		out = append(out, k)
	}
	if len(out) == 0 {
		return nil, errors.New("no key is one that tokens may be signed with")
	}
	return out, nil
}
