package oci

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
)

func TestBlobRead(t *testing.T) {
	for _, algorithm := range []string{"sha256:", "sha512:"} {
		t.Run(strings.Trim(algorithm, ":"), func(t *testing.T) {
			s := newSite(t)
			content := bytes.Repeat([]byte("0123456789abcdef"), 128) // 2048 bytes
			d := s.push("demo/web", content, algorithm)
			path := "/v2/demo/web/blobs/" + d
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				a := s.do(method, path, nil).want(t, http.StatusOK)
				a.wantHeader(t,
					"Content-Type", "application/octet-stream", "Content-Length", "2048", "Accept-Ranges", "bytes",
					"Docker-Content-Digest", d, "ETag", `"`+d+`"`, "Docker-Distribution-API-Version", "registry/2.0",
					"X-Content-Type-Options", "nosniff")
				if method == http.MethodGet && !bytes.Equal(a.body, content) {
					t.Error("other bytes")
				}
				s.do(method, path, nil, "If-None-Match", `"x", W/"`+d+`"`).want(t, http.StatusNotModified).
					wantHeader(t, "ETag", `"`+d+`"`)
				s.do(method, path, nil, "If-None-Match", "*").want(t, http.StatusNotModified)
				s.do(method, path, nil, "If-None-Match", `"`+d+`x"`).want(t, http.StatusOK)
			}
			for _, tc := range []struct {
				asked    string
				from, to int // to exclusive
			}{
				{"bytes=500-1499", 500, 1500}, {"bytes=500-", 500, 2048}, {"bytes=-500", 1548, 2048}, {"bytes=2000-5000", 2000, 2048}, {"bytes=0-0", 0, 1},
			} {
				a := s.do(http.MethodGet, path, nil, "Range", tc.asked).want(t, http.StatusPartialContent)
				a.wantHeader(t, "Content-Length", strconv.Itoa(tc.to-tc.from),
					"Content-Range", "bytes "+strconv.Itoa(tc.from)+"-"+strconv.Itoa(tc.to-1)+"/2048",
					"Docker-Content-Digest", d)
				if !bytes.Equal(a.body, content[tc.from:tc.to]) {
					t.Errorf("%s: other bytes", tc.asked)
				}
			}
			for _, asked := range []string{"bytes=500-0", "bytes=5000-10000", "bytes=2048-", "bytes=-0"} {
				a := s.do(http.MethodGet, path, nil, "Range", asked).wantCode(t, http.StatusRequestedRangeNotSatisfiable, codeSizeInvalid)
				a.wantHeader(t, "Content-Range", "bytes */2048", "Docker-Content-Digest", "")
			}
			for _, header := range [][]string{
				{"Range", "bytes=0-1,4-5"}, {"Range", "lines=0-1"}, {"Range", "bytes=x"},
				{"Range", "bytes=0-1", "Range", "bytes=2-3"},
				{"Range", "bytes=0-1", "If-Range", `"other"`}, {"Range", "bytes=0-1", "If-Range", "Sat, 01 Jan 2000 00:00:00 GMT"},
			} {
				a := s.do(http.MethodGet, path, nil, header...).want(t, http.StatusOK)
				if !bytes.Equal(a.body, content) {
					t.Errorf("%v: other bytes", header)
				}
			}
			s.do(http.MethodGet, path, nil, "Range", "bytes=0-1", "If-Range", `"`+d+`"`).want(t, http.StatusPartialContent)
			s.do(http.MethodHead, path, nil, "Range", "bytes=0-1").want(t, http.StatusOK).wantHeader(t, "Content-Length", "2048")
		})
	}
}

func TestBlobEmpty(t *testing.T) {
	s := newSite(t)
	d := s.push("demo/web", nil, "")
	s.do(http.MethodGet, "/v2/demo/web/blobs/"+d, nil).want(t, http.StatusOK).wantHeader(t, "Content-Length", "0")
	s.do(http.MethodHead, "/v2/demo/web/blobs/"+d, nil).want(t, http.StatusOK).wantHeader(t, "Content-Length", "0")
	s.do(http.MethodGet, "/v2/demo/web/blobs/"+d, nil, "Range", "bytes=0-").want(t, http.StatusRequestedRangeNotSatisfiable)
}

func TestBlobErrors(t *testing.T) {
	s := newSite(t)
	s.push("demo/web", []byte("x"), "")
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		s.do(method, "/v2/demo/web/blobs/"+d256, nil).wantCode(t, http.StatusNotFound, codeBlobUnknown)
		s.do(method, "/v2/demo/other/blobs/"+d256, nil).wantCode(t, http.StatusNotFound, codeNameUnknown)
		s.do(method, "/v2/demo/web/blobs/sha256:x", nil).wantCode(t, http.StatusBadRequest, codeDigestInvalid)
		s.do(method, "/v2/demo/Web/blobs/"+d256, nil).wantCode(t, http.StatusBadRequest, codeNameInvalid)
	}
	s.do(http.MethodPut, "/v2/demo/web/blobs/"+d256, nil).wantCode(t, http.StatusMethodNotAllowed, codeUnsupported).
		wantHeader(t, "Allow", "GET, HEAD, DELETE")
}

// A damaged blob is never taken for a whole one, and serves no ranges.
func TestBlobDamaged(t *testing.T) {
	s := newSite(t)
	content := bytes.Repeat([]byte("x"), 1<<20)
	d := s.push("demo/web", content, "")
	s.fake.damaged = d
	a := s.do(http.MethodGet, "/v2/demo/web/blobs/"+d, nil)
	if a.StatusCode == http.StatusOK && (a.err == nil || len(a.body) >= len(content)) {
		t.Errorf("a damaged blob came whole: %d bytes, %v", len(a.body), a.err)
	}
	s.do(http.MethodGet, "/v2/demo/web/blobs/"+d, nil, "Range", "bytes=0-9").wantCode(t, http.StatusInternalServerError, codeUnknown).
		wantHeader(t, "Content-Range", "", "ETag", "")

	// A small one is known to be damaged before anything is sent.
	s.fake.damaged = s.push("demo/web", []byte("small"), "")
	s.do(http.MethodGet, "/v2/demo/web/blobs/"+s.fake.damaged, nil).wantCode(t, http.StatusInternalServerError, codeUnknown).
		wantHeader(t, "ETag", "", "Docker-Content-Digest", "")
}

func TestBlobDelete(t *testing.T) {
	s := newSite(t)
	d := s.push("demo/web", []byte("x"), "")
	s.do(http.MethodDelete, "/v2/demo/web/blobs/"+d, nil).want(t, http.StatusAccepted)
	s.do(http.MethodGet, "/v2/demo/web/blobs/"+d, nil).want(t, http.StatusNotFound)
	s.do(http.MethodDelete, "/v2/demo/web/blobs/"+d, nil).wantCode(t, http.StatusNotFound, codeBlobUnknown)

	d = s.push("charts/web", []byte("x"), "")
	s.do(http.MethodDelete, "/v2/charts/web/blobs/"+d, nil).wantCode(t, http.StatusMethodNotAllowed, codeUnsupported)
	s.do(http.MethodGet, "/v2/charts/web/blobs/"+d, nil).want(t, http.StatusOK)
}

func TestUnavailable(t *testing.T) {
	s := newSite(t)
	s.fake.fail = problem.New(problem.Unavailable, "read-only", "the registry is read-only now")
	s.do(http.MethodGet, "/v2/demo/web/blobs/"+d256, nil).wantCode(t, http.StatusServiceUnavailable, codeUnavailable).
		wantHeader(t, "Retry-After", "5")
	s.fake.fail = http.ErrBodyNotAllowed // any error that is no problem
	a := s.do(http.MethodGet, "/v2/demo/web/blobs/"+d256, nil).wantCode(t, http.StatusInternalServerError, codeUnknown)
	if strings.Contains(string(a.body), http.ErrBodyNotAllowed.Error()) {
		t.Errorf("an internal error is shown: %s", a.body)
	}
}
