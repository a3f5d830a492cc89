package deployment

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Limits of helmfiles.
const (
	maxNested    = 8   // helmfiles and bases, one within another
	maxHelmfiles = 500 // readings of a helmfile, for all environments
)

// implicit is the environment of a helmfile that declares none.
const implicit = "default"

// isHelmfile reports whether a file is a helmfile, by its name.
func isHelmfile(p string) bool {
	base := strings.TrimSuffix(path.Base(p), ".gotmpl")
	switch path.Ext(base) {
	case ".yaml", ".yml":
	default:
		return false
	}
	return base == "helmfile.yaml" || base == "helmfile.yml" || strings.HasSuffix(base, ".helmfile.yaml") || path.Base(path.Dir(p)) == "helmfile.d"
}

// helmfile is one reading of a helmfile, for one environment.
type helmfile struct {
	r            *reader
	path         string
	environment  string
	declared     []string       // environments, in the order of the files
	values       map[string]any // of the environment
	repositories map[string]object
	templates    map[string]object
	context      string // kube context of the environment
	fallback     string // kube context of what has no other
	faults       []string
	releases     []object
	nested       []object
	markers      map[string]string // what stands for templates that were not evaluated
	depth        int
}

// helmfiles reads all helmfiles. Those that another one includes are read
// there.
func (r *reader) helmfiles(paths []string) {
	found := map[string][]Deployment{}
	runs := 0
	for _, p := range paths {
		first := r.readHelmfile(p, implicit, nil, 0, &runs)
		environments := first.declared
		if len(environments) == 0 {
			environments = []string{implicit}
		}
		for _, env := range environments {
			h := r.readHelmfile(p, env, nil, 0, &runs)
			found[p] = append(found[p], h.deployments(len(first.declared) > 0, &runs)...)
		}
	}
	for _, p := range paths {
		if r.used[p] {
			continue
		}
		for _, d := range found[p] {
			r.add(d)
		}
	}
}

// readHelmfile reads one file for one environment. over are values that the
// helmfile around it sets.
func (r *reader) readHelmfile(p, env string, over map[string]any, depth int, runs *int) *helmfile {
	h := &helmfile{
		r: r, path: p, environment: env, values: map[string]any{}, depth: depth,
		repositories: map[string]object{}, templates: map[string]object{}, markers: map[string]string{},
	}
	if *runs++; *runs > maxHelmfiles {
		r.problem(p, "there are more than %d helmfiles and environments; the others are not read", maxHelmfiles)
		return h
	}
	// The environment's values may stand in the same file as what uses them,
	// so the first time only they are looked for.
	quiet := *h
	quiet.readParts(p, depth)
	h.values, h.declared = overlay(quiet.values, over), nil
	h.readParts(p, depth)
	h.values = overlay(h.values, over)
	return h
}

// readParts reads the parts of a file, each of which is a template that uses
// the values of those before it.
func (h *helmfile) readParts(p string, depth int) {
	text, ok := h.r.files[p]
	if !ok || depth > maxNested {
		h.faults = append(h.faults, p+": it is not there, or includes itself")
		return
	}
	line := 1
	for part := range documents(append(bytes.Clone(text), '\n')) {
		start := line + bytes.Count(text[:bytes.Index(text, bytes.TrimRight(part, "\n"))], []byte("\n"))
		h.part(p, string(part), start, depth)
	}
}

func (h *helmfile) data() map[string]any {
	return map[string]any{
		"Environment": map[string]any{"Name": h.environment, "Values": h.values},
		"Values":      h.values, "StateValues": h.values, "Namespace": "",
	}
}

// variable is an environment variable that is given. One whose name promises a
// secret is masked before a template can put it anywhere.
func (h *helmfile) variable(name string) (string, error) {
	v, ok := h.r.opt.Variables[name]
	if word, end := secretKey(name); ok && (word || end) {
		return masked, nil
	}
	if !ok {
		return "", refusal("it asks for the environment variable " + cut(name) + ", which is not given")
	}
	return v, nil
}

func (h *helmfile) part(p, text string, start, depth int) {
	rendered, err := render(text, h.data(), h.variable)
	if err != nil {
		h.faults = append(h.faults, fmt.Sprintf("%s:%d: the template from here on is not evaluated: %v", p, start, err))
		rendered = h.withMarkers(text)
	}
	docs, err := h.r.parse(p, []byte(rendered))
	if err != nil {
		h.faults = append(h.faults, fmt.Sprintf("%s:%d: %v", p, start, err))
		return
	}
	for _, doc := range docs {
		shift(doc, start-1)
		h.document(doc, depth)
	}
}

// shift moves the lines of a part to where they are in the file.
func shift(o object, by int) {
	if o.n == nil || by == 0 {
		return
	}
	o.n.Line += by
	for _, c := range o.n.Content {
		shift(object{o.file, c}, by)
	}
}

var action = regexp.MustCompile("\\{\\{(?:`[^`]*`|\"(?:[^\"\\\\]|\\\\.)*\"|[^`\"}]|\\}[^}])*\\}\\}")

// standsAlone fits the actions that mean the same inside a loop as outside.
var standsAlone = regexp.MustCompile("^\\{\\{-?\\s*(?:`|(?:requiredE|e)nv |\\$?\\.(?:Values|StateValues|Environment)\\b)")

// maxMarkers is how many actions of a helmfile are evaluated one by one.
const maxMarkers = 1000

// withMarkers evaluates the actions of a template that could not be evaluated
// as a whole one by one, so that what is around them can be read: lines of
// nothing but actions are left empty, and a marker stands in the place of what
// is not known.
func (h *helmfile) withMarkers(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.TrimSpace(action.ReplaceAllString(line, "")) == "" {
			lines[i] = ""
			continue
		}
		lines[i] = action.ReplaceAllStringFunc(line, func(a string) string {
			if len(h.markers) < maxMarkers && standsAlone.MatchString(a) {
				if text, err := render(a, h.data(), h.variable); err == nil {
					return text
				}
			}
			m := "__template_" + strconv.Itoa(len(h.markers)) + "__"
			h.markers[m] = a
			return m
		})
	}
	return strings.Join(lines, "\n")
}

// document takes what one part says.
func (h *helmfile) document(doc object, depth int) {
	dir := path.Dir(doc.file)
	for _, base := range doc.at("bases").list() {
		if p, err := within(dir, base.text()); err == nil {
			h.readParts(p, depth+1)
		}
	}
	h.addValues(dir, doc.at("values").list())
	environments := doc.at("environments")
	if n := follow(environments.n); n != nil {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if name := n.Content[i].Value; !slices.Contains(h.declared, name) {
				h.declared = append(h.declared, name)
			}
		}
	}
	env := environments.at(h.environment)
	h.addValues(dir, env.at("values").list())
	for _, s := range env.at("secrets").list() {
		h.faults = append(h.faults, s.where()+": values of the environment are encrypted")
	}
	h.context = cmp.Or(env.at("kubeContext").text(), h.context)
	h.fallback = cmp.Or(doc.at("helmDefaults", "kubeContext").text(), h.fallback)
	for _, repo := range doc.at("repositories").list() {
		h.repositories[repo.at("name").text()] = repo
	}
	templates := doc.at("templates")
	if n := follow(templates.n); n != nil {
		for i := 0; i+1 < len(n.Content); i += 2 {
			h.templates[n.Content[i].Value] = object{doc.file, n.Content[i+1]}
		}
	}
	h.releases = append(h.releases, doc.at("releases").list()...)
	h.nested = append(h.nested, doc.at("helmfiles").list()...)
}

// addValues adds values of an environment: files of the tree, or inline.
func (h *helmfile) addValues(dir string, list []object) {
	for _, item := range list {
		v, err := h.valuesItem(dir, item, h.data())
		if err != nil {
			h.faults = append(h.faults, item.where()+": values of the environment: "+err.Error())
		}
		h.values = overlay(h.values, v)
	}
}

// valuesItem is a file, which may be a template, or inline values.
func (h *helmfile) valuesItem(dir string, item object, data map[string]any) (map[string]any, error) {
	if item.isMap() {
		return item.values()
	}
	name, err := render(item.text(), data, h.variable)
	if err != nil {
		return nil, err
	}
	if strings.Contains(name, "://") || strings.Contains(name, "::") {
		return nil, errors.New("the file " + cut(repositoryURL(name)) + " is not downloaded")
	}
	p, err := within(dir, name)
	if err != nil {
		return nil, errors.New("the path " + cut(name) + " " + err.Error())
	}
	if path.Ext(p) != ".gotmpl" {
		return h.r.valuesFile(p)
	}
	text, ok := h.r.files[p]
	if !ok {
		return nil, errors.New(p + " is not there")
	}
	rendered, err := render(string(text), data, h.variable)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	docs, err := h.r.parse(p, []byte(rendered))
	if err != nil || len(docs) == 0 {
		return nil, err
	}
	return docs[0].values()
}

// deployments are the releases of the helmfile, and of those that it includes.
func (h *helmfile) deployments(named bool, runs *int) []Deployment {
	var out []Deployment
	if len(h.faults) > 0 && len(h.releases)+len(h.nested) == 0 {
		for _, f := range h.faults {
			h.r.problem("", "%s", f)
		}
	}
	for _, rel := range h.releases {
		out = append(out, h.release(rel, named))
	}
	for _, n := range h.nested {
		name := cmp.Or(n.at("path").text(), n.text())
		p, err := within(path.Dir(n.file), name)
		if err == nil && h.r.files[p] == nil {
			err = errors.New("is not among the files that are read")
		}
		if err != nil || h.depth >= maxNested {
			h.r.problem(n.where(), "the helmfile %s %v", cut(name), cmp.Or(err, errors.New("is nested too deeply")))
			continue
		}
		h.r.used[p] = true
		over := map[string]any{}
		for _, item := range n.at("values").list() {
			v, err := h.valuesItem(path.Dir(n.file), item, h.data())
			if err != nil {
				h.faults = append(h.faults, item.where()+": values: "+err.Error())
			}
			over = overlay(over, v)
		}
		inner := h.r.readHelmfile(p, h.environment, over, h.depth+1, runs)
		inner.fallback = cmp.Or(inner.fallback, h.context, h.fallback)
		out = append(out, inner.deployments(named, runs)...)
	}
	return out
}

// release makes one release a deployment.
func (h *helmfile) release(rel object, named bool) Deployment {
	from := []object{rel}
	for _, in := range rel.at("inherit").list() {
		if t, ok := h.templates[in.at("template").text()]; ok {
			from = append(from, t)
		} else {
			from = append(from, object{})
		}
	}
	get := func(key string) object {
		for _, o := range from {
			if v := o.at(key); v.is() {
				return v
			}
		}
		return object{file: rel.file}
	}
	d := Deployment{Tool: Helmfile, From: rel.where()}
	if named {
		d.Environment = h.environment
	}
	data := h.data()
	late := func(key, what string) string {
		o := get(key)
		text, err := render(o.text(), data, h.variable)
		if err != nil {
			d.unresolved(o, "the %s is a template that is not evaluated: %v", what, err)
			return ""
		}
		for m, a := range h.markers {
			if strings.Contains(text, m) {
				d.unresolved(o, "the %s is the template %s, which is not evaluated", what, cut(a))
				return ""
			}
		}
		return strings.TrimSpace(text)
	}
	name := late("name", "name")
	d.Name = cmp.Or(name, rel.where())
	d.Namespace = late("namespace", "namespace")
	labels := get("labels").texts()
	data["Release"] = map[string]any{"Name": name, "Namespace": d.Namespace, "Labels": anyMap(labels), "Chart": ""}
	d.Cluster = cmp.Or(late("kubeContext", "kube context"), h.context, h.fallback)
	env := h.environment + "/"
	if !named {
		env = ""
	}
	d.Key = h.r.key(h.path, env+strings.TrimPrefix(d.Namespace+"/", "/")+d.Name)
	if ref := late("chart", "chart"); ref != "" {
		h.chart(&d, get("chart"), ref)
	}
	version := get("version")
	if text := late("version", "version"); d.Chart.Name != "" && d.Chart.Version == "" && (text != "" || !version.is()) {
		if fault := d.Chart.setVersion(text); fault != "" {
			d.unresolved(version, "the version %q %s", cut(text), fault)
		}
		h.lock().settle(&d.Chart)
	}
	if on, known := condition(h.values, late("condition", "condition"), nil); known && !on || get("installed").text() == "false" {
		d.Status = "disabled"
	}
	h.releaseValues(&d, from, data)
	declare(&d, labels)
	if len(h.markers) > 0 {
		d.Unresolved = append(d.Unresolved, h.faults...)
	}
	return d
}

// lock is the lock beside the helmfile, nil for none.
func (h *helmfile) lock() *lock {
	p := strings.TrimSuffix(strings.TrimSuffix(h.path, ".gotmpl"), path.Ext(strings.TrimSuffix(h.path, ".gotmpl"))) + ".lock"
	docs, err := h.r.parse(p, h.r.files[p])
	if err != nil || len(docs) == 0 {
		return nil
	}
	var l lock
	for _, d := range docs[0].at("dependencies").list() {
		l.Dependencies = append(l.Dependencies, lockDependency{d.at("name").text(), d.at("version").text(), d.at("repository").text()})
	}
	return &l
}

// chart finds the chart that a release names.
func (h *helmfile) chart(d *Deployment, o object, ref string) {
	dir := path.Dir(o.file)
	if strings.HasPrefix(ref, "oci://") {
		d.Chart.Repository, d.Chart.Name = splitOCI(repositoryURL(ref))
		return
	}
	if strings.Contains(ref, "://") {
		d.unresolved(o, "the chart is the archive %s, whose name and version are in it", cut(repositoryURL(ref)))
		return
	}
	if p, err := within(dir, ref); err == nil {
		if local := h.r.localChart(p); local != nil {
			d.Chart = *local
			d.Chart.Repository = "file://" + p
			d.Dependencies = slices.Clone(h.r.depend[p])
			return
		}
	}
	name, chart, two := strings.Cut(ref, "/")
	if !two || strings.HasPrefix(ref, ".") || strings.HasPrefix(ref, "/") {
		d.unresolved(o, "the chart is the folder %s, which is not among the files that are read", cut(ref))
		return
	}
	d.Chart.Name = chart
	repo, ok := h.repositories[name]
	if !ok {
		d.unresolved(o, "the repository %s is not declared", cut(name))
		return
	}
	url := repositoryURL(repo.at("url").text())
	if repo.at("oci").text() == "true" {
		url = "oci://" + strings.TrimPrefix(url, "oci://")
	}
	for m, a := range h.markers {
		if strings.Contains(url, m) {
			d.unresolved(repo, "the URL of the repository is the template %s, which is not evaluated", cut(a))
			return
		}
	}
	d.Chart.Repository = url
}

// releaseValues collects the values of a release: files and inline values of
// what it inherits and its own, in their order, then what it sets.
func (h *helmfile) releaseValues(d *Deployment, from []object, data map[string]any) {
	values := map[string]any{}
	for _, o := range slices.Backward(from) {
		for _, item := range o.at("values").list() {
			v, err := h.valuesItem(path.Dir(item.file), item, data)
			if err != nil {
				d.unresolved(item, "values: %v", err)
			}
			values = overlay(values, v)
		}
		for _, s := range o.at("secrets").list() {
			d.unresolved(s, "values: the file is encrypted")
		}
		for _, set := range append(o.at("set").list(), o.at("setString").list()...) {
			name := set.at("name").text()
			if !set.at("value").is() {
				d.unresolved(set, "values: %s is set from a file or a list, which is not read", cut(name))
			} else if err := setPath(values, name, setValue(set.at("value").text())); err != nil {
				d.unresolved(set, "values: the name %q %v", cut(name), err)
			}
		}
	}
	for _, m := range slices.Sorted(maps.Keys(h.markers)) {
		values, _ = withoutMarker(values, m).(map[string]any)
	}
	d.Values = maskedJSON(values)
}

// withoutMarker replaces values that are templates.
func withoutMarker(v any, marker string) any {
	switch v := v.(type) {
	case string:
		if strings.Contains(v, marker) {
			return "(template)"
		}
	case []any:
		for i := range v {
			v[i] = withoutMarker(v[i], marker)
		}
	case map[string]any:
		for k := range v {
			v[k] = withoutMarker(v[k], marker)
		}
	}
	return v
}
