package cli

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// printable escapes what could steer a terminal or hide text: control
// characters, invalid UTF-8, characters that turn the direction of writing,
// and separators that some readers take for line breaks.
func printable(s string) string {
	clean := true
	for _, r := range s {
		if unprintable(r) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unprintable(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unprintable(r rune) bool {
	switch {
	case r < ' ', r >= 0x7f && r <= 0x9f, // C0, DEL, C1
		r == 0x061c, r == 0x200e, r == 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, // direction
		r == 0x2028, r == 0x2029, r == 0xfeff, r == utf8.RuneError:
		return true
	}
	return false
}

// printableLines is printable for text of several lines.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}

// span is the number of columns that a text takes.
func span(s string) int { return utf8.RuneCountInString(s) }

// pad fills a text up with spaces to a number of columns.
func pad(s string, columns int) string {
	return s + strings.Repeat(" ", max(0, columns-span(s)))
}

// wrap breaks a text at spaces into lines of at most the given columns. A longer
// word stays whole, so that a digest can be selected in one piece. columns <= 0
// does not wrap.
func wrap(s string, columns int) []string {
	if columns <= 0 || span(s) <= columns {
		return []string{s}
	}
	var lines []string
	words := strings.Split(s, " ")
	line := words[0]
	for _, word := range words[1:] {
		if span(line)+1+span(word) <= columns {
			line += " " + word
			continue
		}
		lines = append(lines, line)
		line = word
	}
	return append(lines, line)
}

// Tones of a text on a terminal that has colour, as SGR codes.
const (
	toneBold = "1"
	toneGood = "32"
	toneWarn = "33"
	toneBad  = "31"
	toneDim  = "2"
)

// toneOf are the words that have a tone wherever they stand alone. The word
// says it too: nothing is told by colour only.
var toneOf = map[string]string{
	"pass": toneGood, "fail": toneBad, "unchecked": toneWarn, "incomplete": toneWarn,
	"yes": toneGood, "no": toneBad,
	"yanked": toneWarn, "quarantined": toneBad, "tombstoned": toneBad, "staged": toneWarn, "importing": toneWarn, "removed": toneBad,
	"disabled": toneBad, "expired": toneBad, "revoked": toneBad,
	"refused": toneBad, "denied": toneBad, "error": toneBad,
	"unknown": toneWarn, "signed": toneGood, "declined": toneBad, "not-judged": toneWarn,
}

// paint gives a text a tone if there is colour.
func paint(s, tone string, color bool) string {
	if !color || tone == "" || s == "" {
		return s
	}
	return "\x1b[" + tone + "m" + s + "\x1b[0m"
}
