package advisory

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// rows reads a table of testdata/airflow, whose README says how it was made.
func rows(t testing.TB, name string, columns int) [][]string {
	t.Helper()
	b, err := os.ReadFile("testdata/airflow/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for line := range strings.Lines(string(b)) {
		row := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(row) != columns {
			t.Fatalf("%s: %d columns in %q, want %d", name, len(row), line, columns)
		}
		out = append(out, row)
	}
	return out
}

// airflow is a Database of the records on the four programs that the charts run.
func airflow(t testing.TB) *Database {
	t.Helper()
	var list []*Advisory
	for _, row := range rows(t, "records.tsv", 4) {
		list = append(list, advisoryOf(t, row[1]+" "+row[2]+"|Bitnami/"+row[0]+" "+row[3]))
	}
	return database(list...)
}

// The open sets of every default image of the 36 released versions of
// airflow-helm, and what each version closes and introduces, are those that were
// made without the matcher.
func TestAirflow(t *testing.T) {
	checkAirflow(t, airflow(t), nil)
}

// The same with the whole records of the corpus, which has none of pgbouncer.
func TestAirflowCorpus(t *testing.T) {
	db := corpus(t)
	checkAirflow(t, db, []string{"pgbouncer"})
	for _, row := range rows(t, "records.tsv", 4) {
		a, ok := db.Advisory(row[1])
		switch {
		case !ok && row[0] != "pgbouncer":
			t.Errorf("%s is not in the corpus", row[1])
		case ok && !slices.EqualFunc(a.Affected[0].Ranges[0].Events, events(t, row[3]), func(x, y RangeEvent) bool { return x == y }):
			t.Errorf("%s has other events in the corpus", row[1])
		}
	}
}

func checkAirflow(t *testing.T, db *Database, without []string) {
	t.Helper()
	want := map[string][]string{} // image, component, version, ids or "unknown"
	for _, row := range rows(t, "open.tsv", 4) {
		want[row[0]] = row
	}
	charts, open := map[string]bool{}, map[string][]string{}
	var changes []string
	for _, row := range rows(t, "images.tsv", 3) {
		chart, where, image := row[0], row[1], row[2]
		charts[chart] = true
		m, w := db.MatchImage(image), want[image]
		if w == nil {
			t.Fatalf("%s %s: nothing is expected of %s", chart, where, image)
		}
		if w[3] == "unknown" || slices.Contains(without, w[1]) {
			if !m.Unknown || m.Why == "" || len(m.Open) > 0 || m.Confidence != Unknown {
				t.Errorf("%s %s: %s is not unknown: %+v", chart, where, image, m)
			}
			continue
		}
		if m.Unknown || m.Component != "Bitnami/"+w[1] || m.Version != w[2] || strings.Join(m.Open, " ") != w[3] {
			t.Errorf("%s %s: %s is %s %s (%s): %v\nwant %s", chart, where, image, m.Component, m.Version, m.Why, m.Open, w[3])
		}
		for _, o := range m.Found {
			if o.Doubt != "" {
				t.Errorf("%s %s: %s: %s: %s", chart, where, image, o.Advisory.ID, o.Doubt)
			}
		}
		if was, ok := open[w[1]]; ok && !slices.Equal(was, m.Open) {
			changes = append(changes, strings.Join([]string{chart, w[1], strings.Join(less(was, m.Open), " "), strings.Join(less(m.Open, was), " ")}, "\t"))
		}
		open[w[1]] = m.Open
	}
	if len(charts) != 36 {
		t.Errorf("%d charts", len(charts))
	}
	var expected []string
	for _, row := range rows(t, "changes.tsv", 4) {
		if !slices.Contains(without, row[1]) {
			expected = append(expected, strings.Join(row, "\t"))
		}
	}
	if !slices.Equal(changes, expected) {
		t.Errorf("closed and introduced:\n%s\nwant\n%s", strings.Join(changes, "\n"), strings.Join(expected, "\n"))
	}
}

// less returns what of a is not in b.
func less(a, b []string) []string {
	var out []string
	for _, s := range a {
		if !slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	return out
}

// The three traps of tags that SemVer takes for pre-releases: what is fixed in
// exactly the version that runs is closed, and would be open by SemVer.
func TestAirflowTagsAreNoPreReleases(t *testing.T) {
	db := airflow(t)
	wrong := 0
	for _, image := range []string{"apache/airflow:2.8.4-python3.9", "apache/airflow:2.6.3-python3.9", "docker.io/bitnami/redis:6.2.14-debian-12-r17",
		"docker.io/bitnami/redis:5.0.14-debian-10-r173", "ghcr.io/airflow-helm/postgresql-bitnami:11.22-patch.0", "ghcr.io/airflow-helm/postgresql-bitnami:11.16-patch.0"} {
		m := db.MatchImage(image)
		component, name, _ := strings.Cut(m.Component, "/")
		naive := db.MatchComponent(Component{component, name}, m.Version+"-x")
		for _, o := range naive {
			if !slices.Contains(m.Open, o.Advisory.ID) {
				wrong++
				if !slices.Contains(o.Fixed, m.Version) {
					t.Errorf("%s: %s is fixed in %v", image, o.Advisory.ID, o.Fixed)
				}
			}
		}
		if len(naive) < len(m.Open) {
			t.Errorf("%s: fewer are open on the pre-release", image)
		}
	}
	if wrong != 19 {
		t.Errorf("SemVer would have %d advisories open that are fixed, want 19", wrong)
	}
}
