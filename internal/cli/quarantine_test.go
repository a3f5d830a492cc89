package cli

import "testing"

func TestReasonWords(t *testing.T) {
	for _, c := range []struct{ reason, text, want string }{
		{"secret", "a key is in values.yaml", "secret, a key is in values.yaml"},
		{"secret", "", "secret"},
		{"", "it is in the way", "it is in the way"}, // a policy has no code
		{"", "", ""},
	} {
		if got := reasonWords(c.reason, c.text); got != c.want {
			t.Errorf("%q, %q: %q, want %q", c.reason, c.text, got, c.want)
		}
	}
}
