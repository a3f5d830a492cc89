package web

import (
	"cmp"
	"context"

	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/signature"
)

// signing is what is known of the signatures of a release.
type signing struct {
	Signatures []signatureRow
	Waits      []string // what a staged release still needs
	// Asked is what the policy asked that was in force when it was released, in
	// sentences; PolicyOf its digest, "" where the leaf could not be read.
	Asked    []string
	PolicyOf string
	NoPolicy string // why the policy is not shown
	Signed   stateWord
	SignedBy string
	SignedAt moment
}

// signatureRow is one signature and what came of looking at it.
type signatureRow struct {
	Kind    string
	State   stateWord
	Signer  string // in the policy
	Key     string // or identity
	About   string
	Why     string // it does not hold, or could not be checked
	Digest  string
	Policy  string // digest of that by which it was judged
	Other   bool   // another policy than the one of the release's leaf
	Checked moment
}

// signaturesShown bounds the rows; a release has at most 32 bundles.
const signaturesShown = 50

// showSignatures costs one policy by its digest. policy is that of the leaf.
func (p *releasePage) showSignatures(ctx context.Context, d *Door, c release.Caller, signed *release.Signed, policy string) {
	s := &p.signing
	s.Waits, s.PolicyOf = shownList(signed.Waits, linesShown), policy
	s.Signed = stateWord{Class: "unk", Icon: "unk", Word: "not checked"}
	for i := range signed.Signatures[:min(len(signed.Signatures), signaturesShown)] {
		x := &signed.Signatures[i]
		row := signatureRow{
			Kind: signatureKind(x.Kind), State: stateOfSignature(x.Verdict), Signer: shown(x.Signer, maxName), Key: shown(x.Key, maxSentence),
			About: shown(x.About, 64), Why: shown(x.Detail, maxSentence), Digest: shown(x.Digest, maxName), Policy: shown(x.Policy, maxName),
			Other: policy != "" && x.Policy != policy, Checked: moment{x.Time, p.Now.at},
		}
		if x.Verdict == signature.Verified && s.SignedBy == "" {
			s.Signed, s.SignedBy, s.SignedAt = row.State, cmp.Or(row.Signer, row.Key), row.Checked
		}
		s.Signatures = append(s.Signatures, row)
	}
	if len(s.Signatures) > 0 && s.SignedBy == "" {
		s.Signed = s.Signatures[0].State
	}
	if policy == "" {
		s.NoPolicy = "the entry of the log could not be read"
		return
	}
	text, err := d.svc.PolicyDocument(ctx, c, policy)
	if err != nil {
		s.NoPolicy = "its document could not be read"
		return
	}
	document, err := release.ParsePolicy(text)
	if err != nil {
		s.NoPolicy = "its document is of a form that this version does not know"
		return
	}
	s.Asked = policySentences(&document)
	s.Asked = s.Asked[:len(s.Asked)-1] // how a policy changes is no matter of a release
}

func signatureKind(k signature.Kind) string {
	switch k {
	case signature.PGP:
		return "provenance file (PGP)"
	case signature.Key:
		return "sigstore bundle, by a key"
	case signature.Keyless:
		return "sigstore bundle, by an identity"
	}
	return "could not be read"
}

func stateOfSignature(v signature.Verdict) stateWord {
	switch v {
	case signature.Verified:
		return stateWord{string(v), "ok", "ok", "verified"}
	case signature.Refused:
		return stateWord{string(v), "bad", "bad", "does not hold"}
	}
	return stateWord{string(v), "unk", "unk", "not checked"}
}
