package oidc

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/remote/oidc/oidctest"
)

const audience = "https://charts.example.com"

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC)} }

func outward(t testing.TB) *remote.Client {
	c := remote.New(remote.Config{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(c.Close)
	return c
}

// newVerifier is one that accepts an issuer's tokens, with a clock.
func newVerifier(t testing.TB, i *oidctest.Issuer) (*Verifier, *clock) {
	c := newClock()
	return New(Config{Client: outward(t), Issuers: []Issuer{{Provider: access.ProviderGitHub, URL: i.URL}}, Audience: audience, Now: c.now}), c
}

// rule is that of a refusal, "" when there was none.
func rule(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	p, ok := problem.As(err)
	if !ok {
		t.Errorf("%v is no problem", err)
		return "?"
	}
	if p.Kind != problem.Unauthenticated && p.Kind != problem.Unavailable {
		t.Errorf("%v is of kind %s", err, p.Kind)
	}
	return p.Rule
}

func TestVerifyAccepts(t *testing.T) {
	i := oidctest.New(t)
	v, c := newVerifier(t, i)
	claims, err := v.Verify(t.Context(), i.Sign(i.Times(c.now()).With(oidctest.Claims{"aud": audience, "sub": "s", "repository_id": "7"})))
	if err != nil {
		t.Fatal(err)
	}
	if id, _ := claims.Text("repository_id"); id != "7" || claims.Issuer != i.URL {
		t.Errorf("claims %+v", claims)
	}
	if p, ok := v.Provider(i.URL); !ok || p != access.ProviderGitHub || len(v.Issuers(access.ProviderGitHub)) != 1 {
		t.Errorf("provider %s %t", p, ok)
	}
}

// TestVerifyRefusesBeforeItAsks: what a token says of itself is enough to refuse
// it, and nobody is asked anything for it. These are the gaps that the library
// leaves, and pitfall 5: any job may ask for a token of any audience.
func TestVerifyRefusesBeforeItAsks(t *testing.T) {
	i, other := oidctest.New(t), oidctest.New(t)
	v, c := newVerifier(t, i)
	now := c.now()
	good := func() oidctest.Claims { return i.Times(now).With(oidctest.Claims{"aud": audience, "sub": "s"}) }
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for name, tt := range map[string]struct{ token, rule string }{
		"another issuer":                     {other.Sign(other.Times(now).With(oidctest.Claims{"aud": audience})), "oidc-unknown-issuer"},
		"an issuer with a slash":             {i.Sign(good().With(oidctest.Claims{"iss": i.URL + "/"})), "oidc-unknown-issuer"},
		"no issuer":                          {i.Sign(good().With(oidctest.Claims{"iss": nil})), "oidc-unknown-issuer"},
		"another audience":                   {i.Sign(good().With(oidctest.Claims{"aud": "https://github.com/octo"})), "oidc-audience"},
		"no audience":                        {i.Sign(good().With(oidctest.Claims{"aud": nil})), "oidc-audience"},
		"two audiences, one ours":            {i.Sign(good().With(oidctest.Claims{"aud": []string{audience, "https://other"}})), "oidc-audience"},
		"our audience in other letters":      {i.Sign(good().With(oidctest.Claims{"aud": strings.ToUpper(audience)})), "oidc-audience"},
		"expired":                            {i.Sign(good().With(oidctest.Claims{"exp": at(0), "iat": at(-time.Minute)})), "oidc-expired"},
		"no end":                             {i.Sign(good().With(oidctest.Claims{"exp": nil})), "oidc-times"},
		"no issue":                           {i.Sign(good().With(oidctest.Claims{"iat": nil})), "oidc-times"},
		"issued a minute ahead":              {i.Sign(good().With(oidctest.Claims{"iat": at(time.Minute), "nbf": at(0)})), "oidc-future"},
		"valid a minute ahead":               {i.Sign(good().With(oidctest.Claims{"nbf": at(time.Minute)})), "oidc-future"},
		"valid four minutes ahead":           {i.Sign(good().With(oidctest.Claims{"nbf": at(4 * time.Minute)})), "oidc-future"},
		"valid for ten days":                 {i.Sign(good().With(oidctest.Claims{"exp": at(240 * time.Hour)})), "oidc-life"},
		"valid for an hour and a second":     {i.Sign(good().With(oidctest.Claims{"exp": at(time.Hour + time.Second)})), "oidc-life"},
		"issued long ago, to last long":      {i.Sign(good().With(oidctest.Claims{"iat": at(-2 * time.Hour), "nbf": at(-2 * time.Hour)})), "oidc-life"},
		"no signature":                       {unsigned(i.Sign(good())), "oidc-algorithm"},
		"signed with a shared secret":        {oidctest.HMAC(t, i.Key(), good()), "oidc-algorithm"},
		"a token that ends a session":        {oidctest.SignWith(t, i.Key(), good(), (&jose.SignerOptions{}).WithType("logout+jwt")), "oidc-type"},
		"no token":                           {"ckt_abc", "oidc-malformed"},
		"empty":                              {"", "oidc-malformed"},
		"four parts":                         {i.Sign(good()) + ".x", "oidc-malformed"},
		"JSON form":                          {`{"payload":"e30","signatures":[]}`, "oidc-malformed"},
		"too long":                           {strings.Repeat("a", maxToken) + ".b.c", "oidc-malformed"},
		"claims twice":                       {twice(i.Sign(good())), "oidc-claims"},
		"issuer twice, in other letters too": {i.Sign(good().With(oidctest.Claims{"iss": other.URL, "ISS": i.URL})), "oidc-unknown-issuer"},
	} {
		if _, err := v.Verify(t.Context(), tt.token); rule(t, err) != tt.rule {
			t.Errorf("%s: %v, want %s", name, err, tt.rule)
		}
	}
	if n := i.Requests("") + other.Requests(""); n != 0 {
		t.Errorf("%d requests were made for tokens that say themselves that they are wrong", n)
	}
}

// unsigned says that a token has no signature.
func unsigned(token string) string {
	parts := strings.Split(token, ".")
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + "."
}

// twice has a claim stand there two times.
func twice(token string) string {
	parts := strings.Split(token, ".")
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"a","iss":"b"}`))
	return strings.Join(parts, ".")
}

func TestVerifyToleratesClocks(t *testing.T) {
	i := oidctest.New(t)
	v, c := newVerifier(t, i)
	ahead := c.now().Add(Skew)
	for name, changes := range map[string]oidctest.Claims{
		"both clocks are right":       {},
		"ours is half a minute slow":  {"iat": ahead.Unix(), "nbf": ahead.Unix()},
		"valid for an hour":           {"exp": c.now().Add(time.Hour).Unix()},
		"no nbf":                      {"nbf": nil},
		"one audience in a list":      {"aud": []string{audience}},
		"a second before its end":     {"iat": c.now().Add(-time.Minute).Unix(), "exp": c.now().Add(time.Second).Unix()},
		"claims that nobody looks at": {"ISS": "x", "x": []any{1, nil, map[string]any{"y": "z"}}},
	} {
		if _, err := v.Verify(t.Context(), i.Sign(i.Times(c.now()).With(oidctest.Claims{"aud": audience}).With(changes))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVerifyRefusesSignatures(t *testing.T) {
	i, other := oidctest.New(t), oidctest.New(t)
	v, c := newVerifier(t, i)
	claims := func() oidctest.Claims { return i.Times(c.now()).With(oidctest.Claims{"aud": audience}) }
	wrong := oidctest.NewKey(t, "key-1", jose.ES256) // another key under a published id
	bare := i.Key()
	bare.KeyID = ""
	evil := oidctest.NewKey(t, "", jose.ES256)
	embedded := oidctest.SignWith(t, evil, claims(), (&jose.SignerOptions{EmbedJWK: true}).WithType("JWT"))
	led := oidctest.SignWith(t, oidctest.NewKey(t, "evil", jose.ES256), claims(), (&jose.SignerOptions{}).WithHeader("jku", other.URL+"/keys").WithHeader("x5u", other.URL+"/cert"))
	changed := strings.Split(i.Sign(claims()), ".")
	changed[1] = strings.Split(i.Sign(claims().With(oidctest.Claims{"repository_id": "1"})), ".")[1]
	for name, tt := range map[string]struct{ token, rule string }{
		"another key of that id":          {oidctest.Sign(t, wrong, claims()), "oidc-signature"},
		"claims of another token":         {strings.Join(changed, "."), "oidc-signature"},
		"its own key in its header":       {embedded, "oidc-signature"},
		"a header that leads to keys":     {led, "oidc-key"},
		"a critical header nobody knows":  {oidctest.SignWith(t, i.Key(), claims(), (&jose.SignerOptions{}).WithCritical("x").WithHeader("x", 1)), "oidc-signature"},
		"no id of a key, and a right one": {oidctest.Sign(t, bare, claims()), ""},
	} {
		if _, err := v.Verify(t.Context(), tt.token); rule(t, err) != tt.rule {
			t.Errorf("%s: %v, want %s", name, err, tt.rule)
		}
	}
	if n := other.Requests(""); n != 0 {
		t.Errorf("%d requests were made where a header led to", n)
	}
}

// TestUnknownKeysDoNotAmplify: 200 tokens with ids of keys that there are not
// make two fetches, however many come at once.
func TestUnknownKeysDoNotAmplify(t *testing.T) {
	i := oidctest.New(t)
	v, c := newVerifier(t, i)
	flood := func() {
		var all sync.WaitGroup
		key := oidctest.NewKey(t, "x", jose.ES256)
		for n := range 200 {
			all.Go(func() {
				key := key
				key.KeyID = fmt.Sprint("random-", n)
				if _, err := v.Verify(t.Context(), oidctest.Sign(t, key, i.Times(c.now()).With(oidctest.Claims{"aud": audience}))); rule(t, err) != "oidc-key" {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	flood()
	flood()
	if n := i.Requests("/keys"); n != 1 {
		t.Errorf("%d fetches within a moment", n)
	}
	c.move(fetchPause)
	flood()
	if n := i.Requests("/keys"); n != 2 {
		t.Errorf("%d fetches after the pause", n)
	}
	if n := i.Requests(""); n != 3 {
		t.Errorf("%d requests in all", n)
	}
	// Meanwhile right tokens are accepted.
	if _, err := v.Verify(t.Context(), i.Sign(i.Times(c.now()).With(oidctest.Claims{"aud": audience}))); err != nil {
		t.Error(err)
	}
}

func TestKeyRotation(t *testing.T) {
	i := oidctest.New(t)
	v, c := newVerifier(t, i)
	token := func() string { return i.Sign(i.Times(c.now()).With(oidctest.Claims{"aud": audience})) }
	old := i.Key()
	if _, err := v.Verify(t.Context(), token()); err != nil {
		t.Fatal(err)
	}
	i.Rotate("key-2", jose.ES256)
	if _, err := v.Verify(t.Context(), token()); rule(t, err) != "oidc-key" {
		t.Fatalf("within the pause: %v", err)
	}
	c.move(fetchPause)
	if _, err := v.Verify(t.Context(), token()); err != nil {
		t.Fatalf("after the pause: %v", err)
	}
	// A key that the issuer withdrew is good no longer than keysFresh.
	i.Withdraw()
	if _, err := v.Verify(t.Context(), oidctest.Sign(t, old, i.Times(c.now()).With(oidctest.Claims{"aud": audience}))); err != nil {
		t.Fatalf("the old key, before anybody asked again: %v", err)
	}
	c.move(keysFresh)
	if _, err := v.Verify(t.Context(), oidctest.Sign(t, old, i.Times(c.now()).With(oidctest.Claims{"aud": audience}))); rule(t, err) != "oidc-key" {
		t.Fatalf("a withdrawn key: %v", err)
	}
}

// TestIssuerFails: what cannot be checked is not accepted, and an issuer that
// does not answer is not asked again and again.
func TestIssuerFails(t *testing.T) {
	big := strings.Repeat(" ", maxKeySet+1)
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"down":    func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true },
		"no JSON": func(w http.ResponseWriter, _ *http.Request) bool { fmt.Fprint(w, "<html>"); return true },
		"huge":    func(w http.ResponseWriter, _ *http.Request) bool { fmt.Fprint(w, "{}"+big); return true },
		"another issuer": func(w http.ResponseWriter, _ *http.Request) bool {
			fmt.Fprint(w, `{"issuer":"https://evil"}`)
			return true
		},
		"no keys":                 onKeys(`{"keys":[]}`),
		"only a shared secret":    onKeys(`{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"key-1"}]}`),
		"too many keys":           onKeys(`{"keys":[` + strings.TrimSuffix(strings.Repeat(`{},`, maxKeys+1), ",") + `]}`),
		"a key that is too small": onKeys(`{"keys":[{"kty":"RSA","kid":"key-1","e":"AQAB","n":"` + base64.RawURLEncoding.EncodeToString(append([]byte{0xc1}, make([]byte, 126)...)) + `Aw"}]}`),
	} {
		t.Run(name, func(t *testing.T) {
			i := oidctest.New(t)
			i.Answer = answer
			v, c := newVerifier(t, i)
			for range 5 {
				_, err := v.Verify(t.Context(), i.Sign(i.Times(c.now()).With(oidctest.Claims{"aud": audience})))
				if rule(t, err) != "oidc-issuer" || problem.KindOf(err) != problem.Unavailable {
					t.Fatalf("got %v", err)
				}
			}
			if n := i.Requests(""); n > 2 {
				t.Errorf("%d requests to an issuer that does not answer", n)
			}
			i.Answer = nil
			c.move(fetchPause)
			if _, err := v.Verify(t.Context(), i.Sign(i.Times(c.now()).With(oidctest.Claims{"aud": audience}))); err != nil {
				t.Errorf("it is back: %v", err)
			}
		})
	}
}

func onKeys(body string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/keys" {
			return false
		}
		fmt.Fprint(w, body)
		return true
	}
}

// TestKeysEnd: keys that could not be asked for again stop counting.
func TestKeysEnd(t *testing.T) {
	i := oidctest.New(t)
	v, c := newVerifier(t, i)
	token := func() string { return i.Sign(i.Times(c.now()).With(oidctest.Claims{"aud": audience})) }
	if _, err := v.Verify(t.Context(), token()); err != nil {
		t.Fatal(err)
	}
	i.Answer = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(503); return true }
	c.move(keysFresh)
	if _, err := v.Verify(t.Context(), token()); err != nil {
		t.Fatalf("a short outage: %v", err)
	}
	c.move(keysUsable)
	if _, err := v.Verify(t.Context(), token()); rule(t, err) != "oidc-issuer" {
		t.Fatalf("a long one: %v", err)
	}
}

// TestSlowIssuer: whoever waits may leave, and the fetch goes on for the next.
func TestSlowIssuer(t *testing.T) {
	i := oidctest.New(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	var once sync.Once
	i.Answer = func(_ http.ResponseWriter, r *http.Request) bool {
		once.Do(func() { close(asked); <-answer })
		return false
	}
	v, c := newVerifier(t, i)
	token := i.Sign(i.Times(c.now()).With(oidctest.Claims{"aud": audience}))
	first := make(chan error)
	go func() {
		_, err := v.Verify(context.WithoutCancel(t.Context()), token)
		first <- err
	}()
	<-asked
	leaving, leave := context.WithCancel(t.Context())
	second := make(chan error)
	go func() {
		_, err := v.Verify(leaving, token)
		second <- err
	}()
	leave()
	if err := <-second; err == nil {
		t.Error("it was accepted before the keys came")
	}
	close(answer)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// TestFloodDelaysNobody: while the issuer is slow to answer for a key that it may
// not have, tokens of known keys are accepted.
func TestFloodDelaysNobody(t *testing.T) {
	i := oidctest.New(t)
	v, c := newVerifier(t, i)
	token := func(key jose.JSONWebKey) string {
		return oidctest.Sign(t, key, i.Times(c.now()).With(oidctest.Claims{"aud": audience}))
	}
	if _, err := v.Verify(t.Context(), token(i.Key())); err != nil {
		t.Fatal(err)
	}
	asked, answer := make(chan struct{}), make(chan struct{})
	i.Answer = func(http.ResponseWriter, *http.Request) bool { close(asked); <-answer; return false }
	c.move(fetchPause)
	unknown := make(chan error)
	go func() {
		_, err := v.Verify(context.WithoutCancel(t.Context()), token(oidctest.NewKey(t, "unknown", jose.ES256)))
		unknown <- err
	}()
	<-asked
	if _, err := v.Verify(t.Context(), token(i.Key())); err != nil {
		t.Error(err)
	}
	close(answer)
	if err := <-unknown; rule(t, err) != "oidc-key" {
		t.Error(err)
	}
}

// TestPrivateIssuer: the addresses that the server may call hold for issuers,
// and for where they lead.
func TestPrivateIssuer(t *testing.T) {
	i := oidctest.New(t)
	c := newClock()
	strict := remote.New(remote.Config{})
	defer strict.Close()
	v := New(Config{Client: strict, Issuers: []Issuer{{Provider: access.ProviderGitHub, URL: i.URL}}, Audience: audience, Now: c.now})
	if _, err := v.Verify(t.Context(), i.Sign(i.Times(c.now()).With(oidctest.Claims{"aud": audience}))); rule(t, err) != "oidc-issuer" {
		t.Errorf("a private address: %v", err)
	}
	i.Metadata["jwks_uri"] = "http://169.254.169.254/keys"
	v, c = newVerifier(t, i)
	if _, err := v.Verify(t.Context(), i.Sign(i.Times(c.now()).With(oidctest.Claims{"aud": audience}))); rule(t, err) != "oidc-issuer" {
		t.Errorf("keys at a private address: %v", err)
	}
}

// TestKeysByFile: a cluster that cannot be reached, whose issuer may be a mere
// name; a new file is read like new keys.
func TestKeysByFile(t *testing.T) {
	i := oidctest.New(t)
	file := filepath.Join(t.TempDir(), "jwks.json")
	write := func() {
		if err := os.WriteFile(file, i.KeySet(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := newClock()
	v := New(Config{Client: outward(t), Issuers: []Issuer{{access.ProviderKubernetes, "kubernetes/serviceaccount", file}}, Audience: audience, Now: c.now})
	token := func() string {
		return i.Sign(i.Times(c.now()).With(oidctest.Claims{"aud": []string{audience}, "iss": "kubernetes/serviceaccount"}))
	}
	if _, err := v.Verify(t.Context(), token()); rule(t, err) != "oidc-issuer" {
		t.Errorf("without the file: %v", err)
	}
	write()
	c.move(fetchPause)
	if _, err := v.Verify(t.Context(), token()); err != nil {
		t.Error(err)
	}
	i.Rotate("key-2", jose.ES256)
	write()
	c.move(fetchPause)
	if _, err := v.Verify(t.Context(), token()); err != nil {
		t.Errorf("after a rotation: %v", err)
	}
	if n := i.Requests(""); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// TestOtherSignatureOfOneToken: an ECDSA signature can be turned into another
// valid one by anybody. What a token is remembered by does not change with it.
func TestOtherSignatureOfOneToken(t *testing.T) {
	i := oidctest.New(t)
	i.Rotate("key-2", jose.ES256)
	v, c := newVerifier(t, i)
	token := i.Sign(i.Times(c.now()).With(oidctest.Claims{"aud": audience, "jti": nil}))
	parts := strings.Split(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	n, _ := new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
	s := new(big.Int).SetBytes(raw[32:])
	copy(raw[32:], new(big.Int).Sub(n, s).FillBytes(make([]byte, 32)))
	parts[2] = base64.RawURLEncoding.EncodeToString(raw)
	first, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	second, err := v.Verify(t.Context(), strings.Join(parts, "."))
	if err != nil {
		t.Fatalf("the other signature is not valid, so this test shows nothing: %v", err)
	}
	if strings.Join(parts, ".") == token || first.Use() != second.Use() {
		t.Error("one token is taken for two")
	}
}

func TestNothingWithoutAudience(t *testing.T) {
	i := oidctest.New(t)
	v := New(Config{Client: outward(t), Issuers: []Issuer{{Provider: access.ProviderGitHub, URL: i.URL}}})
	_, err := v.Verify(t.Context(), i.Sign(i.Times(time.Now()).With(oidctest.Claims{"aud": ""})))
	if problem.KindOf(err) != problem.Unsupported {
		t.Errorf("got %v", err)
	}
}

func FuzzReadUnverified(f *testing.F) {
	f.Add("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2ln")
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := readUnverified(token); err != nil && rule(t, err) == "" {
			t.Error(err)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"a"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b"},null,1]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseKeys(text)
		if err == nil && (len(keys) == 0 || len(keys) > maxKeys) {
			t.Errorf("%d keys", len(keys))
		}
	})
}
