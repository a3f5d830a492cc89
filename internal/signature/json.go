package signature

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/chartkeep/chartkeep/internal/problem"
)

const ruleBundle = "signature-bundle"

// maxDepth is how deep JSON may be nested.
const maxDepth = 32

func badBundle(format string, args ...any) *problem.Error {
	return problem.New(problem.Invalid, ruleBundle, "this is not a sigstore bundle: "+format, args...)
}

// object is a JSON object whose fields are taken out one by one. What nobody
// took is a fault, so that no other reader sees what this one did not.
type object struct {
	fields map[string]any
	fault  *string // the first one of the whole document
	where  string
}

// readObject reads one JSON object in which no name stands twice, not even in
// another case.
func readObject(b []byte) (object, error) {
	fault := ""
	o := object{fault: &fault}
	if !utf8.Valid(b) {
		return o, badBundle("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := readValue(d, 0)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = badBundle("something follows its end")
		}
	}
	if err != nil {
		if _, ok := problem.As(err); !ok {
			err = badBundle("it is not JSON")
		}
		return o, err
	}
	var ok bool
	if o.fields, ok = v.(map[string]any); !ok {
		return o, badBundle("it is no JSON object")
	}
	return o, nil
}

func readValue(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, badBundle("it is nested too deeply")
	}
	tok, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		m, seen := map[string]any{}, map[string]bool{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			key := name.(string) // the decoder takes nothing else here
			folded := strings.ToLower(key)
			if seen[folded] {
				return nil, badBundle("the name %.60q stands twice in one object", key)
			}
			seen[folded] = true
			v, err := readValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			if v != nil { // null is like absent
				m[key] = v
			}
		}
		_, err := d.Token()
		return m, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := readValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	return tok, nil
}

func (o object) fail(name, want string) {
	if *o.fault == "" {
		*o.fault = "its " + o.where + name + " is no " + want
	}
}

// take removes a field; nil when it is absent.
func (o object) take(name string) any {
	v := o.fields[name]
	delete(o.fields, name)
	return v
}

func (o object) has(name string) bool { return o.fields[name] != nil }

// text takes a string; "" when it is absent.
func (o object) text(name string) string {
	v := o.take(name)
	s, ok := v.(string)
	if !ok && v != nil {
		o.fail(name, "text")
	}
	return s
}

// bytes takes a string of standard Base 64 that is not empty.
func (o object) bytes(name string) []byte {
	b, err := base64.StdEncoding.Strict().DecodeString(o.text(name))
	if err != nil || len(b) == 0 {
		o.fail(name, "Base 64")
	}
	return b
}

// object takes an object; an empty one when it is absent.
func (o object) object(name string) object {
	v := o.take(name)
	m, ok := v.(map[string]any)
	if !ok {
		o.fail(name, "object")
		m = map[string]any{}
	}
	return object{m, o.fault, o.where + name + "."}
}

// list takes a list of objects; absent is empty.
func (o object) list(name string) []object {
	v := o.take(name)
	list, ok := v.([]any)
	if !ok && v != nil {
		o.fail(name, "list")
	}
	var out []object
	for _, x := range list {
		m, ok := x.(map[string]any)
		if !ok {
			o.fail(name, "list of objects")
			return nil
		}
		out = append(out, object{m, o.fault, o.where + name + "."})
	}
	return out
}

// end makes sure that all was taken.
func (o object) end() {
	for name := range o.fields {
		if *o.fault == "" {
			*o.fault = "it has the field " + o.where + cut(name) + ", which is not known"
		}
	}
}

func cut(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}

// err is the first fault of the document.
func (o object) err() error {
	if *o.fault == "" {
		return nil
	}
	return badBundle("%s", *o.fault)
}
