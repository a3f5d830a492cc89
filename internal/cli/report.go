package cli

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/chartkeep/chartkeep/internal/manifest"
)

// Output forms of commands that find something, beside those of all.
const (
	formSARIF = "sarif"
	formJUnit = "junit"
)

var reportForms = []string{formSARIF, formJUnit}

// reporter is a result whose findings can be handed to other tools.
type reporter interface {
	result
	report() report
}

// reportOf is a result in one of the forms for other tools.
func reportOf(r result, form string) ([]byte, error) {
	reporter, ok := r.(reporter)
	if !ok {
		return nil, fmt.Errorf("print %s as %s: it reports no findings", r.schema(), form)
	}
	if form == formSARIF {
		return reporter.report().sarif()
	}
	return reporter.report().junit()
}

// report are the findings of a command for other tools.
type report struct {
	command    string
	failOn     string // --fail-on, or ""
	findings   []reported
	incomplete []string // what could not be checked
}

// reported is one finding and where it is shown.
type reported struct {
	manifest.Finding
	chart string // its name
	file  string // a relative path with slashes
}

// failsAt is the least severity that makes a report fail.
func (r report) failsAt() manifest.Severity {
	if r.failOn != "" {
		return manifest.Severity(r.failOn)
	}
	return manifest.High
}

// text is a finding in one sentence.
func (f reported) text() string { return f.Object + " " + findingText(f.Finding) }

// inChart is a file of a chart as a path from where the command runs, in a form
// that SARIF takes: relative, with slashes. What lies elsewhere, or in an
// archive, keeps its name alone.
func inChart(place, file string) string {
	if path.Ext(place) == ".tgz" {
		return path.Join(filepath.ToSlash(filepath.Base(place)), file)
	}
	if filepath.IsAbs(place) || strings.HasPrefix(filepath.ToSlash(filepath.Clean(place)), "..") {
		return path.Join(filepath.ToSlash(filepath.Base(place)), file)
	}
	return path.Join(filepath.ToSlash(place), file)
}
