package advisory

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

// database makes a Database of advisories alone, as NewDatabase does of packs.
func database(list ...*Advisory) *Database {
	db := &Database{advisories: slices.Clone(list), components: map[Component][]*Advisory{}, known: map[string][]*Advisory{}, images: Curated()}
	db.index()
	return db
}

// corpus is a Database of all advisories of the corpus.
func corpus(t testing.TB) *Database {
	t.Helper()
	b := NewBuilder(OSV, DefaultLimits())
	for _, feed := range []string{"bitnami-vulndb", "go-osv", "ghsa"} {
		addFolder(t, b, charttest.Corpus(t, "advisories/"+feed))
	}
	p, faults, err := b.Pack()
	if err != nil || len(faults) > 0 {
		t.Fatal(faults, err)
	}
	db, faults := NewDatabase(Curated(), p)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return db
}

// advisoryOf makes an advisory: "id alias … | ecosystem/name events | …".
func advisoryOf(t testing.TB, text string) *Advisory {
	t.Helper()
	parts := strings.Split(text, "|")
	names := strings.Fields(parts[0])
	a := &Advisory{ID: names[0], Aliases: names[1:]}
	for _, part := range parts[1:] {
		component, rest, _ := strings.Cut(strings.TrimSpace(part), " ")
		ecosystem, name, _ := strings.Cut(component, "/")
		a.Affected = append(a.Affected, Affected{Component: Component{ecosystem, name}, Ranges: []Range{{Type: "SEMVER", Events: events(t, rest)}}})
	}
	return a
}

// said writes findings in a line each: id, component, fixes, doubt.
func said(list []Open) string {
	var b strings.Builder
	for _, o := range list {
		b.WriteString(o.Advisory.ID + " " + o.Affected.Component.String() + " [" + strings.Join(o.Fixed, " ") + "] " + o.Doubt + "\n")
	}
	return b.String()
}

func TestMatchComponent(t *testing.T) {
	gone := advisoryOf(t, "BIT-x-9 CVE-9|Bitnami/x introduced:0")
	gone.Withdrawn = time.Unix(1, 0)
	db := database(
		advisoryOf(t, "BIT-x-2 CVE-2|Bitnami/x introduced:0 fixed:2.0.0"),
		advisoryOf(t, "BIT-x-1 CVE-1|Bitnami/x introduced:1.0.0 fixed:1.5.0 introduced:2.0.0 fixed:2.5.0"),
		advisoryOf(t, "BIT-x-3 CVE-3|Bitnami/x introduced:3.0.0"),
		advisoryOf(t, "BIT-x-4 CVE-4|Bitnami/x introduced:0 fixed:odd"),
		advisoryOf(t, "BIT-y-1 CVE-5|Bitnami/y introduced:0|Bitnami/x introduced:9.0.0"),
		gone,
	)
	x := Component{"Bitnami", "x"}
	const odd = "BIT-x-4 Bitnami/x [] its range has \"odd\", which has no place in the order of versions\n"
	for version, want := range map[string]string{
		"1.2.0":     "BIT-x-1 Bitnami/x [1.5.0 2.5.0] \nBIT-x-2 Bitnami/x [2.0.0] \n" + odd,
		"v1.2.0+b":  "BIT-x-1 Bitnami/x [1.5.0 2.5.0] \nBIT-x-2 Bitnami/x [2.0.0] \n" + odd,
		"2.0.0-rc1": "BIT-x-2 Bitnami/x [2.0.0] \n" + odd,
		"2.5.0":     odd,
		"9.1":       "BIT-x-3 Bitnami/x [] \n" + odd + "BIT-y-1 Bitnami/x [] \n",
	} {
		if got := said(db.MatchComponent(x, version)); got != want {
			t.Errorf("%s:\n%swant\n%s", version, got, want)
		}
	}
	// A version that cannot be read may be any.
	if got := db.MatchComponent(x, "latest"); len(got) != 5 || got[0].Doubt == "" || got[0].Affected == nil {
		t.Errorf("latest: %s", said(got))
	}
	if db.Covers(Component{"Bitnami", "z"}) || db.MatchComponent(Component{"Bitnami", "z"}, "1.0.0") != nil || !db.Covers(x) {
		t.Error("a component is covered that no record is on")
	}
}

func TestMerge(t *testing.T) {
	const v1, none = "introduced:0 fixed:1.5.0", "introduced:2.0.0 fixed:2.5.0"
	for _, tt := range []struct {
		name    string
		records []string
		want    string
	}{
		{"one vulnerability in three feeds",
			[]string{"GHSA-1 CVE-1|Go/x " + v1, "GO-1 CVE-1 GHSA-1|Go/x " + v1, "BIT-x-1 CVE-1|Bitnami/x " + v1},
			"BIT-x-1 Bitnami/x [1.5.0] \n"},
		{"the same without Bitnami", []string{"GHSA-1 CVE-1|Go/x " + v1, "CVE-1|Go/x " + v1, "GO-1 CVE-1|Go/x " + v1}, "GO-1 Go/x [1.5.0] \n"},
		{"GitHub before the list of CVEs", []string{"CVE-1|Go/x " + v1, "GHSA-1 CVE-1|Go/x " + v1}, "GHSA-1 Go/x [1.5.0] \n"},
		{"by an alias of an alias", []string{"BIT-x-1 CVE-1|Bitnami/x " + v1, "GO-1 CVE-1 GHSA-1|Go/x " + v1, "GHSA-1|Go/x " + v1}, "BIT-x-1 Bitnami/x [1.5.0] \n"},
		{"two that a third takes for one stay two", []string{"BIT-x-1 CVE-1|Bitnami/x " + v1, "BIT-x-2 CVE-2|Bitnami/x " + v1, "GO-1 CVE-1 CVE-2|Go/x " + v1},
			"BIT-x-1 Bitnami/x [1.5.0] \nBIT-x-2 Bitnami/x [1.5.0] \n"},
		{"different ones", []string{"BIT-x-1 CVE-1|Bitnami/x " + v1, "GO-2 CVE-2|Go/x " + v1}, "BIT-x-1 Bitnami/x [1.5.0] \nGO-2 Go/x [1.5.0] \n"},
		{"the second says no", []string{"BIT-x-1 CVE-1|Bitnami/x " + v1, "GO-1 CVE-1|Go/x " + none},
			"BIT-x-1 Bitnami/x [1.5.0] GO-1 is the same vulnerability and does not count this version as affected\n"},
		{"the first says no", []string{"BIT-x-1 CVE-1|Bitnami/x " + none, "GO-1 CVE-1|Go/x " + v1},
			"GO-1 Go/x [1.5.0] BIT-x-1 is the same vulnerability and does not count this version as affected\n"},
		{"the second has no doubt", []string{"BIT-x-1 CVE-1|Bitnami/x introduced:0 fixed:odd", "GO-1 CVE-1|Go/x " + v1}, "BIT-x-1 Bitnami/x [] \n"},
		{"neither", []string{"BIT-x-1 CVE-1|Bitnami/x " + none, "GO-1 CVE-1|Go/x " + none}, ""},
	} {
		var list []*Advisory
		for _, r := range tt.records {
			list = append(list, advisoryOf(t, r))
		}
		for range list { // whatever order they come in
			list = append(list[1:], list[0])
			db := database(list...)
			if got := said(db.lookup.match([]Component{{"Bitnami", "x"}, {"Go", "x"}}, readVersion("1.0.0"))); got != tt.want {
				t.Errorf("%s: %s: %swant %s", tt.name, list[0].ID, got, tt.want)
			}
		}
	}
}

func TestMatchChart(t *testing.T) {
	db := database(
		advisoryOf(t, "CK-1|Helm/airflow introduced:0 fixed:8.9.0"),
		advisoryOf(t, "CK-2|Helm/https://airflow-helm.github.io/charts/airflow introduced:8.0.0 last_affected:8.9.0"),
		advisoryOf(t, "CK-3|Helm/oci://registry.example/charts/airflow introduced:0"),
		advisoryOf(t, "CK-4|Helm/https://airflow-helm.github.io/charts/other introduced:0"),
		advisoryOf(t, "BIT-airflow-1|Bitnami/airflow introduced:0"),
	)
	const (
		one   = "CK-1 Helm/airflow [8.9.0] \n"
		two   = "CK-2 Helm/https://airflow-helm.github.io/charts/airflow [] "
		three = "CK-3 Helm/oci://registry.example/charts/airflow [] "
		from  = "it is on the chart of %s, and where this one comes from is not known\n"
	)
	unknown := func(repository string) string { return strings.Replace(from, "%s", repository, 1) }
	for _, tt := range []struct{ repositories, version, want string }{
		{"https://airflow-helm.github.io/charts", "8.5.0", one + two + "\n"},
		{"HTTPS://Airflow-Helm.github.io/charts/", "8.9.0", two + "\n"},
		{"https://airflow-helm.github.io/charts/index.yaml", "8.9.1-beta.1", ""},
		{"https://airflow-helm.github.io/charts", "8.9.0-beta.1", one + two + "\n"},
		{"https://airflow-helm.github.io/Charts", "8.5.0", one},
		{"oci://registry.example/charts", "8.9.0", three + "\n"},
		{"oci://registry.example/charts/airflow", "8.9.0", three + "\n"},
		{"https://example.org https://airflow-helm.github.io/charts", "8.9.0", two + "\n"},
		{"https://airflow.apache.org", "1.11.0", one},
		{"", "8.5.0", one + two + unknown("https://airflow-helm.github.io/charts") + three + unknown("oci://registry.example/charts")},
		{"", "9.0.0", three + unknown("oci://registry.example/charts")},
	} {
		if got := said(db.MatchChart(strings.Fields(tt.repositories), "airflow", tt.version)); got != tt.want {
			t.Errorf("%s %s:\n%swant\n%s", tt.repositories, tt.version, got, tt.want)
		}
	}
	if got := db.MatchChart([]string{"https://example.org"}, "airflow", "not-a-version"); len(got) != 1 || got[0].Doubt == "" {
		t.Errorf("a version that cannot be read: %s", said(got))
	}
	if got := db.MatchChart(nil, "nothing", "1.0.0"); got != nil {
		t.Errorf("another chart: %s", said(got))
	}
}
