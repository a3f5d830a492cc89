package manifest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

func TestMisfits(t *testing.T) {
	schema := `{"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": {"port": {"type": "integer", "maximum": 65535}},
		"required": ["port"], "additionalProperties": false,
		"properties": {"port": {"$ref": "#/$defs/port"}, "auth": {"properties": {"password": {"type": "string", "pattern": "^[0-9]+$"}}}, "db": {}, "global": {}}}`
	sub := string(charttest.Build(t, "db", "1.0.0", map[string]string{"values.yaml": "size: 1Gi\n", "values.schema.json": `{"properties": {"size": {"type": "string"}}}`}))
	files := map[string]string{
		"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: [{name: db, version: 1.0.0}]\n", "values.yaml": "port: 80\n", "values.schema.json": schema, "charts/db-1.0.0.tgz": sub,
	}
	for user, want := range map[string][]Misfit{
		"":                              nil,
		"port: 8080\ndb: {size: 2Gi}\n": nil,
		"port: text\nauth: {password: hunter2}\ntypo: 1\ndb: {size: 3}\n": {
			{"", "additional properties 'typo' not allowed"}, {"auth.password", "the value does not match pattern '^[0-9]+$'"}, {"port", "got string, want integer"}, {"db.size", "got number, want string"}},
		"port: null\n": {{"", "missing property 'port'"}},
	} {
		var values map[string]any
		if err := yaml.Unmarshal([]byte(user), &values); err != nil {
			t.Fatal(err)
		}
		r, err := Render(charttest.Build(t, "web", "1.0.0", files), Options{Values: values})
		if err != nil || len(r.Faults) > 0 {
			t.Fatalf("%v, %v", err, r.Faults)
		}
		if d := cmp.Diff(want, r.Misfits); d != "" {
			t.Errorf("with %q: %s", user, d)
		}
	}
	c, err := CompareCharts(charttest.Build(t, "web", "0.9.0", map[string]string{"values.yaml": "port: 80\n"}), charttest.Build(t, "web", "1.0.0", files), Options{Values: map[string]any{"port": "text"}})
	if err != nil || !strings.Contains(listing(c.Findings), "high schema-broken port: breaks the schema of the new version, and Helm refuses the upgrade: got string, want integer") {
		t.Errorf("%v\n%s", err, listing(c.Findings))
	}
}

// A schema that leads elsewhere, or to more work than it is worth, is not
// followed, and that is told.
func TestSchemasNotFollowed(t *testing.T) {
	doubling := `"d0": {"type": "object"}`
	for i := range 40 {
		doubling += fmt.Sprintf(`, "d%d": {"allOf": [{"$ref": "#/$defs/d%d"}, {"$ref": "#/$defs/d%d"}]}`, i+1, i, i)
	}
	for schema, want := range map[string]string{
		`{"$ref": "https://example.test/a.json"}`: "leads to what is not in it", `{"properties": {"a": {"$ref": "other.json"}}}`: "leads to what is not in it",
		`{"$schema": "https://example.test/own"}`: "leads to what is not in it", `{"$schema": "file:///etc/passwd"}`: "leads to what is not in it",
		`{"properties": {"a": {"$id": "https://example.test", "$ref": "#/b"}}}`: "leads to what is not in it", `{"a": {"$ref": "#name"}}`: "leads to what is not in it",
		`[`: "no JSON", `{"$defs": {` + doubling + `}, "$ref": "#/$defs/d40"}`: "too much work", `{"$ref": "#"}`: "too much work",
		`{"properties": {"a": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}, {"$ref": "#"}]}}}`: "too much work",
		strings.Repeat(`{"not":`, 300) + "{}" + strings.Repeat("}", 300):                  "leads to what is not in it",
		"{\"x\": \"" + strings.Repeat("x", maxSchema) + "\"}":                             "too large",
	} {
		values := "a: " + strings.Repeat("{a: ", 40) + "1" + strings.Repeat("}", 40) + "\n"
		r, err := Render(charttest.Build(t, "web", "1.0.0", map[string]string{"values.yaml": values, "values.schema.json": schema}), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Faults) != 1 || !strings.Contains(r.Faults[0].Reason, want) || len(r.Misfits) > 0 {
			t.Errorf("%.80s: %v, %v; want %q", schema, r.Faults, r.Misfits, want)
		}
	}
}

// Whatever schema and values are, holding one to the other ends, goes nowhere,
// and shows no value.
func FuzzMisfits(f *testing.F) {
	f.Add(`{"properties": {"a": {"type": "string", "pattern": "^x$"}}, "required": ["b"]}`, "a: hunter2")
	f.Add(`{"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "additionalProperties": {"$ref": "#/$defs/a"}}`, "a: [[[]]]")
	f.Add(`{"$schema": "http://json-schema.org/draft-04/schema#", "definitions": {"a/b": {}}, "$ref": "#/definitions/a~1b"}`, "{}")
	f.Add(`{"if": {"const": 1}, "then": false, "dependentSchemas": {"a": {"minProperties": 2}}, "unevaluatedProperties": false}`, "a: 1")
	f.Fuzz(func(t *testing.T, schema, values string) {
		var v map[string]any
		if len(values) > 1000 || yaml.Unmarshal([]byte(values), &v) != nil {
			t.Skip()
		}
		if v == nil {
			v = map[string]any{}
		}
		if unfollowed([]byte(schema), v) != "" {
			return
		}
		c, err := open(charttest.Build(t, "web", "1.0.0", map[string]string{"values.schema.json": schema}), DefaultLimits())
		if err != nil {
			return
		}
		out, _ := misfits(c, v, "")
		for _, m := range out {
			if m.Reason == "" || len(m.Reason) > 1000 {
				t.Fatalf("%+v", m)
			}
		}
	})
}
