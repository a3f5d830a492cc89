package notes

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// sound checks what always holds of a release, with the lines of its text.
func sound(t *testing.T, r Release, lim Limits) {
	t.Helper()
	security := false
	for i, h := range r.Hints {
		switch {
		case h.Line < r.LineStart || h.Line > r.LineEnd:
			t.Fatalf("line %d of a release from %d to %d: %+v", h.Line, r.LineStart, r.LineEnd, h)
		case i > 0 && r.Hints[i-1].Line > h.Line:
			t.Fatalf("hints are not by line: %+v", r.Hints)
		case h.Text == "" || len(h.Text) > maxHintText || !utf8.ValidString(h.Text):
			t.Fatalf("text of %d bytes: %q", len(h.Text), h.Text)
		case h.Rule == "":
			t.Fatalf("no rule: %+v", h)
		}
		security = security || h.Security
		for _, id := range h.IDs {
			if !slices.Contains(r.IDs, id) || canonicalID(id) != id {
				t.Fatalf("%s is not among %v, or not as its authority writes it", id, r.IDs)
			}
		}
	}
	if security != r.Security || len(r.Hints) > lim.Hints || !slices.IsSorted(r.IDs) {
		t.Fatalf("%+v", r)
	}
}

func FuzzNotes(f *testing.F) {
	for _, name := range []string{"CHANGELOG.md", "RELEASENOTES", "body.md"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	for _, s := range slices.Concat(speaks, silent) {
		f.Add("## 1.0.0\n\n- " + s + "\n")
	}
	for _, k := range sayings {
		for _, s := range slices.Concat(k.speaks, k.silent) {
			f.Add(s)
		}
	}
	f.Add("    *) Security: ``a`\n\n> - | a |\n| - |\n[x]: https://example.org/CVE-2031-1234\n")
	f.Add("\xff\xfe# 1.0.0\r\nFix CVE‑2031‑1234 \u2028 XSS…\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		lim := DefaultLimits()
		got, err := Read(text, Limits{})
		if err != nil {
			if !strings.ContainsRune(text, 0) {
				t.Fatal(err)
			}
			return
		}
		if len(got) == 0 {
			t.Fatal("no release")
		}
		for i, r := range got {
			sound(t, r, lim)
			if i > 0 && r.LineStart <= got[i-1].LineEnd {
				t.Fatalf("releases overlap: %+v, %+v", got[i-1], r)
			}
		}
	})
}

func FuzzAnnotation(f *testing.F) {
	f.Add("- kind: security\n  description: \"Fix it\"\n  links:\n    - name: a\n      url: https://github.com/advisories/GHSA-2345-6789-cfgh\n")
	f.Add("- Fix XSS in the label editor\n- [Added]: an option\n- |\n  two\n  lines, CVE-2031-1234\n")
	f.Add("- &a {kind: fixed, description: x}\n- *a\n- [nested]\n- kind: 3\n")
	f.Add("a: b")
	f.Add("- kind: security\n  description:")
	f.Add("- kind: security\n  description: \" \"\n- kind: security\n")
	f.Fuzz(func(t *testing.T, text string) {
		hints, err := ReadAnnotation(text)
		if err == nil {
			r := Release{LineStart: 1, LineEnd: max(1, strings.Count(text, "\n")+1+strings.Count(text, "\r")), Hints: hints, IDs: []string{}}
			for _, h := range hints {
				r.Security = r.Security || h.Security
				r.IDs = append(r.IDs, h.IDs...)
			}
			slices.Sort(r.IDs)
			r.LineEnd += strings.Count(text, "\u0085") + strings.Count(text, "\u2028") + strings.Count(text, "\u2029") // which end lines in YAML 1.1
			sound(t, r, DefaultLimits())
		}
		chart := "name: web\nversion: 1.0.0\nannotations:\n  artifacthub.io/changes: |\n    " + strings.ReplaceAll(text, "\n", "\n    ") + "\n"
		if r, err := ReadChart(chart, Limits{}); err == nil {
			r.LineEnd += strings.Count(chart, "\r") + strings.Count(chart, "\u0085") + strings.Count(chart, "\u2028") + strings.Count(chart, "\u2029")
			sound(t, r, DefaultLimits())
		}
	})
}
