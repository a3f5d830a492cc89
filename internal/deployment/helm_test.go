package deployment

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// stored is a small release as Helm packs it.
func stored(t testing.TB, name string, revision int, status string) []byte {
	t.Helper()
	return pack(t, fmt.Appendf(nil, `{"name":%q,"namespace":"shop","version":%d,"info":{"status":%q,"last_deployed":"2026-01-02T03:04:05.6+01:00","deleted":""},
		"config":{"password":"hunter2"},"chart":{"metadata":{"name":"web","version":"1.%d.0","apiVersion":"v2"},"lock":null,"templates":null,"values":null,"schema":null,"files":null},
		"manifest":"kind: Service\napiVersion: v1\nmetadata: {name: a}\nspec: {type: LoadBalancer}\n"}`, name, revision, status, revision))
}

func secretList(t testing.TB, items ...map[string]any) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"kind": "SecretList", "apiVersion": "v1", "items": items})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReadHelmTakesTheRevisionThatRuns(t *testing.T) {
	for _, tt := range []struct {
		name     string
		statuses []string // of revisions 1, 2 …
		want     string
	}{
		{"the newest that is deployed", []string{"superseded", "superseded", "deployed"}, "3 deployed"},
		{"a failed upgrade", []string{"superseded", "deployed", "failed"}, `2 deployed [revision 3 is newer and has the status "failed"]`},
		{"an upgrade in the middle", []string{"deployed", "pending-upgrade"}, `1 deployed [revision 2 is newer and has the status "pending-upgrade"]`},
		{"nothing but failures", []string{"failed", "failed"}, "2 failed"},
		{"uninstalled, and kept", []string{"superseded", "uninstalled"}, "2 uninstalled"},
		{"two deployed, as after a crash", []string{"deployed", "deployed"}, "2 deployed"},
	} {
		var items []map[string]any
		for i, status := range tt.statuses {
			items = append(items, secret("web", status, i+1, stored(t, "web", i+1, status)))
		}
		for range 2 {
			v, err := ReadHelm(secretList(t, items...), "prod", "test")
			if err != nil || len(v.Deployments) != 1 {
				t.Fatalf("%s: %v %+v", tt.name, err, v)
			}
			d := v.Deployments[0]
			got := fmt.Sprintf("%d %s", d.Revision, d.Status)
			if d.Unresolved != nil {
				got += fmt.Sprint(" ", d.Unresolved)
			}
			if got != tt.want || d.Chart.Version != fmt.Sprintf("1.%d.0", d.Revision) || d.Key != "prod/shop/web" || d.Exposure != ExposureOpen {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
			noSecrets(t, v)
			slices.Reverse(items) // any order
		}
	}
}

func TestReadHelmForms(t *testing.T) {
	one := secret("web", "deployed", 1, stored(t, "web", 1, "deployed"))
	one["kind"] = "Secret"
	object, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.JSONToYAML(object)
	if err != nil {
		t.Fatal(err)
	}
	listYAML, err := yaml.JSONToYAML(secretList(t, secret("web", "deployed", 1, stored(t, "web", 1, "deployed"))))
	if err != nil {
		t.Fatal(err)
	}
	configMap := map[string]any{"kind": "ConfigMap", "metadata": one["metadata"], "data": map[string]any{"release": string(stored(t, "web", 1, "deployed"))}}
	asConfigMap, err := json.Marshal(configMap)
	if err != nil {
		t.Fatal(err)
	}
	bare := map[string]any{"kind": "Secret", "type": "helm.sh/release.v1", "metadata": map[string]any{"name": "x", "namespace": "shop"}, "data": one["data"]}
	withoutLabels, err := json.Marshal(bare)
	if err != nil {
		t.Fatal(err)
	}
	unpacked := []byte(base64.StdEncoding.EncodeToString([]byte(`{"name":"web","namespace":"shop","version":1,"info":{"status":"deployed"},"chart":{"metadata":{"name":"web","version":"1.1.0"}}}`)))
	for name, text := range map[string][]byte{
		"a Secret": object, "YAML": asYAML, "a list in YAML": listYAML, "documents": append(append([]byte("---\n"), asYAML...), "\n---\nkind: Pod\n"...),
		"a list": secretList(t, secret("web", "deployed", 1, stored(t, "web", 1, "deployed"))), "an array": fmt.Appendf(nil, "[%s]", object),
		"a ConfigMap": asConfigMap, "no labels": withoutLabels, "a bare release": stored(t, "web", 1, "deployed"), "with a line feed": append(stored(t, "web", 1, "deployed"), '\n'),
		"never packed": unpacked,
	} {
		v, err := ReadHelm(text, "prod", "test")
		if err != nil || len(v.Deployments) != 1 || len(v.Problems) != 0 {
			t.Errorf("%s: %v %+v", name, err, v)
			continue
		}
		if d := v.Deployments[0]; d.Key != "prod/shop/web" || d.Chart.Version != "1.1.0" || d.Status != "deployed" {
			t.Errorf("%s: %+v", name, d)
		}
		if f, err := ReadFile("dump."+name, text, Options{Name: "prod"}); err != nil || len(f.Deployments) != 1 || f.Deployments[0].Key != "prod/shop/web" {
			t.Errorf("%s as a file: %v %+v", name, err, f)
		}
	}
}

func TestReadHelmRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "blank": " \n", "HTML": "<html>", "damaged JSON": `{"items": [`, "not base64": "====", "base64 of nothing": "aGVsbG8=", "YAML": "a: [",
	} {
		v, err := ReadHelm([]byte(text), "prod", "test")
		if p, ok := problem.As(err); !ok || p.Kind != problem.Invalid || p.Try == "" {
			t.Errorf("%s: %v %+v", name, err, v)
		}
	}
	// A release that cannot be read is listed all the same.
	for name, data := range map[string][]byte{
		"no base64":    []byte("%%%"),
		"half a gzip":  []byte(base64.StdEncoding.EncodeToString([]byte("\x1f\x8b\x08half"))),
		"no release":   pack(t, []byte(`{"name": 5}`)),
		"no chart":     pack(t, []byte(`{"name": "web"}`)),
		"a bomb":       pack(t, append([]byte(`{"name":"`), make([]byte, maxRelease)...)),
		"many files":   pack(t, []byte(`{"name":"web","chart":{"metadata":{"name":"web"},"files":[`+strings.Repeat("null,", maxStored)+`null]}}`)),
		"empty fields": pack(t, []byte(`{}`)),
	} {
		v, err := ReadHelm(secretList(t, secret("web", "deployed", 1, data)), "prod", "test")
		if err != nil || len(v.Deployments) != 1 || len(v.Deployments[0].Unresolved) != 1 || v.Deployments[0].Key != "prod/shop/web" {
			t.Errorf("%s: %v %+v", name, err, v)
		}
	}
	other := map[string]any{"kind": "Secret", "type": "Opaque", "metadata": map[string]any{"name": "x"}, "data": map[string]any{"release": "eA=="}}
	if v, err := ReadHelm(secretList(t, other), "prod", "test"); err != nil || len(v.Deployments)+len(v.Problems) != 0 {
		t.Errorf("another Secret: %v %+v", err, v)
	}
	if _, err := FingerprintStored([]byte("x")); problem.KindOf(err) != problem.Invalid {
		t.Errorf("FingerprintStored: %v", err)
	}
	p, err := FingerprintStored(stored(t, "web", 1, "deployed"))
	if err != nil || !strings.HasPrefix(p.Fingerprint, "v1:sha256:") {
		t.Errorf("FingerprintStored: %v %+v", err, p)
	}
}

// Helm renames a dependency to its alias. Its lock tells the name.
func TestAliasesInStorage(t *testing.T) {
	var c cluster
	c.install(t, "odd", oddChart(t, nil), nil)
	d := c.inventory(t).Deployments[0]
	if len(d.Dependencies) != 2 || d.Dependencies[0].Name != "db" || d.Dependencies[0].Alias != "store" || d.Dependencies[0].Version != "2.1.0" || d.Dependencies[0].Constraint != "^2.0.0" {
		t.Errorf("%+v", d.Dependencies)
	}
	if len(d.Unresolved) != 2 || !strings.Contains(d.Unresolved[0], "sub-chart store") {
		t.Errorf("%q", d.Unresolved)
	}
}

func TestConfirm(t *testing.T) {
	with := func(values string) []byte {
		return charttest.Build(t, "web", "1.0.0", map[string]string{"values.yaml": values})
	}
	var c cluster
	c.install(t, "web", with("image: app:1\nreplicas: 1\n"), map[string]any{"replicas": 2})
	fresh := *c.inventory(t).Deployments[0].Print
	c.upgradeReusing(t, "web", with("image: app:1\nreplicas: 1\n"), nil)
	reused := *c.inventory(t).Deployments[0].Print
	match := Match{Confidence: Exact, How: "by fingerprint", Archive: "sha256:aa"}
	for _, tt := range []struct {
		name    string
		stored  Print
		archive Print
		want    string
	}{
		{"the same", fresh, printOf(t, with("image: app:1\nreplicas: 1\n")), "exact false and default values are those"},
		{"another image", fresh, printOf(t, with("image: app:2\nreplicas: 1\n")), "strong true another values.yaml"},
		{"reused values", reused, printOf(t, with("image: app:1\nreplicas: 1\n")), "strong false were set for the release"},
		{"another chart", fresh, printOf(t, charttest.Build(t, "api", "1.0.0", nil)), "exact false by fingerprint"},
		{"merged", fresh, func() Print {
			p := printOf(t, with("image: app:9\n"))
			p.Merged = []string{"image", "replicas"}
			return p
		}(), "exact false but for the values of sub-charts"},
		{"unreadable", fresh, func() Print { p := printOf(t, with("image: app:9\n")); p.Defaults = nil; return p }(), "exact false cannot be compared"},
	} {
		m := match.Confirm(tt.stored, tt.archive)
		words := strings.SplitN(tt.want, " ", 3)
		if string(m.Confidence) != words[0] || fmt.Sprint(m.Differs) != words[1] || !strings.Contains(m.How, words[2]) || m.Archive != match.Archive {
			t.Errorf("%s: %+v", tt.name, m)
		}
	}
}

func FuzzReadHelm(f *testing.F) {
	f.Add(secretList(f, secret("web", "deployed", 1, stored(f, "web", 1, "deployed"))))
	f.Add(stored(f, "web", 1, "deployed"))
	f.Add([]byte("kind: Secret\ntype: helm.sh/release.v1\nmetadata: {name: x}\ndata: {release: eA==}\n"))
	f.Add([]byte(`{"items": [{"metadata": {"labels": {"owner": "helm"}}, "data": {"release": "e30="}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := ReadHelm(b, "prod", "fuzz")
		if _, ok := problem.As(err); err != nil && !ok {
			t.Fatal(err)
		}
		noSecrets(t, v)
	})
}

func FuzzRelease(f *testing.F) {
	f.Add([]byte(`{"name":"web","chart":{"metadata":{"name":"web","version":"1","dependencies":[{"name":"a","version":"^1","import-values":["x",{"child":"a","parent":"b.c"}]}]},"lock":{"dependencies":[{"name":"a"}]},"templates":[null,{"name":"a","data":"eA=="}],"values":{"a":null}},"config":{"token":"hunter2"},"manifest":"a: [","hooks":[{"manifest":"kind: Job"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := ReadHelm([]byte(base64.StdEncoding.EncodeToString(b)), "prod", "fuzz")
		if err == nil && len(v.Deployments) != 1 {
			t.Fatalf("%+v", v)
		}
	})
}
