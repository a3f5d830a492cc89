package advisory

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// check compares the cursor with encoding/json on one text.
func check(t *testing.T, text string) {
	t.Helper()
	c := &cursor{in: text}
	raw := c.raw()
	valid := json.Valid([]byte(text))
	if got := c.end(); got != valid {
		if valid && deep(text) {
			return
		}
		t.Fatalf("%q is valid: %v, want %v", text, got, valid)
	}
	if !valid {
		return
	}
	var want bytes.Buffer
	if err := json.Compact(&want, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if got := compact(strings.TrimSpace(raw)); got != want.String() {
		t.Fatalf("%q is %q without space, want %q", text, got, want.String())
	}
	var s string
	if json.Unmarshal([]byte(text), &s) == nil && raw[0] == '"' {
		if got := (&cursor{in: text}).text(); got != s && strings.Count(s, "\uFFFD") == 0 {
			t.Fatalf("%q says %q, want %q", text, got, s)
		}
	}
}

// deep says whether a text nests deeper than the cursor goes.
func deep(text string) bool { return strings.Count(text, "[")+strings.Count(text, "{") > maxDepth }

func TestCursor(t *testing.T) {
	for _, text := range []string{
		"", " ", "null", "true", "false", "tru", "nullx", "0", "-0", "-", "01", "1.", "1.5", ".5", "1e5", "1E+5", "1e", "-1.5e-7", "+1", "NaN",
		`""`, `"`, `"a`, `"\"`, `"\u00e9\n\t\/\\\"\b\f\r"`, `"\ud83d\ude00"`, `"\ud800"`, `"\ud800\u0041"`, `"\ud800\ud83d\ude00"`, `"\u00g0"`, `"\u00"`, `"\x"`, "\"\n\"", "\"\x7f\"", `"é"`, "\"\xff\"",
		"[]", "[ ]", "[1]", "[1,]", "[,1]", "[1 2]", "[1", "]", "[[[]]]", "{}", `{"a":1}`, `{"a":1,}`, `{"a" : 1 , "b":[ ]}`, `{"a"}`, `{a:1}`, `{"a":1`, `{"a":1]`, "[}",
		`{"a":{"b":[{"c":"d e\" f"}]}} `, `{} {}`, "\t{\r\n}\n",
		strings.Repeat("[", 150) + strings.Repeat("]", 150), strings.Repeat("[", 100),
	} {
		check(t, text)
		for i := range text {
			check(t, text[:i])
		}
	}
	c := &cursor{in: strings.Repeat("[", 1<<20)}
	if c.skip(); c.end() {
		t.Error("a text without an end is JSON")
	}
	if got := (&cursor{in: `"\ud800x\ud83d\ude00"`}).text(); got != "\uFFFDx😀" {
		t.Errorf("%q", got)
	}
}

func TestParseTime(t *testing.T) {
	want := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, s := range []string{"2026-03-01T00:00:00Z", "2026-03-01", "2026-03-01T00:00:00", "2026-03-01T01:00:00+0100", "2026-03-01T01:00:00+01:00", "2026.03.01", "2026-03-01T00:00:00.000Z"} {
		if got, ok := parseTime(s); !ok || !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%s: %v %v", s, got, ok)
		}
	}
	for _, s := range []string{"", "yesterday", "2026-13-01", "20260301", "2026-03-01 10", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"} {
		if got, ok := parseTime(s); ok {
			t.Errorf("%s: %v", s, got)
		}
	}
}

// FuzzCursor: what is JSON, and what a text says, is what encoding/json takes it for.
func FuzzCursor(f *testing.F) {
	f.Add(string(generated(1)))
	f.Add(`["\ud83d\ude00\u0000", 1.5e-7, {"a" : null}]`)
	f.Add(`"\\\"\u00e9"`)
	f.Fuzz(func(t *testing.T, text string) { check(t, text) })
}
