package manifest

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

// A base that was compared before, and templates that are known, change nothing
// of what is said.
func TestBase(t *testing.T) {
	root := charttest.Corpus(t, "charts")
	for _, versions := range [][]string{
		{"airflow-helm/airflow-8.8.0.tgz", "airflow-helm/airflow-8.9.0.tgz", "airflow-helm/airflow-8.7.1.tgz", "airflow-helm/airflow-8.8.0.tgz"},
		{"kedacore__charts/keda-2.20.1.tgz", "kedacore__charts/keda-2.20.2.tgz", "kedacore__charts/keda-2.20.1.tgz", "airflow-helm/airflow-8.9.0.tgz"},
	} {
		read := func(name string) []byte { return charttest.ReadFile(t, filepath.Join(root, name)) }
		said := func(c Comparison, err error) string {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			b, err := json.MarshalIndent(c, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		old := read(versions[0])
		base := NewBase(old, Options{Templates: &Templates{}})
		for _, v := range append(versions[1:], versions[1]) {
			alone := said(CompareCharts(old, read(v), Options{}))
			if d := cmp.Diff(alone, said(base.Compare(read(v)))); d != "" {
				t.Errorf("%s to %s with a base that was compared before (-alone):\n%s", versions[0], v, d)
			}
		}
	}
}

// What differs each time is masked in a base that is compared with itself, and
// what does not render is not tried again.
func TestBaseRendersOnce(t *testing.T) {
	random := charttest.Build(t, "web", "1.0.0", map[string]string{
		"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: {{ randAlpha 8 }}}\n"})
	base := NewBase(random, Options{})
	c, err := base.Compare(random)
	if err != nil || len(c.Objects) != 0 || len(c.Old.Unstable) != 1 || len(c.New.Unstable) != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	if base.strict == nil || base.lenient != nil {
		t.Fatal("the base was not rendered once")
	}
	kept := base.strict
	for _, o := range kept.rendered.Objects {
		if o.Kind == "ConfigMap" && o.Name == "a" {
			o.Fields["data"] = map[string]any{"x": "other"}
		}
	}
	other := charttest.Build(t, "web", "1.0.1", map[string]string{
		"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: other}\n"})
	if c, err := base.Compare(other); err != nil || base.strict != kept || len(c.Objects) != 0 {
		t.Errorf("the base was rendered again: %+v, %v", c, err)
	}

	failing := charttest.Build(t, "web", "1.0.0", map[string]string{"templates/a.yaml": `{{ fail "no" }}`})
	base = NewBase(failing, Options{})
	if c, err := base.Compare(random); err != nil || c.Basis != BasisLenient || base.strict.err == nil || base.lenient == nil || base.lenient.err != nil {
		t.Errorf("%+v, %v", c, err)
	}
}

// Templates have a bound, and what is known is not guarded again.
func TestTemplates(t *testing.T) {
	var known Templates
	text := `{{ .Values.a }}`
	first, err := known.guard("a", text)
	if err != nil {
		t.Fatal(err)
	}
	for k := range known.guarded {
		known.bytes += len("known") - len(known.guarded[k])
		known.guarded[k] = "known"
	}
	if again, _ := known.guard("a", text); again != "known" || first == again {
		t.Errorf("guarded again: %q", again)
	}
	if other, _ := known.guard("b", text); other == "known" {
		t.Error("a template of another name is the same")
	}
	for k, text := range known.guarded {
		known.guarded[k] = strings.Repeat("x", maxTemplates)
		known.bytes += maxTemplates - len(text)
		break
	}
	_, err = known.guard("c", text)
	kept := 0
	for _, text := range known.guarded {
		kept += len(text)
	}
	if err != nil || kept != known.bytes || kept > maxTemplates {
		t.Errorf("%d templates of %d bytes, told as %d, are kept: %v", len(known.guarded), kept, known.bytes, err)
	}
	had := len(known.guarded)
	if _, err := known.guard("d", "{{"); err == nil || len(known.guarded) != had {
		t.Error("what cannot be parsed is kept")
	}
}
