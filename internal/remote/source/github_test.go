package source

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

func TestGitHubAPI(t *testing.T) {
	for _, tc := range []struct{ url, api, name string }{
		{"https://github.com/airflow-helm/charts", "https://api.github.com", "airflow-helm/charts"},
		{"https://github.com/airflow-helm/charts/", "https://api.github.com", "airflow-helm/charts"},
		{"https://GitHub.com/airflow-helm/charts.git", "https://api.github.com", "airflow-helm/charts"},
		{"https://git.example.com/o/r", "https://git.example.com/api/v3", "o/r"},
		{"https://corp.ghe.com/o/r", "https://api.corp.ghe.com", "o/r"},
		{"http://127.0.0.1:1/o/r", "http://127.0.0.1:1/api/v3", "o/r"},
		{"https://github.com/airflow-helm", "", ""},
		{"https://github.com/a/b/releases", "", ""},
		{"https://github.com//b", "", ""},
	} {
		api, name, err := gitHubAPI(tc.url)
		if api != tc.api || name != tc.name || (err == nil) != (tc.api != "") {
			t.Errorf("%s: %q %q %v", tc.url, api, name, err)
		}
	}
}

// gitHubFake answers like GitHub's API, from testdata/github. Its files are
// synthetic, and what is tested with them alone is not proven live; the tests
// named Recorded read what GitHub answered.
type gitHubFake struct {
	*site
	repository, releases string // names of files
	auth                 []string
	header               http.Header // beside
}

func newGitHub(t *testing.T) *gitHubFake {
	g := &gitHubFake{site: newSite(t), repository: "repository.json", releases: "releases.json", header: http.Header{}}
	answer := func(file func() string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			g.auth = append(g.auth, r.Header.Get("Authorization"))
			for k, v := range g.header {
				w.Header()[k] = v
			}
			etag := `W/"` + file() + `"`
			w.Header().Set("ETag", etag)
			if r.Header.Get("If-None-Match") == etag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			b, err := os.ReadFile("testdata/github/" + file())
			if err != nil {
				t.Error(err)
			}
			_, _ = w.Write(b)
		}
	}
	g.page("/api/v3/repos/o/charts", answer(func() string { return g.repository }))
	g.page("/api/v3/repositories/1", answer(func() string { return g.repository }))
	g.page("/api/v3/repos/o/charts/releases", answer(func() string { return g.releases }))
	return g
}

func TestGitHubSynthetic(t *testing.T) {
	g := newGitHub(t)
	s := reader(t, Config{}, "  gh: {host: '"+g.host()+"', token_file: tok}\n", map[string]string{"tok": "hunter2"})
	src := watch.Source{ID: 3, Kind: watch.SourceGitHub, URL: g.URL + "/o/charts", Credential: "gh", Chart: "web"}
	f := poll(t, s, src, watch.Validators{})
	want := []string{
		"release 103|redis-ha|4.1.0-rc.1|Redis HA|https://github.example/o/charts/releases/tag/redis-ha-4.1.0-rc.1|2026-03-01|### Changed\n- everything",
		"release 102|web|1.1.0|v1.1.0|https://github.example/o/charts/releases/tag/v1.1.0|2026-02-01|second",
		"release 101|web||nightly|https://github.example/o/charts/releases/tag/nightly|2026-01-01|",
	}
	if got := described(f.Notes); !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if f.Repository == nil || f.Repository.Archived || f.Repository.MovedTo != "" {
		t.Errorf("%+v", f.Repository)
	}
	for _, a := range g.auth {
		if a != "Bearer hunter2" {
			t.Errorf("sent %q", a)
		}
	}
	g.requests()
	again := poll(t, s, src, f.Validators)
	if !again.Unchanged || again.Bytes != 0 || again.Notes != nil {
		t.Errorf("again: %+v", again)
	}
	if got := g.requests(); len(got) != 2 {
		t.Errorf("again: asked %v", got)
	}
	// The repository alone changes: it is archived, and renamed.
	g.repository = "archived.json"
	f = poll(t, s, src, again.Validators)
	if f.Unchanged || !f.Repository.Archived || f.Repository.MovedTo != "p/charts" || f.Notes != nil {
		t.Errorf("archived: %+v %+v", f, f.Repository)
	}
	if f = poll(t, s, src, f.Validators); !f.Unchanged {
		t.Errorf("archived again: %+v", f)
	}
	// One that was renamed answers from another address.
	g.page("/api/v3/repos/o/charts", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/api/v3/repositories/1", http.StatusMovedPermanently)
	})
	if f = poll(t, s, src, watch.Validators{}); f.Repository.MovedTo != "p/charts" {
		t.Errorf("renamed: %+v", f.Repository)
	}
}

func TestGitHubSyntheticPages(t *testing.T) {
	g := newGitHub(t)
	s := reader(t, Config{}, "", nil)
	src := watch.Source{Kind: watch.SourceGitHub, URL: g.URL + "/o/charts"}
	pages, away := 3, ""
	g.page("/api/v3/repos/o/charts/releases", func(w http.ResponseWriter, r *http.Request) {
		n := 1
		fmt.Sscan(r.URL.Query().Get("page"), &n)
		if r.URL.Query().Get("per_page") != "100" {
			t.Errorf("asked for %s", r.URL)
		}
		if n < pages {
			w.Header().Set("Link", fmt.Sprintf(`<%s/api/v3/x>; rel="prev", <%s/api/v3/repos/o/charts/releases?per_page=100&page=%d>; rel="next", <%s>; rel="last"`, g.URL, g.URL+away, n+1, g.URL))
		}
		w.Header().Set("ETag", fmt.Sprintf(`"%d"`, n))
		_ = json.NewEncoder(w).Encode([]map[string]any{{"id": n, "tag_name": fmt.Sprintf("v1.0.%d", n), "published_at": time.Unix(int64(n), 0)}})
	})
	f := poll(t, s, src, watch.Validators{})
	if len(f.Notes) != 3 || f.Notes[2].Version != "1.0.3" || f.Validators.ETag != `"1"` {
		t.Errorf("%+v", f)
	}
	pages = 1000
	if f = poll(t, s, src, watch.Validators{}); len(f.Notes) != maxGitHubPages {
		t.Errorf("%d pages were read", len(f.Notes))
	}
	away = "9"
	_, err := s.Poll(t.Context(), src, watch.Validators{})
	wants(t, err, problem.Invalid, "to another address")
}

func TestGitHubSyntheticRefuses(t *testing.T) {
	g := newGitHub(t)
	s := reader(t, Config{}, "", nil)
	src := watch.Source{Kind: watch.SourceGitHub, URL: g.URL + "/o/charts"}
	reset := time.Now().Add(20 * time.Minute)
	g.header.Set("X-RateLimit-Remaining", "0")
	g.header.Set("X-RateLimit-Reset", fmt.Sprint(reset.Unix()))
	near := func(d time.Duration) bool { return d > 19*time.Minute && d <= 20*time.Minute }
	if f := poll(t, s, src, watch.Validators{}); !near(f.RetryAfter) || len(f.Notes) != 3 {
		t.Errorf("the last request: %+v", f)
	}
	g.page("/api/v3/repos/o/charts", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-RateLimit-Remaining", "0")
		w.Header().Set("X-RateLimit-Reset", fmt.Sprint(reset.Unix()))
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"message":"API rate limit exceeded"}`)
	})
	f, err := s.Poll(t.Context(), src, watch.Validators{})
	wants(t, err, problem.Unavailable, "asked too often")
	if !near(f.RetryAfter) {
		t.Errorf("pause %s", f.RetryAfter)
	}
	for _, body := range []string{"<html>", "[]", "{}"} {
		g.page("/api/v3/repos/o/charts", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, body) })
		_, err := s.Poll(t.Context(), src, watch.Validators{})
		wants(t, err, problem.Invalid, "not that of GitHub's API")
	}
	src.URL = g.URL + "/o/none"
	_, err = s.Poll(t.Context(), src, watch.Validators{})
	wants(t, err, problem.NotFound)
}

func FuzzReleases(f *testing.F) {
	f.Add([]byte(`[{"id":1,"tag_name":"v1.0.0","body":"x","html_url":"https://h.example","published_at":"2026-01-01T00:00:00Z"}]`))
	f.Add([]byte(`[null,{}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		notes, err := releases(b, watch.Source{Chart: "web"})
		if err != nil && notes != nil {
			t.Fatal("both")
		}
		for _, n := range notes {
			if n.Key == "" || strings.ContainsAny(n.Title+n.Text+n.Chart, "\x00\x1b") {
				t.Fatalf("%+v", n)
			}
		}
	})
}
