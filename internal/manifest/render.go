package manifest

import (
	"cmp"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	helmchart "helm.sh/helm/v4/pkg/chart/v2"
	helmutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// KubeVersion is the Kubernetes that charts are rendered for when nobody names
// another.
const KubeVersion = "v1.33.0"

// Limits bound rendering and reading. Zero fields take the value of
// DefaultLimits.
type Limits struct {
	Archive       chart.Limits
	Templates     int   // files of the chart, dependencies and aliases included
	TemplateBytes int64 // of all templates
	Work          int64 // steps of the templates in one run, about 100 ns each
	Made          int64 // bytes that the templates make in one run, all told; memory in use is below it
	Output        int   // bytes of manifests that are read
	Documents     int   // objects in them
	Nodes         int   // values in all objects together
}

// DefaultLimits are for charts of strangers: a rendering ends within about a
// second and 300 MB. The largest of 299 real charts takes a twentieth of it.
func DefaultLimits() Limits {
	return Limits{
		Archive: chart.DefaultLimits(), Templates: 5000, TemplateBytes: 16 << 20,
		Work: 5_000_000, Made: 64 << 20, Output: 32 << 20, Documents: 10_000, Nodes: 2_000_000,
	}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	if l.Archive == (chart.Limits{}) {
		l.Archive = d.Archive
	}
	l.Templates, l.TemplateBytes = cmp.Or(l.Templates, d.Templates), cmp.Or(l.TemplateBytes, d.TemplateBytes)
	l.Work, l.Made = cmp.Or(l.Work, d.Work), cmp.Or(l.Made, d.Made)
	l.Output, l.Documents, l.Nodes = cmp.Or(l.Output, d.Output), cmp.Or(l.Documents, d.Documents), cmp.Or(l.Nodes, d.Nodes)
	return l
}

// Options say how a chart is rendered.
type Options struct {
	Values      map[string]any // over the chart's own; not changed
	Name        string         // of the deployment; "release" when empty
	Namespace   string         // "default" when empty
	KubeVersion string         // "1.33" or "v1.33.2"; KubeVersion when empty
	APIVersions []string       // that the cluster has beside Kubernetes' own: "monitoring.coreos.com/v1"
	Upgrade     bool           // as an upgrade; else as an installation
	// Lenient goes on where the chart says fail, or that a value is required.
	Lenient bool
	Limits  Limits
	// Templates are kept from one call to the next; nil keeps them for one call.
	Templates *Templates
}

func (o Options) orDefault() Options {
	o.Name, o.Namespace = cmp.Or(o.Name, "release"), cmp.Or(o.Namespace, "default")
	o.KubeVersion = cmp.Or(o.KubeVersion, KubeVersion)
	o.Limits = o.Limits.orDefault()
	if o.Templates == nil {
		o.Templates = &Templates{}
	}
	return o
}

// Rendered is what a chart makes of its values.
type Rendered struct {
	Objects []Object // by template, in the order in which they stand there; hooks included
	CRDs    []Object // of the crds folders: Helm installs them once and never upgrades them
	Notes   string   // NOTES.txt of the chart itself
	// Unstable are the fields that differ each time, "Secret/web: data.password".
	// In Objects their values are masked.
	Unstable []string
	// Misfits are values that break the schema of the chart, or of a dependency:
	// Helm refuses to install it. It was rendered all the same.
	Misfits []Misfit
	Faults  []Fault // what was rendered and cannot be read, and dependencies that are not in the archive
	Text    string  // all manifests, each under a "# Source:" line
}

// Render renders an archive with Helm's own engine, within limits. Its errors
// are problems: those of chart.Open; chart-load and values for what Helm cannot
// load; render-limit (TooLarge) for templates that want too much; render-failed
// (Invalid) for those that fail, with Helm's own words.
//
// Cost: the archive, what its templates do, and what they make; twice, when
// they ask for random values.
func Render(archive []byte, o Options) (Rendered, error) {
	o = o.orDefault()
	c, err := open(archive, o.Limits)
	if err != nil {
		return Rendered{}, err
	}
	return render(c, o)
}

// settle decides which dependencies of a chart are on.
func settle(c *helmchart.Chart, o Options) (err error) {
	defer contain(&err)
	if c.Metadata.Type == "library" {
		return problem.New(problem.Invalid, "library-chart", "the chart is a library and renders nothing of its own").
			With("chart", "%s", c.Name())
	}
	if err := checkSize(c, o.Limits); err != nil {
		return err
	}
	if err := helmutil.ProcessDependencies(c, maps.Clone(o.Values)); err != nil {
		return problem.New(problem.Invalid, "values", "the values do not fit the chart's dependencies: %s", oneLine(err.Error())).Because(err)
	}
	return nil
}

// absent are the dependencies of a settled chart that are on and that the
// archive does not hold. Helm refuses to install such a chart.
func absent(c *helmchart.Chart) []Fault {
	var out []Fault
	held := map[string]bool{}
	for _, d := range c.Dependencies() {
		held[d.Name()] = true
		out = append(out, absent(d)...)
	}
	for _, d := range c.Metadata.Dependencies {
		if d != nil && !held[d.Name] {
			out = append(out, Fault{Source: c.ChartFullPath() + "/Chart.yaml", Reason: oneLine("depends on " + d.Name + " " + d.Version + ", which is not in the archive in that version: what it renders is not known")})
		}
	}
	return out
}

// render renders a chart, whose texts it changes.
func render(c *helmchart.Chart, o Options) (Rendered, error) {
	if err := settle(c, o); err != nil {
		return Rendered{}, err
	}
	if err := weave(c, o.Templates); err != nil {
		return Rendered{}, err
	}
	capabilities, err := capabilitiesOf(o)
	if err != nil {
		return Rendered{}, err
	}
	first, b, err := run(c, o, capabilities, 0)
	if err != nil {
		return Rendered{}, err
	}
	r := read(c, first, o)
	r.Faults = append(r.Faults, absent(c)...)
	if err := r.checkSchema(c, o); err != nil {
		return Rendered{}, err
	}
	if b.random {
		second, _, err := run(c, o, capabilities, 1)
		if err != nil {
			r.Faults = append(r.Faults, Fault{Source: c.Name(), Reason: "rendered a second time, the chart fails: " + err.Error()})
		} else {
			r.Unstable = mask(r.Objects, read(c, second, o).Objects)
		}
	}
	return r, nil
}

// checkSchema holds the values to the schemas of the chart.
func (r *Rendered) checkSchema(c *helmchart.Chart, o Options) (err error) {
	defer contain(&err)
	values, err := coalesced(c, o)
	if err != nil {
		return err
	}
	misfits, unchecked := misfits(c, values, "")
	r.Misfits, r.Faults = misfits, append(r.Faults, unchecked...)
	return nil
}

// coalesced are the values that hold: the chart's own, those of its dependencies
// below their names, and those that were given over them.
func coalesced(c *helmchart.Chart, o Options) (_ common.Values, err error) {
	defer contain(&err)
	values, err := commonutil.CoalesceValues(c, o.Values)
	if err != nil {
		return nil, problem.New(problem.Invalid, "values", "the values do not fit the chart: %s", oneLine(err.Error())).Because(err)
	}
	return values, nil
}

// run executes the templates once.
func run(c *helmchart.Chart, o Options, capabilities *common.Capabilities, n int) (_ map[string]string, _ *budget, err error) {
	defer contain(&err)
	release := common.ReleaseOptions{Name: o.Name, Namespace: o.Namespace, Revision: 1, IsInstall: !o.Upgrade, IsUpgrade: o.Upgrade}
	if o.Upgrade {
		release.Revision = 2
	}
	// A schema may point to other hosts: checkSchema follows those that do not.
	values, err := commonutil.ToRenderValuesWithSchemaValidation(c, o.Values, release, capabilities, true)
	if err != nil {
		return nil, nil, problem.New(problem.Invalid, "values", "the values do not fit the chart: %s", oneLine(err.Error())).Because(err)
	}
	b := &budget{limits: o.Limits, run: n, lenient: o.Lenient}
	e := engine.Engine{CustomTemplateFuncs: b.functions()}
	//lint:ignore SA1019 the guard ends it, not a context
	out, err := e.Render(c, values)
	if b.over != nil {
		if err != nil {
			b.over.Err = unweave(err)
		}
		return nil, b, b.over
	}
	if err != nil {
		return nil, b, problem.New(problem.Invalid, "render-failed", "the chart does not render: %s", oneLine(unweave(err).Error()))
	}
	if b.pointers {
		for name, text := range out {
			out[name] = address.ReplaceAllString(text, "0x0")
		}
	}
	return out, b, nil
}

// address is a place in memory, as a template has it that prints all that it
// was given.
var address = regexp.MustCompile(`\b0x[0-9a-f]{9,12}\b`)

// read turns what was rendered into objects.
func read(c *helmchart.Chart, out map[string]string, o Options) Rendered {
	var r Rendered
	var text strings.Builder
	notes := path.Join(c.ChartFullPath(), "templates", "NOTES.txt")
	for _, name := range slices.Sorted(maps.Keys(out)) {
		if path.Base(name) == "NOTES.txt" {
			if name == notes {
				r.Notes = out[name]
			}
			continue
		}
		if strings.TrimSpace(out[name]) != "" {
			text.WriteString("---\n# Source: " + name + "\n" + strings.TrimPrefix(strings.TrimLeft(out[name], " \t\r\n"), "---\n") + "\n")
		}
	}
	p := parser{limits: o.Limits, namespace: o.Namespace}
	for _, name := range slices.Sorted(maps.Keys(out)) {
		if path.Base(name) != "NOTES.txt" {
			r.Objects = append(r.Objects, p.file(name, out[name])...)
		}
	}
	for _, f := range c.CRDObjects() {
		r.CRDs = append(r.CRDs, p.file(f.Filename, string(f.File.Data))...)
	}
	r.Faults, r.Text = p.faults, text.String()
	return r
}

// capabilitiesOf are those of a cluster of the version without any extension.
// APIs that this version no longer serves are left out.
func capabilitiesOf(o Options) (*common.Capabilities, error) {
	v, err := common.ParseKubeVersion(o.KubeVersion)
	if err != nil {
		return nil, problem.New(problem.Invalid, "kube-version", "%q is not a version of Kubernetes", o.KubeVersion).Suggest("give one such as 1.33")
	}
	c := common.DefaultCapabilities.Copy()
	c.KubeVersion = *v
	served := map[string]bool{}
	for gvk := range scheme.Scheme.AllKnownTypes() {
		if gvk.Version == "__internal" {
			continue
		}
		api := gvk.GroupVersion().String()
		if at, _, known := RemovedIn(gvk.Group, gvk.Version, gvk.Kind); known && !before(v.Version, at) {
			continue
		}
		if wholly := goneGroups[api]; wholly != "" && !before(v.Version, wholly) {
			continue
		}
		served[api], served[api+"/"+gvk.Kind] = true, true
	}
	for _, a := range o.APIVersions {
		served[a] = true
	}
	c.APIVersions = slices.Sorted(maps.Keys(served))
	return c, nil
}
