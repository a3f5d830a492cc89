package desk

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// forge is a repository's issues behind the part of GitHub's API that is used.
// It is synthetic: not proven against the real one.
type forge struct {
	t      *testing.T
	issues []map[string]any
	refuse int // status of every answer
}

func (f *forge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if got := r.Header.Get("Authorization"); got != "Bearer s3cret" {
		f.t.Errorf("authorization %q", got)
	}
	if f.refuse != 0 {
		w.WriteHeader(f.refuse)
		return
	}
	const base = "/api/v3/repos/platform/charts/issues"
	rest, ok := strings.CutPrefix(r.URL.Path, base)
	if !ok {
		f.t.Errorf("asked for %s", r.URL.Path)
	}
	var in map[string]any
	if r.Method != http.MethodGet {
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			f.t.Error(err)
		}
	}
	switch {
	case r.Method == http.MethodGet:
		if q := r.URL.Query(); q.Get("state") != "all" || q.Get("labels") != "chartkeep" {
			f.t.Errorf("listed with %s", r.URL.RawQuery)
		}
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		list := slices.Clone(f.issues)
		slices.Reverse(list)
		from := min((page-1)*100, len(list))
		json.NewEncoder(w).Encode(list[from:min(from+100, len(list))])
	case r.Method == http.MethodPost && rest == "":
		in["number"], in["state"] = len(f.issues)+1, "open"
		in["html_url"] = fmt.Sprintf("https://forge.example/platform/charts/issues/%d", len(f.issues)+1)
		f.issues = append(f.issues, in)
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(in)
	case r.Method == http.MethodPatch:
		n, err := strconv.Atoi(rest[1:])
		if err != nil || n > len(f.issues) {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		for k, v := range in {
			f.issues[n-1][k] = v
		}
		json.NewEncoder(w).Encode(f.issues[n-1])
	}
}

func open(t *testing.T) (*Desk, *forge, upgrade.Tracker) {
	f := &forge{t: t}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	dir := t.TempDir()
	file := filepath.Join(dir, "credentials.yaml")
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, "credentials:\n  forge: {host: '%s', token_file: token}\n", s.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	creds, err := remote.LoadCredentials(file)
	if err != nil {
		t.Fatal(err)
	}
	c := remote.New(remote.Config{Credentials: creds, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(c.Close)
	return New(c), f, upgrade.Tracker{Name: "t", Kind: upgrade.TrackerGitHub, URL: s.URL + "/platform/charts", Credential: "forge"}
}

func TestIssues(t *testing.T) {
	d, f, k := open(t)
	if _, err := d.Find(t.Context(), k, "mark-1"); problem.KindOf(err) != problem.NotFound {
		t.Fatalf("no issue: %v", err)
	}
	text := upgrade.IssueText{Title: "move it", Body: "<!-- mark-1 -->\ntext", Labels: []string{"security"}}
	made, err := d.Create(t.Context(), k, text)
	if err != nil || made.Number != 1 || made.Closed || made.URL != "https://forge.example/platform/charts/issues/1" {
		t.Fatalf("%+v %v", made, err)
	}
	if got := fmt.Sprint(f.issues[0]["labels"]); got != "[security chartkeep]" {
		t.Errorf("labels %s", got)
	}
	found, err := d.Find(t.Context(), k, "mark-1")
	if err != nil || found != made {
		t.Errorf("found %+v %v", found, err)
	}
	text.Body, text.Closed = "<!-- mark-1 -->\ndone", true
	is, err := d.Update(t.Context(), k, 1, text)
	if err != nil || !is.Closed || f.issues[0]["body"] != text.Body {
		t.Errorf("%+v %v %v", is, err, f.issues[0])
	}
	// Somebody's own state stays when the text is brought up to date.
	text.Closed = false
	if is, err = d.Update(t.Context(), k, 1, text); err != nil || !is.Closed {
		t.Errorf("%+v %v", is, err)
	}
	if is, err = d.Create(t.Context(), k, upgrade.IssueText{Title: "t", Body: "mark-2", Closed: true}); err != nil || !is.Closed || is.Number != 2 {
		t.Errorf("created closed: %+v %v", is, err)
	}
}

func TestFindLooksThroughPages(t *testing.T) {
	d, f, k := open(t)
	for i := range 250 {
		f.issues = append(f.issues, map[string]any{"number": i + 1, "body": fmt.Sprintf("<!-- mark-%d. -->", i+1), "state": "open"})
	}
	f.issues[0]["pull_request"] = map[string]any{"url": "x"}
	if is, err := d.Find(t.Context(), k, "mark-2."); err != nil || is.Number != 2 {
		t.Errorf("%+v %v", is, err)
	}
	if _, err := d.Find(t.Context(), k, "mark-1."); problem.KindOf(err) != problem.NotFound {
		t.Errorf("a pull request is no issue: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	d, f, k := open(t)
	for status, want := range map[int]problem.Kind{http.StatusForbidden: problem.Denied, http.StatusBadGateway: problem.Unavailable} {
		f.refuse = status
		if _, err := d.Create(t.Context(), k, upgrade.IssueText{Title: "t"}); problem.KindOf(err) != want {
			t.Errorf("%d: %v", status, err)
		}
	}
	f.refuse = 0
	k.Credential = "none"
	if _, err := d.Find(t.Context(), k, "m"); err == nil {
		t.Error("a credential that there is not")
	}
}

func TestEndpoint(t *testing.T) {
	for _, c := range [][3]string{
		{"https://github.com/a/b", "", "https://api.github.com/repos/a/b/issues"},
		{"https://forge.example/a/b/", "", "https://forge.example/api/v3/repos/a/b/issues"},
		{"https://forge.example/a/b", "https://api.forge.example/", "https://api.forge.example/repos/a/b/issues"},
	} {
		if got, err := endpoint(upgrade.Tracker{URL: c[0], API: c[1]}); err != nil || got != c[2] {
			t.Errorf("%s: %s %v", c[0], got, err)
		}
	}
}

func TestCut(t *testing.T) {
	long := "<!-- mark -->" + strings.Repeat("é", maxBody)
	got := cut(long)
	if !strings.HasPrefix(got, "<!-- mark -->é") || !strings.Contains(got, "was cut") || len([]rune(got)) > 65_000 {
		t.Errorf("%d characters", len([]rune(got)))
	}
	if cut("short") != "short" {
		t.Error("a short text was changed")
	}
}
