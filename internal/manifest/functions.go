package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// functions are the guard's own, and those of Helm's that could make much out
// of little, answer differently every time, or end in an order that is not
// settled. They do what Helm's do, within the budget.
func (b *budget) functions() template.FuncMap {
	f := template.FuncMap{
		guardEnter: b.enter,
		guardLeave: b.leave,
		guardStep:  b.step,
		guardKeep:  b.keep,
		guardWalk:  func(v reflect.Value) (reflect.Value, error) { return b.deep(1, v) },
		guardDeep:  b.deep,
		guardTpl:   b.tpl,
		guardGlob:  b.glob,
		guardSmall: b.small,

		"repeat":    b.repeat,
		"until":     b.until,
		"untilStep": b.untilStep,
		"seq":       b.seq,
		"indent":    b.indent,
		"nindent":   func(n int, s string) (string, error) { s, err := b.indent(n, s); return "\n" + s, err },
		"replace":   b.replace,
		"join":      b.join,
		"split":     func(sep, s string) (map[string]string, error) { return b.split(sep, -1, s) },
		"splitn":    b.split,
		"printf":    b.printf,
		"keys":      sortedKeys,
		"values":    sortedValues,
		"lookup":    func(_, _, _, _ string) map[string]any { return map[string]any{} },

		"regexMatch": func(expr, s string) (bool, error) {
			ok, _ := b.regexMatch(expr, s)
			return ok, b.exceeded()
		},
		"mustRegexMatch":             b.regexMatch,
		"regexFind":                  b.regexFind,
		"mustRegexFind":              b.regexFind,
		"regexFindAll":               b.regexFindAll,
		"mustRegexFindAll":           b.regexFindAll,
		"regexReplaceAll":            b.regexReplaceAll,
		"mustRegexReplaceAll":        b.regexReplaceAll,
		"regexReplaceAllLiteral":     b.regexReplaceLiteral,
		"mustRegexReplaceAllLiteral": b.regexReplaceLiteral,
		"regexSplit":                 b.regexSplit,
		"mustRegexSplit":             b.regexSplit,
	}
	maps.Copy(f, b.randomFunctions())
	maps.Copy(f, b.timeFunctions())
	if b.lenient {
		f["required"] = func(_ string, v any) any { return v }
		f["fail"] = func(string) string { return "" }
	}
	return f
}

// tpl guards a template that is a value.
func (b *budget) tpl(text string) (string, error) {
	if err := b.text(len(text)); err != nil {
		return "", err
	}
	// The engine copies all templates and functions, and parses the text.
	if err := b.spend(300+int64(len(text)/4), 4<<10+12*int64(len(text))); err != nil {
		return "", err
	}
	return guardTemplate("a template that is a value", text)
}

// glob bounds a pattern of .Files.Glob.
func (b *budget) glob(pattern string) (string, error) {
	if len(pattern) > 256 || strings.Count(pattern, "*") > 8 || strings.Count(pattern, ",") > 32 || strings.Count(pattern, "{") > 4 {
		return "", b.refuse("a pattern of .Files.Glob is too long or has too many wildcards")
	}
	return pattern, b.spend(1000, 0)
}

// small bounds what costly functions get.
func (b *budget) small(bound int, v reflect.Value) (reflect.Value, error) {
	x := v
	for x.IsValid() && x.Kind() == reflect.Interface {
		x = x.Elem()
	}
	if x.IsValid() && x.Kind() == reflect.String && x.Len() > bound {
		return v, b.refuse("a function gets more than %d KiB", bound>>10)
	}
	return v, b.spend(20, 0)
}

func (b *budget) repeat(n int, s string) (string, error) {
	if n < 0 {
		return "", errors.New("repeat: negative count")
	}
	if err := b.product(n, len(s)); err != nil {
		return "", err
	}
	return strings.Repeat(s, n), nil
}

// product refuses a text of n times m bytes when it is too long.
func (b *budget) product(n, m int) error {
	if n > 0 && m > maxText/n {
		return b.text(maxText + 1)
	}
	return nil
}

func (b *budget) until(n int) ([]int, error) { return b.untilStep(0, n, cmp.Or(cmp.Compare(n, 0), 1)) }

func (b *budget) untilStep(start, stop, step int) ([]int, error) {
	out := []int{}
	if step == 0 || stop < start && step > 0 || stop > start && step < 0 {
		return out, nil
	}
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if len(out) >= maxList {
			return nil, b.refuse("the templates make a list of more than %d elements", maxList)
		}
		out = append(out, i)
	}
	return out, nil
}

func (b *budget) seq(params ...int) (string, error) {
	start, step := 1, 1
	switch len(params) {
	case 1:
	case 2:
		start = params[0]
	case 3:
		start, step = params[0], params[1]
	default:
		return "", nil
	}
	end, last := params[len(params)-1], 1
	if end < start {
		if last = -1; len(params) < 3 {
			step = -1
		} else if step > 0 {
			return "", nil
		}
	}
	list, err := b.untilStep(start, end+last, step)
	if err != nil {
		return "", err
	}
	return strings.Trim(fmt.Sprint(list), "[]"), nil
}

func (b *budget) indent(n int, s string) (string, error) {
	if n < 0 {
		return "", errors.New("indent: negative count")
	}
	if err := b.product(n, 1+strings.Count(s, "\n")); err != nil {
		return "", err
	}
	pad := strings.Repeat(" ", n)
	return pad + strings.ReplaceAll(s, "\n", "\n"+pad), nil
}

func (b *budget) replace(old, new, s string) (string, error) {
	if err := b.product(strings.Count(s, old), len(new)); err != nil {
		return "", err
	}
	return strings.ReplaceAll(s, old, new), nil
}

func (b *budget) join(sep string, v any) (string, error) {
	parts := texts(v)
	if err := b.product(len(parts), len(sep)); err != nil {
		return "", err
	}
	return strings.Join(parts, sep), nil
}

// texts are the elements of a list as texts, without those that are nil.
func texts(v any) []string {
	out := []string{}
	switch v := v.(type) {
	case nil:
		return out
	case []string:
		return v
	}
	if r := reflect.ValueOf(v); r.Kind() == reflect.Slice || r.Kind() == reflect.Array {
		for i := range r.Len() {
			if e := r.Index(i).Interface(); e != nil {
				out = append(out, textOf(e))
			}
		}
		return out
	}
	return []string{textOf(v)}
}

func textOf(v any) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return fmt.Sprint(v)
}

func (b *budget) split(sep string, n int, s string) (map[string]string, error) {
	if count := strings.Count(s, sep); count > maxList/10 && (n < 0 || n > maxList/10) {
		return nil, b.refuse("the templates split a text into more than %d parts", maxList/10)
	}
	out := map[string]string{}
	for i, part := range strings.SplitN(s, sep, n) {
		out["_"+strconv.Itoa(i)] = part
	}
	return out, nil
}

var wideVerb = regexp.MustCompile(`%[^a-zA-Z%]*[0-9*]{5}|%[^a-zA-Z%]*\*`)

func (b *budget) printf(format string, args ...any) (string, error) {
	if wideVerb.MatchString(format) || strings.Count(format, "%") > maxVerbs {
		return "", b.refuse("printf has more than %d verbs, or one with a width of more than four digits or that is not written out", maxVerbs)
	}
	return fmt.Sprintf(format, args...), nil
}

// sortedKeys has an order, which keys in Helm does not have.
func sortedKeys(dicts ...map[string]any) []string {
	out := []string{}
	for _, d := range dicts {
		out = append(out, slices.Sorted(maps.Keys(d))...)
	}
	return out
}

func sortedValues(dict map[string]any) []any {
	out := []any{}
	for _, k := range slices.Sorted(maps.Keys(dict)) {
		out = append(out, dict[k])
	}
	return out
}

// regex compiles an expression and charges for running it over s: its machine
// takes a step of each instruction for each byte, about 15 ns. To find every
// match it may look at the rest of the text again after each of them.
func (b *budget) regex(expr, s string, every bool) (*regexp.Regexp, error) {
	if len(expr) > 8<<10 {
		return nil, b.refuse("a regular expression is longer than 8 KiB")
	}
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, err
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, err
	}
	bytes := 8 + int64(len(s))
	if every {
		bytes *= 1 + int64(len(s))/8
	}
	if err := b.spend(int64(len(prog.Inst))*(bytes/7), int64(len(prog.Inst))*64); err != nil {
		return nil, err
	}
	return regexp.Compile(expr)
}

func (b *budget) regexMatch(expr, s string) (bool, error) {
	r, err := b.regex(expr, s, false)
	if err != nil {
		return false, err
	}
	return r.MatchString(s), nil
}

func (b *budget) regexFind(expr, s string) (string, error) {
	r, err := b.regex(expr, s, false)
	if err != nil {
		return "", err
	}
	return r.FindString(s), nil
}

func (b *budget) regexFindAll(expr, s string, n int) ([]string, error) {
	r, err := b.regex(expr, s, true)
	if err != nil {
		return []string{}, err
	}
	if n < 0 || n > maxList {
		n = maxList + 1
	}
	return r.FindAllString(s, n), nil
}

func (b *budget) regexSplit(expr, s string, n int) ([]string, error) {
	r, err := b.regex(expr, s, true)
	if err != nil {
		return []string{}, err
	}
	return r.Split(s, n), nil
}

func (b *budget) regexReplaceAll(expr, s, repl string) (string, error) {
	r, err := b.regexReplacing(expr, s, repl, strings.Count(repl, "$"))
	if err != nil {
		return "", err
	}
	return r.ReplaceAllString(s, repl), nil
}

func (b *budget) regexReplaceLiteral(expr, s, repl string) (string, error) {
	r, err := b.regexReplacing(expr, s, repl, 0)
	if err != nil {
		return "", err
	}
	return r.ReplaceAllLiteralString(s, repl), nil
}

// regexReplacing refuses a replacement that could become too long: each match
// becomes repl, and each of its references at most the whole text.
func (b *budget) regexReplacing(expr, s, repl string, references int) (*regexp.Regexp, error) {
	r, err := b.regex(expr, s, true)
	if err != nil {
		return nil, err
	}
	if err := b.product(len(r.FindAllStringIndex(s, -1)), len(repl)); err != nil {
		return nil, err
	}
	return r, b.product(references, len(s))
}
