package notify

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// alertLife is how long Alertmanager shows an event: what happened at a moment
// has no end of its own.
const alertLife = 4 * time.Hour

// Runbooks is where the runbooks are found, a folder.
const Runbooks = "https://github.com/chartkeep/chartkeep/blob/main/docs/runbooks/"

// postedAlert is an alert in Alertmanager's API, version 2 (postableAlert).
type postedAlert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     string            `json:"startsAt"`
	EndsAt       string            `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// alertmanager posts the events of a delivery as alerts. Alertmanager takes
// alerts with the same labels for one: a repetition only moves its end.
func (s *Sender) alertmanager(ctx context.Context, r watch.Route, d watch.Delivery) error {
	if err := s.client.Check(r.Credential, r.Target); err != nil {
		return later(err)
	}
	u, err := url.Parse(r.Target)
	if err != nil {
		return problem.New(problem.Invalid, "notify-target", "the target of route %s is not a URL", r.Name)
	}
	body, err := json.Marshal(s.alerts(d.Events))
	if err != nil {
		return err
	}
	target := u.JoinPath("api", "v2", "alerts").String()
	return s.post(ctx, target, r.Credential, remote.Shown(r.Target), http.Header{"Content-Type": {"application/json"}}, body)
}

func (s *Sender) alerts(events []watch.Event) []postedAlert {
	out := make([]postedAlert, 0, len(events))
	for _, e := range events {
		w := e.Words()
		labels := map[string]string{
			"alertname": alertName(e.Kind), "severity": alertSeverity(e.Severity), "event": string(e.Kind), "instance": s.origin,
			"project": e.Project, "upstream": e.Upstream, "chart": e.Chart, "version": e.Version, "deployment": e.Deployment, "owner": e.Owner,
		}
		var facts strings.Builder
		for _, f := range w.Facts {
			facts.WriteString(f.Label + ": " + f.Value + "\n")
		}
		notes := map[string]string{
			"summary": w.What, "description": strings.TrimSpace(facts.String()), "question": w.Question, "command": w.Command,
			"runbook_url": Runbook(e.Kind),
		}
		for _, m := range []map[string]string{labels, notes} {
			for k, v := range m {
				if v == "" {
					delete(m, k)
				}
			}
		}
		out = append(out, postedAlert{
			Labels: labels, Annotations: notes, GeneratorURL: s.page(w.Page),
			StartsAt: e.Time.UTC().Format(time.RFC3339), EndsAt: e.Time.Add(alertLife).UTC().Format(time.RFC3339),
		})
	}
	return out
}

// alertName is a kind of event as the field writes names of alerts:
// release.refused.overwrite is ChartkeepReleaseRefusedOverwrite.
func alertName(kind watch.EventKind) string {
	name := "Chartkeep"
	for word := range strings.FieldsFuncSeq(string(kind), func(r rune) bool { return r == '.' || r == '-' }) {
		name += strings.ToUpper(word[:1]) + word[1:]
	}
	return name
}

// alertSeverity is the severity in the words that most rules of routing use.
func alertSeverity(s watch.Severity) string {
	switch s {
	case watch.Info, watch.Low:
		return "info"
	case watch.Medium, watch.High:
		return "warning"
	}
	return "critical" // also what is not known
}

// Runbook is where it is written what to do about a kind of event.
func Runbook(kind watch.EventKind) string {
	page := "upstream.md#"
	if slices.Contains(watch.AlertEvents(), kind) {
		page = "registry.md#"
	}
	return Runbooks + page + strings.ReplaceAll(string(kind), ".", "-")
}
