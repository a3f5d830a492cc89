package clients

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// The account of those servers that want one.
const (
	theirUser     = "watcher"
	theirPassword = "a password of the tests"
	theirHash     = "$2a$04$D4dYZevywvLpMKCWXbop7eBALhEoQorozZTkhI23aMaJRPQgtxBzS" // bcrypt of theirPassword
)

// shelf is somebody else's server of the chart web. Its charts are packed by
// Helm, and brought there as their publishers do.
type shelf struct {
	add    []string // flags of chartkeep upstream add
	put    func(version string, archive []byte)
	remove func(version string)
}

// daemon starts a server of somebody else, which the test's end kills, and
// returns what a line that it says has in the pattern's group.
func (sh *shell) daemon(pattern string, env []string, path string, args ...string) string {
	sh.t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Env = sh.dir, append(slices.Clone(sh.env), env...)
	said, err := cmd.StderrPipe()
	if err != nil {
		sh.t.Fatal(err)
	}
	cmd.Stdout = cmd.Stderr
	if err := cmd.Start(); err != nil {
		sh.t.Fatal(err)
	}
	var tail bytes.Buffer
	found, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		line := regexp.MustCompile(pattern)
		for r := bufio.NewScanner(said); r.Scan(); {
			fmt.Fprintln(&tail, r.Text())
			if m := line.FindStringSubmatch(r.Text()); m != nil && cap(found) > len(found) {
				found <- m[1]
			}
		}
		_ = cmd.Wait()
	}()
	sh.t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	select {
	case got := <-found:
		return got
	case <-ended:
		sh.t.Fatalf("%s ended:\n%s", path, &tail)
	case <-time.After(daemontest.Patience):
		_ = cmd.Process.Kill()
		<-ended
		sh.t.Fatalf("%s does not say that it serves:\n%s", path, &tail)
	}
	return ""
}

// distribution is the CNCF's registry. auth is a part of its configuration.
func distribution(sh *shell, helm, auth string) (addr string, s *shelf) {
	sh.t.Helper()
	path := program(sh.t, "registry")
	config := sh.write("registry.yml", []byte("version: 0.1\nstorage: {filesystem: {rootdirectory: "+sh.t.TempDir()+"}, delete: {enabled: true}}\nhttp: {addr: '127.0.0.1:0', secret: x}\n"+auth))
	addr = sh.daemon(`listening on (127\.0\.0\.1:\d+)`, []string{"OTEL_TRACES_EXPORTER=none"}, path, "serve", config)
	if auth != "" {
		sh.fail([]string{"401"}, helm, "registry", "login", addr, "-u", theirUser, "-p", "wrong", "--plain-http")
		sh.do(helm, "registry", "login", addr, "-u", theirUser, "-p", theirPassword, "--plain-http")
		sh.do("oras", "login", addr, "-u", theirUser, "-p", theirPassword, "--plain-http")
	}
	return addr, &shelf{
		add: []string{"--oci", "oci://" + addr + "/charts/web"},
		put: func(version string, archive []byte) {
			sh.do(helm, "push", sh.write("web-"+version+".tgz", archive), "oci://"+addr+"/charts", "--plain-http")
		},
		remove: func(version string) {
			sh.do("oras", "manifest", "delete", "--force", "--plain-http", addr+"/charts/web:"+version)
		},
	}
}

// folder is a folder of archives with an index by helm repo index, served as a
// host of static pages serves it.
func folder(sh *shell, helm string) *shelf {
	sh.t.Helper()
	dir := filepath.Dir(sh.write("public/.keep", nil))
	host := httptest.NewServer(http.FileServer(http.Dir(dir)))
	sh.t.Cleanup(host.Close)
	index := func() { sh.do(helm, "repo", "index", dir, "--url", host.URL) }
	return &shelf{
		add: []string{"--index", host.URL},
		put: func(version string, archive []byte) {
			sh.write("public/web-"+version+".tgz", archive)
			index()
		},
		remove: func(version string) {
			sh.read("public/web-" + version + ".tgz")
			index()
		},
	}
}

// chartmuseum is ChartMuseum, where it is in the PATH.
func chartmuseum(sh *shell, helm string) *shelf {
	sh.t.Helper()
	path, err := exec.LookPath("chartmuseum")
	if err != nil {
		sh.t.Skip("NOT TESTED: the program chartmuseum is not in the PATH")
	}
	// It cannot say which port it was given.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		sh.t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	sh.daemon(`(Starting ChartMuseum)`, nil, path, "--listen-host=127.0.0.1", "--port="+port, "--storage=local",
		"--storage-local-rootdir="+sh.t.TempDir(), "--basic-auth-user="+theirUser, "--basic-auth-pass="+theirPassword, "--auth-anonymous-get")
	at := "http://127.0.0.1:" + port
	for end := time.Now().Add(daemontest.Patience); ; time.Sleep(10 * time.Millisecond) {
		if res, err := http.Get(at + "/health"); err == nil {
			res.Body.Close()
			break
		} else if time.Now().After(end) {
			sh.t.Fatal(err)
		}
	}
	sh.plugin()
	ask := func(method, path string, body []byte) {
		sh.t.Helper()
		req, err := http.NewRequest(method, at+path, bytes.NewReader(body))
		if err != nil {
			sh.t.Fatal(err)
		}
		req.SetBasicAuth(theirUser, theirPassword)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			sh.t.Fatal(err)
		}
		defer res.Body.Close()
		if b, _ := io.ReadAll(res.Body); res.StatusCode/100 != 2 {
			sh.t.Fatalf("%s %s: %s: %s", method, path, res.Status, b)
		}
	}
	// The plugin works, and packs anew what it sends; the rest comes as bytes.
	account := []string{"--username", theirUser, "--password", theirPassword}
	sh.write("plugin/Chart.yaml", []byte("apiVersion: v2\nname: plugin\nversion: 0.1.0\n"))
	sh.do(helm, append([]string{"cm-push", "plugin", at}, account...)...)
	sh.fail([]string{"409"}, helm, append([]string{"cm-push", "plugin", at}, account...)...)
	sh.do(helm, append([]string{"cm-push", "plugin", at, "--force"}, account...)...)
	return &shelf{
		add:    []string{"--index", at, "--charts", "web"},
		put:    func(_ string, archive []byte) { ask(http.MethodPost, "/api/charts?force", archive) },
		remove: func(version string) { ask(http.MethodDelete, "/api/charts/web/"+version, nil) },
	}
}

// tokens is a server of tokens in the form of the distribution specification,
// with a configuration of the registry that trusts it.
func tokens(sh *shell) (host, auth string) {
	sh.t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		sh.t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		access := []map[string]any{}
		user, password, given := r.BasicAuth()
		if given && (user != theirUser || password != theirPassword) {
			http.Error(w, "unauthorized: that is not the password", http.StatusUnauthorized)
			return
		}
		for _, scope := range r.URL.Query()["scope"] {
			if p := strings.Split(scope, ":"); given && len(p) == 3 {
				access = append(access, map[string]any{"type": p[0], "name": p[1], "actions": strings.Split(p[2], ",")})
			}
		}
		claims, _ := json.Marshal(map[string]any{ // of what can be marshalled
			"iss": "tests", "aud": "registry", "sub": user, "exp": time.Now().Add(time.Hour).Unix(), "nbf": time.Now().Add(-time.Minute).Unix(), "access": access,
		})
		text := b64([]byte(`{"alg":"EdDSA","typ":"JWT","kid":"one"}`)) + "." + b64(claims)
		_ = json.NewEncoder(w).Encode(map[string]string{"token": text + "." + b64(ed25519.Sign(private, []byte(text)))})
	}))
	sh.t.Cleanup(srv.Close)
	keys := sh.write("jwks.json", fmt.Appendf(nil, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"one","alg":"EdDSA","use":"sig","x":%q}]}`, b64(public)))
	return strings.TrimPrefix(srv.URL, "http://"),
		"auth: {token: {realm: '" + srv.URL + "/token', service: registry, issuer: tests, jwks: " + keys + ", signingalgorithms: [EdDSA]}}\n"
}

// TestUpstreams lets the server watch and mirror what real servers publish,
// while their publisher replaces, repacks, withdraws and brings back.
func TestUpstreams(t *testing.T) {
	t.Run("helm repo index", func(t *testing.T) {
		w := newWatch(t, "helm3", "")
		w.story(folder(w.shell, "helm3"))
	})
	t.Run("chartmuseum", func(t *testing.T) {
		w := newWatch(t, "helm4", "")
		w.story(chartmuseum(w.shell, "helm4"))
	})
	t.Run("distribution", func(t *testing.T) {
		w := newWatch(t, "helm4", "")
		_, s := distribution(w.shell, "helm4", "")
		w.story(s)
	})
	t.Run("distribution with a password", func(t *testing.T) {
		sh := newShell(t)
		addr, s := distribution(sh, "helm4", "auth: {htpasswd: {realm: tests, path: "+sh.write("htpasswd", []byte(theirUser+":"+theirHash+"\n"))+"}}\n")
		w := newWatch(t, "helm4", "  theirs: {host: 'http://"+addr+"', username: "+theirUser+", password_file: secret}\n")
		w.refused(s, "wants a credential")
		s.add = append(s.add, "--credential", "theirs")
		w.story(s)
	})
	t.Run("distribution with tokens", func(t *testing.T) {
		sh := newShell(t)
		host, auth := tokens(sh)
		addr, s := distribution(sh, "helm3", auth)
		w := newWatch(t, "helm3", "  narrow: {host: 'http://"+addr+"', username: "+theirUser+", password_file: secret}\n"+
			"  theirs: {host: 'http://"+addr+"', username: "+theirUser+", password_file: secret, realms: ['http://"+host+"']}\n")
		w.refused(s, "wants a credential")
		w.refused(&shelf{add: append(slices.Clone(s.add), "--credential", "narrow"), put: s.put}, "whose tokens are made by "+host, "credential-fault medium")
		s.add = append(s.add, "--credential", "theirs")
		w.story(s)
	})
}

// TestUpstreamOfOurOwn watches one of our servers with another: what is
// released there stays, so all that can happen is new versions, a yank and its
// end.
func TestUpstreamOfOurOwn(t *testing.T) {
	for kind, source := range map[string]func(theirs *site) string{
		"index": func(theirs *site) string { return theirs.URL + "/p" },
		"oci":   func(theirs *site) string { return "oci://" + theirs.Addr + "/p/web" },
	} {
		t.Run(kind, func(t *testing.T) {
			theirs := newSite(t, daemontest.Options{})
			theirs.project(client.NewProject{Name: "p"})
			w := newWatch(t, "helm4", "  theirs: {host: '"+theirs.URL+"', token_file: token}\n")
			w.write("token", []byte(theirs.token("p", "reader")))
			w.do(w.helm, "registry", "login", theirs.Addr, "-u", "x", "-p", theirs.Admin, "--plain-http")
			push := func(archive []byte) (string, error) {
				return w.try(w.helm, "push", w.shell.write("web-1.0.0.tgz", archive), "oci://"+theirs.Addr+"/p", "--plain-http")
			}
			if out, err := push(w.pack("1.0.0", nil)); err != nil {
				t.Fatal(out)
			}
			w.do(w.program, "project", "create", "mirror", "--mirror", "up", "--public")
			w.do(w.program, "upstream", "add", "up", "--"+kind, source(theirs), "--credential", "theirs", "--mirror-project", "mirror")
			w.upstream(time.Time{})
			if got, _ := w.news(); !slices.Equal(got, []string{"first-read info", "mirrored 1.0.0 info"}) {
				t.Fatal(got)
			}
			if out, err := push(w.pack("1.1.0", nil)); err != nil {
				t.Fatal(out)
			}
			w.expect("released", "mirrored 1.1.0 info", "new-version 1.1.0 info")
			if out, err := push(w.pack("1.0.0", map[string]string{"values.yaml": "replicas: 9\n"})); err == nil {
				t.Fatal(out)
			}
			w.expect("could not be replaced")
			if _, err := theirs.api.Yank(t.Context(), "p", "web", "1.1.0", "broken", ""); err != nil {
				t.Fatal(err)
			}
			w.expect("yanked", "vanished 1.1.0 medium")
			if _, err := theirs.api.Unyank(t.Context(), "p", "web", "1.1.0", "it was the cluster"); err != nil {
				t.Fatal(err)
			}
			w.expect("yanked no more", "returned 1.1.0 info")
			w.mirrored()
		})
	}
}

// watch is a server that watches an upstream, and who works with it.
type watch struct {
	*site
	*shell
	helm, program string
	last          int64             // the newest event that was read
	first         map[string][]byte // first bytes of each version
}

// newWatch starts a server. credentials are entries of its file.
func newWatch(t *testing.T, helm, credentials string) *watch {
	t.Helper()
	sh := newShell(t)
	opt := daemontest.Options{Flags: []string{"--allow-networks", "127.0.0.0/8"}}
	if credentials != "" {
		sh.write("secret", []byte(theirPassword+"\n"))
		opt.Flags = append(opt.Flags, "--credentials", sh.write("credentials.yaml", []byte("credentials:\n"+credentials)))
	}
	s := newSite(t, opt)
	return &watch{site: s, shell: sh, helm: helm, program: sh.own(s, s.Admin), first: map[string][]byte{}}
}

// run runs our own command line, and reads its JSON.
func (w *watch) run(out any, args ...string) {
	w.shell.t.Helper()
	text := w.do(w.program, append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(text), out); err != nil {
		w.shell.t.Fatalf("chartkeep %s: %v\n%s", strings.Join(args, " "), err, text)
	}
}

// pack packs the chart with Helm: a template, and files beside.
func (w *watch) pack(version string, files map[string]string) []byte {
	w.shell.t.Helper()
	src := fmt.Sprintf("src%d", time.Now().UnixNano())
	w.write(src+"/web/Chart.yaml", []byte("apiVersion: v2\nname: web\nversion: "+version+"\n"))
	w.write(src+"/web/values.yaml", []byte("replicas: 1\n"))
	w.write(src+"/web/templates/map.yaml", []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {replicas: '{{ .Values.replicas }}'}\n"))
	for name, text := range files {
		w.write(src+"/web/"+name, []byte(text))
	}
	w.do(w.helm, "package", src+"/web")
	b := w.read("web-" + version + ".tgz")
	if w.first[version] == nil {
		w.first[version] = b
	}
	return b
}

// again packs the same tar anew.
func again(t testing.TB, archive []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	to, err := gzip.NewWriterLevel(&out, gzip.NoCompression)
	if err == nil {
		_, err = io.Copy(to, z)
	}
	if err == nil {
		err = to.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// upstream waits until the upstream up was polled after a time, and returns
// it.
func (w *watch) upstream(after time.Time) client.Upstream {
	w.shell.t.Helper()
	for end := time.Now().Add(daemontest.Patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		u, err := w.api.Upstream(w.shell.t.Context(), "up")
		if err != nil {
			w.shell.t.Fatal(err)
		}
		if u.Sources[0].Health.LastPoll.After(after) {
			return u
		}
	}
	w.shell.t.Fatal("the upstream is not polled")
	return client.Upstream{}
}

// refused watches a shelf that cannot be read so, and takes it off again.
func (w *watch) refused(s *shelf, words string, events ...string) {
	w.shell.t.Helper()
	if w.first["0.1.0"] == nil {
		s.put("0.1.0", w.pack("0.1.0", nil))
	}
	w.do(w.program, append([]string{"upstream", "add", "up"}, s.add...)...)
	u := w.upstream(time.Time{})
	if h := u.Sources[0].Health; h.Failures != 1 || !strings.Contains(h.Error, words) || h.Versions != 0 {
		w.shell.t.Errorf("%q failures %d, and not %q", h.Error, h.Failures, words)
	}
	if got, _ := w.news(); !slices.Equal(got, events) {
		w.shell.t.Errorf("%s: %q, want %q", words, got, events)
	}
	w.do(w.program, "upstream", "remove", "up")
}

// happened polls the upstream and returns the events that are new, as kind,
// version and severity, and the events by those words. What the upstream says
// of times of creation is not among them: most servers make them anew.
func (w *watch) happened() (words []string, byWords map[string]client.Event) {
	w.shell.t.Helper()
	before := w.upstream(time.Time{}).Sources[0].Health.LastPoll
	w.do(w.program, "upstream", "poll", "up")
	w.upstream(before)
	return w.news()
}

func (w *watch) news() (words []string, byWords map[string]client.Event) {
	w.shell.t.Helper()
	var list struct{ Items []client.Event }
	w.run(&list, "event", "list", "--upstream", "up", "--limit", "0")
	byWords = map[string]client.Event{}
	newest := w.last
	for _, e := range list.Items {
		newest = max(newest, e.ID)
		if e.ID <= w.last || e.Event == "created-rewritten" {
			continue
		}
		said := strings.Join(strings.Fields(e.Event+" "+e.Version+" "+e.Severity), " ")
		words, byWords[said] = append(words, said), e
	}
	w.last = newest
	slices.Sort(words)
	return words, byWords
}

// expect polls and holds what happened to a list.
func (w *watch) expect(step string, want ...string) map[string]client.Event {
	w.shell.t.Helper()
	got, by := w.happened()
	if !slices.Equal(got, want) {
		w.shell.t.Fatalf("%s: %q, want %q", step, got, want)
	}
	return by
}

// kept holds an archive that the server keeps to its bytes.
func (w *watch) kept(digest string, want []byte) {
	w.shell.t.Helper()
	digits := strings.TrimPrefix(digest, "sha256:")
	got, err := os.ReadFile(filepath.Join(w.Data, "blobs", "blobs", "sha256", digits[:2], digits))
	if err != nil || !bytes.Equal(got, want) || sum(want) != digest {
		w.shell.t.Errorf("%s is kept as %d bytes (%v), and has %d, %s", digest, len(got), err, len(want), sum(want))
	}
}

// changed holds an event to the archives that it tells of, and to the files.
func (w *watch) changed(e client.Event, old, new []byte, files ...string) {
	w.shell.t.Helper()
	facts := map[string]string{}
	for _, f := range e.Evidence {
		facts[f.Label] = f.Value
	}
	for label, want := range map[string]string{"old digest": sum(old), "new digest": sum(new), "archive before": sum(old), "archive now": sum(new)} {
		if facts[label] != want {
			w.shell.t.Errorf("%s %s: %s is %s, want %s", e.Event, e.Version, label, facts[label], want)
		}
	}
	w.kept(facts["archive before"], old)
	w.kept(facts["archive now"], new)
	var got []string
	for _, f := range e.Files {
		got = append(got, f.Path+" "+f.Kind)
	}
	if !slices.Equal(got, files) {
		w.shell.t.Errorf("%s %s: files %q, want %q", e.Event, e.Version, got, files)
	}
	if same := facts["content before"] == facts["content now"]; same != (len(files) == 0) || facts["content now"] == "" {
		w.shell.t.Errorf("%s %s: content %q, then %q", e.Event, e.Version, facts["content before"], facts["content now"])
	}
	var leaf struct{ Fields map[string]string }
	w.run(&leaf, "log", "show", fmt.Sprint(e.LogIndex))
	if f := leaf.Fields; f["version"] != e.Version || f["observed"] != "changed" || f["tgz"] != sum(new) {
		w.shell.t.Errorf("%s %s: its leaf is %v", e.Event, e.Version, f)
	}
}

const role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: web}\nrules: [{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]\n"

// story is what a publisher does, and what is told of it.
func (w *watch) story(s *shelf) {
	t := w.shell.t
	began := time.Now().Truncate(time.Second)
	a, b, c := w.pack("1.0.0", nil), w.pack("1.1.0", nil), w.pack("1.2.0", nil)
	s.put("1.0.0", a)
	s.put("1.1.0", b)
	w.write("checkpoint", []byte(w.do(w.program, "log", "checkpoint", "-q")))
	w.do(w.program, "project", "create", "mirror", "--mirror", "up", "--public")
	w.do(w.program, append([]string{"upstream", "add", "up", "--keep", "all", "--mirror-project", "mirror"}, s.add...)...)
	w.upstream(time.Time{})
	got, _ := w.news()
	want := []string{"first-read info", "mirrored 1.0.0 info", "mirrored 1.1.0 info"}
	if w.first["0.1.0"] != nil { // from when it could not be read
		want = slices.Insert(want, 1, "mirrored 0.1.0 info")
	}
	if !slices.Equal(got, want) {
		t.Fatalf("first: %q, want %q", got, want)
	}
	w.expect("nothing new")
	s.put("1.2.0", c)
	w.expect("new", "mirrored 1.2.0 info", "new-version 1.2.0 info")
	w.seen(began)

	a2 := w.pack("1.0.0", map[string]string{"values.yaml": "replicas: 3\n"})
	s.put("1.0.0", a2)
	by := w.expect("replaced", "changed 1.0.0 high", "mirror-refused 1.0.0 high")
	w.changed(by["changed 1.0.0 high"], a, a2, "values.yaml changed")

	b2 := w.pack("1.1.0", map[string]string{"values.yaml": "replicas: 3\n", "templates/role.yaml": role})
	s.put("1.1.0", b2)
	by = w.expect("replaced with more rights", "changed 1.1.0 critical", "mirror-refused 1.1.0 high")
	w.changed(by["changed 1.1.0 critical"], b, b2, "templates/role.yaml added", "values.yaml changed")

	c2 := again(t, c)
	s.put("1.2.0", c2)
	by = w.expect("repacked", "repacked 1.2.0 low") // the mirror serves the same files
	w.changed(by["repacked 1.2.0 low"], c, c2)

	s.remove("1.2.0")
	w.expect("withdrawn", "vanished 1.2.0 medium")
	s.put("1.2.0", c2)
	w.expect("brought back", "returned 1.2.0 info")
	s.put("1.2.0", c2) // an OCI manifest of Helm has the time of the push in it
	w.expect("pushed again")
	w.mirrored()
	if out := w.do(w.program, "log", "consistency", "checkpoint", "--log-key", filepath.Join(w.Data, "log.vkey")); !strings.Contains(out, "pass") {
		t.Errorf("log consistency: %s", out)
	}
}

// seen holds what is known of each version to what was pushed, and to the leaf
// that says when it was first seen.
func (w *watch) seen(began time.Time) {
	t := w.shell.t
	var shown struct{ Versions []client.UpstreamVersion }
	w.run(&shown, "upstream", "show", "up", "--chart", "web")
	if len(shown.Versions) != len(w.first) {
		t.Errorf("%d versions, want %d", len(shown.Versions), len(w.first))
	}
	for _, v := range shown.Versions {
		digest := sum(w.first[v.Version])
		if !slices.Equal(v.Digests, []string{strings.TrimPrefix(digest, "sha256:")}) || v.Archive != digest {
			t.Errorf("%s: digests %q, archive %s, want %s", v.Version, v.Digests, v.Archive, digest)
		}
		if v.FirstSeen.Before(began) || v.FirstSeen.After(time.Now().Add(time.Second)) {
			t.Errorf("%s: first seen %s, added %s", v.Version, v.FirstSeen, began)
		}
		w.kept(v.Archive, w.first[v.Version])
		var leaf struct {
			Type   string
			Fields map[string]string
		}
		w.run(&leaf, "log", "show", fmt.Sprint(v.LogIndex))
		f := leaf.Fields
		if leaf.Type != "chartkeep/upstream/v1" || f["observed"] != "seen" || f["version"] != v.Version || f["tgz"] != digest || f["time"] != v.FirstSeen.UTC().Format(time.RFC3339) {
			t.Errorf("%s: its leaf is %s %v", v.Version, leaf.Type, f)
		}
	}
}

// mirrored: whatever the publisher did, Helm gets the first bytes of us, from
// both doors, as a chart and as a dependency.
func (w *watch) mirrored() {
	u, err := url.Parse(w.URL)
	if err != nil {
		w.shell.t.Fatal(err)
	}
	w.do(w.helm, "repo", "add", "ours", w.URL+"/mirror")
	for version, archive := range w.first {
		file := "web-" + version + ".tgz"
		os.Remove(filepath.Join(w.dir, file))
		w.do(w.helm, "pull", "ours/web", "--version", version)
		want(w.shell.t, "mirrored, "+version, w.read(file), archive)
		w.do(w.helm, "pull", "oci://"+u.Host+"/mirror/web", "--version", version, "--plain-http")
		want(w.shell.t, "mirrored, over OCI, "+version, w.read(file), archive)
	}
	w.write("parent/Chart.yaml", []byte("apiVersion: v2\nname: parent\nversion: 1.0.0\ndependencies:\n- name: web\n  version: ~1.1.0\n  repository: "+w.URL+"/mirror\n"))
	w.do(w.helm, "dependency", "update", "parent")
	want(w.shell.t, "dependency", w.read("parent/charts/web-1.1.0.tgz"), w.first["1.1.0"])
}
