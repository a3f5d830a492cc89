package tiles_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server/tiles"
	"github.com/chartkeep/chartkeep/internal/server/tiles/tilestest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

const token = "Bearer reader"

func mayRead(r *http.Request) error {
	if r.Header.Get("Authorization") != token {
		return problem.New(problem.Unauthenticated, "log-read", "who are you")
	}
	return nil
}

// newLog has 70,000 entries, the example of tlog-tiles, "Partial Tiles".
func newLog(t *testing.T) *tilestest.Log {
	l := tilestest.New(t, "charts.example.com/log")
	for i := range 70000 {
		l.Append(fmt.Appendf(nil, "entry %d", i))
	}
	l.Sign(t)
	l.Append([]byte("not covered by a checkpoint"))
	return l
}

// get serves one request; header alternates names and values.
func get(src tiles.Source, method, path string, header ...string) (*httptest.ResponseRecorder, error) {
	r := httptest.NewRequest(method, path, nil)
	for pair := range slices.Chunk(header, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	w := httptest.NewRecorder()
	err := tiles.New(src, mayRead).Serve(w, r)
	return w, err
}

func TestServe(t *testing.T) {
	src := newLog(t)
	checkpoint, _ := src.Checkpoint(t.Context())
	tile := func(level int, n int64, width int) []byte {
		data, err := src.Tile(t.Context(), level, n, width)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	bundle := func(n int64, width int) []byte {
		entries, err := src.Entries(t.Context(), n, width)
		if err != nil {
			t.Fatal(err)
		}
		data, err := tlog.EntryBundle(entries)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	const (
		text     = "text/plain; charset=utf-8"
		octets   = "application/octet-stream"
		ask      = "no-cache"
		forever  = "public, max-age=31536000, immutable"
		private  = "private, max-age=31536000, immutable"
		variants = "Accept-Encoding, Authorization"
	)
	for _, test := range []struct {
		path, mediaType, cache, vary string
		want                         []byte
	}{
		{"/log/checkpoint", text, ask, "", checkpoint},
		{"/log/tile/0/000", octets, forever, "", tile(0, 0, 256)},
		{"/log/tile/0/272", octets, forever, "", tile(0, 272, 256)},
		{"/log/tile/0/273.p/112", octets, forever, "", tile(0, 273, 112)},
		{"/log/tile/0/273.p/1", octets, forever, "", tile(0, 273, 1)},
		{"/log/tile/0/000.p/17", octets, forever, "", tile(0, 0, 17)}, // partial once, full now
		{"/log/tile/1/000", octets, forever, "", tile(1, 0, 256)},
		{"/log/tile/1/001.p/17", octets, forever, "", tile(1, 1, 17)},
		{"/log/tile/2/000.p/1", octets, forever, "", tile(2, 0, 1)},
		{"/log/tile/entries/000", octets, private, variants, bundle(0, 256)},
		{"/log/tile/entries/273.p/112", octets, private, variants, bundle(273, 112)},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			w, err := get(src, method, test.path, "Authorization", token)
			if err != nil {
				t.Errorf("%s %s: %v", method, test.path, err)
				continue
			}
			h := w.Header()
			if h.Get("Content-Type") != test.mediaType || h.Get("Cache-Control") != test.cache || h.Get("Vary") != test.vary ||
				h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Content-Length") != fmt.Sprint(len(test.want)) {
				t.Errorf("%s %s: headers %v", method, test.path, h)
			}
			want := test.want
			if method == http.MethodHead {
				want = nil
			}
			if w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), want) {
				t.Errorf("%s %s: status %d, %d bytes, want %d", method, test.path, w.Code, w.Body.Len(), len(want))
			}
		}
	}
}

func TestServeRefuses(t *testing.T) {
	src := newLog(t)
	for _, path := range []string{
		// Beyond the checkpoint.
		"/log/tile/0/273", "/log/tile/0/273.p/113", "/log/tile/0/274.p/1", "/log/tile/1/001", "/log/tile/1/001.p/18",
		"/log/tile/2/000", "/log/tile/2/000.p/2", "/log/tile/3/000.p/1", "/log/tile/63/000", "/log/tile/0/x999/x999/999",
		"/log/tile/entries/273", "/log/tile/entries/273.p/113", "/log/tile/entries/274.p/1",
		// No path of a log.
		"/log/", "/log", "/", "/checkpoint", "/tile/0/000", "/log/Checkpoint", "/log/checkpoint/", "/log//checkpoint", "/log/log/checkpoint",
		"/log/tile/0/0", "/log/tile/00/000", "/log/tile/0/000.p/256", "/log/tile/0/x000/000", "/log/tile/0/%30%30%30", "/log/tile%2F0/000",
		"/log/tile/entries/0/000", "/log/tile/../checkpoint",
	} {
		w, err := get(src, http.MethodGet, path, "Authorization", token)
		if problem.KindOf(err) != problem.NotFound {
			t.Errorf("%s: %v", path, err)
		}
		if w.Body.Len() > 0 || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %q written, headers %v", path, w.Body, w.Header())
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		w, err := get(src, method, "/log/checkpoint")
		if problem.KindOf(err) != problem.Unsupported || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %v, headers %v", method, err, w.Header())
		}
	}
}

// TestEntriesNeedTheRight: names of private charts stand in leaves, and
// whether a bundle exists is not told either.
func TestEntriesNeedTheRight(t *testing.T) {
	src := newLog(t)
	for _, path := range []string{"/log/tile/entries/000", "/log/tile/entries/273.p/112", "/log/tile/entries/x999/000"} {
		w, err := get(src, http.MethodGet, path)
		if problem.KindOf(err) != problem.Unauthenticated || w.Body.Len() > 0 {
			t.Errorf("%s: %v, %d bytes", path, err, w.Body.Len())
		}
	}
	for _, path := range []string{"/log/checkpoint", "/log/tile/0/000"} {
		if _, err := get(src, http.MethodGet, path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestEntriesGzip(t *testing.T) {
	src := newLog(t)
	const path = "/log/tile/entries/000"
	plain, err := get(src, http.MethodGet, path, "Authorization", token)
	if err != nil {
		t.Fatal(err)
	}
	for accept, want := range map[string]bool{
		"":                     false,
		"identity":             false,
		"br, zstd":             false,
		"x-gzippy":             false,
		"gzip;q=0":             false,
		"gzip; q=0.000, *":     false,
		"*;q=0":                false,
		"gzip":                 true,
		"GZIP":                 true,
		"br, gzip;q=0.5":       true,
		"gzip; q=0.001":        true,
		"*":                    true,
		"deflate, *;q=0.1":     true,
		"*;q=0, gzip;q=1.0":    true,
		"identity;q=0.5, gzip": true,
	} {
		w, err := get(src, http.MethodGet, path, "Authorization", token, "Accept-Encoding", accept)
		if err != nil {
			t.Fatal(err)
		}
		packed := w.Header().Get("Content-Encoding") == "gzip"
		if packed != want {
			t.Errorf("Accept-Encoding %q: packed %t", accept, packed)
			continue
		}
		body := w.Body.Bytes()
		if length := w.Header().Get("Content-Length"); length != fmt.Sprint(len(body)) {
			t.Errorf("Accept-Encoding %q: %d bytes, announced %s", accept, len(body), length)
		}
		if packed {
			zr, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(zr); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(body, plain.Body.Bytes()) {
			t.Errorf("Accept-Encoding %q: another bundle", accept)
		}
	}
}

// broken is a source whose answers do not fit the question.
type broken struct{ err error }

func (b broken) Checkpoint(context.Context) ([]byte, error) { return nil, b.err }
func (b broken) Tile(_ context.Context, _ int, _ int64, width int) ([]byte, error) {
	return make([]byte, 32*width-1), b.err
}
func (b broken) Entries(_ context.Context, _ int64, width int) ([][]byte, error) {
	return make([][]byte, width-1), b.err
}

// TestBrokenSource serves nothing rather than something wrong for a year.
func TestBrokenSource(t *testing.T) {
	lost := errors.New("disk on fire")
	for _, path := range []string{"/log/checkpoint", "/log/tile/0/000", "/log/tile/entries/000"} {
		w, err := get(broken{lost}, http.MethodGet, path, "Authorization", token)
		if !errors.Is(err, lost) || w.Body.Len() > 0 {
			t.Errorf("%s: %v", path, err)
		}
		if strings.HasSuffix(path, "checkpoint") {
			continue
		}
		w, err = get(broken{}, http.MethodGet, path, "Authorization", token)
		if problem.KindOf(err) != problem.Internal || err == nil || w.Body.Len() > 0 || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s from a source that gives too little: %v", path, err)
		}
	}
}
