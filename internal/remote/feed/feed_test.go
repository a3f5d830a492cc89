package feed

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/upgrade"
	"github.com/chartkeep/chartkeep/internal/watch"
)

func reader(t *testing.T, limit int64, h http.HandlerFunc) (*Reader, string) {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c := remote.New(remote.Config{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(c.Close)
	return New(c, limit), s.URL
}

func TestReadFeed(t *testing.T) {
	r, at := reader(t, 100, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		if r.Header.Get("If-None-Match") == `"one"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, strings.Repeat("a", map[string]int{"/all.zip": 100, "/large.zip": 101}[r.URL.Path]))
	})
	f := upgrade.Feed{Name: "f", URL: at + "/all.zip?x=1"}
	got, err := r.ReadFeed(t.Context(), f)
	if err != nil || got.Unchanged || got.Name != "all.zip" || got.Validators.ETag != `"one"` {
		t.Fatalf("%+v %v", got, err)
	}
	if b, err := io.ReadAll(got.Body); len(b) != 100 || err != nil {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	got.Body.Close()
	f.Validators = got.Validators
	if got, err = r.ReadFeed(t.Context(), f); err != nil || !got.Unchanged {
		t.Errorf("again: %+v %v", got, err)
	}
	got, err = r.ReadFeed(t.Context(), upgrade.Feed{Name: "f", URL: at + "/large.zip"})
	if err == nil {
		_, err = io.ReadAll(got.Body)
		got.Body.Close()
	}
	if problem.KindOf(err) != problem.TooLarge {
		t.Errorf("over the limit: %v", err)
	}
}

func TestReadFeedSaysWhatIsWrong(t *testing.T) {
	r, at := reader(t, 100, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	got, err := r.ReadFeed(t.Context(), upgrade.Feed{Name: "f", URL: at})
	if problem.KindOf(err) != problem.Unavailable || got.RetryAfter.Seconds() != 120 {
		t.Errorf("%+v %v", got, err)
	}
	closed := remote.New(remote.Config{})
	defer closed.Close()
	if _, err := New(closed, 100).ReadFeed(t.Context(), upgrade.Feed{Name: "f", URL: at}); problem.KindOf(err) != problem.Denied {
		t.Errorf("an address of this machine: %v", err)
	}
}

// TestPages: the advisories of a repository come in pages, all of which are
// read; that the first page is the same says nothing when there are more.
func TestPages(t *testing.T) {
	pages, asked := 3, 0
	r, at := reader(t, 100, func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Query().Get("per_page") != "100" {
			t.Errorf("asked for %s", r.URL)
		}
		w.Header().Set("ETag", `"p"`)
		if pages == 1 && r.Header.Get("If-None-Match") == `"p"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		n := 1
		fmt.Sscan(r.URL.Query().Get("page"), &n)
		if n < pages {
			w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?per_page=100&page=%d>; rel="next", <http://%[1]s/x>; rel="last"`, r.Host, r.URL.Path, n+1))
		}
		fmt.Fprintf(w, `[{"ghsa_id":"GHSA-%d"}]`, n)
	})
	f := upgrade.Feed{Name: "f", URL: at + "/repos/airflow-helm/charts/security-advisories"}
	got, err := r.ReadFeed(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(got.Body); string(b) != `[{"ghsa_id":"GHSA-1"},{"ghsa_id":"GHSA-2"},{"ghsa_id":"GHSA-3"}]` || got.Validators.ETag != "" || asked != 3 {
		t.Errorf("%s %+v, asked %d times", b, got.Validators, asked)
	}
	pages = 1
	if got, err = r.ReadFeed(t.Context(), f); err != nil || got.Validators.ETag != `"p"` {
		t.Fatalf("%+v %v", got, err)
	}
	f.Validators = got.Validators
	if got, err = r.ReadFeed(t.Context(), f); err != nil || !got.Unchanged || got.Validators != f.Validators {
		t.Errorf("%+v %v", got, err)
	}
}

func TestPagesStayAtTheirHost(t *testing.T) {
	r, at := reader(t, 100, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", `<http://127.0.0.2:1/steal>; rel="next"`)
		fmt.Fprint(w, `[]`)
	})
	got, err := r.ReadFeed(t.Context(), upgrade.Feed{Name: "f", URL: at + "/security-advisories", Validators: watch.Validators{}})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(got.Body); string(b) != "[]" {
		t.Errorf("%s", b)
	}
	r, at = reader(t, 100, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", fmt.Sprintf(`<http://%s/security-advisories?per_page=100>; rel="next"`, r.Host))
		fmt.Fprint(w, `[]`)
	})
	if _, err := r.ReadFeed(t.Context(), upgrade.Feed{Name: "f", URL: at + "/security-advisories"}); problem.KindOf(err) != problem.TooLarge {
		t.Errorf("pages without end: %v", err)
	}
	r, at = reader(t, 100, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"message":"Not Found"}`) })
	if _, err := r.ReadFeed(t.Context(), upgrade.Feed{Name: "f", URL: at + "/security-advisories"}); problem.KindOf(err) != problem.Invalid {
		t.Errorf("no list: %v", err)
	}
}
