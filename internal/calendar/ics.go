package calendar

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Entry is one entry of a calendar file.
type Entry struct {
	UID     string // the same entry has the same one for ever
	Start   time.Time
	End     time.Time // zero: a moment, such as a deadline
	Summary string
	Text    string
	URL     string
	Tags    []string
	Stamp   time.Time // when what it says was last changed
}

// ICS writes a calendar that calendar programs read and subscribe to (RFC 5545).
// Its name is what they show. Entries stand in the order given; lines are
// folded at 75 bytes, text is escaped, control characters are left out.
func ICS(name string, entries []Entry) []byte {
	var b strings.Builder
	line := func(key, value string) { fold(&b, key+":"+value) }
	line("BEGIN", "VCALENDAR")
	line("VERSION", "2.0")
	line("PRODID", "-//Chartkeep//Calendar//EN")
	line("CALSCALE", "GREGORIAN")
	line("NAME", escape(name))
	line("X-WR-CALNAME", escape(name))
	for _, e := range entries {
		line("BEGIN", "VEVENT")
		line("UID", escape(e.UID))
		line("DTSTAMP", stamp(e.Stamp))
		line("DTSTART", stamp(e.Start))
		if !e.End.IsZero() {
			line("DTEND", stamp(e.End))
		}
		line("SUMMARY", escape(e.Summary))
		if e.Text != "" {
			line("DESCRIPTION", escape(e.Text))
		}
		if e.URL != "" {
			line("URL", clean(e.URL))
		}
		if len(e.Tags) > 0 {
			tags := make([]string, len(e.Tags))
			for i, t := range e.Tags {
				tags[i] = escape(t)
			}
			line("CATEGORIES", strings.Join(tags, ","))
		}
		line("END", "VEVENT")
	}
	line("END", "VCALENDAR")
	return []byte(b.String())
}

func stamp(t time.Time) string { return t.UTC().Format("20060102T150405Z") }

// clean leaves out what would end the line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
}

func escape(s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.NewReplacer(`\`, `\\`, ";", `\;`, ",", `\,`).Replace(clean(l))
	}
	return strings.Join(lines, `\n`)
}

// fold writes one line in pieces of at most 75 bytes, none of which ends within
// a character.
func fold(b *strings.Builder, line string) {
	room := 75
	for len(line) > room {
		cut := room
		for !utf8.RuneStart(line[cut]) {
			cut--
		}
		b.WriteString(line[:cut])
		b.WriteString("\r\n ")
		line, room = line[cut:], 74
	}
	b.WriteString(line)
	b.WriteString("\r\n")
}
