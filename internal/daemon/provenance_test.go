package daemon

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// signed is a chart archive beside the provenance file that Helm wrote for it.
type signed struct{ name, version, archive, prov string }

func (s *signed) file() string { return chart.FileName(s.name, s.version) }

// mirrorsSigned puts signed charts into an upstream, mirrors it, and waits for
// all of them.
func mirrorsSigned(t *testing.T, charts ...signed) *Daemon {
	t.Helper()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/index.yaml" {
			fmt.Fprint(w, "apiVersion: v1\nentries:\n")
			for _, c := range charts {
				fmt.Fprintf(w, "  %s:\n  - name: %[1]s\n    version: %s\n    digest: %s\n    urls: [%s]\n", c.name, c.version, strings.TrimPrefix(digest.SHA256([]byte(c.archive)), "sha256:"), c.file())
			}
			return
		}
		for _, c := range charts {
			switch body := c.prov; r.URL.Path {
			case "/" + c.file():
				fmt.Fprint(w, c.archive)
				return
			case "/" + c.file() + ".prov":
				if body != "" {
					fmt.Fprint(w, body)
					return
				}
			}
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(up.Close)
	d, _ := run(t, loopback(t))
	ctx := t.Context()
	if _, err := d.service.CreateProject(ctx, operator, "mirror", release.ProjectOptions{Public: true, Policy: release.Policy{Mirror: "up"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.watch.AddUpstream(ctx, operator, watch.NewUpstream{
		Name: "up", Sources: []watch.Source{{Kind: watch.SourceIndex, URL: up.URL}}, Mirror: &watch.Mirror{Project: "mirror"},
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range charts {
		happens(t, d, watch.Mirrored, c.version)
	}
	return d
}

// TestMirrorServesProvenance: what Helm's own tests signed is mirrored with its
// provenance, byte for byte, through the classic door and in the OCI manifest,
// so that a client which verifies it upstream verifies it here.
func TestMirrorServesProvenance(t *testing.T) {
	dir := filepath.Join(charttest.Corpus(t, "charts"), "helm__helm-signed")
	read := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	charts := []signed{
		{"hashtest", "1.2.3", read("hashtest-1.2.3.tgz"), read("hashtest-1.2.3.tgz.prov")},
		{"signtest", "0.1.0", read("signtest-0.1.0.tgz"), read("signtest-0.1.0.tgz.prov")},
	}
	d := mirrorsSigned(t, charts...)
	for _, c := range charts {
		if status, body := d.get(t, "/mirror/charts/"+c.file()); status != 200 || body != c.archive {
			t.Errorf("%s: %d, %d bytes", c.file(), status, len(body))
		}
		if status, body := d.get(t, "/mirror/charts/"+c.file()+".prov"); status != 200 || body != c.prov {
			t.Errorf("%s.prov: %d %q", c.file(), status, body)
		}
		status, text := d.get(t, "/v2/mirror/"+c.name+"/manifests/"+c.version)
		var m struct {
			Layers []struct{ MediaType, Digest string }
		}
		if err := json.Unmarshal([]byte(text), &m); status != 200 || err != nil || len(m.Layers) != 2 {
			t.Fatalf("%d %s", status, text)
		}
		for _, l := range m.Layers {
			want := c.archive
			if strings.HasSuffix(l.MediaType, ".prov") {
				want = c.prov
			}
			if status, body := d.get(t, "/v2/mirror/"+c.name+"/blobs/"+l.Digest); status != 200 || body != want {
				t.Errorf("%s %s: %d, %d bytes", c.name, l.MediaType, status, len(body))
			}
		}
	}
}

// TestMirrorWithoutProvenance: one that is of other bytes is told of, and the
// archive is released without it.
func TestMirrorWithoutProvenance(t *testing.T) {
	archive := string(charttest.Build(t, "web", "1.0.0", nil))
	of := "sha256:" + strings.Repeat("0", 64)
	prov := "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\napiVersion: v2\nname: web\nversion: 1.0.0\n\n...\nfiles:\n  web-1.0.0.tgz: " + of +
		"\n-----BEGIN PGP SIGNATURE-----\n\nwsBcBAEBCgAQBQJc\n=YgnR\n-----END PGP SIGNATURE-----\n"
	d := mirrorsSigned(t, signed{"web", "1.0.0", archive, prov}, signed{name: "plain", version: "2.0.0", archive: string(charttest.Build(t, "plain", "2.0.0", nil))})
	e := happens(t, d, watch.ProvenanceMismatch, "1.0.0")
	if e.Severity != watch.High || !strings.Contains(fmt.Sprint(e.Evidence), of) {
		t.Errorf("%+v", e)
	}
	for _, name := range []string{"web-1.0.0.tgz", "plain-2.0.0.tgz"} {
		if status, _ := d.get(t, "/mirror/charts/"+name); status != 200 {
			t.Errorf("%s: %d", name, status)
		}
		if status, _ := d.get(t, "/mirror/charts/"+name+".prov"); status != 404 {
			t.Errorf("%s.prov: %d", name, status)
		}
	}
}
