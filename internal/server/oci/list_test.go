package oci

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/release"
)

func TestTags(t *testing.T) {
	s := newSite(t)
	d, body := s.image("demo/web", "b", "layer")
	s.do(http.MethodPut, "/v2/demo/web/manifests/"+d+"?tag=d&tag=a&tag=c&tag=B", body, "Content-Type", typeManifest).want(t, http.StatusCreated)
	for _, tc := range []struct {
		query string
		want  []string
		link  string
	}{
		{"", []string{"B", "a", "b", "c", "d"}, ""},
		{"?n=2", []string{"B", "a"}, "last=a&n=2"},
		{"?n=2&last=a", []string{"b", "c"}, "last=c&n=2"},
		{"?n=2&last=c", []string{"d"}, ""},
		{"?n=5", []string{"B", "a", "b", "c", "d"}, ""},
		{"?n=0", []string{}, ""},
		{"?n=0&last=a", []string{}, ""},
		{"?last=b", []string{"c", "d"}, ""},
		{"?last=bb", []string{"c", "d"}, ""},
		{"?last=z", []string{}, ""},
		{"?n=99999999999999999999999", []string{"B", "a", "b", "c", "d"}, ""},
	} {
		a := s.do(http.MethodGet, "/v2/demo/web/tags/list"+tc.query, nil).want(t, http.StatusOK)
		var got struct {
			Name string
			Tags []string
		}
		if err := json.Unmarshal(a.body, &got); err != nil {
			t.Fatal(err)
		}
		if got.Name != "demo/web" || !reflect.DeepEqual(got.Tags, tc.want) {
			t.Errorf("%s: %+v, want %v: %s", tc.query, got, tc.want, a.body)
		}
		link := ""
		if tc.link != "" {
			link = "</v2/demo/web/tags/list?" + tc.link + `>; rel="next"`
		}
		a.wantHeader(t, "Link", link, "Content-Type", "application/json")
	}
	s.push("demo/empty", []byte("x"), "")
	if a := s.do(http.MethodGet, "/v2/demo/empty/tags/list", nil).want(t, http.StatusOK); string(a.body) != `{"name":"demo/empty","tags":[]}`+"\n" {
		t.Errorf("no tags: %s", a.body)
	}
	s.do(http.MethodHead, "/v2/demo/web/tags/list", nil).want(t, http.StatusOK)
	s.do(http.MethodGet, "/v2/demo/none/tags/list", nil).wantCode(t, http.StatusNotFound, codeNameUnknown)
	s.do(http.MethodGet, "/v2/demo/none/tags/list?n=0", nil).wantCode(t, http.StatusNotFound, codeNameUnknown)
	s.do(http.MethodGet, "/v2/demo/web/tags/list?n=x", nil).wantCode(t, http.StatusBadRequest, codeUnsupported)
}

func TestCatalog(t *testing.T) {
	s := newSite(t)
	for _, repo := range []string{"demo/b", "demo/a", "public/a"} {
		s.push(repo, []byte("x"), "")
	}
	s.fake.repo("secret/x")
	list := func(query, auth string) ([]string, *answer) {
		t.Helper()
		a := s.do(http.MethodGet, "/v2/_catalog"+query, nil, "Authorization", "", "Authorization", auth).want(t, http.StatusOK)
		var got struct{ Repositories []string }
		if err := json.Unmarshal(a.body, &got); err != nil {
			t.Fatal(err)
		}
		return got.Repositories, a
	}
	ci := s.auth
	if got, _ := list("", ci); !reflect.DeepEqual(got, []string{"demo/a", "demo/b", "public/a"}) {
		t.Error(got)
	}
	got, a := list("?n=2", ci)
	if !reflect.DeepEqual(got, []string{"demo/a", "demo/b"}) {
		t.Error(got)
	}
	a.wantHeader(t, "Link", `</v2/_catalog?last=demo%2Fb&n=2>; rel="next"`)
	if got, _ = list("?n=2&last=demo%2Fb", ci); !reflect.DeepEqual(got, []string{"public/a"}) {
		t.Error(got)
	}
	if got, _ = list("?n=0", ci); got == nil || len(got) != 0 {
		t.Error(got)
	}
	// A client that sent nothing is asked; an anonymous bearer shows what is public.
	s.auth = ""
	s.do(http.MethodGet, "/v2/_catalog", nil).wantCode(t, http.StatusUnauthorized, codeUnauthorized).
		wantHeader(t, "WWW-Authenticate", `Bearer realm="`+s.url+`/v2/token",service="`+s.host()+`",scope="registry:catalog:*"`)
	if got, _ = list("", "Bearer "+s.bearer("registry:catalog:*")); !reflect.DeepEqual(got, []string{"public/a"}) {
		t.Error(got)
	}
}

func TestReferrers(t *testing.T) {
	s := newSite(t)
	subject, _ := s.image("demo/web", "1.0.0", "layer")
	config, layer := digestOf("", []byte("{}")), digestOf("", []byte("layer"))
	body := manifestOf(config, layer, subject)
	d := digestOf("", body)
	a := s.do(http.MethodPut, "/v2/demo/web/manifests/"+d, body, "Content-Type", typeManifest).want(t, http.StatusCreated)
	a.wantHeader(t, "OCI-Subject", subject)

	type index struct {
		SchemaVersion int
		MediaType     string
		Manifests     []release.Descriptor
	}
	list := func(path string) (index, *answer) {
		t.Helper()
		a := s.do(http.MethodGet, path, nil).want(t, http.StatusOK).wantHeader(t, "Content-Type", typeIndex)
		var got index
		if err := json.Unmarshal(a.body, &got); err != nil {
			t.Fatal(err)
		}
		if got.SchemaVersion != 2 || got.MediaType != typeIndex || got.Manifests == nil {
			t.Errorf("%s: not an index: %s", path, a.body)
		}
		return got, a
	}
	want := release.Descriptor{
		MediaType: typeManifest, Digest: d, Size: int64(len(body)), ArtifactType: "application/vnd.example.sig+json",
		Annotations: map[string]string{"org.example": "yes"},
	}
	path := "/v2/demo/web/referrers/" + subject
	got, a := list(path)
	if diff := cmp.Diff([]release.Descriptor{want}, got.Manifests); diff != "" {
		t.Error(diff)
	}
	a.wantHeader(t, "OCI-Filters-Applied", "", "Link", "")
	got, a = list(path + "?artifactType=application%2Fvnd.example.sig%2Bjson")
	if len(got.Manifests) != 1 {
		t.Errorf("%+v", got)
	}
	a.wantHeader(t, "OCI-Filters-Applied", "artifactType")
	got, a = list(path + "?artifactType=application/none")
	if len(got.Manifests) != 0 {
		t.Errorf("%+v", got)
	}
	a.wantHeader(t, "OCI-Filters-Applied", "artifactType")
	for _, path := range []string{"/v2/demo/web/referrers/" + d256, "/v2/demo/none/referrers/" + d512} {
		if got, _ = list(path); len(got.Manifests) != 0 {
			t.Errorf("%s: %+v", path, got)
		}
	}
	s.do(http.MethodHead, path, nil).want(t, http.StatusOK).wantHeader(t, "Content-Type", typeIndex)
	s.do(http.MethodGet, "/v2/demo/web/referrers/sha256:x", nil).wantCode(t, http.StatusBadRequest, codeDigestInvalid)
}

// Pages together are the whole list, in its order, each once.
func TestReferrersPages(t *testing.T) {
	var all []release.Descriptor
	for i := range 100 {
		all = append(all, release.Descriptor{MediaType: typeManifest, Digest: digestOf("", fmt.Append(nil, i)), Annotations: map[string]string{"a": strings.Repeat("x", i*20)}})
	}
	for _, most := range []int{1, 500, 5000, 1 << 20} {
		var got []release.Descriptor
		last, pages := "", 0
		for {
			part, more, err := referrersPage(all, last, most)
			if err != nil {
				t.Fatal(err)
			}
			size := 0
			for _, b := range part {
				var d release.Descriptor
				if err := json.Unmarshal(b, &d); err != nil {
					t.Fatal(err)
				}
				got = append(got, d)
				size += len(b)
			}
			if size > most && len(part) > 1 {
				t.Errorf("a page of %d bytes, limit %d", size, most)
			}
			pages++
			if last = more; more == "" {
				break
			}
		}
		if diff := cmp.Diff(all, got); diff != "" {
			t.Errorf("limit %d, %d pages: %s", most, pages, diff)
		}
	}
	if _, _, err := referrersPage(all, d256, 1000); err == nil {
		t.Error("a page behind an unknown digest")
	}
}

func TestReferrersLink(t *testing.T) {
	s := newSite(t)
	r := s.fake.repo("demo/web")
	for i := range 30 {
		body := fmt.Append(nil, i)
		d := digestOf("", body)
		r.manifests[d] = &release.Manifest{Digest: d, MediaType: typeManifest, Subject: d256, ArtifactType: "a/b", Bytes: body,
			Annotations: []byte(`{"a":"` + strings.Repeat("x", 200_000) + `"}`)}
		r.order = append(r.order, d)
	}
	path, seen := "/v2/demo/web/referrers/"+d256+"?artifactType=a/b", 0
	for range 10 {
		a := s.do(http.MethodGet, path, nil).want(t, http.StatusOK).wantHeader(t, "OCI-Filters-Applied", "artifactType")
		var got struct{ Manifests []json.RawMessage }
		if err := json.Unmarshal(a.body, &got); err != nil {
			t.Fatal(err)
		}
		if len(a.body) > release.MaxManifest {
			t.Errorf("an index of %d bytes", len(a.body))
		}
		seen += len(got.Manifests)
		link := a.Header.Get("Link")
		if link == "" {
			break
		}
		path, _, _ = strings.Cut(strings.TrimPrefix(link, "<"), ">")
	}
	if seen != 30 {
		t.Errorf("%d referrers on all pages, want 30", seen)
	}
}
