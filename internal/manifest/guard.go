package manifest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"
)

// Names of the functions that are woven into templates. A template that uses
// one itself is refused.
const (
	guardPrefix = "ck_"
	guardEnter  = guardPrefix + "enter" // begins a template
	guardLeave  = guardPrefix + "leave" // ends it
	guardStep   = guardPrefix + "step"  // begins a round of a loop
	guardKeep   = guardPrefix + "keep"  // charges for what a function made
	guardWalk   = guardPrefix + "walk"  // charges for what a function will walk through
	guardDeep   = guardPrefix + "deep"  // likewise, many times
	guardTpl    = guardPrefix + "tpl"   // guards a template that is a value
	guardGlob   = guardPrefix + "glob"  // bounds a pattern
	guardSmall  = guardPrefix + "small" // bounds a text or a number
)

// Bounds of one template file.
const (
	maxActions = 30_000 // openings of {{
	maxBlocks  = 100    // nesting of blocks and parentheses
)

// shallow are the functions that look at their arguments but not at what those
// hold, and hand out what there is already, or something small.
var shallow = nameSet(`and or not len index slice eq ne lt le gt ge default empty coalesce ternary all any get hasKey
	kindIs kindOf typeOf typeIs typeIsLike first mustFirst last mustLast required fail lookup set unset dict list tuple
	pick omit dig int int64 float64 atoi add sub mul div mod add1 max min biggest addf subf mulf divf add1f maxf minf
	ceil floor round`)

// makers look at their arguments no deeper, but make something of a size that
// counts.
var makers = nameSet(`include tpl append push mustAppend mustPush prepend mustPrepend rest mustRest initial
	mustInitial reverse mustReverse keys values pluck compact mustCompact chunk mustChunk`)

// weighty functions make or take many times what their arguments hold: the
// arguments are charged so often.
var weighty = map[string]int{
	"fromYaml": 16, "fromYamlArray": 16, "fromJson": 8, "fromJsonArray": 8, "mustFromJson": 8, "fromToml": 16,
	"toYaml": 4, "mustToYaml": 4, "toYamlPretty": 4, "toToml": 4, "mustToToml": 4, "deepCopy": 2, "mustDeepCopy": 2,
	"quote": 2, "squote": 2, "html": 4, "js": 4, "urlquery": 3, "splitList": 4,
}

// small functions take arguments up to so many bytes only: what they make
// grows with the product of their arguments, or they call themselves for each.
var small = map[string]int{"fromToml": 64 << 10, "wrapWith": 8 << 10, "semver": 1 << 10, "semverCompare": 1 << 10}

// walkers are methods without arguments that walk through what they stand on.
var walkers = nameSet("YAML AsConfig AsSecrets")

func nameSet(names string) map[string]bool {
	set := map[string]bool{}
	for _, n := range strings.Fields(names) {
		set[n] = true
	}
	return set
}

// guardTemplate returns the text of a template with the guard woven in. Its
// lines keep their numbers.
func guardTemplate(name, text string) (string, error) {
	if n := strings.Count(text, "{{"); n == 0 {
		return guardPlain(text), nil
	} else if n > maxActions {
		return "", fmt.Errorf("%s has more than %d actions", name, maxActions)
	}
	trees := map[string]*parse.Tree{}
	t := parse.New(name)
	t.Mode = parse.SkipFuncCheck
	if _, err := t.Parse(text, "", "", trees); err != nil {
		return "", err
	}
	w := weaver{}
	p := printer{line: 1}
	type part struct {
		name string
		tree *parse.Tree
	}
	var defines []part
	for n, tree := range trees {
		if tree.Root == nil {
			continue
		}
		if !parse.IsEmptyTree(tree.Root) {
			w.body(tree.Root)
		}
		if n != name {
			defines = append(defines, part{n, tree})
		}
	}
	if w.err != nil {
		return "", fmt.Errorf("%s: %w", name, w.err)
	}
	// Definitions stand between the nodes of the file, so that every line keeps
	// its number.
	slices.SortFunc(defines, func(a, b part) int {
		if d := int(a.tree.Root.Pos) - int(b.tree.Root.Pos); d != 0 {
			return d
		}
		return strings.Compare(a.name, b.name)
	})
	define := func(d part) {
		p.action(p.line, "define "+strconv.Quote(d.name))
		p.list(d.tree.Root)
		p.action(p.line, "end")
	}
	if root := trees[name]; root != nil && root.Root != nil {
		for _, n := range root.Root.Nodes {
			for len(defines) > 0 && defines[0].tree.Root.Pos < n.Position() {
				define(defines[0])
				defines = defines[1:]
			}
			p.node(n)
		}
	}
	for _, d := range defines {
		define(d)
	}
	return p.b.String(), nil
}

// guardPlain guards a file without actions. What is only space stays so: the
// engine tells it from a template that says something.
func guardPlain(text string) string {
	if strings.TrimSpace(text) == "" {
		return text
	}
	return fmt.Sprintf("{{%s %d 1}}%s", guardStep, len(text), text)
}

// weaver weaves the guard into syntax trees.
type weaver struct {
	depth int
	err   error
}

func (w *weaver) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

// down goes one level deeper for the time of f.
func (w *weaver) down(f func()) {
	if w.depth++; w.depth > maxBlocks {
		w.fail("blocks and parentheses are nested deeper than %d", maxBlocks)
	}
	if w.err == nil {
		f()
	}
	w.depth--
}

// body guards a whole template.
func (w *weaver) body(l *parse.ListNode) {
	bytes, nodes := w.list(l)
	l.Nodes = slices.Insert(l.Nodes, 0, parse.Node(call(guardEnter, bytes, nodes)))
	l.Nodes = append(l.Nodes, call(guardLeave))
}

// list guards the nodes of a list, and returns the bytes of text and the nodes
// in it, those of loops excepted.
func (w *weaver) list(l *parse.ListNode) (bytes, nodes int) {
	if l == nil {
		return 0, 0
	}
	more := func(l *parse.ListNode) {
		w.down(func() {
			b, n := w.list(l)
			bytes, nodes = bytes+b, nodes+n
		})
	}
	for _, n := range l.Nodes {
		nodes++
		switch n := n.(type) {
		case *parse.TextNode:
			bytes += len(n.Text)
		case *parse.ActionNode:
			nodes += w.pipe(n.Pipe, len(n.Pipe.Decl) == 0)
		case *parse.TemplateNode:
			if n.Pipe != nil {
				nodes += w.pipe(n.Pipe, false)
			}
		case *parse.IfNode:
			nodes += w.pipe(n.Pipe, false)
			more(n.List)
			more(n.ElseList)
		case *parse.WithNode:
			nodes += w.pipe(n.Pipe, false)
			more(n.List)
			more(n.ElseList)
		case *parse.RangeNode:
			nodes += w.pipe(n.Pipe, false)
			w.down(func() {
				b, k := w.list(n.List)
				n.List.Nodes = slices.Insert(n.List.Nodes, 0, parse.Node(call(guardStep, b, k)))
			})
			more(n.ElseList)
		case *parse.BreakNode, *parse.ContinueNode:
		default:
			w.fail("there is an action of an unknown type: %s", n)
		}
	}
	return bytes, nodes
}

// pipe guards the commands of a pipeline and returns how many nodes it has.
// What is printed is walked through by the printing.
func (w *weaver) pipe(p *parse.PipeNode, printed bool) (nodes int) {
	w.down(func() {
		var out []*parse.CommandNode
		for i, c := range p.Cmds {
			in, made := w.command(c)
			nodes += 1 + len(c.Args)
			for _, a := range c.Args {
				nodes += size(a)
			}
			if i > 0 && in != "" {
				out = append(unkept(out, in), command(in, weightOf(c)))
			}
			if out = append(out, c); made {
				out = append(out, command(guardKeep, 0))
			}
		}
		if printed {
			out = append(unkept(out, guardDeep), command(guardDeep, 1))
		}
		p.Cmds = out
	})
	return nodes
}

// unkept drops the guard of the last value where the next charges for it too.
func unkept(cmds []*parse.CommandNode, next string) []*parse.CommandNode {
	last := len(cmds) - 1
	if f, ok := cmds[last].Args[0].(*parse.IdentifierNode); ok && f.Ident == guardKeep && next == guardDeep {
		return cmds[:last]
	}
	return cmds
}

// size is the number of commands within an operand.
func size(n parse.Node) int {
	switch n := n.(type) {
	case *parse.PipeNode:
		k := 0
		for _, c := range n.Cmds {
			k += 1 + len(c.Args)
			for _, a := range c.Args {
				k += size(a)
			}
		}
		return k
	case *parse.ChainNode:
		return 1 + size(n.Node)
	}
	return 0
}

// command guards the operands of a command. It returns the guard for what is
// piped into it, and whether what it makes counts.
func (w *weaver) command(c *parse.CommandNode) (in string, made bool) {
	weight := weightOf(c)
	switch f := c.Args[0].(type) {
	case *parse.IdentifierNode:
		if strings.HasPrefix(f.Ident, guardPrefix) {
			w.fail("function %q not defined", f.Ident)
		}
		switch {
		case small[f.Ident] > 0:
			in = guardSmall
		case !shallow[f.Ident] && !makers[f.Ident]:
			in = guardDeep
		}
		made = !shallow[f.Ident]
		for i, a := range c.Args[1:] {
			guard := in
			if f.Ident == "tpl" && i == 0 {
				guard = guardTpl
			}
			c.Args[i+1] = w.operand(a, guard, weight)
		}
		return in, made
	case *parse.FieldNode:
		in = guardOfMethod(f.Ident)
	case *parse.VariableNode:
		in = guardOfMethod(f.Ident)
	case *parse.ChainNode:
		in = guardOfMethod(f.Field)
	}
	for i, a := range c.Args[1:] {
		c.Args[i+1] = w.operand(a, in, weight)
	}
	c.Args[0] = w.operand(c.Args[0], "", 1)
	return in, in != ""
}

// weightOf is the number for the guard of a command: its weight, or its bound.
func weightOf(c *parse.CommandNode) int {
	if f, ok := c.Args[0].(*parse.IdentifierNode); ok {
		return max(weighty[f.Ident], small[f.Ident], 1)
	}
	return 1
}

// guardOfMethod is the guard for the arguments of a method.
func guardOfMethod(path []string) string {
	if path[len(path)-1] == "Glob" {
		return guardGlob
	}
	return guardDeep
}

// operand guards what stands within an operand, and what it comes to.
func (w *weaver) operand(n parse.Node, guard string, weight int) parse.Node {
	constant := false
	switch x := n.(type) {
	case *parse.PipeNode:
		w.pipe(x, false)
	case *parse.ChainNode:
		w.down(func() { x.Node = w.operand(x.Node, "", 1) })
		n = walk(x.Node, nil, x.Field, n)
	case *parse.FieldNode:
		n = walk(nil, &parse.FieldNode{NodeType: parse.NodeField}, x.Ident, n)
	case *parse.VariableNode:
		n = walk(&parse.VariableNode{NodeType: parse.NodeVariable, Ident: x.Ident[:1]}, nil, x.Ident[1:], n)
	case *parse.IdentifierNode:
		// A function without arguments as an argument: a call.
		if strings.HasPrefix(x.Ident, guardPrefix) {
			w.fail("function %q not defined", x.Ident)
		}
	case *parse.DotNode:
	case *parse.NilNode:
		return n
	default:
		constant = true
	}
	switch {
	case guard == "" || constant && guard == guardDeep:
		return n
	}
	return pipe(&parse.CommandNode{NodeType: parse.NodeCommand, Args: []parse.Node{n}}, command(guard, weight))
}

// walk puts the guard before a method that walks through what it stands on: in
// .Values.YAML after .Values. Of a field, base is nil and field begins it.
func walk(base parse.Node, field *parse.FieldNode, path []string, whole parse.Node) parse.Node {
	i := slices.IndexFunc(path, func(s string) bool { return walkers[s] })
	if i < 0 {
		return whole
	}
	switch {
	case field != nil && i == 0:
		base = &parse.DotNode{NodeType: parse.NodeDot}
	case field != nil:
		field.Ident = path[:i]
		base = field
	case i > 0:
		base = &parse.ChainNode{NodeType: parse.NodeChain, Node: base, Field: path[:i]}
	}
	guarded := pipe(&parse.CommandNode{NodeType: parse.NodeCommand, Args: []parse.Node{base}}, command(guardDeep, 4))
	return &parse.ChainNode{NodeType: parse.NodeChain, Node: guarded, Field: path[i:]}
}

func pipe(cmds ...*parse.CommandNode) *parse.PipeNode {
	return &parse.PipeNode{NodeType: parse.NodePipe, Cmds: cmds}
}

// command is a call of a guard in a pipeline.
func command(name string, weight int) *parse.CommandNode {
	if name == guardDeep && weight <= 1 {
		name = guardWalk
	}
	c := &parse.CommandNode{NodeType: parse.NodeCommand, Args: []parse.Node{parse.NewIdentifier(name)}}
	if name == guardDeep || name == guardSmall {
		c.Args = append(c.Args, number(weight))
	}
	return c
}

// call is an action that calls a guard.
func call(name string, args ...int) *parse.ActionNode {
	c := &parse.CommandNode{NodeType: parse.NodeCommand, Args: []parse.Node{parse.NewIdentifier(name)}}
	for _, a := range args {
		c.Args = append(c.Args, number(a))
	}
	return &parse.ActionNode{NodeType: parse.NodeAction, Pipe: pipe(c)}
}

func number(n int) *parse.NumberNode {
	return &parse.NumberNode{NodeType: parse.NodeNumber, Text: strconv.Itoa(n)}
}

// printer writes syntax trees as text again. Where trimming took lines away, it
// puts them inside the next action, so that lines keep their numbers.
type printer struct {
	b    strings.Builder
	line int // where the next byte is written
}

func (p *printer) action(line int, text string) {
	p.b.WriteString("{{")
	for ; p.line < line; p.line++ {
		p.b.WriteByte('\n')
	}
	p.b.WriteString(text)
	p.line += strings.Count(text, "\n")
	p.b.WriteString("}}")
}

func (p *printer) list(l *parse.ListNode) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		p.node(n)
	}
}

func (p *printer) node(n parse.Node) {
	switch n := n.(type) {
	case *parse.TextNode:
		// A brace before an action would become part of its delimiter.
		text := strings.TrimRight(string(n.Text), "{")
		p.b.WriteString(text)
		p.line += strings.Count(text, "\n")
		for range len(n.Text) - len(text) {
			p.action(p.line, `"{"`)
		}
	case *parse.ActionNode:
		p.action(n.Line, n.Pipe.String())
	case *parse.TemplateNode:
		text := "template " + strconv.Quote(n.Name)
		if n.Pipe != nil {
			text += " " + n.Pipe.String()
		}
		p.action(n.Line, text)
	case *parse.IfNode:
		p.branch("if ", &n.BranchNode)
	case *parse.WithNode:
		p.branch("with ", &n.BranchNode)
	case *parse.RangeNode:
		p.branch("range ", &n.BranchNode)
	case *parse.BreakNode:
		p.action(n.Line, "break")
	case *parse.ContinueNode:
		p.action(n.Line, "continue")
	}
}

func (p *printer) branch(keyword string, n *parse.BranchNode) {
	p.action(n.Line, keyword+n.Pipe.String())
	p.list(n.List)
	if n.ElseList != nil {
		p.action(p.line, "else")
		p.list(n.ElseList)
	}
	p.action(p.line, "end")
}

var (
	wovenPipe  = regexp.MustCompile(` \| ` + guardPrefix + `\w+( \d+)?`)
	wovenPlace = regexp.MustCompile(`(\.\w+:\d+):\d+`)
)

// unweave takes the guard out of the message of an error, and columns, which
// are those of the guarded text.
func unweave(err error) error {
	return errors.New(wovenPlace.ReplaceAllString(wovenPipe.ReplaceAllString(err.Error(), ""), "$1"))
}
