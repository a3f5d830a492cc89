// Package signaturetest makes keys, signatures and a whole sigstore of their own
// for tests. Nothing here is secret: every key is made when the test runs.
package signaturetest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/signature"
)

// PGP is an OpenPGP key of a test.
type PGP struct {
	Entity *openpgp.Entity
}

// NewPGP makes an Ed25519 key that was created at a time; with changes how.
func NewPGP(t testing.TB, created time.Time, with ...func(*packet.Config)) PGP {
	t.Helper()
	cfg := &packet.Config{Time: func() time.Time { return created }, Algorithm: packet.PubKeyAlgoEdDSA}
	for _, change := range with {
		change(cfg)
	}
	e, err := openpgp.NewEntity("Test Signer", "a key for tests", "signer@example.test", cfg)
	if err != nil {
		t.Fatal(err)
	}
	return PGP{e}
}

// Public is the key as a policy has it.
func (k PGP) Public(t testing.TB) string {
	t.Helper()
	return armored(t, openpgp.PublicKeyType, func(w *bytes.Buffer) error { return k.Entity.Serialize(w) })
}

// PublicRing is the key as Helm takes it: packets without armor.
func (k PGP) PublicRing(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := k.Entity.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Secret is the key with its secret half, locked where a passphrase is given.
func (k PGP) Secret(t testing.TB, passphrase string) []byte {
	t.Helper()
	e := *k.Entity
	if passphrase != "" {
		var plain bytes.Buffer
		if err := e.SerializePrivateWithoutSigning(&plain, nil); err != nil {
			t.Fatal(err)
		}
		list, err := openpgp.ReadKeyRing(&plain)
		if err != nil {
			t.Fatal(err)
		}
		e = *list[0]
		if err := e.EncryptPrivateKeys([]byte(passphrase), nil); err != nil {
			t.Fatal(err)
		}
	}
	return []byte(armored(t, openpgp.PrivateKeyType, func(w *bytes.Buffer) error { return e.SerializePrivateWithoutSigning(w, nil) }))
}

func armored(t testing.TB, kind string, write func(*bytes.Buffer) error) string {
	t.Helper()
	var raw bytes.Buffer
	if err := write(&raw); err != nil {
		t.Fatal(err)
	}
	return Armor(t, kind, raw.Bytes())
}

// Armor puts packets into ASCII armor.
func Armor(t testing.TB, kind string, packets []byte) string {
	t.Helper()
	var out bytes.Buffer
	w, err := armor.Encode(&out, kind, nil)
	if err == nil {
		if _, err = w.Write(packets); err == nil {
			err = w.Close()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String() + "\n"
}

// Sign makes a provenance file.
func (k PGP) Sign(t testing.TB, archive []byte, at time.Time) []byte {
	t.Helper()
	key, err := signature.ReadSecretKey(k.Secret(t, ""), nil)
	if err != nil {
		t.Fatal(err)
	}
	prov, err := key.Provenance(Of(t, archive), at, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return prov
}

// Of is what is signed of an archive.
func Of(t testing.TB, archive []byte) signature.Signed {
	t.Helper()
	a, err := chart.Open(bytes.NewReader(archive), chart.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return signature.Signed{Metadata: a.Metadata, Archive: a.Digest}
}

// Key is a key of one's own.
type Key struct {
	Private crypto.Signer
}

// NewKey makes an Ed25519 key.
func NewKey(t testing.TB) Key {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return Key{key}
}

// NewECDSA makes a key on P-256.
func NewECDSA(t testing.TB) Key {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return Key{key}
}

// PEM is the private key, PKCS #8.
func (k Key) PEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k.Private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Public is the key as a policy has it.
func (k Key) Public(t testing.TB) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k.Private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// Sign makes a bundle over an archive, and over a manifest where it is given.
func (k Key) Sign(t testing.TB, archive []byte, manifest string) []byte {
	t.Helper()
	key, err := signature.ReadSecretKey(k.PEM(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := Of(t, archive)
	s.Manifest = manifest
	b, err := key.Bundle(s, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
