package clients

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(h[:])
}

// ask sends a request and returns status and body.
func (s *site) ask(req *http.Request) (int, string) {
	s.t.Helper()
	res, err := s.HTTP.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// each runs a test with each version of Helm against one server.
func each(t *testing.T, opt daemontest.Options, run func(t *testing.T, s *site, sh *shell, helm string)) {
	t.Helper()
	for _, helm := range helms {
		t.Run(helm, func(t *testing.T) { run(t, newSite(t, opt), newShell(t), helm) })
	}
}

var digestOf = regexp.MustCompile(`Digest: (sha256:[0-9a-f]{64})`)

func want(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes, %s; want %d bytes, %s", what, len(got), sum(got), len(want), sum(want))
	}
}

// TestHelmOCI: login, push, what is refused and how it reads, and every way to
// pull.
func TestHelmOCI(t *testing.T) {
	each(t, daemontest.Options{}, func(t *testing.T, s *site, sh *shell, helm string) {
		s.project(client.NewProject{Name: "team-a/web"})
		token := s.token("team-a/web", "publisher")
		ref := "oci://" + s.Addr + "/team-a/web"
		one := charttest.Build(t, "nginx", "1.0.0", nil)
		file := sh.write("nginx-1.0.0.tgz", one)

		sh.fail([]string{"401"}, helm, "push", file, ref, "--plain-http")
		sh.fail([]string{"401"}, helm, "registry", "login", s.Addr, "-u", "ci", "-p", "wrong", "--plain-http")
		sh.do(helm, "registry", "login", s.Addr, "-u", "ci", "-p", token, "--plain-http")
		out := sh.do(helm, "push", file, ref, "--plain-http")
		m := digestOf.FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("push says no digest: %s", out)
		}
		rel, err := s.api.Release(t.Context(), "team-a/web", "nginx", "1.0.0")
		if err != nil || rel.Manifest != m[1] || rel.Digest != sum(one) || rel.Door != "oci" {
			t.Fatalf("released: %+v, %v; pushed manifest %s, archive %s", rel, err, m[1], sum(one))
		}

		// The same file again is no error, and nothing moves.
		sh.do(helm, "push", file, ref, "--plain-http")
		// The same archive with another time of the file makes another manifest.
		later := time.Now().Add(time.Hour)
		if err := os.Chtimes(file, later, later); err != nil {
			t.Fatal(err)
		}
		sh.fail([]string{"409", "denied", "team-a/web/nginx@1.0.0 is there already with identical content", "released manifest", m[1], "Try: nothing has to be done"}, helm, "push", file, ref, "--plain-http")
		// Other bytes never replace it.
		other := charttest.Build(t, "nginx", "1.0.0", map[string]string{"values.yaml": "replicas: 2\n"})
		sh.fail([]string{"409", "denied", "release team-a/web/nginx@1.0.0 is there already and cannot be replaced", "stored", sum(one), "offered", sum(other), "values.yaml changed", "log index",
			"Try: helm package . --version 1.0.1"}, helm, "push", sh.write("other/nginx-1.0.0.tgz", other), ref, "--plain-http")

		for _, v := range []string{"1.1.0", "1.2.0", "2.0.0-rc.1"} {
			sh.do(helm, "push", sh.write("nginx-"+v+".tgz", charttest.Build(t, "nginx", v, nil)), ref, "--plain-http")
			sh.read("nginx-" + v + ".tgz")
		}
		sh.read("nginx-1.0.0.tgz")
		chart := ref + "/nginx"
		for _, c := range []struct {
			name, file string
			args       []string
		}{
			{"exact", "nginx-1.0.0.tgz", []string{"--version", "1.0.0"}},
			{"exact pre-release", "nginx-2.0.0-rc.1.tgz", []string{"--version", "2.0.0-rc.1"}},
			{"range", "nginx-1.2.0.tgz", []string{"--version", "^1.0.0"}},
			{"tilde", "nginx-1.1.0.tgz", []string{"--version", "~1.1"}},
			{"newest", "nginx-1.2.0.tgz", nil},
			{"newest with pre-releases", "nginx-2.0.0-rc.1.tgz", []string{"--devel"}},
		} {
			sh.do(helm, append([]string{"pull", chart, "--plain-http"}, c.args...)...)
			version := strings.TrimSuffix(strings.TrimPrefix(c.file, "nginx-"), ".tgz")
			want(t, c.name, sh.read(c.file), charttest.Build(t, "nginx", version, nil))
		}
		if err := os.Mkdir(filepath.Join(sh.dir, "by-digest"), 0o755); err != nil {
			t.Fatal(err)
		}
		sh.do(helm, "pull", chart+"@"+m[1], "--plain-http", "-d", "by-digest")
		found, err := filepath.Glob(filepath.Join(sh.dir, "by-digest", "*.tgz"))
		if err != nil || len(found) != 1 {
			t.Fatalf("pull by digest left %v, %v", found, err)
		}
		b, err := os.ReadFile(found[0])
		if err != nil {
			t.Fatal(err)
		}
		want(t, "by digest", b, one)
		sh.fail([]string{"nginx"}, helm, "pull", chart, "--plain-http", "--version", "9.9.9")

		if out := sh.do(helm, "show", "chart", chart, "--version", "1.0.0", "--plain-http"); !strings.Contains(out, "description: A chart for tests") {
			t.Errorf("show chart: %s", out)
		}
		if out := sh.do(helm, "template", "r1", chart, "--version", "1.0.0", "--plain-http"); !strings.Contains(out, "name: r1") {
			t.Errorf("template: %s", out)
		}
		sh.do(helm, "registry", "logout", s.Addr)
		sh.fail([]string{"401"}, helm, "pull", chart, "--plain-http", "--version", "1.0.0")
	})
}

// TestHelmBuildMetadata: Helm cannot tell such versions apart, so there is one
// of them.
func TestHelmBuildMetadata(t *testing.T) {
	each(t, daemontest.Options{}, func(t *testing.T, s *site, sh *shell, helm string) {
		s.project(client.NewProject{Name: "plus", Public: true})
		sh.do(helm, "registry", "login", s.Addr, "-u", "ci", "-p", s.Admin, "--plain-http")
		ref := "oci://" + s.Addr + "/plus"
		one := charttest.Build(t, "app", "1.0.0+build.5", nil)
		sh.do(helm, "push", sh.write("app-1.0.0+build.5.tgz", one), ref, "--plain-http")
		sh.read("app-1.0.0+build.5.tgz")
		sh.do(helm, "pull", ref+"/app", "--version", "1.0.0+build.5", "--plain-http")
		want(t, "over OCI", sh.read("app-1.0.0+build.5.tgz"), one)
		sh.do(helm, "repo", "add", "plus", s.URL+"/plus")
		sh.do(helm, "pull", "plus/app", "--version", "1.0.0+build.5")
		want(t, "from the repository", sh.read("app-1.0.0+build.5.tgz"), one)
		two := charttest.Build(t, "app", "1.0.0+build.6", nil)
		sh.fail([]string{"differs from the released 1.0.0+build.5 in build metadata alone", sum(one)}, helm, "push", sh.write("app-1.0.0+build.6.tgz", two), ref, "--plain-http")
		plain := charttest.Build(t, "app", "1.0.0", nil)
		sh.fail([]string{"in build metadata alone"}, helm, "push", sh.write("app-1.0.0.tgz", plain), ref, "--plain-http")
	})
}

// TestHelmRepository is the classic repository: private and public.
func TestHelmRepository(t *testing.T) {
	each(t, daemontest.Options{}, func(t *testing.T, s *site, sh *shell, helm string) {
		s.project(client.NewProject{Name: "open", Public: true})
		s.project(client.NewProject{Name: "team-a/closed"})
		for _, project := range []string{"open", "team-a/closed"} {
			for _, v := range []string{"0.9.0", "1.0.0", "1.1.0-beta.1"} {
				s.push(project, charttest.Build(t, "db", v, nil))
			}
		}
		sh.do(helm, "repo", "add", "open", s.URL+"/open")
		sh.fail([]string{"401"}, helm, "repo", "add", "closed", s.URL+"/team-a/closed")
		sh.fail([]string{"401"}, helm, "repo", "add", "closed", s.URL+"/team-a/closed", "--username", "x", "--password", "wrong")
		reader := s.token("team-a/closed", "reader")
		sh.do(helm, "repo", "add", "closed", s.URL+"/team-a/closed", "--username", "x", "--password", reader)
		for _, repo := range []string{"open", "closed"} {
			if out := sh.do(helm, "search", "repo", repo+"/db", "--versions"); !strings.Contains(out, "1.0.0") || !strings.Contains(out, "0.9.0") || strings.Contains(out, "beta") {
				t.Errorf("search: %s", out)
			}
			sh.do(helm, "pull", repo+"/db")
			want(t, repo, sh.read("db-1.0.0.tgz"), charttest.Build(t, "db", "1.0.0", nil))
			sh.do(helm, "pull", repo+"/db", "--version", "<1.0.0")
			want(t, repo, sh.read("db-0.9.0.tgz"), charttest.Build(t, "db", "0.9.0", nil))
			sh.do(helm, "pull", repo+"/db", "--devel")
			want(t, repo, sh.read("db-1.1.0-beta.1.tgz"), charttest.Build(t, "db", "1.1.0-beta.1", nil))
			if out := sh.do(helm, "show", "values", repo+"/db"); !strings.Contains(out, "replicas: 1") {
				t.Errorf("show values: %s", out)
			}
			if out := sh.do(helm, "template", "r1", repo+"/db", "--set", "replicas=7"); !strings.Contains(out, `replicas: "7"`) {
				t.Errorf("template: %s", out)
			}
		}
		// What is pushed is there at the next update.
		s.push("open", charttest.Build(t, "db", "1.2.0", nil))
		sh.do(helm, "repo", "update", "open")
		sh.do(helm, "pull", "open/db")
		want(t, "after update", sh.read("db-1.2.0.tgz"), charttest.Build(t, "db", "1.2.0", nil))
		// Without a repository of that name, by its address.
		sh.do(helm, "pull", "db", "--repo", s.URL+"/team-a/closed", "--username", "x", "--password", reader, "--version", "0.9.0")
		want(t, "--repo", sh.read("db-0.9.0.tgz"), charttest.Build(t, "db", "0.9.0", nil))
		sh.do(helm, "pull", s.URL+"/open/charts/db-0.9.0.tgz")
		want(t, "by the file's address", sh.read("db-0.9.0.tgz"), charttest.Build(t, "db", "0.9.0", nil))
	})
}

// TestHelmYank: what a yank does to Helm is what the documentation says.
func TestHelmYank(t *testing.T) {
	each(t, daemontest.Options{}, func(t *testing.T, s *site, sh *shell, helm string) {
		s.project(client.NewProject{Name: "p", Public: true})
		for _, v := range []string{"1.0.0", "1.1.0"} {
			s.push("p", charttest.Build(t, "app", v, nil))
		}
		bad := charttest.Build(t, "app", "1.1.0", nil)
		if _, err := s.api.Yank(t.Context(), "p", "app", "1.1.0", "broken", "does not start"); err != nil {
			t.Fatal(err)
		}
		oci := "oci://" + s.Addr + "/p/app"
		sh.do(helm, "pull", oci, "--version", "1.1.0", "--plain-http")
		want(t, "exact, over OCI", sh.read("app-1.1.0.tgz"), bad)
		for _, version := range [][]string{nil, {"--version", "^1.0.0"}} {
			sh.do(helm, append([]string{"pull", oci, "--plain-http"}, version...)...)
			want(t, "range, over OCI", sh.read("app-1.0.0.tgz"), charttest.Build(t, "app", "1.0.0", nil))
		}
		sh.do(helm, "repo", "add", "p", s.URL+"/p")
		sh.do(helm, "repo", "add", "p-all", s.URL+"/p/all")
		sh.do(helm, "pull", "p/app")
		want(t, "newest, from the repository", sh.read("app-1.0.0.tgz"), charttest.Build(t, "app", "1.0.0", nil))
		sh.fail([]string{"1.1.0"}, helm, "pull", "p/app", "--version", "1.1.0")
		sh.do(helm, "pull", "p-all/app", "--version", "1.1.0")
		want(t, "exact, from the repository of all", sh.read("app-1.1.0.tgz"), bad)
		sh.do(helm, "pull", s.URL+"/p/charts/app-1.1.0.tgz")
		want(t, "by the file's address", sh.read("app-1.1.0.tgz"), bad)

		// Somebody who depends on exactly that version.
		depends := func(repo string) {
			sh.write("parent/Chart.yaml", []byte("apiVersion: v2\nname: parent\nversion: 1.0.0\ndependencies:\n- name: app\n  version: 1.1.0\n  repository: "+repo+"\n"))
		}
		depends(s.URL + "/p")
		sh.fail([]string{"1.1.0"}, helm, "dependency", "update", "parent")
		depends(s.URL + "/p/all")
		sh.do(helm, "dependency", "update", "parent")
		want(t, "dependency", sh.read("parent/charts/app-1.1.0.tgz"), bad)
		depends("oci://" + s.Addr + "/p")
		sh.do(helm, "dependency", "update", "parent", "--plain-http")
		want(t, "dependency over OCI", sh.read("parent/charts/app-1.1.0.tgz"), bad)

		if _, err := s.api.Unyank(t.Context(), "p", "app", "1.1.0", "it was the cluster"); err != nil {
			t.Fatal(err)
		}
		sh.do(helm, "repo", "update", "p")
		sh.do(helm, "pull", "p/app")
		want(t, "after the yank was taken back", sh.read("app-1.1.0.tgz"), bad)
		// A yank frees no name.
		if _, err := s.api.Yank(t.Context(), "p", "app", "1.0.0", "broken", ""); err != nil {
			t.Fatal(err)
		}
		sh.do(helm, "registry", "login", s.Addr, "-u", "ci", "-p", s.Admin, "--plain-http")
		other := charttest.Build(t, "app", "1.0.0", map[string]string{"values.yaml": "fixed: true\n"})
		sh.fail([]string{"409", "cannot be replaced", "a yanked version stays taken"}, helm, "push", sh.write("app-1.0.0.tgz", other), "oci://"+s.Addr+"/p", "--plain-http")
	})
}

// TestHelmDependencies resolves, locks and builds against both doors.
func TestHelmDependencies(t *testing.T) {
	each(t, daemontest.Options{}, func(t *testing.T, s *site, sh *shell, helm string) {
		s.project(client.NewProject{Name: "lib", Public: true})
		for _, v := range []string{"1.0.0", "1.4.0", "2.0.0"} {
			s.push("lib", charttest.Build(t, "common", v, nil))
		}
		for name, repo := range map[string]string{"classic": s.URL + "/lib", "oci": "oci://" + s.Addr + "/lib"} {
			dir := "parent-" + name
			sh.write(dir+"/Chart.yaml", []byte("apiVersion: v2\nname: parent\nversion: 1.0.0\ndependencies:\n- name: common\n  version: ^1.0.0\n  repository: "+repo+"\n"))
			plain := []string{"--plain-http"}
			if name == "classic" {
				plain = nil
			}
			sh.do(helm, append([]string{"dependency", "update", dir}, plain...)...)
			got := sh.read(dir + "/charts/common-1.4.0.tgz")
			want(t, name+" update", got, charttest.Build(t, "common", "1.4.0", nil))
			if name == "classic" {
				sh.do(helm, "repo", "add", "lib", s.URL+"/lib", "--force-update") // build needs it known
			}
			sh.do(helm, append([]string{"dependency", "build", dir}, plain...)...)
			if out := sh.do(helm, "template", "r1", dir); !strings.Contains(out, "parent/charts/common") {
				t.Errorf("%s: the dependency is not rendered: %s", name, out)
			}
			want(t, name+" build", sh.read(dir+"/charts/common-1.4.0.tgz"), charttest.Build(t, "common", "1.4.0", nil))
		}
	})
}
