package clients

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
	sign "github.com/chartkeep/chartkeep/internal/signature"
	"github.com/chartkeep/chartkeep/internal/signature/signaturetest"
)

// chartkeep runs our own command line beside the other clients.
func (s *site) chartkeep(sh *shell, args ...string) string {
	s.t.Helper()
	sh.env = append(sh.env, "CHARTKEEP_SERVER="+s.URL, "CHARTKEEP_TOKEN="+s.Admin)
	return sh.do(daemontest.Program(s.t), args...)
}

// TestHelmAcceptsWhatWeSign: what `chartkeep sign` makes, `helm verify` and
// `helm pull --verify` accept, through both doors of a project that asks for it;
// what somebody else signed with Helm does not come in.
func TestHelmAcceptsWhatWeSign(t *testing.T) {
	each(t, daemontest.Options{}, func(t *testing.T, s *site, sh *shell, helm string) {
		made := time.Now().Add(-time.Hour)
		pgp, key := signaturetest.NewPGP(t, made), signaturetest.NewKey(t)
		s.project(client.NewProject{Name: "signed", Public: true, Policy: client.Policy{Signatures: &client.SignaturePolicy{
			Require: sign.All, Kinds: []sign.Kind{sign.PGP, sign.Key},
			Signers: []client.Signer{{Name: "ada", PGP: pgp.Public(t)}, {Name: "ci", Key: key.Public(t)}},
		}}})
		secret := sh.write("ada.asc", pgp.Secret(t, "open sesame"))
		pass := sh.write("pass.txt", []byte("open sesame\n"))
		private := sh.write("ci.pem", key.PEM(t))
		ring := sh.write("ada.gpg", pgp.PublicRing(t))

		sh.do(helm, "registry", "login", s.Addr, "-u", "ci", "-p", s.Admin, "--plain-http")
		sh.do(helm, "repo", "add", "signed", s.URL+"/signed")
		oci := "oci://" + s.Addr + "/signed"
		for _, name := range []string{"one", "two"} {
			sh.source(name, "1.0.0")
			sh.do(helm, "package", name)
			file := filepath.Join(sh.dir, name+"-1.0.0.tgz")
			s.chartkeep(sh, "sign", file, "--key", secret, "--key", private, "--passphrase-file", pass)
			archive, prov := mustRead(t, file), mustRead(t, file+".prov")
			sh.do(helm, "verify", file, "--keyring", ring)

			// Through OCI by Helm, or by our own client; then the bundle.
			if name == "one" {
				sh.do(helm, "push", file, oci, "--plain-http")
				sh.fail(nil, helm, "pull", oci+"/one", "--version", "1.0.0", "--plain-http") // it waits for the bundle
				s.chartkeep(sh, "attach", "signed/one@1.0.0", file+".sigstore.json")
			} else {
				s.chartkeep(sh, "push", file, "--project", "signed")
			}
			for _, f := range []string{file, file + ".prov"} {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
			sh.do(helm, "repo", "update", "signed")
			for door, args := range map[string][]string{"repository": {"signed/" + name}, "OCI": {oci + "/" + name, "--plain-http"}} {
				sh.do(helm, append([]string{"pull", "--verify", "--keyring", ring, "--version", "1.0.0"}, args...)...)
				want(t, door, sh.read(name+"-1.0.0.tgz"), archive)
				want(t, door+", provenance", sh.read(name+"-1.0.0.tgz.prov"), prov)
			}
		}

		// Helm signs, and the policy knows the key or does not.
		known := newSigner(t, sh.home)
		if err := os.Mkdir(filepath.Join(sh.home, "other"), 0o700); err != nil {
			t.Fatal(err)
		}
		unknown := newSigner(t, filepath.Join(sh.home, "other"))
		signers, err := sign.Keyring(mustRead(t, known.public))
		if err != nil {
			t.Fatal(err)
		}
		s.project(client.NewProject{Name: "byhelm", Public: true, Policy: client.Policy{Signatures: &client.SignaturePolicy{
			Require: sign.Any, Kinds: []sign.Kind{sign.PGP}, Signers: signers,
		}}})
		push := func(name string, by signer) (string, error) {
			sh.source(name, "1.0.0")
			sh.do(helm, "package", name, "--sign", "--key", "publisher@example.test", "--keyring", by.secret)
			return sh.try(helm, "push", filepath.Join(sh.dir, name+"-1.0.0.tgz"), "oci://"+s.Addr+"/byhelm", "--plain-http")
		}
		if out, err := push("good", known); err != nil {
			t.Errorf("Helm's own signature: %v\n%s", err, out)
		}
		if out, err := push("bad", unknown); err == nil {
			t.Errorf("a signature of nobody known was taken: %s", out)
		}
		if status, body := s.get("/api/v1/projects/byhelm/-/charts/good/releases/1.0.0"); status != http.StatusOK {
			t.Errorf("the good one: %d %s", status, body)
		}
		if status, _ := s.get("/api/v1/projects/byhelm/-/charts/bad/releases/1.0.0"); status != http.StatusNotFound {
			t.Errorf("the bad one: %d", status)
		}
	})
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
