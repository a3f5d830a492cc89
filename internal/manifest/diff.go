package manifest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// change is a field in which two objects differ. What is there on one side
// alone is nil on the other, and is one change with all that it holds.
type change struct {
	path     string // elements of lists by their names: spec.containers[web].image
	old, new any
}

// noiseLabels change with every version of a chart and do nothing.
var noiseLabels = nameSet("helm.sh/chart chart app.kubernetes.io/version version heritage app.kubernetes.io/managed-by helm.sh/revision")

// differences are the fields in which two objects differ, in order. Labels that
// name the chart's version, and checksums of what is compared elsewhere, are
// left out.
func differences(old, new Object) []change {
	d := differ{exact: exactPath(new)}
	d.value("", old.Fields, new.Fields)
	return d.changes
}

type differ struct {
	changes []change
	exact   string
}

// exactPath is where in an object even a label that does nothing must not
// change, since Kubernetes refuses any change; "" for none.
func exactPath(o Object) string {
	switch {
	case o.Kind == "Job" && len(o.Hooks) == 0:
		return "spec.template"
	case o.Kind == "StatefulSet":
		return "spec.volumeClaimTemplates"
	}
	return ""
}

// isNoise reports whether a key of the table at a path changes with every
// version of a chart, or follows what is compared elsewhere, and does nothing.
func isNoise(path, key, exact string) bool {
	switch {
	case path == "":
		return key == "status"
	case exact != "" && strings.HasPrefix(path, exact):
		return false
	case path == "metadata.labels" || strings.HasSuffix(path, "template.metadata.labels"):
		return noiseLabels[key]
	}
	return strings.HasSuffix(path, "metadata.annotations") && strings.Contains(strings.ToLower(key), "checksum")
}

func (d *differ) value(path string, old, new any) {
	if reflect.DeepEqual(old, new) || isEmpty(old) && isEmpty(new) {
		return
	}
	o, oldTable := old.(map[string]any)
	n, newTable := new.(map[string]any)
	// Every annotation and label speaks for itself.
	own := strings.HasSuffix(path, "metadata.annotations") || strings.HasSuffix(path, "metadata.labels")
	if oldTable && newTable || own && (old == nil && newTable || new == nil && oldTable) {
		d.tables(path, o, n)
		return
	}
	a, oldList := old.([]any)
	b, newList := new.([]any)
	if (oldList || old == nil) && (newList || new == nil) && d.lists(path, a, b) {
		return
	}
	d.changes = append(d.changes, change{path, old, new})
}

// isEmpty reports whether a value is the same to Kubernetes as none.
func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	}
	return false
}

func (d *differ) tables(path string, old, new map[string]any) {
	keys := map[string]bool{}
	for k := range old {
		keys[k] = true
	}
	for k := range new {
		keys[k] = true
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if isNoise(path, k, d.exact) {
			continue
		}
		d.value(join(path, k), old[k], new[k])
	}
}

// lists compares lists whose elements have names by name, others of the same
// length by place. It is false for lists that can only be told as a whole.
func (d *differ) lists(path string, old, new []any) bool {
	key := keyOf(old, new)
	if key == "" {
		if len(old) != len(new) || len(old) == 0 {
			return false
		}
		for i := range old {
			d.value(fmt.Sprintf("%s[%d]", path, i), old[i], new[i])
		}
		return true
	}
	byName := func(l []any) (map[string]any, []string) {
		m, order := map[string]any{}, []string{}
		for _, e := range l {
			name := scalar(dig(e.(map[string]any), strings.Split(key, ".")...))
			m[name] = e
			order = append(order, name)
		}
		return m, order
	}
	o, oldOrder := byName(old)
	n, newOrder := byName(new)
	for _, name := range oldOrder {
		d.value(path+"["+name+"]", o[name], n[name])
	}
	for _, name := range newOrder {
		if _, was := o[name]; !was {
			d.value(path+"["+name+"]", nil, n[name])
		}
	}
	return true
}

// keyOf is the field by which the elements of two lists are told apart: all
// have it, and no two the same.
func keyOf(old, new []any) string {
	for _, key := range []string{"name", "metadata.name", "mountPath", "containerPort", "host"} {
		if distinct(old, key) && distinct(new, key) {
			return key
		}
	}
	return ""
}

func distinct(l []any, key string) bool {
	seen := map[string]bool{}
	for _, e := range l {
		m, ok := e.(map[string]any)
		if !ok {
			return false
		}
		name := scalar(dig(m, strings.Split(key, ".")...))
		if name == "" || seen[name] {
			return false
		}
		seen[name] = true
	}
	return true
}
