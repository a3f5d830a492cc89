package cli

import (
	"cmp"
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/chartkeep/chartkeep/client"
)

// witnessesResult is how the log stands with its witnesses.
type witnessesResult struct {
	client.Witnessing
	now time.Time
}

func (witnessesResult) schema() string { return "log-witnesses/v1" }

func (r witnessesResult) keys() []string {
	var out []string
	for _, w := range r.Witnesses {
		out = append(out, w.Name+" "+w.State)
	}
	return out
}

func (r witnessesResult) view() view {
	size := func(n int64) string {
		if n < 0 {
			return "none"
		}
		return thousands(n)
	}
	facts := []fact{{"mode", r.Mode}}
	if r.Mode != "none" {
		facts = append(facts, fact{"quorum", r.Quorum}, fact{"quorum met at", size(r.MetSize)})
	}
	facts = append(facts, fact{"log size", size(r.Size)}, fact{"published", size(r.Published)})
	b := block{head: []string{"WITNESS", "STATE", "SIZE", "COSIGNED", "DETAIL"}, empty: "nobody witnesses this log: set witness-policy"}
	for _, w := range r.Witnesses {
		cosigned := "never"
		if !w.Cosigned.IsZero() {
			cosigned = cmp.Or(ago(r.now, w.Cosigned), "just now")
		}
		detail := w.Failure
		if detail != "" && !w.Since.IsZero() {
			detail += ", since " + cmp.Or(ago(r.now, w.Since), "now")
		}
		b.rows = append(b.rows, []string{w.Name, w.State, thousands(w.Size), cosigned, cmp.Or(detail, w.URL)})
	}
	return view{{facts: facts}, b}
}

func (a *app) logWitnessesCommand() *cobra.Command {
	return a.leaf(command{
		use: "witnesses", short: "Show who cosigns the log, and who does not",
		long: `
Show the witnesses of the server's log: how much of it each has cosigned, when,
and why not where it has not. "refusing" is no accident: the witness answers,
and what it saw before does not fit what it sees now. It takes the right
log.read.`,
		example: `
chartkeep log witnesses
chartkeep log witnesses -o json`,
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			w, err := c.Witnesses(ctx)
			if err != nil {
				return nil, err
			}
			return witnessesResult{w, a.now()}, nil
		},
	})
}
