package chart

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

func corpusArchives(t testing.TB) map[string][]byte {
	t.Helper()
	root := charttest.Corpus(t, "charts")
	archives := map[string][]byte{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".tgz" {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(root, path)
		archives[filepath.ToSlash(rel)] = b
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return archives
}

// TestCorpus opens every real chart. None is refused; the strict rules refuse
// exactly those that have a fault, and by these rules: versions such as v1.0.0
// and 1.0; argo-cd 2.17.5 to 3.4.0 hold a dependency twice, with the same
// content; argo-ci was packed without a folder. Helm's reader reads the same
// from each Chart.yaml.
func TestCorpus(t *testing.T) {
	rules := map[string]int{}
	archives := corpusArchives(t)
	for path, b := range archives {
		a, err := Open(bytes.NewReader(b), DefaultLimits())
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if a.Size != int64(len(b)) || len(a.Files) == 0 {
			t.Errorf("%s: %d bytes, %d files", path, a.Size, len(a.Files))
		}
		file := FileName(a.Metadata.Name, a.Metadata.Version)
		if base := filepath.Base(path); file != base && base != "keda-2.14.3 copy.tgz" {
			t.Errorf("%s: file name from Chart.yaml is %s", path, file)
		}
		sameAsHelm(t, a.ChartYAML)
		for _, f := range a.Faults() {
			rules[f.Rule]++
			if f.Rule == "chart-version" && strings.HasPrefix(a.Metadata.Version, "v") && !strings.Contains(f.Try, a.Metadata.Version[1:]) {
				t.Errorf("%s: no corrected version in %q", path, f.Try)
			}
		}
		for _, w := range a.Warnings {
			rules[w]++
		}
	}
	want := map[string]int{
		"chart-version":       29,
		"archive-duplicate":   17,
		"archive-folder-name": 3,
		"Chart.yaml has no apiVersion; Helm takes it for v1": 16,
	}
	if diff := cmp.Diff(want, rules); diff != "" || len(archives) != 299 {
		t.Errorf("of %d charts (-want +got):\n%s", len(archives), diff)
	}
}

// TestCorpusMutations finds, in pairs of archives of one version, that
// repacking leaves the content digest alone and that other content does not.
func TestCorpusMutations(t *testing.T) {
	cases := filepath.Join(charttest.Corpus(t, ""), "mutations", "cases")
	byVersion := map[string][]Archive{}
	err := filepath.WalkDir(cases, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".tgz" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		a, err := Open(bytes.NewReader(b), DefaultLimits())
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return nil
		}
		key := filepath.Dir(path) + " " + a.Metadata.Name + " " + a.Metadata.Version
		byVersion[key] = append(byVersion[key], a)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	changed, repacked := 0, 0
	for key, archives := range byVersion {
		for _, a := range archives[1:] {
			old := archives[0]
			changes := Diff(old.Files, a.Files)
			if (len(changes) == 0) != (old.Content == a.Content) {
				t.Errorf("%s: %d changes, content digests %s and %s", key, len(changes), old.Content, a.Content)
			}
			switch {
			case old.Digest == a.Digest:
			case old.Content == a.Content:
				repacked++
			default:
				changed++
			}
		}
	}
	t.Logf("%d versions changed, %d repacked", changed, repacked)
	if changed == 0 {
		t.Error("no pair of archives with other content")
	}
}
