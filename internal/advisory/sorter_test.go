package advisory

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

const oneMap = "images:\n  - {images: [registry.corp.example/data/scheduler], components: [Bitnami/airflow]}\n"

func TestKindOf(t *testing.T) {
	for text, want := range map[string]Kind{
		`{"id":"A-1","modified":"2026-01-01T00:00:00Z","affected":[]}`: OSV,
		`[{"summary":"x","ghsa_id":"GHSA-a"}]`:                         OSV,
		"{\"id\":\"A-1\",\"affected\":[]}\n{\"id\":\"A-2\"}":           OSV,
		`{"vulns":[]}`: OSV,
		"\n {\"id\":\"A-1\",\"affected\":[{\"pac":                                                                   OSV, // it breaks off
		`{"title":"x","catalogVersion":"2026.01.01","vulnerabilities":[]}`:                                          KEV,
		`{"dataType":"CVE_RECORD","containers":{"cna":{"affected":[]}},"cveMetadata":{}}`:                           Vulnrichment,
		`{"statements":[],"@context":"https://openvex.dev/ns/v0.2.0"}`:                                              VEX,
		"#model_version:v2025.03.14,score_date:2026-01-01T00:00:00+0000\ncve,epss,percentile\nCVE-2026-1,0.1,0.2\n": EPSS,
		"cve,epss,percentile\r\nCVE-2026-1,0.1,0.2\r\n":                                                             EPSS,
		oneMap:         Components,
		"":             "",
		"\n":           "",
		"# nothing\n":  "",
		"{}":           "",
		"[]":           "",
		"[1]":          "",
		`"text"`:       "",
		"<html>":       "",
		"hello, world": "",
		`{"$schema":"x","properties":{"vulnerabilities":{},"affected":{}}}`: "",
		"Exploitation,Exposure,Priority\nnone,small,defer\n":                "",
	} {
		if got := kindOf(text); got != want {
			t.Errorf("kindOf(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestSorter(t *testing.T) {
	s := NewSorter(DefaultLimits())
	err := filepath.WalkDir("testdata", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return s.Add(filepath.ToSlash(path), f)
	})
	if err != nil {
		t.Fatal(err)
	}
	// A pile of everything in one archive.
	var pile bytes.Buffer
	z := gzip.NewWriter(&pile)
	w := tar.NewWriter(z)
	for name, text := range map[string]string{"a/map.yaml": oneMap, "a/README.md": "hello", "a/one.json": `{"id":"TEST-9","modified":"2026-01-01T00:00:00Z"}`} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Add("pile.tgz", &pile); err != nil {
		t.Fatal(err)
	}
	got, err := s.Packs()
	if err != nil {
		t.Fatal(err)
	}
	var kinds []Kind
	for _, p := range got.Packs {
		kinds = append(kinds, p.Snapshot().Kind)
		if p.Snapshot().Records == 0 {
			t.Errorf("%s has no records", p.Snapshot().Kind)
		}
	}
	if len(kinds) != len(Kinds) {
		t.Errorf("kinds %v, want all of %v", kinds, Kinds)
	}
	for kind, want := range map[Kind]string{Components: "pile.tgz", OSV: "testdata/osv/github.json testdata/osv/web.json pile.tgz", EPSS: "testdata/epss/scores.csv"} {
		if files := strings.Join(got.Files[kind], " "); files != want {
			t.Errorf("%s was read from %s, want %s", kind, files, want)
		}
	}
	left := strings.Join(got.Left, " ")
	if !strings.Contains(left, "pile.tgz/a/README.md") || !strings.Contains(left, "expect.py") || got.LeftOut != len(got.Left) {
		t.Errorf("left out %d: %s", got.LeftOut, left)
	}
	db, faults := NewDatabase(Curated(), got.Packs...)
	if len(faults) > 0 {
		t.Errorf("faults %v", faults)
	}
	if _, ok := db.Advisory("TEST-9"); !ok {
		t.Error("the record in the archive is not there")
	}
}

// A kind of which nothing can be used is a fault, and the others count.
func TestSorterHalves(t *testing.T) {
	s := NewSorter(DefaultLimits())
	for name, text := range map[string]string{"kev.json": `{"catalogVersion":"x","vulnerabilities":[]}`, "osv.json": `{"id":"TEST-9","modified":"2026-01-01T00:00:00Z"}`} {
		if err := s.Add(name, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Packs()
	if err != nil || len(got.Packs) != 1 || got.Files[KEV] != nil || len(got.Faults) == 0 {
		t.Errorf("got %+v, %v", got, err)
	}
	s = NewSorter(DefaultLimits())
	if err := s.Add("README", strings.NewReader("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Packs(); problem.KindOf(err) != problem.Invalid || !strings.Contains(err.Error(), "nothing that was read") {
		t.Errorf("nothing: %v", err)
	}
}

// What the corpus has is sorted as its folders are named.
func TestSorterCorpus(t *testing.T) {
	root := charttest.Corpus(t, "advisories")
	s := NewSorter(DefaultLimits())
	addTo(t, root, s.Add)
	got, err := s.Packs()
	if err != nil {
		t.Fatal(err)
	}
	for kind, folders := range map[Kind][]string{OSV: {"bitnami-vulndb", "go-osv", "ghsa"}, KEV: {"kev"}, EPSS: {"epss"}, Vulnrichment: {"vulnrichment"}} {
		if len(got.Files[kind]) == 0 {
			t.Errorf("nothing of kind %s", kind)
		}
		for _, file := range got.Files[kind] {
			rel, err := filepath.Rel(root, file)
			if err != nil {
				t.Fatal(err)
			}
			folder, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
			if strings.Join(folders, " ") != folder && !strings.Contains(strings.Join(folders, " "), folder) {
				t.Errorf("%s is taken for %s", rel, kind)
			}
		}
	}
}

// addTo adds all files below a folder.
func addTo(t *testing.T, root string, add func(string, io.Reader) error) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return add(path, f)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzSorter(f *testing.F) {
	for _, s := range []string{oneMap, `{"id":"A","affected":[]}`, `[{"vulns":`, "cve,epss,percentile\n", `{"statements":[{}],"@context":""}`, "\x1f\x8b", "PK\x03\x04"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		lim := DefaultLimits()
		lim.Record, lim.File, lim.Import, lim.Kept, lim.Records, lim.Files = 1<<16, 1<<18, 1<<20, 1<<20, 1000, 100
		s := NewSorter(lim)
		if err := s.Add("it", bytes.NewReader(text)); err != nil {
			if _, ok := problem.As(err); !ok {
				t.Fatal(err)
			}
			return
		}
		got, err := s.Packs()
		if err != nil {
			if problem.KindOf(err) != problem.Invalid {
				t.Fatal(err)
			}
			return
		}
		for _, p := range got.Packs {
			if len(got.Files[p.Snapshot().Kind]) == 0 {
				t.Fatalf("%s comes from no file", p.Snapshot().Kind)
			}
		}
	})
}
