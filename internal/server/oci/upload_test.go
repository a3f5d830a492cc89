package oci

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// begin starts an upload and returns its location.
func (s *site) begin(repo string) string {
	s.t.Helper()
	a := s.do(http.MethodPost, "/v2/"+repo+"/blobs/uploads/", nil).want(s.t, http.StatusAccepted)
	id := a.Header.Get("Docker-Upload-UUID")
	a.wantHeader(s.t, "Location", "/v2/"+repo+"/blobs/uploads/"+id, "Range", "0-0", "Content-Length", "0")
	if id == "" {
		s.t.Fatal("no upload id")
	}
	return a.Header.Get("Location")
}

func TestUploadWhole(t *testing.T) {
	s := newSite(t)
	content := []byte("a blob in one piece")
	for _, like := range []string{"sha256:", "sha512:"} {
		d := digestOf(like, content)
		blob := "/v2/demo/web/blobs/" + d
		s.do(http.MethodPost, "/v2/demo/web/blobs/uploads/?digest="+d, content).want(t, http.StatusCreated).
			wantHeader(t, "Location", blob, "Docker-Content-Digest", d)
		s.do(http.MethodDelete, blob, nil).want(t, http.StatusAccepted)

		s.do(http.MethodPut, s.begin("demo/web")+"?digest="+d, content).want(t, http.StatusCreated).
			wantHeader(t, "Location", blob, "Docker-Content-Digest", d)
		if a := s.do(http.MethodGet, blob, nil).want(t, http.StatusOK); !bytes.Equal(a.body, content) {
			t.Error("other bytes")
		}
	}
	s.do(http.MethodPost, "/v2/demo/web/blobs/uploads?digest-algorithm=sha512", nil).want(t, http.StatusAccepted)
	s.do(http.MethodPost, "/v2/demo/web/blobs/uploads/?digest-algorithm=md5", nil).wantCode(t, http.StatusBadRequest, codeDigestInvalid)
	s.do(http.MethodPost, "/v2/demo/web/blobs/uploads/?digest="+d256, content).wantCode(t, http.StatusBadRequest, codeDigestInvalid)
	s.do(http.MethodPut, s.begin("demo/web")+"?digest="+d256, content).wantCode(t, http.StatusBadRequest, codeDigestInvalid)
	s.do(http.MethodPut, s.begin("demo/web"), content).wantCode(t, http.StatusBadRequest, codeDigestInvalid)
	s.do(http.MethodPut, s.begin("demo/web")+"?digest=x", content).wantCode(t, http.StatusBadRequest, codeDigestInvalid)
}

func TestUploadChunked(t *testing.T) {
	s := newSite(t)
	content := bytes.Repeat([]byte("0123456789"), 30)
	d := digestOf("", content)
	at := s.begin("demo/web")
	status := func(want string) {
		t.Helper()
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			s.do(method, at, nil).want(t, http.StatusNoContent).wantHeader(t, "Range", want, "Location", at)
		}
	}
	status("0-0")

	// Out of order, before and after the first piece; nothing moves.
	s.do(http.MethodPatch, at, content[100:200], "Content-Range", "100-199").
		wantCode(t, http.StatusRequestedRangeNotSatisfiable, codeUploadInvalid).wantHeader(t, "Range", "0-0", "Location", at)
	s.do(http.MethodPatch, at, content[:100], "Content-Range", "0-99").want(t, http.StatusAccepted).
		wantHeader(t, "Range", "0-99", "Location", at, "Content-Length", "0")
	for _, r := range []string{"0-99", "200-299", "99-198"} {
		s.do(http.MethodPatch, at, content[:100], "Content-Range", r).
			wantCode(t, http.StatusRequestedRangeNotSatisfiable, codeUploadInvalid).wantHeader(t, "Range", "0-99", "Location", at)
	}
	status("0-99")

	// Ranges that cannot be read, or that are not what comes.
	for _, r := range []string{"x", "bytes 100-199/300", "199-100", "100-", "-1"} {
		s.do(http.MethodPatch, at, content[100:200], "Content-Range", r).wantCode(t, http.StatusBadRequest, codeUploadInvalid)
	}
	s.do(http.MethodPatch, at, content[100:150], "Content-Range", "100-199").wantCode(t, http.StatusBadRequest, codeSizeInvalid)
	status("0-99")

	// Without a range the piece goes on where the upload stands, also streamed.
	s.do(http.MethodPatch, at, iotest.OneByteReader(bytes.NewReader(content[100:200]))).want(t, http.StatusAccepted).wantHeader(t, "Range", "0-199")
	s.do(http.MethodPatch, at, nil).want(t, http.StatusAccepted).wantHeader(t, "Range", "0-199")
	s.do(http.MethodPatch, at, nil, "Content-Range", "200-199").want(t, http.StatusAccepted).wantHeader(t, "Range", "0-199")

	// The last piece in the closing request, out of order first.
	s.do(http.MethodPut, at+"?digest="+d, content[:100], "Content-Range", "0-99").
		wantCode(t, http.StatusRequestedRangeNotSatisfiable, codeUploadInvalid).wantHeader(t, "Range", "0-199", "Location", at)
	status("0-199")
	s.do(http.MethodPut, at+"?digest="+d, content[200:], "Content-Range", "200-299").want(t, http.StatusCreated)
	if a := s.do(http.MethodGet, "/v2/demo/web/blobs/"+d, nil).want(t, http.StatusOK); !bytes.Equal(a.body, content) {
		t.Error("other bytes")
	}
	s.do(http.MethodGet, at, nil).wantCode(t, http.StatusNotFound, codeUploadUnknown)
	s.do(http.MethodPatch, at, nil).wantCode(t, http.StatusNotFound, codeUploadUnknown)
	s.do(http.MethodPut, at+"?digest="+d, nil).wantCode(t, http.StatusNotFound, codeUploadUnknown)
}

// A piece of unknown length is held to its Content-Range.
func TestUploadStreamedRange(t *testing.T) {
	s := newSite(t)
	stream := func(n int) io.Reader { return io.MultiReader(strings.NewReader(strings.Repeat("x", n))) }
	at := s.begin("demo/web")
	s.do(http.MethodPatch, at, stream(100), "Content-Range", "0-99").want(t, http.StatusAccepted).wantHeader(t, "Range", "0-99")
	s.do(http.MethodPatch, at, stream(60), "Content-Range", "100-199").wantCode(t, http.StatusBadRequest, codeSizeInvalid)
	s.do(http.MethodGet, at, nil).want(t, http.StatusNoContent).wantHeader(t, "Range", "0-159")
	s.do(http.MethodPatch, at, stream(60), "Content-Range", "160-199").wantCode(t, http.StatusBadRequest, codeSizeInvalid)
	s.do(http.MethodGet, at, nil).want(t, http.StatusNoContent).wantHeader(t, "Range", "0-199")
}

func TestUploadCancel(t *testing.T) {
	s := newSite(t)
	at := s.begin("demo/web")
	s.do(http.MethodDelete, at, nil).want(t, http.StatusNoContent)
	s.do(http.MethodGet, at, nil).wantCode(t, http.StatusNotFound, codeUploadUnknown)
	s.do(http.MethodDelete, at, nil).wantCode(t, http.StatusNotFound, codeUploadUnknown)
	s.do(http.MethodPost, at, nil).wantCode(t, http.StatusMethodNotAllowed, codeUnsupported).
		wantHeader(t, "Allow", "GET, HEAD, PUT, PATCH, DELETE")
	// An upload belongs to its repository.
	at = strings.Replace(s.begin("demo/web"), "demo/web", "demo/other", 1)
	s.do(http.MethodGet, at, nil).wantCode(t, http.StatusNotFound, codeUploadUnknown)
}

func TestMount(t *testing.T) {
	s := newSite(t)
	d := s.push("demo/web", []byte("x"), "sha512:")
	hidden := "sha256:" + strings.Repeat("1", 64)
	s.fake.repo("secret/web").blobs[hidden] = true
	for _, tc := range []struct {
		query  string
		status int
	}{
		{"mount=" + d + "&from=demo/web", http.StatusCreated},
		{"mount=" + d, http.StatusCreated},
		{"mount=" + d256 + "&from=demo/web", http.StatusAccepted},
		{"mount=" + d256 + "&from=demo/none", http.StatusAccepted},
		{"mount=" + d256 + "&from=NOT%20A%20NAME", http.StatusAccepted},
		{"mount=" + d256, http.StatusAccepted},
		{"mount=" + hidden + "&from=secret/web", http.StatusAccepted},
		{"mount=" + hidden, http.StatusAccepted},
	} {
		a := s.do(http.MethodPost, "/v2/demo/two/blobs/uploads/?"+tc.query, nil).want(t, tc.status)
		if tc.status == http.StatusCreated {
			a.wantHeader(t, "Location", "/v2/demo/two/blobs/"+d, "Docker-Content-Digest", d, "Docker-Upload-UUID", "")
			s.do(http.MethodGet, a.Header.Get("Location"), nil).want(t, http.StatusOK)
			s.do(http.MethodDelete, a.Header.Get("Location"), nil).want(t, http.StatusAccepted)
			continue
		}
		if !strings.HasPrefix(a.Header.Get("Location"), "/v2/demo/two/blobs/uploads/") || a.Header.Get("Range") != "0-0" {
			t.Errorf("%s: no upload was begun: %v", tc.query, a.Header)
		}
	}
	s.do(http.MethodPost, "/v2/demo/two/blobs/uploads/?mount=x", nil).wantCode(t, http.StatusBadRequest, codeDigestInvalid)
}

// A client that breaks off half-way leaves an upload that can be gone on with.
func TestUploadInterrupted(t *testing.T) {
	s := newSite(t)
	content := []byte("the first half, the second half")
	d := digestOf("", content)
	at := s.begin("demo/web")
	conn, err := net.Dial("tcp", s.host())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Range: 0-%d\r\nContent-Length: %d\r\n\r\n%s",
		at, s.auth, len(content)-1, len(content), content[:15])
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	conn.Close()
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(b), codeUploadInvalid) {
		t.Errorf("status %d: %s", resp.StatusCode, b)
	}
	s.do(http.MethodGet, at, nil).want(t, http.StatusNoContent).wantHeader(t, "Range", "0-14")
	s.do(http.MethodPut, at+"?digest="+d, content[15:], "Content-Range", "15-30").want(t, http.StatusCreated)
}

// Nothing is read of a body that is refused anyway.
func TestRefusedBeforeTheBody(t *testing.T) {
	s := newSite(t)
	for _, tc := range []struct {
		request, auth string
		status        int
	}{
		{"POST /v2/demo/web/blobs/uploads/?digest=" + d256, basic("reader", "secret"), http.StatusForbidden},
		{"PUT /v2/demo/web/manifests/1.0.0", s.auth, http.StatusRequestEntityTooLarge},
		{"PUT /v2/demo/web/manifests/x", basic("ci", "wrong"), http.StatusUnauthorized},
	} {
		conn, err := net.Dial("tcp", s.host())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n", tc.request, tc.auth)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		conn.Close()
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != tc.status {
			t.Errorf("%s: status %d, want %d without 100", tc.request, resp.StatusCode, tc.status)
		}
	}
}

func TestExactly(t *testing.T) {
	broken := errors.New("broken")
	for _, tc := range []struct {
		src  io.Reader
		want string
		err  string
	}{
		{strings.NewReader("12345"), "12345", ""},
		{iotest.DataErrReader(strings.NewReader("12345")), "12345", ""},
		{iotest.OneByteReader(strings.NewReader("12345")), "12345", ""},
		{strings.NewReader("1234"), "1234", "missing 1 bytes"},
		{iotest.DataErrReader(strings.NewReader("1234")), "1234", "missing 1 bytes"},
		{strings.NewReader("123456"), "12345", "is longer"},
		{io.MultiReader(strings.NewReader("123"), iotest.ErrReader(broken)), "123", "broken"},
		{io.MultiReader(strings.NewReader("12345"), iotest.ErrReader(broken)), "12345", "broken"},
	} {
		b, err := io.ReadAll(&exactly{src: tc.src, left: 5})
		if string(b) != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("read %q, %v; want %q, %q", b, err, tc.want, tc.err)
		}
	}
}
