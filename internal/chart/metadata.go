package chart

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Metadata is the content of a Chart.yaml, as Helm 3 and 4 read it. The
// fields stand in the order, and the JSON names are the spelling, of Helm's
// own index and OCI config. Engine and TillerVersion are of Helm 2; later
// Helms know them in an index and ignore them.
type Metadata struct {
	Name          string            `json:"name,omitempty"`
	Home          string            `json:"home,omitempty"`
	Sources       []string          `json:"sources,omitempty"`
	Version       string            `json:"version,omitempty"`
	Description   string            `json:"description,omitempty"`
	Keywords      []string          `json:"keywords,omitempty"`
	Maintainers   []Maintainer      `json:"maintainers,omitempty"`
	Icon          string            `json:"icon,omitempty"`
	APIVersion    string            `json:"apiVersion,omitempty"` // v1 or v2
	Condition     string            `json:"condition,omitempty"`
	Tags          string            `json:"tags,omitempty"`
	AppVersion    string            `json:"appVersion,omitempty"`
	Deprecated    bool              `json:"deprecated,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
	KubeVersion   string            `json:"kubeVersion,omitempty"`
	Dependencies  []Dependency      `json:"dependencies,omitempty"` // of a v1 chart, from its requirements.yaml
	Type          string            `json:"type,omitempty"`         // "", application or library
	Engine        string            `json:"engine,omitempty"`
	TillerVersion string            `json:"tillerVersion,omitempty"`
}

// Maintainer is one person or organisation of a chart's maintainers.
type Maintainer struct {
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
	URL   string `json:"url,omitempty"`
}

// Dependency is one chart that a chart depends on. Version may be a range.
type Dependency struct {
	Name       string   `json:"name"`
	Version    string   `json:"version,omitempty"`
	Repository string   `json:"repository"`
	Condition  string   `json:"condition,omitempty"`
	Tags       []string `json:"tags,omitempty"`
	Enabled    bool     `json:"enabled,omitempty"`
	// ImportValues holds strings, and maps (map[string]any) of strings such
	// as child and parent.
	ImportValues []any  `json:"import-values,omitempty"`
	Alias        string `json:"alias,omitempty"`
}

// Limits of a Chart.yaml.
const (
	// MaxChartYAML is the most bytes of a Chart.yaml (and a requirements.yaml).
	// The largest of the 299 real charts at hand has 1,467; annotations with change
	// lists and CRD examples reach tens of thousands. Parsing takes up
	// to about 220 times the size in memory, for texts made to do so.
	MaxChartYAML = 256 << 10
	// MaxKeyLength is the most bytes of a mapping key. YAML readers refuse
	// keys beyond 1,024 characters, escapes included, and with them the index.
	MaxKeyLength = 256

	maxImportNameLength = 250 // bytes; Helm's own limit for a new chart
)

// ParseMetadata reads a Chart.yaml.
//
// The result is what Helm 4 reads from the same bytes, with its quirks: a
// field name matches in any case, an unquoted number or boolean becomes the
// text of its value (appVersion: 1.10 is "1.1"), a missing apiVersion is v1,
// unknown fields are dropped, and characters that cannot be printed are taken
// out of the fields where Helm does so. It refuses what another reader could
// understand differently or what would make Helm reject an index that lists
// the chart: more than one document, keys given twice, values of a wrong
// type, merge keys and explicit tags, names that are no file names, more than
// MaxChartYAML bytes.
//
// A version need not be strict here; Check decides that. Errors are problems
// of kind Invalid or TooLarge with a rule that begins with "chart-yaml", or
// "chart-api-version", "chart-name", "chart-version".
func ParseMetadata(yaml []byte) (Metadata, error) {
	m, _, err := parseMetadata(yaml)
	return m, err
}

func parseMetadata(yaml []byte) (m Metadata, warnings []string, err error) {
	d, err := readYAML("Chart.yaml", "chart-yaml", MaxChartYAML, yaml)
	if err != nil {
		return Metadata{}, nil, err
	}
	d.fields(d.root, "", m.set(d))
	if d.err != nil {
		return Metadata{}, nil, d.err
	}
	m.sanitize()
	switch m.APIVersion {
	case "v1", "v2":
	case "":
		m.APIVersion = "v1"
		warnings = append(warnings, "Chart.yaml has no apiVersion; Helm takes it for v1")
	default:
		return Metadata{}, nil, problem.New(problem.Invalid, "chart-api-version",
			"Chart.yaml has apiVersion %q, and Helm knows v1 and v2", m.APIVersion).
			Suggest("set `apiVersion: v2` in Chart.yaml")
	}
	if err := m.identity(); err != nil {
		return Metadata{}, nil, err
	}
	return m, warnings, nil
}

// identity refuses a name or version that cannot stand in a file name, however
// old the chart is.
func (m Metadata) identity() error {
	switch fault := fileNameFault(m.Name, maxImportNameLength); {
	case m.Name == "":
		return problem.New(problem.Invalid, "chart-name", "Chart.yaml has no name").
			Suggest("set `name` in Chart.yaml")
	case fault != "":
		return problem.New(problem.Invalid, "chart-name", "chart name %q %s", cut(m.Name), fault).
			Suggest("set a name such as `name: web-frontend` in Chart.yaml")
	}
	switch fault := fileNameFault(m.Version, maxImportVersionLength); {
	case m.Version == "":
		return problem.New(problem.Invalid, "chart-version", "Chart.yaml has no version").
			Suggest("set `version` in Chart.yaml")
	case fault != "":
		return problem.New(problem.Invalid, "chart-version", "chart version %q %s", cut(m.Version), fault).
			Suggest("set a version such as `version: 1.0.0` in Chart.yaml")
	}
	return nil
}

func fileNameFault(s string, limit int) string {
	switch {
	case len(s) > limit:
		return fmt.Sprintf("is longer than %d bytes", limit)
	case s == "." || s == "..":
		return "is no file name"
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '/' || c == '\\' {
			return "has characters that cannot stand in a file name and an address"
		}
	}
	return ""
}

// cut shortens foreign text for a message.
func cut(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// The setters say which field takes which value.

func (m *Metadata) set(d *document) map[string]setter {
	return map[string]setter{
		"name":         d.text(&m.Name),
		"home":         d.text(&m.Home),
		"sources":      d.texts(&m.Sources),
		"version":      d.text(&m.Version),
		"description":  d.text(&m.Description),
		"keywords":     d.texts(&m.Keywords),
		"maintainers":  list(d, &m.Maintainers, (*Maintainer).set),
		"icon":         d.text(&m.Icon),
		"apiVersion":   d.text(&m.APIVersion),
		"condition":    d.text(&m.Condition),
		"tags":         d.text(&m.Tags),
		"appVersion":   d.text(&m.AppVersion),
		"deprecated":   d.boolean(&m.Deprecated),
		"annotations":  d.textMap(&m.Annotations),
		"kubeVersion":  d.text(&m.KubeVersion),
		"dependencies": list(d, &m.Dependencies, (*Dependency).set),
		"type":         d.text(&m.Type),
		// Helm 3 and 4 do not read these two, so they may not disturb.
		"engine":        d.looseText(&m.Engine),
		"tillerVersion": d.looseText(&m.TillerVersion),
	}
}

func (m *Maintainer) set(d *document) map[string]setter {
	return map[string]setter{
		"name":  d.text(&m.Name),
		"email": d.text(&m.Email),
		"url":   d.text(&m.URL),
	}
}

func (p *Dependency) set(d *document) map[string]setter {
	return map[string]setter{
		"name":          d.text(&p.Name),
		"version":       d.text(&p.Version),
		"repository":    d.text(&p.Repository),
		"condition":     d.text(&p.Condition),
		"tags":          d.texts(&p.Tags),
		"enabled":       d.boolean(&p.Enabled),
		"import-values": d.importValues(&p.ImportValues),
		"alias":         d.text(&p.Alias),
	}
}

// parseRequirements reads the requirements.yaml of a chart and puts its
// dependencies in the place of those of Chart.yaml, as Helm does. Helm reads
// the file into the same structure as Chart.yaml, so any other field of
// Chart.yaml in it would override what Chart.yaml says, name and version
// included; such a file is refused.
func (m *Metadata) parseRequirements(yaml []byte) (replaced bool, err error) {
	d, err := readYAML("requirements.yaml", "requirements-yaml", MaxChartYAML, yaml)
	if err != nil {
		return false, err
	}
	if d.root == nil {
		return false, nil
	}
	var dependencies []Dependency
	set := list(d, &dependencies, (*Dependency).set)
	given := false
	fields := map[string]setter{}
	for name := range new(Metadata).set(d) {
		fields[name] = func(n *node, path string) {
			d.fail(n, "requirements-yaml", "%s sets %s, which Helm would put in the place of what Chart.yaml says", d.file, path).
				Suggest("remove %s from requirements.yaml", path)
		}
	}
	fields["dependencies"] = func(n *node, path string) { given = true; set(n, path) }
	d.fields(d.root, "", fields)
	if d.err != nil {
		return false, d.err
	}
	if !given {
		return false, nil
	}
	replaced = len(m.Dependencies) > 0
	m.Dependencies = dependencies
	m.sanitize()
	return replaced, nil
}

// sanitize takes characters that cannot be printed out of the fields in which
// Helm does so when it loads a chart. Name and version are judged afterwards.
func (m *Metadata) sanitize() {
	texts := []*string{&m.Name, &m.Description, &m.Home, &m.Icon, &m.Condition, &m.Tags, &m.AppVersion, &m.KubeVersion}
	lists := [][]string{m.Sources, m.Keywords}
	for i := range m.Maintainers {
		p := &m.Maintainers[i]
		texts = append(texts, &p.Name, &p.Email, &p.URL)
	}
	for i := range m.Dependencies {
		p := &m.Dependencies[i]
		texts = append(texts, &p.Name, &p.Version, &p.Repository, &p.Condition)
		lists = append(lists, p.Tags)
	}
	for _, s := range texts {
		*s = printable(*s)
	}
	for _, list := range lists {
		for i := range list {
			list[i] = printable(list[i])
		}
	}
}

// printable makes every kind of space a space and drops what cannot be
// printed.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return -1
	}, s)
}

// Check holds the metadata of a new release to the strict rules: version,
// name, type, and dependencies that Helm can load. It returns the first of
// Faults, or nil.
func (m Metadata) Check() error { return first(m.Faults()) }

// Faults returns everything in which the metadata breaks the strict rules,
// the gravest first. All are of kind Invalid; the rules are those of CheckName and
// ParseVersion, "chart-type" and "chart-dependency".
func (m Metadata) Faults() []*problem.Error {
	var faults []*problem.Error
	add := func(err error) {
		if p, ok := problem.As(err); ok {
			faults = append(faults, p)
		}
	}
	add(CheckName(m.Name))
	_, err := ParseVersion(m.Version)
	add(err)
	switch m.Type {
	case "", "application", "library":
	default:
		add(problem.New(problem.Invalid, "chart-type", "Chart.yaml has type %q, and Helm knows application and library", cut(m.Type)).
			Suggest("set `type: application` in Chart.yaml"))
	}
	seen := make(map[string]bool, len(m.Dependencies))
	for _, d := range m.Dependencies {
		key := d.Name
		if d.Alias != "" {
			key = d.Alias
		}
		switch {
		case d.Name == "":
			add(problem.New(problem.Invalid, "chart-dependency", "a dependency of the chart has no name").
				Suggest("set its `name` under `dependencies` in Chart.yaml"))
		case strings.Trim(d.Alias, aliasCharacters) != "":
			add(problem.New(problem.Invalid, "chart-dependency",
				"dependency %q has the alias %q, and Helm allows letters, digits, hyphens and underscores", cut(d.Name), cut(d.Alias)).
				Suggest("set another `alias` in Chart.yaml"))
		case seen[key]:
			add(problem.New(problem.Invalid, "chart-dependency", "two dependencies of the chart are called %q, and Helm refuses such a chart", cut(key)).
				Suggest("give one of them an `alias` in Chart.yaml"))
		}
		seen[key] = true
	}
	return faults
}

const aliasCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

func first(faults []*problem.Error) error {
	if len(faults) == 0 {
		return nil
	}
	return faults[0]
}
