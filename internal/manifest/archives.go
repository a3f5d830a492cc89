package manifest

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	helmchart "helm.sh/helm/v4/pkg/chart/v2"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// CompareArchives says what the difference between two archives of a chart
// does under the given values, which may be none: the findings of
// CompareCharts, and its errors, without the rest. APIs that any version of
// Kubernetes removed are findings.
// Cost: two renderings, and Compare.
func CompareArchives(old, new []byte, o Options) (Result, error) {
	e, err := NewBase(old, o).examine(new, "")
	if err != nil {
		return Result{}, err
	}
	return Result{Old: e.names[0], New: e.names[1], Findings: e.found.sorted()}, nil
}

// Basis says on what a comparison rests.
type Basis string

// The bases, from the best.
const (
	BasisRendered Basis = "rendered"               // both charts rendered
	BasisLenient  Basis = "rendered-past-refusals" // they did past what they require and refuse
	BasisTemplate Basis = "templates"              // one does not render: templates were compared as text
)

// examined is what comparing two archives found.
type examined struct {
	metadata [2]helmchart.Metadata
	names    [2]string // name and version
	basis    Basis
	reasons  [2]string // why a chart did not render by itself
	rendered [2]Rendered
	objects  []pair // what rendered
	crds     []pair // the definitions in the crds folders
	found    findings
	fit      Fit
	exposed  exposures
}

// examine compares the base with another archive. A chart that does not render is a finding,
// not-rendered, with Helm's reason. What can be had all the same follows: first
// both charts are rendered past what they require and refuse; where that fails
// too, the lines of the templates that speak of rights, images and privileges
// are compared as text. kube is the version of Kubernetes whose APIs count.
//
// The error is that of an archive that cannot be read at all, which of the two
// is a fact of the problem; or that of a version of Kubernetes that is none.
func (b *Base) examine(new []byte, kube string) (e examined, err error) {
	old, o := b.archive, b.options
	charts, err := openBoth(old, new, o)
	if err != nil {
		return e, err
	}
	for i, c := range charts {
		e.metadata[i], e.names[i] = *c.Metadata, nameOf(c)
	}
	e.basis, e.exposed = BasisRendered, exposures{}
	e.found.metadata(charts[0], charts[1])
	values, fit := compareValues(charts[0], charts[1], o.Values)
	e.found, e.fit = append(e.found, values...), fit
	optional := optionalRights(charts[0], charts[1])
	var failed [2]error
	if e.rendered, failed = b.render(charts, new, o); failed == [2]error{} {
		e.compareRendered(kube)
		if !slices.ContainsFunc(e.found, func(f Finding) bool { return f.Rule == "rights-widened" }) {
			e.found = append(e.found, optional...)
		}
		return e, nil
	}
	library := 0
	for i, err := range failed {
		switch p, ok := problem.As(err); {
		case ok && p.Rule == "kube-version":
			return e, err // the options are wrong, not the chart
		case ok && p.Rule == "library-chart":
			library++
		case err != nil:
			e.reasons[i] = oneLine(reason(err))
			e.found.add("not-rendered", Medium, e.names[i], reason(err), "", "")
		}
	}
	// Rendering changed the charts.
	if charts, err = openBoth(old, new, o); err != nil {
		return e, err
	}
	o.Lenient = true
	if e.rendered, failed = b.render(charts, new, o); failed == [2]error{} {
		e.basis = BasisLenient
		e.found.add("compared-partly", Low, e.names[1], "both charts were rendered past what they require and refuse; with real values they may differ otherwise", "", "")
		e.compareRendered(kube)
		return e, nil
	}
	if charts, err = openBoth(old, new, o); err != nil {
		return e, err
	}
	e.basis, e.rendered = BasisTemplate, [2]Rendered{}
	if library < 2 {
		e.found.add("compared-as-text", Medium, e.names[1], "the templates were compared as text: what their lines do is not known", "", "")
	}
	e.found = append(e.found, compareTexts(charts[0], charts[1])...)
	return e, nil
}

// openBoth opens two archives; the problem of one that cannot be opened says
// which it is.
func openBoth(old, new []byte, o Options) (charts [2]*helmchart.Chart, err error) {
	for i, b := range [][]byte{old, new} {
		if charts[i], err = open(b, o.Limits); err != nil {
			side := []string{"old", "new"}[i]
			if p, ok := problem.As(err); ok {
				return charts, p.With("archive", "%s", side)
			}
			return charts, fmt.Errorf("open %s archive: %w", side, err)
		}
	}
	return charts, nil
}

func nameOf(c *helmchart.Chart) string { return oneLine(c.Name() + " " + c.Metadata.Version) }

// reason is the message of a problem with its cause, for a finding.
func reason(err error) string {
	p, ok := problem.As(err)
	if !ok {
		return err.Error()
	}
	if cause := errors.Unwrap(p); cause != nil && p.Rule == "render-limit" {
		return p.Message + " (" + cause.Error() + ")"
	}
	return p.Message
}

// compareRendered compares objects, CRDs and what is around them.
func (e *examined) compareRendered(kube string) {
	old, new := e.rendered[0], e.rendered[1]
	found := &e.found
	c := comparer{old: old.Objects, new: new.Objects, kube: kube, pairs: match(old.Objects, new.Objects), exposed: e.exposed}
	for _, f := range c.compare() {
		if f.Rule == "crd-removed" && holds(new.CRDs, f.Object) {
			f.Message = "moves from the templates to the crds folder: helm upgrade deletes it, and with it every object of its kind in the cluster"
		}
		if f.Rule == "crd-added" && holds(old.CRDs, f.Object) {
			f.Rule, f.Severity, f.Message = "crd-adopted", Medium, "moves from the crds folder to the templates: helm upgrade refuses to take over what is in the cluster until it is labelled as the release's"
		}
		*found = append(*found, f)
	}
	d := comparer{old: old.CRDs, new: new.CRDs, kube: kube, pairs: match(old.CRDs, new.CRDs)}
	for _, f := range d.compare() {
		switch {
		case f.Rule == "crd-removed" && holds(new.Objects, f.Object), f.Rule == "crd-added" && holds(old.Objects, f.Object):
			continue // told above
		case f.Rule == "crd-removed":
			// Helm does not touch what the crds folder installed.
			f.Severity, f.Message = Low, "is no longer part of the chart; Helm leaves it in the cluster"
		}
		*found = append(*found, f)
		switch f.Rule {
		case "crd-changed", "crd-version-added":
			found.add("crd-not-upgraded", Medium, f.Object, "has changed in the crds folder, which helm upgrade does not apply", "", "")
		case "crd-added":
			found.add("crd-not-upgraded", Medium, f.Object, "is new in the crds folder, which helm upgrade does not apply", "", "")
		}
	}
	e.objects, e.crds = c.pairs, d.pairs
	for i, r := range e.rendered {
		for _, f := range r.Faults {
			found.add("not-read", Medium, e.names[i], f.String(), "", "")
		}
	}
	for _, m := range new.Misfits {
		if !slices.Contains(old.Misfits, m) {
			found.add("schema-broken", High, orElse(m.Path, "values"), "breaks the schema of the new version, and Helm refuses the upgrade: "+m.Reason, "", "")
		}
	}
	for _, u := range new.Unstable {
		if !slices.Contains(old.Unstable, u) {
			object, field, _ := strings.Cut(u, ": ")
			found.add("unstable", Low, object, "is different each time the chart is rendered: "+field, "", "")
		}
	}
}

func holds(objects []Object, id string) bool {
	return slices.ContainsFunc(objects, func(o Object) bool { return o.ID() == id })
}

// metadata compares what two charts say of themselves.
func (f *findings) metadata(old, new *helmchart.Chart) {
	o, n, at := old.Metadata, new.Metadata, "Chart.yaml"
	if o.AppVersion != n.AppVersion {
		rule, s, message := "app-version", Info, "installs another version of the software"
		if older(n.AppVersion, o.AppVersion) {
			s, message = Medium, "installs an older version of the software"
		}
		f.add(rule, s, at, message, o.AppVersion, n.AppVersion)
	}
	if o.KubeVersion != n.KubeVersion {
		f.add("kube-version", Low, at, "asks for other versions of Kubernetes", o.KubeVersion, n.KubeVersion)
	}
	if o.Type != n.Type && (o.Type == "library" || n.Type == "library") {
		f.add("chart-type", High, at, "has become another type of chart", orElse(o.Type, "application"), orElse(n.Type, "application"))
	}
	if n.Deprecated && !o.Deprecated {
		f.add("deprecated", Medium, at, "is no longer maintained, as it says itself", "", "")
	}
	was := map[string]*helmchart.Dependency{}
	keyOf := func(d *helmchart.Dependency) string { return d.Name + " " + d.Alias }
	for _, d := range o.Dependencies {
		if d != nil {
			was[keyOf(d)] = d
		}
	}
	for _, d := range n.Dependencies {
		if d == nil {
			continue
		}
		w := was[keyOf(d)]
		delete(was, keyOf(d))
		switch {
		case w == nil:
			f.add("dependency-added", Low, at, "depends on "+d.Name+" of "+orElse(d.Repository, "its own charts folder"), "", d.Version)
		case w.Repository != d.Repository:
			f.add("dependency-repository", Medium, at, "takes "+d.Name+" from elsewhere", w.Repository, d.Repository)
		case w.Version != d.Version:
			f.add("dependency-changed", Low, at, "depends on another version of "+d.Name, w.Version, d.Version)
		}
	}
	for _, d := range o.Dependencies {
		if d != nil && was[keyOf(d)] == d {
			f.add("dependency-removed", Info, at, "depends no more on "+d.Name, d.Version, "")
		}
	}
}

// textRules find lines of templates that matter, when nothing better can be
// had.
var textRules = []struct {
	rule     string
	severity Severity
	about    string
	roles    bool // only in templates that define roles or bindings
	line     *regexp.Regexp
}{
	{"template-rights", High, "rights", true, regexp.MustCompile(`(^|[\s{,])["']?(verbs|resources|apiGroups|resourceNames|nonResourceURLs|roleRef|subjects|kind|name)["']?:|^\s*-\s+["']?[\w*./-]+["']?\s*$`)},
	{"template-privileges", High, "privileges", false, regexp.MustCompile(`(?i)\b(privileged|hostNetwork|hostPID|hostIPC|hostPath|hostPort|allowPrivilegeEscalation|runAsUser|runAsNonRoot|capabilities|seccompProfile|automountServiceAccountToken)\b.*:`)},
	{"template-image", Low, "images", false, regexp.MustCompile(`^\s*(-\s*)?["']?image["']?:`)},
	{"template-exposure", Medium, "exposure", false, regexp.MustCompile(`\b(NodePort|LoadBalancer|kind:\s*(Ingress|Gateway|HTTPRoute))\b`)},
}

var roleText = regexp.MustCompile(`(?m)^\s*kind:.*\b(Cluster)?Role(Binding)?\b`)

// compareTexts compares the templates of two charts line by line, where they
// speak of rights, privileges, images and exposure.
func compareTexts(old, new *helmchart.Chart) []Finding {
	was, is := templateTexts(old), templateTexts(new)
	var found findings
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if was[name] == is[name] {
			continue
		}
		lines := newLines(was[name], is[name])
		for _, r := range textRules {
			if r.roles && !(strings.Contains(is[name], "Role") && roleText.MatchString(is[name])) {
				continue
			}
			var some []line
			for _, l := range lines {
				if r.line.MatchString(l.text) {
					some = append(some, l)
				}
			}
			if len(some) > 0 {
				found.add(r.rule, r.severity, fmt.Sprintf("%s:%d", name, some[0].number),
					fmt.Sprintf("has new lines about %s: %d, of which this is the first", r.about, len(some)), "", some[0].text)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(was)) {
		if _, there := is[name]; !there {
			found.add("template-removed", Low, name, "is no longer there", "", "")
		}
	}
	return found
}

// optionalRights are new lines about rights in the templates: where the same
// values widen no rights, others may.
func optionalRights(old, new *helmchart.Chart) []Finding {
	var found findings
	for _, f := range compareTexts(old, new) {
		if f.Rule == "template-rights" {
			found.add("rights-optional", Low, f.Object, "has new lines about rights, and with these values nobody gets more; others may give more", "", f.New)
		}
	}
	return found
}

// templateTexts are the templates of a chart and its dependencies by their paths.
func templateTexts(c *helmchart.Chart) map[string]string {
	out := map[string]string{}
	for _, t := range c.Templates {
		out[strings.TrimPrefix(path.Join(c.ChartFullPath(), t.Name), c.Root().Name()+"/")] = string(t.Data)
	}
	for _, d := range c.Dependencies() {
		maps.Copy(out, templateTexts(d))
	}
	return out
}

type line struct {
	number int
	text   string
}

// newLines are the lines of a text that another does not have, or has less
// often.
func newLines(old, new string) []line {
	count := map[string]int{}
	for l := range strings.Lines(old) {
		count[strings.TrimSpace(l)]++
	}
	var out []line
	number := 0
	for l := range strings.Lines(new) {
		number++
		if t := strings.TrimSpace(l); t != "" {
			if count[t]--; count[t] < 0 {
				out = append(out, line{number, t})
			}
		}
	}
	return out
}
