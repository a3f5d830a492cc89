package decision

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

// The images of airflow-helm 8.9.0 with the advisories that are open on them,
// as bitnami/vulndb knew them in August 2026. None is in the KEV catalogue. The counts are those
// of the published table alone, with points derived from the vectors.
var example = map[string]map[string]map[string]int{
	"airflow":   {"controlled": {"none": 30, "60": 5}, "open": {"60": 23, "14": 11, "3": 1}},
	"pgbouncer": {"open": {"3": 2, "14": 3, "60": 1}},
	"redis":     {"open": {"3": 1, "14": 8, "60": 3}},
}

func exampleRows(t testing.TB) []map[string]string {
	t.Helper()
	b, err := os.ReadFile("testdata/example.csv")
	if err != nil {
		t.Fatal(err)
	}
	return charttest.Rows(t, b)
}

func exampleInput(row map[string]string, exposure string) Input {
	in := given("no", exposure, "", "", "", "1", "")
	in.Automatable, in.Impact, in.CVSS, in.Exploitation = Value{}, Value{}, Value{}, Value{}
	Rate([]string{row["vector"]}).Fill(&in, row["id"], "")
	return in
}

func TestWorkedExample(t *testing.T) {
	p := Default()
	got := map[string]map[string]map[string]int{}
	for _, row := range exampleRows(t) {
		for exposure := range example[row["component"]] {
			d := p.Decide(exampleInput(row, exposure))
			r := d.Rules[0]
			days := strconv.Itoa(r.Days)
			if r.Days == none {
				days = "none"
			}
			if got[row["component"]] == nil {
				got[row["component"]] = map[string]map[string]int{}
			}
			if got[row["component"]][exposure] == nil {
				got[row["component"]][exposure] = map[string]int{}
			}
			got[row["component"]][exposure][days]++
			if d.SetBy == r.ID && !d.Derived {
				t.Errorf("%s: derived points are not said to be derived", row["id"])
			}
			if slices.ContainsFunc(d.Doubts, func(s string) bool { return !strings.HasPrefix(s, "exploitation is not known") }) {
				t.Errorf("%s: doubts %q", row["id"], d.Doubts)
			}
		}
	}
	if diff := cmp.Diff(example, got); diff != "" {
		t.Errorf("days by the published table (-want +got):\n%s", diff)
	}
}

// The fixture is what the corpus's ranges and vectors say. The ranges are
// evaluated here, without the matcher; pgbouncer is not in the corpus.
func TestWorkedExampleIsOfTheCorpus(t *testing.T) {
	for component, version := range map[string]string{"airflow": "2.8.4", "redis": "6.2.14"} {
		want := map[string]string{}
		for _, row := range exampleRows(t) {
			if row["component"] == component {
				want[row["id"]] = row["vector"]
			}
		}
		got := map[string]string{}
		for _, r := range records(t, "advisories/bitnami-vulndb/"+component) {
			if open(t, r, component, version) {
				got[r.ID] = strings.Join(r.vectors(), " ")
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s %s (-fixture +corpus):\n%s", component, version, diff)
		}
	}
}

// open evaluates ranges of plain versions, event by event.
func open(t testing.TB, r record, component, version string) bool {
	for _, a := range r.Affected {
		if a.Package.Name != component {
			continue
		}
		for _, rng := range a.Ranges {
			in := false
			for _, e := range rng.Events {
				switch v := number(t, version); {
				case e["introduced"] != "" && number(t, e["introduced"]) <= v:
					in = true
				case e["fixed"] != "" && number(t, e["fixed"]) <= v, e["last_affected"] != "" && number(t, e["last_affected"]) < v:
					in = false
				}
			}
			if in {
				return true
			}
		}
	}
	return false
}

// number orders versions of up to three numbers, without what follows them.
func number(t testing.TB, version string) string {
	plain, _, _ := strings.Cut(version, "-")
	out := ""
	for i, parts := 0, strings.Split(plain, "."); i < 3; i++ {
		n := 0
		if i < len(parts) {
			var err error
			if n, err = strconv.Atoi(parts[i]); err != nil {
				t.Fatalf("version %s: %v", version, err)
			}
		}
		out += fmt.Sprintf("%06d", n)
	}
	return out
}

// Points that are derived from vectors, against those that CISA published: they
// are mostly the same, and mostly more urgent where they are not.
func TestDerivedPointsAgainstPublished(t *testing.T) {
	vectors := map[string][]string{}
	for _, r := range records(t, "advisories/bitnami-vulndb") {
		for _, a := range r.Aliases {
			vectors[a] = r.vectors()
		}
	}
	p := Default()
	counts := map[string]map[int]int{}
	for cve, points := range vulnrichment(t) {
		if points["automatable"] == "" || points["technical impact"] == "" || len(vectors[cve]) == 0 {
			continue
		}
		for _, exposure := range []string{"controlled", "open"} {
			want := p.Decide(given("no", exposure, points["automatable"], points["technical impact"], "none", "0", "5.0")).Rules[0]
			got := p.Decide(exampleInput(map[string]string{"vector": vectors[cve][0]}, exposure)).Rules[0]
			if counts[exposure] == nil {
				counts[exposure] = map[int]int{}
			}
			switch {
			case got.Deadline.Equal(want.Deadline):
				counts[exposure][0]++
			case sooner(got.Deadline, want.Deadline):
				counts[exposure][1]++
			default:
				counts[exposure][-1]++
			}
		}
	}
	for exposure, c := range counts {
		n := c[0] + c[1] + c[-1]
		t.Logf("%s: %d CVEs, %d the same, %d more urgent, %d less", exposure, n, c[0], c[1], c[-1])
		if n < 50 || c[0]*100 < 75*n || c[-1] > c[1] {
			t.Errorf("%s: of %d the same %d, more urgent %d, less %d", exposure, n, c[0], c[1], c[-1])
		}
	}
	if len(counts) != 2 {
		t.Error("nothing was compared")
	}
}

// vulnrichment reads the decision points of the corpus by CVE, in lower case.
func vulnrichment(t testing.TB) map[string]map[string]string {
	t.Helper()
	dir := charttest.Corpus(t, "advisories/vulnrichment")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string]string{}
	for _, e := range entries {
		var doc struct {
			Containers struct {
				ADP []struct {
					Metrics []struct {
						Other struct {
							Content json.RawMessage
						}
					}
				}
			}
		}
		if err := json.Unmarshal(charttest.ReadFile(t, filepath.Join(dir, e.Name())), &doc); err != nil {
			t.Fatal(err)
		}
		points := map[string]string{}
		for _, a := range doc.Containers.ADP {
			for _, m := range a.Metrics {
				var content struct{ Options []map[string]string }
				_ = json.Unmarshal(m.Other.Content, &content) // of other types it has other forms
				for _, o := range content.Options {
					for k, v := range o {
						points[strings.ToLower(k)] = strings.ToLower(v)
					}
				}
			}
		}
		cve, _, _ := strings.Cut(e.Name(), ".")
		out[cve] = points
	}
	return out
}
