package chartrepo

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
)

// factSize labels the size of what a range lies outside of; WriteError makes
// the Content-Range of a 416 of it.
const factSize = "size"

// notModified evaluates the preconditions of a read (RFC 9110 §13.2.2) for a
// representation with the strong entity tag etag, quotes included, that exists
// since modified (zero: not known). It reports whether the answer is 304, or
// fails with 412.
func notModified(h http.Header, etag string, modified time.Time) (bool, error) {
	if v := h["If-Match"]; len(v) > 0 && !matches(v, etag, false) {
		return false, problem.New(problem.Conflict, server.RulePrecondition, "this is not the version that If-Match asks for").
			With("ETag", "%s", etag)
	}
	if v := h["If-None-Match"]; len(v) > 0 {
		return matches(v, etag, true), nil
	}
	if v := h.Get("If-Modified-Since"); v != "" && !modified.IsZero() {
		t, err := http.ParseTime(v)
		return err == nil && !modified.Truncate(time.Second).After(t), nil
	}
	return false, nil
}

// matches reports whether a list of entity tags (RFC 9110 §8.8.3) holds etag.
// The comparison is weak for If-None-Match and strong for If-Match. Lists that
// cannot be read match nothing.
func matches(lists []string, etag string, weak bool) bool {
	for _, list := range lists {
		if list == etag { // what nearly every client sends
			return true
		}
		for list != "" {
			list = strings.TrimLeft(list, " \t,")
			if list == "*" {
				return true
			}
			rest, isWeak := strings.CutPrefix(list, "W/")
			if !strings.HasPrefix(rest, `"`) {
				break
			}
			end := strings.IndexByte(rest[1:], '"')
			if end < 0 {
				break
			}
			if rest[:end+2] == etag && (weak || !isWeak) {
				return true
			}
			list = rest[end+2:]
		}
	}
	return false
}

// span is a part of a file: n bytes from offset on.
type span struct{ offset, n int64 }

// parseRange reads a Range header (RFC 9110 §14.2) for a file of size bytes.
// ok is false when the whole file answers it: no range, another unit than
// bytes, a form that cannot be read, or several ranges, which a server may
// ignore. A single range outside of the file is an error.
func parseRange(header string, size int64) (s span, ok bool, err error) {
	set, found := strings.CutPrefix(header, "bytes=")
	if !found || strings.Contains(set, ",") {
		return span{}, false, nil
	}
	first, last, found := strings.Cut(strings.TrimSpace(set), "-")
	if !found {
		return span{}, false, nil
	}
	if first == "" { // the last n bytes
		n, valid := position(last)
		switch {
		case !valid:
			return span{}, false, nil
		case n == 0 || size == 0:
			return span{}, false, rangeError(size)
		}
		n = min(n, size)
		return span{size - n, n}, true, nil
	}
	from, valid := position(first)
	if !valid {
		return span{}, false, nil
	}
	to := size - 1
	if last != "" {
		if to, valid = position(last); !valid || to < from {
			return span{}, false, nil
		}
	}
	if from >= size {
		return span{}, false, rangeError(size)
	}
	to = min(to, size-1)
	return span{from, to - from + 1}, true, nil
}

// position reads digits; a number too large to be held lies behind every file.
func position(s string) (n int64, ok bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}

func rangeError(size int64) error {
	return problem.New(problem.Invalid, server.RuleRange, "the range asked for lies behind the end of the file").
		With(factSize, "%d", size)
}

// rangeApplies evaluates If-Range (RFC 9110 §13.1.5).
func rangeApplies(ifRange, etag string, modified time.Time) bool {
	if ifRange == "" || ifRange == etag {
		return true
	}
	if strings.Contains(ifRange, `"`) {
		return false
	}
	t, err := http.ParseTime(ifRange)
	return err == nil && modified.Truncate(time.Second).Equal(t)
}

// acceptsGzip reports whether an Accept-Encoding header (RFC 9110 §12.5.3)
// takes gzip.
func acceptsGzip(header string) bool {
	if header == "gzip" { // Go's clients, and so Helm, send this
		return true
	}
	named, wild := -1.0, -1.0
	for part := range strings.SplitSeq(header, ",") {
		name, q := weighted(part)
		switch {
		case strings.EqualFold(name, "gzip") || strings.EqualFold(name, "x-gzip"):
			named = max(named, q)
		case name == "*":
			wild = max(wild, q)
		}
	}
	if named >= 0 {
		return named > 0
	}
	return wild > 0
}

// prefersYAML reports whether an Accept header (RFC 9110 §12.5.1) asks for
// YAML by name and does not like JSON at least as well. Wildcards ask for
// nothing in particular.
func prefersYAML(header string) bool {
	if !strings.Contains(header, "yaml") {
		return false
	}
	yaml, json := 0.0, 0.0
	for part := range strings.SplitSeq(header, ",") {
		switch name, q := weighted(part); strings.ToLower(name) {
		case "application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "text/vnd.yaml":
			yaml = max(yaml, q)
		case "application/json", "text/json":
			json = max(json, q)
		}
	}
	return yaml > json
}

// weighted splits one element of a negotiation header into its name and its
// weight, which is 1 when it is not given and 0 when it cannot be read.
func weighted(part string) (name string, q float64) {
	name, params, _ := strings.Cut(part, ";")
	q = 1
	for p := range strings.SplitSeq(params, ";") {
		if v, ok := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(p), " ", ""), "q="); ok {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil || !(f >= 0 && f <= 1) {
				f = 0
			}
			q = f
		}
	}
	return strings.TrimSpace(name), q
}
