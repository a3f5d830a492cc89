package deployment

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestRender(t *testing.T) {
	data := map[string]any{
		"Values": map[string]any{"a": "x", "n": 5.0, "f": 1.5, "on": true, "off": false, "list": []any{"p", "q"}, "map": map[string]any{"k": "v"}},
	}
	vars := func(name string) (string, error) {
		if name == "SET" {
			return "set", nil
		}
		return "", refusal("it asks for " + name)
	}
	for text, want := range map[string]string{
		"plain":                                                         "plain",
		"{{ .Values.a }}-{{ .Values.n }}":                               "x-5",
		"{{ .Values.f }}":                                               "1.5",
		`{{ .Values.none | default "d" }}`:                              "d",
		`{{ .Values | get "map.k" }}`:                                   "v",
		`{{ .Values | get "map.none" "d" }}`:                            "d",
		`{{ if .Values.on }}a{{ else }}b{{ end }}`:                      "a",
		`{{ if .Values.off }}a{{ else }}b{{ end }}`:                     "b",
		`{{ range .Values.list }}{{ . }}.{{ end }}`:                     "p.q.",
		`{{ range $k, $v := .Values.map }}{{ $k }}{{ $v }}{{ end }}`:    "kv",
		`{{ printf "%s-%q-%d-%%" .Values.a "b" .Values.n }}`:            `x-"b"-5-%`,
		`{{ env "SET" }}{{ requiredEnv "SET" | upper }}`:                "setSET",
		`{{ "a_b" | replace "_" "-" | trimPrefix "a" }}`:                "-b",
		`{{ ternary "y" "n" .Values.on }}{{ empty .Values.none }}`:      "ytrue",
		`{{ hasPrefix "x" .Values.a }}{{ contains "z" .Values.a }}`:     "truefalse",
		`{{ list "a" "b" | join "," }}{{ splitList "," "c,d" | last }}`: "a,bd",
		`{{ coalesce "" .Values.none "c" | quote }}{{ squote "s" }}`:    `"c"'s'`,
		`{{ "Some Name!" | normalize }}{{ title "abc" }}`:               "some-nameAbc",
		`{{ hasKey .Values "a" }}{{ first .Values.list }}`:              "truep",
		`{{ print "a" "b" }}{{ "x " | trim }}`:                          "abx",
	} {
		if got, err := render(text, data, vars); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"{{ .Values.none }}":                 "not set",
		`{{ .Values.map }}`:                  "a mapping",
		`{{ .Values | get "none" }}`:         "not set",
		`{{ env "OTHER" }}`:                  "asks for OTHER",
		`{{ exec "rm" }}`:                    `"exec", which is not known`,
		`{{ readFile "x" }}`:                 `"readFile", which is not known`,
		`{{ tpl "x" . }}`:                    `"tpl", which is not known`,
		"{{ .Values.a ":                      "no template",
		`{{ define "x" }}{{ end }}`:          "defines templates",
		`{{ template "x" }}`:                 "",
		`{{ call .Values.a }}`:               "",
		`{{ html "x" }}`:                     "function html",
		`{{ printf "%999999d" 1 }}`:          "formats",
		`{{ printf "%s" }}`:                  "formats",
		`{{ range 5 }}x{{ end }}`:            "loops and numbers",
		`{{ range len .Values.a }}{{ end }}`: "loops and numbers",
		`{{ eq .Values.n 5 }}`:               "cannot be evaluated",
	} {
		got, err := render(text, data, vars)
		if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\n") {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
}

// What a stranger writes to keep a reader busy ends soon.
func TestRenderIsBounded(t *testing.T) {
	items := make([]any, maxItems)
	for i := range items {
		items[i] = strings.Repeat("x", 100)
	}
	data := map[string]any{"l": items, "long": append(items, "one more"), "s": strings.Repeat("a,", 10_000)}
	loops := func(n int, body string) string {
		return strings.Repeat("{{ range $.l }}", n) + body + strings.Repeat("{{ end }}", n)
	}
	for name, text := range map[string]string{
		"four loops":   loops(4, ""),
		"many steps":   loops(2, strings.Repeat("{{ . }}", 1000)),
		"long output":  loops(2, "{{ . }}"),
		"doubling":     `{{ $x := "a" }}` + loops(1, "{{ $x = print $x $x }}"),
		"lists":        `{{ $x := list "a" }}` + loops(1, "{{ $x = list $x $x }}") + "{{ $x }}",
		"many texts":   loops(2, "{{ $y := upper $.s }}"),
		"long list":    "{{ range $.long }}{{ end }}",
		"split":        `{{ range splitList "," $.s }}{{ end }}`,
		"large":        "{{ 1 }}" + strings.Repeat("x", maxTemplate),
		"replacing":    `{{ replace "," "` + strings.Repeat("y", 1000) + `" $.s }}`,
		"deep nesting": strings.Repeat("{{ if true }}", 100_000),
	} {
		start := time.Now()
		if out, err := render(text, data, nil); err == nil {
			t.Errorf("%s: it made %d bytes", name, len(out))
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}

func FuzzRender(f *testing.F) {
	f.Add(`{{ range $i, $v := .Values.list }}{{ $v | default "x" | quote }}{{ end }}`)
	f.Add(`{{ with .Values }}{{ .a }}{{ else }}{{ printf "%s" .b }}{{ end }}`)
	f.Add("{{`{{ .Release.Name }}`}}")
	f.Fuzz(func(t *testing.T, text string) {
		data := map[string]any{"Values": map[string]any{"a": "hunter2", "list": []any{"x", 1.0, nil}}}
		out, err := render(text, data, func(string) (string, error) { return "", errors.New("no") })
		if len(out) > maxOutput {
			t.Fatal("unbounded")
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") && !strings.Contains(text, "hunter2") {
			t.Fatalf("the error shows data: %v", err)
		}
	})
}
