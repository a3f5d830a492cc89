package upgrade

import (
	"fmt"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// events are what a judgement tells: findings that were opened, one event for a
// deployment and a set of inputs; and a deadline that passed. What was open when
// a deployment was first judged is told once, as a whole.
func (s *Service) events(d *watch.Deployment, j *judged, p *Plan, opened []Exposed, first bool) []watch.Event {
	var out []watch.Event
	a := &j.assessment
	about := func(kind watch.EventKind, sev watch.Severity, format string, args ...any) watch.Event {
		return watch.Event{
			Time: j.subject.now, Kind: kind, Severity: sev, Upstream: d.Match.Upstream, Project: d.Match.Project, Chart: d.Chart.Name, Version: d.Chart.Version,
			Deployment: d.Key, Owner: d.Owner, Route: d.Route, Message: fmt.Sprintf(format, args...),
		}
	}
	if len(opened) > 0 {
		var names []string
		worst := manifest.Low
		for _, e := range opened {
			if len(names) < maxListed {
				names = append(names, e.Key)
			}
			sev := e.Severity
			if sev == SeverityUnknown {
				sev = manifest.High
			}
			if sev.Rank() > worst.Rank() {
				worst = sev
			}
		}
		e := about(watch.AdvisoryOpened, watch.Severity(worst), "%s open on %s", count(len(opened), "finding is", "findings are"), d.Key)
		if first {
			e.Message = fmt.Sprintf("%s was judged for the first time: %s open", d.Key, count(len(opened), "finding is", "findings are"))
		}
		e.Question = p.Text
		e.Evidence = []watch.Fact{{Label: "findings", Value: strings.Join(names, ", ")}}
		if n := len(opened) - len(names); n > 0 {
			e.Evidence = append(e.Evidence, watch.Fact{Label: "and more", Value: fmt.Sprint(n)})
		}
		if !a.Deadline.IsZero() {
			e.Evidence = append(e.Evidence, watch.Fact{Label: "earliest deadline", Value: a.Deadline.UTC().Format(time.RFC3339)})
		}
		e.Key = fmt.Sprintf("%s|%s|%s|%s|%d", e.Kind, d.Key, opened[0].Key, opened[0].Opened.UTC().Format(time.RFC3339), len(opened))
		out = append(out, e)
	}
	if !a.Deadline.IsZero() && !a.Deadline.After(j.subject.now) {
		e := about(watch.DeadlinePassed, watch.High, "the deadline of %s on %s has passed", a.SetBy, d.Key)
		e.Question = p.Text
		e.Evidence = []watch.Fact{{Label: "deadline", Value: a.Deadline.UTC().Format(time.RFC3339)}}
		e.Key = fmt.Sprintf("%s|%s|%s|%s", e.Kind, d.Key, a.SetBy, a.Deadline.UTC().Format(time.RFC3339))
		out = append(out, e)
	}
	return out
}
