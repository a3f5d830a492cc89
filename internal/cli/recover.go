package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/daemon"
)

// recovery is what a recovery brings back, or would.
type recovery struct{ custody.Report }

func (recovery) schema() string { return "log-recover/v1" }

func (r recovery) keys() []string {
	switch {
	case len(r.Ranges) == 0:
		return []string{"nothing"}
	case r.Applied:
		return []string{"recovered"}
	}
	return []string{"behind"}
}

func (r recovery) view() view {
	if len(r.Ranges) == 0 {
		return view{{text: "The database holds everything that is kept; there is nothing to recover.\nA server that takes no writes all the same is behind what a witness knows: see docs/recovery.md."}}
	}
	ranges := block{head: []string{"LOG", "DATABASE", "SIGNED AND KEPT", "ROOT"}}
	for _, g := range r.Ranges {
		ranges.rows = append(ranges.rows, []string{string(g.Log), thousands(g.From), thousands(g.To), g.Root})
	}
	counted := func(list []custody.Counted) block {
		b := block{head: []string{"COUNT", "WHAT", "MEANING"}}
		for _, c := range list {
			b.rows = append(b.rows, []string{fmt.Sprint(c.Count), c.Name, c.What})
		}
		return b
	}
	v := view{ranges, {text: "Comes back:"}, counted(r.Leaves)}
	for _, part := range []struct {
		title string
		list  []custody.Counted
	}{{"Is taken away again:", r.Withdraw}, {"Does not come back, since it was in the database alone:", r.Lost}} {
		if len(part.list) > 0 {
			v = append(v, block{text: part.title}, counted(part.list))
		}
	}
	if len(r.Losses) > 0 {
		v = append(v, block{text: "Is missing:"})
		b := block{head: []string{"LEAF", "OF", "WHAT"}}
		for _, l := range r.Losses {
			b.rows = append(b.rows, []string{fmt.Sprint(l.Index), l.Ref, l.What})
		}
		v = append(v, b)
	}
	end := fact{"changed", "nothing; to bring it back: chartkeep log recover --apply"}
	if r.Applied {
		end = fact{"changed", "the database stands at the signed checkpoints; start the server"}
	}
	return append(v, block{facts: []fact{
		{"releases", thousands(int64(r.Releases))},
		{"unknown", "whatever happened after the last kept checkpoint, a second before the end or less"},
		{"also lost", "addresses of requests, when tokens were used last, what was watched of upstreams and deployments since"},
		end,
	}})
}

func (a *app) logRecoverCommand() *cobra.Command {
	var opt serveOptions
	var apply, dry bool
	return a.leaf(command{
		use: "recover [--apply] [--data DIR]", short: "Bring back what a database lost of its log",
		long: `
Bring a database that went back, as by a restored backup, to the newest
checkpoint that was signed and kept beside the blobs. It works on the data
folder of a server that is stopped. Without --apply it says what would come back
and what not, and changes nothing.

Leaves are replayed as they were, releases and tags are made again from them,
and nothing is signed: the log ends at the checkpoint that was signed before.
Rights that were taken away since are taken away again. Accounts, tokens and
grants that were made since, and what was watched, are lost.

A database that went on after it went back holds another history. It is left as
it is: see docs/recovery.md.`,
		example: `
chartkeep log recover --data /var/lib/chartkeep
chartkeep log recover --data /var/lib/chartkeep --apply`,
		flags: func(f *pflag.FlagSet) {
			opt.registerOnly(f, "data", "witness-policy")
			f.BoolVar(&apply, "apply", false, "do it")
			f.BoolVar(&dry, "dry-run", false, "say what would come back, and change nothing; the default")
		},
		run: func(ctx context.Context, _ []string) (result, error) {
			if apply && dry {
				return nil, usage("--apply and --dry-run exclude each other")
			}
			cfg, err := opt.load(a.environ)
			if err != nil {
				return nil, err
			}
			rep, err := daemon.Recover(ctx, cfg, apply)
			return resultOf(recovery{rep}, err)
		},
	})
}
