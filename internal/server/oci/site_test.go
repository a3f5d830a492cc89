package oci

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/server"
)

// site is the door behind package server on a loopback port.
type site struct {
	t    testing.TB
	fake *fake
	url  string // with the context path, if any
	auth string // sent with every request that sets none
}

func newSite(t testing.TB) *site { return newSiteAt(t, "") }

func newSiteAt(t testing.TB, contextPath string) *site {
	t.Helper()
	f := newFake()
	cfg := server.Config{Authenticator: f}
	door := New(f)
	var h http.Handler
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	t.Cleanup(ts.Close)
	if contextPath != "" {
		u, err := url.Parse(ts.URL + contextPath)
		if err != nil {
			t.Fatal(err)
		}
		cfg.External = u
	}
	h = server.New(cfg, []server.Route{{Prefix: "v2", Door: audit.DoorOCI, Serve: door.Serve, WriteError: WriteError}})
	return &site{t: t, fake: f, url: ts.URL + contextPath, auth: basic("ci", "secret")}
}

func (s *site) host() string { return strings.TrimPrefix(s.url, "http://") }

func basic(name, password string) string {
	r, _ := http.NewRequest(http.MethodGet, "/", nil)
	r.SetBasicAuth(name, password)
	return r.Header.Get("Authorization")
}

// answer is a whole answer.
type answer struct {
	*http.Response
	body []byte
	err  error // of reading the body
}

func (a *answer) code() string {
	var e struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(a.body, &e) != nil || len(e.Errors) != 1 {
		return ""
	}
	return e.Errors[0].Code
}

// do sends a request; header is pairs of names and values. A path that is a URL
// is taken as it is.
func (s *site) do(method, path string, body any, header ...string) *answer {
	s.t.Helper()
	var src io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		src = strings.NewReader(b)
	case []byte:
		src = bytes.NewReader(b)
	case io.Reader:
		src = b
	}
	if !strings.HasPrefix(path, "http://") {
		path = s.url + path
	}
	r, err := http.NewRequest(method, path, src)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.auth != "" {
		r.Header.Set("Authorization", s.auth)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i+1] == "" {
			r.Header.Del(header[i])
		} else {
			r.Header.Add(header[i], header[i+1])
		}
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	a := &answer{Response: resp}
	a.body, a.err = io.ReadAll(resp.Body)
	return a
}

// want fails unless the answer has a status.
func (a *answer) want(t testing.TB, status int) *answer {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("%s %s: status %d, want %d: %s", a.Request.Method, a.Request.URL, a.StatusCode, status, a.body)
	}
	return a
}

// wantCode fails unless the answer is an error with a status and a code.
func (a *answer) wantCode(t testing.TB, status int, code string) *answer {
	t.Helper()
	a.want(t, status)
	if got := a.code(); a.Request.Method != http.MethodHead && got != code {
		t.Errorf("%s %s: code %q, want %q: %s", a.Request.Method, a.Request.URL, got, code, a.body)
	}
	return a
}

// wantHeader fails unless a header has a value; "" means that it is not there.
func (a *answer) wantHeader(t testing.TB, pairs ...string) *answer {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if got := strings.Join(a.Header.Values(pairs[i]), "|"); got != pairs[i+1] {
			t.Errorf("%s %s: %s is %q, want %q", a.Request.Method, a.Request.URL, pairs[i], got, pairs[i+1])
		}
	}
	return a
}

// push puts a blob into a repository.
func (s *site) push(repo string, b []byte, like string) (digest string) {
	s.t.Helper()
	digest = digestOf(like, b)
	s.do(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+digest, b).want(s.t, http.StatusCreated)
	return digest
}

// image puts a manifest with one layer under a tag.
func (s *site) image(repo, tag, layer string) (digest string, body []byte) {
	s.t.Helper()
	config := s.push(repo, []byte("{}"), "")
	l := s.push(repo, []byte(layer), "")
	body = manifestOf(config, l, "")
	a := s.do(http.MethodPut, "/v2/"+repo+"/manifests/"+tag, body, "Content-Type", typeManifest).want(s.t, http.StatusCreated)
	return a.Header.Get("Docker-Content-Digest"), body
}

func manifestOf(config, layer, subject string) []byte {
	m := map[string]any{
		"schemaVersion": 2,
		"mediaType":     typeManifest,
		"config":        map[string]any{"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": config, "size": 2},
		"layers":        []any{map[string]any{"mediaType": "application/octet-stream", "digest": layer, "size": 1}},
	}
	if subject != "" {
		m["subject"] = map[string]any{"mediaType": typeManifest, "digest": subject, "size": 1}
		m["artifactType"] = "application/vnd.example.sig+json"
		m["annotations"] = map[string]string{"org.example": "yes"}
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}
