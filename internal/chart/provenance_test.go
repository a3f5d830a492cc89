package chart

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

const (
	webDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	webSigned = webYAML + "\n...\nfiles:\n  web-1.0.0.tgz: " + webDigest + "\n"
)

// sign frames a text as a cleartext signature whose signature is no real one.
func sign(text string) string {
	text = strings.ReplaceAll("\n"+text, "\n-", "\n- -")[1:]
	return beginMessage + "\nHash: SHA512\n\n" + text + beginSignature + "\n\nwsBcBAEBCgAQBQJc\nom2ICRCEO7+YH8GHYgAASEAI\n=YgnR\n" + endSignature + "\n"
}

func TestParseProvenance(t *testing.T) {
	packets, err := base64.StdEncoding.DecodeString("wsBcBAEBCgAQBQJcom2ICRCEO7+YH8GHYgAASEAI")
	if err != nil {
		t.Fatal(err)
	}
	want := Provenance{Name: "web", Version: "1.0.0", Files: map[string]string{"web-1.0.0.tgz": webDigest}, Signature: packets}
	good := sign(webSigned)
	for name, in := range map[string]string{
		"good":                   good,
		"no last line feed":      strings.TrimSpace(good),
		"white space around":     "\n \n" + good + "\n\t\n",
		"windows lines":          strings.ReplaceAll(good, "\n", "\r\n"),
		"white space in lines":   strings.ReplaceAll(good, "name: web\n", "name: web \t\n"),
		"escaped lines":          sign("--- \n" + webSigned),
		"escaped without need":   strings.Replace(good, "\nname:", "\n- name:", 1),
		"two hashes":             strings.Replace(good, "Hash: SHA512\n", "Hash: SHA512\nHash: SHA256\n", 1),
		"no hash":                strings.Replace(good, "Hash: SHA512\n", "", 1),
		"signature with headers": strings.Replace(good, beginSignature+"\n", beginSignature+"\nVersion: GnuPG v2\nComment: a\n", 1),
		"no checksum":            strings.Replace(good, "=YgnR\n", "", 1),
		"empty images":           strings.Replace(good, "files:", "images: {}\nfiles:", 1),
	} {
		p, err := ParseProvenance([]byte(in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want.Raw, want.Text = []byte(in), strings.TrimSuffix(webSigned, "\n")
		switch name {
		case "escaped lines":
			want.Text = "---\n" + want.Text
		case "empty images":
			want.Text = strings.Replace(want.Text, "files:", "images: {}\nfiles:", 1)
		}
		if diff := cmp.Diff(want, p); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if err := p.Check(Metadata{Name: "web", Version: "1.0.0"}, webDigest); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseProvenanceRefuses(t *testing.T) {
	good := sign(webSigned)
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %q in a good provenance file", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, c := range map[string]struct{ rule, in string }{
		"nothing":                 {"provenance-format", ""},
		"unsigned":                {"provenance-format", webSigned},
		"not a text":              {"provenance-format", "\x1f\x8b\x08\xff"},
		"not utf-8":               {"provenance-format", replace("name: web", "name: \xff")},
		"zero byte":               {"provenance-format", replace("name: web", "name: w\x00eb")},
		"text before":             {"provenance-format", "evil\n" + good},
		"text behind":             {"provenance-format", good + "evil\n"},
		"second block":            {"provenance-format", good + good},
		"second block before":     {"provenance-format", sign("a\n") + good},
		"block in the text":       {"provenance-format", replace("name: web", beginMessage+"\nname: web")},
		"signature in the text":   {"provenance-format", replace("name: web", beginSignature+"\nname: web")},
		"line with a hyphen":      {"provenance-format", replace("name: web", "---\nname: web")},
		"begin with white space":  {"provenance-format", replace(beginMessage, beginMessage+" ")},
		"other header":            {"provenance-format", replace("Hash: SHA512", "Comment: a")},
		"header with white space": {"provenance-format", replace("Hash: SHA512\n\n", "Hash: SHA512\n \n")},
		"no empty line":           {"provenance-format", replace("Hash: SHA512\n\n", "Hash: SHA512\n")},
		"cut in the header":       {"provenance-format", beginMessage + "\nHash: SHA512"},
		"no signature":            {"provenance-format", good[:strings.Index(good, beginSignature)]},
		"signature cut":           {"provenance-format", good[:strings.Index(good, endSignature)]},
		"signature only begun":    {"provenance-format", good[:strings.Index(good, "wsBc")]},
		"signature empty":         {"provenance-format", replace("wsBcBAEBCgAQBQJc\nom2ICRCEO7+YH8GHYgAASEAI\n", "")},
		"signature not base64":    {"provenance-format", replace("wsBc", "ws!c")},
		"one part":                {"provenance-format", sign("files:\n  a.tgz: " + webDigest + "\n")},
		"three parts":             {"provenance-format", sign(webSigned + "\n...\nfiles: {}\n")},
		"three parts, touching":   {"provenance-format", sign(strings.Replace(webSigned, "\n...\n", "\n...\n...\n", 1))},
		"metadata of no chart":    {"provenance-metadata", sign("\n...\nfiles:\n  web-1.0.0.tgz: " + webDigest + "\n")},
		"metadata key twice":      {"provenance-metadata", replace("name: web", "name: web\nname: evil")},
		"no files":                {"provenance-files", sign(webYAML + "\n...\nfiles: {}\n")},
		"empty second part":       {"provenance-files", sign(webYAML + "\n...\n\n")},
		"two files":               {"provenance-files", replace("files:\n", "files:\n  evil-1.0.0.tgz: "+webDigest+"\n")},
		"an image":                {"provenance-files", replace("files:\n", "images: {a: b}\nfiles:\n")},
		"file twice":              {"provenance-duplicate-key", replace("files:\n", "files:\n  web-1.0.0.tgz: "+webDigest+"\n")},
		"files twice":             {"provenance-duplicate-key", replace("files:\n", "Files: {}\nfiles:\n")},
		"files are a list":        {"provenance-field", sign(webYAML + "\n...\nfiles: [a]\n")},
		"second part not yaml":    {"provenance-syntax", sign(webYAML + "\n...\nfiles: [\n")},
		"other hash":              {"provenance-files", replace("sha256:", "sha512:")},
		"short digest":            {"provenance-files", replace("abcdef\n", "abcd\n")},
		"upper-case digest":       {"provenance-files", replace("abcdef\n", "ABCDEF\n")},
		"digest of other letters": {"provenance-files", replace("abcdef\n", "abcdeg\n")},
		"file in a folder":        {"provenance-files", replace("  web-1.0.0.tgz", "  ../web-1.0.0.tgz")},
		"too large":               {"provenance-size", replace("name: web", "name: web\nhome: "+strings.Repeat("a", MaxProvenance))},
	} {
		_, err := ParseProvenance([]byte(c.in))
		p, ok := problem.As(err)
		if !ok || p.Rule != c.rule || len(p.Message) > 400 {
			t.Errorf("%s: %v, want rule %s", name, err, c.rule)
			continue
		}
		if want := map[bool]problem.Kind{true: problem.TooLarge, false: problem.Invalid}[c.rule == "provenance-size"]; p.Kind != want {
			t.Errorf("%s: kind %s", name, p.Kind)
		}
	}
}

func TestProvenanceCheck(t *testing.T) {
	p, err := ParseProvenance([]byte(sign(webSigned)))
	if err != nil {
		t.Fatal(err)
	}
	renamed, err := ParseProvenance([]byte(sign(strings.Replace(webSigned, "web-1.0.0.tgz", "web.tgz", 1))))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		rule   string
		p      Provenance
		m      Metadata
		digest string
	}{
		"name":      {"provenance-name", p, Metadata{Name: "other", Version: "1.0.0"}, webDigest},
		"version":   {"provenance-version", p, Metadata{Name: "web", Version: "1.0.1"}, webDigest},
		"file name": {"provenance-file-name", renamed, Metadata{Name: "web", Version: "1.0.0"}, webDigest},
		"digest":    {"provenance-digest", p, Metadata{Name: "web", Version: "1.0.0"}, "sha256:" + strings.Repeat("0", 64)},
		"no digest": {"provenance-digest", p, Metadata{Name: "web", Version: "1.0.0"}, ""},
		"nothing":   {"provenance-name", Provenance{}, Metadata{Name: "web", Version: "1.0.0"}, ""},
	} {
		got, ok := problem.As(c.p.Check(c.m, c.digest))
		if !ok || got.Rule != c.rule || got.Kind != problem.Invalid || got.Try == "" || len(got.Facts) != 2 {
			t.Errorf("%s: %v, want rule %s", name, got, c.rule)
		}
	}
}

// TestCorpusProvenance reads what Helm itself signed.
func TestCorpusProvenance(t *testing.T) {
	dir := filepath.Join(charttest.Corpus(t, "charts"), "helm__helm-signed")
	for _, file := range []string{"hashtest-1.2.3.tgz", "signtest-0.1.0.tgz"} {
		archive, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join(dir, file+".prov"))
		if err != nil {
			t.Fatal(err)
		}
		a, err := Open(bytes.NewReader(archive), DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParseProvenance(raw)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if err := p.Check(a.Metadata, a.Digest); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if p.Files[file] != a.Digest || !bytes.Equal(p.Raw, raw) {
			t.Errorf("%s: %v", file, p.Files)
		}
	}
}

func FuzzParseProvenance(f *testing.F) {
	for _, s := range []string{
		sign(webSigned), sign("- a\n"), sign(webSigned + "\n...\n"), sign(webSigned) + sign(webSigned), beginMessage, beginMessage + "\n\n" + beginSignature + "\n\n" + endSignature,
		strings.ReplaceAll(sign(webSigned), "\n", "\r\n"),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProvenance(b)
		if err != nil {
			if _, ok := problem.As(err); !ok {
				t.Errorf("not a problem: %v", err)
			}
			return
		}
		if len(p.Files) != 1 || p.Name == "" || p.Version == "" || strings.Count("\n"+string(b), "\n"+beginMessage) != 1 || !bytes.Equal(p.Raw, b) {
			t.Errorf("accepted %q as %+v", b, p)
		}
		p.Check(Metadata{Name: p.Name, Version: p.Version}, webDigest)
	})
}
