package upstream

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"
)

// jsonText is a text whose form is checked as it is read: taken from its
// beginning to its end it is what json.Valid takes, which is RFC 8259 with any
// bytes but control characters in strings. A function that returns false has
// met no JSON, and where it stands means nothing then.
type jsonText struct {
	in    []byte
	at    int // where the reader stands
	depth int // of the arrays and objects around that place
}

// jsonDepth is how deep arrays and objects nest for json.Valid.
const jsonDepth = 10_000

// next goes to the next byte that is no white space, and returns it without
// taking it; 0 at the end.
func (t *jsonText) next() byte {
	for ; t.at < len(t.in); t.at++ {
		switch c := t.in[t.at]; c {
		case ' ', '\n', '\r', '\t':
		default:
			return c
		}
	}
	return 0
}

// end says whether nothing follows.
func (t *jsonText) end() bool { return t.next() == 0 && t.at == len(t.in) }

// take takes a byte if it stands here.
func (t *jsonText) take(c byte) bool {
	if t.at == len(t.in) || t.in[t.at] != c {
		return false
	}
	t.at++
	return true
}

// word takes true, false or null.
func (t *jsonText) word(word string) bool {
	if !bytes.HasPrefix(t.in[t.at:], []byte(word)) {
		return false
	}
	t.at += len(word)
	return true
}

// value skips a value.
func (t *jsonText) value() bool {
	switch t.next() {
	case '"':
		_, ok := t.quoted()
		return ok
	case '{':
		return t.members(func(quoted) bool { return t.value() })
	case '[':
		return t.elements(t.value)
	case 't':
		return t.word("true")
	case 'f':
		return t.word("false")
	case 'n':
		return t.word("null")
	}
	return t.number()
}

func (t *jsonText) number() bool {
	t.take('-')
	if !t.take('0') && !t.digits() || t.take('.') && !t.digits() {
		return false
	}
	if t.take('e') || t.take('E') {
		_ = t.take('+') || t.take('-')
		return t.digits()
	}
	return true
}

func (t *jsonText) digits() bool {
	from := t.at
	for t.at < len(t.in) && t.in[t.at] >= '0' && t.in[t.at] <= '9' {
		t.at++
	}
	return t.at > from
}

// members takes an object that begins here; each takes the value of a key.
func (t *jsonText) members(each func(key quoted) bool) bool {
	return t.within('}', func() bool {
		if t.next() != '"' {
			return false
		}
		key, ok := t.quoted()
		if !ok || t.next() != ':' {
			return false
		}
		t.at++
		return each(key)
	})
}

// elements takes an array that begins here; each takes a value.
func (t *jsonText) elements(each func() bool) bool { return t.within(']', each) }

// within takes a bracket, what each takes, with commas between, and the end.
func (t *jsonText) within(end byte, each func() bool) bool {
	t.at++
	if t.depth++; t.depth > jsonDepth {
		return false
	}
	for more := t.next() != end; more; more = t.take(',') {
		if !each() {
			return false
		}
		t.next()
	}
	t.depth--
	return t.take(end)
}

// quoted is a string as it stands in the text, with its quotes. It is plain if
// what stands between them is ASCII without escapes.
type quoted struct {
	raw   []byte
	plain bool
}

// quoted takes a string that begins here.
func (t *jsonText) quoted() (s quoted, ok bool) {
	in := t.in[t.at:]
	s.plain = true
	for i := 1; ; i++ {
		for n := 8; n == 8 && i+8 <= len(in); i += n {
			n = plainBytes(binary.LittleEndian.Uint64(in[i:]))
		}
		if i == len(in) {
			return s, false
		}
		switch c := in[i]; {
		case c == '"':
			s.raw = in[:i+1]
			t.at += i + 1
			return s, true
		case c < ' ':
			return s, false
		case c == '\\':
			n := escape(in[i:])
			if n == 0 {
				return s, false
			}
			s.plain = false
			i += n - 1
		case c >= utf8.RuneSelf:
			s.plain = false
		}
	}
}

// plainBytes counts the bytes in front of the first that is a quote, a
// backslash, a control character or not ASCII, in eight bytes of which the
// lowest is the first.
func plainBytes(w uint64) int {
	const each, high = 0x01_01_01_01_01_01_01_01, 0x80_80_80_80_80_80_80_80
	// Subtracting borrows from the high bit of a byte that is too small, and of
	// those behind it, which do not matter.
	quote, slash := w^'"'*each, w^'\\'*each
	return bits.TrailingZeros64(((quote-each)|(slash-each)|(w-' '*each)|w)&high) / 8
}

// escape is the length of the escape that begins here; 0 for none.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, c := range b[2:6] {
			if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
				return 0
			}
		}
		return 6
	}
	return 0
}

// decode returns what a string says: a part of the text, or a copy.
func (s quoted) decode() []byte {
	if s.plain {
		return s.raw[1 : len(s.raw)-1]
	}
	var out string
	_ = json.Unmarshal(s.raw, &out) // no error: the form was checked
	return []byte(out)
}

// among finds a string among ASCII names in any case, as encoding/json matches
// names; -1 for none.
func (s quoted) among(names []string) int {
	if !s.plain {
		return slices.IndexFunc(names, func(name string) bool {
			// No letter of a name takes more than an escape of six bytes.
			return len(s.raw) <= 2+6*len(name) && strings.EqualFold(string(s.decode()), name)
		})
	}
	b := s.raw[1 : len(s.raw)-1]
	for i, name := range names {
		if len(b) == len(name) && (string(b) == name || strings.EqualFold(string(b), name)) {
			return i
		}
	}
	return -1
}
