package upstream

import (
	"encoding/json"
	"time"
)

// jsonReader reads an index in JSON in one pass. It checks the form of all that
// it skips, and allocates nothing but what is kept. Where one of its functions
// returns false, either err says what is wrong with the index, or the text is
// no JSON.
type jsonReader struct {
	*builder
	jsonText
	urlBuf []string
}

// parseJSON reads an index in JSON; not ok when the bytes are not JSON. It reads
// what encoding/json reads, and so Helm: the names of fields match in any case,
// a null is a field that is not there, and U+FFFD stands for what is no UTF-8.
// Cost: linear, and no memory but that of the Index.
func parseJSON(text []byte, lim Limits) (x Index, err error, ok bool) {
	r := &jsonReader{builder: newBuilder(lim), jsonText: jsonText{in: text}}
	met := uint(0)
	if r.object(func(key quoted) bool { return r.top(key, &met) }) && r.end() {
		r.open = false // JSON that is cut off is no JSON
		x, err = r.done()
		return x, err, true
	}
	if r.err == nil || !json.Valid(text) { // behind a fault, too, may stand what is no JSON
		return Index{}, nil, false
	}
	return Index{}, r.err, true
}

// object reads an object and hands each of its keys to a function, which reads
// the value. A null is an object without keys.
func (r *jsonReader) object(each func(key quoted) bool) bool {
	switch r.next() {
	case '{':
		return r.members(each)
	case 'n':
		return r.word("null")
	}
	return r.fail(invalid("this is not an index: a list or a text stands where a mapping belongs"))
}

// named finds the field that a key names, "" for none, and refuses one that was
// met before.
func (r *jsonReader) named(key quoted, names []string, met *uint) (name string, ok bool) {
	i := key.among(names)
	if i < 0 {
		return "", true
	}
	if *met&(1<<i) != 0 {
		return "", r.fail(invalid("the index has the field %s twice in one mapping", names[i]))
	}
	*met |= 1 << i
	return names[i], true
}

var topNames = []string{"apiVersion", "entries", "generated"}

func (r *jsonReader) top(key quoted, met *uint) bool {
	name, ok := r.named(key, topNames, met)
	if !ok {
		return false
	}
	switch name {
	case "apiVersion":
		s, ok := r.text(name)
		r.api = len(s) > 0
		return ok
	case "entries":
		r.listed = true
		return r.object(r.chartOf)
	case "generated":
		return r.stamp(name, &r.index.Generated)
	}
	return r.value()
}

func (r *jsonReader) chartOf(key quoted) bool {
	b, ok := r.decode(key)
	if !ok {
		return false
	}
	name := r.keep(b)
	if !r.chart(name) {
		return false
	}
	switch r.next() {
	case '[':
		return r.elements(r.entry)
	case 'n':
		return r.word("null")
	}
	return r.fail(invalid("this is not an index: the chart %.100q has no list of versions", name))
}

// entry reads one entry and adds it.
func (r *jsonReader) entry() bool {
	var v Version
	hasName, met := false, uint(0)
	r.urlBuf = r.urlBuf[:0]
	ok := r.object(func(key quoted) bool {
		name, ok := r.named(key, fieldNames[:], &met)
		return ok && r.field(name, &v, &hasName)
	})
	v.URLs = r.list(r.urlBuf)
	return ok && r.version(v, hasName)
}

func (r *jsonReader) field(name string, v *Version, hasName *bool) bool {
	switch name {
	case "name":
		b, ok := r.text(name)
		*hasName = len(b) > 0
		return ok
	case "version":
		return r.keepText(name, &v.Version)
	case "digest":
		return r.keepText(name, &v.Digest)
	case "appVersion":
		return r.keepText(name, &v.AppVersion)
	case "created":
		return r.stamp(name, &v.Created)
	case "deprecated":
		return r.boolean(name, &v.Deprecated)
	case "urls":
		return r.links(name)
	}
	return r.value()
}

func (r *jsonReader) links(name string) bool {
	switch r.next() {
	case '[':
		return r.elements(func() bool {
			if len(r.urlBuf) == r.lim.URLs {
				return r.fail(tooLarge("a version in the index has more than %d URLs", r.lim.URLs))
			}
			r.urlBuf = append(r.urlBuf, "")
			return r.keepText(name, &r.urlBuf[len(r.urlBuf)-1])
		})
	case 'n':
		return r.word("null")
	}
	return r.fail(invalid("the index has a field %s that is not a list", name))
}

func (r *jsonReader) boolean(name string, to *bool) bool {
	switch r.next() {
	case 't':
		*to = true
		return r.word("true")
	case 'f':
		return r.word("false")
	case 'n':
		return r.word("null")
	}
	return r.fail(invalid("the index has a field %s that is neither true nor false", name))
}

// stamp reads a time; null is none.
func (r *jsonReader) stamp(name string, to *time.Time) bool {
	b, ok := r.text(name)
	if ok && b != nil {
		*to, ok = r.time(b)
	}
	return ok
}

func (r *jsonReader) keepText(name string, to *string) bool {
	b, ok := r.text(name)
	*to = r.keep(b)
	return ok
}

// text reads a string, nil for a null.
func (r *jsonReader) text(name string) (b []byte, ok bool) {
	switch r.next() {
	case '"':
		if s, ok := r.quoted(); ok {
			return r.decode(s)
		}
		return nil, false
	case 'n':
		return nil, r.word("null")
	}
	return nil, r.fail(invalid("the index has a field %s that is not a text", name))
}

// decode finds what a string says that is wanted. Where that cannot be within
// the limit it does not look, since an escape makes a byte of six.
func (r *jsonReader) decode(s quoted) (b []byte, ok bool) {
	if len(s.raw) <= 2+6*r.lim.Field {
		if b = s.decode(); len(b) <= r.lim.Field {
			return b, true
		}
	}
	return nil, r.fail(tooLarge("the index has a chart name or a field of more than %d bytes", r.lim.Field))
}
