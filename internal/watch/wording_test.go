package watch

import (
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/chart"
)

func TestWords(t *testing.T) {
	at := time.Date(2026, 11, 21, 18, 2, 0, 0, time.UTC)
	files := make([]chart.Change, 7)
	for i := range files {
		files[i] = chart.Change{Path: "templates/" + string(rune('a'+i)) + ".yaml", Kind: "changed"}
	}
	for _, tt := range []struct {
		event Event
		want  Words
	}{
		{
			Event{
				Time: at, Kind: Changed, Severity: High, Upstream: "airflow-helm", Chart: "airflow", Version: "8.9.0", Message: "airflow 8.9.0 has other\ncontent now",
				Question: "who changed it?", Evidence: []Fact{{"old digest", "sha256:aa"}}, Files: files, LogIndex: 8121,
			},
			Words{
				Severity: High, Kind: Changed, Time: at, About: "airflow 8.9.0 of airflow-helm", Group: "airflow of airflow-helm",
				What: "airflow 8.9.0 has other content now", Question: "who changed it?",
				Facts: []Fact{
					{"old digest", "sha256:aa"},
					{"differ", "7 files: templates/a.yaml changed, templates/b.yaml changed, templates/c.yaml changed, templates/d.yaml changed, templates/e.yaml changed, …"},
					{"log index", "8121"},
				},
				Command: "chartkeep upstream show airflow-helm", Page: "/ui/upstreams/airflow-helm", Source: "airflow-helm",
			},
		},
		{
			Event{Time: at, Kind: UnknownChart, Severity: Critical, Deployment: "prod eu/it's/x", Chart: "x"},
			Words{
				Severity: Critical, Kind: UnknownChart, Time: at, About: "prod eu/it's/x", Group: "prod eu/it's/x", Facts: []Fact{},
				Command: `chartkeep deployment show 'prod eu/it'\''s/x'`, Page: "/ui/deployments/prod%20eu/it%27s/x",
			},
		},
		{
			Event{Deployment: "a//b c", Time: at},
			Words{Time: at, About: "a//b c", Group: "a//b c", Facts: []Fact{}, Command: "chartkeep deployment show 'a//b c'", Page: "/ui/deployments?key=a%2F%2Fb+c"},
		},
		{Event{Time: at, Project: "mirror", Chart: "x", Version: "1"}, Words{
			Time: at, About: "x 1 in mirror", Group: "x in mirror", Facts: []Fact{}, Command: "chartkeep audit list --project mirror", Page: "/ui/audit?project=mirror",
		}},
		{Event{Time: at, Kind: TestEvent}, Words{Time: at, Kind: TestEvent, Facts: []Fact{}}},
	} {
		if d := cmp.Diff(tt.want, tt.event.Words()); d != "" {
			t.Error(d)
		}
	}
	many := Event{Evidence: make([]Fact, 40)}
	if w := many.Words(); len(w.Facts) != maxFacts+1 || w.Facts[maxFacts].Value != "28 lines of evidence are not shown" {
		t.Errorf("of 40 lines of evidence: %+v", w.Facts)
	}
}

func TestGravest(t *testing.T) {
	got := Gravest([]Event{
		{ID: 1, Severity: Low, Upstream: "b"}, {ID: 2, Severity: Critical, Upstream: "b"}, {ID: 3, Severity: Low, Upstream: "a", Chart: "z"},
		{ID: 5, Severity: Low, Upstream: "a", Chart: "y"}, {ID: 4, Severity: Low, Upstream: "a", Chart: "y"}, {ID: 6, Severity: "odd"},
	})
	var ids []int64
	for _, e := range got {
		ids = append(ids, e.ID)
	}
	if d := cmp.Diff([]int64{6, 2, 1, 4, 5, 3}, ids); d != "" {
		t.Error(d)
	}
}

func FuzzLine(f *testing.F) {
	for _, s := range []string{"", "plain", "a\r\nb", "\x00\x1b[31m", "\u202egnp.exe", "\xff\xfe", strings.Repeat("ä", 500), "tab\there\u2028"} {
		f.Add(s, 40)
	}
	f.Fuzz(func(t *testing.T, s string, most int) {
		if most < 1 || most > 1000 {
			return
		}
		got := line(s, most)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > most || strings.ContainsFunc(got, unicode.IsControl) || strings.ContainsAny(got, "\u2028\u202e\u2066") {
			t.Errorf("%q", got)
		}
		if again := line(got, most); again != got {
			t.Errorf("%q becomes %q", got, again)
		}
	})
}

// A command can be pasted: the shell sees one word, which is the name.
func TestCommand(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh on this machine")
	}
	for _, s := range []string{"airflow", "eu/data/air", "a b", "it's", "$(touch /tmp/x)", "`id`", "a;b", "a\\b", `"`, "*", "~root", "ä", "!x", "-rf", "-r f"} {
		out, err := exec.Command(sh, "-c", `show() { [ "$1" != -- ] || shift; printf %s "$1"; printf "|$#"; }; `+command("show", s)).Output()
		if err != nil || string(out) != s+"|1" {
			t.Errorf("%q arrives as %q: %v", s, out, err)
		}
	}
	for _, s := range []string{"", "a\nb", " a", "a\x1b[2J", "\u202eb", strings.Repeat("a", 301)} {
		if c := command("show", s); c != "" {
			t.Errorf("%q has the command %q", s, c)
		}
	}
}
