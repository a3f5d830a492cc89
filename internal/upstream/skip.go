package upstream

import "bytes"

// value skips what stands behind a key at a column: a scalar, or a block on the
// lines below. It ends at the first line that belongs to something else.
func (s *scanner) value(column, depth int) bool {
	if len(s.text) > 0 {
		return s.scalar(column)
	}
	s.next()
	switch {
	case s.column > column:
		return s.block(depth + 1)
	case s.column == column && s.atDash():
		return s.items(depth + 1)
	}
	return true
}

// block skips a mapping or a list that begins here, and what is deeper.
func (s *scanner) block(depth int) bool {
	if s.atDash() {
		return s.items(depth)
	}
	if depth > maxNesting {
		return false
	}
	column := s.column
	for s.column == column {
		if _, ok := s.key(); !ok || !s.value(column, depth) {
			return false
		}
	}
	return s.column < column
}

// items skips a list. The keys of a mapping that holds it may stand at the
// same column.
func (s *scanner) items(depth int) bool {
	if depth > maxNesting {
		return false
	}
	column := s.column
	for s.column == column && s.atDash() {
		if s.dash(); len(s.text) == 0 {
			s.next()
			if s.column > column && !s.block(depth+1) {
				return false
			}
			continue
		}
		if s.atDash() || s.atKey() {
			if !s.block(depth + 1) {
				return false
			}
			continue
		}
		if !s.scalar(column) {
			return false
		}
	}
	return s.column <= column
}

func (s *scanner) atKey() bool {
	text := s.text
	_, ok := s.key()
	s.text = text
	return ok
}

// indicators are the characters with which no plain scalar begins, or only in
// ways that are left to the complete reader.
var indicators = []byte("-?:,[]{}#&*!|>'\"%@`")

// scalar skips a scalar that begins here. parent is the column of the key or
// dash in front; its further lines are deeper.
func (s *scanner) scalar(parent int) bool {
	switch c := s.text[0]; {
	case c == '"' || c == '\'':
		return s.quoted(c, parent)
	case c == '|' || c == '>':
		return s.literal(parent)
	case string(s.text) == "[]", string(s.text) == "{}":
		s.next()
		return s.column <= parent
	case bytes.IndexByte(indicators, c) < 0, c == '-' && len(s.text) > 1 && s.text[1] != ' ':
		for {
			if !unbroken(s.text) {
				return false
			}
			if s.next(); s.column <= parent {
				return true
			}
		}
	}
	return false
}

// literal skips a block scalar.
func (s *scanner) literal(parent int) bool {
	switch string(s.text[1:]) {
	case "", "-", "+":
	default:
		return false
	}
	inner := -1
	for {
		text, column, ok := s.line()
		switch {
		case !ok:
			s.text, s.column = nil, -1
			return true
		case len(text) == 0 && column == 0:
		case len(text) == 0:
			// Spaces alone set no depth, but too many in front are an error.
			if inner < 0 {
				return false
			}
		case column <= parent:
			s.text, s.column = trimRight(text), column
			return true
		case inner < 0:
			inner = column
		case column < inner:
			return false
		}
	}
}

// quoted skips a text in quotes, which may go over several lines.
func (s *scanner) quoted(quote byte, parent int) bool {
	text := s.text[1:]
	for {
		closed, rest, ok := quotedLine(text, quote)
		if !ok {
			return false
		}
		if closed {
			if len(rest) > 0 {
				return false
			}
			s.next()
			return s.column <= parent
		}
		if s.next(); s.column <= parent {
			return false
		}
		text = s.text
	}
}

// quotedLine reads a line inside quotes: up to the closing one, or to its end.
func quotedLine(b []byte, quote byte) (closed bool, rest []byte, ok bool) {
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == quote && quote == '\'' && i+1 < len(b) && b[i+1] == quote:
			i++
		case b[i] == quote:
			return true, b[i+1:], true
		case b[i] == '\\' && quote == '"' && i+1 < len(b):
			i++
			switch b[i] {
			case '"', '\\', '/', 'n', 't', 'r', '0', 'a', 'b', 'e', 'f', 'v', ' ', '_', 'N', 'L', 'P':
			default:
				return false, nil, false
			}
		}
	}
	return false, nil, true
}
