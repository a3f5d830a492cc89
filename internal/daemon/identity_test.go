package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote/oidc/oidctest"
	"github.com/chartkeep/chartkeep/internal/store/storetest/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// external is how clients name the servers of these tests.
const external = "http://charts.example.test"

// running is a server that answers, asked under its external name.
type running struct {
	*Daemon
	http  *http.Client
	admin *client.Client
}

// runDaemon starts a server; it ends with the test.
func runDaemon(t *testing.T, cfg Config) *running {
	t.Helper()
	cfg.Listen, cfg.ExternalURL, cfg.AllowNetworks = "127.0.0.1:0", external, []string{"127.0.0.0/8"}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	d, err := Open(ctx, cfg, io.Discard)
	if err != nil {
		stop()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		d.Close()
	})
	r := &running{Daemon: d, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasPrefix(address, "charts.example.test:") {
				address = d.Addr().String()
			}
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
		DisableKeepAlives: true,
	}}}
	token, err := os.ReadFile(filepath.Join(cfg.Data, fileToken))
	if err != nil {
		t.Fatal(err)
	}
	r.admin = r.client(t, strings.TrimSpace(string(token)))
	return r
}

func (r *running) client(t *testing.T, token string) *client.Client {
	t.Helper()
	c, err := client.New(external, token, client.Options{HTTP: r.http})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// withIssuer accepts the tokens of a local issuer as GitHub's, and those of one
// that is known by a file of its keys as GitLab's.
func withIssuer(t *testing.T, i *oidctest.Issuer, data string) Config {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(keys, i.KeySet(), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Default()
	cfg.Data, cfg.PublisherIssuers = data, []string{"github " + i.URL, "gitlab https://gitlab.example.test " + keys}
	return cfg
}

func gitLabJob(i *oidctest.Issuer) string {
	return i.Sign(i.Times(time.Now()).With(oidctest.Claims{
		"iss": "https://gitlab.example.test", "aud": external, "sub": "project_path:octo/web:ref_type:tag:ref:v1.0.0", "project_id": "22", "namespace_id": "72",
		"project_path": "octo/web", "ref": "v1.0.0", "ref_protected": "true", "pipeline_source": "push", "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
	}))
}

func (r *running) demo(t *testing.T) {
	t.Helper()
	if _, err := r.admin.CreateProject(t.Context(), client.NewProject{Name: "demo"}); err != nil {
		t.Fatal(err)
	}
	_, err := r.admin.AddPublisher(t.Context(), client.NewPublisher{Project: "demo", Provider: "gitlab", Claims: map[string][]string{"project_id": {"22"}, "namespace_id": {"72"}, "project_path": {"octo/web"}}})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPipelinePublishes is the whole path over HTTP: issuer, exchange, push as
// helm does it, leaf, audit trail.
func TestPipelinePublishes(t *testing.T) {
	i := oidctest.New(t)
	r := runDaemon(t, withIssuer(t, i, t.TempDir()))
	r.demo(t)
	short, err := r.client(t, "").ExchangeToken(t.Context(), gitLabJob(i), "demo")
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(short.Expires); left > 15*time.Minute || left < 14*time.Minute || short.Publisher != "gitlab octo/web" {
		t.Errorf("short token %+v", short)
	}
	r.pushOCI(t, short.Secret, "demo/web", "1.0.0", charttest.Build(t, "web", "1.0.0", nil))
	// The classic door takes it as well, and the API.
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, external+"/api/demo/charts", bytes.NewReader(charttest.Build(t, "web", "1.0.1", nil)))
	req.SetBasicAuth("anything", short.Secret)
	if res := r.do(t, req); res.StatusCode != http.StatusCreated {
		t.Errorf("ChartMuseum's API answers %s", res.Status)
	}
	_, err = r.client(t, short.Secret).Push(t.Context(), "demo", client.Upload{Archive: bytes.NewReader(charttest.Build(t, "web", "1.0.2", nil)), Size: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"1.0.0", "1.0.1", "1.0.2"} {
		rel, err := r.admin.Release(t.Context(), "demo", "web", version)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := r.admin.Leaf(t.Context(), rel.LogIndex)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"publisher https://gitlab.example.test project_id:22,namespace_id:72\n",
			"source https://gitlab.example.test/octo/web@714a629c0b401fdce83e847fc9589983fc6f46bc\n",
		} {
			if !strings.Contains(fmt.Sprint(leaf), want) {
				t.Errorf("the leaf of %s lacks %q: %v", version, want, leaf)
			}
		}
	}
	events, err := r.admin.Audit(t.Context(), client.AuditFilter{Event: "oidc."}, client.Page{})
	if err != nil || len(events.Items) != 1 || events.Items[0].Actor.Name != "pipeline gitlab octo/web" || events.Items[0].Actor.Subject != "project_id:22,namespace_id:72" {
		t.Errorf("events %+v, %v", events.Items, err)
	}
	// The end of the job.
	if err := r.client(t, short.Secret).RevokeToken(t.Context(), short.ID); err != nil {
		t.Error(err)
	}
	if _, err := r.client(t, short.Secret).WhoAmI(t.Context()); problem.KindOf(err) != problem.Unauthenticated {
		t.Errorf("the token still works: %v", err)
	}
}

func (r *running) do(t *testing.T, req *http.Request) *http.Response {
	t.Helper()
	res, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// pushOCI pushes as helm does after helm registry login: it shows the password
// for a bearer of the repository, and that for everything else.
func (r *running) pushOCI(t *testing.T, password, repository, tag string, archive []byte) {
	t.Helper()
	q := url.Values{"service": {"chartkeep"}, "scope": {"repository:" + repository + ":pull,push"}}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, external+"/v2/token?"+q.Encode(), nil)
	req.SetBasicAuth("pipeline", password)
	var said struct{ Token string }
	if err := json.NewDecoder(r.do(t, req).Body).Decode(&said); err != nil || said.Token == "" {
		t.Fatalf("no bearer: %v", err)
	}
	send := func(method, path, kind string, body []byte, want int) *http.Response {
		t.Helper()
		if strings.HasPrefix(path, "/") {
			path = external + path
		}
		req, err := http.NewRequestWithContext(t.Context(), method, path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+said.Token)
		req.Header.Set("Content-Type", kind)
		res := r.do(t, req)
		if res.StatusCode != want {
			b, _ := io.ReadAll(res.Body)
			t.Fatalf("%s %s: %s %s", method, path, res.Status, b)
		}
		return res
	}
	descriptor := func(kind string, b []byte) map[string]any {
		h := sha256.Sum256(b)
		d := "sha256:" + hex.EncodeToString(h[:])
		to := send(http.MethodPost, "/v2/"+repository+"/blobs/uploads/", "", nil, http.StatusAccepted).Header.Get("Location")
		sep := "?"
		if strings.Contains(to, "?") {
			sep = "&"
		}
		send(http.MethodPut, to+sep+"digest="+d, "application/octet-stream", b, http.StatusCreated)
		return map[string]any{"mediaType": kind, "digest": d, "size": len(b)}
	}
	config := fmt.Appendf(nil, `{"name":"web","version":%q,"apiVersion":"v2"}`, tag)
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": descriptor("application/vnd.cncf.helm.config.v1+json", config),
		"layers": []any{descriptor("application/vnd.cncf.helm.chart.content.v1.tar+gzip", archive)},
	})
	if err != nil {
		t.Fatal(err)
	}
	send(http.MethodPut, "/v2/"+repository+"/manifests/"+tag, "application/vnd.oci.image.manifest.v1+json", manifest, http.StatusCreated)
}

// TestReplayOverTwoServers: two servers on one PostgreSQL take a token once, and
// one that starts later remembers it.
func TestReplayOverTwoServers(t *testing.T) {
	i := oidctest.New(t)
	cfg := withIssuer(t, i, t.TempDir())
	cfg.Database = pgtest.New(t)
	a, b := runDaemon(t, cfg), runDaemon(t, cfg)
	a.demo(t)
	for range 3 {
		token := gitLabJob(i)
		var won, lost sync.Map
		var all sync.WaitGroup
		for n := range 8 {
			s := []*running{a, b}[n%2]
			all.Go(func() {
				_, err := s.client(t, "").ExchangeToken(t.Context(), token, "demo")
				if err == nil {
					won.Store(n, true)
				} else if p, ok := problem.As(err); ok && p.Rule == "oidc-replay" {
					lost.Store(n, true)
				} else {
					t.Errorf("got %v", err)
				}
			})
		}
		all.Wait()
		if size(&won) != 1 || size(&lost) != 7 {
			t.Fatalf("%d servers took the token, %d refused it", size(&won), size(&lost))
		}
		c := runDaemon(t, cfg)
		_, err := c.client(t, "").ExchangeToken(t.Context(), token, "demo")
		if p, ok := problem.As(err); !ok || p.Rule != "oidc-replay" {
			t.Fatalf("after a start: %v", err)
		}
	}
}

func size(m *sync.Map) (n int) {
	m.Range(func(any, any) bool { n++; return true })
	return n
}

// TestWrongIdentityTokensCount: they count for their source like passwords.
func TestWrongIdentityTokensCount(t *testing.T) {
	i := oidctest.New(t)
	r := runDaemon(t, withIssuer(t, i, t.TempDir()))
	c := r.client(t, "")
	last := ""
	for range 30 {
		_, err := c.ExchangeToken(t.Context(), "x.y.z", "demo")
		p, ok := problem.As(err)
		if !ok {
			t.Fatal(err)
		}
		if last = p.Rule; last != "oidc-malformed" {
			break
		}
	}
	if last != "too-many-attempts" {
		t.Errorf("the last answer is %s", last)
	}
	if i.Requests("") != 0 {
		t.Error("the issuer was asked")
	}
}

// TestSingleSignOn is the whole flow with a browser and a provider.
func TestSingleSignOn(t *testing.T) {
	i := oidctest.New(t)
	cfg := Default()
	cfg.Data, cfg.OIDCIssuer, cfg.OIDCClientID, cfg.OIDCClientSecret, cfg.OIDCName, cfg.OIDCCreate = t.TempDir(), i.URL, "chartkeep", "example-secret", "Example", "true"
	r := runDaemon(t, cfg)
	i.Person = oidctest.Claims{"sub": "s-1", "preferred_username": "ann", "groups": []string{"dev"}}
	if _, err := r.admin.CreateProject(t.Context(), client.NewProject{Name: "demo"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.admin.AddGrant(t.Context(), "group:dev", client.Grant{Role: "reader", Project: "demo"}); err != nil {
		t.Fatal(err)
	}
	browse := func() *http.Client {
		jar, _ := cookiejar.New(nil)
		return &http.Client{Transport: r.http.Transport, Jar: jar}
	}
	open := func(c *http.Client, path string) (string, *http.Response) {
		res, err := c.Get(external + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b), res
	}
	ann := browse()
	if page, _ := open(ann, "/ui/sign-in"); !strings.Contains(page, "Sign in with Example") {
		t.Error("the sign-in page does not name the provider")
	}
	page, res := open(ann, "/ui/sso?next=/me")
	if res.Request.URL.Path != "/ui/me" || !strings.Contains(page, "ann") || !strings.Contains(page, "reader") {
		t.Errorf("ends at %s:\n%s", res.Request.URL, page)
	}
	// A link with an answer of the attacker's own sign-in signs nobody in.
	attacker := browse()
	attacker.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(req.URL.String(), external+"/ui/sso/callback") {
			return http.ErrUseLastResponse
		}
		return nil
	}
	_, stopped := open(attacker, "/ui/sso")
	link, err := stopped.Location()
	if err != nil {
		t.Fatal(err)
	}
	victim := browse()
	if _, res := open(victim, link.RequestURI()); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("the victim gets %s", res.Status)
	}
	if _, res := open(victim, "/ui/me"); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("the victim is signed in: %s", res.Status)
	}
	links, err := r.admin.AccountLinks(t.Context(), client.Page{})
	if err != nil || len(links.Items) != 1 || links.Items[0].Account != "ann" {
		t.Errorf("links %+v, %v", links.Items, err)
	}
	if err := r.admin.DisableAccount(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	if page, res := open(browse(), "/ui/sso"); res.StatusCode != http.StatusForbidden || !strings.Contains(page, "disabled") {
		t.Errorf("a disabled account: %s", res.Status)
	}
}

func TestIdentitySettingsRefused(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no issuer":             func(c *Config) { c.PublisherIssuers = []string{"github"} },
		"no platform":           func(c *Config) { c.PublisherIssuers = []string{"bitbucket https://x.example"} },
		"no URL":                func(c *Config) { c.PublisherIssuers = []string{"github x.example"} },
		"keys beside":           func(c *Config) { c.PublisherIssuers = []string{"kubernetes https://x.example jwks.json"} },
		"twice":                 func(c *Config) { c.PublisherIssuers = []string{"github https://x.example", "gitlab https://x.example"} },
		"GitHub under no rules": func(c *Config) { c.PublisherIssuers = []string{"generic https://token.actions.githubusercontent.com"} },
		"gitlab.com as GitHub":  func(c *Config) { c.PublisherIssuers = []string{"github https://gitlab.com"} },
		"a life of a week":      func(c *Config) { c.PublisherMaxLife = "168h" },
		"people without us":     func(c *Config) { c.OIDCIssuer, c.OIDCClientID = "https://x.example", "chartkeep" },
		"people without client": func(c *Config) { c.OIDCIssuer, c.ExternalURL = "https://x.example", external },
		"perhaps":               func(c *Config) { c.OIDCCreate = "perhaps" },
	} {
		c := Default()
		change(&c)
		if err := c.check(); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := Default()
	c.PublisherIssuers = append(c.PublisherIssuers, "kubernetes kubernetes/serviceaccount /etc/jwks.json", "github https://token.actions.githubusercontent.com/octo-enterprise")
	if err := c.check(); err != nil {
		t.Error(err)
	}
}
