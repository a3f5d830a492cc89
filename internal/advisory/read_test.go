package advisory

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// input is one file of an import.
type input struct{ name, text string }

func imports(kind Kind, lim Limits, files ...input) (Pack, []Fault, error) {
	b := NewBuilder(kind, lim)
	for _, f := range files {
		if err := b.Add(f.name, strings.NewReader(f.text)); err != nil {
			return Pack{}, nil, err
		}
	}
	return b.Pack()
}

func mustImport(t testing.TB, kind Kind, files ...input) (Pack, []Fault) {
	t.Helper()
	p, faults, err := imports(kind, DefaultLimits(), files...)
	if err != nil {
		t.Fatal(err)
	}
	return p, faults
}

// fixtures are the files of a folder of testdata.
func fixtures(t testing.TB, kind Kind) (out []input) {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join("testdata", string(kind), "*"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, input{filepath.Base(name), string(b)})
	}
	if len(out) == 0 {
		t.Fatalf("no testdata for %s", kind)
	}
	return out
}

func gz(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	z.Close()
	return b.String()
}

func zipped(files ...input) string {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	z.Create("folder/")
	for _, f := range files {
		w, _ := z.Create(f.name)
		io.WriteString(w, f.text)
	}
	z.Close()
	return b.String()
}

func tarred(files ...input) string {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "folder/", Mode: 0o755})
	w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "/etc/passwd"})
	for _, f := range files {
		w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(f.text)), Mode: 0o644})
		io.WriteString(w, f.text)
	}
	w.Close()
	return b.String()
}

func flaw(faults []Fault) string {
	var lines []string
	for _, f := range faults {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

// The same records have one digest, in whatever form, order and packing.
func TestPacking(t *testing.T) {
	one := string(generated(1))
	two := string(generated(2))
	three := `{"modified":"2026-01-01T00:00:00Z", "id":"BIT-c"}`
	plain, faults := mustImport(t, OSV, input{"1.json", one}, input{"2.json", two}, input{"3.json", three})
	if len(faults) > 0 || plain.Snapshot().Records != 3 {
		t.Fatal(plain.Snapshot(), faults)
	}
	line := func(s string) string { return compact(s) + "\n" }
	files := []input{{"b/2.json", two}, {"a/1.json", one}, {"c/3.json", three}}
	list := "[" + three + ",\n" + one + "," + two + "]"
	for _, c := range []struct {
		name  string
		files []input
	}{
		{"another order", []input{{"z", three}, {"y", one}, {"x", two}}},
		{"twice", []input{{"z", three}, {"y", one}, {"x", two}, {"a", list}}},
		{"list", []input{{"all.json", list}}},
		{"lines", []input{{"all", line(two) + line(one) + three}}},
		{"lines with CR LF and empty ones", []input{{"all", "\r\n" + strings.ReplaceAll(line(two)+"\n"+line(one)+three, "\n", "\r\n")}}},
		{"one after the other", []input{{"all", two + three + one}}},
		{"byte order mark", []input{{"all", "\ufeff" + list}}},
		{"answer", []input{{"query", `{"vulns":` + list + `}`}}},
		{"answer with an empty token", []input{{"query", `{"next_page_token":"","vulns":` + list + `}`}}},
		{"gzip", []input{{"all.json", gz(list)}}},
		{"gzip twice, and of two members", []input{{"all", gz(gz(one+two)) + gz("")}, {"3", gz(three[:10]) + gz(three[10:])}}},
		{"zip", []input{{"all.zip", zipped(files...)}}},
		{"tar", []input{{"all.zip", tarred(files...)}}},
		{"tar.gz", []input{{"main", gz(tarred(files...))}}},
		{"zip of zip and tar of gzip", []input{{"x", zipped(input{"a", zipped(files[:2]...)})}, {"y", tarred(input{"c.gz", gz(three)})}}},
		{"tar with more padding", []input{{"x", gz(tarred(files...) + strings.Repeat("\x00", 10<<10))}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, faults := mustImport(t, OSV, c.files...)
			if d := cmp.Diff(plain.Snapshot(), p.Snapshot()); d != "" || len(faults) > 0 {
				t.Errorf("%s\n%s", d, flaw(faults))
			}
		})
	}
	other, _ := mustImport(t, OSV, input{"1.json", one}, input{"2.json", two}, input{"3.json", strings.Replace(three, "c", "d", 1)})
	if other.Snapshot().Digest == plain.Snapshot().Digest {
		t.Error("other records have the same digest")
	}
}

// Where the rest of something is missing, nothing is used.
func TestDamaged(t *testing.T) {
	one, two := string(generated(1)), string(generated(2))
	big := one + strings.Repeat(" ", 4096) + two
	files := []input{{"1", one}, {"2", two}}
	flipped := []byte(zipped(files...))
	flipped[bytes.Index(flipped, []byte("1PK"))+60] ^= 0xff
	for i := range 40 {
		flipped[60+i] ^= 0x55
	}
	encrypted := []byte(zipped(files...))
	at := bytes.Index(encrypted, []byte("PK\x01\x02"))
	for at >= 0 {
		encrypted[at+8] |= 1
		next := bytes.Index(encrypted[at+1:], []byte("PK\x01\x02"))
		if next < 0 {
			break
		}
		at += 1 + next
	}
	badSum := []byte(gz(one))
	badSum[len(badSum)-6] ^= 1
	for _, c := range []struct{ name, text, says string }{
		{"gzip cut", gz(big)[:200], "gzip data breaks off"},
		{"gzip cut in its head", gz(big)[:5], "gzip data breaks off"},
		{"gzip with a wrong sum", string(badSum), "gzip data is damaged"},
		{"gzip with a tail", gz(one) + strings.Repeat("tail", 9), "gzip data is damaged"},
		{"tar cut in a file", tarred(files...)[:2600], "its archive breaks off"},
		{"tar cut behind a file", tarred(files...)[:1024+512+(len(one)+511)/512*512], "its tar breaks off"},
		{"tar with a tail", tarred(files...) + "tail", "data behind its end"},
		{"tar with a wrong sum", "x" + tarred(files...)[1:], "is damaged"},
		{"tar.gz cut", gz(tarred(files...))[:500], "breaks off"},
		{"zip cut", zipped(files...)[:500], "zip archive is damaged"},
		{"zip with other bytes", string(flipped), "in/1: its archive"},
		{"zip with a password", string(encrypted), "is encrypted"},
		{"list cut", "[" + one + ",", "its list"},
		{"list cut at its end", "[" + one + "," + two, "its list"},
		{"list with a tail", "[" + one + "] x", "its list"},
		{"answer cut", `{"vulns":[` + one, "the answer"},
		{"answer of several pages", `{"vulns":[` + one + `],"next_page_token":"x"}`, "one page of several"},
		{"packed too often", gz(gz(gz(gz(gz(one))))), "packed more than 4 times"},
		{"many broken records", strings.Repeat("{x\n", 200), "more than 100 records"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := imports(OSV, DefaultLimits(), input{"0.json", one}, input{"in", c.text})
			p, ok := problem.As(err)
			if !ok || p.Kind != problem.Invalid || p.Rule != "advisory-damaged" || !strings.Contains(p.Message, c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	one, two := string(generated(1)), string(generated(2))
	zeros := strings.Repeat("\x00", 3<<20)
	many := make([]input, 20)
	for i := range many {
		many[i] = input{fmt.Sprint(i), "{}"}
	}
	for _, c := range []struct {
		name, text, rule string
		set              func(*Limits)
	}{
		{"file", one, "advisory-file-size", func(l *Limits) { l.File = 100 }},
		{"gzip bomb", gz(zeros), "advisory-import-size", func(l *Limits) { l.Import = 1 << 20 }},
		{"gzip bomb of one file", gz(zeros), "advisory-file-size", func(l *Limits) { l.File = 1 << 20 }},
		{"zip bomb", zipped(input{"a", zeros}), "advisory-import-size", func(l *Limits) { l.Import = 1 << 20 }},
		{"tar bomb", gz(tarred(input{"a", zeros})), "advisory-import-size", func(l *Limits) { l.Import = 1 << 20 }},
		{"tar bomb behind its end", gz(tarred() + zeros), "advisory-import-size", func(l *Limits) { l.Import = 1 << 20 }},
		{"zip is held in memory", zipped(input{"a", one}), "advisory-file-size", func(l *Limits) { l.File = 100 }},
		{"list of a zip", zipped(many...), "advisory-files", func(l *Limits) { l.Files = 10 }},
		{"files of a tar", tarred(many...), "advisory-files", func(l *Limits) { l.Files = 10 }},
		{"records", "[" + one + "," + two + "]", "advisory-records", func(l *Limits) { l.Records = 1 }},
		{"kept", "[" + one + "," + two + "]", "advisory-kept", func(l *Limits) { l.Kept = 3000 }},
		{"kept of an answer", `{"vulns":[` + one + "," + two + "]}", "advisory-kept", func(l *Limits) { l.Kept = 3000 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			lim := DefaultLimits()
			c.set(&lim)
			_, _, err := imports(OSV, lim, input{"in", c.text})
			if p, ok := problem.As(err); !ok || p.Kind != problem.TooLarge || p.Rule != c.rule {
				t.Errorf("%v, want %s", err, c.rule)
			}
		})
	}
	lim := DefaultLimits()
	lim.Record = int64(len(two)) - 2 // its last line break is not counted
	p, faults, err := imports(OSV, lim, input{"all", `{"id":"A"}` + two + `{"id":"B"}` + "\n" + `{"id":"C"}`})
	if err != nil || p.Snapshot().Records != 3 || p.Snapshot().Faults != 1 || !strings.Contains(flaw(faults), "larger than") {
		t.Errorf("%v %v %v", p.Snapshot(), err, flaw(faults))
	}
}

func TestErrorOfReader(t *testing.T) {
	broken := errors.New("connection reset")
	for name, text := range map[string]string{"plain": string(generated(1)), "gzip": gz(string(generated(1)) + strings.Repeat("x", 9999)), "tar": tarred(input{"a", "{}"}), "zip": zipped(input{"a", "{}"})} {
		b := NewBuilder(OSV, DefaultLimits())
		err := b.Add("feed", io.MultiReader(strings.NewReader(text[:len(text)*2/3]), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
		if _, ok := problem.As(err); ok {
			t.Errorf("%s: an error of the reader is a problem: %v", name, err)
		}
	}
}

func TestFaults(t *testing.T) {
	good := `{"id":"A","modified":"2026-01-01T00:00:00Z"}`
	for _, c := range []struct{ name, text, want string }{
		{"no JSON in a line", good + "\n{\"id\":\"B\n{\"id\":\"C\"}\n", "in:2 is no JSON, or breaks off"},
		{"no object in a line", good + "\n17\n{\"id\":\"C\"}\n", "in:2 is no JSON, or breaks off"},
		{"cut", "\n\n" + good[:20], "in:3 is no JSON, or breaks off"},
		{"no object in a list", "[" + good + ",\n\"x\"]", "in:2 is no record: a text stands in the list"},
		{"no id", `{"modified":"2026-01-01T00:00:00Z"}`, "in has no id, and is no record in the OSV form"},
		{"id of another type", `{"id":7}`, "in id is a number where a text belongs; has no id, and is no record in the OSV form"},
		{"id with a space", `{"id":"a b"}`, `in id "a b" is no id; has no id, and is no record in the OSV form`},
		{"empty", "", "in is empty"},
		{"space", " \n ", "in is empty"},
		{"HTML", "<!doctype html>", "in is HTML or XML, and not JSON"},
		{"text", "id: A", "in is not JSON"},
		{"two forms of one time", good + `{"id":"A","modified":"2026-01-01T00:00:00Z","summary":"x"}`, "in A is there in two forms of one time, the other in in"},
		{"strangers in an archive", tarred(input{"README.md", "# x"}, input{"LICENSE", "y"}, input{"a.json", good}), "in/README.md and 1 more files in archives are nothing of the kind and left out"},
		{"one stranger", zipped(input{"README\x1b.md", "# x"}, input{"a.json", good}), "in/README?.md is nothing of the kind and left out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, faults := mustImport(t, OSV, input{"zero", `{"id":"Z"}`}, input{"in", c.text})
			if got := flaw(faults); got != c.want || p.Snapshot().Faults != 1 {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
	p, faults := mustImport(t, OSV, input{"in", "[" + strings.Repeat("1,\n", 1500) + good + "]"})
	if len(faults) != maxFaults || p.Snapshot().Faults != 1500 || faults[999].Line != 1000 {
		t.Errorf("%d of %d faults are told", len(faults), p.Snapshot().Faults)
	}
}

// An import of which nothing can be used is no state of a feed.
func TestNothing(t *testing.T) {
	for _, kind := range Kinds {
		for _, files := range [][]input{
			nil,
			{{"empty", ""}},
			{{"list", "[]"}},
			{{"object", "{}"}},
			{{"answer", `{"vulns":[]}`}},
			{{"catalogue", `{"catalogVersion":"2026.01.01","count":0,"vulnerabilities":[]}`}},
			{{"scores", "#model_version:v1,score_date:2026-01-01\ncve,epss,percentile\n"}},
			{{"record that says nothing", `{"cveMetadata":{"cveId":"CVE-2026-0001"},"containers":{"adp":[]}}`}},
			{{"archive", zipped(input{"a", "x: y"})}},
			{{"page", "<html>"}},
		} {
			if kind == Components && (len(files) == 0 || files[0].name != "page" && files[0].name != "answer" && files[0].name != "archive") {
				continue // these are maps of nothing
			}
			_, _, err := imports(kind, DefaultLimits(), files...)
			if p, ok := problem.As(err); !ok || p.Kind != problem.Invalid || p.Rule != "advisory-empty" {
				t.Errorf("%s %v: %v", kind, files, err)
			}
		}
	}
}

// Of one id the newest counts, in every order.
func TestNewestCounts(t *testing.T) {
	old := input{"old", `{"id":"A","modified":"2026-01-01T00:00:00Z","summary":"old"}`}
	mid := input{"mid", `{"id":"A","modified":"2026-01-02T00:00:00Z","summary":"mid"}`}
	young := input{"new", `{"id":"A","modified":"2026-01-03T00:00:00+02:00","summary":"new"}`}
	for _, files := range [][]input{{old, mid, young}, {young, old, mid}, {mid, young, old}, {young, mid, old, young}} {
		p, faults := mustImport(t, OSV, files...)
		db, _ := NewDatabase(nil, p)
		a, ok := db.Advisory("A")
		if !ok || a.Summary != "new" || len(faults) > 0 || p.Snapshot().Records != 1 || p.Snapshot().Dated.Day() != 2 {
			t.Errorf("%v %+v %v", files, a, faults)
		}
	}
	twin := input{"twin", strings.Replace(old.text, "old", "twin", 1)}
	if _, faults := mustImport(t, OSV, old, twin, young); len(faults) > 0 {
		t.Errorf("two forms of an old record are a fault where there is a newer one: %v", faults)
	}
	x := input{"x", `{"id":"A","summary":"x"}`}
	y := input{"y", `{"id":"A","summary":"y"}`}
	p, _ := mustImport(t, OSV, x, y)
	q, faults := mustImport(t, OSV, y, x)
	if p.Snapshot().Digest != q.Snapshot().Digest || len(faults) != 1 {
		t.Errorf("which of two forms counts depends on the order: %v", faults)
	}
}

// FuzzArchive: nothing that comes in makes the import panic or read more than
// the limits allow, and what is read gives the same pack again.
func FuzzArchive(f *testing.F) {
	one := string(generated(1))
	for _, text := range []string{one, gz(one), zipped(input{"a", one}), tarred(input{"a", one}), gz(tarred(input{"a", one}, input{"b", "x"})),
		"[" + one + "]", `{"vulns":[` + one + `]}`, one + one, "", "[", gz(gz(gz(gz(gz(""))))), "{\"id\":\"a\"}\n{x\n{\"id\":\"b\"}"} {
		f.Add([]byte(text))
	}
	lim := Limits{Record: 64 << 10, File: 256 << 10, Import: 1 << 20, Kept: 256 << 10, Records: 1000, Files: 100}
	f.Fuzz(func(t *testing.T, in []byte) {
		roundTrip(t, OSV, lim, in)
	})
}

// roundTrip imports bytes; what can be used is written and opened again.
func roundTrip(t *testing.T, kind Kind, lim Limits, in []byte) {
	t.Helper()
	b := NewBuilder(kind, lim)
	err := b.Add("in", bytes.NewReader(in))
	if b.read > lim.Import+64<<10 {
		t.Fatalf("read %d bytes", b.read)
	}
	if err != nil {
		if k := problem.KindOf(err); k != problem.Invalid && k != problem.TooLarge {
			t.Fatal(err)
		}
		return
	}
	p, faults, err := b.Pack()
	if err != nil {
		if problem.KindOf(err) != problem.Invalid {
			t.Fatal(err)
		}
		return
	}
	var stored bytes.Buffer
	if _, err := p.WriteTo(&stored); err != nil {
		t.Fatal(err)
	}
	q, err := OpenPack(&stored, p.Snapshot(), lim)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(p, q, cmp.AllowUnexported(Pack{})); d != "" {
		t.Fatal(d)
	}
	if _, bad := NewDatabase(nil, q); len(bad) > 0 {
		t.Fatalf("what was imported cannot be read: %v (%v)", bad, faults)
	}
}
