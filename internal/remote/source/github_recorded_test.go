package source

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// recorded is one answer of api.github.com, as a client of it recorded it: the
// status, the headers, and the bytes of the body as they came.
type recorded struct {
	Request struct {
		Method, URI string
		Headers     map[string]string
	}
	Response struct {
		Status  struct{ Code int }
		Headers map[string]string
		Body    struct {
			String string
			Base64 string `json:"base64_string"`
		}
	}
}

func (r *recorded) bytes(t *testing.T) []byte {
	t.Helper()
	if r.Response.Body.Base64 == "" {
		return []byte(r.Response.Body.String)
	}
	b, err := base64.StdEncoding.DecodeString(r.Response.Body.Base64)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// text is the body, unpacked.
func (r *recorded) text(t *testing.T) []byte {
	t.Helper()
	b := r.bytes(t)
	if r.Response.Headers["Content-Encoding"] != "gzip" {
		return b
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err == nil {
		b, err = io.ReadAll(z)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// answers are answers of GitHub's API in the form in which they were recorded.
// The names are those of what was asked for.
type answers struct {
	files                func(t *testing.T, name string) []byte
	repository           string // with two releases
	unchanged            string // that was asked for with an ETag
	moved, to, movedURL  string
	archived, archivedTo string
	next                 string // page of a list
}

// bySynthetic are answers that were made by hand for these tests, so that they
// run where nothing recorded is at hand. What they alone show is not proven live.
var bySynthetic = answers{
	files: func(t *testing.T, name string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join("testdata", "github", "synthetic", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	},
	repository: "synthetic-owner/charts", unchanged: "synthetic-owner/charts",
	moved: "synthetic-owner/old-charts", to: "synthetic-heir/charts", movedURL: "https://api.github.com/repositories/1001",
	archived: "synthetic-owner/archive-me", archivedTo: "synthetic-owner/archived-charts",
	next: "https://api.github.com/repositories/1002/releases?page=2",
}

// recordings are answers of api.github.com, byte for byte.
var recordings = answers{
	files: func(t *testing.T, name string) []byte {
		t.Helper()
		return charttest.ReadFile(t, filepath.Join(charttest.Corpus(t, "github"), name))
	},
	repository: "sigmavirus24/github3.py", unchanged: "PyCQA/flake8/commits/stable/2.6",
	moved: "sigmavirus24/charade", to: "sv24-archive/charade", movedURL: "https://api.github.com/repositories/6895566",
	archived: "testgh3py/archive-me", archivedTo: "testgh3py/i-have-been-archived",
	next: "https://api.github.com/repositories/401025/releases?page=2",
}

// both runs a test with the synthetic answers, and with the recorded ones where
// they are at hand.
func both(t *testing.T, test func(t *testing.T, a *answers)) {
	t.Run("synthetic", func(t *testing.T) { test(t, &bySynthetic) })
	t.Run("recorded", func(t *testing.T) { test(t, &recordings) })
}

// of reads the answers of a file, by their URL.
func (a *answers) of(t *testing.T, file string) map[string]*recorded {
	t.Helper()
	var doc struct {
		Answers []*recorded `json:"http_interactions"`
	}
	if err := json.Unmarshal(a.files(t, file), &doc); err != nil {
		t.Fatal(err)
	}
	out := map[string]*recorded{}
	for _, a := range doc.Answers {
		out[a.Request.Method+" "+a.Request.URI] = a
	}
	return out
}

// replay is a reader that is led to recorded answers by a proxy, so that it
// asks https://api.github.com as it does in earnest. What was not recorded is
// not found. With notModified, that is the answer to a request with the ETag of
// a recorded one.
func replay(t *testing.T, answers map[string]*recorded, notModified *recorded) (s *Sources, asked func() []string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tests"}, DNSNames: []string{"api.github.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	list := make(chan string, 100)
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uri := "https://" + r.Host + r.URL.RequestURI()
		list <- uri
		a := answers["GET "+uri]
		if a == nil {
			http.NotFound(w, r)
			return
		}
		if etag := r.Header.Get("If-None-Match"); etag != "" && etag == a.Response.Headers["ETag"] && notModified != nil {
			a = notModified
		}
		for name, value := range a.Response.Headers {
			if name != "Transfer-Encoding" {
				w.Header().Set(name, value)
			}
		}
		w.WriteHeader(a.Response.Status.Code)
		_, _ = w.Write(a.bytes(t))
	})
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "api.github.com:443" {
			t.Errorf("the proxy was asked: %s %s", r.Method, r.Host)
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		_ = http.Serve(&once{conn: tls.Server(conn, conf)}, api) // ends with the connection
	}))
	t.Cleanup(proxy.Close)
	s = reader(t, Config{}, "  gh: {host: api.github.com, ca_file: ca.pem, proxy: '"+proxy.URL+"'}\n",
		map[string]string{"ca.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))})
	return s, func() (out []string) {
		for len(list) > 0 {
			out = append(out, <-list)
		}
		return out
	}
}

// once is a listener of one connection.
type once struct{ conn net.Conn }

func (l *once) Accept() (net.Conn, error) {
	if l.conn == nil {
		return nil, errors.New("no more")
	}
	c := l.conn
	l.conn = nil
	return c, nil
}

func (l *once) Close() error   { return nil }
func (l *once) Addr() net.Addr { return &net.TCPAddr{} }

// TestGitHubRecorded reads what api.github.com answered in January 2018, byte
// for byte: a repository, its releases, and nothing new.
func TestGitHubRecorded(t *testing.T) { both(t, readRecorded) }

func readRecorded(t *testing.T, a *answers) {
	answers := a.of(t, "Repository_releases.json")
	same := a.of(t, "Branch_latest_sha.json")["GET https://api.github.com/repos/"+a.unchanged]
	if same == nil || same.Response.Status.Code != http.StatusNotModified || same.Request.Headers["If-None-Match"] == "" {
		t.Fatalf("no answer that nothing is new: %+v", same)
	}
	s, asked := replay(t, answers, same)
	src := watch.Source{ID: 3, Kind: watch.SourceGitHub, URL: "https://github.com/" + a.repository, Credential: "gh"}
	f := poll(t, s, src, watch.Validators{})
	releases := "https://api.github.com/repos/" + a.repository + "/releases?per_page=100"
	list := answers["GET "+releases]
	var raw []map[string]any
	if err := json.Unmarshal(list.text(t), &raw); err != nil || len(raw) != 2 {
		t.Fatal(len(raw), err)
	}
	var want []string
	for _, r := range raw {
		said := func(name string) string { s, _ := r[name].(string); return s } // null is ""
		want = append(want, strings.Join([]string{
			fmt.Sprintf("release %.0f", r["id"]), strings.TrimPrefix(said("tag_name"), "v"), cmp.Or(said("name"), said("tag_name")),
			said("html_url"), said("published_at"), strings.ReplaceAll(said("body"), "\r\n", "\n"),
		}, "|"))
	}
	var got []string
	for _, n := range f.Notes {
		got = append(got, strings.Join([]string{n.Key, n.Version, n.Title, n.URL, n.Published.Format(time.RFC3339), n.Text}, "|"))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if f.Repository == nil || f.Repository.Archived || f.Repository.MovedTo != "" || f.Validators.ETag != list.Response.Headers["ETag"] || f.RetryAfter != 0 {
		t.Errorf("%+v %+v", f, f.Repository)
	}
	if calls := asked(); len(calls) != 2 || calls[1] != releases {
		t.Errorf("asked %q", calls)
	}
	if again := poll(t, s, src, f.Validators); !again.Unchanged || again.Bytes != 0 || again.Notes != nil {
		t.Errorf("again: %+v", again)
	}
	if calls := asked(); len(calls) != 2 {
		t.Errorf("again: asked %q", calls)
	}
}

// TestGitHubRecordedState reads a repository that was given to other people, by
// way of the redirect, and one as it was described when it was archived and
// renamed, which was the answer to the request to do so. Their releases were
// not recorded; those of another repository stand for them.
func TestGitHubRecordedState(t *testing.T) { both(t, readRecordedState) }

func readRecordedState(t *testing.T, a *answers) {
	releases := a.of(t, "Repository_releases.json")["GET https://api.github.com/repos/"+a.repository+"/releases?per_page=100"]
	moved := a.of(t, "Release_edit.json")
	archived := a.of(t, "Repository_archive_a_repository.json")["PATCH https://api.github.com/repos/"+a.archived]
	for name, tc := range map[string]struct {
		answers map[string]*recorded
		want    watch.RepositoryState
	}{
		a.moved:    {moved, watch.RepositoryState{MovedTo: a.to}},
		a.archived: {map[string]*recorded{"GET https://api.github.com/repos/" + a.archived: archived}, watch.RepositoryState{Archived: true, MovedTo: a.archivedTo}},
	} {
		tc.answers["GET https://api.github.com/repos/"+name+"/releases?per_page=100"] = releases
		s, asked := replay(t, tc.answers, nil)
		f := poll(t, s, watch.Source{Kind: watch.SourceGitHub, URL: "https://github.com/" + name, Credential: "gh"}, watch.Validators{})
		if f.Repository == nil || *f.Repository != tc.want || len(f.Notes) != 2 {
			t.Errorf("%s: %+v", name, f.Repository)
		}
		if got := asked(); slices.Contains(got, a.movedURL) != (name == a.moved) {
			t.Errorf("%s: asked %q", name, got)
		}
	}
}

// TestGitHubRecordedLink reads how a list of releases goes on, as it was
// answered in October 2019.
func TestGitHubRecordedLink(t *testing.T) { both(t, readRecordedLink) }

func readRecordedLink(t *testing.T, a *answers) {
	var doc struct {
		Response struct{ Headers map[string]any }
	}
	if err := json.Unmarshal(a.files(t, "hub4j-listReleases-mapping.json"), &doc); err != nil {
		t.Fatal(err)
	}
	link, _ := doc.Response.Headers["Link"].(string)
	next, err := nextPage(link, "https://api.github.com")
	if err != nil || next != a.next {
		t.Errorf("%q goes on at %q (%v)", link, next, err)
	}
}
