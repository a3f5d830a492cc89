package manifest

import (
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	helmchart "helm.sh/helm/v4/pkg/chart/v2"
	"sigs.k8s.io/yaml"
)

// chartFields are the fields of a Chart.yaml that Helm knows.
var chartFields = nameSet(`name home sources version description keywords maintainers icon apiVersion condition tags appVersion
	deprecated annotations kubeVersion dependencies type`)

// LintChart finds what is wrong with the files of a chart by themselves, as helm
// lint does: unknown and ill-formed fields of Chart.yaml, dependencies that are
// listed or held alone, files that Helm does not take for what they seem to be.
// What is rendered is for Lint and Inspect. Its errors are those of Render for
// an archive that cannot be read. Cost: linear in the files.
func LintChart(archive []byte, lim Limits) ([]Finding, error) {
	c, err := open(archive, lim.orDefault())
	if err != nil {
		return nil, err
	}
	var found findings
	found.chartYAML(c)
	found.held(c)
	for _, t := range c.Templates {
		if ext := path.Ext(t.Name); !slices.Contains([]string{".yaml", ".yml", ".tpl", ".txt"}, ext) {
			found.add("template-extension", Medium, t.Name, fmt.Sprintf("is a template whose name ends in %q, and not in .yaml, .yml, .tpl or .txt", ext), "", "")
		}
	}
	if c.Metadata.Type != "library" && len(c.Templates) == 0 && len(c.Dependencies()) == 0 {
		found.add("templates-missing", Low, "templates", "has nothing in it: the chart renders nothing", "", "")
	}
	if !slices.ContainsFunc(c.Raw, func(f *common.File) bool { return f.Name == "values.yaml" }) {
		found.add("values-missing", Info, "values.yaml", "is missing", "", "")
	}
	for _, crd := range c.CRDObjects() {
		if !strings.HasPrefix(crd.Filename, c.Name()+"/crds/") {
			continue // of a dependency
		}
		objects, faults := Parse(string(crd.File.Data), "default", lim)
		for _, f := range faults {
			found.add("crd-file", High, crd.Name, "is in the crds folder, where nothing is a template: "+f.Reason, "", "")
		}
		for _, o := range objects {
			if o.Kind != "CustomResourceDefinition" {
				found.add("crd-file", High, crd.Name, "is in the crds folder and has a "+o.Kind, "", "")
			}
		}
	}
	return found.sorted(), nil
}

// chartYAML looks at the fields of Chart.yaml.
func (f *findings) chartYAML(c *helmchart.Chart) {
	const at = "Chart.yaml"
	var fields map[string]any
	for _, r := range c.Raw {
		if r.Name == at {
			_ = yaml.Unmarshal(r.Data, &fields) // what Helm read can be read
		}
	}
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		if !chartFields[k] {
			f.add("chart-field", Low, at, "has a field that Helm does not know: "+k, "", "")
		}
	}
	for _, k := range []string{"version", "appVersion"} {
		if _, isText := fields[k].(string); fields[k] != nil && !isText {
			f.add("chart-field-type", Medium, at, k+" is no text but a "+typeOf(fields[k])+", and may be read otherwise than it is written; put it in quotes", "", "")
		}
	}
	m := c.Metadata
	for i, p := range m.Maintainers {
		switch {
		case p == nil || p.Name == "":
			f.add("chart-maintainer", Medium, at, fmt.Sprintf("maintainer %d has no name", i+1), "", "")
		case p.Email != "" && !strings.Contains(p.Email, "@"):
			f.add("chart-maintainer", Low, at, fmt.Sprintf("the mail address of maintainer %d is none", i+1), "", "")
		case p.URL != "" && !isURL(p.URL):
			f.add("chart-maintainer", Low, at, fmt.Sprintf("the address of maintainer %d is none", i+1), "", "")
		}
	}
	for _, s := range m.Sources {
		if !isURL(s) {
			f.add("chart-source", Low, at, "names a source that is no address: "+s, "", "")
		}
	}
	switch {
	case m.Icon == "":
		f.add("chart-icon", Info, at, "names no icon", "", "")
	case !isURL(m.Icon) && !strings.HasPrefix(m.Icon, "data:"):
		f.add("chart-icon", Low, at, "names an icon that is no address: "+m.Icon, "", "")
	}
	if m.APIVersion == "v1" && len(m.Dependencies) > 0 && fields["dependencies"] != nil {
		f.add("chart-dependency-v1", Medium, at, "lists dependencies, which Helm 2 reads from requirements.yaml alone; write apiVersion: v2", "", "")
	}
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// held compares the dependencies that are listed with those that are there.
func (f *findings) held(c *helmchart.Chart) {
	held, listed := map[string]bool{}, map[string]bool{}
	for _, d := range c.Dependencies() {
		held[d.Name()] = true
	}
	for _, d := range c.Metadata.Dependencies {
		if d == nil {
			continue
		}
		listed[d.Name] = true
		if !held[d.Name] {
			f.add("dependency-missing", Medium, "Chart.yaml", "depends on "+d.Name+", which is not in the charts folder: Helm refuses to install the chart as it is", "", "")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(held)) {
		if !listed[name] {
			f.add("dependency-unlisted", Medium, "charts/"+name, "is in the charts folder, and Chart.yaml does not list it: it is always rendered", "", "")
		}
	}
}
