package deployment

import (
	"cmp"
	"encoding/base64"
	"strings"
)

const (
	fluxSources = "source.toolkit.fluxcd.io"
	defaultKey  = "values.yaml"
)

// helmRelease reads a HelmRelease of any of its API versions.
func (r *reader) helmRelease(o *kubeDocument) {
	spec := o.at("spec")
	target := spec.at("targetNamespace").text()
	d := Deployment{
		Key: r.key(o.file, "HelmRelease/"+o.namespace+"/"+o.name), Tool: Flux, From: o.where(),
		Namespace: cmp.Or(target, o.namespace), Name: spec.at("releaseName").text(),
	}
	switch {
	case d.Name != "":
	case target != "":
		d.Name = target + "-" + o.name
	default:
		d.Name = o.name
	}
	if spec.at("suspend").text() == "true" {
		d.Status = "suspended"
	}
	if secret := spec.at("kubeConfig", "secretRef", "name"); secret.is() {
		d.unresolved(secret, "it is installed in the cluster of the kubeConfig in Secret %s, which is not read", cut(secret.text()))
	}
	if ref := spec.at("chartRef"); ref.isMap() {
		r.fluxChartRef(&d, o, ref)
	} else if chart := spec.at("chart", "spec"); chart.isMap() {
		r.fluxChart(&d, o, chart)
	} else {
		d.unresolved(o.object, "it names neither a chart nor a chartRef")
	}
	for _, text := range []string{d.Chart.Name, d.Chart.Version, d.Chart.Constraint, d.Chart.Repository, d.Name, d.Namespace} {
		if strings.Contains(text, "${") {
			d.unresolved(o.object, "it has variables that a Flux Kustomization fills in")
			break
		}
	}
	values := r.fluxValues(&d, o)
	d.Values = maskedJSON(values)
	declare(&d, o.at("metadata", "labels").texts(), o.at("metadata", "annotations").texts())
	if !r.joinStored(&d) {
		r.add(d)
	}
}

// joinStored adds what a HelmRelease says of the chart to the release that
// Helm stored for it, where that is known too.
func (r *reader) joinStored(d *Deployment) bool {
	for i := range r.out.Deployments {
		s := &r.out.Deployments[i]
		if s.Tool != Helm || s.Namespace != d.Namespace || s.Name != d.Name || s.Chart.Name != d.Chart.Name {
			continue
		}
		s.Chart.Repository = cmp.Or(s.Chart.Repository, d.Chart.Repository)
		s.Chart.Constraint = cmp.Or(s.Chart.Constraint, d.Chart.Constraint)
		s.Chart.Digest = cmp.Or(s.Chart.Digest, d.Chart.Digest)
		s.Environment, s.Owner, s.Route = cmp.Or(s.Environment, d.Environment), cmp.Or(s.Owner, d.Owner), cmp.Or(s.Route, d.Route)
		if s.Mission == nil {
			s.Mission = d.Mission
		}
		return true
	}
	return false
}

// fluxFind finds an object that a HelmRelease refers to. Files often leave
// namespaces out, which a kustomization sets: then the name decides, if there
// is one object of it.
func (r *reader) fluxFind(group, kind, namespace, name string) *kubeDocument {
	if o := r.find(group, kind, namespace, name); o != nil {
		return o
	}
	var found *kubeDocument
	for i := range r.objects {
		o := &r.objects[i]
		if o.kind != kind || o.name != name || group != "" && !strings.HasPrefix(o.api, group+"/") || o.namespace != "" && namespace != "" {
			continue
		}
		if found != nil {
			return nil
		}
		found = o
	}
	return found
}

// fluxChart reads the chart of a HelmRelease or a HelmChart, by name, version
// and source.
func (r *reader) fluxChart(d *Deployment, from *kubeDocument, chart object) {
	name := chart.at("chart").text()
	ref := chart.at("sourceRef")
	kind, refName := ref.at("kind").text(), ref.at("name").text()
	namespace := cmp.Or(ref.at("namespace").text(), from.namespace)
	d.Chart.Name = name
	switch kind {
	case "HelmRepository":
		d.setVersion(chart.at("version"), chart)
		repo := r.fluxFind(fluxSources, kind, namespace, refName)
		if repo == nil {
			d.unresolved(ref, "the HelmRepository %s/%s is not among the files that are read", cut(namespace), cut(refName))
			return
		}
		d.Chart.Repository = repositoryURL(repo.at("spec", "url").text())
		if d.Chart.Repository == "" {
			d.unresolved(repo.object, "the HelmRepository has no URL")
		}
	case "GitRepository", "Bucket":
		p, err := within("", name)
		if err == nil {
			if local := r.localChart(p); local != nil {
				d.Chart = *local
				d.Chart.Repository = "file://" + p
				d.Dependencies = append(d.Dependencies, r.depend[p]...)
				return
			}
		}
		d.unresolved(chart, "the chart is the folder %s of the %s %s, which is not among the files that are read", cut(name), kind, cut(refName))
		d.Chart.Name = ""
	default:
		d.unresolved(ref, "the source is of the kind %q, which is not known", cut(kind))
	}
}

// fluxChartRef reads the chart that a HelmRelease refers to.
func (r *reader) fluxChartRef(d *Deployment, from *kubeDocument, ref object) {
	kind, name := ref.at("kind").text(), ref.at("name").text()
	namespace := cmp.Or(ref.at("namespace").text(), from.namespace)
	if kind != "OCIRepository" && kind != "HelmChart" {
		d.unresolved(ref, "the chart is of the kind %q, which is not known", cut(kind))
		return
	}
	o := r.fluxFind(fluxSources, kind, namespace, name)
	if o == nil {
		d.unresolved(ref, "the %s %s/%s is not among the files that are read", kind, cut(namespace), cut(name))
		return
	}
	if kind == "HelmChart" {
		r.fluxChart(d, o, o.at("spec"))
		return
	}
	spec := o.at("spec")
	d.Chart.Repository, d.Chart.Name = splitOCI(repositoryURL(spec.at("url").text()))
	at := spec.at("ref")
	// Flux takes the digest before the range, and the range before the tag.
	if digest := at.at("digest").text(); digest != "" {
		if d.Chart.Digest = digest; !isDigest(digest) {
			d.Chart.Digest = ""
			d.unresolved(at, "the digest is no SHA-256")
		}
	}
	switch {
	case at.at("semver").is():
		d.setVersion(at.at("semver"), at)
	case at.at("tag").is():
		version := strings.ReplaceAll(at.at("tag").text(), "_", "+")
		if exactVersion(version) {
			d.Chart.Version = version
		} else {
			d.unresolved(at, "the tag %q is no version", cut(version))
		}
	case d.Chart.Digest == "":
		d.unresolved(spec, "the OCIRepository takes the tag latest, which is no version")
	}
}

// fluxValues collects the values: valuesFrom in its order, then values. What
// comes from a Secret is masked whole.
func (r *reader) fluxValues(d *Deployment, o *kubeDocument) map[string]any {
	values := map[string]any{}
	for _, ref := range o.at("spec", "valuesFrom").list() {
		kind, name := ref.at("kind").text(), ref.at("name").text()
		optional := ref.at("optional").text() == "true"
		from := r.fluxFind("", kind, o.namespace, name)
		if from == nil {
			if !optional {
				d.unresolved(ref, "values: the %s %s/%s is not among the files that are read", cut(kind), cut(o.namespace), cut(name))
			}
			continue
		}
		key := cmp.Or(ref.at("valuesKey").text(), defaultKey)
		text, fault := fluxData(from, key)
		if fault != "" {
			if !optional {
				d.unresolved(ref, "values: the %s %s/%s %s", cut(kind), cut(o.namespace), cut(name), fault)
			}
			continue
		}
		if target := ref.at("targetPath").text(); target != "" {
			v := setValue(strings.TrimSpace(text))
			if kind == "Secret" {
				v = masked
			}
			if err := setPath(values, target, v); err != nil {
				d.unresolved(ref, "values: the targetPath %v", err)
			}
			continue
		}
		docs, err := r.parse(from.file, []byte(text))
		if err != nil {
			d.unresolved(ref, "values: %s of the %s %s/%s cannot be read: %v", cut(key), kind, cut(o.namespace), cut(name), err)
		}
		for _, doc := range docs {
			v, err := doc.values()
			if err != nil {
				d.unresolved(ref, "values: %s of the %s %s/%s %v", cut(key), kind, cut(o.namespace), cut(name), err)
			}
			if kind == "Secret" {
				v, _ = maskAll(v).(map[string]any)
			}
			values = overlay(values, v)
		}
	}
	if v := o.at("spec", "values"); v.is() {
		m, err := v.values()
		if err != nil {
			d.unresolved(v, "values %v", err)
		}
		values = overlay(values, m)
	}
	return values
}

// fluxData is the text that a ConfigMap or Secret has under a key.
func fluxData(o *kubeDocument, key string) (text, fault string) {
	if o.at("sops").isMap() {
		return "", "is encrypted"
	}
	if v := o.at("stringData", key); v.is() {
		return v.text(), ""
	}
	v := o.at("data", key)
	if !v.is() {
		return "", "has no " + cut(key)
	}
	if o.kind != "Secret" {
		return v.text(), ""
	}
	b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(v.text()), ""))
	if err != nil {
		return "", "holds what is not base64"
	}
	return string(b), ""
}
