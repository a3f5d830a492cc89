// Package charttest makes small chart archives for tests, and reads the real
// ones beside the repository.
//
// The archives are made as Helm packs them: one gzip member, one tar stream
// of regular files under one folder. They are deterministic: the same
// arguments give the same bytes in every run and on every machine, so tests
// may keep digests of them. Nothing here checks that an archive is a good
// chart; package chart does that, and its tests need bad ones.
package charttest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// ModTime is the time of every entry of an archive.
var ModTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Build returns the archive of a small valid chart (API version v2) with a
// Chart.yaml, a values.yaml and one template. Extra adds files, or replaces
// those three; its keys are paths below the chart's folder, such as
// "README.md".
func Build(t testing.TB, name, version string, extra map[string]string) []byte {
	t.Helper()
	files := map[string]string{
		name + "/Chart.yaml": fmt.Sprintf(
			"apiVersion: v2\nname: %s\nversion: %q\nappVersion: \"1.0\"\ndescription: A chart for tests\ntype: application\n", name, version),
		name + "/values.yaml": "replicas: 1\nimage: registry.example.test/app:1.0\n",
		name + "/templates/configmap.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n" +
			"data:\n  replicas: {{ .Values.replicas | quote }}\n",
	}
	for path, content := range extra {
		files[name+"/"+path] = content
	}
	return BuildFiles(t, files)
}

// BuildFiles returns an archive of the given files and of nothing else. The
// keys are whole paths in the archive, such as "web/Chart.yaml", written as
// they are, whatever they contain. Chart.yaml files come first, as Helm
// writes them, then the rest in the order of their bytes.
func BuildFiles(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, path := range slices.SortedFunc(maps.Keys(files), chartYAMLFirst) {
		err := w.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg,
			Name:     path,
			Mode:     0o644,
			Size:     int64(len(files[path])),
			ModTime:  ModTime,
		})
		if err == nil {
			_, err = w.Write([]byte(files[path]))
		}
		if err != nil {
			t.Fatalf("build chart archive: file %q: %v", path, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatalf("build chart archive: close tar: %v", err)
	}
	if err := z.Close(); err != nil {
		t.Fatalf("build chart archive: close gzip: %v", err)
	}
	return b.Bytes()
}

func chartYAMLFirst(a, b string) int {
	const suffix = "/Chart.yaml"
	first := func(s string) int {
		if strings.HasSuffix(s, suffix) {
			return 0
		}
		return 1
	}
	if c := first(a) - first(b); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}
