package cli

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/client"
)

func TestFailOn(t *testing.T) {
	for _, tt := range []struct {
		words   string
		counts  map[string]int
		unknown int
		want    int
	}{
		{"", map[string]int{"critical": 1}, 3, exitDone},
		{"high", map[string]int{"critical": 1}, 0, exitFindings},
		{"high", map[string]int{"high": 1}, 9, exitFindings},
		{"high", map[string]int{"medium": 4}, 0, exitDone},
		{"high", map[string]int{"unknown": 1}, 0, exitFindings}, // nobody rated it
		{"high", map[string]int{"critical": 0}, 1, exitFailed},  // what is unknown is never 0
		{"unknown", map[string]int{"critical": 1}, 0, exitDone},
		{"unknown", nil, 1, exitFindings},
		{"low,unknown", nil, 1, exitFindings},
		{"info", map[string]int{"info": 1}, 0, exitFindings},
	} {
		on, err := readFailOn(slices.DeleteFunc(strings.Split(tt.words, ","), func(s string) bool { return s == "" }))
		if err != nil {
			t.Fatal(err)
		}
		if got := exitOf(on.end(tt.counts, tt.unknown)); got != tt.want {
			t.Errorf("--fail-on %q with %v and %d unknown: exit code %d, want %d", tt.words, tt.counts, tt.unknown, got, tt.want)
		}
	}
}

func TestSpanWords(t *testing.T) {
	for in, want := range map[time.Duration]string{
		0: "0 min", 59 * time.Second: "0 min", 90 * time.Minute: "1 h", 25 * time.Hour: "1 d 1 h", 48 * time.Hour: "2 d", 240*time.Hour + time.Hour: "10 d", 30000 * time.Hour: "1,250 d",
	} {
		if got := spanWords(in); got != want {
			t.Errorf("spanWords(%v) = %q, want %q", in, got, want)
		}
	}
	if got := dueOf(time.Time{}, noon, true, 0); got != "unknown" {
		t.Errorf("what was not judged is due %q", got)
	}
	if got := dueOf(time.Time{}, noon, false, 1); got != "none known" {
		t.Errorf("with an unknown image it is due %q", got)
	}
	if got := dueOf(noon.Add(-time.Hour), noon, true, 2); got != "2026-03-02 11:00Z, late by 1 h" {
		t.Errorf("late: %q", got)
	}
}

func TestUnknownOf(t *testing.T) {
	for _, tt := range []struct {
		images, unjudged int
		want             string
	}{
		{0, 0, "no image is unknown"},
		{4, 0, "unknown: 4 images, not known to be clean"},
		{0, 1, "unknown: all images of 1 deployment not judged, not known to be clean"},
		{1, 2, "unknown: 1 image, and all of 2 deployments not judged; not known to be clean"},
	} {
		if got := unknownOf(tt.images, tt.unjudged); got != tt.want {
			t.Errorf("unknownOf(%d, %d) = %q", tt.images, tt.unjudged, got)
		}
	}
}

func TestFeedPreset(t *testing.T) {
	for name := range feedPresets {
		f, err := feedPreset(name)
		if err != nil || f.Name != name || !strings.HasPrefix(f.URL, "https://") || f.Kind == "" {
			t.Errorf("preset %s: %+v, %v", name, f, err)
		}
		if !strings.Contains(presetNames, name) {
			t.Errorf("preset %s is not offered", name)
		}
	}
	f, err := feedPreset("github:Airflow-Helm/Charts_2")
	if err != nil || f.Name != "github-airflow-helm-charts-2" || f.URL != "https://api.github.com/repos/Airflow-Helm/Charts_2/security-advisories?per_page=100" {
		t.Errorf("%+v, %v", f, err)
	}
	for _, bad := range []string{"", "nvd", "github:", "github:a", "github:a/", "github:/b", "github:a/b/c", "github:a/b?x"} {
		if _, err := feedPreset(bad); exitOf(err) != exitUsage {
			t.Errorf("preset %q: %v", bad, err)
		}
	}
}

func TestSignAnswers(t *testing.T) {
	opt := signOptions{answers: []string{"01=yes, tested", "rights=a=b"}}
	given, err := opt.given()
	if err != nil || !maps.Equal(given, map[string]string{"01": "yes, tested", "rights": "a=b"}) {
		t.Errorf("%v, %v", given, err)
	}
	for _, bad := range [][]string{{"01"}, {"=x"}, {"01= "}, {"01=a", "01=b"}} {
		if _, err := (&signOptions{answers: bad}).given(); exitOf(err) != exitUsage {
			t.Errorf("%q is taken: %v", bad, err)
		}
	}

	items := []client.ChecklistItem{
		{ID: "01", Text: "Is it tested?", Required: true, Role: "reviewer"}, {ID: "02", Text: "Is it read?", Role: "reviewer"},
		{ID: "03", Text: "Are the rights needed?", Required: true, Role: "security"}, {ID: "04", Text: "And the values?", Required: true, Role: "reviewer"}, {ID: "05", Text: "Else?", Required: true, Role: "reviewer"},
	}
	var asked []string
	got, err := complete(items, "reviewer", map[string]string{"01": "yes"}, func(q string) (string, error) {
		asked = append(asked, q)
		return map[string]string{"04: And the values?": " kept "}[q], nil
	})
	if err != nil || !maps.Equal(got, map[string]string{"01": "yes", "04": "kept"}) || !slices.Equal(asked, []string{"04: And the values?", "05: Else?"}) {
		t.Errorf("%v, %v; asked %q", got, err, asked)
	}
	stop := errors.New("stop")
	if _, err := complete(items, "security", nil, func(string) (string, error) { return "", stop }); !errors.Is(err, stop) {
		t.Errorf("an answer that cannot be read: %v", err)
	}
}

func TestRoleOf(t *testing.T) {
	both := []string{"reviewer", "security"}
	for _, tt := range []struct {
		given  string
		roles  []string
		signed string
		want   string
	}{
		{"security", both, "", "security"}, {"", both, "reviewer", "security"}, {"", both[:1], "", "reviewer"}, {"", both[:1], "reviewer", "reviewer"}, {"", both, "", ""},
	} {
		r := client.Review{Digest: some, Roles: tt.roles}
		if tt.signed != "" {
			r.Signoffs = []client.Signoff{{Role: tt.signed, Accepted: true}}
		}
		got, err := roleOf(tt.given, &r)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("--as %q of %v, signed as %q: %q, %v", tt.given, tt.roles, tt.signed, got, err)
		}
	}
	if !slices.Equal(both, []string{"reviewer", "security"}) {
		t.Errorf("the roles of the review were changed: %v", both)
	}
}

// A folder and a file are one import, packed on the way; hidden files stay out.
func TestImportPacks(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"feeds/a.json": "one", "feeds/.git/x.json": "no", "feeds/.y.json": "no", "feeds/b/c.json": "two", "more.json": "three"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("more.json", "link.json"); err != nil {
		t.Fatal(err)
	}
	var got []string
	answer := func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.URL.String())
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		for tr := tar.NewReader(bytes.NewReader(body)); ; {
			h, err := tr.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				got = append(got, "body "+string(body))
				break
			}
			text, _ := io.ReadAll(tr)
			got = append(got, h.Name+" "+string(text))
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"schema":"advisory-import/v1","feed":"own","faults":[]}`)
	}
	srv := httptest.NewServer(http.HandlerFunc(answer))
	defer srv.Close()
	env := []string{"CHARTKEEP_SERVER=" + srv.URL}
	for _, tt := range []struct {
		paths []string
		want  []string
	}{
		{[]string{"more.json"}, []string{"PUT /api/v1/advisory-feeds/own/records?file=more.json", "body three"}},
		{[]string{"feeds", "link.json"}, []string{"PUT /api/v1/advisory-feeds/own/records?file=feeds.tar", "feeds/a.json one", "feeds/b/c.json two", "link.json three"}},
	} {
		got = nil
		if code, _, stderr := run(t.Context(), env, append([]string{"advisory", "import", "own"}, tt.paths...)...); code != 0 || !slices.Equal(got, tt.want) {
			t.Errorf("%v: exit code %d, %q; the server saw %q", tt.paths, code, stderr, got)
		}
	}

	// Nothing is sent when a path is not there, and a refusal ends the packing.
	got = nil
	if code, _, _ := run(t.Context(), env, "advisory", "import", "own", "feeds", "nowhere"); code != exitFailed || got != nil {
		t.Errorf("a path that is not there: exit code %d, the server saw %q", code, got)
	}
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"schema":"error/v1","kind":"denied","message":"you may not"}`)
	}))
	defer refusing.Close()
	if err := os.WriteFile("feeds/large.json", bytes.Repeat([]byte("x"), 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if code, _, stderr := run(ctx, []string{"CHARTKEEP_SERVER=" + refusing.URL}, "advisory", "import", "own", "feeds"); code != exitDenied || !strings.Contains(stderr, "you may not") {
		t.Errorf("a refusal: exit code %d, %s", code, stderr)
	}
}

func TestFolderOf(t *testing.T) {
	for want, files := range map[string][]string{
		"feeds": {"feeds/a.json", "feeds/b/c.json"}, "a/b": {"a/b/c", "a/b/d"}, ".": {"a/x", "b/y"}, "/x": {"/x/y/a", "/x/z/b"}, "/": {"/x/a", "/y/b"},
	} {
		if got := folderOf(files); got != want {
			t.Errorf("folderOf(%v) = %q, want %q", files, got, want)
		}
	}
}

// What runs in a cluster, as Helm stored it, is judged without a server.
func TestOutdatedWithAdvisories(t *testing.T) {
	stored, err := filepath.Abs(filepath.Join("..", "deployment", "testdata", "recorded", "secrets.json"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	const record = `{"id":"TEST-1","modified":"2026-02-01T00:00:00Z","published":"2026-02-01T00:00:00Z","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
		"affected":[{"package":{"ecosystem":"Bitnami","name":"redis"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}]}]}`
	const sla = "name: slow\nversion: \"1\"\nsla: {immediate: 3, out-of-cycle: 14, scheduled: 60}\n"
	for name, text := range map[string]string{"osv.json": record, "own.yaml": "images:\n- {images: [registry.example.test/demo], components: [Bitnami/redis], tag: jenkins}\n", "policy.yaml": sla} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"outdated", "--from", stored, "--advisories", "osv.json"}
	code, out, _ := run(t.Context(), nil, args...)
	if code != exitFailed || !strings.Contains(out, "unknown: 1 image, not known to be clean") || !strings.Contains(out, "1 image  none known") {
		t.Errorf("an image that no map knows: exit code %d\n%s", code, out)
	}
	if code, _, _ := run(t.Context(), nil, append(args, "--fail-on", "critical,unknown")...); code != exitFindings {
		t.Errorf("--fail-on unknown: exit code %d", code)
	}
	args = append(args, "--components", "own.yaml", "--policy", "policy.yaml", "--fail-on", "critical")
	code, out, _ = run(t.Context(), nil, append(args, "-o", "json")...)
	for _, want := range []string{`"rule": "advisory-open"`, `"severity": "critical"`, `"open": {`, `"critical": 1`, `"set_by": "TEST-1 in Bitnami/redis"`, `"due": "2026-02-`, `"feed": "osv"`} {
		if !strings.Contains(out, want) {
			t.Errorf("the answer lacks %s", want)
		}
	}
	if code != exitFindings {
		t.Errorf("exit code %d", code)
	}
	if t.Failed() {
		t.Log(out)
	}
}
