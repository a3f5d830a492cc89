package advisory

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// cursor reads JSON (RFC 8259) from its beginning to its end and allocates
// nothing but what is kept: texts without escapes are parts of the input. Of
// several members with one name only the first counts.
//
// What is not of the type that belongs there is passed over and is a fault;
// what is not JSON at all is broken, and everything read after it is empty. A
// caller that reads to the end and finds it not broken has read valid JSON.
type cursor struct {
	in     string
	at     int
	depth  int
	broken bool
	path   []string // names of the members around the cursor
	faults []string // the first of them
	flaws  int      // how many there were
}

const (
	maxDepth      = 200 // of arrays and objects; real records have 12
	maxFieldFault = 5   // faults that are described, of one record
)

// fault notes that the value here is not what it should be.
func (c *cursor) fault(format string, args ...any) {
	if c.flaws++; len(c.faults) < maxFieldFault {
		what := fmt.Sprintf(format, args...)
		if len(c.path) > 0 {
			what = strings.Join(c.path, ".") + " " + what
		}
		c.faults = append(c.faults, what)
	}
}

// next goes to the next byte that is no white space, and returns it without
// taking it; 0 at the end.
func (c *cursor) next() byte {
	for ; c.at < len(c.in); c.at++ {
		switch b := c.in[c.at]; b {
		case ' ', '\n', '\r', '\t':
		default:
			return b
		}
	}
	return 0
}

func (c *cursor) take(b byte) bool {
	if c.at >= len(c.in) || c.in[c.at] != b {
		return false
	}
	c.at++
	return true
}

// end says whether nothing follows, and all was JSON.
func (c *cursor) end() bool { return !c.broken && c.next() == 0 && c.at == len(c.in) }

// lost gives up: this is not JSON.
func (c *cursor) lost() { c.broken, c.at = true, len(c.in) }

// skip passes over a value.
func (c *cursor) skip() {
	switch b := c.next(); b {
	case '"':
		c.quoted()
	case '{':
		c.pairs(func(string) { c.skip() })
	case '[':
		c.elements(c.skip)
	case 't':
		c.word("true")
	case 'f':
		c.word("false")
	case 'n':
		c.word("null")
	default:
		c.number()
	}
}

// raw passes over a value and returns it as it stands there.
func (c *cursor) raw() string {
	c.next()
	from := c.at
	c.skip()
	return c.in[from:c.at]
}

func (c *cursor) word(word string) {
	if !strings.HasPrefix(c.in[c.at:], word) {
		c.lost()
		return
	}
	c.at += len(word)
}

func (c *cursor) number() {
	c.take('-')
	ok := c.take('0') || c.digits()
	if c.take('.') {
		ok = c.digits() && ok
	}
	if c.take('e') || c.take('E') {
		_ = c.take('+') || c.take('-')
		ok = c.digits() && ok
	}
	if !ok {
		c.lost()
	}
}

func (c *cursor) digits() bool {
	from := c.at
	for c.at < len(c.in) && c.in[c.at] >= '0' && c.in[c.at] <= '9' {
		c.at++
	}
	return c.at > from
}

// quoted takes a text that begins here, with its quotes, and says whether it
// has escapes.
func (c *cursor) quoted() (raw string, escaped bool) {
	in := c.in[c.at:]
	for i := 1; i < len(in); i++ {
		switch b := in[i]; {
		case b == '"':
			c.at += i + 1
			return in[:i+1], escaped
		case b < ' ':
			c.lost()
			return "", false
		case b == '\\':
			n := escapeLength(in[i:])
			if n == 0 {
				c.lost()
				return "", false
			}
			escaped = true
			i += n - 1
		}
	}
	c.lost()
	return "", false
}

// escapeLength is the length of the escape that begins here; 0 for none.
func escapeLength(s string) int {
	if len(s) < 2 {
		return 0
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(s) < 6 || strings.Trim(s[2:6], "0123456789abcdefABCDEF") != "" {
			return 0
		}
		return 6
	}
	return 0
}

// said is what a text says. What is no character becomes U+FFFD.
func (c *cursor) said() string {
	raw, escaped := c.quoted()
	if c.broken {
		return ""
	}
	raw = strings.ToValidUTF8(raw[1:len(raw)-1], "\uFFFD")
	if escaped {
		return unescape(raw)
	}
	return raw
}

// unescape replaces the escapes of a text whose form was checked.
func unescape(s string) string {
	var out strings.Builder
	out.Grow(len(s))
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 {
			out.WriteString(s)
			return out.String()
		}
		out.WriteString(s[:i])
		b := s[i+1]
		s = s[i+2:]
		switch b {
		case 'b':
			b = '\b'
		case 'f':
			b = '\f'
		case 'n':
			b = '\n'
		case 'r':
			b = '\r'
		case 't':
			b = '\t'
		case 'u':
			r := unit(s)
			s = s[4:]
			if utf16.IsSurrogate(r) {
				pair := utf8.RuneError
				if strings.HasPrefix(s, `\u`) {
					pair = utf16.DecodeRune(r, unit(s[2:]))
				}
				if r = pair; r != utf8.RuneError {
					s = s[6:]
				}
			}
			out.WriteRune(r)
			continue
		}
		out.WriteByte(b)
	}
}

// unit is the UTF-16 unit that four hexadecimal digits stand for.
func unit(s string) rune {
	n, _ := strconv.ParseUint(s[:4], 16, 16) // no error: the form was checked
	return rune(n)
}

// within takes a bracket, what each takes, with commas between, and its end.
func (c *cursor) within(end byte, each func()) {
	c.at++
	if c.depth++; c.depth > maxDepth {
		c.lost()
		return
	}
	for more := c.next() != end; more && !c.broken; more = c.take(',') {
		each()
		c.next()
	}
	if c.depth--; !c.take(end) {
		c.lost()
	}
}

// pairs takes an object that begins here; each takes the value of a name.
func (c *cursor) pairs(each func(name string)) {
	c.within('}', func() {
		if c.next() != '"' {
			c.lost()
			return
		}
		name := c.said()
		if c.next(); !c.take(':') {
			c.lost()
			return
		}
		each(name)
	})
}

func (c *cursor) elements(each func()) { c.within(']', each) }

// expect says whether a value of a form begins here. A null is passed over, as
// if the member were not there; another form is a fault, and passed over too.
func (c *cursor) expect(first byte, form string) bool {
	switch b := c.next(); {
	case b == first:
		return true
	case b == 'n':
		c.word("null")
	case b == 0:
		c.lost()
	default:
		c.fault("is %s where %s belongs", formOf(b), form)
		c.skip()
	}
	return false
}

func formOf(b byte) string {
	switch b {
	case '{':
		return "a mapping"
	case '[':
		return "a list"
	case '"':
		return "a text"
	case 't', 'f':
		return "a truth value"
	}
	return "a number"
}

// object reads an object; each reads the value of a member whose name is among
// those given. Other members are passed over. A member that is there twice is a
// fault.
func (c *cursor) object(names []string, each func(name string)) {
	if !c.expect('{', "a mapping") {
		return
	}
	met := uint64(0)
	c.pairs(func(name string) {
		i := slices.Index(names, name)
		if i < 0 {
			c.skip()
			return
		}
		c.path = append(c.path, names[i])
		if met&(1<<i) != 0 {
			c.fault("is there twice")
			c.skip()
		} else {
			each(names[i])
		}
		met |= 1 << i
		c.path = c.path[:len(c.path)-1]
	})
}

// list reads an array, each one element.
func (c *cursor) list(each func()) {
	if c.expect('[', "a list") {
		c.elements(each)
	}
}

// text reads a text; "" for null.
func (c *cursor) text() string {
	if c.expect('"', "a text") {
		return c.said()
	}
	return ""
}

// texts reads a list of texts; empty ones are left out.
func (c *cursor) texts() []string {
	var out []string
	c.list(func() {
		if s := c.text(); s != "" {
			out = append(out, s)
		}
	})
	return out
}

// time reads a time; zero for null and for the empty text.
func (c *cursor) time() time.Time {
	s := c.text()
	if s == "" {
		return time.Time{}
	}
	t, ok := parseTime(s)
	if !ok {
		c.fault("%s is no time", shown(s))
	}
	return t
}

// timeLayouts are those that the feeds have, the commonest first. A time
// without a zone is UTC.
var timeLayouts = []string{time.RFC3339, time.DateOnly, "2006-01-02T15:04:05", "2006-01-02T15:04:05-0700", "2006.01.02"}

func parseTime(s string) (time.Time, bool) {
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			t = t.UTC()
			return t, t.Year() >= 1 && t.Year() <= 9999 // which can be written again
		}
	}
	return time.Time{}, false
}

// shown is a text of others within a message.
func shown(s string) string {
	const most = 60
	if len(s) > most {
		s = cut(s, most) + "…"
	}
	return fmt.Sprintf("%q", s)
}

// cut returns the first n bytes, or a few less so that no character is split.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// compact returns valid JSON without the white space between its tokens: the
// input itself where there is none.
func compact(s string) string {
	var out strings.Builder
	from, inside := 0, false
	for i := 0; i < len(s); i++ {
		switch b := s[i]; {
		case b == '"':
			inside = !inside
		case b == '\\':
			i++ // valid JSON has it only within a text
		case b <= ' ' && !inside:
			if out.Cap() == 0 {
				out.Grow(len(s))
			}
			out.WriteString(s[from:i])
			for i+1 < len(s) && s[i+1] <= ' ' {
				i++
			}
			from = i + 1
		}
	}
	if out.Cap() == 0 {
		return s
	}
	out.WriteString(s[from:])
	return out.String()
}
