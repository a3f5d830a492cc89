package oci

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/chartkeep/chartkeep/internal/release"
)

func TestManifest(t *testing.T) {
	s := newSite(t)
	d, body := s.image("demo/web", "1.0.0", "layer")
	for _, ref := range []string{"1.0.0", d} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			path := "/v2/demo/web/manifests/" + ref
			a := s.do(method, path, nil, "Accept", "application/nothing").want(t, http.StatusOK)
			a.wantHeader(t, "Content-Type", typeManifest, "Content-Length", fmt.Sprint(len(body)),
				"Docker-Content-Digest", d, "ETag", `"`+d+`"`, "Warning", "")
			if method == http.MethodGet && !bytes.Equal(a.body, body) {
				t.Error("other bytes")
			}
			s.do(method, path, nil, "If-None-Match", `"`+d+`"`).want(t, http.StatusNotModified)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		s.do(method, "/v2/demo/web/manifests/2.0.0", nil).wantCode(t, http.StatusNotFound, codeManifestUnknown)
		s.do(method, "/v2/demo/web/manifests/"+d256, nil).wantCode(t, http.StatusNotFound, codeManifestUnknown)
		s.do(method, "/v2/demo/web/manifests/.INVALID_MANIFEST_NAME", nil).wantCode(t, http.StatusNotFound, codeManifestUnknown)
		s.do(method, "/v2/demo/web/manifests/sha256:totallywrong", nil).wantCode(t, http.StatusBadRequest, codeDigestInvalid)
		s.do(method, "/v2/demo/none/manifests/1.0.0", nil).wantCode(t, http.StatusNotFound, codeNameUnknown)
	}
}

func TestManifestPut(t *testing.T) {
	s := newSite(t)
	_, body := s.image("demo/web", "1.0.0", "layer")
	put := func(ref string, body any, header ...string) *answer {
		t.Helper()
		return s.do(http.MethodPut, "/v2/demo/web/manifests/"+ref, body, header...)
	}
	for _, like := range []string{"sha256:", "sha512:"} {
		d := digestOf(like, body)
		put(d, body, "Content-Type", typeManifest+"; charset=utf-8").want(t, http.StatusCreated).
			wantHeader(t, "Location", "/v2/demo/web/manifests/"+d, "Docker-Content-Digest", d, "OCI-Tag", "", "OCI-Subject", "")
		a := put(d+"?tag=1&tag=1.0&tag=latest&tag=1", body, "Content-Type", typeManifest).want(t, http.StatusCreated)
		a.wantHeader(t, "OCI-Tag", "1, 1.0, latest", "Docker-Content-Digest", d)
		for _, tag := range []string{"1", "1.0", "latest"} {
			s.do(http.MethodGet, "/v2/demo/web/manifests/"+tag, nil).want(t, http.StatusOK).wantHeader(t, "Docker-Content-Digest", d)
		}
		s.do(http.MethodGet, "/v2/demo/web/manifests/"+d, nil).want(t, http.StatusOK).wantHeader(t, "Content-Type", typeManifest)
	}

	// The type: of the header, else of the manifest, and only JSON.
	put("untyped", body).want(t, http.StatusCreated).wantHeader(t, "OCI-Tag", "")
	s.do(http.MethodGet, "/v2/demo/web/manifests/untyped", nil).want(t, http.StatusOK).wantHeader(t, "Content-Type", typeManifest)
	put("page", body, "Content-Type", "text/html").wantCode(t, http.StatusBadRequest, codeManifestInvalid)
	put("page", `{"mediaType":"text/html"}`).wantCode(t, http.StatusBadRequest, codeManifestInvalid)
	put("page", `no json`).wantCode(t, http.StatusBadRequest, codeManifestInvalid)
	put("page", nil, "Content-Type", typeManifest).wantCode(t, http.StatusBadRequest, codeManifestInvalid)
	put("other", body, "Content-Type", typeIndex).wantCode(t, http.StatusBadRequest, codeManifestInvalid)

	put(d256, body, "Content-Type", typeManifest).wantCode(t, http.StatusBadRequest, codeDigestInvalid)
	put("sha256:baddigeststring", body, "Content-Type", typeManifest).wantCode(t, http.StatusBadRequest, codeDigestInvalid)
	put(".x", body, "Content-Type", typeManifest).wantCode(t, http.StatusBadRequest, codeManifestInvalid)
	put("1.0.0?tag=x", body, "Content-Type", typeManifest).wantCode(t, http.StatusBadRequest, codeManifestInvalid)
	put("missing", manifestOf(d256, d256, ""), "Content-Type", typeManifest).wantCode(t, http.StatusBadRequest, codeManifestBlobUnknown)
}

func TestManifestSize(t *testing.T) {
	s := newSite(t)
	pad := func(size int) []byte {
		head, tail := `{"mediaType":"`+typeManifest+`","annotations":{"a":"`, `"}}`
		return []byte(head + strings.Repeat("A", size-len(head)-len(tail)) + tail)
	}
	path := "/v2/demo/web/manifests/big"
	most := pad(release.MaxManifest)
	for name, body := range map[string]any{"known": most, "streamed": iotest.HalfReader(bytes.NewReader(most))} {
		s.do(http.MethodPut, path, body, "Content-Type", typeManifest).want(t, http.StatusCreated)
		if a := s.do(http.MethodGet, path, nil).want(t, http.StatusOK); !bytes.Equal(a.body, most) {
			t.Errorf("%s: other bytes", name)
		}
	}
	over := pad(release.MaxManifest + 1)
	for _, body := range []any{over, io.MultiReader(bytes.NewReader(over))} {
		s.do(http.MethodPut, path, body, "Content-Type", typeManifest).wantCode(t, http.StatusRequestEntityTooLarge, codeManifestInvalid)
	}
}

func TestManifestDelete(t *testing.T) {
	s := newSite(t)
	d, _ := s.image("demo/web", "1.0.0", "layer")
	s.do(http.MethodPut, "/v2/demo/web/manifests/"+d+"?tag=1", mustGet(s, "demo/web", d), "Content-Type", typeManifest).want(t, http.StatusCreated)
	s.do(http.MethodDelete, "/v2/demo/web/manifests/1", nil).want(t, http.StatusAccepted)
	s.do(http.MethodGet, "/v2/demo/web/manifests/1", nil).want(t, http.StatusNotFound)
	s.do(http.MethodGet, "/v2/demo/web/manifests/1.0.0", nil).want(t, http.StatusOK)
	s.do(http.MethodDelete, "/v2/demo/web/manifests/"+d, nil).want(t, http.StatusAccepted)
	s.do(http.MethodGet, "/v2/demo/web/manifests/1.0.0", nil).want(t, http.StatusNotFound)
	s.do(http.MethodDelete, "/v2/demo/web/manifests/"+d, nil).wantCode(t, http.StatusNotFound, codeManifestUnknown)

	s.image("charts/web", "1.0.0", "layer")
	a := s.do(http.MethodDelete, "/v2/charts/web/manifests/1.0.0", nil).wantCode(t, http.StatusMethodNotAllowed, codeUnsupported)
	if !strings.Contains(string(a.body), "chartkeep yank charts/web@1.0.0") {
		t.Errorf("the answer does not say what to do: %s", a.body)
	}
}

func mustGet(s *site, repo, ref string) []byte {
	s.t.Helper()
	return s.do(http.MethodGet, "/v2/"+repo+"/manifests/"+ref, nil).want(s.t, http.StatusOK).body
}

func TestRelease(t *testing.T) {
	s := newSiteAt(t, "/registry")
	config, layer := s.push("charts/web", []byte("{}"), ""), s.push("charts/web", []byte("archive"), "")
	body := manifestOf(config, layer, "")
	a := s.do(http.MethodPut, "/v2/charts/web/manifests/1.0.0", body, "Content-Type", typeManifest).want(t, http.StatusCreated)
	d := digestOf("", body)
	a.wantHeader(t, "Location", "/registry/v2/charts/web/manifests/"+d, "Chartkeep-Log-Index", "7", "Chartkeep-Unchanged", "false",
		"Chartkeep-Proof", "/registry/charts/charts/web-1.0.0.tgz.tlog-proof")

	other := manifestOf(config, config, "")
	a = s.do(http.MethodPut, "/v2/charts/web/manifests/1.0.0", other, "Content-Type", typeManifest).wantCode(t, http.StatusConflict, codeDenied)
	for _, want := range []string{"charts/web@1.0.0 is there already", `\n  stored: ` + d, `\n  offered: ` + digestOf("", other), `\nTry: helm package . --version 1.0.1`} {
		if !strings.Contains(string(a.body), want) {
			t.Errorf("the refusal lacks %q: %s", want, a.body)
		}
	}

	s.fake.repos["charts/web"].manifests[d].Release.Yank = &release.YankNote{Reason: "security", Text: "see \"CVE\"\nü", Time: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		s.do(method, "/v2/charts/web/manifests/1.0.0", nil).want(t, http.StatusOK).wantHeader(t, "Warning",
			`299 - "charts/web@1.0.0 was yanked on 2026-02-03: security, see \"CVE\"??. Its bytes are unchanged, but do not deploy it anew."`)
	}
}

func TestWarningIsBounded(t *testing.T) {
	for _, text := range []string{strings.Repeat(`"`, 10_000), strings.Repeat("\\", 10_000), strings.Repeat("x", 10_000), "\xff\x00\r\nSet-Cookie: x"} {
		w := warning(text)
		if len(w) > maxWarning+8 || strings.ContainsAny(w, "\r\n\x00") || !strings.HasPrefix(w, `299 - "`) || !strings.HasSuffix(w, `"`) {
			t.Errorf("warning of %d bytes: %.60q", len(w), w)
		}
	}
}

// Where the registry stands behind a path, all locations have it.
func TestContextPath(t *testing.T) {
	s := newSiteAt(t, "/registry")
	a := s.do(http.MethodPost, "/v2/demo/web/blobs/uploads/", nil).want(t, http.StatusAccepted)
	if !strings.HasPrefix(a.Header.Get("Location"), "/registry/v2/demo/web/blobs/uploads/") {
		t.Errorf("Location is %q", a.Header.Get("Location"))
	}
	a = s.do(http.MethodGet, "/v2/", nil, "Authorization", "").want(t, http.StatusUnauthorized)
	a.wantHeader(t, "WWW-Authenticate", `Bearer realm="`+s.url+`/v2/token",service="`+strings.TrimSuffix(s.host(), "/registry")+`"`)
}
