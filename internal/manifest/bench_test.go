package manifest

import (
	"path/filepath"
	"testing"
)

func benchmarkPair(b *testing.B, old, new string) {
	root := corpusPath(b, "charts")
	x, y := readFile(b, filepath.Join(root, old)), readFile(b, filepath.Join(root, new))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := CompareArchives(x, y, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// The review of one version pair: goal below 300 ms.
func BenchmarkCompareAirflow(b *testing.B) {
	benchmarkPair(b, "airflow-helm/airflow-8.8.0.tgz", "airflow-helm/airflow-8.9.0.tgz")
}

// A chart with half a megabyte of definitions.
func BenchmarkCompareKeda(b *testing.B) {
	benchmarkPair(b, "kedacore__charts/keda-2.20.1.tgz", "kedacore__charts/keda-2.20.2.tgz")
}
