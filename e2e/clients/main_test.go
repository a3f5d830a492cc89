package clients

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// programs are the clients' command lines and their packages in tools/go.mod.
var programs = map[string]string{
	"helm3":        "helm.sh/helm/v3/cmd/helm",
	"helm4":        "helm.sh/helm/v4/cmd/helm",
	"helm-cm-push": "github.com/chartmuseum/helm-push/cmd/helm-cm-push",
	"oras":         "oras.land/oras/cmd/oras",
	"registry":     "github.com/distribution/distribution/v3/cmd/registry", // a server
}

// helms are the versions of Helm that each test runs with.
var helms = []string{"helm3", "helm4"}

var built struct {
	mu  sync.Mutex
	dir string
	err map[string]error
}

func TestMain(m *testing.M) {
	code := daemontest.Run(m)
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// program is the path of a client. It is built once for a test binary, or
// taken from the folder CHARTKEEP_CLIENTS.
func program(t testing.TB, name string) string {
	t.Helper()
	if dir := os.Getenv("CHARTKEEP_CLIENTS"); dir != "" {
		return filepath.Join(dir, name)
	}
	built.mu.Lock()
	defer built.mu.Unlock()
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "chartkeep-clients-")
		if err != nil {
			t.Fatal(err)
		}
		built.dir, built.err = dir, map[string]error{}
	}
	path := filepath.Join(built.dir, name)
	err, done := built.err[name]
	if !done {
		cmd := exec.Command("go", "build", "-o", path, programs[name])
		cmd.Dir = "tools"
		cmd.Env = append(os.Environ(), "GOWORK=off")
		if out, buildErr := cmd.CombinedOutput(); buildErr != nil {
			err = fmt.Errorf("%w\n%s", buildErr, out)
		}
		built.err[name] = err
	}
	if err != nil {
		daemontest.Missing(t, "%s cannot be built from its module: %v", name, err)
	}
	return path
}

// shell runs clients in a home of their own, so that they neither find nor
// leave anything.
type shell struct {
	t    testing.TB
	home string
	dir  string // working folder
	env  []string
}

func newShell(t testing.TB) *shell {
	t.Helper()
	home := t.TempDir()
	sh := &shell{t: t, home: home, dir: filepath.Join(home, "work")}
	if err := os.Mkdir(sh.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, "HELM_") && !strings.HasPrefix(name, "CHARTKEEP_") && !strings.HasPrefix(name, "XDG_") && name != "DOCKER_CONFIG" && name != "KUBECONFIG" {
			sh.env = append(sh.env, kv)
		}
	}
	sh.env = append(sh.env, "HOME="+home, "HELM_CONFIG_HOME="+home+"/config", "HELM_CACHE_HOME="+home+"/cache", "HELM_DATA_HOME="+home+"/data", "DOCKER_CONFIG="+home+"/docker", "KUBECONFIG="+home+"/none", "LC_ALL=C")
	return sh
}

// try runs a client and returns all that it said.
func (sh *shell) try(name string, args ...string) (string, error) {
	sh.t.Helper()
	path := name
	if programs[name] != "" {
		path = program(sh.t, name)
	}
	ctx, cancel := context.WithTimeout(sh.t.Context(), 2*time.Minute) // building it has its own time
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = sh.dir, sh.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// do runs a client that must succeed.
func (sh *shell) do(name string, args ...string) string {
	sh.t.Helper()
	out, err := sh.try(name, args...)
	if err != nil {
		sh.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// fail runs a client that must fail, and say all of the words.
func (sh *shell) fail(words []string, name string, args ...string) string {
	sh.t.Helper()
	out, err := sh.try(name, args...)
	if err == nil {
		sh.t.Fatalf("%s %s: succeeded\n%s", name, strings.Join(args, " "), out)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			sh.t.Errorf("%s %s: does not say %q:\n%s", name, strings.Join(args, " "), w, out)
		}
	}
	return out
}

// write puts a file into the working folder.
func (sh *shell) write(name string, content []byte) string {
	sh.t.Helper()
	path := filepath.Join(sh.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		sh.t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		sh.t.Fatal(err)
	}
	return path
}

// read takes a file of the working folder away, so that the next command has
// to fetch it anew.
func (sh *shell) read(name string) []byte {
	sh.t.Helper()
	path := filepath.Join(sh.dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		sh.t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		sh.t.Fatal(err)
	}
	return b
}

// site is a server with a project.
type site struct {
	*daemontest.Server
	api *client.Client // of the administrator
	t   testing.TB
}

func newSite(t testing.TB, opt daemontest.Options) *site {
	t.Helper()
	s := daemontest.Start(t, opt)
	return &site{Server: s, api: s.Client(s.Admin), t: t}
}

func (s *site) project(p client.NewProject) {
	s.t.Helper()
	if _, err := s.api.CreateProject(s.t.Context(), p); err != nil {
		s.t.Fatal(err)
	}
}

// token makes a token with one role in one project.
func (s *site) token(project, role string) string {
	s.t.Helper()
	tok, err := s.api.CreateToken(s.t.Context(), client.NewToken{
		Name: role + " of " + project, Grants: []client.Grant{{Role: role, Project: project}}, Expires: time.Now().Add(time.Hour),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return tok.Secret
}

// push releases an archive through the management API.
func (s *site) push(project string, archive []byte) client.Receipt {
	s.t.Helper()
	r, err := s.api.Push(s.t.Context(), project, client.Upload{Archive: strings.NewReader(string(archive)), Size: int64(len(archive))})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// get fetches a path with the administrator's token.
func (s *site) get(path string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.SetBasicAuth("x", s.Admin)
	return s.ask(req)
}
