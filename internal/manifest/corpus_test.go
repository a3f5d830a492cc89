package manifest

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/engine"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

var all = flag.Bool("all", false, "render every chart of the corpus, not a sample")

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// realCharts are the archives of the corpus, by folder and name in the order of
// their versions.
func realCharts(t testing.TB) map[string][]string {
	t.Helper()
	root := charttest.Corpus(t, "charts")
	files, err := filepath.Glob(filepath.Join(root, "*", "*.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	type release struct {
		path string
		key  string
	}
	byChart := map[string][]release{}
	for _, f := range files {
		a, err := chart.Open(bytes.NewReader(readFile(t, f)), chart.DefaultLimits())
		if err != nil {
			t.Logf("%s: %v", f, err)
			continue
		}
		_, key := chart.LenientVersion(a.Metadata.Version)
		name := filepath.Base(filepath.Dir(f)) + "/" + a.Metadata.Name
		byChart[name] = append(byChart[name], release{f, key})
	}
	out := map[string][]string{}
	n := 0
	for name, list := range byChart {
		slices.SortFunc(list, func(a, b release) int { return strings.Compare(a.key, b.key) })
		for _, r := range list {
			out[name] = append(out[name], r.path)
			n++
		}
	}
	if n < 250 {
		t.Fatalf("%d charts found, 299 are expected", n)
	}
	return out
}

// helmRender renders with Helm's engine and nothing of ours.
func helmRender(t *testing.T, archive []byte) (map[string]string, error) {
	t.Helper()
	o := Options{}.orDefault()
	c, err := open(archive, o.Limits)
	if err != nil {
		return nil, err
	}
	if err := settle(c, o); err != nil {
		return nil, err
	}
	caps, err := capabilitiesOf(o)
	if err != nil {
		t.Fatal(err)
	}
	values, err := commonutil.ToRenderValuesWithSchemaValidation(c, nil,
		common.ReleaseOptions{Name: o.Name, Namespace: o.Namespace, Revision: 1, IsInstall: true}, caps, true)
	if err != nil {
		return nil, err
	}
	return engine.Engine{}.RenderWithContext(t.Context(), c, values)
}

// Under guard, charts without random values render byte for byte as with Helm;
// those with them differ in lines alone that differ each time with Helm too.
func TestRendersAsHelm(t *testing.T) {
	charts := realCharts(t)
	same, random, failed := 0, 0, 0
	for _, name := range slices.Sorted(maps.Keys(charts)) {
		for i, path := range charts[name] {
			if !*all && i != len(charts[name])-1 {
				continue
			}
			archive := readFile(t, path)
			want, wantErr := helmRender(t, archive)
			o := Options{}.orDefault()
			c, err := open(archive, o.Limits)
			if err == nil {
				err = settle(c, o)
			}
			if err != nil {
				t.Logf("%s: %v", path, err)
				continue
			}
			if err := weave(c, &Templates{}); err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			caps, err := capabilitiesOf(o)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			got, b, err := run(c, o, caps, 0)
			if (err != nil) != (wantErr != nil) {
				t.Errorf("%s: Helm says %v, under guard %v", path, wantErr, err)
				continue
			}
			if err != nil {
				failed++
				if testing.Verbose() {
					t.Logf("%s\n helm: %v\n guard: %v", filepath.Base(path), wantErr, err)
				}
				continue
			}
			if b.depth != 0 {
				t.Errorf("%s: %d templates were begun and not ended", path, b.depth)
			}
			if testing.Verbose() {
				t.Logf("%-40s work %8d made %9d in %v", filepath.Base(path), b.work, b.made, time.Since(start))
			}
			if b.random {
				random++
				continue
			}
			same++
			if len(got) != len(want) {
				t.Errorf("%s: %d files, Helm makes %d", path, len(got), len(want))
			}
			for f := range want {
				if got[f] != want[f] {
					t.Errorf("%s: %s differs from what Helm makes:\n%s", path, f, firstDifference(want[f], got[f]))
				}
			}
		}
	}
	t.Logf("%d render the same, %d ask for random values, %d do not render with their own values", same, random, failed)
	if same < 10 {
		t.Error("too few charts were compared to prove anything")
	}
}

func firstDifference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return "- " + a[i] + "\n+ " + b[i]
		}
	}
	return "one is longer"
}

// Of each repository, two versions that follow one another are compared without
// a crash, and the same each time. e2e/podsecurity compares every pair.
func TestComparesPairs(t *testing.T) {
	charts := realCharts(t)
	pairs, rules, seen := 0, map[string]int{}, map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(charts)) {
		list := charts[name]
		folder, _, _ := strings.Cut(name, "/")
		if seen[folder] || len(list) < 2 {
			continue
		}
		seen[folder] = true
		old, new := readFile(t, list[len(list)-2]), readFile(t, list[len(list)-1])
		c, err := CompareCharts(old, new, Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := CompareCharts(old, new, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c, again); d != "" {
			t.Errorf("%s: not the same the second time:\n%s", name, d)
		}
		for _, f := range c.Findings {
			rules[string(f.Severity)+" "+f.Rule]++
		}
		pairs++
	}
	for _, r := range slices.Sorted(maps.Keys(rules)) {
		t.Logf("%5d %s", rules[r], r)
	}
	if pairs < 8 {
		t.Errorf("%d pairs are too few to prove anything", pairs)
	}
}
