package cli

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
)

func (a *app) waiverCommands() *cobra.Command {
	return group("waiver", "Let a finding be for a time, with a reason and an approver",
		a.waiverRequestCommand(), a.waiverApproveCommand(), a.waiverEndCommand(), a.waiverListCommand())
}

type waiverResult struct {
	client.Waiver
	now time.Time
}

func (waiverResult) schema() string   { return "waiver/v1" }
func (r waiverResult) keys() []string { return []string{number(r.ID)} }

func (r waiverResult) view() view {
	facts := []fact{
		{"waiver", number(r.ID)}, {"finding", r.Finding}, {"on", cmp.Or(r.Deployments, "all deployments")}, {"in", cmp.Or(r.Component, "any component")}, {"reason", r.Reason},
		{"asked for", stampSeconds(r.Requested) + " by " + cmp.Or(r.RequestedByName, r.RequestedBy)}, {"approved", cmp.Or(stampSeconds(r.Approved), "not yet, so it does not count")},
	}
	if r.ApprovedBy != "" {
		facts[len(facts)-1].value += " by " + cmp.Or(r.ApprovedByName, r.ApprovedBy)
	}
	return view{{facts: append(facts, fact{"until", stamp(r.Expires)}, fact{"state", waiverState(r.Waiver, r.now)})}}
}

// waiverState says whether a waiver counts.
func waiverState(w client.Waiver, now time.Time) string {
	switch {
	case !w.Ended.IsZero():
		return "taken back " + stamp(w.Ended)
	case !w.Expires.After(now):
		return "expired"
	case w.ApprovedBy == "":
		return "waits for approval by another person"
	}
	return "counts"
}

type waiverList struct {
	Items []client.Waiver `json:"items"`
	now   time.Time
}

func (waiverList) schema() string { return "waiver-list/v1" }

func (r waiverList) keys() []string {
	return keysOf(r.Items, func(w client.Waiver) string { return number(w.ID) })
}

func (r waiverList) view() view {
	b := block{head: []string{"ID", "FINDING", "ON", "UNTIL", "STATE", "REASON"}, empty: "nothing is waived"}
	for _, w := range r.Items {
		on := cmp.Or(w.Deployments, "all deployments")
		if w.Component != "" {
			on += ", " + w.Component
		}
		b.rows = append(b.rows, []string{number(w.ID), w.Finding, on, day(w.Expires), waiverState(w, r.now), w.Reason})
	}
	return view{b}
}

func (a *app) waiverRequestCommand() *cobra.Command {
	var n client.NewWaiver
	var end string
	return a.leaf(command{
		use: "request FINDING [flags]", short: "Ask to let a finding be for a time",
		long: `
Ask to let a finding be for a time. FINDING is an advisory's id, an alias, the
rule of a finding of a chart, or the key of a finding. The waiver counts when
another person has approved it, and until its end; then the same deadline is
back.`,
		example: `
chartkeep waiver request CVE-2024-39877 --deployments 'staging/*' \
    --reason 'no DAGs of others run there' --until 90d`,
		args: arguments{1, 1, "a FINDING"},
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&n.Deployments, "deployments", "", "only on deployments whose key matches `GLOB` (default: all)")
			f.StringVar(&n.Component, "component", "", "only in `COMPONENT`, as ecosystem/name")
			f.StringVar(&n.Reason, "reason", "", "`TEXT` that says why it does no harm until then")
			f.StringVar(&end, "until", "", "`WHEN` it ends: 90d, or YYYY-MM-DD; within a year")
		},
		run: func(ctx context.Context, args []string) (result, error) {
			if n.Reason == "" || end == "" {
				return nil, usage("a waiver needs a reason and an end").try("chartkeep waiver request %s --reason TEXT --until 90d", args[0])
			}
			var err error
			if n.Expires, err = a.untilFlag(end); err != nil {
				return nil, err
			}
			n.Finding = args[0]
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			w, err := c.RequestWaiver(ctx, n)
			return a.waiverResultOf(w, err)
		},
	})
}

// untilFlag reads --until: a time from now, or a date.
func (a *app) untilFlag(s string) (time.Time, error) {
	t, err := until(s, a.now())
	if err != nil {
		return t, usage("--until %s is no time from now and no date to come", s).try("--until 90d, or --until YYYY-MM-DD")
	}
	return t, nil
}

func (a *app) waiverResultOf(w client.Waiver, err error) (result, error) {
	if err != nil {
		return nil, err
	}
	return waiverResult{w, a.now()}, nil
}

// idOf reads the number of a waiver or an upgrade.
func idOf(what, s, list string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id < 1 {
		return 0, usage("%q is not the id of %s", s, what).try("%s", list)
	}
	return id, nil
}

func (a *app) waiverApproveCommand() *cobra.Command {
	return a.waiverMove("approve ID", "Let a waiver count that somebody else asked for", `
Let a waiver count from now on. Who asked for it cannot approve it.`, "chartkeep waiver approve 3", (*client.Client).ApproveWaiver)
}

func (a *app) waiverEndCommand() *cobra.Command {
	return a.waiverMove("end ID", "Take a waiver back", `
Take a waiver back: the finding is due again, by the deadline that it had.`, "chartkeep waiver end 3", (*client.Client).EndWaiver)
}

func (a *app) waiverMove(use, short, long, example string, move func(*client.Client, context.Context, int64) (client.Waiver, error)) *cobra.Command {
	return a.leaf(command{
		use: use, short: short, long: long, example: example,
		args: arguments{1, 1, "the ID of a waiver"},
		run: func(ctx context.Context, args []string) (result, error) {
			id, err := idOf("a waiver", args[0], "chartkeep waiver list -q")
			if err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			w, err := move(c, ctx, id)
			return a.waiverResultOf(w, err)
		},
	})
}

func (a *app) waiverListCommand() *cobra.Command {
	var all bool
	return a.leaf(command{
		use: "list [flags]", short: "List waivers that count or wait for approval",
		example: `chartkeep waiver list`,
		flags: func(f *pflag.FlagSet) {
			f.BoolVar(&all, "all", false, "those that ended, too")
		},
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := collect(ctx, func(ctx context.Context, p client.Page) (client.List[client.Waiver], error) {
				return c.Waivers(ctx, all, p)
			})
			if err != nil {
				return nil, err
			}
			return waiverList{items, a.now()}, nil
		},
	})
}
