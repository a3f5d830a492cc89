package manifest

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"helm.sh/helm/v4/pkg/chart/loader/archive"
)

// What is read of an archive is what Helm reads of it.
func TestReadsAsHelm(t *testing.T) {
	charts := realCharts(t)
	for _, name := range slices.Sorted(maps.Keys(charts)) {
		for _, path := range charts[name] {
			b := readFile(t, path)
			got, err := unpack(b, DefaultLimits(), 0, new(int64))
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			want, err := archive.LoadArchiveFiles(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			same := func(x, y *archive.BufferedFile) bool { return x.Name == y.Name && bytes.Equal(x.Data, y.Data) }
			if !slices.EqualFunc(got, want, same) {
				t.Errorf("%s: %d files are read otherwise than Helm's %d", path, len(got), len(want))
			}
			if !*all {
				break
			}
		}
	}
}
