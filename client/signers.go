package client

import (
	"cmp"
	"context"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/signature"
)

// The checks of signatures. They are made only where signers are given.
const (
	CheckPGP    = "pgp-signature"    // a given key signed the provenance file, and it is of this archive
	CheckBundle = "bundle-signature" // a given key or identity signed the archive or its manifest
)

// Signers are those whose signatures a verification takes. They come from the
// caller: those that a server names prove nothing about it.
type Signers struct {
	Signers     []Signer
	TrustedRoot string              // a sigstore trusted root, for identities
	Certifier   signature.Certifier // nil: identities cannot be checked
	Bundles     [][]byte            // the sigstore bundles that there are
}

// kinds says which kinds of signature can be checked.
func (s *Signers) kinds() (pgp, bundle bool) {
	for i := range s.Signers {
		if s.Signers[i].Kind() == signature.PGP {
			pgp = true
		} else {
			bundle = true
		}
	}
	return pgp, bundle
}

// check makes the checks of signatures. Those that do not hold fail; one that
// nobody known made, or that is not there, leaves the check unchecked.
func (s *Signers) check(sub signature.Subject, prov []byte) ([]Check, error) {
	v, err := signature.NewVerifier(&signature.Policy{Signers: s.Signers, TrustedRoot: s.TrustedRoot}, s.Certifier)
	if err != nil {
		return nil, err
	}
	var out []Check
	pgp, bundle := s.kinds()
	if pgp && prov == nil {
		out = append(out, Check{Name: CheckPGP, Result: Unchecked, Detail: "there is no provenance file"})
	} else if pgp {
		out = append(out, checkOf(CheckPGP, v.Provenance(sub, prov)))
	}
	if !bundle {
		return out, nil
	}
	found := Check{Name: CheckBundle, Result: Unchecked, Detail: "there is no sigstore bundle"}
	for _, b := range s.Bundles {
		// One that holds is enough; else the one that says most is told.
		if c := checkOf(CheckBundle, v.Bundle(sub, b)); found.Result != Pass && (c.Result != Unchecked || found.Result == Unchecked) {
			found = c
		}
	}
	return append(out, found), nil
}

func checkOf(name string, s Signature) Check {
	c := Check{Name: name, Result: Fail, Detail: s.Detail}
	switch {
	case s.Verdict == signature.Verified:
		c.Result, c.Detail = Pass, "the "+s.About+" is signed by "+s.Signer+", "+s.Key
	case s.Verdict == signature.Unchecked, s.Rule == "signature-unknown-signer", s.Rule == "signature-keyless":
		c.Result = Unchecked
	}
	return c
}

// checkSigners makes the checks of signatures at the time of the log entry; at
// the present one where there is none.
func (v *verifier) checkSigners(a *chart.Archive) error {
	if v.Signers == nil {
		return nil
	}
	sub := signature.Subject{Archive: v.out.Digest, Chart: v.Asked.Chart, Version: v.Asked.Version, Moment: v.Now}
	if a != nil {
		sub.Chart, sub.Version = a.Metadata.Name, a.Metadata.Version
	}
	if v.leaf != nil {
		sub.Chart, sub.Version = cmp.Or(sub.Chart, v.leaf.Chart), cmp.Or(sub.Version, v.leaf.Version)
		sub.Manifest, sub.Publisher = v.leaf.Manifest, signature.Publisher(v.leaf.Publisher.Issuer, v.leaf.Publisher.Subject)
		sub.Moment = v.leaf.Time
	}
	checks, err := v.Signers.check(sub, v.Provenance)
	v.out.Checks = append(v.out.Checks, checks...)
	return err
}

// VerifySigned is Verify that also fetches the release's bundles and holds its
// signatures against given signers.
func (c *Client) VerifySigned(ctx context.Context, ref Ref, logKey string, now time.Time, signers *Signers) (Verification, error) {
	s, err := c.fetchRelease(ctx, ref)
	if err != nil {
		return Verification{}, err
	}
	s.LogKey, s.Now = logKey, now
	if signers != nil {
		with := *signers
		rel, err := c.Release(ctx, s.Asked.Project, s.Asked.Chart, s.Asked.Version)
		if err != nil {
			return Verification{}, err
		}
		for _, sig := range rel.Signatures {
			if sig.Kind == signature.PGP || sig.Kind == "" {
				continue
			}
			b, err := c.Bundle(ctx, s.Asked.Project, s.Asked.Chart, s.Asked.Version, sig.Digest)
			if problem.KindOf(err) == problem.NotFound {
				continue
			}
			if err != nil {
				return Verification{}, err
			}
			with.Bundles = append(with.Bundles, b)
		}
		s.Signers = &with
	}
	return Verify(s)
}
