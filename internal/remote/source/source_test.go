package source

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// reader makes Sources that may reach this machine. credentials is the YAML
// below that key; $DIR in it is the folder of files.
func reader(t *testing.T, c Config, credentials string, files map[string]string) *Sources {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "credentials.yaml")
	if err := os.WriteFile(path, []byte("credentials:\n"+credentials), 0o600); err != nil {
		t.Fatal(err)
	}
	creds, err := remote.LoadCredentials(path)
	if err != nil {
		t.Fatal(err)
	}
	client := remote.New(remote.Config{Credentials: creds, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(client.Close)
	return New(client, c)
}

// site is a server whose pages a test may change, and that counts requests.
type site struct {
	*httptest.Server
	mu    sync.Mutex
	pages map[string]http.HandlerFunc // by path
	asked []string                    // method, path and query
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{pages: map[string]http.HandlerFunc{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI())
		page := s.pages[r.URL.Path]
		s.mu.Unlock()
		if page == nil {
			http.NotFound(w, r)
			return
		}
		page(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) host() string { return s.Listener.Addr().String() }

func (s *site) page(path string, h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages[path] = h
}

// text serves a text with an ETag made of it, unless bare.
func (s *site) text(path, text string, bare bool) {
	s.page(path, func(w http.ResponseWriter, r *http.Request) {
		etag := fmt.Sprintf("%q", fmt.Sprintf("%d-%.8x", len(text), text))
		if !bare {
			w.Header().Set("ETag", etag)
			if r.Header.Get("If-None-Match") == etag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
		}
		fmt.Fprint(w, text)
	})
}

// requests returns what was asked since the last call.
func (s *site) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.asked
	s.asked = nil
	return out
}

func poll(t *testing.T, s *Sources, src watch.Source, v watch.Validators) watch.Found {
	t.Helper()
	f, err := s.Poll(t.Context(), src, v)
	if err != nil {
		t.Fatalf("poll %s: %v", src.URL, err)
	}
	return f
}

// wants checks that an error is a problem of a kind whose text has all words.
func wants(t *testing.T, err error, kind problem.Kind, words ...string) {
	t.Helper()
	p, ok := problem.As(err)
	if !ok {
		t.Fatalf("no problem: %v", err)
	}
	if p.Kind != kind {
		t.Errorf("kind %s, want %s: %v", p.Kind, kind, err)
	}
	for _, w := range words {
		if !strings.Contains(p.Error()+" "+p.Try, w) {
			t.Errorf("%q is not in %q, try %q", w, p.Error(), p.Try)
		}
	}
}

// listing is an index in short: chart version digest url, by line.
func listing(x *upstream.Index) string {
	var out []string
	for _, c := range x.Charts {
		for _, v := range c.Versions {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %.6s %s %s", c.Name, v.Version, v.Digest, strings.Join(v.URLs, ","), v.Fault)))
		}
	}
	return strings.Join(out, "\n")
}

const index1 = `apiVersion: v1
entries:
  web:
  - name: web
    version: 1.0.0
    digest: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    urls:
    - web-1.0.0.tgz
`

func TestIndex(t *testing.T) {
	h := newSite(t)
	s := reader(t, Config{}, "", nil)
	for _, bare := range []bool{false, true} {
		h.text("/charts/index.yaml", index1, bare)
		for _, url := range []string{h.URL + "/charts", h.URL + "/charts/", h.URL + "/charts/index.yaml"} {
			src := watch.Source{Kind: watch.SourceIndex, URL: url}
			f := poll(t, s, src, watch.Validators{})
			if got, want := listing(f.Index), "web 1.0.0 aaaaaa "+h.URL+"/charts/web-1.0.0.tgz"; got != want {
				t.Errorf("%s: %s, want %s", url, got, want)
			}
			if f.Bytes != int64(len(index1)) || f.MovedTo != "" || f.Unchanged || (f.Validators.ETag == "") != bare {
				t.Errorf("%s: %+v", url, f)
			}
			h.requests()
			again := poll(t, s, src, f.Validators)
			if !again.Unchanged || again.Index != nil || again.Validators != f.Validators {
				t.Errorf("%s again: %+v", url, again)
			}
			if got := h.requests(); !slices.Equal(got, []string{"GET /charts/index.yaml"}) {
				t.Errorf("%s again: asked %v", url, got)
			}
			if !bare && again.Bytes != 0 {
				t.Errorf("%d bytes for nothing new", again.Bytes)
			}
		}
	}
	src := watch.Source{Kind: watch.SourceIndex, URL: h.URL + "/charts"}
	f := poll(t, s, src, watch.Validators{})
	h.text("/charts/index.yaml", strings.Replace(index1, "1.0.0", "1.0.1", 2), true)
	if f = poll(t, s, src, f.Validators); f.Unchanged || !strings.Contains(listing(f.Index), "web 1.0.1") {
		t.Errorf("changed: %+v", f)
	}
	h.text("/charts/index.yaml", "<html>login", true)
	f, err := s.Poll(t.Context(), src, f.Validators)
	wants(t, err, problem.Invalid, "HTML", "url "+h.URL)
	if f.Index != nil || f.Unchanged {
		t.Errorf("%+v", f)
	}
	small := New(s.client, Config{Index: upstream.Limits{Bytes: 10}})
	_, err = small.Poll(t.Context(), src, watch.Validators{})
	wants(t, err, problem.TooLarge, "more than 10 bytes")
	h.page("/charts/index.yaml", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "90")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	f, err = s.Poll(t.Context(), src, watch.Validators{})
	wants(t, err, problem.Unavailable, "503")
	if f.RetryAfter != 90*time.Second {
		t.Errorf("pause of %s", f.RetryAfter)
	}
}

func TestIndexMoves(t *testing.T) {
	h := newSite(t)
	h.text("/new/index.yaml", index1, false)
	h.page("/old/index.yaml", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/new/index.yaml", http.StatusMovedPermanently)
	})
	h.page("/for-now/index.yaml", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/new/index.yaml?signature=hunter2", http.StatusFound)
	})
	h.page("/signed/index.yaml", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/new/index.yaml?signature=hunter2", http.StatusPermanentRedirect)
	})
	s := reader(t, Config{}, "", nil)
	for path, moved := range map[string]string{"/old": h.URL + "/new", "/for-now": "", "/signed": h.URL + "/new", "/new": ""} {
		src := watch.Source{Kind: watch.SourceIndex, URL: h.URL + path}
		f := poll(t, s, src, watch.Validators{})
		if f.MovedTo != moved {
			t.Errorf("%s moved to %q, want %q", path, f.MovedTo, moved)
		}
		// Helm's rule: relative to where the repository is configured to be.
		if got, want := f.Index.Charts[0].Versions[0].URLs[0], h.URL+path+"/web-1.0.0.tgz"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if again := poll(t, s, src, f.Validators); !again.Unchanged || again.MovedTo != moved {
			t.Errorf("%s again: %+v", path, again)
		}
	}
}

func TestAbsolute(t *testing.T) {
	for _, tc := range []struct{ base, url, want string }{
		{"https://h.example/charts", "a.tgz", "https://h.example/charts/a.tgz"},
		{"https://h.example/charts/", "a.tgz", "https://h.example/charts/a.tgz"},
		{"https://h.example/charts/index.yaml", "a.tgz", "https://h.example/charts/a.tgz"},
		{"https://h.example/index.yaml", "a.tgz", "https://h.example/a.tgz"},
		{"https://h.example", "charts/a.tgz", "https://h.example/charts/a.tgz"},
		{"https://h.example/charts", "/a.tgz", "https://h.example/a.tgz"},
		{"https://h.example/charts", "../a.tgz", "https://h.example/a.tgz"},
		{"https://h.example/charts", "//o.example/a.tgz", "https://o.example/a.tgz"},
		{"https://h.example/charts?v=2", "a.tgz", "https://h.example/charts/a.tgz?v=2"},
		{"https://h.example/a%2Fb", "a.tgz", "https://h.example/a%2Fb/a.tgz"},
		{"https://h.example/charts", "https://o.example/a+b.tgz?x=y", "https://o.example/a+b.tgz?x=y"},
		{"https://h.example/charts", "http://o.example/a.tgz", "http://o.example/a.tgz"},
		{"https://h.example/charts", "oci://o.example/a:1.0.0", "oci://o.example/a:1.0.0"},
		{"https://h.example/charts", "https://user:hunter2@o.example/a.tgz", "https://o.example/a.tgz"},
		{"https://h.example/charts", "https://o.example/@a/a.tgz", "https://o.example/@a/a.tgz"},
		{"https://h.example/charts", "%zz", "%zz"},
	} {
		base, _, err := indexURL(tc.base)
		if err != nil {
			t.Fatal(err)
		}
		x := upstream.Index{Charts: []upstream.Chart{{Versions: []upstream.Version{{URLs: []string{tc.url}}}}}}
		absolute(&x, base)
		if got := x.Charts[0].Versions[0].URLs[0]; got != tc.want {
			t.Errorf("%s from %s is %s, want %s", tc.url, tc.base, got, tc.want)
		}
	}
}

func TestArchive(t *testing.T) {
	h, other := newSite(t), newSite(t)
	var got []string
	serve := func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"), r.Header.Get("Accept-Encoding"))
		w.Header().Set("Content-Encoding", "gzip") // as some servers say of every .tgz
		fmt.Fprint(w, "archive")
	}
	h.page("/a.tgz", serve)
	other.page("/a.tgz", serve)
	h.page("/large.tgz", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(make([]byte, 200)) })
	h.page("/cut.tgz", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "short")
	})
	s := reader(t, Config{Archive: 100}, "  c: {host: '"+h.host()+"', token_file: tok}\n", map[string]string{"tok": "hunter2"})
	src := watch.Source{Kind: watch.SourceIndex, URL: h.URL, Credential: "c"}
	read := func(url string) (string, error) {
		r, err := s.Archive(t.Context(), src, url, watch.Validators{})
		if err != nil {
			return "", err
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		return string(b), err
	}
	for _, u := range []string{h.URL, other.URL} {
		if b, err := read(u + "/a.tgz"); err != nil || b != "archive" {
			t.Errorf("%q %v", b, err)
		}
	}
	if want := []string{"Bearer hunter2", "identity", "", "identity"}; !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
	_, err := read(h.URL + "/large.tgz")
	wants(t, err, problem.TooLarge)
	_, err = read(h.URL + "/cut.tgz")
	wants(t, err, problem.Unavailable, "ended in the middle")
	_, err = read(h.URL + "/none.tgz")
	wants(t, err, problem.NotFound)
	_, err = read("http://169.254.169.254/a.tgz")
	wants(t, err, problem.Denied, "may not be dialled")
	_, err = read("file:///etc/passwd")
	wants(t, err, problem.Invalid)
}

func TestCredentialOfAnotherHost(t *testing.T) {
	h := newSite(t)
	s := reader(t, Config{}, "  c: {host: charts.example.com, token_env: X}\n", nil)
	for kind, url := range map[watch.SourceKind]string{
		watch.SourceIndex: h.URL, watch.SourceOCI: "oci://" + h.host() + "/a", watch.SourceGitHub: h.URL + "/o/r",
		watch.SourceFeed: h.URL, watch.SourceChangelog: h.URL, watch.SourceArtifactHub: h.URL + "/packages/helm/r/n",
	} {
		_, err := s.Poll(t.Context(), watch.Source{Kind: kind, URL: url, Credential: "c"}, watch.Validators{})
		wants(t, err, problem.Denied, "credential c is bound to charts.example.com")
		_, err = s.Poll(t.Context(), watch.Source{Kind: kind, URL: url, Credential: "nobody"}, watch.Validators{})
		wants(t, err, problem.Invalid, "no credential named")
	}
	if got := h.requests(); len(got) != 0 {
		t.Errorf("asked %v", got)
	}
	_, err := s.Poll(t.Context(), watch.Source{Kind: "git", URL: h.URL}, watch.Validators{})
	wants(t, err, problem.Unsupported)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Poll(ctx, watch.Source{Kind: watch.SourceIndex, URL: h.URL}, watch.Validators{}); err == nil {
		t.Error("a poll that was cancelled succeeds")
	}
}

func TestChangelog(t *testing.T) {
	h := newSite(t)
	const text = "# Changelog\n## [Unreleased]\n- x\n## [1.1.0] - 2026-01-31\n- a\n## other-2.0.0\n- b\n## 1.0.0\nfirst\n## 1.0.0\nagain\n"
	h.text("/CHANGELOG.md", text, false)
	s := reader(t, Config{}, "", nil)
	src := watch.Source{ID: 7, Kind: watch.SourceChangelog, URL: h.URL + "/CHANGELOG.md", Chart: "web"}
	f := poll(t, s, src, watch.Validators{})
	var got []string
	for _, n := range f.Notes {
		got = append(got, fmt.Sprintf("%s|%s|%s|%s|%s|%q", n.Key, n.Chart, n.Version, n.Title, n.Published.Format(time.DateOnly), n.Text))
		if n.SourceID != 7 || n.URL != src.URL || !strings.HasPrefix(n.Digest, "sha256:") {
			t.Errorf("%+v", n)
		}
	}
	want := []string{
		`web 1.1.0|web|1.1.0|[1.1.0] - 2026-01-31|2026-01-31|"## [1.1.0] - 2026-01-31\n- a"`,
		`other 2.0.0|other|2.0.0|other-2.0.0|0001-01-01|"## other-2.0.0\n- b"`,
		`web 1.0.0 #2|web|1.0.0|1.0.0|0001-01-01|"## 1.0.0\nfirst"`,
		`web 1.0.0|web|1.0.0|1.0.0|0001-01-01|"## 1.0.0\nagain"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if f = poll(t, s, src, f.Validators); !f.Unchanged || f.Notes != nil {
		t.Errorf("again: %+v", f)
	}
	h.text("/CHANGELOG.md", "<!DOCTYPE html><p>", false)
	_, err := s.Poll(t.Context(), src, watch.Validators{})
	wants(t, err, problem.Invalid, "page of HTML", "raw.githubusercontent.com")
}

func TestNote(t *testing.T) {
	n := note(watch.Note{Title: " a\x1b[31m\n b ", Text: "x\x00y\xff\r\nz", URL: "https://u:p@h.example/x"})
	if n.Title != "a[31m b" || n.Text != "xy\uFFFD\nz" || n.URL != "https://h.example/x" {
		t.Errorf("%+v", n)
	}
	if n = note(watch.Note{Text: strings.Repeat("é", maxText), URL: "javascript:alert(1)"}); len(n.Text) > maxText+10 || n.URL != "" {
		t.Errorf("%d bytes, URL %q", len(n.Text), n.URL)
	}
}
