package deployment

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// maxParameters bounds the sets of parameters that the generators of one
// ApplicationSet make.
const maxParameters = 5000

// params is one set of parameters: nested with goTemplate, texts under dotted
// names without.
type params map[string]any

// appSet is one ApplicationSet while it is read.
type appSet struct {
	r          *reader
	goTemplate bool
	left       int // sets of parameters that may still be made
	work       int // nodes that may still be copied
}

// unknowable is why a generator cannot be evaluated from files.
type unknowable struct {
	at  object
	why string
}

func (u unknowable) Error() string { return u.at.where() + ": " + u.why }

// applicationSet reads an ApplicationSet: every Application that its
// generators make of its template. Where a generator cannot be evaluated from
// files, what the template says stands for all of them, unresolved.
func (r *reader) applicationSet(o *kubeDocument) {
	spec := o.at("spec")
	s := &appSet{r: r, goTemplate: spec.at("goTemplate").text() == "true", left: maxParameters, work: 10 * maxNodes}
	key := r.key(o.file, "ApplicationSet/"+o.namespace+"/"+o.name)
	generators := spec.at("generators").list()
	if len(generators) == 0 {
		r.problem(o.where(), "the ApplicationSet has no generators")
		return
	}
	made := 0
	for _, g := range generators {
		template := spec.at("template")
		sets, err := s.generate(g, params{}, 0)
		if err != nil {
			s.stand(o, key, template, err.Error())
			made++
			continue
		}
		if own := s.override(g); own.isMap() {
			template = object{template.file, mergeNode(template.n, own.n, 0)}
		}
		for _, p := range sets {
			s.make(o, key, template, spec.at("templatePatch"), p)
			made++
		}
	}
	if made == 0 {
		s.stand(o, key, spec.at("template"), o.where()+": its generators find nothing in the files that are read")
	}
}

// make makes one Application.
func (s *appSet) make(o *kubeDocument, key string, template, patch object, p params) {
	n, err := s.render(template, p)
	if err != nil {
		s.stand(o, key, template, fmt.Sprintf("%s: the template: %v", template.where(), err))
		return
	}
	if text := patch.text(); text != "" {
		if text, err = render(text, map[string]any(p), nil); err == nil {
			var docs []object
			if docs, err = s.r.parse(o.file, []byte(text)); err == nil && len(docs) > 0 {
				n = mergeNode(n, docs[0].n, 0)
			}
		}
		if err != nil {
			s.stand(o, key, template, fmt.Sprintf("%s: the templatePatch: %v", patch.where(), err))
			return
		}
	}
	app := object{o.file, n}
	s.r.applicationOf(app, key+"/"+app.at("metadata", "name").text(), o.where())
}

// stand lists the ApplicationSet itself, with what its template says of the
// chart in plain words.
func (s *appSet) stand(o *kubeDocument, key string, template object, why string) {
	d := Deployment{Key: key, Tool: ArgoCD, From: o.where(), Name: o.name, Unresolved: []string{why}}
	spec := template.at("spec")
	source := spec.at("source")
	if list := spec.at("sources").list(); len(list) > 0 {
		source = list[0]
		for _, one := range list {
			if one.at("chart").is() {
				source = one
				break
			}
		}
	}
	fixed := func(o object) string {
		if strings.Contains(o.text(), "{{") {
			return ""
		}
		return o.text()
	}
	d.Namespace = fixed(spec.at("destination", "namespace"))
	d.Chart = Chart{Name: fixed(source.at("chart")), Repository: repositoryURL(fixed(source.at("repoURL")))}
	if v := fixed(source.at("targetRevision")); v != "" && d.Chart.Name != "" {
		d.Chart.setVersion(v)
	}
	for _, set := range []object{template.at("metadata", "labels"), template.at("metadata", "annotations")} {
		texts := set.texts()
		maps.DeleteFunc(texts, func(_, v string) bool { return strings.Contains(v, "{{") })
		declare(&d, texts)
	}
	s.r.add(d)
}

// override is the template that a generator puts over the set's.
func (s *appSet) override(g object) object {
	for _, kind := range []string{"list", "clusters", "git", "matrix", "merge"} {
		if t := g.at(kind, "template"); t.isMap() {
			return t
		}
	}
	return object{}
}

// generate evaluates a generator. with are the parameters that its fields may
// use, inside a matrix.
func (s *appSet) generate(g object, with params, depth int) (sets []params, err error) {
	if depth > 3 {
		return nil, unknowable{g, "its generators are nested too deeply"}
	}
	if s.work < 0 {
		return nil, unknowable{g, "its generators take too much work"}
	}
	if len(with) > 0 {
		n, err := s.render(g, with)
		if err != nil {
			return nil, unknowable{g, "the generator: " + err.Error()}
		}
		g = object{g.file, n}
	}
	switch {
	case g.at("list").isMap():
		sets, err = s.list(g.at("list"))
	case g.at("clusters").n != nil:
		sets, err = s.clusters(g.at("clusters"))
	case g.at("git", "directories").is():
		sets, err = s.folders(g.at("git"))
	case g.at("git", "files").is():
		sets, err = s.files(g.at("git"))
	case g.at("matrix").isMap():
		sets, err = s.matrix(g.at("matrix"), depth)
	case g.at("merge").isMap():
		sets, err = s.merge(g.at("merge"), depth)
	case g.at("pullRequest").is():
		err = unknowable{g, "its generator asks a Git host for pull requests"}
	case g.at("scmProvider").is():
		err = unknowable{g, "its generator asks a Git host for repositories"}
	case g.at("clusterDecisionResource").is():
		err = unknowable{g, "its generator asks the cluster for a resource that decides"}
	case g.at("plugin").is():
		err = unknowable{g, "its generator asks a plugin"}
	default:
		err = unknowable{g, "its generator is of a kind that is not known"}
	}
	if err != nil {
		return nil, err
	}
	if s.left -= len(sets); s.left < 0 {
		return nil, unknowable{g, fmt.Sprintf("its generators make more than %d Applications", maxParameters)}
	}
	if selector := g.at("selector"); selector.isMap() {
		sets = slices.DeleteFunc(sets, func(p params) bool { return !selects(selector, flat(p)) })
	}
	return sets, nil
}

func (s *appSet) list(g object) ([]params, error) {
	elements := g.at("elements").list()
	if text := g.at("elementsYaml").text(); text != "" {
		docs, err := s.r.parse(g.file, []byte(text))
		if err != nil || len(docs) == 0 {
			return nil, unknowable{g, "its elementsYaml is no list"}
		}
		elements = append(elements, docs[0].list()...)
	}
	var sets []params
	for _, e := range elements {
		m, err := e.values()
		if err != nil {
			return nil, unknowable{e, "an element " + err.Error()}
		}
		sets = append(sets, s.shape(m))
	}
	return sets, nil
}

// shape makes values parameters of the kind that the templates use.
func (s *appSet) shape(m map[string]any) params {
	if s.goTemplate {
		return m
	}
	return flat(m)
}

// flat puts nested values under dotted names, as texts.
func flat(m map[string]any) params {
	out := params{}
	var walk func(prefix string, v any, depth int)
	walk = func(prefix string, v any, depth int) {
		switch v := v.(type) {
		case map[string]any:
			for k, item := range v {
				if depth < maxFollow {
					walk(prefix+"."+k, item, depth+1)
				}
			}
		case params:
			walk(prefix, map[string]any(v), depth)
		case []any:
			for i, item := range v {
				if depth < maxFollow {
					walk(prefix+"."+strconv.Itoa(i), item, depth+1)
				}
			}
		case float64:
			out[prefix[1:]] = numberText(v)
		case nil:
		default:
			out[prefix[1:]] = fmt.Sprint(v)
		}
	}
	for k, v := range m {
		walk("."+k, v, 0)
	}
	return out
}

// clusters takes the clusters that are given, or those whose Secrets are among
// the files, and the one that Argo CD runs in.
func (s *appSet) clusters(g object) ([]params, error) {
	known := slices.Clone(s.r.opt.Clusters)
	for i := range s.r.objects {
		o := &s.r.objects[i]
		labels := o.at("metadata", "labels").texts()
		if o.kind != "Secret" || labels["argocd.argoproj.io/secret-type"] != "cluster" {
			continue
		}
		known = append(known, Cluster{
			Name: o.at("stringData", "name").text(), Server: o.at("stringData", "server").text(),
			Labels: labels, Annotations: o.at("metadata", "annotations").texts(),
		})
	}
	if len(known) == 0 {
		return nil, unknowable{g, "its generator asks for the clusters that Argo CD knows, and none of their Secrets is among the files"}
	}
	selector := g.at("selector")
	if !selector.isMap() && !slices.ContainsFunc(known, func(c Cluster) bool { return c.Server == inCluster }) {
		known = append(known, Cluster{Name: "in-cluster", Server: inCluster})
	}
	var sets []params
	for _, c := range known {
		labels := params{}
		for k, v := range c.Labels {
			labels[k] = v
		}
		if selector.isMap() && !selects(selector, labels) {
			continue
		}
		if c.Name == "" || c.Server == "" {
			return nil, unknowable{g, "the Secret of a cluster does not show its name and server"}
		}
		p, err := s.withValues(g, s.shape(map[string]any{
			"name": c.Name, "nameNormalized": normalize(c.Name), "server": c.Server,
			"metadata": map[string]any{"labels": anyMap(c.Labels), "annotations": anyMap(c.Annotations)},
		}))
		if err != nil {
			return nil, err
		}
		sets = append(sets, p)
	}
	return sets, nil
}

func anyMap(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

// withValues adds the field values of a generator, evaluated.
func (s *appSet) withValues(g object, p params) (params, error) {
	extra := map[string]any{}
	for k, v := range g.at("values").texts() {
		text, err := s.text(v, p)
		if err != nil {
			return nil, unknowable{g.at("values"), "the value " + cut(k) + ": " + err.Error()}
		}
		extra[k] = text
	}
	switch {
	case len(extra) == 0:
	case s.goTemplate:
		p["values"] = extra
	default:
		for k, v := range extra {
			p["values."+k] = v
		}
	}
	return p, nil
}

// folders evaluates a generator of Git folders with the folders of the tree.
func (s *appSet) folders(g object) ([]params, error) {
	var sets []params
	s.work -= len(s.r.folders) / 10
	for _, folder := range s.r.folders {
		in, out := false, strings.HasPrefix(path.Base(folder), ".") || strings.Contains(folder, "/.") || strings.HasPrefix(folder, ".")
		for _, item := range g.at("directories").list() {
			if ok, _ := path.Match(strings.TrimPrefix(item.at("path").text(), "./"), folder); ok {
				if item.at("exclude").text() == "true" {
					out = true
				}
				in = true
			}
		}
		if !in || out {
			continue
		}
		p, err := s.withValues(g, s.place(g, folder, "", nil))
		if err != nil {
			return nil, err
		}
		sets = append(sets, p)
	}
	return s.some(g, sets, "folder")
}

// files evaluates a generator of Git files with the files of the tree.
func (s *appSet) files(g object) ([]params, error) {
	var sets []params
	s.work -= len(s.r.files)
	for _, file := range slices.Sorted(maps.Keys(s.r.files)) {
		in, out := false, false
		for _, item := range g.at("files").list() {
			if matchPath(strings.TrimPrefix(item.at("path").text(), "./"), file) {
				if item.at("exclude").text() == "true" {
					out = true
				}
				in = true
			}
		}
		if !in || out {
			continue
		}
		docs, err := s.r.parse(file, s.r.files[file])
		if err != nil || len(docs) == 0 {
			return nil, unknowable{object{file: file}, "a generator asks for this file, and it is no mapping"}
		}
		objects := docs[:1]
		if list := docs[0].list(); list != nil {
			objects = list
		}
		for _, o := range objects {
			m, err := o.values()
			if err != nil {
				return nil, unknowable{o, "a generator asks for this file, and it " + err.Error()}
			}
			p, err := s.withValues(g, s.place(g, path.Dir(file), path.Base(file), m))
			if err != nil {
				return nil, err
			}
			if sets = append(sets, p); len(sets) > maxParameters {
				return s.some(g, sets, "file")
			}
		}
	}
	return s.some(g, sets, "file")
}

// some refuses an empty answer: the tree may not be the repository that is
// meant.
func (s *appSet) some(g object, sets []params, what string) ([]params, error) {
	if len(sets) == 0 {
		return nil, unknowable{g, fmt.Sprintf("its generator looks in %s, and no %s that is read here fits", cut(repositoryURL(g.at("repoURL").text())), what)}
	}
	return sets, nil
}

// place adds what Git generators say of a path.
func (s *appSet) place(g object, folder, file string, values map[string]any) params {
	prefix := g.at("pathParamPrefix").text()
	if s.goTemplate {
		segments := []any{}
		for _, part := range strings.Split(folder, "/") {
			segments = append(segments, part)
		}
		at := map[string]any{"path": folder, "basename": path.Base(folder), "basenameNormalized": normalize(path.Base(folder)), "segments": segments}
		if file != "" {
			at["filename"], at["filenameNormalized"] = file, normalize(file)
		}
		p := maps.Clone(params(values))
		if p == nil {
			p = params{}
		}
		if prefix != "" {
			p[prefix] = map[string]any{"path": at}
		} else {
			p["path"] = at
		}
		return p
	}
	p, name := flat(values), "path"
	if prefix != "" {
		name = prefix + ".path"
	}
	p[name], p[name+".basename"], p[name+".basenameNormalized"] = folder, path.Base(folder), normalize(path.Base(folder))
	if file != "" {
		p[name+".filename"], p[name+".filenameNormalized"] = file, normalize(file)
	}
	for i, part := range strings.Split(folder, "/") {
		p[name+"["+strconv.Itoa(i)+"]"] = part
	}
	return p
}

// matrix combines two generators; the second may use what the first makes.
func (s *appSet) matrix(g object, depth int) ([]params, error) {
	both := g.at("generators").list()
	if len(both) != 2 {
		return nil, unknowable{g, "a matrix has two generators"}
	}
	first, err := s.generate(both[0], nil, depth+1)
	if err != nil {
		return nil, err
	}
	var sets []params
	for _, a := range first {
		second, err := s.generate(both[1], a, depth+1)
		if err != nil {
			return nil, err
		}
		for _, b := range second {
			sets = append(sets, params(overlay(a, b)))
		}
	}
	return sets, nil
}

// merge puts the parameters of later generators over those of the first, where
// the merge keys agree.
func (s *appSet) merge(g object, depth int) ([]params, error) {
	all := g.at("generators").list()
	keys := g.at("mergeKeys").list()
	if len(all) < 2 || len(keys) == 0 {
		return nil, unknowable{g, "a merge has two generators or more, and mergeKeys"}
	}
	id := func(p params) string {
		var b strings.Builder
		f := flat(p)
		for _, k := range keys {
			fmt.Fprintf(&b, "%q ", fmt.Sprint(f[k.text()]))
		}
		return b.String()
	}
	base, err := s.generate(all[0], nil, depth+1)
	if err != nil {
		return nil, err
	}
	for _, one := range all[1:] {
		over, err := s.generate(one, nil, depth+1)
		if err != nil {
			return nil, err
		}
		by := map[string]params{}
		for _, p := range over {
			by[id(p)] = p
		}
		for i, p := range base {
			if o, ok := by[id(p)]; ok {
				base[i] = params(overlay(p, o))
			}
		}
	}
	return base, nil
}
