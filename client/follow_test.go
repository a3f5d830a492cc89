package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
)

func listed(t testing.TB, r io.Reader) ([]Listed, error) {
	t.Helper()
	var out []Listed
	err := readIndex(r, func(l Listed) error { out = append(out, l); return nil })
	return out, err
}

func TestReadIndex(t *testing.T) {
	got, err := listed(t, strings.NewReader(`{"apiVersion":"v1","x":{"entries":[1,{}]},"entries":{"web":[
		{"name":"web","version":"1.0.0","digest":"aa","urls":["u"],"maintainers":[{"name":"n"}]},
		{"name":"other","version":"2.0.0"}],"db":[]},"generated":"g"}`))
	want := []Listed{{"web", "1.0.0", "aa"}, {"web", "2.0.0", ""}}
	if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%v %v", got, err)
	}
	for _, bad := range []string{
		"", "x", "[]", `{"entries":[]}`, `{"entries":{"web":{}}}`, `{"entries":{"web":[1]}}`, `{"entries":{"web":[{"name":"web"}]}`,
		`{"entries":{"web":[{"name":7}]}}`, "entries:\n  web: []\n",
	} {
		if _, err := listed(t, strings.NewReader(bad)); err == nil {
			t.Errorf("%q is read as an index", bad)
		}
	}
	stop := errors.New("stop")
	if err := readIndex(strings.NewReader(`{"entries":{"web":[{}]}}`), func(Listed) error { return stop }); err != stop {
		t.Errorf("an error of the caller: %v", err)
	}
}

// TestReadIndexIsBounded gives it a text without end in each place.
func TestReadIndexIsBounded(t *testing.T) {
	for _, begin := range []string{`{"entries":{"web":[{"name":"`, `{"`, `{"x":[`, `{"entries":{"`} {
		n := 0
		_, err := listed(t, io.MultiReader(strings.NewReader(begin), filler{&n}))
		if problem.KindOf(err) != problem.TooLarge || n > 4*maxIndexEntry {
			t.Errorf("%q without end: %v after %d bytes", begin, err, n)
		}
	}
}

// filler never ends.
type filler struct{ n *int }

func (f filler) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "1, "[i%3]
	}
	*f.n += len(p)
	return len(p), nil
}

func FuzzReadIndex(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"v1","entries":{"web":[{"name":"web","version":"1.0.0","digest":"aa"}]}}`))
	f.Add([]byte(`{"entries":{"a":[],"a":[{}]},"entries":{}}`))
	f.Add([]byte(`{"x":[[[[1]]]],"entries":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := listed(t, bytes.NewReader(text))
		if err != nil {
			return
		}
		var whole struct {
			Entries map[string][]Listed `json:"entries"`
		}
		if err := json.Unmarshal(text, &whole); err != nil && json.Valid(text) {
			return // a key twice, of which only the last counts there
		}
		n := 0
		for _, l := range whole.Entries {
			n += len(l)
		}
		if len(got) < n {
			t.Fatalf("%d entries where there are %d", len(got), n)
		}
	})
}
