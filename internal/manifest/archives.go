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
// does under the given values, which may be none: what is rendered, the
// definitions in the crds folders, what the charts say of themselves, and
// their values.
//
// A chart that does not render is a finding, not-rendered, with Helm's reason.
// What can be had all the same follows: first both charts are rendered past
// what they require and refuse; where that fails too, the lines of the
// templates that speak of rights, images and privileges are compared as text.
//
// The error is that of an archive that cannot be read at all; which of the two,
// is a fact of the problem.
// Cost: two renderings, and Compare.
func CompareArchives(old, new []byte, o Options) (Result, error) {
	o = o.orDefault()
	charts, err := openBoth(old, new, o)
	if err != nil {
		return Result{}, err
	}
	r := Result{Old: nameOf(charts[0]), New: nameOf(charts[1])}
	var found findings
	found.metadata(charts[0], charts[1])
	found = append(found, compareValues(charts[0], charts[1], o.Values)...)
	rendered, failed := renderBoth(charts, o)
	if failed == [2]error{} {
		r.Findings = append(found, compareRendered(rendered, charts)...).sorted()
		return r, nil
	}
	library := 0
	for i, err := range failed {
		if p, ok := problem.As(err); ok && p.Rule == "library-chart" {
			library++
		} else if err != nil {
			found.add("not-rendered", Medium, nameOf(charts[i]), reason(err), "", "")
		}
	}
	// Rendering changed the charts.
	if charts, err = openBoth(old, new, o); err != nil {
		return Result{}, err
	}
	o.Lenient = true
	if rendered, failed = renderBoth(charts, o); failed == [2]error{} {
		found.add("compared-partly", Low, r.New, "both charts were rendered past what they require and refuse; with real values they may differ otherwise", "", "")
		r.Findings = append(found, compareRendered(rendered, charts)...).sorted()
		return r, nil
	}
	if charts, err = openBoth(old, new, o); err != nil {
		return Result{}, err
	}
	if library < 2 {
		found.add("compared-as-text", Medium, r.New, "the templates were compared as text: what their lines do is not known", "", "")
	}
	r.Findings = append(found, compareTexts(charts[0], charts[1])...).sorted()
	return r, nil
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

func renderBoth(charts [2]*helmchart.Chart, o Options) (rendered [2]Rendered, failed [2]error) {
	for i, c := range charts {
		rendered[i], failed[i] = render(c, o)
	}
	return rendered, failed
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
func compareRendered(rendered [2]Rendered, charts [2]*helmchart.Chart) []Finding {
	old, new := rendered[0], rendered[1]
	var found findings
	for _, f := range Compare(old.Objects, new.Objects) {
		if f.Rule == "crd-removed" && holds(new.CRDs, f.Object) {
			f.Message = "moves from the templates to the crds folder: helm upgrade deletes it, and with it every object of its kind in the cluster"
		}
		if f.Rule == "crd-added" && holds(old.CRDs, f.Object) {
			f.Rule, f.Severity, f.Message = "crd-adopted", Medium, "moves from the crds folder to the templates: helm upgrade refuses to take over what is in the cluster until it is labelled as the release's"
		}
		found = append(found, f)
	}
	for _, f := range Compare(old.CRDs, new.CRDs) {
		switch {
		case f.Rule == "crd-removed" && holds(new.Objects, f.Object), f.Rule == "crd-added" && holds(old.Objects, f.Object):
			continue // told above
		case f.Rule == "crd-removed":
			// Helm does not touch what the crds folder installed.
			f.Severity, f.Message = Low, "is no longer part of the chart; Helm leaves it in the cluster"
		}
		found = append(found, f)
		if f.Rule == "crd-changed" || f.Rule == "crd-version-added" {
			found.add("crd-not-upgraded", Medium, f.Object, "has changed in the crds folder, which helm upgrade does not apply", "", "")
		}
	}
	for i, r := range rendered {
		for _, f := range r.Faults {
			found.add("not-read", Medium, nameOf(charts[i]), f.String(), "", "")
		}
	}
	for _, u := range new.Unstable {
		if !slices.Contains(old.Unstable, u) {
			object, field, _ := strings.Cut(u, ": ")
			found.add("unstable", Low, object, "is different each time the chart is rendered: "+field, "", "")
		}
	}
	return found
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
	{"template-rights", High, "rights", true, regexp.MustCompile(`(^|[\s{,])["']?(verbs|resources|apiGroups|resourceNames|nonResourceURLs|roleRef|subjects|kind|name)["']?:|^\s*-\s*["']?[\w*./-]*["']?\s*$`)},
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
		lines := newLines(was[name], is[name])
		for _, r := range textRules {
			if r.roles && !roleText.MatchString(is[name]) {
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
