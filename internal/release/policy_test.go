package release

import "testing"

func TestWeakerThan(t *testing.T) {
	none, prov := Policy{}, Policy{RequireProvenance: true}
	for _, test := range []struct {
		name          string
		policy, prior Policy
		weaker        int
	}{
		{"the same", prov, prov, 0},
		{"stricter", prov, none, 0},
		{"no provenance", none, prov, 1},
	} {
		if got := test.policy.WeakerThan(test.prior); len(got) != test.weaker {
			t.Errorf("%s: %q", test.name, got)
		}
	}
}
