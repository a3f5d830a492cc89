package manifest

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// apply makes both texts of the edits again.
func apply(edits []edit) (old, new []string) {
	for _, e := range edits {
		if e.kind != '+' {
			old = append(old, e.text)
		}
		if e.kind != '-' {
			new = append(new, e.text)
		}
	}
	return old, new
}

// longestCommon is the length of the longest common subsequence, the plain way.
func longestCommon(a, b []string) int {
	row := make([]int, len(b)+1)
	for i := range a {
		diagonal := 0
		for j := range b {
			up := row[j+1]
			if a[i] == b[j] {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(row[j+1], row[j])
			}
			diagonal = up
		}
	}
	return row[len(b)]
}

func checkLines(t *testing.T, a, b []string, least bool) {
	t.Helper()
	d := lineDiffer{work: maxDiffWork}
	edits := d.lines(a, b)
	old, new := apply(edits)
	if !slices.Equal(old, a) || !slices.Equal(new, b) {
		t.Fatalf("%q to %q: the edits make %q and %q", a, b, old, new)
	}
	changed := 0
	for _, e := range edits {
		if e.kind != ' ' {
			changed++
		}
	}
	if want := len(a) + len(b) - 2*longestCommon(a, b); least && changed != want {
		t.Fatalf("%q to %q: %d edits, %d are enough", a, b, changed, want)
	}
}

// The edits are the fewest that make one text of the other.
func TestLines(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var a, b []string
		for range r.IntN(14) {
			a = append(a, string(rune('a'+r.IntN(4))))
		}
		for range r.IntN(14) {
			b = append(b, string(rune('a'+r.IntN(4))))
		}
		checkLines(t, a, b, true)
	}
	// Beyond the bounds they still are true.
	var long, other []string
	for i := range maxEdits {
		long, other = append(long, "x"+strings.Repeat("i", i)), append(other, "y"+strings.Repeat("i", i))
	}
	checkLines(t, append([]string{"same"}, long...), append([]string{"same"}, other...), false)
	d := lineDiffer{work: 10}
	if old, new := apply(d.lines(long[:50], long[20:])); !slices.Equal(old, long[:50]) || !slices.Equal(new, long[20:]) {
		t.Error("without work left, the edits are not true")
	}
}

func TestUnified(t *testing.T) {
	numbers := func(from, to int) []string {
		var out []string
		for i := from; i <= to; i++ {
			out = append(out, string(rune('a'+i)))
		}
		return out
	}
	old, new := numbers(0, 19), numbers(0, 19)
	new[4] = "E"
	new = append(slices.Delete(new, 14, 15), "end")
	d := lineDiffer{work: maxDiffWork}
	got, cut := unified(d.lines(old, new), 100)
	want := "@@ -2,7 +2,7 @@\n b\n c\n d\n-e\n+E\n f\n g\n h\n@@ -12,9 +12,9 @@\n l\n m\n n\n-o\n p\n q\n r\n s\n t\n+end\n"
	if got != want || cut {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, _ := unified(d.lines(nil, []string{"a", "b"}), 100); got != "@@ -0,0 +1,2 @@\n+a\n+b\n" {
		t.Errorf("a new text: %q", got)
	}
	if got, _ := unified(d.lines([]string{"a"}, nil), 100); got != "@@ -1 +0,0 @@\n-a\n" {
		t.Errorf("a text that is gone: %q", got)
	}
	for most := range 25 {
		got, cut := unified(d.lines(old, new), most)
		if n := strings.Count(got, "\n"); n > most || !cut && n != strings.Count(want, "\n") || !strings.HasPrefix(want, got) {
			t.Errorf("at most %d lines: %d, cut %v\n%s", most, n, cut, got)
		}
	}
	if got, _ := unified([]edit{{'+', strings.Repeat("é", 500)}}, 9); len(got) > maxLine+30 || !strings.HasSuffix(got, "é …\n") {
		t.Errorf("a long line: %q", got)
	}
}

// Whatever the texts are, the edits make one of the other.
func FuzzLines(f *testing.F) {
	f.Add("a\nb\nc", "a\nc\nd")
	f.Add("", "x")
	f.Add("a\na\na\nb", "b\na\na")
	f.Fuzz(func(t *testing.T, a, b string) {
		checkLines(t, strings.Split(a, "\n"), strings.Split(b, "\n"), len(a)+len(b) < 200)
	})
}
