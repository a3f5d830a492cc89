package access

import (
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
)

func TestCheckAccountName(t *testing.T) {
	for _, name := range []string{"ann", "ci-web", "ops.lead", "a1", "0x", "data_oncall", "a-b.c_d", "ckt", strings.Repeat("a", 64)} {
		if err := CheckAccountName(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := []string{
		"", "a", strings.Repeat("a", 65), "Ann", "ann smith", "ann:x", "ann@example", "-ann", "ann-", "a..b", "a-.b", ".a", "a/b",
		"ann\n", "ann\x00", "änn", "ann*", "anonymous", "system", "everyone", "chartkeep", "ckt_x", "ckb_x", "tok-1f", strings.Repeat("x", 1<<20),
	}
	for _, name := range bad {
		p, ok := problem.As(CheckAccountName(name))
		if !ok || p.Kind != problem.Invalid || p.Rule != "account-name" || len(p.Error()) > 300 {
			t.Errorf("%.70q: %v", name, p)
		}
	}
	if p, _ := problem.As(CheckAccountName("Ann")); p.Try != "use ann" {
		t.Errorf("no way out for Ann: %q", p.Try)
	}
}
