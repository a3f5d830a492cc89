package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

const diffLong = `
Say what moving from one version of a chart to another does, under your own
values, without a server. OLD and NEW are chart archives or chart folders; a
folder is read as helm package would pack it.

Both are rendered with Helm's own engine and compared object by object: rights,
exposure, Pod Security Standards, images, secrets, hooks, definitions of custom
resources, fields that cannot be changed, APIs that Kubernetes removed, and
your values against the new ones. What differs each time is masked. Effort and
the forecast of a rollback follow from what is found. See docs/comparing.md.

A chart that does not render with the given values is compared as far as it
goes, and that is said; where only the texts of templates could be compared,
the exit code is 1.`

// diffOptions are those of diff.
type diffOptions struct {
	values   []string
	kube     string
	exitDiff bool
	failOn   string
	text     bool
}

func (o *diffOptions) register(f *pflag.FlagSet) {
	f.StringArrayVarP(&o.values, "values", "f", nil, "YAML `FILE` with values over the chart's own; may be given several times, the last wins")
	f.StringVar(&o.kube, "kube-version", "", "`VERSION` of Kubernetes to render for, and whose missing APIs block (default: "+strings.TrimPrefix(manifest.KubeVersion, "v")+")")
	f.BoolVar(&o.exitDiff, "exit-diff", false, "exit with 7 when anything differs")
	f.StringVar(&o.failOn, "fail-on", "", "exit with 6 when there is a finding of `SEVERITY` or above: info, low, medium, high, critical")
	f.BoolVar(&o.text, "text", false, "show the lines of the objects that differ, too; -o json has them always")
}

func (a *app) diffCommand() *cobra.Command {
	var o diffOptions
	return a.leaf(command{
		use: "diff OLD NEW", short: "Say what another version of a chart does", long: diffLong,
		example: `
chartkeep diff web-1.4.2.tgz web-1.5.0.tgz
chartkeep diff web-1.4.2.tgz ./web -f prod.yaml -f secrets.yaml --text
chartkeep diff web-1.4.2.tgz ./web --fail-on high -o sarif > diff.sarif`,
		args: arguments{2, 2, "two chart archives or folders"}, flags: o.register, files: true, reports: true,
		run: func(_ context.Context, args []string) (result, error) {
			if err := checkSeverity(o.failOn); err != nil {
				return nil, err
			}
			r, err := o.diff(args[0], args[1])
			if err != nil {
				return nil, err
			}
			return r, o.outcome(r)
		},
	})
}

func (o *diffOptions) diff(oldPath, newPath string) (chartDiff, error) {
	values, err := readValues(o.values)
	if err != nil {
		return chartDiff{}, err
	}
	old, err := readChart(oldPath)
	if err != nil {
		return chartDiff{}, err
	}
	new, err := readChart(newPath)
	if err != nil {
		return chartDiff{}, err
	}
	c, err := manifest.CompareCharts(old, new, manifest.Options{Values: values, KubeVersion: o.kube, Upgrade: true})
	if err != nil {
		return chartDiff{}, ofKubeVersion(err)
	}
	return chartDiff{Comparison: c, text: o.text, failOn: o.failOn, place: newPath}, nil
}

// ofKubeVersion makes a wrong --kube-version an error of usage.
func ofKubeVersion(err error) error {
	if p, ok := problem.As(err); ok && p.Rule == "kube-version" {
		return asUsage(err)
	}
	return err
}

// outcome is how the command ends.
func (o *diffOptions) outcome(r chartDiff) error {
	switch {
	case atOrAbove(r.Findings, o.failOn):
		return findings{}
	case slices.ContainsFunc(r.Findings, func(f manifest.Finding) bool { return f.Rule == "compared-as-text" }):
		return answer{problem.Unavailable}
	case o.exitDiff && (len(r.Findings) > 0 || len(r.Objects) > 0):
		return differs{}
	}
	return nil
}

// checkSeverity refuses a --fail-on that is no severity.
func checkSeverity(failOn string) error {
	if failOn != "" && !slices.Contains(severities, failOn) {
		return usage("--fail-on %s is no severity", failOn).try("--fail-on %s", strings.Join(severities, "|"))
	}
	return nil
}

// atOrAbove reports whether a finding is at least as severe as --fail-on.
func atOrAbove(found []manifest.Finding, failOn string) bool {
	least := manifest.Severity(failOn).Rank()
	return least >= 0 && slices.ContainsFunc(found, func(f manifest.Finding) bool { return f.Severity.Rank() >= least })
}

// maxValuesFile bounds a file of values, in bytes.
const maxValuesFile = 8 << 20

// readValues reads files of values and lays each over those before it, as Helm
// does: tables are joined, all else is replaced.
func readValues(files []string) (map[string]any, error) {
	all := map[string]any{}
	for _, file := range files {
		b, err := readFile(file, maxValuesFile)
		if err != nil {
			return nil, err
		}
		var one map[string]any
		if err := yaml.Unmarshal(b, &one); err != nil {
			return nil, usageError{problem.New(problem.Invalid, "values-file", "the file %s has no values: it is not YAML, or no table of names and values", file).Because(err)}
		}
		all = overlaid(all, one)
	}
	return all, nil
}

// overlaid are values with others laid over them.
func overlaid(under, over map[string]any) map[string]any {
	out := maps.Clone(under)
	for k, v := range over {
		a, aTable := out[k].(map[string]any)
		if b, bTable := v.(map[string]any); aTable && bTable {
			v = overlaid(a, b)
		}
		out[k] = v
	}
	return out
}

// chartDiff is what moving from one version of a chart to another does.
type chartDiff struct {
	manifest.Comparison

	text   bool
	failOn string
	place  string // NEW as it was given
}

func (chartDiff) schema() string { return "diff/v1" }

func (r chartDiff) keys() []string {
	return keysOf(r.Findings, func(f manifest.Finding) string { return string(f.Severity) + " " + f.Rule + " " + f.Object })
}

func (r chartDiff) view() view {
	v := view{{facts: r.facts()}, findingsBlock(r.Findings, "nothing that is rendered differs in what it does")}
	if len(r.Effort.Parts) > 0 {
		b := block{head: []string{"POINTS", "EFFORT", "ABOUT"}}
		for _, p := range r.Effort.Parts {
			points := thousands(int64(p.Points))
			if p.Blocks {
				points = "blocks"
			}
			b.rows = append(b.rows, []string{points, p.Why, p.Finding.Object})
		}
		v = append(v, b)
	}
	if len(r.Undo.Reasons) > 0 {
		b := block{head: []string{"ROLLBACK", "OBJECT", "WHY", "UNTIL"}}
		for _, o := range r.Undo.Reasons {
			b.rows = append(b.rows, []string{string(o.Verdict), o.Object, o.Message, o.Until})
		}
		v = append(v, b)
	}
	if r.text {
		for _, o := range r.Objects {
			text := fmt.Sprintf("%s %s (%s)\n%s", o.Change, o.Object, o.Source, o.Text)
			if o.Cut {
				text += fmt.Sprintf("… cut; %d lines are added and %d removed in all\n", o.Added, o.Removed)
			}
			v = append(v, block{text: text})
		}
	}
	return v
}

func (r chartDiff) facts() []fact {
	facts := []fact{
		{"old", sideName(r.Old)}, {"new", sideName(r.New)}, {"compared", basisWords[r.Basis]},
		{"effort", r.effortWords()}, {"rollback", r.Undo.Verdict.Words()},
		{"Pod Security", change(string(r.Old.PodSecurity), string(r.New.PodSecurity))},
		{"exposure", change(string(r.Old.Exposure), string(r.New.Exposure))},
		{"objects", fmt.Sprintf("%d differ, %d do not", len(r.Objects), r.Same)},
	}
	if f := r.Fit; f.Set > 0 {
		facts = append(facts, fact{"your values", fmt.Sprintf("%d: %d kept, %d vanished, %d of another type, %d whose default changed, %d not listed", f.Set, len(f.Kept), len(f.Vanished), len(f.Retyped), len(f.Default), len(f.Unlisted))})
	}
	if n := len(r.New.Unstable); n > 0 {
		facts = append(facts, fact{"masked", fmt.Sprintf("%d fields that differ each time", n)})
	}
	return facts
}

func (r chartDiff) effortWords() string {
	words := fmt.Sprintf("%s, %s", r.Effort.Class, plural(r.Effort.Points, "point"))
	if r.Effort.Blocked {
		words += ", blocked"
	}
	if len(r.Effort.Approvers) > 0 {
		words += "; needs the approval of " + strings.Join(r.Effort.Approvers, ", ")
	}
	return words
}

var (
	basisWords = map[manifest.Basis]string{
		manifest.BasisRendered: "as rendered", manifest.BasisLenient: "as rendered past what the charts require and refuse",
		manifest.BasisTemplate: "as texts of templates alone: what they do is not known",
	}
)

func sideName(s manifest.Side) string {
	name := s.Name + " " + s.Version
	if s.AppVersion != "" {
		name += " (app " + s.AppVersion + ")"
	}
	return name
}

// change words the two states of a fact; "" is not known.
func change(old, new string) string {
	word := func(s string) string {
		if s == "" {
			return "not known"
		}
		return s
	}
	if old == new {
		return word(new)
	}
	return word(old) + " → " + word(new)
}

// findingsBlock is a table of findings.
func findingsBlock(found []manifest.Finding, empty string) block {
	b := block{head: []string{"SEVERITY", "OBJECT", "FINDING"}, empty: empty}
	for _, f := range found {
		b.rows = append(b.rows, []string{string(f.Severity), f.Object, findingText(f) + " (" + f.Rule + ")"})
	}
	return b
}

// findingText is the message of a finding, with what it moves from and to.
func findingText(f manifest.Finding) string {
	if moved := movement(f.Old, f.New); moved != "" && !strings.Contains(f.Message, moved) {
		return f.Message + ": " + moved
	}
	return f.Message
}

// movement words what a finding moves from and to, where both need not be there.
func movement(old, new string) string {
	switch {
	case old == "":
		return new
	case new == "":
		return old
	}
	return old + " → " + new
}

func (r chartDiff) report() report {
	p := report{command: "diff", failOn: r.failOn}
	for _, f := range r.Findings {
		p.findings = append(p.findings, reported{Finding: f, chart: r.New.Name, file: templateOf(r.Comparison, f, r.place)})
	}
	if r.Basis != manifest.BasisRendered {
		p.incomplete = append(p.incomplete, "compared "+basisWords[r.Basis])
	}
	return p
}

// templateOf is the file that a finding is shown at: the template of its
// object, or the chart's Chart.yaml or values.yaml.
func templateOf(c manifest.Comparison, f manifest.Finding, place string) string {
	for _, o := range c.Objects {
		if o.Object == f.Object && o.Change != "removed" {
			return inChart(place, strings.TrimPrefix(o.Source, c.New.Name+"/"))
		}
	}
	if strings.HasPrefix(f.Rule, "value-") || f.Rule == "hardening-offered" || f.Rule == "schema-broken" {
		return inChart(place, "values.yaml")
	}
	return inChart(place, "Chart.yaml")
}
