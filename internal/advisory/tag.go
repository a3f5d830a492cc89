package advisory

import (
	"fmt"
	"strings"
)

// scheme says how the version of a program stands in the tags of its images.
type scheme string

const (
	// schemeSemVer: three numbers. Fewer are a tag that moves.
	schemeSemVer scheme = "semver"
	// schemePostgreSQL: two numbers from version 10 on, three before.
	schemePostgreSQL scheme = "postgresql"
	// schemeJenkins: two numbers are a weekly release, three one of the LTS line.
	schemeJenkins scheme = "jenkins"
	// schemeDate: RELEASE.2023-01-25T00-19-54Z is 2023.1.25.
	schemeDate scheme = "release-date"
)

var schemes = []scheme{schemeSemVer, schemePostgreSQL, schemeJenkins, schemeDate}

// reading is what a tag says of the version.
type reading struct {
	at   version
	text string // of at: numbers without leading zeros, three of them at least
	cut  string // what was left out of the tag
	// Where a part of the tag is of an unknown kind it may make a pre-release:
	// doubt says so, and least is the least version that it may mean. Otherwise
	// least is at.
	least version
	doubt string
}

// readTag reads the version out of a tag. Where there is none, why says so:
// latest and other words, and tags with too few numbers, which move from patch
// to patch and are never taken for the .0. After the numbers come the marks of a
// pre-release, which stay; what the image is built on, how and for what, which is
// cut off; and what is of neither kind, which is cut off with a doubt.
func readTag(tag string, s scheme, prefixes []string) (r reading, why string) {
	rest := tag
	for _, p := range prefixes {
		if t, ok := strings.CutPrefix(rest, p); ok {
			rest = t
			break
		}
	}
	if s == schemeDate {
		if t, ok := strings.CutPrefix(rest, "RELEASE."); ok {
			return readDate(tag, t)
		}
	}
	if len(rest) > 1 && (rest[0] == 'v' || rest[0] == 'V') && isDigit(rest[1]) {
		rest = rest[1:]
	}
	core := rest[:numbers(rest)]
	if core == "" {
		return r, fmt.Sprintf("the tag %q names no version", tag)
	}
	pre, cut, unknown := readRest(rest[len(core):])
	r.cut = cut
	// 17beta1 and 3.1-rc2 name one version, though they have fewer numbers.
	one := strings.ContainsAny(pre, "0123456789") && (count(core) > 1 || s == schemePostgreSQL)
	if count(core) < s.needs(core) && !one {
		return r, fmt.Sprintf("the tag %q names a line of versions and moves along it, so which of them runs is not known", tag)
	}
	r.text = padded(core)
	r.at = releaseAt(r.text)
	if pre != "" {
		r.text += "-" + pre
		r.at.extra, r.at.class = pre, -1
	}
	r.least = r.at
	if unknown != "" {
		r.doubt = fmt.Sprintf("%q in the tag is of no known kind: %s may be a pre-release of it", unknown, tag)
		if pre == "" {
			r.least.extra, r.least.class = "0", -1
		}
	}
	return r, ""
}

// needs is how many numbers a tag must have to name one version.
func (s scheme) needs(core string) int {
	major, _, _ := strings.Cut(core, ".")
	switch {
	case s == schemeJenkins, s == schemePostgreSQL && len(strings.TrimLeft(major, "0")) >= 2:
		return 2
	}
	return 3
}

// padded writes numbers without leading zeros, and three of them at least.
func padded(core string) string {
	var b strings.Builder
	n := 0
	for number := range strings.SplitSeq(core, ".") {
		if n++; n > 1 {
			b.WriteByte('.')
		}
		if number = strings.TrimLeft(number, "0"); number == "" {
			number = "0"
		}
		b.WriteString(number)
	}
	for ; n < 3; n++ {
		b.WriteString(".0")
	}
	return b.String()
}

// readDate reads the rest of MinIO's tags: 2023-01-25T00-19-54Z, which
// advisories have as 2023.1.25. Two releases of one day cannot be told apart.
func readDate(tag, s string) (r reading, why string) {
	day, rest, ok := strings.Cut(s, "T")
	numbers := strings.Split(day, "-")
	if !ok || len(numbers) != 3 || len(day) != 10 || strings.Trim(day, "0123456789-") != "" {
		return r, fmt.Sprintf("the tag %q names no date", tag)
	}
	end := strings.IndexByte(rest, 'Z')
	if end < 0 || strings.Trim(rest[:end], "0123456789-") != "" {
		return r, fmt.Sprintf("the tag %q names no time", tag)
	}
	r.text = padded(strings.Join(numbers, "."))
	r.at = releaseAt(r.text)
	r.least, r.cut = r.at, rest
	if more := strings.TrimLeft(rest[end+1:], ".-"); more != "" && !addition(more) {
		r.doubt = fmt.Sprintf("%q in the tag is of no known kind: %s may be a pre-release of it", more, tag)
		r.least.extra, r.least.class = "0", -1
	}
	return r, ""
}

// readRest reads what follows the numbers. Pre is the mark of a pre-release,
// cut the parts that were left out, and unknown the first of them that is of no
// known kind.
func readRest(s string) (pre, cut, unknown string) {
	var left []string
	build := strings.HasPrefix(s, "_")                // Helm and others write _ for the + of build metadata
	attached := s != "" && s[0] != '-' && s[0] != '_' // to the numbers, as in 2.8.4rc1
	marked, numbered := false, false                  // a number may belong to what is before it: rc-1, debian-12
	for part := range strings.FieldsFuncSeq(s, func(c rune) bool { return c == '-' || c == '_' }) {
		word := strings.Trim(part, ".")
		letters, number := leadingWord(word)
		number = strings.Trim(number, ".")
		digits := strings.Trim(number, "0123456789.") == ""
		switch {
		case pre == "" && digits && preWord(letters) && (len(letters) > 1 || number != ""):
			pre, marked, attached = word, number == "", false
			continue
		case marked && letters == "" && digits && number != "":
			pre, marked = pre+"."+number, false
			continue
		case addition(word):
			numbered = true
		case attached && (releaseWord(word) || afterWord(letters) && digits), numbered && letters == "" && digits, build, word == "":
		case unknown == "":
			unknown = part
		}
		left, marked, attached = append(left, part), false, false
	}
	return pre, strings.Join(left, "-"), unknown
}

// addition reports whether a part of a tag says what the image is built on, how
// or for what, and nothing of the program's version: python3.9, debian, alpine3.19,
// slim, jdk17, r17, patch.0, amd64, a day.
func addition(part string) bool {
	part = strings.ToLower(part)
	letters, number := leadingWord(part)
	if letters == "" {
		return len(part) == 8 && strings.HasPrefix(part, "20") && strings.Trim(part, "0123456789") == "" // when it was built
	}
	switch part {
	case "amd64", "arm64", "arm64v8", "arm32v5", "arm32v6", "arm32v7", "armv7", "armv7l", "armhf", "arm", "i386", "x86", "x64", "aarch64",
		"ppc64le", "s390x", "riscv64", "mips64le":
		return true
	}
	if strings.Trim(number, "0123456789.") != "" {
		first, rest, ok := strings.Cut(part, ".")
		return ok && addition(first) && addition(rest) // ent.hsm
	}
	switch letters {
	case "r", "rev", "patch", "build": // the packager's own count
		return number != ""
	case "python", "py", "jdk", "jre", "java", "openjdk", "temurin", "corretto", "zulu", "php", "node", "ruby", "go", "golang", "perl",
		"erlang", "elixir", "scala", "dotnet", "cuda", "gcc",
		"alpine", "debian", "trixie", "bookworm", "bullseye", "buster", "stretch", "jessie", "wheezy",
		"ubuntu", "noble", "jammy", "focal", "bionic", "xenial", "ubi", "rhel", "el", "centos", "rocky", "rockylinux", "alma", "almalinux",
		"ol", "oracle", "oraclelinux", "fedora", "al", "amazonlinux", "photon", "mariner", "azurelinux", "wolfi", "suse", "sles", "bci", "leap",
		"windowsservercore", "servercore", "nanoserver", "windows", "ltsc", "linux", "multiarch",
		"scratch", "distroless", "static", "chiseled", "slim", "fat", "full", "minimal", "lite", "debug", "shell",
		"nonroot", "rootless", "root", "unprivileged", "management", "apache", "fpm", "cli", "zts", "otel", "cpu", "gpu",
		"lts", "oss", "ce", "ee", "ent", "enterprise", "community", "fips", "hsm", "boringssl":
		return true
	}
	return false
}
