package index

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	yaml3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"

	"github.com/chartkeep/chartkeep/internal/chart"
)

var update = flag.Bool("update", false, "write golden files anew")

// awkward is text that one YAML reader or another takes for something else.
var awkward = []string{
	"", " ", "a ", " a", "a:", "a: b", "a :b", "a #b", "#a", "- a", "-", "?", "? a", "!a", "&a", "*a", "|", ">", "%a", "@a", "`a", "'a'", `"a"`, "{a}", "[a]", "a, b", "a\\b", "\\", "~",
	"null", "Null", "NULL", "true", "True", "FALSE", "yes", "No", "on", "OFF", "y", "N", "nan", ".nan", "inf", "-.inf", "=", "<<", "---", "...", "--- a",
	"1", "1.10", "0x1f", "0o7", "017", "1e3", "1_000", "+1", "1:30", "190:20:30", "2026-01-02", "2026-01-02T03:04:05Z", "e3", "E10", "abcdef12", "Infinity", "True story",
	"https://charts.example.test/a?b=c", "registry.example.test:5000/a/b:1.0", ">=1.25.0-0", "a\nb", "a\n", "\ta", "a\tb", "a\r\nb", "\x00", "\x1b[31m", "\x7f", "\u0085", "\u00a0", "\u009f", "\u2028", "\u2029", "\ufeff", "\ufffd", "\ufffe", "\uffff",
	"grün", "日本語", "😀", "\U0001fffe", "a😀: b", strings.Repeat("long ", 400), strings.Repeat("\x01", 256),
}

// sameData checks that a JSON value and a YAML text are the same data to the
// reader that Helm uses, and to another.
func sameData(t *testing.T, jsonText, yamlText []byte) {
	t.Helper()
	var want, got, got3 any
	if err := json.Unmarshal(jsonText, &want); err != nil {
		t.Fatalf("%v\n%s", err, jsonText)
	}
	if err := yaml.UnmarshalStrict(yamlText, &got); err != nil {
		t.Fatalf("%v\n%s", err, yamlText)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("YAML\n%s\nis %v, JSON\n%s\nis %v", yamlText, got, jsonText, want)
	}
	if err := yaml3.Unmarshal(yamlText, &got3); err != nil {
		t.Fatalf("%v\n%s", err, yamlText)
	}
	b, err := json.Marshal(got3)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &got3); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got3, want) {
		t.Fatalf("to yaml.v3, YAML\n%s\nis %v, JSON is %v", yamlText, got3, want)
	}
}

func TestYAMLIsTheSameData(t *testing.T) {
	m := chart.Metadata{Name: "a", Version: "1.0.0", APIVersion: "v2", Annotations: map[string]string{}, Keywords: awkward, Deprecated: true}
	for _, s := range awkward {
		m.Annotations[s] = s
	}
	src := newMemSource()
	src.put(Key{"a", "1"}, Fragment(m, awkward, time.Unix(1e9, 5), "00ff"))
	src.put(Key{"true", "1"}, []byte(`{}`))
	src.put(Key{"0x10", "1"}, []byte(`{"a":[],"b":{},"c":[[],[[1,2],{"d":[{"e":1,"f":[{}]}]}],[{}]],"g":null}`))
	src.put(Key{"0x10", "0"}, []byte(`{ "a" : [ ] , "b" : { } , "c" : "\u00e9\uD83D\uDE00\ud83dx\/\b\f\ud83d\u0041\ud83d\ud83d\ude00" }`))
	for i := range 40 {
		k, name, version := syntheticKey(i/10, i%10)
		src.put(k, synthetic(name, version, uint64(i)))
	}
	for _, s := range []sizes{pieceSizes, {4000, 2000, 9000}, {1, 1, 1}} {
		for _, head := range []Head{testHead, {ContextPath: "/a: b"}} {
			ix := mustBuild(t, src, s)
			var b bytes.Buffer
			if err := ix.WriteYAML(&b, head); err != nil {
				t.Fatal(err)
			}
			sameData(t, []byte(raw(t, ix, head)), b.Bytes())
		}
	}
	var b bytes.Buffer
	empty := mustBuild(t, newMemSource(), pieceSizes)
	if err := empty.WriteYAML(&b, testHead); err != nil {
		t.Fatal(err)
	}
	sameData(t, []byte(raw(t, empty, testHead)), b.Bytes())
}

// The JSON document itself must be YAML, since that is what Helm is served.
func TestJSONIsYAML(t *testing.T) {
	m := chart.Metadata{Name: "a", Version: "1.0.0", Annotations: map[string]string{}, Keywords: awkward}
	for _, s := range awkward {
		if len(s) <= 128 {
			m.Annotations[s] = s
		}
	}
	src := newMemSource()
	src.put(Key{"a", "1"}, Fragment(m, awkward, time.Unix(1e9, 5), "00ff"))
	text := []byte(raw(t, mustBuild(t, src, pieceSizes), testHead))
	sameData(t, text, text)
}

func TestYAMLGolden(t *testing.T) {
	src := newMemSource()
	m := chart.Metadata{
		APIVersion: "v2", Name: "vault", Version: "1.2.0", AppVersion: "1.10", Type: "application", KubeVersion: ">=1.25.0-0",
		Description: "Keeps secrets: well", Home: "https://vault.example.test/", Keywords: []string{"secrets", "on"},
		Maintainers:  []chart.Maintainer{{Name: "Jo", Email: "jo@example.test"}},
		Dependencies: []chart.Dependency{{Name: "etcd", Version: "3.x.x", Repository: "https://charts.example.test", ImportValues: []any{"data", map[string]any{"child": "a", "parent": "b"}}}},
		Annotations:  map[string]string{"artifacthub.io/changes": "- kind: fixed\n  description: a \"bug\"\n"},
	}
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	src.put(Key{"vault", "2"}, Fragment(m, []string{"charts/vault-1.2.0.tgz"}, created, strings.Repeat("0e", 32)))
	old := chart.Metadata{APIVersion: "v1", Name: "vault", Version: "1.1.0", Deprecated: true}
	src.put(Key{"vault", "1"}, Fragment(old, []string{"charts/vault-1.1.0.tgz"}, created, strings.Repeat("ab", 32)))
	src.put(Key{"yes", "1"}, Fragment(chart.Metadata{Name: "yes"}, nil, created, ""))
	for name, s := range map[string]sizes{"one": pieceSizes, "many": {1, 1, 1}} {
		ix := mustBuild(t, src, s)
		for file, write := range map[string]func(*bytes.Buffer) error{
			"index.yaml": func(b *bytes.Buffer) error { return ix.WriteYAML(b, Head{created, "/charts"}) },
			"index.json": func(b *bytes.Buffer) error { return ix.WriteRaw(b, Head{created, "/charts"}) },
		} {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			file = filepath.Join("testdata", file)
			if *update {
				if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), want) {
				t.Errorf("%s, pieces: %s:\n%s", file, name, b.Bytes())
			}
		}
	}
}

func TestYAMLRefusesWhatIsNotAFragment(t *testing.T) {
	for _, in := range []string{
		`{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a" 1}`, `{"a":1 "b":2}`, `{1:2}`, `{"a":[1}`, `{"a":[1`, `{"a":x}`, `{"a":"`, `{"a":"\`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12g4"}`,
		`{}x`, `{}]`, `{}],`, `{}],"b"`, `{}],"b":{`, `{},`, strings.Repeat(`{"a":`, 80) + "1" + strings.Repeat("}", 80), strings.Repeat("[", 1e5),
	} {
		y := yamlWriter{in: []byte(in)}
		var err error
		for done := false; !done && err == nil; {
			done, err = y.entry()
		}
		if err == nil {
			t.Errorf("%.60s is converted to\n%s", in, y.out)
		}
	}
}

func FuzzYAML(f *testing.F) {
	for _, text := range awkward {
		if len(text) > 64 {
			continue // long seeds make a fuzzer slow
		}
		seed, err := json.Marshal(map[string]string{text: text})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Add([]byte(`{"a":[],"b":{},"c":[[],[[1,-2.5e3],{"d":[{"e":1,"f":[{}]}]}],[{}]],"g":null,"h":[true,false]}`))
	f.Add([]byte(`{"a":1},{"b":2}],"c":[{}`))
	f.Add([]byte(`{"\ud83d":"\ud83d\ude00"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		y := yamlWriter{in: in} // whatever comes, it ends
		for done := false; !done; {
			var err error
			if done, err = y.entry(); err != nil {
				break
			}
		}
		var v map[string]any
		if json.Unmarshal(in, &v) != nil || v == nil {
			return
		}
		canonical, err := json.Marshal(v) // without members given twice
		if err != nil {
			t.Fatal(err)
		}
		y = yamlWriter{in: canonical}
		if done, err := y.entry(); err != nil {
			if err != errDepth {
				t.Fatalf("%v: %s", err, canonical)
			}
			return
		} else if !done {
			t.Fatalf("%q is left of %s", y.in, canonical)
		}
		sameData(t, append(append([]byte(`[`), canonical...), ']'), y.out)
	})
}
