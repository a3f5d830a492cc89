package advisory

import (
	"strings"
	"testing"
)

func mustVersion(t testing.TB, s string) version {
	t.Helper()
	v, ok := parseVersion(s)
	if !ok {
		t.Fatalf("%q is no version", s)
	}
	return v
}

func TestVersionOrder(t *testing.T) {
	// Each line is before the next one; versions in one line are the same.
	lines := []string{
		"0.0.0-0",
		"0.0.0-20250806193153-183891f8d535",
		"0 0.0 0.0.0",
		"1.0.0-alpha 1.0.0a 1.0-ALPHA",
		"1.0.0-alpha.1 1.0.0-alpha1 1.0.0a1",
		"1.0.0-alpha.beta",
		"1.0.0-beta 1.0.0b",
		"1.0.0-beta2 1.0.0-beta.2 1.0.0b2",
		"1.0.0-beta11",
		"1.0.0.dev0 1.0.0-dev.0",
		"1.0.0-ea.1",
		"1.0.0-rc.1 1.0.0rc1 1.0.0-RC1 1.0.0-c1 1.0.0.CR1",
		"1.0.0-rc2",
		"1.0.0-rc10",
		"1 1.0 1.0.0 v1.0.0 1.0.0+build.5 1.0.0.0 01.00 1.0.0.Final 1.0.0.RELEASE",
		"1.0.0.post1 1.0.0post1",
		"1.0.0.1",
		"1.0.1-0",
		"1.3.3-0.20260331202714-6800989bdc12",
		"1.3.3",
		"2.6.0-rc4",
		"2.6.0",
		"2.10.0",
		"11.21.0",
		"11.22 11.22.0",
		"2020.04.23 2020.4.23",
		"2020.04.23.0.1",
		"2020.04.24 2020.4.24.0.0.0",
		"2020.32767 2020.32767.0.0",
		"2020.32767.32767.32767",
		"2020.32767.32767.32767.1",
		"2020.32768",
		"2021.0",
		"32767.0",
		"32768 32768.0.0.0.0",
		"32768.0.1",
		"18446744073709551616.0.0",
		"99999999999999999999999999999999.0.0",
	}
	for i, x := range lines {
		for j, y := range lines {
			for a := range strings.FieldsSeq(x) {
				for b := range strings.FieldsSeq(y) {
					want := min(1, max(-1, i-j))
					if got := compare(mustVersion(t, a), mustVersion(t, b)); got != want {
						t.Errorf("compare(%q, %q) = %d, want %d", a, b, got, want)
					}
				}
			}
		}
	}
}

func TestParseVersionRefuses(t *testing.T) {
	for _, s := range []string{"", "v", "latest", "nightly.2026-03-10.0", "1.2.x", "1..2", ".1", "1.2.", "1.2.3-", "1.2.3-ü", "1.2.3 ", "1_2", "1.2.3jre",
		"{{ x }}", "V" + strings.Repeat("1", 300)} {
		if v, ok := parseVersion(s); ok {
			t.Errorf("%q is read as %+v", s, v)
		}
	}
}
