package deployment

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// selects evaluates a label selector.
func selects(selector object, labels params) bool {
	for k, v := range selector.at("matchLabels").texts() {
		if labels[k] != any(v) {
			return false
		}
	}
	for _, e := range selector.at("matchExpressions").list() {
		v, has := labels[e.at("key").text()]
		in := false
		for _, one := range e.at("values").list() {
			in = in || has && v == any(one.text())
		}
		switch e.at("operator").text() {
		case "In":
			if !in {
				return false
			}
		case "NotIn":
			if in {
				return false
			}
		case "Exists":
			if !has {
				return false
			}
		case "DoesNotExist":
			if has {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// text evaluates one text with parameters.
func (s *appSet) text(t string, p params) (string, error) {
	if s.goTemplate {
		return render(t, map[string]any(p), nil)
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(t, "{{")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, after, closed := strings.Cut(rest, "}}")
		v, known := p[strings.TrimSpace(name)].(string)
		if !closed || !known {
			return "", errors.New("no generator makes the parameter " + strconv.Quote(cut(strings.TrimSpace(name))))
		}
		if b.WriteString(v); b.Len() > maxText {
			return "", errors.New("it makes a text that is too long")
		}
		t = after
	}
}

// render copies a node with all its texts evaluated.
func (s *appSet) render(o object, p params) (*yaml.Node, error) {
	return s.copyNode(o.n, p, &s.work, 0)
}

func (s *appSet) copyNode(n *yaml.Node, p params, left *int, depth int) (*yaml.Node, error) {
	if n = follow(n); n == nil {
		return nil, nil
	}
	if *left--; *left < 0 || depth > maxFollow {
		return nil, errTooLarge
	}
	out := *n
	out.Anchor, out.Content = "", nil
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "{{") {
		text, err := s.text(n.Value, p)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n.Line, err)
		}
		out.Value, out.Tag, out.Style = text, "!!str", yaml.DoubleQuotedStyle
	}
	for _, item := range n.Content {
		c, err := s.copyNode(item, p, left, depth+1)
		if err != nil {
			return nil, err
		}
		out.Content = append(out.Content, c)
	}
	return &out, nil
}

// mergeNode puts one mapping over another, as a merge patch does. Both stay as
// they are.
func mergeNode(base, over *yaml.Node, depth int) *yaml.Node {
	base, over = follow(base), follow(over)
	if base == nil || over == nil || base.Kind != yaml.MappingNode || over.Kind != yaml.MappingNode || depth > maxFollow {
		if over == nil {
			return base
		}
		return over
	}
	out := *base
	out.Content = slices.Clone(base.Content)
	for i := 0; i+1 < len(over.Content); i += 2 {
		found := false
		for j := 0; j+1 < len(out.Content) && !found; j += 2 {
			if found = out.Content[j].Value == over.Content[i].Value; found {
				out.Content[j+1] = mergeNode(out.Content[j+1], over.Content[i+1], depth+1)
			}
		}
		if !found {
			out.Content = append(out.Content, over.Content[i], over.Content[i+1])
		}
	}
	return &out
}
