package manifest

import (
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

func TestLint(t *testing.T) {
	object := func(api, kind, name string) string {
		return "apiVersion: " + api + "\nkind: " + kind + "\nmetadata: {name: '" + name + "'}\n"
	}
	for text, want := range map[string]string{
		deployment("", ""):                                                "",
		object("v1", "ConfigMap", "Upper"):                                "object-name",
		object("v1", "ConfigMap", "a.b-c"):                                "",
		object("v1", "ConfigMap", ""):                                     "object-name",
		object("v1", "Service", "1a"):                                     "object-name",
		object("v1", "Service", strings.Repeat("a", 64)):                  "object-name",
		object("v1", "Service", "a1"):                                     "",
		object("a.test/v1", "Thing", "Any_thing"):                         "",
		object("rbac.authorization.k8s.io/v1", "ClusterRole", "system:a"): "",
		object("rbac.authorization.k8s.io/v1", "ClusterRole", "a/b"):      "object-name",
		"apiVersion: v1\nkind: Pod\nmetadata: {generateName: run-}\n":     "",
		configMap("{}") + "---\n" + configMap("{a: b}"):                   "object-twice",
		configMap("{}") + "---\n" + strings.Replace(configMap("{}"), "{name: web}", "{name: web, annotations: {helm.sh/hook: pre-install}}", 1): "",
		strings.Replace(deployment("", ""), "{matchLabels: {app: web}}", "{matchLabels: {app: other}}", 1):                                      "selector-mismatch",
		strings.Replace(deployment("", ""), "{matchLabels: {app: web}}", "{}", 1):                                                               "selector-missing",
		strings.Replace(strings.Replace(deployment("", ""), "{matchLabels: {app: web}}", "{}", 1), "apps/v1", "extensions/v1beta1", 1):          "",
	} {
		found := Lint(objects(t, text))
		switch {
		case want == "" && len(found) > 0:
			t.Errorf("%+v must not be found in\n%s", found, text)
		case want != "" && (len(found) != 1 || found[0].Rule != want || found[0].Severity != High):
			t.Errorf("%+v found, want %s in\n%s", found, want, text)
		}
	}
}

func TestLintChart(t *testing.T) {
	yamlOf := func(more string) string {
		return "apiVersion: v2\nname: web\nversion: 1.0.0\nicon: https://example.test/i.png\n" + more
	}
	sub := string(charttest.Build(t, "sub", "1.0.0", nil))
	for want, files := range map[string]map[string]string{
		"":                             {"Chart.yaml": yamlOf("dependencies: [{name: sub, version: 1.0.0}]\nmaintainers: [{name: a, email: a@example.test}]\n"), "charts/sub-1.0.0.tgz": sub, "crds/a.yaml": definition("v1")},
		"info chart-icon":              {"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n"},
		"low chart-icon":               {"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\nicon: i.png\n"},
		"low chart-field":              {"Chart.yaml": yamlOf("maintainer: x\n")},
		"medium chart-field-type":      {"Chart.yaml": yamlOf("appVersion: 1.10\n")},
		"medium chart-maintainer":      {"Chart.yaml": yamlOf("maintainers: [{email: a@example.test}]\n")},
		"low chart-maintainer":         {"Chart.yaml": yamlOf("maintainers: [{name: a, url: nowhere}]\n")},
		"low chart-source":             {"Chart.yaml": yamlOf("sources: [nowhere]\n")},
		"medium chart-dependency-v1":   {"Chart.yaml": strings.Replace(yamlOf("dependencies: [{name: sub, version: 1.0.0}]\n"), "v2", "v1", 1), "charts/sub-1.0.0.tgz": sub},
		"medium dependency-missing":    {"Chart.yaml": yamlOf("dependencies: [{name: sub, version: 1.0.0}]\n")},
		"medium dependency-unlisted":   {"Chart.yaml": yamlOf(""), "charts/sub-1.0.0.tgz": sub},
		"medium template-extension":    {"Chart.yaml": yamlOf(""), "templates/a.yaml.bak": "a"},
		"high crd-file":                {"Chart.yaml": yamlOf(""), "crds/a.yaml": configMap("{}")},
		"high crd-file as no template": {"Chart.yaml": yamlOf(""), "crds/a.yaml": "a: {{ .Values.a }}"},
	} {
		found, err := LintChart(charttest.Build(t, "web", "1.0.0", files), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		want, _, _ = strings.Cut(want, " as ")
		switch {
		case want == "" && len(found) > 0:
			t.Errorf("a good chart: %s", listing(found))
		case want != "" && (len(found) != 1 || string(found[0].Severity)+" "+found[0].Rule != want):
			t.Errorf("want %s, got\n%s", want, listing(found))
		}
	}
	found, err := LintChart(charttest.BuildFiles(t, map[string]string{"web/Chart.yaml": yamlOf("")}), Limits{})
	if err != nil || listing(found) != "low templates-missing templates: has nothing in it: the chart renders nothing [ -> ]\ninfo values-missing values.yaml: is missing [ -> ]\n" {
		t.Errorf("an empty chart: %v\n%s", err, listing(found))
	}
	if _, err := LintChart([]byte("x"), Limits{}); err == nil {
		t.Error("what is no archive is linted")
	}
}
