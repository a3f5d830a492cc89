// Package keyless verifies sigstore bundles that were signed with a short-lived
// key: its certificate, which names an identity; the entry of a transparency
// log; and the time, by which the certificate is judged.
//
// What always holds: the trusted root is given, and nothing is fetched; the
// certificate chains to an authority of the root at the time that the log or a
// time stamp authority vouches for, and was itself logged (SCT); the log's
// inclusion promise or proof holds. Whose identity may sign is not judged here.
//
// It follows the sigstore client specification through sigstore-go. It is a
// package of its own so that programs which do not need it do not link it.
package keyless

import (
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/signature"
)

// Rules of keyless bundles, one for each thing that can fail.
const (
	RuleRoot        = "signature-trusted-root"
	RuleForm        = "signature-bundle"
	RuleLog         = "signature-log-entry"   // not in a log that the root knows
	RuleTime        = "signature-time"        // nobody vouches for the time
	RuleCertificate = "signature-certificate" // does not chain to the root, at that time
	RuleSCT         = "signature-sct"         // the certificate was not logged
	RuleInvalid     = "signature-invalid"     // the signature does not hold, or is about something else
)

// Certifier implements signature.Certifier. Its zero value is ready.
type Certifier struct{}

var _ signature.Certifier = Certifier{}

func readRoot(text []byte) (*root.TrustedRoot, error) {
	r, err := root.NewTrustedRootFromJSON(text)
	if err == nil && (len(r.FulcioCertificateAuthorities()) == 0 || len(r.CTLogs()) == 0 || len(r.RekorLogs()) == 0) {
		err = errors.New("it has no certificate authority, no certificate log or no signature log")
	}
	if err != nil {
		return nil, problem.New(problem.Invalid, RuleRoot, "the trusted root cannot be used").With("reason", "%s", reason(err)).Because(err)
	}
	return r, nil
}

// reason is the text of a foreign error, bounded.
func reason(err error) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return s
}

// CheckRoot implements signature.Certifier.
func (Certifier) CheckRoot(text []byte) error {
	_, err := readRoot(text)
	return err
}

// Certify implements signature.Certifier. Cost: some milliseconds.
func (Certifier) Certify(rootText, text []byte, digests ...string) (signature.Certified, error) {
	var out signature.Certified
	trusted, err := readRoot(rootText)
	if err != nil {
		return out, err
	}
	var b bundle.Bundle
	if err := b.UnmarshalJSON(text); err != nil {
		return out, problem.New(problem.Invalid, RuleForm, "the bundle cannot be read").With("reason", "%s", reason(err)).Because(err)
	}
	v, err := verify.NewVerifier(trusted, verify.WithSignedCertificateTimestamps(1), verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1), verify.WithoutStatementPredicate())
	if err != nil {
		return out, err
	}
	var failed error
	for _, d := range digests {
		raw, err := hex.DecodeString(strings.TrimPrefix(d, "sha256:"))
		if err != nil {
			continue // of another algorithm, which no bundle is about
		}
		// Whose identity it is, the caller judges; here it must have one.
		res, err := v.Verify(&b, verify.NewPolicy(verify.WithArtifactDigest("sha256", raw), verify.WithoutIdentitiesUnsafe()))
		if err != nil {
			failed = err
			continue
		}
		cert := res.Signature.Certificate
		if cert == nil || cert.Issuer == "" || cert.SubjectAlternativeName == "" {
			return out, problem.New(problem.Policy, RuleCertificate, "the certificate of the bundle names no issuer and no identity")
		}
		return signature.Certified{Issuer: cert.Issuer, Subject: cert.SubjectAlternativeName, Digest: d, Time: newest(res.VerifiedTimestamps)}, nil
	}
	return out, refusal(failed)
}

// newest is the latest of the times that were vouched for: each of them lay in
// the life of the certificate.
func newest(list []verify.TimestampVerificationResult) (t time.Time) {
	for _, x := range list {
		if x.Timestamp.After(t) {
			t = x.Timestamp
		}
	}
	return t.UTC()
}

// refusal says which step failed. The steps are told apart by how the library
// words them; what is not known falls to the last.
func refusal(err error) error {
	if err == nil {
		return problem.New(problem.Policy, RuleInvalid, "there is no digest that a bundle could be about")
	}
	words := []struct{ text, rule, message string }{
		{"outside certificate validity", RuleCertificate, "the certificate was not valid when the bundle was signed"},
		{"failed to verify log inclusion", RuleLog, "the bundle is not proven to be in a log of the trusted root"},
		{"failed to verify timestamps", RuleTime, "no log and no time stamp of the trusted root says when the bundle was signed"},
		{"failed to verify leaf certificate", RuleCertificate, "the certificate was not valid under the trusted root when the bundle was signed"},
		{"signed certificate timestamp", RuleSCT, "the certificate was not logged in a certificate log of the trusted root"},
	}
	e := problem.New(problem.Policy, RuleInvalid, "the signature of the bundle does not hold for this release")
	for _, w := range words {
		if strings.Contains(err.Error(), w.text) {
			e = problem.New(problem.Policy, w.rule, "%s", w.message)
			break
		}
	}
	return e.With("reason", "%s", reason(err)).Because(err)
}
