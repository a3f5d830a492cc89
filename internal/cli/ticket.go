package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
)

func (a *app) trackerCommands() *cobra.Command {
	return group("tracker", "Have tickets made for upgrades", a.trackerAddCommand(), a.trackerListCommand(), a.trackerRemoveCommand())
}

func (a *app) ticketCommands() *cobra.Command {
	return group("ticket", "See the tickets of upgrades", a.ticketListCommand())
}

type trackerResult struct{ client.Tracker }

func (trackerResult) schema() string   { return "tracker/v1" }
func (r trackerResult) keys() []string { return []string{r.Name} }

func (r trackerResult) view() view {
	facts := []fact{{"tracker", r.Name}, {"kind", r.Kind}, {"tickets in", r.URL}, {"credential", r.Credential}, {"for", trackerFor(r.Tracker)}, {"labels", cmp.Or(strings.Join(r.Labels, ", "), "none")}, {"since", stampSeconds(r.Created)}}
	if r.API != "" {
		facts = append(facts, fact{"api", r.API})
	}
	return view{{facts: facts}}
}

// trackerFor says for which upgrades tickets are made.
func trackerFor(t client.Tracker) string {
	words := "upgrades that close something"
	if t.Severity != "" {
		words += " of " + t.Severity + " and above"
	}
	if len(t.Owners) > 0 {
		words += ", of " + strings.Join(t.Owners, ", ")
	}
	return words
}

type trackerList struct {
	Items []client.Tracker `json:"items"`
}

func (trackerList) schema() string { return "tracker-list/v1" }

func (r trackerList) keys() []string {
	return keysOf(r.Items, func(t client.Tracker) string { return t.Name })
}

func (r trackerList) view() view {
	b := block{head: []string{"TRACKER", "KIND", "TICKETS IN", "FOR"}, empty: "no tickets are made; have them made with: chartkeep tracker add NAME --github URL --credential NAME"}
	for _, t := range r.Items {
		b.rows = append(b.rows, []string{t.Name, t.Kind, t.URL, trackerFor(t)})
	}
	return view{b}
}

func (a *app) trackerAddCommand() *cobra.Command {
	n := client.NewTracker{Kind: "github"}
	return a.leaf(command{
		use: "add NAME [flags]", short: "Have a ticket for each upgrade that closes something",
		long: `
Have a ticket made for each upgrade that closes something, kept up to date while
it moves, and closed when it is verified. It is made once, whatever happens in
between.`,
		example: `
chartkeep tracker add ops --github https://github.com/example/ops \
    --credential github-ops --min-severity high --labels security`,
		args: arguments{1, 1, "a NAME for the tracker"},
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&n.URL, "github", "", "`URL` of a repository on GitHub, whose issues are used")
			f.StringVar(&n.API, "api", "", "`URL` of the API, where it is not that of github.com")
			f.StringVar(&n.Credential, "credential", "", "`NAME` in the server's credentials file, of a token that may write issues")
			f.StringSliceVar(&n.Owners, "owners", nil, "only for deployments of these `OWNERS`")
			f.StringVar(&n.Severity, "min-severity", "", "only for upgrades that close something of `SEVERITY` and above")
			f.StringSliceVar(&n.Labels, "labels", nil, "`LABELS` that tickets get")
		},
		run: func(ctx context.Context, args []string) (result, error) {
			if n.URL == "" {
				return nil, usage("--github says where tickets are made, and is missing").try("chartkeep tracker add %s --github URL --credential NAME", args[0])
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			n.Name = args[0]
			t, err := c.AddTracker(ctx, n)
			if err != nil {
				return nil, err
			}
			return trackerResult{t}, nil
		},
	})
}

func (a *app) trackerListCommand() *cobra.Command {
	return a.leaf(command{
		use: "list", short: "List where tickets are made",
		example: `chartkeep tracker list`,
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := collect(ctx, c.Trackers)
			if err != nil {
				return nil, err
			}
			return trackerList{items}, nil
		},
	})
}

func (a *app) trackerRemoveCommand() *cobra.Command {
	return a.leaf(command{
		use: "remove NAME", short: "Make no more tickets there",
		example: `chartkeep tracker remove ops`,
		args:    arguments{1, 1, "the NAME of a tracker"}, complete: a.completeTrackerArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			if err := c.RemoveTracker(ctx, args[0]); err != nil {
				return nil, err
			}
			return done{form: "tracker-removed/v1", Name: args[0], Change: "is removed; its tickets stay"}, nil
		},
	})
}

func (a *app) completeTrackerArg(ctx context.Context, args []string, _ string) []string {
	if len(args) > 0 {
		return nil
	}
	return offers(ctx, a, (*client.Client).Trackers, func(t client.Tracker) string { return t.Name })
}

type ticketList struct {
	Items []client.Ticket `json:"items"`
}

func (ticketList) schema() string { return "ticket-list/v1" }

func (r ticketList) keys() []string {
	return keysOf(r.Items, func(t client.Ticket) string { return cmp.Or(t.URL, number(t.ID)) })
}

func (r ticketList) view() view {
	b := block{head: []string{"TICKET", "TRACKER", "UPGRADE", "STATE"}, empty: "there are no tickets"}
	for _, t := range r.Items {
		state := t.State
		if t.Error != "" {
			state += fmt.Sprintf(", tried %s: %s", plural(t.Attempts, "time"), t.Error)
		}
		if !t.Due.IsZero() {
			state += ", next try " + stamp(t.Due)
		}
		b.rows = append(b.rows, []string{cmp.Or(t.URL, "not made yet"), t.Tracker, number(t.Upgrade), state})
	}
	return view{b}
}

func (a *app) ticketListCommand() *cobra.Command {
	var tracker string
	limit := 100
	return a.leaf(command{
		use: "list [flags]", short: "List the tickets of upgrades, the newest first",
		example: `chartkeep ticket list --tracker ops`,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&tracker, "tracker", "", "only tickets of tracker `NAME`")
			f.IntVar(&limit, "limit", 100, "the newest `NUMBER` of tickets, at most 1000")
		},
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := c.Tickets(ctx, tracker, limit)
			if err != nil {
				return nil, err
			}
			return ticketList{items}, nil
		},
	})
}
