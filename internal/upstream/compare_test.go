package upstream

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// state makes an index of one chart from words such as "1.0.0=a,b": a version
// and the digests under which it is listed; "-" is none, "@2" the day of its
// creation, "!" a fault.
func state(words string) Index {
	c := Chart{Name: "web"}
	for _, w := range strings.Fields(words) {
		w, day, _ := strings.Cut(w, "@")
		version, digests, _ := strings.Cut(w, "=")
		for _, d := range strings.Split(digests, ",") {
			v := Version{Version: version, Digest: strings.Trim(d, "-!")}
			if strings.HasSuffix(d, "!") {
				v.Fault = "odd"
			}
			if day != "" {
				v.Created = time.Date(2024, 1, int(day[0]-'0'), 0, 0, 0, 0, time.UTC)
			}
			c.Versions = append(c.Versions, v)
		}
	}
	return Index{Charts: []Chart{c}}
}

func words(events []Event) string {
	var out []string
	for _, e := range events {
		s := fmt.Sprintf("%s %s %s>%s", e.Kind, e.Version, e.OldDigest, e.NewDigest)
		if e.Kind == CreatedRewritten {
			s += fmt.Sprintf(" %d>%d", e.OldCreated.Day(), e.NewCreated.Day())
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

func TestTracker(t *testing.T) {
	for _, c := range []struct {
		name string
		says []string // a state, what happened, a state, ...
	}{
		{"first", []string{"1=a 2=b", "added 1 >a; added 2 >b", "2=b 1=a", ""}},
		{"changed", []string{"1=a", "added 1 >a", "1=b", "changed 1 a>b", "1=b", ""}},
		{"changed and back", []string{"1=a", "added 1 >a", "1=b", "changed 1 a>b", "1=a", "changed 1 b>a"}},
		{"vanished once", []string{"1=a 2=b", "added 1 >a; added 2 >b", "2=b", "vanished 1 a>", "2=b", ""}},
		{"returned the same", []string{"1=a", "added 1 >a", "", "vanished 1 a>", "", "", "1=a", "returned 1 a>a", "1=a", ""}},
		{"returned changed", []string{"1=a", "added 1 >a", "", "vanished 1 a>", "1=b", "returned 1 a>b", "1=b", ""}},
		{"listed twice", []string{"1=a", "added 1 >a", "1=a,b", "duplicate 1 a>b", "1=a,b", "", "1=a,b,a", ""}},
		{"new and listed twice", []string{"1=a,b", "added 1 >a; duplicate 1 a>b"}},
		{"the other stands first", []string{"1=a", "added 1 >a", "1=b,a", "duplicate 1 b>a", "1=a,b", ""}},
		{"both are new", []string{"1=a", "added 1 >a", "1=b,c", "changed 1 a>b; duplicate 1 b>c"}},
		{"a third", []string{"1=a,b", "added 1 >a; duplicate 1 a>b", "1=a,b,c", "duplicate 1 a>c"}},
		{"duplicate removed", []string{"1=a,b", "added 1 >a; duplicate 1 a>b", "1=b", "changed 1 a>b", "1=b", ""}},
		{"same twice", []string{"1=a,a", "added 1 >a", "1=a", ""}},
		{"created", []string{"1=a@1", "added 1 >a", "1=a@2", "created-rewritten 1 a>a 1>2", "1=a", "", "1=a@2", "", "1=b@3", "changed 1 a>b"}},
		{"digest appears", []string{"1=-", "added 1 >", "1=a", "", "1=b", "changed 1 a>b"}},
		{"digest dropped", []string{"1=a", "added 1 >a", "1=-", "changed 1 a>", "1=-", "", "1=a", "", "1=-", "changed 1 a>", "1=b", "changed 1 a>b"}},
		{"dropped and gone", []string{"1=a", "added 1 >a", "1=-", "changed 1 a>", "", "vanished 1 a>", "1=b", "returned 1 a>b"}},
		{"a digest beside none", []string{"1=-,a", "added 1 >a", "1=a", ""}},
		{"invalid", []string{"1=a!", "invalid 1 >a", "1=a!", "", "1=a", "", "1=a!", "invalid 1 >a", "", "vanished 1 a>"}},
		{"invalid and changed", []string{"1=a", "added 1 >a", "1=b!", "changed 1 a>b; invalid 1 >b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var tracker Tracker
			kept := map[string]Known{} // what a store would have
			for i := 0; i < len(c.says); i += 2 {
				var restored Tracker
				for _, k := range kept {
					restored.Restore(k)
				}
				if got := words(tracker.Observe(state(c.says[i]))); got != c.says[i+1] {
					t.Errorf("state %d, %q: %q, want %q", i/2, c.says[i], got, c.says[i+1])
				}
				if got := words(restored.Observe(state(c.says[i]))); got != c.says[i+1] {
					t.Errorf("state %d, %q, restored: %q, want %q", i/2, c.says[i], got, c.says[i+1])
				}
				for k := range restored.Changed() {
					kept[k.Version] = k
				}
				for k := range restored.Changed() {
					t.Errorf("state %d, %q: %+v is told twice", i/2, c.says[i], k)
				}
			}
		})
	}
}

func TestMissing(t *testing.T) {
	var tracker Tracker
	tracker.Observe(state("1=a 2=a 3=a"))
	tracker.Observe(state("1=a 2=a"))
	if missing, listed := tracker.Missing(state("2=b 9=c")); missing != 1 || listed != 2 {
		t.Errorf("%d of %d are missing, want 1 of 2", missing, listed)
	}
	if missing, listed := tracker.Missing(Index{}); missing != 2 || listed != 2 {
		t.Errorf("%d of %d are missing in an empty index, want 2 of 2", missing, listed)
	}
}

func TestCompare(t *testing.T) {
	old := state("3=a 1=a 2=a")
	current := state("10=x 2=b 1=a 4=y")
	current.Charts = append(current.Charts, Chart{Name: "db", Versions: []Version{{Version: "1", Digest: "z"}}})
	const want = "added 1 >z; added 10 >x; changed 2 a>b; vanished 3 a>; added 4 >y"
	for range 20 { // maps have no order, events do
		if got := words(Compare(old, current)); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
	if got := Compare(current, current); len(got) != 0 {
		t.Errorf("the same: %v", got)
	}
}

func TestUnreadable(t *testing.T) {
	_, err := Parse(nil, Limits{})
	if e := Unreadable(err); e.Kind != Invalid || e.Chart != "" || e.Detail != "the index is empty" {
		t.Errorf("%+v", e)
	}
	if e := Unreadable(problem.New(problem.TooLarge, "", "x").With("file", "y")); e.Detail != "x" {
		t.Errorf("%+v", e)
	}
}
