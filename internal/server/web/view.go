package web

import (
	"embed"
	"fmt"
	"html"
	"html/template"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

//go:embed templates
var templateFiles embed.FS

// loadPages parses templates/*.html: base.html and the files whose names begin
// with parts hold the frame and the parts, every other file is a page that
// defines "main".
func loadPages() (map[string]*template.Template, error) {
	base, err := template.New("").Funcs(template.FuncMap{
		"num": number, "wrap": wrap, "digest": newDigest, "isDigest": isDigest, "capital": capital, "plural": plural,
	}).ParseFS(templateFiles, "templates/base.html", "templates/parts*.html")
	if err != nil {
		return nil, err
	}
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, err
	}
	pages := map[string]*template.Template{}
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name == "base" || strings.HasPrefix(name, "parts") {
			continue
		}
		t, err := base.Clone()
		if err != nil {
			return nil, err
		}
		if pages[name], err = t.ParseFS(templateFiles, file); err != nil {
			return nil, err
		}
	}
	return pages, nil
}

// moment is a time as pages show it: in UTC, with its distance from now.
type moment struct{ at, now time.Time }

// Zero reports whether there is no time to show.
func (m moment) Zero() bool { return m.at.IsZero() }

// Past reports whether the time has come.
func (m moment) Past() bool { return !m.at.After(m.now) }

// ISO is for the datetime attribute.
func (m moment) ISO() string { return m.at.UTC().Format(time.RFC3339) }

// Text is for people: 2026-11-21 18:02:11Z.
func (m moment) Text() string { return m.at.UTC().Format("2006-01-02 15:04:05Z") }

// Distance is the age, or for a time to come, what is left: "4 h ago", "in 1 d 8 h".
func (m moment) Distance() string {
	d := m.now.Sub(m.at)
	if d >= 0 {
		return span(d) + " ago"
	}
	return "in " + span(-d)
}

// span is a length of time in its greatest unit; days below ten also say the hours.
func span(d time.Duration) string {
	day := 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < day:
		return fmt.Sprintf("%d h", int(d.Hours()))
	case d < 10*day && d%day >= time.Hour:
		return fmt.Sprintf("%d d %d h", int(d/day), int(d%day/time.Hour))
	}
	return fmt.Sprintf("%d d", int(d/day))
}

// number writes thousands with commas.
func number(n any) string {
	s := fmt.Sprint(n)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// digestView is a digest taken apart: short it shows Head and Tail and holds
// Mid, whole it breaks into lines of 16 digits that stand under each other.
type digestView struct {
	Alg, Head, Mid, Tail string
	Lines                []string
}

func newDigest(s string) digestView {
	alg, hex, ok := strings.Cut(s, ":")
	if !ok || len(hex) < 16 {
		return digestView{Head: s, Lines: []string{s}}
	}
	v := digestView{Alg: alg + ":", Head: hex[:8], Mid: hex[8 : len(hex)-4], Tail: hex[len(hex)-4:]}
	for len(hex) > 0 {
		n := min(16, len(hex))
		v.Lines = append(v.Lines, hex[:n])
		hex = hex[n:]
	}
	return v
}

// wrap lets a long name break behind slashes, dots, hyphens and the like, and
// a word after 40 characters without one. The name is escaped.
func wrap(s string) template.HTML {
	var b strings.Builder
	start, run := 0, 0
	for i, c := range s {
		end := i + utf8.RuneLen(c)
		if run++; c == ' ' {
			run = 0
		}
		if run >= 40 && c != utf8.RuneError || strings.ContainsRune("/.-_@:", c) {
			b.WriteString(html.EscapeString(s[start:end]))
			if end < len(s) {
				b.WriteString("<wbr/>")
			}
			start, run = end, 0
		}
	}
	b.WriteString(html.EscapeString(s[start:]))
	return template.HTML(b.String()) //nolint:gosec // every part was escaped
}

// sentence begins a problem's message with an upper-case letter when its first
// word is an ordinary one; a name keeps its letters.
func sentence(s string) string {
	first, _, _ := strings.Cut(s, " ")
	if first == "" || !strings.Contains(ordinaryWords, " "+first+" ") {
		return s
	}
	return capital(s)
}

const ordinaryWords = " a an any no nothing only project release chart version the there these this token two without you your "

// capital begins a label or a sentence with an upper-case letter.
func capital(s string) string {
	c, n := utf8.DecodeRuneInString(s)
	if c == utf8.RuneError {
		return s
	}
	return string(unicode.ToUpper(c)) + s[n:]
}

// link is a word that leads somewhere; without URL it is only the word.
type link struct{ Text, URL string }

// size is a number of bytes in words.
func size(n int64) string {
	if n == 1 {
		return "1 byte"
	}
	return number(n) + " bytes"
}

// plural is a count with its noun: "1 release", "1,204 releases".
func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return number(strconv.Itoa(n)) + " " + noun
}
