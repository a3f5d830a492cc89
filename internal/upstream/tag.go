package upstream

import (
	"strings"
)

// maxTag is the longest tag that is read, as Git hosts and registries have it.
const maxTag = 512

// ParseTag reads the chart and the version out of the tag of a release. These
// forms are known, each with or without a v before the version, which must be a
// SemVer 2.0.0:
//
//	1.2.3               chart-name-1.2.3-rc.1
//	chart/1.2.3         charts/chart@1.2.3
//	chart_1.2.3         chart.1.2.3
//
// The version is the longest end of the tag that is one, so that in
// foo-1.2.3-2.0.0 it is 1.2.3-2.0.0. Without a name in the tag, chart is "".
// Of a path, chart is the last part.
func ParseTag(tag string) (chart, version string, ok bool) {
	tag = strings.TrimPrefix(tag, "refs/tags/")
	if len(tag) > maxTag {
		return "", "", false
	}
	if v, ok := bareVersion(tag); ok {
		return "", v, true
	}
	for i := range len(tag) {
		switch tag[i] {
		case '-', '/', '@', '_', '.', '=':
		default:
			continue
		}
		v, is := bareVersion(tag[i+1:])
		if !is {
			continue
		}
		if tag[i] == '.' && i > 0 && tag[i-1] >= '0' && tag[i-1] <= '9' {
			continue // 1.2.3.4 is no version of a chart named 1
		}
		name := tag[:i]
		if j := strings.LastIndexAny(name, "/@"); j >= 0 {
			name = name[j+1:]
		}
		switch {
		case strings.Trim(name, "0123456789.-_") == "" && name != "":
			return "", "", false // a date or another number
		case name == "v" || name == "release" || name == "version":
			name = ""
		}
		return name, v, true
	}
	return "", "", false
}

// bareVersion is a SemVer 2.0.0 that a v may stand before, without it.
func bareVersion(s string) (string, bool) {
	if len(s) > 1 && (s[0] == 'v' || s[0] == 'V') {
		s = s[1:]
	}
	core, rest := s, ""
	if i := strings.IndexAny(s, "-+"); i >= 0 {
		core, rest = s[:i], s[i:]
	}
	parts := 0
	for p := range strings.SplitSeq(core, ".") {
		if parts++; parts > 3 || !isNumber(p) {
			return "", false
		}
	}
	if parts != 3 {
		return "", false
	}
	pre, build, hasBuild := strings.Cut(rest, "+")
	if pre != "" && !identifiers(pre[1:], true) || hasBuild && !identifiers(build, false) {
		return "", false
	}
	return s, true
}

// isNumber says whether a text is a decimal number without leading zeros.
func isNumber(s string) bool {
	if s == "" || len(s) > 18 || len(s) > 1 && s[0] == '0' {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// identifiers checks the parts of a pre-release or of build metadata.
func identifiers(s string, pre bool) bool {
	for p := range strings.SplitSeq(s, ".") {
		digits := p != ""
		for i := range len(p) {
			c := p[i]
			switch {
			case c >= '0' && c <= '9':
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-':
				digits = false
			default:
				return false
			}
		}
		if p == "" || pre && digits && len(p) > 1 && p[0] == '0' {
			return false
		}
	}
	return true
}
