package charttest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Corpus is the path of a folder of real data, below ../shared/corpus beside
// the repository. Where it is not there, the test is skipped and says so.
func Corpus(t testing.TB, below string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = parent
	}
	path := filepath.Join(filepath.Dir(dir), "shared", "corpus", below)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("SKIPPED: the real data of ../shared/corpus/%s is not beside the repository", below)
	}
	return path
}

// ReadFile reads a file, and unpacks it where its name ends in .gz.
func ReadFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil && strings.HasSuffix(path, ".gz") {
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(b)); err == nil {
			b, err = io.ReadAll(z)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Rows reads a CSV table with a head.
func Rows(t testing.TB, b []byte) []map[string]string {
	t.Helper()
	all, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil || len(all) == 0 {
		t.Fatalf("no table: %v", err)
	}
	var out []map[string]string
	for _, r := range all[1:] {
		m := map[string]string{}
		for i, name := range all[0] {
			m[name] = r[i]
		}
		out = append(out, m)
	}
	return out
}

// Revision is one state of an index, as it was published.
type Revision struct {
	Commit string
	Time   time.Time
	Text   []byte
}

// History hands each revision of a real index to a function, in the order of
// ORDER.csv, which is that of the files in the archive. One is in memory at a
// time.
func History(t testing.TB, path string, each func(Revision)) {
	t.Helper()
	walk := func(visit func(name string, r io.Reader) error) {
		t.Helper()
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := zstd.NewReader(f, zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		for r := tar.NewReader(z); ; {
			h, err := r.Next()
			if err == io.EOF {
				return
			}
			if err == nil && h.Typeflag == tar.TypeReg {
				err = visit(filepath.Base(h.Name), r)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	var order []string
	revisions := map[string]Revision{}
	walk(func(name string, r io.Reader) error {
		if name != "ORDER.csv" {
			return nil
		}
		b, err := io.ReadAll(r)
		for _, row := range Rows(t, b) {
			unix, bad := strconv.ParseInt(row["unix_time"], 10, 64)
			if bad != nil {
				t.Fatal(bad)
			}
			order = append(order, row["file"])
			revisions[row["file"]] = Revision{Commit: row["commit"], Time: time.Unix(unix, 0).UTC()}
		}
		return err
	})
	walk(func(name string, r io.Reader) error {
		if name == "ORDER.csv" {
			return nil
		}
		if len(order) == 0 || order[0] != name {
			t.Fatalf("%s does not come where ORDER.csv has it", name)
		}
		order = order[1:]
		rev := revisions[name]
		var err error
		rev.Text, err = io.ReadAll(r)
		each(rev)
		return err
	})
	if len(order) > 0 {
		t.Fatalf("%s has no %s", path, order[0])
	}
}
