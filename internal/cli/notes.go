package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chartkeep/chartkeep/internal/notes"
	"github.com/chartkeep/chartkeep/internal/problem"
)

const reviewNotesLong = `
Find hints in release notes, without a server. FILE is a changelog, the notes
of one release, or a Chart.yaml with the annotations of Artifact Hub
(artifacthub.io/changes and artifacthub.io/containsSecurityUpdates). Markdown
and plain text are read.

These rules speak for a release that concerns security:

  advisory-id        names a CVE, GHSA or GO advisory
  vulnerability      repairs a weakness
  dependency-fix     updates something inside because of a weakness
  safer-default      does something in a safer way without being asked
  security-section   stands under a heading or tag of security
  declared-security  the annotation says so

Others are for the operator: operator-action, known-password, weaker-default,
privilege-growth, memory-safety, advisory-mention, and in -o json also
image-moved, dependency-bump, removed and deprecated.

A hint is a hint. A release without one is not known to be harmless: many are
repaired in silence, and what a chart runs says more.`

func (a *app) reviewNotesCommand() *cobra.Command {
	return a.leaf(command{
		use: "notes FILE", short: "Find hints of security and of work in release notes", long: reviewNotesLong,
		example: `
chartkeep review notes CHANGELOG.md
chartkeep review notes web/Chart.yaml -o json`,
		args: arguments{1, 1, "a file with release notes"}, files: true,
		run: func(_ context.Context, args []string) (result, error) {
			r, err := readNotes(args[0])
			if err != nil {
				return nil, err
			}
			return r, nil
		},
	})
}

// readNotes reads a changelog, or a Chart.yaml by its name.
func readNotes(path string) (reviewedNotes, error) {
	b, err := readFile(path, int64(notes.DefaultLimits().Bytes))
	if err != nil {
		return reviewedNotes{}, err
	}
	var r reviewedNotes
	if filepath.Base(path) == "Chart.yaml" {
		var one notes.Release
		one, err = notes.ReadChart(string(b), notes.Limits{})
		r.Releases = []notes.Release{one}
	} else {
		r.Releases, err = notes.Read(string(b), notes.Limits{})
	}
	if p, ok := problem.As(err); ok {
		return r, p.With("file", "%s", path)
	}
	return r, err
}

// reviewedNotes is what release notes say.
type reviewedNotes struct {
	Releases []notes.Release `json:"releases"`
}

func (reviewedNotes) schema() string { return "review-notes/v1" }

// keys are the releases that concern security, as the notes hint.
func (r reviewedNotes) keys() []string {
	var keys []string
	for _, release := range r.Releases {
		if release.Security {
			keys = append(keys, releaseName(release))
		}
	}
	return keys
}

// releaseName is the version, or the place of a release that names none.
func releaseName(r notes.Release) string {
	if r.Version == "" {
		return fmt.Sprintf("line %d", r.LineStart)
	}
	return r.Version
}

// forOperators are the rules of which every hint is shown to people. What is
// updated, gone or going is long and is counted.
var forOperators = []string{
	notes.RuleOperator, notes.RulePassword, notes.RuleWeaker, notes.RulePrivilege, notes.RuleMemory, notes.RuleMention,
}

func (r reviewedNotes) view() view {
	security := block{head: []string{"VERSION", "LINE", "RULE", "TEXT"}, empty: "no hint of security, which does not mean that there is nothing"}
	work := block{head: []string{"VERSION", "LINE", "RULE", "TEXT"}, empty: "no hint of work for an operator"}
	concerned, counts := 0, map[string]int{}
	unread := block{head: []string{"VERSION", "NOT READ"}}
	for _, release := range r.Releases {
		name := releaseName(release)
		if release.Security {
			concerned++
		}
		if release.Unread != "" {
			unread.rows = append(unread.rows, []string{name, release.Unread})
		}
		for _, h := range release.Hints {
			row := []string{name, strconv.Itoa(h.Line), h.Rule, h.Text}
			switch {
			case h.Security:
				security.rows = append(security.rows, row)
			case slices.Contains(forOperators, h.Rule):
				work.rows = append(work.rows, row)
			default:
				counts[h.Rule]++
			}
		}
	}
	v := view{{facts: []fact{
		{"releases", thousands(int64(len(r.Releases)))},
		{"with hints of security", thousands(int64(concerned))},
	}}, security, work}
	if len(unread.rows) > 0 {
		v = append(v, unread)
	}
	var more []string
	for _, rule := range []string{notes.RuleImage, notes.RuleBump, notes.RuleRemoved, notes.RuleDeprecated} {
		if n := counts[rule]; n > 0 {
			more = append(more, rule+" "+thousands(int64(n)))
		}
	}
	if len(more) > 0 {
		v = append(v, block{text: "Other hints, listed by -o json: " + strings.Join(more, ", ")})
	}
	return v
}
