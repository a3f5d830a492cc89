package clients

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
	sign "github.com/chartkeep/chartkeep/internal/signature"
)

// TestCosign: the real cosign accepts what `chartkeep sign` makes; a policy
// accepts the bundles that cosign makes, and not those of another key; and cosign
// finds its own signatures of a chart in the registry, by tag and as referrers.
// All of it with a key and without any service of Sigstore. Tried with 2.4.3.
func TestCosign(t *testing.T) {
	cosign, err := exec.LookPath("cosign")
	if err != nil {
		t.Skip("NOT TESTED: cosign is not in PATH, so neither what it makes nor what it accepts was tried")
	}
	s, sh := newSite(t, daemontest.Options{}), newShell(t)
	sh.env = append(sh.env, "COSIGN_PASSWORD=")
	for _, name := range []string{"ci", "other"} {
		sh.do("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", name+".pem")
		sh.do("openssl", "pkey", "-in", name+".pem", "-pubout", "-out", name+".pub.pem")
		sh.do(cosign, "import-key-pair", "--key", name+".pem", "--output-key-prefix", name)
	}
	const about = "https://sigstore.dev/cosign/sign/v1"
	// With a trusted root that names nobody, cosign asks nobody for one.
	root := sh.write("root.json", []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`))
	predicate := sh.write("predicate.json", []byte("{}"))
	s.project(client.NewProject{Name: "signed", Public: true, Policy: client.Policy{Signatures: &client.SignaturePolicy{
		Require: sign.Any, Kinds: []sign.Kind{sign.Key}, Signers: []client.Signer{{Name: "ci", Key: string(mustRead(t, filepath.Join(sh.dir, "ci.pub.pem")))}},
	}}})
	released := func(name string) bool {
		rel, err := s.api.Release(t.Context(), "signed", name, "1.0.0")
		if err != nil {
			t.Fatal(err)
		}
		return rel.State == "active" // else it waits for a signature, and nobody is served it
	}
	archive := func(name string) string { return sh.write(name+"-1.0.0.tgz", charttest.Build(t, name, "1.0.0", nil)) }

	ours := archive("ours")
	s.chartkeep(sh, "sign", ours, "--key", "ci.pem")
	verify := []string{"verify-blob-attestation", "--new-bundle-format", "--insecure-ignore-tlog", "--trusted-root", root, "--type", about, "--bundle", ours + ".sigstore.json"}
	sh.do(cosign, append(verify, "--key", "ci.pub", ours)...)
	sh.fail(nil, cosign, append(verify, "--key", "other.pub", ours)...)
	sh.fail(nil, cosign, append(verify, "--key", "ci.pub", archive("theirs"))...)

	for name, how := range map[string][]string{
		"attested": {"attest-blob", "--type", about, "--predicate", predicate, "--key", "ci.key"},
		"signed":   {"sign-blob", "--key", "ci.key"},
		"stranger": {"sign-blob", "--key", "other.key"},
	} {
		file := archive(name)
		sh.do(cosign, append(how, "--new-bundle-format", "--tlog-upload=false", "--yes", "--bundle", file+".sigstore.json", file)...)
		if out, err := sh.try(daemontest.Program(t), "push", file, "--project", "signed"); err == nil != (name != "stranger") {
			t.Errorf("%s: pushed, %v: %s", name, err, out)
		}
		if released(name) != (name != "stranger") {
			t.Errorf("%s: released: %v", name, released(name))
		}
	}

	sh.do(cosign, "login", s.Addr, "-u", "ci", "-p", s.Admin)
	rel, err := s.api.Release(t.Context(), "signed", "signed", "1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	ref := s.Addr + "/signed/signed@" + rel.Manifest
	sh.do(cosign, "sign", "--key", "ci.key", "--tlog-upload=false", "--yes", ref)
	if out := sh.do(cosign, "verify", "--key", "ci.pub", "--insecure-ignore-tlog", ref); !strings.Contains(out, "cosign container image signature") {
		t.Errorf("verified: %s", out)
	}
	sh.fail(nil, cosign, "verify", "--key", "other.pub", "--insecure-ignore-tlog", ref)
	sh.env = append(sh.env, "COSIGN_EXPERIMENTAL=1")
	sh.do(cosign, "sign", "--key", "ci.key", "--tlog-upload=false", "--registry-referrers-mode=oci-1-1", "--yes", ref)
	if _, body := s.get("/v2/signed/signed/referrers/" + rel.Manifest); !strings.Contains(body, "application/vnd.dev.cosign.artifact.sig.v1+json") {
		t.Errorf("referrers: %s", body)
	}
}
