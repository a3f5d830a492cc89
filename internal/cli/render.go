package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// result is what a command found out or did. Its exported fields are the JSON
// form.
type result interface {
	// schema names the JSON form, such as "push/v1".
	schema() string
	// keys are the lines of -q: what a script would want, such as a digest.
	keys() []string
	// view is the form for people.
	view() view
}

// view is a result for people: blocks from top to bottom.
type view []block

// block is one of three: facts, a table with a head, or a verbatim text.
type block struct {
	facts []fact
	head  []string
	rows  [][]string
	empty string // what to say instead of a table without rows
	text  string
	// markup says that the text is Markdown, which stays as it is in Markdown.
	markup bool
}

// whole is a view without the blocks in which there is nothing.
func (v view) whole() view {
	return slices.DeleteFunc(slices.Clone(v), func(b block) bool { return b.blank() })
}

// blank reports whether there is nothing to print, not even a word for it.
func (b *block) blank() bool {
	return len(b.facts)+len(b.head)+len(b.rows) == 0 && b.empty == "" && b.text == ""
}

type fact struct{ label, value string }

// The output forms.
const (
	formTable    = "table"
	formJSON     = "json"
	formYAML     = "yaml"
	formMarkdown = "markdown"
)

var forms = []string{formTable, formJSON, formYAML, formMarkdown}

// printer writes results.
type printer struct {
	out   io.Writer
	form  string
	quiet bool
	color bool
	width int // columns of the terminal; 0 where there is none
}

// print writes a result.
func (p *printer) print(r result) error {
	var b bytes.Buffer
	switch {
	case p.quiet:
		for _, key := range r.keys() {
			b.WriteString(strings.TrimSuffix(printableLines(key), "\n") + "\n")
		}
	case p.form == formJSON || p.form == formYAML:
		text, err := encodeJSON(r)
		if err != nil {
			return err
		}
		if p.form == formYAML {
			if text, err = yamlOf(text); err != nil {
				return err
			}
		}
		b.Write(text)
	case p.form == formSARIF || p.form == formJUnit:
		text, err := reportOf(r, p.form)
		if err != nil {
			return err
		}
		b.Write(text)
	case p.form == formMarkdown:
		r.view().whole().markdown(&b)
	default:
		p.table(&b, r.view().whole())
	}
	if _, err := p.out.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// encodeJSON is the indented JSON of a result with its schema in front.
func encodeJSON(r result) ([]byte, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	var whole bytes.Buffer
	fmt.Fprintf(&whole, `{"schema":%q`, r.schema())
	if rest := bytes.TrimSpace(body.Bytes())[1:]; !bytes.Equal(rest, []byte("}")) {
		whole.WriteByte(',')
		whole.Write(rest)
	} else {
		whole.WriteByte('}')
	}
	var out bytes.Buffer
	if err := json.Indent(&out, whole.Bytes(), "", "  "); err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	out.WriteByte('\n')
	return escapeJSON(out.Bytes()), nil
}

// escapeJSON escapes in JSON what printable escapes in text. Such characters
// stand in strings alone, since the encoder makes no others.
func escapeJSON(b []byte) []byte {
	if !bytes.ContainsFunc(b, func(r rune) bool { return r != '\n' && unprintable(r) }) {
		return b
	}
	var out bytes.Buffer
	for _, r := range string(b) {
		if r != '\n' && unprintable(r) {
			fmt.Fprintf(&out, `\u%04x`, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}

// table writes a view for a terminal or a pipe.
func (p *printer) table(b *bytes.Buffer, v view) {
	for i, bl := range v {
		if i > 0 {
			b.WriteByte('\n')
		}
		switch {
		case bl.facts != nil:
			writeFacts(b, bl.facts, "", p.width, p.color)
		case bl.head != nil && len(bl.rows) == 0:
			b.WriteString(bl.empty + "\n")
		case bl.head != nil:
			p.grid(b, bl)
		default:
			b.WriteString(strings.TrimSuffix(printableLines(bl.text), "\n") + "\n")
		}
	}
}

// writeFacts writes labels and values, the values in one column.
func writeFacts(b *bytes.Buffer, facts []fact, indent string, width int, color bool) {
	labels := 0
	for _, f := range facts {
		labels = max(labels, span(f.label))
	}
	left := len(indent) + labels + 2
	for _, f := range facts {
		value := printable(f.value)
		for i, line := range wrap(value, columnsAfter(width, left)) {
			if i > 0 {
				b.WriteString(strings.Repeat(" ", left) + line + "\n")
				continue
			}
			b.WriteString(strings.TrimRight(indent+pad(printable(f.label), labels)+"  "+paint(line, toneOf[value], color), " ") + "\n")
		}
	}
}

// leastColumns is what a column needs to be worth wrapping into.
const leastColumns = 24

// columnsAfter is how many columns are left for wrapping, 0 where there is no
// terminal or too little room.
func columnsAfter(width, left int) int {
	if width-left < leastColumns {
		return 0
	}
	return width - left
}

const gap = "  "

// grid writes a table. On a terminal that is too narrow, cells are wrapped.
func (p *printer) grid(b *bytes.Buffer, bl block) {
	rows := make([][]string, 1, len(bl.rows)+1)
	rows[0] = bl.head
	for _, row := range bl.rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = printable(cell)
		}
		rows = append(rows, cells)
	}
	widths := columnWidths(rows, p.width)
	for n, row := range rows {
		wrapped, lines := make([][]string, len(row)), 1
		for i, cell := range row {
			wrapped[i] = wrap(cell, widths[i])
			lines = max(lines, len(wrapped[i]))
		}
		for l := range lines {
			var s strings.Builder
			left := 0 // columns written, and those still to be filled up
			for i, cell := range row {
				if l < len(wrapped[i]) && wrapped[i][l] != "" {
					tone := toneOf[cell]
					if n == 0 {
						tone = toneDim
					}
					s.WriteString(strings.Repeat(" ", left) + paint(wrapped[i][l], tone, p.color))
					left = -span(wrapped[i][l])
				}
				left += widths[i] + len(gap)
			}
			b.WriteString(s.String() + "\n")
		}
	}
}

// columnWidths are the widths of a table's columns. Where they do not fit into
// the terminal (0 for none), the widest of those that can be wrapped become
// narrower, down to their longest word.
func columnWidths(rows [][]string, width int) []int {
	n := len(rows[0])
	widths, least := make([]int, n), make([]int, n)
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], span(cell))
			for word := range strings.SplitSeq(cell, " ") {
				least[i] = max(least[i], span(word))
			}
		}
	}
	if width <= 0 {
		return widths
	}
	over := (n-1)*len(gap) - width
	for _, w := range widths {
		over += w
	}
	for ; over > 0; over-- {
		widest := -1
		for i := range widths {
			if widths[i] > least[i] && (widest < 0 || widths[i] >= widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	return widths
}

// markdown writes a view for a job's summary page.
func (v view) markdown(b *bytes.Buffer) {
	row := func(cells []string) {
		b.WriteString("|")
		for _, c := range cells {
			b.WriteString(" " + markdownText(c) + " |")
		}
		b.WriteString("\n")
	}
	rule := func(n int) { b.WriteString("|" + strings.Repeat(" --- |", n) + "\n") }
	for i, bl := range v {
		if i > 0 {
			b.WriteByte('\n')
		}
		switch {
		case bl.facts != nil:
			row([]string{"", ""})
			rule(2)
			for _, f := range bl.facts {
				row([]string{f.label, f.value})
			}
		case bl.head != nil && len(bl.rows) == 0:
			b.WriteString(bl.empty + "\n")
		case bl.head != nil:
			row(bl.head)
			rule(len(bl.head))
			for _, r := range bl.rows {
				row(r)
			}
		default:
			text := strings.TrimSuffix(printableLines(bl.text), "\n")
			if bl.markup {
				b.WriteString(text + "\n")
				continue
			}
			fence := "```"
			for strings.Contains(text, fence) {
				fence += "`"
			}
			b.WriteString(fence + "\n" + text + "\n" + fence + "\n")
		}
	}
}

var markdownEscapes = strings.NewReplacer(
	`\`, `\\`, "|", `\|`, "`", "\\`", "*", `\*`, "_", `\_`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "[", `\[`, "]", `\]`, "@", "&#64;", "#", `\#`, "~", `\~`,
	"://", "&#58;//", "www.", "www&#46;")

// markdownText is a text that Markdown shows as it is: no link, no mention, no
// HTML.
func markdownText(s string) string { return markdownEscapes.Replace(printable(s)) }
