package clients

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// own runs our own command line against a server.
func (sh *shell) own(s *site, token string) string {
	sh.env = append(sh.env, "CHARTKEEP_SERVER="+s.URL, "CHARTKEEP_TOKEN="+token)
	return daemontest.Program(sh.t)
}

// TestDoors: a chart that came through one door is served through all of
// them, byte for byte.
func TestDoors(t *testing.T) {
	each(t, daemontest.Options{}, func(t *testing.T, s *site, sh *shell, helm string) {
		s.project(client.NewProject{Name: "doors"})
		chartkeep := sh.own(s, s.Admin)
		sh.do(helm, "registry", "login", s.Addr, "-u", "ci", "-p", s.Admin, "--plain-http")
		sh.do(helm, "repo", "add", "doors", s.URL+"/doors", "--username", "x", "--password", s.Admin)
		bring := map[string]func(name string, archive []byte){
			"helm-push": func(name string, archive []byte) {
				sh.do(helm, "push", sh.write(name+"-1.0.0.tgz", archive), "oci://"+s.Addr+"/doors", "--plain-http")
			},
			"cm-push": func(name string, archive []byte) {
				sh.do("helm-cm-push", sh.write(name+"-1.0.0.tgz", archive), s.URL+"/doors", "--username", "x", "--password", s.Admin)
			},
			"form": func(name string, archive []byte) {
				if status, body := s.form("/api/doors/charts", map[string][]byte{"chart": archive}); status != 201 {
					t.Fatalf("form: %d %s", status, body)
				}
			},
			"chartkeep": func(name string, archive []byte) {
				sh.do(chartkeep, "push", sh.write(name+"-1.0.0.tgz", archive), "--project", "doors")
			},
		}
		for door, push := range bring {
			archive := charttest.Build(t, door, "1.0.0", nil)
			push(door, archive)
			os.Remove(filepath.Join(sh.dir, door+"-1.0.0.tgz"))
			sh.do(helm, "repo", "update", "doors")
			if door == "cm-push" {
				// The plugin packs every chart anew; what it sent is what counts.
				_, text := s.get("/doors/charts/" + door + "-1.0.0.tgz")
				archive = []byte(text)
			}
			rel, err := s.api.Release(t.Context(), "doors", door, "1.0.0")
			if err != nil || rel.Digest != sum(archive) {
				t.Fatalf("%s: released %s, %v; pushed %s", door, rel.Digest, err, sum(archive))
			}
			file := door + "-1.0.0.tgz"
			sh.do(helm, "pull", "oci://"+s.Addr+"/doors/"+door, "--version", "1.0.0", "--plain-http")
			want(t, door+" to helm over OCI", sh.read(file), archive)
			sh.do(helm, "pull", "doors/"+door, "--version", "1.0.0")
			want(t, door+" to helm from the repository", sh.read(file), archive)
			sh.do(chartkeep, "pull", "doors/"+door+"@1.0.0")
			want(t, door+" to chartkeep", sh.read(file), archive)
			sh.do("oras", "pull", s.Addr+"/doors/"+door+":1.0.0", "--plain-http", "-u", "x", "-p", s.Admin, "-o", "oras-"+door)
			if _, text := s.get("/v2/doors/" + door + "/blobs/" + rel.Digest); text != string(archive) {
				t.Errorf("%s: the OCI layer has %d other bytes", door, len(text))
			}
			if out := sh.do(helm, "template", "r1", "doors/"+door); !strings.Contains(out, "kind: ConfigMap") {
				t.Errorf("%s: template: %s", door, out)
			}
			// Whoever checks trusts nobody, whichever door it was.
			sh.do(chartkeep, "pull", "doors/"+door+"@1.0.0", "--proof")
			out := sh.do(chartkeep, "verify", file, "--log-key", filepath.Join(s.Data, "log.vkey"), "-o", "json")
			var report struct{ Verdict string }
			if err := json.Unmarshal([]byte(out), &report); err != nil || report.Verdict == "fail" {
				t.Errorf("%s: verify: %v %s", door, err, out)
			}
			sh.read(file)
		}
	})
}

// plugin installs the push plugin into Helm, whose command it then is.
func (sh *shell) plugin() {
	sh.t.Helper()
	dir := filepath.Join(sh.home, "data", "plugins", "cm-push")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		sh.t.Fatal(err)
	}
	text := "name: cm-push\nversion: 0.10.4\nusage: push\ndescription: push\ncommand: " + program(sh.t, "helm-cm-push") + "\n"
	if err := os.WriteFile(filepath.Join(dir, "plugin.yaml"), []byte(text), 0o644); err != nil {
		sh.t.Fatal(err)
	}
}

// TestPlugin is the ChartMuseum push plugin, unchanged.
func TestPlugin(t *testing.T) {
	each(t, daemontest.Options{}, func(t *testing.T, s *site, sh *shell, helm string) {
		s.project(client.NewProject{Name: "team-a/web"})
		auth := []string{"--username", "x", "--password", s.token("team-a/web", "publisher")}
		sh.plugin()
		push := func(args ...string) []string { return append(append([]string{"cm-push"}, args...), auth...) }
		repo := s.URL + "/team-a/web"
		sh.source("app", "1.0.0")
		sh.fail([]string{"401"}, helm, "cm-push", "app", repo)
		if out := sh.do(helm, push("app", repo)...); !strings.Contains(out, "Pushing app-1.0.0.tgz") || !strings.Contains(out, "Done.") {
			t.Errorf("push of a folder: %s", out)
		}
		first, err := s.api.Release(t.Context(), "team-a/web", "app", "1.0.0")
		if err != nil || first.Door != "chartmuseum" {
			t.Fatalf("released: %+v, %v", first, err)
		}
		sh.do(helm, push("app", repo, "--version", "1.1.0")...)
		sh.write("app/values.yaml", []byte("changed: true\n"))
		words := []string{"409", "release team-a/web/app@1.0.0 is there already and cannot be replaced", first.Digest, "Try: helm package . --version 1.0.1"}
		sh.fail(words, helm, push("app", repo)...)
		sh.fail(append(words, "force"), helm, push("app", repo, "--force")...)
		// By the name that Helm knows the repository under, whose credentials
		// it then uses.
		sh.do(helm, append([]string{"repo", "add", "web", repo}, auth...)...)
		sh.do(helm, "cm-push", "app", "web", "--version", "1.2.0")
		// And with a token as such.
		sh.do(helm, "cm-push", "app", repo, "--version", "1.3.0", "--access-token", s.Admin)
		sh.do(helm, "repo", "update", "web")
		if out := sh.do(helm, "search", "repo", "web/app", "--versions"); strings.Count(out, "web/app") != 4 {
			t.Errorf("search: %s", out)
		}
		now, err := s.api.Release(t.Context(), "team-a/web", "app", "1.0.0")
		if err != nil || now.Digest != first.Digest {
			t.Errorf("after all this 1.0.0 is %s, and was %s (%v)", now.Digest, first.Digest, err)
		}
	})
}
