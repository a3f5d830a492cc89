package chart

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Provenance is what a .prov file says: which file is signed, and of which
// chart. Whether the signature holds, and whose it is, is not judged here.
type Provenance struct {
	Name    string            // of the chart
	Version string            // of the chart, as it was written
	Files   map[string]string // file name to "sha256:" and 64 hexadecimal digits; always one entry
	Raw     []byte            // the whole file
	// Text is what is signed: lines that end with LF, unescaped, without white
	// space at their ends; the last one has no end. Signature is what the armor
	// holds: OpenPGP packets that nobody has read.
	Text      string
	Signature []byte
}

// MaxProvenance is the most bytes of a provenance file: it holds a Chart.yaml,
// with lines that may be escaped, and a signature.
const MaxProvenance = 384 << 10

// ParseProvenance reads a provenance file as Helm writes it: a message of two
// YAML documents, the chart's metadata and the digests of its files, in the
// cleartext signature framework of RFC 9580 section 7.
//
// It is stricter than Helm, which reads the first block it finds and ignores
// the metadata: there is exactly one block with nothing before and behind it
// but white space, exactly one file, no armor header but Hash in front of
// the text, and the metadata is that of a chart. Errors are problems of kind
// Invalid, or TooLarge, with a rule that begins with "provenance".
func ParseProvenance(b []byte) (Provenance, error) {
	if len(b) > MaxProvenance {
		return Provenance{}, problem.New(problem.TooLarge, "provenance-size",
			"the provenance file is larger than %s", sizeText(MaxProvenance)).With("size", "%d bytes", len(b))
	}
	text, sig, fault := signedText(b)
	if fault != "" {
		return Provenance{}, invalidProvenance("provenance-format", fault)
	}
	metadata, digests, ok := strings.Cut(text, "\n...\n")
	if !ok || strings.Contains(digests, "\n...\n") || strings.HasPrefix(digests, "...\n") {
		return Provenance{}, invalidProvenance("provenance-format", "its signed text is not of two parts, the metadata and the files")
	}
	m, err := ParseMetadata([]byte(metadata))
	if err != nil {
		p, _ := problem.As(err)
		return Provenance{}, invalidProvenance("provenance-metadata", "its metadata: "+p.Message)
	}
	files, err := parseDigests([]byte(digests + "\n"))
	if err != nil {
		return Provenance{}, err
	}
	return Provenance{Name: m.Name, Version: m.Version, Files: files, Raw: bytes.Clone(b), Text: text, Signature: sig}, nil
}

func invalidProvenance(rule, fault string) *problem.Error {
	return problem.New(problem.Invalid, rule, "this is not a provenance file that Helm would write: %s", fault).
		Suggest("make it with `helm package --sign`")
}

// parseDigests reads the second part of the signed text.
func parseDigests(b []byte) (map[string]string, error) {
	d, err := readYAML("the provenance file", "provenance", MaxProvenance, b)
	if err != nil {
		return nil, err
	}
	var files, images map[string]string
	known := map[string]setter{"files": d.textMap(&files), "images": d.textMap(&images)}
	d.fields(d.root, "", known)
	if d.err != nil {
		return nil, d.err
	}
	if len(files) != 1 || len(images) != 0 {
		return nil, invalidProvenance("provenance-files", "it must hold the digest of one file and of nothing else")
	}
	for name, digest := range files {
		sum, ok := strings.CutPrefix(digest, "sha256:")
		if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != 32 || strings.ToLower(sum) != sum {
			return nil, invalidProvenance("provenance-files", "the digest of its file is not sha256: and 64 lower-case hexadecimal digits")
		}
		if name == "" || fileNameFault(name, 255) != "" {
			return nil, invalidProvenance("provenance-files", "it names a file that cannot be a chart archive")
		}
	}
	return files, nil
}

// Check compares what the provenance says with the chart beside it: name and
// version, the one file's name, and its digest ("sha256:…"). Errors are of
// kind Invalid with rule "provenance-name", "provenance-version",
// "provenance-file-name" or "provenance-digest".
func (p Provenance) Check(m Metadata, archiveDigest string) error {
	mismatch := func(rule, what, got, want string) error {
		return problem.New(problem.Invalid, rule, "the provenance file is of another chart: its %s differs", what).
			With("provenance", "%s", cut(got)).With("chart", "%s", cut(want)).
			Suggest("sign the archive that is released, with `helm package --sign`")
	}
	want := FileName(m.Name, m.Version)
	switch digest, named := p.Files[want]; {
	case p.Name != m.Name:
		return mismatch("provenance-name", "name", p.Name, m.Name)
	case p.Version != m.Version:
		return mismatch("provenance-version", "version", p.Version, m.Version)
	case !named:
		got := ""
		for got = range p.Files {
		}
		return mismatch("provenance-file-name", "file name", got, want)
	case digest != archiveDigest:
		return mismatch("provenance-digest", "archive digest", digest, archiveDigest)
	}
	return nil
}

// The lines that frame a cleartext signature.
const (
	beginMessage   = "-----BEGIN PGP SIGNED MESSAGE-----"
	beginSignature = "-----BEGIN PGP SIGNATURE-----"
	endSignature   = "-----END PGP SIGNATURE-----"
)

// signedText takes the text and the signature out of a cleartext signature.
// Fault says what is wrong with the framing. Lines end with LF or CRLF; the
// text has LF.
func signedText(b []byte) (text string, sig []byte, fault string) {
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return "", nil, "it is not a UTF-8 text"
	}
	lines := strings.Split(strings.ReplaceAll(strings.TrimSpace(string(b)), "\r\n", "\n"), "\n")
	next := func() (string, bool) {
		if len(lines) == 0 {
			return "", false
		}
		line := lines[0]
		lines = lines[1:]
		return line, true
	}
	if line, _ := next(); line != beginMessage {
		return "", nil, "it does not begin with a signed message"
	}
	for {
		line, ok := next()
		if line == "" && ok {
			break
		}
		if !strings.HasPrefix(line, "Hash: ") {
			return "", nil, "its signed message has a header other than Hash"
		}
	}
	var out []string
	for {
		line, ok := next()
		if !ok {
			return "", nil, "it has no signature"
		}
		if line == beginSignature {
			break
		}
		if strings.HasPrefix(line, "-") {
			if !strings.HasPrefix(line, "- ") {
				return "", nil, "its signed message has a line that begins with a hyphen and is not escaped"
			}
			line = line[2:]
		}
		// White space at the end of a line is not part of what is signed.
		out = append(out, strings.TrimRight(line, " \t\r"))
	}
	sig, fault = readArmor(lines)
	return strings.Join(out, "\n"), sig, fault
}

// readArmor reads the signature that follows, with nothing behind it.
func readArmor(lines []string) (sig []byte, fault string) {
	for len(lines) > 0 && strings.Contains(lines[0], ": ") { // Version, Comment
		lines = lines[1:]
	}
	if len(lines) < 3 || lines[0] != "" {
		return nil, "its signature is incomplete"
	}
	last := len(lines) - 1
	if lines[last] != endSignature {
		return nil, "it does not end with its signature, or has a second one"
	}
	body := lines[1:last]
	if checksum := body[len(body)-1]; len(checksum) == 5 && checksum[0] == '=' {
		body = body[:len(body)-1]
	}
	raw, err := base64.StdEncoding.DecodeString(strings.Join(body, ""))
	if err != nil || len(raw) == 0 {
		return nil, "its signature is not base64"
	}
	return raw, ""
}
