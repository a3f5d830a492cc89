package source

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// registryFake is a registry with one repository, charts/web, which can do what
// no good registry does.
type registryFake struct {
	*httptest.Server
	mu        sync.Mutex
	tags      map[string]string // manifest digest by tag
	blobs     map[string][]byte // manifests and archives by digest
	asked     []string
	pageSize  int
	noDigest  bool   // HEAD without Docker-Content-Digest
	challenge string // WWW-Authenticate of who has no token
	token     string // that is accepted
	limit     int    // manifests that may be fetched until 429; 0 for no limit
}

func newRegistry(t *testing.T) *registryFake {
	t.Helper()
	r := &registryFake{tags: map[string]string{}, blobs: map[string][]byte{}, pageSize: 1000}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *registryFake) host() string { return r.Listener.Addr().String() }
func (r *registryFake) url() string  { return "oci://" + r.host() + "/charts/web" }

func (r *registryFake) put(b []byte) string {
	d := digest.SHA256(b)
	r.blobs[d] = b
	return d
}

// push makes a tag point to a chart with this archive.
func (r *registryFake) push(tag, archive string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tags[tag] = r.put(fmt.Appendf(nil, `{"schemaVersion":2,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[{"mediaType":%q,"digest":%q,"size":%d}],"annotations":{"org.opencontainers.image.created":"2026-01-02T03:04:05Z","tag":%q}}`,
		configType, digest.SHA256([]byte("{}")), layerType, r.put([]byte(archive)), len(archive), tag))
}

func (r *registryFake) requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.asked
	r.asked = nil
	slices.Sort(out)
	return out
}

func (r *registryFake) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, q.Method+" "+q.URL.Path)
	if r.token != "" && q.Header.Get("Authorization") != r.token {
		w.Header().Set("WWW-Authenticate", r.challenge)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	rest, ok := strings.CutPrefix(q.URL.Path, "/v2/charts/web/")
	kind, name, _ := strings.Cut(rest, "/")
	switch {
	case !ok:
		http.NotFound(w, q)
	case kind == "tags":
		r.list(w, q)
	case kind == "manifests":
		d := name
		if t, ok := r.tags[name]; ok {
			d = t
		}
		b, ok := r.blobs[d]
		if !ok {
			http.NotFound(w, q)
			return
		}
		if q.Method == http.MethodGet && r.limit != 0 {
			if r.limit--; r.limit == 0 {
				r.limit = 1
				w.Header().Set("Retry-After", "60")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		if !r.noDigest {
			w.Header().Set("Docker-Content-Digest", d)
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		_, _ = w.Write(b)
	default:
		b, ok := r.blobs[name]
		if !ok {
			http.NotFound(w, q)
			return
		}
		_, _ = w.Write(b)
	}
}

func (r *registryFake) list(w http.ResponseWriter, q *http.Request) {
	all := slices.Sorted(maps.Keys(r.tags))
	from, _ := slices.BinarySearch(all, q.URL.Query().Get("last")+"\x00")
	if q.URL.Query().Get("last") == "" {
		from = 0
	}
	page := all[from:min(len(all), from+r.pageSize)]
	if from+r.pageSize < len(all) {
		w.Header().Set("Link", fmt.Sprintf(`</v2/charts/web/tags/list?n=%d&last=%s>; rel="next"`, r.pageSize, page[len(page)-1]))
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"name": "charts/web", "tags": page})
}

func hash6(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])[:6]
}

func TestOCI(t *testing.T) {
	r := newRegistry(t)
	r.pageSize = 2
	r.push("1.0.0", "one")
	r.push("1.1.0_build.5", "two")
	r.push("1.2.0-rc.1", "three")
	for _, tag := range []string{"latest", "v2.0.0", "1.0", "sha256-abc.sig"} {
		r.push(tag, "other")
	}
	r.tags["3.0.0"] = r.put([]byte(`{"schemaVersion":2,"manifests":[]}`)) // a list of images
	s := reader(t, Config{}, "", nil)
	src := watch.Source{Kind: watch.SourceOCI, URL: r.url()}
	f := poll(t, s, src, watch.Validators{})
	want := strings.Join([]string{
		"web 1.2.0-rc.1 " + hash6("three") + " " + r.url() + ":1.2.0-rc.1",
		"web 1.1.0+build.5 " + hash6("two") + " " + r.url() + ":1.1.0_build.5",
		"web 1.0.0 " + hash6("one") + " " + r.url() + ":1.0.0",
	}, "\n")
	if got := listing(f.Index); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if c := f.Index.Charts[0].Versions[0].Created; !c.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("created %s", c)
	}

	// Nothing new: the list and a HEAD for every version, whatever process asks.
	r.requests()
	s = reader(t, Config{}, "", nil)
	again := poll(t, s, src, f.Validators)
	if !again.Unchanged || again.Index != nil {
		t.Errorf("again: %+v", again)
	}
	for _, q := range r.requests() {
		if !strings.HasPrefix(q, "HEAD ") && q != "GET /v2/charts/web/tags/list" {
			t.Errorf("again: asked %s", q)
		}
	}

	// A tag that is moved: one manifest is read.
	r.push("1.0.0", "one, changed")
	moved := poll(t, s, src, again.Validators)
	if got, want := listing(moved.Index), strings.Replace(want, hash6("one"), hash6("one, changed"), 1); got != want {
		t.Errorf("moved:\n%s\nwant\n%s", got, want)
	}
	if got := slices.DeleteFunc(r.requests(), func(q string) bool { return !strings.HasPrefix(q, "GET /v2/charts/web/manifests/") }); len(got) != 1 {
		t.Errorf("moved: asked %v", got)
	}
	// One that is gone, and one that is new.
	r.mu.Lock()
	delete(r.tags, "1.2.0-rc.1")
	r.mu.Unlock()
	r.push("1.2.0", "four")
	next := poll(t, s, src, moved.Validators)
	if got := listing(next.Index); strings.Contains(got, "rc.1") || !strings.Contains(got, "web 1.2.0 "+hash6("four")) {
		t.Errorf("next:\n%s", got)
	}
	if next = poll(t, s, src, next.Validators); !next.Unchanged {
		t.Errorf("after that: %+v", next)
	}
	// A memory that is damaged costs requests and nothing else.
	if f = poll(t, s, src, watch.Validators{State: `{"tags":{"1.0.0":"AAAA","x":"?"}}`}); len(f.Index.Charts[0].Versions) != 3 {
		t.Errorf("damaged memory:\n%s", listing(f.Index))
	}
}

// With more tags than may be asked in one poll, all have their turn, and
// nothing that was known is forgotten meanwhile.
func TestOCIManyTags(t *testing.T) {
	r := newRegistry(t)
	for i := range 25 {
		r.push(fmt.Sprintf("1.0.%d", i), fmt.Sprint(i))
	}
	s := reader(t, Config{Requests: 10}, "", nil)
	src := watch.Source{Kind: watch.SourceOCI, URL: r.url()}
	var v watch.Validators
	without := func(f watch.Found) (n int) {
		for _, x := range f.Index.Charts[0].Versions {
			if x.Digest == "" {
				n++
			}
		}
		return n
	}
	for i, want := range []int{15, 5, 0} {
		f := poll(t, s, src, v)
		if got := without(f); got != want || f.Index.Len() != 25 {
			t.Errorf("poll %d: %d of %d without a digest, want %d", i, got, f.Index.Len(), want)
		}
		if i == 0 && f.Index.Charts[0].Versions[0].Digest == "" {
			t.Error("the newest version is not read first")
		}
		v = f.Validators
	}
	r.requests()
	r.push("1.0.3", "changed")
	found := false
	seen := map[string]bool{}
	for range 3 {
		f := poll(t, s, src, v)
		v = f.Validators
		n := 0
		for _, q := range r.requests() {
			if tag, ok := strings.CutPrefix(q, "HEAD /v2/charts/web/manifests/"); ok {
				seen[tag] = true
				n++
			}
		}
		if n != 10 {
			t.Errorf("%d tags were asked, want 10", n)
		}
		if !f.Unchanged {
			found = strings.Contains(listing(f.Index), "1.0.3 "+hash6("changed")) && without(f) == 0
		}
	}
	if !found || len(seen) != 25 {
		t.Errorf("the tag that was moved is found: %v; %d of 25 tags were asked", found, len(seen))
	}
	few := New(s.client, Config{Tags: 24})
	_, err := few.Poll(t.Context(), src, watch.Validators{})
	wants(t, err, problem.TooLarge, "more than 24 tags")
}

// A registry that wants to be left alone is; what it gave is kept.
func TestOCILimit(t *testing.T) {
	r := newRegistry(t)
	for i := range 20 {
		r.push(fmt.Sprintf("1.0.%d", i), fmt.Sprint(i))
	}
	r.limit = 6 // five manifests, then 429
	s := reader(t, Config{}, "", nil)
	src := watch.Source{Kind: watch.SourceOCI, URL: r.url()}
	f := poll(t, s, src, watch.Validators{})
	if f.RetryAfter != time.Minute || f.Index.Len() != 20 {
		t.Errorf("pause %s, %d versions", f.RetryAfter, f.Index.Len())
	}
	known := 0
	for _, v := range f.Index.Charts[0].Versions {
		if v.Digest != "" {
			known++
		}
	}
	if known != 5 {
		t.Errorf("%d digests are known, want 5", known)
	}
	r.mu.Lock()
	r.limit = 0
	r.mu.Unlock()
	if f = poll(t, s, src, f.Validators); strings.Contains(listing(f.Index), "  ") || f.RetryAfter != 0 {
		t.Errorf("later:\n%s", listing(f.Index))
	}
	r.mu.Lock()
	r.limit = 1
	r.mu.Unlock()
	f, err := s.Poll(t.Context(), src, watch.Validators{})
	wants(t, err, problem.Unavailable, "asked too often")
	if f.RetryAfter != time.Minute {
		t.Errorf("pause %s", f.RetryAfter)
	}
}

func TestOCIRefuses(t *testing.T) {
	r := newRegistry(t)
	r.push("1.0.0", "one")
	s := reader(t, Config{}, "", nil)
	src := watch.Source{Kind: watch.SourceOCI, URL: r.url()}
	fails := func(kind problem.Kind, words ...string) {
		t.Helper()
		_, err := s.Poll(t.Context(), src, watch.Validators{})
		wants(t, err, kind, words...)
	}
	r.noDigest = true
	fails(problem.Invalid, "is not understood")
	r.noDigest = false

	right := r.tags["1.0.0"]
	r.blobs[right] = bytes.Replace(r.blobs[right], []byte("2026"), []byte("2027"), 1)
	fails(problem.Disproven, "other bytes than those of "+right)
	r.tags["1.0.0"] = r.put([]byte(`{"config":{"mediaType":"` + configType + `"},"layers":[{"mediaType":"` + layerType + `","digest":"sha512:aa"}]}`))
	fails(problem.Unsupported, "is not a SHA-256")
	r.tags["1.0.0"] = r.put([]byte("{"))
	fails(problem.Invalid, "cannot be read")
	r.tags["1.0.0"] = r.put(make([]byte, maxManifest+1))
	fails(problem.TooLarge, "manifest of more than")

	src.URL = "oci://" + r.host() + "/charts/none"
	fails(problem.NotFound)
	for _, u := range []string{r.url() + ":1.0.0", "oci://" + r.host(), "oci://" + r.host() + "/UPPER", "https://" + r.host() + "/a", "oci://u:hunter2@" + r.host() + "/a"} {
		src.URL = u
		fails(problem.Invalid)
	}
	src.URL = "oci://169.254.169.254/a"
	fails(problem.Denied, "may not be dialled")

	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Link", `<http://127.0.0.1:1/v2/charts/web/tags/list?last=a>; rel="next"`)
		fmt.Fprint(w, `{"tags":["1.0.0"]}`)
	}))
	defer elsewhere.Close()
	src.URL = "oci://" + elsewhere.Listener.Addr().String() + "/charts/web"
	fails(problem.Invalid, "is not understood")
	loop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Link", `<`+q.URL.Path+`>; rel="next"`)
		fmt.Fprint(w, `{"tags":["latest"]}`)
	}))
	defer loop.Close()
	src.URL = "oci://" + loop.Listener.Addr().String() + "/charts/web"
	fails(problem.Invalid, "is not understood")
}

func TestOCIArchive(t *testing.T) {
	r, other := newRegistry(t), newRegistry(t)
	r.push("1.0.0", "the archive")
	other.push("1.0.0", "another")
	s := reader(t, Config{Archive: 100}, "", nil)
	read := func(url string) (string, error) {
		rc, err := s.Archive(t.Context(), watch.Source{Kind: watch.SourceIndex, URL: "http://" + r.host()}, url, watch.Validators{})
		if err != nil {
			return "", err
		}
		defer rc.Close()
		b, err := io.ReadAll(rc)
		return string(b), err
	}
	for url, want := range map[string]string{
		r.url() + ":1.0.0":                            "the archive",
		r.url() + "@" + r.tags["1.0.0"]:               "the archive",
		r.url() + ":9.9.9@" + r.tags["1.0.0"]:         "the archive",
		"oci://" + other.host() + "/charts/web:1.0.0": "another",
	} {
		if got, err := read(url); err != nil || got != want {
			t.Errorf("%s: %q %v", url, got, err)
		}
	}
	_, err := read(r.url() + ":2.0.0")
	wants(t, err, problem.NotFound)
	_, err = read(r.url())
	wants(t, err, problem.Invalid, "names no tag")
	r.push("2.0.0", strings.Repeat("x", 101))
	_, err = read(r.url() + ":2.0.0")
	wants(t, err, problem.TooLarge, "more than 100 bytes")
	r.tags["3.0.0"] = r.put([]byte(`{"config":{"mediaType":"application/vnd.oci.image.config.v1+json"}}`))
	_, err = read(r.url() + ":3.0.0")
	wants(t, err, problem.Invalid, "is no chart")
	for _, bytes := range []string{"the archivE", "short", "the archive and more"} {
		r.blobs[digest.SHA256([]byte("the archive"))] = []byte(bytes)
		_, err = read(r.url() + ":1.0.0")
		wants(t, err, problem.Disproven, "other bytes")
	}
}

// The token flow: who is asked for a token, and with what.
func TestTokens(t *testing.T) {
	r := newRegistry(t)
	r.push("1.0.0", "one")
	var got []string
	realm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		user, password, _ := q.BasicAuth()
		got = append(got, fmt.Sprintf("%s:%s %s", user, password, q.URL.RawQuery))
		fmt.Fprint(w, `{"access_token":"t0k","expires_in":300}`)
	}))
	defer realm.Close()
	realmHost := realm.Listener.Addr().String()
	r.challenge = fmt.Sprintf(`Bearer realm="%s/token?x=y",service="reg",scope="repository:charts/web:pull"`, realm.URL)
	r.token = "Bearer t0k"
	s := reader(t, Config{}, fmt.Sprintf(`
  allowed: {host: '%[1]s', username: bot, password_file: pw, realms: ['%[2]s']}
  without: {host: '%[1]s', username: bot, password_file: pw}
  token: {host: '%[1]s', token_file: tok}
  wrong: {host: '%[1]s', token_file: pw}
  bare: {host: '%[1]s'}
`, r.host(), realmHost), map[string]string{"pw": "hunter2", "tok": "t0k"})
	const query = "scope=repository%3Acharts%2Fweb%3Apull&service=reg&x=y"
	for _, tc := range []struct {
		credential, asked string
		kind              problem.Kind
		says              string
	}{
		{"", ": " + query, "", ""},
		{"bare", ": " + query, "", ""},
		{"allowed", "bot:hunter2 " + query, "", ""},
		{"without", "", problem.Denied, "realms: [" + realmHost + "]"},
		{"token", "", "", ""},
		{"wrong", "", problem.Denied, "does not accept credential wrong"},
	} {
		got = nil
		src := watch.Source{Kind: watch.SourceOCI, URL: r.url(), Credential: tc.credential}
		_, err := s.Poll(t.Context(), src, watch.Validators{})
		switch {
		case tc.kind != "":
			wants(t, err, tc.kind, tc.says)
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells the secret: %v", err)
			}
		case err != nil:
			t.Errorf("%q: %v", tc.credential, err)
		}
		if strings.Join(got, ",") != tc.asked {
			t.Errorf("%q: the realm was asked %q, want %q", tc.credential, got, tc.asked)
		}
	}
	// A token is used until it is refused, and then made anew.
	src := watch.Source{Kind: watch.SourceOCI, URL: r.url(), Credential: "allowed"}
	got = nil
	poll(t, s, src, watch.Validators{})
	if len(got) != 0 {
		t.Errorf("a token that is known was asked for: %q", got)
	}
	s.tokens[tokenKey{"allowed", r.host(), "charts/web"}] = "Bearer expired"
	poll(t, s, src, watch.Validators{})
	if len(got) != 1 {
		t.Errorf("the realm was asked %d times, want once", len(got))
	}
	// No token of one registry goes to another host.
	repo, err := s.repository("allowed", r.host(), "charts/web")
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, realm.URL, nil)
	_, err = repo.client.Do(req)
	wants(t, err, problem.Denied, "leads on to "+realmHost)
	// An archive elsewhere is asked for without the account.
	got = nil
	other := newRegistry(t)
	other.push("1.0.0", "one")
	other.token, other.challenge = r.token, r.challenge
	rc, err := s.Archive(t.Context(), src, "oci://"+other.host()+"/charts/web:1.0.0", watch.Validators{})
	if err != nil {
		t.Fatal(err)
	}
	rc.Close()
	if want := ": " + query; strings.Join(got, ",") != want {
		t.Errorf("elsewhere: the realm was asked %q, want %q", got, want)
	}
}

func TestOddChallenges(t *testing.T) {
	r := newRegistry(t)
	r.push("1.0.0", "one")
	r.token = "Bearer t0k"
	odd := newSite(t)
	odd.text("/none", "{}", true)
	odd.text("/html", "<html>", true)
	odd.text("/breaks", `{"token":"a\r\nb"}`, true)
	odd.page("/loop", func(w http.ResponseWriter, q *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	s := reader(t, Config{}, "  pw: {host: '"+r.host()+"', username: bot, password_file: pw}\n", map[string]string{"pw": "x"})
	for _, tc := range []struct {
		challenge string
		kind      problem.Kind
		says      string
	}{
		{"", problem.Denied, "wants a credential"},
		{"Negotiate", problem.Denied, "wants a credential"},
		{"Basic realm=x", problem.Denied, "wants a credential"},
		{"Bearer", problem.Invalid, "no realm"},
		{`Bearer realm="%zz"`, problem.Invalid, "no realm"},
		{`Bearer realm="ftp://127.0.0.1/"`, problem.Invalid, "not a URL of http"},
		{`Bearer realm="http://169.254.169.254/latest/meta-data"`, problem.Denied, "may not be dialled"},
		{`Bearer realm="` + odd.URL + `/none"`, problem.Invalid, "gives no token"},
		{`Bearer realm="` + odd.URL + `/html"`, problem.Invalid, "gives no token"},
		{`Bearer realm="` + odd.URL + `/breaks"`, problem.Invalid, "cannot be sent"},
		{`Bearer realm="` + odd.URL + `/loop"`, problem.Denied, "wants a credential"},
		{`Bearer realm="` + odd.URL + `/404"`, problem.NotFound, ""},
	} {
		r.challenge = tc.challenge
		_, err := s.Poll(t.Context(), watch.Source{Kind: watch.SourceOCI, URL: r.url()}, watch.Validators{})
		if err == nil {
			t.Errorf("%s: is answered", tc.challenge)
			continue
		}
		wants(t, err, tc.kind, tc.says)
	}
	// Basic, to the registry itself.
	r.challenge, r.token = `Basic realm="x"`, "Basic Ym90Ong="
	poll(t, s, watch.Source{Kind: watch.SourceOCI, URL: r.url(), Credential: "pw"}, watch.Validators{})
}

func TestParameters(t *testing.T) {
	for in, want := range map[string]string{
		`realm="https://a/b?c=d,e", service=reg ,scope="x \"y\""`: `realm=https://a/b?c=d,e;scope=x "y";service=reg`,
		`realm=a,realm=b`: "realm=a",
		`REALM = "a"`:     "realm=a",
		`realm="open`:     "realm=open",
		`realm="a\`:       `realm=a\`,
		`nothing`:         "",
		`,,, `:            "",
	} {
		p := parameters(in)
		var out []string
		for _, k := range slices.Sorted(maps.Keys(p)) {
			out = append(out, k+"="+p[k])
		}
		if got := strings.Join(out, ";"); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func FuzzParameters(f *testing.F) {
	f.Add(`realm="https://a/b?c=d,e", service=reg ,scope="x \"y\""`)
	f.Add("a=\\\",b=\"")
	f.Fuzz(func(t *testing.T, s string) {
		if p := parameters(s); len(p) > 32 {
			t.Fatal(len(p))
		}
	})
}

func FuzzMemory(f *testing.F) {
	m := memory{next: "1.0.0", tags: map[string]pointed{"1.0.0": {created: 5}}}
	f.Add(m.encode())
	f.Add(`{"tags":{"a":"AAAA"}}`)
	f.Fuzz(func(t *testing.T, s string) {
		m := decodeMemory(s)
		if again := decodeMemory(m.encode()); !maps.Equal(again.tags, m.tags) {
			t.Fatalf("%v became %v", m, again)
		}
	})
}
