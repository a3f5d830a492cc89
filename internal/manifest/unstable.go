package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Masked stands where a value differs each time a chart is rendered.
const Masked = "(differs each time)"

// mask compares two renderings of the same values, replaces in the first what
// differs by Masked, and names those fields.
func mask(first, second []Object) []string {
	var unstable []string
	if len(first) != len(second) {
		unstable = append(unstable, fmt.Sprintf("the number of objects: %d, then %d", len(first), len(second)))
	}
	type place struct{ source, kind string }
	rest := map[place][]*Object{}
	for i := range second {
		o := &second[i]
		at := place{o.Source, o.Kind}
		rest[at] = append(rest[at], o)
	}
	for i := range first {
		o := &first[i]
		at := place{o.Source, o.Kind}
		if len(rest[at]) == 0 {
			continue
		}
		other := rest[at][0]
		rest[at] = rest[at][1:]
		m := masker{}
		fields, _ := m.value("", o.Fields, other.Fields).(map[string]any)
		o.Fields = fields
		if o.Name != other.Name {
			o.Name = commonEnds(o.Name, other.Name)
			if metadata := table(o.Fields, "metadata"); metadata != nil {
				metadata["name"] = o.Name
			}
		}
		for _, path := range m.paths {
			unstable = append(unstable, o.ID()+": "+path)
		}
	}
	return unstable
}

type masker struct{ paths []string }

// value is a, with Masked where b differs.
func (m *masker) value(path string, a, b any) any {
	switch a := a.(type) {
	case map[string]any:
		if b, ok := b.(map[string]any); ok {
			out := make(map[string]any, len(a))
			for _, k := range slices.Sorted(maps.Keys(a)) {
				out[k] = m.value(join(path, k), a[k], b[k])
			}
			for _, k := range slices.Sorted(maps.Keys(b)) {
				if _, there := a[k]; !there {
					out[k] = m.differs(join(path, k))
				}
			}
			return out
		}
	case []any:
		if b, ok := b.([]any); ok && len(a) == len(b) {
			out := make([]any, len(a))
			for i := range a {
				out[i] = m.value(fmt.Sprintf("%s[%d]", path, i), a[i], b[i])
			}
			return out
		}
	case string:
		if b, ok := b.(string); ok {
			return m.text(path, a, b)
		}
	default:
		if a == b {
			return a
		}
	}
	return m.differs(path)
}

// text masks a text, or of several lines only those that differ.
func (m *masker) text(path, a, b string) any {
	if a == b {
		return a
	}
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	if len(x) == 1 || len(x) != len(y) {
		return m.differs(path)
	}
	for i := range x {
		if x[i] != y[i] {
			x[i] = Masked
		}
	}
	m.differs(path)
	return strings.Join(x, "\n")
}

func (m *masker) differs(path string) any {
	m.paths = append(m.paths, path)
	return Masked
}

// join is the path of a key below a path.
func join(path, key string) string {
	if strings.ContainsAny(key, ".[] ") {
		return path + "[" + key + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// commonEnds is what two names have in common at both ends, with a star between.
func commonEnds(a, b string) string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	j := 0
	for j < min(len(a), len(b))-i && a[len(a)-1-j] == b[len(b)-1-j] {
		j++
	}
	return a[:i] + "*" + a[len(a)-j:]
}
