package signature_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/signature"
	"github.com/chartkeep/chartkeep/internal/signature/signaturetest"
)

// noon is the moment of signing that counts in these tests.
var noon = time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)

func day(n int) time.Time { return noon.AddDate(0, 0, n) }

// subject is a chart archive with what is asked about it.
func subject(t testing.TB, archive []byte) signature.Subject {
	t.Helper()
	a, err := chart.Open(bytes.NewReader(archive), chart.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return signature.Subject{Chart: a.Metadata.Name, Version: a.Metadata.Version, Archive: a.Digest, Publisher: "usr-ci", Moment: noon}
}

func verifier(t testing.TB, p signature.Policy, c signature.Certifier) *signature.Verifier {
	t.Helper()
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	v, err := signature.NewVerifier(&p, c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// clear signs any text, as somebody might who does not mean well.
func clear(t testing.TB, key *packet.PrivateKey, at time.Time, hash crypto.Hash, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := clearsign.Encode(&b, key, &packet.Config{DefaultHash: hash, Time: func() time.Time { return at }})
	if err == nil {
		if _, err = w.Write([]byte(text)); err == nil {
			err = w.Close()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func provText(name, version, file, archive string) string {
	return "apiVersion: v2\nname: " + name + "\nversion: " + version + "\n\n...\nfiles:\n  " + file + ": " + archive + "\n"
}

// judged is one case of a provenance file.
type judged struct {
	prov   []byte
	signer func(*signature.Signer) // changes the one signer
	policy func(*signature.Policy)
	sub    func(*signature.Subject)
	rule   string // "" is verified
}

func TestProvenance(t *testing.T) {
	archive := charttest.Build(t, "web", "1.0.0", nil)
	sub := subject(t, archive)
	key := signaturetest.NewPGP(t, day(-100))
	good := key.Sign(t, archive, noon)
	sign := func(at time.Time, text string) []byte {
		return clear(t, key.Entity.PrivateKey, at, crypto.SHA512, text)
	}
	right := provText("web", "1.0.0", "web-1.0.0.tgz", sub.Archive)
	window := func(from, until int) func(*signature.Signer) {
		return func(s *signature.Signer) { s.From, s.Until = day(from), day(until) }
	}
	replace := func(old, new string) []byte { return bytes.Replace(good, []byte(old), []byte(new), 1) }
	for name, test := range map[string]judged{
		"good":                  {prov: good},
		"as Helm words it":      {prov: sign(noon, right)},
		"with CRLF":             {prov: bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n"))},
		"clocks a little apart": {prov: sign(noon.Add(9*time.Minute), right)},

		// What `helm verify` lets pass.
		"metadata of another name":     {prov: sign(noon, provText("other", "1.0.0", "web-1.0.0.tgz", sub.Archive)), rule: "provenance-name"},
		"metadata of another version":  {prov: sign(noon, provText("web", "2.0.0", "web-1.0.0.tgz", sub.Archive)), rule: "provenance-version"},
		"text before the block":        {prov: append([]byte("read this first\n"), good...), rule: "provenance-format"},
		"text after the block":         {prov: append(slices.Clone(good), "\nand this\n"...), rule: "provenance-format"},
		"a second block":               {prov: append(slices.Clone(good), good...), rule: "provenance-format"},
		"several files":                {prov: sign(noon, right+"  more.tgz: "+sub.Archive+"\n"), rule: "provenance-files"},
		"another file name":            {prov: sign(noon, provText("web", "1.0.0", "web-1.0.0.tar.gz", sub.Archive)), rule: "provenance-file-name"},
		"another digest":               {prov: sign(noon, provText("web", "1.0.0", "web-1.0.0.tgz", digest.SHA256(nil))), rule: "provenance-digest"},
		"a third part":                 {prov: sign(noon, right+"...\nfiles: {}\n"), rule: "provenance-format"},
		"no metadata":                  {prov: sign(noon, "...\nfiles:\n  web-1.0.0.tgz: "+sub.Archive+"\n"), rule: "provenance-format"},
		"another armor header":         {prov: replace("Hash: SHA512", "Comment: x"), rule: "provenance-format"},
		"a header that is not escaped": {prov: replace("\nname", "\n-name"), rule: "provenance-format"},

		// Signatures that do not hold.
		"one letter changed":    {prov: replace("description: A chart", "description: a chart"), rule: "signature-invalid"},
		"two signatures in one": {prov: twice(t, good), rule: "signature-pgp-form"},
		"no packets":            {prov: rearmor(t, good, []byte("nothing")), rule: "signature-pgp-form"},
		"SHA-1":                 {prov: shaOne(t, key, right), rule: "signature-hash"},
		"over bytes, not text":  {prov: binary(t, key, right), rule: "signature-pgp-form"},
		"from the future":       {prov: sign(noon.Add(time.Hour), right), rule: "signature-future"},
		"before its key":        {prov: sign(day(-101), right), rule: "signature-before-key"},
		"an unknown key":        {prov: signaturetest.NewPGP(t, day(-100)).Sign(t, archive, noon), rule: "signature-unknown-signer"},

		// What the policy says of the signer.
		"in its window":                    {prov: good, signer: window(-1, 1)},
		"before its window":                {prov: good, signer: window(1, 2), rule: "signature-window"},
		"after its window":                 {prov: good, signer: window(-2, -1), rule: "signature-window"},
		"at the end of its window":         {prov: good, signer: window(-2, 0), rule: "signature-window"},
		"at the beginning of its window":   {prov: good, signer: window(0, 2)},
		"an old date does not help":        {prov: sign(day(-1), right), signer: window(-2, -1), sub: func(s *signature.Subject) { s.Moment = day(1) }, rule: "signature-window"},
		"revoked":                          {prov: good, signer: func(s *signature.Signer) { s.Revoked = day(-1) }, rule: "signature-revoked"},
		"revoked later":                    {prov: good, signer: func(s *signature.Signer) { s.Revoked = day(1) }},
		"for its chart":                    {prov: good, signer: func(s *signature.Signer) { s.Charts = []string{"db", "we*"} }},
		"for another chart":                {prov: good, signer: func(s *signature.Signer) { s.Charts = []string{"db", "website*"} }, rule: "signature-chart"},
		"for its publisher":                {prov: good, signer: func(s *signature.Signer) { s.Publishers = []string{"usr-ci"} }},
		"for another publisher":            {prov: good, signer: func(s *signature.Signer) { s.Publishers = []string{"usr-other"} }, rule: "signature-publisher"},
		"by somebody else":                 {prov: good, signer: func(s *signature.Signer) { s.Owner = "usr-ada" }, policy: func(p *signature.Policy) { p.Distinct = true }},
		"by who publishes":                 {prov: good, signer: func(s *signature.Signer) { s.Owner = "usr-ci" }, policy: func(p *signature.Policy) { p.Distinct = true }, rule: "signature-own-release"},
		"by who publishes, if that is all": {prov: good, signer: func(s *signature.Signer) { s.Owner = "usr-ci" }},
	} {
		t.Run(name, func(t *testing.T) { test.run(t, sub, key.Public(t)) })
	}
}

func (j judged) run(t *testing.T, sub signature.Subject, public string) {
	t.Helper()
	s := signature.Signer{Name: "ada", PGP: public}
	if j.signer != nil {
		j.signer(&s)
	}
	p := signature.Policy{Require: signature.All, Kinds: []signature.Kind{signature.PGP}, Signers: []signature.Signer{s}}
	if j.policy != nil {
		j.policy(&p)
	}
	if j.sub != nil {
		j.sub(&sub)
	}
	got := verifier(t, p, nil).Provenance(sub, j.prov)
	if got.Rule != j.rule || (got.Verdict == signature.Verified) != (j.rule == "") || (got.Signer == "ada") != (j.rule == "") {
		t.Errorf("got %+v; want rule %q", got, j.rule)
	}
	if p.Refuses(sub.Chart, &got) != (j.rule != "") {
		t.Errorf("what is to be refused is not: %+v", got)
	}
}

// raw takes the packets out of a cleartext signature.
func raw(t testing.TB, prov []byte) []byte {
	t.Helper()
	p, err := chart.ParseProvenance(prov)
	if err != nil {
		t.Fatal(err)
	}
	return p.Signature
}

// rearmor puts other packets into a cleartext signature.
func rearmor(t testing.TB, prov, packets []byte) []byte {
	t.Helper()
	text := prov[:bytes.Index(prov, []byte("-----BEGIN PGP SIGNATURE"))]
	return append(slices.Clone(text), signaturetest.Armor(t, "PGP SIGNATURE", packets)...)
}

func twice(t testing.TB, prov []byte) []byte {
	one := raw(t, prov)
	return rearmor(t, prov, append(slices.Clone(one), one...))
}

// packetOf makes a signature of any type and hash over a text.
func packetOf(t testing.TB, key signaturetest.PGP, kind packet.SignatureType, hash crypto.Hash, text string) []byte {
	t.Helper()
	id := key.Entity.PrimaryKey.KeyId
	sig := &packet.Signature{Version: 4, SigType: kind, PubKeyAlgo: key.Entity.PrimaryKey.PubKeyAlgo, Hash: hash, CreationTime: noon, IssuerKeyId: &id}
	h := hash.New()
	h.Write([]byte(strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\r\n")))
	if err := sig.Sign(h, key.Entity.PrivateKey, nil); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := sig.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func shaOne(t testing.TB, key signaturetest.PGP, text string) []byte {
	return rearmor(t, clear(t, key.Entity.PrivateKey, noon, crypto.SHA512, text), shaOneOf(packetOf(t, key, packet.SigTypeText, crypto.SHA256, text)))
}

// shaOneOf has a signature packet say SHA-1: header, length, version, type, key
// algorithm, hash algorithm (RFC 9580 section 5.2.3).
func shaOneOf(b []byte) []byte {
	b[5] = 2
	return b
}

func binary(t testing.TB, key signaturetest.PGP, text string) []byte {
	return rearmor(t, clear(t, key.Entity.PrivateKey, noon, crypto.SHA512, text), packetOf(t, key, packet.SigTypeBinary, crypto.SHA512, text))
}

// TestProvenanceKeys: what is wrong with the key itself.
func TestProvenanceKeys(t *testing.T) {
	archive := charttest.Build(t, "web", "1.0.0", nil)
	sub := subject(t, archive)
	right := provText("web", "1.0.0", "web-1.0.0.tgz", sub.Archive)
	at := func(d time.Time) *packet.Config { return &packet.Config{Time: func() time.Time { return d }} }
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	expires := signaturetest.NewPGP(t, day(-100), func(c *packet.Config) { c.KeyLifetimeSecs = 50 * 24 * 3600 })
	revoked := signaturetest.NewPGP(t, day(-100))
	prov := revoked.Sign(t, archive, noon)
	ok(revoked.Entity.RevokeKey(packet.KeySuperseded, "a new one", at(day(-1))))
	later := signaturetest.NewPGP(t, day(-100))
	ok(later.Entity.RevokeKey(packet.KeySuperseded, "a new one", at(day(1))))
	leaked := signaturetest.NewPGP(t, day(-100))
	ok(leaked.Entity.RevokeKey(packet.KeyCompromised, "stolen", at(day(1))))
	sub1 := signaturetest.NewPGP(t, day(-100))
	ok(sub1.Entity.AddSigningSubkey(at(day(-90))))
	subkey := sub1.Entity.Subkeys[len(sub1.Entity.Subkeys)-1]
	dead := signaturetest.NewPGP(t, day(-100))
	ok(dead.Entity.AddSigningSubkey(at(day(-90))))
	deadkey := &dead.Entity.Subkeys[len(dead.Entity.Subkeys)-1]
	deadProv := clear(t, deadkey.PrivateKey, noon, crypto.SHA512, right)
	ok(dead.Entity.RevokeSubkey(deadkey, packet.KeySuperseded, "gone", at(day(-1))))
	encrypts := signaturetest.NewPGP(t, day(-100))
	mute := signaturetest.NewPGP(t, day(-100))
	for _, id := range mute.Entity.Identities {
		id.SelfSignature.FlagSign = false
		ok(id.SelfSignature.SignUserId(id.UserId.Id, mute.Entity.PrimaryKey, mute.Entity.PrivateKey, at(day(-100))))
	}
	for name, test := range map[string]struct {
		key  signaturetest.PGP
		prov []byte
		rule string
	}{
		"expired":            {expires, clear(t, expires.Entity.PrivateKey, noon, crypto.SHA512, right), "signature-key-expired"},
		"revoked":            {revoked, prov, "signature-key-revoked"},
		"revoked later":      {later, clear(t, later.Entity.PrivateKey, noon, crypto.SHA512, right), ""},
		"stolen, said later": {leaked, clear(t, leaked.Entity.PrivateKey, noon, crypto.SHA512, right), "signature-key-revoked"},
		"by a sub-key":       {sub1, clear(t, subkey.PrivateKey, noon, crypto.SHA512, right), ""},
		"a revoked sub-key":  {dead, deadProv, "signature-key-revoked"},
		"not for signing":    {mute, clear(t, mute.Entity.PrivateKey, noon, crypto.SHA512, right), "signature-key-usage"},
		"of another":         {encrypts, prov, "signature-unknown-signer"},
	} {
		t.Run(name, func(t *testing.T) {
			judged{prov: test.prov, rule: test.rule}.run(t, sub, test.key.Public(t))
		})
	}
}

// TestPGPKeys: what may stand in a policy.
func TestPGPKeys(t *testing.T) {
	key := signaturetest.NewPGP(t, day(-100))
	small := &packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 1024, Time: func() time.Time { return day(-100) }}
	weak, err := openpgp.NewEntity("Weak", "", "weak@example.test", small)
	if err != nil {
		t.Skip("this toolchain makes no RSA key of 1024 bits")
	}
	for name, test := range map[string]struct{ text, rule string }{
		"good":          {key.Public(t), ""},
		"a secret key":  {string(key.Secret(t, "")), "signature-pgp-key"},
		"two keys":      {key.Public(t) + signaturetest.NewPGP(t, noon).Public(t), "signature-pgp-key"},
		"text around":   {"hello\n" + key.Public(t), "signature-pgp-key"},
		"no key":        {"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----", "signature-pgp-key"},
		"1024 bits":     {signaturetest.PGP{Entity: weak}.Public(t), "signature-key-size"},
		"a large thing": {strings.Repeat("x", 40<<10), "signature-pgp-key"},
	} {
		p := signature.Policy{Signers: []signature.Signer{{Name: "ada", PGP: test.text}}}
		if got := ruleOf(p.Check()); got != test.rule {
			t.Errorf("%s: %q, want %q", name, got, test.rule)
		}
	}
}

// TestRealProvenance: the provenance files of Helm's own tests, with Helm's key.
func TestRealProvenance(t *testing.T) {
	dir := charttest.Corpus(t, "charts/helm__helm-signed")
	ring, err := os.ReadFile(filepath.Join(dir, "helm-test-key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := openpgp.ReadKeyRing(bytes.NewReader(ring))
	if err != nil || len(list) != 1 {
		t.Fatalf("%d keys, %v", len(list), err)
	}
	public := signaturetest.PGP{Entity: list[0]}.Public(t)
	files, _ := filepath.Glob(filepath.Join(dir, "*.prov"))
	if len(files) != 2 {
		t.Fatalf("%d provenance files", len(files))
	}
	for _, file := range files {
		prov, archive := charttest.ReadFile(t, file), charttest.ReadFile(t, strings.TrimSuffix(file, ".prov"))
		sub := subject(t, archive)
		judged{prov: prov}.run(t, sub, public)
		judged{prov: prov, rule: "signature-unknown-signer"}.run(t, sub, signaturetest.NewPGP(t, day(-1)).Public(t))
		judged{prov: prov, rule: "signature-future", sub: func(s *signature.Subject) { s.Moment = time.Date(2016, 8, 1, 0, 0, 0, 0, time.UTC) }}.run(t, sub, public)
	}
}

// TestLockedKey: a passphrase unlocks a key, and nothing else does.
func TestLockedKey(t *testing.T) {
	archive := charttest.Build(t, "web", "1.0.0", nil)
	key := signaturetest.NewPGP(t, day(-100))
	locked := key.Secret(t, "open sesame")
	asked := ""
	read := func(word string) (*signature.SecretKey, error) {
		return signature.ReadSecretKey(locked, func(name string) ([]byte, error) { asked = name; return []byte(word), nil })
	}
	if _, err := read("wrong"); ruleOf(err) != "signing-key" {
		t.Errorf("a wrong passphrase: %v", err)
	}
	k, err := read("open sesame")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(asked, "signer@example.test") || k.Kind() != signature.PGP {
		t.Errorf("asked for %q, %s", asked, k.Kind())
	}
	prov, err := k.Provenance(signaturetest.Of(t, archive), noon, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	judged{prov: prov}.run(t, subject(t, archive), key.Public(t))
	if _, err := k.Provenance(signaturetest.Of(t, archive), day(-200), rand.Reader); ruleOf(err) != "signing-key" {
		t.Errorf("signed before the key was made: %v", err)
	}
}
