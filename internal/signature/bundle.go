package signature

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/digest"
)

// Media types of sigstore bundles and of what is in them.
const (
	// MediaType is that of a bundle v0.3, the only version that is taken. It is
	// also the artifact type of the OCI manifest that carries one.
	MediaType   = "application/vnd.dev.sigstore.bundle.v0.3+json"
	inToto      = "application/vnd.in-toto+json"
	statementV1 = "https://in-toto.io/Statement/v1"
	// SignPredicate is the type of the statement by which cosign signs.
	SignPredicate = "https://sigstore.dev/cosign/sign/v1"
)

// MaxBundle bounds a bundle that is read, in bytes. A signature has some
// thousands; what is larger is an attestation.
const MaxBundle = 512 << 10

// maxSubjects bounds the subjects of a statement.
const maxSubjects = 1000

// Rules of bundles.
const (
	ruleSubject     = "signature-subject"     // about something else
	ruleAttestation = "signature-attestation" // signed, and no signature of the release
	ruleKeyless     = "signature-keyless"     // nobody here can judge a certificate
	ruleAlgorithm   = "signature-algorithm"
)

// bundle is what is read of a bundle v0.3.
type bundle struct {
	kind      Kind
	hint      string   // of the key, as it says
	payload   []byte   // of the DSSE envelope; nil for a signature over a digest
	sum       []byte   // SHA-256 that is signed, nil for an envelope
	sig       []byte   // the signature
	predicate string   // type of the statement
	digests   []string // sha256:…, what the statement is about
}

// readBundle reads a bundle. Its grammar is the JSON form of the protocol
// buffer sigstore_bundle.proto v0.3; names in another case, fields that are not
// known, and a second signature are refused. Callers bound it. Log entries and time stamps of a
// bundle are not read here.
func readBundle(b []byte) (bundle, error) {
	o, err := readObject(b)
	if err != nil {
		return bundle{}, err
	}
	if t := o.text("mediaType"); t != MediaType {
		return bundle{}, badBundle("its media type is %.100q, and %s is taken", t, MediaType)
	}
	var out bundle
	material := o.object("verificationMaterial")
	switch key, cert := material.has("publicKey"), material.has("certificate"); {
	case key && !cert:
		out.kind = Key
		k := material.object("publicKey")
		out.hint = k.text("hint")
		k.end()
	case cert && !key:
		out.kind = Keyless
		c := material.object("certificate")
		c.bytes("rawBytes")
		c.end()
	default:
		return bundle{}, badBundle("it has to have either a public key or a certificate")
	}
	material.list("tlogEntries")
	if material.has("timestampVerificationData") {
		material.object("timestampVerificationData")
	}
	material.end()
	switch envelope, message := o.has("dsseEnvelope"), o.has("messageSignature"); {
	case envelope && !message:
		err = out.readEnvelope(o.object("dsseEnvelope"))
	case message && !envelope:
		out.readMessage(o.object("messageSignature"))
	default:
		return bundle{}, badBundle("it has to have either a statement or a signature over a digest")
	}
	o.end()
	if fault := o.err(); fault != nil {
		err = fault
	}
	return out, err
}

// readEnvelope reads a DSSE envelope with one signature over a statement.
func (b *bundle) readEnvelope(o object) error {
	if t := o.text("payloadType"); t != inToto {
		return badBundle("what is signed is of type %.100q, and %s is taken", t, inToto)
	}
	b.payload = o.bytes("payload")
	sigs := o.list("signatures")
	if len(sigs) != 1 {
		return badBundle("its statement has %d signatures, and a bundle has one", len(sigs))
	}
	b.sig = sigs[0].bytes("sig")
	sigs[0].text("keyid")
	sigs[0].end()
	o.end()
	if err := o.err(); err != nil {
		return err
	}
	return b.readStatement()
}

// readStatement reads an in-toto statement v1 as far as it concerns us.
func (b *bundle) readStatement() error {
	o, err := readObject(b.payload)
	if err != nil {
		return err
	}
	if t := o.text("_type"); t != statementV1 && t != "https://in-toto.io/Statement/v0.1" {
		return badBundle("its statement is of type %.100q, and %s is taken", t, statementV1)
	}
	b.predicate = o.text("predicateType")
	o.take("predicate")
	subjects := o.list("subject")
	if len(subjects) == 0 || len(subjects) > maxSubjects {
		return badBundle("its statement is about %d things", len(subjects))
	}
	for _, s := range subjects {
		sum := s.object("digest").text("sha256")
		if raw, err := hex.DecodeString(sum); sum != "" && (err != nil || len(raw) != sha256.Size || strings.ToLower(sum) != sum) {
			return badBundle("its statement has a sha256 that is not 64 lower-case hexadecimal digits")
		}
		if sum != "" {
			b.digests = append(b.digests, "sha256:"+sum)
		}
	}
	o.end()
	return o.err()
}

// readMessage reads a signature over the digest of something.
func (b *bundle) readMessage(o object) {
	d := o.object("messageDigest")
	if d.text("algorithm") != "SHA2_256" {
		d.fail("algorithm", "SHA2_256")
	}
	b.sum = d.bytes("digest")
	if len(b.sum) != sha256.Size {
		d.fail("digest", "SHA-256")
	}
	d.end()
	b.sig = o.bytes("signature")
	o.end()
	b.digests = []string{"sha256:" + hex.EncodeToString(b.sum)}
}

// pae is what a DSSE envelope signs (protocol v1).
func pae(payloadType string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// verifies says whether a key signed the bundle.
func (b *bundle) verifies(k publicKey) bool {
	if b.payload != nil {
		return k.verifies(pae(inToto, b.payload), b.sig)
	}
	return k.verifiesDigest(b.sum, b.sig)
}

// about says which of the subject's digests the bundle is about; "" when none.
func (b *bundle) about(sub *Subject) string {
	switch {
	case slices.Contains(b.digests, sub.Archive):
		return AboutArchive
	case sub.Manifest != "" && slices.Contains(b.digests, sub.Manifest):
		return AboutManifest
	}
	return ""
}

// Bundle judges a sigstore bundle: its form, its signature, whether it is about
// this release, and whether who made it may.
func (v *Verifier) Bundle(sub Subject, text []byte) Signature {
	out := Signature{Digest: digest.SHA256(text), Time: sub.Moment}
	if len(text) > MaxBundle {
		return TooLarge(out)
	}
	b, err := readBundle(text)
	out.Kind = b.kind
	if err != nil {
		return out.refuse(err)
	}
	if b.payload != nil && b.predicate != SignPredicate {
		out.Verdict, out.Rule, out.About = Unchecked, ruleAttestation, b.about(&sub)
		out.Detail = fmt.Sprintf("an attestation of type %.200q: it is kept, and does not count as a signature", b.predicate)
		return out
	}
	if b.kind == Keyless {
		return v.certified(out, &b, &sub, text)
	}
	return v.keyed(out, &b, &sub)
}

// TooLarge is the verdict on a bundle that is over MaxBundle.
func TooLarge(s Signature) Signature {
	s.Verdict, s.Rule, s.Detail = Unchecked, ruleAttestation, fmt.Sprintf("a bundle of more than %d bytes: it is kept, and does not count as a signature", MaxBundle)
	return s
}

// keyed judges a bundle that a key of one's own made.
func (v *Verifier) keyed(out Signature, b *bundle, sub *Subject) Signature {
	if len(v.keys) == 0 {
		out.Verdict, out.Detail = Unchecked, none(Key)
		return out
	}
	err := error(refused(ruleUnknown, "no signer of the policy made this signature").With("key", "%s", cut(b.hint)))
	for _, s := range v.keys {
		if !b.verifies(s.key) {
			if s.key.hint() == b.hint && b.payload == nil && isEd25519(s.key) {
				err = best(err, refused(ruleAlgorithm, "signer %s has an Ed25519 key, which does not sign digests; sign a statement", s.Name))
			}
			continue
		}
		out.Key = "sha256:" + s.key.id()
		why := v.allows(s.Signer, sub)
		if out.About = b.about(sub); out.About == "" {
			why = otherSubject(b, sub)
		}
		if why == nil {
			out.Verdict, out.Signer = Verified, s.Name
			return out
		}
		err = best(err, why)
	}
	return out.refuse(err)
}

func otherSubject(b *bundle, sub *Subject) error {
	e := refused(ruleSubject, "the signature holds, and is about something else than this release")
	e.With("signed", "%s", strings.Join(b.digests[:min(len(b.digests), 3)], ", ")).With("archive", "%s", sub.Archive)
	if sub.Manifest != "" {
		e.With("manifest", "%s", sub.Manifest)
	}
	return e
}

// certified judges a keyless bundle.
func (v *Verifier) certified(out Signature, b *bundle, sub *Subject, text []byte) Signature {
	if len(v.certs) == 0 {
		out.Verdict, out.Detail = Unchecked, none(Keyless)
		return out
	}
	if v.keyless == nil {
		return out.refuse(refused(ruleKeyless, "this program cannot judge certificates"))
	}
	if out.About = b.about(sub); out.About == "" {
		return out.refuse(otherSubject(b, sub))
	}
	of := sub.Archive
	if out.About == AboutManifest {
		of = sub.Manifest
	}
	c, err := v.keyless.Certify([]byte(v.policy.TrustedRoot), text, of)
	if err != nil {
		return out.refuse(err)
	}
	out.Key = c.Issuer + " " + c.Subject
	if c.Time.After(sub.Moment.Add(Skew)) {
		return out.refuse(refused(ruleFuture, "the bundle was signed at %s, and came at %s", stamp(c.Time), stamp(sub.Moment)))
	}
	err = refused(ruleUnknown, "the certificate holds, and no signer of the policy has its identity").With("issuer", "%s", cut(c.Issuer)).With("subject", "%s", cut(c.Subject))
	for _, s := range v.certs {
		if s.Issuer != c.Issuer || !match(s.Subject, c.Subject) {
			continue
		}
		why := v.allows(s, sub)
		if why == nil {
			out.Verdict, out.Signer = Verified, s.Name
			return out
		}
		err = best(err, why)
	}
	return out.refuse(err)
}

// PredicateOf is the type of the statement in a bundle; false for one without
// a statement, and for what is no bundle. Nothing is verified.
func PredicateOf(text []byte) (string, bool) {
	b, err := readBundle(text)
	return b.predicate, err == nil && b.payload != nil
}
