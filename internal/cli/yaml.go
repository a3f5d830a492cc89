package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// yamlOf writes JSON as block-style YAML 1.2 that YAML 1.1 readers read alike,
// with keys in the same order. Strings stay JSON strings, which YAML has too,
// unless they are plain words that no reader takes for anything else.
func yamlOf(text []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	w := yamlWriter{dec: dec}
	if err := w.value(0, false); err != nil {
		return nil, fmt.Errorf("encode YAML: %w", err)
	}
	return w.out.Bytes(), nil
}

type yamlWriter struct {
	dec *json.Decoder
	out bytes.Buffer
}

// value writes the next value. The cursor stands behind "key:" or "-", or at
// the start; inItem says that the first key of a mapping follows a "-".
func (w *yamlWriter) value(depth int, inItem bool) error {
	t, err := w.dec.Token()
	if err != nil {
		return err
	}
	switch t := t.(type) {
	case json.Delim:
		if !w.dec.More() {
			w.out.WriteString(map[json.Delim]string{'{': " {}\n", '[': " []\n"}[t])
		} else if t == '{' {
			err = w.mapping(depth, inItem)
		} else {
			err = w.sequence(depth)
		}
		if err != nil {
			return err
		}
		_, err = w.dec.Token() // the end
		return err
	case string:
		w.out.WriteString(" " + yamlString(t) + "\n")
	case nil:
		w.out.WriteString(" null\n")
	default: // bool, json.Number
		fmt.Fprintf(&w.out, " %v\n", t)
	}
	return nil
}

func (w *yamlWriter) mapping(depth int, inItem bool) error {
	indent := strings.Repeat("  ", depth)
	for first := true; w.dec.More(); first = false {
		t, err := w.dec.Token()
		if err != nil {
			return err
		}
		key := yamlString(t.(string))
		if len(key) > maxImplicitKey {
			key = "? " + key + "\n" + indent
		}
		switch {
		case first && inItem:
			w.out.WriteString(" " + key + ":")
		case first && depth > 0:
			w.out.WriteString("\n" + indent + key + ":")
		default:
			w.out.WriteString(indent + key + ":")
		}
		if err := w.value(depth+1, false); err != nil {
			return err
		}
	}
	return nil
}

func (w *yamlWriter) sequence(depth int) error {
	indent := strings.Repeat("  ", depth)
	w.out.WriteString("\n")
	for w.dec.More() {
		w.out.WriteString(indent + "-")
		if err := w.value(depth+1, true); err != nil {
			return err
		}
	}
	return nil
}

// maxImplicitKey is how long a key may be for a reader to find its ":" behind
// it (1024 by YAML 1.2.2 §7.4.2); a longer one is announced by "?".
const maxImplicitKey = 1000

// plain are words that need no quotes.
var plain = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./+-]*( [A-Za-z0-9_./+(][A-Za-z0-9_./+()-]*)*$`)

// yamlString is a string as YAML, with everything escaped that JSON escapes
// and that could steer a terminal.
func yamlString(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf":
	default:
		if plain.MatchString(s) {
			return s
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string is always encoded
	return string(escapeJSON(bytes.TrimSuffix(b.Bytes(), []byte("\n"))))
}
