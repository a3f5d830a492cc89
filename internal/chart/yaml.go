package chart

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Helm reads a Chart.yaml through a YAML 1.1 reader that turns it into JSON
// and the JSON into a structure. This file reads the same values from a node
// tree, which alone shows keys given twice, and line numbers for the person
// who has to mend them.

type (
	node   = yaml.Node
	setter func(n *node, path string)
)

// Limits of a document, beside its size. Aliases are followed when nodes are
// counted, so that a small text cannot mean a large document.
const (
	maxYAMLDepth = 40
	maxYAMLNodes = 100_000
)

// document is one YAML document that was read and found sound: every mapping
// key in it is a text that stands once in its mapping, and aliases are few.
type document struct {
	file  string          // as people know it, such as Chart.yaml
	rule  string          // prefix of its rule ids
	bare  map[[2]int]bool // see bareTags
	root  *node           // a mapping, or nil for an empty document
	nodes int             // counted so far
	err   *problem.Error  // the first fault that a setter found
}

// readYAML reads the one document of a file. Cost: linear in its size.
func readYAML(file, rule string, limit int, source []byte) (*document, error) {
	if len(source) > limit {
		return nil, problem.New(problem.TooLarge, rule+"-size", "%s is larger than %d KiB", file, limit>>10).
			With("size", "%d bytes", len(source))
	}
	source = bytes.TrimPrefix(source, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(source) {
		return nil, problem.New(problem.Invalid, rule+"-syntax", "%s is not valid UTF-8", file).
			Suggest("save %s as UTF-8", file)
	}
	d := &document{file: file, rule: rule, bare: bareTags(source)}
	decoder := yaml.NewDecoder(bytes.NewReader(source))
	for n := 0; ; n++ {
		var doc node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, problem.New(problem.Invalid, rule+"-syntax", "%s is not valid YAML: %s", file,
				cut(printable(strings.TrimPrefix(err.Error(), "yaml: "))))
		}
		empty := len(doc.Content) == 0 || d.isNull(doc.Content[0])
		switch {
		case empty:
			// A --- with nothing behind it is common and harmless.
		case n > 0:
			return nil, problem.New(problem.Invalid, rule+"-syntax", "%s holds more than one YAML document", file).
				Suggest("remove everything from the second --- on")
		default:
			d.root = doc.Content[0]
		}
	}
	if d.root == nil {
		return d, nil
	}
	d.check(d.root, 0)
	if d.err == nil && d.root.Kind != yaml.MappingNode {
		d.fail(d.root, rule+"-syntax", "%s is not a mapping of fields", file)
	}
	if d.err != nil {
		return nil, d.err
	}
	return d, nil
}

// fail records the first fault and returns it. Later ones are not kept.
func (d *document) fail(n *node, rule, format string, args ...any) *problem.Error {
	p := problem.New(problem.Invalid, rule, format, args...)
	if n != nil {
		p.With("line", "%d", n.Line)
	}
	if d.err == nil {
		d.err = p
	}
	return p
}

// check walks everything, known fields and unknown, because Helm's reader
// fails on some things wherever they stand.
func (d *document) check(n *node, depth int) {
	if d.nodes++; d.nodes > maxYAMLNodes || depth > maxYAMLDepth {
		d.fail(n, d.rule+"-syntax", "%s is nested deeper than %d or has more than %d nodes, aliases included",
			d.file, maxYAMLDepth, maxYAMLNodes)
	}
	if d.err != nil {
		return
	}
	if n.Style&yaml.TaggedStyle != 0 && n.ShortTag() != "!!str" {
		d.fail(n, d.rule+"-syntax", "%s uses the YAML tag %q", d.file, cut(n.Tag)).
			Suggest("write the value without a tag")
		return
	}
	switch n.Kind {
	case yaml.AliasNode:
		d.check(n.Alias, depth+1)
	case yaml.SequenceNode:
		for _, item := range n.Content {
			d.check(item, depth+1)
		}
	case yaml.MappingNode:
		d.checkMapping(n, depth)
	case yaml.ScalarNode:
		if kind, _ := d.scalar(n); kind == specialFloat || kind == mergeKey {
			d.fail(n, d.rule+"-syntax", "%s has the value %s, which JSON cannot hold", d.file, n.Value).
				Suggest("put the value in quotes")
		}
	}
}

func (d *document) checkMapping(n *node, depth int) {
	keys := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if d.nodes++; key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode || key.Style&yaml.TaggedStyle != 0 {
			d.fail(n.Content[i], d.rule+"-key", "%s has a key that is not a plain text", d.file)
			return
		}
		kind, text := d.scalar(key)
		switch {
		case kind == mergeKey:
			d.fail(key, d.rule+"-key", "%s uses the merge key <<", d.file).Suggest("write the merged fields out")
		case kind == nullScalar || kind == specialFloat || kind == numberScalar && strings.HasSuffix(text, "Inf"):
			d.fail(key, d.rule+"-key", "%s has a key that is not a text", d.file)
		case len(text) > MaxKeyLength:
			d.fail(key, d.rule+"-key", "%s has a key of %d bytes, and at most %d are allowed", d.file, len(text), MaxKeyLength)
		case keys[text]:
			d.fail(key, d.rule+"-duplicate-key", "%s has the key %q twice", d.file, cut(text)).
				Suggest("remove one of them")
		}
		if d.err != nil {
			return
		}
		keys[text] = true
		d.check(value, depth+1)
	}
}

// fields hands the values of a mapping to the setters of its fields. As in
// Helm, a name matches in any case; two keys that match one field are refused.
// Fields without a setter are dropped.
func (d *document) fields(n *node, path string, set map[string]setter) {
	n = follow(n)
	if n == nil || d.isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.wrongType(n, path, "a mapping")
		return
	}
	seen := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content) && d.err == nil; i += 2 {
		_, key := d.scalar(follow(n.Content[i]))
		field, ok := key, false
		if _, ok = set[key]; !ok {
			for name := range set {
				if strings.EqualFold(name, key) {
					field, ok = name, true
				}
			}
		}
		if !ok {
			continue
		}
		if seen[field] {
			d.fail(n.Content[i], d.rule+"-duplicate-key",
				"%s gives %s twice: Helm does not tell upper case from lower in field names", d.file, path+field).
				Suggest("remove one of them")
			return
		}
		seen[field] = true
		set[field](follow(n.Content[i+1]), path+field)
	}
}

func (d *document) wrongType(n *node, path, want string) {
	if path == "" {
		path = d.file
	}
	is := "a text"
	switch n.Kind {
	case yaml.MappingNode:
		is = "a mapping"
	case yaml.SequenceNode:
		is = "a list"
	case yaml.ScalarNode:
		switch kind, _ := d.scalar(n); kind {
		case nullScalar:
			is = "empty"
		case boolScalar:
			is = "a boolean"
		case numberScalar:
			is = "a number"
		}
	}
	d.fail(n, d.rule+"-field", "%s must be %s and is %s", strings.TrimSuffix(path, "."), want, is)
}

// text sets a string from a scalar of any kind, as Helm's reader does.
func (d *document) text(to *string) setter {
	return func(n *node, path string) {
		if n.Kind != yaml.ScalarNode {
			d.wrongType(n, path, "a text")
			return
		}
		_, *to = d.scalar(n)
	}
}

// looseText sets a string from a scalar and ignores any other value.
func (d *document) looseText(to *string) setter {
	return func(n *node, _ string) {
		if n.Kind == yaml.ScalarNode {
			_, *to = d.scalar(n)
		}
	}
}

func (d *document) boolean(to *bool) setter {
	return func(n *node, path string) {
		switch kind, text := d.scalar(n); {
		case n.Kind == yaml.ScalarNode && kind == boolScalar:
			*to = text == "true"
		case !d.isNull(n):
			d.wrongType(n, path, "true or false")
		}
	}
}

func (d *document) texts(to *[]string) setter {
	return d.items("a list of texts", func(n *node, path string) {
		var s string
		d.text(&s)(n, path)
		*to = append(*to, s)
	})
}

func (d *document) items(want string, each setter) setter {
	return func(n *node, path string) {
		if d.isNull(n) {
			return
		}
		if n.Kind != yaml.SequenceNode {
			d.wrongType(n, path, want)
			return
		}
		for i, item := range n.Content {
			if d.err != nil {
				return
			}
			each(follow(item), path+"["+strconv.Itoa(i)+"]")
		}
	}
}

// list sets a list of structures. Empty items are refused: Helm does so when
// it loads the chart.
func list[T any](d *document, to *[]T, set func(*T, *document) map[string]setter) setter {
	return d.items("a list of mappings", func(n *node, path string) {
		if n.Kind != yaml.MappingNode {
			d.wrongType(n, path, "a mapping")
			return
		}
		var item T
		d.fields(n, path+".", set(&item, d))
		*to = append(*to, item)
	})
}

// textMap sets a map from texts to texts. Its keys go out as they are, so
// they must be printable.
func (d *document) textMap(to *map[string]string) setter {
	return func(n *node, path string) {
		if d.isNull(n) {
			return
		}
		if n.Kind != yaml.MappingNode {
			d.wrongType(n, path, "a mapping of texts to texts")
			return
		}
		m := make(map[string]string, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content) && d.err == nil; i += 2 {
			key, ok := d.key(n.Content[i], path)
			if !ok {
				return
			}
			var s string
			d.text(&s)(follow(n.Content[i+1]), path+"["+strconv.Quote(cut(key))+"]")
			m[key] = s
		}
		if len(m) > 0 {
			*to = m
		}
	}
}

func (d *document) key(n *node, path string) (string, bool) {
	_, key := d.scalar(follow(n))
	if strings.IndexFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
		d.fail(n, d.rule+"-key", "%s has a key with characters that cannot be printed", path)
		return "", false
	}
	return key, true
}

// importValues sets the two forms that Helm knows: the name of a group of
// values, and a pair of child and parent.
func (d *document) importValues(to *[]any) setter {
	const want = "a text, or a mapping of child and parent to texts"
	return d.items("a list", func(n *node, path string) {
		kind, text := d.scalar(n)
		switch {
		case n.Kind == yaml.ScalarNode && kind == textScalar:
			*to = append(*to, text)
			return
		case n.Kind != yaml.MappingNode:
			d.wrongType(n, path, want)
			return
		}
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content) && d.err == nil; i += 2 {
			value := follow(n.Content[i+1])
			kind, text := d.scalar(value)
			if value.Kind != yaml.ScalarNode || kind != textScalar {
				d.wrongType(value, path, want)
				return
			}
			key, ok := d.key(n.Content[i], path)
			if !ok {
				return
			}
			m[key] = text
		}
		*to = append(*to, m)
	})
}

// follow returns what an alias stands for. Check has bounded their nesting.
func follow(n *node) *node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func (d *document) isNull(n *node) bool {
	kind, _ := d.scalar(n)
	return n.Kind == yaml.ScalarNode && kind == nullScalar
}

// scalarKind is what a YAML 1.1 reader takes a scalar for.
type scalarKind int

const (
	textScalar scalarKind = iota
	nullScalar
	boolScalar
	numberScalar
	specialFloat // infinity or not a number
	mergeKey
)

// scalar returns the kind of a scalar, and the text that Helm's reader makes
// of it where a text is wanted. It is "" for a node of another kind.
func (d *document) scalar(n *node) (scalarKind, string) {
	switch {
	case n.Kind != yaml.ScalarNode:
		return nullScalar, ""
	case n.Style != 0: // quoted, a block, or tagged !!str; check has refused other tags
		return textScalar, n.Value
	}
	kind, text := resolve(n.Value)
	if kind != textScalar && d.bare[[2]int{n.Line, n.Column}] {
		return textScalar, n.Value
	}
	return kind, text
}

// bareTags finds the plain scalars with the tag !, which makes them texts to
// Helm's reader: nodes do not show it. It returns the lines and columns where
// such a scalar may start, at its tag or at an anchor in front of it. A plain
// scalar without a tag never starts with these characters. Cost: linear.
func bareTags(source []byte) map[[2]int]bool {
	if bytes.IndexByte(source, '!') < 0 {
		return nil
	}
	found := map[[2]int]bool{}
	line, column := 1, 1
	var anchor [2]int
	const none, name, behind = 0, 1, 2 // no anchor, inside its name, in the white space behind it
	state := none
	for len(source) > 0 {
		r, size := utf8.DecodeRune(source)
		source = source[size:]
		space := r == ' ' || r == '\t' || lineBreak(r)
		switch {
		case r == '&':
			anchor, state = [2]int{line, column}, name
		case state == name && space:
			state = behind
		case state == behind && space, state == name && (identifier(string(r)) || r == '_'):
		case r == '!' && (len(source) == 0 || source[0] <= ' ' || source[0] >= utf8.RuneSelf):
			found[[2]int{line, column}] = true
			if state == behind {
				found[anchor] = true
			}
			state = none
		default:
			state = none
		}
		switch {
		case r == '\r' && len(source) > 0 && source[0] == '\n':
		case lineBreak(r):
			line, column = line+1, 1
		default:
			column++
		}
	}
	return found
}

// lineBreak reports whether YAML 1.1 ends a line with r.
func lineBreak(r rune) bool {
	return r == '\n' || r == '\r' || r == 0x85 || r == 0x2028 || r == 0x2029
}

var decimalFloat = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)

// resolve does what Helm's reader does with a plain scalar: it takes it for a
// null, boolean or number where it looks like one by YAML 1.1 (yes and 0x1F
// do), and writes that value as text, floats with 32 bits.
func resolve(s string) (scalarKind, string) {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return nullScalar, ""
	case "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON":
		return boolScalar, "true"
	case "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF":
		return boolScalar, "false"
	case ".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF":
		return specialFloat, s
	case "<<":
		return mergeKey, s
	}
	c := s[0]
	if c == '.' {
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return numberScalar, floatText(f)
		}
		return textScalar, s
	}
	if (c < '0' || c > '9') && c != '+' && c != '-' {
		return textScalar, s
	}
	plain := strings.ReplaceAll(s, "_", "")
	if i, err := strconv.ParseInt(plain, 0, 64); err == nil {
		return numberScalar, strconv.FormatInt(i, 10)
	}
	if u, err := strconv.ParseUint(plain, 0, 64); err == nil {
		return numberScalar, strconv.FormatUint(u, 10)
	}
	if decimalFloat.MatchString(plain) {
		if f, err := strconv.ParseFloat(plain, 64); err == nil {
			return numberScalar, floatText(f)
		}
	}
	if binary, ok := strings.CutPrefix(plain, "0b"); ok {
		if i, err := strconv.ParseInt(binary, 2, 64); err == nil { // such as 0b-1
			return numberScalar, strconv.FormatInt(i, 10)
		}
	}
	return textScalar, s
}

func floatText(f float64) string { return strconv.FormatFloat(f, 'g', -1, 32) }
