package upstream

import (
	"bytes"
	"time"
	"unicode/utf8"
)

// scanner reads the YAML that helm repo index, chart-releaser, ChartMuseum and
// others write with Go's YAML writer: block mappings and lists, plain and
// quoted texts, literal blocks, no comments, tags, anchors or tabs. It checks
// the form of all it skips, so that it takes nothing that the complete reader
// would refuse; at the first thing it does not know it gives up, and the
// complete reader decides. One pass, nothing allocated but what is kept.
//
// The scanner stands at text, the rest of a line from its first character that
// is no space; column is that character's. At the end, column is -1.
type scanner struct {
	*builder
	rest   []byte // the lines that follow
	text   []byte
	column int
	urlBuf []string
}

// maxNesting is how deep blocks may nest; real ones nest five deep.
const maxNesting = 32

// scanYAML reads an index in the common form; not ok when it gives up.
func scanYAML(b []byte, lim Limits) (Index, bool) {
	if !plainText(b) {
		return Index{}, false
	}
	s := &scanner{builder: newBuilder(lim), rest: b}
	s.next()
	if s.column == 0 && string(s.text) == "---" {
		s.next()
	}
	if s.column != 0 || !s.top() || s.column >= 0 {
		return Index{}, false
	}
	x, err := s.done()
	return x, err == nil
}

// plainText says whether a text has only characters that YAML prints, no tab,
// and no end of line but \n.
func plainText(b []byte) bool {
	for i := 0; i < len(b); {
		c := b[i]
		if c < utf8.RuneSelf {
			if c < ' ' && c != '\n' || c == 0x7f {
				return false
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 || r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff {
			return false
		}
		i += n
	}
	return true
}

// line takes the next line, without the spaces in front.
func (s *scanner) line() (text []byte, column int, ok bool) {
	if len(s.rest) == 0 {
		return nil, -1, false
	}
	end := bytes.IndexByte(s.rest, '\n')
	if end < 0 {
		text, s.rest = s.rest, nil
	} else {
		text, s.rest = s.rest[:end], s.rest[end+1:]
	}
	for column < len(text) && text[column] == ' ' {
		column++
	}
	return text[column:], column, true
}

// next goes to the next line that is not blank.
func (s *scanner) next() {
	for {
		text, column, ok := s.line()
		if !ok {
			s.text, s.column = nil, -1
			return
		}
		if len(text) > 0 {
			s.text, s.column = trimRight(text), column
			return
		}
	}
}

func trimRight(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return b
}

// maxKey is the length of a key in bytes; YAML's own bound is 1,024.
const maxKey = 256

// key reads a plain key and leaves the scanner at what follows the colon on the
// same line. Without a key it does not move.
func (s *scanner) key() (key []byte, ok bool) {
	for i, c := range s.text {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_':
		case i > 0 && (c == '-' || c == '.' || c == '/'):
		case c == ':' && i > 0 && i <= maxKey && (len(s.text) == i+1 || s.text[i+1] == ' '):
			key = s.text[:i]
			i++
			for i < len(s.text) && s.text[i] == ' ' {
				i++
			}
			s.text = s.text[i:]
			return key, true
		default:
			return nil, false
		}
	}
	return nil, false
}

// dash goes behind the dash of a list's item.
func (s *scanner) dash() bool {
	if len(s.text) == 0 || s.text[0] != '-' || len(s.text) > 1 && s.text[1] != ' ' {
		return false
	}
	i := 1
	for i < len(s.text) && s.text[i] == ' ' {
		i++
	}
	s.text, s.column = s.text[i:], s.column+i
	return true
}

func (s *scanner) atDash() bool {
	return len(s.text) > 0 && s.text[0] == '-' && (len(s.text) == 1 || s.text[1] == ' ')
}

// top reads the document's mapping.
func (s *scanner) top() bool {
	seen := map[string]bool{}
	for s.column == 0 {
		key, ok := s.key()
		if !ok || seen[string(key)] {
			return false
		}
		seen[string(key)] = true
		if s.listed {
			s.open = false
		}
		switch string(key) {
		case "apiVersion":
			text, ok := s.plain(0)
			if !ok {
				return false
			}
			s.api = len(text) > 0
		case "entries":
			if s.listed = true; !s.charts() {
				return false
			}
		case "generated":
			if !s.stamp(0, &s.index.Generated) {
				return false
			}
		default:
			if folds(key, "apiVersion", "entries", "generated") || !s.value(0, 0) {
				return false
			}
		}
	}
	return true
}

// folds says whether a key is one of the names but for its case.
func folds(key []byte, names ...string) bool {
	for _, name := range names {
		if len(key) == len(name) && bytes.EqualFold(key, []byte(name)) {
			return true
		}
	}
	return false
}

// charts reads what stands behind entries.
func (s *scanner) charts() bool {
	if string(s.text) == "{}" {
		s.next()
		return true
	}
	if len(s.text) > 0 {
		return false
	}
	s.next()
	column := s.column
	if column <= 0 {
		return false
	}
	for s.column == column {
		key, ok := s.key()
		if !ok || !surelyText(key) || !s.chart(s.keep(key)) || !s.versions(column) {
			return false
		}
	}
	return s.column < column
}

// versions reads the list of a chart whose key stands at a column.
func (s *scanner) versions(parent int) bool {
	if string(s.text) == "[]" {
		s.next()
		s.open = false
		return true
	}
	if len(s.text) > 0 {
		return false
	}
	s.next()
	column := s.column
	if column < parent || !s.atDash() {
		return false
	}
	for s.column == column && s.atDash() {
		if s.dash(); len(s.text) == 0 || s.atDash() || !s.entry() {
			return false
		}
	}
	return s.column <= parent
}

// entry reads one entry and adds it.
func (s *scanner) entry() bool {
	var v Version
	named, column := false, s.column
	s.urlBuf = s.urlBuf[:0]
	// Keys that are not read are compared all the same: one twice is refused.
	var keys [64][]byte
	count := 0
	for s.column == column {
		key, ok := s.key()
		if !ok || count == len(keys) {
			return false
		}
		for _, k := range keys[:count] {
			if len(k) == len(key) && string(k) == string(key) {
				return false
			}
		}
		keys[count] = key
		count++
		f, known := fieldNamed(key)
		if !known {
			if folds(key, fieldNames[:]...) || !s.value(column, 0) {
				return false
			}
			continue
		}
		if !s.field(f, column, &v, &named) {
			return false
		}
	}
	if s.column > column {
		return false
	}
	v.URLs = s.list(s.urlBuf)
	return s.version(v, named)
}

func fieldNamed(key []byte) (field, bool) {
	switch string(key) {
	case "name":
		return fieldName, true
	case "version":
		return fieldVersion, true
	case "digest":
		return fieldDigest, true
	case "created":
		return fieldCreated, true
	case "appVersion":
		return fieldAppVersion, true
	case "deprecated":
		return fieldDeprecated, true
	case "urls":
		return fieldURLs, true
	}
	return 0, false
}

func (s *scanner) field(f field, column int, v *Version, named *bool) bool {
	switch f {
	case fieldURLs:
		return s.links(column)
	case fieldCreated:
		return s.stamp(column, &v.Created)
	case fieldDeprecated:
		v.Deprecated = string(s.text) == "true"
		if !v.Deprecated && string(s.text) != "false" {
			return false
		}
		s.next()
		return s.column <= column
	}
	text, ok := s.plain(column)
	if !ok {
		return false
	}
	switch f {
	case fieldName:
		*named = len(text) > 0
	case fieldVersion:
		v.Version = s.keep(text)
	case fieldDigest:
		v.Digest = s.keep(text)
	case fieldAppVersion:
		v.AppVersion = s.keep(text)
	}
	return true
}

func (s *scanner) links(column int) bool {
	if string(s.text) == "[]" {
		s.next()
		return s.column <= column
	}
	if len(s.text) > 0 {
		return false
	}
	s.next()
	at := s.column
	if at < column || !s.atDash() {
		return false
	}
	for s.column == at && s.atDash() {
		s.dash()
		text, ok := s.plain(at)
		if !ok || len(text) == 0 {
			return false
		}
		s.urlBuf = append(s.urlBuf, s.keep(text))
	}
	return s.column <= column
}

// stamp reads a time of which there is one.
func (s *scanner) stamp(column int, to *time.Time) bool {
	text, ok := s.plain(column)
	if !ok || len(text) == 0 {
		return false
	}
	*to, ok = s.time(text)
	return ok
}

// plain reads a text of one line that is wanted, without escapes, and goes to
// the next line. parent is the column of its key or dash.
func (s *scanner) plain(parent int) (text []byte, ok bool) {
	text = s.text
	if len(text) == 0 {
		return nil, false
	}
	if q := text[0]; q == '"' || q == '\'' {
		if len(text) < 2 || text[len(text)-1] != q {
			return nil, false
		}
		if text = text[1 : len(text)-1]; bytes.IndexByte(text, q) >= 0 || bytes.IndexByte(text, '\\') >= 0 {
			return nil, false
		}
	} else if !surelyText(text) || !unbroken(text) {
		return nil, false
	}
	s.next()
	return text, s.column <= parent || s.column < 0
}

// surelyText says of a plain scalar that no reader of YAML takes it for a
// number, a boolean or a null.
func surelyText(b []byte) bool {
	c := b[0]
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		return len(b) > 5 || !folds(b, "y", "n", "yes", "no", "on", "off", "true", "false", "null")
	case c < '0' || c > '9':
		return false
	}
	if c == '0' && len(b) > 1 {
		switch b[1] {
		case 'b': // many digests begin like a binary number
			return len(bytes.Trim(b[2:], "01_+-")) > 0
		case 'x', 'X', 'o', 'O', 'B':
			return false
		}
	}
	dots := 0
	for _, c := range b {
		switch {
		case c == '.':
			if dots++; dots == 2 {
				return true
			}
		case c >= '0' && c <= '9', c == 'e', c == 'E', c == '+', c == '-', c == '_':
		default:
			return true
		}
	}
	return false
}

// unbroken says of a line of a plain scalar that it is text to its end.
func unbroken(b []byte) bool {
	for i := 0; ; i++ {
		n := bytes.IndexByte(b[i:], ':')
		if n < 0 {
			break
		}
		if i += n; i+1 == len(b) || b[i+1] == ' ' {
			return false
		}
	}
	for i := 0; ; i++ {
		n := bytes.IndexByte(b[i:], '#')
		if n < 0 {
			return true
		}
		if i += n; i == 0 || b[i-1] == ' ' {
			return false
		}
	}
}
