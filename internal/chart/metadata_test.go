package chart

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	helmyaml "sigs.k8s.io/yaml"

	"github.com/chartkeep/chartkeep/internal/problem"
)

const full = `# a chart with every field
apiVersion: v2
name: web
version: 1.2.3-rc.1+build.5
kubeVersion: ">=1.25.0-0"
description: |
  Serves the web.
  Two lines.
type: application
keywords: [web, 2, true]
home: https://example.test/?a=1&b=<2>
sources:
  - https://example.test/src
dependencies:
  - name: redis
    version: 17.x
    repository: oci://example.test/charts
    condition: redis.enabled
    tags: [cache]
    enabled: yes
    import-values:
      - defaults
      - child: data
        parent: web.data
    alias: cache
  - {name: common, version: 1.0, repository: ""}
maintainers:
  - name: Ada
    email: ada@example.test
  - name: Grace
    url: https://example.test
icon: https://example.test/icon.svg
appVersion: 1.10
deprecated: true
annotations:
  example.test/licence: Apache-2.0
  1: one
  zero: 0
  empty:
condition: a.b
tags: front
engine: gotpl
tillerVersion: ">=2.0.0"
unknown: {nested: [1, 2]}
`

func TestParseMetadata(t *testing.T) {
	want := Metadata{
		Name: "web", Home: "https://example.test/?a=1&b=<2>", Sources: []string{"https://example.test/src"},
		Version: "1.2.3-rc.1+build.5", Description: "Serves the web. Two lines. ", Keywords: []string{"web", "2", "true"},
		Maintainers: []Maintainer{{Name: "Ada", Email: "ada@example.test"}, {Name: "Grace", URL: "https://example.test"}},
		Icon:        "https://example.test/icon.svg", APIVersion: "v2", Condition: "a.b", Tags: "front", AppVersion: "1.1", Deprecated: true,
		Annotations: map[string]string{"example.test/licence": "Apache-2.0", "1": "one", "zero": "0", "empty": ""},
		KubeVersion: ">=1.25.0-0", Type: "application", Engine: "gotpl", TillerVersion: ">=2.0.0",
		Dependencies: []Dependency{
			{Name: "redis", Version: "17.x", Repository: "oci://example.test/charts", Condition: "redis.enabled", Tags: []string{"cache"}, Enabled: true,
				ImportValues: []any{"defaults", map[string]any{"child": "data", "parent": "web.data"}}, Alias: "cache"},
			{Name: "common", Version: "1"},
		},
	}
	got, err := ParseMetadata([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := got.Check(); err != nil {
		t.Error(err)
	}
	sameAsHelm(t, []byte(full))

	const json = `{"name":"web","home":"https://example.test/?a=1&b=<2>","sources":["https://example.test/src"],"version":"1.2.3-rc.1+build.5",` +
		`"description":"Serves the web. Two lines. ","keywords":["web","2","true"],"maintainers":[{"name":"Ada","email":"ada@example.test"},` +
		`{"name":"Grace","url":"https://example.test"}],"icon":"https://example.test/icon.svg","apiVersion":"v2","condition":"a.b","tags":"front",` +
		`"appVersion":"1.1","deprecated":true,"annotations":{"1":"one","empty":"","example.test/licence":"Apache-2.0","zero":"0"},` +
		`"kubeVersion":">=1.25.0-0","dependencies":[{"name":"redis","version":"17.x","repository":"oci://example.test/charts","condition":"redis.enabled",` +
		`"tags":["cache"],"enabled":true,"import-values":["defaults",{"child":"data","parent":"web.data"}],"alias":"cache"},` +
		`{"name":"common","version":"1","repository":""}],"type":"application","engine":"gotpl","tillerVersion":">=2.0.0"}`
	if diff := cmp.Diff(json, string(got.JSON())); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	if fields := string((Metadata{}).AppendFields([]byte("x"))); fields != "x" {
		t.Errorf("the fields of no metadata are %q", fields)
	}
}

// minimal returns a Chart.yaml with more lines behind the required ones.
func minimal(more string) string { return "apiVersion: v2\nname: web\nversion: 1.0.0\n" + more + "\n" }

// TestParseMetadataAccepts holds what Helm reads although it looks odd.
func TestParseMetadataAccepts(t *testing.T) {
	for name, in := range map[string]string{
		"byte order mark":         "\ufeff" + minimal(""),
		"windows lines":           strings.ReplaceAll(minimal("home: x"), "\n", "\r\n"),
		"no apiVersion":           "name: web\nversion: 1.0.0\n",
		"document markers":        "---\n" + minimal("") + "---\n",
		"end marker":              minimal("") + "...\n",
		"json":                    `{"apiVersion": "v2", "name": "web", "version": "1.0.0"}`,
		"field names in any case": "APIVersion: v1\nName: web\nVERSION: 1.0.0\nappversion: 2",
		"field by a kelvin sign":  minimal("\u212aeywords: [a]"),
		"null fields":             minimal("keywords:\nsources: ~\nmaintainers: null\nannotations:\ndependencies:\ndeprecated:\nhome:\n"),
		"null texts":              minimal("keywords: [null, a]"),
		"version as a number":     "apiVersion: v2\nname: 5\nversion: 1.10",
		"lenient version":         "apiVersion: v2\nname: web\nversion: v1.0",
		"odd numbers":             minimal("appVersion: 0x1F\nhome: 0777\nicon: 1_000\ntags: 1e3\ncondition: -.5\nkubeVersion: 08\ntype: 0b11"),
		"odd booleans":            minimal("appVersion: yes\nhome: off\nicon: Y\ndeprecated: On"),
		"dates":                   minimal("appVersion: 2021-01-02\nhome: 2021-01-02T03:04:05Z\nkeywords: [2021-1-2 3:4:5]"),
		"large numbers":           minimal("appVersion: 18446744073709551615\nhome: 18446744073709551616\nicon: 1.123456789"),
		"beyond 32 bits":          minimal("appVersion: 5e99\nhome: -1e400\nicon: 1e-60"),
		"quoted numbers":          minimal("appVersion: \"1.10\"\nhome: '0x1F'\nicon: \"yes\"\ntags: \"\"\nkubeVersion: \"~\""),
		"str tag":                 minimal("appVersion: !!str 1.10"),
		"bare tag":                minimal("appVersion: ! 1.10\nhome: ! \"1.10\"\nicon: &a ! '1.20'\ntags: \"! 1.10\""),
		"bare tags elsewhere":     minimal("x: [! 1, &a !\t2]\nappVersion: &b_1\n  !\n  1.10\r\nhome: ! ~\nicon: &c 1.10\ntags: Hi! 1\ndescription: \"\u2028\" \nkubeVersion: ! 1.0"),
		"anchors":                 "apiVersion: v2\nname: web\nversion: &v 1.0.0\nappVersion: *v\nkeywords: &k [a]\nsources: *k",
		"block texts":             minimal("description: >-\n  a\n\n  b\nannotations:\n  x: |\n    - kind: fixed\n"),
		"unknown fields":          minimal("x: {a: [b, {c: 1.5, 7: x, yes: y}]}\nengine: [1]\ntillerVersion: {a: b}"),
		"control characters":      minimal(`description: "a\x00b\u202ec\td\u00a0e"` + "\n" + `keywords: ["\e[31m"]` + "\nannotations: {a: \"\\x01\"}"),
		"numeric annotation keys": minimal("annotations: {1.10: a, 0x10: b, yes: c, .5: d}"),
		"empty collections":       minimal("annotations: {}\nkeywords: []\ndependencies: []"),
		"comment only before":     "# nothing\n\n" + minimal(""),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseMetadata([]byte(in)); err != nil {
				t.Fatal(err)
			}
			sameAsHelm(t, []byte(in))
		})
	}
}

func TestParseMetadataRefuses(t *testing.T) {
	aliases := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 12; i++ {
		aliases += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	for name, c := range map[string]struct{ rule, in, want string }{
		"empty":                     {"chart-name", "", "no name"},
		"no name":                   {"chart-name", "apiVersion: v2\nversion: 1.0.0", "no name"},
		"no version":                {"chart-version", "apiVersion: v2\nname: web", "no version"},
		"name in parts":             {"chart-name", "name: a/b\nversion: 1.0.0", "file name"},
		"name with a backslash":     {"chart-name", "name: a\\b\nversion: 1.0.0", "file name"},
		"name of dots":              {"chart-name", "name: ..\nversion: 1.0.0", "file name"},
		"name with a space":         {"chart-name", "name: a b\nversion: 1.0.0", "characters"},
		"long name":                 {"chart-name", "name: " + strings.Repeat("a", 251) + "\nversion: 1.0.0", "longer"},
		"version with a slash":      {"chart-version", "name: a\nversion: ../1", "characters"},
		"apiVersion v3":             {"chart-api-version", "apiVersion: v3\nname: a\nversion: 1.0.0", "v3"},
		"not utf-8":                 {"chart-yaml-syntax", minimal("home: \xff"), "UTF-8"},
		"utf-16":                    {"chart-yaml-syntax", "\xff\xfea\x00", "UTF-8"},
		"not yaml":                  {"chart-yaml-syntax", "name: [", "not valid YAML"},
		"tabs":                      {"chart-yaml-syntax", "name:\n\t- a", "not valid YAML"},
		"raw control character":     {"chart-yaml-syntax", minimal("home: \x01"), "control"},
		"binary":                    {"chart-yaml-syntax", "\x1f\x8b\x08\x00\x00", ""},
		"a list":                    {"chart-yaml-syntax", "- name: web", "not a mapping"},
		"a text":                    {"chart-yaml-syntax", "web", "not a mapping"},
		"two documents":             {"chart-yaml-syntax", minimal("") + "---\n" + minimal(""), "more than one"},
		"an empty one first":        {"chart-yaml-syntax", "---\n---\n" + minimal(""), "more than one"},
		"key twice":                 {"chart-yaml-duplicate-key", minimal("version: 2.0.0"), `"version" twice`},
		"unknown key twice":         {"chart-yaml-duplicate-key", minimal("x: {a: 1, a: 2}"), `"a" twice`},
		"key twice in two forms":    {"chart-yaml-duplicate-key", minimal("annotations: {1: a, \"1\": b}"), `"1" twice`},
		"key twice in two cases":    {"chart-yaml-duplicate-key", minimal("Version: 2.0.0"), "version twice"},
		"key twice below":           {"chart-yaml-duplicate-key", minimal("maintainers: [{name: a, NAME: b}]"), "name twice"},
		"merge key":                 {"chart-yaml-key", "x: &x {name: a}\n<<: *x\nversion: 1.0.0", "<<"},
		"null key":                  {"chart-yaml-key", minimal("x: {~: 1}"), "not a text"},
		"list as a key":             {"chart-yaml-key", minimal("x: {? [a] : 1}"), "not a plain text"},
		"key beyond 32 bits":        {"chart-yaml-key", minimal("x: {5e99: 1}"), "not a text"},
		"infinite key":              {"chart-yaml-key", minimal("x: {.inf: 1}"), "not a text"},
		"long key":                  {"chart-yaml-key", minimal("annotations: {" + strings.Repeat("a", 257) + ": b}"), "257"},
		"key that cannot be shown":  {"chart-yaml-key", minimal(`annotations: {"a\u2028b": c}`), "printed"},
		"infinity":                  {"chart-yaml-syntax", minimal("x: [.inf]"), ".inf"},
		"binary tag":                {"chart-yaml-syntax", minimal("home: !!binary aGk="), "!!binary"},
		"own tag":                   {"chart-yaml-syntax", minimal("home: !x a"), "!x"},
		"deep":                      {"chart-yaml-syntax", minimal("x: " + strings.Repeat("[", 50) + strings.Repeat("]", 50)), "nested"},
		"very deep":                 {"chart-yaml-syntax", minimal("x: " + strings.Repeat("[", 100_000)), ""},
		"alias bomb":                {"chart-yaml-syntax", minimal(aliases), "nodes"},
		"alias to itself":           {"chart-yaml-syntax", minimal("x: &x [*x]"), ""},
		"too large":                 {"chart-yaml-size", minimal("home: " + strings.Repeat("a", MaxChartYAML)), "256 KiB"},
		"name is a list":            {"chart-yaml-field", "name: [a]\nversion: 1.0.0", "name must be a text and is a list"},
		"keywords is a text":        {"chart-yaml-field", minimal("keywords: a, b"), "keywords must be a list of texts and is a text"},
		"keywords is a mapping":     {"chart-yaml-field", minimal("keywords: {a: b}"), "keywords must be a list of texts and is a mapping"},
		"a keyword is a mapping":    {"chart-yaml-field", minimal("keywords: [a, b: c]"), "keywords[1] must be a text and is a mapping"},
		"sources is a text":         {"chart-yaml-field", minimal("sources: https://a"), "sources must be"},
		"maintainers is a mapping":  {"chart-yaml-field", minimal("maintainers: {name: a}"), "maintainers must be a list of mappings"},
		"maintainers are texts":     {"chart-yaml-field", minimal("maintainers: [Ada]"), "maintainers[0] must be a mapping and is a text"},
		"a maintainer is empty":     {"chart-yaml-field", minimal("maintainers: [~]"), "maintainers[0] must be a mapping and is empty"},
		"a maintainer's name":       {"chart-yaml-field", minimal("maintainers: [{name: [a]}]"), "maintainers[0].name must be a text"},
		"deprecated is a text":      {"chart-yaml-field", minimal(`deprecated: "true"`), "deprecated must be true or false and is a text"},
		"deprecated is a number":    {"chart-yaml-field", minimal("deprecated: 1"), "deprecated must be true or false and is a number"},
		"annotations is a list":     {"chart-yaml-field", minimal("annotations: [a]"), "annotations must be"},
		"an annotation is a list":   {"chart-yaml-field", minimal("annotations: {changes: [a]}"), `annotations["changes"] must be a text and is a list`},
		"a dependency is a text":    {"chart-yaml-field", minimal("dependencies: [redis]"), "dependencies[0] must be a mapping"},
		"a dependency is empty":     {"chart-yaml-field", minimal("dependencies: [null]"), "dependencies[0] must be a mapping"},
		"a dependency's tags":       {"chart-yaml-field", minimal("dependencies: [{name: a, tags: b}]"), "dependencies[0].tags must be"},
		"import-values is a number": {"chart-yaml-field", minimal("dependencies: [{name: a, import-values: [5]}]"), "dependencies[0].import-values[0] must be"},
		"import-values is deep":     {"chart-yaml-field", minimal("dependencies: [{name: a, import-values: [{child: [a]}]}]"), "import-values[0] must be"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := ParseMetadata([]byte(c.in))
			p, ok := problem.As(err)
			if !ok || p.Rule != c.rule || !strings.Contains(p.Message, c.want) || len(p.Message) > 400 {
				t.Fatalf("got %+v, %#v; want rule %s with %q", m, err, c.rule, c.want)
			}
			kind := problem.Invalid
			if strings.HasSuffix(c.rule, "-size") {
				kind = problem.TooLarge
			}
			if p.Kind != kind {
				t.Errorf("kind %s, want %s", p.Kind, kind)
			}
		})
	}
	m, err := ParseMetadata([]byte(minimal("\n\nkeywords: a")))
	if p, _ := problem.As(err); len(p.Facts) != 1 || p.Facts[0] != (problem.Fact{Label: "line", Value: "6"}) {
		t.Errorf("%v: facts of a wrong type in line 6: %v", m, err)
	}
}

func TestMetadataCheck(t *testing.T) {
	for name, c := range map[string]struct{ in, rules string }{
		"good":                {minimal("dependencies: [{name: a}, {name: a, alias: b}]"), ""},
		"lenient version":     {"name: web\nversion: v1", "chart-version"},
		"name and version":    {"name: Web\nversion: v1", "chart-name-case chart-version"},
		"type":                {minimal("type: plugin"), "chart-type"},
		"dependency twice":    {minimal("dependencies: [{name: a}, {name: b, alias: a}]"), "chart-dependency"},
		"dependency unnamed":  {minimal("dependencies: [{version: 1}]"), "chart-dependency"},
		"dependency's alias":  {minimal("dependencies: [{name: a, alias: a.b}]"), "chart-dependency"},
		"reserved name":       {"name: charts\nversion: 1.0.0", "chart-name-reserved"},
		"every dependency":    {minimal("dependencies: [{name: a}, {name: a}, {name: b, alias: a}]"), "chart-dependency chart-dependency"},
		"version of 129 byte": {"name: a\nversion: 1.0.0-" + strings.Repeat("a", 123), "chart-version"},
	} {
		m, err := ParseMetadata([]byte(c.in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var rules []string
		for _, p := range m.Faults() {
			rules = append(rules, p.Rule)
			if p.Kind != problem.Invalid || p.Try == "" {
				t.Errorf("%s: %+v", name, p)
			}
		}
		if got := strings.Join(rules, " "); got != c.rules || (m.Check() == nil) != (c.rules == "") {
			t.Errorf("%s: rules %q, want %q; %v", name, got, c.rules, m.Check())
		}
	}
}

// helmMetadata is the structure into which Helm 4 reads a Chart.yaml.
type helmMetadata struct {
	Name         string            `json:"name,omitempty"`
	Home         string            `json:"home,omitempty"`
	Sources      []string          `json:"sources,omitempty"`
	Version      string            `json:"version,omitempty"`
	Description  string            `json:"description,omitempty"`
	Keywords     []string          `json:"keywords,omitempty"`
	Maintainers  []*Maintainer     `json:"maintainers,omitempty"`
	Icon         string            `json:"icon,omitempty"`
	APIVersion   string            `json:"apiVersion,omitempty"`
	Condition    string            `json:"condition,omitempty"`
	Tags         string            `json:"tags,omitempty"`
	AppVersion   string            `json:"appVersion,omitempty"`
	Deprecated   bool              `json:"deprecated,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	KubeVersion  string            `json:"kubeVersion,omitempty"`
	Dependencies []*Dependency     `json:"dependencies,omitempty"`
	Type         string            `json:"type,omitempty"`
}

// sameAsHelm checks, for a Chart.yaml that ParseMetadata accepts, that Helm's
// reader reads the same from it, and that the JSON means the same to readers
// of JSON and of YAML.
func sameAsHelm(t *testing.T, source []byte) {
	t.Helper()
	m, err := ParseMetadata(source)
	if err != nil {
		return
	}
	var h helmMetadata
	if err := helmyaml.Unmarshal(source, &h); err != nil {
		t.Fatalf("accepted what Helm refuses: %v\n%s", err, source)
	}
	want := Metadata{
		Name: h.Name, Home: h.Home, Sources: h.Sources, Version: h.Version, Description: h.Description, Keywords: h.Keywords,
		Icon: h.Icon, APIVersion: h.APIVersion, Condition: h.Condition, Tags: h.Tags, AppVersion: h.AppVersion, Deprecated: h.Deprecated,
		Annotations: h.Annotations, KubeVersion: h.KubeVersion, Type: h.Type,
		Engine: m.Engine, TillerVersion: m.TillerVersion,
	}
	for _, p := range h.Maintainers {
		want.Maintainers = append(want.Maintainers, *p)
	}
	for _, p := range h.Dependencies {
		want.Dependencies = append(want.Dependencies, *p)
	}
	if want.APIVersion == "" {
		want.APIVersion = "v1"
	}
	want.sanitize()
	if diff := cmp.Diff(want, m, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Helm reads otherwise (-Helm +got):\n%s\n%s", diff, source)
	}
	out := m.JSON()
	var fromJSON, fromYAML Metadata
	if err := json.Unmarshal(out, &fromJSON); err != nil {
		t.Fatalf("JSON: %v\n%s", err, out)
	}
	if err := helmyaml.UnmarshalStrict(out, &fromYAML); err != nil {
		t.Fatalf("JSON as YAML: %v\n%s", err, out)
	}
	if diff := cmp.Diff(m, fromJSON, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(m, fromYAML, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("JSON as YAML (-want +got):\n%s", diff)
	}
}

// TestScalarsRandom compares what random plain scalars mean, as values and as
// keys, with Helm's reader.
func TestScalarsRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const alphabet = "00112579+-._eExXobBafyYnNtTrR~"
	random := func() string {
		b := make([]byte, 1+r.IntN(6))
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		if strings.Trim(string(b), "-.") == "" {
			return "." // a run of hyphens or dots may be an indicator
		}
		return string(b)
	}
	accepted := 0
	for range 1_000 {
		var in strings.Builder
		in.WriteString(minimal("annotations:"))
		for i := range 5 {
			fmt.Fprintf(&in, "  k%d: %s\n  %s: v\n", i, random(), random())
		}
		if _, err := ParseMetadata([]byte(in.String())); err == nil {
			accepted++
		}
		sameAsHelm(t, []byte(in.String()))
	}
	if accepted < 500 {
		t.Errorf("only %d of 1000 documents were compared", accepted)
	}
}

func FuzzParseMetadata(f *testing.F) {
	for _, s := range []string{
		full, minimal("appVersion: 1.10"), minimal("x: &x [*x]"), minimal("appVersion: ! \"1.10\""), "a: 1\n---\nb: 2", "? [a]\n: b",
		minimal("annotations: {1: a, yes: b, 0x1F: c}"), minimal("description: \"\\u2028\\ufeff\\x85\""), "\ufeffname: a\nversion: 1\n",
		"- - - -", "{{{{", "&a a: *a", "%YAML 1.1\n---\nname: a\nversion: 0b-1", minimal("home: |+\n  a\n\n"), minimal("appVersion: 1_0e3"),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMetadata(b)
		if err != nil {
			if _, ok := problem.As(err); !ok {
				t.Errorf("not a problem: %v", err)
			}
			return
		}
		m.Faults()
		if strings.ContainsAny(m.Name+m.Version, "/\\ \x00\n") || m.Name == "" || m.Version == "" {
			t.Errorf("name %q, version %q", m.Name, m.Version)
		}
		sameAsHelm(t, b)
	})
}

// TestParseMetadataCost parses texts that are bad for their size, and bounds
// what they make the parser allocate.
func TestParseMetadataCost(t *testing.T) {
	for _, c := range []struct{ prefix, unit string }{
		{"", "["}, {"", "- "}, {"x: [", "! "}, {"x: {", "a,"}, {"", "---\n"}, {"", "- # a\n"}, {"x:\n", "- &a ! 1\n"}, {"x: &a [1]\ny: [", "*a,"},
	} {
		in := []byte(c.prefix + strings.Repeat(c.unit, (MaxChartYAML-len(c.prefix))/len(c.unit)))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := ParseMetadata(in)
		runtime.ReadMemStats(&after)
		if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; err == nil || mib > 80 {
			t.Errorf("%q and %q repeated: %d MiB, %v", c.prefix, c.unit, mib, err)
		}
	}
}

// TestAppendString writes every character that a string can hold, alone and
// between others, and reads it back as JSON and as YAML.
func TestAppendString(t *testing.T) {
	var all strings.Builder
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if r > 0x3000 && r < 0xd000 || r > 0x1f700 && r < 0x10ff00 {
			continue // ideographs and planes of which all characters are alike
		}
		if utf8.ValidRune(r) {
			all.WriteRune(r)
		}
	}
	for _, s := range []string{"", "a", `"\`, "\xff", "a\xffb\xc3", "\u2028", "\ufeffx", "\x00", "- a: #", all.String()} {
		b := AppendString(nil, s)
		for i, r := range string(b) {
			if r < ' ' || r >= 0x7f && r <= 0x9f || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff {
				t.Errorf("U+%04X stands unescaped at %d", r, i)
			}
		}
		want := strings.ToValidUTF8(s, "\ufffd")
		var j, y string
		if err := json.Unmarshal(b, &j); err != nil || j != want {
			t.Errorf("%.40q as JSON: %.40q, %v", s, j, err)
		}
		if err := helmyaml.Unmarshal(b, &y); err != nil || y != want {
			t.Errorf("%.40q as YAML: %.40q, %v", s, y, err)
		}
	}
	if s := string(AppendString([]byte("x"), "a\x7fb\u0085<&>\t")); s != `x"a\u007fb\u0085<&>\t"` {
		t.Errorf("got %s", s)
	}
	// The longest key that a Chart.yaml may have is still a key to YAML.
	for _, c := range []string{`"`, `\`, "a", "ä", "\u00ad"} {
		key := strings.Repeat(c, MaxKeyLength/len(c))
		b := append(append([]byte("{"), AppendString(nil, key)...), ":1}"...)
		var m map[string]int
		if err := helmyaml.Unmarshal(b, &m); err != nil || m[key] != 1 {
			t.Errorf("a key of %q: %v", c, err)
		}
	}
}

func BenchmarkParseMetadata(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(full)))
	for b.Loop() {
		if _, err := ParseMetadata([]byte(full)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMetadataJSON(b *testing.B) {
	m, err := ParseMetadata([]byte(full))
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = m.AppendFields(buf[:0])
	}
}
