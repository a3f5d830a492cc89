package deployment

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func at(day int) time.Time { return time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC) }

// shelf is a catalogue with what others have mixed up: one name in several
// repositories, a fork, a mirror, a withdrawn version.
func shelf() *Catalogue {
	const apache, community = "https://airflow.apache.org", "https://airflow-helm.github.io/charts"
	list := []Published{
		{Upstream: "apache", Repository: apache, Chart: "airflow", Version: "1.13.0", FirstSeen: at(1)},
		{Upstream: "apache", Repository: apache, Chart: "airflow", Version: "8.8.0", FirstSeen: at(2)},
		{Upstream: "community", Repository: community, Chart: "airflow", Version: "8.8.0", FirstSeen: at(1), Fingerprint: "v1:sha256:88", Archive: "sha256:88"},
		{Upstream: "community", Repository: community, Chart: "airflow", Version: "8.9.0", FirstSeen: at(5), Fingerprint: "v1:sha256:89", Archive: "sha256:89"},
		{Upstream: "community", Repository: community, Chart: "airflow", Version: "9.0.0-rc.1", FirstSeen: at(6)},
		{Project: "mirror", Repository: "oci://charts.example.test/mirror", Chart: "airflow", Version: "8.8.0", FirstSeen: at(3), Fingerprint: "v1:sha256:88", Archive: "sha256:88"},
		{Project: "team", Repository: "oci://charts.example.test/team", Chart: "web", Version: "1.2.0", Fingerprint: "v1:sha256:aa", FirstSeen: at(1)},
		{Project: "team", Repository: "oci://charts.example.test/team", Chart: "web", Version: "1.3.0", Fingerprint: "v1:sha256:ab", FirstSeen: at(4)},
		{Project: "team", Repository: "oci://charts.example.test/team", Chart: "web", Version: "2.0.0", Fingerprint: "v1:sha256:ac", FirstSeen: at(9)},
		{Upstream: "old", Repository: "https://old.example.test", Chart: "dead", Version: "1.0.0", FirstSeen: at(1), Deprecated: true},
		{Upstream: "old", Repository: "https://old.example.test", Chart: "shrunk", Version: "1.0.0", FirstSeen: at(1)},
		{Upstream: "old", Repository: "https://old.example.test", Chart: "shrunk", Version: "1.1.0", FirstSeen: at(1), Gone: true},
		{Upstream: "old", Repository: "https://old.example.test", Chart: "early", Version: "0.1.0-alpha.1", FirstSeen: at(1)},
		{Upstream: "old", Repository: "https://old.example.test", Chart: "early", Version: "0.1.0-alpha.2", FirstSeen: at(2)},
		{Upstream: "odd", Repository: "https://odd.example.test", Chart: "swapped", Version: "1.0.0", Fingerprint: "v1:sha256:new", FirstSeen: at(1)},
		{Upstream: "odd", Repository: "https://odd.example.test", Chart: "swapped", Version: "1.0.0", Fingerprint: "v1:sha256:first", FirstSeen: at(1), Earlier: true},
		{Upstream: "odd", Repository: "https://odd.example.test", Chart: "vee", Version: "v1.0.0", FirstSeen: at(1)},
	}
	return NewCatalogue(list)
}

func TestMatch(t *testing.T) {
	c := shelf()
	for _, tt := range []struct {
		name, fingerprint string
		chart             Chart
		want              Confidence
		from, how         string
	}{
		{"by its bytes, whatever it is called", "v1:sha256:88", Chart{Name: "renamed", Version: "0.0.1"}, Exact, "community+mirror", "this archive"},
		{"by a pinned digest", "", Chart{Name: "airflow", Version: "8.9.0", Digest: "sha256:89"}, Exact, "community", "pinned"},
		{"by repository", "", Chart{Name: "airflow", Version: "8.8.0", Repository: "https://AIRFLOW.apache.org/index.yaml"}, Strong, "apache", ""},
		{"by repository, with its name", "", Chart{Name: "web", Version: "1.2.0", Repository: "oci://charts.example.test/team/web/"}, Strong, "team", ""},
		{"a name that several have is not guessed", "", Chart{Name: "airflow", Version: "8.8.0"}, Unknown, "", "none is guessed"},
		{"a name and version that one has", "", Chart{Name: "airflow", Version: "1.13.0"}, Weak, "apache", "alone"},
		{"other bytes under a released name", "v1:sha256:ff", Chart{Name: "web", Version: "1.2.0"}, Unknown, "!", "other bytes"},
		{"other bytes, pinned", "", Chart{Name: "airflow", Version: "8.9.0", Repository: "https://airflow-helm.github.io/charts", Digest: "sha256:ff"}, Unknown, "!", "other bytes"},
		{"a repository that does not have it", "", Chart{Name: "web", Version: "1.2.0", Repository: "https://elsewhere.example.test"}, Unknown, "", "not known of"},
		{"a version that nobody has", "", Chart{Name: "web", Version: "7.0.0"}, Unknown, "", "no version 7.0.0"},
		{"a chart that nobody has", "", Chart{Name: "nginx", Version: "1.0.0"}, Unknown, "", "no chart named nginx"},
		{"a range", "", Chart{Name: "web", Constraint: "^1.0.0"}, Unknown, "", "no exact version"},
		{"build metadata of Flux", "", Chart{Name: "web", Version: "1.2.0+3f2b1c0d", Repository: "oci://charts.example.test/team"}, Strong, "team", ""},
		{"a v in front", "", Chart{Name: "vee", Version: "1.0.0"}, Weak, "odd", ""},
		{"the first bytes of what was replaced", "v1:sha256:first", Chart{Name: "swapped", Version: "1.0.0"}, Exact, "odd", "replaced since"},
		{"the bytes that replaced them", "v1:sha256:new", Chart{Name: "swapped", Version: "1.0.0"}, Exact, "odd", "this archive"},
		{"neither", "v1:sha256:other", Chart{Name: "swapped", Version: "1.0.0"}, Unknown, "!", "other bytes"},
		{"no name", "", Chart{}, Unknown, "", "which chart"},
	} {
		m := c.Match(&Deployment{Chart: tt.chart, Fingerprint: tt.fingerprint})
		from := strings.Trim(m.Upstream+"+"+m.Project, "+")
		if m.Differs {
			from = "!"
		}
		if m.Confidence != tt.want || from != tt.from || !strings.Contains(m.How, tt.how) {
			t.Errorf("%s: %+v", tt.name, m)
		}
	}
}

func TestOutdated(t *testing.T) {
	c := shelf()
	for _, tt := range []struct {
		name  string
		chart Chart
		print string
		want  string // state newest allowed step releases days
		rule  string
	}{
		{"behind", Chart{Name: "web", Version: "1.2.0"}, "v1:sha256:aa", "outdated 2.0.0 - major 2 26", "chart-outdated"},
		{"newest", Chart{Name: "web", Version: "2.0.0"}, "v1:sha256:ac", "current 2.0.0 - - 0 0", ""},
		{"a range that is behind", Chart{Name: "web", Constraint: "~1", Repository: "oci://charts.example.test/team"}, "", "outdated 2.0.0 1.3.0 major 0 0", "chart-outdated"},
		{"a range that takes the newest", Chart{Name: "web", Constraint: ">=1", Repository: "oci://charts.example.test/team"}, "", "current 2.0.0 2.0.0 - 0 0", ""},
		{"a range that takes nothing", Chart{Name: "web", Constraint: ">=9", Repository: "oci://charts.example.test/team"}, "", "unchecked 2.0.0 - - 0 0", "chart-unchecked"},
		{"pre-releases do not count", Chart{Name: "airflow", Version: "8.8.0", Digest: "sha256:88"}, "", "outdated 8.9.0 - minor 1 25", "chart-outdated"},
		{"but where nothing else is", Chart{Name: "early", Version: "0.1.0-alpha.1"}, "", "outdated 0.1.0-alpha.2 - pre-release 1 28", "chart-outdated"},
		{"several repositories", Chart{Name: "airflow", Version: "8.8.0"}, "", "unchecked - - - 0 0", "chart-unchecked"},
		{"other bytes", Chart{Name: "web", Version: "1.2.0"}, "v1:sha256:ff", "unchecked - - - 0 0", "chart-bytes-differ"},
		{"unknown", Chart{Name: "nginx", Version: "1.0.0"}, "", "unchecked - - - 0 0", "chart-unchecked"},
		{"deprecated", Chart{Name: "dead", Version: "1.0.0"}, "", "deprecated 1.0.0 - - 0 0", "chart-deprecated"},
		{"withdrawn", Chart{Name: "shrunk", Version: "1.1.0"}, "", "withdrawn 1.0.0 - - 0 0", "chart-withdrawn"},
		{"no version", Chart{Name: "dead", Version: "latest", Repository: "https://old.example.test"}, "", "unchecked - - - 0 0", "chart-unchecked"},
	} {
		r := c.Outdated(&Deployment{Key: "k", Chart: tt.chart, Fingerprint: tt.print}, at(30))
		dash := func(s string) string {
			if s == "" {
				return "-"
			}
			return s
		}
		got := fmt.Sprintf("%s %s %s %s %d %d", r.State, dash(r.Newest), dash(r.Allowed), dash(r.Step), r.Releases, r.Days)
		rule := ""
		for _, f := range r.Findings() {
			rule = f.Rule
		}
		if got != tt.want || rule != tt.rule || r.Why == "" {
			t.Errorf("%s: %q and %q, want %q and %q (%s)", tt.name, got, rule, tt.want, tt.rule, r.Why)
		}
	}
}

func TestCompareEnvironments(t *testing.T) {
	list := []Deployment{
		{Key: "s/web", Environment: "staging", Namespace: "shop", Name: "web", Chart: Chart{Name: "web", Version: "1.3.0"}, Exposure: ExposureControlled,
			Images: []string{"a:1", "b:1"}, Values: json.RawMessage(`{"replicas":1,"db":{"host":"x","password":"***"},"list":[1,2]}`)},
		{Key: "p/web", Environment: "production", Namespace: "shop", Name: "web", Chart: Chart{Name: "web", Version: "1.2.0"}, Exposure: ExposureOpen,
			Images: []string{"a:1", "b:0"}, Values: json.RawMessage(`{"replicas":3,"db":{"password":"***"},"list":[1,2]}`)},
		{Key: "s/db", Environment: "staging", Namespace: "a", Name: "db", Chart: Chart{Name: "postgresql", Version: "1.0.0"}},
		{Key: "p/db", Environment: "production", Namespace: "b", Name: "db", Chart: Chart{Name: "postgresql", Version: "1.0.0"}},
		{Key: "s/cache", Environment: "staging", Name: "cache-s", Chart: Chart{Name: "redis", Version: "1.0.0"}},
		{Key: "p/cache", Environment: "production", Name: "cache-p", Chart: Chart{Name: "redis", Version: "1.0.0"}, Exposure: ExposureUnknown},
		{Key: "s/only", Environment: "staging", Name: "only", Chart: Chart{Name: "toy"}},
		{Key: "x", Environment: "other", Name: "web", Chart: Chart{Name: "web"}},
	}
	for range 20 {
		d := CompareEnvironments(list, "staging", "production")
		if d.Same != 2 || !slices.Equal(d.OnlyA, []string{"s/only"}) || len(d.OnlyB) != 0 || len(d.Pairs) != 1 {
			t.Fatalf("%+v", d)
		}
		var got []string
		for _, x := range d.Pairs[0].Items {
			got = append(got, x.What+" "+x.A+">"+x.B)
		}
		want := []string{"version 1.3.0>1.2.0", "exposure controlled>open", "image >b:0", "image b:1>", `values.db.host "x">`, "values.replicas 1>3"}
		if !slices.Equal(got, want) {
			t.Fatalf("%q", got)
		}
	}
}

func FuzzCompareEnvironments(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1]}}`), []byte(`null`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		list := []Deployment{{Environment: "a", Name: "x", Values: a}, {Environment: "b", Name: "x", Values: b}}
		d := CompareEnvironments(list, "a", "b")
		if len(d.Pairs) > 0 && len(d.Pairs[0].Items) > maxDeviations+1 {
			t.Fatal("unbounded")
		}
	})
}
