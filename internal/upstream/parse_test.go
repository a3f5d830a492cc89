package upstream

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/chartkeep/chartkeep/internal/problem"
)

var (
	aaa = strings.Repeat("a", 64)
	bbb = strings.Repeat("b", 64)
	ccc = strings.Repeat("0b1c", 16)
)

// common has every form that the scanner knows.
var common = `apiVersion: v1
entries:
  db:
  - annotations:
      artifacthub.io/changes: |
        - kind: fixed
          description: "a: b" # no comment

        - second
      note: >-
        folded
    apiVersion: v2
    appVersion: "1.10"
    created: "2024-05-01T08:16:50.766352836+02:00"
    dependencies:
    - condition: a.b
      name: x
      version: ^1.x.x
    - name: -y
    deprecated: true
    description: 'it''s one
      of several

      lines: yes '
    digest: ` + aaa + `
    keywords: []
    maintainers:
    - email: "a\tb\" c"
      name: Jürgen of
        Two Lines
    name: db
    urls:
    - https://example.org/db-1.2.3.tgz
    - db-1.2.3.tgz
    version: 1.2.3
  - digest: sha256:` + strings.ToUpper(bbb) + `
    name: db
    urls: []
    version: v1.0
  none: []
  web:
      - name: web
        digest: ` + ccc + `
        version: 2024.1.0-rc.1+x
        urls:
          - "a"
generated: "2024-05-01T06:16:50Z"
serverInfo: {}
`

func sorted(x Index) Index {
	x.Charts = slices.Clone(x.Charts)
	slices.SortFunc(x.Charts, func(a, b Chart) int { return strings.Compare(a.Name, b.Name) })
	return x
}

func TestParse(t *testing.T) {
	x, ok := scanYAML([]byte(common), DefaultLimits())
	if !ok {
		t.Fatal("the scanner gave up")
	}
	got := ""
	for _, c := range x.Charts {
		got += c.Name + "\n"
		for _, v := range c.Versions {
			got += fmt.Sprintf("  %s %.4s %s %s %v %q %s\n", v.Version, v.Digest, v.Created.Format("15:04:05.999999999"), v.AppVersion, v.Deprecated, v.URLs, v.Fault)
		}
	}
	want := `db
  1.2.3 aaaa 06:16:50.766352836 1.10 true ["https://example.org/db-1.2.3.tgz" "db-1.2.3.tgz"] 
  v1.0 bbbb 00:00:00  false [] the entry has no URL
none
web
  2024.1.0-rc.1+x 0b1c 00:00:00  false ["a"] 
`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	slow, err := parseYAML([]byte(common), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(slow, x); d != "" {
		t.Errorf("the scanner differs (-complete +scanner):\n%s", d)
	}
	j, err := yaml.YAMLToJSON([]byte(common))
	if err != nil {
		t.Fatal(err)
	}
	fromJSON, err := Parse(j, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sorted(slow), sorted(fromJSON)); d != "" {
		t.Errorf("JSON differs (-YAML +JSON):\n%s", d)
	}
}

// Any cut of an index is refused, or has lost only whole entries.
func TestCut(t *testing.T) {
	whole, err := Parse([]byte(common), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	full, refused := whole.Len(), 0
	for n := range len(common) {
		x, err := Parse([]byte(common[:n]), Limits{})
		if err != nil {
			refused++
			if problem.KindOf(err) != problem.Invalid {
				t.Errorf("cut at %d: %v", n, err)
			}
			continue
		}
		if x.Len() > full {
			t.Errorf("cut at %d: %d entries", n, x.Len())
		}
	}
	if refused < len(common)*6/10 {
		t.Errorf("only %d of %d cuts are refused", refused, len(common))
	}
	j, _ := yaml.YAMLToJSON([]byte(common))
	for n := range len(j) {
		if _, err := Parse(j[:n], Limits{}); problem.KindOf(err) != problem.Invalid {
			t.Errorf("JSON cut at %d: %v", n, err)
		}
	}
}

func TestRefused(t *testing.T) {
	const head = "apiVersion: v1\nentries:\n"
	entry := "  a:\n  - name: a\n    version: 1.0.0\n"
	small := Limits{Bytes: 500, Complex: 300, Charts: 2, Versions: 3, URLs: 2, Field: 40}
	for _, c := range []struct {
		name, text string
		kind       problem.Kind
		says       string
	}{
		{"empty", "", problem.Invalid, "empty"},
		{"one byte", "\n", problem.Invalid, "white space"},
		{"a letter", "x", problem.Invalid, "no"},
		{"page", "\n <!DOCTYPE html>", problem.Invalid, "HTML"},
		{"null", "null", problem.Invalid, "no entries"},
		{"list", "- a", problem.Invalid, "mapping"},
		{"no apiVersion", "entries:\n" + entry + "generated: 2024-01-01T00:00:00Z\n", problem.Invalid, "apiVersion"},
		{"no entries", "apiVersion: v1\nname: chart\n", problem.Invalid, "no entries"},
		{"entries is a list", head + "- a\n", problem.Invalid, "mapping"},
		{"chart is a text", head + "  a: b\n", problem.Invalid, "no list of versions"},
		{"entry is a text", head + "  a:\n  - b\n", problem.Invalid, "mapping"},
		{"version is a list", head + "  a:\n  - version: [1]\n", problem.Invalid, "text belongs"},
		{"created is no time", head + "  a:\n  - created: yesterday\n    version: 1.0.0\n", problem.Invalid, "RFC 3339"},
		{"deprecated is a text", head + "  a:\n  - deprecated: maybe\n    version: 1.0.0\n", problem.Invalid, "true nor false"},
		{"urls is a text", head + "  a:\n  - urls: a\n    version: 1.0.0\n", problem.Invalid, "not a list"},
		{"chart twice", head + entry + entry, problem.Invalid, "twice"},
		{"digest twice", head + entry + "    digest: x\n    digest: y\n", problem.Invalid, "twice"},
		{"digest in two cases", head + entry + "    digest: x\n    Digest: y\n", problem.Invalid, "upper and in lower"},
		{"merge key", head + "  a:\n  - &x\n    version: 1.0.0\n  - <<: *x\n    version: 1.0.0\n", problem.Invalid, "merge key"},
		{"cut", head + entry + "  - digest: 12", problem.Invalid, "cut off"},
		{"cut behind entries", head, problem.Invalid, "cut off"},
		{"not YAML", head + entry + "   bad\n", problem.Invalid, "neither JSON nor YAML"},
		{"conflict", head + "<<<<<<< HEAD\n" + entry, problem.Invalid, "neither JSON nor YAML"},
		{"JSON of a wrong type", `{"apiVersion":"v1","entries":{"a":[{"version":1}]}}`, problem.Invalid, "version that is not a text"},
		{"JSON chart twice", `{"apiVersion":"v1","entries":{"a":[],"a":[]}}`, problem.Invalid, "twice"},
		{"JSON entries is a list", `{"apiVersion":"v1","entries":[]}`, problem.Invalid, "mapping"},
		{"JSON time", `{"apiVersion":"v1","entries":{"a":[{"version":"1","created":5}]}}`, problem.Invalid, "not a text"},
		{"too many bytes", head + strings.Repeat("#", 500), problem.TooLarge, "500"},
		{"too complex", head + entry + strings.Repeat("#", 300), problem.TooLarge, "helm repo index"},
		{"too many charts", head + "  a: []\n  b: []\n  c: []\n", problem.TooLarge, "2 charts"},
		{"too many versions", head + "  a: [{version: 1},{},{},{}]\n", problem.TooLarge, "3 versions"},
		{"too many versions in JSON", `{"apiVersion":"v1","entries":{"a":[{},{},{},{}]}}`, problem.TooLarge, "3 versions"},
		{"versions multiplied", head + "  a: &a [{version: 1.0.0},{version: 1.0.1}]\n  b: *a\n", problem.TooLarge, "3 versions"},
		{"too many URLs", head + entry + "    urls: [a, b, c]\n", problem.TooLarge, "2 URLs"},
		{"long field", head + "  a:\n  - version: v" + strings.Repeat("1", 41) + "\n", problem.TooLarge, "40 bytes"},
		{"alias of itself", head + "  a: &a [*a]\n", problem.Invalid, ""},
		{"depth", strings.Repeat("[", 290), problem.Invalid, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, err := Parse([]byte(c.text), small)
			if problem.KindOf(err) != c.kind || err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %s with %q", err, c.kind, c.says)
			}
			if x.Charts != nil {
				t.Error("an index comes with the error")
			}
		})
	}
	if _, err := Parse(bomb(), Limits{}); problem.KindOf(err) != problem.TooLarge {
		t.Errorf("many commas: %v", err)
	}
}

// bomb is a text of commas, each of which makes a node.
func bomb() []byte { return []byte("a: [" + strings.Repeat("a,", nodeMarks) + "]") }

// TestTolerated has what Helm tolerates: odd entries are kept with their fault.
func TestTolerated(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"null entry", "  a:\n  - \n  - name: a\n    version: 1.0.0\n    urls: [a]\n", " : the entry is empty;1.0.0 :"},
		{"number", "  a:\n  - name: a\n    urls: [a]\n    version: 1.10\n", "1.1 :"},
		{"boolean", "  a:\n  - name: a\n    urls: [a]\n    version: on\n", "true : the version is not a version that Helm can read"},
		{"no name", "  a:\n  - version: 1.0.0\n    urls: [a]\n", "1.0.0 : the entry has no name"},
		{"digest", "  a:\n  - name: a\n    version: 1.0.0\n    digest: ABC\n    urls: [a]\n", "1.0.0 abc: the digest is not a SHA-256"},
		{"digest in upper case", "  a:\n  - name: a\n    version: 1.0.0\n    digest: " + strings.ToUpper(bbb) + "\n    urls: [a]\n", "1.0.0 " + bbb + ":"},
		{"flow", "  {a: [{name: a, version: 1.0.0, urls: [a]}]}\n", "1.0.0 :"},
		{"comment", "  # hello\n  a:\n  - name: a # x\n    version: 1.0.0\n    urls: [a]\n", "1.0.0 :"},
		{"unknown field", "  a:\n  - name: a\n    version: 1.0.0\n    urls: [a]\n    future: 1\n", "1.0.0 :"},
		{"no last version, and more follows", "  a:\n  - name: a\ngenerated: 2024-01-01T00:00:00Z\n", " : the entry has no version"},
		{"any case", "  a:\n  - NAME: a\n    Version: 1.0.0\n    URLs: [a]\n", "1.0.0 :"},
		{"CR LF", "  a:\r\n  - name: a\r\n    version: 1.0.0\r\n    urls: [a]\r\n", "1.0.0 :"},
		{"no charts", "  {}\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, err := Parse([]byte("apiVersion: v1\nentries:\n"+c.text), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, chart := range x.Charts {
				for _, v := range chart.Versions {
					got = append(got, strings.TrimRight(fmt.Sprintf("%s %s: %s", v.Version, v.Digest, v.Fault), " "))
				}
			}
			if s := strings.Join(got, ";"); s != c.want {
				t.Errorf("%q, want %q", s, c.want)
			}
		})
	}
}

// FuzzParse: no input makes Parse panic, and where the scanner does not give up
// it reads what the complete reader reads, and so does JSON.
func FuzzParse(f *testing.F) {
	f.Add([]byte(common))
	for _, s := range []string{
		"", "\n", "x", "{}", `{"apiVersion":"v1","entries":{"a":[{"name":"a","version":"1.0.0"},null]}}`,
		"apiVersion: v1\nentries: {}\n", "---\napiVersion: v1\nentries:\n  a: []\n",
		"apiVersion: v1\nentries:\n  a:\n  - version: 1.2.3\n    x: |\n      a\n     b\n",
		"apiVersion: v1\nentries:\n  a:\n  - version: 1.2.3\n    x: \"a\\\n      b\"\n    y: 'it''s'\n",
		"apiVersion: v1\nentries:\n  a:\n  - version: 1.2.3\n    x: a\n      - b\n    y:\n    - - a\n      - b\n    -\n      c: d\n",
		"apiVersion: v1\nentries:\n  a: &a\n  - version: 1.2.3\n  b: *a\n",
	} {
		f.Add([]byte(s))
	}
	lim := Limits{Bytes: 64 << 10, Complex: 64 << 10, Charts: 100, Versions: 1000, URLs: 10, Field: 1000}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := Parse(b, lim)
		if err != nil && problem.KindOf(err) != problem.Invalid && problem.KindOf(err) != problem.TooLarge {
			t.Fatalf("error of another kind: %v", err)
		}
		if fast, ok := scanYAML(b, lim.orDefault()); ok {
			slow, err := parseYAML(b, lim.orDefault())
			if err != nil {
				t.Fatalf("the complete reader refuses: %v", err)
			}
			if d := cmp.Diff(slow, fast); d != "" {
				t.Fatalf("the scanner differs (-complete +scanner):\n%s", d)
			}
		}
		if err == nil && json.Valid(b) {
			if slow, err := parseYAML(b, lim.orDefault()); err == nil && slow.Len() != x.Len() {
				t.Fatalf("%d entries as JSON, %d as YAML", x.Len(), slow.Len())
			}
		}
		if err == nil {
			Compare(Index{}, x)
		}
	})
}

// TestScannerAgrees changes every place of an index in ways that matter to
// YAML, and leaves out or repeats lines: the scanner gives up, or reads what the complete reader reads.
func TestScannerAgrees(t *testing.T) {
	lim := DefaultLimits()
	taken, texts := 0, 0
	check := func(text string) {
		texts++
		fast, ok := scanYAML([]byte(text), lim)
		if !ok {
			return
		}
		taken++
		slow, err := parseYAML([]byte(text), lim)
		if err != nil {
			t.Fatalf("the complete reader refuses: %v\n%s", err, text)
		}
		if d := cmp.Diff(slow, fast); d != "" {
			t.Fatalf("the scanner differs (-complete +scanner):\n%s\n%s", d, text)
		}
	}
	for i := range common {
		for j, s := range []string{": ", ":", " #", "#", "- ", "-", "? ", "\n", "\n ", " ", "  ", "'", "\"", "\\", "|\n", ">", "&a ", "*a", "!", "[", "{}", ",", "%", "@", "\t", "\r", "é", "\u2028", "\ufeff", "~", "0", "e", "<<: ", "---\n", "..."} {
			if (i+j)%3 == 0 { // all would take three times as long
				check(common[:i] + s + common[i:])
			}
		}
		check(common[:i] + common[i+1:])
	}
	lines := strings.SplitAfter(common, "\n")
	for i := range lines {
		for j := i + 1; j <= len(lines); j++ {
			check(strings.Join(lines[:i], "") + strings.Join(lines[j:], ""))
			check(strings.Join(lines[:j], "") + strings.Join(lines[i:], ""))
		}
	}
	if taken < texts/20 {
		t.Errorf("the scanner took %d of %d texts: this tests nothing", taken, texts)
	}
}
