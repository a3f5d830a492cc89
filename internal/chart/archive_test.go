package chart

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

const webYAML = "apiVersion: v2\nname: web\nversion: 1.0.0\n"

// file returns the header and content of a regular file.
func file(name, content string) (tar.Header, string) {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}, content
}

// tarball packs entries into an uncompressed tar. A header with a size that
// is not that of the content is written as it is.
type tarball struct {
	t testing.TB
	b bytes.Buffer
	w *tar.Writer
}

func newTarball(t testing.TB) *tarball {
	b := &tarball{t: t}
	b.w = tar.NewWriter(&b.b)
	return b
}

func (b *tarball) add(h tar.Header, content string) *tarball {
	b.t.Helper()
	if err := b.w.WriteHeader(&h); err != nil {
		b.t.Fatalf("%q: %v", h.Name, err)
	}
	if _, err := io.WriteString(b.w, content); err != nil {
		b.t.Fatalf("%q: %v", h.Name, err)
	}
	return b
}

func (b *tarball) file(name, content string) *tarball { return b.add(file(name, content)) }

func (b *tarball) bytes() []byte {
	if err := b.w.Close(); err != nil {
		b.t.Fatal(err)
	}
	return b.b.Bytes()
}

func (b *tarball) gz() []byte { return compress(b.bytes()) }

func compress(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// chartTar begins an archive with a good Chart.yaml.
func chartTar(t testing.TB) *tarball { return newTarball(t).file("web/Chart.yaml", webYAML) }

// patch changes a header field of the n-th block of a tar and repairs its
// checksum.
func patch(b []byte, n, offset int, value string) []byte {
	block := b[n*512 : n*512+512]
	copy(block[offset:], value)
	copy(block[148:156], "        ")
	sum := 0
	for _, c := range block {
		sum += int(c)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

func TestOpen(t *testing.T) {
	files := map[string]string{"README.md": "# Web\n", "crds/a.yaml": "kind: CustomResourceDefinition\n", "requirements.lock": ""}
	b := charttest.Build(t, "web", "1.0.0", files)
	if !bytes.Equal(b, charttest.Build(t, "web", "1.0.0", files)) {
		t.Fatal("charttest.Build is not deterministic")
	}
	for name, r := range map[string]io.Reader{
		"whole":        bytes.NewReader(b),
		"one byte":     iotest.OneByteReader(bytes.NewReader(b)),
		"data and EOF": iotest.DataErrReader(bytes.NewReader(b)),
	} {
		a, err := Open(r, DefaultLimits())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := a.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var paths []string
		for _, f := range a.Files {
			paths = append(paths, f.Path)
		}
		want := []string{"Chart.yaml", "README.md", "crds/a.yaml", "requirements.lock", "templates/configmap.yaml", "values.yaml"}
		if diff := cmp.Diff(want, paths); diff != "" {
			t.Errorf("%s: paths (-want +got):\n%s", name, diff)
		}
		sum := sha256.Sum256(b)
		if a.Digest != "sha256:"+hex.EncodeToString(sum[:]) || a.Size != int64(len(b)) || a.Folder != "web" {
			t.Errorf("%s: digest %s, size %d, folder %q", name, a.Digest, a.Size, a.Folder)
		}
		readme := a.Files[1]
		if readme.SHA256 != sha256.Sum256([]byte("# Web\n")) || readme.Size != 6 || readme.Exec {
			t.Errorf("%s: %+v", name, readme)
		}
		if string(a.Readme) != "# Web\n" || !bytes.Contains(a.Values, []byte("replicas")) || !bytes.Contains(a.ChartYAML, []byte("name: web")) {
			t.Errorf("%s: readme %q, values %q, Chart.yaml %q", name, a.Readme, a.Values, a.ChartYAML)
		}
		if a.Metadata.Name != "web" || a.Metadata.Version != "1.0.0" || len(a.Warnings) != 0 {
			t.Errorf("%s: %+v, warnings %q", name, a.Metadata, a.Warnings)
		}
	}
}

// TestContentDigest computes the digest from its description.
func TestContentDigest(t *testing.T) {
	h, content := file("web/run.sh", "#!/bin/sh\n")
	h.Mode = 0o755
	a, err := Open(bytes.NewReader(chartTar(t).add(h, content).gz()), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{
		fmt.Sprintf("%x - Chart.yaml\n", sha256.Sum256([]byte(webYAML))),
		fmt.Sprintf("%x x run.sh\n", sha256.Sum256([]byte(content))),
	}
	slices.Sort(lines)
	want := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(strings.Join(lines, ""))))
	if a.Content != want {
		t.Errorf("content digest %s, want %s", a.Content, want)
	}
	// Other packing of the same: order, times, owners, folders, compression.
	other := newTarball(t).
		add(tar.Header{Typeflag: tar.TypeDir, Name: "web/", Mode: 0o755}, "").
		add(tar.Header{Typeflag: tar.TypeReg, Name: "web/run.sh", Mode: 0o700, Uid: 7, Uname: "x", Size: h.Size, ModTime: charttest.ModTime}, content).
		add(tar.Header{Typeflag: tar.TypeReg, Name: "web/Chart.yaml", Mode: 0o664, Size: int64(len(webYAML))}, webYAML)
	b, err := Open(bytes.NewReader(other.gz()), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if b.Content != a.Content || b.Digest == a.Digest || len(Diff(a.Files, b.Files)) != 0 {
		t.Errorf("packed otherwise: %s, %s; %v", b.Content, b.Digest, Diff(a.Files, b.Files))
	}
}

func TestOpenRefuses(t *testing.T) {
	good := chartTar(t).gz()
	entry := func(h tar.Header) []byte { return chartTar(t).add(h, "").gz() }
	reg := func(name string) []byte { return chartTar(t).file(name, "x").gz() }
	pax := func(records map[string]string) []byte {
		h, content := file("web/a", "x")
		h.PAXRecords = records
		return chartTar(t).add(h, content).gz()
	}
	damaged := bytes.Clone(good)
	damaged[len(damaged)-6] ^= 1
	noEnd := chartTar(t).bytes()
	noEnd = noEnd[:len(noEnd)-1024]
	lim := DefaultLimits()
	lim.Unpacked, lim.File = 8<<20, 6<<20
	small := DefaultLimits()
	small.Archive, small.Files, small.Depth = 4096, 3, 2

	for name, c := range map[string]struct {
		rule string
		in   []byte
		lim  Limits
	}{
		"nothing":                 {rule: "archive-gzip"},
		"one byte":                {rule: "archive-gzip", in: good[:1]},
		"a plain tar":             {rule: "archive-gzip", in: chartTar(t).bytes()},
		"a zip":                   {rule: "archive-gzip", in: []byte("PK\x03\x04")},
		"damaged":                 {rule: "archive-gzip", in: damaged},
		"bad gzip method":         {rule: "archive-gzip", in: []byte("\x1f\x8b\x07\x00\x00\x00\x00\x00\x00\x00")},
		"bad deflate":             {rule: "archive-gzip", in: []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff")},
		"cut in the gzip header":  {rule: "archive-truncated", in: good[:5]},
		"cut in the middle":       {rule: "archive-truncated", in: good[:len(good)/2]},
		"cut before the checksum": {rule: "archive-truncated", in: good[:len(good)-8]},
		"cut in the checksum":     {rule: "archive-truncated", in: good[:len(good)-1]},
		"tar without its end":     {rule: "archive-truncated", in: compress(noEnd)},
		"tar with half its end":   {rule: "archive-truncated", in: compress(append(bytes.Clone(noEnd), make([]byte, 512)...))},
		"tar cut in a file":       {rule: "archive-truncated", in: compress(noEnd[:520])},
		"empty gzip":              {rule: "archive-truncated", in: compress(nil)},
		"trailing byte":           {rule: "archive-trailing-bytes", in: append(bytes.Clone(good), 0)},
		"trailing text":           {rule: "archive-trailing-bytes", in: append(bytes.Clone(good), "#!/bin/sh"...)},
		"second member":           {rule: "archive-gzip-members", in: append(bytes.Clone(good), good...)},
		"empty second member":     {rule: "archive-gzip-members", in: append(bytes.Clone(good), compress(nil)...)},
		"data behind the tar":     {rule: "archive-tar-trailing", in: compress(append(chartTar(t).bytes(), "evil"...))},
		"a tar behind the tar":    {rule: "archive-tar-trailing", in: compress(append(chartTar(t).bytes(), chartTar(t).bytes()...))},
		"not a tar":               {rule: "archive-tar", in: compress(bytes.Repeat([]byte("x"), 2048))},
		"bad tar checksum":        {rule: "archive-tar", in: compress(append([]byte("x"), chartTar(t).bytes()[1:]...))},
		"negative size":           {rule: "archive-tar", in: compress(patch(chartTar(t).bytes(), 0, 124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))},
		"size beyond the end":     {rule: "archive-truncated", in: compress(patch(chartTar(t).file("web/a", "x").bytes(), 2, 124, "00000004000"))},
		"absolute path":           {rule: "archive-path", in: reg("/etc/passwd")},
		"parent":                  {rule: "archive-path", in: reg("web/../../etc/passwd")},
		"parent at the top":       {rule: "archive-path", in: reg("../web/a")},
		"parent inside":           {rule: "archive-path", in: reg("web/a/../values.yaml")},
		"dot inside":              {rule: "archive-path", in: reg("web/./values.yaml")},
		"two slashes":             {rule: "archive-path", in: reg("web//values.yaml")},
		"slash and backslash":     {rule: "archive-path", in: reg(`web/..\..\a`)},
		"backslash parent":        {rule: "archive-path", in: reg(`web\..\a`)},
		"backslash absolute":      {rule: "archive-path", in: reg(`\web\a`)},
		"drive":                   {rule: "archive-path", in: reg("web/c:/a")},
		"line feed":               {rule: "archive-path", in: reg("web/a\nb")},
		"escape":                  {rule: "archive-path", in: reg("web/\x1b[31m")},
		"delete":                  {rule: "archive-path", in: reg("web/\x7f")},
		"right-to-left override":  {rule: "archive-path", in: reg("web/\u202elmay.sh")},
		"byte order mark":         {rule: "archive-path", in: reg("web/\ufeffa")},
		"not utf-8":               {rule: "archive-path", in: reg("web/\xff\xfe")},
		"long path":               {rule: "archive-path", in: reg("web/" + strings.Repeat("a/", 600) + "b")},
		"symbolic link":           {rule: "archive-entry-type", in: entry(tar.Header{Typeflag: tar.TypeSymlink, Name: "web/a", Linkname: "/etc/passwd"})},
		"hard link":               {rule: "archive-entry-type", in: entry(tar.Header{Typeflag: tar.TypeLink, Name: "web/a", Linkname: "web/Chart.yaml"})},
		"character device":        {rule: "archive-entry-type", in: entry(tar.Header{Typeflag: tar.TypeChar, Name: "web/a"})},
		"block device":            {rule: "archive-entry-type", in: entry(tar.Header{Typeflag: tar.TypeBlock, Name: "web/a"})},
		"named pipe":              {rule: "archive-entry-type", in: entry(tar.Header{Typeflag: tar.TypeFifo, Name: "web/a"})},
		"contiguous file":         {rule: "archive-entry-type", in: entry(tar.Header{Typeflag: tar.TypeCont, Name: "web/a"})},
		"unknown type":            {rule: "archive-entry-type", in: entry(tar.Header{Typeflag: 'Z', Name: "web/a"})},
		"old sparse file":         {rule: "archive-entry-type", in: compress(oldSparse(t))},
		"sparse by records":       {rule: "archive-entry-type", in: compress(paxRecord(t, 'x', "GNU.sparse.size", "9", "GNU.sparse.numblocks", "1", "GNU.sparse.map", "0,1"))},
		"sparse name":             {rule: "archive-entry-type", in: compress(paxRecord(t, 'x', "GNU.sparse.name", "web/b"))},
		"binary names":            {rule: "archive-entry-type", in: compress(paxRecord(t, 'x', "hdrcharset", "BINARY"))},
		"real size":               {rule: "archive-entry-type", in: pax(map[string]string{"SCHILY.realsize": "9"})},
		"global path":             {rule: "archive-entry-type", in: compress(paxRecord(t, 'g', "path", "web/b"))},
		"path of records":         {rule: "archive-path", in: compress(paxRecord(t, 'x', "path", "../b"))},
		"file with folder's mode": {rule: "archive-entry-type", in: entry(tar.Header{Typeflag: tar.TypeReg, Name: "web/a", Mode: 0o40755})},
		"file with a link's mode": {rule: "archive-entry-type", in: entry(tar.Header{Typeflag: tar.TypeReg, Name: "web/a", Mode: 0o120777})},
		"file with a link's name": {rule: "archive-entry-type", in: compress(patch(chartTar(t).file("web/a", "x").bytes(), 2, 157, "/etc/passwd"))},
		"file with folder's name": {rule: "archive-entry-type", in: compress(patch(chartTar(t).file("web/a", "x").bytes(), 2, 0, "web/a/"))},
		"folder with content":     {rule: "archive-entry-type", in: compress(patch(chartTar(t).file("web/a", "x").bytes(), 2, 156, "5"))},
		"two folders":             {rule: "archive-folder", in: reg("other/values.yaml")},
		"two charts":              {rule: "archive-folder", in: reg("other/Chart.yaml")},
		"two folders by case":     {rule: "archive-folder", in: reg("Web/values.yaml")},
		"an empty second folder":  {rule: "archive-folder", in: entry(tar.Header{Typeflag: tar.TypeDir, Name: "other/", Mode: 0o755})},
		"dot and folder":          {rule: "archive-folder", in: reg("./values.yaml")},
		"file outside":            {rule: "archive-folder", in: reg("values.yaml")},
		"Chart.yaml at the top":   {rule: "archive-folder", in: newTarball(t).file("Chart.yaml", webYAML).gz()},
		"folder below a dot":      {rule: "chart-yaml-missing", in: newTarball(t).file("./web/Chart.yaml", webYAML).gz()},
		"file twice":              {rule: "archive-duplicate", in: chartTar(t).file("web/a", "1").file("web/a", "2").gz()},
		"file twice, mode":        {rule: "archive-duplicate", in: chartTar(t).file("web/a", "1").add(tar.Header{Typeflag: tar.TypeReg, Name: "web/a", Mode: 0o755, Size: 1}, "1").gz()},
		"file twice by backslash": {rule: "archive-duplicate", in: chartTar(t).file("web/a", "1").file(`web\a`, "2").gz()},
		"two Chart.yaml":          {rule: "archive-duplicate", in: chartTar(t).file("web/Chart.yaml", webYAML).gz()},
		"file and folder":         {rule: "archive-path-conflict", in: chartTar(t).file("web/a", "1").file("web/a/b", "2").gz()},
		"folder and file":         {rule: "archive-path-conflict", in: chartTar(t).file("web/a/b", "1").file("web/a", "2").gz()},
		"folder entry and file":   {rule: "archive-path-conflict", in: chartTar(t).add(tar.Header{Typeflag: tar.TypeDir, Name: "web/a/"}, "").file("web/a", "2").gz()},
		"no files":                {rule: "chart-yaml-missing", in: newTarball(t).gz()},
		"no Chart.yaml":           {rule: "chart-yaml-missing", in: newTarball(t).file("web/values.yaml", "").gz()},
		"Chart.yaml too deep":     {rule: "chart-yaml-missing", in: newTarball(t).file("web/web/Chart.yaml", webYAML).gz()},
		"chart.yaml":              {rule: "chart-yaml-case", in: newTarball(t).file("web/chart.yaml", webYAML).gz()},
		"Chart.yml":               {rule: "chart-yaml-case", in: newTarball(t).file("web/Chart.yml", webYAML).gz()},
		"Chart.yaml, a folder":    {rule: "chart-yaml-missing", in: newTarball(t).add(tar.Header{Typeflag: tar.TypeDir, Name: "web/Chart.yaml/"}, "").gz()},
		"large Chart.yaml":        {rule: "chart-yaml-size", in: newTarball(t).file("web/Chart.yaml", webYAML+strings.Repeat("#", MaxChartYAML)).gz()},
		"bad Chart.yaml":          {rule: "chart-yaml-duplicate-key", in: newTarball(t).file("web/Chart.yaml", webYAML+"name: b\n").gz()},
		"requirements: syntax":    {rule: "requirements-yaml-syntax", in: chartTar(t).file("web/requirements.yaml", "[").gz()},
		"requirements: type":      {rule: "requirements-yaml-field", in: chartTar(t).file("web/requirements.yaml", "dependencies: a").gz()},
		"requirements: version":   {rule: "requirements-yaml", in: chartTar(t).file("web/requirements.yaml", "dependencies: []\nVersion: 6.6.6").gz()},
		"requirements: large":     {rule: "requirements-yaml-size", in: chartTar(t).file("web/requirements.yaml", strings.Repeat("#", MaxChartYAML+1)).gz()},
		"large archive":           {rule: "archive-size", in: chartTar(t).file("web/a", noise(1<<20)).gz(), lim: small},
		"many entries":            {rule: "archive-file-count", in: chartTar(t).file("web/a", "").file("web/b", "").file("web/c", "").gz(), lim: small},
		"deep":                    {rule: "archive-depth", in: chartTar(t).file("web/a/b/c/d", "").gz(), lim: small},
		"deep folder":             {rule: "archive-depth", in: entry(tar.Header{Typeflag: tar.TypeDir, Name: "web/a/b/c/d/"}), lim: small},
		"100 MB values.yaml":      {rule: "archive-file-size", in: compress(patch(chartTar(t).file("web/values.yaml", "a: 1\n").bytes(), 2, 124, fmt.Sprintf("%011o", 100_000_000)))},
		"bomb of zeros":           {rule: "archive-ratio", in: chartTar(t).file("web/a", strings.Repeat("\x00", 5<<20)).gz()},
		"bomb behind the end":     {rule: "archive-ratio", in: compress(append(chartTar(t).bytes(), make([]byte, 6<<20)...))},
		"large when unpacked":     {rule: "archive-unpacked-size", in: chartTar(t).file("web/a", noise(4<<20)).file("web/b", noise(5<<20)).gz(), lim: lim},
		"large sum of text":       {rule: "archive-unpacked-size", in: chartTar(t).file("web/a", strings.Repeat(noise(1<<16), 160)[:6<<20]).file("web/b", noise(3<<20)).gz(), lim: lim},
	} {
		t.Run(name, func(t *testing.T) {
			limits := c.lim
			if limits == (Limits{}) {
				limits = DefaultLimits()
			}
			a, err := Open(bytes.NewReader(c.in), limits)
			p, ok := problem.As(err)
			if !ok || p.Rule != c.rule {
				t.Fatalf("got %v, want rule %s", err, c.rule)
			}
			kind := problem.Invalid
			if strings.HasSuffix(c.rule, "-size") || slices.Contains([]string{"archive-ratio", "archive-file-count", "archive-depth"}, c.rule) {
				kind = problem.TooLarge
			}
			if p.Kind != kind || len(p.Message) > 400 || strings.ContainsAny(p.Error(), "\x00\x1b\n\u202e") {
				t.Errorf("%s: %q", p.Kind, p.Error())
			}
			if a.Digest != "" || a.Files != nil {
				t.Errorf("a refused archive gives %+v", a)
			}
		})
	}
}

// noise returns n bytes that do not compress.
func noise(n int) string {
	var b strings.Builder
	for sum := sha256.Sum256(nil); b.Len() < n; sum = sha256.Sum256(sum[:]) {
		b.Write(sum[:])
	}
	return b.String()[:n]
}

// oldSparse returns a tar with a file of the old GNU sparse format.
func oldSparse(t testing.TB) []byte {
	b := chartTar(t).file("web/a", strings.Repeat("x", 512)).bytes()
	b = patch(b, 2, 257, "ustar  \x00")
	b = patch(b, 2, 386, "00000000000\x0000000001000\x00")
	b = patch(b, 2, 483, "00000001000\x00")
	return patch(b, 2, 156, "S")
}

// paxRecord returns a tar with an extended header in front of a file, of keys
// and values which the writer of the standard library would not write.
func paxRecord(t testing.TB, typ byte, keyValues ...string) []byte {
	records := ""
	for pair := range slices.Chunk(keyValues, 2) {
		record := fmt.Sprintf(" %s=%s\n", pair[0], pair[1])
		n := len(record) + 1
		for len(fmt.Sprint(n))+len(record) != n {
			n++
		}
		records += fmt.Sprint(n) + record
	}
	b := chartTar(t).file("pax", records).file("web/a", "x").bytes()
	return patch(b, 2, 156, string(typ))
}

// TestOpenAccepts holds what looks odd and is understood alike by all.
func TestOpenAccepts(t *testing.T) {
	h, content := file("web/a", "x")
	h.PAXRecords = map[string]string{"SCHILY.dev": "1", "LIBARCHIVE.creationtime": "1", "comment": "x"}
	long := "web/" + strings.Repeat("long-folder-name/", 12) + strings.Repeat("f", 120)
	for name, c := range map[string]struct {
		in    []byte
		rules string // of Faults
	}{
		"pax records":              {chartTar(t).add(h, content).gz(), ""},
		"git's comment":            {compress(paxRecord(t, 'g', "comment", "0123abc")), ""},
		"long path":                {chartTar(t).file(long, "x").gz(), ""},
		"long path of gnu":         {chartTar(t).add(tar.Header{Typeflag: tar.TypeReg, Name: long, Format: tar.FormatGNU}, "").gz(), ""},
		"folders":                  {chartTar(t).add(tar.Header{Typeflag: tar.TypeDir, Name: "web/templates/"}, "").add(tar.Header{Typeflag: tar.TypeDir, Name: "web/"}, "").gz(), ""},
		"folders again":            {chartTar(t).file("web/a/b", "").add(tar.Header{Typeflag: tar.TypeDir, Name: "web/a/"}, "").add(tar.Header{Typeflag: tar.TypeDir, Name: "web/a"}, "").gz(), ""},
		"old regular type":         {compress(patch(chartTar(t).bytes(), 0, 156, "\x00")), ""},
		"set-group-id":             {chartTar(t).add(tar.Header{Typeflag: tar.TypeReg, Name: "web/a", Mode: 0o2755}, "").gz(), ""},
		"type bits in the mode":    {chartTar(t).add(tar.Header{Typeflag: tar.TypeReg, Name: "web/a", Mode: 0o100644}, "").gz(), ""},
		"names of other scripts":   {chartTar(t).file("web/файл-文件-é.md", "").file("web/a b", "").gz(), ""},
		"much padding":             {compress(append(chartTar(t).bytes(), make([]byte, 10_240)...)), ""},
		"Chart.yaml last":          {newTarball(t).file("web/values.yaml", "a: 1\n").file("web/Chart.yaml", webYAML).gz(), ""},
		"Chart.yaml of subcharts":  {chartTar(t).file("web/charts/a/Chart.yaml", "name: [").file("web/charts/a/chart.yaml.bak", "").gz(), ""},
		"no folder":                {newTarball(t).file("./Chart.yaml", webYAML).add(tar.Header{Typeflag: tar.TypeDir, Name: "./"}, "").gz(), "archive-folder-name"},
		"another folder":           {newTarball(t).file("app/Chart.yaml", webYAML).gz(), "archive-folder-name"},
		"the same file twice":      {chartTar(t).file("web/a", "1").file("web/a", "1").file("web/values.yaml", "").file("web/values.yaml", "").gz(), "archive-duplicate"},
		"twins by case":            {chartTar(t).file("web/README.md", "1").file("web/readme.md", "2").gz(), "archive-path-case"},
		"folders twin by case":     {chartTar(t).file("web/a/b", "1").file("web/A/c", "2").gz(), "archive-path-case"},
		"chart.yaml as well":       {chartTar(t).file("web/chart.yaml", "").gz(), "archive-path-case"},
		"packed on Windows":        {newTarball(t).file(`web\Chart.yaml`, webYAML).file(`web\templates\a.yaml`, "").gz(), "archive-path-backslash"},
		"old version":              {newTarball(t).file("web/Chart.yaml", "name: web\nversion: v1.0\n").gz(), "chart-version"},
		"version and folder":       {newTarball(t).file("app/Chart.yaml", "name: Web\nversion: v1.0\n").gz(), "chart-name-case chart-version archive-folder-name"},
		"dependencies twice":       {newTarball(t).file("web/Chart.yaml", webYAML+"dependencies: [{name: a}]").file("web/requirements.yaml", "dependencies: [{name: a}]").gz(), "requirements-yaml"},
		"empty requirements.yaml":  {chartTar(t).file("web/requirements.yaml", "# none\n").gz(), ""},
		"unknown in requirements":  {chartTar(t).file("web/requirements.yaml", "x: y\ndependencies:\n").gz(), ""},
		"windows' byte order mark": {newTarball(t).file("web/Chart.yaml", "\ufeff"+webYAML).gz(), ""},
	} {
		a, err := Open(bytes.NewReader(c.in), DefaultLimits())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var rules []string
		for _, p := range a.Faults() {
			rules = append(rules, p.Rule)
			if p.Kind != problem.Invalid || p.Try == "" {
				t.Errorf("%s: %+v", name, p)
			}
		}
		if got := strings.Join(rules, " "); got != c.rules || (a.Check() == nil) != (c.rules == "") {
			t.Errorf("%s: rules %q, want %q; %v", name, got, c.rules, a.Check())
		}
		soundFiles(t, a)
	}
}

// soundFiles checks what always holds for the files of an Archive.
func soundFiles(t *testing.T, a Archive) {
	t.Helper()
	for i, f := range a.Files {
		if i > 0 && a.Files[i-1].Path >= f.Path {
			t.Errorf("%q does not sort below %q", a.Files[i-1].Path, f.Path)
		}
		if f.Path == "" || strings.ContainsAny(f.Path, "\\\x00\n") || strings.HasPrefix(f.Path, "/") ||
			slices.Contains(strings.Split(f.Path, "/"), "..") || slices.Contains(strings.Split(f.Path, "/"), "") {
			t.Errorf("path %q", f.Path)
		}
	}
}

func TestOpenRequirements(t *testing.T) {
	old := "name: web\nversion: 1.0.0\n"
	a, err := Open(bytes.NewReader(newTarball(t).file("web/requirements.yaml", "dependencies:\n- name: redis\n  version: 5\n").file("web/Chart.yaml", old).gz()), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if want := []Dependency{{Name: "redis", Version: "5"}}; !cmp.Equal(want, a.Metadata.Dependencies) {
		t.Errorf("dependencies %+v", a.Metadata.Dependencies)
	}
	if want := []string{"Chart.yaml has no apiVersion; Helm takes it for v1"}; !slices.Equal(a.Warnings, want) {
		t.Errorf("warnings %q", a.Warnings)
	}
	a, err = Open(bytes.NewReader(chartTar(t).file("web/requirements.yaml", "dependencies: [{name: b}]").gz()), DefaultLimits())
	if err != nil || len(a.Metadata.Dependencies) != 1 || len(a.Warnings) != 1 {
		t.Errorf("requirements.yaml of a v2 chart: %+v, %q, %v", a.Metadata.Dependencies, a.Warnings, err)
	}
}

func TestOpenLeavesOutLongTexts(t *testing.T) {
	lim := DefaultLimits()
	lim.Text = 10
	a, err := Open(bytes.NewReader(chartTar(t).file("web/values.yaml", "a: 123456789").file("web/readme.MD", "short").gz()), lim)
	if err != nil || a.Values != nil || string(a.Readme) != "short" || len(a.Files) != 3 {
		t.Fatalf("values %q, readme %q, %d files, %v", a.Values, a.Readme, len(a.Files), err)
	}
	if want := []string{"values.yaml is over 10 bytes and is not shown"}; !slices.Equal(a.Warnings, want) {
		t.Errorf("warnings %q", a.Warnings)
	}
}

// TestOpenReaderFails checks that an error of the reader is told apart from a
// fault of the chart, wherever it strikes.
func TestOpenReaderFails(t *testing.T) {
	b := charttest.Build(t, "web", "1.0.0", nil)
	broken := errors.New("connection reset")
	for n := 0; n <= len(b); n++ {
		for _, cause := range []error{broken, io.ErrUnexpectedEOF} {
			_, err := Open(io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(cause)), DefaultLimits())
			if _, isProblem := problem.As(err); isProblem || !errors.Is(err, cause) {
				t.Fatalf("after %d bytes: %v", n, err)
			}
		}
	}
}

// TestOpenConcurrently makes sure that pooled buffers are not shared.
func TestOpenConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 8 {
		b := charttest.Build(t, "web", fmt.Sprintf("1.0.%d", i), map[string]string{"a": noise(1000 * i), "README.md": fmt.Sprint(i)})
		want, err := Open(bytes.NewReader(b), DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for n := range 50 {
				if n%3 == 0 {
					Open(bytes.NewReader(b[:len(b)/2]), DefaultLimits())
				}
				got, err := Open(bytes.NewReader(b), DefaultLimits())
				if err != nil || got.Digest != want.Digest || got.Content != want.Content || string(got.Readme) != fmt.Sprint(i) {
					t.Errorf("%d: %+v, %v", i, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestDiff(t *testing.T) {
	f := func(path string, content byte, exec bool) File {
		return File{Path: path, SHA256: [32]byte{content}, Exec: exec}
	}
	old := []File{f("a", 1, false), f("b", 1, false), f("c", 1, false), f("e", 1, false), f("z", 1, false)}
	new := []File{f("0", 1, false), f("a", 1, false), f("b", 2, true), f("d", 1, false), f("e", 1, true)}
	want := []Change{{"0", "added"}, {"b", "changed"}, {"c", "removed"}, {"d", "added"}, {"e", "mode"}, {"z", "removed"}}
	if diff := cmp.Diff(want, Diff(old, new)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if Diff(old, old) != nil || Diff(nil, nil) != nil || len(Diff(nil, new)) != 5 || len(Diff(old, nil)) != 5 {
		t.Error("differences with nothing or itself")
	}
}

func FuzzOpen(f *testing.F) {
	good := charttest.Build(f, "web", "1.0.0", map[string]string{"README.md": "x"})
	f.Add(good, false)
	f.Add(good[:len(good)-1], false)
	f.Add(append(bytes.Clone(good), good...), false)
	for _, b := range [][]byte{
		chartTar(f).bytes(), oldSparse(f), paxRecord(f, 'x', "path", "web/b"), paxRecord(f, 'g', "comment", "b"), paxRecord(f, 'x', "GNU.sparse.map", "0,1"),
		chartTar(f).file(`web\a`, "1").file("web/a", "1").bytes(), chartTar(f).file("web/requirements.yaml", "dependencies: []").bytes(),
		newTarball(f).file("./Chart.yaml", webYAML).bytes(), patch(chartTar(f).bytes(), 0, 124, "77777777777"),
	} {
		f.Add(b, true)
	}
	lim := DefaultLimits()
	lim.Unpacked, lim.Files = 1<<20, 100
	f.Fuzz(func(t *testing.T, b []byte, pack bool) {
		if pack {
			b = compress(b)
		}
		a, err := Open(bytes.NewReader(b), lim)
		if err != nil {
			if _, ok := problem.As(err); !ok {
				t.Errorf("not a problem: %v", err)
			}
			return
		}
		if sum := sha256.Sum256(b); a.Digest != "sha256:"+hex.EncodeToString(sum[:]) || a.Size != int64(len(b)) {
			t.Errorf("digest %s of %d bytes", a.Digest, a.Size)
		}
		soundFiles(t, a)
		a.Faults()
		// Helm decompresses with the standard library.
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err == nil {
			_, err = io.Copy(io.Discard, z)
		}
		if err != nil {
			t.Errorf("accepted what Helm cannot decompress: %v", err)
		}
	})
}

// BenchmarkOpen opens a chart of 15 KB, unpacked 120 KB in 21 files.
func BenchmarkOpen(b *testing.B) {
	files := map[string]string{}
	random := noise(1 << 16)
	for i := range 18 {
		var text strings.Builder
		for n := range 100 {
			at := (i*100 + n) * 6
			fmt.Fprintf(&text, "  %x: {{ .Values.image.tag | default .Chart.AppVersion }}\n", random[at:at+6])
		}
		files[fmt.Sprintf("templates/%d.yaml", i)] = text.String()
	}
	chart := charttest.Build(b, "web", "1.0.0", files)
	a, err := Open(bytes.NewReader(chart), DefaultLimits())
	if err != nil {
		b.Fatal(err)
	}
	size := int64(0)
	for _, f := range a.Files {
		size += f.Size
	}
	b.Logf("%d bytes, %d files, %d bytes unpacked", len(chart), len(a.Files), size)
	b.SetBytes(int64(len(chart)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Open(bytes.NewReader(chart), DefaultLimits()); err != nil {
			b.Fatal(err)
		}
	}
}
