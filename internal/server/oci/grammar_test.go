package oci

import (
	"math"
	"regexp"
	"strings"
	"testing"
)

// The expressions of the specification, as the judges of our own code.
var (
	specName         = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	specTag          = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	specContentRange = regexp.MustCompile(`^[0-9]+-[0-9]+$`)
)

func TestManifestType(t *testing.T) {
	for in, want := range map[string]string{
		typeManifest: typeManifest,
		"application/vnd.oci.image.index.v1+json; charset=utf-8": typeIndex,
		"application/json": "application/json",
		"APPLICATION/JSON": "application/json",
		" application/vnd.docker.distribution.manifest.v2+json ": "application/vnd.docker.distribution.manifest.v2+json",
		"text/html":          "",
		"image/svg+xml":      "",
		"application/xjson":  "",
		"":                   "",
		"json":               "",
		"/json":              "",
		"a/b/c+json":         "",
		"a/<b>+json":         "",
		"a/b c+json":         "",
		"text/html,a/b+json": "",
		"a/" + strings.Repeat("x", 300) + "+json": "",
	} {
		got, ok := manifestType(in)
		if !ok {
			got = ""
		}
		if got != want {
			t.Errorf("manifestType(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestParseRange(t *testing.T) {
	for _, tc := range []struct {
		header         string
		size           int64
		part           part
		offset, length int64
	}{
		{"bytes=500-1499", 2048, satisfiable, 500, 1000},
		{"bytes=500-", 2048, satisfiable, 500, 1548},
		{"bytes=-500", 2048, satisfiable, 1548, 500},
		{"bytes=2000-5000", 2048, satisfiable, 2000, 48},
		{"bytes=0-0", 2048, satisfiable, 0, 1},
		{"bytes=2047-", 2048, satisfiable, 2047, 1},
		{"bytes=-5000", 2048, satisfiable, 0, 2048},
		{"BYTES=1-2", 2048, satisfiable, 1, 2},
		{"bytes=0-99999999999999999999999", 2048, satisfiable, 0, 2048},
		{"bytes=500-0", 2048, outside, 0, 0},
		{"bytes=5000-10000", 2048, outside, 0, 0},
		{"bytes=2048-", 2048, outside, 0, 0},
		{"bytes=-0", 2048, outside, 0, 0},
		{"bytes=0-", 0, outside, 0, 0},
		{"bytes=-1", 0, outside, 0, 0},
		{"bytes=99999999999999999999999-", 2048, outside, 0, 0},
		{"bytes=0-1,3-4", 2048, whole, 0, 0},
		{"bytes=0-1, -4", 2048, whole, 0, 0},
		{"bytes=", 2048, whole, 0, 0},
		{"bytes=-", 2048, whole, 0, 0},
		{"bytes=a-b", 2048, whole, 0, 0},
		{"bytes=1-b", 2048, whole, 0, 0},
		{"bytes=+1-2", 2048, whole, 0, 0},
		{"bytes=--1", 2048, whole, 0, 0},
		{"bytes=7", 2048, whole, 0, 0},
		{"lines=0-1", 2048, whole, 0, 0},
		{"", 2048, whole, 0, 0},
	} {
		p, offset, length := parseRange(tc.header, tc.size)
		if p != tc.part || offset != tc.offset || length != tc.length {
			t.Errorf("parseRange(%q, %d) = %v, %d, %d, want %v, %d, %d", tc.header, tc.size, p, offset, length, tc.part, tc.offset, tc.length)
		}
	}
}

func TestParseContentRange(t *testing.T) {
	for _, tc := range []struct {
		header         string
		offset, length int64
		ok             bool
	}{
		{"0-0", 0, 1, true},
		{"0-1023", 0, 1024, true},
		{"1024-2047", 1024, 1024, true},
		{"5-4", 5, 0, true},
		{"5-3", 0, 0, false},
		{"-5", 0, 0, false},
		{"5-", 0, 0, false},
		{"", 0, 0, false},
		{"bytes 0-1/2", 0, 0, false},
		{"0-1/2", 0, 0, false},
		{"0--1", 0, 0, false},
		{"+0-1", 0, 0, false},
		{"0-9223372036854775807", 0, 0, false},
		{"0-99999999999999999999999", 0, 0, false},
	} {
		offset, length, ok := parseContentRange(tc.header)
		if ok != tc.ok || ok && (offset != tc.offset || length != tc.length) {
			t.Errorf("parseContentRange(%q) = %d, %d, %v, want %d, %d, %v", tc.header, offset, length, ok, tc.offset, tc.length, tc.ok)
		}
	}
}

func FuzzManifestType(f *testing.F) {
	for _, s := range []string{typeManifest, "application/json; charset=utf-8", " APPLICATION/JSON ", "a/<b>+json", "text/html", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if mediaType, ok := manifestType(s); ok {
			if again, ok := manifestType(mediaType); !ok || again != mediaType {
				t.Errorf("manifestType(%q) = %q is not stable: %q, %v", s, mediaType, again, ok)
			}
		}
	})
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=-1", "bytes=1-", "bytes=5-2", "bytes=0-1,2-3", "0-1023", "7-", "99999999999999999999-1"} {
		f.Add(s, int64(2048))
	}
	f.Fuzz(func(t *testing.T, s string, size int64) {
		if size < 0 {
			return
		}
		switch p, offset, length := parseRange(s, size); p {
		case satisfiable:
			if offset < 0 || length < 1 || offset > size-length {
				t.Errorf("parseRange(%q, %d) = %d, %d lies outside", s, size, offset, length)
			}
		default:
			if offset != 0 || length != 0 {
				t.Errorf("parseRange(%q, %d) = %v with %d, %d", s, size, p, offset, length)
			}
		}
		offset, length, ok := parseContentRange(s)
		if ok && (!specContentRange.MatchString(s) || offset < 0 || length < 0 || offset > math.MaxInt64-length) {
			t.Errorf("parseContentRange(%q) = %d, %d", s, offset, length)
		}
	})
}
