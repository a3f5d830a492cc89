package soak

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

// press is an upstream that publishes versions of the chart web.
type press struct {
	*httptest.Server
	t testing.TB

	mu       sync.Mutex
	versions int
}

func newPress(t testing.TB) *press {
	p := &press{t: t, versions: 2}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *press) publish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.versions++
}

func (p *press) archive(n int) []byte {
	return charttest.Build(p.t, "web", fmt.Sprintf("1.%d.0", n), map[string]string{
		"templates/web.yaml": fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: web, image: 'example.com/web:%d'}]}\n", n),
	})
}

func (p *press) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	versions := p.versions
	p.mu.Unlock()
	var n int
	if _, err := fmt.Sscanf(r.URL.Path, "/web-1.%d.0.tgz", &n); err == nil && n < versions {
		_, _ = w.Write(p.archive(n))
		return
	}
	if r.URL.Path != "/index.yaml" {
		http.NotFound(w, r)
		return
	}
	var b strings.Builder
	b.WriteString("apiVersion: v1\nentries:\n  web:\n")
	for i := range versions {
		fmt.Fprintf(&b, "  - {apiVersion: v2, name: web, version: 1.%d.0, digest: %s, urls: [web-1.%d.0.tgz]}\n", i, strings.TrimPrefix(sum(p.archive(i)), "sha256:"), i)
	}
	_, _ = w.Write([]byte(b.String()))
}

// observe begins to watch the upstream and has one person sign a review, so
// that the log has leaves of both.
func (s *soak) observe() {
	c, manager := s.as(s.tokens.admin), s.as(s.tokens.manager)
	s.must(s.settle("add an upstream", func(ctx context.Context) error {
		_, err := c.AddUpstream(ctx, client.NewUpstream{Name: "web", Keep: "all", QuietAfter: "0s", Sources: []client.NewSource{{Kind: "index", URL: s.press.URL}}})
		return err
	}))
	runs := filepath.Join(s.dir, "deployments.yaml")
	s.must(os.WriteFile(runs, []byte("deployments:\n- {chart: web, version: 1.0.0, cluster: prod, namespace: shop, name: web, environment: production}\n"), 0o600))
	s.quiet([]string{"CHARTKEEP_SERVER=" + s.front.URL(), "CHARTKEEP_TOKEN=" + s.tokens.admin}, "deployment", "import", "files", "--from", runs)
	var review client.Review
	s.must(s.settle("make a review", func(ctx context.Context) (err error) {
		review, err = manager.MakeReview(ctx, "prod/shop/web", "1.1.0")
		if err != nil {
			return fmt.Errorf("not yet: %v", err) // the upstream may not have been read
		}
		return nil
	}))
	answers := map[string]string{}
	for _, item := range review.Checklist {
		answers[item.ID] = "looked at"
	}
	s.must(s.settle("sign a review", func(ctx context.Context) error {
		_, err := manager.SignReview(ctx, review.Digest, client.Sign{Role: "reviewer", Accept: true, Text: "read and understood", Answers: answers})
		return err
	}))
}
