package oci

import (
	"math"
	"strings"
)

// Bounds of the grammar, in bytes.
const (
	maxUploadID = 128
	maxPath     = 1024 // of a whole URL path: a name, a keyword and a sha512 digest fit well
)

func lowerAlnum(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

func tagByte(c byte) bool {
	return lowerAlnum(c) || 'A' <= c && c <= 'Z' || c == '_' || c == '.' || c == '-'
}

// validUploadID accepts what can stand in a URL path as it is. Which ids exist
// is known to the service.
func validUploadID(s string) bool {
	if s == "" || len(s) > maxUploadID || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		if !tagByte(s[i]) && s[i] != '~' && s[i] != '=' {
			return false
		}
	}
	return true
}

// manifestType returns the media type of a Content-Type header without its
// parameters, and whether a manifest may have it: a media type of RFC 6838
// that is JSON.
func manifestType(header string) (string, bool) {
	t, _, _ := strings.Cut(header, ";")
	t = strings.ToLower(strings.TrimSpace(t))
	main, sub, ok := strings.Cut(t, "/")
	if !ok || len(t) > 255 || main == "" || sub == "" {
		return "", false
	}
	for i := range len(t) {
		if c := t[i]; !lowerAlnum(c) && strings.IndexByte("!#$&-^_.+/", c) < 0 {
			return "", false
		}
	}
	if strings.Contains(sub, "/") {
		return "", false
	}
	return t, t == "application/json" || strings.HasSuffix(t, "+json")
}

// number reads decimal digits alone. What is over the largest int64 counts as
// that, since every number here is compared with a size.
func number(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		if n > (math.MaxInt64-9)/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// part is what a Range header asks for.
type part uint8

const (
	whole       part = iota // no range, or one that RFC 9110 section 14.2 allows to ignore
	satisfiable             // one range of the bytes
	outside                 // a range of which there is no byte: 416
)

// parseRange reads a Range header (RFC 9110 section 14.1.2) for size bytes.
// Several ranges, other units and malformed ones are ignored; a range that ends
// before it begins is refused, as the conformance program asks.
func parseRange(header string, size int64) (p part, offset, length int64) {
	const unit = "bytes="
	if len(header) <= len(unit) || !strings.EqualFold(header[:len(unit)], unit) {
		return whole, 0, 0
	}
	first, last, ok := strings.Cut(strings.Trim(header[len(unit):], " \t"), "-")
	if !ok || strings.IndexByte(last, ',') >= 0 {
		return whole, 0, 0
	}
	if first == "" { // the last n bytes
		n, ok := number(last)
		switch {
		case !ok:
			return whole, 0, 0
		case n == 0 || size == 0:
			return outside, 0, 0
		}
		n = min(n, size)
		return satisfiable, size - n, n
	}
	from, ok := number(first)
	if !ok {
		return whole, 0, 0
	}
	to := int64(math.MaxInt64)
	if last != "" {
		if to, ok = number(last); !ok {
			return whole, 0, 0
		}
	}
	if to < from || from >= size {
		return outside, 0, 0
	}
	to = min(to, size-1)
	return satisfiable, from, to - from + 1
}

// parseContentRange reads the Content-Range header of an uploaded piece, which
// the specification writes without a unit: ^[0-9]+-[0-9]+$, both ends
// inclusive. An end just before the beginning is how some clients write a piece
// without bytes.
func parseContentRange(header string) (offset, length int64, ok bool) {
	first, last, ok := strings.Cut(header, "-")
	if !ok {
		return 0, 0, false
	}
	from, ok1 := number(first)
	to, ok2 := number(last)
	if !ok1 || !ok2 || to < from-1 || to == math.MaxInt64 {
		return 0, 0, false
	}
	return from, to - from + 1, true
}
