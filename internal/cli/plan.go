package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
)

func (a *app) planCommands() *cobra.Command {
	return group("plan", "See what to do about deployments, and by when",
		a.planListCommand(), a.planShowCommand(), a.planAcceptCommand(), a.planAgendaCommand(), a.planICSCommand(), a.planPullCommand())
}

type planList struct {
	Items []client.PlanRow `json:"items"`
	now   time.Time
}

func (planList) schema() string { return "plan-list/v1" }

func (r planList) keys() []string {
	return keysOf(r.Items, func(p client.PlanRow) string { return p.Deployment })
}

func (r planList) view() view {
	b := block{head: []string{"DEPLOYMENT", "DO", "DUE", "SLOT", "WHY"}, empty: "nothing is planned: no deployment was judged yet"}
	for _, p := range r.Items {
		do := actionWords[p.Action]
		if p.To != "" {
			do += ": " + p.Chart + " " + p.From + " to " + p.To
		}
		b.rows = append(b.rows, []string{p.Deployment, do, dueOf(p.Due, r.now, p.Action == "not-judged", 0), slotWords(p.Slot, p.Emergency), p.Text})
	}
	return view{b}
}

var actionWords = map[string]string{
	"upgrade": "upgrade", "cadence": "upgrade, by cadence", "remedy": "something else", "wait": "nothing", "not-judged": "not judged",
}

func slotWords(s *client.Slot, emergency string) string {
	switch {
	case emergency != "":
		return "none in time: " + emergency
	case s == nil:
		return ""
	case s.Window == "":
		return stamp(s.Start)
	}
	return stamp(s.Start) + ", window " + s.Window
}

// planResult is what to do about one deployment.
type planResult struct {
	client.Plan
	now time.Time
}

func (planResult) schema() string   { return "plan/v1" }
func (r planResult) keys() []string { return []string{r.Digest} }

func (r planResult) view() view {
	facts := []fact{
		{"plan", r.Digest}, {"deployment", r.Deployment}, {"runs", strings.TrimSpace(r.Chart + " " + r.From)}, {"made", stampSeconds(r.Made)},
		{"what to do", actionWords[r.Action]}, {"open", plural(r.Open, "finding")}, {"due", dueOf(r.Due, r.now, r.Action == "not-judged", 0)},
	}
	if r.SetBy != "" {
		facts = append(facts, fact{"due for", r.SetBy})
	}
	if slot := slotWords(r.Slot, r.Emergency); slot != "" {
		facts = append(facts, fact{"slot", slot})
	}
	if r.Tests != "" {
		facts = append(facts, fact{"tests", r.Tests})
	}
	facts = append(facts, fact{"approvals", strings.Join(r.Approvals, ", ")})
	v := view{{facts: facts}, {text: r.Text}}
	if len(r.Doubts) > 0 {
		v[1].text += "\n- doubt: " + strings.Join(r.Doubts, "\n- doubt: ")
	}
	b := block{head: []string{"VERSION", "CLOSES", "OPENS", "LEAVES", "UNKNOWN", "EFFORT", "IN TIME", "REVIEW", "WHY"}}
	for _, c := range r.Candidates {
		version, enough := c.Version, "no"
		if r.Chosen != nil && r.Chosen.Version == c.Version {
			version += " (chosen)"
		}
		if c.Meets {
			enough = "yes"
		}
		row := []string{version, number(int64(c.Closed)), number(int64(c.Introduced)), number(int64(c.Remaining)), plural(c.Unknown, "image"), c.Effort.Class, enough, cmp.Or(c.Reviewed, "none"), c.Why}
		if c.Effort.Class == "" { // it was not compared, and no count says anything
			copy(row[1:], []string{"?", "?", "?", "all", "?", "unknown"})
		}
		b.rows = append(b.rows, row)
	}
	if len(b.rows) > 0 {
		v = append(v, b)
	}
	for _, m := range r.Remedies {
		text := m.Kind + ": " + m.Text + "\nfor " + several(m.For) + "\n" + m.Verified
		if m.Values != "" {
			text += "\n" + m.Values
		}
		v = append(v, block{text: text})
	}
	return v
}

func (a *app) planListCommand() *cobra.Command {
	return a.leaf(command{
		use: "list", short: "List what to do about every deployment, by due time",
		example: `chartkeep plan list`,
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := collect(ctx, c.Plans)
			if err != nil {
				return nil, err
			}
			return planList{items, a.now()}, nil
		},
	})
}

func (a *app) planShowCommand() *cobra.Command {
	return a.leaf(command{
		use: "show DEPLOYMENT", short: "Show what to do about a deployment, and what else could be done",
		long: `
Show the newest plan of a deployment: the version with the least effort that
meets the earliest deadline, what the others would do, when it can be done, and
who has to approve. Where no version of the chart helps it says so, and what to
do instead.`,
		example: `chartkeep plan show production/data/airflow`,
		args:    arguments{1, 1, "the key of a DEPLOYMENT"}, complete: a.completeDeploymentArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			p, err := c.Plan(ctx, args[0])
			if err != nil {
				return nil, err
			}
			return planResult{p, a.now()}, nil
		},
	})
}

func (a *app) planAcceptCommand() *cobra.Command {
	var digest string
	var yes bool
	return a.leaf(command{
		use: "accept DEPLOYMENT [flags]", short: "Take the slot that a plan names",
		long: `
Take the slot of a deployment's plan for its upgrade. The plan is named by its
digest, so that what is accepted is what was read: without --digest it is shown
and asked for.`,
		example: `
chartkeep plan accept production/data/airflow
chartkeep plan accept production/data/airflow --yes \
    --digest "$DIGEST"`,
		args: arguments{1, 1, "the key of a DEPLOYMENT"}, complete: a.completeDeploymentArg,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&digest, "digest", "", "`DIGEST` of the plan that you read; another one is refused")
			f.BoolVar(&yes, "yes", false, "do not ask")
		},
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			p, err := c.Plan(ctx, args[0])
			if err != nil {
				return nil, err
			}
			to := "nothing"
			if p.Chosen != nil {
				to = p.Chosen.Version
			}
			question := fmt.Sprintf("Move %s from %s %s to %s, %s?", p.Deployment, p.Chart, p.From, to, cmp.Or(slotWords(p.Slot, p.Emergency), "without a slot"))
			if err := a.confirm(ctx, printable(question), yes); err != nil {
				return nil, err
			}
			u, err := c.AcceptPlan(ctx, args[0], cmp.Or(digest, p.Digest))
			if err != nil {
				return nil, err
			}
			return upgradeResult{u, a.now()}, nil
		},
	})
}

// textResult is a text that the server wrote.
type textResult struct {
	form     string
	Text     string `json:"text"`
	markdown bool
}

func (r textResult) schema() string { return r.form }
func (r textResult) keys() []string { return []string{r.Text} }

func (r textResult) view() view {
	return view{{text: strings.ReplaceAll(r.Text, "\r\n", "\n"), markup: r.markdown}}
}

func (a *app) planAgendaCommand() *cobra.Command {
	var owner string
	return a.leaf(command{
		use: "agenda [flags]", short: "Write the agenda of the planning meeting, as Markdown",
		example: `chartkeep plan agenda --owner data > agenda.md`,
		flags:   func(f *pflag.FlagSet) { f.StringVar(&owner, "owner", "", "only deployments of `NAME`") },
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			text, err := c.Agenda(ctx, owner)
			if err != nil {
				return nil, err
			}
			return textResult{"agenda/v1", text, true}, nil
		},
	})
}

func (a *app) planICSCommand() *cobra.Command {
	var owner, to string
	return a.leaf(command{
		use: "ics [flags]", short: "Write slots and deadlines as a calendar file",
		long: `
Write slots and deadlines as iCalendar (RFC 5545). Calendar programs can also
subscribe to it, at /api/v1/calendar.ics of the server with a token as password.
Printed, its lines end as those of this system do; --to writes the file exactly.`,
		example: `chartkeep plan ics --to upgrades.ics`,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&owner, "owner", "", "only deployments of `NAME`")
			f.StringVar(&to, "to", "", "`FILE` to write")
		},
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			text, err := c.Calendar(ctx, owner)
			if err != nil {
				return nil, err
			}
			if to == "" {
				return textResult{"calendar/v1", text, false}, nil
			}
			err = writeFile(to, func(w io.Writer) error {
				_, err := io.WriteString(w, text)
				return err
			})
			if err != nil {
				return nil, err
			}
			return done{form: "calendar-written/v1", Name: to, Change: "is written"}, nil
		},
	})
}

func (a *app) planPullCommand() *cobra.Command {
	return a.leaf(command{
		use: "pr UPGRADE", short: "Write the text of a pull request for an upgrade, as Markdown",
		long: `
Write what a pull request for an upgrade has to say: what it does, why and by
when, the verdict with its doubts, and the checklist. UPGRADE is the id of one,
or the key of a deployment that has an open one.`,
		example: `
chartkeep plan pr 12 > pull-request.md
chartkeep plan pr production/data/airflow`,
		args: arguments{1, 1, "the id of an UPGRADE, or the key of a deployment"}, complete: a.completeDeploymentArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				if id, err = openUpgrade(ctx, c, args[0]); err != nil {
					return nil, err
				}
			}
			text, err := c.PullRequest(ctx, id)
			if err != nil {
				return nil, err
			}
			return textResult{"pull-request/v1", text, true}, nil
		},
	})
}

// openUpgrade is the id of a deployment's open upgrade.
func openUpgrade(ctx context.Context, c *client.Client, key string) (int64, error) {
	l, err := c.Upgrades(ctx, client.UpgradeFilter{Deployment: key, Open: true}, client.Page{Limit: 1})
	if err != nil {
		return 0, err
	}
	if len(l.Items) == 0 {
		return 0, problem.New(problem.NotFound, "upgrade", "there is no open upgrade of %s", key).Suggest("chartkeep plan show %s", key)
	}
	return l.Items[0].ID, nil
}

// several lists the first of many names, and counts the others.
func several(names []string) string {
	const most = 5
	if len(names) <= most+1 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
