package chart

import (
	"regexp"
	"strings"
	"testing"
)

// The expressions of the specification, as the judges of our own code.
var (
	specName    = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	specTag     = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	specSegment = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$`)
)

var nameCases = []string{
	"a", "0", "a/b", "team-a/web", "a.b", "a_b", "a__b", "a-b", "a---b", "a/b/c/d", "a1.b2_c3__d4--e5",
	"", "/", "a/", "/a", "a//b", "A", "a/B", "a..b", "a___b", "a_.b", "a._b", "a-.b", ".a", "a.", "_a", "a_", "-a", "a-",
	"a/.b", "a/-b", "a./b", "a b", "a+b", "a:b", "ä", "a\x00", "a\n", "a%", "..", "a/..", "a/../b", "a-/b", "a/_/b",
	strings.Repeat("a", 255),
}

func TestIsRepository(t *testing.T) {
	for _, s := range nameCases {
		if got, want := IsRepository(s), specName.MatchString(s); got != want {
			t.Errorf("IsRepository(%q) = %v, want %v", s, got, want)
		}
	}
	if IsRepository(strings.Repeat("a", 256)) {
		t.Error("a name of 256 bytes is valid")
	}
}

func TestIsTag(t *testing.T) {
	for _, s := range []string{
		"a", "1.0.0", "_", "A-b_c.d", "1.0.0_build.1", strings.Repeat("x", 128),
		"", ".a", "-a", "a+b", "a:b", "a/b", "ä", "a b", "a\n", strings.Repeat("x", 129),
	} {
		if got, want := IsTag(s), specTag.MatchString(s); got != want {
			t.Errorf("IsTag(%q) = %v, want %v", s, got, want)
		}
	}
}

func FuzzGrammar(f *testing.F) {
	for _, s := range nameCases {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := IsRepository(s), len(s) <= MaxRepository && specName.MatchString(s); got != want {
			t.Errorf("IsRepository(%q) = %v, want %v", s, got, want)
		}
		if got, want := IsSegment(s), len(s) <= MaxRepository && specSegment.MatchString(s); got != want {
			t.Errorf("IsSegment(%q) = %v, want %v", s, got, want)
		}
		if got, want := IsTag(s), specTag.MatchString(s); got != want {
			t.Errorf("IsTag(%q) = %v, want %v", s, got, want)
		}
	})
}
