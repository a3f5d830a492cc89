package signature

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Kind is a way of signing.
type Kind string

// The kinds.
const (
	PGP     Kind = "pgp"     // a provenance file
	Key     Kind = "key"     // a sigstore bundle with a key of one's own
	Keyless Kind = "keyless" // a sigstore bundle with a certificate
)

// Kinds lists every kind.
func Kinds() []Kind { return []Kind{PGP, Key, Keyless} }

// Require says how many signatures a release needs.
type Require string

// The requirements. "" is None.
const (
	None Require = "none" // none; signatures that come are looked at and shown
	Any  Require = "any"  // one of any of the kinds
	All  Require = "all"  // one of each of the kinds
)

// Limits of a policy.
const (
	MaxSigners     = 32
	MaxGlobs       = 64 // charts of a policy or of a signer
	MaxPublishers  = 64 // of a signer
	maxSignerName  = 63
	maxPGPKey      = 32 << 10 // bytes of an armored public key
	maxPublicKey   = 4 << 10  // bytes of a PEM public key
	maxIssuer      = 512      // bytes
	maxIdentity    = 1024     // bytes of a subject or a publisher
	MaxTrustedRoot = 64 << 10 // bytes
	// MaxPolicy bounds the JSON of a policy in bytes, so that it fits a request.
	MaxPolicy = 160 << 10
)

// Policy is what a project asks of the signatures of its releases. Its JSON is
// part of the project's policy, whose digest stands in every leaf.
type Policy struct {
	Require Require `json:"require"`
	Kinds   []Kind  `json:"kinds,omitempty"` // what Require speaks of
	// Charts are the charts that the requirement is for, as globs; none: all.
	Charts []string `json:"charts,omitempty"`
	// DryRun reports what would be refused and refuses nothing.
	DryRun bool `json:"dry_run,omitempty"`
	// Distinct asks that whoever signs is not the publisher of the release: a
	// signature does not count where the owner of its key published.
	Distinct bool     `json:"distinct,omitempty"`
	Signers  []Signer `json:"signers,omitempty"`
	// TrustedRoot is a sigstore trusted root (JSON): the certificate
	// authorities, logs and time stamps by which keyless bundles are judged.
	TrustedRoot string `json:"trusted_root,omitempty"`
}

// Signer is a key or an identity, with what it may sign. It has exactly one of
// PGP, Key, and Issuer with Subject.
type Signer struct {
	Name    string `json:"name"`
	PGP     string `json:"pgp,omitempty"`     // one OpenPGP public key, armored
	Key     string `json:"key,omitempty"`     // a public key, PEM: ECDSA P-256, Ed25519, RSA from 3072 bits
	Issuer  string `json:"issuer,omitempty"`  // of the identity in a certificate, exact
	Subject string `json:"subject,omitempty"` // the identity; * stands for anything but a slash
	// From, Until and Revoked bound when a signature of it counts: from From on,
	// before Until and before Revoked. Zero: no bound.
	From    time.Time `json:"from,omitzero"`
	Until   time.Time `json:"until,omitzero"`
	Revoked time.Time `json:"revoked,omitzero"`
	// Charts are globs of the charts that it signs; none: all.
	Charts []string `json:"charts,omitempty"`
	// Publishers are those whose releases it signs, see Publisher; none: all.
	Publishers []string `json:"publishers,omitempty"`
	// Owner is the publisher that holds the key, for Policy.Distinct.
	Owner string `json:"owner,omitempty"`
}

// Kind is the way in which the signer signs; "" when that is not clear.
func (s *Signer) Kind() Kind {
	switch {
	case s.PGP != "" && s.Key == "" && s.Issuer == "" && s.Subject == "":
		return PGP
	case s.Key != "" && s.PGP == "" && s.Issuer == "" && s.Subject == "":
		return Key
	case s.Issuer != "" && s.Subject != "" && s.PGP == "" && s.Key == "":
		return Keyless
	}
	return ""
}

// ends is when a signature of it counts no more; zero: never.
func (s *Signer) ends() time.Time {
	if s.Revoked.IsZero() || !s.Until.IsZero() && s.Until.Before(s.Revoked) {
		return s.Until
	}
	return s.Revoked
}

// Publisher names who published a release, as Signer.Publishers and Owner do:
// the account's id, or issuer and subject of somebody from outside.
func Publisher(issuer, subject string) string {
	if issuer == "" || issuer == "chartkeep" {
		return subject
	}
	return issuer + " " + subject
}

// Enforces says whether the policy keeps releases of a chart back. A nil policy
// enforces nothing.
func (p *Policy) Enforces(chartName string) bool {
	return p.Asks(chartName) && !p.DryRun
}

// Asks is Enforces for a policy that may only report.
func (p *Policy) Asks(chartName string) bool {
	return p != nil && (p.Require == Any || p.Require == All) && covers(p.Charts, chartName)
}

// counts says whether signatures of a kind are part of the requirement.
func (p *Policy) counts(k Kind) bool { return slices.Contains(p.Kinds, k) }

// Missing says what a release of a chart lacks that has verified signatures of
// these kinds: "a pgp signature", "a pgp or a key signature"; "" when nothing.
func (p *Policy) Missing(chartName string, have []Kind) string {
	if !p.Asks(chartName) {
		return ""
	}
	var lack []string
	for _, k := range p.Kinds {
		if !slices.Contains(have, k) {
			lack = append(lack, "a "+string(k))
		} else if p.Require == Any {
			return ""
		}
	}
	if len(lack) == 0 {
		return ""
	}
	word := " and "
	if p.Require == Any {
		word = " or "
	}
	return strings.Join(lack, word) + " signature"
}

// Refuses says whether a signature that came out like this may not be attached
// to a release of the chart.
func (p *Policy) Refuses(chartName string, s *Signature) bool {
	return p.Asks(chartName) && s.Verdict == Refused && (s.Kind == "" || p.counts(s.Kind))
}

// Normal is the policy in the one form in which it is stored and hashed: lists
// sorted and without doubles, times in UTC and whole seconds.
func (p Policy) Normal() Policy {
	p.Require = cmp.Or(p.Require, None)
	p.Kinds = sorted(p.Kinds)
	p.Charts = sorted(p.Charts)
	p.Signers = slices.Clone(p.Signers)
	for i := range p.Signers {
		s := &p.Signers[i]
		s.From, s.Until, s.Revoked = whole(s.From), whole(s.Until), whole(s.Revoked)
		s.Charts, s.Publishers = sorted(s.Charts), sorted(s.Publishers)
	}
	slices.SortStableFunc(p.Signers, func(a, b Signer) int { return strings.Compare(a.Name, b.Name) })
	return p
}

func sorted[T ~string](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

func whole(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Second)
}

// RulePolicy is the rule of a policy that is none.
const RulePolicy = "signature-policy"

func badPolicy(format string, args ...any) *problem.Error {
	return problem.New(problem.Invalid, RulePolicy, format, args...).
		Suggest("chartkeep policy check FILE")
}

// Check refuses a policy that contradicts itself, asks for what nobody can
// give, or has a key that may not be used. The trusted root is not read; see
// package keyless.
func (p *Policy) Check() error {
	switch p.Require {
	case "", None, Any, All:
	default:
		return badPolicy("signatures cannot be required as %.40q", p.Require).With("known", "%s, %s, %s", None, Any, All)
	}
	asks := p.Require == Any || p.Require == All
	if asks && len(p.Kinds) == 0 {
		return badPolicy("signatures are required, but no kinds of them are named").With("kinds", "%s, %s, %s", PGP, Key, Keyless)
	}
	for _, k := range p.Kinds {
		if !slices.Contains(Kinds(), k) {
			return badPolicy("there is no kind of signature %.40q", k).With("kinds", "%s, %s, %s", PGP, Key, Keyless)
		}
		if !slices.ContainsFunc(p.Signers, func(s Signer) bool { return s.Kind() == k }) {
			return badPolicy("signatures of kind %s are asked for, but no signer can make them", k)
		}
	}
	if err := checkGlobs("the policy", p.Charts); err != nil {
		return err
	}
	if err := p.checkSigners(); err != nil {
		return err
	}
	hasKeyless := slices.ContainsFunc(p.Signers, func(s Signer) bool { return s.Kind() == Keyless })
	switch {
	case hasKeyless && p.TrustedRoot == "":
		return badPolicy("an identity signs, but there is no trusted root to judge its certificates by")
	case !hasKeyless && p.TrustedRoot != "":
		return badPolicy("there is a trusted root, but no signer that needs one")
	case len(p.TrustedRoot) > MaxTrustedRoot:
		return badPolicy("the trusted root has %d bytes, and %d are allowed", len(p.TrustedRoot), MaxTrustedRoot)
	case p.TrustedRoot != "" && !json.Valid([]byte(p.TrustedRoot)):
		return badPolicy("the trusted root is not JSON")
	}
	b, err := json.Marshal(p.Normal())
	if err != nil {
		return badPolicy("it has no JSON form").Because(err)
	}
	if len(b) > MaxPolicy {
		return problem.New(problem.TooLarge, RulePolicy, "the signature policy has %d bytes, and %d are allowed", len(b), MaxPolicy)
	}
	return nil
}

func (p *Policy) checkSigners() error {
	if len(p.Signers) > MaxSigners {
		return badPolicy("there are %d signers, and %d are allowed", len(p.Signers), MaxSigners)
	}
	names := map[string]bool{}
	for i := range p.Signers {
		s := &p.Signers[i]
		if len(s.Name) > maxSignerName || !chart.IsSegment(s.Name) {
			return badPolicy("%.80q is not a name for a signer: lower-case letters and digits with . _ - between them", s.Name)
		}
		if names[s.Name] {
			return badPolicy("there are two signers named %s", s.Name)
		}
		names[s.Name] = true
		if p.Distinct && s.Owner == "" {
			return badPolicy("whoever signs may not be the publisher, but signer %s has no owner", s.Name)
		}
		if err := s.check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Signer) check() error {
	switch s.Kind() {
	case "":
		return badPolicy("signer %s has to have exactly one of a PGP key, a public key, and an issuer with a subject", s.Name)
	case PGP:
		if _, err := readPGP(s.PGP); err != nil {
			return inSigner(s.Name, err)
		}
	case Key:
		if _, err := readPublicKey(s.Key); err != nil {
			return inSigner(s.Name, err)
		}
	case Keyless:
		if !isText(s.Issuer, maxIssuer) || strings.Contains(s.Issuer, "*") {
			return badPolicy("the issuer of signer %s is not an exact name", s.Name)
		}
		if !isText(s.Subject, maxIdentity) || strings.Trim(s.Subject, "*/") == "" {
			return badPolicy("the subject of signer %s would be anybody", s.Name)
		}
	}
	for _, t := range []time.Time{s.From, s.Until, s.Revoked} {
		if !t.IsZero() && (t.Year() < 2000 || t.Year() > 2999) {
			return badPolicy("signer %s has a time that cannot be meant: %s", s.Name, t.UTC().Format(time.RFC3339))
		}
	}
	if !s.Until.IsZero() && !s.From.Before(s.Until) {
		return badPolicy("signer %s ends before it begins", s.Name)
	}
	if len(s.Publishers) > MaxPublishers {
		return badPolicy("signer %s names %d publishers, and %d are allowed", s.Name, len(s.Publishers), MaxPublishers)
	}
	if s.Owner != "" && !isText(s.Owner, maxIdentity) || slices.ContainsFunc(s.Publishers, func(id string) bool { return !isText(id, maxIdentity) }) {
		return badPolicy("signer %s names a publisher that is no text of at most %d bytes", s.Name, maxIdentity)
	}
	return checkGlobs("signer "+s.Name, s.Charts)
}

// inSigner says of which signer a problem is.
func inSigner(name string, err error) error {
	if e, ok := problem.As(err); ok {
		return problem.New(e.Kind, e.Rule, "signer %s: %s", name, e.Message)
	}
	return badPolicy("signer %s: its key cannot be read", name).Because(err)
}

func isText(s string, most int) bool {
	return s != "" && len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) && strings.TrimSpace(s) == s
}

func checkGlobs(whose string, globs []string) error {
	if len(globs) > MaxGlobs {
		return badPolicy("%s names %d charts, and %d are allowed", whose, len(globs), MaxGlobs)
	}
	for _, g := range globs {
		if g == "" || len(g) > 128 || strings.Trim(g, "abcdefghijklmnopqrstuvwxyz0123456789.-_*") != "" {
			return badPolicy("%s names charts as %.80q: a name, in which * stands for anything", whose, g)
		}
	}
	return nil
}

// covers says whether a chart is meant by a list of globs; an empty list means
// all.
func covers(globs []string, chartName string) bool {
	return len(globs) == 0 || slices.ContainsFunc(globs, func(g string) bool { return match(g, chartName) })
}

// match holds text against a pattern in which * stands for any run of
// characters but a slash. Both ends are anchored. Cost: the product of both
// lengths at the most.
func match(pattern, text string) bool {
	p, t := 0, 0
	star, from := -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, t
			p++
		case p < len(pattern) && pattern[p] == text[t]:
			p++
			t++
		case star >= 0 && text[from] != '/':
			from++
			p, t = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
