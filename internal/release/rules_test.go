package release_test

import (
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

func TestCheckUUID(t *testing.T) {
	const good = "6d0d3b1e-4f6b-4f5c-9f3a-2f1d8c7b6a50"
	for _, s := range []string{good, "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"} {
		if err := release.CheckUUID(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for s, try := range map[string]string{
		"": "", "none": "", good[:35]: "", good + "0": "", good + "\n": "", "{" + good + "}": "", "urn:uuid:" + good: "",
		strings.ReplaceAll(good, "-", ""): "", strings.Replace(good, "-", "_", 1): "", strings.Replace(good, "d", "g", 1): "",
		"6d0d3b1-e4f6b-4f5c-9f3a-2f1d8c7b6a50": "", strings.ToUpper(good): "use " + good, strings.Repeat("G", 36): "",
		good[:34] + "é": "", strings.Repeat("x", 1<<20): "",
	} {
		p, ok := problem.As(release.CheckUUID(s))
		if !ok || p.Kind != problem.Invalid || p.Try != try || len(p.Message) > 400 {
			t.Errorf("%.60q: %+v", s, p)
		}
	}
}
