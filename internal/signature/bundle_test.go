package signature_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	sigstore "github.com/sigstore/sigstore/pkg/signature"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/signature"
	"github.com/chartkeep/chartkeep/internal/signature/keyless"
	"github.com/chartkeep/chartkeep/internal/signature/keyless/keylesstest"
	"github.com/chartkeep/chartkeep/internal/signature/signaturetest"
)

func ruleOf(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := problem.As(err); ok {
		return e.Rule
	}
	return err.Error()
}

// message makes a bundle over a digest alone, as cosign sign-blob does.
func message(t *testing.T, key signaturetest.Key, d string) []byte {
	t.Helper()
	sum, err := hex.DecodeString(strings.TrimPrefix(d, "sha256:"))
	if err != nil {
		t.Fatal(err)
	}
	var opts crypto.SignerOpts = crypto.SHA256
	if _, ok := key.Private.(*ecdsa.PrivateKey); !ok {
		opts = crypto.Hash(0)
	}
	sig, err := key.Private.Sign(rand.Reader, sum, opts)
	if err != nil {
		t.Fatal(err)
	}
	return encode(t, map[string]any{
		"mediaType":            signature.MediaType,
		"verificationMaterial": map[string]any{"publicKey": map[string]any{"hint": hintOf(t, key)}},
		"messageSignature":     map[string]any{"messageDigest": map[string]any{"algorithm": "SHA2_256", "digest": sum}, "signature": sig},
	})
}

func hintOf(t *testing.T, key signaturetest.Key) string {
	var b struct {
		VerificationMaterial struct{ PublicKey struct{ Hint string } }
	}
	if err := json.Unmarshal(key.Sign(t, charttest.Build(t, "web", "1.0.0", nil), ""), &b); err != nil {
		t.Fatal(err)
	}
	return b.VerificationMaterial.PublicKey.Hint
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// statement signs a statement of any look.
func statement(t *testing.T, key signaturetest.Key, s map[string]any) []byte {
	t.Helper()
	payload := encode(t, s)
	msg := []byte("DSSEv1 28 application/vnd.in-toto+json " + itoa(len(payload)) + " " + string(payload))
	sum := sha256.Sum256(msg)
	sig, err := key.Private.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return encode(t, map[string]any{
		"mediaType":            signature.MediaType,
		"verificationMaterial": map[string]any{"publicKey": map[string]any{}},
		"dsseEnvelope":         map[string]any{"payload": payload, "payloadType": "application/vnd.in-toto+json", "signatures": []any{map[string]any{"sig": sig}}},
	})
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func TestBundle(t *testing.T) {
	archive := charttest.Build(t, "web", "1.0.0", nil)
	sub := subject(t, archive)
	sub.Manifest = digest.SHA256([]byte("manifest"))
	ed, ec := signaturetest.NewKey(t), signaturetest.NewECDSA(t)
	good := ec.Sign(t, archive, "")
	change := func(old, new string) []byte {
		out := bytes.Replace(good, []byte(old), []byte(new), 1)
		if bytes.Equal(out, good) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return out
	}
	about := func(d string) map[string]any {
		return map[string]any{"_type": "https://in-toto.io/Statement/v1", "predicateType": signature.SignPredicate, "predicate": map[string]any{},
			"subject": []any{map[string]any{"digest": map[string]string{"sha256": strings.TrimPrefix(d, "sha256:")}}}}
	}
	scan := about(sub.Archive)
	scan["predicateType"] = "https://cosign.sigstore.dev/attestation/vuln/v1"
	sized := about(sub.Archive)
	sized["subject"] = []any{map[string]any{"digest": map[string]string{"sha256": "abc"}}}
	for name, test := range map[string]struct {
		bundle []byte
		signer func(*signature.Signer)
		about  string
		rule   string // "" is verified
	}{
		"Ed25519, the archive":      {bundle: ed.Sign(t, archive, ""), about: "archive"},
		"ECDSA, the archive":        {bundle: good, about: "archive"},
		"both":                      {bundle: ec.Sign(t, archive, sub.Manifest), about: "archive"},
		"the manifest alone":        {bundle: statement(t, ec, about(sub.Manifest)), about: "manifest"},
		"a digest, ECDSA":           {bundle: message(t, ec, sub.Archive), about: "archive"},
		"the manifest's digest":     {bundle: message(t, ec, sub.Manifest), about: "manifest"},
		"a digest, Ed25519":         {bundle: message(t, ed, sub.Archive), rule: "signature-algorithm"},
		"another archive":           {bundle: ec.Sign(t, charttest.Build(t, "web", "1.0.1", nil), ""), rule: "signature-subject"},
		"another digest":            {bundle: message(t, ec, digest.SHA256(nil)), rule: "signature-subject"},
		"an unknown key":            {bundle: signaturetest.NewKey(t).Sign(t, archive, ""), rule: "signature-unknown-signer"},
		"after its window":          {bundle: good, signer: func(s *signature.Signer) { s.Until = day(-1) }, rule: "signature-window"},
		"revoked":                   {bundle: good, signer: func(s *signature.Signer) { s.Revoked = noon }, rule: "signature-revoked"},
		"another chart":             {bundle: good, signer: func(s *signature.Signer) { s.Charts = []string{"db"} }, rule: "signature-chart"},
		"an attestation":            {bundle: statement(t, ec, scan), rule: "signature-attestation"},
		"a statement with no sum":   {bundle: statement(t, ec, sized), rule: "signature-bundle"},
		"another version":           {bundle: change("bundle.v0.3", "bundle.v0.2"), rule: "signature-bundle"},
		"a name in another case":    {bundle: change(`"payload"`, `"Payload"`), rule: "signature-bundle"},
		"a name twice":              {bundle: change(`"payloadType"`, `"payload":"","payloadType"`), rule: "signature-bundle"},
		"a name twice, elsewhere":   {bundle: change(`"sig":"`, `"keyid":"a","keyid":"b","sig":"`), rule: "signature-bundle"},
		"a name twice by its case":  {bundle: change(`"sig":"`, `"keyid":"a","keyId":"b","sig":"`), rule: "signature-bundle"},
		"a field that is not known": {bundle: change(`"payloadType"`, `"more":1,"payloadType"`), rule: "signature-bundle"},
		"two signatures":            {bundle: change(`"signatures":[`, `"signatures":[{"sig":"AAAA"},`), rule: "signature-bundle"},
		"another payload type":      {bundle: change("vnd.in-toto+json", "vnd.other+json"), rule: "signature-bundle"},
		"a signature that is none":  {bundle: change(`"sig":"`, `"sig":"AAAA`), rule: "signature-unknown-signer"},
		"something behind it":       {bundle: append(bytes.Clone(good), "{}"...), rule: "signature-bundle"},
		"not Base 64":               {bundle: change(`"sig":"`, `"sig":"!`), rule: "signature-bundle"},
		"nothing":                   {bundle: nil, rule: "signature-bundle"},
		"nested deeply":             {bundle: []byte(strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)), rule: "signature-bundle"},
		"very large":                {bundle: make([]byte, signature.MaxBundle+1), rule: "signature-attestation"},
	} {
		t.Run(name, func(t *testing.T) {
			p := signature.Policy{Require: signature.Any, Kinds: []signature.Kind{signature.Key}, Signers: []signature.Signer{
				{Name: "ec", Key: ec.Public(t)}, {Name: "ed", Key: ed.Public(t)},
			}}
			for i := range p.Signers {
				if test.signer != nil {
					test.signer(&p.Signers[i])
				}
			}
			got := verifier(t, p, nil).Bundle(sub, test.bundle)
			if got.Rule != test.rule || (got.Verdict == signature.Verified) != (test.rule == "") || test.rule == "" && got.About != test.about {
				t.Errorf("got %+v; want rule %q, about %q", got, test.rule, test.about)
			}
			if refused := test.rule != "" && test.rule != "signature-attestation"; p.Refuses("web", &got) != refused {
				t.Errorf("refused: %v, want %v", !refused, refused)
			}
		})
	}
}

// TestPublicKeys: what may stand in a policy as a key for bundles.
func TestPublicKeys(t *testing.T) {
	rsaKey := func(bits int) signaturetest.Key {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		return signaturetest.Key{Private: k}
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed := signaturetest.NewKey(t)
	for name, test := range map[string]struct{ key, rule string }{
		"Ed25519":       {ed.Public(t), ""},
		"P-256":         {signaturetest.NewECDSA(t).Public(t), ""},
		"P-384":         {signaturetest.Key{Private: p384}.Public(t), "signature-key"},
		"RSA 3072":      {rsaKey(3072).Public(t), ""},
		"RSA 2048":      {rsaKey(2048).Public(t), "signature-key"},
		"a private key": {string(ed.PEM(t)), "signature-key"},
		"two keys":      {ed.Public(t) + ed.Public(t), "signature-key"},
		"text before":   {"key:\n" + ed.Public(t), "signature-key"},
		"no key":        {"hello", "signature-key"},
		"large":         {strings.Repeat("x", 5<<10), "signature-key"},
	} {
		p := signature.Policy{Signers: []signature.Signer{{Name: "k", Key: test.key}}}
		if got := ruleOf(p.Check()); got != test.rule {
			t.Errorf("%s: %q, want %q", name, got, test.rule)
		}
	}
}

// TestBundleElsewhere: sigstore's own library accepts what we sign.
func TestBundleElsewhere(t *testing.T) {
	archive := charttest.Build(t, "web", "1.0.0", nil)
	sum := sha256.Sum256(archive)
	for name, key := range map[string]signaturetest.Key{"Ed25519": signaturetest.NewKey(t), "ECDSA": signaturetest.NewECDSA(t)} {
		t.Run(name, func(t *testing.T) {
			var b bundle.Bundle
			if err := b.UnmarshalJSON(key.Sign(t, archive, "")); err != nil {
				t.Fatal(err)
			}
			public, err := sigstore.LoadVerifier(key.Private.Public(), crypto.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			trusted := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
				return root.NewExpiringKey(public, noon, noon.AddDate(99, 0, 0)), nil
			})
			v, err := verify.NewVerifier(trusted, verify.WithNoObserverTimestamps())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Verify(&b, verify.NewPolicy(verify.WithArtifactDigest("sha256", sum[:]), verify.WithKey())); err != nil {
				t.Error(err)
			}
			other := sha256.Sum256(nil)
			if _, err := v.Verify(&b, verify.NewPolicy(verify.WithArtifactDigest("sha256", other[:]), verify.WithKey())); err == nil {
				t.Error("and for another archive too")
			}
		})
	}
}

func TestKeyless(t *testing.T) {
	archive := charttest.Build(t, "web", "1.0.0", nil)
	sub := subject(t, archive)
	sub.Manifest = digest.SHA256([]byte("manifest"))
	s := keylesstest.New(t, noon)
	const issuer, workflow = "https://token.example.test", "https://forge.example.test/acme/charts/release.yml@refs/tags/v1"
	good := keylesstest.Order{Issuer: issuer, Subject: workflow, Digest: sub.Archive, At: noon}
	order := func(change func(*keylesstest.Order)) keylesstest.Order {
		o := good
		change(&o)
		return o
	}
	for name, test := range map[string]struct {
		order   keylesstest.Order
		subject string // of the signer; "" is the workflow
		issuer  string
		signer  func(*signature.Signer)
		without bool // no certifier
		about   string
		rule    string
	}{
		"exact":                    {order: good, about: "archive"},
		"the manifest":             {order: order(func(o *keylesstest.Order) { o.Digest = sub.Manifest }), about: "manifest"},
		"anchored":                 {order: good, subject: "https://forge.example.test/acme/charts/release.yml@refs/tags/*", about: "archive"},
		"a star stops at slashes":  {order: good, subject: "https://forge.example.test/acme/*", rule: "signature-unknown-signer"},
		"a beginning is no match":  {order: good, subject: workflow[:len(workflow)-1], rule: "signature-unknown-signer"},
		"an end is no match":       {order: good, subject: strings.TrimPrefix(workflow, "https://"), rule: "signature-unknown-signer"},
		"another issuer":           {order: good, issuer: issuer + "/", rule: "signature-unknown-signer"},
		"another identity":         {order: order(func(o *keylesstest.Order) { o.Subject = strings.Replace(workflow, "acme", "evil", 1) }), rule: "signature-unknown-signer"},
		"another archive":          {order: order(func(o *keylesstest.Order) { o.Digest = digest.SHA256(nil) }), rule: "signature-subject"},
		"no SCT":                   {order: order(func(o *keylesstest.Order) { o.NoSCT = true }), rule: "signature-sct"},
		"no log entry":             {order: order(func(o *keylesstest.Order) { o.NoLog = true }), rule: "signature-log-entry"},
		"signed in the future":     {order: order(func(o *keylesstest.Order) { o.At = noon.Add(time.Hour) }), rule: "signature-future"},
		"after its window":         {order: good, signer: func(s *signature.Signer) { s.Until = day(-1) }, rule: "signature-window"},
		"an attestation":           {order: order(func(o *keylesstest.Order) { o.Predicate = "https://slsa.dev/provenance/v1" }), rule: "signature-attestation"},
		"nobody to judge the name": {order: good, without: true, rule: "signature-keyless"},
	} {
		t.Run(name, func(t *testing.T) {
			signer := signature.Signer{Name: "ci", Issuer: issuer, Subject: workflow}
			if test.subject != "" {
				signer.Subject = test.subject
			}
			if test.issuer != "" {
				signer.Issuer = test.issuer
			}
			if test.signer != nil {
				test.signer(&signer)
			}
			var c signature.Certifier = keyless.Certifier{}
			if test.without {
				c = nil
			}
			p := signature.Policy{Require: signature.All, Kinds: []signature.Kind{signature.Keyless}, Signers: []signature.Signer{signer}, TrustedRoot: s.TrustedRoot()}
			got := verifier(t, p, c).Bundle(sub, s.Sign(test.order))
			if got.Rule != test.rule || (got.Verdict == signature.Verified) != (test.rule == "") || test.rule == "" && got.About != test.about {
				t.Errorf("got %+v; want rule %q", got, test.rule)
			}
		})
	}
}

// FuzzBundle: whatever is attached is judged, and only what was signed is
// verified.
func FuzzBundle(f *testing.F) {
	archive := charttest.Build(f, "web", "1.0.0", nil)
	sub := subject(f, archive)
	key := signaturetest.NewKey(f)
	good := key.Sign(f, archive, "")
	v := verifier(f, signature.Policy{Signers: []signature.Signer{{Name: "k", Key: key.Public(f)}}}, nil)
	f.Add(good)
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"x"}},"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":"AA=="},"signature":"AA=="}}`))
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"certificate":{"rawBytes":"AA=="}},"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AA=="}]}}`))
	payload := func(b []byte) string {
		var x struct{ DsseEnvelope struct{ Payload string } }
		_ = json.Unmarshal(b, &x)
		raw, _ := base64.StdEncoding.DecodeString(x.DsseEnvelope.Payload)
		return string(raw)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := v.Bundle(sub, b)
		if got.Verdict == signature.Verified && payload(b) != payload(good) {
			t.Errorf("verified: %s", b)
		}
		if got.Verdict == "" || got.Verdict != signature.Verified && got.Detail == "" {
			t.Errorf("no verdict: %+v", got)
		}
	})
}

// FuzzProvenance: likewise.
func FuzzProvenance(f *testing.F) {
	archive := charttest.Build(f, "web", "1.0.0", nil)
	sub := subject(f, archive)
	key := signaturetest.NewPGP(f, day(-100))
	good := key.Sign(f, archive, noon)
	v := verifier(f, signature.Policy{Signers: []signature.Signer{{Name: "k", PGP: key.Public(f)}}}, nil)
	f.Add(good)
	f.Add(twice(f, good))
	f.Add(shaOne(f, key, provText("web", "1.0.0", "web-1.0.0.tgz", sub.Archive)))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := v.Provenance(sub, b)
		if got.Verdict == signature.Verified && !bytes.Contains(b, []byte(strings.TrimPrefix(sub.Archive, "sha256:"))) {
			t.Errorf("verified: %s", b)
		}
		if got.Verdict == "" {
			t.Errorf("no verdict: %+v", got)
		}
	})
}
