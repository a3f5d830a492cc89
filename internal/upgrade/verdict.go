package upgrade

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/notes"
)

// What a verdict advises.
const (
	AdviceApply      = "apply"
	AdviceCare       = "apply-with-care"
	AdviceHold       = "hold"
	AdviceCannotTell = "cannot-tell"
)

// maxListed bounds how many of a kind a checklist or a verdict names.
const maxListed = 20

// weighDoubts takes over what weakens the judgement of what runs, and adds what
// the new version leaves open.
func (r *Review) weighDoubts(j *judged) {
	for _, d := range j.assessment.Doubts {
		if !strings.Contains(d, "unknown: not known to be clean") { // of what runs; the new version has its own
			r.doubt(d)
		}
	}
	if n := len(r.Unknown); n > 0 {
		r.doubt(count(n, "image of the new version is", "images of the new version are") + " unknown: not known to be clean")
	}
	if c := &r.Compared; c.Basis != manifest.BasisRendered {
		r.doubt("the charts were not rendered as they would be: " + string(c.Basis))
	}
	if n := len(r.Compared.New.Unstable); n > 0 {
		r.doubt(count(n, "field differs", "fields differ") + " each time the chart is rendered, and were not compared")
	}
	if r.Compared.Fit.Unknown {
		r.doubt("the charts have too many values to compare them all")
	}
	if r.Compared.Undo.Verdict == manifest.UndoUnknown {
		r.doubt("whether the upgrade can be rolled back is not known")
	}
}

// conclude says what to do, and why. Advice follows from the facts in this
// order: what cannot be told; what blocks; what gets worse; what needs care.
func (r *Review) conclude(o *option) {
	v := &r.Verdict
	v.Reasons = []string{}
	say := func(format string, args ...any) { v.Reasons = append(v.Reasons, fmt.Sprintf(format, args...)) }
	closed, introduced, remaining := tally(r.Closed), tally(r.Introduced), tally(r.Remaining)
	if len(r.Closed) > 0 {
		say("closes %s", closed)
	}
	if len(r.Introduced) > 0 {
		say("introduces %s", introduced)
	}
	if len(r.Remaining) > 0 {
		say("leaves %s open", remaining)
	}
	if n := len(r.Unknown); n > 0 {
		say("%s unknown", count(n, "image is", "images are"))
	}
	blocked := false
	for _, p := range r.Compared.Effort.Parts {
		if p.Blocks {
			blocked = true
			say("%s: %s %s", p.Why, p.Finding.Object, p.Finding.Message)
		}
	}
	say("effort %s, %s", r.Compared.Effort.Class, count(r.Compared.Effort.Points, "point", "points"))
	if r.Compared.Undo.Verdict != manifest.UndoPossible {
		say("rollback is %s", r.Compared.Undo.Verdict.Words())
	}
	worse := worst(r.Introduced).Rank() > worst(r.Closed).Rank()
	switch {
	case o.pair == nil || !o.pair.known[1]:
		v.Advice, v.Text = AdviceCannotTell, fmt.Sprintf("It cannot be told what %s does: it does not render with these values.", r.To.Version)
	case blocked:
		v.Advice, v.Text = AdviceHold, fmt.Sprintf("Hold %s: something has to be settled first.", r.To.Version)
	case worse && len(r.Introduced) > 0:
		v.Advice, v.Text = AdviceHold, fmt.Sprintf("Hold %s: it introduces %s, which is graver than what it closes.", r.To.Version, introduced)
	case len(r.Closed) == 0 && len(r.Unknown) > 0:
		v.Advice, v.Text = AdviceCannotTell, fmt.Sprintf("No advisory is known to be closed by %s, and not all of its images are known.", r.To.Version)
	case len(r.Closed) == 0 && len(r.Introduced) == 0 && r.Compared.Effort.Class == manifest.EffortSmall:
		v.Advice, v.Text = AdviceApply, fmt.Sprintf("%s closes and introduces nothing that is known; it asks little.", r.To.Version)
	case len(r.Closed) == 0:
		v.Advice, v.Text = AdviceCare, fmt.Sprintf("%s closes nothing that is known; move when it suits.", r.To.Version)
	case r.Compared.Effort.Class == manifest.EffortSmall && len(r.Introduced) == 0 && r.Compared.Undo.Verdict == manifest.UndoPossible:
		v.Advice, v.Text = AdviceApply, fmt.Sprintf("Apply %s. It closes %s.", r.To.Version, closed)
	default:
		v.Advice, v.Text = AdviceCare, fmt.Sprintf("Apply %s with care. It closes %s.", r.To.Version, closed)
	}
}

// worst is the highest severity of findings; what nobody rated weighs as high.
func worst(list []Finding) manifest.Severity {
	out := manifest.Info
	for _, f := range list {
		s := f.Severity
		if s == SeverityUnknown {
			s = manifest.High
		}
		if s.Rank() > out.Rank() {
			out = s
		}
	}
	return out
}

// tally counts findings by severity: "5 advisories: 1 critical, 4 high".
func tally(list []Finding) string {
	counts := map[manifest.Severity]int{}
	advisories := 0
	for _, f := range list {
		counts[f.Severity]++
		if f.Kind == OfAdvisory || f.Kind == OfChartAdvisory {
			advisories++
		}
	}
	noun := count(len(list), "finding", "findings")
	if advisories == len(list) {
		noun = count(len(list), "advisory", "advisories")
	}
	var parts []string
	for _, s := range []manifest.Severity{manifest.Critical, manifest.High, manifest.Medium, manifest.Low, manifest.Info, SeverityUnknown} {
		if n := counts[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	if len(parts) == 0 {
		return noun
	}
	return noun + " (" + strings.Join(parts, ", ") + ")"
}

// ask makes the checklist: what a person has to answer before the review can be
// signed, each item with the finding that it comes from.
func (r *Review) ask() {
	n := 0
	add := func(role SignRole, required bool, finding, format string, args ...any) {
		n++
		r.Checklist = append(r.Checklist, ChecklistItem{ID: fmt.Sprintf("%02d", n), Text: fmt.Sprintf(format, args...), Finding: finding, Required: required, Role: role})
		if required && !slices.Contains(r.Roles, role) {
			r.Roles = append(r.Roles, role)
		}
	}
	for _, p := range r.Compared.Effort.Parts {
		role := Reviewer
		if p.Approver == manifest.ApproverSecurity {
			role = Security
		}
		switch {
		case p.Blocks:
			add(role, true, p.Finding.Rule+" in "+p.Finding.Object, "%s: %s %s. What settles it?", capital(p.Why), p.Finding.Object, p.Finding.Message)
		case p.Points >= 3:
			add(role, true, p.Finding.Rule+" in "+p.Finding.Object, "%s: %s %s. What was done about it?", capital(p.Why), p.Finding.Object, p.Finding.Message)
		}
	}
	r.askOfSets(add)
	for _, h := range r.Notes {
		for _, hint := range h.Hints {
			if asks(hint) {
				add(Reviewer, true, "notes: "+hint.Rule, "The notes of %s ask for something (%s, line %d): %q. Was it done?", h.Version, h.Source, hint.Line, hint.Text)
			}
		}
	}
	if r.Compared.Undo.Verdict != manifest.UndoPossible {
		why := ""
		if len(r.Compared.Undo.Reasons) > 0 {
			o := r.Compared.Undo.Reasons[0]
			why = " (" + o.Object + ": " + o.Message + ")"
		}
		add(Reviewer, true, "undo", "Rollback is %s%s. How is it taken back if it fails?", r.Compared.Undo.Verdict.Words(), why)
	}
	for _, d := range r.Doubts {
		add(Reviewer, false, d, "Doubt: %s.", d)
	}
}

// askOfSets asks about what is introduced and what is unknown.
func (r *Review) askOfSets(add func(role SignRole, required bool, finding, format string, args ...any)) {
	for i, f := range r.Introduced {
		if i == maxListed {
			add(Security, true, "introduced", "%d more findings are introduced. May they be?", len(r.Introduced)-maxListed)
			break
		}
		grave := f.Severity.Rank() >= manifest.High.Rank() || f.Severity == SeverityUnknown
		role := Reviewer
		if grave {
			role = Security
		}
		add(role, grave, f.Key, "%s is introduced (%s): %s. May it be?", f.Key, f.Severity, f.Title)
	}
	if len(r.Unknown) > 0 {
		var names []string
		for _, u := range r.Unknown[:min(len(r.Unknown), maxListed)] {
			names = append(names, u.Image)
		}
		if n := len(r.Unknown) - len(names); n > 0 {
			names = append(names, fmt.Sprintf("and %d more", n))
		}
		add(Reviewer, true, "unknown images", "Nobody knows what is open in %s. How was it looked into?", strings.Join(names, ", "))
	}
}

// asks reports whether a hint is something that a person has to answer to.
func asks(h notes.Hint) bool {
	switch h.Rule {
	case notes.RuleOperator, notes.RuleWeaker, notes.RulePassword, notes.RulePrivilege:
		return true
	}
	return false
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
