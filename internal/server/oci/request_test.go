package oci

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

var (
	hex256 = strings.Repeat("0a", 32)
	d256   = "sha256:" + hex256
	d512   = "sha512:" + strings.Repeat("0b", 64)
)

var manyTags = "?tag=" + strings.Repeat("x&tag=", MaxTags) + "y"

var parseCases = []struct {
	method, url string
	want        Request // Limit 0 stands for -1
}{
	{"GET", "/v2/", Request{Kind: KindPing, Resource: ResourceRoot}},
	{"HEAD", "/v2/", Request{Kind: KindPing, Resource: ResourceRoot}},
	{"GET", "/v2", Request{Kind: KindPing, Resource: ResourceRoot}},
	{"GET", "/v2/token", Request{Kind: KindToken, Resource: ResourceToken}},
	{"POST", "/v2/token?service=s", Request{Kind: KindToken, Resource: ResourceToken, Query: url.Values{"service": {"s"}}}},
	{"GET", "/v2/_catalog?n=5&last=a/b", Request{Kind: KindCatalog, Resource: ResourceCatalog, Limit: 5, Last: "a/b"}},

	{"GET", "/v2/a/b/blobs/" + d256, Request{Kind: KindBlob, Resource: ResourceBlob, Repository: "a/b", Digest: d256}},
	{"GET", "/v2/a/b/blobs/sha256%3A" + hex256, Request{Kind: KindBlob, Resource: ResourceBlob, Repository: "a/b", Digest: d256}},
	{"HEAD", "/v2/a/blobs/" + d512 + "?ns=registry.example", Request{Kind: KindBlob, Resource: ResourceBlob, Repository: "a", Digest: d512}},
	{"DELETE", "/v2/a/blobs/" + d256, Request{Kind: KindDeleteBlob, Resource: ResourceBlob, Repository: "a", Digest: d256}},
	{"GET", "/v2/blobs/blobs/" + d256, Request{Kind: KindBlob, Resource: ResourceBlob, Repository: "blobs", Digest: d256}},

	{"POST", "/v2/a/blobs/uploads/", Request{Kind: KindStartUpload, Resource: ResourceUploads, Repository: "a"}},
	{"POST", "/v2/a/blobs/uploads", Request{Kind: KindStartUpload, Resource: ResourceUploads, Repository: "a"}},
	{"POST", "/v2/a/manifests/blobs/uploads/", Request{Kind: KindStartUpload, Resource: ResourceUploads, Repository: "a/manifests"}},
	{"POST", "/v2/a/blobs/uploads/?digest=" + d512, Request{Kind: KindStartUpload, Resource: ResourceUploads, Repository: "a", Digest: d512}},
	{"POST", "/v2/a/blobs/uploads/?digest-algorithm=sha512", Request{Kind: KindStartUpload, Resource: ResourceUploads, Repository: "a"}},
	{"POST", "/v2/a/blobs/uploads/?mount=" + d256 + "&from=b%2Fc", Request{Kind: KindStartUpload, Resource: ResourceUploads, Repository: "a", Mount: d256, From: "b/c"}},
	{"POST", "/v2/a/blobs/uploads/?mount=" + d256, Request{Kind: KindStartUpload, Resource: ResourceUploads, Repository: "a", Mount: d256}},
	{"GET", "/v2/a/blobs/uploads/u-1?digest=nonsense", Request{Kind: KindUploadStatus, Resource: ResourceUpload, Repository: "a", Upload: "u-1"}},
	{"PATCH", "/v2/a/blobs/uploads/u-1", Request{Kind: KindAppendUpload, Resource: ResourceUpload, Repository: "a", Upload: "u-1"}},
	{"PUT", "/v2/a/blobs/uploads/u-1?digest=" + d256, Request{Kind: KindFinishUpload, Resource: ResourceUpload, Repository: "a", Upload: "u-1", Digest: d256}},
	{"DELETE", "/v2/a/blobs/uploads/u-1", Request{Kind: KindCancelUpload, Resource: ResourceUpload, Repository: "a", Upload: "u-1"}},

	{"GET", "/v2/a/manifests/1.0.0", Request{Kind: KindManifest, Resource: ResourceManifest, Repository: "a", Tag: "1.0.0"}},
	{"HEAD", "/v2/a/manifests/" + d512, Request{Kind: KindManifest, Resource: ResourceManifest, Repository: "a", Digest: d512}},
	{"PUT", "/v2/a/manifests/1.0.0", Request{Kind: KindPutManifest, Resource: ResourceManifest, Repository: "a", Tag: "1.0.0"}},
	{"PUT", "/v2/a/manifests/" + d256 + "?tag=b&tag=a&tag=b", Request{Kind: KindPutManifest, Resource: ResourceManifest, Repository: "a", Digest: d256, Tags: []string{"b", "a"}}},
	{"DELETE", "/v2/a/manifests/x", Request{Kind: KindDeleteManifest, Resource: ResourceManifest, Repository: "a", Tag: "x"}},
	{"GET", "/v2/a/blobs/uploads/manifests/x", Request{Kind: KindManifest, Resource: ResourceManifest, Repository: "a/blobs/uploads", Tag: "x"}},
	{"GET", "/v2/manifests/manifests/manifests", Request{Kind: KindManifest, Resource: ResourceManifest, Repository: "manifests", Tag: "manifests"}},

	{"GET", "/v2/a/tags/list", Request{Kind: KindTags, Resource: ResourceTags, Repository: "a"}},
	{"GET", "/v2/a/tags/list?n=3&last=1.0.0", Request{Kind: KindTags, Resource: ResourceTags, Repository: "a", Limit: 3, Last: "1.0.0"}},
	{"GET", "/v2/a/tags/list?n=99999999999999999999", Request{Kind: KindTags, Resource: ResourceTags, Repository: "a", Limit: maxLimit}},
	{"GET", "/v2/a/tags/tags/list", Request{Kind: KindTags, Resource: ResourceTags, Repository: "a/tags"}},
	{"GET", "/v2/a/referrers/" + d256 + "?artifactType=application/x+json", Request{Kind: KindReferrers, Resource: ResourceReferrers, Repository: "a", Digest: d256, ArtifactType: "application/x+json"}},
	{"GET", "/v2/a/referrers/" + d256 + "?artifactType=application%2Fx%2Bjson&last=" + d512, Request{Kind: KindReferrers, Resource: ResourceReferrers, Repository: "a", Digest: d256, ArtifactType: "application/x+json", Last: d512}},
}

func TestParse(t *testing.T) {
	for _, tc := range parseCases {
		if tc.want.Limit == 0 {
			tc.want.Limit = -1
		}
		got, err := parse(t, tc.method, tc.url)
		if err != nil {
			t.Errorf("%s %s: %v", tc.method, tc.url, err)
		} else if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s %s: (-want +got)\n%s", tc.method, tc.url, diff)
		}
	}
}

var refuseCases = []struct {
	method, url string
	kind        problem.Kind
	code        string
}{
	{"GET", "/", problem.NotFound, codeUnsupported},
	{"GET", "/v2x", problem.NotFound, codeUnsupported},
	{"GET", "/v2/a", problem.NotFound, codeUnsupported},
	{"GET", "/v2/a/b/c", problem.NotFound, codeUnsupported},
	{"GET", "/v2/blobs/" + d256, problem.NotFound, codeUnsupported},
	{"GET", "/v2/a/tags/other", problem.NotFound, codeUnsupported},
	{"GET", "/v2/a/tags/list/", problem.NotFound, codeUnsupported},
	{"GET", "/v2/" + strings.Repeat("a/", 600), problem.Invalid, codeUnsupported},
	{"POST", "/v2/", problem.Unsupported, codeUnsupported},
	{"GET", "/v2/a/blobs/uploads/", problem.Unsupported, codeUnsupported},
	{"PUT", "/v2/a/blobs/" + d256, problem.Unsupported, codeUnsupported},
	{"POST", "/v2/a/manifests/x", problem.Unsupported, codeUnsupported},
	{"DELETE", "/v2/a/tags/list", problem.Unsupported, codeUnsupported},
	{"OPTIONS", "/v2/a/tags/list", problem.Unsupported, codeUnsupported},
	{"GET", "/v2//manifests/x", problem.Invalid, codeNameInvalid},
	{"GET", "/v2/A/manifests/x", problem.Invalid, codeNameInvalid},
	{"GET", "/v2/a//b/manifests/x", problem.Invalid, codeNameInvalid},
	{"GET", "/v2/a%00/manifests/x", problem.Invalid, codeNameInvalid},
	{"GET", "/v2/a/../b/manifests/x", problem.Invalid, codeNameInvalid},
	{"PUT", "/v2/" + strings.Repeat("a", 256) + "/manifests/x", problem.Invalid, codeNameInvalid},
	{"GET", "/v2/a/blobs/x", problem.Invalid, codeDigestInvalid},
	{"GET", "/v2/a/blobs/sha256:0A", problem.Invalid, codeDigestInvalid},
	{"GET", "/v2/a/blobs/sha256:" + strings.ToUpper(hex256), problem.Invalid, codeDigestInvalid},
	{"GET", "/v2/a/blobs/sha1:" + strings.Repeat("0", 40), problem.Invalid, codeDigestInvalid},
	{"GET", "/v2/a/blobs/sha512:" + hex256, problem.Invalid, codeDigestInvalid},
	{"GET", "/v2/a/manifests/sha256:baddigeststring", problem.Invalid, codeDigestInvalid},
	{"PUT", "/v2/a/manifests/sha256:baddigeststring", problem.Invalid, codeDigestInvalid},
	{"GET", "/v2/a/referrers/x", problem.Invalid, codeDigestInvalid},
	{"GET", "/v2/a/referrers/" + d256 + "?last=x", problem.Invalid, codeDigestInvalid},
	{"GET", "/v2/a/manifests/.INVALID_MANIFEST_NAME", problem.NotFound, codeManifestUnknown},
	{"PUT", "/v2/a/manifests/.x", problem.Invalid, codeManifestInvalid},
	{"PUT", "/v2/a/manifests/1.0.0+b", problem.Invalid, codeManifestInvalid},
	{"DELETE", "/v2/a/manifests/.x", problem.Invalid, codeManifestInvalid},
	{"PUT", "/v2/a/manifests/1.0.0?tag=x", problem.Invalid, codeManifestInvalid},
	{"PUT", "/v2/a/manifests/" + d256 + "?tag=.x", problem.Invalid, codeManifestInvalid},
	{"PUT", "/v2/a/manifests/" + d256 + "?tag=", problem.Invalid, codeManifestInvalid},
	{"PUT", "/v2/a/manifests/" + d256 + manyTags, problem.Invalid, codeManifestInvalid},
	{"POST", "/v2/a/blobs/uploads/?digest=x", problem.Invalid, codeDigestInvalid},
	{"POST", "/v2/a/blobs/uploads/?digest=", problem.Invalid, codeDigestInvalid},
	{"POST", "/v2/a/blobs/uploads/?mount=x", problem.Invalid, codeDigestInvalid},
	{"POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", problem.Invalid, codeDigestInvalid},
	{"PUT", "/v2/a/blobs/uploads/u?digest=x", problem.Invalid, codeDigestInvalid},
	{"PATCH", "/v2/a/blobs/uploads/u%20", problem.NotFound, codeUploadUnknown},
	{"PATCH", "/v2/a/blobs/uploads/" + strings.Repeat("u", 200), problem.NotFound, codeUploadUnknown},
	{"GET", "/v2/a/tags/list?n=-1", problem.Invalid, codeUnsupported},
	{"GET", "/v2/a/tags/list?n=x", problem.Invalid, codeUnsupported},
	{"GET", "/v2/a/tags/list?n=", problem.Invalid, codeUnsupported},
	{"GET", "/v2/a/tags/list?last=.x", problem.Invalid, codeUnsupported},
	{"GET", "/v2/_catalog?last=X", problem.Invalid, codeUnsupported},
	{"GET", "/v2/_catalog?n=%zz", problem.Invalid, codeUnsupported},
	{"GET", "/v2/a/tags/list?x=" + strings.Repeat("x", maxQuery), problem.Invalid, codeNameInvalid},
}

func TestParseRefuses(t *testing.T) {
	for _, tc := range refuseCases {
		got, err := parse(t, tc.method, tc.url)
		p, ok := problem.As(err)
		if !ok {
			t.Errorf("%s %.80s: no problem but %+v, %v", tc.method, tc.url, got, err)
			continue
		}
		if code := Code(got.Resource, p); p.Kind != tc.kind || code != tc.code {
			t.Errorf("%s %.80s: %s %s, want %s %s: %v", tc.method, tc.url, p.Kind, code, tc.kind, tc.code, err)
		}
		if len(p.Error()) > 1000 {
			t.Errorf("%s %.80s: message of %d bytes", tc.method, tc.url, len(p.Error()))
		}
	}
}

func parse(t testing.TB, method, raw string) (Request, error) {
	t.Helper()
	u, err := url.Parse("http://host" + raw)
	if err != nil { // as net/http reads what url.Parse refuses
		u = &url.URL{Path: raw}
		if path, query, ok := strings.Cut(raw, "?"); ok {
			u.Path, u.RawQuery = path, query
		}
	}
	return Parse(method, u)
}

func TestAllow(t *testing.T) {
	for res, want := range map[Resource]string{
		ResourceRoot:     "GET, HEAD",
		ResourceToken:    "GET, HEAD, POST",
		ResourceUploads:  "POST",
		ResourceUpload:   "GET, HEAD, PUT, PATCH, DELETE",
		ResourceManifest: "GET, HEAD, PUT, DELETE",
	} {
		if got := res.Allow(); got != want {
			t.Errorf("Allow of resource %d is %q, want %q", res, got, want)
		}
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	for _, path := range []string{"/v2/team-a/web/blobs/" + d256, "/v2/team-a/web/manifests/1.0.0", "/v2/team-a/web/blobs/" + d512} {
		u := &url.URL{Path: path}
		if n := testing.AllocsPerRun(100, func() {
			if _, err := Parse(http.MethodGet, u); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("Parse of %s makes %v allocations", path, n)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, path := range []string{
		"/v2/", "/v2/token", "/v2/_catalog", "/v2/a/b/blobs/" + d256, "/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/u-1",
		"/v2/a/manifests/1.0.0", "/v2/a/manifests/" + d512, "/v2/a/tags/list", "/v2/a/referrers/" + d256,
		"/v2//blobs/uploads", "/v2/blobs/uploads", "/v2/a/../b/manifests/x", "/v2/A/manifests/..",
	} {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} {
			f.Add(method, path, "")
		}
	}
	f.Add("POST", "/v2/a/blobs/uploads/", "mount="+d256+"&from=b/c&digest="+d512)
	f.Add("PUT", "/v2/a/manifests/"+d256, "tag=a&tag=b&tag=%zz")
	f.Add("GET", "/v2/a/tags/list", "n=10&last=x;y")
	f.Add("GET", "/v2/a/referrers/"+d256, "artifactType=a/b+c&last="+d256)
	f.Fuzz(func(t *testing.T, method, path, query string) {
		req, err := Parse(method, &url.URL{Path: path, RawQuery: query})
		if err != nil {
			p, ok := problem.As(err)
			if !ok || p.Kind != problem.Invalid && p.Kind != problem.NotFound && p.Kind != problem.Unsupported {
				t.Fatalf("%q %q %q: %v", method, path, query, err)
			}
			if m := message(p); len(m) > 4096 {
				t.Fatalf("message of %d bytes", len(m))
			}
			return
		}
		switch {
		case req.Kind == KindNone || req.Kind >= kinds || req.Resource == ResourceNone:
			t.Fatalf("no kind and no error: %+v", req)
		case req.Repository != "" && !specName.MatchString(req.Repository):
			t.Fatalf("name %q", req.Repository)
		case req.Resource > ResourceCatalog && req.Repository == "":
			t.Fatal("no name")
		case req.Tag != "" && !specTag.MatchString(req.Tag):
			t.Fatalf("tag %q", req.Tag)
		case req.Resource == ResourceManifest && (req.Tag == "") == (req.Digest == ""):
			t.Fatalf("tag %q and digest %q", req.Tag, req.Digest)
		case len(req.Tags) > MaxTags || req.Limit < -1 || req.Limit > maxLimit:
			t.Fatalf("%+v", req)
		}
		for _, d := range []string{req.Digest, req.Mount} {
			if d != "" && digest.Check(d) != nil {
				t.Fatalf("digest %q", d)
			}
		}
		for _, tag := range req.Tags {
			if !specTag.MatchString(tag) {
				t.Fatalf("tag %q", tag)
			}
		}
	})
}
