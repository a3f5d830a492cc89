package cli

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
)

func (a *app) windowCommands() *cobra.Command {
	return group("window", "Say when deployments may be changed, and when not",
		a.windowSetCommand(), a.windowListCommand(), a.windowRemoveCommand())
}

type windowList struct {
	Items []client.Window `json:"items"`
}

func (windowList) schema() string { return "window-list/v1" }

func (r windowList) keys() []string {
	return keysOf(r.Items, func(w client.Window) string { return w.Name })
}

func (r windowList) view() view {
	b := block{head: []string{"WINDOW", "CHANGES ARE", "WHEN", "FOR", "REASON"}, empty: "there are no windows: deployments may be changed at any time"}
	for _, w := range r.Items {
		may := "allowed"
		if w.Freeze {
			may = "forbidden"
			if w.Security {
				may += ", but for security"
			}
		}
		b.rows = append(b.rows, []string{w.Name, may, windowWhen(w), windowFor(w), w.Reason})
	}
	return view{b}
}

func windowWhen(w client.Window) string {
	zone := cmp.Or(w.Zone, "UTC")
	if w.Schedule == "" {
		return "from " + stamp(w.Start) + " to " + stamp(w.End)
	}
	words := w.Schedule + ", for " + w.Duration + ", " + zone
	if !w.End.IsZero() {
		words += ", until " + day(w.End)
	}
	return words
}

func windowFor(w client.Window) string {
	var words []string
	if len(w.Environments) > 0 {
		words = append(words, "environments "+strings.Join(w.Environments, ", "))
	}
	if len(w.Deployments) > 0 {
		words = append(words, "deployments "+strings.Join(w.Deployments, ", "))
	}
	return cmp.Or(strings.Join(words, "; "), "everything")
}

func (a *app) windowSetCommand() *cobra.Command {
	var n client.NewWindow
	var start, end string
	return a.leaf(command{
		use: "set NAME [flags]", short: "Make a window or a freeze, or change the one of that name",
		long: `
Say when deployments may be changed. A schedule is five fields as in crontab, or
a recurrence rule of RFC 5545, each with a duration. A freeze forbids, and wins
over every window. One freeze that does not recur has a start and an end, and no
schedule.

Where no window is meant for a deployment, it may be changed at any time that is
not frozen. The whole window is what the flags say: what is left out is as if it
had never been said.`,
		example: `
chartkeep window set nights --schedule '0 2 * * 2,4' --duration 3h \
    --zone Europe/Berlin --environments 'prod*'
chartkeep window set year-end --freeze --start 2026-12-18T00:00:00Z \
    --end 2027-01-04T00:00:00Z --security --reason 'end of the year'`,
		args: arguments{1, 1, "a NAME for the window"}, complete: a.completeWindowArg,
		flags: func(f *pflag.FlagSet) {
			f.BoolVar(&n.Freeze, "freeze", false, "forbid changes instead")
			f.StringVar(&n.Schedule, "schedule", "", "`SCHEDULE`: '0 2 * * 0', or RRULE:FREQ=WEEKLY;BYDAY=SU")
			f.StringVar(&start, "start", "", "begin of a recurrence rule, or of a single freeze: a `TIME` such as 2026-12-18T00:00:00Z")
			f.StringVar(&end, "end", "", "end of the recurrence, or of a single freeze: a `TIME`")
			f.StringVar(&n.Duration, "duration", "", "`SPAN` from each start, such as 3h")
			f.StringVar(&n.Zone, "zone", "", "time `ZONE` of the schedule, such as Europe/Berlin (default: UTC)")
			f.StringSliceVar(&n.Environments, "environments", nil, "only environments that match `GLOBS`")
			f.StringSliceVar(&n.Deployments, "deployments", nil, "only deployments whose keys match `GLOBS`")
			f.StringVar(&n.Reason, "reason", "", "`TEXT` that says why")
			f.BoolVar(&n.Security, "security", false, "a freeze that upgrades may pass which close an advisory")
		},
		run: func(ctx context.Context, args []string) (result, error) {
			var err error
			if n.Start, err = timeFlag("start", start); err != nil {
				return nil, err
			}
			if n.End, err = timeFlag("end", end); err != nil {
				return nil, err
			}
			if n.Security && !n.Freeze {
				return nil, usage("--security says what may pass a freeze, and --freeze is missing")
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			if err := c.PutWindow(ctx, args[0], n); err != nil {
				return nil, err
			}
			change := "is open: " + windowWhen(client.Window{Schedule: n.Schedule, Start: n.Start, End: n.End, Duration: n.Duration, Zone: n.Zone})
			if n.Freeze {
				change = "forbids changes: " + strings.TrimPrefix(change, "is open: ")
			}
			return done{form: "window-set/v1", Name: args[0], Change: change}, nil
		},
	})
}

// timeFlag reads a point in time; "" is none.
func timeFlag(name, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, usage("--%s %s is no time", name, s).try("--%s 2026-12-18T00:00:00Z", name)
}

func (a *app) windowListCommand() *cobra.Command {
	return a.leaf(command{
		use: "list", short: "List windows and freezes",
		example: `chartkeep window list`,
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := collect(ctx, c.Windows)
			if err != nil {
				return nil, err
			}
			return windowList{items}, nil
		},
	})
}

func (a *app) windowRemoveCommand() *cobra.Command {
	return a.leaf(command{
		use: "remove NAME", short: "Take a window or a freeze out of the calendar",
		example: `chartkeep window remove year-end`,
		args:    arguments{1, 1, "the NAME of a window"}, complete: a.completeWindowArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			if err := c.RemoveWindow(ctx, args[0]); err != nil {
				return nil, err
			}
			return done{form: "window-removed/v1", Name: args[0], Change: "is removed"}, nil
		},
	})
}

func (a *app) completeWindowArg(ctx context.Context, args []string, _ string) []string {
	if len(args) > 0 {
		return nil
	}
	return offers(ctx, a, (*client.Client).Windows, func(w client.Window) string { return w.Name })
}
