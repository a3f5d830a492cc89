package clients

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// signer is a key that somebody signs charts with, in the two keyrings that
// Helm wants.
type signer struct{ secret, public string }

func newSigner(t *testing.T, dir string) signer {
	t.Helper()
	config := &packet.Config{Time: func() time.Time { return time.Now().Add(-time.Hour) }, RSABits: 2048}
	key, err := openpgp.NewEntity("Test Publisher", "", "publisher@example.test", config)
	if err != nil {
		t.Fatal(err)
	}
	s := signer{filepath.Join(dir, "secret.gpg"), filepath.Join(dir, "public.gpg")}
	var secret, public bytes.Buffer
	if err := key.SerializePrivate(&secret, config); err != nil {
		t.Fatal(err)
	}
	if err := key.Serialize(&public); err != nil {
		t.Fatal(err)
	}
	for path, b := range map[string][]byte{s.secret: secret.Bytes(), s.public: public.Bytes()} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// source writes the folder of a chart.
func (sh *shell) source(name, version string) {
	sh.write(name+"/Chart.yaml", []byte("apiVersion: v2\nname: "+name+"\nversion: "+version+"\n"))
	sh.write(name+"/templates/a.yaml", []byte("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n"))
}

// form posts files as ChartMuseum's clients do.
func (s *site) form(path string, files map[string][]byte) (int, string) {
	s.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for field, content := range files {
		f, err := w.CreateFormFile(field, "")
		if err != nil {
			s.t.Fatal(err)
		}
		if _, err := f.Write(content); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, s.URL+path, &b)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.SetBasicAuth("x", s.Admin)
	return s.ask(req)
}

// TestHelmProvenance: what Helm signs, Helm verifies, whichever door it came
// and went through.
func TestHelmProvenance(t *testing.T) {
	each(t, daemontest.Options{}, func(t *testing.T, s *site, sh *shell, helm string) {
		s.project(client.NewProject{Name: "signed", Public: true})
		key := newSigner(t, sh.home)
		pack := func(name, version string) (archive, prov []byte) {
			sh.source(name, version)
			sh.do(helm, "package", name, "--sign", "--key", "publisher@example.test", "--keyring", key.secret)
			return sh.read(name + "-" + version + ".tgz"), sh.read(name + "-" + version + ".tgz.prov")
		}
		verify := func(what, name, version string, archive, prov []byte, args ...string) {
			t.Helper()
			sh.do(helm, append([]string{"pull", "--verify", "--keyring", key.public, "--version", version}, args...)...)
			want(t, what, sh.read(name+"-"+version+".tgz"), archive)
			want(t, what+", provenance", sh.read(name+"-"+version+".tgz.prov"), prov)
		}
		sh.do(helm, "registry", "login", s.Addr, "-u", "ci", "-p", s.Admin, "--plain-http")
		sh.do(helm, "repo", "add", "signed", s.URL+"/signed")

		// Through OCI, with the provenance as a layer.
		archive, prov := pack("one", "1.0.0")
		file := sh.write("one-1.0.0.tgz", archive)
		sh.write("one-1.0.0.tgz.prov", prov)
		sh.do(helm, "verify", file, "--keyring", key.public)
		sh.do(helm, "push", file, "oci://"+s.Addr+"/signed", "--plain-http")
		sh.read("one-1.0.0.tgz")
		sh.read("one-1.0.0.tgz.prov")
		sh.do(helm, "repo", "update", "signed")
		verify("OCI to OCI", "one", "1.0.0", archive, prov, "oci://"+s.Addr+"/signed/one", "--plain-http")
		verify("OCI to repository", "one", "1.0.0", archive, prov, "signed/one")

		// As the form of ChartMuseum.
		archive, prov = pack("two", "1.0.0")
		if status, body := s.form("/api/signed/charts", map[string][]byte{"chart": archive, "prov": prov}); status != http.StatusCreated {
			t.Fatalf("form: %d %s", status, body)
		}
		sh.do(helm, "repo", "update", "signed")
		verify("form to OCI", "two", "1.0.0", archive, prov, "oci://"+s.Addr+"/signed/two", "--plain-http")
		verify("form to repository", "two", "1.0.0", archive, prov, "signed/two")

		// Later, once.
		archive, prov = pack("three", "1.0.0")
		s.push("signed", archive)
		sh.do(helm, "repo", "update", "signed")
		sh.fail([]string{"failed to fetch provenance"}, helm, "pull", "--verify", "--keyring", key.public, "signed/three")
		if status, body := s.form("/api/signed/charts", map[string][]byte{"prov": prov}); status != http.StatusCreated {
			t.Fatalf("late provenance: %d %s", status, body)
		}
		verify("late, to repository", "three", "1.0.0", archive, prov, "signed/three")
		sh.fail(nil, helm, "pull", "--verify", "--keyring", key.public, "oci://"+s.Addr+"/signed/three", "--version", "1.0.0", "--plain-http") // documented: the manifest is frozen
		_, again := pack("three", "1.0.0")
		if status, body := s.form("/api/signed/charts", map[string][]byte{"prov": again}); status == http.StatusCreated {
			t.Errorf("a second provenance was taken: %s", body)
		}

		// One that belongs to another archive.
		archive, _ = pack("four", "1.0.0")
		if status, body := s.form("/api/signed/charts", map[string][]byte{"chart": archive, "prov": prov}); status != http.StatusBadRequest || !strings.Contains(body, "three") {
			t.Errorf("a provenance of another chart: %d %s", status, body)
		}
		sh.write("four-1.0.0.tgz.prov", prov)
		sh.fail([]string{"400"}, helm, "push", sh.write("four-1.0.0.tgz", archive), "oci://"+s.Addr+"/signed", "--plain-http")
		if status, body := s.get("/api/v1/projects/signed/-/charts/four/releases/1.0.0"); status != http.StatusNotFound {
			t.Errorf("a release with a wrong provenance: %d %s", status, body)
		}
	})
}

// TestRequiredProvenance: where a project asks for signatures, nobody sees a
// chart before its provenance is there.
func TestRequiredProvenance(t *testing.T) {
	each(t, daemontest.Options{}, func(t *testing.T, s *site, sh *shell, helm string) {
		s.project(client.NewProject{Name: "strict", Public: true, Policy: client.Policy{RequireProvenance: true}})
		key := newSigner(t, sh.home)
		sh.source("app", "1.0.0")
		sh.do(helm, "package", "app", "--sign", "--key", "publisher@example.test", "--keyring", key.secret)
		archive, prov := sh.read("app-1.0.0.tgz"), sh.read("app-1.0.0.tgz.prov")
		if r := s.push("strict", archive); r.State != "staged" {
			t.Errorf("a release without its provenance is %s", r.State)
		}
		s.push("strict", charttest.Build(t, "other", "1.0.0", nil)) // stays invisible
		sh.do(helm, "repo", "add", "strict", s.URL+"/strict")
		oci := "oci://" + s.Addr + "/strict/app"
		sh.fail(nil, helm, "pull", "strict/app")
		sh.fail(nil, helm, "pull", oci, "--version", "1.0.0", "--plain-http")
		if status, body := s.form("/api/strict/charts", map[string][]byte{"prov": prov}); status != http.StatusCreated {
			t.Fatalf("late provenance: %d %s", status, body)
		}
		sh.do(helm, "repo", "update", "strict")
		sh.do(helm, "pull", "strict/app", "--verify", "--keyring", key.public)
		want(t, "repository", sh.read("app-1.0.0.tgz"), archive)
		sh.do(helm, "pull", oci, "--version", "1.0.0", "--plain-http")
		want(t, "OCI", sh.read("app-1.0.0.tgz"), archive)
		sh.fail(nil, helm, "pull", "strict/other")
	})
}
