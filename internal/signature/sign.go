package signature

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"sigs.k8s.io/yaml"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// SecretKey is a key to sign with: of OpenPGP, or of one's own for bundles.
type SecretKey struct {
	entity *openpgp.Entity // nil: not of OpenPGP
	signer crypto.Signer   // nil: of OpenPGP
	public publicKey
}

// Kind is what the key makes: PGP a provenance file, Key a bundle.
func (k *SecretKey) Kind() Kind {
	if k.entity != nil {
		return PGP
	}
	return Key
}

// ID names the key as Signature.Key does.
func (k *SecretKey) ID() string {
	if k.entity != nil {
		return fingerprint(k.entity)
	}
	return "sha256:" + k.public.id()
}

// MaxSecretKey bounds a file with a key to sign with, in bytes.
const MaxSecretKey = 64 << 10

const ruleSecret = "signing-key"

func badSecret(format string, args ...any) *problem.Error {
	return problem.New(problem.Invalid, ruleSecret, format, args...)
}

// ReadSecretKey reads a key to sign with: an armored OpenPGP secret key, or a
// private key in PKCS #8 or SEC 1, PEM. passphrase is asked for a locked
// OpenPGP key, with its name.
func ReadSecretKey(text []byte, passphrase func(name string) ([]byte, error)) (*SecretKey, error) {
	if len(text) > MaxSecretKey {
		return nil, problem.New(problem.TooLarge, ruleSecret, "the key has %d bytes, and %d are allowed", len(text), MaxSecretKey)
	}
	if bytes.Contains(text, []byte("-----BEGIN PGP")) {
		return readSecretPGP(text, passphrase)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, badSecret("the key is neither an armored OpenPGP key nor PEM").
			Suggest("gpg --armor --export-secret-keys KEY > key.asc, or openssl genpkey -algorithm ed25519 > key.pem")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, badSecret("the key is a %.60q; an unlocked PRIVATE KEY (PKCS #8) is taken", block.Type).
			Suggest("openssl pkcs8 -topk8 -nocrypt -in KEY.pem -out UNLOCKED.pem")
	}
	if err != nil {
		return nil, badSecret("the private key cannot be read").Because(err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, badSecret("the private key is of a kind that does not sign")
	}
	if err := takes(signer.Public()); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return nil, badSecret("the private key has no public half").Because(err)
	}
	return &SecretKey{signer: signer, public: publicKey{signer.Public(), der}}, nil
}

func readSecretPGP(text []byte, passphrase func(string) ([]byte, error)) (*SecretKey, error) {
	block, err := armor.Decode(bytes.NewReader(text))
	if err != nil || block.Type != openpgp.PrivateKeyType {
		return nil, badSecret("it is no secret key of OpenPGP in ASCII armor").Suggest("gpg --armor --export-secret-keys KEY")
	}
	e, err := openpgp.ReadEntity(packet.NewReader(block.Body))
	if err != nil {
		return nil, badSecret("the OpenPGP key cannot be read").Because(err)
	}
	if e.PrivateKey == nil {
		return nil, badSecret("it is a public key, and signing needs the secret one")
	}
	if err := checkEntity(e); err != nil {
		return nil, err
	}
	if locked(e) {
		name := fingerprint(e)
		if id := e.PrimaryIdentity(); id != nil {
			name = id.Name
		}
		secret, err := passphrase(name)
		if err != nil {
			return nil, err
		}
		if err := e.DecryptPrivateKeys(secret); err != nil {
			return nil, badSecret("the passphrase does not unlock the OpenPGP key of %.100s", name)
		}
	}
	return &SecretKey{entity: e}, nil
}

func locked(e *openpgp.Entity) bool {
	if e.PrivateKey.Encrypted {
		return true
	}
	for _, s := range e.Subkeys {
		if s.PrivateKey != nil && s.PrivateKey.Encrypted {
			return true
		}
	}
	return false
}

// Signed is a chart archive that is to be signed.
type Signed struct {
	Metadata chart.Metadata
	Archive  string // sha256:…
	Manifest string // sha256:…, "" when it is not known
}

func (s *Signed) file() string { return chart.FileName(s.Metadata.Name, s.Metadata.Version) }

// Provenance makes the provenance file of an archive, as Helm does. random is
// a source of secret randomness.
func (k *SecretKey) Provenance(s Signed, now time.Time, random io.Reader) ([]byte, error) {
	if k.entity == nil {
		return nil, badSecret("a provenance file needs a key of OpenPGP")
	}
	key, ok := k.entity.SigningKey(now)
	if !ok || key.PrivateKey == nil || key.PrivateKey.Dummy() {
		return nil, badSecret("the OpenPGP key %s has no part that may sign now: it has expired, was revoked, or is only for other things", k.ID())
	}
	if err := strong(key.PublicKey); err != nil {
		return nil, err
	}
	asJSON, err := json.Marshal(s.Metadata)
	if err != nil {
		return nil, fmt.Errorf("encode metadata: %w", err)
	}
	metadata, err := yaml.JSONToYAML(asJSON)
	if err != nil {
		return nil, fmt.Errorf("encode metadata: %w", err)
	}
	var out bytes.Buffer
	w, err := clearsign.Encode(&out, key.PrivateKey, &packet.Config{DefaultHash: crypto.SHA512, Rand: random, Time: func() time.Time { return now }})
	if err == nil {
		if _, err = fmt.Fprintf(w, "%s\n...\nfiles:\n  %s: %s\n", metadata, s.file(), s.Archive); err == nil {
			err = w.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("sign provenance: %w", err)
	}
	// What was made is read as whoever checks it reads it.
	p, err := chart.ParseProvenance(out.Bytes())
	if err == nil {
		err = p.Check(s.Metadata, s.Archive)
	}
	return out.Bytes(), err
}

// Bundle makes a sigstore bundle v0.3 over a statement about the archive, and
// about the manifest where it is known. random is a source of secret
// randomness; Ed25519 needs none.
func (k *SecretKey) Bundle(s Signed, random io.Reader) ([]byte, error) {
	if k.signer == nil {
		return nil, badSecret("a bundle needs a private key of its own, and not one of OpenPGP")
	}
	type subject struct {
		Name   string            `json:"name"`
		Digest map[string]string `json:"digest"`
	}
	var subjects []subject
	for _, d := range []string{s.Archive, s.Manifest} {
		if sum, ok := strings.CutPrefix(d, "sha256:"); ok {
			if raw, err := hex.DecodeString(sum); err != nil || len(raw) != sha256.Size {
				return nil, badSecret("%.100q is no digest that could be signed", d)
			}
			subjects = append(subjects, subject{s.file(), map[string]string{"sha256": sum}})
		}
	}
	payload, err := json.Marshal(map[string]any{
		"_type": statementV1, "subject": subjects, "predicateType": SignPredicate, "predicate": map[string]any{},
	})
	if err != nil {
		return nil, fmt.Errorf("encode statement: %w", err)
	}
	sig, err := k.sign(pae(inToto, payload), random)
	if err != nil {
		return nil, fmt.Errorf("sign statement: %w", err)
	}
	return json.Marshal(map[string]any{
		"mediaType":            MediaType,
		"verificationMaterial": map[string]any{"publicKey": map[string]any{"hint": k.public.hint()}},
		"dsseEnvelope":         map[string]any{"payload": payload, "payloadType": inToto, "signatures": []any{map[string]any{"sig": sig}}},
	})
}

func (k *SecretKey) sign(message []byte, random io.Reader) ([]byte, error) {
	sum := sha256.Sum256(message)
	switch key := k.signer.(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(key, message), nil
	case *ecdsa.PrivateKey:
		return ecdsa.SignASN1(random, key, sum[:])
	case *rsa.PrivateKey:
		return rsa.SignPKCS1v15(random, key, crypto.SHA256, sum[:])
	}
	return nil, badSecret("the private key is of a kind that does not sign")
}

// PublicPEM is the public half of a key for bundles, as Signer.Key takes it.
func (k *SecretKey) PublicPEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.public.der}))
}
