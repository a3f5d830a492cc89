package deployment

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// inCluster is what Argo CD calls the cluster that it runs in.
const inCluster = "https://kubernetes.default.svc"

// application reads an Application.
func (r *reader) application(o *kubeDocument) {
	r.applicationOf(o.object, r.key(o.file, "Application/"+o.namespace+"/"+o.name), o.where())
}

// applicationOf reads what has the form of an Application: each of its sources
// that is a chart is a deployment.
func (r *reader) applicationOf(o object, key, from string) {
	spec := o.at("spec")
	sources := spec.at("sources").list()
	if len(sources) == 0 {
		if source := spec.at("source"); source.isMap() {
			sources = []object{source}
		}
	}
	if len(sources) == 0 {
		r.problem(o.where(), "the Application has no source")
		return
	}
	refs := map[string]object{}
	for _, s := range sources {
		if ref := s.at("ref").text(); ref != "" {
			refs[ref] = s
		}
	}
	var found []Deployment
	for _, source := range sources {
		if source.at("ref").is() && !source.at("path").is() && !source.at("chart").is() && !source.at("helm").is() {
			continue // values alone
		}
		d := Deployment{Key: key, Tool: ArgoCD, From: from, Name: cmp.Or(source.at("helm", "releaseName").text(), o.at("metadata", "name").text())}
		d.Namespace = cmp.Or(source.at("helm", "namespace").text(), spec.at("destination", "namespace").text())
		d.Cluster = cmp.Or(spec.at("destination", "name").text(), spec.at("destination", "server").text())
		if d.Cluster == inCluster {
			d.Cluster = ""
		}
		if !r.argoSource(&d, source) {
			continue
		}
		r.argoValues(&d, source, refs)
		declare(&d, o.at("metadata", "labels").texts(), o.at("metadata", "annotations").texts())
		found = append(found, d)
	}
	for _, d := range found {
		if len(found) > 1 {
			d.Key += "/" + d.Chart.Name
		}
		r.add(d)
	}
}

// argoSource finds the chart of a source, and reports whether it is one.
func (r *reader) argoSource(d *Deployment, source object) bool {
	repo := repositoryURL(source.at("repoURL").text())
	revision := source.at("targetRevision")
	if name := source.at("chart").text(); name != "" {
		d.Chart = Chart{Name: name, Repository: repo}
		if repo == "" {
			d.unresolved(source, "the source names no repository")
		} else if !strings.Contains(repo, "://") {
			d.Chart.Repository = "oci://" + repo // an OCI registry, as Argo CD writes it
		}
		d.setVersion(revision, source)
		return true
	}
	folder := source.at("path").text()
	if strings.HasPrefix(repo, "oci://") && (folder == "" || folder == "." || folder == "./") {
		d.Chart.Repository, d.Chart.Name = splitOCI(repo)
		d.setVersion(revision, source)
		return true
	}
	p, err := within("", cmp.Or(folder, "."))
	if err != nil {
		d.unresolved(source, "the path of the source %v", err)
		return true
	}
	if local := r.localChart(p); local != nil {
		d.Chart = *local
		d.Chart.Repository = "file://" + p
		d.Dependencies = slices.Clone(r.depend[p])
		return true
	}
	if slices.Contains(r.folders, p) && !source.at("helm").is() {
		return false // manifests, and no chart
	}
	d.unresolved(source, "the source is the folder %s of %s, which is not among the files that are read", cut(cmp.Or(folder, ".")), cut(repo))
	return true
}

// unresolved notes what could not be found out, and where.
func (d *Deployment) unresolved(o object, format string, args ...any) {
	d.Unresolved = append(d.Unresolved, o.where()+": "+fmt.Sprintf(format, args...))
}

// setVersion takes the version of the chart from where a file names it.
func (d *Deployment) setVersion(version, around object) {
	if version.n == nil {
		version.n = around.n
		d.Chart.setVersion("")
		return
	}
	if fault := d.Chart.setVersion(version.text()); fault != "" {
		d.unresolved(version, "the version %q %s", cut(version.text()), fault)
	}
}

// argoValues collects the values in Argo CD's order: files, then values or
// valuesObject, then parameters.
func (r *reader) argoValues(d *Deployment, source object, refs map[string]object) {
	helm := source.at("helm")
	values := map[string]any{}
	for _, file := range helm.at("valueFiles").list() {
		v, fault := r.argoValueFile(source, file.text(), refs)
		if fault == "" {
			values = overlay(values, v)
		} else if !strings.EqualFold(helm.at("ignoreMissingValueFiles").text(), "true") || !strings.HasSuffix(fault, "is not there") {
			d.unresolved(file, "values: %s", fault)
		}
	}
	if v := helm.at("valuesObject"); v.is() {
		m, err := v.values()
		if err != nil {
			d.unresolved(v, "valuesObject %v", err)
		}
		values = overlay(values, m)
	} else if v := helm.at("values"); v.is() {
		docs, err := r.parse(source.file, []byte(v.text()))
		if err != nil {
			d.unresolved(v, "values: %v", err)
		}
		for _, doc := range docs {
			m, err := doc.values()
			if err != nil {
				d.unresolved(v, "values %v", err)
			}
			values = overlay(values, m)
		}
	}
	for _, p := range helm.at("parameters").list() {
		if err := setPath(values, p.at("name").text(), parameter(p)); err != nil {
			d.unresolved(p, "the parameter %q %v", cut(p.at("name").text()), err)
		}
	}
	for _, p := range helm.at("fileParameters").list() {
		d.unresolved(p, "the parameter %q is the content of a file, which is not read", cut(p.at("name").text()))
	}
	d.Values = maskedJSON(values)
}

// argoValueFile reads a file of values: of the tree for a source with a path,
// and for $ref/path. The files of a chart are not here.
func (r *reader) argoValueFile(source object, name string, refs map[string]object) (map[string]any, string) {
	switch {
	case strings.Contains(name, "://"):
		return nil, "the file " + cut(repositoryURL(name)) + " is not downloaded"
	case strings.HasPrefix(name, "$"):
		ref, rest, _ := strings.Cut(name[1:], "/")
		from, ok := refs[ref]
		if !ok {
			return nil, "the file " + cut(name) + " names a source that is not there"
		}
		p, err := within("", rest)
		if err != nil {
			return nil, "the path " + cut(name) + " " + err.Error()
		}
		v, err := r.valuesFile(p)
		if err != nil {
			return nil, fmt.Sprintf("%v (of %s)", err, cut(repositoryURL(from.at("repoURL").text())))
		}
		return v, ""
	case source.at("chart").is():
		return nil, "the file " + cut(name) + " is in the chart"
	}
	dir := source.at("path").text()
	if strings.HasPrefix(name, "/") { // from the top of the repository
		dir, name = "", strings.TrimLeft(name, "/")
	}
	p, err := within(dir, name)
	if err != nil {
		return nil, "the path " + cut(name) + " " + err.Error()
	}
	v, err := r.valuesFile(p)
	if err != nil {
		return nil, err.Error()
	}
	return v, ""
}

// parameter is the value of a parameter, as `helm --set` takes it.
func parameter(p object) any {
	s := p.at("value").text()
	if strings.EqualFold(p.at("forceString").text(), "true") {
		return s
	}
	return setValue(s)
}

func setValue(s string) any {
	switch s {
	case "true":
		return true
	case "false":
		return false
	case "null":
		return nil
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil && (s == "0" || s[0] != '0') {
		return float64(i)
	}
	return s
}

// setPath sets a value under a path such as a.b[0].c\.d, as `helm --set` does.
func setPath(values map[string]any, name string, v any) error {
	keys, err := splitPath(name)
	if err != nil {
		return err
	}
	var set func(in any, keys []any) (any, error)
	set = func(in any, keys []any) (any, error) {
		if len(keys) == 0 {
			return v, nil
		}
		if i, ok := keys[0].(int); ok {
			l, _ := in.([]any)
			l = slices.Clone(l)
			for len(l) <= i {
				l = append(l, nil)
			}
			inner, err := set(l[i], keys[1:])
			l[i] = inner
			return l, err
		}
		m, _ := in.(map[string]any)
		if m = maps.Clone(m); m == nil {
			m = map[string]any{}
		}
		inner, err := set(m[keys[0].(string)], keys[1:])
		m[keys[0].(string)] = inner
		return m, err
	}
	out, err := set(values, keys)
	if m, ok := out.(map[string]any); ok && err == nil {
		maps.Copy(values, m)
	}
	return err
}

// splitPath returns texts and indexes.
func splitPath(name string) ([]any, error) {
	var keys []any
	var key strings.Builder
	flush := func() {
		if key.Len() > 0 {
			keys = append(keys, key.String())
			key.Reset()
		}
	}
	for i := 0; i < len(name); i++ {
		switch c := name[i]; c {
		case '\\':
			if i++; i < len(name) {
				key.WriteByte(name[i])
			}
		case '.':
			flush()
		case '[':
			flush()
			end := strings.IndexByte(name[i:], ']')
			if end < 0 {
				return nil, fmt.Errorf("has a bracket that is not closed")
			}
			n, err := strconv.Atoi(name[i+1 : i+end])
			if err != nil || n < 0 || n > 1000 {
				return nil, fmt.Errorf("has an index that is no number up to 1000")
			}
			keys = append(keys, n)
			i += end
		default:
			key.WriteByte(c)
		}
	}
	flush()
	if len(keys) == 0 || len(keys) > maxFollow {
		return nil, fmt.Errorf("is no path")
	}
	if _, ok := keys[0].(string); !ok {
		return nil, fmt.Errorf("is no path")
	}
	return keys, nil
}

// matchPath matches a path against a pattern of path.Match, in which ** stands
// for any number of folders.
func matchPath(pattern, name string) bool {
	p, n := strings.Split(pattern, "/"), strings.Split(name, "/")
	if strings.Count(pattern, "**") > 6 || len(pattern) > 1024 {
		return false
	}
	var match func(p, n []string) bool
	match = func(p, n []string) bool {
		for len(p) > 0 {
			if p[0] == "**" {
				for i := 0; i <= len(n); i++ {
					if match(p[1:], n[i:]) {
						return true
					}
				}
				return false
			}
			if len(n) == 0 {
				return false
			}
			if ok, err := path.Match(p[0], n[0]); err != nil || !ok {
				return false
			}
			p, n = p[1:], n[1:]
		}
		return len(n) == 0
	}
	return match(p, n)
}
