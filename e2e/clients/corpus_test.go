package clients

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sample is an archive of the corpus.
type sample struct {
	folder, file string
	archive      []byte
	prov         []byte // nil without one
}

// corpus reads the charts beside the repository.
func corpus(t *testing.T) []sample {
	t.Helper()
	root, err := daemontest.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "..", "shared", "corpus", "charts")
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("NOT TESTED: the corpus of real charts, ../shared/corpus/charts beside the repository, is not here")
	}
	slices.Sort(files)
	out := make([]sample, len(files))
	for i, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		prov, err := os.ReadFile(f + ".prov")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		out[i] = sample{filepath.Base(filepath.Dir(f)), filepath.Base(f), b, prov}
	}
	return out
}

// TestCorpus offers every chart of the corpus, and holds what is taken and
// what is refused to a table. What is refused as a release has to be taken as
// history.
func TestCorpus(t *testing.T) {
	samples := corpus(t)
	s := newSite(t, daemontest.Options{})
	ctx := t.Context()
	made := map[string]bool{}
	project := func(name string, importing bool) string {
		if !made[name] {
			made[name] = true
			s.project(client.NewProject{Name: name, Public: true, Importing: importing})
		}
		return name
	}
	upload := func(c *sample) client.Upload {
		return client.Upload{FileName: c.file, Archive: bytes.NewReader(c.archive), Size: int64(len(c.archive)), Provenance: c.prov}
	}
	rule := func(err error) string {
		if err == nil {
			return "accepted"
		}
		p, ok := problem.As(err)
		if !ok || p.Try == "" {
			t.Errorf("a refusal without advice: %v", err)
			return "error"
		}
		return p.Rule
	}
	var table strings.Builder
	counts := map[string]int{}
	taken := map[string][]*sample{} // by folder
	for i := range samples {
		c := &samples[i]
		_, err := s.api.Push(ctx, project("release/"+c.folder, false), upload(c))
		outcome := rule(err)
		counts["released: "+outcome]++
		if err == nil {
			taken[c.folder] = append(taken[c.folder], c)
		} else {
			_, herr := s.api.ImportRelease(ctx, project("history/"+c.folder, true), upload(c), client.Origin{URL: "https://charts.example.test/" + c.file, Digest: sum(c.archive)})
			counts["as history: "+rule(herr)]++
			outcome += ", as history " + rule(herr)
		}
		fmt.Fprintf(&table, "%s/%s: %s\n", c.folder, c.file, outcome)
	}
	var text strings.Builder
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&text, "%s %d\n", k, counts[k])
	}
	golden(t, "testdata/corpus.golden", text.String()+"\n"+table.String())

	// Helm reads what was taken: all of the listing, and some of the charts.
	for _, helm := range helms {
		t.Run(helm, func(t *testing.T) {
			sh := newShell(t)
			for folder, charts := range taken {
				sh.do(helm, "repo", "add", folder, s.URL+"/release/"+folder)
				out := sh.do(helm, "search", "repo", folder+"/", "--versions", "--devel")
				if n := strings.Count(out, "\n"+folder+"/"); n != len(charts) {
					t.Errorf("%s: %d versions listed, %d released", folder, n, len(charts))
				}
				for i := 0; i < len(charts); i += shorter(20, 40) {
					url := s.URL + "/release/" + folder + "/charts/" + charts[i].file
					sh.do(helm, "pull", url)
					want(t, charts[i].file, sh.read(charts[i].file), charts[i].archive)
				}
			}
		})
	}
}

// TestCorpusThroughHelm pushes the corpus with Helm itself, which must be told
// the same as everybody else.
func TestCorpusThroughHelm(t *testing.T) {
	if testing.Short() {
		t.Skip("pushing the whole corpus with Helm takes a minute")
	}
	samples := corpus(t)
	s, sh := newSite(t, daemontest.Options{}), newShell(t)
	sh.do("helm4", "registry", "login", s.Addr, "-u", "x", "-p", s.Admin, "--plain-http")
	made := map[string]bool{}
	accepted, refused := 0, 0
	for i := range samples {
		c := &samples[i]
		for _, kind := range []string{"ours/", "helm/"} {
			if !made[kind+c.folder] {
				made[kind+c.folder] = true
				s.project(client.NewProject{Name: kind + c.folder})
			}
		}
		_, apiErr := s.api.Push(t.Context(), "ours/"+c.folder, client.Upload{Archive: bytes.NewReader(c.archive), Size: int64(len(c.archive))})
		file := sh.write(c.file, c.archive)
		out, helmErr := sh.try("helm4", "push", file, "oci://"+s.Addr+"/helm/"+c.folder, "--plain-http")
		sh.read(c.file)
		if (apiErr == nil) != (helmErr == nil) {
			t.Errorf("%s/%s: our interface says %v, Helm says %v: %s", c.folder, c.file, apiErr, helmErr, out)
		}
		if helmErr != nil {
			refused++
			if p, ok := problem.As(apiErr); ok && !strings.Contains(out, p.Message) {
				t.Errorf("%s/%s: Helm does not show %q: %s", c.folder, c.file, p.Message, out)
			}
			continue
		}
		accepted++
	}
	t.Logf("%d accepted, %d refused", accepted, refused)
}

func shorter(full, short int) int {
	if testing.Short() {
		return short
	}
	return full
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) == got {
		return
	}
	was := strings.Split(string(b), "\n")
	for _, line := range strings.Split(got, "\n") {
		if !slices.Contains(was, line) {
			t.Errorf("%s does not have: %s", path, line)
		}
	}
	t.Errorf("%s is not what came out; -update writes it", path)
}
