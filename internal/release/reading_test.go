package release

import (
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
)

func TestOneReading(t *testing.T) {
	for _, ok := range []string{
		`{}`, `[]`, `"a"`, `1`, `{"config":{"digest":"a"},"layers":[{"digest":"a"},{"digest":"a"}]}`,
		`{"annotations":{"Digest":"x","digest":"y","SIZE":"z"}}`, `{"a":{"b":1},"b":{"b":1}}`, `{"a":"a","b":"a"}`, `{"a":["b","b",{"b":"a"}],"b":null}`,
	} {
		if err := oneReading([]byte(ok), manifestKeys); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	for _, bad := range []string{
		`{"a":1,"a":1}`, `{"layers":[],"x":{},"layers":[]}`, `{"Layers":[]}`, `{"config":{"DIGEST":"a"}}`, `{"layers":[{"size":1},{"size":1,"Size":2}]}`,
		`{"annotations":{"a":"x","a":"y"}}`, `{"annotations":{},"Annotations":{}}`, `{"layer\u017f":[]}`, `{"la\u0079ers":[],"layers":[]}`, `[{"x":[{"y":{"z":1,"z":2}}]}]`,
		`{"a":{"b":{}},"a":{}}`, `{"x":"layers","layers":1,"layers":2}`,
	} {
		if err := oneReading([]byte(bad), manifestKeys); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
	deep := strings.Repeat(`{"a":[`, 4000) + strings.Repeat(`]}`, 4000)
	if err := oneReading([]byte(deep), manifestKeys); err != nil {
		t.Error(err)
	}
}
