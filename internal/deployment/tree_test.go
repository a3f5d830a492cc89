package deployment

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/chartkeep/chartkeep/internal/problem"
)

func TestRead(t *testing.T) {
	for _, name := range []string{"umbrella", "plain", "argocd", "appsets", "flux", "helmfile"} {
		t.Run(name, func(t *testing.T) {
			v, err := Read(os.DirFS(filepath.Join("testdata", "trees", name)), name, Options{Variables: map[string]string{"REGION": "eu-1"}})
			if err != nil {
				t.Fatal(err)
			}
			noSecrets(t, v)
			golden(t, name+".json", v)
		})
	}
}

// noSecrets looks for the one secret that all files here hold.
func noSecrets(t *testing.T, v Inventory) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if i := strings.Index(string(b), "hunter2"); i >= 0 {
		t.Errorf("a secret got out: …%s", b[max(0, i-80):i+10])
	}
}

func tree(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for p, text := range files {
		m[p] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

func TestReadLimitsAndLinks(t *testing.T) {
	big := strings.Repeat("# x\n", maxFile/4+1)
	app := "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: a}\nspec: {source: {repoURL: https://x, chart: c, targetRevision: 1.0.0}}\n"
	deep := strings.Repeat("d/", maxTreeDepth+1)
	v, err := Read(tree(map[string]string{
		"big.yaml": big, "app.yaml": app, ".git/app.yaml": app, "node_modules/app.yaml": app, deep + "app.yaml": app, "marks.yaml": "argoproj.io: [" + strings.Repeat(",", maxYAMLMarks) + "]",
		"c/Chart.yaml": "name: c\nversion: 1.0.0\n", "c/templates/bad.yaml": "kind: Application # argoproj.io\n{{ if }}\n", "c/templates/good.yaml": strings.Replace(app, "name: a", "name: inside", 1),
		"notours.yaml": "a: [", "notes.txt": app, "tags.yaml": "apiVersion: argoproj.io/v1\nkind: Secret\nx: !vault |\n  secret\n",
		"bomb.yaml": "argoproj.io: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n" +
			"e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\napiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: bomb}\nspec: {values: {v: *f}, chart: {spec: {chart: c}}}\n",
	}), "here", Options{Name: "repo"})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, d := range v.Deployments {
		keys = append(keys, d.Key)
	}
	if got, want := strings.Join(keys, " "), "repo:app.yaml#Application//a repo:bomb.yaml#HelmRelease//bomb repo:c/templates/good.yaml#Application//inside"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := strings.Join(v.Problems, "\n"); got != "big.yaml: it is larger than 8 MiB\nmarks.yaml: it has more than 500000 characters that YAML gives a meaning" {
		t.Error(got)
	}
	if !strings.Contains(strings.Join(v.Deployments[1].Unresolved, " "), "values is too large") {
		t.Errorf("%q", v.Deployments[1].Unresolved)
	}

	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "app.yaml")
	if err := os.WriteFile(outside, []byte(app), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	if v, err = Read(os.DirFS(dir), "here", Options{}); err != nil || len(v.Deployments) != 0 || len(v.Problems) != 1 || !strings.Contains(v.Problems[0], "links are not followed") {
		t.Errorf("%v %+v", err, v)
	}
	if _, err := Read(os.DirFS(filepath.Join(dir, "none")), "here", Options{}); err == nil {
		t.Error("a folder that is not there was read")
	}
}

// TestReadObjects joins a HelmRelease with what Helm stored for it.
func TestReadObjects(t *testing.T) {
	one := secret("web", "deployed", 3, stored(t, "web", 3, "deployed"))
	one["kind"] = "Secret"
	object, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	v := ReadObjects([][]byte{
		[]byte(`{"apiVersion":"helm.toolkit.fluxcd.io/v2","kind":"HelmRelease","metadata":{"name":"web","namespace":"shop","labels":{"chartkeep/owner":"shop-team"}},"spec":{"chart":{"spec":{"chart":"web","version":"1.x","sourceRef":{"kind":"HelmRepository","name":"r"}}}}}`),
		[]byte(`{"apiVersion":"helm.toolkit.fluxcd.io/v2","kind":"HelmRelease","metadata":{"name":"pending","namespace":"shop"},"spec":{"chart":{"spec":{"chart":"web","version":"1.x","sourceRef":{"kind":"HelmRepository","name":"r"}}}}}`),
		[]byte(`{"apiVersion":"source.toolkit.fluxcd.io/v1","kind":"HelmRepository","metadata":{"name":"r","namespace":"shop"},"spec":{"url":"https://charts.example.org"}}`),
		[]byte(`{"apiVersion":"argoproj.io/v1alpha1","kind":"Application","metadata":{"name":"app","namespace":"argocd","annotations":{"x":"helm.sh/release.v1"}},"spec":{"destination":{"server":"https://kubernetes.default.svc","namespace":"a"},"source":{"repoURL":"https://charts.example.org","chart":"web","targetRevision":"1.2.3"}}}`),
		object, []byte(`{"kind":`),
	}, "prod", "context prod", Options{})
	golden(t, "objects.json", v)
}

func TestReadFile(t *testing.T) {
	if v, err := ReadFile("x/list.yaml", []byte("- {chart: web, version: 1.0.0}\n"), Options{}); err != nil || len(v.Deployments) != 1 || v.Deployments[0].From != "list.yaml:1" {
		t.Errorf("%v %+v", err, v)
	}
	if v, err := ReadFile("x.csv", []byte("chart,version\nweb,1.0.0\n"), Options{}); err != nil || len(v.Deployments) != 1 {
		t.Errorf("%v %+v", err, v)
	}
	for _, text := range []string{"", "just text", "a: b\n", "<html>"} {
		if v, err := ReadFile("x.yaml", []byte(text), Options{}); err == nil {
			t.Errorf("%q: %+v", text, v)
		}
	}
	if _, err := ReadFile("x.yaml", make([]byte, maxFile+1), Options{}); err == nil {
		t.Error("a large file was read")
	}
}

// An ApplicationSet of a stranger that would make too much is one unresolved
// deployment, and soon.
func TestApplicationSetIsBounded(t *testing.T) {
	set := func(generator, template string) string {
		return "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: s}\nspec:\n  goTemplate: true\n  generators: [" + generator +
			"]\n  template: {metadata: {name: x}, spec: {source: {repoURL: r, chart: c, targetRevision: 1.0.0}" + template + "}}\n"
	}
	many := "{list: {elements: [" + strings.Repeat("{a: b},", 100) + "]}}"
	for name, text := range map[string]string{
		"too many":      set("{matrix: {generators: ["+many+", "+many+"]}}", ""),
		"too deep":      set("{matrix: {generators: [{matrix: {generators: [{matrix: {generators: [{matrix: {generators: [{matrix: {}}, "+many+"]}}, "+many+"]}}, "+many+"]}}, "+many+"]}}", ""),
		"half a matrix": set("{matrix: {generators: ["+many+"]}}", ""),
		"no merge keys": set("{merge: {generators: ["+many+", "+many+"]}}", ""),
	} {
		v, err := Read(tree(map[string]string{"s.yaml": text}), "here", Options{})
		if err != nil || len(v.Deployments) != 1 || len(v.Deployments[0].Unresolved) != 1 || v.Deployments[0].Chart.Version != "1.0.0" {
			t.Errorf("%s: %v %+v", name, err, v)
		}
	}
	v, err := Read(tree(map[string]string{"s.yaml": set(many, ", x: ["+strings.Repeat("a,", 100_000)+"]")}), "here", Options{})
	if err != nil || len(v.Deployments) != 100 || !strings.Contains(strings.Join(v.Deployments[0].Unresolved, ""), "too large") {
		t.Errorf("%v %d", err, len(v.Deployments))
	}
}

func TestSetPath(t *testing.T) {
	values := map[string]any{"a": map[string]any{"b": "old", "keep": true}, "l": []any{"x"}}
	for path, v := range map[string]any{"a.b": 1.0, `c\.d.e`: "z", "l[2].k": "y", "m[0][1]": "w"} {
		if err := setPath(values, path, v); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	got, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"a":{"b":1,"keep":true},"c.d":{"e":"z"},"l":["x",null,{"k":"y"}],"m":[[null,"w"]]}`; string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, path := range []string{"", ".", "[0]", "a[x]", "a[", "a[1001]", "a[-1]", strings.Repeat("a.", 100)} {
		if err := setPath(values, path, 1); err == nil {
			t.Errorf("%q was set", path)
		}
	}
}

func TestMatchPath(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"a/*/c.json", "a/b/c.json", true}, {"a/*/c.json", "a/b/d/c.json", false}, {"a/**/c.json", "a/c.json", true},
		{"a/**/c.json", "a/b/d/c.json", true}, {"**/c.json", "c.json", true}, {"**", "x/y", true}, {"a/[", "a/x", false}, {"a", "b", false},
		{strings.Repeat("**/", 10) + "x", strings.Repeat("y/", 100) + "z", false},
	} {
		if got := matchPath(tt.pattern, tt.name); got != tt.want {
			t.Errorf("%s %s: %v", tt.pattern, tt.name, got)
		}
	}
}

// FuzzRead gives the same bytes to every reader.
func FuzzRead(f *testing.F) {
	for _, dir := range []string{"umbrella", "plain", "argocd", "appsets", "flux", "helmfile"} {
		err := filepath.WalkDir(filepath.Join("testdata", "trees", dir), func(p string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			b, err := os.ReadFile(p)
			f.Add(b)
			return err
		})
		if err != nil {
			f.Fatal(err)
		}
	}
	f.Add([]byte("releases:\n{{- range $i, $name := lUs\x86t \"a\" \"b\" }}\n-"))
	f.Fuzz(func(t *testing.T, b []byte) {
		text := string(b)
		v, err := Read(tree(map[string]string{
			"a/app.yaml": text, "a/Chart.yaml": text, "a/Chart.lock": text, "a/requirements.yaml": text, "a/values.yaml": text,
			"helmfile.yaml": text, "x/deployments.yaml": text, "x/deployments.csv": text, "helmfile.d/1.yaml.gotmpl": text,
		}), "fuzz", Options{Variables: map[string]string{"X": "y"}})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, d := range v.Deployments {
			if seen[d.Key] || d.Key == "" || d.Exposure == "" || d.Match.Confidence == "" {
				t.Fatalf("%+v", d)
			}
			if d.Chart.Name == "" && len(d.Unresolved) == 0 {
				t.Fatalf("no chart and no reason: %+v", d)
			}
			seen[d.Key] = true
		}
	})
}

// TestLargeFile: a file that is too large for its form is refused, and not
// taken for one that describes nothing.
func TestLargeFile(t *testing.T) {
	line := `{"chart":"web","version":"1.0.0","note":"` + strings.Repeat("x", 1<<20) + `"}`
	text := "[" + strings.Repeat(line+",", 9) + line + "]"
	v, err := ReadFile("deployments.json", []byte(text), Options{})
	if p, ok := problem.As(err); !ok || p.Rule != "deployment-file-size" || p.Try == "" {
		t.Fatalf("%d deployments, %v", len(v.Deployments), err)
	}
}
