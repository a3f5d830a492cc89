package clients

import (
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
	"github.com/chartkeep/chartkeep/internal/remote/oidc/oidctest"
)

// TestHelmAsPipeline: a pipeline proves who it is to the registry, and Helm
// pushes with the short token that it gets: into its project, nothing that is
// there, and nowhere else.
func TestHelmAsPipeline(t *testing.T) {
	for _, helm := range helms {
		t.Run(helm, func(t *testing.T) {
			const audience = "https://charts.example.com"
			issuer := oidctest.New(t)
			s := newSite(t, daemontest.Options{Flags: []string{"--publisher-issuers", "github " + issuer.URL, "--publisher-audience", audience, "--allow-networks", "127.0.0.0/8"}})
			sh := newShell(t)
			s.project(client.NewProject{Name: "demo"})
			s.project(client.NewProject{Name: "other"})
			s.chartkeep(sh, "publisher", "add", "demo", "--name", "octo/web", "--id", "41881900", "--owner-id", "65", "--workflow", ".github/workflows/release.yml", "--ref", "refs/tags/v*")
			sh.write("id-token", []byte(issuer.Sign(issuer.Times(time.Now()).With(oidctest.Claims{
				"aud": audience, "sub": "repo:octo/web", "repository_id": "41881900", "repository_owner_id": "65", "repository": "octo/web",
				"workflow_ref": "octo/web/.github/workflows/release.yml@refs/tags/v1.0.0", "ref": "refs/tags/v1.0.0", "event_name": "push",
			}))))
			pipeline := newShell(t) // which has no token of its own
			pipeline.dir, pipeline.env = sh.dir, append(pipeline.env, "CHARTKEEP_SERVER="+s.URL)
			token := strings.TrimSpace(pipeline.do(daemontest.Program(t), "token", "exchange", "--project", "demo", "--id-token-file", "id-token", "-q"))

			pipeline.do(helm, "registry", "login", s.Addr, "-u", "pipeline", "-p", token, "--plain-http")
			archive := charttest.Build(t, "web", "1.0.0", nil)
			pipeline.do(helm, "push", pipeline.write("web-1.0.0.tgz", archive), "oci://"+s.Addr+"/demo", "--plain-http")
			rel, err := s.api.Release(t.Context(), "demo", "web", "1.0.0")
			if err != nil || rel.Digest != sum(archive) || !strings.Contains(rel.PublisherName, "octo/web") {
				t.Fatalf("released: %+v, %v", rel, err)
			}
			changed := pipeline.write("changed/web-1.0.0.tgz", charttest.Build(t, "web", "1.0.0", map[string]string{"values.yaml": "replicas: 2\n"}))
			pipeline.fail([]string{"is there already and cannot be replaced"}, helm, "push", changed, "oci://"+s.Addr+"/demo", "--plain-http")
			pipeline.fail([]string{"may not read it"}, helm, "push", changed, "oci://"+s.Addr+"/other", "--plain-http")
			pipeline.read("web-1.0.0.tgz")
			pipeline.do(helm, "pull", "oci://"+s.Addr+"/demo/web", "--version", "1.0.0", "--plain-http")
			want(t, "pulled", pipeline.read("web-1.0.0.tgz"), archive)
		})
	}
}
