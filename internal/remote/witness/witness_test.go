package witness_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/remote/witness"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// asked serves one handler, and returns a client that may go there with a
// credential "reader" for its host.
func asked(t *testing.T, h http.HandlerFunc) (*witness.Client, string) {
	t.Helper()
	ts := httptest.NewServer(h)
	t.Cleanup(ts.Close)
	dir := t.TempDir()
	file := filepath.Join(dir, "credentials.yaml")
	text := fmt.Sprintf("credentials:\n  reader: {host: %q, token_file: token}\n", ts.URL)
	for name, content := range map[string]string{file: text, filepath.Join(dir, "token"): "ckt_reader\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	credentials, err := remote.LoadCredentials(file)
	if err != nil {
		t.Fatal(err)
	}
	out := remote.New(remote.Config{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Credentials: credentials})
	t.Cleanup(out.Close)
	return witness.New(out, credentials), ts.URL
}

var request = tlog.WitnessRequest{Old: 3, Proof: []tlog.Hash{{1}}, Checkpoint: []byte("the note\n")}

func TestAddCheckpoint(t *testing.T) {
	const lines = "— w AAAAAAAA\n"
	for _, test := range []struct {
		name                string
		status              int
		mediaType, body     string
		header              string // Retry-After
		want                tlog.WitnessAnswer
		wantErr, wantReason string
	}{
		{name: "cosigned", status: 200, body: lines, want: tlog.WitnessAnswer{Status: 200, Lines: []byte(lines)}},
		{name: "a size", status: 409, mediaType: "text/x.tlog.size", body: "7\n", want: tlog.WitnessAnswer{Status: 409, Size: 7}},
		{name: "a conflict of somebody else", status: 409, mediaType: "text/html", body: "7\n", wantErr: "remote-answer"},
		{name: "no size", status: 409, mediaType: "text/x.tlog.size", body: "seven\n", wantErr: "witness-size"},
		{name: "a size without end", status: 409, mediaType: "text/x.tlog.size", body: strings.Repeat("7", 100000) + "\n", wantErr: "witness-size"},
		{name: "a reason", status: 403, body: "leaf 7\x1b[2J: second\nmore\n", want: tlog.WitnessAnswer{Status: 403, Reason: "leaf 7[2J: second"}},
		{name: "a page", status: 502, body: strings.Repeat("<html>", 100000), want: tlog.WitnessAnswer{Status: 502, Reason: strings.Repeat("<html>", 50)}},
		{name: "later", status: 503, header: "7", want: tlog.WitnessAnswer{Status: 503, Again: 7 * time.Second}},
		{name: "not there", status: 404, want: tlog.WitnessAnswer{Status: 404}},
	} {
		c, url := asked(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if r.Method != "POST" || r.URL.Path != "/sub/add-checkpoint" || !bytes.Equal(body, request.Marshal()) || r.Header.Get("Authorization") != "Bearer ckt_reader" {
				t.Errorf("%s: asked %s %s with %q: %q", test.name, r.Method, r.URL, r.Header.Get("Authorization"), body)
			}
			if test.mediaType != "" {
				w.Header().Set("Content-Type", test.mediaType)
			}
			if test.header != "" {
				w.Header().Set("Retry-After", test.header)
			}
			w.WriteHeader(test.status)
			io.WriteString(w, test.body)
		})
		got, err := c.AddCheckpoint(t.Context(), url+"/sub/", request)
		if test.wantErr != "" {
			if p, ok := problem.As(err); !ok || p.Rule != test.wantErr {
				t.Errorf("%s: %+v, %v", test.name, got, err)
			}
			continue
		}
		if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", test.want) {
			t.Errorf("%s: %+v, %v, want %+v", test.name, got, err, test.want)
		}
	}
}

// TestHugeAnswers: more than the limit is not read, and not taken for less.
func TestHugeAnswers(t *testing.T) {
	c, url := asked(t, func(w http.ResponseWriter, r *http.Request) {
		for range 10000 {
			if _, err := io.WriteString(w, strings.Repeat("— w AAAAAAAA\n", 100)); err != nil {
				return
			}
		}
	})
	got, err := c.AddCheckpoint(t.Context(), url, request)
	if err != nil || len(got.Lines) != tlog.MaxCosignatures+1 {
		t.Errorf("%d bytes, %v", len(got.Lines), err)
	}
	if _, err := tlog.ReadCosignature(tlog.Checkpoint{Note: []byte("x\n\n")}, got.Lines, nil); problem.KindOf(err) != problem.Invalid {
		t.Errorf("too long an answer is taken: %v", err)
	}
}

func TestSlowAnswers(t *testing.T) {
	hold := make(chan struct{})
	c, url := asked(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		<-hold
	})
	defer close(hold)
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if got, err := c.AddCheckpoint(ctx, url, request); err == nil {
		t.Errorf("%+v", got)
	}
}

// TestRedirects: what was sent is for one address. The credential's host and
// addresses that may not be dialled stay those of package remote.
func TestRedirects(t *testing.T) {
	for _, code := range []int{301, 302, 303} {
		c, url := asked(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				io.WriteString(w, "— w AAAAAAAA\n")
				return
			}
			http.Redirect(w, r, "/elsewhere", code)
		})
		if got, err := c.AddCheckpoint(t.Context(), url, request); err == nil {
			t.Errorf("status %d: %+v", code, got)
		}
	}
	c, _ := asked(t, func(http.ResponseWriter, *http.Request) {})
	for _, url := range []string{"ftp://x", "http://169.254.169.254", "http://10.0.0.1", "https://user:pw@example.com", "::", ""} {
		if got, err := c.AddCheckpoint(t.Context(), url, request); err == nil {
			t.Errorf("%s: %+v", url, got)
		}
	}
}

func TestEntries(t *testing.T) {
	var all [][]byte
	for i := range 256 {
		all = append(all, fmt.Appendf(nil, "entry %d", i))
	}
	bundle := func(entries [][]byte) []byte {
		b, err := tlog.EntryBundle(entries)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	files := map[string][]byte{
		"/log/tile/entries/000": bundle(all), "/log/tile/entries/001.p/7": bundle(all[:7]), "/log/tile/entries/002.p/7": bundle(all[:6]),
		"/log/tile/entries/003.p/7": []byte("junk"), "/log/tile/entries/004.p/7": bundle(all[:9]),
	}
	c, url := asked(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer ckt_reader" {
			t.Errorf("%s: without the token", r.URL)
		}
		b, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(b)
	})
	for _, test := range []struct {
		n     int64
		width int
		ok    bool
	}{
		{0, 256, true}, {0, 100, true /* of the full one */}, {1, 7, true}, {2, 7, false}, {3, 7, false}, {4, 7, true /* more than was asked for */}, {5, 7, false}, {5, 256, false},
	} {
		got, err := c.Entries(t.Context(), url+"/log/", test.n, test.width)
		if (err == nil) != test.ok || test.ok && (len(got) != test.width || string(got[test.width-1]) != fmt.Sprintf("entry %d", test.width-1)) {
			t.Errorf("bundle %d, %d entries: %d, %v", test.n, test.width, len(got), err)
		}
	}
}

func TestNewest(t *testing.T) {
	c, url := asked(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/bea59067d2772c20f53caa6ec0fee55a5422fc96519cf8d71831bf61f044d1a4/checkpoint" {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, "the note")
	})
	if text, err := c.Newest(t.Context(), url+"/", "charts.example.com/log"); err != nil || string(text) != "the note" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := c.Newest(t.Context(), url+"/x", "y"); problem.KindOf(err) != problem.NotFound {
		t.Errorf("%v", err)
	}
}
