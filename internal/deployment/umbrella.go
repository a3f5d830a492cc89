package deployment

import (
	"cmp"
	"fmt"
	"path"
	"strings"
)

// umbrella reads a Chart.yaml: every dependency of it is a deployment.
func (r *reader) umbrella(p string) {
	dir := path.Dir(p)
	top, deps, err := r.chartFile(dir)
	if err != nil {
		r.problem(p, "%v", err)
		return
	}
	if len(deps) == 0 {
		return
	}
	lock := r.chartLock(dir)
	values, _ := r.valuesFile(path.Join(dir, "values.yaml"))
	parent := top.at("name").text()
	for _, dep := range deps {
		c := Chart{
			Name: dep.at("name").text(), Alias: dep.at("alias").text(), Condition: dep.at("condition").text(),
			Repository: repositoryURL(dep.at("repository").text()),
		}
		name := cmp.Or(c.Alias, c.Name)
		if name == "" {
			r.problem(dep.where(), "a dependency has no name")
			continue
		}
		d := Deployment{Key: r.key(p, name), Tool: Umbrella, From: dep.where(), Name: name}
		d.Unresolved = r.resolveDependency(&c, dep, dir, lock)
		if on, known := condition(values, c.Condition, dep.at("tags").list()); known && !on {
			d.Status = "disabled"
		}
		if own, ok := values[name].(map[string]any); ok {
			d.Values = maskedJSON(own)
		}
		d.Chart = c
		declare(&d, top.at("annotations").texts())
		if parent != "" {
			d.From += " (" + parent + ")"
		}
		r.add(d)
	}
}

// chartFile returns the Chart.yaml of a folder and its dependencies, which
// charts of apiVersion v1 have in requirements.yaml.
func (r *reader) chartFile(dir string) (top object, deps []object, err error) {
	p := path.Join(dir, "Chart.yaml")
	docs, err := r.parse(p, r.files[p])
	if err != nil {
		return object{}, nil, err
	}
	if len(docs) == 0 || docs[0].at("name").text() == "" {
		return object{}, nil, fmt.Errorf("it has no name")
	}
	top, deps = docs[0], docs[0].at("dependencies").list()
	old := path.Join(dir, "requirements.yaml")
	if text, ok := r.files[old]; ok && len(deps) == 0 && top.at("apiVersion").text() != "v2" {
		docs, err := r.parse(old, text)
		if err != nil {
			return object{}, nil, err
		}
		if len(docs) > 0 {
			deps = docs[0].at("dependencies").list()
		}
	}
	return top, deps, nil
}

// chartLock returns the lock of a folder, nil for none.
func (r *reader) chartLock(dir string) *lock {
	for _, name := range []string{"Chart.lock", "requirements.lock"} {
		p := path.Join(dir, name)
		text, ok := r.files[p]
		if !ok {
			continue
		}
		docs, err := r.parse(p, text)
		if err != nil {
			r.problem(p, "%v", err)
			continue
		}
		if len(docs) == 0 {
			continue
		}
		l := &lock{Digest: docs[0].at("digest").text()}
		for _, d := range docs[0].at("dependencies").list() {
			l.Dependencies = append(l.Dependencies, lockDependency{d.at("name").text(), d.at("version").text(), d.at("repository").text()})
		}
		return l
	}
	return nil
}

// resolveDependency finds the exact version of a dependency, and returns what
// it could not find.
func (r *reader) resolveDependency(c *Chart, dep object, dir string, lock *lock) (unresolved []string) {
	where := dep.where() + ": "
	wanted := dep.at("version").text()
	if fault := c.setVersion(wanted); fault != "" {
		unresolved = append(unresolved, fmt.Sprintf("%sthe version %q %s", where, cut(wanted), fault))
	}
	if c.Version == "" {
		settled := *c
		switch ok := lock.settle(&settled); {
		case !ok && lock != nil:
			unresolved = append(unresolved, where+"the lock beside it does not have this dependency: run `helm dependency update`")
		case ok && settled.Version != "" && c.Constraint != "" && !allows(c.Constraint, settled.Version):
			unresolved = append(unresolved, fmt.Sprintf("%sthe lock has version %s, which the range %s does not allow: run `helm dependency update`", where, settled.Version, c.Constraint))
		case ok:
			c.Version = settled.Version
		}
	}
	switch repo := c.Repository; {
	case repo == "":
		if v := r.vendoredVersion(dir, c.Name); v != "" {
			c.Version = v
		} else {
			unresolved = append(unresolved, where+"it names no repository, and charts/"+c.Name+" is not there")
		}
	case strings.HasPrefix(repo, "file://"):
		folder, err := within(dir, strings.TrimPrefix(repo, "file://"))
		if err != nil {
			return append(unresolved, where+"the path of its repository "+err.Error())
		}
		local := r.localChart(folder)
		if local == nil {
			return append(unresolved, where+"there is no chart in "+folder)
		}
		c.Version, c.AppVersion = local.Version, local.AppVersion
	case strings.HasPrefix(repo, "@"), strings.HasPrefix(repo, "alias:"):
		unresolved = append(unresolved, where+"the repository "+repo+" is an alias that only the machine knows which builds the chart")
		c.Repository = ""
	}
	return unresolved
}

// vendoredVersion is the version of a chart that lies unpacked in charts/.
func (r *reader) vendoredVersion(dir, name string) string {
	if local := r.localChart(path.Join(dir, "charts", name)); local != nil {
		return local.Version
	}
	return ""
}

// localChart returns what the Chart.yaml of a folder of the tree says, nil
// where there is none.
func (r *reader) localChart(dir string) *Chart {
	if c, ok := r.local[dir]; ok {
		return c
	}
	r.local[dir] = nil
	if !r.charts[dir] {
		return nil
	}
	top, deps, err := r.chartFile(dir)
	if err != nil {
		return nil // reported where the file itself is read
	}
	c := &Chart{Name: top.at("name").text(), Version: top.at("version").text(), AppVersion: top.at("appVersion").text()}
	r.local[dir] = c
	lock := r.chartLock(dir)
	for _, dep := range deps {
		sub := Chart{Name: dep.at("name").text(), Alias: dep.at("alias").text(), Condition: dep.at("condition").text(), Repository: repositoryURL(dep.at("repository").text())}
		r.resolveDependency(&sub, dep, dir, lock)
		r.depend[dir] = append(r.depend[dir], sub)
	}
	return c
}

// valuesFile returns the values of a file of the tree.
func (r *reader) valuesFile(p string) (map[string]any, error) {
	text, ok := r.files[p]
	if !ok {
		return nil, fmt.Errorf("%s is not there", p)
	}
	docs, err := r.parse(p, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	values := map[string]any{}
	for _, doc := range docs {
		v, err := doc.values()
		if err != nil {
			return nil, fmt.Errorf("%s %w", p, err)
		}
		values = overlay(values, v)
	}
	return values, nil
}

// condition evaluates the condition of a dependency, or its tags, as Helm
// does: the first path that has a boolean decides.
func condition(values map[string]any, paths string, tags []object) (on, known bool) {
	for p := range strings.SplitSeq(strings.TrimSpace(paths), ",") {
		if v, ok := lookup(values, strings.Split(p, ".")).(bool); ok && p != "" {
			return v, true
		}
	}
	set, _ := values["tags"].(map[string]any)
	yes, no := false, false
	for _, tag := range tags {
		if v, ok := set[tag.text()].(bool); ok {
			yes, no = yes || v, no || !v
		}
	}
	return yes, yes || no
}

func lookup(values map[string]any, keys []string) any {
	var v any = values
	for _, key := range keys {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}
