package source

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// An archive that is had already costs one request without a body.
func TestArchiveAgain(t *testing.T) {
	h := newSite(t)
	tag, modified, sent := `"one"`, "", 0
	h.page("/a.tgz", func(w http.ResponseWriter, r *http.Request) {
		if tag != "" {
			w.Header().Set("ETag", tag)
		}
		if modified != "" {
			w.Header().Set("Last-Modified", modified)
		}
		if tag != "" && r.Header.Get("If-None-Match") == tag || modified != "" && r.Header.Get("If-Modified-Since") == modified {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		sent++
		fmt.Fprint(w, "archive")
	})
	h.page("/odd.tgz", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotModified) })
	s := reader(t, Config{}, "", nil)
	src := watch.Source{Kind: watch.SourceIndex, URL: h.URL}
	ask := func(v watch.Validators) watch.Opened {
		t.Helper()
		o, err := s.Archive(t.Context(), src, h.URL+"/a.tgz", v)
		if err != nil {
			t.Fatal(err)
		}
		if !o.Unchanged {
			b, err := io.ReadAll(o)
			if err != nil || string(b) != "archive" {
				t.Fatalf("%q %v", b, err)
			}
			o.Close()
		} else if o.ReadCloser != nil {
			t.Fatal("what did not change has a body")
		}
		return o
	}
	first := ask(watch.Validators{})
	if first.Unchanged || first.Validators != (watch.Validators{ETag: tag}) {
		t.Fatalf("%+v", first)
	}
	if again := ask(first.Validators); !again.Unchanged || sent != 1 {
		t.Fatalf("%+v, %d bodies were sent", again, sent)
	}
	tag = `"two"`
	if other := ask(first.Validators); other.Unchanged || other.Validators.ETag != `"two"` {
		t.Fatalf("%+v", other)
	}
	tag, modified = "", "Mon, 02 Mar 2020 12:00:00 GMT"
	dated := ask(watch.Validators{})
	if dated.Validators != (watch.Validators{LastModified: modified}) || !ask(dated.Validators).Unchanged {
		t.Fatalf("%+v", dated)
	}
	modified = ""
	if bare := ask(watch.Validators{}); bare.Validators != (watch.Validators{}) {
		t.Fatalf("%+v", bare)
	}
	_, err := s.Archive(t.Context(), src, h.URL+"/odd.tgz", watch.Validators{})
	wants(t, err, problem.Unavailable) // 304 to who has nothing
}

func TestOCIArchiveAgain(t *testing.T) {
	r := newRegistry(t)
	r.push("1.0.0", "one")
	s := reader(t, Config{}, "", nil)
	src := watch.Source{Kind: watch.SourceIndex, URL: "http://" + r.host()}
	first, err := s.Archive(t.Context(), src, r.url()+":1.0.0", watch.Validators{})
	if err != nil || first.Validators.ETag != r.tags["1.0.0"] {
		t.Fatalf("%+v %v", first, err)
	}
	first.Close()
	r.requests()
	again, err := s.Archive(t.Context(), src, r.url()+":1.0.0", first.Validators)
	if err != nil || !again.Unchanged {
		t.Fatalf("%+v %v", again, err)
	}
	if got := fmt.Sprint(r.requests()); got != "[HEAD /v2/charts/web/manifests/1.0.0]" {
		t.Errorf("it cost %s", got)
	}
	r.push("1.0.0", "two")
	other, err := s.Archive(t.Context(), src, r.url()+":1.0.0", first.Validators)
	if err != nil || other.Unchanged {
		t.Fatalf("%+v %v", other, err)
	}
	if b, err := io.ReadAll(other); err != nil || string(b) != "two" {
		t.Errorf("%q %v", b, err)
	}
	other.Close()
}

func TestProvenance(t *testing.T) {
	h := newSite(t)
	answer := func(path, body string, status int) {
		h.page(path, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		})
	}
	answer("/a.tgz.prov", "signed", 200)
	answer("/refused.tgz.prov", "no", 403)
	answer("/login.tgz.prov", "no", 401)
	answer("/gone.tgz.prov", "no", 410)
	answer("/page.tgz.prov", "\n<!doctype html><p>not found", 200)
	answer("/down.tgz.prov", "no", 503)
	answer("/large.tgz.prov", strings.Repeat("x", chart.MaxProvenance+1), 200)
	s := reader(t, Config{}, "", nil)
	src := watch.Source{Kind: watch.SourceIndex, URL: h.URL}
	for name, want := range map[string]string{"a": "signed", "none": "", "refused": "", "login": "", "gone": "", "page": ""} {
		if b, err := s.Provenance(t.Context(), src, h.URL+"/"+name+".tgz"); err != nil || string(b) != want || want == "" && b != nil {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
	_, err := s.Provenance(t.Context(), src, h.URL+"/down.tgz")
	wants(t, err, problem.Unavailable)
	_, err = s.Provenance(t.Context(), src, h.URL+"/large.tgz")
	wants(t, err, problem.TooLarge)

	r := newRegistry(t)
	r.push("1.0.0", "one")
	manifest := func(size int, prov string) string {
		return r.put(fmt.Appendf(nil, `{"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[{"mediaType":%q,"digest":%q,"size":3},{"mediaType":%q,"digest":%q,"size":%d}]}`,
			configType, digest.SHA256([]byte("{}")), layerType, r.put([]byte("two")), provenanceType, prov, size))
	}
	r.tags["2.0.0"] = manifest(6, r.put([]byte("signed")))
	r.tags["3.0.0"] = manifest(6, digest.SHA256([]byte("lost")))
	r.tags["4.0.0"] = manifest(chart.MaxProvenance+1, r.put([]byte("signed")))
	r.blobs[digest.SHA256([]byte("swapped"))] = []byte("other 7")
	r.tags["5.0.0"] = manifest(7, digest.SHA256([]byte("swapped")))
	for tag, want := range map[string]string{"1.0.0": "", "2.0.0": "signed", "9.0.0": ""} {
		if b, err := s.Provenance(t.Context(), src, r.url()+":"+tag); err != nil || string(b) != want {
			t.Errorf("%s: %q %v", tag, b, err)
		}
	}
	_, err = s.Provenance(t.Context(), src, r.url()+":3.0.0")
	wants(t, err, problem.Invalid, "does not have")
	_, err = s.Provenance(t.Context(), src, r.url()+":4.0.0")
	wants(t, err, problem.TooLarge)
	_, err = s.Provenance(t.Context(), src, r.url()+":5.0.0")
	wants(t, err, problem.Disproven)
}
