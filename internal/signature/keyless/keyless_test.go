package keyless_test

import (
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/signature/keyless"
	"github.com/chartkeep/chartkeep/internal/signature/keyless/keylesstest"
)

const (
	issuer   = "https://token.example.test"
	workflow = "https://forge.example.test/acme/charts/.forge/release.yml@refs/tags/v1"
)

func TestCertify(t *testing.T) {
	at := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	s := keylesstest.New(t, at)
	root := []byte(s.TrustedRoot())
	var c keyless.Certifier
	if err := c.CheckRoot(root); err != nil {
		t.Fatal(err)
	}
	archive, other := digest.SHA256([]byte("archive")), digest.SHA256([]byte("other"))
	good := keylesstest.Order{Issuer: issuer, Subject: workflow, Digest: archive, At: at}
	with := func(change func(*keylesstest.Order)) []byte {
		o := good
		change(&o)
		return s.Sign(o)
	}
	for name, test := range map[string]struct {
		bundle []byte
		root   []byte
		digest string
		rule   string
	}{
		"good":                  {bundle: s.Sign(good)},
		"an e-mail address":     {bundle: with(func(o *keylesstest.Order) { o.Subject = "ada@example.test" })},
		"another digest":        {bundle: s.Sign(good), digest: other, rule: keyless.RuleInvalid},
		"no SCT":                {bundle: with(func(o *keylesstest.Order) { o.NoSCT = true }), rule: keyless.RuleSCT},
		"an SCT of another log": {bundle: with(func(o *keylesstest.Order) { o.ForeignSCT = true }), rule: keyless.RuleSCT},
		"no log entry":          {bundle: with(func(o *keylesstest.Order) { o.NoLog = true }), rule: keyless.RuleLog},
		"a log entry elsewhere": {bundle: with(func(o *keylesstest.Order) { o.ForeignLog = true }), rule: keyless.RuleLog},
		"after the certificate": {bundle: with(func(o *keylesstest.Order) { o.LoggedAt = at.Add(time.Hour) }), rule: keyless.RuleCertificate},
		"another sigstore":      {bundle: keylesstest.New(t, at).Sign(good), rule: keyless.RuleLog},
		"after the root's time": {bundle: with(func(o *keylesstest.Order) { o.At = at.AddDate(1, 0, 0) }), rule: keyless.RuleLog},
		"no bundle":             {bundle: []byte(`{}`), rule: keyless.RuleForm},
		"no root":               {bundle: s.Sign(good), root: []byte(`{}`), rule: keyless.RuleRoot},
	} {
		t.Run(name, func(t *testing.T) {
			if test.root == nil {
				test.root = root
			}
			if test.digest == "" {
				test.digest = archive
			}
			got, err := c.Certify(test.root, test.bundle, test.digest)
			if test.rule != "" {
				if p, ok := problem.As(err); !ok || p.Rule != test.rule {
					t.Fatalf("got %+v, %v; want rule %s", got, err, test.rule)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Issuer != issuer || got.Digest != archive || !got.Time.Equal(at) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// FuzzCertify: whatever somebody attaches is refused, and nothing falls over.
func FuzzCertify(f *testing.F) {
	at := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	s := keylesstest.New(f, at)
	root, archive := []byte(s.TrustedRoot()), digest.SHA256([]byte("archive"))
	good := s.Sign(keylesstest.Order{Issuer: issuer, Subject: workflow, Digest: archive, At: at})
	f.Add(good)
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"certificate":{"rawBytes":"AA=="},"tlogEntries":[{}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := keyless.Certifier{}.Certify(root, b, archive)
		if err == nil && (got.Subject != workflow || got.Digest != archive) {
			t.Errorf("certified %+v", got)
		}
	})
}
