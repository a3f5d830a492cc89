package cli

import (
	"bytes"
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/chartkeep/chartkeep/client"
)

func (a *app) decisionCommands() *cobra.Command {
	return group("decision", "Say by what deadlines are decided",
		group("policy", "Show or set the decision policy", a.policyShowCommand(), a.policySetCommand()))
}

// maxPolicy bounds a decision policy, in bytes.
const maxPolicy = 64 << 10

// policyResult is the decision policy in force.
type policyResult struct{ client.DecisionPolicy }

func (policyResult) schema() string   { return "decision-policy/v1" }
func (r policyResult) keys() []string { return []string{r.Digest} }

func (r policyResult) view() view {
	set := "nobody: it is the one that is built in"
	if !r.Set.IsZero() {
		set = stampSeconds(r.Set) + " by " + cmp.Or(r.SetBy, "nobody known")
	}
	return view{{facts: []fact{{"policy", r.Name}, {"version", r.Version}, {"set", set}, {"digest", r.Digest}}}, {text: r.Text}}
}

func (a *app) policyShowCommand() *cobra.Command {
	return a.leaf(command{
		use: "show", short: "Show the policy by which deadlines are decided",
		example: `chartkeep decision policy show`,
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			p, err := c.DecisionPolicy(ctx)
			if err != nil {
				return nil, err
			}
			return policyResult{p}, nil
		},
	})
}

func (a *app) policySetCommand() *cobra.Command {
	return a.leaf(command{
		use: "set FILE", short: "Make a document the decision policy from now on",
		long: `
Make a YAML document the decision policy. Deadlines of everything that is open
are decided anew by it, and it is an alert in the audit trail. What a policy can
say is in docs/deciding.md; chartkeep outdated --policy FILE tries one out
without a server.`,
		example: `chartkeep decision policy set policy.yaml`,
		args:    arguments{1, 1, "a FILE with a decision policy"}, files: true,
		run: func(ctx context.Context, args []string) (result, error) {
			text, err := readFile(args[0], maxPolicy)
			if err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			p, err := c.SetDecisionPolicy(ctx, bytes.NewReader(text), int64(len(text)))
			if err != nil {
				return nil, err
			}
			return policyResult{p}, nil
		},
	})
}
