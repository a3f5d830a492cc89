package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
)

// statusResult is where every deployment stands.
type statusResult struct {
	At    time.Time          `json:"at"`
	Items []client.StatusRow `json:"items"`
}

func (statusResult) schema() string { return "status/v1" }

func (r statusResult) keys() []string {
	return keysOf(r.Items, func(x client.StatusRow) string { return x.Deployment + " " + x.State })
}

func (r statusResult) view() view {
	b := block{head: []string{"DEPLOYMENT", "RUNS", "STATE", "DUE", "OPEN", "WAITS FOR"}, empty: "no deployments are recorded; record what runs with: chartkeep deployment import NAME --from kube"}
	late, open, unknown, unjudged := 0, 0, 0, 0
	for _, x := range r.Items {
		due := dueOf(x.Due, r.At, x.State == "not-judged", x.Unknown)
		if x.Late {
			late++
		}
		if x.State == "not-judged" {
			unjudged++
		}
		open += x.Open
		unknown += x.Unknown
		runs, state := strings.TrimSpace(x.Chart+" "+x.Version), x.State
		if x.To != "" {
			runs += ", should be " + x.To
		}
		if !x.Since.IsZero() {
			state += " since " + day(x.Since)
		}
		b.rows = append(b.rows, []string{x.Deployment, runs, state, due, openWords(x), x.WaitsFor})
	}
	if len(r.Items) == 0 {
		return view{b}
	}
	total := fmt.Sprintf("%s: %d late, %s open\n%s", plural(len(r.Items), "deployment"), late, plural(open, "finding"), unknownOf(unknown, unjudged))
	return view{b, {text: total}}
}

// openWords is what is open on a deployment, as far as that is known.
func openWords(x client.StatusRow) string {
	words := plural(x.Open, "finding")
	if x.Open == 0 {
		if words = "none known"; x.State == "not-judged" {
			words = "unknown"
		}
	}
	if x.Unknown > 0 {
		words += "; unknown: " + plural(x.Unknown, "image")
	}
	return words
}

func (a *app) statusCommand() *cobra.Command {
	var owner string
	return a.leaf(command{
		use: "status [flags]", short: "Say where every deployment stands, and what it waits for",
		long: `
List every deployment: what it runs, where it should move to, how far that is and
since when, by when it is due, what is open on it and what is unknown, and for
whom it waits. The late ones come first, then what is due next.`,
		example: `
chartkeep status
chartkeep status --owner data -o markdown`,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&owner, "owner", "", "only deployments of `NAME`")
		},
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			r := statusResult{}
			r.Items, err = collect(ctx, func(ctx context.Context, p client.Page) (client.List[client.StatusRow], error) {
				l, err := c.Status(ctx, owner, p)
				r.At = l.At
				return l.List, err
			})
			if err != nil {
				return nil, err
			}
			return r, nil
		},
	})
}

// practiceResult is how well it goes.
type practiceResult struct{ client.Practice }

func (practiceResult) schema() string { return "practice/v1" }

func (r practiceResult) keys() []string {
	return keysOf(r.Environments, func(e client.PracticeRow) string { return e.Environment })
}

func (r practiceResult) view() view {
	v := view{{facts: []fact{
		{"from", day(r.Since) + " to " + day(r.Until)}, {"first seen to reviewed", timesWords(r.ReviewTime)},
		{"alerts", thousands(int64(r.Alerts)) + ", of which " + thousands(int64(r.WrongAlerts)) + " turned out wrong"},
	}}}
	b := block{head: []string{"ENVIRONMENT", "CLOSED", "IN TIME", "NO DEADLINE", "OPEN AND LATE", "WAS OPEN FOR"}, empty: "nothing was open in that time, as far as is known"}
	for _, e := range r.Environments {
		b.rows = append(b.rows, []string{cmp.Or(e.Environment, "nobody said"), number(int64(e.Closed)), share(e.OnTime, e.Closed-e.NoDeadline), number(int64(e.NoDeadline)), number(int64(e.OpenLate)), timesWords(e.Exposure)})
	}
	v = append(v, b)
	if len(r.Weeks) == 0 {
		return v
	}
	most := 1
	for _, w := range r.Weeks {
		most = max(most, w.Open)
	}
	weeks := block{head: []string{"WEEK OF", "OPEN", "LATE", "CLOSED", "IN TIME", "LATE (#) OF OPEN (-)"}}
	for _, w := range r.Weeks {
		late, open := barOf(w.Late, most), barOf(w.Open, most)
		weeks.rows = append(weeks.rows, []string{day(w.Start), number(int64(w.Open)), number(int64(w.Late)), number(int64(w.Closed)), number(int64(w.OnTime)), strings.Repeat("#", late) + strings.Repeat("-", max(0, open-late))})
	}
	return append(v, weeks)
}

// barOf is the length of a bar; what there is has at least one column.
func barOf(n, most int) int {
	const columns = 30
	if n <= 0 {
		return 0
	}
	return max(1, n*columns/most)
}

func share(n, of int) string {
	if of <= 0 {
		return "none had a deadline"
	}
	return fmt.Sprintf("%d of %d (%d %%)", n, of, n*100/of)
}

func timesWords(t client.PracticeTime) string {
	if t.Count == 0 {
		return "no figures"
	}
	return fmt.Sprintf("half within %s, 9 of 10 within %s, at most %s; of %s", spanWords(t.Median), spanWords(t.P90), spanWords(t.Max), thousands(int64(t.Count)))
}

func (a *app) practiceCommand() *cobra.Command {
	var since string
	return a.leaf(command{
		use: "practice [flags]", short: "Say how well staying up to date goes",
		long: `
Say how long findings were open in each environment, which share of deadlines was
met, how long a new version waits for its review, and how many alerts turned out
wrong: figures by which the practice itself can be reviewed.`,
		example: `
chartkeep practice
chartkeep practice --since 2026-01-01 -o json`,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&since, "since", "", "from a `TIME` on, such as 2026-01-01 (default: the server's own span)")
		},
		run: func(ctx context.Context, _ []string) (result, error) {
			from, err := timeFlag("since", since)
			if err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			p, err := c.Practice(ctx, from)
			if err != nil {
				return nil, err
			}
			return practiceResult{p}, nil
		},
	})
}
