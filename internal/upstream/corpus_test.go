//go:build unix

package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

var table = flag.Bool("table", false, "print the table of docs/upstream.md")

// seen is what an event says, in the words of mutations.csv.
type seen struct {
	Commit, Kind, Chart, Version, Old, New string
}

// expected translates a row. The table tells by the future whether what
// vanished comes back, which an event cannot; a duplicate that was removed is a
// change from one of its digests to another.
func expected(r map[string]string) seen {
	e := seen{r["after_commit"], "", r["chart"], r["version"], r["digest_before"], r["digest_after"]}
	switch r["event"] {
	case "changed", "duplicate-removed":
		e.Kind = "changed"
	case "vanished-permanent", "vanished-temporary":
		e.Kind = "vanished"
	case "reappeared-same", "reappeared-changed":
		e.Kind = "returned"
	case "duplicate-added":
		e.Kind = "duplicate"
	case "index-invalid-yaml":
		e = seen{Commit: r["after_commit"], Kind: "invalid"}
	}
	return e
}

// beyond knows the events that mutations.csv tells in another way. It has one
// row for a version and a commit: a version that changed and was listed twice in
// one commit (csi-nfs, four times) has the row of the change, and later one of a
// duplicate removed. And what was dropped in a commit that is no YAML (keda,
// three digests) has a row at that commit; here it is news when the index can be
// read again, without those digests.
func beyond(mutations []map[string]string, e seen) bool {
	changed, removed := false, false
	for _, m := range mutations {
		if m["chart"] != e.Chart || m["version"] != e.Version {
			continue
		}
		changed = changed || m["event"] == "changed" && m["after_commit"] == e.Commit && m["digest_after"] == e.Old
		removed = removed || m["event"] == "duplicate-removed" && m["before_commit"] == e.Commit && m["digest_before"] == e.Old
		if e.Kind == "changed" && e.New == "" && m["event"] == "index-invalid-yaml" && m["digest_before"] == e.Old {
			return true
		}
	}
	return e.Kind == "duplicate" && changed && removed
}

var histories = []struct {
	file, repository string
	control          bool
}{
	{"argo", "argoproj/argo-helm", false}, {"cnpg", "cloudnative-pg/charts", false}, {"codecentric", "codecentric/helm-charts", false},
	{"csi-nfs", "kubernetes-csi/csi-driver-nfs", false}, {"keda", "kedacore/charts", false}, {"podinfo", "stefanprodan/podinfo", false},
	{"airflow", "airflow-helm/charts", true}, {"jenkins", "jenkinsci/helm-charts", true},
}

// cpu is the time that this process computed.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestHistories replays real indexes in the order of their publication. The
// events are those that mutations.csv has, which others found in another way.
func TestHistories(t *testing.T) {
	root := charttest.Corpus(t, "")
	b, err := os.ReadFile(filepath.Join(root, "mutations", "mutations.csv"))
	if err != nil {
		t.Fatal(err)
	}
	mutations := charttest.Rows(t, b)
	kinds := []Kind{Added, Changed, Vanished, Returned, Duplicate, CreatedRewritten, Invalid}
	var out strings.Builder
	for _, h := range histories {
		t.Run(h.file, func(t *testing.T) {
			if testing.Short() && (h.file == "argo" || h.file == "jenkins") {
				t.Skip("SKIPPED in short mode: more than 400 MB of indexes")
			}
			var tracker Tracker
			var got, want []seen
			var took time.Duration
			counts, revisions, bytesRead, complete := map[Kind]int{}, 0, 0, 0
			charttest.History(t, filepath.Join(root, "histories", h.file+".index-history.tar.zst"), func(rev charttest.Revision) {
				commit, text := rev.Commit, rev.Text
				first := revisions == 0
				revisions++
				bytesRead += len(text)
				begin := cpu(t)
				x, err := Parse(text, Limits{})
				var events []Event
				if err != nil {
					events = append(events, Unreadable(err))
				} else {
					events = tracker.Observe(x)
				}
				took += cpu(t) - begin
				if revisions%10 == 0 {
					if _, ok := scanYAML(text, DefaultLimits()); !ok {
						complete++
					}
				}
				for _, e := range events {
					counts[e.Kind]++
					if e.Kind == Invalid && e.Chart != "" { // the table has none of single entries
						t.Logf("%.12s: %s %s: %s", commit, e.Chart, e.Version, e.Detail)
						continue
					}
					if e.Kind == Added || e.Kind == CreatedRewritten || first {
						continue
					}
					got = append(got, seen{commit, string(e.Kind), e.Chart, e.Version, e.OldDigest, e.NewDigest})
				}
			})
			for _, m := range mutations {
				if m["repo"] == h.repository {
					if e := expected(m); !slices.Contains(want, e) {
						want = append(want, e)
					}
				}
			}
			for _, e := range want {
				if !slices.Contains(got, e) {
					t.Errorf("not found: %+v", e)
				}
			}
			for _, e := range got {
				if !slices.Contains(want, e) && !beyond(mutations, e) {
					t.Errorf("not in mutations.csv: %+v", e)
				}
			}
			if h.control && len(got) > 0 {
				t.Errorf("a control history has %d events", len(got))
			}
			if complete > 0 {
				t.Errorf("the scanner gave up at %d of %d revisions", complete, revisions/10)
			}
			fmt.Fprintf(&out, "| %s | %d | %.0f |", h.repository, revisions, float64(bytesRead)/1e6)
			for _, k := range kinds {
				fmt.Fprintf(&out, " %d |", counts[k])
			}
			fmt.Fprintf(&out, " %.2f |\n", took.Seconds())
		})
	}
	if *table {
		fmt.Print(out.String())
	}
}

// TestCases compares the two sides of each chosen mutation.
func TestCases(t *testing.T) {
	root := charttest.Corpus(t, "")
	dirs, err := filepath.Glob(filepath.Join(root, "mutations", "cases", "*"))
	if err != nil || len(dirs) < 20 {
		t.Fatalf("%d cases: %v", len(dirs), err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, "case.json"))
			if err != nil {
				t.Fatal(err)
			}
			var fields map[string]any
			if err := json.Unmarshal(b, &fields); err != nil {
				t.Fatal(err)
			}
			row := map[string]string{}
			for name, value := range fields {
				row[name] = fmt.Sprint(value)
			}
			side := func(name string) []byte {
				found, _ := filepath.Glob(filepath.Join(dir, name+".index.yaml*"))
				if len(found) != 1 {
					t.Fatalf("%d files of side %s", len(found), name)
				}
				return charttest.ReadFile(t, found[0])
			}
			want := expected(row)
			old, err := Parse(side("before"), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			var events []Event
			if x, err := Parse(side("after"), Limits{}); err != nil {
				events = []Event{Unreadable(err)}
			} else {
				events = Compare(old, x)
			}
			if !slices.ContainsFunc(events, func(e Event) bool {
				return want == seen{want.Commit, string(e.Kind), e.Chart, e.Version, e.OldDigest, e.NewDigest}
			}) {
				t.Errorf("want %+v, got %+v", want, events)
			}
		})
	}
}

// TestRealIndexes reads every real index with the scanner, with the complete
// reader, as JSON in two layouts, and with Helm's reader: all see the same.
func TestRealIndexes(t *testing.T) {
	root := charttest.Corpus(t, "")
	paths, _ := filepath.Glob(filepath.Join(root, "indexes", "*"))
	if len(paths) < 13 {
		t.Fatalf("%d indexes", len(paths))
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			b := charttest.ReadFile(t, path)
			fast, ok := scanYAML(b, DefaultLimits())
			if !ok {
				t.Fatal("the scanner gave up")
			}
			slow, err := parseYAML(b, DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(slow, fast); d != "" {
				t.Fatalf("the scanner differs (-complete +scanner):\n%s", d)
			}
			j, err := yaml.YAMLToJSON(b)
			if err != nil {
				t.Fatal(err)
			}
			fromJSON, err := Parse(j, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(sorted(slow), sorted(fromJSON)); d != "" {
				t.Fatalf("JSON differs (-YAML +JSON):\n%s", d)
			}
			var indented bytes.Buffer
			if err := json.Indent(&indented, j, "", "  "); err != nil {
				t.Fatal(err)
			}
			if !checkJSON(t, j, DefaultLimits()) {
				t.Error("it is not read as JSON")
			}
			if x, err, ok := parseJSON(indented.Bytes(), DefaultLimits()); err != nil || !ok || !cmp.Equal(x, fromJSON) {
				t.Errorf("JSON with white space is read otherwise: %v", err)
			}
			if testing.Short() && len(b) > 2<<20 {
				return // Helm's reader takes seconds
			}
			if n, want := slow.Len(), oracle(t, b); n != want {
				t.Errorf("%d versions, Helm's reader has %d", n, want)
			}
		})
	}
}

// helmIndex is what Helm's loader fills, but for fields nobody compares.
type helmIndex struct {
	ServerInfo map[string]any `json:"serverInfo,omitempty"`
	APIVersion string         `json:"apiVersion"`
	Generated  time.Time      `json:"generated"`
	Entries    map[string][]*struct {
		Name         string              `json:"name,omitempty"`
		Home         string              `json:"home,omitempty"`
		Sources      []string            `json:"sources,omitempty"`
		Version      string              `json:"version,omitempty"`
		Description  string              `json:"description,omitempty"`
		Keywords     []string            `json:"keywords,omitempty"`
		Maintainers  []map[string]string `json:"maintainers,omitempty"`
		Icon         string              `json:"icon,omitempty"`
		APIVersion   string              `json:"apiVersion,omitempty"`
		Condition    string              `json:"condition,omitempty"`
		Tags         string              `json:"tags,omitempty"`
		AppVersion   string              `json:"appVersion,omitempty"`
		Deprecated   bool                `json:"deprecated,omitempty"`
		Annotations  map[string]string   `json:"annotations,omitempty"`
		KubeVersion  string              `json:"kubeVersion,omitempty"`
		Dependencies []map[string]any    `json:"dependencies,omitempty"`
		Type         string              `json:"type,omitempty"`
		URLs         []string            `json:"urls"`
		Created      time.Time           `json:"created,omitempty"`
		Digest       string              `json:"digest,omitempty"`
		Engine       string              `json:"engine,omitempty"`
	} `json:"entries"`
}

func oracle(t testing.TB, b []byte) int {
	t.Helper()
	var x helmIndex
	if err := yaml.UnmarshalStrict(b, &x); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, list := range x.Entries {
		n += len(list)
	}
	return n
}

func largest(b *testing.B) []byte {
	return charttest.ReadFile(b, filepath.Join(charttest.Corpus(b, ""), "indexes", "helm__charts-stable.RECONSTRUCTED.index.yaml.gz"))
}

func BenchmarkParse(b *testing.B) {
	text := largest(b)
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, text []byte, f func([]byte) error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			begin := cpu(b)
			for b.Loop() {
				if err := f(text); err != nil {
					b.Fatal(err)
				}
			}
			// Wall time says little on a busy machine.
			b.ReportMetric(float64(len(text))*float64(b.N)/1e6/(cpu(b)-begin).Seconds(), "MB/cpu-s")
		})
	}
	ours := func(text []byte) error { _, err := Parse(text, Limits{}); return err }
	run("YAML", text, ours)
	run("YAML/complete", text, func(text []byte) error { _, err := parseYAML(text, DefaultLimits()); return err })
	run("YAML/Helm", text, func(text []byte) error { var x helmIndex; return yaml.UnmarshalStrict(text, &x) })
	run("JSON", asJSON, ours)
	run("JSON/Helm", asJSON, func(text []byte) error {
		if !json.Valid(text) {
			return errors.New("not JSON")
		}
		var x helmIndex
		return json.Unmarshal(text, &x)
	})
}

// BenchmarkObserve compares an index of 100,000 versions, of which 1 % changed,
// with what is known.
func BenchmarkObserve(b *testing.B) {
	make100k := func(mark int) Index {
		x := Index{}
		for c := range 1000 {
			chart := Chart{Name: fmt.Sprintf("chart-%d", c)}
			for v := range 100 {
				digest := fmt.Sprintf("%064x", c*100+v)
				if v == 7 {
					digest = fmt.Sprintf("%064x", c*100+v+mark)
				}
				chart.Versions = append(chart.Versions, Version{Version: fmt.Sprintf("1.%d.0", v), Digest: digest, URLs: []string{"x"}})
			}
			x.Charts = append(x.Charts, chart)
		}
		return x
	}
	states := []Index{make100k(1 << 40), make100k(1 << 41)}
	var tracker Tracker
	tracker.Observe(states[1])
	b.ReportAllocs()
	begin := cpu(b)
	for i := 0; b.Loop(); i++ {
		if n := len(tracker.Observe(states[i%2])); n != 1000 {
			b.Fatalf("%d events", n)
		}
	}
	b.ReportMetric((cpu(b)-begin).Seconds()*1e3/float64(b.N), "cpu-ms/op")
}
