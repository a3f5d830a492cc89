package index

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// WriteYAML writes the document as block style YAML 1.1 and 1.2: the same data
// as WriteRaw's JSON, converted fragment by fragment. Strings are plain where
// no reader can take them for anything else, and double-quoted otherwise.
// Memory: one piece and one fragment. Cost: the whole document, about 70 MB
// of JSON a second; it is for people and odd readers, not for every request.
func (ix *Index) WriteYAML(w io.Writer, head Head) error {
	y := yamlWriter{}
	y.out = append(y.out, "apiVersion: v1\ngenerated: "...)
	y.text(head.generated())
	if head.ContextPath != "" {
		y.out = append(y.out, "\nserverInfo:\n  contextPath: "...)
		y.text(head.ContextPath)
	}
	y.out = append(y.out, "\nentries:"...)
	if len(ix.pieces) == 0 {
		y.out = append(y.out, " {}"...)
	}
	y.out = append(y.out, '\n')
	var f inflater
	prev := ""
	for _, p := range ix.pieces {
		if p.first.Chart != prev {
			y.chart(p.first.Chart)
		}
		prev = p.last.Chart
		raw, err := f.inflate(p)
		if err != nil {
			return err
		}
		y.in = raw
		for done := false; !done; {
			if done, err = y.entry(); err != nil {
				return fmt.Errorf("convert index: chart %q: %w", p.first.Chart, err)
			}
			if _, err := w.Write(y.out); err != nil {
				return fmt.Errorf("write index: %w", err)
			}
			y.out = y.out[:0]
		}
	}
	if _, err := w.Write(y.out); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return nil
}

// yamlWriter converts JSON values to block style YAML. It trusts its input to
// be JSON made by [Fragment], and finds out without harm when it is not.
type yamlWriter struct {
	in  []byte // the rest of the piece
	out []byte
	str []byte // the string read last, decoded
}

var (
	errJSON  = errors.New("not the JSON expected")
	errDepth = errors.New("nested too deeply")
)

// maxDepth bounds the nesting of values in a fragment. Chart.yaml needs 4.
const maxDepth = 64

// chart begins a chart's list.
func (y *yamlWriter) chart(name string) {
	y.out = append(y.out, "  "...)
	y.str = append(y.str[:0], name...)
	y.key(2)
	y.out = append(y.out, '\n')
}

// entry converts one fragment and the joint after it; done at the piece's end.
func (y *yamlWriter) entry() (done bool, err error) {
	y.out = append(y.out, "  -"...)
	if err := y.value(2, 0, false); err != nil {
		return false, err
	}
	if len(y.in) == 0 {
		return true, nil
	}
	if y.skip(",") {
		return false, nil
	}
	if !y.skip("],") {
		return false, errJSON
	}
	if err := y.string(); err != nil {
		return false, err
	}
	if !y.skip(":[") {
		return false, errJSON
	}
	y.chart(string(y.str))
	return false, nil
}

// value converts the next value, after a key or a dash that stands at column
// indent, to the end of its last line.
func (y *yamlWriter) value(indent, depth int, afterKey bool) error {
	if depth > maxDepth {
		return errDepth
	}
	y.space()
	switch {
	case y.skip("{"):
		return y.object(indent, depth, afterKey)
	case y.skip("["):
		return y.array(indent, depth, afterKey)
	}
	y.out = append(y.out, ' ')
	if len(y.in) > 0 && y.in[0] == '"' {
		if err := y.string(); err != nil {
			return err
		}
		y.text(string(y.str))
	} else {
		n := 0 // a number, true, false or null: the same in YAML
		for n < len(y.in) && strings.IndexByte("+-.0123456789eEtrufalsn", y.in[n]) >= 0 {
			n++
		}
		if n == 0 {
			return errJSON
		}
		y.out = append(y.out, y.in[:n]...)
		y.in = y.in[n:]
	}
	y.out = append(y.out, '\n')
	return nil
}

func (y *yamlWriter) object(indent, depth int, afterKey bool) error {
	if y.space(); y.skip("}") {
		y.out = append(y.out, " {}\n"...)
		return nil
	}
	for first := true; ; first = false {
		y.line(indent+2, first && !afterKey, first)
		if y.space(); len(y.in) == 0 {
			return errJSON
		}
		if err := y.string(); err != nil {
			return err
		}
		y.key(indent + 2)
		if y.space(); !y.skip(":") {
			return errJSON
		}
		if err := y.value(indent+2, depth+1, true); err != nil {
			return err
		}
		if y.space(); y.skip("}") {
			return nil
		}
		if !y.skip(",") {
			return errJSON
		}
	}
}

func (y *yamlWriter) array(indent, depth int, afterKey bool) error {
	if y.space(); y.skip("]") {
		y.out = append(y.out, " []\n"...)
		return nil
	}
	if !afterKey {
		indent += 2 // a list in a list; one under a key stands at the key's column
	}
	for first := true; ; first = false {
		y.line(indent, first && !afterKey, first)
		y.out = append(y.out, '-')
		if err := y.value(indent, depth+1, false); err != nil {
			return err
		}
		if y.space(); y.skip("]") {
			return nil
		}
		if !y.skip(",") {
			return errJSON
		}
	}
}

// line goes to column indent: of the same line, right after a dash; of the
// next line when the key's line is still open; or of the line just begun.
func (y *yamlWriter) line(indent int, sameLine, lineOpen bool) {
	if sameLine {
		y.out = append(y.out, ' ')
		return
	}
	if lineOpen {
		y.out = append(y.out, '\n')
	}
	for range indent {
		y.out = append(y.out, ' ')
	}
}

// space skips white space.
func (y *yamlWriter) space() {
	for len(y.in) > 0 && strings.IndexByte(" \t\r\n", y.in[0]) >= 0 {
		y.in = y.in[1:]
	}
}

// skip skips s if it comes next.
func (y *yamlWriter) skip(s string) bool {
	if len(y.in) < len(s) || string(y.in[:len(s)]) != s {
		return false
	}
	y.in = y.in[len(s):]
	return true
}

// string reads a JSON string into y.str. What is not Unicode becomes U+FFFD,
// as encoding/json has it.
func (y *yamlWriter) string() error {
	if !y.skip(`"`) {
		return errJSON
	}
	y.str = y.str[:0]
	for {
		n := 0
		for n < len(y.in) && y.in[n] != '"' && y.in[n] != '\\' {
			n++
		}
		if n == len(y.in) {
			return errJSON
		}
		y.str = append(y.str, y.in[:n]...)
		end := y.in[n] == '"'
		y.in = y.in[n+1:]
		if end {
			return nil
		}
		if err := y.escape(); err != nil {
			return err
		}
	}
}

// escape reads what follows a backslash.
func (y *yamlWriter) escape() error {
	if len(y.in) == 0 {
		return errJSON
	}
	c := y.in[0]
	y.in = y.in[1:]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		r, ok := y.hex4()
		if !ok {
			return errJSON
		}
		if utf16.IsSurrogate(r) {
			rest := y.in
			low := rune(-1)
			if y.skip(`\u`) {
				low, _ = y.hex4()
			}
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
				y.in = rest
			}
		}
		y.str = utf8.AppendRune(y.str, r)
		return nil
	default:
		return errJSON
	}
	y.str = append(y.str, c)
	return nil
}

// hex4 reads four hexadecimal digits.
func (y *yamlWriter) hex4() (rune, bool) {
	if len(y.in) < 4 {
		return -1, false
	}
	var r rune
	for _, c := range y.in[:4] {
		d := strings.IndexByte("0123456789abcdef", c|0x20)
		if d < 0 || c < '0' {
			return -1, false
		}
		r = r<<4 | rune(d)
	}
	y.in = y.in[4:]
	return r, true
}

// key writes y.str as a key. Readers look at most 1,024 characters ahead for
// the colon (YAML 1.2.2 §7.4.2), so a longer key is announced.
func (y *yamlWriter) key(indent int) {
	at := len(y.out)
	y.text(string(y.str))
	if len(y.out)-at > 1000 {
		long := string(y.out[at:])
		y.out = append(append(append(y.out[:at], "? "...), long...), '\n')
		for range indent {
			y.out = append(y.out, ' ')
		}
	}
	y.out = append(y.out, ':')
}

// text writes a string as a plain or a double-quoted scalar (YAML 1.2.2 §7.3).
func (y *yamlWriter) text(s string) {
	if plain(s) {
		y.out = append(y.out, s...)
		return
	}
	y.out = append(y.out, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			y.out = append(y.out, '\\', byte(r))
		case r == '\n':
			y.out = append(y.out, `\n`...)
		case r == '\t':
			y.out = append(y.out, `\t`...)
		case r < 0x20 || r >= 0x7f && r < 0xa0:
			y.out = fmt.Appendf(y.out, `\x%02x`, r)
		case r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff:
			y.out = fmt.Appendf(y.out, `\u%04x`, r)
		default:
			y.out = utf8.AppendRune(y.out, r)
		}
	}
	y.out = append(y.out, '"')
}

// plain reports whether every YAML reader takes s, unquoted, for this string:
// a letter first, nothing that begins or ends anything, no word for a boolean
// or null.
func plain(s string) bool {
	if s == "" || s[len(s)-1] == ' ' || s[len(s)-1] == ':' || !letter(s[0]) {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case letter(c) || c >= '0' && c <= '9' || strings.IndexByte(" ._/+@()-", c) >= 0:
		case c == ':' && s[i+1] != ' ':
		default:
			return false
		}
	}
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf":
		return false
	}
	return true
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
