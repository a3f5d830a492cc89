package signature

import (
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Verdict is what came of looking at a signature.
type Verdict string

// The verdicts.
const (
	Verified  Verdict = "verified"  // it holds, and its signer may sign this release
	Refused   Verdict = "refused"   // it does not hold, or its signer may not
	Unchecked Verdict = "unchecked" // there is nothing to hold it against
)

// The things that a signature can be about.
const (
	AboutArchive  = "archive"
	AboutManifest = "manifest"
)

// Signature is one signature of a release, and what came of looking at it.
type Signature struct {
	Kind    Kind    `json:"kind,omitempty"` // "" where that could not be read
	Digest  string  `json:"digest,omitempty"`
	Verdict Verdict `json:"verdict"`
	Signer  string  `json:"signer,omitempty"` // its name in the policy, when verified
	Key     string  `json:"key,omitempty"`    // fingerprint of the key, or issuer and subject of the identity
	About   string  `json:"about,omitempty"`  // archive or manifest
	Rule    string  `json:"rule,omitempty"`   // of the check that refused
	Detail  string  `json:"detail,omitempty"`
	// Policy is the digest of the project's policy by which it was judged, and
	// Time the moment of signing that counted.
	Policy string    `json:"policy,omitempty"`
	Time   time.Time `json:"time"`
}

// refuse makes it one that was refused.
func (s Signature) refuse(err error) Signature {
	s.Verdict, s.Signer = Refused, ""
	s.Rule, s.Detail = "signature-unreadable", err.Error()
	if e, ok := problem.As(err); ok {
		s.Rule, s.Detail = e.Rule, e.Message
		for _, f := range e.Facts {
			s.Detail += "; " + f.Label + ": " + f.Value
		}
	}
	return s
}

// Subject is what has to be signed.
type Subject struct {
	Chart, Version string
	Archive        string // digest of the .tgz, sha256
	Manifest       string // digest of the OCI manifest, sha256 or sha512; "" when there is none
	Publisher      string // see Publisher
	// Moment is the moment of signing that counts.
	Moment time.Time
}

// Skew is how far the clocks of a signer and of whoever judges may differ.
const Skew = 10 * time.Minute

// Certified is what a keyless bundle proves.
type Certified struct {
	Issuer  string    // of the identity
	Subject string    // the identity
	Digest  string    // the one of those asked for that it is about
	Time    time.Time // when it was signed, by its log or time stamp
}

// Certifier verifies keyless bundles against a trusted root; package keyless has
// one. It fetches nothing. Errors are problems.
type Certifier interface {
	// CheckRoot reads a trusted root.
	CheckRoot(root []byte) error
	// Certify verifies a bundle about one of the digests (sha256:…).
	Certify(root, bundle []byte, digests ...string) (Certified, error)
}

// Verifier judges signatures by one policy. It may be used concurrently.
type Verifier struct {
	policy  *Policy
	pgp     []pgpSigner
	keys    []keySigner
	certs   []*Signer
	keyless Certifier
}

type pgpSigner struct {
	*Signer
	entity *openpgp.Entity
}

type keySigner struct {
	*Signer
	key publicKey
}

// NewVerifier reads the keys of a policy, nil for one without signers. Without
// a certifier, bundles with certificates are refused. Cost: a millisecond for each
// PGP key.
func NewVerifier(p *Policy, keyless Certifier) (*Verifier, error) {
	if p == nil {
		p = &Policy{}
	}
	v := &Verifier{policy: p, keyless: keyless}
	for i := range p.Signers {
		s := &p.Signers[i]
		switch s.Kind() {
		case PGP:
			e, err := readPGP(s.PGP)
			if err != nil {
				return nil, inSigner(s.Name, err)
			}
			v.pgp = append(v.pgp, pgpSigner{s, e})
		case Key:
			k, err := readPublicKey(s.Key)
			if err != nil {
				return nil, inSigner(s.Name, err)
			}
			v.keys = append(v.keys, keySigner{s, k})
		case Keyless:
			v.certs = append(v.certs, s)
		default:
			return nil, badPolicy("signer %s has no key and no identity", s.Name)
		}
	}
	return v, nil
}

// Rules of what a signer may.
const (
	ruleUnknown   = "signature-unknown-signer"
	ruleWindow    = "signature-window"
	ruleRevoked   = "signature-revoked"
	ruleChart     = "signature-chart"
	rulePublisher = "signature-publisher"
	ruleOwn       = "signature-own-release"
)

func refused(rule, format string, args ...any) *problem.Error {
	return problem.New(problem.Policy, rule, format, args...)
}

// allows says whether a signer may sign a release, whose signature holds.
func (v *Verifier) allows(s *Signer, sub *Subject) error {
	at := sub.Moment
	switch {
	case !s.Revoked.IsZero() && !at.Before(s.Revoked):
		return refused(ruleRevoked, "signer %s was revoked at %s, and the signature came at %s", s.Name, stamp(s.Revoked), stamp(at))
	case !s.From.IsZero() && at.Before(s.From):
		return refused(ruleWindow, "signer %s counts from %s on, and the signature came at %s", s.Name, stamp(s.From), stamp(at))
	case !s.Until.IsZero() && !at.Before(s.Until):
		return refused(ruleWindow, "signer %s counted until %s, and the signature came at %s", s.Name, stamp(s.Until), stamp(at))
	case !covers(s.Charts, sub.Chart):
		return refused(ruleChart, "signer %s may not sign chart %s", s.Name, sub.Chart)
	case len(s.Publishers) > 0 && !contains(s.Publishers, sub.Publisher):
		return refused(rulePublisher, "signer %s may not sign for publisher %s", s.Name, sub.Publisher)
	case v.policy.Distinct && (s.Owner == "" || s.Owner == sub.Publisher):
		return refused(ruleOwn, "signer %s belongs to the publisher of the release, and whoever signs may not be who publishes", s.Name)
	}
	return nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// best keeps the reason that says most: one of a signer that did sign says
// more than that nobody known did.
func best(old, now error) error {
	if e, ok := problem.As(old); ok && e.Rule == ruleUnknown && now != nil {
		return now
	}
	return old
}

// none says that a policy knows nobody who signs like this.
func none(k Kind) string { return fmt.Sprintf("the policy knows no signer of kind %s", k) }
