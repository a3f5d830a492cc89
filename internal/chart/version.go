package chart

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Limits of a version. A version stands in OCI tags, where 128 characters are
// the most; imported history may have longer ones, up to what Helm reads.
const (
	MaxVersionLength       = 128 // bytes, of a version that may be released
	maxImportVersionLength = 256 // bytes, of a version that Helm can read
)

// Version is a Semantic Versioning 2.0.0 version in its one canonical
// spelling. Two Versions are equal under == when they are spelt the same. The
// zero Version is no version; its String is empty.
type Version struct {
	text  string
	pre   int // index of the pre-release's first byte, or 0 for none
	build int // index of the build metadata's first byte, or 0 for none
}

// ParseVersion reads a strict version: no leading v, three numbers, no
// leading zeros, at most MaxVersionLength bytes. It is narrower than SemVer
// 2.0.0 in one point: numbers must fit 64 bits, because Helm refuses or
// mis-sorts larger ones.
//
// The error is a problem of kind Invalid with rule "chart-version"; it names
// the corrected version where one can be guessed.
func ParseVersion(s string) (Version, error) {
	if len(s) > MaxVersionLength {
		return Version{}, problem.New(problem.Invalid, "chart-version",
			"the chart version is %d bytes long, and an OCI tag holds at most %d", len(s), MaxVersionLength).
			Suggest("shorten the pre-release or build part of the version in Chart.yaml")
	}
	v, fault := parseVersion(s)
	if fault == "" && v.overflows() {
		fault = "has a number that does not fit 64 bits, which Helm cannot read"
	}
	if fault == "" {
		return v, nil
	}
	p := problem.New(problem.Invalid, "chart-version", "chart version %q is not a Semantic Version 2.0.0: it %s", s, fault)
	if guess, ok := guessVersion(s); ok {
		p.Suggest("set `version: %s` in Chart.yaml", guess)
	} else {
		p.Suggest("set a version such as `version: 1.0.0` in Chart.yaml")
	}
	return Version{}, p
}

// parseVersion reads a version of any length whose numbers may have any
// size. Fault says what is wrong, as the rest of a sentence about the version.
func parseVersion(s string) (v Version, fault string) {
	if s == "" {
		return Version{}, "is empty"
	}
	v.text = s
	core := s
	if i := strings.IndexByte(core, '+'); i >= 0 {
		v.build, core = i+1, core[:i]
	}
	if i := strings.IndexByte(core, '-'); i >= 0 {
		v.pre, core = i+1, core[:i]
	}
	numbers := 0
	for number := range strings.SplitSeq(core, ".") {
		numbers++
		switch {
		case number != "" && (number[0] == 'v' || number[0] == 'V') && numbers == 1:
			return Version{}, "begins with a letter"
		case number == "" || !digits(number):
			return Version{}, fmt.Sprintf("has %q where a number belongs", number)
		case len(number) > 1 && number[0] == '0':
			return Version{}, fmt.Sprintf("has the number %s with a leading zero", number)
		}
	}
	if numbers != 3 {
		return Version{}, fmt.Sprintf("has %d of the three numbers major.minor.patch", numbers)
	}
	if v.pre > 0 {
		for id := range strings.SplitSeq(v.prerelease(), ".") {
			switch {
			case !identifier(id):
				return Version{}, fmt.Sprintf("has the pre-release part %q, which must be of letters, digits and hyphens", id)
			case digits(id) && len(id) > 1 && id[0] == '0':
				return Version{}, fmt.Sprintf("has the pre-release number %s with a leading zero", id)
			}
		}
	}
	if v.build > 0 {
		for id := range strings.SplitSeq(v.Build(), ".") {
			if !identifier(id) {
				return Version{}, fmt.Sprintf("has the build part %q, which must be of letters, digits and hyphens", id)
			}
		}
	}
	return v, ""
}

// guessVersion proposes the strict version that somebody meant. It never
// proposes the input.
func guessVersion(s string) (string, bool) {
	g := strings.TrimSpace(s)
	g = strings.TrimLeft(g, "vV=")
	g = VersionForTag(g)
	core, build, hasBuild := strings.Cut(g, "+")
	core, pre, hasPre := strings.Cut(core, "-")
	if hasPre {
		ids := strings.Split(pre, ".")
		for i, id := range ids {
			if digits(id) {
				ids[i] = trimZeros(id)
			}
		}
		core += "-" + strings.Join(ids, ".")
	}
	if hasBuild {
		core += "+" + build
	}
	v, ok := canonical(core)
	if !ok || v.text == s || v.overflows() || len(v.text) > MaxVersionLength {
		return "", false
	}
	return v.text, true
}

// canonical returns the strict spelling of a version that Helm can read.
func canonical(s string) (Version, bool) {
	m, err := semver.NewVersion(s)
	if err != nil {
		return Version{}, false
	}
	v, fault := parseVersion(m.String())
	return v, fault == ""
}

// String returns the version as it was written.
func (v Version) String() string { return v.text }

// Tag returns the OCI tag of the version: Helm writes _ for +.
func (v Version) Tag() string { return TagFor(v.text) }

// Key returns the version without its build metadata. Helm cannot tell two
// releases of a chart with the same key apart.
func (v Version) Key() string {
	if v.build > 0 {
		return v.text[:v.build-1]
	}
	return v.text
}

// Prerelease reports whether the version is a pre-release.
func (v Version) Prerelease() bool { return v.pre > 0 }

// Build returns the build metadata without its +, or "".
func (v Version) Build() string {
	if v.build > 0 {
		return v.text[v.build:]
	}
	return ""
}

func (v Version) core() string {
	if v.pre > 0 {
		return v.text[:v.pre-1]
	}
	return v.Key()
}

func (v Version) prerelease() string {
	if v.pre > 0 {
		return v.Key()[v.pre:]
	}
	return ""
}

// overflows reports whether a number of the version does not fit 64 bits.
func (v Version) overflows() bool {
	for _, part := range []string{v.core(), v.prerelease()} {
		for id := range strings.SplitSeq(part, ".") {
			if len(id) < 20 || !digits(id) {
				continue
			}
			if _, err := strconv.ParseUint(id, 10, 64); err != nil {
				return true
			}
		}
	}
	return false
}

// Compare returns -1, 0 or +1 by SemVer 2.0.0 section 11 precedence, which
// ignores build metadata: it is 0 exactly when the Keys are equal.
func (v Version) Compare(o Version) int {
	return cmp.Compare(v.precedence(), o.precedence())
}

// SortKey returns a string of printable ASCII whose order by bytes is SemVer
// 2.0.0 section 11 precedence, for numbers of any length. Build metadata,
// which has no precedence, is appended and decides last, so that the order is
// total.
func (v Version) SortKey() string {
	if v.text == "" {
		return ""
	}
	return v.precedence() + v.Build()
}

// precedence encodes the version without build metadata. No encoding is a
// prefix of another, so anything may follow it.
//
// A number is its length in two hexadecimal digits and its digits, so that
// shorter numbers sort first. A release ends with ~, which sorts above the -
// of every pre-release. In a pre-release a numeric identifier begins with 0
// and any other with 1; a comma leads to the next identifier and ! ends the
// list. Both sort below every character of an identifier, and ! below the
// comma, so the shorter list sorts first.
func (v Version) precedence() string {
	if v.text == "" {
		return ""
	}
	b := make([]byte, 0, len(v.text)+16)
	b = append(b, versionClass)
	for number := range strings.SplitSeq(v.core(), ".") {
		b = appendNumber(b, number)
	}
	if v.pre == 0 {
		return string(append(b, '~'))
	}
	separator := byte('-')
	for id := range strings.SplitSeq(v.prerelease(), ".") {
		b = append(b, separator)
		if digits(id) {
			b = appendNumber(append(b, '0'), id)
		} else {
			b = append(append(b, '1'), id...)
		}
		separator = ','
	}
	return string(append(b, '!'))
}

// The first byte of a sort key: what is no version sorts below all versions.
const (
	nonVersionClass = '0'
	versionClass    = '1'
)

func appendNumber(b []byte, number string) []byte {
	const hex = "0123456789abcdef"
	n := len(number) // below 256, because a version has at most 256 bytes
	return append(append(b, hex[n>>4], hex[n&15]), number...)
}

// LenientVersion reads the version of a chart that an old repository
// published. Key is the canonical version without build metadata if Helm can
// read s (v1.0.0 and 1.0 both give 1.0.0), and "" if it cannot. SortKey is
// never empty and consists of printable ASCII; it is that of the canonical
// version, followed by the original spelling where that differs. What is no
// version sorts below all versions, by its first 256 bytes.
func LenientVersion(s string) (key, sortKey string) {
	v, fault := parseVersion(s)
	if len(s) <= maxImportVersionLength && fault == "" {
		if _, err := semver.NewVersion(s); err == nil {
			return v.Key(), v.SortKey()
		}
	}
	if v, ok := canonical(s); ok {
		return v.Key(), v.SortKey() + "!" + s
	}
	if len(s) > maxImportVersionLength {
		s = s[:maxImportVersionLength]
	}
	b := []byte{nonVersionClass}
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f && c != '%' {
			b = append(b, c)
		} else {
			b = fmt.Appendf(b, "%%%02X", c)
		}
	}
	return "", string(b)
}

// TagFor returns the OCI tag under which Helm stores a version: an OCI tag
// may not contain +, and Helm writes _ in its place.
func TagFor(version string) string { return strings.ReplaceAll(version, "+", "_") }

// VersionForTag returns the version for which Helm takes a tag.
func VersionForTag(tag string) string { return strings.ReplaceAll(tag, "_", "+") }

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func identifier(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return s != ""
}

func trimZeros(number string) string {
	if t := strings.TrimLeft(number, "0"); t != "" {
		return t
	}
	return "0"
}
