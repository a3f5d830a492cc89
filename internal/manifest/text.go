package manifest

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/chartkeep/chartkeep/internal/chart"
)

// ObjectDiff is how the text of one object differs between two renderings.
type ObjectDiff struct {
	Object string `json:"object"` // its ID; of a changed one, that of the new
	Change string `json:"change"` // added, removed or changed
	Source string `json:"source"` // the template
	// Text has the lines that differ as diff -u writes them, without its head.
	// It is the object as YAML with sorted keys, without what changes with every
	// version of a chart and does nothing. Secrets are masked.
	Text    string `json:"text"`
	Added   int    `json:"added"`   // lines
	Removed int    `json:"removed"` // likewise
	Cut     bool   `json:"cut"`     // Text has not all of them
}

// Bounds of the text that a comparison holds.
const (
	maxObjectLines = 400  // of one object; those of new and removed ones are half
	maxAllLines    = 6000 // of all
)

// textDiffs are the differences of the objects that were paired, in their
// order, and how many objects do not differ.
func textDiffs(pairs []pair) (out []ObjectDiff, same int) {
	out = []ObjectDiff{}
	d := lineDiffer{work: maxDiffWork}
	left := maxAllLines
	for _, p := range pairs {
		masks := secretMasks{}
		var old, new []string
		diff := ObjectDiff{Change: "changed"}
		if p.new == nil {
			diff.Change = "removed"
		} else {
			diff.Object, diff.Source = oneLine(p.new.ID()), oneLine(p.new.Source)
		}
		if p.old != nil {
			if p.new != nil && len(p.changes) == 0 {
				same++
				continue
			}
			if p.new == nil {
				diff.Object, diff.Source = oneLine(p.old.ID()), oneLine(p.old.Source)
			}
			old = objectLines(*p.old, &masks)
		} else {
			diff.Change = "added"
		}
		if p.new != nil {
			new = objectLines(*p.new, &masks)
		}
		edits := d.lines(old, new)
		for _, e := range edits {
			switch e.kind {
			case '+':
				diff.Added++
			case '-':
				diff.Removed++
			}
		}
		most := maxObjectLines
		if diff.Change != "changed" {
			most /= 2
		}
		diff.Text, diff.Cut = unified(edits, min(most, left))
		left -= strings.Count(diff.Text, "\n")
		out = append(out, diff)
	}
	return out, same
}

// objectLines are the lines of an object as YAML.
func objectLines(o Object, masks *secretMasks) []string {
	w := yamlLines{masks: masks, secret: o.Kind == "Secret" && o.Group == "", exact: exactPath(o)}
	w.table("", "", o.Fields)
	return w.lines
}

// yamlLines writes a value as lines of block YAML with sorted keys.
type yamlLines struct {
	lines  []string
	masks  *secretMasks // nil shows all, noise too
	secret bool         // the object is a Secret
	exact  string       // see exactPath
}

func (w *yamlLines) table(indent, path string, m map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		at := join(path, k)
		if w.masks != nil && isNoise(path, k, w.exact) {
			continue
		}
		w.value(indent, indent+yamlText(k)+":", at, w.hidden(path, k, m), m[k])
	}
}

// hidden reports whether what stands under a key of a table is a secret by the
// names around it.
func (w *yamlLines) hidden(path, k string, m map[string]any) bool {
	if w.masks == nil {
		return false
	}
	text, ok := m[k].(string)
	switch {
	case !ok:
		return false
	case w.secret && (path == "data" || path == "stringData"):
		return true
	case k == "value" && isSecretName(str(m, "name")):
		return isLiteral(text)
	}
	return isSecretName(k) && isLiteral(text)
}

// value writes one value behind a head, which is "key:" or "-".
func (w *yamlLines) value(indent, head, path string, hidden bool, v any) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			w.lines = append(w.lines, head+" {}")
			return
		}
		first := len(w.lines)
		if strings.HasSuffix(head, "-") {
			w.table(indent+"  ", path, v)
			if len(w.lines) > first {
				w.lines[first] = head + w.lines[first][len(head):]
			}
			return
		}
		w.lines = append(w.lines, head)
		w.table(indent+"  ", path, v)
	case []any:
		if len(v) == 0 {
			w.lines = append(w.lines, head+" []")
			return
		}
		w.lines = append(w.lines, head)
		below := indent
		if strings.HasSuffix(head, "-") {
			below = indent + "  "
		}
		for i, e := range v {
			w.value(below, below+"-", path+"["+strconv.Itoa(i)+"]", false, e)
		}
	case string:
		if w.masks != nil {
			v = w.masks.mask(path, hidden, v)
		}
		w.text(indent, head, v)
	case nil:
		w.lines = append(w.lines, head+" null")
	default:
		w.lines = append(w.lines, head+" "+scalar(v))
	}
}

// text writes a text, of several lines as a block where YAML can.
func (w *yamlLines) text(indent, head, s string) {
	if !strings.Contains(s, "\n") || !blockText(s) {
		w.lines = append(w.lines, head+" "+yamlText(s))
		return
	}
	body := strings.TrimRight(s, "\n")
	chomp := "-"
	switch len(s) - len(body) {
	case 0:
	case 1:
		chomp = ""
	default:
		chomp = "+"
	}
	w.lines = append(w.lines, head+" |"+chomp)
	if chomp == "+" {
		body = strings.TrimSuffix(s, "\n")
	}
	for l := range strings.SplitSeq(body, "\n") {
		if l != "" {
			l = indent + "  " + l
		}
		w.lines = append(w.lines, l)
	}
}

// blockText reports whether a text can stand as a block: its first line has no
// space in front, and all of it can be printed.
func blockText(s string) bool {
	if s[0] == ' ' || s[0] == '\n' || s[0] == '\t' {
		return false
	}
	for _, r := range s {
		if r != '\n' && r != '\t' && (r < ' ' || r == 0x7f || r >= 0x80 && r <= 0x9f || r == 0x2028 || r == 0x2029 || r == 0xfeff || r >= 0xfffd && r <= 0xffff) {
			return false
		}
	}
	return true
}

// notScalar is taken by a reader of YAML for something else than a text.
var notScalar = regexp.MustCompile(`^(?i:y|n|yes|no|on|off|true|false|null|nan|inf)$`)

// yamlText is a text as YAML: plain words as they are, others in quotes.
func yamlText(s string) string {
	plain := s != "" && (isLetter(s[0]) || s[0] == '/' || s[0] == '_')
	for i := 1; i < len(s) && plain; i++ {
		c := s[i]
		switch {
		case isLetter(c), '0' <= c && c <= '9', strings.IndexByte("_./+=()@-", c) >= 0:
		case c == ':':
			plain = i+1 < len(s) && s[i+1] != ' '
		case c == ' ':
			plain = i+1 < len(s) && s[i+1] != ' '
		default:
			plain = false
		}
	}
	if plain && (len(s) > 5 || !notScalar.MatchString(s)) {
		return s
	}
	return string(chart.AppendString(nil, s))
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// secretMasks masks secrets in the texts of the two states of one object, so
// that a secret that changed is seen to.
type secretMasks struct{ was map[string]string }

const hiddenSecret = "(secret)"

func (m *secretMasks) mask(path string, hidden bool, s string) string {
	switch {
	case s == Masked:
		return s
	case hidden:
		return m.instead(path, s)
	case len(s) > 256<<10:
		return m.instead(path, s) // too long to look for secrets in it
	}
	if flag := imageFlag.FindStringSubmatch(s); flag != nil && isSecretName(flag[1]) && isLiteral(flag[2]) {
		return s[:len(s)-len(flag[2])] + m.instead(path, flag[2])
	}
	if strings.Contains(s, "://") {
		s = replaceGroup(urlCredential, 1, s, func(secret string) string { return m.instead(path, secret) })
	}
	if strings.ContainsAny(s, ":=") && mentionsSecret(s) {
		n := 0
		s = replaceLine(s, func(name, secret string) string {
			n++
			if !isSecretName(name) || !isLiteral(secret) {
				return secret
			}
			return m.instead(path+"\x00"+name+strconv.Itoa(n), secret)
		})
	}
	return s
}

// instead is what is shown in place of a secret.
func (m *secretMasks) instead(path, secret string) string {
	if m.was == nil {
		m.was = map[string]string{}
	}
	if was, known := m.was[path]; known && was != secret {
		return "(another secret)"
	}
	m.was[path] = secret
	return hiddenSecret
}

// replaceGroup replaces what a group of an expression matches.
func replaceGroup(re *regexp.Regexp, group int, s string, by func(string) string) string {
	var out strings.Builder
	end := 0
	for _, m := range re.FindAllStringSubmatchIndex(s, -1) {
		out.WriteString(s[end:m[2*group]])
		out.WriteString(by(s[m[2*group]:m[2*group+1]]))
		end = m[2*group+1]
	}
	return out.String() + s[end:]
}

// replaceLine replaces the values of lines that give one to a name.
func replaceLine(s string, by func(name, value string) string) string {
	var out strings.Builder
	end := 0
	for _, m := range secretLine.FindAllStringSubmatchIndex(s, -1) {
		out.WriteString(s[end:m[4]])
		out.WriteString(by(s[m[2]:m[3]], s[m[4]:m[5]]))
		end = m[5]
	}
	return out.String() + s[end:]
}
