package upstream

import (
	"strconv"
	"strings"
	"time"
)

// Limits of a changelog. What is beyond them is left out.
const (
	maxChangelog = 8 << 20 // bytes
	maxSections  = 10_000
)

// Section is what a changelog says of one version.
type Section struct {
	Chart   string // where the heading names one, as in chart-1.2.3
	Version string // without a v before it
	Title   string // the heading as it stands there, without its marks
	Date    time.Time
	Start   int    // line of the heading, from 1
	End     int    // last line, up to the next heading
	Text    string // all these lines
}

// heading is a line that begins a section, or ends one.
type heading struct {
	line    int
	level   int    // of #; 1 and 2 for underlined ones
	under   bool   // is underlined
	banner  bool   // is underlined and has a line above, or "Released" in it
	before  string // words before the version, in lower case
	title   string
	chart   string
	version string // "" for a heading that only ends a section
	date    time.Time
	pending bool // of what is not released yet
}

// Changelog splits a text into its sections by the headings that name a
// version, in the order of the text. It reads Markdown as Keep a Changelog,
// Conventional Changelog and Helm charts write it ("## [1.2.3] - 2026-01-31",
// "## 1.2.3 (January 31, 2026)", "### chart-1.2.3"), headings that are
// underlined, and plain text in which the heading of a release has a line above
// and below. What is said of changes that are not released is no section, and
// neither are headings in code blocks and headings that speak of a version
// ("Changes since 1.2.2"). A version may have several sections. It never fails;
// the first 8 MiB and 10,000 headings are read. Cost: linear in the text.
func Changelog(text string) []Section {
	text = text[:min(len(text), maxChangelog)]
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	all := chosen(headings(lines))
	var out []Section
	for i, h := range all {
		if h.version == "" {
			continue
		}
		end := len(lines)
		for _, next := range all[i+1:] {
			if next.version != "" || next.pending || next.level < h.level {
				end = next.line - 1
				break
			}
		}
		if end == len(lines) && end > h.line && lines[end-1] == "" {
			end-- // what follows the last line break is no line
		}
		out = append(out, Section{
			Chart: h.chart, Version: h.version, Title: h.title, Date: h.date,
			Start: h.line, End: end, Text: strings.Join(lines[h.line-1:end], "\n"),
		})
	}
	return out
}

// headings lists what may begin or end a section.
func headings(lines []string) []heading {
	var out []heading
	fence := ""
	for i := 0; i < len(lines) && len(out) < maxSections; i++ {
		line := lines[i]
		if mark := fenceMark(line); mark != "" {
			switch {
			case fence == "":
				fence = mark
			case strings.HasPrefix(mark, fence) && strings.Trim(strings.TrimSpace(line), fence[:1]) == "":
				fence = ""
			}
			continue
		}
		if fence != "" || len(line) > 1000 {
			continue
		}
		h := heading{line: i + 1}
		trimmed := strings.TrimLeft(line, " ")
		switch rest := strings.TrimLeft(trimmed, "#"); {
		case len(line)-len(trimmed) > 3, trimmed == "":
			continue
		case len(rest) < len(trimmed):
			if h.level = len(trimmed) - len(rest); h.level > 6 || rest != "" && rest[0] != ' ' && rest[0] != '\t' {
				continue
			}
			h.title = strings.TrimSpace(strings.TrimRight(strings.TrimSpace(rest), "#"))
		case i+1 < len(lines) && underline(lines[i+1]) > 0 && underline(line) == 0:
			h.level, h.title, h.under = underline(lines[i+1]), strings.TrimSpace(trimmed), true
			h.banner = i > 0 && underline(lines[i-1]) > 0 || strings.Contains(h.title, " Released ")
		case strings.HasPrefix(trimmed, "**") && strings.HasSuffix(strings.TrimSpace(trimmed), "**"):
			h.level, h.title = 6, strings.TrimSpace(trimmed)
		default:
			continue
		}
		if h.read() {
			out = append(out, h)
		}
	}
	return out
}

// fenceMark is the mark of a code block that begins or ends on a line.
func fenceMark(line string) string {
	t := strings.TrimLeft(line, " ")
	if len(line)-len(t) > 3 {
		return ""
	}
	for _, c := range []string{"`", "~"} {
		if n := len(t) - len(strings.TrimLeft(t, c)); n >= 3 && !(c == "`" && strings.Contains(t[n:], "`")) {
			return t[:n]
		}
	}
	return ""
}

// underline is the level of a heading that a line is drawn under, 0 for no line.
func underline(line string) int {
	t := strings.TrimRight(line, " \t")
	switch {
	case len(t) < 3:
		return 0
	case strings.Trim(t, "=") == "":
		return 1
	case strings.Trim(t, "-") == "":
		return 2
	}
	return 0
}

// read finds the version in a heading, and says whether the heading matters.
func (h *heading) read() bool {
	lower := strings.ToLower(h.title)
	if strings.Contains(lower, "unreleased") || strings.Contains(lower, "x.x.x") {
		h.pending = true
		return true
	}
	words := strings.Fields(unlinked(h.title))
	for i, w := range words[:min(len(words), 5)] {
		w = strings.Trim(w, "[](){}*_`~:,;!\"'")
		chart, version, ok := ParseTag(w)
		if !ok {
			version, ok = shortVersion(w, words[i+1:])
		}
		if ok {
			h.chart, h.version = chart, version
			h.date = dateIn(strings.Join(words[i+1:], " "))
			return true
		}
		switch w = strings.ToLower(w); w {
		case "since", "from", "to", "in", "before", "until", "after", "than", "for", "with", "of":
			return !h.under
		case "", "version", "release", "chart", "helm", "v", "-":
		default:
			h.before = strings.TrimSpace(h.before + " " + w)
		}
	}
	return !h.under && h.level < 6
}

// shortVersion is a version of two numbers, with the name of a pre-release
// after a hyphen or as the next word.
func shortVersion(w string, next []string) (string, bool) {
	v := strings.TrimPrefix(strings.TrimPrefix(w, "v"), "V")
	core, pre, _ := strings.Cut(v, "-")
	major, minor, ok := strings.Cut(core, ".")
	if !ok || !isNumber(major) || !isNumber(minor) || len(major) > 4 || pre != "" && !identifiers(pre, true) {
		return "", false
	}
	if len(next) > 0 && pre == "" {
		for _, p := range []string{"rc", "beta", "alpha"} {
			if n, is := strings.CutPrefix(strings.ToLower(next[0]), p); is && strings.Trim(n, "0123456789.") == "" {
				return v + "-" + next[0], true
			}
		}
	}
	return v, true
}

// unlinked is a heading without the targets of its links and without tags.
func unlinked(s string) string {
	for range 8 {
		i := strings.Index(s, "](")
		if i < 0 {
			break
		}
		j := strings.IndexByte(s[i:], ')')
		if j < 0 {
			break
		}
		s = s[:i+1] + " " + s[i+j+1:]
	}
	for range 8 {
		i := strings.IndexByte(s, '<')
		j := strings.IndexByte(s, '>')
		if i < 0 || j < i {
			break
		}
		s = s[:i] + " " + s[j+1:]
	}
	return s
}

// chosen drops headings that only look as if they began a section. Where some
// begin with their version, those with other words before it speak of something
// else; where all have words before it, those with the most frequent words
// count.
func chosen(all []heading) []heading {
	counts, most, plain := map[string]int{}, "", false
	banners := false
	for _, h := range all {
		if h.version == "" {
			continue
		}
		plain = plain || h.before == ""
		banners = banners || h.banner
		if counts[h.before]++; counts[h.before] > counts[most] {
			most = h.before
		}
	}
	if plain {
		most = ""
	}
	out := all[:0]
	for _, h := range all {
		switch {
		case h.version == "" && !banners:
			out = append(out, h)
		case h.version == "":
		case h.banner == banners && (h.before == most || banners):
			out = append(out, h)
		}
	}
	return out
}

var months = map[string]time.Month{
	"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12,
}

// dateIn finds a date in the rest of a heading: 2026-01-31, January 31st, 2026,
// or 31 Jan 2026.
func dateIn(s string) time.Time {
	var day, year int
	var month time.Month
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" \t,()[]/*_", r) }) {
		if t, err := time.Parse(time.DateOnly, w); err == nil {
			return t
		}
		if len(w) >= 3 && months[strings.ToLower(w[:3])] > 0 && strings.Trim(strings.ToLower(w), "abcdefghijklmnopqrstuvwxyz") == "" {
			month = months[strings.ToLower(w[:3])]
			continue
		}
		n, err := strconv.Atoi(strings.TrimRight(w, "stndrh"))
		switch {
		case err != nil:
		case n >= 1 && n <= 31 && day == 0:
			day = n
		case n >= 1990 && n < 2200 && year == 0:
			year = n
		}
	}
	if day == 0 || month == 0 || year == 0 {
		return time.Time{}
	}
	t := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	if t.Day() != day {
		return time.Time{}
	}
	return t
}
