package notes

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/problem"
)

var update = flag.Bool("update", false, "write golden files")

// TestGolden reads made-up notes, in Markdown and in plain text.
func TestGolden(t *testing.T) {
	for _, name := range []string{"CHANGELOG.md", "RELEASENOTES", "body.md"} {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			got, err := Read(string(b), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(string(b), "\n")
			for _, r := range got {
				for _, h := range r.Hints {
					word := strings.Trim(strings.Fields(h.Text)[0], "…*`\"")
					if h.Line < r.LineStart || h.Line > r.LineEnd || len(h.Text) > maxHintText {
						t.Errorf("hint outside of its release, or too long: %+v", h)
					} else if !strings.Contains(strings.Join(lines[max(r.LineStart, h.Line-3)-1:h.Line], " "), word) {
						t.Errorf("line %d does not have %q: %+v", h.Line, word, h)
					}
				}
			}
			text, err := json.MarshalIndent(got, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			text = append(text, '\n')
			path := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(path, text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v; go test -update writes it", err)
			}
			if d := cmp.Diff(string(want), string(text)); d != "" {
				t.Errorf("%s differs (-want +got):\n%s", path, d)
			}
		})
	}
}

// one reads a text of one release.
func one(t *testing.T, text string, lim Limits) Release {
	t.Helper()
	got, err := Read(text, lim)
	if err != nil || len(got) != 1 {
		t.Fatalf("%d releases, %v", len(got), err)
	}
	return got[0]
}

func TestIdentifiers(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"Fix cve-2031-1234, GHSA-2345-6789-CFGH and go-2031-0042", []string{"CVE-2031-1234", "GHSA-2345-6789-cfgh", "GO-2031-0042"}},
		{"Fix `CVE-2031-1234` twice: CVE 2031-1234", []string{"CVE-2031-1234"}},
		{"Fix [CVE-2031-1234](https://github.com/advisories/GHSA-2345-6789-cfgh/)", []string{"CVE-2031-1234", "GHSA-2345-6789-cfgh"}},
		{"Fix [it][] for all\n\n[it]: https://github.com/advisories/GHSA-2345-6789-cfgh#details", []string{"GHSA-2345-6789-cfgh"}},
		{"Fix <https://nvd.nist.gov/vuln/detail/CVE-2031-1234>.", []string{"CVE-2031-1234"}},
		{"Fix the parser (https://nvd.nist.gov/vuln/detail/CVE-2031-1234)", []string{"CVE-2031-1234"}},
		{"Fix the parser, see https://example.org/?q=CVE-2031-1234", []string{}},
		{"Fix the parser, see https://example.org/CVE-2031-1234/notes", []string{}},
		{"Fix the parser ([#1](https://example.org/compare/a...CVE-2031-1234-fix))", []string{}},
		{"Fix the parser ([#1](CVE-2031-1234))", []string{}},
		{"Fix CVE-2031-123, GHSA-2345 and XCVE-2031-12345", []string{}},
		{"| id | what |\n| --- | --- |\n| CVE-2031-1234 | fixed |", []string{"CVE-2031-1234"}},
	} {
		if d := cmp.Diff(c.want, one(t, c.text, Limits{}).IDs); d != "" {
			t.Errorf("%s: (-want +got)\n%s", c.text, d)
		}
	}
}

// TestRules has a sentence for each rule that is not of security alone.
func TestRules(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"You must set `auth.key` before upgrading", "operator-action"},
		{"### Breaking changes\n\n- The port is 8443", "operator-action"},
		{"feat!: rename the chart's values", "operator-action"},
		{"Delete the existing stateful set, the upgrade needs manual steps", "operator-action"},
		{"The default admin password is admin", "known-password"},
		{"This key has an unsafe default", "known-password operator-action"},
		{"Disable TLS verification by default", "weaker-default"},
		{"Anonymous access is allowed by default: allow anonymous reads by default", "weaker-default"},
		{"Add cluster role permission for nodes", "privilege-growth"},
		{"The agent now needs a privileged container", "privilege-growth"},
		{"Fix use-after-free in the reload", "memory-safety"},
		{"We are not affected by CVE-2031-1234", "advisory-mention"},
		{"Removed support for the old API", "removed"},
		{"### Removed\n\n- `legacy.enabled`", "removed"},
		{"The flag is deprecated", "deprecated"},
		{"### Deprecated\n\n- The old ingress", "deprecated"},
		{"Bump example/parser from 1.2.3 to 1.2.4", "dependency-bump example/parser 1.2.3 1.2.4"},
		{"build(deps): bump golang.example.org/net from 0.1.0 to 0.2.0 (#12)", "dependency-bump golang.example.org/net 0.1.0 0.2.0"},
		{"Update parser to v3.4", "dependency-bump parser  v3.4"},
		{"Update `parser` 3.3 -> 3.4.", "dependency-bump parser 3.3 3.4"},
		{"Bump lib from 1.0 to 1.1 for CVE-2031-1234", "dependency-fix lib 1.0 1.1"},
		{"The default image is now `registry.example.org/team/app:2.8.4-python3.9`", "image-moved registry.example.org/team/app  2.8.4-python3.9"},
		{"Move `example/app:1.0` to `example/app:2.0`", "image-moved example/app 1.0 2.0"},
		{"Update the redis image from 6.2.14-debian-12-r17 to 7.0.1", "image-moved redis 6.2.14-debian-12-r17 7.0.1"},
		{"Update default `app.image.tag` to `1.17.0-patch.0`", "image-moved app.image.tag  1.17.0-patch.0"},
		{"Listen on localhost:8080 now", ""},
		{"### Documentation\n\n- You must read this before upgrading", ""},
		{"### Known issues\n\n- XSS in the editor", ""},
	} {
		var got []string
		for _, h := range one(t, c.text, Limits{}).Hints {
			s := h.Rule
			if h.New != "" {
				s = strings.Join([]string{h.Rule, h.Name, h.Old, h.New}, " ")
			}
			got = append(got, s)
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%q: %q, want %q", c.text, g, c.want)
		}
	}
}

func TestReleases(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []Release
	}{
		{"nothing", "", []Release{{LineStart: 1, LineEnd: 1}}},
		{"no version", "Fix a bug\r\n\r\nand another\r\n", []Release{{LineStart: 1, LineEnd: 3}}},
		{"two, and what is not released", "# Changes\n\n## Unreleased\n\n- Fix XSS\n\n## v1.1.0\n\n- a\n\n## 1.0.0\n\n- Fix XSS\n", []Release{
			{Version: "1.1.0", LineStart: 7, LineEnd: 10}, {Version: "1.0.0", LineStart: 11, LineEnd: 13, Security: true}}},
		{"a mark of byte order", "\ufeff## 1.0.0\n\n- Fix XSS\n", []Release{{Version: "1.0.0", LineStart: 1, LineEnd: 3, Security: true}}},
		{"headings that are not understood", "Version A\n\n- Fix XSS\n- b\n- c\n- d\n\n## 1.0.0\n\n- e\n", []Release{
			{LineStart: 1, LineEnd: 7, Security: true}, {Version: "1.0.0", LineStart: 8, LineEnd: 10}}},
	} {
		got, err := Read(c.text, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			got[i].Hints, got[i].IDs = nil, nil
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: (-want +got)\n%s", c.name, d)
		}
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name, text string
		lim        Limits
		kind       problem.Kind
	}{
		{"too long", strings.Repeat("a", 101), Limits{Bytes: 100}, problem.TooLarge},
		{"no text", "a\x00b", Limits{}, problem.Invalid},
	} {
		_, err := Read(c.text, c.lim)
		if p, ok := problem.As(err); !ok || p.Kind != c.kind {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, c := range []struct {
		name, text string
		lim        Limits
		unread     string
	}{
		{"release", "a\n\n" + strings.Repeat("b\n", 100), Limits{Release: 50}, "the release has more text than is read"},
		{"line", "- Fix " + strings.Repeat("b", 100) + " XSS\n", Limits{Line: 50}, "a line is longer than is read"},
		{"depth", strings.Repeat("> ", 100) + "a", Limits{}, "a line is nested deeper than is read"},
		{"hints", strings.Repeat("- Update a to 1.0\n", 20), Limits{Hints: 10}, "the release has more hints than are kept"},
		{"links", strings.Repeat("[a][b]\n", 600), Limits{}, "a paragraph has more links than are read"},
		{"definitions", "a\n\n" + strings.Repeat("[a]: https://example.org\n", 2100), Limits{}, "the release has more link definitions than are read"},
		{"none", "- Fix XSS\n", Limits{}, ""},
	} {
		if r := one(t, c.text, c.lim); r.Unread != c.unread {
			t.Errorf("%s: unread %q, want %q", c.name, r.Unread, c.unread)
		}
	}
	// The answer is not lost among many hints.
	r := one(t, strings.Repeat("- Update a to 1.0\n", 20)+"- Fix XSS\n", Limits{Hints: 10})
	if !r.Security || len(r.Hints) != 10 {
		t.Errorf("security %v with %d hints", r.Security, len(r.Hints))
	}
	// A long sentence is shown around the words that count.
	r = one(t, "Fix "+strings.Repeat("much ", 200)+"and CVE-2031-1234 "+strings.Repeat("too ", 100), Limits{})
	if h := r.Hints[0]; len(h.Text) > maxHintText || !strings.Contains(h.Text, "CVE-2031-1234") || !strings.HasPrefix(h.Text, "…") || !strings.HasSuffix(h.Text, "…") {
		t.Errorf("%d bytes: %s", len(h.Text), h.Text)
	}
}

// BenchmarkRead is the cost of a megabyte of notes.
func BenchmarkRead(b *testing.B) {
	section := "\n- " + strings.Join(append(append([]string{}, silent[20:80]...), speaks[:20]...), "\n- ") + "\n"
	text := strings.Repeat("## 1.0.0\n"+section, (1<<20)/len(section))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := Read(text, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
