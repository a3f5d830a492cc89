package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

// TestCorpus holds the goal on real notes, and prints the table of
// docs/reviewing.md.
func TestCorpus(t *testing.T) {
	dir := charttest.Corpus(t, "release-notes")
	var out bytes.Buffer
	if err := run([]string{filepath.Join(dir, "labels.csv"), filepath.Join(dir, "entries.jsonl.gz"), "--misses"}, &out); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + out.String())
	labels, err := os.Open(filepath.Join(dir, "labels.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer labels.Close()
	entries, err := os.Open(filepath.Join(dir, "entries.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer entries.Close()
	s, err := measure(labels, entries)
	if err != nil {
		t.Fatal(err)
	}
	sure := s.total(func(r *row) bool { return r.sure })
	if n := sure.right + sure.missed; n < 50 || len(s) < 300 {
		t.Fatalf("%d rows, of which %d are positive: these are not the labels", len(s), n)
	}
	if sure.recall() < 0.95 || sure.precision() < 0.90 {
		t.Errorf("precision %.3f, recall %.3f without borderline rows", sure.precision(), sure.recall())
	}
	for _, r := range s {
		if r.missedIDs > 0 {
			t.Errorf("%s %s: %d of %d identifiers not read", r.project, r.version, r.missedIDs, r.ids)
		}
	}
}

// own writes labels and entries made for a test.
func own(t *testing.T, labels, entries string) (string, string) {
	t.Helper()
	dir := t.TempDir()
	l, e := filepath.Join(dir, "labels.csv"), filepath.Join(dir, "entries.jsonl.gz")
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(entries)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l, []byte(labels), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(e, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return l, e
}

const (
	head  = "project,version,has_security,category,confidence,cve_ids,other_ids,evidence\n"
	texts = `{"project":"a","version":"1","text":"## 1.0.0\n\n- Fix CVE-2031-1234\n"}
{"project":"a","version":"2","text":"## 2.0.0\n\n- Fix a typo\n"}
{"project":"b","version":"1","text":"## 1.0.0\n\n- Fix XSS\n"}
{"project":"b","version":"2","text":"## 2.0.0\n\n- Fix a leak\n"}
`
)

func TestScore(t *testing.T) {
	l, e := own(t, head+"a,1,1,cve,sure,CVE-2031-1234,GHSA-2345-6789-cfgh,\na,2,0,none,sure,,,\nb,1,0,none,borderline,,,odd\nb,2,1,hardening,sure,,,secret\n", texts)
	var out bytes.Buffer
	if err := run([]string{"--misses", l, e}, &out); err != nil {
		t.Fatal(err)
	}
	const want = `project  rows  positive  precision  recall  precision, sure rows  recall, sure rows
a        2     1         1.000      1.000   1.000                 1.000
b        2     1         0.000      0.000   1.000                 0.000
all      4     2         0.500      0.500   1.000                 0.500

category   positive  found  missed  missed, sure rows
cve        1         1      0       0
hardening  1         0      1       1

identifiers in the labels: 2, of which 1 were not read
a 1: 1 of 2 identifiers not read
false alarm b 1 (borderline): odd
    line 3 vulnerability: Fix XSS
missed b 2 (hardening, sure): secret
`
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
}

func TestScoreErrors(t *testing.T) {
	l, e := own(t, head+"c,1,1,cve,sure,,,\n", texts)
	empty, _ := own(t, head, texts)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no text":    {[]string{l, e}, "c 1 has a label and no text"},
		"no labels":  {[]string{empty, e}, "there are none"},
		"one file":   {[]string{l}, "needs two files, and has 1"},
		"no file":    {[]string{l + "x", e}, "open labels"},
		"no entries": {[]string{l, e + "x"}, "open entries"},
		"not packed": {[]string{l, l}, "read entries"},
		"no flag":    {[]string{l, e, "--what"}, "what"},
	} {
		if err := run(c.args, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
