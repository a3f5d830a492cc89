package cli

import (
	"bytes"
	"cmp"
	"context"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

const checkLong = `
Check a chart before it is released, without a server. PATH is a chart folder,
a chart archive, or a folder of either.

These are checked: what a registry of ours would refuse (names, SemVer, limits,
files that readers unpack differently); Chart.yaml, dependencies and files, as
helm lint does; that the chart renders with its own values, and
with those of each file ci/*-values.yaml, and keeps to its schema; what is
rendered: names and selectors that Kubernetes refuses, Pod Security Standards,
rights, exposure, secrets in clear and known credentials, movable images, and
APIs that Kubernetes removed.

The exit code is 3 when the registry would refuse a chart, and 1 when one
renders with none of its values, so that what it runs is not known.`

// checkOptions are those of check.
type checkOptions struct {
	kube   string
	failOn string
}

func (o *checkOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.kube, "kube-version", "", "`VERSION` of Kubernetes to render for, and whose missing APIs are told (default: "+strings.TrimPrefix(manifest.KubeVersion, "v")+")")
	f.StringVar(&o.failOn, "fail-on", "", "exit with 6 when there is a finding of `SEVERITY` or above: info, low, medium, high, critical")
}

func (a *app) checkCommand() *cobra.Command {
	var o checkOptions
	return a.leaf(command{
		use: "check PATH", short: "Check a chart before it is released", long: checkLong,
		example: `
chartkeep check ./web
chartkeep check web-1.5.0.tgz --kube-version 1.34 --fail-on high
chartkeep check ./charts -o sarif > check.sarif`,
		args: arguments{1, 1, "a chart folder, a chart archive, or a folder of either"}, flags: o.register, files: true, reports: true,
		run: func(_ context.Context, args []string) (result, error) {
			if err := checkSeverity(o.failOn); err != nil {
				return nil, err
			}
			r, err := o.check(args[0])
			if err != nil {
				return nil, err
			}
			return r, r.outcome()
		},
	})
}

// check checks every chart at a place.
func (o *checkOptions) check(where string) (checkResult, error) {
	r := checkResult{Findings: []checkFinding{}, Charts: []checkedChart{}, failOn: o.failOn}
	places, err := chartsAt(where)
	if err != nil {
		return r, err
	}
	for _, place := range places {
		if err := o.checkChart(&r, place); err != nil {
			return r, err
		}
	}
	slices.SortStableFunc(r.Findings, func(a, b checkFinding) int { return cmp.Compare(b.Severity.Rank(), a.Severity.Rank()) })
	return r, nil
}

// chartsAt are the charts at a place: itself, or those in the folder.
func chartsAt(where string) ([]string, error) {
	info, err := os.Stat(where)
	if err != nil {
		return nil, fileProblem(where, err)
	}
	if !info.IsDir() || isChart(where) {
		return []string{where}, nil
	}
	entries, err := os.ReadDir(where)
	if err != nil {
		return nil, fileProblem(where, err)
	}
	var out []string
	for _, e := range entries {
		at := filepath.Join(where, e.Name())
		if isChart(at) || e.Type().IsRegular() && filepath.Ext(at) == ".tgz" {
			out = append(out, at)
		}
	}
	if len(out) == 0 {
		return nil, problem.New(problem.NotFound, "chart-folder", "there is no chart in %s: it has no Chart.yaml, and neither a folder with one nor a .tgz", where)
	}
	return out, nil
}

// checkChart checks one chart.
func (o *checkOptions) checkChart(r *checkResult, place string) error {
	c := checkedChart{Path: filepath.ToSlash(place), Chart: filepath.Base(place), Rendered: []string{}, NotRendered: []string{}}
	archive, err := readChart(place)
	if err == nil {
		err = r.refusals(&c, place, archive)
	}
	if p, ok := problem.As(err); ok && (p.Kind == problem.Invalid || p.Kind == problem.TooLarge) {
		// What cannot be read at all is refused, and there is nothing else to say.
		c.Refused, c.Unread = true, true
		r.add(&c, "", manifest.Finding{Rule: p.Rule, Severity: manifest.High, Object: c.Path, Message: sentence(p)})
	} else if err != nil {
		return err
	}
	if !c.Unread {
		if err := r.lint(&c, archive); err != nil {
			return err
		}
		if err := r.renders(&c, archive, o.kube); err != nil {
			return err
		}
	}
	r.Charts = append(r.Charts, c)
	return nil
}

// sentence is a problem with its facts, in one line.
func sentence(p *problem.Error) string {
	text := p.Message
	for _, f := range p.Facts {
		text += "; " + f.Label + ": " + f.Value
	}
	return text
}

// refusals are what a registry would refuse an archive for. The error is that
// of one that cannot be read.
func (r *checkResult) refusals(c *checkedChart, place string, archive []byte) error {
	a, err := chart.Open(bytes.NewReader(archive), chart.DefaultLimits())
	if err != nil {
		return err
	}
	c.Chart, c.Version, c.Digest, c.Content = a.Metadata.Name, a.Metadata.Version, a.Digest, a.Content
	faults := a.Faults()
	if want := chart.FileName(a.Metadata.Name, a.Metadata.Version); filepath.Ext(place) == ".tgz" && filepath.Base(place) != want {
		faults = append(faults, problem.New(problem.Invalid, "file-name-mismatch", "the file is named %s, and has to be %s", filepath.Base(place), want))
	}
	for _, p := range faults {
		c.Refused = true
		r.add(c, "", manifest.Finding{Rule: p.Rule, Severity: manifest.High, Object: "Chart.yaml", Message: sentence(p)})
	}
	if info, err := os.Stat(place); err == nil && info.IsDir() {
		c.Digest = "" // a folder has none: the next packing has other bytes
	}
	return nil
}

// lint is what is wrong with the files of a chart by themselves.
func (r *checkResult) lint(c *checkedChart, archive []byte) error {
	found, err := manifest.LintChart(archive, manifest.Limits{})
	if p, ok := problem.As(err); ok {
		r.add(c, "", manifest.Finding{Rule: p.Rule, Severity: manifest.High, Object: "Chart.yaml", Message: sentence(p)})
		return nil
	}
	for _, f := range found {
		r.add(c, "", f)
	}
	return err
}

// renders renders a chart with its own values, and with those of each file in
// its folder ci.
func (r *checkResult) renders(c *checkedChart, archive []byte, kube string) error {
	type set struct {
		name   string
		values []byte
	}
	sets := []set{{"values.yaml", nil}}
	if _, err := chart.OpenEach(bytes.NewReader(archive), chart.DefaultLimits(), func(at string, content []byte) {
		if ok, _ := path.Match("ci/*-values.yaml", at); ok {
			sets = append(sets, set{at, content})
		}
	}); err != nil {
		return err
	}
	for _, s := range sets {
		var values map[string]any
		if err := yaml.Unmarshal(s.values, &values); err != nil {
			r.add(c, s.name, manifest.Finding{Rule: "values-file", Severity: manifest.High, Object: s.name, Message: "has no values: it is not YAML, or no table of names and values"})
			c.NotRendered = append(c.NotRendered, s.name)
			continue
		}
		rendered, err := manifest.Render(archive, manifest.Options{Values: values, KubeVersion: kube})
		p, known := problem.As(err)
		switch {
		case known && p.Rule == "kube-version":
			return asUsage(err)
		case known && p.Rule == "library-chart":
			c.Library = true
			return nil
		case known:
			r.add(c, s.name, manifest.Finding{Rule: "not-rendered", Severity: manifest.High, Object: s.name, Message: sentence(p)})
			c.NotRendered = append(c.NotRendered, s.name)
			continue
		case err != nil:
			return err
		}
		c.Rendered = append(c.Rendered, s.name)
		r.rendering(c, s.name, rendered, cmp.Or(kube, manifest.KubeVersion))
	}
	return nil
}

// rendering checks what was rendered with one set of values.
func (r *checkResult) rendering(c *checkedChart, values string, rendered manifest.Rendered, kube string) {
	for _, m := range rendered.Misfits {
		r.add(c, values, manifest.Finding{Rule: "schema-broken", Severity: manifest.High, Object: cmp.Or(m.Path, "values"), Message: "breaks the chart's own schema, and Helm refuses to install it: " + m.Reason})
	}
	for _, f := range rendered.Faults {
		r.add(c, values, manifest.Finding{Rule: "not-read", Severity: manifest.Medium, Object: f.Source, Message: f.String()})
	}
	for _, u := range rendered.Unstable {
		object, field, _ := strings.Cut(u, ": ")
		r.add(c, values, manifest.Finding{Rule: "unstable", Severity: manifest.Low, Object: object, Message: "is different each time the chart is rendered: " + field})
	}
	source := map[string]string{}
	for _, o := range slices.Concat(rendered.Objects, rendered.CRDs) {
		source[o.ID()] = o.Source
	}
	for _, f := range slices.Concat(manifest.Lint(rendered.Objects), manifest.Inspect(slices.Concat(rendered.Objects, rendered.CRDs), kube)) {
		r.addAt(c, values, source[f.Object], f)
	}
}

// checkResult is what was found.
type checkResult struct {
	Findings []checkFinding `json:"findings"` // the worst first
	Charts   []checkedChart `json:"charts"`

	failOn string
}

// checkedChart is one chart that was checked.
type checkedChart struct {
	Path        string   `json:"path"`
	Chart       string   `json:"chart"`
	Version     string   `json:"version"`
	Digest      string   `json:"digest,omitempty"` // of an archive
	Content     string   `json:"content_digest,omitempty"`
	Refused     bool     `json:"refused"`      // the registry would not take it
	Unread      bool     `json:"unread"`       // nothing could be checked
	Library     bool     `json:"library"`      // it renders nothing
	Rendered    []string `json:"rendered"`     // the values that it renders with
	NotRendered []string `json:"not_rendered"` // and those that it does not
}

// checkFinding is a finding of one chart.
type checkFinding struct {
	manifest.Finding
	Chart  string `json:"chart"`
	File   string `json:"file"`             // of the chart
	Values string `json:"values,omitempty"` // the first that show it, where it is not the chart's own
	path   string
}

func (r *checkResult) add(c *checkedChart, values string, f manifest.Finding) {
	r.addAt(c, values, "", f)
}

// addAt adds a finding once, however many values show it. Its file is the
// template that it is about.
func (r *checkResult) addAt(c *checkedChart, values, source string, f manifest.Finding) {
	file := strings.TrimPrefix(source, c.Chart+"/")
	switch {
	case file != "":
	case f.Rule == "values-file", f.Rule == "not-rendered", strings.HasPrefix(f.Object, "templates/"), strings.HasPrefix(f.Object, "crds/"):
		file = f.Object
	case f.Rule == "schema-broken":
		file = values
	case f.Rule == "not-read":
		file = strings.TrimPrefix(f.Object, c.Chart+"/")
	default:
		file = "Chart.yaml"
	}
	if values == "values.yaml" {
		values = ""
	}
	x := checkFinding{Finding: f, Chart: c.Chart, File: file, Values: values, path: c.Path}
	if !slices.ContainsFunc(r.Findings, func(y checkFinding) bool { return y.path == x.path && y.Finding == f }) {
		r.Findings = append(r.Findings, x)
	}
}

func (checkResult) schema() string { return "check/v1" }

func (r checkResult) keys() []string {
	return keysOf(r.Findings, func(f checkFinding) string { return string(f.Severity) + " " + f.Rule + " " + f.Object })
}

func (r checkResult) view() view {
	charts := block{head: []string{"CHART", "VERSION", "RELEASE", "RENDERS WITH", "DOES NOT WITH"}}
	for _, c := range r.Charts {
		renders := strings.Join(c.Rendered, ", ")
		switch {
		case c.Unread:
			renders = "not checked"
		case c.Library:
			renders = "nothing: it is a library"
		case c.unknown():
			renders = "none: what it runs is not known"
		}
		charts.rows = append(charts.rows, []string{c.Chart, c.Version, map[bool]string{true: "refused", false: "accepted"}[c.Refused], renders, strings.Join(c.NotRendered, ", ")})
	}
	found := block{head: []string{"SEVERITY", "OBJECT", "FINDING"}, empty: "no findings"}
	for _, f := range r.Findings {
		object, text := f.Object, findingText(f.Finding)
		if len(r.Charts) > 1 {
			object = f.Chart + " " + object
		}
		if f.Values != "" {
			text += ", with " + f.Values
		}
		found.rows = append(found.rows, []string{string(f.Severity), object, text + " (" + f.Rule + ")"})
	}
	return view{charts, found}
}

// outcome is how the command ends.
func (r checkResult) outcome() error {
	var found []manifest.Finding
	for _, f := range r.Findings {
		found = append(found, f.Finding)
	}
	switch {
	case atOrAbove(found, r.failOn):
		return findings{}
	case slices.ContainsFunc(r.Charts, func(c checkedChart) bool { return c.Refused }):
		return answer{problem.Invalid}
	case slices.ContainsFunc(r.Charts, checkedChart.unknown):
		return answer{problem.Unavailable}
	}
	return nil
}

// unknown reports whether what a chart runs is not known.
func (c checkedChart) unknown() bool { return !c.Library && len(c.Rendered) == 0 }

func (r checkResult) report() report {
	p := report{command: "check", failOn: r.failOn}
	for _, f := range r.Findings {
		p.findings = append(p.findings, reported{Finding: f.Finding, chart: f.Chart, file: inChart(f.path, f.File)})
	}
	for _, c := range r.Charts {
		if c.unknown() {
			p.incomplete = append(p.incomplete, c.Chart+" renders with none of its values: what it runs is not known")
		}
	}
	return p
}
