package deployment

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
)

// Templates of helmfiles and ApplicationSets are programs of strangers. They
// run here without anything that reads, calls or waits, and within bounds:
// loops over nothing but lists and maps, no named templates, a number of steps
// that is known before it runs, texts of a bounded length. What is beyond that
// is not evaluated.
const (
	maxTemplate = 256 << 10 // bytes of a template
	maxText     = 64 << 10  // bytes of one text that a function makes
	maxTexts    = 64 << 20  // bytes of all texts that functions make
	maxOutput   = 1 << 20   // bytes that a template writes
	maxItems    = 200       // of a list or map that a template may loop over
	maxSteps    = 2_000_000 // of a template, when every loop has maxItems
)

var errOutput = fmt.Errorf("it writes more than %d KiB", maxOutput>>10)

// render evaluates a template. The error is a sentence about it. Data must be
// of maps, lists and scalars; numbers in it become texts.
func render(text string, data any, variables func(name string) (string, error)) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	if len(text) > maxTemplate {
		return "", fmt.Errorf("it is larger than %d KiB", maxTemplate>>10)
	}
	t, err := template.New("").Option("missingkey=default").Funcs(functions(variables)).Parse(text)
	if err != nil {
		return "", errors.New(templateFault(err))
	}
	for _, one := range t.Templates() {
		if one.Name() != "" {
			return "", errors.New("it defines templates")
		}
	}
	if t.Tree == nil {
		return "", nil
	}
	var c templateCheck
	c.walk(t.Root, 1)
	plain, fits := plainData(data, 0)
	switch {
	case c.fault != "":
		return "", errors.New(c.fault)
	case c.loops && c.numbers:
		return "", errors.New("it has loops and numbers")
	case c.loops && !fits:
		return "", fmt.Errorf("it has loops, and what is known has lists of more than %d items", maxItems)
	}
	var out limited
	if err := t.Execute(&out, plain); err != nil {
		return "", errors.New(templateFault(err))
	}
	switch s := out.String(); {
	case strings.Contains(s, "<no value>"):
		return "", errors.New("it uses something that is not set")
	case strings.Contains(s, "map["):
		return "", errors.New("it writes a mapping where a text belongs")
	default:
		return s, nil
	}
}

// templateFault is what is wrong, without the data that the message may quote.
func templateFault(err error) string {
	s := err.Error()
	if errors.Is(err, errOutput) {
		return errOutput.Error()
	}
	var e refusal
	if errors.As(err, &e) {
		return string(e)
	}
	if i := strings.Index(s, `function "`); i >= 0 && strings.HasSuffix(s, " not defined") {
		return "it uses the " + cut(strings.TrimSuffix(s[i:], " not defined")) + ", which is not known here"
	}
	if i := strings.Index(s, "map has no entry"); i >= 0 {
		return "it uses something that is not set"
	}
	if strings.Contains(s, "error calling") || strings.Contains(s, "executing") {
		return "it cannot be evaluated with what is known"
	}
	return "it is no template that can be read"
}

// refusal is an error of a function, whose words may be shown.
type refusal string

func (e refusal) Error() string { return string(e) }

// limited is a text of at most maxOutput bytes.
type limited struct{ strings.Builder }

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxOutput {
		return 0, errOutput
	}
	return l.Builder.Write(p)
}

// templateCheck looks for what could take long, and counts steps.
type templateCheck struct {
	loops, numbers bool
	steps          int
	fault          string
}

// walk visits a node that runs up to times times.
func (c *templateCheck) walk(n parse.Node, times int) {
	if c.steps += times; c.steps > maxSteps {
		c.fault = "it takes too many steps"
	}
	if c.fault != "" {
		return
	}
	list := func(l *parse.ListNode, times int) {
		if l != nil {
			for _, n := range l.Nodes {
				c.walk(n, times)
			}
		}
	}
	branch := func(b *parse.BranchNode, inside int) {
		c.pipe(b.Pipe, times)
		list(b.List, inside)
		list(b.ElseList, times)
	}
	switch n := n.(type) {
	case *parse.ListNode:
		list(n, times)
	case *parse.ActionNode:
		c.pipe(n.Pipe, times)
	case *parse.IfNode:
		branch(&n.BranchNode, times)
	case *parse.WithNode:
		branch(&n.BranchNode, times)
	case *parse.RangeNode:
		c.loops = true
		branch(&n.BranchNode, times*maxItems)
	case *parse.TemplateNode:
		c.fault = "it calls templates"
	}
}

func (c *templateCheck) pipe(p *parse.PipeNode, times int) {
	if p == nil {
		return
	}
	for _, cmd := range p.Cmds {
		c.steps += times * len(cmd.Args)
		for _, arg := range cmd.Args {
			switch arg := arg.(type) {
			case *parse.NumberNode:
				c.numbers = true
			case *parse.IdentifierNode:
				c.numbers = c.numbers || arg.Ident == "len"
			case *parse.PipeNode:
				c.pipe(arg, times)
			}
		}
	}
}

// plainData turns numbers into texts, so that nothing can be looped over but
// lists and maps, and reports whether all of these have at most maxItems.
func plainData(v any, depth int) (any, bool) {
	fits := depth <= maxFollow
	if !fits {
		return nil, false
	}
	switch v := v.(type) {
	case map[string]any:
		fits = len(v) <= maxItems
		out := make(map[string]any, len(v))
		for key, item := range v {
			var ok bool
			out[key], ok = plainData(item, depth+1)
			fits = fits && ok
		}
		return out, fits
	case []any:
		fits = len(v) <= maxItems
		out := make([]any, len(v))
		for i := range v {
			var ok bool
			out[i], ok = plainData(v[i], depth+1)
			fits = fits && ok
		}
		return out, fits
	case float64:
		return numberText(v), true
	}
	return v, true
}

func numberText(f float64) string {
	if f == float64(int64(f)) {
		return fmt.Sprint(int64(f))
	}
	return fmt.Sprint(f)
}

// functions are those of sprig, helmfile and ApplicationSets that make texts
// of texts. Those of the language that could make long texts are replaced.
func functions(variables func(string) (string, error)) template.FuncMap {
	made := 0
	short := func(s string) (string, error) {
		if made += len(s); len(s) > maxText || made > maxTexts {
			return "", refusal("it makes texts that are too long")
		}
		return s, nil
	}
	one := func(f func(string) string) any {
		return func(v any) (string, error) { return short(f(text(v))) }
	}
	two := func(f func(a, s string) string) any {
		return func(a, v any) (string, error) { return short(f(text(a), text(v))) }
	}
	join := func(sep string, l []any) (string, error) { return short(join(sep, l)) }
	m := template.FuncMap{
		"lower": one(strings.ToLower), "upper": one(strings.ToUpper), "trim": one(strings.TrimSpace), "toString": one(func(s string) string { return s }),
		"quote": one(func(s string) string { return fmt.Sprintf("%q", s) }), "squote": one(func(s string) string { return "'" + s + "'" }),
		"normalize": one(normalize), "title": one(func(s string) string { return strings.ToUpper(s[:min(1, len(s))]) + s[min(1, len(s)):] }),
		"trimSuffix": two(func(a, s string) string { return strings.TrimSuffix(s, a) }),
		"trimPrefix": two(func(a, s string) string { return strings.TrimPrefix(s, a) }),
		"trimAll":    two(func(a, s string) string { return strings.Trim(s, a) }),
		"contains":   func(a, s any) bool { return strings.Contains(text(s), text(a)) },
		"hasPrefix":  func(a, s any) bool { return strings.HasPrefix(text(s), text(a)) },
		"hasSuffix":  func(a, s any) bool { return strings.HasSuffix(text(s), text(a)) },
		"replace": func(a, b, s any) (string, error) {
			if text(a) == "" {
				return text(s), nil
			}
			if n := strings.Count(text(s), text(a)); len(text(s))+n*len(text(b)) > maxText {
				return "", refusal("it makes texts that are too long")
			}
			return short(strings.ReplaceAll(text(s), text(a), text(b)))
		},
		"list": list,
		"splitList": func(sep, s any) ([]any, error) {
			var out []any
			for part := range strings.SplitSeq(text(s), text(sep)) {
				if out = append(out, part); len(out) > maxItems {
					return nil, refusal("it makes a list that is too long")
				}
			}
			_, err := short(text(s))
			return out, err
		},
		"join":    func(sep any, l []any) (string, error) { return join(text(sep), l) },
		"print":   func(v ...any) (string, error) { return join("", v) },
		"println": func(v ...any) (string, error) { return join(" ", append(slices.Clone(v), "\n")) },
		"printf": func(format string, v ...any) (string, error) {
			s, err := printf(format, v)
			if err != nil {
				return "", err
			}
			return short(s)
		},
		"html": refuse("html"), "js": refuse("js"), "urlquery": refuse("urlquery"), "call": refuse("call"),
	}
	maps.Copy(m, choices)
	if variables != nil {
		m["env"] = variables
		m["requiredEnv"] = variables
	}
	return m
}

// choices are the functions that make no texts.
var choices = template.FuncMap{
	"default": func(d any, v ...any) any {
		if len(v) == 0 || empty(v[0]) {
			return d
		}
		return v[0]
	},
	"empty": empty,
	"coalesce": func(v ...any) any {
		for _, one := range v {
			if !empty(one) {
				return one
			}
		}
		return nil
	},
	"ternary": func(yes, no any, v bool) any {
		if v {
			return yes
		}
		return no
	},
	"get": func(key string, v ...any) (any, error) { return get(key, v) },
	"hasKey": func(m map[string]any, key string) bool {
		_, ok := m[key]
		return ok
	},
	"last": func(l []any) any {
		if len(l) == 0 {
			return nil
		}
		return l[len(l)-1]
	},
	"first": func(l []any) any {
		if len(l) == 0 {
			return nil
		}
		return l[0]
	},
}

// list makes a list of scalars. One of lists could grow without end.
func list(v ...any) ([]any, error) {
	for _, one := range v {
		switch one.(type) {
		case nil, string, bool:
		default:
			return nil, refusal("it makes a list of what are no texts")
		}
	}
	return v, nil
}

func refuse(name string) any {
	return func(...any) (string, error) { return "", refusal("it uses the function " + name) }
}

// text is a value as the language prints it.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool, int:
		return fmt.Sprint(v)
	}
	return "" // a list or map where a text is wanted
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case int:
		return v == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// join stops soon after a text is too long.
func join(sep string, l []any) string {
	var b strings.Builder
	for i, v := range l {
		if i > 0 {
			b.WriteString(sep)
		}
		if b.WriteString(text(v)); b.Len() > maxText {
			break
		}
	}
	return b.String()
}

// printf knows %s, %v, %q, %d and %%, without widths.
func printf(format string, v []any) (string, error) {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		if i++; i == len(format) {
			return "", refusal("it formats in a way that is not known")
		}
		switch verb := format[i]; {
		case verb == '%':
			b.WriteByte('%')
		case strings.IndexByte("svdq", verb) >= 0 && len(v) > 0:
			s := text(v[0])
			if verb == 'q' {
				s = fmt.Sprintf("%q", s)
			}
			b.WriteString(s)
			v = v[1:]
		default:
			return "", refusal("it formats in a way that is not known")
		}
		if b.Len() > maxText {
			break
		}
	}
	return b.String(), nil
}

// get is helmfile's: the key's path in a map, or a default before the map.
func get(key string, v []any) (any, error) {
	if len(v) == 0 || len(v) > 2 {
		return nil, refusal("it calls get without a map")
	}
	m, _ := v[len(v)-1].(map[string]any)
	if found := lookup(m, strings.Split(key, ".")); found != nil {
		return found, nil
	}
	if len(v) == 2 {
		return v[0], nil
	}
	return nil, refusal("it uses something that is not set")
}

// normalize makes a text a DNS name, as ApplicationSets do.
func normalize(s string) string {
	s = strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' {
			return c
		}
		return '-'
	}, strings.ToLower(s))
	return strings.Trim(s[:min(len(s), 253)], "-.")
}
