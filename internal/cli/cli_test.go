package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

func TestExitCodes(t *testing.T) {
	for kind, want := range map[problem.Kind]int{
		problem.Internal: 1, problem.NotFound: 1, problem.Gone: 1, problem.Unsupported: 1, problem.Unavailable: 1,
		problem.Immutable: 3, problem.Policy: 3, problem.Conflict: 3, problem.Invalid: 3, problem.TooLarge: 3,
		problem.Unauthenticated: 4, problem.Denied: 4, problem.Disproven: 5,
	} {
		p := problem.New(kind, "rule", "text")
		for _, err := range []error{p, fmt.Errorf("wrapped: %w", p), answer{kind}} {
			if got := exitOf(err); got != want {
				t.Errorf("kind %s as %T: exit code %d, want %d", kind, err, got, want)
			}
		}
		if got := exitOf(asUsage(p)); got != 2 {
			t.Errorf("kind %s as usage: exit code %d", kind, got)
		}
		rows := 0
		for _, e := range exits {
			if slices.Contains(e.kinds, kind) {
				rows++
			}
		}
		if rows != 1 {
			t.Errorf("kind %s is in %d rows of the table", kind, rows)
		}
	}
	if got := exitOf(nil); got != 0 {
		t.Errorf("no error: exit code %d", got)
	}
	if got := exitOf(errors.New("x")); got != 1 {
		t.Errorf("an error that is no problem: exit code %d", got)
	}
	if asUsage(nil) != nil {
		t.Error("no error becomes one of usage")
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                   "",
		"plain, ä 漢 …":       "plain, ä 漢 …",
		"\x1b[2Jx":           `\u001b[2Jx`,
		"a\nb\tc\r":          `a\nb\tc\u000d`,
		"\x7f\u0085\u009bx":  `\u007f\u0085\u009bx`,
		"a\u202eb\u2066c":    `a\u202eb\u2066c`,
		"a\u2028\ufeff":      `a\u2028\ufeff`,
		"bad \xff\xfe bytes": `bad \xff\xfe bytes`,
		"\ufffd":             `\ufffd`,
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		in      string
		columns int
		want    []string
	}{
		{"a b c", 0, []string{"a b c"}},
		{"a b c", 5, []string{"a b c"}},
		{"a b c", 4, []string{"a b", "c"}},
		{"abcdefgh i", 4, []string{"abcdefgh", "i"}},
		{"ää öö", 3, []string{"ää", "öö"}},
		{"", 3, []string{""}},
	} {
		if got := wrap(tt.in, tt.columns); !slices.Equal(got, tt.want) {
			t.Errorf("wrap(%q, %d) = %q", tt.in, tt.columns, got)
		}
	}
}

func TestThousands(t *testing.T) {
	for in, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := thousands(in); got != want {
			t.Errorf("thousands(%d) = %s", in, got)
		}
	}
}

func TestUntil(t *testing.T) {
	for in, want := range map[string]time.Time{
		"90d": noon.AddDate(0, 0, 90), "4w": noon.AddDate(0, 0, 28), "12h": noon.Add(12 * time.Hour), "30m": noon.Add(30 * time.Minute),
		"2026-12-31": time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC), "2026-12-31T10:00:00+02:00": time.Date(2026, 12, 31, 8, 0, 0, 0, time.UTC),
	} {
		if got, err := until(in, noon); err != nil || !got.Equal(want) {
			t.Errorf("until(%q) = %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "d", "0d", "-1d", "-1h", "0s", "never", "90", "90x", "2026-03-02", "2025-01-01", "999999999d", "2026-13-01"} {
		if got, err := until(in, noon); exitOf(err) != exitUsage {
			t.Errorf("until(%q) = %v, %v", in, got, err)
		}
	}
}

func TestFileName(t *testing.T) {
	for _, ok := range []string{"web-1.0.0.tgz", "web-v1.0+b.tgz"} {
		if !fileName(ok) {
			t.Errorf("%q is refused", ok)
		}
	}
	for _, bad := range []string{"", ".tgz", "web", "../web-1.tgz", "a/web-1.tgz", `a\web-1.tgz`, "/etc/x.tgz", ".x.tgz", "-x.tgz", "C:x.tgz", "a\x1b.tgz", "a\u202e.tgz"} {
		if fileName(bad) {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestSplitArguments(t *testing.T) {
	for arg, want := range map[string]bool{"web-1.0.0.tgz": true, "dir/web-1.0.0.tgz": true, "web": true, "demo/web": false, "demo/web@1.0.0": false, "none/web.tar.gz": true} {
		if got := isFile(arg); got != want {
			t.Errorf("isFile(%q) = %v", arg, got)
		}
	}
	file := filepath.Join(t.TempDir(), "chart")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if !isFile(file) {
		t.Error("a file that is there is not taken for one")
	}
}

// run runs a command and returns its exit code and what it wrote.
func run(ctx context.Context, env []string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(ctx, args, strings.NewReader(""), &out, &errs, env)
	return code, out.String(), errs.String()
}

func TestColour(t *testing.T) {
	for _, tt := range []struct {
		env   []string
		flag  string
		color bool
	}{
		{nil, "auto", false}, // no terminal
		{[]string{"CLICOLOR_FORCE=1"}, "auto", true},
		{[]string{"CLICOLOR_FORCE=0"}, "auto", false},
		{[]string{"CLICOLOR_FORCE=1", "NO_COLOR=1"}, "auto", false},
		{[]string{"NO_COLOR=1"}, "always", true},
		{[]string{"CLICOLOR_FORCE=1"}, "never", false},
	} {
		_, _, stderr := run(t.Context(), tt.env, "yank", "--color", tt.flag)
		if got := strings.Contains(stderr, "\x1b["); got != tt.color {
			t.Errorf("%v --color %s: colour is %v: %q", tt.env, tt.flag, got, stderr)
		}
	}
	if _, stdout, _ := run(t.Context(), nil, "version", "--color", "always", "-o", "json"); strings.Contains(stdout, "\x1b") {
		t.Error("JSON has colour")
	}
}

func TestInterrupt(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		stop()
		<-r.Context().Done()
	}))
	defer srv.Close()
	code, stdout, stderr := run(ctx, []string{"CHARTKEEP_SERVER=" + srv.URL}, "project", "list")
	if code != exitInterrupted || stdout != "" || stderr != "interrupted\n" {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}

func TestPrecedence(t *testing.T) {
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Authorization"))
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"schema":"project-list/v1","items":[]}`)
	}))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("ckt_file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"CHARTKEEP_SERVER=" + srv.URL, "CHARTKEEP_TOKEN=ckt_env"}
	for _, args := range [][]string{
		{"project", "list"}, {"project", "list", "--token-file", file},
	} {
		if code, _, stderr := run(t.Context(), env, args...); code != 0 {
			t.Fatal(stderr)
		}
	}
	if code, _, _ := run(t.Context(), []string{"CHARTKEEP_SERVER=http://127.0.0.1:1"}, "project", "list", "--server", srv.URL); code != 0 {
		t.Error("--server does not win over CHARTKEEP_SERVER")
	}
	if want := []string{"Bearer ckt_env", "Bearer ckt_file", ""}; !slices.Equal(asked, want) {
		t.Errorf("sent %q, want %q", asked, want)
	}
	if code, stdout, _ := run(t.Context(), env, "project", "list"); code != 0 || stdout != "there is no project that you may read\n" {
		t.Errorf("an empty list is %q", stdout)
	}
	if _, stdout, _ := run(t.Context(), env, "project", "list", "-q"); stdout != "" {
		t.Errorf("an empty list with -q is %q", stdout)
	}
}

// A server that answers a push with other bytes, or with the proof of another
// release, is found out.
func TestPushReceipt(t *testing.T) {
	archive := charttest.Build(t, "web", "1.0.0", nil)
	file := filepath.Join(t.TempDir(), "web-1.0.0.tgz")
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	answerWith := func(change func(*client.Receipt)) (int, string) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			rec := client.Receipt{Release: client.Release{Project: "demo", Chart: "web", Version: "1.0.0", Digest: digest.SHA256(archive)}}
			change(&rec)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusCreated)
			_ = json.NewEncoder(w).Encode(struct {
				Schema string `json:"schema"`
				client.Receipt
			}{"release-receipt/v1", rec})
		}))
		defer srv.Close()
		code, _, stderr := run(t.Context(), []string{"CHARTKEEP_SERVER=" + srv.URL}, "push", file, "--project", "demo")
		return code, stderr
	}
	if code, stderr := answerWith(func(*client.Receipt) {}); code != 0 {
		t.Errorf("honest: %d, %s", code, stderr)
	}
	if code, stderr := answerWith(func(r *client.Receipt) { r.Digest = some }); code != exitDisproven || !strings.Contains(stderr, "other bytes than were sent") {
		t.Errorf("other bytes: %d, %s", code, stderr)
	}
	if code, stderr := answerWith(func(r *client.Receipt) { r.Proof = "nonsense" }); code != 0 {
		t.Errorf("a proof that cannot be read is no disproof: %d, %s", code, stderr)
	}
}

// A server cannot make pull write elsewhere, or pass another release off.
func TestPullForeignAnswers(t *testing.T) {
	rel := client.Release{Project: "demo", Chart: "web", Version: "1.0.0", File: "web-1.0.0.tgz", Digest: some}
	pull := func(change func(*client.Release), ref string) (int, string) {
		r := rel
		change(&r)
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(struct {
				Schema string `json:"schema"`
				client.Detail
			}{"release-detail/v1", client.Detail{Release: r}})
		}))
		defer srv.Close()
		dir := t.TempDir()
		code, _, stderr := run(t.Context(), []string{"CHARTKEEP_SERVER=" + srv.URL}, "pull", ref, "-d", dir)
		if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
			t.Errorf("%s leaves %v, %v", ref, files, err)
		}
		return code, stderr
	}
	if code, stderr := pull(func(*client.Release) {}, "demo/web@1.0.0"); code != exitDisproven {
		t.Errorf("other bytes: %d, %s", code, stderr)
	}
	if code, stderr := pull(func(r *client.Release) { r.File = "../web-1.0.0.tgz" }, "demo/web@1.0.0"); code != exitFailed {
		t.Errorf("a path: %d, %s", code, stderr)
	}
	if code, stderr := pull(func(r *client.Release) { r.Version = "1.0.1" }, "demo/web@1.0.0"); code != exitDisproven {
		t.Errorf("another version: %d, %s", code, stderr)
	}
	if code, stderr := pull(func(r *client.Release) { r.Chart = "db" }, "demo/web"); code != exitDisproven {
		t.Errorf("another chart: %d, %s", code, stderr)
	}
}

func TestServerTextIsEscaped(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"schema":"error/v1","kind":"immutable","message":"no\u001b[2J","facts":[{"label":"l\u009b","value":"v\r\nTry:  rm"}],"try":"x\u202ey"}`)
	}))
	defer srv.Close()
	code, _, stderr := run(t.Context(), []string{"CHARTKEEP_SERVER=" + srv.URL}, "project", "create", "demo")
	want := "Error: no\\u001b[2J\n  l\\u009b  v\\u000d\\nTry:  rm\nTry:  x\\u202ey\n"
	if code != exitRefused || stderr != want {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

// The document of the JSON forms names every schema.
func TestOutputIsDocumented(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli-output.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range sampleResults() {
		if !bytes.Contains(doc, []byte("`"+r.schema()+"`")) {
			t.Errorf("docs/cli-output.md does not name %s", r.schema())
		}
	}
	for _, e := range exits {
		if !bytes.Contains(doc, []byte(fmt.Sprintf("| %d | %s", e.code, e.meaning))) {
			t.Errorf("docs/cli-output.md does not have exit code %d: %s", e.code, e.meaning)
		}
	}
	for _, name := range []string{client.CheckDigest, client.CheckContent, client.CheckName, client.CheckProject, client.CheckProvenance, client.CheckInclusion, client.CheckSignature, client.CheckTime, client.CheckYank,
		client.CheckPin, client.CheckEntry, client.CheckManifest, client.CheckCovered, client.CheckFetch, client.CheckConsistency, client.CheckWitness, client.CheckFresh,
		client.CheckOlder, client.CheckNewer, client.CheckContradiction} {
		if !bytes.Contains(doc, []byte("| `"+name+"` |")) {
			t.Errorf("docs/cli-output.md does not name check %s", name)
		}
	}
}

func TestOldIndex(t *testing.T) {
	old, err := openOld("https://charts.example.test/base")
	if err != nil {
		t.Fatal(err)
	}
	const index = `entries:
  web:
  - {name: web, version: 1.1.0, created: "2021-01-01T00:00:00Z", urls: ["https://u:p@cdn.example.test/web-1.1.0.tgz?sig=secret"], digest: SHA256:` + "5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A" + `}
  - {version: 1.10, created: yesterday, urls: [web-1.10.tgz], digest: md5:1234}
  - {version: 0.1.0, urls: ["file:///etc/passwd"]}
  db:
  - {name: db, version: 1.0.0}
`
	check := func(t *testing.T, text string) {
		got, err := old.parseIndex([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		want := []oldRelease{
			{chart: "db", version: "1.0.0"},
			{chart: "web", version: "0.1.0"},
			{chart: "web", version: "1.10", source: "https://charts.example.test/base/web-1.10.tgz", origin: client.Origin{URL: "https://charts.example.test/base/web-1.10.tgz"}},
			{chart: "web", version: "1.1.0", source: "https://u:p@cdn.example.test/web-1.1.0.tgz?sig=secret", origin: client.Origin{
				URL: "https://cdn.example.test/web-1.1.0.tgz", Digest: some, Created: time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)}},
		}
		if !slices.Equal(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		if got := withSuffix(want[3].source, ".prov"); got != "https://u:p@cdn.example.test/web-1.1.0.tgz.prov?sig=secret" {
			t.Errorf("its provenance is at %s", got)
		}
	}
	t.Run("yaml", func(t *testing.T) { check(t, index) })
	t.Run("json", func(t *testing.T) {
		var v map[string]any
		if err := yaml.Unmarshal([]byte(strings.ReplaceAll(index, "version: 1.10,", `version: "1.10",`)), &v); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		check(t, "\n"+string(text))
	})
	for _, text := range []string{"", "hello", "{}", "entries: 1", "{\"entries\":[]}", "entries:\n  web: 3"} {
		if _, err := old.parseIndex([]byte(text)); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestOldFolderStaysInside(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret.tgz"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(dir, "inside")
	if err := os.Mkdir(inside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../secret.tgz", filepath.Join(inside, "link.tgz")); err != nil {
		t.Fatal(err)
	}
	old, err := openOld(inside)
	if err != nil {
		t.Fatal(err)
	}
	defer old.close()
	for _, url := range []string{"../secret.tgz", "/secret.tgz", "a/../../secret.tgz"} {
		if got := old.locate(url); got != "" && got != "secret.tgz" {
			t.Errorf("locate(%q) = %q", url, got)
		}
	}
	if b, err := old.read(t.Context(), "link.tgz", 10); err == nil {
		t.Errorf("a link out of the folder gives %q", b)
	}
}

func TestGroups(t *testing.T) {
	for source, want := range map[string]string{"a/web-1.0.0.tgz": "web", "web-v1.0.0.tgz": "web", "cert-manager-2-1.0.0.tgz": "cert-manager", "odd.tgz": "odd.tgz"} {
		if got := (&oldRelease{source: source}).group(); got != want {
			t.Errorf("group of %s is %q", source, got)
		}
	}
}

// YAML says what JSON says, to the reader of YAML.
func checkYAML(t *testing.T, v any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out, err := yamlOf(text)
	if err != nil {
		t.Fatal(err)
	}
	var viaJSON, viaYAML any
	if err := json.Unmarshal(text, &viaJSON); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(out, &viaYAML); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	a, _ := json.Marshal(viaJSON)
	b, err := json.Marshal(viaYAML)
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("JSON %s\nYAML %s\n%s", a, b, out)
	}
}

func TestYAML(t *testing.T) {
	checkYAML(t, map[string]any{
		"empty": map[string]any{}, "none": []any{}, "null": nil, "yes": "yes", "no": true, "n": "n", "number": 12, "text": "12",
		"list": []any{"a", []any{"b", map[string]any{"c": 1, "d": []any{1, 2}}}, map[string]any{"e": map[string]any{"f": "g"}}, []any{}},
		"a b":  "x: y", "#": "- z", "multi": "a\nb\n", "time": "2026-01-02", "hex": "0x1f", "e": "1e3", "tilde": "~", "space": " a ", "end": "a:",
	})
	for _, r := range sampleResults() {
		checkYAML(t, r)
	}
}

func FuzzYAML(f *testing.F) {
	for _, s := range []string{"", "yes", "1.2.3", "a b", "\x1b", "\u2028\u202e", "- a", "a: b", "a #b", "0o7", "\xff", "=", "<<"} {
		f.Add(s, s)
	}
	f.Add(strings.Repeat("a\n", 1000), "after a long key") // YAML 1.2.2 §7.4.2
	f.Fuzz(func(t *testing.T, key, value string) {
		checkYAML(t, map[string]any{key: []any{value, map[string]any{value: key}}})
	})
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x1b[0m\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		p := printable(s)
		if strings.ContainsFunc(p, unprintable) {
			t.Fatalf("%q comes out as %q", s, p)
		}
		for _, columns := range []int{1, 10, 80} {
			if got := strings.Join(wrap(p, columns), " "); got != p {
				t.Fatalf("wrapped to %d columns %q becomes %q", columns, p, got)
			}
		}
	})
}

func FuzzOldIndex(f *testing.F) {
	f.Add([]byte("entries:\n  web:\n  - {name: web, version: 1.0.0, urls: [a.tgz]}\n"))
	f.Add([]byte(`{"entries":{"web":[{"name":"web","urls":["../a.tgz"],"digest":"sha256:00"}]}}`))
	f.Add([]byte("entries: &a\n  x: [*a]\n"))
	old, err := openOld("https://charts.example.test")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		releases, err := old.parseIndex(text)
		if err != nil && problem.KindOf(err) != problem.Invalid {
			t.Fatal(err)
		}
		for _, r := range releases {
			if r.source != "" && !strings.HasPrefix(r.source, "https://") && !strings.HasPrefix(r.source, "http://") {
				t.Fatalf("source %q", r.source)
			}
			if len(r.origin.URL) > maxOriginURL || r.origin.Digest != "" && digest.Check(r.origin.Digest) != nil {
				t.Fatalf("origin %+v", r.origin)
			}
		}
	})
}
