package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// api answers like a Kubernetes API server that has some stored revisions. It
// is made by hand; e2e/kube asks a real one.
type api struct {
	t         *testing.T
	revisions []string // namespace/name/number/status
	forbid    string   // a path that the account may not list
	pages     int
	asked     []string
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.asked = append(a.asked, r.Method+" "+r.URL.Path)
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v)
	}
	refuse := func(code int, reason string) {
		answer(code, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": "it is " + reason})
	}
	if a.forbid != "" && strings.HasSuffix(r.URL.Path, a.forbid) {
		refuse(403, "Forbidden")
		return
	}
	object := func(rev string) map[string]any {
		f := strings.Split(rev, "/")
		return map[string]any{
			"apiVersion": "v1", "kind": "Secret",
			"metadata": map[string]any{"namespace": f[0], "name": "sh.helm.release.v1." + f[1] + ".v" + f[2], "labels": map[string]any{"owner": "helm", "name": f[1], "version": f[2], "status": f[3]}},
			"data":     map[string]any{"release": "x"},
		}
	}
	switch {
	case r.URL.Path == "/api/v1/secrets":
		if r.URL.Query().Get("labelSelector") != "owner=helm" {
			a.t.Errorf("asked for all Secrets: %s", r.URL)
		}
		if !strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadataList") {
			a.t.Errorf("asked for contents: %s", r.Header.Get("Accept"))
		}
		a.pages++
		half, next := a.revisions[:len(a.revisions)/2], "more"
		if r.URL.Query().Get("continue") != "" {
			half, next = a.revisions[len(a.revisions)/2:], ""
		}
		var items []any
		for _, rev := range half {
			items = append(items, map[string]any{"metadata": object(rev)["metadata"]})
		}
		answer(200, map[string]any{"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": map[string]any{"continue": next}, "items": items})
	case r.URL.Path == "/api/v1/configmaps":
		answer(200, map[string]any{"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": map[string]any{}, "items": []any{}})
	case strings.Contains(r.URL.Path, "/secrets/"):
		for _, rev := range a.revisions {
			namespace, _, _ := strings.Cut(rev, "/")
			if o := object(rev); r.URL.Path == "/api/v1/namespaces/"+namespace+"/secrets/"+o["metadata"].(map[string]any)["name"].(string) {
				answer(200, o)
				return
			}
		}
		refuse(404, "NotFound")
	case strings.HasSuffix(r.URL.Path, "/applications"):
		answer(200, map[string]any{"kind": "ApplicationList", "apiVersion": "argoproj.io/v1alpha1", "metadata": map[string]any{}, "items": []any{
			map[string]any{"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": map[string]any{"name": "web", "namespace": "argocd"}}}})
	default:
		refuse(404, "NotFound")
	}
}

func kubeconfig(t *testing.T, url string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: prod, context: {cluster: c, user: u}}, {name: test, context: {cluster: c, user: u}}]
current-context: prod
`, url)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	a := &api{t: t, revisions: []string{
		"shop/web/1/superseded", "shop/web/2/deployed", "shop/web/3/failed", "shop/db/9/superseded", "shop/db/10/deployed",
		"ops/new/1/pending-install", "ops/new/2/failed", "ops/web/1/deployed",
	}}
	server := httptest.NewServer(a)
	defer server.Close()
	out, err := Read(t.Context(), Config{Kubeconfig: kubeconfig(t, server.URL), Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range out.Storage {
		var m struct {
			Metadata struct{ Namespace, Name string }
			Data     map[string]string
		}
		if err := json.Unmarshal(o, &m); err != nil || m.Data["release"] == "" {
			t.Errorf("%s: %v", o, err)
		}
		got = append(got, m.Metadata.Namespace+" "+strings.TrimPrefix(m.Metadata.Name, "sh.helm.release.v1."))
	}
	if want := []string{"ops new.v2", "ops web.v1", "shop db.v10", "shop web.v2"}; !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
	if out.Context != "prod" || len(out.Problems) > 0 || a.pages != 2 {
		t.Errorf("context %s, problems %v, %d pages", out.Context, out.Problems, a.pages)
	}
	if len(out.Manifest) != 1 || !strings.Contains(string(out.Manifest[0]), `"Application"`) {
		t.Errorf("manifests %s", out.Manifest)
	}
	for _, r := range a.asked {
		if !strings.HasPrefix(r, "GET ") {
			t.Errorf("it did more than read: %s", r)
		}
	}
}

// TestForbidden wants what may not be read to be said, never taken for empty.
func TestForbidden(t *testing.T) {
	a := &api{t: t, forbid: "/secrets"}
	server := httptest.NewServer(a)
	defer server.Close()
	_, err := Read(t.Context(), Config{Kubeconfig: kubeconfig(t, server.URL)})
	if p, ok := problem.As(err); !ok || p.Kind != problem.Unavailable || !strings.Contains(p.Try, "list Secrets") {
		t.Errorf("Secrets that may not be listed: %v", err)
	}
	for _, path := range []string{"/configmaps", "/applications"} {
		a = &api{t: t, forbid: path, revisions: []string{"shop/web/1/deployed", "shop/db/1/deployed"}}
		server.Config.Handler = a
		out, err := Read(t.Context(), Config{Kubeconfig: kubeconfig(t, server.URL)})
		if err != nil || len(out.Storage) != 2 || len(out.Problems) != 1 || !strings.Contains(out.Problems[0], path[1:]) {
			t.Errorf("%s: %d releases, problems %q, %v", path, len(out.Storage), out.Problems, err)
		}
	}
}

func TestContexts(t *testing.T) {
	path := kubeconfig(t, "http://127.0.0.1:1")
	if _, err := Read(t.Context(), Config{Kubeconfig: path, Context: "dev"}); problem.KindOf(err) != problem.Invalid {
		t.Errorf("a context that there is not: %v", err)
	}
	if _, err := Read(t.Context(), Config{Kubeconfig: path, Timeout: time.Second}); problem.KindOf(err) != problem.Unavailable {
		t.Errorf("a cluster that does not answer: %v", err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(t.Context(), Config{Kubeconfig: path}); problem.KindOf(err) != problem.Invalid {
		t.Errorf("a broken kubeconfig: %v", err)
	}
}

// A pod reads its own cluster, unless a kubeconfig or a context is named.
func TestInCluster(t *testing.T) {
	srv := httptest.NewServer(&api{t: t, revisions: []string{"shop/web/1/deployed", "shop/db/1/deployed"}})
	defer srv.Close()
	t.Setenv("KUBECONFIG", "")
	t.Setenv("HOME", t.TempDir())
	was := inCluster
	defer func() { inCluster = was }()
	inCluster = func() (*rest.Config, error) { return &rest.Config{Host: srv.URL}, nil }
	got, err := Read(t.Context(), Config{})
	if err != nil || got.Context != "in-cluster" || len(got.Storage) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, cfg := range []Config{{Context: "prod"}, {Kubeconfig: kubeconfig(t, srv.URL), Context: "nowhere"}} {
		if _, err := Read(t.Context(), cfg); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	if got, err = Read(t.Context(), Config{Kubeconfig: kubeconfig(t, srv.URL)}); err != nil || got.Context != "prod" {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, bad := range []error{rest.ErrNotInCluster, errors.New("no token is mounted")} {
		inCluster = func() (*rest.Config, error) { return nil, bad }
		p, ok := problem.As(func() error { _, err := Read(t.Context(), Config{}); return err }())
		if !ok || p.Kind != problem.Invalid || (p.Rule == "service-account") != (bad != rest.ErrNotInCluster) {
			t.Errorf("%v: %v", bad, p)
		}
	}
}
