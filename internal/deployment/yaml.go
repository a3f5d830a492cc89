package deployment

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Limits of YAML in a tree.
const (
	maxYAMLMarks = 500_000 // characters that can begin a node, each of which takes up to 250 bytes
	maxNodes     = 200_000 // of one value, aliases followed
	maxFollow    = 64      // nesting, of values, aliases and merges
	maxParsed    = 1 << 30 // bytes of all YAML of a reading; one file may be read for many deployments
)

// object is a place in a YAML document: a file, and a node or nothing. What is
// asked of nothing is nothing.
type object struct {
	file string
	n    *yaml.Node
}

// parseYAML returns the documents of a text. The error is a sentence without
// anything of the content. Cost: linear, up to 250 times the text in memory,
// which maxYAMLMarks bounds.
func parseYAML(file string, text []byte) ([]object, error) {
	marks := 0
	for _, c := range text {
		switch c {
		case ',', '[', '{', ':', '-', '?', '\n', '\r':
			marks++
		}
	}
	if marks > maxYAMLMarks {
		return nil, fmt.Errorf("it has more than %d characters that YAML gives a meaning", maxYAMLMarks)
	}
	var docs []object
	d := yaml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, utf8BOM)))
	for {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, errors.New("it is not YAML: " + syntaxFault(err))
		}
		if len(doc.Content) == 1 && doc.Content[0].Kind != yaml.ScalarNode {
			docs = append(docs, object{file, doc.Content[0]})
		}
	}
}

// parse is parseYAML within the limit of the whole reading.
func (r *reader) parse(file string, text []byte) ([]object, error) {
	if r.parsed += len(text); r.parsed > maxParsed {
		return nil, fmt.Errorf("more than %d MiB of YAML would be read in all", maxParsed>>20)
	}
	return parseYAML(file, text)
}

// syntaxFault says where the YAML breaks. What the reader quotes of the text is
// left out, since it may be a secret.
func syntaxFault(err error) string {
	s := strings.TrimPrefix(err.Error(), "yaml: ")
	for _, quote := range []string{"`", "'", `"`} {
		if i := strings.Index(s, quote); i >= 0 {
			s = strings.TrimSpace(s[:i])
		}
	}
	return cut(s)
}

func follow(n *yaml.Node) *yaml.Node {
	for range maxFollow {
		if n == nil || n.Kind != yaml.AliasNode {
			return n
		}
		n = n.Alias
	}
	return nil
}

// at returns what stands under the keys, one below the other.
func (o object) at(keys ...string) object {
	n := follow(o.n)
	for _, key := range keys {
		n = field(n, key, 0)
	}
	return object{o.file, n}
}

func field(n *yaml.Node, key string, depth int) *yaml.Node {
	if n = follow(n); n == nil || n.Kind != yaml.MappingNode || depth > maxFollow {
		return nil
	}
	var merged *yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := follow(n.Content[i]); k != nil && k.Kind == yaml.ScalarNode {
			if k.Value == key {
				return follow(n.Content[i+1])
			}
			if k.ShortTag() == "!!merge" {
				merged = follow(n.Content[i+1])
			}
		}
	}
	if merged == nil {
		return nil
	}
	if merged.Kind != yaml.SequenceNode {
		return field(merged, key, depth+1)
	}
	for _, m := range merged.Content {
		if v := field(m, key, depth+1); v != nil {
			return v
		}
	}
	return nil
}

// is reports whether there is a value, which is not null.
func (o object) is() bool {
	n := follow(o.n)
	return n != nil && (n.Kind != yaml.ScalarNode || n.ShortTag() != "!!null")
}

// text is a scalar as it is written, "" for anything else.
func (o object) text() string {
	if n := follow(o.n); n != nil && n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" {
		return n.Value
	}
	return ""
}

// list is a sequence, nil for anything else.
func (o object) list() []object {
	n := follow(o.n)
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	out := make([]object, len(n.Content))
	for i, item := range n.Content {
		out[i] = object{o.file, item}
	}
	return out
}

// isMap reports whether it is a mapping.
func (o object) isMap() bool {
	n := follow(o.n)
	return n != nil && n.Kind == yaml.MappingNode
}

// texts is a mapping of texts, nil for anything else.
func (o object) texts() map[string]string {
	n := follow(o.n)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	out := map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if v := (object{o.file, n.Content[i+1]}); v.is() {
			out[n.Content[i].Value] = v.text()
		}
	}
	return out
}

// withoutLines takes the lines out of what was not read from a file.
func withoutLines(n *yaml.Node) {
	if n == nil {
		return
	}
	n.Line = 0
	for _, c := range n.Content {
		withoutLines(c)
	}
}

// where is "file:line", or what stands for the file where there are no lines.
func (o object) where() string {
	if o.n == nil || o.n.Line == 0 {
		return o.file
	}
	return o.file + ":" + strconv.Itoa(o.n.Line)
}

// value is what JSON would decode, with an error for what is too large.
func (o object) value() (any, error) {
	left := maxNodes
	return toValue(o.n, &left, 0)
}

// values is a mapping as values, nil and no error where there is none.
func (o object) values() (map[string]any, error) {
	v, err := o.value()
	m, _ := v.(map[string]any)
	if err == nil && m == nil && o.is() {
		err = errors.New("is not a mapping")
	}
	return m, err
}

var errTooLarge = errors.New("is too large")

func toValue(n *yaml.Node, left *int, depth int) (any, error) {
	n = follow(n)
	if n == nil {
		return nil, nil
	}
	if *left--; *left < 0 || depth > maxFollow {
		return nil, errTooLarge
	}
	switch n.Kind {
	case yaml.SequenceNode:
		out := make([]any, len(n.Content))
		for i, item := range n.Content {
			v, err := toValue(item, left, depth+1)
			if err != nil {
				return nil, err
			}
			out[i] = v
		}
		return out, nil
	case yaml.MappingNode:
		out := map[string]any{}
		return out, mapValue(n, out, left, depth)
	}
	return scalarValue(n), nil
}

// mapValue puts the fields of a mapping into out: merged ones first, so that
// the mapping's own win.
func mapValue(n *yaml.Node, out map[string]any, left *int, depth int) error {
	if *left--; *left < 0 || depth > maxFollow {
		return errTooLarge
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := follow(n.Content[i]); k == nil || k.ShortTag() != "!!merge" {
			continue
		}
		merged := []*yaml.Node{follow(n.Content[i+1])}
		if merged[0] != nil && merged[0].Kind == yaml.SequenceNode {
			merged = merged[0].Content
		}
		for j := len(merged) - 1; j >= 0; j-- {
			if m := follow(merged[j]); m != nil && m.Kind == yaml.MappingNode {
				if err := mapValue(m, out, left, depth+1); err != nil {
					return err
				}
			}
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := follow(n.Content[i])
		if k == nil || k.Kind != yaml.ScalarNode || k.ShortTag() == "!!merge" {
			continue
		}
		v, err := toValue(n.Content[i+1], left, depth+1)
		if err != nil {
			return err
		}
		out[k.Value] = v
	}
	return nil
}

func scalarValue(n *yaml.Node) any {
	plain := strings.ReplaceAll(n.Value, "_", "")
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int":
		if i, err := strconv.ParseInt(plain, 0, 64); err == nil {
			return float64(i)
		}
	case "!!float":
		if f, err := strconv.ParseFloat(plain, 64); err == nil && f-f == 0 {
			return f
		}
	}
	return n.Value
}
