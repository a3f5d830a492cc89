package manifest

import (
	"cmp"
	"slices"
	"strings"
)

// Severity orders findings for people.
type Severity string

// The severities, from the least.
const (
	Info     Severity = "info"
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)

var severities = []Severity{Info, Low, Medium, High, Critical}

// Rank orders severities; an unknown one is -1.
func (s Severity) Rank() int { return slices.Index(severities, s) }

// lower is one step less; nothing is less than low.
func (s Severity) lower() Severity {
	if r := s.Rank(); r > 1 {
		return severities[r-1]
	}
	return s
}

// Finding says what one thing is or does.
type Finding struct {
	Rule     string   `json:"rule"` // stable id, such as rights-widened
	Severity Severity `json:"severity"`
	Object   string   `json:"object"`  // Kind/namespace/name; a template, a chart, or the path of a value
	Message  string   `json:"message"` // one sentence, without a final period
	Old      string   `json:"old,omitempty"`
	New      string   `json:"new,omitempty"`
	Set      bool     `json:"set,omitempty"` // it is about a value that the given ones set
}

// Result is what CompareArchives found.
type Result struct {
	Old      string    `json:"old"` // name and version of the chart
	New      string    `json:"new"`
	Findings []Finding `json:"findings"`
}

// Worst is the highest severity among findings, Info for none.
func Worst(findings []Finding) Severity {
	s := Info
	for _, f := range findings {
		if f.Severity.Rank() > s.Rank() {
			s = f.Severity
		}
	}
	return s
}

// findings collects what is found.
type findings []Finding

func (f *findings) add(rule string, s Severity, object, message, old, new string) {
	*f = append(*f, Finding{Rule: rule, Severity: s, Object: oneLine(object), Message: oneLine(message), Old: oneLine(old), New: oneLine(new)})
}

// sorted puts the worst first, then by object, rule and text. What is there
// twice is kept once.
func (f findings) sorted() []Finding {
	slices.SortFunc(f, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.Severity.Rank(), a.Severity.Rank()), strings.Compare(a.Object, b.Object),
			strings.Compare(a.Rule, b.Rule), strings.Compare(a.Message, b.Message), strings.Compare(a.Old, b.Old), strings.Compare(a.New, b.New))
	})
	return slices.Compact(f)
}
