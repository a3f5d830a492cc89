package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"
)

// entry is what is read of an entry in JSON.
type entry struct {
	Name       string          `json:"name"`
	Version    string          `json:"version"`
	Digest     string          `json:"digest"`
	Created    json.RawMessage `json:"created"`
	AppVersion string          `json:"appVersion"`
	Deprecated bool            `json:"deprecated"`
	URLs       []string        `json:"urls"`
}

// jsonReader reads an index entry by entry, so that it holds one at a time.
type jsonReader struct {
	*builder
	dec *json.Decoder
}

// parseJSON reads an index in JSON; not ok when the bytes are not JSON. Field
// names match in any case, as in Helm.
func parseJSON(text []byte, lim Limits) (x Index, err error, ok bool) {
	r := &jsonReader{newBuilder(lim), json.NewDecoder(bytes.NewReader(text))}
	err = r.object(r.top)
	if err == nil {
		if _, err = r.dec.Token(); err == io.EOF {
			x, err = r.done()
			return x, err, true
		}
		return Index{}, nil, false // something follows
	}
	if r.err != nil {
		return Index{}, r.err, true
	}
	if _, wrong := errors.AsType[*json.UnmarshalTypeError](err); wrong && json.Valid(text) {
		return Index{}, invalid("this is not an index: a field has the wrong type").Because(err), true
	}
	return Index{}, nil, false
}

var errStop = errors.New("stop")

// object reads an object and hands each of its keys to a function, which reads
// the value. A null is an object without keys.
func (r *jsonReader) object(each func(key string) error) error {
	t, err := r.dec.Token()
	if err != nil || t == nil {
		return err
	}
	if t != json.Delim('{') {
		r.fail(invalid("this is not an index: a list or a text stands where a mapping belongs"))
		return errStop
	}
	for r.dec.More() {
		t, err := r.dec.Token()
		if err != nil {
			return err
		}
		if err := each(t.(string)); err != nil {
			return err
		}
	}
	_, err = r.dec.Token()
	return err
}

func (r *jsonReader) top(key string) error {
	switch {
	case strings.EqualFold(key, "apiVersion"):
		var s string
		if err := r.dec.Decode(&s); err != nil {
			return err
		}
		if r.api {
			r.fail(invalid("the index has its apiVersion twice"))
			return errStop
		}
		r.api = s != ""
	case strings.EqualFold(key, "entries"):
		if r.listed {
			r.fail(invalid("the index has its entries twice"))
			return errStop
		}
		r.listed = true
		return r.object(r.chartOf)
	case strings.EqualFold(key, "generated"):
		var raw json.RawMessage
		if err := r.dec.Decode(&raw); err != nil {
			return err
		}
		if !r.stamp(raw, &r.index.Generated) {
			return errStop
		}
	default:
		var skipped json.RawMessage
		return r.dec.Decode(&skipped)
	}
	return nil
}

func (r *jsonReader) chartOf(name string) error {
	if !r.chart(name) {
		return errStop
	}
	t, err := r.dec.Token()
	if err != nil || t == nil {
		return err
	}
	if t != json.Delim('[') {
		r.fail(invalid("this is not an index: the chart %.100q has no list of versions", name))
		return errStop
	}
	for r.dec.More() {
		var e entry
		if err := r.dec.Decode(&e); err != nil {
			return err
		}
		v := Version{Version: e.Version, Digest: e.Digest, AppVersion: e.AppVersion, Deprecated: e.Deprecated, URLs: e.URLs}
		if !r.stamp(e.Created, &v.Created) || !r.version(v, e.Name != "") {
			return errStop
		}
		r.open = false // JSON that is cut off is no JSON
	}
	_, err = r.dec.Token()
	return err
}

// stamp reads a time; null is none.
func (r *jsonReader) stamp(raw json.RawMessage, to *time.Time) (ok bool) {
	if len(raw) == 0 || string(raw) == "null" {
		return true
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return r.fail(invalid("the index has a time that is not a text"))
	}
	*to, ok = r.time([]byte(s))
	return ok
}
