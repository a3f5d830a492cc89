package deployment

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"

	"sigs.k8s.io/yaml"

	"github.com/chartkeep/chartkeep/internal/chart"
)

// Print is what of a chart can be compared between Helm's storage and an
// archive. Helm stores templates, files and schema byte for byte, the metadata
// and the lock as it parsed them, and the default values as they were after it
// had worked with them. It stores nothing of sub-charts.
//
// The fingerprint covers the first five parts. What Helm changes when it
// installs is left out of it: the list of dependencies (Helm drops those that
// are disabled and renames the others), and the build metadata of the version,
// to which Flux appends a digest. Default values are compared key by key,
// since Helm merges those of sub-charts into them, and `helm upgrade
// --reuse-values` those of the release before.
type Print struct {
	// Fingerprint is "v1:sha256:" and the SHA-256 in hex of the text
	//
	//	chartkeep storage fingerprint v1
	//	templates <digest>
	//	files <digest>
	//	schema <digest>
	//	metadata <digest>
	//	lock <digest>
	//
	// with a line feed at each end.
	Fingerprint string `json:"fingerprint"`
	// Parts are those digests: SHA-256 in hex of one line "<SHA-256 of the
	// content> <path>" for each template or file in the order of bytes; of the
	// schema's bytes; of the metadata as canonical JSON; of the lock's digest
	// and dependencies as JSON.
	Parts map[string]string `json:"parts"`
	// Defaults has, for each key at the top of the default values, the first
	// 32 hex digits of the SHA-256 of its value as JSON, without null values
	// and with secrets masked. It is nil when the values could not be read.
	Defaults map[string]string `json:"defaults"`
	// Set are the keys at the top of the values that people gave for a stored
	// release.
	Set []string `json:"set,omitempty"`
	// Merged are the keys whose default values Helm may have merged with
	// those of sub-charts; "*" means every key.
	Merged []string `json:"merged,omitempty"`
}

const allKeys = "*"

// Limits of what is compared. Larger values are not compared.
const maxDefaults = 1 << 20 // bytes of values.yaml

var utf8BOM = []byte("\xef\xbb\xbf")

// FingerprintArchive returns the fingerprint of a chart archive, which is that
// of every release that Helm stored of it. Errors are those of chart.Open.
// Cost: that of chart.Open.
func FingerprintArchive(archive []byte) (string, error) {
	p, _, err := PrintArchive(bytes.NewReader(archive), chart.DefaultLimits())
	return p.Fingerprint, err
}

// PrintArchive reads a chart archive within limits and returns what can be
// compared, and the archive as chart.Open returns it. Errors are those of
// chart.Open. Cost: that of chart.Open, and of parsing values.yaml.
func PrintArchive(r io.Reader, lim chart.Limits) (Print, chart.Archive, error) {
	var c contents
	a, err := chart.OpenEach(r, lim, c.take)
	if err != nil {
		return Print{}, chart.Archive{}, err
	}
	c.metadata = a.Metadata
	if a.Metadata.APIVersion != "v1" { // Helm keeps these two only of old charts
		c.files.drop("requirements.yaml")
		c.files.drop("requirements.lock")
	}
	for _, d := range a.Metadata.Dependencies {
		c.merged = append(c.merged, mergedKeys(d)...)
	}
	return c.print(), a, nil
}

// contents collects what a print is made of.
type contents struct {
	templates, files lines
	schema           []byte
	metadata         chart.Metadata
	lock             *lock
	defaults         map[string]any // nil when unknown
	merged           []string
}

// take sorts a file of an archive as Helm's loader does.
func (c *contents) take(path string, content []byte) {
	content = bytes.TrimPrefix(content, utf8BOM)
	switch {
	case path == "Chart.yaml":
	case path == "Chart.lock", path == "requirements.lock":
		c.lock = nil
		if len(content) <= chart.MaxChartYAML {
			if err := yaml.Unmarshal(content, &c.lock); err != nil {
				c.lock = nil // Helm cannot load such a chart
			}
		}
		if path == "requirements.lock" {
			c.files.add(path, content)
		}
	case path == "values.yaml":
		c.values(content)
	case path == "values.schema.json":
		c.schema = content
	case strings.HasPrefix(path, "templates/"):
		c.templates.add(path, content)
	case strings.HasPrefix(path, "charts/") && !strings.HasSuffix(path, ".prov"):
	default:
		c.files.add(path, content)
	}
}

// values reads values.yaml as Helm does: documents one after another, the
// later over the earlier. Helm 3 reads the first alone, so that nothing can be
// told when there are several.
func (c *contents) values(text []byte) {
	if len(text) > maxDefaults {
		return
	}
	c.defaults = map[string]any{}
	docs := 0
	for doc := range documents(text) {
		var m map[string]any
		if err := yaml.Unmarshal(doc, &m); err != nil {
			c.defaults = nil // Helm cannot load such a chart
			return
		}
		if len(m) == 0 {
			continue
		}
		if docs++; docs > 1 {
			c.merged = append(c.merged, allKeys)
		}
		c.defaults = overlay(c.defaults, m)
	}
}

// documents splits a text at its lines of ---, as Helm 4 does.
func documents(text []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		r := bufio.NewReader(bytes.NewReader(text))
		var doc []byte
		for {
			line, err := r.ReadBytes('\n')
			if bytes.HasPrefix(line, []byte("---")) && len(bytes.TrimRightFunc(line[3:], unicode.IsSpace)) == 0 {
				if len(doc) > 0 && !yield(doc) {
					return
				}
				doc = nil
			} else {
				doc = append(doc, line...)
			}
			if errors.Is(err, io.EOF) {
				break
			}
		}
		if len(doc) > 0 {
			yield(doc)
		}
	}
}

// overlay merges b over a.
func overlay(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range b {
		if inner, ok := v.(map[string]any); ok {
			if old, ok := out[k].(map[string]any); ok {
				out[k] = overlay(old, inner)
				continue
			}
		}
		out[k] = v
	}
	return out
}

// mergedKeys are the keys that a dependency's values may reach.
func mergedKeys(d chart.Dependency) []string {
	keys := []string{"global", d.Name}
	if d.Alias != "" {
		keys[1] = d.Alias
	}
	for _, v := range d.ImportValues {
		m, _ := v.(map[string]any)
		parent, _ := m["parent"].(string)
		if key, _, _ := strings.Cut(parent, "."); key != "" {
			keys = append(keys, key)
		} else {
			keys = append(keys, allKeys)
		}
	}
	return keys
}

// lines are the lines of a list of files.
type lines map[string]string

func (l *lines) add(path string, content []byte) {
	if *l == nil {
		*l = lines{}
	}
	sum := sha256.Sum256(content)
	(*l)[path] = hex.EncodeToString(sum[:])
}

func (l lines) drop(path string) { delete(l, path) }

func (l lines) digest() string {
	all := make([]string, 0, len(l))
	for path, sum := range l {
		all = append(all, sum+" "+path+"\n")
	}
	slices.Sort(all)
	h := sha256.New()
	for _, line := range all {
		h.Write([]byte(line))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// lock is what is read of a Chart.lock.
type lock struct {
	Digest       string           `json:"digest"`
	Dependencies []lockDependency `json:"dependencies"`
}

type lockDependency struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	Repository string `json:"repository"`
}

func (c *contents) print() Print {
	p := Print{Parts: map[string]string{
		"templates": c.templates.digest(),
		"files":     c.files.digest(),
		"schema":    sum(c.schema),
		"metadata":  sum(canonicalMetadata(c.metadata)),
		"lock":      sum(nil),
	}}
	if c.lock != nil {
		l := *c.lock
		if len(l.Dependencies) == 0 {
			l.Dependencies = nil
		}
		b, _ := json.Marshal(l) // texts alone
		p.Parts["lock"] = sum(b)
	}
	var text strings.Builder
	text.WriteString("chartkeep storage fingerprint v1\n")
	for _, part := range partNames {
		fmt.Fprintf(&text, "%s %s\n", part, p.Parts[part])
	}
	p.Fingerprint = "v1:sha256:" + sum([]byte(text.String()))
	if c.defaults != nil {
		p.Defaults = digests(c.defaults)
	}
	slices.Sort(c.merged)
	p.Merged = slices.Compact(c.merged)
	return p
}

var partNames = []string{"templates", "files", "schema", "metadata", "lock"}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// canonicalMetadata is the metadata as far as Helm keeps it unchanged.
func canonicalMetadata(m chart.Metadata) []byte {
	m.Dependencies, m.Engine, m.TillerVersion = nil, "", ""
	if key, _ := chart.LenientVersion(m.Version); key != "" {
		m.Version = key
	}
	// Helm takes characters that cannot be printed out of most fields, from
	// one of its versions on. Here they are taken out of all.
	var v any
	if err := json.Unmarshal(m.JSON(), &v); err != nil {
		return nil // not reached: m.JSON is JSON
	}
	b, _ := json.Marshal(printable(v))
	return b
}

func printable(v any) any {
	switch v := v.(type) {
	case string:
		return strings.Map(func(r rune) rune {
			switch {
			case unicode.IsSpace(r):
				return ' '
			case unicode.IsPrint(r):
				return r
			}
			return -1
		}, v)
	case []any:
		for i := range v {
			v[i] = printable(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = printable(v[k])
		}
	}
	return v
}

// digests are the digests of default values by their top-level keys.
func digests(values map[string]any) map[string]string {
	out := make(map[string]string, len(values))
	for key, v := range Mask(values) {
		if v = withoutNull(v); v == nil {
			continue
		}
		b, err := json.Marshal(v)
		if err != nil {
			continue // values come from JSON
		}
		out[key] = sum(b)[:32]
	}
	return out
}

func withoutNull(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := make(map[string]any, len(m))
	for k, item := range m {
		if item = withoutNull(item); item != nil {
			out[k] = item
		}
	}
	return out
}

// Comparison is what two prints have in common.
type Comparison struct {
	// Same says that templates, files, schema, metadata and lock are the same.
	Same bool `json:"same"`
	// Parts are those that differ.
	Parts []string `json:"parts,omitempty"`
	// Defaults are the keys of the default values that differ.
	Defaults []string `json:"defaults,omitempty"`
	// Untold are the keys of the default values that could not be compared,
	// since Helm stores them merged with those of sub-charts; "*" for all.
	Untold []string `json:"untold,omitempty"`
}

// Compare compares what Helm stored with an archive. Cost: linear in keys.
func Compare(stored, archive Print) Comparison {
	c := Comparison{Same: stored.Fingerprint == archive.Fingerprint}
	for _, part := range partNames {
		if stored.Parts[part] != archive.Parts[part] {
			c.Parts = append(c.Parts, part)
		}
	}
	if stored.Defaults == nil || archive.Defaults == nil {
		c.Untold = []string{allKeys}
		return c
	}
	all := slices.Contains(stored.Merged, allKeys) || slices.Contains(archive.Merged, allKeys)
	for _, key := range union(stored.Defaults, archive.Defaults) {
		switch {
		case stored.Defaults[key] == archive.Defaults[key]:
		case all:
			c.Untold = []string{allKeys}
		case slices.Contains(stored.Merged, key) || slices.Contains(archive.Merged, key):
			c.Untold = append(c.Untold, key)
		default:
			c.Defaults = append(c.Defaults, key)
		}
	}
	return c
}

// Confirm adds to a match by fingerprint what the default values say: with
// other templates the fingerprint differs, with another values.yaml alone it
// does not. archive is the print of the matched archive.
func (m Match) Confirm(stored, archive Print) Match {
	c := Compare(stored, archive)
	switch {
	case !c.Same:
		return m
	case len(c.Defaults) > 0:
		m.Confidence = Strong
		m.How = "templates, files and metadata are those of this archive, default values differ in " + strings.Join(c.Defaults[:min(len(c.Defaults), 5)], ", ")
		for _, key := range c.Defaults {
			if !slices.Contains(stored.Set, key) {
				m.Differs = true
				m.How += "; another values.yaml, or an upgrade with --reuse-values from a chart with other ones"
				return m
			}
		}
		m.How += ", which were set for the release; an upgrade with --reuse-values does that"
	case slices.Contains(c.Untold, allKeys):
		m.How = "templates, files and metadata are those of this archive; default values cannot be compared"
	case len(c.Untold) > 0:
		m.How = "templates, files, metadata and default values are those of this archive, but for the values of sub-charts, which cannot be told"
	default:
		m.How = "templates, files, metadata and default values are those of this archive"
	}
	return m
}

// union returns the keys of two maps, sorted.
func union[V any](a, b map[string]V) []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(all)
	return slices.Compact(all)
}
