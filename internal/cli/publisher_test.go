package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/daemon"
	"github.com/chartkeep/chartkeep/internal/remote/oidc/oidctest"
)

// pipelineWorld is a server, an issuer that counts as GitHub, and a runner that
// gives its tokens.
type pipelineWorld struct {
	t      *testing.T
	issuer *oidctest.Issuer
	server string
	admin  []string // environment
	job    []string
	asked  string // audience that the runner was asked for
}

func newPipelineWorld(t *testing.T) *pipelineWorld {
	t.Helper()
	w := &pipelineWorld{t: t, issuer: oidctest.New(t)}
	cfg := daemon.Default()
	cfg.Data, cfg.Listen, cfg.AllowNetworks = t.TempDir(), "127.0.0.1:0", []string{"127.0.0.0/8"}
	cfg.PublisherAudience = "https://charts.example.com"
	cfg.PublisherIssuers = []string{"github " + w.issuer.URL, "kubernetes https://cluster.example /does/not/exist.json"}
	ctx, stop := context.WithCancel(context.Background())
	d, err := daemon.Open(ctx, cfg, io.Discard)
	if err != nil {
		stop()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended; d.Close() })
	token, err := os.ReadFile(filepath.Join(cfg.Data, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	runner := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked = r.URL.Query().Get("audience")
		if r.Header.Get("Authorization") != "Bearer runner-secret" || r.URL.Query().Get("api-version") != "2" {
			rw.WriteHeader(http.StatusForbidden)
			return
		}
		_ = json.NewEncoder(rw).Encode(map[string]any{"count": 1, "value": w.token(oidctest.Claims{"aud": w.asked})})
	}))
	t.Cleanup(runner.Close)
	w.server = d.URL()
	w.admin = []string{"CHARTKEEP_SERVER=" + w.server, "CHARTKEEP_TOKEN=" + strings.TrimSpace(string(token))}
	w.job = []string{"CHARTKEEP_SERVER=" + w.server, "GITHUB_ACTIONS=true", "ACTIONS_ID_TOKEN_REQUEST_URL=" + runner.URL + "/token?api-version=2", "ACTIONS_ID_TOKEN_REQUEST_TOKEN=runner-secret"}
	return w
}

func (w *pipelineWorld) token(changes oidctest.Claims) string {
	return w.issuer.Sign(w.issuer.Times(time.Now()).With(oidctest.Claims{
		"aud": "https://charts.example.com", "sub": "repo:octo/web", "repository_id": "41881900", "repository_owner_id": "65", "repository": "octo/web",
		"workflow_ref": "octo/web/.github/workflows/release.yml@refs/tags/v1.0.0", "ref": "refs/tags/v1.0.0", "event_name": "push",
	}).With(changes))
}

// runs a command and returns what it prints; it fails the test when the exit
// code is another.
func (w *pipelineWorld) run(env []string, code int, args ...string) (stdout, stderr string) {
	w.t.Helper()
	var out, said bytes.Buffer
	if got := Main(w.t.Context(), args, strings.NewReader(""), &out, &said, env); got != code {
		w.t.Fatalf("%s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, &out, &said)
	}
	return out.String(), said.String()
}

func (w *pipelineWorld) says(text string, wanted ...string) {
	w.t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			w.t.Errorf("this lacks %q:\n%s", want, text)
		}
	}
}

func (w *pipelineWorld) file(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func TestPublisherCommands(t *testing.T) {
	w := newPipelineWorld(t)
	w.run(w.admin, 0, "project", "create", "demo")
	_, said := w.run(w.job, 4, "token", "exchange", "--project", "demo", "--audience", "https://charts.example.com")
	w.says(said, "may not publish to project demo, or there is no such project", "repository_id:41881900,repository_owner_id:65", "an owner of project demo lets a pipeline in as this says: chartkeep help publishers")

	_, said = w.run(w.admin, 3, "publisher", "add", "demo", "--id", "octo/web", "--owner-id", "65", "--workflow", ".github/workflows/release.yml")
	w.says(said, "is a number that the platform gave", "gh api repos/OWNER/NAME")
	_, said = w.run(w.admin, 3, "publisher", "add", "demo", "--id", "41881900", "--owner-id", "65")
	w.says(said, "names the file of the workflow")
	id, _ := w.run(w.admin, 0, "publisher", "add", "demo", "--name", "octo/web", "--id", "41881900", "--owner-id", "65",
		"--workflow", ".github/workflows/release.yml", "--ref", "refs/tags/v*", "--chart", "web*", "--expires", "90d", "-q")
	id = strings.TrimSpace(id)
	shown, _ := w.run(w.admin, 0, "publisher", "show", id)
	w.says(shown, "github octo/web", "refs/tags/v*", "made by", "admin", "charts web*")
	listed, _ := w.run(w.admin, 0, "publisher", "list", "--made-by", "admin")
	w.says(listed, id, "demo/web*", "github octo/web", "never")
	none, _ := w.run(w.admin, 0, "publisher", "list", "--made-by", "ann")
	w.says(none, "there are no publishers")

	explained, _ := w.run(w.admin, 0, "publisher", "test", "demo", "--id-token-file", w.file("t", w.token(nil)))
	w.says(explained, "signature, times and audience hold", "repository_id:41881900,repository_owner_id:65", "refs/tags/v1.0.0")
	explained, _ = w.run(w.admin, 4, "publisher", "test", "demo", "--claims-file", w.file("c", `{"iss":"`+w.issuer.URL+`","repository_id":"41881900","repository_owner_id":"65","event_name":"pull_request_target"}`))
	w.says(explained, "not checked: only its claims were given", "pull_request_target", "it is not what is wanted")
	explained, _ = w.run(w.admin, 4, "publisher", "test", "demo", "--id-token-file", w.file("t", w.token(oidctest.Claims{"aud": "x"})))
	w.says(explained, "not for this server")

	secret, masked := w.run(w.job, 0, "token", "exchange", "--project", "demo", "--audience", "https://charts.example.com", "-q")
	secret = strings.TrimSpace(secret)
	if !strings.HasPrefix(secret, "ckt_") || w.asked != "https://charts.example.com" {
		t.Errorf("secret %q, audience %q", secret, w.asked)
	}
	w.says(masked, "::add-mask::"+secret)
	archive := w.file("web-1.0.0.tgz", string(charttest.Build(t, "web", "1.0.0", nil)))
	w.run([]string{"CHARTKEEP_SERVER=" + w.server, "CHARTKEEP_TOKEN=" + secret}, 0, "push", archive, "--project", "demo")
	released, _ := w.run(w.admin, 0, "release", "show", "demo/web@1.0.0")
	w.says(released, "pipeline github octo/web")
	_, said = w.run(w.job, 4, "token", "exchange", "--project", "other", "--audience", "https://charts.example.com")
	w.says(said, "may not publish to project other")

	w.run(w.admin, 0, "publisher", "remove", id, "--yes")
	_, said = w.run([]string{"CHARTKEEP_SERVER=" + w.server, "CHARTKEEP_TOKEN=" + secret}, 4, "push", archive, "--project", "demo")
	w.says(said, "was revoked")
}

func TestTokenExchangeSources(t *testing.T) {
	w := newPipelineWorld(t)
	w.run(w.admin, 0, "project", "create", "demo")
	w.run(w.admin, 0, "publisher", "add", "demo", "--id", "41881900", "--owner-id", "65", "--workflow", ".github/workflows/release.yml")
	server := "CHARTKEEP_SERVER=" + w.server
	// GitLab: the variable of id_tokens. Kubernetes: a projected file.
	out, _ := w.run([]string{server, "CHARTKEEP_ID_TOKEN=" + w.token(nil)}, 0, "token", "exchange", "--project", "demo", "-o", "json")
	var got struct{ Schema, Publisher, Project, Secret string }
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Schema != "exchange/v1" || got.Project != "demo" || got.Publisher != "github repository 41881900" {
		t.Errorf("got %s, %v", out, err)
	}
	token := w.token(nil)
	w.run([]string{server}, 0, "token", "exchange", "--project", "demo", "--id-token-file", w.file("token", token+"\n"))
	_, said := w.run([]string{server}, 4, "token", "exchange", "--project", "demo", "--id-token-file", w.file("token", token))
	w.says(said, "was used already")
	// A file that later steps read; the token is on no stream but to be hidden.
	env := w.file("github-env", "A=1\n")
	out, _ = w.run(w.job, 0, "token", "exchange", "--project", "demo", "--audience", "https://charts.example.com", "--env-file", env)
	text, _ := os.ReadFile(env)
	if strings.Contains(out, "ckt_") || !strings.HasPrefix(string(text), "A=1\nCHARTKEEP_TOKEN=ckt_") {
		t.Errorf("printed %q, kept %q", out, text)
	}
	// The audience is the server that is asked, whatever that server would like.
	w.run(w.job, 4, "token", "exchange", "--project", "demo")
	if w.asked != w.server {
		t.Errorf("the runner was asked for %q", w.asked)
	}
	for name, tt := range map[string]struct {
		env  []string
		args []string
		code int
		want string
	}{
		"no permission":    {[]string{server, "GITHUB_ACTIONS=true"}, []string{"--project", "demo"}, 2, "id-token: write"},
		"nowhere":          {[]string{server}, []string{"--project", "demo"}, 2, "CHARTKEEP_ID_TOKEN"},
		"no project":       {[]string{server}, nil, 2, "--project is missing"},
		"runner refuses":   {append(w.job[:3:3], "ACTIONS_ID_TOKEN_REQUEST_TOKEN=wrong"), []string{"--project", "demo"}, 1, "the runner gave no identity token"},
		"no token at all":  {[]string{server, "CHARTKEEP_ID_TOKEN=x"}, []string{"--project", "demo"}, 4, "this is no identity token"},
		"no file":          {[]string{server}, []string{"--project", "demo", "--id-token-file", "none"}, 1, "there is no file"},
		"unknown platform": {w.admin, []string{"-"}, 2, "--provider bitbucket is none"},
	} {
		args := append([]string{"token", "exchange"}, tt.args...)
		if name == "unknown platform" {
			args = []string{"publisher", "add", "demo", "--provider", "bitbucket"}
		}
		_, said := w.run(tt.env, tt.code, args...)
		if !strings.Contains(said, tt.want) {
			t.Errorf("%s: %s", name, said)
		}
	}
}

func TestPublisherAddWishes(t *testing.T) {
	for name, tt := range map[string]struct {
		opt  publisherAddOptions
		want string // "" for an error
	}{
		"github":     {publisherAddOptions{provider: "github", name: "octo/web", repositoryID: "1", ownerID: "2", workflow: []string{"a.yml"}, environment: []string{"x", "y"}, claims: []string{"event_name=release"}}, "map[environment:[x y] event_name:[release] repository:[octo/web] repository_id:[1] repository_owner_id:[2] workflow:[a.yml]]"},
		"gitlab":     {publisherAddOptions{provider: "gitlab", name: "octo/web", repositoryID: "1", ownerID: "2", workflow: []string{".gitlab-ci.yml"}, ref: []string{"v*"}}, "map[ci_config:[.gitlab-ci.yml] namespace_id:[2] project_id:[1] project_path:[octo/web] ref:[v*]]"},
		"kubernetes": {publisherAddOptions{provider: "kubernetes", name: "build/publisher", repositoryID: "u"}, "map[namespace:[build] service_account:[publisher] uid:[u]]"},
		"generic":    {publisherAddOptions{provider: "generic", claims: []string{"sub=a=b"}}, "map[sub:[a=b]]"},
		"no account": {publisherAddOptions{provider: "kubernetes", name: "publisher"}, ""},
		"no meaning": {publisherAddOptions{provider: "kubernetes", workflow: []string{"x"}}, ""},
		"no form":    {publisherAddOptions{provider: "generic", claims: []string{"sub"}}, ""},
	} {
		got, err := tt.opt.wanted()
		if (err != nil) != (tt.want == "") || err == nil && fmt.Sprint(got) != tt.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
