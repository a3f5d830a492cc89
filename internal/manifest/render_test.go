package manifest

import (
	"fmt"
	"strings"
	"testing"
	"text/template/parse"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// one is the archive of a chart with one template, and more files.
func one(t testing.TB, template string, more ...string) []byte {
	t.Helper()
	files := map[string]string{"templates/configmap.yaml": template}
	for i := 0; i+1 < len(more); i += 2 {
		files[more[i]] = more[i+1]
	}
	return charttest.Build(t, "web", "1.0.0", files)
}

// out renders one template and returns the text that it makes.
func out(t testing.TB, template string, more ...string) string {
	t.Helper()
	r, err := Render(one(t, "kind: A\napiVersion: v1\nmetadata: {name: a}\nout: |-\n  "+template, more...), Options{})
	if err != nil {
		t.Fatalf("%s: %v", template, err)
	}
	if len(r.Objects) != 1 {
		t.Fatalf("%s: %d objects, faults %v in\n%s", template, len(r.Objects), r.Faults, r.Text)
	}
	return str(r.Objects[0].Fields, "out")
}

// Templates that want for ever, too much, or out are ended by a limit or get
// nothing, and never harm the process.
func TestHostileTemplates(t *testing.T) {
	const seventeen = 17
	doubling := "{{ $s := \"xxxxxxxxxxxxxxxx\" }}" + strings.Repeat("{{ $s = printf \"%s%s\" $s $s }}", 40) + "{{ $s }}"
	nested := "{{ $d := dict \"a\" 1 }}" + strings.Repeat("{{ $d = dict \"a\" $d \"b\" $d }}", 40)
	calls := ""
	for i := range 40 {
		calls += fmt.Sprintf(`{{ define "a%d" }}{{ template "a%d" . }}{{ template "a%d" . }}{{ end }}`, i, i+1, i+1)
	}
	loop := ""
	for i := range seventeen {
		loop += fmt.Sprintf(`{{ define "r%d" }}{{ include "r%d" . }}{{ end }}`, i, (i+1)%seventeen)
	}
	cases := map[string]string{
		"until":                "{{ range until 1000000000 }}x{{ end }}",
		"untilStep":            "{{ range untilStep 0 1000000000 1 }}x{{ end }}",
		"range over a number":  "{{ range 1000000000000 }}{{ end }}",
		"range in range":       "{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}",
		"text in a loop":       "{{ range 100000 }}" + strings.Repeat("abcdefgh", 2000) + "{{ end }}",
		"value in a loop":      "{{ $s := repeat 1000000 \"x\" }}{{ range 100000 }}{{ $s }}{{ end }}",
		"repeat":               "{{ repeat 2000000000 \"x\" }}",
		"repeat of repeat":     "{{ range 10000 }}{{ $_ := repeat 4000000 \"x\" }}{{ end }}",
		"doubling":             doubling,
		"doubling a list":      "{{ $s := list 1 2 3 }}" + strings.Repeat("{{ $s = concat $s $s }}", 40) + "{{ len $s }}",
		"doubling by replace":  "{{ $s := \"xxxxxxxx\" }}" + strings.Repeat("{{ $s = replace \"x\" \"xxxx\" $s }}", 40),
		"doubling by cat":      "{{ $s := \"xxxxxxxx\" }}" + strings.Repeat("{{ $s = cat $s $s }}", 40),
		"doubling by join":     "{{ $s := \"x\" }}" + strings.Repeat("{{ $s = join $s (list 1 2 3 4 5) }}", 40),
		"doubling by regex":    "{{ $s := \"xxxx\" }}" + strings.Repeat("{{ $s = regexReplaceAll \"x\" $s \"$0$0$0$0\" }}", 40),
		"doubling by wrapWith": "{{ $s := repeat 8000 \"x\" }}" + strings.Repeat("{{ $s = wrapWith 1 $s $s }}", 40),
		"doubling by quote":    "{{ $s := \"\\\"\" }}" + strings.Repeat("{{ $s = quote $s $s }}", 40),
		"doubling by indent":   "{{ indent 3000000 (repeat 100000 \"\\n\") }}",
		"toYaml of a tree":     nested + "{{ toYaml $d }}",
		"print of a tree":      nested + "{{ $d }}",
		"deepCopy of a tree":   nested + "{{ $_ := deepCopy $d }}",
		"merge of a tree":      nested + "{{ $_ := merge (dict) $d }}",
		"printf of a tree":     nested + "{{ printf \"%v\" $d }}",
		"values of a tree":     nested + "{{ $_ := set .Values \"x\" $d }}{{ .Values.YAML }}",
		"print of itself":      "{{ $d := dict }}{{ $_ := set $d \"a\" $d }}{{ $d }}",
		"toYaml of itself":     "{{ $d := dict }}{{ $_ := set $d \"a\" $d }}{{ toYamlPretty $d }}",
		"piped itself":         "{{ $d := dict }}{{ $_ := set $d \"a\" $d }}{{ $d | toString }}",
		"list with itself":     "{{ $d := dict }}{{ $_ := set $d \"a\" (list $d) }}{{ quote $d }}",
		"width":                "{{ printf \"%1000000d\" 1 }}",
		"width of many":        "{{ printf \"" + strings.Repeat("%999999d", 900) + "\" 1 }}",
		"width by argument":    "{{ printf \"%*d\" 100000000 1 }}",
		"seq":                  "{{ seq 1 1000000000 }}",
		"include of itself":    `{{ define "r" }}{{ include "r" . }}{{ end }}{{ include "r" . }}`,
		"include in a circle":  loop + `{{ include "r0" . }}`,
		"template of itself":   `{{ define "r" }}{{ template "r" . }}{{ end }}{{ template "r" . }}`,
		"calls of calls":       calls + `{{ define "a40" }}{{ end }}{{ template "a0" . }}`,
		"tpl loops":            "{{ tpl \"{{ range 1000000000000 }}{{ end }}\" . }}",
		"tpl of tpl":           "{{ $s := \"{{ tpl .s . }}\" }}{{ tpl $s (dict \"s\" $s \"Template\" .Template) }}",
		"tpl piped":            "{{ . | tpl \"{{ range 1000000000000 }}{{ end }}\" }}",
		"tpl of made text":     "{{ tpl (printf \"%s\" (b64dec \"e3tyYW5nZSAxMDAwMDAwMDAwMDAwfX17e2VuZH19\")) . }}",
		"regex":                "{{ regexMatch \"(x{1,100}){1,10}y\" (repeat 1000000 \"x\") }}",
		"regex quadratic":      "{{ regexFindAll \"x|x*y\" (repeat 1000000 \"x\") -1 }}",
		"regex list":           "{{ regexSplit \"x\" (repeat 1000000 \"x\") -1 }}",
		"split":                "{{ split \"\" (repeat 4000000 \"x\") }}",
		"splitList":            "{{ len (splitList \"\" (repeat 4000000 \"x\")) }}",
		"random":               "{{ randAlphaNum 1000000000 }}",
		"glob":                 "{{ .Files.Glob \"" + strings.Repeat("*a", 60) + "\" }}",
		"glob piped":           "{{ $p := \"" + strings.Repeat("*a", 60) + "\" }}{{ ($p | .Files.Glob) }}",
		"fromToml":             "{{ fromToml (printf \"a=%s\" (repeat 1000000 \"[\")) }}",
		"leave":                "{{ ck_leave }}",
		"keep":                 "{{ $x := (ck_keep 1) }}",
		"keep in an argument":  "{{ print ck_leave }}",
		"parentheses":          "{{ " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000) + " }}",
		"blocks":               strings.Repeat("{{ if 1 }}", 5000) + strings.Repeat("{{ end }}", 5000),
		"actions":              strings.Repeat("{{ 1 }}", 50_000),
	}
	for name, template := range cases {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			limits := Limits{Work: 500_000, Made: 32 << 20}
			if name == "range in range" || name == "text in a loop" {
				limits = DefaultLimits()
			}
			r, err := Render(one(t, template), Options{Limits: limits})
			if err == nil {
				t.Fatalf("rendered to %d bytes", len(r.Text))
			}
			p, ok := problem.As(err)
			if !ok {
				t.Fatalf("%v is no problem", err)
			}
			if p.Rule != "render-limit" && p.Rule != "render-failed" || len(p.Message) > 1000 || strings.Contains(p.Message, " | "+guardPrefix) {
				t.Errorf("rule %s: %s", p.Rule, p.Message)
			}
			if took := time.Since(start); took > time.Minute {
				t.Errorf("took %v", took)
			}
		})
	}
}

// What reaches outside gets nothing.
func TestTemplatesReachNothing(t *testing.T) {
	for template, want := range map[string]string{
		`{{ len (lookup "v1" "Secret" "" "") }}`:                  "0",
		`[{{ getHostByName "example.test" }}]`:                    "[]",
		`[{{ .Files.Get "../../etc/passwd" }}]`:                   "[]",
		`[{{ .Files.Get "/etc/passwd" }}]`:                        "[]",
		`{{ range $p, $_ := .Files.Glob "**" }}{{ $p }}{{ end }}`: "notes/a.txt",
		`{{ .Files.Get "notes/a.txt" }}`:                          "hello",
	} {
		if got := out(t, template, "notes/a.txt", "hello"); got != want {
			t.Errorf("%s: %q, want %q", template, got, want)
		}
	}
	for _, template := range []string{`{{ env "HOME" }}`, `{{ expandenv "$HOME" }}`} {
		if _, err := Render(one(t, template), Options{}); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s: %v", template, err)
		}
	}
}

// Functions that are replaced do what Helm's do.
func TestReplacedFunctions(t *testing.T) {
	for template, want := range map[string]string{
		`{{ repeat 3 "ab" }}`:                                                                      "ababab",
		`{{ range until 3 }}{{ . }}{{ end }}`:                                                      "012",
		`{{ until -3 }}`:                                                                           "[0 -1 -2]",
		`{{ untilStep 3 6 2 }}{{ untilStep 6 3 -2 }}`:                                              "[3 5][6 4]",
		`{{ untilStep 3 6 -1 }}{{ untilStep 6 3 0 }}`:                                              "[][]",
		`{{ seq 3 }}|{{ seq 2 4 }}|{{ seq 0 2 6 }}|{{ seq -2 }}|{{ seq 3 1 }}`:                     "1 2 3|2 3 4|0 2 4 6|1 0 -1 -2|3 2 1",
		`{{ "a\nb" | indent 2 | quote }}`:                                                          `"  a\n  b"`,
		`{{ replace "a" "bb" "aXa" }}`:                                                             "bbXbb",
		`{{ join "-" (list 1 "b" nil true) }}`:                                                     "1-b-true",
		`{{ join "," "abc" }}`:                                                                     "abc",
		`{{ (split "/" "a/b")._1 }}{{ (splitn "/" 2 "a/b/c")._1 }}`:                                "bb/c",
		`{{ printf "%05d %-4s| %.2f" 42 "ab" 1.5 }}`:                                               "00042 ab  | 1.50",
		`{{ keys (dict "b" 1 "a" 2) }}{{ values (dict "b" 1 "a" 2) }}`:                             "[a b][2 1]",
		`{{ regexMatch "^a+$" "aaa" }}{{ regexMatch "(" "a" }}`:                                    "truefalse",
		`{{ regexFind "b+" "abbc" }}{{ regexFindAll "[0-9]" "1a2b3" 2 }}`:                          "bb[1 2]",
		`{{ regexReplaceAll "(a)(b)" "ab" "${2}${1}" }}{{ regexReplaceAllLiteral "a" "ab" "$1" }}`: "ba$1b",
		`{{ regexSplit "," "a,b,c" -1 }}`:                                                          "[a b c]",
		`{{ dateInZone "2006-01-02" (toDate "2006-01-02" "2020-03-04") "UTC" }}`:                   "2020-03-04",
		`{{ date "2006" 0 }}`:                                                                      "1970",
		`{{ durationRound "2h10m" }}`:                                                              "2h",
		`{{ len (randAlphaNum 12) }} {{ len (randNumeric 3) }} {{ len (uuidv4) }}`:                 "12 3 36",
		`{{ (genSelfSignedCert "a" nil (list "b") 365).Cert | trunc 27 }}`:                         "-----BEGIN CERTIFICATE-----",
		`{{ $ca := genCA "ca" 365 }}{{ (genSignedCert "a" nil nil 365 $ca).Key | trunc 31 }}`:      "-----BEGIN RSA PRIVATE KEY-----",
		`{{ (buildCustomCert ("x" | b64enc) ("y" | b64enc)).Cert }}`:                               "x",
		`{{ len (randBytes 8 | b64dec) }} {{ len (shuffle "abcd") }} {{ shuffle "" }}{{ len (randAscii 4) }} {{ len (bcrypt "x") }}`:                           "8 4 4 60",
		`{{ genPrivateKey "ed25519" | trunc 35 }}{{ (genCAWithKey "a" 1 "k").Key }}{{ (genSelfSignedCertWithKey "a" nil nil 1 "k").Key }}`:                     "-----BEGIN ED25519 PRIVATE KEY-----kk",
		`{{ (genSignedCertWithKey "a" nil nil 1 (genCA "c" 1) "k").Key }}{{ eq (derivePassword 1 "long" "a" "b" "c") (derivePassword 1 "long" "a" "b" "c") }}`: "ktrue",
		`{{ len (encryptAES "k" "text") }} {{ randInt 3 4 }} {{ htpasswd "a:b" "c" }}`:                                                                         "44 3 invalid username: a:b",
		`{{ len (ago now) }}{{ htmlDate 0 }}{{ durationRound (now | dateModify "-50h") }}{{ durationRound 1 }}`:                                                "21970-01-012d0s",
		`{{ tpl "" . }}{{ join "," (splitList "." "a.b") }}{{ join "" (list ("x" | toString)) }}`:                                                              "a,bx",
		`{{ htpasswd "a" "b" | trunc 9 }}`:                                                  "a:$2a$10$",
		`{{ tpl "{{ .Release.Name }}-{{ include \"n\" . }}" . }}{{ define "n" }}z{{ end }}`: "release-z",
		`{{/* c */}}{{ "{" }}{{ .Release.Name }}{ {{- "x" -}} }{{"{{"}}`:                    "{release{x}{{",
		`{{ .Capabilities.KubeVersion }} {{ .Capabilities.APIVersions.Has "apps/v1/Deployment" }} {{ .Capabilities.APIVersions.Has "batch/v1beta1" }}`: "v1.33.0 true false",
		`{{ .Values.missing }}{{ .Values.missing | default "d" }}`:                                                                                     "d",
		`{{ kindIs "invalid" .Values.missing }}{{ typeOf .Values }}`:                                                                                   "truecommon.Values",
		`{{ with $x := index (list 1 2) 1 }}{{ $x }}{{ else }}no{{ end }}`:                                                                             "2",
		`{{ range $i, $e := list "a" "b" "c" }}{{ if eq $e "b" }}{{ continue }}{{ end }}{{ $i }}{{ $e }}{{ end }}`:                                     "0a2c",
		`{{ .Values.YAML | replace "\n" ";" }}`:                                                                                                        "image: registry.example.test/app:1.0;replicas: 1;",
	} {
		if got := out(t, template); got != want {
			t.Errorf("%s\n got %q\nwant %q", template, got, want)
		}
	}
}

// Errors name the line of the template as it was written.
func TestErrorsNameTheLine(t *testing.T) {
	for template, want := range map[string]string{
		"a: b\n{{- if true }}\n\n{{- /* note */ -}}\n{{ fail \"no\" }}\n{{ end }}":      "web/templates/configmap.yaml:5",
		"{{ define \"x\" -}}\n\n  {{ fail \"no\" }}\n{{- end }}\n{{ include \"x\" . }}": "configmap.yaml:5",
		"a\n\n\n{{ .Values.a.b.c | quote }}":                                            "configmap.yaml:4",
		"a\n{{ range\n list 1 }}\n{{ required \"give x\" $.Values.x }}{{ end }}":        "give x",
		"a\n\n{{ nosuch }}": "configmap.yaml:3",
		"a\n{{ if }}":       "configmap.yaml:2",
	} {
		_, err := Render(one(t, template), Options{})
		p, ok := problem.As(err)
		if !ok || p.Rule != "render-failed" || !strings.Contains(p.Message, want) || strings.Contains(p.Message, guardPrefix) {
			t.Errorf("%q: %v, want it to name %s", template, err, want)
		}
	}
}

// Random values are found and masked, the rest stays.
func TestUnstableFieldsAreMasked(t *testing.T) {
	template := `apiVersion: v1
kind: Secret
metadata: {name: "web-{{ randAlpha 5 | lower }}"}
data:
  password: {{ randAlphaNum 20 | b64enc }}
  fixed: {{ "x" | b64enc }}
stringData:
  conf: |
    user = a
    key = {{ uuidv4 }}
    date = {{ now | date "2006-01-02" }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: b}
data: {sum: "{{ randInt 0 1000 | toString | sha256sum }}"}
`
	r, err := Render(one(t, template), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"Secret/default/web-*: data.password", "Secret/default/web-*: metadata.name", "Secret/default/web-*: stringData.conf", "ConfigMap/default/b: data.sum"}
	if d := cmp.Diff(want, r.Unstable); d != "" {
		t.Error(d)
	}
	if got := str(r.Objects[0].Fields, "stringData", "conf"); got != "user = a\n"+Masked+"\n"+Masked+"\n" {
		t.Errorf("conf is %q", got)
	}
	if got := str(r.Objects[0].Fields, "data", "fixed"); got != "eA==" {
		t.Errorf("fixed is %q", got)
	}
	again, err := Render(one(t, template), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r, again); d != "" {
		t.Errorf("not the same the second time: %s", d)
	}
	stable, err := Render(one(t, "kind: A\napiVersion: v1\nmetadata: {name: a}\n"), Options{})
	if err != nil || len(stable.Unstable) > 0 {
		t.Errorf("nothing random: %v %v", stable.Unstable, err)
	}
}

func TestOptions(t *testing.T) {
	archive := one(t, `kind: A
apiVersion: v1
metadata: {name: a}
out: "{{ .Release.Name }} {{ .Release.Namespace }} {{ .Release.IsUpgrade }} {{ .Values.replicas }} {{ .Values.own }} {{ .Capabilities.KubeVersion.Minor }} {{ .Capabilities.APIVersions.Has "x/v1" }}"
`)
	values := map[string]any{"own": "v"}
	r, err := Render(archive, Options{Name: "n", Namespace: "s", Upgrade: true, Values: values, KubeVersion: "1.29", APIVersions: []string{"x/v1"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := str(r.Objects[0].Fields, "out"); got != "n s true 1 v 29 true" {
		t.Error(got)
	}
	if len(values) != 1 {
		t.Errorf("the values were changed: %v", values)
	}
	if _, err := Render(archive, Options{KubeVersion: "new"}); problem.KindOf(err) != problem.Invalid {
		t.Errorf("a version that is none: %v", err)
	}
	failing := one(t, `{{ fail "no" }}`)
	if _, err := Render(failing, Options{}); problem.KindOf(err) != problem.Invalid {
		t.Errorf("fail: %v", err)
	}
	if _, err := Render(failing, Options{Lenient: true}); err != nil {
		t.Errorf("lenient: %v", err)
	}
}

// Archives that unpack to too much, within one another too, and dependencies
// that multiply are refused before anything is rendered.
func TestRenderRefuses(t *testing.T) {
	inner := string(charttest.Build(t, "sub", "1.0.0", nil))
	nested := inner
	for range maxArchiveDepth + 1 {
		nested = string(charttest.Build(t, "sub", "1.0.0", map[string]string{"charts/sub-1.0.0.tgz": nested}))
	}
	aliases := "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies:\n"
	for i := range 3000 {
		aliases += fmt.Sprintf("- {name: sub, version: 1.0.0, repository: 'https://example.test', alias: a%d}\n", i)
	}
	big := strings.Repeat("x: y\n", 400_000)
	for name, c := range map[string]struct {
		archive []byte
		limits  Limits
		rule    string
	}{
		"no archive":   {[]byte("no archive"), Limits{}, "archive-gzip"},
		"bad within":   {one(t, "", "charts/sub-1.0.0.tgz", "no archive"), Limits{}, "archive-gzip"},
		"too deep":     {one(t, "", "charts/sub-1.0.0.tgz", nested), Limits{}, "render-limit"},
		"many aliases": {one(t, "", "charts/sub-1.0.0.tgz", inner, "Chart.yaml", aliases), Limits{}, "render-limit"},
		"much text":    {one(t, big), Limits{TemplateBytes: 1 << 20}, "render-limit"},
		"library":      {one(t, "", "Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\ntype: library\n"), Limits{}, "library-chart"},
		"values":       {one(t, "", "values.yaml", "a: [b"), Limits{}, "chart-load"},
		"mismatch":     {one(t, "", "charts/sub-1.0.0.tgz", inner, "values.yaml", "sub: text\n"), Limits{}, "values"},
	} {
		_, err := Render(c.archive, Options{Limits: c.limits})
		p, ok := problem.As(err)
		if !ok || p.Rule != c.rule && !strings.HasPrefix(p.Rule, c.rule) {
			t.Errorf("%s: %v, want rule %s", name, err, c.rule)
		}
	}
	if _, err := Render(one(t, "", "charts/sub-1.0.0.tgz", inner), Options{}); err != nil {
		t.Errorf("an archive within an archive: %v", err)
	}
	r, err := Render(one(t, strings.Repeat("---\nkind: A\napiVersion: v1\nmetadata: {name: a}\n", 50)), Options{Limits: Limits{Documents: 10}})
	if err != nil || len(r.Objects) != 10 || len(r.Faults) != 1 {
		t.Errorf("over the limit of objects: %d objects, %v, %v", len(r.Objects), r.Faults, err)
	}
}

// A template under guard reads back as the same syntax tree.
func FuzzGuard(f *testing.F) {
	for _, s := range []string{
		"{{ .a }}", "{{ if .a }}x{{ else if .b }}y{{ else }}z{{ end }}", "{{ range $i, $e := .l }}{{ break }}{{ end }}", "a{ {{- .b }}", "{{/* c */}}{{{/* d */}}{",
		`{{ define "x" }}{{ template "y" . }}{{ end }}{{ block "y" . }}{{ end }}`, "{{ with $x := (f .a | g `raw\n` 'c') }}{{ $x.y.z }}{{ end }}",
		"{{- tpl (.Files.Get \"a\") . | nindent 4 -}}", "{{ (.a).YAML }}{{ .Values.YAML }}{{ $.YAML.x }}{{ .YAML }}", "{{ $x = 1 }}", "{{ $x := 1 }}{{ $x = nil | f }}", "}}{{ 0x1F }}{{ -1.5e3 }}{{ true }}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		guarded, err := guardTemplate("t", text)
		if err != nil {
			return
		}
		read := func(text string) map[string]*parse.Tree {
			trees := map[string]*parse.Tree{}
			tree := parse.New("t")
			tree.Mode = parse.SkipFuncCheck
			if _, err := tree.Parse(text, "", "", trees); err != nil {
				t.Fatalf("%q became %q, which cannot be parsed: %v", text, guarded, err)
			}
			return trees
		}
		before, after := read(text), read(guarded)
		for name, tree := range before {
			if tree.Root == nil {
				continue
			}
			other := after[name]
			if other == nil || other.Root == nil {
				t.Fatalf("%q became %q and lost the template %q", text, guarded, name)
			}
			if a, b := plainText(tree.Root), plainText(other.Root); a != b {
				t.Fatalf("%q became %q: text %q, was %q", text, guarded, b, a)
			}
		}
		if len(after) != len(before) {
			t.Fatalf("%q became %q: %d templates, was %d", text, guarded, len(after), len(before))
		}
	})
}

// Whatever a template says, rendering it ends, and the same each time.
func FuzzRender(f *testing.F) {
	for _, s := range []string{
		"{{ range until 9999999 }}x{{ end }}", "{{ $d := dict }}{{ $_ := set $d \"a\" $d }}{{ $d }}", `{{ define "r" }}{{ include "r" . }}{{ end }}{{ include "r" . }}`,
		"{{ tpl .Values.image . | quote }}", "{{ toYaml .Values | nindent 2 }}", "{{ .Files.Glob \"**\" }}{{ .Chart }}{{ .Capabilities }}", "{{ randAlpha 5 }}{{ now }}",
		"a: {{ regexReplaceAll \"(a)\" \"aaa\" \"${1}x\" }}\nkind: X\napiVersion: v1", "{{ repeat 5 (repeat 5 \"x\") | splitList \"x\" | join \",\" }}",
		"{{ fromYaml \"a: [1]\" }}{{ fromJson \"{}\" }}{{ fromToml \"a=1\" }}", "{{ mergeOverwrite (dict \"a\" 1) .Values }}{{ deepCopy .Values }}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, template string) {
		if len(template) > 4096 {
			return
		}
		o := Options{Limits: Limits{Work: 200_000, Made: 8 << 20}}
		archive := one(t, template)
		a, errA := Render(archive, o)
		b, errB := Render(archive, o)
		if d := cmp.Diff(a, b); d != "" || (errA == nil) != (errB == nil) {
			t.Fatalf("not the same the second time: %v, %v, %s", errA, errB, d)
		}
		if _, ok := problem.As(errA); errA != nil && !ok {
			t.Fatalf("%v is no problem", errA)
		}
	})
}

// plainText is all text of a tree, braces that were guarded included.
func plainText(l *parse.ListNode) string {
	var b strings.Builder
	var walk func(l *parse.ListNode)
	walk = func(l *parse.ListNode) {
		if l == nil {
			return
		}
		for _, n := range l.Nodes {
			switch n := n.(type) {
			case *parse.TextNode:
				b.Write(n.Text)
			case *parse.ActionNode:
				if n.String() == `{{"{"}}` {
					b.WriteString("{")
				}
			case *parse.IfNode:
				walk(n.List)
				walk(n.ElseList)
			case *parse.WithNode:
				walk(n.List)
				walk(n.ElseList)
			case *parse.RangeNode:
				walk(n.List)
				walk(n.ElseList)
			}
		}
	}
	walk(l)
	return b.String()
}

func TestListsOfFunctionsAgree(t *testing.T) {
	for name := range makers {
		if shallow[name] {
			t.Errorf("%s is in both lists", name)
		}
	}
	for name := range weighty {
		if shallow[name] || makers[name] {
			t.Errorf("%s is weighed and not walked", name)
		}
	}
}
