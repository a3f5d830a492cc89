package manifest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ImageValue is a value by which the tag of an image is chosen.
type ImageValue struct {
	Path []string `json:"path"` // of the value, from the top of the chart's
	// Name is what stands before the tag where the value is a whole reference, ""
	// where it is the tag alone.
	Name string `json:"name,omitempty"`
}

// maxProbes bounds how many values are tried at once, and how deep they stand.
const (
	maxProbes     = 500
	maxProbeDepth = 20
)

// ImageValues finds by which values each image that the base renders is chosen:
// all that could be are set to tags that nobody has, and the chart is rendered
// once more. What it returns is by the reference as it is rendered now. An image
// that has no such value, or has one only at some of the places where it stands, is
// left out, and so is everything where the chart does not take the tags. Cost: a
// rendering, and one more where the base was not rendered yet.
func (b *Base) ImageValues() (map[string][]ImageValue, error) {
	c, err := open(b.archive, b.options.Limits)
	if err != nil {
		return nil, err
	}
	own := c
	if b.strict == nil || b.options.Lenient { // rendering changes a chart
		if own, err = open(b.archive, b.options.Limits); err != nil {
			return nil, err
		}
	}
	now := b.renderOwn(own, b.options)
	if now.err != nil {
		return nil, now.err
	}
	values, err := coalesced(c, b.options)
	if err != nil {
		return nil, err
	}
	var probes []probe
	findProbes(values, nil, &probes)
	if len(probes) == 0 {
		return nil, nil
	}
	o := b.options
	o.Values = maps.Clone(o.Values)
	if o.Values == nil {
		o.Values = map[string]any{}
	}
	byTag := map[string]ImageValue{}
	for i := range probes {
		p := &probes[i]
		byTag[p.tag(i)] = p.ImageValue
		setPath(o.Values, p.Path, p.With(p.tag(i)))
	}
	tried, err := render(c, o)
	if err != nil {
		return nil, err
	}
	return chosenBy(Images(now.rendered.Objects), Images(tried.Objects), byTag), nil
}

// chosenBy says which value each image has its tag from, at every place where it
// stands.
func chosenBy(before, tried []Image, byTag map[string]ImageValue) map[string][]ImageValue {
	type place struct{ object, container, path string }
	now := map[place]string{}
	for _, i := range tried {
		now[place{i.Object, i.Container, i.Path}] = i.Ref
	}
	out, fixed := map[string][]ImageValue{}, map[string]bool{}
	for _, i := range before {
		_, tag, _ := ImageName(now[place{i.Object, i.Container, i.Path}]) // a place that is gone has none
		v, ok := byTag[tag]
		switch same := func(o ImageValue) bool { return slices.Equal(o.Path, v.Path) }; {
		case !ok:
			fixed[i.Ref] = true
		case !slices.ContainsFunc(out[i.Ref], same):
			out[i.Ref] = append(out[i.Ref], v)
		}
	}
	for ref := range fixed {
		delete(out, ref)
	}
	return out
}

// probe is a value that could choose an image, and the tag that it has.
type probe struct {
	ImageValue
	now string
}

// findProbes collects the values that could choose an image: those called tag,
// those called version beside a repository or below something called image, and
// references with a tag that are called image, or stand below it.
func findProbes(m map[string]any, at []string, out *[]probe) {
	if len(at) > maxProbeDepth {
		return
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		path, name := append(slices.Clone(at), k), strings.ToLower(k)
		if below, ok := m[k].(map[string]any); ok {
			if len(at) == 0 || k != "global" { // those of a dependency are the parent's
				findProbes(below, path, out)
			}
			continue
		}
		now, scalar := "", true
		switch v := m[k].(type) {
		case string:
			now = v
		case nil:
		case int, int64, float64:
			now = fmt.Sprint(v)
		default:
			scalar = false
		}
		_, beside := m["repository"]
		image, tag, _ := ImageName(now)
		below := len(at) > 0 && strings.HasSuffix(strings.ToLower(at[len(at)-1]), "image")
		switch {
		case !scalar || len(*out) == maxProbes:
		case strings.HasSuffix(name, "tag"), name == "version" && (beside || below):
			*out = append(*out, probe{ImageValue{Path: path}, now})
		case tag != "" && (below || strings.HasSuffix(name, "image")): // without a tag it is the name alone
			*out = append(*out, probe{ImageValue{Path: path, Name: image}, tag})
		}
	}
}

var majorMinor = regexp.MustCompile(`^v?[0-9]+\.[0-9]+`)

// tag is one that no image has. It keeps the first two numbers, by which charts
// choose what they render.
func (p *probe) tag(i int) string {
	begin := majorMinor.FindString(p.now)
	if begin == "" {
		begin = "0.0"
	}
	return begin + "." + strconv.Itoa(7_000_000+i)
}

// With is the value that chooses a tag.
func (v ImageValue) With(tag string) string {
	if v.Name == "" {
		return tag
	}
	return v.Name + ":" + tag
}

// setPath sets a value without changing maps that belong to somebody else; the
// top one is ours.
func setPath(m map[string]any, path []string, value string) {
	for ; len(path) > 1; path = path[1:] {
		below, _ := m[path[0]].(map[string]any)
		if below = maps.Clone(below); below == nil {
			below = map[string]any{}
		}
		m[path[0]] = below
		m = below
	}
	m[path[0]] = value
}
