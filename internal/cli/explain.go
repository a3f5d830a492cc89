package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chartkeep/chartkeep/client"
)

// explainResult is why a finding is due when it is.
type explainResult struct {
	client.Explanation
	now time.Time
}

func (explainResult) schema() string { return "explanation/v1" }

// keys is the deadline.
func (r explainResult) keys() []string {
	if r.Decision.Deadline.IsZero() {
		return []string{"none"}
	}
	return []string{r.Decision.Deadline.UTC().Format(time.RFC3339)}
}

func (r explainResult) view() view {
	facts := append([]fact{{"deployment", r.Deployment}}, findingFacts(r.Finding, r.now)...)
	facts = append(facts, fact{"clock", cmp.Or(r.Decision.StartWhy, "it does not run")})
	if r.Decision.Forensic {
		facts = append(facts, fact{"beside it", "the table asks whether the system was broken into"})
	}
	v := view{{facts: facts}}
	for _, rule := range r.Decision.Rules {
		v = append(v, ruleView(rule)...)
	}
	return append(v, inputsView(r.Inputs)...)
}

// ruleView is one rule: what it is, what came of it, and what it looked at.
func ruleView(rule client.RulingRule) view {
	result := rule.Result
	if !rule.Fired {
		result = "did not fire: " + result
	}
	facts := []fact{{"rule", rule.ID + ": " + rule.Title}, {"result", result}}
	if rule.Table != "" {
		row := "no row"
		if rule.Row > 0 {
			row = fmt.Sprintf("row %d of %d", rule.Row, rule.Rows)
		}
		facts = append(facts, fact{"table", rule.Table + ", " + row})
	}
	if !rule.Deadline.IsZero() {
		facts = append(facts, fact{"deadline", stamp(rule.Deadline)})
	}
	v := view{{facts: facts}}
	b := block{head: []string{"INPUT", "VALUE", "COUNTS AS", "FROM", "SNAPSHOT"}}
	for _, in := range rule.Inputs {
		source := in.Source
		if in.Derived {
			source = strings.TrimPrefix(source+"; derived", "; ")
		}
		b.rows = append(b.rows, []string{in.Name, cmp.Or(in.Value, "unknown"), in.As, source, short(in.Snapshot)})
	}
	if len(b.rows) > 0 {
		v = append(v, b)
	}
	return v
}

// inputsView names the states that a judgement was made from.
func inputsView(in client.Inputs) view {
	used := usedBy(in)
	facts := []fact{{"policy", strings.TrimSpace(in.Policy.Name + " " + in.Policy.Version)}, {"its digest", in.Policy.Digest}}
	return append(view{{facts: facts}}, used.view()...)
}

func (a *app) explainCommand() *cobra.Command {
	return a.leaf(command{
		use: "explain DEPLOYMENT [FINDING]", short: "Say why something on a deployment is due when it is",
		long: `
Print every rule that was asked about a finding on a deployment, those that fired
and those that did not: what it looked at, what each value counts as and where it
comes from, the table and the row, and what came of it. A value that nobody knows
counts as the worst, and a value that was derived is marked.

FINDING is an advisory's id, an alias, the rule of a finding of the chart, or its
key. Without it, it is the one that sets the deployment's deadline.`,
		example: `
chartkeep explain production/data/airflow
chartkeep explain production/data/airflow CVE-2024-39877`,
		args: arguments{1, 2, "the key of a DEPLOYMENT, and perhaps a FINDING"}, complete: a.completeDeploymentArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			e, err := c.Explain(ctx, args[0], strings.Join(args[1:], ""))
			if err != nil {
				return nil, err
			}
			return explainResult{e, a.now()}, nil
		},
	})
}
