package chart

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"

	"github.com/chartkeep/chartkeep/internal/problem"
)

func TestParseVersion(t *testing.T) {
	for _, s := range []string{
		"0.0.0", "1.0.0", "1.2.3-rc.1", "10.20.30", "1.1.2-prerelease+meta", "1.1.2+meta-valid", "1.0.0-alpha",
		"1.0.0-alpha.0valid", "1.0.0-0A.is.legal", "1.0.0-alpha-a.b-c", "2.0.0-rc.1+build.123", "1.0.0+0.build.1-rc.10000aaa-kk-0.1",
		"1.0.0--.-", "1.0.0---RC-SNAPSHOT.12.9.1--.12+788", "18446744073709551615.0.0", "1.0.0+01", "1.0.0-0",
	} {
		v, err := ParseVersion(s)
		if err != nil {
			t.Errorf("ParseVersion(%q): %v", s, err)
			continue
		}
		m, err := semver.StrictNewVersion(s)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		key, _, _ := strings.Cut(s, "+")
		if v.String() != s || v.Build() != m.Metadata() || v.Prerelease() != (m.Prerelease() != "") || v.Key() != key ||
			v.Tag() != strings.ReplaceAll(s, "+", "_") || VersionForTag(v.Tag()) != s {
			t.Errorf("ParseVersion(%q) = %+v, key %q, build %q, tag %q", s, v, v.Key(), v.Build(), v.Tag())
		}
	}
}

func TestParseVersionRefuses(t *testing.T) {
	for _, c := range []struct{ in, try string }{
		{"v1.0.0", "`version: 1.0.0`"},
		{"V1.0.0", "`version: 1.0.0`"},
		{"1.0", "`version: 1.0.0`"},
		{"1", "`version: 1.0.0`"},
		{"v0.5", "`version: 0.5.0`"},
		{"01.0.0", "`version: 1.0.0`"},
		{"1.02.0", "`version: 1.2.0`"},
		{"1.0.0-01", "`version: 1.0.0-1`"},
		{"1.0.0-rc.00", "`version: 1.0.0-rc.0`"},
		{" 1.0.0\n", "`version: 1.0.0`"},
		{"v1.0-rc.1+build", "`version: 1.0.0-rc.1+build`"},
		{"1.0.0_build.5", "`version: 1.0.0+build.5`"},
		{"=1.2.3", "`version: 1.2.3`"},
		{"", "such as"},
		{"latest", "such as"},
		{"1.0.0.0", "such as"},
		{"1..0", "such as"},
		{"1.0.0-", "such as"},
		{"1.0.0+", "such as"},
		{"1.0.0-a..b", "such as"},
		{"1.0.0-ä", "such as"},
		{"1.0.0-a_b!", "such as"},
		{"1.0.0+a+b", "such as"},
		{"-1.0.0", "such as"},
		{"１.0.0", "such as"},
		{"1.0.0\x00", "such as"},
		{"18446744073709551616.0.0", "such as"},
		{"1.0.0-18446744073709551616", "such as"},
		{"1.0.0-" + strings.Repeat("a", 123), "shorten"},
		{strings.Repeat("1", 1<<20), "shorten"},
	} {
		v, err := ParseVersion(c.in)
		p, ok := problem.As(err)
		if !ok || p.Kind != problem.Invalid || p.Rule != "chart-version" || v != (Version{}) {
			t.Errorf("ParseVersion(%.40q) = %v, %v", c.in, v, err)
			continue
		}
		if !strings.Contains(p.Try, c.try) || len(p.Message) > 400 {
			t.Errorf("ParseVersion(%.40q): %s; Try: %s, want %s", c.in, p.Message, p.Try, c.try)
		}
	}
	if _, err := ParseVersion("1.0.0-" + strings.Repeat("a", 122)); err != nil {
		t.Errorf("a version of 128 bytes: %v", err)
	}
}

func TestSortKey(t *testing.T) {
	// SemVer 2.0.0 section 11, with numbers of growing length, the empty
	// tail, and build metadata as the last word.
	ordered := []string{
		"0.0.0-0", "0.0.0", "0.0.9", "0.0.10", "0.1.0", "0.9.0", "0.10.0",
		"1.0.0-1", "1.0.0-1.0", "1.0.0-1.a", "1.0.0-2", "1.0.0-10", "1.0.0-18446744073709551615", "1.0.0--", "1.0.0---", "1.0.0-0a",
		"1.0.0-A", "1.0.0-a", "1.0.0-a.1", "1.0.0-a.a", "1.0.0-a-", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta",
		"1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.0+1", "1.0.0+a", "1.0.1-0", "2.0.0",
		"9.0.0", "10.0.0", "99.0.0", "100.0.0", "18446744073709551615.0.0",
	}
	keys := make([]string, len(ordered))
	for i, s := range ordered {
		v, err := ParseVersion(s)
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = v.SortKey()
		key, sortKey := LenientVersion(s)
		if sortKey != keys[i] || key != v.Key() {
			t.Errorf("LenientVersion(%q) = %q, %q, want %q, %q", s, key, sortKey, v.Key(), keys[i])
		}
	}
	for i := 1; i < len(keys); i++ {
		if keys[i-1] >= keys[i] {
			t.Errorf("%s (%s) does not sort below %s (%s)", ordered[i-1], keys[i-1], ordered[i], keys[i])
		}
	}
	// Longer than what fits 64 bits, which imported history may have.
	_, small := LenientVersion("1.0.0-99999999999999999999")
	_, large := LenientVersion("1.0.0-100000000000000000000")
	if small >= large {
		t.Errorf("%s does not sort below %s", small, large)
	}
}

// TestSortKeyRandom compares the order of random versions with that of the
// library that Helm uses.
func TestSortKeyRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	ids := []string{"0", "1", "2", "10", "11", "a", "b", "A", "-", "--", "a-", "-1", "0a", "10a", "alpha", "rc", "rc-1", "18446744073709551615"}
	random := func() string {
		s := ""
		for i := range 3 {
			if i > 0 {
				s += "."
			}
			s += []string{"0", "1", "2", "9", "10", "99", "100"}[r.IntN(7)]
		}
		for i := range r.IntN(4) {
			s += map[bool]string{true: "-", false: "."}[i == 0] + ids[r.IntN(len(ids))]
		}
		for i := range r.IntN(3) {
			s += map[bool]string{true: "+", false: "."}[i == 0] + ids[r.IntN(len(ids))]
		}
		return s
	}
	for range 20_000 {
		compareOrder(t, random(), random())
	}
}

// compareOrder checks that two strict versions sort as Helm sorts them.
func compareOrder(t *testing.T, s, o string) {
	t.Helper()
	v, err := ParseVersion(s)
	if err != nil {
		return
	}
	w, err := ParseVersion(o)
	if err != nil {
		return
	}
	want := semver.MustParse(s).Compare(semver.MustParse(o))
	if got := v.Compare(w); got != want || (got == 0) != (v.Key() == w.Key()) {
		t.Errorf("%q.Compare(%q) = %d, want %d; keys %q, %q", s, o, got, want, v.Key(), w.Key())
	}
	got := strings.Compare(v.SortKey(), w.SortKey())
	if want != 0 && got != want || (got == 0) != (s == o) {
		t.Errorf("order of %q and %q is %d, want %d", s, o, got, want)
	}
}

func TestLenientVersion(t *testing.T) {
	ordered := []struct{ in, key string }{
		{"", ""}, {"\x00", ""}, {" ", ""}, {"ä", ""}, {"1.0.0.0", ""}, {"latest", ""}, {strings.Repeat("z", 100_000), ""},
		{"0.9.0", "0.9.0"}, {"v1.0.0-rc.1", "1.0.0-rc.1"}, {"1.0.0", "1.0.0"}, {"01.0.0", "1.0.0"}, {"1.0", "1.0.0"}, {"v1.0.0", "1.0.0"},
		{"1.0.0+a", "1.0.0"}, {"v1.0.0+a", "1.0.0"}, {"1.0.1", "1.0.1"}, {"v2", "2.0.0"},
	}
	last := ""
	for _, c := range ordered {
		key, sortKey := LenientVersion(c.in)
		if key != c.key || sortKey <= last || len(sortKey) > 1024 {
			t.Errorf("LenientVersion(%.20q) = %q, %.60q after %.60q, want key %q", c.in, key, sortKey, last, c.key)
		}
		last = sortKey
	}
}

func FuzzParseVersion(f *testing.F) {
	for _, s := range []string{"1.0.0", "v1.0", "1.0.0-rc.1+b", "01.2.3", "1.0.0-a..b", "latest", "", "1.0.0_x", "1.0.0-18446744073709551616"} {
		f.Add(s, "1.0.0")
	}
	f.Fuzz(func(t *testing.T, s, o string) {
		_, err := ParseVersion(s)
		raw, fault := parseVersion(s)
		if _, helm := semver.StrictNewVersion(s); (err == nil) != (helm == nil && len(s) <= MaxVersionLength && !raw.overflows()) {
			t.Errorf("ParseVersion(%q): %v, fault %q, library: %v", s, err, fault, helm)
		}
		if p, ok := problem.As(err); ok {
			if guess, ok := guessVersion(s); ok && len(s) <= MaxVersionLength {
				if _, err := ParseVersion(guess); err != nil || !strings.Contains(p.Try, guess) {
					t.Errorf("ParseVersion(%q) proposes %q: %v", s, guess, err)
				}
			}
		}
		key, sortKey := LenientVersion(s)
		if sortKey == "" || strings.ContainsFunc(sortKey, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("LenientVersion(%q) sorts as %q", s, sortKey)
		}
		if _, helm := semver.NewVersion(s); (helm == nil) != (key != "") {
			t.Errorf("LenientVersion(%q) = %q, library: %v", s, key, helm)
		}
		compareOrder(t, s, o)
	})
}

func BenchmarkSortKey(b *testing.B) {
	v, _ := ParseVersion("1.12.3-rc.1")
	b.ReportAllocs()
	for b.Loop() {
		_ = v.SortKey()
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "web", "web-frontend", "a--b", "a_b", "a__b", "a.b", "0", "1password", "v3", strings.Repeat("a", 100)} {
		if err := CheckName(name); err != nil {
			t.Errorf("CheckName(%q): %v", name, err)
		}
	}
	for _, c := range []struct{ rule, name string }{
		{"chart-name", ""},
		{"chart-name", "-a"}, {"chart-name", "a-"}, {"chart-name", "a..b"}, {"chart-name", "a___b"}, {"chart-name", "a-_b"}, {"chart-name", ".a"},
		{"chart-name", "a/b"}, {"chart-name", ".."}, {"chart-name", "a b"}, {"chart-name", "ä"}, {"chart-name", "a\x00"}, {"chart-name", "a\n"}, {"chart-name-case", "K-\u212a"},
		{"chart-name", strings.Repeat("a", 101)},
		{"chart-name-case", "Web"}, {"chart-name-case", "webFrontend"},
		{"chart-name-reserved", "charts"}, {"chart-name-reserved", "index.yaml"}, {"chart-name-reserved", "v1"}, {"chart-name-reserved", "ui"},
	} {
		p, ok := problem.As(CheckName(c.name))
		if !ok || p.Kind != problem.Invalid || p.Rule != c.rule || p.Try == "" {
			t.Errorf("CheckName(%q) = %v, want rule %s", c.name, p, c.rule)
		}
	}
	words := []string{"charts", "api", "v1", "v2", "log", "ui", "all", "blobs", "manifests", "tags", "referrers", "uploads", "livez", "readyz", "metrics", "index.yaml"}
	for _, w := range append(slices.Clone(words), "chart", "v3", "") {
		if Reserved(w) != slices.Contains(words, w) {
			t.Errorf("Reserved(%q) = %t", w, Reserved(w))
		}
	}
}

func TestFileName(t *testing.T) {
	if a, b := FileName("foo", "1.0.0-2.0.0"), FileName("foo-1.0.0", "2.0.0"); a != "foo-1.0.0-2.0.0.tgz" || a != b {
		t.Errorf("file names %q and %q", a, b)
	}
	longest := FileName(strings.Repeat("a", MaxNameLength), strings.Repeat("1", MaxVersionLength)) + ".tlog-proof"
	if len(longest) > 255 {
		t.Errorf("the longest file name has %d bytes", len(longest))
	}
}
