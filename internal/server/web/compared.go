package web

import (
	"cmp"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/manifest"
)

var bases = map[manifest.Basis]string{
	manifest.BasisLenient:  "One of the charts does not render as it is; both were rendered past what they require and refuse.",
	manifest.BasisTemplate: "One of the charts does not render, so the templates were compared as text: what is below may not be all.",
}

// showCompared shows what the difference between two renderings does. Without
// the archive of what runs (had is false) the new one was compared with itself,
// which says nothing about what differs.
func (v *reviewView) showCompared(f *frame, c *manifest.Comparison, had bool) {
	v.Blind = !c.New.Known
	old, fit, objects, same := c.Old, c.Fit, c.Objects, c.Same
	if !had {
		old = manifest.Side{Reason: "its archive is not had"}
		fit, objects, same = manifest.Fit{Set: fit.Set, Unknown: true}, nil, 0
		v.Basis = "The archive of what runs is not had, so nothing could be compared with it."
	} else if c.Basis != manifest.BasisRendered {
		v.Basis = cmp.Or(bases[c.Basis], "How the charts were compared is not known.")
	}
	for i := range c.Findings {
		if i == findingsShown {
			v.MoreDoes = len(c.Findings) - i
			break
		}
		x := &c.Findings[i]
		v.Does = append(v.Does, effectRow{
			Severity: severityOf(x.Severity), Object: shown(x.Object, maxSentence), Message: shown(x.Message, maxSentence), Rule: shown(x.Rule, 64),
			Old: shown(x.Old, maxName), New: shown(x.New, maxName),
		})
	}
	v.Posture = postureOf(&old, &c.New)
	v.Unstable = shownList(c.New.Unstable, linesShown)
	v.Fit = fitOf(&fit, c.Findings)
	v.Effort = f.effort(&c.Effort)
	v.Undo = undoOf(&c.Undo)
	v.showDiffs(objects)
	v.Same = same
}

// postureOf sets the same facts of both sides beside each other. A side that
// does not render is not known, and not the same as the other.
func postureOf(old, new *manifest.Side) []postureRow {
	row := func(name string, of func(s *manifest.Side) (value, why string, bad int)) postureRow {
		r := postureRow{Fact: name}
		was, is := 0, 0
		if old.Known {
			r.Old, r.OldWhy, was = of(old)
		} else {
			r.OldWhy = shown(old.Reason, maxSentence)
		}
		if new.Known {
			r.New, r.NewWhy, is = of(new)
		} else {
			r.NewWhy = shown(new.Reason, maxSentence)
		}
		r.Differs = old.Known && new.Known && r.Old != r.New
		r.Worse = r.Differs && is > was
		return r
	}
	count := func(n int) (string, string, int) { return number(n), "", n }
	levels := []manifest.PodLevel{manifest.Restricted, manifest.Baseline, manifest.Privileged}
	exposures := []string{"small", "controlled", "open"}
	return []postureRow{
		row("Pod Security level", func(s *manifest.Side) (string, string, int) {
			return shown(string(s.PodSecurity), 64), "", slices.Index(levels, s.PodSecurity)
		}),
		row("Pod Security rules broken", func(s *manifest.Side) (string, string, int) { return count(len(s.Violations)) }),
		row("Reached from", func(s *manifest.Side) (string, string, int) {
			word := string(s.Exposure)
			return cmp.Or(exposureWords[word], shown(word, 64)), shown(s.ExposureWhy, maxSentence), slices.Index(exposures, word)
		}),
		row("Images", func(s *manifest.Side) (string, string, int) {
			seen := map[string]bool{}
			for i := range s.Images {
				seen[s.Images[i].Ref] = true
			}
			return number(len(seen)), "", 0
		}),
		row("Critical and high findings by itself", func(s *manifest.Side) (string, string, int) {
			return count(countFindings(s.Posture, func(x *manifest.Finding) bool { return x.Severity.Rank() >= manifest.High.Rank() }))
		}),
		row("Other findings by itself", func(s *manifest.Side) (string, string, int) {
			return count(countFindings(s.Posture, func(x *manifest.Finding) bool {
				return x.Severity.Rank() < manifest.High.Rank() && x.Severity.Rank() > manifest.Info.Rank()
			}))
		}),
		row("APIs that Kubernetes does not serve", func(s *manifest.Side) (string, string, int) {
			return count(countFindings(s.Posture, func(x *manifest.Finding) bool { return x.Rule == "api-removed" }))
		}),
		row("Rendered, and not readable", func(s *manifest.Side) (string, string, int) { return count(len(s.Faults)) }),
	}
}

func countFindings(list []manifest.Finding, want func(*manifest.Finding) bool) int {
	n := 0
	for i := range list {
		if want(&list[i]) {
			n++
		}
	}
	return n
}

// fitOf lists the values that somebody sets and that mean something else now,
// the gravest kind first; those that stay are a number.
func fitOf(fit *manifest.Fit, found []manifest.Finding) fitView {
	v := fitView{Set: fit.Set, Kept: len(fit.Kept), Defaults: fit.Defaults, Unknown: fit.Unknown}
	notes := map[string]string{}
	for i := range found {
		x := &found[i]
		if notes[x.Object] == "" && strings.HasPrefix(x.Rule, "value-") {
			note := x.Message
			if x.Old != "" || x.New != "" {
				note += ": " + cmp.Or(x.Old, "none") + " to " + cmp.Or(x.New, "none")
			}
			notes[x.Object] = shown(note, maxSentence)
		}
	}
	for _, kind := range []struct {
		paths             []string
		class, icon, word string
	}{
		{fit.Required, "bad", "bad", "required now, and nobody gives it"},
		{fit.Vanished, "bad", "warn", "gone: Helm ignores it without a word"},
		{fit.Retyped, "bad", "warn", "of another type now"},
		{fit.Default, "warn", "warn", "its default has changed; yours stays"},
		{fit.Unlisted, "unk", "unk", "neither version lists it"},
	} {
		for i, path := range kind.paths {
			if i == valuesShown {
				v.More += len(kind.paths) - i
				break
			}
			v.Rows = append(v.Rows, fitRow{shown(path, maxSentence), kind.class, kind.icon, kind.word, notes[path]})
		}
	}
	return v
}

func (f *frame) effort(e *manifest.Effort) effortView {
	v := effortView{Word: cmp.Or(effortWords[e.Class], shown(string(e.Class), 64), "unknown"), Points: e.Points, Blocked: e.Blocked}
	for i := range e.Parts {
		if i == linesShown {
			v.More = len(e.Parts) - i
			break
		}
		p := &e.Parts[i]
		v.Parts = append(v.Parts, effortPart{
			Points: p.Points, Why: shown(p.Why, maxSentence), Object: shown(p.Finding.Object, maxSentence), Note: shown(p.Finding.Message, maxSentence),
			Blocks: p.Blocks, Security: p.Approver == manifest.ApproverSecurity,
		})
	}
	return v
}

func undoOf(u *manifest.Undo) undoView {
	v := undoView{Class: "unk", Icon: "unk", Word: "rollback is " + u.Verdict.Words()}
	switch u.Verdict {
	case manifest.UndoPossible:
		v.Class, v.Icon = "ok", "ok"
	case manifest.UndoUntil:
		v.Class, v.Icon = "warn", "warn"
	case manifest.UndoByHand:
		v.Class, v.Icon = "bad", "bad"
	}
	for i := range u.Reasons {
		if i == linesShown {
			v.More = len(u.Reasons) - i
			break
		}
		r := &u.Reasons[i]
		v.Reasons = append(v.Reasons, undoRow{shown(r.Object, maxSentence), shown(r.Message, maxSentence), shown(r.Rule, 64), shown(r.Until, maxSentence)})
	}
	return v
}

// showDiffs shows the texts of objects, the first open, up to a number of lines.
func (v *reviewView) showDiffs(list []manifest.ObjectDiff) {
	left := diffLines
	for i := range list {
		x := &list[i]
		if i == objectsShown || left <= 0 {
			v.MoreDiffs = len(list) - i
			break
		}
		d := objectDiff{Object: shown(x.Object, maxSentence), Change: shown(x.Change, 64), Source: shown(x.Source, maxName), Added: x.Added, Removed: x.Removed, Cut: x.Cut, Open: i == 0}
		for line := range strings.SplitSeq(strings.TrimSuffix(x.Text, "\n"), "\n") {
			if left == 0 {
				d.Cut = true
				break
			}
			left--
			row := diffRow{"", shown(strings.ReplaceAll(line, "\t", "    "), diffLine)}
			switch {
			case strings.HasPrefix(line, "+"):
				row.Kind = "ins"
			case strings.HasPrefix(line, "-"):
				row.Kind = "del"
			case strings.HasPrefix(line, "@@"):
				row.Kind = "hunk"
			}
			d.Lines = append(d.Lines, row)
		}
		v.DiffCut = v.DiffCut || d.Cut
		v.Diffs = append(v.Diffs, d)
	}
	v.DiffCut = v.DiffCut || v.MoreDiffs > 0
}
