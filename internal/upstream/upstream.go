// Package upstream models a chart repository that somebody else publishes: what
// its index says at one time (Parse), and what changed between two times
// (Compare, Tracker).
//
// The format is Helm's index.yaml, as its readers of versions 3 and 4 take it:
// JSON where the bytes are valid JSON, YAML 1.1 otherwise, apiVersion required.
// What Helm refuses as a whole for the sake of a field that is read here, Parse
// refuses; what Helm skips as a single odd entry, Parse keeps with its fault.
// Fields that Helm does not know and types of fields that are not read here
// make no difference, so that a watcher sees more repositories than Helm, never
// fewer. Three rules are stricter, since an index that breaks them has no one
// meaning: a chart or a field given twice is refused (in JSON, a field that is
// read), as are the merge key << and an index that ends in the middle of an
// entry.
//
// What always holds:
//
//   - Parse never panics and its memory is bounded by Limits.
//   - The scanner of the common form (scan.go) reads what the complete reader
//     (yaml.go) reads, or hands over to it: it never decides alone.
//   - JSON is what encoding/json takes for JSON, and its strings and keys say
//     what they say to encoding/json. All else is left to YAML.
//   - An index that cannot be read is no news of any version: the last good
//     state stays, and nothing is said to have vanished.
//   - Created is what the upstream says. It is compared, never trusted.
//   - Events come in one order: by chart, version and event, each by bytes.
package upstream

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Limits bound what Parse accepts. Zero fields take the value of
// DefaultLimits.
type Limits struct {
	Bytes    int // of an index in JSON, or in YAML as helm repo index writes it
	Complex  int // bytes of YAML in any other form, which takes up to 250 times its size in memory
	Charts   int
	Versions int // of all charts together
	URLs     int // of one version
	Field    int // bytes of one field that is read
}

// DefaultLimits are those for indexes from the network.
func DefaultLimits() Limits {
	return Limits{Bytes: 200 << 20, Complex: 24 << 20, Charts: 100_000, Versions: 1_000_000, URLs: 64, Field: 8 << 10}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	for _, f := range []struct {
		is  *int
		def int
	}{{&l.Bytes, d.Bytes}, {&l.Complex, d.Complex}, {&l.Charts, d.Charts}, {&l.Versions, d.Versions}, {&l.URLs, d.URLs}, {&l.Field, d.Field}} {
		if *f.is == 0 {
			*f.is = f.def
		}
	}
	return l
}

// Index is what an upstream says that it publishes. It holds no reference to
// the bytes that it was read from.
type Index struct {
	Generated time.Time // as the upstream says; zero where it does not
	Charts    []Chart   // in the order of the file; names are unique
}

// Chart is one chart of an index.
type Chart struct {
	Name     string
	Versions []Version // in the order of the file; a version may stand there twice
}

// Version is one entry of an index.
type Version struct {
	Version    string
	Digest     string    // bare lower-case hexadecimal SHA-256; "" where none is given, anything where Fault says so
	Created    time.Time // UTC, as the upstream says; zero where it does not
	AppVersion string
	Deprecated bool
	URLs       []string
	// Fault says what is wrong with this entry, "" for nothing. Helm skips an
	// entry with one, or cannot use it.
	Fault string
}

// Len is the number of entries. Cost: linear in charts.
func (x *Index) Len() int {
	n := 0
	for i := range x.Charts {
		n += len(x.Charts[i].Versions)
	}
	return n
}

const rule = "upstream-index"

func invalid(format string, args ...any) *problem.Error {
	return problem.New(problem.Invalid, rule, format, args...)
}

func tooLarge(format string, args ...any) *problem.Error {
	return problem.New(problem.TooLarge, rule+"-limit", format, args...)
}

// Parse reads an index. Errors are problem.Invalid for what is not an index,
// or not a whole one, and problem.TooLarge for what is over a limit. It is safe
// for concurrent use. Cost: linear in the bytes; for 100,000 versions (85 MB
// of YAML as Helm writes it) about 0.6 s and 30 MB, going by the figures in docs/upstream.md.
func Parse(b []byte, lim Limits) (Index, error) {
	lim = lim.orDefault()
	if len(b) > lim.Bytes {
		return Index{}, tooLarge("the index has more than %d bytes", lim.Bytes)
	}
	start := bytes.TrimLeft(b, " \t\r\n")
	switch {
	case len(b) == 0:
		return Index{}, invalid("the index is empty")
	case len(start) == 0:
		return Index{}, invalid("the index has nothing but white space")
	case start[0] == '<':
		return Index{}, invalid("this is a page of HTML or XML, and not an index")
	case start[0] == '{':
		if x, err, ok := parseJSON(b, lim); ok {
			return x, err
		}
	default:
		if x, ok := scanYAML(b, lim); ok {
			return x, nil
		}
	}
	return parseYAML(b, lim)
}

// builder collects an index for all readers, so that they judge alike.
type builder struct {
	lim     Limits
	index   Index
	entries int
	names   map[string]bool
	last    []Version       // of the last chart, until their number is known
	text    strings.Builder // where copied fields live, in pieces
	urls    []string        // where lists of URLs live, in pieces
	api     bool            // an apiVersion was there
	listed  bool            // entries were there
	open    bool            // nothing follows an entry that has no end
	err     error
}

func newBuilder(lim Limits) *builder {
	return &builder{lim: lim, names: map[string]bool{}}
}

func (b *builder) fail(err *problem.Error) bool {
	if b.err == nil {
		b.err = err
	}
	return false
}

// piece is how much room for copied text is made at a time. Text that is kept
// longer than the index must be cloned, or it keeps its piece.
const piece = 32 << 10

// keep copies a text. Most of an index is not kept, and one allocation for many
// short texts costs a tenth of one for each.
func (b *builder) keep(s []byte) string {
	if len(s) == 0 {
		return ""
	}
	if b.text.Cap()-b.text.Len() < len(s) {
		b.text.Reset()
		b.text.Grow(max(piece, len(s)))
	}
	from := b.text.Len()
	b.text.Write(s)
	return b.text.String()[from:]
}

// list copies a list of URLs.
func (b *builder) list(urls []string) []string {
	if len(urls) == 0 {
		return nil
	}
	if cap(b.urls)-len(b.urls) < len(urls) {
		b.urls = make([]string, 0, max(512, len(urls)))
	}
	from := len(b.urls)
	b.urls = append(b.urls, urls...)
	return b.urls[from:len(b.urls):len(b.urls)]
}

// chart begins a chart.
func (b *builder) chart(name string) bool {
	switch {
	case len(name) > b.lim.Field:
		return b.fail(tooLarge("the index has a chart name of more than %d bytes", b.lim.Field))
	case b.names[name]:
		return b.fail(invalid("the index lists the chart %.100q twice", name))
	case len(b.index.Charts) >= b.lim.Charts:
		return b.fail(tooLarge("the index has more than %d charts", b.lim.Charts))
	}
	b.endChart()
	b.names[name] = true
	b.index.Charts = append(b.index.Charts, Chart{Name: name})
	return true
}

// endChart gives the last chart its versions, without the spare room of a list
// that grew.
func (b *builder) endChart() {
	if len(b.last) > 0 {
		b.index.Charts[len(b.index.Charts)-1].Versions = slices.Clone(b.last)
		b.last = b.last[:0]
	}
}

// version adds an entry to the last chart. named says that it has a name.
func (b *builder) version(v Version, named bool) bool {
	b.entries++
	switch {
	case b.entries > b.lim.Versions:
		return b.fail(tooLarge("the index has more than %d versions", b.lim.Versions))
	case len(v.URLs) > b.lim.URLs:
		return b.fail(tooLarge("a version in the index has more than %d URLs", b.lim.URLs))
	case len(v.Version) > b.lim.Field, len(v.Digest) > b.lim.Field, len(v.AppVersion) > b.lim.Field:
		return b.fail(tooLarge("a version in the index has a field of more than %d bytes", b.lim.Field))
	}
	for _, u := range v.URLs {
		if len(u) > b.lim.Field {
			return b.fail(tooLarge("a version in the index has a URL of more than %d bytes", b.lim.Field))
		}
	}
	if len(v.URLs) == 0 {
		v.URLs = nil
	}
	v.Digest = bareDigest(v.Digest)
	v.Fault = v.fault(named)
	b.last = append(b.last, v)
	b.open = v.Version == ""
	return true
}

// done judges the whole.
func (b *builder) done() (Index, error) {
	switch {
	case b.err != nil:
	case !b.listed:
		b.fail(invalid("this is not an index: it has no entries"))
	case b.open:
		b.fail(invalid("the index ends in the middle of an entry: it was cut off"))
	case !b.api:
		b.fail(invalid("this is not an index: it has no apiVersion"))
	}
	if b.err != nil {
		return Index{}, b.err
	}
	b.endChart()
	return b.index, nil
}

// bareDigest is a digest in lower case and without the name of its algorithm,
// where that is SHA-256.
func bareDigest(s string) string {
	if len(s) == 64 && isHex(s) {
		return s
	}
	s = strings.ToLower(strings.TrimSpace(s))
	return strings.TrimPrefix(s, "sha256:")
}

// hexDigits has the lower-case digits. A table, because no processor predicts
// whether a figure or a letter comes next in a digest.
var hexDigits = func() (is [256]bool) {
	for _, c := range []byte("0123456789abcdef") {
		is[c] = true
	}
	return is
}()

func isHex(s string) bool {
	for i := range len(s) {
		if !hexDigits[s[i]] {
			return false
		}
	}
	return true
}

// fault finds what is wrong with an entry.
func (v *Version) fault(named bool) string {
	switch {
	case v.Version == "" && !named && v.Digest == "" && len(v.URLs) == 0:
		return "the entry is empty"
	case !named:
		return "the entry has no name"
	case v.Version == "":
		return "the entry has no version"
	case !isVersion(v.Version):
		return "the version is not a version that Helm can read"
	case v.Digest != "" && (len(v.Digest) != 64 || !isHex(v.Digest)):
		return "the digest is not a SHA-256"
	case len(v.URLs) == 0:
		return "the entry has no URL"
	}
	return ""
}

// isVersion says whether Helm takes a text for a version: SemVer 2.0.0, with a
// v in front or parts missing. Nearly all are three numbers, and those need no
// regular expression.
func isVersion(s string) bool {
	parts, digits := 1, 0
	for i := 0; i < len(s) && parts > 0; i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9' && digits < 18 && (digits != 1 || s[i-1] != '0'):
			digits++
		case c == '.' && digits > 0:
			parts, digits = parts+1, 0
		default:
			parts = 0
		}
	}
	if parts == 3 && digits > 0 {
		return true
	}
	_, err := semver.NewVersion(s)
	return err == nil
}

// time reads a time as Helm does.
func (b *builder) time(s []byte) (time.Time, bool) {
	var t time.Time
	if err := t.UnmarshalText(s); err != nil {
		return t, b.fail(invalid("the index has the time %.60q, which is none of RFC 3339", s))
	}
	return t.UTC(), true
}
