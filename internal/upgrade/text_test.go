package upgrade

import "testing"

// TestEscape: what others wrote is shown as they wrote it, and does nothing.
func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"script @substitutions@ within": "script &#64;substitutions&#64; within",
		"see #12, and \"#a\"":           "see &#35;12, and \"#a\"",
		"&#64;team":                     "&&#35;64;team",
		"a|b\n[x](y) <img> `c` *d* _e_": `a\|b \[x\](y) &lt;img&gt; \` + "`c\\`" + ` \*d\* \_e\_`,
	} {
		if got := escape(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}
