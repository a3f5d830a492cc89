package watch

import (
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for in, want := range map[string]string{
		"180d": "180d", "24h": "1d", "36h": "36h", "90m": "1h30m", "45s": "45s", "0": "0s", "1h0m5s": "1h0m5s", "65535d": "65535d",
	} {
		d, err := ParseDuration(in)
		if err != nil || d.String() != want {
			t.Errorf("%s: %s, %v, want %s", in, d, err, want)
		}
		if again, err := ParseDuration(d.String()); err != nil || again != d {
			t.Errorf("%s does not come back: %v, %v", d, again, err)
		}
	}
	for _, in := range []string{"", "d", "-1h", "1.5d", "-3d", "1 h", "99999999d", "1w"} {
		if d, err := ParseDuration(in); err == nil {
			t.Errorf("%q is taken for %v", in, time.Duration(d))
		}
	}
}
