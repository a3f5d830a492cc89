package manifest

import (
	"cmp"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	helmchart "helm.sh/helm/v4/pkg/chart/v2"
)

// Misfit is a value that breaks the schema of a chart, for which Helm refuses
// to install it.
type Misfit struct {
	Path   string `json:"path"`   // of the value; "" for all values
	Reason string `json:"reason"` // without the value
}

// Bounds of a schema that is followed.
const (
	maxSchema      = 1 << 20 // bytes
	maxSchemaSteps = 200_000 // a schema at a value, about 1 µs each
	maxSchemaDepth = 400     // of schemas and values in one another
)

// misfits are the values of a settled chart that break its schema, or those of
// its dependencies below their names. unchecked are the schemas that were not
// followed.
func misfits(c *helmchart.Chart, values map[string]any, below string) (out []Misfit, unchecked []Fault) {
	if len(c.Schema) > 0 {
		if why := unfollowed(c.Schema, values); why != "" {
			unchecked = append(unchecked, Fault{Source: c.ChartFullPath() + "/values.schema.json", Reason: why + ", and the values were not held to it"})
		} else if err := commonutil.ValidateAgainstSingleSchema(values, c.Schema); err != nil {
			out = readMisfits(err.Error(), below)
		}
	}
	for _, d := range c.Dependencies() {
		at := join(below, d.Name())
		switch v := values[d.Name()].(type) {
		case nil:
		case map[string]any:
			m, u := misfits(d, v, at)
			out, unchecked = append(out, m...), append(unchecked, u...)
		case common.Values:
			m, u := misfits(d, v, at)
			out, unchecked = append(out, m...), append(unchecked, u...)
		default:
			out = append(out, Misfit{oneLine(at), "is no table of values"})
		}
	}
	return out, unchecked
}

// unfollowed says why a schema is not followed: it is none, leads outside of
// itself, or asks for too much work with the values.
func unfollowed(schema []byte, values map[string]any) string {
	var root any
	if len(schema) > maxSchema {
		return "the schema is too large"
	}
	if err := json.Unmarshal(schema, &root); err != nil {
		return "the schema is no JSON"
	}
	if leadsOutside(root, 0) {
		return "the schema leads to what is not in it"
	}
	w := schemaWalk{root: root}
	if w.step(root, values); w.steps > maxSchemaSteps {
		return "the schema asks for too much work"
	}
	return ""
}

// leadsOutside reports whether a schema refers to anything but places in
// itself, by their pointers.
func leadsOutside(v any, depth int) bool {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			s, isText := e.(string)
			switch k {
			case "$ref", "$dynamicRef", "$recursiveRef":
				if isText && s != "#" && !strings.HasPrefix(s, "#/") {
					return true
				}
			case "$id", "id":
				if isText && depth > 0 {
					return true // another base for what is below it
				}
			case "$schema":
				if isText && !knownSchemas.MatchString(s) {
					return true
				}
			}
			if depth > maxNesting || leadsOutside(e, depth+1) {
				return true
			}
		}
	case []any:
		for _, e := range v {
			if depth > maxNesting || leadsOutside(e, depth+1) {
				return true
			}
		}
	}
	return false
}

// schemaWalk counts what a validator would do at most: each schema at each
// value that it comes to.
type schemaWalk struct {
	root  any
	steps int
	depth int
}

func (w *schemaWalk) step(schema, value any) {
	s, ok := schema.(map[string]any)
	if w.steps++; !ok || w.steps > maxSchemaSteps {
		return
	}
	w.depth++
	defer func() { w.depth-- }()
	if w.depth > maxSchemaDepth {
		w.steps = maxSchemaSteps + 1 // one that comes back to itself never ends
		return
	}
	members, elements := asTable(value), []any(nil)
	if list, ok := value.([]any); ok {
		elements = list
	}
	for _, k := range []string{"$ref", "$dynamicRef", "$recursiveRef"} {
		if ref, ok := s[k].(string); ok {
			w.step(w.at(ref), value)
		}
	}
	for _, k := range []string{"not", "if", "then", "else"} {
		if s[k] != nil {
			w.step(s[k], value)
		}
	}
	for _, k := range []string{"allOf", "anyOf", "oneOf"} {
		for _, e := range list(s, k) {
			w.step(e, value)
		}
	}
	for _, k := range []string{"dependencies", "dependentSchemas"} {
		for _, e := range table(s, k) {
			w.step(e, value)
		}
	}
	for name, e := range table(s, "properties") {
		if v, there := members[name]; there {
			w.step(e, v)
		}
	}
	for _, e := range table(s, "patternProperties") {
		w.each(e, members, nil)
	}
	for _, k := range []string{"additionalProperties", "unevaluatedProperties", "propertyNames"} {
		w.each(s[k], members, nil)
	}
	for _, k := range []string{"items", "additionalItems", "unevaluatedItems", "contains"} {
		w.each(s[k], nil, elements)
	}
	for _, k := range []string{"items", "prefixItems"} {
		for i, e := range list(s, k) {
			if i < len(elements) {
				w.step(e, elements[i])
			}
		}
	}
}

// each is a schema at every member of a table, or element of a list.
func (w *schemaWalk) each(schema any, members map[string]any, elements []any) {
	if _, ok := schema.(map[string]any); !ok {
		return
	}
	for _, v := range members {
		w.step(schema, v)
	}
	for _, v := range elements {
		w.step(schema, v)
	}
}

// at is what stands at a pointer into the schema, "#/definitions/a".
func (w *schemaWalk) at(ref string) any {
	v := w.root
	for part := range strings.SplitSeq(strings.TrimPrefix(strings.TrimPrefix(ref, "#"), "/"), "/") {
		if ref == "#" || ref == "#/" {
			break
		}
		if name, err := url.PathUnescape(part); err == nil {
			part = name
		}
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		switch t := v.(type) {
		case map[string]any:
			v = t[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(t) {
				return nil
			}
			v = t[i]
		default:
			return nil
		}
	}
	return v
}

// knownSchemas are the drafts that Helm's reader of schemas has in itself.
var knownSchemas = regexp.MustCompile(`^https?://json-schema\.org/(schema|draft-0[467]/schema|draft/20(19-09|20-12)/schema)#?$`)

var (
	misfitLine = regexp.MustCompile(`^\s*- at '([^']*)': (.*)$`)
	quoted     = regexp.MustCompile(`^'.*' (does not match|is not valid|is not)`)
)

// readMisfits reads what Helm says of values that break a schema. The paths
// stand below a name.
func readMisfits(text, below string) []Misfit {
	var out []Misfit
	for l := range strings.Lines(text) {
		m := misfitLine.FindStringSubmatch(strings.TrimRight(l, "\r\n"))
		if m == nil {
			continue
		}
		path := below
		for part := range strings.FieldsFuncSeq(m[1], func(r rune) bool { return r == '/' }) {
			path = join(path, strings.NewReplacer("~1", "/", "~0", "~").Replace(part))
		}
		// A value may be a secret.
		out = append(out, Misfit{oneLine(path), oneLine(quoted.ReplaceAllString(m[2], "the value $1"))})
	}
	if len(out) == 0 {
		out = append(out, Misfit{below, "the schema refuses the values as a whole, or cannot be followed"})
	}
	slices.SortFunc(out, func(a, b Misfit) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Reason, b.Reason))
	})
	return slices.Compact(out)
}
