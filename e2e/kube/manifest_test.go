package kube

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// TestImportManifest applies deploy/kubernetes/import.yaml to a real API server,
// and imports with the service account that it makes: what it grants is
// enough, and lets it change nothing.
func TestImportManifest(t *testing.T) {
	sh := newShell(t)
	released := chartOf(sh, "shop", "1.0.0", "released")
	sh.do("helm4", "install", "watched", released, "-n", "manifest-watched", "--create-namespace", "--set", "adminPassword=hunter2")

	// Helm applies it as the server has it checked: no field that there is not.
	manifest, err := os.ReadFile(filepath.Join("..", "..", "deploy", "kubernetes", "import.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(sh.dir, "importer")
	for path, text := range map[string]string{
		"Chart.yaml":            "apiVersion: v2\nname: importer\nversion: 1.0.0\n",
		"templates/import.yaml": string(manifest),
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sh.do("helm4", "install", "importer", dir, "-n", "chartkeep-import", "--create-namespace")

	s := daemontest.Start(t, daemontest.Options{})
	sh.env = append(sh.env, "CHARTKEEP_SERVER="+s.URL, "CHARTKEEP_TOKEN="+s.Admin, "KUBECONFIG="+asAccount(t, sh, "chartkeep-import", "chartkeep-import"))
	args := importArgs(t, manifest)
	out := sh.do("chartkeep", args...)
	list := sh.do("chartkeep", "deployment", "list", "-o", "json")
	if !strings.Contains(list, `"name": "watched"`) || !strings.Contains(list, `"name": "importer"`) || strings.Contains(out+list, "hunter2") {
		t.Errorf("imported with %q: %s\n%s", args, out, list)
	}
	// And it may change nothing.
	for _, args := range [][]string{{"uninstall", "watched"}, {"upgrade", "watched", released, "--set", "port=81"}, {"install", "another", released}} {
		if out, errs, err := sh.try("helm4", append(args, "-n", "manifest-watched")...); err == nil {
			t.Errorf("the account may %s: %s%s", args[0], out, errs)
		}
	}
	left := sh.do("helm4", "list", "-n", "manifest-watched", "-o", "json", "--kubeconfig", cluster(t))
	if !strings.Contains(left, `"revision":"1"`) || !strings.Contains(left, `"status":"deployed"`) || strings.Contains(left, "another") {
		t.Errorf("left is %s", left)
	}
}

// importArgs is the command of the manifest, once and without what stands in
// capitals.
func importArgs(t *testing.T, manifest []byte) []string {
	t.Helper()
	_, after, ok := strings.Cut(string(manifest), "args:\n")
	if !ok {
		t.Fatal("the manifest has no args")
	}
	var args []string
	for line := range strings.Lines(after) {
		arg, ok := strings.CutPrefix(strings.TrimSpace(line), "- ")
		if !ok {
			break
		}
		if !strings.HasPrefix(arg, "--server") && !strings.HasPrefix(arg, "--token-file") && !strings.HasPrefix(arg, "--every") {
			args = append(args, strings.ToLower(arg))
		}
	}
	if len(args) < 4 {
		t.Fatalf("args %q", args)
	}
	return args
}

// asAccount is a kubeconfig with a token of a service account, made as the
// kubelet would have it made.
func asAccount(t *testing.T, sh *shell, namespace, name string) string {
	t.Helper()
	config, err := os.ReadFile(cluster(t))
	if err != nil {
		t.Fatal(err)
	}
	find := func(pattern string) string {
		m := regexp.MustCompile(pattern).FindSubmatch(config)
		if m == nil {
			t.Fatalf("no %s in %s", pattern, config)
		}
		return string(m[1])
	}
	ca, err := os.ReadFile(find(`certificate-authority: "([^"]+)"`))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	admin := find(`token: "([^"]+)"`)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, find(`server: "([^"]+)"`)+"/api/v1/namespaces/"+namespace+"/serviceaccounts/"+name+"/token",
		strings.NewReader(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+admin)
	req.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var made struct{ Status struct{ Token string } }
	if err != nil || resp.StatusCode != http.StatusCreated || json.Unmarshal(body, &made) != nil || made.Status.Token == "" {
		t.Fatalf("%d %v %s", resp.StatusCode, err, body)
	}
	path := filepath.Join(sh.dir, "kubeconfig-"+name)
	if err := os.WriteFile(path, bytes.ReplaceAll(config, []byte(admin), []byte(made.Status.Token)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
