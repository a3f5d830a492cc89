package notes

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// The annotations of Artifact Hub that speak of a release.
const (
	AnnotationChanges  = "artifacthub.io/changes"
	AnnotationSecurity = "artifacthub.io/containsSecurityUpdates"
)

// Limits of an annotation: bytes of its YAML, and of the Chart.yaml around it.
const (
	maxAnnotation = 1 << 20
	maxChanges    = 10_000
)

// kinds are those of a change, and what they are as headings.
var kinds = map[string]class{
	"added": classFeature, "changed": 0, "deprecated": classDeprecated, "removed": classRemoved, "fixed": classFix, "security": classRepairs,
}

// ReadAnnotation finds the hints of the text of artifacthub.io/changes, in both
// of its forms: a list of strings, and a list of objects with kind, description
// and links. Lines count in the text. A change of kind security is a hint in any
// case, since its author declares it. Errors are problem.Invalid for what is no
// such list and problem.TooLarge for more than 1 MiB or 10,000 changes. Cost:
// linear.
func ReadAnnotation(text string) ([]Hint, error) {
	r := newReader(DefaultLimits())
	if err := r.changes(text, func(line int) int { return line }); err != nil {
		return nil, err
	}
	return r.release("", 0, 0).Hints, nil
}

// ReadChart reads what a Chart.yaml says of its own version, in the annotations
// artifacthub.io/changes and artifacthub.io/containsSecurityUpdates. Lines are
// those of the file; in a quoted annotation, that of the annotation. A chart
// without them is a release without hints. Errors are those of ReadAnnotation,
// and problem.Invalid for what is no Chart.yaml.
func ReadChart(text string, lim Limits) (Release, error) {
	if len(text) > maxAnnotation {
		return Release{}, problem.New(problem.TooLarge, "notes-limit", "the Chart.yaml has more than %d bytes", maxAnnotation)
	}
	root, err := yamlRoot(text)
	if err != nil || root.Kind != yaml.MappingNode || field(root, "name") == nil || field(root, "version") == nil {
		return Release{}, problem.New(problem.Invalid, "notes", "this is no Chart.yaml")
	}
	r := newReader(lim.orDefault())
	annotations := field(root, "annotations")
	if n := field(annotations, AnnotationChanges); n != nil {
		line := func(int) int { return n.Line }
		if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
			line = func(i int) int { return n.Line + i }
		}
		if err := r.changes(n.Value, line); err != nil {
			return Release{}, err
		}
	}
	if n := field(annotations, AnnotationSecurity); n != nil {
		switch is, err := strconv.ParseBool(n.Value); {
		case err != nil:
			r.leaveOut(AnnotationSecurity + " is neither true nor false")
		case is:
			r.add(Hint{Rule: RuleDeclared, Line: n.Line, Text: AnnotationSecurity + ": " + strconv.Quote(n.Value), Security: true})
		}
	}
	lines := strings.Count(strings.TrimSuffix(text, "\n"), "\n") + 1
	return r.release(field(root, "version").Value, 1, lines), nil
}

// yamlRoot is the root of a YAML document.
func yamlRoot(text string) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) != 1 {
		return nil, fmt.Errorf("read YAML: there is none")
	}
	return doc.Content[0], nil
}

// field is the scalar, list or object under a key, nil where there is none.
func field(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// changes reads a list of changes; line translates its lines.
func (r *reader) changes(text string, line func(int) int) error {
	if len(text) > maxAnnotation {
		return problem.New(problem.TooLarge, "notes-limit", "the annotation %s has more than %d bytes", AnnotationChanges, maxAnnotation)
	}
	if strings.TrimSpace(text) == "" {
		return nil
	}
	root, err := yamlRoot(text)
	if err != nil || root.Kind != yaml.SequenceNode {
		return problem.New(problem.Invalid, "notes", "the annotation %s is no list of changes", AnnotationChanges)
	}
	if len(root.Content) > maxChanges {
		return problem.New(problem.TooLarge, "notes-limit", "the annotation %s has more than %d changes", AnnotationChanges, maxChanges)
	}
	for _, n := range root.Content {
		switch n.Kind {
		case yaml.ScalarNode:
			r.change("", n.Value, nil, line(n.Line))
		case yaml.MappingNode:
			kind, what := field(n, "kind"), field(n, "description")
			text, at := "", n.Line
			if what != nil && what.Kind == yaml.ScalarNode {
				text, at = what.Value, what.Line
			}
			if strings.TrimSpace(text) == "" {
				r.leaveOut("a change has no description") // but for what its kind and its links say
			}
			k := ""
			if kind != nil {
				k = strings.ToLower(strings.TrimSpace(kind.Value))
			}
			r.change(k, text, field(n, "links"), line(at))
		default:
			r.leaveOut("a change is neither a text nor an object")
		}
	}
	return nil
}

// change reads one change.
func (r *reader) change(kind, what string, links *yaml.Node, line int) {
	before := len(r.hints)
	one := newReader(r.lim)
	one.markdown(what, line, kinds[kind])
	if one.unread != "" {
		r.leaveOut(one.unread)
	}
	declared := false
	for _, h := range one.hints {
		h.Line = line // what a YAML scalar folds has no lines of its own
		declared = declared || h.Security
		r.add(h)
	}
	text := cmp.Or(excerpt([]byte(what), 0), "a change without a description")
	if kind == "security" && !declared {
		r.add(Hint{Rule: RuleDeclared, Line: line, Text: text, Security: true})
	}
	if links == nil || links.Kind != yaml.SequenceNode {
		return
	}
	var ids []string
	for _, l := range links.Content {
		if u := field(l, "url"); u != nil {
			if id := advisoryPage(u.Value); id != "" && !slices.ContainsFunc(r.hints[before:], func(h Hint) bool { return slices.Contains(h.IDs, id) }) {
				ids = append(ids, id)
			}
		}
	}
	if len(ids) > 0 {
		r.add(Hint{Rule: RuleAdvisory, Line: line, Text: text, Security: true, IDs: ids})
	}
}
