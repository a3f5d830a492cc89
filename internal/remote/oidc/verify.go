package oidc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
)

// Skew is how far clocks may differ: a token that says it was issued later than
// that from now is refused.
const Skew = 30 * time.Second

// DefaultMaxLife is the longest that a pipeline's token may be valid, from its
// issue to its end, unless the configuration says otherwise. GitHub's last five
// to ten minutes, GitLab's and Kubernetes's up to an hour.
const DefaultMaxLife = time.Hour

// maxToken bounds a token, in bytes.
const maxToken = 24 << 10

// Issuer is an issuer whose tokens pipelines may show.
type Issuer struct {
	Provider access.Provider
	URL      string
	Keys     string // file of its key set, for an issuer that cannot be reached; "" asks it
}

// Config is what a Verifier is made of.
type Config struct {
	Client   *remote.Client
	Issuers  []Issuer
	Audience string        // whom tokens must be for; "" accepts none
	MaxLife  time.Duration // 0 is DefaultMaxLife
	Now      func() time.Time
}

// Verifier checks the identity tokens of pipelines. It is safe for concurrent
// use. It remembers keys, and nothing of a token.
type Verifier struct {
	config  Config
	issuers map[string]*issuer
}

// New makes a verifier. It asks nobody anything yet.
func New(c Config) *Verifier {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.MaxLife == 0 {
		c.MaxLife = DefaultMaxLife
	}
	v := &Verifier{config: c, issuers: map[string]*issuer{}}
	for _, i := range c.Issuers {
		v.issuers[i.URL] = newIssuer(i.URL, i.Keys, c.Client, c.Now)
	}
	return v
}

// Audience is whom tokens must be for.
func (v *Verifier) Audience() string { return v.config.Audience }

// Provider says which kind of platform an issuer is; ok is false for one whose
// tokens are not accepted.
func (v *Verifier) Provider(issuer string) (p access.Provider, ok bool) {
	i := slices.IndexFunc(v.config.Issuers, func(i Issuer) bool { return i.URL == issuer })
	if i < 0 {
		return "", false
	}
	return v.config.Issuers[i].Provider, true
}

// Issuers lists the issuers of a provider.
func (v *Verifier) Issuers(p access.Provider) []string {
	var out []string
	for _, i := range v.config.Issuers {
		if i.Provider == p {
			out = append(out, i.URL)
		}
	}
	return out
}

// Verify checks a token and returns what it says. Problems: unauthenticated for
// a token that is not accepted; unsupported where the server has no audience;
// unavailable where the issuer's keys cannot be had. Cost: one signature, and at
// times a fetch, see the package comment.
func (v *Verifier) Verify(ctx context.Context, token string) (access.Claims, error) {
	if v.config.Audience == "" || len(v.config.Issuers) == 0 {
		return access.Claims{}, problem.New(problem.Unsupported, "oidc-off", "this server takes no identity tokens: it does not know its own address").
			Suggest("an operator sets external-url, or publisher-audience")
	}
	claims, err := readUnverified(token)
	if err != nil {
		return access.Claims{}, err
	}
	from, ok := v.issuers[claims.Issuer]
	if !ok {
		return access.Claims{}, refuse("oidc-unknown-issuer", "tokens of the issuer %.200q are not accepted here", claims.Issuer).
			Suggest("an operator adds the issuer to the setting publisher-issuers")
	}
	if err := v.check(&claims); err != nil {
		return access.Claims{}, err
	}
	signed, err := verifySignature(ctx, from, token, v.config.Audience, v.config.Now)
	if err != nil {
		return access.Claims{}, err
	}
	// What counts is what was signed, read by the same rules.
	if claims, err = access.ParseClaims(signed); err == nil {
		err = v.check(&claims)
	}
	if err == nil && claims.Issuer != from.url {
		err = refuse("oidc-refused", "the identity token is not accepted")
	}
	if err != nil {
		return access.Claims{}, err
	}
	return claims, nil
}

// check holds what a token says of its audience and times to the rules.
func (v *Verifier) check(c *access.Claims) error {
	if len(c.Audience) != 1 || c.Audience[0] != v.config.Audience {
		e := refuse("oidc-audience", "the identity token is not for this server, or not for it alone").With("expected", "%s", v.config.Audience)
		for n, a := range c.Audience {
			if n == 3 {
				break
			}
			e.With("token is for", "%.200s", a)
		}
		return e.Suggest("ask for a token whose only audience is %s", v.config.Audience)
	}
	now := v.config.Now()
	if err := checkTimes(c, now); err != nil {
		return err
	}
	if life := c.Expires.Sub(c.Issued); life > v.config.MaxLife {
		return refuse("oidc-life", "the identity token is valid for too long").With("its life", "%s", life).With("longest", "%s", v.config.MaxLife).
			Suggest("ask for a token with a shorter life")
	}
	return nil
}

// checkTimes refuses what has expired and what is not yet valid. All of it is
// counted from the time of issue, so that has to be there.
func checkTimes(c *access.Claims, now time.Time) error {
	const form = "2006-01-02 15:04:05Z"
	switch {
	case c.Expires.IsZero() || c.Issued.IsZero():
		return refuse("oidc-times", "the identity token does not say when it was issued and when it ends")
	case !now.Before(c.Expires):
		return refuse("oidc-expired", "the identity token has expired").With("at", "%s", c.Expires.Format(form)).With("now", "%s", now.UTC().Format(form)).
			Suggest("ask for a new one right before it is used")
	case c.Issued.After(now.Add(Skew)):
		return refuse("oidc-future", "the identity token says that it is issued in the future").With("issued", "%s", c.Issued.Format(form)).
			With("now", "%s", now.UTC().Format(form)).Suggest("see that the clocks of both sides are right")
	case c.NotBefore.After(now.Add(Skew)):
		return refuse("oidc-future", "the identity token is not yet valid").With("not before", "%s", c.NotBefore.Format(form)).
			With("now", "%s", now.UTC().Format(form)).Suggest("see that the clocks of both sides are right")
	}
	return nil
}

func refuse(rule, format string, args ...any) *problem.Error {
	return problem.New(problem.Unauthenticated, rule, format, args...)
}

// header is that of a JSON Web Signature, as far as it is read before anything
// is fetched.
type header struct {
	Algorithm jose.SignatureAlgorithm `json:"alg"`
	Type      string                  `json:"typ"`
	KeyID     string                  `json:"kid"`
}

// readUnverified reads a token in its compact form. Nothing that it says is
// known to be true.
func readUnverified(token string) (access.Claims, error) {
	malformed := func(why string) error {
		return refuse("oidc-malformed", "this is no identity token: %s", why).
			Suggest("give the JSON Web Token of the platform, three parts of letters and digits with dots between them")
	}
	parts := strings.Split(token, ".")
	switch {
	case len(token) > maxToken:
		return access.Claims{}, malformed(fmt.Sprintf("it has more than %d bytes", maxToken))
	case len(parts) != 3:
		return access.Claims{}, malformed("it does not have three parts")
	}
	h, err := readHeader(parts[0])
	if err != nil {
		return access.Claims{}, malformed("its header cannot be read")
	}
	if !slices.Contains(algorithms, h.Algorithm) {
		return access.Claims{}, refuse("oidc-algorithm", "the identity token is signed with %.20q, which is not accepted", h.Algorithm)
	}
	if h.Type != "" && !strings.EqualFold(h.Type, "JWT") {
		return access.Claims{}, refuse("oidc-type", "this is a token of type %.40q and no identity token", h.Type)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return access.Claims{}, malformed("its claims are not base64url")
	}
	return access.ParseClaims(payload)
}

func readHeader(part string) (h header, err error) {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err == nil && len(h.KeyID) > 512 {
		err = errors.New("its key id is too long")
	}
	return h, err
}

// signatureCheck is the key set that go-oidc asks about one token. go-oidc keeps
// only the text of an error, so the error itself is kept here.
type signatureCheck struct {
	from    *issuer
	payload []byte // what was signed
	err     error
}

// VerifySignature implements go-oidc's KeySet.
func (s *signatureCheck) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	s.payload, s.err = s.verify(ctx, token)
	return s.payload, s.err
}

func (s *signatureCheck) verify(ctx context.Context, token string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, refuse("oidc-malformed", "this is no identity token: its signature cannot be read").Because(err)
	}
	h := signed.Signatures[0].Header
	keys, err := s.from.keysFor(ctx, h.KeyID)
	if err != nil {
		return nil, err
	}
	for n := range keys {
		if keys[n].Algorithm != "" && keys[n].Algorithm != h.Algorithm {
			continue
		}
		// The key itself: with a JSONWebKey, go-jose would read more of the
		// header.
		if payload, err := signed.Verify(keys[n].Key); err == nil {
			return payload, nil
		}
	}
	return nil, refuse("oidc-signature", "the signature of the identity token does not hold under the keys of %s", s.from.url)
}

// verifySignature has go-oidc check signature, issuer, audience and end of a
// token whose claims passed our own rules, and returns what was signed.
func verifySignature(ctx context.Context, from *issuer, token, audience string, now func() time.Time) ([]byte, error) {
	names := make([]string, len(algorithms))
	for i, a := range algorithms {
		names[i] = string(a)
	}
	set := &signatureCheck{from: from}
	_, err := goidc.NewVerifier(from.url, set, &goidc.Config{ClientID: audience, SupportedSigningAlgs: names, Now: now}).Verify(ctx, token)
	switch {
	case set.err != nil:
		return nil, set.err
	case err != nil:
		return nil, refuse("oidc-refused", "the identity token is not accepted").Because(err)
	}
	return set.payload, nil
}
