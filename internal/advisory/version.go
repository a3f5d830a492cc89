package advisory

import (
	"cmp"
	"strings"
)

// maxVersion is the longest version that is read, in bytes.
const maxVersion = 256

// version is a version that has its place in the order. The order is that of
// SemVer 2.0.0 section 11, with these differences, because most of what is
// compared here is not strict SemVer:
//
//   - there may be any number of numbers; what is missing is 0, so 11.22 is
//     11.22.0; leading zeros mean nothing, so 2020.04.23 is 2020.4.23;
//   - runs of digits and runs of letters in a pre-release are compared one by
//     one, numbers as numbers: rc1 is rc.1, and rc2 is before rc10; words are in
//     the order of the alphabet, also dev, which PEP 440 has before alpha;
//   - case means nothing; a, b, c, cr and m are alpha, beta, rc, rc and
//     milestone;
//   - PEP 440 and Maven may follow the numbers without a hyphen: 2.8.4rc1,
//     2.8.4.dev0, 1.0.0.Final. post, patch, sp and p are after the release.
//
// Build metadata has no place in it. Parts of the text are shared, not copied.
type version struct {
	core  string // numbers with dots between them
	extra string // of a pre-release, or of what is after a release
	class int    // -1 pre-release, 0 release, +1 after the release; -2 see bottom
	place uint64 // see placeOf: two of them are compared in place of the cores
}

// releaseAt is the release with these numbers.
func releaseAt(core string) version { return version{core: core, place: placeOf(core)} }

// placeOf is where numbers stand in their order, as one number: four of them
// with 15 bits each, below a bit that says so. 0 is for numbers that do not fit.
func placeOf(core string) uint64 {
	const each, most = 15, 4
	place, number, n := uint64(0), uint64(0), 0
	for i := 0; i <= len(core); i++ {
		if i < len(core) && core[i] != '.' {
			if number = number*10 + uint64(core[i]-'0'); number >= 1<<each {
				return 0
			}
			continue
		}
		if n++; n > most {
			return 0
		}
		place, number = place<<each|number, 0
	}
	return 1<<63 | place<<(each*(most-n))
}

// parseVersion reads the version of a program, as advisories and Chart.yaml have
// it: one v before it is ignored, and what follows a hyphen is a pre-release as
// in SemVer. Tags of images are read by readTag.
func parseVersion(s string) (version, bool) {
	if len(s) > maxVersion {
		return version{}, false
	}
	if len(s) > 1 && (s[0] == 'v' || s[0] == 'V') {
		s = s[1:]
	}
	if plus := strings.IndexByte(s, '+'); plus >= 0 {
		s = s[:plus]
	}
	v := releaseAt(s[:numbers(s)])
	rest := s[len(v.core):]
	switch {
	case v.core == "":
		return version{}, false
	case rest == "":
		return v, true
	case rest[0] == '-':
		v.extra, v.class = rest[1:], -1
		return v, isExtra(v.extra)
	}
	v.extra = strings.TrimLeft(rest, "._")
	word, _ := leadingWord(v.extra)
	switch {
	case !isExtra(v.extra):
		return version{}, false
	case preWord(word):
		v.class = -1
	case afterWord(word):
		v.class = 1
	case releaseWord(v.extra):
		v.extra = ""
	default:
		return version{}, false
	}
	return v, true
}

// numbers is the length of the numbers at the beginning: digits, with single
// dots between them.
func numbers(s string) int {
	end := 0
	for i := 0; i < len(s); i++ {
		switch {
		case isDigit(s[i]):
			end = i + 1
		case s[i] == '.' && end == i && i > 0:
		default:
			return end
		}
	}
	return end
}

// count is how many numbers a core has.
func count(core string) int { return strings.Count(core, ".") + 1 }

func isExtra(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && !isDigit(c) && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

// leadingWord splits a text after its first letters.
func leadingWord(s string) (word, rest string) {
	i := 0
	for i < len(s) && isLetter(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

// preWord reports whether a word makes a version a pre-release.
func preWord(w string) bool {
	switch strings.ToLower(w) {
	case "a", "alpha", "b", "beta", "c", "cr", "rc", "m", "milestone", "pre", "preview", "prerelease", "ea", "eap",
		"dev", "devel", "develop", "snapshot", "nightly", "canary", "unstable", "insiders":
		return true
	}
	return false
}

func afterWord(w string) bool {
	switch strings.ToLower(w) {
	case "post", "patch", "sp", "p", "pl":
		return true
	}
	return false
}

func releaseWord(w string) bool {
	switch strings.ToLower(w) {
	case "final", "ga", "release":
		return true
	}
	return false
}

// settled reports whether every packager orders this version as we do. Of what
// stands after a hyphen, only known words and Go's pseudo-versions are: 31.1-jre
// of Maven is a release.
func (v version) settled() bool {
	if v.class >= 0 {
		return true
	}
	word, _ := leadingWord(v.extra)
	return preWord(word) || v.extra == "0" || strings.HasPrefix(v.extra, "0.")
}

// revised reports whether v may mean the packager's revision of a release, as
// 4.6.0-1 does, where SemVer reads a pre-release.
func (v version) revised() bool {
	return v.class == -1 && isDigit(v.extra[0]) && !v.settled()
}

// compare returns -1, 0 or +1.
func compare(a, b version) int {
	if a.place != 0 && b.place != 0 {
		if a.place != b.place {
			return cmp.Compare(a.place, b.place)
		}
	} else if c := compareNumbers(a.core, b.core); c != 0 {
		return c
	}
	if a.class != b.class || a.class == 0 {
		return cmp.Compare(a.class, b.class)
	}
	return compareExtras(a.extra, b.extra)
}

// compareNumbers compares numbers of any size and count.
func compareNumbers(a, b string) int {
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		for i < len(a) && a[i] == '0' {
			i++
		}
		for j < len(b) && b[j] == '0' {
			j++
		}
		c := 0 // of the first digits that differ, which decide among numbers of one length
		for i < len(a) && j < len(b) && a[i] != '.' && b[j] != '.' {
			if c == 0 {
				c = cmp.Compare(a[i], b[j])
			}
			i, j = i+1, j+1
		}
		switch {
		case i < len(a) && a[i] != '.':
			return 1
		case j < len(b) && b[j] != '.':
			return -1
		case c != 0:
			return c
		}
		i, j = i+1, j+1 // over the dots
	}
	return 0
}

// compareExtras compares runs of digits and of letters in turn: a number is
// before a word, and the end is before anything.
func compareExtras(a, b string) int {
	for {
		var x, y string
		x, a = run(a)
		y, b = run(b)
		switch {
		case x == "" || y == "":
			return cmp.Compare(len(x), len(y))
		case isDigit(x[0]) != isDigit(y[0]):
			if isDigit(x[0]) {
				return -1
			}
			return 1
		}
		c := 0
		if isDigit(x[0]) {
			c = compareNumbers(x, y)
		} else {
			c = strings.Compare(wholeWord(x), wholeWord(y))
		}
		if c != 0 {
			return c
		}
	}
}

func run(s string) (first, rest string) {
	s = strings.TrimLeft(s, ".-_")
	if s == "" || !isDigit(s[0]) {
		return leadingWord(s)
	}
	i := 0
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

func wholeWord(w string) string {
	switch w = strings.ToLower(w); w {
	case "a":
		return "alpha"
	case "b":
		return "beta"
	case "c", "cr":
		return "rc"
	case "m":
		return "milestone"
	}
	return w
}
