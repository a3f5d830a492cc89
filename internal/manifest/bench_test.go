//go:build unix

package manifest

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

func benchmarkPair(b *testing.B, old, new string) {
	root := charttest.Corpus(b, "charts")
	x, y := readFile(b, filepath.Join(root, old)), readFile(b, filepath.Join(root, new))
	b.ReportAllocs()
	start := cpuTime(b)
	for b.Loop() {
		if _, err := CompareCharts(x, y, Options{}); err != nil {
			b.Fatal(err)
		}
	}
	// What is measured on a machine with other work.
	b.ReportMetric(float64((cpuTime(b)-start).Milliseconds())/float64(b.N), "cpu-ms/op")
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// The review of one version pair: goal below 300 ms.
func BenchmarkReviewPair(b *testing.B) {
	benchmarkPair(b, "airflow-helm/airflow-8.8.0.tgz", "airflow-helm/airflow-8.9.0.tgz")
}

// The same as the judgement meets it: what runs was rendered for the version
// before, and the templates are known from another deployment.
func BenchmarkReviewPairAgain(b *testing.B) {
	root := charttest.Corpus(b, "charts")
	x, y := readFile(b, filepath.Join(root, "airflow-helm/airflow-8.8.0.tgz")), readFile(b, filepath.Join(root, "airflow-helm/airflow-8.9.0.tgz"))
	base := NewBase(x, Options{Templates: &Templates{}})
	if _, err := base.Compare(y); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	start := cpuTime(b)
	for b.Loop() {
		if _, err := base.Compare(y); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime(b)-start).Milliseconds())/float64(b.N), "cpu-ms/op")
}

// A chart with half a megabyte of definitions.
func BenchmarkReviewDefinitions(b *testing.B) {
	benchmarkPair(b, "kedacore__charts/keda-2.20.1.tgz", "kedacore__charts/keda-2.20.2.tgz")
}
