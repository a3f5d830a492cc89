package deployment

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Differences say in what one environment does not mirror another.
type Differences struct {
	A     string       `json:"a"`
	B     string       `json:"b"`
	Same  int          `json:"same"` // deployments that do not differ
	OnlyA []string     `json:"only_a"`
	OnlyB []string     `json:"only_b"`
	Pairs []Difference `json:"differences"`
}

// Difference is in what two deployments of one chart differ.
type Difference struct {
	Name  string      `json:"name"`
	Chart string      `json:"chart"`
	A     string      `json:"key_a"`
	B     string      `json:"key_b"`
	Items []Deviation `json:"items"`
}

// Deviation is one thing that differs; "" stands for what is not there.
type Deviation struct {
	What string `json:"what"` // version, image, exposure, or the path of a value
	A    string `json:"a"`
	B    string `json:"b"`
}

// maxDeviations bounds what is listed of one pair.
const maxDeviations = 200

// CompareEnvironments holds the deployments of two environments against each
// other. Two belong together that have the same name and chart, or that are
// the only ones of their chart on both sides. Cost: linear in deployments and
// their values.
func CompareEnvironments(list []Deployment, a, b string) Differences {
	out := Differences{A: a, B: b, OnlyA: []string{}, OnlyB: []string{}, Pairs: []Difference{}}
	sides := map[string][]*Deployment{}
	for i := range list {
		if d := &list[i]; d.Environment == a || d.Environment == b {
			sides[d.Environment] = append(sides[d.Environment], d)
		}
	}
	for _, p := range pairs(sides[a], sides[b]) {
		switch {
		case p[1] == nil:
			out.OnlyA = append(out.OnlyA, p[0].Key)
			continue
		case p[0] == nil:
			out.OnlyB = append(out.OnlyB, p[1].Key)
			continue
		}
		items := deviations(p[0], p[1])
		if len(items) == 0 {
			out.Same++
			continue
		}
		out.Pairs = append(out.Pairs, Difference{Name: p[0].Name, Chart: p[0].Chart.Name, A: p[0].Key, B: p[1].Key, Items: items})
	}
	slices.SortFunc(out.Pairs, func(x, y Difference) int { return cmp.Or(strings.Compare(x.A, y.A), strings.Compare(x.B, y.B)) })
	slices.Sort(out.OnlyA)
	slices.Sort(out.OnlyB)
	return out
}

// pairs brings together what belongs together; nil stands for nothing.
func pairs(a, b []*Deployment) [][2]*Deployment {
	var out [][2]*Deployment
	for _, key := range []func(*Deployment) string{
		func(d *Deployment) string { return d.Namespace + "/" + d.Name + " " + d.Chart.Name },
		func(d *Deployment) string { return d.Name + " " + d.Chart.Name },
		func(d *Deployment) string { return d.Chart.Name },
	} {
		left, right := group(a, key), group(b, key)
		a, b = nil, nil
		for _, k := range slices.Sorted(maps.Keys(left)) {
			if len(left[k]) == 1 && len(right[k]) == 1 {
				out = append(out, [2]*Deployment{left[k][0], right[k][0]})
				delete(right, k)
				continue
			}
			a = append(a, left[k]...)
		}
		for _, k := range slices.Sorted(maps.Keys(right)) {
			b = append(b, right[k]...)
		}
	}
	for _, d := range a {
		out = append(out, [2]*Deployment{d, nil})
	}
	for _, d := range b {
		out = append(out, [2]*Deployment{nil, d})
	}
	return out
}

func group(list []*Deployment, key func(*Deployment) string) map[string][]*Deployment {
	out := map[string][]*Deployment{}
	for _, d := range list {
		out[key(d)] = append(out[key(d)], d)
	}
	return out
}

func deviations(a, b *Deployment) []Deviation {
	var out []Deviation
	add := func(what, x, y string) {
		if x != y {
			out = append(out, Deviation{what, x, y})
		}
	}
	add("chart", a.Chart.Name, b.Chart.Name)
	add("version", cmp.Or(a.Chart.Version, a.Chart.Constraint), cmp.Or(b.Chart.Version, b.Chart.Constraint))
	if a.Match.Archive != "" && b.Match.Archive != "" && a.Chart.Version == b.Chart.Version {
		add("archive", a.Match.Archive, b.Match.Archive)
	}
	if a.Exposure != ExposureUnknown && b.Exposure != ExposureUnknown {
		add("exposure", string(a.Exposure), string(b.Exposure))
	}
	for _, image := range either(a.Images, b.Images) {
		x, y := "", ""
		if slices.Contains(a.Images, image) {
			x = image
		}
		if slices.Contains(b.Images, image) {
			y = image
		}
		add("image", x, y)
	}
	left, right := flatten(a.Values), flatten(b.Values)
	for _, path := range either(slices.Sorted(maps.Keys(left)), slices.Sorted(maps.Keys(right))) {
		add(path, left[path], right[path])
	}
	if len(out) > maxDeviations {
		rest := len(out) - maxDeviations
		out = append(out[:maxDeviations], Deviation{What: fmt.Sprintf("and %d more", rest)})
	}
	return out
}

func either(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// flatten lists the values by their paths. Masked ones compare as equal: what
// they hold is not known here.
func flatten(values json.RawMessage) map[string]string {
	out := map[string]string{}
	if len(values) == 0 {
		return out
	}
	dec := json.NewDecoder(bytes.NewReader(values))
	dec.UseNumber()
	var root any
	if dec.Decode(&root) != nil {
		return out
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		if m, ok := v.(map[string]any); ok && len(m) > 0 {
			for k, child := range m {
				walk(path+"."+k, child)
			}
			return
		}
		text, err := json.Marshal(v)
		if err == nil {
			out["values"+path] = string(text)
		}
	}
	walk("", root)
	if out["values"] == "{}" || out["values"] == "null" {
		delete(out, "values")
	}
	return out
}
