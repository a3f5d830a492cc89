package signature

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Rules of PGP keys and signatures.
const (
	rulePGPKey    = "signature-pgp-key"  // what stands in a policy is no key that may be used
	rulePGPForm   = "signature-pgp-form" // not one cleartext signature of a known form
	ruleHash      = "signature-hash"     // SHA-1 and its like
	ruleKeySize   = "signature-key-size" // too small, or of an algorithm that is not taken
	ruleUsage     = "signature-key-usage"
	ruleKeyRevoke = "signature-key-revoked" // by its own owner
	ruleExpired   = "signature-key-expired"
	ruleEnded     = "signature-expired"
	ruleFuture    = "signature-future"
	ruleBefore    = "signature-before-key"
	ruleInvalid   = "signature-invalid"
)

// minRSA is the least size of an RSA key of OpenPGP in bits. Bundles ask for
// more, since nobody has to bring an old key to them.
const minRSA = 2048

func badKey(format string, args ...any) *problem.Error {
	return problem.New(problem.Invalid, rulePGPKey, format, args...).
		Suggest("gpg --armor --export FINGERPRINT")
}

// readPGP reads one public key. That it may have expired or been revoked is
// seen when a signature is judged: then it is known at what time.
func readPGP(text string) (*openpgp.Entity, error) {
	if len(text) > maxPGPKey {
		return nil, problem.New(problem.TooLarge, rulePGPKey, "the PGP key has %d bytes, and %d are allowed", len(text), maxPGPKey)
	}
	list, err := readKeyring([]byte(text))
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, badKey("there are %d PGP keys, and a signer has one", len(list))
	}
	return list[0], nil
}

// readKeyring reads public keys, all of them or none: armored blocks, or their
// packets alone.
func readKeyring(b []byte) (openpgp.EntityList, error) {
	if bytes.Contains(b, []byte("PRIVATE KEY")) {
		return nil, badKey("this is a secret key; give its public half")
	}
	if !bytes.HasPrefix(bytes.TrimSpace(b), []byte("-----BEGIN")) {
		return readEntities(bytes.NewReader(b))
	}
	var list openpgp.EntityList
	for len(bytes.TrimSpace(b)) > 0 {
		block, rest, err := firstBlock(b)
		if err != nil {
			return nil, err
		}
		b = rest
		a, err := armor.Decode(bytes.NewReader(block))
		if err != nil {
			return nil, badKey("the PGP key's armor cannot be read").Because(err)
		}
		if a.Type != openpgp.PublicKeyType {
			return nil, badKey("it is a %.60q and no PGP public key", a.Type)
		}
		entities, err := readEntities(a.Body)
		if err != nil {
			return nil, err
		}
		list = append(list, entities...)
	}
	return list, nil
}

// firstBlock cuts an armored block off, with nothing before it.
func firstBlock(b []byte) (block, rest []byte, err error) {
	const end = "-----END PGP PUBLIC KEY BLOCK-----"
	b = bytes.TrimSpace(b)
	i := bytes.Index(b, []byte(end))
	if !bytes.HasPrefix(b, []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----")) || i < 0 {
		return nil, nil, badKey("it is no PGP public key in ASCII armor")
	}
	return b[:i+len(end)], b[i+len(end):], nil
}

func readEntities(r io.Reader) (openpgp.EntityList, error) {
	var list openpgp.EntityList
	packets := packet.NewReader(r)
	for {
		e, err := openpgp.ReadEntity(packets)
		if errors.Is(err, io.EOF) && len(list) > 0 {
			return list, nil
		}
		if err != nil {
			return nil, badKey("the PGP key cannot be read").Because(err)
		}
		if e.PrivateKey != nil {
			return nil, badKey("this is a secret key; give its public half")
		}
		if err := checkEntity(e); err != nil {
			return nil, err
		}
		if list = append(list, e); len(list) > MaxSigners {
			return nil, problem.New(problem.TooLarge, rulePGPKey, "there are more than %d PGP keys", MaxSigners)
		}
	}
}

// checkEntity refuses keys that are weak however they are used.
func checkEntity(e *openpgp.Entity) error {
	self, _ := e.PrimarySelfSignature()
	if self == nil {
		return badKey("the PGP key %s has no signature of its own", fingerprint(e))
	}
	if err := strong(e.PrimaryKey); err != nil {
		return err
	}
	if err := strongHash(self.Hash, "the PGP key "+fingerprint(e)+" vouches for itself"); err != nil {
		return err
	}
	return nil
}

// Fingerprint is that of a signer's PGP key, in upper-case hex digits; "" for a
// signer of another kind, and for a key that cannot be read.
func (s *Signer) Fingerprint() string {
	if s.Kind() != PGP {
		return ""
	}
	e, err := readPGP(s.PGP)
	if err != nil {
		return ""
	}
	return fingerprint(e)
}

func fingerprint(e *openpgp.Entity) string {
	return strings.ToUpper(hex.EncodeToString(e.PrimaryKey.Fingerprint))
}

// strong refuses small keys and algorithms of the past.
func strong(k *packet.PublicKey) error {
	bits, err := k.BitLength()
	if err != nil {
		return refused(ruleKeySize, "the size of PGP key %X cannot be told", k.Fingerprint)
	}
	least := uint16(256)
	switch k.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		least = minRSA
	case packet.PubKeyAlgoECDSA, packet.PubKeyAlgoEdDSA, packet.PubKeyAlgoEd25519, packet.PubKeyAlgoEd448:
	default:
		return refused(ruleKeySize, "PGP key %X is of algorithm %d, which is not taken; RSA, ECDSA and EdDSA are", k.Fingerprint, k.PubKeyAlgo)
	}
	if bits < least {
		return refused(ruleKeySize, "PGP key %X has %d bits, and %d are the least", k.Fingerprint, bits, least)
	}
	return nil
}

func strongHash(h crypto.Hash, what string) error {
	if slices.Contains([]crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512}, h) {
		return nil
	}
	return refused(ruleHash, "%s with %v, which can be forged; SHA-256 and stronger are taken", what, h)
}

// Provenance judges a provenance file: its form, that it is of this archive,
// its signature, and whether who made it may.
func (v *Verifier) Provenance(sub Subject, prov []byte) Signature {
	out := Signature{Kind: PGP, Digest: digest.SHA256(prov), About: AboutArchive, Time: sub.Moment}
	p, err := chart.ParseProvenance(prov)
	if err == nil {
		err = p.Check(chart.Metadata{Name: sub.Chart, Version: sub.Version}, sub.Archive)
	}
	if err != nil {
		return out.refuse(err)
	}
	sig, err := oneSignature(p.Signature)
	if err != nil {
		return out.refuse(err)
	}
	if sig.IssuerFingerprint != nil {
		out.Key = strings.ToUpper(hex.EncodeToString(sig.IssuerFingerprint))
	}
	if len(v.pgp) == 0 {
		out.Verdict, out.Detail = Unchecked, none(PGP)
		return out
	}
	err = refused(ruleUnknown, "no signer of the policy made this signature").With("key", "%016X", *sig.IssuerKeyId)
	for _, s := range v.pgp {
		key, why := verifyPGP(s.entity, sig, p.Text, sub.Moment)
		if key == nil {
			err = best(err, why)
			continue
		}
		out.Key = fingerprint(s.entity)
		if why == nil {
			why = v.allows(s.Signer, &sub)
		}
		if why == nil {
			out.Verdict, out.Signer = Verified, s.Name
			return out
		}
		err = best(err, why)
	}
	return out.refuse(err)
}

// oneSignature reads the packets of a cleartext signature, which has to be one.
func oneSignature(b []byte) (*packet.Signature, error) {
	form := func(format string, args ...any) error {
		return problem.New(problem.Invalid, rulePGPForm, format, args...).Suggest("helm package --sign")
	}
	opaque := packet.NewOpaqueReader(bytes.NewReader(b))
	if _, err := opaque.Next(); err != nil {
		return nil, form("the PGP signature cannot be read")
	}
	if _, err := opaque.Next(); !errors.Is(err, io.EOF) {
		return nil, form("there is more than one PGP signature, and one is taken")
	}
	p, err := packet.Read(bytes.NewReader(b))
	if err != nil {
		return nil, form("the PGP signature is not of a form that is known: %v", err)
	}
	sig, ok := p.(*packet.Signature)
	if !ok {
		return nil, form("where the PGP signature should be is something else")
	}
	switch {
	case sig.SigType != packet.SigTypeText:
		return nil, form("the PGP signature is of type 0x%02X, and one over a text is 0x01", int(sig.SigType))
	case sig.IssuerKeyId == nil:
		return nil, form("the PGP signature does not say which key made it")
	}
	for _, n := range sig.Notations {
		if n.IsCritical {
			return nil, form("the PGP signature has the critical notation %.80q, which is not known here", n.Name)
		}
	}
	return sig, strongHash(sig.Hash, "the PGP signature is made")
}

// verifyPGP holds a signature against one key and its sub-keys. The key is nil
// when none of them made it. The error says why it does not count.
func verifyPGP(e *openpgp.Entity, sig *packet.Signature, text string, moment time.Time) (*openpgp.Key, error) {
	var failed error
	for _, key := range (openpgp.EntityList{e}).KeysById(*sig.IssuerKeyId) {
		h, err := sig.PrepareVerify()
		if err != nil {
			return nil, refused(ruleHash, "the PGP signature is made with a hash that is not known")
		}
		// RFC 9580 section 7: lines end with CRLF, the last one has no end.
		_, _ = io.WriteString(h, strings.ReplaceAll(text, "\n", "\r\n"))
		if err := key.PublicKey.VerifySignature(h, sig); err != nil {
			failed = refused(ruleInvalid, "the PGP signature is not of this text, or was not made by the key %s that it names", fingerprint(e))
			continue
		}
		return &key, usable(&key, sig, moment)
	}
	return nil, failed
}

// usable says whether a key could make this signature at a moment.
func usable(key *openpgp.Key, sig *packet.Signature, moment time.Time) error {
	e, id := key.Entity, fingerprint(key.Entity)
	made := sig.CreationTime
	switch {
	case made.After(moment.Add(Skew)):
		return refused(ruleFuture, "the PGP signature says that it was made at %s, and it came at %s", stamp(made), stamp(moment))
	case made.Before(key.PublicKey.CreationTime):
		return refused(ruleBefore, "the PGP signature says that it was made at %s, before its key at %s", stamp(made), stamp(key.PublicKey.CreationTime))
	}
	if made.After(moment) {
		moment = made // the clocks differ a little
	}
	if err := strong(key.PublicKey); err != nil {
		return err
	}
	self, identity := e.PrimarySelfSignature()
	sub := key.PublicKey != e.PrimaryKey
	if key.SelfSignature == nil || !key.SelfSignature.FlagsValid || !key.SelfSignature.FlagSign {
		return refused(ruleUsage, "the PGP key %s is not one that may sign", id)
	}
	checks := []*packet.Signature{sig, self}
	if sub {
		checks = append(checks, key.SelfSignature)
		if err := strongHash(key.SelfSignature.Hash, "the PGP key "+id+" vouches for the sub-key that signed"); err != nil {
			return err
		}
		// Reading the key has verified it; without it a sub-key could be claimed by whoever likes.
		if key.SelfSignature.EmbeddedSignature == nil {
			return refused(ruleUsage, "the sub-key of %s that signed does not vouch for belonging to it", id)
		}
		checks = append(checks, key.SelfSignature.EmbeddedSignature)
	}
	switch {
	case e.Revoked(moment), sub && key.Revoked(moment), identity != nil && identity.Revoked(moment):
		return refused(ruleKeyRevoke, "the PGP key %s was revoked by its owner", id)
	case e.PrimaryKey.KeyExpired(self, moment), sub && key.PublicKey.KeyExpired(key.SelfSignature, moment):
		return refused(ruleExpired, "the PGP key %s had expired at %s", id, stamp(moment))
	}
	for _, s := range checks {
		if s.SigExpired(moment) {
			return refused(ruleEnded, "the PGP signature, or one that vouches for its key %s, had expired at %s", id, stamp(moment))
		}
	}
	return nil
}

// Keyring makes a signer of each public key of a keyring: ASCII armor, or the
// packets alone, as Helm takes it. Their names are the keys' fingerprints.
func Keyring(b []byte) ([]Signer, error) {
	if len(b) > MaxSigners*maxPGPKey {
		return nil, problem.New(problem.TooLarge, rulePGPKey, "the keyring has %d bytes, and %d are allowed", len(b), MaxSigners*maxPGPKey)
	}
	list, err := readKeyring(b)
	if err != nil {
		return nil, err
	}
	var out []Signer
	for _, e := range list {
		var text bytes.Buffer
		w, err := armor.Encode(&text, openpgp.PublicKeyType, nil)
		if err == nil {
			if err = e.Serialize(w); err == nil {
				err = w.Close()
			}
		}
		if err != nil {
			return nil, badKey("the PGP key %s cannot be written", fingerprint(e)).Because(err)
		}
		out = append(out, Signer{Name: strings.ToLower(fingerprint(e)), PGP: text.String() + "\n"})
	}
	return out, nil
}
