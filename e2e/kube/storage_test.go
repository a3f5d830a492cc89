package kube

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// row is what is asked of a deployment in chartkeep outdated -o json.
type row struct {
	Key     string `json:"key"`
	Chart   string `json:"chart"`
	Version string `json:"version"`
	Newest  string `json:"newest"`
	State   string `json:"state"`
	Match   struct {
		Confidence string `json:"confidence"`
		How        string `json:"how"`
	} `json:"match"`
}

type outdated struct {
	Deployments []row    `json:"deployments"`
	Problems    []string `json:"problems"`
	Findings    []struct {
		Rule, Severity, Object, Message string
	} `json:"findings"`
}

func parse[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return v
}

// chartOf makes an archive of a small chart with Helm itself.
func chartOf(sh *shell, name, version, extra string) string {
	sh.t.Helper()
	dir := filepath.Join(sh.dir, name)
	for path, text := range map[string]string{
		"Chart.yaml":        "apiVersion: v2\nname: " + name + "\nversion: " + version + "\n",
		"values.yaml":       "port: 80\nsuffix: \"\"\nadminPassword: \"\"\n",
		"templates/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"{{ .Release.Name }}{{ .Values.suffix }}\"}\ndata: {port: {{ .Values.port | quote }}, extra: " + extra + "}\n",
		"files/text.txt":    "a\nb\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755); err != nil {
			sh.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o644); err != nil {
			sh.t.Fatal(err)
		}
	}
	sh.do("helm4", "package", dir)
	return filepath.Join(sh.dir, name+"-"+version+".tgz")
}

// TestOutdated runs the command that needs no server against a real cluster:
// what is installed by Helm 3 and 4, upgraded, failed, uninstalled.
func TestOutdated(t *testing.T) {
	sh := newShell(t)
	old, newer := chartOf(sh, "web", "1.0.0", "one"), chartOf(sh, "web", "1.2.0", "two")
	repo := t.TempDir()
	for _, f := range []string{old, newer} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(repo, filepath.Base(f)), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sh.do("helm4", "repo", "index", repo)
	server := httptest.NewServer(http.FileServer(http.Dir(repo)))
	defer server.Close()

	for _, helm := range helms {
		sh.do(helm, "install", "behind-"+helm, old, "-n", "outdated", "--create-namespace", "--set", "adminPassword=hunter2")
		sh.do(helm, "install", "moved-"+helm, old, "-n", "outdated")
		sh.do(helm, "upgrade", "moved-"+helm, newer, "-n", "outdated")
		sh.do(helm, "install", "gone-"+helm, old, "-n", "outdated")
		sh.do(helm, "uninstall", "gone-"+helm, "-n", "outdated")
		if _, _, err := sh.try(helm, "upgrade", "behind-"+helm, newer, "-n", "outdated", "--set", "suffix=_", "--timeout", "5s"); err == nil {
			t.Fatal("an upgrade that had to fail did not")
		}
	}
	out, errs, err := sh.try("chartkeep", "outdated", "--from", "kube", "--namespace", "outdated", "--index", server.URL, "-o", "json")
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, errs)
	}
	if strings.Contains(out, "hunter2") {
		t.Error("a password is in the output")
	}
	got := parse[outdated](t, out)
	if len(got.Deployments) != 4 || len(got.Problems) > 0 {
		t.Fatalf("%+v", got)
	}
	for _, r := range got.Deployments {
		behind := strings.Contains(r.Key, "/behind-")
		want := map[bool]string{true: "1.0.0", false: "1.2.0"}[behind]
		if r.Version != want || r.Newest != "1.2.0" || (r.State == "outdated") != behind {
			t.Errorf("%+v", r)
		}
	}
	if out := sh.do("chartkeep", "outdated", "--from", "kube", "--namespace", "outdated", "--index", server.URL); !strings.Contains(out, "behind-helm3") {
		t.Errorf("the table has no row of behind-helm3:\n%s", out)
	}
}

// TestImport records a real cluster with a server whose own releases are what
// runs there: by its bytes, and not by its name.
func TestImport(t *testing.T) {
	sh := newShell(t)
	s := daemontest.Start(t, daemontest.Options{})
	sh.env = append(sh.env, "CHARTKEEP_SERVER="+s.URL, "CHARTKEEP_TOKEN="+s.Admin)
	released := chartOf(sh, "shop", "1.0.0", "released")
	sh.do("chartkeep", "project", "create", "demo", "--public")
	sh.do("chartkeep", "push", released, "--project", "demo")
	for _, helm := range helms {
		sh.do(helm, "install", "same-"+helm, released, "-n", "import-"+helm, "--create-namespace", "--set", "adminPassword=hunter2")
	}
	sh.do("helm4", "install", "vendored", sh.file("demo-1.2.3.tgz"), "-n", "import-helm4")
	other := chartOf(sh, "shop", "1.0.0", "other-bytes")
	sh.do("helm4", "install", "other", other, "-n", "import-helm4")

	out := sh.do("chartkeep", "deployment", "import", "bed", "--from", "kube", "--environment", "staging", "-o", "json")
	if strings.Contains(out, "hunter2") {
		t.Error("a password is in the output")
	}
	list := sh.do("chartkeep", "deployment", "list", "-o", "json")
	if strings.Contains(list, "hunter2") {
		t.Error("a password was sent to the server")
	}
	got := map[string]string{}
	for _, d := range parse[struct {
		Items []struct {
			Name        string
			Environment string
			Match       struct{ Confidence, Project, Version string }
		}
	}](t, list).Items {
		got[d.Name] = d.Match.Confidence
		if strings.HasPrefix(d.Name, "same-") && (d.Match.Project != "demo" || d.Match.Version != "1.0.0" || d.Environment != "staging") {
			t.Errorf("%+v", d)
		}
	}
	for name, want := range map[string]string{"same-helm3": "exact", "same-helm4": "exact", "vendored": "unknown"} {
		if got[name] != want {
			t.Errorf("%s is matched as %q, want %q", name, got[name], want)
		}
	}
	if got["other"] == "exact" {
		t.Error("other bytes under a released name are taken for the release")
	}
	events := sh.do("chartkeep", "event", "list", "-o", "json")
	for _, kind := range []string{"unreleased-bytes", "unknown-chart"} {
		if !strings.Contains(events, `"`+kind+`"`) {
			t.Errorf("no event %s:\n%s", kind, events)
		}
	}
}
