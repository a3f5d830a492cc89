package notes

import (
	"bytes"
	"regexp"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
)

// statements is the parser of notes. It keeps no state between texts.
var statements = goldmark.New(goldmark.WithExtensions(extension.Table)).Parser()

// unit is one statement of a text: a heading, a paragraph, a list item, a row.
type unit struct {
	said  []byte // the words, without the marks of Markdown
	prose []byte // the same in lower case, with code and the like blanked; as long as said
	from  []span // where the pieces of said come from, by at
	links []link // identifiers that only the target of a link names
	class class  // of the headings and labels above
}

// span says that said comes from a line from an offset on.
type span struct{ at, line int }

// link is the identifier of an advisory to which the words before at lead.
type link struct {
	at int
	id string
}

// line is the line of an offset in said.
func (u *unit) line(at int) int {
	i := sort.Search(len(u.from), func(i int) bool { return u.from[i].at > at })
	if i == 0 {
		return 0
	}
	return u.from[i-1].line
}

// document is a text on its way to its units.
type document struct {
	*reader
	src   []byte
	lines []int // offsets at which lines begin
	first int   // number of the first line
}

// markdown reads a text of which the first line has a number, and that stands
// under a class.
func (r *reader) markdown(words string, first int, under class) {
	d := &document{reader: r, src: r.bounded(words), first: first}
	d.lines = append(d.lines, 0)
	for i, c := range d.src {
		if c == '\n' {
			d.lines = append(d.lines, i+1)
		}
	}
	var s scope
	s.set(0, under)
	d.blocks(statements.Parse(text.NewReader(d.src)), &s)
}

// maxDepth bounds how deep quotes and lists may be nested in a line: its first
// characters are no deeper than this.
const maxDepth = 32

// bounded cuts a text to its limits. Lines keep their numbers.
func (r *reader) bounded(s string) []byte {
	if len(s) > r.lim.Release {
		s = s[:r.lim.Release]
		r.leaveOut("the release has more text than is read")
	}
	var b bytes.Buffer
	b.Grow(len(s))
	defined, links := 0, 0 // of the release; of the paragraph
	var t title
	for line := range strings.Lines(s) {
		if len(line) > r.lim.Line {
			line = line[:r.lim.Line] + "\n"
			r.leaveOut("a line is longer than is read")
		}
		switch mark := strings.TrimLeft(line, " \t>"); {
		case definition(mark):
			if defined++; defined > maxDefinitions {
				line = "\n"
				r.leaveOut("the release has more link definitions than are read")
			}
		default:
			if mark == "\n" || bulletMark(mark) > 0 || strings.HasPrefix(mark, "|") {
				links = 0
			}
			if links += strings.Count(line, "["); links > maxLinks {
				line = strings.ReplaceAll(line, "[", "(")
				r.leaveOut("a paragraph has more links than are read")
			}
		}
		marks := 0
		for i := 0; i < len(line) && strings.IndexByte(" \t>*+-", line[i]) >= 0; i++ {
			if line[i] == '>' || line[i] != ' ' && line[i] != '\t' && i+1 < len(line) && line[i+1] == ' ' {
				if marks++; marks > maxDepth {
					line = line[i:]
					r.leaveOut("a line is nested deeper than is read")
					break
				}
			}
		}
		if t.underlined(line) {
			b.Truncate(t.at)
			b.WriteString("#### " + t.words)
			line = "\n"
		}
		t.next(line, b.Len())
		b.WriteString(line)
	}
	return b.Bytes()
}

// title is what may be the title of a section of reStructuredText: a line alone,
// with a line of one mark below. Markdown takes one of ~ for the fence of code,
// and would lose what is below.
type title struct {
	words string // the line before, with its end; "" for one that is no title
	at    int    // where it begins in the text
	empty bool   // the line before is empty, or there is none
	begun bool
	fence string // of the code that the lines are in
}

// underlined says that a line is what stands below the title.
func (t *title) underlined(line string) bool {
	line = strings.TrimRight(line, " \t\r\n")
	return t.fence == "" && t.words != "" && len(line) >= 3 && strings.IndexByte("~^\"+*.'#", line[0]) >= 0 &&
		strings.Trim(line, line[:1]) == "" && len(line) >= utf8.RuneCountInString(strings.TrimSpace(t.words))
}

// next takes a line, which begins at an offset.
func (t *title) next(line string, at int) {
	said := strings.TrimSpace(line)
	alone := t.empty || !t.begun
	t.begun, t.empty, t.words, t.at = true, said == "", "", at
	switch mark := said[:min(3, len(said))]; {
	case t.fence != "":
		if mark == t.fence {
			t.fence = ""
		}
	case mark == "```" || mark == "~~~":
		t.fence = mark
	case alone && said != "" && line[0] != ' ' && line[0] != '\t' && line[0] != '#' && line[0] != '>' && line[0] != '|' && bulletMark(line) == 0:
		t.words = line
	}
}

// The parser's work grows with the square of the link definitions of a text,
// and of the links of a paragraph.
const (
	maxDefinitions = 2000
	maxLinks       = 500
)

// definition says that a line may be a link definition.
func definition(line string) bool {
	return strings.HasPrefix(line, "[") && strings.Contains(line, "]:")
}

// lineOf is the number of the line of an offset.
func (d *document) lineOf(at int) int {
	return d.first + sort.Search(len(d.lines), func(i int) bool { return d.lines[i] > at }) - 1
}

// scope is what the headings above say. A label below the headings ("SECURITY:"
// above a list) is a heading of the last level.
type scope struct{ level [8]class }

func (s *scope) set(level int, c class) {
	s.level[level] = c
	clear(s.level[level+1:])
}

// class is that of the nearest heading that has one. What is below a heading of
// security, or of what is not repaired, stays that.
func (s *scope) class() class {
	var near class
	var kept class
	for _, c := range s.level {
		if c != 0 {
			near = c
		}
		kept |= c & (classSecurity | classRepairs | classKnown)
	}
	return near | kept
}

// blocks reads what is below a node.
func (d *document) blocks(parent ast.Node, s *scope) {
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		switch n := n.(type) {
		case *ast.Heading:
			u := d.inline(n)
			c := classOf(u)
			if c == 0 || bytes.ContainsAny(u.said, "0123456789") { // else it is about what is below, if anything is
				d.judge(u)
			}
			s.set(min(n.Level, 6), c)
		case *ast.Paragraph, *ast.TextBlock:
			u := d.inline(n)
			c, ok := d.label(n, u)
			if ok {
				s.set(7, c)
			} else if of, ok := fields(u); ok {
				s.set(7, of)
				if u.prose[0] == '.' || u.prose[0] == ':' {
					continue // the fields alone
				}
			} else if n.PreviousSibling() == nil && n.NextSibling() != nil && parent.Kind() == ast.KindListItem {
				c = classOf(u) // what item has set
			}
			if c != 0 { // a heading in all but its marks
				if bytes.ContainsAny(u.said, "0123456789") {
					d.judge(u)
				}
				continue
			}
			u.class = s.class()
			d.judge(u)
		case *ast.List:
			inner := *s
			d.blocks(n, &inner)
		case *ast.ListItem:
			d.item(n, s)
		case *ast.Blockquote:
			inner := *s
			d.blocks(n, &inner)
		case *ast.CodeBlock:
			d.plain(n, s)
		case *ast.FencedCodeBlock:
			if n.Info != nil && directive.Match(n.Info.Value(d.src)) {
				d.plain(n, s)
			}
		case *ast.HTMLBlock:
			if first := n.Lines(); first.Len() > 0 {
				at := first.At(0)
				if !bytes.HasPrefix(bytes.TrimSpace(at.Value(d.src)), []byte("<!--")) {
					d.plain(n, s)
				}
			}
		case *extast.Table:
			for row := n.FirstChild(); row != nil; row = row.NextSibling() {
				if row.Kind() != extast.KindTableHeader {
					d.row(row, s)
				}
			}
		}
	}
}

// about is a field of reStructuredText that says what the entry below is about.
var about = regexp.MustCompile(`(?:^| ):(?:tags?|type|kind|category): ([^:]+)`)

// fields is the class that the fields above an entry give it.
func fields(u *unit) (class, bool) {
	if !bytes.Contains(u.prose, []byte(": ")) {
		return 0, false
	}
	m := about.FindSubmatch(u.prose)
	if m == nil {
		return 0, false
	}
	var c class
	for name := range bytes.SplitSeq(m[1], []byte(",")) {
		c |= classOf(&unit{prose: name})
	}
	return c, true
}

// item reads a list item. One that only has a heading's words, with a list
// below, is a heading.
func (d *document) item(n *ast.ListItem, s *scope) {
	inner := *s
	if first := n.FirstChild(); first != nil && first.NextSibling() != nil && (first.Kind() == ast.KindTextBlock || first.Kind() == ast.KindParagraph) {
		if c := classOf(d.inline(first)); c != 0 {
			inner.set(7, c)
		}
	}
	d.blocks(n, &inner)
	// A label set in behind the last item of a list is that of the next list.
	if last := n.LastChild(); last != n.FirstChild() && last.Kind() == ast.KindParagraph {
		if c, ok := d.label(last, d.inline(last)); ok {
			s.set(7, c)
		}
	}
}

// row reads a row of a table as one statement.
func (d *document) row(n ast.Node, s *scope) {
	u := &unit{class: s.class()}
	for cell := n.FirstChild(); cell != nil; cell = cell.NextSibling() {
		if len(u.said) > 0 {
			u.write(" | ", 0, 0)
		}
		d.spans(cell, u)
	}
	d.judge(u)
}

// inline is what the spans of a block say.
func (d *document) inline(n ast.Node) *unit {
	u := &unit{}
	d.spans(n, u)
	return u
}

// write adds words that begin on a line (0 for that of the words before). What
// is no prose is blanked there.
func (u *unit) write(words string, line int, blanked byte) {
	if line > 0 && (len(u.from) == 0 || u.from[len(u.from)-1].line != line) {
		u.from = append(u.from, span{len(u.said), line})
	}
	words = typography.Replace(words)
	u.said = append(u.said, words...)
	for i := range len(words) {
		c := words[i]
		switch {
		case blanked != 0:
			c = blanked
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c < ' ':
			c = ' '
		}
		u.prose = append(u.prose, c)
	}
}

// These stand in prose for what is none.
const (
	blank       byte = 1 // code, a path, a name
	blankURL    byte = 2
	sentenceEnd byte = 3
)

// typography writes quotes and hyphens in ASCII, which rules are written in.
var typography = strings.NewReplacer("’", "'", "‘", "'", "“", `"`, "”", `"`, "‑", "-", "‐", "-", "\u00a0", " ", "→", "->", "➜", "->", "⇒", "->")

// spans adds what is below a node to a unit.
func (d *document) spans(parent ast.Node, u *unit) {
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		switch n := n.(type) {
		case *ast.Text:
			u.write(string(n.Value(d.src)), d.lineOf(n.Segment.Start), 0)
			if n.SoftLineBreak() || n.HardLineBreak() {
				u.write(" ", 0, 0)
				d.bullet(n, u)
			}
		case *ast.String:
			u.write(string(n.Value), 0, 0)
		case *ast.CodeSpan:
			for t := n.FirstChild(); t != nil; t = t.NextSibling() {
				if t, ok := t.(*ast.Text); ok {
					u.write(string(t.Value(d.src)), d.lineOf(t.Segment.Start), blank)
				}
			}
		case *ast.AutoLink:
			u.write(string(n.URL(d.src)), 0, blankURL)
		case *ast.Link:
			before := len(u.said)
			d.spans(n, u)
			u.leadsTo(string(n.Destination), before)
		case *ast.Image, *ast.RawHTML:
		default:
			d.spans(n, u)
		}
	}
}

// bullet ends a sentence where the next line begins with a mark that Markdown
// does not take for that of a list.
func (d *document) bullet(n *ast.Text, u *unit) {
	if next, ok := n.NextSibling().(*ast.Text); ok && bytes.HasPrefix(next.Value(d.src), []byte("•")) {
		u.prose[len(u.prose)-1] = sentenceEnd
	}
}

// leadsTo records the advisory that a link leads to. Only a target that is the
// page of the advisory counts: such a link cites it, and often gives it another
// authority's name than its words do. The name of a branch, a comparison or a
// query may have an identifier too, and cites nothing.
func (u *unit) leadsTo(target string, before int) {
	if id := advisoryPage(target); id != "" {
		u.links = append(u.links, link{before, id})
	}
}

// advisoryPage is the advisory of which an address is the page, "" for none.
func advisoryPage(target string) string {
	target, _, _ = strings.Cut(target, "#")
	target, _, _ = strings.Cut(strings.TrimRight(target, "/"), "?")
	last := target[strings.LastIndexByte(target, '/')+1:]
	at := advisoryID.FindStringIndex(last)
	if at == nil || at[0] != 0 || at[1] != len(last) || !strings.Contains(target, "://") {
		return ""
	}
	return canonicalID(last)
}

// plain reads lines that Markdown takes for code or HTML: lists of plain text
// that are set in by four columns, and the like. A mark or an empty line begins
// a statement.
func (d *document) plain(n ast.Node, s *scope) {
	u := &unit{}
	flush := func() {
		if c, ok := d.label(nil, u); ok {
			s.set(7, c)
		}
		u.class = s.class()
		d.judge(u)
		u = &unit{}
	}
	for i := range n.Lines().Len() {
		segment := n.Lines().At(i)
		line := untagged(strings.TrimSpace(string(segment.Value(d.src))))
		mark := bulletMark(line)
		if line == "" || mark > 0 || issueMark.MatchString(line) {
			flush()
		}
		if len(u.said) > 0 {
			u.write(" ", 0, 0)
		}
		u.write(line[mark:], d.lineOf(segment.Start), 0)
	}
	flush()
}

// directive is what MyST and R Markdown have behind a fence around prose: a box
// that readers should see.
var directive = regexp.MustCompile(`(?i)^:{0,3}\{?(?:admonition|attention|caution|danger|error|hint|important|note|seealso|tip|warning|versionchanged|deprecated)\}?(?:\s|$)`)

// issueMark begins the items of lists that have the number of an issue for a
// mark.
var issueMark = regexp.MustCompile(`^(?:#\d+|\[#?\d+\])[:, ]`)

// bulletMark is the length of a list mark at the beginning of a line.
func bulletMark(line string) int {
	for _, m := range []string{"- ", "* ", "+ ", "• ", "*) ", "o "} {
		if strings.HasPrefix(line, m) {
			return len(m)
		}
	}
	return 0
}

// untagged is a line without tags of HTML.
func untagged(s string) string {
	if strings.IndexByte(s, '<') < 0 {
		return s
	}
	var b strings.Builder
	for s != "" {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			break
		}
		b.WriteString(s[:i])
		j := strings.IndexByte(s[i:], '>')
		if j < 0 {
			s = s[i+1:]
			break
		}
		s = s[i+j+1:]
	}
	return strings.TrimSpace(b.String() + s)
}
