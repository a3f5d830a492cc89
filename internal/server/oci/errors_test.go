package oci

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// The codes of the specification; an answer of 4xx has no other.
var specCodes = strings.Fields(`BLOB_UNKNOWN BLOB_UPLOAD_INVALID BLOB_UPLOAD_UNKNOWN DIGEST_INVALID MANIFEST_BLOB_UNKNOWN
	MANIFEST_INVALID MANIFEST_UNKNOWN NAME_INVALID NAME_UNKNOWN SIZE_INVALID UNAUTHORIZED DENIED UNSUPPORTED TOOMANYREQUESTS`)

func TestCode(t *testing.T) {
	known := map[string]bool{}
	for _, c := range specCodes {
		known[c] = true
	}
	for res := range resources {
		for _, kind := range []problem.Kind{
			problem.Invalid, problem.Unauthenticated, problem.Denied, problem.NotFound, problem.Immutable,
			problem.Conflict, problem.Policy, problem.TooLarge, problem.Unsupported, problem.Gone,
		} {
			if code := Code(res, problem.New(kind, "some-rule", "x")); !known[code] {
				t.Errorf("resource %d, kind %s: code %q", res, kind, code)
			}
		}
		for _, kind := range []problem.Kind{problem.Internal, problem.Disproven, problem.Unavailable, "new"} {
			if code := Code(res, problem.New(kind, "", "x")); code != codeUnknown && code != codeUnavailable {
				t.Errorf("resource %d, kind %s: code %q", res, kind, code)
			}
		}
	}
	for rule, code := range codeOfRule {
		if !known[code] {
			t.Errorf("rule %s: code %q", rule, code)
		}
	}
	for _, tc := range []struct {
		res  Resource
		kind problem.Kind
		rule string
		want string
	}{
		{ResourceManifest, problem.NotFound, "blob-unknown", codeManifestBlobUnknown},
		{ResourceBlob, problem.NotFound, "blob-unknown", codeBlobUnknown},
		{ResourceUpload, problem.NotFound, "upload-unknown", codeUploadUnknown},
		{ResourceUpload, problem.Conflict, "upload-busy", codeUploadInvalid},
		{ResourceManifest, problem.Immutable, "overwrite", codeDenied},
		{ResourceManifest, problem.Gone, "tombstone", codeManifestUnknown},
		{ResourceManifest, problem.Gone, "project-removed", codeNameUnknown},
		{ResourceUploads, problem.NotFound, "project-not-found", codeNameUnknown},
		{ResourceRoot, problem.Unavailable, "too-many-attempts", codeTooManyRequests},
	} {
		if got := Code(tc.res, problem.New(tc.kind, tc.rule, "x")); got != tc.want {
			t.Errorf("resource %d, %s %s: code %q, want %q", tc.res, tc.kind, tc.rule, got, tc.want)
		}
	}
}

func TestWriteError(t *testing.T) {
	r := httptest.NewRequest(http.MethodPut, "/v2/demo/web/manifests/1.0.0", nil)
	w := httptest.NewRecorder()
	WriteError(w, r, http.StatusConflict, problem.New(problem.Immutable, "overwrite", "release demo/web@1.0.0 is there <already>").
		With("stored", "sha256:aa").With("by", "ann\x1b[31m\r\nTry: rm -rf").Suggest("helm package . --version 1.0.1"))
	const want = `{"errors":[{"code":"DENIED","message":"release demo/web@1.0.0 is there <already>\n  stored: sha256:aa\n  by: ann [31m  Try: rm -rf\nTry: helm package . --version 1.0.1"}]}` + "\n"
	if got := w.Body.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if w.Code != http.StatusConflict || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestNoEndPoint(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/v2/x", "/v2/demo/web/other/x", "/v2/demo/web/tags/other"} {
		s.do(http.MethodGet, path, nil).wantCode(t, http.StatusNotFound, codeUnsupported)
	}
	s.do(http.MethodDelete, "/v2/", nil).wantCode(t, http.StatusMethodNotAllowed, codeUnsupported).wantHeader(t, "Allow", "GET, HEAD")
	s.do(http.MethodHead, "/v2/", nil).want(t, http.StatusOK)
}
