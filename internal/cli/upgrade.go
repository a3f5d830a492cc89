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

func (a *app) upgradeCommands() *cobra.Command {
	return group("upgrade", "Follow how deployments move from one version to another",
		a.upgradeListCommand(), a.upgradeShowCommand(), a.upgradeDismissCommand())
}

type upgradeResult struct {
	client.Upgrade
	now time.Time
}

func (upgradeResult) schema() string   { return "upgrade/v1" }
func (r upgradeResult) keys() []string { return []string{number(r.ID)} }

func (r upgradeResult) view() view {
	facts := []fact{
		{"upgrade", number(r.ID)}, {"deployment", r.Deployment}, {"chart", r.Chart}, {"from", r.From}, {"to", r.To}, {"state", r.State + ", since " + stamp(r.Since)},
		{"waits for", cmp.Or(r.WaitsFor, "nothing")}, {"owner", cmp.Or(r.Owner, "nobody")}, {"due", dueWords(r.Due, r.now)},
	}
	closes := "nothing that is known"
	if r.Security {
		closes = "findings, see its review"
	}
	facts = append(facts, fact{"closes", closes})
	if slot := slotWords(r.Slot, ""); slot != "" {
		facts = append(facts, fact{"slot", slot})
	}
	for _, f := range []fact{{"review", r.Review}, {"plan", r.Plan}, {"ticket", r.Ticket}, {"dismissed until", stamp(r.DismissedUntil)}} {
		if f.value != "" {
			facts = append(facts, f)
		}
	}
	b := block{head: []string{"TIME", "STATE", "BY", "WHAT HAPPENED"}}
	for _, s := range r.Steps {
		b.rows = append(b.rows, []string{stamp(s.Time), s.State, cmp.Or(s.ByName, s.By), s.Text})
	}
	if len(b.rows) == 0 {
		return view{{facts: facts}}
	}
	return view{{facts: facts}, b}
}

type upgradeList struct {
	Items []client.Upgrade `json:"items"`
	now   time.Time
}

func (upgradeList) schema() string { return "upgrade-list/v1" }

func (r upgradeList) keys() []string {
	return keysOf(r.Items, func(u client.Upgrade) string { return number(u.ID) })
}

func (r upgradeList) view() view {
	b := block{head: []string{"ID", "DEPLOYMENT", "MOVE", "STATE", "DUE", "WAITS FOR"}, empty: "there are no upgrades of that kind"}
	for _, u := range r.Items {
		b.rows = append(b.rows, []string{number(u.ID), u.Deployment, u.Chart + " " + u.From + " to " + u.To, u.State + " since " + day(u.Since), dueWords(u.Due, r.now), u.WaitsFor})
	}
	return view{b}
}

func (a *app) upgradeListCommand() *cobra.Command {
	var filter client.UpgradeFilter
	var all bool
	return a.leaf(command{
		use: "list [flags]", short: "List upgrades that are open, by due time",
		example: `
chartkeep upgrade list --owner data
chartkeep upgrade list --all --deployment production/data/airflow`,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&filter.Deployment, "deployment", "", "only of the deployment with `KEY`")
			f.StringVar(&filter.Owner, "owner", "", "only of deployments of `NAME`")
			f.StringVar(&filter.State, "state", "", "only in `STATE`, such as planned; those that ended need --all")
			f.BoolVar(&all, "all", false, "the newest that ended, too")
		},
		run: func(ctx context.Context, _ []string) (result, error) {
			filter.Open = !all
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := collect(ctx, func(ctx context.Context, p client.Page) (client.List[client.Upgrade], error) {
				return c.Upgrades(ctx, filter, p)
			})
			if err != nil {
				return nil, err
			}
			return upgradeList{items, a.now()}, nil
		},
	})
}

func (a *app) upgradeShowCommand() *cobra.Command {
	return a.leaf(command{
		use: "show ID", short: "Show an upgrade with its story",
		example: `chartkeep upgrade show 12`,
		args:    arguments{1, 1, "the ID of an upgrade"},
		run: func(ctx context.Context, args []string) (result, error) {
			id, err := idOf("an upgrade", args[0], "chartkeep upgrade list -q")
			if err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			u, err := c.Upgrade(ctx, id)
			if err != nil {
				return nil, err
			}
			return upgradeResult{u, a.now()}, nil
		},
	})
}

func (a *app) upgradeDismissCommand() *cobra.Command {
	var reason, end string
	return a.leaf(command{
		use: "dismiss ID [flags]", short: "Put an upgrade off until a date, with a reason",
		long: `
End an upgrade until a date, on which it is looked at again. What it would have
closed stays open and due: to let a finding be, ask for a waiver.`,
		example: `
chartkeep upgrade dismiss 12 --until 90d \
    --reason 'the deployment is retired in spring'`,
		args: arguments{1, 1, "the ID of an upgrade"},
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&reason, "reason", "", "`TEXT` that says why")
			f.StringVar(&end, "until", "", "`WHEN` it is looked at again: 90d, or YYYY-MM-DD; within a year")
		},
		run: func(ctx context.Context, args []string) (result, error) {
			id, err := idOf("an upgrade", args[0], "chartkeep upgrade list -q")
			if err != nil {
				return nil, err
			}
			if strings.TrimSpace(reason) == "" || end == "" {
				return nil, usage("an upgrade is dismissed with a reason, until a date").try("chartkeep upgrade dismiss 7 --reason TEXT --until 90d")
			}
			at, err := a.untilFlag(end)
			if err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			u, err := c.DismissUpgrade(ctx, id, reason, at)
			if err != nil {
				return nil, err
			}
			return upgradeResult{u, a.now()}, nil
		},
	})
}
