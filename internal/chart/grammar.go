package chart

import "strings"

// Bounds of the grammar of the OCI distribution specification 1.1.1, "Pulling
// manifests", in bytes.
const (
	MaxRepository = 255 // many clients limit host and name together to 255
	MaxTag        = 128
)

func lowerAlnum(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// IsRepository reports whether s is a repository name:
//
//	[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*
func IsRepository(s string) bool {
	if s == "" || len(s) > MaxRepository || !lowerAlnum(s[0]) || !lowerAlnum(s[len(s)-1]) {
		return false
	}
	for i := 1; i < len(s); {
		c := s[i]
		if lowerAlnum(c) {
			i++
			continue
		}
		from := i
		for s[i] == c { // ends: the last byte is a letter or digit
			i++
		}
		run := i - from
		switch {
		case !lowerAlnum(s[i]): // two different separators in a row
			return false
		case c == '-', run == 1 && (c == '.' || c == '_' || c == '/'), run == 2 && c == '_':
		default:
			return false
		}
	}
	return true
}

// IsTag reports whether s is a tag: [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}.
func IsTag(s string) bool {
	if s == "" || len(s) > MaxTag || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !lowerAlnum(c) && (c < 'A' || c > 'Z') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// IsSegment reports whether s is one path component of a repository name.
func IsSegment(s string) bool {
	return IsRepository(s) && !strings.Contains(s, "/")
}
