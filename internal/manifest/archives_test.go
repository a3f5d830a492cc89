package manifest

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(string(readFile(t, path)), string(got)); d != "" {
		t.Errorf("%s: %s", name, d)
	}
}

// Real changes, and what they did.
func TestRealChanges(t *testing.T) {
	for name, files := range map[string][2]string{
		"argo-rollouts-0.3.7.json":        {"mutations/cases/02-argo-argo-rollouts-0.3.7-changed/before.argo-rollouts-0.3.7.tgz", "mutations/cases/02-argo-argo-rollouts-0.3.7-changed/after.argo-rollouts-0.3.7.tgz"},
		"argo-0.16.8.json":                {"mutations/cases/03-argo-argo-0.16.8-changed/before.argo-0.16.8.tgz", "mutations/cases/03-argo-argo-0.16.8-changed/after.argo-0.16.8.tgz"},
		"airflow-8.8.0-8.9.0.json":        {"charts/airflow-helm/airflow-8.8.0.tgz", "charts/airflow-helm/airflow-8.9.0.tgz"},
		"airflow-7.16.0-8.0.0.json":       {"charts/airflow-helm/airflow-7.16.0.tgz", "charts/airflow-helm/airflow-8.0.0.tgz"},
		"keda-2.0.0-rc2-2.0.0-rc3.json":   {"charts/kedacore__charts/keda-2.0.0-rc2.tgz", "charts/kedacore__charts/keda-2.0.0-rc3.tgz"},
		"cert-manager-v0.5.2-v0.6.0.json": {"charts/helm__charts/cert-manager-v0.5.2.tgz", "charts/helm__charts/cert-manager-v0.6.0.tgz"},
	} {
		t.Run(name, func(t *testing.T) {
			root := charttest.Corpus(t, "")
			r, err := CompareArchives(readFile(t, filepath.Join(root, files[0])), readFile(t, filepath.Join(root, files[1])), Options{})
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, r)
		})
	}
}

func rules(found []Finding) []string {
	var out []string
	for _, f := range found {
		out = append(out, string(f.Severity)+" "+f.Rule+" "+f.Object)
	}
	return out
}

func compareCharts(t *testing.T, old, new map[string]string, values map[string]any) Result {
	t.Helper()
	r, err := CompareArchives(charttest.Build(t, "web", "1.0.0", old), charttest.Build(t, "web", "1.1.0", new), Options{Values: values})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCompareArchives(t *testing.T) {
	crd := definition("v1")
	widened := strings.Replace(role("ClusterRole", readPods), "verbs: [get, list]", `verbs: ["*"]`, 1)
	chartYAML := func(more string) string {
		return "apiVersion: v2\nname: web\nversion: 1.0.0\nappVersion: '1.0'\n" + more
	}
	for _, c := range []struct {
		name     string
		old, new map[string]string
		want     []string
		not      []string
	}{
		{"the same", nil, nil, nil, []string{""}},
		{"fails now", nil, map[string]string{"templates/a.yaml": `{{ fail "no" }}`, "templates/b.yaml": role("ClusterRole", readPods)},
			[]string{"medium not-rendered web 1.1.0", "low compared-partly web 1.1.0", "medium rights-widened ClusterRole/web"}, []string{"compared-as-text"}},
		{"fails always", map[string]string{"templates/r.yaml": role("ClusterRole", readPods) + "{{ .Values.a.b.c }}", "templates/d.yaml": deployment("", "")},
			map[string]string{"templates/r.yaml": widened + "{{ .Values.a.b.c }}", "templates/d.yaml": deployment("hostPID: true", "image: evil.test/app:1.0.0"), "templates/n.yaml": "a: b"},
			[]string{"high template-rights templates/r.yaml:5", "high template-privileges templates/d.yaml:12", "low template-image templates/d.yaml:18", "medium compared-as-text web 1.1.0"}, []string{"template-rights templates/n"}},
		{"rights that are off", map[string]string{"templates/r.yaml": role("ClusterRole", readPods)}, map[string]string{"templates/r.yaml": role("ClusterRole", readPods+"\n{{ if .Values.more }}\n- {apiGroups: [''], resources: [secrets], verbs: [get]}\n{{ end }}")},
			[]string{"low rights-optional templates/r.yaml:7"}, []string{"rights-widened", "template-rights"}},
		{"rights that are on", map[string]string{"templates/r.yaml": role("ClusterRole", readPods)}, map[string]string{"templates/r.yaml": role("ClusterRole", readPods+"\n- {apiGroups: [''], resources: [secrets], verbs: [get]}")},
			[]string{"critical rights-widened ClusterRole/web"}, []string{"rights-optional"}},
		{"a new definition in the folder", nil, map[string]string{"crds/a.yaml": crd}, []string{"medium crd-not-upgraded CustomResourceDefinition/things.example.test"}, nil},
		{"a loop", nil, map[string]string{"templates/a.yaml": "{{ range 100000000000 }}{{ end }}"}, []string{"medium not-rendered web 1.1.0", "medium compared-as-text web 1.1.0"}, nil},
		{"no YAML", nil, map[string]string{"templates/a.yaml": "a: [b"}, []string{"medium not-read web 1.1.0"}, nil},
		{"crds", map[string]string{"crds/a.yaml": crd}, map[string]string{"crds/a.yaml": definition("v1", "v2")},
			[]string{"medium crd-not-upgraded CustomResourceDefinition/things.example.test"}, nil},
		{"crds gone", map[string]string{"crds/a.yaml": crd}, nil, []string{"low crd-removed CustomResourceDefinition/things.example.test"}, []string{"critical"}},
		{"to crds", map[string]string{"templates/a.yaml": crd}, map[string]string{"crds/a.yaml": crd}, []string{"critical crd-removed CustomResourceDefinition/things.example.test"}, []string{"crd-added"}},
		{"from crds", map[string]string{"crds/a.yaml": crd}, map[string]string{"templates/a.yaml": crd}, []string{"medium crd-adopted CustomResourceDefinition/things.example.test"}, []string{"crd-removed", "crd-added"}},
		{"app version", map[string]string{"Chart.yaml": chartYAML("")}, map[string]string{"Chart.yaml": strings.Replace(chartYAML(""), "'1.0'", "'0.9'", 1)}, []string{"medium app-version Chart.yaml"}, nil},
		{"kube version", map[string]string{"Chart.yaml": chartYAML("")}, map[string]string{"Chart.yaml": chartYAML("kubeVersion: '>=1.30'\ndeprecated: true\n")}, []string{"low kube-version Chart.yaml", "medium deprecated Chart.yaml"}, []string{"app-version"}},
		{"library", map[string]string{"Chart.yaml": chartYAML("")}, map[string]string{"Chart.yaml": chartYAML("type: library\n")}, []string{"high chart-type Chart.yaml"}, []string{"not-rendered"}},
		{"dependencies", map[string]string{"Chart.yaml": chartYAML("dependencies:\n- {name: a, version: 1.0.0, repository: 'https://a.test'}\n- {name: b, version: 1.0.0, repository: 'https://a.test'}\n- {name: d, version: 1.0.0, repository: 'https://a.test'}\n")},
			map[string]string{"Chart.yaml": chartYAML("dependencies:\n- {name: a, version: 1.1.0, repository: 'https://a.test'}\n- {name: b, version: 1.0.0, repository: 'https://b.test'}\n- {name: c, version: 1.0.0, repository: 'https://a.test'}\n")},
			[]string{"low dependency-changed Chart.yaml", "medium dependency-repository Chart.yaml", "low dependency-added Chart.yaml", "info dependency-removed Chart.yaml"}, nil},
		{"unstable", nil, map[string]string{"templates/a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {p: '{{ randAlpha 8 }}'}\n"}, []string{"low unstable Secret/default/s"}, nil},
		{"unstable always", map[string]string{"templates/a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {p: '{{ randAlpha 8 }}'}\n"},
			map[string]string{"templates/a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {p: '{{ randAlpha 9 }}'}\n"}, nil, []string{""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := compareCharts(t, c.old, c.new, nil)
			got := rules(r.Findings)
			for _, w := range c.want {
				if !slices.Contains(got, w) {
					t.Errorf("%q is not found among\n%s", w, listing(r.Findings))
				}
			}
			for _, n := range c.not {
				for _, g := range got {
					if strings.Contains(g, n) {
						t.Errorf("%q must not be found: %s", n, g)
					}
				}
			}
		})
	}
	if r := compareCharts(t, nil, nil, nil); r.Old != "web 1.0.0" || r.New != "web 1.1.0" {
		t.Errorf("%q to %q", r.Old, r.New)
	}
	_, err := CompareArchives(charttest.Build(t, "web", "1.0.0", nil), []byte("x"), Options{})
	if p, ok := problem.As(err); !ok || !slices.Contains(p.Facts, problem.Fact{Label: "archive", Value: "new"}) {
		t.Errorf("an archive that is none: %v", err)
	}
}

func TestCompareValues(t *testing.T) {
	old := "gone: 1\nkept: {a: 1, b: 2}\nkind: text\nfree: {}\npassword: hunter2\nlist: [1]\nsame: x\n"
	schema := func(required string) string {
		return `{"$defs": {"d": {"required": ["deep"]}}, "required": [` + required + `], "properties": {"kept": {"$ref": "#/$defs/d"}, "nowhere": {"required": ["never"]}}}`
	}
	oldFiles := map[string]string{"values.yaml": old, "values.schema.json": `{"required": ["same"]}`}
	newFiles := map[string]string{"values.yaml": "kept: {a: 1}\nkind: {name: text}\nfree: {}\npassword: other\nlist: [2]\nsame: x\n", "values.schema.json": schema(`"same", "must", "kind"`)}
	check := func(t *testing.T, user map[string]any, want map[string]Severity, not ...string) {
		t.Helper()
		found, err := CompareValues(charttest.Build(t, "web", "1.0.0", oldFiles), charttest.Build(t, "web", "1.1.0", newFiles), user, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]Severity{}
		for _, f := range found {
			got[f.Rule+" "+f.Object] = f.Severity
		}
		for key, s := range want {
			if got[key] != s {
				t.Errorf("%s is %q, want %q; all:\n%s", key, got[key], s, listing(found))
			}
		}
		for _, key := range not {
			if got[key] != "" {
				t.Errorf("%s must not be found", key)
			}
		}
		if text := listing(found); strings.Contains(text, "hunter2") {
			t.Errorf("a secret is shown:\n%s", text)
		}
	}
	check(t, nil, map[string]Severity{
		"value-vanished gone": Low, "value-vanished kept.b": Low, "value-type kind": Low, "value-default password": Info, "value-default list": Info,
		"value-required must": High, "value-required kind": Info, "value-required kept.deep": High,
	}, "value-required same", "value-required nowhere.never", "value-vanished same", "value-default same")
	check(t, map[string]any{
		"gone": 2, "kind": "own", "list": []any{float64(3)}, "typo": true, "must": "here", "global": map[string]any{"x": 1},
		"free": map[string]any{"any": 1}, "kept": map[string]any{"b": 3, "c": 4, "deep": 1},
	}, map[string]Severity{
		"value-vanished gone": High, "value-vanished kept.b": High, "value-type kind": High, "value-default list": Low,
		"value-unknown typo": Low, "value-unknown kept.c": Low, "value-required must": Info, "value-required kept.deep": Info,
	}, "value-unknown global", "value-unknown free.any", "value-unknown gone")
	check(t, map[string]any{"kind": map[string]any{"name": "x"}}, map[string]Severity{"value-type kind": Low})

	// Values of a dependency stand under its name, or its alias.
	sub := func(values string) string {
		return string(charttest.Build(t, "sub", "1.0.0", map[string]string{"values.yaml": values}))
	}
	listed := "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: [{name: sub, alias: db, version: 1.0.0}]\n"
	oldFiles = map[string]string{"Chart.yaml": listed, "charts/sub-1.0.0.tgz": sub("a: 1\nb: 2\n")}
	newFiles = map[string]string{"Chart.yaml": listed, "charts/sub-1.0.0.tgz": sub("a: 2\n")}
	check(t, map[string]any{"db": map[string]any{"b": 1}}, map[string]Severity{"value-default db.a": Info, "value-vanished db.b": High})
}

// Whatever a chart says of itself and its values, comparing it ends without a
// panic.
func FuzzCompareArchives(f *testing.F) {
	for _, s := range []string{
		"dependencies: [null]", "dependencies: [{name: sub, alias: a, condition: 'sub.on,b', tags: [x], import-values: [data, {child: a.b, parent: c}]}]",
		"dependencies: [{name: sub, import-values: [1, null, {child: 1}]}]", "maintainers: [null]\ntype: application\nkubeVersion: x", "annotations: {a: null}",
	} {
		f.Add(s, "sub: {on: true, exports: {data: {a: 1}}}\ntags: {x: false}\nglobal: {a: b}", `{"required": ["a"], "properties": {"a": {"$ref": "#/properties/a"}}}`)
	}
	f.Add("", "a: &a [*a]", "{}")
	f.Add("", "sub: null\n---\nsub: {a: b}\n---\n- x", "[")
	f.Fuzz(func(t *testing.T, chartYAML, values, schema string) {
		sub := string(charttest.Build(t, "sub", "1.0.0", map[string]string{"values.yaml": values}))
		files := map[string]string{"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n" + chartYAML, "values.yaml": values, "values.schema.json": schema, "charts/sub-1.0.0.tgz": sub}
		old, new := charttest.Build(t, "web", "1.0.0", nil), charttest.Build(t, "web", "1.0.0", files)
		for _, pair := range [][2][]byte{{old, new}, {new, old}, {new, new}} {
			if _, err := CompareArchives(pair[0], pair[1], Options{}); err != nil {
				if _, ok := problem.As(err); !ok {
					t.Fatalf("%v is no problem", err)
				}
			}
		}
	})
}
