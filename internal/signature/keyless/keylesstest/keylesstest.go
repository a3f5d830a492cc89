// Package keylesstest is a sigstore of its own for tests: an authority that
// certifies identities, a certificate log, and a signature log. It knows no
// network and no clock: every time is given.
package keylesstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	rekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/chartkeep/chartkeep/internal/signature"
)

// Sigstore certifies, logs and is trusted by whoever has its root.
type Sigstore struct {
	t     testing.TB
	ca    *x509.Certificate
	caKey *ecdsa.PrivateKey
	ctKey *ecdsa.PrivateKey
	log   *ca.VirtualSigstore
	from  time.Time
	until time.Time
}

// New makes one that is trusted for a year around a time.
func New(t testing.TB, around time.Time) *Sigstore {
	t.Helper()
	log, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	s := &Sigstore{t: t, caKey: newKey(t), ctKey: newKey(t), log: log, from: around.AddDate(0, -6, 0), until: around.AddDate(0, 6, 0)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"}, NotBefore: s.from, NotAfter: s.until,
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	s.ca = s.certify(template, template, &s.caKey.PublicKey)
	return s
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (s *Sigstore) certify(template, parent *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	s.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, s.caKey)
	if err != nil {
		s.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	return cert
}

// TrustedRoot is the root as a policy has it.
func (s *Sigstore) TrustedRoot() string {
	s.t.Helper()
	log := func(key crypto.PublicKey, address string) map[string]*root.TransparencyLog {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			s.t.Fatal(err)
		}
		id := sha256.Sum256(der)
		return map[string]*root.TransparencyLog{hex.EncodeToString(id[:]): {
			BaseURL: address, ID: id[:], PublicKey: key, HashFunc: crypto.SHA256, SignatureHashFunc: crypto.SHA256,
			ValidityPeriodStart: s.from, ValidityPeriodEnd: s.until,
		}}
	}
	var signatures crypto.PublicKey
	for _, l := range s.log.RekorLogs() {
		signatures = l.PublicKey
	}
	r, err := root.NewTrustedRoot(root.TrustedRootMediaType01,
		[]root.CertificateAuthority{&root.FulcioCertificateAuthority{Root: s.ca, URI: "https://fulcio.example.test", ValidityPeriodStart: s.from, ValidityPeriodEnd: s.until}},
		log(&s.ctKey.PublicKey, "https://ct.example.test"), nil, log(signatures, "https://rekor.example.test"))
	if err != nil {
		s.t.Fatal(err)
	}
	b, err := r.MarshalJSON()
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// Order is what is to be signed, by whom, and what goes wrong.
type Order struct {
	Issuer, Subject string // of the identity; a subject that is a URL is certified as one
	Digest          string // sha256:…
	Predicate       string // "" is signature.SignPredicate
	At              time.Time
	LoggedAt        time.Time // zero: At
	NoSCT           bool      // the certificate was not logged
	ForeignSCT      bool      // it was logged elsewhere
	NoLog           bool      // the signature was not logged
	ForeignLog      bool      // it was logged elsewhere
}

// Sign makes a bundle.
func (s *Sigstore) Sign(o Order) []byte {
	s.t.Helper()
	if o.Predicate == "" {
		o.Predicate = signature.SignPredicate
	}
	if o.LoggedAt.IsZero() {
		o.LoggedAt = o.At
	}
	key := newKey(s.t)
	cert := s.leaf(o, &key.PublicKey)
	payload := s.json(map[string]any{
		"_type": "https://in-toto.io/Statement/v1", "predicateType": o.Predicate, "predicate": map[string]any{},
		"subject": []any{map[string]any{"digest": map[string]string{"sha256": strings.TrimPrefix(o.Digest, "sha256:")}}},
	})
	const payloadType = "application/vnd.in-toto+json"
	sum := sha256.Sum256(dsse.PAE(payloadType, payload))
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		s.t.Fatal(err)
	}
	material := map[string]any{"certificate": map[string]any{"rawBytes": cert.Raw}}
	if !o.NoLog {
		log := s.log
		if o.ForeignLog {
			if log, err = ca.NewVirtualSigstore(); err != nil {
				s.t.Fatal(err)
			}
		}
		envelope := &dsse.Envelope{PayloadType: payloadType, Payload: base64.StdEncoding.EncodeToString(payload), Signatures: []dsse.Signature{{Sig: base64.StdEncoding.EncodeToString(sig)}}}
		entry, err := log.GenerateTlogEntry(cert, envelope, sig, o.LoggedAt.Unix(), true)
		if err != nil {
			s.t.Fatal(err)
		}
		e := entry.TransparencyLogEntry()
		promise, err := log.RekorSignPayload(tlog.RekorPayload{
			Body: base64.StdEncoding.EncodeToString(e.CanonicalizedBody), IntegratedTime: e.IntegratedTime, LogIndex: e.LogIndex, LogID: hex.EncodeToString(e.LogId.KeyId),
		})
		if err != nil {
			s.t.Fatal(err)
		}
		e.KindVersion = &rekor.KindVersion{Kind: "dsse", Version: "0.0.1"}
		e.InclusionPromise = &rekor.InclusionPromise{SignedEntryTimestamp: promise}
		b, err := protojson.Marshal(e)
		if err != nil {
			s.t.Fatal(err)
		}
		material["tlogEntries"] = []any{json.RawMessage(b)}
	}
	return s.json(map[string]any{
		"mediaType": signature.MediaType, "verificationMaterial": material,
		"dsseEnvelope": map[string]any{"payload": payload, "payloadType": payloadType, "signatures": []any{map[string]any{"sig": sig}}},
	})
}

func (s *Sigstore) json(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// leaf certifies a key for ten minutes, and has it logged.
func (s *Sigstore) leaf(o Order, public *ecdsa.PublicKey) *x509.Certificate {
	s.t.Helper()
	issuer, err := asn1.MarshalWithParams(o.Issuer, "utf8")
	if err != nil {
		s.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(o.At.UnixNano()), NotBefore: o.At.Add(-time.Minute), NotAfter: o.At.Add(9 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: issuer}},
	}
	if u, err := url.Parse(o.Subject); err == nil && u.Scheme != "" {
		template.URIs = []*url.URL{u}
	} else {
		template.EmailAddresses = []string{o.Subject}
	}
	cert := s.certify(template, s.ca, public)
	if o.NoSCT {
		return cert
	}
	key := s.ctKey
	if o.ForeignSCT {
		key = newKey(s.t)
	}
	template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{
		Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: s.sct(cert, key, o.At),
	})
	return s.certify(template, s.ca, public)
}

// sct is the list of one signed certificate time stamp (RFC 6962 §3.2, 3.3).
func (s *Sigstore) sct(cert *x509.Certificate, key *ecdsa.PrivateKey, at time.Time) []byte {
	s.t.Helper()
	logDER, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		s.t.Fatal(err)
	}
	logID := sha256.Sum256(logDER)
	issuerHash := sha256.Sum256(s.ca.RawSubjectPublicKeyInfo)
	millis := binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli()))
	signed := append([]byte{0, 0}, millis...) // version 1, certificate_timestamp
	signed = append(signed, 0, 1)             // precert_entry
	signed = append(signed, issuerHash[:]...)
	tbs := cert.RawTBSCertificate
	signed = append(signed, byte(len(tbs)>>16), byte(len(tbs)>>8), byte(len(tbs)))
	signed = append(signed, tbs...)
	signed = append(signed, 0, 0) // no extensions
	sum := sha256.Sum256(signed)
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		s.t.Fatal(err)
	}
	one := append([]byte{0}, logID[:]...)
	one = append(one, millis...)
	one = append(one, 0, 0, 4, 3) // no extensions; SHA-256, ECDSA
	one = binary.BigEndian.AppendUint16(one, uint16(len(sig)))
	one = append(one, sig...)
	list := binary.BigEndian.AppendUint16(nil, uint16(len(one)))
	list = append(list, one...)
	value, err := asn1.Marshal(append(binary.BigEndian.AppendUint16(nil, uint16(len(list))), list...))
	if err != nil {
		s.t.Fatal(err)
	}
	return value
}
