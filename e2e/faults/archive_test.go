package faults

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

// file is an entry of an archive as an attacker writes it.
type file struct {
	tar.Header
	body func() io.Reader // nil for none
}

func text(name, body string) file {
	return file{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(body))}, func() io.Reader { return strings.NewReader(body) }}
}

// zeros is a file of so many zero bytes.
func zeros(name string, size int64) file {
	return file{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size}, func() io.Reader { return io.LimitReader(zeroReader{}, size) }}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func chartYAML(lines ...string) string {
	return strings.Join(append([]string{"apiVersion: v2", "name: bad", "version: 1.0.0"}, lines...), "\n") + "\n"
}

// pack writes an archive.
func pack(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, f := range files {
		h := f.Header
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if f.body != nil {
			if _, err := io.Copy(w, f.body()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// bad is an archive that nobody may release, with the rule that says so.
type bad struct {
	name, rule string
	archive    []byte
}

func badArchives(t *testing.T) []bad {
	yaml := text("bad/Chart.yaml", chartYAML())
	with := func(files ...file) []byte { return pack(t, append([]file{yaml}, files...)...) }
	special := func(typ byte, name, link string) file {
		return file{Header: tar.Header{Typeflag: typ, Name: name, Linkname: link, Mode: 0o644}}
	}
	named := func(lines string) []byte { return pack(t, text("bad/Chart.yaml", lines)) }
	good := charttest.Build(t, "bad", "1.0.0", nil)
	many := []file{yaml}
	for i := range 20_000 {
		many = append(many, text(fmt.Sprintf("bad/files/%d", i), ""))
	}
	laughs := "l0: &l0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 9; i++ {
		laughs += fmt.Sprintf("l%d: &l%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*l%d,", i-1), 10), ","))
	}
	gnuName := special(tar.TypeReg, "bad/"+strings.Repeat("n", 70_000), "")
	gnuName.Format = tar.FormatGNU
	return []bad{
		{"empty", "archive-gzip", nil},
		{"text", "archive-gzip", []byte("apiVersion: v2\n")},
		{"gzip of nothing", "chart-yaml-missing", pack(t)},
		{"gzip cut short", "archive-truncated", good[:len(good)-20]},
		{"gzip with a wrong sum", "archive-gzip", flip(good, len(good)-6)},
		{"gzip with a broken middle", "archive-gzip", flip(good, len(good)/2)},
		{"bytes after the gzip", "archive-trailing-bytes", append(bytes.Clone(good), "more"...)},
		{"a second gzip member", "archive-gzip-members", append(bytes.Clone(good), good...)},
		{"bomb: one file of 1 GiB", "archive-file-size", with(zeros("bad/values.yaml", 1<<30))},
		{"bomb: values.yaml of 100 MB", "archive-file-size", with(zeros("bad/values.yaml", 100_000_000))},
		{"bomb: many files", "archive-file-count", pack(t, many...)},
		{"bomb: after the end of the tar", "archive-ratio", padded(t, with(), 256<<20)},
		{"bomb: aliases", "chart-yaml-syntax", named(chartYAML() + laughs)},
		{"Chart.yaml of 3 MB", "chart-yaml-size", pack(t, zeros("bad/Chart.yaml", 3_000_000))},
		{"Chart.yaml nested deep", "chart-yaml-syntax", named(chartYAML("annotations: " + strings.Repeat("[", 20_000)))},
		{"no Chart.yaml", "chart-yaml-missing", pack(t, text("bad/values.yaml", "a: 1\n"))},
		{"chart.yaml in wrong case", "chart-yaml-case", pack(t, text("bad/chart.yaml", chartYAML()))},
		{"two Chart.yaml", "archive-duplicate", with(text("bad/Chart.yaml", chartYAML()))},
		{"two folders", "archive-folder", with(text("other/Chart.yaml", chartYAML()))},
		{"a file twice", "archive-duplicate", with(text("bad/values.yaml", "a: 1\n"), text("bad/values.yaml", "a: 2\n"))},
		{"a file twice, in another case", "archive-path-case", with(text("bad/values.yaml", "a: 1\n"), text("bad/Values.yaml", "a: 2\n"))},
		{"absolute path", "archive-path", with(text("/etc/cron.d/x", "x"))},
		{"path that climbs", "archive-path", with(text("bad/../../x", "x"))},
		{"path that climbs, with backslashes", "archive-path", with(text(`bad\..\..\x`, "x"))},
		{"path of a drive", "archive-path", with(text(`C:/bad/x`, "x"))},
		{"path with a NUL", "archive-tar", nulPath(t, with(text("bad/files/ü", "x")))},
		{"path with a line break", "archive-path", with(text("bad/files/a\nb", "x"))},
		{"path of 70 kB", "archive-path", with(gnuName)},
		{"path 300 folders deep", "archive-depth", with(text("bad/"+strings.Repeat("d/", 300)+"x", "x"))},
		{"symbolic link", "archive-entry-type", with(special(tar.TypeSymlink, "bad/values.yaml", "/etc/passwd"))},
		{"hard link", "archive-entry-type", with(special(tar.TypeLink, "bad/values.yaml", "/etc/passwd"))},
		{"device", "archive-entry-type", with(special(tar.TypeChar, "bad/null", ""))},
		{"pipe", "archive-entry-type", with(special(tar.TypeFifo, "bad/pipe", ""))},
		{"Chart.yaml with a key twice", "chart-yaml-duplicate-key", named(chartYAML("version: 2.0.0"))},
		{"Chart.yaml that is no mapping", "chart-yaml-syntax", named("- a\n- b\n")},
		{"Chart.yaml that is no UTF-8", "chart-yaml-syntax", named(chartYAML("description: \xff\xfe"))},
		{"Chart.yaml of wrong types", "chart-yaml-field", named(chartYAML("keywords: {a: b}"))},
		{"no name", "chart-name", named("apiVersion: v2\nversion: 1.0.0\n")},
		{"no version", "chart-version", named("apiVersion: v2\nname: bad\n")},
		{"name in upper case", "chart-name-case", named("apiVersion: v2\nname: Bad\nversion: 1.0.0\n")},
		{"name that climbs", "chart-name", named("apiVersion: v2\nname: ../bad\nversion: 1.0.0\n")},
		{"name that is a word of ours", "chart-name-reserved", named("apiVersion: v2\nname: charts\nversion: 1.0.0\n")},
		{"name with a line break", "chart-name", named("apiVersion: v2\nname: \"ba\\nd\"\nversion: 1.0.0\n")},
		{"name of 10 kB", "chart-name", named("apiVersion: v2\nname: " + strings.Repeat("a", 10_000) + "\nversion: 1.0.0\n")},
		{"name in letters that look Latin", "chart-name", named("apiVersion: v2\nname: b\u0430d\nversion: 1.0.0\n")},
		{"version v1.0.0", "chart-version", named("apiVersion: v2\nname: bad\nversion: v1.0.0\n")},
		{"version 1.0", "chart-version", named("apiVersion: v2\nname: bad\nversion: \"1.0\"\n")},
		{"version 01.0.0", "chart-version", named("apiVersion: v2\nname: bad\nversion: 01.0.0\n")},
		{"version with a path", "chart-version", named("apiVersion: v2\nname: bad\nversion: 1.0.0-../../x\n")},
		{"version of 1 kB", "chart-version", named("apiVersion: v2\nname: bad\nversion: 1.0.0-" + strings.Repeat("a", 1000) + "\n")},
		{"version of huge numbers", "chart-version", named("apiVersion: v2\nname: bad\nversion: 99999999999999999999999.0.0\n")},
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 0x55
	return b
}

// padded is an archive whose tar has zero bytes behind its end.
func padded(t *testing.T, archive []byte, n int64) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, io.MultiReader(z, io.LimitReader(zeroReader{}, n))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// nulPath puts a NUL where a path, which stands in an extended header, has ü.
func nulPath(t *testing.T, archive []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(raw, []byte("ü")) {
		t.Fatal("the path does not stand in an extended header")
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(bytes.ReplaceAll(raw, []byte("ü"), []byte("\x00x"))) // to a buffer
	_ = w.Close()
	return b.Bytes()
}

// TestBadArchives: each is refused at each door with a rule and a sentence,
// and nothing of it stays.
func TestBadArchives(t *testing.T) {
	v := newVictim(t)
	ctx := t.Context()
	for _, b := range badArchives(t) {
		t.Run(b.name, func(t *testing.T) {
			o := offer{victimProject, "bad", "1.0.0", b.archive}
			rules := map[string]string{}
			for i := range doors {
				d := &doors[i]
				a := d.push(ctx, v.publisher, &o)
				if d.name == "oci" && a.err == nil { // its blobs come before its refusal
					v.parts[o.digest()] = true
				}
				if a.err != nil || a.status != 400 && a.status != 413 {
					t.Errorf("%s: %s", d.name, &a)
					continue
				}
				rule, message := refusal(t, d.name, a.text)
				if len(message) < 15 {
					t.Errorf("%s: says too little: %s", d.name, a.text)
				}
				rules[d.name] = rule
			}
			if rules["chartmuseum"] != b.rule || rules["api"] != b.rule {
				t.Errorf("rules %v, want %q at both doors", rules, b.rule)
			}
			if err := v.ob.absent(ctx, &o); err != nil {
				t.Error(err)
			}
		})
	}
	v.unharmed()
	v.small(400)
}

// refusal reads the error form of a door.
func refusal(t *testing.T, door, body string) (rule, message string) {
	t.Helper()
	var doc struct {
		Error, Rule, Message string
		Errors               []struct{ Code, Message string }
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Errorf("%s: %v: %s", door, err, body)
	}
	if len(doc.Errors) > 0 {
		return doc.Errors[0].Code, doc.Errors[0].Message
	}
	return doc.Rule, doc.Error + doc.Message
}
