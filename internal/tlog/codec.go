package tlog

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	sumdb "golang.org/x/mod/sumdb/tlog"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// The limits of values, in bytes before escaping.
const (
	maxName     = 256  // project, chart, version: also the limit of Helm's version parser
	maxIdentity = 512  // issuer, subject
	maxText     = 1024 // reasons, URLs
	maxWord     = 32   // codes and states
)

// presence says whether a value may be absent, which is written "-".
type presence bool

const (
	required presence = false
	optional presence = true
)

const absent = "-"

// codec carries a leaf through its lines, in their order, either from the
// struct into text or from text into the struct. Each type lists its lines
// once, for both ways, so that they cannot differ.
type codec struct {
	reading bool
	text    strings.Builder // written so far
	rest    string          // still to read
	err     error           // the first one; nothing happens after it
}

// value is one value of a line.
//
// format returns its spelling, or an error when there is none. parse sets it
// from a spelling and may be lax: the codec formats the result again and
// refuses the line when that is not what was read.
type value interface {
	format() (string, error)
	parse(string) error
}

func marshalLeaf(typ string, lines func(*codec)) ([]byte, error) {
	var c codec
	c.text.WriteString(typ + "\n")
	lines(&c)
	if c.err != nil {
		return nil, problem.New(problem.Invalid, "leaf-value", "this cannot be written into the log: %v", c.err)
	}
	return []byte(c.text.String()), nil
}

// layout is a pointer to a leaf type that knows its lines.
type layout[T any] interface {
	*T
	lines(*codec)
}

func parseLeaf[T Leaf, P layout[T]](text string) (Leaf, error) {
	var leaf T
	c := codec{reading: true, rest: text}
	P(&leaf).lines(&c)
	if c.err == nil && c.rest != "" {
		c.err = errors.New("there are lines behind the last one")
	}
	if c.err != nil {
		return nil, problem.New(problem.Invalid, "leaf-malformed", "the log entry is malformed: %v", c.err)
	}
	return leaf, nil
}

func (c *codec) line(key string, values ...value) {
	if c.err != nil {
		return
	}
	var err error
	if c.reading {
		err = c.read(key, values)
	} else {
		err = c.write(key, values)
	}
	if err != nil {
		c.err = fmt.Errorf("%s: %w", key, err)
	}
}

func (c *codec) write(key string, values []value) error {
	c.text.WriteString(key)
	for _, v := range values {
		s, err := v.format()
		if err != nil {
			return err
		}
		c.text.WriteString(" " + s)
	}
	c.text.WriteByte('\n')
	return nil
}

func (c *codec) read(key string, values []value) error {
	line, rest, ended := strings.Cut(c.rest, "\n")
	got := strings.Split(line, " ")
	if !ended || got[0] != key || len(got) != 1+len(values) {
		return errors.New("the line is missing, out of order or has another number of values")
	}
	for i, v := range values {
		if err := v.parse(got[1+i]); err != nil {
			return err
		}
		s, err := v.format()
		if err != nil {
			return err
		}
		if s != got[1+i] {
			return errors.New("the value has an unusual spelling")
		}
	}
	c.rest = rest
	return nil
}

// subject is the three lines that name a release.
func (c *codec) subject(project, chart, version *string) {
	c.line("project", textValue{project, maxName, required})
	c.line("chart", textValue{chart, maxName, required})
	c.line("version", textValue{version, maxName, required})
}

func (c *codec) identity(key string, id *Identity) {
	c.line(key, textValue{&id.Issuer, maxIdentity, required}, textValue{&id.Subject, maxIdentity, required})
}

// secondIdentity is an identity that may be absent as a whole.
func (c *codec) secondIdentity(key string, id *Identity) {
	c.line(key, textValue{&id.Issuer, maxIdentity, optional}, textValue{&id.Subject, maxIdentity, optional})
	if c.err == nil && (id.Issuer == "") != (id.Subject == "") {
		c.err = fmt.Errorf("%s: it has an issuer or a subject alone", key)
	}
}

// textValue is free text; the empty text is the absent one.
type textValue struct {
	p   *string
	max int
	presence
}

func (v textValue) format() (string, error) {
	switch {
	case *v.p == "" && v.presence == required:
		return "", errors.New("it is missing")
	case len(*v.p) > v.max:
		return "", fmt.Errorf("it has %d bytes, more than %d", len(*v.p), v.max)
	case !utf8.ValidString(*v.p):
		return "", errors.New("it is not valid UTF-8")
	}
	return escape(*v.p), nil
}

func (v textValue) parse(s string) (err error) {
	*v.p, err = unescape(s)
	return err
}

const upperHex = "0123456789ABCDEF"

func escape(s string) string {
	switch s {
	case "":
		return absent
	case absent:
		return "%2D"
	}
	if !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '%' }) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if ch := s[i]; ch <= ' ' || ch > '~' || ch == '%' {
			b.Write([]byte{'%', upperHex[ch>>4], upperHex[ch&15]})
		} else {
			b.WriteByte(ch)
		}
	}
	return b.String()
}

func unescape(s string) (string, error) {
	if s == absent {
		return "", nil
	}
	if !strings.Contains(s, "%") {
		return s, nil
	}
	var b strings.Builder
	for {
		plain, rest, found := strings.Cut(s, "%")
		b.WriteString(plain)
		if !found {
			return b.String(), nil
		}
		if len(rest) < 2 {
			return "", errors.New("it ends within an escape")
		}
		ch, err := strconv.ParseUint(rest[:2], 16, 8)
		if err != nil {
			return "", errors.New("it has an escape without two hexadecimal digits")
		}
		b.WriteByte(byte(ch))
		s = rest[2:]
	}
}

// algorithms lists the digests that a line takes.
type algorithms []string

var (
	sha256Only = algorithms{"sha256"}
	anyDigest  = algorithms{"sha256", "sha512"}
)

// digestValue is <algorithm>:<hex>; the empty string is the absent one.
type digestValue struct {
	p *string
	algorithms
	presence
}

func (v digestValue) format() (string, error) {
	if *v.p == "" && v.presence == optional {
		return absent, nil
	}
	algorithm, hex, _ := strings.Cut(*v.p, ":")
	digits := 64
	if algorithm == "sha512" {
		digits = 128
	}
	if !slices.Contains(v.algorithms, algorithm) || len(hex) != digits || !isHex(hex) {
		return "", fmt.Errorf("it is not a digest by %s in lower-case hexadecimal", strings.Join(v.algorithms, " or "))
	}
	return *v.p, nil
}

func (v digestValue) parse(s string) error {
	if *v.p = s; s == absent {
		*v.p = ""
	}
	return nil
}

func isHex(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !('0' <= r && r <= '9' || 'a' <= r && r <= 'f') })
}

// countValue is a number from 0 to MaxSize: an index, or a size in bytes.
type countValue struct{ p *int64 }

func (v countValue) format() (string, error) {
	if *v.p < 0 || *v.p > MaxSize {
		return "", fmt.Errorf("%d is not between 0 and %d", *v.p, int64(MaxSize))
	}
	return strconv.FormatInt(*v.p, 10), nil
}

func (v countValue) parse(s string) (err error) {
	if *v.p, err = strconv.ParseInt(s, 10, 64); err != nil {
		return errors.New("it is not a number")
	}
	return nil
}

// timeValue is a point in time; the zero time is the absent one.
type timeValue struct {
	p *time.Time
	presence
}

func (v timeValue) format() (string, error) {
	t := v.p.UTC().Truncate(time.Second)
	switch {
	case t.IsZero() && v.presence == optional:
		return absent, nil
	case t.IsZero():
		return "", errors.New("it is missing")
	case t.Year() < 1 || t.Year() > 9999:
		return "", fmt.Errorf("the year %d cannot be written", t.Year())
	}
	return t.Format(time.RFC3339), nil
}

func (v timeValue) parse(s string) (err error) {
	if s == absent {
		*v.p = time.Time{}
		return nil
	}
	if *v.p, err = time.Parse(time.RFC3339, s); err != nil {
		return errors.New("it is not a time in RFC 3339")
	}
	return nil
}

// choiceValue is one of a few words.
type choiceValue struct {
	p     *string
	among []string
}

func (v choiceValue) format() (string, error) {
	if !slices.Contains(v.among, *v.p) {
		return "", fmt.Errorf("it is not one of %s", strings.Join(v.among, ", "))
	}
	return *v.p, nil
}

func (v choiceValue) parse(s string) error { *v.p = s; return nil }

// wordValue is a code whose vocabulary is kept elsewhere.
type wordValue struct{ p *string }

func (v wordValue) format() (string, error) {
	outside := func(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-') }
	if s := *v.p; s == "" || s[0] == '-' || len(s) > maxWord || strings.ContainsFunc(s, outside) {
		return "", fmt.Errorf("it is not a word of 1 to %d lower-case letters, digits and hyphens", maxWord)
	}
	return *v.p, nil
}

func (v wordValue) parse(s string) error { *v.p = s; return nil }

// hashValue is a root hash, spelled as in a checkpoint.
type hashValue struct{ p *Hash }

func (v hashValue) format() (string, error) { return v.p.String(), nil }

func (v hashValue) parse(s string) (err error) {
	if *v.p, err = sumdb.ParseHash(s); err != nil {
		return errors.New("it is not a root hash in Base 64")
	}
	return nil
}

// sourceValue is <url>@<commit>, divided at the last @.
type sourceValue struct{ p *Source }

func (v sourceValue) format() (string, error) {
	if *v.p == (Source{}) {
		return absent, nil
	}
	url, err := textValue{&v.p.URL, maxText, required}.format()
	if err != nil {
		return "", err
	}
	if n := len(v.p.Commit); n != 40 && n != 64 || !isHex(v.p.Commit) {
		return "", errors.New("its commit is not 40 or 64 lower-case hexadecimal digits")
	}
	return url + "@" + v.p.Commit, nil
}

func (v sourceValue) parse(s string) (err error) {
	if s == absent {
		*v.p = Source{}
		return nil
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return errors.New("it is not of the form <url>@<commit>")
	}
	v.p.Commit = s[at+1:]
	v.p.URL, err = unescape(s[:at])
	return err
}
