package manifest

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	helmchart "helm.sh/helm/v4/pkg/chart/v2"
)

// maxValues bounds the values of one chart that are compared.
const maxValues = 50_000

// CompareValues compares the values of two archives of a chart, and what that
// means for the values that somebody sets: keys that are gone, that have
// another type or default, that the schema now requires. With user nil only the
// charts are compared. Its errors are those of Render for an archive that
// cannot be read.
// Cost: linear in the values.
func CompareValues(old, new []byte, user map[string]any, lim Limits) ([]Finding, error) {
	o, err := open(old, lim.orDefault())
	if err != nil {
		return nil, err
	}
	n, err := open(new, lim.orDefault())
	if err != nil {
		return nil, err
	}
	found, _ := compareValues(o, n, user)
	return findings(found).sorted(), nil
}

func compareValues(old, new *helmchart.Chart, user map[string]any) ([]Finding, Fit) {
	v := valueDiff{left: maxValues}
	was, is := chartValues(old, 0), chartValues(new, 0)
	v.tables("", was, is, user)
	v.unknown("", was, is, user)
	v.hardening("", was, is, user)
	v.required(old.Schema, new.Schema, is, user)
	if v.left < 0 {
		v.add("values-unknown", Medium, "values.yaml", fmt.Sprintf("the values are more than %d and were not all compared", maxValues), "", "")
	}
	return v.findings, fitOf(was, is, user, v.findings)
}

type valueDiff struct {
	findings
	left int // values that are still compared
}

// mine is add for what is about a value that the user sets.
func (v *valueDiff) mine(rule string, s Severity, at, message, old, new string) {
	v.add(rule, s, at, message, old, new)
	v.findings[len(v.findings)-1].Set = true
}

// tables compares two tables of default values; user is what is set over them.
func (v *valueDiff) tables(path string, old, new, user map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(old)) {
		if v.left--; v.left < 0 {
			return
		}
		at := join(path, k)
		o := old[k]
		n, there := new[k]
		mine, isSet := user[k]
		if !there {
			if isSet {
				v.mine("value-vanished", High, at, "is gone from the chart, and you set it: Helm ignores it without a word", shown(at, o), "")
			} else {
				v.add("value-vanished", Low, at, "is gone from the chart", shown(at, o), "")
			}
			continue
		}
		a, oldTable := o.(map[string]any)
		b, newTable := n.(map[string]any)
		if oldTable && newTable && len(b) > 0 {
			below, _ := mine.(map[string]any)
			v.tables(at, a, b, below)
			continue
		}
		if !reflect.DeepEqual(o, n) {
			v.value(at, o, n, mine, isSet)
		}
	}
}

// value tells of a default that differs.
func (v *valueDiff) value(at string, old, new, mine any, isSet bool) {
	was, is := typeOf(old), typeOf(new)
	switch {
	case was != is && was != "null" && is != "null":
		switch {
		case !isSet:
			v.add("value-type", Low, at, "is of another type", was, is)
		case typeOf(mine) != is:
			v.mine("value-type", High, at, "is of another type now, and you set one of the old type", was, is)
		default:
			v.mine("value-type", Low, at, "is of another type now, which yours has", was, is)
		}
	case !isSet:
		v.add("value-default", Info, at, "has another default", shown(at, old), shown(at, new))
	case reflect.DeepEqual(mine, new):
		v.mine("value-default", Info, at, "has the default now that you set", shown(at, old), shown(at, new))
	default:
		v.mine("value-default", Low, at, "has another default; you set your own", shown(at, old), shown(at, new))
	}
}

// unknown tells of keys that are set and that no chart lists. In a table that
// is empty by default, anything may be set.
func (v *valueDiff) unknown(path string, old, new, user map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(user)) {
		if v.left--; v.left < 0 {
			return
		}
		if path == "" && k == "global" {
			continue
		}
		at := join(path, k)
		n, there := new[k]
		if !there {
			if _, was := old[k]; !was {
				v.mine("value-unknown", Low, at, "is set by you, and the values of the chart do not list it", "", "")
			}
			continue
		}
		b, isTable := n.(map[string]any)
		if mine, ok := user[k].(map[string]any); ok && isTable && len(b) > 0 {
			a, _ := old[k].(map[string]any)
			v.unknown(at, a, b, mine)
		}
	}
}

// required tells of values that the schema of the new chart requires and that
// of the old one did not.
func (v *valueDiff) required(old, new []byte, is, user map[string]any) {
	before := requiredPaths(old)
	for _, path := range requiredPaths(new) {
		if slices.ContainsFunc(before, func(p []string) bool { return slices.Equal(p, path) }) {
			continue
		}
		// Within a table that nobody gives, nothing is required.
		if _, parent := dig(is, path[:len(path)-1]...).(map[string]any); !parent && len(path) > 1 {
			if _, parent = dig(user, path[:len(path)-1]...).(map[string]any); !parent {
				continue
			}
		}
		at := ""
		for _, name := range path {
			at = join(at, name)
		}
		if dig(is, path...) != nil || dig(user, path...) != nil {
			v.add("value-required", Info, at, "is required by the schema now; it has a value", "", "")
			continue
		}
		v.add("value-required", High, at, "is required by the schema now, and has no value", "", "")
	}
}

// requiredPaths are the paths that a schema requires, through its properties
// and references within itself.
func requiredPaths(schema []byte) [][]string {
	var root map[string]any
	if len(schema) == 0 || len(schema) > 1<<20 || json.Unmarshal(schema, &root) != nil {
		return nil
	}
	var out [][]string
	visits := 0
	var visit func(path []string, s map[string]any, depth int)
	visit = func(path []string, s map[string]any, depth int) {
		if visits++; depth > 16 || visits > 5000 || len(out) > 5000 {
			return
		}
		if ref, ok := strings.CutPrefix(str(s, "$ref"), "#/"); ok {
			visit(path, table(root, strings.Split(ref, "/")...), depth+1)
		}
		below := func(name string) []string { return append(slices.Clone(path), name) }
		for _, name := range stringsAt(s, "required") {
			if !slices.ContainsFunc(out, func(p []string) bool { return slices.Equal(p, below(name)) }) {
				out = append(out, below(name))
			}
		}
		for _, part := range tables(s, "allOf") {
			visit(path, part, depth+1)
		}
		properties := table(s, "properties")
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			visit(below(name), table(properties, name), depth+1)
		}
	}
	visit(nil, root, 0)
	return out
}

// chartValues are the default values of a chart, with those of its dependencies
// under their names, where the chart does not set them itself.
func chartValues(c *helmchart.Chart, depth int) map[string]any {
	out := maps.Clone(c.Values)
	if out == nil {
		out = map[string]any{}
	}
	for _, d := range c.Dependencies() {
		if depth > 8 {
			break
		}
		names := []string{}
		for _, listed := range c.Metadata.Dependencies {
			if listed != nil && listed.Name == d.Name() {
				names = append(names, orElse(listed.Alias, listed.Name))
			}
		}
		if len(names) == 0 {
			names = []string{d.Name()}
		}
		for _, name := range names {
			own, _ := out[name].(map[string]any)
			out[name] = over(chartValues(d, depth+1), own)
		}
	}
	return out
}

// over lays values over others.
func over(base, top map[string]any) map[string]any {
	out := maps.Clone(base)
	for k, v := range top {
		t, isTable := v.(map[string]any)
		if b, both := out[k].(map[string]any); both && isTable {
			v = over(b, t)
		}
		out[k] = v
	}
	return out
}

func typeOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case map[string]any:
		return "table"
	case []any:
		return "list"
	case string:
		return "text"
	case bool:
		return "truth value"
	}
	return "number"
}
