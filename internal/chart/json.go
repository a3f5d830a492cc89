package chart

import (
	"maps"
	"slices"
	"unicode/utf8"
)

// JSON returns the metadata as the JSON object that is the config blob of a
// chart in an OCI registry. It is deterministic: members in the order of the
// fields, empty ones left out as Helm leaves them out, map keys sorted.
func (m Metadata) JSON() []byte {
	b := make([]byte, 0, 512+len(m.Description))
	b = append(b, '{')
	b = m.AppendFields(b)
	return append(b, '}')
}

// AppendFields appends the members of the JSON object, separated by commas
// and without the braces. It appends nothing for the zero Metadata.
func (m Metadata) AppendFields(dst []byte) []byte {
	o := object{dst: dst}
	o.text("name", m.Name)
	o.text("home", m.Home)
	o.texts("sources", m.Sources)
	o.text("version", m.Version)
	o.text("description", m.Description)
	o.texts("keywords", m.Keywords)
	if o.array("maintainers", len(m.Maintainers)) {
		for i, p := range m.Maintainers {
			inner := o.item(i)
			inner.text("name", p.Name)
			inner.text("email", p.Email)
			inner.text("url", p.URL)
			o.dst = append(inner.dst, '}')
		}
		o.dst = append(o.dst, ']')
	}
	o.text("icon", m.Icon)
	o.text("apiVersion", m.APIVersion)
	o.text("condition", m.Condition)
	o.text("tags", m.Tags)
	o.text("appVersion", m.AppVersion)
	o.boolean("deprecated", m.Deprecated)
	if len(m.Annotations) > 0 {
		o.key("annotations")
		o.dst = append(o.dst, '{')
		inner := object{dst: o.dst}
		for _, k := range slices.Sorted(maps.Keys(m.Annotations)) {
			inner.key(k)
			inner.dst = AppendString(inner.dst, m.Annotations[k])
		}
		o.dst = append(inner.dst, '}')
	}
	o.text("kubeVersion", m.KubeVersion)
	if o.array("dependencies", len(m.Dependencies)) {
		for i, p := range m.Dependencies {
			inner := o.item(i)
			p.append(&inner)
			o.dst = append(inner.dst, '}')
		}
		o.dst = append(o.dst, ']')
	}
	o.text("type", m.Type)
	o.text("engine", m.Engine)
	o.text("tillerVersion", m.TillerVersion)
	return o.dst
}

func (p Dependency) append(o *object) {
	o.key("name")
	o.dst = AppendString(o.dst, p.Name)
	o.text("version", p.Version)
	o.key("repository")
	o.dst = AppendString(o.dst, p.Repository)
	o.text("condition", p.Condition)
	o.texts("tags", p.Tags)
	o.boolean("enabled", p.Enabled)
	if o.array("import-values", len(p.ImportValues)) {
		for i, v := range p.ImportValues {
			if i > 0 {
				o.dst = append(o.dst, ',')
			}
			o.dst = appendImportValue(o.dst, v)
		}
		o.dst = append(o.dst, ']')
	}
	o.text("alias", p.Alias)
}

// appendImportValue appends a string or a map of strings. ParseMetadata makes
// no other value; one is written as null.
func appendImportValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return AppendString(dst, v)
	case map[string]any:
		o := object{dst: append(dst, '{')}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			o.key(k)
			o.dst = appendImportValue(o.dst, v[k])
		}
		return append(o.dst, '}')
	}
	return append(dst, "null"...)
}

// object appends the members of one JSON object. Like Helm, text, texts,
// boolean and array leave an empty member out.
type object struct {
	dst   []byte
	comma bool
}

func (o *object) key(name string) {
	if o.comma {
		o.dst = append(o.dst, ',')
	}
	o.comma = true
	o.dst = append(AppendString(o.dst, name), ':')
}

func (o *object) text(name, s string) {
	if s != "" {
		o.key(name)
		o.dst = AppendString(o.dst, s)
	}
}

func (o *object) texts(name string, list []string) {
	if !o.array(name, len(list)) {
		return
	}
	for i, s := range list {
		if i > 0 {
			o.dst = append(o.dst, ',')
		}
		o.dst = AppendString(o.dst, s)
	}
	o.dst = append(o.dst, ']')
}

func (o *object) boolean(name string, b bool) {
	if b {
		o.key(name)
		o.dst = append(o.dst, "true"...)
	}
}

// array opens an array of n items unless n is 0; the caller closes it.
func (o *object) array(name string, n int) bool {
	if n == 0 {
		return false
	}
	o.key(name)
	o.dst = append(o.dst, '[')
	return true
}

// item opens an object as the i-th item of an open array.
func (o *object) item(i int) object {
	dst := o.dst
	if i > 0 {
		dst = append(dst, ',')
	}
	return object{dst: append(dst, '{')}
}

// AppendString appends s as a JSON string that every YAML reader reads as the
// same text: beside what RFC 8259 section 7 demands, it escapes what YAML
// does not count as printable or may take for a line break or a byte order
// mark (U+007F to U+009F, U+2028, U+2029, U+FEFF, U+FFFE, U+FFFF). Invalid
// UTF-8 becomes U+FFFD; ParseMetadata lets none through.
func AppendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		r, size := rune(c), 1
		if c >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
			if !escaped(r) && (r != utf8.RuneError || size > 1) {
				i += size
				continue
			}
		}
		dst = append(dst, s[from:i]...)
		switch r {
		case '"', '\\':
			dst = append(dst, '\\', byte(r))
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		}
		i += size
		from = i
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

func escaped(r rune) bool {
	return r <= 0x9f || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff
}
