package cli

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// eventList are events, the newest first.
type eventList struct {
	Items []client.Event `json:"items"`
	More  bool           `json:"more"` // there are older ones
}

func (eventList) schema() string { return "event-list/v1" }

func (r eventList) keys() []string {
	return keysOf(r.Items, func(e client.Event) string { return number(e.ID) })
}

func (r eventList) view() view {
	b := block{head: []string{"TIME", "SEVERITY", "EVENT", "WHAT HAPPENED"}, empty: "nothing happened yet"}
	for _, e := range r.Items {
		b.rows = append(b.rows, []string{stamp(e.Time), e.Severity, e.Event, e.Message})
	}
	return view{b}
}

// eventResult is one event with its evidence.
type eventResult struct{ client.Event }

func (eventResult) schema() string   { return "event/v1" }
func (r eventResult) keys() []string { return []string{number(r.ID)} }

func (r eventResult) view() view {
	facts := []fact{{"event", r.Event.Event}, {"severity", r.Severity}, {"time", stampSeconds(r.Time)}, {"what happened", r.Message}}
	if r.Question != "" {
		facts = append(facts, fact{"to find out", r.Question})
	}
	for _, f := range r.Evidence {
		facts = append(facts, fact{f.Label, f.Value})
	}
	if get := archiveCommand(r.Event); get != "" {
		facts = append(facts, fact{"to get the archive before", get})
	}
	if r.LogIndex > 0 {
		facts = append(facts, fact{"log index", number(r.LogIndex)})
	}
	v := view{{facts: facts}}
	if len(r.Files) > 0 {
		b := block{head: []string{"FILE", "IS"}}
		for _, c := range r.Files {
			b.rows = append(b.rows, []string{c.Path, c.Kind})
		}
		v = append(v, b)
	}
	return v
}

// archiveCommand fetches the archive before what an event tells of.
func archiveCommand(e client.Event) string {
	about := watch.Event{Upstream: e.Upstream, Chart: e.Chart, Version: e.Version}
	for _, f := range e.Evidence {
		about.Evidence = append(about.Evidence, watch.Fact(f))
	}
	return about.ArchiveCommand()
}

func (a *app) eventCommands() *cobra.Command {
	return group("event", "Read what happened to upstreams and deployments", a.eventListCommand(), a.eventShowCommand())
}

// eventOptions choose events.
type eventOptions struct {
	client.EventFilter
	since time.Duration
	limit int
}

func (o *eventOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.Upstream, "upstream", "", "only events of upstream `NAME`")
	f.StringVar(&o.Chart, "chart", "", "only events of chart `NAME`")
	f.StringVar(&o.EventFilter.Version, "version", "", "only events of `VERSION`")
	f.StringVar(&o.Event, "event", "", "only `EVENT`, such as changed or new-version")
	f.StringVar(&o.MinSeverity, "min-severity", "", "only events of `SEVERITY` and above: info, low, medium, high, critical")
	f.StringVar(&o.Deployment, "deployment", "", "only events of the deployment with `KEY`")
	f.DurationVar(&o.since, "since", 0, "only events of the last `SPAN`, such as 24h")
	f.IntVar(&o.limit, "limit", 50, "the newest `NUMBER` of events; 0 is all")
}

func (a *app) eventListCommand() *cobra.Command {
	var opt eventOptions
	return a.leaf(command{
		use: "list [flags]", short: "List what happened, the newest first",
		example: `
chartkeep event list --upstream airflow-helm
# what somebody should look at now
chartkeep event list --min-severity high --since 24h`,
		flags: opt.register,
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			if opt.since > 0 {
				opt.Since = time.Now().Add(-opt.since)
			}
			r := eventList{}
			r.Items, r.More, err = newest(opt.limit, func(p client.Page) (client.List[client.Event], error) { return c.Events(ctx, opt.EventFilter, p) })
			if err != nil {
				return nil, err
			}
			return r, nil
		},
	})
}

func (a *app) eventShowCommand() *cobra.Command {
	return a.leaf(command{
		use: "show ID", short: "Show an event with its evidence",
		example: `chartkeep event show 42`,
		args:    arguments{1, 1, "the ID of an event"},
		run: func(ctx context.Context, args []string) (result, error) {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || id < 1 {
				return nil, usage("%q is not the id of an event", args[0]).try("chartkeep event list -q")
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			l, err := c.Events(ctx, client.EventFilter{}, client.Page{After: number(id + 1), Limit: 1})
			if err != nil {
				return nil, err
			}
			if len(l.Items) == 0 || l.Items[0].ID != id {
				return nil, problem.New(problem.NotFound, "event", "there is no event %d", id).Suggest("chartkeep event list")
			}
			return eventResult{l.Items[0]}, nil
		},
	})
}
