package upstream

import (
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// nodeMarks is how many characters that can begin a node a text in Complex
// form may have. A node takes 170 to 250 bytes, and a text of nothing but
// commas would have one for each.
const nodeMarks = 4_000_000

// yamlReader reads an index from the nodes of a YAML document. It does not
// expand aliases: it follows them where it reads, so that what they multiply
// counts against the limits.
type yamlReader struct {
	*builder
	read int // fields so far
}

// maxFields is how many fields of mappings are read. Without aliases a text
// has no more than half of it.
const maxFields = 2 * nodeMarks

// parseYAML reads an index in any form of YAML. Cost: linear, 20 to 250 bytes of
// memory for each byte of the text, which Limits.Complex bounds.
func parseYAML(text []byte, lim Limits) (Index, error) {
	if len(text) > lim.Complex {
		return Index{}, tooLarge("the index is not written as helm repo index writes it, and has more than %d bytes", lim.Complex)
	}
	marks := 0
	for _, c := range text {
		switch c {
		case ',', '[', '{', ':', '-', '?', '\n', '\r':
			marks++
		}
	}
	if marks > nodeMarks {
		return Index{}, tooLarge("the index has more than %d characters that YAML gives a meaning", nodeMarks)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return Index{}, invalid("this is not an index: it is neither JSON nor YAML").With("reason", "%.200s", err.Error())
	}
	r := &yamlReader{builder: newBuilder(lim)}
	if len(doc.Content) == 1 {
		r.fields(doc.Content[0], r.top)
	}
	return r.done()
}

// aliasDepth bounds aliases of aliases, and those within themselves.
const aliasDepth = 8

func follow(n *yaml.Node) *yaml.Node {
	for range aliasDepth {
		if n.Kind != yaml.AliasNode {
			return n
		}
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// fields hands the fields of a mapping to a function; a null has none. A field
// that is there twice is refused, also in different case, since Helm does not
// tell case in the names of fields.
func (r *yamlReader) fields(n *yaml.Node, each func(key string, value *yaml.Node) bool) bool {
	if n = follow(n); isNull(n) {
		return true
	}
	if n.Kind != yaml.MappingNode {
		return r.fail(invalid("this is not an index: a list or a text stands in line %d, where a mapping belongs", n.Line))
	}
	if r.read += len(n.Content); r.read > maxFields {
		return r.fail(tooLarge("the index has more than %d fields", maxFields))
	}
	seen := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, ok := r.text(n.Content[i])
		if !ok {
			return false
		}
		if n.Content[i].ShortTag() == "!!merge" {
			return r.fail(invalid("the index uses the merge key << in line %d", n.Content[i].Line))
		}
		if seen[key] {
			return r.fail(invalid("the index has the field %.100q twice in one mapping, in line %d", key, n.Content[i].Line))
		}
		seen[key] = true
		if !each(key, follow(n.Content[i+1])) {
			return false
		}
	}
	return true
}

// once says whether a field is met for the first time in any case.
func (r *yamlReader) once(met *uint, f field) bool {
	if *met&(1<<f) != 0 {
		return r.fail(invalid("the index has a field twice in one mapping, in upper and in lower case"))
	}
	*met |= 1 << f
	return true
}

func (r *yamlReader) top(key string, value *yaml.Node) bool {
	if r.listed {
		r.open = false
	}
	switch {
	case strings.EqualFold(key, "apiVersion"):
		if r.api {
			return r.fail(invalid("the index has its apiVersion twice"))
		}
		s, ok := r.text(value)
		r.api = s != ""
		return ok
	case strings.EqualFold(key, "entries"):
		if r.listed {
			return r.fail(invalid("the index has its entries twice"))
		}
		r.listed, r.open = true, isNull(value)
		return r.fields(value, r.chartOf)
	case strings.EqualFold(key, "generated"):
		return r.stamp(value, &r.index.Generated)
	}
	return true
}

func (r *yamlReader) chartOf(name string, list *yaml.Node) bool {
	if !r.chart(name) {
		return false
	}
	if r.open = isNull(list); r.open {
		return true
	}
	if list.Kind != yaml.SequenceNode {
		return r.fail(invalid("this is not an index: the chart %.100q has no list of versions", name))
	}
	for _, n := range list.Content {
		var v Version
		named, met := false, uint(0)
		ok := r.fields(n, func(key string, value *yaml.Node) bool {
			f, known := fieldOf(key)
			if !known {
				return true
			}
			return r.once(&met, f) && r.field(f, value, &v, &named)
		})
		if !ok || !r.version(v, named) {
			return false
		}
	}
	return true
}

func (r *yamlReader) field(f field, n *yaml.Node, v *Version, named *bool) (ok bool) {
	switch f {
	case fieldName:
		var s string
		s, ok = r.text(n)
		*named = s != ""
	case fieldVersion:
		v.Version, ok = r.text(n)
	case fieldDigest:
		v.Digest, ok = r.text(n)
	case fieldAppVersion:
		v.AppVersion, ok = r.text(n)
	case fieldCreated:
		ok = r.stamp(n, &v.Created)
	case fieldDeprecated:
		switch s, plain := r.text(n); {
		case isNull(n):
			ok = true
		case plain && isBool(n):
			v.Deprecated, ok = s == "true", true
		default:
			r.fail(invalid("the index has a field deprecated that is neither true nor false, in line %d", n.Line))
		}
	case fieldURLs:
		if isNull(n) {
			return true
		}
		if n.Kind != yaml.SequenceNode {
			return r.fail(invalid("the index has a field urls that is not a list, in line %d", n.Line))
		}
		if len(n.Content) > r.lim.URLs {
			return r.fail(tooLarge("a version in the index has more than %d URLs", r.lim.URLs))
		}
		for _, u := range n.Content {
			s, ok := r.text(follow(u))
			if !ok {
				return false
			}
			v.URLs = append(v.URLs, s)
		}
		ok = true
	}
	return ok
}

// stamp reads a time; null is none.
func (r *yamlReader) stamp(n *yaml.Node, to *time.Time) (ok bool) {
	if isNull(n) {
		return true
	}
	s, ok := r.text(n)
	if ok {
		*to, ok = r.time([]byte(s))
	}
	return ok
}

// text reads a scalar as Helm's reader reads it where a text is wanted: a
// number or boolean of YAML 1.1 is written anew, floats with 32 bits.
func (r *yamlReader) text(n *yaml.Node) (string, bool) {
	n = follow(n)
	if n.Kind != yaml.ScalarNode {
		return "", r.fail(invalid("this is not an index: a list or a mapping stands in line %d, where a text belongs", n.Line))
	}
	if n.Style != 0 {
		return n.Value, true
	}
	if isBool(n) {
		switch strings.ToLower(n.Value) {
		case "true", "yes", "y", "on":
			return "true", true
		}
		return "false", true
	}
	switch n.ShortTag() {
	case "!!null":
		return "", true
	case "!!int":
		var i int64
		if n.Decode(&i) == nil {
			return strconv.FormatInt(i, 10), true
		}
	case "!!float":
		var f float64
		if n.Decode(&f) == nil {
			return strconv.FormatFloat(f, 'g', -1, 32), true
		}
	}
	return n.Value, true
}

// isBool says whether YAML 1.1 takes a scalar for a boolean.
func isBool(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode || n.Style != 0 {
		return false
	}
	switch n.Value {
	case "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON",
		"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF":
		return true
	}
	return false
}

// field is a field of an entry that is read.
type field uint

const (
	fieldName field = iota
	fieldVersion
	fieldDigest
	fieldCreated
	fieldAppVersion
	fieldDeprecated
	fieldURLs
)

var fieldNames = [...]string{"name", "version", "digest", "created", "appVersion", "deprecated", "urls"}

// fieldOf finds a field by its name in any case, as Helm does.
func fieldOf(key string) (field, bool) {
	for i, name := range fieldNames {
		if strings.EqualFold(name, key) {
			return field(i), true
		}
	}
	return 0, false
}
